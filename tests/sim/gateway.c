/* tests/sim/gateway.c — the whole gateway, run by dice: how it is opened, stopped, and judged; see gateway.h.
 *
 * One or two cores with their workers, listeners and pools, as gateway/run.c opens them; a configuration from text; the signal to
 * stop is a read on a source, as in the program a read on a signalfd. Every run ends by draining: at some moment by dice, or when
 * the last client has gone and every connection with it.
 *
 * While a core sleeps gateway_conn.c looks at each of its connections (a wake that was lost); at the end everything that was
 * counted must add up, and nothing may be left. */
#include "tests/sim/gateway.h"

#include "gateway/certificates.h"
#include "gateway/config_parse.h"
#include "gateway/upstream/pool.h"
#include "gateway/verdict.h"
#include "tls/context.h"

#include <netinet/in.h>
#include <psa/postern_driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALM_MS 900000u                  /* no script is ever silent so long */

/* ---- the signal --------------------------------------------------------------------------------------------------------------- */

struct signal {
	struct scope scope;
	struct op read;
	struct task task;
	struct gw *gw;
	struct worker *worker;
	struct thing *source;
	uint8_t got[128];
	bool noted, told_once;
};

static void signal_note(struct op *op, const struct completion *completion)
{
	struct signal *s = owner_of(op, struct signal, read);

	s->noted = completion->result > 0;
	task_wake(&s->task);
}

static void signal_step(struct task *task)
{
	struct signal *s = owner_of(task, struct signal, task);
	struct world *world = &s->gw->sim->world;

	if (!op_idle(&s->read))
		return;
	if (s->noted) {
		s->noted = false;
		world_trace(world, "signal: %s", s->told_once ? "stop at once" : "drain");
		s->gw->drain_begun = true;
		gateway_drain(s->worker, s->told_once);
		s->source->readable_ns = UINT64_MAX;
		if (!s->told_once && s->gw->at_once)
			s->source->readable_ns = world->now_ns + dice_scaled(&world->dice, 1, 2000 * WORLD_MS);
		s->told_once = true;
	}
	s->read.request = (struct kernel_request){
		.code = KERNEL_READ, .fd = s->source->fd, .bytes = s->got, .size = sizeof s->got, .offset = -1,
	};
	op_start(&s->read);
}

static void signal_ended(struct scope *scope)
{
	struct signal *s = owner_of(scope, struct signal, scope);

	kernel_socket_close(scope->core->kernel, s->source->fd);
}

static const struct scope_kind signal_kind = { .name = "signals", .ended = signal_ended };

static void signal_open(struct signal *s, struct gw *gw)
{
	struct world *world = &gw->sim->world;

	*s = (struct signal){ .gw = gw, .worker = gw->gateway.workers[0], .source = world_source(world) };
	while (world_descriptor(world, s->source) < 0)
		;
	s->source->readable_ns = gw->drains ? world->now_ns + dice_scaled(&world->dice, 1, 500 * WORLD_MS) : UINT64_MAX;
	scope_open(&s->scope, &s->worker->core.root, &signal_kind);
	op_init(&s->read, &s->scope, "signal", signal_note);
	task_init(&s->task, &s->scope, "signals", signal_step);
	task_wake(&s->task);
}

/* ---- the configuration ------------------------------------------------------------------------------------------------------- */

static unsigned timeout_roll(struct gw *gw)
{
	return gw->hasty ? (unsigned)dice_scaled(gw_dice(gw), 20, 3000) : CALM_MS;
}

