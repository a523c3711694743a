/* tests/sim/gateway_origin.c — the servers behind the gateway: what they may see, and how they answer; see gateway.h.
 *
 * One actor for each connection that reached a server. A polite one reads the whole request and answers it, or answers early and
 * reads on; it keeps the connection or says that it does not. A rude one cuts its answer, resets, talks nonsense, says nothing.
 *
 * What a server judges: a request is one that a client sent, framed as it was, byte for byte; its body looks whole only if the
 * client sent all of it; it comes a second time only when that is allowed. */
#include "tests/sim/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX 16384u
#define TUNNEL_PAUSE_NS (700 * WORLD_MS) /* of a silent tunnel, between two pieces */

enum fault {
	FAULT_NONE,
	FAULT_CUT,                       /* a FIN in the middle of the answer */
	FAULT_CUT_RESET,                 /* a reset likewise, or just behind it */
	FAULT_GARBAGE,                   /* no HTTP */
	FAULT_AMBIGUOUS,                 /* an answer that two readers may understand differently */
	FAULT_END,                       /* a FIN in the place of an answer */
	FAULT_RESET,                     /* a reset likewise */
	FAULT_NEVER,                     /* silence */
};

struct origin {
	struct link in_gw;
	struct actor actor;
	struct gw *gw;
	struct thing *socket;
	struct bytes in, out;
	size_t in_at, out_sent, out_end; /* out_end: where a fault stops it */
	size_t answer_at;                /* where the final answer begins, behind interim ones */
	unsigned requests;               /* heads that came on this connection */
	struct ask *ask;                 /* the present one */
	struct reply *reply;
	struct body_reader body;
	enum fault fault;
	bool early;                      /* does not wait for the request's body */
	bool last;                       /* no request after this one */
	bool answering, answered, tunnel;
	bool close_rolled;
	uint64_t answer_at_ns;           /* 0: not decided */
	uint64_t close_at_ns;            /* 0: stays */
	uint64_t pause_ns, not_before_ns;
	unsigned pieces_max, tunnel_piece;
	uint64_t tunnel_next_ns;         /* of a silent one: when it says something again */
	uint64_t tunnel_sent, tunnel_got, tunnel_until;
	bool fin_sent, end_seen, gone, was_reset;
	bool left;                       /* the gateway went first */
};

uint64_t tunnel_down_bytes(const struct ask *ask)
{
	return ask->id * 2654435761u % 9973;
}

uint64_t tunnel_up_bytes(const struct ask *ask)
{
	return ask->id * 40503u % 7919;
}

static void origin_close(struct origin *o, bool reset)
{
	world_trace(o->actor.world, "server: connection %p %s, request %u, %zu of %zu sent", (void *)o, reset ? "is reset" : "closes",
	            o->ask ? o->ask->id : 0, o->out_sent, o->out.n);
	o->gone = true;
	o->socket->actor = NULL;
	/* Closing with unread bytes is a reset, too. */
	o->was_reset = reset || o->socket->in.size > 0;
	if (reset)
		world_reset(o->socket);
	else
		world_close(o->socket);
	o->actor.at_ns = ACTOR_ASLEEP;
}

/* ---- what it is asked ------------------------------------------------------------------------------------------------------ */

static bool idempotent(const struct ask *ask)
{
	return strcmp(ask->method, "POST") != 0;
}

static void arrival_judge(struct origin *o, struct ask *ask)
{
	struct world *world = o->actor.world;
	const struct origin *before = ask->arrived_at;

	ask->arrivals++;
	ask->arrived_at = o;
	if (ask->arrivals == 1)
		return;
	if (ask->arrivals > 2)
		world_fail(world, "request %u arrives for the third time", ask->id);
	if (!idempotent(ask) || ask->body != BODY_NONE)
		world_fail(world, "request %u (%s) arrives twice and may not be repeated", ask->id, ask->method);
	/* Whichever of the two was first: what was under way when the other was made may arrive later. */
	if (before->requests < 2 && o->requests < 2)
		world_fail(world, "request %u was lost on a fresh connection and is repeated", ask->id);
	if (before->out_sent > before->answer_at && before->answering &&
	    (before->gone ? !before->was_reset && !before->left : !o->gw->hasty))
		world_fail(world, "request %u is repeated although an answer had begun", ask->id);
}

