/* The handshake: RFC 6455's own example, lists as RFC 9110 lets them be written, and each refusal by its name. */
#include <criterion/criterion.h>

#include "ws/accept.c"

struct field {
	const char *name, *value;
};

#define FIELDS_MAX 16

/* The request of the example, of which each test changes what it is about. */
struct sample {
	struct field fields[FIELDS_MAX];
	const char *method;
	unsigned major, minor;
	bool secure;
};

static const struct sample EXAMPLE = {
	.fields = {
		{ "Host", "server.example.com" },
		{ "Upgrade", "websocket" },
		{ "Connection", "Upgrade" },
		{ "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==" },
		{ "Sec-WebSocket-Version", "13" },
	},
	.method = "GET", .major = 1, .minor = 1, .secure = true,
};

static bool sample_find(const void *from, const char *name, unsigned index, struct ws_text *value)
{
	const struct sample *sample = from;

	for (size_t i = 0; i < FIELDS_MAX && sample->fields[i].name; i++)
		if (strcasecmp(sample->fields[i].name, name) == 0 && index-- == 0) {
			*value = text_of(sample->fields[i].value);
			return true;
		}
	return false;
}

static const struct reason *ask(const struct sample *sample, const struct ws_terms *terms, struct ws_acceptance *acceptance)
{
	struct ws_request request = {
		.method = text_of(sample->method),
		.http_major = sample->major,
		.http_minor = sample->minor,
		.secure = sample->secure,
		.field = sample_find,
		.from = sample,
	};

	return ws_accept(acceptance, &request, terms);
}

/* Sets the named field; NULL takes it away. */
static struct sample with(struct sample sample, const char *name, const char *value)
{
	size_t i = 0;

	while (sample.fields[i].name && strcmp(sample.fields[i].name, name) != 0)
		i++;
	if (value)
		sample.fields[i] = (struct field){ name, value };
	else
		sample.fields[i] = (struct field){ "X-Away", "" };
	return sample;
}

static struct sample with_more(struct sample sample, const char *name, const char *value)
{
	size_t i = 0;

	while (sample.fields[i].name)
		i++;
	sample.fields[i] = (struct field){ name, value };
	return sample;
}

static const struct reason *plain(struct sample sample)
{
	static const struct ws_terms TERMS = { 0 };
	struct ws_acceptance acceptance;

	return ask(&sample, &TERMS, &acceptance);
}

