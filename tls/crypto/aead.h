/* tls/crypto/aead.h — authenticated encryption of one record.
 *
 *   aead_begin(nonce, additional data) ─▶ aead_add(bytes) … ─▶ aead_sealed(tag)  or  aead_opened(tag)
 *
 * The bytes may come in pieces, and go where they came from or elsewhere: the cipher's pass is the only copy. What was
 * opened must not be used before aead_opened has said that it is genuine.
 *
 * A cipher that is ready to work (key schedule, table of multiples) is 1.2 KB, a key is at most 32 bytes. Most
 * connections are idle most of the time, so a key keeps its bytes alone and borrows a cipher from its thread's pool:
 *
 *   struct aead ── key, slot ──▶ pool.slots[kind][slot] ── owner ──▶ the same aead?   yes: the cipher is as it left it
 *                                                       └─ cipher                     no: one is made ready, 0.2 µs
 *
 * The pool has a bounded number of ciphers, made as they are needed; when all are taken, the one goes whose key has not
 * been used again since the hand came by last (the clock, or second chance). So busy connections keep theirs.
 *
 * Owner: the struct that embeds it, and an aead stays at its address from init to fini: a slot knows it by that. The pool
 * outlives all of its keys.   Thread: one pool for each, with its keys.   Units: bytes.
 * Errors: false from aead_pool_init (the library has not the algorithm) and aead_opened (forged). Anything else that the
 * library refuses is memory or our mistake, and ends the process.
 * Limits: AEAD_SLOTS ciphers of each kind, so many keys of a kind may be between begin and end at once. How long a key may
 * serve is in tls/suite.h.   Source: RFC 5116. */
#ifndef TLS_CRYPTO_AEAD_H
#define TLS_CRYPTO_AEAD_H

#include "ring/base.h"

#define AEAD_NONCE_BYTES 12u
#define AEAD_TAG_BYTES 16u
#define AEAD_KEY_BYTES_MAX 32u
/* Ciphers of one kind that are ready at once: 256 connections of a core that work at the same time, in 0.6 MB at most. More
 * would be faster still, for a cipher comes from the third-level cache sooner than it is made ready; but making one ready is
 * little beside what the kernel does for a message, and memory that idle connections hold is what the pool is to save. */
#define AEAD_SLOTS 512u

enum aead_kind { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };
#define AEAD_KINDS 3u

struct cipher;
struct cipher_algorithm;
struct aead;

struct aead_slot {
	const struct aead *owner;        /* NULL: nobody's; `cipher` is NULL then */
	struct cipher *cipher;
	bool used;                       /* again, since the hand came by */
	bool busy;                       /* between begin and end: the hand leaves it alone */
};

struct aead_pool {
	const struct cipher_algorithm *algorithms[AEAD_KINDS];
	uint64_t readied;                /* how often a cipher was made ready for a key */
	unsigned hands[AEAD_KINDS];
	struct aead_slot slots[AEAD_KINDS][AEAD_SLOTS];
};

/* False: the library lacks one; `missing` is its name and nothing is held. */
bool aead_pool_init(struct aead_pool *, const char **missing);
void aead_pool_fini(struct aead_pool *);                 /* all keys are gone; harmless twice, and on zeros */

/* One key, for one direction. What is looked at for each record comes first. */
struct aead {
	struct aead_pool *pool;          /* NULL: no key */
	uint16_t slot;
	uint8_t kind;                    /* enum aead_kind */
	bool seals;
	uint8_t key[AEAD_KEY_BYTES_MAX];
};

unsigned aead_key_bytes(enum aead_kind);
void aead_init(struct aead *, struct aead_pool *, enum aead_kind, const uint8_t *key, bool seals);
void aead_fini(struct aead *);                           /* zeroises key and cipher; harmless twice, and on zeros */
void aead_set_key(struct aead *, const uint8_t *key);    /* another key in the same place; not between begin and end */

void aead_begin(struct aead *, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n);
void aead_add(struct aead *, const void *from, size_t n, uint8_t *to); /* from == to, or apart */
void aead_sealed(struct aead *, uint8_t tag[AEAD_TAG_BYTES]);
bool aead_opened(struct aead *, const uint8_t tag[AEAD_TAG_BYTES]);

#endif
