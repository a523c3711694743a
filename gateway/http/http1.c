/* gateway/http/http1.c — messages between pipes; see http1.h. */
#include "gateway/http/http1.h"

#include <llhttp.h>

/* ---- reading a head ---- */

enum {
	READ_HEAD,
	READ_HEAD_DONE,
	READ_BODY,
	READ_DONE,
	READ_BROKEN,
};

static void reader_begin(struct http1_reader *reader, struct http_head *head, struct arena *arena,
                         const struct http_limits *limits, const struct http_head *asked, bool answer)
{
	check(limits->fields_max <= HTTP_FIELDS_MAX);
	http_head_init(head, arena);
	reader->head = head;
	reader->asked = asked;
	reader->limits = *limits;
	reader->reason = NULL;
	strict_head_begin(&reader->lines, answer);
	reader->gathered = NULL;
	reader->gathered_bytes = reader->gathered_space = 0;
	reader->body_left = reader->body_bytes = 0;
	reader->step = READ_HEAD;
}

void http1_reader_begin_request(struct http1_reader *reader, struct http_head *head, struct arena *arena,
                                const struct http_limits *limits)
{
	reader_begin(reader, head, arena, limits, NULL, false);
}

void http1_reader_begin_answer(struct http1_reader *reader, struct http_head *head, struct arena *arena,
                               const struct http_limits *limits, const struct http_head *asked)
{
	reader_begin(reader, head, arena, limits, asked, true);
}

static enum http1 read_broken(struct http1_reader *reader, const struct reason *reason)
{
	reader->step = READ_BROKEN;
	reader->reason = reason;
	return HTTP1_BROKEN;
}

/* What llhttp tells while it passes over one whole head. All spans lie in that head, so each comes in one piece; an empty
 * value comes as no span at all. */
struct parse {
	struct http_head *head;
	struct http_text target;
	struct http_text name;           /* of the field that is being read; bytes NULL: between fields */
	struct http_text value;
	bool complete;
};

static int parsed_method(llhttp_t *parser, const char *at, size_t n)
{
	((struct parse *)parser->data)->head->method_text = (struct http_text){at, n};
	return 0;
}

static int parsed_target(llhttp_t *parser, const char *at, size_t n)
{
	((struct parse *)parser->data)->target = (struct http_text){at, n};
	return 0;
}

static int parsed_phrase(llhttp_t *parser, const char *at, size_t n)
{
	((struct parse *)parser->data)->head->phrase = (struct http_text){at, n};
	return 0;
}

static int parsed_name(llhttp_t *parser, const char *at, size_t n)
{
	struct parse *parse = parser->data;

	parse->name = (struct http_text){at, n};
	parse->value = (struct http_text){at + n, 0};
	return 0;
}

static int parsed_value(llhttp_t *parser, const char *at, size_t n)
{
	((struct parse *)parser->data)->value = (struct http_text){at, n};
	return 0;
}

/* RFC 9110 §5.5: "field value does not include leading or trailing whitespace"; llhttp leaves the trailing one. */
static int parsed_field(llhttp_t *parser)
{
	struct parse *parse = parser->data;
	struct http_text value = parse->value;

	while (value.size > 0 && (value.bytes[value.size - 1] == ' ' || value.bytes[value.size - 1] == '\t'))
		value.size--;
	http_append(parse->head, parse->name, value);
	parse->name.bytes = NULL;
	return 0;
}

static int parsed_all(llhttp_t *parser)
{
	((struct parse *)parser->data)->complete = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_method = parsed_method,
	.on_url = parsed_target,
	.on_status = parsed_phrase,
	.on_header_field = parsed_name,
	.on_header_value = parsed_value,
	.on_header_value_complete = parsed_field,
	.on_headers_complete = parsed_all,
};

/* llhttp stops at the first rule that is broken, and has fewer names for them. The fields it has read, with the one it was
 * reading, tell the rest. */
