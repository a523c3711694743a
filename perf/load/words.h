/* perf/load/words.h — what whoever started the load says to it: a line at a time, on standard input.
 *
 * While it is waited for the core turns: a ping that comes meanwhile is answered, a connection that ends is noticed.
 *
 * Owner: main.c.   Thread: its core's.   Units: bytes.   Errors: an input that cannot be read has ended.
 * Limits: WORDS_BYTES_MAX a line, FATAL beyond.   Source: none. */
#ifndef PERF_LOAD_WORDS_H
#define PERF_LOAD_WORDS_H

#include "ring/core.h"

#define WORDS_BYTES_MAX 300u

struct words {
	struct scope scope;
	struct op read;
	struct task task;
	char bytes[WORDS_BYTES_MAX];
	size_t count;                    /* read and not yet given */
	size_t given;                    /* of them, by the last words_next */
	bool news, ended;
};

void words_open(struct words *, struct core *);

/* The next line, without its end, good until the next call; NULL: the input has ended. */
const char *words_next(struct words *);

#endif
