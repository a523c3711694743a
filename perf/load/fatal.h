/* perf/load/fatal.h — the load's one way to end before its time: a sentence, and exit code 1.
 *
 * Owner: none.   Thread: any.   Units: none.   Errors: this is it.   Limits: none.   Source: none. */
#ifndef PERF_LOAD_FATAL_H
#define PERF_LOAD_FATAL_H

#include <stdio.h>
#include <stdlib.h>

#define FATAL(...) (fprintf(stderr, "perf/load: " __VA_ARGS__), fputc('\n', stderr), exit(1))

/* Zeroed. Whoever needs it cannot go on without it. */
static inline void *memory_new(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		FATAL("no memory: %zu times %zu bytes", count, size);
	return memory;
}

#endif
