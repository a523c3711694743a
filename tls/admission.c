/* See tls/admission.h. */
#include "tls/admission.h"
#include "ring/scope.h"

/* Four full handshakes with ECDSA, something less than a millisecond: what a keep-alive client may have to wait for. */
#define TURN_UNITS 8u
#define DISPLACED_AFTER_MS 2000u

static void note(struct admission *a)
{
	atomic_store_explicit(&a->stats.queued, a->queued_count, memory_order_relaxed);
	atomic_store_explicit(&a->stats.at_work, a->at_work_count, memory_order_relaxed);
}

static void turn_look(struct admission *a)
{
	const uint64_t turn = stat_read(&a->task.scope->core->stats.turns);

	if (a->turn != turn) {
		a->turn = turn;
		a->units_left = TURN_UNITS;
	}
}

static bool place_free(const struct admission *a, const struct admission_place *p)
{
	return p->works || a->at_work_count < a->at_work_max;
}

static void grant(struct admission *a, struct admission_place *p)
{
	/* An expensive one may take what is left, or it would never come: it is paid for by this turn alone. */
	a->units_left -= p->units < a->units_left ? p->units : a->units_left;
	p->granted = true;
	if (!p->works) {
		p->works = true;
		p->since_ms = a->task.scope->core->now_ms;
		a->at_work_count++;
		link_put_last(&a->at_work, &p->in_work);
	}
}

/* He who holds a place and does not use it, while others wait for one. */
static void displace_oldest(struct admission *a)
{
	struct admission_place *oldest = owner_of(a->at_work.next, struct admission_place, in_work);
	uint64_t age_ms = a->task.scope->core->now_ms - oldest->since_ms;

	check(!link_alone(&a->at_work));
	if (age_ms < DISPLACED_AFTER_MS) {
		timer_set(&a->timer, DISPLACED_AFTER_MS - age_ms);
	} else if (!oldest->displaced) {
		oldest->displaced = true;
		stat_add(&a->stats.displaced, 1);
		task_wake(oldest->wakes);
	}
}

static void admission_run(struct task *task)
{
	struct admission *a = owner_of(task, struct admission, task);

	turn_look(a);
	for (unsigned class = 0; class < ADMISSION_CLASSES; class++) {
		while (!link_alone(&a->queues[class])) {
			struct admission_place *p = owner_of(a->queues[class].next, struct admission_place, in_queue);

			if (a->units_left == 0) {
				task_wake_later(&a->task);
				return;
			}
			if (!place_free(a, p)) {
				displace_oldest(a);
				return;
			}
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

/* Nobody of this class or a better one may be overtaken. */
static bool overtakes(const struct admission *a, enum admission_class class)
{
	for (unsigned better = 0; better <= class; better++)
		if (!link_alone(&a->queues[better]))
			return true;
	return false;
}

enum admission_answer admission_ask(struct admission *a, struct admission_place *p, enum admission_class class,
	unsigned units)
{
	check(a->task.scope && !p->queued);
	p->granted = false;
	p->units = (uint8_t)units;
	turn_look(a);
	if (a->units_left > 0 && place_free(a, p) && !overtakes(a, class)) {
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
	p->queued = p->works = p->granted = false;
}
