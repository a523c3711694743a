/* The driver through PSA's own functions, as mbedTLS's handshake calls them: against published vectors, and against mbedTLS
 * alone, which is the same library with no driver set. */
#include "tls/crypto/libcrypto/driver.c"

#include "mbedtls/psa_util.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct driver *driver;

static void with_driver(void)
{
	postern_driver_set(&driver->hooks);
}

static void alone(void)
{
	postern_driver_set(NULL);
}

static void setup(void)
{
	const char *missing;

	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	driver = driver_new(&missing);
	cr_assert(driver, "missing: %s", missing);
	cr_assert_eq(postern_driver_get(), &driver->hooks);
}

static void teardown(void)
{
	cr_assert_eq(ERR_peek_error(), 0, "nothing is left in libcrypto's queue");
	driver_free(driver);
	cr_assert_null(postern_driver_get());
	mbedtls_psa_crypto_free();
}

TestSuite(tls_driver, .init = setup, .fini = teardown);

/* As many bytes as the text has pairs of digits. */
static size_t unhex(const char *text, uint8_t *to)
{
	size_t n = 0;
	unsigned byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		to[n++] = (uint8_t)byte;
	return n;
}

static void random_fill(void *to, size_t n)
{
	cr_assert_eq(psa_generate_random(to, n), PSA_SUCCESS);
}

/* ---- key exchange ---- */

enum group { X25519, SECP256R1, GROUPS };

static psa_key_attributes_t agreement_attributes(enum group group, psa_key_usage_t usage)
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

	psa_set_key_usage_flags(&attributes, usage);
	psa_set_key_algorithm(&attributes, PSA_ALG_ECDH);
	psa_set_key_type(&attributes, group == X25519 ? PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_MONTGOMERY)
	                                              : PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
	psa_set_key_bits(&attributes, group == X25519 ? 255 : 256);
	return attributes;
}

struct share {
	psa_key_id_t id;
	uint8_t public_half[P256_POINT_BYTES];
	size_t n;
};

static struct share share_make(enum group group, psa_key_usage_t usage)
{
	psa_key_attributes_t attributes = agreement_attributes(group, usage);
	struct share share;

	cr_assert_eq(psa_generate_key(&attributes, &share.id), PSA_SUCCESS);
	cr_assert_eq(psa_export_public_key(share.id, share.public_half, sizeof share.public_half, &share.n), PSA_SUCCESS);
	cr_assert_eq(share.n, group == X25519 ? X25519_BYTES : P256_POINT_BYTES);
	return share;
}

static psa_status_t agree(psa_key_id_t id, const uint8_t *peer, size_t peer_bytes, uint8_t secret[32])
{
	size_t n;

	return psa_raw_key_agreement(PSA_ALG_ECDH, id, peer, peer_bytes, secret, 32, &n);
}

