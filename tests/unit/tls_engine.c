#include "tls/engine.c"
#include "tls/handshake.c"

#include "tls_rig.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include <time.h>

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

/* ---- hellos in pieces ---- */

/* The handshake record that ends `from`, cut into records of `first` and then of `part` bytes with this version; what stands
 * before it is left as it is. The result's length. */
static size_t recut(const uint8_t *from, size_t n, size_t first, size_t part, uint16_t version, uint8_t *to)
{
	size_t at = 0, size = 0, length;

	while (from[at] != TLS_HANDSHAKE) {
		length = TLS_HEADER_BYTES + ((size_t)from[at + 3] << 8 | from[at + 4]);
		memcpy(to + size, from + at, length);
		size += length;
		at += length;
	}
	length = (size_t)from[at + 3] << 8 | from[at + 4];
	cr_assert_eq(at + TLS_HEADER_BYTES + length, n);
	from += at + TLS_HEADER_BYTES;
	for (size_t done = 0; done < length;) {
		size_t piece = done == 0 && first > 0 ? first : part;

		if (piece > length - done)
			piece = length - done;
		memcpy(to + size,
			(uint8_t[]){ TLS_HANDSHAKE, (uint8_t)(version >> 8), (uint8_t)version, (uint8_t)(piece >> 8), (uint8_t)piece },
			TLS_HEADER_BYTES);
		memcpy(to + size + TLS_HEADER_BYTES, from + done, piece);
		size += TLS_HEADER_BYTES + piece;
		done += piece;
	}
	return size;
}

/* Shakes hands; the hello, or after a HelloRetryRequest the second one, is cut so. */
static void shake_recut(struct tls_context *context, int version, bool retry, bool second, size_t count, size_t first,
	uint16_t record_version, size_t chunk)
{
	static uint8_t flight[8192], cut[16384];
	struct rig r;
	size_t n, part;

	rig_open(&r, context);
	r.piece = chunk;
	rig_client(&r, version, NULL);
	SSL_set_tlsext_host_name(r.client, "edge.example");
	rig_alpn(&r, "\x08http/1.1");
	if (retry)
		cr_assert_eq(SSL_set1_groups_list(r.client, "P-384:P-256"), 1);
	SSL_do_handshake(r.client);
	if (second) {
		rig_to_engine(&r);
		rig_to_client(&r);
		SSL_do_handshake(r.client);
	}
	n = rig_client_bytes(&r, flight, sizeof flight);
	part = (n - TLS_HEADER_BYTES - first + count - 1) / count;
	rig_deliver(&r, cut, recut(flight, n, first, part, record_version, cut));
	cr_assert(rig_shake(&r), "%x%s: %zu records, the first of %zu, version %x: %s", (unsigned)version, second ? ", second" : "",
		count, first, record_version, r.tls.failure ? r.tls.failure->name : "stuck");
	cr_assert_str_eq(r.tls.alpn, "http/1.1");
	cr_assert_str_eq(r.tls.sni, "edge.example");
	carry_both_ways(&r, 100);
	rig_close(&r);
}

Test(tls_engine, a_hello_in_any_number_of_records_is_the_same_hello)
{
	struct tls_context *context = rig_context(&files, "e");

	for (size_t count = 1; count <= TLS_HELLO_RECORDS_MAX; count++) {
		shake_recut(context, count % 2 ? TLS1_3_VERSION : TLS1_2_VERSION, false, false, count, 0, 0x0303, count % 3 ? 0 : count);
		shake_recut(context, TLS1_3_VERSION, true, false, count, 0, 0x0301, count % 5 ? 0 : 1);
	}
	for (size_t first = 1; first <= 8; first++) {
		shake_recut(context, TLS1_2_VERSION, false, false, 3, first, 0x0301, 0);
		shake_recut(context, TLS1_3_VERSION, false, false, 1, first, 0x0303, 7);
		shake_recut(context, TLS1_3_VERSION, true, false, TLS_HELLO_RECORDS_MAX - 1, first, 0x0301, 0);
	}
	tls_context_put(context);
}

/* RFC 8446 §5.1 on legacy_record_version: "MUST be ignored for all purposes". */
Test(tls_engine, the_version_of_the_hellos_record_means_nothing)
{
	static const uint16_t VERSIONS[] = { 0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03ff };
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		shake_recut(context, TLS1_2_VERSION, false, false, 1 + i % 3, 0, VERSIONS[i], 0);
		shake_recut(context, TLS1_3_VERSION, false, false, 1 + i % 2, 0, VERSIONS[i], 0);
		shake_recut(context, TLS1_3_VERSION, true, false, 1, 0, VERSIONS[i], 0);
	}
	tls_context_put(context);
}

Test(tls_engine, the_second_hello_may_come_in_several_records_too)
{
	struct tls_context *context = rig_context(&files, "e");

	for (size_t count = 1; count <= TLS_HELLO_RECORDS_MAX; count = count * 2)
		shake_recut(context, TLS1_3_VERSION, true, true, count, 0, 0x0303, count % 3 ? 0 : count);
	tls_context_put(context);
}

/* ---- whose turn it is ---- */

/* Somebody else, who has the only place there is. */
struct crowd {
	struct task task;
	struct admission_place place;
	unsigned wakes;
};

static void crowd_woken(struct task *task)
{
	owner_of(task, struct crowd, task)->wakes++;
}

static struct admission *admission_of(const struct rig *r)
{
	return &tls_context_thread(r->tls.context)->admission;
}

static enum admission_answer crowd_ask(struct rig *r, struct crowd *crowd)
{
	*crowd = (struct crowd){ 0 };
	task_init(&crowd->task, &r->scope, "crowd", crowd_woken);
	admission_place_init(&crowd->place, &crowd->task);
	admission_of(r)->at_work_max = 1;
	return admission_ask(admission_of(r), &crowd->place, ADMISSION_FULL, 1);
}

/* True: something is left in this turn. */
static bool crowd_try(struct rig *r, struct crowd *crowd)
{
	bool granted;

	*crowd = (struct crowd){ 0 };
	task_init(&crowd->task, &r->scope, "crowd", crowd_woken);
	admission_place_init(&crowd->place, &crowd->task);
	granted = admission_ask(admission_of(r), &crowd->place, ADMISSION_FULL, 0) == ADMISSION_GRANTED;
	admission_leave(admission_of(r), &crowd->place);
	task_fini(&crowd->task);
	return granted;
}

static void crowd_leave(struct rig *r, struct crowd *crowd)
{
	admission_leave(admission_of(r), &crowd->place);
	task_fini(&crowd->task);
	rig_run(r);
}

