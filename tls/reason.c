/* See tls/reason.h. */
#include "tls/reason.h"

const struct reason TLS_PLAIN_HTTP = { "tls_plain_http", "the client spoke plain HTTP where TLS is spoken" };
const struct reason TLS_SSL2 = { "tls_ssl2", "the client spoke SSL 2.0, which is too old" };
const struct reason TLS_NOT_TLS = { "tls_not_tls", "the client's first bytes are not TLS" };
const struct reason TLS_HELLO_MISSING = { "tls_hello_missing", "the client left without a byte" };
const struct reason TLS_HELLO_CUT = { "tls_hello_cut", "the client left in the middle of its ClientHello" };
const struct reason TLS_HELLO_ALERT = { "tls_hello_alert", "the client sent an alert where its ClientHello belongs" };
const struct reason TLS_HELLO_INTERRUPTED = { "tls_hello_interrupted",
	"a record that is no handshake came in the middle of the ClientHello" };
const struct reason TLS_HELLO_RECORDS = { "tls_hello_records",
	"the ClientHello is cut into more records than any client would" };
const struct reason TLS_HELLO_LONG = { "tls_hello_long", "the ClientHello is longer than 16 KiB" };

const struct reason TLS_HELLO_LENGTHS = { "tls_hello_lengths", "the lengths in the ClientHello do not add up" };
const struct reason TLS_HELLO_TRAILING = { "tls_hello_trailing", "the ClientHello has bytes behind its end" };
const struct reason TLS_HELLO_SESSION_ID = { "tls_hello_session_id",
	"the session id in the ClientHello is longer than 32 bytes" };
const struct reason TLS_HELLO_SUITES = { "tls_hello_suites", "the ClientHello offers no cipher suite, or half of one" };
const struct reason TLS_HELLO_COMPRESSION = { "tls_hello_compression",
	"the ClientHello offers compression, or does not offer to do without" };
const struct reason TLS_HELLO_EXTENSIONS_MANY = { "tls_hello_extensions_many",
	"the ClientHello has more extensions than any client would send" };
const struct reason TLS_HELLO_EXTENSION_TWICE = { "tls_hello_extension_twice", "the ClientHello has an extension twice" };
const struct reason TLS_HELLO_EXTENSION_BAD = { "tls_hello_extension_bad",
	"an extension in the ClientHello could not be read" };
const struct reason TLS_HELLO_EXTENSION_MISSING = { "tls_hello_extension_missing",
	"the ClientHello lacks an extension that TLS 1.3 demands" };
const struct reason TLS_HELLO_NAMES = { "tls_hello_names", "the ClientHello asks for two names at once" };
const struct reason TLS_HELLO_NAME_BAD = { "tls_hello_name_bad",
	"the name that the ClientHello asks for cannot be a host's" };
const struct reason TLS_HELLO_PROTOCOLS = { "tls_hello_protocols",
	"the list of application protocols (ALPN) in the ClientHello is empty or broken" };
const struct reason TLS_HELLO_POINTS = { "tls_hello_points",
	"the ClientHello cannot take uncompressed points of elliptic curves" };
const struct reason TLS_HELLO_RENEGOTIATES = { "tls_hello_renegotiates", "the first ClientHello claims to renegotiate" };
const struct reason TLS_HELLO_RECORD_LIMIT = { "tls_hello_record_limit",
	"the ClientHello limits records to less than 64 bytes" };
const struct reason TLS_HELLO_SHARES_MANY = { "tls_hello_shares_many",
	"the ClientHello has more key shares than any client would send" };
const struct reason TLS_HELLO_SHARE_TWICE = { "tls_hello_share_twice", "the ClientHello has two key shares of one group" };
const struct reason TLS_HELLO_SHARE_UNLISTED = { "tls_hello_share_unlisted",
	"the ClientHello has a key share of a group that it does not list" };
