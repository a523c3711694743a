/* A client's connection.
 *
 *   shake_hands       TLS only: until the keys are there
 *   choose_protocol   by ALPN; HTTP/1.1 is the only one so far
 *   serve             one exchange after another; within one, reading the request and writing the answer go on side by side
 *   say_goodbye       everything is sent, then our end; what still arrives is thrown away, until the client ends too
 *
 * The step of a connection looks at its pipes and at its exchange; it never asks who woke it. */
#include "gateway/conn.h"
#include "gateway/exchange.h"
#include "gateway/http/http1.h"
#include "gateway/serve/serve.h"
#include "gateway/verdict.h"
#include "tls/engine.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define CONN_MAGIC 0xc099c099u
#define GOODBYE_BYTES_MAX (64u << 20)    /* thrown away behind our goodbye, before patience ends */
#define EXCHANGES_AT_ONCE 32u            /* of a pipelining client, before others have their turn */

enum conn_outcome { NEXT, WAIT, END };

/* What the client is waited for. */
enum wait {
	WAIT_NOTHING,                    /* it is our turn */
	WAIT_HANDSHAKE,
	WAIT_FIRST,                      /* the first request of a connection */
	WAIT_FIRST_SOON,                 /* the same, of one who was in the queue when draining began */
	WAIT_REQUEST,                    /* the next one */
	WAIT_HEAD,                       /* the rest of a head */
	WAIT_BODY,
	WAIT_UPGRADED                    /* set by the target */
};

struct conn {
	uint32_t magic;
	uint8_t at;                      /* index into STEPS */
	uint8_t waits_for;               /* enum wait */
	bool admin;
	char *administrator;             /* who it is, where `admin`; else NULL */
	bool surplus;                    /* one more than connections_max: it is told so, and no more */
	bool keep;                       /* another exchange may follow */
	bool told_goodbye;
	bool counted_handshake;
	bool told_failure;               /* of TLS */
	bool head_read, body_read;       /* of the present exchange */
	bool head_written;
	bool upgraded;                   /* frames were spoken, or bytes of a tunnel */
	unsigned exchange_count;
	uint64_t bytes_thrown_away;
	struct scope scope;
	struct worker *worker;
	struct listener *listener;
	struct link in_worker;
	struct task task;
	struct tcp tcp;
	struct pipe wire_in, wire_out;
	struct pipe *in, *out;           /* what HTTP sees: the wire's pipes, or the plain ones below */
	struct secure *secure;           /* NULL: no TLS */
	struct exchange *exchange;
	struct http1_reader reader;
	struct http1_writer writer;
	char client[INET6_ADDRSTRLEN];
};

struct secure {
	struct tls tls;
	struct pipe plain_in, plain_out;
};

/* ---- waits ---------------------------------------------------------------------------------------------------------- */

static struct tcp_wait wait_of(const struct config_timeouts *t, enum wait wait)
{
	switch (wait) {
	case WAIT_HANDSHAKE:
		return (struct tcp_wait){ .name = "TLS handshake", .ms = t->tls_handshake_ms, .late = &CLIENT_HANDSHAKE_LATE, .from_start = true };
	case WAIT_FIRST:
		return (struct tcp_wait){ .name = "first request", .ms = t->request_head_ms, .late = &CLIENT_IDLE, .from_start = true };
	case WAIT_FIRST_SOON:
		return (struct tcp_wait){ .name = "first request", .ms = t->close_ms, .late = &CLIENT_IDLE, .from_start = true };
	case WAIT_REQUEST:
		return (struct tcp_wait){ .name = "next request", .ms = t->keep_alive_ms, .late = &CLIENT_IDLE };
	case WAIT_HEAD:
		return (struct tcp_wait){ .name = "request head", .ms = t->request_head_ms, .late = &CLIENT_HEAD_LATE, .from_start = true };
	case WAIT_BODY:
		return (struct tcp_wait){ .name = "request body", .ms = t->request_body_ms, .late = &CLIENT_BODY_LATE };
	case WAIT_NOTHING:
	case WAIT_UPGRADED:
		break;
	}
	return (struct tcp_wait){ .name = "the client's end" }; /* the socket is listened to all the same */
}

