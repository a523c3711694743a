/* See tls/context.h. Most of this file is telling a person what is wrong with his files. */
#include "tls/context.h"
#include "tls/crypto/aead.h"
#include "tls/secret.h"
#include "tls/suite.h"

#include "mbedtls/cipher.h"
#include "mbedtls/ecp.h"
#include "mbedtls/error.h"
#include "mbedtls/psa_util.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTEXT_MAGIC 0x71c09e87u

struct certificate {
	mbedtls_x509_crt chain;
	mbedtls_pk_context key;
};

struct tls_context {
	uint32_t magic;
	unsigned references;
	mbedtls_ssl_config config;
	struct aead_ciphers ciphers;
	struct certificate *certificates;
	unsigned certificate_count;
	char *protocol_bytes;                            /* all names in one piece */
	const char *protocols[TLS_PROTOCOLS_MAX + 1];    /* mbedTLS keeps pointers to these */
};

/* Stock P-384 and X448 cost us milliseconds a handshake, so a client could choose to be expensive. */
static const uint16_t GROUPS[] = { MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0 };

static const uint16_t SIGNATURES[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,             /* TLS 1.2 only */
	MBEDTLS_TLS1_3_SIG_NONE,
};

void tls_process_init(void)
{
	mbedtls_ssl_list_ciphersuites();
	mbedtls_cipher_list();
	mbedtls_ecp_grp_id_list();
}

bool tls_thread_init(void)
{
	return psa_crypto_init() == PSA_SUCCESS;
}

void tls_thread_fini(void)
{
	mbedtls_psa_crypto_free();
}

/* ---- telling ---- */

__attribute__((format(printf, 2, 3))) static bool fault_say(struct tls_fault *fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
	va_end(arguments);
	return false;
}

__attribute__((format(printf, 2, 3))) static void fault_warn(struct tls_fault *fault, const char *format, ...)
{
	va_list arguments;

	if (fault->warning_count == TLS_WARNINGS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(fault->warnings[fault->warning_count++], TLS_SENTENCE_BYTES, format, arguments);
	va_end(arguments);
}

/* mbedTLS's own words, for what we have no better ones for. */
static const char *mbedtls_says(int error, char *text, size_t size)
{
	mbedtls_strerror(error, text, size);
	return text;
}

/* ---- files ---- */

struct file_bytes {
	uint8_t *bytes;                  /* with a zero behind, as mbedTLS wants of PEM */
	size_t n;
	size_t size;                     /* of the memory, all of which may have held a key */
};

static void file_forget(struct file_bytes *file)
{
	if (file->bytes)
		tls_zeroise(file->bytes, file->size);
	free(file->bytes);
	*file = (struct file_bytes){ 0 };
}

/* Read by us rather than by mbedTLS, because errno says more than "file I/O error", and into memory whose size is known
 * beforehand, so that no half-grown copy of a key is left behind. */
static bool file_read(struct file_bytes *file, const char *path, struct tls_fault *fault)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	*file = (struct file_bytes){ 0 };
	if (fd < 0)
		return fault_say(fault, "%s: cannot be read: %s", path, strerror(errno));
	if (fstat(fd, &status) != 0 || S_ISDIR(status.st_mode)) {
		close(fd);
		return fault_say(fault, "%s: cannot be read: it is a directory", path);
	}
	/* Not the size that fstat tells: a secret may come through a pipe or from a file system that tells none. */
	file->size = S_ISREG(status.st_mode) && status.st_size < (off_t)TLS_FILE_BYTES_MAX ? (size_t)status.st_size + 2
	                                                                                 : TLS_FILE_BYTES_MAX + 2;
	file->bytes = malloc(file->size);
	check(file->bytes);
	for (;;) {
		ssize_t got = read(fd, file->bytes + file->n, file->size - 1 - file->n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			fault_say(fault, "%s: cannot be read: %s", path, strerror(errno));
			break;
		}
		file->n += (size_t)got;
		if (file->n == file->size - 1) {
			fault_say(fault, "%s: is longer than the %u bytes that are read, or grew meanwhile", path, TLS_FILE_BYTES_MAX);
			break;
		}
		if (got == 0) {
			close(fd);
			file->bytes[file->n++] = 0;
			return true;
		}
	}
	close(fd);
	file_forget(file);
	return false;
}

static bool file_has(const struct file_bytes *file, const char *words)
{
	return strstr((const char *)file->bytes, words) != NULL;
}

/* ---- certificate and key ---- */

