/* tests/sim/gateway.h — the whole gateway on the fake kernel: scripted clients before it, scripted servers behind it.
 *
 *   struct client ══ requests by dice ══▶ gateway, one or two cores ══▶ struct origin: answers by dice
 *         │                                                                    │
 *         └──────── struct ask (one request) ◀── judged against ──▶ struct reply (one answer) ┘
 *
 * A request carries its number in the path and in the pattern of its body; an answer carries its own number and the
 * request's in fields, and its number in the pattern of its body. So whoever receives anything knows what it belongs to, and
 * every byte is checked at its place.
 *
 * With TLS, gateway_tls.c stands between a client and its socket.
 *
 * Words:  ask    a request as a client meant it          reply   an answer as a server meant it
 *         rude   of a client or a server: it breaks off, lies or falls silent
 *         strict of a run: nobody is rude and nothing is scarce, so every ask must get its true reply
 *
 * Owner: the scenario's run.   Thread: one.   Units: bytes, ns of virtual time.
 * Errors: world_fail.   Limits: the constants below. */
#ifndef TESTS_SIM_GATEWAY_H
#define TESTS_SIM_GATEWAY_H

#include "gateway/gateway.h"
#include "tests/sim/sim.h"

#include <netinet/in.h>

#define CLIENTS_MAX 10u
#define ASKS_MAX 128u
#define REPLIES_MAX 512u
#define SITES 3u
#define SERVERS_MAX 3u

/* Bytes that grow. */
struct bytes {
	uint8_t *at;
	size_t n, space;
};

void bytes_add(struct bytes *, const void *bytes, size_t n);
void bytes_say(struct bytes *, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint8_t *bytes_room(struct bytes *, size_t n); /* n bytes more, to be written by the caller */
void bytes_fini(struct bytes *);
/* Where the head that begins at `from` ends, behind its blank line; 0: it is not whole. */
size_t bytes_head_end(const struct bytes *, size_t from);
/* The value of a field of the head in [from, end), copied with a zero byte; false: there is none. */
bool bytes_field(const struct bytes *, size_t from, size_t end, const char *name, char *value, size_t size);
/* A body in chunks of sizes by dice. */
void bytes_chunked(struct bytes *, struct world *, uint32_t id, uint64_t body_bytes);
void bytes_pattern(struct bytes *, struct world *, uint32_t id, uint64_t body_bytes);

enum body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_END };

/* A body that is received: framing is taken off, every byte is checked. */
struct body_reader {
	enum body body;
	uint32_t id;                     /* of the pattern; UINT32_MAX: any bytes, which are kept in `text` */
	uint64_t left;                   /* of BODY_LENGTH, or of the present chunk */
	uint64_t got;
	unsigned step;                   /* of BODY_CHUNKED */
	bool whole;
	char text[512];
};

/* Takes from [*at, in->n) what belongs to the body. */
void body_read(struct body_reader *, struct world *, const char *who, const struct bytes *in, size_t *at);

enum ask_kind { ASK_GET_COUNT, ASK_POST_COUNT, ASK_PROXY, ASK_NOWHERE, ASK_ECHO, ASK_TUNNEL, ASK_LIVE, ASK_PUSH };

struct ask {
	unsigned id;
	enum ask_kind kind;
	const char *method;
	enum body body;
	uint64_t body_bytes;
	bool small_route;                /* its body is limited to SMALL_BODY_BYTES */
	bool expects;                    /* 100-continue */
	bool closes;                     /* says Connection: close */
	bool old;                        /* HTTP/1.0 */
	unsigned site;                   /* of a count; a patient's number of ASK_LIVE and ASK_PUSH */
	uint64_t awaited;                /* ASK_PUSH: clients, by index, whose sockets were there when it was begun */
	unsigned heard;                  /* ASK_PUSH: sockets that have got it */
	unsigned delivered;              /* ASK_PUSH: what its answer says */
	struct client *client;
	size_t begin, head_end, end;     /* where it lies in what the client sends */
	bool begun;                      /* its first byte was sent */
	bool sent;                       /* its last byte was sent */
	uint64_t acknowledged_before;    /* GET count: what was surely stored when it was sent */
	unsigned arrivals;               /* heads that reached a server */
	struct origin *arrived_at;       /* the last of them */
	bool answered;                   /* a whole answer was received */
	bool true_reply;                 /* and it was what it should be: the server's, or the count's */
	unsigned status;
};

#define SMALL_BODY_BYTES 3000u

/* Which pattern a stream of bytes has. */
static inline uint32_t ask_pattern(unsigned ask) { return 4 * ask; }
static inline uint32_t reply_pattern(unsigned reply) { return 4 * reply + 1; }
static inline uint32_t tunnel_up_pattern(unsigned ask) { return 4 * ask + 2; }
static inline uint32_t tunnel_down_pattern(unsigned ask) { return 4 * ask + 3; }

struct reply {
	unsigned ask;
	unsigned status;
	enum body body;
	uint64_t body_bytes;
	bool unfit;                      /* nobody may pass it on */
	bool all_sent;                   /* all of it has left the server, and where it matters in good order */
};

enum manner {
	MANNER_POLITE,
	MANNER_HALF,                     /* says its end when all is asked; reads to the end */
	MANNER_LEAVES,
	MANNER_RESETS,
	MANNER_VANISHES,                 /* no sign of life any more, and the connection stays */
	MANNER_DEAF,                     /* reads no more, sends on, waits */
	MANNER_TOUCHED,                  /* something is wrong with its TLS: gateway_tls.c */
};

