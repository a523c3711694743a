/* gateway/config_parse_websocket.c — of a route: what a WebSocket that ends here is offered, and to whose pages. */
#include "gateway/config_parse_word.h"
#include "ring/base.h"
#include "ws/extension.h"

#include <stdlib.h>
#include <string.h>

#define DEFLATE_WINDOW_BITS 12u /* 4 KiB: pays for JSON of some hundred bytes, at a sixth of what 15 would hold */
#define DEFLATE_BYTES_MIN   96u /* below, what is saved is less than the frame and record around it */

static bool token(const char *word)
{
	static const char chars[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return word[0] && word[strspn(word, chars)] == '\0';
}

/* What keeps a word from being an origin as browsers write it (RFC 6454 §6.2); NULL: nothing. One that no browser writes
 * would never match, and nobody would know why. */
static const char *origin_wrong(const char *origin)
{
	static const char scheme_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789+-.", letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const size_t scheme = strspn(origin, scheme_chars);
	const char *host = origin + scheme + 3, *port;
	size_t size;

	/* Pages of a browser have http or https; an app that wraps pages has a scheme of its own, such as capacitor://localhost. */
	if (scheme == 0 || strncmp(origin + scheme, "://", 3) != 0)
		return "is no origin; write one such as https://edc.example.org, or same";
	if (strchr(host, '*'))
		return "has a *, which stands alone for every origin; name each host";
	size = host[0] == '[' ? strspn(host + 1, "0123456789abcdef:.") + 2 : strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_");
	port = host + size;
	if (size == 0 || (host[0] == '[' ? size < 4 || port[-1] != ']' : strpbrk(host, letters) == NULL) || (*port != '\0' && *port != ':'))
		return "has more, or less, than scheme, host and port; write it such as https://edc.example.org:8443";
	if (*port == '\0')
		return NULL;
	size = strspn(port + 1, "0123456789");
	if (size == 0 || size > 5 || port[1 + size] != '\0' || port[1] == '0' || atoi(port + 1) > 65535)
		return "has no port behind its colon; write 1 to 65535, or remove the colon";
	if ((scheme == 5 && strncmp(origin, "https", 5) == 0 && strcmp(port, ":443") == 0) ||
	    (scheme == 4 && strncmp(origin, "http", 4) == 0 && strcmp(port, ":80") == 0))
		return "names its scheme's usual port, which browsers leave out; remove it";
	return NULL;
}

static void listed_twice(struct parse *parse, unsigned place, const char *const *list, unsigned i, const char *what)
{
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(list[j], list[i]) != 0)
			continue;
		value_error(parse, place, &CONFIG_DUPLICATE, "the %s %s is listed twice; remove one", what, quote(list[i]));
		return;
	}
}

static void protocols_read(struct parse *parse, const struct written_route *written, unsigned mapping, struct config_websocket *websocket)
{
	unsigned list = config_place_key(&parse->places, mapping, "protocols");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	if (list && written->protocols_count == 0)
		key_error(parse, list, &CONFIG_VALUE_BAD, "protocols is empty; name those that are spoken here, or remove it");
	websocket->protocols = parse_piece(parse, written->protocols_count, sizeof *websocket->protocols);
	websocket->protocol_count = written->protocols_count;
	for (unsigned i = 0; i < written->protocols_count; i++, entry = parse_next(parse, entry)) {
		websocket->protocols[i] = parse_word(parse, written->protocols[i]);
		if (!token(written->protocols[i]))
			value_error(parse, entry, &CONFIG_VALUE_BAD, "%s is no subprotocol; write a word without blanks such as diary.v1",
				quote(written->protocols[i]));
		listed_twice(parse, entry, websocket->protocols, i, "subprotocol");
	}
}

