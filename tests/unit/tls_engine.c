#include "tls/engine.c"
#include "tls/handshake.c"

#include "tls_rig.h"

#include <criterion/criterion.h>

#define NAME_IS(a, b) cr_assert_str_eq((a) ? (a)->name : "(none)", (b).name)

static const struct {
	int version;
	const char *suite;
	const char *iana;
	const char *certificates;
} CASES[] = {
	{ TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "e" },
	{ TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", "e" },
	{ TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "e" },
	{ TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "r" },
	{ TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", "r" },
	{ TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "r" },
	{ TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "er" },
	{ TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "er" },
	{ TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "er" },
	{ TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "er" },
	{ TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "er" },
	{ TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "er" },
};

static struct rig_files files;

static void setup(void)
{
	rig_files_make(&files, true);
}

static void setup_ec(void)
{
	rig_files_make(&files, false);
}

static void teardown(void)
{
	rig_files_remove(&files);
	rig_thread_fini();
}

TestSuite(tls_engine, .init = setup_ec, .fini = teardown);
TestSuite(tls_engine_all, .init = setup, .fini = teardown);

/* As in the middle of a long answer: records are whole. */
static void streaming(struct rig *r)
{
	r->tls.sent_at_ms = r->core.now_ms;
	r->tls.streamed_bytes = SMALL_RECORDS_BYTES;
}

/* A rig that has shaken hands with one ECDSA certificate. */
static void shaken(struct rig *r, int version)
{
	struct tls_context *context = rig_context(&files, "e");

	rig_open(r, context);
	tls_context_put(context);                /* the engine has its own reference */
	rig_client(r, version, NULL);
	cr_assert(rig_shake(r));
}

static void carry_both_ways(struct rig *r, size_t n)
{
	static uint8_t sent[70000], got[70000];
	int error;

	rig_fill(sent, n, (uint32_t)n);
	pipe_write(&r->plain_out, sent, n);
	cr_assert_eq(rig_client_read(r, got, sizeof got, &error), n);
	cr_assert_eq(memcmp(sent, got, n), 0);

	rig_fill(sent, n, (uint32_t)n + 1);
	cr_assert(n == 0 || SSL_write(r->client, sent, (int)n) == (int)n);
	rig_to_engine(r);
	cr_assert_eq(rig_plain_read(r, got, sizeof got), n);
	cr_assert_eq(memcmp(sent, got, n), 0);
}

static void close_both_ways(struct rig *r)
{
	uint8_t byte;
	int error;

	r->owner_runs = 0;
	cr_assert(!r->wire_out.ended);
	pipe_end(&r->plain_out);
	cr_assert_eq(rig_client_read(r, &byte, 1, &error), 0);
	cr_assert_eq(error, SSL_ERROR_ZERO_RETURN);
	cr_assert(pipe_at_end(&r->wire_out) && !r->wire_out.reason);
	cr_assert_str_eq(tls_step_name(&r->tls), "closing");
	SSL_shutdown(r->client);
	rig_to_engine(r);
	cr_assert(pipe_at_end(&r->plain_in) && !r->plain_in.reason);
	cr_assert_str_eq(tls_step_name(&r->tls), "closed");
	cr_assert_eq(r->owner_runs, 1);
	cr_assert_null(r->tls.failure);
	cr_assert_null(r->tls.in.aead.pool);
	cr_assert_null(r->tls.out.aead.pool);
}

Test(tls_engine_all, every_suite_version_and_certificate_shakes_hands_carries_and_closes)
{
	static const size_t SIZES[] = { 1, 2, 100, 1400, 16383, 16384, 16385, 33000, 60000 };

	for (size_t i = 0; i < array_count(CASES); i++) {
		struct tls_context *context = rig_context(&files, CASES[i].certificates);
		struct rig r;

		rig_open(&r, context);
		tls_context_put(context);
		rig_client(&r, CASES[i].version, CASES[i].suite);
		rig_alpn(&r, "\x08http/1.1\x02h2");
		SSL_set_tlsext_host_name(r.client, "edge.example");
		cr_assert(rig_shake(&r), "case %zu: %s", i, r.tls.failure ? r.tls.failure->name : "stuck");
		cr_assert_str_eq(tls_step_name(&r.tls), "open");
		cr_assert_eq(r.owner_runs, 1);
		cr_assert_eq(r.tls.version, CASES[i].version);
		cr_assert_str_eq(r.tls.suite->name, CASES[i].iana);
		cr_assert_str_eq(r.tls.alpn, "h2");              /* our order of preference, not the client's */
		cr_assert_str_eq(r.tls.sni, "edge.example");
		cr_assert_null(r.tls.handshake);
		for (size_t s = 0; s < array_count(SIZES); s++)
			carry_both_ways(&r, SIZES[s]);
		close_both_ways(&r);
		rig_close(&r);
	}
}

Test(tls_engine_all, a_handshake_cut_at_every_size_is_the_same_handshake, .timeout = 120)
{
	for (size_t i = 0; i < array_count(CASES); i++) {
		struct tls_context *context = rig_context(&files, CASES[i].certificates);

		for (size_t piece = 1; piece < 600; piece = piece < 12 ? piece + 1 : piece + 37) {
			struct rig r;

			rig_open(&r, context);
			r.piece = piece;
			r.together = piece % 2;
			rig_client(&r, CASES[i].version, CASES[i].suite);
			cr_assert(rig_shake(&r), "case %zu, pieces of %zu", i, piece);
			carry_both_ways(&r, 300);
			close_both_ways(&r);
			rig_close(&r);
		}
		tls_context_put(context);
	}
}

Test(tls_engine, until_the_hello_is_whole_there_is_no_memory_of_mbedtls)
{
	struct tls_context *context = rig_context(&files, "e");
	uint8_t hello[2048];
	size_t n;
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_3_VERSION, NULL);
	SSL_do_handshake(r.client);
	n = rig_client_bytes(&r, hello, sizeof hello);
	for (size_t i = 0; i + 1 < n; i++) {
		rig_deliver(&r, hello + i, 1);
		cr_assert_str_eq(tls_step_name(&r.tls), "hello");
		cr_assert_null(r.tls.handshake);
	}
	rig_deliver(&r, hello + n - 1, 1);
	cr_assert_str_eq(tls_step_name(&r.tls), "shake_hands");
	cr_assert(r.wire_out.bytes > 0);
	rig_close(&r);                           /* in the middle of it: nothing leaks */
	tls_context_put(context);
}

Test(tls_engine, a_client_whose_first_group_we_lack_is_asked_again)
{
	struct tls_context *context = rig_context(&files, "e");
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_3_VERSION, NULL);
	cr_assert_eq(SSL_set1_groups_list(r.client, "P-384:P-256"), 1);
	cr_assert(rig_shake(&r));
	carry_both_ways(&r, 1000);
	close_both_ways(&r);
	rig_close(&r);
	tls_context_put(context);
}

