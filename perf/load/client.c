/* perf/load/client.c — see client.h. */
#include "perf/load/client.h"

#include <openssl/err.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FATAL(...) (fprintf(stderr, "perf/load: " __VA_ARGS__), fputc('\n', stderr), exit(1))

/* ---- the manners of rude clients ---- */

enum leaves_at { LEAVES_HELLO, LEAVES_SHAKEN, LEAVES_ASKING, LEAVES_ASKED, LEAVES_UPGRADED };
enum leaves_by { LEAVES_BY_RESET, LEAVES_BY_FIN, LEAVES_NOT };

/* What rude clients do, one after the other. Frames are masked by four zeros. */
struct manner {
	const char *sentence;
	enum leaves_at at;
	enum leaves_by by;
	const char *last;                /* what is said last, behind the upgrade; NULL: as much as the socket takes */
	size_t last_bytes;
};

#define LAST(text) text, sizeof text - 1
#define ZEROS "\0\0\0\0"
#define FLOOD_BYTES 4000u
#define FLOOD_FRAMES 200u

static const struct manner MANNERS[] = {
	{ "half a ClientHello, reset", LEAVES_HELLO, LEAVES_BY_RESET, LAST("") },
	{ "upgraded, a message, reset", LEAVES_UPGRADED, LEAVES_BY_RESET, LAST("\x81\x85" ZEROS "hello") },
	{ "upgraded, a message, FIN", LEAVES_UPGRADED, LEAVES_BY_FIN, LAST("\x81\x85" ZEROS "hello") },
	{ "upgraded, a message, and never heard of again", LEAVES_UPGRADED, LEAVES_NOT, LAST("\x81\x85" ZEROS "hello") },
	{ "a handshake, reset", LEAVES_SHAKEN, LEAVES_BY_RESET, LAST("") },
	{ "half a frame, reset", LEAVES_UPGRADED, LEAVES_BY_RESET, LAST("\x81\x85" ZEROS "he") },
	{ "half a frame's header, FIN", LEAVES_UPGRADED, LEAVES_BY_FIN, LAST("\x81\x85\0") },
	{ "half a message, FIN", LEAVES_UPGRADED, LEAVES_BY_FIN, LAST("\x01\x83" ZEROS "hel") },
	{ "half a message, reset", LEAVES_UPGRADED, LEAVES_BY_RESET, LAST("\x01\x83" ZEROS "hel\x00\x81" ZEROS "l") },
	{ "half an upgrade, FIN", LEAVES_ASKING, LEAVES_BY_FIN, LAST("") },
	{ "an upgrade whose answer nobody waits for, reset", LEAVES_ASKED, LEAVES_BY_RESET, LAST("") },
	{ "Close, reset", LEAVES_UPGRADED, LEAVES_BY_RESET, LAST("\x88\x82" ZEROS "\x03\xe8") },
	{ "Close, and never heard of again", LEAVES_UPGRADED, LEAVES_NOT, LAST("\x88\x82" ZEROS "\x03\xe8") },
	{ "half a frame, and never heard of again", LEAVES_UPGRADED, LEAVES_NOT, LAST("\x81\x85" ZEROS "he") },
	{ "messages whose echoes are never read", LEAVES_UPGRADED, LEAVES_NOT, NULL, 0 },
};

/* ---- TLS ---- */

/* The newest ticket is the one that is offered next time, as browsers do; returning 1 keeps the reference. */
static int ticket_came(SSL *tls, SSL_SESSION *session)
{
	struct client *c = SSL_get_app_data(tls);

	c->work->tickets += SSL_SESSION_has_ticket(session);  /* TLS 1.2 may give a session id alone */
	if (!c->work->resume)
		return 0;
	SSL_SESSION_free(c->ticket);
	c->ticket = session;
	return 1;
}

SSL_CTX *client_tls_new(int version, const char *groups, bool tickets)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	/* All servers and all clients speak the same, or their figures are not about the servers. */
	if (!tls || !SSL_CTX_set_min_proto_version(tls, version) || !SSL_CTX_set_max_proto_version(tls, version) ||
		!SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") ||
		!SSL_CTX_set_cipher_list(tls, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") ||
		!SSL_CTX_set1_groups_list(tls, groups))
		FATAL("OpenSSL refuses the version, the suites or the groups");
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);   /* the chain; the server's signature is checked all the same */
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(tls, ticket_came);
	if (!tickets)
		SSL_CTX_set_options(tls, SSL_OP_NO_TICKET);
	return tls;
}

