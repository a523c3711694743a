/* ws/engine.c — bottom-up: what we write, then control frames, then data, then ws_next that reads headers and shares out.
 *
 * A frame on its way in:
 *
 *    header ──▶ frame, in_frame ──▶ payload ──┬─ control: gathered in `control`, then answered
 *      ▲         (judged)                     └─ data: clear ▶ shown ▶ consumed ──┐
 *      └──────────────────────────── frame_done ◀─────────────────────────────────┘ */
#include "ws/engine.h"

#include <string.h>

#define WS_MAGIC 0x57536f6bu             /* "WSok" */
#define PACKED_BIT 0x4u                  /* RFC 7692 §6: RSV1, in struct ws_frame */

static_assert(WS_CONTROL_MAX <= UINT8_MAX, "ws_waiting.n holds it");
static_assert(WS_HEADER_MAX <= UINT8_MAX, "header_n holds it");

void ws_init(struct ws *ws, struct pipe *in, struct pipe *out, const struct ws_limits *limits)
{
	*ws = (struct ws){ .magic = WS_MAGIC, .in = in, .out = out, .limits = *limits };
	/* So that "no limit" is no case of its own. */
	if (ws->limits.frame_bytes_max == 0)
		ws->limits.frame_bytes_max = UINT64_MAX;
	if (ws->limits.message_bytes_max == 0)
		ws->limits.message_bytes_max = UINT64_MAX;
	if (ws->limits.small_fragments_max == 0)
		ws->limits.small_fragments_max = UINT32_MAX;
}

void ws_use_deflate(struct ws *ws, struct ws_deflate *deflate)
{
	check(ws->magic == WS_MAGIC && !ws->in_frame && ws->message_opcode == 0 && !ws->writing);
	check(deflate->pool == ws->out->pool);
	ws->deflate = deflate;
}

/* ---- what we write ---- */

/* RFC 6455 §7.4.1 and §7.4.2, and IANA's registry for 1012 … 1014. 1004 has no meaning yet; 1005, 1006 and 1015 "MUST NOT be set
 * as a status code in a Close control frame by an endpoint"; 1016 … 2999 are for later standards. */
bool ws_code_sendable(unsigned code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != WS_CODE_NONE && code != WS_CODE_LOST)
		|| (code >= 3000 && code <= 4999);
}

/* §5.1: "A server MUST NOT mask any frames that it sends to the client." */
static void frame_write(struct ws *ws, uint8_t opcode, bool final, uint64_t length, const void *bytes, size_t n)
{
	uint8_t header[WS_HEADER_MAX];
	size_t size = ws_frame_encode(header, &(struct ws_frame){ .opcode = opcode, .final = final, .length = length });

	pipe_write(ws->out, header, size);
	pipe_write(ws->out, bytes, n);
}

static void waiting_set(struct ws_waiting *waiting, uint8_t opcode, const void *bytes, size_t n)
{
	check(n <= WS_CONTROL_MAX);
	waiting->opcode = opcode;
	waiting->n = (uint8_t)n;
	if (n > 0)
		memcpy(waiting->bytes, bytes, n);
}

static void waiting_write(struct ws *ws, struct ws_waiting *waiting)
{
	frame_write(ws, waiting->opcode, true, waiting->n, waiting->bytes, waiting->n);
	waiting->opcode = 0;
}

/* A frame whose header told its length is not whole: whatever came now would be taken for its payload. */
static bool frame_cut(const struct ws *ws)
{
	return ws->part_open && ws->part_left > 0;
}

/* Both have said Close, or there is nothing to hope for. What the peer still sends must be read and dropped: a socket closed
 * over unread bytes sends a reset, and that may destroy our Close before the peer has read it. */
static void over(struct ws *ws)
{
	pipe_end(ws->out);
	pipe_refuse(ws->in, ws->end == WS_BROKEN ? ws->reason : &RING_DONE);
	if (ws->deflate)
		ws_deflate_fini(ws->deflate);
}

/* Writes what waits, if this is the moment. Only the pong asks for room: the peer decides how many pings come, but pings
 * and the one Close of ours are few. */
