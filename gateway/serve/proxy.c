/* gateway/serve/proxy.c — a request goes to a server behind us, and its answer comes back.
 *
 *   exchange.in ─▶ http1 writer ─▶ upstream.out           the request, framed anew
 *   exchange.out ◀─ http1 reader ◀─ upstream.in           the answer, read as strictly as a request
 *
 * One attempt borrows one connection (gateway/upstream/pool.h). A connection that had lain idle may turn out to be dead: when
 * nothing of an answer has come and the request may be made again, it is, once, on a fresh one.
 * What is sent on is made anew from what was understood: hop-by-hop fields are gone, framing is ours, and the path is the one
 * that was routed. So what the server reads is what we have read.
 *
 * Told apart:  502  refused, reset, closed, or an answer that must not be passed on
 *              503  no room for another connection, or all servers down
 *              504  no connection in time, or no answer in time
 * When the answer is under way already, all that can be done is to cut it visibly. */
#include "gateway/gateway.h"
#include "gateway/http/client_cert.h"
#include "gateway/http/http1.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/websocket_agreement.h"
#include "gateway/upstream/pool.h"
#include "gateway/verdict.h"
#include "ring/timer.h"
#include "ws/boundary.h"

#include <string.h>

#define INTERIMS_MAX 16u                 /* 1xx answers before a final one */
#define METHODS "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"
#define ANSWER_HEAD_BYTES_MAX (64u * 1024u)  /* servers of clinical systems set large cookies; nginx's buffers are smaller */

struct proxy {
	struct upstream *upstream;       /* borrowed; NULL when it has ended, been put back or dropped */
	struct http_head request;        /* as sent on */
	struct http1_writer writer;
	struct http1_reader reader;
	bool retried;                    /* an old connection turned out dead */
	unsigned attempts;
	unsigned interims;               /* 1xx answers */
	bool tunnel_begun;
	bool sent;                       /* the request is whole in upstream.out */
	bool head_bounded;               /* the answer's head has begun, and has what was left of its time */
	bool waits_for_body;             /* of the answer */
	bool answer_read;
	bool server_keeps;               /* its connection may carry another request */
	bool tunnel;
	bool client_ended, server_ended; /* of a tunnel: the end was passed on */
	bool leaving;                    /* the tunnel is ended by us, and the server is given time to end, too */
	struct ws_boundary boundary;     /* of what goes to the client: may a Close of ours stand there? */
	struct timer timer;              /* of a tunnel: its turn while draining; then, how long it may take to end */
};

/* ---- the request as it is sent on ----------------------------------------------------------------------------------------- */

/* RFC 9110 §7.6.3's idea, in the form everybody reads: the client's address behind those that came. */
static struct http_text forwarded_for(struct exchange *x, struct http_text client)
{
	const struct http_field *field = NULL;
	size_t size = client.size, at = 0;
	char *text;

	if (!http_known_next(&x->request, HTTP_NAME_X_FORWARDED_FOR, NULL))
		return client;
	while ((field = http_known_next(&x->request, HTTP_NAME_X_FORWARDED_FOR, field)))
		size += field->value.size + 2;
	text = arena_take(&x->arena, size);
	/* Several fields are one list, in their order (RFC 9110 §5.3); a proxy before us may have added its own. */
	while ((field = http_known_next(&x->request, HTTP_NAME_X_FORWARDED_FOR, field))) {
		if (field->value.size == 0)
			continue;
		memcpy(text + at, field->value.bytes, field->value.size);
		memcpy(text + at + field->value.size, ", ", 2);
		at += field->value.size + 2;
	}
	memcpy(text + at, client.bytes, client.size);
	return (struct http_text){ text, at + client.size };
}

/* Fields that say where a request came from are ours to say: what a client writes there would be believed behind us. And a name
 * with "_" is read by CGI and its heirs as the one with "-", so that it could stand for any field that we check. */
static bool is_impostor(struct http_text name)
{
	static const char forwarded[] = "x-forwarded-";
	const size_t size = sizeof forwarded - 1;

	if (memchr(name.bytes, '_', name.size))
		return true;
	return (name.size > size && http_text_is_nocase((struct http_text){ name.bytes, size }, forwarded)) ||
	       http_client_cert_is(name);
}

