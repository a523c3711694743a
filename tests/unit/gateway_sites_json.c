/* What is said in JSON of sites: read strictly, and written so that any reader understands it. */
#include "gateway/serve/sites_json.c"

#include <criterion/criterion.h>

#define CHANGE (SITES_MAY_BY | SITES_MAY_LOWER | SITES_MAY_REASON)
#define RESERVE (SITES_MAY_BY | SITES_MAY_TTL | SITES_MAY_REASON)
#define RULES (SITES_MAY_STATUS | SITES_MAY_CAP | SITES_MAY_REASON)
#define STUDY (SITES_MAY_CAP | SITES_MAY_REASON)

/* In memory of its own size, so that a look behind the end is seen. */
static bool read_copy(struct sites_body *body, const char *text, size_t n, unsigned may, struct sites_fault *f)
{
	char *copy = malloc(n + !n);
	bool good;

	memcpy(copy, text, n);
	good = sites_body_read(body, (struct http_text){ copy, n }, may, f);
	free(copy);
	return good;
}

static void read_good(struct sites_body *body, const char *text, unsigned may)
{
	struct sites_fault f;

	cr_assert(read_copy(body, text, strlen(text), may, &f), "%s: %s", text, f.sentence);
}

static void refused(const char *text, unsigned may, const char *sentence)
{
	struct sites_body body;
	struct sites_fault f;

	cr_assert_not(read_copy(&body, text, strlen(text), may, &f), "%s is taken", text);
	cr_expect(strstr(f.sentence, sentence), "%s gives: %s", text, f.sentence);
	sites_body_fini(&body);
}

Test(gateway_sites_json, a_body_says_what_its_members_say)
{
	struct sites_body body;

	read_good(&body, "", CHANGE);
	cr_expect_eq(body.by, 1);
	cr_expect_eq(body.reason.size, 0);
	sites_body_fini(&body);
	read_good(&body, " {\"by\":-1000000,\n\"reason\":\"twice \\\"seen\\\"\"}\t", CHANGE);
	cr_expect_eq(body.by, -1000000);
	cr_expect(http_text_is(body.reason, "twice \"seen\""));
	sites_body_fini(&body);
	read_good(&body, "{\"\\u0062y\":2}", CHANGE);
	cr_expect_eq(body.by, 2);
	sites_body_fini(&body);
	read_good(&body, "{\"by\":1000000,\"ttl\":\"720h\"}", RESERVE);
	cr_expect_eq(body.ttl_ms, UINT64_C(720) * 3600 * 1000);
	sites_body_fini(&body);
	read_good(&body, "{\"status\":\"paused\"}", RULES);
	cr_expect(body.sets_status && !body.sets_cap && body.status == COUNT_PAUSED);
	sites_body_fini(&body);
	read_good(&body, "{\"status\":\"closed\",\"cap\":null,\"reason\":\"\"}", RULES);
	cr_expect(body.sets_status && body.sets_cap && body.status == COUNT_CLOSED && body.cap == COUNT_NO_CAP);
	sites_body_fini(&body);
	read_good(&body, "{\"cap\":1000000000000}", STUDY);
	cr_expect_eq(body.cap, SITES_CAP_MAX);
	sites_body_fini(&body);
	read_good(&body, "{\"cap\":0}", STUDY);
	cr_expect(body.sets_cap && body.cap == 0);
	sites_body_fini(&body);
}

Test(gateway_sites_json, a_number_of_patients_is_a_whole_number)
{
	static const char *const bad[] = { "1.0", "1e0", "0", "-0", "1000001", "-1000001", "\"1\"", "true", "null", "[1]", "{}" };
	char text[64];

	for (unsigned i = 0; i < array_count(bad); i++) {
		snprintf(text, sizeof text, "{\"by\":%s}", bad[i]);
		refused(text, CHANGE, "by is a whole number from -1000000 to 1000000, and not 0");
		refused(text, RESERVE, "by is a whole number from 1 to 1000000");
	}
	refused("{\"by\":-1}", RESERVE, "by is a whole number from 1");
	refused("{\"by\":99999999999999999999}", CHANGE, "not JSON");
}

Test(gateway_sites_json, what_is_not_known_is_refused_by_its_name)
{
	refused("{\"bY\":1}", CHANGE, "\"bY\" is no member here; known are: by and reason");
	refused("{\"cap\":1}", CHANGE, "\"cap\" is no member here");
	refused("{\"by\":1}", RULES, "\"by\" is no member here; known are: status, cap and reason");
	refused("{\"status\":\"closed\",\"cap\":1}", STUDY, "\"status\" is no member here; known are: cap and reason");
	refused("{\"by\":1}", SITES_MAY_REASON, "known are: reason");
	refused("{\"ttl\":\"1h\"}", CHANGE, "\"ttl\"");
}