static bool certificate_read(struct certificate *c, const char *path, struct tls_fault *fault)
{
	struct file_bytes file;
	char text[128];
	int error;

	if (!file_read(&file, path, fault))
		return false;
	if (!file_has(&file, "-----BEGIN CERTIFICATE-----")) {
		bool key = file_has(&file, "PRIVATE KEY-----");

		file_forget(&file);
		return fault_say(fault, key ? "%s: is a private key, not a certificate (are the two files swapped?)"
		                            : "%s: is not a PEM certificate", path);
	}
	error = mbedtls_x509_crt_parse(&c->chain, file.bytes, file.n);
	file_forget(&file);
	if (error > 0)
		return fault_say(fault, "%s: %d of its certificates cannot be read", path, error);
	if (error < 0)
		return fault_say(fault, "%s: its certificate cannot be read: %s", path, mbedtls_says(error, text, sizeof text));
	return true;
}

/* What can be told from the certificate alone. */
static bool certificate_check_kind(const struct certificate *c, const char *path, struct tls_fault *fault)
{
	const mbedtls_pk_context *key = &c->chain.pk;
	unsigned bits = (unsigned)mbedtls_pk_get_bitlen(key);

	switch (mbedtls_pk_get_type(key)) {
	case MBEDTLS_PK_RSA:
		if (bits < 2048 || bits > 4096)
			return fault_say(fault, "%s: its RSA key has %u bits; supported are 2048 to 4096", path, bits);
		return true;
	case MBEDTLS_PK_ECKEY:
	case MBEDTLS_PK_ECDSA:
		/* P-256 is the only curve of 256 bits that our mbedTLS has for signatures. */
		if (bits != 256)
			return fault_say(fault, "%s: its key is on an elliptic curve of %u bits; supported is P-256 (or RSA)", path, bits);
		return true;
	default:
		return fault_say(fault, "%s: its key is of an unsupported kind (%s); supported are EC P-256 and RSA", path,
			mbedtls_pk_get_name(key));
	}
}

static void certificate_warn_of_time(const struct certificate *c, const char *path, struct tls_fault *fault)
{
	unsigned place = 1;

	for (const mbedtls_x509_crt *one = &c->chain; one && one->version; one = one->next, place++) {
		const mbedtls_x509_time *from = &one->valid_from, *to = &one->valid_to;

		if (mbedtls_x509_time_is_past(to))
			fault_warn(fault, "%s: certificate %u in it has expired (%04d-%02d-%02d)", path, place, to->year, to->mon, to->day);
		if (mbedtls_x509_time_is_future(from))
			fault_warn(fault, "%s: certificate %u in it is not valid yet (from %04d-%02d-%02d)", path, place, from->year, from->mon,
				from->day);
	}
}

static bool key_read(struct certificate *c, const char *path, struct tls_fault *fault)
{
	struct file_bytes file;
	char text[128];
	bool encrypted, certificate;
	int error;

	if (!file_read(&file, path, fault))
		return false;
	/* Both forms: PKCS#8's own header, and the "Proc-Type: 4,ENCRYPTED" of the older ones. */
	encrypted = file_has(&file, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || file_has(&file, "4,ENCRYPTED");
	certificate = file_has(&file, "-----BEGIN CERTIFICATE-----") && !file_has(&file, "PRIVATE KEY-----");
	error = mbedtls_pk_parse_key(&c->key, file.bytes, file.n, NULL, 0, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	file_forget(&file);
	if (error == 0)
		return true;
	if (encrypted)
		return fault_say(fault, "%s: the key is encrypted; the gateway can ask nobody for a passphrase, so it needs a plain one", path);
	if (certificate)
		return fault_say(fault, "%s: is a certificate, not a private key (are the two files swapped?)", path);
	switch (error) {
	case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
	case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
	case MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE:
		return fault_say(fault, "%s: the key is of an unsupported kind; supported are EC P-256 and RSA", path);
	default:
		return fault_say(fault, "%s: is not a PEM private key: %s", path, mbedtls_says(error, text, sizeof text));
	}
}

static bool certificate_load(struct certificate *c, const struct tls_certificate_files *files, struct tls_fault *fault)
{
	if (!certificate_read(c, files->certificate, fault) || !certificate_check_kind(c, files->certificate, fault))
		return false;
	if (!key_read(c, files->key, fault))
		return false;
	if (mbedtls_pk_check_pair(&c->chain.pk, &c->key, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE) != 0)
		return fault_say(fault, "%s: the key does not belong to the certificate in %s", files->key, files->certificate);
	certificate_warn_of_time(c, files->certificate, fault);
	return true;
}

/* ---- the whole ---- */

static bool protocols_copy(struct tls_context *context, const char *const *alpn, struct tls_fault *fault)
{
	size_t bytes = 0, count = 0;
	char *at;

	for (; alpn[count]; count++) {
		size_t n = strlen(alpn[count]);

		/* RFC 7301 §3.1: ProtocolName is opaque<1..2^8-1>. */
		if (n == 0 || n > 255)
			return fault_say(fault, "a protocol name for ALPN has 1 to 255 bytes, this one %zu", n);
		if (count == TLS_PROTOCOLS_MAX)
			return fault_say(fault, "more than %u protocols for ALPN", TLS_PROTOCOLS_MAX);
		bytes += n + 1;
	}
	if (count == 0)
		return true;
	at = context->protocol_bytes = malloc(bytes);
	check(at);
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(alpn[i]) + 1;

		context->protocols[i] = memcpy(at, alpn[i], n);
		at += n;
	}
	check(mbedtls_ssl_conf_alpn_protocols(&context->config, context->protocols) == 0);
	return true;
}

/* The name that the client asks for is the client's text: what is no host name is left out, lest it play with a log. */
static int named(void *nothing, mbedtls_ssl_context *ssl, const unsigned char *name, size_t n)
{
	char **to = mbedtls_ssl_get_user_data_p(ssl);

	(void)nothing;
	if (!to || *to || n > 255)
		return 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_'))
			return 0;
	}
	*to = strndup((const char *)name, n);
	return 0;
}

