/* tls/context.h — what the handshakes of one core at one listener have in common: hosts, certificates, protocols.
 *
 * Made of a material (tls/material.h) and never changed; new files are a new context, and the old one goes with the last
 * connection that shook hands with it: a connection keeps its protocol's name, and asks which hosts there are. Nothing of it is
 * shared between cores.
 *
 * Words:  choice   what a ClientHello leads to: the host that has the name, and the certificate that the client can verify
 *
 * Owner: reference counted; each tls_context_new or _take has its _put.   Thread: the one that made it, until the end.
 * Units: none.   Errors: a sentence in struct tls_fault; a reason of tls/reason.h for a client who has no choice.
 * Limits: as tls/material.h.   Source: mbedTLS 3.6, RFC 8446 §4.4.2.2, RFC 8422 §5.1, RFC 7301, RFC 6066 §3. */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include "ring/reason.h"
#include "tls/material.h"

struct mbedtls_ssl_config;
struct ticket_box;
struct tls_client_hello;
struct tls_context;
struct tls_host;

struct tls_choice {
	struct tls_host *host;
	unsigned certificate;            /* of the host's */
	bool ecdsa;                      /* it is signed with ECDSA, or else with RSA */
};

/* Takes a reference of the material. NULL: fault->sentence tells why; a material that was read is refused only where memory
 * or mbedTLS is. */
struct tls_context *tls_context_new(struct tls_thread *, struct tls_material *, struct tls_fault *);
struct tls_context *tls_context_take(struct tls_context *);  /* one more reference */
void tls_context_put(struct tls_context *);                  /* NULL is fine */

struct tls_thread *tls_context_thread(const struct tls_context *);

/* Also chooses the version in the hello. `name`: what the client asks for, in lower case; NULL: nothing. Returns NULL when there is a choice. */
const struct reason *tls_context_choose(const struct tls_context *, struct tls_client_hello *, const char *name,
	struct tls_choice *);

/* After the handshake of a client with that choice: it asks for this name (in any case, without a port and a dot at its end) now,
 * which is or may be another host's, and one of the two asks its clients for certificates. */
bool tls_context_misdirects(const struct tls_context *, const struct tls_choice *, const char *name, size_t n);

/* For tls/handshake. The user data of each of mbedTLS's contexts must be the choice (mbedtls_ssl_set_user_data_p). */
const struct mbedtls_ssl_config *tls_host_config(const struct tls_host *);
bool tls_host_asks(const struct tls_host *);                 /* its clients for a certificate */
struct ticket_box *tls_host_tickets(struct tls_host *);      /* NULL: it gives none */

#endif
