/* tls/client_hello.h — what a ClientHello says: which versions, which name, which protocols, which keys and signatures.
 *
 * It is read before any memory of mbedTLS exists, for three reasons: the name and the protocols choose the host, the
 * signatures choose its certificate (mbedTLS does not look at the curve), and what no honest client sends is refused here,
 * where refusing costs a microsecond.
 * We are strict in form and generous in kind: each length must add up and each rule of the RFCs holds, but extensions, suites,
 * groups and versions that we do not know are passed over, as RFC 8701 (GREASE) reminds everyone to do.
 *
 * Words:  offers    what the client would accept           serves    what we would
 *         share     half of a key exchange, sent along with the hello so that no round trip is needed for it
 *
 * Owner: nothing is copied: name and protocols point into the message, and live as long as it does.
 * Thread: any, pure.   Units: bytes.   Errors: a reason of tls/reason.h; tls_alert_for tells its alert.
 * Limits: TLS_HELLO_BYTES_MAX, TLS_HELLO_EXTENSIONS_MAX, TLS_HELLO_SHARES_MAX.
 * Source: RFC 8446 §4.1.2, §4.2, §9.2; RFC 5246 §7.4.1; RFC 6066 §3; RFC 7301; RFC 8422; RFC 7507; RFC 5746; RFC 8449. */
#ifndef TLS_CLIENT_HELLO_H
#define TLS_CLIENT_HELLO_H

#include "ring/base.h"
#include "ring/reason.h"
#include "tls/suite.h"

#define TLS_HELLO_EXTENSIONS_MAX 128u    /* browsers send about 20; about 60 are defined */
#define TLS_HELLO_SHARES_MAX 32u         /* browsers send 1 to 4 */

struct tls_client_hello {
	const uint8_t *name;             /* server_name as it was sent (any case), no dot at its end; NULL: none, or an address */
	const uint8_t *protocols;        /* ALPN; see tls_client_hello_protocol. NULL: the extension was not sent */
	uint16_t name_bytes;             /* 1 … 253 if there is a name */
	uint16_t protocols_bytes;
	uint16_t record_size_limit;      /* 64 and more; 0: not sent */
	uint16_t suites[TLS_SUITES_MAX]; /* those of ours, in the client's order */
	uint16_t version;                /* enum tls_version, by tls_client_hello_choose; 0 before */

	uint8_t suite_count;
	bool offers_1_2, offers_1_3;     /* one of them at least */
	bool prefers_1_2;                /* to 1.3, though it offers that too */
	bool name_is_address;            /* an IP address stood where only a host name may: taken as none */

	bool suite_1_3;                  /* one of ours */
	bool suite_ecdhe_ecdsa;          /* TLS 1.2, one of ours */
	bool suite_ecdhe_rsa;            /* TLS 1.2, one of ours */
	bool group_x25519, group_p256;
	bool group_other;                /* any that is neither, nor GREASE */
	bool share_x25519, share_p256;   /* of TLS 1.3; without one of ours there is a HelloRetryRequest */
	bool scheme_ecdsa_p256_sha256;   /* in TLS 1.2 of any curve: the groups tell which */
	bool scheme_rsa_pss_sha256;      /* rsa_pss_rsae_sha256 */
	bool scheme_rsa_pkcs1_sha256;

	bool ticket_1_2;                 /* has one */
	bool ticket_1_3;                 /* has one, and would use it together with a fresh key exchange */
	bool early_data;                 /* bytes that we shall not take follow at once */
	bool extended_master_secret;
	bool renegotiation_info;         /* knows RFC 5746, by extension or by suite */
	bool fallback;                   /* it tried a newer version before, and failed (RFC 7507) */
};

/* `message` is what tls_hello_message gives: the hello with the four bytes of its header; n may be anything.
 * NULL: it is well formed, and offers TLS 1.2 or 1.3. After a reason the struct says nothing. */
const struct reason *tls_client_hello_parse(const uint8_t *message, size_t n, struct tls_client_hello *);

/* The version that will be spoken, by the versions that we serve, into `version`; and whether suites and groups have anything
 * in common. TLS_VERSION_UNSUPPORTED, TLS_FALLBACK_INAPPROPRIATE, TLS_NOTHING_SHARED. */
const struct reason *tls_client_hello_choose(struct tls_client_hello *, bool serves_1_2, bool serves_1_3);

/* ---- after tls_client_hello_choose ---- */

/* Whether the client can verify a certificate with a P-256 key, or with an RSA key. Neither: no handshake but a resumed one
 * can succeed (TLS_NOTHING_SHARED); so it is with a client of TLS 1.2 that sends no signature_algorithms. */
bool tls_client_hello_verifies_ecdsa(const struct tls_client_hello *);
bool tls_client_hello_verifies_rsa(const struct tls_client_hello *);

/* It brings a ticket. Whether the ticket is good, only opening it tells. */
bool tls_client_hello_may_resume(const struct tls_client_hello *);

/* ---- protocols ---- */

/* The next protocol name (1 to 255 bytes) in the client's order; *at is 0 at first. False: there are no more. */
bool tls_client_hello_protocol(const struct tls_client_hello *, size_t *at, const uint8_t **name, size_t *n);
bool tls_client_hello_offers_protocol(const struct tls_client_hello *, const char *name);

#endif
