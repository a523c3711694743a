/* See tls/wire.h. */
#include "tls/wire.h"

#include <string.h>

size_t wire_look(const struct pipe *wire, uint8_t *to, size_t n)
{
	size_t got = 0;

	for (const struct chunk *chunk = wire->first; chunk && got < n; chunk = chunk->next) {
		size_t piece = chunk_size(chunk);

		if (piece > n - got)
			piece = n - got;
		memcpy(to + got, chunk->bytes + chunk->begin, piece);
		got += piece;
	}
	return got;
}

size_t wire_read(struct pipe *wire, uint8_t *to, size_t n)
{
	size_t got = 0;

	while (got < n) {
		size_t piece;
		const uint8_t *from = pipe_peek(wire, &piece);

		if (!from)
			break;
		if (piece > n - got)
			piece = n - got;
		memcpy(to + got, from, piece);
		pipe_consume(wire, piece);
		got += piece;
	}
	return got;
}