Test(tls_driver, x25519_is_that_of_rfc_7748_section_5_2)
{
	static const struct {
		const char *scalar, *point, *product;
	} VECTORS[] = {
		{ "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
		{ "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957" },
	};

	for (unsigned i = 0; i < array_count(VECTORS); i++) {
		uint8_t key[64] = { 0 }, point[32], product[32], secret[32];

		unhex(VECTORS[i].scalar, key);
		unhex(VECTORS[i].point, point);
		unhex(VECTORS[i].product, product);
		cr_assert_eq(x25519_agree(driver, key, point, 32, secret), PSA_SUCCESS);
		cr_assert_arr_eq(secret, product, 32);
	}
}

Test(tls_driver, x25519_is_that_of_rfc_7748_section_6_1)
{
	uint8_t alice[64], bob[64], alice_public[32], bob_public[32], secret[32], theirs[32];

	unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", alice);
	unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", alice_public);
	unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", bob);
	unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", bob_public);
	unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", secret);
	for (unsigned shortcut = 0; shortcut < 2; shortcut++) {
		driver->x25519_shortcut = shortcut;
		cr_assert(x25519_public(driver, alice, alice + 32));
		cr_assert(x25519_public(driver, bob, bob + 32));
		cr_assert_arr_eq(alice + 32, alice_public, 32);
		cr_assert_arr_eq(bob + 32, bob_public, 32);
		cr_assert_eq(x25519_agree(driver, alice, bob_public, 32, theirs), PSA_SUCCESS);
		cr_assert_arr_eq(theirs, secret, 32);
		cr_assert_eq(x25519_agree(driver, bob, alice_public, 32, theirs), PSA_SUCCESS);
		cr_assert_arr_eq(theirs, secret, 32);
	}
}

Test(tls_driver, this_libcrypto_takes_the_shortcut_to_a_public_half)
{
	cr_assert(driver->x25519_shortcut);
}

/* NIST CAVS, "KAS_ECC_CDH_PrimitiveTest", P-256, count 0. */
Test(tls_driver, p256_is_that_of_nist)
{
	uint8_t key[P256_BYTES + P256_POINT_BYTES] = { 0 }, peer[P256_POINT_BYTES] = { 4 }, secret[32], theirs[32];

	unhex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534", key);
	unhex("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
	      "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac", peer + 1);
	unhex("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b", secret);
	cr_assert_eq(p256_agree(driver, key, peer, sizeof peer, theirs), PSA_SUCCESS);
	cr_assert_arr_eq(theirs, secret, 32);
	cr_assert(BN_is_zero(driver->scalar), "the private half is not kept");
}

Test(tls_driver, keys_of_the_driver_agree_with_keys_of_mbedtls_alone)
{
	for (enum group group = 0; group < GROUPS; group++) {
		for (unsigned round = 0; round < 20; round++) {
			struct share ours, theirs;
			uint8_t one[32], other[32];

			with_driver();
			ours = share_make(group, PSA_KEY_USAGE_DERIVE);
			alone();
			theirs = share_make(group, PSA_KEY_USAGE_DERIVE);
			cr_assert_eq(agree(theirs.id, ours.public_half, ours.n, one), PSA_SUCCESS);
			with_driver();
			cr_assert_eq(agree(ours.id, theirs.public_half, theirs.n, other), PSA_SUCCESS);
			cr_assert_arr_eq(one, other, 32);
			psa_destroy_key(ours.id);
			psa_destroy_key(theirs.id);
		}
	}
}

Test(tls_driver, no_two_keys_are_alike)
{
	for (enum group group = 0; group < GROUPS; group++) {
		struct share one = share_make(group, PSA_KEY_USAGE_DERIVE), other = share_make(group, PSA_KEY_USAGE_DERIVE);

		cr_assert_arr_neq(one.public_half, other.public_half, one.n);
		psa_destroy_key(one.id);
		psa_destroy_key(other.id);
	}
}

/* RFC 7748 §6.1; the list is that of the points of small order, and of the numbers that are the same after reduction. */
Test(tls_driver, a_shared_secret_of_zeros_is_refused)
{
	static const char *const POINTS[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	struct share share = share_make(X25519, PSA_KEY_USAGE_DERIVE);

	for (unsigned i = 0; i < array_count(POINTS); i++) {
		uint8_t point[32], secret[32];

		unhex(POINTS[i], point);
		cr_assert_neq(agree(share.id, point, 32, secret), PSA_SUCCESS, "%s", POINTS[i]);
		point[31] |= 0x80;               /* RFC 7748 §5: the last bit is masked, and so changes nothing */
		cr_assert_neq(agree(share.id, point, 32, secret), PSA_SUCCESS, "%s", POINTS[i]);
	}
	psa_destroy_key(share.id);
}

Test(tls_driver, a_public_key_that_is_none_is_refused)
{
	uint8_t secret[32], wrong[P256_POINT_BYTES + 1];

	for (enum group group = 0; group < GROUPS; group++) {
		struct share ours = share_make(group, PSA_KEY_USAGE_DERIVE), theirs = share_make(group, PSA_KEY_USAGE_DERIVE);

		memcpy(wrong, theirs.public_half, theirs.n);
		wrong[theirs.n] = 0;
		for (size_t n = 0; n <= theirs.n + 1; n++)
			cr_assert_eq(agree(ours.id, wrong, n, secret) == PSA_SUCCESS, n == theirs.n, "%zu bytes", n);
		if (group == SECP256R1) {
			wrong[0] = (uint8_t)(2 + (wrong[64] & 1));      /* compressed: right, but not in TLS 1.3 */
			cr_assert_neq(agree(ours.id, wrong, 33, secret), PSA_SUCCESS);
			wrong[0] = (uint8_t)(6 + (wrong[64] & 1));      /* hybrid */
			cr_assert_neq(agree(ours.id, wrong, 65, secret), PSA_SUCCESS);
			for (unsigned bit = 0; bit < 512; bit++) {      /* off the curve */
				memcpy(wrong, theirs.public_half, theirs.n);
				wrong[1 + bit / 8] ^= (uint8_t)(1 << bit % 8);
				cr_assert_neq(agree(ours.id, wrong, 65, secret), PSA_SUCCESS);
			}
			memset(wrong + 1, 0, 64);
			cr_assert_neq(agree(ours.id, wrong, 65, secret), PSA_SUCCESS);
			memset(wrong + 1, 0xff, 64);                    /* above the field's prime */
			cr_assert_neq(agree(ours.id, wrong, 65, secret), PSA_SUCCESS);
		}
		cr_assert_eq(agree(ours.id, theirs.public_half, theirs.n, secret), PSA_SUCCESS);
		psa_destroy_key(ours.id);
		psa_destroy_key(theirs.id);
	}
}

Test(tls_driver, a_key_in_our_form_is_neither_exported_nor_copied)
{
	for (enum group group = 0; group < GROUPS; group++) {
		struct share share = share_make(group, PSA_KEY_USAGE_DERIVE);
		psa_key_attributes_t attributes = agreement_attributes(group, PSA_KEY_USAGE_DERIVE);
		psa_key_id_t copy;
		uint8_t bytes[256];
		size_t n;

		cr_assert_eq(psa_export_key(share.id, bytes, sizeof bytes, &n), PSA_ERROR_NOT_PERMITTED);
		cr_assert_eq(psa_copy_key(share.id, &attributes, &copy), PSA_ERROR_NOT_PERMITTED);
		psa_destroy_key(share.id);
	}
}

Test(tls_driver, a_key_in_our_form_is_refused_without_the_driver_and_not_misread)
{
	for (enum group group = 0; group < GROUPS; group++) {
		struct share share = share_make(group, PSA_KEY_USAGE_DERIVE);
		uint8_t bytes[256];
		size_t n;

		alone();
		cr_assert_neq(psa_export_public_key(share.id, bytes, sizeof bytes, &n), PSA_SUCCESS);
		cr_assert_neq(agree(share.id, share.public_half, share.n, bytes), PSA_SUCCESS);
		with_driver();
		cr_assert_eq(agree(share.id, share.public_half, share.n, bytes), PSA_SUCCESS);
		psa_destroy_key(share.id);
	}
}

Test(tls_driver, keys_that_may_be_exported_are_in_the_form_of_psa)
{
	for (enum group group = 0; group < GROUPS; group++) {
		struct share share = share_make(group, PSA_KEY_USAGE_DERIVE | PSA_KEY_USAGE_EXPORT);
		psa_key_attributes_t attributes = agreement_attributes(group, PSA_KEY_USAGE_DERIVE);
		struct share other = share_make(group, PSA_KEY_USAGE_DERIVE);
		psa_key_id_t again;
		uint8_t bytes[256], one[32], two[32];
		size_t n;

		cr_assert_eq(psa_export_key(share.id, bytes, sizeof bytes, &n), PSA_SUCCESS);
		cr_assert_eq(n, 32);
		cr_assert_eq(psa_import_key(&attributes, bytes, n, &again), PSA_SUCCESS);
		cr_assert_eq(agree(again, other.public_half, other.n, one), PSA_SUCCESS);
		cr_assert_eq(agree(other.id, share.public_half, share.n, two), PSA_SUCCESS);
		cr_assert_arr_eq(one, two, 32);
		psa_destroy_key(share.id);
		psa_destroy_key(again);
		psa_destroy_key(other.id);
	}
}

Test(tls_driver, a_curve_that_the_driver_has_not_is_computed_by_mbedtls)
{
	psa_key_attributes_t attributes = agreement_attributes(SECP256R1, PSA_KEY_USAGE_DERIVE);
	psa_key_id_t id;
	uint8_t point[97], secret[48];
	size_t n;

	psa_set_key_bits(&attributes, 384);
	cr_assert_eq(psa_generate_key(&attributes, &id), PSA_SUCCESS);
	cr_assert_eq(psa_export_public_key(id, point, sizeof point, &n), PSA_SUCCESS);
	cr_assert_eq(psa_raw_key_agreement(PSA_ALG_ECDH, id, point, n, secret, sizeof secret, &n), PSA_SUCCESS);
	psa_destroy_key(id);
}

/* ---- signatures ---- */

static psa_key_id_t public_import(psa_key_type_t type, psa_algorithm_t algorithm, const uint8_t *bytes, size_t n)
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
	psa_key_id_t id;

	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_HASH);
	psa_set_key_algorithm(&attributes, algorithm);
	psa_set_key_type(&attributes, type);
	cr_assert_eq(psa_import_key(&attributes, bytes, n, &id), PSA_SUCCESS);
	return id;
}

