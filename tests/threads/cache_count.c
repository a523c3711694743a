/* The count under real threads: nothing lost, nothing twice, nothing going back, and every read of one moment.
 *
 * Built with ThreadSanitizer, this shows two things at once: that the figures are right, and that every ordering the
 * code relies on to hand over memory is really there. (What orders atomics among themselves, it does not see; that is
 * argued in cache/lines.c, and some of it shows as wrong figures.) For the second the threads must not be ordered by anything else, or the sanitizer
 * would see that instead; so they meet at a barrier before, and are joined after, and between the two share nothing but
 * the table (and relaxed atomics, which order nothing). The one exception says so.
 *
 * It includes the files it tests, so that they are built with the sanitizer whatever the rest of the build is. */
#include "cache/count.c"
#include "cache/lines.c"
#include "cache/shard.c"
#include "cache/siphash.c"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WRITERS = 4, READERS = 2, THREADS = WRITERS + READERS };

static const uint8_t SEED[COUNT_SEED_BYTES] = { 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4, 6, 3, 7, 2, 8 };

/* The tests' own check: says which fact, and ends with 1, so that it is told from a sanitizer's finding. */
#define must(fact) ((fact) ? (void)0 : must_failed(#fact, __LINE__))

static _Noreturn void must_failed(const char *fact, int line)
{
	fprintf(stderr, "tests/threads/cache_count.c:%d: not so: %s\n", line, fact);
	_exit(1);
}

struct team {
	struct count *count;
	pthread_barrier_t start;
	_Atomic unsigned writing; /* writers still at work; read relaxed, it orders nothing */
	_Atomic unsigned reading; /* readers, likewise */
	void *own;                /* what the one test needs besides */
};

struct member {
	struct team *team;
	unsigned number;
	void (*run)(struct team *, unsigned number);
};

static void *member_run(void *user)
{
	struct member *member = user;

	if (member->number < WRITERS)
		count_take(member->team->count, member->number);
	pthread_barrier_wait(&member->team->start);
	member->run(member->team, member->number);
	if (member->number < WRITERS) {
		count_put(member->team->count, member->number);
		atomic_fetch_sub_explicit(&member->team->writing, 1, memory_order_relaxed);
	} else {
		atomic_fetch_sub_explicit(&member->team->reading, 1, memory_order_relaxed);
	}
	return NULL;
}

