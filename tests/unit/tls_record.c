#include "tls/record.c"
#include "tls/secret.c"
#include "tls/suite.c"

#include "psa/crypto.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <stdio.h>
#include <string.h>

static struct aead_pool pool;

static void setup(void)
{
	const char *missing;

	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	cr_assert(aead_pool_init(&pool, &missing));
}

static void teardown(void)
{
	aead_pool_fini(&pool);
	mbedtls_psa_crypto_free();
}

TestSuite(tls_record, .init = setup, .fini = teardown);

/* Both halves of a connection, with all that an idle one keeps of its protection. */
static_assert(sizeof(struct tls_half) == 128, "two cache lines");

static const uint16_t TLS_1_3_SUITES[] = { 0x1301, 0x1302, 0x1303 };

static size_t unhex(const char *text, uint8_t *to)
{
	size_t n = 0;
	unsigned byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2 + (text[2] == ' '))
		to[n++] = (uint8_t)byte;
	return n;
}

/* Both ends of one direction, of any suite, with made-up secrets. */
static void half_pair(size_t suite, struct tls_half *seal, struct tls_half *open)
{
	static const uint8_t SECRET[48] = { 3, 1, 4, 1, 5 };

	if (SUITES[suite].version == TLS_1_3) {
		tls_half_init_secret(seal, &pool, &SUITES[suite], SECRET, true);
		tls_half_init_secret(open, &pool, &SUITES[suite], SECRET, false);
	} else {
		tls_half_init_key(seal, &pool, &SUITES[suite], SECRET, SECRET + 32, true);
		tls_half_init_key(open, &pool, &SUITES[suite], SECRET, SECRET + 32, false);
	}
}

