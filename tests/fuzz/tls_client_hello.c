/* tests/fuzz/tls_client_hello.c — hostile first bytes, and hostile ClientHellos cut into records and chunks at random.
 *
 *   input: one byte of kind, one that the cuts come from, then the bytes
 *   kind even: the bytes are a ClientHello; its header is set right, so that they get past the framing
 *   kind odd:  the bytes are the wire, as they are
 *
 * Watched is that nothing crashes or reads past the end, that what is told points into the message and keeps its word, and
 * that neither records nor chunks nor reading now and then change the result: the same answer as for all in one piece. */
#include "tls/client_hello.c"
#include "tls/hello.h"

#include "tls/record.h"

#include <stdlib.h>

#define WIRE_BYTES_MAX (TLS_HELLO_BYTES_MAX + TLS_HELLO_RECORDS_MAX * TLS_HEADER_BYTES + 64u)

struct fuzz {
	struct chunk_pool pool;
	uint32_t random;
	uint8_t message[TLS_HELLO_BYTES_MAX];
	uint8_t wire[WIRE_BYTES_MAX];
	uint8_t room[2][TLS_HELLO_BYTES_MAX];
};

static uint32_t next(struct fuzz *f, uint32_t below)
{
	f->random = f->random * 1664525u + 1013904223u;
	return (f->random >> 8) % below;
}

static void add_chunk(struct fuzz *f, struct pipe *wire, const uint8_t *bytes, size_t n)
{
	struct chunk *chunk = chunk_take(&f->pool);

	/* At the chunk's end, so that the next one cannot be put together with it. */
	chunk->begin = (uint32_t)(CHUNK_BYTES - n);
	chunk->end = CHUNK_BYTES;
	memcpy(chunk->bytes + chunk->begin, bytes, n);
	pipe_put(wire, chunk);
}

/* All at once, or in pieces with a look after each. */
static const struct reason *look(struct fuzz *f, struct tls_hello *hello, struct pipe *wire, size_t n, bool pieces)
{
	const struct reason *reason = NULL;

	*hello = (struct tls_hello){ 0 };
	pipe_init(wire, &f->pool, UINT64_MAX);
	if (!pieces) {
		pipe_write(wire, f->wire, n);
		return tls_hello_read(hello, wire);
	}
	for (size_t at = 0; at < n && !reason && !hello->whole;) {
		size_t piece = 1 + next(f, next(f, 4) ? 16 : (uint32_t)n);

		if (piece > n - at)
			piece = n - at;
		if (next(f, 2))
			add_chunk(f, wire, f->wire + at, piece);
		else
			pipe_write(wire, f->wire + at, piece);
		at += piece;
		reason = tls_hello_read(hello, wire);
		check(hello->wire_bytes <= at && hello->records <= TLS_HELLO_RECORDS_MAX);
	}
	return reason;
}

static void check_inside(const uint8_t *at, size_t n, const uint8_t *message, size_t length)
{
	check(at >= message && n <= length && at <= message + length - n);
}

/* What is said of a message holds. */
static const struct reason *read_message(const uint8_t *message, size_t n, struct tls_client_hello *h)
{
	const struct reason *reason = tls_client_hello_parse(message, n, h);
	const uint8_t *name;
	size_t at = 0, name_bytes, sum = 0;
	uint8_t alert;

	if (reason) {
		check(tls_alert_for(reason, &alert) && alert != TLS_ALERT_INTERNAL_ERROR);
		return reason;
	}
	check(h->offers_1_2 || h->offers_1_3);
	check(!h->name == (h->name_bytes == 0) && h->name_bytes <= NAME_BYTES_MAX);
	if (h->name)
		check_inside(h->name, h->name_bytes, message, n);
	for (size_t i = 0; i < h->name_bytes; i++)
		check(h->name[i] > ' ' && h->name[i] < 0x7f);
	if (h->protocols)
		check_inside(h->protocols, h->protocols_bytes, message, n);
	while (tls_client_hello_protocol(h, &at, &name, &name_bytes)) {
		check(name_bytes > 0);
		check_inside(name, name_bytes, h->protocols, h->protocols_bytes);
		sum += 1 + name_bytes;
	}
	check(sum == h->protocols_bytes);
	for (unsigned serves = 0; serves < 4; serves++) {
		reason = tls_client_hello_choose(h, serves & 1, serves & 2);
		if (reason)
			check(tls_alert_for(reason, &alert) && alert != TLS_ALERT_INTERNAL_ERROR);
		else
			check((h->version == TLS_1_2 && serves & 1 && h->offers_1_2) || (h->version == TLS_1_3 && serves & 2 && h->offers_1_3));
		if (!reason && tls_client_hello_verifies_ecdsa(h) && tls_client_hello_verifies_rsa(h))
			check(h->scheme_ecdsa_p256_sha256);
	}
	return NULL;
}

