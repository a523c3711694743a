/* gateway/http/text.c — bytes and their count; see text.h. */
#include "gateway/http/text.h"

#include "gateway/http/character.h"

bool http_text_is(struct http_text text, const char *string)
{
	size_t size = strlen(string);

	return text.bytes && text.size == size && memcmp(text.bytes, string, size) == 0;
}

bool http_text_same_nocase(struct http_text a, struct http_text b)
{
	if (!a.bytes || !b.bytes || a.size != b.size)
		return false;
	for (size_t i = 0; i < a.size; i++)
		if (http_lower(a.bytes[i]) != http_lower(b.bytes[i]))
			return false;
	return true;
}

bool http_text_is_nocase(struct http_text text, const char *string)
{
	return http_text_same_nocase(text, http_text_of(string));
}

bool http_text_is_token(struct http_text text)
{
	for (size_t i = 0; i < text.size; i++)
		if (!http_is(text.bytes[i], HTTP_IS_TOKEN))
			return false;
	return text.size > 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool http_number_parse(struct http_text text, uint64_t *number)
{
	uint64_t value = 0;

	if (text.size < 1 || text.size > 19)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		if (text.bytes[i] < '0' || text.bytes[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.bytes[i] - '0');
	}
	*number = value;
	return true;
}

size_t http_number_write(char *to, uint64_t number)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	return n;
}

bool http_list_next(struct http_text *rest, struct http_text *element)
{
	while (rest->size > 0) {
		const char *begin = rest->bytes;
		const char *comma = memchr(begin, ',', rest->size);
		const char *end = comma ? comma : begin + rest->size;

		rest->size -= (size_t)(end - begin) + (comma ? 1 : 0);
		rest->bytes = end + (comma ? 1 : 0);
		while (begin < end && is_blank(*begin))
			begin++;
		while (end > begin && is_blank(end[-1]))
			end--;
		if (end > begin) {
			*element = (struct http_text){begin, (size_t)(end - begin)};
			return true;
		}
	}
	return false;
}