static void fill(uint8_t *bytes, size_t n)
{
	uint32_t seed = (uint32_t)n + 1;

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

/* ---- RFC 8448: recorded handshakes ---- */

/* §3, "Simple 1-RTT Handshake", and §4, "Resumed 0-RTT Handshake", as printed there. */
static const char CLIENT_HANDSHAKE[] = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21";
static const char CLIENT_SECRET[] = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
static const char SERVER_SECRET[] = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
static const char RESUMED_CLIENT[] = "2abbf2b8e381d23dbebe1dd2a7d16a8bf484cb4950d23fb7fb7fa8547062d9a1";
static const char RESUMED_SERVER[] = "cc21f1bf8feb7dd5fa505bd9c4b468a9984d554a993dc49e6d285598fb672691";

/* The application data of all of them. */
static const char COUNT[] =
	"00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25 26 27 "
	"28 29 2a 2b 2c 2d 2e 2f 30 31";

static const struct {
	const char *secret;
	uint64_t sequence;
	uint8_t type;
	const char *content;             /* what it begins with */
	uint32_t n;
	const char *record;
} RFC8448[] = {
	{ /* §3: the client's Finished */
		CLIENT_HANDSHAKE, 0, TLS_HANDSHAKE, "14 00 00 20", 36,
		"17 03 03 00 35 75 ec 4d c2 38 cc e6 0b 29 80 44 a7 1e 21 9c 56 cc 77 b0 51 7f e9 b9 3c 7a 4b fc 44 d8 7f 38 f8 "
		"03 38 ac 98 fc 46 de b3 84 bd 1c ae ac ab 68 67 d7 26 c4 05 46" },
	{ /* the server's NewSessionTicket */
		SERVER_SECRET, 0, TLS_HANDSHAKE, "04 00 00 c9", 205,
		"17 03 03 00 de 3a 6b 8f 90 41 4a 97 d6 95 9c 34 87 68 0d e5 13 4a 2b 24 0e 6c ff ac 11 6e 95 d4 1d 6a f8 f6 b5 "
		"80 dc f3 d1 1d 63 c7 58 db 28 9a 01 59 40 25 2f 55 71 3e 06 1d c1 3e 07 88 91 a3 8e fb cf 57 53 ad 8e f1 70 ad "
		"3c 73 53 d1 6d 9d a7 73 b9 ca 7f 2b 9f a1 b6 c0 d4 a3 d0 3f 75 e0 9c 30 ba 1e 62 97 2a c4 6f 75 f7 b9 81 be 63 "
		"43 9b 29 99 ce 13 06 46 15 13 98 91 d5 e4 c5 b4 06 f1 6e 3f c1 81 a7 7c a4 75 84 00 25 db 2f 0a 77 f8 1b 5a b0 "
		"5b 94 c0 13 46 75 5f 69 23 2c 86 51 9d 86 cb ee ac 87 aa c3 47 d1 43 f9 60 5d 64 f6 50 db 4d 02 3e 70 e9 52 ca "
		"49 fe 51 37 12 1c 74 bc 26 97 68 7e 24 87 46 d6 df 35 30 05 f3 bc e1 86 96 12 9c 81 53 55 6b 3b 6c 67 79 b3 7b "
		"f1 59 85 68 4f" },
	{ CLIENT_SECRET, 0, TLS_APPLICATION_DATA, COUNT, 50,
		"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 "
		"b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4" },
	{ SERVER_SECRET, 1, TLS_APPLICATION_DATA, COUNT, 50,
		"17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d "
		"90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d" },
	{ /* close_notify */
		CLIENT_SECRET, 1, TLS_ALERT, "01 00", 2,
		"17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3" },
	{ SERVER_SECRET, 2, TLS_ALERT, "01 00", 2,
		"17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9" },
	{ /* §4, "Resumed 0-RTT Handshake" */
		RESUMED_CLIENT, 0, TLS_APPLICATION_DATA, COUNT, 50,
		"17 03 03 00 43 b1 ce bc e2 42 aa 20 1b e9 ae 5e 1c b2 a9 aa 4b 33 d4 e8 66 af 1e db 06 89 19 23 77 41 aa 03 1d "
		"7a 74 d4 91 c9 9b 9d 4e 23 2b 74 20 6b c6 fb aa 04 fe 78 be 44 a9 b4 f5 43 20 a1 7e b7 69 92 af ac 31 03" },
	{ RESUMED_SERVER, 0, TLS_APPLICATION_DATA, COUNT, 50,
		"17 03 03 00 43 27 5e 9f 20 ac ff 57 bc 00 06 57 d3 86 7d f0 39 cc cf 79 04 78 84 cf 75 77 17 46 f7 40 b5 a8 3f "
		"46 2a 09 54 c3 58 13 93 a2 03 a2 5a 7d d1 41 41 ef 1a 37 90 0c db 62 ff 62 de e1 ba 39 ab 25 90 cb f1 94" },
	{ RESUMED_CLIENT, 1, TLS_ALERT, "01 00", 2,
		"17 03 03 00 13 0f ac ce 32 46 bd fc 63 69 83 8d 6a 82 ae 6d e5 d4 22 dc" },
	{ RESUMED_SERVER, 1, TLS_ALERT, "01 00", 2,
		"17 03 03 00 13 5b 18 af 44 4e 8e 1e ec 71 58 fb 62 d8 f2 57 7d 37 ba 5d" },
};

Test(tls_record, the_keys_of_rfc_8448_come_from_its_secrets)
{
	static const struct {
		const char *secret, *key, *iv;
	} KEYS[] = {
		{ CLIENT_HANDSHAKE, "dbfaa693d1762c5b666af5d950258d01", "5bd3c71b836e0b76bb73265f" },
		{ CLIENT_SECRET, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9" },
		{ SERVER_SECRET, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984" },
		{ RESUMED_CLIENT, "3cf122f301c6358ca7989553250efd72", "ab1aec26aa78b8fc1176b9ac" },
		{ RESUMED_SERVER, "e857c690a34c5a9129d833619684f95e", "0685d6b561aab9ef1013faf9" },
	};

	for (size_t i = 0; i < array_count(KEYS); i++) {
		uint8_t secret[32], out[16], want[16];

		cr_assert_eq(unhex(KEYS[i].secret, secret), 32);
		tls_expand_label(TLS_SHA256, secret, "key", out, 16);
		cr_assert_eq(unhex(KEYS[i].key, want), 16);
		cr_assert_eq(memcmp(out, want, 16), 0);
		tls_expand_label(TLS_SHA256, secret, "iv", out, 12);
		cr_assert_eq(unhex(KEYS[i].iv, want), 12);
		cr_assert_eq(memcmp(out, want, 12), 0);
	}
}

Test(tls_record, the_records_of_rfc_8448_are_opened_and_sealed_again)
{
	for (size_t i = 0; i < array_count(RFC8448); i++) {
		uint8_t secret[32], begins[50], want[256], record[256], again[256];
		uint32_t bytes, want_bytes = (uint32_t)unhex(RFC8448[i].record, want);
		size_t begins_bytes = unhex(RFC8448[i].content, begins);
		struct tls_opened opened;
		struct tls_half half;

		unhex(RFC8448[i].secret, secret);
		tls_half_init_secret(&half, &pool, tls_suite_find(0x1301), secret, false);
		half.sequence = RFC8448[i].sequence;
		memcpy(record, want, want_bytes);
		cr_assert_null(tls_header_check(&half, record, &bytes));
		cr_assert_eq(bytes, want_bytes);
		cr_assert_null(tls_open(&half, record, bytes, &opened));
		cr_assert_eq(opened.type, RFC8448[i].type);
		cr_assert_eq(opened.n, RFC8448[i].n);
		cr_assert_eq(memcmp(opened.bytes, begins, begins_bytes), 0);
		tls_half_fini(&half);

		tls_half_init_secret(&half, &pool, tls_suite_find(0x1301), secret, true);
		half.sequence = RFC8448[i].sequence;
		cr_assert_eq(tls_seal(&half, opened.type, opened.bytes, opened.n, again), want_bytes);
		cr_assert_eq(memcmp(again, want, want_bytes), 0);
		tls_half_fini(&half);
	}
}

/* ---- keys, against OpenSSL's derivation ---- */

static void openssl_expand_label(enum tls_hash hash, const uint8_t *secret, const char *label, uint8_t *to, size_t n)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
	EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
	char digest[] = "SHA256", prefix[] = "tls13 ";
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 6),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, hash == TLS_SHA384 ? 48 : 32),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label)),
		OSSL_PARAM_END,
	};

	if (hash == TLS_SHA384)
		memcpy(digest, "SHA384", 6);
	cr_assert_eq(EVP_KDF_derive(c, to, n, parameters), 1);
	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
}