Test(gateway_sites_json, rules_without_a_rule_are_none)
{
	refused("", RULES, "status or cap is wanted");
	refused("{\"reason\":\"x\"}", RULES, "status or cap is wanted");
	refused("{}", STUDY, "cap is wanted");
}

Test(gateway_sites_json, what_is_no_object_of_json_is_refused)
{
	static const char *const bad[] = { " ", "1", "[]", "null", "\"by\"", "{", "{\"by\":1", "{\"by\":1}}", "{\"by\":1,}", "{'by':1}", "{by:1}",
		"{\"by\":1,\"by\":1}", "{\"by\":1,\"b\\u0079\":2}", "{\"by\":+1}", "{\"by\":01}", "{\"by\":0x1}", "{\"by\":NaN}",
		"{\"reason\":\"\xff\"}", "{\"reason\":\"\xc0\x80\"}", "{\"reason\":\"\\ud800\"}", "{\"reason\":\"\\u0000\"}", "{\"reason\":\"a\nb\"}",
		"\xef\xbb\xbf{}", "{} {}", "{}x" };

	for (unsigned i = 0; i < array_count(bad); i++)
		refused(bad[i], CHANGE, "");
	refused("{\"by\":1", CHANGE, "not JSON in line 1, column 7");
	refused("[]", CHANGE, "not a JSON object");
}

Test(gateway_sites_json, a_reason_is_a_line_of_text)
{
	char text[700], reason[520];
	struct sites_body body;

	refused("{\"reason\":1}", CHANGE, "reason is a text");
	refused("{\"reason\":null}", CHANGE, "reason is a text");
	refused("{\"reason\":\"a\\nb\"}", CHANGE, "reason is a text");
	refused("{\"reason\":\"\\u007f\"}", CHANGE, "reason is a text");
	refused("{\"reason\":\"\\u0085\"}", CHANGE, "reason is a text");
	/* Two bytes a letter, so that the pieces in which it is judged do not end where letters do. */
	memset(reason, 0, sizeof reason);
	reason[0] = 'x';
	for (unsigned i = 0; i < 255; i++)
		memcpy(reason + 1 + 2 * i, "\xc3\xbc", 2);
	reason[511] = 'y';
	snprintf(text, sizeof text, "{\"reason\":\"%s\"}", reason);
	read_good(&body, text, CHANGE);
	cr_expect_eq(body.reason.size, 512);
	sites_body_fini(&body);
	snprintf(text, sizeof text, "{\"reason\":\"%sz\"}", reason);
	refused(text, CHANGE, "reason is a text");
	cr_expect_not(change_reason_is_good((struct http_text){ "\xc3", 1 }));
	cr_expect_not(change_reason_is_good((struct http_text){ "\x80\x80\x80", 3 }));
	for (unsigned n = 1; n < 200; n++) {
		memset(reason, 0x80, n); /* nothing but continuations: no place to cut */
		cr_expect_not(change_reason_is_good((struct http_text){ reason, n }), "%u", n);
	}
	cr_expect(change_reason_is_good((struct http_text){ NULL, 0 }));
}

Test(gateway_sites_json, a_status_a_cap_and_a_ttl_are_words_numbers_and_durations)
{
	static const char *const caps[] = { "-1", "1.5", "\"1\"", "1000000000001", "9223372036854775807", "true", "[]" };
	static const char *const ttls[] = { "1", "\"\"", "\"1\"", "\"0s\"", "\"-1h\"", "\"1.5h\"", "\"721h\"", "null" };
	char text[64];

	refused("{\"status\":\"Paused\"}", RULES, "status is \"recruiting\"");
	refused("{\"status\":null}", RULES, "status is");
	for (unsigned i = 0; i < array_count(caps); i++) {
		snprintf(text, sizeof text, "{\"cap\":%s}", caps[i]);
		refused(text, RULES, "cap is a whole number");
	}
	for (unsigned i = 0; i < array_count(ttls); i++) {
		snprintf(text, sizeof text, "{\"ttl\":%s}", ttls[i]);
		refused(text, RESERVE, "ttl is a duration");
	}
}

Test(gateway_sites_json, a_text_cut_anywhere_is_refused_and_read_within_its_bytes)
{
	static const char whole[] = "{\"by\":-12,\"reason\":\"\xe6\x82\xa3 \\u00fc \\\"\"}";

	for (size_t n = 1; n < sizeof whole - 1; n++) {
		struct sites_body body;
		struct sites_fault f;

		cr_assert_not(read_copy(&body, whole, n, CHANGE, &f), "%zu bytes", n);
		sites_body_fini(&body);
	}
}

Test(gateway_sites_json, depth_without_end_is_refused)
{
	char text[SITES_BODY_BYTES_MAX];

	memset(text, '[', sizeof text);
	for (unsigned i = 0; i < 2; i++) {
		struct sites_body body;
		struct sites_fault f;

		cr_assert_not(read_copy(&body, text, sizeof text, CHANGE, &f));
		sites_body_fini(&body);
		memcpy(text, "{\"by\":", 6);
	}
}

