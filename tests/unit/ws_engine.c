/* The engine as a client sees it. Each conversation is held uncut, cut in two at every byte, and byte by byte: the events
 * and the answer must be the same. The groups follow the chapters of the Autobahn test suite, 1 to 7, then come the rules
 * that suite does not ask for: limits, full pipes, our own closing, large messages in bounded memory. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ws/engine.c"

/* ---- bytes and transcripts ---- */

struct bytes {
	uint8_t *at;
	size_t n, size;
};

static void add(struct bytes *b, const void *bytes, size_t n)
{
	if (b->n + n + 1 > b->size) {
		b->size = (b->n + n + 1) * 2;
		b->at = realloc(b->at, b->size);
	}
	if (n > 0)
		memcpy(b->at + b->n, bytes, n);
	b->n += n;
	b->at[b->n] = 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct bytes *b, const char *format, ...)
{
	char line[512];
	va_list list;

	va_start(list, format);
	add(b, line, (size_t)vsnprintf(line, sizeof(line), format, list));
	va_end(list);
}

/* Long contents are told by size and a sum, so that a transcript stays readable. */
static void say_content(struct bytes *b, const uint8_t *bytes, size_t n)
{
	uint32_t sum = 2166136261u;

	if (n <= 130) {
		add(b, bytes, n);
	} else {
		for (size_t i = 0; i < n; i++)
			sum = (sum ^ bytes[i]) * 16777619u;
		say(b, "(%zu bytes, %08x)", n, sum);
	}
	say(b, "\n");
}

/* ---- the client's frames ---- */

static void frame(struct bytes *b, uint8_t opcode, bool final, const void *payload, size_t n)
{
	struct ws_frame head = { .opcode = opcode, .final = final, .length = n, .masked = true,
		.mask = { 0x37, 0xFA, (uint8_t)n, 0x3D } };
	uint8_t header[WS_HEADER_MAX];

	add(b, header, ws_frame_encode(header, &head));
	add(b, payload, n);
	ws_mask(b->at + b->n - n, n, head.mask, 0);
}

static void words(struct bytes *b, uint8_t opcode, bool final, const char *text)
{
	frame(b, opcode, final, text, strlen(text));
}

static void close_frame(struct bytes *b, unsigned code, const char *text)
{
	uint8_t payload[WS_CONTROL_MAX] = { (uint8_t)(code >> 8), (uint8_t)code };

	memcpy(payload + 2, text, strlen(text));
	frame(b, WS_CLOSE, true, payload, 2 + strlen(text));
}

/* A frame written by hand: the first byte as given, otherwise masked by zeroes and short. */
static void odd(struct bytes *b, uint8_t first, const char *payload)
{
	uint8_t header[6] = { first, (uint8_t)(0x80 | strlen(payload)) };

	add(b, header, sizeof(header));
	add(b, payload, strlen(payload));
}

/* ---- one conversation with an echo ---- */

struct bench {
	struct chunk_pool pool;
	struct pipe in, out;
	struct ws ws;
	struct ws_deflate deflate;       /* where it was agreed; and the client's end of it */
	bool deflates;
	z_stream client_unpack;
	bool answer_packed;
	struct bytes events;             /* what ws_next told */
	struct bytes message;            /* so far, in */
	struct bytes answer;             /* what the client was told */
	struct bytes answer_message;     /* so far */
	struct bytes wire;               /* of the answer, not read yet */
	uint8_t answer_opcode;
	bool over;
};

static const struct ws_limits NO_LIMITS = { 0 };

static void bench_open(struct bench *b, const struct ws_limits *limits, const struct ws_deflate_agreed *agreed)
{
	*b = (struct bench){ 0 };
	chunk_pool_init(&b->pool, 1024);
	pipe_init(&b->in, &b->pool, PIPE_BYTES_MAX);
	pipe_init(&b->out, &b->pool, PIPE_BYTES_MAX);
	ws_init(&b->ws, &b->in, &b->out, limits);
	if (agreed) {
		b->deflates = true;
		ws_deflate_init(&b->deflate, agreed, &b->pool, 0);
		ws_use_deflate(&b->ws, &b->deflate);
		cr_assert_eq(inflateInit2(&b->client_unpack, -(int)agreed->server_window_bits), Z_OK);
	}
	add(&b->events, "", 0);
	add(&b->answer, "", 0);
}

/* Nothing may be left over: chunk_pool_fini checks that every chunk has come back. */
static void bench_close(struct bench *b)
{
	if (b->deflates) {
		ws_deflate_fini(&b->deflate);
		inflateEnd(&b->client_unpack);
	}
	pipe_fini(&b->in);
	pipe_fini(&b->out);
	chunk_pool_fini(&b->pool);
	free(b->events.at);
	free(b->message.at);
	free(b->answer.at);
	free(b->answer_message.at);
	free(b->wire.at);
}

static const char *opcode_name(uint8_t opcode)
{
	switch (opcode) {
	case WS_TEXT: return "text";
	case WS_BINARY: return "binary";
	case WS_CLOSE: return "close";
	case WS_PING: return "ping";
	case WS_PONG: return "pong";
	default: return "?";
	}
}

/* What the answer's payload was before it was packed. */
static struct bytes client_unpacked(struct bench *b)
{
	struct bytes text = { 0 };
	z_stream *z = &b->client_unpack;
	uint8_t some[4096];

	add(&b->answer_message, "\0\0\xff\xff", 4);
	z->next_in = b->answer_message.at;
	z->avail_in = (unsigned)b->answer_message.n;
	do {
		z->next_out = some;
		z->avail_out = sizeof(some);
		int result = inflate(z, Z_SYNC_FLUSH);

		cr_assert(result == Z_OK || result == Z_BUF_ERROR, "zlib says %d", result);
		add(&text, some, sizeof(some) - z->avail_out);
	} while (z->avail_out == 0 || z->avail_in > 0);
	if (!b->deflate.agreed.server_takeover)
		inflateReset(z);
	return text;
}

/* The client reads all that is in `out`. */
static void client_read(struct bench *b)
{
	static const struct ws_frame_rules FROM_SERVER = { .frame_bytes_max = UINT64_MAX, .message_bytes_left = UINT64_MAX };
	size_t n, at = 0;
	uint8_t *bytes;

	while ((bytes = pipe_peek(&b->out, &n)) != NULL) {
		add(&b->wire, bytes, n);
		pipe_consume(&b->out, n);
	}
	for (;;) {
		struct ws_frame_rules rules = FROM_SERVER;
		struct ws_frame head;
		size_t size;
		const struct reason *broken = NULL;

		rules.in_message = b->answer_opcode != 0;
		rules.reserved_allowed = b->deflates ? 4 : 0;
		rules.coded_bytes_left = UINT64_MAX;
		enum ws_decode decode = ws_frame_decode(&head, &size, b->wire.at + at, b->wire.n - at, &rules, &broken);

		cr_assert_neq(decode, WS_DECODE_BROKEN, "our own frame: %s", broken ? broken->name : "");
		if (decode == WS_DECODE_MORE || b->wire.n - at - size < head.length)
			break;
		const uint8_t *payload = b->wire.at + at + size;

		at += size + head.length;
		if (head.opcode == WS_CLOSE) {
			say(&b->answer, "close");
			if (head.length >= 2) {
				say(&b->answer, " %u ", payload[0] << 8 | payload[1]);
				say_content(&b->answer, payload + 2, head.length - 2);
			} else {
				cr_assert_eq(head.length, 0);
				say(&b->answer, "\n");
			}
		} else if (ws_opcode_control(head.opcode)) {
			say(&b->answer, "%s ", opcode_name(head.opcode));
			say_content(&b->answer, payload, head.length);
		} else {
			if (b->answer_opcode == 0) {
				b->answer_opcode = head.opcode;
				b->answer_packed = head.reserved;
			}
			add(&b->answer_message, payload, head.length);
			if (head.final) {
				say(&b->answer, "%s ", opcode_name(b->answer_opcode));
				if (b->answer_packed) {
					struct bytes text = client_unpacked(b);

					say_content(&b->answer, text.at, text.n);
					free(text.at);
				} else say_content(&b->answer, b->answer_message.at, b->answer_message.n);
				b->answer_message.n = 0;
				b->answer_opcode = 0;
			}
		}
	}
	if (b->wire.n > 0)
		memmove(b->wire.at, b->wire.at + at, b->wire.n - at);
	b->wire.n -= at;
	if (pipe_at_end(&b->out) && !b->over) {
		b->over = true;
		say(&b->answer, b->out.reason ? "cut\n" : "end\n");
	}
}

