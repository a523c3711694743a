/* gateway/http/character.c — see character.h. Ranges of designators are no C11, but gcc and clang both take them, and the
 * table stays short enough to be read. */
#include "gateway/http/character.h"

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
