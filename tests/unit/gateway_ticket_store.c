/* The keys' life: real files, real cores (turned by hand, on one thread), a wall clock of our own. */
#include "ring/kernel.h"

#include <stdint.h>

static uint64_t wall_s = 1700000000;

static uint64_t wall_of_test(const struct kernel *kernel)
{
	(void)kernel;
	return wall_s * 1000000000;
}

#define kernel_wall_ns wall_of_test
#include "gateway/ticket_store.c"
#undef kernel_wall_ns

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "psa/crypto.h"

#include <dirent.h>
#include <signal.h>

#define CORES 2u
#define LIFETIME_S 43200u
#define LIFETIME_MS (LIFETIME_S * 1000)
#define TURNS_MAX 100000u

static char directory[64], state[128], path[192], draft[192];

static void setup(void)
{
	strcpy(directory, "/tmp/ticket_store_XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(state, sizeof state, "%s/a/state", directory);
	snprintf(path, sizeof path, "%s/" FILE_NAME, state);
	snprintf(draft, sizeof draft, "%s/" DRAFT_NAME, state);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	cr_assert_eq(system(command), 0);
	mbedtls_psa_crypto_free();
}

TestSuite(gateway_ticket_store, .init = setup, .fini = teardown);

/* ---- what is looked at ---- */

static mode_t mode_of(const char *name)
{
	struct stat status;

	return lstat(name, &status) == 0 ? status.st_mode & 07777 : 0;
}

static size_t file_bytes(const char *name, uint8_t *to, size_t size)
{
	FILE *file = fopen(name, "r");
	size_t n = file ? fread(to, 1, size, file) : 0;

	if (file)
		fclose(file);
	return n;
}

static void file_write(const char *name, const uint8_t *bytes, size_t n)
{
	FILE *file = fopen(name, "w");

	cr_assert_not_null(file);
	cr_assert_eq(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

/* What the file holds; NULL: nothing good. */
static struct ticket_keys *kept(void)
{
	uint8_t bytes[1024];
	const struct reason *why;

	return ticket_keys_decode(bytes, file_bytes(path, bytes, sizeof bytes), &why);
}

static bool kept_is(const struct ticket_keys *keys)
{
	struct ticket_keys *file = kept();
	bool same = file && file->count == keys->count && memcmp(file->keys, keys->keys, keys->count * sizeof *keys->keys) == 0;

	ticket_keys_put(file);
	return same;
}

static unsigned files_in(const char *name)
{
	DIR *opened = opendir(name);
	unsigned count = 0;

	cr_assert_not_null(opened);
	for (struct dirent *entry; (entry = readdir(opened));)
		count += entry->d_name[0] != '.';
	closedir(opened);
	return count;
}

static void opened(struct ticket_store *store, const char *where)
{
	ticket_store_open(store, where, LIFETIME_MS, CORES, wall_s, CONFIG_LOG_INFO);
}

/* All that was said on standard error since cr_redirect_stderr. */
static void said(const char *words)
{
	char text[4096] = "";
	FILE *heard = cr_get_redirected_stderr();
	size_t n;

	fflush(stderr);
	n = fread(text, 1, sizeof text - 1, heard);
	text[n] = 0;
	if (words)
		cr_assert(strstr(text, words), "wanted \"%s\", heard \"%s\"", words, text);
	else
		cr_assert_str_empty(text);
}

/* ---- start ---- */

Test(gateway_ticket_store, the_first_start_makes_directory_file_and_one_key, .init = cr_redirect_stderr)
{
	struct ticket_store store;

	opened(&store, state);
	cr_assert_eq(store.keys->count, 1);
	cr_assert_eq(store.keys->keys[0].made_s, wall_s);
	cr_assert(kept_is(store.keys));
	cr_assert_eq(mode_of(path), 0600);
	cr_assert_eq(mode_of(state), 0700);
	cr_assert_eq(files_in(state), 1);
	ticket_store_close(&store);
	ticket_store_close(&store);
	cr_assert_eq(mode_of(path), 0600, "it stays for the next start");
	said(NULL);
}

Test(gateway_ticket_store, a_restart_takes_the_keys_that_there_are)
{
	struct ticket_store store;
	struct ticket_keys *before;

	opened(&store, state);
	before = ticket_keys_take(store.keys);
	ticket_store_close(&store);
	wall_s += LIFETIME_S / 2 - 1;
	opened(&store, state);
	cr_assert_eq(store.keys->count, 1);
	cr_assert_arr_eq(store.keys->keys, before->keys, sizeof *before->keys);
	ticket_store_close(&store);

	/* Half a lifetime old: a new one before it, and the file has both. */
	wall_s += 1;
	opened(&store, state);
	cr_assert_eq(store.keys->count, 2);
	cr_assert_arr_eq(&store.keys->keys[1], before->keys, sizeof *before->keys);
	cr_assert(kept_is(store.keys));
	ticket_store_close(&store);
	ticket_keys_put(before);
}

Test(gateway_ticket_store, a_key_from_the_future_is_followed_at_once)
{
	struct ticket_store store;

	opened(&store, state);
	ticket_store_close(&store);
	wall_s -= AHEAD_MAX_S;
	opened(&store, state);
	cr_assert_eq(store.keys->count, 1, "two clocks may differ by a minute");
	ticket_store_close(&store);
	wall_s -= 1;
	opened(&store, state);
	cr_assert_eq(store.keys->count, 2);
	cr_assert_eq(store.keys->keys[0].made_s, wall_s);
	ticket_store_close(&store);
}

Test(gateway_ticket_store, nothing_is_kept_where_no_directory_is_given, .init = cr_redirect_stderr)
{
	struct ticket_store store;

	opened(&store, NULL);
	cr_assert_eq(store.keys->count, 1);
	ticket_store_close(&store);
	said(NULL);
}

Test(gateway_ticket_store, a_damaged_file_is_told_and_replaced)
{
	struct ticket_store store;
	uint8_t good[TICKET_FILE_BYTES_MAX], bytes[TICKET_FILE_BYTES_MAX + 64] = { 0 };
	size_t n;

	opened(&store, state);
	ticket_store_close(&store);
	n = file_bytes(path, good, sizeof good);
	for (size_t i = 0; i <= n; i++) {
		/* Each byte changed; then the whole thing too long. */
		memcpy(bytes, good, n);
		bytes[i < n ? i : 0] ^= i < n;
		file_write(path, bytes, i < n ? n : sizeof bytes);
		opened(&store, state);
		cr_assert_eq(store.keys->count, 1, "byte %zu", i);
		cr_assert_arr_neq(store.keys->keys[0].name, good + 12, TICKET_NAME_BYTES, "byte %zu", i);
		cr_assert(kept_is(store.keys), "byte %zu", i);
		ticket_store_close(&store);
	}
}

Test(gateway_ticket_store, a_damaged_file_is_told_by_name, .init = cr_redirect_stderr)
{
	struct ticket_store store;

	opened(&store, state);
	ticket_store_close(&store);
	file_write(path, (const uint8_t *)"hello, this is no key", 21);
	opened(&store, state);
	ticket_store_close(&store);
	said("/ticket.keys: ticket_file_foreign: the file is no file of ticket keys; new keys are made");
}

Test(gateway_ticket_store, a_file_that_others_could_read_is_tightened_and_its_key_seals_no_more, .init = cr_redirect_stderr)
{
	struct ticket_store store;
	struct ticket_keys *before;

	opened(&store, state);
	before = ticket_keys_take(store.keys);
	ticket_store_close(&store);
	cr_assert_eq(chmod(path, 0640), 0);
	opened(&store, state);
	cr_assert_eq(mode_of(path), 0600);
	cr_assert_eq(store.keys->count, 2);
	cr_assert_arr_eq(&store.keys->keys[1], before->keys, sizeof *before->keys);
	ticket_store_close(&store);
	ticket_keys_put(before);
	said("its mode lets others at the keys: it is 0600 now");
}

Test(gateway_ticket_store, what_is_no_file_of_ours_is_not_used)
{
	struct ticket_store store;
	char other[192];

	opened(&store, state);
	ticket_store_close(&store);

	/* A symbolic link is somebody's idea of another place. */
	snprintf(other, sizeof other, "%s/other", directory);
	cr_assert_eq(rename(path, other), 0);
	cr_assert_eq(symlink(other, path), 0);
	wall_s += 10;
	opened(&store, state);
	cr_assert_eq(store.keys->keys[0].made_s, wall_s);
	cr_assert(kept_is(store.keys));
	ticket_store_close(&store);

	/* A pipe would be waited for. */
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkfifo(path, 0600), 0);
	wall_s += 10;
	opened(&store, state);
	cr_assert_eq(store.keys->keys[0].made_s, wall_s);
	cr_assert(kept_is(store.keys));
	ticket_store_close(&store);

	/* A directory cannot even be replaced. */
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkdir(path, 0700), 0);
	opened(&store, state);
	cr_assert_eq(store.keys->count, 1);
	cr_assert_eq(store.saves_failed, 1);
	cr_assert_eq(mode_of(draft), 0, "no draft is left");
	ticket_store_close(&store);
}

Test(gateway_ticket_store, another_users_file_is_not_used)
{
	struct ticket_store store;

	if (geteuid() != 0)
		cr_skip_test("only root can give a file away");
	opened(&store, state);
	ticket_store_close(&store);
	cr_assert_eq(chown(path, 65534, 65534), 0);
	wall_s += 10;
	opened(&store, state);
	cr_assert_eq(store.keys->keys[0].made_s, wall_s);
	cr_assert_eq(store.keys->count, 1);
	cr_assert(kept_is(store.keys));
	ticket_store_close(&store);
}

/* Root may write everywhere, so the way is blocked by a file. */
Test(gateway_ticket_store, without_a_directory_the_keys_are_in_memory_and_it_goes_on, .init = cr_redirect_stderr)
{
	struct ticket_store store;
	char parent[128];

	snprintf(parent, sizeof parent, "%s/a", directory);
	file_write(parent, (const uint8_t *)"", 0);
	opened(&store, state);
	cr_assert_eq(store.keys->count, 1);
	cr_assert_eq(store.directory, -1);
	ticket_store_close(&store);
	said("its directory cannot be opened: Not a directory; the keys of TLS tickets are in memory only");
}

Test(gateway_ticket_store, the_draft_of_a_process_that_died_is_in_nobodys_way)
{
	struct ticket_store store;

	opened(&store, state);
	ticket_store_close(&store);
	file_write(draft, (const uint8_t *)"half", 4);
	wall_s += LIFETIME_S;
	opened(&store, state);
	cr_assert(kept_is(store.keys));
	cr_assert_eq(files_in(state), 1);
	ticket_store_close(&store);
}

/* ---- rotation ---- */

struct rig {
	struct ticket_store store;
	struct core cores[CORES];
	struct core *all[CORES];
	struct cores list;
	struct ticket_holder holders[CORES];
};

static void rig_open(struct rig *r, const char *where)
{
	memset(r, 0, sizeof *r);
	r->list = (struct cores){ .count = CORES, .all = r->all };
	opened(&r->store, where);
	for (unsigned i = 0; i < CORES; i++) {
		const struct core_options options = { .index = i, .cores = &r->list, .buffer_count = 8, .chunks_max = 64 };
		struct kernel_fault fault;

		r->all[i] = &r->cores[i];
		cr_assert(core_open(&r->cores[i], &options, &fault), "%s", fault.sentence);
	}
	for (unsigned i = 0; i < CORES; i++)
		ticket_store_attach(&r->store, &r->cores[i], &r->holders[i]);
	ticket_store_start(&r->store, &r->cores[0]);
}

static void rig_turn(struct rig *r)
{
	for (unsigned i = 0; i < CORES; i++)
		core_turn(&r->cores[i], false);
}

/* Until nothing is under way: keys are everywhere and on disk. */
static void rig_settle(struct rig *r)
{
	for (unsigned turns = 0;; turns++) {
		bool same = true;

		cr_assert(turns < TURNS_MAX, "it never settles");
		rig_turn(r);
		for (unsigned i = 0; i < CORES; i++)
			same &= r->holders[i].keys == r->store.keys;
		if (same && r->store.step == 0 && !r->store.unsaved && op_idle(&r->store.op) && turns > 2)
			return;
	}
}

static void rig_end(struct rig *r)
{
	for (unsigned i = CORES; i-- > 0;) {
		scope_close(&r->cores[i].root, &RING_DONE);
		core_run(&r->cores[i]);
		ticket_store_detach(&r->store, &r->cores[i]);
		ticket_store_detach(&r->store, &r->cores[i]);
	}
	for (unsigned i = 0; i < CORES; i++)
		mailbox_deliver(&r->cores[i]);
	for (unsigned i = 0; i < CORES; i++)
		core_close(&r->cores[i]);
}

static void rig_close(struct rig *r)
{
	rig_end(r);
	ticket_store_close(&r->store);
}

Test(gateway_ticket_store, all_cores_begin_with_the_same_keys_and_the_timer_knows_when)
{
	struct rig r;

	rig_open(&r, state);
	rig_settle(&r);
	cr_assert_eq(r.store.rotations, 0);
	cr_assert_eq(r.holders[0].keys, r.holders[1].keys);
	cr_assert_eq(atomic_load(&r.store.keys->references), 1 + CORES);
	/* At least once an hour, because the clock may be set; the last time exactly when it is due. */
	cr_assert(timer_left_ms(&r.store.timer) <= 3600 * 1000 + 2 * TIMER_TICK_MS);
	cr_assert(timer_left_ms(&r.store.timer) > 3590 * 1000);
	wall_s += LIFETIME_S / 2 - 5;
	task_wake(&r.store.task);
	rig_settle(&r);
	cr_assert_eq(r.store.rotations, 0);
	cr_assert(timer_left_ms(&r.store.timer) <= 5 * 1000 + 2 * TIMER_TICK_MS);
	cr_assert(timer_left_ms(&r.store.timer) > 4 * 1000);
	rig_close(&r);
}

Test(gateway_ticket_store, after_half_a_lifetime_every_core_and_the_file_have_the_next_keys)
{
	struct rig r;

	rig_open(&r, state);
	rig_settle(&r);
	for (unsigned i = 1; i <= 5; i++) {
		uint8_t before[TICKET_NAME_BYTES];

		memcpy(before, r.store.keys->keys[0].name, sizeof before);
		wall_s += LIFETIME_S / 2;
		task_wake(&r.store.task);
		rig_settle(&r);
		cr_assert_eq(r.store.rotations, i);
		cr_assert_eq(r.store.keys->count, i < 2 ? i + 1 : 3);
		cr_assert_arr_eq(r.store.keys->keys[1].name, before, sizeof before);
		cr_assert_eq(atomic_load(&r.store.keys->references), 1 + CORES, "the set before has gone");
		cr_assert(kept_is(r.store.keys));
		cr_assert_eq(mode_of(path), 0600);
		cr_assert_eq(files_in(state), 1);
	}
	cr_assert_eq(r.store.saves_failed, 0);
	rig_close(&r);
}

/* Nobody wakes it but the timer. */
Test(gateway_ticket_store, the_timer_rotates)
{
	struct rig r;

	rig_open(&r, state);
	ticket_store_set_lifetime(&r.store, 2000);
	rig_settle(&r);
	wall_s += 1;
	for (unsigned turns = 0; r.store.rotations == 0; turns++) {
		cr_assert(turns < 1000);
		core_turn(&r.cores[0], true);
	}
	rig_settle(&r);
	cr_assert_eq(r.store.rotations, 1);
	rig_close(&r);
}

Test(gateway_ticket_store, with_nothing_kept_rotation_asks_the_kernel_for_nothing)
{
	struct rig r;

	rig_open(&r, NULL);
	rig_settle(&r);
	wall_s += LIFETIME_S;
	task_wake(&r.store.task);
	rig_settle(&r);
	cr_assert_eq(r.store.rotations, 1);
	cr_assert_eq(stat_read(&r.cores[0].stats.ops_started), 0);
	rig_close(&r);
}

Test(gateway_ticket_store, a_write_that_fails_is_told_and_the_next_one_tried, .init = cr_redirect_stderr)
{
	struct rig r;

	rig_open(&r, state);
	rig_settle(&r);
	/* A directory in the draft's place that cannot be removed as a file. */
	cr_assert_eq(mkdir(draft, 0700), 0);
	wall_s += LIFETIME_S / 2;
	task_wake(&r.store.task);
	rig_settle(&r);
	cr_assert_eq(r.store.rotations, 1);
	cr_assert_eq(r.store.saves_failed, 1);
	cr_assert(!kept_is(r.store.keys));
	cr_assert_eq(rmdir(draft), 0);
	wall_s += LIFETIME_S / 2;
	task_wake(&r.store.task);
	rig_settle(&r);
	cr_assert_eq(r.store.saves_failed, 1);
	cr_assert(kept_is(r.store.keys));
	rig_close(&r);
	said("/ticket.keys: cannot be written: File exists; the keys of TLS tickets are in memory only");
}

/* What the kernel brings, exchanged for what a dying disk would. */
static void note_failure(struct op *op, const struct completion *completion)
{
	const struct completion failed = { .result = -EIO };

	(void)completion;
	op->done = op_noted;
	op_noted(op, &failed);
}

Test(gateway_ticket_store, an_operation_that_fails_leaves_the_old_file_and_no_draft)
{
	static const unsigned FAILING[] = { 1, 2 };      /* writing, syncing */
	struct rig r;

	rig_open(&r, state);
	rig_settle(&r);
	for (unsigned i = 0; i < array_count(FAILING); i++) {
		struct ticket_keys *before = ticket_keys_take(r.store.keys);
		unsigned turns = 0;

		cr_assert(kept_is(before));
		wall_s += LIFETIME_S / 2;
		task_wake(&r.store.task);
		while (r.store.step != FAILING[i] || op_idle(&r.store.op)) {
			cr_assert(turns++ < TURNS_MAX);
			rig_turn(&r);
		}
		r.store.op.done = note_failure;
		rig_settle(&r);
		cr_assert_eq(r.store.saves_failed, i + 1);
		cr_assert(kept_is(before), "step %u", FAILING[i]);
		cr_assert_eq(files_in(state), 1);
		ticket_keys_put(before);
		/* And good again, for the next round. */
		r.store.unsaved = true;
		task_wake(&r.store.task);
		rig_settle(&r);
	}
	rig_close(&r);
}

/* The program ends in the middle of a rotation, wherever that is: what was published is kept, and nothing is left over. */
Test(gateway_ticket_store, an_end_in_the_middle_of_a_rotation_loses_no_key)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		struct ticket_keys *last;
		struct rig r;

		rig_open(&r, state);
		rig_settle(&r);
		wall_s += LIFETIME_S / 2;
		task_wake(&r.store.task);
		for (unsigned i = 0; i < turns; i++)
			rig_turn(&r);
		if (turns == 0)
			core_turn(&r.cores[0], false);
		rig_end(&r);
		cr_assert_eq(mode_of(draft), 0, "after %u turns", turns);
		last = ticket_keys_take(r.store.keys);
		cr_assert_eq(atomic_load(&last->references), 2, "after %u turns", turns);
		ticket_store_close(&r.store);
		cr_assert(kept_is(last), "after %u turns", turns);
		cr_assert_eq(files_in(state), 1);
		ticket_keys_put(last);
	}
}

Test(gateway_ticket_store, a_step_is_named_for_people)
{
	struct rig r;

	rig_open(&r, state);
	rig_settle(&r);
	cr_assert_str_eq(store_where(&r.store.scope), "resting");
	wall_s += LIFETIME_S;
	task_wake(&r.store.task);
	core_turn(&r.cores[0], false);
	cr_assert_str_eq(store_where(&r.store.scope), "writing");
	rig_close(&r);
}

Test(gateway_ticket_store, a_lifetime_is_a_second_to_seven_days)
{
	cr_assert_eq(lifetime_of(0), 1);
	cr_assert_eq(lifetime_of(999), 1);
	cr_assert_eq(lifetime_of(2500), 2);
	cr_assert_eq(lifetime_of(UINT32_MAX), TICKET_LIFETIME_MAX_S);
}

Test(gateway_ticket_store, closing_while_a_core_still_holds_keys_is_our_mistake, .signal = SIGABRT)
{
	struct ticket_store store;
	struct ticket_holder holder;
	struct core core = { .index = 1 };

	opened(&store, NULL);
	ticket_store_attach(&store, &core, &holder);
	ticket_store_close(&store);
}