/* The echo's step. */
static void echo_step(struct bench *b)
{
	struct ws_piece piece;

	for (;;) {
		switch (ws_next(&b->ws, &piece)) {
		case WS_DATA: {
			uint64_t n = ws_write_free(&b->ws);

			if (n == 0)
				return;
			if (n > piece.n)
				n = piece.n;
			cr_assert(piece.n > 0 || piece.last, "nothing is shown only where it ends a message");
			cr_assert_eq(piece.first, b->message.n == 0, "first is told of the first piece only");
			add(&b->message, piece.bytes, n);
			if (piece.last && n == piece.n) {
				say(&b->events, "%s ", opcode_name(piece.opcode));
				say_content(&b->events, b->message.at, b->message.n);
				b->message.n = 0;
			}
			ws_write_like(&b->ws, &piece, n);
			ws_consumed(&b->ws, n);
			break;
		}
		case WS_PONG_RECEIVED:
			say(&b->events, "pong ");
			say_content(&b->events, piece.bytes, piece.n);
			break;
		case WS_MORE_NEEDED:
			return;
		case WS_CLOSED:
			say(&b->events, "closed %u ", piece.code);
			say_content(&b->events, piece.bytes, piece.n);
			return;
		case WS_BROKEN:
			say(&b->events, "broken %s\n", piece.reason->name);
			return;
		}
	}
}

/* The client writes `n` bytes, in pieces of `step` after a first one of `first`, and then, if it `leaves`, FIN. */
static void converse(struct bench *b, const struct bytes *bytes, size_t first, size_t step, bool leaves)
{
	bool told = false;

	for (size_t at = 0, n = first; at < bytes->n || n == 0; n = step) {
		if (n > bytes->n - at)
			n = bytes->n - at;
		pipe_write(&b->in, bytes->at + at, n);
		at += n;
		if (!told)
			echo_step(b);
		told = ws_over(&b->ws);
		client_read(b);
		if (n == 0 && at == bytes->n)
			break;
	}
	if (leaves && !told) {
		pipe_end(&b->in);
		echo_step(b);
		client_read(b);
	}
}

static void conversed(const struct bytes *bytes, size_t first, size_t step, bool leaves, const struct ws_limits *limits,
	const struct ws_deflate_agreed *agreed, const char *events, const char *answer)
{
	struct bench b;

	bench_open(&b, limits, agreed);
	converse(&b, bytes, first, step, leaves);
	cr_assert_str_eq((char *)b.events.at, events, "cut at %zu, then every %zu:\n%s", first, step, b.events.at);
	cr_assert_str_eq((char *)b.answer.at, answer, "cut at %zu, then every %zu:\n%s", first, step, b.answer.at);
	cr_assert_not_null(b.in.refusal, "what still comes must vanish, not turn into a reset");
	cr_assert(b.out.ended);
	bench_close(&b);
}

static void expect_agreed(struct bytes *bytes, const struct ws_limits *limits, const struct ws_deflate_agreed *agreed,
	const char *events, const char *answer)
{
	/* Of a long one every byte near both ends, where headers are, and some between. */
	for (size_t cut = 1; cut <= bytes->n; cut += cut > 200 && cut + 200 < bytes->n ? 1 + bytes->n / 97 : 1)
		conversed(bytes, cut, bytes->n, true, limits, agreed, events, answer);
	conversed(bytes, bytes->n, bytes->n, true, limits, agreed, events, answer);
	conversed(bytes, 1, 1, true, limits, agreed, events, answer);
	conversed(bytes, 1, 7, true, limits, agreed, events, answer);
	free(bytes->at);
	*bytes = (struct bytes){ 0 };
}

static void expect_limited(struct bytes *bytes, const struct ws_limits *limits, const char *events, const char *answer)
{
	expect_agreed(bytes, limits, NULL, events, answer);
}

static void expect(struct bytes *bytes, const char *events, const char *answer)
{
	expect_limited(bytes, &NO_LIMITS, events, answer);
}

/* After the bytes comes a good ending, so that both transcripts begin with what is asked about and end alike. */
static void expect_good(struct bytes *bytes, const char *events, const char *answer)
{
	char events_all[4096], answer_all[4096];

	close_frame(bytes, 1000, "");
	snprintf(events_all, sizeof(events_all), "%sclosed 1000 \n", events);
	snprintf(answer_all, sizeof(answer_all), "%sclose 1000 \nend\n", answer);
	expect(bytes, events_all, answer_all);
}

static void expect_broken_after(struct bytes *bytes, const struct ws_limits *limits, const char *before_events,
	const char *before_answer, const struct reason *reason)
{
	char events[1024], answer[1024];

	words(bytes, WS_TEXT, true, "this comes too late");
	snprintf(events, sizeof(events), "%sbroken %s\n", before_events, reason->name);
	snprintf(answer, sizeof(answer), "%sclose %u %s\nend\n", before_answer, ws_close_code(reason), reason->sentence);
	expect_limited(bytes, limits, events, answer);
}

static void expect_broken(struct bytes *bytes, const char *before, const struct reason *reason)
{
	expect_broken_after(bytes, &NO_LIMITS, before, before, reason);
}

/* ---- 1 framing ---- */

Test(ws_engine, messages_of_every_length_form_come_back_as_they_went)
{
	static const size_t SIZES[] = { 0, 1, 125, 126, 127, 128, 255, 256, 1000, 16383, 16384, 20000, 65535, 65536, 65537 };

	for (size_t i = 0; i < array_count(SIZES); i++)
		for (uint8_t opcode = WS_TEXT; opcode <= WS_BINARY; opcode++) {
			struct bytes b = { 0 }, said = { 0 };
			char *content = malloc(SIZES[i] + 1);

			for (size_t k = 0; k < SIZES[i]; k++)
				content[k] = (char)('a' + k % 26);
			frame(&b, opcode, true, content, SIZES[i]);
			say(&said, "%s ", opcode_name(opcode));
			say_content(&said, (uint8_t *)content, SIZES[i]);
			expect_good(&b, (char *)said.at, (char *)said.at);
			free(content);
			free(said.at);
		}
}

Test(ws_engine, binary_messages_hold_any_byte)
{
	uint8_t all[256];
	struct bytes b = { 0 }, said = { 0 };

	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	frame(&b, WS_BINARY, true, all, sizeof(all));
	say(&said, "binary ");
	say_content(&said, all, sizeof(all));
	expect_good(&b, (char *)said.at, (char *)said.at);
	free(said.at);
}

/* ---- 2 pings and pongs ---- */

