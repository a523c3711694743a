/* tls/context.h — what the handshakes of one core have in common: certificates, keys, protocols.
 *
 * Made once from files and never changed; a new configuration is a new context, and the old one goes when its last
 * connection has. Nothing of it is shared between cores: an RSA key is blinded anew in each operation and so is written to,
 * and PSA's random generator and key store are the thread's own.
 *
 * Words:  certificate   a PEM file: the server's own first, then the chain up to, without, the root
 *         key           a PEM file, not encrypted, that belongs to it
 * Several may stand side by side; each client gets the first whose signature it can verify. List ECDSA first.
 *
 * Owner: reference counted; each tls_context_new or _take has its _put.   Thread: the one that made it, until the end.
 * Units: none.   Errors: a sentence in struct tls_fault.
 * Limits: keys EC P-256 and RSA 2048 to 4096; TLS_FILE_BYTES_MAX a file; TLS_PROTOCOLS_MAX protocols.
 * Source: mbedTLS 3.6, RFC 8446 §4.4.2, RFC 7301. */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include "ring/base.h"

#define TLS_FILE_BYTES_MAX (1024u * 1024u)
#define TLS_PROTOCOLS_MAX 8u
#define TLS_WARNINGS_MAX 8u
#define TLS_SENTENCE_BYTES 512u

struct aead_ciphers;
struct mbedtls_ssl_config;
struct tls_context;

struct tls_certificate_files {
	const char *certificate;
	const char *key;
};

struct tls_fault {
	char sentence[TLS_SENTENCE_BYTES];               /* why there is no context; "" when there is one */
	char warnings[TLS_WARNINGS_MAX][TLS_SENTENCE_BYTES]; /* what is odd in one that there is; the first ones */
	unsigned warning_count;
};

/* Once, by the process's first thread before it starts others: mbedTLS keeps some lists that are filled at first use. */
void tls_process_init(void);

/* Each thread that makes contexts, before the first and after the last one has gone. tls_context_new inits by itself. */
bool tls_thread_init(void);
void tls_thread_fini(void);

/* `alpn`: protocols in our order of preference, ended by NULL, copied; NULL: no ALPN, whatever the client offers.
 * NULL: fault->sentence tells why. Reads files and the system's clock, so it is for starting and reloading. */
struct tls_context *tls_context_new(const struct tls_certificate_files *, unsigned count, const char *const *alpn,
	struct tls_fault *fault);
struct tls_context *tls_context_take(struct tls_context *);  /* one more reference */
void tls_context_put(struct tls_context *);                  /* NULL is fine */

/* For tls/handshake: what mbedTLS is set up with, and libcrypto's algorithms. mbedTLS's user data of each ssl context must
 * be a `char **` (mbedtls_ssl_set_user_data_p), where the name that the client asks for is put, from malloc. */
const struct mbedtls_ssl_config *tls_context_config(const struct tls_context *);
const struct aead_ciphers *tls_context_ciphers(const struct tls_context *);

#endif
