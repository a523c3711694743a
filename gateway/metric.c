/* See gateway/metric.h. */
#include "gateway/metric.h"
#include "gateway/verdict.h"

#include <stdlib.h>

void metrics_init(struct metrics *metrics, unsigned route_count)
{
	metrics->route_count = route_count + 1;
	metrics->by_route = calloc(metrics->route_count, sizeof *metrics->by_route);
	metrics->refusals = calloc(verdict_count(), sizeof *metrics->refusals);
	check(metrics->by_route && metrics->refusals);
}

void metrics_fini(struct metrics *metrics)
{
	free(metrics->by_route);
	free(metrics->refusals);
	metrics->by_route = metrics->refusals = NULL;
}

void metrics_refused(struct metrics *metrics, const struct reason *reason)
{
	metric_add(&metrics->refusals[verdict_index(reason)], 1);
}