Test(tls_engine, a_hello_in_several_records_is_the_same_hello)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	/* mbedTLS wants the four bytes of the message's header in its first record. */
	static const size_t SIZES[] = { 4, 5, 50, 150 };
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		for (size_t s = 0; s < array_count(SIZES); s++) {
			uint8_t hello[2048];
			struct rig r;
			size_t n;

			rig_open(&r, context);
			rig_client(&r, VERSIONS[i], NULL);
			SSL_do_handshake(r.client);
			n = rig_client_bytes(&r, hello, sizeof hello);
			for (size_t at = TLS_HEADER_BYTES; at < n;) {
				size_t part = n - at < SIZES[s] ? n - at : SIZES[s];
				uint8_t header[] = { TLS_HANDSHAKE, 3, 1, 0, (uint8_t)part };

				rig_deliver(&r, header, sizeof header);
				rig_deliver(&r, hello + at, part);
				at += part;
			}
			rig_to_client(&r);
			cr_assert(rig_shake(&r), "version %zu, parts of %zu: %s", i, SIZES[s], r.tls.failure ? r.tls.failure->name : "stuck");
			carry_both_ways(&r, 100);
			rig_close(&r);
		}
	}
	tls_context_put(context);
}

Test(tls_engine, bytes_that_come_with_the_finished_and_bytes_that_wait_for_it_arrive)
{
	struct tls_context *context = rig_context(&files, "e");

	for (size_t piece = 0; piece < 200; piece++) {
		struct rig r;
		char got[64];
		int error;

		rig_open(&r, context);
		r.piece = piece;
		r.together = true;
		rig_client(&r, TLS1_3_VERSION, NULL);
		pipe_write(&r.plain_out, "waiting", 7);
		pipe_end(&r.plain_out);
		SSL_do_handshake(r.client);
		rig_to_engine(&r);
		rig_to_client(&r);
		cr_assert_eq(SSL_do_handshake(r.client), 1);
		cr_assert_eq(SSL_write(r.client, "early", 5), 5);
		SSL_shutdown(r.client);
		rig_to_engine(&r);
		cr_assert_str_eq(tls_step_name(&r.tls), "closed");
		cr_assert_null(r.tls.failure);
		cr_assert_eq(rig_plain_read(&r, got, sizeof got), 5);
		cr_assert(pipe_at_end(&r.plain_in) && !r.plain_in.reason);
		cr_assert_eq(rig_client_read(&r, got, sizeof got, &error), 7);
		cr_assert_eq(error, SSL_ERROR_ZERO_RETURN);
		rig_close(&r);
	}
	tls_context_put(context);
}

/* ---- what arrives in pieces ---- */

static void records_in_pieces(int version)
{
	static const uint32_t SIZES[] = { 1, 300, 2, 40 };
	struct rig r;
	uint8_t sent[343], got[1000], wire[1000];
	size_t n;

	shaken(&r, version);
	for (size_t piece = 1; piece <= 460; piece++) {
		size_t at = 0;

		rig_fill(sent, sizeof sent, (uint32_t)piece);
		for (size_t i = 0; i < array_count(SIZES); at += SIZES[i++])
			cr_assert_eq(SSL_write(r.client, sent + at, (int)SIZES[i]), (int)SIZES[i]);
		n = rig_client_bytes(&r, wire, sizeof wire);
		r.piece = piece;
		r.together = piece % 2;
		rig_deliver(&r, wire, n);
		cr_assert_eq(rig_plain_read(&r, got, sizeof got), sizeof sent);
		cr_assert_eq(memcmp(sent, got, sizeof sent), 0);
	}
	r.piece = 0;
	close_both_ways(&r);
	rig_close(&r);
}

Test(tls_engine, records_cut_at_every_size_are_the_same_bytes)
{
	records_in_pieces(TLS1_3_VERSION);
	records_in_pieces(TLS1_2_VERSION);
}

Test(tls_engine, large_records_that_straddle_chunks_are_gathered_by_the_cipher)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const size_t PIECES[] = { 4000, 5461, 8200, 16384, 16405, 16407, 16896 };
	static uint8_t sent[150000], got[150000];

	rig_fill(sent, sizeof sent, 3);
	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct rig r;

		shaken(&r, VERSIONS[i]);
		for (size_t p = 0; p < array_count(PIECES); p++) {
			size_t n = 0;

			r.piece = PIECES[p];
			cr_assert_eq(SSL_write(r.client, sent, sizeof sent), (int)sizeof sent);
			rig_to_engine(&r);
			for (size_t part; (part = rig_plain_read(&r, got + n, sizeof got - n)) > 0;)
				n += part;
			cr_assert_eq(n, sizeof sent);
			cr_assert_eq(memcmp(sent, got, n), 0);
		}
		rig_close(&r);
	}
}

Test(tls_engine, a_record_alone_in_its_chunk_is_handed_on_without_a_copy)
{
	struct rig r;
	uint8_t wire[17000], sent[16384] = { 0 };
	struct chunk *chunk;
	uint64_t takes;
	size_t n;

	shaken(&r, TLS1_3_VERSION);
	cr_assert_eq(SSL_write(r.client, sent, sizeof sent), (int)sizeof sent);
	n = rig_client_bytes(&r, wire, sizeof wire);
	chunk = chunk_take(&r.core.pool);
	memcpy(chunk->bytes, wire, n);
	chunk->end = (uint32_t)n;
	takes = r.core.pool.takes;
	pipe_put(&r.wire_in, chunk);
	rig_run(&r);
	cr_assert_eq(r.plain_in.first, chunk);
	cr_assert_eq(r.plain_in.bytes, sizeof sent);
	cr_assert_eq(r.core.pool.takes, takes);
	rig_close(&r);
}

/* How many bytes of content each record in wire_out has; takes them out. */
static unsigned record_sizes(struct rig *r, uint32_t *sizes, unsigned most)
{
	unsigned count = 0;

	rig_run(r);
	while (r->wire_out.bytes > 0 && count < most) {
		uint8_t header[TLS_HEADER_BYTES];
		uint32_t bytes;

		cr_assert_eq(wire_look(&r->wire_out, header, sizeof header), sizeof header);
		bytes = TLS_HEADER_BYTES + ((uint32_t)header[3] << 8 | header[4]);
		sizes[count++] = bytes - TLS_HEADER_BYTES - AEAD_TAG_BYTES - 1;
		for (size_t piece; bytes > 0; bytes -= (uint32_t)piece) {
			pipe_peek(&r->wire_out, &piece);
			piece = piece < bytes ? piece : bytes;
			pipe_consume(&r->wire_out, piece);
		}
		rig_run(r);
	}
	return count;
}

