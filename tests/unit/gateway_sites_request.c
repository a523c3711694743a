/* What a request for counts says besides its body: its path, its conditions, its key, its page. */
#include "gateway/serve/sites_request.c"
#include "gateway/verdict.h"

#include <criterion/criterion.h>

static struct arena arena;
static struct http_head head;

static void begin(void)
{
	arena_init(&arena, NULL, 0);
	http_head_init(&head, &arena);
}

static void end(void)
{
	arena_fini(&arena);
}

static struct sites_target target_of(const char *route, bool whole, const char *path)
{
	struct sites_target target;
	const struct reason *reason = sites_target_read(&target, &arena, route, whole, http_text_of(path));

	cr_assert_null(reason, "%s: %s", path, reason->name);
	return target;
}

Test(gateway_sites_request, a_path_leads_to_one_place, .init = begin, .fini = end)
{
	static const struct { const char *route; bool whole; const char *path; enum sites_place place; } paths[] = {
		{ "/count", true, "/count", COUNT_OF_SITE },
		{ "/enrolled", true, "/enrolled", COUNT_OF_SITE },
		{ "/count", false, "/count", COUNT_OF_SITE },
		{ "/count", false, "/count/", SITES_NOWHERE },
		{ "/count", false, "/count/x", SITES_NOWHERE },
		{ "/sites", false, "/sites", SITES_ALL },
		{ "/sites", true, "/sites", SITES_ALL },
		{ "/sites", false, "/sites/", SITES_NOWHERE },
		{ "/sites", false, "/sites/events", SITES_EVENTS },
		{ "/sites", false, "/sites/events/", SITES_NOWHERE },
		{ "/sites", false, "/sites/events/enrolments", SITES_NOWHERE },
		{ "/sites", false, "/sites/a", SITES_ONE },
		{ "/sites", false, "/sites/count", SITES_ONE },
		{ "/sites", false, "/sites/sites", SITES_ONE },
		{ "/sites", false, "/sites/a/", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/screenings", SITES_CHANGE },
		{ "/sites", false, "/sites/a/enrolments", SITES_CHANGE },
		{ "/sites", false, "/sites/a/randomisations", SITES_CHANGE },
		{ "/sites", false, "/sites/a/withdrawals", SITES_CHANGE },
		{ "/sites", false, "/sites/a/withdrawals/", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/enrollments", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/enrolments/1", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/reservations", SITES_RESERVE },
		{ "/sites", false, "/sites/a/reservations/", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/reservations/0123456789abcdef", SITES_RESERVATION },
		{ "/sites", false, "/sites/a/reservations/x", SITES_RESERVATION },
		{ "/sites", false, "/sites/a/reservations/x/confirm", SITES_CONFIRM },
		{ "/sites", false, "/sites/a/reservations/x/confirm/", SITES_NOWHERE },
		{ "/sites", false, "/sites/a/reservations/x/release", SITES_NOWHERE },
		{ "/api/sites", false, "/api/sites/a", SITES_ONE },
		{ "/api/sites/", false, "/api/sites/a", SITES_ONE },
		{ "/", false, "/count", COUNT_OF_SITE },
		{ "/", false, "/sites", SITES_ALL },
		{ "/", false, "/sites/a", SITES_ONE },
		{ "/", false, "/", SITES_NOWHERE },
		{ "/", false, "/other", SITES_NOWHERE },
		{ "/", false, "/count/a", SITES_NOWHERE },
		{ "/api", false, "/api/sites/a", SITES_ONE },
		{ "/api", false, "/api/count", COUNT_OF_SITE },
		{ "/api", false, "/api", SITES_NOWHERE },
		{ "", false, "/sites/a", SITES_ONE },
		/* How a route for certain clients may match. */
		{ "/sites", false, "/sites;a=b/7", SITES_NOWHERE },
		{ "/sites", false, "/;/sites/7", SITES_NOWHERE },
		{ "/count", true, "/count;a", SITES_NOWHERE },
		{ "/sites", false, "*", SITES_NOWHERE },
		{ "", false, "*", SITES_NOWHERE },
	};

	for (unsigned i = 0; i < array_count(paths); i++)
		cr_expect_eq(target_of(paths[i].route, paths[i].whole, paths[i].path).place, paths[i].place, "%s behind %s", paths[i].path, paths[i].route);
}

Test(gateway_sites_request, a_site_is_decoded_once, .init = begin, .fini = end)
{
	static const struct { const char *path, *site; } sites[] = {
		{ "/sites/a", "a" }, { "/sites/a%20b", "a b" }, { "/sites/a+b", "a+b" }, { "/sites/%2541", "%41" }, { "/sites/a;b=c", "a;b=c" },
		{ "/sites/%E6%82%A3", "\xe6\x82\xa3" }, { "/sites/%25", "%" }, { "/sites/a%3Bb/enrolments", "a;b" },
	};

	for (unsigned i = 0; i < array_count(sites); i++) {
		struct sites_target target = target_of("/sites", false, sites[i].path);

		cr_expect(http_text_is(target.site, sites[i].site), "%s", sites[i].path);
	}
	cr_expect(http_text_is(target_of("/sites", false, "/sites/a%20b/enrolments").segment, "a%20b"));
	cr_expect(http_text_is(target_of("/", false, "/sites/a").base, "/sites"));
	cr_expect(http_text_is(target_of("/x/sites/", false, "/x/sites/a").base, "/x/sites"));
}

Test(gateway_sites_request, a_site_that_is_none_is_refused, .init = begin, .fini = end)
{
	static const char *const bad[] = { "/sites/%FF", "/sites/%C2%85", "/sites/%C0%AF",
		"/sites/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };

	for (unsigned i = 0; i < array_count(bad); i++) {
		struct sites_target target;

		cr_expect_eq(sites_target_read(&target, &arena, "/sites", false, http_text_of(bad[i])), &SITE_NAME_BAD, "%s", bad[i]);
	}
}

Test(gateway_sites_request, a_kind_and_a_reservation_are_told_by_the_path, .init = begin, .fini = end)
{
	cr_expect_eq(target_of("/sites", false, "/sites/a/screenings").kind, COUNT_SCREENED);
	cr_expect_eq(target_of("/sites", false, "/sites/a/enrolments").kind, COUNT_ENROLLED);
	cr_expect_eq(target_of("/sites", false, "/sites/a/randomisations").kind, COUNT_RANDOMISED);
	cr_expect_eq(target_of("/sites", false, "/sites/a/withdrawals").kind, COUNT_WITHDRAWN);
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/0123456789abcdef").reservation, UINT64_C(0x0123456789abcdef));
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/ffffffffffffffff/confirm").reservation, UINT64_MAX);
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/0123456789ABCDEF").reservation, 0);
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/123").reservation, 0);
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/0123456789abcdeg").reservation, 0);
	cr_expect_eq(target_of("/sites", false, "/sites/a/reservations/0000000000000000").reservation, 0);
}

/* ---- conditions ---- */

static void head_of(const char *name, const char *first, const char *second)
{
	http_head_init(&head, &arena);
	http_append(&head, http_text_of(name), http_text_of(first));
	if (second)
		http_append(&head, http_text_of(name), http_text_of(second));
}

static enum condition_found found(const char *first, const char *second)
{
	head_of("If-Match", first, second);
	return condition_find(&head, HTTP_NAME_IF_MATCH);
}

Test(gateway_sites_request, a_condition_is_a_star_or_tags, .init = begin, .fini = end)
{
	cr_expect_eq(condition_find(&head, HTTP_NAME_IF_MATCH), CONDITION_NONE);
	cr_expect_eq(found("*", NULL), CONDITION_ANY);
	cr_expect_eq(found("\"7\"", NULL), CONDITION_TAGS);
	cr_expect_eq(found("\"\"", NULL), CONDITION_TAGS);
	cr_expect_eq(found("\"a,b\" , W/\"8\",, \"9\"", NULL), CONDITION_TAGS);
	cr_expect_eq(found("\"7\"", "\"8\""), CONDITION_TAGS);
	static const char *const bad[] = { "", ",", "7", "\"7", "7\"", "w/\"7\"", "W/7", "W/", "W", "\"7\" \"8\"", "\"7\"8", "*, \"7\"", "\"a b\"", "**" };
	for (unsigned i = 0; i < array_count(bad); i++)
		cr_expect_eq(found(bad[i], NULL), CONDITION_MALFORMED, "%s", bad[i]);
	cr_expect_eq(found("*", "\"7\""), CONDITION_MALFORMED);
	cr_expect_eq(found("*", "*"), CONDITION_MALFORMED);
	cr_expect_eq(found("\"7\"", "8"), CONDITION_MALFORMED);
}

Test(gateway_sites_request, tags_are_compared_as_the_condition_wants_it, .init = begin, .fini = end)
{
	struct condition condition;

	head_of("If-Match", "\"a,7\", W/\"7\"", "\"9\"");
	cr_expect_not(condition_has(&head, HTTP_NAME_IF_MATCH, 7, false));
	cr_expect(condition_has(&head, HTTP_NAME_IF_MATCH, 7, true));
	cr_expect(condition_has(&head, HTTP_NAME_IF_MATCH, 9, false));
	cr_expect_not(condition_has(&head, HTTP_NAME_IF_MATCH, 8, true));
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition));
	cr_expect(condition.given && !condition.any && condition.revision_count == 1 && condition.revisions[0] == 9);
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, true, &condition));
	cr_expect(condition.revision_count == 2 && condition.revisions[0] == 7 && condition.revisions[1] == 9);
	head_of("If-Match", "\"07\", \"7x\", \"\", \"-7\", \"99999999999999999999\", W/\"5\"", NULL);
	cr_expect_not(condition_has(&head, HTTP_NAME_IF_MATCH, 7, true));
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition) && condition.given && condition.revision_count == 0);
	head_of("If-Match", "\"0\"", NULL);
	cr_expect(condition_has(&head, HTTP_NAME_IF_MATCH, 0, false));
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition) && condition.given && condition.revision_count == 0);
}