/* His hello is here, and waits behind the crowd. */
static void queued(struct rig *r, struct tls_context *context, struct crowd *crowd, int version)
{
	rig_open(r, context);
	cr_assert_eq(crowd_ask(r, crowd), ADMISSION_GRANTED);
	rig_client(r, version, NULL);
	SSL_do_handshake(r->client);
	rig_to_engine(r);
	cr_assert_str_eq(tls_step_name(&r->tls), "queue");
	cr_assert_null(r->tls.handshake);
	cr_assert_eq(r->wire_out.bytes, 0);
	cr_assert_eq(stat_read(&admission_of(r)->stats.queued), 1);
}

Test(tls_engine, who_waits_has_no_memory_of_mbedtls_and_is_served_when_a_place_is_free)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct crowd crowd;
		struct rig r;

		queued(&r, context, &crowd, VERSIONS[i]);
		cr_assert_eq(rig_thread()->spare_count, i);
		crowd_leave(&r, &crowd);
		cr_assert_str_eq(tls_step_name(&r.tls), "shake_hands");
		rig_to_client(&r);
		cr_assert(rig_shake(&r));
		carry_both_ways(&r, 500);
		close_both_ways(&r);
		cr_assert_eq(stat_read(&admission_of(&r)->stats.at_work), 0);
		cr_assert_eq(stat_read(&admission_of(&r)->stats.dropped), 0);
		rig_close(&r);
	}
	tls_context_put(context);
}

Test(tls_engine, for_a_client_who_has_gone_while_he_waited_nothing_is_computed)
{
	static const struct reason *const REASONS[] = { &TLS_HANDSHAKE_CUT, &TCP_RESET, &TCP_SEND_LATE, NULL };
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(REASONS); i++) {
		struct crowd crowd;
		struct rig r;

		queued(&r, context, &crowd, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
		if (i == 0)
			pipe_end(&r.wire_in);
		if (i == 1)
			pipe_break(&r.wire_in, &TCP_RESET);
		if (i == 2)
			pipe_refuse(&r.wire_out, &TCP_SEND_LATE);
		if (i == 3)
			tls_fini(&r.tls);                /* his connection ends */
		rig_run(&r);
		cr_assert_eq(stat_read(&rig_thread()->admission.stats.dropped), 1);
		cr_assert_eq(stat_read(&rig_thread()->admission.stats.queued), 0);
		if (REASONS[i]) {
			cr_assert_eq(r.tls.failure, REASONS[i]);
			cr_assert_str_eq(tls_step_name(&r.tls), "closed");
			cr_assert_eq(r.owner_runs, 1);
			crowd_leave(&r, &crowd);
			cr_assert_eq(r.wire_out.bytes, 0);
		}
		cr_assert_eq(rig_thread()->spare_count, 0);
		rig_close(&r);
	}
	tls_context_put(context);
}

Test(tls_engine, where_too_many_wait_the_next_one_is_told_so)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *context = rig_context(&files, "e");

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct crowd crowd;
		struct rig r;

		rig_open(&r, context);
		cr_assert_eq(crowd_ask(&r, &crowd), ADMISSION_GRANTED);
		admission_of(&r)->queued_max = 0;
		rig_client(&r, VERSIONS[i], NULL);
		cr_assert_eq(refused_handshake(&r), TLS_ALERT_INTERNAL_ERROR);
		NAME_IS(r.tls.failure, TLS_HANDSHAKES_FULL);
		cr_assert_eq(stat_read(&admission_of(&r)->stats.refused), 1);
		cr_assert_null(r.tls.handshake);
		rig_close(&r);
	}
	tls_context_put(context);
}

/* A client that has our flight and does not answer, while somebody waits: he is told, in a way that he can read. */
static void displaced(int version, bool has_read)
{
	struct tls_context *context = rig_context(&files, "e");
	struct crowd crowd;
	struct rig r;
	int alert;

	rig_open(&r, context);
	rig_client(&r, version, NULL);
	SSL_do_handshake(r.client);
	rig_to_engine(&r);
	cr_assert_str_eq(tls_step_name(&r.tls), "shake_hands");
	if (has_read) {
		rig_to_client(&r);
		SSL_do_handshake(r.client);
	}
	cr_assert_eq(crowd_ask(&r, &crowd), ADMISSION_QUEUED);
	rig_run(&r);
	cr_assert_null(r.tls.failure);
	r.core.now_ms += 2100;
	timer_wheel_run(&r.core.wheel, r.core.now_ms);
	rig_run(&r);
	NAME_IS(r.tls.failure, TLS_HANDSHAKE_DISPLACED);
	cr_assert(crowd.place.granted);
	cr_assert_null(r.tls.handshake);
	cr_assert_eq(stat_read(&admission_of(&r)->stats.displaced), 1);
	cr_assert(r.wire_out.ended);
	ERR_clear_error();
	rig_to_client(&r);
	if (SSL_do_handshake(r.client) == 1) {
		char byte;

		SSL_read(r.client, &byte, 1);
	}
	alert = rig_client_alert();
	cr_assert_eq(alert, TLS_ALERT_INTERNAL_ERROR, "alert %d", alert);
	crowd_leave(&r, &crowd);
	rig_close(&r);
	tls_context_put(context);
}

Test(tls_engine, a_displaced_client_of_tls_1_2_is_told)
{
	displaced(TLS1_2_VERSION, false);
	displaced(TLS1_2_VERSION, true);
}

Test(tls_engine, a_displaced_client_of_tls_1_3_is_told)
{
	displaced(TLS1_3_VERSION, true);
	displaced(TLS1_3_VERSION, false);
}

static void tickets_begin(void)
{
	ticket_holder_init(&rig_thread()->tickets, NULL, ticket_keys_next(NULL, (uint64_t)time(NULL), 3600));
}

/* For the next client: the session with the newest ticket, read by the client. */
static SSL_SESSION *session_of(struct rig *r)
{
	SSL_SESSION *session;
	char byte;

	pipe_write(&r->plain_out, "x", 1);
	rig_to_client(r);
	cr_assert_eq(SSL_read(r->client, &byte, 1), 1);
	session = SSL_get1_session(r->client);
	SSL_shutdown(r->client);
	return session;
}

