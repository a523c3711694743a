/* gateway/serve/live.c — a patient's WebSocket: notifications, a heartbeat, a reminder to who is idle.
 *
 *   GET /live?patient=P      ─▶ {"type":"notification","id":"…","body":…}     what POST /push/P gave; see gateway/live/live.h
 *                            ─▶ {"type":"reminder","idle_s":N}                once, when the client has said nothing for so long
 *                            ◀─ {"type":"ack","id":"…"}                       counted
 *                            ◀─ any other message                             a sign of life
 *
 * What breaks RFC 6455 closes the socket. What we only do not understand (not JSON, no type, an ack without an id, a binary
 * frame) is answered by name, {"type":"error","error":"live_message_bad",…}, and the socket stays: a fault of a client program
 * must not cost its patient the notifications, nor make thousands of phones come back in a loop.
 *
 * A pong is no activity: the library sends it, whether anybody is there or not. */
#include "gateway/gateway.h"
#include "gateway/http/form.h"
#include "gateway/live/json.h"
#include "gateway/live/live.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/websocket.h"
#include "gateway/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct viewer {
	struct websocket w;
	struct live_socket socket;
	struct http_text patient;
	struct timer idle;
	uint64_t active_ms;              /* when the client last said something */
	bool reminded;                   /* since then */
	char *text;                      /* a message that comes in pieces; NULL: none does */
	size_t text_bytes, text_space;
};

/* ---- the opening handshake ------------------------------------------------------------------------------------------------ */

static const struct reason *patient_find(struct exchange *x, struct http_text *patient)
{
	const struct reason *reason = http_form_find(&x->arena, x->request.query, "patient", patient);

	if (!reason && !patient->bytes)
		reason = &PATIENT_MISSING;
	return reason ? reason : patient_judge(*patient);
}

static void live_begin(struct exchange *x)
{
	struct ws_acceptance acceptance;
	struct http_text patient;
	struct viewer *v;
	/* A page of another origin has no business with this patient; programs that are no browser send no Origin. */
	const struct reason *reason = websocket_judge(x, WS_ORIGINS_SAME_HOST, &acceptance);

	if (!reason)
		reason = patient_find(x, &patient);
	if (!reason && x->worker->draining)
		reason = &GATEWAY_DRAINING;
	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	v = arena_take(&x->arena, sizeof *v);
	*v = (struct viewer){ .patient = patient };
	timer_init(&v->idle, &x->scope, &x->task);
	x->state = v;
	websocket_accept(x, &v->w, &acceptance);
}

static void live_attach(struct exchange *x, struct viewer *v)
{
	const struct config *config = x->worker->config;
	const struct ws_limits limits = websocket_limits(config, config->limits.live_message_bytes_max);

	websocket_attach(x, &v->w, &limits, "heartbeat", x->route->heartbeat_ms);
	v->active_ms = x->worker->core.now_ms;
	live_enter(x->worker, &v->socket, v->patient, &x->task);
	metric_add(&x->worker->metrics.live_opened, 1);
}

/* ---- what the client says -------------------------------------------------------------------------------------------------- */

static void answer_bad(struct exchange *x, struct viewer *v)
{
	char text[256];
	int n = snprintf(text, sizeof text, "{\"type\":\"error\",\"error\":\"%s\",\"message\":\"%s\"}", LIVE_MESSAGE_BAD.name,
	                 LIVE_MESSAGE_BAD.sentence);

	metrics_refused(&x->worker->metrics, &LIVE_MESSAGE_BAD);
	/* Who sends nonsense and reads nothing is not told each time. */
	if (ws_write_free(&v->w.ws) > 0)
		ws_write(&v->w.ws, WS_TEXT, text, (size_t)n);
}

static void message_received(struct exchange *x, struct viewer *v, struct http_text text, bool is_text)
{
	v->active_ms = x->worker->core.now_ms;
	v->reminded = false;
	switch (is_text ? live_message_read(text) : LIVE_BAD) {
	case LIVE_ACK:
		metric_add(&x->worker->metrics.live_acks, 1);
		break;
	case LIVE_OTHER:
		break;
	case LIVE_BAD:
		answer_bad(x, v);
		break;
	}
}

static void text_drop(struct viewer *v)
{
	free(v->text);
	v->text = NULL;
	v->text_bytes = v->text_space = 0;
}