/* Of the request as it came. A name that is known needs no look at its letters: none has "_", or is of a client's certificate. */
static bool is_not_sent_on(const struct http_field *field)
{
	switch (field->known) {
	case HTTP_NAME_EXPECT:
	case HTTP_NAME_FORWARDED:
	case HTTP_NAME_X_REAL_IP:
	case HTTP_NAME_X_FORWARDED_FOR:
	case HTTP_NAME_X_FORWARDED_HOST:
	case HTTP_NAME_X_FORWARDED_PROTO:
		return true;
	case HTTP_NAME_OTHER:
		return is_impostor(field->name);
	default:
		return false;
	}
}

static void request_make(struct exchange *x, struct proxy *p)
{
	struct http_head *to = &p->request;
	struct http_text client = http_text_of(x->client);
	struct http_text through = forwarded_for(x, client);

	*to = x->request; /* texts and fields are shared: the exchange's own head is not read for fields afterwards, nor by `first` */
	to->version_minor = 1;
	to->keep_alive = true;
	to->expect_continue = false;     /* the client has been told to continue already */
	http_remove_hop_by_hop(to);
	http_remove_where(to, is_not_sent_on);
	http_add_known(to, HTTP_NAME_X_REAL_IP, client);
	http_add_known(to, HTTP_NAME_X_FORWARDED_FOR, through);
	http_add_known(to, HTTP_NAME_X_FORWARDED_PROTO, x->secure ? HTTP_TEXT("https") : HTTP_TEXT("http"));
	if (x->client_identity)
		http_client_cert_add(to, x->client_identity);
	if (x->request.host.size > 0)
		http_add_known(to, HTTP_NAME_X_FORWARDED_HOST, x->request.host);
	else
		to->host = http_text_of(x->upstream); /* HTTP/1.0 without Host; 1.1 must have one */
	/* RFC 6455 §4.1: a GET, and nothing behind its head: the bytes there belong to the new protocol. */
	if (!http_text_is_nocase(to->upgrade, "websocket") || to->method != HTTP_METHOD_GET || to->body != HTTP_BODY_NONE)
		to->upgrade = (struct http_text){ 0 };
}

/* ---- attempts --------------------------------------------------------------------------------------------------------------- */

static void upstream_wait(struct proxy *p, const char *name, uint32_t ms, const struct reason *late)
{
	const struct tcp_wait wait = { .name = name, .ms = ms, .late = late };

	tcp_receive_within(&p->upstream->tcp, &wait);
}

/* The time for an answer begins when the request is whole; until then the client's own times bound it. */
static void answer_wait(const struct exchange *x, struct proxy *p, bool request_whole)
{
	p->head_bounded = !request_whole;
	upstream_wait(p, "upstream answer", request_whole ? x->worker->config->timeouts.upstream_response_ms : 0, &UPSTREAM_RESPONSE_LATE);
}

/* A part of the answer's head came, or an interim answer. Any other wait begins anew with each byte, and a server that says one byte
 * every now and then would be waited for as long as it likes; so the rest has what is left of the time, once and for all. A head
 * that comes whole, as almost all do, never gets here: a wait that runs from its start costs a receive of its own (ring/tcp.c). */
static void answer_bound(struct proxy *p)
{
	const struct tcp *tcp = &p->upstream->tcp;
	struct tcp_wait wait = tcp->wait;
	const uint64_t past_ms = tcp->core->now_ms - tcp->wait_began_ms;

	if (p->head_bounded || (!http1_reader_begun(&p->reader) && p->interims == 0))
		return;
	p->head_bounded = true;
	wait.from_start = true;
	wait.ms = past_ms < wait.ms ? wait.ms - (uint32_t)past_ms : 1;
	tcp_receive_within(&p->upstream->tcp, &wait);
}

static struct upstream_pool *pool_of(const struct exchange *x)
{
	return &x->worker->pools[x->route->upstream - x->worker->config->upstreams];
}

