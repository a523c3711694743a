/* perf/load/tls.h — OpenSSL as the client's side of TLS, without a socket: what it reads and writes are the pipes of a line.
 *
 * Owner: the caller.   Thread: one.   Units: bytes.   Errors: FATAL where OpenSSL refuses what it is set up with.
 * Limits: none.   Source: BIO_s_custom is BIO_meth_new(3). */
#ifndef PERF_LOAD_TLS_H
#define PERF_LOAD_TLS_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>

struct line;

/* The context for all clients: one version, one suite, `groups`. Each ticket is told to `ticket_came` (SSL_CTX_sess_set_new_cb), with
 * the line's owner as the SSL's app data. `resting`: a line that rests holds none of OpenSSL's buffers, at the price of a malloc each time. */
SSL_CTX *tls_context_new(int version, const char *groups, int (*ticket_came)(SSL *, SSL_SESSION *), bool resting);

/* One ClientHello of OpenSSL's, to be sent again and again; the caller frees it. */
char *tls_hello_new(SSL_CTX *, size_t *bytes);

BIO_METHOD *tls_between_new(void);
void tls_attach(struct line *);                   /* makes its SSL, between its pipes */
void tls_detach(struct line *);                   /* harmless where there is none; what was sealed stays in `out` */

/* Why OpenSSL gave n: NULL: it only waits. */
const char *tls_failure(struct line *, int n);

#endif
