/* See gateway/live/delivery.h. */
#include "gateway/live/delivery.h"
#include "gateway/gateway.h"
#include "gateway/live/live.h"

#include <stdlib.h>
#include <string.h>

struct delivery_share {                  /* one core's */
	struct message message;
	struct delivery *delivery;
	unsigned taken;                  /* the asked core's, until it has answered */
	bool answered;                   /* on the asking core */
};

struct delivery {
	struct exchange *exchange;       /* NULL: it has ended */
	struct note *note;
	unsigned taken;
	unsigned missing;                /* cores that have not answered */
	size_t patient_size;
	char patient[PATIENT_BYTES_MAX];
	unsigned count;                  /* of cores */
	struct delivery_share shares[];
};

static void delivery_free(struct delivery *delivery)
{
	note_put(delivery->note);
	free(delivery);
}

static void share_answered(struct core *to, struct message *message)
{
	struct delivery_share *share = owner_of(message, struct delivery_share, message);
	struct delivery *delivery = share->delivery;

	(void)to;
	share->answered = true;
	delivery->taken += share->taken;
	delivery->missing--;
	if (delivery->exchange)
		task_wake(&delivery->exchange->task);
	else if (delivery->missing == 0)
		delivery_free(delivery);
}

static void share_deliver(struct core *to, struct message *message)
{
	struct delivery_share *share = owner_of(message, struct delivery_share, message);
	const struct delivery *delivery = share->delivery;
	const unsigned from = message->from;

	/* A core that has ended has no socket any more; its letters are still opened (gateway/run.c). */
	if (scope_live(&to->root))
		share->taken = live_deliver(to->gateway, (struct http_text){ delivery->patient, delivery->patient_size }, delivery->note);
	message->deliver = share_answered;
	core_post(to, from, message);
}

struct delivery *delivery_begin(struct exchange *x, struct http_text patient, struct note *note)
{
	struct worker *worker = x->worker;
	const unsigned count = worker->gateway->cores.count;
	struct delivery *delivery = calloc(1, sizeof *delivery + count * sizeof delivery->shares[0]);

	check(delivery && patient.size <= PATIENT_BYTES_MAX);
	delivery->exchange = x;
	delivery->note = note;
	delivery->patient_size = patient.size;
	memcpy(delivery->patient, patient.bytes, patient.size);
	delivery->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct delivery_share *share = &delivery->shares[i];

		*share = (struct delivery_share){ .message = { .deliver = share_deliver }, .delivery = delivery };
		if (i == worker->core.index) {
			share->answered = true; /* at once: here it needs no message */
			delivery->taken += live_deliver(worker, patient, note);
		} else if (atomic_load(&worker->gateway->workers[i]->gone)) {
			share->answered = true; /* it has drained, and has nothing any more */
		} else {
			delivery->missing++;
			core_post(&worker->core, i, &share->message);
		}
	}
	return delivery;
}

bool delivery_complete(const struct delivery *delivery)
{
	return delivery->missing == 0;
}

unsigned delivery_count(const struct delivery *delivery)
{
	return delivery->taken;
}

bool delivery_silent(const struct delivery *delivery, unsigned core)
{
	check(core < delivery->count);
	return !delivery->shares[core].answered;
}

void delivery_end(struct delivery *delivery)
{
	delivery->exchange = NULL;
	if (delivery->missing == 0)
		delivery_free(delivery);
}
