/* ws/deflate.c — zlib, held to bounds. Raw streams in both directions: negative window bits, as zlib says it. */
#include "ws/deflate.h"

#include "ws/reason.h"

#include <stdlib.h>
#include <string.h>

#define DEFLATE_MAGIC 0x57536466u        /* "WSdf" */
#define TAIL_BYTES 4u

/* Level 1 takes a third of the time of the usual 6, and on short JSON loses a few percent of what 6 saves. */
#define PACK_LEVEL 1

/* zlib wants more than six bytes of room when it flushes, so as not to flush twice. */
#define PACK_ROOM_LEAST 64u

/* §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end." */
static const uint8_t TAIL[TAIL_BYTES] = { 0x00, 0x00, 0xFF, 0xFF };

/* ---- memory ---- */

struct held {
	_Alignas(16) size_t n;
};

static void *zlib_take(void *opaque, unsigned items, unsigned size)
{
	struct ws_deflate *d = opaque;
	size_t n = (size_t)items * size;
	struct held *held = malloc(sizeof(*held) + n);

	check(held);
	held->n = n;
	d->bytes_held += n;
	return held + 1;
}

static void zlib_put(void *opaque, void *memory)
{
	struct ws_deflate *d = opaque;
	struct held *held = (struct held *)memory - 1;

	check(held->n <= d->bytes_held);
	d->bytes_held -= held->n;
	free(held);
}

void ws_deflate_init(struct ws_deflate *d, const struct ws_deflate_agreed *agreed, struct chunk_pool *pool, uint64_t bytes_min)
{
	*d = (struct ws_deflate){ .magic = DEFLATE_MAGIC, .agreed = *agreed, .pool = pool, .bytes_min = bytes_min };
}

uint64_t ws_deflate_bytes_most(const struct ws_deflate_agreed *agreed)
{
	/* zlib's own figures (zconf.h) with what the structs have beside: windows, and tables four times the size of one. */
	return (UINT64_C(1) << agreed->client_window_bits) + 8192 + 8 * (UINT64_C(1) << (agreed->server_window_bits > 9 ? agreed->server_window_bits : 9)) + 8192;
}

static void unpack_close(struct ws_deflate *d)
{
	if (d->unpack_open)
		inflateEnd(&d->unpack);
	d->unpack_open = false;
}

static void pack_close(struct ws_deflate *d)
{
	if (d->pack_open)
		deflateEnd(&d->pack); /* Z_DATA_ERROR says that it was in the middle of something */
	d->pack_open = false;
}

void ws_deflate_fini(struct ws_deflate *d)
{
	if (d->magic != DEFLATE_MAGIC)
		return;
	unpack_close(d);
	pack_close(d);
	if (d->shown)
		chunk_put(d->pool, d->shown);
	d->shown = NULL;
	check(d->bytes_held == 0);
	d->magic = 0;
}

/* ---- reading ---- */

static void shown_put(struct ws_deflate *d)
{
	if (d->shown)
		chunk_put(d->pool, d->shown);
	d->shown = NULL;
}

static void unpack_open(struct ws_deflate *d)
{
	d->unpack = (z_stream){ .zalloc = zlib_take, .zfree = zlib_put, .opaque = d };
	check(inflateInit2(&d->unpack, -(int)d->agreed.client_window_bits) == Z_OK);
	d->unpack_open = true;
}

enum step { STEP_AGAIN, STEP_IDLE, STEP_BROKEN };

/* One call of zlib on `n` bytes. IDLE: with these, and in this room, nothing more can be done. */
static enum step unpack_some(struct ws_deflate *d, const uint8_t *bytes, size_t n, size_t room, size_t *used, size_t *made)
{
	struct chunk *shown = d->shown;
	z_stream *z = &d->unpack;

	z->next_in = (uint8_t *)bytes;   /* zlib does not write there */
	z->avail_in = (unsigned)n;
	z->next_out = shown->bytes + shown->end;
	z->avail_out = (unsigned)room;

	/* Z_BLOCK stops at the end of each block, so that at the message's end can be seen that no block is cut. */
	int result = inflate(z, Z_BLOCK);
	bool block_end = z->data_type & 128;

	*used = n - z->avail_in;
	*made = room - z->avail_out;
	shown->end += (uint32_t)*made;
	d->packed_in += *used;
	d->unpacked_out += *made;
	/* A block marked as the last: §7.2.3.5 allows it, and the message goes on at the next byte with a new block, which may refer
	 * back to what was before. This reset keeps the window; inflateReset does not. */
	if (result == Z_STREAM_END) {
		d->block_whole = false;
		return inflateResetKeep(z) == Z_OK ? STEP_AGAIN : STEP_BROKEN;
	}
	/* Z_BUF_ERROR: nothing went in or out. That is no fault, and not always idleness: the end of a block may lie in bits
	 * that zlib holds. */
	if (result != Z_OK && result != Z_BUF_ERROR)
		return STEP_BROKEN;
	if (*used == 0 && *made == 0 && !block_end)
		return STEP_IDLE;
	/* The tail ends a block, and with a whole byte: the low six bits count those left over. */
	d->block_whole = block_end && (z->data_type & 63) == 0;
	return STEP_AGAIN;
}