static void config_say(struct gw *gw, struct bytes *text)
{
	static const char *const waits[] = {
		"request_head", "request_body", "keep_alive", "send", "upstream_response", "upstream_body", "upstream_keep_alive",
	};
	struct dice *dice = gw_dice(gw);

	bytes_say(text, "log: { level: error }\nlisteners: [ { address: \"127.0.0.1:80\"");
	if (gw->tls) {
		bytes_say(text, ", ");
		gw_tls_config_say(gw, text);
	}
	bytes_say(text, " } ]\ntimeouts:\n");
	if (gw->tls)
		bytes_say(text, "  tls_handshake: %ums\n", gw_tls_handshake_ms(gw));
	for (unsigned i = 0; i < array_count(waits); i++)
		bytes_say(text, "  %s: %ums\n", waits[i], timeout_roll(gw));
	/* A connection that never comes is the world's habit, not a script's; patience must not outlast the drain's. */
	bytes_say(text, "  upstream_connect: %ums\n", gw->hasty ? timeout_roll(gw) : 20000);
	bytes_say(text, "  websocket_idle: %ums\n", gw->silent_tunnels ? 3000 : timeout_roll(gw));
	/* Twice the others: a receive's deadline comes up to a thirty-second later than asked, and its answer must still get out. */
	bytes_say(text, "  drain: %ums\n  close: %ums\n",
	          gw->at_once && dice_chance(dice, 50) ? (unsigned)dice_scaled(dice, 1, 1000) : 2 * CALM_MS,
	          gw->hasty ? (unsigned)dice_scaled(dice, 20, 3000) : CALM_MS);
	bytes_say(text, "limits: { connections_max: %u", gw->scarce ? (unsigned)dice_between(dice, 1, 6) : 1000);
	if (gw->lives)
		bytes_say(text, ", live_queue_count_max: %u", (unsigned)dice_between(dice, 1, 5));
	bytes_say(text, " }\n");
	bytes_say(text, "upstreams: [ { name: u, balance: %s, keep_alive: %u, servers: [", config_balance_word((unsigned)dice_below(dice, 4)),
	          (unsigned)dice_scaled(dice, 0, 32));
	for (unsigned i = 0; i < gw->server_count; i++)
		bytes_say(text, "%s \"127.0.0.1:%u\"", i ? "," : "", 9000 + i);
	bytes_say(text, " ] } ]\nroutes:\n  - { path: /count, serve: count }\n  - { path: /echo, serve: echo }\n"
	                "  - { prefix: /small, proxy: u, body_bytes_max: %u }\n  - { prefix: /p, proxy: u }\n"
	                "  - { prefix: /t, proxy: u }\n", SMALL_BODY_BYTES);
	if (gw->lives)
		bytes_say(text, "  - { path: /live, serve: live, heartbeat: %ums, idle_reminder: %ums }\n  - { prefix: /push, serve: push }\n",
		          timeout_roll(gw), (unsigned)dice_scaled(dice, 20, 2 * CALM_MS));
}

static void config_make(struct gw *gw)
{
	struct bytes text = { 0 };
	struct config_faults faults;

	config_faults_init(&faults);
	config_say(gw, &text);
	gw->config = config_parse_text((const char *)text.at, text.n, "/sim.yaml", &faults);
	if (!gw->config) {
		config_faults_print(&faults, stderr);
		world_fail(&gw->sim->world, "the configuration is refused");
	}
	config_faults_fini(&faults);
	bytes_fini(&text);
}

/* What each thread has for itself in the program, each core has here. */
static void gw_on_core(struct sim *sim, unsigned core)
{
	struct gw *gw = sim->scenario;

	postern_driver_set(gw->drivers[core]);
}

/* ---- opening, as gateway/run.c does ------------------------------------------------------------------------------------------ */