static void conn_wait(struct conn *c, enum wait wait)
{
	struct tcp_wait next;

	if (c->waits_for == wait)
		return;
	c->waits_for = (uint8_t)wait;
	next = wait_of(&c->worker->config->timeouts, wait);
	tcp_receive_within(&c->tcp, &next);
}

static enum conn_outcome conn_close(struct conn *c, const struct reason *reason)
{
	scope_close(&c->scope, reason);
	return END;
}

/* The same, where somebody was being served: that is told to metrics and log. */
static enum conn_outcome conn_cut(struct conn *c, const struct reason *reason)
{
	if (c->exchange && c->head_read)
		exchange_note(c->exchange, reason);
	else
		metrics_refused(&c->worker->metrics, reason);
	return conn_close(c, reason);
}

/* ---- what the exchange asks of us ---------------------------------------------------------------------------------- */

static void carrier_wake(struct exchange *x)
{
	struct conn *c = x->carried_by;

	task_wake(&c->task);
}

static void carrier_wait(struct exchange *x, const struct tcp_wait *wait)
{
	struct conn *c = x->carried_by;

	c->waits_for = WAIT_UPGRADED;
	tcp_receive_within(&c->tcp, wait);
}

static unsigned carrier_silences(const struct exchange *x)
{
	const struct conn *c = x->carried_by;

	return c->tcp.silences;
}

static void carrier_ended(struct exchange *x)
{
	struct conn *c = x->carried_by;
	struct metrics *metrics = &c->worker->metrics;

	check(c->exchange == x);
	if (!x->wait)
		x->wait = c->tcp.late;
	/* The end of a drain, or a second signal, closes everything from the root. */
	if (c->head_read && !c->admin && x->scope.reason == &RING_PARENT_CLOSED && !scope_live(&c->worker->core.root))
		exchange_note(x, &GATEWAY_DRAINING);
	if (c->head_read) {
		unsigned status = x->answered ? x->answer.status : 499; /* the client left before its answer */

		if (x->upgraded) {
			/* Counted from the upgrade on; see upgrade(). */
			x->body_bytes_in = c->in->bytes_passed - x->body_bytes_in;
			x->body_bytes_out = c->out->bytes_passed - x->body_bytes_out;
		} else {
			x->body_bytes_in = c->reader.body_bytes;
			x->body_bytes_out = c->head_written ? c->writer.body_bytes : 0;
		}
		metric_add(&metrics->requests_ended, !c->admin);
		metric_add(&metrics->websockets_ended, x->upgraded);
		if (!c->admin && status < METRIC_STATUS_MAX)
			metric_add(&metrics->by_status[status], 1);
		if (!c->admin)
			metric_add(&metrics->by_route[x->route ? (unsigned)(x->route - c->worker->config->routes) :
			                                         metrics->route_count - 1], 1);
		if (!c->admin)
			log_access(&c->worker->log, x);
	}
	/* Cut short: it must not look whole, least of all where the end of the connection is the end of the answer. */
	if (c->head_written && !(x->upgraded ? x->done : c->writer.done))
		tcp_abort(&c->tcp);
	/* A connection that closes outlives its exchange by what the kernel still holds; its pipes must not wake the dead. */
	if (x->upgraded) {
		c->in->reader = &c->task;
		c->out->writer = &c->task;
	}
	c->exchange = NULL;
	task_wake(&c->task);
}

static const struct carrier carrier = {
	.wake = carrier_wake,
	.wait = carrier_wait,
	.silences = carrier_silences,
	.ended = carrier_ended,
};

/* ---- shake_hands, choose_protocol ---------------------------------------------------------------------------------- */

/* Why TLS ended, where no exchange tells it. */
static void tell_failure(struct conn *c)
{
	const struct reason *failure = c->secure->tls.failure;

	if (!failure || c->told_failure)
		return;
	c->told_failure = true;
	metrics_refused(&c->worker->metrics, failure);
	log_refusal(&c->worker->log, c->client, failure);
}

static enum conn_outcome shake_hands(struct conn *c)
{
	struct metrics *metrics = &c->worker->metrics;
	struct tls *tls;