Test(tls_engine, a_stream_begins_with_small_records_and_goes_on_with_whole_ones)
{
	struct rig r;
	static uint8_t sent[60000];
	uint32_t sizes[32];
	unsigned count;

	shaken(&r, TLS1_3_VERSION);
	for (int round = 0; round < 2; round++) {
		pipe_write(&r.plain_out, sent, sizeof sent);
		count = record_sizes(&r, sizes, array_count(sizes));
		cr_assert_eq(count, 12 + 3);
		for (unsigned i = 0; i < 12; i++)
			cr_assert_eq(sizes[i], 1370u);
		cr_assert_eq(sizes[12], 16384u);
		cr_assert_eq(sizes[13], 16384u);
		/* Without a pause it goes on so … */
		r.core.now_ms += PAUSE_MS - 1;
		pipe_write(&r.plain_out, sent, 20000);
		count = record_sizes(&r, sizes, array_count(sizes));
		cr_assert_eq(count, 2);
		cr_assert_eq(sizes[0], 16384u);
		/* … and after one it begins anew. */
		r.core.now_ms += PAUSE_MS;
	}
	rig_close(&r);
}

Test(tls_engine, pieces_of_plain_out_become_few_records)
{
	struct rig r;
	static uint8_t sent[40000], got[50000];
	int error;

	shaken(&r, TLS1_3_VERSION);
	streaming(&r);
	rig_fill(sent, sizeof sent, 5);
	for (size_t at = 0; at < sizeof sent; at += 400) {
		struct chunk *chunk = chunk_take(&r.core.pool);

		chunk->begin = CHUNK_BYTES - 400;
		chunk->end = CHUNK_BYTES;
		memcpy(chunk->bytes + chunk->begin, sent + at, 400);
		pipe_put(&r.plain_out, chunk);
	}
	rig_run(&r);
	cr_assert_eq(r.tls.out.sequence, 3);
	cr_assert_eq(rig_client_read(&r, got, sizeof got, &error), sizeof sent);
	cr_assert_eq(memcmp(sent, got, sizeof sent), 0);
	rig_close(&r);
}

/* ---- backpressure ---- */

static void much_through_small_pipes(int version)
{
	struct rig r;
	static uint8_t sent[1000000], got[1000000];
	size_t in = 0, out = 0, given = 0;

	shaken(&r, version);
	rig_fill(sent, sizeof sent, 9);
	cr_assert_eq(SSL_write(r.client, sent, sizeof sent), (int)sizeof sent);
	while (in < sizeof got) {
		/* As tcp would: only while there is room. */
		while (pipe_free(&r.wire_in) > 0) {
			struct chunk *chunk = chunk_take(&r.core.pool);

			chunk->end = (uint32_t)rig_client_bytes(&r, chunk->bytes, CHUNK_BYTES);
			if (chunk_size(chunk) == 0) {
				chunk_put(&r.core.pool, chunk);
				break;
			}
			pipe_put(&r.wire_in, chunk);
			rig_run(&r);
		}
		cr_assert_leq(r.plain_in.bytes, PIPE_BYTES_MAX + TLS_CONTENT_BYTES_MAX);
		in += rig_plain_read(&r, got + in, 5000);
	}
	cr_assert_eq(memcmp(sent, got, sizeof sent), 0);

	while (out < sizeof got) {
		int n, error;

		while (given < sizeof sent && pipe_free(&r.plain_out) > 0) {
			size_t piece = sizeof sent - given < 7001 ? sizeof sent - given : 7001;

			pipe_write(&r.plain_out, sent + given, piece);
			given += piece;
			rig_run(&r);
		}
		cr_assert_leq(r.wire_out.bytes, PIPE_BYTES_MAX + TLS_RECORD_BYTES_MAX);
		n = (int)rig_client_read(&r, got + out, sizeof got - out, &error);
		out += (size_t)n;
	}
	cr_assert_eq(memcmp(sent, got, sizeof sent), 0);
	close_both_ways(&r);
	rig_close(&r);
}

Test(tls_engine, a_megabyte_each_way_keeps_within_the_pipes_bounds)
{
	much_through_small_pipes(TLS1_3_VERSION);
	much_through_small_pipes(TLS1_2_VERSION);
}

Test(tls_engine, nothing_is_opened_while_nobody_reads)
{
	struct rig r;
	static uint8_t sent[200000];
	uint64_t held;

	shaken(&r, TLS1_3_VERSION);
	cr_assert_eq(SSL_write(r.client, sent, sizeof sent), (int)sizeof sent);
	rig_to_engine(&r);
	held = r.plain_in.bytes;
	cr_assert_geq(held, PIPE_BYTES_MAX);
	cr_assert_leq(held, PIPE_BYTES_MAX + TLS_CONTENT_BYTES_MAX);
	cr_assert(r.wire_in.bytes > 100000);
	pipe_end(&r.wire_in);
	rig_run(&r);
	cr_assert(!r.plain_in.ended);            /* not truncated: there is more to open */
	for (size_t sum = 0, n; sum < sizeof sent; sum += n) {
		n = rig_plain_read(&r, sent, 10000);
		cr_assert(n > 0);
	}
	cr_assert_eq(r.plain_in.reason, &TLS_TRUNCATED);
	rig_close(&r);
}

/* ---- ends ---- */

Test(tls_engine, the_clients_close_notify_ends_plain_in_and_leaves_our_direction_open)
{
	struct rig r;
	char got[16];
	int error;

	shaken(&r, TLS1_3_VERSION);
	SSL_shutdown(r.client);
	rig_to_engine(&r);
	cr_assert(pipe_at_end(&r.plain_in) && !r.plain_in.reason);
	cr_assert_str_eq(tls_step_name(&r.tls), "closing");
	pipe_write(&r.plain_out, "late", 4);
	cr_assert_eq(rig_client_read(&r, got, sizeof got, &error), 4);
	pipe_end(&r.plain_out);
	rig_client_read(&r, got, sizeof got, &error);
	cr_assert_eq(error, SSL_ERROR_ZERO_RETURN);
	cr_assert_str_eq(tls_step_name(&r.tls), "closed");
	rig_close(&r);
}

