/* tests/sim/gateway_live.c — looks inside serve/live.c: may a patient's socket rest while its core sleeps? */
#include "gateway/serve/live.c"

#include "tests/sim/gateway.h"

void live_rests(struct sim *sim, const struct exchange *x)
{
	const struct viewer *v = x->state;

	if (!x->upgraded)
		return;
	if (!v->w.attached)
		gw_not_rest(sim, "a patient's socket was upgraded and not attached");
	if (v->w.closing || ws_over(&v->w.ws)) {
		if (v->socket.live)
			gw_not_rest(sim, "a push would count a socket that has said Close");
		return;
	}
	if (!link_alone(&v->socket.in_awaited))
		gw_not_rest(sim, "a patient's socket was not woken");
	if (v->socket.slow)
		gw_not_rest(sim, "a slow reader was not told");
	if (v->socket.queue.count > 0 && ws_write_free(&v->w.ws) > 0)
		gw_not_rest(sim, "a notification was not written");
	if (!v->reminded && !v->idle.set && ws_write_free(&v->w.ws) > 0)
		gw_not_rest(sim, "nobody will remind an idle patient");
	if (exchange_silences(x) == 1 && !v->w.pinged)
		gw_not_rest(sim, "a silent patient was not pinged");
}
