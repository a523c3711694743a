/* gateway/http/media_type.c — see media_type.h. */
#include "gateway/http/media_type.h"

#include "gateway/http/character.h"

static struct http_text trim(struct http_text text)
{
	while (text.size > 0 && (*text.bytes == ' ' || *text.bytes == '\t')) {
		text.bytes++;
		text.size--;
	}
	while (text.size > 0 && (text.bytes[text.size - 1] == ' ' || text.bytes[text.size - 1] == '\t'))
		text.size--;
	return text;
}

/* Up to the next ";" that is not within quotes. */
static struct http_text part_next(struct http_text *rest)
{
	struct http_text part = { rest->bytes, 0 };
	bool quoted = false;

	while (part.size < rest->size) {
		const char c = rest->bytes[part.size];

		if (c == ';' && !quoted)
			break;
		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted && part.size + 1 < rest->size)
			part.size++;
		part.size++;
	}
	rest->bytes += part.size;
	rest->size -= part.size;
	if (rest->size > 0) {
		rest->bytes++;
		rest->size--;
	}
	return trim(part);
}

/* RFC 9110 §8.3.1: `charset="utf-8"` and `charset=utf-8` are the same. */
static bool charset_is_good(struct http_text charset)
{
	if (charset.size >= 2 && charset.bytes[0] == '"' && charset.bytes[charset.size - 1] == '"')
		charset = (struct http_text){ charset.bytes + 1, charset.size - 2 };
	return http_text_is_nocase(charset, "utf-8") || http_text_is_nocase(charset, "utf8") || http_text_is_nocase(charset, "us-ascii");
}

static bool parameter_is_good(struct http_text parameter)
{
	static const char charset[] = "charset=";
	const size_t size = sizeof charset - 1;

	if (parameter.size < size || !http_text_is_nocase((struct http_text){ parameter.bytes, size }, charset))
		return true;
	return charset_is_good((struct http_text){ parameter.bytes + size, parameter.size - size });
}

bool http_media_type_is(struct http_text value, const char *type)
{
	struct http_text rest = value;

	if (!value.bytes || !http_text_is_nocase(part_next(&rest), type))
		return false;
	while (rest.size > 0)
		if (!parameter_is_good(part_next(&rest)))
			return false;
	return true;
}
