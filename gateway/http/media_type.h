/* gateway/http/media_type.h — does Content-Type say what is wanted, in UTF-8?
 *
 * Owner: nothing is kept.   Thread: any, pure functions.   Units: none.   Errors: false.   Limits: none.
 * Source: RFC 9110 §8.3.1. */
#ifndef GATEWAY_HTTP_MEDIA_TYPE_H
#define GATEWAY_HTTP_MEDIA_TYPE_H

#include "gateway/http/text.h"

/* "type/subtype" in any case of letters, with any parameters but a charset that is neither UTF-8 nor a part of it: bytes that are
 * meant in another one would be taken for other letters. `type` is in lower case. */
bool http_media_type_is(struct http_text value, const char *type);

#endif