static void workers_open(struct gw *gw, unsigned cores, unsigned buffers)
{
	struct gateway *gateway = &gw->gateway;
	struct sim *sim = gw->sim;

	gateway->config = gw->config;
	gateway->cores.count = cores;
	counting_without_journal(gateway);
	gateway->workers = calloc(cores, sizeof *gateway->workers);
	gateway->materials = calloc(gw->config->listener_count + 1, sizeof *gateway->materials);
	check(gateway->count && gateway->workers && gateway->materials && certificates_read_first(gw->config, gateway->materials));
	for (unsigned i = 0; i < cores; i++) {
		struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);

		check(worker);
		memset(worker, 0, sizeof *worker);
		worker->gateway = gateway;
		worker->config = gw->config;
		gateway->workers[i] = worker;
		sim->all[i] = &worker->core;
	}
	sim_open(sim, cores, buffers, 1 + buffers + (unsigned)dice_scaled(gw_dice(gw), 200, 4000));
	gateway->cores = sim->cores;
	ticket_store_open(&gateway->tickets, NULL, gw->config->timeouts.ticket_lifetime_ms, cores,
	                  kernel_wall_ns(sim->all[0]->kernel) / 1000000000, gw->config->log.level);
	for (unsigned i = 0; i < cores; i++) {
		struct worker *worker = gateway->workers[i];
		int fd;

		worker->core.gateway = worker;
		count_take(gateway->count, i);
		do {
			fd = kernel_listen(worker->core.kernel, (struct sockaddr *)&gw->address, sizeof gw->address, 64);
		} while (fd < 0);
		postern_driver_set(NULL);
		check(worker_open(worker, &(struct worker_sockets){ .listeners = &fd, .admin = -1, .log = -1 }));
		gw->drivers[i] = postern_driver_get();
	}
	sim->on_core = gw_on_core;
	ticket_store_start(&gateway->tickets, sim->all[0]);
}

/* ---- while it runs --------------------------------------------------------------------------------------------------------------- */

void gw_not_rest(struct sim *sim, const char *what)
{
	world_fail(&sim->world, "a quiet core with work left: %s", what);
}

static void gw_sleeps(struct world *world, unsigned core)
{
	struct sim *sim = world->owner;
	struct gw *gw = sim->scenario;
	struct worker *worker = gw->gateway.workers[core];

	if (!scope_live(&worker->core.root))
		return;
	for (struct link *l = worker->conns.next; l != &worker->conns; l = l->next)
		conn_rests(sim, l);
	for (unsigned i = 0; i < gw->server_count; i++) {
		const struct link *idle = &worker->pools[0].servers[i].idle;

		for (const struct link *l = idle->next; l != idle; l = l->next) {
			const struct upstream *u = owner_of(l, const struct upstream, in_idle);

			if (!scope_live(&u->scope))
				continue;
			sim_tcp_rests(sim, &u->tcp, "idle server");
			if (u->in.bytes > 0 || u->in.ended || u->out.refusal || worker->draining)
				gw_not_rest(sim, "an idle connection to a server has something to do");
		}
	}
	if (worker->draining && link_alone(&worker->conns) && worker->listeners[0].fd < 0 &&
	    (core > 0 ? !atomic_load(&worker->gone) : worker->drained_count + 1 == sim->cores.count))
		gw_not_rest(sim, "all clients of a draining core have gone, and it goes on");
}

static bool conns_gone(const struct gw *gw)
{
	for (unsigned i = 0; i < gw->sim->cores.count; i++) {
		if (!link_alone(&gw->gateway.workers[i]->conns))
			return false;
	}
	return true;
}

struct gw_run {
	struct gw gw;
	struct signal signal;
};

