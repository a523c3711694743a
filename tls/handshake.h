/* tls/handshake.h — a handshake by mbedTLS between two pipes, and the keys that come out of it.
 *
 *   wire_in ─▶ exactly the bytes it asks for ─▶ mbedTLS ─▶ wire_out     it never waits for the wire to be free: a handshake
 *                                                  │                     is small, and bounded by HANDSHAKE_BYTES_MAX
 *                                                  └─▶ traffic secrets ─▶ tls/record
 *
 * mbedTLS reads a record's header and then the record, never further, so when it has finished what stands in wire_in are
 * the first records under the new keys. Its context, of 40 KB, then goes: freed, or wiped and kept for the next client.
 *
 * Owner: whoever made it; tls_handshake_free.   Thread: the context's.   Units: bytes.
 * Errors: a reason of tls/reason.h, or the pipe's own. The alert that tells the peer is in wire_out already.
 * Limits: HANDSHAKE_BYTES_MAX from the peer. Its time is bounded by whoever reads the socket.
 * Source: RFC 8446 §4, RFC 5246 §7; mbedTLS's key export callback. */
#ifndef TLS_HANDSHAKE_H
#define TLS_HANDSHAKE_H

#include "ring/pipe.h"
#include "tls/context.h"
#include "tls/record.h"

/* A client's part is a hello of at most one record or so, keys and a Finished. */
#define HANDSHAKE_BYTES_MAX (64u * 1024u)

struct tls_handshake;

enum tls_handshake_state { TLS_HANDSHAKE_WAITS, TLS_HANDSHAKE_DONE, TLS_HANDSHAKE_REFUSED };

/* The choice, and the context that it is of, must outlive it; the hello, which lies in wire_in still, is read only here.
 * NULL: no memory. */
struct tls_handshake *tls_handshake_new(struct tls_thread *, struct tls_choice *, const struct tls_client_hello *,
	uint32_t hello_bytes, struct pipe *wire_in, struct pipe *wire_out);
void tls_handshake_free(struct tls_handshake *);             /* zeroises; NULL is fine. Some are kept for the host's next clients */

/* The host goes: what is kept for it is freed. */
void tls_handshake_forget(struct tls_thread *, const struct tls_host *);

/* There is something to do: a whole record, or an end. mbedTLS gets no halves of records, so that nobody makes work of single bytes. */
bool tls_handshake_ready(const struct tls_handshake *);

/* As far as the bytes in wire_in reach. *reason is set when it is refused. */
enum tls_handshake_state tls_handshake_step(struct tls_handshake *, const struct reason **reason);

/* Ends it for this reason: the alert, with keys that the client reads with. A step that refuses does so by itself. */
void tls_handshake_tell(struct tls_handshake *, const struct reason *);

/* The expensive part is over: keys are agreed, and our certificate has signed. */
bool tls_handshake_begun(const struct tls_handshake *);

/* When done: the suite, and both halves ready for the next record. */
const struct tls_suite *tls_handshake_keys(struct tls_handshake *, struct tls_half *in, struct tls_half *out);
const char *tls_handshake_protocol(const struct tls_handshake *); /* the material's string, or NULL */
bool tls_handshake_resumed(const struct tls_handshake *);    /* by a ticket of ours */

/* Who the client is by its certificate, which was verified; the caller's now. NULL: it was not asked, or showed none. */
struct tls_identity *tls_handshake_identity(const struct tls_handshake *);

#endif
