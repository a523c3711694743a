/* Messages read from a pipe: whatever the cuts, whatever the room, the same message. */
#include "gateway/http/http1.c"
#include "tests/unit/http_feed.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static struct outcome feed(const char *bytes, struct feed how)
{
	struct outcome outcome;

	outcome_feed(&outcome, bytes, strlen(bytes), &how);
	return outcome;
}

static bool body_is(const struct outcome *outcome, const char *text)
{
	return outcome->body_bytes == strlen(text) && (outcome->body_bytes == 0 || memcmp(outcome->body, text, outcome->body_bytes) == 0);
}

static const struct http_head asked_get = {.method = HTTP_METHOD_GET};
static const struct http_head asked_head = {.method = HTTP_METHOD_HEAD};
static const struct http_head asked_websocket = {.method = HTTP_METHOD_GET, .upgrade = {"websocket", 9}};

static const struct {
	const char *bytes;
	const char *body;
	const struct http_head *asked;   /* NULL: a request */
	enum http_body framing;
} messages[] = {
	{GET "\r\n", "", NULL, HTTP_BODY_NONE},
	{"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{"GET /a/../b%41?c=d&e HTTP/1.1\r\nHost: a:80\r\nA:\r\nB: \t \r\nC:d\r\nD: \t e f\x80 \t\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{"GET / HTTP/1.0\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{POST "Content-Length: 0\r\n\r\n", "", NULL, HTTP_BODY_LENGTH},
	{POST "Content-Length: 11\r\n\r\nhello world", "hello world", NULL, HTTP_BODY_LENGTH},
	{POST "Content-Length: 11\r\nExpect: 100-continue\r\n\r\nhello world", "hello world", NULL, HTTP_BODY_LENGTH},
	{CHUNKED "0\r\n\r\n", "", NULL, HTTP_BODY_CHUNKED},
	{CHUNKED "5\r\nhello\r\n006\r\n world\r\n0\r\n\r\n", "hello world", NULL, HTTP_BODY_CHUNKED},
	{CHUNKED "B;a;b=c;d=\"e\\\"f\"\r\nhello world\r\n0;x\r\nA: b\r\nContent-Length: 7\r\n\r\n", "hello world", NULL, HTTP_BODY_CHUNKED},
	{CHUNKED "1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", "\n\r", NULL, HTTP_BODY_CHUNKED},
	{"GET /live HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "", NULL, HTTP_BODY_NONE},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", &asked_get, HTTP_BODY_LENGTH},
	{"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello", &asked_get, HTTP_BODY_LENGTH},
	{"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "hello", &asked_get, HTTP_BODY_LENGTH},
	{"HTTP/1.1 200 Sch\xf6n gut\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", &asked_get, HTTP_BODY_CHUNKED},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", &asked_head, HTTP_BODY_NONE},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", &asked_head, HTTP_BODY_NONE},
	{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", &asked_get, HTTP_BODY_NONE},
	{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", &asked_get, HTTP_BODY_NONE},
	{"HTTP/1.1 100 Continue\r\n\r\n", "", &asked_get, HTTP_BODY_NONE},
	{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", "", &asked_websocket, HTTP_BODY_NONE},
};

Test(http_read, a_message_cut_anywhere_is_the_same_message)
{
	for (size_t i = 0; i < array_count(messages); i++) {
		bool answer = messages[i].asked != NULL;
		size_t size = strlen(messages[i].bytes);
		struct outcome whole = feed(messages[i].bytes, (struct feed){.answer = answer, .asked = messages[i].asked});

		cr_expect_eq(whole.head_said, HTTP1_HEAD, "%zu: %s", i, whole.reason ? whole.reason->name : "");
		cr_expect_eq(whole.body_said, HTTP1_DONE, "%zu", i);
		cr_expect_eq(whole.head.body, messages[i].framing, "%zu", i);
		cr_expect_eq(whole.used, size, "%zu: %zu of %zu", i, whole.used, size);
		cr_expect(body_is(&whole, messages[i].body), "%zu", i);
		cr_expect(whole.to_ended && !whole.to_reason);
		for (size_t first = 1; first < size; first++)
			for (size_t step = 0; step < 4; step++) {
				struct outcome cut = feed(messages[i].bytes, (struct feed){.first = first, .step = step, .answer = answer,
				                          .asked = messages[i].asked, .to_max = step ? step : PIPE_BYTES_MAX});
				const char *differs = outcomes_differ(&whole, &cut);

				cr_expect(!differs, "%zu cut at %zu: %s", i, first, differs);
				outcome_free(&cut);
			}
		outcome_free(&whole);
	}
}

Test(http_read, an_answer_without_a_length_ends_with_its_connection)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello world";

	for (size_t first = 1; first < sizeof answer - 1; first++) {
		struct outcome outcome = feed(answer, (struct feed){.first = first, .answer = true, .asked = &asked_get, .to_max = 3});

		cr_expect_eq(outcome.body_said, HTTP1_DONE);
		cr_expect_eq(outcome.head.body, HTTP_BODY_UNTIL_END);
		cr_expect(!outcome.head.keep_alive);
		cr_expect(body_is(&outcome, "hello world"));
		outcome_free(&outcome);
	}
}

Test(http_read, what_stands_in_the_head_is_found_in_the_struct)
{
	struct outcome o = feed("PUT /a//b/./%7euser?x=%2F&y HTTP/1.1\r\nhOST: Example.org:8443\r\nContent-Length: 007\r\n"
	                        "X-Thing:  two  words \t\r\nx-thing: again\r\nConnection: close, X-Thing\r\nExpect: 100-Continue\r\n"
	                        "Empty:\r\n\r\n1234567", (struct feed){0});
	const struct http_head *head = &o.head;

	cr_assert_eq(head->method, HTTP_METHOD_PUT);
	cr_assert(http_text_is(head->method_text, "PUT"));
	cr_assert(http_text_is(head->path, "/a/b/~user"));
	cr_assert(http_text_is(head->query, "x=%2F&y"));
	cr_assert(http_text_is(head->host, "Example.org:8443"));
	cr_assert(http_text_is(head->host_name, "Example.org"));
	cr_assert_eq(head->version_minor, 1);
	cr_assert_eq(head->body, HTTP_BODY_LENGTH);
	cr_assert(head->has_length);
	cr_assert_eq(head->content_length, 7);
	cr_assert(!head->keep_alive);
	cr_assert(head->expect_continue);
	cr_assert(!head->upgrade.bytes);
	cr_assert_eq(head->field_count, 7);
	cr_assert(http_text_is(http_find(head, "X-THING"), "two  words"));
	cr_assert(http_text_is(http_known(head, HTTP_NAME_HOST), "Example.org:8443"));
	cr_assert(http_find(head, "empty").bytes && http_find(head, "empty").size == 0);
	cr_assert(!http_find(head, "absent").bytes);
	cr_assert(http_text_is(head->fields[6].name, "Empty"));
	outcome_free(&o);
}

Test(http_read, an_absolute_target_replaces_the_host)
{
	struct outcome o = feed("GET HTTP://b.example:81?q HTTP/1.1\r\nHost: a\r\n\r\n", (struct feed){0});

	cr_assert_eq(o.head_said, HTTP1_HEAD);
	cr_assert(http_text_is(o.head.host, "b.example:81"));
	cr_assert(http_text_is(o.head.host_name, "b.example"));
	cr_assert(http_text_is(http_known(&o.head, HTTP_NAME_HOST), "b.example:81"));
	cr_assert(http_text_is(o.head.path, "/"));
	cr_assert(http_text_is(o.head.query, "q"));
	outcome_free(&o);
	o = feed("GET https://b/x HTTP/1.0\r\n\r\n", (struct feed){0});
	cr_assert(http_text_is(http_known(&o.head, HTTP_NAME_HOST), "b"));
	outcome_free(&o);
	/* Of HTTP/1.0 none need be there. */
	o = feed("GET http://b/ HTTP/1.0\r\n\r\n", (struct feed){0});
	cr_assert_eq(o.reason, NULL);
	outcome_free(&o);

	o = feed("OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", (struct feed){0});
	cr_assert(http_text_is(o.head.path, "*"));
	outcome_free(&o);
}

Test(http_read, a_dot_behind_the_host_is_forwarded_and_no_part_of_its_name)
{
	static const char *const requests[] = {
		"GET / HTTP/1.1\r\nHost: b.Example.:81\r\n\r\n",
		"GET http://b.Example.:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
	};

	for (unsigned i = 0; i < array_count(requests); i++) {
		struct outcome o = feed(requests[i], (struct feed){0});

		cr_assert_eq(o.head_said, HTTP1_HEAD);
		cr_assert(http_text_is(o.head.host_name, "b.Example"));
		cr_assert(http_text_is(o.head.host, "b.Example.:81"));
		cr_assert(http_text_is(http_known(&o.head, HTTP_NAME_HOST), "b.Example.:81"));
		outcome_free(&o);
	}
}

Test(http_read, whether_the_connection_goes_on_follows_version_and_options)
{
	static const struct {
		const char *bytes;
		bool keep_alive, upgrade;
	} cases[] = {
		{GET "\r\n", true, false},
		{GET "Connection: close\r\n\r\n", false, false},
		{GET "Connection: foo\r\nConnection: ,CLOSE ,keep-alive\r\n\r\n", false, false},
		{"GET / HTTP/1.0\r\n\r\n", false, false},
		{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false},
		{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, false},
		{GET "Upgrade: websocket\r\n\r\n", true, false},
		{GET "Connection: upgrade\r\n\r\n", true, false},
		{GET "Connection: upgrade\r\nUpgrade: \r\n\r\n", true, false},
		{GET "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", true, true},
		{GET "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", true, false},
	};

	for (size_t i = 0; i < array_count(cases); i++) {
		struct outcome o = feed(cases[i].bytes, (struct feed){0});

		cr_expect_eq(o.head_said, HTTP1_HEAD);
		cr_expect_eq(o.head.keep_alive, cases[i].keep_alive, "%zu", i);
		cr_expect_eq(o.head.upgrade.bytes != NULL, cases[i].upgrade, "%zu", i);
		outcome_free(&o);
	}
}

Test(http_read, a_protocol_that_was_not_wished_for_is_refused)
{
	struct outcome o = feed("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
	                        (struct feed){.answer = true, .asked = &asked_websocket});

	cr_assert_eq(o.reason, &HTTP_UPGRADE_UNASKED);
	outcome_free(&o);
	o = feed("HTTP/1.1 101 Go\r\n\r\n", (struct feed){.answer = true, .asked = &asked_websocket});
	cr_assert_eq(o.reason, &HTTP_UPGRADE_UNASKED);
	outcome_free(&o);
}

/* One connection, many messages: heads and bodies of requests, one behind the other in the same pipe. */
Test(http_read, pipelined_requests_are_read_one_by_one_and_the_rest_stays)
{
	static const char stream[] = GET "\r\n" POST "Content-Length: 3\r\n\r\nabc" CHUNKED "2\r\nde\r\n0\r\n\r\n"
	                             "\r\n" GET "\r\n" "GET /last HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" "\x81\x00raw";
	static const char *const bodies[] = {"", "abc", "de", "", ""};

	for (size_t step = 1; step < sizeof stream; step++) {
		struct chunk_pool pool;
		struct pipe from, to;
		struct arena arena;
		struct http_head head;
		struct http1_reader reader;
		size_t at = 0;
		unsigned i = 0;
		size_t n;

		chunk_pool_init(&pool, 100);
		pipe_init(&from, &pool, PIPE_BYTES_MAX);
		arena_init(&arena, NULL, 0);
		for (; i < array_count(bodies); i++) {
			enum http1 said;

			arena_reset(&arena);
			http1_reader_begin_request(&reader, &head, &arena, &HTTP_LIMITS_USUAL);
			pipe_init(&to, &pool, PIPE_BYTES_MAX);
			while ((said = http1_read_head(&reader, &from)) == HTTP1_MORE || (said == HTTP1_HEAD && (said = http1_read_body(&reader, &from, &to)) == HTTP1_MORE)) {
				size_t piece = sizeof stream - 1 - at < step ? sizeof stream - 1 - at : step;

				if (reader.step != READ_HEAD)
					break;
				pipe_write(&from, stream + at, piece);
				at += piece;
			}
			while (said == HTTP1_MORE) {
				size_t piece = sizeof stream - 1 - at < step ? sizeof stream - 1 - at : step;

				pipe_write(&from, stream + at, piece);
				at += piece;
				said = http1_read_body(&reader, &from, &to);
			}
			cr_assert_eq(said, HTTP1_DONE);
			cr_assert_eq(to.bytes, strlen(bodies[i]));
			cr_assert(to.bytes == 0 || memcmp(pipe_peek(&to, &n), bodies[i], strlen(bodies[i])) == 0);
			pipe_fini(&to);
		}
		cr_assert(head.upgrade.bytes);
		pipe_write(&from, stream + at, sizeof stream - 1 - at);
		cr_assert_eq(from.bytes, 5);
		cr_assert(memcmp(pipe_peek(&from, &n), "\x81\x00raw", 5) == 0);
		arena_fini(&arena);
		pipe_fini(&from);
		chunk_pool_fini(&pool);
	}
}

Test(http_read, interim_answers_come_before_the_final_one)
{
	static const char stream[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	struct chunk_pool pool;
	struct pipe from, to;
	struct arena arena;
	struct http_head head;
	struct http1_reader reader;
	unsigned interim_count = 0;

	chunk_pool_init(&pool, 100);
	pipe_init(&from, &pool, PIPE_BYTES_MAX);
	pipe_init(&to, &pool, PIPE_BYTES_MAX);
	arena_init(&arena, NULL, 0);
	pipe_write(&from, stream, sizeof stream - 1);
	do {
		http1_reader_begin_answer(&reader, &head, &arena, &HTTP_LIMITS_USUAL, &asked_get);
		cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
		interim_count += http_status_interim(head.status);
	} while (http_status_interim(head.status));
	cr_assert_eq(interim_count, 2);
	cr_assert_eq(head.status, 200);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_DONE);
	cr_assert_eq(to.bytes, 2);
	cr_assert_eq(from.bytes, 0);
	arena_fini(&arena);
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
}

Test(http_read, an_end_before_the_first_byte_is_an_orderly_end)
{
	struct outcome o = feed("", (struct feed){0});

	cr_assert_eq(o.head_said, HTTP1_END);
	outcome_free(&o);
	o = feed("\r\n", (struct feed){0});
	cr_assert_eq(o.head_said, HTTP1_END);
	outcome_free(&o);
	o = feed("", (struct feed){.answer = true});
	cr_assert_eq(o.head_said, HTTP1_END);
	outcome_free(&o);
}

/* The reason of whoever broke the connection goes on to the body. */
Test(http_read, a_reset_within_a_body_reaches_its_reader)
{
	static const char *const heads[] = {"HTTP/1.1 200 OK\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
	                                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"};

	for (size_t i = 0; i < array_count(heads); i++) {
		struct chunk_pool pool;
		struct pipe from, to;
		struct arena arena;
		struct http_head head;
		struct http1_reader reader;

		chunk_pool_init(&pool, 100);
		pipe_init(&from, &pool, PIPE_BYTES_MAX);
		pipe_init(&to, &pool, PIPE_BYTES_MAX);
		arena_init(&arena, NULL, 0);
		http1_reader_begin_answer(&reader, &head, &arena, &HTTP_LIMITS_USUAL, &asked_get);
		pipe_write(&from, heads[i], strlen(heads[i]));
		pipe_break(&from, &TCP_RESET);
		cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
		cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_BROKEN);
		cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_BROKEN);
		cr_assert_eq(reader.reason, &TCP_RESET);
		cr_assert_eq(to.reason, &TCP_RESET);
		arena_fini(&arena);
		pipe_fini(&from);
		pipe_fini(&to);
		chunk_pool_fini(&pool);
	}
}

/* ---- limits, at N and at N + 1 ---- */

static const struct reason *limited(const char *bytes, bool answer, struct http_limits limits)
{
	const struct reason *reason = NULL;

	for (size_t step = 0; step < 3; step++) {
		struct outcome o = feed(bytes, (struct feed){.step = step, .answer = answer, .asked = answer ? &asked_get : NULL, .limits = &limits});

		cr_assert(step == 0 || reason == o.reason);
		reason = o.reason;
		outcome_free(&o);
	}
	return reason;
}

Test(http_read, each_limit_takes_n_and_refuses_one_more)
{
	static const char head[] = "\r\nGET /12345 HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
	struct http_limits limits = HTTP_LIMITS_USUAL;

	limits.head_bytes_max = sizeof head - 1 - 2;
	limits.uri_bytes_max = 6;
	limits.fields_max = 2;
	cr_assert_eq(limited(head, false, limits), NULL);
	limits.head_bytes_max--;
	cr_assert_eq(limited(head, false, limits), &HTTP_HEAD_TOO_LARGE);
	limits.head_bytes_max++;
	limits.uri_bytes_max--;
	cr_assert_eq(limited(head, false, limits), &HTTP_TARGET_TOO_LONG);
	limits.uri_bytes_max++;
	limits.fields_max--;
	cr_assert_eq(limited(head, false, limits), &HTTP_FIELDS_TOO_MANY);

	limits = HTTP_LIMITS_USUAL;
	limits.head_bytes_max = sizeof "HTTP/1.1 200 OK\r\n\r\n" - 1;
	cr_assert_eq(limited("HTTP/1.1 200 OK\r\n\r\n", true, limits), NULL);
	for (; limits.head_bytes_max > 0; limits.head_bytes_max--)
		cr_assert_eq(limited("HTTP/1.1 200 OKK\r\n\r\n", true, limits), &HTTP_HEAD_TOO_LARGE);
	limits = HTTP_LIMITS_USUAL;
	/* A method is read up to 24 bytes, and none that is served is as long. */
	cr_assert_eq(limited("ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\nHost: a\r\n\r\n", false, limits), &HTTP_METHOD_UNKNOWN);
	cr_assert_eq(limited("ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: a\r\n\r\n", false, limits), &HTTP_METHOD_BAD);

	limits.body_bytes_max = 5;
	cr_assert_eq(limited(POST "Content-Length: 5\r\n\r\nhello", false, limits), NULL);
	cr_assert_eq(limited(POST "Content-Length: 6\r\n\r\nhello!", false, limits), &HTTP_BODY_TOO_LARGE);
	cr_assert_eq(limited(CHUNKED "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", false, limits), NULL);
	cr_assert_eq(limited(CHUNKED "2\r\nhe\r\n4\r\nllo!\r\n0\r\n\r\n", false, limits), &HTTP_BODY_TOO_LARGE);
	cr_assert_eq(limited("HTTP/1.1 200 OK\r\n\r\nhello", true, limits), NULL);
	cr_assert_eq(limited("HTTP/1.1 200 OK\r\n\r\nhello!", true, limits), &HTTP_BODY_TOO_LARGE);
	/* A length that no body follows is no body. */
	cr_assert_eq(limited("HTTP/1.1 304 OK\r\nContent-Length: 6\r\n\r\n", true, limits), NULL);
}

Test(http_read, the_limits_of_chunk_framing_hold)
{
	char line[2048], *body = malloc(1u << 20);
	size_t n;

	/* "1;" and a name, and CRLF: exactly the longest line, and one more. */
	for (unsigned more = 0; more < 2; more++) {
		n = (size_t)sprintf(line, CHUNKED "1;%0*d\r\na\r\n0\r\n\r\n", (int)(STRICT_CHUNK_LINE_BYTES_MAX - 4 + more), 7);
		cr_assert(n < sizeof line);
		cr_assert_eq(limited(line, false, HTTP_LIMITS_USUAL), more ? &HTTP_CHUNK_EXTENSION_LONG : NULL);
	}
	/* One-byte chunks are fine, with long extensions they are not. */
	for (unsigned extension = 0; extension < 2; extension++) {
		n = (size_t)sprintf(body, CHUNKED);
		for (unsigned i = 0; i < 200; i++)
			n += (size_t)sprintf(body + n, extension ? "1;%0*d\r\na\r\n" : "1\r\na\r\n", 200, 7);
		sprintf(body + n, "0\r\n\r\n");
		cr_assert_eq(limited(body, false, HTTP_LIMITS_USUAL), extension ? &HTTP_CHUNK_WASTEFUL : NULL);
	}
	for (unsigned more = 0; more < 2; more++) {
		n = (size_t)sprintf(body, CHUNKED "0\r\n");
		for (unsigned i = 0; i < STRICT_TRAILER_FIELDS_MAX + more; i++)
			n += (size_t)sprintf(body + n, "A: b\r\n");
		sprintf(body + n, "\r\n");
		cr_assert_eq(limited(body, false, HTTP_LIMITS_USUAL), more ? &HTTP_TRAILER_LARGE : NULL);
		sprintf(body, CHUNKED "0\r\nA: %0*d\r\n\r\n", (int)(STRICT_TRAILER_BYTES_MAX - 7 + more), 7);
		cr_assert_eq(limited(body, false, HTTP_LIMITS_USUAL), more ? &HTTP_TRAILER_LARGE : NULL);
	}
	free(body);
}

/* Larger than a chunk of memory, so that the pieces of the head lie apart. */
Test(http_read, a_head_over_several_chunks_of_memory_is_put_together)
{
	struct http_limits limits = {.head_bytes_max = 1u << 20, .uri_bytes_max = 1u << 20, .fields_max = 1000, .body_bytes_max = 100};
	char *bytes = malloc(1u << 20);
	size_t n = (size_t)sprintf(bytes, GET);
	struct outcome o;

	for (unsigned i = 0; i < 900; i++)
		n += (size_t)sprintf(bytes + n, "Name-%u: %0*u\r\n", i, 70, i);
	n += (size_t)sprintf(bytes + n, "Content-Length: 2\r\n\r\nhi");
	cr_assert(n > 3 * CHUNK_BYTES);
	o = feed(bytes, (struct feed){.limits = &limits});
	cr_assert_eq(o.head_said, HTTP1_HEAD);
	cr_assert_eq(o.head.field_count, 902);
	cr_assert_eq(http_find(&o.head, "name-899").size, 70);
	cr_assert(body_is(&o, "hi"));
	outcome_free(&o);
	free(bytes);
}

/* Backpressure: the reader leaves in `from` what `to` does not take, and does not lose its place. */
Test(http_read, a_full_body_pipe_stops_the_reader_until_it_opens)
{
	static const char stream[] = CHUNKED "8\r\nabcdefgh\r\n0\r\n\r\n";
	struct chunk_pool pool;
	struct pipe from, to;
	struct arena arena;
	struct http_head head;
	struct http1_reader reader;

	chunk_pool_init(&pool, 100);
	pipe_init(&from, &pool, PIPE_BYTES_MAX);
	pipe_init(&to, &pool, 4);
	arena_init(&arena, NULL, 0);
	pipe_write(&from, stream, sizeof stream - 1);
	http1_reader_begin_request(&reader, &head, &arena, &HTTP_LIMITS_USUAL);
	cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_FULL);
	cr_assert_eq(to.bytes, 4);
	pipe_consume(&to, 1);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_FULL);
	cr_assert_eq(to.bytes, 3);
	pipe_consume(&to, 3);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_DONE);
	cr_assert_eq(to.bytes, 4);
	cr_assert(to.ended);
	/* A body that nobody wants is read to its end all the same. */
	cr_assert_eq(from.bytes, 0);
	pipe_fini(&to);
	pipe_init(&to, &pool, 4);
	pipe_refuse(&to, &RING_DONE);
	pipe_write(&from, stream, sizeof stream - 1);
	http1_reader_begin_request(&reader, &head, &arena, &HTTP_LIMITS_USUAL);
	cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_DONE);
	cr_assert_eq(from.bytes, 0);
	arena_fini(&arena);
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
}