static const struct reason *framing_reason(const struct parse *parse, const struct reason *otherwise)
{
	const struct http_head *head = parse->head;
	enum http_name at = parse->name.bytes ? http_name_of(parse->name) : HTTP_NAME_OTHER;
	const struct http_field *transfer = http_known_next(head, HTTP_NAME_TRANSFER_ENCODING, NULL);
	const struct http_field *length = http_known_next(head, HTTP_NAME_CONTENT_LENGTH, NULL);
	bool transfer_now = at == HTTP_NAME_TRANSFER_ENCODING;
	bool length_now = at == HTTP_NAME_CONTENT_LENGTH;

	if ((transfer || transfer_now) && (length || length_now))
		return &HTTP_FRAMING_AMBIGUOUS;
	if (length && length_now)
		return &HTTP_LENGTH_SEVERAL;
	if ((transfer || transfer_now) && head->version_minor == 0)
		return &HTTP_TRANSFER_IN_1_0;
	if (transfer && (transfer_now || http_known_next(head, HTTP_NAME_TRANSFER_ENCODING, transfer)))
		return &HTTP_TRANSFER_SEVERAL;
	return otherwise;
}

static const struct reason *parse_reason(const llhttp_t *parser, const struct parse *parse)
{
	switch (llhttp_get_errno(parser)) {
	case HPE_UNEXPECTED_CONTENT_LENGTH:
	case HPE_INVALID_CONTENT_LENGTH:
		return framing_reason(parse, &HTTP_LENGTH_BAD);
	case HPE_INVALID_TRANSFER_ENCODING:
		return framing_reason(parse, &HTTP_TRANSFER_BAD);
	case HPE_INVALID_VERSION:
		return &HTTP_VERSION_UNSERVED;
	case HPE_INVALID_STATUS:
		return &HTTP_STATUS_BAD;
	case HPE_INVALID_METHOD:
		return &HTTP_METHOD_UNKNOWN;
	case HPE_INVALID_URL:
		return http_text_is(parse->head->method_text, "CONNECT") ? &HTTP_CONNECT_UNSERVED : &HTTP_TARGET_BAD;
	case HPE_INVALID_CONSTANT:
		/* A method of RTSP with the version of HTTP: DESCRIBE, SETUP … */
		return parse->head->field_count == 0 ? &HTTP_METHOD_UNKNOWN : &HTTP_HEAD_REFUSED;
	default:
		return &HTTP_HEAD_REFUSED;
	}
}

/* Where our own reading of the head and llhttp's differ, one of them is wrong, and a third program may side with either. `fields`
 * is what llhttp found: a Host may have come out of the target since. */
static bool parsers_agree(const llhttp_t *parser, const struct http1_reader *reader, unsigned fields)
{
	const struct http_head *head = reader->head;

	return fields == reader->lines.fields && parser->http_major == 1 &&
	       parser->http_minor == head->version_minor &&
	       !(parser->flags & F_CHUNKED) == !head->first[HTTP_NAME_TRANSFER_ENCODING] &&
	       (!(parser->flags & F_CONTENT_LENGTH) || parser->content_length == head->content_length);
}