static bool gw_over(struct sim *sim)
{
	struct gw_run *run = sim->scenario;
	struct gw *gw = &run->gw;

	if (!gw->drain_begun && run->signal.source->readable_ns == UINT64_MAX && clients_done(gw) && conns_gone(gw))
		run->signal.source->readable_ns = sim->world.now_ns + dice_scaled(gw_dice(gw), 1, 100 * WORLD_MS);
	for (unsigned i = 0; i < sim->cores.count; i++) {
		if (!sim->ended[i])
			return false;
	}
	/* What a client has not read yet lies in its socket. */
	return clients_done(gw);
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------------- */

static void same(struct gw *gw, unsigned core, const char *what, uint64_t a, uint64_t b)
{
	if (a != b)
		world_fail(&gw->sim->world, "core %u at the end: %s: %llu and %llu", core, what, (unsigned long long)a,
		           (unsigned long long)b);
}

static void worker_check(struct gw *gw, unsigned core)
{
	static const struct reason *const late[] = {
		&CLIENT_HEAD_LATE, &CLIENT_BODY_LATE, &UPSTREAM_CONNECT_LATE, &UPSTREAM_RESPONSE_LATE, &UPSTREAM_BODY_LATE,
		&WEBSOCKET_IDLE, &WEBSOCKET_NO_PONG, &TCP_SEND_LATE,
	};
	struct worker *worker = gw->gateway.workers[core];
	struct metrics *m = &worker->metrics;
	uint64_t by_status = 0, by_route = 0;

	same(gw, core, "connections accepted and ended", metric_read(&m->connections_accepted), metric_read(&m->connections_ended));
	same(gw, core, "requests begun and ended", metric_read(&m->requests_begun), metric_read(&m->requests_ended));
	same(gw, core, "WebSockets opened and ended", metric_read(&m->websockets_opened), metric_read(&m->websockets_ended));
	same(gw, core, "patients' sockets opened and ended", metric_read(&m->live_opened), metric_read(&m->live_ended));
	same(gw, core, "patients' sockets in the table", metric_read(&m->live_sockets), 0);
	same(gw, core, "patients in the table", metric_read(&m->live_patients), 0);
	same(gw, core, "notifications that wait", metric_read(&m->live_queued), 0);
	same(gw, core, "connections to servers, live", metric_read(&m->upstream_live), 0);
	same(gw, core, "connections to servers, idle", metric_read(&m->upstream_idle), 0);
	same(gw, core, "connections of clients", worker->client_count, 0);
	same(gw, core, "connections to servers", worker->upstream_count, 0);
	same(gw, core, "connections in the listener's count", worker->listeners[0].open, 0);
	same(gw, core, "idle connections in the pool's count", worker->pools[0].idle_count, 0);
	for (unsigned i = 0; i < gw->server_count; i++)
		same(gw, core, "connections in a server's count", worker->pools[0].servers[i].live, 0);
	for (unsigned i = 0; i < METRIC_STATUS_MAX; i++)
		by_status += metric_read(&m->by_status[i]);
	for (unsigned i = 0; i < m->route_count; i++)
		by_route += metric_read(&m->by_route[i]);
	same(gw, core, "requests ended and their statuses", metric_read(&m->requests_ended), by_status);
	same(gw, core, "requests ended and their routes", metric_read(&m->requests_ended), by_route);
	for (unsigned i = 0; gw->strict && !gw->rude_clients && i < array_count(late); i++) {
		if (metric_read(&m->refusals[verdict_index(late[i])]) > 0)
			world_fail(&gw->sim->world, "nobody was silent, and the gateway says: %s", late[i]->sentence);
	}
}

static void count_check(struct gw *gw)
{
	for (unsigned i = 0; i < SITES; i++) {
		char name[8];
		uint32_t site;
		uint64_t n = 0;

		snprintf(name, sizeof name, "s%u", i);
		if (count_find(gw->gateway.count, name, strlen(name), &site) == COUNT_OK)
			n = (uint64_t)count_read(gw->gateway.count, site);
		if (n < gw->posts_acknowledged[i] || n > gw->posts_sent[i])
			world_fail(&gw->sim->world, "site %u has %llu, %llu were acknowledged and %llu sent", i, (unsigned long long)n,
			           (unsigned long long)gw->posts_acknowledged[i], (unsigned long long)gw->posts_sent[i]);
	}
}

/* A thread's store of keys ends with its worker, and here both share one: no key may be in it when the first worker closes. */
static void keys_put(struct gw *gw, unsigned core)
{
	struct worker *worker = gw->gateway.workers[core];

	gw_on_core(gw->sim, core);
	for (unsigned i = 0; i < gw->config->listener_count; i++) {
		tls_context_put(worker->tls[i]);
		worker->tls[i] = NULL;
	}
	ticket_store_detach(&gw->gateway.tickets, &worker->core);
}

static void gw_close(struct gw *gw)
{
	struct gateway *gateway = &gw->gateway;
	unsigned cores = gw->sim->cores.count;

	/* Letters that came too late: as gateway/run.c does when all threads are over. */
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < cores; i++) {
			gw_on_core(gw->sim, i);
			mailbox_deliver(&gateway->workers[i]->core);
		}
	}
	for (unsigned i = 0; i < cores; i++)
		keys_put(gw, i);
	for (unsigned i = 0; i < cores; i++) {
		count_put(gateway->count, i);
		gw_on_core(gw->sim, i);
		worker_close(gateway->workers[i]);
		worker_check(gw, i);
	}
	count_check(gw);
	clients_check(gw);
	clients_fini(gw);
	origins_fini(gw);
	gw->sim->world.sleeps = NULL;
	gw->sim->on_core = NULL;
	sim_finish(gw->sim);
	for (unsigned i = 0; i < cores; i++) {
		worker_fini(gateway->workers[i]);
		free(gateway->workers[i]);
	}
	ticket_store_close(&gateway->tickets);
	certificates_put(gw->config, gateway->materials);
	free(gateway->materials);
	free(gateway->workers);
	counting_forget(gateway);
	config_free(gw->config);
	if (gw->tls)
		gw_tls_fini(gw);
}

