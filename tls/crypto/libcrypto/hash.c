/* See tls/crypto/hash.h. */

/* libcrypto 3 would rather have EVP; but for a few hundred bytes its search for the algorithm and its object on the heap take
 * longer than to compute, and these cannot be taken away before 4.0. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "tls/crypto/hash.h"

#include <openssl/sha.h>

void hash_sha256(uint8_t out[HASH_SHA256_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, a, a_bytes);
	SHA256_Update(&c, b, b_bytes);
	SHA256_Final(out, &c);
}
