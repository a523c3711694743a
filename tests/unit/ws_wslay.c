/* tests/unit/ws_wslay.c — libwslay reads the same bytes: the same messages come of them, and the same verdict.
 *
 * Conversations are thrown: frames that are mostly right, then a fault in some of them. libwslay is given all at once, ours in
 * pieces of random size. Where a conversation has one fault the codes must be the same; where it has several in one frame, both must
 * refuse, for whichever they find first.
 *
 * Not thrown, because libwslay is known to read it otherwise: close codes 1012 to 1014, which it refuses and IANA has registered since;
 * and a Close of one byte, which it takes for one without a code, against RFC 6455 §5.5.1. */
#include "ws/engine.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#define MESSAGE_BYTES_MAX 5000u

struct bytes {
	uint8_t at[1 << 18];
	size_t n;
};

/* What one of the two has made of it: messages as opcode, size and content, and how it ended. */
struct told {
	struct bytes messages;
	unsigned code;                   /* of a refusal; 0: none */
	bool closed;                     /* by the client, with `peer_code` */
	unsigned peer_code;
};

static void add(struct bytes *b, const void *bytes, size_t n)
{
	cr_assert_leq(b->n + n, sizeof(b->at));
	if (n > 0)
		memcpy(b->at + b->n, bytes, n);
	b->n += n;
}

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

/* ---- what is thrown ---- */

static size_t text_throw(uint8_t *text, size_t most, unsigned *faults, bool faulty)
{
	static const char *const good[] = { "a", "\xc3\xa9", "\xe6\x82\xa3", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\x80", "\xe6\x82 ", "\xf8\x88\x80\x80" };
	size_t n = 0, length = dice((uint32_t)most + 1);
	bool spent = false;

	while (n + 4 <= length) {
		bool now = faulty && !spent && dice(8) == 0;
		const char *word = now ? bad[dice(array_count(bad))] : good[dice(array_count(good))];

		spent |= now;
		memcpy(text + n, word, strlen(word));
		n += strlen(word);
	}
	*faults += spent;
	return n;
}

struct frame_thrown {
	uint8_t opcode, reserved;
	bool fin, masked;
	unsigned width;                  /* of the length: 0, 2 or 8 bytes */
	uint64_t length;
};

static void frame_add(struct bytes *b, const struct frame_thrown *f, const uint8_t *payload, size_t n)
{
	uint8_t mask[4] = { (uint8_t)dice(256), (uint8_t)dice(256), (uint8_t)dice(256), (uint8_t)dice(256) };
	uint8_t header[10] = { (uint8_t)(f->fin << 7 | f->reserved << 4 | f->opcode), (uint8_t)(f->masked << 7) };

	header[1] |= f->width == 0 ? (uint8_t)f->length : f->width == 2 ? 126 : 127;
	for (unsigned i = 0; i < f->width; i++)
		header[2 + i] = (uint8_t)(f->length >> 8 * (f->width - 1 - i));
	add(b, header, 2 + f->width);
	if (f->masked)
		add(b, mask, 4);
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = payload[i] ^ (f->masked ? mask[i % 4] : 0);

		add(b, &byte, 1);
	}
}

static unsigned width_of(uint64_t length)
{
	return length < 126 ? 0 : length < 65536 ? 2 : 8;
}

static void fault_set(struct frame_thrown *f, unsigned *faults)
{
	++*faults;
	switch (dice(7)) {
	case 0:
		f->reserved = (uint8_t)(1 + dice(7));
		break;
	case 1:
		f->opcode = (uint8_t)(dice(2) ? 3 + dice(5) : 11 + dice(5));
		break;
	case 2:
		f->masked = false;
		break;
	case 3:
		f->width = width_of(f->length) == 0 ? 2 : 8; /* longer than needed */
		break;
	case 4:
		f->width = 8;
		f->length |= (uint64_t)1 << 63;
		break;
	case 5:
		f->width = 8;
		f->length = MESSAGE_BYTES_MAX + 65536 + dice(100000);
		break;
	case 6:
		if (f->opcode >= 8)
			f->fin = false;
		else
			f->opcode = f->opcode ? 0 : 1; /* a continuation of nothing, or a message inside another */
		break;
	}
}

