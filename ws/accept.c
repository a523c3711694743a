/* ws/accept.c — the lists of RFC 9110 first, then the rules of RFC 6455 §4.2.1 in the order of its list. */
#include "ws/accept.h"

#include "ws/reason.h"

#include "mbedtls/base64.h"
#include "mbedtls/sha1.h"

#include <string.h>

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool text_same(struct ws_text text, const char *word)
{
	return text.size == strlen(word) && memcmp(text.at, word, text.size) == 0;
}

static bool text_same_any_case(struct ws_text text, struct ws_text word)
{
	if (text.size != word.size)
		return false;
	for (size_t i = 0; i < text.size; i++)
		if (ascii_lower(text.at[i]) != ascii_lower(word.at[i]))
			return false;
	return true;
}

static struct ws_text text_of(const char *word)
{
	return (struct ws_text){ word, strlen(word) };
}

/* RFC 9110 §5.6.3: OWS is spaces and tabs. */
static struct ws_text text_trim(struct ws_text text)
{
	while (text.size > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
		text.at++;
		text.size--;
	}
	while (text.size > 0 && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t'))
		text.size--;
	return text;
}

/* RFC 9110 §5.6.2. */
static bool text_token(struct ws_text text)
{
	for (size_t i = 0; i < text.size; i++) {
		char c = text.at[i];
		bool alnum = (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');

		if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return text.size > 0;
}

/* Where a walk over a list stands. The list may be spread over several field lines. */
struct list {
	const struct ws_request *request;
	const char *name;
	unsigned line;                   /* the next one to ask for */
	struct ws_text rest;             /* of the present one */
};

/* The next element without the space around it. RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number
 * of empty list elements". No element holds a quoted comma: of the lists read here, none has parameters. */
static bool list_next(struct list *list, struct ws_text *element)
{
	for (;;) {
		while (list->rest.size > 0) {
			const char *comma = memchr(list->rest.at, ',', list->rest.size);
			size_t size = comma ? (size_t)(comma - list->rest.at) : list->rest.size;
			size_t step = comma ? size + 1 : size;

			*element = text_trim((struct ws_text){ list->rest.at, size });
			list->rest.at += step;
			list->rest.size -= step;
			if (element->size > 0)
				return true;
		}
		if (!list->request->field(list->request->from, list->name, list->line, &list->rest))
			return false;
		list->line++;
	}
}

static bool list_has(const struct ws_request *request, const char *name, const char *word)
{
	struct list list = { .request = request, .name = name };
	struct ws_text element;

	while (list_next(&list, &element))
		if (text_same_any_case(element, text_of(word)))
			return true;
	return false;
}

/* The value of a field that must be there exactly once, and not be empty. */
static bool field_single(const struct ws_request *request, const char *name, struct ws_text *value)
{
	struct ws_text second;

	if (!request->field(request->from, name, 0, value) || request->field(request->from, name, 1, &second))
		return false;
	*value = text_trim(*value);
	return value->size > 0;
}

/* RFC 6455 §4.2.1: "a base64-encoded value that, when decoded, is 16 bytes in length". That is 22 letters and "==". The four
 * bits that the last letter has too many may be anything: the value is only ever hashed as it is written. */
static bool key_well_formed(struct ws_text key)
{
	if (key.size != 24 || key.at[22] != '=' || key.at[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++) {
		char c = key.at[i], lower = ascii_lower(c);

		if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '/')
			return false;
	}
	return true;
}

/* The scheme's usual port is the same as none: browsers leave it out, others may not. */
static struct ws_text port_usual_cut(struct ws_text host, bool secure)
{
	struct ws_text port = text_of(secure ? ":443" : ":80");

	if (host.size > port.size && memcmp(host.at + host.size - port.size, port.at, port.size) == 0)
		host.size -= port.size;
	return host;
}

/* RFC 6454 §4: an origin is scheme, host and port. A page that came without TLS was anybody's on its way, so it is no page of a
 * host that speaks TLS, whatever its name. */
static bool origin_same_host(struct ws_text origin, struct ws_text host, bool secure)
{
	struct ws_text scheme = text_of(secure ? "https://" : "http://");

	if (origin.size < scheme.size || !text_same_any_case((struct ws_text){ origin.at, scheme.size }, scheme))
		return false;
	origin.at += scheme.size;
	origin.size -= scheme.size;
	return text_same_any_case(port_usual_cut(origin, secure), port_usual_cut(host, secure));
}

/* Only browsers send Origin, and only a browser can be made to open a WebSocket with somebody else's cookies; so a request
 * without it is welcome, and RFC 6455 §4.2.2 answers an unwelcome one: "HTTP 403 Forbidden". */
static bool origin_welcome(const struct ws_request *request, const struct ws_terms *terms, struct ws_text host)
{
	struct ws_text origin, second;

	if (terms->origins == WS_ORIGINS_ANY || !request->field(request->from, "origin", 0, &origin))
		return true;
	if (request->field(request->from, "origin", 1, &second))
		return false;
	origin = text_trim(origin);
	for (size_t i = 0; i < terms->origin_count; i++)
		if (text_same_any_case(origin, text_of(terms->origin_list[i])))
			return true;
	return terms->origins == WS_ORIGINS_SAME_HOST && host.size > 0 && origin_same_host(origin, host, request->secure);
}

bool ws_origin_welcome(const struct ws_request *request, const struct ws_terms *terms)
{
	struct ws_text host;

	if (!field_single(request, "host", &host))
		host = (struct ws_text){ "", 0 };  /* nobody's page is of no host */
	return origin_welcome(request, terms, host);
}

/* The first of the client's, which are "ordered by preference" (§4.1), that is spoken here. A subprotocol's name is compared
 * as it is written: a client that finds another spelling in the answer must fail the connection. */
static const struct reason *protocol_choose(const char **chosen, const struct ws_request *request,
	const struct ws_terms *terms)
{
	struct list list = { .request = request, .name = "sec-websocket-protocol" };
	struct ws_text offered;

	*chosen = NULL;
	while (list_next(&list, &offered)) {
		if (!text_token(offered))
			return &WS_ACCEPT_PROTOCOL_MALFORMED;
		for (size_t i = 0; i < terms->protocol_count && !*chosen; i++)
			if (text_same(offered, terms->protocols[i]))
				*chosen = terms->protocols[i];
	}
	if (terms->protocol_required && !*chosen)
		return &WS_ACCEPT_PROTOCOL_NONE;
	return NULL;
}

static const struct reason *extensions_choose(struct ws_extensions *extensions, const struct ws_request *request,
	const struct ws_deflate_terms *terms)
{
	const struct reason *reason = NULL;
	struct ws_text line;

	*extensions = (struct ws_extensions){ 0 };
	for (unsigned i = 0; !reason && request->field(request->from, "sec-websocket-extensions", i, &line); i++)
		reason = ws_extensions_read(extensions, terms, line.at, line.size);
	return reason;
}

void ws_accept_key(char accept[static WS_ACCEPT_KEY_SIZE + 1], struct ws_text key)
{
	static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	mbedtls_sha1_context sha1;
	uint8_t digest[20];
	size_t n;

	/* SHA-1 protects nothing here, it shows that the answer was made for this request. */
	mbedtls_sha1_init(&sha1);
	check(mbedtls_sha1_starts(&sha1) == 0);
	check(mbedtls_sha1_update(&sha1, (const uint8_t *)key.at, key.size) == 0);
	check(mbedtls_sha1_update(&sha1, (const uint8_t *)GUID, sizeof(GUID) - 1) == 0);
	check(mbedtls_sha1_finish(&sha1, digest) == 0);
	mbedtls_sha1_free(&sha1);
	check(mbedtls_base64_encode((uint8_t *)accept, WS_ACCEPT_KEY_SIZE + 1, &n, digest, sizeof digest) == 0);
	check(n == WS_ACCEPT_KEY_SIZE);
}

const struct reason *ws_accept(struct ws_acceptance *acceptance, const struct ws_request *request,
	const struct ws_terms *terms)
{
	struct ws_text host, key, version;

	if (!text_same(request->method, "GET"))
		return &WS_ACCEPT_METHOD;
	if (request->http_major < 1 || (request->http_major == 1 && request->http_minor < 1))
		return &WS_ACCEPT_HTTP_TOO_OLD;
	if (!field_single(request, "host", &host))
		return &WS_ACCEPT_HOST;
	if (!list_has(request, "upgrade", "websocket"))
		return &WS_ACCEPT_UPGRADE;
	if (!list_has(request, "connection", "upgrade"))
		return &WS_ACCEPT_CONNECTION;
	/* Before the key: §4.4 has a client of another version answered with the one we speak, whatever its other fields. */
	if (!field_single(request, "sec-websocket-version", &version) || !text_same(version, "13"))
		return &WS_ACCEPT_VERSION;
	if (!field_single(request, "sec-websocket-key", &key) || !key_well_formed(key))
		return &WS_ACCEPT_KEY;
	if (!origin_welcome(request, terms, host))
		return &WS_ACCEPT_ORIGIN;

	const struct reason *refused = protocol_choose(&acceptance->protocol, request, terms);

	if (!refused)
		refused = extensions_choose(&acceptance->extensions, request, terms->deflate);
	if (refused)
		return refused;
	ws_accept_key(acceptance->key, key);
	return NULL;
}
