/* ws/utf8.h — is this UTF-8? Asked of bytes as they arrive, answered at the earliest byte that decides.
 *
 *   fed:   "caf" C3 │ A9 " " ED │ A0 …          a character may be cut anywhere between two feeds
 *                                 ▲
 *                                 refused here: ED A0 would be a surrogate, whatever follows
 *
 * The state between two bytes is how many bytes the present character still wants, and between which bounds its next
 * one lies. The narrowed bounds after E0, ED, F0 and F4 are what excludes overlong forms, surrogates and what lies above
 * U+10FFFF; so no code point is ever put together.
 *
 * Owner: the struct that embeds it.   Thread: any, pure functions.   Units: bytes.
 * Errors: none; a count that is short.   Limits: none.   Source: RFC 3629 §4, table 3-7 of the Unicode standard. */
#ifndef WS_UTF8_H
#define WS_UTF8_H

#include "ring/base.h"

struct ws_utf8 {
	uint8_t left;                    /* bytes the present character still wants; 0: between characters */
	uint8_t low, high;               /* bounds of the next one, when left > 0 */
};

static inline void ws_utf8_init(struct ws_utf8 *utf8)
{
	*utf8 = (struct ws_utf8){ 0 };
}

/* How many of the n bytes are good: n, or the index of the first byte that no UTF-8 text can have there. After a short
 * count the state is as it was before that byte. */
size_t ws_utf8_feed(struct ws_utf8 *, const uint8_t *bytes, size_t n);

/* The text may end here: no character is cut. */
static inline bool ws_utf8_whole(const struct ws_utf8 *utf8)
{
	return utf8->left == 0;
}

#endif
