/* gateway/serve/sites_json.h — the JSON of the site counts, read strictly and written by hand.
 *
 * Bodies are small objects. What is not known is refused by its name, because a misspelt "cap" that is passed over would be a cap
 * that does not hold. An empty body is {}.
 *
 * Owner: what was read holds its texts until sites_body_fini.   Thread: any, pure functions.   Units: patients, ms, bytes.
 * Errors: false, with a fault that says what is wrong in a sentence for the client; JSON_BAD is its reason.
 * Limits: SITES_BODY_BYTES_MAX (the caller's to keep), RECORD_TEXT_BYTES_MAX of a reason; depth as jansson's. */
#ifndef GATEWAY_SERVE_SITES_JSON_H
#define GATEWAY_SERVE_SITES_JSON_H

#include "cache/decide.h"
#include "gateway/http/text.h"
#include "ring/reason.h"

#define SITES_BODY_BYTES_MAX 4096u
#define SITES_CAP_MAX INT64_C(1000000000000)

extern const struct reason JSON_BAD;             /* 400; the answer's message says what */
extern const struct reason JSON_EXPECTED;        /* 415 */
extern const struct reason JSON_TOO_LARGE;       /* 413: above SITES_BODY_BYTES_MAX */
extern const struct reason CHANGE_REASON_BAD;    /* 400: the reason in a form is too long, not UTF-8, or has a control character */

/* Which members a body may have. */
enum sites_members {
	SITES_MAY_BY = 1,
	SITES_MAY_STATUS = 2,
	SITES_MAY_CAP = 4,
	SITES_MAY_TTL = 8,
	SITES_MAY_REASON = 16,
	SITES_MAY_LOWER = 32,            /* by may be negative */
};

struct sites_body {
	int64_t by;                      /* 1 where it was not said */
	bool sets_status, sets_cap;
	enum count_status status;
	int64_t cap;                     /* COUNT_NO_CAP: null */
	uint64_t ttl_ms;                 /* 0: not said */
	struct http_text reason;         /* may be empty */
	void *own;
};

/* UTF-8, and in part the client's own words: to be written as a JSON string. */
struct sites_fault {
	char sentence[256];
};

/* To be finished either way. */
bool sites_body_read(struct sites_body *, struct http_text text, unsigned may, struct sites_fault *);
void sites_body_fini(struct sites_body *);

/* Is this a reason for a change? At most RECORD_TEXT_BYTES_MAX bytes of UTF-8 without control characters. */
bool change_reason_is_good(struct http_text);

/* ---- writing ---- */

#define JSON_STRING_BYTES_MAX(bytes) (6 * (bytes) + 2)
#define SITE_JSON_BYTES_MAX (512u + JSON_STRING_BYTES_MAX(COUNT_SITE_BYTES_MAX))

/* RFC 8259 §7, with its quotes. `text` is UTF-8. Returns how many bytes, at most JSON_STRING_BYTES_MAX. */
size_t json_string_write(char *to, struct http_text text);

/* "2026-11-25T22:00:00.000Z", 24 bytes. */
#define UTC_BYTES 24u
void utc_write(char to[UTC_BYTES], uint64_t ms);

/* {"site":…}, or with a type, {"type":"site","site":…} for events. At most SITE_JSON_BYTES_MAX. */
size_t site_json_write(char *to, bool typed, struct http_text id, const struct count_site *);
/* {"count":…}, or {"type":"study",…}. */
size_t study_json_write(char *to, bool typed, const struct count_site *);

const char *count_status_word(enum count_status); /* "recruiting" */

#endif
