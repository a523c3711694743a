/* See tls/context.h. */
#include "tls/context.h"
#include "tls/client_hello.h"
#include "tls/crypto/key.h"
#include "tls/handshake.h"
#include "tls/reason.h"
#include "tls/suite.h"
#include "tls/ticket.h"

#include "mbedtls/error.h"
#include "mbedtls/psa_util.h"
#include "mbedtls/ssl.h"

#include <stdlib.h>
#include <string.h>

#define CONTEXT_MAGIC 0x71c09e87u
#define TICKETS_SENT 2u                  /* a browser opens several connections at once, and each should use a ticket of its own */

struct certificate {
	mbedtls_x509_crt chain;
	struct private_key key;
	bool ecdsa;
};

struct tls_host {
	const struct tls_material_host *material;
	mbedtls_ssl_config config;
	struct certificate *certificates;
	unsigned certificate_count;
	mbedtls_x509_crt ca;
	mbedtls_x509_crl crl;
	struct ticket_box tickets;
};

struct tls_context {
	uint32_t magic;
	unsigned references;
	struct tls_thread *thread;
	struct tls_material *material;
	struct tls_host *hosts;
	unsigned host_count;
};

/* Any other group costs us milliseconds a handshake, so a client could choose to be expensive. */
static const uint16_t GROUPS[] = { MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0 };

/* What we sign with; and what clients may, where they are asked: theirs are made by others, with whatever was in fashion. */
static const uint16_t SIGNATURES[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,             /* TLS 1.2 only */
	MBEDTLS_TLS1_3_SIG_NONE,
};
static const uint16_t CLIENT_SIGNATURES[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
	MBEDTLS_TLS1_3_SIG_NONE,
};

/* ---- what mbedTLS asks us ---- */

/* Which certificate was decided with the ClientHello: mbedTLS's own choice does not look at the client's curves. */
static int certificate_asked(mbedtls_ssl_context *ssl)
{
	const struct tls_choice *choice = mbedtls_ssl_get_user_data_p(ssl);
	struct certificate *c = &choice->host->certificates[choice->certificate];

	return mbedtls_ssl_set_hs_own_cert(ssl, &c->chain, &c->key.pk);
}

