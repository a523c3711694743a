#include "tls/crypto/aead.c"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <stdio.h>
#include <string.h>

/* As many bytes as the text has pairs of digits. */
static size_t unhex(const char *text, uint8_t *to)
{
	size_t n = 0;
	unsigned byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		to[n++] = (uint8_t)byte;
	return n;
}

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B; RFC 8439. */
static const struct {
	enum aead_kind kind;
	const char *key, *nonce, *additional, *plain, *sealed, *tag;
} VECTORS[] = {
	{ /* GCM test case 1 */
		AEAD_AES_128_GCM, "00000000000000000000000000000000", "000000000000000000000000",
		"",
		"",
		"",
		"58e2fccefa7e3061367f1d57a4e7455a" },
	{ /* 2 */
		AEAD_AES_128_GCM, "00000000000000000000000000000000", "000000000000000000000000",
		"",
		"00000000000000000000000000000000",
		"0388dace60b6a392f328c2b971b2fe78",
		"ab6e47d42cec13bdf53a67b21257bddf" },
	{ /* 3 */
		AEAD_AES_128_GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b391aafd255",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
		"3d58e091473f5985",
		"4d5c2af327cd64a62cf35abd2ba6fab4" },
	{ /* 4 */
		AEAD_AES_128_GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b39",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
		"3d58e091",
		"5bc94fbc3221a5db94fae95ae7121a47" },
	{ /* 13 */
		AEAD_AES_256_GCM, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
		"",
		"",
		"",
		"530f8afbc74536b9a963b4f1c4cb738b" },
	{ /* 14 */
		AEAD_AES_256_GCM, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
		"",
		"00000000000000000000000000000000",
		"cea7403d4d606b6e074ec5d3baf39d18",
		"d0d1c8a799996bf0265b98b5d48ab919" },
	{ /* 15 */
		AEAD_AES_256_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b391aafd255",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
		"bcc9f662898015ad",
		"b094dac5d93471bdec1a502270e3cc6c" },
	{ /* 16 */
		AEAD_AES_256_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b39",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
		"bcc9f662",
		"76fc6ece0f4e1768cddf8853bb2d551b" },
	{ /* RFC 8439 §2.8.2 */
		AEAD_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647",
		"50515253c0c1c2c3c4c5c6c7",
		"4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666"
		"657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069"
		"742e",
		"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
		"05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
		"6116",
		"1ae10b594f09e26a7e902ecbd0600691" },
	{ /* RFC 8439 §A.5 */
		AEAD_CHACHA20_POLY1305, "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", "000000000102030405060708",
		"f33388860000000000004e91",
		"496e7465726e65742d4472616674732061726520647261667420646f63756d656e74732076616c696420666f722061206d6178696d756d20"
		"6f6620736978206d6f6e74687320616e64206d617920626520757064617465642c207265706c616365642c206f72206f62736f6c65746564"
		"206279206f7468657220646f63756d656e747320617420616e792074696d652e20497420697320696e617070726f70726961746520746f20"
		"75736520496e7465726e65742d447261667473206173207265666572656e6365206d6174657269616c206f7220746f206369746520746865"
		"6d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67726573732e2fe2809d",
		"64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100"
		"d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b350638"
		"3606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa115"
		"5b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
		"49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b",
		"eead9d67890cbb22392336fea1851f38" },
};

#define VECTOR_BYTES_MAX 272u

struct vector {
	uint8_t key[32], nonce[12], additional[32], plain[VECTOR_BYTES_MAX], sealed[VECTOR_BYTES_MAX], tag[16];
	size_t additional_bytes, n;
};

static void vector_read(struct vector *v, size_t i)
{
	cr_assert_eq(unhex(VECTORS[i].key, v->key), aead_key_bytes(VECTORS[i].kind));
	cr_assert_eq(unhex(VECTORS[i].nonce, v->nonce), 12);
	v->additional_bytes = unhex(VECTORS[i].additional, v->additional);
	v->n = unhex(VECTORS[i].plain, v->plain);
	cr_assert_eq(unhex(VECTORS[i].sealed, v->sealed), v->n);
	cr_assert_eq(unhex(VECTORS[i].tag, v->tag), 16);
}

static struct aead_pool pool;

static void setup(void)
{
	const char *missing;

	cr_assert(aead_pool_init(&pool, &missing));
}

static void teardown(void)
{
	aead_pool_fini(&pool);
	aead_pool_fini(&pool);
}

TestSuite(tls_aead, .init = setup, .fini = teardown);