static size_t hash_make(psa_algorithm_t algorithm, const char *text, uint8_t hash[64])
{
	size_t n;

	cr_assert_eq(psa_hash_compute(algorithm, (const uint8_t *)text, strlen(text), hash, 64, &n), PSA_SUCCESS);
	return n;
}

/* RFC 6979 A.2.5 and A.2.6, the message "sample". */
static const struct ecdsa_vector {
	psa_algorithm_t hash;
	unsigned half;
	const char *key, *signature;
} ECDSA[] = {
	{ PSA_ALG_SHA_256, 32,
		"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
		"7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
		"efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8" },
	{ PSA_ALG_SHA_384, 48,
		"ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13"
		"8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
		"94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
		"99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8" },
};

static psa_key_id_t ecdsa_import(const struct ecdsa_vector *v)
{
	uint8_t key[97] = { 4 };

	unhex(v->key, key + 1);
	return public_import(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDSA_ANY, key, 1 + 2 * v->half);
}

Test(tls_driver, ecdsa_signatures_of_rfc_6979_are_genuine_and_changed_ones_not)
{
	for (unsigned i = 0; i < array_count(ECDSA); i++) {
		const struct ecdsa_vector *v = &ECDSA[i];
		psa_key_id_t id = ecdsa_import(v);
		uint8_t hash[64], signature[96];
		size_t n = hash_make(v->hash, "sample", hash);

		unhex(v->signature, signature);
		cr_assert_eq(psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, n, signature, 2 * v->half), PSA_SUCCESS);
		for (unsigned bit = 0; bit < 16 * v->half; bit += 5) {
			signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_assert_eq(psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, n, signature, 2 * v->half), PSA_ERROR_INVALID_SIGNATURE);
			signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t bytes = 0; bytes < 2 * v->half; bytes++)
			cr_assert_neq(psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, n, signature, bytes), PSA_SUCCESS);
		hash[0] ^= 1;
		cr_assert_eq(psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, n, signature, 2 * v->half), PSA_ERROR_INVALID_SIGNATURE);
		hash[0] ^= 1;
		/* FIPS 186-4 §6.4: r and s are in 1 to n-1. */
		memset(signature, 0, 2 * v->half);
		cr_assert_eq(psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, n, signature, 2 * v->half), PSA_ERROR_INVALID_SIGNATURE);
		psa_destroy_key(id);
	}
}

