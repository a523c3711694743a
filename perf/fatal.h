/* perf/fatal.h — the one way in which the programs of this folder end before their time: a sentence, and exit code 1.
 *
 * Owner: none.   Thread: any.   Units: none.   Errors: this is it.   Limits: none.   Source: none. */
#ifndef PERF_FATAL_H
#define PERF_FATAL_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FATAL(...) (fprintf(stderr, "%s: ", program_invocation_short_name), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

/* Zeroed. Whoever needs it cannot go on without it. */
static inline void *memory_new(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		FATAL("no memory: %zu times %zu bytes", count, size);
	return memory;
}

#endif
