/* gateway/serve/sites_request.h — what a request for counts says besides its body: where it goes, on what condition, with which key.
 *
 *   /count                                  COUNT_OF_SITE     the article's two endpoints
 *   /sites                                  SITES_ALL
 *   /sites/events                           SITES_EVENTS
 *   /sites/S                                SITES_ONE
 *   /sites/S/screenings …                   SITES_CHANGE, and of which kind
 *   /sites/S/reservations                   SITES_RESERVE
 *   /sites/S/reservations/ID                SITES_RESERVATION
 *   /sites/S/reservations/ID/confirm        SITES_CONFIRM
 *   anything else                           SITES_NOWHERE     an empty segment, too: a slash at the end names a site without a name
 *
 * S is decoded once: %2541 is the site "%41". A site whose id holds "/" or "\", or is "." or "..", or "events", has no path of its own
 * (gateway/http/target.h says why); by siteId it is counted as any other. A ";" is a letter of the id.
 *
 * Owner: texts point into what was given, or into the arena.   Thread: any, pure functions.   Units: bytes.
 * Errors: the reasons below, SITE_NAME_BAD.   Limits: COUNT_SITE_BYTES_MAX, KEYS_BYTES_MAX, SITES_LIMIT_MAX, CONDITION_REVISIONS_MAX. */
#ifndef GATEWAY_SERVE_SITES_REQUEST_H
#define GATEWAY_SERVE_SITES_REQUEST_H

#include "cache/decide.h"
#include "gateway/http/message.h"
#include "ring/arena.h"
#include "ring/reason.h"

#define SITES_LIMIT_USUAL 100u
#define SITES_LIMIT_MAX 1000u

extern const struct reason CONDITION_BAD;        /* 400: If-Match or If-None-Match is malformed, has too many tags, or stands where there is nothing to match */
extern const struct reason IDEMPOTENCY_KEY_BAD;  /* 400 */
extern const struct reason SITES_LIMIT_BAD;      /* 400: limit is no number from 1 to SITES_LIMIT_MAX */
extern const struct reason SITES_CURSOR_BAD;     /* 400: after is no cursor of this run of the gateway */

enum sites_place {
	SITES_NOWHERE,
	COUNT_OF_SITE,
	SITES_ALL,
	SITES_EVENTS,
	SITES_ONE,
	SITES_CHANGE,
	SITES_RESERVE,
	SITES_RESERVATION,
	SITES_CONFIRM,
};

struct sites_target {
	enum sites_place place;
	struct http_text base;           /* the path of all sites, with which links begin */
	struct http_text segment;        /* S as it stands in the path */
	struct http_text site;           /* S decoded, and judged */
	enum count_kind kind;            /* SITES_CHANGE */
	uint64_t reservation;            /* 0: ID is none that we ever gave */
};

/* `route_path`: the route's; `whole`: it is the only path that it matches. `path`: the request's, normalised. */
const struct reason *sites_target_read(struct sites_target *, struct arena *, const char *route_path, bool whole, struct http_text path);

/* ---- conditions: RFC 9110 §13.1 ---- */

enum condition_found {
	CONDITION_NONE,                  /* the field is not there */
	CONDITION_ANY,                   /* "*" */
	CONDITION_TAGS,
	CONDITION_MALFORMED,
};

/* What all fields of that name say. */
enum condition_found condition_find(const struct http_head *, enum http_name);

/* Of CONDITION_TAGS: is the revision among the tags? `weak`: W/"7" counts as "7" (RFC 9110 §8.8.3.2). */
bool condition_has(const struct http_head *, enum http_name, uint64_t revision, bool weak);

/* For the decider, which judges it at the moment of the change. Tags that cannot be a revision are left out: they meet none. `weak`: as above.
 * False: it is malformed, or has more than CONDITION_REVISIONS_MAX revisions. */
bool condition_read(const struct http_head *, enum http_name, bool weak, struct condition *);

/* ---- the rest ---- */

/* Idempotency-Key, as a quoted string (draft-ietf-httpapi-idempotency-key-header §2.1) or bare; bytes NULL: there is none. */
const struct reason *idempotency_key_read(const struct http_head *, struct arena *, struct http_text *key);

/* limit and after of GET /sites. `run` tells one run of the gateway from another: a site has its number for one run only. */
const struct reason *sites_page_read(struct arena *, struct http_text query, uint64_t run, unsigned *limit, uint32_t *first);
#define SITES_CURSOR_BYTES_MAX 32u
size_t sites_cursor_write(char to[SITES_CURSOR_BYTES_MAX], uint64_t run, uint32_t first);

/* Does Accept ask for text/event-stream by name? */
bool sites_wants_stream(const struct http_head *);

#endif
