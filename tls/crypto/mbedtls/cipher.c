/* See tls/crypto/cipher.h. For those who link no libcrypto: mbedTLS's own AES-GCM and ChaCha20-Poly1305. */
#include "tls/crypto/cipher.h"
#include "tls/secret.h"

#include "mbedtls/chachapoly.h"
#include "mbedtls/constant_time.h"
#include "mbedtls/gcm.h"

#include <stdlib.h>

struct cipher_algorithm {
	enum aead_kind kind;
};

static const struct cipher_algorithm ALGORITHMS[AEAD_KINDS] = {
	{ AEAD_AES_128_GCM }, { AEAD_AES_256_GCM }, { AEAD_CHACHA20_POLY1305 },
};

struct cipher {
	enum aead_kind kind;
	bool seals;
	union {
		mbedtls_gcm_context gcm;
		mbedtls_chachapoly_context chacha;
	};
};

const struct cipher_algorithm *cipher_algorithm_find(enum aead_kind kind)
{
	return &ALGORITHMS[kind];
}

void cipher_algorithm_put(const struct cipher_algorithm *algorithm)
{
	(void)algorithm;
}

struct cipher *cipher_new(const struct cipher_algorithm *algorithm, const uint8_t *key, bool seals)
{
	struct cipher *c = calloc(1, sizeof *c);

	check(c);
	c->kind = algorithm->kind;
	if (c->kind == AEAD_CHACHA20_POLY1305)
		mbedtls_chachapoly_init(&c->chacha);
	else
		mbedtls_gcm_init(&c->gcm);
	cipher_set_key(c, key, seals);
	return c;
}

void cipher_free(struct cipher *c)
{
	if (!c)
		return;
	if (c->kind == AEAD_CHACHA20_POLY1305)
		mbedtls_chachapoly_free(&c->chacha);
	else
		mbedtls_gcm_free(&c->gcm);
	tls_zeroise(c, sizeof *c);
	free(c);
}

void cipher_set_key(struct cipher *c, const uint8_t *key, bool seals)
{
	c->seals = seals;
	if (c->kind == AEAD_CHACHA20_POLY1305)
		check(mbedtls_chachapoly_setkey(&c->chacha, key) == 0);
	else
		check(mbedtls_gcm_setkey(&c->gcm, MBEDTLS_CIPHER_ID_AES, key, aead_key_bytes(c->kind) * 8) == 0);
}

void cipher_begin(struct cipher *c, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n)
{
	if (c->kind == AEAD_CHACHA20_POLY1305) {
		check(mbedtls_chachapoly_starts(&c->chacha, nonce,
			c->seals ? MBEDTLS_CHACHAPOLY_ENCRYPT : MBEDTLS_CHACHAPOLY_DECRYPT) == 0);
		check(mbedtls_chachapoly_update_aad(&c->chacha, additional, n) == 0);
	} else {
		check(mbedtls_gcm_starts(&c->gcm, c->seals ? MBEDTLS_GCM_ENCRYPT : MBEDTLS_GCM_DECRYPT, nonce,
			AEAD_NONCE_BYTES) == 0);
		check(mbedtls_gcm_update_ad(&c->gcm, additional, n) == 0);
	}
}

void cipher_add(struct cipher *c, const void *from, size_t n, uint8_t *to)
{
	size_t written = n;

	if (c->kind == AEAD_CHACHA20_POLY1305)
		check(mbedtls_chachapoly_update(&c->chacha, n, from, to) == 0);
	else
		check(mbedtls_gcm_update(&c->gcm, from, n, to, n, &written) == 0);
	/* GCM may keep a block's beginning back by its contract; the library's own never does, and we rely on that. */
	check(written == n);
}

void cipher_sealed(struct cipher *c, uint8_t tag[AEAD_TAG_BYTES])
{
	size_t written;

	if (c->kind == AEAD_CHACHA20_POLY1305)
		check(mbedtls_chachapoly_finish(&c->chacha, tag) == 0);
	else
		check(mbedtls_gcm_finish(&c->gcm, NULL, 0, &written, tag, AEAD_TAG_BYTES) == 0);
}

bool cipher_opened(struct cipher *c, const uint8_t tag[AEAD_TAG_BYTES])
{
	uint8_t computed[AEAD_TAG_BYTES];
	bool genuine;

	cipher_sealed(c, computed);
	/* In a time that does not tell a forger how many bytes he has right already. */
	genuine = mbedtls_ct_memcmp(computed, tag, AEAD_TAG_BYTES) == 0;
	tls_zeroise(computed, sizeof computed);
	return genuine;
}
