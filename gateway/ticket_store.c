/* See gateway/ticket_store.h. */
#include "gateway/ticket_store.h"
#include "gateway/log.h"
#include "tls/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MAGIC 0x71c4e757u
#define FILE_NAME "ticket.keys"
#define DRAFT_NAME "ticket.keys.new"

/* The wall clock may be set, and the core's own stands still while a machine sleeps, so the wait is never one long one. */
#define LOOK_AGAIN_S 3600u

#define AHEAD_MAX_S (TICKET_AHEAD_MAX_MS / 1000)

/* ---- telling ---- */

static void say(const struct ticket_store *store, const char *what, const char *why, const char *then)
{
	log_say(store->level, CONFIG_LOG_WARN, "%s/" FILE_NAME ": %s: %s; %s", store->directory_name, what, why, then);
}

static void say_unsaved(struct ticket_store *store, const char *what, int error)
{
	store->saves_failed++;
	say(store, what, strerror(error), "the keys of TLS tickets are in memory only, so that after a restart clients make full handshakes");
}

/* ---- the directory ---- */

/* Every directory on the way; those that are there already are fine. What cannot be made is told by the open that follows. */
static void make_directories(const char *path)
{
	char *copy = strdup(path);

	check(copy);
	for (char *at = copy + 1; *copy && *at; at++) {
		if (*at == '/') {
			*at = 0;
			mkdir(copy, 0700);
			*at = '/';
		}
	}
	mkdir(copy, 0700);
	free(copy);
}

static void directory_open(struct ticket_store *store)
{
	if (!store->directory_name)
		return;
	make_directories(store->directory_name);
	store->directory = open(store->directory_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->directory < 0)
		say_unsaved(store, "its directory cannot be opened", errno);
}

/* ---- reading ---- */

/* A file that others might have put there, or read, is not trusted; *exposed: it was open to others, and is not any more. */
static bool file_is_ours(const struct ticket_store *store, int fd, bool *exposed)
{
	struct stat status;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		say(store, "not used", "it is no regular file", "new keys are made");
		return false;
	}
	if (status.st_uid != geteuid()) {
		say(store, "not used", "it belongs to another user", "new keys are made");
		return false;
	}
	if (status.st_mode & 077) {
		*exposed = true;
		say(store, "its mode lets others at the keys", fchmod(fd, 0600) == 0 ? "it is 0600 now" : strerror(errno),
			"new tickets are sealed with a new key");
	}
	return true;
}

static struct ticket_keys *bytes_read(const struct ticket_store *store, int fd)
{
	uint8_t bytes[TICKET_FILE_BYTES_MAX + 1];        /* one more tells that it is too long */
	const struct reason *why = NULL;
	struct ticket_keys *keys = NULL;
	size_t n = 0;
	ssize_t got = 1;

	while (got != 0 && n < sizeof bytes) {
		got = read(fd, bytes + n, sizeof bytes - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			say(store, "cannot be read", strerror(errno), "new keys are made");
			break;
		}
		n += (size_t)got;
	}
	if (got >= 0) {
		keys = ticket_keys_decode(bytes, n, &why);
		if (!keys)
			say(store, why->name, why->sentence, "new keys are made");
	}
	tls_zeroise(bytes, sizeof bytes);
	return keys;
}

static struct ticket_keys *file_read(const struct ticket_store *store, bool *exposed)
{
	struct ticket_keys *keys = NULL;
	int fd;

	if (store->directory < 0)
		return NULL;
	/* O_NONBLOCK: a pipe of that name would keep us waiting for ever. */
	fd = openat(store->directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)
			say(store, "cannot be read", strerror(errno), "new keys are made");
		return NULL;
	}
	if (file_is_ours(store, fd, exposed))
		keys = bytes_read(store, fd);
	close(fd);
	return keys;
}

/* ---- writing: what both ways have in common ---- */

/* The present set as bytes, and an empty file for them that nobody else has open. */
static bool draft_open(struct ticket_store *store)
{
	unlinkat(store->directory, DRAFT_NAME, 0);       /* of a process that ended in the middle */
	store->draft = openat(store->directory, DRAFT_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->draft < 0) {
		say_unsaved(store, "cannot be written", errno);
		return false;
	}
	store->file_bytes = ticket_keys_encode(store->keys, store->file);
	store->written = 0;
	return true;
}

static void draft_close(struct ticket_store *store)
{
	close(store->draft);
	store->draft = -1;
	tls_zeroise(store->file, sizeof store->file);
}

static void draft_drop(struct ticket_store *store)
{
	draft_close(store);
	unlinkat(store->directory, DRAFT_NAME, 0);
}

static bool draft_rename(struct ticket_store *store)
{
	draft_close(store);
	if (renameat(store->directory, DRAFT_NAME, store->directory, FILE_NAME) == 0)
		return true;
	say_unsaved(store, "cannot be replaced", errno);
	unlinkat(store->directory, DRAFT_NAME, 0);
	return false;
}

