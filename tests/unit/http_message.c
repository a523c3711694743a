/* Heads, fields, paths, hosts, lists, numbers and forms, without any connection. */
#include "gateway/http/message.c"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena arena;

static void open_arena(void)
{
	arena_init(&arena, NULL, 0);
}

static void close_arena(void)
{
	arena_fini(&arena);
}

TestSuite(http_message, .init = open_arena, .fini = close_arena);

Test(http_message, every_known_name_is_found_in_any_case_and_no_other_is)
{
	for (unsigned name = 1; name < HTTP_NAME_COUNT; name++) {
		struct http_text text = http_name_text((enum http_name)name);
		char *other = arena_copy(&arena, text.bytes, text.size);

		cr_expect_eq(http_name_of(text), name, "%s", text.bytes);
		for (size_t i = 0; i < text.size; i++)
			other[i] ^= other[i] >= 'A' ? 0x20 : 0;
		cr_expect_eq(http_name_of((struct http_text){other, text.size}), name, "%s", other);
		cr_expect_neq(http_name_of((struct http_text){other, text.size - 1}), name);
		other[text.size - 1] = '0';
		cr_expect_eq(http_name_of((struct http_text){other, text.size}), HTTP_NAME_OTHER, "%s", other);
	}
	cr_assert_eq(http_name_of(HTTP_TEXT("")), HTTP_NAME_OTHER);
	/* "@" and "`", "[" and "{" differ by the same bit as the letters do. */
	cr_assert(!http_text_is_nocase(HTTP_TEXT("a@["), "A`{"));
}

Test(http_message, methods_are_case_sensitive)
{
	cr_assert_eq(http_method_of(HTTP_TEXT("GET")), HTTP_METHOD_GET);
	cr_assert_eq(http_method_of(HTTP_TEXT("get")), HTTP_METHOD_OTHER);
	cr_assert_eq(http_method_of(HTTP_TEXT("PROPFIND")), HTTP_METHOD_OTHER);
	cr_assert(http_method_idempotent(HTTP_METHOD_PUT) && !http_method_safe(HTTP_METHOD_PUT));
	cr_assert(!http_method_idempotent(HTTP_METHOD_POST) && !http_method_idempotent(HTTP_METHOD_OTHER));
}

static bool is_x_own(const struct http_field *field)
{
	return http_text_is_nocase(field->name, "X-OWN");
}

Test(http_message, fields_keep_their_order_and_are_found_by_name)
{
	struct http_head head;
	const struct http_field *field;

	http_head_init(&head, &arena);
	for (unsigned i = 0; i < 50; i++)
		http_add_number(&head, i % 2 ? HTTP_NAME_COOKIE : HTTP_NAME_VIA, i);
	http_add(&head, HTTP_TEXT("x-own"), HTTP_TEXT("1"));
	cr_assert_eq(head.field_count, 51);
	cr_assert(http_text_is(http_known(&head, HTTP_NAME_COOKIE), "1"));
	field = http_known_next(&head, HTTP_NAME_COOKIE, http_known_next(&head, HTTP_NAME_COOKIE, NULL));
	cr_assert(http_text_is(field->value, "3"));
	cr_assert(http_text_is(http_find_next(&head, "cookie", field)->value, "5"));
	cr_assert(http_text_is(http_find(&head, "X-Own"), "1"));
	cr_assert_null(http_known_next(&head, HTTP_NAME_DATE, NULL));
	http_remove(&head, HTTP_NAME_VIA);
	cr_assert_eq(head.field_count, 26);
	cr_assert(!http_known(&head, HTTP_NAME_VIA).bytes);
	cr_assert(http_text_is(http_known(&head, HTTP_NAME_COOKIE), "1"));
	http_remove_where(&head, is_x_own);
	cr_assert_eq(head.field_count, 25);
}

Test(http_message, a_copy_shares_nothing_with_its_original)
{
	struct arena other;
	struct http_head head, copy;
	char host[] = "a:80", value[] = "b";

	arena_init(&other, NULL, 0);
	http_head_init(&head, &other);
	head.host = (struct http_text){host, 4};
	head.host_name = (struct http_text){host, 1};
	http_add(&head, HTTP_TEXT("x"), (struct http_text){value, 1});
	http_head_copy(&copy, &arena, &head);
	memset(host, 0, sizeof host);
	memset(value, 0, sizeof value);
	arena_fini(&other);
	cr_assert(http_text_is(copy.host, "a:80") && http_text_is(copy.host_name, "a"));
	cr_assert(http_text_is(http_find(&copy, "x"), "b"));
	http_add_known(&copy, HTTP_NAME_VIA, HTTP_TEXT("c"));
	cr_assert_eq(copy.field_count, 2);
	cr_assert(!copy.query.bytes && !copy.host_name.bytes == !copy.host.bytes);
}

