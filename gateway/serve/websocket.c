/* See gateway/serve/websocket.h. */
#include "gateway/serve/websocket.h"
#include "gateway/gateway.h"
#include "gateway/verdict.h"

/* ---- the opening handshake ------------------------------------------------------------------------------------------------ */

static bool field_find(const void *from, const char *name, unsigned index, struct ws_text *value)
{
	const struct http_head *request = from;
	const struct http_field *field = NULL;

	do {
		field = http_find_next(request, name, field);
		if (!field)
			return false;
	} while (index-- > 0);
	*value = (struct ws_text){ field->value.bytes, field->value.size };
	return true;
}

static struct ws_request request_of(const struct exchange *x)
{
	return (struct ws_request){
		.method = { x->request.method_text.bytes, x->request.method_text.size },
		.http_major = 1,
		.http_minor = x->request.version_minor,
		.secure = x->secure,
		.field = field_find,
		.from = &x->request,
	};
}

bool websocket_own_page(const struct exchange *x)
{
	const struct ws_request request = request_of(x);
	const struct ws_terms terms = { .origins = WS_ORIGINS_SAME_HOST };

	return ws_origin_welcome(&request, &terms);
}

const struct reason *websocket_judge(const struct exchange *x, enum ws_origins otherwise, struct ws_acceptance *acceptance)
{
	const struct ws_request request = request_of(x);
	struct websocket_terms terms;
	const struct reason *reason;

	websocket_terms_read(&terms, x->route, otherwise);
	reason = ws_accept(acceptance, &request, &terms.terms);
	/* RFC 9110 §15.5.22: 426 says what would be right. */
	if (reason == &WS_ACCEPT_UPGRADE && x->request.upgrade.size == 0)
		return &WEBSOCKET_EXPECTED;
	if (!reason && x->request.body != HTTP_BODY_NONE)
		return &WEBSOCKET_BODY;
	/* An offer may always be declined, and memory that is promised is there when it is needed. */
	if (!reason && acceptance->extensions.deflate &&
	    x->worker->deflate_bytes + ws_deflate_bytes_most(&acceptance->extensions.agreed) > x->worker->config->limits.deflate_bytes_max) {
		acceptance->extensions.deflate = false;
		metric_add(&x->worker->metrics.deflate_declined, 1);
	}
	return reason;
}

void websocket_accept(struct exchange *x, struct websocket *w, const struct ws_acceptance *acceptance)
{
	*w = (struct websocket){ 0 };
	timer_init(&w->goodbye, &x->scope, &x->task);
	x->answer.status = 101;
	x->answer.upgrade = HTTP_TEXT("websocket");
	if (acceptance->extensions.deflate) {
		w->deflate = arena_take(&x->arena, sizeof *w->deflate);
		websocket_terms_deflate(w->deflate, x, acceptance);
		w->deflate_bytes = ws_deflate_bytes_most(&acceptance->extensions.agreed);
		w->worker = x->worker;
		x->worker->deflate_bytes += w->deflate_bytes;
	}
	websocket_terms_answer(x, acceptance);
	x->upgrades = true;
	exchange_answer(x);
}

struct ws_limits websocket_limits(const struct config *config, uint64_t message_bytes_max)
{
	return (struct ws_limits){
		.frame_bytes_max = config->limits.websocket_frame_bytes_max,
		.message_bytes_max = message_bytes_max,
		.small_fragments_max = (uint32_t)config->limits.websocket_small_fragments_max,
	};
}

/* ---- frames ---------------------------------------------------------------------------------------------------------------- */

void websocket_attach(struct exchange *x, struct websocket *w, const struct ws_limits *limits, const char *waits, uint32_t silence_ms)
{
	const struct tcp_wait wait = {
		.name = waits,
		.ms = silence_ms,
		.silences_max = 2, /* the first asks for a pong, the second says goodbye; see websocket_watch */
		.late = &WEBSOCKET_NO_PONG,
	};

	check(!w->attached);
	w->attached = true;
	w->waits = waits;
	ws_init(&w->ws, x->in, x->out, limits);
	if (w->deflate)
		ws_use_deflate(&w->ws, w->deflate);
	exchange_wait(x, &wait);
}

