/* See ring/tcp.h. tcp_step is the whole of it: what the completions noted, then sending, then receiving. */
#include "ring/tcp.h"
#include "ring/scope.h"

#include <errno.h>
#include <string.h>

#define TCP_MAGIC 0x7c97c97cu
#define SEND_BYTES_MAX (64u * 1024u)
#define SEND_WITHIN_MS 30000u
#define SLACK_MS 100u
#define TOGETHER_MS 64u                  /* long waits end on a common grid of these */
#define TOGETHER_FROM_MS 2048u
#define STARVED_MS_MORE 1000u            /* without a buffer, longer than any send may wait, before a connection is given up */

static const struct reason *reason_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT:                     /* a UNIX socket that is not there */
		return &TCP_REFUSED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case EADDRNOTAVAIL:
		return &TCP_UNREACHABLE;
	case ECONNRESET:
	case EPIPE:
	case ECONNABORTED:
		return &TCP_RESET;
	case ETIMEDOUT:
		return &TCP_SEND_LATE;
	case EMFILE:
	case ENFILE:
		return &TCP_DESCRIPTORS_SPENT;
	default:
		return &TCP_FAILED;
	}
}

static void tcp_fail(struct tcp *t, const struct reason *reason)
{
	if (!t->failure)
		t->failure = reason;
	task_wake(t->watcher);
}

/* ---- receiving --------------------------------------------------------------------------------------------------------- */

/* Linux tells a reset to one call only. If a send heard of it (one that had sent a part swallows it without a word) the
 * receive is told 0, and a stream that was cut would look whole. But a socket that was reset has no peer any more, while
 * one whose peer has finished still has. After our own FIN no send can have heard it, and the state tells nothing. */
static bool end_is_reset(const struct tcp *t)
{
	struct sockaddr_storage peer;

	return !t->fin_sent && kernel_peer(t->core->kernel, t->fd, &peer) == 0;
}

/* We do not listen, so the peer cannot be late: his time stands still until we go on. */
static void tcp_hold(struct tcp *t)
{
	if (!t->held)
		t->held_since_ms = t->core->now_ms;
	t->held = true;
}

static void tcp_go_on(struct tcp *t)
{
	t->held = false;
	if (t->wait.from_start)
		t->wait_began_ms += t->core->now_ms - t->held_since_ms;
	else
		t->wait_began_ms = t->core->now_ms;
}

static void tcp_received(struct op *op, const struct completion *completion)
{
	struct tcp *t = owner_of(op, struct tcp, receive);
	int n = completion->result;

	check(t->magic == TCP_MAGIC);
	if (n > 0) {
		t->received_ms = t->core->now_ms;
		t->silences = 0;
		t->bytes_received += (unsigned)n;
		stat_add(&t->core->stats.bytes_received, (unsigned)n);
	} else if (n == 0) {
		t->receive_ended = true;
		if (end_is_reset(t)) {
			tcp_fail(t, &TCP_RESET);
			pipe_break(t->in, &TCP_RESET);
		} else {
			pipe_end(t->in);
		}
		task_wake(t->watcher); /* with TLS between, the reader is not the one who waits for the socket's end */
	} else if (n == -ENOBUFS) {
		tcp_hold(t); /* hunger is our fault: what the peer sends meanwhile lies unread in the socket */
		core_starve(t->core, &t->starve);
	} else if (n == -ECANCELED) {
		if (!op->cancelled)
			stat_add(&t->core->stats.deadlines_fired, 1);
	} else {
		t->receive_ended = true;
		tcp_fail(t, reason_of(-n));
		pipe_break(t->in, reason_of(-n));
		task_wake(t->watcher);
	}
	if (completion->chunk) {
		if (t->in->ended)
			chunk_put(&t->core->pool, completion->chunk);
		else
			pipe_put(t->in, completion->chunk);
	}
	/* An arm that goes on, into a pipe that takes more, wants nothing of us: step_receive would let it be. */
	if (!completion->more || pipe_free(t->in) == 0)
		task_wake(&t->task);
}

static uint64_t wait_due_ms(const struct tcp *t)
{
	uint64_t from_ms = t->wait_began_ms;

	if (t->wait.ms == 0)
		return UINT64_MAX;
	if (!t->wait.from_start && t->received_ms > from_ms)
		from_ms = t->received_ms;
	return from_ms + t->wait.ms;
}

uint64_t tcp_left_ms(const struct tcp *t)
{
	uint64_t due_ms = wait_due_ms(t);

	if (due_ms == UINT64_MAX)
		return UINT64_MAX;
	return due_ms > t->core->now_ms ? due_ms - t->core->now_ms : 0;
}

