/* perf/load/main.c — the load of perf/compare and perf/leak: N clients in one thread, and what they saw.
 *
 *     load WORK --port P [options]            what it says:      what it waits for:
 *       warm      as below, not counted, --warm seconds
 *                                             "ready"            a line: go      (so that whoever measures the server can look
 *       measured  --seconds                                                      at it when nothing is in flight)
 *       drained   the units that are begun end, and count
 *                                             one line of JSON   the end of its input
 *
 * WORK is connections, requests, redis, uploads, messages, churn, hellos, idle, sockets, rude (client.h), or counts. Closed loop: each
 * client begins a unit when its last one has ended. With --rate it is an open loop: units begin when the clock says so, spread over the
 * clients, and the time of a unit is counted from when it should have begun. A client that waits for a slow answer then counts the
 * wait of all that would have come meanwhile, which a closed loop leaves out. Units that were due within --seconds and could not begin
 * begin late, and count from then all the same; those that have not begun OWED_NS after the end are told ("owed"), and each
 * gives the time that it has waited by then, which is less than it would have been.
 *
 * counts asks for the counts of --sites sites in turn, GET /count?siteId=…; of --posts-of-ten every ten so many are a POST with a form
 * that raises one. redis is the same in Redis's words, GET and INCR.
 *
 * idle opens all connections, tells, and ends with its input. sockets does too, and until then takes words, each answered by a
 * line:       rest SECONDS    answer pings, tell how many, and how many sockets are left
 *             push TARGET     POST there from a connection of its own; tell when the first and the last socket had the message
 * rude leaves --count times, in all manners in turn, tells, and ends with its input; those that vanished are held until then.
 *
 * Owner: the process.   Thread: one.   Units: ns inside, µs told.   Errors: exit 1 with a sentence.
 * Limits: SAMPLES_MAX times kept.   Source: none.                                                                        */
#include "perf/load/client.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FATAL(...) (fprintf(stderr, "perf/load: " __VA_ARGS__), fputc('\n', stderr), exit(1))

#define SAMPLES_MAX (8u << 20)
#define EVENTS 256
#define UPLOAD_BYTES (1u << 20)
#define MESSAGE_BYTES 64u
#define OPENING_MAX 64u            /* idle connections that shake hands at once */
#define DRAIN_NS 10000000000u
#define OWED_NS 2000000000u        /* how long units that were due may still begin */
#define PUSH_NS_MAX 30000000000u   /* then the rest is lost */

struct load {
	struct work work;
	struct client *clients;
	unsigned client_count;
	struct client **resting;   /* a stack of those who may begin */
	unsigned resting_count;
	unsigned busy, busy_max;
	bool begins;               /* units may begin */
	bool once;                 /* each client one unit only */
	uint64_t interval_ns;      /* between the units of one client; 0: closed loop */
	uint64_t ends_ns;          /* open loop: what is due then or later is not begun */
	uint64_t owed;             /* open loop: due in time, and never begun */
	uint64_t left;             /* units that may still begin */
	uint32_t *samples;         /* ns / 100 */
	size_t sample_count;
	bool counted;
	uint64_t pushed_ns;        /* sockets: when the present push began */
};

