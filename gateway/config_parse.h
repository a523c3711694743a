/* gateway/config_parse.h — YAML text to a configuration, or to its faults.
 *
 * Owner: the caller owns the text, which is not kept, and the tree (config_free).   Thread: any.
 * Units: bytes.   Errors: faults (config_fault.h).
 * Limits: CONFIG_TEXT_BYTES_MAX; anchors, aliases, tags and a second document are refused. */
#ifndef GATEWAY_CONFIG_PARSE_H
#define GATEWAY_CONFIG_PARSE_H

#include "gateway/config.h"

#include <stddef.h>

/* `name` stands in front of every fault, and its directory is where relative paths begin. The text may hold any bytes.
 * `faults` was initialised and is in the order of the file afterwards. NULL when there is any error. */
struct config *config_parse_text(
	const char *text, size_t length, const char *name, struct config_faults *faults);

#endif
