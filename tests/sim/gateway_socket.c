/* tests/sim/gateway_socket.c — clients that upgrade: an echo by frames, or a tunnel of bytes; see gateway.h.
 *
 *   echo    messages in fragments, pings between them, at the end Close; each message must come back, byte for byte
 *   tunnel  bytes up and bytes down, as many as the ask's number says
 *   live    acks and nonsense; what others push to its patient must come, once each, if it was there before the push began and
 *           is still there when the push is answered; after some pings, Close
 *
 * What the client will say lies in its `out` behind the request. Between two frames a pong or a Close can be put in. */
#include "tests/sim/gateway.h"

#include "gateway/verdict.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 12u
#define FRAMES_MAX 128u

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct message_said {
	unsigned opcode;
	uint32_t id;
	uint64_t bytes;
};

struct socket_script {
	struct ask *ask;
	struct message_said messages[MESSAGES_MAX];
	unsigned message_count, came_back;
	size_t frame_ends[FRAMES_MAX + 8]; /* in the client's `out` */
	unsigned frame_count;
	unsigned pings;
	unsigned ping_seen;              /* the highest that was answered, and one more */
	uint64_t at;                     /* of the message that is coming back */
	bool in_message;
	bool close_said;                 /* Close lies in `out` */
	bool close_heard;
	unsigned close_code;
	bool upgraded;
	bool bad_frame;                  /* says something that breaks a rule */
	bool ends_first;                 /* tunnel: its FIN when all is said */
	uint64_t down;                   /* tunnel: bytes received */
	uint8_t told[128];               /* tunnel: behind them, the gateway's own Close */
	size_t told_n;
	unsigned pings_awaited;          /* live: before it says Close */
	bool settled;                    /* live: the gateway has said something, so it is entered */
	unsigned nonsense;               /* live: messages that are answered with an error, not answered yet */
	uint8_t heard[ASKS_MAX];         /* live: pushes, by ask */
	uint8_t must_hear[ASKS_MAX];
};

static uint8_t message_byte(const struct message_said *m, uint64_t at)
{
	return m->opcode == OP_TEXT ? (uint8_t)('a' + (m->id * 7 + at) % 26) : (uint8_t)(m->id * 31 + at * 7 + (at >> 8));
}

/* A masked frame at the end of `to`. */
static uint8_t *frame_add(struct bytes *to, struct dice *dice, unsigned opcode, bool last, uint64_t n, uint8_t key[4])
{
	uint8_t head[14] = { (uint8_t)((last ? 0x80 : 0) | opcode) };
	size_t size = 2;

	if (n < 126) {
		head[1] = (uint8_t)n;
	} else if (n < 65536) {
		head[1] = 126;
		head[2] = (uint8_t)(n >> 8);
		head[3] = (uint8_t)n;
		size = 4;
	} else {
		head[1] = 127;
		for (unsigned i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)(n >> (56 - 8 * i));
		size = 10;
	}
	head[1] |= 0x80;
	for (unsigned i = 0; i < 4; i++)
		head[size++] = key[i] = (uint8_t)dice_next(dice);
	bytes_add(to, head, size);
	return bytes_room(to, n);
}

static void control_add(struct bytes *to, struct dice *dice, unsigned opcode, const uint8_t *bytes, size_t n)
{
	uint8_t key[4], *at = frame_add(to, dice, opcode, true, n, key);

	for (size_t i = 0; i < n; i++)
		at[i] = bytes[i] ^ key[i % 4];
}

