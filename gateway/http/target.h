/* gateway/http/target.h — where a request goes: a path and a host.
 *
 * The path is normalised once, when it is read, and the path that was routed is the path that is sent on:
 *   %41 → A           escapes of unreserved characters are opened, the hex of the others is put in capitals (RFC 3986 §6.2.2)
 *   /a/./b/../c → /a/c      /a//b → /a/b
 * Refused, because two programs read them differently: broken escapes, escaped controls, %2F and %5C, a backslash,
 * a way above the root, and a dot segment with a parameter ("..;", which Tomcat reads as "..").
 *
 * Owner: the arena that was given.   Thread: any, pure functions.   Units: bytes.
 * Errors: NULL for good, or a reason of gateway/http/reason.h.   Limits: the caller's. */
#ifndef GATEWAY_HTTP_TARGET_H
#define GATEWAY_HTTP_TARGET_H

#include "gateway/http/reason.h"
#include "gateway/http/text.h"
#include "ring/arena.h"

/* `path` without a query. Good: *normal is the same bytes when nothing changed, otherwise a copy in the arena. */
const struct reason *http_path_normalise(struct arena *, struct http_text path, struct http_text *normal);

/* host [":" port]; splits the name off, without the one dot that it may end with. No user information, no escapes, no empty host. */
const struct reason *http_host_split(struct http_text host, struct http_text *name);

#endif
