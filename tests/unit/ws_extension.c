/* tests/unit/ws_extension.c — Sec-WebSocket-Extensions: the grammar, and every parameter of permessage-deflate. */
#include "ws/extension.c"

#include <criterion/criterion.h>

static const struct ws_deflate_terms TAKEOVER = { .takeover = true, .window_bits = 15 };
static const struct ws_deflate_terms NONE = { .takeover = false, .window_bits = 12 };

/* The answer to one line, "-" for none, or the name of the reason. */
static const char *answer(const char *line, const struct ws_deflate_terms *terms)
{
	static char text[WS_EXTENSION_ANSWER_BYTES];
	struct ws_extensions extensions = { 0 };
	const struct reason *reason = ws_extensions_read(&extensions, terms, line, strlen(line));

	if (reason)
		return reason->name;
	if (!extensions.deflate)
		return "-";
	memcpy(text, extensions.answer, sizeof(text));
	return text;
}

#define ANSWERS(line, terms, wanted) cr_expect_str_eq(answer(line, terms), wanted, "%s: %s", line, answer(line, terms))

#define PMD "permessage-deflate"
#define SNO "; server_no_context_takeover"
#define CNO "; client_no_context_takeover"

Test(ws_extension, without_terms_every_offer_is_declined)
{
	ANSWERS(PMD, NULL, "-");
	ANSWERS(PMD "; client_max_window_bits", NULL, "-");
}

Test(ws_extension, the_plain_offer_is_taken)
{
	ANSWERS(PMD, &TAKEOVER, PMD);
	ANSWERS(PMD, &NONE, PMD SNO CNO);
	ANSWERS("  " PMD "\t", &TAKEOVER, PMD);
}

Test(ws_extension, a_client_may_ask_for_less)
{
	ANSWERS(PMD SNO, &TAKEOVER, PMD SNO);
	ANSWERS(PMD CNO, &TAKEOVER, PMD CNO);
	ANSWERS(PMD CNO SNO, &TAKEOVER, PMD SNO CNO);
	ANSWERS(PMD "; server_max_window_bits=10", &TAKEOVER, PMD "; server_max_window_bits=10");
	ANSWERS(PMD "; server_max_window_bits=\"10\"", &TAKEOVER, PMD "; server_max_window_bits=10");
	ANSWERS(PMD "; server_max_window_bits=15", &NONE, PMD SNO CNO "; server_max_window_bits=12");
	ANSWERS(PMD "; client_max_window_bits", &TAKEOVER, PMD "; client_max_window_bits=15");
	ANSWERS(PMD "; client_max_window_bits", &NONE, PMD SNO CNO "; client_max_window_bits=12");
	ANSWERS(PMD "; client_max_window_bits=9", &NONE, PMD SNO CNO "; client_max_window_bits=9");
	ANSWERS(PMD "; client_max_window_bits=14", &NONE, PMD SNO CNO "; client_max_window_bits=12");
}

Test(ws_extension, every_window_from_8_to_15_is_taken_and_no_other)
{
	for (int bits = -1; bits <= 100; bits++) {
		char line[100], wanted[100];
		bool good = bits >= 8 && bits <= 15;

		snprintf(line, sizeof(line), PMD "; server_max_window_bits=%d", bits);
		snprintf(wanted, sizeof(wanted), good ? PMD "; server_max_window_bits=%d" : "-", bits);
		ANSWERS(line, &TAKEOVER, wanted);
		snprintf(line, sizeof(line), PMD "; client_max_window_bits=%d", bits);
		snprintf(wanted, sizeof(wanted), good ? PMD "; client_max_window_bits=%d" : "-", bits);
		ANSWERS(line, &TAKEOVER, wanted);
	}
}

Test(ws_extension, a_client_that_does_not_offer_a_window_is_not_asked_for_one)
{
	struct ws_extensions extensions = { 0 };

	cr_assert_null(ws_extensions_read(&extensions, &NONE, PMD, strlen(PMD)));
	cr_assert_eq(extensions.agreed.client_window_bits, 15);
	cr_assert_eq(extensions.agreed.server_window_bits, 12);
	cr_assert(!extensions.agreed.client_takeover && !extensions.agreed.server_takeover);
}

Test(ws_extension, a_client_is_asked_for_8_bits_only_where_it_said_so_itself)
{
	static const struct ws_deflate_terms SMALL = { .takeover = true, .window_bits = WS_WINDOW_BITS_MIN };

	ANSWERS(PMD "; client_max_window_bits", &SMALL, PMD "; client_max_window_bits=9");
	ANSWERS(PMD "; client_max_window_bits=8", &SMALL, PMD "; client_max_window_bits=8");
	ANSWERS(PMD "; server_max_window_bits=8", &SMALL, PMD "; server_max_window_bits=8");
}

Test(ws_extension, an_invalid_offer_is_declined_and_the_next_is_looked_at)
{
	static const char *const invalid[] = {
		PMD "; unknown", PMD "; server_no_context_takeover=1", PMD "; client_no_context_takeover=\"x\"",
		PMD "; server_max_window_bits", PMD "; server_max_window_bits=08", PMD "; server_max_window_bits=1",
		PMD "; server_max_window_bits=16", PMD "; client_max_window_bits=7", PMD "; client_max_window_bits=+9",
		PMD SNO SNO, PMD CNO CNO, PMD "; client_max_window_bits; client_max_window_bits=9",
		PMD "; server_max_window_bits=9; server_max_window_bits=9",
		"x-webkit-deflate-frame", PMD "2", "Permessage-Deflate", "permessage-bzip2; level=9",
		PMD "; Server_no_context_takeover",
	};

	for (size_t i = 0; i < array_count(invalid); i++) {
		char both[200];

		ANSWERS(invalid[i], &TAKEOVER, "-");
		snprintf(both, sizeof(both), "%s, " PMD CNO, invalid[i]);
		ANSWERS(both, &TAKEOVER, PMD CNO);
	}
}

