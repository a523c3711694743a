/* gateway/http/message.h — a request or an answer, whichever HTTP carried it. Pure: no I/O.
 *
 * Words:  head    everything before the body: the start line, taken apart, and the fields in the order they came
 *         known   a field name that somebody here asks for; looking it up is one array access
 *         owned   Host, and the fields that frame the message or belong to one connection. A writer makes them from the
 *                 struct (host, body, content_length, keep_alive, upgrade) and never copies them from the fields:
 *                 what we send on is read one way only
 *
 * Owner: the arena that was given; every text lives in it, or is static.   Thread: any; nothing is shared.
 * Units: bytes.   Errors: NULL, or a reason of gateway/http/reason.h.
 * Limits: struct http_limits, kept by the readers. */
#ifndef GATEWAY_HTTP_MESSAGE_H
#define GATEWAY_HTTP_MESSAGE_H

#include "gateway/http/form.h"
#include "gateway/http/reason.h"
#include "gateway/http/target.h"
#include "gateway/http/text.h"
#include "ring/arena.h"

enum http_method {
	HTTP_METHOD_NONE,                /* an answer */
	HTTP_METHOD_GET,
	HTTP_METHOD_HEAD,
	HTTP_METHOD_POST,
	HTTP_METHOD_PUT,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_OPTIONS,
	HTTP_METHOD_PATCH,
	HTTP_METHOD_TRACE,
	HTTP_METHOD_CONNECT,             /* refused in HTTP/1.1; in HTTP/2 it may open a WebSocket */
	HTTP_METHOD_OTHER                /* a token of another method; see method_text */
};

enum http_method http_method_of(struct http_text);

/* RFC 9110 §9.2.1, §9.2.2: may the request be made without asking, may it be made again? OTHER: no. */
bool http_method_safe(enum http_method);
bool http_method_idempotent(enum http_method);