/* Whoever pushes, beside the sockets: on a connection of its own. */
struct pusher {
	struct work work;
	struct client client;
	bool answered;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void load_sample(struct load *l, uint64_t since_ns, uint64_t now)
{
	if (l->counted && l->sample_count < SAMPLES_MAX)
		l->samples[l->sample_count++] = (uint32_t)((now - since_ns) / 100);
}

/* `work` is the first member, so a client leads to the load. */
static void unit_done(struct client *c)
{
	struct load *l = (struct load *)(void *)c->work;

	l->busy--;
	if (c->ended_well)
		load_sample(l, c->began_ns, now_ns());
	if (!l->once)
		l->resting[l->resting_count++] = c;
}

static void load_begin(struct load *l, struct client *c, uint64_t began_ns)
{
	c->began_ns = began_ns;
	l->busy++;
	l->left--;
	client_start(c);
}

/* Everyone who may begin now does; in an open loop, ns until the next one may. */
static uint64_t load_begin_all(struct load *l, uint64_t now)
{
	uint64_t next = now + 100000000u;
	unsigned count = l->resting_count, kept = 0;
	struct client *due[EVENTS];
	unsigned due_count = 0;

	if (!l->begins)
		return next - now;
	if (!l->interval_ns) {
		/* Only as many as there are now: one who fails at once is back at rest, and waits for the next turn. */
		for (unsigned i = 0; i < count && l->busy < l->busy_max && l->left > 0; i++)
			load_begin(l, l->resting[--l->resting_count], now);
		return l->left == 0 ? next - now : l->resting_count > 0 && l->busy < l->busy_max ? 0 : next - now;
	}
	for (unsigned i = 0; i < count; i++) {
		struct client *c = l->resting[i];

		if (c->due_ns >= l->ends_ns) {
			l->resting[kept++] = c;
			continue;
		}
		if (c->due_ns <= now && due_count < EVENTS) {
			due[due_count++] = c;
			continue;
		}
		if (c->due_ns < next)
			next = c->due_ns;
		l->resting[kept++] = c;
	}
	l->resting_count = kept;
	for (unsigned i = 0; i < due_count; i++) {
		uint64_t began = due[i]->due_ns;

		due[i]->due_ns += l->interval_ns;
		load_begin(l, due[i], began);
	}
	return next > now ? next - now : 0;
}

static void load_turn(struct load *l, uint64_t wait_ns)
{
	struct epoll_event events[EVENTS];
	struct timespec wait = { (time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u) };
	int n = epoll_pwait2(l->work.epoll, events, EVENTS, &wait, NULL);

	if (n < 0 && errno != EINTR)
		FATAL("epoll: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		client_ready(events[i].data.ptr, events[i].events);
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
			load_sample(l, due, now);
			l->owed++;
		}
	}
}

/* ns until all that was begun has ended. */
static uint64_t load_run(struct load *l, uint64_t run_ns)
{
	uint64_t start = now_ns(), now = start;

	for (unsigned i = 0; i < l->client_count; i++)
		l->clients[i].due_ns = start + l->interval_ns * i / l->client_count;
	l->ends_ns = start + run_ns;
	l->owed = 0;
	l->begins = true;
	while (l->begins || l->busy > 0) {
		uint64_t wait = load_begin_all(l, now);

		if (l->begins && now < l->ends_ns && l->ends_ns - now < wait)
			wait = l->ends_ns - now;
		load_turn(l, wait);
		now = now_ns();
		if (l->begins && l->interval_ns && now >= l->ends_ns && load_owes(l)) {
			if (now < l->ends_ns + OWED_NS)
				continue;
			load_count_owed(l, now);
		}
		if (now >= start + run_ns || (l->once && l->busy == 0 && l->resting_count == 0) || (l->left == 0 && l->busy == 0))
			l->begins = false;
		if (now >= start + run_ns + DRAIN_NS)
			FATAL("%u of %u clients got no answer within %u s (first error: %s)", l->busy, l->client_count,
				(unsigned)(DRAIN_NS / 1000000000u), l->work.errors ? l->work.first_error : "none");
	}
	return now_ns() - start;
}

/* ---- what is said ---- */