Test(ws_extension, the_first_good_offer_wins)
{
	ANSWERS(PMD SNO ", " PMD CNO, &TAKEOVER, PMD SNO);
	ANSWERS(",, " PMD " ,\t, " PMD CNO ",", &TAKEOVER, PMD);
}

Test(ws_extension, offers_of_several_lines_are_one_list)
{
	struct ws_extensions extensions = { 0 };

	cr_assert_null(ws_extensions_read(&extensions, &TAKEOVER, "foo", 3));
	cr_assert_null(ws_extensions_read(&extensions, &TAKEOVER, PMD SNO, strlen(PMD SNO)));
	cr_assert_null(ws_extensions_read(&extensions, &TAKEOVER, PMD CNO, strlen(PMD CNO)));
	cr_assert_str_eq(extensions.answer, PMD SNO);
	cr_assert_eq(ws_extensions_read(&extensions, &TAKEOVER, ";", 1), &WS_ACCEPT_EXTENSIONS);
}

Test(ws_extension, what_is_no_list_of_extensions_is_refused_with_and_without_terms)
{
	static const char *const malformed[] = {
		";", "a;", "a;;b", "a b", "=", "a;b=", "a;b=\"", "a;b=\"\"", "a;b=\"x y\"", "a;b=\"x", "a;b=x y", "a/b", "a;=1",
		"a;b=\"x\\", "(a)", PMD "; server_max_window_bits=", PMD "; \"x\"", "a,b;,c", "a;b=\"x\"y",
	};

	for (size_t i = 0; i < array_count(malformed); i++) {
		ANSWERS(malformed[i], &TAKEOVER, "ws_accept_extensions");
		ANSWERS(malformed[i], NULL, "ws_accept_extensions");
	}
	cr_assert_eq(ws_extensions_read(&(struct ws_extensions){ 0 }, NULL, "a\0b", 3), &WS_ACCEPT_EXTENSIONS);
	ANSWERS("a;b=\"x\\y\"", &TAKEOVER, "-");
	ANSWERS("", &TAKEOVER, "-");
	ANSWERS(" , ", &TAKEOVER, "-");
}

Test(ws_extension, a_name_longer_than_any_we_know_is_another_name)
{
	char line[400] = PMD;

	memset(line + strlen(PMD), 'e', 300);
	ANSWERS(line, &TAKEOVER, "-");
}

Test(ws_extension, the_longest_answer_has_room)
{
	cr_assert_leq(strlen(answer(PMD CNO SNO "; server_max_window_bits=15; client_max_window_bits=15", &TAKEOVER)),
		WS_EXTENSION_ANSWER_BYTES - 1);
}

/* All that may be offered: 2 × 2 × 9 × 10 combinations, against both kinds of terms; the answer keeps every demand. */
Test(ws_extension, all_combinations_of_parameters_are_answered_within_what_was_offered)
{
	for (unsigned c = 0; c < 2 * 2 * 9 * 10 * 2; c++) {
		bool sno = c & 1, cno = c & 2;
		unsigned server = c / 4 % 9, client = c / 36 % 10;     /* 0: not offered; client 1: without a value */
		const struct ws_deflate_terms *terms = c / 360 ? &TAKEOVER : &NONE;
		struct ws_extensions got = { 0 };
		char line[200];
		int n = snprintf(line, sizeof(line), PMD "%s%s", sno ? SNO : "", cno ? CNO : "");

		if (server)
			n += snprintf(line + n, sizeof(line) - (size_t)n, "; server_max_window_bits=%u", server + 7);
		if (client == 1)
			n += snprintf(line + n, sizeof(line) - (size_t)n, "; client_max_window_bits");
		else if (client)
			n += snprintf(line + n, sizeof(line) - (size_t)n, "; client_max_window_bits=%u", client + 6);
		cr_assert_null(ws_extensions_read(&got, terms, line, (size_t)n));
		cr_assert(got.deflate, "%s", line);
		cr_assert(!sno || !got.agreed.server_takeover);
		cr_assert(!cno || !got.agreed.client_takeover);
		cr_assert_eq(strstr(got.answer, SNO) != NULL, !got.agreed.server_takeover);
		cr_assert_eq(strstr(got.answer, CNO) != NULL, !got.agreed.client_takeover);
		cr_assert_leq(got.agreed.server_window_bits, server ? server + 7 : 15);
		cr_assert_leq(got.agreed.server_window_bits, terms->window_bits);
		cr_assert_eq(strstr(got.answer, "server_max_window_bits=") != NULL, server != 0);
		cr_assert_eq(strstr(got.answer, "client_max_window_bits=") != NULL, client != 0);
		if (client == 0)
			cr_assert_eq(got.agreed.client_window_bits, 15);
		else
			cr_assert_leq(got.agreed.client_window_bits, client > 1 ? client + 6 : 15u);
	}
}
