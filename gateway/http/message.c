/* gateway/http/message.c — heads and their fields; see message.h. */
#include "gateway/http/message.h"

#include "gateway/http/character.h"

const struct http_limits HTTP_LIMITS_USUAL = {
	.head_bytes_max = 16384,
	.uri_bytes_max = 8192,
	.fields_max = 100,
	.body_bytes_max = 1u << 20,
};

#define FIELD_SPACE_FIRST 16u

/* ---- methods and names ---- */

enum http_method http_method_of(struct http_text text)
{
	static const struct {
		enum http_method method;
		struct http_text name;
	} methods[] = {
		{HTTP_METHOD_GET, {"GET", 3}}, {HTTP_METHOD_POST, {"POST", 4}}, {HTTP_METHOD_HEAD, {"HEAD", 4}},
		{HTTP_METHOD_PUT, {"PUT", 3}}, {HTTP_METHOD_DELETE, {"DELETE", 6}}, {HTTP_METHOD_OPTIONS, {"OPTIONS", 7}},
		{HTTP_METHOD_PATCH, {"PATCH", 5}}, {HTTP_METHOD_TRACE, {"TRACE", 5}}, {HTTP_METHOD_CONNECT, {"CONNECT", 7}},
	};

	/* RFC 9110 §9.1: "The method token is case-sensitive". */
	for (unsigned i = 0; i < array_count(methods); i++)
		if (http_text_same(text, methods[i].name))
			return methods[i].method;
	return HTTP_METHOD_OTHER;
}

bool http_method_safe(enum http_method method)
{
	return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD || method == HTTP_METHOD_OPTIONS ||
	       method == HTTP_METHOD_TRACE;
}

bool http_method_idempotent(enum http_method method)
{
	return http_method_safe(method) || method == HTTP_METHOD_PUT || method == HTTP_METHOD_DELETE;
}

static const struct http_text name_texts[HTTP_NAME_COUNT] = {
	[HTTP_NAME_OTHER] = {"", 0},
#define NAME_TEXT(id, text) [HTTP_NAME_##id] = {(text), sizeof(text) - 1},
	HTTP_NAMES(NAME_TEXT)
#undef NAME_TEXT
};

struct http_text http_name_text(enum http_name name)
{
	return name_texts[name];
}

/* The candidates of each length; a test looks every name up, so none can be forgotten here. */
#define NAME_SIZE_MAX 24u
#define NAMES_ALIKE_MAX 5u
static const uint8_t names_by_size[NAME_SIZE_MAX + 1][NAMES_ALIKE_MAX] = {
	[2] = {HTTP_NAME_TE},
	[3] = {HTTP_NAME_VIA},
	[4] = {HTTP_NAME_HOST, HTTP_NAME_DATE, HTTP_NAME_ETAG},
	[5] = {HTTP_NAME_ALLOW},
	[6] = {HTTP_NAME_COOKIE, HTTP_NAME_EXPECT, HTTP_NAME_ORIGIN, HTTP_NAME_SERVER},
	[7] = {HTTP_NAME_UPGRADE, HTTP_NAME_TRAILER},
	[8] = {HTTP_NAME_IF_MATCH, HTTP_NAME_LOCATION},
	[9] = {HTTP_NAME_FORWARDED, HTTP_NAME_X_REAL_IP},
	[10] = {HTTP_NAME_CONNECTION, HTTP_NAME_USER_AGENT, HTTP_NAME_KEEP_ALIVE, HTTP_NAME_SET_COOKIE},
	[11] = {HTTP_NAME_TRACEPARENT, HTTP_NAME_RETRY_AFTER},
	[12] = {HTTP_NAME_CONTENT_TYPE, HTTP_NAME_X_REQUEST_ID},
	[13] = {HTTP_NAME_AUTHORIZATION, HTTP_NAME_CACHE_CONTROL, HTTP_NAME_IF_NONE_MATCH},
	[14] = {HTTP_NAME_CONTENT_LENGTH, HTTP_NAME_HTTP2_SETTINGS},
	[15] = {HTTP_NAME_ACCEPT_ENCODING, HTTP_NAME_IDEMPOTENCY_KEY, HTTP_NAME_X_FORWARDED_FOR},
	[16] = {HTTP_NAME_CONTENT_ENCODING, HTTP_NAME_PROXY_CONNECTION, HTTP_NAME_X_FORWARDED_HOST},
	[17] = {HTTP_NAME_TRANSFER_ENCODING, HTTP_NAME_SEC_WEBSOCKET_KEY, HTTP_NAME_X_FORWARDED_PROTO},
	[18] = {HTTP_NAME_PROXY_AUTHENTICATE},
	[19] = {HTTP_NAME_PROXY_AUTHORIZATION},
	[20] = {HTTP_NAME_SEC_WEBSOCKET_ACCEPT},
	[21] = {HTTP_NAME_SEC_WEBSOCKET_VERSION},
	[22] = {HTTP_NAME_SEC_WEBSOCKET_PROTOCOL},
	[24] = {HTTP_NAME_SEC_WEBSOCKET_EXTENSIONS},
};