/* Runs WRITERS threads, each with the shard of its number, and READERS threads beside them, and waits for all. */
static void team_run(struct team *team, void (*write)(struct team *, unsigned), void (*read)(struct team *, unsigned))
{
	struct member members[THREADS];
	pthread_t threads[THREADS];

	atomic_store_explicit(&team->writing, WRITERS, memory_order_relaxed);
	atomic_store_explicit(&team->reading, READERS, memory_order_relaxed);
	must(pthread_barrier_init(&team->start, NULL, THREADS) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		members[i] = (struct member){ team, i, i < WRITERS ? write : read };
		must(pthread_create(&threads[i], NULL, member_run, &members[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
	must(pthread_barrier_destroy(&team->start) == 0);
}

static bool team_writes(struct team *team)
{
	return atomic_load_explicit(&team->writing, memory_order_relaxed) > 0;
}

/* xorshift64: each thread's own numbers, the same in every run. */
static uint64_t next_number(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint32_t entered(struct count *count, const char *id)
{
	uint32_t site = UINT32_MAX;

	must(count_enter(count, id, strlen(id), &site) == COUNT_OK);
	return site;
}

static void enrolled(struct count *count, unsigned core, uint32_t site, int64_t by)
{
	must(count_reserve(count, core, site) == COUNT_OK);
	count_apply(count, core, site, (int64_t[]){ 0, by, 0, 0 }, 1);
}

/* --- every thread raises the same site; readers never see it go down or too high --------------------------------- */

enum { ONE_SITE_ADDS = 200000 };

static void one_site_write(struct team *team, unsigned number)
{
	uint32_t site = entered(team->count, "the one");

	for (unsigned i = 0; i < ONE_SITE_ADDS; i++)
		enrolled(team->count, number, site, 1);
}

static void one_site_read(struct team *team, unsigned number)
{
	int64_t before = 0;

	(void)number;
	do {
		uint32_t site;
		int64_t now;

		if (count_find(team->count, "the one", 7, &site) == COUNT_SITE_UNKNOWN) {
			must(before == 0);
			continue;
		}
		now = count_read(team->count, site);
		must(now >= before);
		must(now <= (int64_t)WRITERS * ONE_SITE_ADDS);
		before = now;
	} while (team_writes(team));
}

static void one_site_loses_nothing(void)
{
	struct team team = { .count = count_new(WRITERS, 1, SEED) };

	must(team.count != NULL);
	team_run(&team, one_site_write, one_site_read);
	must(count_read(team.count, 0) == (int64_t)WRITERS * ONE_SITE_ADDS);
	count_free(team.count);
}

/* --- every thread raises thousands of sites, first seen while others read them ----------------------------------- */

enum { MANY_SITES = 3000, MANY_ADDS = 60000 };

static size_t many_id(char id[24], uint32_t which)
{
	return (size_t)snprintf(id, 24, "site-%u", (unsigned)which);
}

/* own: what each writer added, [WRITERS][MANY_SITES], by the name of the site and not by its number. */
static void many_write(struct team *team, unsigned number)
{
	int64_t(*added)[MANY_SITES] = team->own;
	uint64_t state = number + 1;

	for (unsigned i = 0; i < MANY_ADDS; i++) {
		uint32_t which = (uint32_t)(next_number(&state) % MANY_SITES);
		int64_t by = (int64_t)(next_number(&state) % 3) + 1;
		char id[24];

		many_id(id, which);
		enrolled(team->count, number, entered(team->count, id), by);
		added[number][which] += by;
	}
}

struct many_reader {
	uint32_t next;
	int64_t before[MANY_SITES];
	uint32_t named[MANY_SITES]; /* what stood at this number when it was first listed */
};

static bool many_listed(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n)
{
	struct many_reader *reader = user;
	char text[24] = "";
	unsigned which;

	must(site == reader->next++);
	must(id_bytes < sizeof(text));
	memcpy(text, id, id_bytes);
	must(sscanf(text, "site-%u", &which) == 1 && which < MANY_SITES);
	must(reader->named[site] == 0 || reader->named[site] == which + 1);
	reader->named[site] = which + 1;
	must(n >= reader->before[site]);
	reader->before[site] = n;
	return true;
}

static void many_read(struct team *team, unsigned number)
{
	struct many_reader *reader = calloc(1, sizeof(*reader));
	uint64_t state = number + 100;

	must(reader != NULL);
	do {
		uint32_t listed, site;
		char id[24];

		reader->next = 0;
		listed = count_each(team->count, 0, many_listed, reader);
		must(listed == reader->next);
		for (unsigned i = 0; i < 100; i++) {
			size_t n = many_id(id, (uint32_t)(next_number(&state) % MANY_SITES));

			if (count_find(team->count, id, n, &site) == COUNT_OK) {
				int64_t now = count_read(team->count, site);

				must(now >= reader->before[site]);
				reader->before[site] = now;
			}
		}
	} while (team_writes(team));
	free(reader);
}

static void many_sites_lose_nothing(void)
{
	struct team team = { .count = count_new(WRITERS, MANY_SITES, SEED) };
	int64_t(*added)[MANY_SITES] = calloc(WRITERS, sizeof(*added));
	struct count_stats stats;

	must(team.count != NULL && added != NULL);
	team.own = added;
	team_run(&team, many_write, many_read);
	for (uint32_t which = 0; which < MANY_SITES; which++) {
		int64_t sum = 0;
		char id[24];

		for (unsigned i = 0; i < WRITERS; i++)
			sum += added[i][which];
		many_id(id, which);
		must(count_read(team.count, entered(team.count, id)) == sum);
	}
	count_stats(team.count, &stats);
	must(stats.sites == MANY_SITES);
	free(added);
	count_free(team.count);
}

/* --- all threads see the same new sites first, in a directory that holds just these ------------------------------ */

enum { RACE_ROUNDS = 60, RACE_SITES = 100 };

/* own: the numbers each writer was given, [WRITERS][RACE_SITES]. Half of the writers go through the sites in the same
 * order, to meet at the same one; the others come from the other end, to fill the directory's rest meanwhile. */
static void race_write(struct team *team, unsigned number)
{
	uint32_t(*given)[RACE_SITES] = team->own;

	for (uint32_t i = 0; i < RACE_SITES; i++) {
		uint32_t which = number < WRITERS / 2 ? i : RACE_SITES - 1 - i;
		char id[24];

		many_id(id, which);
		given[number][which] = entered(team->count, id);
		enrolled(team->count, number, given[number][which], 1);
	}
}

static bool listed_one(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n)
{
	(void)user, (void)site, (void)id, (void)id_bytes, (void)n;
	return false;
}

static void race_read(struct team *team, unsigned number)
{
	do {
		uint32_t site;
		char id[24];
		size_t n = many_id(id, RACE_SITES + number);

		must(count_find(team->count, id, n, &site) == COUNT_SITE_UNKNOWN);
		for (uint32_t which = 0; which < RACE_SITES; which++) {
			n = many_id(id, which);
			if (count_find(team->count, id, n, &site) == COUNT_SITE_UNKNOWN)
				continue;
			must(site < RACE_SITES && count_read(team->count, site) <= WRITERS);
			must(count_each(team->count, site, listed_one, NULL) == site + 1); /* found, so also listed */
		}
	} while (team_writes(team));
}

static void a_site_first_seen_by_all_at_once_is_one_site(void)
{
	for (unsigned round = 0; round < RACE_ROUNDS; round++) {
		uint8_t seed[COUNT_SEED_BYTES] = { (uint8_t)round };
		struct team team = { .count = count_new(WRITERS, RACE_SITES, seed) };
		uint32_t given[WRITERS][RACE_SITES];
		bool taken[RACE_SITES] = { false };
		uint32_t site;

		must(team.count != NULL);
		team.own = given;
		team_run(&team, race_write, race_read);
		for (uint32_t which = 0; which < RACE_SITES; which++) {
			for (unsigned i = 1; i < WRITERS; i++)
				must(given[i][which] == given[0][which]);
			must(given[0][which] < RACE_SITES && !taken[given[0][which]]);
			taken[given[0][which]] = true;
			must(count_read(team.count, given[0][which]) == WRITERS);
		}
		must(count_enter(team.count, "one more", 8, &site) == COUNT_SITES_SPENT);
		count_free(team.count);
	}
}

/* --- more sites than places: exactly the places are given, each once --------------------------------------------- */

enum { SPENT_PLACES = 50 };

/* own: how many sites of its own each writer brought in. */
static void spent_write(struct team *team, unsigned number)
{
	unsigned *brought = team->own;

	for (unsigned i = 0; i < SPENT_PLACES; i++) {
		enum count_answer answer;
		uint32_t site;
		char id[24];
		int n = snprintf(id, sizeof(id), "%u of %u", i, number);

		answer = count_enter(team->count, id, (size_t)n, &site);
		must(answer == COUNT_OK || answer == COUNT_SITES_SPENT);
		must(answer != COUNT_OK || site < SPENT_PLACES);
		brought[number] += answer == COUNT_OK;
	}
}

static void spent_read(struct team *team, unsigned number)
{
	(void)number;
	do {
		struct count_stats stats;

		count_stats(team->count, &stats);
		must(stats.sites <= SPENT_PLACES);
	} while (team_writes(team));
}

static void a_directory_filled_by_all_at_once_holds_exactly_its_limit(void)
{
	for (unsigned round = 0; round < RACE_ROUNDS; round++) {
		struct team team = { .count = count_new(WRITERS, SPENT_PLACES, SEED) };
		unsigned brought[WRITERS] = { 0 }, sum = 0;

		must(team.count != NULL);
		team.own = brought;
		team_run(&team, spent_write, spent_read);
		for (unsigned i = 0; i < WRITERS; i++)
			sum += brought[i];
		must(sum == SPENT_PLACES);
		count_free(team.count);
	}
}

/* --- who sees the count raised sees what was done before --------------------------------------------------------- */

enum { DONE_STEPS = 50000 };

/* own: plain memory, [WRITERS][DONE_STEPS], written before the step is counted. */
static void done_write(struct team *team, unsigned number)
{
	unsigned(*done)[DONE_STEPS] = team->own;
	uint32_t site;
	char id[24];

	many_id(id, number);
	site = entered(team->count, id);
	for (unsigned i = 0; i < DONE_STEPS; i++) {
		done[number][i] = i + 1;
		enrolled(team->count, number, site, 1);
	}
}

static void done_read(struct team *team, unsigned number)
{
	unsigned(*done)[DONE_STEPS] = team->own;
	uint64_t state = number;

	do {
		unsigned writer = (unsigned)(next_number(&state) % WRITERS);
		uint32_t site;
		char id[24];
		size_t n = many_id(id, writer);
		int64_t counted = 0;

		if (count_find(team->count, id, n, &site) == COUNT_OK)
			counted = count_read(team->count, site);
		if (counted > 0)
			must(done[writer][counted - 1] == (unsigned)counted);
	} while (team_writes(team));
}

static void who_sees_the_count_sees_what_was_done_before(void)
{
	struct team team = { .count = count_new(WRITERS, WRITERS, SEED) };

	must(team.count != NULL);
	team.own = calloc(WRITERS, sizeof(unsigned[DONE_STEPS]));
	must(team.own != NULL);
	team_run(&team, done_write, done_read);
	free(team.own);
	count_free(team.count);
}

/* --- who was answered reads it on any core ------------------------------------------------------------------------ */

/* Here the two threads are ordered on purpose, by a socket, as a client's POST to one core and GET from another are. */
enum { ANSWER_ROUNDS = 3000, ANSWER_SITES = ANSWER_ROUNDS / 3 };

struct answer_side {
	struct count *count;
	unsigned core;
	int socket;
};

static void answer_await(struct answer_side *side, unsigned round)
{
	uint32_t site, told[2];
	char id[24];
	size_t n = many_id(id, round % ANSWER_SITES);

	must(read(side->socket, told, sizeof(told)) == (ssize_t)sizeof(told));
	must(told[0] == round);
	must(count_find(side->count, id, n, &site) == COUNT_OK && site == told[1]);
	must(count_read(side->count, site) == round / ANSWER_SITES + 1);
}

static void answer_give(struct answer_side *side, unsigned round)
{
	uint32_t told[2] = { round };
	char id[24];

	many_id(id, round % ANSWER_SITES);
	told[1] = entered(side->count, id);
	enrolled(side->count, side->core, told[1], 1);
	must(write(side->socket, told, sizeof(told)) == (ssize_t)sizeof(told));
}

static void *answer_run(void *user)
{
	struct answer_side *side = user;

	count_take(side->count, side->core);
	for (unsigned round = 0; round < ANSWER_ROUNDS; round++) {
		if (round % 2 == side->core)
			answer_give(side, round);
		else
			answer_await(side, round);
	}
	count_put(side->count, side->core);
	return NULL;
}

static void who_was_answered_reads_it_on_any_core(void)
{
	struct count *count = count_new(2, ANSWER_SITES, SEED);
	struct answer_side sides[2];
	pthread_t threads[2];
	int sockets[2];

	must(count != NULL && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
	for (unsigned i = 0; i < 2; i++) {
		sides[i] = (struct answer_side){ count, i, sockets[i] };
		must(pthread_create(&threads[i], NULL, answer_run, &sides[i]) == 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		must(pthread_join(threads[i], NULL) == 0);
		close(sockets[i]);
	}
	count_free(count);
}

/* --- a shard that goes from thread to thread keeps what each added ------------------------------------------------ */

enum { HAND_TURNS = 400, HAND_SITES = HAND_TURNS + 1, HAND_STRIDE = LINES_BLOCK_SITES / 4 };

struct hand {
	struct shard *shard;
	unsigned number;
	unsigned *plain;        /* what only the shard's writer touches */
	_Atomic unsigned *turn; /* relaxed: the shard's own taking and giving back is what orders the writers */
};

static void hand_add(struct shard *shard, uint32_t site)
{
	must(shard_reserve(shard, site) == SHARD_OK);
	shard_apply(shard, site, (int64_t[]){ 0, 1, 0, 0 }, 1);
}

static int64_t hand_sum(const struct shard *shard, uint32_t site)
{
	struct line line;
	uint64_t version;

	must(shard_look(shard, site, &line, &version));
	return line.n[COUNT_ENROLLED];
}

static void *hand_run(void *user)
{
	struct hand *hand = user;

	for (unsigned turn = hand->number; turn < HAND_TURNS; turn += WRITERS) {
		/* The turn may be seen before the giving back that preceded it; taking then would stop the process. */
		while (atomic_load_explicit(hand->turn, memory_order_relaxed) != turn ||
		       atomic_load_explicit(&hand->shard->writer, memory_order_relaxed) != 0)
			sched_yield();
		shard_take(hand->shard);
		must(++*hand->plain == turn + 1);
		hand_add(hand->shard, 0);
		must(hand_sum(hand->shard, 0) == turn + 1);
		/* Every fourth time a new block, which the next three writers find. */
		hand_add(hand->shard, (turn + 1) * HAND_STRIDE);
		shard_put(hand->shard);
		atomic_store_explicit(hand->turn, turn + 1, memory_order_relaxed);
	}
	return NULL;
}

static void a_shard_that_changes_hands_keeps_what_was_added(void)
{
	_Atomic unsigned turn = 0;
	struct shard *shard = shard_new(HAND_SITES * HAND_STRIDE);
	struct hand hands[WRITERS];
	unsigned plain = 0;
	pthread_t threads[WRITERS];

	must(shard != NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		hands[i] = (struct hand){ shard, i, &plain, &turn };
		must(pthread_create(&threads[i], NULL, hand_run, &hands[i]) == 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		must(pthread_join(threads[i], NULL) == 0);
	must(hand_sum(shard, 0) == HAND_TURNS);
	must(hand_sum(shard, SHARD_STUDY) == 2 * HAND_TURNS);
	for (unsigned i = 1; i <= HAND_TURNS; i++)
		must(hand_sum(shard, i * HAND_STRIDE) == 1);
	shard_free(shard);
}

/* --- any two readings have an order, whoever made them ------------------------------------------------------------ */

/* Each writer adds in a digit of its own, so a reading tells how many adds of each writer it contains. If reads are of one
 * moment, of any two readings one contains everything that the other does: nobody was told that the first add
 * came before the second, and somebody else that it was the other way round. */
enum { ORDER_ROUNDS = 30, ORDER_DIGIT_BITS = 12, ORDER_ADDS = (1 << ORDER_DIGIT_BITS) - 1, ORDER_READINGS = 20000 };

/* own: the readings, [READERS][ORDER_READINGS]; where a reader stopped earlier, its last one again and again. The writers
 * yield now and then, so that there is something to read in between where cores are few. */
static void order_write(struct team *team, unsigned number)
{
	for (unsigned i = 0; i < ORDER_ADDS; i++) {
		enrolled(team->count, number, 0, INT64_C(1) << number * ORDER_DIGIT_BITS);
		if (i % 128 == number)
			sched_yield();
	}
}

static void order_read(struct team *team, unsigned number)
{
	int64_t *readings = ((int64_t(*)[ORDER_READINGS])team->own)[number - WRITERS];

	uint32_t site = number % 2 == 0 ? 0 : COUNT_STUDY;
	unsigned n = 0;

	readings[n++] = count_read(team->count, site);
	do {
		int64_t reading = count_read(team->count, site);

		if (reading != readings[n - 1])
			readings[n++] = reading;
	} while (n < ORDER_READINGS && team_writes(team));
	for (; n < ORDER_READINGS; n++)
		readings[n] = readings[n - 1];
}

static unsigned order_digit(int64_t reading, unsigned number)
{
	return (unsigned)(reading >> number * ORDER_DIGIT_BITS) & ORDER_ADDS;
}

static bool order_holds(int64_t before, int64_t after)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		if (order_digit(before, i) > order_digit(after, i))
			return false;
	}
	return true;
}

static int order_compare(const void *a, const void *b)
{
	unsigned sum_a = 0, sum_b = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		sum_a += order_digit(*(const int64_t *)a, i);
		sum_b += order_digit(*(const int64_t *)b, i);
	}
	return (sum_a > sum_b) - (sum_a < sum_b);
}

static void any_two_readings_have_an_order(void)
{
	int64_t(*readings)[ORDER_READINGS] = calloc(READERS, sizeof(*readings));
	int64_t *all = (int64_t *)readings;
	unsigned told_apart = 0;

	must(readings != NULL);
	for (unsigned round = 0; round < ORDER_ROUNDS; round++) {
		struct team team = { .count = count_new(WRITERS, 1, SEED), .own = readings };

		must(team.count != NULL);
		entered(team.count, "the one");
		team_run(&team, order_write, order_read);
		for (unsigned reader = 0; reader < READERS; reader++) {
			for (unsigned i = 1; i < ORDER_READINGS; i++)
				must(order_holds(readings[reader][i - 1], readings[reader][i]));
		}
		qsort(all, READERS * ORDER_READINGS, sizeof(int64_t), order_compare);
		for (unsigned i = 1; i < READERS * ORDER_READINGS; i++) {
			must(order_holds(all[i - 1], all[i]));
			told_apart += all[i - 1] != all[i];
		}
		count_free(team.count);
	}
	must(told_apart > ORDER_ROUNDS); /* else nobody read while anybody wrote, and nothing was seen */
	free(readings);
}

/* --- what one core lowers after another raised is never seen without it ------------------------------------------- */

/* Writers work in pairs: the first enrols while fewer than PAIR_ROOM are there, the second withdraws when there is one. Each
 * sees the other's line alone, which makes it wait; so at no moment is a pair's sum below zero or above its room. */
enum { PAIR_STEPS = 30000, PAIR_ROOM = 200, PAIRS = WRITERS / 2 };

static void pair_write(struct team *team, unsigned number)
{
	unsigned raiser = number & ~1u;
	bool raises = number == raiser;
	int64_t by[COUNT_KINDS] = { 0 };

	by[raises ? COUNT_ENROLLED : COUNT_WITHDRAWN] = 1;
	must(count_reserve(team->count, number, 0) == COUNT_OK);
	for (unsigned i = 0; i < PAIR_STEPS; i++) {
		struct line raised, lowered;
		int64_t n;

		for (;;) {
			count_line(team->count, raiser, 0, &raised);
			count_line(team->count, raiser + 1, 0, &lowered);
			n = raised.n[COUNT_ENROLLED] - lowered.n[COUNT_WITHDRAWN];
			if (raises ? n < PAIR_ROOM : n > 0)
				break;
			sched_yield();
		}
		count_apply(team->count, number, 0, by, i);
	}
}

static void pair_read(struct team *team, unsigned number)
{
	struct count_site found;
	uint64_t before = 0;

	do {
		uint32_t site = number % 2 == 0 ? 0 : COUNT_STUDY;
		int64_t n = count_read(team->count, site);

		must(n >= 0 && n <= PAIRS * PAIR_ROOM);
		count_look(team->count, site, &found);
		must(found.count >= 0 && found.count <= PAIRS * PAIR_ROOM);
		must(found.count == found.n[COUNT_ENROLLED] - found.n[COUNT_WITHDRAWN]);
		must((uint64_t)(found.n[COUNT_ENROLLED] + found.n[COUNT_WITHDRAWN]) == found.revision);
		must(found.revision >= before);
		before = found.revision;
	} while (team_writes(team));
}

static void what_is_lowered_is_never_seen_before_it_was_raised(void)
{
	struct team team = { .count = count_new(WRITERS, 1, SEED) };

	must(team.count != NULL);
	entered(team.count, "the one");
	team_run(&team, pair_write, pair_read);
	must(count_read(team.count, 0) == 0);
	count_free(team.count);
}

/* --- all kinds, the rules and the study move at one moment -------------------------------------------------------- */

enum { WHOLE_STEPS = 30000 };

/* All keep twice as many screened as enrolled, and three times as many randomised. The first writer also keeps the sum of its
 * enrolled and of what is reserved at zero, for the site and for the study, and as many changes of the one as of the other. */
static void whole_write(struct team *team, unsigned number)
{
	struct count_rules rules = { COUNT_RECRUITING, COUNT_NO_CAP, 0, 0, 0 };
	uint64_t state = number + 7;
	uint32_t site = number == 0 ? 0 : 1;

	must(count_reserve(team->count, number, site) == COUNT_OK);
	for (uint64_t i = 1; i <= WHOLE_STEPS; i++) {
		int64_t k = (int64_t)(next_number(&state) % 1000) - 300;
		const int64_t by[COUNT_KINDS] = { 2 * k, k, 3 * k, 0 };

		rules.reserved -= k;
		rules.changes = rules.stamp_ns = i;
		if (number == 0)
			count_publish(team->count, site, by, &rules, NULL, i);
		else
			count_apply(team->count, number, site, by, i);
	}
}

static void whole_looked(const struct team *team, uint32_t site, struct count_site *found)
{
	count_look(team->count, site, found);
	must(found->n[COUNT_SCREENED] == 2 * found->n[COUNT_ENROLLED]);
	must(found->n[COUNT_RANDOMISED] == 3 * found->n[COUNT_ENROLLED]);
	if (site == 0) {
		must(found->n[COUNT_ENROLLED] + found->rules.reserved == 0);
		must(found->revision == 2 * found->rules.changes && found->stamp_ns == found->rules.stamp_ns);
		must(found->stamp_ns == found->rules.changes);
	}
}

static void whole_read(struct team *team, unsigned number)
{
	struct count_site a, b, study;

	do {
		/* Only the lines' changes, for the study has no rules here: what was seen of sites is in the study, and the
		 * other way round. */
		whole_looked(team, 0, &a);
		whole_looked(team, 1, &b);
		whole_looked(team, COUNT_STUDY, &study);
		must(study.revision >= a.rules.changes + b.revision);
		if (number % 2 == 0) {
			whole_looked(team, 0, &a);
			whole_looked(team, 1, &b);
			must(a.rules.changes + b.revision >= study.revision);
		}
	} while (team_writes(team));
}

static void all_of_a_site_moves_at_one_moment(void)
{
	struct team team = { .count = count_new(WRITERS, 2, SEED) };

	must(team.count != NULL);
	entered(team.count, "a");
	entered(team.count, "b");
	team_run(&team, whole_write, whole_read);
	count_free(team.count);
}

/* --- the study's rules move with a site's ------------------------------------------------------------------------- */

/* One patient is reserved, enrolled, and withdrawn, again and again; at each moment it is in one of the three places. */
static void moved_write(struct team *team, unsigned number)
{
	struct count_rules rules = { COUNT_RECRUITING, 1, 0, 0, 0 };

	if (number != 0)
		return;
	must(count_reserve(team->count, 0, 0) == COUNT_OK);
	for (uint64_t i = 1; i <= WHOLE_STEPS; i++) {
		const int64_t by[COUNT_KINDS] = { [COUNT_ENROLLED] = i % 3 == 2, [COUNT_WITHDRAWN] = i % 3 == 0 };

		rules.reserved = i % 3 == 1;
		rules.changes = i;
		count_publish(team->count, 0, i % 3 == 1 ? NULL : by, &rules, &rules, i);
	}
}

static void moved_read(struct team *team, unsigned number)
{
	uint64_t before = 0;

	do {
		for (unsigned i = 0; i < 2; i++) {
			struct count_site found;

			count_look(team->count, (i + number) % 2 == 0 ? 0 : COUNT_STUDY, &found);
			must(found.rules.reserved == (found.rules.changes % 3 == 1));
			must(found.count == (found.rules.changes > 0 && found.rules.changes % 3 == 2));
			must(found.rules.changes >= before); /* whether of the site or of the study: both moved at once */
			before = found.rules.changes;
		}
	} while (team_writes(team));
}

static void a_patient_is_at_each_moment_in_one_place(void)
{
	struct team team = { .count = count_new(WRITERS, 1, SEED) };

	must(team.count != NULL);
	entered(team.count, "the one");
	team_run(&team, moved_write, moved_read);
	count_free(team.count);
}

/* --- readers get through, however much is written ----------------------------------------------------------------- */

enum { THROUGH_READS = 3000 };

static void through_write(struct team *team, unsigned number)
{
	must(count_reserve(team->count, number, 0) == COUNT_OK);
	while (atomic_load_explicit(&team->reading, memory_order_relaxed) > 0)
		count_apply(team->count, number, 0, (int64_t[]){ 0, 1, 0, 0 }, 1);
}

static void through_read(struct team *team, unsigned number)
{
	struct count_site found;
	int64_t n, before = 0;

	for (unsigned i = 0; i < THROUGH_READS; i++) {
		uint32_t site = (i + number) % 2 == 0 ? 0 : COUNT_STUDY;

		n = count_read(team->count, site);
		must(n >= before);
		count_look(team->count, site, &found);
		must(found.count >= n && (uint64_t)found.count == found.revision);
		before = found.count;
	}
}

static void readers_get_through_however_much_is_written(void)
{
	struct team team = { .count = count_new(WRITERS, 1, SEED) };

	must(team.count != NULL);
	entered(team.count, "the one");
	team_run(&team, through_write, through_read);
	must(atomic_load(&team.count->hurry->readers) == 0);
	count_free(team.count);
}

static const struct {
	const char *sentence;
	void (*run)(void);
} TESTS[] = {
	{ "one site loses nothing", one_site_loses_nothing },
	{ "many sites lose nothing", many_sites_lose_nothing },
	{ "a site first seen by all at once is one site", a_site_first_seen_by_all_at_once_is_one_site },
	{ "a directory filled by all at once holds exactly its limit",
	  a_directory_filled_by_all_at_once_holds_exactly_its_limit },
	{ "who sees the count sees what was done before", who_sees_the_count_sees_what_was_done_before },
	{ "who was answered reads it on any core", who_was_answered_reads_it_on_any_core },
	{ "a shard that changes hands keeps what was added", a_shard_that_changes_hands_keeps_what_was_added },
	{ "any two readings have an order", any_two_readings_have_an_order },
	{ "what is lowered is never seen before it was raised", what_is_lowered_is_never_seen_before_it_was_raised },
	{ "all of a site moves at one moment", all_of_a_site_moves_at_one_moment },
	{ "a patient is at each moment in one place", a_patient_is_at_each_moment_in_one_place },
	{ "readers get through however much is written", readers_get_through_however_much_is_written },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(TESTS) / sizeof(TESTS[0]); i++) {
		printf("cache_count: %s\n", TESTS[i].sentence);
		fflush(stdout);
		TESTS[i].run();
	}
	return 0;
}
