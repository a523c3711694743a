/* See gateway/serve/sites_json.h. */
#include "gateway/serve/sites_json.h"

#include "cache/record.h"
#include "gateway/config.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

const struct reason JSON_BAD = { "json_bad", "the body is not the JSON that is wanted here" };
const struct reason JSON_EXPECTED = { "json_expected", "the body must be application/json, in UTF-8" };
const struct reason JSON_TOO_LARGE = { "json_too_large", "the body is larger than what is said here need be" };
const struct reason CHANGE_REASON_BAD = { "change_reason_bad", "a reason is at most 512 bytes of UTF-8 without control characters" };

static_assert(SITES_CAP_MAX <= SHARD_LINE_MAX, "what a cap may be, can be counted");

static const char *const STATUS_WORDS[] = { [COUNT_RECRUITING] = "recruiting", [COUNT_PAUSED] = "paused", [COUNT_CLOSED] = "closed" };

const char *count_status_word(enum count_status status)
{
	check(status < array_count(STATUS_WORDS));
	return STATUS_WORDS[status];
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------------- */

/* Where a quoted piece of the client's text is cut, a character may be cut with it; what is left must be UTF-8 again. */
static void cut_at_character(char *text)
{
	size_t size = strlen(text), back = 0;

	while (back < size && back < 3 && ((unsigned char)text[size - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back < size) {
		const unsigned char lead = (unsigned char)text[size - 1 - back];
		const size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;

		if (wanted > back)
			text[size - 1 - back] = '\0';
	}
}

__attribute__((format(printf, 2, 3))) static bool fault(struct sites_fault *fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
	va_end(arguments);
	cut_at_character(fault->sentence);
	return false;
}

bool change_reason_is_good(struct http_text text)
{
	size_t at = 0;

	if (text.size > RECORD_TEXT_BYTES_MAX)
		return false;
	/* A site's id obeys the same rules, in pieces that end with a character. */
	while (at < text.size) {
		size_t size = text.size - at < COUNT_SITE_BYTES_MAX ? text.size - at : COUNT_SITE_BYTES_MAX;

		while (at + size < text.size && size > 1 && ((unsigned char)text.bytes[at + size] & 0xc0) == 0x80)
			size--;
		if (count_judge(text.bytes + at, size) != COUNT_OK)
			return false;
		at += size;
	}
	return true;
}

static const char *members_known(unsigned may)
{
	if (may & SITES_MAY_STATUS)
		return "status, cap and reason";
	if (may & SITES_MAY_CAP)
		return "cap and reason";
	if (may & SITES_MAY_TTL)
		return "by, ttl and reason";
	return may & SITES_MAY_BY ? "by and reason" : "reason";
}

static bool by_read(struct sites_body *body, const json_t *value, unsigned may, struct sites_fault *f)
{
	const bool lower = may & SITES_MAY_LOWER;

	/* 1.0 and 1e0 are no integers here: a count is not a quantity. */
	if (json_is_integer(value)) {
		body->by = json_integer_value(value);
		if (body->by != 0 && body->by <= COUNT_BY_MAX && body->by >= (lower ? -COUNT_BY_MAX : 1))
			return true;
	}
	return lower ? fault(f, "by is a whole number from -1000000 to 1000000, and not 0") : fault(f, "by is a whole number from 1 to 1000000");
}

static bool status_read(struct sites_body *body, const json_t *value, struct sites_fault *f)
{
	const char *word = json_string_value(value);

	for (unsigned i = 0; word && i < array_count(STATUS_WORDS); i++)
		if (strcmp(word, STATUS_WORDS[i]) == 0) {
			body->sets_status = true;
			body->status = (enum count_status)i;
			return true;
		}
	return fault(f, "status is \"recruiting\", \"paused\" or \"closed\"");
}

static bool cap_read(struct sites_body *body, const json_t *value, struct sites_fault *f)
{
	body->sets_cap = true;
	body->cap = json_is_null(value) ? COUNT_NO_CAP : json_integer_value(value);
	if (json_is_null(value) || (json_is_integer(value) && body->cap >= 0 && body->cap <= SITES_CAP_MAX))
		return true;
	return fault(f, "cap is a whole number from 0 to 1000000000000, or null for none");
}

static bool ttl_read(struct sites_body *body, const json_t *value, struct sites_fault *f)
{
	if (json_is_string(value) && config_duration_parse(json_string_value(value), &body->ttl_ms) == CONFIG_GOOD && body->ttl_ms > 0 &&
	    body->ttl_ms <= CONFIG_WINDOW_MS_MAX)
		return true;
	return fault(f, "ttl is a duration such as 90s, 30m or 2h, above 0 and of at most 720h");
}

static bool reason_read(struct sites_body *body, const json_t *value, struct sites_fault *f)
{
	body->reason = (struct http_text){ json_string_value(value), json_string_length(value) };
	if (json_is_string(value) && change_reason_is_good(body->reason))
		return true;
	return fault(f, "reason is a text of at most 512 bytes without control characters");
}

static bool member_read(struct sites_body *body, const char *key, const json_t *value, unsigned may, struct sites_fault *f)
{
	char name[65];

	if ((may & SITES_MAY_BY) && strcmp(key, "by") == 0)
		return by_read(body, value, may, f);
	if ((may & SITES_MAY_STATUS) && strcmp(key, "status") == 0)
		return status_read(body, value, f);
	if ((may & SITES_MAY_CAP) && strcmp(key, "cap") == 0)
		return cap_read(body, value, f);
	if ((may & SITES_MAY_TTL) && strcmp(key, "ttl") == 0)
		return ttl_read(body, value, f);
	if ((may & SITES_MAY_REASON) && strcmp(key, "reason") == 0)
		return reason_read(body, value, f);
	snprintf(name, sizeof name, "%s", key);
	cut_at_character(name);
	return fault(f, "\"%s\" is no member here; known are: %s", name, members_known(may));
}

bool sites_body_read(struct sites_body *body, struct http_text text, unsigned may, struct sites_fault *f)
{
	json_error_t error;
	json_t *root, *value;
	const char *key;

	*body = (struct sites_body){ .by = 1 };
	if (text.size == 0)
		text = HTTP_TEXT("{}");
	root = json_loadb(text.bytes, text.size, JSON_REJECT_DUPLICATES, &error);
	body->own = root;
	if (!root)
		return fault(f, "not JSON in line %d, column %d: %.150s", error.line, error.column, error.text);
	if (!json_is_object(root))
		return fault(f, "the body is not a JSON object");
	json_object_foreach(root, key, value)
		if (!member_read(body, key, value, may, f))
			return false;
	if ((may & SITES_MAY_CAP) && !body->sets_cap && !body->sets_status)
		return fault(f, may & SITES_MAY_STATUS ? "status or cap is wanted" : "cap is wanted");
	return true;
}

void sites_body_fini(struct sites_body *body)
{
	json_decref(body->own);
	body->own = NULL;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------------- */

size_t json_string_write(char *to, struct http_text text)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	to[n++] = '"';
	for (size_t i = 0; i < text.size; i++) {
		const unsigned char c = (unsigned char)text.bytes[i];

		if (c == '"' || c == '\\') {
			to[n++] = '\\';
			to[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			memcpy(to + n, "\\u00", 4);
			to[n + 4] = digits[c >> 4];
			to[n + 5] = digits[c & 15];
			n += 6;
		} else {
			to[n++] = (char)c;
		}
	}
	to[n++] = '"';
	return n;
}

static void put_digits(char *to, unsigned count, unsigned number)
{
	for (; count > 0; number /= 10)
		to[--count] = (char)('0' + number % 10);
}

/* By hand: snprintf took two thirds of a site's JSON. */
void utc_write(char to[UTC_BYTES], uint64_t ms)
{
	const time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	check(gmtime_r(&seconds, &tm));
	memcpy(to, "0000-00-00T00:00:00.000Z", UTC_BYTES);
	put_digits(to, 4, (unsigned)tm.tm_year + 1900);
	put_digits(to + 5, 2, (unsigned)tm.tm_mon + 1);
	put_digits(to + 8, 2, (unsigned)tm.tm_mday);
	put_digits(to + 11, 2, (unsigned)tm.tm_hour);
	put_digits(to + 14, 2, (unsigned)tm.tm_min);
	put_digits(to + 17, 2, (unsigned)tm.tm_sec);
	put_digits(to + 20, 3, (unsigned)(ms % 1000));
}

struct writing {
	char *to;
	size_t n;
};

static void put_word(struct writing *w, const char *word)
{
	const size_t size = strlen(word);

	memcpy(w->to + w->n, word, size);
	w->n += size;
}

static void put_number(struct writing *w, const char *name, int64_t number)
{
	put_word(w, name);
	if (number < 0)
		w->to[w->n++] = '-';
	w->n += http_number_write(w->to + w->n, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void put_counts(struct writing *w, const struct count_site *site)
{
	put_number(w, "\"count\":", site->count);
	put_number(w, ",\"screened\":", site->n[COUNT_SCREENED]);
	put_number(w, ",\"enrolled\":", site->n[COUNT_ENROLLED]);
	put_number(w, ",\"randomised\":", site->n[COUNT_RANDOMISED]);
	put_number(w, ",\"withdrawn\":", site->n[COUNT_WITHDRAWN]);
	put_number(w, ",\"reserved\":", site->rules.reserved);
	if (site->rules.cap == COUNT_NO_CAP)
		put_word(w, ",\"cap\":null");
	else
		put_number(w, ",\"cap\":", site->rules.cap);
}

size_t site_json_write(char *to, bool typed, struct http_text id, const struct count_site *site)
{
	struct writing w = { to, 0 };

	put_word(&w, typed ? "{\"type\":\"site\",\"site\":" : "{\"site\":");
	w.n += json_string_write(w.to + w.n, id);
	put_word(&w, ",\"status\":\"");
	put_word(&w, count_status_word(site->rules.status));
	put_word(&w, "\",");
	put_counts(&w, site);
	put_number(&w, ",\"revision\":", (int64_t)site->revision);
	if (site->stamp_ns == 0) {
		put_word(&w, ",\"changed\":null}");
	} else {
		put_word(&w, ",\"changed\":\"");
		utc_write(w.to + w.n, site->stamp_ns / 1000000);
		w.n += UTC_BYTES;
		put_word(&w, "\"}");
	}
	return w.n;
}

size_t study_json_write(char *to, bool typed, const struct count_site *study)
{
	struct writing w = { to, 0 };

	put_word(&w, typed ? "{\"type\":\"study\"," : "{");
	put_counts(&w, study);
	put_word(&w, "}");
	return w.n;
}
