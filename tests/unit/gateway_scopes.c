/* The listing of scopes: two cores turned by hand, so that one can be as slow to answer as the test wants. */
#include "gateway/serve/admin_scopes.c"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

enum { CORES = 2, SCOPES = 10000 };

static const struct scope_kind plain_kind = { .name = "plain" };

struct desk {
	struct gateway gateway;
	struct worker *workers[CORES];
	struct core *all[CORES];
	struct exchange *x;              /* only what a gathering looks at */
	struct pipe out;
	unsigned steps;                  /* of the exchange's task */
	struct scope *scopes;            /* more of them, on core 1 */
};

static struct desk desk;

static void exchange_stepped(struct task *task)
{
	(void)task;
	desk.steps++;
}

static void desk_open(void)
{
	struct kernel_fault fault;

	desk = (struct desk){ .gateway = { .workers = desk.workers, .cores = { .count = CORES, .all = desk.all } } };
	for (unsigned i = 0; i < CORES; i++) {
		const struct core_options options = { .index = i, .cores = &desk.gateway.cores, .buffer_count = 16, .chunks_max = 1000 };

		desk.workers[i] = aligned_alloc(64, (sizeof(struct worker) + 63) / 64 * 64);
		memset(desk.workers[i], 0, sizeof(struct worker));
		desk.workers[i]->gateway = &desk.gateway;
		desk.all[i] = &desk.workers[i]->core;
		cr_assert(core_open(desk.all[i], &options, &fault), "%s", fault.sentence);
		desk.all[i]->gateway = desk.workers[i];
	}
	desk.x = calloc(1, sizeof *desk.x);
	desk.x->worker = desk.workers[0];
	scope_open(&desk.x->scope, &desk.all[0]->root, &plain_kind);
	task_init(&desk.x->task, &desk.x->scope, "exchange", exchange_stepped);
	pipe_init(&desk.out, &desk.all[0]->pool, PIPE_BYTES_MAX);
}

static void turn(unsigned core)
{
	core_turn(desk.all[core], false);
}

static void desk_close(void)
{
	pipe_fini(&desk.out);
	for (unsigned i = 0; i < CORES; i++)
		scope_close(&desk.all[i]->root, &RING_DONE);
	for (unsigned i = 0; i < CORES; i++)
		while (core_turn(desk.all[i], false)) {
		}
	/* As the program does it: what is left in the mailboxes is delivered when no core runs any more. */
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < CORES; i++)
			mailbox_deliver(desk.all[i]);
	cr_assert_eq(desk.workers[0]->gather_count, 0, "no gathering is left");
	for (unsigned i = 0; i < CORES; i++)
		core_close(desk.all[i]);
	for (unsigned i = 0; i < CORES; i++)
		free(desk.workers[i]);
	free(desk.x);
	free(desk.scopes);
}

TestSuite(gateway_scopes, .init = desk_open, .fini = desk_close);

static void more_scopes(unsigned count)
{
	desk.scopes = calloc(count, sizeof *desk.scopes);
	for (unsigned i = 0; i < count; i++)
		scope_open(&desk.scopes[i], &desk.all[1]->root, &plain_kind);
}

/* Both cores answer, however often each has to be turned. */
static struct gather *gathered(bool full)
{
	struct gather *gather = gather_begin(desk.x, full);

	for (unsigned i = 0; i < 4 && !gather_complete(gather); i++) {
		turn(0);
		turn(1);
	}
	cr_assert(gather_complete(gather));
	return gather;
}

