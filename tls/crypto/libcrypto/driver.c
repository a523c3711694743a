/* See tls/crypto/driver.h. From the bottom up: one section for each thing that mbedTLS asks, then how the whole is made.
 *
 * What is kept between calls, and why: libcrypto 3 finds an algorithm by its name, under a lock, in each initialisation, and
 * makes its objects on the heap; for a small input that takes longer than to compute. So the algorithms are fetched once,
 * and ciphers, signing contexts and the group of P-256 live as long as the driver. */

/* The block functions of SHA-2 exist in libcrypto as SHA256_Update and its sisters only, which are deprecated in favour of
 * EVP. But an EVP digest cannot be started from a state that mbedTLS holds, and these cannot be taken away before 4.0. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "tls/crypto/driver.h"

#include "psa/crypto.h"
#include "psa/postern_driver.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER_MAGIC 0xd21fe201u
#define KEY_MAGIC 0xd21fe2c3u

#define X25519_BYTES 32u
#define P256_BYTES 32u
#define P256_POINT_BYTES (1u + 2u * P256_BYTES)
#define COORDINATE_BYTES_MAX 48u     /* of P-384 */

enum hash { SHA_256, SHA_384, SHA_512, HASHES };
enum curve { P_256, P_384, CURVES };
enum cipher { AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, CIPHERS };

static const char *const HASH_NAMES[HASHES] = { "SHA2-256", "SHA2-384", "SHA2-512" };
static const char *const CURVE_NAMES[CURVES] = { "P-256", "P-384" };
static const char *const CIPHER_NAMES[CIPHERS] = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305" };

struct driver {
	struct postern_driver hooks;     /* first, as mbedTLS hands it back */
	uint32_t magic;
	unsigned keys;                   /* driver keys that live */

	EVP_PKEY_CTX *x25519;            /* makes EVP_PKEYs out of bytes */
	EVP_PKEY *x25519_base;           /* the point 9, as if it were somebody's public key */
	bool x25519_shortcut;

	EC_GROUP *p256;
	BN_CTX *bn;
	BIGNUM *scalar;                  /* zero between calls */
	EC_POINT *point, *product;

	EVP_PKEY *curves[CURVES];        /* parameters alone; each verification sets its public key */
	EVP_MD *hashes[HASHES];
	EVP_CIPHER_CTX *ciphers[CIPHERS];/* whose key is all zeros between calls */
};

struct driver_key {
	uint32_t magic;
	struct driver *driver;
	EVP_PKEY *pkey;
	bool rsa;
	unsigned bits;
	uint8_t *public_half;            /* in PSA's form */
	size_t public_bytes;
	/* Made at the first use. RSA: by padding and hash; EC: the first. */
	EVP_PKEY_CTX *signing[2][HASHES];
};

static struct driver *driver_of(struct postern_driver *hooks)
{
	struct driver *d = owner_of(hooks, struct driver, hooks);

	check(d->magic == DRIVER_MAGIC);
	return d;
}

/* Nobody else on this thread should find in libcrypto's queue what a stranger's bytes have caused. */
static psa_status_t refused(psa_status_t status)
{
	ERR_clear_error();
	return status;
}

/* ---- X25519 ---- */

/* libcrypto takes a private key together with a public one as they are, and computes nothing. The public half plays no part
 * in an agreement, so before there is one any will do. */
static EVP_PKEY *x25519_key(struct driver *d, const uint8_t *private_half, const uint8_t *public_half)
{
	OSSL_PARAM parts[3], *end = parts;
	EVP_PKEY *key = NULL;

	if (private_half)
		*end++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)(uintptr_t)private_half, X25519_BYTES);
	*end++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)public_half, X25519_BYTES);
	*end = OSSL_PARAM_construct_end();
	if (EVP_PKEY_fromdata(d->x25519, &key, private_half ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, parts) != 1)
		return NULL;
	return key;
}

static bool x25519_multiply(struct driver *d, const uint8_t *private_half, const uint8_t *public_half, EVP_PKEY *point,
	uint8_t product[X25519_BYTES])
{
	static const uint8_t ZERO[X25519_BYTES];
	EVP_PKEY *key = x25519_key(d, private_half, public_half);
	EVP_PKEY_CTX *deriving = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	size_t n = X25519_BYTES;
	bool done = deriving && EVP_PKEY_derive_init(deriving) == 1 && EVP_PKEY_derive_set_peer_ex(deriving, point, 0) == 1 &&
		EVP_PKEY_derive(deriving, product, &n) == 1 && n == X25519_BYTES;

	EVP_PKEY_CTX_free(deriving);
	EVP_PKEY_free(key);
	/* RFC 8446 §7.4.2: "implementations MUST check whether the computed Diffie-Hellman shared secret is the all-zero value
	 * and abort if so". libcrypto does; that it does is not written in its manual. */
	return done && CRYPTO_memcmp(product, ZERO, sizeof ZERO) != 0;
}

