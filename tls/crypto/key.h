/* tls/crypto/key.h — the private key of a certificate, where the primitives are.
 *
 * The file is always read by mbedTLS, so what is refused is refused in the same words with either backend. With a driver the
 * key then moves into libcrypto: mbedTLS keeps an opaque key, by which it asks the driver to sign, and forgets the bytes.
 *
 *   with a driver     PEM ─▶ mbedtls_pk ─▶ DER ─▶ driver key ◀─ its address ─ PSA key ◀─ pk (opaque)
 *   without           PEM ─▶ pk
 *
 * Owner: whoever embeds the struct; it does not move between private_key_parse and private_key_fini.
 * Thread: the driver's. RSA is blinded in each operation, so even signing writes to a key: each core parses its own.
 * Units: bytes.   Errors: those of mbedtls_pk_parse_key; MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE for a kind that is not served.
 * Limits: EC P-256, RSA of 2048 to 4096 bits; PEM, not encrypted: PKCS#8, PKCS#1, SEC1.   Source: RFC 5208, 8017, 5915. */
#ifndef TLS_CRYPTO_KEY_H
#define TLS_CRYPTO_KEY_H

#include "ring/base.h"
#include "tls/crypto/driver.h"

#include "mbedtls/pk.h"
#include "psa/crypto.h"

#define KEY_RSA_BITS_MIN 2048u
#define KEY_RSA_BITS_MAX 4096u

struct private_key {
	mbedtls_pk_context pk;           /* for mbedtls_ssl_conf_own_cert */
	psa_key_id_t id;                 /* what `pk` asks for; 0 without a driver */
	struct driver_key *behind;       /* NULL without a driver */
};

/* `pem` has `n` bytes, its closing zero counted, and is not kept; the caller zeroises it. 0, or an error and nothing is held.
 * The thread has called psa_crypto_init. */
int private_key_parse(struct private_key *, struct driver *or_null, const uint8_t *pem, size_t n);

/* Shown by signing something with the one and verifying it with the other, so this takes as long as that. */
bool private_key_belongs(const struct private_key *, const mbedtls_pk_context *certificate_key);

void private_key_fini(struct private_key *);             /* harmless twice, and after a parse that failed */

#endif