/* The curve's object is kept from one verification to the next, its key is not. */
Test(tls_driver, a_signature_is_verified_with_its_own_key_and_not_with_the_one_before)
{
	uint8_t hash[64], signature[64], point[65];
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
	psa_key_id_t right = ecdsa_import(&ECDSA[0]), wrong, pair;
	size_t n = hash_make(PSA_ALG_SHA_256, "sample", hash), point_bytes;

	psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
	psa_set_key_bits(&attributes, 256);
	cr_assert_eq(psa_generate_key(&attributes, &pair), PSA_SUCCESS);
	cr_assert_eq(psa_export_public_key(pair, point, sizeof point, &point_bytes), PSA_SUCCESS);
	wrong = public_import(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDSA_ANY, point, point_bytes);
	unhex(ECDSA[0].signature, signature);
	for (unsigned round = 0; round < 3; round++) {
		cr_assert_eq(psa_verify_hash(right, PSA_ALG_ECDSA_ANY, hash, n, signature, 64), PSA_SUCCESS);
		cr_assert_eq(psa_verify_hash(wrong, PSA_ALG_ECDSA_ANY, hash, n, signature, 64), PSA_ERROR_INVALID_SIGNATURE);
	}
	psa_destroy_key(right);
	psa_destroy_key(wrong);
	psa_destroy_key(pair);
}

static const psa_algorithm_t HASH_ALGORITHMS[] = { PSA_ALG_SHA_256, PSA_ALG_SHA_384, PSA_ALG_SHA_512 };

static EVP_PKEY *pair_make(unsigned rsa_bits)
{
	EVP_PKEY *pair = rsa_bits ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)rsa_bits) : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

	cr_assert(pair);
	return pair;
}

static struct driver_key *driver_key_of(EVP_PKEY *pair, psa_key_id_t *id)
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
	uint8_t *der = NULL;
	int n = i2d_PrivateKey(pair, &der);
	struct driver_key *key = driver_key_new(driver, der, (size_t)n);

	cr_assert(key);
	OPENSSL_free(der);
	psa_set_key_lifetime(&attributes, POSTERN_KEY_LIFETIME);
	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH);
	if (key->rsa) {
		psa_set_key_type(&attributes, PSA_KEY_TYPE_RSA_KEY_PAIR);
		psa_set_key_algorithm(&attributes, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_ANY_HASH));
		psa_set_key_enrollment_algorithm(&attributes, PSA_ALG_RSA_PSS(PSA_ALG_ANY_HASH));
	} else {
		psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
		psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
	}
	cr_assert_eq(psa_import_key(&attributes, (const uint8_t *)&key, sizeof key, id), PSA_SUCCESS);
	return key;
}

