/* tests/sim/main.c — runs scenarios by seed, or replays one.
 *
 *   sim [--scenario NAME] [--seed N] [--runs N] [--seconds S] [--jobs N] [--trace] [--list]
 *
 * The runs happen in child processes, so that a run that crashes, fails a check() or is found guilty by a sanitizer is
 * named by its seed like any other failure, and the next seeds still run. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILURES_MAX 5u
#define JOBS_MAX 16u
#define RUN_SECONDS_MAX 30u              /* of real time; no run comes near it */

static const struct scenario *const scenarios[] = {
	&SCENARIO_ECHO,
	&SCENARIO_STARVE,
	&SCENARIO_RELAY,
	&SCENARIO_PIPES,
	&SCENARIO_SCOPES,
	&SCENARIO_LISTEN,
	&SCENARIO_MAIL,
	&SCENARIO_WAITS,
	&SCENARIO_STALL,
	&SCENARIO_JOURNAL,
	&SCENARIO_COUNT,
	&SCENARIO_CLIENTS,
	&SCENARIO_UPSTREAMS,
	&SCENARIO_SOCKETS,
	&SCENARIO_LIVE,
	&SCENARIO_DRAIN,
	&SCENARIO_TLS,
	&SCENARIO_TLS_FAULTS,
};

struct options {
	const struct scenario *scenario; /* NULL: all, by their shares */
	uint64_t seed;
	uint64_t runs;
	unsigned seconds;
	unsigned jobs;
	bool trace;
};

/* What a child tells its parent before each run. */
#define ASIDE_BYTES 16384u

struct place {
	volatile uint64_t seed;
	const struct scenario *volatile scenario; /* the same address after a fork */
	int aside;                       /* what was said on standard error where a scenario is quiet */
};

static const struct scenario *scenario_find(const char *name)
{
	for (size_t i = 0; i < array_count(scenarios); i++) {
		if (strcmp(scenarios[i]->name, name) == 0)
			return scenarios[i];
	}
	return NULL;
}

static const struct scenario *scenario_of(const struct options *options, uint64_t seed)
{
	unsigned shares = 0;
	uint64_t place;

	if (options->scenario)
		return options->scenario;
	for (size_t i = 0; i < array_count(scenarios); i++)
		shares += scenarios[i]->share;
	place = seed % shares;
	for (size_t i = 0;; i++) {
		if (place < scenarios[i]->share)
			return scenarios[i];
		place -= scenarios[i]->share;
	}
}

static void run_one(const struct scenario *scenario, uint64_t seed, bool trace)
{
	struct sim *sim = malloc(sizeof *sim);

	check(sim);
	sim_init(sim, scenario->name, seed, trace);
	scenario->run(sim);
	free(sim);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The end of what a child said last. */
static bool said_aside(const struct place *place)
{
	char words[ASIDE_BYTES];
	const off_t size = lseek(place->aside, 0, SEEK_END);
	const ssize_t n = size <= 0 ? 0 : pread(place->aside, words, sizeof words, size > (off_t)sizeof words ? size - (off_t)sizeof words : 0);

	if (n <= 0)
		return false;
	fwrite(words, 1, (size_t)n, stderr);
	return true;
}

static pid_t child_start(const struct options *options, struct place *place, uint64_t seed, uint64_t end, double until)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child != 0)
		return child;
	world_aside = place->aside;
	world_aside_empty();
	for (; seed < end; seed += options->jobs) {
		place->seed = seed;
		place->scenario = scenario_of(options, seed);
		alarm(RUN_SECONDS_MAX);
		run_one(place->scenario, seed, options->trace);
		if (seconds_now() > until)
			break;
	}
	alarm(0);
	/* Through exit, so that leaks are looked for. */
	exit(0);
}

