/* The table, and the gateway's own reasons. Grouped by who gives them.
 *
 * status 0: nobody is left who could be answered. close_code 0: such a reason ends no WebSocket by a Close of ours.
 * The level: what a client does wrong is nothing the operator must read (debug); what the program or its surroundings do wrong is. */
#include "gateway/verdict.h"
#include "gateway/certificates.h"
#include "gateway/counting/counting.h"
#include "gateway/counting/refusal.h"
#include "gateway/http/reason.h"
#include "gateway/journal/journal.h"
#include "gateway/serve/sites_json.h"
#include "gateway/serve/sites_request.h"
#include "ring/base.h"
#include "tls/reason.h"
#include "tls/ticket.h"
#include "ws/reason.h"

const struct reason ROUTE_NONE = { "route_none", "no route leads anywhere for this path and host" };
const struct reason CLIENT_CERTIFICATE_MISSING = { "client_certificate_missing",
	"this is for clients with a certificate, and none was shown" };
const struct reason CLIENT_CERTIFICATE_REFUSED = { "client_certificate_refused",
	"this is for certain clients, and the certificate that was shown is none of theirs" };
const struct reason METHOD_NOT_ALLOWED = { "method_not_allowed", "what is served here does not know this method" };
const struct reason HOST_MISDIRECTED = { "host_misdirected",
	"this host asks its clients for certificates, and is reached by its own name only; connect anew, with that name" };
const struct reason TARGET_NOT_BUILT = { "target_not_built", "what is served here comes in a later version" };
const struct reason CLIENT_GONE = { "client_gone", "the client left before its answer was ready" };
const struct reason CLIENT_IDLE = { "client_idle", "the client asked for nothing in the time a connection is kept" };
const struct reason CLIENT_HEAD_LATE = { "request_head_late", "the head of the request was not whole in time" };
const struct reason CLIENT_BODY_LATE = { "request_body_late", "the body of the request stood still for too long" };
const struct reason CLIENT_HANDSHAKE_LATE = { "tls_handshake_late", "the TLS handshake was not finished in time" };
const struct reason CLIENT_CLOSE_LATE = { "close_late", "after our goodbye the client did not close in time" };
const struct reason WEBSOCKET_IDLE = { "websocket_idle", "nothing came in the time a WebSocket may be silent" };
const struct reason WEBSOCKET_NO_PONG = { "websocket_no_pong", "the client did not answer our ping" };
const struct reason WEBSOCKET_EXPECTED = { "websocket_expected", "this address speaks WebSocket; ask for an upgrade" };
const struct reason WEBSOCKET_BODY = { "websocket_body", "a request for a WebSocket has no body" };
const struct reason GATEWAY_DRAINING = { "draining", "the gateway is stopping; ask again, another will answer" };
const struct reason CONNECTIONS_MAX = { "connections_max", "as many connections are open as limits.connections_max allows" };
const struct reason UPSTREAM_REFUSED = { "upstream_refused", "the server behind the gateway accepts no connection" };
const struct reason UPSTREAM_RESET = { "upstream_reset", "the server behind the gateway broke the connection before it answered" };
const struct reason UPSTREAM_SEND_LATE = { "upstream_send_late", "the server behind the gateway took nothing of what it was sent, for too long" };
const struct reason UPSTREAM_CLOSED = { "upstream_closed", "the server behind the gateway closed the connection before it answered" };
const struct reason UPSTREAM_ANSWER_BAD = { "upstream_answer_bad", "what the server behind the gateway sent cannot be passed on safely" };
const struct reason UPSTREAM_CUT = { "upstream_cut", "the answer of the server behind the gateway ended in the middle" };
const struct reason UPSTREAM_CONNECT_LATE = { "upstream_connect_late", "no connection to the server behind the gateway in time" };
const struct reason UPSTREAM_RESPONSE_LATE = { "upstream_response_late", "the server behind the gateway did not answer in time" };
const struct reason UPSTREAM_BODY_LATE = { "upstream_body_late", "the answer of the server behind the gateway stood still for too long" };
const struct reason UPSTREAM_BUSY = { "upstream_busy", "there is no room for another connection to the server behind the gateway" };
const struct reason UPSTREAM_DOWN = { "upstream_down", "no server behind the gateway is well at present" };
const struct reason HEALTH_LATE = { "health_late", "the server did not answer the health check in time" };
const struct reason HEALTH_STATUS = { "health_status", "the server answered the health check with neither 2xx nor 3xx" };
const struct reason SITE_MISSING = { "site_missing", "a siteId is needed: in the query of a GET, in the form of a POST" };
const struct reason SITE_NAME_BAD = { "site_name_bad", "a siteId is 1 to 64 bytes of UTF-8 without control characters" };
const struct reason SITES_FULL = { "sites_full", "no more sites can be counted here" };
const struct reason SITE_COUNT_FULL = { "site_count_full", "the count of this site cannot be raised further" };
const struct reason FORM_EXPECTED = { "form_expected", "the body must be application/x-www-form-urlencoded" };
const struct reason FORM_TOO_LARGE = { "form_too_large", "the form is larger than a form for a count need be" };
const struct reason PATIENT_MISSING = { "patient_missing",
	"a patient is needed: GET /live?patient=P, POST /push/P" };