/* What is computed for a client's flight costs so many units, in a turn where there are plenty. */
static unsigned units_for(struct rig *r)
{
	uint8_t flight[4096];
	size_t n = rig_client_bytes(r, flight, sizeof flight);
	int before;

	/* What is owed has been paid. */
	for (int turn = 0; turn < 10; turn++) {
		struct crowd crowd;

		stat_add(&r->core.stats.turns, 1);
		if (crowd_try(r, &crowd))
			break;
	}
	before = admission_of(r)->units_left;
	/* By hand, so that the turn does not end behind it. */
	pipe_write(&r->wire_in, flight, n);
	for (struct link *link; (link = link_take_first(&r->core.run));) {
		struct task *task = owner_of(link, struct task, in_run);

		task->step(task);
	}
	cr_assert_gt(r->wire_out.bytes, 0);
	return (unsigned)(before - admission_of(r)->units_left);
}

/* What signs is paid for as what signs, be it asked for in two parts … */
Test(tls_engine_all, a_retry_is_not_a_way_to_have_a_signature_for_the_price_of_a_finished)
{
	struct tls_context *context = rig_context(&files, "r");
	unsigned units;
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_3_VERSION, NULL);
	cr_assert_eq(SSL_set1_groups_list(r.client, "P-384:P-256"), 1);
	SSL_do_handshake(r.client);
	rig_to_engine(&r);
	rig_to_client(&r);
	SSL_do_handshake(r.client);
	units = units_for(&r);
	cr_assert_eq(units, 8, "the signature cost %u", units);
	rig_to_client(&r);
	cr_assert(rig_shake(&r));
	rig_close(&r);
	tls_context_put(context);
}

/* … or with a ticket that is none. */
Test(tls_engine_all, a_bad_ticket_is_not_a_way_to_have_a_signature_for_the_price_of_a_resumption)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *context;

	tickets_begin();
	context = rig_context(&files, "r");
	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		SSL_SESSION *session;
		unsigned units;
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, VERSIONS[i], NULL);
		cr_assert(rig_shake(&r));
		session = session_of(&r);
		rig_close(&r);

		/* Nobody has the key of that one any more. */
		ticket_holder_swap(&rig_thread()->tickets, ticket_keys_next(NULL, (uint64_t)time(NULL), 3600));
		rig_open(&r, context);
		rig_client(&r, VERSIONS[i], NULL);
		SSL_set_session(r.client, session);
		SSL_do_handshake(r.client);
		units = units_for(&r);
		cr_assert_eq(units, 8, "the signature cost %u", units);
		rig_to_client(&r);
		cr_assert(rig_shake(&r));
		cr_assert(!r.tls.resumed);
		SSL_SESSION_free(session);
		rig_close(&r);
	}
	tls_context_put(context);
}

/* ---- memory that is kept for the next client ---- */

Test(tls_engine, twenty_handshakes_after_each_other_need_the_memory_of_one)
{
	struct tls_context *context = rig_context(&files, "e");
	struct link *kept = NULL;

	for (int i = 0; i < 20; i++) {
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, i % 3 ? TLS1_3_VERSION : TLS1_2_VERSION, NULL);
		cr_assert(rig_shake(&r));
		cr_assert_eq(rig_thread()->spare_count, 1);
		cr_assert(!kept || kept == rig_thread()->spares.next);
		kept = rig_thread()->spares.next;
		carry_both_ways(&r, 1000);
		close_both_ways(&r);
		rig_close(&r);
	}
	tls_context_put(context);
	cr_assert_eq(rig_thread()->spare_count, 0);
	cr_assert(link_alone(&rig_thread()->spares));
}

Test(tls_engine, many_at_once_leave_no_more_than_a_few_behind)
{
	enum { COUNT = 24 };
	struct tls_context *context = rig_context(&files, "e");
	struct rig *rigs = calloc(COUNT, sizeof *rigs);

	for (int i = 0; i < COUNT; i++) {
		rig_open(&rigs[i], context);
		rig_client(&rigs[i], TLS1_3_VERSION, NULL);
		SSL_do_handshake(rigs[i].client);
		rig_to_engine(&rigs[i]);
		cr_assert_str_eq(tls_step_name(&rigs[i].tls), "shake_hands");
		/* rig_open opens admission anew; each is of a core of its own here, as far as turns go. */
		admission_leave(&rig_thread()->admission, &rigs[i].tls.place);
		admission_place_init(&rigs[i].tls.place, &rigs[i].tls.task);
	}
	for (int i = 0; i < COUNT; i++) {
		admission_open(&rig_thread()->admission, &rigs[i].scope, 100, 100);
		rig_to_client(&rigs[i]);
		cr_assert(rig_shake(&rigs[i]));
		cr_assert_eq(rig_thread()->spare_count, i < (int)SPARES_MAX ? (unsigned)i + 1 : SPARES_MAX);
	}
	for (int i = 0; i < COUNT; i++) {
		carry_both_ways(&rigs[i], 100);
		rig_close(&rigs[i]);
	}
	free(rigs);
	tls_context_put(context);
	cr_assert_eq(rig_thread()->spare_count, 0);
}