/* RFC 7748 §6.1: the public half is X25519(private, 9). libcrypto's own way to it, on a curve of another form and in portable
 * C, takes nearly twice as long as its multiplication of any other point. */
static bool x25519_public(struct driver *d, const uint8_t *private_half, uint8_t *public_half)
{
	static const uint8_t NONE_YET[X25519_BYTES];
	size_t n = X25519_BYTES;
	EVP_PKEY *key;
	bool done;

	if (d->x25519_shortcut)
		return x25519_multiply(d, private_half, NONE_YET, d->x25519_base, public_half);
	key = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private_half, X25519_BYTES);
	done = key && EVP_PKEY_get_raw_public_key(key, public_half, &n) == 1 && n == X25519_BYTES;
	EVP_PKEY_free(key);
	return done;
}

static psa_status_t x25519_generate(struct driver *d, uint8_t *key)
{
	if (RAND_priv_bytes(key, X25519_BYTES) == 1 && x25519_public(d, key, key + X25519_BYTES))
		return PSA_SUCCESS;
	OPENSSL_cleanse(key, 2 * X25519_BYTES);
	return refused(PSA_ERROR_GENERIC_ERROR);
}

static psa_status_t x25519_agree(struct driver *d, const uint8_t *key, const uint8_t *peer, size_t n, uint8_t *secret)
{
	EVP_PKEY *point;
	bool done;

	if (n != X25519_BYTES)
		return PSA_ERROR_INVALID_ARGUMENT;
	point = x25519_key(d, NULL, peer);
	done = point && x25519_multiply(d, key, key + X25519_BYTES, point, secret);
	EVP_PKEY_free(point);
	if (done)
		return PSA_SUCCESS;
	OPENSSL_cleanse(secret, X25519_BYTES);
	return refused(PSA_ERROR_INVALID_ARGUMENT);
}

/* RFC 7748 §6.1, Alice. The machine's own libcrypto is asked at the start whether it takes the shortcut; one that sees through
 * the missing public half goes the usual way. */
static bool x25519_proven(struct driver *d)
{
	static const uint8_t PRIVATE_HALF[X25519_BYTES] = {
		0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
		0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
	};
	static const uint8_t PUBLIC_HALF[X25519_BYTES] = {
		0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
		0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
	};
	uint8_t product[X25519_BYTES];

	return x25519_public(d, PRIVATE_HALF, product) && memcmp(product, PUBLIC_HALF, sizeof product) == 0;
}

/* ---- P-256 ---- */

/* libcrypto's multiplication on P-256 takes the same time for every scalar; BN_FLG_CONSTTIME asks the general code, which
 * serves on other processors, for the same. */
static psa_status_t p256_generate(struct driver *d, uint8_t *key)
{
	bool done = false;

	if (BN_priv_rand_range(d->scalar, EC_GROUP_get0_order(d->p256)) == 1 && !BN_is_zero(d->scalar))
		done = EC_POINT_mul(d->p256, d->product, d->scalar, NULL, NULL, d->bn) == 1 &&
			BN_bn2binpad(d->scalar, key, (int)P256_BYTES) == (int)P256_BYTES &&
			EC_POINT_point2oct(d->p256, d->product, POINT_CONVERSION_UNCOMPRESSED, key + P256_BYTES, P256_POINT_BYTES,
				d->bn) == P256_POINT_BYTES;
	BN_clear(d->scalar);
	if (done)
		return PSA_SUCCESS;
	OPENSSL_cleanse(key, P256_BYTES + P256_POINT_BYTES);
	return refused(PSA_ERROR_GENERIC_ERROR);
}

