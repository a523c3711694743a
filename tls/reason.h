/* tls/reason.h — why a TLS stream ended, and what the peer is told about it.
 *
 * Three kinds: what we refuse (below; each has an alert that tells the peer), what the peer told us (tls_alert_reason),
 * and what a handshake failed of, which mbedTLS found out and tls/handshake translates.
 *
 * Owner: static storage, const.   Thread: any.   Units: none.   Errors: none.   Limits: none.
 * Source: RFC 8446 §6, RFC 5246 §7.2. */
#ifndef TLS_REASON_H
#define TLS_REASON_H

#include "ring/base.h"
#include "ring/reason.h"

/* Before a handshake: tls/hello. */
extern const struct reason TLS_PLAIN_HTTP;            /* an HTTP request on the TLS port */
extern const struct reason TLS_SSL2;                  /* a hello of SSL 2.0 */
extern const struct reason TLS_NOT_TLS;               /* anything else that begins no handshake */
extern const struct reason TLS_HELLO_MISSING;         /* the peer left without a byte: a port scan, a health check */
extern const struct reason TLS_HELLO_CUT;             /* the peer left in the middle of its hello */
extern const struct reason TLS_HELLO_ALERT;           /* an alert in place of the hello, or in the middle of it */
extern const struct reason TLS_HELLO_INTERRUPTED;     /* another kind of record between two that hold it */
extern const struct reason TLS_HELLO_RECORDS;         /* cut into more than TLS_HELLO_RECORDS_MAX */
extern const struct reason TLS_HELLO_LONG;            /* longer than TLS_HELLO_BYTES_MAX */

/* What the ClientHello says: tls/client_hello. */
extern const struct reason TLS_HELLO_LENGTHS;         /* a length reaches beyond what it is in */
extern const struct reason TLS_HELLO_TRAILING;        /* bytes behind the end of the hello */
extern const struct reason TLS_HELLO_SESSION_ID;      /* a session id of more than 32 bytes */
extern const struct reason TLS_HELLO_SUITES;          /* a list of suites that is empty, or of odd length */
extern const struct reason TLS_HELLO_COMPRESSION;     /* without "null"; in TLS 1.3 anything but "null" */
extern const struct reason TLS_HELLO_EXTENSIONS_MANY; /* more than TLS_HELLO_EXTENSIONS_MAX */
extern const struct reason TLS_HELLO_EXTENSION_TWICE; /* the same extension twice */
extern const struct reason TLS_HELLO_EXTENSION_BAD;   /* an extension that cannot be read, or whose list is empty */
extern const struct reason TLS_HELLO_EXTENSION_MISSING; /* TLS 1.3: without one that is mandatory */
extern const struct reason TLS_HELLO_NAMES;           /* server_name: two host names */
extern const struct reason TLS_HELLO_NAME_BAD;        /* server_name: no host name */
extern const struct reason TLS_HELLO_PROTOCOLS;       /* ALPN: an empty list or name, or one that is cut */
extern const struct reason TLS_HELLO_POINTS;          /* TLS 1.2: no uncompressed points */
extern const struct reason TLS_HELLO_RENEGOTIATES;    /* renegotiation_info that is not empty */
extern const struct reason TLS_HELLO_RECORD_LIMIT;    /* record_size_limit below 64 */
extern const struct reason TLS_HELLO_SHARES_MANY;     /* key_share: more than TLS_HELLO_SHARES_MAX */
extern const struct reason TLS_HELLO_SHARE_TWICE;     /* key_share: a group twice */
extern const struct reason TLS_HELLO_SHARE_UNLISTED;  /* key_share: a group that is not in supported_groups */
extern const struct reason TLS_HELLO_SHARE_BAD;       /* key_share: of a wrong length or form */
extern const struct reason TLS_HELLO_PSK_PLACE;       /* pre_shared_key that is not the last one */
extern const struct reason TLS_HELLO_PSK_BINDERS;     /* pre_shared_key: not as many binders as identities */
extern const struct reason TLS_FALLBACK_INAPPROPRIATE; /* RFC 7507: a retry with an older version than we have */

/* Between the hello and the handshake: tls/context, tls/admission. */
extern const struct reason TLS_NAME_MISSING;          /* strict_sni: the client asks for no name */
extern const struct reason TLS_NAME_UNKNOWN;          /* strict_sni: no host has the name */
extern const struct reason TLS_HANDSHAKES_FULL;       /* limits.tls_handshakes_queued_max wait already */
extern const struct reason TLS_HANDSHAKE_DISPLACED;   /* it took its time while others waited for its place */

