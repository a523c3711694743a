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
 * client begins a unit when its last one has ended. With --rate it is an open loop, and the clock says when (load.h).
 *
 * counts asks for the counts of --sites sites in turn, GET /count?siteId=…; of --posts-of-ten every ten so many are a POST with a form
 * that raises one. redis is the same in Redis's words, GET and INCR.
 *
 * idle opens all connections, tells, and ends with its input. sockets does too, and until then takes words, each answered by a
 * line:       rest SECONDS    answer pings, tell how many, and how many sockets are left
 *             push TARGET     POST there from a connection of its own; tell when the first and the last socket had the message
 * rude leaves --count times, in all manners in turn, tells, and ends with its input; those that vanished are held until then.
 *
 * It stands on the same ring/ as Postern does: one core, whose turns are one entry into the kernel for all clients that had something to
 * do (line.h). So the server is the limit and not the load, as far as that can be; what OpenSSL takes for a handshake nobody takes away.
 *
 * Owner: the process.   Thread: one.   Units: seconds as given.   Errors: exit 1 with a sentence.
 * Limits: CHUNKS_MAX; those of load.h and client.h.   Source: none.                                                      */
#include "perf/fatal.h"
#include "perf/load/ask.h"
#include "perf/load/load.h"
#include "perf/load/rude.h"
#include "perf/load/sockets.h"
#include "perf/load/tls.h"
#include "perf/load/words.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#define UPLOAD_BYTES (1u << 20)
#define CHUNKS_MAX 65536u
#define BUFFERS_MIN 16u                  /* few: what large answers go through stays in the processor's cache */
#define BUFFERS_MAX 1024u

/* Two words of the command line are requests of a kind. */
enum { UPLOADS = WORK_RUDE + 1, COUNTS };

static const char *const WORKS[] = { [WORK_CONNECTIONS] = "connections", [WORK_REQUESTS] = "requests",
	[WORK_MESSAGES] = "messages", [WORK_HELLOS] = "hellos", [WORK_IDLE] = "idle",
	[WORK_CHURN] = "churn", [WORK_SOCKETS] = "sockets", [WORK_RUDE] = "rude", [WORK_REDIS] = "redis", [UPLOADS] = "uploads", [COUNTS] = "counts" };

static void usage(void)
{
	fprintf(stderr, "usage: load connections|requests|counts|redis|uploads|messages|churn|hellos|idle|sockets|rude --port P [--clients N] [--seconds N]\n"
			"  [--warm N] [--path /] [--version 1.3] [--groups X25519] [--resume] [--rate N] [--realtime] [--plain] [--count N]\n"
			"  [--sites 100] [--posts-of-ten 0]\n");
	exit(2);
}

struct options {
	unsigned kind;                   /* index of WORKS */
	uint16_t port;
	unsigned clients, sites, posts_of_ten;
	uint64_t count;
	double seconds, warm, rate;
	const char *path, *groups;
	int version;
	bool resume, realtime, plain;
};

static int version_of(const char *text)
{
	if (strcmp(text, "1.2") == 0)
		return TLS1_2_VERSION;
	if (strcmp(text, "1.3") == 0)
		return TLS1_3_VERSION;
	FATAL("--version is 1.2 or 1.3, and not %s", text);
}

static void options_read(struct options *o, int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "port", required_argument, NULL, 'p' }, { "clients", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' }, { "warm", required_argument, NULL, 'w' },
		{ "path", required_argument, NULL, 'u' }, { "version", required_argument, NULL, 'v' },
		{ "groups", required_argument, NULL, 'g' }, { "resume", no_argument, NULL, 'r' },
		{ "rate", required_argument, NULL, 'R' }, { "realtime", no_argument, NULL, 'f' },
		{ "plain", no_argument, NULL, 'P' }, { "count", required_argument, NULL, 'n' },
		{ "sites", required_argument, NULL, 'S' }, { "posts-of-ten", required_argument, NULL, 'T' }, { 0 } };
	int option;

	*o = (struct options){ .clients = 32, .count = UINT64_MAX, .sites = 100, .seconds = 3, .warm = 1, .path = "/", .groups = "X25519",
		.version = TLS1_3_VERSION };
	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'p': o->port = (uint16_t)atoi(optarg); break;
		case 'c': o->clients = (unsigned)atoi(optarg); break;
		case 's': o->seconds = atof(optarg); break;
		case 'w': o->warm = atof(optarg); break;
		case 'u': o->path = optarg; break;
		case 'v': o->version = version_of(optarg); break;
		case 'g': o->groups = optarg; break;
		case 'r': o->resume = true; break;
		case 'R': o->rate = atof(optarg); break;
		case 'f': o->realtime = true; break;
		case 'P': o->plain = true; break;
		case 'n': o->count = strtoull(optarg, NULL, 10); break;
		case 'S': o->sites = (unsigned)atoi(optarg); break;
		case 'T': o->posts_of_ten = (unsigned)atoi(optarg); break;
		default: usage();
		}
	}
	while (optind < argc && o->kind < array_count(WORKS) && strcmp(argv[optind], WORKS[o->kind]) != 0)
		o->kind++;
	if (optind + 1 != argc || !o->count || o->kind == array_count(WORKS) || !o->port || !o->clients || !o->sites || o->sites > 10000)
		usage();
}