static int sample_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double sample_us(const struct load *l, double share)
{
	return l->sample_count ? l->samples[(size_t)((double)(l->sample_count - 1) * share)] / 10.0 : 0;
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Clients whose connection the server has not ended. */
static unsigned load_connected(struct load *l)
{
	unsigned count = 0;

	for (unsigned i = 0; i < l->client_count; i++) {
		int fd = l->clients[i].fd;
		char byte;

		count += fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
	}
	return count;
}

static void load_tell(struct load *l, uint64_t elapsed_ns, double cpu)
{
	qsort(l->samples, l->sample_count, sizeof *l->samples, sample_compare);
	printf("{\"units\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"first_error\": \"%s\", \"key_exchange\": \"%s\", "
	       "\"full\": %llu, \"resumed\": %llu, \"tickets\": %llu, \"body_bytes\": %llu, \"connected\": %u, \"cpu_s\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	       "\"p999_us\": %.1f, \"max_us\": %.1f, \"owed\": %llu}\n",
		(unsigned long long)l->work.units, (double)elapsed_ns / 1e9, (unsigned long long)l->work.errors, l->work.first_error,
		l->work.key_exchange ? l->work.key_exchange : "", (unsigned long long)l->work.full,
		(unsigned long long)l->work.resumed, (unsigned long long)l->work.tickets, (unsigned long long)l->work.body_bytes, load_connected(l), cpu, sample_us(l, 0.5), sample_us(l, 0.99),
		sample_us(l, 0.999), sample_us(l, 1), (unsigned long long)l->owed);
	fflush(stdout);
}

static void load_fini(struct load *l)
{
	for (unsigned i = 0; i < l->client_count; i++) {
		client_hang_up(&l->clients[i], false);
		SSL_SESSION_free(l->clients[i].ticket);
	}
	for (unsigned i = 0; l->work.held && i < CLIENT_HELD_MAX; i++) {
		if (l->work.held[i] >= 0)
			close(l->work.held[i]);
	}
	SSL_CTX_free(l->work.tls);
	close(l->work.epoll);
	free(l->work.held);
	free(l->work.hello);
	free(l->clients);
	free(l->resting);
	free(l->samples);
	free(l->work.ask);
	for (unsigned i = 0; i < l->work.ask_count; i++)
		free(l->work.asks[i].bytes);
	free(l->work.asks);
	free(l->work.upgrade);
	free(l->work.scratch);
}

static bool wait_for_line(void)
{
	char line[64];

	return fgets(line, sizeof line, stdin) != NULL;
}

/* ---- what is asked ---- */

static void ask_request(struct work *w, const char *path, size_t body_bytes)
{
	char *ask = calloc(1, 512 + body_bytes);
	int n = snprintf(ask, 512, "%s %s HTTP/1.1\r\nHost: localhost\r\n", body_bytes ? "POST" : "GET", path);

	if (body_bytes)
		n += snprintf(ask + n, 512 - (size_t)n, "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n", body_bytes);
	n += snprintf(ask + n, 512 - (size_t)n, "\r\n");
	for (size_t i = 0; i < body_bytes; i++)
		ask[(size_t)n + i] = (char)(33 + i % 90);
	w->ask = ask;
	w->ask_bytes = (size_t)n + body_bytes;
}

#define COUNT_ASK_BYTES 256u

/* Each site is asked for and raised by turns: ten rounds over all of them, and the raises move on by one from round to round. */
static void ask_counts(struct work *w, unsigned sites, unsigned posts_of_ten)
{
	w->ask_count = 10 * sites;
	w->asks = calloc(w->ask_count, sizeof *w->asks);
	for (unsigned i = 0; i < w->ask_count; i++) {
		char *ask = w->asks[i].bytes = malloc(COUNT_ASK_BYTES), site[32];
		bool raises = (i + i / sites) % 10 < posts_of_ten;
		int name = snprintf(site, sizeof site, "site-%04u", i % sites);

		if (w->kind == WORK_REDIS)
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES, raises ? "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n"
											: "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", name, site);
		else if (raises)
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES,
				"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nsiteId=%s",
				name + 7, site);
		else
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES, "GET /count?siteId=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", site);
	}
}

