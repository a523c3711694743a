/* See tls/crypto/hash.h. */
#include "tls/crypto/hash.h"

#include "ring/base.h"

#include "mbedtls/sha256.h"

void hash_sha256(uint8_t out[HASH_SHA256_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	mbedtls_sha256_context c;

	mbedtls_sha256_init(&c);
	check(mbedtls_sha256_starts(&c, 0) == 0);
	check(mbedtls_sha256_update(&c, a, a_bytes) == 0);
	check(mbedtls_sha256_update(&c, b, b_bytes) == 0);
	check(mbedtls_sha256_finish(&c, out) == 0);
	mbedtls_sha256_free(&c);
}