/* The one who asks knows the route's limit only when it has the head; and a head is the reader's no more once it was read. */
Test(http_read, the_limit_of_a_body_may_be_set_behind_its_head)
{
	static const char *const streams[] = {POST "Content-Length: 5\r\n\r\nhello", CHUNKED "5\r\nhello\r\n0\r\n\r\n"};

	for (unsigned i = 0; i < 4; i++) {
		uint64_t bytes_max = 4 + i / 2;
		struct chunk_pool pool;
		struct pipe from, to;
		struct arena arena;
		struct http_head head;
		struct http1_reader reader;
		struct http_limits limits = HTTP_LIMITS_USUAL;

		limits.body_bytes_max = UINT64_MAX;
		chunk_pool_init(&pool, 100);
		pipe_init(&from, &pool, PIPE_BYTES_MAX);
		pipe_init(&to, &pool, PIPE_BYTES_MAX);
		arena_init(&arena, NULL, 0);
		http1_reader_begin_request(&reader, &head, &arena, &limits);
		pipe_write(&from, streams[i % 2], strlen(streams[i % 2]));
		cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
		reader.limits.body_bytes_max = bytes_max;
		head.body = HTTP_BODY_UNTIL_END;
		cr_assert_eq(http1_body_too_large(&reader), i == 0);
		cr_assert_eq(http1_read_body(&reader, &from, &to), bytes_max < 5 ? HTTP1_BROKEN : HTTP1_DONE);
		cr_assert_eq(to.reason, bytes_max < 5 ? &HTTP_BODY_TOO_LARGE : NULL);
		arena_fini(&arena);
		pipe_fini(&from);
		pipe_fini(&to);
		chunk_pool_fini(&pool);
	}
}