Test(tls_engine, a_wire_that_ends_without_close_notify_is_truncated)
{
	/* behind a record, inside a header, inside a record */
	for (size_t left = 0; left < 40; left++) {
		struct rig r;
		uint8_t wire[200], got[200];
		size_t n;

		shaken(&r, left % 2 ? TLS1_3_VERSION : TLS1_2_VERSION);
		SSL_write(r.client, "whole", 5);
		n = rig_client_bytes(&r, wire, sizeof wire);
		rig_deliver(&r, wire, n);
		SSL_write(r.client, "0123456789012345678901234567890123456789", 40);
		rig_client_bytes(&r, wire, sizeof wire);
		rig_deliver(&r, wire, left);
		pipe_end(&r.wire_in);
		rig_run(&r);
		cr_assert_eq(rig_plain_read(&r, got, sizeof got), 5);
		cr_assert(r.plain_in.ended);
		NAME_IS(r.plain_in.reason, TLS_TRUNCATED);
		cr_assert_null(r.tls.failure);
		cr_assert(!r.wire_out.ended);        /* what we have to say can still be said */
		rig_close(&r);
	}
}

Test(tls_engine, a_wire_that_breaks_breaks_plain_in_with_the_same_reason)
{
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	pipe_break(&r.wire_in, &TCP_RESET);
	pipe_refuse(&r.wire_out, &TCP_RESET);
	rig_run(&r);
	NAME_IS(r.plain_in.reason, TCP_RESET);
	NAME_IS(r.plain_out.refusal, TCP_RESET);
	cr_assert_str_eq(tls_step_name(&r.tls), "closed");
	rig_close(&r);
}

Test(tls_engine, a_broken_plain_out_breaks_the_wire_without_close_notify)
{
	struct rig r;
	char got[16];
	int error;

	shaken(&r, TLS1_3_VERSION);
	pipe_write(&r.plain_out, "half", 4);
	pipe_break(&r.plain_out, &RING_DRAINED);
	cr_assert_eq(rig_client_read(&r, got, sizeof got, &error), 4);
	cr_assert_eq(error, SSL_ERROR_WANT_READ);
	NAME_IS(r.wire_out.reason, RING_DRAINED);
	rig_close(&r);
}

Test(tls_engine, a_refused_plain_in_refuses_the_wire)
{
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	SSL_write(r.client, "unwanted", 8);
	pipe_refuse(&r.plain_in, &RING_DONE);
	rig_run(&r);
	rig_to_engine(&r);
	NAME_IS(r.wire_in.refusal, RING_DONE);
	pipe_end(&r.plain_out);
	rig_run(&r);
	cr_assert_str_eq(tls_step_name(&r.tls), "closed");
	rig_close(&r);
}

/* ---- key updates ---- */

Test(tls_engine, the_clients_key_updates_of_both_kinds_are_followed)
{
	static const char *const SUITES[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
		"TLS_CHACHA20_POLY1305_SHA256" };

	for (size_t i = 0; i < array_count(SUITES); i++) {
		struct tls_context *context = rig_context(&files, "e");
		struct rig r;

		rig_open(&r, context);
		tls_context_put(context);
		rig_client(&r, TLS1_3_VERSION, SUITES[i]);
		cr_assert(rig_shake(&r));
		for (int round = 0; round < 20; round++) {
			uint8_t before[TLS_SECRET_BYTES_MAX];

			memcpy(before, r.tls.out.secret, sizeof before);
			cr_assert_eq(SSL_key_update(r.client, round % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
			carry_both_ways(&r, 500);
			carry_both_ways(&r, 500);
			cr_assert_eq(memcmp(before, r.tls.out.secret, sizeof before) != 0, round % 2);
		}
		close_both_ways(&r);
		rig_close(&r);
	}
}

Test(tls_engine, a_key_that_is_spent_is_replaced_in_both_directions)
{
	struct rig r;
	uint8_t first[TLS_SECRET_BYTES_MAX], first_in[TLS_SECRET_BYTES_MAX];

	shaken(&r, TLS1_3_VERSION);
	memcpy(first, r.tls.out.secret, sizeof first);
	memcpy(first_in, r.tls.in.secret, sizeof first);
	r.tls.out.records_max = 3;
	r.tls.in.records_max = 5;
	for (int i = 0; i < 40; i++) {
		carry_both_ways(&r, 20);
		r.core.now_ms += 2000;
		cr_assert_leq(r.tls.out.sequence, 3);
	}
	cr_assert_neq(memcmp(first, r.tls.out.secret, sizeof first), 0);
	cr_assert_neq(memcmp(first_in, r.tls.in.secret, sizeof first), 0);
	cr_assert_leq(r.tls.in.sequence, 8);
	close_both_ways(&r);
	rig_close(&r);
}

Test(tls_engine, a_key_of_tls_1_2_that_is_spent_does_not_end_as_if_all_were_said)
{
	struct rig r;
	char got[8];
	int error;

	shaken(&r, TLS1_2_VERSION);
	r.tls.out.records_max = 3;
	for (int i = 0; i < 2; i++) {
		pipe_write(&r.plain_out, "x", 1);
		cr_assert_eq(rig_client_read(&r, got, sizeof got, &error), 1);
	}
	pipe_write(&r.plain_out, "x", 1);
	cr_assert_leq(rig_client_read(&r, got, sizeof got, &error), 0);
	cr_assert_eq(error, SSL_ERROR_SSL);
	NAME_IS(r.tls.failure, TLS_KEY_SPENT);
	rig_close(&r);
}

Test(tls_engine, a_key_update_in_pieces_is_one)
{
	static const uint8_t MESSAGE[] = { 24, 0, 0, 1, 0 };
	struct tls_half half;
	struct rig r;
	char got[8];

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	for (int i = 0; i < 5; i++)
		rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE + i, 1);
	cr_assert_null(r.tls.failure);
	tls_half_update(&half);
	rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "after", 5);
	cr_assert_eq(rig_plain_read(&r, got, sizeof got), 5);
	tls_half_fini(&half);
	rig_close(&r);
}

/* ---- what is refused after the handshake ---- */