	if (!c->secure)
		return NEXT;
	tls = &c->secure->tls;
	if (!tls_handshake_over(tls) && !tls->failure) {
		conn_wait(c, WAIT_HANDSHAKE);
		return WAIT;
	}
	c->counted_handshake = true;
	if (tls->version != 0) {
		metric_add(&metrics->handshakes_done, 1);
		return NEXT;
	}
	metric_add(&metrics->handshakes_failed, 1);
	tell_failure(c);
	return NEXT; /* with keep false: nothing is served, and the goodbye lets the alert out */
}

static enum conn_outcome choose_protocol(struct conn *c)
{
	c->keep = !c->secure || c->secure->tls.version != 0;
	return NEXT;
}

/* The admin socket is spoken to until the end. */
static bool draining(const struct conn *c)
{
	return c->worker->draining && !c->admin;
}

/* ---- serve: one exchange ---------------------------------------------------------------------------------------------- */

static struct http_limits limits_of(const struct config_limits *l)
{
	return (struct http_limits){
		.head_bytes_max = (uint32_t)l->head_bytes_max,
		.uri_bytes_max = (uint32_t)l->uri_bytes_max,
		.fields_max = (uint32_t)l->fields_max,
		.body_bytes_max = UINT64_MAX, /* the route's, once it is known */
	};
}

static void exchange_open(struct conn *c)
{
	const struct http_limits limits = limits_of(&c->worker->config->limits);
	struct exchange *x = exchange_new(c->worker, &c->scope, &carrier, c);

	x->client = c->client;
	x->secure = c->secure;
	x->administrator = c->administrator;
	x->client_identity = c->secure ? c->secure->tls.identity : NULL;
	x->body_in.writer = &c->task;
	x->body_out.reader = &c->task;
	c->exchange = x;
	c->head_read = c->body_read = c->head_written = false;
	http1_reader_begin_request(&c->reader, &x->request, &x->arena, &limits);
}

/* Nothing of a request is here: none is being read, or not more than a blank line of one. */
static bool between_requests(const struct conn *c)
{
	const struct exchange *x = c->exchange;

	if (c->in->bytes > 0 || c->in->ended)
		return false;
	return !x || (scope_live(&x->scope) && !c->head_read && !http1_reader_begun(&c->reader));
}

/* NEXT: none will come. */
static enum conn_outcome wait_for_request(struct conn *c)
{
	if (!c->keep || (draining(c) && c->exchange_count > 0))
		return NEXT;
	conn_wait(c, c->exchange_count > 0 ? WAIT_REQUEST : draining(c) || c->surplus ? WAIT_FIRST_SOON : WAIT_FIRST);
	return WAIT;
}

/* A host that asks its clients for certificates is reached by its own name alone: whoever shook hands with another one was not
 * asked. RFC 9110 §15.5.20: 421 is for "a connection that is not configured to produce an authoritative response". */
static bool misdirected(const struct conn *c)
{
	struct http_text name = c->exchange->request.host_name;

	return c->secure && tls_context_misdirects(c->secure->tls.context, &c->secure->tls.choice, name.bytes, name.size);
}

/* A drain that is nearly over: who has not said all by now is told to ask again, while he can still be told. */
static bool refusing(const struct conn *c)
{
	return c->worker->refusing && !c->admin;
}

/* What there is of a head is answered, and nothing behind it can be trusted. */
static void refuse_head(struct conn *c, const struct reason *reason)
{
	c->head_read = c->body_read = true;
	c->keep = false;
	conn_wait(c, WAIT_NOTHING);
	metric_add(&c->worker->metrics.requests_begun, !c->admin);
	exchange_refuse(c->exchange, reason);
}