static const struct reason *head_parse(struct http1_reader *reader, const char *bytes, size_t n)
{
	struct http_head *head = reader->head;
	struct parse parse = {.head = head};
	const struct reason *reason;
	llhttp_t parser;
	llhttp_errno_t error;
	unsigned fields;

	head->version_minor = (unsigned)(reader->lines.version[7] - '0');
	http_fields_reserve(head, reader->lines.fields);
	llhttp_init(&parser, reader->lines.answer ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
	parser.data = &parse;
	error = llhttp_execute(&parser, bytes, n);
	if (error != HPE_OK && error != HPE_PAUSED_UPGRADE)
		return parse_reason(&parser, &parse);
	if (!parse.complete)
		return &HTTP_HEAD_REFUSED;
	head->status = reader->lines.answer ? (unsigned)parser.status_code : 0;
	fields = head->field_count;
	reason = strict_settle(head, parse.target, reader->asked, &reader->limits);
	if (!reason && !parsers_agree(&parser, reader, fields))
		reason = &HTTP_HEAD_REFUSED;
	return reason;
}

/* A head that comes in several pieces is put together in the arena. What it takes at most doubles with each piece that does
 * not fit, and head_bytes_max bounds the sum. */
static void gather(struct http1_reader *reader, const char *bytes, size_t n)
{
	size_t wanted = reader->gathered_bytes + n;

	if (wanted > reader->gathered_space) {
		size_t space = wanted < 512 ? 1024 : wanted * 2;
		char *grown = arena_take(reader->head->arena, space);

		if (reader->gathered_bytes > 0)
			memcpy(grown, reader->gathered, reader->gathered_bytes);
		reader->gathered = grown;
		reader->gathered_space = space;
	}
	memcpy(reader->gathered + reader->gathered_bytes, bytes, n);
	reader->gathered_bytes = wanted;
}

enum http1 http1_read_head(struct http1_reader *reader, struct pipe *from)
{
	const struct reason *reason;
	const char *bytes;
	size_t n;

	if (reader->step == READ_BROKEN)
		return HTTP1_BROKEN;
	check(reader->step == READ_HEAD);
	while ((bytes = (const char *)pipe_peek(from, &n))) {
		uint32_t skipped = reader->lines.skip_bytes;
		size_t used;
		enum strict strict = strict_head_scan(&reader->lines, &reader->limits, bytes, n, &used, &reason);

		if (strict == STRICT_BROKEN)
			return read_broken(reader, reason);
		skipped = reader->lines.skip_bytes - skipped;
		if (strict == STRICT_DONE && !reader->gathered) {
			reader->gathered = arena_copy(reader->head->arena, bytes + skipped, used - skipped);
			reader->gathered_bytes = used - skipped;
		} else if (used > skipped) {
			gather(reader, bytes + skipped, used - skipped);
		}
		pipe_consume(from, used);
		if (strict == STRICT_MORE)
			continue;
		reason = head_parse(reader, reader->gathered, reader->gathered_bytes);
		if (reason)
			return read_broken(reader, reason);
		reader->body = reader->head->body;
		reader->body_left = reader->body == HTTP_BODY_LENGTH ? reader->head->content_length : 0;
		reader->step = READ_HEAD_DONE;
		return HTTP1_HEAD;
	}
	if (!from->ended)
		return HTTP1_MORE;
	if (from->reason)
		return read_broken(reader, from->reason);
	return reader->lines.begun ? read_broken(reader, &HTTP_HEAD_CUT) : HTTP1_END;
}

/* ---- reading a body ---- */

static enum http1 read_body_broken(struct http1_reader *reader, struct pipe *to, const struct reason *reason)
{
	pipe_break(to, reason);
	return read_broken(reader, reason);
}

static enum http1 read_body_done(struct http1_reader *reader, struct pipe *to)
{
	reader->step = READ_DONE;
	pipe_end(to);
	return HTTP1_DONE;
}

/* `from` is empty and the message is not whole. */
static enum http1 read_body_starved(struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	if (!from->ended)
		return HTTP1_MORE;
	return read_body_broken(reader, to, from->reason ? from->reason : &HTTP_BODY_CUT);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What of a piece goes where there is `room`: all of it, where it would not be copied otherwise. To fill a pipe to its last byte
 * would cut a piece, and a quarter of a long body would be copied. */
static uint64_t piece_bytes(const struct chunk *piece, uint64_t room)
{
	return chunk_size(piece) > PIPE_COPY_BYTES_MAX ? chunk_size(piece) : least(chunk_size(piece), room);
}

/* At most n bytes, as far as there are some and `to` takes them. A pipe that was refused always has room. */
static uint64_t move(struct pipe *to, struct pipe *from, uint64_t n)
{
	uint64_t moved = 0;

	while (moved < n && from->bytes > 0 && pipe_free(to) > 0)
		moved += pipe_move(to, from, least(n - moved, piece_bytes(from->first, pipe_free(to))));
	return moved;
}

static uint64_t payload_move(struct http1_reader *reader, struct pipe *from, struct pipe *to, uint64_t n)
{
	uint64_t moved = move(to, from, n);

	reader->body_bytes += moved;
	return moved;
}

static enum http1 read_length(struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	reader->body_left -= payload_move(reader, from, to, reader->body_left);
	if (reader->body_left == 0)
		return read_body_done(reader, to);
	return from->bytes > 0 ? HTTP1_FULL : read_body_starved(reader, from, to);
}

/* RFC 9112 §6.3: "this is a response message without a declared message body length, so the message body length is determined
 * by the number of octets received prior to the server closing the connection." A reset is no end. */
static enum http1 read_until_end(struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	payload_move(reader, from, to, reader->limits.body_bytes_max - reader->body_bytes);
	if (from->bytes > 0 && reader->body_bytes == reader->limits.body_bytes_max)
		return read_body_broken(reader, to, &HTTP_BODY_TOO_LARGE);
	if (from->bytes > 0)
		return HTTP1_FULL;
	if (from->ended && !from->reason)
		return read_body_done(reader, to);
	return read_body_starved(reader, from, to);
}

static enum http1 read_chunked(struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	struct strict_chunks *chunks = &reader->chunks;
	const struct reason *reason;
	const char *bytes;
	size_t n, used;

	for (;;) {
		if (chunks->payload_left > 0) {
			strict_chunks_moved(chunks, payload_move(reader, from, to, chunks->payload_left));
			if (chunks->payload_left > 0)
				return from->bytes > 0 ? HTTP1_FULL : read_body_starved(reader, from, to);
		}
		bytes = (const char *)pipe_peek(from, &n);
		if (!bytes)
			return read_body_starved(reader, from, to);
		switch (strict_chunks_scan(chunks, bytes, n, &used, &reason)) {
		case STRICT_BROKEN:
			return read_body_broken(reader, to, reason);
		case STRICT_DONE:
			pipe_consume(from, used);
			return read_body_done(reader, to);
		case STRICT_MORE:
			pipe_consume(from, used);
			break;
		}
	}
}

enum http1 http1_read_body(struct http1_reader *reader, struct pipe *from, struct pipe *to)
{
	if (reader->step == READ_BROKEN)
		return HTTP1_BROKEN;
	if (reader->step == READ_DONE)
		return HTTP1_DONE;
	check(reader->step == READ_HEAD_DONE || reader->step == READ_BODY);
	if (reader->step == READ_HEAD_DONE) {
		if (http1_body_too_large(reader))
			return read_body_broken(reader, to, &HTTP_BODY_TOO_LARGE);
		strict_chunks_begin(&reader->chunks, reader->limits.body_bytes_max);
		reader->step = READ_BODY;
	}
	switch (reader->body) {
	case HTTP_BODY_LENGTH: return read_length(reader, from, to);
	case HTTP_BODY_CHUNKED: return read_chunked(reader, from, to);
	case HTTP_BODY_UNTIL_END: return read_until_end(reader, from, to);
	case HTTP_BODY_NONE: break;
	}
	return read_body_done(reader, to);
}

/* ---- writing a head ---- */

/* Writes into the pipe's own memory, piece after piece, and tells the pipe once at the end. */
struct out {
	struct pipe *to;
	char *at;
	size_t room;
	size_t used;
};

#define OUT_ROOM_BYTES 512u

static void out_open(struct out *out)
{
	out->at = (char *)pipe_room(out->to, OUT_ROOM_BYTES, &out->room);
	out->used = 0;
}

/* More than what is left: over as many pieces as it takes. */
static void out_put_over(struct out *out, const char *bytes, size_t n)
{
	while (n > out->room - out->used) {
		size_t part = out->room - out->used;

		memcpy(out->at + out->used, bytes, part);
		pipe_commit(out->to, out->room);
		bytes += part;
		n -= part;
		out_open(out);
	}
	if (n > 0)
		memcpy(out->at + out->used, bytes, n);
	out->used += n;
}

/* Inline, so that a literal is a few stores and no call. */
static inline void out_put(struct out *out, const char *bytes, size_t n)
{
	if (n > out->room - out->used) {
		out_put_over(out, bytes, n);
		return;
	}
	if (n > 0)
		memcpy(out->at + out->used, bytes, n);
	out->used += n;
}

#define out_literal(out, literal) out_put((out), (literal), sizeof(literal) - 1)

static void out_text(struct out *out, struct http_text text)
{
	out_put(out, text.bytes, text.size);
}

/* Nearly every field fits, and then it is written without four questions whether it does. */
static void out_field(struct out *out, struct http_text name, struct http_text value)
{
	if (name.size > 0 && value.size > 0 && name.size + value.size + 4 <= out->room - out->used) {
		char *at = out->at + out->used;

		memcpy(at, name.bytes, name.size);
		at += name.size;
		memcpy(at, ": ", 2);
		memcpy(at + 2, value.bytes, value.size);
		memcpy(at + 2 + value.size, "\r\n", 2);
		out->used += name.size + value.size + 4;
		return;
	}
	out_text(out, name);
	out_literal(out, ": ");
	out_text(out, value);
	out_literal(out, "\r\n");
}

static void out_number(struct out *out, uint64_t number)
{
	char digits[20];

	out_put(out, digits, http_number_write(digits, number));
}

static void out_request_line(struct out *out, const struct http_head *head)
{
	check(head->method_text.size > 0 && head->path.size > 0);
	out_text(out, head->method_text);
	out_literal(out, " ");
	out_text(out, head->path);
	if (head->query.bytes) {
		out_literal(out, "?");
		out_text(out, head->query);
	}
	/* RFC 9110 §7.2: the Host field ought to be the first; its value is empty where no authority is known. */
	out_literal(out, " HTTP/1.1\r\nHost: ");
	out_text(out, head->host);
	out_literal(out, "\r\n");
}

static void out_status_line(struct out *out, const struct http_head *head)
{
	char digits[3] = {(char)('0' + head->status / 100), (char)('0' + head->status / 10 % 10),
	                  (char)('0' + head->status % 10)};

	check(head->status >= 100 && head->status <= 599);
	out_literal(out, "HTTP/1.1 ");
	out_put(out, digits, 3);
	out_literal(out, " ");
	out_text(out, head->phrase.bytes ? head->phrase : http_phrase_of(head->status));
	out_literal(out, "\r\n");
}

/* RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
 * (Informational) or 204 (No Content)." */
static bool may_have_length(const struct http_head *head)
{
	return head->status == 0 || (head->status >= 200 && head->status != 204);
}

/* The owned fields. */
static void out_owned(struct out *out, const struct http_head *head)
{
	if (head->body == HTTP_BODY_CHUNKED) {
		/* RFC 9112 §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request
		 * indicates HTTP/1.1". */
		check(head->version_minor > 0);
		out_literal(out, "Transfer-Encoding: chunked\r\n");
	} else if (head->body == HTTP_BODY_LENGTH || (head->has_length && head->body == HTTP_BODY_NONE && may_have_length(head))) {
		out_literal(out, "Content-Length: ");
		out_number(out, head->content_length);
		out_literal(out, "\r\n");
	}
	if (head->upgrade.bytes) {
		out_literal(out, "Upgrade: ");
		out_text(out, head->upgrade);
		if (head->keep_alive || head->status == 101)
			out_literal(out, "\r\nConnection: upgrade\r\n");
		else
			out_literal(out, "\r\nConnection: upgrade, close\r\n");
	} else if (http_status_interim(head->status)) {
		/* The final answer tells what becomes of the connection. */
	} else if (!head->keep_alive || head->body == HTTP_BODY_UNTIL_END) {
		out_literal(out, "Connection: close\r\n");
	} else if (head->version_minor == 0) {
		out_literal(out, "Connection: keep-alive\r\n");
	}
}

void http1_write_head(struct pipe *to, const struct http_head *head)
{
	struct out out = {.to = to};

	out_open(&out);
	if (head->status == 0)
		out_request_line(&out, head);
	else
		out_status_line(&out, head);
	for (unsigned i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];

		if (http_name_owned(field->known))
			continue;
		out_field(&out, field->name, field->value);
	}
	out_owned(&out, head);
	out_literal(&out, "\r\n");
	pipe_commit(to, out.used);
}

void http1_write_continue(struct pipe *to)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	pipe_write(to, line, sizeof line - 1);
}