static bool attempt(struct exchange *x, struct proxy *p, bool fresh)
{
	const struct http_limits limits = {
		.head_bytes_max = ANSWER_HEAD_BYTES_MAX,
		.uri_bytes_max = ANSWER_HEAD_BYTES_MAX,
		.fields_max = 500,
		.body_bytes_max = UINT64_MAX,
	};

	if (!pool_borrow(pool_of(x), &p->upstream, &x->task, x->client, fresh))
		return false;
	x->upstream = p->upstream->server->address->text;
	if (p->request.method == HTTP_METHOD_NONE)
		request_make(x, p);
	http1_write_head(&p->upstream->out, &p->request);
	p->sent = p->request.body == HTTP_BODY_NONE;
	http1_writer_begin(&p->writer, &p->request);
	http1_reader_begin_answer(&p->reader, &x->answer, &x->arena, &limits, &p->request);
	p->attempts++;
	answer_wait(x, p, p->sent);
	/* Without a body only the server has news, and a connection that is lent has none yet. */
	if (!p->sent)
		task_wake(&x->task);
	return true;
}

/* What the socket or the parser said, in the words of a gateway. */
static const struct reason *reason_of(const struct proxy *p, const struct reason *from)
{
	if (from == &TCP_CONNECT_LATE)
		return &UPSTREAM_CONNECT_LATE;
	if (from == &TCP_REFUSED || from == &TCP_UNREACHABLE)
		return &UPSTREAM_REFUSED;
	if (from == &TCP_DESCRIPTORS_SPENT)
		return &UPSTREAM_BUSY;
	if (from == &UPSTREAM_RESPONSE_LATE || from == &UPSTREAM_BODY_LATE)
		return from;
	if (from == &TCP_SEND_LATE)
		return &UPSTREAM_SEND_LATE;
	if (from == &TCP_RESET || from == &TCP_FAILED)
		return &UPSTREAM_RESET;
	if (from == &HTTP_HEAD_CUT || !http1_reader_begun(&p->reader))
		return &UPSTREAM_CLOSED;
	return &UPSTREAM_ANSWER_BAD;
}

static void drop(struct proxy *p, const struct reason *reason)
{
	if (p->upstream)
		pool_drop(p->upstream, reason);
	p->upstream = NULL;
}

static bool may_try_again(const struct exchange *x, const struct proxy *p, bool was_old, bool unconnected)
{
	/* Where no connection was made nothing was sent, and the next server may be asked whatever it is. */
	if (unconnected)
		return p->attempts < x->route->upstream->server_count;
	/* RFC 9110 §9.2.2: "a client can also automatically retry [an idempotent] request if the communication failure occurs
	 * before the client is able to read the server's response." A connection that had lain idle may just have been closed. */
	return was_old && !p->retried && x->request.body == HTTP_BODY_NONE && http_method_idempotent(x->request.method) &&
	       !http1_reader_begun(&p->reader);
}

static void failed(struct exchange *x, struct proxy *p, const struct reason *from)
{
	const struct reason *reason = reason_of(p, from);
	/* One that was silent for the whole of its time was not closed: it may be at work, and the client has waited enough. */
	bool was_old = p->upstream && p->upstream->reused && reason != &UPSTREAM_RESPONSE_LATE && reason != &UPSTREAM_SEND_LATE;
	bool unconnected = reason == &UPSTREAM_REFUSED || reason == &UPSTREAM_CONNECT_LATE;

	if (p->upstream && p->upstream->tcp.late)
		x->wait = p->upstream->tcp.late;
	metric_add(&x->worker->metrics.upstream_failed, 1);
	drop(p, reason);
	if (!x->answered && may_try_again(x, p, was_old, unconnected)) {
		p->retried |= was_old;
		if (attempt(x, p, was_old))
			return;
	}
	exchange_refuse(x, reason);
}

/* ---- the answer --------------------------------------------------------------------------------------------------------------- */

static void answer_pass_on(struct exchange *x, struct proxy *p)
{
	struct http_head *answer = &x->answer;

	p->server_keeps = answer->keep_alive; /* the carrier writes its own client's wish there */
	if (answer->status == 101) {
		/* What they have agreed is between client and server: both read what the fields say, we carry bytes. */
		p->tunnel = true;
		x->upgrades = true;
	}
	http_remove_hop_by_hop(answer);
	if (answer->body == HTTP_BODY_UNTIL_END)
		answer->body = HTTP_BODY_CHUNKED; /* so that its end can be told from a cut; the carrier knows who reads no chunks */
	exchange_answer(x);
}

