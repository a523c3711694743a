/* gateway/serve/echo.c — a WebSocket that sends back what it gets, for conformance and load tests.
 *
 * The socket's receive waits under one linked timeout (ring/tcp.h): the first silence asks the client for a pong, the second
 * is a dead peer, and its scope closes. */
#include "gateway/gateway.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/websocket_terms.h"
#include "gateway/verdict.h"
#include "ws/accept.h"
#include "ws/engine.h"

#define PIECES_AT_ONCE 64u

struct echo {
	struct ws ws;
	struct ws_deflate *deflate;      /* NULL: not agreed */
	bool attached;
	bool pinged;                     /* in this silence */
	bool closing;                    /* our Close is said */
};

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

static void echo_begin(struct exchange *x)
{
	const struct ws_request request = {
		.method = { x->request.method_text.bytes, x->request.method_text.size },
		.http_major = 1,
		.http_minor = x->request.version_minor,
		.secure = x->secure,
		.field = field_find,
		.from = &x->request,
	};
	struct websocket_terms terms;
	struct ws_acceptance acceptance;
	const struct reason *reason;
	struct echo *echo;

	websocket_terms_read(&terms, x->route, WS_ORIGINS_ANY); /* an echo tells nobody anything */
	reason = ws_accept(&acceptance, &request, &terms.terms);
	/* RFC 9110 §15.5.22: 426 says what would be right. */
	if (reason == &WS_ACCEPT_UPGRADE && x->request.upgrade.size == 0)
		reason = &WEBSOCKET_EXPECTED;
	if (!reason && x->request.body != HTTP_BODY_NONE)
		reason = &WEBSOCKET_BODY;
	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	echo = arena_take(&x->arena, sizeof *echo);
	*echo = (struct echo){ 0 };
	x->state = echo;
	x->answer.status = 101;
	x->answer.upgrade = HTTP_TEXT("websocket");
	if (acceptance.extensions.deflate) {
		echo->deflate = arena_take(&x->arena, sizeof *echo->deflate);
		websocket_terms_deflate(echo->deflate, x, &acceptance);
	}
	websocket_terms_answer(x, &acceptance);
	x->upgrades = true;
	exchange_answer(x);
}

/* ---- frames ---------------------------------------------------------------------------------------------------------------- */

static void echo_attach(struct exchange *x, struct echo *echo)
{
	const struct config *config = x->worker->config;
	const struct ws_limits limits = { .message_bytes_max = config->limits.websocket_message_bytes_max };
	const struct tcp_wait wait = {
		.name = "frame or pong",
		.ms = config->timeouts.websocket_idle_ms / 2 + 1,
		.silences_max = 2, /* the first asks for a pong, the second says goodbye; see echo_step */
		.late = &WEBSOCKET_NO_PONG,
	};

	echo->attached = true;
	ws_init(&echo->ws, x->in, x->out, &limits);
	if (echo->deflate)
		ws_use_deflate(&echo->ws, echo->deflate);
	exchange_wait(x, &wait);
}

static void echo_goodbye(struct exchange *x, struct echo *echo, const struct reason *reason)
{
	const struct tcp_wait wait = {
		.name = "close frame",
		.ms = x->worker->config->timeouts.close_ms,
		.late = &CLIENT_CLOSE_LATE,
		.from_start = true,
	};

	echo->closing = true;
	ws_close(&echo->ws, verdict_of(reason)->close_code, reason->sentence);
	exchange_wait(x, &wait);
}

static void echo_over(struct exchange *x, const struct reason *reason)
{
	if (reason && reason != &CLIENT_CLOSE_LATE)
		exchange_note(x, reason);
	exchange_done(x);
}

static void echo_step(struct exchange *x)
{
	struct echo *echo = x->state;
	struct ws_piece piece;

	if (!x->upgraded || x->done)
		return;
	if (!echo->attached)
		echo_attach(x, echo);
	if (x->worker->draining && !echo->closing)
		echo_goodbye(x, echo, &GATEWAY_DRAINING);
	if (exchange_silences(x) == 0) {
		echo->pinged = false;
	} else if (exchange_silences(x) > 1 && !echo->closing) {
		exchange_note(x, &WEBSOCKET_NO_PONG);
		echo_goodbye(x, echo, &WEBSOCKET_NO_PONG);
	} else if (!echo->pinged) {
		echo->pinged = true;
		ws_ping(&echo->ws, NULL, 0);
	}
	for (unsigned i = 0; i < PIECES_AT_ONCE; i++) {
		uint64_t room = ws_write_free(&echo->ws);

		switch (ws_next(&echo->ws, &piece)) {
		case WS_DATA:
			if (room == 0 && !echo->closing)
				return;
			if (room > piece.n || echo->closing)
				room = piece.n;
			ws_write_like(&echo->ws, &piece, room);
			ws_consumed(&echo->ws, room);
			break;
		case WS_PONG_RECEIVED:
			break;
		case WS_MORE_NEEDED:
			return;
		case WS_CLOSED:
			echo_over(x, NULL);
			return;
		case WS_BROKEN:
			echo_over(x, piece.reason);
			return;
		}
	}
	task_wake(&x->task);
}

static void echo_ended(struct exchange *x)
{
	struct echo *echo = x->state;

	if (echo && echo->deflate)
		ws_deflate_fini(echo->deflate);
}

static const char *echo_where(const struct exchange *x)
{
	const struct echo *echo = x->state;

	return echo && echo->closing ? "echo: closing" : "echo";
}

const struct serve SERVE_ECHO = {
	.name = "echo",
	.begin = echo_begin,
	.step = echo_step,
	.ended = echo_ended,
	.where = echo_where,
};
