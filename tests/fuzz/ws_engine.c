/* tests/fuzz/ws_engine.c — the same bytes are the same conversation, however they are cut.
 *
 * The first four bytes are a seed, the fifth chooses limits, the rest is what a client sends to an echo. It is sent
 * at once and consumed whole; then in pieces of random size and consumed in parts of random size: both conversations must be
 * told alike, event by event and answer by answer. Then a third time, with an application that writes, pings and
 * closes when the dice say so: no check may fail. Where the fifth byte agrees on compression the client unpacks with zlib what he is told. In all three what we send must itself keep the rules of RFC 6455, be one Close
 * at most with nothing behind it, and leave no chunk.
 *
 *   build/fuzz/tests/fuzz/fuzz_ws_engine tests/fuzz/corpus/ws_engine                                             */
#include "ring/base.h"
#include "ws/engine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct reason CLOSED_BELOW = { "closed_below", "the reader of the answer is gone" };

/* Bytes that grow. A transcript is one: tag, size, content for each thing told. */
struct log {
	uint8_t *at;
	size_t n, room;
};

static void log_add(struct log *log, const void *bytes, size_t n)
{
	if (log->n + n > log->room) {
		log->room = (log->n + n) * 2;
		log->at = realloc(log->at, log->room);
		check(log->at);
	}
	if (n > 0)
		memcpy(log->at + log->n, bytes, n);
	log->n += n;
}

static void log_tell(struct log *log, uint8_t tag, const void *bytes, uint64_t n)
{
	log_add(log, &tag, 1);
	log_add(log, &n, sizeof(n));
	log_add(log, bytes, n);
}

static void log_drop(struct log *log, size_t n)
{
	if (n > 0)
		memmove(log->at, log->at + n, log->n - n);
	log->n -= n;
}

struct talk {
	struct chunk_pool pool;
	struct pipe in, out;
	struct ws ws;
	struct log events, message;      /* what the engine told; the message so far */
	struct log answers, answer, wire; /* what the client was told; the message so far; not decoded yet */
	uint8_t answer_opcode;
	bool answer_packed;
	struct ws_deflate deflate;       /* and the client's end of it */
	z_stream client_unpack;
	bool deflates;
	bool closed;                     /* a Close of ours has been read */
	uint64_t seed;                   /* 0: no dice */
	bool app;                        /* also writes of its own */
	bool app_writing;
	uint64_t app_left;               /* of a message of known length; UINT64_MAX: unknown */
};

static uint32_t dice(struct talk *t, uint32_t sides)
{
	t->seed = t->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(t->seed >> 33) % sides;
}

/* The answer's payload as it was before it was packed. */
static void answer_unpack(struct talk *t)
{
	z_stream *z = &t->client_unpack;
	struct log text = { 0 };
	uint8_t some[4096];

	log_add(&t->answer, "\0\0\xff\xff", 4);
	z->next_in = t->answer.at;
	z->avail_in = (unsigned)t->answer.n;
	do {
		z->next_out = some;
		z->avail_out = sizeof(some);
		int result = inflate(z, Z_SYNC_FLUSH);

		check(result == Z_OK || result == Z_BUF_ERROR);
		log_add(&text, some, sizeof(some) - z->avail_out);
	} while (z->avail_out == 0);
	check(z->avail_in == 0);
	if (!t->deflate.agreed.server_takeover)
		check(inflateReset(z) == Z_OK);
	free(t->answer.at);
	t->answer = text;
}

static void client_read(struct talk *t)
{
	size_t n;
	uint8_t *bytes;

	while ((bytes = pipe_peek(&t->out, &n)) != NULL) {
		log_add(&t->wire, bytes, n);
		pipe_consume(&t->out, n);
	}
	for (;;) {
		struct ws_frame_rules rules = { .frame_bytes_max = UINT64_MAX, .message_bytes_left = UINT64_MAX,
			.coded_bytes_left = UINT64_MAX, .reserved_allowed = t->deflates ? 4 : 0, .in_message = t->answer_opcode != 0 };
		struct ws_frame head;
		const struct reason *broken;
		size_t size;
		enum ws_decode decode = ws_frame_decode(&head, &size, t->wire.at, t->wire.n, &rules, &broken);

		check(decode != WS_DECODE_BROKEN);
		if (decode == WS_DECODE_MORE || t->wire.n - size < head.length)
			break;
		check(!t->closed);
		if (ws_opcode_control(head.opcode)) {
			log_tell(&t->answers, head.opcode, t->wire.at + size, head.length);
			t->closed = head.opcode == WS_CLOSE;
		} else {
			if (t->answer_opcode == 0) {
				t->answer_opcode = head.opcode;
				t->answer_packed = head.reserved;
			}
			log_add(&t->answer, t->wire.at + size, head.length);
			if (head.final) {
				if (t->answer_packed)
					answer_unpack(t);
				log_tell(&t->answers, t->answer_opcode, t->answer.at, t->answer.n);
				t->answer.n = 0;
				t->answer_opcode = 0;
			}
		}
		log_drop(&t->wire, size + head.length);
	}
	/* An end that is clean cuts no frame; only a refusal of ours does. */
	if (pipe_at_end(&t->out) && !t->out.reason && !t->out.refusal)
		check(t->wire.n == 0);
}