/* ---- the scenarios --------------------------------------------------------------------------------------------------------------- */

static void gw_run(struct sim *sim, struct gw *gw)
{
	struct gw_run run = { .gw = *gw };
	struct dice *dice = sim_dice(sim);
	struct habits *habits = &sim->world.habits;
	bool calm_world = dice_chance(dice, 60);

	gw = &run.gw;
	gw->sim = sim;
	sim->scenario = &run;
	sim->world.sleeps = gw_sleeps;
	if (calm_world)
		habits->connect_fails = habits->connect_never = habits->descriptors_spent = 0;
	gw->scarce = dice_chance(dice, 5);
	gw->strict = !gw->rude_servers && !gw->hasty && !gw->at_once && !gw->scarce &&
	             habits->connect_fails + habits->connect_never + habits->descriptors_spent == 0;
	gw->body_bytes_most = habits->stream_bytes < 2000 ? 2000 : dice_scaled(dice, 1000, 100000);
	/* Now and then enough to fill every pipe on the way, so that backpressure reaches the other end. */
	if (habits->stream_bytes >= 2000 && dice_chance(dice, 15))
		gw->body_bytes_most = 600000;
	gw->server_count = (unsigned)dice_between(dice, 1, SERVERS_MAX);
	sim_address(&gw->address, 80);
	for (unsigned i = 0; i < gw->server_count; i++)
		sim_address(&gw->servers[i], 9000 + i);
	world_trace(&sim->world, "clients %s, servers %s%s%s%s%s%s%s", gw->rude_clients ? "rude" : "polite",
	            gw->rude_servers ? "rude" : "polite", gw->closes_idle ? ", close idle" : "", gw->hasty ? ", hasty" : "",
	            gw->drains ? ", drains" : "", gw->at_once ? " at once" : "", gw->scarce ? ", scarce" : "", gw->strict ? ", strict" : "");
	if (gw->speaks_tls)
		gw_tls_open(gw);
	config_make(gw);
	workers_open(gw, (unsigned)dice_between(dice, 1, 2), 1u << dice_between(dice, 2, 7));
	origins_open(gw);
	signal_open(&run.signal, gw);
	clients_open(gw);
	if (!sim_run(sim, gw_over))
		world_fail(&sim->world, "nothing moves any more");
	world_trace(&sim->world, "%u requests, %llu replies, %llu refusals", gw->ask_count, (unsigned long long)gw->genuine,
	            (unsigned long long)gw->errors);
	gw_close(gw);
}