static void close_add(struct bytes *to, struct dice *dice, unsigned code)
{
	const uint8_t bytes[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	control_add(to, dice, OP_CLOSE, bytes, 2);
}

static void frame_end(struct socket_script *s, const struct client *c)
{
	check(s->frame_count < FRAMES_MAX);
	s->frame_ends[s->frame_count++] = c->out.n;
}

static void ping_say(struct client *c, struct socket_script *s)
{
	const uint8_t number = (uint8_t)s->pings++;

	control_add(&c->out, gw_dice(c->gw), OP_PING, &number, 1);
	frame_end(s, c);
}

static void message_say(struct client *c, struct socket_script *s)
{
	struct dice *dice = gw_dice(c->gw);
	struct message_said *m = &s->messages[s->message_count];
	uint64_t at = 0, most;
	unsigned fragments = 0;

	*m = (struct message_said){
		.opcode = dice_chance(dice, 50) ? OP_TEXT : OP_BINARY, .id = s->ask->id * 16 + s->message_count,
		.bytes = dice_scaled(dice, 0, c->gw->body_bytes_most),
	};
	s->message_count++;
	most = dice_chance(dice, 40) ? m->bytes + 1 : dice_scaled(dice, 1, m->bytes + 1);
	for (bool last = false; !last; fragments++) {
		uint64_t n = dice_between(dice, fragments == 0 && dice_chance(dice, 90) ? 1 : 0, most);
		uint8_t key[4], *bytes;

		if (n > m->bytes - at || fragments == 5)
			n = m->bytes - at;
		last = at + n == m->bytes && (fragments == 5 || dice_chance(dice, 80));
		bytes = frame_add(&c->out, dice, fragments == 0 ? m->opcode : OP_CONTINUATION, last, n, key);
		for (uint64_t i = 0; i < n; i++)
			bytes[i] = message_byte(m, at + i) ^ key[i % 4];
		at += n;
		frame_end(s, c);
		if (dice_chance(dice, 10))
			ping_say(c, s);
	}
}

static void echo_say(struct client *c, struct socket_script *s)
{
	struct dice *dice = gw_dice(c->gw);
	unsigned count = (unsigned)dice_between(dice, 0, MESSAGES_MAX);

	for (unsigned i = 0; i < count && s->frame_count < FRAMES_MAX - 20; i++) {
		message_say(c, s);
		if (dice_chance(dice, 20))
			ping_say(c, s);
	}
	if (c->manner != MANNER_POLITE && dice_chance(dice, 30)) {
		/* Not masked; a reserved opcode; a Close of one byte. */
		static const uint8_t bad[][4] = { { 0x82, 0x01, 'x' }, { 0x83, 0x80 }, { 0x88, 0x01, 'x' } };

		s->bad_frame = true;
		bytes_add(&c->out, bad[dice_below(dice, array_count(bad))], 3);
		frame_end(s, c);
	}
	close_add(&c->out, dice, 1000);
	frame_end(s, c);
	s->close_said = true;
}

static void close_say(struct client *c, struct socket_script *s)
{
	close_add(&c->out, gw_dice(c->gw), 1000);
	frame_end(s, c);
	s->close_said = true;
}

static void live_say(struct client *c, struct socket_script *s)
{
	static const struct {
		const char *text;
		unsigned opcode;
		bool nonsense;
	} said[] = {
		{ "{\"type\":\"ack\",\"id\":\"0123\"}", OP_TEXT, false }, { "{\"type\":\"here\"}", OP_TEXT, false },
		{ "ping", OP_TEXT, true }, { "{\"type\":\"ack\"}", OP_TEXT, true }, { "x", OP_BINARY, true },
	};
	struct dice *dice = gw_dice(c->gw);

	/* The pong to the first shows that the socket is where pushes look for it. */
	if (dice_chance(dice, 80))
		ping_say(c, s);
	for (unsigned left = (unsigned)dice_below(dice, 6); left > 0; left--) {
		unsigned i = (unsigned)dice_below(dice, array_count(said));
		size_t n = strlen(said[i].text), cut = dice_chance(dice, 50) ? n : dice_below(dice, n);
		uint8_t key[4], *at = frame_add(&c->out, dice, said[i].opcode, cut == n, cut, key);

		for (size_t k = 0; k < cut; k++)
			at[k] = (uint8_t)said[i].text[k] ^ key[k % 4];
		frame_end(s, c);
		if (cut < n) {
			at = frame_add(&c->out, dice, OP_CONTINUATION, true, n - cut, key);
			for (size_t k = cut; k < n; k++)
				at[k - cut] = (uint8_t)said[i].text[k] ^ key[(k - cut) % 4];
			frame_end(s, c);
		}
		s->nonsense += said[i].nonsense;
	}
	s->pings_awaited = (unsigned)dice_below(dice, 4);
	if (s->pings_awaited == 0)
		close_say(c, s);
}

struct ask *socket_ask_make(struct client *c)
{
	struct gw *gw = c->gw;
	struct dice *dice = gw_dice(gw);
	struct ask *ask = calloc(1, sizeof *ask);
	struct socket_script *s = calloc(1, sizeof *s);

	check(ask && s && gw->ask_count < ASKS_MAX);
	gw->asks[gw->ask_count] = ask;
	ask->id = gw->ask_count++;
	ask->client = c;
	ask->method = "GET";
	ask->kind = dice_chance(dice, 50) || gw->silent_tunnels ? ASK_TUNNEL : ASK_ECHO;
	if (gw->lives) {
		ask->kind = ASK_LIVE;
		ask->site = (unsigned)dice_below(dice, SITES);
	}
	c->ask_count = 1;
	c->script = s;
	s->ask = ask;
	ask->begin = c->out.n;
	if (ask->kind == ASK_TUNNEL)
		bytes_say(&c->out, "GET /t/%u HTTP/1.1\r\n", ask->id);
	else if (ask->kind == ASK_LIVE)
		bytes_say(&c->out, "GET /live?patient=p%u HTTP/1.1\r\n", ask->site);
	else
		bytes_say(&c->out, "GET /echo HTTP/1.1\r\n");
	bytes_say(&c->out, "Host: sim.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	ask->head_end = ask->end = c->out.n;
	if (ask->kind == ASK_TUNNEL) {
		world_pattern(&gw->sim->world, tunnel_up_pattern(ask->id), 0, bytes_room(&c->out, tunnel_up_bytes(ask)),
		              tunnel_up_bytes(ask));
		s->ends_first = dice_chance(dice, 30);
	} else if (ask->kind == ASK_LIVE) {
		live_say(c, s);
	} else {
		echo_say(c, s);
	}
	return ask;
}

void socket_upgraded(struct client *c)
{
	c->script->upgraded = true;
}

size_t socket_sendable(const struct client *c)
{
	if (c->wont_send)
		return c->sent;
	return c->script->upgraded ? c->out.n : c->script->ask->end;
}

/* ---- what comes back: an echo -------------------------------------------------------------------------------------------------- */

/* Where the frame that is being sent ends; nothing can be put in before. */
static unsigned frame_now(const struct client *c, const struct socket_script *s)
{
	unsigned i = 0;

	while (i < s->frame_count && s->frame_ends[i] < c->sent)
		i++;
	return i;
}

static size_t between_frames(const struct client *c, const struct socket_script *s, unsigned *frame)
{
	*frame = frame_now(c, s);
	if (c->sent == s->ask->end)
		return c->sent;
	return *frame < s->frame_count ? s->frame_ends[*frame] : c->out.n;
}

static void pong_say(struct client *c, struct socket_script *s, const uint8_t *bytes, size_t n)
{
	struct bytes frame = { 0 };
	unsigned i;
	size_t at = between_frames(c, s, &i);

	control_add(&frame, gw_dice(c->gw), OP_PONG, bytes, n);
	bytes_room(&c->out, frame.n);
	memmove(c->out.at + at + frame.n, c->out.at + at, c->out.n - frame.n - at);
	memcpy(c->out.at + at, frame.at, frame.n);
	/* The pong counts with the frame before it; before the first, with the first. */
	for (; i < s->frame_count; i++)
		s->frame_ends[i] += frame.n;
	bytes_fini(&frame);
}

static void close_heard(struct client *c, struct socket_script *s, const uint8_t *bytes, size_t n)
{
	unsigned i;
	size_t at = between_frames(c, s, &i);

	s->close_heard = true;
	s->close_code = n >= 2 ? (unsigned)bytes[0] << 8 | bytes[1] : 1005;
	world_trace(c->actor.world, "client %u hears Close %u", c->index, s->close_code);
	/* What was not said yet is not said any more, and Close is answered with Close. */
	if (!s->close_said || at < c->out.n) {
		s->close_said = true;
		c->out.n = at;
		close_add(&c->out, gw_dice(c->gw), s->close_code);
		s->frame_count = i < s->frame_count ? i + 1 : i;
		s->frame_ends[s->frame_count++] = c->out.n;
	}
}

static void message_heard(struct client *c, struct socket_script *s, unsigned opcode, bool last, const uint8_t *bytes, uint64_t n)
{
	struct world *world = c->actor.world;
	const struct message_said *m = &s->messages[s->came_back];

	if (s->came_back == s->message_count)
		world_fail(world, "echo %u: more comes back than was said", s->ask->id);
	if (opcode != (s->in_message ? OP_CONTINUATION : m->opcode))
		world_fail(world, "echo %u: message %u comes back with opcode %u", s->ask->id, s->came_back, opcode);
	if (s->at + n > m->bytes)
		world_fail(world, "echo %u: message %u comes back longer", s->ask->id, s->came_back);
	for (uint64_t i = 0; i < n; i++) {
		if (bytes[i] != message_byte(m, s->at + i))
			world_fail(world, "echo %u: message %u comes back changed at %llu", s->ask->id, s->came_back,
			           (unsigned long long)(s->at + i));
	}
	s->at += n;
	s->in_message = !last;
	if (last && s->at != m->bytes)
		world_fail(world, "echo %u: message %u comes back with %llu of %llu bytes", s->ask->id, s->came_back,
		           (unsigned long long)s->at, (unsigned long long)m->bytes);
	if (last) {
		s->came_back++;
		s->at = 0;
	}
}

/* ---- what comes to a patient ---------------------------------------------------------------------------------------------------- */

static bool live_stays(const struct client *c)
{
	const struct socket_script *s = c->script;

	return s && s->ask->kind == ASK_LIVE && s->settled && !s->close_said && !s->close_heard && !c->done && !c->error && !c->end_seen;
}

void socket_push_begins(struct gw *gw, struct ask *push)
{
	for (unsigned i = 0; i < gw->client_count; i++)
		if (live_stays(&gw->clients[i]) && gw->clients[i].script->ask->site == push->site)
			push->awaited |= UINT64_C(1) << i;
}

/* Whoever was there from before the push to its answer has it, or it is on the way to him. */
void socket_push_answered(struct gw *gw, const struct ask *push)
{
	for (unsigned i = 0; i < gw->client_count; i++)
		if ((push->awaited >> i & 1) && live_stays(&gw->clients[i]))
			gw->clients[i].script->must_hear[push->id] = 1;
}

static void live_heard(struct client *c, struct socket_script *s, const uint8_t *bytes, uint64_t n)
{
	struct world *world = c->actor.world;
	char text[120] = "";
	unsigned push, patient;

	memcpy(text, bytes, n < sizeof text - 1 ? (size_t)n : sizeof text - 1);
	if (strncmp(text, "{\"type\":\"error\",", 16) == 0) {
		if (s->nonsense-- == 0)
			world_fail(world, "live %u: an error more than it said nonsense", s->ask->id);
		return;
	}
	if (strncmp(text, "{\"type\":\"reminder\",\"idle_s\":", 28) == 0)
		return;
	if (sscanf(text, "{\"type\":\"notification\",\"id\":\"%*32[0-9a-f]\",\"body\":[%u,%u,\"", &push, &patient) != 2 ||
	    n < 3 || memcmp(bytes + n - 3, "\"]}", 3) != 0)
		world_fail(world, "live %u: what is this? %s", s->ask->id, text);
	if (push >= c->gw->ask_count || c->gw->asks[push]->kind != ASK_PUSH || !c->gw->asks[push]->sent)
		world_fail(world, "live %u: push %u was not sent", s->ask->id, push);
	if (patient != s->ask->site || c->gw->asks[push]->site != patient)
		world_fail(world, "live %u: push %u is for another patient", s->ask->id, push);
	if (s->heard[push])
		world_fail(world, "live %u: push %u comes twice", s->ask->id, push);
	s->heard[push] = 1;
	c->gw->asks[push]->heard++;
}

static void live_pinged(struct client *c, struct socket_script *s)
{
	if (s->ask->kind == ASK_LIVE && s->pings_awaited > 0 && --s->pings_awaited == 0 && !s->close_said)
		close_say(c, s);
}

static void live_check(struct client *c, const struct socket_script *s)
{
	struct gw *gw = c->gw;
	struct world *world = &gw->sim->world;

	if (c->error)
		world_fail(world, "live %u was reset, and its client was polite", s->ask->id);
	if (!s->close_heard)
		world_fail(world, "live %u ended without Close", s->ask->id);
	if (s->close_code == 1013)
		return; /* slow */
	if (s->close_code != 1000 && !(gw->drains && s->close_code == 1001))
		world_fail(world, "live %u was closed with %u", s->ask->id, s->close_code);
	for (unsigned i = 0; s->close_code == 1000 && i < ASKS_MAX; i++)
		if (s->must_hear[i] && !s->heard[i])
			world_fail(world, "live %u was there, and push %u did not come", s->ask->id, i);
}

/* False: the frame is not whole yet. */
static bool frame_heard(struct client *c, struct socket_script *s)
{
	const uint8_t *at = c->in.at + c->in_at;
	size_t have = c->in.n - c->in_at, head = 2;
	struct world *world = c->actor.world;
	unsigned opcode;
	uint64_t n;

	if (have < 2)
		return false;
	opcode = at[0] & 15;
	n = at[1] & 127;
	if ((at[0] & 0x70) || (at[1] & 0x80))
		world_fail(world, "echo %u: a frame with reserved bits or a mask comes back", s->ask->id);
	if (n >= 126) {
		unsigned wide = n == 126 ? 2 : 8;

		head += wide;
		if (have < head)
			return false;
		n = 0;
		for (unsigned i = 0; i < wide; i++)
			n = n << 8 | at[2 + i];
	}
	if (have - head < n)
		return false;
	c->in_at += head + n;
	at += head;
	if (s->close_heard)
		world_fail(world, "echo %u: something comes behind Close", s->ask->id);
	s->settled = true;
	if (opcode == OP_CLOSE) {
		close_heard(c, s, at, n);
	} else if (opcode == OP_PING) {
		pong_say(c, s, at, n);
		live_pinged(c, s);
	} else if (opcode == OP_PONG) {
		if (n != 1 || at[0] < s->ping_seen || at[0] >= s->pings)
			world_fail(world, "echo %u: a pong that answers nothing, or an older ping than the last", s->ask->id);
		s->ping_seen = at[0] + 1u;
	} else if (s->ask->kind == ASK_LIVE) {
		live_heard(c, s, at, n);
	} else {
		message_heard(c, s, opcode, c->in.at[c->in_at - n - head] & 0x80, at, n);
	}
	return true;
}

/* ---- what comes back: a tunnel ----------------------------------------------------------------------------------------------------- */

/* Are these the first bytes of a Close that the gateway puts behind what the server said? */
static bool is_told(const uint8_t *told, size_t n, bool whole)
{
	const struct reason *const reasons[] = { &GATEWAY_DRAINING, &WEBSOCKET_IDLE };

	for (unsigned i = 0; i < array_count(reasons); i++) {
		const size_t size = strlen(reasons[i]->sentence);
		uint8_t close[4 + 125] = { 0x80 | OP_CLOSE, (uint8_t)(2 + size), 1001 >> 8, 1001 & 0xff };

		memcpy(close + 4, reasons[i]->sentence, size);
		if (n <= 4 + size && memcmp(told, close, n) == 0 && (!whole || n == 4 + size))
			return true;
	}
	return false;
}

static void tunnel_byte_heard(struct world *world, struct socket_script *s, uint8_t byte)
{
	const uint32_t pattern = tunnel_down_pattern(s->ask->id);

	if (s->told_n == 0 && s->down < tunnel_down_bytes(s->ask) && world_pattern_is(world, pattern, s->down, &byte, 1)) {
		s->down++;
		return;
	}
	/* Of a Close the first bytes may have been what the server would have said next. */
	for (unsigned back = 0; s->told_n == 0 && back < 4 && back <= s->down; back++) {
		uint8_t told[4];

		world_pattern(world, pattern, s->down - back, told, back);
		told[back] = byte;
		if (is_told(told, back + 1, false)) {
			s->down -= back;
			memcpy(s->told, told, back);
			s->told_n = back;
			break;
		}
	}
	check(s->told_n < sizeof s->told);
	s->told[s->told_n++] = byte;
	if (!is_told(s->told, s->told_n, false))
		world_fail(world, "tunnel %u: the client gets wrong bytes at %llu", s->ask->id, (unsigned long long)s->down);
}

static void tunnel_heard(struct client *c, struct socket_script *s)
{
	struct world *world = c->actor.world;
	size_t n = c->in.n - c->in_at;

	if (n > 0) {
		if (s->told_n == 0 && s->down + n <= tunnel_down_bytes(s->ask) &&
		    world_pattern_is(world, tunnel_down_pattern(s->ask->id), s->down, c->in.at + c->in_at, n))
			s->down += n;
		else
			for (size_t i = 0; i < n; i++)
				tunnel_byte_heard(world, s, c->in.at[c->in_at + i]);
		c->in_at = c->in.n;
	}
	if (s->ends_first && c->sent == c->out.n && !c->fin_sent) {
		client_shutdown(c);
	}
}

void socket_received(struct client *c)
{
	struct socket_script *s = c->script;

	if (!s->upgraded)
		return;
	if (s->ask->kind == ASK_TUNNEL) {
		tunnel_heard(c, s);
		return;
	}
	while (frame_heard(c, s))
		;
}

/* A server ends its WebSocket first, so that nobody's port waits: the client awaits that end. */
bool socket_over(const struct client *c)
{
	return !c->script->upgraded;
}

void socket_check(struct client *c)
{
	struct gw *gw = c->gw;
	struct world *world = &gw->sim->world;
	const struct socket_script *s = c->script;

	if (!s->upgraded) {
		if (gw->strict && !gw->drains)
			world_fail(world, "client %u is polite and was not upgraded", c->index);
		return;
	}
	if (s->ask->kind == ASK_TUNNEL) {
		if (s->told_n > 0 && !c->error && !is_told(s->told, s->told_n, true))
			world_fail(world, "tunnel %u: the client is told half a Close", s->ask->id);
		/* A tunnel that we end is ended in order; what was cut is told by the want of a Close. */
		if (!c->error && s->down < tunnel_down_bytes(s->ask) && s->told_n == 0 && !gw->drain_begun && !gw->hasty)
			world_fail(world, "tunnel %u was cut after %llu of %llu bytes, and the client sees an end", s->ask->id,
			           (unsigned long long)s->down, (unsigned long long)tunnel_down_bytes(s->ask));
		if (gw->strict && c->error)
			world_fail(world, "tunnel %u was reset, and nobody was at fault", s->ask->id);
		return;
	}
	if (s->ask->kind == ASK_LIVE) {
		live_check(c, s);
		return;
	}
	if (c->error)
		world_fail(world, "echo %u was reset, and its client was polite", s->ask->id);
	if (!s->close_heard)
		world_fail(world, "echo %u ended without Close", s->ask->id);
	if (s->close_code != 1000 && !(gw->drains && s->close_code == 1001))
		world_fail(world, "echo %u was closed with %u", s->ask->id, s->close_code);
	if (s->close_code == 1000 && s->came_back < s->message_count)
		world_fail(world, "echo %u: %u of %u messages came back", s->ask->id, s->came_back, s->message_count);
}

void socket_fini(struct client *c)
{
	free(c->script);
	c->script = NULL;
}