Test(ws_engine, pings_are_answered_with_their_payload)
{
	struct bytes b = { 0 };
	char longest[WS_CONTROL_MAX + 1];

	frame(&b, WS_PING, true, NULL, 0);
	words(&b, WS_PING, true, "Hello, world!");
	expect_good(&b, "", "pong \npong Hello, world!\n");

	memset(longest, 'p', WS_CONTROL_MAX);
	longest[WS_CONTROL_MAX] = 0;
	words(&b, WS_PING, true, longest);
	char answer[256];

	snprintf(answer, sizeof(answer), "pong %s\n", longest);
	expect_good(&b, "", answer);

	for (int i = 0; i < 10; i++)
		words(&b, WS_PING, true, "again");
	expect_good(&b, "", "pong again\npong again\npong again\npong again\npong again\n"
		"pong again\npong again\npong again\npong again\npong again\n");
}

Test(ws_engine, a_ping_that_is_too_long_or_cut_in_fragments_is_refused)
{
	struct bytes b = { 0 };

	add(&b, "\x89\xFE\x00\x7Emask", 8);
	expect_broken(&b, "", &WS_CONTROL_TOO_LONG);
	odd(&b, WS_PING, "half");
	expect_broken(&b, "", &WS_CONTROL_FRAGMENTED);
}

Test(ws_engine, pongs_are_told_and_answered_by_nothing)
{
	struct bytes b = { 0 };

	words(&b, WS_PONG, true, "unsolicited");
	frame(&b, WS_PONG, true, NULL, 0);
	words(&b, WS_PING, true, "x");
	expect_good(&b, "pong unsolicited\npong \n", "pong x\n");
}

/* ---- 3 and 4 reserved bits and opcodes ---- */

Test(ws_engine, reserved_bits_and_opcodes_are_refused_behind_what_was_good)
{
	struct bytes b = { 0 };

	for (unsigned bits = 1; bits < 8; bits++) {
		words(&b, WS_TEXT, true, "good");
		odd(&b, (uint8_t)(0x80 | bits << 4 | WS_TEXT), "bad");
		expect_broken(&b, "text good\n", &WS_RESERVED_BIT);
		odd(&b, (uint8_t)(0x80 | bits << 4 | WS_PING), "");
		expect_broken(&b, "", &WS_RESERVED_BIT);
	}
	for (unsigned opcode = 3; opcode < 16; opcode = opcode == 7 ? 11 : opcode + 1) {
		words(&b, WS_TEXT, true, "good");
		odd(&b, (uint8_t)(0x80 | opcode), "bad");
		expect_broken(&b, "text good\n", &WS_OPCODE_RESERVED);
	}
}

Test(ws_engine, masks_and_lengths_are_held_to_the_rules)
{
	struct bytes b = { 0 };

	add(&b, "\x81\x02hi", 4);
	expect_broken(&b, "", &WS_MASK_MISSING);
	add(&b, "\x81\xFE\x00\x02maskhi", 10);
	expect_broken(&b, "", &WS_LENGTH_NOT_MINIMAL);
	add(&b, "\x81\xFF\x00\x00\x00\x00\x00\x00\xFF\xFFmask", 14);
	expect_broken(&b, "", &WS_LENGTH_NOT_MINIMAL);
	add(&b, "\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFmask", 14);
	expect_broken(&b, "", &WS_LENGTH_NEGATIVE);
}

/* ---- 5 fragments ---- */

Test(ws_engine, fragments_make_one_message_and_control_frames_may_stand_between)
{
	struct bytes b = { 0 };

	words(&b, WS_TEXT, false, "frag");
	words(&b, WS_CONTINUATION, true, "ment");
	expect_good(&b, "text fragment\n", "text fragment\n");

	words(&b, WS_TEXT, false, "frag");
	words(&b, WS_PING, true, "between");
	words(&b, WS_CONTINUATION, false, "");
	words(&b, WS_PONG, true, "too");
	words(&b, WS_CONTINUATION, true, "ment");
	words(&b, WS_BINARY, true, "next");
	expect_good(&b, "pong too\ntext fragment\nbinary next\n", "pong between\ntext fragment\nbinary next\n");

	words(&b, WS_BINARY, false, "");
	words(&b, WS_CONTINUATION, false, "");
	words(&b, WS_CONTINUATION, true, "");
	words(&b, WS_TEXT, false, "tail");
	words(&b, WS_CONTINUATION, true, "");
	words(&b, WS_TEXT, false, "");
	words(&b, WS_CONTINUATION, true, "head");
	expect_good(&b, "binary \ntext tail\ntext head\n", "binary \ntext tail\ntext head\n");
}

Test(ws_engine, continuations_without_a_message_and_messages_within_one_are_refused)
{
	struct bytes b = { 0 };

	words(&b, WS_CONTINUATION, true, "alone");
	expect_broken(&b, "", &WS_CONTINUATION_ALONE);
	words(&b, WS_CONTINUATION, false, "alone");
	expect_broken(&b, "", &WS_CONTINUATION_ALONE);
	words(&b, WS_TEXT, true, "whole");
	words(&b, WS_CONTINUATION, true, "more");
	expect_broken(&b, "text whole\n", &WS_CONTINUATION_ALONE);
	words(&b, WS_TEXT, false, "begun");
	words(&b, WS_TEXT, true, "other");
	expect_broken(&b, "", &WS_MESSAGE_UNFINISHED);
}

/* ---- 6 UTF-8 ---- */

Test(ws_engine, text_is_utf8_over_all_fragments_and_binary_need_not_be)
{
	static const char GREEK[] = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5 \xF0\x9F\x98\x80 \xEF\xBF\xBD";
	struct bytes b = { 0 };
	char said[128];

	snprintf(said, sizeof(said), "text %s\n", GREEK);
	words(&b, WS_TEXT, true, GREEK);
	expect_good(&b, said, said);
	for (size_t cut = 0; cut < sizeof(GREEK); cut++) {
		frame(&b, WS_TEXT, false, GREEK, cut);
		frame(&b, WS_CONTINUATION, true, GREEK + cut, strlen(GREEK) - cut);
		expect_good(&b, said, said);
	}
	for (size_t i = 0; GREEK[i]; i++)
		frame(&b, i == 0 ? WS_TEXT : WS_CONTINUATION, i + 2 == sizeof(GREEK), GREEK + i, 1);
	expect_good(&b, said, said);
	words(&b, WS_BINARY, true, "\xED\xA0\x80");
	expect_good(&b, "binary \xED\xA0\x80\n", "binary \xED\xA0\x80\n");
}

Test(ws_engine, text_that_is_not_utf8_is_refused)
{
	static const char *const WRONG[] = { "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "a\x80", "\xCE\xBA\xE1\xBD",
		"\xF0\x9F\x98", "\xF8\x88\x80\x80\x80" };
	struct bytes b = { 0 };

	for (size_t i = 0; i < array_count(WRONG); i++) {
		words(&b, WS_TEXT, true, WRONG[i]);
		expect_broken(&b, "", &WS_TEXT_NOT_UTF8);
		words(&b, WS_TEXT, false, "good");
		words(&b, WS_CONTINUATION, false, WRONG[i]);
		words(&b, WS_CONTINUATION, true, "");
		expect_broken(&b, "", &WS_TEXT_NOT_UTF8);
	}
}

Test(ws_engine, text_is_refused_at_its_first_impossible_byte_though_the_frame_goes_on)
{
	struct bytes whole = { 0 };
	struct bench b;

	words(&whole, WS_TEXT, true, "good \xED\xA0\x80 and much more of it");
	bench_open(&b, &NO_LIMITS, NULL);
	pipe_write(&b.in, whole.at, 6 + 6);
	echo_step(&b);
	cr_assert_not(ws_over(&b.ws));
	pipe_write(&b.in, whole.at + 12, 1);
	echo_step(&b);
	cr_assert_str_eq((char *)b.events.at, "broken ws_text_not_utf8\n");
	bench_close(&b);
	free(whole.at);
}