/* The head, and where it leads. False: there is nothing to do yet, or nothing any more (*outcome). */
static bool read_head(struct conn *c, enum conn_outcome *outcome)
{
	struct exchange *x = c->exchange;

	*outcome = WAIT;
	switch (http1_read_head(&c->reader, c->in)) {
	case HTTP1_MORE:
		if (http1_reader_begun(&c->reader) && refusing(c)) {
			refuse_head(c, &GATEWAY_DRAINING);
			return true;
		}
		if (http1_reader_begun(&c->reader))
			conn_wait(c, WAIT_HEAD);
		else
			*outcome = wait_for_request(c);
		return false;
	case HTTP1_HEAD:
		break;
	case HTTP1_END:
		*outcome = NEXT;
		return false;
	default:
		/* An idle client that was waited for long enough, or has gone, was not in the middle of anything. */
		if (verdict_of(c->reader.reason)->status == 0) {
			*outcome = c->reader.reason == &CLIENT_IDLE ? NEXT : conn_close(c, c->reader.reason);
			return false;
		}
		refuse_head(c, c->reader.reason);
		return true;
	}
	c->head_read = true;
	c->exchange_count++;
	metric_add(&c->worker->metrics.requests_begun, !c->admin);
	conn_wait(c, WAIT_NOTHING);
	if (x->request.body == HTTP_BODY_NONE) {
		c->body_read = true;
		pipe_end(x->in);
	}
	if (c->surplus) {
		c->keep = false;
		exchange_refuse(x, &CONNECTIONS_MAX);
	} else if (misdirected(c)) {
		c->keep = false;
		exchange_refuse(x, &HOST_MISDIRECTED);
	} else {
		exchange_begin(x, c->admin ? &SERVE_ADMIN : NULL);
	}
	c->reader.limits.body_bytes_max = x->route ? x->route->body_bytes_max : c->worker->config->limits.body_bytes_max;
	if (x->request.expect_continue && !x->answered && !c->body_read && !http1_body_too_large(&c->reader))
		http1_write_continue(c->out);
	return true;
}

static bool read_body(struct conn *c, enum conn_outcome *outcome)
{
	struct exchange *x = c->exchange;
	enum http1 read = http1_read_body(&c->reader, c->in, &x->body_in);

	*outcome = WAIT;
	if ((read == HTTP1_MORE || read == HTTP1_FULL) && refusing(c) && !x->answered) {
		c->body_read = true;
		c->keep = false;
		conn_wait(c, WAIT_NOTHING);
		pipe_break(&x->body_in, &GATEWAY_DRAINING);
		exchange_refuse(x, &GATEWAY_DRAINING);
		return true;
	}
	switch (read) {
	case HTTP1_MORE:
		conn_wait(c, WAIT_BODY);
		return true;
	case HTTP1_FULL:
		conn_wait(c, WAIT_NOTHING);
		return true;
	case HTTP1_DONE:
		conn_wait(c, WAIT_NOTHING);
		c->body_read = true;
		return true;
	default:
		c->body_read = true;
		c->keep = false;
		conn_wait(c, WAIT_NOTHING);
		if (verdict_of(c->reader.reason)->status == 0) {
			*outcome = conn_cut(c, c->reader.reason);
			return false;
		}
		if (!x->answered)
			exchange_refuse(x, c->reader.reason);
		return true;
	}
}

static void write_head(struct conn *c)
{
	struct exchange *x = c->exchange;
	struct http_head *answer = &x->answer;

	/* A body that is still on its way would be read as the next request. */
	c->keep = c->keep && x->request.keep_alive && c->body_read && !draining(c);
	answer->version_minor = x->request.version_minor;
	/* RFC 9112 §7: a client of 1.0 knows no chunks; its answer ends with the connection. */
	if (answer->body == HTTP_BODY_CHUNKED && answer->version_minor == 0 && c->head_read)
		answer->body = HTTP_BODY_UNTIL_END;
	/* RFC 9110 §9.3.2: a HEAD is answered with the length that a GET would have. */
	if (x->request.method == HTTP_METHOD_HEAD || http_status_bodyless(answer->status)) {
		answer->has_length = answer->has_length || answer->body == HTTP_BODY_LENGTH;
		answer->body = HTTP_BODY_NONE;
	}
	if (answer->body == HTTP_BODY_UNTIL_END)
		c->keep = false;
	answer->keep_alive = c->keep;
	/* RFC 9110 §6.6.1: who has a clock dates what he answers. */
	if (!http_known(answer, HTTP_NAME_DATE).bytes)
		http_add_known(answer, HTTP_NAME_DATE, http_text_of(worker_date(c->worker)));
	http1_write_head(c->out, answer);
	http1_writer_begin(&c->writer, answer);
	c->head_written = true;
}