/* Some file systems cannot sync a directory, and need not. */
static bool sync_failed(int error)
{
	return error != 0 && error != EINVAL && error != EROFS;
}

/* ---- writing while nothing runs ---- */

static int write_now(struct ticket_store *store)
{
	while (store->written < store->file_bytes) {
		ssize_t n = write(store->draft, store->file + store->written, store->file_bytes - store->written);

		if (n < 0 && errno != EINTR)
			return errno;
		store->written += n > 0 ? (size_t)n : 0;
	}
	return fdatasync(store->draft) == 0 ? 0 : errno;
}

static void save_now(struct ticket_store *store)
{
	int error;

	store->unsaved = false;
	if (store->directory < 0 || !draft_open(store))
		return;
	error = write_now(store);
	if (error) {
		say_unsaved(store, "cannot be written", error);
		draft_drop(store);
	} else if (draft_rename(store) && fdatasync(store->directory) != 0 && sync_failed(errno)) {
		say_unsaved(store, "its directory cannot be synced", errno);
	}
}

/* ---- writing while cores run ---- */

enum outcome { NEXT, WAIT, END };                        /* END: back to rest */

static void op_noted(struct op *op, const struct completion *completion)
{
	struct ticket_store *store = owner_of(op, struct ticket_store, op);

	store->result = completion->result;
	task_wake(&store->task);
}

static enum outcome ask(struct ticket_store *store, struct kernel_request request)
{
	store->op.request = request;
	store->asked = true;
	op_start(&store->op);
	return WAIT;
}

static enum outcome rest(struct ticket_store *store)
{
	if (!store->unsaved)
		return WAIT;
	store->unsaved = false;
	return store->directory >= 0 && draft_open(store) ? NEXT : WAIT;
}

static enum outcome write_draft(struct ticket_store *store)
{
	if (store->asked && store->result != -EINTR && store->result != -EAGAIN) {
		if (store->result <= 0) {
			say_unsaved(store, "cannot be written", store->result < 0 ? -store->result : EIO);
			draft_drop(store);
			return END;
		}
		store->written += (size_t)store->result;
	}
	if (store->written == store->file_bytes)
		return NEXT;
	return ask(store, (struct kernel_request){
		.code = KERNEL_WRITE,
		.fd = store->draft,
		.bytes = store->file + store->written,
		.size = (uint32_t)(store->file_bytes - store->written),
		.offset = (int64_t)store->written,
	});
}

static enum outcome sync_draft(struct ticket_store *store)
{
	if (!store->asked)
		return ask(store, (struct kernel_request){ .code = KERNEL_SYNC, .fd = store->draft });
	if (store->result >= 0)
		return NEXT;
	say_unsaved(store, "cannot be synced", -store->result);
	draft_drop(store);
	return END;
}

static enum outcome rename_draft(struct ticket_store *store)
{
	return draft_rename(store) ? NEXT : END;
}

static enum outcome sync_directory(struct ticket_store *store)
{
	if (!store->asked)
		return ask(store, (struct kernel_request){ .code = KERNEL_SYNC, .fd = store->directory });
	if (sync_failed(store->result < 0 ? -store->result : 0))
		say_unsaved(store, "its directory cannot be synced", -store->result);
	return END;
}

static const struct {
	const char *name;
	enum outcome (*run)(struct ticket_store *);
} STEPS[] = {
	{ "resting", rest },
	{ "writing", write_draft },
	{ "syncing", sync_draft },
	{ "renaming", rename_draft },
	{ "syncing directory", sync_directory },
};

static void save(struct ticket_store *store)
{
	while (op_idle(&store->op)) {
		enum outcome outcome = STEPS[store->step].run(store);

		if (outcome == WAIT)
			return;
		store->asked = false;
		store->step = outcome == NEXT ? store->step + 1 : 0;
	}
}

/* ---- rotation ---- */

static uint32_t lifetime_of(uint32_t lifetime_ms)
{
	const uint32_t s = lifetime_ms / 1000;

	if (s == 0)
		return 1;
	return s < TICKET_LIFETIME_MAX_S ? s : TICKET_LIFETIME_MAX_S;
}

static uint64_t half_s(const struct ticket_store *store)
{
	return store->lifetime_s > 1 ? store->lifetime_s / 2 : 1;
}

/* Seconds until the newest key has sealed for long enough. One from the future was made before the clock was set back: nobody
 * knows its age. */
static uint64_t left_s(const struct ticket_store *store, uint64_t now_s)
{
	const uint64_t made_s = store->keys->keys[0].made_s, due_s = made_s + half_s(store);

	if (made_s > now_s + AHEAD_MAX_S || due_s <= now_s)
		return 0;
	return due_s - now_s;
}

static void keys_renew(struct ticket_store *store, uint64_t now_s)
{
	struct ticket_keys *keys = ticket_keys_next(store->keys, now_s, store->lifetime_s);

	ticket_keys_put(store->keys);
	store->keys = keys;
	store->unsaved = true;
}

