/* Tickets between mbedTLS's server and OpenSSL's client, in memory. The wall clock is ours: tests set it. */
#include "ring/kernel.h"

#include <stdint.h>

static uint64_t wall_ms;

static uint64_t wall_of_test(const struct kernel *kernel)
{
	(void)kernel;
	return wall_ms * 1000000;
}

#define kernel_wall_ns wall_of_test
#include "tls/ticket.c"
#undef kernel_wall_ns

#include "mbedtls/psa_util.h"
#include "mbedtls/ssl.h"

#include <criterion/criterion.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define HOUR_S 3600u
#define LIFETIME_S (12 * HOUR_S)

static mbedtls_x509_crt certificate;
static mbedtls_pk_context private_key;
static SSL_CTX *client_context;

static void make_certificate(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	unsigned char *der = NULL;
	int n;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"edge.example", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	mbedtls_x509_crt_init(&certificate);
	mbedtls_pk_init(&private_key);
	n = i2d_X509(x, &der);
	cr_assert_eq(mbedtls_x509_crt_parse_der(&certificate, der, (size_t)n), 0);
	OPENSSL_free(der);
	der = NULL;
	n = i2d_PrivateKey(key, &der);
	cr_assert_eq(mbedtls_pk_parse_key(&private_key, der, (size_t)n, NULL, 0, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE), 0);
	OPENSSL_free(der);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void setup(void)
{
	wall_ms = (uint64_t)time(NULL) * 1000;
	cr_assert_eq(psa_crypto_init(), PSA_SUCCESS);
	make_certificate();
	client_context = SSL_CTX_new(TLS_client_method());
}

static void teardown(void)
{
	SSL_CTX_free(client_context);
	mbedtls_x509_crt_free(&certificate);
	mbedtls_pk_free(&private_key);
	mbedtls_psa_crypto_free();
}

TestSuite(tls_ticket, .init = setup, .fini = teardown);

/* ---- a core with one host ---- */

struct server {
	struct ticket_holder holder;
	struct ticket_box box;
	mbedtls_ssl_config config;
};

static const uint8_t BINDING[TICKET_BINDING_BYTES] = "one host";
static const uint8_t OTHER_BINDING[TICKET_BINDING_BYTES] = "another host";

static void server_open(struct server *s, struct ticket_keys *keys, const uint8_t *binding)
{
	ticket_holder_init(&s->holder, NULL, keys);
	ticket_box_init(&s->box, &s->holder, binding, LIFETIME_S);
	mbedtls_ssl_config_init(&s->config);
	cr_assert_eq(mbedtls_ssl_config_defaults(&s->config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
		MBEDTLS_SSL_PRESET_DEFAULT), 0);
	mbedtls_ssl_conf_rng(&s->config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_ciphersuites(&s->config, tls_suite_ids());
	mbedtls_ssl_conf_authmode(&s->config, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_tls13_key_exchange_modes(&s->config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL |
		MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_session_tickets_cb(&s->config, ticket_box_write, ticket_box_parse, &s->box);
	cr_assert_eq(mbedtls_ssl_conf_own_cert(&s->config, &certificate, &private_key), 0);
}

static void server_close(struct server *s)
{
	mbedtls_ssl_config_free(&s->config);
	ticket_box_fini(&s->box);
	ticket_box_fini(&s->box);
	ticket_holder_fini(&s->holder);
}

static uint64_t wall_s(void)
{
	return wall_ms / 1000;
}

static struct ticket_keys *first_keys(void)
{
	return ticket_keys_next(NULL, wall_s(), LIFETIME_S);
}

static uint64_t refused_sum(const struct ticket_box *box)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < TICKET_REFUSALS; i++)
		sum += box->refused[i];
	return sum;
}

/* ---- a handshake ---- */

static int wire_send(void *context, const unsigned char *bytes, size_t n)
{
	return BIO_write(SSL_get_rbio(context), bytes, (int)n);
}

static int wire_receive(void *context, unsigned char *to, size_t n)
{
	int got = BIO_read(SSL_get_wbio(context), to, (int)n);

	return got > 0 ? got : MBEDTLS_ERR_SSL_WANT_READ;
}

struct shaken {
	bool resumed;
	SSL_SESSION *session;            /* with the newest ticket; given back by the caller */
};

static int offered_version = TLS1_3_VERSION;

/* Both sides finish, whatever is offered, and a byte each way passes. */
static struct shaken shake(struct server *s, SSL_SESSION *offer)
{
	struct shaken shaken = { 0 };
	mbedtls_ssl_context server;
	SSL *client = SSL_new(client_context);
	bool client_done = false, server_done = false;
	char byte;

	SSL_set_min_proto_version(client, offered_version);
	SSL_set_max_proto_version(client, offered_version);
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(client), -1);
	SSL_set_connect_state(client);
	if (offer)
		cr_assert_eq(SSL_set_session(client, offer), 1);
	mbedtls_ssl_init(&server);
	cr_assert_eq(mbedtls_ssl_setup(&server, &s->config), 0);
	mbedtls_ssl_set_bio(&server, client, wire_send, wire_receive, NULL);
	for (unsigned round = 0; round < 10 && !(client_done && server_done); round++) {
		if (!client_done) {
			int n = SSL_do_handshake(client);

			client_done = n == 1;
			cr_assert(client_done || SSL_get_error(client, n) == SSL_ERROR_WANT_READ, "client: %s",
				ERR_reason_error_string(ERR_peek_last_error()));
		}
		if (!server_done) {
			int error = mbedtls_ssl_handshake(&server);

			server_done = error == 0;
			cr_assert(server_done || error == MBEDTLS_ERR_SSL_WANT_READ, "server: -0x%04x", (unsigned)-error);
		}
	}
	cr_assert(client_done && server_done);
	cr_assert_eq(mbedtls_ssl_write(&server, (const unsigned char *)"s", 1), 1);
	cr_assert_eq(SSL_read(client, &byte, 1), 1);     /* and the ticket of TLS 1.3, which comes before it */
	cr_assert_eq(SSL_write(client, "c", 1), 1);
	cr_assert_eq(mbedtls_ssl_read(&server, (unsigned char *)&byte, 1), 1);
	shaken.resumed = SSL_session_reused(client);
	shaken.session = SSL_get1_session(client);
	/* Without it OpenSSL holds the session for unfit to be used again. */
	SSL_shutdown(client);
	mbedtls_ssl_free(&server);
	SSL_free(client);
	return shaken;
}

static bool resumes(struct server *s, SSL_SESSION *offer)
{
	struct shaken shaken = shake(s, offer);

	SSL_SESSION_free(shaken.session);
	return shaken.resumed;
}

static SSL_SESSION *issued(struct server *s)
{
	struct shaken shaken = shake(s, NULL);

	cr_assert(!shaken.resumed);
	cr_assert(SSL_SESSION_has_ticket(shaken.session));
	return shaken.session;
}

/* Time passes, for the client too. */
static void wait_s(SSL_SESSION *session, uint64_t s)
{
	wall_ms += s * 1000;
	SSL_SESSION_set_time(session, SSL_SESSION_get_time(session) - (long)s);
	SSL_SESSION_set_timeout(session, 100 * 24 * (long)HOUR_S);
}

static size_t ticket_of(SSL_SESSION *session, uint8_t to[1024])
{
	const unsigned char *ticket;
	size_t n;

	SSL_SESSION_get0_ticket(session, &ticket, &n);
	cr_assert(n <= 1024);
	memcpy(to, ticket, n);
	return n;
}

/* The same session with another ticket of the same length. */
static SSL_SESSION *with_ticket(SSL_SESSION *session, const uint8_t *ticket, size_t n)
{
	unsigned char *der = NULL, *place;
	const unsigned char *at;
	uint8_t old[1024];
	int size = i2d_SSL_SESSION(session, &der);
	SSL_SESSION *changed;

	cr_assert_eq(ticket_of(session, old), n);
	place = memmem(der, (size_t)size, old, n);
	cr_assert_not_null(place);
	memcpy(place, ticket, n);
	at = der;
	changed = d2i_SSL_SESSION(NULL, &at, size);
	cr_assert_not_null(changed);
	OPENSSL_free(der);
	return changed;
}

/* The callback alone. */
static int parse(struct server *s, const uint8_t *ticket, size_t n)
{
	uint8_t copy[2048];
	mbedtls_ssl_session session;
	int error;

	memcpy(copy, ticket, n);
	mbedtls_ssl_session_init(&session);
	error = ticket_box_parse(&s->box, &session, copy, n);
	mbedtls_ssl_session_free(&session);
	return error;
}

/* ---- resumption ---- */

static const int VERSIONS[] = { TLS1_2_VERSION, TLS1_3_VERSION };

Test(tls_ticket, a_ticket_is_issued_and_resumes_in_both_versions)
{
	struct server s;
	uint64_t opened = 0;

	server_open(&s, first_keys(), BINDING);
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		uint8_t ticket[1024];
		SSL_SESSION *session;
		size_t n;

		offered_version = VERSIONS[v];
		session = issued(&s);
		cr_assert_eq(SSL_SESSION_get_ticket_lifetime_hint(session), LIFETIME_S);
		n = ticket_of(session, ticket);
		/* What a session has besides our 52 bytes: TLS 1.3 by suite. */
		cr_assert_eq(n, TICKET_OVERHEAD_BYTES + (v == 0 ? 113 : SSL_CIPHER_get_protocol_id(SSL_SESSION_get0_cipher(session)) == 0x1302
			? 71 : 55), "%zu bytes", n);
		cr_assert(resumes(&s, session));
		cr_assert(resumes(&s, session), "nothing is kept that could be spent");
		opened += 2;
		cr_assert_eq(s.box.opened, opened);
		SSL_SESSION_free(session);
	}
	/* TLS 1.3 gives a new ticket with each resumption, 1.2 leaves the client the old one. */
	cr_assert_eq(s.box.issued, 1 + 3);
	cr_assert_eq(refused_sum(&s.box), 0);
	server_close(&s);
}

