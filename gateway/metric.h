/* gateway/metric.h — what is counted, for each core by itself.
 *
 * Each core writes its own counters with relaxed stores; whoever wants to know reads all cores' and adds them up. A counter never
 * goes down; what is live is a difference.
 *
 * Owner: the worker.   Thread: written by its core, read by any.   Units: counts, bytes.   Errors: none.
 * Limits: routes as configured; refusals as many as gateway/verdict.c knows reasons. */
#ifndef GATEWAY_METRIC_H
#define GATEWAY_METRIC_H

#include "ring/core.h"
#include "ring/reason.h"

#include <stdatomic.h>

#define METRIC_STATUS_MAX 600u

typedef _Atomic uint64_t metric;

struct metrics {
	metric connections_accepted;
	metric connections_ended;
	metric connections_handed;       /* to a core that had fewer */
	metric requests_begun;           /* a head was read */
	metric requests_ended;
	metric handshakes_begun;
	metric handshakes_done;
	metric handshakes_failed;
	metric websockets_opened;
	metric websockets_ended;
	metric deflate_declined;         /* sockets that go uncompressed because of limits.deflate_bytes_max */
	metric live_opened;              /* sockets of patients */
	metric live_ended;
	metric live_sockets;             /* that a push reaches now (a gauge) */
	metric live_patients;            /* who have one of these (a gauge) */
	metric live_pushes;              /* taken from back-ends by this core */
	metric live_written;             /* notifications, once for each socket */
	metric live_queued;              /* that wait for a reader now (a gauge) */
	metric live_dropped;             /* that waited, or would have, and never will be written */
	metric live_acks;
	metric live_reminders;
	metric live_heartbeats_lost;     /* sockets whose ping was not answered */
	metric count_changes;            /* of counts and their rules: recorded, durable, published */
	metric count_asked;              /* commands that this core's clients had decided on core 0 */
	metric count_recalls;            /* by core 0: permits of a site, or of the study, were asked back from all cores */
	metric count_syncs;              /* by core 0: what other cores had published of a site was to be on the disk first */
	metric count_allotments;         /* given by core 0 */
	metric count_keys;               /* Idempotency-Keys that are remembered (a gauge, core 0's) */
	metric count_reservations;       /* open (a gauge, core 0's) */
	metric upstream_opened;          /* connections that were established */
	metric upstream_reused;          /* requests that found one in the pool */
	metric upstream_failed;          /* attempts that got no answer */
	metric upstream_idle;            /* in the pool now (a gauge) */
	metric upstream_live;            /* open now, idle or not (a gauge) */
	metric upstream_down;            /* servers that health checks have taken out (a gauge) */
	metric upstream_checks_failed;   /* health checks without a good answer */
	metric log_lines_dropped;
	metric by_status[METRIC_STATUS_MAX];
	metric *by_route;                /* by index in config.routes; the last: no route */
	metric *refusals;                /* by verdict index */
	unsigned route_count;            /* with the last */
};

void metrics_init(struct metrics *, unsigned route_count);
void metrics_fini(struct metrics *);

/* A refusal: someone was not served, or a connection was cut, for this reason. */
void metrics_refused(struct metrics *, const struct reason *);

static inline void metric_add(metric *m, uint64_t n)
{
	stat_add(m, n);
}

static inline uint64_t metric_read(const metric *m)
{
	return stat_read(m);
}

#endif