/* A body with a length is moved: the chunk of memory that came from the socket is the one that leaves. */
Test(http_read, a_body_with_a_length_moves_without_a_copy)
{
	struct chunk_pool pool;
	struct pipe from, to;
	struct arena arena;
	struct http_head head;
	struct http1_reader reader;
	struct chunk *chunk;

	chunk_pool_init(&pool, 100);
	pipe_init(&from, &pool, PIPE_BYTES_MAX);
	pipe_init(&to, &pool, PIPE_BYTES_MAX);
	arena_init(&arena, NULL, 0);
	pipe_write(&from, POST "Content-Length: 16384\r\n\r\n", strlen(POST) + 25);
	http1_reader_begin_request(&reader, &head, &arena, &HTTP_LIMITS_USUAL);
	cr_assert_eq(http1_read_head(&reader, &from), HTTP1_HEAD);
	chunk = chunk_take(&pool);
	chunk->end = 16384;
	memset(chunk->bytes, 'x', 16384);
	pipe_put(&from, chunk);
	cr_assert_eq(http1_read_body(&reader, &from, &to), HTTP1_DONE);
	cr_assert_eq(to.first, chunk);
	cr_assert_eq(to.first->next, NULL);
	arena_fini(&arena);
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
}

/* ---- our scanner of chunk framing against llhttp's ---- */