const char *tcp_waits(const struct tcp *t, uint64_t *left_ms)
{
	*left_ms = UINT64_MAX;
	if (t->connecting)
		return "connect";
	if (t->receive_ended || t->in->ended || t->fd < 0 || !t->wait.name)
		return NULL;
	if (!t->held)
		*left_ms = tcp_left_ms(t);
	return t->wait.name;
}

/* Fifteen thousand deadlines on one instant block the ring for 35 ms, so each comes up to a thirty-second later. */
static uint64_t jitter_ms(const struct tcp *t, uint64_t ms)
{
	uint64_t mixed = (t->core->now_ns ^ t->bytes_received ^ (uint64_t)t->fd << 20) * 0x9e3779b97f4a7c15u;

	return (mixed >> 33) % (ms / 32 + 1);
}

static void receive_arm(struct tcp *t, bool once)
{
	uint64_t left_ms = tcp_left_ms(t);

	t->receive.name = t->wait.name ? t->wait.name : "receive";
	t->receive.request = (struct kernel_request){ .code = once ? KERNEL_RECEIVE_ONCE : KERNEL_RECEIVE, .fd = t->fd };
	t->arm_due_ms = UINT64_MAX;
	if (left_ms != UINT64_MAX) {
		uint64_t within_ms = left_ms + 1 + jitter_ms(t, left_ms);

		/* A core that rests is woken by each of them: thousands of heartbeats cost less than half if those of the same moment
		 * come in one. The jitter above keeps it to some, and not all. */
		if (left_ms >= TOGETHER_FROM_MS)
			within_ms += TOGETHER_MS - (t->core->now_ms + within_ms) % TOGETHER_MS;
		t->receive.request.within_ms = within_ms < UINT32_MAX ? (uint32_t)within_ms : UINT32_MAX;
		t->arm_due_ms = t->core->now_ms + within_ms;
	}
	op_start(&t->receive);
}

/* The wait is over and nothing came. The socket is as good as before: what is to be said can still be sent. */
static void receive_late(struct tcp *t)
{
	t->silences++;
	t->wait_began_ms = t->core->now_ms;
	if (t->silences > t->wait.silences_max) {
		t->receive_ended = true;
		t->late = t->wait.name;
		pipe_break(t->in, t->wait.late);
	} else {
		task_wake(t->in->reader);
		task_wake(t->watcher); /* with TLS between, the reader is not the one who counts silences */
	}
}

/* What the peer sends lies unread in the socket, so he is not late; but a core whose memory is all with peers who wait for
 * memory gets none back unless somebody gives up. Not before those have been cut who have it and read nothing: their sends are late first. */
static bool starved_late(const struct tcp *t)
{
	const uint64_t patience_ms = (t->wait.ms > t->send_ms ? t->wait.ms : t->send_ms) + STARVED_MS_MORE;

	return t->core->now_ms - t->held_since_ms >= patience_ms && !core_has_buffers(t->core);
}

/* A multishot receive of Linux up to 6.18 at least may miss an end that comes together with bytes: two wake-ups that it finds at once
 * are one to it, and it asks for more bytes only where the socket says that there are. A FIN on TCP says so; a reset, and any end of a
 * UNIX socket, does not. So these, and phases whose time runs from their start (handshake, head: nobody should wait out a deadline for
 * a client that has gone), are received one by one. Elsewhere a reset that was missed is found by the next send, or by the deadline. */
static bool one_by_one(const struct tcp *t)
{
	return t->peer.ss_family == AF_UNIX || t->wait.from_start;
}

/* The present arm would fire too late for the present wait. What is not worth an arm of its own is let be. */
static bool arm_too_late(const struct tcp *t)
{
	const uint64_t due_ms = wait_due_ms(t);

	return due_ms != UINT64_MAX && t->arm_due_ms > due_ms + t->wait.ms / 8 + SLACK_MS;
}