static void seal(struct aead *aead, const struct vector *v, uint8_t *out, uint8_t tag[16])
{
	aead_begin(aead, v->nonce, v->additional, v->additional_bytes);
	aead_add(aead, v->plain, v->n, out);
	aead_sealed(aead, tag);
}

static bool opens(struct aead *aead, const uint8_t *nonce, const uint8_t *additional, size_t additional_bytes,
	const uint8_t *sealed, size_t n, const uint8_t *tag, uint8_t *out)
{
	aead_begin(aead, nonce, additional, additional_bytes);
	aead_add(aead, sealed, n, out);
	return aead_opened(aead, tag);
}

/* ---- published vectors ---- */

Test(tls_aead, the_published_vectors_are_sealed_in_any_two_pieces_apart_and_in_place)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, v.key, true);
		for (size_t cut = 0; cut <= 2 * v.n + 1; cut++) {
			uint8_t out[VECTOR_BYTES_MAX], tag[16], *from = v.plain;
			size_t at = cut / 2;

			if (cut % 2) {
				memcpy(out, v.plain, v.n);
				from = out;
			}
			aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
			aead_add(&aead, from, at, out);
			aead_add(&aead, from + at, v.n - at, out + at);
			aead_sealed(&aead, tag);
			cr_assert_eq(memcmp(out, v.sealed, v.n), 0);
			cr_assert_eq(memcmp(tag, v.tag, 16), 0);
		}
		aead_fini(&aead);
		aead_fini(&aead);
	}
}

Test(tls_aead, the_published_vectors_are_opened_byte_by_byte)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		uint8_t out[VECTOR_BYTES_MAX];
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, v.key, false);
		aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
		for (size_t at = 0; at < v.n; at++)
			aead_add(&aead, v.sealed + at, 1, out + at);
		cr_assert(aead_opened(&aead, v.tag));
		cr_assert_eq(memcmp(out, v.plain, v.n), 0);
		aead_fini(&aead);
	}
}

Test(tls_aead, the_published_vectors_are_opened_in_place_and_a_changed_tag_is_refused)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, v.key, false);
		for (unsigned bit = 0; bit <= 128; bit++) {
			uint8_t in[VECTOR_BYTES_MAX];

			memcpy(in, v.sealed, v.n);
			if (bit < 128)
				v.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
			cr_assert_eq(opens(&aead, v.nonce, v.additional, v.additional_bytes, in, v.n, v.tag, in), bit == 128);
			cr_assert_eq(memcmp(in, v.plain, v.n), 0);
			cr_assert_eq(ERR_peek_error(), 0);
			if (bit < 128)
				v.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		aead_fini(&aead);
	}
}

Test(tls_aead, a_change_anywhere_and_a_cut_anywhere_is_refused)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		uint8_t out[VECTOR_BYTES_MAX], wrong[VECTOR_BYTES_MAX + 1];
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, v.key, false);
		for (size_t bit = 0; bit < v.n * 8; bit++) {
			memcpy(wrong, v.sealed, v.n);
			wrong[bit / 8] ^= (uint8_t)(1u << bit % 8);
			cr_assert(!opens(&aead, v.nonce, v.additional, v.additional_bytes, wrong, v.n, v.tag, out));
		}
		for (size_t bit = 0; bit < v.additional_bytes * 8; bit++) {
			memcpy(wrong, v.additional, v.additional_bytes);
			wrong[bit / 8] ^= (uint8_t)(1u << bit % 8);
			cr_assert(!opens(&aead, v.nonce, wrong, v.additional_bytes, v.sealed, v.n, v.tag, out));
		}
		for (size_t bit = 0; bit < 12 * 8; bit++) {
			memcpy(wrong, v.nonce, 12);
			wrong[bit / 8] ^= (uint8_t)(1u << bit % 8);
			cr_assert(!opens(&aead, wrong, v.additional, v.additional_bytes, v.sealed, v.n, v.tag, out));
		}
		for (size_t n = 0; n < v.n; n++)
			cr_assert(!opens(&aead, v.nonce, v.additional, v.additional_bytes, v.sealed, n, v.tag, out));
		for (size_t n = 0; n < v.additional_bytes; n++)
			cr_assert(!opens(&aead, v.nonce, v.additional, n, v.sealed, v.n, v.tag, out));
		memcpy(wrong, v.sealed, v.n);
		wrong[v.n] = 0;
		cr_assert(!opens(&aead, v.nonce, v.additional, v.additional_bytes, wrong, v.n + 1, v.tag, wrong));
		/* None of this has hurt the key. */
		cr_assert(opens(&aead, v.nonce, v.additional, v.additional_bytes, v.sealed, v.n, v.tag, out));
		cr_assert_eq(pool.readied, i + 1);
		aead_fini(&aead);
	}
}