static psa_status_t p256_agree(struct driver *d, const uint8_t *key, const uint8_t *peer, size_t n, uint8_t *secret)
{
	uint8_t product[P256_POINT_BYTES];
	bool done;

	/* RFC 8446 §4.2.8.2: "struct { uint8 legacy_form = 4; opaque X[coordinate_length]; opaque Y[coordinate_length]; }". */
	if (n != P256_POINT_BYTES || peer[0] != 4)
		return PSA_ERROR_INVALID_ARGUMENT;
	/* "Peers MUST validate each other's public key Q by ensuring that the point is a valid point on the elliptic curve": what
	 * EC_POINT_oct2point does, for infinity too, which has no such form. Of a curve whose order is prime that is all. */
	done = EC_POINT_oct2point(d->p256, d->point, peer, n, d->bn) == 1 &&
		BN_bin2bn(key, (int)P256_BYTES, d->scalar) &&
		EC_POINT_mul(d->p256, d->product, NULL, d->point, d->scalar, d->bn) == 1 &&
		EC_POINT_point2oct(d->p256, d->product, POINT_CONVERSION_UNCOMPRESSED, product, sizeof product, d->bn) ==
			sizeof product;
	BN_clear(d->scalar);
	if (done)
		memcpy(secret, product + 1, P256_BYTES);
	/* The point was the secret. */
	EC_POINT_set_to_infinity(d->p256, d->product);
	EC_POINT_copy(d->product, d->point);
	OPENSSL_cleanse(product, sizeof product);
	return done ? PSA_SUCCESS : refused(PSA_ERROR_INVALID_ARGUMENT);
}

/* ---- agreement ---- */

static bool is_x25519(const psa_key_attributes_t *attributes)
{
	return psa_get_key_type(attributes) == PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_MONTGOMERY) &&
		psa_get_key_bits(attributes) == 255;
}

static bool is_p256(const psa_key_attributes_t *attributes)
{
	return psa_get_key_type(attributes) == PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1) &&
		psa_get_key_bits(attributes) == 256;
}

/* Our form of a generated key: the private half, and behind it the public one. No key in PSA's form is as long. */
static size_t generate_key_bytes(struct postern_driver *hooks, const psa_key_attributes_t *attributes)
{
	(void)hooks;
	if (is_x25519(attributes))
		return 2 * X25519_BYTES;
	if (is_p256(attributes))
		return P256_BYTES + P256_POINT_BYTES;
	return 0;
}

static psa_status_t generate_key(struct postern_driver *hooks, const psa_key_attributes_t *attributes, uint8_t *key,
	size_t key_size, size_t *key_bytes)
{
	size_t n = generate_key_bytes(hooks, attributes);

	/* Without the room it is a key for signatures, or one that may be exported, and has to be in PSA's form. */
	if (n == 0 || key_size != n)
		return PSA_ERROR_NOT_SUPPORTED;
	*key_bytes = n;
	return is_x25519(attributes) ? x25519_generate(driver_of(hooks), key) : p256_generate(driver_of(hooks), key);
}

static psa_status_t copy_out(const uint8_t *from, size_t n, uint8_t *data, size_t data_size, size_t *data_bytes)
{
	if (data_size < n)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	memcpy(data, from, n);
	*data_bytes = n;
	return PSA_SUCCESS;
}

static struct driver_key *key_behind(const uint8_t *key, size_t n)
{
	struct driver_key *behind;

	check(n == sizeof behind);
	memcpy(&behind, key, sizeof behind);
	check(behind->magic == KEY_MAGIC);
	return behind;
}

static psa_status_t export_public_key(struct postern_driver *hooks, const psa_key_attributes_t *attributes,
	const uint8_t *key, size_t key_bytes, uint8_t *data, size_t data_size, size_t *data_bytes)
{
	if (PSA_KEY_LIFETIME_GET_LOCATION(psa_get_key_lifetime(attributes)) == POSTERN_KEY_LOCATION) {
		struct driver_key *behind = key_behind(key, key_bytes);

		return copy_out(behind->public_half, behind->public_bytes, data, data_size, data_bytes);
	}
	if (key_bytes != generate_key_bytes(hooks, attributes))
		return PSA_ERROR_NOT_SUPPORTED;
	if (is_x25519(attributes))
		return copy_out(key + X25519_BYTES, X25519_BYTES, data, data_size, data_bytes);
	return copy_out(key + P256_BYTES, P256_POINT_BYTES, data, data_size, data_bytes);
}

static psa_status_t key_agreement(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *peer, size_t peer_bytes, uint8_t *secret,
	size_t secret_size, size_t *secret_bytes)
{
	static_assert(X25519_BYTES == P256_BYTES, "both secrets are of one length");

	if (!PSA_ALG_IS_ECDH(algorithm) || key_bytes != generate_key_bytes(hooks, attributes))
		return PSA_ERROR_NOT_SUPPORTED;
	if (secret_size < P256_BYTES)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	*secret_bytes = P256_BYTES;
	return is_x25519(attributes) ? x25519_agree(driver_of(hooks), key, peer, peer_bytes, secret)
	                             : p256_agree(driver_of(hooks), key, peer, peer_bytes, secret);
}

