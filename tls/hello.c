/* See tls/hello.h. Bottom-up: the first bytes, then a cursor over chunks, then records and the message in them. */
#include "tls/hello.h"
#include "tls/reason.h"
#include "tls/record.h"

#include <string.h>

#define CLIENT_HELLO 1u
#define MESSAGE_HEADER_BYTES 4u

/* So every hello that is taken could travel in one record. */
static_assert(TLS_HELLO_BYTES_MAX <= TLS_CONTENT_BYTES_MAX, "a hello fits one record");
static_assert(TLS_HELLO_BYTES_MAX <= CHUNK_BYTES, "a hello fits one chunk");
static_assert(TLS_HELLO_BYTES_MAX <= UINT16_MAX && TLS_HELLO_RECORDS_MAX <= UINT8_MAX, "the counts fit their fields");

/* ---- the first bytes ---- */

/* With the space behind them, so that "GETS" is none; PRI is how HTTP/2 begins where both ends know it. */
static const char *const METHODS[] = {
	"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI ",
};

/* The name if we have enough of it, NULL if it may still become one. */
static const struct reason *look_for_http(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < array_count(METHODS); i++) {
		size_t length = strlen(METHODS[i]);

		if (memcmp(bytes, METHODS[i], n < length ? n : length) == 0)
			return n < length ? NULL : &TLS_PLAIN_HTTP;
	}
	return &TLS_NOT_TLS;
}

/* RFC 8446 §5.1: the record's version "MUST be ignored for all purposes", but its first byte has been 3 always. */
static const struct reason *length_check(const uint8_t *header)
{
	uint32_t length = (uint32_t)header[3] << 8 | header[4];

	/* RFC 8446 §5.1: "Implementations MUST NOT send zero-length fragments of Handshake types". */
	if (length == 0)
		return &TLS_RECORD_SHORT;
	/* "The length MUST NOT exceed 2^14 bytes. An endpoint that receives a record that exceeds this length MUST terminate the
	 * connection with a "record_overflow" alert." */
	if (length > TLS_CONTENT_BYTES_MAX)
		return &TLS_RECORD_LONG;
	return NULL;
}

const struct reason *tls_hello_look(const uint8_t *bytes, size_t n, uint32_t *whole)
{
	const struct reason *reason;

	*whole = 0;
	if (n == 0)
		return NULL;
	if (n > TLS_HELLO_LOOK_BYTES)
		n = TLS_HELLO_LOOK_BYTES;
	if (bytes[0] & 0x80) {
		/* RFC 5246 §E.2: an SSL 2.0 hello is a length with the highest bit set, then the type 1. */
		if (n < 3)
			return NULL;
		return bytes[2] == CLIENT_HELLO ? &TLS_SSL2 : &TLS_NOT_TLS;
	}
	if (bytes[0] == TLS_ALERT) {
		if (n < 2)
			return NULL;
		return bytes[1] == 3 ? &TLS_HELLO_ALERT : &TLS_NOT_TLS;
	}
	if (bytes[0] != TLS_HANDSHAKE)
		return look_for_http(bytes, n);
	if (n >= 2 && bytes[1] != 3)
		return &TLS_NOT_TLS;
	if (n < TLS_HEADER_BYTES)
		return NULL;
	reason = length_check(bytes);
	if (reason)
		return reason;
	if (n > TLS_HEADER_BYTES && bytes[TLS_HEADER_BYTES] != CLIENT_HELLO)
		return &TLS_HANDSHAKE_ORDER;
	*whole = TLS_HEADER_BYTES + (((uint32_t)bytes[3] << 8) | bytes[4]);
	return NULL;
}

/* ---- the wire, without consuming it ---- */

struct cursor {
	const struct chunk *chunk;
	uint32_t at;                     /* in the chunk's content */
};

static void cursor_skip(struct cursor *c, uint64_t n)
{
	while (c->chunk && n >= chunk_size(c->chunk) - c->at) {
		n -= chunk_size(c->chunk) - c->at;
		c->chunk = c->chunk->next;
		c->at = 0;
	}
	c->at += (uint32_t)n;
}

static const uint8_t *cursor_peek(const struct cursor *c, size_t *n)
{
	*n = c->chunk ? chunk_size(c->chunk) - c->at : 0;
	return c->chunk ? c->chunk->bytes + c->chunk->begin + c->at : NULL;
}

