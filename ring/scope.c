/* See ring/scope.h. Closing goes down first and ends come up: a scope's `ended` is due when it has no op and no child left. */
#include "ring/scope.h"
#include "ring/core.h"
#include "ring/loop.h"

#define SCOPE_MAGIC 0x5c09e5c0u

void scope_open_at(struct scope *scope, struct scope *parent, const struct scope_kind *kind, const char *site)
{
	struct core *core = parent->core;

	check(parent->magic == SCOPE_MAGIC && scope_live(parent));
	*scope = (struct scope){
		.magic = SCOPE_MAGIC,
		.state = SCOPE_LIVE,
		.core = core,
		.parent = parent,
		.kind = kind,
		.site = site,
		.opened_ms = core->now_ms,
	};
	link_init(&scope->children);
	link_init(&scope->ops);
	link_init(&scope->tasks);
	link_init(&scope->timers);
	link_init(&scope->in_ended);
	timer_init(&scope->deadline, scope, NULL);
	link_put_last(&parent->children, &scope->in_parent);
	stat_add(&core->stats.scopes_opened, 1);
}

/* The root stands under no scope; the core itself opens it. */
void scope_open_root(struct scope *scope, struct core *core, const struct scope_kind *kind, const char *site)
{
	struct scope nothing = { .magic = SCOPE_MAGIC, .state = SCOPE_LIVE, .core = core };

	link_init(&nothing.children);
	scope_open_at(scope, &nothing, kind, site);
	link_remove(&scope->in_parent);
	scope->parent = NULL;
}

/* `ended` is never called from here: whoever closes a scope goes on using it until his step returns. */
void scope_check_ended(struct scope *scope)
{
	if (scope->state == SCOPE_CLOSING && link_alone(&scope->children) && link_alone(&scope->ops) &&
	    link_alone(&scope->in_ended))
		link_put_last(&scope->core->ended, &scope->in_ended);
}

void scope_close(struct scope *scope, const struct reason *reason)
{
	check(scope->magic == SCOPE_MAGIC);
	if (!scope_live(scope))
		return;
	scope->state = SCOPE_CLOSING;
	scope->reason = reason;
	for (struct link *link = scope->children.next; link != &scope->children; link = link->next)
		scope_close(owner_of(link, struct scope, in_parent), &RING_PARENT_CLOSED);
	for (struct link *link = scope->ops.next; link != &scope->ops; link = link->next)
		op_cancel(owner_of(link, struct op, in_scope));
	for (struct link *link = scope->tasks.next; link != &scope->tasks; link = link->next)
		link_remove(&owner_of(link, struct task, in_scope)->in_run);
	for (struct link *link = scope->timers.next; link != &scope->timers; link = link->next)
		timer_clear(owner_of(link, struct timer, in_scope));
	scope_check_ended(scope);
}

void scope_deadline(struct scope *scope, uint64_t ms, const struct reason *reason)
{
	if (!scope_live(scope))
		return;
	timer_clear(&scope->deadline);
	scope->deadline.closes = reason;
	if (ms > 0)
		timer_set(&scope->deadline, ms);
}

/* The one exit. The struct around the scope may be gone when kind->ended returns. */
void scope_run_ended(struct scope *scope)
{
	struct core *core = scope->core;
	struct scope *parent = scope->parent;

	check(link_alone(&scope->children) && link_alone(&scope->ops));
	scope->state = SCOPE_ENDED;
	for (struct link *link; (link = link_take_first(&scope->tasks));)
		owner_of(link, struct task, in_scope)->scope = NULL;
	while (link_take_first(&scope->timers)) {
	}
	link_remove(&scope->in_parent);
	stat_add(&core->stats.scopes_ended, 1);
	if (scope->kind->ended)
		scope->kind->ended(scope);
	if (parent)
		scope_check_ended(parent);
}