static void origins_read(struct parse *parse, const struct written_route *written, unsigned mapping, enum config_target target,
	struct config_websocket *websocket)
{
	unsigned list = config_place_key(&parse->places, mapping, "origins");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	if (!list) {
		/* An echo tells nobody anything; a page of another origin has no business with a patient. Said, so that it is seen. */
		const bool any = target == CONFIG_ECHO;

		websocket->origins = any ? CONFIG_ORIGINS_ANY : CONFIG_ORIGINS_LISTED;
		websocket->origin_same = !any;
		websocket->origin_list = parse_piece(parse, 1, sizeof *websocket->origin_list);
		websocket->origin_list[0] = any ? "*" : "same";
		websocket->origin_count = 1;
		return;
	}
	/* Read as "not said" it might open to all what was meant for nobody. */
	if (written->origins_count == 0)
		key_error(parse, list, &CONFIG_VALUE_BAD, "origins is empty; name those whose pages may connect, or remove it");
	websocket->origins = CONFIG_ORIGINS_LISTED;
	websocket->origin_list = parse_piece(parse, written->origins_count, sizeof *websocket->origin_list);
	websocket->origin_count = written->origins_count;
	for (unsigned i = 0; i < written->origins_count; i++, entry = parse_next(parse, entry)) {
		const char *origin = parse_word_lower(parse, written->origins[i]);
		const char *wrong = NULL;

		websocket->origin_list[i] = origin;
		if (strcmp(origin, "*") == 0)
			websocket->origins = CONFIG_ORIGINS_ANY;
		else if (strcmp(origin, "same") == 0)
			websocket->origin_same = true;
		else
			wrong = origin_wrong(origin);
		if (wrong)
			value_error(parse, entry, &CONFIG_VALUE_BAD, "the origin %s %s", quote(written->origins[i]), wrong);
		else
			listed_twice(parse, entry, websocket->origin_list, i, "origin");
	}
	if (websocket->origins == CONFIG_ORIGINS_ANY && written->origins_count > 1)
		key_error(parse, list, &CONFIG_KEY_CONFLICT, "origins lists \"*\", which is every origin, and others; keep what is meant");
}

void config_parse_websocket(struct parse *parse, unsigned i, unsigned mapping)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];
	struct config_websocket *websocket = &route->websocket;
	const struct { const char *key; bool written; } keys[] = {
		{ "protocols", config_place_key(&parse->places, mapping, "protocols") != 0 },
		{ "origins", config_place_key(&parse->places, mapping, "origins") != 0 },
		{ "deflate", written->deflate },
		{ "deflate_takeover", written->deflate_takeover },
		{ "deflate_window_bits", written->deflate_window_bits },
		{ "deflate_bytes_min", written->deflate_bytes_min },
	};

	/* Not where the word of `serve` was wrong: it may have been meant as one of these. */
	if (route->target != CONFIG_ECHO && route->target != CONFIG_LIVE && route->target != CONFIG_COUNT) {
		for (unsigned k = 0; k < array_count(keys); k++)
			if (keys[k].written && (written->proxy || route->target != CONFIG_PROXY))
				key_error(parse, parse_key(parse, mapping, keys[k].key), &CONFIG_KEY_CONFLICT,
					"route %u has \"%s\", which belongs to \"serve: echo\", \"serve: live\" and \"serve: count\"; remove it", i + 1, keys[k].key);
		return;
	}
	websocket->deflate_window_bits = DEFLATE_WINDOW_BITS;
	websocket->deflate_bytes_min = DEFLATE_BYTES_MIN;
	protocols_read(parse, written, mapping, websocket);
	origins_read(parse, written, mapping, route->target, websocket);
	parse_bool(parse, mapping, "deflate", written->deflate, &websocket->deflate);
	parse_bool(parse, mapping, "deflate_takeover", written->deflate_takeover, &websocket->deflate_takeover);
	parse_number(parse, mapping, "deflate_window_bits", written->deflate_window_bits, KIND_COUNT, WS_WINDOW_BITS_MIN,
		WS_WINDOW_BITS_MAX, &websocket->deflate_window_bits);
	parse_number(parse, mapping, "deflate_bytes_min", written->deflate_bytes_min, KIND_SIZE, 0, CONFIG_SIZE_BYTES_MAX,
		&websocket->deflate_bytes_min);
	for (unsigned k = 3; !written->deflate && k < array_count(keys); k++)
		if (keys[k].written)
			key_error(parse, parse_key(parse, mapping, keys[k].key), &CONFIG_KEY_CONFLICT,
				"route %u has \"%s\" without \"deflate: true\", so it does nothing; give that too or remove it", i + 1,
				keys[k].key);
}

size_t config_websocket_size(const struct written_route *written)
{
	size_t size = parse_piece_size(written->protocols_count * sizeof(const char *)) +
		parse_piece_size((written->origins_count + 1) * sizeof(const char *));

	for (unsigned i = 0; i < written->protocols_count; i++)
		size += parse_word_size(written->protocols[i]);
	for (unsigned i = 0; i < written->origins_count; i++)
		size += parse_word_size(written->origins[i]);
	return size;
}