Test(ws_accept, the_example_of_the_standard_is_answered_with_its_key)
{
	static const struct ws_terms TERMS = { 0 };
	struct ws_acceptance acceptance;

	cr_assert_null(ask(&EXAMPLE, &TERMS, &acceptance));
	cr_assert_str_eq(acceptance.key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	cr_assert_null(acceptance.protocol);
}

Test(ws_accept, lists_may_be_long_spread_empty_in_places_and_of_any_case)
{
	cr_assert_null(plain(with(EXAMPLE, "Connection", "keep-alive, UPGRADE")));
	cr_assert_null(plain(with(EXAMPLE, "Connection", " ,\t, upgrade\t,")));
	cr_assert_null(plain(with_more(with(EXAMPLE, "Connection", "keep-alive"), "connection", "Upgrade")));
	cr_assert_null(plain(with_more(with(EXAMPLE, "Connection", ""), "connection", "Upgrade")));
	cr_assert_null(plain(with(EXAMPLE, "Upgrade", "h2c, WebSocket")));
	cr_assert_null(plain(with(EXAMPLE, "Sec-WebSocket-Version", " 13\t")));
	cr_assert_eq(plain(with(EXAMPLE, "Connection", "upgrades, up grade")), &WS_ACCEPT_CONNECTION);
	cr_assert_eq(plain(with(EXAMPLE, "Upgrade", "websocket2")), &WS_ACCEPT_UPGRADE);
}

Test(ws_accept, each_broken_rule_is_refused_by_its_name_and_status)
{
	struct sample post = EXAMPLE, old = EXAMPLE, lower = EXAMPLE;

	post.method = "POST";
	lower.method = "get";
	old.minor = 0;
	cr_assert_eq(plain(post), &WS_ACCEPT_METHOD);
	cr_assert_eq(plain(lower), &WS_ACCEPT_METHOD);
	cr_assert_eq(plain(old), &WS_ACCEPT_HTTP_TOO_OLD);
	cr_assert_eq(plain(with(EXAMPLE, "Host", NULL)), &WS_ACCEPT_HOST);
	cr_assert_eq(plain(with_more(EXAMPLE, "Host", "other")), &WS_ACCEPT_HOST);
	cr_assert_eq(plain(with(EXAMPLE, "Upgrade", NULL)), &WS_ACCEPT_UPGRADE);
	cr_assert_eq(plain(with(EXAMPLE, "Connection", NULL)), &WS_ACCEPT_CONNECTION);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Key", NULL)), &WS_ACCEPT_KEY);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=")), &WS_ACCEPT_KEY);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQAA")), &WS_ACCEPT_KEY);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Key", "dGhlIHNhbXBs*SBub25jZQ==")), &WS_ACCEPT_KEY);
	cr_assert_eq(plain(with_more(EXAMPLE, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")), &WS_ACCEPT_KEY);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Version", NULL)), &WS_ACCEPT_VERSION);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Version", "8")), &WS_ACCEPT_VERSION);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Version", "13, 8")), &WS_ACCEPT_VERSION);
	cr_assert_eq(plain(with(EXAMPLE, "Sec-WebSocket-Version", "013")), &WS_ACCEPT_VERSION);
	cr_assert_eq(plain(with_more(EXAMPLE, "Sec-WebSocket-Protocol", "chat, a b")), &WS_ACCEPT_PROTOCOL_MALFORMED);
	cr_assert_eq(ws_accept_status(&WS_ACCEPT_METHOD), 405);
	cr_assert_eq(ws_accept_status(&WS_ACCEPT_VERSION), 426);
	cr_assert_eq(ws_accept_status(&WS_ACCEPT_ORIGIN), 403);
	cr_assert_eq(ws_accept_status(&WS_ACCEPT_KEY), 400);
}

Test(ws_accept, the_clients_first_protocol_that_is_spoken_here_is_chosen)
{
	static const char *const SPOKEN[] = { "chat", "superchat", "mqtt" };
	struct ws_terms terms = { .protocols = SPOKEN, .protocol_count = 3 };
	struct ws_acceptance acceptance;
	struct sample offer = with_more(EXAMPLE, "Sec-WebSocket-Protocol", "v1.x, superchat, chat");
	struct sample other_case = with_more(EXAMPLE, "Sec-WebSocket-Protocol", "Chat");
	struct sample spread = with_more(with_more(EXAMPLE, "Sec-WebSocket-Protocol", "v1"), "sec-websocket-protocol", "mqtt");

	cr_assert_null(ask(&offer, &terms, &acceptance));
	cr_assert_eq(acceptance.protocol, SPOKEN[1]);
	cr_assert_null(ask(&spread, &terms, &acceptance));
	cr_assert_eq(acceptance.protocol, SPOKEN[2]);
	cr_assert_null(ask(&other_case, &terms, &acceptance));
	cr_assert_null(acceptance.protocol);
	terms.protocol_required = true;
	cr_assert_eq(ask(&other_case, &terms, &acceptance), &WS_ACCEPT_PROTOCOL_NONE);
	cr_assert_eq(ask(&EXAMPLE, &terms, &acceptance), &WS_ACCEPT_PROTOCOL_NONE);
	cr_assert_null(ask(&offer, &terms, &acceptance));
}