void websocket_goodbye(struct exchange *x, struct websocket *w, const struct reason *reason)
{
	const struct tcp_wait wait = {
		.name = "close frame",
		.ms = x->worker->config->timeouts.close_ms,
		.late = &CLIENT_CLOSE_LATE,
		.from_start = true,
	};

	if (w->closing)
		return;
	w->closing = true;
	if (w->ws.own_code == 0) {
		x->closed_by = "gateway";
		x->close_code = verdict_of(reason)->close_code;
	}
	ws_close(&w->ws, verdict_of(reason)->close_code, reason->sentence);
	exchange_wait(x, &wait);
}

/* Thousands of clients who are told at one moment come back at one moment, so each is told at his. */
static void drain_watch(struct exchange *x, struct websocket *w)
{
	if (!w->goodbye.set && !w->goodbye.fired) {
		uint64_t ms = worker_goodbye_ms(x->worker, WORKER_SOCKETS);

		if (ms > 0) {
			timer_set(&w->goodbye, ms);
			return;
		}
	} else if (!w->goodbye.fired) {
		return;
	}
	exchange_note(x, &GATEWAY_DRAINING);
	websocket_goodbye(x, w, &GATEWAY_DRAINING);
}

bool websocket_watch(struct exchange *x, struct websocket *w)
{
	const unsigned silences = exchange_silences(x);

	if (w->closing)
		return false;
	if (x->worker->draining)
		drain_watch(x, w);
	if (w->closing)
		return false;
	if (silences == 0) {
		w->pinged = false;
	} else if (silences > 1) {
		x->wait = w->waits;
		exchange_note(x, &WEBSOCKET_NO_PONG);
		websocket_goodbye(x, w, &WEBSOCKET_NO_PONG);
		return true;
	} else if (!w->pinged) {
		w->pinged = true;
		ws_ping(&w->ws, NULL, 0);
	}
	return false;
}

void websocket_over(struct exchange *x, struct websocket *w, const struct ws_piece *piece)
{
	/* A client who broke a rule is told its code; one who was lost was told nothing. */
	if (!x->closed_by && (!piece->reason || w->ws.own_code != 0)) {
		x->closed_by = piece->reason ? "gateway" : "client";
		x->close_code = piece->reason ? w->ws.own_code : piece->code;
	}
	if (piece->reason && piece->reason != &CLIENT_CLOSE_LATE)
		exchange_note(x, piece->reason);
	exchange_done(x);
}

void websocket_ended(struct websocket *w)
{
	if (!w || !w->deflate)
		return;
	ws_deflate_fini(w->deflate);
	w->worker->deflate_bytes -= w->deflate_bytes;
	w->deflate_bytes = 0;
}

size_t websocket_bytes_held(const struct websocket *w)
{
	return w && w->deflate ? w->deflate->bytes_held : 0;
}

bool websocket_read(struct exchange *x, struct websocket *w, void (*said)(struct exchange *, const struct ws_piece *))
{
	struct ws_piece piece;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < WEBSOCKET_PIECES_AT_ONCE && bytes < websocket_bytes_at_once(w); i++) {
		switch (ws_next(&w->ws, &piece)) {
		case WS_DATA:
			if (said)
				said(x, &piece);
			ws_consumed(&w->ws, piece.n);
			bytes += piece.n;
			break;
		case WS_PONG_RECEIVED:
			break;
		case WS_MORE_NEEDED:
			return true;
		case WS_CLOSED:
		case WS_BROKEN:
			websocket_over(x, w, &piece);
			return false;
		}
	}
	task_wake_later(&x->task);
	return true;
}