const struct reason TLS_HELLO_SHARE_BAD = { "tls_hello_share_bad",
	"a key share in the ClientHello has not the form of its group" };
const struct reason TLS_HELLO_PSK_PLACE = { "tls_hello_psk_place",
	"pre_shared_key is not the last extension in the ClientHello" };
const struct reason TLS_HELLO_PSK_BINDERS = { "tls_hello_psk_binders",
	"the ClientHello has not one binder for each of its tickets" };
const struct reason TLS_FALLBACK_INAPPROPRIATE = { "tls_fallback_inappropriate",
	"the client fell back to an older version of TLS than both of us speak" };

const struct reason TLS_NAME_MISSING = { "tls_name_missing", "the client asked for no host name, and one is required here" };
const struct reason TLS_NAME_UNKNOWN = { "tls_name_unknown", "the client asked for a host name that is not served here" };
const struct reason TLS_HANDSHAKES_FULL = { "tls_handshakes_full",
	"as many TLS handshakes wait as limits.tls_handshakes_queued_max allows" };
const struct reason TLS_HANDSHAKE_DISPLACED = { "tls_handshake_displaced",
	"the client took its time in the TLS handshake while others waited for its place" };

const struct reason TLS_HANDSHAKE_CUT = { "tls_handshake_cut", "the client left in the middle of the TLS handshake" };
const struct reason TLS_HANDSHAKE_LONG = { "tls_handshake_long", "the client sent more than a TLS handshake has" };
const struct reason TLS_VERSION_UNSUPPORTED = { "tls_version_unsupported", "the client speaks no version of TLS from 1.2 on" };
const struct reason TLS_NOTHING_SHARED = { "tls_nothing_shared",
	"the client and we have no cipher suite, group or signature algorithm in common" };
const struct reason TLS_PROTOCOL_UNSUPPORTED = { "tls_protocol_unsupported",
	"the client offered application protocols (ALPN), and none of ours" };
const struct reason TLS_CERTIFICATE_MISSING = { "tls_certificate_missing",
	"the client showed no certificate where one is required" };
const struct reason TLS_CERTIFICATE_EXPIRED = { "tls_certificate_expired",
	"the client's certificate, or one above it, is no more valid or not yet" };
const struct reason TLS_CERTIFICATE_REVOKED = { "tls_certificate_revoked", "the client's certificate has been revoked" };
const struct reason TLS_CERTIFICATE_UNTRUSTED = { "tls_certificate_untrusted",
	"the client's certificate was issued by no authority that we know" };
const struct reason TLS_CERTIFICATE_DEEP = { "tls_certificate_deep",
	"there are more certificates between the client's and its authority than are allowed" };
const struct reason TLS_CERTIFICATE_LIST_OLD = { "tls_certificate_list_old",
	"the list of revoked certificates is out of date, so the client's could not be checked" };
const struct reason TLS_CERTIFICATE_LIST_MISSING = { "tls_certificate_list_missing",
	"there is no list of revoked certificates by the authority that issued the client's" };
const struct reason TLS_CERTIFICATE_USAGE = { "tls_certificate_usage",
	"the client's certificate is not one for clients" };
const struct reason TLS_CERTIFICATE_BAD = { "tls_certificate_bad", "the client's certificate was not accepted" };
const struct reason TLS_HANDSHAKE_MALFORMED = { "tls_handshake_malformed", "a TLS handshake message could not be read" };
const struct reason TLS_HANDSHAKE_ORDER = { "tls_handshake_order", "a TLS handshake message came where it has no place" };
const struct reason TLS_HANDSHAKE_PARAMETER = { "tls_handshake_parameter",
	"a TLS handshake message has a value that is forbidden, or lacks one that is needed" };
const struct reason TLS_HANDSHAKE_FORGED = { "tls_handshake_forged", "a part of the TLS handshake did not prove to be genuine" };
const struct reason TLS_HANDSHAKE_MEMORY = { "tls_handshake_memory", "there was no memory for the TLS handshake" };
const struct reason TLS_HANDSHAKE_FAILED = { "tls_handshake_failed", "the TLS handshake failed" };