static void step_receive(struct tcp *t)
{
	bool room = pipe_free(t->in) > 0;
	bool once;

	if (t->receive_ended || t->in->ended || t->connecting || t->fd < 0)
		return;
	if (!op_idle(&t->receive)) {
		if (!room)
			tcp_hold(t);
		if (!room || arm_too_late(t))
			op_cancel(&t->receive);
		return;
	}
	if (!room) {
		tcp_hold(t);
		return;
	}
	if (!link_alone(&t->starve.in_starved)) {
		if (starved_late(t)) {
			link_remove(&t->starve.in_starved);
			t->receive_ended = true;
			pipe_break(t->in, &TCP_STARVED);
		}
		return;
	}
	once = t->held || one_by_one(t);
	if (t->held) {
		tcp_go_on(t);
	} else if (tcp_left_ms(t) == 0 && t->arm_due_ms >= wait_due_ms(t)) {
		/* An arm that was to be renewed fired before the wait was over. If the core then did not run until it was, nobody
		 * listened in between, and what lies in the socket may have come in time: one more arm of a moment takes it. */
		receive_late(t);
		if (t->receive_ended)
			return;
	}
	/* Bytes that lie there say that the reader is slow, and a multishot receive would take all that the socket has at once. Less than
	 * a buffer's worth says nothing: with TLS a part of the next record always lies there. */
	receive_arm(t, once || t->in->bytes >= CHUNK_BYTES);
}

/* ---- sending ------------------------------------------------------------------------------------------------------------ */

static void send_drop(struct tcp *t)
{
	for (unsigned i = 0; i < t->lent_count; i++)
		chunk_put(&t->core->pool, t->lent[i]);
	t->lent_count = 0;
}

/* n bytes of what was lent are sent: whole chunks go back, the rest moves to the front. */
static void send_advance(struct tcp *t, uint32_t n)
{
	unsigned done = 0;

	t->bytes_sent += n;
	stat_add(&t->core->stats.bytes_sent, n);
	while (done < t->lent_count && n >= chunk_size(t->lent[done])) {
		n -= chunk_size(t->lent[done]);
		chunk_put(&t->core->pool, t->lent[done++]);
	}
	t->lent_count -= done;
	memmove(t->lent, t->lent + done, t->lent_count * sizeof *t->lent);
	check(n == 0 || t->lent_count > 0);
	if (n > 0)
		t->lent[0]->begin += n;
}

static void tcp_sent(struct op *op, const struct completion *completion)
{
	struct tcp *t = owner_of(op, struct tcp, send);

	check(t->magic == TCP_MAGIC);
	if (completion->result == -ECANCELED && !op->cancelled)
		stat_add(&t->core->stats.deadlines_fired, 1);
	if (completion->result > 0) {
		send_advance(t, (uint32_t)completion->result);
		/* All of it went, and step_send would find nothing else to say. A connect has lent nothing. */
		if (t->lent_count == 0 && t->out->bytes == 0 && !t->out->ended)
			return;
	}
	t->sent = completion->result;
	t->send_noted = true;
	task_wake(&t->task);
}

static void send_start(struct tcp *t, bool blocked)
{
	for (unsigned i = 0; i < t->lent_count; i++) {
		struct chunk *chunk = t->lent[i];

		t->vector[i] = (struct iovec){ .iov_base = chunk->bytes + chunk->begin, .iov_len = chunk_size(chunk) };
	}
	t->message = (struct msghdr){ .msg_iov = t->vector, .msg_iovlen = t->lent_count };
	t->send_blocked = blocked;
	t->send.name = blocked ? "send" : "send now";
	t->send.request = (struct kernel_request){
		.code = blocked ? KERNEL_SEND : KERNEL_SEND_NOW,
		.more_follows = t->out->more_follows || t->out->bytes > 0,
		.fd = t->fd,
		.within_ms = blocked ? t->send_ms : 0,
		.message = &t->message,
	};
	op_start(&t->send);
}

static void send_failed(struct tcp *t, const struct reason *reason)
{
	send_drop(t);
	if (reason == &TCP_SEND_LATE && !t->late)
		t->late = "send";
	tcp_fail(t, reason);
	pipe_refuse(t->out, reason);
}

static void connect_noted(struct tcp *t)
{
	const struct reason *reason;

	t->connecting = false;
	if (t->sent == 0) {
		t->wait_began_ms = t->received_ms = t->core->now_ms;
		task_wake(t->watcher);
		return;
	}
	reason = t->sent == -ECANCELED || t->sent == -ETIMEDOUT ? &TCP_CONNECT_LATE : reason_of(-t->sent);
	t->receive_ended = true;
	tcp_fail(t, reason);
	pipe_break(t->in, reason);
	pipe_refuse(t->out, reason);
}

static void send_noted(struct tcp *t)
{
	bool late;

	t->send_noted = false;
	if (t->connecting) {
		connect_noted(t);
		return;
	}
	if (t->lent_count == 0)
		return;
	if (t->send_blocked && t->sent > 0)
		stat_add(&t->core->stats.deadlines_fired, 1); /* only its timeout ends such a send short */
	if (t->sent < 0 && t->sent != -EAGAIN && t->sent != -ECANCELED && t->sent != -EINTR) {
		send_failed(t, reason_of(-t->sent));
		return;
	}
	/* A send that waits ends short only by its timeout. What it did send is sent: if the reader took something he is slow
	 * but alive and gets his time again; if he took nothing in all that time he is not. */
	late = t->send_blocked && (t->sent == -ECANCELED || t->sent == 0);
	if (late)
		send_failed(t, &TCP_SEND_LATE);
	else
		send_start(t, true);
}