static const struct {
	const char *what;
	uint8_t type;
	uint8_t bytes[8];
	uint8_t n;
	uint8_t times;
	const struct reason *reason;
	int alert;                               /* that the client gets; -1: none */
} INSIDE[] = {
	{ "a ticket", 22, { 4, 0, 0, 1, 0 }, 5, 1, &TLS_MESSAGE_UNEXPECTED, 10 },
	{ "a hello", 22, { 1, 0, 0, 1, 0 }, 5, 1, &TLS_MESSAGE_UNEXPECTED, 10 },
	{ "an empty handshake record", 22, { 0 }, 0, 1, &TLS_MESSAGE_UNEXPECTED, 10 },
	{ "a key update with something behind it", 22, { 24, 0, 0, 1, 0, 24 }, 6, 1, &TLS_MESSAGE_UNEXPECTED, 10 },
	{ "a long key update", 22, { 24, 0, 0, 2, 0, 0 }, 6, 1, &TLS_MESSAGE_MALFORMED, 50 },
	{ "a key update of a third kind", 22, { 24, 0, 0, 1, 2 }, 5, 1, &TLS_KEY_UPDATE_VALUE, 47 },
	{ "a short alert", 21, { 2 }, 1, 1, &TLS_ALERT_MALFORMED, 50 },
	{ "a long alert", 21, { 2, 40, 2, 40 }, 4, 1, &TLS_ALERT_MALFORMED, 50 },
	{ "an empty alert", 21, { 0 }, 0, 1, &TLS_ALERT_MALFORMED, 50 },
	{ "an encrypted ChangeCipherSpec", 20, { 1 }, 1, 1, &TLS_RECORD_CCS, 10 },
	{ "an unknown type", 24, { 1 }, 1, 1, &TLS_RECORD_TYPE, 10 },
	{ "nothing but padding", 0, { 0 }, 3, 1, &TLS_RECORD_PADDING, 10 },
	{ "a flood of empty records", 23, { 0 }, 0, 33, &TLS_EMPTY_FLOOD, 10 },
	{ "a flood of warnings", 21, { 1, 90 }, 2, 33, &TLS_EMPTY_FLOOD, 10 },
};

Test(tls_engine, what_no_client_may_send_inside_a_record_is_refused_by_name)
{
	for (size_t i = 0; i < array_count(INSIDE); i++) {
		struct tls_half half;
		struct rig r;
		char got[8];
		int error;

		shaken(&r, TLS1_3_VERSION);
		r.owner_runs = 0;
		rig_forge(&r, &half);
		for (int times = 0; times < INSIDE[i].times; times++) {
			cr_assert_null(r.tls.failure, "%s: too early", INSIDE[i].what);
			rig_deliver_sealed(&r, &half, INSIDE[i].type, INSIDE[i].bytes, INSIDE[i].n);
		}
		cr_assert_eq(r.tls.failure, INSIDE[i].reason, "%s: %s", INSIDE[i].what,
			r.tls.failure ? r.tls.failure->name : "accepted");
		cr_assert_eq(r.owner_runs, 1);
		cr_assert_eq(r.plain_in.reason, INSIDE[i].reason);
		cr_assert_eq(r.plain_out.refusal, INSIDE[i].reason);
		cr_assert_eq(r.wire_in.refusal, INSIDE[i].reason);
		cr_assert(r.wire_out.ended && !r.wire_out.reason);
		ERR_clear_error();
		rig_client_read(&r, got, sizeof got, &error);
		cr_assert_eq(rig_client_alert(), INSIDE[i].alert, "%s", INSIDE[i].what);
		tls_half_fini(&half);
		rig_close(&r);
	}
}

static const struct {
	const char *what;
	int version;
	uint8_t bytes[32];
	uint8_t n;
	const struct reason *reason;
	int alert;
} OUTSIDE[] = {
	{ "ChangeCipherSpec", TLS1_3_VERSION, { 20, 3, 3, 0, 1, 1 }, 6, &TLS_RECORD_CCS, 10 },
	{ "ChangeCipherSpec", TLS1_2_VERSION, { 20, 3, 3, 0, 1, 1 }, 6, &TLS_RECORD_CCS, 10 },
	{ "an alert in clear", TLS1_3_VERSION, { 21, 3, 3, 0, 2, 1, 0 }, 7, &TLS_RECORD_PLAIN, 10 },
	{ "an alert in clear", TLS1_2_VERSION, { 21, 3, 3, 0, 2, 1, 0 }, 7, &TLS_RECORD_SHORT, 50 },
	{ "a hello in clear", TLS1_3_VERSION, { 22, 3, 3, 0, 1, 1 }, 6, &TLS_RECORD_PLAIN, 10 },
	{ "an unknown type", TLS1_3_VERSION, { 25, 3, 3, 0, 1, 1 }, 6, &TLS_RECORD_TYPE, 10 },
	{ "an unknown type", TLS1_2_VERSION, { 24, 3, 3, 0, 1, 1 }, 6, &TLS_RECORD_TYPE, 10 },
	{ "an old version", TLS1_3_VERSION, { 23, 3, 1, 0, 1, 1 }, 6, &TLS_RECORD_VERSION, 70 },
	{ "no version", TLS1_2_VERSION, { 23, 0, 0, 0, 1, 1 }, 6, &TLS_RECORD_VERSION, 70 },
	{ "a long record", TLS1_3_VERSION, { 23, 3, 3, 0x41, 0x01 }, 5, &TLS_RECORD_LONG, 22 },
	{ "a long record", TLS1_2_VERSION, { 23, 3, 3, 0x40, 0x19 }, 5, &TLS_RECORD_LONG, 22 },
	{ "a short record", TLS1_3_VERSION, { 23, 3, 3, 0, 16 }, 5, &TLS_RECORD_SHORT, 50 },
	{ "a short record", TLS1_2_VERSION, { 23, 3, 3, 0, 23 }, 5, &TLS_RECORD_SHORT, 50 },
	{ "a made-up record", TLS1_3_VERSION, { 23, 3, 3, 0, 17 }, 22, &TLS_RECORD_FORGED, 20 },
	{ "a made-up record", TLS1_2_VERSION, { 23, 3, 3, 0, 24 }, 29, &TLS_RECORD_FORGED, 20 },
};

Test(tls_engine, what_no_client_may_send_around_a_record_is_refused_by_name)
{
	for (size_t i = 0; i < array_count(OUTSIDE); i++) {
		for (size_t piece = 0; piece < 2; piece++) {
			struct rig r;
			char got[8];
			int error;

			shaken(&r, OUTSIDE[i].version);
			r.piece = piece;
			rig_deliver(&r, OUTSIDE[i].bytes, OUTSIDE[i].n);
			cr_assert_eq(r.tls.failure, OUTSIDE[i].reason, "%zu %s: %s", i, OUTSIDE[i].what,
				r.tls.failure ? r.tls.failure->name : "accepted");
			ERR_clear_error();
			rig_client_read(&r, got, sizeof got, &error);
			cr_assert_eq(rig_client_alert(), OUTSIDE[i].alert, "%zu %s", i, OUTSIDE[i].what);
			rig_close(&r);
		}
	}
}

