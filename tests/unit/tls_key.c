/* Keys of certificates in both forms, and whole handshakes with them: mbedTLS serves, OpenSSL is the client, in memory. Each
 * runs with a driver made of libcrypto and with mbedTLS alone, whatever the build has chosen. */
#include "tls/crypto/key.c"
#include "tls/crypto/libcrypto/driver.c"

#include "mbedtls/psa_util.h"
#include "mbedtls/ssl.h"
#include "mbedtls/x509_crt.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* ---- a driver that counts what it is asked ---- */

static struct driver *driver;
static struct asked {
	unsigned generate, agree, sign, verify, aead, hash;
} asked;

static psa_status_t counting_generate(struct postern_driver *hooks, const psa_key_attributes_t *attributes, uint8_t *key,
	size_t key_size, size_t *key_bytes)
{
	asked.generate++;
	return generate_key(hooks, attributes, key, key_size, key_bytes);
}

static psa_status_t counting_agree(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *peer, size_t peer_bytes, uint8_t *secret, size_t secret_size,
	size_t *secret_bytes)
{
	asked.agree++;
	return key_agreement(hooks, attributes, key, key_bytes, algorithm, peer, peer_bytes, secret, secret_size, secret_bytes);
}

static psa_status_t counting_sign(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *hash, size_t hash_bytes, uint8_t *signature,
	size_t signature_size, size_t *signature_bytes)
{
	asked.sign++;
	return sign_hash(hooks, attributes, key, key_bytes, algorithm, hash, hash_bytes, signature, signature_size,
		signature_bytes);
}

static psa_status_t counting_verify(struct postern_driver *hooks, const psa_key_attributes_t *attributes, const uint8_t *key,
	size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *hash, size_t hash_bytes, const uint8_t *signature,
	size_t signature_bytes)
{
	psa_status_t status = verify_hash(hooks, attributes, key, key_bytes, algorithm, hash, hash_bytes, signature,
		signature_bytes);

	asked.verify += status != PSA_ERROR_NOT_SUPPORTED;
	return status;
}

static psa_status_t counting_decrypt(struct postern_driver *hooks, const psa_key_attributes_t *attributes,
	const uint8_t *key, size_t key_bytes, psa_algorithm_t algorithm, const uint8_t *nonce, size_t nonce_bytes,
	const uint8_t *additional, size_t additional_bytes, const uint8_t *from, size_t from_bytes, uint8_t *to, size_t to_size,
	size_t *to_bytes)
{
	psa_status_t status = aead_decrypt(hooks, attributes, key, key_bytes, algorithm, nonce, nonce_bytes, additional,
		additional_bytes, from, from_bytes, to, to_size, to_bytes);

	asked.aead += status != PSA_ERROR_NOT_SUPPORTED;
	return status;
}

static void counting_hash(struct postern_driver *hooks, uint32_t state[8], const uint8_t *blocks, size_t count)
{
	asked.hash++;
	sha256_blocks(hooks, state, blocks, count);
}

static void setup(void)
{
	const char *missing;

	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	driver = driver_new(&missing);
	cr_assert(driver);
	driver->hooks.generate_key = counting_generate;
	driver->hooks.key_agreement = counting_agree;
	driver->hooks.sign_hash = counting_sign;
	driver->hooks.verify_hash = counting_verify;
	driver->hooks.aead_decrypt = counting_decrypt;
	driver->hooks.sha256_blocks = counting_hash;
}

static void teardown(void)
{
	driver_free(driver);
	mbedtls_psa_crypto_free();
}

TestSuite(tls_key, .init = setup, .fini = teardown, .timeout = 60);

/* What tests call `or_null`: with the driver installed, or with none. */
static struct driver *driver_or_none(unsigned with)
{
	postern_driver_set(with ? &driver->hooks : NULL);
	return with ? driver : NULL;
}

/* ---- keys and certificates ---- */

enum kind { EC_P256, RSA_2048, RSA_3072, RSA_4096, SERVED, EC_P384 = SERVED, RSA_1024, ED25519, KINDS };

static EVP_PKEY *pair_make(enum kind kind)
{
	static const size_t BITS[KINDS] = { [RSA_2048] = 2048, [RSA_3072] = 3072, [RSA_4096] = 4096, [RSA_1024] = 1024 };
	EVP_PKEY *pair = kind == ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
	        : BITS[kind]             ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", BITS[kind])
	                                 : EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind == EC_P256 ? "P-256" : "P-384");

	cr_assert(pair);
	return pair;
}