/* What one client of a host was, the next one is not: each of these after each other one, through the same memory. */
static const struct {
	const char *what;
	int version;
	const char *suite, *alpn, *name, *groups;
	bool fails;                              /* the client does not trust us, and says so */
	bool leaves;                             /* in the middle */
	bool resumes;
} CLIENTS[] = {
	{ "1.3", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", NULL, NULL, NULL, false, false, false },
	{ "1.3, h2, name", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "\x02h2", "edge.example", NULL, false, false, false },
	{ "1.3, retry", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "\x08http/1.1", "a.example", "P-384:P-256", false, false, false },
	{ "1.2", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, NULL, NULL, false, false, false },
	{ "1.2, h2, name", TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", "\x02h2", "edge.example", NULL, false, false, false },
	{ "1.3, resumes", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "\x08http/1.1", "edge.example", NULL, false, false, true },
	{ "1.2, resumes", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", NULL, "edge.example", NULL, false, false, true },
	{ "1.3, fails", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "\x02h2", "b.example", NULL, true, false, false },
	{ "1.2, fails", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "\x02h2", "b.example", NULL, true, false, false },
	{ "1.3, leaves", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "\x02h2", "b.example", NULL, false, true, false },
	{ "1.2, leaves", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "\x02h2", "b.example", NULL, false, true, false },
};

static SSL_SESSION *client_of_kind(struct tls_context *context, size_t kind, SSL_SESSION *offer, const char *after)
{
	SSL_SESSION *session = NULL;
	const char *name = CLIENTS[kind].name, *alpn = CLIENTS[kind].alpn;
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, CLIENTS[kind].version, CLIENTS[kind].suite);
	if (alpn)
		rig_alpn(&r, alpn);
	if (name)
		SSL_set_tlsext_host_name(r.client, name);
	if (CLIENTS[kind].groups)
		SSL_set1_groups_list(r.client, CLIENTS[kind].groups);
	if (CLIENTS[kind].fails)
		SSL_set_verify(r.client, SSL_VERIFY_PEER, NULL);
	if (offer)
		cr_assert_eq(SSL_set_session(r.client, offer), 1);
	if (CLIENTS[kind].leaves) {
		SSL_do_handshake(r.client);
		rig_to_engine(&r);
		pipe_end(&r.wire_in);
		rig_run(&r);
		NAME_IS(r.tls.failure, TLS_HANDSHAKE_CUT);
		cr_assert_eq(rig_thread()->spare_count, 0);      /* what failed is not kept, in whatever state it may be */
	} else if (CLIENTS[kind].fails) {
		refused_handshake(&r);
		cr_assert_str_eq(r.tls.failure->name, "tls_peer_unknown_ca", "%s after %s: %s", CLIENTS[kind].what, after,
			r.tls.failure->name);
		cr_assert_eq(rig_thread()->spare_count, 0);
	} else {
		cr_assert(rig_shake(&r), "%s after %s: %s", CLIENTS[kind].what, after, r.tls.failure ? r.tls.failure->name : "stuck");
		cr_assert_eq(r.tls.version, CLIENTS[kind].version);
		cr_assert_str_eq(r.tls.alpn ? r.tls.alpn : "", alpn ? alpn + 1 : "", "%s after %s", CLIENTS[kind].what, after);
		cr_assert_str_eq(r.tls.sni ? r.tls.sni : "", name ? name : "");
		cr_assert_null(r.tls.identity);
		cr_assert_eq(r.tls.resumed, offer != NULL, "%s after %s", CLIENTS[kind].what, after);
		cr_assert_eq(SSL_session_reused(r.client), offer != NULL);
		carry_both_ways(&r, 700);
		session = session_of(&r);
	}
	rig_close(&r);
	return session;
}

Test(tls_engine, nothing_of_a_client_is_left_for_the_next_one, .timeout = 100)
{
	struct tls_context *context;

	tickets_begin();
	context = rig_context(&files, "e");
	for (size_t before = 0; before < array_count(CLIENTS); before++) {
		for (size_t after = 0; after < array_count(CLIENTS); after++) {
			size_t order[] = { before, after };
			SSL_SESSION *offers[2] = { NULL };

			/* What they resume is of an earlier one of their kind. */
			for (size_t i = 0; i < 2; i++)
				if (CLIENTS[order[i]].resumes)
					offers[i] = client_of_kind(context, order[i], NULL, "nobody");
			for (size_t i = 0; i < 2; i++) {
				SSL_SESSION_free(client_of_kind(context, order[i], offers[i], i ? CLIENTS[before].what : "any"));
				SSL_SESSION_free(offers[i]);
			}
			cr_assert_leq(rig_thread()->spare_count, 1);
		}
	}
	tls_context_put(context);
	cr_assert_eq(rig_thread()->spare_count, 0);
}

Test(tls_engine, a_spare_is_wiped_and_of_its_own_host)
{
	static const char *const NAMES[] = { "a.example", "b.example" };
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	const struct tls_host_files hosts[] = {
		{ .names = &NAMES[0], .name_count = 1, .certificates = &one, .certificate_count = 1, .alpn = RIG_PROTOCOLS },
		{ .names = &NAMES[1], .name_count = 1, .certificates = &one, .certificate_count = 1 },
	};
	const struct tls_listener_files listener = { .address = "x", .hosts = hosts, .host_count = 2,
		.version_min = TLS_1_2, .version_max = TLS_1_3 };
	static const struct tls_handshake ZERO;
	struct tls_fault fault;
	struct tls_context *context = rig_context_listening(&listener, &fault);
	struct tls_handshake *of[2] = { NULL };

	cr_assert(context, "%s", fault.sentence);
	for (int i = 0; i < 8; i++) {
		struct tls_handshake *spare;
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, i & 2 ? TLS1_2_VERSION : TLS1_3_VERSION, NULL);
		rig_alpn(&r, "\x02h2");
		SSL_set_tlsext_host_name(r.client, NAMES[i % 2]);
		cr_assert(rig_shake(&r));
		cr_assert_str_eq(r.tls.alpn ? r.tls.alpn : "", i % 2 ? "" : "h2");
		spare = owner_of(rig_thread()->spares.next, struct tls_handshake, in_spares);
		cr_assert(!of[i % 2] || of[i % 2] == spare);
		of[i % 2] = spare;
		cr_assert_eq(spare->host, r.tls.choice.host);
		cr_assert_eq(memcmp((char *)spare + offsetof(struct tls_handshake, choice), (char *)&ZERO + offsetof(struct tls_handshake, choice),
			sizeof ZERO - offsetof(struct tls_handshake, choice)), 0);
		cr_assert_eq(rig_thread()->spare_count, i ? 2 : 1);
		rig_close(&r);
	}
	tls_context_put(context);
	cr_assert_eq(rig_thread()->spare_count, 0);
}

/* A reload: the old context's spares go with it, the new one's stay. */
Test(tls_engine, a_context_that_goes_takes_its_spares_along_and_leaves_those_of_others)
{
	struct tls_context *old = rig_context(&files, "e"), *fresh = rig_context(&files, "e");
	struct rig r, other;

	rig_open(&r, old);
	rig_client(&r, TLS1_3_VERSION, NULL);
	cr_assert(rig_shake(&r));
	tls_context_put(old);                    /* the connection keeps it */
	cr_assert_eq(rig_thread()->spare_count, 1);
	rig_open(&other, fresh);
	rig_client(&other, TLS1_2_VERSION, NULL);
	cr_assert(rig_shake(&other));
	cr_assert_eq(rig_thread()->spare_count, 2);
	carry_both_ways(&r, 10);
	rig_close(&r);
	cr_assert_eq(rig_thread()->spare_count, 1);
	cr_assert_eq(owner_of(rig_thread()->spares.next, struct tls_handshake, in_spares)->host, other.tls.choice.host);
	carry_both_ways(&other, 10);
	rig_close(&other);
	cr_assert_eq(rig_thread()->spare_count, 1);
	tls_context_put(fresh);
	cr_assert_eq(rig_thread()->spare_count, 0);
}

/* ---- resumption ---- */

Test(tls_engine, full_and_resumed_handshakes_are_told_apart_and_counted)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const char *const NAMES[] = { "edge.example", "other.example" };
	struct tls_context *context;
	struct tls_stats *stats = &rig_thread()->stats;

	tickets_begin();
	context = rig_context(&files, "e");
	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		SSL_SESSION *session = NULL;

		for (int round = 0; round < 4; round++) {
			struct rig r;

			rig_open(&r, context);
			rig_client(&r, VERSIONS[i], NULL);
			SSL_set_tlsext_host_name(r.client, NAMES[round == 3]);
			if (session)
				SSL_set_session(r.client, session);
			SSL_SESSION_free(session);
			cr_assert(rig_shake(&r));
			/* The last one asks for another name: a ticket of this one is not for it. */
			cr_assert_eq(r.tls.resumed, round == 1 || round == 2);
			cr_assert_eq(SSL_session_reused(r.client), r.tls.resumed);
			cr_assert_null(r.tls.identity);
			session = session_of(&r);
			rig_close(&r);
		}
		SSL_SESSION_free(session);
	}
	cr_assert_eq(stat_read(&stats->full_12), 2);
	cr_assert_eq(stat_read(&stats->resumed_12), 2);
	cr_assert_eq(stat_read(&stats->full_13), 2);
	cr_assert_eq(stat_read(&stats->resumed_13), 2);
	tls_context_put(context);
}

