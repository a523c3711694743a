/* gateway/config_parse_tls.c — the section `tls` of a listener: certificates, hosts by name, client certificates.
 *
 * What a host leaves out it has from the listener; that is settled here, so that nobody behind asks two places. What is in
 * the files is judged by tls; here only whether they can be had, and whether the names say which host is meant: a name that
 * two hosts of a listener have would be given to one of them by chance. */
#include "gateway/config_parse_word.h"
#include "ring/base.h"

#include <stdlib.h>
#include <string.h>

static const char *const alpn_known[] = { "http/1.1" };

/* Where none is written the outputs stay as they are. */
static void alpn_read(struct parse *parse, char **written, unsigned written_count, unsigned list,
	const char ***alpn, unsigned *alpn_count)
{
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;
	const char **known = parse_piece(parse, written_count, sizeof *known);
	unsigned count = 0;

	if (written_count == 0)
		return;
	for (unsigned i = 0; i < written_count; i++, entry = parse_next(parse, entry)) {
		const char *word = written[i];
		bool repeated = false;

		for (unsigned j = 0; j < i; j++)
			repeated |= strcmp(written[j], word) == 0;
		if (repeated)
			value_error(parse, entry, &CONFIG_DUPLICATE,
				"the protocol %s is listed twice; remove one", quote(word));
		else if (strcmp(word, "h2") == 0)
			value_error(parse, entry, &CONFIG_VALUE_BAD,
				"h2 is not spoken by this version; write http/1.1");
		else if (strcmp(word, alpn_known[0]) != 0)
			value_error(parse, entry, &CONFIG_VALUE_BAD,
				"%s is no protocol of ours; known are: http/1.1", quote(word));
		else
			known[count++] = alpn_known[0];
	}
	*alpn = known;
	*alpn_count = count;
}

static void certificates_read(struct parse *parse, const struct written_certificate *written,
	unsigned count, unsigned mapping, const char *what, struct config_certificate **certificates)
{
	unsigned list = config_place_key(&parse->places, mapping, "certificates");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;
	struct config_certificate *read = parse_piece(parse, count, sizeof *read);

	if (count == 0 && !parse_shaky(parse, mapping))
		key_error(parse, list ? list : mapping, &CONFIG_KEY_MISSING,
			"%s has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]",
			what);
	*certificates = read;
	for (unsigned i = 0; i < count; i++, entry = parse_next(parse, entry)) {
		const struct written_certificate *pair = &written[i];

		if (pair->certificate)
			read[i].certificate =
				parse_readable_file(parse, entry, "certificate", pair->certificate);
		else if (!parse_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING,
				"this entry has no \"certificate\"; give the file of the chain");
		if (pair->key)
			read[i].key = parse_readable_file(parse, entry, "key", pair->key);
		else if (!parse_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING,
				"this entry has no \"key\"; give the file of the private key");
	}
}

static void client_certificates_read(struct parse *parse,
	const struct written_client_certificates *written, unsigned mapping,
	struct config_client_certificates *asked)
{
	uint64_t depth = 1;

	*asked = (struct config_client_certificates){ .required = true };
	if (written->ca)
		asked->ca = parse_readable_file(parse, mapping, "ca", written->ca);
	else if (written->crl)
		key_error(parse, parse_key(parse, mapping, "crl"), &CONFIG_KEY_MISSING,
			"there is a \"crl\" and no \"ca\" whose certificates it could revoke; give ca: tls/clients-ca.pem");
	else if (!parse_shaky(parse, mapping))
		key_error(parse, mapping, &CONFIG_KEY_MISSING,
			"client_certificates has no \"ca\"; give the file of those who may have issued them, ca: tls/clients-ca.pem");
	if (written->crl)
		asked->crl = parse_readable_file(parse, mapping, "crl", written->crl);
	parse_number(parse, mapping, "depth", written->depth, KIND_COUNT, 0, CONFIG_DEPTH_MAX,
		&depth);
	asked->depth = (unsigned)depth;
	parse_bool(parse, mapping, "required", written->required, &asked->required);
}