Test(tls_ticket, the_ticket_of_a_resumption_resumes_too)
{
	struct server s;
	SSL_SESSION *session;

	offered_version = TLS1_3_VERSION;
	server_open(&s, first_keys(), BINDING);
	session = issued(&s);
	for (unsigned i = 0; i < 3; i++) {
		struct shaken shaken = shake(&s, session);

		cr_assert(shaken.resumed);
		SSL_SESSION_free(session);
		session = shaken.session;
	}
	SSL_SESSION_free(session);
	server_close(&s);
}

Test(tls_ticket, a_ticket_of_one_core_opens_at_another)
{
	struct server one, other;
	struct ticket_keys *keys = first_keys();

	server_open(&one, ticket_keys_take(keys), BINDING);
	server_open(&other, keys, BINDING);
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		SSL_SESSION *session;

		offered_version = VERSIONS[v];
		session = issued(&one);
		cr_assert(resumes(&other, session));
		SSL_SESSION_free(session);
	}
	cr_assert_eq(other.box.opened, 2);
	server_close(&one);
	server_close(&other);
}

Test(tls_ticket, a_ticket_of_another_host_is_nothing)
{
	struct server one, other;
	struct ticket_keys *keys = first_keys();

	server_open(&one, ticket_keys_take(keys), BINDING);
	server_open(&other, keys, OTHER_BINDING);
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		SSL_SESSION *session;

		offered_version = VERSIONS[v];
		session = issued(&one);
		cr_assert(!resumes(&other, session));
		cr_assert_eq(other.box.refused[TICKET_REFUSED_FORGED], v + 1);
		SSL_SESSION_free(session);
	}
	server_close(&one);
	server_close(&other);
}

