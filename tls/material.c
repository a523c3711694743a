/* See tls/material.h. Most of this file is telling a person what is wrong with his files. */
#include "tls/material.h"
#include "tls/crypto/key.h"
#include "tls/secret.h"

#include "mbedtls/error.h"
#include "mbedtls/sha256.h"
#include "mbedtls/x509_crl.h"
#include "mbedtls/x509_crt.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MATERIAL_MAGIC 0x7a7e41a1u

/* mbedTLS's own words, for what we have no better ones for. */
static const char *mbedtls_says(int error, char *text, size_t size)
{
	mbedtls_strerror(error, text, size);
	return text;
}

/* ---- files ---- */

static void bytes_forget(struct tls_bytes *file)
{
	if (file->bytes)
		tls_zeroise(file->bytes, file->size);
	free(file->bytes);
	*file = (struct tls_bytes){ 0 };
}

/* Read by us rather than by mbedTLS, because errno says more than "file I/O error", and into memory whose size is known
 * beforehand, so that no half-grown copy of a key is left behind. */
static bool file_read(struct tls_bytes *file, const char *path, struct tls_fault *fault)
{
	struct stat status;
	/* Not to wait for a writer of a pipe: this also runs while the core serves. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	*file = (struct tls_bytes){ 0 };
	if (fd < 0)
		return tls_fault_say(fault, "%s: cannot be read: %s", path, strerror(errno));
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return tls_fault_say(fault, "%s: cannot be read: it is %s", path, S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
	}
	file->size = status.st_size < (off_t)TLS_FILE_BYTES_MAX ? (size_t)status.st_size + 2 : TLS_FILE_BYTES_MAX + 2;
	file->open_to_all = status.st_mode & S_IROTH;
	file->bytes = malloc(file->size);
	check(file->bytes);
	for (;;) {
		ssize_t got = read(fd, file->bytes + file->n, file->size - 1 - file->n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			tls_fault_say(fault, "%s: cannot be read: %s", path, strerror(errno));
			break;
		}
		file->n += (size_t)got;
		if (file->n == file->size - 1) {
			tls_fault_say(fault, "%s: is longer than the %u bytes that are read, or grew meanwhile", path, TLS_FILE_BYTES_MAX);
			break;
		}
		if (got == 0) {
			close(fd);
			file->bytes[file->n++] = 0;
			return true;
		}
	}
	close(fd);
	bytes_forget(file);
	return false;
}

static bool file_has(const struct tls_bytes *file, const char *words)
{
	return strstr((const char *)file->bytes, words) != NULL;
}

static unsigned file_count(const struct tls_bytes *file, const char *words)
{
	unsigned count = 0;

	for (const char *at = (const char *)file->bytes; (at = strstr(at, words)); at += strlen(words))
		count++;
	return count;
}

/* ---- certificate and key ---- */

static unsigned chain_length(const mbedtls_x509_crt *chain)
{
	unsigned length = 0;

	for (; chain && chain->version; chain = chain->next)
		length++;
	return length;
}

/* What was parsed, as long as it is looked at. */
struct parsed {
	mbedtls_x509_crt chain;
	struct private_key key;
};

static bool chain_read(mbedtls_x509_crt *chain, struct tls_bytes *file, const char *path, struct tls_fault *fault)
{
	char text[128];
	int error;

	if (!file_read(file, path, fault))
		return false;
	if (!file_has(file, "-----BEGIN CERTIFICATE-----")) {
		bool key = file_has(file, "PRIVATE KEY-----");

		return tls_fault_say(fault, key ? "%s: is a private key, not a certificate (are the two files swapped?)"
		                            : "%s: is not a PEM certificate", path);
	}
	error = mbedtls_x509_crt_parse(chain, file->bytes, file->n);
	if (error > 0)
		return tls_fault_say(fault, "%s: %d of its certificates cannot be read", path, error);
	if (error < 0)
		return tls_fault_say(fault, "%s: its certificate cannot be read: %s", path, mbedtls_says(error, text, sizeof text));
	/* mbedTLS stops without a word where a file was cut. */
	if (chain_length(chain) != file_count(file, "-----BEGIN CERTIFICATE-----"))
		return tls_fault_say(fault, "%s: is cut off: of %u certificates only %u are whole", path,
			file_count(file, "-----BEGIN CERTIFICATE-----"), chain_length(chain));
	return true;
}

/* What can be told from the certificate alone. */
static bool chain_check_kind(const mbedtls_x509_crt *chain, const char *path, struct tls_fault *fault)
{
	const mbedtls_pk_context *key = &chain->pk;
	unsigned bits = (unsigned)mbedtls_pk_get_bitlen(key);

	switch (mbedtls_pk_get_type(key)) {
	case MBEDTLS_PK_RSA:
		if (bits < 2048 || bits > 4096)
			return tls_fault_say(fault, "%s: its RSA key has %u bits; supported are 2048 to 4096", path, bits);
		return true;
	case MBEDTLS_PK_ECKEY:
	case MBEDTLS_PK_ECDSA:
		/* P-256 is the only curve of 256 bits that our mbedTLS has for signatures. */
		if (bits != 256)
			return tls_fault_say(fault, "%s: its key is on an elliptic curve of %u bits; supported is P-256 (or RSA)", path, bits);
		return true;
	default:
		return tls_fault_say(fault, "%s: its key is of an unsupported kind (%s); supported are EC P-256 and RSA", path,
			mbedtls_pk_get_name(key));
	}
}

static void chain_warn_of_time(const mbedtls_x509_crt *chain, const char *path, struct tls_fault *fault)
{
	unsigned place = 1;

	for (const mbedtls_x509_crt *one = chain; one && one->version; one = one->next, place++) {
		const mbedtls_x509_time *from = &one->valid_from, *to = &one->valid_to;

		if (mbedtls_x509_time_is_past(to))
			tls_fault_warn(fault, "%s: certificate %u in it has expired (%04d-%02d-%02d)", path, place, to->year, to->mon, to->day);
		if (mbedtls_x509_time_is_future(from))
			tls_fault_warn(fault, "%s: certificate %u in it is not valid yet (from %04d-%02d-%02d)", path, place, from->year, from->mon,
				from->day);
	}
}

static bool key_read(struct tls_thread *thread, struct private_key *key, struct tls_bytes *file, const char *path,
	struct tls_fault *fault)
{
	char text[128];
	bool encrypted, certificate;
	int error;

	if (!file_read(file, path, fault))
		return false;
	/* Both forms: PKCS#8's own header, and the "Proc-Type: 4,ENCRYPTED" of the older ones. */
	encrypted = file_has(file, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || file_has(file, "4,ENCRYPTED");
	certificate = file_has(file, "-----BEGIN CERTIFICATE-----") && !file_has(file, "PRIVATE KEY-----");
	error = private_key_parse(key, thread->driver, file->bytes, file->n);
	if (error == 0 && file->open_to_all)
		tls_fault_warn(fault, "%s: every user of this machine may read this private key; chmod o-r it", path);
	if (error == 0)
		return true;
	if (encrypted)
		return tls_fault_say(fault, "%s: the key is encrypted; the gateway can ask nobody for a passphrase, so it needs a plain one", path);
	if (certificate)
		return tls_fault_say(fault, "%s: is a certificate, not a private key (are the two files swapped?)", path);
	switch (error) {
	case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
	case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
	case MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE:
		return tls_fault_say(fault, "%s: the key is of an unsupported kind; supported are EC P-256 and RSA", path);
	default:
		return tls_fault_say(fault, "%s: is not a PEM private key: %s", path, mbedtls_says(error, text, sizeof text));
	}
}

/* `parsed` is initialised, and is looked at further by the caller. */
static bool certificate_read(struct tls_thread *thread, struct tls_material_certificate *c, struct parsed *parsed,
	const struct tls_certificate_files *files, struct tls_fault *fault)
{
	if (!chain_read(&parsed->chain, &c->certificate, files->certificate, fault) ||
	    !chain_check_kind(&parsed->chain, files->certificate, fault))
		return false;
	if (!key_read(thread, &parsed->key, &c->key, files->key, fault))
		return false;
	if (!private_key_belongs(&parsed->key, &parsed->chain.pk))
		return tls_fault_say(fault, "%s: the key does not belong to the certificate in %s", files->key, files->certificate);
	chain_warn_of_time(&parsed->chain, files->certificate, fault);
	c->ecdsa = mbedtls_pk_get_type(&parsed->chain.pk) != MBEDTLS_PK_RSA;
	return true;
}

/* ---- names ---- */

static void name_add(struct tls_material *material, const char *name, size_t n, unsigned host, bool written)
{
	struct tls_material_name *to;

	if (n == 0 || n > TLS_NAME_BYTES_MAX)
		return;
	material->names = realloc(material->names, (material->name_count + 1) * sizeof *material->names);
	check(material->names);
	to = &material->names[material->name_count++];
	*to = (struct tls_material_name){ .host = host, .written = written, .wildcard = n > 2 && name[0] == '*' && name[1] == '.' };
	if (to->wildcard) {
		name++;
		n--;
	}
	to->name = malloc(n + 1);
	check(to->name);
	for (size_t i = 0; i < n; i++)
		to->name[i] = (char)tolower((unsigned char)name[i]);
	to->name[n] = 0;
}

/* RFC 6125 §6.4.4: the common name counts only where a certificate has no names of its own; nobody looks at it any more. */
static void names_of_certificate(struct tls_material *material, const mbedtls_x509_crt *certificate, unsigned host)
{
	for (const mbedtls_x509_sequence *one = &certificate->subject_alt_names; one; one = one->next) {
		mbedtls_x509_subject_alternative_name name;

		if (!one->buf.p || mbedtls_x509_parse_subject_alt_name(&one->buf, &name) != 0)
			continue;
		if (name.type == MBEDTLS_X509_SAN_DNS_NAME && !memchr(name.san.unstructured_name.p, 0, name.san.unstructured_name.len))
			name_add(material, (const char *)name.san.unstructured_name.p, name.san.unstructured_name.len, host,
				false);
		mbedtls_x509_free_subject_alt_name(&name);
	}
}

/* By name; of the same name one that is written before one that stands in a certificate, an earlier host first, and the default last:
 * it has all that nobody else has anyway. */
static int name_compare(const void *a, const void *b)
{
	const struct tls_material_name *one = a, *other = b;
	int order = strcmp(one->name, other->name);

	if (order == 0)
		order = one->wildcard - other->wildcard;
	if (order == 0)
		order = other->written - one->written;
	return order != 0 ? order : (int)(one->host - 1 < other->host - 1) ? -1 : one->host != other->host;
}

static bool clients_alike(const struct tls_material_host *a, const struct tls_material_host *b)
{
	return a->client_asked == b->client_asked && a->client_required == b->client_required && a->client_depth == b->client_depth &&
	       a->ca.n == b->ca.n && a->crl.n == b->crl.n && (a->ca.n == 0 || memcmp(a->ca.bytes, b->ca.bytes, a->ca.n) == 0) &&
	       (a->crl.n == 0 || memcmp(a->crl.bytes, b->crl.bytes, a->crl.n) == 0);
}

/* Certificates may bring a name to two hosts. The first gets it; but where they ask their clients for different things, nobody should have to
 * guess which of the two guards it. What is written is clear. */
static bool names_check(const struct tls_material *material, struct tls_fault *fault)
{
	for (unsigned i = 1; i < material->name_count; i++) {
		const struct tls_material_name *one = &material->names[i - 1], *other = &material->names[i];

		if (one->host == other->host || one->written || one->wildcard != other->wildcard ||
		    strcmp(one->name, other->name) != 0)
			continue;
		/* The default host has what nobody else has, so there is nothing to guess. */
		if (other->host > 0 && !clients_alike(&material->hosts[one->host], &material->hosts[other->host]))
			return tls_fault_say(fault, "the name %s%s stands in the certificates of hosts %u and %u, which ask their clients for different "
				"certificates; write it among the names of one of them", one->wildcard ? "*" : "", one->name, one->host, other->host);
		if (other->host > 0)
			tls_fault_warn(fault, "the name %s%s stands in the certificates of hosts %u and %u; the first one has it",
				one->wildcard ? "*" : "", one->name, one->host, other->host);
	}
	return true;
}

static const struct tls_material_name *name_look_up(const struct tls_material *material, const char *name, size_t n,
	bool wildcard)
{
	const struct tls_material_name *found = NULL;
	unsigned low = 0, high = material->name_count;

	/* The first that is not less. */
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct tls_material_name *one = &material->names[middle];
		int order = strncmp(one->name, name, n);

		if (order == 0)
			order = one->name[n] ? 1 : one->wildcard - wildcard;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < material->name_count)
		found = &material->names[low];
	return found && found->wildcard == wildcard && strncmp(found->name, name, n) == 0 && found->name[n] == 0 ? found : NULL;
}

const struct tls_material_host *tls_material_find(const struct tls_material *material, const char *name, size_t n)
{
	const struct tls_material_name *found;
	const char *dot = memchr(name, '.', n);

	if (memchr(name, 0, n))
		return NULL;
	found = name_look_up(material, name, n, false);
	/* RFC 6125 §6.4.3: a wildcard stands for the leftmost label alone. */
	if (!found && dot && dot > name)
		found = name_look_up(material, dot, n - (size_t)(dot - name), true);
	return found ? &material->hosts[found->host] : NULL;
}

const struct tls_material_host *tls_material_find_above(const struct tls_material *material, const char *name, size_t n)
{
	const char *end = name + n, *dot = n > 1 ? memchr(name + 1, '.', n - 1) : NULL;

	for (; dot; dot = memchr(dot + 1, '.', (size_t)(end - dot) - 1)) {
		const struct tls_material_name *found = name_look_up(material, dot, (size_t)(end - dot), true);

		if (found)
			return &material->hosts[found->host];
	}
	return NULL;
}

/* ---- hosts ---- */

static bool protocols_copy(struct tls_material_host *host, const char *const *alpn, struct tls_fault *fault)
{
	size_t bytes = 0, count = 0;
	char *at;

	for (; alpn[count]; count++) {
		size_t n = strlen(alpn[count]);

		/* RFC 7301 §3.1: ProtocolName is opaque<1..2^8-1>. */
		if (n == 0 || n > 255)
			return tls_fault_say(fault, "a protocol name for ALPN has 1 to 255 bytes, this one %zu", n);
		if (count == TLS_PROTOCOLS_MAX)
			return tls_fault_say(fault, "more than %u protocols for ALPN", TLS_PROTOCOLS_MAX);
		bytes += n + 1;
	}
	if (count == 0)
		return true;
	at = host->protocol_bytes = malloc(bytes);
	check(at);
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(alpn[i]) + 1;

		host->protocols[i] = memcpy(at, alpn[i], n);
		at += n;
	}
	return true;
}

