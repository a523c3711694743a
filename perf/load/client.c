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
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
		FATAL("cannot connect to port %u: %s", c->work->port, strerror(errno));
	if (epoll_ctl(c->work->epoll, EPOLL_CTL_ADD, c->fd,
		    &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c }) != 0)
		FATAL("epoll: %s", strerror(errno));
	if (c->work->kind == WORK_HELLOS)
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

/* True: it is only that the socket has, or takes, no more now. */
static bool tls_waits(struct client *c, int n, const char *where)
{
	int error = SSL_get_error(c->tls, n);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return true;
	unit_fails(c, where,
		error == SSL_ERROR_SSL             ? ERR_reason_error_string(ERR_peek_error())
		: error == SSL_ERROR_SYSCALL && errno ? strerror(errno)
						       : NULL);
	return false;
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
	if (strncmp(c->head, c->upgrading ? "HTTP/1.1 101" : "HTTP/1.1 200", 12) != 0)
		FATAL("not the expected answer:\n%s", c->head);
	c->left = c->upgrading ? 0 : head_length(c->head);
	c->head_bytes = 0;
	return (size_t)(end + 4 - c->head) - before;
}

/* True: the answer is whole. */
static bool answer_take(struct client *c, const char *bytes, size_t n)
{
	bool in_head = !c->upgraded && c->left == 0;

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
			if (n > 0)
				FATAL("%zu bytes more than the answer has", n);
			return true;
		}
	}
	return false;
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

static bool shake_hands(struct client *c)
{
	int n = SSL_do_handshake(c->tls);

	if (n != 1) {
		tls_waits(c, n, "handshake");
		return false;
	}
	SSL_session_reused(c->tls) ? c->work->resumed++ : c->work->full++;
	if (!c->work->key_exchange)
		note_key_exchange(c);
	c->upgrading = c->work->kind == WORK_MESSAGES;
	c->asked = 0;
	c->step = CLIENT_ASKS;
	return true;
}

static bool ask(struct client *c)
{
	const char *bytes = c->upgrading ? c->work->upgrade : c->work->ask;
	size_t size = c->upgrading ? c->work->upgrade_bytes : c->work->ask_bytes;

	while (c->asked < size) {
		int n = SSL_write(c->tls, bytes + c->asked, (int)(size - c->asked));

		if (n <= 0) {
			tls_waits(c, n, "request");
			return false;
		}
		c->asked += (size_t)n;
	}
	c->left = c->upgraded ? c->work->echo_bytes : 0;
	c->step = CLIENT_READS;
	/* The answer cannot be there already, and its arrival will be told: a read now would be one for nothing. */
	return false;
}

static bool read_answer(struct client *c)
{
	for (;;) {
		int n = SSL_read(c->tls, c->work->scratch, CLIENT_READ_BYTES);

		if (n <= 0) {
			tls_waits(c, n, "answer");
			return false;
		}
		if (!answer_take(c, c->work->scratch, (size_t)n))
			continue;
		if (c->upgrading) {
			c->upgrading = false;
			c->upgraded = true;
			c->asked = 0;
			c->step = CLIENT_ASKS;
			return true;
		}
		if (c->work->kind == WORK_CONNECTIONS)
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
		case CLIENT_SHAKES_HANDS: go_on = shake_hands(c); break;
		case CLIENT_ASKS: go_on = ask(c); break;
		case CLIENT_READS: go_on = read_answer(c); break;
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
	if (fresh)
		client_connect(c);
	if (c->work->kind == WORK_HELLOS) {
		c->step = CLIENT_ASKS;    /* once the connection stands, which epoll tells */
		return;
	}
	c->step = fresh ? CLIENT_SHAKES_HANDS : CLIENT_ASKS;
	client_ready(c, 0);
}