/* As many as there may be answers at once: a receive that finds none has to be asked for again. */
static unsigned buffers_for(unsigned clients)
{
	unsigned count = BUFFERS_MIN;

	while (count < clients && count < BUFFERS_MAX)
		count *= 2;
	return count;
}

static void work_fill(struct work *w, const struct options *o)
{
	w->kind = o->kind > WORK_RUDE ? WORK_REQUESTS : (enum work_kind)o->kind;
	w->status = 200;
	w->resume = o->resume;
	w->heard = sockets_heard;
	if (w->kind == WORK_RUDE) {
		w->rude = memory_new(1, sizeof *w->rude);
		if (w->lines->tls)
			w->rude->hello.bytes = tls_hello_new(w->lines->tls, &w->rude->hello.size);
	}
	switch (o->kind) {
	case WORK_HELLOS:
		if (!w->lines->tls)
			FATAL("no hellos without TLS");
		w->ask.bytes = tls_hello_new(w->lines->tls, &w->ask.size);
		break;
	case WORK_MESSAGES:
	case WORK_SOCKETS:
	case WORK_RUDE:
		ask_message(w, o->path);
		break;
	case WORK_CHURN:
		ask_close(w, o->path);
		break;
	case WORK_REDIS:
	case COUNTS:
		ask_counts(w, o->sites, o->posts_of_ten);
		break;
	default:
		ask_request(w, o->path, o->kind == UPLOADS ? UPLOAD_BYTES : 0);
	}
}

static void work_free(struct work *w)
{
	ask_free(w);
	if (w->rude)
		free(w->rude->hello.bytes);
	free(w->rude);
}

/* All is opened, or left, once, and stays until the input ends. */
static void run_once(struct sockets *s, const struct options *o, struct words *words)
{
	struct load *l = &s->load;
	uint64_t elapsed = load_run(l, l->once ? 60000000000u : (uint64_t)(o->seconds * 1e9));

	load_tell(l, elapsed, load_cpu_s());
	if (l->work.kind == WORK_SOCKETS)
		sockets_obey(s, words);
	else
		while (words_next(words))
			;
}

static void run_measured(struct load *l, const struct options *o, struct words *words)
{
	uint64_t elapsed;
	double cpu;

	load_run(l, (uint64_t)(o->warm * 1e9));
	l->work.units = l->work.full = l->work.resumed = l->work.tickets = 0;
	puts("ready");
	fflush(stdout);
	if (!words_next(words))
		exit(1);
	l->counted = true;
	cpu = load_cpu_s();
	elapsed = load_run(l, (uint64_t)(o->seconds * 1e9));
	load_tell(l, elapsed, load_cpu_s() - cpu);
	while (words_next(words))
		;
}

int main(int argc, char **argv)
{
	struct options o;
	struct sockets s = { 0 };
	struct load *l = &s.load;
	struct lines lines;
	struct words words;
	struct kernel_fault fault;
	struct core core;
	struct core *all[1] = { &core };
	const struct cores cores = { .count = 1, .all = all };

	options_read(&o, argc, argv);
	o.plain |= o.kind == WORK_REDIS;
	signal(SIGPIPE, SIG_IGN);
	/* The few whose waiting is measured come before the many who make the noise, or it is our own scheduler that is
	 * measured. Where that is not allowed the figure holds both, and is said to. */
	if (o.realtime && sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 10 }) != 0)
		fprintf(stderr, "perf-load: no real-time priority (%s): latencies include the load's own waiting\n", strerror(errno));
	if (!core_open(&core, &(struct core_options){ .cores = &cores, .buffer_count = buffers_for(o.clients), .chunks_max = CHUNKS_MAX }, &fault))
		FATAL("%s", fault.sentence);

	lines_init(&lines, &core, o.port, o.plain ? NULL : tls_context_new(o.version, o.groups, client_ticket_came, o.kind == WORK_SOCKETS));
	l->work.lines = &lines;
	work_fill(&l->work, &o);
	l->client_count = o.clients;
	l->left = o.count;
	l->once = l->work.kind == WORK_IDLE || l->work.kind == WORK_SOCKETS;
	l->interval_ns = o.rate > 0 ? (uint64_t)(1e9 * o.clients / o.rate) : 0;
	load_open(l, &core);
	words_open(&words, &core);

	if (l->once || l->work.kind == WORK_RUDE)
		run_once(&s, &o, &words);
	else
		run_measured(l, &o, &words);

	load_close(l);
	scope_close(&core.root, &RING_DONE);  /* and with it what rude clients have left lying about */
	core_run(&core);
	lines_fini(&lines);
	load_fini(l);
	work_free(&l->work);
	core_close(&core);
	return 0;
}
