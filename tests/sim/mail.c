/* tests/sim/mail.c — cores that write to each other: single letters, floods over MAILBOX_SLOTS, letters to oneself, answers
 * from inside `deliver`, and announcements that come late.
 *
 * Each letter arrives once, on the core it was sent to, in the order of its pair, and none is left lying while its
 * reader sleeps. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct letter {
	struct message message;
	unsigned from, to;
	uint64_t number;                 /* in its pair */
	unsigned hops;
};

struct writer {
	struct mail *all;
	unsigned core;
	struct scope scope;
	struct task task;
	struct timer timer;
	uint64_t budget;
	struct letter *kept;             /* to be answered from a step */
};

struct mail {
	struct sim *sim;
	struct writer writer[WORLD_CORES_MAX];
	uint64_t sent[WORLD_CORES_MAX][WORLD_CORES_MAX], delivered[WORLD_CORES_MAX][WORLD_CORES_MAX];
	uint64_t under_way;
	unsigned flood_percent;
	unsigned hops_max;               /* 0: nobody answers, and nothing hides a lost announcement */
};

static const struct scope_kind writer_kind = { .name = "writer" };

static void letter_deliver(struct core *to, struct message *message);

static void letter_post(struct mail *mail, struct letter *letter, unsigned from, unsigned to)
{
	letter->message.deliver = letter_deliver;
	letter->from = from;
	letter->to = to;
	letter->number = mail->sent[from][to]++;
	mail->under_way++;
	core_post(&mail->sim->core[from], to, &letter->message);
}

static void letter_deliver(struct core *to, struct message *message)
{
	struct letter *letter = owner_of(message, struct letter, message);
	struct mail *mail = owner_of(to, struct sim, core[to->index])->scenario;
	struct world *world = &mail->sim->world;
	struct writer *writer = &mail->writer[to->index];

	if (letter->to != to->index || message->from != letter->from)
		world_fail(world, "a letter from %u to %u came to %u as from %u", letter->from, letter->to, to->index, message->from);
	if (letter->number != mail->delivered[letter->from][letter->to]++)
		world_fail(world, "letter %llu from %u to %u came out of order", (unsigned long long)letter->number, letter->from,
		           letter->to);
	mail->under_way--;
	if (letter->hops == 0) {
		free(letter);
		return;
	}
	letter->hops--;
	/* The same letter is the answer: at once, or from a step. */
	if (writer->kept || dice_chance(&world->dice, 70)) {
		letter_post(mail, letter, to->index, (unsigned)dice_below(&world->dice, mail->sim->cores.count));
	} else {
		writer->kept = letter;
		task_wake(&writer->task);
	}
}

static void writer_step(struct task *task)
{
	struct writer *writer = owner_of(task, struct writer, task);
	struct mail *mail = writer->all;
	struct dice *dice = sim_dice(mail->sim);
	uint64_t n = dice_chance(dice, mail->flood_percent) ? dice_between(dice, 500, 3 * MAILBOX_SLOTS) : dice_below(dice, 4);

	if (writer->kept) {
		struct letter *letter = writer->kept;

		writer->kept = NULL;
		letter_post(mail, letter, writer->core, (unsigned)dice_below(dice, mail->sim->cores.count));
	}
	for (unsigned to = (unsigned)dice_below(dice, mail->sim->cores.count); n > 0 && writer->budget > 0; n--) {
		struct letter *letter = calloc(1, sizeof *letter);

		check(letter);
		writer->budget--;
		letter->hops = (unsigned)dice_between(dice, 0, mail->hops_max);
		letter_post(mail, letter, writer->core, to);
	}
	if (writer->budget > 0)
		timer_set(&writer->timer, dice_scaled(dice, 1, 50));
}

static void mail_sleeps(struct world *world, unsigned core)
{
	struct sim *sim = world->owner;
	struct mail *mail = sim->scenario;

	if (mail->writer[core].kept)
		world_fail(world, "a quiet core with work left: core %u keeps a letter", core);
	/* A letter that found no room is tried again by the clock; that it comes in the end is seen by its reader. */
}

/* Between any two turns: whoever sleeps with a letter in his box has been told of it, or will be. */
static void mail_announced(struct sim *sim, unsigned from, unsigned to)
{
	const struct mail_queue *queue = &sim->core[to].mailbox.in[from];
	const struct kernel *kernel = sim->core[to].kernel;

	if (atomic_load(&queue->written) == atomic_load(&queue->read) || kernel_sleeps_until(kernel) <= sim->world.now_ns)
		return;
	if (!kernel_announced(kernel) && !sim->core[from].mailbox.announce[to])
		world_fail(&sim->world, "a quiet core with work left: core %u sleeps and was not told of its letters from %u", to,
		           from);
}

static bool mail_done(struct sim *sim)
{
	struct mail *mail = sim->scenario;

	for (unsigned from = 0; from < sim->cores.count; from++) {
		for (unsigned to = 0; to < sim->cores.count; to++)
			mail_announced(sim, from, to);
	}

	for (unsigned i = 0; i < sim->cores.count; i++) {
		if (mail->writer[i].budget > 0 || mail->writer[i].kept)
			return false;
	}
	return mail->under_way == 0;
}

static void mail_scenario(struct sim *sim)
{
	struct mail mail = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	unsigned cores = (unsigned)dice_between(dice, 2, 3);

	sim_open(sim, cores, 2, 16);
	sim->scenario = &mail;
	sim->world.sleeps = mail_sleeps;
	mail.flood_percent = (unsigned)(dice_chance(dice, 30) ? dice_between(dice, 1, 30) : 0);
	mail.hops_max = (unsigned)dice_below(dice, 4);
	for (unsigned i = 0; i < cores; i++) {
		struct writer *writer = &mail.writer[i];

		writer->all = &mail;
		writer->core = i;
		writer->budget = dice_below(dice, mail.flood_percent ? 12000 : 500);
		scope_open(&writer->scope, &sim->core[i].root, &writer_kind);
		task_init(&writer->task, &writer->scope, "writer", writer_step);
		timer_init(&writer->timer, &writer->scope, &writer->task);
		task_wake(&writer->task);
	}
	if (!sim_run(sim, mail_done))
		world_fail(&sim->world, "all cores sleep and %llu letters lie undelivered", (unsigned long long)mail.under_way);
	sim_finish(sim);
}

const struct scenario SCENARIO_MAIL = {
	.name = "mail", .share = 2, .run = mail_scenario,
	.sentence = "cores that write to each other, with floods and late announcements",
};
