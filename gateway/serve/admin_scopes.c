/* Everything that is alive on all cores. See gateway/serve/admin.h for how the cores are asked.
 *
 * A core that is asked only copies: a row for each scope, a row for each operation, no text. What takes time, the JSON, is made
 * on core 0 row by row, as the reader's pipe has room, so that ten thousand scopes delay nobody. All texts in a row are
 * constants of the program or stand in its configuration, which is why their pointers may cross to another core and outlive the
 * scope; a step that is told by anything shorter-lived (scope_kind.step, serve.where) would have to be copied here. */
#include "gateway/serve/admin.h"
#include "ring/dump.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct op_row {
	const char *name;
	uint64_t age_ms;
	uint64_t left_ms;                /* UINT64_MAX: it has no deadline */
	bool cancelled;
};

/* One scope, or one group of scopes that are alike. */
struct row {
	const char *kind, *step, *site, *state, *waits;
	const char *reason;              /* of one scope */
	unsigned depth;                  /* likewise */
	unsigned timer_count;            /* likewise */
	uint64_t deadline_ms;            /* likewise; UINT64_MAX: none */
	uint64_t wait_left_ms;           /* the shortest of a group; UINT64_MAX: without end */
	uint64_t age_ms;                 /* of the oldest */
	uint64_t bytes_held;
	uint64_t count;                  /* of scopes */
	uint64_t op_count;
	size_t op_first;                 /* of one scope: where its operations stand */
};

struct rows {
	struct row *all;
	size_t count, space;
	struct op_row *ops;
	size_t op_count, op_space;
};

struct asked {                           /* one core's share */
	struct message message;
	struct gather *gather;
	struct rows rows;                /* the asked core's, until it has answered */
	bool full;
	bool answered;                   /* on core 0 */
	bool listed;                     /* it had answered when the listing began */
};

struct gather {
	struct exchange *exchange;       /* NULL: it has ended */
	struct worker *worker;           /* core 0's */
	unsigned missing;                /* cores that have not answered */
	bool full;
	bool begun;                      /* the page's first bytes are out */
	bool whole;                      /* and its last */
	struct rows groups;
	unsigned at_core;                /* what is written next; with groups, core 0 */
	size_t at_row;
	uint64_t written;                /* rows */
	unsigned count;                  /* of cores */
	struct asked asked[];
};

/* Room for one more of `size` bytes. */
static void *room_for_one(void *all, size_t count, size_t *space, size_t size)
{
	if (count < *space)
		return all;
	*space = *space ? 2 * *space : 64;
	all = realloc(all, *space * size);
	check(all);
	return all;
}

static struct row *row_add(struct rows *rows, const struct row *row)
{
	rows->all = room_for_one(rows->all, rows->count, &rows->space, sizeof *rows->all);
	rows->all[rows->count] = *row;
	return &rows->all[rows->count++];
}

static void rows_free(struct rows *rows)
{
	free(rows->all);
	free(rows->ops);
	*rows = (struct rows){ 0 };
}

/* ---- on the asked core ------------------------------------------------------------------------------------------------------ */

static void copy_op(void *argument, const struct op *op)
{
	struct rows *rows = argument;
	/* An operation of this turn was started after the turn's clock was read. */
	const uint64_t now_ns = op->scope->core->now_ns;
	const uint64_t age_ms = now_ns > op->armed_ns ? (now_ns - op->armed_ns) / 1000000 : 0;
	const uint32_t within_ms = op->request.within_ms;

	rows->ops = room_for_one(rows->ops, rows->op_count, &rows->op_space, sizeof *rows->ops);
	rows->ops[rows->op_count++] = (struct op_row){
		.name = op->name,
		.age_ms = age_ms,
		.left_ms = within_ms == 0 ? UINT64_MAX : within_ms > age_ms ? within_ms - age_ms : 0,
		.cancelled = op->cancelled,
	};
}

static struct row row_of(const struct dump_line *line)
{
	return (struct row){
		.kind = line->kind,
		.step = line->step ? line->step : "",
		.site = line->site,
		.state = line->state,
		.reason = line->reason,
		.waits = line->waits,
		.wait_left_ms = line->wait_left_ms,
		.depth = line->depth,
		.timer_count = line->timer_count,
		.deadline_ms = line->deadline_left_ms,
		.age_ms = line->age_ms,
		.bytes_held = line->bytes_held,
		.count = 1,
		.op_count = line->op_count,
	};
}

static void copy_scope(void *argument, const struct dump_line *line)
{
	struct rows *rows = argument;
	struct row *row = row_add(rows, &(struct row){ 0 });

	*row = row_of(line);
	row->op_first = rows->op_count;
	dump_ops(line->scope, copy_op, rows);
	row->op_count = rows->op_count - row->op_first;
}

static bool same(const char *a, const char *b)
{
	return a == b || strcmp(a, b) == 0;
}

/* There are few groups, however many scopes there are. */
static void group_add(struct rows *groups, const struct row *row)
{
	for (size_t i = 0; i < groups->count; i++) {
		struct row *group = &groups->all[i];

		if (same(group->kind, row->kind) && same(group->step, row->step) && same(group->site, row->site) &&
		    same(group->state, row->state) && same(group->waits, row->waits)) {
			group->count += row->count;
			group->op_count += row->op_count;
			group->bytes_held += row->bytes_held;
			if (group->age_ms < row->age_ms)
				group->age_ms = row->age_ms;
			if (group->wait_left_ms > row->wait_left_ms)
				group->wait_left_ms = row->wait_left_ms;
			return;
		}
	}
	row_add(groups, row);
}

static void group_scope(void *argument, const struct dump_line *line)
{
	const struct row row = row_of(line);

	group_add(argument, &row);
}