Test(http_message, what_we_add_can_not_split_a_message, .signal = SIGABRT)
{
	struct http_head head;

	http_head_init(&head, &arena);
	http_add(&head, HTTP_TEXT("x"), HTTP_TEXT("a\r\nb: c"));
}

Test(http_message, a_name_that_is_no_token_is_our_own_mistake, .signal = SIGABRT)
{
	struct http_head head;

	http_head_init(&head, &arena);
	http_add(&head, HTTP_TEXT("x y"), HTTP_TEXT("a"));
}

Test(http_message, hop_by_hop_fields_go_and_end_to_end_fields_stay)
{
	static const char *const staying[] = {"Host", "Content-Type", "Authorization", "X-Forwarded-For", "X-Other", "Cookie"};
	struct http_head head;

	http_head_init(&head, &arena);
	http_append(&head, HTTP_TEXT("Host"), HTTP_TEXT("a"));
	http_append(&head, HTTP_TEXT("Connection"), HTTP_TEXT("close, x-One ,,"));
	http_append(&head, HTTP_TEXT("X-One"), HTTP_TEXT("1"));
	http_append(&head, HTTP_TEXT("x-two"), HTTP_TEXT("2"));
	http_append(&head, HTTP_TEXT("connection"), HTTP_TEXT("X-Two, Host, Authorization, x-forwarded-for, Content-Type"));
	http_append(&head, HTTP_TEXT("Content-Type"), HTTP_TEXT("t"));
	http_append(&head, HTTP_TEXT("Authorization"), HTTP_TEXT("u"));
	http_append(&head, HTTP_TEXT("X-Forwarded-For"), HTTP_TEXT("v"));
	http_append(&head, HTTP_TEXT("Keep-Alive"), HTTP_TEXT("timeout=5"));
	http_append(&head, HTTP_TEXT("TE"), HTTP_TEXT("trailers"));
	http_append(&head, HTTP_TEXT("Upgrade"), HTTP_TEXT("h2c"));
	http_append(&head, HTTP_TEXT("HTTP2-Settings"), HTTP_TEXT("x"));
	http_append(&head, HTTP_TEXT("Proxy-Connection"), HTTP_TEXT("close"));
	http_append(&head, HTTP_TEXT("Proxy-Authorization"), HTTP_TEXT("secret"));
	http_append(&head, HTTP_TEXT("Transfer-Encoding"), HTTP_TEXT("chunked"));
	http_append(&head, HTTP_TEXT("Trailer"), HTTP_TEXT("x"));
	http_append(&head, HTTP_TEXT("X-Other"), HTTP_TEXT("w"));
	http_append(&head, HTTP_TEXT("X-TWO"), HTTP_TEXT("again"));
	http_append(&head, HTTP_TEXT("Cookie"), HTTP_TEXT("c"));
	cr_assert(http_list_has(&head, HTTP_NAME_CONNECTION, "x-two"));
	cr_assert(!http_list_has(&head, HTTP_NAME_CONNECTION, "x-t"));
	http_remove_hop_by_hop(&head);
	cr_assert_eq(head.field_count, array_count(staying));
	for (unsigned i = 0; i < array_count(staying); i++)
		cr_expect(http_text_is(head.fields[i].name, staying[i]), "%u", i);
	cr_assert(http_text_is(http_known(&head, HTTP_NAME_COOKIE), "c"));
}

