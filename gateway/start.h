/* gateway/start.h — what can be known before anything runs: is the machine fit, are the files good, are the ports free?
 *
 * Every refusal is one sentence on standard error that names the thing and the remedy.
 *
 * Owner: the caller.   Thread: the first, before others exist.   Units: as named.   Errors: false, and the sentence is out.
 * Limits: DESCRIPTORS_RESERVED descriptors besides connections. */
#ifndef GATEWAY_START_H
#define GATEWAY_START_H

#include "gateway/config.h"

#include <stdbool.h>

/* Raises the soft limit of descriptors to the hard one; where that is too little for limits.connections_max on all cores,
 * lowers connections_max to what fits and says so, and refuses only when next to nothing fits. */
bool start_descriptors(struct config *, unsigned cores);

/* The cores this process may run on, and how many of them are wanted. */
unsigned start_core_count(const struct config *);

/* Pins the calling thread to the index-th of the CPUs the process could run on when it started. */
struct start_cpus {
	int ids[1024];
	unsigned count;
};
void start_cpus(struct start_cpus *);
void start_pin(const struct start_cpus *, unsigned index);

/* jemalloc's arena for the calling thread alone; nothing without jemalloc. */
void start_own_arena(void);

/* All listening sockets: fds[core * listener_count + listener]. A port that another process listens on is refused, though
 * SO_REUSEPORT would let us share it. */
bool start_bind(const struct config *, unsigned cores, int *fds);
bool start_bind_admin(const struct config *, int *fd);

#endif