static void answered(struct core *to, struct message *message);

static void ask(struct core *to, struct message *message)
{
	struct asked *asked = owner_of(message, struct asked, message);
	const unsigned from = message->from;

	dump_scopes(to, asked->full ? copy_scope : group_scope, &asked->rows);
	message->deliver = answered;
	core_post(to, from, message);
}

/* ---- on core 0 ---------------------------------------------------------------------------------------------------------------- */

static void gather_free(struct gather *gather)
{
	for (unsigned i = 0; i < gather->count; i++)
		rows_free(&gather->asked[i].rows);
	rows_free(&gather->groups);
	gather->worker->gather_count--;
	free(gather);
}

static void answered(struct core *to, struct message *message)
{
	struct asked *asked = owner_of(message, struct asked, message);
	struct gather *gather = asked->gather;

	(void)to;
	asked->answered = true;
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
	gather->full = full;
	gather->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct asked *asked = &gather->asked[i];

		*asked = (struct asked){ .message = { .deliver = ask }, .gather = gather, .full = full };
		if (atomic_load(&worker->gateway->workers[i]->gone)) {
			asked->answered = true; /* it has drained, and has nothing any more */
			continue;
		}
		gather->missing++;
		core_post(&worker->core, i, &asked->message);
	}
	return gather;
}

void gather_end(struct gather *gather)
{
	gather->exchange = NULL;
	if (gather->missing == 0)
		gather_free(gather);
}

bool gather_complete(const struct gather *gather)
{
	return gather->missing == 0;
}

/* ---- the page ----------------------------------------------------------------------------------------------------------------- */

/* A number, or null where there is none. */
static json_t *number_or_null(uint64_t number)
{
	return number == UINT64_MAX ? json_null() : json_integer((json_int_t)number);
}

static json_t *ops_json(const struct rows *rows, const struct row *row)
{
	json_t *ops = json_array();

	for (size_t i = row->op_first; i < row->op_first + row->op_count; i++) {
		const struct op_row *op = &rows->ops[i];

		json_array_append_new(ops, json_pack("{s:s, s:I, s:b, s:o}", "name", op->name, "age_ms", (json_int_t)op->age_ms,
		                                     "cancelled", op->cancelled, "left_ms", number_or_null(op->left_ms)));
	}
	return ops;
}

static json_t *scope_json(unsigned core, const struct rows *rows, const struct row *row)
{
	return json_pack("{s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:i, s:s, s:o, s:o}", "core", (int)core, "depth", (int)row->depth,
	                 "kind", row->kind, "step", row->step, "site", row->site, "state", row->state, "reason", row->reason,
	                 "age_ms", (json_int_t)row->age_ms, "deadline_ms", number_or_null(row->deadline_ms), "bytes_held",
	                 (json_int_t)row->bytes_held, "timers", (int)row->timer_count, "waits", row->waits, "wait_left_ms",
	                 number_or_null(row->wait_left_ms), "ops", ops_json(rows, row));
}

static json_t *group_json(const struct row *row)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I}", "kind", row->kind, "step", row->step, "site", row->site, "state",
	                 row->state, "waits", row->waits, "wait_left_ms", number_or_null(row->wait_left_ms), "count", (json_int_t)row->count, "ops", (json_int_t)row->op_count, "bytes_held",
	                 (json_int_t)row->bytes_held, "oldest_ms", (json_int_t)row->age_ms);
}

static void json_write(struct pipe *out, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	check(text);
	pipe_write(out, text, strlen(text));
	free(text);
	json_decref(value);
}

static void text_write(struct pipe *out, const char *text)
{
	pipe_write(out, text, strlen(text));
}

/* What is listed is settled here: a core that answers later is not in this page, however long that takes to be read. */
static void page_begin(struct gather *gather, struct pipe *out)
{
	gather->begun = true;
	for (unsigned i = 0; i < gather->count; i++) {
		struct asked *asked = &gather->asked[i];

		asked->listed = asked->answered;
		for (size_t k = 0; asked->listed && !gather->full && k < asked->rows.count; k++)
			group_add(&gather->groups, &asked->rows.all[k]);
	}
	text_write(out, "{\"scopes\":[");
}

/* The next row's rows, and `at_row` in them; NULL: all are written. */
static const struct rows *page_rows(struct gather *gather)
{
	if (!gather->full)
		return gather->at_row < gather->groups.count ? &gather->groups : NULL;
	for (; gather->at_core < gather->count; gather->at_core++, gather->at_row = 0) {
		const struct asked *asked = &gather->asked[gather->at_core];

		if (asked->listed && gather->at_row < asked->rows.count)
			return &asked->rows;
	}
	return NULL;
}

static void page_end(struct gather *gather, struct pipe *out)
{
	json_t *silent = json_array();

	for (unsigned i = 0; i < gather->count; i++)
		if (!gather->asked[i].listed)
			json_array_append_new(silent, json_integer((json_int_t)i));
	text_write(out, "\n]");
	if (json_array_size(silent) > 0) {
		text_write(out, ",\"cores_silent\":");
		json_write(out, silent);
	} else {
		json_decref(silent);
	}
	text_write(out, "}\n");
	gather->whole = true;
}

bool gather_write(struct gather *gather, struct pipe *out)
{
	const struct rows *rows;

	if (!gather->begun)
		page_begin(gather, out);
	while ((rows = page_rows(gather))) {
		const struct row *row = &rows->all[gather->at_row];

		if (pipe_free(out) == 0)
			return false;
		text_write(out, gather->written++ > 0 ? ",\n" : "\n");
		json_write(out, gather->full ? scope_json(gather->at_core, rows, row) : group_json(row));
		gather->at_row++;
	}
	if (!gather->whole)
		page_end(gather, out);
	return true;
}