const struct reason PATIENT_NAME_BAD = { "patient_name_bad",
	"a patient is named by 1 to 128 bytes of UTF-8 without control characters and slashes of either kind, and is neither . nor .. alone" };
const struct reason PUSH_ORIGIN = { "push_origin", "pages of another origin may not push; back-ends, which send no Origin, may" };
const struct reason PUSH_TOO_LARGE = { "push_too_large", "the push is larger than limits.push_bytes_max" };
const struct reason PUSH_NOT_JSON = { "push_not_json", "a push is one JSON object in UTF-8, without a member twice or a number beyond 1e308" };
const struct reason PUSH_BODY_MISSING = { "push_body_missing", "a push has a member named body, with what the patient is to get" };
const struct reason PUSH_MEMBER_UNKNOWN = { "push_member_unknown", "a push has the members body and ttl, and no others" };
const struct reason PUSH_TTL_BAD = { "push_ttl_bad", "ttl is a duration such as 90s, 30m or 1h, of at most 30 days" };
const struct reason LIVE_SLOW_READER = { "live_slow_reader", "too much waits for a client who reads too slowly; connect anew" };
const struct reason LIVE_MESSAGE_BAD = { "live_message_bad",
	"a message is a JSON object with a type, in a text frame; an ack names its id" };
const struct reason ADMIN_BUSY = { "admin_busy", "listings of this kind are under way already; ask again" };

/* What the client's alert said is told by its own reason; in metrics they are one. */
const struct reason TLS_ALERT_RECEIVED = { "tls_alert_received", "the client ended TLS with an alert" };
const struct reason INTERNAL_ERROR = { "internal_error", "the gateway made a mistake; its log says more" };

#define DEBUG CONFIG_LOG_DEBUG
#define INFO CONFIG_LOG_INFO
#define WARN CONFIG_LOG_WARN
#define ERROR CONFIG_LOG_ERROR

