/* gateway/live/json.h — what a push and a patient's client say, read strictly.
 *
 *   POST /push/P   {"body":…, "ttl":"1h"}          ─▶ struct push_text: the body's bytes as they were written, the ttl
 *   client         {"type":"ack","id":"…"}         ─▶ LIVE_ACK; any other object with a type is LIVE_OTHER
 *
 * A body reaches the patient as it was written: 1.10 stays 1.10, and members keep their order and their blanks.
 *
 * Owner: push_text points into the text.   Thread: any, pure functions.   Units: bytes, ms.
 * Errors: reasons PUSH_* of gateway/verdict.h.   Limits: PUSH_TTL_MS_MAX; depth as jansson's; lengths are the caller's. */
#ifndef GATEWAY_LIVE_JSON_H
#define GATEWAY_LIVE_JSON_H

#include "gateway/http/text.h"
#include "ring/base.h"
#include "ring/reason.h"

#define PUSH_TTL_MS_MAX (UINT64_C(30) * 24 * 3600 * 1000)

struct push_text {
	struct http_text body;           /* JSON */
	uint64_t ttl_ms;                 /* 0: not to be kept */
};

/* NULL, or the first rule that the text breaks. */
const struct reason *push_text_read(struct push_text *, struct http_text text);

enum live_message { LIVE_BAD, LIVE_OTHER, LIVE_ACK };

enum live_message live_message_read(struct http_text text);

#endif
