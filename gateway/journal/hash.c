/* See gateway/journal/hash.h. */
#include "gateway/journal/hash.h"

#include "tls/crypto/hash.h"

#include <assert.h>

static_assert(RECORD_CHAIN_BYTES == HASH_SHA256_BYTES, "a chain is a SHA-256");

void journal_hash(uint8_t out[RECORD_CHAIN_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	hash_sha256(out, a, a_bytes, b, b_bytes);
}
