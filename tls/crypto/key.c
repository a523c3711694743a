/* See tls/crypto/key.h. */
#include "tls/crypto/key.h"

#include "mbedtls/platform_util.h"
#include "mbedtls/psa_util.h"
#include "psa/postern_driver.h"

#include <stdlib.h>
#include <string.h>

/* Room for an RSAPrivateKey of KEY_RSA_BITS_MAX: two numbers of that size, five of half of it, and what ASN.1 adds. */
#define KEY_DER_BYTES_MAX (KEY_RSA_BITS_MAX / 8 * 9 / 2 + 128u)

static bool key_served(const mbedtls_pk_context *pk)
{
	size_t bits = mbedtls_pk_get_bitlen(pk);

	switch (mbedtls_pk_get_type(pk)) {
	case MBEDTLS_PK_RSA:
		return bits >= KEY_RSA_BITS_MIN && bits <= KEY_RSA_BITS_MAX;
	case MBEDTLS_PK_ECKEY:
	case MBEDTLS_PK_ECDSA:
		/* P-256 is the only curve of 256 bits that our mbedTLS has for signatures; X25519 has 255, and no signatures. */
		return bits == 256;
	default:
		return false;
	}
}

/* What mbedTLS may do with a key that it cannot see: sign, in the ways of TLS 1.2 and 1.3, with any of our hashes. An RSA key
 * serves both kinds of padding, which PSA allows to one key as a first and a second algorithm. */
static psa_key_attributes_t key_policy(bool rsa)
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

	psa_set_key_lifetime(&attributes, POSTERN_KEY_LIFETIME);
	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH);
	if (rsa) {
		psa_set_key_type(&attributes, PSA_KEY_TYPE_RSA_KEY_PAIR);
		psa_set_key_algorithm(&attributes, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_ANY_HASH));
		psa_set_key_enrollment_algorithm(&attributes, PSA_ALG_RSA_PSS(PSA_ALG_ANY_HASH));
	} else {
		psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
		psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
	}
	return attributes;
}

/* `plain` moves behind the driver; what was in mbedTLS is zeroised by mbedtls_pk_free. */
static int key_move(struct private_key *key, struct driver *driver, mbedtls_pk_context *plain)
{
	psa_key_attributes_t policy = key_policy(mbedtls_pk_get_type(plain) == MBEDTLS_PK_RSA);
	uint8_t *der = malloc(KEY_DER_BYTES_MAX);
	int n;

	check(der);
	n = mbedtls_pk_write_key_der(plain, der, KEY_DER_BYTES_MAX);
	if (n > 0)                               /* it writes from the end */
		key->behind = driver_key_new(driver, der + KEY_DER_BYTES_MAX - n, (size_t)n);
	mbedtls_platform_zeroize(der, KEY_DER_BYTES_MAX);
	free(der);
	if (n <= 0)
		return n;
	if (!key->behind)
		return MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
	if (psa_import_key(&policy, (const uint8_t *)&key->behind, sizeof key->behind, &key->id) != PSA_SUCCESS)
		return MBEDTLS_ERR_PK_ALLOC_FAILED;
	return mbedtls_pk_setup_opaque(&key->pk, key->id);
}

int private_key_parse(struct private_key *key, struct driver *driver, const uint8_t *pem, size_t n)
{
	mbedtls_pk_context plain;
	int error;

	*key = (struct private_key){ 0 };
	mbedtls_pk_init(&key->pk);
	mbedtls_pk_init(&plain);
	error = mbedtls_pk_parse_key(&plain, pem, n, NULL, 0, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	if (error == 0 && !key_served(&plain))
		error = MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE;
	if (error == 0 && driver) {
		error = key_move(key, driver, &plain);
	} else if (error == 0) {
		key->pk = plain;                 /* nothing in it points at itself */
		mbedtls_pk_init(&plain);
	}
	mbedtls_pk_free(&plain);
	if (error != 0)
		private_key_fini(key);
	return error;
}

bool private_key_belongs(const struct private_key *key, const mbedtls_pk_context *certificate_key)
{
	static const uint8_t HASH[32] = "a private key and its public one";
	uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
	size_t n;

	if (!key_served(certificate_key) || mbedtls_pk_get_bitlen(certificate_key) != mbedtls_pk_get_bitlen(&key->pk))
		return false;
	/* mbedTLS's pointers are not const, though it writes to nothing but an RSA key's blinding. */
	return mbedtls_pk_sign((mbedtls_pk_context *)(uintptr_t)&key->pk, MBEDTLS_MD_SHA256, HASH, sizeof HASH, signature,
		       sizeof signature, &n, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE) == 0 &&
		mbedtls_pk_verify((mbedtls_pk_context *)(uintptr_t)certificate_key, MBEDTLS_MD_SHA256, HASH, sizeof HASH, signature,
			n) == 0;
}

void private_key_fini(struct private_key *key)
{
	mbedtls_pk_free(&key->pk);
	psa_destroy_key(key->id);                /* 0 is no key, and no mistake */
	driver_key_free(key->behind);
	*key = (struct private_key){ 0 };
	mbedtls_pk_init(&key->pk);
}
