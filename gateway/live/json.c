/* See gateway/live/json.h. jansson judges; where the body stands in the text is looked up behind it, in text that is known to be
 * one whole JSON object, because jansson keeps values and not how they were written. */
#include "gateway/live/json.h"
#include "gateway/config_value.h"
#include "gateway/verdict.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- where a member stands; for valid JSON alone -------------------------------------------------------------------------- */

static size_t blanks_skip(struct http_text text, size_t at)
{
	while (at < text.size && strchr(" \t\r\n", text.bytes[at]))
		at++;
	return at;
}

/* `at` is a quote; the result is behind the string's last one. */
static size_t string_skip(struct http_text text, size_t at)
{
	for (at++; at < text.size && text.bytes[at] != '"'; at++)
		if (text.bytes[at] == '\\')
			at++;
	return at + 1;
}

/* To the comma or bracket that stands behind the value. */
static size_t value_skip(struct http_text text, size_t at)
{
	unsigned depth = 0;

	while (at < text.size) {
		char c = text.bytes[at];

		if (c == '"') {
			at = string_skip(text, at);
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}'))
			break;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		at++;
	}
	return at < text.size ? at : text.size;
}

static bool member_find(struct http_text text, const char *name, struct http_text *value)
{
	size_t at = blanks_skip(text, 0) + 1; /* behind the brace */

	while ((at = blanks_skip(text, at)) < text.size && text.bytes[at] == '"') {
		const size_t key = at + 1;
		size_t begin, end;
		bool found;

		at = string_skip(text, at);
		found = http_text_is((struct http_text){ text.bytes + key, at - 1 - key }, name);
		begin = blanks_skip(text, blanks_skip(text, at) + 1); /* behind the colon */
		at = end = value_skip(text, begin);
		while (end > begin && strchr(" \t\r\n", text.bytes[end - 1]))
			end--;
		if (found) {
			*value = (struct http_text){ text.bytes + begin, end - begin };
			return true;
		}
		at++; /* behind the comma */
	}
	return false;
}

/* ---- a push ------------------------------------------------------------------------------------------------------------------- */

static const struct reason *ttl_read(uint64_t *ttl_ms, const json_t *ttl)
{
	if (!ttl)
		return NULL;
	if (!json_is_string(ttl) || config_duration_parse(json_string_value(ttl), ttl_ms) != CONFIG_GOOD ||
	    *ttl_ms > PUSH_TTL_MS_MAX)
		return &PUSH_TTL_BAD;
	return NULL;
}

static const struct reason *members_check(json_t *root)
{
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value)
		if (strcmp(key, "body") != 0 && strcmp(key, "ttl") != 0)
			return &PUSH_MEMBER_UNKNOWN;
	return json_object_get(root, "body") ? NULL : &PUSH_BODY_MISSING;
}

/* jansson judges; the bytes are passed on as they are. Whole numbers are read as real ones, because the reader may know larger ones than
 * jansson does. */
const struct reason *push_text_read(struct push_text *push, struct http_text text)
{
	json_t *root = json_loadb(text.size > 0 ? text.bytes : "", text.size,
	                          JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	const struct reason *reason = json_is_object(root) ? members_check(root) : &PUSH_NOT_JSON;

	*push = (struct push_text){ .ttl_ms = 0 };
	if (!reason)
		reason = ttl_read(&push->ttl_ms, json_object_get(root, "ttl"));
	/* A name that is written with escapes ("b\u006fdy") is not looked through. */
	if (!reason && !member_find(text, "body", &push->body))
		reason = &PUSH_BODY_MISSING;
	json_decref(root);
	return reason;
}

/* ---- a client ----------------------------------------------------------------------------------------------------------------- */

enum live_message live_message_read(struct http_text text)
{
	json_t *root = json_loadb(text.size > 0 ? text.bytes : "", text.size, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(root, "type"));
	enum live_message message = LIVE_OTHER;

	if (!type)
		message = LIVE_BAD;
	else if (strcmp(type, "ack") == 0)
		message = json_string_length(json_object_get(root, "id")) > 0 ? LIVE_ACK : LIVE_BAD;
	json_decref(root);
	return message;
}