/* An application that does as the dice say. */
static void app_act(struct talk *t)
{
	static const uint8_t some[300];
	size_t n = dice(t, sizeof(some));

	switch (dice(t, 8)) {
	case 0:
		ws_ping(&t->ws, some, n % (WS_CONTROL_MAX + 1));
		break;
	case 1:
		if (dice(t, 4) == 0)
			ws_close(&t->ws, 1000 + dice(t, 4), n % 2 ? "bye" : NULL);
		break;
	case 2:
		if (dice(t, 16) == 0)
			pipe_refuse(&t->out, &CLOSED_BELOW);
		break;
	default:
		if (!t->app_writing) {
			t->app_left = dice(t, 2) ? n : WS_LENGTH_UNKNOWN;
			t->app_writing = ws_write_begin(&t->ws, WS_BINARY, t->app_left);
		} else {
			bool last = dice(t, 3) == 0;

			if (t->app_left != WS_LENGTH_UNKNOWN) {
				n = last ? t->app_left : n % (t->app_left + 1);
				t->app_left -= n;
			}
			bool taken = last ? ws_write_end(&t->ws, some, n) : ws_write_piece(&t->ws, some, n);

			t->app_writing = taken && !last;
		}
	}
}

static void step(struct talk *t)
{
	struct ws_piece piece;
	enum ws_event event;

	while ((event = ws_next(&t->ws, &piece)) == WS_DATA || event == WS_PONG_RECEIVED) {
		if (event == WS_PONG_RECEIVED) {
			log_tell(&t->events, WS_PONG, piece.bytes, piece.n);
			continue;
		}
		check(piece.opcode == WS_TEXT || piece.opcode == WS_BINARY);
		check(piece.first == (t->message.n == 0));
		size_t n = t->seed ? dice(t, (uint32_t)piece.n + 1) : piece.n;

		log_add(&t->message, piece.bytes, n);
		if (piece.last && n == piece.n) {
			log_tell(&t->events, piece.opcode, t->message.at, t->message.n);
			t->message.n = 0;
		}
		if (t->app)
			app_act(t);
		else
			ws_write_like(&t->ws, &piece, n);
		ws_consumed(&t->ws, n);
	}
	if (t->app)
		app_act(t);
}

static void talk(struct talk *t, const uint8_t *bytes, size_t n, const struct ws_limits *limits, const struct ws_deflate_agreed *agreed,
	uint64_t seed, bool app)
{
	struct ws_piece piece;

	*t = (struct talk){ .seed = seed, .app = app };
	chunk_pool_init(&t->pool, 1024);
	pipe_init(&t->in, &t->pool, PIPE_BYTES_MAX);
	pipe_init(&t->out, &t->pool, app ? 512 : PIPE_BYTES_MAX);
	ws_init(&t->ws, &t->in, &t->out, limits);
	if (agreed) {
		t->deflates = true;
		ws_deflate_init(&t->deflate, agreed, &t->pool, 10);
		ws_use_deflate(&t->ws, &t->deflate);
		check(inflateInit2(&t->client_unpack, -(int)agreed->server_window_bits) == Z_OK);
	}
	for (size_t at = 0; at < n;) {
		size_t part = seed ? 1 + dice(t, dice(t, 4) ? 8 : 400) : n;

		if (part > n - at)
			part = n - at;
		pipe_write(&t->in, bytes + at, part);
		at += part;
		step(t);
		if (!app || dice(t, 4) == 0)
			client_read(t);
	}
	pipe_end(&t->in);
	for (enum ws_event event; (event = ws_next(&t->ws, &piece)) != WS_CLOSED && event != WS_BROKEN;) {
		check(event != WS_MORE_NEEDED); /* `in` has ended: something must come of it */
		step(t);
		client_read(t);
	}
	if (piece.reason)
		log_add(&t->events, piece.reason->name, strlen(piece.reason->name));
	else
		log_tell(&t->events, (uint8_t)(piece.code >> 8), piece.bytes, piece.n);
	client_read(t);
	/* Only an application may still owe the rest of a frame. */
	check(t->out.ended || (app && t->app_writing));
	check(t->in.refusal || (app && t->app_writing));
}

static void talk_end(struct talk *t)
{
	if (t->deflates) {
		ws_deflate_fini(&t->deflate);
		inflateEnd(&t->client_unpack);
	}
	pipe_fini(&t->in);
	pipe_fini(&t->out);
	chunk_pool_fini(&t->pool);
	free(t->events.at);
	free(t->message.at);
	free(t->answers.at);
	free(t->answer.at);
	free(t->wire.at);
}

static void same(const struct log *a, const struct log *b)
{
	check(a->n == b->n);
	check(a->n == 0 || memcmp(a->at, b->at, a->n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk whole, parts, wild;
	uint32_t seed;

	if (size < 5 || size > 30000)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	struct ws_limits limits = {
		.frame_bytes_max = data[4] & 1 ? 100 : 0,
		.message_bytes_max = data[4] & 2 ? 300 : 100000,
		.small_fragments_max = data[4] & 4 ? 5 : 0,
	};

	const struct ws_deflate_agreed some = {
		.client_takeover = data[4] & 16, .server_takeover = data[4] & 16, .client_window_bits = 15, .server_window_bits = 10,
	};
	const struct ws_deflate_agreed *agreed = data[4] & 8 ? &some : NULL;

	talk(&whole, data + 5, size - 5, &limits, agreed, 0, false);
	talk(&parts, data + 5, size - 5, &limits, agreed, (uint64_t)seed + 1, false);
	same(&whole.events, &parts.events);
	same(&whole.answers, &parts.answers);
	talk(&wild, data + 5, size - 5, &limits, agreed, (uint64_t)seed + 1, true);
	talk_end(&whole);
	talk_end(&parts);
	talk_end(&wild);
	return 0;
}