/* Both ways: the driver signs and mbedTLS alone verifies, and the driver verifies what it signed; a changed one nobody does. */
static void signs(EVP_PKEY *pair, psa_key_type_t public_type, psa_algorithm_t algorithm, psa_algorithm_t hash_algorithm)
{
	psa_key_id_t private_id, public_id;
	struct driver_key *key = driver_key_of(pair, &private_id);
	uint8_t exported[1024], hash[64], signature[512];
	size_t exported_bytes, n, hash_bytes = hash_make(hash_algorithm, "to be signed", hash);

	cr_assert_eq(psa_export_public_key(private_id, exported, sizeof exported, &exported_bytes), PSA_SUCCESS);
	public_id = public_import(public_type, algorithm, exported, exported_bytes);
	for (unsigned round = 0; round < 3; round++) {
		cr_assert_eq(psa_sign_hash(private_id, algorithm, hash, hash_bytes, signature, sizeof signature, &n), PSA_SUCCESS);
		cr_assert_eq(psa_verify_hash(public_id, algorithm, hash, hash_bytes, signature, n), PSA_SUCCESS);
		alone();
		cr_assert_eq(psa_verify_hash(public_id, algorithm, hash, hash_bytes, signature, n), PSA_SUCCESS);
		with_driver();
		signature[round * n / 3] ^= 0x10;
		cr_assert_eq(psa_verify_hash(public_id, algorithm, hash, hash_bytes, signature, n), PSA_ERROR_INVALID_SIGNATURE);
	}
	cr_assert_eq(psa_sign_hash(private_id, algorithm, hash, hash_bytes, signature, n - 1, &n), PSA_ERROR_BUFFER_TOO_SMALL);
	psa_destroy_key(public_id);
	psa_destroy_key(private_id);
	driver_key_free(key);
}

Test(tls_driver, ecdsa_signatures_are_verified_by_mbedtls_alone)
{
	EVP_PKEY *pair = pair_make(0);

	for (unsigned i = 0; i < array_count(HASH_ALGORITHMS); i++)
		signs(pair, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDSA(HASH_ALGORITHMS[i]), HASH_ALGORITHMS[i]);
	EVP_PKEY_free(pair);
}

Test(tls_driver, rsa_signatures_of_both_paddings_are_verified_by_mbedtls_alone)
{
	static const unsigned BITS[] = { 2048, 3072, 4096 };

	for (unsigned size = 0; size < array_count(BITS); size++) {
		EVP_PKEY *pair = pair_make(BITS[size]);

		for (unsigned i = 0; i < array_count(HASH_ALGORITHMS); i++) {
			psa_algorithm_t hash = HASH_ALGORITHMS[i];

			signs(pair, PSA_KEY_TYPE_RSA_PUBLIC_KEY, PSA_ALG_RSA_PSS(hash), hash);
			signs(pair, PSA_KEY_TYPE_RSA_PUBLIC_KEY, PSA_ALG_RSA_PKCS1V15_SIGN(hash), hash);
		}
		EVP_PKEY_free(pair);
	}
}

Test(tls_driver, signatures_of_mbedtls_alone_are_verified)
{
	static const psa_algorithm_t ALGORITHMS[] = {
		PSA_ALG_RSA_PSS(PSA_ALG_SHA_256), PSA_ALG_RSA_PSS_ANY_SALT(PSA_ALG_SHA_256), PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256),
	};
	EVP_PKEY *pair = pair_make(2048);
	uint8_t *der = NULL, *public_der = NULL, hash[64], signature[256];
	int der_bytes = i2d_PrivateKey(pair, &der), public_bytes = i2d_PublicKey(pair, &public_der);
	size_t hash_bytes = hash_make(PSA_ALG_SHA_256, "to be signed", hash), n;

	for (unsigned i = 0; i < array_count(ALGORITHMS); i++) {
		psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
		psa_key_id_t private_id, public_id;

		psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH);
		psa_set_key_algorithm(&attributes, ALGORITHMS[i]);
		psa_set_key_type(&attributes, PSA_KEY_TYPE_RSA_KEY_PAIR);
		cr_assert_eq(psa_import_key(&attributes, der, (size_t)der_bytes, &private_id), PSA_SUCCESS);
		cr_assert_eq(psa_sign_hash(private_id, ALGORITHMS[i], hash, hash_bytes, signature, sizeof signature, &n), PSA_SUCCESS);
		public_id = public_import(PSA_KEY_TYPE_RSA_PUBLIC_KEY, ALGORITHMS[i], public_der, (size_t)public_bytes);
		cr_assert_eq(psa_verify_hash(public_id, ALGORITHMS[i], hash, hash_bytes, signature, n), PSA_SUCCESS);
		cr_assert_neq(psa_verify_hash(public_id, ALGORITHMS[i], hash, hash_bytes, signature, n - 1), PSA_SUCCESS);
		hash[5] ^= 1;
		cr_assert_eq(psa_verify_hash(public_id, ALGORITHMS[i], hash, hash_bytes, signature, n), PSA_ERROR_INVALID_SIGNATURE);
		hash[5] ^= 1;
		psa_destroy_key(private_id);
		psa_destroy_key(public_id);
	}
	OPENSSL_free(der);
	OPENSSL_free(public_der);
	EVP_PKEY_free(pair);
}

