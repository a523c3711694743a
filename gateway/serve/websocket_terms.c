/* See gateway/serve/websocket_terms.h. */
#include "gateway/serve/websocket_terms.h"

#include "gateway/gateway.h"

#include <string.h>

void websocket_terms_read(struct websocket_terms *terms, const struct config_route *route, enum ws_origins otherwise)
{
	const struct config_websocket *websocket = &route->websocket;

	*terms = (struct websocket_terms){
		.terms = {
			.protocols = websocket->protocols,
			.protocol_count = websocket->protocol_count,
			.origin_list = websocket->origin_list,
			.origin_count = websocket->origin_count,
			.origins = otherwise,
		},
		.deflate = {
			.takeover = websocket->deflate_takeover,
			.window_bits = (uint8_t)websocket->deflate_window_bits,
		},
	};
	if (websocket->origins == CONFIG_ORIGINS_ANY)
		terms->terms.origins = WS_ORIGINS_ANY;
	else if (websocket->origins == CONFIG_ORIGINS_LISTED)
		terms->terms.origins = websocket->origin_same ? WS_ORIGINS_SAME_HOST : WS_ORIGINS_LISTED;
	if (websocket->deflate)
		terms->terms.deflate = &terms->deflate;
}

static struct http_text text_keep(struct exchange *x, const char *word)
{
	size_t size = strlen(word);

	return (struct http_text){ arena_copy(&x->arena, word, size), size };
}

void websocket_terms_answer(struct exchange *x, const struct ws_acceptance *acceptance)
{
	http_add_known(&x->answer, HTTP_NAME_SEC_WEBSOCKET_ACCEPT, text_keep(x, acceptance->key));
	if (acceptance->protocol)
		http_add_known(&x->answer, HTTP_NAME_SEC_WEBSOCKET_PROTOCOL, http_text_of(acceptance->protocol));
	if (acceptance->extensions.deflate)
		http_add_known(&x->answer, HTTP_NAME_SEC_WEBSOCKET_EXTENSIONS, text_keep(x, acceptance->extensions.answer));
}

bool websocket_terms_deflate(struct ws_deflate *deflate, const struct exchange *x, const struct ws_acceptance *acceptance)
{
	if (!acceptance->extensions.deflate)
		return false;
	ws_deflate_init(deflate, &acceptance->extensions.agreed, &x->worker->core.pool, x->route->websocket.deflate_bytes_min);
	return true;
}
