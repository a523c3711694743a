/* perf/load/client.h — one client of the load: a connection, TLS on it by OpenSSL, and one unit of work at a time.
 *
 *   at rest ──▶ shaking hands ──▶ asking ──▶ reading ──▶ at rest       a unit ends in `done`, and whoever paces the load
 *                                   ▲ asking to upgrade  │             starts the next
 *                                   └────────────────────┘             (WebSocket: once for each connection)
 *
 * Words:  unit   what is counted: a connection with one request, a request, an upload, a WebSocket message, a ClientHello, a Redis command
 *         work   which of these; the same for all clients of a load
 *         manner how a rude client leaves: after which bytes, and by a reset, by a FIN, or not at all
 *
 * The socket is registered once, edge-triggered, for both directions: a client who is called goes on until the socket has no
 * more, or takes no more, and never asks twice. That keeps the load's own cost low, and low means that the server is seen.
 *
 * Owner: main.c, which has the array.   Thread: one.   Units: bytes, ns.
 * Errors: counted (`struct work.errors`), the connection is dropped, the unit does not count. An answer that is not the
 * expected one ends the program: what is measured then is something else.
 * Limits: an answer's head of CLIENT_HEAD_BYTES_MAX, with a Content-Length; a server's frame that is listened to likewise.
 * Source: RFC 9112, RFC 6455; Redis serialization protocol (RESP). */
#ifndef PERF_LOAD_CLIENT_H
#define PERF_LOAD_CLIENT_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_HEAD_BYTES_MAX 1024u
#define CLIENT_READ_BYTES (64u * 1024u)
#define CLIENT_HELD_MAX 2000u         /* sockets that rude clients have left lying about */

enum work_kind {
	WORK_CONNECTIONS, /* a connection, a handshake, a request, its answer, and a goodbye */
	WORK_REQUESTS,    /* a request on a kept connection, with or without a body */
	WORK_REDIS,       /* a command of Redis on a kept connection; the answer is a number, or a string */
	WORK_MESSAGES,    /* a WebSocket message and its echo */
	WORK_HELLOS,      /* a ClientHello, the first bytes of what comes back, and gone: what a flood does */
	WORK_IDLE,        /* as WORK_CONNECTIONS, but the connection stays */
	WORK_CHURN,       /* a connection, a handshake, an upgrade, a Close and its answer, and a goodbye */
	WORK_SOCKETS,     /* a WebSocket that stays: pings are answered, messages are told */
	WORK_RUDE,        /* a WebSocket, or the beginning of one, that is left in the worst moment */
};

struct client;

/* What is asked: head and body of a request, a command, or a WebSocket frame. */
struct ask {
	char *bytes;
	size_t size;
};

struct work {
	enum work_kind kind;
	uint16_t port;
	bool resume;              /* offer the newest ticket */
	SSL_CTX *tls;             /* NULL: without TLS */
	unsigned status;          /* of an answer that is as it should be */
	int epoll;
	char *ask;                /* head and body of a request, or a WebSocket frame */
	size_t ask_bytes;
	struct ask *asks;         /* in place of `ask`: one after the other, whichever client is next */
	unsigned ask_count, ask_next;
	char *upgrade;            /* the request before the first WebSocket message */
	size_t upgrade_bytes;
	size_t echo_bytes;        /* of a WebSocket message's echo, with its frame header; WORK_CHURN: of the answer to a Close */
	char *scratch;            /* CLIENT_READ_BYTES, where answers go */
	void (*done)(struct client *); /* a unit has ended, well or not; the client is at rest */
	void (*heard)(struct client *); /* WORK_SOCKETS: a whole message has come */

	uint64_t units, errors, full, resumed, tickets, body_bytes;
	uint64_t pings;           /* that were answered with a pong */
	uint64_t ended_by_server; /* WORK_SOCKETS: closed without being asked */
	uint64_t begun;           /* WORK_RUDE: which manner is next */
	char *hello;              /* WORK_RUDE with TLS: a ClientHello */
	size_t hello_bytes;
	int *held;                /* WORK_RUDE: a ring of CLIENT_HELD_MAX descriptors, none is -1 */
	uint64_t held_count;
	const char *key_exchange; /* of the first handshake: X25519, P-256; NULL: none yet */
	char first_error[128];
};

enum client_step { CLIENT_AT_REST, CLIENT_CONNECTS, CLIENT_SHAKES_HANDS, CLIENT_ASKS, CLIENT_READS, CLIENT_LISTENS };

struct manner;

struct client {
	struct work *work;
	enum client_step step;
	int fd;                   /* -1: none */
	SSL *tls;
	SSL_SESSION *ticket;
	bool upgraded, upgrading;
	bool ended_well;          /* the unit that ended last; for `done` */
	struct ask ask;           /* of this unit; its bytes are the work's */
	size_t asked;             /* of these bytes */
	char head[CLIENT_HEAD_BYTES_MAX];
	size_t head_bytes;        /* while it is not whole */
	size_t left;              /* of the body or the echo */
	const struct manner *manner; /* WORK_RUDE */
	uint64_t began_ns;        /* main.c's: when the unit began, or should have */
	uint64_t due_ns;          /* main.c's: when the next one should begin */
};

/* The context for all clients: one version, one suite, X25519 alone (`groups`), tickets taken and kept. */
SSL_CTX *client_tls_new(int version, const char *groups, bool tickets);
/* One ClientHello of OpenSSL's, to be sent again and again; the caller frees it. */
char *client_hello_new(SSL_CTX *, size_t *bytes);
void client_init(struct client *, struct work *);
void client_start(struct client *);               /* a client at rest begins a unit; may call `done` at once */
void client_ready(struct client *, uint32_t events); /* what epoll said */
void client_hang_up(struct client *, bool politely); /* politely: close_notify, so that the ticket stays good */

#endif
