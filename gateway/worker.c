/* One core's share of the program: what it opens, and how it ends. See gateway/gateway.h. */
#include "gateway/certificates.h"
#include "gateway/conn.h"
#include "gateway/gateway.h"
#include "gateway/live/live.h"
#include "gateway/upstream/health.h"
#include "gateway/upstream/pool.h"
#include "gateway/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ADMIN_OPEN_MAX 64u
#define UNEVEN_MIN 8u                    /* connections more than its share, before a core hands any on */
#define SURPLUS_MAX(clients_max) ((clients_max) / 16 + 8) /* that can be told so; more wait in the listener's queue */

static void another_drained(struct core *, struct message *);
static void refuse_step(struct task *);

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

/* SO_REUSEPORT deals connections out by chance: with few and long ones (WebSockets) a core may have twice the others' work. One
 * that has a quarter more than its share hands what it accepts to the one that has least, by the descriptor's number. */
struct handed {
	struct message message;
	unsigned listener;
	int fd;
};

static uint64_t open_count(const struct worker *worker)
{
	uint64_t ended = metric_read(&worker->metrics.connections_ended);

	return metric_read(&worker->metrics.connections_accepted) - ended;
}

/* NULL: this core keeps it. */
static const struct worker *less_busy_worker(const struct worker *worker)
{
	const struct gateway *gateway = worker->gateway;
	const struct worker *least = worker;
	uint64_t sum = 0, mean;

	for (unsigned i = 0; i < gateway->cores.count; i++) {
		const struct worker *other = gateway->workers[i];

		sum += open_count(other);
		if (open_count(other) < open_count(least))
			least = other;
	}
	mean = sum / gateway->cores.count;
	if (least == worker || open_count(worker) <= mean + mean / 4 + UNEVEN_MIN || atomic_load(&gateway->draining))
		return NULL;
	return least;
}

static void handed_over(struct core *to, struct message *message)
{
	struct handed *handed = owner_of(message, struct handed, message);
	struct worker *worker = to->gateway;
	struct listener *listener = &worker->listeners[handed->listener];

	/* Draining may have begun meanwhile; the client's next try finds another gateway. */
	if (scope_live(&to->root) && !worker->draining) {
		listener->open++;
		conn_accept(worker, listener, handed->fd, worker->tls[handed->listener], false);
	} else {
		kernel_socket_close(to->kernel, handed->fd);
	}
	free(handed);
}

static void client_accepted(struct listener *listener, int fd)
{
	struct worker *worker = listener->owner;
	const unsigned index = (unsigned)(listener - worker->listeners);
	const struct worker *other = less_busy_worker(worker);
	struct handed *handed;

	if (!other) {
		conn_accept(worker, listener, fd, worker->tls[index], false);
		return;
	}
	handed = malloc(sizeof *handed);
	check(handed);
	*handed = (struct handed){ .message = { .deliver = handed_over }, .listener = index, .fd = fd };
	listener_closed(listener);
	metric_add(&worker->metrics.connections_handed, 1);
	core_post(&worker->core, other->core.index, &handed->message);
}

static void clients_stopped(struct listener *listener)
{
	worker_conn_ended(listener->owner);
}

static void admin_accepted(struct listener *listener, int fd)
{
	conn_accept(listener->owner, listener, fd, NULL, true);
}

bool worker_open(struct worker *worker, const struct worker_sockets *sockets)
{
	const struct config *config = worker->config;
	const unsigned clients_max = (unsigned)config->limits.connections_max;

	link_init(&worker->conns);
	link_init(&worker->admins);
	worker->drained.deliver = another_drained;
	task_init(&worker->refuse, &worker->core.root, "refuse", refuse_step);
	timer_init(&worker->refuse_when, &worker->core.root, &worker->refuse);
	metrics_init(&worker->metrics, config->route_count);
	log_init(&worker->log, &worker->core, sockets->log, config->log.level);
	live_open(worker);
	events_open(worker);
	worker->pools = calloc(config->upstream_count + 1, sizeof *worker->pools);
	worker->listeners = calloc(config->listener_count + 1, sizeof *worker->listeners);
	check(worker->pools && worker->listeners);
	for (unsigned i = 0; i < config->upstream_count; i++)
		pool_init(&worker->pools[i], worker, &config->upstreams[i]);
	if (!certificates_open(worker) || !counting_open(worker))
		return false;
	for (unsigned i = 0; i < config->listener_count; i++) {
		listener_open(&worker->listeners[i], &worker->core, sockets->listeners[i], config->listeners[i].address.text,
		              clients_max + SURPLUS_MAX(clients_max), client_accepted, worker);
		worker->listeners[i].stopped = clients_stopped;
	}
	worker->listener_count = config->listener_count;
	if (sockets->admin >= 0)
		listener_open(&worker->listeners[worker->listener_count++], &worker->core, sockets->admin, config->admin,
		              ADMIN_OPEN_MAX, admin_accepted, worker);
	health_open(worker);
	return true;
}

