/* perf/load/line.c — see line.h. line_step is the whole of it: the client looks, then sending, receiving, going. */
#include "perf/load/line.h"

#include "perf/fatal.h"
#include "perf/load/tls.h"

#include <errno.h>
#include <string.h>

#define LINE_MAGIC 0x11e11e11u
#define RECORD_BYTES (16u * 1024u)

static_assert((LINE_PIECES_MAX - 1) * CHUNK_BYTES >= LINE_SEND_BYTES, "what is gathered goes out in one send");

void lines_init(struct lines *lines, struct core *core, uint16_t port, SSL_CTX *tls)
{
	*lines = (struct lines){ .core = core, .tls = tls, .between = tls ? tls_between_new() : NULL, .scratch = memory_new(1, LINE_READ_BYTES) };
	lines->to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void lines_give_back(struct lines *lines)
{
	if (lines->taken)
		chunk_put(&lines->core->pool, lines->taken);
	lines->taken = NULL;
}

void lines_fini(struct lines *lines)
{
	lines_give_back(lines);
	SSL_CTX_free(lines->tls);
	BIO_meth_free(lines->between);
	free(lines->scratch);
}

/* ---- receiving ---- */

static void line_fails(struct line *l, int error)
{
	l->ended = true;
	if (!l->error)
		l->error = error;
}

static void line_received(struct op *op, const struct completion *completion)
{
	struct line *l = owner_of(op, struct line, receive);
	int n = completion->result;

	check(l->magic == LINE_MAGIC);
	if (completion->chunk) {
		if (l->deaf)
			chunk_put(&l->lines->core->pool, completion->chunk);
		else
			pipe_put(&l->in, completion->chunk);
	}
	if (n == 0)
		l->ended = true;
	else if (n == -ENOBUFS)
		core_starve(l->lines->core, &l->starve);
	else if (n < 0 && n != -ECANCELED)
		line_fails(l, -n);
	task_wake(&l->task);
}

static void step_receive(struct line *l)
{
	if (!op_idle(&l->receive) || !l->connected || l->ended || l->leaves || !link_alone(&l->starve.in_starved))
		return;
	l->receive.request = (struct kernel_request){ .code = KERNEL_RECEIVE, .fd = l->fd };
	op_start(&l->receive);
}

/* ---- sending ---- */

static void pieces_sent(struct line *l, size_t n)
{
	while (l->piece_at < l->piece_count && n >= l->pieces[l->piece_at].iov_len) {
		n -= l->pieces[l->piece_at].iov_len;
		if (l->lent[l->piece_at])
			chunk_put(&l->lines->core->pool, l->lent[l->piece_at]);
		l->piece_at++;
	}
	if (l->piece_at == l->piece_count) {
		l->piece_at = l->piece_count = 0;
	} else {
		l->pieces[l->piece_at].iov_base = (char *)l->pieces[l->piece_at].iov_base + n;
		l->pieces[l->piece_at].iov_len -= n;
	}
}

static void pieces_drop(struct line *l)
{
	pieces_sent(l, SIZE_MAX);
	l->large_bytes = 0;
	pipe_refuse(&l->out, &RING_DONE);
}

static void line_sent(struct op *op, const struct completion *completion)
{
	struct line *l = owner_of(op, struct line, send);
	int n = completion->result;

	check(l->magic == LINE_MAGIC);
	if (!l->connected) {
		l->connected = n == 0;
		if (n < 0)
			line_fails(l, -n);
		task_wake(&l->task);
		return;
	}
	if (n > 0)
		pieces_sent(l, (size_t)n);
	if (l->leaves && l->piece_count > 0)
		pieces_drop(l);          /* the socket takes no more now, and nobody waits until it does */
	else if (n < 0)
		line_fails(l, -n);
	/* Mostly nobody waits for it: the answer is what a client waits for. */
	if (n < 0 || l->leaves || l->unsaid || l->piece_count > 0 || l->out.bytes > 0 || l->large_bytes > 0)
		task_wake(&l->task);
}

static void piece_add(struct line *l, const void *bytes, size_t n, struct chunk *chunk)
{
	l->lent[l->piece_count] = chunk;
	l->pieces[l->piece_count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)bytes, .iov_len = n };
}