static struct ask *ask_of(struct origin *o, const char *line, char *method)
{
	struct gw *gw = o->gw;
	unsigned id = ASKS_MAX;
	char place[8] = "";
	struct ask *ask;

	if (sscanf(line, "%7s /%7[a-z]/%u HTTP/1.1", method, place, &id) != 3 || id >= gw->ask_count)
		world_fail(&gw->sim->world, "a server is asked what nobody asked: %s", line);
	ask = gw->asks[id];
	if (strcmp(method, ask->method) != 0 ||
	    strcmp(place, ask->kind == ASK_TUNNEL ? "t" : ask->small_route ? "small" : "p") != 0 ||
	    (ask->kind != ASK_PROXY && ask->kind != ASK_TUNNEL))
		world_fail(&gw->sim->world, "request %u reaches a server changed: %s", id, line);
	if (ask->client->sent < ask->head_end)
		world_fail(&gw->sim->world, "request %u reaches a server before its head was sent", id);
	return ask;
}

static void fault_roll(struct origin *o)
{
	static const enum fault faults[] = {
		FAULT_CUT, FAULT_CUT, FAULT_CUT_RESET, FAULT_CUT_RESET, FAULT_GARBAGE, FAULT_AMBIGUOUS, FAULT_END, FAULT_RESET, FAULT_NEVER,
	};

	o->fault = FAULT_NONE;
	if (o->gw->rude_servers && dice_chance(gw_dice(o->gw), 40))
		o->fault = faults[dice_below(gw_dice(o->gw), array_count(faults))];
}

static void request_begin(struct origin *o, size_t head_end)
{
	struct gw *gw = o->gw;
	struct world *world = &gw->sim->world;
	char line[200] = "", method[8], value[100];
	size_t n = head_end - o->in_at < sizeof line ? head_end - o->in_at : sizeof line - 1;
	struct ask *ask;

	memcpy(line, o->in.at + o->in_at, n);
	line[strcspn(line, "\r")] = 0;
	ask = ask_of(o, line, method);
	o->requests++;
	world_trace(world, "server: connection %p gets request %u", (void *)o, ask->id);
	arrival_judge(o, ask);
	o->ask = ask;
	o->body = (struct body_reader){ .id = ask_pattern(ask->id) };
	if (bytes_field(&o->in, o->in_at, head_end, "Transfer-Encoding", value, sizeof value)) {
		o->body.body = BODY_CHUNKED;
	} else if (bytes_field(&o->in, o->in_at, head_end, "Content-Length", value, sizeof value)) {
		o->body.body = BODY_LENGTH;
		o->body.left = strtoull(value, NULL, 10);
		if (o->body.left != ask->body_bytes)
			world_fail(world, "request %u reaches a server with another length: %s", ask->id, value);
	}
	if (o->body.body != ask->body)
		world_fail(world, "request %u reaches a server framed otherwise", ask->id);
	if (!bytes_field(&o->in, o->in_at, head_end, "X-Forwarded-For", value, sizeof value) || 
	    strcmp(value, ask->client->done ? "unknown" : "0.0.0.0") * strcmp(value, "0.0.0.0") != 0)
		world_fail(world, "request %u reaches a server without its client's address", ask->id);
	if (bytes_field(&o->in, o->in_at, head_end, "Expect", value, sizeof value))
		world_fail(world, "request %u reaches a server with an expectation that was met already", ask->id);
	o->in_at = head_end;
	fault_roll(o);
	o->early = dice_chance(gw_dice(gw), 15);
	o->last = dice_chance(gw_dice(gw), 15);
	o->answering = o->answered = o->tunnel = false;
	o->answer_at_ns = 0;
	o->close_at_ns = 0;
	o->out.n = o->out_sent = o->answer_at = 0;
	o->reply = NULL;
}

