/* tls/secret.h — keys from secrets, in TLS 1.3 and 1.2.
 *
 * The primitives are mbedTLS's (HKDF, the PRF), because the secrets come from there; once per handshake and key update. A
 * label is four blocks of the hash: 0.4 µs where libcrypto computes these for mbedTLS, 1.4 µs where it does so itself.
 *
 * Owner: the caller, who zeroises what he got.   Thread: a core's (PSA is thread-local).   Units: bytes.
 * Errors: none; what mbedTLS refuses here is our mistake or memory.   Limits: outputs no longer than one hash in TLS 1.3.
 * Source: RFC 8446 §7.1, RFC 5246 §5 and §6.3. */
#ifndef TLS_SECRET_H
#define TLS_SECRET_H

#include "tls/suite.h"

/* RFC 8446 §7.1: HKDF-Expand-Label(secret, label, "", n). `label` is without "tls13 ". `to` may be `secret`. */
void tls_expand_label(enum tls_hash, const uint8_t *secret, const char *label, uint8_t *to, size_t n);

/* RFC 5246 §6.3: key_block = PRF(master_secret, "key expansion", server_random + client_random). */
void tls_expand_key_block(enum tls_hash, const uint8_t master[48], const uint8_t client_random[32],
	const uint8_t server_random[32], uint8_t *to, size_t n);

/* Memory that held a secret; no compiler leaves this out. */
void tls_zeroise(void *, size_t n);

#endif
