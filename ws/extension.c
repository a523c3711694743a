/* ws/extension.c — the grammar of RFC 6455 §9.1, then the rules of RFC 7692 §7.1 for each parameter. */
#include "ws/extension.h"

#include "ws/reason.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES_MAX 64u              /* a longer one is none that we know */

struct reader {
	const char *at, *end;
};

/* One offer of permessage-deflate, as it was written. */
struct offer {
	bool wanted;                     /* of permessage-deflate, and without a fault so far */
	bool server_no_takeover, client_no_takeover;
	bool client_window;              /* the parameter is there; with or without a value */
	uint8_t server_window_bits, client_window_bits; /* 0: no value */
};

/* ---- grammar ---- */

static void blanks_skip(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
}

static bool sign_take(struct reader *r, char sign)
{
	blanks_skip(r);
	if (r->at == r->end || *r->at != sign)
		return false;
	r->at++;
	blanks_skip(r);
	return true;
}

/* RFC 9110 §5.6.2. */
static bool token_char(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* False when there is none. A token too long for `token` is shortened to one that nobody knows. */
static bool token_take(struct reader *r, char token[static TOKEN_BYTES_MAX + 1])
{
	size_t n = 0;

	for (; r->at < r->end && token_char(*r->at); r->at++)
		if (n < TOKEN_BYTES_MAX)
			token[n++] = *r->at;
	token[n] = '\0';
	return n > 0;
}

/* RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the
 * 'token' ABNF." */
static bool quoted_take(struct reader *r, char token[static TOKEN_BYTES_MAX + 1])
{
	size_t n = 0;

	for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
		if (*r->at == '\\' && ++r->at == r->end)
			return false;
		if (!token_char(*r->at))
			return false;
		if (n < TOKEN_BYTES_MAX)
			token[n++] = *r->at;
	}
	token[n] = '\0';
	return n > 0 && r->at < r->end && *r->at++ == '"';
}

/* ---- parameters ---- */

/* Names are compared as they are written: a client that finds another spelling in the answer must fail the connection. */
static bool same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* RFC 7692 §7.1.2: "a decimal integer value without leading zeroes between 8 to 15, inclusive". 0: it is none. */
static uint8_t window_of(const char *value)
{
	if (value[0] && !value[1] && value[0] >= '8' && value[0] <= '9')
		return (uint8_t)(value[0] - '0');
	if (value[0] == '1' && value[1] >= '0' && value[1] <= '5' && !value[2])
		return (uint8_t)(10 + value[1] - '0');
	return 0;
}

/* False when the offer must be declined. §7.1: "The negotiation offer contains an extension parameter not defined for use in
 * an offer", "… with an invalid value", "… multiple extension parameters with the same name". `value` NULL: none was given. */
static bool parameter_keep(struct offer *offer, const char *name, const char *value)
{
	if (same(name, "server_no_context_takeover") || same(name, "client_no_context_takeover")) {
		bool *flag = same(name, "server_no_context_takeover") ? &offer->server_no_takeover : &offer->client_no_takeover;

		if (*flag || value)
			return false;
		return *flag = true;
	}
	if (same(name, "server_max_window_bits")) {
		if (offer->server_window_bits || !value)
			return false;
		offer->server_window_bits = window_of(value);
		return offer->server_window_bits != 0;
	}
	if (same(name, "client_max_window_bits")) {
		if (offer->client_window)
			return false;
		offer->client_window = true;
		offer->client_window_bits = value ? window_of(value) : 0;
		return !value || offer->client_window_bits != 0;
	}
	return false;
}

static uint8_t lesser(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

static void offer_accept(struct ws_extensions *extensions, const struct offer *offer, const struct ws_deflate_terms *terms)
{
	struct ws_deflate_agreed *agreed = &extensions->agreed;
	char *at = extensions->answer;
	size_t room = sizeof(extensions->answer);
	size_t n;

	extensions->deflate = true;
	*agreed = (struct ws_deflate_agreed){
		.server_takeover = terms->takeover && !offer->server_no_takeover,
		/* §7.1.1.2: the client's own is a hint that it will not take over; said back, both may let the memory go. */
		.client_takeover = terms->takeover && !offer->client_no_takeover,
		.server_window_bits = lesser(terms->window_bits, offer->server_window_bits ? offer->server_window_bits : WS_WINDOW_BITS_MAX),
		/* §7.1.2.2: a client that does not offer this parameter may not be asked to keep a smaller window. */
		.client_window_bits = WS_WINDOW_BITS_MAX,
	};
	if (offer->client_window)
		agreed->client_window_bits = lesser(terms->window_bits, offer->client_window_bits ? offer->client_window_bits : WS_WINDOW_BITS_MAX);

	n = (size_t)snprintf(at, room, "permessage-deflate%s%s",
		agreed->server_takeover ? "" : "; server_no_context_takeover",
		agreed->client_takeover ? "" : "; client_no_context_takeover");
	/* Where it was not asked for we keep a small window without a word: that needs nobody's consent. */
	if (offer->server_window_bits)
		n += (size_t)snprintf(at + n, room - n, "; server_max_window_bits=%u", agreed->server_window_bits);
	if (offer->client_window)
		n += (size_t)snprintf(at + n, room - n, "; client_max_window_bits=%u", agreed->client_window_bits);
	check(n < room);
}

/* False when it is no extension. */
static bool offer_read(struct reader *r, struct offer *offer)
{
	char name[TOKEN_BYTES_MAX + 1], value[TOKEN_BYTES_MAX + 1];

	*offer = (struct offer){ 0 };
	if (!token_take(r, name))
		return false;
	offer->wanted = same(name, "permessage-deflate");
	while (sign_take(r, ';')) {
		bool has_value;

		if (!token_take(r, name))
			return false;
		has_value = sign_take(r, '=');
		if (has_value && !(r->at < r->end && *r->at == '"' ? quoted_take(r, value) : token_take(r, value)))
			return false;
		if (offer->wanted)
			offer->wanted = parameter_keep(offer, name, has_value ? value : NULL);
	}
	return true;
}

const struct reason *ws_extensions_read(struct ws_extensions *extensions, const struct ws_deflate_terms *terms, const char *line,
	size_t n)
{
	struct reader r = { line, line + n };
	struct offer offer;

	check(!terms || (terms->window_bits >= WS_WINDOW_BITS_MIN && terms->window_bits <= WS_WINDOW_BITS_MAX));
	for (;;) {
		/* RFC 9110 §5.6.1.2: empty elements of a list are passed over. */
		while (sign_take(&r, ','))
			;
		if (r.at == r.end)
			return NULL;
		if (!offer_read(&r, &offer))
			return &WS_ACCEPT_EXTENSIONS;
		blanks_skip(&r);
		if (r.at < r.end && *r.at != ',')
			return &WS_ACCEPT_EXTENSIONS;
		if (terms && offer.wanted && !extensions->deflate)
			offer_accept(extensions, &offer, terms);
	}
}
