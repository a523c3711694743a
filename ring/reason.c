/* The reasons of ring/reason.h, and the end of the process that check() asks for. */
#include "ring/reason.h"
#include "ring/base.h"

#include <stdio.h>
#include <stdlib.h>

const struct reason RING_DONE = { "done", "the work is done" };
const struct reason RING_PARENT_CLOSED = { "parent_closed", "what this belonged to was closed" };
const struct reason RING_DRAINED = { "drained", "the program is ending and the time for politeness is over" };

const struct reason TCP_RESET = { "connection_reset", "the other side reset the connection" };
const struct reason TCP_REFUSED = { "connection_refused", "nobody listens at that address" };
const struct reason TCP_UNREACHABLE = { "unreachable", "there is no way to that address" };
const struct reason TCP_CONNECT_LATE = { "connect_late", "the connection was not established in time" };
const struct reason TCP_SEND_LATE = { "send_late", "the other side did not read in time" };
const struct reason TCP_RECEIVE_LATE = { "receive_late", "the other side sent nothing in time" };
const struct reason TCP_STARVED = { "memory_bytes_max", "the memory for bytes on their way is spent, and none came free in time" };
const struct reason TCP_FAILED = { "connection_failed", "the kernel reported an error on the connection" };
const struct reason TCP_DESCRIPTORS_SPENT = { "descriptors_spent", "the process has no file descriptor left" };

_Noreturn void check_failed(const char *fact, const char *file, int line)
{
	fprintf(stderr, "postern: check failed: %s (%s:%d)\n", fact, file, line);
	fflush(stderr);
	abort();
}