Test(tls_ticket, the_binding_is_in_the_key_itself)
{
	struct server one, other;
	struct ticket_keys *keys = first_keys();
	uint8_t ticket[1024];
	SSL_SESSION *session;
	size_t n;

	offered_version = TLS1_3_VERSION;
	server_open(&one, ticket_keys_take(keys), BINDING);
	server_open(&other, keys, OTHER_BINDING);
	session = issued(&one);
	n = ticket_of(session, ticket);
	cr_assert_neq(parse(&other, ticket, n), 0);
	/* With the same additional data it still does not open. */
	memcpy(other.box.additional + TICKET_NAME_BYTES + TICKET_NONCE_BYTES, BINDING, sizeof BINDING);
	cr_assert_neq(parse(&other, ticket, n), 0);
	SSL_SESSION_free(session);
	server_close(&one);
	server_close(&other);
}

Test(tls_ticket, after_a_rotation_the_old_key_opens_and_the_new_one_seals)
{
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		struct server s;
		SSL_SESSION *session, *later;
		uint8_t ticket[1024];
		size_t n;

		offered_version = VERSIONS[v];
		server_open(&s, first_keys(), BINDING);
		session = issued(&s);
		for (unsigned i = 0; i < 2; i++) {
			wait_s(session, LIFETIME_S / 2);
			ticket_holder_swap(&s.holder, ticket_keys_next(s.holder.keys, wall_s(), LIFETIME_S));
			cr_assert(resumes(&s, session), "at the age of %u h", (i + 1) * 6);
		}
		later = issued(&s);
		ticket_of(later, ticket);
		cr_assert_arr_eq(ticket, s.holder.keys->keys[0].name, TICKET_NAME_BYTES);
		n = ticket_of(session, ticket);
		cr_assert_arr_eq(ticket, s.holder.keys->keys[2].name, TICKET_NAME_BYTES);

		/* One more second, and it has outlived itself, though its key is still there. */
		wait_s(session, 1);
		cr_assert(!resumes(&s, session));
		/* A client of TLS 1.3 does not even offer what is too old by its own clock; another might. */
		cr_assert_neq(parse(&s, ticket, n), 0);
		cr_assert(s.box.refused[TICKET_REFUSED_EXPIRED] >= 1);

		/* After two lifetimes there is not even the key. */
		for (unsigned i = 0; i < 2; i++) {
			wait_s(session, LIFETIME_S / 2);
			ticket_holder_swap(&s.holder, ticket_keys_next(s.holder.keys, wall_s(), LIFETIME_S));
		}
		cr_assert(!resumes(&s, session));
		cr_assert_neq(parse(&s, ticket, n), 0);
		cr_assert(s.box.refused[TICKET_REFUSED_KEY] >= 1);
		SSL_SESSION_free(session);
		SSL_SESSION_free(later);
		server_close(&s);
	}
}