static void config_fill(mbedtls_ssl_config *config)
{
	check(mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
		MBEDTLS_SSL_PRESET_DEFAULT) == 0);
	mbedtls_ssl_conf_rng(config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_ciphersuites(config, tls_suite_ids());
	mbedtls_ssl_conf_groups(config, GROUPS);
	mbedtls_ssl_conf_sig_algs(config, SIGNATURES);
	mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_NONE);
	/* Nobody is resumed: there is no ticket callback, so TLS 1.2 has none either. */
	mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_new_session_tickets(config, 0);
	mbedtls_ssl_conf_sni(config, named, NULL);
}

static bool context_fill(struct tls_context *context, const struct tls_certificate_files *files, unsigned count,
	const char *const *alpn, struct tls_fault *fault)
{
	const char *missing;

	if (!tls_thread_init())
		return fault_say(fault, "the random generator could not be started");
	if (!aead_ciphers_init(&context->ciphers, &missing))
		return fault_say(fault, "libcrypto has no %s (is it restricted by a configuration of its own?)", missing);
	if (count == 0)
		return fault_say(fault, "no certificate is given");
	config_fill(&context->config);
	context->certificates = calloc(count, sizeof *context->certificates);
	check(context->certificates);
	for (unsigned i = 0; i < count; i++) {
		struct certificate *c = &context->certificates[i];

		mbedtls_x509_crt_init(&c->chain);
		mbedtls_pk_init(&c->key);
		context->certificate_count++;
		if (!certificate_load(c, &files[i], fault))
			return false;
		check(mbedtls_ssl_conf_own_cert(&context->config, &c->chain, &c->key) == 0);
	}
	return !alpn || protocols_copy(context, alpn, fault);
}

static void context_free(struct tls_context *context)
{
	mbedtls_ssl_config_free(&context->config);
	for (unsigned i = 0; i < context->certificate_count; i++) {
		mbedtls_x509_crt_free(&context->certificates[i].chain);
		mbedtls_pk_free(&context->certificates[i].key);
	}
	free(context->certificates);
	free(context->protocol_bytes);
	aead_ciphers_fini(&context->ciphers);
	free(context);
}

struct tls_context *tls_context_new(const struct tls_certificate_files *files, unsigned count, const char *const *alpn,
	struct tls_fault *fault)
{
	struct tls_context *context = calloc(1, sizeof *context);

	check(context);
	fault->sentence[0] = 0;
	fault->warning_count = 0;
	context->magic = CONTEXT_MAGIC;
	context->references = 1;
	mbedtls_ssl_config_init(&context->config);
	if (context_fill(context, files, count, alpn, fault))
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

const struct mbedtls_ssl_config *tls_context_config(const struct tls_context *context)
{
	return &context->config;
}

const struct aead_ciphers *tls_context_ciphers(const struct tls_context *context)
{
	return &context->ciphers;
}
