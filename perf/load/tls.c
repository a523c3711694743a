/* perf/load/tls.c — see tls.h. */
#include "perf/load/tls.h"

#include "perf/fatal.h"
#include "perf/load/line.h"

#include <openssl/err.h>

#include <string.h>

SSL_CTX *tls_context_new(int version, const char *groups, int (*ticket_came)(SSL *, SSL_SESSION *), bool resting)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	/* All servers and all clients speak the same, or their figures are not about the servers. */
	if (!tls || !SSL_CTX_set_min_proto_version(tls, version) || !SSL_CTX_set_max_proto_version(tls, version) ||
		!SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") ||
		!SSL_CTX_set_cipher_list(tls, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") ||
		!SSL_CTX_set1_groups_list(tls, groups))
		FATAL("OpenSSL refuses the version, the suites or the groups");
	SSL_CTX_set_read_ahead(tls, 1);                   /* a record is taken from the pipe at once, not its header before it */
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);   /* the chain; the server's signature is checked all the same */
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | (resting ? SSL_MODE_RELEASE_BUFFERS : 0));
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(tls, ticket_came);
	return tls;
}

static SSL *client_new(SSL_CTX *context, BIO *in, BIO *out)
{
	SSL *tls = SSL_new(context);

	SSL_set_bio(tls, in, out);
	SSL_set_connect_state(tls);
	SSL_set_tlsext_host_name(tls, "localhost");
	return tls;
}

char *tls_hello_new(SSL_CTX *context, size_t *size)
{
	BIO *out = BIO_new(BIO_s_mem());
	SSL *tls = client_new(context, BIO_new(BIO_s_mem()), out);
	char *bytes, *hello;
	long n;

	SSL_do_handshake(tls);
	n = BIO_get_mem_data(out, &bytes);
	if (n <= 0)
		FATAL("OpenSSL makes no ClientHello");
	hello = memcpy(memory_new(1, (size_t)n), bytes, (size_t)n);
	*size = (size_t)n;
	SSL_free(tls);
	return hello;
}

/* ---- what OpenSSL takes for a socket ---- */

static int between_read(BIO *bio, char *bytes, int size)
{
	struct line *l = BIO_get_data(bio);
	size_t taken = 0, n;

	BIO_clear_retry_flags(bio);
	while (taken < (size_t)size && l->in.bytes > 0) {
		const uint8_t *from = pipe_peek(&l->in, &n);

		if (n > (size_t)size - taken)
			n = (size_t)size - taken;
		memcpy(bytes + taken, from, n);
		pipe_consume(&l->in, n);
		taken += n;
	}
	if (taken > 0 || l->ended)
		return (int)taken;
	BIO_set_retry_read(bio);
	return -1;
}

/* Never refuses: line_say ends in time. */
static int between_write(BIO *bio, const char *bytes, int n)
{
	pipe_write(&((struct line *)BIO_get_data(bio))->out, bytes, (size_t)n);
	return n;
}

static long between_control(BIO *bio, int command, long number, void *pointer)
{
	struct line *l = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return l->ended && l->in.bytes == 0;
	default:
		return 0;
	}
}

BIO_METHOD *tls_between_new(void)
{
	BIO_METHOD *between = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "a line of the load");

	if (!between || !BIO_meth_set_read(between, between_read) || !BIO_meth_set_write(between, between_write) ||
		!BIO_meth_set_ctrl(between, between_control))
		FATAL("OpenSSL makes no BIO of ours");
	return between;
}

void tls_attach(struct line *l)
{
	BIO *between = BIO_new(l->lines->between);

	BIO_set_data(between, l);
	BIO_set_init(between, 1);
	l->tls = client_new(l->lines->tls, between, between);
	SSL_set_app_data(l->tls, l->owner);
}

/* Without a goodbye, said or at least thought, OpenSSL takes the session for damaged and never offers it again. */
void tls_detach(struct line *l)
{
	if (!l->tls)
		return;
	SSL_set_quiet_shutdown(l->tls, 1);
	SSL_shutdown(l->tls);
	SSL_free(l->tls);
	ERR_clear_error();
	l->tls = NULL;
}

const char *tls_failure(struct line *l, int n)
{
	int error = SSL_get_error(l->tls, n);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return NULL;
	if (l->error)
		return line_failure(l);
	if (error == SSL_ERROR_SSL)
		return ERR_reason_error_string(ERR_peek_error());
	return "the connection ended";
}
