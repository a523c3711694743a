/* What of a request is sent on: who a client is, is ours to say. */
#include "gateway/serve/proxy.c"

#include <criterion/criterion.h>

/* The request as the server behind will see it. */
static struct http_head *made(struct exchange *x, struct proxy *p, const struct tls_identity *identity, const char *const *fields)
{
	*x = (struct exchange){ .client = "192.0.2.7", .upstream = "127.0.0.1:1", .secure = true, .client_identity = identity };
	*p = (struct proxy){ 0 };
	arena_init(&x->arena, x->arena_own, sizeof x->arena_own);
	http_head_init(&x->request, &x->arena);
	x->request.method = HTTP_METHOD_GET;
	x->request.host = HTTP_TEXT("edc.example.org");
	for (; *fields; fields += 2)
		http_append(&x->request, http_text_of(fields[0]), http_text_of(fields[1]));
	request_make(x, p);
	return &p->request;
}
#define MADE(identity, ...) made(&x, &p, identity, (const char *[]){ __VA_ARGS__, NULL })

static unsigned count_named(const struct http_head *head, const char *name)
{
	unsigned count = 0;

	for (const struct http_field *field = NULL; (field = http_find_next(head, name, field));)
		count++;
	return count;
}

Test(gateway_proxy, a_client_cannot_claim_a_certificate)
{
	struct exchange x;
	struct proxy p;
	struct http_head *head = MADE(NULL, "Client-Cert", ":AAAA:", "client-cert-chain", ":AAAA:", "X-CLIENT-CERT-SUBJECT", "CN=root",
		"X-Client-Cert-SAN", "DNS:root", "X-Client-Cert-San", "DNS:again", "X-Client-Cert-Verify", "SUCCESS", "X_Client_Cert_Subject", "CN=u",
		"client_cert", ":AAAA:", "Accept", "*/*", "X-Client", "stays");

	for (unsigned i = 0; i < head->field_count; i++)
		cr_assert_not(http_client_cert_is(head->fields[i].name) || memchr(head->fields[i].name.bytes, '_', head->fields[i].name.size), "%.*s",
			(int)head->fields[i].name.size, head->fields[i].name.bytes);
	cr_assert_eq(count_named(head, "Accept"), 1);
	cr_assert_eq(count_named(head, "X-Client"), 1);
	arena_fini(&x.arena);
}

Test(gateway_proxy, a_verified_certificate_is_told_in_the_place_of_claims)
{
	char *names[] = { (char *)"DNS:site-7.example.org" };
	static const uint8_t der[] = { 1, 2, 3 };
	const struct tls_identity identity = { .subject = (char *)"CN=a", .names = names, .name_count = 1, .der = (uint8_t *)der, .der_bytes = 3 };
	struct exchange x;
	struct proxy p;
	/* Named in Connection, as fields to be taken away. */
	struct http_head *head = MADE(&identity, "Client-Cert", ":AAAA:", "X-Client-Cert-Subject", "CN=root", "X-Client-Cert-SAN", "DNS:root",
		"Connection", "Client-Cert, X-Client-Cert-Subject, X-Client-Cert-SAN");

	cr_assert_eq(count_named(head, "Client-Cert"), 1);
	cr_assert_eq(count_named(head, "X-Client-Cert-Subject"), 1);
	cr_assert_eq(count_named(head, "X-Client-Cert-SAN"), 1);
	cr_assert(http_text_is(http_find(head, "Client-Cert"), ":AQID:"));
	cr_assert(http_text_is(http_find(head, "X-Client-Cert-Subject"), "CN=a"));
	cr_assert(http_text_is(http_find(head, "X-Client-Cert-SAN"), "DNS:site-7.example.org"));
	arena_fini(&x.arena);
}

/* The names that we know are judged without their letters: none of them may be one that its letters would take away. */
Test(gateway_proxy, a_known_name_is_judged_as_its_letters_are)
{
	for (enum http_name name = HTTP_NAME_OTHER + 1; name < HTTP_NAME_COUNT; name++) {
		const struct http_field field = { .name = http_name_text(name), .known = name };

		cr_assert(is_not_sent_on(&field) || !is_impostor(field.name), "%s", field.name.bytes);
	}
}

Test(gateway_proxy, claims_of_where_it_came_from_are_replaced)
{
	struct exchange x;
	struct proxy p;
	struct http_head *head = MADE(NULL, "X-Forwarded-Proto", "http", "X-Real-IP", "198.51.100.1", "X-Forwarded-Port", "80", "Forwarded", "for=x",
		"x-real-ip", "198.51.100.2", "Expect", "100-continue", "X-Forwarded-For", "198.51.100.3", "X-Forwarded-Host", "a", "X_Real_IP", "b",
		"Accept", "*/*");

	cr_assert_eq(head->field_count, 5);
	cr_assert(http_text_is(head->fields[0].value, "*/*"));
	cr_assert(http_text_is(http_known(head, HTTP_NAME_X_REAL_IP), "192.0.2.7"));
	cr_assert(http_text_is(http_known(head, HTTP_NAME_X_FORWARDED_FOR), "198.51.100.3, 192.0.2.7"));
	cr_assert(http_text_is(http_known(head, HTTP_NAME_X_FORWARDED_PROTO), "https"));
	cr_assert(http_text_is(http_known(head, HTTP_NAME_X_FORWARDED_HOST), "edc.example.org"));
	arena_fini(&x.arena);
}
