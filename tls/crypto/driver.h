/* tls/crypto/driver.h — what computes for mbedTLS's handshakes on one thread.
 *
 * mbedTLS asks its thread's driver (psa/postern_driver.h) before it computes by itself: key exchange over X25519 and P-256,
 * signatures with a certificate's key and signatures of others, AEAD in one piece, the block functions of SHA-2. The driver
 * made of libcrypto keeps what libcrypto would search by name or allocate anew in each call. With -Dcrypto=mbedtls there is
 * no driver, and these functions say so; nobody else need know which it is.
 *
 *   libcrypto/driver.c    OpenSSL 3.0 and newer        mbedtls/driver.c    none: mbedTLS computes everything
 *
 * Words:  driver key    a private key of a certificate, in libcrypto's form, which mbedTLS knows by its address only
 *
 * Owner: whoever made it.   Thread: the one that made it, from driver_new to driver_free; nothing is shared with others.
 * Units: bytes.   Errors: NULL, see each function. What libcrypto refuses while it serves becomes an error of PSA, and leaves
 * nothing in libcrypto's own queue.
 * Limits: kinds of keys as in tls/crypto/key.h.   Source: PSA Crypto 1.1; RFC 7748, RFC 8446 §7.4.2, FIPS 186-4. */
#ifndef TLS_CRYPTO_DRIVER_H
#define TLS_CRYPTO_DRIVER_H

#include "ring/base.h"

struct driver;
struct driver_key;

/* Made and installed, for the calling thread, which has one at a time (check). NULL with *missing NULL: there is no driver, and
 * mbedTLS computes. NULL with *missing a name: libcrypto has not what we need of that name (a configuration of its own may
 * restrict it), and no handshake should be made behind its back. */
struct driver *driver_new(const char **missing);

/* check: its keys have been freed. Handshakes that it served have ended too: their keys are in its form. NULL is harmless. */
void driver_free(struct driver *);

/* `der`: RFC 8017's RSAPrivateKey or RFC 5915's ECPrivateKey with its parameters, of P-256. NULL: libcrypto does not take it.
 * The bytes are copied. */
struct driver_key *driver_key_new(struct driver *, const uint8_t *der, size_t n);
void driver_key_free(struct driver_key *);

#endif