static void check_same(const struct tls_client_hello *a, const struct tls_client_hello *b)
{
	static const size_t FIRST = offsetof(struct tls_client_hello, name_bytes), END = offsetof(struct tls_client_hello, fallback) + 1;

	check(memcmp((const uint8_t *)a + FIRST, (const uint8_t *)b + FIRST, END - FIRST) == 0);
	check(!a->name || memcmp(a->name, b->name, a->name_bytes) == 0);
	check(!a->protocols || memcmp(a->protocols, b->protocols, a->protocols_bytes) == 0);
}

/* The wire in two ways. Returns whether it holds a whole hello, which then is in f->room[0] or in place. */
static const struct reason *wire_read(struct fuzz *f, size_t n, bool *whole, struct tls_client_hello *h)
{
	struct tls_hello hello[2];
	struct pipe wire[2];
	const uint8_t *message[2];
	const struct reason *reason = look(f, &hello[0], &wire[0], n, false);
	struct tls_client_hello other;

	check(look(f, &hello[1], &wire[1], n, true) == reason);
	*whole = hello[0].whole;
	check(hello[1].whole == *whole);
	if (*whole) {
		check(!reason && hello[0].wire_bytes == hello[1].wire_bytes && hello[0].length == hello[1].length);
		for (unsigned i = 0; i < 2; i++)
			message[i] = tls_hello_message(&hello[i], &wire[i], f->room[i]);
		check(memcmp(message[0], message[1], hello[0].length) == 0);
		reason = read_message(message[0], hello[0].length, h);
		check(read_message(message[1], hello[1].length, &other) == reason);
		if (!reason)
			check_same(h, &other);
	}
	pipe_fini(&wire[0]);
	pipe_fini(&wire[1]);
	return reason;
}

/* The message in records of any length, not more of them than are taken. */
static size_t wire_make(struct fuzz *f, size_t n)
{
	size_t length = 0;

	for (size_t at = 0, left = TLS_HELLO_RECORDS_MAX; at < n; left--) {
		size_t piece = left == 1 ? n - at : 1 + next(f, next(f, 2) ? 8 : (uint32_t)(n - at));

		if (piece > n - at)
			piece = n - at;
		f->wire[length++] = TLS_HANDSHAKE;
		f->wire[length++] = 3;
		f->wire[length++] = (uint8_t)next(f, 256);
		f->wire[length++] = (uint8_t)(piece >> 8);
		f->wire[length++] = (uint8_t)piece;
		memcpy(f->wire + length, f->message + at, piece);
		length += piece;
		at += piece;
	}
	return length;
}

static void message_try(struct fuzz *f, const uint8_t *bytes, size_t n)
{
	uint8_t *exact;
	const struct reason *reason;
	struct tls_client_hello direct, h;
	bool whole;

	if (n < MESSAGE_HEADER_BYTES || n > TLS_HELLO_BYTES_MAX)
		return;
	memcpy(f->message, bytes, n);
	f->message[0] = CLIENT_HELLO;
	f->message[1] = 0;
	f->message[2] = (uint8_t)((n - MESSAGE_HEADER_BYTES) >> 8);
	f->message[3] = (uint8_t)(n - MESSAGE_HEADER_BYTES);
	/* Memory of exactly its size, or a byte read too many would not be seen. */
	exact = malloc(n);
	check(exact);
	memcpy(exact, f->message, n);
	reason = read_message(exact, n, &direct);
	check(wire_read(f, wire_make(f, n), &whole, &h) == reason && whole);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct fuzz f;
	static bool begun;
	struct tls_client_hello h;
	bool whole;

	if (n < 2)
		return 0;
	if (!begun)
		chunk_pool_init(&f.pool, UINT64_MAX);
	begun = true;
	f.random = bytes[1];
	if (bytes[0] % 2 == 0) {
		message_try(&f, bytes + 2, n - 2);
	} else if (n - 2 <= WIRE_BYTES_MAX) {
		memcpy(f.wire, bytes + 2, n - 2);
		wire_read(&f, n - 2, &whole, &h);
	}
	check(chunk_pool_out(&f.pool) == 0);
	return 0;
}
