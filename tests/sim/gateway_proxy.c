/* tests/sim/gateway_proxy.c — looks inside serve/proxy.c: may a proxied exchange rest while its core sleeps? */
#include "gateway/serve/proxy.c"

#include "tests/sim/gateway.h"

static void tunnel_rests(struct sim *sim, const struct exchange *x, const struct upstream *u)
{
	if (x->done)
		return;
	if (x->in->bytes > 0 && !u->out.ended && pipe_free(&u->out) > 0)
		gw_not_rest(sim, "a tunnel could move bytes up");
	if (u->in.bytes > 0 && !x->out->ended && pipe_free(x->out) > 0)
		gw_not_rest(sim, "a tunnel could move bytes down");
	if ((pipe_at_end(x->in) && !u->out.ended) || (pipe_at_end(&u->in) && !x->out->ended))
		gw_not_rest(sim, "a tunnel did not see an end");
	if (x->out->refusal || u->out.refusal)
		gw_not_rest(sim, "a tunnel did not see that nobody reads any more");
}

void proxy_rests(struct sim *sim, struct exchange *x)
{
	const struct proxy *p = x->state;
	const struct upstream *u = p->upstream;

	/* A body waits for its connection; see proxy_step. */
	if (x->refused || x->done || (u && u->tcp.connecting))
		return;
	if (!u) {
		if ((!x->answered && !x->in->reason) || (x->answered && !x->out->ended))
			gw_not_rest(sim, "a proxied request has lost its server and nobody says so");
		return;
	}
	sim_tcp_rests(sim, &u->tcp, "server");
	if (p->tunnel) {
		if (p->leaving && (x->in->bytes > 0 || u->in.bytes > 0 || u->in.ended || u->out.refusal || x->out->refusal))
			gw_not_rest(sim, "a tunnel that is left was not looked at");
		else if (x->upgraded && !p->leaving)
			tunnel_rests(sim, x, u);
		return;
	}
	if (p->answer_read)
		gw_not_rest(sim, "a proxied answer is whole and its connection was not given back");
	if (!p->sent && x->in->bytes > 0 && pipe_free(&u->out) > 0)
		gw_not_rest(sim, "a request's body could be passed on");
	if (!p->sent && pipe_at_end(x->in))
		gw_not_rest(sim, "the end of a request's body was not passed on");
	if (!x->answered && (u->in.bytes > 0 || u->in.ended))
		gw_not_rest(sim, "a server's answer was not looked at");
	if (x->answered && u->in.bytes > 0 && pipe_free(x->out) > 0)
		gw_not_rest(sim, "an answer's body could be passed on");
	if (x->answered && pipe_at_end(&u->in) && !x->out->ended)
		gw_not_rest(sim, "the end of an answer was not passed on");
}
