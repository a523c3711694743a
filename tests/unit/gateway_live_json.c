/* What a push and a client say. */
#include "gateway/live/json.c"

#include <criterion/criterion.h>

static const struct reason *read_push(const char *text, size_t n)
{
	struct push_text push;
	/* In memory of its own size, so that a look behind the end is seen. */
	char *copy = malloc(n + !n);
	const struct reason *reason;

	memcpy(copy, text, n);
	reason = push_text_read(&push, (struct http_text){ copy, n });
	free(copy);
	return reason;
}

static void body_is(const char *text, const char *body, uint64_t ttl_ms)
{
	struct push_text push;

	cr_assert_null(push_text_read(&push, http_text_of(text)), "%s", text);
	cr_assert(http_text_is(push.body, body), "%s gives %.*s", text, (int)push.body.size, push.body.bytes);
	cr_assert_eq(push.ttl_ms, ttl_ms, "%s", text);
}

Test(gateway_live_json, a_body_is_what_was_written)
{
	body_is("{\"body\":1}", "1", 0);
	body_is("{\"body\":1.10,\"ttl\":\"1h\"}", "1.10", 3600000);
	body_is(" {\t\"ttl\" : \"90s\" ,\n \"body\" : { \"a\" : [ 1 , 2 ] } }\r\n", "{ \"a\" : [ 1 , 2 ] }", 90000);
	body_is("{\"body\":null}", "null", 0);
	body_is("{\"body\":\"}\\\",\\\\\"}", "\"}\\\",\\\\\"", 0);
	body_is("{\"body\":{\"body\":2}}", "{\"body\":2}", 0);
	body_is("{\"ttl\":\"0s\",\"body\":[{},[],\"]\"]}", "[{},[],\"]\"]", 0);
	body_is("{\"body\":1,\"ttl\":\"720h\"}", "1", PUSH_TTL_MS_MAX);
	body_is("{\"body\":\"\xe6\x82\xa3\"}", "\"\xe6\x82\xa3\"", 0);
}

Test(gateway_live_json, a_body_is_whatever_json_is)
{
	body_is("{\"body\":12345678901234567890123}", "12345678901234567890123", 0);
	body_is("{\"body\":\"a\\u0000b\"}", "\"a\\u0000b\"", 0);
	body_is("{\"body\":1e308}", "1e308", 0);
}

Test(gateway_live_json, a_push_that_is_none_is_refused_by_name)
{
	static const struct {
		const char *text;
		const struct reason *reason;
	} bad[] = {
		{ "", &PUSH_NOT_JSON }, { "1", &PUSH_NOT_JSON }, { "[]", &PUSH_NOT_JSON }, { "\"body\"", &PUSH_NOT_JSON },
		{ "{\"body\":1}}", &PUSH_NOT_JSON }, { "{\"body\":1,}", &PUSH_NOT_JSON }, { "{\"body\":\"\xff\"}", &PUSH_NOT_JSON },
		{ "{\"body\":1,\"body\":1}", &PUSH_NOT_JSON }, { "{\"body\":1,\"b\\u006fdy\":1}", &PUSH_NOT_JSON },
		{ "{\"body\":1e999}", &PUSH_NOT_JSON }, { "{\"\\u0062ody\":1}", &PUSH_BODY_MISSING },
		{ "{}", &PUSH_BODY_MISSING }, { "{\"ttl\":\"1h\"}", &PUSH_BODY_MISSING }, { "{\"Body\":1}", &PUSH_MEMBER_UNKNOWN },
		{ "{\"body\":1,\"id\":2}", &PUSH_MEMBER_UNKNOWN }, { "{\"body\":1,\"ttl\":1}", &PUSH_TTL_BAD },
		{ "{\"body\":1,\"ttl\":\"\"}", &PUSH_TTL_BAD }, { "{\"body\":1,\"ttl\":\"1\"}", &PUSH_TTL_BAD },
		{ "{\"body\":1,\"ttl\":\"-1h\"}", &PUSH_TTL_BAD }, { "{\"body\":1,\"ttl\":\"1.5h\"}", &PUSH_TTL_BAD },
		{ "{\"body\":1,\"ttl\":\"721h\"}", &PUSH_TTL_BAD }, { "{\"body\":1,\"ttl\":\"99999999999999999999h\"}", &PUSH_TTL_BAD },
		{ "{\"body\":1,\"ttl\":null}", &PUSH_TTL_BAD },
	};

	for (unsigned i = 0; i < array_count(bad); i++) {
		const struct reason *reason = read_push(bad[i].text, strlen(bad[i].text));

		cr_assert_eq(reason, bad[i].reason, "%s: %s", bad[i].text, reason ? reason->name : "good");
	}
	cr_assert_eq(read_push("{\"body\":1}\0", 11), &PUSH_NOT_JSON);
}

Test(gateway_live_json, a_push_cut_at_every_byte_is_none)
{
	static const char text[] = "{ \"ttl\":\"1h\", \"body\" : {\"a\":[1,\"x\\\"}\"]} }";

	for (size_t n = 0; n + 1 < sizeof text; n++)
		cr_assert_eq(read_push(text, n), &PUSH_NOT_JSON, "%zu bytes", n);
	cr_assert_null(read_push(text, sizeof text - 1));
}

static enum live_message said(const char *text)
{
	return live_message_read(http_text_of(text));
}

Test(gateway_live_json, an_ack_names_its_id)
{
	cr_assert_eq(said("{\"type\":\"ack\",\"id\":\"0123\"}"), LIVE_ACK);
	cr_assert_eq(said("{\"id\":\"0123\",\"more\":1,\"type\":\"ack\"}"), LIVE_ACK);
	cr_assert_eq(said("{\"type\":\"ack\"}"), LIVE_BAD);
	cr_assert_eq(said("{\"type\":\"ack\",\"id\":\"\"}"), LIVE_BAD);
	cr_assert_eq(said("{\"type\":\"ack\",\"id\":1}"), LIVE_BAD);
}

Test(gateway_live_json, another_object_with_a_type_is_a_sign_of_life)
{
	cr_assert_eq(said("{\"type\":\"here\"}"), LIVE_OTHER);
	cr_assert_eq(said("{\"type\":\"\",\"x\":[]}"), LIVE_OTHER);
	cr_assert_eq(said("{\"type\":1}"), LIVE_BAD);
	cr_assert_eq(said("{}"), LIVE_BAD);
	cr_assert_eq(said("[]"), LIVE_BAD);
	cr_assert_eq(said("ping"), LIVE_BAD);
	cr_assert_eq(said(""), LIVE_BAD);
	cr_assert_eq(live_message_read((struct http_text){ NULL, 0 }), LIVE_BAD);
}