static bool names_equal(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
	return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* Whoever has no list of his authority is refused (client_verified in tls/context), which should not come as a surprise. */
static void lists_warn_of_gaps(const mbedtls_x509_crt *authorities, const mbedtls_x509_crl *lists, const struct tls_client_files *files,
	struct tls_fault *fault)
{
	char name[256];

	for (const mbedtls_x509_crt *one = authorities; one && one->version; one = one->next) {
		bool listed = false;

		for (const mbedtls_x509_crl *list = lists; list && list->version; list = list->next)
			listed |= names_equal(&list->issuer_raw, &one->subject_raw);
		if (!listed && mbedtls_x509_dn_gets(name, sizeof name, &one->subject) > 0)
			tls_fault_warn(fault, "%s: has no list of the authority \"%s\", so its clients are refused", files->crl, name);
	}
	for (const mbedtls_x509_crl *list = lists; list && list->version; list = list->next) {
		if (mbedtls_x509_time_is_past(&list->next_update))
			tls_fault_warn(fault, "%s: a list in it was to be renewed by %04d-%02d-%02d; until it is, its authority's clients are refused",
				files->crl, list->next_update.year, list->next_update.mon, list->next_update.day);
	}
}

static bool lists_read(struct tls_material_host *host, const mbedtls_x509_crt *authorities, const struct tls_client_files *files,
	struct tls_fault *fault)
{
	mbedtls_x509_crl lists;
	char text[128];
	int error;

	if (!file_read(&host->crl, files->crl, fault))
		return false;
	mbedtls_x509_crl_init(&lists);
	error = mbedtls_x509_crl_parse(&lists, host->crl.bytes, host->crl.n);
	if (error == 0)
		lists_warn_of_gaps(authorities, &lists, files, fault);
	mbedtls_x509_crl_free(&lists);
	return error == 0 || tls_fault_say(fault, "%s: is not a PEM list of revoked certificates: %s", files->crl,
		mbedtls_says(error, text, sizeof text));
}

static bool client_read(struct tls_material_host *host, const struct tls_client_files *files, struct tls_fault *fault)
{
	mbedtls_x509_crt authorities;
	bool good;

	if (!files->ca)
		return true;
	host->client_asked = true;
	host->client_required = files->required;
	host->client_depth = files->depth;
	mbedtls_x509_crt_init(&authorities);
	good = chain_read(&authorities, &host->ca, files->ca, fault);
	if (good) {
		chain_warn_of_time(&authorities, files->ca, fault);
		for (const mbedtls_x509_crt *one = &authorities; one && one->version; one = one->next)
			if (mbedtls_x509_crt_get_ca_istrue(one) != 1)
				tls_fault_warn(fault, "%s: one of its certificates is not that of an authority, so it can have issued none", files->ca);
	}
	if (good && files->crl)
		good = lists_read(host, &authorities, files, fault);
	mbedtls_x509_crt_free(&authorities);
	return good;
}

/* The same over a restart and a renewed certificate; another for each host, so that a ticket is of no use elsewhere: one host
 * may ask its clients for less than another. */
static void binding_make(struct tls_material_host *host, unsigned index, const struct tls_listener_files *listener)
{
	const struct tls_host_files *files = &listener->hosts[index];
	mbedtls_sha256_context hash;

	mbedtls_sha256_init(&hash);
	check(mbedtls_sha256_starts(&hash, 0) == 0);
	mbedtls_sha256_update(&hash, (const uint8_t *)listener->address, strlen(listener->address) + 1);
	if (files->name_count == 0)
		mbedtls_sha256_update(&hash, (const uint8_t *)&index, sizeof index);
	for (unsigned i = 0; i < files->name_count; i++)
		mbedtls_sha256_update(&hash, (const uint8_t *)files->names[i], strlen(files->names[i]) + 1);
	mbedtls_sha256_update(&hash, (const uint8_t *)"", 1); /* no name is empty: here the protocols begin */
	for (unsigned i = 0; host->protocols[i]; i++)
		mbedtls_sha256_update(&hash, (const uint8_t *)host->protocols[i], strlen(host->protocols[i]) + 1);
	check(mbedtls_sha256_finish(&hash, host->binding) == 0);
	mbedtls_sha256_free(&hash);
}

static bool host_read(struct tls_thread *thread, struct tls_material *material, unsigned index,
	const struct tls_listener_files *listener, struct tls_fault *fault)
{
	const struct tls_host_files *files = &listener->hosts[index];
	struct tls_material_host *host = &material->hosts[index];
	bool good = true;

	if (files->certificate_count == 0)
		return tls_fault_say(fault, "no certificate is given");
	host->certificates = calloc(files->certificate_count, sizeof *host->certificates);
	check(host->certificates);
	host->certificate_count = files->certificate_count;
	for (unsigned i = 0; i < files->name_count; i++)
		name_add(material, files->names[i], strlen(files->names[i]), index, true);
	for (unsigned i = 0; good && i < files->certificate_count; i++) {
		struct parsed parsed = { 0 };

		mbedtls_x509_crt_init(&parsed.chain);
		good = certificate_read(thread, &host->certificates[i], &parsed, &files->certificates[i], fault);
		if (good && files->name_count == 0)
			names_of_certificate(material, &parsed.chain, index);
		private_key_fini(&parsed.key);
		mbedtls_x509_crt_free(&parsed.chain);
	}
	if (!good || (files->alpn && !protocols_copy(host, files->alpn, fault)) || !client_read(host, &files->client, fault))
		return false;
	binding_make(host, index, listener);
	return true;
}

/* ---- the whole ---- */

static void material_free(struct tls_material *material)
{
	for (unsigned i = 0; i < material->host_count; i++) {
		struct tls_material_host *host = &material->hosts[i];

		for (unsigned k = 0; k < host->certificate_count; k++) {
			bytes_forget(&host->certificates[k].certificate);
			bytes_forget(&host->certificates[k].key);
		}
		bytes_forget(&host->ca);
		bytes_forget(&host->crl);
		free(host->certificates);
		free(host->protocol_bytes);
	}
	for (unsigned i = 0; i < material->name_count; i++)
		free(material->names[i].name);
	free(material->names);
	free(material->hosts);
	material->magic = 0;
	free(material);
}

struct tls_material *tls_material_read(struct tls_thread *thread, const struct tls_listener_files *files,
	struct tls_fault *fault)
{
	struct tls_material *material = calloc(1, sizeof *material);

	check(material && files->host_count > 0);
	*fault = (struct tls_fault){ 0 };
	*material = (struct tls_material){
		.magic = MATERIAL_MAGIC,
		.references = 1,
		.hosts = calloc(files->host_count, sizeof *material->hosts),
		.host_count = files->host_count,
		.strict = files->strict,
		.tickets = files->tickets,
		.version_min = files->version_min,
		.version_max = files->version_max,
		.ticket_lifetime_s = files->ticket_lifetime_s,
	};
	check(material->hosts);
	for (unsigned i = 0; i < files->host_count; i++) {
		if (!host_read(thread, material, i, files, fault)) {
			material_free(material);
			return NULL;
		}
	}
	if (material->name_count > 0)
		qsort(material->names, material->name_count, sizeof *material->names, name_compare);
	if (!names_check(material, fault)) {
		material_free(material);
		return NULL;
	}
	return material;
}

struct tls_material *tls_material_take(struct tls_material *material)
{
	check(material->magic == MATERIAL_MAGIC);
	atomic_fetch_add_explicit(&material->references, 1, memory_order_relaxed);
	return material;
}

void tls_material_put(struct tls_material *material)
{
	if (!material)
		return;
	check(material->magic == MATERIAL_MAGIC);
	if (atomic_fetch_sub_explicit(&material->references, 1, memory_order_acq_rel) == 1)
		material_free(material);
}
