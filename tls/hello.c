/* See tls/hello.h. */
#include "tls/hello.h"
#include "tls/reason.h"
#include "tls/record.h"

#include <string.h>

#define CLIENT_HELLO 1u

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

const struct reason *tls_hello_look(const uint8_t *bytes, size_t n, uint32_t *whole)
{
	uint32_t length;

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
	if (bytes[0] != TLS_HANDSHAKE)
		return look_for_http(bytes, n);
	/* RFC 8446 §5.1: the record's version "MUST be ignored for all purposes", but its first byte has been 3 always. */
	if (n >= 2 && bytes[1] != 3)
		return &TLS_NOT_TLS;
	if (n < TLS_HEADER_BYTES)
		return NULL;
	length = (uint32_t)bytes[3] << 8 | bytes[4];
	/* RFC 8446 §5.1: "Implementations MUST NOT send zero-length fragments of Handshake types". */
	if (length == 0)
		return &TLS_RECORD_SHORT;
	if (length > TLS_CONTENT_BYTES_MAX)
		return &TLS_RECORD_LONG;
	if (n > TLS_HEADER_BYTES && bytes[TLS_HEADER_BYTES] != CLIENT_HELLO)
		return &TLS_HANDSHAKE_ORDER;
	*whole = TLS_HEADER_BYTES + length;
	return NULL;
}
