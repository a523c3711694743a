/* Messages written to a pipe: byte by byte what is expected, and read back the same. */
#include "gateway/http/http1.c"
#include "tests/unit/http_feed.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

struct desk {
	struct chunk_pool pool;
	struct pipe from, to;
	struct arena arena;
	struct http_head head;
	struct http1_writer writer;
};

static struct desk desk;

static void desk_open(void)
{
	chunk_pool_init(&desk.pool, 1000);
	pipe_init(&desk.from, &desk.pool, PIPE_BYTES_MAX);
	pipe_init(&desk.to, &desk.pool, PIPE_BYTES_MAX);
	arena_init(&desk.arena, NULL, 0);
	http_head_init(&desk.head, &desk.arena);
}

static void desk_close(void)
{
	pipe_fini(&desk.from);
	pipe_fini(&desk.to);
	arena_fini(&desk.arena);
	chunk_pool_fini(&desk.pool);
}

TestSuite(http_write, .init = desk_open, .fini = desk_close);

/* All bytes of the pipe, in the arena, with a zero behind. */
static char *taken(struct pipe *pipe, size_t *size)
{
	char *all = arena_take(&desk.arena, pipe->bytes + 1);
	size_t n;

	*size = 0;
	for (uint8_t *bytes; (bytes = pipe_peek(pipe, &n)); pipe_consume(pipe, n)) {
		memcpy(all + *size, bytes, n);
		*size += n;
	}
	all[*size] = 0;
	return all;
}

static void written_is(const char *wanted)
{
	size_t size;

	http1_write_head(&desk.to, &desk.head);
	cr_assert_str_eq(taken(&desk.to, &size), wanted);
}