Test(http_message, a_path_is_normalised_once_and_stays_as_it_is_then)
{
	static const struct {
		const char *path;
		const char *normal;          /* NULL: refused */
		const struct reason *reason;
	} cases[] = {
		{"/", "/", NULL}, {"/a/b.c", "/a/b.c", NULL}, {"/a/", "/a/", NULL}, {"//", "/", NULL}, {"///a///b//", "/a/b/", NULL},
		{"/.", "/", NULL}, {"/./", "/", NULL}, {"/a/.", "/a/", NULL}, {"/a/./b", "/a/b", NULL}, {"/a/..", "/", NULL},
		{"/a/../", "/", NULL}, {"/a/b/..", "/a/", NULL}, {"/a/b/../c", "/a/c", NULL}, {"/a/b/../../c", "/c", NULL},
		{"/a//../b", "/b", NULL}, {"/...", "/...", NULL}, {"/.a", "/.a", NULL}, {"/a./..b", "/a./..b", NULL},
		{"/%41%7e%2E%2d", "/A~.-", NULL}, {"/%e4%C3", "/%E4%C3", NULL}, {"/a%20b%3f%23", "/a%20b%3F%23", NULL},
		{"/a/%2e%2e/b", "/b", NULL}, {"/a/.%2E/b", "/b", NULL}, {"/%252e%252e/a", "/%252e%252e/a", NULL},
		{"/%25%32%65", "/%252e", NULL}, {"/a;b=c/d", "/a;b=c/d", NULL}, {"/a..;/b", "/a..;/b", NULL},
		{"/...;/b", "/...;/b", NULL},
		{"/..", NULL, &HTTP_PATH_ABOVE_ROOT}, {"/../a", NULL, &HTTP_PATH_ABOVE_ROOT}, {"/a/../../b", NULL, &HTTP_PATH_ABOVE_ROOT},
		{"//..", NULL, &HTTP_PATH_ABOVE_ROOT},
		{"/%", NULL, &HTTP_PATH_ESCAPE_BAD}, {"/%4", NULL, &HTTP_PATH_ESCAPE_BAD}, {"/%4g", NULL, &HTTP_PATH_ESCAPE_BAD},
		{"/%u0041", NULL, &HTTP_PATH_ESCAPE_BAD},
		{"/%2f", NULL, &HTTP_PATH_SLASH_ENCODED}, {"/%5c", NULL, &HTTP_PATH_SLASH_ENCODED}, {"/\\", NULL, &HTTP_PATH_BACKSLASH},
		{"/%00", NULL, &HTTP_PATH_CONTROL}, {"/%1F", NULL, &HTTP_PATH_CONTROL}, {"/%7f", NULL, &HTTP_PATH_CONTROL},
		{"/..;a/b", NULL, &HTTP_PATH_DOT_PARAMETER}, {"/a/.;/b", NULL, &HTTP_PATH_DOT_PARAMETER},
		{"/a/%2e%2e%3B/b", NULL, &HTTP_PATH_DOT_PARAMETER}, {"/a/..;", NULL, &HTTP_PATH_DOT_PARAMETER},
	};

	for (size_t i = 0; i < array_count(cases); i++) {
		/* Without a zero byte behind it, so that a read too far is seen. */
		char *exact = malloc(strlen(cases[i].path));
		struct http_text normal, again;
		const struct reason *reason;

		memcpy(exact, cases[i].path, strlen(cases[i].path));
		reason = http_path_normalise(&arena, (struct http_text){exact, strlen(cases[i].path)}, &normal);
		cr_expect_eq(reason, cases[i].reason, "%s: %s", cases[i].path, reason ? reason->name : "good");
		if (!reason && cases[i].normal) {
			cr_expect(http_text_is(normal, cases[i].normal), "%s: %.*s", cases[i].path, (int)normal.size, normal.bytes);
			cr_expect_null(http_path_normalise(&arena, normal, &again));
			cr_expect(again.size == normal.size && memcmp(again.bytes, normal.bytes, normal.size) == 0, "%s", cases[i].path);
		}
		free(exact);
	}
}

Test(http_message, a_host_is_a_name_or_an_address_and_perhaps_a_port)
{
	static const char *const good[] = {"a", "a.b-c_d.example", "A.example", "127.0.0.1", "[::1]", "[::]", "[2001:db8::1.2.3.4]"};
	static const char *const bad[] = {"", ":80", "a b", "a/", "a?", "u@a", "a%41", "[", "[]", "[:]", "[::1", "[g::1]", "[::1]x", "::1",
	                                  "a:", "a:x", "a:0", "a:65536", "a:000080", "a:80:", "a,b", "a\\", "\xc3\xa4"};
	struct http_text name;

	for (size_t i = 0; i < array_count(good); i++) {
		char with_port[64];

		cr_expect_null(http_host_split(http_text_of(good[i]), &name), "%s", good[i]);
		cr_expect(http_text_is(name, good[i]));
		strcpy(with_port, good[i]);
		strcat(with_port, ":65535");
		cr_expect_null(http_host_split(http_text_of(with_port), &name), "%s", with_port);
		cr_expect(http_text_is(name, good[i]));
	}
	for (size_t i = 0; i < array_count(bad); i++)
		cr_expect_eq(http_host_split(http_text_of(bad[i]), &name), &HTTP_HOST_BAD, "%s", bad[i]);
}