const struct reason TLS_RECORD_TYPE = { "tls_record_type", "a TLS record has a type that does not exist" };
const struct reason TLS_RECORD_PLAIN = { "tls_record_plain", "a TLS record came unencrypted after the handshake" };
const struct reason TLS_RECORD_CCS = { "tls_record_ccs", "a ChangeCipherSpec came after the handshake" };
const struct reason TLS_RECORD_VERSION = { "tls_record_version", "a TLS record has a wrong version" };
const struct reason TLS_RECORD_LONG = { "tls_record_long", "a TLS record is longer than allowed" };
const struct reason TLS_RECORD_SHORT = { "tls_record_short", "a TLS record is too short to be one" };
const struct reason TLS_RECORD_FORGED = { "tls_record_forged", "a TLS record did not prove to be genuine" };
const struct reason TLS_RECORD_PADDING = { "tls_record_padding", "a TLS record holds nothing but padding" };

const struct reason TLS_TRUNCATED = { "tls_truncated", "the connection ended without TLS's close_notify" };
const struct reason TLS_MESSAGE_UNEXPECTED = { "tls_message_unexpected",
	"a TLS handshake message came that has no place after the handshake" };
const struct reason TLS_MESSAGE_MALFORMED = { "tls_message_malformed", "a TLS KeyUpdate could not be read" };
const struct reason TLS_KEY_UPDATE_VALUE = { "tls_key_update_value", "a TLS KeyUpdate asks for something unknown" };
const struct reason TLS_RENEGOTIATION = { "tls_renegotiation", "the client wanted to renegotiate, which is not done" };
const struct reason TLS_ALERT_MALFORMED = { "tls_alert_malformed", "a TLS alert could not be read" };
const struct reason TLS_EMPTY_FLOOD = { "tls_empty_flood", "too many TLS records came with nothing in them" };
const struct reason TLS_KEY_UPDATE_FLOOD = { "tls_key_update_flood", "too many TLS key updates came" };
const struct reason TLS_KEY_SPENT = { "tls_key_spent", "the TLS 1.2 keys have sealed as much as they safely may" };