enum http_name http_name_of(struct http_text text)
{
	if (text.size == 0 || text.size > NAME_SIZE_MAX)
		return HTTP_NAME_OTHER;
	for (const uint8_t *name = names_by_size[text.size]; *name; name++)
		if (http_lower(text.bytes[0]) == http_lower(name_texts[*name].bytes[0]) &&
		    http_text_same_nocase(text, name_texts[*name]))
			return (enum http_name)*name;
	return HTTP_NAME_OTHER;
}

/* ---- fields ---- */

void http_head_init(struct http_head *head, struct arena *arena)
{
	*head = (struct http_head){.arena = arena, .keep_alive = true, .version_minor = 1};
}

static struct http_text text_copy(struct arena *arena, struct http_text text)
{
	if (!text.bytes)
		return text;
	return (struct http_text){arena_copy(arena, text.bytes, text.size), text.size};
}

void http_head_copy(struct http_head *to, struct arena *arena, const struct http_head *from)
{
	*to = *from;
	to->arena = arena;
	to->method_text = text_copy(arena, from->method_text);
	to->path = text_copy(arena, from->path);
	to->query = text_copy(arena, from->query);
	to->host = text_copy(arena, from->host);
	to->host_name = (struct http_text){to->host.bytes, from->host_name.size};
	to->phrase = text_copy(arena, from->phrase);
	to->upgrade = text_copy(arena, from->upgrade);
	to->fields = NULL;
	to->field_space = 0;
	to->field_count = 0;
	http_fields_reserve(to, from->field_count);
	for (unsigned i = 0; i < from->field_count; i++)
		to->fields[i] = (struct http_field){
			.name = text_copy(arena, from->fields[i].name),
			.value = text_copy(arena, from->fields[i].value),
			.known = from->fields[i].known,
		};
	to->field_count = from->field_count;
}

const struct http_field *http_known_behind(const struct http_head *head, enum http_name name, const struct http_field *after)
{
	for (unsigned at = (unsigned)(after - head->fields) + 1; at < head->field_count; at++)
		if (head->fields[at].known == name)
			return &head->fields[at];
	return NULL;
}

const struct http_field *http_find_next(const struct http_head *head, const char *name, const struct http_field *after)
{
	struct http_text text = http_text_of(name);

	for (unsigned at = after ? (unsigned)(after - head->fields) + 1 : 0; at < head->field_count; at++)
		if (http_text_same_nocase(head->fields[at].name, text))
			return &head->fields[at];
	return NULL;
}

struct http_text http_find(const struct http_head *head, const char *name)
{
	const struct http_field *field = http_find_next(head, name, NULL);

	return field ? field->value : (struct http_text){0};
}

bool http_list_has(const struct http_head *head, enum http_name name, const char *token)
{
	struct http_text wanted = http_text_of(token);

	for (const struct http_field *field = NULL; (field = http_known_next(head, name, field));) {
		struct http_text rest = field->value;

		for (struct http_text element; http_list_next(&rest, &element);)
			if (http_text_same_nocase(element, wanted))
				return true;
	}
	return false;
}