Test(http_message, a_host_that_ends_with_a_dot_is_the_host_without_it)
{
	static const struct {
		const char *host, *name;
	} cases[] = {
		{"A.example.", "A.example"}, {"a.", "a"}, {"a.:80", "a"}, {"127.0.0.1.", "127.0.0.1"}, {".a.", ".a"},
		/* These are no names, and stay what they are. */
		{".", "."}, {".:80", "."}, {"..", ".."}, {"a.example..", "a.example.."}, {"a..:80", "a.."}, {"...", "..."},
	};
	struct http_text name;

	for (size_t i = 0; i < array_count(cases); i++) {
		cr_expect_null(http_host_split(http_text_of(cases[i].host), &name), "%s", cases[i].host);
		cr_expect(http_text_is(name, cases[i].name), "%s: %.*s", cases[i].host, (int)name.size, name.bytes);
	}
	cr_expect_eq(http_host_split(HTTP_TEXT("[::1]."), &name), &HTTP_HOST_BAD);
}

Test(http_message, numbers_are_digits_alone)
{
	static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "0x1", "1e3", "12345678901234567890"};
	uint64_t number = 7;
	char digits[20];

	for (size_t i = 0; i < array_count(bad); i++)
		cr_expect(!http_number_parse(http_text_of(bad[i]), &number), "%s", bad[i]);
	cr_assert_eq(number, 7);
	cr_assert(http_number_parse(HTTP_TEXT("9999999999999999999"), &number));
	cr_assert_eq(number, 9999999999999999999u);
	cr_assert_eq(http_number_write(digits, UINT64_MAX), 20);
	cr_assert(memcmp(digits, "18446744073709551615", 20) == 0);
	cr_assert_eq(http_number_write(digits, 0), 1);
	cr_assert_eq(digits[0], '0');
}

Test(http_message, hexadecimal_is_as_printf_has_it)
{
	static const uint64_t numbers[] = { 0, 1, 9, 0xf, 0x10, 0xabc, 0xdeadbeef, 0x0123456789abcdef, 0xfedcba9876543210, UINT64_MAX };

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		for (unsigned least = 0; least <= 16; least++) {
			char digits[16], printed[32];
			const int n = snprintf(printed, sizeof printed, "%0*llx", (int)least, (unsigned long long)numbers[i]);

			cr_assert_eq(http_hex_write(digits, numbers[i], least), (size_t)n, "%s", printed);
			cr_assert(memcmp(digits, printed, (size_t)n) == 0, "%s", printed);
		}
	}
}

/* In memory of its own size, so that a look behind the end is seen. */
static char *exact_copy(const char *bytes, size_t n)
{
	char *copy = malloc(n > 0 ? n : 1);

	memcpy(copy, bytes, n);
	return copy;
}

Test(http_message, texts_are_the_same_in_any_case_of_letters_and_otherwise_not)
{
	static const char text[] = "Sec-WebSocket-Extensions";

	for (size_t n = 0; n < sizeof text; n++) {
		for (size_t at = 0; at < n; at++) {
			char *a = exact_copy(text, n), *b = exact_copy(text, n);

			/* Of one size every pair of bytes at every place, of the others some. */
			for (unsigned pair = 0; pair < 256 * 256; pair += n == 17 ? 1 : 193) {
				a[at] = (char)(pair >> 8);
				b[at] = (char)pair;
				cr_assert_eq(http_text_same_nocase((struct http_text){a, n}, (struct http_text){b, n}), http_lower(a[at]) == http_lower(b[at]),
					"%zu bytes, at %zu: %02x and %02x", n, at, pair >> 8, pair & 255);
			}
			free(a);
			free(b);
		}
	}
	cr_assert_not(http_text_same_nocase(HTTP_TEXT(""), (struct http_text){0}));
	cr_assert(http_text_same_nocase(HTTP_TEXT(""), HTTP_TEXT("")));
	cr_assert_not(http_text_same_nocase(HTTP_TEXT("abcdefgh"), HTTP_TEXT("abcdefghi")));
}

