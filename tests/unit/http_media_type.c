/* Content-Type: which bodies are taken for what they say. */
#include "gateway/http/media_type.c"

#include <criterion/criterion.h>
#include <stdlib.h>

#define FORM "application/x-www-form-urlencoded"

static bool is_form(const char *value)
{
	size_t n = strlen(value);
	char *copy = malloc(n + !n);
	bool is;

	memcpy(copy, value, n);
	is = http_media_type_is((struct http_text){ copy, n }, FORM);
	free(copy);
	return is;
}

Test(http_media_type, a_type_is_taken_in_any_case_and_with_harmless_parameters)
{
	static const char *const good[] = { FORM, "Application/X-WWW-Form-URLEncoded", FORM ";charset=UTF-8", FORM " ; charset=\"utf-8\"",
		FORM "; Charset=us-ascii", FORM ";a=\";charset=latin1\";b", FORM ";", FORM " ", FORM ";boundary=x" };

	for (unsigned i = 0; i < array_count(good); i++)
		cr_expect(is_form(good[i]), "%s", good[i]);
}

Test(http_media_type, another_type_or_charset_is_not)
{
	static const char *const bad[] = { "", " ", ";", "application/json", FORM "x", "application", (FORM ", " FORM), FORM ";charset=iso-8859-1",
		FORM ";charset=", FORM ";a=b; charset=\"utf-16\"", FORM ";charset=utf-8;charset=latin1", ("x;" FORM) };

	for (unsigned i = 0; i < array_count(bad); i++)
		cr_expect_not(is_form(bad[i]), "%s", bad[i]);
	cr_expect_not(http_media_type_is((struct http_text){ NULL, 0 }, FORM));
}

Test(http_media_type, a_value_cut_anywhere_is_read_within_its_bytes)
{
	static const char whole[] = FORM "; a=\"\\\";\"; charset=\"utf-8\"";

	for (size_t n = 0; n < sizeof whole; n++) {
		char cut[sizeof whole] = "";

		memcpy(cut, whole, n);
		is_form(cut);
	}
	cr_expect(is_form(whole));
}