Test(ws_engine, a_header_is_refused_at_the_byte_that_breaks_a_rule)
{
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	pipe_write(&b.in, "\x83", 1);
	echo_step(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.events.at, "broken ws_opcode_reserved\n");
	cr_assert_str_eq((char *)b.answer.at, "close 1002 a frame has an opcode that the standard reserves\nend\n");
	bench_close(&b);
}

/* ---- 7 closing ---- */

Test(ws_engine, a_close_is_answered_with_its_code_and_nothing_behind_it_is_looked_at)
{
	static const unsigned GOOD[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999 };
	struct bytes b = { 0 };
	char events[256], answer[256], longest[WS_CLOSE_TEXT_MAX + 1];

	for (size_t i = 0; i < array_count(GOOD); i++) {
		close_frame(&b, GOOD[i], "bye");
		words(&b, WS_TEXT, true, "behind");
		words(&b, WS_PING, true, "behind");
		close_frame(&b, 1000, "again");
		snprintf(events, sizeof(events), "closed %u bye\n", GOOD[i]);
		snprintf(answer, sizeof(answer), "close %u \nend\n", GOOD[i]);
		expect(&b, events, answer);
	}
	frame(&b, WS_CLOSE, true, NULL, 0);
	expect(&b, "closed 1005 \n", "close\nend\n");

	memset(longest, '*', WS_CLOSE_TEXT_MAX);
	longest[WS_CLOSE_TEXT_MAX] = 0;
	close_frame(&b, 1000, longest);
	snprintf(events, sizeof(events), "closed 1000 %s\n", longest);
	expect(&b, events, "close 1000 \nend\n");

	words(&b, WS_TEXT, false, "never finished");
	close_frame(&b, 1000, "");
	expect(&b, "closed 1000 \n", "close 1000 \nend\n");
}

Test(ws_engine, a_close_that_breaks_a_rule_is_refused)
{
	static const unsigned BAD[] = { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 };
	struct bytes b = { 0 };

	for (size_t i = 0; i < array_count(BAD); i++) {
		close_frame(&b, BAD[i], "bye");
		expect_broken(&b, "", &WS_CLOSE_CODE_INVALID);
	}
	frame(&b, WS_CLOSE, true, "\x03", 1);
	expect_broken(&b, "", &WS_CLOSE_TOO_SHORT);
	close_frame(&b, 1000, "\xCE\xBA\xED\xA0\x80");
	expect_broken(&b, "", &WS_CLOSE_TEXT_NOT_UTF8);
	close_frame(&b, 1000, "\xCE");
	expect_broken(&b, "", &WS_CLOSE_TEXT_NOT_UTF8);
	add(&b, "\x88\xFE\x00\x7Emask", 8);
	expect_broken(&b, "", &WS_CONTROL_TOO_LONG);
	odd(&b, WS_CLOSE, "");
	expect_broken(&b, "", &WS_CONTROL_FRAGMENTED);
}

Test(ws_engine, a_connection_that_ends_anywhere_without_a_close_is_lost)
{
	struct bytes whole = { 0 };

	words(&whole, WS_TEXT, false, "hello");
	words(&whole, WS_PING, true, "p");
	for (size_t n = 0; n <= whole.n; n++) {
		struct bench b;
		struct bytes part = { whole.at, n, n };

		bench_open(&b, &NO_LIMITS, NULL);
		converse(&b, &part, n, n, true);
		cr_assert_str_eq((char *)b.events.at, "broken ws_ended_without_close\n");
		cr_assert(b.over && b.out.reason == NULL);
		bench_close(&b);
	}
	free(whole.at);
}

static const struct reason BROKEN_BELOW = { "broken_below", "the connection below broke" };

Test(ws_engine, what_broke_the_connection_below_is_told_behind_what_came_before_it)
{
	struct bytes bytes = { 0 };
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	words(&bytes, WS_TEXT, true, "last words");
	pipe_write(&b.in, bytes.at, bytes.n);
	pipe_break(&b.in, &BROKEN_BELOW);
	echo_step(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.events.at, "text last words\nbroken broken_below\n");
	cr_assert_str_eq((char *)b.answer.at, "text last words\ncut\n");
	cr_assert_eq(b.out.reason, &BROKEN_BELOW);
	bench_close(&b);
	free(bytes.at);
}

Test(ws_engine, a_reader_who_reads_no_more_is_told_when_nothing_is_left_to_read)
{
	struct bytes bytes = { 0 };
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	words(&bytes, WS_TEXT, true, "last words");
	pipe_write(&b.in, bytes.at, bytes.n);
	pipe_refuse(&b.out, &BROKEN_BELOW);
	echo_step(&b);
	cr_assert_str_eq((char *)b.events.at, "text last words\nbroken broken_below\n");
	bench_close(&b);
	free(bytes.at);
}

/* ---- our own closing ---- */

Test(ws_engine, after_our_close_only_the_peers_close_is_awaited)
{
	struct bytes bytes = { 0 };

	words(&bytes, WS_TEXT, true, "still on its way");
	words(&bytes, WS_TEXT, false, "\xFF not judged any more");
	words(&bytes, WS_PING, true, "not answered");
	words(&bytes, WS_CONTINUATION, true, "rest");
	frame(&bytes, WS_BINARY, true, NULL, 0);
	close_frame(&bytes, 1001, "");
	for (size_t cut = 1; cut <= bytes.n; cut++) {
		struct bench b;

		bench_open(&b, &NO_LIMITS, NULL);
		ws_close(&b.ws, 1012, "service restart");
		ws_close(&b.ws, 1000, "not said");
		cr_assert_not(ws_write(&b.ws, WS_TEXT, "x", 1));
		ws_ping(&b.ws, "x", 1);
		cr_assert_eq(ws_write_free(&b.ws), 0);
		client_read(&b);
		cr_assert_not(b.over, "until the peer has said close too");
		converse(&b, &bytes, cut, bytes.n, true);
		cr_assert_str_eq((char *)b.events.at, "closed 1001 \n");
		cr_assert_str_eq((char *)b.answer.at, "close 1012 service restart\nend\n");
		bench_close(&b);
	}
	free(bytes.at);
}

Test(ws_engine, after_our_close_frames_are_still_held_to_the_rules)
{
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	ws_close(&b.ws, 1000, NULL);
	pipe_write(&b.in, "\xF1", 1);
	echo_step(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.events.at, "broken ws_reserved_bit\n");
	cr_assert_str_eq((char *)b.answer.at, "close 1000 \nend\n");
	bench_close(&b);
}

Test(ws_engine, a_close_text_that_is_too_long_is_cut_between_characters)
{
	char text[200] = "", cut[200] = "";
	char answer[300];
	struct bench b;

	/* Two bytes each, behind one: the 62nd would be cut in its middle. */
	strcat(text, "x");
	for (int i = 0; i < 90; i++)
		strcat(text, "\xC3\xA9");
	memcpy(cut, text, 123);
	bench_open(&b, &NO_LIMITS, NULL);
	ws_close(&b.ws, 4000, text);
	client_read(&b);
	snprintf(answer, sizeof(answer), "close 4000 %s\n", cut);
	cr_assert_str_eq((char *)b.answer.at, answer);
	bench_close(&b);

	cut[122] = 0;
	bench_open(&b, &NO_LIMITS, NULL);
	memmove(text, text + 1, strlen(text));
	ws_close(&b.ws, 4000, text);
	client_read(&b);
	snprintf(answer, sizeof(answer), "close 4000 %.122s\n", text);
	cr_assert_str_eq((char *)b.answer.at, answer);
	bench_close(&b);
}