/* From now on the target has the connection's own pipes; bytes that were read already are still in them. */
static void upgrade(struct conn *c)
{
	struct exchange *x = c->exchange;

	x->upgraded = c->upgraded = true;
	x->body_bytes_in = c->in->bytes_passed - c->in->bytes;
	x->body_bytes_out = c->out->bytes_passed;
	x->in = c->in;
	x->out = c->out;
	x->in->reader = &x->task;
	x->out->writer = &x->task;
	c->keep = false;
	metric_add(&c->worker->metrics.websockets_opened, 1);
	task_wake(&x->task);
}

/* NEXT: the exchange is over, or its connection is (c->keep tells). */
static enum conn_outcome write_answer(struct conn *c)
{
	struct exchange *x = c->exchange;

	if (!x->answered)
		return WAIT;
	if (!c->head_written) {
		write_head(c);
		if (x->upgrades && x->answer.status == 101) {
			upgrade(c);
			return WAIT;
		}
	}
	switch (http1_write_body(&c->writer, x->out, c->out)) {
	case HTTP1_DONE:
		scope_close(&x->scope, x->refusal ? x->refusal : &RING_DONE);
		return NEXT;
	case HTTP1_BROKEN:
		exchange_note(x, c->writer.reason);
		scope_close(&x->scope, x->refusal);
		c->keep = false;
		return NEXT;
	default:
		return WAIT;
	}
}

/* The client has left while its request is worked on. A client who has only shut his sending side (nothing broken) still
 * gets what is ready, and whatever a target finishes without waiting for others. */
static bool client_gone(const struct conn *c)
{
	const struct exchange *x = c->exchange;

	if (c->tcp.failure)
		return true;
	if (!c->head_read || !pipe_at_end(c->in) || !x->serve)
		return false;
	return x->endless || (!x->answered && x->serve->aborts_with_client);
}

/* NEXT: no exchange follows. */
static enum conn_outcome serve(struct conn *c)
{
	enum conn_outcome outcome;

	for (unsigned i = 0; i < EXCHANGES_AT_ONCE; i++) {
		struct exchange *x = c->exchange;

		/* Where TLS ended it, its alert is still on the way out. */
		if (c->out->refusal) {
			if (!c->secure || !c->secure->tls.failure)
				return conn_cut(c, c->out->refusal);
			if (x && c->head_read)
				exchange_note(x, c->out->refusal);
			else
				tell_failure(c);
			return NEXT;
		}
		if (between_requests(c))
			return wait_for_request(c);
		if (!x) {
			if (!c->keep)
				return NEXT;
			/* Answers without a body ask no pipe for room: a client who does not read them must not go on asking. */
			if (pipe_free(c->out) == 0)
				return WAIT;
			exchange_open(c);
			continue;
		}
		if (!scope_live(&x->scope))
			return c->keep ? WAIT : NEXT; /* its last wake comes from carrier_ended */
		if (x->upgraded) {
			if (!x->done) {
				if (c->tcp.silences > 0)
					task_wake(&x->task);
				return WAIT;
			}
			scope_close(&x->scope, x->refusal ? x->refusal : &RING_DONE);
			return NEXT;
		}
		if (!c->head_read && !read_head(c, &outcome))
			return outcome;
		if (!c->body_read && !read_body(c, &outcome))
			return outcome;
		if (client_gone(c))
			return conn_cut(c, &CLIENT_GONE);
		if (write_answer(c) == WAIT)
			return WAIT;
	}
	task_wake(&c->task);
	return WAIT;
}

/* ---- say_goodbye -------------------------------------------------------------------------------------------------------- */