/* RFC 8446 §4.2.3 wants a salt as long as the digest; PSA_ALG_RSA_PSS is exactly that, and ANY_SALT is for certificates. */
Test(tls_driver, a_pss_signature_with_another_salt_is_genuine_for_any_salt_only)
{
	EVP_PKEY *pair = pair_make(2048);
	EVP_PKEY_CTX *signing = EVP_PKEY_CTX_new_from_pkey(NULL, pair, NULL);
	uint8_t *der = NULL, hash[64], signature[256];
	int der_bytes = i2d_PublicKey(pair, &der);
	size_t hash_bytes = hash_make(PSA_ALG_SHA_256, "to be signed", hash), n = sizeof signature;

	cr_assert(EVP_PKEY_sign_init(signing) == 1 && rsa_pad(signing, driver, SHA_256, true, 20));
	cr_assert_eq(EVP_PKEY_sign(signing, signature, &n, hash, hash_bytes), 1);
	for (unsigned any = 0; any < 2; any++) {
		psa_algorithm_t algorithm = any ? PSA_ALG_RSA_PSS_ANY_SALT(PSA_ALG_SHA_256) : PSA_ALG_RSA_PSS(PSA_ALG_SHA_256);
		psa_key_id_t id = public_import(PSA_KEY_TYPE_RSA_PUBLIC_KEY, algorithm, der, (size_t)der_bytes);

		cr_assert_eq(psa_verify_hash(id, algorithm, hash, hash_bytes, signature, n),
			any ? PSA_SUCCESS : PSA_ERROR_INVALID_SIGNATURE);
		psa_destroy_key(id);
	}
	OPENSSL_free(der);
	EVP_PKEY_CTX_free(signing);
	EVP_PKEY_free(pair);
}

Test(tls_driver, a_key_of_a_certificate_is_never_exported_nor_used_for_anything_else)
{
	EVP_PKEY *pair = pair_make(0);
	psa_key_id_t id;
	struct driver_key *key = driver_key_of(pair, &id);
	uint8_t bytes[256], hash[32] = { 0 };
	size_t n;

	cr_assert_neq(psa_export_key(id, bytes, sizeof bytes, &n), PSA_SUCCESS);
	cr_assert_neq(agree(id, bytes, 65, bytes + 100), PSA_SUCCESS);
	cr_assert_neq(psa_sign_hash(id, PSA_ALG_RSA_PSS(PSA_ALG_SHA_256), hash, 32, bytes, sizeof bytes, &n), PSA_SUCCESS);
	alone();
	cr_assert_neq(psa_sign_hash(id, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, bytes, sizeof bytes, &n), PSA_SUCCESS);
	with_driver();
	cr_assert_eq(psa_sign_hash(id, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, bytes, sizeof bytes, &n), PSA_SUCCESS);
	psa_destroy_key(id);
	driver_key_free(key);
	EVP_PKEY_free(pair);
}

Test(tls_driver, what_is_no_private_key_is_refused)
{
	static const uint8_t NONSENSE[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };

	cr_assert_null(driver_key_new(driver, NONSENSE, sizeof NONSENSE));
	cr_assert_null(driver_key_new(driver, NONSENSE, 0));
	cr_assert_eq(driver->keys, 0);
}

/* ---- AEAD ---- */