Test(http_message, a_value_runs_to_its_first_byte_that_is_none)
{
	static const char text[] = "a value \t of\xc3\xa4 thirty bytes ~";

	for (size_t n = 0; n < sizeof text; n++) {
		char *value = exact_copy(text, n);

		cr_assert_eq(http_value_run(value, n), n);
		for (size_t at = 0; at < n; at++) {
			const char was = value[at];

			for (unsigned c = 0; c < 256; c++) {
				value[at] = (char)c;
				cr_assert_eq(http_value_run(value, n), http_is((char)c, HTTP_IS_VALUE) ? n : at, "%zu bytes, at %zu: %02x", n, at, c);
			}
			value[at] = was;
		}
		free(value);
	}
}

Test(http_message, lists_skip_what_is_empty)
{
	struct http_text rest = HTTP_TEXT(",, a\t,b c , ,d"), element;

	cr_assert(http_list_next(&rest, &element) && http_text_is(element, "a"));
	cr_assert(http_list_next(&rest, &element) && http_text_is(element, "b c"));
	cr_assert(http_list_next(&rest, &element) && http_text_is(element, "d"));
	cr_assert(!http_list_next(&rest, &element));
	rest = HTTP_TEXT("a,");
	cr_assert(http_list_next(&rest, &element) && !http_list_next(&rest, &element));
}

Test(http_message, a_form_gives_its_values_or_says_what_is_wrong)
{
	static const struct {
		const char *form;
		const char *value;           /* NULL: not there, or refused */
		const struct reason *reason;
	} cases[] = {
		{"", NULL, NULL}, {"siteId=S1", "S1", NULL}, {"a=b&siteId=S1&c=d", "S1", NULL}, {"siteId=", "", NULL}, {"siteId", "", NULL},
		{"siteid=S1", NULL, NULL}, {"xsiteId=S1", NULL, NULL}, {"siteIdx=S1", NULL, NULL}, {"&&siteId=S1&", "S1", NULL},
		{"siteId=a+b%20c%2B", "a b c+", NULL}, {"site%49d=S1", "S1", NULL}, {"siteId=a=b", "a=b", NULL}, {"siteId=%C3%a4", "\xc3\xa4", NULL},
		{"siteId=a&siteId=b", NULL, &HTTP_FORM_NAME_SEVERAL}, {"siteId=a&site%49d=a", NULL, &HTTP_FORM_NAME_SEVERAL},
		{"siteId=&siteId=a", NULL, &HTTP_FORM_NAME_SEVERAL},
		{"siteId=%", NULL, &HTTP_FORM_ESCAPE_BAD}, {"siteId=%4", NULL, &HTTP_FORM_ESCAPE_BAD}, {"siteId=%4x", NULL, &HTTP_FORM_ESCAPE_BAD},
		{"a=%&siteId=b", NULL, &HTTP_FORM_ESCAPE_BAD}, {"siteId=b&%=a", NULL, &HTTP_FORM_ESCAPE_BAD},
		{"siteId=%4&a=b", NULL, &HTTP_FORM_ESCAPE_BAD}, {"siteId%=b", NULL, &HTTP_FORM_ESCAPE_BAD}, {"siteId=%%41", NULL, &HTTP_FORM_ESCAPE_BAD},
		{"siteId=a%00b", NULL, &HTTP_FORM_NUL}, {"siteId=b&a=%41%41%00", NULL, &HTTP_FORM_NUL},
	};

	for (size_t i = 0; i < array_count(cases); i++) {
		size_t size = strlen(cases[i].form);
		char *exact = malloc(size + 1);
		struct http_text value;
		const struct reason *reason;

		memcpy(exact + 1, cases[i].form, size);
		reason = http_form_find(&arena, (struct http_text){exact + 1, size}, "siteId", &value);
		cr_expect_eq(reason, cases[i].reason, "%s: %s", cases[i].form, reason ? reason->name : "good");
		if (!reason && cases[i].value)
			cr_expect(http_text_is(value, cases[i].value), "%s: %.*s", cases[i].form, (int)value.size, value.bytes);
		if (!reason && !cases[i].value)
			cr_expect(!value.bytes, "%s", cases[i].form);
		free(exact);
	}
}