struct second {
	char body[4096];
	size_t body_bytes;
	bool complete;
};

static int second_body(llhttp_t *parser, const char *at, size_t n)
{
	struct second *second = parser->data;

	memcpy(second->body + second->body_bytes, at, n);
	second->body_bytes += n;
	return 0;
}

static int second_complete(llhttp_t *parser)
{
	((struct second *)parser->data)->complete = true;
	return HPE_PAUSED;
}

/* Bodies by seed, sound and damaged: what we take, llhttp takes, and it is the same body. */
Test(http_read, what_we_take_as_chunks_llhttp_takes_as_the_same_body)
{
	static const llhttp_settings_t second_settings = {.on_body = second_body, .on_message_complete = second_complete};
	static const char noise[] = "0123456789abcdefABCDEFxX;=\"\\ \t\r\n\0,+-";
	uint64_t seed = 1;
	unsigned taken = 0, refused = 0;

	for (unsigned round = 0; round < 20000; round++) {
		char bytes[1024];
		size_t n = (size_t)sprintf(bytes, CHUNKED), damage_from = n;
		unsigned chunks, damages;
		struct outcome o;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		chunks = seed >> 60 & 3;
		for (unsigned i = 0; i < chunks; i++) {
			unsigned size = 1 + (seed >> (10 + 8 * i) & 31);

			n += (size_t)sprintf(bytes + n, (seed >> i & 1) ? "%x;a=\"b\";c\r\n" : "%X\r\n", size);
			for (unsigned k = 0; k < size; k++)
				bytes[n++] = "\r\n0a;"[(seed >> k & 63) % 5];
			n += (size_t)sprintf(bytes + n, "\r\n");
		}
		n += (size_t)sprintf(bytes + n, (seed & 16) ? "0\r\n\r\n" : "0;z\r\nA: b\r\n\r\n");
		damages = seed >> 57 & 1;
		for (unsigned i = 0; i < damages; i++)
			bytes[damage_from + (seed >> 20) % (n - damage_from)] = noise[(seed >> 5) % (sizeof noise - 1)];
		outcome_feed(&o, bytes, n, &(struct feed){0});
		if (o.body_said == HTTP1_DONE) {
			struct second second = {.complete = false};
			llhttp_t parser;

			llhttp_init(&parser, HTTP_REQUEST, &second_settings);
			parser.data = &second;
			llhttp_execute(&parser, bytes, o.used);
			cr_assert(second.complete, "llhttp: %s", llhttp_get_error_reason(&parser));
			cr_assert_eq(second.body_bytes, o.body_bytes);
			cr_assert(o.body_bytes == 0 || memcmp(second.body, o.body, o.body_bytes) == 0);
			taken++;
		} else {
			refused++;
		}
		outcome_free(&o);
	}
	cr_assert(taken > 5000 && refused > 2000, "%u taken, %u refused", taken, refused);
}
