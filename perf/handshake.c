/* perf/handshake.c — handshakes in memory, ours beside OpenSSL's, with OpenSSL's client for both; only the server is timed.
 *
 *     client (OpenSSL)  ──bytes──▶  server: ours (tls/engine between four pipes), or OpenSSL's (an SSL between two memories)
 *                       ◀─bytes───          CPU time of this thread, while the server is at work
 *
 * No socket, no kernel, no HTTP: what differs is TLS alone. perf/compare 'handshake-*' says what is left of it in a server.
 * The two take turns within a round, a block of handshakes each.
 *
 * Words:  case   version, kind of certificate, group, full or resumed
 *
 * Owner: the process.   Thread: one.   Units: ns inside, µs told.   Errors: check() ends it: a handshake that fails, or that is
 * not resumed where it should be, has no figure.   Limits: ROUNDS_MAX.   Source: tests/unit/tls_rig.h.                     */
#include "tests/unit/tls_rig.h"

#include <time.h>

#define ROUNDS_MAX 64u
#define BLOCK 50u                /* handshakes of one before the other's turn */
#define TICKET_LIFETIME_S 43200u

struct handshake_case {
	int version;
	bool rsa, resumed;
	const char *group;
};

/* One side to be measured: a server that is fed, and speaks. */
struct side {
	const char *name;
	void (*open)(struct side *);                             /* a new connection */
	void (*feed)(struct side *, const uint8_t *bytes, size_t n);
	size_t (*drain)(struct side *, uint8_t *to, size_t size);
	bool (*done)(struct side *);
	void (*close)(struct side *);
	struct rig rig;                                          /* ours */
	struct tls_context *context;
	SSL_CTX *server_context;                                 /* OpenSSL's */
	SSL *server;
	SSL_SESSION *ticket;                                     /* the client's newest */
	uint64_t spent_ns;
	double us[ROUNDS_MAX];
};

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- ours ---- */

static void ours_pipes(struct rig *r, void (*each)(struct pipe *, struct chunk_pool *))
{
	each(&r->wire_in, &r->core.pool);
	each(&r->wire_out, &r->core.pool);
	each(&r->plain_in, &r->core.pool);
	each(&r->plain_out, &r->core.pool);
}

static void pipe_close(struct pipe *pipe, struct chunk_pool *pool)
{
	(void)pool;
	pipe_fini(pipe);
}

static void pipe_open(struct pipe *pipe, struct chunk_pool *pool)
{
	pipe_init(pipe, pool, PIPE_BYTES_MAX);
}

static void ours_open(struct side *s)
{
	struct rig *r = &s->rig;

	ours_pipes(r, pipe_open);
	tls_attach(&r->tls, &r->scope, s->context, &r->wire_in, &r->wire_out, &r->plain_in, &r->plain_out);
	r->tls.owner_task = &r->owner;
	rig_run(r);
}

static void ours_feed(struct side *s, const uint8_t *bytes, size_t n)
{
	rig_deliver(&s->rig, bytes, n);
}

static size_t ours_drain(struct side *s, uint8_t *to, size_t size)
{
	size_t sum = 0, n;

	for (uint8_t *from; (from = pipe_peek(&s->rig.wire_out, &n)); sum += n) {
		check(n <= size - sum);
		memcpy(to + sum, from, n);
		pipe_consume(&s->rig.wire_out, n);
	}
	return sum;
}

static bool ours_done(struct side *s)
{
	return s->rig.tls.step == TLS_OPEN;
}

static void ours_close(struct side *s)
{
	tls_fini(&s->rig.tls);
	ours_pipes(&s->rig, pipe_close);
}

/* ---- OpenSSL's ---- */

