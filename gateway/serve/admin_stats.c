/* The counters of all cores, as JSON and as Prometheus text. Both are made from one table of what there is to count. */
#include "gateway/serve/admin.h"
#include "gateway/verdict.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the figures of one core ------------------------------------------------------------------------------------------------ */

enum { FIGURES_MAX = 112 };

struct figure {
	const char *group;               /* of the JSON object */
	const char *name;
	const char *metric;              /* Prometheus: postern_… */
	const char *type;
	const char *help;
	uint64_t value;
};

static unsigned figures_of(const struct worker *w, struct figure *f)
{
	const struct core_stats *s = &w->core.stats;
	const struct metrics *m = &w->metrics;
	const struct tls_thread *t = &w->thread;
	const struct admission_stats *a = &t->admission.stats;
	const struct ticket_store *store = &w->gateway->tickets; /* core 0's, which is also the one that asks */
	/* What ended is read before what began, so that a difference is never below zero. */
	const uint64_t connections_ended = metric_read(&m->connections_ended);
	const uint64_t requests_ended = metric_read(&m->requests_ended);
	const uint64_t websockets_ended = metric_read(&m->websockets_ended);
	const uint64_t live_ended = metric_read(&m->live_ended), live_opened = metric_read(&m->live_opened);
	const uint64_t done = metric_read(&m->handshakes_done), failed = metric_read(&m->handshakes_failed);
	const uint64_t scopes_ended = stat_read(&s->scopes_ended);
	const uint64_t connections = metric_read(&m->connections_accepted), requests = metric_read(&m->requests_begun);
	const uint64_t websockets = metric_read(&m->websockets_opened), handshakes = metric_read(&m->handshakes_begun);
	const uint64_t scopes = stat_read(&s->scopes_opened);
	static const struct journal_statistics none;
	const struct journal_statistics *j = w->counting ? &w->counting->statistics : &none;
	const struct figure figures[] = {
		{ "connections", "open", "connections_open", "gauge", "Client connections that are open", connections - connections_ended },
		{ "connections", "accepted", "connections_accepted_total", "counter", "Client connections accepted", connections },
		{ "connections", "ended", "connections_ended_total", "counter", "Client connections ended", connections_ended },
		{ "connections", "handed", "connections_handed_total", "counter", "Client connections handed to a less busy core", metric_read(&m->connections_handed) },
		{ "requests", "total", "requests_total", "counter", "Requests whose head was read", requests },
		{ "requests", "live", "requests_live", "gauge", "Requests that are worked on", requests - requests_ended },
		{ "handshakes", "done", "handshakes_done_total", "counter", "TLS handshakes completed", done },
		{ "handshakes", "failed", "handshakes_failed_total", "counter", "TLS handshakes that failed", failed },
		{ "handshakes", "live", "handshakes_live", "gauge", "TLS handshakes under way", handshakes - done - failed },
		{ "handshakes", "full_1_2", "handshakes_full_1_2_total", "counter", "TLS 1.2 handshakes in full", stat_read(&t->stats.full_12) },
		{ "handshakes", "full_1_3", "handshakes_full_1_3_total", "counter", "TLS 1.3 handshakes in full", stat_read(&t->stats.full_13) },
		{ "handshakes", "resumed_1_2", "handshakes_resumed_1_2_total", "counter", "TLS 1.2 handshakes by a ticket", stat_read(&t->stats.resumed_12) },
		{ "handshakes", "resumed_1_3", "handshakes_resumed_1_3_total", "counter", "TLS 1.3 handshakes by a ticket", stat_read(&t->stats.resumed_13) },
		{ "handshakes", "at_work", "handshakes_at_work", "gauge", "TLS handshakes whose memory exists", stat_read(&a->at_work) },
		{ "handshakes", "queued", "handshakes_queued", "gauge", "TLS handshakes that wait for their turn", stat_read(&a->queued) },
		{ "handshakes", "waited", "handshakes_waited_total", "counter", "Steps of TLS handshakes that had to wait for a later turn", stat_read(&a->waited) },
		{ "handshakes", "refused", "handshakes_refused_total", "counter", "TLS handshakes refused because too many waited", stat_read(&a->refused) },
		{ "handshakes", "displaced", "handshakes_displaced_total", "counter", "Slow TLS handshakes that gave their place to others", stat_read(&a->displaced) },
		{ "handshakes", "dropped", "handshakes_dropped_total", "counter", "TLS handshakes whose client left before its turn", stat_read(&a->dropped) },
		{ "tickets", "rotations", "ticket_key_rotations_total", "counter", "New keys for TLS tickets", w->core.index == 0 ? store->rotations : 0 },
		{ "tickets", "saves_failed", "ticket_key_saves_failed_total", "counter", "Ticket keys that could not be written to the state directory", w->core.index == 0 ? store->saves_failed : 0 },
		{ "websockets", "open", "websockets_open", "gauge", "Upgraded connections that are open", websockets - websockets_ended },
		{ "websockets", "opened", "websockets_opened_total", "counter", "Connections upgraded", websockets },
		{ "websockets", "deflate_declined", "websockets_deflate_declined_total", "counter", "Sockets that asked for compression when limits.deflate_bytes_max was used up", metric_read(&m->deflate_declined) },
		{ "live", "sockets", "live_sockets", "gauge", "Sockets of patients that a push reaches", metric_read(&m->live_sockets) },
		{ "live", "patients", "live_patients", "gauge", "Patients who have a socket, by core", metric_read(&m->live_patients) },
		{ "live", "open", "live_open", "gauge", "Sockets of patients that are open", live_opened - live_ended },
		{ "live", "opened", "live_opened_total", "counter", "Sockets of patients opened", live_opened },
		{ "live", "pushes", "live_pushes_total", "counter", "Pushes taken", metric_read(&m->live_pushes) },
		{ "live", "written", "live_written_total", "counter", "Notifications written, once for each socket", metric_read(&m->live_written) },
		{ "live", "queued", "live_queued", "gauge", "Notifications that wait for a reader", metric_read(&m->live_queued) },
		{ "live", "dropped", "live_dropped_total", "counter", "Notifications that waited for a socket which ended first", metric_read(&m->live_dropped) },
		{ "live", "acks", "live_acks_total", "counter", "Acknowledgements from clients", metric_read(&m->live_acks) },
		{ "live", "reminders", "live_reminders_total", "counter", "Reminders sent to idle clients", metric_read(&m->live_reminders) },
		{ "live", "heartbeats_lost", "live_heartbeats_lost_total", "counter", "Sockets of patients closed because a ping was not answered", metric_read(&m->live_heartbeats_lost) },
		{ "count", "changes", "count_changes_total", "counter", "Changes of counts and rules that are durable", metric_read(&m->count_changes) },
		{ "count", "asked", "count_asked_total", "counter", "Changes that were decided on core 0 for this core", metric_read(&m->count_asked) },
		{ "count", "recalls", "count_recalls_total", "counter", "Recalls of what cores may raise by themselves", metric_read(&m->count_recalls) },
		{ "count", "syncs", "count_syncs_total", "counter", "Syncs of other cores' journals that a lowering waited for", metric_read(&m->count_syncs) },
		{ "count", "allotments", "count_allotments_total", "counter", "Allotments of room under a cap", metric_read(&m->count_allotments) },
		{ "count", "keys", "count_keys", "gauge", "Idempotency-Keys that are remembered", metric_read(&m->count_keys) },
		{ "count", "reservations", "count_reservations", "gauge", "Reservations that are open", metric_read(&m->count_reservations) },
		{ "journal", "records", "journal_records_total", "counter", "Records appended to the journal", stat_read(&j->records) },
		{ "journal", "commits", "journal_commits_total", "counter", "Group commits", stat_read(&j->commits) },
		{ "journal", "bytes", "journal_bytes_total", "counter", "Bytes written to the journal", stat_read(&j->bytes) },
		{ "journal", "syncs", "journal_syncs_total", "counter", "Syncs of the journal", stat_read(&j->syncs) },
		{ "journal", "sync_us", "journal_sync_microseconds_total", "counter", "Time that syncs took", stat_read(&j->sync_ns_sum) / 1000 },
		{ "journal", "sync_us_max", "journal_sync_microseconds_max", "gauge", "The longest sync of each core", stat_read(&j->sync_ns_max) / 1000 },
		{ "journal", "segments", "journal_segments_total", "counter", "Files begun", stat_read(&j->segments) },
		{ "journal", "snapshots", "journal_snapshots_total", "counter", "Snapshots finished", stat_read(&j->snapshots) },
		{ "journal", "failures", "journal_failures_total", "counter", "Writes, syncs and snapshots that failed", stat_read(&j->failures) },
		{ "bytes", "received", "bytes_received_total", "counter", "Bytes received on all sockets", stat_read(&s->bytes_received) },
		{ "bytes", "sent", "bytes_sent_total", "counter", "Bytes sent on all sockets", stat_read(&s->bytes_sent) },
		{ "ops", "started", "ops_started_total", "counter", "Kernel operations started", stat_read(&s->ops_started) },
		{ "ops", "ended", "ops_ended_total", "counter", "Kernel operations ended", stat_read(&s->ops_ended) },
		{ "ops", "live", "ops_live", "gauge", "Kernel operations in flight", stat_read(&s->ops_live) },
		{ "scopes", "opened", "scopes_opened_total", "counter", "Scopes opened", scopes },
		{ "scopes", "ended", "scopes_ended_total", "counter", "Scopes ended", scopes_ended },
		{ "scopes", "live", "scopes_live", "gauge", "Scopes that are alive", scopes - scopes_ended },
		{ "chunks", "total", "chunks_total", "gauge", "Chunks of memory, in the pool and outside", stat_read(&s->chunks_total) },
		{ "chunks", "out", "chunks_out", "gauge", "Chunks outside the pool", stat_read(&s->chunks_out) },
		{ "chunks", "lent", "chunks_lent", "gauge", "Of these, lent to the kernel to receive into", stat_read(&s->chunks_lent) },
		{ "chunks", "taken", "chunks_taken_total", "counter", "Chunks taken from the pool", stat_read(&s->chunk_takes) },
		{ "upstream", "opened", "upstream_opened_total", "counter", "Connections opened to upstreams", metric_read(&m->upstream_opened) },
		{ "upstream", "reused", "upstream_reused_total", "counter", "Requests that found a kept connection", metric_read(&m->upstream_reused) },
		{ "upstream", "idle", "upstream_idle", "gauge", "Kept connections that are idle", metric_read(&m->upstream_idle) },
		{ "upstream", "live", "upstream_live", "gauge", "Connections to upstreams that are open", metric_read(&m->upstream_live) },
		{ "upstream", "failed", "upstream_failed_total", "counter", "Attempts without an answer", metric_read(&m->upstream_failed) },
		{ "upstream", "down", "upstream_down", "gauge", "Servers that health checks have taken out", metric_read(&m->upstream_down) },
		{ "upstream", "checks_failed", "upstream_checks_failed_total", "counter", "Health checks without a good answer", metric_read(&m->upstream_checks_failed) },
		{ "log", "dropped", "log_lines_dropped_total", "counter", "Access lines dropped because the disk was behind", metric_read(&m->log_lines_dropped) },
		{ "ring", "turns", "ring_turns_total", "counter", "Turns of the loop", stat_read(&s->turns) },
		{ "ring", "enters", "ring_enters_total", "counter", "Calls into the kernel", stat_read(&s->enters) },
		{ "ring", "steps", "ring_steps_total", "counter", "Task steps run", stat_read(&s->steps) },
		{ "ring", "starved", "ring_starved_total", "counter", "Receives that found no buffer", stat_read(&s->starved) },
		{ "ring", "deadlines_fired", "ring_deadlines_fired_total", "counter", "Operations ended by their linked timeout", stat_read(&s->deadlines_fired) },
		{ "ring", "mail", "ring_mail_total", "counter", "Messages from other cores", stat_read(&s->mail_received) },
	};

	static_assert(array_count(figures) <= FIGURES_MAX, "room for all");
	memcpy(f, figures, sizeof figures);
	return array_count(figures);
}