static void clients_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.rude_clients = dice_chance(dice, 70), .closes_idle = dice_chance(dice, 40), .hasty = dice_chance(dice, 20),
	};

	gw_run(sim, &gw);
}

static void upstreams_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.rude_servers = dice_chance(dice, 80), .rude_clients = dice_chance(dice, 20), .closes_idle = dice_chance(dice, 50),
		.hasty = dice_chance(dice, 25),
	};

	gw_run(sim, &gw);
}

static void sockets_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.sockets_percent = 80, .rude_servers = dice_chance(dice, 30), .rude_clients = dice_chance(dice, 40),
		.closes_idle = dice_chance(dice, 30), .hasty = dice_chance(dice, 20), .drains = dice_chance(dice, 20),
	};

	gw.silent_tunnels = !gw.hasty && dice_chance(dice, 20);
	gw_run(sim, &gw);
}

static void live_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.lives = true, .sockets_percent = 60, .rude_clients = dice_chance(dice, 50), .hasty = dice_chance(dice, 20),
		.drains = dice_chance(dice, 30), .speaks_tls = dice_chance(dice, 5),
	};

	gw.at_once = gw.drains && dice_chance(dice, 20);
	gw_run(sim, &gw);
}

static void drain_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.drains = true, .at_once = dice_chance(dice, 40), .sockets_percent = 30, .rude_servers = dice_chance(dice, 30),
		.rude_clients = dice_chance(dice, 40), .closes_idle = dice_chance(dice, 30), .hasty = dice_chance(dice, 20),
	};

	gw_run(sim, &gw);
}

static void tls_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.speaks_tls = true, .sockets_percent = 30, .rude_clients = dice_chance(dice, 40), .rude_servers = dice_chance(dice, 20),
		.closes_idle = dice_chance(dice, 30), .hasty = dice_chance(dice, 10), .drains = dice_chance(dice, 20),
	};

	gw_run(sim, &gw);
}

static void tls_faults_scenario(struct sim *sim)
{
	struct dice *dice = sim_dice(sim);
	struct gw gw = {
		.speaks_tls = true, .touched_percent = 70, .sockets_percent = 15, .rude_clients = true, .hasty = dice_chance(dice, 10),
		.drains = dice_chance(dice, 25),
	};

	gw.at_once = gw.drains && dice_chance(dice, 30);
	gw_run(sim, &gw);
}

const struct scenario SCENARIO_CLIENTS = {
	.name = "clients", .share = 6, .run = clients_scenario,
	.sentence = "the whole gateway, and clients that ask, pipeline, dribble, leave, reset, vanish",
};

const struct scenario SCENARIO_UPSTREAMS = {
	.name = "upstreams", .share = 6, .run = upstreams_scenario,
	.sentence = "the whole gateway, and servers that cut, reset, talk nonsense, answer early or never",
};

const struct scenario SCENARIO_SOCKETS = {
	.name = "sockets", .share = 5, .run = sockets_scenario,
	.sentence = "the whole gateway, and WebSockets: echoes in fragments, tunnels to servers",
};

const struct scenario SCENARIO_LIVE = {
	.name = "live", .share = 4, .run = live_scenario,
	.sentence = "the whole gateway, and patients' WebSockets: pushes from others, heartbeats, slow and vanished readers",
};

const struct scenario SCENARIO_DRAIN = {
	.name = "drain", .share = 6, .run = drain_scenario,
	.sentence = "the whole gateway, drained at any moment, and once more at once",
};

const struct scenario SCENARIO_TLS = {
	.name = "tls", .share = 1, .run = tls_scenario,
	.sentence = "the whole gateway with TLS, and clients of all versions, suites and groups, in records cut anywhere",
};

const struct scenario SCENARIO_TLS_FAULTS = {
	.name = "tls_faults", .share = 1, .run = tls_faults_scenario,
	.sentence = "the whole gateway with TLS, and clients that fall silent, lie, break off, or whose bytes are changed on the way",
};