const char *worker_date(struct worker *worker)
{
	const uint64_t second = kernel_wall_ns(worker->core.kernel) / 1000000000;

	if (second != worker->date_second) {
		const time_t now = (time_t)second;
		struct tm utc;

		worker->date_second = second;
		gmtime_r(&now, &utc);
		strftime(worker->date, sizeof worker->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
	}
	return worker->date;
}

/* ---- draining ------------------------------------------------------------------------------------------------------------ */

static void tell_drained(struct worker *worker)
{
	if (worker->told_drained || worker->core.index == 0)
		return;
	worker->told_drained = true;
	atomic_store(&worker->gone, true);
	core_post(&worker->core, 0, &worker->drained);
}

static void end_deliver(struct core *core, struct message *message)
{
	(void)message;
	scope_close(&core->root, &RING_DONE);
}

/* All end together, when the last has drained: until then core 0 may ask any of them for what it holds of a site, a second signal is
 * heard, and the admin socket tells what is still alive. */
static void drained(struct worker *worker)
{
	struct gateway *gateway = worker->gateway;

	if (worker->core.index > 0) {
		tell_drained(worker);
		return;
	}
	if (worker->drained_count + 1 < gateway->cores.count)
		return;
	for (unsigned i = 1; i < gateway->cores.count; i++) {
		gateway->workers[i]->end.deliver = end_deliver;
		core_post(&worker->core, i, &gateway->workers[i]->end);
	}
	scope_close(&worker->core.root, &RING_DONE);
}

static void another_drained(struct core *core, struct message *message)
{
	struct worker *worker = core->gateway;

	(void)message;
	worker->drained_count++;
	worker_conn_ended(worker);
}

/* Who had dialled before the listeners closed is a client, too. */
static bool clients_gone(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->config->listener_count; i++)
		if (worker->listeners[i].fd >= 0)
			return false;
	return link_alone(&worker->conns) && counting_rests(worker);
}

void worker_conn_ended(struct worker *worker)
{
	if (worker->draining && clients_gone(worker) && scope_live(&worker->core.root))
		drained(worker);
}

/* With a few the line is over at once; with ten thousand it takes ten seconds, or all of its time. */
static struct worker_goodbyes line_plan(const struct worker *worker, uint64_t count, uint64_t from_ms, uint64_t within_ms)
{
	const uint64_t step_us = UINT64_C(1000000) * worker->gateway->cores.count / WORKER_GOODBYES_PER_S;
	const uint64_t most_us = 1000 * within_ms / (count > 0 ? count : 1);

	return (struct worker_goodbyes){ 1000 * from_ms, step_us < most_us ? step_us : most_us };
}

static void goodbyes_plan(struct worker *worker)
{
	const struct config_timeouts *t = &worker->config->timeouts;
	const uint64_t ended = metric_read(&worker->metrics.websockets_ended);
	const uint64_t upgraded = metric_read(&worker->metrics.websockets_opened) - ended;
	const uint64_t half_ms = t->drain_ms / 2;
	/* The last one, too, is to end in its own manner, before all that is left is closed. */
	const uint64_t ending_ms = t->close_ms < half_ms / 2 ? t->close_ms : half_ms / 2;

	worker->drain_began_ms = worker->core.now_ms;
	worker->goodbyes[WORKER_SOCKETS] = line_plan(worker, upgraded - worker->tunnel_count, 0, half_ms);
	worker->goodbyes[WORKER_TUNNELS] = line_plan(worker, worker->tunnel_count, half_ms, half_ms - ending_ms);
}

uint64_t worker_goodbye_ms(struct worker *worker, enum worker_line line)
{
	struct worker_goodbyes *goodbyes = &worker->goodbyes[line];
	const uint64_t at_ms = goodbyes->next_us / 1000, past_ms = worker->core.now_ms - worker->drain_began_ms;

	goodbyes->next_us += goodbyes->step_us;
	return at_ms > past_ms ? at_ms - past_ms : 0;
}

static void conns_wake(struct worker *worker)
{
	for (struct link *link = worker->conns.next; link != &worker->conns; link = link->next)
		conn_drain(link);
}

static void refuse_step(struct task *task)
{
	struct worker *worker = owner_of(task, struct worker, refuse);

	worker->refusing = true;
	conns_wake(worker);
}

void worker_drain(struct worker *worker, bool at_once)
{
	if (at_once) {
		worker->draining = true;
		tell_drained(worker);
		scope_close(&worker->core.root, &RING_DRAINED);
		return;
	}
	if (worker->draining)
		return;
	worker->draining = true;
	goodbyes_plan(worker);
	scope_deadline(&worker->core.root, worker->config->timeouts.drain_ms, &RING_DRAINED);
	for (unsigned i = 0; i < worker->config->listener_count; i++)
		listener_stop(&worker->listeners[i], &GATEWAY_DRAINING);
	for (unsigned i = 0; i < worker->config->upstream_count; i++)
		pool_close_idle(&worker->pools[i], &GATEWAY_DRAINING);
	health_close(worker, &GATEWAY_DRAINING);
	timer_set(&worker->refuse_when, worker->config->timeouts.drain_ms / 4 * 3);
	conns_wake(worker);
	worker_conn_ended(worker);
}

struct drain_message {
	struct message message;
	bool at_once;
};

static void drain_deliver(struct core *to, struct message *message)
{
	struct drain_message *drain = owner_of(message, struct drain_message, message);

	worker_drain(to->gateway, drain->at_once);
	free(drain);
}

void gateway_drain(struct worker *from, bool at_once)
{
	atomic_store(&from->gateway->draining, true);
	for (unsigned i = 0; i < from->gateway->cores.count; i++) {
		struct drain_message *drain = malloc(sizeof *drain);

		check(drain);
		*drain = (struct drain_message){ .message = { .deliver = drain_deliver }, .at_once = at_once };
		core_post(&from->core, i, &drain->message);
	}
}

/* ---- the end --------------------------------------------------------------------------------------------------------------- */

void worker_close(struct worker *worker)
{
	certificates_close(worker);
}

void worker_fini(struct worker *worker)
{
	for (unsigned i = 0; worker->pools && i < worker->config->upstream_count; i++)
		pool_fini(&worker->pools[i]);
	free(worker->pools);
	health_fini(worker);
	live_fini(worker);
	counting_fini(worker);
	events_fini(worker);
	free(worker->listeners);
	metrics_fini(&worker->metrics);
	log_fini(&worker->log);
}