/* The names with a place of their own. Order: see http_name_of. */
#define HTTP_NAMES(N) \
	N(ACCEPT_ENCODING, "Accept-Encoding") \
	N(ALLOW, "Allow") \
	N(AUTHORIZATION, "Authorization") \
	N(CACHE_CONTROL, "Cache-Control") \
	N(CONNECTION, "Connection") \
	N(CONTENT_ENCODING, "Content-Encoding") \
	N(CONTENT_LENGTH, "Content-Length") \
	N(CONTENT_TYPE, "Content-Type") \
	N(COOKIE, "Cookie") \
	N(DATE, "Date") \
	N(ETAG, "ETag") \
	N(EXPECT, "Expect") \
	N(FORWARDED, "Forwarded") \
	N(HOST, "Host") \
	N(HTTP2_SETTINGS, "HTTP2-Settings") \
	N(IDEMPOTENCY_KEY, "Idempotency-Key") \
	N(IF_MATCH, "If-Match") \
	N(IF_NONE_MATCH, "If-None-Match") \
	N(KEEP_ALIVE, "Keep-Alive") \
	N(LOCATION, "Location") \
	N(ORIGIN, "Origin") \
	N(PROXY_AUTHENTICATE, "Proxy-Authenticate") \
	N(PROXY_AUTHORIZATION, "Proxy-Authorization") \
	N(PROXY_CONNECTION, "Proxy-Connection") \
	N(RETRY_AFTER, "Retry-After") \
	N(SEC_WEBSOCKET_ACCEPT, "Sec-WebSocket-Accept") \
	N(SEC_WEBSOCKET_EXTENSIONS, "Sec-WebSocket-Extensions") \
	N(SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key") \
	N(SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol") \
	N(SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version") \
	N(SERVER, "Server") \
	N(SET_COOKIE, "Set-Cookie") \
	N(TE, "TE") \
	N(TRACEPARENT, "Traceparent") \
	N(TRAILER, "Trailer") \
	N(TRANSFER_ENCODING, "Transfer-Encoding") \
	N(UPGRADE, "Upgrade") \
	N(USER_AGENT, "User-Agent") \
	N(VIA, "Via") \
	N(X_FORWARDED_FOR, "X-Forwarded-For") \
	N(X_FORWARDED_HOST, "X-Forwarded-Host") \
	N(X_FORWARDED_PROTO, "X-Forwarded-Proto") \
	N(X_REAL_IP, "X-Real-IP") \
	N(X_REQUEST_ID, "X-Request-ID")

enum http_name {
	HTTP_NAME_OTHER,
#define HTTP_NAME_ENUM(id, text) HTTP_NAME_##id,
	HTTP_NAMES(HTTP_NAME_ENUM)
#undef HTTP_NAME_ENUM
	HTTP_NAME_COUNT
};

enum http_name http_name_of(struct http_text);      /* in any case of letters */

struct http_field {
	struct http_text name;           /* as it came */
	struct http_text value;          /* without the blanks around it; may be empty */
	enum http_name known;
};

enum http_body {
	HTTP_BODY_NONE,                  /* none follows: a GET, an answer to HEAD, 1xx, 204, 304 */
	HTTP_BODY_LENGTH,                /* content_length bytes; may be 0 */
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNTIL_END              /* an answer that ends with its connection */
};

struct http_head {
	/* a request */
	enum http_method method;
	struct http_text method_text;
	struct http_text path;           /* normalised; begins with "/", or is "*" (OPTIONS) */
	struct http_text query;          /* without the "?"; as it came */
	struct http_text host;           /* as it came, with a port if one was there; empty in 1.0 without Host */
	struct http_text host_name;      /* `host` without the port and one dot at the end; IPv6 with its brackets */
	bool expect_continue;            /* the client waits for 100 before it sends the body */

	/* an answer */
	unsigned status;                 /* 100 … 599; 0: this is a request */
	struct http_text phrase;         /* written when it is there; otherwise the usual one of the status */

	/* both */
	unsigned version_minor;          /* as it came: 0 or 1. A writer always says 1.1, and reads here whom it talks to */
	enum http_body body;
	bool has_length;                 /* content_length was declared: also beside HTTP_BODY_NONE, in an answer to HEAD */
	uint64_t content_length;
	bool keep_alive;                 /* the connection may carry another message after this one */
	struct http_text upgrade;        /* the protocols wished for (or agreed on: 101); only where Connection says so too */

	struct http_field *fields;       /* in the order they came, the owned ones too */
	unsigned field_count;
	unsigned field_space;
	uint16_t first[HTTP_NAME_COUNT]; /* of each known name, index + 1; 0: absent */
	struct arena *arena;
};

struct http_limits {
	uint32_t head_bytes_max;         /* start line, fields and the empty line: HTTP_HEAD_TOO_LARGE */
	uint32_t uri_bytes_max;          /* HTTP_TARGET_TOO_LONG */
	uint32_t fields_max;             /* HTTP_FIELDS_TOO_MANY; at most HTTP_FIELDS_MAX */
	uint64_t body_bytes_max;         /* HTTP_BODY_TOO_LARGE; UINT64_MAX: unlimited */
};

#define HTTP_FIELDS_MAX 1024u
#define HTTP_CONNECTION_FIELDS_MAX 8u            /* Connection fields, and options in all of them: HTTP_CONNECTION_LONG */
#define HTTP_CONNECTION_OPTIONS_MAX 32u

/* 16 KiB, 8 KiB, 100 fields, 1 MiB: what nginx allows, and fields as Apache. */
extern const struct http_limits HTTP_LIMITS_USUAL;

/* Empty: no fields, body NONE, keep_alive, version 1.1. The fields' memory comes from the arena. */
void http_head_init(struct http_head *, struct arena *);

/* A deep copy into another arena (an answer that outlives its exchange, a request that is kept for another try). */
void http_head_copy(struct http_head *to, struct arena *, const struct http_head *from);

/* ---- fields ---- */

/* The value of the first of that name; bytes NULL: absent. */
static inline struct http_text http_known(const struct http_head *head, enum http_name name)
{
	unsigned at = head->first[name];

	return at ? head->fields[at - 1].value : (struct http_text){0};
}

/* For http_known_next: behind `after`, which is not NULL. */
const struct http_field *http_known_behind(const struct http_head *, enum http_name, const struct http_field *after);

/* The next field of that name behind `after` (NULL: the first); NULL when there is none. */
static inline const struct http_field *http_known_next(const struct http_head *head, enum http_name name, const struct http_field *after)
{
	unsigned at = head->first[name];

	if (after)
		return http_known_behind(head, name, after);
	return at ? &head->fields[at - 1] : NULL;
}

const struct http_field *http_find_next(const struct http_head *, const char *name, const struct http_field *after);

struct http_text http_find(const struct http_head *, const char *name); /* as http_known, for any name */

/* Is the token in the comma-separated lists of all fields of that name, whatever its letters' case? */
bool http_list_has(const struct http_head *, enum http_name, const char *token);

/* Adds behind the others. The texts are kept, not copied: static, or in the head's arena.
 * check: name is a token, value has no CR, LF or NUL: what we write must not be able to split a message. */
void http_add(struct http_head *, struct http_text name, struct http_text value);
void http_add_known(struct http_head *, enum http_name, struct http_text value);
void http_add_number(struct http_head *, enum http_name, uint64_t number);

/* For readers, which have checked the bytes and know how many fields come. */
void http_fields_reserve(struct http_head *, unsigned count);
void http_append(struct http_head *, struct http_text name, struct http_text value);

void http_remove(struct http_head *, enum http_name);           /* all of that name */
void http_remove_where(struct http_head *, bool (*goes)(const struct http_field *)); /* all that it says so of, in one pass */

/* Takes away what belongs to one connection only, and what Connection names (RFC 9110 §7.6.1). Host, Content-*, credentials,
 * and the fields of the forwarding chain stay, whatever Connection says. Call it before adding your own.
 * The wish to upgrade stays in `upgrade`: set it to {0} where it is not to be sent on. */
void http_remove_hop_by_hop(struct http_head *);

struct http_text http_name_text(enum http_name);

/* A writer makes this one from the struct, see above. */
static inline bool http_name_owned(enum http_name name)
{
	switch (name) {
	case HTTP_NAME_CONNECTION:
	case HTTP_NAME_CONTENT_LENGTH:
	case HTTP_NAME_HOST:
	case HTTP_NAME_HTTP2_SETTINGS:
	case HTTP_NAME_KEEP_ALIVE:
	case HTTP_NAME_PROXY_CONNECTION:
	case HTTP_NAME_TE:
	case HTTP_NAME_TRAILER:
	case HTTP_NAME_TRANSFER_ENCODING:
	case HTTP_NAME_UPGRADE:
		return true;
	default:
		return false;
	}
}

/* ---- answers ---- */

struct http_text http_phrase_of(unsigned status);   /* "Not Found"; empty for one we do not know */

static inline bool http_status_interim(unsigned status) /* another answer follows */
{
	return status >= 100 && status < 200 && status != 101;
}

/* 1xx, 204 and 304 never have a body, whatever their fields say (RFC 9112 §6.3). */
static inline bool http_status_bodyless(unsigned status)
{
	return status < 200 || status == 204 || status == 304;
}

#endif
