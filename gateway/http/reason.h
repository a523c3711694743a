/* gateway/http/reason.h — why a message was not taken, or was not whole.
 *
 * One reason for each rule, so that a log line names the rule. gateway/verdict.c gives them their status: the same reason
 * is 400 (or 413, 414, 417, 431, 501, 505, as its group says) when a client sent the message, and 502 when an upstream did.
 *
 * Owner: static storage, const.   Thread: any.   Units: none.   Errors: none.   Limits: none. */
#ifndef GATEWAY_HTTP_REASON_H
#define GATEWAY_HTTP_REASON_H

#include "ring/reason.h"

/* ---- the lines of a head: 400 ---- */
extern const struct reason HTTP_BARE_LF;
extern const struct reason HTTP_BARE_CR;
extern const struct reason HTTP_BLANK_LINES;
extern const struct reason HTTP_START_LINE_BAD;
extern const struct reason HTTP_METHOD_BAD;
extern const struct reason HTTP_VERSION_BAD;
extern const struct reason HTTP_STATUS_BAD;
extern const struct reason HTTP_FIELD_FOLDED;
extern const struct reason HTTP_FIELD_INDENTED;
extern const struct reason HTTP_FIELD_NAME_EMPTY;
extern const struct reason HTTP_FIELD_NAME_BAD;
extern const struct reason HTTP_FIELD_NAME_SPACE;
extern const struct reason HTTP_FIELD_COLON_MISSING;
extern const struct reason HTTP_FIELD_VALUE_BAD;
extern const struct reason HTTP_HEAD_CUT;              /* the connection ended within a head */
extern const struct reason HTTP_HEAD_REFUSED;          /* llhttp refuses what our own layer let pass */

/* ---- what a head says about its target: 400 ---- */
extern const struct reason HTTP_TARGET_BAD;
extern const struct reason HTTP_TARGET_FRAGMENT;
extern const struct reason HTTP_TARGET_SCHEME;
extern const struct reason HTTP_TARGET_ASTERISK;
extern const struct reason HTTP_PATH_ESCAPE_BAD;
extern const struct reason HTTP_PATH_CONTROL;
extern const struct reason HTTP_PATH_SLASH_ENCODED;
extern const struct reason HTTP_PATH_BACKSLASH;
extern const struct reason HTTP_PATH_ABOVE_ROOT;
extern const struct reason HTTP_PATH_DOT_PARAMETER;
extern const struct reason HTTP_HOST_MISSING;
extern const struct reason HTTP_HOST_SEVERAL;
extern const struct reason HTTP_HOST_BAD;

/* ---- what a head says about its body: 400 ---- */
extern const struct reason HTTP_FRAMING_AMBIGUOUS;
extern const struct reason HTTP_LENGTH_SEVERAL;
extern const struct reason HTTP_LENGTH_BAD;
extern const struct reason HTTP_LENGTH_MISPLACED;
extern const struct reason HTTP_TRANSFER_SEVERAL;
extern const struct reason HTTP_TRANSFER_BAD;
extern const struct reason HTTP_TRANSFER_IN_1_0;
extern const struct reason HTTP_TRANSFER_MISPLACED;
extern const struct reason HTTP_CONNECTION_LONG;
extern const struct reason HTTP_UPGRADE_UNASKED;       /* 101 to a request that asked for no upgrade */

/* ---- bodies: 400 ---- */
extern const struct reason HTTP_CHUNK_SIZE_BAD;
extern const struct reason HTTP_CHUNK_SIZE_OVERFLOW;
extern const struct reason HTTP_CHUNK_EXTENSION_BAD;
extern const struct reason HTTP_CHUNK_EXTENSION_LONG;
extern const struct reason HTTP_CHUNK_WASTEFUL;
extern const struct reason HTTP_CHUNK_END_MISSING;
extern const struct reason HTTP_TRAILER_LARGE;
extern const struct reason HTTP_BODY_CUT;              /* the connection ended within a body */
extern const struct reason HTTP_BODY_SHORT;            /* writing: less than the head promised */
extern const struct reason HTTP_BODY_LONG;             /* writing: more than the head promised */

/* ---- limits and what is not served, with the status that is their own ---- */
extern const struct reason HTTP_HEAD_TOO_LARGE;        /* 431 */
extern const struct reason HTTP_FIELDS_TOO_MANY;       /* 431 */
extern const struct reason HTTP_TARGET_TOO_LONG;       /* 414 */
extern const struct reason HTTP_BODY_TOO_LARGE;        /* 413 */
extern const struct reason HTTP_EXPECT_UNKNOWN;        /* 417 */
extern const struct reason HTTP_METHOD_UNKNOWN;        /* 501 */
extern const struct reason HTTP_CONNECT_UNSERVED;      /* 501 */
extern const struct reason HTTP_VERSION_UNSERVED;      /* 505 */

/* ---- forms and query strings: 400 ---- */
extern const struct reason HTTP_FORM_ESCAPE_BAD;
extern const struct reason HTTP_FORM_NUL;
extern const struct reason HTTP_FORM_NAME_SEVERAL;

#endif
