/* ring/scope.h — a lifetime: what belongs together, is cancelled together, and is waited for.
 *
 *   scope_open ─▶ LIVE ──scope_close──▶ CLOSING ── last op and last child gone ──▶ `ended` runs, once ─▶ (freed)
 *
 * A scope owns operations of the kernel, tasks, timers and child scopes. Closing it closes the children first, cancels
 * every operation in flight, and stops its tasks and timers at once: the tasks of a closed scope run no more, so no step
 * ever asks "am I cancelled?". Its operations still complete, to give back what was lent. When the last one has, `ended`
 * runs from the core's loop, never inside scope_close; only there memory is freed and a descriptor closed (close does not
 * cancel, so nothing may be in flight). The first reason for closing sticks.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: ms of the core's clock.
 * Errors: none.   Limits: depth is small by design (core ▷ connection ▷ exchange ▷ attempt); closing recurses. */
#ifndef RING_SCOPE_H
#define RING_SCOPE_H

#include "ring/base.h"
#include "ring/reason.h"
#include "ring/timer.h"

struct core;
struct scope;

enum scope_state { SCOPE_LIVE = 1, SCOPE_CLOSING, SCOPE_ENDED };

struct scope_kind {
	const char *name;                              /* "connection": for dumps and metrics */
	const char *(*step)(const struct scope *);     /* where it stands, for people; may be NULL */
	size_t (*bytes_held)(const struct scope *);    /* in its pipes and buffers; may be NULL */
	/* What it waits for, in a constant's words, and for how many ms more (UINT64_MAX: without end); NULL: nothing. May be NULL. */
	const char *(*waits)(const struct scope *, uint64_t *left_ms);
	void (*ended)(struct scope *);                 /* the one exit; may free the struct around the scope; may be NULL */
};

struct scope {
	uint32_t magic;
	uint8_t state;                   /* enum scope_state */
	struct core *core;
	struct scope *parent;            /* NULL only for a core's root */
	const struct scope_kind *kind;
	const struct reason *reason;     /* why it was closed; NULL while live */
	const char *site;                /* where it was opened: "gateway/conn.c:120" */
	uint64_t opened_ms;
	struct link in_parent;
	struct link children;
	struct link ops;
	struct link tasks;
	struct link timers;
	struct link in_ended;            /* the core's list of scopes whose `ended` is due */
	struct timer deadline;           /* scope_deadline */
};

#define SCOPE_SITE_TEXT(line) #line
#define SCOPE_SITE_LINE(line) SCOPE_SITE_TEXT(line)

/* check: the parent is live. */
#define scope_open(scope, parent, kind) scope_open_at((scope), (parent), (kind), __FILE__ ":" SCOPE_SITE_LINE(__LINE__))

void scope_open_at(struct scope *, struct scope *parent, const struct scope_kind *, const char *site);

/* Harmless on a scope that is closed already: the first reason stays. */
void scope_close(struct scope *, const struct reason *);

/* Closes the scope with `reason` in `ms` from now; 0 takes the deadline away. A new one replaces the old. */
void scope_deadline(struct scope *, uint64_t ms, const struct reason *reason);

static inline bool scope_live(const struct scope *scope)
{
	return scope->state == SCOPE_LIVE;
}

#endif
