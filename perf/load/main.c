/* perf/load/main.c — the load of perf/tls: N clients in one thread, and what they saw.
 *
 *     load WORK --port P [options]            what it says:      what it waits for:
 *       warm      as below, not counted, --warm seconds
 *                                             "ready"            a line: go      (so that whoever measures the server can look
 *       measured  --seconds                                                      at it when nothing is in flight)
 *       drained   the units that are begun end, and count
 *                                             one line of JSON   the end of its input
 *
 * WORK is connections, requests, uploads, messages, hellos or idle (client.h). Closed loop: each client begins a unit when its
 * last one has ended. With --rate it is an open loop: units begin when the clock says so, spread over the clients, and the
 * time of a unit is counted from when it should have begun. A client that waits for a slow answer then counts the wait of all
 * that would have come meanwhile, which a closed loop leaves out.
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
	uint32_t *samples;         /* ns / 100 */
	size_t sample_count;
	bool counted;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* `work` is the first member, so a client leads to the load. */
static void unit_done(struct client *c)
{
	struct load *l = (struct load *)(void *)c->work;

	l->busy--;
	if (c->ended_well && l->counted && l->sample_count < SAMPLES_MAX)
		l->samples[l->sample_count++] = (uint32_t)((now_ns() - c->began_ns) / 100);
	if (!l->once)
		l->resting[l->resting_count++] = c;
}

static void load_begin(struct load *l, struct client *c, uint64_t began_ns)
{
	c->began_ns = began_ns;
	l->busy++;
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
		for (unsigned i = 0; i < count && l->busy < l->busy_max; i++)
			load_begin(l, l->resting[--l->resting_count], now);
		return l->resting_count > 0 && l->busy < l->busy_max ? 0 : next - now;
	}
	for (unsigned i = 0; i < count; i++) {
		struct client *c = l->resting[i];

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

/* ns until all that was begun has ended. */
static uint64_t load_run(struct load *l, uint64_t run_ns)
{
	uint64_t start = now_ns(), now = start;

	for (unsigned i = 0; i < l->client_count; i++)
		l->clients[i].due_ns = start + l->interval_ns * i / l->client_count;
	l->begins = true;
	while (l->begins || l->busy > 0) {
		uint64_t wait = load_begin_all(l, now);

		if (l->begins && start + run_ns - now < wait)
			wait = start + run_ns - now;
		load_turn(l, wait);
		now = now_ns();
		if (now >= start + run_ns || (l->once && l->busy == 0 && l->resting_count == 0))
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
	       "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
		(unsigned long long)l->work.units, (double)elapsed_ns / 1e9, (unsigned long long)l->work.errors, l->work.first_error,
		l->work.key_exchange ? l->work.key_exchange : "", (unsigned long long)l->work.full,
		(unsigned long long)l->work.resumed, (unsigned long long)l->work.tickets, (unsigned long long)l->work.body_bytes, load_connected(l), cpu, sample_us(l, 0.5), sample_us(l, 0.99),
		sample_us(l, 0.999), sample_us(l, 1));
	fflush(stdout);
}

static void load_fini(struct load *l)
{
	for (unsigned i = 0; i < l->client_count; i++) {
		client_hang_up(&l->clients[i], false);
		SSL_SESSION_free(l->clients[i].ticket);
	}
	SSL_CTX_free(l->work.tls);
	close(l->work.epoll);
	free(l->clients);
	free(l->resting);
	free(l->samples);
	free(l->work.ask);
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

/* One ClientHello of OpenSSL's, sent again and again: to a server each is as much work as any other. */
static void ask_hello(struct work *w)
{
	SSL *tls = SSL_new(w->tls);
	BIO *out = BIO_new(BIO_s_mem());
	char *bytes;
	long n;

	SSL_set_bio(tls, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(tls);
	SSL_set_tlsext_host_name(tls, "localhost");
	SSL_do_handshake(tls);
	n = BIO_get_mem_data(out, &bytes);
	if (n <= 0)
		FATAL("OpenSSL makes no ClientHello");
	w->ask = memcpy(malloc((size_t)n), bytes, (size_t)n);
	w->ask_bytes = (size_t)n;
	SSL_free(tls);
}

static const char *const WORKS[] = { [WORK_CONNECTIONS] = "connections", [WORK_REQUESTS] = "requests",
	[WORK_MESSAGES] = "messages", [WORK_HELLOS] = "hellos", [WORK_IDLE] = "idle", "uploads" };

static void usage(void)
{
	fprintf(stderr, "usage: load connections|requests|uploads|messages|hellos|idle --port P [--clients N] [--seconds N] [--warm N]\n"
			"  [--path /] [--version 1.3] [--groups X25519] [--resume] [--rate N] [--realtime]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "port", required_argument, NULL, 'p' }, { "clients", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' }, { "warm", required_argument, NULL, 'w' },
		{ "path", required_argument, NULL, 'u' }, { "version", required_argument, NULL, 'v' },
		{ "groups", required_argument, NULL, 'g' }, { "resume", no_argument, NULL, 'r' },
		{ "rate", required_argument, NULL, 'R' }, { "realtime", no_argument, NULL, 'f' }, { 0 } };
	struct load l = { .client_count = 32 };
	const char *path = "/", *groups = "X25519";
	double seconds = 3, warm = 1, rate = 0, cpu;
	int version = TLS1_3_VERSION, option;
	bool realtime = false;
	unsigned kind = 0;
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
		default: usage();
		}
	}
	while (optind < argc && kind < sizeof WORKS / sizeof *WORKS && strcmp(argv[optind], WORKS[kind]) != 0)
		kind++;
	if (optind + 1 != argc || kind == sizeof WORKS / sizeof *WORKS || !l.work.port || !l.client_count)
		usage();

	signal(SIGPIPE, SIG_IGN);
	/* The few whose waiting is measured come before the many who make the noise, or it is our own scheduler that is
	 * measured. Where that is not allowed the figure holds both, and is said to. */
	if (realtime && sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 10 }) != 0)
		fprintf(stderr, "perf/load: no real-time priority (%s): latencies include the load's own waiting\n", strerror(errno));

	l.work.kind = kind == WORK_IDLE + 1 ? WORK_REQUESTS : (enum work_kind)kind;
	l.work.tls = client_tls_new(version, groups, true);
	l.work.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.work.done = unit_done;
	l.work.scratch = malloc(CLIENT_READ_BYTES);
	if (l.work.kind == WORK_HELLOS)
		ask_hello(&l.work);
	else if (l.work.kind == WORK_MESSAGES)
		ask_message(&l.work, path);
	else
		ask_request(&l.work, path, kind == WORK_IDLE + 1 ? UPLOAD_BYTES : 0);
	l.clients = calloc(l.client_count, sizeof *l.clients);
	l.resting = calloc(l.client_count, sizeof *l.resting);
	l.samples = calloc(SAMPLES_MAX, sizeof *l.samples);     /* touched only as far as it is used */
	l.busy_max = l.work.kind == WORK_IDLE ? OPENING_MAX : l.client_count;
	l.once = l.work.kind == WORK_IDLE;
	l.interval_ns = rate > 0 ? (uint64_t)(1e9 * l.client_count / rate) : 0;
	for (unsigned i = 0; i < l.client_count; i++) {
		client_init(&l.clients[i], &l.work);
		l.resting[l.resting_count++] = &l.clients[i];
	}

	if (l.work.kind == WORK_IDLE) {
		elapsed = load_run(&l, 60000000000u);
		load_tell(&l, elapsed, cpu_s());
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
