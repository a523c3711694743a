/* gateway/http/strict_chunks.c — the framing of chunked bodies, byte by byte; see strict_chunks.h.
 *
 * As in strict.c, each rule is decided at the byte that breaks it. */
#include "gateway/http/strict_chunks.h"

#include "gateway/http/character.h"

enum {
	CHUNK_SIZE,
	CHUNK_EXTENSION,         /* behind ";" */
	CHUNK_EXTENSION_NAME,
	CHUNK_EXTENSION_EQUALS,  /* behind "=" */
	CHUNK_EXTENSION_VALUE,
	CHUNK_QUOTED,
	CHUNK_QUOTED_PAIR,
	CHUNK_QUOTED_END,
	CHUNK_LINE_LF,
	CHUNK_PAYLOAD,
	CHUNK_PAYLOAD_CR,
	CHUNK_PAYLOAD_LF,
	CHUNK_TRAILER,
};

/* 60 bits. Zeros in front count too: a size that nobody can need so many digits for is a probe. */
#define CHUNK_SIZE_DIGITS_MAX 15u

void strict_chunks_begin(struct strict_chunks *chunks, uint64_t payload_bytes_max)
{
	*chunks = (struct strict_chunks){.payload_bytes_max = payload_bytes_max};
}

/* Like Go's reader since CVE-2023-39326: framing may cost 16 bytes a chunk and twice its payload; what goes beyond adds up.
 * Without this, a body of one-byte chunks with long extensions makes us read 256 bytes for each one counted as body. */
static const struct reason *chunk_line_end(struct strict_chunks *chunks)
{
	uint64_t cost = (uint64_t)chunks->waste + chunks->line_bytes + 2;
	uint64_t allowance = 16 + 2 * chunks->size;

	chunks->waste = cost > allowance ? (uint32_t)(cost - allowance) : 0;
	if (chunks->waste > STRICT_CHUNK_WASTE_BYTES_MAX)
		return &HTTP_CHUNK_WASTEFUL;
	if (chunks->size > chunks->payload_bytes_max - chunks->payload_bytes)
		return &HTTP_BODY_TOO_LARGE;
	chunks->payload_bytes += chunks->size;
	chunks->payload_left = chunks->size;
	chunks->size = 0;
	chunks->line_bytes = 0;
	chunks->digits = 0;
	if (chunks->payload_left > 0) {
		chunks->state = CHUNK_PAYLOAD;
	} else {
		chunks->state = CHUNK_TRAILER;
		strict_trailer_begin(&chunks->trailer);
	}
	return NULL;
}

static const struct reason *size_byte(struct strict_chunks *chunks, char c)
{
	unsigned value;

	if (http_is(c, HTTP_IS_HEX)) {
		if (chunks->digits == CHUNK_SIZE_DIGITS_MAX)
			return &HTTP_CHUNK_SIZE_OVERFLOW;
		value = http_hex_value(c);
		chunks->size = chunks->size << 4 | value;
		chunks->digits++;
		return NULL;
	}
	/* RFC 9112 §7.1: "A recipient MUST anticipate potentially large hexadecimal numerals"; chunk-size = 1*HEXDIG: no sign,
	 * no "0x", no blank on either side. */
	if (chunks->digits == 0 || (c != '\r' && c != ';'))
		return strict_misplaced(c, &HTTP_CHUNK_SIZE_BAD);
	chunks->state = c == ';' ? CHUNK_EXTENSION : CHUNK_LINE_LF;
	return NULL;
}

/* Behind a whole name or value. */
static const struct reason *extension_end_byte(struct strict_chunks *chunks, char c)
{
	if (c != '\r' && c != ';')
		return strict_misplaced(c, &HTTP_CHUNK_EXTENSION_BAD);
	chunks->state = c == ';' ? CHUNK_EXTENSION : CHUNK_LINE_LF;
	return NULL;
}

/* RFC 9112 §7.1.1: "A recipient MUST ignore unrecognized chunk extensions." Ignored, but read: a chunk line that two programs
 * end at different places is two different bodies. Of the grammar only the blanks around ";" and "=" are missing here, which
 * senders must not generate. */
