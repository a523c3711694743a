/* Who a client is: the texts that a certificate becomes, honest and odd ones. The certificates are OpenSSL's. */
#include "tls/identity.c"

#include "psa/crypto.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdio.h>

/* ---- certificates ---- */

struct made {
	X509 *x;
	STACK_OF(GENERAL_NAME) *names;
};

static void made_begin(struct made *m)
{
	m->x = X509_new();
	m->names = sk_GENERAL_NAME_new_null();
	X509_set_version(m->x, 2);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(m->x), 0x0aff01);
	X509_gmtime_adj(X509_getm_notBefore(m->x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(m->x), 3600);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(m->x), "CN", MBSTRING_ASC, (const unsigned char *)"authority", -1, -1, 0);
}

static void subject_add(struct made *m, const char *type, int string_type, const void *bytes, int size, int set)
{
	cr_assert(X509_NAME_add_entry_by_txt(X509_get_subject_name(m->x), type, string_type, bytes, size, -1, set));
}

static void san_add(struct made *m, int type, const void *bytes, size_t size)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	ASN1_STRING_set(text, bytes, (int)size);
	GENERAL_NAME_set0_value(name, type, text);
	sk_GENERAL_NAME_push(m->names, name);
}

#define SAN(m, type, literal) san_add(m, type, literal, sizeof(literal) - 1)

static struct tls_identity *made_end(struct made *m)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	unsigned char *der = NULL;
	mbedtls_x509_crt certificate;
	struct tls_identity *identity;
	int n;

	if (sk_GENERAL_NAME_num(m->names) > 0)
		cr_assert_eq(X509_add1_ext_i2d(m->x, NID_subject_alt_name, m->names, 0, 0), 1);
	X509_set_pubkey(m->x, key);
	X509_sign(m->x, key, EVP_sha256());
	n = i2d_X509(m->x, &der);
	cr_assert_gt(n, 0);

	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	mbedtls_x509_crt_init(&certificate);
	cr_assert_eq(mbedtls_x509_crt_parse_der(&certificate, der, (size_t)n), 0);
	identity = tls_identity_of(&certificate);
	mbedtls_x509_crt_free(&certificate); /* nothing of it is kept, ASan sees to that */
	mbedtls_psa_crypto_free();
	cr_assert_not_null(identity);
	cr_assert_eq(identity->der_bytes, (size_t)n);
	cr_assert_eq(memcmp(identity->der, der, (size_t)n), 0);

	OPENSSL_free(der);
	EVP_PKEY_free(key);
	sk_GENERAL_NAME_pop_free(m->names, GENERAL_NAME_free);
	X509_free(m->x);
	return identity;
}

static void expect_names(const struct tls_identity *identity, unsigned count, const char *const *names)
{
	cr_assert_eq(identity->name_count, count, "%u", identity->name_count);
	for (unsigned i = 0; i < count; i++)
		cr_expect_str_eq(identity->names[i], names[i]);
}

/* The subject of one common name. */
static void expect_common_name(int string_type, const void *bytes, int size, const char *expected)
{
	struct made m;
	struct tls_identity *identity;

	made_begin(&m);
	subject_add(&m, "CN", string_type, bytes, size, 0);
	identity = made_end(&m);
	if (expected)
		cr_expect_str_eq(identity->subject, expected);
	else
		cr_expect_null(identity->subject, "%s", identity->subject);
	tls_identity_free(identity);
}

/* ---- an honest one ---- */

Test(tls_identity, a_certificate_becomes_texts)
{
	static const char *const names[] = { "DNS:Site-7.example.org", "EMAIL:cra@cro.example.org", "URI:spiffe://example.org/site/7",
		"DNS:*.cro.example.org" };
	struct made m;
	struct tls_identity *identity;

	made_begin(&m);
	subject_add(&m, "C", MBSTRING_ASC, "DE", -1, 0);
	subject_add(&m, "O", MBSTRING_ASC, "CRO", -1, 0);
	subject_add(&m, "CN", MBSTRING_ASC, "Monitor 4", -1, 0);
	SAN(&m, GEN_DNS, "Site-7.example.org");
	SAN(&m, GEN_EMAIL, "cra@cro.example.org");
	SAN(&m, GEN_URI, "spiffe://example.org/site/7");
	SAN(&m, GEN_DNS, "*.cro.example.org");
	identity = made_end(&m);
	cr_expect_str_eq(identity->subject, "CN=Monitor 4,O=CRO,C=DE");
	cr_expect_str_eq(identity->serial, "0AFF01");
	expect_names(identity, 4, names);
	tls_identity_free(identity);
	tls_identity_free(NULL);
}