static void request_is_whole(struct origin *o)
{
	struct world *world = o->actor.world;
	const struct ask *ask = o->ask;

	if (!ask->sent)
		world_fail(world, "request %u looks whole to a server, and its client has not sent all of it", ask->id);
	if (o->body.got != ask->body_bytes)
		world_fail(world, "request %u looks whole to a server with %llu of %llu bytes", ask->id,
		           (unsigned long long)o->body.got, (unsigned long long)ask->body_bytes);
	if (ask->small_route && ask->body_bytes > SMALL_BODY_BYTES)
		world_fail(world, "request %u is larger than its route allows and reaches a server whole", ask->id);
}

/* False: the connection is gone. */
static bool request_read(struct origin *o)
{
	struct gw *gw = o->gw;

	if (!o->ask) {
		size_t head_end;

		if (o->in_at == o->in.n || o->fin_sent)
			return true;
		if (!o->close_rolled) {
			o->close_rolled = true;
			/* The worst moment: it had decided to close, and just then the next request comes. */
			if (o->requests > 0 && gw->closes_idle && dice_chance(gw_dice(gw), 40)) {
				origin_close(o, dice_chance(gw_dice(gw), 50));
				return false;
			}
		}
		head_end = bytes_head_end(&o->in, o->in_at);
		if (head_end == 0)
			return true;
		request_begin(o, head_end);
		o->close_rolled = false;
	}
	if (!o->body.whole) {
		body_read(&o->body, o->actor.world, "a server", &o->in, &o->in_at);
		if (o->body.whole)
			request_is_whole(o);
	}
	return true;
}

/* ---- what it answers ---------------------------------------------------------------------------------------------------------- */

static void interim_make(struct origin *o)
{
	static const char *const interims[] = { "100 Continue", "102 Processing", "103 Early Hints\r\nLink: </a>; rel=preload" };

	while (dice_chance(gw_dice(o->gw), 20))
		bytes_say(&o->out, "HTTP/1.1 %s\r\n\r\n", interims[dice_below(gw_dice(o->gw), array_count(interims))]);
	o->answer_at = o->out.n;
}

static void head_make(struct origin *o, bool bodyless)
{
	struct dice *dice = gw_dice(o->gw);
	struct reply *r = o->reply;
	bool old = dice_chance(dice, 5);

	if (r->body == BODY_UNTIL_END || old)
		o->last = true;
	bytes_say(&o->out, "HTTP/1.%u %u Said\r\nX-Ask: %u\r\nX-Reply: %u\r\n", old && r->body != BODY_CHUNKED ? 0 : 1, r->status, r->ask,
	          (unsigned)(r - o->gw->replies));
	if (r->body == BODY_CHUNKED)
		bytes_say(&o->out, "Transfer-Encoding: chunked\r\n");
	else if (r->body == BODY_LENGTH && r->status != 204)
		bytes_say(&o->out, "Content-Length: %llu\r\n", (unsigned long long)r->body_bytes);
	if (o->fault == FAULT_AMBIGUOUS)
		bytes_say(&o->out, "Content-Length: %llu\r\n%s", (unsigned long long)r->body_bytes + 1,
		          r->body == BODY_CHUNKED ? "" : "Transfer-Encoding: chunked\r\n");
	/* Where the end of the connection is the end of the body, it need not be promised. */
	if (o->last && (r->body != BODY_UNTIL_END || bodyless || dice_chance(dice, 50)))
		bytes_say(&o->out, "Connection: close\r\n");
	bytes_say(&o->out, "\r\n");
}

