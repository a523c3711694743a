#include "tls/record.c"
#include "tls/secret.c"
#include "tls/suite.c"

#include "psa/crypto.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static struct aead_ciphers ciphers;

static void setup(void)
{
	const char *missing;

	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	cr_assert(aead_ciphers_init(&ciphers, &missing));
}

static void teardown(void)
{
	aead_ciphers_fini(&ciphers);
	mbedtls_psa_crypto_free();
}

TestSuite(tls_record, .init = setup, .fini = teardown);

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
		tls_half_init_secret(seal, &ciphers, &SUITES[suite], SECRET, true);
		tls_half_init_secret(open, &ciphers, &SUITES[suite], SECRET, false);
	} else {
		tls_half_init_key(seal, &ciphers, &SUITES[suite], SECRET, SECRET + 32, true);
		tls_half_init_key(open, &ciphers, &SUITES[suite], SECRET, SECRET + 32, false);
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

/* ---- RFC 8448 §3, "Simple 1-RTT Handshake" ---- */

static const char CLIENT_SECRET[] = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
static const char SERVER_SECRET[] = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

static const struct {
	const char *secret;
	uint64_t sequence;               /* the server's ticket was its record 0 */
	uint8_t type;
	const char *record;
} RFC8448[] = {
	{ CLIENT_SECRET, 0, TLS_APPLICATION_DATA,
		"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 "
		"6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4" },
	{ SERVER_SECRET, 1, TLS_APPLICATION_DATA,
		"17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 "
		"e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d" },
	{ CLIENT_SECRET, 1, TLS_ALERT, "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3" },
	{ SERVER_SECRET, 2, TLS_ALERT, "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9" },
};

Test(tls_record, the_keys_of_rfc_8448_come_from_its_secrets)
{
	uint8_t secret[32], key[16], iv[12], want[16];

	unhex(CLIENT_SECRET, secret);
	tls_expand_label(TLS_SHA256, secret, "key", key, 16);
	tls_expand_label(TLS_SHA256, secret, "iv", iv, 12);
	unhex("17422dda596ed5d9acd890e3c63f5051", want);
	cr_assert_eq(memcmp(key, want, 16), 0);
	unhex("5b78923dee08579033e523d9", want);
	cr_assert_eq(memcmp(iv, want, 12), 0);
	unhex(SERVER_SECRET, secret);
	tls_expand_label(TLS_SHA256, secret, "key", key, 16);
	unhex("9f02283b6c9c07efc26bb9f2ac92e356", want);
	cr_assert_eq(memcmp(key, want, 16), 0);
}

Test(tls_record, the_records_of_rfc_8448_are_sealed_and_opened)
{
	for (size_t i = 0; i < array_count(RFC8448); i++) {
		uint8_t secret[32], content[50] = { 1, 0 }, want[100], record[100];
		uint32_t n = RFC8448[i].type == TLS_ALERT ? 2 : 50, bytes;
		size_t want_bytes = unhex(RFC8448[i].record, want);
		struct tls_opened opened;
		struct tls_half half;

		if (n == 50)
			for (uint8_t b = 0; b < 50; b++)
				content[b] = b;
		unhex(RFC8448[i].secret, secret);
		tls_half_init_secret(&half, &ciphers, tls_suite_find(0x1301), secret, true);
		half.sequence = RFC8448[i].sequence;
		cr_assert_eq(tls_seal(&half, RFC8448[i].type, content, n, record), want_bytes);
		cr_assert_eq(memcmp(record, want, want_bytes), 0);
		tls_half_fini(&half);

		tls_half_init_secret(&half, &ciphers, tls_suite_find(0x1301), secret, false);
		half.sequence = RFC8448[i].sequence;
		cr_assert_null(tls_header_check(&half, record, &bytes));
		cr_assert_eq(bytes, want_bytes);
		cr_assert_null(tls_open(&half, record, bytes, &opened));
		cr_assert_eq(opened.type, RFC8448[i].type);
		cr_assert_eq(opened.n, n);
		cr_assert_eq(memcmp(opened.bytes, content, n), 0);
		tls_half_fini(&half);
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
		cr_assert_null(seal.suite);
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
	half_begin(seal, record, n, NULL);
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
	cr_assert_eq(seal.suite->id, 0xC02B);
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
