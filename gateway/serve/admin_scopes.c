/* Everything that is alive on all cores, as JSON. See gateway/serve/admin.h for how the cores are asked. */
#include "gateway/serve/admin.h"
#include "ring/dump.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct asked {                           /* one core's share */
	struct message message;
	struct gather *gather;
	json_t *scopes;                  /* an array, filled by the asked core */
	bool full;
};

struct gather {
	struct exchange *exchange;       /* NULL: it has ended */
	struct worker *worker;           /* core 0's */
	unsigned missing;                /* cores that have not answered */
	unsigned count;
	struct asked asked[];
};

/* ---- on the asked core ------------------------------------------------------------------------------------------------------ */

static void list_op(void *argument, const struct op *op)
{
	const struct core *core = op->scope->core;
	uint64_t age_ms = (core->now_ns - op->armed_ns) / 1000000;
	json_t *left = json_null();

	if (op->request.within_ms > 0)
		left = json_integer(op->request.within_ms > age_ms ? (json_int_t)(op->request.within_ms - age_ms) : 0);
	json_array_append_new(argument, json_pack("{s:s, s:I, s:b, s:o}", "name", op->name, "age_ms", (json_int_t)age_ms,
	                                          "cancelled", op->cancelled, "left_ms", left));
}

static void list_scope(void *argument, const struct dump_line *line)
{
	json_t *ops = json_array();

	dump_ops(line->scope, list_op, ops);
	json_array_append_new(argument, json_pack("{s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:i, s:o}",
		"core", (int)line->scope->core->index, "depth", (int)line->depth, "kind", line->kind, "step", line->step, "site", line->site,
		"state", line->state, "reason", line->reason, "age_ms", (json_int_t)line->age_ms, "deadline_ms",
		line->deadline_left_ms == UINT64_MAX ? json_null() : json_integer((json_int_t)line->deadline_left_ms),
		"bytes_held", (json_int_t)line->bytes_held, "timers", (int)line->timer_count, "ops", ops));
}

static bool same(const json_t *group, const char *key, const char *value)
{
	return strcmp(json_string_value(json_object_get(group, key)), value) == 0;
}

static void raise(json_t *group, const char *key, uint64_t by)
{
	json_t *number = json_object_get(group, key);

	json_integer_set(number, json_integer_value(number) + (json_int_t)by);
}

/* Adds a line to the group it belongs to. There are few groups, however many scopes there are. */
static void group_scope(json_t *groups, const char *kind, const char *step, const char *site, const char *state, uint64_t count,
                        uint64_t ops, uint64_t bytes, uint64_t age_ms)
{
	json_t *group;
	size_t i;

	json_array_foreach(groups, i, group) {
		if (same(group, "kind", kind) && same(group, "step", step) && same(group, "site", site) && same(group, "state", state)) {
			json_t *oldest = json_object_get(group, "oldest_ms");

			raise(group, "count", count);
			raise(group, "ops", ops);
			raise(group, "bytes_held", bytes);
			if (json_integer_value(oldest) < (json_int_t)age_ms)
				json_integer_set(oldest, (json_int_t)age_ms);
			return;
		}
	}
	json_array_append_new(groups, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "kind", kind, "step", step, "site", site,
		"state", state, "count", (json_int_t)count, "ops", (json_int_t)ops, "bytes_held", (json_int_t)bytes, "oldest_ms",
		(json_int_t)age_ms));
}

static void group_line(void *argument, const struct dump_line *line)
{
	group_scope(argument, line->kind, line->step, line->site, line->state, 1, line->op_count, line->bytes_held, line->age_ms);
}

static void answered(struct core *to, struct message *message);

static void ask(struct core *to, struct message *message)
{
	struct asked *asked = owner_of(message, struct asked, message);
	unsigned from = message->from;

	dump_scopes(to, asked->full ? list_scope : group_line, asked->scopes);
	message->deliver = answered;
	core_post(to, from, message);
}

/* ---- on core 0 ---------------------------------------------------------------------------------------------------------------- */

static void gather_free(struct gather *gather)
{
	for (unsigned i = 0; i < gather->count; i++)
		json_decref(gather->asked[i].scopes);
	gather->worker->gather_count--;
	free(gather);
}

static void answered(struct core *to, struct message *message)
{
	struct gather *gather = owner_of(message, struct asked, message)->gather;

	(void)to;
	gather->missing--;
	if (gather->exchange)
		task_wake(&gather->exchange->task);
	else if (gather->missing == 0)
		gather_free(gather);
}

struct gather *gather_begin(struct exchange *x, bool full)
{
	struct worker *worker = x->worker;
	const unsigned count = worker->gateway->cores.count;
	struct gather *gather;

	if (worker->gather_count >= ADMIN_GATHERS_MAX)
		return NULL;
	gather = calloc(1, sizeof *gather + count * sizeof gather->asked[0]);
	check(gather);
	worker->gather_count++;
	gather->exchange = x;
	gather->worker = worker;
	gather->count = count;
	for (unsigned i = 0; i < count; i++) {
		gather->asked[i] = (struct asked){
			.message = { .deliver = ask },
			.gather = gather,
			.scopes = json_array(),
			.full = full,
		};
		if (atomic_load(&worker->gateway->workers[i]->gone))
			continue; /* it has drained, and has nothing any more */
		gather->missing++;
		core_post(&worker->core, i, &gather->asked[i].message);
	}
	return gather;
}

void gather_end(struct gather *gather)
{
	gather->exchange = NULL;
	if (gather->missing == 0)
		gather_free(gather);
}

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *word(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

char *gather_text(struct gather *gather)
{
	json_t *all = json_array();
	json_t *page;
	char *text;

	if (gather->missing > 0) {
		json_decref(all);
		return NULL;
	}
	for (unsigned i = 0; i < gather->count; i++) {
		json_t *scope;
		size_t k;

		if (gather->asked[i].full) {
			json_array_extend(all, gather->asked[i].scopes);
			continue;
		}
		json_array_foreach(gather->asked[i].scopes, k, scope)
			group_scope(all, word(scope, "kind"), word(scope, "step"), word(scope, "site"), word(scope, "state"),
			            number(scope, "count"), number(scope, "ops"), number(scope, "bytes_held"), number(scope, "oldest_ms"));
	}
	page = json_pack("{s:o}", "scopes", all);
	text = json_dumps(page, JSON_COMPACT);
	json_decref(page);
	return text;
}