struct renewed {
	struct message message;
	struct ticket_store *store;
	struct ticket_keys *keys;        /* a reference */
};

/* On the other core. Or on the first thread when that one has ended: then nobody holds keys there, and they go. */
static void renewed_deliver(struct core *to, struct message *message)
{
	struct renewed *renewed = owner_of(message, struct renewed, message);
	struct ticket_holder *holder = renewed->store->holders[to->index];

	if (holder)
		ticket_holder_swap(holder, renewed->keys);
	else
		ticket_keys_put(renewed->keys);
	free(renewed);
}

/* Published before it is safe on disk, because a disk that hangs must not keep an old key sealing. If the process dies in between,
 * the tickets of that moment mean full handshakes. */
static void keys_publish(struct ticket_store *store)
{
	for (unsigned i = 0; i < store->core_count; i++) {
		struct renewed *renewed = malloc(sizeof *renewed);

		check(renewed);
		*renewed = (struct renewed){
			.message = { .deliver = renewed_deliver },
			.store = store,
			.keys = ticket_keys_take(store->keys),
		};
		core_post(store->core, i, &renewed->message);
	}
}

static void store_step(struct task *task)
{
	struct ticket_store *store = owner_of(task, struct ticket_store, task);
	const uint64_t now_s = kernel_wall_ns(store->core->kernel) / 1000000000;
	uint64_t wait_s;

	check(store->magic == STORE_MAGIC);
	if (left_s(store, now_s) == 0) {
		keys_renew(store, now_s);
		keys_publish(store);
		store->rotations++;
		log_say(store->level, CONFIG_LOG_DEBUG, "new key for TLS tickets; %u older ones still open", store->keys->count - 1);
	}
	wait_s = left_s(store, now_s);
	timer_set(&store->timer, (wait_s < LOOK_AGAIN_S ? wait_s : LOOK_AGAIN_S) * 1000);
	save(store);
}

static const char *store_where(const struct scope *scope)
{
	return STEPS[owner_of(scope, const struct ticket_store, scope)->step].name;
}

/* A save that was cut is made up for by ticket_store_close. */
static void store_ended(struct scope *scope)
{
	struct ticket_store *store = owner_of(scope, struct ticket_store, scope);

	if (store->draft >= 0)
		draft_drop(store);
	store->unsaved |= store->step != 0;
	store->step = 0;
	store->core = NULL;
}

static const struct scope_kind store_kind = { .name = "ticket keys", .step = store_where, .ended = store_ended };

/* ---- the life of it ---- */

void ticket_store_open(struct ticket_store *store, const char *directory, uint32_t lifetime_ms, unsigned cores, uint64_t now_s,
	enum config_log_level level)
{
	bool exposed = false;

	*store = (struct ticket_store){
		.magic = STORE_MAGIC,
		.lifetime_s = lifetime_of(lifetime_ms),
		.level = level,
		.directory_name = directory,
		.directory = -1,
		.draft = -1,
		.core_count = cores,
	};
	store->holders = calloc(cores, sizeof *store->holders);
	check(store->holders);
	directory_open(store);
	store->keys = file_read(store, &exposed);
	if (!store->keys || exposed || left_s(store, now_s) == 0)
		keys_renew(store, now_s);
	if (store->unsaved)
		save_now(store);
}

void ticket_store_attach(struct ticket_store *store, struct core *core, struct ticket_holder *holder)
{
	check(store->magic == STORE_MAGIC && core->index < store->core_count && !store->holders[core->index]);
	ticket_holder_init(holder, core->kernel, ticket_keys_take(store->keys));
	store->holders[core->index] = holder;
}

void ticket_store_detach(struct ticket_store *store, struct core *core)
{
	if (!store->magic || !store->holders[core->index])
		return;
	ticket_holder_fini(store->holders[core->index]);
	store->holders[core->index] = NULL;
}

void ticket_store_start(struct ticket_store *store, struct core *core)
{
	check(store->magic == STORE_MAGIC && core->index == 0 && !store->core);
	store->core = core;
	scope_open(&store->scope, &core->root, &store_kind);
	task_init(&store->task, &store->scope, "ticket keys", store_step);
	timer_init(&store->timer, &store->scope, &store->task);
	op_init(&store->op, &store->scope, "ticket keys", op_noted);
	task_wake(&store->task);
}

void ticket_store_set_lifetime(struct ticket_store *store, uint32_t lifetime_ms)
{
	check(store->magic == STORE_MAGIC && store->core);
	store->lifetime_s = lifetime_of(lifetime_ms);
	task_wake(&store->task);
}

void ticket_store_close(struct ticket_store *store)
{
	if (!store->magic)
		return;
	check(store->magic == STORE_MAGIC && !store->core);
	for (unsigned i = 0; i < store->core_count; i++)
		check(!store->holders[i]);
	if (store->unsaved)
		save_now(store);
	ticket_keys_put(store->keys);
	free(store->holders);
	if (store->directory >= 0)
		close(store->directory);
	*store = (struct ticket_store){ 0 };
}