/* Seeds first, first + jobs, … in each child; a child that fails is followed by one that begins behind its last seed. */
static int run_all(const struct options *options)
{
	struct place *places = mmap(NULL, sizeof(struct place) * JOBS_MAX, PROT_READ | PROT_WRITE,
	                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[JOBS_MAX] = { 0 };
	double began = seconds_now();
	double until = options->seconds ? began + options->seconds : 1e300;
	uint64_t end = options->seconds && options->runs == 0 ? UINT64_MAX : options->seed + options->runs;
	unsigned failures = 0, running = 0;
	uint64_t last = options->seed;

	check(places != MAP_FAILED);
	for (unsigned i = 0; i < options->jobs; i++, running++) {
		places[i].aside = memfd_create("aside", MFD_CLOEXEC);
		check(places[i].aside >= 0);
		children[i] = child_start(options, &places[i], options->seed + i, end, until);
		check(children[i] > 0);
	}
	while (running > 0) {
		int status;
		pid_t child = wait(&status);
		unsigned i = 0;

		while (i < options->jobs && children[i] != child)
			i++;
		check(i < options->jobs);
		if (places[i].seed > last)
			last = places[i].seed;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			running--;
			continue;
		}
		failures++;
		/* world_fail has said so itself; a crash has not. */
		if (said_aside(&places[i]) || !WIFEXITED(status) || WEXITSTATUS(status) != 1)
			fprintf(stderr, "sim: scenario %s seed %llu failed: %s %d; replay with: sim --scenario %s --seed %llu --trace\n",
			        places[i].scenario->name, (unsigned long long)places[i].seed,
			        WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit status",
			        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			        places[i].scenario->name, (unsigned long long)places[i].seed);
		if (failures < FAILURES_MAX && places[i].seed + options->jobs < end && seconds_now() < until) {
			children[i] = child_start(options, &places[i], places[i].seed + options->jobs, end, until);
			check(children[i] > 0);
		} else {
			running--;
		}
	}
	printf("sim: seeds %llu to %llu in %.1f s: %u failed\n", (unsigned long long)options->seed,
	       (unsigned long long)last, seconds_now() - began, failures);
	munmap(places, sizeof(struct place) * JOBS_MAX);
	return failures ? 1 : 0;
}

static int usage(FILE *to)
{
	fputs("usage: sim [--scenario NAME] [--seed N] [--runs N] [--seconds S] [--jobs N] [--trace] [--list]\n"
	      "  --seed N       the first seed (1); alone: only this run\n"
	      "  --runs N       so many seeds from there (2000)\n"
	      "  --seconds S    stop after S seconds; without --runs, as many seeds as fit\n"
	      "  --jobs N       child processes (1)\n"
	      "  --trace        print what happens\n", to);
	return to == stdout ? 0 : 2;
}

int main(int count, char **words)
{
	static const struct option known[] = {
		{ "scenario", required_argument, NULL, 's' }, { "seed", required_argument, NULL, 'n' },
		{ "runs", required_argument, NULL, 'r' }, { "seconds", required_argument, NULL, 'S' },
		{ "jobs", required_argument, NULL, 'j' }, { "trace", no_argument, NULL, 't' },
		{ "list", no_argument, NULL, 'l' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct options options = { .jobs = 1 };
	bool seeded = false;

	for (int c; (c = getopt_long(count, words, "", known, NULL)) != -1;) {
		switch (c) {
		case 's':
			options.scenario = scenario_find(optarg);
			if (!options.scenario) {
				fprintf(stderr, "sim: there is no scenario \"%s\"; sim --list names them\n", optarg);
				return 2;
			}
			break;
		case 'n':
			options.seed = strtoull(optarg, NULL, 0);
			seeded = true;
			break;
		case 'r':
			options.runs = strtoull(optarg, NULL, 0);
			break;
		case 'S':
			options.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'j':
			options.jobs = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			options.trace = true;
			break;
		case 'l':
			for (size_t i = 0; i < array_count(scenarios); i++)
				printf("%-10s %s\n", scenarios[i]->name, scenarios[i]->sentence);
			return 0;
		default:
			return usage(c == 'h' ? stdout : stderr);
		}
	}
	if (optind < count || options.jobs < 1 || options.jobs > JOBS_MAX)
		return usage(stderr);
	if (seeded && options.runs == 0 && options.seconds == 0) {
		/* In this very process, for a debugger. */
		const struct scenario *scenario = scenario_of(&options, options.seed);

		run_one(scenario, options.seed, options.trace);
		printf("sim: scenario %s seed %llu: all is well\n", scenario->name, (unsigned long long)options.seed);
		return 0;
	}
	if (!seeded)
		options.seed = 1;
	if (options.runs == 0 && options.seconds == 0)
		options.runs = 2000;
	return run_all(&options);
}
