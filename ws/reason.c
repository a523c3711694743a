/* ws/reason.c — the sentences, and the one table that says what each breach is answered with. */
#include "ws/reason.h"

#include "ring/base.h"

#define REASON(constant, name, sentence) const struct reason constant = { name, sentence }

REASON(WS_RESERVED_BIT, "ws_reserved_bit", "a frame has a reserved bit set and no extension was agreed");
REASON(WS_OPCODE_RESERVED, "ws_opcode_reserved", "a frame has an opcode that the standard reserves");
REASON(WS_CONTROL_FRAGMENTED, "ws_control_fragmented", "a control frame is fragmented");
REASON(WS_CONTROL_TOO_LONG, "ws_control_too_long", "a control frame carries more than 125 bytes");
REASON(WS_CONTINUATION_ALONE, "ws_continuation_alone", "a continuation frame came where no message had begun");
REASON(WS_MESSAGE_UNFINISHED, "ws_message_unfinished", "a new message began before the one before it had ended");
REASON(WS_MASK_MISSING, "ws_mask_missing", "a frame from a client is not masked");
REASON(WS_MASK_FORBIDDEN, "ws_mask_forbidden", "a frame from a server is masked");
REASON(WS_LENGTH_NOT_MINIMAL, "ws_length_not_minimal", "a frame's length is not written in the shortest form");
REASON(WS_LENGTH_NEGATIVE, "ws_length_negative", "a frame's 64-bit length has its highest bit set");
REASON(WS_FRAME_TOO_LARGE, "ws_frame_too_large", "a frame is larger than limits.websocket_frame_bytes_max");
REASON(WS_MESSAGE_TOO_LARGE, "ws_message_too_large", "a message is larger than limits.websocket_message_bytes_max, on live limits.live_message_bytes_max");

REASON(WS_TEXT_NOT_UTF8, "ws_text_not_utf8", "a text message is not UTF-8");
REASON(WS_DEFLATE_BROKEN, "ws_deflate_broken", "a compressed message cannot be decompressed, or is cut");
REASON(WS_FRAGMENTS_TOO_SMALL, "ws_fragments_too_small",
	"a message has more small fragments than limits.websocket_small_fragments_max");
REASON(WS_CLOSE_TOO_SHORT, "ws_close_too_short", "a close frame carries half a code");
REASON(WS_CLOSE_CODE_INVALID, "ws_close_code_invalid", "a close frame carries a code that no frame may carry");
REASON(WS_CLOSE_TEXT_NOT_UTF8, "ws_close_text_not_utf8", "a close frame's text is not UTF-8");
REASON(WS_ENDED_WITHOUT_CLOSE, "ws_ended_without_close", "the connection ended without a close frame");

REASON(WS_TEXT_UNWELCOME, "ws_text_unwelcome", "a text message came where only binary ones are taken");
REASON(WS_BINARY_UNWELCOME, "ws_binary_unwelcome", "a binary message came where only text is taken");

REASON(WS_ACCEPT_METHOD, "ws_accept_method", "a WebSocket is asked for with GET");
REASON(WS_ACCEPT_HTTP_TOO_OLD, "ws_accept_http_too_old", "a WebSocket needs HTTP/1.1");
REASON(WS_ACCEPT_HOST, "ws_accept_host", "the request has no Host, or several");
REASON(WS_ACCEPT_UPGRADE, "ws_accept_upgrade", "the request does not ask for an upgrade to websocket");
REASON(WS_ACCEPT_CONNECTION, "ws_accept_connection", "the Connection field does not list upgrade");
REASON(WS_ACCEPT_KEY, "ws_accept_key", "Sec-WebSocket-Key is missing, repeated, or not 16 bytes in base64");
REASON(WS_ACCEPT_VERSION, "ws_accept_version", "Sec-WebSocket-Version is not 13");
REASON(WS_ACCEPT_EXTENSIONS, "ws_accept_extensions", "Sec-WebSocket-Extensions is not a list of extensions");
REASON(WS_ACCEPT_ORIGIN, "ws_accept_origin", "pages of this origin may not open a WebSocket here");
REASON(WS_ACCEPT_PROTOCOL_MALFORMED, "ws_accept_protocol_malformed",
	"Sec-WebSocket-Protocol is not a list of tokens");
