/* gateway/conn.h — a client's connection: its wire, its TLS, and one exchange after another.
 *
 *   tcp ⇄ wire pipes ⇄ [tls ⇄ plain pipes ⇄] HTTP/1.1 ⇄ exchange
 *
 * Its steps: shake_hands → choose_protocol → serve → say_goodbye. The scope tree: core ▷ conn ▷ exchange.
 *
 * Owner: itself; freed in its scope's `ended`.   Thread: its core's.   Units: ms.
 * Errors: reasons; gateway/verdict.c says what becomes of them.   Limits: limits and timeouts as configured. */
#ifndef GATEWAY_CONN_H
#define GATEWAY_CONN_H

#include "gateway/gateway.h"

struct conn;
struct tls_context;

/* A descriptor that a listener accepted. `tls` NULL: plain. `admin`: the admin socket; its requests go to SERVE_ADMIN. */
void conn_accept(struct worker *, struct listener *, int fd, struct tls_context *tls, bool admin);

/* The worker drains: wake it, it looks for itself. */
void conn_drain(struct link *in_worker);

#endif
