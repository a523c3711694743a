/* gateway/counting/configuration.h — the configuration in the audit trail: a few words at every start, and what of them is different from the last.
 *
 *   start             version 1.0.0 cores 2 configuration 4a7f… durability always new_sites true … heads …
 *   configuration     configuration 4a7f… → 91c0…; durability always → everysec
 *
 * Words stand in pairs: a name and its value. The digest is of the whole configuration as `postern check --print` shows it, so that any
 * change is seen; what decides about counts is told by name.
 *
 * Owner: results are the caller's, to be freed.   Thread: any.   Units: as the configuration is written.   Errors: none.   Limits: RECORD_DETAIL_BYTES_MAX. */
#ifndef GATEWAY_COUNTING_CONFIGURATION_H
#define GATEWAY_COUNTING_CONFIGURATION_H

#include "cache/record.h"

struct gateway;

/* For the record of a start, after the journal was read. */
char *configuration_words(const struct gateway *);

/* The words that a start, or a snapshot, tells; NULL: it is another record. */
char *configuration_told(const struct record *);

/* What is different; NULL: nothing that the digest covers. */
char *configuration_changes(const char *before, const char *now);

/* What such words say of a name; size 0: nothing. Points into them. */
struct record_text configuration_value(const char *words, const char *name);

#endif
