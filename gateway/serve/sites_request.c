/* See gateway/serve/sites_request.h. */
#include "gateway/serve/sites_request.h"

#include "cache/keys.h"
#include "gateway/counting/refusal.h"
#include "gateway/http/character.h"
#include "gateway/http/form.h"

#include <assert.h>
#include <stdio.h>

const struct reason CONDITION_BAD = { "condition_bad",
	"If-Match and If-None-Match are * or tags in quotes, as ETag gave them, at most 8 for a PUT, and are for GET and PUT of one site" };
static_assert(CONDITION_REVISIONS_MAX == 8, "the sentence says so");
const struct reason IDEMPOTENCY_KEY_BAD = { "idempotency_key_bad", "an Idempotency-Key is 1 to 255 printable characters of ASCII, once" };
const struct reason SITES_LIMIT_BAD = { "sites_limit_bad", "limit is a whole number from 1 to 1000" };
const struct reason SITES_CURSOR_BAD = { "sites_cursor_bad",
	"after is what an earlier answer gave as next, since the gateway was started; begin again without it" };

/* ---- the path ----------------------------------------------------------------------------------------------------------------- */

/* Takes the first segment off "/a/b"; false: none is left. */
static bool segment_next(struct http_text *rest, struct http_text *segment)
{
	const char *slash;

	if (rest->size == 0)
		return false;
	rest->bytes++;
	rest->size--;
	slash = rest->size > 0 ? memchr(rest->bytes, '/', rest->size) : NULL;
	*segment = (struct http_text){ rest->bytes, slash ? (size_t)(slash - rest->bytes) : rest->size };
	rest->bytes += segment->size;
	rest->size -= segment->size;
	return true;
}

/* The reader of the head has checked the escapes. */
static struct http_text segment_decode(struct arena *arena, struct http_text segment)
{
	char *bytes;
	size_t n = 0;

	if (segment.size == 0 || !memchr(segment.bytes, '%', segment.size))
		return segment;
	bytes = arena_take(arena, segment.size);
	for (size_t i = 0; i < segment.size; i++) {
		if (segment.bytes[i] == '%' && segment.size - i >= 3) {
			bytes[n++] = (char)(http_hex_value(segment.bytes[i + 1]) << 4 | http_hex_value(segment.bytes[i + 2]));
			i += 2;
		} else {
			bytes[n++] = segment.bytes[i];
		}
	}
	return (struct http_text){ bytes, n };
}

static struct http_text last_segment(struct http_text path)
{
	size_t size = 0;

	while (size < path.size && path.bytes[path.size - 1 - size] != '/')
		size++;
	return (struct http_text){ path.bytes + path.size - size, size };
}

/* Where in the path the sites are: the route's own path when that ends with /sites, otherwise the first segment behind it. */
static bool base_find(struct sites_target *target, struct http_text route_path, bool whole, struct http_text path, struct http_text *rest)
{
	struct http_text segment;

	/* "/" and "/api/" are "" and "/api" with what lies below. */
	if (route_path.size > 0 && route_path.bytes[route_path.size - 1] == '/')
		route_path.size--;
	/* A route for certain clients matches in more ways than this one (gateway/route.h). There is nothing of ours there. */
	if (path.size < route_path.size || memcmp(path.bytes, route_path.bytes, route_path.size) != 0 ||
	    (path.size > route_path.size && path.bytes[route_path.size] != '/'))
		return false;
	*rest = (struct http_text){ path.bytes + route_path.size, path.size - route_path.size };
	if (http_text_is(last_segment(route_path), "sites")) {
		target->base = (struct http_text){ path.bytes, route_path.size };
		return true;
	}
	if (whole || (rest->size == 0 && http_text_is(last_segment(route_path), "count"))) {
		target->place = COUNT_OF_SITE;
		return rest->size == 0;
	}
	if (!segment_next(rest, &segment))
		return false;
	if (http_text_is(segment, "count") && rest->size == 0) {
		target->place = COUNT_OF_SITE;
		return true;
	}
	target->base = (struct http_text){ path.bytes, path.size - rest->size };
	return http_text_is(segment, "sites");
}