Test(tls_ticket, a_restart_keeps_resumption)
{
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		struct server s;
		uint8_t file[TICKET_FILE_BYTES_MAX];
		const struct reason *why;
		SSL_SESSION *session;
		size_t n;

		offered_version = VERSIONS[v];
		server_open(&s, first_keys(), BINDING);
		session = issued(&s);
		n = ticket_keys_encode(s.holder.keys, file);
		server_close(&s);

		wait_s(session, HOUR_S);
		server_open(&s, ticket_keys_decode(file, n, &why), BINDING);
		cr_assert(resumes(&s, session));
		server_close(&s);
		SSL_SESSION_free(session);
	}
}

Test(tls_ticket, a_ticket_of_the_future_is_refused_but_for_a_minute)
{
	offered_version = TLS1_2_VERSION;                /* which does not compare with the client's clock */
	struct server s;
	SSL_SESSION *session;

	server_open(&s, first_keys(), BINDING);
	session = issued(&s);
	wall_ms -= TICKET_AHEAD_MAX_MS;
	cr_assert(resumes(&s, session));
	wall_ms -= 1;
	cr_assert(!resumes(&s, session));
	cr_assert_eq(s.box.refused[TICKET_REFUSED_FUTURE], 1);
	SSL_SESSION_free(session);
	server_close(&s);
}

Test(tls_ticket, a_ticket_with_any_byte_changed_means_a_full_handshake)
{
	for (unsigned v = 0; v < array_count(VERSIONS); v++) {
		struct server s;
		SSL_SESSION *session;
		uint8_t ticket[1024];
		size_t n;

		offered_version = VERSIONS[v];
		server_open(&s, first_keys(), BINDING);
		session = issued(&s);
		n = ticket_of(session, ticket);
		for (size_t i = 0; i < n; i++) {
			SSL_SESSION *changed;

			ticket[i] ^= (uint8_t)(1u << i % 8);
			changed = with_ticket(session, ticket, n);
			ticket[i] ^= (uint8_t)(1u << i % 8);
			cr_assert(!resumes(&s, changed), "byte %zu", i);
			SSL_SESSION_free(changed);
		}
		cr_assert_eq(s.box.refused[TICKET_REFUSED_KEY], TICKET_NAME_BYTES);
		cr_assert_eq(s.box.refused[TICKET_REFUSED_FORGED], n - TICKET_NAME_BYTES);
		cr_assert_eq(s.box.opened, 0);
		/* All this takes long enough for the client's clock to be away from one that stood still. */
		wall_ms = (uint64_t)time(NULL) * 1000;
		cr_assert(resumes(&s, session));
		SSL_SESSION_free(session);
		server_close(&s);
	}
}

/* ---- the callbacks alone ---- */

Test(tls_ticket, a_ticket_cut_anywhere_or_too_long_is_refused)
{
	struct server s;
	uint8_t ticket[2048] = { 0 };
	SSL_SESSION *session;
	size_t n;

	offered_version = TLS1_3_VERSION;
	server_open(&s, first_keys(), BINDING);
	session = issued(&s);
	n = ticket_of(session, ticket);
	cr_assert_eq(parse(&s, ticket, n), 0);
	for (size_t cut = 0; cut < n; cut++)
		cr_assert_eq(parse(&s, ticket, cut), MBEDTLS_ERR_SSL_INVALID_MAC, "%zu bytes", cut);
	cr_assert_eq(s.box.refused[TICKET_REFUSED_FORM], TICKET_OVERHEAD_BYTES + 1);
	cr_assert_eq(parse(&s, ticket, n + 1), MBEDTLS_ERR_SSL_INVALID_MAC);
	cr_assert_eq(parse(&s, ticket, sizeof ticket), MBEDTLS_ERR_SSL_INVALID_MAC);
	cr_assert_eq(s.box.refused[TICKET_REFUSED_FORM], TICKET_OVERHEAD_BYTES + 2);
	SSL_SESSION_free(session);
	server_close(&s);
}