REASON(WS_ACCEPT_PROTOCOL_NONE, "ws_accept_protocol_none", "none of the offered subprotocols is spoken here");

static const struct answer {
	const struct reason *reason;
	unsigned close_code;
	unsigned status;
} ANSWERS[] = {
	{ &WS_RESERVED_BIT, WS_CODE_PROTOCOL, 0 },
	{ &WS_OPCODE_RESERVED, WS_CODE_PROTOCOL, 0 },
	{ &WS_CONTROL_FRAGMENTED, WS_CODE_PROTOCOL, 0 },
	{ &WS_CONTROL_TOO_LONG, WS_CODE_PROTOCOL, 0 },
	{ &WS_CONTINUATION_ALONE, WS_CODE_PROTOCOL, 0 },
	{ &WS_MESSAGE_UNFINISHED, WS_CODE_PROTOCOL, 0 },
	{ &WS_MASK_MISSING, WS_CODE_PROTOCOL, 0 },
	{ &WS_MASK_FORBIDDEN, WS_CODE_PROTOCOL, 0 },
	{ &WS_LENGTH_NOT_MINIMAL, WS_CODE_PROTOCOL, 0 },
	{ &WS_LENGTH_NEGATIVE, WS_CODE_PROTOCOL, 0 },
	{ &WS_FRAME_TOO_LARGE, WS_CODE_TOO_LARGE, 0 },
	{ &WS_MESSAGE_TOO_LARGE, WS_CODE_TOO_LARGE, 0 },
	{ &WS_TEXT_NOT_UTF8, WS_CODE_NOT_UTF8, 0 },
	{ &WS_DEFLATE_BROKEN, WS_CODE_NOT_UTF8, 0 }, /* §7.4.1: 1007 is "not consistent with the type of the message" */
	{ &WS_FRAGMENTS_TOO_SMALL, WS_CODE_POLICY, 0 },
	{ &WS_CLOSE_TOO_SHORT, WS_CODE_PROTOCOL, 0 },
	{ &WS_CLOSE_CODE_INVALID, WS_CODE_PROTOCOL, 0 },
	{ &WS_CLOSE_TEXT_NOT_UTF8, WS_CODE_NOT_UTF8, 0 },
	{ &WS_ENDED_WITHOUT_CLOSE, WS_CODE_LOST, 0 },
	{ &WS_TEXT_UNWELCOME, WS_CODE_UNWELCOME_TYPE, 0 },
	{ &WS_BINARY_UNWELCOME, WS_CODE_UNWELCOME_TYPE, 0 },
	{ &WS_ACCEPT_METHOD, WS_CODE_PROTOCOL, 405 },
	{ &WS_ACCEPT_HTTP_TOO_OLD, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_HOST, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_UPGRADE, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_CONNECTION, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_KEY, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_VERSION, WS_CODE_PROTOCOL, 426 },
	{ &WS_ACCEPT_EXTENSIONS, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_ORIGIN, WS_CODE_POLICY, 403 },
	{ &WS_ACCEPT_PROTOCOL_MALFORMED, WS_CODE_PROTOCOL, 400 },
	{ &WS_ACCEPT_PROTOCOL_NONE, WS_CODE_PROTOCOL, 400 },
};

static const struct answer *answer_find(const struct reason *reason)
{
	for (size_t i = 0; i < array_count(ANSWERS); i++)
		if (ANSWERS[i].reason == reason)
			return &ANSWERS[i];
	return NULL;
}

unsigned ws_close_code(const struct reason *reason)
{
	const struct answer *answer = answer_find(reason);

	/* RFC 6455 §7.4.1: 1011 is "an unexpected condition that prevented it from fulfilling the request". */
	return answer ? answer->close_code : WS_CODE_INTERNAL;
}

unsigned ws_accept_status(const struct reason *reason)
{
	const struct answer *answer = answer_find(reason);

	return answer && answer->status ? answer->status : 400;
}