static const struct aead_vector {
	psa_key_type_t type;
	psa_algorithm_t algorithm;
	const char *key, *nonce, *additional, *plain, *sealed;
} AEAD[] = {
	{ /* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4 */
		PSA_KEY_TYPE_AES, PSA_ALG_GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b39",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
		"3d58e0915bc94fbc3221a5db94fae95ae7121a47" },
	{ /* 16 */
		PSA_KEY_TYPE_AES, PSA_ALG_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
		"cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b39",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
		"bcc9f66276fc6ece0f4e1768cddf8853bb2d551b" },
	{ /* 13: nothing at all */
		PSA_KEY_TYPE_AES, PSA_ALG_GCM, "0000000000000000000000000000000000000000000000000000000000000000",
		"000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
	{ /* RFC 8439 §2.8.2 */
		PSA_KEY_TYPE_CHACHA20, PSA_ALG_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		"070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
		"4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666"
		"657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069"
		"742e",
		"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
		"05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
		"61161ae10b594f09e26a7e902ecbd0600691" },
};

static psa_key_id_t aead_import(psa_key_type_t type, psa_algorithm_t algorithm, const uint8_t *key, size_t n)
{
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
	psa_key_id_t id;

	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
	psa_set_key_algorithm(&attributes, algorithm);
	psa_set_key_type(&attributes, type);
	cr_assert_eq(psa_import_key(&attributes, key, n, &id), PSA_SUCCESS);
	return id;
}

Test(tls_driver, aead_is_that_of_its_authors)
{
	for (unsigned i = 0; i < array_count(AEAD); i++) {
		const struct aead_vector *v = &AEAD[i];
		uint8_t key[32], nonce[12], additional[32], plain[128], sealed[144], got[144];
		size_t key_bytes = unhex(v->key, key), additional_bytes = unhex(v->additional, additional);
		size_t plain_bytes = unhex(v->plain, plain), sealed_bytes = unhex(v->sealed, sealed), n;
		psa_key_id_t id = aead_import(v->type, v->algorithm, key, key_bytes);

		unhex(v->nonce, nonce);
		cr_assert_eq(psa_aead_encrypt(id, v->algorithm, nonce, 12, additional, additional_bytes, plain, plain_bytes, got,
			sizeof got, &n), PSA_SUCCESS);
		cr_assert_eq(n, sealed_bytes);
		cr_assert_arr_eq(got, sealed, n);
		cr_assert_eq(psa_aead_decrypt(id, v->algorithm, nonce, 12, additional, additional_bytes, sealed, sealed_bytes, got,
			sizeof got, &n), PSA_SUCCESS);
		cr_assert_eq(n, plain_bytes);
		cr_assert(n == 0 || memcmp(got, plain, n) == 0);
		psa_destroy_key(id);
	}
}

Test(tls_driver, aead_refuses_every_changed_bit_and_shows_nothing)
{
	static const uint8_t NOTHING[40];

	for (unsigned i = 0; i < array_count(AEAD); i++) {
		uint8_t key[32], nonce[12] = { 1 }, additional[13] = { 2 }, plain[40], sealed[56], got[56];
		psa_key_id_t id = aead_import(AEAD[i].type, AEAD[i].algorithm, key, unhex(AEAD[i].key, key));
		size_t n;

		random_fill(plain, sizeof plain);
		cr_assert_eq(psa_aead_encrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, plain, 40, sealed, 56, &n), PSA_SUCCESS);
		for (unsigned bit = 0; bit < 8 * 56; bit++) {
			memcpy(got, sealed, sizeof got);
			got[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_assert_eq(psa_aead_decrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, got, 56, got, 56, &n),
				PSA_ERROR_INVALID_SIGNATURE);
			cr_assert_arr_eq(got, NOTHING, 40);
		}
		for (size_t cut = 0; cut < 56; cut++)
			cr_assert_neq(psa_aead_decrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, sealed, cut, got, 56, &n), PSA_SUCCESS);
		nonce[11] ^= 1;
		cr_assert_eq(psa_aead_decrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, sealed, 56, got, 56, &n),
			PSA_ERROR_INVALID_SIGNATURE);
		nonce[11] ^= 1;
		cr_assert_eq(psa_aead_decrypt(id, AEAD[i].algorithm, nonce, 12, additional, 12, sealed, 56, got, 56, &n),
			PSA_ERROR_INVALID_SIGNATURE);
		cr_assert_eq(psa_aead_decrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, sealed, 56, got, 56, &n), PSA_SUCCESS);
		cr_assert_arr_eq(got, plain, 40);
		cr_assert_eq(psa_aead_encrypt(id, AEAD[i].algorithm, nonce, 12, additional, 13, plain, 40, got, 55, &n),
			PSA_ERROR_BUFFER_TOO_SMALL);
		psa_destroy_key(id);
	}
}

/* Also what the driver declines: another length of tag, of nonce. */
Test(tls_driver, aead_is_the_same_as_that_of_mbedtls_alone)
{
	static const struct {
		psa_key_type_t type;
		psa_algorithm_t algorithm;
		size_t key_bytes, nonce_bytes;
	} KINDS[] = {
		{ PSA_KEY_TYPE_AES, PSA_ALG_GCM, 16, 12 },
		{ PSA_KEY_TYPE_AES, PSA_ALG_GCM, 24, 12 },
		{ PSA_KEY_TYPE_AES, PSA_ALG_GCM, 32, 12 },
		{ PSA_KEY_TYPE_AES, PSA_ALG_GCM, 32, 16 },
		{ PSA_KEY_TYPE_AES, PSA_ALG_AEAD_WITH_SHORTENED_TAG(PSA_ALG_GCM, 12), 16, 12 },
		{ PSA_KEY_TYPE_CHACHA20, PSA_ALG_CHACHA20_POLY1305, 32, 12 },
	};
	static uint8_t plain[20000], ours[20016], theirs[20016];

	for (unsigned round = 0; round < 300; round++) {
		unsigned kind = round % array_count(KINDS);
		uint8_t key[32], nonce[16], additional[64];
		uint16_t dice[2];
		size_t bytes, additional_bytes, n, m;
		psa_key_id_t id;

		random_fill(key, sizeof key);
		random_fill(nonce, sizeof nonce);
		random_fill(additional, sizeof additional);
		random_fill(dice, sizeof dice);
		bytes = round % 3 ? dice[0] % 200 : dice[0] % sizeof plain;
		additional_bytes = dice[1] % sizeof additional;
		random_fill(plain, bytes);
		id = aead_import(KINDS[kind].type, KINDS[kind].algorithm, key, KINDS[kind].key_bytes);
		cr_assert_eq(psa_aead_encrypt(id, KINDS[kind].algorithm, nonce, KINDS[kind].nonce_bytes, additional, additional_bytes,
			plain, bytes, ours, sizeof ours, &n), PSA_SUCCESS);
		alone();
		cr_assert_eq(psa_aead_encrypt(id, KINDS[kind].algorithm, nonce, KINDS[kind].nonce_bytes, additional, additional_bytes,
			plain, bytes, theirs, sizeof theirs, &m), PSA_SUCCESS);
		with_driver();
		cr_assert_eq(n, m);
		cr_assert_arr_eq(ours, theirs, n);
		cr_assert_eq(psa_aead_decrypt(id, KINDS[kind].algorithm, nonce, KINDS[kind].nonce_bytes, additional, additional_bytes,
			theirs, m, theirs, sizeof theirs, &n), PSA_SUCCESS);
		cr_assert_eq(n, bytes);
		cr_assert(n == 0 || memcmp(theirs, plain, n) == 0);
		psa_destroy_key(id);
	}
}