Test(http_write, a_request_has_its_host_first_and_its_owned_fields_from_the_struct)
{
	struct http_head *head = &desk.head;

	head->method = HTTP_METHOD_POST;
	head->method_text = HTTP_TEXT("POST");
	head->path = HTTP_TEXT("/a");
	head->query = HTTP_TEXT("b=c");
	head->host = HTTP_TEXT("h:80");
	head->body = HTTP_BODY_LENGTH;
	head->content_length = 1234567890123;
	http_append(head, HTTP_TEXT("Host"), HTTP_TEXT("other"));
	http_append(head, HTTP_TEXT("Content-Length"), HTTP_TEXT("5"));
	http_append(head, HTTP_TEXT("Transfer-Encoding"), HTTP_TEXT("chunked"));
	http_append(head, HTTP_TEXT("Connection"), HTTP_TEXT("close"));
	http_append(head, HTTP_TEXT("TE"), HTTP_TEXT("trailers"));
	http_add(head, HTTP_TEXT("X-A"), HTTP_TEXT(""));
	written_is("POST /a?b=c HTTP/1.1\r\nHost: h:80\r\nX-A: \r\nContent-Length: 1234567890123\r\n\r\n");
	head->query = HTTP_TEXT("");
	head->upgrade = HTTP_TEXT("websocket");
	head->body = HTTP_BODY_NONE;
	head->field_count = 0;
	written_is("POST /a? HTTP/1.1\r\nHost: h:80\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

Test(http_write, an_answer_says_what_becomes_of_the_connection)
{
	struct http_head *head = &desk.head;

	head->status = 200;
	head->body = HTTP_BODY_CHUNKED;
	written_is("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	head->body = HTTP_BODY_UNTIL_END;
	written_is("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	head->body = HTTP_BODY_LENGTH;
	head->phrase = HTTP_TEXT("Fine");
	head->version_minor = 0;
	written_is("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
	head->keep_alive = false;
	written_is("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	head->body = HTTP_BODY_NONE;
	head->has_length = true;
	head->content_length = 7;
	head->version_minor = 1;
	head->keep_alive = true;
	written_is("HTTP/1.1 200 Fine\r\nContent-Length: 7\r\n\r\n");
	head->status = 204;
	head->phrase = (struct http_text){0};
	written_is("HTTP/1.1 204 No Content\r\n\r\n");
	head->status = 101;
	head->upgrade = HTTP_TEXT("websocket");
	written_is("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
	head->status = 426;
	head->body = HTTP_BODY_LENGTH;
	head->keep_alive = false;
	written_is("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 7\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n");
	head->upgrade = (struct http_text){0};
	head->status = 599;
	head->keep_alive = true;
	written_is("HTTP/1.1 599 \r\nContent-Length: 7\r\n\r\n");
}

Test(http_write, chunks_for_a_client_of_1_0_are_our_own_mistake, .signal = SIGABRT)
{
	desk.head.status = 200;
	desk.head.body = HTTP_BODY_CHUNKED;
	desk.head.version_minor = 0;
	http1_write_head(&desk.to, &desk.head);
}

/* Larger than a chunk of memory: the pieces join without a gap. */
Test(http_write, a_large_head_goes_over_several_chunks_of_memory)
{
	struct http_head *head = &desk.head;
	char *value = arena_take(&desk.arena, 5000), *all;
	size_t size, wanted = strlen("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

	memset(value, 'v', 5000);
	head->status = 200;
	head->body = HTTP_BODY_LENGTH;
	for (unsigned i = 0; i < 20; i++)
		http_add(head, HTTP_TEXT("X-Name"), (struct http_text){value, 5000 - i});
	for (unsigned i = 0; i < 20; i++)
		wanted += strlen("X-Name: \r\n") + 5000 - i;
	http1_write_head(&desk.to, head);
	all = taken(&desk.to, &size);
	cr_assert_eq(size, wanted);
	cr_assert_eq(strspn(strstr(all, "X-Name: ") + 8, "v"), 5000);
	cr_assert_str_eq(all + size - 4, "\r\n\r\n");
}

static enum http1 write_begin(enum http_body body, uint64_t length)
{
	desk.head.body = body;
	desk.head.content_length = length;
	http1_writer_begin(&desk.writer, &desk.head);
	return http1_write_body(&desk.writer, &desk.from, &desk.to);
}

static void to_is(const char *wanted)
{
	size_t size;

	cr_assert_str_eq(taken(&desk.to, &size), wanted);
}

Test(http_write, a_body_with_a_length_is_counted)
{
	pipe_write(&desk.from, "hello", 5);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, 5), HTTP1_MORE);
	pipe_end(&desk.from);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_DONE);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_DONE);
	cr_assert(!desk.to.ended);
	to_is("hello");
}

Test(http_write, of_a_long_body_more_is_expected_until_its_last_piece)
{
	static const char bytes[4096];

	pipe_write(&desk.from, bytes, sizeof bytes);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, sizeof bytes + 6), HTTP1_MORE);
	cr_assert(desk.to.more_follows);
	pipe_write(&desk.from, "hel", 3);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_MORE);
	cr_assert_not(desk.to.more_follows, "who trickles is passed on at once");
	pipe_write(&desk.from, "lo!", 3);
	pipe_end(&desk.from);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_DONE);
	cr_assert_not(desk.to.more_follows);
}

Test(http_write, the_last_piece_of_a_body_expects_nothing_behind_it)
{
	static const char bytes[8192];

	pipe_write(&desk.from, bytes, sizeof bytes);
	pipe_end(&desk.from);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, sizeof bytes), HTTP1_DONE);
	cr_assert_not(desk.to.more_follows);
}

Test(http_write, a_short_body_breaks_the_connection)
{
	pipe_write(&desk.from, "hell", 4);
	pipe_end(&desk.from);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, 5), HTTP1_BROKEN);
	cr_assert_eq(desk.writer.reason, &HTTP_BODY_SHORT);
	cr_assert_eq(desk.to.reason, &HTTP_BODY_SHORT);
	to_is("hell");
}

Test(http_write, a_long_body_breaks_the_connection_and_sends_no_byte_too_many)
{
	pipe_write(&desk.from, "hello!", 6);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, 5), HTTP1_BROKEN);
	cr_assert_eq(desk.to.reason, &HTTP_BODY_LONG);
	to_is("hello");
}

Test(http_write, chunks_carry_what_is_there_and_end_when_the_body_ends)
{
	cr_assert_eq(write_begin(HTTP_BODY_CHUNKED, 0), HTTP1_MORE);
	cr_assert_eq(desk.to.bytes, 0);
	pipe_write(&desk.from, "hello", 5);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_MORE);
	pipe_write(&desk.from, "0123456789abcdefg", 17);
	pipe_end(&desk.from);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_DONE);
	cr_assert_eq(desk.writer.body_bytes, 22);
	to_is("5\r\nhello\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n");
}

