/* A walk over the tree of scopes; see ring/dump.h. */
#include "ring/dump.h"

static unsigned list_count(const struct link *list)
{
	unsigned n = 0;

	for (const struct link *link = list->next; link != list; link = link->next)
		n++;
	return n;
}

static void dump_scope(const struct scope *scope, unsigned depth, dump_visit *visit, void *argument)
{
	uint64_t left_ms = UINT64_MAX;
	const char *waits = scope->kind->waits && scope_live(scope) ? scope->kind->waits(scope, &left_ms) : NULL;
	const struct dump_line line = {
		.scope = scope,
		.depth = depth,
		.kind = scope->kind->name,
		.step = scope->kind->step ? scope->kind->step(scope) : "",
		.site = scope->site,
		.state = scope_live(scope) ? "live" : "closing",
		.reason = scope->reason ? scope->reason->name : "",
		.age_ms = scope->core->now_ms - scope->opened_ms,
		.deadline_left_ms = scope->deadline.set ? timer_left_ms(&scope->deadline) : UINT64_MAX,
		.bytes_held = scope->kind->bytes_held ? scope->kind->bytes_held(scope) : 0,
		.waits = waits ? waits : "",
		.wait_left_ms = left_ms,
		.op_count = list_count(&scope->ops),
		.task_count = list_count(&scope->tasks),
		.timer_count = list_count(&scope->timers) - 1, /* its own deadline apart */
	};

	visit(argument, &line);
	for (const struct link *link = scope->children.next; link != &scope->children; link = link->next)
		dump_scope(owner_of(link, const struct scope, in_parent), depth + 1, visit, argument);
}

void dump_scopes(const struct core *core, dump_visit *visit, void *argument)
{
	dump_scope(&core->root, 0, visit, argument);
}

void dump_ops(const struct scope *scope, dump_visit_op *visit, void *argument)
{
	for (const struct link *link = scope->ops.next; link != &scope->ops; link = link->next)
		visit(argument, owner_of(link, const struct op, in_scope));
}