/* True: go on with the body. */
static bool read_answer_head(struct exchange *x, struct proxy *p)
{
	for (; p->interims <= INTERIMS_MAX; p->interims++) {
		switch (http1_read_head(&p->reader, &p->upstream->in)) {
		case HTTP1_MORE:
			answer_bound(p);
			return false;
		case HTTP1_HEAD:
			if (x->answer.status == 101 && !websocket_agreed(&p->request, &x->answer)) {
				failed(x, p, &UPSTREAM_ANSWER_BAD);
				return false;
			}
			if (!http_status_interim(x->answer.status)) {
				answer_pass_on(x, p);
				return true;
			}
			/* 100 was answered by us, and other interim answers tell a client nothing he must know. */
			http1_reader_begin_answer(&p->reader, &x->answer, &x->arena, &p->reader.limits, &p->request);
			break;
		case HTTP1_END:
			failed(x, p, &HTTP_HEAD_CUT);
			return false;
		default:
			failed(x, p, p->reader.reason);
			return false;
		}
	}
	failed(x, p, &UPSTREAM_ANSWER_BAD); /* interim answers without end */
	return false;
}

static void read_answer_body(struct exchange *x, struct proxy *p)
{
	switch (http1_read_body(&p->reader, &p->upstream->in, x->out)) {
	case HTTP1_DONE:
		p->answer_read = true;
		break;
	case HTTP1_MORE:
		if (!p->waits_for_body) {
			p->waits_for_body = true;
			upstream_wait(p, "upstream body", x->worker->config->timeouts.upstream_body_ms, &UPSTREAM_BODY_LATE);
		}
		break;
	case HTTP1_BROKEN:
		x->wait = p->upstream->tcp.late;
		exchange_note(x, p->reader.reason == &UPSTREAM_BODY_LATE ? &UPSTREAM_BODY_LATE : &UPSTREAM_CUT);
		drop(p, x->refusal);
		break;
	default:
		break;
	}
}

static void write_request_body(struct exchange *x, struct proxy *p)
{
	switch (http1_write_body(&p->writer, x->in, &p->upstream->out)) {
	case HTTP1_DONE:
		p->sent = true;
		if (!x->answered)
			answer_wait(x, p, true);
		break;
	case HTTP1_BROKEN:
		/* The client's body broke: its carrier answers for that; the server must not take the part for the whole. Where an
		 * answer is under way already, the next step cuts it. */
		drop(p, p->writer.reason);
		task_wake(&x->task);
		break;
	default:
		break;
	}
}

/* ---- tunnel: after 101 bytes go both ways, and an end is passed on ----------------------------------------------------------- */

static const struct tcp_wait *tunnel_wait(const struct exchange *x, struct tcp_wait *wait)
{
	*wait = (struct tcp_wait){
		.name = "tunnel bytes",
		.ms = x->worker->config->timeouts.websocket_idle_ms,
		.silences_max = UINT32_MAX, /* one side's silence is no fault: see tunnel_step */
		.late = &WEBSOCKET_IDLE,
	};
	return wait;
}

static void one_way(struct pipe *to, struct pipe *from)
{
	if (from->bytes > 0 && !to->ended)
		pipe_move(to, from, pipe_free(to));
	if (pipe_at_end(from)) {
		if (from->reason)
			pipe_break(to, from->reason);
		else
			pipe_end(to);
	}
	if (to->refusal)
		pipe_refuse(from, to->refusal);
}

static void tunnel_over(struct exchange *x, struct proxy *p, const struct reason *reason)
{
	if (!x->wait && p->upstream)
		x->wait = p->upstream->tcp.late;
	if (!x->out->ended) {
		if (reason == &RING_DONE)
			pipe_end(x->out);
		else
			pipe_break(x->out, reason);
	}
	drop(p, reason);
	exchange_note(x, reason);
	exchange_done(x);
}

/* Why neither direction can go on; NULL: one can. A direction that was cut is so only when the bytes before the cut have passed. */
static const struct reason *tunnel_end(const struct exchange *x, const struct upstream *u)
{
	if (x->out->reason || u->out.reason)
		return x->out->reason ? x->out->reason : u->out.reason;
	if (x->out->refusal)
		return x->out->refusal;
	if (u->out.refusal == &TCP_SEND_LATE)
		return &UPSTREAM_SEND_LATE;
	/* A server that has ended and then resets has not shut one direction, but closed: nothing is wrong with that. */
	if (u->out.refusal)
		return x->out->ended ? &RING_DONE : &UPSTREAM_RESET;
	return x->out->ended && u->tcp.fin_sent ? &RING_DONE : NULL;
}