static void tunnel_make(struct origin *o)
{
	o->tunnel = true;
	o->answer_at = 0;
	o->tunnel_sent = o->tunnel_got = 0;
	o->tunnel_until = UINT64_MAX;
	if (o->fault != FAULT_NONE)
		o->tunnel_until = dice_below(gw_dice(o->gw), tunnel_down_bytes(o->ask) + tunnel_up_bytes(o->ask) + 1);
	o->tunnel_piece = o->gw->silent_tunnels ? 1 + (unsigned)(tunnel_down_bytes(o->ask) / 8) : o->pieces_max;
	o->pieces_max = PIECE_MAX;
	bytes_say(&o->out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Ask: %u\r\n\r\n", o->ask->id);
	o->out_end = o->out.n;
}

static void answer_make(struct origin *o)
{
	static const unsigned statuses[] = { 200, 200, 200, 200, 201, 204, 304, 404, 500 };
	struct gw *gw = o->gw;
	struct dice *dice = gw_dice(gw);
	struct reply *r = o->reply = &gw->replies[gw->reply_count++];
	bool bodyless;

	check(gw->reply_count < REPLIES_MAX);
	*r = (struct reply){ .ask = o->ask->id, .status = statuses[dice_below(dice, array_count(statuses))] };
	o->answering = true;
	if (o->ask->kind == ASK_TUNNEL) {
		tunnel_make(o);
		return;
	}
	if (o->fault == FAULT_GARBAGE) {
		static const char *const nonsense[] = {
			"HTTP/1.1 abc\r\n\r\n", "220 mail.example ESMTP\r\n", "HTTP/1.1 200 OK\nX: y\n\n", "\0\0\0\0", "HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
			"HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		};
		unsigned i = (unsigned)dice_below(dice, array_count(nonsense));

		r->unfit = true;
		bytes_add(&o->out, nonsense[i], i == 3 ? 4 : strlen(nonsense[i]));
		o->out_end = o->out.n;
		o->last = true;
		return;
	}
	bodyless = strcmp(o->ask->method, "HEAD") == 0 || r->status == 204 || r->status == 304;
	r->body = (enum body)dice_between(dice, BODY_LENGTH, BODY_UNTIL_END);
	if (r->status == 204 || (r->status == 304 && r->body == BODY_CHUNKED))
		r->body = BODY_LENGTH;
	r->body_bytes = r->status == 204 ? 0 : dice_scaled(dice, 0, gw->body_bytes_most);
	r->unfit = o->fault == FAULT_AMBIGUOUS;
	interim_make(o);
	head_make(o, bodyless);
	if (!bodyless) {
		if (r->body == BODY_CHUNKED)
			bytes_chunked(&o->out, &gw->sim->world, reply_pattern((unsigned)(r - gw->replies)), r->body_bytes);
		else
			bytes_pattern(&o->out, &gw->sim->world, reply_pattern((unsigned)(r - gw->replies)), r->body_bytes);
	}
	o->out_end = o->out.n;
	if (o->fault == FAULT_CUT || o->fault == FAULT_CUT_RESET) {
		o->out_end = dice_below(dice, o->out.n);
		/* Where an end is the end, a FIN is no cut, but behind the head. */
		if (o->fault == FAULT_CUT && r->body == BODY_UNTIL_END)
			o->out_end = o->answer_at + dice_below(dice, 10);
		/* The reset may come when all was said; then it is the network that cuts. */
		if (o->fault == FAULT_CUT_RESET && dice_chance(dice, 20))
			o->out_end = o->out.n;
	}
}

/* What follows when everything that is to be said was said. False: the connection is gone. */
static bool answer_over(struct origin *o)
{
	if (o->tunnel)
		return true;
	if (o->out_sent == o->out.n && o->reply->body != BODY_UNTIL_END)
		o->reply->all_sent = true;
	if (o->fault == FAULT_CUT || o->fault == FAULT_CUT_RESET) {
		if (o->out_sent == o->out.n)
			o->reply->all_sent = true;
		origin_close(o, o->fault == FAULT_CUT_RESET);
		return false;
	}
	o->answered = true;
	if (o->last && !o->fin_sent) {
		o->reply->all_sent = true;
		o->fin_sent = true;
		world_shutdown(o->socket);
	}
	return true;
}

static void answer_decide(struct origin *o)
{
	struct world *world = o->actor.world;
	bool slow = dice_chance(&world->dice, 20);

	if (o->ask && o->answer_at_ns == 0 && (o->body.whole || o->early)) {
		o->answer_at_ns = world->now_ns + dice_scaled(&world->dice, 1, (slow ? 400 : 10) * WORLD_MS);
		if (o->fault == FAULT_NEVER)
			o->answer_at_ns = ACTOR_ASLEEP;
	}
}

static bool answer(struct origin *o, bool *moved)
{
	struct world *world = o->actor.world;

	answer_decide(o);
	if (!o->ask || o->answered || o->answer_at_ns == 0 || o->answer_at_ns > world->now_ns)
		return true;
	if (o->fault == FAULT_END || o->fault == FAULT_RESET) {
		origin_close(o, o->fault == FAULT_RESET);
		return false;
	}
	if (!o->answering)
		answer_make(o);
	if (o->out_sent < o->out_end) {
		size_t n = o->out_end - o->out_sent < o->pieces_max ? o->out_end - o->out_sent : o->pieces_max;
		long result = world_send(o->socket, o->out.at + o->out_sent, n);

		if (result < 0 && result != -EAGAIN) {
			o->left = true;
			origin_close(o, false);
			return false;
		}
		if (result > 0) {
			o->out_sent += (size_t)result;
			*moved = true;
		}
	}
	return o->out_sent < o->out_end || answer_over(o);
}

/* Between two requests. */
static void answered(struct origin *o)
{
	struct world *world = o->actor.world;

	if (!o->ask || !o->answered || !o->body.whole || o->tunnel)
		return;
	o->ask = NULL;
	if (o->gw->closes_idle && dice_chance(&world->dice, 40))
		o->close_at_ns = world->now_ns + dice_scaled(&world->dice, 1, 50 * WORLD_MS);
}

/* ---- a tunnel ------------------------------------------------------------------------------------------------------------------- */

static bool tunnel(struct origin *o, bool *moved)
{
	struct world *world = o->actor.world;
	uint64_t down = tunnel_down_bytes(o->ask), up = tunnel_up_bytes(o->ask);
	size_t n = o->in.n - o->in_at;

	if (o->out_sent < o->out.n)
		return true;
	if (n > 0) {
		if (o->tunnel_got + n > up || !world_pattern_is(world, tunnel_up_pattern(o->ask->id), o->tunnel_got, o->in.at + o->in_at, n))
			world_fail(world, "tunnel %u: the server gets wrong bytes at %llu", o->ask->id, (unsigned long long)o->tunnel_got);
		o->tunnel_got += n;
		o->in_at = o->in.n;
		if (o->tunnel_got > o->ask->client->sent - o->ask->end)
			world_fail(world, "tunnel %u: the server gets more than was sent", o->ask->id);
	}
	if (o->tunnel_sent < down && o->tunnel_next_ns <= world->now_ns) {
		uint8_t bytes[PIECE_MAX];
		long result;

		n = down - o->tunnel_sent < o->tunnel_piece ? down - o->tunnel_sent : o->tunnel_piece;
		world_pattern(world, tunnel_down_pattern(o->ask->id), o->tunnel_sent, bytes, n);
		result = world_send(o->socket, bytes, n);
		if (result < 0 && result != -EAGAIN) {
			o->left = true;
			origin_close(o, false);
			return false;
		}
		if (result > 0) {
			o->tunnel_sent += (uint64_t)result;
			o->tunnel_next_ns = o->gw->silent_tunnels ? world->now_ns + TUNNEL_PAUSE_NS : 0;
			*moved = true;
		}
	}
	if (o->tunnel_sent + o->tunnel_got >= o->tunnel_until) {
		origin_close(o, true);
		return false;
	}
	if (o->tunnel_sent == down && (o->tunnel_got == up || o->end_seen) && !o->fin_sent) {
		o->fin_sent = true;
		o->reply->all_sent = true;
		world_shutdown(o->socket);
	}
	return true;
}

/* ---- the actor ------------------------------------------------------------------------------------------------------------------ */

static bool receive(struct origin *o, bool *moved)
{
	uint8_t bytes[PIECE_MAX];
	long result = world_receive(o->socket, bytes, o->pieces_max);

	if (result == -EAGAIN)
		return true;
	if (result < 0) {
		o->left = true;
		origin_close(o, false);
		return false;
	}
	if (result == 0) {
		*moved |= !o->end_seen;
		o->end_seen = true;
		/* The gateway has gone; only through a tunnel is an end one half of it. */
		if (!o->tunnel || o->fin_sent) {
			o->left = true;
			origin_close(o, false);
			return false;
		}
		return true;
	}
	if (o->in_at == o->in.n)
		o->in_at = o->in.n = 0;
	bytes_add(&o->in, bytes, (size_t)result);
	*moved = true;
	return true;
}

static void origin_act(struct actor *actor)
{
	struct origin *o = owner_of(actor, struct origin, actor);
	struct world *world = actor->world;
	bool moved = false, idle;

	if (o->gone)
		return;
	if (world->now_ns < o->not_before_ns) {
		actor->at_ns = o->not_before_ns;
		return;
	}
	if (!receive(o, &moved) || (!o->tunnel && !request_read(o)) || !answer(o, &moved))
		return;
	if (o->tunnel && !tunnel(o, &moved))
		return;
	answered(o);
	idle = !o->ask && o->in_at == o->in.n;
	if (idle && o->close_at_ns && o->close_at_ns <= world->now_ns && !o->fin_sent) {
		/* A reset takes back what the other side has not read yet; to be polite is to wait for that. */
		origin_close(o, o->socket->far->in.size == 0 && dice_chance(&world->dice, 30));
		return;
	}
	if (moved) {
		o->not_before_ns = world->now_ns + 1000 + dice_below(&world->dice, o->pause_ns);
		actor->at_ns = o->not_before_ns;
	}
	if (o->ask && !o->answered && o->answer_at_ns > world->now_ns && o->answer_at_ns < actor->at_ns)
		actor->at_ns = o->answer_at_ns;
	if (o->tunnel && o->tunnel_next_ns > world->now_ns && o->tunnel_next_ns < actor->at_ns)
		actor->at_ns = o->tunnel_next_ns;
	if (idle && o->close_at_ns > world->now_ns && o->close_at_ns < actor->at_ns)
		actor->at_ns = o->close_at_ns;
}

/* The gateway has connected. */
static void origin_dialled(struct thing *listener, struct thing *far_end)
{
	struct gw *gw = listener->owner;
	struct origin *o = calloc(1, sizeof *o);
	struct dice *dice = gw_dice(gw);

	check(o);
	o->gw = gw;
	o->socket = far_end;
	far_end->actor = &o->actor;
	o->pause_ns = dice_scaled(dice, 1000, 4 * WORLD_MS);
	o->pieces_max = (unsigned)dice_scaled(dice, gw->body_bytes_most > 2000 ? 100 + gw->body_bytes_most / 500 : 1, PIECE_MAX);
	link_put_last(&gw->origins, &o->in_gw);
	actor_init(&o->actor, &gw->sim->world, origin_act, 0);
	world_trace(&gw->sim->world, "server: connection %p", (void *)o);
}

void origins_open(struct gw *gw)
{
	link_init(&gw->origins);
	for (unsigned i = 0; i < gw->server_count; i++)
		world_listen(&gw->sim->world, (struct sockaddr *)&gw->servers[i], sizeof gw->servers[i], origin_dialled, gw);
}

void origins_fini(struct gw *gw)
{
	struct link *link;

	while ((link = link_take_first(&gw->origins))) {
		struct origin *o = owner_of(link, struct origin, in_gw);

		link_remove(&o->actor.in_world);
		o->socket->actor = NULL;
		bytes_fini(&o->in);
		bytes_fini(&o->out);
		free(o);
	}
}