Test(ws_engine, every_reason_has_a_code_that_may_be_sent_and_a_sentence_that_fits)
{
	static const struct reason *const ALL[] = { &WS_RESERVED_BIT, &WS_OPCODE_RESERVED, &WS_CONTROL_FRAGMENTED,
		&WS_CONTROL_TOO_LONG, &WS_CONTINUATION_ALONE, &WS_MESSAGE_UNFINISHED, &WS_MASK_MISSING, &WS_MASK_FORBIDDEN,
		&WS_LENGTH_NOT_MINIMAL, &WS_LENGTH_NEGATIVE, &WS_FRAME_TOO_LARGE, &WS_MESSAGE_TOO_LARGE, &WS_TEXT_NOT_UTF8,
		&WS_FRAGMENTS_TOO_SMALL, &WS_CLOSE_TOO_SHORT, &WS_CLOSE_CODE_INVALID, &WS_CLOSE_TEXT_NOT_UTF8,
		&WS_TEXT_UNWELCOME, &WS_BINARY_UNWELCOME };

	for (size_t i = 0; i < array_count(ALL); i++) {
		cr_assert(ws_code_sendable(ws_close_code(ALL[i])), "%s", ALL[i]->name);
		cr_assert_neq(ws_close_code(ALL[i]), WS_CODE_INTERNAL, "%s", ALL[i]->name);
		cr_assert_leq(strlen(ALL[i]->sentence), WS_CLOSE_TEXT_MAX, "%s", ALL[i]->name);
	}
	cr_assert_eq(ws_close_code(&WS_ENDED_WITHOUT_CLOSE), 1006);
	cr_assert_eq(ws_close_code(&BROKEN_BELOW), 1011);
}

/* ---- limits ---- */

Test(ws_engine, limits_are_kept_to_the_byte)
{
	static const struct ws_limits LIMITS = { .frame_bytes_max = 10, .message_bytes_max = 15, .small_fragments_max = 3 };
	struct bytes b = { 0 };

	words(&b, WS_TEXT, true, "0123456789");
	words(&b, WS_TEXT, false, "0123456789");
	words(&b, WS_CONTINUATION, true, "01234");
	close_frame(&b, 1000, "");
	expect_limited(&b, &LIMITS, "text 0123456789\ntext 012345678901234\nclosed 1000 \n",
		"text 0123456789\ntext 012345678901234\nclose 1000 \nend\n");

	/* Each message is counted anew. */
	for (int message = 0; message < 3; message++) {
		words(&b, WS_TEXT, false, "01234");
		words(&b, WS_CONTINUATION, false, "01234");
		words(&b, WS_CONTINUATION, true, "01234");
	}
	close_frame(&b, 1000, "");
	expect_limited(&b, &LIMITS, "text 012340123401234\ntext 012340123401234\ntext 012340123401234\nclosed 1000 \n",
		"text 012340123401234\ntext 012340123401234\ntext 012340123401234\nclose 1000 \nend\n");

	words(&b, WS_TEXT, true, "0123456789x");
	expect_broken_after(&b, &LIMITS, "", "", &WS_FRAME_TOO_LARGE);

	words(&b, WS_TEXT, false, "0123456789");
	words(&b, WS_CONTINUATION, true, "012345");
	expect_broken_after(&b, &LIMITS, "", "", &WS_MESSAGE_TOO_LARGE);
	words(&b, WS_TEXT, true, "before");
	words(&b, WS_TEXT, false, "0123456789");
	words(&b, WS_CONTINUATION, true, "012345");
	expect_broken_after(&b, &LIMITS, "text before\n", "text before\n", &WS_MESSAGE_TOO_LARGE);

	for (int i = 0; i < 4; i++)
		words(&b, i == 0 ? WS_BINARY : WS_CONTINUATION, i == 3, "x");
	close_frame(&b, 1000, "");
	expect_limited(&b, &LIMITS, "binary xxxx\nclosed 1000 \n", "binary xxxx\nclose 1000 \nend\n");
	for (int i = 0; i < 4; i++)
		words(&b, i == 0 ? WS_BINARY : WS_CONTINUATION, false, "");
	expect_broken_after(&b, &LIMITS, "", "", &WS_FRAGMENTS_TOO_SMALL);
}

/* ---- full pipes ---- */

static void fill_out(struct bench *b)
{
	static uint8_t zeroes[1000];

	while (ws_write_free(&b->ws) > 0)
		ws_write(&b->ws, WS_BINARY, zeroes, sizeof(zeroes));
}

Test(ws_engine, while_out_is_full_only_the_latest_ping_is_remembered_and_it_is_answered_when_out_opens)
{
	struct bytes bytes = { 0 };
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	fill_out(&b);
	uint64_t held = b.out.bytes;

	for (int i = 0; i < 1000; i++) {
		char text[24];

		snprintf(text, sizeof(text), "ping %d", i);
		bytes.n = 0;
		words(&bytes, WS_PING, true, text);
		pipe_write(&b.in, bytes.at, bytes.n);
		echo_step(&b);
	}
	cr_assert_eq(b.out.bytes, held, "nothing was added behind the bound");
	cr_assert_eq(b.ws.pings_passed_over, 999);
	client_read(&b);
	b.answer.n = 0;
	echo_step(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "pong ping 999\n");
	bench_close(&b);
	free(bytes.at);
}

Test(ws_engine, a_ping_that_waits_when_the_peer_closes_is_not_answered)
{
	struct bytes bytes = { 0 };
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	fill_out(&b);
	words(&bytes, WS_PING, true, "too late");
	close_frame(&bytes, 1000, "");
	pipe_write(&b.in, bytes.at, bytes.n);
	echo_step(&b);
	b.answer.n = 0;
	client_read(&b);
	cr_assert_null(strstr((char *)b.answer.at, "pong"));
	cr_assert_not_null(strstr((char *)b.answer.at, "close 1000 \nend\n"));
	bench_close(&b);
	free(bytes.at);
}

/* The pipe wakes its writer only when it opens after it was full; a caller told 0 before would sleep for good. */
Test(ws_engine, write_free_is_zero_only_while_out_is_full_or_closed)
{
	struct bench b;

	for (uint64_t left = 1; left <= 40; left++) {
		static const uint8_t zeroes[PIPE_BYTES_MAX];

		bench_open(&b, &NO_LIMITS, NULL);
		pipe_write(&b.out, zeroes, PIPE_BYTES_MAX - left);
		uint64_t n = ws_write_free(&b.ws);

		cr_assert(n > 0 && n <= left);
		ws_write(&b.ws, WS_BINARY, zeroes, n);
		cr_assert_leq(b.out.bytes, PIPE_BYTES_MAX + WS_HEADER_MAX);
		bench_close(&b);
	}
}

Test(ws_engine, after_the_end_whatever_is_written_goes_nowhere)
{
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	pipe_end(&b.in);
	echo_step(&b);
	cr_assert_str_eq((char *)b.events.at, "broken ws_ended_without_close\n");
	cr_assert_not(ws_write(&b.ws, WS_TEXT, "x", 1));
	cr_assert_not(ws_write_begin(&b.ws, WS_TEXT, 5));
	ws_ping(&b.ws, "x", 1);
	ws_close(&b.ws, 1000, NULL);
	cr_assert_eq(ws_write_free(&b.ws), 0);
	cr_assert_eq(b.out.bytes, 0);
	echo_step(&b);
	cr_assert_str_eq((char *)b.events.at, "broken ws_ended_without_close\nbroken ws_ended_without_close\n");
	bench_close(&b);
}