Test(tls_engine, a_flood_of_key_updates_is_refused_with_data_between_them_too)
{
	static const uint8_t MESSAGE[] = { 24, 0, 0, 1, 1 };
	struct tls_half half;
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	for (unsigned i = 0; i < UPDATES_MAX; i++) {
		rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
		tls_half_update(&half);
		rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "x", 1);
		cr_assert_null(r.tls.failure);
	}
	/* Ten seconds later it is a fresh count. */
	r.core.now_ms += UPDATES_WITHIN_MS;
	for (unsigned i = 0; i < UPDATES_MAX; i++) {
		rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
		tls_half_update(&half);
		cr_assert_null(r.tls.failure);
		rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "x", 1);
	}
	rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
	NAME_IS(r.tls.failure, TLS_KEY_UPDATE_FLOOD);
	tls_half_fini(&half);
	rig_close(&r);

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	for (unsigned i = 0; i <= UPDATES_MAX; i++) {
		cr_assert_null(r.tls.failure);
		rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
		tls_half_update(&half);
	}
	NAME_IS(r.tls.failure, TLS_KEY_UPDATE_FLOOD);
	tls_half_fini(&half);
	rig_close(&r);
}

Test(tls_engine, key_updates_asked_for_while_the_wire_is_full_are_answered_once)
{
	static const uint8_t MESSAGE[] = { 24, 0, 0, 1, 1 };
	static uint8_t much[PIPE_BYTES_MAX * 2];
	struct tls_half half;
	struct rig r;
	uint64_t full;

	shaken(&r, TLS1_3_VERSION);
	pipe_write(&r.plain_out, much, sizeof much);
	rig_run(&r);
	full = r.wire_out.bytes;
	cr_assert_eq(pipe_free(&r.wire_out), 0);
	rig_forge(&r, &half);
	for (unsigned i = 0; i < 20; i++) {
		rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
		tls_half_update(&half);
	}
	cr_assert_eq(r.wire_out.bytes, full);
	cr_assert(r.tls.update_owed);
	rig_to_client(&r);
	cr_assert(!r.tls.update_owed);
	tls_half_fini(&half);
	rig_close(&r);
}

Test(tls_engine, empty_records_with_content_between_them_are_no_flood)
{
	struct tls_half half;
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	for (unsigned i = 0; i < 4 * USELESS_MAX; i++) {
		rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "", 0);
		if (i % USELESS_MAX == USELESS_MAX - 1)
			rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "x", 1);
		cr_assert_null(r.tls.failure);
	}
	cr_assert_eq(r.plain_in.bytes, 4);
	tls_half_fini(&half);
	rig_close(&r);
}

Test(tls_engine, another_record_between_the_pieces_of_a_message_is_refused)
{
	static const uint8_t MESSAGE[] = { 24, 0 };
	struct tls_half half;
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	rig_deliver_sealed(&r, &half, TLS_HANDSHAKE, MESSAGE, sizeof MESSAGE);
	cr_assert_null(r.tls.failure);
	rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "x", 1);
	NAME_IS(r.tls.failure, TLS_MESSAGE_UNEXPECTED);
	cr_assert_eq(r.plain_in.bytes, 0);
	tls_half_fini(&half);
	rig_close(&r);
}

Test(tls_engine, many_records_at_once_let_others_run_in_between)
{
	static uint8_t much[STEP_RECORDS_MAX * 3 * 30];
	struct rig r;
	size_t n = 0;

	shaken(&r, TLS1_3_VERSION);
	for (unsigned i = 0; i < STEP_RECORDS_MAX * 3; i++)
		SSL_write(r.client, "x", 1);
	n = rig_client_bytes(&r, much, sizeof much);
	pipe_write(&r.wire_in, much, n);
	for (unsigned turn = 1; turn <= 3; turn++) {
		struct link *link = link_take_first(&r.core.run);

		cr_assert_eq(link, &r.tls.task.in_run);
		r.tls.task.step(&r.tls.task);
		cr_assert_eq(r.plain_in.bytes, turn * STEP_RECORDS_MAX);
	}
	rig_run(&r);
	rig_close(&r);

	/* The same for what goes out: a pipe that has vast room is not filled in one step. */
	shaken(&r, TLS1_3_VERSION);
	streaming(&r);
	r.wire_out.bytes_max = UINT64_MAX / 2;
	for (unsigned i = 0; i < STEP_RECORDS_MAX + 2; i++) {
		struct chunk *chunk = chunk_take(&r.core.pool);

		chunk->end = TLS_CONTENT_BYTES_MAX;
		pipe_put(&r.plain_out, chunk);
	}
	link_take_first(&r.core.run);
	r.tls.task.step(&r.tls.task);
	cr_assert_eq(r.tls.out.sequence, STEP_RECORDS_MAX);
	rig_run(&r);
	cr_assert_eq(r.tls.out.sequence, STEP_RECORDS_MAX + 2);
	rig_close(&r);
}

Test(tls_engine, a_client_that_renegotiates_is_refused)
{
	struct rig r;

	shaken(&r, TLS1_2_VERSION);
	SSL_set_options(r.client, SSL_OP_LEGACY_SERVER_CONNECT);
	cr_assert_eq(SSL_renegotiate(r.client), 1);
	SSL_do_handshake(r.client);
	cr_assert(rig_to_engine(&r) > 0);
	NAME_IS(r.tls.failure, TLS_RENEGOTIATION);
	cr_assert(r.wire_out.ended);
	ERR_clear_error();
	rig_to_client(&r);
	cr_assert_neq(SSL_do_handshake(r.client), 1);
	cr_assert_eq(ERR_GET_REASON(ERR_get_error()), SSL_R_NO_RENEGOTIATION);
	rig_close(&r);
}

Test(tls_engine, the_clients_alert_is_the_reason_and_gets_no_answer)
{
	static const uint8_t ALERT[] = { 1, 48 };    /* RFC 8446 §6: the level is ignored */
	struct tls_half half;
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	rig_deliver_sealed(&r, &half, TLS_ALERT, ALERT, sizeof ALERT);
	cr_assert_str_eq(r.tls.failure->name, "tls_peer_unknown_ca");
	cr_assert_eq(r.plain_in.reason, r.tls.failure);
	cr_assert_eq(rig_to_client(&r), 0);
	cr_assert(r.wire_out.ended);
	tls_half_fini(&half);
	rig_close(&r);
}

Test(tls_engine, what_follows_a_close_notify_is_dropped)
{
	static const uint8_t ALERT[] = { 1, 0 };
	struct tls_half half;
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	rig_forge(&r, &half);
	r.together = true;
	rig_deliver_sealed(&r, &half, TLS_ALERT, ALERT, sizeof ALERT);
	rig_deliver_sealed(&r, &half, TLS_APPLICATION_DATA, "late", 4);
	rig_deliver(&r, (const uint8_t *)"rubbish", 7);
	cr_assert(pipe_at_end(&r.plain_in) && !r.plain_in.reason);
	cr_assert_null(r.tls.failure);
	tls_half_fini(&half);
	rig_close(&r);
}

