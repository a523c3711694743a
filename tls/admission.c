/* See tls/admission.h. */
#include "tls/admission.h"
#include "ring/scope.h"

/* One full handshake with ECDSA, about a fifth of a millisecond: what a client who is served may have to wait for, beside his own. */
#define TURN_UNITS 2
#define DISPLACED_AFTER_MS 2000u

static void note(struct admission *a)
{
	atomic_store_explicit(&a->stats.queued, a->queued_count, memory_order_relaxed);
	atomic_store_explicit(&a->stats.at_work, a->at_work_count, memory_order_relaxed);
}

static void turn_look(struct admission *a)
{
	const uint64_t turn = stat_read(&a->task.scope->core->stats.turns);

	if (a->turn == turn)
		return;
	a->turn = turn;
	a->units_left = a->units_left > 0 ? TURN_UNITS : a->units_left + TURN_UNITS;
}

static bool place_free(const struct admission *a, const struct admission_place *p)
{
	return p->works || a->at_work_count < a->at_work_max;
}

static void grant(struct admission *a, struct admission_place *p)
{
	a->units_left -= p->units;
	p->granted = true;
	if (!p->works) {
		p->works = true;
		p->since_ms = a->task.scope->core->now_ms;
		a->at_work_count++;
		link_put_last(&a->at_work, &p->in_work);
	}
}

/* He who holds a place and does not use it, while others wait for one. Not he for whom we are the slow ones. */
static void displace_oldest(struct admission *a)
{
	for (struct link *link = a->at_work.next; link != &a->at_work; link = link->next) {
		struct admission_place *p = owner_of(link, struct admission_place, in_work);
		uint64_t age_ms = a->task.scope->core->now_ms - p->since_ms;

		if (age_ms < DISPLACED_AFTER_MS) {
			timer_set(&a->timer, DISPLACED_AFTER_MS - age_ms);
			return;
		}
		if (p->displaced)
			return;
		if (!p->queued && !p->granted) {
			p->displaced = true;
			stat_add(&a->stats.displaced, 1);
			task_wake(p->wakes);
			return;
		}
	}
}

/* Who goes first in this turn. */
static const uint8_t *classes_in_order(const struct admission *a)
{
	static const uint8_t ORDERS[2][ADMISSION_CLASSES] = {
		{ ADMISSION_FINISHING, ADMISSION_RESUMING, ADMISSION_FULL },
		{ ADMISSION_FINISHING, ADMISSION_FULL, ADMISSION_RESUMING },
	};

	return ORDERS[a->turn % 2];
}

static void admission_run(struct task *task)
{
	struct admission *a = owner_of(task, struct admission, task);
	const uint8_t *classes;

	turn_look(a);
	classes = classes_in_order(a);
	if (a->at_work_count >= a->at_work_max &&
	    !(link_alone(&a->queues[ADMISSION_RESUMING]) && link_alone(&a->queues[ADMISSION_FULL])))
		displace_oldest(a);
	for (unsigned i = 0; i < ADMISSION_CLASSES; i++) {
		struct link *queue = &a->queues[classes[i]];

		while (!link_alone(queue)) {
			struct admission_place *p = owner_of(queue->next, struct admission_place, in_queue);

			if (a->units_left <= 0) {
				task_wake_later(&a->task);
				return;
			}
			/* The others wait for a place too; one that becomes free wakes us. */
			if (!place_free(a, p))
				return;
			link_remove(&p->in_queue);
			p->queued = false;
			a->queued_count--;
			grant(a, p);
			note(a);
			task_wake(p->wakes);
		}
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
	if (p->queued) {
		link_remove(&p->in_queue);
		a->queued_count--;
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
	if (p->queued || p->works)
		note(a);
	p->queued = p->works = p->granted = p->displaced = false;
}