/* ---- signatures, what both sides need ---- */

static enum hash hash_of(psa_algorithm_t algorithm)
{
	switch (PSA_ALG_SIGN_GET_HASH(algorithm)) {
	case PSA_ALG_SHA_256:
		return SHA_256;
	case PSA_ALG_SHA_384:
		return SHA_384;
	case PSA_ALG_SHA_512:
		return SHA_512;
	default:
		return HASHES;
	}
}

static bool is_rsa_signature(psa_algorithm_t algorithm)
{
	return PSA_ALG_IS_RSA_PSS(algorithm) || PSA_ALG_IS_RSA_PKCS1V15_SIGN(algorithm);
}

/* `salt`: a length, or one of libcrypto's words for one. MGF1 is with the signature's own hash, as it is where nothing else
 * is said. */
static bool rsa_pad(EVP_PKEY_CTX *context, const struct driver *d, enum hash hash, bool pss, int salt)
{
	return EVP_PKEY_CTX_set_rsa_padding(context, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1 &&
		EVP_PKEY_CTX_set_signature_md(context, d->hashes[hash]) == 1 &&
		(!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1);
}

/* ---- signing, with keys at our own location ---- */

static psa_status_t import_key(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *data,
	size_t data_bytes, uint8_t *key, size_t key_size, size_t *key_bytes, size_t *bits)
{
	struct driver_key *behind = key_behind(data, data_bytes);

	check(behind->driver == driver_of(hooks));
	if (psa_get_key_type(attributes) != (behind->rsa ? PSA_KEY_TYPE_RSA_KEY_PAIR
	                                                 : PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1)))
		return PSA_ERROR_INVALID_ARGUMENT;
	*bits = behind->bits;
	return copy_out(data, data_bytes, key, key_size, key_bytes);
}

static EVP_PKEY_CTX *signing_of(struct driver_key *key, enum hash hash, bool pss)
{
	EVP_PKEY_CTX **place = &key->signing[pss][hash], *made = *place;

	if (made)
		return made;
	made = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	/* RFC 8446 §4.2.3: "the length of the Salt MUST be equal to the length of the output of the digest algorithm". */
	if (made && EVP_PKEY_sign_init(made) == 1 &&
		(!key->rsa || rsa_pad(made, key->driver, hash, pss, RSA_PSS_SALTLEN_DIGEST)))
		return *place = made;
	EVP_PKEY_CTX_free(made);
	return NULL;
}

/* libcrypto's signature is RFC 3279's SEQUENCE of two INTEGERs, PSA's the two numbers side by side at full length. */
static bool ecdsa_flatten(const uint8_t *der, size_t n, uint8_t *signature)
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)n);
	bool done = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, (int)P256_BYTES) == (int)P256_BYTES &&
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + P256_BYTES, (int)P256_BYTES) == (int)P256_BYTES;

	ECDSA_SIG_free(pair);
	return done;
}

static psa_status_t ecdsa_sign(struct driver_key *key, const uint8_t *hash, size_t hash_bytes, uint8_t *signature,
	size_t signature_size, size_t *signature_bytes)
{
	EVP_PKEY_CTX *signing = signing_of(key, 0, false);
	uint8_t der[2 * P256_BYTES + 16];
	size_t n = sizeof der;

	if (signature_size < 2 * P256_BYTES)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	if (!signing || EVP_PKEY_sign(signing, der, &n, hash, hash_bytes) != 1 || !ecdsa_flatten(der, n, signature))
		return refused(PSA_ERROR_GENERIC_ERROR);
	*signature_bytes = 2 * P256_BYTES;
	return PSA_SUCCESS;
}

