/* gateway/http/http1.h — HTTP/1.1 messages, read from a pipe and written to a pipe.
 *
 *            head            body, without its framing
 *   from ─▶ http1_read_head ─▶ http1_read_body ─▶ to            the next message's bytes stay in `from`
 *   to  ◀─ http1_write_head ◀─ http1_write_body ◀─ from
 *
 * Pull style: nothing here waits or wakes; a step calls, looks at the answer, and calls again when there is more. Heads are
 * checked line by line by our own strict layer (http/strict.h), then parsed by llhttp with no lenient flag set: two programs
 * must agree. A body with a length is moved chunk by chunk and not looked at. Chunk framing is scanned by the strict layer,
 * so that payload moves without a copy; tests and fuzzing hold it against llhttp.
 *
 * Reading an answer: interim ones (1xx but 101) come as heads of their own; begin again for the next. After a 101, or any
 * head with `upgrade` set in an answer, the bytes in `from` belong to the new protocol.
 *
 * Owner: the struct that embeds reader or writer; a head's texts live in the arena.   Thread: its core's.
 * Units: bytes.   Errors: `reason` in the struct after HTTP1_BROKEN; the body pipe is broken with it.
 * Limits: struct http_limits, the chunk limits of http/strict_chunks.h. */
#ifndef GATEWAY_HTTP_HTTP1_H
#define GATEWAY_HTTP_HTTP1_H

#include "gateway/http/message.h"
#include "gateway/http/strict_chunks.h"
#include "ring/pipe.h"

enum http1 {
	HTTP1_MORE,      /* `from` is empty: come again when there is more */
	HTTP1_FULL,      /* `to` is full: come again when it has opened */
	HTTP1_HEAD,      /* the head is whole; its bytes are consumed */
	HTTP1_DONE,      /* the body is whole; in reading, `to` has ended */
	HTTP1_END,       /* `from` ended in order, before the first byte of a message */
	HTTP1_BROKEN     /* `reason`; the connection can carry nothing more */
};

struct http1_reader {
	struct http_head *head;
	const struct http_head *asked;   /* the request this answers; NULL: a request is read */
	struct http_limits limits;
	const struct reason *reason;
	struct strict_head lines;
	struct strict_chunks chunks;
	char *gathered;                  /* a head that came in several pieces */
	size_t gathered_bytes;
	size_t gathered_space;
	enum http_body body;             /* as the head said; the head is yours once it is read, and may be changed */
	uint64_t body_left;              /* of HTTP_BODY_LENGTH */
	uint64_t body_bytes;             /* that came so far, without framing */
	uint8_t step;
};

/* Before each message. `head` is initialised here, and its memory comes from `arena`; both stay until the body is read.
 * Cheap; nothing is to be given back. */
void http1_reader_begin_request(struct http1_reader *, struct http_head *, struct arena *, const struct http_limits *);

/* `asked` tells which answers have no body and whether an upgrade was wished for. It must stay until the head is read. */
void http1_reader_begin_answer(struct http1_reader *, struct http_head *, struct arena *, const struct http_limits *,
                               const struct http_head *asked);

/* MORE, HEAD, END or BROKEN. Consumes the head's bytes and no more. A body whose limit depends on where the head leads:
 * begin with body_bytes_max UINT64_MAX and set limits.body_bytes_max between the head and the first http1_read_body. */
enum http1 http1_read_head(struct http1_reader *, struct pipe *from);

/* Would the body be refused for its announced length? Asked before a client is told to continue. */
static inline bool http1_body_too_large(const struct http1_reader *reader)
{
	return reader->body == HTTP_BODY_LENGTH && reader->body_left > reader->limits.body_bytes_max;
}

/* After HEAD: MORE, FULL, DONE or BROKEN. At the end `to` is ended, or broken with the reason. */
enum http1 http1_read_body(struct http1_reader *, struct pipe *from, struct pipe *to);

/* Has any byte of this message come (a blank line is none)? A pooled connection that ends before was merely old. */
static inline bool http1_reader_begun(const struct http1_reader *reader)
{
	return reader->lines.begun;
}

/* The start line, the fields, and the owned fields from the struct (see message.h). Does not ask pipe_free.
 * check: no chunked body for a peer of 1.0; a request has method, path and host. */
void http1_write_head(struct pipe *to, const struct http_head *);

/* "HTTP/1.1 100 Continue" */
void http1_write_continue(struct pipe *to);

struct http1_writer {
	enum http_body body;
	uint64_t body_left;              /* of HTTP_BODY_LENGTH */
	uint64_t body_bytes;             /* written so far, without framing */
	const struct reason *reason;
	bool done;
};

/* For the body of a head that was written. HTTP_BODY_NONE: what comes is thrown away (an answer to HEAD). */
void http1_writer_begin(struct http1_writer *, const struct http_head *);

/* MORE, FULL, DONE or BROKEN. DONE when `from` has ended and everything is in `to`; `to` is not ended: another message may
 * follow, and HTTP_BODY_UNTIL_END wants the caller's pipe_end. BROKEN: `to` is broken, so that the receiver sees that the
 * body is cut; the last chunk is not written. */
enum http1 http1_write_body(struct http1_writer *, struct pipe *from, struct pipe *to);

#endif
