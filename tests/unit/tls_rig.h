/* tests/unit/tls_rig.h — what the tests of tls/ share: certificates made on the spot, and an engine with OpenSSL's client
 * at its wire, in memory, without a socket and without a kernel.
 *
 * The tasks of the engine are run by hand (rig_run). What the client sends is delivered in pieces of a given size, each in
 * a chunk of its own, so that records straddle chunks wherever a test wants them to.                                  */
#ifndef TESTS_UNIT_TLS_RIG_H
#define TESTS_UNIT_TLS_RIG_H

#include "ring/core.h"
#include "ring/loop.h"
#include "tls/context.h"
#include "tls/engine.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* ---- certificates ---- */

struct rig_files {
	char directory[64];
	char ec[96], ec_key[96], rsa[96], rsa_key[96];
};

UNUSED static void rig_path(const struct rig_files *files, const char *name, char path[96])
{
	snprintf(path, 96, "%s/%s", files->directory, name);
}

/* Days are counted from today; `password` NULL: a plain key. Either path may be NULL. */
UNUSED static void rig_write_pair(EVP_PKEY *key, const char *certificate_path, const char *key_path, int from_days,
	int to_days, const char *password)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	FILE *file;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), 86400L * from_days);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400L * to_days);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"edge.example", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256());
	if (certificate_path) {
		file = fopen(certificate_path, "w");
		PEM_write_X509(file, x);
		fclose(file);
	}
	if (key_path) {
		file = fopen(key_path, "w");
		PEM_write_PKCS8PrivateKey(file, key, password ? EVP_aes_128_cbc() : NULL, password,
			password ? (int)strlen(password) : 0, NULL, NULL);
		fchmod(fileno(file), 0600);
		fclose(file);
	}
	X509_free(x);
}

UNUSED static void rig_files_make(struct rig_files *files, bool with_rsa)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	strcpy(files->directory, "/tmp/tls_unit_XXXXXX");
	check(mkdtemp(files->directory));
	rig_path(files, "ec.pem", files->ec);
	rig_path(files, "ec.key", files->ec_key);
	rig_path(files, "rsa.pem", files->rsa);
	rig_path(files, "rsa.key", files->rsa_key);
	rig_write_pair(key, files->ec, files->ec_key, -1, 30, NULL);
	EVP_PKEY_free(key);
	if (with_rsa) {
		key = EVP_RSA_gen(2048);
		rig_write_pair(key, files->rsa, files->rsa_key, -1, 30, NULL);
		EVP_PKEY_free(key);
	}
}

UNUSED static void rig_files_remove(struct rig_files *files)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", files->directory);
	check(system(command) == 0);
}

/* ---- authorities, and what they issue ---- */

struct rig_issued {
	EVP_PKEY *key;
	X509 *certificate;
};