static void fields_grow(struct http_head *head, unsigned count)
{
	struct http_field *fields;
	unsigned space = head->field_space * 2;

	check(count <= HTTP_FIELDS_MAX + FIELD_SPACE_FIRST);
	space = space < FIELD_SPACE_FIRST ? FIELD_SPACE_FIRST : space;
	space = space < count ? count : space;
	fields = arena_take(head->arena, space * sizeof *fields);
	if (head->field_count > 0)
		memcpy(fields, head->fields, head->field_count * sizeof *fields);
	head->fields = fields;
	head->field_space = space;
}

void http_fields_reserve(struct http_head *head, unsigned count)
{
	if (count > head->field_space)
		fields_grow(head, count);
}

static inline void append(struct http_head *head, enum http_name known, struct http_text name, struct http_text value)
{
	http_fields_reserve(head, head->field_count + 1);
	head->fields[head->field_count++] = (struct http_field){.name = name, .value = value, .known = known};
	if (!head->first[known])
		head->first[known] = (uint16_t)head->field_count;
}

void http_append(struct http_head *head, struct http_text name, struct http_text value)
{
	append(head, http_name_of(name), name, value);
}

/* No value of ours can end a line early, whoever put a stranger's bytes into it. */
static bool value_is_safe(struct http_text value)
{
	return http_value_run(value.bytes, value.size) == value.size;
}

void http_add(struct http_head *head, struct http_text name, struct http_text value)
{
	check(http_text_is_token(name));
	check(value_is_safe(value));
	http_append(head, name, value);
}

void http_add_known(struct http_head *head, enum http_name name, struct http_text value)
{
	check(name > HTTP_NAME_OTHER && name < HTTP_NAME_COUNT);
	check(value_is_safe(value));
	append(head, name, name_texts[name], value);
}

void http_add_number(struct http_head *head, enum http_name name, uint64_t number)
{
	char *digits = arena_take(head->arena, 20);

	http_add_known(head, name, (struct http_text){digits, http_number_write(digits, number)});
}

/* Keeps the fields that `stays` approves of, in order. Mostly those are all, and then nothing moves. */
typedef bool field_stays(const struct http_field *, const void *);

static inline void fields_keep(struct http_head *head, field_stays *stays, const void *argument)
{
	unsigned count = 0;

	while (count < head->field_count && stays(&head->fields[count], argument))
		count++;
	if (count == head->field_count)
		return;
	for (unsigned i = count + 1; i < head->field_count; i++)
		if (stays(&head->fields[i], argument))
			head->fields[count++] = head->fields[i];
	head->field_count = count;
	memset(head->first, 0, sizeof head->first);
	for (unsigned i = count; i > 0; i--)
		head->first[head->fields[i - 1].known] = (uint16_t)i;
}

static bool stays_unless_known(const struct http_field *field, const void *name)
{
	return field->known != *(const enum http_name *)name;
}

void http_remove(struct http_head *head, enum http_name name)
{
	if (head->first[name])
		fields_keep(head, stays_unless_known, &name);
}

struct goes {
	bool (*goes)(const struct http_field *);
};

static bool stays_unless_it_goes(const struct http_field *field, const void *argument)
{
	const struct goes *asked = argument;

	return !asked->goes(field);
}

void http_remove_where(struct http_head *head, bool (*goes)(const struct http_field *))
{
	fields_keep(head, stays_unless_it_goes, &(struct goes){ goes });
}

/* RFC 9110 §7.6.1: "A sender MUST NOT send a connection option corresponding to a field that is intended for all recipients
 * of the content. For example, Cache-Control is never appropriate as a connection option". A client that names them anyway
 * wants a field stripped on the way to the upstream: its credentials' check, or the trace of where the request came from. */
static bool name_is_for_all(enum http_name name)
{
	switch (name) {
	case HTTP_NAME_OTHER:
	case HTTP_NAME_CONNECTION:
	case HTTP_NAME_HTTP2_SETTINGS:
	case HTTP_NAME_KEEP_ALIVE:
	case HTTP_NAME_PROXY_AUTHENTICATE:
	case HTTP_NAME_PROXY_AUTHORIZATION:
	case HTTP_NAME_PROXY_CONNECTION:
	case HTTP_NAME_TE:
	case HTTP_NAME_TRAILER:
	case HTTP_NAME_TRANSFER_ENCODING:
	case HTTP_NAME_UPGRADE:
		return false;
	default:
		return true;
	}
}

