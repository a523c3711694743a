/* tls/identity.h — who a client is, as its verified certificate says it: plain texts, apart from the library's own structs.
 *
 * Words:  subject  the distinguished name by RFC 4514: "CN=Monitor 4,O=CRO", most specific part first, "+" between parts of
 *                  one RDN, a backslash before special characters, \XX for the bytes of others. Printable ASCII alone
 *         name     an entry of subjectAltName with its kind in front: "DNS:site-7.example.org", "EMAIL:cra@cro.example.org",
 *                  "URI:spiffe://example.org/site/7". The texts are as the authority wrote them, in any case of letters
 *
 * Whoever decides by a name must be able to trust its whole text. So a name that could be read in two ways is left out, and
 * with it what it might have allowed: one that holds a NUL or another control character ("good.example\0.evil.example"),
 * one that is not ASCII (it must be, RFC 5280 §4.2.1.6), an empty one, and one that is longer than 255 bytes.
 *
 * Owner: the caller, who frees it; it keeps no pointer into the certificate.   Thread: any, one at a time.
 * Units: bytes; texts end with a zero byte.   Errors: none: what cannot be told is absent, see each member.
 * Limits: TLS_IDENTITY_*.   Source: RFC 4514 §2, RFC 5280 §4.2.1.6, §7.5. */
#ifndef TLS_IDENTITY_H
#define TLS_IDENTITY_H

#include "ring/base.h"

#define TLS_IDENTITY_NAMES_MAX         64u
#define TLS_IDENTITY_NAME_BYTES_MAX    255u  /* of a name, without its kind */
#define TLS_IDENTITY_SUBJECT_BYTES_MAX 1023u /* of the printed text; one part of it about 250 */

struct mbedtls_x509_crt;

struct tls_identity {
	char *subject;       /* NULL: it is empty, or cannot be printed within the limits or without a NUL */
	char *serial;        /* upper case hexadecimal digits, two for each byte */
	char **names;
	unsigned name_count; /* of those that were kept; 0 is fine */
	uint8_t *der;        /* the certificate as it came */
	size_t der_bytes;
};

/* Of the first certificate alone, which is the client's own. It says nothing of whether it was verified: ask before. */
struct tls_identity *tls_identity_of(const struct mbedtls_x509_crt *);

/* NULL is harmless. */
void tls_identity_free(struct tls_identity *);

#endif