/* Up to n bytes; returns how many there were. The cursor stands behind them. */
static size_t cursor_copy(struct cursor *c, uint8_t *to, size_t n)
{
	size_t got = 0;

	while (got < n && c->chunk) {
		size_t piece;
		const uint8_t *from = cursor_peek(c, &piece);

		if (piece > n - got)
			piece = n - got;
		memcpy(to + got, from, piece);
		cursor_skip(c, piece);
		got += piece;
	}
	return got;
}

/* Never past the end of what has come: the cursor has no place there. */
static struct cursor cursor_at(const struct pipe *wire, uint64_t n)
{
	struct cursor c = { wire->first, 0 };

	check(n <= wire->bytes);
	cursor_skip(&c, n);
	return c;
}

/* ---- records, and the message in them ---- */

static const struct reason *record_begin(struct tls_hello *h, const uint8_t header[TLS_HEADER_BYTES])
{
	const struct reason *reason;

	if (header[0] == TLS_ALERT && header[1] == 3)
		return &TLS_HELLO_ALERT;
	/* RFC 8446 §5.1: "if a handshake message is split over two or more records, there MUST NOT be any other records between
	 * them." */
	if (header[0] != TLS_HANDSHAKE || header[1] != 3)
		return &TLS_HELLO_INTERRUPTED;
	reason = length_check(header);
	if (reason)
		return reason;
	if (h->records == TLS_HELLO_RECORDS_MAX)
		return &TLS_HELLO_RECORDS;
	h->records++;
	h->record_left = (uint16_t)(header[3] << 8 | header[4]);
	return NULL;
}

static const struct reason *content_read(struct tls_hello *h, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n && h->bytes + i < MESSAGE_HEADER_BYTES; i++) {
		if (h->bytes + i > 0)
			h->length = h->length << 8 | bytes[i];
		else if (bytes[i] != CLIENT_HELLO)
			return &TLS_HANDSHAKE_ORDER;
	}
	h->record_left -= (uint16_t)n;
	if (h->bytes + n < MESSAGE_HEADER_BYTES) {
		h->bytes += (uint16_t)n;
		return NULL;
	}
	if (h->bytes < MESSAGE_HEADER_BYTES)
		h->length += MESSAGE_HEADER_BYTES;
	if (h->length > TLS_HELLO_BYTES_MAX)
		return &TLS_HELLO_LONG;
	/* Another message behind the hello, and in its record: told at once, before the last byte has come. RFC 8446 §5.1 on what
	 * may precede a key change, as a ClientHello may: "implementations MUST send these messages in alignment with a record
	 * boundary"; and in TLS 1.2 no client has anything to say before it is answered. */
	if (h->bytes + n + h->record_left > h->length)
		return &TLS_HANDSHAKE_ORDER;
	h->bytes += (uint16_t)n;
	h->whole = h->bytes == h->length;
	return NULL;
}

const struct reason *tls_hello_read(struct tls_hello *h, const struct pipe *wire)
{
	const struct reason *reason = NULL;
	struct cursor c;

	if (h->records == 0) {
		uint8_t first[TLS_HELLO_LOOK_BYTES];
		uint32_t whole;

		c = cursor_at(wire, 0);
		reason = tls_hello_look(first, cursor_copy(&c, first, sizeof first), &whole);
		if (reason || whole == 0)
			return reason;
	}
	c = cursor_at(wire, h->wire_bytes);
	while (!reason && !h->whole) {
		size_t n;

		if (h->record_left == 0) {
			uint8_t header[TLS_HEADER_BYTES];

			n = cursor_copy(&c, header, sizeof header);
			if (n < sizeof header)
				return NULL;
			reason = record_begin(h, header);
		} else {
			const uint8_t *bytes = cursor_peek(&c, &n);

			if (!bytes)
				return NULL;
			if (n > h->record_left)
				n = h->record_left;
			reason = content_read(h, bytes, n);
			cursor_skip(&c, n);
		}
		h->wire_bytes += (uint32_t)n;
	}
	return reason;
}

const uint8_t *tls_hello_message(const struct tls_hello *h, const struct pipe *wire, uint8_t *room)
{
	struct cursor c = cursor_at(wire, 0);
	size_t n, got = 0;
	const uint8_t *bytes = cursor_peek(&c, &n);

	check(h->whole && h->wire_bytes <= wire->bytes);
	if (h->records == 1 && n >= h->wire_bytes)
		return bytes + TLS_HEADER_BYTES;
	while (got < h->length) {
		uint8_t header[TLS_HEADER_BYTES];

		check(cursor_copy(&c, header, sizeof header) == sizeof header);
		n = (size_t)header[3] << 8 | header[4];
		check(n <= h->length - got && cursor_copy(&c, room + got, n) == n);
		got += n;
	}
	return room;
}