/* What the Connection fields of a head say. */
struct options {
	struct http_field fields[HTTP_CONNECTION_FIELDS_MAX];
	unsigned count;
};

static bool stays_end_to_end(const struct http_field *field, const void *argument)
{
	struct http_text rest, element;
	const struct options *options = argument;

	if (field->known != HTTP_NAME_OTHER)
		return name_is_for_all(field->known);
	for (unsigned i = 0; i < options->count; i++) {
		rest = options->fields[i].value;
		while (http_list_next(&rest, &element))
			if (http_text_same_nocase(element, field->name))
				return false;
	}
	return true;
}

void http_remove_hop_by_hop(struct http_head *head)
{
	/* The Connection fields, apart: compaction would overwrite them while they are asked. Their number is bounded by
	 * strict_settle; a head of our own making has few. */
	struct options options;

	options.count = 0;
	for (const struct http_field *field = NULL; (field = http_known_next(head, HTTP_NAME_CONNECTION, field));) {
		check(options.count < HTTP_CONNECTION_FIELDS_MAX);
		options.fields[options.count++] = *field;
	}
	fields_keep(head, stays_end_to_end, &options);
}

/* ---- answers ---- */

struct http_text http_phrase_of(unsigned status)
{
	switch (status) {
	case 100: return HTTP_TEXT("Continue");
	case 101: return HTTP_TEXT("Switching Protocols");
	case 103: return HTTP_TEXT("Early Hints");
	case 200: return HTTP_TEXT("OK");
	case 201: return HTTP_TEXT("Created");
	case 202: return HTTP_TEXT("Accepted");
	case 204: return HTTP_TEXT("No Content");
	case 206: return HTTP_TEXT("Partial Content");
	case 301: return HTTP_TEXT("Moved Permanently");
	case 302: return HTTP_TEXT("Found");
	case 303: return HTTP_TEXT("See Other");
	case 304: return HTTP_TEXT("Not Modified");
	case 307: return HTTP_TEXT("Temporary Redirect");
	case 308: return HTTP_TEXT("Permanent Redirect");
	case 400: return HTTP_TEXT("Bad Request");
	case 401: return HTTP_TEXT("Unauthorized");
	case 403: return HTTP_TEXT("Forbidden");
	case 404: return HTTP_TEXT("Not Found");
	case 405: return HTTP_TEXT("Method Not Allowed");
	case 406: return HTTP_TEXT("Not Acceptable");
	case 408: return HTTP_TEXT("Request Timeout");
	case 409: return HTTP_TEXT("Conflict");
	case 410: return HTTP_TEXT("Gone");
	case 411: return HTTP_TEXT("Length Required");
	case 412: return HTTP_TEXT("Precondition Failed");
	case 413: return HTTP_TEXT("Content Too Large");
	case 414: return HTTP_TEXT("URI Too Long");
	case 415: return HTTP_TEXT("Unsupported Media Type");
	case 417: return HTTP_TEXT("Expectation Failed");
	case 421: return HTTP_TEXT("Misdirected Request");
	case 422: return HTTP_TEXT("Unprocessable Content");
	case 425: return HTTP_TEXT("Too Early");
	case 426: return HTTP_TEXT("Upgrade Required");
	case 428: return HTTP_TEXT("Precondition Required");
	case 429: return HTTP_TEXT("Too Many Requests");
	case 431: return HTTP_TEXT("Request Header Fields Too Large");
	case 500: return HTTP_TEXT("Internal Server Error");
	case 501: return HTTP_TEXT("Not Implemented");
	case 502: return HTTP_TEXT("Bad Gateway");
	case 503: return HTTP_TEXT("Service Unavailable");
	case 504: return HTTP_TEXT("Gateway Timeout");
	case 505: return HTTP_TEXT("HTTP Version Not Supported");
	case 507: return HTTP_TEXT("Insufficient Storage");
	default: return HTTP_TEXT("");
	}
}
