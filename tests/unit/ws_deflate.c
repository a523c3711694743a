/* tests/unit/ws_deflate.c — packed and unpacked by us, by zlib in one piece, and by the examples of RFC 7692. */
#include "ws/deflate.c"

#include <criterion/criterion.h>
#include <stdio.h>

#define NO_LIMIT UINT64_MAX

struct rig {
	struct chunk_pool pool;
	struct ws_deflate d;
	uint8_t *got;                    /* unpacked */
	size_t got_n;
	size_t got_room;
};

static void rig_open(struct rig *r, bool takeover, uint8_t server_bits, uint8_t client_bits)
{
	struct ws_deflate_agreed agreed = { takeover, takeover, client_bits, server_bits };

	*r = (struct rig){ 0 };
	chunk_pool_init(&r->pool, 1024);
	ws_deflate_init(&r->d, &agreed, &r->pool, 0);
}

static void rig_close(struct rig *r)
{
	ws_deflate_fini(&r->d);
	ws_deflate_fini(&r->d);
	cr_assert_eq(r->d.bytes_held, 0);
	chunk_pool_fini(&r->pool);
	free(r->got);
}

static void keep_shown(struct rig *r)
{
	struct chunk *shown = r->d.shown;

	if (!shown)
		return;
	if (r->got_n + chunk_size(shown) > r->got_room) {
		r->got_room = 2 * (r->got_n + chunk_size(shown));
		r->got = realloc(r->got, r->got_room);
	}
	memcpy(r->got + r->got_n, shown->bytes + shown->begin, chunk_size(shown));
	r->got_n += chunk_size(shown);
	ws_unpack_consume(&r->d, chunk_size(shown));
}

/* One message in pieces of `step` bytes. END or BROKEN, or FULL when more than `limit` bytes came out. */
static enum ws_unpacked unpack(struct rig *r, const void *bytes, size_t n, size_t step, uint64_t limit)
{
	const uint8_t *at = bytes;
	enum ws_unpacked unpacked;

	r->got_n = 0;
	for (;;) {
		size_t piece = n < step ? n : step, used;

		unpacked = ws_unpack(&r->d, at, piece, piece == n, limit == NO_LIMIT ? limit : limit - r->got_n + 1, &used);
		at += used;
		n -= used;
		keep_shown(r);
		if (r->got_n > limit)
			return WS_UNPACK_FULL;
		if (unpacked == WS_UNPACK_END)
			ws_unpack_end(&r->d);
		if (unpacked == WS_UNPACK_END || unpacked == WS_UNPACK_BROKEN)
			return unpacked;
	}
}

/* A whole message, or pieces of `step`; returns its payload in a buffer of the caller's. NULL: not packed. */
static uint8_t *pack(struct rig *r, const void *bytes, size_t n, size_t step, size_t *size)
{
	const uint8_t *at = bytes;
	uint8_t *out = malloc(n + n / 2 + 1000 + (n / step + 1) * 16);
	bool first = true;

	*size = 0;
	do {
		size_t piece = n < step ? n : step;
		struct pipe to;
		uint64_t packed;

		pipe_init(&to, &r->pool, UINT64_MAX);
		if (!ws_pack(&r->d, &to, at, piece, first, piece == n, &packed)) {
			pipe_fini(&to);
			free(out);
			return NULL;
		}
		while (packed > 0) {
			size_t some;
			uint8_t *from = pipe_peek(&to, &some);

			if (some > packed)
				some = packed;
			memcpy(out + *size, from, some);
			*size += some;
			packed -= some;
			pipe_consume(&to, some);
		}
		pipe_fini(&to);
		at += piece;
		n -= piece;
		first = false;
	} while (n > 0);
	return out;
}

static uint64_t seed = 88172645463325252u;

static uint32_t dice(uint32_t sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % sides;
}

/* Text with repetitions at every distance. */
static void text_fill(uint8_t *text, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t run = 1 + dice(40), from = i > 0 ? dice((uint32_t)i) : 0;

		if (dice(3) == 0 || i == 0)
			for (; run > 0 && i < n; run--)
				text[i++] = (uint8_t)('a' + dice(26));
		else
			for (; run > 0 && i < n; run--)
				text[i++] = text[from++];
	}
}