/* A list rather than a least version, because that is what is asked for in audits; with two there can be no gap in it. */
static void versions_read(struct parse *parse, const struct written_tls *written, unsigned mapping,
	struct config_tls *tls)
{
	unsigned list = config_place_key(&parse->places, mapping, "versions");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;
	unsigned seen = 0;

	tls->version_min = CONFIG_TLS_1_2;
	tls->version_max = CONFIG_TLS_1_3;
	if (list && written->versions_count == 0)
		key_error(parse, list, &CONFIG_VALUE_BAD,
			"versions is empty; write [ \"1.2\", \"1.3\" ], or remove it for both");
	for (unsigned i = 0; i < written->versions_count; i++, entry = parse_next(parse, entry)) {
		const char *word = written->versions[i];
		unsigned version = 0;

		while (config_tls_version_word(version) &&
			strcmp(config_tls_version_word(version), word) != 0)
			version++;
		if (!config_tls_version_word(version))
			value_error(parse, entry, &CONFIG_VALUE_BAD,
				"%s is no version of TLS that is spoken here; known are: 1.2, 1.3",
				quote(word));
		else if (seen & 1u << version)
			value_error(parse, entry, &CONFIG_DUPLICATE,
				"the version %s is listed twice; remove one", quote(word));
		else
			seen |= 1u << version;
	}
	if (seen == 1u << CONFIG_TLS_1_2)
		tls->version_max = CONFIG_TLS_1_2;
	else if (seen == 1u << CONFIG_TLS_1_3)
		tls->version_min = CONFIG_TLS_1_3;
}

static void tls_host_read(struct parse *parse, const struct written_host *written, unsigned entry,
	unsigned number, const struct config_tls *tls, struct config_host *host)
{
	unsigned names = config_place_key(&parse->places, entry, "names");
	unsigned name = names ? config_place_first(&parse->places, names) : 0;
	char what[32];

	snprintf(what, sizeof what, "host %u", number);
	host->line = parse_place(parse, entry)->line;
	host->names = parse_piece(parse, written->names_count, sizeof *host->names);
	host->name_count = written->names_count;
	for (unsigned i = 0; i < written->names_count; i++, name = parse_next(parse, name)) {
		parse_host_name(parse, name, written->names[i], "the name");
		host->names[i] = parse_word_lower(parse, written->names[i]);
	}
	certificates_read(parse, written->certificates, written->certificates_count, entry, what,
		&host->certificates);
	host->certificate_count = written->certificates_count;

	host->alpn = tls->alpn;
	host->alpn_count = tls->alpn_count;
	alpn_read(parse, written->alpn, written->alpn_count,
		config_place_key(&parse->places, entry, "alpn"), &host->alpn, &host->alpn_count);
	host->client_certificates = tls->client_certificates;
	if (written->client_certificates)
		client_certificates_read(parse, written->client_certificates,
			parse_key(parse, entry, "client_certificates"), &host->client_certificates);
}

/* ---- no name twice ---- */

struct named {
	const char *name;
	unsigned host;
	unsigned place; /* places are numbered in the order of the file */
};

static int named_compare(const void *a, const void *b)
{
	const struct named *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : (left->place > right->place) - (left->place < right->place);
}

