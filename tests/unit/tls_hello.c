#include "tls/hello.c"

#include <criterion/criterion.h>

/* ---- the first bytes ---- */

static const struct {
	const char *bytes;
	size_t n;
	const struct reason *reason;     /* NULL: may be a handshake */
	size_t told_at;                  /* with how many bytes that is known */
	uint32_t whole;
} CASES[] = {
	{ "\x16\x03\x01\x02\x00\x01\x00\x01", 8, NULL, 5, 517 },
	{ "\x16\x03\x03\x40\x00\x01\x00\x3f", 8, NULL, 5, 16389 },
	{ "\x16\x03\x00\x00\x01\x01", 6, NULL, 5, 6 },
	{ "\x16\x03\xff\x00\x01\x01", 6, NULL, 5, 6 },
	{ "\x16\x03\x01\x40\x01\x01", 6, &TLS_RECORD_LONG, 5, 0 },
	{ "\x16\x03\x01\x00\x00\x01", 6, &TLS_RECORD_SHORT, 5, 0 },
	{ "\x16\x03\x01\x00\x40\x02", 6, &TLS_HANDSHAKE_ORDER, 6, 0 },
	{ "\x16\x02\x00\x00\x40\x01", 6, &TLS_NOT_TLS, 2, 0 },
	{ "\x15\x03\x01\x00\x02\x02\x28", 7, &TLS_HELLO_ALERT, 2, 0 },
	{ "\x15\x01\x01\x00\x02\x02\x28", 7, &TLS_NOT_TLS, 2, 0 },
	{ "\x17\x03\x03\x00\x40", 5, &TLS_NOT_TLS, 1, 0 },
	{ "\x14\x03\x03\x00\x01\x01", 6, &TLS_NOT_TLS, 1, 0 },
	{ "\x80\x2e\x01\x00\x02\x00\x15", 7, &TLS_SSL2, 3, 0 },
	{ "\x80\x2e\x02\x00\x02\x00\x15", 7, &TLS_NOT_TLS, 3, 0 },
	{ "GET / HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "POST /x ", 8, &TLS_PLAIN_HTTP, 5, 0 },
	{ "HEAD / H", 8, &TLS_PLAIN_HTTP, 5, 0 },
	{ "PUT / HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "DELETE /", 8, &TLS_PLAIN_HTTP, 7, 0 },
	{ "OPTIONS ", 8, &TLS_PLAIN_HTTP, 8, 0 },
	{ "PATCH / ", 8, &TLS_PLAIN_HTTP, 6, 0 },
	{ "CONNECT ", 8, &TLS_PLAIN_HTTP, 8, 0 },
	{ "TRACE / ", 8, &TLS_PLAIN_HTTP, 6, 0 },
	{ "PRI * HT", 8, &TLS_PLAIN_HTTP, 4, 0 },
	{ "GETS / H", 8, &TLS_NOT_TLS, 4, 0 },
	{ "get / ht", 8, &TLS_NOT_TLS, 1, 0 },
	{ "SSH-2.0-", 8, &TLS_NOT_TLS, 1, 0 },
	{ "\0\0\0\0", 4, &TLS_NOT_TLS, 1, 0 },
};

Test(tls_hello, first_bytes_are_told_apart_as_soon_as_they_can_be)
{
	for (size_t i = 0; i < array_count(CASES); i++) {
		for (size_t n = 0; n <= CASES[i].n; n++) {
			uint32_t whole = 99;
			const struct reason *reason = tls_hello_look((const uint8_t *)CASES[i].bytes, n, &whole);
			bool told = n >= CASES[i].told_at;

			if (CASES[i].reason == &TLS_HANDSHAKE_ORDER && n == 5) {
				cr_assert_null(reason);
				continue;                    /* the header is fine, only what it holds is not */
			}
			cr_assert_eq(reason, told ? CASES[i].reason : NULL, "case %zu, %zu bytes: %s", i, n, reason ? reason->name : "no");
			cr_assert_eq(whole, told && !reason ? CASES[i].whole : 0, "case %zu, %zu bytes", i, n);
		}
	}
}

Test(tls_hello, no_two_first_bytes_are_anything_but_named)
{
	for (unsigned i = 0; i < 65536; i++) {
		uint8_t bytes[8] = { (uint8_t)(i >> 8), (uint8_t)i, 1, 0, 4, 1, 0, 0 };
		uint32_t whole;
		const struct reason *reason = tls_hello_look(bytes, sizeof bytes, &whole);

		cr_assert_eq(reason == NULL, i == 0x1603);
		cr_assert_eq(reason == &TLS_SSL2, i >= 0x8000);
		cr_assert_eq(reason == &TLS_HELLO_ALERT, i == 0x1503);
	}
}

/* ---- the whole hello ---- */

struct rig {
	struct chunk_pool pool;
	struct pipe wire;
	struct tls_hello hello;
	uint8_t message[TLS_HELLO_BYTES_MAX];   /* what is sent */
	uint8_t room[TLS_HELLO_BYTES_MAX];
};

/* A message of n bytes, whose body is told apart by its position. */
static void rig_init(struct rig *r, size_t n)
{
	memset(r, 0, sizeof *r);
	chunk_pool_init(&r->pool, UINT64_MAX);
	pipe_init(&r->wire, &r->pool, UINT64_MAX);
	for (size_t i = 0; i < sizeof r->message; i++)
		r->message[i] = (uint8_t)(i ^ i >> 8);
	r->message[0] = 1;
	r->message[1] = 0;
	r->message[2] = (uint8_t)((n - 4) >> 8);
	r->message[3] = (uint8_t)(n - 4);
}

static void rig_fini(struct rig *r)
{
	pipe_fini(&r->wire);
	chunk_pool_fini(&r->pool);
}

/* In a chunk of its own, at its end, so that nothing is ever put together behind our back. */
static void deliver(struct rig *r, const uint8_t *bytes, size_t n)
{
	struct chunk *chunk = chunk_take(&r->pool);

	chunk->begin = (uint32_t)(CHUNK_BYTES - n);
	chunk->end = CHUNK_BYTES;
	memcpy(chunk->bytes + chunk->begin, bytes, n);
	pipe_put(&r->wire, chunk);
}

static size_t record(uint8_t *to, uint8_t type, const uint8_t *content, size_t n)
{
	const uint8_t header[TLS_HEADER_BYTES] = { type, 3, 1, (uint8_t)(n >> 8), (uint8_t)n };

	memcpy(to, header, sizeof header);
	memcpy(to + sizeof header, content, n);
	return sizeof header + n;
}

/* `least` bytes in each record, and in the last one what is left. */
static size_t records(uint8_t *to, const uint8_t *message, size_t n, size_t least)
{
	size_t length = 0;

	for (size_t at = 0; at < n; at += least)
		length += record(to + length, TLS_HANDSHAKE, message + at, n - at < least ? n - at : least);
	return length;
}

static void assert_whole(struct rig *r, size_t n, size_t wire_bytes)
{
	cr_assert_null(tls_hello_read(&r->hello, &r->wire));
	cr_assert(r->hello.whole);
	cr_assert_eq(r->hello.length, n);
	cr_assert_eq(r->hello.wire_bytes, wire_bytes);
	cr_assert_arr_eq(tls_hello_message(&r->hello, &r->wire, r->room), r->message, n);
}

static void assert_refused(struct rig *r, const struct reason *reason)
{
	const struct reason *got = tls_hello_read(&r->hello, &r->wire);

	cr_assert_eq(got, reason, "%s instead of %s", got ? got->name : "nothing", reason->name);
	cr_assert_not(r->hello.whole);
}

Test(tls_hello, one_record_in_one_chunk_is_not_copied)
{
	struct rig r;
	uint8_t wire[1024];
	size_t n;

	rig_init(&r, 517);
	n = record(wire, TLS_HANDSHAKE, r.message, 517);
	memset(wire + n, 0x17, 9);               /* what follows is nobody's business here */
	pipe_write(&r.wire, wire, n + 9);
	assert_whole(&r, 517, n);
	cr_assert_eq(tls_hello_message(&r.hello, &r.wire, NULL), r.wire.first->bytes + TLS_HEADER_BYTES);
	cr_assert_eq(r.wire.bytes, n + 9, "nothing is consumed");
	rig_fini(&r);
}

Test(tls_hello, chunks_may_end_anywhere)
{
	struct rig r;
	uint8_t wire[256];

	for (size_t at = 1; at < 100 + TLS_HEADER_BYTES; at++) {
		rig_init(&r, 100);
		record(wire, TLS_HANDSHAKE, r.message, 100);
		deliver(&r, wire, at);
		cr_assert_null(tls_hello_read(&r.hello, &r.wire));
		cr_assert_not(r.hello.whole);
		deliver(&r, wire + at, 105 - at);
		assert_whole(&r, 100, 105);
		rig_fini(&r);
	}
}

Test(tls_hello, bytes_may_trickle_in_one_by_one)
{
	struct rig r;
	static uint8_t wire[32768];
	static const size_t LEAST[] = { 300, 299, 150, 100, 7, 5 };

	for (size_t i = 0; i < array_count(LEAST); i++) {
		size_t n;

		rig_init(&r, 300);
		n = records(wire, r.message, 300, LEAST[i]);
		for (size_t at = 0; at < n; at++) {
			uint32_t before = r.hello.wire_bytes;

			cr_assert_null(tls_hello_read(&r.hello, &r.wire), "%zu of %zu", at, n);
			cr_assert_not(r.hello.whole);
			cr_assert(r.hello.wire_bytes >= before && r.hello.wire_bytes <= at);
			/* Of all that came, only a header that is not whole is looked at again. */
			cr_assert(at - r.hello.wire_bytes < TLS_HEADER_BYTES);
			if (at % 2)
				deliver(&r, wire + at, 1);
			else
				pipe_write(&r.wire, wire + at, 1);
		}
		assert_whole(&r, 300, n);
		rig_fini(&r);
	}
}

Test(tls_hello, records_may_end_anywhere)
{
	struct rig r;
	uint8_t wire[256];

	for (size_t at = 1; at < 100; at++) {
		size_t n;

		rig_init(&r, 100);
		n = record(wire, TLS_HANDSHAKE, r.message, at);
		n += record(wire + n, TLS_HANDSHAKE, r.message + at, 100 - at);
		pipe_write(&r.wire, wire, n);
		assert_whole(&r, 100, n);
		rig_fini(&r);
	}
}

Test(tls_hello, records_of_one_byte_are_taken_up_to_their_bound)
{
	struct rig r;
	uint8_t wire[1024];
	size_t n;

	rig_init(&r, TLS_HELLO_RECORDS_MAX);
	n = records(wire, r.message, TLS_HELLO_RECORDS_MAX, 1);
	pipe_write(&r.wire, wire, n);
	assert_whole(&r, TLS_HELLO_RECORDS_MAX, n);
	rig_fini(&r);

	rig_init(&r, TLS_HELLO_RECORDS_MAX + 1);
	n = records(wire, r.message, TLS_HELLO_RECORDS_MAX + 1, 1);
	pipe_write(&r.wire, wire, n - 1);        /* told with the header of the one too many */
	assert_refused(&r, &TLS_HELLO_RECORDS);
	rig_fini(&r);
}

Test(tls_hello, the_longest_hello_is_taken_and_a_longer_one_refused_early)
{
	struct rig r;
	static uint8_t wire[32768];
	static const size_t LEAST[] = { TLS_HELLO_BYTES_MAX, 1000, 256 };
	size_t n;

	for (size_t i = 0; i < array_count(LEAST); i++) {
		rig_init(&r, TLS_HELLO_BYTES_MAX);
		n = records(wire, r.message, TLS_HELLO_BYTES_MAX, LEAST[i]);
		pipe_write(&r.wire, wire, n);
		assert_whole(&r, TLS_HELLO_BYTES_MAX, n);
		rig_fini(&r);
	}

	rig_init(&r, TLS_HELLO_BYTES_MAX + 1);
	record(wire, TLS_HANDSHAKE, r.message, 1000);
	pipe_write(&r.wire, wire, TLS_HEADER_BYTES + 3);
	cr_assert_null(tls_hello_read(&r.hello, &r.wire));
	pipe_write(&r.wire, wire + TLS_HEADER_BYTES + 3, 1);
	assert_refused(&r, &TLS_HELLO_LONG);
	rig_fini(&r);

	rig_init(&r, 4);
	r.message[1] = 0xff;
	pipe_write(&r.wire, wire, record(wire, TLS_HANDSHAKE, r.message, 4));
	assert_refused(&r, &TLS_HELLO_LONG);
	rig_fini(&r);
}

Test(tls_hello, nothing_comes_between_the_records_of_a_hello)
{
	static const struct {
		const char *header;
		const struct reason *reason;
	} BETWEEN[] = {
		{ "\x15\x03\x01\x00\x02", &TLS_HELLO_ALERT },
		{ "\x14\x03\x03\x00\x01", &TLS_HELLO_INTERRUPTED },
		{ "\x17\x03\x03\x00\x20", &TLS_HELLO_INTERRUPTED },
		{ "\x18\x03\x03\x00\x20", &TLS_HELLO_INTERRUPTED },
		{ "\x16\x02\x03\x00\x20", &TLS_HELLO_INTERRUPTED },
		{ "GET /", &TLS_HELLO_INTERRUPTED },
		{ "\x16\x03\x03\x00\x00", &TLS_RECORD_SHORT },
		{ "\x16\x03\x03\x40\x01", &TLS_RECORD_LONG },
	};
	struct rig r;
	uint8_t wire[256];

	for (size_t i = 0; i < array_count(BETWEEN); i++) {
		rig_init(&r, 100);
		pipe_write(&r.wire, wire, record(wire, TLS_HANDSHAKE, r.message, 50));
		cr_assert_null(tls_hello_read(&r.hello, &r.wire));
		for (size_t n = 0; n < 4; n++) {
			pipe_write(&r.wire, BETWEEN[i].header + n, 1);
			cr_assert_null(tls_hello_read(&r.hello, &r.wire));
		}
		pipe_write(&r.wire, BETWEEN[i].header + 4, 1);
		assert_refused(&r, BETWEEN[i].reason);
		rig_fini(&r);
	}
}

Test(tls_hello, another_message_in_the_record_is_refused_before_it_is_there)
{
	struct rig r;
	uint8_t wire[256];

	/* In the only record, and in the last of two. */
	rig_init(&r, 100);
	record(wire, TLS_HANDSHAKE, r.message, 101);
	pipe_write(&r.wire, wire, TLS_HEADER_BYTES + 4);
	assert_refused(&r, &TLS_HANDSHAKE_ORDER);
	rig_fini(&r);

	rig_init(&r, 100);
	pipe_write(&r.wire, wire, record(wire, TLS_HANDSHAKE, r.message, 2));
	record(wire, TLS_HANDSHAKE, r.message + 2, 99);
	pipe_write(&r.wire, wire, TLS_HEADER_BYTES + 2);
	assert_refused(&r, &TLS_HANDSHAKE_ORDER);
	rig_fini(&r);

	/* Another type, whose header came without its content first. */
	rig_init(&r, 100);
	r.message[0] = 2;
	record(wire, TLS_HANDSHAKE, r.message, 100);
	pipe_write(&r.wire, wire, TLS_HEADER_BYTES);
	cr_assert_null(tls_hello_read(&r.hello, &r.wire));
	pipe_write(&r.wire, wire + TLS_HEADER_BYTES, 1);
	assert_refused(&r, &TLS_HANDSHAKE_ORDER);
	rig_fini(&r);
}

Test(tls_hello, first_bytes_that_are_no_hello_are_told_from_the_wire_too)
{
	for (size_t i = 0; i < array_count(CASES); i++) {
		struct rig r;

		rig_init(&r, 100);
		cr_assert_null(tls_hello_read(&r.hello, &r.wire), "of nothing nothing can be said");
		for (size_t n = 0; n + 1 < CASES[i].told_at; n++) {
			deliver(&r, (const uint8_t *)CASES[i].bytes + n, 1);
			cr_assert_null(tls_hello_read(&r.hello, &r.wire));
		}
		deliver(&r, (const uint8_t *)CASES[i].bytes + CASES[i].told_at - 1, 1);
		if (CASES[i].reason)
			assert_refused(&r, CASES[i].reason);
		else
			cr_assert_null(tls_hello_read(&r.hello, &r.wire));
		rig_fini(&r);
	}
}
