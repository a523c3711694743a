#include "tls/hello.c"

#include <criterion/criterion.h>

static const struct {
	const char *bytes;
	size_t n;
	const struct reason *reason;     /* NULL: may be a handshake */
	size_t told_at;                  /* with how many bytes that is known */
	uint32_t whole;
} CASES[] = {
	{ "\x16\x03\x01\x02\x00\x01\x00\x01", 8, NULL, 5, 517 },
	{ "\x16\x03\x03\x40\x00\x01\x00\x3f", 8, NULL, 5, 16389 },
	{ "\x16\x03\x00\x00\x01\x01", 6, NULL, 5, 6 },
	{ "\x16\x03\x01\x40\x01\x01", 6, &TLS_RECORD_LONG, 5, 0 },
	{ "\x16\x03\x01\x00\x00\x01", 6, &TLS_RECORD_SHORT, 5, 0 },
	{ "\x16\x03\x01\x00\x40\x02", 6, &TLS_HANDSHAKE_ORDER, 6, 0 },
	{ "\x16\x02\x00\x00\x40\x01", 6, &TLS_NOT_TLS, 2, 0 },
	{ "\x15\x03\x01\x00\x02\x02\x28", 7, &TLS_NOT_TLS, 1, 0 },
	{ "\x17\x03\x03\x00\x40", 5, &TLS_NOT_TLS, 1, 0 },
	{ "\x80\x2e\x01\x00\x02\x00\x15", 7, &TLS_SSL2, 3, 0 },
	{ "\x80\x2e\x02\x00\x02\x00\x15", 7, &TLS_NOT_TLS, 3, 0 },
	{ "GET / HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "POST /x ", 8, &TLS_PLAIN_HTTP, 5, 0 },
	{ "HEAD / H", 8, &TLS_PLAIN_HTTP, 5, 0 },
	{ "PUT / HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "DELETE /", 8, &TLS_PLAIN_HTTP, 7, 0 },
	{ "OPTIONS ", 8, &TLS_PLAIN_HTTP, 8, 0 },
	{ "PATCH / ", 8, &TLS_PLAIN_HTTP, 6, 0 },
	{ "CONNECT ", 8, &TLS_PLAIN_HTTP, 8, 0 },
	{ "TRACE / ", 8, &TLS_PLAIN_HTTP, 6, 0 },
	{ "PRI * HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "GETS / H", 8, &TLS_NOT_TLS, 4, 0 },
	{ "get / ht", 8, &TLS_NOT_TLS, 1, 0 },
	{ "SSH-2.0-", 8, &TLS_NOT_TLS, 1, 0 },
	{ "\0\0\0\0", 4, &TLS_NOT_TLS, 1, 0 },
};

Test(tls_hello, first_bytes_are_told_apart_as_soon_as_they_can_be)
{
	for (size_t i = 0; i < array_count(CASES); i++) {
		for (size_t n = 0; n <= CASES[i].n; n++) {
			uint32_t whole = 99;
			const struct reason *reason = tls_hello_look((const uint8_t *)CASES[i].bytes, n, &whole);
			bool told = n >= CASES[i].told_at;

			if (CASES[i].reason == &TLS_HANDSHAKE_ORDER && n == 5) {
				cr_assert_null(reason);
				continue;                    /* the header is fine, only what it holds is not */
			}
			cr_assert_eq(reason, told ? CASES[i].reason : NULL, "case %zu, %zu bytes: %s", i, n, reason ? reason->name : "no");
			cr_assert_eq(whole, told && !reason ? CASES[i].whole : 0, "case %zu, %zu bytes", i, n);
		}
	}
}

Test(tls_hello, no_two_first_bytes_are_anything_but_named)
{
	for (unsigned i = 0; i < 65536; i++) {
		uint8_t bytes[8] = { (uint8_t)(i >> 8), (uint8_t)i, 1, 0, 4, 1, 0, 0 };
		uint32_t whole;
		const struct reason *reason = tls_hello_look(bytes, sizeof bytes, &whole);

		cr_assert_eq(reason == NULL, i == 0x1603);
		cr_assert_eq(reason == &TLS_SSL2, i >= 0x8000);
	}
}
