/* perf/load/sockets.c — see sockets.h. */
#include "perf/load/sockets.h"

#include "perf/fatal.h"
#include "perf/load/ask.h"

#include <string.h>

#define PUSH_NS_MAX 30000000000u        /* then the rest is lost */

/* Whoever pushes, beside the sockets: on a connection of its own. */
struct pusher {
	struct work work;
	struct load *load;
	struct client client;
	uint64_t answered_ns;            /* 0: not yet */
};

/* Load and work are first members, so a client leads to the sockets. */
void sockets_heard(struct client *c)
{
	struct sockets *s = (struct sockets *)(void *)c->work;

	load_sample(&s->load, load_now_ns(&s->load) - s->pushed_ns);
	if (s->load.sample_count == s->expected)
		load_look(&s->load);
}

static void pusher_done(struct client *c)
{
	struct pusher *p = (struct pusher *)(void *)c->work;

	p->answered_ns = load_now_ns(p->load);
	load_look(p->load);
}

static void pusher_asks(struct pusher *p, const char *target)
{
	/* As long as a sentence to a patient is. */
	static const char BODY[] = "{\"body\": {\"text\": \"Your diary for today is still open. It takes about five minutes.\"}}";
	char *ask = memory_new(1, 1024);

	ask_insist_path(target);
	free(p->work.ask.bytes);
	p->work.ask.bytes = ask;
	p->work.ask.size = (size_t)snprintf(ask, 1024,
		"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		target, sizeof BODY - 1, BODY);
	p->answered_ns = 0;
	client_start(&p->client);
}

static void sockets_push(struct sockets *s, struct pusher *p, const char *target)
{
	struct load *l = &s->load;
	uint64_t until;
	double cpu;

	/* The connection stands before the time begins: a push to somebody who is not there. */
	if (!client_connected(&p->client)) {
		pusher_asks(p, "/push/nobody");
		while (!p->answered_ns)
			load_turn(l, UINT64_MAX);
	}
	cpu = load_cpu_s();
	l->sample_count = 0;
	s->expected = load_connected(l);
	s->pushed_ns = load_now_ns(l);
	until = s->pushed_ns + PUSH_NS_MAX;
	pusher_asks(p, target);
	while ((l->sample_count < s->expected || !p->answered_ns) && load_now_ns(l) < until)
		load_turn(l, until);
	load_sort(l);
	printf("{\"errors\": %llu, \"first_error\": \"%s\", \"sockets\": %llu, \"heard\": %zu, \"answered_us\": %.1f, \"first_us\": %.1f, "
	       "\"p50_us\": %.1f, \"last_us\": %.1f, \"cpu_s\": %.6f}\n",
		(unsigned long long)p->work.errors, p->work.first_error, (unsigned long long)s->expected, l->sample_count,
		p->answered_ns ? (double)(p->answered_ns - s->pushed_ns) / 1e3 : 0, load_sample_us(l, 0), load_sample_us(l, 0.5), load_sample_us(l, 1),
		load_cpu_s() - cpu);
}

static void sockets_rest(struct sockets *s, double seconds)
{
	struct load *l = &s->load;
	uint64_t until = load_now_ns(l) + (uint64_t)(seconds * 1e9), pings = l->work.pings;
	double cpu = load_cpu_s();

	while (load_now_ns(l) < until)
		load_turn(l, until);
	printf("{\"errors\": 0, \"pings\": %llu, \"ended_by_server\": %llu, \"connected\": %u, \"cpu_s\": %.6f}\n",
		(unsigned long long)(l->work.pings - pings), (unsigned long long)l->work.ended_by_server, load_connected(l), load_cpu_s() - cpu);
}

void sockets_obey(struct sockets *s, struct words *words)
{
	struct pusher p = { .work = { .kind = WORK_REQUESTS, .lines = s->load.work.lines, .status = 202, .done = pusher_done }, .load = &s->load };
	const char *word;

	client_init(&p.client, &p.work);
	while ((word = words_next(words))) {
		if (strncmp(word, "rest ", 5) == 0)
			sockets_rest(s, atof(word + 5));
		else if (strncmp(word, "push ", 5) == 0)
			sockets_push(s, &p, word + 5);
		else
			FATAL("no such word: %s", word);
		fflush(stdout);
	}
	client_fini(&p.client);
	free(p.work.ask.bytes);
}