static const struct {
	const struct reason *reason;
	uint8_t alert;
} TOLD[] = {
	{ &TLS_SSL2, TLS_ALERT_PROTOCOL_VERSION },
	{ &TLS_HELLO_INTERRUPTED, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_HELLO_RECORDS, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_LONG, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_LENGTHS, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_TRAILING, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_SESSION_ID, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_SUITES, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_COMPRESSION, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_EXTENSIONS_MANY, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_EXTENSION_TWICE, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_EXTENSION_BAD, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_EXTENSION_MISSING, TLS_ALERT_MISSING_EXTENSION },
	{ &TLS_HELLO_NAMES, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_NAME_BAD, TLS_ALERT_UNRECOGNIZED_NAME },
	{ &TLS_HELLO_PROTOCOLS, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HELLO_POINTS, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_RENEGOTIATES, TLS_ALERT_HANDSHAKE_FAILURE },
	{ &TLS_HELLO_RECORD_LIMIT, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_SHARES_MANY, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_SHARE_TWICE, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_SHARE_UNLISTED, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_SHARE_BAD, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_PSK_PLACE, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HELLO_PSK_BINDERS, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_FALLBACK_INAPPROPRIATE, TLS_ALERT_INAPPROPRIATE_FALLBACK },
	{ &TLS_HANDSHAKE_LONG, TLS_ALERT_HANDSHAKE_FAILURE },
	{ &TLS_VERSION_UNSUPPORTED, TLS_ALERT_PROTOCOL_VERSION },
	{ &TLS_NOTHING_SHARED, TLS_ALERT_HANDSHAKE_FAILURE },
	{ &TLS_PROTOCOL_UNSUPPORTED, TLS_ALERT_NO_APPLICATION_PROTOCOL },
	{ &TLS_NAME_MISSING, TLS_ALERT_UNRECOGNIZED_NAME },
	{ &TLS_NAME_UNKNOWN, TLS_ALERT_UNRECOGNIZED_NAME },
	{ &TLS_CERTIFICATE_MISSING, TLS_ALERT_CERTIFICATE_REQUIRED },
	{ &TLS_CERTIFICATE_EXPIRED, TLS_ALERT_CERTIFICATE_EXPIRED },
	{ &TLS_CERTIFICATE_REVOKED, TLS_ALERT_CERTIFICATE_REVOKED },
	{ &TLS_CERTIFICATE_UNTRUSTED, TLS_ALERT_UNKNOWN_CA },
	{ &TLS_CERTIFICATE_DEEP, TLS_ALERT_BAD_CERTIFICATE },
	{ &TLS_CERTIFICATE_LIST_OLD, TLS_ALERT_CERTIFICATE_UNKNOWN },
	{ &TLS_CERTIFICATE_LIST_MISSING, TLS_ALERT_CERTIFICATE_UNKNOWN },
	{ &TLS_CERTIFICATE_USAGE, TLS_ALERT_UNSUPPORTED_CERTIFICATE },
	{ &TLS_CERTIFICATE_BAD, TLS_ALERT_BAD_CERTIFICATE },
	{ &TLS_HANDSHAKE_MALFORMED, TLS_ALERT_DECODE_ERROR },
	{ &TLS_HANDSHAKE_ORDER, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_HANDSHAKE_PARAMETER, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_HANDSHAKE_FORGED, TLS_ALERT_DECRYPT_ERROR },
	{ &TLS_HANDSHAKE_FAILED, TLS_ALERT_HANDSHAKE_FAILURE },
	{ &TLS_RECORD_TYPE, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_RECORD_PLAIN, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_RECORD_CCS, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_RECORD_VERSION, TLS_ALERT_PROTOCOL_VERSION },
	{ &TLS_RECORD_LONG, TLS_ALERT_RECORD_OVERFLOW },
	{ &TLS_RECORD_SHORT, TLS_ALERT_DECODE_ERROR },
	{ &TLS_RECORD_FORGED, TLS_ALERT_BAD_RECORD_MAC },
	{ &TLS_RECORD_PADDING, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_MESSAGE_UNEXPECTED, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_MESSAGE_MALFORMED, TLS_ALERT_DECODE_ERROR },
	{ &TLS_KEY_UPDATE_VALUE, TLS_ALERT_ILLEGAL_PARAMETER },
	{ &TLS_RENEGOTIATION, TLS_ALERT_NO_RENEGOTIATION },
	{ &TLS_ALERT_MALFORMED, TLS_ALERT_DECODE_ERROR },
	{ &TLS_EMPTY_FLOOD, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_KEY_UPDATE_FLOOD, TLS_ALERT_UNEXPECTED_MESSAGE },
	{ &TLS_KEY_SPENT, TLS_ALERT_INTERNAL_ERROR },
};

/* Whoever has gone, or never spoke TLS, is told nothing. */
static const struct reason *const UNTOLD[] = {
	&TLS_PLAIN_HTTP, &TLS_NOT_TLS, &TLS_HELLO_MISSING, &TLS_HELLO_CUT, &TLS_HELLO_ALERT, &TLS_HANDSHAKE_CUT,
	&TLS_TRUNCATED,
};

bool tls_alert_for(const struct reason *reason, uint8_t *alert)
{
	for (size_t i = 0; i < array_count(UNTOLD); i++)
		if (UNTOLD[i] == reason)
			return false;
	*alert = TLS_ALERT_INTERNAL_ERROR;
	for (size_t i = 0; i < array_count(TOLD); i++)
		if (TOLD[i].reason == reason)
			*alert = TOLD[i].alert;
	return true;
}