static psa_status_t sign_hash(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *hash, size_t hash_bytes, uint8_t *signature,
	size_t signature_size, size_t *signature_bytes)
{
	struct driver_key *behind = key_behind(key, key_bytes);
	EVP_PKEY_CTX *signing;

	(void)attributes;
	check(behind->driver == driver_of(hooks));
	if (!behind->rsa)
		return PSA_ALG_IS_RANDOMIZED_ECDSA(algorithm)
		               ? ecdsa_sign(behind, hash, hash_bytes, signature, signature_size, signature_bytes)
		               : PSA_ERROR_NOT_SUPPORTED;
	if (!is_rsa_signature(algorithm) || hash_of(algorithm) == HASHES)
		return PSA_ERROR_NOT_SUPPORTED;
	if (signature_size < (behind->bits + 7) / 8)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	signing = signing_of(behind, hash_of(algorithm), PSA_ALG_IS_RSA_PSS(algorithm));
	*signature_bytes = signature_size;
	/* libcrypto blinds, and checks what came out of the Chinese remainders, by itself. */
	if (!signing || EVP_PKEY_sign(signing, signature, signature_bytes, hash, hash_bytes) != 1) {
		*signature_bytes = 0;
		return refused(PSA_ERROR_GENERIC_ERROR);
	}
	return PSA_SUCCESS;
}

/* ---- verifying ---- */

static psa_status_t verified(EVP_PKEY_CTX *context, const uint8_t *signature, size_t n, const uint8_t *hash, size_t hash_bytes)
{
	return EVP_PKEY_verify(context, signature, n, hash, hash_bytes) == 1 ? PSA_SUCCESS : refused(PSA_ERROR_INVALID_SIGNATURE);
}

/* The way back from ecdsa_flatten, for any curve. Bytes of DER; 0: no memory. */
static size_t ecdsa_wrap(const uint8_t *signature, size_t half, uint8_t *der)
{
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, (int)half, NULL), *s = BN_bin2bn(signature + half, (int)half, NULL);
	int n = 0;

	if (pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1) {
		n = i2d_ECDSA_SIG(pair, &der);
		r = s = NULL;            /* they are the pair's now */
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(pair);
	return n > 0 ? (size_t)n : 0;
}

static psa_status_t ecdsa_verify(struct driver *d, enum curve curve, const uint8_t *key, size_t key_bytes, const uint8_t *hash,
	size_t hash_bytes, const uint8_t *signature, size_t signature_bytes)
{
	size_t half = curve == P_256 ? P256_BYTES : COORDINATE_BYTES_MAX, n;
	uint8_t der[2 * COORDINATE_BYTES_MAX + 16];
	EVP_PKEY_CTX *context;
	psa_status_t status;

	if (signature_bytes != 2 * half || (n = ecdsa_wrap(signature, half, der)) == 0)
		return refused(PSA_ERROR_INVALID_SIGNATURE);
	/* Checks that the point is on the curve; a context is made after it, because it may keep what it has seen of a key. */
	if (EVP_PKEY_set1_encoded_public_key(d->curves[curve], key, key_bytes) != 1)
		return refused(PSA_ERROR_INVALID_ARGUMENT);
	context = EVP_PKEY_CTX_new_from_pkey(NULL, d->curves[curve], NULL);
	status = context && EVP_PKEY_verify_init(context) == 1 ? verified(context, der, n, hash, hash_bytes)
	                                                       : refused(PSA_ERROR_INSUFFICIENT_MEMORY);
	EVP_PKEY_CTX_free(context);
	return status;
}

static psa_status_t rsa_verify(struct driver *d, psa_algorithm_t algorithm, const uint8_t *key, size_t key_bytes,
	const uint8_t *hash, size_t hash_bytes, const uint8_t *signature, size_t signature_bytes)
{
	EVP_PKEY *pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &key, (long)key_bytes);
	EVP_PKEY_CTX *context = pkey ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
	int salt = PSA_ALG_IS_RSA_PSS_ANY_SALT(algorithm) ? RSA_PSS_SALTLEN_AUTO : RSA_PSS_SALTLEN_DIGEST;
	psa_status_t status = context && EVP_PKEY_verify_init(context) == 1 &&
			rsa_pad(context, d, hash_of(algorithm), PSA_ALG_IS_RSA_PSS(algorithm), salt)
		? verified(context, signature, signature_bytes, hash, hash_bytes)
		: refused(PSA_ERROR_INVALID_ARGUMENT);

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(pkey);
	return status;
}

/* RSAPublicKey is a modulus and an exponent, 11 bytes of DER around them, and nobody's exponent has more than 64 bits; with one as long as the
 * modulus a stranger makes us do the work of a signature, many times over. */
#define RSA_PUBLIC_EXTRA_MAX (11u + 1u + 8u)

