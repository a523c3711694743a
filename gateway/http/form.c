/* gateway/http/form.c — see form.h. */
#include "gateway/http/form.h"

#include "gateway/http/character.h"

/* The next decoded byte of a form's name or value; the escapes were checked. */
static char form_byte(struct http_text text, size_t *i)
{
	char c = text.bytes[(*i)++];

	if (c == '+')
		return ' ';
	if (c != '%')
		return c;
	c = (char)(http_hex_value(text.bytes[*i]) << 4 | http_hex_value(text.bytes[*i + 1]));
	*i += 2;
	return c;
}

static bool has(struct http_text text, char c)
{
	return text.size > 0 && memchr(text.bytes, c, text.size);
}

static const struct reason *form_check(struct http_text form)
{
	if (has(form, 0))
		return &HTTP_FORM_NUL;
	for (size_t i = 0; i < form.size; i += 3) {
		const char *escape = memchr(form.bytes + i, '%', form.size - i);

		if (!escape)
			break;
		i = (size_t)(escape - form.bytes);
		if (form.size - i < 3 || !http_is(escape[1], HTTP_IS_HEX) || !http_is(escape[2], HTTP_IS_HEX))
			return &HTTP_FORM_ESCAPE_BAD;
		if (escape[1] == '0' && escape[2] == '0')
			return &HTTP_FORM_NUL;
	}
	return NULL;
}

static bool form_is(struct http_text text, const char *name)
{
	size_t i = 0;

	while (i < text.size && *name)
		if (form_byte(text, &i) != *name++)
			return false;
	return i == text.size && !*name;
}

static struct http_text form_decode(struct arena *arena, struct http_text text)
{
	char *bytes = arena_take(arena, text.size + 1);
	size_t n = 0;

	for (size_t i = 0; i < text.size;)
		bytes[n++] = form_byte(text, &i);
	return (struct http_text){bytes, n};
}

const struct reason *http_form_find(struct arena *arena, struct http_text form, const char *name, struct http_text *value)
{
	const char *at = form.bytes;
	const char *end = form.size > 0 ? form.bytes + form.size : at;
	/* All at once: an escape that a "&" or "=" cuts is broken there as well. */
	const struct reason *reason = form_check(form);

	*value = (struct http_text){0};
	if (reason)
		return reason;
	while (at < end) {
		const char *amp = memchr(at, '&', (size_t)(end - at));
		const char *pair_end = amp ? amp : end;
		const char *equals = memchr(at, '=', (size_t)(pair_end - at));
		struct http_text key = {at, (size_t)((equals ? equals : pair_end) - at)};
		struct http_text data = {equals ? equals + 1 : pair_end, equals ? (size_t)(pair_end - equals - 1) : 0};

		at = amp ? amp + 1 : end;
		if (!form_is(key, name))
			continue;
		if (value->bytes)
			return &HTTP_FORM_NAME_SEVERAL;
		*value = has(data, '+') || has(data, '%') ? form_decode(arena, data) : data;
	}
	return NULL;
}