enum form { PKCS8, TRADITIONAL, ENCRYPTED, PUBLIC, FORMS };

/* Bytes, the closing zero counted. */
static size_t pem_make(EVP_PKEY *pair, enum form form, char *pem, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	if (form == PKCS8)
		PEM_write_bio_PKCS8PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL);
	else if (form == TRADITIONAL)
		PEM_write_bio_PrivateKey_traditional(bio, pair, NULL, NULL, 0, NULL, NULL);
	else if (form == ENCRYPTED)
		PEM_write_bio_PKCS8PrivateKey(bio, pair, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
	else
		PEM_write_bio_PUBKEY(bio, pair);
	n = BIO_read(bio, pem, (int)size - 1);
	cr_assert(n > 0);
	pem[n] = 0;
	BIO_free(bio);
	return (size_t)n + 1;
}

static void key_parse(struct private_key *key, unsigned with, EVP_PKEY *pair)
{
	char pem[8192];
	size_t n = pem_make(pair, PKCS8, pem, sizeof pem);

	cr_assert_eq(private_key_parse(key, driver_or_none(with), (uint8_t *)pem, n), 0);
}

static mbedtls_pk_context public_of(EVP_PKEY *pair)
{
	mbedtls_pk_context public_half;
	char pem[8192];
	size_t n = pem_make(pair, PUBLIC, pem, sizeof pem);

	mbedtls_pk_init(&public_half);
	cr_assert_eq(mbedtls_pk_parse_public_key(&public_half, (uint8_t *)pem, n), 0);
	return public_half;
}

/* `issuer` NULL: by itself. `pss`: RSA in its newer padding. */
static X509 *certificate_make(EVP_PKEY *pair, const char *subject, X509 *issuer, EVP_PKEY *issuer_pair, bool authority,
	const EVP_MD *md, bool pss)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	EVP_MD_CTX *signing = EVP_MD_CTX_new();
	EVP_PKEY_CTX *details;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400L);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400L * 30);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
	X509_set_pubkey(x, pair);
	if (authority) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

		X509_add_ext(x, extension, -1);
		X509_EXTENSION_free(extension);
	}
	cr_assert_eq(EVP_DigestSignInit(signing, &details, md, NULL, issuer ? issuer_pair : pair), 1);
	if (pss) {
		EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST);
	}
	cr_assert(X509_sign_ctx(x, signing) > 0);
	EVP_MD_CTX_free(signing);
	return x;
}

static void certificate_give(mbedtls_x509_crt *to, X509 *x)
{
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);

	cr_assert_eq(mbedtls_x509_crt_parse_der(to, der, (size_t)n), 0);
	OPENSSL_free(der);
}

/* ---- parsing ---- */

Test(tls_key, every_kind_and_form_is_read_and_belongs_to_its_certificate)
{
	for (enum kind kind = 0; kind < SERVED; kind++) {
		EVP_PKEY *pair = pair_make(kind);
		mbedtls_pk_context public_half = public_of(pair);

		for (unsigned with = 0; with < 2; with++) {
			for (enum form form = PKCS8; form <= TRADITIONAL; form++) {
				struct private_key key;
				char pem[8192];
				size_t n = pem_make(pair, form, pem, sizeof pem);

				cr_assert_eq(private_key_parse(&key, driver_or_none(with), (uint8_t *)pem, n), 0);
				cr_assert_eq(mbedtls_pk_get_type(&key.pk) == MBEDTLS_PK_OPAQUE, with);
				cr_assert_eq((int)mbedtls_pk_get_bitlen(&key.pk), EVP_PKEY_get_bits(pair));
				cr_assert(private_key_belongs(&key, &public_half));
				private_key_fini(&key);
				private_key_fini(&key);
			}
		}
		mbedtls_pk_free(&public_half);
		EVP_PKEY_free(pair);
	}
}

Test(tls_key, a_key_belongs_to_no_other_certificate)
{
	for (unsigned with = 0; with < 2; with++) {
		static const enum kind TRIED[] = { EC_P256, RSA_2048 };

		for (unsigned i = 0; i < array_count(TRIED); i++) {
			struct private_key key;
			EVP_PKEY *pair = pair_make(TRIED[i]);

			key_parse(&key, with, pair);
			for (enum kind kind = 0; kind < KINDS; kind++) {
				EVP_PKEY *stranger;
				mbedtls_pk_context public_half;

				if (kind == ED25519 || kind == RSA_4096)
					continue;
				stranger = pair_make(kind);
				public_half = public_of(stranger);
				cr_assert_not(private_key_belongs(&key, &public_half));
				mbedtls_pk_free(&public_half);
				EVP_PKEY_free(stranger);
			}
			private_key_fini(&key);
			EVP_PKEY_free(pair);
		}
	}
}