static psa_status_t verify_hash(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *hash, size_t hash_bytes, const uint8_t *signature,
	size_t signature_bytes)
{
	struct driver *d = driver_of(hooks);
	psa_key_type_t type = psa_get_key_type(attributes);
	size_t bits = psa_get_key_bits(attributes);

	if (type == PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1) && PSA_ALG_IS_ECDSA(algorithm) &&
		(bits == 256 || bits == 384))
		return ecdsa_verify(d, bits == 256 ? P_256 : P_384, key, key_bytes, hash, hash_bytes, signature, signature_bytes);
	if (type == PSA_KEY_TYPE_RSA_PUBLIC_KEY && is_rsa_signature(algorithm) && hash_of(algorithm) != HASHES)
		return key_bytes > bits / 8 + RSA_PUBLIC_EXTRA_MAX ? PSA_ERROR_INVALID_SIGNATURE : rsa_verify(d, algorithm, key, key_bytes, hash, hash_bytes, signature, signature_bytes);
	return PSA_ERROR_NOT_SUPPORTED;
}

/* ---- AEAD in one piece: the few records that mbedTLS itself seals and opens, and tickets ---- */

static const uint8_t KEY_ZERO[EVP_MAX_KEY_LENGTH];

static EVP_CIPHER_CTX *cipher_of(struct driver *d, const psa_key_attributes_t *attributes, size_t key_bytes,
	psa_algorithm_t algorithm, size_t nonce_bytes, size_t additional_bytes, size_t from_bytes)
{
	psa_key_type_t type = psa_get_key_type(attributes);

	if (nonce_bytes != 12 || additional_bytes > INT_MAX || from_bytes > INT_MAX)
		return NULL;
	/* Algorithms with a shortened tag are others, and mbedTLS's own. */
	if (type == PSA_KEY_TYPE_AES && algorithm == PSA_ALG_GCM && key_bytes == 16)
		return d->ciphers[AES_128_GCM];
	if (type == PSA_KEY_TYPE_AES && algorithm == PSA_ALG_GCM && key_bytes == 32)
		return d->ciphers[AES_256_GCM];
	if (type == PSA_KEY_TYPE_CHACHA20 && algorithm == PSA_ALG_CHACHA20_POLY1305 && key_bytes == 32)
		return d->ciphers[CHACHA20_POLY1305];
	return NULL;
}

/* The key's expanded form does not outlive the call. */
static void cipher_forget(EVP_CIPHER_CTX *cipher)
{
	check(EVP_CipherInit_ex2(cipher, NULL, KEY_ZERO, NULL, -1, NULL) == 1);
}

/* libcrypto takes an update of no bytes from some ciphers for the end. */
static bool cipher_pass(EVP_CIPHER_CTX *cipher, uint8_t *to, const uint8_t *from, size_t n)
{
	int written;

	return n == 0 || (EVP_CipherUpdate(cipher, to, &written, from, (int)n) == 1 && written == (int)n);
}

static psa_status_t aead_encrypt(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *nonce, size_t nonce_bytes, const uint8_t *additional,
	size_t additional_bytes, const uint8_t *from, size_t from_bytes, uint8_t *to, size_t to_size, size_t *to_bytes)
{
	EVP_CIPHER_CTX *cipher = cipher_of(driver_of(hooks), attributes, key_bytes, algorithm, nonce_bytes, additional_bytes,
		from_bytes);
	uint8_t nothing[EVP_MAX_BLOCK_LENGTH];
	int written;
	bool done;

	if (!cipher)
		return PSA_ERROR_NOT_SUPPORTED;
	if (to_size < from_bytes + 16)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	done = EVP_CipherInit_ex2(cipher, NULL, key, nonce, 1, NULL) == 1 &&
		cipher_pass(cipher, NULL, additional, additional_bytes) && cipher_pass(cipher, to, from, from_bytes) &&
		EVP_CipherFinal_ex(cipher, nothing, &written) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, to + from_bytes) == 1;
	cipher_forget(cipher);
	if (!done)
		return refused(PSA_ERROR_GENERIC_ERROR);
	*to_bytes = from_bytes + 16;
	return PSA_SUCCESS;
}

