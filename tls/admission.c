/* See tls/admission.h. */
#include "tls/admission.h"
#include "ring/scope.h"

/* One full handshake with ECDSA, about a fifth of a millisecond: what a client who is served may have to wait for, beside his own. */
#define TURN_UNITS 2
#define DISPLACED_AFTER_MS 2000u
#define DISPLACED_SOON_MS 500u
#define DISPLACED_AT_ONCE 16u
#define DISPLACE_AGAIN_MS 100u

static void note(struct admission *a)
{
	atomic_store_explicit(&a->stats.queued, a->queued_count, memory_order_relaxed);
	atomic_store_explicit(&a->stats.at_work, a->at_work_count, memory_order_relaxed);
}

static void turn_look(struct admission *a)
{
	const uint64_t turn = stat_read(&a->task.scope->core->stats.turns);

	/* Debts are paid by turns, also by those in which nobody asked; what was not used is not saved. */
	for (; a->turn != turn && a->units_left < TURN_UNITS; a->turn++)
		a->units_left = a->units_left + TURN_UNITS < TURN_UNITS ? a->units_left + TURN_UNITS : TURN_UNITS;
	a->turn = turn;
}

static bool place_free(const struct admission *a, const struct admission_place *p)
{
	return p->works || a->at_work_count < a->at_work_max;
}

static void unqueue(struct admission *a, struct admission_place *p)
{
	link_remove(&p->in_queue);
	p->queued = false;
	a->queued_count--;
	a->finishing_count -= p->class == ADMISSION_FINISHING;
}

static void grant(struct admission *a, struct admission_place *p)
{
	a->units_left -= p->units;
	p->granted = true;
	if (!p->works) {
		a->full_next = p->class == ADMISSION_RESUMING;
		p->works = true;
		p->since_ms = a->task.scope->core->now_ms;
		a->at_work_count++;
		link_put_last(&a->at_work, &p->in_work);
	}
}

/* With as many waiting as are at work, nobody gets as much time: or silent clients, who cost their sender nothing, would keep out all others. */
static uint64_t displaced_after_ms(const struct admission *a)
{
	return a->queued_count - a->finishing_count >= a->at_work_max ? DISPLACED_SOON_MS : DISPLACED_AFTER_MS;
}

/* Those who hold places and do not use them, while others wait for one: as many as are wanted. Not those for whom we are the slow ones. */
static void displace_oldest(struct admission *a)
{
	const uint64_t after_ms = displaced_after_ms(a);
	const unsigned waiting_count = a->queued_count - a->finishing_count;
	unsigned wanted = waiting_count < DISPLACED_AT_ONCE ? waiting_count : DISPLACED_AT_ONCE;

	for (struct link *link = a->at_work.next; link != &a->at_work; link = link->next) {
		struct admission_place *p = owner_of(link, struct admission_place, in_work);
		uint64_t age_ms = a->task.scope->core->now_ms - p->since_ms;

		if (wanted == 0)
			return;
		if (age_ms < after_ms) {
			timer_set(&a->timer, after_ms - age_ms);
			return;
		}
		if (!p->queued && !p->granted) {
			if (!p->displaced) {
				p->displaced = true;
				stat_add(&a->stats.displaced, 1);
				task_wake(p->wakes);
			}
			wanted--;
		}
	}
	/* All of them wait for us now, but may stop to. */
	timer_set(&a->timer, DISPLACE_AGAIN_MS);
}

/* Whose turn it is; NULL: nobody waits. */
static struct link *queue_next(struct admission *a)
{
	struct link *one = &a->queues[a->full_next ? ADMISSION_FULL : ADMISSION_RESUMING];
	struct link *other = &a->queues[a->full_next ? ADMISSION_RESUMING : ADMISSION_FULL];

	if (!link_alone(&a->queues[ADMISSION_FINISHING]))
		return &a->queues[ADMISSION_FINISHING];
	return !link_alone(one) ? one : !link_alone(other) ? other : NULL;
}

static bool waits_for_place(const struct admission *a)
{
	return a->at_work_count >= a->at_work_max &&
	       !(link_alone(&a->queues[ADMISSION_RESUMING]) && link_alone(&a->queues[ADMISSION_FULL]));
}

static void admission_run(struct task *task)
{
	struct admission *a = owner_of(task, struct admission, task);
	struct link *queue;

	turn_look(a);
	if (waits_for_place(a))
		displace_oldest(a);
	while ((queue = queue_next(a))) {
		struct admission_place *p = owner_of(queue->next, struct admission_place, in_queue);

		if (a->units_left <= 0) {
			task_wake_later(&a->task);
			return;
		}
		/* The others wait for a place too; one that becomes free wakes us. */
		if (!place_free(a, p))
			return;
		unqueue(a, p);
		grant(a, p);
		note(a);
		task_wake(p->wakes);
	}
}

void admission_open(struct admission *a, struct scope *root, unsigned at_work_max, unsigned queued_max)
{
	*a = (struct admission){ .at_work_max = at_work_max, .queued_max = queued_max, .turn = UINT64_MAX };
	for (unsigned class = 0; class < ADMISSION_CLASSES; class++)
		link_init(&a->queues[class]);
	link_init(&a->at_work);
	task_init(&a->task, root, "TLS admission", admission_run);
	timer_init(&a->timer, root, &a->task);
}

void admission_place_init(struct admission_place *p, struct task *wakes)
{
	*p = (struct admission_place){ .wakes = wakes };
	link_init(&p->in_queue);
	link_init(&p->in_work);
}

enum admission_answer admission_ask(struct admission *a, struct admission_place *p, enum admission_class class,
	unsigned units)
{
	check(a->task.scope && !p->queued);
	p->granted = false;
	p->units = (uint8_t)units;
	p->class = (uint8_t)class;
	turn_look(a);
	/* Nobody is overtaken. */
	if (a->units_left > 0 && place_free(a, p) && a->queued_count == 0) {
		grant(a, p);
		note(a);
		return ADMISSION_GRANTED;
	}
	/* Who is at work already is not refused: it would be a waste of what was computed. */
	if (!p->works && a->queued_count >= a->queued_max) {
		stat_add(&a->stats.refused, 1);
		return ADMISSION_REFUSED;
	}
	p->queued = true;
	a->queued_count++;
	a->finishing_count += class == ADMISSION_FINISHING;
	stat_add(&a->stats.waited, 1);
	link_put_last(&a->queues[class], &p->in_queue);
	note(a);
	task_wake(&a->task);
	return ADMISSION_QUEUED;
}

void admission_charge(struct admission *a, unsigned units)
{
	a->units_left -= (int)units;
}

void admission_leave(struct admission *a, struct admission_place *p)
{
	const bool was_queued = p->queued;

	if (was_queued) {
		unqueue(a, p);
		if (!p->works)
			stat_add(&a->stats.dropped, 1);
	}
	if (p->works) {
		link_remove(&p->in_work);
		a->at_work_count--;
		/* A place has become free. */
		if (a->queued_count > 0)
			task_wake(&a->task);
	}
	if (was_queued || p->works)
		note(a);
	p->queued = p->works = p->granted = p->displaced = false;
}
