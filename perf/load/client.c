/* perf/load/client.c — see client.h. client_step is where a client is led from step to step. */
#include "perf/load/client.h"

#include "perf/fatal.h"
#include "perf/load/rude.h"

#include <string.h>
#include <strings.h>

/* The newest ticket is the one that is offered next time, as browsers do; returning 1 keeps the reference. */
int client_ticket_came(SSL *tls, SSL_SESSION *session)
{
	struct client *c = SSL_get_app_data(tls);

	c->work->tickets += SSL_SESSION_has_ticket(session);  /* TLS 1.2 may give a session id alone */
	if (!c->work->resume)
		return 0;
	SSL_SESSION_free(c->ticket);
	c->ticket = session;
	return 1;
}

/* ---- how a unit ends ---- */

void client_hang_up(struct client *c, bool politely)
{
	if (c->line && politely)
		line_leave(c->line, LINE_CLOSES);
	else if (c->line)
		line_close(c->line);
	c->line = NULL;
	c->upgraded = c->upgrading = false;
	c->head_bytes = 0;
}

static void unit_ends(struct client *c, bool well)
{
	c->step = CLIENT_AT_REST;
	c->ended_well = well;
	c->work->units += well;
	c->work->done(c);
}

static void unit_fails(struct client *c, const char *where, const char *why)
{
	if (c->work->errors++ == 0)
		snprintf(c->work->first_error, sizeof c->work->first_error, "%s: %s", where, why ? why : "the connection ended");
	client_hang_up(c, false);
	unit_ends(c, false);
}

void client_left(struct client *c)
{
	client_hang_up(c, false);
	unit_ends(c, true);
}

/* False, always: this step goes no further now. That may be because the line is over. */
static bool line_waits(struct client *c, const char *where)
{
	if (c->line->over)
		unit_fails(c, where, c->line->why);
	return false;
}

/* ---- answers ---- */

/* Some bytes, and hardly anything before them: a line that does not take them has no server any more. */
static bool pong(struct client *c, const char *payload, size_t n)
{
	unsigned char frame[6 + 125] = { 0x8a, (unsigned char)(0x80 | n) };    /* masked, by four zeros */

	if (n > 125)
		FATAL("a ping of %zu bytes", n);
	memcpy(frame + 6, payload, n);
	if (line_say(c->line, frame, 6 + n) != 6 + n)
		return false;
	c->work->pings++;
	return true;
}

static size_t head_length(const char *head)
{
	const char *field = strcasestr(head, "\r\ncontent-length:");

	if (!field)
		FATAL("an answer without Content-Length:\n%s", head);
	return strtoul(field + 17, NULL, 10);
}

/* The first n bytes of `bytes` belong to an answer that is not whole yet: how many of them are used. */
static size_t answer_head(struct client *c, const char *bytes, size_t n)
{
	size_t before = c->head_bytes, taken = sizeof c->head - 1 - before < n ? sizeof c->head - 1 - before : n;
	char *end;

	memcpy(c->head + before, bytes, taken);
	c->head[before + taken] = 0;
	end = strstr(c->head, "\r\n\r\n");
	if (!end) {
		if (taken < n)
			FATAL("an answer's head of more than %u bytes", CLIENT_HEAD_BYTES_MAX);
		c->head_bytes += taken;
		return taken;
	}
	end[2] = 0;
	if (strncmp(c->head, "HTTP/1.1 ", 9) != 0 || strtoul(c->head + 9, NULL, 10) != (c->upgrading ? 101 : c->work->status))
		FATAL("not the expected answer:\n%s", c->head);
	c->left = c->upgrading ? 0 : head_length(c->head);
	c->head_bytes = 0;
	return (size_t)(end + 4 - c->head) - before;
}

/* Pings of a server between its echoes are answered: how many bytes of them there are. One comes whole, or not at all yet. */
static size_t pings_take(struct client *c, const char *bytes, size_t n)
{
	size_t at = 0;

	while (n - at >= 2 && (unsigned char)bytes[at] == 0x89 && n - at >= 2u + (unsigned char)bytes[at + 1]) {
		size_t size = (unsigned char)bytes[at + 1];

		if (!pong(c, bytes + at + 2, size))
			break;
		at += 2 + size;
	}
	return at;
}

/* True: the answer is whole. It is a line; of a string, which begins with its length, a second one. */
static bool redis_answer_take(struct client *c, const char *bytes, size_t n)
{
	size_t whole;
	char *end;

	if (n >= sizeof c->head - c->head_bytes)
		FATAL("an answer of more than %u bytes", CLIENT_HEAD_BYTES_MAX);
	memcpy(c->head + c->head_bytes, bytes, n);
	c->head_bytes += n;
	c->head[c->head_bytes] = 0;
	end = strstr(c->head, "\r\n");
	if (!end)
		return false;
	if (c->head[0] != ':' && c->head[0] != '$')
		FATAL("not the expected answer: %s", c->head);
	whole = (size_t)(end + 2 - c->head);
	if (c->head[0] == '$' && c->head[1] != '-')            /* $-1: there is none */
		whole += strtoul(c->head + 1, NULL, 10) + 2;
	if (c->head_bytes > whole)
		FATAL("%zu bytes more than the answer has", c->head_bytes - whole);
	return c->head_bytes == whole;
}

