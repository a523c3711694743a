/* gateway/serve/sites_events.c — changes of counts as they happen, over a WebSocket or as server-sent events.
 *
 *   GET /sites/events?site=S       with Upgrade ─▶ a WebSocket          Accept: text/event-stream ─▶ an answer without end
 *
 *   {"type":"site", SITE…}         a site has changed, and is like this now
 *   {"type":"study",…}             the study's cap, or what is reserved in it
 *   {"type":"missed"}              too much happened while this reader did not read: to be fetched again from /sites
 *
 * Nothing is queued for a reader. He is told which site is different, and what it is is looked up when there is room to write it: a slow
 * one misses steps in between, never the last, and holds no more than his pipe.
 * Changes are told from before the answer on: who opens this first and then fetches /sites misses none. */
#include "gateway/counting/events.h"
#include "gateway/gateway.h"
#include "gateway/http/form.h"
#include "gateway/counting/refusal.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/sites.h"
#include "gateway/serve/sites_json.h"
#include "gateway/serve/websocket.h"
#include "gateway/verdict.h"

#include <string.h>

#define MESSAGE_BYTES_MAX 4096u          /* of a client, who has nothing to say */
#define LOOKS_AT_ONCE 256u               /* in one turn */
#define BEAT_MS 15000u                   /* WHATWG HTML §9.2.7: "authors can include a comment line … every 15 seconds or so" */

struct watcher {
	struct websocket w;
	struct events_reader reader;
	struct http_text only;           /* this site alone; bytes NULL: all */
	bool stream;                     /* server-sent events */
	struct timer beat, goodbye;      /* of a stream */
};

/* ---- what is told --------------------------------------------------------------------------------------------------------------- */

static bool has_room(const struct exchange *x, const struct watcher *v)
{
	return v->stream ? pipe_free(x->out) > 0 : ws_write_free(&v->w.ws) > 0;
}

static void tell(struct exchange *x, struct watcher *v, const char *text, size_t n)
{
	if (!v->stream) {
		ws_write(&v->w.ws, WS_TEXT, text, n);
		return;
	}
	/* JSON without a line break is one data line. */
	pipe_write(x->out, "data: ", 6);
	pipe_write(x->out, text, n);
	pipe_write(x->out, "\n\n", 2);
}

static void tell_site(struct exchange *x, struct watcher *v, uint32_t site)
{
	const struct count *count = x->worker->gateway->count;
	char text[SITE_JSON_BYTES_MAX];
	struct count_site found;
	struct http_text id;

	if (site == COUNT_STUDY) {
		if (v->only.bytes)
			return;
		count_look(count, site, &found);
		tell(x, v, text, study_json_write(text, true, &found));
		return;
	}
	id.size = count_id(count, site, &id.bytes);
	if (v->only.bytes && (id.size != v->only.size || memcmp(id.bytes, v->only.bytes, id.size) != 0))
		return;
	count_look(count, site, &found);
	tell(x, v, text, site_json_write(text, true, id, &found));
}

static void tell_changes(struct exchange *x, struct watcher *v)
{
	static const char missed[] = "{\"type\":\"missed\"}";
	uint32_t site;

	for (unsigned i = 0; i < LOOKS_AT_ONCE; i++) {
		if (!has_room(x, v))
			return; /* the pipe wakes us when it opens */
		switch (events_next(&v->reader, &site)) {
		case EVENTS_SITE:
			tell_site(x, v, site);
			break;
		case EVENTS_MISSED:
			tell(x, v, missed, sizeof missed - 1);
			break;
		case EVENTS_NONE:
			return;
		}
	}
	task_wake(&x->task);
}

/* ---- as a stream ------------------------------------------------------------------------------------------------------------------ */

/* True: it is his turn to be sent away (gateway/serve/websocket.c says why in turns). An end in order makes a browser come again. */
static bool goodbye_is_due(struct exchange *x, struct watcher *v)
{
	if (!x->worker->draining)
		return false;
	if (!v->goodbye.set && !v->goodbye.fired) {
		const uint64_t ms = worker_goodbye_ms(x->worker, WORKER_SOCKETS);

		if (ms == 0)
			return true;
		timer_set(&v->goodbye, ms);
	}
	return v->goodbye.fired;
}