/* Most messages are one piece, and are read where they lie. */
static void piece_received(struct exchange *x, const struct ws_piece *piece)
{
	struct viewer *v = x->state;
	const bool is_text = piece->opcode == WS_TEXT;

	if (piece->last && !v->text) {
		message_received(x, v, (struct http_text){ (const char *)piece->bytes, piece->n }, is_text);
		return;
	}
	/* The engine keeps the limit; memory is taken for what has come. */
	if (v->text_bytes + piece->n > v->text_space || !v->text) {
		v->text_space = 2 * (v->text_bytes + piece->n) + 64;
		v->text = realloc(v->text, v->text_space);
		check(v->text);
	}
	if (piece->n > 0)
		memcpy(v->text + v->text_bytes, piece->bytes, piece->n);
	v->text_bytes += piece->n;
	if (piece->last) {
		message_received(x, v, (struct http_text){ v->text, v->text_bytes }, is_text);
		text_drop(v);
	}
}

/* ---- what he is told --------------------------------------------------------------------------------------------------------- */

static void live_write(struct viewer *v)
{
	const struct note *note;

	while (v->socket.live && (note = note_queue_first(&v->socket.queue)) && ws_write_free(&v->w.ws) > 0) {
		ws_write(&v->w.ws, WS_TEXT, note->text, note->size);
		live_written(&v->socket);
	}
}

/* The timer is set behind the last message and not at each: when it fires early, it is set again for what is left. */
static void live_remind(struct exchange *x, struct viewer *v)
{
	const uint64_t after_ms = x->route->idle_reminder_ms, idle_ms = x->worker->core.now_ms - v->active_ms;
	char text[64];
	int n;

	if (after_ms == 0 || v->reminded || v->w.closing)
		return;
	if (idle_ms < after_ms) {
		if (!v->idle.set)
			timer_set(&v->idle, after_ms - idle_ms);
		return;
	}
	if (ws_write_free(&v->w.ws) == 0)
		return; /* the pipe wakes us when it opens */
	n = snprintf(text, sizeof text, "{\"type\":\"reminder\",\"idle_s\":%llu}", (unsigned long long)(idle_ms / 1000));
	ws_write(&v->w.ws, WS_TEXT, text, (size_t)n);
	v->reminded = true;
	metric_add(&x->worker->metrics.live_reminders, 1);
}

static void live_step(struct exchange *x)
{
	struct viewer *v = x->state;

	if (!x->upgraded || x->done)
		return;
	if (!v->w.attached)
		live_attach(x, v);
	/* Before the drain, or a Close of the client, is looked at: what was counted as delivered is written. Behind our Close nothing
	 * is: a push must not count a socket that it cannot reach. */
	if (!v->w.closing)
		live_write(v);
	if (websocket_watch(x, &v->w))
		metric_add(&x->worker->metrics.live_heartbeats_lost, 1);
	if (v->socket.slow && !v->w.closing) {
		exchange_note(x, &LIVE_SLOW_READER);
		websocket_goodbye(x, &v->w, &LIVE_SLOW_READER);
	}
	if (!websocket_read(x, &v->w, piece_received) || v->w.closing || ws_over(&v->w.ws)) {
		live_leave(&v->socket);
		return;
	}
	live_write(v);
	live_remind(x, v);
}

static void live_ended(struct exchange *x)
{
	struct viewer *v = x->state;

	if (!v)
		return;
	live_leave(&v->socket);
	text_drop(v);
	websocket_ended(&v->w);
	metric_add(&x->worker->metrics.live_ended, v->w.attached);
}

static const char *live_where(const struct exchange *x)
{
	const struct viewer *v = x->state;

	if (!v || !v->w.attached)
		return "live";
	if (v->w.closing)
		return "live: closing";
	if (v->socket.queue.count > 0)
		return "live: reader is behind";
	return v->w.pinged ? "live: ping unanswered" : "live";
}

static size_t live_bytes(const struct exchange *x)
{
	const struct viewer *v = x->state;

	return !v ? 0 : websocket_bytes_held(&v->w) + v->text_space;
}

const struct serve SERVE_LIVE = {
	.name = "live",
	.begin = live_begin,
	.step = live_step,
	.ended = live_ended,
	.where = live_where,
	.bytes_held = live_bytes,
};