static void assert_got(const struct rig *r, const void *bytes, size_t n)
{
	cr_assert_eq(r->got_n, n, "%zu of %zu", r->got_n, n);
	cr_assert(n == 0 || memcmp(r->got, bytes, n) == 0);
}

/* ---- the examples of RFC 7692 §7.2.3 ---- */

Test(ws_deflate, the_examples_of_the_standard_are_read)
{
	static const struct { const char *bytes; size_t n; const char *text; } examples[] = {
		{ "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello" },                 /* §7.2.3.1: one block */
		{ "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello" }, /* §7.2.3.4: a block that stores */
		{ "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello" },             /* §7.2.3.5: BFINAL */
		{ "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13, "Hello" }, /* §7.2.3.6: two blocks */
		{ "\x00", 1, "" },                                              /* §7.2.3.6: empty */
		{ "\x02\x00", 2, "" },                                          /* an empty fixed block, then stored */
	};

	for (size_t i = 0; i < array_count(examples); i++)
		for (size_t step = 1; step <= examples[i].n; step++)
			for (int takeover = 0; takeover < 2; takeover++) {
				struct rig r;

				rig_open(&r, takeover, 15, 15);
				cr_assert_eq(unpack(&r, examples[i].bytes, examples[i].n, step, NO_LIMIT), WS_UNPACK_END, "%zu", i);
				assert_got(&r, examples[i].text, strlen(examples[i].text));
				rig_close(&r);
			}
}

/* §7.2.3.2: the second Hello refers back to the first. */
Test(ws_deflate, a_message_may_refer_to_the_one_before_where_that_was_agreed)
{
	struct rig r;

	rig_open(&r, true, 15, 15);
	cr_assert_eq(unpack(&r, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 7, NO_LIMIT), WS_UNPACK_END);
	cr_assert_eq(unpack(&r, "\xf2\x00\x11\x00\x00", 5, 5, NO_LIMIT), WS_UNPACK_END);
	assert_got(&r, "Hello", 5);
	/* Behind a block that called itself the last, too. */
	cr_assert_eq(unpack(&r, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, 1, NO_LIMIT), WS_UNPACK_END);
	cr_assert_eq(unpack(&r, "\xf2\x00\x11\x00\x00", 5, 1, NO_LIMIT), WS_UNPACK_END);
	assert_got(&r, "Hello", 5);
	rig_close(&r);

	rig_open(&r, false, 15, 15);
	cr_assert_eq(unpack(&r, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 7, NO_LIMIT), WS_UNPACK_END);
	cr_assert_eq(r.d.bytes_held, 0, "nothing is kept between messages");
	cr_assert_eq(unpack(&r, "\xf2\x00\x11\x00\x00", 5, 5, NO_LIMIT), WS_UNPACK_BROKEN);
	rig_close(&r);
}

Test(ws_deflate, what_is_cut_or_no_deflate_is_broken)
{
	static const struct { const char *bytes; size_t n; } broken[] = {
		{ "", 0 },                                 /* not even the empty block's first byte */
		{ "\xff", 1 }, { "\x06", 1 }, { "\x07\x00", 2 },
		{ "\xf2\x48\xcd", 3 },                     /* in the middle of a symbol */
		{ "\x00\x05\x00\xfa\xff\x48\x65", 7 },     /* stored, with bytes missing: the tail would be its text */
		{ "\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00", 11 }, /* a length that is not its complement */
		{ "\xf3\x48\xcd\xc9\xc9\x07\x00", 7 },     /* §7.2.3.5 wants a zero byte behind it */
		{ "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11 }, /* the tail was sent, and nothing behind it */
		{ "\x02\x13", 2 },                         /* refers back beyond the beginning */
	};

	for (size_t i = 0; i < array_count(broken); i++)
		for (size_t step = 1; step <= broken[i].n || step == 1; step++) {
			struct rig r;

			rig_open(&r, false, 15, 15);
			cr_assert_eq(unpack(&r, broken[i].bytes, broken[i].n, step, NO_LIMIT), WS_UNPACK_BROKEN, "%zu", i);
			rig_close(&r);
		}
}

/* ---- there and back ---- */

Test(ws_deflate, all_windows_with_and_without_takeover_come_back, .timeout = 60)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 10, 100, 249, 250, 251, 255, 256, 257, 300, 513, 5000, 40000, 100000 };
	static uint8_t text[100000];

	for (uint8_t bits = 8; bits <= 15; bits++)
		for (int takeover = 0; takeover < 2; takeover++) {
			struct rig r;

			/* The reader keeps exactly the window that was agreed: a reference further back is broken there. */
			rig_open(&r, takeover, bits, bits);
			for (size_t i = 0; i < array_count(sizes) * 3; i++) {
				size_t n = sizes[i % array_count(sizes)], step = i < array_count(sizes) ? n + 1 : 1 + dice(3000), size;
				uint8_t *packed;

				text_fill(text, n);
				packed = pack(&r, text, n, step, &size);
				if (!packed)
					continue;
				cr_assert_eq(unpack(&r, packed, size, 1 + dice(2000), NO_LIMIT), WS_UNPACK_END, "%u bits, %zu bytes", bits, n);
				assert_got(&r, text, n);
				free(packed);
				if (!takeover)
					cr_assert_eq(r.d.bytes_held, 0);
			}
			rig_close(&r);
		}
}