/* The whole page, read by a reader who takes all there is each time; *parts says how often. */
static json_t *page_of(struct gather *gather, unsigned *parts)
{
	char *text = NULL;
	size_t size, n;
	FILE *all = open_memstream(&text, &size);
	json_error_t error;
	json_t *page;
	bool whole;

	*parts = 0;
	do {
		whole = gather_write(gather, &desk.out);
		cr_assert(desk.out.bytes <= PIPE_BYTES_MAX + 1024, "no more than the pipe has room for, and a row");
		for (uint8_t *bytes; (bytes = pipe_peek(&desk.out, &n)); pipe_consume(&desk.out, n))
			fwrite(bytes, 1, n, all);
		++*parts;
	} while (!whole);
	fclose(all);
	page = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	cr_assert(page, "%s at %d", error.text, error.position);
	free(text);
	return page;
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

Test(gateway_scopes, every_scope_of_every_core_is_a_line)
{
	struct gather *gather;
	unsigned parts;
	json_t *page, *lines;

	more_scopes(3);
	gather = gathered(true);
	cr_assert(desk.steps > 0, "whoever waits is woken");
	page = page_of(gather, &parts);
	gather_end(gather);
	lines = json_object_get(page, "scopes");
	cr_assert_null(json_object_get(page, "cores_silent"));
	cr_assert_eq(json_array_size(lines), 2 + 4);
	cr_assert_str_eq(text_of(json_array_get(lines, 0), "kind"), "core");
	cr_assert_eq(number_of(json_array_get(lines, 0), "depth"), 0);
	cr_assert_eq(number_of(json_array_get(lines, 1), "core"), 0);
	for (size_t i = 3; i < 6; i++) {
		const json_t *line = json_array_get(lines, i);

		cr_assert_eq(number_of(line, "core"), 1);
		cr_assert_eq(number_of(line, "depth"), 1);
		cr_assert_str_eq(text_of(line, "kind"), "plain");
		cr_assert_str_eq(text_of(line, "state"), "live");
		cr_assert_str_eq(text_of(line, "reason"), "");
		cr_assert(json_is_null(json_object_get(line, "deadline_ms")));
		cr_assert(json_is_array(json_object_get(line, "ops")));
		cr_assert_not_null(strstr(text_of(line, "site"), "gateway_scopes.c:"));
		cr_assert_eq(json_object_size(line), 14);
	}
	json_decref(page);
}

static void op_noted(struct op *op, const struct completion *completion)
{
	(void)op;
	(void)completion;
}

static void read_from(struct op *op, struct scope *scope, const char *name, int fd, uint32_t within_ms)
{
	static char byte;

	op_init(op, scope, name, op_noted);
	op->request = (struct kernel_request){
		.code = KERNEL_READ, .fd = fd, .bytes = &byte, .size = 1, .offset = -1, .within_ms = within_ms,
	};
	op_start(op);
}

static void has_op(const json_t *line, const char *name)
{
	const json_t *ops = json_object_get(line, "ops"), *op = json_array_get(ops, 0);

	cr_assert_eq(json_array_size(ops), 1);
	cr_assert_str_eq(text_of(op, "name"), name);
	cr_assert(json_is_false(json_object_get(op, "cancelled")));
	cr_assert(number_of(op, "age_ms") >= 0 && number_of(op, "age_ms") < 60000);
}

Test(gateway_scopes, a_line_tells_what_the_kernel_does_for_it_and_for_how_long)
{
	static struct op unbounded, bounded;
	struct scope *root = &desk.all[0]->root;
	struct gather *gather;
	unsigned parts;
	json_t *page, *lines;
	json_int_t left;
	int fds[2];

	cr_assert(pipe(fds) == 0);
	read_from(&unbounded, root, "unbounded", fds[0], 0);
	read_from(&bounded, &desk.x->scope, "bounded", fds[0], 60000);
	turn(0);
	gather = gathered(true);
	page = page_of(gather, &parts);
	gather_end(gather);
	lines = json_object_get(page, "scopes");
	has_op(json_array_get(lines, 0), "unbounded");
	cr_assert(json_is_null(json_object_get(json_array_get(json_object_get(json_array_get(lines, 0), "ops"), 0), "left_ms")));
	has_op(json_array_get(lines, 1), "bounded");
	left = number_of(json_array_get(json_object_get(json_array_get(lines, 1), "ops"), 0), "left_ms");
	cr_assert(left > 0 && left <= 60000, "%lld", (long long)left);
	json_decref(page);

	gather = gathered(false);
	page = page_of(gather, &parts);
	gather_end(gather);
	lines = json_object_get(page, "scopes");
	cr_assert_eq(number_of(json_array_get(lines, 0), "ops"), 1);
	cr_assert_eq(number_of(json_array_get(lines, 1), "ops"), 1);
	json_decref(page);

	op_cancel(&unbounded);
	op_cancel(&bounded);
	while (!op_idle(&unbounded) || !op_idle(&bounded))
		turn(0);
	close(fds[0]);
	close(fds[1]);
}

Test(gateway_scopes, scopes_that_are_alike_are_one_group_over_all_cores)
{
	struct gather *gather;
	unsigned parts;
	json_t *page, *groups, *group;
	json_int_t scopes = 0, cores = 0, plain = 0;
	size_t i;

	more_scopes(500);
	gather = gathered(false);
	page = page_of(gather, &parts);
	gather_end(gather);
	groups = json_object_get(page, "scopes");
	cr_assert_eq(json_array_size(groups), 3, "the roots, the exchange, the 500");
	json_array_foreach(groups, i, group) {
		scopes += number_of(group, "count");
		cores += strcmp(text_of(group, "kind"), "core") == 0 ? number_of(group, "count") : 0;
		plain = number_of(group, "count") > plain ? number_of(group, "count") : plain;
		cr_assert_eq(json_object_size(group), 10);
	}
	cr_assert_eq(scopes, 2 + 1 + 500);
	cr_assert_eq(cores, 2);
	cr_assert_eq(plain, 500);
	json_decref(page);
}

Test(gateway_scopes, ten_thousand_go_out_as_the_reader_takes_them)
{
	struct gather *gather;
	unsigned parts;
	json_t *page;

	more_scopes(SCOPES);
	gather = gathered(true);
	page = page_of(gather, &parts);
	gather_end(gather);
	cr_assert_eq(json_array_size(json_object_get(page, "scopes")), 2 + 1 + SCOPES);
	cr_assert(parts > 10, "%u", parts);
	json_decref(page);
}

Test(gateway_scopes, a_full_pipe_takes_nothing_more)
{
	struct gather *gather;
	uint64_t bytes;

	more_scopes(SCOPES);
	gather = gathered(true);
	cr_assert_not(gather_write(gather, &desk.out));
	bytes = desk.out.bytes;
	for (unsigned i = 0; i < 10; i++)
		cr_assert_not(gather_write(gather, &desk.out));
	cr_assert_eq(desk.out.bytes, bytes);
	gather_end(gather);
}

Test(gateway_scopes, a_core_that_does_not_answer_is_named_and_hides_no_other)
{
	for (unsigned full = 0; full < 2; full++) {
		struct gather *gather = gather_begin(desk.x, full);
		unsigned parts;
		json_t *page;

		turn(0);
		turn(0);
		cr_assert_not(gather_complete(gather));
		page = page_of(gather, &parts);
		cr_assert_eq(json_array_size(json_object_get(page, "scopes")), 2, "core 0's root and the exchange");
		cr_assert_eq(json_integer_value(json_array_get(json_object_get(page, "cores_silent"), 0)), 1);
		cr_assert_eq(json_array_size(json_object_get(page, "cores_silent")), 1);
		json_decref(page);
		gather_end(gather);
		cr_assert_eq(desk.workers[0]->gather_count, 1, "it waits for the late answer, and for nothing else");
		turn(1);
		turn(0);
		cr_assert_eq(desk.workers[0]->gather_count, 0);
	}
}

Test(gateway_scopes, an_answer_that_comes_while_the_page_is_read_is_not_half_in_it)
{
	struct gather *gather = gather_begin(desk.x, true);
	unsigned parts;
	json_t *page;

	turn(0);
	turn(0);
	page_begin(gather, &desk.out);
	turn(1);
	turn(0);
	cr_assert(gather_complete(gather));
	page = page_of(gather, &parts);
	cr_assert_eq(json_array_size(json_object_get(page, "scopes")), 2);
	cr_assert_eq(json_array_size(json_object_get(page, "cores_silent")), 1);
	json_decref(page);
	gather_end(gather);
}

/* The client leaves before, between and after the answers; and the cores end with questions or answers still in their mailboxes. */
Test(gateway_scopes, an_exchange_may_end_at_any_time)
{
	for (unsigned turns = 0; turns < 6; turns++) {
		struct gather *gather = gather_begin(desk.x, true);

		for (unsigned i = 0; i < turns; i++)
			turn((i + 1) % 2);
		gather_end(gather);
	}
	turn(1);
}

Test(gateway_scopes, a_drained_core_is_not_asked)
{
	struct gather *gather;
	unsigned parts;
	json_t *page;

	atomic_store(&desk.workers[1]->gone, true);
	gather = gather_begin(desk.x, true);
	turn(0);
	turn(0);
	cr_assert(gather_complete(gather));
	page = page_of(gather, &parts);
	cr_assert_null(json_object_get(page, "cores_silent"));
	cr_assert_eq(json_array_size(json_object_get(page, "scopes")), 2);
	json_decref(page);
	gather_end(gather);
}

Test(gateway_scopes, more_than_four_at_once_are_refused)
{
	struct gather *gathers[ADMIN_GATHERS_MAX];

	for (unsigned i = 0; i < ADMIN_GATHERS_MAX; i++) {
		gathers[i] = gather_begin(desk.x, true);
		cr_assert(gathers[i]);
	}
	cr_assert_null(gather_begin(desk.x, true));
	for (unsigned i = 0; i < ADMIN_GATHERS_MAX; i++)
		gather_end(gathers[i]);
	cr_assert_null(gather_begin(desk.x, true), "an unanswered one still counts: a core that hangs collects no questions");
	turn(0);
	turn(1);
	turn(0);
	gathers[0] = gather_begin(desk.x, false);
	cr_assert(gathers[0]);
	gather_end(gathers[0]);
}
