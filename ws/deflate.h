/* ws/deflate.h — permessage-deflate: the payload of a message, packed and unpacked with zlib, a bounded piece at a time.
 *
 *   in:   frame payload ──▶ unpack ──▶ one chunk, shown ──▶ the caller consumes it, and only then comes the next
 *   out:  a piece of a message ──▶ pack ──▶ payload of a frame
 *
 * A packed message is a raw DEFLATE stream that ends in the four bytes 00 00 FF FF, which are not sent: the sender cuts them off
 * and the reader puts them back (RFC 7692 §7.2.1, §7.2.2). How many bytes come out is unknown until they do, so `unpack` makes no
 * more than one chunk and asks its bound while it makes them: a bomb costs what its bound and a chunk cost.
 *
 * Memory. Where nothing is taken over from message to message, zlib's memory exists only while a message is under way, one for
 * each direction, so an idle socket holds none. `bytes_held` is the sum. With w window bits unpacking holds 7 KB + 2^w, packing
 * 6 KB + 2^(w+2) + 2^(w+2): at 12 bits 11 KB and 38 KB, at most 39 KB and 262 KB at 15. A short message is packed with a smaller
 * window than was agreed.
 *
 * Words:  takeover, window: ws/extension.h     packed, unpacked: before and after DEFLATE
 *
 * Owner: the struct that embeds it; ws_deflate_fini is owed.   Thread: its core's.   Units: bytes.
 * Errors: reasons of ws/reason.h.   Limits: see Memory; memory that the system refuses ends the process.
 * Source: RFC 7692 §6-7, RFC 1951. */
#ifndef WS_DEFLATE_H
#define WS_DEFLATE_H

#include "ring/base.h"
#include "ring/pipe.h"
#include "ring/reason.h"
#include "ws/extension.h"

#include <zlib.h>

/* What a packed message may have more than it unpacks to, on the wire: a DEFLATE that only stores grows far less. */
#define WS_DEFLATE_GROWTH(bytes) ((bytes) / 4 + 256)

enum ws_unpacked {
	WS_UNPACK_MORE,                  /* all that was given is used, and the message goes on */
	WS_UNPACK_FULL,                  /* the chunk is full; what is left comes behind it */
	WS_UNPACK_END,                   /* the message is whole */
	WS_UNPACK_BROKEN,
};

struct ws_deflate {
	uint32_t magic;
	struct ws_deflate_agreed agreed;
	struct chunk_pool *pool;
	uint64_t bytes_min;              /* a message given whole is packed from this size on */
	uint64_t bytes_held;             /* by zlib, now */

	z_stream unpack;
	struct chunk *shown;             /* unpacked and not consumed yet; NULL: none */
	bool block_whole;                /* at the last byte used a block had ended */
	uint8_t tail;                    /* how many of the four bytes have been put back; of the present message */
	bool unpack_open;                /* its memory exists */
	bool unpack_end;                 /* WS_UNPACK_END was said, and ws_unpack_end not called yet */

	z_stream pack;
	uint8_t pack_window_bits;        /* of the open one */
	bool pack_open;
	bool pack_dirty;                 /* it holds what nobody was sent: to be reset before it is used */

	uint64_t packed_in, unpacked_out; /* for metrics and dumps: what was received, and what became of it */
	uint64_t unpacked_in, packed_out; /* what was to be sent, and what became of it */
};

/* Nothing is allocated yet. */
void ws_deflate_init(struct ws_deflate *, const struct ws_deflate_agreed *, struct chunk_pool *, uint64_t bytes_min);

/* Harmless twice, and on zeroes. */
void ws_deflate_fini(struct ws_deflate *);

/* What zlib will hold for it at most, both directions together. */
uint64_t ws_deflate_bytes_most(const struct ws_deflate_agreed *);

/* ---- reading ---- */

/* Unpacks into `shown`, which has room, up to `room` bytes in all of this message more; *used of the n bytes are done with.
 * `last`: with these n bytes the message ends. FULL also when `room` is spent: one byte more than a message may
 * have is enough to know. To be called again, with what was not used, until it is not FULL. */
enum ws_unpacked ws_unpack(struct ws_deflate *, const uint8_t *bytes, size_t n, bool last, uint64_t room, size_t *used);

/* `n` bytes of `shown` were used. */
void ws_unpack_consume(struct ws_deflate *, size_t n);

/* The message ended and all of it was consumed, or nobody wants it any more. */
void ws_unpack_end(struct ws_deflate *);

/* ---- writing ---- */

/* Puts the packed form of `bytes` into `to`, an empty pipe: the first *packed bytes of it are meant, behind them may be four more.
 * `first`: a message begins; `last`: it ends. False, with `to` of no use: a whole message (first and last) that does not become
 * smaller, and goes as it is. */
bool ws_pack(struct ws_deflate *, struct pipe *to, const void *bytes, size_t n, bool first, bool last, uint64_t *packed);

/* Should a message that begins with n bytes, and is whole when `whole`, be packed? */
static inline bool ws_pack_wanted(const struct ws_deflate *deflate, size_t n, bool whole)
{
	return n >= deflate->bytes_min || (!whole && n > 0);
}

#endif