static void openssl_open(struct side *s)
{
	s->server = SSL_new(s->server_context);
	SSL_set_bio(s->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_accept_state(s->server);
}

static void openssl_feed(struct side *s, const uint8_t *bytes, size_t n)
{
	BIO_write(SSL_get_rbio(s->server), bytes, (int)n);
	if (!SSL_is_init_finished(s->server) && SSL_do_handshake(s->server) != 1)
		check(SSL_get_error(s->server, -1) == SSL_ERROR_WANT_READ);
}

static size_t openssl_drain(struct side *s, uint8_t *to, size_t size)
{
	int n = BIO_read(SSL_get_wbio(s->server), to, (int)size);

	return n > 0 ? (size_t)n : 0;
}

static bool openssl_done(struct side *s)
{
	return SSL_is_init_finished(s->server);
}

static void openssl_close(struct side *s)
{
	SSL_set_quiet_shutdown(s->server, 1);
	SSL_shutdown(s->server);
	SSL_free(s->server);
}

/* ---- a handshake ---- */

static int ticket_came(SSL *client, SSL_SESSION *session)
{
	struct side *s = SSL_get_app_data(client);

	SSL_SESSION_free(s->ticket);
	s->ticket = session;
	return 1;
}

static SSL_CTX *client_context_new(const struct handshake_case *c)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char groups[64];

	/* In TLS 1.2 the groups are also the curves of certificates (RFC 8422 §5.1.1), so P-256 has to be among them. */
	snprintf(groups, sizeof groups, "%s%s", c->group, c->version == TLS1_2_VERSION && strcmp(c->group, "P-256") ? ":P-256" : "");
	check(SSL_CTX_set_min_proto_version(context, c->version) && SSL_CTX_set_max_proto_version(context, c->version));
	check(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"));
	check(SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"));
	check(SSL_CTX_set1_groups_list(context, groups));
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, ticket_came);
	return context;
}

static bool shake(struct side *s, SSL_CTX *client_context, bool resume)
{
	static uint8_t bytes[1 << 16];
	SSL *client = SSL_new(client_context);
	bool resumed, done = false;
	uint64_t from;

	SSL_set_app_data(client, s);
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(client);
	SSL_set_tlsext_host_name(client, "edge.example");
	if (resume && s->ticket)
		SSL_set_session(client, s->ticket);
	from = cpu_ns();
	s->open(s);
	s->spent_ns += cpu_ns() - from;
	for (size_t moved = 1; moved > 0;) {
		char byte;
		int n;

		/* SSL_read makes the handshake, and takes the tickets behind it. */
		if (SSL_read(client, &byte, 1) <= 0)
			check(SSL_get_error(client, -1) == SSL_ERROR_WANT_READ);
		n = BIO_read(SSL_get_wbio(client), bytes, sizeof bytes);
		moved = n > 0 ? (size_t)n : 0;
		from = cpu_ns();
		if (n > 0)
			s->feed(s, bytes, (size_t)n);
		n = (int)s->drain(s, bytes, sizeof bytes);
		s->spent_ns += cpu_ns() - from;
		if (n > 0)
			BIO_write(SSL_get_rbio(client), bytes, n);
		moved += (size_t)n;
	}
	done = SSL_is_init_finished(client) && s->done(s);
	check(done);
	resumed = SSL_session_reused(client);
	from = cpu_ns();
	s->close(s);
	s->spent_ns += cpu_ns() - from;
	SSL_set_quiet_shutdown(client, 1);
	SSL_shutdown(client);
	SSL_free(client);
	ERR_clear_error();
	return resumed;
}

/* ---- cases ---- */

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const struct handshake_case *c, struct side sides[2], unsigned rounds, unsigned count)
{
	SSL_CTX *client_context = client_context_new(c);
	bool resumable = true;
	double middle[2];

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned n = 0; n < 20; n++)
			shake(&sides[i], client_context, true);  /* warm */
		resumable &= !c->resumed || shake(&sides[i], client_context, true);
	}
	printf("TLS %s  %-5s %-6s  %-7s ", c->version == TLS1_3_VERSION ? "1.3" : "1.2", c->rsa ? "RSA" : "ECDSA", c->group,
		c->resumed ? "resumed" : "full");
	for (unsigned round = 0; round < rounds && resumable; round++) {
		sides[0].spent_ns = sides[1].spent_ns = 0;
		for (unsigned n = 0; n < count; n++)
			for (unsigned i = 0; i < 2 * BLOCK; i++)
				check(shake(&sides[i / BLOCK], client_context, c->resumed) == c->resumed);
		for (unsigned i = 0; i < 2; i++)
			sides[i].us[round] = (double)sides[i].spent_ns / 1e3 / (count * BLOCK);
	}
	for (unsigned i = 0; i < 2; i++) {
		SSL_SESSION_free(sides[i].ticket);
		sides[i].ticket = NULL;
		if (!resumable)
			continue;
		qsort(sides[i].us, rounds, sizeof *sides[i].us, double_compare);
		middle[i] = sides[i].us[rounds / 2];
		printf(" %s %7.1f µs (%.1f-%.1f)", sides[i].name, middle[i], sides[i].us[0], sides[i].us[rounds - 1]);
	}
	if (resumable)
		printf("  %.2f\n", middle[1] / middle[0]);
	else
		printf(" not resumed\n");
	fflush(stdout);
	SSL_CTX_free(client_context);
}