static void waiting_flush(struct ws *ws)
{
	bool closing = ws->own.opcode == WS_CLOSE;

	if (frame_cut(ws) || ws->out->ended)
		return;
	if (ws->pong.opcode && (closing || pipe_free(ws->out) > 0)) {
		waiting_write(ws, &ws->pong);
		ws->pings_answered++;
	}
	if (ws->own.opcode)
		waiting_write(ws, &ws->own);
	if (ws->close_told && ws_over(ws))
		over(ws);
}

uint64_t ws_write_free(const struct ws *ws)
{
	uint64_t room = pipe_free(ws->out);

	if (ws->close_told || room == 0)
		return 0;
	/* Never 0 where the pipe is not full: the pipe wakes its writer only when it opens after it was. */
	return room > WS_HEADER_MAX ? room - WS_HEADER_MAX : 1;
}

bool ws_write_begin(struct ws *ws, enum ws_opcode opcode, uint64_t length)
{
	check(ws->magic == WS_MAGIC);
	if (ws->close_told)
		return false;
	check(!ws->writing && (opcode == WS_TEXT || opcode == WS_BINARY));
	ws->writing = true;
	ws->part_opcode = opcode;
	if (length != WS_LENGTH_UNKNOWN) {
		waiting_flush(ws);
		frame_write(ws, opcode, true, length, NULL, 0);
		ws->part_open = true;
		ws->part_left = length;
	}
	return true;
}

/* A fragment of a message, or all of it. */
static void fragment_write(struct ws *ws, const void *bytes, size_t n, bool last)
{
	bool first = ws->part_opcode != WS_CONTINUATION;

	if (first)
		ws->part_packed = ws->deflate && ws_pack_wanted(ws->deflate, n, last);
	if (ws->part_packed) {
		struct ws_frame frame = { .opcode = ws->part_opcode, .final = last, .reserved = first ? PACKED_BIT : 0 };
		uint8_t header[WS_HEADER_MAX];
		struct pipe packed;

		pipe_init(&packed, ws->out->pool, UINT64_MAX);
		if (ws_pack(ws->deflate, &packed, bytes, n, first, last, &frame.length)) {
			pipe_write(ws->out, header, ws_frame_encode(header, &frame));
			pipe_move(ws->out, &packed, frame.length);
			pipe_fini(&packed);
			return;
		}
		pipe_fini(&packed);
	}
	frame_write(ws, ws->part_opcode, last, n, bytes, n);
}

static bool part_write(struct ws *ws, const void *bytes, size_t n, bool last)
{
	check(ws->magic == WS_MAGIC);
	if (ws->out->ended || (ws->close_told && !frame_cut(ws)))
		return false;
	check(ws->writing);
	if (ws->part_open) {
		/* Also behind ws_close: that waits until this frame is whole. */
		check(n <= ws->part_left && (!last || n == ws->part_left));
		pipe_write(ws->out, bytes, n);
		ws->part_left -= n;
	} else if (n > 0 || last) {
		fragment_write(ws, bytes, n, last);
		ws->part_opcode = WS_CONTINUATION;
	}
	if (last) {
		ws->writing = ws->part_open = false;
		ws->messages_sent++;
	}
	waiting_flush(ws);
	return true;
}

bool ws_write_piece(struct ws *ws, const void *bytes, size_t n)
{
	return part_write(ws, bytes, n, false);
}

bool ws_write_end(struct ws *ws, const void *bytes, size_t n)
{
	return part_write(ws, bytes, n, true);
}

bool ws_write(struct ws *ws, enum ws_opcode opcode, const void *bytes, size_t n)
{
	return ws_write_begin(ws, opcode, WS_LENGTH_UNKNOWN) && ws_write_end(ws, bytes, n);
}

bool ws_write_like(struct ws *ws, const struct ws_piece *piece, size_t n)
{
	check(n <= piece->n);
	if (piece->first && !ws->writing && !ws_write_begin(ws, piece->opcode, WS_LENGTH_UNKNOWN))
		return false;
	return part_write(ws, piece->bytes, n, piece->last && n == piece->n);
}

void ws_ping(struct ws *ws, const void *payload, size_t n)
{
	check(ws->magic == WS_MAGIC && n <= WS_CONTROL_MAX);
	if (ws->close_told)
		return;
	waiting_set(&ws->own, WS_PING, payload, n);
	waiting_flush(ws);
}