/* What was refused is told as a JSON string, whatever the client had written. */
Test(gateway_sites_json, a_fault_is_utf8_however_it_was_cut)
{
	char text[1200], message[JSON_STRING_BYTES_MAX(256)];

	for (unsigned n = 1; n < 140; n++) {
		struct sites_body body;
		struct sites_fault f;
		size_t at = (size_t)sprintf(text, "{\"%.*s", (int)(n % 4), "abc");
		json_t *read;

		for (unsigned i = 0; i < n; i++)
			at += (size_t)sprintf(text + at, "%s", i % 3 ? "\xf0\x9f\x98\x80" : "\\u0001");
		at += (size_t)sprintf(text + at, "\":1}");
		cr_assert_not(read_copy(&body, text, at, CHANGE, &f));
		sites_body_fini(&body);
		read = json_loadb(message, json_string_write(message, http_text_of(f.sentence)), JSON_DECODE_ANY, NULL);
		cr_assert(json_is_string(read), "%u: %s", n, f.sentence);
		cr_assert_str_eq(json_string_value(read), f.sentence);
		json_decref(read);
	}
}

/* ---- writing ---- */

Test(gateway_sites_json, every_string_is_read_back_as_it_was)
{
	char text[64 + 1], written[JSON_STRING_BYTES_MAX(64)];

	for (unsigned c = 1; c < 0x80; c++) {
		json_t *read;
		size_t n;

		memset(text, (int)c, 64);
		text[64] = '\0';
		n = json_string_write(written, (struct http_text){ text, 64 });
		cr_assert_leq(n, sizeof written);
		read = json_loadb(written, n, JSON_DECODE_ANY, NULL);
		cr_assert_str_eq(json_string_value(read), text, "0x%02x", c);
		json_decref(read);
	}
	cr_expect_eq(json_string_write(written, (struct http_text){ NULL, 0 }), 2);
}

Test(gateway_sites_json, a_moment_is_written_as_utc)
{
	static const struct { uint64_t ms; const char *text; } moments[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 951782399999, "2000-02-28T23:59:59.999Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ UINT64_C(1795644000007), "2026-11-25T22:00:00.007Z" },
		{ UINT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
	};
	char text[UTC_BYTES + 1] = "";

	for (unsigned i = 0; i < array_count(moments); i++) {
		utc_write(text, moments[i].ms);
		cr_expect_str_eq(text, moments[i].text);
	}
}

Test(gateway_sites_json, a_site_is_written_as_the_contract_says)
{
	struct count_site site = { .n = { 5, 4, 3, 1 }, .count = 3, .rules = { .status = COUNT_PAUSED, .cap = 7, .reserved = 2 }, .revision = 12,
		.stamp_ns = UINT64_C(1795644000007000001) };
	char text[SITE_JSON_BYTES_MAX + 1];

	text[site_json_write(text, false, http_text_of("a\"b"), &site)] = '\0';
	cr_expect_str_eq(text, "{\"site\":\"a\\\"b\",\"status\":\"paused\",\"count\":3,\"screened\":5,\"enrolled\":4,\"randomised\":3,\"withdrawn\":1,"
	                       "\"reserved\":2,\"cap\":7,\"revision\":12,\"changed\":\"2026-11-25T22:00:00.007Z\"}");
	site = (struct count_site){ .rules.cap = COUNT_NO_CAP };
	text[site_json_write(text, true, http_text_of("s"), &site)] = '\0';
	cr_expect_str_eq(text, "{\"type\":\"site\",\"site\":\"s\",\"status\":\"recruiting\",\"count\":0,\"screened\":0,\"enrolled\":0,\"randomised\":0,"
	                       "\"withdrawn\":0,\"reserved\":0,\"cap\":null,\"revision\":0,\"changed\":null}");
	text[study_json_write(text, true, &site)] = '\0';
	cr_expect_str_eq(text, "{\"type\":\"study\",\"count\":0,\"screened\":0,\"enrolled\":0,\"randomised\":0,\"withdrawn\":0,\"reserved\":0,\"cap\":null}");
}

Test(gateway_sites_json, the_largest_site_fits)
{
	const int64_t most = INT64_MIN;
	struct count_site site = { .n = { most, most, most, most }, .count = most,
		.rules = { .status = COUNT_RECRUITING, .cap = INT64_MAX, .reserved = most }, .revision = INT64_MAX, .stamp_ns = UINT64_MAX };
	char id[COUNT_SITE_BYTES_MAX], text[SITE_JSON_BYTES_MAX];

	memset(id, 1, sizeof id);
	cr_expect_leq(site_json_write(text, true, (struct http_text){ id, sizeof id }, &site), SITE_JSON_BYTES_MAX);
	cr_expect_leq(study_json_write(text, true, &site), 512 - 64);
}