/* A conversation; returns how many faults it has. */
static unsigned conversation_throw(struct bytes *b, bool faulty)
{
	uint8_t payload[MESSAGE_BYTES_MAX];
	unsigned faults = 0, frames = 1 + dice(12);

	b->n = 0;
	for (unsigned i = 0; i < frames; i++) {
		bool control = dice(3) == 0, text = dice(2);
		size_t n = dice(4) ? dice(140) : dice(1500);

		if (control) {
			static const uint8_t controls[] = { WS_PING, WS_PONG, WS_CLOSE };
			static const uint16_t codes[] = { 1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999 }, wrong[] = { 0, 999, 1004, 1005, 1006,
				1015, 1016, 2999, 5000, 65535 };
			struct frame_thrown f = { .opcode = controls[dice(dice(3) ? 2 : 3)], .fin = true, .masked = true };

			n = dice(126);
			for (size_t k = 0; k < n; k++)
				payload[k] = (uint8_t)dice(256);
			if (f.opcode == WS_CLOSE) {
				bool bad = faulty && dice(4) == 0;
				uint16_t code = bad && dice(2) ? wrong[dice(array_count(wrong))] : codes[dice(array_count(codes))];

				for (size_t k = 0; k < array_count(wrong); k++)
					faults += bad && wrong[k] == code;
				payload[0] = (uint8_t)(code >> 8);
				payload[1] = (uint8_t)code;
				n = 2 + text_throw(payload + 2, 123, &faults, bad);
				if (!bad && dice(5) == 0)
					n = 0;
			}
			f.length = n;
			if (faulty && dice(10) == 0)
				fault_set(&f, &faults);
			frame_add(b, &f, payload, n);
			continue;
		}

		/* A message of up to five fragments, cut anywhere. */
		unsigned parts = 1 + dice(5);
		size_t at = 0;

		if (text) {
			n = text_throw(payload, n, &faults, faulty && dice(6) == 0);
			if (faulty && n > 0 && dice(12) == 0 && (payload[n - 1] & 0x80)) {
				n--; /* it ends in a character */
				faults++;
			}
		} else {
			for (size_t k = 0; k < n; k++)
				payload[k] = (uint8_t)dice(256);
		}
		for (unsigned part = 0; part < parts; part++) {
			size_t size = part + 1 == parts ? n - at : dice((uint32_t)(n - at) + 1);
			struct frame_thrown f = { .opcode = part == 0 ? text ? WS_TEXT : WS_BINARY : WS_CONTINUATION, .fin = part + 1 == parts,
				.masked = true, .length = size, .width = width_of(size) };

			if (faulty && dice(15) == 0)
				fault_set(&f, &faults);
			frame_add(b, &f, payload + at, size);
			at += size;
			if (dice(4) == 0)
				frame_add(b, &(struct frame_thrown){ .opcode = WS_PING, .fin = true, .masked = true, .length = 3 }, payload, 3);
		}
	}
	/* libwslay judges a header when the first byte behind it has come. */
	frame_add(b, &(struct frame_thrown){ .opcode = WS_PING, .fin = true, .masked = true, .length = 1 }, payload, 1);
	return faults;
}

/* ---- theirs ---- */

struct theirs {
	const struct bytes *in;
	size_t at;
	struct told *told;
};

static ssize_t theirs_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t n, int flags, void *user)
{
	struct theirs *t = user;

	(void)flags;
	if (n > t->in->n - t->at)
		n = t->in->n - t->at;
	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, t->in->at + t->at, n);
	t->at += n;
	return (ssize_t)n;
}

static ssize_t theirs_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t n, int flags, void *user)
{
	(void)ctx, (void)data, (void)flags, (void)user;
	return (ssize_t)n;
}

static void message_tell(struct told *told, uint8_t opcode, const uint8_t *bytes, size_t n)
{
	add(&told->messages, &opcode, 1);
	add(&told->messages, &n, sizeof(n));
	add(&told->messages, bytes, n);
}

static void theirs_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
	struct theirs *t = user;

	(void)ctx;
	if (arg->opcode == WSLAY_TEXT_FRAME || arg->opcode == WSLAY_BINARY_FRAME)
		message_tell(t->told, arg->opcode, arg->msg, arg->msg_length);
}

