/* tls/fault.h — what is wrong with a person's files, in sentences.
 *
 * Owner: the caller.   Thread: any.   Units: bytes.   Errors: none.
 * Limits: a sentence that is longer is cut; of more warnings the first ones are kept. */
#ifndef TLS_FAULT_H
#define TLS_FAULT_H

#include "ring/base.h"

#define TLS_WARNINGS_MAX 8u
#define TLS_SENTENCE_BYTES 512u

struct tls_fault {
	char sentence[TLS_SENTENCE_BYTES];                   /* why it cannot be used; "" when it can */
	char warnings[TLS_WARNINGS_MAX][TLS_SENTENCE_BYTES]; /* what is odd in what can be used */
	unsigned warning_count;
};

/* Returns false, so that a caller can pass it on. */
bool tls_fault_say(struct tls_fault *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tls_fault_warn(struct tls_fault *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
