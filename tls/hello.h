/* tls/hello.h — is what a connection begins with a ClientHello, and is it whole?
 *
 *   wire ─▶ ┌──────┬───────────────┐┌──────┬───────┐      message ─▶ ┌────┬───────────────────────┐
 *           │ 22 3 │ 1, length, …  ││ 22 3 │ … end │   ───────────▶   │head│ body: tls/client_hello │
 *           └──────┴───────────────┘└──────┴───────┘                  └────┴───────────────────────┘
 *             records, in any number of chunks                          in place where it lies in one piece
 *
 * Until it is whole, no memory of mbedTLS exists: a client that is slow, idle or no TLS client at all costs nothing but the
 * bytes it sent. Nothing is consumed here, because mbedTLS reads the same bytes afterwards.
 * A client may cut its hello into records as it likes, and its bytes may trickle in one by one: a struct tls_hello keeps
 * where the look stands, so that no byte is looked at twice (but for the first eight, as long as they are not all there).
 *
 * Words:  message  the ClientHello with the four bytes of its own header       wire  the records that it travels in
 *
 * Owner: the caller owns everything; the wire is only read.   Thread: any, pure.   Units: bytes, records.
 * Errors: a reason of tls/reason.h: plain HTTP and SSL 2.0 are told apart from garbage, because both happen.
 * Limits: TLS_HELLO_BYTES_MAX, which is also what fits one record; TLS_HELLO_RECORDS_MAX.
 * Source: RFC 8446 §4, §5.1; RFC 5246 §E.2. */
#ifndef TLS_HELLO_H
#define TLS_HELLO_H

#include "ring/base.h"
#include "ring/pipe.h"
#include "ring/reason.h"

#define TLS_HELLO_BYTES_MAX 16384u       /* of the message; the largest ones seen have 2 KB, with a post-quantum share */
#define TLS_HELLO_RECORDS_MAX 64u
#define TLS_HELLO_LOOK_BYTES 8u

/* All zero at the start of a connection, and good as long as nothing of the wire is consumed. */
struct tls_hello {
	uint32_t wire_bytes;             /* looked at; with `whole` the length of the records that hold the hello */
	uint32_t length;                 /* of the message, as far as its header is there */
	uint16_t bytes;                  /* of the message looked at */
	uint16_t record_left;            /* of the record that was begun */
	uint8_t records;
	bool whole;
};

/* Looks at what has come. NULL: nothing is wrong so far, and `whole` tells whether all is there; what lies behind the hello
 * is not looked at. After a reason it is not called again. */
const struct reason *tls_hello_read(struct tls_hello *, const struct pipe *wire);

/* The whole message, `length` bytes: where it lies, if one record in one chunk holds it (that is the usual case), else copied
 * together into `room`, which has space for `length`. Good until the wire changes. */
const uint8_t *tls_hello_message(const struct tls_hello *, const struct pipe *wire, uint8_t *room);

/* The first n bytes; more than TLS_HELLO_LOOK_BYTES are not looked at, fewer are fine: what cannot be told yet is left for
 * the next call. NULL: so far it may be a handshake, and *whole is the length of the first record with its header, or 0 as
 * long as that is not known. A part of tls_hello_read. */
const struct reason *tls_hello_look(const uint8_t *bytes, size_t n, uint32_t *whole);

#endif
