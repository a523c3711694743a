/* perf/bare.c — a server that knows one answer: what perf/compare's count rows stand beside, to see what HTTP and the count cost.
 *
 *     bare PORT          whatever is asked: 200 {"count":0}, HTTP/1.1, keep-alive
 *
 *   socket ═▶ tcp ─▶ in ─▶ (how often does it say CR LF CR LF?) ─▶ out ─▶ tcp ═▶ socket
 *
 * It stands on the same ring/ as Postern does, with its listener, its sockets and its pipes, and leaves out all that Postern has
 * above them: no head is parsed, nothing is looked up, nobody's time is limited, nothing is logged or counted. What Postern takes
 * more than this is the price of HTTP, of routes and of the count; what both take is the price of ring/ and of the kernel.
 *
 * It trusts its clients, which are scripts of this folder: it is an instrument and no server. A request has no body.
 *
 * Owner: the process.   Thread: one.   Units: bytes.   Errors: exit 1 with a sentence; a broken connection is dropped.
 * Limits: CONNECTIONS_MAX.   Source: none.                                                                                 */
#include "perf/fatal.h"
#include "ring/listener.h"
#include "ring/pipe.h"
#include "ring/tcp.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 16384u
#define BUFFERS 256u                     /* as many as Postern lends */
#define CHUNKS_MAX 16384u

/* As long as Postern's to the same question, so that both send the same. */
static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"count\":0}";

struct line {
	struct scope scope;
	struct listener *listener;
	struct tcp tcp;
	struct pipe in, out;
	struct task task;
	unsigned matched;                    /* of CR LF CR LF, at the end of what was read */
};

static void line_ended(struct scope *scope)
{
	struct line *l = owner_of(scope, struct line, scope);

	tcp_fini(&l->tcp);
	pipe_fini(&l->in);
	pipe_fini(&l->out);
	listener_closed(l->listener);
	free(l);
}

static const struct scope_kind line_kind = { .name = "line", .ended = line_ended };

/* True: a head ends with this byte. */
static bool line_byte(struct line *l, uint8_t byte)
{
	static const uint8_t END[4] = { '\r', '\n', '\r', '\n' };

	l->matched = byte == END[l->matched] ? l->matched + 1 : byte == '\r';
	if (l->matched < sizeof END)
		return false;
	l->matched = 0;
	return true;
}

static void line_step(struct task *task)
{
	struct line *l = owner_of(task, struct line, task);
	size_t n;

	while (l->in.bytes > 0 && pipe_free(&l->out) > 0) {
		const uint8_t *bytes = pipe_peek(&l->in, &n);

		for (size_t i = 0; i < n; i++) {
			if (line_byte(l, bytes[i]))
				pipe_write(&l->out, ANSWER, sizeof ANSWER - 1);
		}
		pipe_consume(&l->in, n);
	}
	if (l->out.refusal || l->in.reason) {
		scope_close(&l->scope, l->out.refusal ? l->out.refusal : l->in.reason);
		return;
	}
	if (pipe_at_end(&l->in) && !l->out.ended)
		pipe_end(&l->out);
	if (l->tcp.fin_sent)
		scope_close(&l->scope, &RING_DONE);
}

static void line_accepted(struct listener *listener, int fd)
{
	struct line *l = memory_new(1, sizeof *l);

	l->listener = listener;
	scope_open(&l->scope, &listener->core->root, &line_kind);
	pipe_init(&l->in, &listener->core->pool, PIPE_BYTES_MAX);
	pipe_init(&l->out, &listener->core->pool, PIPE_BYTES_MAX);
	tcp_init(&l->tcp, &l->scope, fd, &l->in, &l->out);
	task_init(&l->task, &l->scope, "line", line_step);
	l->in.reader = &l->task;
	l->out.writer = &l->task;
	l->tcp.watcher = &l->task;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(argc == 2 ? atoi(argv[1]) : 0)) };
	struct kernel_fault fault;
	struct listener listener;
	struct core core;
	struct core *all[1] = { &core };
	const struct cores cores = { .count = 1, .all = all };
	const struct core_options options = { .cores = &cores, .buffer_count = BUFFERS, .chunks_max = CHUNKS_MAX };
	int fd;

	if (at.sin_port == 0)
		FATAL("usage: bare PORT");
	signal(SIGPIPE, SIG_IGN);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!core_open(&core, &options, &fault))
		FATAL("%s", fault.sentence);
	fd = kernel_listen(core.kernel, (const struct sockaddr *)&at, sizeof at, 4096);
	if (fd < 0)
		FATAL("port %s: %s", argv[1], strerror(-fd));
	listener_open(&listener, &core, fd, argv[1], CONNECTIONS_MAX, line_accepted, NULL);
	core_run(&core);                     /* until a signal ends the process: nobody asks it to leave politely */
	return 0;
}