/* Opens it, changes two bytes of mbedTLS's session, seals it again: what only another version of ours could have made. */
static size_t resealed(struct server *s, const uint8_t *ticket, size_t n, size_t offset, uint16_t mask, uint8_t to[1024])
{
	uint8_t *plain = to + TICKET_NAME_BYTES + TICKET_NONCE_BYTES;
	const size_t sealed_bytes = n - TICKET_NAME_BYTES - TICKET_NONCE_BYTES;
	size_t plain_bytes, again;

	memcpy(to, ticket, n);
	cr_assert_eq(psa_aead_decrypt(box_key(&s->box, 0), PSA_ALG_GCM, to + TICKET_NAME_BYTES, TICKET_NONCE_BYTES, s->box.additional,
		box_additional(&s->box, to), plain, sealed_bytes, plain, sealed_bytes, &plain_bytes), PSA_SUCCESS);
	cr_assert(TICKET_MADE_BYTES + offset + 1 < plain_bytes);
	plain[TICKET_MADE_BYTES + offset] ^= (uint8_t)(mask >> 8);
	plain[TICKET_MADE_BYTES + offset + 1] ^= (uint8_t)mask;
	cr_assert_eq(psa_aead_encrypt(box_key(&s->box, 0), PSA_ALG_GCM, to + TICKET_NAME_BYTES, TICKET_NONCE_BYTES, s->box.additional,
		box_additional(&s->box, to), plain, plain_bytes, plain, sealed_bytes, &again), PSA_SUCCESS);
	return again + TICKET_NAME_BYTES + TICKET_NONCE_BYTES;
}

Test(tls_ticket, a_session_that_is_not_for_here_is_refused)
{
	/* mbedTLS's version (3), its configuration (2), the protocol's version, the side, the suite (2). */
	static const struct {
		size_t offset;
		uint16_t mask;
	} CHANGES[] = { { 0, 0x100 }, { 1, 0x100 }, { 2, 0x100 }, { 3, 0x100 }, { 4, 0x100 }, { 5, 0x100 }, { 6, 0x100 }, { 7, 0x100 },
		{ 7, 0x001 }, { 7, 0x1301 ^ 0xc02b } };          /* the last one is a suite of ours, of TLS 1.2 */
	struct server s;
	uint8_t ticket[1024], changed[1024];
	SSL_SESSION *session;
	size_t n;

	offered_version = TLS1_3_VERSION;
	cr_assert_eq(SSL_CTX_set_ciphersuites(client_context, "TLS_AES_128_GCM_SHA256"), 1); /* 0x1301, and 0x1300 is none */
	server_open(&s, first_keys(), BINDING);
	session = issued(&s);
	n = ticket_of(session, ticket);
	cr_assert_eq(parse(&s, changed, resealed(&s, ticket, n, 0, 0, changed)), 0);
	for (unsigned i = 0; i < array_count(CHANGES); i++) {
		size_t size = resealed(&s, ticket, n, CHANGES[i].offset, CHANGES[i].mask, changed);

		cr_assert_neq(parse(&s, changed, size), 0, "change %u", i);
	}
	cr_assert_eq(s.box.refused[TICKET_REFUSED_SESSION], array_count(CHANGES));
	SSL_SESSION_free(session);
	server_close(&s);
}