Test(tls_engine, a_handshake_that_fails_counts_as_none)
{
	struct tls_context *context = rig_context(&files, "e");
	struct tls_stats *stats = &rig_thread()->stats;
	struct rig r;

	rig_open(&r, context);
	rig_client(&r, TLS1_2_VERSION, NULL);
	SSL_set_verify(r.client, SSL_VERIFY_PEER, NULL);
	refused_handshake(&r);
	cr_assert_eq(stat_read(&stats->full_12) + stat_read(&stats->full_13), 0);
	cr_assert_eq(stat_read(&admission_of(&r)->stats.at_work), 0);
	rig_close(&r);
	tls_context_put(context);
}

/* ---- certificates of clients ---- */

enum who { NOBODY, GOOD, BELOW, RSA_KEY, P384_KEY, REVOKED, EXPIRED, FUTURE, FOREIGN, SELF, DEEP, SERVERS, WHO_COUNT };

struct people {
	struct rig_issued root, one, two, foreign;
	struct rig_issued of[WHO_COUNT];
	char ca[96], crl[96];
};

static struct people people;

static void people_begin(void)
{
	static const char NAMES[] = "DNS:site-7.example.org,email:cra@cro.example.org";
	struct people *p = &people;

	p->root = rig_issue("Clients' root", NULL, true, NULL, 1, -10, 30);
	p->one = rig_issue("Clients' first", &p->root, true, NULL, 2, -10, 30);
	p->two = rig_issue("Clients' second", &p->one, true, NULL, 3, -10, 30);
	p->foreign = rig_issue("Clients' root", NULL, true, NULL, 1, -10, 30); /* the same name, another key */
	p->of[GOOD] = rig_issue("Monitor 4", &p->root, false, NAMES, 10, -1, 30);
	p->of[BELOW] = rig_issue("Monitor 5", &p->one, false, NAMES, 11, -1, 30);
	p->of[RSA_KEY] = rig_issue_for(EVP_RSA_gen(2048), "Monitor 6", &p->root, false, NAMES, 12, -1, 30);
	p->of[P384_KEY] = rig_issue_for(EVP_EC_gen("P-384"), "Monitor 7", &p->root, false, NAMES, 13, -1, 30);
	p->of[REVOKED] = rig_issue("Monitor 8", &p->root, false, NAMES, 9, -1, 30);
	p->of[EXPIRED] = rig_issue("Monitor 9", &p->root, false, NAMES, 14, -9, -1);
	p->of[FUTURE] = rig_issue("Monitor 10", &p->root, false, NAMES, 15, 2, 30);
	p->of[FOREIGN] = rig_issue("Monitor 11", &p->foreign, false, NAMES, 16, -1, 30);
	p->of[SELF] = rig_issue("Monitor 12", NULL, false, NAMES, 17, -1, 30);
	p->of[DEEP] = rig_issue("Monitor 13", &p->two, false, NAMES, 18, -1, 30);
	p->of[SERVERS] = rig_issue("Monitor 14", &p->root, false, NAMES, 19, -1, 30);
	rig_extend(p->of[SERVERS].certificate, NID_ext_key_usage, "serverAuth");
	X509_sign(p->of[SERVERS].certificate, p->root.key, EVP_sha256());
	rig_path(&files, "clients.pem", p->ca);
	rig_path(&files, "clients.crl", p->crl);
	rig_write_certificate(&p->root, p->ca, "w");
	rig_write_list(&p->root, 9, -1, 7, p->crl, "w");
	rig_write_list(&p->one, 0, -1, 7, p->crl, "a");
	rig_write_list(&p->two, 0, -1, 7, p->crl, "a");
}

static void people_end(void)
{
	rig_issued_free(&people.root);
	rig_issued_free(&people.one);
	rig_issued_free(&people.two);
	rig_issued_free(&people.foreign);
	for (int i = 0; i < WHO_COUNT; i++)
		rig_issued_free(&people.of[i]);
}

/* Host 0 asks nobody; "asks.example" does. */
static struct tls_context *asking(bool required, unsigned depth, const char *crl)
{
	static const char *const NAMES[] = { "default.example", "asks.example" };
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	const struct tls_host_files hosts[] = {
		{ .names = &NAMES[0], .name_count = 1, .certificates = &one, .certificate_count = 1, .alpn = RIG_PROTOCOLS },
		{ .names = &NAMES[1], .name_count = 1, .certificates = &one, .certificate_count = 1, .alpn = RIG_PROTOCOLS,
			.client = { people.ca, crl, depth, required } },
	};
	const struct tls_listener_files listener = { .address = "x", .hosts = hosts, .host_count = 2, .tickets = true,
		.version_min = TLS_1_2, .version_max = TLS_1_3, .ticket_lifetime_s = 3600 };
	struct tls_fault fault;
	struct tls_context *context = rig_context_listening(&listener, &fault);

	cr_assert(context, "%s", fault.sentence);
	return context;
}

static void open_as(struct rig *r, struct tls_context *context, int version, enum who who, const char *name)
{
	rig_open(r, context);
	rig_client(r, version, NULL);
	SSL_set_tlsext_host_name(r->client, name);
	if (who != NOBODY) {
		cr_assert_eq(SSL_use_certificate(r->client, people.of[who].certificate), 1);
		cr_assert_eq(SSL_use_PrivateKey(r->client, people.of[who].key), 1);
	}
	if (who == DEEP)
		SSL_add1_chain_cert(r->client, people.two.certificate);
	if (who == DEEP || who == BELOW)
		SSL_add1_chain_cert(r->client, people.one.certificate);
}

