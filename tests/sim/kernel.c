/* tests/sim/kernel.c — ring/kernel.h, answered by dice.
 *
 * What is written by kernel_start and kernel_cancel takes effect in kernel_enter, in order. From then on an arm is looked
 * at whenever the world runs: is it ready, and has it been ready for as long as the dice wanted it to be late?
 *
 * Linked timeouts are kept as the real kernel has them: apart from the arm, knowing only its user_data. One that has
 * expired before its arm completed stays queued, and cancels whatever carries that user_data when it fires. If that is
 * another arm than its own, the caller has used a user_data again, and the run fails.
 *
 * The rules come from what was measured on Linux 6.18; each is named where it stands. */
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(bytes, size) ((void)(bytes), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(bytes, size) ((void)(bytes), (void)(size))
#endif

#define RING_DESCRIPTOR_FIRST 2000000

enum submission_kind { SUBMIT_START, SUBMIT_CANCEL, SUBMIT_ANNOUNCE };

struct submission {
	enum submission_kind kind;
	struct kernel_request request;
	uint64_t user_data;
	int descriptor;
};

struct arm {
	struct link in_kernel;
	struct kernel *kernel;
	struct thing *thing;
	struct kernel_request request;
	uint64_t user_data;
	uint64_t serial;
	uint64_t ready_ns;               /* when it may complete; 0: it was not ready when last looked at */
	uint64_t outcome_ns;             /* connect, write, sync: when it is decided */
	uint64_t done, total;            /* bytes of a send */
	uint64_t sum;                    /* of the memory lent for a send, a connect or a write */
};

struct timeout {
	struct link in_kernel;
	uint64_t user_data;
	uint64_t serial;                 /* of the arm it was linked to */
	uint64_t expires_ns;
	uint64_t fires_ns;               /* the expiry is acted upon later */
};

struct announcement {
	struct link in_kernel;
	uint64_t user_data;
	uint64_t at_ns;
};

struct buffer {
	uint8_t *bytes;
	uint32_t size;
};

struct posted {
	const struct thing *thing;       /* NULL: an announcement */
	struct kernel_completion completion;
};

struct kernel {
	struct world *world;
	unsigned index;
	struct submission *submissions;
	unsigned submission_count;
	struct link arms, timeouts, announcements;
	struct posted *completions;
	unsigned completion_count, completion_size;
	struct buffer *buffers;          /* by id; bytes NULL: not lent */
	unsigned buffer_count, buffers_lent;
	uint64_t *seen;                  /* every user_data ever used: open addressing */
	unsigned seen_count, seen_size;
	uint64_t serial;
	uint64_t sleeps_until_ns;
};

static struct dice *dice_of(struct kernel *kernel)
{
	return &kernel->world->dice;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

struct kernel *kernel_open(unsigned buffers, struct kernel_fault *fault)
{
	struct world *world = owner_of(fault, struct world_fault, fault)->world;
	struct kernel *kernel = calloc(1, sizeof *kernel);

	check(owner_of(fault, struct world_fault, fault)->magic == WORLD_FAULT_MAGIC);
	check(buffers > 0 && (buffers & (buffers - 1)) == 0);
	check(kernel);
	kernel->world = world;
	while (world->kernels[kernel->index])
		check(++kernel->index < WORLD_CORES_MAX);
	world->kernels[kernel->index] = kernel;
	kernel->submissions = calloc(world->habits.entries, sizeof *kernel->submissions);
	kernel->buffers = calloc(buffers, sizeof *kernel->buffers);
	check(kernel->submissions && kernel->buffers);
	kernel->buffer_count = buffers;
	link_init(&kernel->arms);
	link_init(&kernel->timeouts);
	link_init(&kernel->announcements);
	return kernel;
}

static void links_free(struct link *list, size_t offset)
{
	struct link *link;

	while ((link = link_take_first(list)))
		free((char *)link - offset);
}

void kernel_close(struct kernel *kernel)
{
	if (!link_alone(&kernel->arms) || kernel->submission_count > 0)
		world_fail(kernel->world, "a kernel is closed with operations in flight");
	for (unsigned id = 0; id < kernel->buffer_count; id++) {
		if (kernel->buffers[id].bytes)
			ASAN_UNPOISON_MEMORY_REGION(kernel->buffers[id].bytes, kernel->buffers[id].size);
	}
	links_free(&kernel->timeouts, offsetof(struct timeout, in_kernel));
	links_free(&kernel->announcements, offsetof(struct announcement, in_kernel));
	kernel->world->kernels[kernel->index] = NULL;
	free(kernel->submissions);
	free(kernel->completions);
	free(kernel->buffers);
	free(kernel->seen);
	free(kernel);
}

bool kernel_probe(unsigned cores, unsigned buffers, struct kernel_fault *fault)
{
	(void)cores, (void)buffers, (void)fault;
	return true;
}

int kernel_descriptor(const struct kernel *kernel)
{
	return RING_DESCRIPTOR_FIRST + (int)kernel->index;
}

/* Before cores run there is no kernel, and no time passes. */
uint64_t kernel_now_ns(const struct kernel *kernel)
{
	return kernel ? kernel->world->now_ns : 0;
}

uint64_t kernel_wall_ns(const struct kernel *kernel)
{
	return kernel_now_ns(kernel) + 1700000000000000000u + (kernel ? (uint64_t)kernel->world->wall_ns[kernel->index] : 0);
}

/* ---- the promises of the callers ----------------------------------------------------------------------------------- */

static uint64_t sum_add(uint64_t sum, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (; n >= 8; n -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
		sum ^= sum >> 29;
	}
	while (n-- > 0)
		sum = (sum ^ *at++) * 0x100000001b3u;
	return sum;
}

/* Reading it all is the point: AddressSanitizer sees memory that has gone, the sum sees memory that has changed. */
static uint64_t request_sum(const struct kernel_request *request)
{
	uint64_t sum = 0;

	switch (request->code) {
	case KERNEL_SEND:
	case KERNEL_SEND_NOW:
		for (size_t i = 0; i < request->message->msg_iovlen; i++)
			sum = sum_add(sum, request->message->msg_iov[i].iov_base, request->message->msg_iov[i].iov_len);
		return sum_add(sum, request->message, sizeof *request->message);
	case KERNEL_CONNECT:
		return sum_add(sum, request->address, request->size);
	case KERNEL_WRITE:
	case KERNEL_WRITE_DSYNC:
		return sum_add(sum, request->bytes, request->size);
	}
	return 0;
}

static uint64_t message_bytes(const struct msghdr *message)
{
	uint64_t n = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		n += message->msg_iov[i].iov_len;
	return n;
}

static unsigned seen_slot(const struct kernel *kernel, uint64_t user_data)
{
	unsigned slot = (unsigned)(user_data * 0x9E3779B97F4A7C15u >> 32) & (kernel->seen_size - 1);

	while (kernel->seen[slot] && kernel->seen[slot] != user_data)
		slot = (slot + 1) & (kernel->seen_size - 1);
	return slot;
}

static void user_data_is_new(struct kernel *kernel, uint64_t user_data)
{
	if (user_data == 0)
		world_fail(kernel->world, "an operation has the user_data 0");
	if (kernel->seen_count * 2 >= kernel->seen_size) {
		uint64_t *old = kernel->seen;
		unsigned old_size = kernel->seen_size;

		kernel->seen_size = old_size ? old_size * 2 : 256;
		kernel->seen = calloc(kernel->seen_size, sizeof *kernel->seen);
		check(kernel->seen);
		for (unsigned i = 0; i < old_size; i++) {
			if (old[i])
				kernel->seen[seen_slot(kernel, old[i])] = old[i];
		}
		free(old);
	}
	if (kernel->seen[seen_slot(kernel, user_data)] == user_data)
		world_fail(kernel->world, "user_data %llx is used again", (unsigned long long)user_data);
	kernel->seen[seen_slot(kernel, user_data)] = user_data;
	kernel->seen_count++;
}

static struct arm **place_of(struct thing *thing, unsigned code)
{
	switch (code) {
	case KERNEL_RECEIVE:
	case KERNEL_RECEIVE_ONCE:
		return &thing->receive;
	case KERNEL_SEND:
	case KERNEL_SEND_NOW:
	case KERNEL_CONNECT:
		return &thing->send;
	case KERNEL_ACCEPT:
		return &thing->accept;
	case KERNEL_READ:
		return &thing->read;
	default:
		return &thing->write;
	}
}

static bool code_fits(const struct thing *thing, unsigned code)
{
	switch (code) {
	case KERNEL_RECEIVE:
	case KERNEL_RECEIVE_ONCE:
	case KERNEL_SEND:
	case KERNEL_SEND_NOW:
	case KERNEL_CONNECT:
		return thing->kind == WORLD_SOCKET;
	case KERNEL_ACCEPT:
		return thing->kind == WORLD_LISTENER;
	case KERNEL_READ:
		return thing->kind == WORLD_SOURCE;
	default:
		return thing->kind == WORLD_FILE;
	}
}

static const char *code_name(unsigned code)
{
	static const char *const names[] = {
		[KERNEL_RECEIVE] = "receive", [KERNEL_RECEIVE_ONCE] = "receive_once", [KERNEL_SEND] = "send",
		[KERNEL_SEND_NOW] = "send_now", [KERNEL_ACCEPT] = "accept", [KERNEL_CONNECT] = "connect",
		[KERNEL_READ] = "read", [KERNEL_WRITE] = "write", [KERNEL_WRITE_DSYNC] = "write_dsync",
		[KERNEL_SYNC] = "sync",
	};

	return code < array_count(names) ? names[code] : "?";
}

/* ---- submissions ------------------------------------------------------------------------------------------------------ */

unsigned kernel_room(const struct kernel *kernel)
{
	return kernel->world->habits.entries - kernel->submission_count;
}

static struct submission *submission_take(struct kernel *kernel, unsigned room)
{
	if (kernel_room(kernel) < room)
		world_fail(kernel->world, "the submission queue has room for %u entries, not %u", kernel_room(kernel), room);
	return &kernel->submissions[kernel->submission_count++];
}

void kernel_start(struct kernel *kernel, const struct kernel_request *request, uint64_t user_data)
{
	struct submission *submission = submission_take(kernel, 2);
	struct thing *thing = world_thing(kernel->world, request->fd);

	if (!thing)
		world_fail(kernel->world, "%s starts on descriptor %d, which is closed", code_name(request->code), request->fd);
	if (!code_fits(thing, request->code))
		world_fail(kernel->world, "%s starts on descriptor %d, which is of another kind", code_name(request->code),
		           request->fd);
	thing->queued++;
	*submission = (struct submission){ .kind = SUBMIT_START, .request = *request, .user_data = user_data };
	/* A linked pair takes two entries. */
	if (request->within_ms > 0)
		kernel->submissions[kernel->submission_count++] = (struct submission){ .kind = SUBMIT_ANNOUNCE, .descriptor = -1 };
}

void kernel_cancel(struct kernel *kernel, uint64_t user_data)
{
	*submission_take(kernel, 1) = (struct submission){ .kind = SUBMIT_CANCEL, .user_data = user_data };
}

void kernel_announce(struct kernel *kernel, int other_descriptor, uint64_t user_data)
{
	*submission_take(kernel, 1) = (struct submission){
		.kind = SUBMIT_ANNOUNCE, .descriptor = other_descriptor, .user_data = user_data,
	};
}

void kernel_buffer_lend(struct kernel *kernel, uint16_t id, void *bytes, uint32_t size)
{
	if (id >= kernel->buffer_count || kernel->buffers[id].bytes)
		world_fail(kernel->world, "receive buffer %u is lent twice", id);
	check(size > 0);
	kernel->buffers[id] = (struct buffer){ .bytes = bytes, .size = size };
	kernel->buffers_lent++;
	ASAN_POISON_MEMORY_REGION(bytes, size);
}

/* ---- completions ------------------------------------------------------------------------------------------------------- */

/* At the end, or by chance further in front, but never before one of the same socket: which of a send and a receive heard
 * first of a reset is told by their order. */
static void complete(struct kernel *kernel, const struct thing *thing, struct kernel_completion completion)
{
	unsigned at = kernel->completion_count;

	if (kernel->completion_count == kernel->completion_size) {
		kernel->completion_size = kernel->completion_size ? kernel->completion_size * 2 : 64;
		kernel->completions = realloc(kernel->completions, kernel->completion_size * sizeof *kernel->completions);
		check(kernel->completions);
	}
	if (at > 0 && dice_chance(dice_of(kernel), kernel->world->habits.shuffled)) {
		unsigned least = kernel->completion_count;

		while (least > 0 && kernel->completions[least - 1].thing != thing)
			least--;
		at = (unsigned)dice_between(dice_of(kernel), least, kernel->completion_count);
	}
	memmove(kernel->completions + at + 1, kernel->completions + at,
	        (kernel->completion_count - at) * sizeof *kernel->completions);
	kernel->completions[at] = (struct posted){ .thing = thing, .completion = completion };
	kernel->completion_count++;
}

static void timeout_disarm(struct kernel *kernel, const struct arm *arm)
{
	for (struct link *l = kernel->timeouts.next; l != &kernel->timeouts; l = l->next) {
		struct timeout *timeout = owner_of(l, struct timeout, in_kernel);

		if (timeout->serial != arm->serial)
			continue;
		/* One that has expired is queued already and cannot be taken back. */
		if (timeout->expires_ns > kernel->world->now_ns) {
			link_remove(&timeout->in_kernel);
			free(timeout);
		}
		return;
	}
}

/* The last completion of an arm. */
static void arm_end_with(struct arm *arm, struct kernel_completion completion)
{
	struct kernel *kernel = arm->kernel;

	if (request_sum(&arm->request) != arm->sum)
		world_fail(kernel->world, "memory of a %s was changed while it was in flight", code_name(arm->request.code));
	world_trace(kernel->world, "core %u: %s %llx on %d ends with %d%s", kernel->index, code_name(arm->request.code),
	            (unsigned long long)arm->user_data, arm->thing->fd, completion.result,
	            completion.result < 0 ? strerrorname_np(-completion.result) : "");
	completion.user_data = arm->user_data;
	completion.more = false;
	*place_of(arm->thing, arm->request.code) = NULL;
	timeout_disarm(kernel, arm);
	link_remove(&arm->in_kernel);
	complete(kernel, arm->thing, completion);
	free(arm);
}

static void arm_end(struct arm *arm, int64_t result)
{
	arm_end_with(arm, (struct kernel_completion){ .result = (int32_t)result });
}

/* ---- what an arm does when it is ready ------------------------------------------------------------------------------- */

static bool arm_ready(const struct arm *arm)
{
	const struct thing *thing = arm->thing;
	uint64_t now_ns = arm->kernel->world->now_ns;

	switch (arm->request.code) {
	case KERNEL_RECEIVE:
	case KERNEL_RECEIVE_ONCE:
		return thing->in.size > 0 || thing->error || thing->fin_in || thing->dead || !thing->far;
	case KERNEL_SEND:
		return thing->error || thing->dead || thing->fin_out || !thing->far || thing->far->closed ||
		       thing->far->in.size < thing->far->in.size_max;
	case KERNEL_ACCEPT:
		return thing->backlog_count > 0;
	case KERNEL_READ:
		return now_ns >= thing->readable_ns;
	case KERNEL_SEND_NOW:
		return true;
	default:
		return now_ns >= arm->outcome_ns;
	}
}

/* True: the arm goes on. */
static bool receive_run(struct arm *arm)
{
	struct kernel *kernel = arm->kernel;
	struct world *world = kernel->world;
	struct thing *thing = arm->thing;
	struct kernel_completion completion = { .user_data = arm->user_data, .more = true, .has_buffer = true };
	struct buffer *buffer;
	size_t n;

	if (thing->in.size == 0) {
		arm_end(arm, world_receive(thing, NULL, 0));
		return false;
	}
	if (kernel->buffers_lent == 0 || dice_chance(&world->dice, world->habits.no_buffers)) {
		arm_end(arm, -ENOBUFS);
		return false;
	}
	completion.buffer = (uint16_t)dice_below(&world->dice, kernel->buffer_count);
	while (!kernel->buffers[completion.buffer].bytes)
		completion.buffer = (uint16_t)((completion.buffer + 1) % kernel->buffer_count);
	buffer = &kernel->buffers[completion.buffer];
	n = thing->in.size < buffer->size ? thing->in.size : buffer->size;
	if (dice_chance(&world->dice, world->habits.split))
		n = dice_between(&world->dice, 1, n);
	ASAN_UNPOISON_MEMORY_REGION(buffer->bytes, buffer->size);
	completion.result = (int32_t)world_receive(thing, buffer->bytes, n);
	check(completion.result == (int32_t)n);
	buffer->bytes = NULL;
	kernel->buffers_lent--;
	world_trace(world, "core %u: receive %llx on %d gets %zu", kernel->index, (unsigned long long)arm->user_data,
	            thing->fd, n);
	/* A full completion queue, or the kernel's own bound: a success, and the arm is over. */
	if (arm->request.code == KERNEL_RECEIVE_ONCE || dice_chance(&world->dice, world->habits.ends_early)) {
		arm_end_with(arm, completion);
		return false;
	}
	complete(kernel, thing, completion);
	return true;
}

/* As much as goes; the result of the last piece. */
static int64_t send_some(struct arm *arm, uint64_t most)
{
	const struct msghdr *message = arm->request.message;
	uint64_t skip = arm->done, sent = 0;

	for (size_t i = 0; i < message->msg_iovlen && sent < most; i++) {
		const struct iovec *piece = &message->msg_iov[i];
		uint64_t n;
		long result;

		if (skip >= piece->iov_len) {
			skip -= piece->iov_len;
			continue;
		}
		n = piece->iov_len - skip < most - sent ? piece->iov_len - skip : most - sent;
		result = world_send(arm->thing, (const char *)piece->iov_base + skip, n);
		if (result < 0)
			return sent > 0 ? (int64_t)sent : result;
		arm->done += (uint64_t)result;
		sent += (uint64_t)result;
		if ((uint64_t)result < n)
			break;
		skip = 0;
	}
	return (int64_t)sent;
}

static bool send_run(struct arm *arm)
{
	struct world *world = arm->kernel->world;
	bool cut = dice_chance(&world->dice, world->habits.short_send);
	uint64_t left = arm->total - arm->done;
	int64_t result;

	if (arm->total == 0)
		world_fail(world, "a send of nothing starts");
	result = send_some(arm, cut ? dice_between(&world->dice, 1, left) : left);
	if (result < 0 && result != -EAGAIN) {
		/* What went before the error is told first, and the error is gone with it. */
		arm_end(arm, arm->done > 0 ? (int64_t)arm->done : result);
		return false;
	}
	if (arm->done == arm->total || (cut && arm->done > 0 && dice_chance(&world->dice, 30))) {
		arm_end(arm, (int64_t)arm->done);
		return false;
	}
	return true;
}

static bool send_now_run(struct arm *arm)
{
	struct world *world = arm->kernel->world;
	int64_t result = -EAGAIN;

	if (arm->total == 0)
		world_fail(world, "a send of nothing starts");
	if (!dice_chance(&world->dice, world->habits.again))
		result = send_some(arm, dice_chance(&world->dice, world->habits.short_send)
			? dice_between(&world->dice, 1, arm->total) : arm->total);
	arm_end(arm, result);
	return false;
}

static bool accept_run(struct arm *arm)
{
	struct world *world = arm->kernel->world;
	struct thing *listener = arm->thing;
	struct thing *thing = owner_of(listener->backlog.next, struct thing, in_backlog);
	int fd;

	if (dice_chance(&world->dice, world->habits.accept_fails)) {
		arm_end(arm, -ECONNABORTED);
		return false;
	}
	/* With the limit reached nothing is lost: the connection stays in the backlog. */
	fd = world_descriptor(world, thing);
	if (fd < 0) {
		arm_end(arm, fd);
		return false;
	}
	world_accept(listener);
	world_trace(world, "core %u: accept gives %d", arm->kernel->index, fd);
	if (dice_chance(&world->dice, world->habits.ends_early)) {
		arm_end(arm, fd);
		return false;
	}
	complete(arm->kernel, listener,
	         (struct kernel_completion){ .user_data = arm->user_data, .result = fd, .more = true });
	return true;
}

static bool read_run(struct arm *arm)
{
	struct world *world = arm->kernel->world;
	uint64_t n = dice_between(&world->dice, 1, arm->request.size);

	memset(arm->request.bytes, 0x5a, n);
	arm->thing->readable_ns = dice_chance(&world->dice, 30)
		? UINT64_MAX : world->now_ns + dice_below(&world->dice, 50 * WORLD_MS);
	arm_end(arm, (int64_t)n);
	return false;
}

static bool write_run(struct arm *arm)
{
	struct world *world = arm->kernel->world;
	struct stream *content = &arm->thing->content;
	size_t n = arm->request.size;

	if (arm->thing->node) {
		arm_end(arm, arm->request.code == KERNEL_SYNC ? disk_node_sync(arm->thing)
			: disk_node_write(arm->thing, arm->request.bytes, n, (uint64_t)arm->request.offset,
				arm->request.code == KERNEL_WRITE_DSYNC));
		return false;
	}
	if (arm->request.code == KERNEL_SYNC) {
		arm->thing->synced = content->size;
		arm_end(arm, 0);
		return false;
	}
	if (n > 1 && dice_chance(&world->dice, world->habits.write_short))
		n = dice_between(&world->dice, 1, n);
	if (n > content->size_max - content->size)
		n = content->size_max - content->size;
	memcpy(content->bytes + content->size, arm->request.bytes, n);
	content->size += n;
	if (arm->request.code == KERNEL_WRITE_DSYNC)
		arm->thing->synced = content->size;
	arm_end(arm, n > 0 || arm->request.size == 0 ? (int64_t)n : -ENOSPC);
	return false;
}

static bool arm_run(struct arm *arm)
{
	switch (arm->request.code) {
	case KERNEL_RECEIVE:
	case KERNEL_RECEIVE_ONCE:
		return receive_run(arm);
	case KERNEL_SEND:
		return send_run(arm);
	case KERNEL_SEND_NOW:
		return send_now_run(arm);
	case KERNEL_ACCEPT:
		return accept_run(arm);
	case KERNEL_CONNECT:
		arm_end(arm, world_connect(arm->thing, arm->request.address, arm->request.size));
		return false;
	case KERNEL_READ:
		return read_run(arm);
	default:
		return write_run(arm);
	}
}

/* A cancelled arm completes with what it has, or may just have succeeded. */
static void arm_cancel(struct arm *arm)
{
	struct world *world = arm->kernel->world;

	/* A write or sync that runs in a worker cannot be cancelled. */
	if (arm->request.code == KERNEL_WRITE || arm->request.code == KERNEL_WRITE_DSYNC || arm->request.code == KERNEL_SYNC)
		return;
	if (arm_ready(arm) && dice_chance(&world->dice, 50) && !arm_run(arm))
		return;
	if (arm->request.code == KERNEL_SEND && arm->done > 0)
		arm_end(arm, (int64_t)arm->done);
	else
		arm_end(arm, -ECANCELED);
}

static struct arm *arm_find(struct kernel *kernel, uint64_t user_data)
{
	for (struct link *l = kernel->arms.next; l != &kernel->arms; l = l->next) {
		struct arm *arm = owner_of(l, struct arm, in_kernel);

		if (arm->user_data == user_data)
			return arm;
	}
	return NULL;
}

/* ---- submitting ---------------------------------------------------------------------------------------------------------- */

static void arm_begin(struct kernel *kernel, const struct submission *submission)
{
	struct world *world = kernel->world;
	const struct kernel_request *request = &submission->request;
	struct thing *thing = world_thing(world, request->fd);
	struct arm **place;
	struct arm *arm;

	check(thing);
	thing->queued--;
	user_data_is_new(kernel, submission->user_data);
	place = place_of(thing, request->code);
	if (*place)
		world_fail(world, "two of %s in flight on descriptor %d", code_name(request->code), request->fd);
	*place = arm = calloc(1, sizeof *arm);
	check(arm);
	*arm = (struct arm){
		.kernel = kernel, .thing = thing, .request = *request, .user_data = submission->user_data,
		.serial = ++kernel->serial, .sum = request_sum(request),
	};
	link_put_last(&kernel->arms, &arm->in_kernel);
	world_trace(world, "core %u: %s %llx on %d within %u ms", kernel->index, code_name(request->code),
	            (unsigned long long)arm->user_data, request->fd, request->within_ms);
	if (request->within_ms > 0) {
		struct timeout *timeout = calloc(1, sizeof *timeout);

		check(timeout);
		timeout->user_data = arm->user_data;
		timeout->serial = arm->serial;
		timeout->expires_ns = world->now_ns + request->within_ms * WORLD_MS;
		timeout->fires_ns = timeout->expires_ns + dice_below(&world->dice, world->habits.timeout_late_ns + 1);
		link_put_last(&kernel->timeouts, &timeout->in_kernel);
	}
	switch (request->code) {
	case KERNEL_RECEIVE:
	case KERNEL_RECEIVE_ONCE:
		/* No buffer at all: it fails at once, data or not. */
		if (kernel->buffers_lent == 0)
			arm_end(arm, -ENOBUFS);
		else if (arm_ready(arm))
			arm_run(arm); /* what lies there is taken while it is submitted, before any timeout */
		return;
	case KERNEL_SEND:
	case KERNEL_SEND_NOW:
		arm->total = message_bytes(request->message);
		if (request->code == KERNEL_SEND_NOW || (arm_ready(arm) && dice_chance(&world->dice, 50)))
			arm_run(arm);
		return;
	case KERNEL_CONNECT:
		if (thing->dialled) {
			arm_end(arm, thing->far ? -EISCONN : -EALREADY);
			return;
		}
		thing->dialled = true;
		arm->outcome_ns = dice_chance(&world->dice, world->habits.connect_never)
			? UINT64_MAX : world->now_ns + dice_scaled(&world->dice, 10000, 80 * WORLD_MS);
		return;
	case KERNEL_WRITE:
	case KERNEL_WRITE_DSYNC:
	case KERNEL_SYNC:
		arm->outcome_ns = world->now_ns + dice_scaled(&world->dice, 10000, 20 * WORLD_MS);
		return;
	}
}

static void announce(struct kernel *kernel, const struct submission *submission)
{
	struct world *world = kernel->world;
	unsigned to = (unsigned)(submission->descriptor - RING_DESCRIPTOR_FIRST);
	struct announcement *announcement;

	if (submission->descriptor < 0)
		return; /* the second entry of a linked pair */
	/* A ring that has been closed: the failure is not seen by anybody. */
	if (to >= WORLD_CORES_MAX || !world->kernels[to])
		return;
	announcement = calloc(1, sizeof *announcement);
	check(announcement);
	announcement->user_data = submission->user_data;
	announcement->at_ns = world->now_ns + dice_below(&world->dice, world->habits.late_ns + 1);
	link_put_last(&world->kernels[to]->announcements, &announcement->in_kernel);
}

void kernel_enter(struct kernel *kernel, uint64_t wait_ns)
{
	struct world *world = kernel->world;

	for (unsigned i = 0; i < kernel->submission_count; i++) {
		const struct submission *submission = &kernel->submissions[i];
		struct arm *arm;

		switch (submission->kind) {
		case SUBMIT_START:
			arm_begin(kernel, submission);
			break;
		case SUBMIT_CANCEL:
			arm = arm_find(kernel, submission->user_data);
			if (arm)
				arm_cancel(arm);
			break;
		case SUBMIT_ANNOUNCE:
			announce(kernel, submission);
			break;
		}
	}
	kernel->submission_count = 0;
	if (dice_chance(&world->dice, 50))
		kernel_progress(kernel);
	kernel->sleeps_until_ns = wait_ns == UINT64_MAX ? UINT64_MAX : wait_ns == 0 ? 0 : world->now_ns + wait_ns;
	if (wait_ns > 0 && world->sleeps)
		world->sleeps(world, kernel->index);
}

unsigned kernel_reap(struct kernel *kernel, struct kernel_completion *completions, unsigned count)
{
	unsigned n = kernel->completion_count < count ? kernel->completion_count : count;

	if (n > 1 && dice_chance(dice_of(kernel), kernel->world->habits.reap_few))
		n = (unsigned)dice_between(dice_of(kernel), 1, n);
	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		completions[i] = kernel->completions[i].completion;
	kernel->completion_count -= n;
	memmove(kernel->completions, kernel->completions + n, kernel->completion_count * sizeof *kernel->completions);
	return n;
}

/* ---- the world turns --------------------------------------------------------------------------------------------------- */

static void timeouts_fire(struct kernel *kernel)
{
	struct world *world = kernel->world;

	for (struct link *l = kernel->timeouts.next, *next; l != &kernel->timeouts; l = next) {
		struct timeout *timeout = owner_of(l, struct timeout, in_kernel);
		struct arm *arm;

		next = l->next;
		if (timeout->fires_ns > world->now_ns)
			continue;
		arm = arm_find(kernel, timeout->user_data);
		if (arm && arm->serial != timeout->serial)
			world_fail(world, "a late linked timeout kills a fresh arm");
		link_remove(&timeout->in_kernel);
		world_trace(world, "core %u: the timeout of %llx fires and finds %s", kernel->index,
		            (unsigned long long)timeout->user_data, arm ? code_name(arm->request.code) : "nothing");
		free(timeout);
		if (arm)
			arm_cancel(arm);
	}
}

static void arms_run(struct kernel *kernel)
{
	struct world *world = kernel->world;

	for (struct link *l = kernel->arms.next, *next; l != &kernel->arms; l = next) {
		struct arm *arm = owner_of(l, struct arm, in_kernel);

		next = l->next;
		if (!arm_ready(arm)) {
			arm->ready_ns = 0;
			continue;
		}
		if (arm->ready_ns == 0) {
			arm->ready_ns = world->now_ns;
			if (dice_chance(&world->dice, world->habits.late))
				arm->ready_ns += dice_below(&world->dice, world->habits.late_ns + 1);
			if (arm->thing && arm->thing->node && world->disk_late_ns[kernel->index] > 0)
				arm->ready_ns += dice_below(&world->dice, world->disk_late_ns[kernel->index] + 1);
		}
		if (arm->ready_ns > world->now_ns)
			continue;
		if (arm_run(arm))
			arm->ready_ns = 0;
	}
}

void kernel_progress(struct kernel *kernel)
{
	bool timeouts_first = dice_chance(dice_of(kernel), 50);

	if (timeouts_first)
		timeouts_fire(kernel);
	arms_run(kernel);
	if (!timeouts_first)
		timeouts_fire(kernel);
	for (struct link *l = kernel->announcements.next, *next; l != &kernel->announcements; l = next) {
		struct announcement *announcement = owner_of(l, struct announcement, in_kernel);

		next = l->next;
		if (announcement->at_ns > kernel->world->now_ns)
			continue;
		link_remove(&announcement->in_kernel);
		complete(kernel, NULL, (struct kernel_completion){ .user_data = announcement->user_data });
		free(announcement);
	}
}

uint64_t kernel_next_ns(struct kernel *kernel)
{
	uint64_t next = UINT64_MAX;

	for (struct link *l = kernel->arms.next; l != &kernel->arms; l = l->next) {
		struct arm *arm = owner_of(l, struct arm, in_kernel);
		uint64_t at = UINT64_MAX;

		if (arm_ready(arm))
			at = arm->ready_ns ? arm->ready_ns : kernel->world->now_ns;
		else if (arm->request.code == KERNEL_READ)
			at = arm->thing->readable_ns;
		else if (arm->outcome_ns)
			at = arm->outcome_ns;
		if (at < next)
			next = at;
	}
	for (struct link *l = kernel->timeouts.next; l != &kernel->timeouts; l = l->next) {
		if (owner_of(l, struct timeout, in_kernel)->fires_ns < next)
			next = owner_of(l, struct timeout, in_kernel)->fires_ns;
	}
	for (struct link *l = kernel->announcements.next; l != &kernel->announcements; l = l->next) {
		if (owner_of(l, struct announcement, in_kernel)->at_ns < next)
			next = owner_of(l, struct announcement, in_kernel)->at_ns;
	}
	return next;
}

bool kernel_has_completions(const struct kernel *kernel)
{
	return kernel->completion_count > 0;
}

uint64_t kernel_sleeps_until(const struct kernel *kernel)
{
	return kernel->sleeps_until_ns;
}

void kernel_wakes(struct kernel *kernel)
{
	kernel->sleeps_until_ns = 0;
}

/* An announcement may still lie there: whoever sent it did not know that this core was ending. */
bool kernel_idle(const struct kernel *kernel)
{
	for (unsigned i = 0; i < kernel->completion_count; i++) {
		if (kernel->completions[i].thing)
			return false;
	}
	return link_alone(&kernel->arms) && kernel->submission_count == 0;
}

bool kernel_announced(const struct kernel *kernel)
{
	return !link_alone(&kernel->announcements) || kernel->completion_count > 0;
}

unsigned kernel_lent(const struct kernel *kernel)
{
	return kernel->buffers_lent;
}

uint64_t kernel_started(const struct kernel *kernel)
{
	return kernel->serial;
}

/* ---- sockets -------------------------------------------------------------------------------------------------------------- */

static struct thing *thing_open(struct kernel *kernel, int fd, const char *what)
{
	struct thing *thing = world_thing(kernel->world, fd);

	if (!thing)
		world_fail(kernel->world, "%s of descriptor %d, which is closed", what, fd);
	return thing;
}

int kernel_listen(struct kernel *kernel, const struct sockaddr *address, socklen_t size, int backlog)
{
	struct thing *listener;
	int fd;

	check(backlog > 0 && size <= sizeof listener->address);
	listener = world_listen(kernel->world, address, size, NULL, NULL);
	fd = world_descriptor(kernel->world, listener);
	if (fd < 0)
		listener->closed = true;
	return fd;
}

int kernel_accept_now(struct kernel *kernel, int fd)
{
	struct thing *listener = thing_open(kernel, fd, "accept");
	int accepted;

	check(listener->kind == WORLD_LISTENER);
	if (listener->accept || listener->queued)
		world_fail(kernel->world, "accepting at once on descriptor %d while an accept is in flight", fd);
	if (link_alone(&listener->backlog))
		return -EAGAIN;
	accepted = world_descriptor(kernel->world, owner_of(listener->backlog.next, struct thing, in_backlog));
	if (accepted >= 0)
		world_accept(listener);
	return accepted;
}

int kernel_socket(struct kernel *kernel, const struct sockaddr *peer)
{
	check(peer->sa_family == AF_INET || peer->sa_family == AF_INET6 || peer->sa_family == AF_UNIX);
	return world_descriptor(kernel->world, world_thing_new(kernel->world, WORLD_SOCKET));
}

void kernel_shutdown(struct kernel *kernel, int fd, int how)
{
	struct thing *thing = thing_open(kernel, fd, "shutdown");

	world_trace(kernel->world, "core %u: shutdown of %d", kernel->index, fd);
	if (how == SHUT_WR || how == SHUT_RDWR)
		world_shutdown(thing);
	if (how == SHUT_RD || how == SHUT_RDWR)
		thing->fin_in = true;
}

bool kernel_peer_user(struct kernel *kernel, int fd, uint32_t *uid, int32_t *pid)
{
	thing_open(kernel, fd, "peer");
	*uid = 1000;
	*pid = 1;
	return true;
}

void kernel_abort(struct kernel *kernel, int fd)
{
	thing_open(kernel, fd, "abort")->aborts = true;
}

void kernel_no_delay(struct kernel *kernel, int fd)
{
	thing_open(kernel, fd, "no_delay");
}

void kernel_socket_close(struct kernel *kernel, int fd)
{
	struct thing *thing = thing_open(kernel, fd, "close");

	world_trace(kernel->world, "core %u: close of %d", kernel->index, fd);
	/* Closing does not cancel: what is armed stays armed, takes bytes from nobody's socket, and no FIN is sent. */
	if (thing->receive || thing->send || thing->accept || thing->read || thing->write || thing->queued)
		world_fail(kernel->world, "descriptor %d is closed with an operation in flight", fd);
	world_close(thing);
	world_descriptor_close(kernel->world, thing);
}

socklen_t kernel_peer(struct kernel *kernel, int fd, struct sockaddr_storage *peer)
{
	struct thing *thing = thing_open(kernel, fd, "peer");

	if (!thing->far || thing->dead)
		return 0;
	memset(peer, 0, sizeof *peer);
	peer->ss_family = AF_INET;
	return 16;
}