static const struct verdict VERDICTS[] = {
	/* ring */
	{ &RING_DONE, 0, 1000, DEBUG },
	{ &RING_PARENT_CLOSED, 0, 1001, DEBUG },
	{ &RING_DRAINED, 0, 1001, INFO },
	{ &TCP_RESET, 0, 0, DEBUG },
	{ &TCP_REFUSED, 502, 0, WARN },
	{ &TCP_UNREACHABLE, 502, 0, WARN },
	{ &TCP_CONNECT_LATE, 504, 0, WARN },
	{ &TCP_SEND_LATE, 0, 0, INFO },
	{ &TCP_RECEIVE_LATE, 408, 1001, DEBUG },
	{ &TCP_STARVED, 503, 1013, WARN },
	{ &TCP_FAILED, 0, 0, INFO },
	{ &TCP_DESCRIPTORS_SPENT, 503, 1013, ERROR },

	/* http: what the client broke. The bytes that follow cannot be trusted, so each ends its connection. */
	{ &HTTP_BARE_LF, 400, 0, DEBUG },
	{ &HTTP_BARE_CR, 400, 0, DEBUG },
	{ &HTTP_BLANK_LINES, 400, 0, DEBUG },
	{ &HTTP_START_LINE_BAD, 400, 0, DEBUG },
	{ &HTTP_METHOD_BAD, 400, 0, DEBUG },
	{ &HTTP_VERSION_BAD, 400, 0, DEBUG },
	{ &HTTP_STATUS_BAD, 502, 0, WARN },
	{ &HTTP_FIELD_FOLDED, 400, 0, DEBUG },
	{ &HTTP_FIELD_INDENTED, 400, 0, DEBUG },
	{ &HTTP_FIELD_NAME_EMPTY, 400, 0, DEBUG },
	{ &HTTP_FIELD_NAME_BAD, 400, 0, DEBUG },
	{ &HTTP_FIELD_NAME_SPACE, 400, 0, DEBUG },
	{ &HTTP_FIELD_COLON_MISSING, 400, 0, DEBUG },
	{ &HTTP_FIELD_VALUE_BAD, 400, 0, DEBUG },
	{ &HTTP_HEAD_CUT, 400, 0, DEBUG },
	{ &HTTP_HEAD_REFUSED, 400, 0, DEBUG },
	{ &HTTP_TARGET_BAD, 400, 0, DEBUG },
	{ &HTTP_TARGET_FRAGMENT, 400, 0, DEBUG },
	{ &HTTP_TARGET_SCHEME, 400, 0, DEBUG },
	{ &HTTP_TARGET_ASTERISK, 400, 0, DEBUG },
	{ &HTTP_PATH_ESCAPE_BAD, 400, 0, DEBUG },
	{ &HTTP_PATH_CONTROL, 400, 0, DEBUG },
	{ &HTTP_PATH_SLASH_ENCODED, 400, 0, DEBUG },
	{ &HTTP_PATH_BACKSLASH, 400, 0, DEBUG },
	{ &HTTP_PATH_ABOVE_ROOT, 400, 0, DEBUG },
	{ &HTTP_PATH_DOT_PARAMETER, 400, 0, DEBUG },
	{ &HTTP_HOST_MISSING, 400, 0, DEBUG },
	{ &HTTP_HOST_SEVERAL, 400, 0, DEBUG },
	{ &HTTP_HOST_BAD, 400, 0, DEBUG },
	{ &HTTP_FRAMING_AMBIGUOUS, 400, 0, DEBUG },
	{ &HTTP_CONNECTION_LONG, 400, 0, DEBUG },
	{ &HTTP_LENGTH_SEVERAL, 400, 0, DEBUG },
	{ &HTTP_LENGTH_BAD, 400, 0, DEBUG },
	{ &HTTP_LENGTH_MISPLACED, 400, 0, DEBUG },
	{ &HTTP_TRANSFER_SEVERAL, 400, 0, DEBUG },
	{ &HTTP_TRANSFER_BAD, 400, 0, DEBUG },
	{ &HTTP_TRANSFER_IN_1_0, 400, 0, DEBUG },
	{ &HTTP_TRANSFER_MISPLACED, 400, 0, DEBUG },
	{ &HTTP_UPGRADE_UNASKED, 502, 0, WARN },
	{ &HTTP_CHUNK_SIZE_BAD, 400, 0, DEBUG },
	{ &HTTP_CHUNK_SIZE_OVERFLOW, 400, 0, DEBUG },
	{ &HTTP_CHUNK_EXTENSION_BAD, 400, 0, DEBUG },
	{ &HTTP_CHUNK_EXTENSION_LONG, 400, 0, DEBUG },
	{ &HTTP_CHUNK_WASTEFUL, 400, 0, DEBUG },
	{ &HTTP_CHUNK_END_MISSING, 400, 0, DEBUG },
	{ &HTTP_TRAILER_LARGE, 431, 0, DEBUG },
	{ &HTTP_BODY_CUT, 400, 0, DEBUG },
	{ &HTTP_BODY_SHORT, 502, 0, WARN },
	{ &HTTP_BODY_LONG, 502, 0, WARN },
	{ &HTTP_HEAD_TOO_LARGE, 431, 0, DEBUG },
	{ &HTTP_FIELDS_TOO_MANY, 431, 0, DEBUG },
	{ &HTTP_TARGET_TOO_LONG, 414, 0, DEBUG },
	{ &HTTP_BODY_TOO_LARGE, 413, 0, DEBUG },
	{ &HTTP_EXPECT_UNKNOWN, 417, 0, DEBUG },
	{ &HTTP_METHOD_UNKNOWN, 501, 0, DEBUG },
	{ &HTTP_CONNECT_UNSERVED, 501, 0, DEBUG },
	{ &HTTP_VERSION_UNSERVED, 505, 0, DEBUG },
	{ &HTTP_FORM_ESCAPE_BAD, 400, 0, DEBUG },
	{ &HTTP_FORM_NUL, 400, 0, DEBUG },
	{ &HTTP_FORM_NAME_SEVERAL, 400, 0, DEBUG },

	/* tls: answered by an alert, which tls/ sends; only plain HTTP can be answered in its own words */
	{ &TLS_PLAIN_HTTP, 400, 0, DEBUG },
	{ &TLS_SSL2, 0, 0, DEBUG },
	{ &TLS_NOT_TLS, 0, 0, DEBUG },
	{ &TLS_HELLO_MISSING, 0, 0, DEBUG },
	{ &TLS_HELLO_CUT, 0, 0, DEBUG },
	{ &TLS_HELLO_ALERT, 0, 0, DEBUG },
	{ &TLS_HELLO_INTERRUPTED, 0, 0, DEBUG },
	{ &TLS_HELLO_RECORDS, 0, 0, DEBUG },
	{ &TLS_HELLO_LONG, 0, 0, DEBUG },
	{ &TLS_HELLO_LENGTHS, 0, 0, DEBUG },
	{ &TLS_HELLO_TRAILING, 0, 0, DEBUG },
	{ &TLS_HELLO_SESSION_ID, 0, 0, DEBUG },
	{ &TLS_HELLO_SUITES, 0, 0, DEBUG },
	{ &TLS_HELLO_COMPRESSION, 0, 0, DEBUG },
	{ &TLS_HELLO_EXTENSIONS_MANY, 0, 0, DEBUG },
	{ &TLS_HELLO_EXTENSION_TWICE, 0, 0, DEBUG },
	{ &TLS_HELLO_EXTENSION_BAD, 0, 0, DEBUG },
	{ &TLS_HELLO_EXTENSION_MISSING, 0, 0, DEBUG },
	{ &TLS_HELLO_NAMES, 0, 0, DEBUG },
	{ &TLS_HELLO_NAME_BAD, 0, 0, DEBUG },
	{ &TLS_HELLO_PROTOCOLS, 0, 0, DEBUG },
	{ &TLS_HELLO_POINTS, 0, 0, DEBUG },
	{ &TLS_HELLO_RENEGOTIATES, 0, 0, DEBUG },
	{ &TLS_HELLO_RECORD_LIMIT, 0, 0, DEBUG },
	{ &TLS_HELLO_SHARES_MANY, 0, 0, DEBUG },
	{ &TLS_HELLO_SHARE_TWICE, 0, 0, DEBUG },
	{ &TLS_HELLO_SHARE_UNLISTED, 0, 0, DEBUG },
	{ &TLS_HELLO_SHARE_BAD, 0, 0, DEBUG },
	{ &TLS_HELLO_PSK_PLACE, 0, 0, DEBUG },
	{ &TLS_HELLO_PSK_BINDERS, 0, 0, DEBUG },
	{ &TLS_FALLBACK_INAPPROPRIATE, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_CUT, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_LONG, 0, 0, DEBUG },
	{ &TLS_VERSION_UNSUPPORTED, 0, 0, DEBUG },
	{ &TLS_NOTHING_SHARED, 0, 0, DEBUG },
	{ &TLS_PROTOCOL_UNSUPPORTED, 0, 0, DEBUG },
	{ &TLS_NAME_MISSING, 0, 0, DEBUG },
	{ &TLS_NAME_UNKNOWN, 0, 0, DEBUG },
	{ &TLS_HANDSHAKES_FULL, 0, 0, WARN },
	{ &TLS_HANDSHAKE_DISPLACED, 0, 0, DEBUG },
	{ &TLS_CERTIFICATE_MISSING, 0, 0, DEBUG },
	{ &TLS_CERTIFICATE_EXPIRED, 0, 0, INFO },
	{ &TLS_CERTIFICATE_REVOKED, 0, 0, INFO },
	{ &TLS_CERTIFICATE_UNTRUSTED, 0, 0, INFO },
	{ &TLS_CERTIFICATE_DEEP, 0, 0, INFO },
	{ &TLS_CERTIFICATE_LIST_OLD, 0, 0, WARN },
	{ &TLS_CERTIFICATE_LIST_MISSING, 0, 0, WARN },
	{ &TLS_CERTIFICATE_USAGE, 0, 0, INFO },
	{ &TLS_CERTIFICATE_BAD, 0, 0, INFO },
	{ &TLS_HANDSHAKE_MALFORMED, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_ORDER, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_PARAMETER, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_FORGED, 0, 0, DEBUG },
	{ &TLS_HANDSHAKE_MEMORY, 0, 0, ERROR },
	{ &TLS_HANDSHAKE_FAILED, 0, 0, INFO },
	{ &TLS_RECORD_TYPE, 0, 0, DEBUG },
	{ &TLS_RECORD_PLAIN, 0, 0, DEBUG },
	{ &TLS_RECORD_CCS, 0, 0, DEBUG },
	{ &TLS_RECORD_VERSION, 0, 0, DEBUG },
	{ &TLS_RECORD_LONG, 0, 0, DEBUG },
	{ &TLS_RECORD_SHORT, 0, 0, DEBUG },
	{ &TLS_RECORD_FORGED, 0, 0, DEBUG },
	{ &TLS_RECORD_PADDING, 0, 0, DEBUG },
	{ &TLS_TRUNCATED, 0, 0, DEBUG },
	{ &TLS_MESSAGE_UNEXPECTED, 0, 0, DEBUG },
	{ &TLS_MESSAGE_MALFORMED, 0, 0, DEBUG },
	{ &TLS_KEY_UPDATE_VALUE, 0, 0, DEBUG },
	{ &TLS_RENEGOTIATION, 0, 0, DEBUG },
	{ &TLS_ALERT_MALFORMED, 0, 0, DEBUG },
	{ &TLS_EMPTY_FLOOD, 0, 0, DEBUG },
	{ &TLS_KEY_UPDATE_FLOOD, 0, 0, DEBUG },
	{ &TLS_KEY_SPENT, 0, 0, INFO },
	{ &TICKET_FILE_CUT, 0, 0, WARN },
	{ &TICKET_FILE_FOREIGN, 0, 0, WARN },
	{ &TICKET_FILE_VERSION, 0, 0, WARN },
	{ &TICKET_FILE_LENGTH, 0, 0, WARN },
	{ &TICKET_FILE_DAMAGED, 0, 0, WARN },

	/* ws: the close codes are told by ws/engine itself; here for the log and the opening handshake */
	{ &WS_RESERVED_BIT, 0, 1002, DEBUG },
	{ &WS_OPCODE_RESERVED, 0, 1002, DEBUG },
	{ &WS_CONTROL_FRAGMENTED, 0, 1002, DEBUG },
	{ &WS_CONTROL_TOO_LONG, 0, 1002, DEBUG },
	{ &WS_CONTINUATION_ALONE, 0, 1002, DEBUG },
	{ &WS_MESSAGE_UNFINISHED, 0, 1002, DEBUG },
	{ &WS_MASK_MISSING, 0, 1002, DEBUG },
	{ &WS_MASK_FORBIDDEN, 0, 1002, DEBUG },
	{ &WS_LENGTH_NOT_MINIMAL, 0, 1002, DEBUG },
	{ &WS_LENGTH_NEGATIVE, 0, 1002, DEBUG },
	{ &WS_FRAME_TOO_LARGE, 0, 1009, DEBUG },
	{ &WS_MESSAGE_TOO_LARGE, 0, 1009, DEBUG },
	{ &WS_TEXT_NOT_UTF8, 0, 1007, DEBUG },
	{ &WS_DEFLATE_BROKEN, 0, 1007, DEBUG },
	{ &WS_FRAGMENTS_TOO_SMALL, 0, 1008, DEBUG },
	{ &WS_CLOSE_TOO_SHORT, 0, 1002, DEBUG },
	{ &WS_CLOSE_CODE_INVALID, 0, 1002, DEBUG },
	{ &WS_CLOSE_TEXT_NOT_UTF8, 0, 1007, DEBUG },
	{ &WS_ENDED_WITHOUT_CLOSE, 0, 1006, DEBUG },
	{ &WS_TEXT_UNWELCOME, 0, 1003, DEBUG },
	{ &WS_BINARY_UNWELCOME, 0, 1003, DEBUG },
	{ &WS_ACCEPT_METHOD, 405, 0, DEBUG },
	{ &WS_ACCEPT_HTTP_TOO_OLD, 400, 0, DEBUG },
	{ &WS_ACCEPT_HOST, 400, 0, DEBUG },
	{ &WS_ACCEPT_UPGRADE, 400, 0, DEBUG },
	{ &WS_ACCEPT_CONNECTION, 400, 0, DEBUG },
	{ &WS_ACCEPT_KEY, 400, 0, DEBUG },
	{ &WS_ACCEPT_VERSION, 426, 0, DEBUG },
	{ &WS_ACCEPT_EXTENSIONS, 400, 0, DEBUG },
	{ &WS_ACCEPT_ORIGIN, 403, 0, DEBUG },
	{ &WS_ACCEPT_PROTOCOL_MALFORMED, 400, 0, DEBUG },
	{ &WS_ACCEPT_PROTOCOL_NONE, 400, 0, DEBUG },

	/* the gateway itself */
	{ &ROUTE_NONE, 404, 0, DEBUG },
	{ &CLIENT_CERTIFICATE_MISSING, 403, 0, INFO },
	{ &CLIENT_CERTIFICATE_REFUSED, 403, 0, INFO },
	{ &METHOD_NOT_ALLOWED, 405, 0, DEBUG },
	{ &HOST_MISDIRECTED, 421, 0, INFO },
	{ &TARGET_NOT_BUILT, 501, 0, INFO },
	{ &CERTIFICATES_BUSY, 409, 0, INFO },
	{ &CERTIFICATES_BAD, 422, 0, ERROR },
	{ &CERTIFICATES_INCOMPLETE, 500, 0, ERROR },
	{ &CERTIFICATES_LATE, 504, 0, WARN },
	{ &CLIENT_GONE, 0, 0, DEBUG },
	{ &CLIENT_IDLE, 0, 0, DEBUG },
	{ &CLIENT_HEAD_LATE, 408, 0, DEBUG },
	{ &CLIENT_BODY_LATE, 408, 0, DEBUG },
	{ &CLIENT_HANDSHAKE_LATE, 0, 0, DEBUG },
	{ &CLIENT_CLOSE_LATE, 0, 0, DEBUG },
	{ &WEBSOCKET_IDLE, 0, 1001, DEBUG },
	{ &WEBSOCKET_NO_PONG, 0, 1001, INFO },
	{ &WEBSOCKET_EXPECTED, 426, 0, DEBUG },
	{ &WEBSOCKET_BODY, 400, 0, DEBUG },
	{ &GATEWAY_DRAINING, 503, 1001, INFO },
	{ &CONNECTIONS_MAX, 503, 1013, WARN },
	{ &UPSTREAM_REFUSED, 502, 0, WARN },
	{ &UPSTREAM_RESET, 502, 0, WARN },
	{ &UPSTREAM_SEND_LATE, 504, 0, WARN },
	{ &UPSTREAM_CLOSED, 502, 0, WARN },
	{ &UPSTREAM_ANSWER_BAD, 502, 0, WARN },
	{ &UPSTREAM_CUT, 502, 0, WARN },
	{ &UPSTREAM_CONNECT_LATE, 504, 0, WARN },
	{ &UPSTREAM_RESPONSE_LATE, 504, 0, WARN },
	{ &UPSTREAM_BODY_LATE, 504, 0, WARN },
	{ &UPSTREAM_BUSY, 503, 0, WARN },
	{ &UPSTREAM_DOWN, 503, 0, WARN },
	{ &HEALTH_LATE, 0, 0, WARN },
	{ &HEALTH_STATUS, 0, 0, WARN },
	{ &SITE_MISSING, 400, 0, DEBUG },
	{ &SITE_NAME_BAD, 400, 0, DEBUG },
	{ &SITES_FULL, 507, 0, WARN },
	{ &SITE_COUNT_FULL, 409, 0, WARN },
	{ &FORM_EXPECTED, 415, 0, DEBUG },
	{ &FORM_TOO_LARGE, 413, 0, DEBUG },
	{ &SITE_UNKNOWN, 404, 0, DEBUG },
	{ &SITE_CAP_REACHED, 409, 0, DEBUG },
	{ &STUDY_CAP_REACHED, 409, 0, DEBUG },
	{ &SITE_PAUSED, 409, 0, DEBUG },
	{ &SITE_CLOSED, 409, 0, DEBUG },
	{ &COUNT_BELOW_ZERO, 409, 0, DEBUG },
	{ &SITE_CHANGED, 412, 0, DEBUG },
	{ &RESERVATION_UNKNOWN, 404, 0, DEBUG },
	{ &RESERVATIONS_FULL, 503, 0, WARN },
	{ &CONDITION_BAD, 400, 0, DEBUG },
	{ &IDEMPOTENCY_KEY_BAD, 400, 0, DEBUG },
	{ &IDEMPOTENCY_KEY_REUSED, 422, 0, DEBUG },
	{ &IDEMPOTENCY_KEYS_FULL, 503, 0, WARN },
	{ &CHANGES_FULL, 503, 0, WARN },
	{ &SITES_LIMIT_BAD, 400, 0, DEBUG },
	{ &SITES_CURSOR_BAD, 400, 0, DEBUG },
	{ &JSON_BAD, 400, 0, DEBUG },
	{ &JSON_EXPECTED, 415, 0, DEBUG },
	{ &JSON_TOO_LARGE, 413, 0, DEBUG },
	{ &CHANGE_REASON_BAD, 400, 0, DEBUG },
	/* Not known to be durable, and not known to be lost: neither "done" nor "not done" may be said. */
	{ &COUNTING_LATE, 504, 0, WARN },
	{ &COUNTING_ENDS, 503, 0, INFO },
	{ &JOURNAL_FULL, 507, 0, ERROR },
	{ &JOURNAL_FAILED, 503, 0, ERROR },
	{ &JOURNAL_BEHIND, 503, 0, WARN },
	{ &PATIENT_MISSING, 400, 0, DEBUG },
	{ &PATIENT_NAME_BAD, 400, 0, DEBUG },
	{ &PUSH_ORIGIN, 403, 0, DEBUG },
	{ &PUSH_TOO_LARGE, 413, 0, DEBUG },
	{ &PUSH_NOT_JSON, 400, 0, DEBUG },
	{ &PUSH_BODY_MISSING, 400, 0, DEBUG },
	{ &PUSH_MEMBER_UNKNOWN, 400, 0, DEBUG },
	{ &PUSH_TTL_BAD, 400, 0, DEBUG },
	/* 1013, "try again later": the client broke no rule (1008), he is behind, and what he is to do is to come again. */
	{ &LIVE_SLOW_READER, 0, 1013, INFO },
	{ &LIVE_MESSAGE_BAD, 0, 0, DEBUG },
	{ &ADMIN_BUSY, 503, 0, INFO },

	/* Stands for all that tls_alert_reason() gives; must stand last but one. */
	{ &TLS_ALERT_RECEIVED, 0, 0, DEBUG },

	/* Anything else is our own mistake; must stand last. */
	{ &INTERNAL_ERROR, 500, 1011, ERROR },
};

unsigned verdict_count(void)
{
	return array_count(VERDICTS);
}

static bool is_alert(const struct reason *reason)
{
	for (unsigned alert = 0; alert < 256; alert++)
		if (tls_alert_reason((uint8_t)alert) == reason)
			return true;
	return false;
}

unsigned verdict_index(const struct reason *reason)
{
	unsigned i = 0;

	while (i + 1 < array_count(VERDICTS) && VERDICTS[i].reason != reason)
		i++;
	if (i + 1 == array_count(VERDICTS) && reason && is_alert(reason))
		i--;
	return i;
}

const struct verdict *verdict_at(unsigned index)
{
	check(index < array_count(VERDICTS));
	return &VERDICTS[index];
}

const struct verdict *verdict_of(const struct reason *reason)
{
	return verdict_at(verdict_index(reason));
}