Test(http_write, a_broken_body_has_no_last_chunk)
{
	pipe_write(&desk.from, "hello", 5);
	pipe_break(&desk.from, &TCP_RESET);
	cr_assert_eq(write_begin(HTTP_BODY_CHUNKED, 0), HTTP1_BROKEN);
	cr_assert_eq(desk.to.reason, &TCP_RESET);
	to_is("5\r\nhello\r\n");
}

Test(http_write, a_broken_body_until_the_end_is_no_orderly_end)
{
	pipe_write(&desk.from, "hello", 5);
	pipe_break(&desk.from, &TCP_RESET);
	cr_assert_eq(write_begin(HTTP_BODY_UNTIL_END, 0), HTTP1_BROKEN);
	cr_assert_eq(desk.to.reason, &TCP_RESET);
	to_is("hello");
}

Test(http_write, an_answer_to_head_sends_nothing_of_its_body)
{
	pipe_write(&desk.from, "hello", 5);
	cr_assert_eq(write_begin(HTTP_BODY_NONE, 5), HTTP1_MORE);
	pipe_break(&desk.from, &TCP_RESET);
	cr_assert_eq(http1_write_body(&desk.writer, &desk.from, &desk.to), HTTP1_DONE);
	cr_assert(!desk.to.ended);
	cr_assert_eq(desk.to.bytes, 0);
}

/* The client has gone: the writer comes to its end all the same, so that whoever fills the body is not held up. */
Test(http_write, what_is_written_to_a_refused_pipe_is_done)
{
	for (unsigned body = HTTP_BODY_LENGTH; body <= HTTP_BODY_UNTIL_END; body++) {
		desk_close();
		desk_open();
		pipe_fini(&desk.to);
		pipe_init(&desk.to, &desk.pool, 3);
		pipe_refuse(&desk.to, &TCP_RESET);
		pipe_write(&desk.from, "hello world", 11);
		pipe_end(&desk.from);
		cr_assert_eq(write_begin((enum http_body)body, 11), HTTP1_DONE);
	}
}

/* 16 KiB from the socket in one piece of memory: the lines around it need one more at most. */
Test(http_write, framing_takes_one_more_piece_of_memory_at_most)
{
	struct chunk *chunk = chunk_take(&desk.pool);
	uint64_t takes;

	chunk->end = 16384;
	memset(chunk->bytes, 'x', 16384);
	pipe_put(&desk.from, chunk);
	pipe_end(&desk.from);
	takes = desk.pool.takes;
	cr_assert_eq(write_begin(HTTP_BODY_CHUNKED, 0), HTTP1_DONE);
	cr_assert_leq(desk.pool.takes - takes, 1);
	cr_assert_leq(chunk_pool_out(&desk.pool), 2);
	cr_assert_eq(desk.to.bytes, 6 + 16384 + 2 + 5);
}

/* A pipe that is not full takes one piece more, and not a part of it, which would be a copy of that part. */
Test(http_write, a_long_body_is_moved_and_not_copied)
{
	const struct { enum http_body body; uint64_t lines, takes; } cases[] = {
		{ HTTP_BODY_LENGTH, 0, 0 }, { HTTP_BODY_UNTIL_END, 0, 0 }, { HTTP_BODY_CHUNKED, 7 + 2, 2 },
	};

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t takes;

		desk_close();
		desk_open();
		pipe_fini(&desk.to);
		pipe_init(&desk.to, &desk.pool, PIPE_BYTES_MAX);
		for (unsigned piece = 0; piece < 5; piece++) {
			struct chunk *chunk = chunk_take(&desk.pool);

			chunk->end = CHUNK_BYTES;
			memset(chunk->bytes, 'x', CHUNK_BYTES);
			pipe_put(&desk.from, chunk);
		}
		takes = desk.pool.takes;
		cr_assert_eq(write_begin(cases[i].body, 5 * CHUNK_BYTES), HTTP1_FULL);
		cr_assert_eq(desk.to.bytes, 4 * CHUNK_BYTES + cases[i].lines);
		cr_assert_eq(desk.from.bytes, CHUNK_BYTES);
		cr_assert_eq(desk.pool.takes - takes, cases[i].takes);
	}
}

