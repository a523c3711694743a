/* See gateway/counting/actor.h. */
#include "gateway/counting/actor.h"

#include "cache/record.h"
#include "tls/identity.h"

#include <string.h>

size_t actor_shorten(char *to, const char *bytes, size_t size, size_t most)
{
	static const char dots[] = "\xe2\x80\xa6";
	size_t n = size;

	check(most >= sizeof dots - 1);
	if (size > most) {
		n = most - (sizeof dots - 1);
		/* RFC 3629 §3: 10xxxxxx is never the first byte of a character. */
		while (n > 0 && ((unsigned char)bytes[n] & 0xc0) == 0x80)
			n--;
		memcpy(to + n, dots, sizeof dots - 1);
	}
	memcpy(to, bytes, n);
	return size > most ? n + sizeof dots - 1 : n;
}

const char *actor_constant(const struct exchange *x)
{
	if (x->client_identity && x->client_identity->subject)
		return x->client_identity->subject;
	return x->administrator ? "administrator" : "anonymous";
}

struct http_text actor_recorded(struct exchange *x)
{
	const bool is_client = x->client_identity && x->client_identity->subject;
	const char *actor = !is_client && x->administrator ? x->administrator : actor_constant(x);
	const size_t size = strlen(actor);
	char *shortened;

	if (size <= RECORD_TEXT_BYTES_MAX)
		return (struct http_text){ actor, size };
	shortened = arena_take(&x->arena, RECORD_TEXT_BYTES_MAX);
	return (struct http_text){ shortened, actor_shorten(shortened, actor, size, RECORD_TEXT_BYTES_MAX) };
}