Test(tls_ticket, what_has_to_be_alike_is_looked_at)
{
	static const uint16_t SUITES[] = { 0x1301, 0x1302, 0xc02b };
	static const uint16_t GREASED[] = { 0x5a5a, 0x1301, 0x00ff, 0x1302, 0xc02b };
	struct ticket_alike alike, other;
	struct server s;
	uint8_t ticket[1024];
	SSL_SESSION *session;
	size_t n;

	offered_version = TLS1_3_VERSION;
	server_open(&s, first_keys(), BINDING);
	ticket_alike_make(&alike, TLS_1_3, true, SUITES, 3, "site-7.example.org", 18);
	s.box.alike = &alike;
	session = issued(&s);
	n = ticket_of(session, ticket);
	cr_assert(resumes(&s, session));

	s.box.alike = &other;
	ticket_alike_make(&other, TLS_1_3, true, GREASED, 5, "SITE-7.Example.ORG", 18);
	cr_assert_eq(parse(&s, ticket, n), 0, "GREASE and the case of letters are no difference");
	ticket_alike_make(&other, TLS_1_2, true, SUITES, 3, "site-7.example.org", 18);
	cr_assert_neq(parse(&s, ticket, n), 0);
	ticket_alike_make(&other, TLS_1_3, false, SUITES, 3, "site-7.example.org", 18);
	cr_assert_neq(parse(&s, ticket, n), 0);
	ticket_alike_make(&other, TLS_1_3, true, SUITES, 2, "site-7.example.org", 18);
	cr_assert_neq(parse(&s, ticket, n), 0);
	ticket_alike_make(&other, TLS_1_3, true, SUITES + 1, 2, "site-7.example.org", 18);
	cr_assert_neq(parse(&s, ticket, n), 0);
	ticket_alike_make(&other, TLS_1_3, true, SUITES, 3, "site-8.example.org", 18);
	cr_assert_neq(parse(&s, ticket, n), 0);
	ticket_alike_make(&other, TLS_1_3, true, SUITES, 3, NULL, 0);
	cr_assert_neq(parse(&s, ticket, n), 0);
	cr_assert_eq(s.box.refused[TICKET_REFUSED_FORGED], 6);
	s.box.alike = NULL;
	cr_assert_neq(parse(&s, ticket, n), 0);
	SSL_SESSION_free(session);
	server_close(&s);
}

/* mbedTLS itself does not look: it would resume TLS 1.2 with a master secret of zeros. */
Test(tls_ticket, a_ticket_of_tls_1_3_does_not_resume_1_2)
{
	struct ticket_alike alike;
	struct server s;
	uint8_t ticket[1024];
	SSL_SESSION *session;
	size_t n;

	offered_version = TLS1_3_VERSION;
	server_open(&s, first_keys(), BINDING);
	/* The worst case: even what was alike spoke of 1.2. */
	ticket_alike_make(&alike, TLS_1_2, true, NULL, 0, NULL, 0);
	s.box.alike = &alike;
	session = issued(&s);
	n = ticket_of(session, ticket);
	cr_assert_neq(parse(&s, ticket, n), 0);
	cr_assert_eq(s.box.refused[TICKET_REFUSED_SESSION], 1);
	SSL_SESSION_free(session);
	server_close(&s);
}

Test(tls_ticket, alike_holds_the_longest_name_and_any_number_of_suites)
{
	struct ticket_alike alike;
	uint16_t suites[300];
	char name[400];

	memset(name, 'A', sizeof name);
	for (unsigned i = 0; i < array_count(suites); i++)
		suites[i] = 0x1301;
	ticket_alike_make(&alike, TLS_1_3, true, suites, array_count(suites), name, sizeof name);
	cr_assert_eq(alike.n, TICKET_ALIKE_BYTES_MAX);
	cr_assert_eq(alike.bytes[TICKET_ALIKE_BYTES_MAX - 1], 'a');
}

Test(tls_ticket, where_there_is_no_room_for_a_ticket_none_is_written)
{
	mbedtls_ssl_session session;
	unsigned char to[300];
	uint32_t lifetime_s;
	struct server s;
	size_t n;

	server_open(&s, first_keys(), BINDING);
	mbedtls_ssl_session_init(&session);
	session.MBEDTLS_PRIVATE(tls_version) = MBEDTLS_SSL_VERSION_TLS1_2;
	session.MBEDTLS_PRIVATE(endpoint) = MBEDTLS_SSL_IS_SERVER;
	for (size_t room = 0; room < TICKET_OVERHEAD_BYTES + 113; room++) {
		unsigned char *exact = malloc(room + 1);  /* so that a sanitizer sees a byte too many */

		cr_assert_eq(ticket_box_write(&s.box, &session, exact, exact + room, &n, &lifetime_s), MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL);
		cr_assert_eq(n, 0);
		free(exact);
	}
	cr_assert_eq(ticket_box_write(&s.box, &session, to, to + TICKET_OVERHEAD_BYTES + 113, &n, &lifetime_s), 0);
	cr_assert_eq(n, TICKET_OVERHEAD_BYTES + 113);
	cr_assert_eq(s.box.issued, 1);
	mbedtls_ssl_session_free(&session);
	server_close(&s);
}

