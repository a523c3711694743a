/* tests/fuzz/ws_deflate.c — any bytes are a packed message, or none, and the same however they are cut; and ours are read by zlib.
 *
 * The first byte chooses what was agreed and the bound, the next four are a seed. The rest is
 *   a message as it might come: unpacked at once and in pieces of random size, both must be told alike; never more than the bound and
 *     one byte, never a chunk left, and no memory kept where nothing is taken over; what is accepted must be what zlib makes of it;
 *   a text: packed whole or in pieces of random size, twice, and read back by zlib with exactly the window that was agreed;
 *   a field line: agreed, declined or refused, and the answer within what was asked.
 *
 *   build/fuzz/tests/fuzz/fuzz_ws_deflate tests/fuzz/corpus/ws_deflate                                           */
#include "ring/base.h"
#include "ws/deflate.h"
#include "ws/extension.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX 200000u                /* the widest bound */

struct dice {
	uint64_t seed;
};

static uint32_t dice(struct dice *d, uint32_t sides)
{
	d->seed = d->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(d->seed >> 33) % sides;
}

struct unpacked {
	uint8_t *bytes;
	size_t n;
	enum ws_unpacked end;            /* END, BROKEN, or FULL: beyond the bound */
};

/* One message; `random` NULL: at once. */
static struct unpacked message_unpack(struct ws_deflate *d, const uint8_t *bytes, size_t n, uint64_t bound, struct dice *random)
{
	struct unpacked got = { .bytes = malloc(bound + 1) };

	check(got.bytes);
	for (size_t step = 0;;) {
		size_t used, held = d->shown ? chunk_size(d->shown) : 0;

		if (step == 0)
			step = random ? dice(random, dice(random, 2) ? 4 : 3000) : n;
		if (step > n)
			step = n;
		/* What is shown and not consumed counts too. */
		got.end = ws_unpack(d, bytes, step, step == n, bound + 1 - got.n - held, &used);
		check(used <= step);
		bytes += used;
		n -= used;
		step -= used;
		if (d->shown) {
			size_t some = chunk_size(d->shown);

			check(got.n + some <= bound + 1);
			if (random && got.end == WS_UNPACK_MORE)
				some = dice(random, (uint32_t)some + 1);
			memcpy(got.bytes + got.n, d->shown->bytes + d->shown->begin, some);
			got.n += some;
			if (some > 0)
				ws_unpack_consume(d, some);
		}
		if (got.n > bound)
			got.end = WS_UNPACK_FULL;
		if (got.end == WS_UNPACK_END || got.end == WS_UNPACK_BROKEN || got.n > bound)
			break;
	}
	ws_unpack_end(d);
	if (!d->agreed.client_takeover)
		check(d->bytes_held == 0);
	check(d->bytes_held <= 7500 + ((size_t)1 << d->agreed.client_window_bits));
	return got;
}

/* What zlib makes of it, for a message without a block that calls itself the last. Returns -1 where it says something else. */
static long zlib_unpack(uint8_t *to, size_t room, const uint8_t *bytes, size_t n, int bits)
{
	/* RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message." A block that is stored, and
	 * says that it is longer than what came, takes them for its bytes. */
	static const uint8_t tail[4] = { 0x00, 0x00, 0xff, 0xff };
	uint8_t *all = malloc(n + sizeof tail);
	z_stream z = { 0 };
	long made;

	check(all && inflateInit2(&z, -bits) == Z_OK);
	memcpy(all, bytes, n);
	memcpy(all + n, tail, sizeof tail);
	z.next_in = all;
	z.avail_in = (unsigned)(n + sizeof tail);
	z.next_out = to;
	z.avail_out = (unsigned)room;
	int result = inflate(&z, Z_SYNC_FLUSH);

	made = (result == Z_OK || result == Z_BUF_ERROR) && z.avail_in == 0 && z.avail_out > 0 ? (long)(room - z.avail_out) : -1;
	inflateEnd(&z);
	free(all);
	return made;
}

static void read_try(const uint8_t *bytes, size_t n, const struct ws_deflate_agreed *agreed, uint64_t bound, uint64_t seed)
{
	struct chunk_pool pool;
	struct ws_deflate whole, parts;
	struct dice random = { seed };

	chunk_pool_init(&pool, 1024);
	ws_deflate_init(&whole, agreed, &pool, 0);
	ws_deflate_init(&parts, agreed, &pool, 0);
	/* Twice: the second may refer to the first. */
	for (int turn = 0; turn < 2; turn++) {
		struct unpacked a = message_unpack(&whole, bytes, n, bound, NULL);
		struct unpacked b = message_unpack(&parts, bytes, n, bound, &random);

		check(a.end == b.end);
		if (a.end == WS_UNPACK_END)
			check(a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0);
		if (turn == 0 && a.end == WS_UNPACK_END && a.n < bound) {
			uint8_t *again = malloc(bound + 1);
			long made = zlib_unpack(again, bound + 1, bytes, n, agreed->client_window_bits);

			check(made < 0 || ((size_t)made == a.n && memcmp(again, a.bytes, a.n) == 0));
			free(again);
		}
		bool over = a.end != WS_UNPACK_END;

		free(a.bytes);
		free(b.bytes);
		if (over)
			break;           /* the conversation is over with it */
	}
	ws_deflate_fini(&whole);
	ws_deflate_fini(&parts);
	check(chunk_pool_out(&pool) == 0);
	chunk_pool_fini(&pool);
}

