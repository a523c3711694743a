/* perf/load/load.c — see load.h. */
#include "perf/load/load.h"

#include "perf/fatal.h"

#include <sys/resource.h>

#define AT_ONCE 256u                     /* units that begin in one step of an open loop */
#define LOOK_NS 100000000u

uint64_t load_now_ns(const struct load *l)
{
	return kernel_now_ns(l->core->kernel);
}

void load_sample(struct load *l, uint64_t ns)
{
	if (l->sample_count < LOAD_SAMPLES_MAX)
		l->samples[l->sample_count++] = (uint32_t)(ns / 100);
}

/* ---- units begin, and end ---- */

/* `work` is the first member, so a client leads to the load. */
static void unit_done(struct client *c)
{
	struct load *l = (struct load *)(void *)c->work;

	l->busy--;
	if (c->ended_well && l->counted)
		load_sample(l, load_now_ns(l) - c->began_ns);
	if (!l->once)
		l->resting[l->resting_count++] = c;
	task_wake(&l->task);
}

static void load_begin(struct load *l, struct client *c, uint64_t began_ns)
{
	c->began_ns = began_ns;
	l->busy++;
	l->left--;
	client_start(c);
}

/* As many as there are now: one who fails at once is back at rest, and waits for the next turn. */
static void begin_resting(struct load *l, uint64_t now)
{
	for (unsigned count = l->resting_count; count > 0 && l->busy < l->busy_max && l->left > 0; count--)
		load_begin(l, l->resting[--l->resting_count], now);
	if (l->resting_count > 0 && l->busy < l->busy_max && l->left > 0)
		task_wake_later(&l->task);
}

/* Open loop: all whose time has come. When the next one's has. */
static uint64_t begin_due(struct load *l, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	unsigned count = l->resting_count, kept = 0, due_count = 0;
	struct client *due[AT_ONCE];

	for (unsigned i = 0; i < count; i++) {
		struct client *c = l->resting[i];

		if (c->due_ns < l->ends_ns && c->due_ns <= now && due_count < AT_ONCE) {
			due[due_count++] = c;
			continue;
		}
		if (c->due_ns < l->ends_ns && c->due_ns < next)
			next = c->due_ns;
		l->resting[kept++] = c;
	}
	l->resting_count = kept;
	for (unsigned i = 0; i < due_count; i++) {
		uint64_t began = due[i]->due_ns;

		due[i]->due_ns += l->interval_ns;
		load_begin(l, due[i], began);
	}
	return next;
}

/* Is there a client whose next unit was due before the end? */
static bool load_owes(const struct load *l)
{
	for (unsigned i = 0; i < l->client_count; i++) {
		if (l->clients[i].due_ns < l->ends_ns)
			return true;
	}
	return false;
}

/* It would be flattering to forget those who never had their turn. */
static void load_count_owed(struct load *l, uint64_t now)
{
	for (unsigned i = 0; i < l->client_count; i++) {
		for (uint64_t due = l->clients[i].due_ns; due < l->ends_ns; due += l->interval_ns) {
			if (l->counted)
				load_sample(l, now - due);
			l->owed++;
		}
	}
}

static bool load_is_over(struct load *l, uint64_t now)
{
	if (l->interval_ns && now >= l->ends_ns && load_owes(l)) {
		if (now < l->ends_ns + LOAD_OWED_NS)
			return false;
		load_count_owed(l, now);
	}
	return now >= l->ends_ns || (l->once && l->busy == 0 && l->resting_count == 0) || (l->left == 0 && l->busy == 0);
}

