/* gateway/http/form.h — what a form or a query string says.
 *
 * Owner: the arena that was given, or the form itself.   Thread: any, pure functions.   Units: bytes.
 * Errors: NULL for good, or a reason of gateway/http/reason.h.   Limits: the caller's. */
#ifndef GATEWAY_HTTP_FORM_H
#define GATEWAY_HTTP_FORM_H

#include "gateway/http/reason.h"
#include "gateway/http/text.h"
#include "ring/arena.h"

/* The value of `name` in application/x-www-form-urlencoded text or a query string, decoded ("+" is a blank, %XX a byte).
 * Good (NULL): *value, in the form's bytes or in the arena; bytes NULL: the name is not there.
 * HTTP_FORM_ESCAPE_BAD for a broken escape anywhere, HTTP_FORM_NUL for %00, HTTP_FORM_NAME_SEVERAL for the name twice:
 * which of the two counts would be a guess. */
const struct reason *http_form_find(struct arena *, struct http_text form, const char *name, struct http_text *value);

#endif