static void usage(void)
{
	fprintf(stderr, "usage: perf/handshake [--rounds N] [--blocks N] [--only 1.3|1.2|ecdsa|rsa|X25519|P-256|full|resumed]…\n");
	exit(2);
}

static bool wanted(const struct handshake_case *c, char *const *only, unsigned count)
{
	const char *words[] = { c->version == TLS1_3_VERSION ? "1.3" : "1.2", c->rsa ? "rsa" : "ecdsa", c->group,
		c->resumed ? "resumed" : "full" };

	for (unsigned i = 0; i < count; i++) {
		bool named = false;

		for (unsigned w = 0; w < array_count(words); w++)
			named |= strcmp(only[i], words[w]) == 0;
		if (!named)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const char *const GROUPS[] = { "X25519", "P-256" };
	unsigned rounds = 5, blocks = 4, only_count = 0;
	char *only[8];
	struct rig_files files;
	struct side sides[2] = {
		{ .name = "openssl", .open = openssl_open, .feed = openssl_feed, .drain = openssl_drain, .done = openssl_done,
			.close = openssl_close },
		{ .name = "postern", .open = ours_open, .feed = ours_feed, .drain = ours_drain, .done = ours_done, .close = ours_close },
	};

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--rounds") == 0)
			rounds = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--blocks") == 0)
			blocks = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--only") == 0 && only_count < array_count(only))
			only[only_count++] = argv[i + 1];
		else
			usage();
	}
	if (argc % 2 == 0 || rounds < 1 || rounds > ROUNDS_MAX || blocks < 1)
		usage();
	printf("%s; CPU time of the server alone, %u handshakes a round, %u rounds; the last column is postern / openssl\n",
		OpenSSL_version(OPENSSL_VERSION), blocks * BLOCK, rounds);
	rig_files_make(&files, true);
	/* Before the contexts, which give tickets only where the thread has keys for them. */
	ticket_holder_init(&rig_thread()->tickets, NULL, ticket_keys_next(NULL, (uint64_t)time(NULL), TICKET_LIFETIME_S));
	for (unsigned rsa = 0; rsa < 2; rsa++) {
		sides[0].server_context = SSL_CTX_new(TLS_server_method());
		check(SSL_CTX_use_certificate_chain_file(sides[0].server_context, rsa ? files.rsa : files.ec) == 1);
		check(SSL_CTX_use_PrivateKey_file(sides[0].server_context, rsa ? files.rsa_key : files.ec_key, SSL_FILETYPE_PEM) == 1);
		SSL_CTX_set_session_id_context(sides[0].server_context, (const unsigned char *)"perf", 4);
		sides[1].context = rig_context(&files, rsa ? "r" : "e");
		rig_open(&sides[1].rig, sides[1].context);
		ours_close(&sides[1]);                   /* the connection it came with; each handshake brings its own */
		for (unsigned i = 0; i < 8; i++) {
			struct handshake_case c = { .version = i & 4 ? TLS1_2_VERSION : TLS1_3_VERSION, .rsa = rsa, .resumed = i & 1,
				.group = GROUPS[i >> 1 & 1] };

			if (wanted(&c, only, only_count))
				measure(&c, sides, rounds, blocks);
		}
		ours_open(&sides[1]);
		rig_close(&sides[1].rig);
		tls_context_put(sides[1].context);
		SSL_CTX_free(sides[0].server_context);
	}
	rig_thread_fini();
	rig_files_remove(&files);
	return 0;
}