Test(ws_engine, a_piece_stands_until_it_is_consumed_and_may_be_consumed_in_parts)
{
	struct bytes bytes = { 0 };
	struct bench b;
	struct ws_piece piece;

	bench_open(&b, &NO_LIMITS, NULL);
	words(&bytes, WS_TEXT, true, "abcdef");
	pipe_write(&b.in, bytes.at, 6 + 4);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ws_next(&b.ws, &piece), WS_DATA);
		cr_assert_eq(piece.n, 4);
		cr_assert_arr_eq(piece.bytes, "abcd", 4);
		cr_assert(piece.first && !piece.last);
	}
	ws_consumed(&b.ws, 1);
	pipe_write(&b.in, bytes.at + 10, 2);
	cr_assert_eq(ws_next(&b.ws, &piece), WS_DATA);
	cr_assert_eq(piece.n, 5);
	cr_assert_arr_eq(piece.bytes, "bcdef", 5);
	cr_assert(!piece.first && piece.last);
	ws_consumed(&b.ws, 5);
	cr_assert_eq(ws_next(&b.ws, &piece), WS_MORE_NEEDED);
	bytes.n = 0;
	frame(&bytes, WS_BINARY, true, NULL, 0);
	pipe_write(&b.in, bytes.at, bytes.n);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ws_next(&b.ws, &piece), WS_DATA);
		cr_assert(piece.n == 0 && piece.first && piece.last && piece.opcode == WS_BINARY);
	}
	ws_consumed(&b.ws, 0);
	cr_assert_eq(ws_next(&b.ws, &piece), WS_MORE_NEEDED);
	bench_close(&b);
	free(bytes.at);
}

/* Keeps no copy of the message. */
static void echo_silently(struct bench *b)
{
	struct ws_piece piece;

	while (ws_next(&b->ws, &piece) == WS_DATA && ws_write_free(&b->ws) > 0) {
		uint64_t room = ws_write_free(&b->ws);
		size_t n = piece.n < room ? piece.n : room;

		ws_write_like(&b->ws, &piece, n);
		ws_consumed(&b->ws, n);
	}
}

/* A client that reads slowly, a message much larger than both pipes: all comes back, and memory stays what the pipes may hold. */
Test(ws_engine, a_message_of_32_mebibytes_is_echoed_within_the_memory_of_two_pipes)
{
	enum { FRAME = 1 << 20, FRAMES = 32 };
	struct bench b;
	uint64_t chunks_most = 0, seed = 1;
	struct bytes one = { 0 };
	uint8_t *content = malloc(FRAME);
	uint32_t sent_sum = 1, got_sum = 1;
	uint64_t got = 0;

	bench_open(&b, &NO_LIMITS, NULL);
	for (int f = 0; f < FRAMES; f++) {
		for (size_t i = 0; i < FRAME; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			content[i] = (uint8_t)(seed >> 56);
			sent_sum = sent_sum * 31 + content[i];
		}
		one.n = 0;
		frame(&one, f == 0 ? WS_BINARY : WS_CONTINUATION, false, content, FRAME);
		for (size_t at = 0; at < one.n || b.out.bytes > 0 || b.in.bytes > 0;) {
			uint64_t room = pipe_free(&b.in);
			size_t n = one.n - at < room ? one.n - at : room;

			pipe_write(&b.in, one.at + at, n);
			at += n;
			echo_silently(&b);
			if (chunk_pool_out(&b.pool) > chunks_most)
				chunks_most = chunk_pool_out(&b.pool);
			client_read(&b);
			for (size_t i = 0; i < b.answer_message.n; i++)
				got_sum = got_sum * 31 + b.answer_message.at[i];
			got += b.answer_message.n;
			b.answer_message.n = 0;
		}
	}
	cr_assert_eq(got, (uint64_t)FRAME * FRAMES);
	cr_assert_eq(got_sum, sent_sum);
	cr_assert_leq(chunks_most, 2 * (PIPE_BYTES_MAX / CHUNK_BYTES + 2) + 4);
	cr_assert_eq(b.ws.messages_received, 0);
	one.n = 0;
	frame(&one, WS_CONTINUATION, true, NULL, 0);
	pipe_write(&b.in, one.at, one.n);
	echo_silently(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "binary \n");
	cr_assert_eq(b.ws.messages_received, 1);
	cr_assert_eq(b.ws.messages_sent, 1);
	cr_assert_eq(b.answer_opcode, 0);
	free(content);
	free(one.at);
	bench_close(&b);
}

/* ---- writing ---- */

Test(ws_engine, pings_and_a_close_wait_for_a_frame_of_known_length_and_not_between_fragments)
{
	struct bytes bytes = { 0 };
	struct bench b;

	words(&bytes, WS_PING, true, "now");
	bench_open(&b, &NO_LIMITS, NULL);
	cr_assert(ws_write_begin(&b.ws, WS_TEXT, WS_LENGTH_UNKNOWN));
	cr_assert(ws_write_piece(&b.ws, "one ", 4));
	ws_ping(&b.ws, "mine", 4);
	pipe_write(&b.in, bytes.at, bytes.n);
	echo_step(&b);
	cr_assert(ws_write_piece(&b.ws, NULL, 0));
	cr_assert(ws_write_end(&b.ws, "two", 3));
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "ping mine\npong now\ntext one two\n");

	b.answer.n = 0;
	cr_assert(ws_write_begin(&b.ws, WS_BINARY, 7));
	cr_assert(ws_write_piece(&b.ws, "one ", 4));
	ws_ping(&b.ws, "mine", 4);
	pipe_write(&b.in, bytes.at, bytes.n);
	echo_step(&b);
	ws_close(&b.ws, 1001, "going");
	client_read(&b);
	cr_assert_eq(b.answer.n, 0);
	cr_assert(ws_write_end(&b.ws, "two", 3));
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "binary one two\npong now\nclose 1001 going\n");
	bench_close(&b);
	free(bytes.at);
}

Test(ws_engine, a_rule_broken_within_our_frame_of_known_length_cuts_the_answer)
{
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	cr_assert(ws_write_begin(&b.ws, WS_BINARY, 7));
	cr_assert(ws_write_piece(&b.ws, "one ", 4));
	pipe_write(&b.in, "\xF1", 1);
	echo_step(&b);
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "cut\n");
	cr_assert_eq(b.out.reason, &WS_RESERVED_BIT);
	cr_assert_not(ws_write_piece(&b.ws, "two", 3));
	cr_assert_not(ws_write_end(&b.ws, NULL, 0));
	cr_assert_not(ws_write(&b.ws, WS_TEXT, "x", 1));
	ws_close(&b.ws, 1000, NULL);
	ws_ping(&b.ws, NULL, 0);
	bench_close(&b);
}

Test(ws_engine, a_close_of_the_peer_within_our_frame_is_answered_behind_it)
{
	struct bytes bytes = { 0 };
	struct bench b;

	close_frame(&bytes, 1000, "");
	bench_open(&b, &NO_LIMITS, NULL);
	cr_assert(ws_write_begin(&b.ws, WS_BINARY, 7));
	cr_assert(ws_write_piece(&b.ws, "one ", 4));
	pipe_write(&b.in, bytes.at, bytes.n);
	echo_step(&b);
	client_read(&b);
	cr_assert_not(b.over);
	cr_assert(ws_write_end(&b.ws, "two", 3));
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "binary one two\nclose 1000 \nend\n");
	bench_close(&b);
	free(bytes.at);
}

Test(ws_engine, a_message_of_known_length_zero_is_a_message)
{
	struct bench b;

	bench_open(&b, &NO_LIMITS, NULL);
	cr_assert(ws_write_begin(&b.ws, WS_TEXT, 0));
	cr_assert(ws_write_end(&b.ws, NULL, 0));
	cr_assert(ws_write_begin(&b.ws, WS_TEXT, WS_LENGTH_UNKNOWN));
	cr_assert(ws_write_end(&b.ws, NULL, 0));
	cr_assert(ws_write(&b.ws, WS_TEXT, "z", 1));
	client_read(&b);
	cr_assert_str_eq((char *)b.answer.at, "text \ntext \ntext z\n");
	bench_close(&b);
}

/* ---- 12 and 13 compression ---- */

