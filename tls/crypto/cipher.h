/* tls/crypto/cipher.h — a key made ready to work, by the library that was chosen.
 *
 * What tls/crypto/aead.c needs of a library, and all that it needs: crypto/libcrypto/cipher.c and crypto/mbedtls/cipher.c
 * say it, and one of them is built. These two are the only files of ours that protect records by a library's calls.
 * begin, add …, then sealed or opened: as in tls/crypto/aead.h. A begin that is followed by another begin is forgotten.
 *
 * Owner: the pool of tls/crypto/aead.h.   Thread: the pool's.   Units: bytes.
 * Errors: NULL from cipher_algorithm_find, false from cipher_opened; anything else ends the process.
 * Limits: none.   Source: EVP_EncryptInit(3ssl); mbedtls/gcm.h, mbedtls/chachapoly.h. */
#ifndef TLS_CRYPTO_CIPHER_H
#define TLS_CRYPTO_CIPHER_H

#include "tls/crypto/aead.h"

/* Found once and kept by the pool: in libcrypto this takes a lock and a search by name, which is longer than sealing a
 * small record. NULL: the library has it not. */
const struct cipher_algorithm *cipher_algorithm_find(enum aead_kind);
void cipher_algorithm_put(const struct cipher_algorithm *);              /* NULL is fine */

struct cipher *cipher_new(const struct cipher_algorithm *, const uint8_t *key, bool seals);
void cipher_free(struct cipher *);                                       /* zeroises; NULL is fine */
void cipher_set_key(struct cipher *, const uint8_t *key, bool seals);    /* the key before is overwritten */

void cipher_begin(struct cipher *, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n);
void cipher_add(struct cipher *, const void *from, size_t n, uint8_t *to);   /* n > 0 */
void cipher_sealed(struct cipher *, uint8_t tag[AEAD_TAG_BYTES]);
bool cipher_opened(struct cipher *, const uint8_t tag[AEAD_TAG_BYTES]);

#endif
