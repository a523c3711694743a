/* perf/work/ws.c — messages of WebSockets, in and out, packed and not. */
#include "perf/work/work.h"
#include "ws/accept.h"
#include "ws/engine.h"

#include <stdio.h>
#include <string.h>

static const uint8_t MASK[4] = { 0x37, 0xfa, 0x21, 0x3d };

static struct chunk_pool pool;
static struct pipe in, out;
static struct ws ws;
static struct ws_deflate packing;
static uint8_t text[1024];               /* JSON, as it is pushed: it packs to about a third */
static uint8_t frame[WS_HEADER_MAX + 1024];
static size_t frame_bytes;

/* A client's frame, into `frame`. */
static void frame_make(uint8_t opcode, uint8_t reserved, const void *payload, size_t n)
{
	struct ws_frame head = { .opcode = opcode, .reserved = reserved, .final = true, .length = n, .masked = true };
	size_t size;

	memcpy(head.mask, MASK, 4);
	size = ws_frame_encode(frame, &head);
	memcpy(frame + size, payload, n);
	ws_mask(frame + size, n, MASK, 0);
	frame_bytes = size + n;
}

static void prepare(void)
{
	static const struct ws_limits LIMITS = { 1u << 20, 1u << 20, 1024 };
	char line[256];
	size_t n;

	chunk_pool_init(&pool, 1000);
	pipe_init(&in, &pool, PIPE_BYTES_MAX);
	pipe_init(&out, &pool, PIPE_BYTES_MAX);
	ws_init(&ws, &in, &out, &LIMITS);
	for (unsigned i = 0; i < sizeof text; i += n) {
		n = (size_t)snprintf(line, sizeof line, "{\"patient\":\"P-%u\",\"visit\":%u,\"due\":\"2026-12-%02u\",\"note\":\"blutdruck pr\xc3\xbc" "fen\"},",
			1000 + i * 7919 % 9000, i / 50, 1 + i % 28);
		n = n < sizeof text - i ? n : sizeof text - i;
		memcpy(text + i, line, n);
	}
	/* No character is cut at the end. */
	memset(text + sizeof text - 2, ' ', 2);
}

static void prepare_binary(void)
{
	prepare();
	frame_make(WS_BINARY, 0, text, sizeof text);
}

static void prepare_text(void)
{
	prepare();
	frame_make(WS_TEXT, 0, text, sizeof text);
}

static void prepare_ping(void)
{
	prepare();
	frame_make(WS_PING, 0, "1234567890123456", 16);
}

static void prepare_deflate(void)
{
	static const struct ws_deflate_agreed AGREED = { false, false, 12, 12 };

	prepare();
	ws_deflate_init(&packing, &AGREED, &pool, 64);
	ws_use_deflate(&ws, &packing);
}

static void prepare_inflate(void)
{
	struct pipe packed;
	uint64_t n;
	size_t piece;

	prepare_deflate();
	pipe_init(&packed, &pool, PIPE_BYTES_MAX);
	check(ws_pack(&packing, &packed, text, sizeof text, true, true, &n) && n < sizeof text);
	frame_make(WS_TEXT, 4, pipe_peek(&packed, &piece), n);
	check(piece >= n);
	pipe_fini(&packed);
}

static void read_unit(void)
{
	struct ws_piece piece;
	size_t n = 0;
	bool last = false;

	pipe_write(&in, frame, frame_bytes);
	while (!last) {
		check(ws_next(&ws, &piece) == WS_DATA);
		last = piece.last;
		n += piece.n;
		ws_consumed(&ws, piece.n);
	}
	check(n == sizeof text && ws_next(&ws, &piece) == WS_MORE_NEEDED);
}

static void ping_unit(void)
{
	struct ws_piece piece;

	pipe_write(&in, frame, frame_bytes);
	check(ws_next(&ws, &piece) == WS_MORE_NEEDED && out.bytes == 18);
	pipe_consume(&out, out.bytes);
}

static void write_unit(void)
{
	check(ws_write(&ws, WS_TEXT, text, sizeof text));
	pipe_consume(&out, out.bytes);
}

static const struct work works[] = {
	{ "ws-read-binary-1k", 5000, prepare_binary, read_unit },
	{ "ws-read-text-1k", 5000, prepare_text, read_unit },
	{ "ws-ping", 5000, prepare_ping, ping_unit },
	{ "ws-write-1k", 5000, prepare, write_unit },
	{ "ws-deflate-1k", 200, prepare_deflate, write_unit },
	{ "ws-inflate-1k", 500, prepare_inflate, read_unit },
};

const struct work_list WORK_WS = { works, array_count(works) };