/* What a body of 1 KiB with a length costs: one chunk of memory for the head, and the body joins it there. */
Test(http_write, a_small_answer_is_one_piece_of_memory)
{
	char body[1024] = {0};

	desk.head.status = 200;
	pipe_write(&desk.from, body, sizeof body);
	pipe_end(&desk.from);
	desk.head.body = HTTP_BODY_LENGTH;
	desk.head.content_length = sizeof body;
	http1_write_head(&desk.to, &desk.head);
	cr_assert_eq(write_begin(HTTP_BODY_LENGTH, sizeof body), HTTP1_DONE);
	cr_assert_eq(desk.to.first, desk.to.last);
	cr_assert_eq(chunk_pool_out(&desk.pool), 1);
}

/* ---- there and back ---- */

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Random bodies, by seed, through small pipes with random appetites on both sides; what is read is what was written. */
static void there_and_back(uint64_t seed, enum http_body framing)
{
	size_t size = next(&seed) % (1u << (next(&seed) % 18)), at = 0, size_read = 0, n;
	char *body = malloc(size + 1), *read = malloc(size + 1);
	struct pipe back;
	struct http1_reader reader;
	struct http_head head, asked = {.method = HTTP_METHOD_GET};
	enum http1 wrote = HTTP1_MORE, read_head = HTTP1_MORE, read_body = HTTP1_MORE;
	struct http_limits limits = HTTP_LIMITS_USUAL;

	limits.body_bytes_max = UINT64_MAX;
	for (size_t i = 0; i < size; i++)
		body[i] = (char)next(&seed);
	desk_close();
	desk_open();
	desk.from.bytes_max = 1 + next(&seed) % 40000;
	desk.to.bytes_max = 1 + next(&seed) % 40000;
	pipe_init(&back, &desk.pool, 1 + next(&seed) % 40000);
	desk.head.status = 200;
	desk.head.body = framing;
	desk.head.content_length = size;
	http1_write_head(&desk.to, &desk.head);
	http1_writer_begin(&desk.writer, &desk.head);
	http1_reader_begin_answer(&reader, &head, &desk.arena, &limits, &asked);
	for (unsigned turn = 0; read_body != HTTP1_DONE; turn++) {
		cr_assert_lt(turn, 2000000, "no progress");
		if (at < size && pipe_free(&desk.from) > 0) {
			size_t piece = 1 + next(&seed) % 3000;

			piece = piece < size - at ? piece : size - at;
			pipe_write(&desk.from, body + at, piece);
			at += piece;
		}
		if (at == size)
			pipe_end(&desk.from);
		if (wrote != HTTP1_DONE)
			wrote = http1_write_body(&desk.writer, &desk.from, &desk.to);
		if (wrote == HTTP1_DONE && framing == HTTP_BODY_UNTIL_END)
			pipe_end(&desk.to);
		if (read_head == HTTP1_MORE)
			read_head = http1_read_head(&reader, &desk.to);
		if (read_head == HTTP1_HEAD)
			read_body = http1_read_body(&reader, &desk.to, &back);
		cr_assert(wrote != HTTP1_BROKEN && read_head != HTTP1_BROKEN && read_body != HTTP1_BROKEN);
		while (next(&seed) % 3 && back.bytes > 0) {
			uint8_t *bytes = pipe_peek(&back, &n);

			n = 1 + next(&seed) % n;
			memcpy(read + size_read, bytes, n);
			size_read += n;
			pipe_consume(&back, n);
		}
	}
	for (uint8_t *bytes; (bytes = pipe_peek(&back, &n)); pipe_consume(&back, n)) {
		memcpy(read + size_read, bytes, n);
		size_read += n;
	}
	cr_assert_eq(wrote, HTTP1_DONE);
	cr_assert_eq(desk.to.bytes, 0);
	cr_assert_eq(size_read, size);
	cr_assert(memcmp(read, body, size) == 0);
	cr_assert_eq(desk.writer.body_bytes, size);
	cr_assert_eq(reader.body_bytes, size);
	pipe_fini(&back);
	free(body);
	free(read);
}

Test(http_write, what_is_written_reads_back_the_same_through_pipes_of_any_size)
{
	for (uint64_t seed = 1; seed <= 600; seed++)
		there_and_back(seed * 0x9e3779b97f4a7c15u, (enum http_body)(HTTP_BODY_LENGTH + seed % 3));
}