Test(tls_aead, another_key_in_the_same_place_is_that_key)
{
	static const uint8_t OTHER[32] = { 1 };

	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;
		uint8_t out[VECTOR_BYTES_MAX], tag[16];

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, OTHER, true);
		seal(&aead, &v, out, tag);
		cr_assert_neq(memcmp(tag, v.tag, 16), 0);
		aead_set_key(&aead, v.key);
		seal(&aead, &v, out, tag);
		cr_assert_eq(memcmp(tag, v.tag, 16), 0);
		aead_fini(&aead);

		/* Nor does it matter whether the first one was ever used. */
		aead_init(&aead, &pool, VECTORS[i].kind, OTHER, true);
		aead_set_key(&aead, v.key);
		seal(&aead, &v, out, tag);
		cr_assert_eq(memcmp(tag, v.tag, 16), 0);
		aead_fini(&aead);
	}
}

/* ---- another implementation ---- */

/* In one piece, by OpenSSL, with a context of its own. */
static void openssl_seal(enum aead_kind kind, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
	int additional_bytes, const uint8_t *plain, int n, uint8_t *out, uint8_t *tag)
{
	const EVP_CIPHER *cipher = kind == AEAD_AES_128_GCM ? EVP_aes_128_gcm()
		: kind == AEAD_AES_256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int written;

	cr_assert_eq(EVP_EncryptInit_ex(c, cipher, NULL, key, nonce), 1);
	cr_assert_eq(EVP_EncryptUpdate(c, NULL, &written, additional, additional_bytes), 1);
	cr_assert_eq(EVP_EncryptUpdate(c, out, &written, plain, n), 1);
	cr_assert_eq(EVP_EncryptFinal_ex(c, out + n, &written), 1);
	cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
	EVP_CIPHER_CTX_free(c);
}

Test(tls_aead, every_length_is_sealed_as_openssl_seals_it_and_opened_in_uneven_pieces)
{
	static uint8_t plain[16640], want[16640 + 16], out[16640];
	uint32_t dice = 7;

	for (size_t i = 0; i < sizeof plain; i++)
		plain[i] = (uint8_t)((dice = dice * 1664525u + 1013904223u) >> 24);
	for (enum aead_kind kind = 0; kind < AEAD_KINDS; kind++) {
		struct aead seals, opener;

		aead_init(&seals, &pool, kind, plain, true);
		aead_init(&opener, &pool, kind, plain, false);
		for (size_t n = 1; n <= sizeof plain; n += n < 300 ? 1 : 1021) {
			const uint8_t *nonce = plain + n % 64;
			uint8_t want_tag[16], tag[16];
			size_t at = 0;

			openssl_seal(kind, plain, nonce, plain + 100, 13, plain, (int)n, want, want_tag);
			aead_begin(&seals, nonce, plain + 100, 13);
			aead_add(&seals, plain, n, out);
			aead_sealed(&seals, tag);
			cr_assert_eq(memcmp(out, want, n), 0);
			cr_assert_eq(memcmp(tag, want_tag, 16), 0);
			aead_begin(&opener, nonce, plain + 100, 13);
			while (at < n) {
				size_t piece = ((dice = dice * 1664525u + 1013904223u) >> 16) % 200;

				piece = piece < n - at ? piece : n - at;
				aead_add(&opener, out + at, piece, out + at);
				at += piece;
			}
			cr_assert(aead_opened(&opener, tag));
			cr_assert_eq(memcmp(out, plain, n), 0);
		}
		aead_fini(&seals);
		aead_fini(&opener);
	}
}

/* ---- what is borrowed ---- */

static unsigned ciphers_held(void)
{
	unsigned n = 0;

	for (unsigned kind = 0; kind < AEAD_KINDS; kind++) {
		for (unsigned i = 0; i < AEAD_SLOTS; i++) {
			cr_assert_eq(!pool.slots[kind][i].owner, !pool.slots[kind][i].cipher);
			n += pool.slots[kind][i].cipher != NULL;
		}
	}
	return n;
}

Test(tls_aead, a_key_that_works_keeps_its_cipher_and_one_that_never_did_has_none)
{
	struct vector v;
	struct aead busy, idle;
	uint8_t out[VECTOR_BYTES_MAX], tag[16];

	vector_read(&v, 3);
	aead_init(&busy, &pool, VECTORS[3].kind, v.key, true);
	aead_init(&idle, &pool, VECTORS[3].kind, v.key, true);
	cr_assert_eq(ciphers_held(), 0);
	for (unsigned i = 0; i < 1000; i++)
		seal(&busy, &v, out, tag);
	cr_assert_eq(ciphers_held(), 1);
	cr_assert_eq(pool.readied, 1);
	aead_fini(&idle);
	aead_fini(&busy);
	cr_assert_eq(ciphers_held(), 0);
}

