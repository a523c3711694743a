/* perf/load/words.c — see words.h. */
#include "perf/load/words.h"

#include "perf/fatal.h"

#include <string.h>
#include <unistd.h>

static void words_read(struct op *op, const struct completion *completion)
{
	struct words *w = owner_of(op, struct words, read);

	if (completion->result > 0)
		w->count += (size_t)completion->result;
	else
		w->ended = true;
	w->news = true;
	task_wake(&w->task);
}

/* The turn in which something was read does not sleep: words_next looks behind it. */
static void words_step(struct task *task)
{
	struct words *w = owner_of(task, struct words, task);

	if (w->news)
		task_wake_later(task);
	w->news = false;
}

static const struct scope_kind words_kind = { .name = "words" };

void words_open(struct words *w, struct core *core)
{
	*w = (struct words){ 0 };
	scope_open(&w->scope, &core->root, &words_kind);
	op_init(&w->read, &w->scope, "words", words_read);
	task_init(&w->task, &w->scope, "words", words_step);
}

const char *words_next(struct words *w)
{
	char *end;

	w->count -= w->given;
	memmove(w->bytes, w->bytes + w->given, w->count);
	w->given = 0;
	while (!(end = memchr(w->bytes, '\n', w->count))) {
		if (w->ended)
			return NULL;
		if (w->count == sizeof w->bytes)
			FATAL("a word of more than %u bytes", WORDS_BYTES_MAX);
		if (op_idle(&w->read)) {
			w->read.request = (struct kernel_request){ .code = KERNEL_READ, .fd = STDIN_FILENO, .offset = -1,
				.bytes = w->bytes + w->count, .size = (uint32_t)(sizeof w->bytes - w->count) };
			op_start(&w->read);
		}
		core_turn(w->scope.core, true);
	}
	*end = 0;
	w->given = (size_t)(end + 1 - w->bytes);
	return w->bytes;
}