static void stream_step(struct exchange *x, struct watcher *v)
{
	if (x->out->ended)
		return;
	if (x->out->refusal || goodbye_is_due(x, v)) {
		events_leave(&v->reader);
		timer_clear(&v->beat);
		pipe_end(x->out);
		return;
	}
	tell_changes(x, v);
	if (v->beat.set || !has_room(x, v))
		return;
	/* Also finds out that a silent client has gone. */
	if (v->beat.fired)
		pipe_write(x->out, ":\n\n", 3);
	timer_set(&v->beat, BEAT_MS);
}

static void stream_begin(struct exchange *x, struct watcher *v)
{
	timer_init(&v->beat, &x->scope, &x->task);
	timer_init(&v->goodbye, &x->scope, &x->task);
	x->answer.status = 200;
	x->answer.body = HTTP_BODY_CHUNKED;
	http_add_known(&x->answer, HTTP_NAME_CONTENT_TYPE, HTTP_TEXT("text/event-stream"));
	http_add_known(&x->answer, HTTP_NAME_CACHE_CONTROL, HTTP_TEXT("no-store"));
	task_wake(&x->task);
	x->endless = true;
	exchange_answer(x);
}

/* ---- as a WebSocket ----------------------------------------------------------------------------------------------------------------- */

static void socket_attach(struct exchange *x, struct watcher *v)
{
	const uint64_t most = x->worker->config->limits.websocket_message_bytes_max;
	const struct ws_limits limits = websocket_limits(x->worker->config, most < MESSAGE_BYTES_MAX ? most : MESSAGE_BYTES_MAX);

	websocket_attach(x, &v->w, &limits, "heartbeat", x->route->heartbeat_ms);
}

static void socket_step(struct exchange *x, struct watcher *v)
{
	if (!x->upgraded || x->done)
		return;
	if (!v->w.attached)
		socket_attach(x, v);
	websocket_watch(x, &v->w);
	if (!websocket_read(x, &v->w, NULL) || v->w.closing || ws_over(&v->w.ws)) {
		events_leave(&v->reader);
		return;
	}
	tell_changes(x, v);
}

/* ---- the target ------------------------------------------------------------------------------------------------------------------------ */

static const struct reason *only_find(struct exchange *x, struct http_text *only)
{
	const struct reason *reason = http_form_find(&x->arena, x->request.query, "site", only);

	if (reason || !only->bytes)
		return reason;
	/* It need not be known yet: who waits for the first patient of a site is told of him. */
	return site_reason(count_judge(only->bytes, only->size));
}

void sites_events_begin(struct exchange *x)
{
	/* The admin socket has no route that says what a WebSocket is offered, and no browsers. */
	const bool stream = !x->route || (x->request.upgrade.size == 0 && sites_wants_stream(&x->request));
	struct ws_acceptance acceptance;
	struct http_text only;
	struct watcher *v;
	const struct reason *reason = stream ? NULL : websocket_judge(x, WS_ORIGINS_SAME_HOST, &acceptance);

	if (!reason)
		reason = only_find(x, &only);
	if (!reason && x->worker->draining)
		reason = &GATEWAY_DRAINING;
	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	v = arena_take(&x->arena, sizeof *v);
	*v = (struct watcher){ .only = only, .stream = stream };
	events_enter(x->worker, &v->reader, &x->task);
	x->serve = &SERVE_SITES_EVENTS;
	x->state = v;
	if (stream)
		stream_begin(x, v);
	else
		websocket_accept(x, &v->w, &acceptance);
}

static void events_step(struct exchange *x)
{
	struct watcher *v = x->state;

	if (v->stream)
		stream_step(x, v);
	else
		socket_step(x, v);
}

static void events_ended(struct exchange *x)
{
	struct watcher *v = x->state;

	events_leave(&v->reader);
	if (!v->stream)
		websocket_ended(&v->w);
}

static const char *events_where(const struct exchange *x)
{
	const struct watcher *v = x->state;

	if (v->stream)
		return x->out->full ? "events: reader is behind" : "events: stream";
	return !v->w.attached ? "events" : v->w.closing ? "events: closing" : v->w.pinged ? "events: ping unanswered" : "events: socket";
}

/* Begun by SERVE_COUNT. */
const struct serve SERVE_SITES_EVENTS = {
	.name = "count",
	.step = events_step,
	.ended = events_ended,
	.where = events_where,
};