Test(tls_record, keys_and_their_updates_are_as_openssl_derives_them)
{
	for (size_t suite = 0; suite < array_count(TLS_1_3_SUITES); suite++) {
		const struct tls_suite *s = tls_suite_find(TLS_1_3_SUITES[suite]);
		size_t key_bytes = aead_key_bytes(s->aead), secret_bytes = tls_hash_bytes(s->hash);
		uint8_t secret[48], next[48], key[32], iv[12];
		struct tls_half half;

		for (uint8_t i = 0; i < sizeof secret; i++)
			secret[i] = (uint8_t)(i * 7 + 1);
		tls_half_init_secret(&half, &pool, s, secret, true);
		for (unsigned generation = 0; generation < 5; generation++) {
			uint8_t record[64];

			openssl_expand_label(s->hash, secret, "key", key, key_bytes);
			openssl_expand_label(s->hash, secret, "iv", iv, 12);
			cr_assert_eq(memcmp(half.secret, secret, secret_bytes), 0);
			cr_assert_eq(memcmp(half.aead.key, key, key_bytes), 0);
			cr_assert_eq(memcmp(half.iv, iv, 12), 0);
			/* With and without a cipher that has the key before. */
			if (generation % 2)
				tls_seal(&half, 23, "x", 1, record);
			openssl_expand_label(s->hash, secret, "traffic upd", next, secret_bytes);
			memcpy(secret, next, secret_bytes);
			tls_half_update(&half);
			cr_assert_eq(half.sequence, 0);
		}
		tls_half_fini(&half);
	}
}

/* ---- TLS 1.2, against OpenSSL's records ---- */

/* libcrypto has a way of its own for whole TLS 1.2 records, which its libssl takes: it is told the additional data,
 * writes or reads the explicit nonce by itself, and leaves or checks the tag behind the content. */
static bool openssl_record_12(const struct tls_suite *suite, const uint8_t *key, const uint8_t *iv, bool seals,
	uint64_t sequence, uint8_t *record, uint32_t bytes)
{
	const EVP_CIPHER *cipher = suite->aead == AEAD_AES_128_GCM ? EVP_aes_128_gcm()
		: suite->aead == AEAD_AES_256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
	bool gcm = suite->aead != AEAD_CHACHA20_POLY1305;
	/* When it seals there is no tag yet; the explicit nonce it always counts. */
	uint32_t length = bytes - 5 - (seals ? 16 : 0);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t additional[13];
	int n;

	put_u64(additional, sequence);
	memcpy(additional + 8, record, 3);
	additional[11] = (uint8_t)(length >> 8);
	additional[12] = (uint8_t)length;
	cr_assert_eq(EVP_CipherInit_ex(c, cipher, NULL, key, NULL, seals), 1);
	if (gcm)
		cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_IV_FIXED, 4, (void *)(uintptr_t)iv), 1);
	else
		cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IV_FIXED, 12, (void *)(uintptr_t)iv), 1);
	cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_TLS1_AAD, sizeof additional, additional), 16);
	n = EVP_Cipher(c, record + 5, record + 5, bytes - 5);
	EVP_CIPHER_CTX_free(c);
	ERR_clear_error();
	return n > 0;
}

