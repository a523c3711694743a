/* gateway/run.h — the program from the first core to the last.
 *
 * Owner: none.   Thread: the first; it becomes core 0.   Units: none.   Errors: false, and standard error says why.
 * Limits: CONFIG_CORES_MAX cores. */
#ifndef GATEWAY_RUN_H
#define GATEWAY_RUN_H

#include "gateway/config.h"

#include <stdbool.h>

/* Serves until it is told to stop. connections_max may be lowered to what the machine carries. */
bool run(struct config *);

#endif
