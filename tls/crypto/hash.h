/* tls/crypto/hash.h — SHA-256 of two pieces of memory, one behind the other: what chains the records of the journal.
 *
 * It computes by itself on any thread, with nothing to open before. libcrypto's takes the processor's SHA instructions, about
 * a quarter of a microsecond for a record; mbedTLS's is portable C and several times slower.
 *
 * Owner: the caller's memory.   Thread: any.   Units: bytes.   Errors: none.   Limits: none.   Source: FIPS 180-4. */
#ifndef TLS_CRYPTO_HASH_H
#define TLS_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SHA256_BYTES 32

void hash_sha256(uint8_t out[HASH_SHA256_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes);

#endif
