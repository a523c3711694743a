/* The mailbox under two real threads: each letter once, in order, with what was written into it, and answers back.
 *
 * Built with ThreadSanitizer this shows that the queue's own release and acquire are enough: between the barrier and the
 * join the threads share nothing else. The kernel's part, the announcement, is left out; a thread that finds nothing
 * yields. */
#include "ring/mailbox.c"
#include "ring/reason.c"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define LETTERS 60000u

#define must(fact) ((fact) ? (void)0 : must_failed(#fact, __LINE__))

static _Noreturn void must_failed(const char *fact, int line)
{
	fprintf(stderr, "tests/threads/ring_mailbox.c:%d: not so: %s\n", line, fact);
	_exit(1);
}

struct letter {
	struct message message;
	uint64_t number;
	uint64_t words[4];
	bool answer;
};

/* What a core keeps for the test: only its own thread looks at it. */
struct side {
	struct core core;
	pthread_barrier_t *start;
	uint64_t posted, answered, arrived;
};

unsigned kernel_room(const struct kernel *kernel)
{
	(void)kernel;
	return 16;
}

int kernel_descriptor(const struct kernel *kernel)
{
	(void)kernel;
	return 0;
}

void kernel_announce(struct kernel *kernel, int other_descriptor, uint64_t user_data)
{
	(void)kernel, (void)other_descriptor, (void)user_data;
}

static void letter_deliver(struct core *to, struct message *message)
{
	struct letter *letter = owner_of(message, struct letter, message);
	struct side *side = owner_of(to, struct side, core);

	for (unsigned i = 0; i < array_count(letter->words); i++)
		must(letter->words[i] == letter->number * 31 + i);
	if (letter->answer) {
		must(letter->number == side->answered++);
		free(letter);
		return;
	}
	must(letter->number == side->arrived++);
	must(message->from == 1 - to->index);
	letter->answer = true;
	letter->number = side->arrived - 1;
	core_post(to, message->from, message);
}

static void *side_run(void *argument)
{
	struct side *side = argument;
	uint64_t turn = 0;

	pthread_barrier_wait(side->start);
	while (side->answered < LETTERS || side->arrived < LETTERS || mailbox_waits(&side->core)) {
		/* Bursts of every size, also far beyond what the queue holds. */
		for (uint64_t n = turn++ * 7919 % 3000; n > 0 && side->posted < LETTERS; n--) {
			struct letter *letter = calloc(1, sizeof *letter);

			must(letter);
			letter->message.deliver = letter_deliver;
			letter->number = side->posted++;
			for (unsigned i = 0; i < array_count(letter->words); i++)
				letter->words[i] = letter->number * 31 + i;
			core_post(&side->core, 1 - side->core.index, &letter->message);
		}
		mailbox_deliver(&side->core);
		mailbox_flush(&side->core);
		sched_yield();
	}
	return NULL;
}

int main(void)
{
	struct side *sides = calloc(2, sizeof *sides);
	struct core *all[2];
	struct cores cores = { .count = 2, .all = all };
	pthread_barrier_t start;
	pthread_t threads[2];

	must(sides);
	pthread_barrier_init(&start, NULL, 2);
	for (unsigned i = 0; i < 2; i++) {
		all[i] = &sides[i].core;
		sides[i].core.index = i;
		sides[i].core.cores = &cores;
		sides[i].start = &start;
		mailbox_init(&sides[i].core.mailbox, 2);
	}
	for (unsigned i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, side_run, &sides[i]) == 0);
	for (unsigned i = 0; i < 2; i++)
		must(pthread_join(threads[i], NULL) == 0);
	for (unsigned i = 0; i < 2; i++) {
		must(sides[i].answered == LETTERS && sides[i].arrived == LETTERS);
		must(stat_read(&sides[i].core.stats.mail_received) == 2 * LETTERS);
		mailbox_fini(&sides[i].core.mailbox);
	}
	pthread_barrier_destroy(&start);
	free(sides);
	printf("ring_mailbox: %u letters and answers each way\n", LETTERS);
	return 0;
}