/* ---- writing a body ---- */

void http1_writer_begin(struct http1_writer *writer, const struct http_head *head)
{
	*writer = (struct http1_writer){
		.body = head->body,
		.body_left = head->body == HTTP_BODY_LENGTH ? head->content_length : 0,
	};
}

static enum http1 write_broken(struct http1_writer *writer, struct pipe *to, const struct reason *reason)
{
	writer->reason = reason;
	pipe_break(to, reason);
	return HTTP1_BROKEN;
}

static enum http1 write_done(struct http1_writer *writer)
{
	writer->done = true;
	return HTTP1_DONE;
}

/* A peer whose body comes in pieces like this is sending it as fast as he can, so the next one is near. One who trickles is passed on as
 * he comes. */
#define BULK_BYTES 4096u

static enum http1 write_length(struct http1_writer *writer, struct pipe *from, struct pipe *to)
{
	uint64_t moved = move(to, from, writer->body_left);

	writer->body_left -= moved;
	writer->body_bytes += moved;
	if (moved > 0)
		pipe_expect(to, writer->body_left > 0 && moved >= BULK_BYTES);
	if (from->bytes > 0)
		return writer->body_left > 0 ? HTTP1_FULL : write_broken(writer, to, &HTTP_BODY_LONG);
	if (!from->ended)
		return HTTP1_MORE;
	if (from->reason)
		return write_broken(writer, to, from->reason);
	return writer->body_left == 0 ? write_done(writer) : write_broken(writer, to, &HTTP_BODY_SHORT);
}