UNUSED static void rig_extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	check(extension && X509_add_ext(x, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* `issuer` NULL: by itself. `names`: as OpenSSL writes them ("DNS:a.example,email:b@example"), or NULL. Days from today.
 * The key moves in. */
UNUSED static struct rig_issued rig_issue_for(EVP_PKEY *key, const char *common_name, const struct rig_issued *issuer,
	bool authority, const char *names, unsigned serial, int from_days, int to_days)
{
	struct rig_issued made = { key, X509_new() };
	X509 *x = made.certificate;
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
	X509_gmtime_adj(X509_getm_notBefore(x), 86400L * from_days - 60);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400L * to_days + 60);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->certificate) : name);
	X509_set_pubkey(x, made.key);
	rig_extend(x, NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (authority)
		rig_extend(x, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (names)
		rig_extend(x, NID_subject_alt_name, names);
	check(X509_sign(x, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

UNUSED static struct rig_issued rig_issue(const char *common_name, const struct rig_issued *issuer, bool authority,
	const char *names, unsigned serial, int from_days, int to_days)
{
	return rig_issue_for(EVP_EC_gen("P-256"), common_name, issuer, authority, names, serial, from_days, to_days);
}

UNUSED static void rig_issued_free(struct rig_issued *made)
{
	EVP_PKEY_free(made->key);
	X509_free(made->certificate);
	*made = (struct rig_issued){ 0 };
}

/* `how`: "w", or "a" behind what is there. */
UNUSED static void rig_write_certificate(const struct rig_issued *made, const char *path, const char *how)
{
	FILE *file = fopen(path, how);

	check(file && PEM_write_X509(file, made->certificate) == 1);
	fclose(file);
}

UNUSED static void rig_write_key(const struct rig_issued *made, const char *path)
{
	FILE *file = fopen(path, "w");

	check(file && PEM_write_PKCS8PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL) == 1);
	fchmod(fileno(file), 0600);
	fclose(file);
}

/* Revokes one serial, or none (0). */
UNUSED static void rig_write_list(const struct rig_issued *issuer, unsigned serial, int from_days, int next_days, const char *path,
	const char *how)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, 86400L * from_days - 60), *next = X509_gmtime_adj(NULL, 86400L * next_days + 60);
	FILE *file = fopen(path, how);

	X509_CRL_set_version(list, 1);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(list, from);
	X509_CRL_set1_nextUpdate(list, next);
	if (serial > 0) {
		X509_REVOKED *revoked = X509_REVOKED_new();
		ASN1_INTEGER *number = ASN1_INTEGER_new();

		ASN1_INTEGER_set(number, serial);
		X509_REVOKED_set_serialNumber(revoked, number);
		X509_REVOKED_set_revocationDate(revoked, from);
		X509_CRL_add0_revoked(list, revoked);
		ASN1_INTEGER_free(number);
	}
	check(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
	check(file && PEM_write_X509_CRL(file, list) == 1);
	fclose(file);
	ASN1_TIME_free(from);
	ASN1_TIME_free(next);
	X509_CRL_free(list);
}

static const char *const RIG_PROTOCOLS[] = { "h2", "http/1.1", NULL };

/* What a core has for TLS, of the thread that calls; made when it is first asked for. */
static _Thread_local struct tls_thread *rig_threads;

UNUSED static struct tls_thread *rig_thread(void)
{
	struct tls_fault fault;

	if (!rig_threads) {
		rig_threads = calloc(1, sizeof *rig_threads);
		check(rig_threads && tls_thread_init(rig_threads, &fault));
	}
	return rig_threads;
}

/* After the last context. */
UNUSED static void rig_thread_fini(void)
{
	if (rig_threads)
		tls_thread_fini(rig_threads);
	free(rig_threads);
	rig_threads = NULL;
}

UNUSED static struct tls_context *rig_context_listening(const struct tls_listener_files *listener, struct tls_fault *fault)
{
	struct tls_material *material = tls_material_read(rig_thread(), listener, fault);
	struct tls_context *context = material ? tls_context_new(rig_thread(), material, fault) : NULL;

	tls_material_put(material);
	return context;
}

/* One host. */
UNUSED static struct tls_context *rig_context_of(const struct tls_certificate_files *certificates, unsigned count,
	const char *const *alpn, struct tls_fault *fault)
{
	const struct tls_host_files host = { .certificates = certificates, .certificate_count = count, .alpn = alpn };
	const struct tls_listener_files listener = {
		.address = "127.0.0.1:8443",
		.hosts = &host,
		.host_count = 1,
		.tickets = true,
		.version_min = TLS_1_2,
		.version_max = TLS_1_3,
		.ticket_lifetime_s = 3600,
	};

	return rig_context_listening(&listener, fault);
}

/* `which`: "e" ECDSA, "r" RSA, "er" both. */
UNUSED static struct tls_context *rig_context(const struct rig_files *files, const char *which)
{
	struct tls_certificate_files list[2];
	struct tls_fault fault;
	unsigned count = 0;
	struct tls_context *context;

	for (; *which; which++)
		list[count++] = *which == 'e' ? (struct tls_certificate_files){ files->ec, files->ec_key }
		                              : (struct tls_certificate_files){ files->rsa, files->rsa_key };
	context = rig_context_of(list, count, RIG_PROTOCOLS, &fault);
	if (!context)
		fprintf(stderr, "%s\n", fault.sentence);
	check(context);
	return context;
}

/* ---- the engine and its client ---- */

struct rig {
	struct core core;
	struct scope scope;
	struct pipe wire_in, wire_out, plain_in, plain_out;
	struct tls tls;
	struct task owner;
	unsigned owner_runs;
	SSL_CTX *client_context;
	SSL *client;                     /* its BIOs are memory */
	size_t piece;                    /* bytes in a chunk of what is delivered; 0: as much as fits */
	bool together;                   /* all pieces first, then the engine; otherwise it runs after each */
	bool client_done;
};

static const struct scope_kind RIG_KIND = { .name = "rig" };

static void rig_owner(struct task *task)
{
	owner_of(task, struct rig, owner)->owner_runs++;
}

UNUSED static void rig_run(struct rig *r)
{
	unsigned steps = 0;

	do {
		link_move_all(&r->core.run, &r->core.later);
		for (struct link *link; (link = link_take_first(&r->core.run)); steps++) {
			struct task *task = owner_of(link, struct task, in_run);

			check(steps < 100000);       /* nobody wakes himself for ever */
			task->step(task);
		}
		stat_add(&r->core.stats.turns, 1);
	} while (!link_alone(&r->core.later));
}

UNUSED static void rig_open(struct rig *r, struct tls_context *context)
{
	memset(r, 0, sizeof *r);
	link_init(&r->core.run);
	link_init(&r->core.later);
	link_init(&r->core.ended);
	link_init(&r->core.queue);
	r->core.now_ms = 1000000;
	chunk_pool_init(&r->core.pool, UINT64_MAX);
	timer_wheel_init(&r->core.wheel, r->core.now_ms);
	scope_open_root(&r->scope, &r->core, &RIG_KIND, "tests/unit/tls_rig.h");
	pipe_init(&r->wire_in, &r->core.pool, PIPE_BYTES_MAX);
	pipe_init(&r->wire_out, &r->core.pool, PIPE_BYTES_MAX);
	pipe_init(&r->plain_in, &r->core.pool, PIPE_BYTES_MAX);
	pipe_init(&r->plain_out, &r->core.pool, PIPE_BYTES_MAX);
	task_init(&r->owner, &r->scope, "owner", rig_owner);
	admission_open(&tls_context_thread(context)->admission, &r->scope, 100, 100);
	tls_attach(&r->tls, &r->scope, context, &r->wire_in, &r->wire_out, &r->plain_in, &r->plain_out);
	r->tls.owner_task = &r->owner;
	rig_run(r);
}

/* check: all chunks have come back. */
UNUSED static void rig_close(struct rig *r)
{
	tls_fini(&r->tls);
	task_fini(&r->owner);
	pipe_fini(&r->wire_in);
	pipe_fini(&r->wire_out);
	pipe_fini(&r->plain_in);
	pipe_fini(&r->plain_out);
	chunk_pool_fini(&r->core.pool);
	SSL_free(r->client);
	SSL_CTX_free(r->client_context);
	ERR_clear_error();
}

UNUSED static void rig_client(struct rig *r, int version, const char *suite)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(c, 0);
	SSL_CTX_set_min_proto_version(c, version);
	SSL_CTX_set_max_proto_version(c, version);
	if (suite && version == TLS1_3_VERSION)
		check(SSL_CTX_set_ciphersuites(c, suite) == 1);
	else if (suite)
		check(SSL_CTX_set_cipher_list(c, suite) == 1);
	r->client_context = c;
	r->client = SSL_new(c);
	SSL_set_bio(r->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(r->client);
}

UNUSED static void rig_alpn(struct rig *r, const char *wire)
{
	check(SSL_set_alpn_protos(r->client, (const unsigned char *)wire, (unsigned)strlen(wire)) == 0);
}

/* As a socket would: whatever the bound says, but never into a pipe that has ended. */
UNUSED static void rig_deliver(struct rig *r, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		size_t piece = r->piece && r->piece < CHUNK_BYTES ? r->piece : CHUNK_BYTES;
		struct chunk *chunk = chunk_take(&r->core.pool);

		if (piece > n)
			piece = n;
		/* At the end of its chunk, so that nothing fits behind it and the next piece is a chunk of its own. */
		chunk->begin = (uint32_t)(r->piece ? CHUNK_BYTES - piece : 0);
		chunk->end = chunk->begin + (uint32_t)piece;
		memcpy(chunk->bytes + chunk->begin, bytes, piece);
		pipe_put(&r->wire_in, chunk);
		bytes += piece;
		n -= piece;
		if (!r->together)
			rig_run(r);
	}
	rig_run(r);
}

/* What the client wants to send, to the caller. */
UNUSED static size_t rig_client_bytes(struct rig *r, uint8_t *to, size_t size)
{
	int n = BIO_read(SSL_get_wbio(r->client), to, (int)size);

	return n > 0 ? (size_t)n : 0;
}

UNUSED static size_t rig_to_engine(struct rig *r)
{
	static uint8_t bytes[1 << 20];
	size_t n = rig_client_bytes(r, bytes, sizeof bytes);

	rig_deliver(r, bytes, n);
	return n;
}

UNUSED static size_t rig_to_client(struct rig *r)
{
	size_t sum = 0, n;

	rig_run(r);
	for (uint8_t *from; (from = pipe_peek(&r->wire_out, &n));) {
		if (r->client)
			BIO_write(SSL_get_rbio(r->client), from, (int)n);
		pipe_consume(&r->wire_out, n);
		sum += n;
		rig_run(r);
	}
	return sum;
}

/* Until neither side has anything to say. True: both have finished. */
UNUSED static bool rig_shake(struct rig *r)
{
	for (size_t moved = 1; moved > 0;) {
		if (!r->client_done)
			r->client_done = SSL_do_handshake(r->client) == 1;
		moved = rig_to_engine(r);
		moved += rig_to_client(r);
	}
	return r->client_done && r->tls.step == TLS_OPEN;
}

/* What the client can read now. 0 and *error: what SSL_get_error says. */
UNUSED static size_t rig_client_read(struct rig *r, void *to, size_t size, int *error)
{
	size_t sum = 0;
	int n;

	rig_to_client(r);
	while ((n = SSL_read(r->client, (char *)to + sum, (int)(size - sum))) > 0) {
		sum += (size_t)n;
		rig_to_client(r);
	}
	*error = SSL_get_error(r->client, n);
	return sum;
}

UNUSED static size_t rig_plain_read(struct rig *r, void *to, size_t size)
{
	size_t sum = 0, n;

	for (uint8_t *from; sum < size && (from = pipe_peek(&r->plain_in, &n));) {
		if (n > size - sum)
			n = size - sum;
		memcpy((char *)to + sum, from, n);
		pipe_consume(&r->plain_in, n);
		sum += n;
		rig_run(r);
	}
	return sum;
}

/* Bytes that repeat with no small period. */
UNUSED static void rig_fill(uint8_t *bytes, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

/* The client's own sealing keys (TLS 1.3), to write records that no honest client writes. */
UNUSED static void rig_forge(struct rig *r, struct tls_half *half)
{
	tls_half_init_secret(half, &tls_context_thread(r->tls.context)->aeads, r->tls.suite, r->tls.in.secret, true);
	half->sequence = r->tls.in.sequence;
}

UNUSED static void rig_deliver_sealed(struct rig *r, struct tls_half *half, uint8_t type, const void *bytes, uint32_t n)
{
	uint8_t record[TLS_RECORD_BYTES_MAX];
	uint32_t size = tls_seal(half, type, bytes, n, record);

	rig_deliver(r, record, size);
}

/* The alert that ended the client's side: SSL_R_… minus its base; -1: none. */
UNUSED static int rig_client_alert(void)
{
	unsigned long error;
	int alert = -1;

	while ((error = ERR_get_error()) != 0)
		if (ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET)
			alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
	return alert;
}

#endif