static const struct ws_deflate_agreed TAKEOVER = { true, true, 15, 15 }, NO_TAKEOVER = { false, false, 15, 15 };

/* A client's packed message, in fragments of `step` bytes of its payload. `client` keeps its window, or is NULL for a new one. */
static void packed_words(struct bytes *b, z_stream *client, uint8_t opcode, const void *text, size_t n, size_t step)
{
	size_t room = n + n / 8 + 100;
	uint8_t *out = malloc(room);
	z_stream own = { 0 }, *z = client ? client : &own;

	if (!client)
		cr_assert_eq(deflateInit2(z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z->next_in = (uint8_t *)text;
	z->avail_in = (unsigned)n;
	z->next_out = out;
	z->avail_out = (unsigned)room;
	int result = deflate(z, Z_SYNC_FLUSH);

	cr_assert(result == Z_OK || (n == 0 && result == Z_BUF_ERROR));
	size_t size = room - z->avail_out;

	if (size > 0)
		size -= 4;
	else
		out[size++] = 0;
	for (size_t at = 0, part; at < size; at += part) {
		size_t header_at = b->n;

		part = size - at < step ? size - at : step;
		frame(b, at == 0 ? opcode : WS_CONTINUATION, at + part == size, out + at, part);
		if (at == 0)
			b->at[header_at] |= 0x40;
	}
	if (!client)
		deflateEnd(z);
	free(out);
}

/* Both kinds of agreement, then a good ending. */
static void expect_packed(const struct bytes *bytes, const struct ws_limits *limits, const char *events, const char *answer)
{
	const struct ws_deflate_agreed *const both[] = { &TAKEOVER, &NO_TAKEOVER };

	for (size_t i = 0; i < 2; i++) {
		struct bytes copy = { 0 };

		add(&copy, bytes->at, bytes->n);
		expect_agreed(&copy, limits, both[i], events, answer);
	}
}

Test(ws_engine, packed_messages_come_back_packed_or_plain_and_are_the_same)
{
	static const size_t SIZES[] = { 0, 1, 5, 64, 125, 126, 127, 1000, 16896, 16897, 40000 };

	for (size_t i = 0; i < array_count(SIZES); i++)
		for (size_t step = 3; step < 10000; step = step * 20 + 1) {
			struct bytes b = { 0 }, said = { 0 }, answer = { 0 };
			char *content = malloc(SIZES[i] + 1);

			for (size_t k = 0; k < SIZES[i]; k++)
				content[k] = (char)('a' + k * k % 23);
			packed_words(&b, NULL, WS_TEXT, content, SIZES[i], step);
			words(&b, WS_TEXT, true, "plain between");
			packed_words(&b, NULL, WS_BINARY, content, SIZES[i], SIZES[i] + 10);
			say(&said, "text ");
			say_content(&said, (uint8_t *)content, SIZES[i]);
			say(&said, "text plain between\nbinary ");
			say_content(&said, (uint8_t *)content, SIZES[i]);
			close_frame(&b, 1000, "");
			say(&answer, "%sclose 1000 \nend\n", said.at);
			say(&said, "closed 1000 \n");
			expect_packed(&b, &NO_LIMITS, (char *)said.at, (char *)answer.at);
			free(content);
			free(said.at);
			free(answer.at);
			free(b.at);
		}
}

Test(ws_engine, a_client_that_takes_its_window_over_is_understood)
{
	struct bytes b = { 0 };
	z_stream z = { 0 };

	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	packed_words(&b, &z, WS_TEXT, "Hello, Hello", 12, 100);
	packed_words(&b, &z, WS_TEXT, "Hello, Hello", 12, 2);
	deflateEnd(&z);
	close_frame(&b, 1000, "");
	expect_agreed(&b, &NO_LIMITS, &TAKEOVER, "text Hello, Hello\ntext Hello, Hello\nclosed 1000 \n",
		"text Hello, Hello\ntext Hello, Hello\nclose 1000 \nend\n");
}

Test(ws_engine, control_frames_stand_between_packed_fragments_and_are_not_packed)
{
	struct bytes b = { 0 }, whole = { 0 };

	packed_words(&whole, NULL, WS_TEXT, "some text, some text", 20, 6);
	/* Behind the first fragment: 6 bytes of header and 6 of payload. */
	add(&b, whole.at, 12);
	words(&b, WS_PING, true, "between");
	add(&b, whole.at + 12, whole.n - 12);
	close_frame(&b, 1000, "");
	free(whole.at);
	/* The echo streams, so the pong's place is between its fragments; both are told when they are whole. */
	expect_packed(&b, &NO_LIMITS, "text some text, some text\nclosed 1000 \n",
		"pong between\ntext some text, some text\nclose 1000 \nend\n");
	free(b.at);
}

Test(ws_engine, the_packed_bit_stands_on_first_frames_of_messages_alone)
{
	static const uint8_t firsts[] = { 0xC8, 0xC9, 0xCA, 0xA1, 0x91, 0xE1, 0xC0, 0x40 };

	for (size_t i = 0; i < array_count(firsts); i++) {
		struct bytes b = { 0 };
		bool continues = (firsts[i] & 0xF) == 0;
		char events[200], answer[200];

		if (continues)
			odd(&b, WS_TEXT, "a");
		odd(&b, firsts[i], "");
		snprintf(events, sizeof(events), "broken %s\n", WS_RESERVED_BIT.name);
		snprintf(answer, sizeof(answer), "close 1002 %s\nend\n", WS_RESERVED_BIT.sentence);
		expect_packed(&b, &NO_LIMITS, events, answer);
		free(b.at);
	}
}

static void expect_packed_broken(struct bytes *b, const struct ws_limits *limits, const struct reason *reason)
{
	char events[200], answer[200];

	snprintf(events, sizeof(events), "broken %s\n", reason->name);
	snprintf(answer, sizeof(answer), "close %u %s\nend\n", ws_close_code(reason), reason->sentence);
	expect_packed(b, limits, events, answer);
	free(b->at);
	*b = (struct bytes){ 0 };
}

static void odd_packed(struct bytes *b, const char *payload, size_t n)
{
	uint8_t header[6] = { 0xC1, (uint8_t)(0x80 | n) };

	add(b, header, sizeof(header));
	add(b, payload, n);
}

Test(ws_engine, a_packed_message_that_is_cut_or_no_deflate_is_refused)
{
	struct bytes b = { 0 };

	odd_packed(&b, "\xff", 1);
	expect_packed_broken(&b, &NO_LIMITS, &WS_DEFLATE_BROKEN);
	odd_packed(&b, "", 0);
	expect_packed_broken(&b, &NO_LIMITS, &WS_DEFLATE_BROKEN);
	/* As text the tail's FF, taken for a byte of it, would be told first. */
	odd_packed(&b, "\x00\x05\x00\xfa\xffHe", 7);
	b.at[0] = 0xC2;
	expect_packed_broken(&b, &NO_LIMITS, &WS_DEFLATE_BROKEN);
}

/* A block that stores, so that what is unpacked can be told byte by byte; the frame goes on, and is not waited for. */
Test(ws_engine, packed_text_is_refused_at_the_byte_that_no_utf8_can_have)
{
	static const char *const bad[] = { "\xc0", "caf\xe9!", "\xed\xa0", "\xf4\x90", "\xe6\x82 " };

	for (size_t i = 0; i < array_count(bad); i++) {
		struct bytes b = { 0 };
		struct bench bench;
		struct ws_piece piece;
		size_t n = strlen(bad[i]);
		uint8_t header[6] = { 0xC1, 0x80 | 100 }, block[5] = { 0, 50, 0, 0xCD, 0xFF };

		add(&b, header, sizeof(header));
		add(&b, block, sizeof(block));
		add(&b, bad[i], n);
		bench_open(&bench, &NO_LIMITS, &NO_TAKEOVER);
		pipe_write(&bench.in, b.at, b.n - 1);
		while (ws_next(&bench.ws, &piece) == WS_DATA)
			ws_consumed(&bench.ws, piece.n);
		cr_assert(!ws_over(&bench.ws), "all but the last byte are the beginning of some text");
		pipe_write(&bench.in, b.at + b.n - 1, 1);
		cr_assert_eq(ws_next(&bench.ws, &piece), WS_BROKEN);
		cr_assert_eq(piece.reason, &WS_TEXT_NOT_UTF8);
		cr_assert_eq(bench.deflate.bytes_held, 0, "its memory goes with the conversation");
		bench_close(&bench);
		free(b.at);
	}
}

Test(ws_engine, packed_text_that_ends_in_a_character_is_refused)
{
	struct bytes b = { 0 };

	packed_words(&b, NULL, WS_TEXT, "\xe6\x82", 2, 100);
	expect_packed_broken(&b, &NO_LIMITS, &WS_TEXT_NOT_UTF8);
}

/* A block that stores five bytes, then one that is none. Which is told must not depend on how they arrive: expect_packed cuts everywhere. */
Test(ws_engine, of_two_faults_in_a_packed_message_the_earlier_is_told)
{
	struct ws_limits limits = { .message_bytes_max = 5 };
	struct bytes b = { 0 };

	odd_packed(&b, "\x00\x05\x00\xfa\xffHe\xff!!\x06", 11);
	expect_packed_broken(&b, &NO_LIMITS, &WS_TEXT_NOT_UTF8);
	odd_packed(&b, "\x00\x05\x00\xfa\xffHello\x06", 11);
	expect_packed_broken(&b, &NO_LIMITS, &WS_DEFLATE_BROKEN);
	odd_packed(&b, "\x00\x07\x00\xf8\xffHello\xff!\x06", 13);
	expect_packed_broken(&b, &limits, &WS_MESSAGE_TOO_LARGE);
	odd_packed(&b, "\x00\x07\x00\xf8\xffHel\xff!!!\x06", 13);
	expect_packed_broken(&b, &limits, &WS_TEXT_NOT_UTF8);
}

Test(ws_engine, a_bomb_is_refused_when_its_bound_is_reached)
{
	struct ws_limits limits = { .message_bytes_max = 30000 };
	struct bytes b = { 0 };
	char *zeroes = calloc(1, 10 << 20);
	struct bench bench;
	struct ws_piece piece;
	size_t shown = 0;

	packed_words(&b, NULL, WS_BINARY, zeroes, 10 << 20, 100000);
	bench_open(&bench, &limits, &NO_TAKEOVER);
	pipe_write(&bench.in, b.at, b.n);
	while (ws_next(&bench.ws, &piece) == WS_DATA) {
		cr_assert_leq(piece.n, CHUNK_BYTES);
		shown += piece.n;
		ws_consumed(&bench.ws, piece.n);
	}
	cr_assert_eq(piece.reason, &WS_MESSAGE_TOO_LARGE);
	cr_assert_leq(shown, 30000);
	cr_assert_leq(bench.deflate.unpacked_out, 30001);
	bench_close(&bench);
	free(zeroes);
	free(b.at);
}

Test(ws_engine, the_bound_is_on_what_is_unpacked_and_to_the_byte)
{
	for (int takeover = 0; takeover < 2; takeover++)
		for (size_t n = 999; n <= 1001; n++) {
			struct ws_limits limits = { .message_bytes_max = 1000 };
			struct bytes b = { 0 };
			struct bench bench;
			uint8_t noise[1001];
			uint64_t seed = 7692;

			/* It grows when it is packed: the frame is larger than the bound, and the message is not. */
			for (size_t i = 0; i < n; i++)
				noise[i] = (uint8_t)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 56);
			packed_words(&b, NULL, WS_BINARY, noise, n, 2000);
			cr_assert_gt(b.n, n + 8);
			bench_open(&bench, &limits, takeover ? &TAKEOVER : &NO_TAKEOVER);
			pipe_write(&bench.in, b.at, b.n);
			echo_step(&bench);
			cr_assert_eq(ws_over(&bench.ws), n > 1000, "%zu", n);
			bench_close(&bench);
			free(b.at);
		}
}

/* Frames that unpack to nothing are bounded by what may come on the wire. */
Test(ws_engine, a_message_of_empty_blocks_ends)
{
	struct ws_limits limits = { .message_bytes_max = 1000 };
	struct bytes b = { 0 };

	odd_packed(&b, "\0", 1);
	b.at[0] &= 0x7F;
	for (int i = 0; i < 400; i++)
		frame(&b, WS_CONTINUATION, false, "\0\0\xff\xff\0", 5);
	expect_packed_broken(&b, &limits, &WS_MESSAGE_TOO_LARGE);
}

Test(ws_engine, an_idle_socket_holds_no_memory_where_nothing_is_taken_over)
{
	struct bytes b = { 0 };
	struct bench bench;

	packed_words(&b, NULL, WS_TEXT, "some text, some text, some text", 31, 100);
	bench_open(&bench, &NO_LIMITS, &NO_TAKEOVER);
	pipe_write(&bench.in, b.at, b.n - 1);
	echo_step(&bench);
	cr_assert_gt(bench.deflate.bytes_held, 0);
	pipe_write(&bench.in, b.at + b.n - 1, 1);
	echo_step(&bench);
	client_read(&bench);
	cr_assert_str_eq((char *)bench.answer.at, "text some text, some text, some text\n");
	cr_assert_eq(bench.deflate.bytes_held, 0);
	cr_assert_eq(chunk_pool_out(&bench.pool), 0);
	bench_close(&bench);
	free(b.at);
}

/* A caller that takes its time, and a piece at a time; a Close of ours in the middle drops the rest and leaves nothing. */
Test(ws_engine, a_packed_piece_stands_until_it_is_consumed)
{
	struct bytes b = { 0 };
	struct bench bench;
	struct ws_piece piece, again;
	char text[3000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 7);
	packed_words(&b, NULL, WS_TEXT, text, sizeof(text), 100000);
	for (size_t take = 0; take < 300; take += 37) {
		size_t at = 0;

		bench_open(&bench, &NO_LIMITS, &NO_TAKEOVER);
		pipe_write(&bench.in, b.at, b.n);
		while (ws_next(&bench.ws, &piece) == WS_DATA) {
			size_t n = take == 0 ? piece.n : piece.n < take ? piece.n : take;

			ws_consumed(&bench.ws, 0);
			cr_assert_eq(ws_next(&bench.ws, &again), WS_DATA);
			cr_assert(again.bytes == piece.bytes && again.n == piece.n && again.last == piece.last);
			cr_assert_eq(piece.first, at == 0);
			cr_assert(memcmp(piece.bytes, text + at, n) == 0);
			at += n;
			ws_consumed(&bench.ws, n);
		}
		cr_assert_eq(at, sizeof(text));
		bench_close(&bench);

		bench_open(&bench, &NO_LIMITS, &NO_TAKEOVER);
		pipe_write(&bench.in, b.at, b.n);
		cr_assert_eq(ws_next(&bench.ws, &piece), WS_DATA);
		ws_consumed(&bench.ws, take);
		ws_close(&bench.ws, 1001, NULL);
		ws_consumed(&bench.ws, 1);
		cr_assert_eq(ws_next(&bench.ws, &piece), WS_MORE_NEEDED);
		close_frame(&b, 1001, "");
		pipe_write(&bench.in, b.at + b.n - 8, 8);
		b.n -= 8;
		cr_assert_eq(ws_next(&bench.ws, &piece), WS_CLOSED);
		bench_close(&bench);
	}
	free(b.at);
}
