/* tests/sim/gateway_client.c — the clients before the gateway: what they ask, and what they may be told; see gateway.h.
 *
 * Each has one connection and its asks in one run of bytes, sent in pieces by dice, one request after another or all at once. A
 * polite one reads to the end. A rude one breaks off at some byte.
 *
 * What a client judges: answers come in the order of its asks; one that a server made is the reply to this very ask, byte for
 * byte, and looks whole only if all of it had left the server; whatever the gateway says itself says why. */
#include "tests/sim/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX 16384u

static struct world *world_of(const struct client *c)
{
	return c->actor.world;
}

static struct ask *ask_at(const struct client *c, unsigned i)
{
	return c->gw->asks[c->first_ask + i];
}

/* ---- what it asks ---------------------------------------------------------------------------------------------------------- */

static void kind_roll(struct gw *gw, struct ask *ask)
{
	struct dice *dice = gw_dice(gw);
	static const char *const methods[] = { "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "PUT", "DELETE" };
	unsigned kind = (unsigned)dice_below(dice, 100);

	ask->kind = kind < 60 ? ASK_PROXY : kind < 75 ? ASK_POST_COUNT : kind < 92 ? ASK_GET_COUNT : ASK_NOWHERE;
	if (gw->lives && dice_chance(dice, 70))
		ask->kind = ASK_PUSH;
	ask->method = ask->kind == ASK_POST_COUNT || ask->kind == ASK_PUSH ? "POST" : ask->kind == ASK_GET_COUNT ? "GET" :
		methods[dice_below(dice, array_count(methods))];
	ask->site = (unsigned)dice_below(dice, SITES);
}

static void body_roll(struct gw *gw, struct ask *ask)
{
	struct dice *dice = gw_dice(gw);

	if (ask->kind == ASK_POST_COUNT) {
		ask->body = dice_chance(dice, 30) && !ask->old ? BODY_CHUNKED : BODY_LENGTH;
		ask->body_bytes = 9;
	} else if (ask->kind == ASK_PUSH) {
		char number[40];
		uint64_t most = gw->body_bytes_most < 60000 ? gw->body_bytes_most : 60000;

		/* The whole is {"body":[ask,patient,"…"]}, and push_say writes it. */
		ask->body = dice_chance(dice, 30) && !ask->old ? BODY_CHUNKED : BODY_LENGTH;
		ask->body_bytes = (uint64_t)snprintf(number, sizeof number, "{\"body\":[%u,%u,\"\"]}", ask->id, ask->site) +
		                  dice_scaled(dice, 0, most);
	} else if (ask->kind != ASK_GET_COUNT && (ask->method[0] == 'P' || dice_chance(dice, 5))) {
		ask->body = dice_chance(dice, 50) && !ask->old ? BODY_CHUNKED : BODY_LENGTH;
		ask->body_bytes = dice_scaled(dice, 0, gw->body_bytes_most);
	}
	ask->small_route = ask->kind == ASK_PROXY && dice_chance(dice, 15);
	ask->expects = ask->body != BODY_NONE && !ask->old && dice_chance(dice, 15);
}

static void target_say(struct bytes *out, const struct ask *ask)
{
	switch (ask->kind) {
	case ASK_GET_COUNT:
		bytes_say(out, "%s /count?siteId=s%u", ask->method, ask->site);
		break;
	case ASK_POST_COUNT:
		bytes_say(out, "%s /count", ask->method);
		break;
	case ASK_PUSH:
		bytes_say(out, "POST /push/p%u", ask->site);
		break;
	case ASK_NOWHERE:
		bytes_say(out, "%s /nowhere/%u", ask->method, ask->id);
		break;
	default:
		bytes_say(out, "%s /%s/%u", ask->method, ask->small_route ? "small" : "p", ask->id);
	}
	bytes_say(out, " HTTP/1.%u\r\nHost: sim.example\r\n", ask->old ? 0 : 1);
}

static void push_say(struct client *c, const struct ask *ask)
{
	struct bytes text = { 0 };
	size_t at = 0, pad;

	bytes_say(&text, "{\"body\":[%u,%u,\"", ask->id, ask->site);
	pad = (size_t)ask->body_bytes - text.n - 3;
	memset(bytes_room(&text, pad), 'x', pad);
	bytes_say(&text, "\"]}");
	check(text.n == ask->body_bytes);
	while (ask->body == BODY_CHUNKED && at < text.n) {
		size_t n = dice_between(gw_dice(c->gw), 1, text.n - at);

		bytes_say(&c->out, "%zx\r\n", n);
		bytes_add(&c->out, text.at + at, n);
		bytes_say(&c->out, "\r\n");
		at += n;
	}
	if (ask->body == BODY_CHUNKED)
		bytes_say(&c->out, "0\r\n\r\n");
	else
		bytes_add(&c->out, text.at, text.n);
	bytes_fini(&text);
}

static void ask_say(struct client *c, struct ask *ask)
{
	struct bytes *out = &c->out;
	struct dice *dice = gw_dice(c->gw);

	ask->begin = out->n;
	target_say(out, ask);
	while (dice_chance(dice, 25))
		bytes_say(out, "X-Pad-%u: %0*u\r\n", (unsigned)dice_below(dice, 10), (int)dice_scaled(dice, 1, 600), 7);
	if (ask->kind == ASK_POST_COUNT)
		bytes_say(out, "Content-Type: application/x-www-form-urlencoded\r\n");
	if (ask->expects)
		bytes_say(out, "Expect: 100-continue\r\n");
	if (ask->closes && !ask->old)
		bytes_say(out, "Connection: close\r\n");
	if (ask->body == BODY_CHUNKED)
		bytes_say(out, "Transfer-Encoding: chunked\r\n");
	else if (ask->body == BODY_LENGTH)
		bytes_say(out, "Content-Length: %llu\r\n", (unsigned long long)ask->body_bytes);
	bytes_say(out, "\r\n");
	ask->head_end = out->n;
	if (ask->kind == ASK_PUSH)
		push_say(c, ask);
	else if (ask->kind == ASK_POST_COUNT && ask->body == BODY_CHUNKED)
		bytes_say(out, "4\r\nsite\r\n5\r\nId=s%u\r\n0\r\n\r\n", ask->site);
	else if (ask->kind == ASK_POST_COUNT)
		bytes_say(out, "siteId=s%u", ask->site);
	else if (ask->body == BODY_CHUNKED)
		bytes_chunked(out, world_of(c), ask_pattern(ask->id), ask->body_bytes);
	else
		bytes_pattern(out, world_of(c), ask_pattern(ask->id), ask->body_bytes);
	ask->end = out->n;
}

static void asks_make(struct client *c)
{
	struct gw *gw = c->gw;
	struct dice *dice = gw_dice(gw);

	c->ask_count = (unsigned)dice_between(dice, 1, 6);
	for (unsigned i = 0; i < c->ask_count; i++) {
		struct ask *ask = calloc(1, sizeof *ask);

		check(ask && gw->ask_count < ASKS_MAX);
		gw->asks[gw->ask_count] = ask;
		ask->id = gw->ask_count++;
		ask->client = c;
		kind_roll(gw, ask);
		ask->closes = i + 1 == c->ask_count && dice_chance(dice, 30);
		ask->old = ask->closes && dice_chance(dice, 40);
		body_roll(gw, ask);
		ask_say(c, ask);
	}
}

/* ---- what it is told ---------------------------------------------------------------------------------------------------------- */

static void head_frame(struct client *c, const struct ask *ask, size_t end)
{
	char value[100];
	bool length = bytes_field(&c->in, c->in_at, end, "Content-Length", value, sizeof value);
	uint64_t n = length ? strtoull(value, NULL, 10) : 0;
	bool chunked = bytes_field(&c->in, c->in_at, end, "Transfer-Encoding", value, sizeof value);

	if (length && chunked)
		world_fail(world_of(c), "the answer to request %u is framed twice", ask->id);
	if (chunked && ask->old)
		world_fail(world_of(c), "the answer to request %u is chunked, and its client is old", ask->id);
	if (strcmp(ask->method, "HEAD") == 0 || c->status == 204 || c->status == 304 || c->status == 101) {
		c->body.body = BODY_NONE;
		if (length && c->reply && n != c->reply->body_bytes)
			world_fail(world_of(c), "the answer to request %u tells a wrong length", ask->id);
		return;
	}
	c->body.body = chunked ? BODY_CHUNKED : length ? BODY_LENGTH : BODY_UNTIL_END;
	c->body.left = n;
	if (c->body.body == BODY_UNTIL_END && (!ask->old || !c->told_close))
		world_fail(world_of(c), "nobody can tell where the answer to request %u ends", ask->id);
	if (c->reply && length && (n != c->reply->body_bytes || c->reply->body != BODY_LENGTH))
		world_fail(world_of(c), "the answer to request %u has another length than its server said", ask->id);
}

static void head_reply(struct client *c, const struct ask *ask, size_t end)
{
	struct gw *gw = c->gw;
	char value[100];
	unsigned long number;

	c->reply = NULL;
	if (!bytes_field(&c->in, c->in_at, end, "X-Reply", value, sizeof value)) {
		if (ask->kind == ASK_PROXY && (c->status < 400 || c->status >= 600))
			world_fail(world_of(c), "the gateway itself answers request %u with %u", ask->id, c->status);
		return;
	}
	number = strtoul(value, NULL, 10);
	if (number >= gw->reply_count)
		world_fail(world_of(c), "the answer to request %u is nobody's", ask->id);
	c->reply = &gw->replies[number];
	if (ask->kind != ASK_PROXY || c->reply->ask != ask->id || c->reply->status != c->status)
		world_fail(world_of(c), "request %u gets the answer to request %u, status %u", ask->id, c->reply->ask, c->status);
	if (c->reply->unfit)
		world_fail(world_of(c), "request %u gets an answer that nobody may pass on", ask->id);
}

/* False: it is not whole yet. */
static bool head_read(struct client *c, struct ask *ask)
{
	size_t end = bytes_head_end(&c->in, c->in_at);
	char value[100], line[16] = "";

	if (end == 0)
		return false;
	memcpy(line, c->in.at + c->in_at, end - c->in_at < 13 ? end - c->in_at : 13);
	if (!ask->begun)
		world_fail(world_of(c), "an answer comes before request %u", ask->id);
	if (sscanf(line, "HTTP/1.1 %3u ", &c->status) != 1)
		world_fail(world_of(c), "the answer to request %u has no status line", ask->id);
	if (c->status < 200 && c->status != 101) {
		if (c->status != 100 || !ask->expects || c->continued)
			world_fail(world_of(c), "request %u gets %u unasked", ask->id, c->status);
		c->continued = true;
		c->in_at = end;
		return true;
	}
	c->told_close = bytes_field(&c->in, c->in_at, end, "Connection", value, sizeof value) && strstr(value, "close");
	if (ask->closes && !c->told_close)
		world_fail(world_of(c), "request %u asks for an end, and the answer does not promise it", ask->id);
	if (c->status == 101 && ask->kind != ASK_ECHO && ask->kind != ASK_TUNNEL && ask->kind != ASK_LIVE)
		world_fail(world_of(c), "request %u is upgraded unasked", ask->id);
	head_reply(c, ask, end);
	c->body = (struct body_reader){
		.id = c->reply ? reply_pattern((unsigned)(c->reply - c->gw->replies)) : UINT32_MAX,
	};
	head_frame(c, ask, end);
	c->in_at = end;
	c->head_seen = true;
	return true;
}

static void count_judge_answer(struct client *c, struct ask *ask)
{
	struct gw *gw = c->gw;
	long long n;

	if (c->status != 200) {
		ask->true_reply = false;
		return;
	}
	ask->true_reply = true;
	if (ask->kind == ASK_POST_COUNT) {
		if (strcmp(c->body.text, "{\"status\":\"ok\"}") != 0)
			world_fail(world_of(c), "request %u, a count: %s", ask->id, c->body.text);
		gw->posts_acknowledged[ask->site]++;
		return;
	}
	if (sscanf(c->body.text, "{\"count\":%lld}", &n) != 1)
		world_fail(world_of(c), "request %u, a count: %s", ask->id, c->body.text);
	if ((uint64_t)n < ask->acknowledged_before || (uint64_t)n > gw->posts_sent[ask->site])
		world_fail(world_of(c), "request %u: site %u has %lld, and at least %llu and at most %llu were counted", ask->id, ask->site,
		           n, (unsigned long long)ask->acknowledged_before, (unsigned long long)gw->posts_sent[ask->site]);
}

static void push_judge_answer(struct client *c, struct ask *ask)
{
	ask->true_reply = c->status == 202;
	if (c->status != 202)
		return;
	if (sscanf(c->body.text, "{\"id\":\"%*32[0-9a-f]\",\"delivered\":%u}", &ask->delivered) != 1)
		world_fail(world_of(c), "request %u, a push: %s", ask->id, c->body.text);
	world_trace(world_of(c), "push %u to patient %u is delivered to %u", ask->id, ask->site, ask->delivered);
	if (!strstr(c->body.text, "silent"))
		socket_push_answered(c->gw, ask);
}

static void answer_whole(struct client *c, struct ask *ask)
{
	struct world *world = world_of(c);
	bool bodyless = c->body.body == BODY_NONE;

	world_trace(world, "client %u: request %u is answered: %u, %llu bytes%s", c->index, ask->id, c->status,
	            (unsigned long long)c->body.got, c->told_close ? ", the last" : "");
	if (c->reply) {
		if (!c->reply->all_sent)
			world_fail(world, "the answer to request %u looks whole, and its server has not sent all of it", ask->id);
		if (!bodyless && c->body.got != c->reply->body_bytes)
			world_fail(world, "the answer to request %u looks whole with %llu of %llu bytes", ask->id,
			           (unsigned long long)c->body.got, (unsigned long long)c->reply->body_bytes);
		c->gw->genuine++;
		ask->true_reply = true;
	} else if (c->status == 101) {
		ask->true_reply = true;
	} else if (ask->kind == ASK_GET_COUNT || ask->kind == ASK_POST_COUNT) {
		count_judge_answer(c, ask);
	} else if (ask->kind == ASK_PUSH && c->status == 202) {
		push_judge_answer(c, ask);
	} else {
		if (!bodyless && strncmp(c->body.text, "{\"error\":\"", 10) != 0)
			world_fail(world, "request %u is refused without a reason: %s", ask->id, c->body.text);
		if (!bodyless && strstr(c->body.text, "internal_error"))
			world_fail(world, "request %u: the gateway made a mistake", ask->id);
		c->gw->errors++;
		ask->true_reply = (ask->kind == ASK_NOWHERE && c->status == 404) ||
		                  (ask->small_route && ask->body_bytes > SMALL_BODY_BYTES && c->status == 413);
	}
	if (!c->told_close && !ask->sent)
		world_fail(world, "request %u is answered before it was whole, and the connection is kept", ask->id);
	ask->answered = true;
	ask->status = c->status;
	c->answered++;
	c->head_seen = c->continued = false;
	c->wont_send = c->told_close;
	if (c->status == 101)
		socket_upgraded(c);
}

/* Told of a request that was not whole: it is late, there is a drain, it was no TLS. It may have been a HEAD: nobody could know. */
static bool cut_off(const struct client *c)
{
	return c->told_close && (c->status == 408 || (c->gw->drain_begun && c->status == 503) || (c->tls && c->status == 400));
}

static void answers_read(struct client *c)
{
	for (;;) {
		struct ask *ask;

		if (c->script && c->answered == c->ask_count) {
			socket_received(c);
			return;
		}
		if (c->answered == c->ask_count || (c->told_close && !c->head_seen)) {
			if (c->in_at < c->in.n && !cut_off(c))
				world_fail(world_of(c), "client %u is told more than it asked", c->index);
			return;
		}
		ask = ask_at(c, c->answered);
		if (!c->head_seen) {
			if (!head_read(c, ask))
				return;
			continue;
		}
		body_read(&c->body, world_of(c), "a client", &c->in, &c->in_at);
		if (c->body.body == BODY_UNTIL_END && c->end_seen && !c->error)
			c->body.whole = true;
		if (!c->body.whole)
			return;
		answer_whole(c, ask);
	}
}

/* ---- the wire ------------------------------------------------------------------------------------------------------------------- */

static size_t sendable(const struct client *c)
{
	size_t limit = c->out.n;

	if (c->script)
		return socket_sendable(c);
	if (c->wont_send)
		return c->sent;
	for (unsigned i = c->answered; i < c->ask_count; i++) {
		const struct ask *ask = ask_at(c, i);

		if (ask->expects && !(i == c->answered && c->continued))
			return ask->head_end;
		if (!c->pipelines)
			return ask->end;
	}
	return limit;
}

/* Before anything of it leaves, so that nobody can have seen it earlier. */
static void asks_mark(struct client *c, size_t sent)
{
	for (unsigned i = 0; i < c->ask_count; i++) {
		struct ask *ask = ask_at(c, i);

		if (!ask->begun && sent > ask->begin) {
			ask->begun = true;
			if (ask->kind == ASK_PUSH)
				socket_push_begins(c->gw, ask);
			ask->acknowledged_before = c->gw->posts_acknowledged[ask->site];
		}
		if (!ask->sent && sent >= ask->end) {
			ask->sent = true;
			if (ask->kind == ASK_POST_COUNT)
				c->gw->posts_sent[ask->site]++;
		}
	}
}

static void client_send(struct client *c, bool *moved)
{
	size_t limit = sendable(c), n = limit > c->sent ? limit - c->sent : 0;
	long result;

	if (n > c->writes_max)
		n = (size_t)dice_between(&world_of(c)->dice, 1, c->writes_max);
	if (n == 0 || c->fin_sent || c->error)
		return;
	result = c->tls ? tls_client_send(c, c->out.at + c->sent, n) : world_send(c->socket, c->out.at + c->sent, n);
	if (result > 0) {
		c->sent += (size_t)result;
		asks_mark(c, c->sent);
		*moved = true;
	} else if (result != -EAGAIN) {
		c->error = (int)-result;
		*moved = true;
	}
}

static void client_receive(struct client *c, bool *moved)
{
	uint8_t bytes[PIECE_MAX];
	size_t n = dice_between(&world_of(c)->dice, 1, c->pieces_max);
	long result = c->tls ? tls_client_receive(c, bytes, n) : world_receive(c->socket, bytes, n);

	if (result == -EAGAIN)
		return;
	if (result > 0) {
		bytes_add(&c->in, bytes, (size_t)result);
		*moved = true;
	} else if (result < 0) {
		c->error = (int)-result;
		*moved = true;
	} else if (!c->end_seen) {
		c->end_seen = true;
		*moved = true;
	}
}

void client_shutdown(struct client *c)
{
	c->fin_sent = true;
	if (c->tls)
		tls_client_shutdown(c);
	else
		world_shutdown(c->socket);
}

static uint64_t passed(const struct client *c)
{
	return c->tls ? tls_client_passed(c) : c->sent + c->in.n;
}

static void client_leave(struct client *c, const char *how, bool closes, bool resets)
{
	world_trace(world_of(c), "client %u %s: %zu of %zu sent, %zu received, %u of %u answered, error %d", c->index, how, c->sent,
	            c->out.n, c->in.n, c->answered, c->ask_count, c->error);
	c->done = true;
	c->actor.at_ns = ACTOR_ASLEEP;
	if (c->tls && closes)
		tls_client_leave(c, !c->error);
	c->socket->actor = NULL;
	if (resets)
		world_reset(c->socket);
	else if (closes)
		world_close(c->socket);
}

/* True: it has. */
static bool rude_leaves(struct client *c, bool moved)
{
	if (c->manner == MANNER_POLITE || c->manner == MANNER_HALF || c->manner == MANNER_TOUCHED || passed(c) < c->until_bytes)
		return false;
	switch (c->manner) {
	case MANNER_LEAVES:
		client_leave(c, "leaves", true, false);
		return true;
	case MANNER_RESETS:
		client_leave(c, "resets", false, true);
		return true;
	case MANNER_VANISHES:
		client_leave(c, "vanishes", false, false);
		return true;
	default:
		if (!moved)
			client_leave(c, "is deaf", false, false);
		return !moved;
	}
}

static bool polite_leaves(struct client *c)
{
	bool over = c->script && c->answered == c->ask_count ? socket_over(c) : c->answered == c->ask_count || c->told_close;

	if (c->manner == MANNER_HALF && !c->fin_sent && !c->script && c->sent == c->out.n) {
		client_shutdown(c);
	}
	/* Behind a reset that a send was told lie bytes that came before it. */
	if (c->error && !c->tls && c->socket->in.size > 0)
		return false;
	if (c->error || c->end_seen) {
		client_leave(c, c->error ? "sees a reset" : "sees the end", true, false);
		return true;
	}
	/* An end that was promised must come. */
	if (over && !c->told_close && !c->fin_sent) {
		client_leave(c, "has all it wanted", true, false);
		return true;
	}
	return false;
}

static void client_act(struct actor *actor)
{
	struct client *c = owner_of(actor, struct client, actor);
	struct world *world = actor->world;
	bool moved = false, deaf;

	if (c->done)
		return;
	if (world->now_ns < c->not_before_ns) {
		actor->at_ns = c->not_before_ns;
		return;
	}
	if (!c->socket) {
		c->socket = world_dial(world, (struct sockaddr *)&c->gw->address, sizeof c->gw->address, actor);
		if (!c->socket && c->gw->drain_begun) {
			c->refused = c->done = true;
			return;
		}
		if (!c->socket) {
			actor_in(actor, dice_between(&world->dice, WORLD_MS, 20 * WORLD_MS));
			return;
		}
	}
	deaf = c->manner == MANNER_DEAF && passed(c) >= c->until_bytes;
	if (c->tls)
		moved = tls_client_move(c, !deaf);
	client_send(c, &moved);
	if (!deaf)
		client_receive(c, &moved);
	if (c->tls)
		moved |= tls_client_move(c, false); /* what reading has made it say */
	if (!c->tls || tls_client_reads_answers(c))
		answers_read(c);
	if (rude_leaves(c, moved) || polite_leaves(c))
		return;
	if (moved) {
		c->not_before_ns = world->now_ns + 1000 + dice_below(&world->dice, c->pause_ns);
		actor->at_ns = c->not_before_ns;
	}
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------- */

static enum manner manner_roll(struct gw *gw)
{
	struct dice *dice = gw_dice(gw);

	if (gw->tls && dice_chance(dice, gw->touched_percent))
		return MANNER_TOUCHED;
	if (!gw->rude_clients || dice_chance(dice, 35))
		return MANNER_POLITE;
	return (enum manner)dice_between(dice, MANNER_HALF, MANNER_DEAF);
}

void clients_open(struct gw *gw)
{
	struct dice *dice = gw_dice(gw);
	struct world *world = &gw->sim->world;

	gw->client_count = (unsigned)dice_between(dice, 1, CLIENTS_MAX);
	gw->clients = calloc(gw->client_count, sizeof *gw->clients);
	check(gw->clients);
	for (unsigned i = 0; i < gw->client_count; i++) {
		struct client *c = &gw->clients[i];

		c->gw = gw;
		c->index = i;
		c->manner = manner_roll(gw);
		c->pause_ns = dice_scaled(dice, 1000, 4 * WORLD_MS);
		c->pieces_max = (unsigned)dice_scaled(dice, gw->body_bytes_most > 2000 ? 100 + gw->body_bytes_most / 500 : 1, PIECE_MAX);
		c->pipelines = dice_chance(dice, 40);
		actor_init(&c->actor, world, client_act, dice_scaled(dice, 1000, 60 * WORLD_MS));
		/* Later than others, who have got tickets then. */
		if (gw->tls && dice_chance(dice, 50))
			actor_in(&c->actor, dice_scaled(dice, WORLD_MS, 60000 * WORLD_MS));
		c->first_ask = gw->ask_count;
		if (dice_chance(dice, gw->sockets_percent))
			socket_ask_make(c);
		else
			asks_make(c);
		c->until_bytes = dice_below(dice, c->out.n * 2 + (gw->tls ? 3000 : 100));
		c->writes_max = c->pieces_max;
		if (gw->tls)
			tls_client_open(c);
	}
}

bool clients_done(const struct gw *gw)
{
	for (unsigned i = 0; i < gw->client_count; i++) {
		if (!gw->clients[i].done)
			return false;
	}
	return true;
}

/* May this ask go without its true reply in a strict run? */
static bool may_be_refused(const struct gw *gw, const struct ask *ask)
{
	bool repeatable = ask->body == BODY_NONE && strcmp(ask->method, "POST") != 0;

	/* A pooled connection that the server closed just then: only what may be repeated is. */
	return gw->closes_idle && !repeatable && ask->kind == ASK_PROXY;
}

/* Is the one that waits for its answer larger than its route allows? */
static bool too_large(const struct client *c)
{
	const struct ask *ask = c->answered < c->ask_count ? ask_at(c, c->answered) : NULL;

	return ask && ask->small_route && ask->body_bytes > SMALL_BODY_BYTES;
}

static void client_check(struct gw *gw, const struct client *c)
{
	struct world *world = &gw->sim->world;

	if (c->tls)
		tls_client_check(gw, c);
	if (c->manner != MANNER_POLITE || c->refused || gw->hasty || gw->at_once || gw->scarce)
		return;
	/* Who has dialled is accepted before a listener closes, as far as there are descriptors. */
	if (gw->drains && world->habits.descriptors_spent > 0 && c->in.n == 0)
		return;
	if (c->script) {
		socket_check((struct client *)c);
		return;
	}
	/* A reset is for an answer that was cut, and for nothing else: by its server, or because the request turned out too large when
	 * its answer was under way already. */
	if (c->error && !((gw->rude_servers || too_large(c)) && (c->head_seen || c->socket->bytes_lost > 0)))
		world_fail(world, "client %u is polite and was reset, %u of %u answered", c->index, c->answered, c->ask_count);
	if (!c->error && c->head_seen)
		world_fail(world, "client %u sees an end in the middle of an answer, and not a reset", c->index);
	if (!c->error && c->answered < c->ask_count && !c->told_close && !gw->drains)
		world_fail(world, "client %u is polite and got %u answers to %u requests", c->index, c->answered, c->ask_count);
	for (unsigned i = 0; gw->strict && i < c->answered; i++) {
		const struct ask *ask = ask_at(c, i);

		if (!ask->true_reply && !may_be_refused(gw, ask))
			world_fail(world, "request %u was refused with %u, and nobody was at fault", ask->id, ask->status);
	}
}

void clients_check(struct gw *gw)
{
	for (unsigned i = 0; i < gw->ask_count; i++) {
		const struct ask *ask = gw->asks[i];

		if (ask->kind == ASK_PUSH && ask->answered && ask->heard > ask->delivered)
			world_fail(&gw->sim->world, "push %u was delivered to %u sockets, and %u have it", ask->id, ask->delivered, ask->heard);
	}
	for (unsigned i = 0; i < gw->client_count; i++)
		client_check(gw, &gw->clients[i]);
	if (gw->tls)
		gw_tls_check(gw);
}

void clients_fini(struct gw *gw)
{
	for (unsigned i = 0; i < gw->client_count; i++) {
		struct client *c = &gw->clients[i];

		link_remove(&c->actor.in_world);
		if (c->socket)
			c->socket->actor = NULL;
		socket_fini(c);
		tls_client_fini(c);
		bytes_fini(&c->out);
		bytes_fini(&c->in);
	}
	for (unsigned i = 0; i < gw->ask_count; i++)
		free(gw->asks[i]);
	free(gw->clients);
}
