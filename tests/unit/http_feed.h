/* tests/unit/http_feed.h — one HTTP/1.1 message through a reader, in pieces of any size.
 *
 * Owner: the caller; outcome_free gives everything back.   Thread: one.   Units: bytes.
 * Errors: what the reader says.   Limits: none. */
#ifndef TESTS_UNIT_HTTP_FEED_H
#define TESTS_UNIT_HTTP_FEED_H

#include "gateway/http/http1.h"

#include <stdlib.h>

struct feed {
	size_t first;                    /* bytes of the first piece; 0: as `step` */
	size_t step;                     /* bytes of each further piece; 0: all that is left */
	bool answer;
	const struct http_head *asked;
	const struct http_limits *limits; /* NULL: the usual ones */
	uint64_t to_max;                 /* the body pipe's bound; 0: the usual one */
	bool open;                       /* the connection stays open behind the last byte */
};

struct outcome {
	enum http1 head_said;
	enum http1 body_said;            /* of the last call; MORE when there was none */
	const struct reason *reason;     /* NULL when it is whole, or merely unfinished */
	const struct reason *to_reason;  /* of the body pipe */
	bool to_ended;
	struct http_head head;
	char *body;
	size_t body_bytes;
	size_t used;                     /* of the input: what lies behind belongs to the next message */
	struct arena arena;
};

static inline void outcome_drain(struct outcome *outcome, struct pipe *to)
{
	size_t n;

	for (uint8_t *bytes; (bytes = pipe_peek(to, &n)); pipe_consume(to, n)) {
		outcome->body = realloc(outcome->body, outcome->body_bytes + n);
		memcpy(outcome->body + outcome->body_bytes, bytes, n);
		outcome->body_bytes += n;
	}
}

/* Reads as far as the bytes go. True: the reader has said its last word. */
static inline bool outcome_read(struct outcome *outcome, struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	if (outcome->head_said == HTTP1_MORE)
		outcome->head_said = http1_read_head(reader, from);
	if (outcome->head_said == HTTP1_MORE)
		return false;
	if (outcome->head_said != HTTP1_HEAD)
		return true;
	do {
		outcome->body_said = http1_read_body(reader, from, to);
		outcome_drain(outcome, to);
	} while (outcome->body_said == HTTP1_FULL);
	return outcome->body_said != HTTP1_MORE;
}

static inline void outcome_feed(struct outcome *outcome, const void *bytes, size_t n, const struct feed *feed)
{
	struct chunk_pool pool;
	struct pipe from, to;
	struct http1_reader reader;
	const struct http_limits *limits = feed->limits ? feed->limits : &HTTP_LIMITS_USUAL;
	size_t at = 0;
	bool done = false;

	*outcome = (struct outcome){.head_said = HTTP1_MORE, .body_said = HTTP1_MORE};
	arena_init(&outcome->arena, NULL, 0);
	chunk_pool_init(&pool, 1u << 20);
	pipe_init(&from, &pool, n + 1);
	pipe_init(&to, &pool, feed->to_max ? feed->to_max : PIPE_BYTES_MAX);
	if (feed->answer)
		http1_reader_begin_answer(&reader, &outcome->head, &outcome->arena, limits, feed->asked);
	else
		http1_reader_begin_request(&reader, &outcome->head, &outcome->arena, limits);
	while (at < n && !done) {
		size_t piece = at == 0 && feed->first ? feed->first : feed->step ? feed->step : n - at;

		piece = piece < n - at ? piece : n - at;
		pipe_write(&from, (const char *)bytes + at, piece);
		at += piece;
		done = outcome_read(outcome, &reader, &from, &to);
	}
	if (!done && !feed->open) {
		pipe_end(&from);
		outcome_read(outcome, &reader, &from, &to);
	}
	outcome->reason = reader.reason;
	outcome->to_reason = to.reason;
	outcome->to_ended = to.ended;
	outcome->used = at - from.bytes;
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
}

static inline void outcome_free(struct outcome *outcome)
{
	arena_fini(&outcome->arena);
	free(outcome->body);
	outcome->body = NULL;
}

static inline bool texts_equal(struct http_text a, struct http_text b)
{
	return !a.bytes == !b.bytes && a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

/* NULL, or the name of what differs. */
static inline const char *heads_differ(const struct http_head *a, const struct http_head *b)
{
	if (a->status != b->status || a->method != b->method || !texts_equal(a->method_text, b->method_text))
		return "method or status";
	if (!texts_equal(a->path, b->path) || !texts_equal(a->query, b->query))
		return "target";
	if (!texts_equal(a->host, b->host) || !texts_equal(a->host_name, b->host_name))
		return "host";
	if (a->body != b->body || a->has_length != b->has_length || a->content_length != b->content_length)
		return "framing";
	if (a->keep_alive != b->keep_alive || a->expect_continue != b->expect_continue || !texts_equal(a->upgrade, b->upgrade))
		return "connection";
	if (a->field_count != b->field_count)
		return "field count";
	for (unsigned i = 0; i < a->field_count; i++)
		if (!texts_equal(a->fields[i].name, b->fields[i].name) || !texts_equal(a->fields[i].value, b->fields[i].value))
			return "fields";
	return NULL;
}

/* NULL, or the name of what differs. Of a broken message only the reason counts: how much of a body went through before is
 * a matter of time. */
static inline const char *outcomes_differ(const struct outcome *a, const struct outcome *b)
{
	if (a->head_said != b->head_said || a->body_said != b->body_said)
		return "answer";
	if (a->reason != b->reason || a->to_reason != b->to_reason)
		return "reason";
	if (a->head_said != HTTP1_HEAD)
		return NULL;
	if (a->body_said == HTTP1_DONE && a->used != b->used)
		return "bytes used";
	if (a->body_bytes != b->body_bytes || (a->body_bytes > 0 && memcmp(a->body, b->body, a->body_bytes) != 0))
		return "body";
	return heads_differ(&a->head, &b->head);
}

#endif