/* "example.org/count", or "-" where no route matched. */
static void route_key(const struct config *config, unsigned index, char *key, size_t size)
{
	const struct config_route *route = &config->routes[index];

	if (index >= config->route_count)
		snprintf(key, size, "-");
	else
		snprintf(key, size, "%s%s", route->host ? route->host : "", route->path[0] ? route->path : "*");
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------------------- */

static void json_raise(json_t *object, const char *key, uint64_t by)
{
	json_t *number = json_object_get(object, key);

	if (number)
		json_integer_set(number, json_integer_value(number) + (json_int_t)by);
	else
		json_object_set_new(object, key, json_integer((json_int_t)by));
}

static json_t *json_group(json_t *object, const char *key)
{
	json_t *group = json_object_get(object, key);

	if (!group) {
		group = json_object();
		json_object_set_new(object, key, group);
	}
	return group;
}

/* Adds one core's figures to an object: its own, and the total. */
static void json_add(json_t *object, const struct worker *w)
{
	struct figure figures[FIGURES_MAX];
	const unsigned count = figures_of(w, figures);
	json_t *requests = json_group(object, "requests");
	json_t *by_status = json_group(requests, "by_status"), *by_route = json_group(requests, "by_route");
	json_t *refusals = json_group(object, "refusals");
	char key[1100];

	for (unsigned i = 0; i < count; i++)
		json_raise(json_group(object, figures[i].group), figures[i].name, figures[i].value);
	for (unsigned status = 0; status < METRIC_STATUS_MAX; status++) {
		uint64_t n = metric_read(&w->metrics.by_status[status]);

		snprintf(key, sizeof key, "%u", status);
		if (n > 0)
			json_raise(by_status, key, n);
	}
	for (unsigned i = 0; i < w->metrics.route_count; i++) {
		route_key(w->config, i, key, sizeof key);
		json_raise(by_route, key, metric_read(&w->metrics.by_route[i]));
	}
	for (unsigned i = 0; i < verdict_count(); i++) {
		uint64_t n = metric_read(&w->metrics.refusals[i]);

		if (n > 0)
			json_raise(refusals, verdict_at(i)->reason->name, n);
	}
}

static uint64_t uptime_ms(const struct gateway *gateway)
{
	return kernel_now_ns(gateway->cores.all[0]->kernel) / 1000000 - gateway->started_ms;
}

char *admin_stats(const struct gateway *gateway)
{
	json_t *cores = json_array(), *total = json_object();
	json_t *page;
	char *text;

	for (unsigned i = 0; i < gateway->cores.count; i++) {
		json_t *core = json_pack("{s:i}", "core", (int)i);

		json_add(core, gateway->workers[i]);
		json_add(total, gateway->workers[i]);
		json_array_append_new(cores, core);
	}
	page = json_pack("{s:s, s:f, s:s, s:o, s:o}", "version", POSTERN_VERSION, "uptime_s", (double)uptime_ms(gateway) / 1000,
	                 "state", atomic_load(&gateway->draining) ? "draining" : "serving", "cores", cores, "total", total);
	text = json_dumps(page, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	json_decref(page);
	return text;
}

/* ---- Prometheus --------------------------------------------------------------------------------------------------------------- */

/* A label's value: backslash, quote and line feed are escaped. */
static void label_write(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			fputc(*value, out);
	}
}

static void head_write(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP postern_%s %s\n# TYPE postern_%s %s\n", name, help, name, type);
}

static void write_by_route(FILE *out, const struct gateway *gateway)
{
	char key[1100];

	head_write(out, "route_requests_total", "counter", "Requests ended, by route");
	for (unsigned i = 0; i < gateway->cores.count; i++) {
		const struct worker *w = gateway->workers[i];

		for (unsigned r = 0; r < w->metrics.route_count; r++) {
			route_key(w->config, r, key, sizeof key);
			fprintf(out, "postern_route_requests_total{core=\"%u\",route_index=\"%u\",route=\"", i, r);
			label_write(out, key);
			fprintf(out, "\"} %llu\n", (unsigned long long)metric_read(&w->metrics.by_route[r]));
		}
	}
}

static void write_by_status(FILE *out, const struct gateway *gateway)
{
	head_write(out, "answers_total", "counter", "Requests ended, by status");
	for (unsigned i = 0; i < gateway->cores.count; i++)
		for (unsigned status = 0; status < METRIC_STATUS_MAX; status++) {
			uint64_t n = metric_read(&gateway->workers[i]->metrics.by_status[status]);

			if (n > 0)
				fprintf(out, "postern_answers_total{core=\"%u\",status=\"%u\"} %llu\n", i, status, (unsigned long long)n);
		}
	head_write(out, "refusals_total", "counter", "Requests and connections refused or cut, by reason");
	for (unsigned i = 0; i < gateway->cores.count; i++)
		for (unsigned v = 0; v < verdict_count(); v++) {
			uint64_t n = metric_read(&gateway->workers[i]->metrics.refusals[v]);

			if (n > 0)
				fprintf(out, "postern_refusals_total{core=\"%u\",reason=\"%s\"} %llu\n", i, verdict_at(v)->reason->name,
				        (unsigned long long)n);
		}
}

char *admin_metrics(const struct gateway *gateway)
{
	struct figure (*figures)[FIGURES_MAX] = calloc(gateway->cores.count, sizeof *figures);
	unsigned count = 0;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	check(figures && out);
	for (unsigned i = 0; i < gateway->cores.count; i++)
		count = figures_of(gateway->workers[i], figures[i]);
	head_write(out, "up_seconds", "gauge", "Seconds since the start");
	fprintf(out, "postern_up_seconds %.3f\n", (double)uptime_ms(gateway) / 1000);
	for (unsigned f = 0; f < count; f++) {
		head_write(out, figures[0][f].metric, figures[0][f].type, figures[0][f].help);
		for (unsigned i = 0; i < gateway->cores.count; i++)
			fprintf(out, "postern_%s{core=\"%u\"} %llu\n", figures[i][f].metric, i, (unsigned long long)figures[i][f].value);
	}
	write_by_route(out, gateway);
	write_by_status(out, gateway);
	fclose(out);
	free(figures);
	return text;
}
