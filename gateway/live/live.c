/* See gateway/live/live.h. */
#include "gateway/live/live.h"
#include "gateway/gateway.h"

#include <stdlib.h>
#include <sys/random.h>

#define WAKES_AT_ONCE 128u

struct live {
	struct worker *worker;
	struct patients patients;
	struct link awaited;             /* struct live_socket.in_awaited */
	struct task task;                /* the fan-out */
};

static void fan_out(struct task *task)
{
	struct live *live = owner_of(task, struct live, task);
	struct link *link;

	for (unsigned i = 0; i < WAKES_AT_ONCE && (link = link_take_first(&live->awaited)); i++)
		task_wake(owner_of(link, struct live_socket, in_awaited)->task);
	if (!link_alone(&live->awaited))
		task_wake_later(&live->task);
}

void live_open(struct worker *worker)
{
	struct live *live = malloc(sizeof *live);
	uint64_t seed[2];

	check(live && getrandom(seed, sizeof seed, 0) == sizeof seed);
	*live = (struct live){ .worker = worker };
	patients_init(&live->patients, seed);
	link_init(&live->awaited);
	task_init(&live->task, &worker->core.root, "fan-out", fan_out);
	worker->live = live;
}

void live_fini(struct worker *worker)
{
	struct live *live = worker->live;

	if (!live)
		return;
	check(link_alone(&live->awaited));
	patients_fini(&live->patients);
	free(live);
	worker->live = NULL;
}

/* Gauges go up and down by what has changed. */
static void gauges_set(struct live *live, size_t patients_before, size_t sockets_before)
{
	metric_add(&live->worker->metrics.live_patients, live->patients.count - patients_before);
	metric_add(&live->worker->metrics.live_sockets, live->patients.socket_count - sockets_before);
}

void live_enter(struct worker *worker, struct live_socket *s, struct http_text patient, struct task *task)
{
	struct live *live = worker->live;
	const size_t patients = live->patients.count, sockets = live->patients.socket_count;

	*s = (struct live_socket){ .live = live, .task = task };
	link_init(&s->in_awaited);
	note_queue_init(&s->queue);
	patients_enter(&live->patients, &s->entry, patient);
	gauges_set(live, patients, sockets);
}

void live_leave(struct live_socket *s)
{
	struct live *live = s->live;
	size_t patients, sockets;

	if (!live)
		return;
	patients = live->patients.count;
	sockets = live->patients.socket_count;
	s->live = NULL;
	patients_leave(&live->patients, &s->entry);
	gauges_set(live, patients, sockets);
	link_remove(&s->in_awaited);
	metric_add(&live->worker->metrics.live_queued, -(uint64_t)s->queue.count);
	metric_add(&live->worker->metrics.live_dropped, s->queue.count);
	note_queue_fini(&s->queue);
}

static void slow_reader(struct live *live, struct live_socket *s)
{
	metric_add(&live->worker->metrics.live_dropped, 1);
	live_leave(s);
	s->slow = true;
	task_wake(s->task);
}

unsigned live_deliver(struct worker *worker, struct http_text name, struct note *note)
{
	const struct note_limits limits = {
		.bytes_max = worker->config->limits.live_queue_bytes_max,
		.count_max = worker->config->limits.live_queue_count_max,
	};
	struct live *live = worker->live;
	struct patient *patient = patients_find(&live->patients, name);
	unsigned taken = 0;

	if (!patient)
		return 0;
	for (struct link *link = patient->sockets.next, *next; link != &patient->sockets; link = next) {
		struct live_socket *s = owner_of(link, struct live_socket, entry.in_patient);
		/* The patient goes with his last socket, so nothing is read of him behind that. */
		const bool last = link->next == &patient->sockets;

		next = link->next;
		if (!scope_live(s->task->scope)) {
			/* Its connection has ended, and is being given back. */
		} else if (note_queue_put(&s->queue, note, &limits)) {
			taken++;
			metric_add(&worker->metrics.live_queued, 1);
			if (link_alone(&s->in_awaited))
				link_put_last(&live->awaited, &s->in_awaited);
		} else {
			slow_reader(live, s);
		}
		if (last)
			break;
	}
	if (!link_alone(&live->awaited))
		task_wake(&live->task);
	return taken;
}

void live_written(struct live_socket *s)
{
	metric_add(&s->live->worker->metrics.live_written, 1);
	metric_add(&s->live->worker->metrics.live_queued, (uint64_t)-1);
	note_queue_drop_first(&s->queue);
}
