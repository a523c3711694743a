/* perf/load/client.h — one client of the load: a line, and one unit of work at a time.
 *
 *   at rest ──▶ connecting ──▶ shaking hands ──▶ asking ──▶ reading ──▶ at rest      a unit ends in `done`, and whoever paces the load
 *                                                  ▲ asking to upgrade │             starts the next
 *                                                  └───────────────────┘             (WebSocket: once for each connection)
 *
 * Words:  unit   what is counted: a connection with one request, a request, an upload, a WebSocket message, a ClientHello, a Redis command
 *         work   which of these; the same for all clients of a load
 *         manner how a rude client leaves (rude.h)
 *
 * A client is a step that looks at its line and goes on until that has nothing more, or takes nothing more.
 *
 * Owner: load.c, which has the array.   Thread: one.   Units: bytes, ns.
 * Errors: counted (`struct work.errors`), the connection is dropped, the unit does not count. An answer that is not the
 * expected one ends the program: what is measured then is something else.
 * Limits: an answer's head of CLIENT_HEAD_BYTES_MAX, with a Content-Length; a server's frame that is listened to likewise.
 * Source: RFC 9112, RFC 6455; Redis serialization protocol (RESP). */
#ifndef PERF_LOAD_CLIENT_H
#define PERF_LOAD_CLIENT_H

#include "perf/load/line.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_HEAD_BYTES_MAX 1024u

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
struct manner;
struct rude;

/* What is asked: head and body of a request, a command, or a WebSocket frame. */
struct ask {
	char *bytes;
	size_t size;
};

struct work {
	enum work_kind kind;
	struct lines *lines;
	bool resume;              /* offer the newest ticket */
	unsigned status;          /* of an answer that is as it should be */
	struct ask ask;
	struct ask *asks;         /* in place of `ask`: one after the other, whichever client is next */
	unsigned ask_count, ask_next;
	struct ask upgrade;       /* the request before the first WebSocket message; none: there is no upgrade */
	size_t echo_bytes;        /* of a WebSocket message's echo, with its frame header; WORK_CHURN: of the answer to a Close */
	struct rude *rude;        /* WORK_RUDE */
	void (*done)(struct client *);  /* a unit has ended, well or not; the client is at rest */
	void (*heard)(struct client *); /* WORK_SOCKETS: a whole message has come */

	uint64_t units, errors, full, resumed, tickets;
	uint64_t pings;           /* that were answered with a pong */
	uint64_t ended_by_server; /* WORK_SOCKETS: closed without being asked */
	const char *key_exchange; /* of the first handshake: X25519, P-256; NULL: none yet */
	char first_error[128];
};

enum client_step { CLIENT_AT_REST, CLIENT_CONNECTS, CLIENT_SHAKES_HANDS, CLIENT_ASKS, CLIENT_READS, CLIENT_LISTENS };

struct client {
	struct work *work;
	enum client_step step;
	struct line *line;        /* NULL: none */
	SSL_SESSION *ticket;
	bool upgraded, upgrading;
	bool ended_well;          /* the unit that ended last; for `done` */
	struct ask ask;           /* of this unit; its bytes are the work's */
	size_t asked;             /* of these bytes */
	char head[CLIENT_HEAD_BYTES_MAX];
	size_t head_bytes;        /* while it is not whole */
	size_t left;              /* of the body or the echo */
	const struct manner *manner; /* WORK_RUDE */
	uint64_t began_ns;        /* load.c's: when the unit began, or should have */
	uint64_t due_ns;          /* load.c's: when the next one should begin */
};

/* For SSL_CTX_sess_set_new_cb: the ticket is counted, and kept where the work resumes. */
int client_ticket_came(SSL *, SSL_SESSION *);

void client_init(struct client *, struct work *);
void client_fini(struct client *);
void client_start(struct client *);               /* a client at rest begins a unit; may call `done` at once */
void client_hang_up(struct client *, bool politely); /* politely: close_notify, so that the ticket stays good */
bool client_connected(const struct client *);     /* and the server has not ended it */

/* For rude.c: the unit of a client who has no line any more has ended. */
void client_left(struct client *);

#endif