static psa_status_t aead_decrypt(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *nonce, size_t nonce_bytes, const uint8_t *additional,
	size_t additional_bytes, const uint8_t *from, size_t from_bytes, uint8_t *to, size_t to_size, size_t *to_bytes)
{
	EVP_CIPHER_CTX *cipher = cipher_of(driver_of(hooks), attributes, key_bytes, algorithm, nonce_bytes, additional_bytes,
		from_bytes);
	uint8_t nothing[EVP_MAX_BLOCK_LENGTH], tag[16];
	int written;
	size_t n;
	bool done;

	if (!cipher)
		return PSA_ERROR_NOT_SUPPORTED;
	if (from_bytes < sizeof tag)
		return PSA_ERROR_INVALID_SIGNATURE;
	n = from_bytes - sizeof tag;
	if (to_size < n)
		return PSA_ERROR_BUFFER_TOO_SMALL;
	/* Before anything is written: `to` may be `from`. The comparison is libcrypto's, and takes the same time always. */
	memcpy(tag, from + n, sizeof tag);
	done = EVP_CipherInit_ex2(cipher, NULL, key, nonce, 0, NULL) == 1 &&
		cipher_pass(cipher, NULL, additional, additional_bytes) && cipher_pass(cipher, to, from, n) &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
		EVP_CipherFinal_ex(cipher, nothing, &written) == 1;
	cipher_forget(cipher);
	if (!done) {
		OPENSSL_cleanse(to, n);      /* nobody may see what is not genuine */
		return refused(PSA_ERROR_INVALID_SIGNATURE);
	}
	*to_bytes = n;
	return PSA_SUCCESS;
}

/* ---- SHA-2 ---- */

/* A context on the stack, started from mbedTLS's state: with no bytes waiting in it, whole blocks go straight to the code for
 * this processor (with its SHA instructions, if it has them). Its length counters count for nobody. */
static void sha256_blocks(struct postern_driver *hooks, uint32_t state[8], const uint8_t *blocks, size_t count)
{
	SHA256_CTX c;

	(void)hooks;
	static_assert(sizeof c.h == 8 * sizeof *state, "SHA_LONG has 32 bits");
	memcpy(c.h, state, sizeof c.h);
	c.Nl = c.Nh = 0;
	c.num = 0;
	SHA256_Update(&c, blocks, count * SHA256_CBLOCK);
	memcpy(state, c.h, sizeof c.h);
	OPENSSL_cleanse(c.h, sizeof c.h);    /* of an HMAC it is as good as the key */
}

static void sha512_blocks(struct postern_driver *hooks, uint64_t state[8], const uint8_t *blocks, size_t count)
{
	SHA512_CTX c;

	(void)hooks;
	static_assert(sizeof c.h == 8 * sizeof *state, "SHA_LONG64 has 64 bits");
	memcpy(c.h, state, sizeof c.h);
	c.Nl = c.Nh = 0;
	c.num = 0;
	SHA512_Update(&c, blocks, count * SHA512_CBLOCK);
	memcpy(state, c.h, sizeof c.h);
	OPENSSL_cleanse(c.h, sizeof c.h);
}

/* ---- keys of certificates ---- */

struct driver_key *driver_key_new(struct driver *driver, const uint8_t *der, size_t n)
{
	struct driver_key *key = calloc(1, sizeof *key);
	int bytes;

	check(driver->magic == DRIVER_MAGIC && key);
	key->magic = KEY_MAGIC;
	key->driver = driver;
	driver->keys++;
	/* By the kind that the first bytes show, an RSA key's version and large modulus or an EC key's version 1: to let libcrypto find out costs
	 * four times as much, which counts where a thousand hosts are read again. */
	key->pkey = d2i_PrivateKey(n > 200 ? EVP_PKEY_RSA : EVP_PKEY_EC, NULL, &der, (long)n);
	bytes = key->pkey ? i2d_PublicKey(key->pkey, &key->public_half) : -1;
	if (bytes <= 0) {
		ERR_clear_error();
		driver_key_free(key);
		return NULL;
	}
	key->public_bytes = (size_t)bytes;
	key->bits = (unsigned)EVP_PKEY_get_bits(key->pkey);
	key->rsa = EVP_PKEY_is_a(key->pkey, "RSA") == 1;
	ERR_clear_error();                   /* it may try several forms, and leaves word of each */
	return key;
}

void driver_key_free(struct driver_key *key)
{
	if (!key)
		return;
	check(key->magic == KEY_MAGIC && key->driver->keys > 0);
	key->driver->keys--;
	for (unsigned pss = 0; pss < 2; pss++)
		for (unsigned hash = 0; hash < HASHES; hash++)
			EVP_PKEY_CTX_free(key->signing[pss][hash]);
	EVP_PKEY_free(key->pkey);            /* which zeroises the private half */
	OPENSSL_free(key->public_half);
	key->magic = 0;
	free(key);
}

/* ---- the whole ---- */