/* The peer's own words, for the log: unknown_ca and certificate_expired are how clients complain about us. */
static const struct {
	uint8_t alert;
	struct reason reason;
} HEARD[] = {
	{ 0, { "tls_peer_closed", "the client ended TLS (close_notify)" } },
	{ 10, { "tls_peer_unexpected_message", "the client got a TLS message it did not expect (alert unexpected_message)" } },
	{ 20, { "tls_peer_bad_record_mac", "the client could not decrypt a record (alert bad_record_mac)" } },
	{ 21, { "tls_peer_decryption_failed", "the client could not decrypt a record (alert decryption_failed)" } },
	{ 22, { "tls_peer_record_overflow", "the client found a record too long (alert record_overflow)" } },
	{ 40, { "tls_peer_handshake_failure", "the client could not agree with us (alert handshake_failure)" } },
	{ 42, { "tls_peer_bad_certificate", "the client found our certificate corrupt (alert bad_certificate)" } },
	{ 43, { "tls_peer_unsupported_certificate", "the client does not support our certificate (alert unsupported_certificate)" } },
	{ 44, { "tls_peer_certificate_revoked", "the client knows our certificate as revoked (alert certificate_revoked)" } },
	{ 45, { "tls_peer_certificate_expired", "the client finds our certificate expired (alert certificate_expired)" } },
	{ 46, { "tls_peer_certificate_unknown", "the client does not accept our certificate (alert certificate_unknown)" } },
	{ 47, { "tls_peer_illegal_parameter", "the client found a forbidden value (alert illegal_parameter)" } },
	{ 48, { "tls_peer_unknown_ca", "the client does not know who issued our certificate (alert unknown_ca)" } },
	{ 49, { "tls_peer_access_denied", "the client ended by its own policy (alert access_denied)" } },
	{ 50, { "tls_peer_decode_error", "the client could not read a message (alert decode_error)" } },
	{ 51, { "tls_peer_decrypt_error", "the client could not verify a signature or a Finished (alert decrypt_error)" } },
	{ 70, { "tls_peer_protocol_version", "the client does not speak our version of TLS (alert protocol_version)" } },
	{ 71, { "tls_peer_insufficient_security", "the client wants stronger ciphers (alert insufficient_security)" } },
	{ 80, { "tls_peer_internal_error", "the client had an error of its own (alert internal_error)" } },
	{ 86, { "tls_peer_inappropriate_fallback", "the client refuses a fallback (alert inappropriate_fallback)" } },
	{ 90, { "tls_peer_user_canceled", "the client's user cancelled (alert user_canceled)" } },
	{ 100, { "tls_peer_no_renegotiation", "the client does not renegotiate (alert no_renegotiation)" } },
	{ 109, { "tls_peer_missing_extension", "the client misses an extension (alert missing_extension)" } },
	{ 110, { "tls_peer_unsupported_extension", "the client got an extension it did not ask for (alert unsupported_extension)" } },
	{ 112, { "tls_peer_unrecognized_name", "the client does not know that name (alert unrecognized_name)" } },
	{ 113, { "tls_peer_bad_certificate_status", "the client refuses our OCSP answer (alert bad_certificate_status_response)" } },
	{ 115, { "tls_peer_unknown_psk_identity", "the client does not know that key (alert unknown_psk_identity)" } },
	{ 116, { "tls_peer_certificate_required", "the client wants a certificate (alert certificate_required)" } },
	{ 120, { "tls_peer_no_application_protocol", "the client found no protocol in common (alert no_application_protocol)" } },
};

static const struct reason HEARD_OTHER = { "tls_peer_unknown_alert", "the client sent an alert that nobody has defined" };

const struct reason *tls_alert_reason(uint8_t alert)
{
	for (size_t i = 0; i < array_count(HEARD); i++)
		if (HEARD[i].alert == alert)
			return &HEARD[i].reason;
	return &HEARD_OTHER;
}