Test(tls_record, records_of_tls_1_2_are_understood_by_openssl_and_the_other_way_round)
{
	static uint8_t content[TLS_CONTENT_BYTES_MAX], record[TLS_CONTENT_BYTES_MAX + TLS_SEAL_BYTES_MAX];
	static const uint8_t KEY[32] = { 11, 22, 33 }, IV[12] = { 44, 55, 66, 77, 88 };

	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		const struct tls_suite *s = &SUITES[suite];
		struct tls_half seal, open;

		if (s->version != TLS_1_2)
			continue;
		tls_half_init_key(&seal, &pool, s, KEY, IV, true);
		tls_half_init_key(&open, &pool, s, KEY, IV, false);
		for (uint32_t n = 1; n <= TLS_CONTENT_BYTES_MAX; n += n < 100 ? 1 : 1163) {
			uint8_t *at = record + tls_head_bytes(&open);
			struct tls_opened opened;
			uint64_t sequence = seal.sequence;
			uint32_t bytes;

			fill(content, n);
			bytes = tls_seal(&seal, 23, content, n, record);
			cr_assert(openssl_record_12(s, KEY, IV, false, sequence, record, bytes));
			cr_assert_eq(memcmp(at, content, n), 0);

			/* The same header; and a nonce of OpenSSL's own choice. */
			memcpy(at, content, n);
			cr_assert(openssl_record_12(s, KEY, IV, true, sequence, record, bytes));
			if (n >= 8)
				cr_assert_neq(memcmp(at, content, 8), 0);
			cr_assert_null(tls_open(&open, record, bytes, &opened));
			cr_assert_eq(opened.n, n);
			cr_assert_eq(memcmp(opened.bytes, content, n), 0);

			bytes = tls_seal(&seal, 23, content, n, record);
			record[bytes - 1] ^= 1;
			cr_assert(!openssl_record_12(s, KEY, IV, false, sequence + 1, record, bytes));
			open.sequence++;
		}
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

/* ---- round trips ---- */

Test(tls_record, what_is_sealed_is_opened_in_every_size)
{
	static uint8_t content[TLS_CONTENT_BYTES_MAX], record[TLS_CONTENT_BYTES_MAX + TLS_SEAL_BYTES_MAX];

	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		struct tls_half seal, open;
		uint64_t count = 0;

		half_pair(suite, &seal, &open);
		for (uint32_t n = 0; n <= TLS_CONTENT_BYTES_MAX; n += n < 600 || n + 40 > TLS_CONTENT_BYTES_MAX ? 1 : 31, count++) {
			struct tls_opened opened;
			uint32_t bytes, checked;
			uint8_t type = (uint8_t)(21 + count % 3);

			fill(content, n);
			bytes = tls_seal(&seal, type, content, n, record);
			cr_assert_eq(bytes, tls_sealed_bytes(&seal, n));
			cr_assert_leq(bytes, n + TLS_SEAL_BYTES_MAX);
			cr_assert_null(tls_header_check(&open, record, &checked));
			cr_assert_eq(checked, bytes);
			cr_assert_null(tls_open(&open, record, bytes, &opened));
			cr_assert_eq(opened.type, type);
			cr_assert_eq(opened.n, n);
			cr_assert_eq(memcmp(opened.bytes, content, n), 0);
			cr_assert_eq(seal.sequence, count + 1);
			cr_assert_eq(open.sequence, count + 1);
		}
		tls_half_fini(&seal);
		tls_half_fini(&open);
		cr_assert_eq(seal.suite, 0);
	}
}

Test(tls_record, sealing_in_pieces_is_sealing_at_once)
{
	uint8_t content[130], whole[200], pieces[200];

	fill(content, sizeof content);
	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		for (uint32_t cut = 0; cut <= sizeof content; cut++) {
			struct tls_half seal, open;
			struct tls_sealing sealing;
			uint32_t bytes;

			half_pair(suite, &seal, &open);
			bytes = tls_seal(&seal, 23, content, sizeof content, whole);
			seal.sequence = 0;
			tls_seal_begin(&sealing, &seal, 23, sizeof content, pieces);
			tls_seal_add(&sealing, content, cut);
			tls_seal_add(&sealing, content + cut, (uint32_t)sizeof content - cut);
			tls_seal_end(&sealing);
			cr_assert_eq(memcmp(whole, pieces, bytes), 0);
			tls_half_fini(&seal);
			tls_half_fini(&open);
		}
	}
}