/* One HTTP chunk for n bytes, however many pieces of memory they lie in. The lines around it go where the last piece has room
 * or begin the next, so framing costs no copy of payload. */
static uint64_t chunk_write(struct pipe *from, struct pipe *to, uint64_t n)
{
	char line[16 + 2];
	size_t size = http_hex_write(line, n, 1);

	line[size++] = '\r';
	line[size++] = '\n';
	pipe_write(to, line, size);
	pipe_move(to, from, n);
	pipe_write(to, "\r\n", 2);
	return n;
}

static uint64_t pieces_bytes(const struct pipe *from, uint64_t room)
{
	uint64_t n = 0;

	if (from->bytes > 0)
		for (const struct chunk *piece = from->first; piece && n < room; piece = piece->next)
			n += piece_bytes(piece, room - n);
	return n;
}

static enum http1 write_chunked(struct http1_writer *writer, struct pipe *from, struct pipe *to)
{
	for (uint64_t n; (n = pieces_bytes(from, pipe_free(to))) > 0;)
		writer->body_bytes += chunk_write(from, to, n);
	if (from->bytes > 0)
		return HTTP1_FULL;
	if (!from->ended)
		return HTTP1_MORE;
	/* RFC 9112 §8: "A message body that uses the chunked transfer coding is incomplete if the zero-sized chunk that terminates
	 * the encoding has not been received." So it is left out, and the receiver knows. */
	if (from->reason)
		return write_broken(writer, to, from->reason);
	pipe_write(to, "0\r\n\r\n", 5);
	return write_done(writer);
}

static enum http1 write_until_end(struct http1_writer *writer, struct pipe *from, struct pipe *to)
{
	writer->body_bytes += move(to, from, UINT64_MAX);
	if (from->bytes > 0)
		return HTTP1_FULL;
	if (!from->ended)
		return HTTP1_MORE;
	return from->reason ? write_broken(writer, to, from->reason) : write_done(writer);
}

/* Nothing of it is sent, so nothing of it can be cut. */
static enum http1 write_none(struct http1_writer *writer, struct pipe *from)
{
	pipe_consume(from, from->bytes);
	return from->ended ? write_done(writer) : HTTP1_MORE;
}

enum http1 http1_write_body(struct http1_writer *writer, struct pipe *from, struct pipe *to)
{
	if (writer->reason)
		return HTTP1_BROKEN;
	if (writer->done)
		return HTTP1_DONE;
	switch (writer->body) {
	case HTTP_BODY_LENGTH: return write_length(writer, from, to);
	case HTTP_BODY_CHUNKED: return write_chunked(writer, from, to);
	case HTTP_BODY_UNTIL_END: return write_until_end(writer, from, to);
	case HTTP_BODY_NONE: break;
	}
	return write_none(writer, from);
}