static void load_step(struct task *task)
{
	struct load *l = owner_of(task, struct load, task);
	uint64_t now = load_now_ns(l), next = UINT64_MAX;

	if (!l->runs)
		return;
	if (l->begins && load_is_over(l, now))
		l->begins = false;
	if (l->begins && l->interval_ns)
		next = begin_due(l, now);
	else if (l->begins)
		begin_resting(l, now);
	if (!l->begins && l->busy == 0) {
		l->runs = false;
		load_look(l);
		return;
	}
	if (now >= l->ends_ns + LOAD_DRAIN_NS)
		FATAL("%u of %u clients got no answer within %u s (first error: %s)", l->busy, l->client_count,
			(unsigned)(LOAD_DRAIN_NS / 1000000000u), l->work.errors ? l->work.first_error : "none");
	if (next > now + LOOK_NS)
		next = now + LOOK_NS;
	if (l->begins && now < l->ends_ns && l->ends_ns < next)
		next = l->ends_ns;
	core_alarm(l->core, next, task);
}

void load_look(struct load *l)
{
	task_wake_later(&l->task);
}

void load_turn(struct load *l, uint64_t until_ns)
{
	core_alarm(l->core, until_ns, &l->task);
	core_turn(l->core, true);
}

uint64_t load_run(struct load *l, uint64_t run_ns)
{
	uint64_t start = load_now_ns(l);

	for (unsigned i = 0; i < l->client_count; i++)
		l->clients[i].due_ns = start + l->interval_ns * i / l->client_count;
	l->ends_ns = start + run_ns;
	l->owed = 0;
	l->begins = l->runs = true;
	task_wake(&l->task);
	while (l->runs)
		core_turn(l->core, true);
	core_alarm(l->core, UINT64_MAX, NULL);
	return load_now_ns(l) - start;
}

/* ---- a load's life ---- */

static const struct scope_kind load_kind = { .name = "load" };

void load_open(struct load *l, struct core *core)
{
	l->core = core;
	scope_open(&l->scope, &core->root, &load_kind);
	task_init(&l->task, &l->scope, "load", load_step);
	l->work.done = unit_done;
	l->busy_max = l->once ? LOAD_OPENING_MAX : l->client_count;
	l->clients = memory_new(l->client_count, sizeof *l->clients);
	l->resting = memory_new(l->client_count, sizeof *l->resting);
	l->samples = memory_new(LOAD_SAMPLES_MAX, sizeof *l->samples);     /* touched only as far as it is used */
	for (unsigned i = 0; i < l->client_count; i++) {
		client_init(&l->clients[i], &l->work);
		l->resting[l->resting_count++] = &l->clients[i];
	}
}

void load_close(struct load *l)
{
	for (unsigned i = 0; i < l->client_count; i++)
		client_fini(&l->clients[i]);
	scope_close(&l->scope, &RING_DONE);
}

void load_fini(struct load *l)
{
	free(l->clients);
	free(l->resting);
	free(l->samples);
}

/* ---- what is told ---- */

static int sample_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void load_sort(struct load *l)
{
	qsort(l->samples, l->sample_count, sizeof *l->samples, sample_compare);
}

double load_sample_us(const struct load *l, double share)
{
	return l->sample_count ? l->samples[(size_t)((double)(l->sample_count - 1) * share)] / 10.0 : 0;
}

double load_cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

unsigned load_connected(const struct load *l)
{
	unsigned count = 0;

	for (unsigned i = 0; i < l->client_count; i++)
		count += client_connected(&l->clients[i]);
	return count;
}

void load_tell(struct load *l, uint64_t elapsed_ns, double cpu)
{
	load_sort(l);
	printf("{\"units\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"first_error\": \"%s\", \"key_exchange\": \"%s\", "
	       "\"full\": %llu, \"resumed\": %llu, \"tickets\": %llu, \"connected\": %u, \"cpu_s\": %.6f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, \"owed\": %llu}\n",
		(unsigned long long)l->work.units, (double)elapsed_ns / 1e9, (unsigned long long)l->work.errors, l->work.first_error,
		l->work.key_exchange ? l->work.key_exchange : "", (unsigned long long)l->work.full,
		(unsigned long long)l->work.resumed, (unsigned long long)l->work.tickets, load_connected(l), cpu,
		load_sample_us(l, 0.5), load_sample_us(l, 0.99), load_sample_us(l, 0.999), load_sample_us(l, 1), (unsigned long long)l->owed);
	fflush(stdout);
}
