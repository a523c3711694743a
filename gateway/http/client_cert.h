/* gateway/http/client_cert.h — the fields that tell a server behind us of the client's verified certificate.
 *
 *   Client-Cert: :MIIB…==:                                             the certificate itself, RFC 9440 §2.2
 *   X-Client-Cert-Subject: CN=Monitor 4,O=CRO                          as tls/identity.h prints it
 *   X-Client-Cert-SAN: DNS:site-7.example.org, EMAIL:cra@cro.example.org
 *
 * Servers believe these fields, so that nobody but us may write them: what a client sends under these names is removed from
 * every request, also where no certificate was asked for. And no certificate may write one by what it contains: a name is
 * visible ASCII, in which all but letters, digits and -._~:/?#[]@!$&'()*+;= is percent-encoded ("%" itself too). So a
 * comma or blank of the list is ours, whatever an authority has signed.
 *
 * Owner: the head's arena has the texts.   Thread: any, pure.   Units: bytes of a whole field line, name and ending included.
 * Errors: none; a field that would be empty or too long is left out, and of the names those that find no more room: what
 * is missing can only allow less. Names are never cut.
 * Limits: HTTP_CLIENT_CERT_BYTES_MAX for Client-Cert, so a certificate of about 6 KB; HTTP_CLIENT_NAMES_BYTES_MAX for the
 * names. With the subject that is 13 KB at most above what the client's own head may have (limits.head_bytes_max), and no
 * line is longer than the 8 KiB that servers usually read.   Source: RFC 9440. */
#ifndef GATEWAY_HTTP_CLIENT_CERT_H
#define GATEWAY_HTTP_CLIENT_CERT_H

#include "gateway/http/message.h"
#include "tls/identity.h"

#define HTTP_CLIENT_CERT_BYTES_MAX  8192u
#define HTTP_CLIENT_NAMES_BYTES_MAX 4096u

/* Is this a name that only we may write? Client-Cert, Client-Cert-Chain, X-Client-Cert and all that begins with X-Client-Cert-,
 * in any case of letters. */
bool http_client_cert_is(struct http_text name);

/* Adds the fields behind the others; those of the client must have been removed. */
void http_client_cert_add(struct http_head *, const struct tls_identity *);

#endif