/* One send for all that was said. It waits in the kernel until the socket has taken the whole of it, but for a last word. */
void line_flush(struct line *l)
{
	struct chunk *chunk;

	if (!scope_live(&l->scope) || !l->connected || l->error || !op_idle(&l->send))
		return;
	while (l->piece_count < LINE_PIECES_MAX - 1 && (chunk = pipe_take(&l->out)))
		piece_add(l, chunk->bytes + chunk->begin, chunk_size(chunk), chunk);
	if (l->large_bytes > 0 && l->out.bytes == 0) {
		piece_add(l, l->large, l->large_bytes, NULL);
		l->large_bytes = 0;
	}
	if (l->piece_count == 0)
		return;
	l->message = (struct msghdr){ .msg_iov = l->pieces + l->piece_at, .msg_iovlen = l->piece_count - l->piece_at };
	l->send.request = (struct kernel_request){ .code = l->leaves ? KERNEL_SEND_NOW : KERNEL_SEND, .fd = l->fd, .message = &l->message };
	op_start(&l->send);
}

/* ---- a line's life ---- */

static void line_goes(struct line *l)
{
	struct kernel *kernel = l->lines->core->kernel;

	if (l->leaves == LINE_VANISHES)
		return;
	if (l->leaves == LINE_RESETS)
		kernel_abort(kernel, l->fd);
	if (l->leaves == LINE_FINISHES)
		kernel_shutdown(kernel, l->fd, SHUT_WR);  /* a close alone would be a reset where an answer lies unread */
	scope_close(&l->scope, &RING_DONE);
}

static void line_step(struct task *task)
{
	struct line *l = owner_of(task, struct line, task);

	check(l->magic == LINE_MAGIC);
	if (l->ready)
		l->ready(l->owner);
	line_flush(l);
	if (!scope_live(&l->scope))
		return;
	step_receive(l);
	if (l->leaves && op_idle(&l->send))
		line_goes(l);
}

static void line_ended(struct scope *scope)
{
	struct line *l = owner_of(scope, struct line, scope);

	pieces_drop(l);
	pipe_fini(&l->in);
	pipe_fini(&l->out);
	link_remove(&l->starve.in_starved);
	kernel_socket_close(l->lines->core->kernel, l->fd);
	l->magic = 0;
	free(l);
}

static const struct scope_kind line_kind = { .name = "line", .ended = line_ended };

struct line *line_open(struct lines *lines, bool secret, void (*ready)(void *owner), void *owner)
{
	struct core *core = lines->core;
	struct line *l = malloc(sizeof *l);

	if (!l)
		FATAL("no memory for a line");
	*l = (struct line){ .magic = LINE_MAGIC, .lines = lines, .ready = ready, .owner = owner };
	l->fd = kernel_socket(core->kernel, (const struct sockaddr *)&lines->to);
	if (l->fd < 0)
		FATAL("no socket: %s", strerror(-l->fd));
	kernel_no_delay(core->kernel, l->fd);
	scope_open(&l->scope, &core->root, &line_kind);
	task_init(&l->task, &l->scope, "line", line_step);
	op_init(&l->receive, &l->scope, "receive", line_received);
	op_init(&l->send, &l->scope, "send", line_sent);
	link_init(&l->starve.in_starved);
	l->starve.wakes = &l->task;
	pipe_init(&l->in, &core->pool, UINT64_MAX);
	pipe_init(&l->out, &core->pool, UINT64_MAX);
	if (secret)
		tls_attach(l);
	l->send.request = (struct kernel_request){
		.code = KERNEL_CONNECT,
		.fd = l->fd,
		.address = (const struct sockaddr *)&lines->to,
		.size = sizeof lines->to,
	};
	op_start(&l->send);
	return l;
}