Test(ws_deflate, a_message_that_does_not_become_smaller_goes_as_it_is_and_the_next_is_right)
{
	uint8_t noise[2000], text[2000];

	for (int takeover = 0; takeover < 2; takeover++) {
		struct rig r;

		rig_open(&r, takeover, 15, 15);
		for (int turn = 0; turn < 20; turn++) {
			size_t size;
			uint8_t *packed;

			for (size_t i = 0; i < sizeof(noise); i++)
				noise[i] = (uint8_t)dice(256);
			cr_assert_null(pack(&r, noise, sizeof(noise), sizeof(noise), &size));
			/* It holds the noise, which the reader never saw: a reference to it would be broken. */
			memcpy(text, noise, sizeof(text));
			memcpy(text + 1000, noise, 1000);
			packed = pack(&r, text, sizeof(text), sizeof(text), &size);
			cr_assert_not_null(packed);
			cr_assert_eq(unpack(&r, packed, size, size, NO_LIMIT), WS_UNPACK_END);
			assert_got(&r, text, sizeof(text));
			free(packed);
		}
		rig_close(&r);
	}
}

Test(ws_deflate, takeover_makes_the_second_of_two_alike_tiny)
{
	static uint8_t text[2000];
	size_t first, second;
	struct rig r;

	text_fill(text, sizeof(text));
	rig_open(&r, true, 15, 15);
	free(pack(&r, text, sizeof(text), sizeof(text), &first));
	free(pack(&r, text, sizeof(text), sizeof(text), &second));
	cr_assert_lt(second * 10, first, "%zu, then %zu", first, second);
	rig_close(&r);
}

/* A message that ends in a fragment without bytes: what went before was flushed, and ends in the tail that we may not cut there. */
Test(ws_deflate, an_empty_last_fragment_is_one_byte)
{
	for (int takeover = 0; takeover < 2; takeover++) {
		struct rig r;
		struct pipe to;
		uint64_t n, last;
		uint8_t all[100];
		size_t some;

		rig_open(&r, takeover, 15, 15);
		pipe_init(&to, &r.pool, UINT64_MAX);
		cr_assert(ws_pack(&r.d, &to, "hello", 5, true, false, &n));
		memcpy(all, pipe_peek(&to, &some), n);
		pipe_consume(&to, to.bytes);
		cr_assert(ws_pack(&r.d, &to, NULL, 0, false, true, &last));
		cr_assert_eq(last, 1);
		all[n] = *pipe_peek(&to, &some);
		pipe_fini(&to);
		cr_assert_eq(unpack(&r, all, n + 1, 3, NO_LIMIT), WS_UNPACK_END);
		assert_got(&r, "hello", 5);
		rig_close(&r);
	}
}

/* ---- bounds ---- */