char *client_hello_new(SSL_CTX *context, size_t *size)
{
	SSL *tls = SSL_new(context);
	BIO *out = BIO_new(BIO_s_mem());
	char *bytes, *hello;
	long n;

	SSL_set_bio(tls, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(tls);
	SSL_set_tlsext_host_name(tls, "localhost");
	SSL_do_handshake(tls);
	n = BIO_get_mem_data(out, &bytes);
	if (n <= 0)
		FATAL("OpenSSL makes no ClientHello");
	hello = memcpy(malloc((size_t)n), bytes, (size_t)n);
	*size = (size_t)n;
	SSL_free(tls);
	return hello;
}

/* ---- a connection ---- */

static void client_connect(struct client *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(c->work->port) };
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		FATAL("no socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (c->manner && !c->manner->last)       /* a small window, so that echoes nobody reads are felt early */
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
		FATAL("cannot connect to port %u: %s", c->work->port, strerror(errno));
	if (epoll_ctl(c->work->epoll, EPOLL_CTL_ADD, c->fd,
		    &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c }) != 0)
		FATAL("epoll: %s", strerror(errno));
	if (c->work->kind == WORK_HELLOS || !c->work->tls)
		return;
	c->tls = SSL_new(c->work->tls);
	SSL_set_app_data(c->tls, c);
	SSL_set_fd(c->tls, c->fd);
	SSL_set_connect_state(c->tls);
	SSL_set_tlsext_host_name(c->tls, "localhost");
	if (c->ticket)
		SSL_set_session(c->tls, c->ticket);
}

