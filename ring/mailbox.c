/* One bounded queue for each pair of cores; see ring/mailbox.h. The receiver owns `in`, the sender its `waiting`. */
#include "ring/mailbox.h"
#include "ring/core.h"

#include <stdlib.h>
#include <string.h>

#define KIND_MAIL 2u

void mailbox_init(struct mailbox *mailbox, unsigned cores)
{
	*mailbox = (struct mailbox){ .count = cores };
	mailbox->in = aligned_alloc(64, cores * sizeof *mailbox->in);
	mailbox->waiting = calloc(cores, sizeof *mailbox->waiting);
	mailbox->announce = calloc(cores, sizeof *mailbox->announce);
	check(mailbox->in && mailbox->waiting && mailbox->announce);
	memset(mailbox->in, 0, cores * sizeof *mailbox->in);
	for (unsigned i = 0; i < cores; i++)
		link_init(&mailbox->waiting[i]);
}

void mailbox_fini(struct mailbox *mailbox)
{
	free(mailbox->in);
	free(mailbox->waiting);
	free(mailbox->announce);
	*mailbox = (struct mailbox){ 0 };
}

/* The release pairs with the acquire in mailbox_deliver: whoever sees the count sees the message. */
static bool queue_put(struct mail_queue *queue, struct message *message)
{
	uint32_t written = atomic_load_explicit(&queue->written, memory_order_relaxed);

	if (written - atomic_load_explicit(&queue->read, memory_order_acquire) == MAILBOX_SLOTS)
		return false;
	queue->slots[written % MAILBOX_SLOTS] = message;
	atomic_store_explicit(&queue->written, written + 1, memory_order_release);
	return true;
}

void core_post(struct core *from, unsigned to, struct message *message)
{
	struct mailbox *mine = &from->mailbox;

	check(to < mine->count);
	message->from = from->index;
	link_init(&message->in_waiting);
	mine->announce[to] = true;
	/* Behind what waits already, or the order of a pair's messages would not hold. */
	if (!link_alone(&mine->waiting[to]) || !queue_put(&from->cores->all[to]->mailbox.in[from->index], message))
		link_put_last(&mine->waiting[to], &message->in_waiting);
}

void mailbox_deliver(struct core *core)
{
	for (unsigned i = 0; i < core->mailbox.count; i++) {
		struct mail_queue *queue = &core->mailbox.in[i];
		uint32_t read = atomic_load_explicit(&queue->read, memory_order_relaxed);
		uint32_t written = atomic_load_explicit(&queue->written, memory_order_acquire);

		while (read != written) {
			struct message *message = queue->slots[read % MAILBOX_SLOTS];

			atomic_store_explicit(&queue->read, ++read, memory_order_release);
			stat_add(&core->stats.mail_received, 1);
			message->deliver(core, message);
		}
	}
}

bool mailbox_flush(struct core *core)
{
	struct mailbox *mine = &core->mailbox;
	bool own = false;

	for (unsigned to = 0; to < mine->count; to++) {
		struct core *other = core->cores->all[to];

		while (!link_alone(&mine->waiting[to])) {
			struct message *message = owner_of(mine->waiting[to].next, struct message, in_waiting);

			/* Out of the list first: once in the queue it is the reader's, who may have freed it. */
			link_remove(&message->in_waiting);
			if (!queue_put(&other->mailbox.in[core->index], message)) {
				link_put_first(&mine->waiting[to], &message->in_waiting);
				break;
			}
			mine->announce[to] = true; /* the reader may have gone to sleep since the last time */
		}
		/* To oneself nothing need be announced: the turn that posted does not sleep (ring/core.c). */
		if (mine->announce[to] && to != core->index) {
			if (kernel_room(core->kernel) < 1)
				return true;
			kernel_announce(core->kernel, kernel_descriptor(other->kernel), (uint64_t)KIND_MAIL << 56);
		}
		own |= mine->announce[to] && to == core->index;
		mine->announce[to] = false;
	}
	return own;
}

bool mailbox_waits(const struct core *core)
{
	for (unsigned to = 0; to < core->mailbox.count; to++)
		if (!link_alone(&core->mailbox.waiting[to]))
			return true;
	return false;
}
