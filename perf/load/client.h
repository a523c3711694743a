/* perf/load/client.h — one client of the load: a connection, TLS on it by OpenSSL, and one unit of work at a time.
 *
 *   at rest ──▶ shaking hands ──▶ asking ──▶ reading ──▶ at rest       a unit ends in `done`, and whoever paces the load
 *                                   ▲ asking to upgrade  │             starts the next
 *                                   └────────────────────┘             (WebSocket: once for each connection)
 *
 * Words:  unit   what is counted: a connection with one request, a request, an upload, a WebSocket message, a ClientHello
 *         work   which of these; the same for all clients of a load
 *
 * The socket is registered once, edge-triggered, for both directions: a client who is called goes on until the socket has no
 * more, or takes no more, and never asks twice. That keeps the load's own cost low, and low means that the server is seen.
 *
 * Owner: main.c, which has the array.   Thread: one.   Units: bytes, ns.
 * Errors: counted (`struct work.errors`), the connection is dropped, the unit does not count. An answer that is not the
 * expected one ends the program: what is measured then is something else.
 * Limits: an answer's head of CLIENT_HEAD_BYTES_MAX, with a Content-Length.   Source: RFC 9112, RFC 6455. */
#ifndef PERF_LOAD_CLIENT_H
#define PERF_LOAD_CLIENT_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_HEAD_BYTES_MAX 1024u
#define CLIENT_READ_BYTES (64u * 1024u)

enum work_kind {
	WORK_CONNECTIONS, /* a connection, a handshake, a request, its answer, and a goodbye */
	WORK_REQUESTS,    /* a request on a kept connection, with or without a body */
	WORK_MESSAGES,    /* a WebSocket message and its echo */
	WORK_HELLOS,      /* a ClientHello, the first bytes of what comes back, and gone: what a flood does */
	WORK_IDLE,        /* as WORK_CONNECTIONS, but the connection stays */
};

struct client;

struct work {
	enum work_kind kind;
	uint16_t port;
	bool resume;              /* offer the newest ticket */
	SSL_CTX *tls;
	int epoll;
	char *ask;                /* head and body of a request, or a WebSocket frame */
	size_t ask_bytes;
	char *upgrade;            /* the request before the first WebSocket message */
	size_t upgrade_bytes;
	size_t echo_bytes;        /* of a WebSocket message's echo, with its frame header */
	char *scratch;            /* CLIENT_READ_BYTES, where answers go */
	void (*done)(struct client *); /* a unit has ended, well or not; the client is at rest */

	uint64_t units, errors, full, resumed, tickets, body_bytes;
	const char *key_exchange; /* of the first handshake: X25519, P-256; NULL: none yet */
	char first_error[128];
};

enum client_step { CLIENT_AT_REST, CLIENT_SHAKES_HANDS, CLIENT_ASKS, CLIENT_READS };

struct client {
	struct work *work;
	enum client_step step;
	int fd;                   /* -1: none */
	SSL *tls;
	SSL_SESSION *ticket;
	bool upgraded, upgrading;
	bool ended_well;          /* the unit that ended last; for `done` */
	size_t asked;             /* of work->ask */
	char head[CLIENT_HEAD_BYTES_MAX];
	size_t head_bytes;        /* while it is not whole */
	size_t left;              /* of the body or the echo */
	uint64_t began_ns;        /* main.c's: when the unit began, or should have */
	uint64_t due_ns;          /* main.c's: when the next one should begin */
};

/* The context for all clients: one version, one suite, X25519 alone (`groups`), tickets taken and kept. */
SSL_CTX *client_tls_new(int version, const char *groups, bool tickets);
void client_init(struct client *, struct work *);
void client_start(struct client *);               /* a client at rest begins a unit; may call `done` at once */
void client_ready(struct client *, uint32_t events); /* what epoll said */
void client_hang_up(struct client *, bool politely); /* politely: close_notify, so that the ticket stays good */

#endif
