/* See gateway/counting/events.h.
 *
 *   core 1: events_tell ─▶ own ring ─▶ own readers
 *                      └─▶ parcel for core 0 ─ message ─▶ core 0: ring ─▶ readers
 *                                          ◀─ message ─── and back, empty; what has gathered meanwhile goes with the next
 *
 * One parcel is under way between two cores and one gathers, each of at most EVENTS_KEPT changes: a core that is held up costs others
 * no more memory than that. What does not fit is lost, and the parcel says so. */
#include "gateway/counting/events.h"
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#define READERS_AT_ONCE 128u
#define LATEST_PLACES 8192u              /* a power of two */

struct parcel {
	struct message message;
	struct events *from;
	unsigned to;
	uint32_t *sent, *gathered;       /* NULL: no memory yet */
	unsigned sent_count, gathered_count, sent_space, gathered_space;
	bool sent_lost, gathered_lost;   /* more than fitted */
	bool under_way;
};

struct latest {
	uint32_t site;
	uint64_t place;                  /* one more, so that 0 is none */
};

struct events {
	struct worker *worker;
	_Atomic unsigned reader_count;   /* written by its core, read by all */
	struct link readers;
	struct task task;                /* wakes them, a few each turn */
	uint64_t place;                  /* of the next change */
	uint64_t lost_at;                /* readers whose place is below have missed something */
	uint32_t *kept;                  /* EVENTS_KEPT of them, a ring; made for the first reader */
	struct latest *latest;           /* where a site was told last. Two sites may share a place: then one of them is told twice */
	struct parcel *parcels;          /* by core */
};

/* ---- readers ---------------------------------------------------------------------------------------------------------------- */

/* Waking thousands at once would hold the turn up and take a chunk for each before the first is sent (gateway/live/live.c). A reader
 * who is woken goes to the end, so the first one in the list has waited longest. */
static void readers_wake(struct task *task)
{
	struct events *events = owner_of(task, struct events, task);

	for (unsigned i = 0; i < READERS_AT_ONCE && !link_alone(&events->readers); i++) {
		struct events_reader *reader = owner_of(events->readers.next, struct events_reader, in_events);

		if (reader->woken == events->place)
			return;
		reader->woken = events->place;
		link_remove(&reader->in_events);
		link_put_last(&events->readers, &reader->in_events);
		if (reader->place < events->place)
			task_wake(reader->task);
	}
	if (!link_alone(&events->readers))
		task_wake_later(&events->task);
}

void events_enter(struct worker *worker, struct events_reader *reader, struct task *task)
{
	struct events *events = worker->events;

	if (!events->kept) {
		events->kept = calloc(EVENTS_KEPT, sizeof *events->kept);
		events->latest = calloc(LATEST_PLACES, sizeof *events->latest);
		check(events->kept && events->latest);
	}
	*reader = (struct events_reader){ .task = task, .worker = worker, .place = events->place, .woken = events->place };
	link_init(&reader->in_events);
	link_put_last(&events->readers, &reader->in_events);
	atomic_fetch_add(&events->reader_count, 1);
}

void events_leave(struct events_reader *reader)
{
	if (!reader->worker)
		return;
	link_remove(&reader->in_events);
	atomic_fetch_sub(&reader->worker->events->reader_count, 1);
	reader->worker = NULL;
}

static struct latest *latest_of(struct events *events, uint32_t site)
{
	return &events->latest[site & (LATEST_PLACES - 1)];
}

enum events_found events_next(struct events_reader *reader, uint32_t *site)
{
	struct events *events = reader->worker->events;

	if (reader->place < events->lost_at || events->place - reader->place > EVENTS_KEPT) {
		reader->place = events->place;
		return EVENTS_MISSED;
	}
	while (reader->place < events->place) {
		const uint64_t place = reader->place++;
		const struct latest *latest;

		*site = events->kept[place % EVENTS_KEPT];
		latest = latest_of(events, *site);
		/* It comes again further on, and who looks then sees this change as well. */
		if (latest->site == *site && latest->place > place + 1)
			continue;
		return EVENTS_SITE;
	}
	return EVENTS_NONE;
}

bool events_wanted(const struct gateway *gateway)
{
	for (unsigned i = 0; i < gateway->cores.count; i++) {
		const struct events *events = gateway->workers[i]->events;

		if (events && atomic_load_explicit(&events->reader_count, memory_order_relaxed) > 0)
			return true;
	}
	return false;
}

/* ---- changes ------------------------------------------------------------------------------------------------------------------ */