static bool x25519_init(struct driver *d)
{
	static const uint8_t NINE[X25519_BYTES] = { 9 };

	d->x25519 = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
	if (!d->x25519 || EVP_PKEY_fromdata_init(d->x25519) != 1 || !(d->x25519_base = x25519_key(d, NULL, NINE)))
		return false;
	d->x25519_shortcut = true;
	if (x25519_proven(d))
		return true;
	d->x25519_shortcut = false;
	return x25519_proven(d);
}

static bool p256_init(struct driver *d)
{
	d->p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	d->bn = BN_CTX_new();
	d->scalar = BN_new();
	if (!d->p256 || !d->bn || !d->scalar)
		return false;
	BN_set_flags(d->scalar, BN_FLG_CONSTTIME);
	d->point = EC_POINT_new(d->p256);
	d->product = EC_POINT_new(d->p256);
	return d->point && d->product;
}

static bool curve_init(struct driver *d, enum curve curve)
{
	OSSL_PARAM name[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)CURVE_NAMES[curve], 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	bool done = context && EVP_PKEY_fromdata_init(context) == 1 &&
		EVP_PKEY_fromdata(context, &d->curves[curve], EVP_PKEY_KEY_PARAMETERS, name) == 1;

	EVP_PKEY_CTX_free(context);
	return done;
}

static bool cipher_init(struct driver *d, enum cipher cipher)
{
	EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, CIPHER_NAMES[cipher], NULL);
	bool done;

	d->ciphers[cipher] = EVP_CIPHER_CTX_new();
	/* Twelve bytes of nonce are the usual for all three, so nothing is said about its length. */
	done = fetched && d->ciphers[cipher] && EVP_CipherInit_ex2(d->ciphers[cipher], fetched, KEY_ZERO, NULL, 1, NULL) == 1;
	EVP_CIPHER_free(fetched);            /* the context holds it */
	return done;
}

/* The name of what is missing; NULL: nothing. */
static const char *driver_fill(struct driver *d)
{
	if (!x25519_init(d))
		return "X25519";
	if (!p256_init(d))
		return "P-256";
	for (unsigned i = 0; i < CURVES; i++)
		if (!curve_init(d, i))
			return CURVE_NAMES[i];
	for (unsigned i = 0; i < HASHES; i++)
		if (!(d->hashes[i] = EVP_MD_fetch(NULL, HASH_NAMES[i], NULL)))
			return HASH_NAMES[i];
	for (unsigned i = 0; i < CIPHERS; i++)
		if (!cipher_init(d, i))
			return CIPHER_NAMES[i];
	return NULL;
}

static const struct postern_driver HOOKS = {
	.generate_key_bytes = generate_key_bytes,
	.generate_key = generate_key,
	.export_public_key = export_public_key,
	.key_agreement = key_agreement,
	.import_key = import_key,
	.sign_hash = sign_hash,
	.verify_hash = verify_hash,
	.aead_encrypt = aead_encrypt,
	.aead_decrypt = aead_decrypt,
	.sha256_blocks = sha256_blocks,
	.sha512_blocks = sha512_blocks,
};

struct driver *driver_new(const char **missing)
{
	struct driver *d = calloc(1, sizeof *d);

	check(d && !postern_driver_get());
	d->magic = DRIVER_MAGIC;
	d->hooks = HOOKS;
	*missing = driver_fill(d);
	if (*missing) {
		ERR_clear_error();
		driver_free(d);
		return NULL;
	}
	postern_driver_set(&d->hooks);
	return d;
}

void driver_free(struct driver *d)
{
	if (!d)
		return;
	check(d->magic == DRIVER_MAGIC && d->keys == 0);
	if (postern_driver_get() == &d->hooks)
		postern_driver_set(NULL);
	EVP_PKEY_free(d->x25519_base);
	EVP_PKEY_CTX_free(d->x25519);
	EC_POINT_free(d->point);
	EC_POINT_clear_free(d->product);
	BN_clear_free(d->scalar);
	BN_CTX_free(d->bn);
	EC_GROUP_free(d->p256);
	for (unsigned i = 0; i < CURVES; i++)
		EVP_PKEY_free(d->curves[i]);
	for (unsigned i = 0; i < HASHES; i++)
		EVP_MD_free(d->hashes[i]);
	for (unsigned i = 0; i < CIPHERS; i++)
		EVP_CIPHER_CTX_free(d->ciphers[i]);
	d->magic = 0;
	free(d);
}