/* Each of more keys than there are ciphers is another one, and gets its own results. */
Test(tls_aead, more_keys_than_ciphers_share_them_and_a_busy_one_loses_nothing)
{
	static struct aead keys[3 * AEAD_SLOTS];
	uint8_t out[16], tag[16], want_out[16], want_tag[16], key[32] = { 0 }, nonce[12] = { 0 };
	static const uint8_t PLAIN[16] = "a line of text.";

	for (enum aead_kind kind = 0; kind < AEAD_KINDS; kind++) {
		uint64_t readied = pool.readied;

		for (unsigned i = 0; i < array_count(keys); i++) {
			key[0] = (uint8_t)i;
			key[1] = (uint8_t)(i >> 8);
			aead_init(&keys[i], &pool, kind, key, i % 2);
		}
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned i = 1; i < array_count(keys); i++) {
				/* The first key opens a record between any two others, and is the one that stays. */
				for (unsigned turn = 0; turn < 2; turn++) {
					unsigned which = turn ? i : 0;

					key[0] = (uint8_t)which;
					key[1] = (uint8_t)(which >> 8);
					openssl_seal(kind, key, nonce, PLAIN, 5, PLAIN, 16, want_out, want_tag);
					aead_begin(&keys[which], nonce, PLAIN, 5);
					if (which % 2) {
						aead_add(&keys[which], PLAIN, 16, out);
						aead_sealed(&keys[which], tag);
						cr_assert_eq(memcmp(out, want_out, 16), 0);
						cr_assert_eq(memcmp(tag, want_tag, 16), 0);
					} else {
						aead_add(&keys[which], want_out, 16, out);
						cr_assert(aead_opened(&keys[which], want_tag));
						cr_assert_eq(memcmp(out, PLAIN, 16), 0);
					}
				}
			}
			cr_assert_eq(ciphers_held(), AEAD_SLOTS);
		}
		/* Once for the first, and once each time for each of the others. */
		cr_assert_eq(pool.readied - readied, 1 + 3 * (array_count(keys) - 1));
		for (unsigned i = 0; i < array_count(keys); i++)
			aead_fini(&keys[i]);
		cr_assert_eq(ciphers_held(), 0);
	}
}

Test(tls_aead, a_record_that_is_begun_keeps_its_cipher_whatever_others_do)
{
	static struct aead others[2 * AEAD_SLOTS];
	struct vector v;
	struct aead slow;
	uint8_t out[VECTOR_BYTES_MAX], tag[16];

	vector_read(&v, 3);
	aead_init(&slow, &pool, VECTORS[3].kind, v.key, true);
	aead_begin(&slow, v.nonce, v.additional, v.additional_bytes);
	aead_add(&slow, v.plain, 20, out);
	for (unsigned i = 0; i < array_count(others); i++) {
		uint8_t nothing[16];

		aead_init(&others[i], &pool, VECTORS[3].kind, v.plain + i % 32, true);
		aead_begin(&others[i], v.nonce, "", 0);
		aead_sealed(&others[i], nothing);
	}
	aead_add(&slow, v.plain + 20, v.n - 20, out + 20);
	aead_sealed(&slow, tag);
	cr_assert_eq(memcmp(out, v.sealed, v.n), 0);
	cr_assert_eq(memcmp(tag, v.tag, 16), 0);
	/* One that is given up in the middle of its record gives its cipher back too. */
	aead_begin(&slow, v.nonce, v.additional, v.additional_bytes);
	aead_fini(&slow);
	for (unsigned i = 0; i < array_count(others); i++)
		aead_fini(&others[i]);
	cr_assert_eq(ciphers_held(), 0);
}

Test(tls_aead, nothing_of_a_key_is_left_when_it_has_ended)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		uint8_t out[VECTOR_BYTES_MAX], tag[16];
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &pool, VECTORS[i].kind, v.key, true);
		seal(&aead, &v, out, tag);
		aead_fini(&aead);
		for (size_t at = 0; at < sizeof aead; at++)
			cr_assert_eq(((uint8_t *)&aead)[at], 0);
		cr_assert_eq(ciphers_held(), 0);
	}
}

static_assert(sizeof(struct aead) <= 48, "what a connection keeps, twice");