static void write_try(const uint8_t *bytes, size_t n, const struct ws_deflate_agreed *agreed, uint64_t seed)
{
	struct chunk_pool pool;
	struct ws_deflate d;
	struct dice random = { seed };
	z_stream z = { 0 };
	uint8_t *packed = malloc(2 * n + 10000), *back = malloc(n + 1);

	check(packed && back);
	chunk_pool_init(&pool, 1024);
	ws_deflate_init(&d, agreed, &pool, 0);
	check(inflateInit2(&z, -(int)agreed->server_window_bits) == Z_OK);
	for (int turn = 0; turn < 3; turn++) {
		size_t at = 0, packed_n = 0, step;
		bool first = true, plain = false, whole = turn == 1;

		do {
			struct pipe to;
			uint64_t made = 0;
			size_t some;
			uint8_t *from;

			step = whole ? n : dice(&random, 2000);
			if (step > n - at || packed_n > n)
				step = n - at;
			pipe_init(&to, &pool, UINT64_MAX);
			if (!ws_pack(&d, &to, bytes + at, step, first, at + step == n, &made))
				plain = true;
			else
				check(to.bytes >= made);
			for (; !plain && made > 0; made -= some) {
				from = pipe_peek(&to, &some);
				if (some > made)
					some = made;
				check(packed_n + some <= 2 * n + 9000);
				memcpy(packed + packed_n, from, some);
				packed_n += some;
				pipe_consume(&to, some);
			}
			pipe_fini(&to);
			at += step;
			first = false;
		} while (at < n);
		if (!agreed->server_takeover)
			check(d.bytes_held == 0);
		if (plain)
			continue;
		memcpy(packed + packed_n, "\x00\x00\xff\xff", 4);
		z.next_in = packed;
		z.avail_in = (unsigned)packed_n + 4;
		z.next_out = back;
		z.avail_out = (unsigned)n + 1;
		int result = inflate(&z, Z_SYNC_FLUSH);

		check((result == Z_OK || result == Z_BUF_ERROR) && z.avail_in == 0 && z.avail_out == 1);
		check(memcmp(back, bytes, n) == 0);
		if (!agreed->server_takeover)
			check(inflateReset(&z) == Z_OK);
	}
	inflateEnd(&z);
	ws_deflate_fini(&d);
	check(chunk_pool_out(&pool) == 0);
	chunk_pool_fini(&pool);
	free(packed);
	free(back);
}

static void line_try(const uint8_t *bytes, size_t n, bool takeover, uint8_t bits)
{
	const struct ws_deflate_terms terms = { .takeover = takeover, .window_bits = bits };
	struct ws_extensions extensions = { 0 }, none = { 0 };
	const struct reason *reason = ws_extensions_read(&extensions, &terms, (const char *)bytes, n);

	check(ws_extensions_read(&none, NULL, (const char *)bytes, n) == reason && !none.deflate);
	if (!extensions.deflate)
		return;
	check(extensions.agreed.server_window_bits >= 8 && extensions.agreed.server_window_bits <= bits);
	check(extensions.agreed.client_window_bits >= 8 && extensions.agreed.client_window_bits <= 15);
	check(takeover || (!extensions.agreed.server_takeover && !extensions.agreed.client_takeover));
	/* The answer is an offer that we would take ourselves, and take as it stands. */
	const struct ws_deflate_terms widest = { .takeover = true, .window_bits = 15 };
	struct ws_extensions again = { 0 };

	check(!ws_extensions_read(&again, &widest, extensions.answer, strlen(extensions.answer)));
	check(again.deflate && strcmp(again.answer, extensions.answer) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t bounds[] = { 0, 1, 1000, CHUNK_BYTES, CHUNK_BYTES + 1, BYTES_MAX, BYTES_MAX, BYTES_MAX };
	uint32_t seed;

	if (size < 5 || size > 20000)
		return 0;
	memcpy(&seed, data + 1, sizeof(seed));
	struct ws_deflate_agreed agreed = {
		.client_takeover = data[0] & 1, .server_takeover = data[0] & 1,
		.client_window_bits = (uint8_t)(8 + (data[0] >> 1 & 7)), .server_window_bits = (uint8_t)(8 + (data[0] >> 1 & 7)),
	};

	read_try(data + 5, size - 5, &agreed, bounds[data[0] >> 4 & 7], seed);
	write_try(data + 5, size - 5, &agreed, seed);
	line_try(data + 5, size - 5, data[0] & 1, data[0] >> 1 & 7 ? (uint8_t)(8 + (data[0] >> 1 & 7)) : 9);
	return 0;
}