static enum ws_unpacked unpack_all(struct ws_deflate *d, const uint8_t *bytes, size_t n, bool last, uint64_t room, size_t *used)
{
	for (;;) {
		bool in_tail = *used == n && last;
		size_t free_bytes = CHUNK_BYTES - d->shown->end;
		size_t step_used, step_made;
		enum step step;

		if (free_bytes > room)
			free_bytes = room;
		if (free_bytes == 0)
			return WS_UNPACK_FULL;
		if (in_tail)
			step = unpack_some(d, TAIL + d->tail, TAIL_BYTES - d->tail, free_bytes, &step_used, &step_made);
		else
			step = unpack_some(d, bytes + *used, n - *used, free_bytes, &step_used, &step_made);
		if (step == STEP_BROKEN)
			return WS_UNPACK_BROKEN;
		room -= step_made;
		if (in_tail)
			d->tail += (uint8_t)step_used;
		else
			*used += step_used;
		if (step == STEP_AGAIN)
			continue;
		if (!last)
			return WS_UNPACK_MORE;
		/* Anything but a block's end here is a stream that was cut: the tail was taken for something that it is not. */
		return d->tail == TAIL_BYTES && d->block_whole ? WS_UNPACK_END : WS_UNPACK_BROKEN;
	}
}

enum ws_unpacked ws_unpack(struct ws_deflate *d, const uint8_t *bytes, size_t n, bool last, uint64_t room, size_t *used)
{
	check(d->magic == DEFLATE_MAGIC && !d->unpack_end && n <= UINT32_MAX);
	if (!d->unpack_open)
		unpack_open(d);
	if (!d->shown)
		d->shown = chunk_take(d->pool);
	*used = 0;

	enum ws_unpacked unpacked = unpack_all(d, bytes, n, last, room, used);

	check(unpacked == WS_UNPACK_FULL || unpacked == WS_UNPACK_BROKEN || *used == n);
	d->unpack_end = unpacked == WS_UNPACK_END;
	if (chunk_size(d->shown) == 0)
		shown_put(d);
	return unpacked;
}

void ws_unpack_consume(struct ws_deflate *d, size_t n)
{
	struct chunk *shown = d->shown;

	check(shown && n <= chunk_size(shown));
	shown->begin += (uint32_t)n;
	if (shown->begin == shown->end)
		shown_put(d);
}

void ws_unpack_end(struct ws_deflate *d)
{
	shown_put(d);
	d->tail = 0;
	d->block_whole = false;
	d->unpack_end = false;
	if (!d->agreed.client_takeover)
		unpack_close(d);
}

/* ---- writing ---- */

/* The smallest window in which all of a whole message can be referred back to. zlib refers back over its window less 262 bytes, so
 * that with 9 bits it stays within 250: that is how 8 bits are kept, which zlib refuses to be told for a raw stream. */
static uint8_t window_wanted(const struct ws_deflate *d, size_t n, bool whole)
{
	uint8_t most = d->agreed.server_window_bits, bits = 9;

	if (!whole || d->agreed.server_takeover)
		return most > bits ? most : bits;
	while (bits < most && ((size_t)1 << bits) < n + 262)
		bits++;
	return bits;
}

static void pack_open(struct ws_deflate *d, uint8_t window_bits)
{
	/* Tables that fit the window: 4 bytes of them for each of its bytes. 8 is zlib's usual one for 15 bits. */
	int memory_level = window_bits - 7;

	d->pack = (z_stream){ .zalloc = zlib_take, .zfree = zlib_put, .opaque = d };
	check(deflateInit2(&d->pack, PACK_LEVEL, Z_DEFLATED, -(int)window_bits, memory_level, Z_DEFAULT_STRATEGY) == Z_OK);
	d->pack_window_bits = window_bits;
	d->pack_open = true;
	d->pack_dirty = false;
}

/* Packs and flushes to a whole byte. Returns how many bytes came of it. */
static uint64_t pack_some(struct ws_deflate *d, struct pipe *to, const void *bytes, size_t n)
{
	z_stream *z = &d->pack;
	uint64_t before = to->bytes_passed;

	check(n <= UINT32_MAX);
	z->next_in = (uint8_t *)bytes;   /* zlib does not write there */
	z->avail_in = (unsigned)n;
	do {
		size_t room;
		int result;

		z->next_out = pipe_room(to, PACK_ROOM_LEAST, &room);
		z->avail_out = (unsigned)room;
		result = deflate(z, Z_SYNC_FLUSH);
		/* Z_BUF_ERROR: nothing had come since the last flush, so there is nothing to say. */
		check(result == Z_OK || result == Z_BUF_ERROR);
		pipe_commit(to, room - z->avail_out);
	} while (z->avail_out == 0);
	check(z->avail_in == 0);
	return to->bytes_passed - before;
}

bool ws_pack(struct ws_deflate *d, struct pipe *to, const void *bytes, size_t n, bool first, bool last, uint64_t *packed)
{
	bool whole = first && last;

	check(d->magic == DEFLATE_MAGIC && to->bytes == 0);
	if (d->pack_open && d->pack_dirty) {
		check(deflateReset(&d->pack) == Z_OK);
		d->pack_dirty = false;
	}
	if (!d->pack_open)
		pack_open(d, window_wanted(d, n, whole));

	uint64_t made = n > 0 ? pack_some(d, to, bytes, n) : 0;

	if (last && made == 0) {
		/* §7.2.3.6, and behind a flush likewise: of an empty block all is in the tail but its first byte. */
		pipe_write(to, "", 1);
		made = 1;
	} else if (last) {
		made -= TAIL_BYTES;
	}
	if (last && !d->agreed.server_takeover)
		pack_close(d);
	if (whole && made >= n) {
		/* The reader will not know these bytes, so that no later message may refer to them. */
		d->pack_dirty = d->pack_open;
		return false;
	}
	d->unpacked_in += n;
	d->packed_out += made;
	*packed = made;
	return true;
}