static enum conn_outcome say_goodbye(struct conn *c)
{
	if (!c->told_goodbye) {
		c->told_goodbye = true;
		c->in->reader = &c->task;
		c->out->writer = &c->task;
		conn_wait(c, WAIT_NOTHING);
		if (c->exchange)
			scope_close(&c->exchange->scope, &RING_DONE);
		if (!c->out->ended && !c->out->refusal)
			pipe_end(c->out);
	}
	/* What is still on its way is read and thrown away: closing with unread bytes would reset the connection, and the reset may
	 * overtake the answer. */
	c->bytes_thrown_away += c->in->bytes;
	pipe_consume(c->in, c->in->bytes);
	if (c->bytes_thrown_away > GOODBYE_BYTES_MAX) {
		tcp_abort(&c->tcp);
		return conn_close(c, &CLIENT_CLOSE_LATE);
	}
	if (c->tcp.failure || c->wire_out.refusal)
		return conn_close(c, c->tcp.failure ? c->tcp.failure : c->wire_out.refusal);
	/* A WebSocket that was given up: its client had his time for Close, and may have stopped reading long ago. What he has not
	 * taken by now would otherwise be kept for him as long as one write may wait. */
	if (c->upgraded && c->out->reason && !c->scope.deadline.set)
		scope_deadline(&c->scope, c->worker->config->timeouts.close_ms, &CLIENT_CLOSE_LATE);
	if (!c->tcp.fin_sent)
		return WAIT;
	/* What was cut is told at once, by a reset. */
	if (c->out->reason || c->wire_out.reason)
		return conn_close(c, c->out->reason ? c->out->reason : c->wire_out.reason);
	if (c->tcp.receive_ended)
		return conn_close(c, &RING_DONE);
	if (!c->scope.deadline.set)
		scope_deadline(&c->scope, c->worker->config->timeouts.close_ms, &CLIENT_CLOSE_LATE);
	return WAIT;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------ */

struct step {
	const char *name;
	enum conn_outcome (*run)(struct conn *);
};

static const struct step STEPS[] = {
	{ "shake_hands", shake_hands },
	{ "choose_protocol", choose_protocol },
	{ "serve", serve },
	{ "say_goodbye", say_goodbye },
};

static void conn_step(struct task *task)
{
	struct conn *c = owner_of(task, struct conn, task);

	check(c->magic == CONN_MAGIC);
	while (STEPS[c->at].run(c) == NEXT)
		c->at++;
}

static const char *conn_where(const struct scope *scope)
{
	const struct conn *c = owner_of(scope, const struct conn, scope);

	if (c->at == 2 && !c->exchange)
		return "idle";
	return STEPS[c->at].name;
}

static size_t conn_bytes(const struct scope *scope)
{
	const struct conn *c = owner_of(scope, const struct conn, scope);
	size_t bytes = c->wire_in.bytes + c->wire_out.bytes;

	if (c->secure)
		bytes += c->secure->plain_in.bytes + c->secure->plain_out.bytes;
	return bytes;
}

static const char *conn_waits(const struct scope *scope, uint64_t *left_ms)
{
	const struct conn *c = owner_of(scope, const struct conn, scope);

	const char *waits = tcp_waits(&c->tcp, left_ms);

	/* Our end is told, and his is not waited for without one: the scope's own deadline bounds it. */
	if (c->scope.deadline.set) {
		*left_ms = timer_left_ms(&c->scope.deadline);
		return "the client's end";
	}
	return waits;
}

static void conn_ended(struct scope *scope)
{
	struct conn *c = owner_of(scope, struct conn, scope);
	struct worker *worker = c->worker;
	/* Something was still to be said, or was dropped because it could not be (see carrier_ended), or is to look broken. */
	const bool cut = c->out->bytes > 0 || c->out->reason || c->wire_out.bytes > 0 || c->wire_out.reason || c->wire_out.refusal ||
	                 c->tcp.lent_count > 0;

	check(c->magic == CONN_MAGIC && !c->exchange);
	if (c->secure) {
		if (!c->counted_handshake) {
			metric_add(&worker->metrics.handshakes_failed, 1);
			metrics_refused(&worker->metrics, scope->reason);
		}
		tls_fini(&c->secure->tls);
		pipe_fini(&c->secure->plain_in);
		pipe_fini(&c->secure->plain_out);
		free(c->secure);
	}
	if (cut)
		tcp_abort(&c->tcp);
	tcp_fini(&c->tcp);
	pipe_fini(&c->wire_in);
	pipe_fini(&c->wire_out);
	link_remove(&c->in_worker);
	worker->client_count -= !c->admin;
	metric_add(&worker->metrics.connections_ended, !c->admin);
	listener_closed(c->listener);
	c->magic = 0;
	free(c->administrator);
	free(c);
	worker_conn_ended(worker);
}

static const struct scope_kind conn_kind = {
	.name = "connection",
	.step = conn_where,
	.bytes_held = conn_bytes,
	.waits = conn_waits,
	.ended = conn_ended,
};

static void conn_name_client(struct conn *c)
{
	const struct sockaddr *peer = (const struct sockaddr *)&c->tcp.peer;

	if (c->tcp.peer_size > 0 && peer->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, c->client, sizeof c->client);
	else if (c->tcp.peer_size > 0 && peer->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, c->client, sizeof c->client);
	else if (c->tcp.peer_size > 0)
		memcpy(c->client, "unix:", sizeof "unix:");
	else
		memcpy(c->client, "unknown", sizeof "unknown"); /* reset before it was accepted; RFC 7239 §6.2's word */
}

/* By the numbers that the kernel vouches for: asking a directory for the user's name could take longer than anybody here may wait. */
static void conn_name_administrator(struct conn *c, int fd)
{
	static const size_t size = sizeof "administrator uid=4294967295 pid=-2147483648";
	uint32_t uid;
	int32_t pid;

	c->administrator = malloc(size);
	check(c->administrator);
	if (kernel_peer_user(c->worker->core.kernel, fd, &uid, &pid))
		snprintf(c->administrator, size, "administrator uid=%" PRIu32 " pid=%" PRId32, uid, pid);
	else
		snprintf(c->administrator, size, "administrator");
}

void conn_accept(struct worker *worker, struct listener *listener, int fd, struct tls_context *tls, bool admin)
{
	struct conn *c = calloc(1, sizeof *c);
	struct chunk_pool *pool = &worker->core.pool;

	check(c);
	c->magic = CONN_MAGIC;
	c->worker = worker;
	c->listener = listener;
	c->admin = admin;
	worker->client_count += !admin;
	c->surplus = !admin && worker->client_count > worker->config->limits.connections_max;
	scope_open(&c->scope, &worker->core.root, &conn_kind);
	pipe_init(&c->wire_in, pool, PIPE_BYTES_MAX);
	pipe_init(&c->wire_out, pool, PIPE_BYTES_MAX);
	tcp_init(&c->tcp, &c->scope, fd, &c->wire_in, &c->wire_out);
	tcp_send_within(&c->tcp, worker->config->timeouts.send_ms);
	task_init(&c->task, &c->scope, "conn", conn_step);
	c->tcp.watcher = &c->task;
	c->in = &c->wire_in;
	c->out = &c->wire_out;
	if (tls) {
		c->secure = calloc(1, sizeof *c->secure);
		check(c->secure);
		c->in = &c->secure->plain_in;
		c->out = &c->secure->plain_out;
		pipe_init(c->in, pool, PIPE_BYTES_MAX);
		pipe_init(c->out, pool, PIPE_BYTES_MAX);
		tls_attach(&c->secure->tls, &c->scope, tls, &c->wire_in, &c->wire_out, c->in, c->out);
		c->secure->tls.owner_task = &c->task;
		metric_add(&worker->metrics.handshakes_begun, 1);
	}
	c->in->reader = &c->task;
	c->out->writer = &c->task;
	conn_name_client(c);
	if (admin)
		conn_name_administrator(c, fd);
	link_put_last(admin ? &worker->admins : &worker->conns, &c->in_worker);
	metric_add(&worker->metrics.connections_accepted, !admin); /* who looks at the figures is not among them */
	conn_wait(c, tls ? WAIT_HANDSHAKE : c->surplus ? WAIT_FIRST_SOON : WAIT_FIRST);
	task_wake(&c->task);
	/* A handshake only to say no would cost most when there is least to spare. */
	if (c->surplus && tls) {
		c->counted_handshake = true;
		metric_add(&worker->metrics.handshakes_failed, 1);
		log_refusal(&worker->log, c->client, &CONNECTIONS_MAX);
		conn_cut(c, &CONNECTIONS_MAX);
	}
}

void conn_drain(struct link *in_worker)
{
	struct conn *c = owner_of(in_worker, struct conn, in_worker);

	task_wake(&c->task);
	if (c->exchange)
		task_wake(&c->exchange->task);
}