static void step_send(struct tcp *t)
{
	uint32_t bytes = 0;

	if (t->send_noted)
		send_noted(t);
	if (!op_idle(&t->send) || t->connecting || t->fd < 0 || t->out->refusal)
		return;
	while (t->lent_count < TCP_SEND_CHUNKS_MAX && bytes < SEND_BYTES_MAX) {
		struct chunk *chunk = pipe_take(t->out);

		if (!chunk)
			break;
		bytes += chunk_size(chunk);
		t->lent[t->lent_count++] = chunk;
	}
	if (t->lent_count > 0) {
		send_start(t, false);
	} else if (t->out->ended && !t->fin_sent) {
		t->fin_sent = true;
		/* A broken stream must not look whole: the peer then sees a reset, not an end. */
		if (t->out->reason)
			kernel_abort(t->core->kernel, t->fd);
		else
			kernel_shutdown(t->core->kernel, t->fd, SHUT_WR);
		task_wake(t->watcher);
	}
}

static void tcp_step(struct task *task)
{
	struct tcp *t = owner_of(task, struct tcp, task);

	check(t->magic == TCP_MAGIC);
	step_send(t);
	step_receive(t);
}

/* ---- for the owner ------------------------------------------------------------------------------------------------------ */

void tcp_init(struct tcp *t, struct scope *scope, int fd, struct pipe *in, struct pipe *out)
{
	struct core *core = scope->core;

	*t = (struct tcp){
		.magic = TCP_MAGIC,
		.fd = fd,
		.core = core,
		.scope = scope,
		.in = in,
		.out = out,
		.send_ms = SEND_WITHIN_MS,
		.wait_began_ms = core->now_ms,
		.received_ms = core->now_ms,
	};
	task_init(&t->task, scope, "tcp", tcp_step);
	op_init(&t->receive, scope, "receive", tcp_received);
	op_init(&t->send, scope, "send", tcp_sent);
	link_init(&t->starve.in_starved);
	t->starve.wakes = &t->task;
	in->writer = &t->task;
	out->reader = &t->task;
	if (fd >= 0) {
		t->peer_size = kernel_peer(core->kernel, fd, &t->peer);
		kernel_no_delay(core->kernel, fd);
		task_wake(&t->task);
	}
}

void tcp_connect(struct tcp *t, const struct sockaddr *address, socklen_t size, uint32_t within_ms)
{
	check(t->fd < 0 && size <= sizeof t->peer);
	memcpy(&t->peer, address, size);
	t->peer_size = size;
	t->connecting = true;
	t->fd = kernel_socket(t->core->kernel, address);
	if (t->fd < 0) {
		t->sent = t->fd;
		t->fd = -1;
		t->send_noted = true;
		task_wake(&t->task);
		return;
	}
	kernel_no_delay(t->core->kernel, t->fd);
	t->send.name = "connect";
	t->send.request = (struct kernel_request){
		.code = KERNEL_CONNECT,
		.fd = t->fd,
		.within_ms = within_ms,
		.address = (const struct sockaddr *)&t->peer,
		.size = size,
	};
	op_start(&t->send);
}

void tcp_receive_within(struct tcp *t, const struct tcp_wait *wait)
{
	check(wait->ms == 0 || wait->late);
	t->wait = *wait;
	t->wait_began_ms = t->held_since_ms = t->core->now_ms;
	t->silences = 0;
	if (wait->name)
		t->receive.name = wait->name; /* the present arm, lazily renewed, is this wait's from now on */
	if (op_idle(&t->receive) || arm_too_late(t))
		task_wake(&t->task);
}

void tcp_send_within(struct tcp *t, uint32_t ms)
{
	t->send_ms = ms;
}

void tcp_abort(struct tcp *t)
{
	if (t->fd >= 0)
		kernel_abort(t->core->kernel, t->fd);
}

void tcp_fini(struct tcp *t)
{
	check(t->magic == TCP_MAGIC && op_idle(&t->receive) && op_idle(&t->send));
	send_drop(t);
	link_remove(&t->starve.in_starved);
	if (t->fd >= 0)
		kernel_socket_close(t->core->kernel, t->fd);
	t->fd = -1;
	t->magic = 0;
}