static const struct {
	const char *what;
	enum who who;
	bool required;
	unsigned depth;
	const struct reason *reason;             /* NULL: he is let in */
	bool known;                              /* and has an identity */
	int alert_12, alert_13;                  /* -1: do not look */
} VISITS[] = {
	{ "good", GOOD, true, 0, NULL, true, -1, -1 },
	{ "good", GOOD, false, 1, NULL, true, -1, -1 },
	{ "by an intermediate", BELOW, true, 1, NULL, true, -1, -1 },
	{ "by an intermediate", BELOW, true, 8, NULL, true, -1, -1 },
	{ "by two, which are allowed", DEEP, true, 2, NULL, true, -1, -1 },
	{ "RSA", RSA_KEY, true, 0, NULL, true, -1, -1 },
	{ "none", NOBODY, false, 0, NULL, false, -1, -1 },
	/* RFC 5246 §7.4.6: handshake_failure; certificate_required is of TLS 1.3 */
	{ "none", NOBODY, true, 0, &TLS_CERTIFICATE_MISSING, false, 40, 116 },
	{ "revoked", REVOKED, true, 0, &TLS_CERTIFICATE_REVOKED, false, 44, 44 },
	{ "revoked", REVOKED, false, 0, &TLS_CERTIFICATE_REVOKED, false, 44, 44 },
	{ "expired", EXPIRED, true, 0, &TLS_CERTIFICATE_EXPIRED, false, 45, 45 },
	{ "expired", EXPIRED, false, 0, &TLS_CERTIFICATE_EXPIRED, false, 45, 45 },
	{ "of the future", FUTURE, true, 0, &TLS_CERTIFICATE_EXPIRED, false, 45, 45 },
	{ "of the future", FUTURE, false, 0, &TLS_CERTIFICATE_EXPIRED, false, 45, 45 },
	{ "foreign, of the same name", FOREIGN, true, 0, &TLS_CERTIFICATE_UNTRUSTED, false, 48, 48 },
	{ "foreign, of the same name", FOREIGN, false, 0, &TLS_CERTIFICATE_UNTRUSTED, false, 48, 48 },
	{ "his own", SELF, true, 0, &TLS_CERTIFICATE_UNTRUSTED, false, 48, 48 },
	{ "his own", SELF, false, 0, &TLS_CERTIFICATE_UNTRUSTED, false, 48, 48 },
	{ "by an intermediate, which is too many", BELOW, true, 0, &TLS_CERTIFICATE_DEEP, false, 42, 42 },
	{ "by an intermediate, which is too many", BELOW, false, 0, &TLS_CERTIFICATE_DEEP, false, 42, 42 },
	{ "by two, which is too many", DEEP, true, 1, &TLS_CERTIFICATE_DEEP, false, 42, 42 },
	{ "for servers", SERVERS, true, 0, &TLS_CERTIFICATE_USAGE, false, 43, 43 },
	{ "for servers", SERVERS, false, 0, &TLS_CERTIFICATE_USAGE, false, 43, 43 },
};

