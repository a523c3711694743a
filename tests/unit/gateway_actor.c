/* Who is told of in the audit trail: what is too long is cut between two characters, and says so. */
#include "gateway/counting/actor.c"

#include <criterion/criterion.h>

static void expect_shortened(const char *whole, size_t most, const char *wanted)
{
	char *to = malloc(most); /* so that AddressSanitizer sees a byte too many */
	size_t n = actor_shorten(to, whole, strlen(whole), most);

	cr_expect(n == strlen(wanted) && memcmp(to, wanted, n) == 0, "\"%.*s\" is not \"%s\"", (int)n, to, wanted);
	free(to);
}

Test(gateway_actor, what_fits_stays_as_it_is)
{
	expect_shortened("", 3, "");
	expect_shortened("CN=Site 7", 9, "CN=Site 7");
	expect_shortened("CN=Zürich", 10, "CN=Zürich");
}

Test(gateway_actor, what_is_cut_ends_with_a_whole_character_and_says_so)
{
	expect_shortened("CN=Site 7", 8, "CN=Si…");
	expect_shortened("abcd", 3, "…");
	/* "ü" has two bytes, "患" three, "😀" four: none is cut in two. */
	expect_shortened("abüdef", 6, "ab…");
	expect_shortened("abüdefg", 7, "abü…");
	expect_shortened("a患者さん", 6, "a…");
	expect_shortened("a患者さん", 7, "a患…");
	for (size_t most = 3; most < 7; most++)
		expect_shortened("😀😀", most, "…");
	expect_shortened("😀😀", 7, "😀…");
	/* What is no UTF-8 is cut as well, and not without end. */
	expect_shortened("\x80\x80\x80\x80\x80\x80\x80", 5, "…");
}