/* ---- what is refused before and in the handshake ---- */

static const struct {
	const char *bytes;
	size_t n;
	bool ends;
	const struct reason *reason;
	const char *answer;
	size_t answer_bytes;
} BEFORE[] = {
	{ "GET / HTTP/1.1\r\n\r\n", 18, false, &TLS_PLAIN_HTTP, "HTTP/1.1 400 ", 13 },
	{ "PRI * HTTP/2.0\r\n\r\n", 18, false, &TLS_PLAIN_HTTP, "HTTP/1.1 400 ", 13 },
	{ "\x80\x2e\x01\x00\x02", 5, false, &TLS_SSL2, "\x15\x03\x03\x00\x02\x02\x46", 7 },
	{ "SSH-2.0-x\r\n", 11, false, &TLS_NOT_TLS, "", 0 },
	{ "\0\0\0\0", 4, false, &TLS_NOT_TLS, "", 0 },
	{ "\x16\x03\x01\x40\x01\x01", 6, false, &TLS_RECORD_LONG, "\x15\x03\x03\x00\x02\x02\x16", 7 },
	{ "\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, false, &TLS_HANDSHAKE_ORDER, "\x15\x03\x03\x00\x02\x02\x0a", 7 },
	{ "", 0, true, &TLS_HELLO_MISSING, "", 0 },
	{ "\x16\x03\x01\x00\x04\x01\x00", 7, true, &TLS_HELLO_CUT, "", 0 },
	{ "GE", 2, true, &TLS_HELLO_CUT, "", 0 },
};

Test(tls_engine, what_is_no_hello_is_refused_by_name)
{
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(BEFORE); i++) {
		for (size_t piece = 0; piece < 3; piece++) {
			struct rig r;
			size_t n;
			const uint8_t *answer;

			rig_open(&r, context);
			r.piece = piece;
			rig_deliver(&r, (const uint8_t *)BEFORE[i].bytes, BEFORE[i].n);
			if (BEFORE[i].ends)
				pipe_end(&r.wire_in);
			rig_run(&r);
			cr_assert_eq(r.tls.failure, BEFORE[i].reason, "case %zu: %s", i, r.tls.failure ? r.tls.failure->name : "accepted");
			cr_assert_str_eq(tls_step_name(&r.tls), "closed");
			cr_assert_eq(r.plain_in.reason, BEFORE[i].reason);
			cr_assert_eq(r.owner_runs, 1);
			answer = pipe_peek(&r.wire_out, &n);
			cr_assert(n >= BEFORE[i].answer_bytes && (n == 0) == (BEFORE[i].answer_bytes == 0));
			cr_assert(n == 0 || memcmp(answer, BEFORE[i].answer, BEFORE[i].answer_bytes) == 0);
			cr_assert(r.wire_out.ended);
			rig_close(&r);
		}
	}
	tls_context_put(context);
}

Test(tls_engine, the_answer_to_plain_http_is_as_long_as_it_says)
{
	struct tls_context *context = rig_context(&files, "e");
	struct rig r;
	char text[512];
	const char *body;
	const uint8_t *answer;
	size_t n;

	rig_open(&r, context);
	rig_deliver(&r, (const uint8_t *)"GET / HTTP/1.1\r\n", 16);
	answer = pipe_peek(&r.wire_out, &n);
	memcpy(text, answer, n);
	text[n] = 0;
	body = strstr(text, "\r\n\r\n") + 4;
	cr_assert_eq(strtoul(strstr(text, "Content-Length: ") + 16, NULL, 10), strlen(body));
	rig_close(&r);
	tls_context_put(context);
}

/* Shakes hands, which must fail; the alert that the client got. */
static int refused_handshake(struct rig *r)
{
	ERR_clear_error();
	cr_assert(!rig_shake(r));
	cr_assert(r->tls.failure);
	cr_assert_str_eq(tls_step_name(&r->tls), "closed");
	cr_assert(r->wire_out.ended);
	return rig_client_alert();
}

Test(tls_engine, a_client_with_other_protocols_only_is_told_so)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct tls_context *context = rig_context(&files, "e");
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, VERSIONS[i], NULL);
		rig_alpn(&r, "\x06spdy/3\x03irc");
		SSL_set_tlsext_host_name(r.client, "edge.example");
		cr_assert_eq(refused_handshake(&r), 120);
		NAME_IS(r.tls.failure, TLS_PROTOCOL_UNSUPPORTED);
		cr_assert_str_eq(r.tls.sni, "edge.example");
		rig_close(&r);
		tls_context_put(context);
	}
}

Test(tls_engine, a_client_without_alpn_gets_none)
{
	struct rig r;

	shaken(&r, TLS1_3_VERSION);
	cr_assert_null(r.tls.alpn);
	cr_assert_null(r.tls.sni);
	rig_close(&r);
}

Test(tls_engine, an_old_client_is_told_the_version)
{
	struct tls_context *context = rig_context(&files, "e");
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_1_VERSION, "ALL:@SECLEVEL=0");
	cr_assert_eq(refused_handshake(&r), 70);
	NAME_IS(r.tls.failure, TLS_VERSION_UNSUPPORTED);
	rig_close(&r);
	tls_context_put(context);
}

static const struct {
	int version;
	const char *suites;
	const char *groups;
	const char *signatures;
} UNSHARED[] = {
	{ TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL, NULL },        /* CBC */
	{ TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, NULL },                /* no forward secrecy */
	{ TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, NULL },      /* we have no RSA certificate here */
	{ TLS1_2_VERSION, NULL, "P-384", NULL },
	{ TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256", NULL, NULL },
	{ TLS1_3_VERSION, NULL, "P-521", NULL },
	{ TLS1_3_VERSION, NULL, NULL, "RSA-PSS+SHA256" },
};

Test(tls_engine, a_client_that_shares_nothing_is_told_so)
{
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(UNSHARED); i++) {
		struct rig r;
		int alert;

		rig_open(&r, context);
		rig_client(&r, UNSHARED[i].version, UNSHARED[i].suites);
		if (UNSHARED[i].groups)
			cr_assert_eq(SSL_set1_groups_list(r.client, UNSHARED[i].groups), 1);
		if (UNSHARED[i].signatures)
			cr_assert_eq(SSL_set1_sigalgs_list(r.client, UNSHARED[i].signatures), 1);
		alert = refused_handshake(&r);
		cr_assert_eq(alert, 40, "case %zu: alert %d, %s", i, alert, r.tls.failure->name);
		cr_assert_eq(r.tls.failure, &TLS_NOTHING_SHARED, "case %zu: %s", i, r.tls.failure->name);
		rig_close(&r);
	}
	tls_context_put(context);
}

