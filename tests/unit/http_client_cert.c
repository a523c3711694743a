/* What a server behind us is told of a client's certificate: whole, or not at all, and by nobody but us. */
#include "gateway/http/client_cert.c"

#include <criterion/criterion.h>
#include <openssl/evp.h>

#include <stdio.h>

struct made {
	struct arena arena;
	struct http_head head;
};

static void made_begin(struct made *m)
{
	arena_init(&m->arena, NULL, 0);
	http_head_init(&m->head, &m->arena);
}

static void made_end(struct made *m)
{
	arena_fini(&m->arena);
}

static void expect_field(const struct made *m, const char *name, const char *value)
{
	struct http_text found = http_find(&m->head, name);

	if (value)
		cr_assert(http_text_is(found, value), "%s is %.*s, not %s", name, (int)found.size, found.bytes ? found.bytes : "", value);
	else
		cr_assert_null(found.bytes, "%s: %.*s", name, (int)found.size, found.bytes);
}

/* X-Client-Cert-SAN of a certificate with these names, ended by NULL. */
static void expect_names(const char *const *names, const char *value)
{
	struct tls_identity client = { .names = (char **)(void *)names };
	struct made m;

	while (names[client.name_count])
		client.name_count++;
	made_begin(&m);
	http_client_cert_add(&m.head, &client);
	expect_field(&m, "X-Client-Cert-SAN", value);
	made_end(&m);
}
#define EXPECT_NAMES(value, ...) expect_names((const char *[]){ __VA_ARGS__, NULL }, value)

Test(http_client_cert, the_three_fields_are_added)
{
	static const uint8_t der[] = { 0x30, 0x82, 0xff, 0x00 };
	char *names[] = { (char *)"DNS:site-7.example.org", (char *)"EMAIL:cra@cro.example.org" };
	const struct tls_identity client = { .subject = (char *)"CN=Monitor 4,O=CRO", .names = names, .name_count = 2, .der = (uint8_t *)der,
		.der_bytes = sizeof der };
	struct made m;

	made_begin(&m);
	http_client_cert_add(&m.head, &client);
	cr_assert_eq(m.head.field_count, 3);
	expect_field(&m, "Client-Cert", ":MIL/AA==:");
	expect_field(&m, "X-Client-Cert-Subject", "CN=Monitor 4,O=CRO");
	expect_field(&m, "X-Client-Cert-SAN", "DNS:site-7.example.org, EMAIL:cra@cro.example.org");
	for (unsigned i = 0; i < m.head.field_count; i++)
		cr_assert(http_client_cert_is(m.head.fields[i].name));
	made_end(&m);
}

Test(http_client_cert, what_is_absent_makes_no_field)
{
	const struct tls_identity client = { 0 };
	struct made m;

	made_begin(&m);
	http_client_cert_add(&m.head, &client);
	cr_assert_eq(m.head.field_count, 0);
	made_end(&m);
}

Test(http_client_cert, base64_is_as_openssl_writes_it)
{
	uint8_t der[200];

	for (unsigned i = 0; i < sizeof der; i++)
		der[i] = (uint8_t)(i * 167 + 13);
	for (size_t n = 1; n <= sizeof der; n++) {
		const struct tls_identity client = { .der = der, .der_bytes = n };
		char wanted[sizeof der * 2];
		int size;
		struct made m;

		wanted[0] = ':';
		size = EVP_EncodeBlock((unsigned char *)wanted + 1, der, (int)n);
		strcpy(wanted + 1 + size, ":");
		made_begin(&m);
		http_client_cert_add(&m.head, &client);
		expect_field(&m, "Client-Cert", wanted);
		made_end(&m);
	}
}

Test(http_client_cert, a_certificate_too_large_for_a_line_is_left_out)
{
	size_t largest = 0;
	uint8_t *der = calloc(1, 8192);

	for (size_t n = 6000; n < 6300; n++) {
		const struct tls_identity client = { .der = der, .der_bytes = n, .subject = (char *)"CN=x" };
		struct http_text value;
		struct made m;

		made_begin(&m);
		http_client_cert_add(&m.head, &client);
		value = http_find(&m.head, "Client-Cert");
		if (value.bytes) {
			cr_assert(largest == 0 || largest == n - 1);
			cr_assert_leq(strlen("Client-Cert: \r\n") + value.size, HTTP_CLIENT_CERT_BYTES_MAX);
			largest = n;
		}
		expect_field(&m, "X-Client-Cert-Subject", "CN=x");
		made_end(&m);
	}
	/* The next group of four letters would not have fitted. */
	cr_assert_gt(strlen("Client-Cert: \r\n") + 2 + (largest + 3) / 3 * 4, HTTP_CLIENT_CERT_BYTES_MAX);
	free(der);
}