Test(ws_accept, a_page_of_another_origin_is_refused_unless_it_is_listed)
{
	static const char *const LISTED[] = { "https://edc.example" };
	struct ws_terms terms = { .origin_list = LISTED, .origin_count = 1 };
	struct ws_acceptance acceptance;
	struct sample same = with_more(EXAMPLE, "Origin", "https://SERVER.example.com");
	struct sample listed = with_more(EXAMPLE, "Origin", "https://edc.example");
	struct sample evil = with_more(EXAMPLE, "Origin", "https://edc.example.evil");
	struct sample null = with_more(EXAMPLE, "Origin", "null");
	struct sample port = with_more(EXAMPLE, "Origin", "https://server.example.com:8443");
	struct sample twice = with_more(listed, "Origin", "https://edc.example");

	cr_assert_null(ask(&EXAMPLE, &terms, &acceptance));
	cr_assert_null(ask(&same, &terms, &acceptance));
	cr_assert_null(ask(&listed, &terms, &acceptance));
	cr_assert_eq(ask(&evil, &terms, &acceptance), &WS_ACCEPT_ORIGIN);
	cr_assert_eq(ask(&null, &terms, &acceptance), &WS_ACCEPT_ORIGIN);
	cr_assert_eq(ask(&port, &terms, &acceptance), &WS_ACCEPT_ORIGIN);
	cr_assert_eq(ask(&twice, &terms, &acceptance), &WS_ACCEPT_ORIGIN);
	terms.origins = WS_ORIGINS_LISTED;
	cr_assert_eq(ask(&same, &terms, &acceptance), &WS_ACCEPT_ORIGIN);
	cr_assert_null(ask(&listed, &terms, &acceptance));
	terms.origins = WS_ORIGINS_ANY;
	cr_assert_null(ask(&evil, &terms, &acceptance));
}

Test(ws_accept, a_page_of_this_host_is_one_of_its_scheme_and_port_too)
{
	static const struct { const char *host, *origin; bool secure, welcome; } cases[] = {
		{ "a.example", "https://a.example", true, true },
		{ "a.example", "http://a.example", true, false },        /* anybody on the way could have written that page */
		{ "a.example", "http://a.example", false, true },
		{ "a.example", "https://a.example", false, false },
		{ "a.example:443", "https://a.example", true, true },
		{ "a.example", "https://a.example:443", true, true },
		{ "a.example:80", "https://a.example", true, false },
		{ "a.example:80", "http://a.example", false, true },
		{ "a.example:443", "http://a.example", false, false },
		{ "a.example:8443", "https://a.example:8443", true, true },
		{ "a.example:8443", "https://a.example", true, false },
		{ "a.example", "https://b.a.example", true, false },
		{ "a.example", "https://a.example.evil", true, false },
		{ "a.example", "https://evil/https://a.example", true, false },
		{ "a.example", "https://", true, false },
		{ "a.example", "ftp://a.example", true, false },
		{ "[::1]:8443", "https://[::1]:8443", true, true },
		{ "A.Example", "HTTPS://a.eXample", true, true },
	};
	static const struct ws_terms TERMS = { 0 };

	for (size_t i = 0; i < array_count(cases); i++) {
		struct sample sample = with_more(with(EXAMPLE, "Host", cases[i].host), "Origin", cases[i].origin);
		struct ws_acceptance acceptance;

		sample.secure = cases[i].secure;
		cr_expect_eq(ask(&sample, &TERMS, &acceptance), cases[i].welcome ? NULL : &WS_ACCEPT_ORIGIN, "%s at %s",
			cases[i].origin, cases[i].host);
	}
}

Test(ws_accept, an_extension_is_agreed_where_the_terms_have_it)
{
	static const struct ws_deflate_terms DEFLATE = { .window_bits = 12 };
	struct ws_terms terms = { 0 };
	struct ws_acceptance acceptance;
	struct sample offer = with_more(with_more(EXAMPLE, "Sec-WebSocket-Extensions", "foo"), "sec-websocket-extensions",
		"permessage-deflate; client_max_window_bits");
	struct sample malformed = with_more(EXAMPLE, "Sec-WebSocket-Extensions", "permessage-deflate;");

	cr_assert_null(ask(&offer, &terms, &acceptance));
	cr_assert(!acceptance.extensions.deflate);
	cr_assert_eq(ask(&malformed, &terms, &acceptance), &WS_ACCEPT_EXTENSIONS);
	terms.deflate = &DEFLATE;
	cr_assert_null(ask(&offer, &terms, &acceptance));
	cr_assert(acceptance.extensions.deflate);
	cr_assert_str_eq(acceptance.extensions.answer,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12");
	cr_assert_null(ask(&EXAMPLE, &terms, &acceptance));
	cr_assert(!acceptance.extensions.deflate);
	cr_assert_eq(ws_accept_status(&WS_ACCEPT_EXTENSIONS), 400);
}
