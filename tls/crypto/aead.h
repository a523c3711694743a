/* tls/crypto/aead.h — authenticated encryption of one record, by libcrypto.
 *
 *   aead_begin(nonce, additional data) ─▶ aead_add(bytes) … ─▶ aead_sealed(tag)  or  aead_opened(tag)
 *
 * The bytes may come in pieces, and go where they came from or elsewhere: the cipher's pass is the only copy. What was
 * opened must not be used before aead_opened has said that it is genuine.
 * The algorithms are fetched once and kept by whoever makes many keys; a fetch takes a lock and a search by name, which is
 * longer than sealing a small record.
 * This is the only file of ours that calls libcrypto for records.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: bytes.
 * Errors: false from aead_ciphers_init (libcrypto has not the algorithm) and aead_opened (forged). Anything else that
 * libcrypto refuses is memory or our mistake, and ends the process.
 * Limits: none here; how long a key may serve is in tls/suite.h.   Source: RFC 5116, EVP_EncryptInit(3ssl). */
#ifndef TLS_CRYPTO_AEAD_H
#define TLS_CRYPTO_AEAD_H

#include "ring/base.h"

#define AEAD_NONCE_BYTES 12u
#define AEAD_TAG_BYTES 16u
#define AEAD_KEY_BYTES_MAX 32u

enum aead_kind { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };
#define AEAD_KINDS 3u

struct evp_cipher_st;
struct evp_cipher_ctx_st;

struct aead_ciphers {
	struct evp_cipher_st *of[AEAD_KINDS];
};

/* False: libcrypto lacks one; `missing` is its name and nothing is held. */
bool aead_ciphers_init(struct aead_ciphers *, const char **missing);
void aead_ciphers_fini(struct aead_ciphers *);           /* harmless twice */

/* One key, for one direction. */
struct aead {
	struct evp_cipher_ctx_st *cipher;
};

unsigned aead_key_bytes(enum aead_kind);
void aead_init(struct aead *, const struct aead_ciphers *, enum aead_kind, const uint8_t *key, bool seals);
void aead_fini(struct aead *);                           /* zeroises; harmless twice */
void aead_set_key(struct aead *, const uint8_t *key);    /* another key in the same place */

void aead_begin(struct aead *, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n);
void aead_add(struct aead *, const void *from, size_t n, uint8_t *to); /* from == to, or apart */
void aead_sealed(struct aead *, uint8_t tag[AEAD_TAG_BYTES]);
bool aead_opened(struct aead *, const uint8_t tag[AEAD_TAG_BYTES]);

#endif