/* The longest beginning of at most WS_CLOSE_TEXT_MAX bytes that cuts no character. */
static size_t close_text_size(const char *text)
{
	size_t n = strlen(text);

	if (n <= WS_CLOSE_TEXT_MAX)
		return n;
	n = WS_CLOSE_TEXT_MAX;
	while (n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
		n--;
	return n;
}

void ws_close(struct ws *ws, unsigned code, const char *text)
{
	uint8_t payload[WS_CONTROL_MAX];
	size_t n = 0;

	check(ws->magic == WS_MAGIC);
	check(code == WS_CODE_NONE || ws_code_sendable(code));
	if (ws->close_told)
		return;
	if (code != WS_CODE_NONE) {
		payload[n++] = (uint8_t)(code >> 8);
		payload[n++] = (uint8_t)code;
		if (text) {
			size_t size = close_text_size(text);

			memcpy(payload + n, text, size);
			n += size;
		}
	}
	ws->close_told = true;
	ws->own_code = (uint16_t)code;
	waiting_set(&ws->own, WS_CLOSE, payload, n);
	waiting_flush(ws);
}

/* ---- ends ---- */

/* RFC 6455 §7.1.7, to fail the connection: Close with the code of the broken rule, and no more waiting for the peer's. */
static void broken_by_peer(struct ws *ws, const struct reason *reason)
{
	ws->end = WS_BROKEN;
	ws->reason = reason;
	ws->pong.opcode = 0;
	if (frame_cut(ws)) {
		/* Half a frame is out and its rest may never come: there is no place for a Close. */
		ws->close_told = true;
		pipe_break(ws->out, reason);
	}
	ws_close(ws, ws_close_code(reason), reason->sentence);
	over(ws);
}

/* Nobody is there to read a Close. */
static void lost(struct ws *ws, const struct reason *reason, bool cleanly)
{
	ws->end = WS_BROKEN;
	ws->reason = reason;
	ws->close_told = true;           /* there is nobody to tell */
	if (cleanly && !frame_cut(ws))
		pipe_end(ws->out);
	else
		pipe_break(ws->out, reason);
	pipe_refuse(ws->in, reason);
	if (ws->deflate)
		ws_deflate_fini(ws->deflate);
}

/* `in` gives nothing more at present. */
static void look_for_end(struct ws *ws)
{
	if (pipe_at_end(ws->in))
		lost(ws, ws->in->reason ? ws->in->reason : &WS_ENDED_WITHOUT_CLOSE, !ws->in->reason);
	else if (ws->out->refusal)
		lost(ws, ws->out->refusal, false);
}

/* ---- control frames ---- */

static void close_received(struct ws *ws)
{
	size_t n = ws->frame.length;

	ws->peer_code = WS_CODE_NONE;
	if (n == 1) {
		/* §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer". */
		broken_by_peer(ws, &WS_CLOSE_TOO_SHORT);
		return;
	}
	if (n >= 2) {
		struct ws_utf8 utf8;

		ws->peer_code = (uint16_t)(ws->control[0] << 8 | ws->control[1]);
		if (!ws_code_sendable(ws->peer_code)) {
			broken_by_peer(ws, &WS_CLOSE_CODE_INVALID);
			return;
		}
		ws_utf8_init(&utf8);
		if (ws_utf8_feed(&utf8, ws->control + 2, n - 2) < n - 2 || !ws_utf8_whole(&utf8)) {
			broken_by_peer(ws, &WS_CLOSE_TEXT_NOT_UTF8);
			return;
		}
	}
	ws->end = WS_CLOSED;
	/* §5.5.2: a ping need not be answered behind a Close; §5.5.1: "the endpoint typically echos the status code". */
	ws->pong.opcode = 0;
	ws_close(ws, ws->peer_code, NULL);
	waiting_flush(ws);
}

static void ping_received(struct ws *ws)
{
	/* §1.4: behind a Close "a peer discards any further data received", so nothing of ours comes behind one. */
	if (ws->close_told)
		return;
	/* §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the
	 * endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame." */
	if (ws->pong.opcode)
		ws->pings_passed_over++;
	waiting_set(&ws->pong, WS_PONG, ws->control, ws->frame.length);
	waiting_flush(ws);
}

/* True when there is an event. */
static bool control_read(struct ws *ws, struct ws_piece *piece)
{
	while (ws->frame_at < ws->frame.length) {
		size_t n;
		uint8_t *bytes = pipe_peek(ws->in, &n);

		if (n == 0)
			return false;
		if (n > ws->frame.length - ws->frame_at)
			n = ws->frame.length - ws->frame_at;
		memcpy(ws->control + ws->frame_at, bytes, n);
		ws_mask(ws->control + ws->frame_at, n, ws->frame.mask, ws->frame_at);
		ws->frame_at += n;
		pipe_consume(ws->in, n);
	}
	ws->in_frame = false;
	switch (ws->frame.opcode) {
	case WS_PING:
		ping_received(ws);
		return false;
	case WS_CLOSE:
		close_received(ws);
		return false;
	default:
		*piece = (struct ws_piece){ .bytes = ws->control, .n = ws->frame.length };
		return true;
	}
}

/* ---- data frames ---- */

static void frame_done(struct ws *ws)
{
	ws->in_frame = false;
	if (ws->frame.final) {
		ws->message_opcode = 0;
		ws->messages_received++;
	}
}

/* Unmasks and judges what lies in the first chunk of `in` and was not yet. n is 0 for an empty frame. */
static const struct reason *data_clear(struct ws *ws, uint8_t *bytes, size_t n)
{
	bool ends = ws->frame.final && ws->frame_at + n == ws->frame.length;

	if (n > ws->clear) {
		uint8_t *fresh = bytes + ws->clear;
		size_t fresh_n = n - ws->clear;

		ws_mask(fresh, fresh_n, ws->frame.mask, ws->frame_at + ws->clear);
		ws->clear = n;
		if (ws->message_opcode == WS_TEXT && ws_utf8_feed(&ws->utf8, fresh, fresh_n) < fresh_n)
			return &WS_TEXT_NOT_UTF8;
	}
	if (ends && ws->message_opcode == WS_TEXT && !ws_utf8_whole(&ws->utf8))
		return &WS_TEXT_NOT_UTF8;
	return NULL;
}

/* Bytes that were unpacked just now: are they text, and within the limit? Whatever broke behind them, they come before it; so
 * the same reason is given however the bytes arrive. */
static const struct reason *unpacked_judge(struct ws *ws, const uint8_t *bytes, size_t n, enum ws_unpacked unpacked)
{
	uint64_t room = ws->limits.message_bytes_max - ws->message_bytes;
	size_t within = n < room ? n : room;

	ws->message_bytes += within;
	/* RFC 7692 §6.2: the message is what it was before it was packed, so that is what must be UTF-8. */
	if (ws->message_opcode == WS_TEXT && ws_utf8_feed(&ws->utf8, bytes, within) < within)
		return &WS_TEXT_NOT_UTF8;
	if (n > within)
		return &WS_MESSAGE_TOO_LARGE;
	if (unpacked == WS_UNPACK_BROKEN)
		return &WS_DEFLATE_BROKEN;
	if (unpacked == WS_UNPACK_END && ws->message_opcode == WS_TEXT && !ws_utf8_whole(&ws->utf8))
		return &WS_TEXT_NOT_UTF8;
	return NULL;
}

/* Unpacks what `in` has of this frame, until a chunk is full. The first bytes that are too many end it. */
static const struct reason *packed_unpack(struct ws *ws)
{
	struct ws_deflate *deflate = ws->deflate;
	enum ws_unpacked unpacked = WS_UNPACK_MORE;

	while (unpacked == WS_UNPACK_MORE) {
		uint64_t left = ws->frame.length - ws->frame_at;
		uint64_t room = ws->limits.message_bytes_max - ws->message_bytes;
		uint32_t shown_before = deflate->shown ? deflate->shown->end : 0;
		size_t n = 0, used;
		uint8_t *bytes = left > 0 ? pipe_peek(ws->in, &n) : NULL;

		if (n > left)
			n = left;
		if (n == 0 && (left > 0 || !ws->frame.final))
			return NULL;
		if (n > ws->clear)
			ws_mask(bytes + ws->clear, n - ws->clear, ws->frame.mask, ws->frame_at + ws->clear);
		unpacked = ws_unpack(deflate, bytes, n, ws->frame.final && n == left, room < UINT64_MAX ? room + 1 : room, &used);
		ws->clear = n - used;
		ws->frame_at += used;
		pipe_consume(ws->in, used);

		size_t fresh_n = deflate->shown ? deflate->shown->end - shown_before : 0;
		const struct reason *reason = unpacked_judge(ws,
			fresh_n > 0 ? deflate->shown->bytes + shown_before : NULL, fresh_n, unpacked);

		if (reason)
			return reason;
	}
	return NULL;
}

/* As data_read, for a packed message. What is shown has left `in` already. */
static bool packed_read(struct ws *ws, struct ws_piece *piece)
{
	struct ws_deflate *deflate = ws->deflate;

	if (!deflate->shown && !deflate->unpack_end) {
		const struct reason *reason = packed_unpack(ws);

		if (reason) {
			broken_by_peer(ws, reason);
			return false;
		}
	}
	if (!deflate->shown && !deflate->unpack_end) {
		if (ws->frame_at == ws->frame.length && !ws->frame.final)
			frame_done(ws);
		return false;
	}
	*piece = (struct ws_piece){
		.bytes = deflate->shown ? deflate->shown->bytes + deflate->shown->begin : NULL,
		.n = deflate->shown ? chunk_size(deflate->shown) : 0,
		.opcode = ws->message_opcode,
		.first = !ws->message_touched,
		.last = deflate->unpack_end,
	};
	return true;
}

static void packed_consumed(struct ws *ws, size_t n)
{
	struct ws_deflate *deflate = ws->deflate;

	if (n > 0) {
		ws_unpack_consume(deflate, n);
		ws->message_touched = true;
	}
	if (deflate->shown)
		return;
	if (deflate->unpack_end) {
		ws_unpack_end(deflate);
		frame_done(ws);
	} else if (ws->frame_at == ws->frame.length && !ws->frame.final) {
		frame_done(ws);
	}
}

/* True when there is an event. */
static bool data_read(struct ws *ws, struct ws_piece *piece)
{
	if (ws->message_packed && !ws->close_told)
		return packed_read(ws, piece);

	uint64_t left = ws->frame.length - ws->frame_at;
	size_t n = 0;
	uint8_t *bytes = left > 0 ? pipe_peek(ws->in, &n) : NULL;

	if (n > left)
		n = left;
	if (left > 0 && n == 0)
		return false;
	if (ws->close_told) {
		/* We have said Close: only the peer's is of interest. */
		pipe_consume(ws->in, n);
		ws->frame_at += n;
		if (ws->frame_at == ws->frame.length)
			frame_done(ws);
		return false;
	}
	/* `clear` may reach behind the first chunk only if the pipe had split it, and it never does. */
	check(ws->clear <= n);

	const struct reason *reason = data_clear(ws, bytes, n);

	if (reason) {
		broken_by_peer(ws, reason);
		return false;
	}
	if (left == 0 && !ws->frame.final) {
		frame_done(ws);          /* an empty fragment shows nothing */
		return false;
	}
	*piece = (struct ws_piece){
		.bytes = bytes,
		.n = n,
		.opcode = ws->message_opcode,
		.first = !ws->message_touched,
		.last = ws->frame.final && n == left,
	};
	return true;
}

void ws_consumed(struct ws *ws, size_t n)
{
	check(ws->magic == WS_MAGIC);
	if (ws_over(ws))
		return;                  /* the caller's own ws_close or a break dropped the piece meanwhile */
	check(ws->in_frame && !ws_opcode_control(ws->frame.opcode));
	if (ws->message_packed) {
		if (!ws->close_told)
			packed_consumed(ws, n);
		return;                  /* behind our Close nobody is shown the rest, and data_read drops it */
	}
	check(n <= ws->clear);
	pipe_consume(ws->in, n);
	ws->frame_at += n;
	ws->clear -= n;
	if (n > 0)
		ws->message_touched = true;
	if (ws->frame_at == ws->frame.length)
		frame_done(ws);
}

/* ---- headers ---- */

/* What a packed message may have on the wire. It must be more than the limit, which is on what it unpacks to; and it must be some
 * bound, because a stream of empty blocks unpacks to nothing for ever. */
static uint64_t packed_bytes_max(const struct ws *ws)
{
	uint64_t most = ws->limits.message_bytes_max;

	return most < UINT64_MAX / 2 ? most + WS_DEFLATE_GROWTH(most) : UINT64_MAX;
}

/* A data frame's place in its message. */
static const struct reason *message_grow(struct ws *ws)
{
	if (ws->message_opcode == 0) {
		ws->message_opcode = ws->frame.opcode;
		ws->message_bytes = 0;
		ws->message_touched = false;
		ws->small_fragments = 0;
		ws->message_packed = ws->frame.reserved & PACKED_BIT;
		ws->packed_bytes = 0;
		ws_utf8_init(&ws->utf8);
	}
	/* header_read has judged both. */
	if (ws->message_packed) {
		ws->packed_bytes += ws->frame.length;
		check(ws->packed_bytes <= packed_bytes_max(ws));
	} else {
		ws->message_bytes += ws->frame.length;
		check(ws->message_bytes <= ws->limits.message_bytes_max);
	}
	/* A header, a look and a wake for every byte is how a few bytes keep a core busy. */
	if (!ws->frame.final && ws->frame.length < WS_SMALL_FRAGMENT_BYTES
			&& ++ws->small_fragments > ws->limits.small_fragments_max)
		return &WS_FRAGMENTS_TOO_SMALL;
	return NULL;
}

/* False when `in` holds no whole header, or the connection is over. */
static bool header_read(struct ws *ws)
{
	bool in_message = ws->message_opcode != 0;
	struct ws_frame_rules rules = {
		.frame_bytes_max = ws->limits.frame_bytes_max,
		.message_bytes_left = ws->limits.message_bytes_max,
		.from_client = true,
		.in_message = in_message,
	};

	if (in_message)
		rules.message_bytes_left = ws->message_packed ? packed_bytes_max(ws) - ws->packed_bytes
		                                              : ws->limits.message_bytes_max - ws->message_bytes;
	if (ws->deflate) {
		rules.reserved_allowed = PACKED_BIT;
		rules.coded_bytes_left = packed_bytes_max(ws);
	}
	for (;;) {
		const struct reason *broken;
		size_t n, size;
		uint8_t *bytes = pipe_peek(ws->in, &n);

		if (n == 0)
			return false;
		/* Where all of a header lies in one chunk it is read there. Else what there is moves to `header`. */
		size_t kept = ws->header_n;

		if (kept > 0 || n < WS_HEADER_MAX) {
			if (n > WS_HEADER_MAX - kept)
				n = WS_HEADER_MAX - kept;
			memcpy(ws->header + kept, bytes, n);
			bytes = ws->header;
		}
		switch (ws_frame_decode(&ws->frame, &size, bytes, kept + n, &rules, &broken)) {
		case WS_DECODE_BROKEN:
			broken_by_peer(ws, broken);
			return false;
		case WS_DECODE_MORE:
			ws->header_n = (uint8_t)(kept + n);
			pipe_consume(ws->in, n);
			continue;
		case WS_DECODE_WHOLE:
			break;
		}
		pipe_consume(ws->in, size - kept);
		ws->header_n = 0;
		ws->in_frame = true;
		ws->frame_at = 0;
		ws->clear = 0;
		if (!ws_opcode_control(ws->frame.opcode) && (broken = message_grow(ws)) != NULL) {
			broken_by_peer(ws, broken);
			return false;
		}
		return true;
	}
}

enum ws_event ws_next(struct ws *ws, struct ws_piece *piece)
{
	check(ws->magic == WS_MAGIC);
	waiting_flush(ws);
	while (!ws_over(ws)) {
		uint64_t bytes_before = ws->in->bytes;
		bool was_in_frame = ws->in_frame;

		if (!ws->in_frame && !header_read(ws)) {
			if (ws_over(ws))
				break;
			look_for_end(ws);
			if (ws_over(ws))
				break;
			return WS_MORE_NEEDED;
		}
		if (ws_opcode_control(ws->frame.opcode)) {
			if (control_read(ws, piece))
				return WS_PONG_RECEIVED;
		} else if (data_read(ws, piece)) {
			return WS_DATA;
		}
		/* In a frame and no byte further: its payload has not come. */
		if (!ws_over(ws) && ws->in_frame && was_in_frame && ws->in->bytes == bytes_before) {
			look_for_end(ws);
			if (!ws_over(ws))
				return WS_MORE_NEEDED;
		}
	}
	*piece = (struct ws_piece){ 0 };
	if (ws->end == WS_CLOSED) {
		piece->code = ws->peer_code;
		if (ws->peer_code != WS_CODE_NONE) {
			piece->bytes = ws->control + 2;
			piece->n = ws->frame.length - 2;
		}
	} else {
		piece->reason = ws->reason;
	}
	return ws->end;
}
