/* gateway/http/character.c — see character.h. Ranges of designators are no C11, but gcc and clang both take them, and the
 * table stays short enough to be read. */
#include "gateway/http/character.h"

#include <endian.h>
#include <string.h>

#define TOKEN HTTP_IS_TOKEN
#define TARGET HTTP_IS_TARGET
#define VALUE HTTP_IS_VALUE
#define HEX HTTP_IS_HEX
#define QUOTED HTTP_IS_QUOTED
#define UNRESERVED HTTP_IS_UNRESERVED

/* Letters, digits, "-", "." and "_" may stand nearly everywhere. */
#define WORD (TOKEN | TARGET | VALUE | QUOTED | UNRESERVED | HTTP_IS_HOST)

const uint8_t http_classes[256] = {
	['\t'] = VALUE | QUOTED,
	[' '] = VALUE | QUOTED,
	['!'] = TOKEN | TARGET | VALUE | QUOTED,
	['"'] = TARGET | VALUE,
	['#'] = TOKEN | VALUE | QUOTED,
	['$' ... '\''] = TOKEN | TARGET | VALUE | QUOTED,
	['(' ... ')'] = TARGET | VALUE | QUOTED,
	['*' ... '+'] = TOKEN | TARGET | VALUE | QUOTED,
	[','] = TARGET | VALUE | QUOTED,
	['-' ... '.'] = WORD,
	['/'] = TARGET | VALUE | QUOTED,
	['0' ... '9'] = WORD | HEX,
	[':' ... '@'] = TARGET | VALUE | QUOTED,
	['A' ... 'F'] = WORD | HEX,
	['G' ... 'Z'] = WORD,
	['['] = TARGET | VALUE | QUOTED,
	['\\'] = TARGET | VALUE,
	[']'] = TARGET | VALUE | QUOTED,
	['^'] = TOKEN | TARGET | VALUE | QUOTED,
	['_'] = WORD,
	['`'] = TOKEN | TARGET | VALUE | QUOTED,
	['a' ... 'f'] = WORD | HEX,
	['g' ... 'z'] = WORD,
	['{'] = TARGET | VALUE | QUOTED,
	['|'] = TOKEN | TARGET | VALUE | QUOTED,
	['}'] = TARGET | VALUE | QUOTED,
	['~'] = TOKEN | TARGET | VALUE | QUOTED | UNRESERVED,
	[0x80 ... 0xff] = VALUE,
};

/* Eight bytes at a time: values are most of a head. The tests are the classic ones for "a byte less than 0x20" and "a byte equal to
 * 0x7f". What they borrow they take from bytes further on, so the first one found is right; a TAB or a high byte is found too, and
 * then the table decides. */
size_t http_value_run(const char *bytes, size_t n)
{
	const uint64_t ones = 0x0101010101010101u;
	const uint64_t highs = 0x8080808080808080u;
	size_t i = 0;

	while (n - i >= 8) {
		uint64_t word, found;

		memcpy(&word, bytes + i, 8);
		word = le64toh(word);
		found = ((word - ones * 0x20) | ((word ^ ones * 0x7f) - ones) | word) & highs;
		if (found == 0) {
			i += 8;
			continue;
		}
		i += (size_t)__builtin_ctzll(found) / 8;
		if (!http_is(bytes[i], HTTP_IS_VALUE))
			return i;
		i++;
	}
	while (i < n && http_is(bytes[i], HTTP_IS_VALUE))
		i++;
	return i;
}
