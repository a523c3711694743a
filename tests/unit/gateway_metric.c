/* Counters of one core. */
#include "gateway/metric.c"

#include <criterion/criterion.h>

static struct metrics metrics;

static void open(void)
{
	metrics = (struct metrics){ 0 };
	metrics_init(&metrics, 3);
}

static void shut(void)
{
	metrics_fini(&metrics);
}

TestSuite(gateway_metric, .init = open, .fini = shut);

Test(gateway_metric, there_is_one_more_route_than_configured_for_what_finds_none)
{
	cr_assert_eq(metrics.route_count, 4);
	for (unsigned i = 0; i < metrics.route_count; i++)
		cr_assert_eq(metric_read(&metrics.by_route[i]), 0);
}

Test(gateway_metric, adding_adds)
{
	metric_add(&metrics.requests_begun, 1);
	metric_add(&metrics.requests_begun, 41);
	cr_assert_eq(metric_read(&metrics.requests_begun), 42);
	cr_assert_eq(metric_read(&metrics.requests_ended), 0);
	/* A gauge goes down by adding what wraps. */
	metric_add(&metrics.upstream_idle, 2);
	metric_add(&metrics.upstream_idle, (uint64_t)-1);
	cr_assert_eq(metric_read(&metrics.upstream_idle), 1);
}

Test(gateway_metric, a_refusal_is_counted_under_its_own_reason_alone)
{
	metrics_refused(&metrics, &ROUTE_NONE);
	metrics_refused(&metrics, &ROUTE_NONE);
	metrics_refused(&metrics, &CONNECTIONS_MAX);
	for (unsigned i = 0; i < verdict_count(); i++)
		cr_assert_eq(metric_read(&metrics.refusals[i]),
		             i == verdict_index(&ROUTE_NONE) ? 2 : i == verdict_index(&CONNECTIONS_MAX) ? 1 : 0);
}

Test(gateway_metric, every_reason_and_every_unknown_one_has_a_place)
{
	static const struct reason STRANGE = { "strange", "nobody has thought of this" };

	for (unsigned i = 0; i < verdict_count(); i++)
		metrics_refused(&metrics, verdict_at(i)->reason);
	metrics_refused(&metrics, &STRANGE);
	metrics_refused(&metrics, NULL);
	for (unsigned i = 0; i < verdict_count(); i++)
		cr_assert_eq(metric_read(&metrics.refusals[i]), i + 1 == verdict_count() ? 3 : 1);
}

Test(gateway_metric, fini_is_harmless_twice)
{
	metrics_fini(&metrics);
	metrics_fini(&metrics);
}

Test(gateway_metric, without_routes_there_is_the_place_for_none)
{
	struct metrics bare = { 0 };

	metrics_init(&bare, 0);
	cr_assert_eq(bare.route_count, 1);
	metric_add(&bare.by_route[0], 1);
	cr_assert_eq(metric_read(&bare.by_route[0]), 1);
	metrics_fini(&bare);
}