Test(gateway_sites_request, a_condition_for_the_decider_is_whole_or_refused, .init = begin, .fini = end)
{
	struct condition condition;

	head_of("If-Match", "\"1\", \"2\", \"3\", \"4\", \"x\"", "\"5\", \"6\", \"7\", W/\"9\", \"8\"");
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition));
	cr_expect(condition.revision_count == CONDITION_REVISIONS_MAX && condition.revisions[7] == 8);
	cr_expect_not(condition_read(&head, HTTP_NAME_IF_MATCH, true, &condition), "nine of them");
	cr_expect(condition_read(&head, HTTP_NAME_IF_NONE_MATCH, true, &condition) && !condition.given);
	head_of("If-Match", "*", NULL);
	cr_expect(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition) && condition.given && condition.any);
	head_of("If-Match", "\"1", NULL);
	cr_expect_not(condition_read(&head, HTTP_NAME_IF_MATCH, false, &condition));
}

Test(gateway_sites_request, a_condition_cut_anywhere_is_read_within_its_bytes, .init = begin, .fini = end)
{
	static const char whole[] = "W/\"12\" , \"a,b\", \"34\"";

	for (size_t n = 0; n < sizeof whole; n++) {
		char *copy = malloc(n + !n);

		memcpy(copy, whole, n);
		http_head_init(&head, &arena);
		http_append(&head, HTTP_TEXT("If-None-Match"), (struct http_text){ copy, n });
		condition_find(&head, HTTP_NAME_IF_NONE_MATCH);
		cr_expect_eq(condition_has(&head, HTTP_NAME_IF_NONE_MATCH, 34, true), n >= sizeof whole - 1, "%zu", n);
		free(copy);
	}
}

