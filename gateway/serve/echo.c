/* gateway/serve/echo.c — a WebSocket that sends back what it gets, for conformance and load tests. */
#include "gateway/gateway.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/websocket.h"

static void echo_begin(struct exchange *x)
{
	struct ws_acceptance acceptance;
	const struct reason *reason = websocket_judge(x, WS_ORIGINS_ANY, &acceptance); /* an echo tells nobody anything */

	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	x->state = arena_take(&x->arena, sizeof(struct websocket));
	websocket_accept(x, x->state, &acceptance);
}

static void echo_attach(struct exchange *x, struct websocket *w)
{
	const struct config *config = x->worker->config;
	const struct ws_limits limits = websocket_limits(config, config->limits.websocket_message_bytes_max);

	websocket_attach(x, w, &limits, "frame or pong", config->timeouts.websocket_idle_ms / 2 + 1);
}

static void echo_step(struct exchange *x)
{
	struct websocket *w = x->state;
	struct ws_piece piece;
	uint64_t bytes = 0;

	if (!x->upgraded || x->done)
		return;
	if (!w->attached)
		echo_attach(x, w);
	websocket_watch(x, w);
	for (unsigned i = 0; i < WEBSOCKET_PIECES_AT_ONCE && bytes < websocket_bytes_at_once(w); i++) {
		uint64_t room = ws_write_free(&w->ws);

		switch (ws_next(&w->ws, &piece)) {
		case WS_DATA:
			if (room == 0 && !w->closing)
				return;
			if (room > piece.n || w->closing)
				room = piece.n;
			ws_write_like(&w->ws, &piece, room);
			ws_consumed(&w->ws, room);
			bytes += room;
			break;
		case WS_PONG_RECEIVED:
			break;
		case WS_MORE_NEEDED:
			return;
		case WS_CLOSED:
		case WS_BROKEN:
			websocket_over(x, w, &piece);
			return;
		}
	}
	task_wake_later(&x->task);
}

static void echo_ended(struct exchange *x)
{
	websocket_ended(x->state);
}

static const char *echo_where(const struct exchange *x)
{
	const struct websocket *w = x->state;

	return !w ? "echo" : w->closing ? "echo: closing" : w->pinged ? "echo: ping unanswered" : "echo";
}

static size_t echo_bytes(const struct exchange *x)
{
	return websocket_bytes_held(x->state);
}

const struct serve SERVE_ECHO = {
	.name = "echo",
	.begin = echo_begin,
	.step = echo_step,
	.ended = echo_ended,
	.where = echo_where,
	.bytes_held = echo_bytes,
};
