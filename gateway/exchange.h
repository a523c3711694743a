/* gateway/exchange.h — one request and its answer, whichever HTTP carries it.
 *
 *            request head        request body
 *   carrier ─────────────▶ route ─────────────▶ in  ─▶ target (serve/…)
 *           ◀───────────── exchange_answer ◀─── out ◀─
 *             answer head          answer body
 *
 * The carrier (gateway/conn.c for HTTP/1.1) makes an exchange when a request begins, fills `request`, and calls
 * exchange_begin. The target sets `answer` and calls exchange_answer once, writes the body into `out` and ends it; or it
 * calls exchange_refuse. Then the carrier ends it: the scope closes, and what the target holds is given back in `ended`.
 *
 * Upgrade: a target that answers 101 with `upgrades` set gets the connection's own two pipes in the place of the bodies':
 * `in` and `out` then point at them, bytes already read are still in them, and its task is woken. It ends `out` when it is
 * done, calls exchange_done, and the carrier says goodbye.
 *
 * Owner: the carrier; freed in its scope's `ended`.   Thread: its core's.   Units: as named.
 * Errors: reasons, through exchange_refuse before the answer, pipe_break(out) within it.
 * Limits: heads and bodies as configured. */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "gateway/config.h"
#include "gateway/http/message.h"
#include "ring/arena.h"
#include "ring/pipe.h"
#include "ring/scope.h"
#include "ring/task.h"
#include "ring/tcp.h"
#include "tls/identity.h"

struct exchange;
struct worker;

/* A kind of target. All run on the exchange's core. */
struct serve {
	const char *name;                                    /* as in the configuration: "count", "proxy" */
	bool aborts_with_client;                             /* nothing is finished for a client who has left */
	void (*begin)(struct exchange *);                    /* the head is read and routed */
	void (*step)(struct exchange *);                     /* the exchange's task: look, move, return */
	void (*ended)(struct exchange *);                    /* gives back what `state` holds; may be NULL */
	const char *(*where)(const struct exchange *);       /* for dumps; may be NULL */
	size_t (*bytes_held)(const struct exchange *);       /* beside the exchange's own pipes and arena; may be NULL */
};

/* What a carrier does for its exchanges. */
struct carrier {
	void (*wake)(struct exchange *);                     /* the answer's head is ready, or an upgraded one is done */
	void (*wait)(struct exchange *, const struct tcp_wait *); /* what an upgraded connection waits for now */
	unsigned (*silences)(const struct exchange *);       /* of that wait; see ring/tcp.h */
	void (*ended)(struct exchange *);                    /* the scope has ended; the exchange is freed afterwards */
};

struct exchange {
	uint32_t magic;
	struct scope scope;
	struct worker *worker;
	const struct carrier *carrier;
	void *carried_by;                /* the carrier's own: a struct conn */
	struct task task;

	struct http_head request;
	struct http_head answer;
	struct pipe *in;                 /* what the client sends: the body, or after an upgrade everything */
	struct pipe *out;
	struct pipe body_in;
	struct pipe body_out;

	const struct config_route *route; /* NULL: none matched, or an admin request */
	const struct serve *serve;       /* NULL: not routed yet, or refused */
	void *state;                     /* the target's, from the arena */

	const char *allow;               /* the methods its target knows: set before METHOD_NOT_ALLOWED is given */
	const char *wait;                /* the wait whose end ended it, a constant's words; NULL: none did */
	const struct reason *refusal;    /* why it was refused, or cut short; NULL: all went well */
	const char *upstream;            /* address of the server that was asked, for the log */
	const char *closed_by;           /* who said a WebSocket's Close first, "client" or "gateway"; NULL: nobody, or it is no WebSocket */
	unsigned close_code;             /* that was said first; 1005: Close had none */
	const char *client;              /* address of the client, without the port */
	const struct tls_identity *client_identity; /* its verified certificate; NULL: none. The carrier's, outlives the exchange */
	const char *administrator;       /* it came over the admin socket, and from whom; NULL: another way. The carrier's, outlives the exchange */
	bool secure;                     /* it came over TLS */
	bool answered;                   /* exchange_answer or exchange_refuse was called */
	bool endless;                    /* its answer goes on as long as the client is there */
	bool upgrades;                   /* set by the target before it answers 101 */
	bool upgraded;                   /* `in` and `out` are the connection's */
	bool refused;                    /* exchange_refuse was called: the target is not asked any more */
	bool done;                       /* exchange_done was called */
	uint64_t began_ns;
	uint64_t body_bytes_in;
	uint64_t body_bytes_out;

	struct arena arena;
	_Alignas(16) uint8_t arena_own[3840]; /* a proxied request and its answer are 2.2 to 2.9 KB */
};

/* For carriers. The scope opens under `parent`; `request` is not filled yet. */
struct exchange *exchange_new(struct worker *, struct scope *parent, const struct carrier *, void *carried_by);

/* The request's head is there: routes it and lets the target begin. `serve` NULL: by the configuration's routes. */
void exchange_begin(struct exchange *, const struct serve *serve);

/* For targets. `answer` is complete but for framing: body and content_length say what follows in `out`. Once. */
void exchange_answer(struct exchange *);

/* Answers with the verdict's status and {"error":…,"message":…}, or, when an answer is under way already, breaks `out`.
 * The target's step is not called any more. */
void exchange_refuse(struct exchange *, const struct reason *);

/* Notes why it ends otherwise than it should: metric, log, access line. The first reason stays; harmless with RING_DONE. */
void exchange_note(struct exchange *, const struct reason *);

/* A whole answer from memory: status, type, body; the body is copied. */
void exchange_answer_text(struct exchange *, unsigned status, const char *type, const void *body, size_t n);

/* An upgraded exchange is over: `out` has ended, or was broken, and `in` is of no interest any more. */
void exchange_done(struct exchange *);

/* An upgraded exchange waits for this from now on; `silences` as in ring/tcp.h. */
void exchange_wait(struct exchange *, const struct tcp_wait *);
unsigned exchange_silences(const struct exchange *);

#endif