void client_hang_up(struct client *c, bool politely)
{
	if (c->tls) {
		/* Without a goodbye OpenSSL takes the session for damaged, and never offers it again. */
		if (!politely)
			SSL_set_quiet_shutdown(c->tls, 1);
		SSL_shutdown(c->tls);
		SSL_free(c->tls);
		ERR_clear_error();
	}
	if (c->fd >= 0)
		close(c->fd);
	c->tls = NULL;
	c->fd = -1;
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

static int line_read(struct client *c, void *bytes, size_t n)
{
	return c->tls ? SSL_read(c->tls, bytes, (int)n) : (int)recv(c->fd, bytes, n, 0);
}

static int line_write(struct client *c, const void *bytes, size_t n)
{
	return c->tls ? SSL_write(c->tls, bytes, (int)n) : (int)send(c->fd, bytes, n, MSG_NOSIGNAL);
}

/* True: it is only that the socket has, or takes, no more now. */
static bool line_waits(struct client *c, int n, const char *where)
{
	int error;

	if (!c->tls) {
		if (n < 0 && errno == EAGAIN)
			return true;
		unit_fails(c, where, n < 0 ? strerror(errno) : NULL);
		return false;
	}
	error = SSL_get_error(c->tls, n);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return true;
	unit_fails(c, where,
		error == SSL_ERROR_SSL             ? ERR_reason_error_string(ERR_peek_error())
		: error == SSL_ERROR_SYSCALL && errno ? strerror(errno)
						       : NULL);
	return false;
}

/* Some bytes, and hardly anything before them: a socket that does not take them has no server any more. */
static bool pong(struct client *c, const char *payload, size_t n)
{
	unsigned char frame[6 + 125] = { 0x8a, (unsigned char)(0x80 | n) };    /* masked, by four zeros */

	if (n > 125)
		FATAL("a ping of %zu bytes", n);
	memcpy(frame + 6, payload, n);
	if (line_write(c, frame, 6 + n) != (int)(6 + n))
		return false;
	c->work->pings++;
	return true;
}

/* ---- answers ---- */

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
			c->work->body_bytes += used;
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

/* ---- leaving ---- */

/* Into the socket as much as it takes. */
static void rude_floods(struct client *c)
{
	char *frame = c->work->scratch;

	memset(frame, 'x', 8 + FLOOD_BYTES);
	memcpy(frame, "\x81\xfe\0\0" ZEROS, 8);
	frame[2] = (char)(FLOOD_BYTES >> 8);
	frame[3] = (char)(FLOOD_BYTES & 255);
	for (unsigned i = 0; i < FLOOD_FRAMES; i++) {
		if (line_write(c, frame, 8 + FLOOD_BYTES) != (int)(8 + FLOOD_BYTES))
			return;
	}
}

/* What is held is not looked at any more: a client who has vanished. The oldest makes room for the next. */
static void rude_holds(struct client *c)
{
	int *place = &c->work->held[c->work->held_count++ % CLIENT_HELD_MAX];

	if (*place >= 0)
		close(*place);
	*place = c->fd;
	epoll_ctl(c->work->epoll, EPOLL_CTL_DEL, c->fd, NULL);
}

static void rude_leaves(struct client *c)
{
	const struct manner *manner = c->manner;

	if (!manner->last)
		rude_floods(c);
	else if (manner->last_bytes > 0)
		line_write(c, manner->last, manner->last_bytes);
	if (manner->by == LEAVES_BY_RESET)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
	/* Below TLS: no close_notify, as when a telephone loses its network. */
	if (c->tls) {
		SSL_set_quiet_shutdown(c->tls, 1);
		SSL_free(c->tls);
		ERR_clear_error();
		c->tls = NULL;
	}
	if (manner->by == LEAVES_NOT) {
		rude_holds(c);
		c->fd = -1;
	}
	client_hang_up(c, false);
	unit_ends(c, true);
}

static void rude_hello(struct client *c)
{
	send(c->fd, c->work->hello, c->work->hello_bytes / 2, MSG_NOSIGNAL);
	if (c->tls)
		SSL_free(c->tls);
	c->tls = NULL;
	rude_leaves(c);
}

/* ---- steps: true: go on with the next one now ---- */

/* Of the first: what the two agreed on. TLS 1.2 with a ticket exchanges no keys. */
static void note_key_exchange(struct client *c)
{
	EVP_PKEY *key;

	if (SSL_get_peer_tmp_key(c->tls, &key) == 1) {
		c->work->key_exchange = EVP_PKEY_is_a(key, "X25519") ? "X25519" : EVP_PKEY_is_a(key, "EC") ? "P-256" : "?";
		EVP_PKEY_free(key);
	}
}

/* Where OpenSSL does not wait for the connection, we do. */
static bool connected(struct client *c, uint32_t events)
{
	if (!(events & EPOLLOUT))
		return false;
	if (c->manner && c->manner->at == LEAVES_HELLO) {
		rude_hello(c);
		return false;
	}
	if (c->manner && c->manner->at == LEAVES_SHAKEN && !c->tls) {
		rude_leaves(c);
		return false;
	}
	c->step = c->tls ? CLIENT_SHAKES_HANDS : CLIENT_ASKS;
	return true;
}

static bool shake_hands(struct client *c)
{
	int n = SSL_do_handshake(c->tls);

	if (n != 1) {
		line_waits(c, n, "handshake");
		return false;
	}
	SSL_session_reused(c->tls) ? c->work->resumed++ : c->work->full++;
	if (!c->work->key_exchange)
		note_key_exchange(c);
	if (c->manner && c->manner->at == LEAVES_SHAKEN) {
		rude_leaves(c);
		return false;
	}
	c->step = CLIENT_ASKS;
	return true;
}

static bool ask(struct client *c)
{
	const char *bytes = c->upgrading ? c->work->upgrade : c->ask.bytes;
	size_t size = c->upgrading ? c->work->upgrade_bytes : c->ask.size;

	if (c->manner && c->manner->at == LEAVES_ASKING)
		size = size / 2;
	while (c->asked < size) {
		int n = line_write(c, bytes + c->asked, size - c->asked);

		if (n <= 0) {
			line_waits(c, n, "request");
			return false;
		}
		c->asked += (size_t)n;
	}
	if (c->manner && (c->manner->at == LEAVES_ASKING || c->manner->at == LEAVES_ASKED)) {
		rude_leaves(c);
		return false;
	}
	c->left = c->upgraded ? c->work->echo_bytes : 0;
	c->step = CLIENT_READS;
	/* The answer cannot be there already, and its arrival will be told: a read now would be one for nothing. */
	return false;
}

static bool read_answer(struct client *c)
{
	for (;;) {
		int n = line_read(c, c->work->scratch, CLIENT_READ_BYTES);

		if (n <= 0) {
			line_waits(c, n, "answer");
			return false;
		}
		if (!answer_take(c, c->work->scratch, (size_t)n))
			continue;
		if (c->upgrading) {
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
				return true;
			}
			c->step = CLIENT_ASKS;
			return true;
		}
		if (c->work->kind == WORK_CONNECTIONS || c->work->kind == WORK_CHURN)
			client_hang_up(c, true);
		if (c->work->kind == WORK_IDLE) {
			/* What is measured is the server's memory: our own half need not exist, only the connection. */
			SSL_set_quiet_shutdown(c->tls, 1);
			SSL_free(c->tls);
			c->tls = NULL;
		}
		unit_ends(c, true);
		return false;
	}
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

static void listen_on(struct client *c)
{
	for (;;) {
		int n = line_read(c, c->head + c->head_bytes, sizeof c->head - c->head_bytes);

		if (n <= 0 && (c->tls ? SSL_get_error(c->tls, n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN))
			return;
		if (n > 0) {
			c->head_bytes += (size_t)n;
			if (frames_take(c))
				continue;
		}
		c->work->ended_by_server++;
		client_hang_up(c, false);
		c->step = CLIENT_AT_REST;
		return;
	}
}

static void hello_step(struct client *c, uint32_t events)
{
	if (c->step == CLIENT_ASKS && (events & EPOLLOUT)) {
		if (send(c->fd, c->work->ask, c->work->ask_bytes, MSG_NOSIGNAL) != (ssize_t)c->work->ask_bytes) {
			unit_fails(c, "hello", strerror(errno));
			return;
		}
		c->step = CLIENT_READS;
		return;
	}
	if (c->step == CLIENT_READS && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) {
		ssize_t n = recv(c->fd, c->work->scratch, CLIENT_READ_BYTES, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		/* 22: a handshake record, the server's part. An alert is a refusal, and a refusal is no unit. */
		if (n < 1 || c->work->scratch[0] != 22) {
			unit_fails(c, "hello", n < 0 ? strerror(errno) : n == 0 ? NULL : "an alert");
			return;
		}
		client_hang_up(c, false);
		unit_ends(c, true);
	}
}

void client_ready(struct client *c, uint32_t events)
{
	bool go_on = true;

	if (c->work->kind == WORK_HELLOS) {
		hello_step(c, events);
		return;
	}
	while (go_on) {
		switch (c->step) {
		case CLIENT_CONNECTS: go_on = connected(c, events); break;
		case CLIENT_SHAKES_HANDS: go_on = shake_hands(c); break;
		case CLIENT_ASKS: go_on = ask(c); break;
		case CLIENT_READS: go_on = read_answer(c); break;
		case CLIENT_LISTENS: listen_on(c); return;
		case CLIENT_AT_REST:
			/* A kept connection that is ended while nobody asks is opened again by the next unit. */
			if (c->tls && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
				client_hang_up(c, false);
			return;
		}
	}
}

void client_init(struct client *c, struct work *work)
{
	*c = (struct client){ .work = work, .fd = -1 };
}

void client_start(struct client *c)
{
	bool fresh = c->fd < 0;

	c->left = c->head_bytes = c->asked = 0;
	c->ask = c->work->ask_count ? c->work->asks[c->work->ask_next++ % c->work->ask_count]
				    : (struct ask){ c->work->ask, c->work->ask_bytes };
	if (c->work->kind == WORK_RUDE)
		c->manner = &MANNERS[c->work->begun++ % (sizeof MANNERS / sizeof *MANNERS)];
	if (fresh) {
		client_connect(c);
		c->upgrading = c->work->upgrade != NULL;
	}
	if (c->work->kind == WORK_HELLOS) {
		c->step = CLIENT_ASKS;    /* once the connection stands, which epoll tells */
		return;
	}
	if (fresh && (!c->tls || c->manner)) {
		c->step = CLIENT_CONNECTS;
		return;
	}
	c->step = fresh ? CLIENT_SHAKES_HANDS : CLIENT_ASKS;
	client_ready(c, 0);
}