static void events_keep(struct events *events, const uint32_t *sites, unsigned count, bool lost)
{
	if (link_alone(&events->readers))
		return;
	for (unsigned i = 0; i < count; i++) {
		events->kept[events->place % EVENTS_KEPT] = sites[i];
		*latest_of(events, sites[i]) = (struct latest){ sites[i], ++events->place };
	}
	/* A step of its own, so that also readers who have read everything find out. */
	if (lost)
		events->lost_at = ++events->place;
	if (scope_live(&events->worker->core.root))
		task_wake(&events->task);
}

static void parcel_send(struct parcel *);

static void parcel_returned(struct core *to, struct message *message)
{
	struct parcel *parcel = owner_of(message, struct parcel, message);

	(void)to;
	parcel->under_way = false;
	if (parcel->gathered_count > 0 || parcel->gathered_lost)
		parcel_send(parcel);
}

static void parcel_deliver(struct core *to, struct message *message)
{
	struct parcel *parcel = owner_of(message, struct parcel, message);
	struct worker *worker = to->gateway;

	/* A core that has ended has no reader any more; its letters are still opened (gateway/run.c). */
	if (scope_live(&to->root))
		events_keep(worker->events, parcel->sent, parcel->sent_count, parcel->sent_lost);
	message->deliver = parcel_returned;
	core_post(to, message->from, message);
}

static void parcel_send(struct parcel *parcel)
{
	struct core *core = &parcel->from->worker->core;
	uint32_t *emptied = parcel->sent;
	const unsigned emptied_space = parcel->sent_space;

	/* Between cores that are ending there is no talk without end. */
	if (!scope_live(&core->root))
		return;
	parcel->sent = parcel->gathered;
	parcel->sent_space = parcel->gathered_space;
	parcel->sent_count = parcel->gathered_count;
	parcel->sent_lost = parcel->gathered_lost;
	parcel->gathered = emptied;
	parcel->gathered_space = emptied_space;
	parcel->gathered_count = 0;
	parcel->gathered_lost = false;
	parcel->under_way = true;
	parcel->message.deliver = parcel_deliver;
	core_post(core, parcel->to, &parcel->message);
}

static void parcel_fill(struct parcel *parcel, const uint32_t *sites, unsigned count)
{
	unsigned room = EVENTS_KEPT - parcel->gathered_count;

	if (count > room) {
		parcel->gathered_lost = true;
		count = room;
	}
	if (parcel->gathered_count + count > parcel->gathered_space) {
		unsigned space = parcel->gathered_space > 0 ? parcel->gathered_space : 64;

		while (space < parcel->gathered_count + count)
			space *= 2;
		parcel->gathered = realloc(parcel->gathered, space * sizeof *parcel->gathered);
		check(parcel->gathered);
		parcel->gathered_space = space;
	}
	if (count > 0)
		memcpy(parcel->gathered + parcel->gathered_count, sites, count * sizeof *sites);
	parcel->gathered_count += count;
}

void events_tell(struct worker *from, const uint32_t *sites, unsigned count)
{
	struct events *events = from->events;

	for (unsigned i = 0; i < from->gateway->cores.count; i++) {
		const struct worker *worker = from->gateway->workers[i];
		struct parcel *parcel = &events->parcels[i];

		if (atomic_load_explicit(&worker->events->reader_count, memory_order_relaxed) == 0)
			continue;
		if (worker == from) {
			events_keep(events, sites, count, false);
		} else if (!atomic_load(&worker->gone)) {
			parcel_fill(parcel, sites, count);
			if (!parcel->under_way)
				parcel_send(parcel);
		}
	}
}

/* ---- the worker's --------------------------------------------------------------------------------------------------------------- */

void events_open(struct worker *worker)
{
	struct events *events = calloc(1, sizeof *events);

	check(events);
	events->worker = worker;
	link_init(&events->readers);
	task_init(&events->task, &worker->core.root, "tell readers", readers_wake);
	events->parcels = calloc(worker->gateway->cores.count, sizeof *events->parcels);
	check(events->parcels);
	for (unsigned i = 0; i < worker->gateway->cores.count; i++)
		events->parcels[i] = (struct parcel){ .from = events, .to = i };
	worker->events = events;
}

void events_fini(struct worker *worker)
{
	struct events *events = worker->events;

	if (!events)
		return;
	check(link_alone(&events->readers));
	for (unsigned i = 0; i < worker->gateway->cores.count; i++) {
		free(events->parcels[i].sent);
		free(events->parcels[i].gathered);
	}
	free(events->parcels);
	free(events->kept);
	free(events->latest);
	free(events);
	worker->events = NULL;
}