void line_close(struct line *l)
{
	tls_detach(l);
	l->ready = NULL;
	l->deaf = true;
	scope_close(&l->scope, &RING_DONE);
}

void line_leave(struct line *l, enum line_leaves how)
{
	check(how != LINE_STAYS && l->connected);
	if (l->tls && how == LINE_CLOSES)
		SSL_shutdown(l->tls);    /* close_notify, into `out` */
	l->ready = NULL;
	l->leaves = how;
	line_deafen(l);
	op_cancel(&l->receive);          /* before the last word goes out: an answer to it is not listened to */
	line_flush(l);
	task_wake(&l->task);
}

void line_deafen(struct line *l)
{
	tls_detach(l);
	l->deaf = true;
	pipe_refuse(&l->in, &RING_DONE);
}

/* ---- what the client says and hears ---- */

const char *line_failure(const struct line *l)
{
	return l->error ? strerror(l->error) : NULL;
}

static void line_is_over(struct line *l, const char *why)
{
	l->over = true;
	l->why = why;
}

bool line_shake_hands(struct line *l)
{
	int n = SSL_do_handshake(l->tls);
	const char *why = n == 1 ? NULL : tls_failure(l, n);

	if (why)
		line_is_over(l, why);
	return n == 1;
}

static size_t say_plain(struct line *l, const char *bytes, size_t n)
{
	if (n <= PIPE_COPY_BYTES_MAX) {
		pipe_write(&l->out, bytes, n);
		return n;
	}
	if (l->large_bytes > 0)
		return 0;
	l->large = bytes;
	l->large_bytes = n;
	return n;
}

static size_t say_secret(struct line *l, const char *bytes, size_t n)
{
	size_t said = 0;

	/* Small pieces (a pong, a flood of frames) are never refused: somebody wants them said now, or not at all. */
	while (said < n && (n <= PIPE_COPY_BYTES_MAX || l->out.bytes < LINE_SEND_BYTES - RECORD_BYTES)) {
		size_t part = n - said < RECORD_BYTES ? n - said : RECORD_BYTES;
		int sealed = SSL_write(l->tls, bytes + said, (int)part);
		const char *why = sealed > 0 ? NULL : tls_failure(l, sealed);

		if (why)
			line_is_over(l, why);
		if (sealed <= 0)
			break;
		said += (size_t)sealed;
	}
	return said;
}

size_t line_say(struct line *l, const void *bytes, size_t n)
{
	size_t said = 0;

	/* One load of a send at a time: what the socket has not taken yet is no reason to seal more. */
	if (l->ended)
		line_is_over(l, line_failure(l));
	else if (n <= PIPE_COPY_BYTES_MAX || op_idle(&l->send))
		said = l->tls ? say_secret(l, bytes, n) : say_plain(l, bytes, n);
	l->unsaid = said < n;
	return said;
}

bool line_has_news(const struct line *l)
{
	return l->in.bytes > 0 || l->ended || (l->tls && SSL_has_pending(l->tls));
}

static size_t take_secret(struct line *l, const char **bytes)
{
	int n = SSL_read(l->tls, l->lines->scratch, LINE_READ_BYTES);
	const char *why = n > 0 ? NULL : tls_failure(l, n);

	if (why)
		line_is_over(l, why);
	*bytes = l->lines->scratch;
	return n > 0 ? (size_t)n : 0;
}

size_t line_take(struct line *l, const char **bytes)
{
	if (l->tls)
		return take_secret(l, bytes);
	lines_give_back(l->lines);
	l->lines->taken = pipe_take(&l->in);
	if (!l->lines->taken) {
		if (l->ended)
			line_is_over(l, line_failure(l));
		return 0;
	}
	*bytes = (const char *)l->lines->taken->bytes + l->lines->taken->begin;
	return chunk_size(l->lines->taken);
}
