/* Where a stream of frames stands, however it is cut; and that what is no such stream has no boundary. */
#include <criterion/criterion.h>

#include "ws/boundary.c"

#include <stdlib.h>
#include <string.h>

#define STREAM_MAX (256u * 1024u)

struct stream {
	uint8_t bytes[STREAM_MAX];
	bool boundary[STREAM_MAX + 1];   /* in front of this byte */
	size_t n;
};

static void frame_add(struct stream *s, uint8_t opcode, bool final, uint64_t length)
{
	s->boundary[s->n] = true;
	s->n += ws_frame_encode(s->bytes + s->n, &(struct ws_frame){ .opcode = opcode, .final = final, .length = length });
	memset(s->bytes + s->n, 0x81, length); /* a payload that looks like headers */
	s->n += length;
	s->boundary[s->n] = true;
}

static struct stream *stream_new(void)
{
	static const uint64_t lengths[] = { 0, 1, 125, 126, 127, 300, 65535, 65536, 2 };
	struct stream *s = calloc(1, sizeof *s);

	for (unsigned i = 0; i < array_count(lengths); i++) {
		frame_add(s, i % 2 ? WS_TEXT : WS_BINARY, i % 3, lengths[i]);
		frame_add(s, i % 2 ? WS_PING : WS_PONG, true, i);
	}
	return s;
}

Test(ws_boundary, stands_where_frames_do_at_every_byte)
{
	struct stream *s = stream_new();
	struct ws_boundary b = { 0 };

	cr_assert(ws_boundary_here(&b));
	for (size_t i = 0; i < s->n; i++) {
		ws_boundary_pass(&b, s->bytes + i, 1);
		cr_assert_eq(ws_boundary_here(&b), s->boundary[i + 1], "behind byte %zu", i);
	}
	free(s);
}

Test(ws_boundary, a_stream_in_pieces_of_any_size_is_the_same_stream)
{
	struct stream *s = stream_new();

	for (size_t piece = 1; piece < 200000; piece = piece * 3 / 2 + 1) {
		struct ws_boundary b = { 0 };

		for (size_t at = 0, n; at < s->n; at += n) {
			n = s->n - at < piece ? s->n - at : piece;
			ws_boundary_pass(&b, s->bytes + at, n);
			cr_assert_eq(ws_boundary_here(&b), s->boundary[at + n]);
		}
	}
	free(s);
}

Test(ws_boundary, nothing_follows_a_close)
{
	const uint8_t bytes[] = { 0x88, 2, 0x03, 0xe8 };
	struct ws_boundary b = { 0 };

	for (size_t i = 0; i < sizeof bytes; i++)
		ws_boundary_pass(&b, bytes + i, 1);
	cr_assert(!ws_boundary_here(&b));
}

Test(ws_boundary, what_no_server_sends_has_none)
{
	static const struct { const char *what; uint8_t bytes[14]; size_t n; } rows[] = {
		{ "a mask", { 0x81, 0x80, 1, 2, 3, 4 }, 6 },
		{ "opcode 3", { 0x83, 0 }, 2 },
		{ "opcode 11", { 0x8b, 0 }, 2 },
		{ "a ping in pieces", { 0x09, 0 }, 2 },
		{ "a long ping", { 0x89, 126, 0, 0 }, 4 },
		{ "a negative length", { 0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0 }, 10 },
	};

	for (unsigned i = 0; i < array_count(rows); i++) {
		const uint8_t good[] = { 0x81, 0 };
		struct ws_boundary b = { 0 };

		ws_boundary_pass(&b, rows[i].bytes, rows[i].n);
		cr_expect(!ws_boundary_here(&b), "%s", rows[i].what);
		ws_boundary_pass(&b, good, sizeof good);
		cr_expect(!ws_boundary_here(&b), "%s, and a good frame", rows[i].what);
	}
}
