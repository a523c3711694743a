/* tls/wire.h — the first bytes of a pipe, in whichever chunks they lie.
 *
 * Owner: nothing is kept.   Thread: the pipe's core.   Units: bytes.   Errors: fewer bytes than asked for: no more are there.
 * Limits: none. */
#ifndef TLS_WIRE_H
#define TLS_WIRE_H

#include "ring/pipe.h"

/* Copied, and left where they are. Returns how many there were. */
size_t wire_look(const struct pipe *, uint8_t *to, size_t n);

/* Copied, and consumed. */
size_t wire_read(struct pipe *, uint8_t *to, size_t n);

#endif