/* ---- hashes ---- */

/* FIPS 180-4, the examples of NIST; and a million letters. */
Test(tls_driver, sha2_is_that_of_nist)
{
	static const struct {
		psa_algorithm_t algorithm;
		const char *text, *hash;
	} VECTORS[] = {
		{ PSA_ALG_SHA_256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ PSA_ALG_SHA_256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ PSA_ALG_SHA_256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ PSA_ALG_SHA_384, "abc",
			"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7" },
		{ PSA_ALG_SHA_512, "abc",
			"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
			"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
	};
	static char letters[1000001];
	uint8_t expected[64], hash[64];

	for (unsigned i = 0; i < array_count(VECTORS); i++) {
		size_t n = hash_make(VECTORS[i].algorithm, VECTORS[i].text, hash);

		cr_assert_eq(unhex(VECTORS[i].hash, expected), n);
		cr_assert_arr_eq(hash, expected, n);
	}
	memset(letters, 'a', sizeof letters - 1);
	unhex("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", expected);
	hash_make(PSA_ALG_SHA_256, letters, hash);
	cr_assert_arr_eq(hash, expected, 32);
}

Test(tls_driver, sha2_is_the_same_as_that_of_mbedtls_alone_wherever_it_is_cut)
{
	uint8_t text[700], ours[64], theirs[64];

	random_fill(text, sizeof text);
	for (unsigned i = 0; i < array_count(HASH_ALGORITHMS); i++) {
		size_t n, m;

		alone();
		cr_assert_eq(psa_hash_compute(HASH_ALGORITHMS[i], text, sizeof text, theirs, sizeof theirs, &n), PSA_SUCCESS);
		with_driver();
		for (size_t cut = 0; cut <= sizeof text; cut++) {
			psa_hash_operation_t operation = PSA_HASH_OPERATION_INIT;

			cr_assert_eq(psa_hash_setup(&operation, HASH_ALGORITHMS[i]), PSA_SUCCESS);
			cr_assert_eq(psa_hash_update(&operation, text, cut), PSA_SUCCESS);
			cr_assert_eq(psa_hash_update(&operation, text + cut, sizeof text - cut), PSA_SUCCESS);
			cr_assert_eq(psa_hash_finish(&operation, ours, sizeof ours, &m), PSA_SUCCESS);
			cr_assert_eq(n, m);
			cr_assert_arr_eq(ours, theirs, n);
		}
	}
}

/* ---- the whole ---- */

Test(tls_driver, a_driver_that_has_gone_asks_nobody)
{
	const char *missing;
	struct share share;

	driver_free(driver);
	cr_assert_null(postern_driver_get());
	share = share_make(X25519, PSA_KEY_USAGE_DERIVE);
	psa_destroy_key(share.id);
	driver = driver_new(&missing);
	cr_assert(driver);
}

Test(tls_driver, a_libcrypto_without_an_algorithm_is_told_by_its_name)
{
	const char *missing = NULL;

	driver_free(driver);
	cr_assert_eq(EVP_set_default_properties(NULL, "provider=nobody"), 1);
	cr_assert_null(driver_new(&missing));
	cr_assert_not_null(missing);
	cr_assert_null(postern_driver_get());
	cr_assert_eq(EVP_set_default_properties(NULL, ""), 1);
	driver = driver_new(&missing);
	cr_assert(driver);
}
