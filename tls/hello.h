/* tls/hello.h — the first bytes of a connection: do they begin a TLS handshake, and is its first record whole?
 *
 * Until it is, no memory of mbedTLS exists: a client that is slow, idle or no TLS client at all costs nothing but the
 * bytes it sent. What comes here next is reading the ClientHello itself (names and protocols choose the host).
 *
 * Owner: the caller owns the bytes; nothing is kept.   Thread: any, pure.   Units: bytes.
 * Errors: a reason of tls/reason.h: plain HTTP and SSL 2.0 are told apart from garbage, because both happen.
 * Limits: a first record of 2^14 bytes.   Source: RFC 8446 §5.1, RFC 5246 §E.2. */
#ifndef TLS_HELLO_H
#define TLS_HELLO_H

#include "ring/base.h"
#include "ring/reason.h"

#define TLS_HELLO_LOOK_BYTES 8u

/* The first n bytes; more than TLS_HELLO_LOOK_BYTES are not looked at, fewer are fine: what cannot be told yet is left for
 * the next call. NULL: so far it may be a handshake, and *whole is the length of the first record with its header, or 0 as
 * long as that is not known. */
const struct reason *tls_hello_look(const uint8_t *bytes, size_t n, uint32_t *whole);

#endif