/* A side that has ended says nothing more, and is silent from then on; but what it said last may be at work on the other one, whose
 * time therefore begins anew. So one direction goes on without the other until it ends, too, or stands still. */
static bool tunnel_idle(struct exchange *x, struct proxy *p)
{
	struct upstream *u = p->upstream;
	struct tcp_wait wait;

	if (!p->client_ended && u->tcp.fin_sent) {
		p->client_ended = true;
		tcp_receive_within(&u->tcp, tunnel_wait(x, &wait));
	}
	if (!p->server_ended && x->out->ended) {
		p->server_ended = true;
		exchange_wait(x, tunnel_wait(x, &wait));
	}
	/* A server that tells and a client who listens are a conversation: only when both are silent is there none. */
	return (p->client_ended || exchange_silences(x) > 0) && (p->server_ended || u->tcp.silences > 0);
}

/* What one_way is about to move to the client. */
static void boundary_follow(struct ws_boundary *boundary, const struct pipe *to, const struct pipe *from)
{
	const uint64_t free = to->ended ? 0 : pipe_free(to);
	uint64_t left = from->bytes < free ? from->bytes : free;

	for (const struct chunk *chunk = from->first; left > 0; chunk = chunk->next) {
		const uint64_t n = chunk_size(chunk) < left ? chunk_size(chunk) : left;

		ws_boundary_pass(boundary, chunk->bytes + chunk->begin, n);
		left -= n;
	}
}

/* ---- tunnel: ended by us --------------------------------------------------------------------------------------------------- */

/* Where the server's frames leave a place for it, the client is told Close with the reason's code; so his library knows that nothing
 * went wrong, and to come again. Both sides are then told our end, and not a reset: what is on its way still arrives. */
static void tunnel_leave(struct exchange *x, struct proxy *p, const struct reason *reason)
{
	uint8_t header[WS_HEADER_MAX];
	size_t text_size = strlen(reason->sentence);
	const unsigned code = verdict_of(reason)->close_code;

	p->leaving = true;
	exchange_note(x, reason);
	if (ws_boundary_here(&p->boundary) && !x->out->ended) {
		if (text_size > WS_CLOSE_TEXT_MAX)
			text_size = WS_CLOSE_TEXT_MAX;
		pipe_write(x->out, header, ws_frame_encode(header, &(struct ws_frame){ .opcode = WS_CLOSE, .final = true, .length = 2 + text_size }));
		pipe_write(x->out, (uint8_t[]){ (uint8_t)(code >> 8), (uint8_t)code }, 2);
		pipe_write(x->out, reason->sentence, text_size);
		x->closed_by = "gateway";
		x->close_code = code;
	}
	pipe_end(x->out);
	pipe_end(&p->upstream->out);
	timer_set(&p->timer, x->worker->config->timeouts.close_ms);
	task_wake(&x->task);
}

/* What either still says is thrown away: a socket that is closed over unread bytes sends a reset. The server has timeouts.close to
 * end; the client has it afterwards, in his carrier's goodbye. */
static void tunnel_left(struct exchange *x, struct proxy *p)
{
	struct upstream *u = p->upstream;

	pipe_consume(x->in, x->in->bytes);
	if (u) {
		pipe_consume(&u->in, u->in.bytes);
		if (!u->in.ended && !u->out.refusal && !x->out->refusal && !p->timer.fired)
			return;
	}
	drop(p, x->refusal);
	exchange_done(x);
}

/* Is it this tunnel's turn, while the gateway drains? Clients who are told at one moment come back at one moment. */
static bool tunnel_turn(const struct exchange *x, struct proxy *p)
{
	if (!x->worker->draining || p->timer.set)
		return false;
	if (!p->timer.fired) {
		const uint64_t ms = worker_goodbye_ms(x->worker, WORKER_TUNNELS);

		if (ms > 0)
			timer_set(&p->timer, ms);
		return ms == 0;
	}
	return true;
}