/* True: the answer is whole. */
static bool answer_take(struct client *c, const char *bytes, size_t n)
{
	bool in_head = !c->upgraded && c->left == 0;

	if (c->work->kind == WORK_HELLOS)
		return true;
	if (c->work->kind == WORK_REDIS)
		return redis_answer_take(c, bytes, n);
	if (c->upgraded && c->left == c->work->echo_bytes) {
		size_t pings = pings_take(c, bytes, n);

		bytes += pings;
		n -= pings;
	}
	while (n > 0) {
		size_t used;

		if (in_head) {
			used = answer_head(c, bytes, n);
			in_head = c->head_bytes > 0;
			if (in_head)
				return false;
		} else {
			used = c->left < n ? c->left : n;
			c->left -= used;
		}
		bytes += used;
		n -= used;
		if (!in_head && c->left == 0) {
			if (n > 0 && (!c->upgraded || pings_take(c, bytes, n) != n))
				FATAL("%zu bytes more than the answer has", n);
			return true;
		}
	}
	return false;
}

/* ---- steps: true: go on with the next one now ---- */

/* Of the first: what the two agreed on. TLS 1.2 with a ticket exchanges no keys. */
static void note_key_exchange(struct work *w, SSL *tls)
{
	EVP_PKEY *key;

	if (SSL_get_peer_tmp_key(tls, &key) == 1) {
		w->key_exchange = EVP_PKEY_is_a(key, "X25519") ? "X25519" : EVP_PKEY_is_a(key, "EC") ? "P-256" : "?";
		EVP_PKEY_free(key);
	}
}

static bool connected(struct client *c)
{
	if (!c->line->connected) {
		if (c->line->ended)
			unit_fails(c, "connection", line_failure(c->line));
		return false;
	}
	if (rude_leaves_at(c, LEAVES_CONNECTED)) {
		rude_leaves(c);
		return false;
	}
	c->step = c->line->tls ? CLIENT_SHAKES_HANDS : CLIENT_ASKS;
	return true;
}

static bool shake_hands(struct client *c)
{
	SSL *tls = c->line->tls;

	if (!line_shake_hands(c->line))
		return line_waits(c, "handshake");
	SSL_session_reused(tls) ? c->work->resumed++ : c->work->full++;
	if (!c->work->key_exchange)
		note_key_exchange(c->work, tls);
	if (rude_leaves_at(c, LEAVES_SHAKEN)) {
		rude_leaves(c);
		return false;
	}
	c->step = CLIENT_ASKS;
	return true;
}

static bool ask(struct client *c)
{
	struct ask ask = c->upgrading ? c->work->upgrade : c->ask;

	if (rude_leaves_at(c, LEAVES_ASKING))
		ask.size /= 2;
	c->asked += line_say(c->line, ask.bytes + c->asked, ask.size - c->asked);
	if (c->asked < ask.size)
		return line_waits(c, "request");
	if (rude_leaves_at(c, LEAVES_ASKING) || rude_leaves_at(c, LEAVES_ASKED)) {
		rude_leaves(c);
		return false;
	}
	c->left = c->upgraded ? c->work->echo_bytes : 0;
	c->step = CLIENT_READS;
	/* Mostly there is no answer yet, and its arrival will be told. */
	return line_has_news(c->line);
}

/* 101: the socket is a WebSocket from now on, and the unit's message is asked next. */
static bool upgraded(struct client *c)
{
	c->upgrading = false;
	c->upgraded = true;
	c->asked = 0;
	if (c->manner) {
		rude_leaves(c);
		return false;
	}
	if (c->work->kind == WORK_SOCKETS) {
		unit_ends(c, true);
		c->step = CLIENT_LISTENS;
		return line_has_news(c->line);
	}
	c->step = CLIENT_ASKS;
	return true;
}

static bool read_answer(struct client *c)
{
	const char *bytes;
	size_t n;

	do {
		n = line_take(c->line, &bytes);
		if (n == 0)
			return line_waits(c, c->work->kind == WORK_HELLOS ? "hello" : "answer");
		if (c->work->kind == WORK_HELLOS && bytes[0] != 22) {
			/* 22: a handshake record, the server's part. An alert is a refusal, and a refusal is no unit. */
			unit_fails(c, "hello", "an alert");
			return false;
		}
	} while (!answer_take(c, bytes, n));
	if (c->upgrading)
		return upgraded(c);
	switch (c->work->kind) {
	case WORK_CONNECTIONS:
	case WORK_CHURN:
		client_hang_up(c, true);
		break;
	case WORK_HELLOS:
		client_hang_up(c, false);
		break;
	case WORK_IDLE:
		/* What is measured is the server's memory: our own half need not exist, only the connection. */
		line_deafen(c->line);
		break;
	default:
		break;
	}
	unit_ends(c, true);
	return false;
}