Test(tls_record, a_record_with_any_bit_changed_is_refused)
{
	uint8_t content[20] = "twenty bytes of text", record[64], changed[64];

	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		struct tls_half seal, open;
		uint32_t bytes;

		half_pair(suite, &seal, &open);
		bytes = tls_seal(&seal, 23, content, sizeof content, record);
		for (unsigned bit = 0; bit < bytes * 8; bit++) {
			struct tls_opened opened;
			const struct reason *reason;
			uint32_t checked;

			memcpy(changed, record, bytes);
			changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
			open.sequence = 0;
			reason = tls_header_check(&open, changed, &checked);
			/* A changed length is another record, whose end is elsewhere. */
			if (!reason && checked == bytes) {
				reason = tls_open(&open, changed, bytes, &opened);
				cr_assert_eq(reason, &TLS_RECORD_FORGED);
			} else {
				cr_assert_lt(bit / 8, TLS_HEADER_BYTES);
			}
			if (!reason && checked < bytes && checked > TLS_HEADER_BYTES + 24)
				cr_assert_eq(tls_open(&open, changed, checked, &opened), &TLS_RECORD_FORGED);
		}
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

Test(tls_record, a_record_repeated_left_out_or_swapped_is_refused)
{
	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		uint8_t first[64], second[64], copy[64];
		struct tls_half seal, open;
		struct tls_opened opened;
		uint32_t bytes;

		half_pair(suite, &seal, &open);
		bytes = tls_seal(&seal, 23, "first", 5, first);
		tls_seal(&seal, 23, "secnd", 5, second);

		memcpy(copy, second, bytes);             /* left out */
		cr_assert_eq(tls_open(&open, copy, bytes, &opened), &TLS_RECORD_FORGED);
		open.sequence = 0;
		memcpy(copy, first, bytes);
		cr_assert_null(tls_open(&open, copy, bytes, &opened));
		memcpy(copy, first, bytes);              /* repeated */
		cr_assert_eq(tls_open(&open, copy, bytes, &opened), &TLS_RECORD_FORGED);
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

Test(tls_record, an_update_is_another_key_and_begins_at_nought)
{
	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		struct tls_half seal, open;
		struct tls_opened opened;
		uint8_t record[64], copy[64];
		uint32_t bytes;

		if (SUITES[suite].version != TLS_1_3)
			continue;
		half_pair(suite, &seal, &open);
		seal.records_max = 2;
		tls_seal(&seal, 23, "x", 1, record);
		cr_assert(!tls_half_spent(&seal));
		tls_seal(&seal, 23, "x", 1, record);
		cr_assert(tls_half_spent(&seal));
		tls_half_update(&seal);
		cr_assert(!tls_half_spent(&seal));
		bytes = tls_seal(&seal, 23, "new", 3, record);
		memcpy(copy, record, bytes);
		cr_assert_eq(tls_open(&open, copy, bytes, &opened), &TLS_RECORD_FORGED);
		tls_half_update(&open);
		cr_assert_null(tls_open(&open, record, bytes, &opened));
		cr_assert_eq(memcmp(opened.bytes, "new", 3), 0);
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

/* ---- limits and padding ---- */

/* A TLS 1.3 record whose inside is what the test says: tls_seal adds the type byte, here the last one of it. */
static uint32_t seal_inside(struct tls_half *seal, const uint8_t *inside, uint32_t n, uint8_t *record)
{
	uint32_t length = n + AEAD_TAG_BYTES;

	record[0] = 23;
	record[1] = record[2] = 3;
	record[3] = (uint8_t)(length >> 8);
	record[4] = (uint8_t)length;
	half_begin(seal, suite_of(seal), record, n, NULL);
	aead_add(&seal->aead, inside, n, record + 5);
	aead_sealed(&seal->aead, record + 5 + n);
	return TLS_HEADER_BYTES + length;
}

Test(tls_record, padding_is_taken_off_and_nothing_but_padding_is_refused)
{
	for (uint32_t padding = 0; padding <= TLS_CONTENT_BYTES_MAX; padding += padding < 40 ? 1 : 4086) {
		static uint8_t inside[TLS_CONTENT_BYTES_MAX + 8], record[TLS_RECORD_BYTES_MAX + 64];
		struct tls_half seal, open;
		struct tls_opened opened;
		uint32_t bytes;

		half_pair(0, &seal, &open);
		memset(inside, 0, sizeof inside);
		inside[0] = 22;
		bytes = seal_inside(&seal, inside, 1 + padding, record);
		cr_assert_null(tls_open(&open, record, bytes, &opened));
		cr_assert_eq(opened.type, 22);
		cr_assert_eq(opened.n, 0);
		inside[0] = 0;
		bytes = seal_inside(&seal, inside, 1 + padding, record);
		cr_assert_eq(tls_open(&open, record, bytes, &opened), &TLS_RECORD_PADDING);
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

Test(tls_record, content_with_its_padding_may_not_exceed_the_limit)
{
	static uint8_t inside[TLS_CONTENT_BYTES_MAX + 8], record[TLS_RECORD_BYTES_MAX + 64];
	struct tls_half seal, open;
	struct tls_opened opened;
	uint32_t bytes, checked;

	half_pair(0, &seal, &open);
	inside[0] = 23;
	bytes = seal_inside(&seal, inside, TLS_CONTENT_BYTES_MAX + 2, record);
	cr_assert_null(tls_header_check(&open, record, &checked));
	cr_assert_eq(tls_open(&open, record, bytes, &opened), &TLS_RECORD_LONG);
	tls_half_fini(&seal);
	tls_half_fini(&open);
}

Test(tls_record, every_header_is_accepted_or_refused_by_name)
{
	for (size_t suite = 0; suite < array_count(SUITES); suite++) {
		struct tls_half seal, open;
		bool v13 = SUITES[suite].version == TLS_1_3;

		half_pair(suite, &seal, &open);
		for (unsigned type = 0; type < 256; type++) {
			for (unsigned length = 0; length < 65536; length += length < 64 || (length > 16300 && length < 16800) ? 1 : 977) {
				uint8_t header[5] = { (uint8_t)type, 3, 3, (uint8_t)(length >> 8), (uint8_t)length };
				uint32_t bytes = 0, least = tls_sealed_bytes(&open, 0) - 5;
				const struct reason *reason = tls_header_check(&open, header, &bytes), *want = NULL;

				if (type < 20 || type > 23)
					want = &TLS_RECORD_TYPE;
				else if (type == 20)
					want = &TLS_RECORD_CCS;
				else if (v13 && type != 23)
					want = &TLS_RECORD_PLAIN;
				else if (length > 16384 + (v13 ? 256 : least))
					want = &TLS_RECORD_LONG;
				else if (length < least)
					want = &TLS_RECORD_SHORT;
				cr_assert_eq(reason, want, "type %u length %u: %s", type, length, reason ? reason->name : "accepted");
				cr_assert(want || bytes == length + 5);
				cr_assert_leq(bytes, TLS_RECORD_BYTES_MAX);
			}
		}
		for (unsigned version = 0; version < 65536; version++) {
			uint8_t header[5] = { 23, (uint8_t)(version >> 8), (uint8_t)version, 0, 40 };
			uint32_t bytes;

			cr_assert_eq(tls_header_check(&open, header, &bytes), version == 0x0303 ? NULL : &TLS_RECORD_VERSION);
		}
		tls_half_fini(&seal);
		tls_half_fini(&open);
	}
}

Test(tls_record, nonces_of_tls_1_2_never_repeat)
{
	struct tls_half seal, open;
	uint8_t one[64], two[64];

	half_pair(3, &seal, &open);
	cr_assert_eq(tls_suite_numbered(seal.suite)->id, 0xC02B);
	tls_seal(&seal, 23, "same", 4, one);
	tls_seal(&seal, 23, "same", 4, two);
	cr_assert_neq(memcmp(one + 5, two + 5, 8), 0);
	cr_assert_neq(memcmp(one + 13, two + 13, 4), 0);
	tls_half_fini(&seal);
	tls_half_fini(&open);
}

Test(tls_record, the_two_tables_of_suites_agree)
{
	for (size_t i = 0; i < array_count(SUITES); i++) {
		cr_assert_eq(tls_suite_ids()[i], SUITES[i].id);
		cr_assert_eq(tls_suite_find(SUITES[i].id), &SUITES[i]);
	}
	cr_assert_eq(tls_suite_ids()[array_count(SUITES)], 0);
	cr_assert_null(tls_suite_find(0x002f));
}