/* In a handshake: tls/handshake. */
extern const struct reason TLS_HANDSHAKE_CUT;         /* the peer left in the middle of the handshake */
extern const struct reason TLS_HANDSHAKE_LONG;        /* more bytes than a handshake has */
extern const struct reason TLS_VERSION_UNSUPPORTED;   /* older than TLS 1.2 */
extern const struct reason TLS_NOTHING_SHARED;        /* no cipher suite, group or signature in common */
extern const struct reason TLS_PROTOCOL_UNSUPPORTED;  /* ALPN: nothing in common */
extern const struct reason TLS_CERTIFICATE_MISSING;   /* one was required, and the client has none */
extern const struct reason TLS_CERTIFICATE_EXPIRED;   /* the client's, or one above it: no more valid, or not yet */
extern const struct reason TLS_CERTIFICATE_REVOKED;   /* the list of its authority names it */
extern const struct reason TLS_CERTIFICATE_UNTRUSTED; /* no authority that we know has issued it */
extern const struct reason TLS_CERTIFICATE_DEEP;      /* more certificates between than depth allows */
extern const struct reason TLS_CERTIFICATE_LIST_OLD;  /* the list of revoked ones was to be renewed before today */
extern const struct reason TLS_CERTIFICATE_LIST_MISSING; /* revocation is wanted, and there is no list of its authority, or no genuine one */
extern const struct reason TLS_CERTIFICATE_USAGE;     /* it is not for clients: a server's, or for another use of its key */
extern const struct reason TLS_CERTIFICATE_BAD;       /* the client's certificate, for any other cause */
extern const struct reason TLS_HANDSHAKE_MALFORMED;   /* a message that cannot be read */
extern const struct reason TLS_HANDSHAKE_ORDER;       /* a message that has no place there */
extern const struct reason TLS_HANDSHAKE_PARAMETER;   /* a message with a forbidden or missing value */
extern const struct reason TLS_HANDSHAKE_FORGED;      /* a Finished or a record that does not prove itself */
extern const struct reason TLS_HANDSHAKE_MEMORY;      /* no memory for it */
extern const struct reason TLS_HANDSHAKE_FAILED;      /* any other error of mbedTLS */

/* Records: tls/record. */
extern const struct reason TLS_RECORD_TYPE;           /* no such type of record */
extern const struct reason TLS_RECORD_PLAIN;          /* not encrypted, after the keys were agreed */
extern const struct reason TLS_RECORD_CCS;            /* ChangeCipherSpec after the handshake */
extern const struct reason TLS_RECORD_VERSION;        /* its version is not 0x0303 */
extern const struct reason TLS_RECORD_LONG;           /* longer than a record may be */
extern const struct reason TLS_RECORD_SHORT;          /* too short to hold its own tag */
extern const struct reason TLS_RECORD_FORGED;         /* its tag does not prove it: changed, repeated, left out, wrong key */
extern const struct reason TLS_RECORD_PADDING;        /* nothing but padding inside */

/* The stream: tls/engine. */
extern const struct reason TLS_TRUNCATED;             /* the wire ended without close_notify */
extern const struct reason TLS_MESSAGE_UNEXPECTED;    /* a handshake message that has no place after the handshake */
extern const struct reason TLS_MESSAGE_MALFORMED;     /* a KeyUpdate that cannot be read */
extern const struct reason TLS_KEY_UPDATE_VALUE;      /* a KeyUpdate that asks for something unknown */
extern const struct reason TLS_RENEGOTIATION;         /* TLS 1.2: the client wants to begin again */
extern const struct reason TLS_ALERT_MALFORMED;       /* an alert that is not two bytes */
extern const struct reason TLS_EMPTY_FLOOD;           /* record after record without a byte for us */
extern const struct reason TLS_KEY_UPDATE_FLOOD;      /* key update after key update */
extern const struct reason TLS_KEY_SPENT;             /* TLS 1.2: the key has sealed as much as it may */

enum tls_alert_level { TLS_ALERT_WARNING = 1, TLS_ALERT_FATAL = 2 };

enum tls_alert {
	TLS_ALERT_CLOSE_NOTIFY = 0,
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_BAD_RECORD_MAC = 20,
	TLS_ALERT_RECORD_OVERFLOW = 22,
	TLS_ALERT_HANDSHAKE_FAILURE = 40,
	TLS_ALERT_BAD_CERTIFICATE = 42,
	TLS_ALERT_UNSUPPORTED_CERTIFICATE = 43,
	TLS_ALERT_CERTIFICATE_REVOKED = 44,
	TLS_ALERT_CERTIFICATE_EXPIRED = 45,
	TLS_ALERT_CERTIFICATE_UNKNOWN = 46,
	TLS_ALERT_ILLEGAL_PARAMETER = 47,
	TLS_ALERT_UNKNOWN_CA = 48,
	TLS_ALERT_DECODE_ERROR = 50,
	TLS_ALERT_DECRYPT_ERROR = 51,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_INTERNAL_ERROR = 80,
	TLS_ALERT_INAPPROPRIATE_FALLBACK = 86,
	TLS_ALERT_USER_CANCELED = 90,
	TLS_ALERT_NO_RENEGOTIATION = 100,
	TLS_ALERT_MISSING_EXTENSION = 109,
	TLS_ALERT_UNRECOGNIZED_NAME = 112,
	TLS_ALERT_CERTIFICATE_REQUIRED = 116,
	TLS_ALERT_NO_APPLICATION_PROTOCOL = 120,
};

/* What the peer is told when we end for this reason; internal_error for one that is not ours. False: nothing is to be told
 * (it has gone, or does not speak TLS). */
bool tls_alert_for(const struct reason *, uint8_t *alert);

/* The reason for an alert that the peer sent. Codes that nobody defined share one. */
const struct reason *tls_alert_reason(uint8_t alert);

#endif