struct gw {
	struct sim *sim;
	struct gateway gateway;
	struct postern_driver *drivers[WORLD_CORES_MAX]; /* mbedTLS's, of each core; it asks for its thread's, and here is one thread */
	struct config *config;
	struct sockaddr_in address;
	struct sockaddr_in servers[SERVERS_MAX];
	unsigned server_count;

	bool speaks_tls;
	unsigned touched_percent;        /* of TLS's clients */
	struct gw_tls *tls;              /* NULL: plain */
	bool rude_clients, rude_servers, closes_idle, hasty, drains, at_once, scarce, silent_tunnels;
	bool lives;                      /* WebSockets are patients', and others push to them */
	bool strict;                     /* see above; closes_idle is allowed beside it */
	bool drain_begun;
	unsigned sockets_percent;        /* of the clients: WebSockets */
	uint64_t body_bytes_most;

	struct client *clients;
	unsigned client_count;
	struct ask *asks[ASKS_MAX];
	unsigned ask_count;
	struct reply replies[REPLIES_MAX];
	unsigned reply_count;
	struct link origins;

	uint64_t posts_sent[SITES], posts_acknowledged[SITES];
	uint64_t genuine, errors;        /* answers received, for the trace */
};

static inline struct dice *gw_dice(struct gw *gw)
{
	return &gw->sim->world.dice;
}

/* ---- gateway_client.c ---- */

/* A push leaves its client; its answer has come. */
void socket_push_begins(struct gw *, struct ask *);
void socket_push_answered(struct gw *, const struct ask *);

/* What a client does after its upgrade was answered: gateway_socket.c. */
struct socket_script;
/* Its TLS: gateway_tls.c. */
struct tls_client;

struct client {
	struct actor actor;
	struct gw *gw;
	struct thing *socket;
	unsigned index;
	enum manner manner;
	uint64_t until_bytes;            /* rude: after so many, sent and received */
	uint64_t pause_ns, not_before_ns;
	unsigned pieces_max;             /* of the wire */
	size_t writes_max;               /* what is written at once; with TLS, what goes into records together */
	bool pipelines;
	struct bytes out, in;
	size_t sent, in_at;
	unsigned first_ask, ask_count, answered; /* its asks are consecutive */
	bool head_seen;                  /* of the answer that is being read */
	bool continued;                  /* the present ask's 100 has come */
	bool told_close;                 /* the last answer said so */
	bool fin_sent, end_seen, done, refused, wont_send;
	int error;
	struct reply *reply;             /* of the present answer; NULL: the gateway's own */
	unsigned status;
	struct body_reader body;
	struct socket_script *script;    /* NULL: no WebSocket, or not yet */
	struct tls_client *tls;          /* NULL: plain */
};

void clients_open(struct gw *);
void clients_check(struct gw *);
void clients_fini(struct gw *);
bool clients_done(const struct gw *);
void client_shutdown(struct client *);                         /* says its end, and reads on */

/* ---- gateway_tls.c ---- */

void gw_tls_open(struct gw *);                                 /* certificates, and what clients share */
void gw_tls_config_say(struct gw *, struct bytes *);           /* the listener's part */
unsigned gw_tls_handshake_ms(const struct gw *);
void gw_tls_check(struct gw *);                                /* behind tls_client_check of all */
void gw_tls_fini(struct gw *);

void tls_client_open(struct client *);
void tls_client_fini(struct client *);
bool tls_client_move(struct client *, bool receives);          /* wire and handshake; true: something moved */
long tls_client_send(struct client *, const uint8_t *bytes, size_t n); /* as world_send */
long tls_client_receive(struct client *, uint8_t *bytes, size_t n); /* as world_receive; 0 is close_notify */
void tls_client_shutdown(struct client *);
void tls_client_leave(struct client *, bool says_so);
uint64_t tls_client_passed(const struct client *);             /* bytes of the wire, both ways */
bool tls_client_reads_answers(const struct client *);          /* it does speak TLS */
void tls_client_check(struct gw *, const struct client *);

struct tls;
void tls_rests(struct sim *, const struct tls *);              /* a core sleeps: may this engine rest? */

/* ---- gateway_socket.c ---- */

struct ask *socket_ask_make(struct client *);                  /* the only ask of its client */
void socket_upgraded(struct client *);                         /* 101 has come */
void socket_received(struct client *);                         /* looks at in[in_at …] */
size_t socket_sendable(const struct client *);                 /* bytes of `out` that may be sent now */
void socket_check(struct client *);
void socket_fini(struct client *);
bool socket_over(const struct client *);                       /* nothing more is to be sent or awaited but the end */

/* ---- gateway_origin.c ---- */

void origins_open(struct gw *);
void origins_fini(struct gw *);
uint64_t tunnel_down_bytes(const struct ask *);                /* what a tunnel carries, decided by its number */
uint64_t tunnel_up_bytes(const struct ask *);

/* ---- gateway_conn.c, gateway_proxy.c: they look inside ---- */

/* A core sleeps: may everything of this connection (worker->conns) rest? */
void conn_rests(struct sim *, struct link *in_worker);
struct exchange;
void proxy_rests(struct sim *, struct exchange *);
void live_rests(struct sim *, const struct exchange *);
_Noreturn void gw_not_rest(struct sim *, const char *what);

#endif
