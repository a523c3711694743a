#include "tls/crypto/aead.c"

#include <criterion/criterion.h>

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

static const struct {
	enum aead_kind kind;
	const char *key, *nonce, *additional, *plain, *sealed, *tag;
} VECTORS[] = {
	{ /* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4 */
		AEAD_AES_128_GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
		"ba637b39",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
		"3d58e091",
		"5bc94fbc3221a5db94fae95ae7121a47" },
	{ /* test case 16 */
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
};

struct vector {
	uint8_t key[32], nonce[12], additional[32], plain[128], sealed[128], tag[16];
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

static struct aead_ciphers ciphers;

static void setup(void)
{
	const char *missing;

	cr_assert(aead_ciphers_init(&ciphers, &missing));
}

static void teardown(void)
{
	aead_ciphers_fini(&ciphers);
	aead_ciphers_fini(&ciphers);
}

TestSuite(tls_aead, .init = setup, .fini = teardown);

Test(tls_aead, the_published_vectors_are_sealed_in_any_two_pieces)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &ciphers, VECTORS[i].kind, v.key, true);
		for (size_t cut = 0; cut <= v.n; cut++) {
			uint8_t out[128], tag[16];

			aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
			aead_add(&aead, v.plain, cut, out);
			aead_add(&aead, v.plain + cut, v.n - cut, out + cut);
			aead_sealed(&aead, tag);
			cr_assert_eq(memcmp(out, v.sealed, v.n), 0);
			cr_assert_eq(memcmp(tag, v.tag, 16), 0);
		}
		aead_fini(&aead);
		aead_fini(&aead);
	}
}

Test(tls_aead, the_published_vectors_are_opened_in_place_and_a_changed_tag_is_refused)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;

		vector_read(&v, i);
		aead_init(&aead, &ciphers, VECTORS[i].kind, v.key, false);
		for (unsigned bit = 0; bit <= 128; bit++) {
			uint8_t in[128];

			memcpy(in, v.sealed, v.n);
			if (bit < 128)
				v.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
			aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
			aead_add(&aead, in, v.n, in);
			cr_assert_eq(aead_opened(&aead, v.tag), bit == 128);
			cr_assert_eq(memcmp(in, v.plain, v.n), 0);
			cr_assert_eq(ERR_peek_error(), 0);
			if (bit < 128)
				v.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		aead_fini(&aead);
	}
}

Test(tls_aead, another_key_in_the_same_place_is_that_key)
{
	static const uint8_t OTHER[32] = { 1 };

	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead aead;
		uint8_t out[128], tag[16];

		vector_read(&v, i);
		aead_init(&aead, &ciphers, VECTORS[i].kind, OTHER, true);
		aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
		aead_add(&aead, v.plain, v.n, out);
		aead_sealed(&aead, tag);
		cr_assert_neq(memcmp(tag, v.tag, 16), 0);
		aead_set_key(&aead, v.key);
		aead_begin(&aead, v.nonce, v.additional, v.additional_bytes);
		aead_add(&aead, v.plain, v.n, out);
		aead_sealed(&aead, tag);
		cr_assert_eq(memcmp(tag, v.tag, 16), 0);
		aead_fini(&aead);
	}
}

Test(tls_aead, nothing_at_all_can_be_sealed)
{
	for (size_t i = 0; i < array_count(VECTORS); i++) {
		struct vector v;
		struct aead seal, open;
		uint8_t tag[16];

		vector_read(&v, i);
		aead_init(&seal, &ciphers, VECTORS[i].kind, v.key, true);
		aead_init(&open, &ciphers, VECTORS[i].kind, v.key, false);
		aead_begin(&seal, v.nonce, v.additional, v.additional_bytes);
		aead_add(&seal, NULL, 0, NULL);
		aead_sealed(&seal, tag);
		aead_begin(&open, v.nonce, v.additional, v.additional_bytes);
		cr_assert(aead_opened(&open, tag));
		aead_fini(&seal);
		aead_fini(&open);
	}
}