Test(http_client_cert, a_name_cannot_become_two)
{
	EXPECT_NAMES("URI:x%2C%20DNS:admin.example.org", "URI:x, DNS:admin.example.org");
	EXPECT_NAMES("URI:x%0D%0AHost:%20evil", "URI:x\r\nHost: evil");
	EXPECT_NAMES("URI:a%252Cb, URI:%5C%22%3C%3E%7C%7F%C3%BC", "URI:a%2Cb", "URI:\\\"<>|\x7f\xc3\xbc");
	EXPECT_NAMES("URI:http://a/b?c=d&e=f#g;h(i)!$'*+@[::1]~_-.", "URI:http://a/b?c=d&e=f#g;h(i)!$'*+@[::1]~_-.");
}

Test(http_client_cert, every_byte_of_a_name_is_visible_or_encoded_and_can_be_read_back)
{
	for (unsigned byte = 1; byte < 256; byte++) {
		char name[] = { 'U', 'R', 'I', ':', (char)byte, 0 }, *names[] = { name };
		const struct tls_identity client = { .names = names, .name_count = 1 };
		struct http_text value;
		struct made m;
		unsigned back;

		made_begin(&m);
		http_client_cert_add(&m.head, &client);
		value = http_find(&m.head, "X-Client-Cert-SAN");
		for (size_t i = 0; i < value.size; i++)
			cr_assert(value.bytes[i] > 0x20 && value.bytes[i] < 0x7f && value.bytes[i] != ',');
		back = (uint8_t)value.bytes[4];
		if (value.size == 7)
			back = http_hex_value(value.bytes[5]) << 4 | http_hex_value(value.bytes[6]);
		cr_assert_eq(back, byte);
		made_end(&m);
	}
}

Test(http_client_cert, names_beyond_the_limit_are_left_out_whole)
{
	char long_name[256], *names[40];
	struct tls_identity client = { .names = names, .name_count = array_count(names) };
	struct http_text value, rest, element;
	struct made m;
	unsigned count = 0;

	memset(long_name, 'a', sizeof long_name);
	memcpy(long_name, "DNS:", 4);
	long_name[255] = '\0';
	for (unsigned i = 0; i < array_count(names); i++)
		names[i] = i == array_count(names) - 1 ? (char *)"DNS:z" : long_name;
	made_begin(&m);
	http_client_cert_add(&m.head, &client);
	value = rest = http_find(&m.head, "X-Client-Cert-SAN");
	cr_assert_leq(strlen("X-Client-Cert-SAN: \r\n") + value.size, HTTP_CLIENT_NAMES_BYTES_MAX);
	while (http_list_next(&rest, &element)) {
		cr_assert(http_text_is(element, long_name) || http_text_is(element, "DNS:z"));
		count++;
	}
	cr_assert_eq(count, 15 + 1); /* 15 long ones, and the short one still finds room */
	made_end(&m);

	/* Nothing fits: no field, rather than an empty one. */
	client.name_count = 1;
	for (unsigned i = 0; i < 2; i++) {
		char *huge = malloc(5000);

		memset(huge, 'h', 5000);
		huge[i == 0 ? 4999 : HTTP_CLIENT_NAMES_BYTES_MAX - strlen("X-Client-Cert-SAN: \r\n")] = '\0';
		names[0] = huge;
		made_begin(&m);
		http_client_cert_add(&m.head, &client);
		expect_field(&m, "X-Client-Cert-SAN", i == 0 ? NULL : huge);
		made_end(&m);
		free(huge);
	}
}

Test(http_client_cert, a_subject_with_a_control_character_is_left_out)
{
	for (unsigned byte = 1; byte < 256; byte++) {
		char subject[] = { 'C', 'N', '=', (char)byte, 0 };
		const struct tls_identity client = { .subject = subject };
		struct made m;

		made_begin(&m);
		http_client_cert_add(&m.head, &client);
		expect_field(&m, "X-Client-Cert-Subject", byte >= 0x20 && byte < 0x7f ? subject : NULL);
		made_end(&m);
	}
}

Test(http_client_cert, our_names_are_known_in_any_case_of_letters)
{
	for (const char **name = (const char *[]){ "Client-Cert", "client-cert", "CLIENT-CERT-CHAIN", "X-Client-Cert", "x-client-cert-subject",
	                           "X-CLIENT-CERT-SAN", "X-Client-Cert-Verify", "X-Client-Cert-", NULL };
	     *name; name++)
		cr_assert(http_client_cert_is(http_text_of(*name)), "%s", *name);
	for (const char **name = (const char *[]){ "Client-Certificate", "Client-Cer", "Client-Cert-Chains", "X-Client-Certs", "X-Client-Cer", "X",
	                           "Client", "XClient-Cert", "Accept", NULL };
	     *name; name++)
		cr_assert_not(http_client_cert_is(http_text_of(*name)), "%s", *name);
}