/* 16 digits in lower case, as it was given: another writing of the same number is another path. */
static uint64_t reservation_read(struct http_text id)
{
	uint64_t number = 0;

	if (id.size != 16)
		return 0;
	for (size_t i = 0; i < id.size; i++) {
		if (!http_is(id.bytes[i], HTTP_IS_HEX) || (id.bytes[i] >= 'A' && id.bytes[i] <= 'F'))
			return 0;
		number = number << 4 | http_hex_value(id.bytes[i]);
	}
	return number;
}

static bool change_find(struct http_text word, enum count_kind *kind)
{
	static const char *const words[COUNT_KINDS] = {
		[COUNT_SCREENED] = "screenings",
		[COUNT_ENROLLED] = "enrolments",
		[COUNT_RANDOMISED] = "randomisations",
		[COUNT_WITHDRAWN] = "withdrawals",
	};

	for (unsigned i = 0; i < COUNT_KINDS; i++)
		if (http_text_is(word, words[i])) {
			*kind = (enum count_kind)i;
			return true;
		}
	return false;
}

static enum sites_place place_below(struct sites_target *target, struct http_text rest)
{
	struct http_text word, id, action;

	if (!segment_next(&rest, &word))
		return SITES_ONE;
	if (rest.size == 0 && change_find(word, &target->kind))
		return SITES_CHANGE;
	if (!http_text_is(word, "reservations"))
		return SITES_NOWHERE;
	if (!segment_next(&rest, &id))
		return SITES_RESERVE;
	if (id.size == 0)
		return SITES_NOWHERE;
	target->reservation = reservation_read(id);
	if (!segment_next(&rest, &action))
		return SITES_RESERVATION;
	return http_text_is(action, "confirm") && rest.size == 0 ? SITES_CONFIRM : SITES_NOWHERE;
}

const struct reason *sites_target_read(struct sites_target *target, struct arena *arena, const char *route_path, bool whole, struct http_text path)
{
	struct http_text rest;

	*target = (struct sites_target){ .place = SITES_NOWHERE };
	if (!base_find(target, http_text_of(route_path), whole, path, &rest)) {
		target->place = SITES_NOWHERE;
		return NULL;
	}
	if (target->place == COUNT_OF_SITE)
		return NULL;
	if (!segment_next(&rest, &target->segment)) {
		target->place = SITES_ALL;
		return NULL;
	}
	if (target->segment.size == 0)
		return NULL;
	if (http_text_is(target->segment, "events")) {
		target->place = rest.size == 0 ? SITES_EVENTS : SITES_NOWHERE;
		return NULL;
	}
	target->site = segment_decode(arena, target->segment);
	target->place = place_below(target, rest);
	return target->place == SITES_NOWHERE ? NULL : site_reason(count_judge(target->site.bytes, target->site.size));
}

/* ---- conditions ------------------------------------------------------------------------------------------------------------------ */

struct tag {
	bool weak;
	struct http_text opaque;
};

/* RFC 9110 §8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE, and etagc may be a comma, so that a list is not cut at commas
 * blindly. False at the end of the list; *good says whether it ended well. */
static bool tag_next(struct http_text *rest, struct tag *tag, bool *good)
{
	const char *at = rest->bytes, *end = rest->bytes + rest->size, *close;

	*good = true;
	while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
		at++;
	if (at == end)
		return false;
	*good = false;
	tag->weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
	at += tag->weak ? 2 : 0;
	if (at == end || *at != '"')
		return false;
	at++;
	for (close = at; close < end && *close != '"'; close++)
		if ((unsigned char)*close < 0x21 || *close == 0x7f)
			return false;
	if (close == end)
		return false;
	tag->opaque = (struct http_text){ at, (size_t)(close - at) };
	at = close + 1;
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	if (at < end && *at != ',')
		return false;
	*rest = (struct http_text){ at, (size_t)(end - at) };
	*good = true;
	return true;
}