Test(tls_ticket, the_owner_of_a_client_certificate_gets_no_ticket, .signal = SIGABRT)
{
	mbedtls_ssl_session session;
	unsigned char to[2048];
	uint32_t lifetime_s;
	struct server s;
	size_t n;

	server_open(&s, first_keys(), BINDING);
	mbedtls_ssl_session_init(&session);
	session.MBEDTLS_PRIVATE(tls_version) = MBEDTLS_SSL_VERSION_TLS1_3;
	session.MBEDTLS_PRIVATE(peer_cert) = &certificate;
	ticket_box_write(&s.box, &session, to, to + sizeof to, &n, &lifetime_s);
}

Test(tls_ticket, a_lifetime_is_at_most_seven_days)
{
	struct ticket_holder holder;
	struct ticket_box box;

	ticket_holder_init(&holder, NULL, first_keys());
	ticket_box_init(&box, &holder, BINDING, UINT32_MAX);
	cr_assert_eq(box.lifetime_s, 7 * 24 * HOUR_S);
	ticket_box_fini(&box);
	ticket_holder_fini(&holder);
}

Test(tls_ticket, derived_keys_go_with_their_set)
{
	struct server s;
	SSL_SESSION *session;

	offered_version = TLS1_3_VERSION;
	server_open(&s, first_keys(), BINDING);
	session = issued(&s);
	cr_assert_neq(s.box.derived[0], PSA_KEY_ID_NULL);
	ticket_holder_swap(&s.holder, ticket_keys_next(s.holder.keys, wall_s(), LIFETIME_S));
	for (unsigned i = 0; i < TICKET_KEYS_MAX; i++)
		cr_assert_eq(s.box.derived[i], PSA_KEY_ID_NULL);
	cr_assert(resumes(&s, session));
	SSL_SESSION_free(session);
	server_close(&s);
}

/* ---- sets ---- */

static void put_and_take(struct ticket_keys **keys, uint64_t now_s)
{
	struct ticket_keys *next = ticket_keys_next(*keys, now_s, LIFETIME_S);

	ticket_keys_put(*keys);
	*keys = next;
}

Test(tls_ticket, a_key_stays_for_a_lifetime_after_it_sealed_its_last)
{
	struct ticket_keys *keys = ticket_keys_next(NULL, 1000000, LIFETIME_S);
	uint8_t first[TICKET_NAME_BYTES];

	cr_assert_eq(keys->count, 1);
	memcpy(first, keys->keys[0].name, sizeof first);
	for (unsigned i = 1; i <= 2; i++) {
		put_and_take(&keys, 1000000 + i * LIFETIME_S / 2);
		cr_assert_eq(keys->count, i + 1);
		cr_assert_arr_eq(keys->keys[i].name, first, sizeof first);
	}
	for (unsigned i = 3; i <= 6; i++) {
		put_and_take(&keys, 1000000 + i * LIFETIME_S / 2);
		cr_assert_eq(keys->count, 3);
		cr_assert_arr_neq(keys->keys[2].name, first, sizeof first);
	}
	/* A long time later none of them matters. Only the newest one's last ticket is not known. */
	put_and_take(&keys, 1000000 + 100 * LIFETIME_S);
	cr_assert_eq(keys->count, 2);
	ticket_keys_put(keys);
}

Test(tls_ticket, a_set_never_has_more_than_it_can_hold_and_no_key_twice)
{
	struct ticket_keys *keys = ticket_keys_next(NULL, 1000000, LIFETIME_S);

	for (unsigned i = 0; i < 10; i++) {
		/* The clock goes backwards, too. */
		put_and_take(&keys, 1000000 - i * 3600);
		for (unsigned k = 0; k < keys->count; k++)
			for (unsigned l = 0; l < k; l++) {
				cr_assert_arr_neq(keys->keys[k].name, keys->keys[l].name, TICKET_NAME_BYTES);
				cr_assert_arr_neq(keys->keys[k].secret, keys->keys[l].secret, TICKET_SECRET_BYTES);
			}
	}
	cr_assert_eq(keys->count, TICKET_KEYS_MAX);
	ticket_keys_put(keys);
	ticket_keys_put(NULL);
}

static void *take_many(void *argument)
{
	struct ticket_keys *keys = argument;
	uint64_t sum = 0;

	for (unsigned i = 0; i < 20000; i++) {
		struct ticket_keys *mine = ticket_keys_take(keys);

		sum += mine->keys[0].name[i % TICKET_NAME_BYTES];
		ticket_keys_put(mine);
	}
	ticket_keys_put(keys);
	return sum == 0 ? argument : NULL;
}

Test(tls_ticket, threads_share_a_set_and_the_last_one_zeroises)
{
	struct ticket_keys *keys = ticket_keys_next(NULL, 1, LIFETIME_S);
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_many, ticket_keys_take(keys)), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(atomic_load(&keys->references), 1);
	ticket_keys_put(keys);
}

