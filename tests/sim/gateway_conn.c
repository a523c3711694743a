/* tests/sim/gateway_conn.c — looks inside conn.c: may a client's connection rest while its core sleeps?
 *
 * A core sleeps when no task is queued. Whatever a connection or its exchange could do now is then a wake that was lost, even if
 * a deadline would come and hide it. */
#include "gateway/conn.c"

#include "tests/sim/gateway.h"

static void exchange_rests(struct sim *sim, const struct conn *c, struct exchange *x)
{
	if (x->upgraded) {
		if (x->done)
			gw_not_rest(sim, "an upgraded exchange is done and open");
	} else if (!c->head_read) {
		if (c->in->bytes > 0 || c->in->ended)
			gw_not_rest(sim, "a request's head was not looked at");
		return;
	} else {
		if (!c->body_read && c->in->bytes > 0 && pipe_free(&x->body_in) > 0)
			gw_not_rest(sim, "a request's body was not looked at");
		if (!c->body_read && pipe_at_end(c->in))
			gw_not_rest(sim, "the end of a request's connection was not looked at");
		if (x->answered && !c->head_written)
			gw_not_rest(sim, "an answer's head was not written");
		if (c->head_written && x->out->bytes > 0 && pipe_free(c->out) > 0)
			gw_not_rest(sim, "an answer's body was not written");
		if (c->head_written && pipe_at_end(x->out))
			gw_not_rest(sim, "the end of an answer was not seen");
		if (!x->answered && client_gone(c))
			gw_not_rest(sim, "a client has gone and its exchange goes on");
	}
	if (x->serve == &SERVE_PROXY && x->state)
		proxy_rests(sim, x);
	if (x->serve == &SERVE_LIVE && x->state)
		live_rests(sim, x);
	if (x->serve == &SERVE_COUNT && !x->answered && (x->in->bytes > 0 || (x->in->ended && !x->in->reason)))
		gw_not_rest(sim, "a count was not looked at");
}

void conn_rests(struct sim *sim, struct link *in_worker)
{
	struct conn *c = owner_of(in_worker, struct conn, in_worker);

	if (!scope_live(&c->scope))
		return;
	sim_tcp_rests(sim, &c->tcp, "client");
	if (c->secure)
		tls_rests(sim, &c->secure->tls);
	if (STEPS[c->at].run == shake_hands) {
		if (tls_handshake_over(&c->secure->tls))
			gw_not_rest(sim, "a handshake is over and nobody goes on");
		return;
	}
	if (STEPS[c->at].run == say_goodbye) {
		if (c->in->bytes > 0)
			gw_not_rest(sim, "what comes behind our goodbye is not thrown away");
		if (c->tcp.failure || (c->tcp.fin_sent && c->tcp.receive_ended))
			gw_not_rest(sim, "both sides have said goodbye and nobody closes");
		return;
	}
	if (c->exchange) {
		if (scope_live(&c->exchange->scope))
			exchange_rests(sim, c, c->exchange);
		return;
	}
	/* What has come waits until the client has read of the last answer. */
	if (((c->in->bytes > 0 || c->in->ended) && pipe_free(c->out) > 0) || c->out->refusal || !c->keep ||
	    (draining(c) && c->exchange_count > 0))
		gw_not_rest(sim, "a connection between two requests has something to do");
}