static bool tag_is_revision(const struct tag *tag, uint64_t *revision)
{
	/* One writing alone: "07" was never given. */
	return http_number_parse(tag->opaque, revision) && (tag->opaque.size == 1 || tag->opaque.bytes[0] != '0');
}

enum condition_found condition_find(const struct http_head *head, enum http_name name)
{
	const struct http_field *field = NULL;
	unsigned fields = 0, stars = 0, tags = 0;

	while ((field = http_known_next(head, name, field))) {
		struct http_text rest = field->value;
		struct tag tag;
		bool good;

		fields++;
		if (http_text_is(rest, "*")) {
			stars++;
			continue;
		}
		while (tag_next(&rest, &tag, &good))
			tags++;
		if (!good)
			return CONDITION_MALFORMED;
	}
	if (fields == 0)
		return CONDITION_NONE;
	if (stars == 1 && fields == 1)
		return CONDITION_ANY;
	return stars == 0 && tags > 0 ? CONDITION_TAGS : CONDITION_MALFORMED;
}

bool condition_has(const struct http_head *head, enum http_name name, uint64_t revision, bool weak)
{
	const struct http_field *field = NULL;

	while ((field = http_known_next(head, name, field))) {
		struct http_text rest = field->value;
		struct tag tag;
		uint64_t number;
		bool good;

		while (tag_next(&rest, &tag, &good))
			if ((weak || !tag.weak) && tag_is_revision(&tag, &number) && number == revision)
				return true;
	}
	return false;
}

bool condition_read(const struct http_head *head, enum http_name name, bool weak, struct condition *condition)
{
	const enum condition_found kind = condition_find(head, name);
	const struct http_field *field = NULL;

	*condition = (struct condition){ .given = kind != CONDITION_NONE, .any = kind == CONDITION_ANY };
	while (kind == CONDITION_TAGS && (field = http_known_next(head, name, field))) {
		struct http_text rest = field->value;
		struct tag tag;
		uint64_t revision;
		bool good;

		while (tag_next(&rest, &tag, &good)) {
			if ((tag.weak && !weak) || !tag_is_revision(&tag, &revision) || revision == 0)
				continue;
			if (condition->revision_count == CONDITION_REVISIONS_MAX)
				return false;
			condition->revisions[condition->revision_count++] = revision;
		}
	}
	return kind != CONDITION_MALFORMED;
}

/* ---- the key ---------------------------------------------------------------------------------------------------------------------- */

/* RFC 8941 §3.3.3: printable ASCII between quotes, where `"` and `\` stand behind a backslash. */
static bool quoted_open(struct arena *arena, struct http_text value, struct http_text *key)
{
	char *bytes = arena_take(arena, value.size);
	size_t n = 0, i = 1;

	for (; i < value.size && value.bytes[i] != '"'; i++) {
		if (value.bytes[i] == '\\') {
			i++;
			if (i == value.size || (value.bytes[i] != '"' && value.bytes[i] != '\\'))
				return false;
		}
		bytes[n++] = value.bytes[i];
	}
	*key = (struct http_text){ bytes, n };
	return i + 1 == value.size;
}