/* ---- the file ---- */

static struct ticket_keys *some_keys(unsigned count)
{
	struct ticket_keys *keys = ticket_keys_next(NULL, 1700000000, LIFETIME_S);

	for (unsigned i = 1; i < count; i++)
		put_and_take(&keys, 1700000000 + i);
	cr_assert_eq(keys->count, count);
	return keys;
}

Test(tls_ticket, what_is_written_is_read)
{
	for (unsigned count = 1; count <= TICKET_KEYS_MAX; count++) {
		struct ticket_keys *keys = some_keys(count), *again;
		uint8_t file[TICKET_FILE_BYTES_MAX];
		size_t n = ticket_keys_encode(keys, file);
		const struct reason *why;

		cr_assert_eq(n, 44 + 56 * count);
		again = ticket_keys_decode(file, n, &why);
		cr_assert_not_null(again);
		cr_assert_null(why);
		cr_assert_eq(again->count, count);
		cr_assert_arr_eq(again->keys, keys->keys, count * sizeof *keys->keys);
		ticket_keys_put(again);
		ticket_keys_put(keys);
	}
}

static const struct reason *refused_for(const uint8_t *file, size_t n)
{
	uint8_t *exact = malloc(n + 1);                  /* so that a sanitizer sees a byte too many */
	const struct reason *why;

	memcpy(exact, file, n);
	cr_assert_null(ticket_keys_decode(exact, n, &why));
	cr_assert_not_null(why);
	free(exact);
	return why;
}

Test(tls_ticket, a_file_with_any_bit_changed_is_refused_by_name)
{
	struct ticket_keys *keys = some_keys(2);
	uint8_t file[TICKET_FILE_BYTES_MAX];
	size_t n = ticket_keys_encode(keys, file);

	for (size_t i = 0; i < 8 * n; i++) {
		const struct reason *why;

		file[i / 8] ^= (uint8_t)(1u << i % 8);
		why = refused_for(file, n);
		file[i / 8] ^= (uint8_t)(1u << i % 8);
		if (i / 8 < 7)
			cr_assert_eq(why, &TICKET_FILE_FOREIGN, "byte %zu: %s", i / 8, why->name);
		else if (i / 8 == 7)
			cr_assert_eq(why, &TICKET_FILE_VERSION, "byte %zu: %s", i / 8, why->name);
		else if (i / 8 < 12)
			cr_assert(why == &TICKET_FILE_LENGTH || why == &TICKET_FILE_CUT, "byte %zu: %s", i / 8, why->name);
		else
			cr_assert_eq(why, &TICKET_FILE_DAMAGED, "byte %zu: %s", i / 8, why->name);
	}
	ticket_keys_put(keys);
}

Test(tls_ticket, a_file_cut_anywhere_or_longer_is_refused_by_name)
{
	struct ticket_keys *keys = some_keys(2);
	uint8_t file[TICKET_FILE_BYTES_MAX];
	size_t n = ticket_keys_encode(keys, file);

	for (size_t cut = 0; cut < n; cut++)
		cr_assert_eq(refused_for(file, cut), &TICKET_FILE_CUT, "%zu bytes", cut);
	file[n] = 0;
	cr_assert_eq(refused_for(file, n + 1), &TICKET_FILE_LENGTH);
	ticket_keys_put(keys);
}

/* A whole file of no key, of part of one, of too many. */
Test(tls_ticket, a_number_of_keys_that_cannot_be_is_refused)
{
	static const unsigned BODIES[] = { 0, 1, KEY_BYTES - 1, KEY_BYTES + 1, (TICKET_KEYS_MAX + 1) * KEY_BYTES };

	for (unsigned i = 0; i < array_count(BODIES); i++) {
		uint8_t file[FILE_HEAD_BYTES + (TICKET_KEYS_MAX + 1) * KEY_BYTES + FILE_SUM_BYTES] = "PTICKET\1";
		size_t n = FILE_HEAD_BYTES + BODIES[i];

		put_number(file + 8, BODIES[i] + FILE_SUM_BYTES, 4);
		sum_make(file, n, file + n);
		cr_assert_eq(refused_for(file, n + FILE_SUM_BYTES), &TICKET_FILE_LENGTH, "%u bytes", BODIES[i]);
	}
}

Test(tls_ticket, every_refusal_has_a_word)
{
	for (unsigned i = 0; i < TICKET_REFUSALS; i++)
		for (unsigned k = 0; k < i; k++)
			cr_assert_str_neq(ticket_refusal_word(i), ticket_refusal_word(k));
}