/* `alerts`: look at what the client is told, too. */
static void visits(int version, bool alerts)
{
	people_begin();
	for (size_t i = 0; i < array_count(VISITS); i++) {
		struct tls_context *context = asking(VISITS[i].required, VISITS[i].depth, people.crl);
		int want = version == TLS1_2_VERSION ? VISITS[i].alert_12 : VISITS[i].alert_13, alert, error;
		char byte;
		bool shaken;
		struct rig r;

		open_as(&r, context, version, VISITS[i].who, "asks.example");
		ERR_clear_error();
		shaken = rig_shake(&r);
		cr_assert_eq(r.tls.failure, VISITS[i].reason, "%s, depth %u, %s: %s", VISITS[i].what, VISITS[i].depth,
			VISITS[i].required ? "required" : "optional", r.tls.failure ? r.tls.failure->name : "let in");
		cr_assert_eq(shaken, !VISITS[i].reason);
		cr_assert_eq(r.tls.identity != NULL, VISITS[i].known);
		if (VISITS[i].known) {
			struct tls_identity *id = r.tls.identity;
			unsigned char *der = NULL;
			int n = i2d_X509(people.of[VISITS[i].who].certificate, &der);

			cr_assert_eq(strncmp(id->subject, "CN=Monitor ", 11), 0, "%s", id->subject);
			cr_assert_eq(id->name_count, 2);
			cr_assert_str_eq(id->names[0], "DNS:site-7.example.org");
			cr_assert_str_eq(id->names[1], "EMAIL:cra@cro.example.org");
			cr_assert(id->der_bytes == (size_t)n && memcmp(id->der, der, (size_t)n) == 0);
			OPENSSL_free(der);
		}
		if (shaken) {
			cr_assert(!r.tls.resumed);
			carry_both_ways(&r, 500);
			close_both_ways(&r);
		} else if (alerts) {
			cr_assert(r.wire_out.ended);
			if (r.client_done)
				rig_client_read(&r, &byte, 1, &error);
			alert = rig_client_alert();
			cr_assert_eq(alert, want, "%s, %s: alert %d, not %d", VISITS[i].what, VISITS[i].required ? "required" : "optional", alert,
				want);
		}
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

Test(tls_engine, clients_of_tls_1_2_with_certificates_are_let_in_or_not_by_name)
{
	visits(TLS1_2_VERSION, false);
}

Test(tls_engine, clients_of_tls_1_3_with_certificates_are_let_in_or_not_by_name)
{
	visits(TLS1_3_VERSION, false);
}

Test(tls_engine, clients_of_tls_1_2_are_told_what_is_wrong_with_their_certificates)
{
	visits(TLS1_2_VERSION, true);
}

Test(tls_engine, clients_of_tls_1_3_are_told_what_is_wrong_with_their_certificates)
{
	visits(TLS1_3_VERSION, true);
}

/* In TLS 1.2 one list of groups holds for key exchange and for certificates, and we do not exchange keys on P-384. */
Test(tls_engine, a_client_with_a_key_of_p_384_is_let_in_by_tls_1_3_alone)
{
	struct tls_context *context;
	struct rig r;

	people_begin();
	context = asking(true, 0, people.crl);
	open_as(&r, context, TLS1_3_VERSION, P384_KEY, "asks.example");
	cr_assert(rig_shake(&r), "%s", r.tls.failure ? r.tls.failure->name : "stuck");
	cr_assert_str_eq(r.tls.identity->subject, "CN=Monitor 7");
	rig_close(&r);
	open_as(&r, context, TLS1_2_VERSION, P384_KEY, "asks.example");
	cr_assert(!rig_shake(&r));
	NAME_IS(r.tls.failure, TLS_CERTIFICATE_BAD);
	rig_close(&r);
	tls_context_put(context);
	people_end();
}

Test(tls_engine, a_list_out_of_date_lets_nobody_in)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	rig_write_list(&people.root, 9, -9, -2, people.crl, "w");
	for (int i = 0; i < 4; i++) {
		struct tls_context *context = asking(i / 2, 0, people.crl);
		struct rig r;

		open_as(&r, context, VERSIONS[i % 2], GOOD, "asks.example");
		cr_assert(!rig_shake(&r));
		NAME_IS(r.tls.failure, TLS_CERTIFICATE_LIST_OLD);
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

/* Where revocation is wanted, a list that is not there does not mean that nobody is revoked: as with OpenSSL. */
Test(tls_engine, whose_authority_has_no_list_is_not_let_in)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	for (int i = 0; i < 8; i++) {
		enum who who = i / 4 ? BELOW : GOOD;
		struct tls_context *context;
		struct rig r;

		/* That of the root alone, for one below an intermediate; that of the intermediate alone, for one right below the root. */
		rig_write_list(who == BELOW ? &people.root : &people.one, 9, -1, 7, people.crl, "w");
		context = asking(i / 2 % 2, 1, people.crl);
		open_as(&r, context, VERSIONS[i % 2], who, "asks.example");
		cr_assert(!rig_shake(&r));
		NAME_IS(r.tls.failure, TLS_CERTIFICATE_LIST_MISSING);
		cr_assert_null(r.tls.identity);
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

/* A list that somebody else has signed in the authority's name. */
Test(tls_engine, a_list_of_a_wrong_hand_lets_nobody_in)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	rig_write_list(&people.foreign, 0, -1, 7, people.crl, "w");
	for (int i = 0; i < 4; i++) {
		struct tls_context *context = asking(i / 2, 0, people.crl);
		struct rig r;

		open_as(&r, context, VERSIONS[i % 2], REVOKED, "asks.example");
		cr_assert(!rig_shake(&r));
		NAME_IS(r.tls.failure, TLS_CERTIFICATE_LIST_MISSING);
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

/* Another private key that says it belongs to that public one. */
static EVP_PKEY *key_of_a_thief(EVP_PKEY *owner)
{
	EVP_PKEY *other = EVP_EC_gen("P-256"), *thief = NULL;
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *list = OSSL_PARAM_BLD_new();
	uint8_t point[65];
	size_t n = 0;
	BIGNUM *scalar = NULL;
	OSSL_PARAM *params;

	cr_assert_eq(EVP_PKEY_get_octet_string_param(owner, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n), 1);
	cr_assert_eq(EVP_PKEY_get_bn_param(other, OSSL_PKEY_PARAM_PRIV_KEY, &scalar), 1);
	OSSL_PARAM_BLD_push_utf8_string(list, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
	OSSL_PARAM_BLD_push_octet_string(list, OSSL_PKEY_PARAM_PUB_KEY, point, n);
	OSSL_PARAM_BLD_push_BN(list, OSSL_PKEY_PARAM_PRIV_KEY, scalar);
	params = OSSL_PARAM_BLD_to_param(list);
	cr_assert_eq(EVP_PKEY_fromdata_init(maker), 1);
	cr_assert_eq(EVP_PKEY_fromdata(maker, &thief, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(list);
	EVP_PKEY_CTX_free(maker);
	BN_free(scalar);
	EVP_PKEY_free(other);
	return thief;
}

Test(tls_engine, a_certificate_without_its_key_is_no_identity)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	for (int i = 0; i < 4; i++) {
		struct tls_context *context = asking(i / 2, 0, NULL);
		EVP_PKEY *thief = key_of_a_thief(people.of[GOOD].key);
		struct rig r;

		open_as(&r, context, VERSIONS[i % 2], NOBODY, "asks.example");
		cr_assert_eq(SSL_use_certificate(r.client, people.of[GOOD].certificate), 1);
		cr_assert_eq(SSL_use_PrivateKey(r.client, thief), 1);
		cr_assert(!rig_shake(&r), "he passes for the owner");
		cr_assert_null(r.tls.identity);
		NAME_IS(r.tls.failure, TLS_HANDSHAKE_FORGED);
		rig_close(&r);
		tls_context_put(context);
		EVP_PKEY_free(thief);
	}
	people_end();
}

/* The host that asks gives no tickets, and takes none of another host; the one that does not ask knows nobody. */
Test(tls_engine, a_ticket_carries_nobody_past_the_question)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	tickets_begin();
	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct tls_context *context = asking(true, 0, NULL);
		SSL_SESSION *session;
		struct rig r;

		open_as(&r, context, VERSIONS[i], GOOD, "default.example");
		cr_assert(rig_shake(&r));
		cr_assert_null(r.tls.identity);          /* not asked */
		session = session_of(&r);
		cr_assert(SSL_SESSION_has_ticket(session));
		rig_close(&r);

		open_as(&r, context, VERSIONS[i], NOBODY, "default.example");
		SSL_set_session(r.client, session);
		cr_assert(rig_shake(&r));
		cr_assert(r.tls.resumed);
		cr_assert_null(r.tls.identity);
		rig_close(&r);

		open_as(&r, context, VERSIONS[i], NOBODY, "asks.example");
		SSL_set_session(r.client, session);
		cr_assert(!rig_shake(&r));
		NAME_IS(r.tls.failure, TLS_CERTIFICATE_MISSING);
		rig_close(&r);

		open_as(&r, context, VERSIONS[i], GOOD, "asks.example");
		SSL_set_session(r.client, session);
		cr_assert(rig_shake(&r));
		cr_assert(!r.tls.resumed && r.tls.identity);
		SSL_SESSION_free(session);
		session = session_of(&r);
		cr_assert(!SSL_SESSION_has_ticket(session));
		SSL_SESSION_free(session);
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

/* Through the same memory, one after the other: who was known does not make the next one known. */
Test(tls_engine, who_was_known_does_not_make_the_next_one_known)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *context;

	people_begin();
	context = asking(false, 0, people.crl);
	for (int i = 0; i < 16; i++) {
		static const enum who WHO[] = { GOOD, NOBODY, REVOKED, NOBODY };
		enum who who = WHO[i % 4];
		struct rig r;

		open_as(&r, context, VERSIONS[i / 4 % 2], who, "asks.example");
		cr_assert_eq(rig_shake(&r), who != REVOKED);
		cr_assert_eq(r.tls.identity != NULL, who == GOOD);
		cr_assert_eq(r.tls.failure, who == REVOKED ? &TLS_CERTIFICATE_REVOKED : NULL);
		rig_close(&r);
		cr_assert_leq(rig_thread()->spare_count, 1);
	}
	tls_context_put(context);
	people_end();
}

/* ---- names and sizes ---- */

Test(tls_engine, a_name_in_any_case_and_with_a_dot_at_its_end_is_the_same_name)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	people_begin();
	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		struct tls_context *context = asking(true, 0, NULL);
		struct rig r;

		open_as(&r, context, VERSIONS[i], GOOD, i ? "Asks.EXAMPLE." : "ASKS.Example");
		cr_assert(rig_shake(&r), "%s", r.tls.failure ? r.tls.failure->name : "stuck");
		cr_assert_str_eq(r.tls.sni, "asks.example");
		cr_assert(r.tls.identity);               /* so it was the host that asks */
		rig_close(&r);
		tls_context_put(context);
	}
	people_end();
}

Test(tls_engine, where_names_are_strict_a_client_without_one_of_ours_is_told_so)
{
	static const char *const NAMES[] = { "a.example", "*.b.example" };
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	const struct tls_host_files host = { .names = NAMES, .name_count = 2, .certificates = &one, .certificate_count = 1 };
	const struct tls_listener_files listener = { .address = "x", .hosts = &host, .host_count = 1, .strict = true,
		.version_min = TLS_1_2, .version_max = TLS_1_3 };
	static const struct {
		const char *name;
		const struct reason *reason;
	} ASKED[] = {
		{ "a.example", NULL }, { "x.b.example", NULL }, { "b.example", &TLS_NAME_UNKNOWN }, { "c.example", &TLS_NAME_UNKNOWN },
		{ NULL, &TLS_NAME_MISSING },
		{ "192.0.2.7", &TLS_NAME_MISSING },      /* an address is no name */
	};
	struct tls_fault fault;
	struct tls_context *context = rig_context_listening(&listener, &fault);

	for (size_t i = 0; i < 2 * array_count(ASKED); i++) {
		const char *name = ASKED[i / 2].name;
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, i % 2 ? TLS1_3_VERSION : TLS1_2_VERSION, NULL);
		if (name)
			SSL_set_tlsext_host_name(r.client, name);
		if (ASKED[i / 2].reason)
			cr_assert_eq(refused_handshake(&r), TLS_ALERT_UNRECOGNIZED_NAME);
		else
			cr_assert(rig_shake(&r));
		cr_assert_eq(r.tls.failure, ASKED[i / 2].reason, "%s: %s", name, r.tls.failure ? r.tls.failure->name : "let in");
		rig_close(&r);
	}
	tls_context_put(context);
}

/* A list of protocols that makes the hello longer by `n` bytes than "h2" alone would. */
static size_t long_hello(struct rig *r, size_t n, uint8_t *bytes, size_t size)
{
	static unsigned char wire[20000];
	size_t at = 3;

	memcpy(wire, "\x02h2", 3);
	while (n > 0) {
		size_t piece = n < 256 ? n : n - 256 == 1 ? 255 : 256;

		wire[at] = (unsigned char)(piece - 1);
		memset(wire + at + 1, 'x', piece - 1);
		at += piece;
		n -= piece;
	}
	cr_assert_eq(SSL_set_alpn_protos(r->client, wire, (unsigned)at), 0);
	SSL_do_handshake(r->client);
	return rig_client_bytes(r, bytes, size);
}

Test(tls_engine, the_longest_hello_is_taken_and_one_byte_more_is_refused)
{
	static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *context = rig_context(&files, "e");
	static uint8_t bytes[20000];

	for (size_t i = 0; i < array_count(VERSIONS); i++) {
		size_t base = 0;

		for (int more = -1; more <= 1; more++) {
			struct rig r;
			size_t n;

			rig_open(&r, context);
			rig_client(&r, VERSIONS[i], NULL);
			if (more < 0) {
				/* Longer than 512 bytes, or OpenSSL fills it up (RFC 7685). */
				base = long_hello(&r, 1000, bytes, sizeof bytes) - TLS_HEADER_BYTES - 1000;
				rig_close(&r);
				continue;
			}
			n = long_hello(&r, TLS_HELLO_BYTES_MAX + (size_t)more - base, bytes, sizeof bytes);
			cr_assert_eq(n, TLS_HELLO_BYTES_MAX + TLS_HEADER_BYTES + (more ? TLS_HEADER_BYTES + 1 : 0));
			rig_deliver(&r, bytes, n);
			rig_to_client(&r);
			if (more) {
				NAME_IS(r.tls.failure, TLS_HELLO_LONG);
			} else {
				cr_assert(rig_shake(&r), "%s", r.tls.failure ? r.tls.failure->name : "stuck");
				cr_assert_str_eq(r.tls.alpn, "h2");
				carry_both_ways(&r, 100);
			}
			rig_close(&r);
		}
	}
	tls_context_put(context);
}

/* In TLS 1.3 a client tells how old it thinks its ticket is. Whether that is believed or not, both sides say the same. */
Test(tls_engine, whether_a_ticket_of_an_odd_age_resumes_is_told_as_the_client_sees_it)
{
	static const long AGES[] = { 0, 30, 300, 1800 };
	struct tls_context *context;

	tickets_begin();
	context = rig_context(&files, "e");
	for (size_t i = 0; i < array_count(AGES); i++) {
		uint64_t full = stat_read(&rig_thread()->stats.full_13), resumed = stat_read(&rig_thread()->stats.resumed_13);
		SSL_SESSION *session;
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, TLS1_3_VERSION, NULL);
		cr_assert(rig_shake(&r));
		session = session_of(&r);
		rig_close(&r);
		/* The client believes that it is as old. */
		SSL_SESSION_set_time(session, SSL_SESSION_get_time(session) - AGES[i]);
		rig_open(&r, context);
		rig_client(&r, TLS1_3_VERSION, NULL);
		SSL_set_session(r.client, session);
		cr_assert(rig_shake(&r), "%ld s: %s", AGES[i], r.tls.failure ? r.tls.failure->name : "stuck");
		cr_assert_eq(r.tls.resumed, SSL_session_reused(r.client), "%ld s: we say %d", AGES[i], r.tls.resumed);
		cr_assert_eq(stat_read(&rig_thread()->stats.full_13) - full, r.tls.resumed ? 1 : 2);
		cr_assert_eq(stat_read(&rig_thread()->stats.resumed_13) - resumed, r.tls.resumed);
		SSL_SESSION_free(session);
		rig_close(&r);
	}
	tls_context_put(context);
}