static void ask_message(struct work *w, const char *path)
{
	static const unsigned char MASK[4] = { 0x37, 0xfa, 0x21, 0x3d };
	char *upgrade = calloc(1, 512);
	unsigned char *frame = calloc(1, 6 + MESSAGE_BYTES);

	w->upgrade_bytes = (size_t)snprintf(upgrade, 512,
		"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path);
	w->upgrade = upgrade;
	frame[0] = 0x81;                                /* text, whole */
	frame[1] = 0x80 | MESSAGE_BYTES;                /* masked */
	memcpy(frame + 2, MASK, 4);
	for (unsigned i = 0; i < MESSAGE_BYTES; i++)
		frame[6 + i] = (unsigned char)('a' + i % 26) ^ MASK[i % 4];
	w->ask = (char *)frame;
	w->ask_bytes = 6 + MESSAGE_BYTES;
	w->echo_bytes = 2 + MESSAGE_BYTES;
}

/* A Close with 1000, and as much comes back, unmasked. */
static void ask_close(struct work *w, const char *path)
{
	static const unsigned char CLOSE[] = { 0x88, 0x82, 0x37, 0xfa, 0x21, 0x3d, 0x03 ^ 0x37, 0xe8 ^ 0xfa };

	ask_message(w, path);
	memcpy(w->ask, CLOSE, sizeof CLOSE);
	w->ask_bytes = sizeof CLOSE;
	w->echo_bytes = 4;
}

/* ---- sockets: what may be asked of them ---- */

static void socket_heard(struct client *c)
{
	struct load *l = (struct load *)(void *)c->work;

	if (l->sample_count < SAMPLES_MAX)
		l->samples[l->sample_count++] = (uint32_t)((now_ns() - l->pushed_ns) / 100);
}

static void pusher_done(struct client *c)
{
	((struct pusher *)(void *)c->work)->answered = true;
}

static void pusher_asks(struct pusher *p, const char *target)
{
	/* As long as a sentence to a patient is. */
	static const char BODY[] = "{\"body\": {\"text\": \"Your diary for today is still open. It takes about five minutes.\"}}";
	char *ask = calloc(1, 1024);

	free(p->work.ask);
	p->work.ask = ask;
	p->work.ask_bytes = (size_t)snprintf(ask, 1024,
		"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		target, sizeof BODY - 1, BODY);
	p->answered = false;
	client_start(&p->client);
}

static void sockets_push(struct load *l, struct pusher *p, const char *target)
{
	uint64_t until, answered_ns = 0, expected = load_connected(l);
	double cpu;

	/* The connection stands before the time begins: a push to somebody who is not there. */
	if (p->client.fd < 0) {
		pusher_asks(p, "/push/nobody");
		while (!p->answered)
			load_turn(l, 100000000u);
	}
	cpu = cpu_s();
	l->sample_count = 0;
	l->pushed_ns = now_ns();
	until = l->pushed_ns + PUSH_NS_MAX;
	pusher_asks(p, target);
	while ((l->sample_count < expected || !p->answered) && now_ns() < until) {
		load_turn(l, 100000000u);
		if (p->answered && answered_ns == 0)
			answered_ns = now_ns() - l->pushed_ns;
	}
	qsort(l->samples, l->sample_count, sizeof *l->samples, sample_compare);
	printf("{\"errors\": %llu, \"first_error\": \"%s\", \"sockets\": %llu, \"heard\": %zu, \"answered_us\": %.1f, \"first_us\": %.1f, "
	       "\"p50_us\": %.1f, \"last_us\": %.1f, \"cpu_s\": %.6f}\n",
		(unsigned long long)p->work.errors, p->work.first_error, (unsigned long long)expected, l->sample_count,
		(double)answered_ns / 1e3, sample_us(l, 0), sample_us(l, 0.5), sample_us(l, 1), cpu_s() - cpu);
}

static void sockets_rest(struct load *l, double seconds)
{
	uint64_t until = now_ns() + (uint64_t)(seconds * 1e9), now, pings = l->work.pings;
	double cpu = cpu_s();

	while ((now = now_ns()) < until)
		load_turn(l, until - now);
	printf("{\"errors\": 0, \"pings\": %llu, \"ended_by_server\": %llu, \"connected\": %u, \"cpu_s\": %.6f}\n",
		(unsigned long long)(l->work.pings - pings), (unsigned long long)l->work.ended_by_server, load_connected(l), cpu_s() - cpu);
}

/* Words come by lines; between them pings must be answered all the same. */
static void sockets_obey(struct load *l)
{
	struct pusher p = { .work = l->work };
	char word[300];
	size_t n = 0;

	p.work.kind = WORK_REQUESTS;
	p.work.status = 202;
	p.work.upgrade = NULL;
	p.work.ask = NULL;
	p.work.errors = 0;
	p.work.first_error[0] = 0;
	p.work.done = pusher_done;
	client_init(&p.client, &p.work);
	for (;;) {
		struct pollfd input[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = l->work.epoll, .events = POLLIN } };

		poll(input, 2, -1);
		if (input[1].revents)
			load_turn(l, 0);
		if (!input[0].revents)
			continue;
		if (read(STDIN_FILENO, word + n, 1) != 1)
			break;
		if (word[n] != '\n' && n + 1 < sizeof word) {
			n++;
			continue;
		}
		word[n] = 0;
		n = 0;
		if (strncmp(word, "rest ", 5) == 0)
			sockets_rest(l, atof(word + 5));
		else if (strncmp(word, "push ", 5) == 0)
			sockets_push(l, &p, word + 5);
		else
			FATAL("no such word: %s", word);
		fflush(stdout);
	}
	client_hang_up(&p.client, false);
	SSL_SESSION_free(p.client.ticket);
	free(p.work.ask);
}

static const char *const WORKS[] = { [WORK_CONNECTIONS] = "connections", [WORK_REQUESTS] = "requests",
	[WORK_MESSAGES] = "messages", [WORK_HELLOS] = "hellos", [WORK_IDLE] = "idle",
	[WORK_CHURN] = "churn", [WORK_SOCKETS] = "sockets", [WORK_RUDE] = "rude", [WORK_REDIS] = "redis", [WORK_RUDE + 1] = "uploads", [WORK_RUDE + 2] = "counts" };

static void usage(void)
{
	fprintf(stderr, "usage: load connections|requests|counts|redis|uploads|messages|churn|hellos|idle|sockets|rude --port P [--clients N] [--seconds N]\n"
			"  [--warm N] [--path /] [--version 1.3] [--groups X25519] [--resume] [--rate N] [--realtime] [--plain] [--count N]\n"
			"  [--sites 100] [--posts-of-ten 0]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "port", required_argument, NULL, 'p' }, { "clients", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' }, { "warm", required_argument, NULL, 'w' },
		{ "path", required_argument, NULL, 'u' }, { "version", required_argument, NULL, 'v' },
		{ "groups", required_argument, NULL, 'g' }, { "resume", no_argument, NULL, 'r' },
		{ "rate", required_argument, NULL, 'R' }, { "realtime", no_argument, NULL, 'f' },
		{ "plain", no_argument, NULL, 'P' }, { "count", required_argument, NULL, 'n' },
		{ "sites", required_argument, NULL, 'S' }, { "posts-of-ten", required_argument, NULL, 'T' }, { 0 } };
	struct load l = { .client_count = 32, .left = UINT64_MAX };
	const char *path = "/", *groups = "X25519";
	double seconds = 3, warm = 1, rate = 0, cpu;
	int version = TLS1_3_VERSION, option;
	bool realtime = false, plain = false;
	unsigned kind = 0, sites = 100, posts_of_ten = 0;
	uint64_t elapsed;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'p': l.work.port = (uint16_t)atoi(optarg); break;
		case 'c': l.client_count = (unsigned)atoi(optarg); break;
		case 's': seconds = atof(optarg); break;
		case 'w': warm = atof(optarg); break;
		case 'u': path = optarg; break;
		case 'v': version = strcmp(optarg, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION; break;
		case 'g': groups = optarg; break;
		case 'r': l.work.resume = true; break;
		case 'R': rate = atof(optarg); break;
		case 'f': realtime = true; break;
		case 'P': plain = true; break;
		case 'n': l.left = strtoull(optarg, NULL, 10); break;
		case 'S': sites = (unsigned)atoi(optarg); break;
		case 'T': posts_of_ten = (unsigned)atoi(optarg); break;
		default: usage();
		}
	}
	while (optind < argc && kind < sizeof WORKS / sizeof *WORKS && strcmp(argv[optind], WORKS[kind]) != 0)
		kind++;
	if (optind + 1 != argc || !l.left || kind == sizeof WORKS / sizeof *WORKS || !l.work.port || !l.client_count || !sites ||
		sites > 10000)
		usage();

	signal(SIGPIPE, SIG_IGN);
	/* The few whose waiting is measured come before the many who make the noise, or it is our own scheduler that is
	 * measured. Where that is not allowed the figure holds both, and is said to. */
	if (realtime && sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 10 }) != 0)
		fprintf(stderr, "perf/load: no real-time priority (%s): latencies include the load's own waiting\n", strerror(errno));

	l.work.kind = kind > WORK_RUDE ? WORK_REQUESTS : (enum work_kind)kind;
	plain |= l.work.kind == WORK_REDIS;
	l.work.status = 200;
	l.work.tls = plain ? NULL : client_tls_new(version, groups, true);
	l.work.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.work.done = unit_done;
	l.work.heard = socket_heard;
	l.work.scratch = malloc(CLIENT_READ_BYTES);
	if (l.work.kind == WORK_RUDE) {
		l.work.held = malloc(CLIENT_HELD_MAX * sizeof *l.work.held);
		memset(l.work.held, 0xff, CLIENT_HELD_MAX * sizeof *l.work.held);
		if (!plain)
			l.work.hello = client_hello_new(l.work.tls, &l.work.hello_bytes);
	}
	if (l.work.kind == WORK_HELLOS && plain)
		FATAL("no hellos without TLS");
	if (l.work.kind == WORK_HELLOS)
		l.work.ask = client_hello_new(l.work.tls, &l.work.ask_bytes);
	else if (l.work.kind == WORK_MESSAGES || l.work.kind == WORK_SOCKETS || l.work.kind == WORK_RUDE)
		ask_message(&l.work, path);
	else if (l.work.kind == WORK_CHURN)
		ask_close(&l.work, path);
	else if (kind == WORK_RUDE + 2 || l.work.kind == WORK_REDIS)
		ask_counts(&l.work, sites, posts_of_ten);
	else
		ask_request(&l.work, path, kind == WORK_RUDE + 1 ? UPLOAD_BYTES : 0);
	l.clients = calloc(l.client_count, sizeof *l.clients);
	l.resting = calloc(l.client_count, sizeof *l.resting);
	l.samples = calloc(SAMPLES_MAX, sizeof *l.samples);     /* touched only as far as it is used */
	l.once = l.work.kind == WORK_IDLE || l.work.kind == WORK_SOCKETS;
	l.busy_max = l.once ? OPENING_MAX : l.client_count;
	l.interval_ns = rate > 0 ? (uint64_t)(1e9 * l.client_count / rate) : 0;
	for (unsigned i = 0; i < l.client_count; i++) {
		client_init(&l.clients[i], &l.work);
		l.resting[l.resting_count++] = &l.clients[i];
	}

	if (l.once || l.work.kind == WORK_RUDE) {
		elapsed = load_run(&l, l.once ? 60000000000u : (uint64_t)(seconds * 1e9));
		load_tell(&l, elapsed, cpu_s());
		if (l.work.kind == WORK_SOCKETS)
			sockets_obey(&l);
		else
			while (wait_for_line())
				;
		load_fini(&l);
		return 0;
	}
	load_run(&l, (uint64_t)(warm * 1e9));
	l.work.units = l.work.full = l.work.resumed = l.work.tickets = l.work.body_bytes = 0;
	puts("ready");
	fflush(stdout);
	if (!wait_for_line())
		return 1;
	l.counted = true;
	cpu = cpu_s();
	elapsed = load_run(&l, (uint64_t)(seconds * 1e9));
	load_tell(&l, elapsed, cpu_s() - cpu);
	while (wait_for_line())
		;
	load_fini(&l);
	return 0;
}