/* ---- the key ---- */

static const struct reason *key_of(const char *first, const char *second, struct http_text *key)
{
	head_of("Idempotency-Key", first, second);
	return idempotency_key_read(&head, &arena, key);
}

Test(gateway_sites_request, a_key_is_the_same_in_quotes_and_bare, .init = begin, .fini = end)
{
	static const struct { const char *value, *key; } keys[] = {
		{ "8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
		{ "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
		{ "\"a\\\"b\\\\c\"", "a\"b\\c" }, { "a\"b", "a\"b" }, { "a b", "a b" }, { "\" \"", " " }, { "a\\b", "a\\b" },
	};
	char value[300];
	struct http_text key;

	cr_expect_null(idempotency_key_read(&head, &arena, &key));
	cr_expect_null(key.bytes);
	for (unsigned i = 0; i < array_count(keys); i++) {
		cr_expect_null(key_of(keys[i].value, NULL, &key), "%s", keys[i].value);
		cr_expect(http_text_is(key, keys[i].key), "%s gives %.*s", keys[i].value, (int)key.size, key.bytes);
	}
	memset(value, 'x', 255);
	value[255] = '\0';
	cr_expect_null(key_of(value, NULL, &key));
	cr_expect_eq(key.size, 255);
}

Test(gateway_sites_request, a_key_that_is_none_is_refused, .init = begin, .fini = end)
{
	static const char *const bad[] = { "", "\"\"", "\"", "\"a", "\"a\"b", "\"a\" ", "\"a\\", "\"a\\n\"", "a\tb", "\xc3\xbc", "\"\xc3\xbc\"", "\"a\";p=1" };
	char value[300];
	struct http_text key;

	for (unsigned i = 0; i < array_count(bad); i++)
		cr_expect_eq(key_of(bad[i], NULL, &key), &IDEMPOTENCY_KEY_BAD, "%s", bad[i]);
	memset(value, 'x', 256);
	value[256] = '\0';
	cr_expect_eq(key_of(value, NULL, &key), &IDEMPOTENCY_KEY_BAD);
	cr_expect_eq(key_of("a", "a", &key), &IDEMPOTENCY_KEY_BAD);
}

/* ---- pages, and what is accepted ---- */

Test(gateway_sites_request, a_page_begins_where_another_ended, .init = begin, .fini = end)
{
	char query[64] = "limit=7&after=";
	unsigned limit;
	uint32_t first;

	cr_expect_null(sites_page_read(&arena, (struct http_text){ NULL, 0 }, 5, &limit, &first));
	cr_expect(limit == SITES_LIMIT_USUAL && first == 0);
	query[14 + sites_cursor_write(query + 14, UINT64_MAX, COUNT_SITES_MAX)] = '\0';
	cr_expect_null(sites_page_read(&arena, http_text_of(query), UINT64_MAX, &limit, &first));
	cr_expect(limit == 7 && first == COUNT_SITES_MAX);
	/* Of another run: the same number is another site there. */
	cr_expect_eq(sites_page_read(&arena, http_text_of(query), 5, &limit, &first), &SITES_CURSOR_BAD);
}

Test(gateway_sites_request, a_page_that_is_none_is_refused, .init = begin, .fini = end)
{
	static const struct { const char *query; const struct reason *reason; } bad[] = {
		{ "limit=0", &SITES_LIMIT_BAD }, { "limit=1001", &SITES_LIMIT_BAD }, { "limit=", &SITES_LIMIT_BAD }, { "limit=-1", &SITES_LIMIT_BAD },
		{ "limit=1.0", &SITES_LIMIT_BAD }, { "limit=99999999999999999999", &SITES_LIMIT_BAD }, { "limit=1&limit=1", &HTTP_FORM_NAME_SEVERAL },
		{ "after=", &SITES_CURSOR_BAD }, { "after=5", &SITES_CURSOR_BAD }, { "after=5-", &SITES_CURSOR_BAD }, { "after=-5", &SITES_CURSOR_BAD },
		{ "after=5-g", &SITES_CURSOR_BAD }, { "after=5-1000001", &SITES_CURSOR_BAD }, { "after=5-00000000000000000", &SITES_CURSOR_BAD },
		{ "after=5-1-1", &SITES_CURSOR_BAD }, { "after=%zz", &HTTP_FORM_ESCAPE_BAD },
	};
	unsigned limit;
	uint32_t first;

	for (unsigned i = 0; i < array_count(bad); i++)
		cr_expect_eq(sites_page_read(&arena, http_text_of(bad[i].query), 5, &limit, &first), bad[i].reason, "%s", bad[i].query);
}

Test(gateway_sites_request, a_stream_is_given_to_who_names_it, .init = begin, .fini = end)
{
	static const struct { const char *accept; bool wants; } values[] = {
		{ "text/event-stream", true }, { "Text/Event-Stream", true }, { "application/json, text/event-stream;q=0.5", true },
		{ "text/event-stream; charset=utf-8", true }, { "text/event-stream;q=1", true }, { "text/event-stream;q=0.001", true },
		{ "*/*", false }, { "text/*", false }, { "", false }, { "text/event-streams", false }, { "text/event-stream;q=0", false },
		{ "text/event-stream; q=0.000", false }, { "text/event-strea", false },
	};

	cr_expect_not(sites_wants_stream(&head));
	for (unsigned i = 0; i < array_count(values); i++) {
		head_of("Accept", values[i].accept, NULL);
		cr_expect_eq(sites_wants_stream(&head), values[i].wants, "%s", values[i].accept);
	}
	head_of("Accept", "*/*", "text/event-stream");
	cr_expect(sites_wants_stream(&head));
}