/* The frames of a server: a ping is answered, a message is told, a Close ends it. False: the connection is gone. */
static bool frame_take(struct client *c, unsigned opcode, const char *payload, size_t n)
{
	switch (opcode) {
	case 1:
	case 2:
		c->work->heard(c);
		return true;
	case 8:
		return false;
	case 9:
		return pong(c, payload, n);
	default:
		return opcode == 10;
	}
}

/* All whole frames in `head`. Payloads are kept small by whoever pushes. */
static bool frames_take(struct client *c)
{
	const unsigned char *bytes = (const unsigned char *)c->head;
	size_t at = 0;

	for (;;) {
		size_t header = 2, n;

		if (c->head_bytes - at < 2)
			break;
		n = bytes[at + 1];
		if (n == 126) {
			header = 4;
			if (c->head_bytes - at < 4)
				break;
			n = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
		}
		if (header + n > sizeof c->head)
			FATAL("a frame of more than %u bytes", CLIENT_HEAD_BYTES_MAX);
		if (c->head_bytes - at < header + n)
			break;
		if (!frame_take(c, bytes[at] & 15, c->head + at + header, n))
			return false;
		at += header + n;
	}
	memmove(c->head, c->head + at, c->head_bytes - at);
	c->head_bytes -= at;
	return true;
}

/* All that came is made into frames. False: the connection is gone. */
static bool frames_feed(struct client *c, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t room = sizeof c->head - c->head_bytes, part = n < room ? n : room;

		memcpy(c->head + c->head_bytes, bytes, part);
		c->head_bytes += part;
		bytes += part;
		n -= part;
		if (!frames_take(c))
			return false;
	}
	return true;
}

static void listen_on(struct client *c)
{
	const char *bytes;
	bool goes_on = true;
	size_t n;

	while (goes_on && (n = line_take(c->line, &bytes)) > 0)
		goes_on = frames_feed(c, bytes, n);
	if (goes_on && !c->line->over)
		return;
	c->work->ended_by_server++;
	client_hang_up(c, false);
	c->step = CLIENT_AT_REST;
}

/* Nobody asks: there may be tickets, which OpenSSL keeps to itself, or pings. A kept connection that is ended meanwhile is
 * opened again by the next unit. */
static void rest(struct client *c)
{
	const char *bytes;
	size_t n;

	if (c->line->deaf)
		return;
	while ((n = line_take(c->line, &bytes)) > 0) {
		if (!c->upgraded || pings_take(c, bytes, n) != n)
			FATAL("%zu bytes that nobody has asked for", n);
	}
	if (c->line->over)
		client_hang_up(c, false);
}

static void client_step(void *owner)
{
	struct client *c = owner;
	bool go_on = true;

	while (go_on) {
		switch (c->step) {
		case CLIENT_CONNECTS: go_on = connected(c); break;
		case CLIENT_SHAKES_HANDS: go_on = shake_hands(c); break;
		case CLIENT_ASKS: go_on = ask(c); break;
		case CLIENT_READS: go_on = read_answer(c); break;
		case CLIENT_LISTENS: listen_on(c); return;
		case CLIENT_AT_REST: rest(c); return;
		}
	}
}

/* ---- a client's life ---- */

void client_init(struct client *c, struct work *work)
{
	*c = (struct client){ .work = work };
}

void client_fini(struct client *c)
{
	client_hang_up(c, false);
	SSL_SESSION_free(c->ticket);
	c->ticket = NULL;
}

bool client_connected(const struct client *c)
{
	return c->line && c->line->connected && !c->line->ended;
}

static void client_connect(struct client *c)
{
	bool secret = c->work->lines->tls && c->work->kind != WORK_HELLOS && !rude_is_plain(c);

	c->line = line_open(c->work->lines, secret, client_step, c);
	rude_connects(c);
	if (secret && c->ticket)
		SSL_set_session(c->line->tls, c->ticket);
	c->upgrading = c->work->upgrade.size > 0;
	c->step = CLIENT_CONNECTS;
}

void client_start(struct client *c)
{
	c->left = c->head_bytes = c->asked = 0;
	c->ask = c->work->ask_count ? c->work->asks[c->work->ask_next++ % c->work->ask_count] : c->work->ask;
	if (c->work->kind == WORK_RUDE)
		rude_starts(c);
	/* What came with the last answer, and was not it: above all the connection's end. */
	if (c->line && line_has_news(c->line))
		rest(c);
	if (!c->line) {
		client_connect(c);       /* the rest when it stands */
		return;
	}
	c->step = CLIENT_ASKS;
	client_step(c);
	if (c->line)
		line_flush(c->line);
}
