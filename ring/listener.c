/* See ring/listener.h. */
#include "ring/listener.h"

#include <errno.h>
#include <stdlib.h>

#define LISTENER_MAGIC 0x115e115eu

/* "A done does no work": the descriptor is noted, the task makes the connection. */
static void listener_note(struct op *op, const struct completion *completion)
{
	struct listener *l = owner_of(op, struct listener, accept);

	check(l->magic == LISTENER_MAGIC);
	if (completion->result >= 0) {
		if (l->waiting_count == l->waiting_size) {
			l->waiting_size = l->waiting_size ? l->waiting_size * 2 : 16;
			l->waiting = realloc(l->waiting, l->waiting_size * sizeof *l->waiting);
			check(l->waiting);
		}
		l->waiting[l->waiting_count++] = completion->result;
		stat_add(&l->core->stats.accepts, 1);
	} else if (completion->result != -ECANCELED && completion->result != -ECONNABORTED && completion->result != -EINTR) {
		/* EMFILE, ENFILE, ENOBUFS, ENOMEM: another arm at once would fail at once. */
		l->pausing = true;
		l->pauses++;
	}
	task_wake(&l->task);
}

/* The rest of the queue: closing with somebody in it would reset him. */
static void listener_finish(struct listener *l)
{
	int fd;

	while (scope_live(&l->scope) && l->open < l->open_max && (fd = kernel_accept_now(l->core->kernel, l->fd)) >= 0) {
		stat_add(&l->core->stats.accepts, 1);
		l->open++;
		l->accepted(l, fd);
	}
	scope_close(&l->scope, l->stopping);
}

static void listener_step(struct task *task)
{
	struct listener *l = owner_of(task, struct listener, task);

	check(l->magic == LISTENER_MAGIC);
	/* A callback may close everything; then `ended` closes the rest. */
	for (unsigned i = 0; i < LISTENER_AT_ONCE && l->waiting_at < l->waiting_count; i++) {
		if (!scope_live(&l->scope))
			return;
		l->open++;
		l->accepted(l, l->waiting[l->waiting_at++]);
	}
	if (l->waiting_at == l->waiting_count)
		l->waiting_at = l->waiting_count = 0;
	else
		task_wake(task);
	if (!scope_live(&l->scope))
		return;
	if (l->stopping) {
		if (op_idle(&l->accept) && l->waiting_count == 0)
			listener_finish(l);
		else
			op_cancel(&l->accept);
		return;
	}
	if (l->open >= l->open_max) {
		if (!op_idle(&l->accept) && !l->accept.cancelled) {
			l->refusals++;
			op_cancel(&l->accept);
		}
		return;
	}
	if (!op_idle(&l->accept))
		return;
	if (l->pausing) {
		if (!l->pause.fired) {
			if (!l->pause.set)
				timer_set(&l->pause, LISTENER_PAUSE_MS);
			return;
		}
		l->pausing = false;
		l->pause.fired = false;
	}
	l->accept.request = (struct kernel_request){ .code = KERNEL_ACCEPT, .fd = l->fd };
	op_start(&l->accept);
}

static void listener_ended(struct scope *scope)
{
	struct listener *l = owner_of(scope, struct listener, scope);

	/* Accepted while the scope was closing: the client sees an end before any byte, and may try again. */
	for (unsigned i = l->waiting_at; i < l->waiting_count; i++)
		kernel_socket_close(l->core->kernel, l->waiting[i]);
	free(l->waiting);
	l->waiting = NULL;
	l->waiting_at = l->waiting_count = l->waiting_size = 0;
	kernel_socket_close(l->core->kernel, l->fd);
	l->fd = -1;
	if (l->stopped)
		l->stopped(l);
}

static const char *listener_where(const struct scope *scope)
{
	return owner_of(scope, struct listener, scope)->name;
}

static const struct scope_kind listener_kind = { .name = "listener", .step = listener_where, .ended = listener_ended };

void listener_open(struct listener *l, struct core *core, int fd, const char *name, unsigned open_max,
                   listener_accepted *accepted, void *owner)
{
	check(open_max > 0);
	*l = (struct listener){
		.magic = LISTENER_MAGIC,
		.fd = fd,
		.core = core,
		.accepted = accepted,
		.owner = owner,
		.name = name,
		.open_max = open_max,
	};
	scope_open(&l->scope, &core->root, &listener_kind);
	op_init(&l->accept, &l->scope, "accept", listener_note);
	task_init(&l->task, &l->scope, "listener", listener_step);
	timer_init(&l->pause, &l->scope, &l->task);
	task_wake(&l->task);
}

void listener_closed(struct listener *l)
{
	check(l->open > 0);
	l->open--;
	task_wake(&l->task);
}

void listener_stop(struct listener *l, const struct reason *reason)
{
	if (!l->stopping)
		l->stopping = reason;
	task_wake(&l->task);
}