static uint8_t *bomb(size_t zeroes, size_t *size)
{
	uint8_t *out = malloc(zeroes / 500 + 1000), *text = calloc(1, zeroes);
	z_stream z = { 0 };

	cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = text;
	z.avail_in = (unsigned)zeroes;
	z.next_out = out;
	z.avail_out = (unsigned)(zeroes / 500 + 1000);
	cr_assert_eq(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	*size = z.total_out - 4;
	deflateEnd(&z);
	free(text);
	return out;
}

Test(ws_deflate, a_bomb_costs_its_bound_and_one_chunk)
{
	size_t size;
	uint8_t *packed = bomb(20 << 20, &size);
	struct rig r;

	cr_assert_lt(size * 900, 20u << 20);
	rig_open(&r, false, 15, 15);
	cr_assert_eq(unpack(&r, packed, size, size, 1 << 20), WS_UNPACK_FULL);
	cr_assert_eq(r.got_n, (1 << 20) + 1, "the first byte too many is the last one made");
	cr_assert_eq(r.pool.total_count - r.pool.free_count, 0);
	cr_assert_leq(r.pool.takes, (1 << 20) / CHUNK_BYTES + 2);
	cr_assert_leq(r.d.bytes_held, 42000);
	cr_assert_leq(r.d.packed_in, 5000, "the rest of the bomb was not even looked at");
	rig_close(&r);
	free(packed);
}

Test(ws_deflate, memory_is_what_the_header_says)
{
	static uint8_t text[100000];
	struct rig r;
	size_t size;

	text_fill(text, sizeof(text));
	for (uint8_t bits = 9; bits <= 15; bits++) {
		rig_open(&r, true, bits, bits);
		free(pack(&r, text, sizeof(text), sizeof(text), &size));
		cr_assert_leq(r.d.bytes_held, 6500 + ((size_t)8 << bits), "%u: %lu", bits, r.d.bytes_held);
		rig_close(&r);

		rig_open(&r, true, bits, bits);
		cr_assert_eq(unpack(&r, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 7, NO_LIMIT), WS_UNPACK_END);
		cr_assert_leq(r.d.bytes_held, 7500 + ((size_t)1 << bits), "%u: %lu", bits, r.d.bytes_held);
		rig_close(&r);
	}
	/* A short message takes a small window. */
	rig_open(&r, false, 15, 15);
	cr_assert_eq(window_wanted(&r.d, 64, true), 9);
	cr_assert_eq(window_wanted(&r.d, 4096 - 262, true), 12);
	cr_assert_eq(window_wanted(&r.d, 4096, true), 13);
	cr_assert_eq(window_wanted(&r.d, 1 << 20, true), 15);
	cr_assert_eq(window_wanted(&r.d, 64, false), 15);
	rig_close(&r);
}

/* Nobody may be made to work without an end by blocks that unpack to nothing: each is its own bytes, and costs them once. */
Test(ws_deflate, empty_blocks_are_used_up)
{
	uint8_t blocks[5 * 1000];
	struct rig r;

	for (size_t i = 0; i < sizeof(blocks); i += 5)
		memcpy(blocks + i, "\x00\x00\x00\xff\xff", 5);
	rig_open(&r, false, 15, 15);
	cr_assert_eq(unpack(&r, blocks, sizeof(blocks) - 4, 7, NO_LIMIT), WS_UNPACK_END);
	cr_assert_eq(r.got_n, 0);
	rig_close(&r);
}

Test(ws_deflate, random_bytes_are_the_same_however_they_are_cut, .timeout = 60)
{
	for (unsigned turn = 0; turn < 20000; turn++) {
		uint8_t bytes[64];
		size_t n = dice(sizeof(bytes)), whole_n;
		enum ws_unpacked whole;
		uint8_t *whole_got;
		struct rig r;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)dice(256);
		if (n > 0)
			bytes[0] &= (uint8_t)~(dice(2) ? 4 : 6); /* more often a block that stores, or a fixed one */
		rig_open(&r, false, 9, 9);
		whole = unpack(&r, bytes, n, n + 1, NO_LIMIT);
		whole_n = r.got_n;
		whole_got = r.got;
		r.got = NULL;
		r.got_room = 0;
		ws_unpack_end(&r.d);
		cr_assert_eq(unpack(&r, bytes, n, 1, NO_LIMIT), whole);
		if (whole == WS_UNPACK_END)
			assert_got(&r, whole_got, whole_n);
		free(whole_got);
		rig_close(&r);
	}
}
