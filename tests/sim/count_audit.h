/* tests/sim/count_audit.h — the journal of a disk read as an auditor would: every segment from the first on, all streams merged by their stamps.
 *
 * It knows nothing of recovery, snapshots or replay, so what they make of the same files can be compared with it.
 *
 * Owner: the caller's.   Thread: one.   Units: as in cache/record.h.   Errors: world_fail.   Limits: AUDIT_STREAMS_MAX. */
#ifndef TESTS_SIM_COUNT_AUDIT_H
#define TESTS_SIM_COUNT_AUDIT_H

#include "cache/record.h"
#include "tests/sim/count_check.h"
#include "tests/sim/world.h"

#define AUDIT_STREAMS_MAX WORLD_CORES_MAX

struct audit_record {
	uint64_t stamp_ns, sequence;
	unsigned stream;
	enum record_kind kind;
	unsigned site;                   /* COUNT_ALL: the study, or none */
	int64_t by[COUNT_KINDS];
	int64_t status, cap, rule_changes, amount, outcome;
	uint64_t reservation;
	int64_t call;                    /* by its request id; COUNT_NONE */
	int key;
};

struct audit {
	struct audit_record *records;    /* in the one order */
	size_t count, room;
	uint64_t ends[AUDIT_STREAMS_MAX]; /* the last sequence of each */
	struct model model;              /* what they add up to */
	int64_t rule_changes[COUNT_SITES + 1];
};

/* Whatever was lost: no cap is exceeded, and nothing is below zero, at any point. */
void audit_read(struct audit *, struct world *, const struct token *);
void audit_free(struct audit *);

/* Sites are "a", "b", …; keys "key-N"; request ids "call-N". */
unsigned audit_site(struct world *, struct record_text id);
int audit_key(struct record_text);

#endif