static const struct reason *extension_byte(struct strict_chunks *chunks, char c)
{
	switch (chunks->state) {
	case CHUNK_EXTENSION:
	case CHUNK_EXTENSION_EQUALS:
		if (c == '"' && chunks->state == CHUNK_EXTENSION_EQUALS)
			chunks->state = CHUNK_QUOTED;
		else if (http_is(c, HTTP_IS_TOKEN))
			chunks->state = chunks->state == CHUNK_EXTENSION ? CHUNK_EXTENSION_NAME : CHUNK_EXTENSION_VALUE;
		else
			return strict_misplaced(c, &HTTP_CHUNK_EXTENSION_BAD);
		return NULL;
	case CHUNK_EXTENSION_NAME:
		if (http_is(c, HTTP_IS_TOKEN))
			return NULL;
		if (c != '=')
			return extension_end_byte(chunks, c);
		chunks->state = CHUNK_EXTENSION_EQUALS;
		return NULL;
	case CHUNK_EXTENSION_VALUE:
		return http_is(c, HTTP_IS_TOKEN) ? NULL : extension_end_byte(chunks, c);
	case CHUNK_QUOTED:
		if (c == '"')
			chunks->state = CHUNK_QUOTED_END;
		else if (c == '\\')
			chunks->state = CHUNK_QUOTED_PAIR;
		else if (!http_is(c, HTTP_IS_QUOTED))
			return strict_misplaced(c, &HTTP_CHUNK_EXTENSION_BAD);
		return NULL;
	case CHUNK_QUOTED_PAIR:
		chunks->state = CHUNK_QUOTED;
		return http_is(c, HTTP_IS_QUOTED) || c == '"' || c == '\\' ? NULL : strict_misplaced(c, &HTTP_CHUNK_EXTENSION_BAD);
	default:
		return extension_end_byte(chunks, c);
	}
}

static const struct reason *chunk_line_byte(struct strict_chunks *chunks, char c)
{
	chunks->line_bytes++;
	if (chunks->line_bytes > STRICT_CHUNK_LINE_BYTES_MAX)
		return &HTTP_CHUNK_EXTENSION_LONG;
	if (chunks->state == CHUNK_SIZE)
		return size_byte(chunks, c);
	if (chunks->state == CHUNK_LINE_LF)
		return c == '\n' ? chunk_line_end(chunks) : &HTTP_BARE_CR;
	return extension_byte(chunks, c);
}

static const struct http_limits trailer_limits = {
	.head_bytes_max = STRICT_TRAILER_BYTES_MAX,
	.fields_max = STRICT_TRAILER_FIELDS_MAX,
};

static enum strict trailer_scan(struct strict_chunks *chunks, const char *bytes, size_t n, size_t *used,
                                const struct reason **reason)
{
	enum strict strict = strict_head_scan(&chunks->trailer, &trailer_limits, bytes, n, used, reason);

	if (strict == STRICT_BROKEN && (*reason == &HTTP_HEAD_TOO_LARGE || *reason == &HTTP_FIELDS_TOO_MANY))
		*reason = &HTTP_TRAILER_LARGE;
	return strict;
}

enum strict strict_chunks_scan(struct strict_chunks *chunks, const char *bytes, size_t n, size_t *used,
                               const struct reason **reason)
{
	size_t i = 0;

	*reason = NULL;
	while (i < n && !*reason && chunks->state != CHUNK_PAYLOAD) {
		if (chunks->state == CHUNK_TRAILER) {
			enum strict strict = trailer_scan(chunks, bytes + i, n - i, used, reason);

			*used += i;
			return strict;
		}
		if (chunks->state == CHUNK_PAYLOAD_CR || chunks->state == CHUNK_PAYLOAD_LF) {
			bool cr = chunks->state == CHUNK_PAYLOAD_CR;

			if (bytes[i] != (cr ? '\r' : '\n'))
				*reason = &HTTP_CHUNK_END_MISSING;
			chunks->state = cr ? CHUNK_PAYLOAD_LF : CHUNK_SIZE;
		} else {
			*reason = chunk_line_byte(chunks, bytes[i]);
		}
		i++;
	}
	*used = i;
	return *reason ? STRICT_BROKEN : STRICT_MORE;
}

void strict_chunks_moved(struct strict_chunks *chunks, uint64_t n)
{
	check(n <= chunks->payload_left);
	chunks->payload_left -= n;
	if (chunks->payload_left == 0 && chunks->state == CHUNK_PAYLOAD)
		chunks->state = CHUNK_PAYLOAD_CR;
}
