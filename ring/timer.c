/* A hierarchical wheel: level 0 has a slot for each tick, each further level one for 64 slots of the level below. A timer
 * far ahead lies in a coarse slot; when the wheel reaches that slot its timers are sorted into finer ones. */
#include "ring/timer.h"
#include "ring/core.h"
#include "ring/scope.h"
#include "ring/task.h"

#define SLOT_BITS 6u
#define TICKS_MAX ((1ull << (SLOT_BITS * TIMER_LEVELS)) - 1)

static_assert(1u << SLOT_BITS == TIMER_SLOTS, "a slot index is SLOT_BITS wide");

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
	*wheel = (struct timer_wheel){ .tick = now_ms / TIMER_TICK_MS };
	for (unsigned level = 0; level < TIMER_LEVELS; level++)
		for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
			link_init(&wheel->slots[level][slot]);
}

/* due_tick > tick. The level is the highest group of SLOT_BITS in which the two differ: until the wheel's own digit there
 * changes, the timer's slot is still ahead. */
static void wheel_put(struct timer_wheel *wheel, struct timer *timer)
{
	uint64_t differs = timer->due_tick ^ wheel->tick;
	unsigned level = 0;

	while (level + 1 < TIMER_LEVELS && differs >> (SLOT_BITS * (level + 1)))
		level++;
	timer->level = (uint8_t)level;
	timer->slot = (uint8_t)(timer->due_tick >> (SLOT_BITS * level)) & (TIMER_SLOTS - 1);
	link_put_last(&wheel->slots[level][timer->slot], &timer->in_wheel);
	wheel->filled[level] |= 1ull << timer->slot;
}

static void wheel_take(struct timer_wheel *wheel, struct timer *timer)
{
	link_remove(&timer->in_wheel);
	if (link_alone(&wheel->slots[timer->level][timer->slot]))
		wheel->filled[timer->level] &= ~(1ull << timer->slot);
}

void timer_init(struct timer *timer, struct scope *scope, struct task *wakes)
{
	*timer = (struct timer){ .scope = scope, .wakes = wakes };
	link_init(&timer->in_wheel);
	link_put_last(&scope->timers, &timer->in_scope);
}

void timer_clear(struct timer *timer)
{
	if (!timer->set)
		return;
	wheel_take(&timer->scope->core->wheel, timer);
	timer->scope->core->wheel.count--;
	timer->set = false;
}

void timer_set(struct timer *timer, uint64_t ms)
{
	struct core *core = timer->scope->core;
	uint64_t due_ms = core->now_ms + ms;
	uint64_t due_tick;

	timer_clear(timer);
	timer->fired = false;
	if (!scope_live(timer->scope))
		return;
	due_tick = due_ms < ms ? UINT64_MAX : due_ms / TIMER_TICK_MS + (due_ms % TIMER_TICK_MS > 0);
	if (due_tick <= core->wheel.tick)
		due_tick = core->wheel.tick + 1;
	/* The top level covers what shares its digits above TIMER_LEVELS; beyond that a timer comes early and is sorted anew. */
	if (due_tick - core->wheel.tick > TICKS_MAX / 2)
		due_tick = core->wheel.tick + TICKS_MAX / 2;
	timer->due_tick = due_tick;
	timer->set = true;
	core->wheel.count++;
	wheel_put(&core->wheel, timer);
}

uint64_t timer_left_ms(const struct timer *timer)
{
	uint64_t due_ms = timer->due_tick * TIMER_TICK_MS;

	if (!timer->set || due_ms <= timer->scope->core->now_ms)
		return 0;
	return due_ms - timer->scope->core->now_ms;
}

static void timer_fire(struct timer_wheel *wheel, struct timer *timer)
{
	wheel->count--;
	timer->set = false;
	timer->fired = true;
	if (timer->closes)
		scope_close(timer->scope, timer->closes);
	else
		task_wake(timer->wakes);
}

/* All timers of a slot are fired if due, otherwise sorted into finer slots. */
static void slot_run(struct timer_wheel *wheel, unsigned level, unsigned slot)
{
	struct link due;
	struct link *link;

	if (!(wheel->filled[level] & 1ull << slot))
		return;
	link_init(&due);
	link_move_all(&due, &wheel->slots[level][slot]);
	wheel->filled[level] &= ~(1ull << slot);
	/* A fired timer may close a scope, and with it take timers of this very list: always the first that is still there. */
	while ((link = link_take_first(&due))) {
		struct timer *timer = owner_of(link, struct timer, in_wheel);

		if (timer->due_tick <= wheel->tick)
			timer_fire(wheel, timer);
		else
			wheel_put(wheel, timer);
	}
}

static uint64_t wheel_next_tick(const struct timer_wheel *wheel)
{
	for (unsigned level = 0; level < TIMER_LEVELS; level++) {
		unsigned now = wheel->tick >> (SLOT_BITS * level) & (TIMER_SLOTS - 1);
		uint64_t ahead = now + 1 < TIMER_SLOTS ? wheel->filled[level] >> (now + 1) << (now + 1) : 0;

		if (ahead) {
			uint64_t slot = (uint64_t)__builtin_ctzll(ahead);
			uint64_t above = wheel->tick >> (SLOT_BITS * (level + 1)) << (SLOT_BITS * (level + 1));

			return above | slot << (SLOT_BITS * level);
		}
	}
	/* Only slots behind the top digit are left: they are ahead after it wraps. */
	if (wheel->count)
		return ((wheel->tick >> (SLOT_BITS * TIMER_LEVELS)) + 1) << (SLOT_BITS * TIMER_LEVELS);
	return UINT64_MAX;
}

void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t last = now_ms / TIMER_TICK_MS;

	while (wheel->tick < last) {
		uint64_t next = wheel_next_tick(wheel);

		if (next > last) {
			wheel->tick = last;
			return;
		}
		wheel->tick = next;
		for (unsigned level = TIMER_LEVELS; level-- > 0;)
			if ((next & ((1ull << (SLOT_BITS * level)) - 1)) == 0)
				slot_run(wheel, level, next >> (SLOT_BITS * level) & (TIMER_SLOTS - 1));
	}
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t next = wheel_next_tick(wheel);

	if (next == UINT64_MAX)
		return UINT64_MAX;
	next *= TIMER_TICK_MS;
	return next > now_ms ? next - now_ms : 0;
}