static void tunnel_step(struct exchange *x, struct proxy *p)
{
	struct upstream *u = p->upstream;
	const struct reason *reason;

	if (x->done)
		return;
	if (p->leaving) {
		tunnel_left(x, p);
		return;
	}
	if (!u) {
		tunnel_over(x, p, &UPSTREAM_CUT);
		return;
	}
	one_way(&u->out, x->in);
	boundary_follow(&p->boundary, x->out, &u->in);
	one_way(x->out, &u->in);
	reason = tunnel_end(x, u);
	if (reason) {
		tunnel_over(x, p, reason);
	} else if (tunnel_idle(x, p)) {
		x->wait = "tunnel bytes";
		tunnel_leave(x, p, &WEBSOCKET_IDLE);
	} else if (tunnel_turn(x, p)) {
		tunnel_leave(x, p, &GATEWAY_DRAINING);
	}
}

static void tunnel_begin(struct exchange *x, struct proxy *p)
{
	struct tcp_wait wait;

	timer_init(&p->timer, &x->scope, &x->task);
	x->worker->tunnel_count++;
	tcp_receive_within(&p->upstream->tcp, tunnel_wait(x, &wait));
	exchange_wait(x, &wait);
}

/* ---- the target ------------------------------------------------------------------------------------------------------------------ */

static void proxy_begin(struct exchange *x)
{
	struct proxy *p = arena_take(&x->arena, sizeof *p);

	*p = (struct proxy){ 0 };
	x->state = p;
	/* RFC 9110 §9.3.8: TRACE sends the request back, credentials and all; nobody behind us should be asked to. */
	if (x->request.method == HTTP_METHOD_TRACE) {
		x->allow = METHODS;
		exchange_refuse(x, &METHOD_NOT_ALLOWED);
		return;
	}
	if (!attempt(x, p, false))
		exchange_refuse(x, pool_is_down(pool_of(x)) ? &UPSTREAM_DOWN : &UPSTREAM_BUSY);
}

static void proxy_step(struct exchange *x)
{
	struct proxy *p = x->state;

	if (p->tunnel) {
		if (x->upgraded) {
			if (!p->tunnel_begun && p->upstream) {
				p->tunnel_begun = true;
				tunnel_begin(x, p);
			}
			tunnel_step(x, p);
		}
		return;
	}
	if (!p->upstream) {
		/* It ended by itself, or was dropped with the client's body. */
		if (!x->answered && !x->in->reason)
			exchange_refuse(x, &UPSTREAM_CLOSED);
		else if (x->answered && !p->answer_read && !x->out->ended)
			exchange_refuse(x, x->in->reason ? x->in->reason : &UPSTREAM_CUT);
		return;
	}
	/* While it connects, and when that failed, the body stays where it is, so that another server can still be asked. */
	if (!p->sent && !p->upstream->tcp.connecting && !p->upstream->in.reason)
		write_request_body(x, p);
	if (p->upstream && !x->answered && !read_answer_head(x, p)) {
		/* It takes nothing any more, and has said nothing. (After a reset an answer may still be on its way to us.) */
		if (p->upstream && p->upstream->out.refusal == &TCP_SEND_LATE)
			failed(x, p, &TCP_SEND_LATE);
		return;
	}
	if (p->upstream && !p->answer_read && !p->tunnel)
		read_answer_body(x, p);
	if (p->upstream && p->answer_read) {
		/* An answer that came before the request was whole leaves a connection that nobody can use again. */
		if (p->sent && p->server_keeps)
			pool_put(p->upstream);
		else
			drop(p, &RING_DONE);
		p->upstream = NULL;
	}
}

static void proxy_ended(struct exchange *x)
{
	struct proxy *p = x->state;

	if (!p)
		return;
	x->worker->tunnel_count -= p->tunnel_begun;
	drop(p, x->scope.reason);
}

static const char *proxy_where(const struct exchange *x)
{
	const struct proxy *p = x->state;

	if (!p || !p->upstream)
		return "proxy";
	if (p->tunnel)
		return p->leaving ? "proxy: leaving tunnel" : "proxy: tunnel";
	if (p->upstream->tcp.connecting)
		return "proxy: connecting";
	if (!x->answered)
		return p->sent ? "proxy: waiting for answer" : "proxy: sending request";
	return "proxy: passing answer on";
}

const struct serve SERVE_PROXY = {
	.name = "proxy",
	.aborts_with_client = true,
	.begin = proxy_begin,
	.step = proxy_step,
	.ended = proxy_ended,
	.where = proxy_where,
};
