/* perf/load/ask.h — what the clients of a work ask for, byte by byte, and how long the answer is where that is known.
 *
 * Owner: the work; ask_free.   Thread: one.   Units: bytes.   Errors: FATAL for a longer path, or without memory.   Limits: PATH_BYTES_MAX.
 * Source: RFC 9112, RFC 6455 section 5; Redis serialization protocol (RESP). */
#ifndef PERF_LOAD_ASK_H
#define PERF_LOAD_ASK_H

#include "perf/load/client.h"

#define PATH_BYTES_MAX 400u

void ask_insist_path(const char *path);                               /* FATAL where it is longer */
void ask_request(struct work *, const char *path, size_t body_bytes); /* a POST where there is a body */
void ask_counts(struct work *, unsigned sites, unsigned posts_of_ten); /* in Redis's words for WORK_REDIS */
void ask_message(struct work *, const char *path);                    /* behind an upgrade */
void ask_close(struct work *, const char *path);                      /* likewise */
void ask_free(struct work *);

#endif