const struct reason *idempotency_key_read(const struct http_head *head, struct arena *arena, struct http_text *key)
{
	const struct http_field *field = http_known_next(head, HTTP_NAME_IDEMPOTENCY_KEY, NULL);

	*key = (struct http_text){ NULL, 0 };
	if (!field)
		return NULL;
	/* Which of two is the request's would be a guess. */
	if (http_known_next(head, HTTP_NAME_IDEMPOTENCY_KEY, field))
		return &IDEMPOTENCY_KEY_BAD;
	*key = field->value;
	if (key->size > 0 && key->bytes[0] == '"' && !quoted_open(arena, field->value, key))
		return &IDEMPOTENCY_KEY_BAD;
	if (key->size == 0 || key->size > KEYS_BYTES_MAX)
		return &IDEMPOTENCY_KEY_BAD;
	for (size_t i = 0; i < key->size; i++)
		if (key->bytes[i] < 0x20 || key->bytes[i] > 0x7e)
			return &IDEMPOTENCY_KEY_BAD;
	return NULL;
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------------- */

static bool hex_read(struct http_text text, uint64_t *number)
{
	*number = 0;
	if (text.size == 0 || text.size > 16)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		if (!http_is(text.bytes[i], HTTP_IS_HEX))
			return false;
		*number = *number << 4 | http_hex_value(text.bytes[i]);
	}
	return true;
}

size_t sites_cursor_write(char to[SITES_CURSOR_BYTES_MAX], uint64_t run, uint32_t first)
{
	return (size_t)snprintf(to, SITES_CURSOR_BYTES_MAX, "%llx-%x", (unsigned long long)run, first);
}

static bool cursor_read(struct http_text cursor, uint64_t run, uint32_t *first)
{
	const char *dash = cursor.size > 0 ? memchr(cursor.bytes, '-', cursor.size) : NULL;
	uint64_t of_run, number;

	if (!dash)
		return false;
	if (!hex_read((struct http_text){ cursor.bytes, (size_t)(dash - cursor.bytes) }, &of_run) ||
	    !hex_read((struct http_text){ dash + 1, cursor.size - (size_t)(dash + 1 - cursor.bytes) }, &number))
		return false;
	*first = (uint32_t)number;
	return of_run == run && number <= COUNT_SITES_MAX;
}

const struct reason *sites_page_read(struct arena *arena, struct http_text query, uint64_t run, unsigned *limit, uint32_t *first)
{
	struct http_text text, cursor;
	const struct reason *reason = http_form_find(arena, query, "limit", &text);
	uint64_t number = SITES_LIMIT_USUAL;

	if (!reason)
		reason = http_form_find(arena, query, "after", &cursor);
	if (reason)
		return reason;
	if (text.bytes && (!http_number_parse(text, &number) || number < 1 || number > SITES_LIMIT_MAX))
		return &SITES_LIMIT_BAD;
	*limit = (unsigned)number;
	*first = 0;
	return cursor.bytes && !cursor_read(cursor, run, first) ? &SITES_CURSOR_BAD : NULL;
}

/* RFC 9110 §12.5.1, as far as it matters: a browser's EventSource names this type, and "q=0" would be its refusal. */
static bool range_is_stream(struct http_text range)
{
	static const char type[] = "text/event-stream";
	const size_t size = sizeof type - 1;
	size_t at = size;

	if (range.size < size || !http_text_is_nocase((struct http_text){ range.bytes, size }, type))
		return false;
	while (at < range.size && (range.bytes[at] == ' ' || range.bytes[at] == '\t'))
		at++;
	if (at < range.size && range.bytes[at] != ';')
		return false;
	for (; at + 2 < range.size; at++)
		if (http_lower(range.bytes[at]) == 'q' && range.bytes[at + 1] == '=' && (range.bytes[at - 1] == ';' || range.bytes[at - 1] == ' ')) {
			for (at += 2; at < range.size && (range.bytes[at] == '0' || range.bytes[at] == '.'); at++)
				;
			return at < range.size && http_is_digit(range.bytes[at]);
		}
	return true;
}

bool sites_wants_stream(const struct http_head *head)
{
	const struct http_field *field = NULL;

	while ((field = http_find_next(head, "Accept", field))) {
		struct http_text rest = field->value, range;

		while (http_list_next(&rest, &range))
			if (range_is_stream(range))
				return true;
	}
	return false;
}