Test(tls_key, a_kind_that_is_not_served_is_refused_as_such)
{
	static const enum kind REFUSED[] = { EC_P384, RSA_1024, ED25519 };

	for (unsigned with = 0; with < 2; with++) {
		for (unsigned i = 0; i < array_count(REFUSED); i++) {
			EVP_PKEY *pair = pair_make(REFUSED[i]);
			struct private_key key;
			char pem[8192];
			size_t n = pem_make(pair, PKCS8, pem, sizeof pem);
			int error = private_key_parse(&key, driver_or_none(with), (uint8_t *)pem, n);

			cr_assert(error == MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE || error == MBEDTLS_ERR_PK_UNKNOWN_PK_ALG, "%d: -0x%x", i,
				(unsigned)-error);
			EVP_PKEY_free(pair);
		}
	}
}

Test(tls_key, what_is_no_key_is_refused_with_the_error_of_mbedtls)
{
	char pems[4][8192] = { "", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n" };
	EVP_PKEY *pair = pair_make(EC_P256);

	pem_make(pair, ENCRYPTED, pems[2], sizeof pems[2]);
	pem_make(pair, PUBLIC, pems[3], sizeof pems[3]);
	for (unsigned with = 0; with < 2; with++) {
		for (unsigned i = 0; i < array_count(pems); i++) {
			struct private_key key;
			mbedtls_pk_context alone;
			int error;

			mbedtls_pk_init(&alone);
			error = mbedtls_pk_parse_key(&alone, (uint8_t *)pems[i], strlen(pems[i]) + 1, NULL, 0, mbedtls_psa_get_random,
				MBEDTLS_PSA_RANDOM_STATE);
			cr_assert_neq(error, 0);
			cr_assert_eq(private_key_parse(&key, driver_or_none(with), (uint8_t *)pems[i], strlen(pems[i]) + 1), error);
			private_key_fini(&key);
			mbedtls_pk_free(&alone);
		}
	}
	EVP_PKEY_free(pair);
}

Test(tls_key, a_file_that_is_cut_anywhere_is_refused)
{
	static const enum kind TRIED[] = { EC_P256, RSA_2048 };

	for (unsigned i = 0; i < array_count(TRIED); i++) {
		EVP_PKEY *pair = pair_make(TRIED[i]);
		char pem[8192], cut[8192];
		size_t n = pem_make(pair, PKCS8, pem, sizeof pem) - 1;

		for (size_t bytes = 0; bytes + 1 < n; bytes++) {        /* without its last newline it is whole */
			struct private_key key;

			memcpy(cut, pem, bytes);
			cut[bytes] = 0;
			cr_assert_neq(private_key_parse(&key, driver_or_none(1), (uint8_t *)cut, bytes + 1), 0, "%zu of %zu", bytes, n);
		}
		EVP_PKEY_free(pair);
	}
	cr_assert_eq(driver->keys, 0);
}

/* ---- handshakes ---- */

struct shake {
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
	mbedtls_x509_crt chain, authorities;
	struct private_key key;
	SSL_CTX *client_context;
	SSL *client;
};

static int to_client(void *context, const unsigned char *bytes, size_t n)
{
	struct shake *s = context;

	return BIO_write(SSL_get_rbio(s->client), bytes, (int)n);
}

static int from_client(void *context, unsigned char *bytes, size_t n)
{
	struct shake *s = context;
	int got = BIO_read(SSL_get_wbio(s->client), bytes, (int)n);

	return got > 0 ? got : MBEDTLS_ERR_SSL_WANT_READ;
}

static const uint16_t SHAKE_GROUPS[] = { MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0 };
static const uint16_t SHAKE_SIGNATURES[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
	MBEDTLS_TLS1_3_SIG_NONE,
};

static void shake_open(struct shake *s, unsigned with, EVP_PKEY *pair, X509 *certificate, int version, const char *group)
{
	memset(s, 0, sizeof *s);
	mbedtls_ssl_config_init(&s->config);
	mbedtls_ssl_init(&s->ssl);
	mbedtls_x509_crt_init(&s->chain);
	mbedtls_x509_crt_init(&s->authorities);
	key_parse(&s->key, with, pair);
	certificate_give(&s->chain, certificate);
	cr_assert_eq(mbedtls_ssl_config_defaults(&s->config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
		MBEDTLS_SSL_PRESET_DEFAULT), 0);
	mbedtls_ssl_conf_rng(&s->config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_groups(&s->config, SHAKE_GROUPS);
	mbedtls_ssl_conf_sig_algs(&s->config, SHAKE_SIGNATURES);
	mbedtls_ssl_conf_new_session_tickets(&s->config, 0);
	cr_assert_eq(mbedtls_ssl_conf_own_cert(&s->config, &s->chain, &s->key.pk), 0);

	s->client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(s->client_context, version);
	SSL_CTX_set_max_proto_version(s->client_context, version);
	SSL_CTX_set1_groups_list(s->client_context, group);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(s->client_context), certificate);
	SSL_CTX_set_verify(s->client_context, SSL_VERIFY_PEER, NULL);
}

static void shake_ask_for_certificate(struct shake *s, X509 *authority, X509 *certificate, EVP_PKEY *pair)
{
	certificate_give(&s->authorities, authority);
	mbedtls_ssl_conf_ca_chain(&s->config, &s->authorities, NULL);
	mbedtls_ssl_conf_authmode(&s->config, MBEDTLS_SSL_VERIFY_REQUIRED);
	cr_assert_eq(SSL_CTX_use_certificate(s->client_context, certificate), 1);
	cr_assert_eq(SSL_CTX_use_PrivateKey(s->client_context, pair), 1);
}

/* 0, or what mbedTLS says; after a success something has been said and heard both ways. */
static int shake_hands(struct shake *s)
{
	int error = MBEDTLS_ERR_SSL_WANT_READ;
	bool client_done = false;
	char text[16];

	s->client = SSL_new(s->client_context);
	SSL_set_bio(s->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(s->client);
	cr_assert_eq(mbedtls_ssl_setup(&s->ssl, &s->config), 0);
	mbedtls_ssl_set_bio(&s->ssl, s, to_client, from_client, NULL);
	for (unsigned turn = 0; turn < 10 && !(error == 0 && client_done); turn++) {
		client_done = SSL_do_handshake(s->client) == 1;
		if (error == MBEDTLS_ERR_SSL_WANT_READ)
			error = mbedtls_ssl_handshake(&s->ssl);
		if (error != 0 && error != MBEDTLS_ERR_SSL_WANT_READ)
			return error;
	}
	if (error != 0 || !client_done)
		return error ? error : -1;
	cr_assert_eq(SSL_write(s->client, "ping", 4), 4);
	cr_assert_eq(mbedtls_ssl_read(&s->ssl, (unsigned char *)text, sizeof text), 4);
	cr_assert_eq(mbedtls_ssl_write(&s->ssl, (const unsigned char *)"pong!", 5), 5);
	cr_assert_eq(SSL_read(s->client, text, sizeof text), 5);
	cr_assert_eq(memcmp(text, "pong!", 5), 0);
	return 0;
}

static void shake_close(struct shake *s)
{
	SSL_free(s->client);
	SSL_CTX_free(s->client_context);
	mbedtls_ssl_free(&s->ssl);
	mbedtls_ssl_config_free(&s->config);
	mbedtls_x509_crt_free(&s->chain);
	mbedtls_x509_crt_free(&s->authorities);
	private_key_fini(&s->key);
	ERR_clear_error();
}

static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
/* P-256 stands behind X25519 because OpenSSL, in TLS 1.2, takes certificates of its groups only. */
static const char *const GROUP_NAMES[] = { "X25519:P-256", "P-256" };

static int group_bits(SSL *client)
{
	EVP_PKEY *key = NULL;
	int bits;

	cr_assert_eq(SSL_get_peer_tmp_key(client, &key), 1);
	bits = EVP_PKEY_get_bits(key);
	EVP_PKEY_free(key);
	return bits;
}

Test(tls_key, hands_are_shaken_in_every_version_with_every_key_and_group)
{
	for (enum kind kind = 0; kind < SERVED; kind++) {
		EVP_PKEY *pair = pair_make(kind);
		X509 *certificate = certificate_make(pair, "edge.example", NULL, NULL, true, EVP_sha256(), false);

		for (unsigned i = 0; i < 8; i++) {
			unsigned with = i & 1;
			int version = VERSIONS[i >> 1 & 1];
			struct shake s;

			memset(&asked, 0, sizeof asked);
			shake_open(&s, with, pair, certificate, version, GROUP_NAMES[i >> 2]);
			cr_assert_eq(shake_hands(&s), 0);
			cr_assert_str_eq(SSL_get_version(s.client), version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
			/* The driver has done it, and mbedTLS alone has when there was none. */
			cr_assert_eq(group_bits(s.client), i >> 2 ? 256 : 253);
			cr_assert_eq(asked.generate, with);
			cr_assert_eq(asked.agree, with);
			cr_assert_eq(asked.sign, with);
			cr_assert_eq(asked.aead > 0, with);
			cr_assert_eq(asked.hash > 0, with);
			shake_close(&s);
		}
		X509_free(certificate);
		EVP_PKEY_free(pair);
	}
}

Test(tls_key, a_client_without_our_group_is_refused)
{
	EVP_PKEY *pair = pair_make(EC_P256);
	X509 *certificate = certificate_make(pair, "edge.example", NULL, NULL, true, EVP_sha256(), false);

	for (unsigned i = 0; i < 2; i++) {
		struct shake s;

		shake_open(&s, 1, pair, certificate, VERSIONS[i], "P-384");
		cr_assert_neq(shake_hands(&s), 0);
		shake_close(&s);
	}
	X509_free(certificate);
	EVP_PKEY_free(pair);
}

/* Each kind of key and signature that a chain of clients' certificates may have. */
static const struct client {
	enum kind authority, own;
	const char *digest;
	bool pss, wrong;
} CLIENTS[] = {
	{ EC_P256, EC_P256, "SHA256", false, false },
	{ EC_P384, EC_P256, "SHA384", false, false },
	{ EC_P384, EC_P384, "SHA384", false, false },
	{ RSA_2048, RSA_2048, "SHA256", false, false },
	{ RSA_3072, EC_P256, "SHA384", false, false },
	{ RSA_4096, RSA_2048, "SHA512", true, false },
	{ EC_P256, RSA_2048, "SHA256", false, false },
	{ EC_P256, EC_P256, "SHA256", false, true },         /* from here on: signed by somebody else of the same name */
	{ EC_P384, EC_P256, "SHA384", false, true },
	{ RSA_2048, RSA_2048, "SHA256", false, true },
	{ RSA_2048, EC_P256, "SHA256", true, true },
};

Test(tls_key, certificates_of_clients_are_verified_by_the_driver_and_by_mbedtls_alike)
{
	EVP_PKEY *server_pair = pair_make(EC_P256);
	X509 *server = certificate_make(server_pair, "edge.example", NULL, NULL, true, EVP_sha256(), false);

	for (unsigned c = 0; c < array_count(CLIENTS); c++) {
		const EVP_MD *md = EVP_get_digestbyname(CLIENTS[c].digest);
		EVP_PKEY *authority_pair = pair_make(CLIENTS[c].authority), *pair = pair_make(CLIENTS[c].own);
		EVP_PKEY *signing_pair = CLIENTS[c].wrong ? pair_make(CLIENTS[c].authority) : authority_pair;
		X509 *authority = certificate_make(authority_pair, "authority", NULL, NULL, true, md, CLIENTS[c].pss);
		X509 *certificate = certificate_make(pair, "client", authority, signing_pair, false, md, CLIENTS[c].pss);

		for (unsigned i = 0; i < 4; i++) {
			unsigned with = i & 1;
			struct shake s;
			int error;

			/* RFC 8422 §5.3 has a certificate's curve among the groups in TLS 1.2, and P-384 is none of ours. */
			if (CLIENTS[c].own == EC_P384 && VERSIONS[i >> 1] == TLS1_2_VERSION)
				continue;
			memset(&asked, 0, sizeof asked);
			shake_open(&s, with, server_pair, server, VERSIONS[i >> 1], GROUP_NAMES[0]);
			shake_ask_for_certificate(&s, authority, certificate, pair);
			error = shake_hands(&s);
			if (CLIENTS[c].wrong)
				cr_assert_eq(error, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED, "client %u, %u: -0x%x", c, i, (unsigned)-error);
			else
				cr_assert_eq(error, 0, "client %u, %u: -0x%x", c, i, (unsigned)-error);
			cr_assert_eq(asked.verify, !with ? 0 : CLIENTS[c].wrong ? 1 : 2, "client %u: verified %u times", c, asked.verify);
			shake_close(&s);
		}
		if (CLIENTS[c].wrong)
			EVP_PKEY_free(signing_pair);
		X509_free(authority);
		X509_free(certificate);
		EVP_PKEY_free(authority_pair);
		EVP_PKEY_free(pair);
	}
	X509_free(server);
	EVP_PKEY_free(server_pair);
}
