/* Where the audit trail lies and where it ends: every core is asked, because a stream's end belongs to its core. Reading the files
 * is for whoever asks (posternctl audit): they are plain, and never change but at their ends. */
#include "gateway/serve/admin.h"
#include "gateway/journal/journal.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>

struct asked {                           /* one core's share */
	struct message message;
	struct heads *heads;
	struct journal_head head;        /* the asked core's, until it has answered */
	bool known;
	bool answered;                   /* on core 0 */
};

struct heads {
	struct exchange *exchange;       /* NULL: it has ended */
	struct worker *worker;           /* core 0's */
	unsigned missing;
	unsigned count;
	struct asked asked[];
};

static void look(const struct worker *worker, struct asked *asked)
{
	if (!worker->counting || !worker->counting->journal)
		return;
	journal_head_now(worker->counting->journal, &asked->head);
	asked->known = true;
}

static void asked_answered(struct core *to, struct message *message)
{
	struct asked *asked = owner_of(message, struct asked, message);
	struct heads *heads = asked->heads;

	(void)to;
	asked->answered = true;
	heads->missing--;
	if (heads->exchange)
		task_wake(&heads->exchange->task);
	else if (heads->missing == 0)
		free(heads);
}

static void asked_deliver(struct core *to, struct message *message)
{
	struct asked *asked = owner_of(message, struct asked, message);

	look(to->gateway, asked);
	message->deliver = asked_answered;
	core_post(to, 0, message);
}

struct heads *heads_begin(struct exchange *x)
{
	struct worker *worker = x->worker;
	const unsigned count = worker->gateway->cores.count;
	struct heads *heads = calloc(1, sizeof *heads + count * sizeof heads->asked[0]);

	check(heads);
	heads->exchange = x;
	heads->worker = worker;
	heads->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct asked *asked = &heads->asked[i];

		asked->message.deliver = asked_deliver;
		asked->heads = heads;
		if (i == 0 || atomic_load(&worker->gateway->workers[i]->gone)) {
			if (i == 0)
				look(worker, asked);
			asked->answered = true;
			continue;
		}
		heads->missing++;
		core_post(&worker->core, i, &asked->message);
	}
	return heads;
}

bool heads_complete(const struct heads *heads)
{
	return heads->missing == 0;
}

static json_t *head_page(unsigned stream, const struct journal_head *head)
{
	static const char digits[] = "0123456789abcdef";
	char hash[2 * RECORD_CHAIN_BYTES + 1] = { 0 };

	for (unsigned i = 0; i < RECORD_CHAIN_BYTES; i++) {
		hash[2 * i] = digits[head->chain[i] >> 4];
		hash[2 * i + 1] = digits[head->chain[i] & 15];
	}
	return json_pack("{s:i,s:I,s:s}", "stream", (int)stream, "sequence", (json_int_t)head->sequence, "hash", hash);
}

/* Streams of cores that there are no more stand where the start found them. A core that did not answer is named, and its stream not told. */
char *heads_page(const struct heads *heads)
{
	const struct gateway *gateway = heads->worker->gateway;
	const struct recovery *recovery = &gateway->counting.recovery;
	char directory[PATH_MAX];
	json_t *page = json_object(), *streams = json_array(), *silent = json_array();
	char *text;

	check(page && streams && silent);
	for (unsigned i = 0; i < heads->count; i++) {
		if (!heads->asked[i].answered)
			json_array_append_new(silent, json_integer(i));
		else if (heads->asked[i].known)
			json_array_append_new(streams, head_page(i, &heads->asked[i].head));
	}
	for (unsigned i = heads->count; i < recovery->stream_count; i++)
		if (recovery->heads[i].sequence > 0)
			json_array_append_new(streams, head_page(i, &recovery->heads[i]));
	if (!realpath(gateway->config->state, directory))
		directory[0] = '\0';
	json_object_set_new(page, "state", json_string(directory));
	json_object_set_new(page, "streams", streams);
	if (json_array_size(silent) > 0)
		json_object_set(page, "cores_silent", silent);
	json_decref(silent);
	text = json_dumps(page, JSON_COMPACT);
	json_decref(page);
	check(text);
	return text;
}

void heads_end(struct heads *heads)
{
	heads->exchange = NULL;
	if (heads->missing == 0)
		free(heads);
}