Test(tls_engine, a_client_that_does_not_trust_us_is_the_reason)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct tls_context *context = rig_context(&files, "e");
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, VERSIONS[i], NULL);
		SSL_set_verify(r.client, SSL_VERIFY_PEER, NULL);
		refused_handshake(&r);
		cr_assert_str_eq(r.tls.failure->name, "tls_peer_unknown_ca");
		rig_close(&r);
		tls_context_put(context);
	}
}

Test(tls_engine, a_client_that_leaves_in_the_handshake_is_named)
{
	struct tls_context *context = rig_context(&files, "e");

	for (int broken = 0; broken < 2; broken++) {
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, TLS1_3_VERSION, NULL);
		SSL_do_handshake(r.client);
		rig_to_engine(&r);
		cr_assert_str_eq(tls_step_name(&r.tls), "shake_hands");
		if (broken)
			pipe_break(&r.wire_in, &TCP_RECEIVE_LATE);
		else
			pipe_end(&r.wire_in);
		rig_run(&r);
		NAME_IS(r.tls.failure, *(broken ? &TCP_RECEIVE_LATE : &TLS_HANDSHAKE_CUT));
		rig_close(&r);
	}
	tls_context_put(context);
}

Test(tls_engine, a_wire_that_breaks_before_the_handshake_ends_gives_its_own_reason)
{
	struct tls_context *context = rig_context(&files, "e");
	struct rig r;

	rig_open(&r, context);
	rig_deliver(&r, (const uint8_t *)"\x16\x03", 2);
	pipe_break(&r.wire_in, &TCP_RECEIVE_LATE);
	rig_run(&r);
	NAME_IS(r.tls.failure, TCP_RECEIVE_LATE);
	cr_assert_eq(rig_to_client(&r), 0);
	tls_fini(&r.tls);
	rig_close(&r);                           /* which does it again */

	rig_open(&r, context);
	rig_client(&r, TLS1_3_VERSION, NULL);
	SSL_do_handshake(r.client);
	rig_to_engine(&r);
	pipe_refuse(&r.wire_out, &TCP_RESET);
	rig_run(&r);
	NAME_IS(r.tls.failure, TCP_RESET);
	rig_close(&r);
	tls_context_put(context);
}

/* What OpenSSL logs: "CLIENT_HANDSHAKE_TRAFFIC_SECRET random secret". */
static uint8_t logged_secret[48];
static size_t logged_bytes;

static void key_logged(const SSL *ssl, const char *line)
{
	(void)ssl;
	if (strncmp(line, "CLIENT_HANDSHAKE_TRAFFIC_SECRET ", 32) != 0)
		return;
	line = strrchr(line, ' ') + 1;
	for (logged_bytes = 0; line[2 * logged_bytes]; logged_bytes++) {
		unsigned byte;

		cr_assert_eq(sscanf(line + 2 * logged_bytes, "%2x", &byte), 1);
		logged_secret[logged_bytes] = (uint8_t)byte;
	}
}

Test(tls_engine, nothing_may_stand_behind_the_finished_in_its_record)
{
	for (int extra = 0; extra < 2; extra++) {
		struct tls_context *context = rig_context(&files, "e");
		uint8_t flight[1024], record[1024];
		const uint32_t ccs_bytes = 6;
		struct tls_half open, seal;
		struct tls_opened opened;
		struct rig r;
		size_t n;

		rig_open(&r, context);
		rig_client(&r, TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256");
		SSL_CTX_set_keylog_callback(r.client_context, key_logged);
		SSL_do_handshake(r.client);
		rig_to_engine(&r);
		rig_to_client(&r);
		cr_assert_eq(SSL_do_handshake(r.client), 1);
		n = rig_client_bytes(&r, flight, sizeof flight);
		cr_assert(flight[0] == TLS_CHANGE_CIPHER_SPEC && logged_bytes == 32);

		/* The client's Finished, sealed again, as it was or with a KeyUpdate behind it. */
		tls_half_init_secret(&open, &tls_context_thread(context)->aeads, tls_suite_find(0x1301), logged_secret, false);
		tls_half_init_secret(&seal, &tls_context_thread(context)->aeads, tls_suite_find(0x1301), logged_secret, true);
		cr_assert_null(tls_open(&open, flight + ccs_bytes, (uint32_t)n - ccs_bytes, &opened));
		memcpy(opened.bytes + opened.n, (uint8_t[]){ 24, 0, 0, 1, 0 }, 5);
		n = tls_seal(&seal, TLS_HANDSHAKE, opened.bytes, opened.n + (extra ? 5 : 0), record);
		rig_deliver(&r, flight, ccs_bytes);
		rig_deliver(&r, record, n);
		if (extra)
			NAME_IS(r.tls.failure, TLS_HANDSHAKE_ORDER);
		else
			cr_assert(r.tls.step == TLS_OPEN && !r.tls.failure);
		tls_half_fini(&open);
		tls_half_fini(&seal);
		rig_close(&r);
		tls_context_put(context);
	}
}

Test(tls_engine, a_hello_with_any_byte_changed_ends_somewhere)
{
	struct tls_context *context = rig_context(&files, "e");
	uint8_t hello[2048];
	size_t n = 0;

	for (size_t at = 0; at == 0 || at < n; at++) {
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, at % 2 ? TLS1_3_VERSION : TLS1_2_VERSION, NULL);
		rig_alpn(&r, "\x02h2");
		SSL_set_tlsext_host_name(r.client, "edge.example");
		SSL_do_handshake(r.client);
		n = rig_client_bytes(&r, hello, sizeof hello);
		if (at < n)
			hello[at] ^= (uint8_t)(1u << at % 8);
		rig_deliver(&r, hello, n);
		rig_to_client(&r);
		rig_shake(&r);
		pipe_end(&r.wire_in);
		rig_run(&r);
		cr_assert(r.plain_in.ended, "byte %zu: %s", at, tls_step_name(&r.tls));
		cr_assert(r.plain_in.reason);
		rig_close(&r);
	}
	tls_context_put(context);
}

Test(tls_engine, a_handshake_without_end_is_refused)
{
	static const uint8_t CCS[] = { 20, 3, 3, 0, 1, 1 };
	struct tls_context *context = rig_context(&files, "e");
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_3_VERSION, NULL);
	SSL_do_handshake(r.client);
	rig_to_engine(&r);
	for (unsigned i = 0; i < 2 * HANDSHAKE_BYTES_MAX / sizeof CCS && !r.tls.failure; i++)
		rig_deliver(&r, CCS, sizeof CCS);
	NAME_IS(r.tls.failure, TLS_HANDSHAKE_LONG);
	rig_close(&r);
	tls_context_put(context);
}