Test(tls_identity, a_certificate_without_names_or_subject_has_none)
{
	struct made m;
	struct tls_identity *identity;

	made_begin(&m);
	identity = made_end(&m);
	cr_expect_null(identity->subject);
	cr_expect_eq(identity->name_count, 0);
	cr_expect_str_eq(identity->serial, "0AFF01");
	tls_identity_free(identity);
}

/* ---- subjects ---- */

Test(tls_identity, a_subject_is_as_openssl_prints_it_by_rfc_2253)
{
	static const struct {
		const char *type, *value;
		int set;                         /* 0: an RDN of its own; -1: joins the one before */
	} parts[] = { { "DC", "org", 0 }, { "DC", "example", 0 }, { "O", "CRO, Inc.", 0 }, { "OU", "a+b", 0 }, { "CN", " Monitor \"4\" ", 0 },
		{ "GN", "m;4", -1 }, { "L", "#1 <Berlin>\\", 0 }, { "ST", "M\xc3\xbcnchen", 0 } };
	struct made m;
	struct tls_identity *identity;
	BIO *out = BIO_new(BIO_s_mem());
	const unsigned char *der;
	char *wanted, *blank;
	X509 *x;
	long n;

	made_begin(&m);
	for (unsigned i = 0; i < array_count(parts); i++)
		subject_add(&m, parts[i].type, MBSTRING_UTF8, parts[i].value, -1, parts[i].set);
	identity = made_end(&m);
	der = identity->der;
	x = d2i_X509(NULL, &der, (long)identity->der_bytes); /* DER sorts the parts of an RDN */
	X509_NAME_print_ex(out, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
	BIO_write(out, "", 1);
	n = BIO_get_mem_data(out, &wanted);
	/* But for the blank at a value's end, which we write so that nobody can trim it. */
	cr_assert_str_eq(identity->subject, "ST=M\\C3\\BCnchen,L=\\#1 \\<Berlin\\>\\\\,CN=\\ Monitor \\\"4\\\"\\20+GN=m\\;4,OU=a\\+b,O=CRO\\, Inc.,"
	                                    "DC=example,DC=org");
	blank = strstr(identity->subject, "\\20");
	cr_assert(blank && n > 0);
	memmove(blank + 2, blank + 3, strlen(blank + 3) + 1);
	blank[1] = ' ';
	cr_expect_str_eq(identity->subject, wanted);
	BIO_free(out);
	X509_free(x);
	tls_identity_free(identity);
}

Test(tls_identity, a_subject_with_odd_bytes_is_escaped_or_absent)
{
	char text[256];

	expect_common_name(V_ASN1_UTF8STRING, "a\r\nX-Client-Cert-SAN: DNS:b", -1, "CN=a\\0D\\0AX-Client-Cert-SAN: DNS:b");
	expect_common_name(V_ASN1_UTF8STRING, "\x7f\xff", 2, "CN=\\7F\\FF");
	expect_common_name(V_ASN1_UTF8STRING, ",", 1, "CN=\\,");
	expect_common_name(V_ASN1_UTF8STRING, " + ", 3, "CN=\\ \\+\\20");
	expect_common_name(V_ASN1_UTF8STRING, "good\0evil", 9, NULL);
	/* A string type in which the same bytes might mean other characters is shown as its bytes. */
	expect_common_name(V_ASN1_BMPSTRING, "\0a", 2, "CN=#1E020061");
	memset(text, 'x', sizeof text);
	expect_common_name(V_ASN1_UTF8STRING, text, 256, NULL);
}

Test(tls_identity, a_subject_of_many_parts_is_whole_or_absent)
{
	for (unsigned count = 1; count < 300; count++) {
		struct made m;
		struct tls_identity *identity;

		if (count > 3 && count % 13 != 0)
			continue;
		made_begin(&m);
		for (unsigned i = 0; i < count; i++) {
			char value[8];

			snprintf(value, sizeof value, "%03u ", i);
			subject_add(&m, "OU", MBSTRING_ASC, value, -1, 0);
		}
		identity = made_end(&m);
		/* "OU=000\20,", ten bytes each, and 64 of them at most. */
		if (count <= 64)
			cr_assert_eq(strlen(identity->subject), count * 10 - 1, "%u: %s", count, identity->subject);
		else
			cr_assert_null(identity->subject);
		tls_identity_free(identity);
	}
}

Test(tls_identity, a_subject_fills_its_room_to_the_last_byte)
{
	unsigned whole = 0, absent = 0;

	for (int last = 120; last < 200; last++) {
		char value[256];
		struct made m;
		struct tls_identity *identity;

		memset(value, ' ', sizeof value); /* each ends as "\20", the one text that grows */
		value[0] = 'x';
		made_begin(&m);
		for (unsigned i = 0; i < 4; i++)
			subject_add(&m, "OU", V_ASN1_UTF8STRING, value, 200, 0);
		subject_add(&m, "CN", V_ASN1_UTF8STRING, value, last, 0);
		identity = made_end(&m);
		if (identity->subject) {
			cr_assert_eq(strlen(identity->subject), 5u * 5 + 4u * 200 + (unsigned)last + 4, "%zu %d", strlen(identity->subject), last);
			whole++;
		} else {
			absent++;
		}
		tls_identity_free(identity);
	}
	cr_expect_gt(whole, 0);
	cr_expect_gt(absent, 0);
}

/* ---- names ---- */

Test(tls_identity, a_name_that_could_be_read_in_two_ways_is_left_out)
{
	static const char *const names[] = { "DNS:a.example", "URI:DNS:b.example", "EMAIL:x, DNS:y@z", "DNS:c.example" };
	static const unsigned char address[] = { 127, 0, 0, 1 };
	char longest[256];
	struct made m;
	struct tls_identity *identity;

	memset(longest, 'l', sizeof longest);
	made_begin(&m);
	subject_add(&m, "CN", MBSTRING_ASC, "x", -1, 0);
	SAN(&m, GEN_DNS, "good.example\0.evil.example");
	SAN(&m, GEN_DNS, "\0");
	SAN(&m, GEN_DNS, "");
	SAN(&m, GEN_DNS, "a.example");
	SAN(&m, GEN_DNS, "a.example\n");
	SAN(&m, GEN_DNS, "a.example\x7f");
	SAN(&m, GEN_DNS, "m\xc3\xbcnchen.example");
	SAN(&m, GEN_EMAIL, "a\tb@c");
	SAN(&m, GEN_URI, "DNS:b.example");
	SAN(&m, GEN_URI, "x\r\nHost: evil");
	SAN(&m, GEN_EMAIL, "x, DNS:y@z");
	san_add(&m, GEN_DNS, longest, 256);
	san_add(&m, GEN_DNS, "c.example", 9);
	{
		/* Kinds that are not read: an address, a directory name. */
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
		X509_NAME *directory = X509_NAME_new();

		ASN1_OCTET_STRING_set(bytes, address, sizeof address);
		GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
		sk_GENERAL_NAME_push(m.names, name);
		name = GENERAL_NAME_new();
		X509_NAME_add_entry_by_txt(directory, "CN", MBSTRING_ASC, (const unsigned char *)"d", -1, -1, 0);
		GENERAL_NAME_set0_value(name, GEN_DIRNAME, directory);
		sk_GENERAL_NAME_push(m.names, name);
	}
	identity = made_end(&m);
	expect_names(identity, 4, names);
	tls_identity_free(identity);
}

Test(tls_identity, the_longest_name_and_the_last_of_many_are_kept_and_no_more)
{
	char longest[255];
	struct made m;
	struct tls_identity *identity;

	memset(longest, 'l', sizeof longest);
	made_begin(&m);
	for (unsigned i = 0; i < TLS_IDENTITY_NAMES_MAX + 3; i++)
		san_add(&m, GEN_DNS, longest, sizeof longest);
	identity = made_end(&m);
	cr_assert_eq(identity->name_count, TLS_IDENTITY_NAMES_MAX);
	for (unsigned i = 0; i < identity->name_count; i++)
		cr_expect_eq(strlen(identity->names[i]), 4 + 255);
	tls_identity_free(identity);
}