static void theirs_read(struct told *told, const struct bytes *in)
{
	const struct wslay_event_callbacks callbacks = { .recv_callback = theirs_recv, .send_callback = theirs_send,
		.on_msg_recv_callback = theirs_message };
	struct theirs t = { .in = in, .told = told };
	wslay_event_context_ptr ctx;

	*told = (struct told){ 0 };
	cr_assert_eq(wslay_event_context_server_init(&ctx, &callbacks, &t), 0);
	wslay_event_config_set_max_recv_msg_length(ctx, MESSAGE_BYTES_MAX);

	/* What its frame layer refuses is told so, and answered by a Close without a code. */
	int result = wslay_event_recv(ctx);

	cr_assert(result == 0 || (result == WSLAY_ERR_CALLBACK_FAILURE && wslay_event_want_write(ctx)), "%d", result);
	while (wslay_event_want_write(ctx) && wslay_event_send(ctx) == 0)
		;
	told->closed = wslay_event_get_close_received(ctx);
	if (told->closed)
		told->peer_code = wslay_event_get_status_code_received(ctx);
	else if (wslay_event_get_close_sent(ctx))
		told->code = result ? WSLAY_CODE_PROTOCOL_ERROR : wslay_event_get_status_code_sent(ctx);
	wslay_event_context_free(ctx);
}

/* ---- ours ---- */

static void ours_read(struct told *told, const struct bytes *in)
{
	static struct bytes message;
	struct chunk_pool pool;
	struct pipe from, to;
	struct ws ws;
	struct ws_piece piece;
	enum ws_event event = WS_MORE_NEEDED;

	*told = (struct told){ 0 };
	message.n = 0;
	chunk_pool_init(&pool, 1024);
	pipe_init(&from, &pool, PIPE_BYTES_MAX);
	pipe_init(&to, &pool, UINT64_MAX);
	ws_init(&ws, &from, &to, &(struct ws_limits){ .message_bytes_max = MESSAGE_BYTES_MAX });
	for (size_t at = 0, n; at < in->n && !ws_over(&ws); at += n) {
		n = 1 + dice(dice(2) ? 10 : 3000);
		if (n > in->n - at)
			n = in->n - at;
		pipe_write(&from, in->at + at, n);
		while ((event = ws_next(&ws, &piece)) == WS_DATA || event == WS_PONG_RECEIVED) {
			if (event != WS_DATA)
				continue;
			add(&message, piece.bytes, piece.n);
			if (piece.last) {
				message_tell(told, piece.opcode, message.at, message.n);
				message.n = 0;
			}
			ws_consumed(&ws, piece.n);
		}
	}
	if (event == WS_BROKEN)
		told->code = ws_close_code(piece.reason);
	told->closed = event == WS_CLOSED;
	if (told->closed)
		told->peer_code = piece.code;
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
}

/* ---- both ---- */

static void compare(const struct bytes *in, unsigned faults, uint64_t number)
{
	static struct told ours, theirs;
	uint64_t kept = seed;

	ours_read(&ours, in);
	seed = kept;
	theirs_read(&theirs, in);
	cr_assert_eq(ours.code != 0, theirs.code != 0, "conversation %lu: ours %u, theirs %u", number, ours.code, theirs.code);
	cr_assert_eq(ours.closed, theirs.closed, "conversation %lu", number);
	cr_assert_eq(ours.peer_code, theirs.peer_code, "conversation %lu: ours %u, theirs %u", number, ours.peer_code, theirs.peer_code);
	if (faults <= 1)
		cr_assert_eq(ours.code, theirs.code, "conversation %lu: ours %u, theirs %u", number, ours.code, theirs.code);
	cr_assert_eq(ours.messages.n, theirs.messages.n, "conversation %lu: as many messages", number);
	cr_assert(memcmp(ours.messages.at, theirs.messages.at, ours.messages.n) == 0, "conversation %lu: the same messages", number);
	if (faults == 0)
		cr_assert_eq(ours.code, 0, "conversation %lu has no fault", number);
}

Test(ws_wslay, right_conversations_are_the_same_messages, .timeout = 60)
{
	static struct bytes in;

	for (uint64_t number = 1; number <= 20000; number++) {
		seed = number;
		cr_assert_eq(conversation_throw(&in, false), 0);
		compare(&in, 0, number);
	}
}

Test(ws_wslay, conversations_with_faults_get_the_same_verdict, .timeout = 60)
{
	static struct bytes in;
	unsigned with_one = 0, with_more = 0;

	for (uint64_t number = 1; number <= 60000; number++) {
		seed = number * 7919;
		unsigned faults = conversation_throw(&in, true);

		with_one += faults == 1;
		with_more += faults > 1;
		compare(&in, faults, number);
	}
	cr_assert_gt(with_one, 10000);
	cr_assert_gt(with_more, 5000);
}