/* Sorted, because 1024 hosts of 64 names are too many for each to be compared with each. */
static void names_differ(struct parse *parse, const struct config_tls *tls, unsigned list)
{
	size_t count = 0, at = 0;
	struct named *all;

	for (unsigned i = 0; i < tls->host_count; i++)
		count += tls->hosts[i].name_count;
	if (count < 2)
		return;
	all = malloc(count * sizeof *all);
	if (!all) {
		config_fault_add(parse->faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s",
			CONFIG_MEMORY.sentence);
		return;
	}

	unsigned entry = config_place_first(&parse->places, list);

	for (unsigned i = 0; i < tls->host_count; i++, entry = parse_next(parse, entry)) {
		unsigned names = config_place_key(&parse->places, entry, "names");
		unsigned place = names ? config_place_first(&parse->places, names) : 0;

		for (unsigned j = 0; j < tls->hosts[i].name_count; j++) {
			all[at++] = (struct named){ tls->hosts[i].names[j], i + 1, place };
			place = parse_next(parse, place);
		}
	}
	qsort(all, count, sizeof *all, named_compare);

	const struct named *first = &all[0];

	for (at = 1; at < count; at++) {
		if (strcmp(first->name, all[at].name) != 0) {
			first = &all[at];
			continue;
		}
		value_error(parse, all[at].place, &CONFIG_DUPLICATE,
			"the name %s of host %u is a name of host %u already, at %u:%u; keep one of them",
			quote(all[at].name), all[at].host, first->host,
			parse_place(parse, first->place)->line,
			parse_place(parse, first->place)->column);
	}
	free(all);
}

/* ---- the whole ---- */

void config_parse_tls(struct parse *parse, const struct written_tls *written, unsigned place,
	struct config_tls *tls)
{
	unsigned hosts = config_place_key(&parse->places, place, "hosts");
	unsigned entry = hosts ? config_place_first(&parse->places, hosts) : 0;

	certificates_read(parse, written->certificates, written->certificates_count, place, "tls",
		&tls->certificates);
	tls->certificate_count = written->certificates_count;
	tls->alpn = parse_piece(parse, 1, sizeof *tls->alpn);
	tls->alpn[0] = alpn_known[0];
	tls->alpn_count = 1;
	alpn_read(parse, written->alpn, written->alpn_count,
		config_place_key(&parse->places, place, "alpn"), &tls->alpn, &tls->alpn_count);
	versions_read(parse, written, place, tls);
	parse_bool(parse, place, "strict_sni", written->strict_sni, &tls->strict_sni);
	tls->tickets = true;
	parse_bool(parse, place, "tickets", written->tickets, &tls->tickets);
	if (written->client_certificates)
		client_certificates_read(parse, written->client_certificates,
			parse_key(parse, place, "client_certificates"), &tls->client_certificates);

	tls->hosts = parse_piece(parse, written->hosts_count, sizeof *tls->hosts);
	tls->host_count = written->hosts_count;
	for (unsigned i = 0; i < written->hosts_count; i++, entry = parse_next(parse, entry))
		tls_host_read(parse, &written->hosts[i], entry, i + 1, tls, &tls->hosts[i]);
	names_differ(parse, tls, hosts);
}

static size_t certificates_size(
	const struct written_certificate *written, unsigned count, size_t directory_length)
{
	size_t size = parse_piece_size(count * sizeof(struct config_certificate));

	for (unsigned i = 0; i < count; i++)
		size += parse_path_size(written[i].certificate, directory_length) +
			parse_path_size(written[i].key, directory_length);
	return size;
}

static size_t client_certificates_size(
	const struct written_client_certificates *written, size_t directory_length)
{
	return !written ? 0 : parse_path_size(written->ca, directory_length) +
			parse_path_size(written->crl, directory_length);
}

size_t config_tls_size(const struct written_tls *written, size_t directory_length)
{
	size_t size = certificates_size(
		written->certificates, written->certificates_count, directory_length);

	size += parse_piece_size(sizeof(char *)) +
		parse_piece_size(written->alpn_count * sizeof(char *));
	size += client_certificates_size(written->client_certificates, directory_length);
	size += parse_piece_size(written->hosts_count * sizeof(struct config_host));
	for (unsigned i = 0; i < written->hosts_count; i++) {
		const struct written_host *host = &written->hosts[i];

		size += parse_piece_size(host->names_count * sizeof(char *));
		for (unsigned j = 0; j < host->names_count; j++)
			size += parse_word_size(host->names[j]);
		size += certificates_size(
			host->certificates, host->certificates_count, directory_length);
		size += parse_piece_size(host->alpn_count * sizeof(char *));
		size += client_certificates_size(host->client_certificates, directory_length);
	}
	return size;
}