static bool buffers_equal(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
	return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

static bool trusted_by_itself(const struct tls_host *host, const mbedtls_x509_crt *certificate)
{
	for (const mbedtls_x509_crt *one = &host->ca; one && one->version; one = one->next)
		if (buffers_equal(&one->raw, &certificate->raw))
			return true;
	return false;
}

static bool issuer_has_list(const struct tls_host *host, const mbedtls_x509_crt *certificate)
{
	for (const mbedtls_x509_crl *list = &host->crl; list && list->version; list = list->next)
		if (buffers_equal(&list->issuer_raw, &certificate->issuer_raw))
			return true;
	return false;
}

/* Called from the authority down to the client's own, which is depth 0. */
static int client_verified(void *argument, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
	const struct tls_host *host = argument;

	/* mbedTLS lets pass whom no list concerns; but where revocation is wanted, a list that is missing, or of somebody else, must not
	 * mean that nobody is revoked. */
	if (host->material->crl.n > 0 && !trusted_by_itself(host, certificate) && !issuer_has_list(host, certificate))
		*flags |= MBEDTLS_X509_BADCRL_NOT_TRUSTED;
	if (depth > (int)host->material->client_depth + 1)
		*flags |= MBEDTLS_X509_BADCERT_OTHER;
	return 0;
}

/* ---- the choice ---- */

static bool protocols_shared(const struct tls_host *host, const struct tls_client_hello *hello)
{
	const char *const *ours = host->material->protocols;

	for (; *ours; ours++)
		if (tls_client_hello_offers_protocol(hello, *ours))
			return true;
	return false;
}

const struct reason *tls_context_choose(const struct tls_context *context, struct tls_client_hello *hello, const char *name,
	struct tls_choice *choice)
{
	const struct tls_material *material = context->material;
	const struct tls_material_host *named = name ? tls_material_find(material, name, strlen(name)) : NULL;
	struct tls_host *host = &context->hosts[named ? named - material->hosts : 0];
	const struct reason *reason;

	if (!named && material->strict)
		return name ? &TLS_NAME_UNKNOWN : &TLS_NAME_MISSING;
	reason = tls_client_hello_choose(hello, material->version_min <= TLS_1_2, material->version_max >= TLS_1_3);
	if (reason)
		return reason;
	/* RFC 7301 §3.2: "In the event that the server supports no protocols that the client advertises, then the server SHALL
	 * respond with a fatal "no_application_protocol" alert." A client without the extension takes what we speak. */
	if (host->material->protocols[0] && hello->protocols && !protocols_shared(host, hello))
		return &TLS_PROTOCOL_UNSUPPORTED;
	for (unsigned i = 0; i < host->certificate_count; i++) {
		bool ecdsa = host->certificates[i].ecdsa;

		if (ecdsa ? tls_client_hello_verifies_ecdsa(hello) : tls_client_hello_verifies_rsa(hello)) {
			*choice = (struct tls_choice){ .host = host, .certificate = i, .ecdsa = ecdsa };
			return NULL;
		}
	}
	return &TLS_NOTHING_SHARED;
}

/* In lower case. False for what is no name of the DNS, nor nothing, nor an IPv6 address: such as routes with a wildcard may match, and no host. */
static bool name_read(char lower[TLS_NAME_BYTES_MAX], const char *name, size_t n)
{
	char before = '.';

	if (n > TLS_NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';

		if (!plain && !(c == '.' && before != '.') && name[0] != '[')
			return false;
		lower[i] = before = c;
	}
	return n == 0 || before != '.';
}

static bool another_asks(const struct tls_material_host *host, const struct tls_material_host *chosen)
{
	return host && host != chosen && host->client_asked;
}

bool tls_context_misdirects(const struct tls_context *context, const struct tls_choice *choice, const char *name, size_t n)
{
	const struct tls_material *material = context->material;
	const struct tls_material_host *chosen = choice->host->material, *wanted, *above = NULL;
	char lower[TLS_NAME_BYTES_MAX];

	if (context->host_count == 1)
		return false;
	/* Any of them may be meant. */
	if (!name_read(lower, name, n)) {
		for (unsigned i = 0; i < context->host_count; i++)
			if (another_asks(&material->hosts[i], chosen))
				return true;
		return chosen->client_asked && chosen != &material->hosts[0];
	}
	/* Nobody's name is the default's, by SNI. But to routes a wildcard stands for any number of labels, so what lies deeper below the
	 * wildcard of a host may be what that host was to guard. */
	wanted = tls_material_find(material, lower, n);
	if (!wanted) {
		wanted = &material->hosts[0];
		above = tls_material_find_above(material, lower, n);
	}
	/* Also the other way round: that its certificate satisfies one host's authority says nothing to another. */
	return another_asks(wanted, chosen) || another_asks(above, chosen) ||
	       (chosen->client_asked && chosen != wanted && chosen != above);
}

/* ---- a life ---- */

/* A ticket does not hold the client's certificate, so who is asked for one is not resumed. */
static bool host_gives_tickets(const struct tls_host *host, const struct tls_thread *thread, const struct tls_material *material)
{
	return material->tickets && thread->tickets.keys && !host->material->client_asked;
}

static void config_fill(struct tls_host *host, struct tls_thread *thread, const struct tls_material *material)
{
	mbedtls_ssl_config *config = &host->config;
	const struct tls_material_host *m = host->material;
	bool tickets = host_gives_tickets(host, thread, material);

	check(mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
		MBEDTLS_SSL_PRESET_DEFAULT) == 0);
	mbedtls_ssl_conf_rng(config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_min_tls_version(config,
		material->version_min == TLS_1_3 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_max_tls_version(config,
		material->version_max == TLS_1_2 ? MBEDTLS_SSL_VERSION_TLS1_2 : MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_ciphersuites(config, tls_suite_ids());
	mbedtls_ssl_conf_groups(config, GROUPS);
	mbedtls_ssl_conf_sig_algs(config, m->client_asked ? CLIENT_SIGNATURES : SIGNATURES);
	mbedtls_ssl_conf_cert_cb(config, certificate_asked);
	if (m->protocols[0])
		check(mbedtls_ssl_conf_alpn_protocols(config, (const char **)m->protocols) == 0);
	mbedtls_ssl_conf_authmode(config, !m->client_asked      ? MBEDTLS_SSL_VERIFY_NONE
	                                  : m->client_required ? MBEDTLS_SSL_VERIFY_REQUIRED
	                                                       : MBEDTLS_SSL_VERIFY_OPTIONAL);
	if (m->client_asked) {
		mbedtls_ssl_conf_ca_chain(config, &host->ca, m->crl.n > 0 ? &host->crl : NULL);
		mbedtls_ssl_conf_verify(config, client_verified, host);
	}
	mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL |
		(tickets ? MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL : 0));
	mbedtls_ssl_conf_new_session_tickets(config, tickets ? TICKETS_SENT : 0);
	if (tickets)
		mbedtls_ssl_conf_session_tickets_cb(config, ticket_box_write, ticket_box_parse, &host->tickets);
}

static bool host_open(struct tls_host *host, struct tls_thread *thread, const struct tls_material *material,
	struct tls_fault *fault)
{
	const struct tls_material_host *m = host->material;
	int error = 0;

	host->certificates = calloc(m->certificate_count, sizeof *host->certificates);
	check(host->certificates);
	host->certificate_count = m->certificate_count;
	for (unsigned i = 0; i < m->certificate_count && error == 0; i++) {
		const struct tls_material_certificate *from = &m->certificates[i];
		struct certificate *c = &host->certificates[i];

		mbedtls_x509_crt_init(&c->chain);
		c->ecdsa = from->ecdsa;
		error = mbedtls_x509_crt_parse(&c->chain, from->certificate.bytes, from->certificate.n);
		if (error == 0)
			error = private_key_parse(&c->key, thread->driver, from->key.bytes, from->key.n);
	}
	if (error == 0 && m->ca.n > 0)
		error = mbedtls_x509_crt_parse(&host->ca, m->ca.bytes, m->ca.n);
	if (error == 0 && m->crl.n > 0)
		error = mbedtls_x509_crl_parse(&host->crl, m->crl.bytes, m->crl.n);
	if (error != 0) {
		char text[128];

		mbedtls_strerror(error, text, sizeof text);
		return tls_fault_say(fault, "what was read of the certificates cannot be used: %s", text);
	}
	if (host_gives_tickets(host, thread, material))
		ticket_box_init(&host->tickets, &thread->tickets, m->binding, material->ticket_lifetime_s);
	config_fill(host, thread, material);
	return true;
}

static void context_free(struct tls_context *context)
{
	for (unsigned i = 0; i < context->host_count; i++) {
		struct tls_host *host = &context->hosts[i];

		tls_handshake_forget(context->thread, host);
		mbedtls_ssl_config_free(&host->config);
		for (unsigned k = 0; k < host->certificate_count; k++) {
			mbedtls_x509_crt_free(&host->certificates[k].chain);
			private_key_fini(&host->certificates[k].key);
		}
		mbedtls_x509_crt_free(&host->ca);
		mbedtls_x509_crl_free(&host->crl);
		ticket_box_fini(&host->tickets);
		free(host->certificates);
	}
	free(context->hosts);
	tls_material_put(context->material);
	context->magic = 0;
	free(context);
}

struct tls_context *tls_context_new(struct tls_thread *thread, struct tls_material *material, struct tls_fault *fault)
{
	struct tls_context *context = calloc(1, sizeof *context);
	bool good = true;

	check(context);
	*context = (struct tls_context){
		.magic = CONTEXT_MAGIC,
		.references = 1,
		.thread = thread,
		.material = tls_material_take(material),
		.hosts = calloc(material->host_count, sizeof *context->hosts),
		.host_count = material->host_count,
	};
	check(context->hosts);
	for (unsigned i = 0; i < context->host_count; i++) {
		context->hosts[i].material = &material->hosts[i];
		mbedtls_ssl_config_init(&context->hosts[i].config);
		mbedtls_x509_crt_init(&context->hosts[i].ca);
		mbedtls_x509_crl_init(&context->hosts[i].crl);
	}
	for (unsigned i = 0; i < context->host_count && good; i++)
		good = host_open(&context->hosts[i], thread, material, fault);
	if (good)
		return context;
	context_free(context);
	return NULL;
}

struct tls_context *tls_context_take(struct tls_context *context)
{
	check(context->magic == CONTEXT_MAGIC && context->references > 0);
	context->references++;
	return context;
}

void tls_context_put(struct tls_context *context)
{
	if (!context)
		return;
	check(context->magic == CONTEXT_MAGIC && context->references > 0);
	if (--context->references == 0)
		context_free(context);
}

struct tls_thread *tls_context_thread(const struct tls_context *context)
{
	return context->thread;
}

const struct mbedtls_ssl_config *tls_host_config(const struct tls_host *host)
{
	return &host->config;
}

bool tls_host_asks(const struct tls_host *host)
{
	return host->material->client_asked;
}

struct ticket_box *tls_host_tickets(struct tls_host *host)
{
	return host->tickets.magic ? &host->tickets : NULL;
}
