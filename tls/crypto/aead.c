/* See tls/crypto/aead.h. */
#include "tls/crypto/aead.h"

#include <openssl/err.h>
#include <openssl/evp.h>

static const struct {
	const char *name;
	unsigned key_bytes;
} KINDS[AEAD_KINDS] = {
	[AEAD_AES_128_GCM] = { "AES-128-GCM", 16 },
	[AEAD_AES_256_GCM] = { "AES-256-GCM", 32 },
	[AEAD_CHACHA20_POLY1305] = { "ChaCha20-Poly1305", 32 },
};

bool aead_ciphers_init(struct aead_ciphers *ciphers, const char **missing)
{
	*ciphers = (struct aead_ciphers){ 0 };
	for (unsigned i = 0; i < AEAD_KINDS; i++) {
		ciphers->of[i] = EVP_CIPHER_fetch(NULL, KINDS[i].name, NULL);
		if (!ciphers->of[i]) {
			*missing = KINDS[i].name;
			ERR_clear_error();
			aead_ciphers_fini(ciphers);
			return false;
		}
	}
	return true;
}

void aead_ciphers_fini(struct aead_ciphers *ciphers)
{
	for (unsigned i = 0; i < AEAD_KINDS; i++)
		EVP_CIPHER_free(ciphers->of[i]);
	*ciphers = (struct aead_ciphers){ 0 };
}

unsigned aead_key_bytes(enum aead_kind kind)
{
	check(kind < AEAD_KINDS);
	return KINDS[kind].key_bytes;
}

void aead_init(struct aead *aead, const struct aead_ciphers *ciphers, enum aead_kind kind, const uint8_t *key,
	bool seals)
{
	check(kind < AEAD_KINDS && ciphers->of[kind]);
	aead->cipher = EVP_CIPHER_CTX_new();
	check(aead->cipher);
	check(EVP_CipherInit_ex2(aead->cipher, ciphers->of[kind], key, NULL, seals, NULL) == 1);
	/* Twelve bytes of nonce are the usual for all three, so nothing is said about its length. */
	check(EVP_CIPHER_CTX_get_iv_length(aead->cipher) == (int)AEAD_NONCE_BYTES);
}

void aead_fini(struct aead *aead)
{
	EVP_CIPHER_CTX_free(aead->cipher); /* which cleanses the key schedule */
	aead->cipher = NULL;
}

void aead_set_key(struct aead *aead, const uint8_t *key)
{
	check(EVP_CipherInit_ex2(aead->cipher, NULL, key, NULL, -1, NULL) == 1);
}

void aead_begin(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n)
{
	int written;

	check(EVP_CipherInit_ex2(aead->cipher, NULL, NULL, nonce, -1, NULL) == 1);
	check(EVP_CipherUpdate(aead->cipher, NULL, &written, additional, (int)n) == 1);
}

void aead_add(struct aead *aead, const void *from, size_t n, uint8_t *to)
{
	int written;

	/* libcrypto takes an update of no bytes from some ciphers for the end. */
	if (n == 0)
		return;
	check(EVP_CipherUpdate(aead->cipher, to, &written, from, (int)n) == 1);
	check(written == (int)n);
}

void aead_sealed(struct aead *aead, uint8_t tag[AEAD_TAG_BYTES])
{
	uint8_t nothing[AEAD_TAG_BYTES];
	int written;

	check(EVP_CipherFinal_ex(aead->cipher, nothing, &written) == 1 && written == 0);
	check(EVP_CIPHER_CTX_ctrl(aead->cipher, EVP_CTRL_AEAD_GET_TAG, (int)AEAD_TAG_BYTES, tag) == 1);
}

bool aead_opened(struct aead *aead, const uint8_t tag[AEAD_TAG_BYTES])
{
	uint8_t nothing[AEAD_TAG_BYTES];
	int written;

	check(EVP_CIPHER_CTX_ctrl(aead->cipher, EVP_CTRL_AEAD_SET_TAG, (int)AEAD_TAG_BYTES, (void *)tag) == 1);
	if (EVP_CipherFinal_ex(aead->cipher, nothing, &written) == 1)
		return true;
	/* Nobody else on this thread should find our forged record in libcrypto's queue of errors. */
	ERR_clear_error();
	return false;
}
