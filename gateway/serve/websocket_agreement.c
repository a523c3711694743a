/* See gateway/serve/websocket_agreement.h. */
#include "gateway/serve/websocket_agreement.h"
#include "ws/accept.h"

/* The one field of this name; false when there is none, or several. */
static bool only_field(const struct http_head *head, enum http_name name, struct http_text *value)
{
	const struct http_field *field = http_known_next(head, name, NULL);

	if (!field || http_known_next(head, name, field))
		return false;
	*value = field->value;
	return true;
}

/* RFC 6455 §4.1: "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than
 * the base64-encoded SHA-1 of [the key] …, the client MUST _Fail the WebSocket Connection_." */
static bool key_is_answered(const struct http_head *asked, const struct http_head *answer)
{
	char accept[WS_ACCEPT_KEY_SIZE + 1];
	struct http_text key, said;

	if (!only_field(asked, HTTP_NAME_SEC_WEBSOCKET_KEY, &key) || !only_field(answer, HTTP_NAME_SEC_WEBSOCKET_ACCEPT, &said))
		return false;
	ws_accept_key(accept, (struct ws_text){ key.bytes, key.size });
	return http_text_is(said, accept);
}

/* An extension's name is what stands in front of its parameters. (No value in them has a comma: §9.1 wants tokens, quoted or not.) */
static bool extension_next(struct http_text *rest, struct http_text *name)
{
	const char *end;

	if (!http_list_next(rest, name))
		return false;
	end = memchr(name->bytes, ';', name->size);
	if (end)
		name->size = (size_t)(end - name->bytes);
	while (name->size > 0 && (name->bytes[name->size - 1] == ' ' || name->bytes[name->size - 1] == '\t'))
		name->size--;
	return true;
}

static bool extension_was_offered(const struct http_head *asked, struct http_text name)
{
	const struct http_field *field = NULL;
	struct http_text offer;

	while ((field = http_known_next(asked, HTTP_NAME_SEC_WEBSOCKET_EXTENSIONS, field)))
		for (struct http_text offers = field->value; extension_next(&offers, &offer);)
			if (http_text_same_nocase(offer, name))
				return true;
	return false;
}

/* "… indicates the use of an extension that was not present in the client's handshake … MUST _Fail_". */
static bool extensions_were_offered(const struct http_head *asked, const struct http_head *answer)
{
	const struct http_field *field = NULL;
	struct http_text name;

	while ((field = http_known_next(answer, HTTP_NAME_SEC_WEBSOCKET_EXTENSIONS, field)))
		for (struct http_text names = field->value; extension_next(&names, &name);)
			if (!extension_was_offered(asked, name))
				return false;
	return true;
}

/* "… indicates the use of a subprotocol that was not present in the client's handshake … MUST _Fail_". One is chosen (§11.3.4), and
 * its letters count. */
static bool protocol_was_offered(const struct http_head *asked, const struct http_head *answer)
{
	const struct http_field *field = NULL;
	struct http_text chosen, offer;

	if (!http_known_next(answer, HTTP_NAME_SEC_WEBSOCKET_PROTOCOL, NULL))
		return true;
	if (!only_field(answer, HTTP_NAME_SEC_WEBSOCKET_PROTOCOL, &chosen))
		return false;
	while ((field = http_known_next(asked, HTTP_NAME_SEC_WEBSOCKET_PROTOCOL, field)))
		for (struct http_text offers = field->value; http_list_next(&offers, &offer);)
			if (offer.size == chosen.size && memcmp(offer.bytes, chosen.bytes, offer.size) == 0)
				return true;
	return false;
}

bool websocket_agreed(const struct http_head *asked, const struct http_head *answer)
{
	return key_is_answered(asked, answer) && extensions_were_offered(asked, answer) && protocol_was_offered(asked, answer);
}
