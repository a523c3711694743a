/* gateway/http/text.c — bytes and their count; see text.h. */
#include "gateway/http/text.h"

#include "gateway/http/character.h"

/* Eight bytes that are alike but for the bit that tells small letters from capitals; the others may still be no letters. */
static bool eight_alike(const char *a, const char *b, bool *same)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	*same &= x == y;
	return ((x ^ y) & ~(uint64_t)0x2020202020202020u) == 0;
}

/* Most texts differ in their first bytes, or are the same to the letter: both are seen eight bytes at a time. */
bool http_text_same_nocase(struct http_text a, struct http_text b)
{
	bool same = true;

	if (!a.bytes || !b.bytes || a.size != b.size)
		return false;
	if (a.size >= 8) {
		for (size_t i = 0; i + 8 < a.size; i += 8)
			if (!eight_alike(a.bytes + i, b.bytes + i, &same))
				return false;
		if (!eight_alike(a.bytes + a.size - 8, b.bytes + a.size - 8, &same))
			return false;
		if (same)
			return true;
	}
	for (size_t i = 0; i < a.size; i++)
		if (a.bytes[i] != b.bytes[i] && http_lower(a.bytes[i]) != http_lower(b.bytes[i]))
			return false;
	return true;
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

size_t http_hex_write(char *to, uint64_t number, unsigned least)
{
	static const char digits[] = "0123456789abcdef";
	unsigned n = 1;

	check(least <= 16);
	while (n < 16 && number >> (4 * n) != 0)
		n++;
	if (n < least)
		n = least;
	for (unsigned i = 0; i < n; i++)
		to[i] = digits[number >> (4 * (n - 1 - i)) & 15];
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
