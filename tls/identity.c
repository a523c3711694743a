/* See tls/identity.h. */
#include "tls/identity.h"

#include "mbedtls/x509_crt.h"

#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES_MAX 64

/* ---- subject ---- */

/* The end of an attribute as mbedTLS prints it: ", " and " + " stand between attributes, and cannot stand within one, where
 * "," and "+" have a backslash before them. */
static const char *attribute_end(const char *at)
{
	while (*at && *at != ',' && !(at[0] == ' ' && at[1] == '+'))
		at += at[0] == '\\' && at[1] ? 2 : 1;
	return at;
}

/* Ended by "\ ", it would lose its last character to everyone who trims; "\20" is the same to RFC 4514. */
static char *attribute_copy(char *to, const char *from, const char *end)
{
	bool blank = end - from >= 2 && end[-1] == ' ' && end[-2] == '\\';
	size_t size = (size_t)(end - from) - (blank ? 1 : 0);

	memcpy(to, from, size);
	to += size;
	if (blank) {
		memcpy(to, "20", 2);
		to += 2;
	}
	return to;
}

/* mbedTLS prints the parts in the order of the certificate, and with blanks between them. RFC 4514 §2.1: "the output consists
 * of the string encodings of each RelativeDistinguishedName in the RDNSequence (according to Section 2.2), starting with the
 * last element of the sequence and moving backwards toward the first." So do openssl with -nameopt RFC2253 and nginx, and like
 * them we turn the parts of one RDN as well, whose order means nothing. */
static bool subject_turn(const char *printed, char *to)
{
	const char *attributes[ATTRIBUTES_MAX];
	unsigned count = 0;
	const char *end;

	for (const char *at = printed;; at = end + (*end == ',' ? 2 : 3)) { /* over ", " or " + " */
		if (count == ATTRIBUTES_MAX)
			return false;
		attributes[count++] = at;
		end = attribute_end(at);
		if (!*end)
			break;
	}
	while (count-- > 0) {
		to = attribute_copy(to, attributes[count], attribute_end(attributes[count]));
		/* What stands in front of it there, stands behind it here. */
		*to++ = count == 0 ? '\0' : attributes[count][-2] == '+' ? '+' : ',';
	}
	return true;
}

/* `to` holds TLS_IDENTITY_SUBJECT_BYTES_MAX + 1. Each separator shrinks by a byte at least, and each "\ " before one or at the
 * end grows by one, so the text as turned is at most a byte longer than as printed. */
static bool subject_print(const mbedtls_x509_crt *certificate, char *to)
{
	char printed[TLS_IDENTITY_SUBJECT_BYTES_MAX];

	/* It refuses a NUL in a value, and a value too long for it. */
	return certificate->subject.oid.p && mbedtls_x509_dn_gets(printed, sizeof printed, &certificate->subject) > 0 &&
	       subject_turn(printed, to);
}

/* ---- names ---- */

/* RFC 5280 §4.2.1.6: rfc822Name [1], dNSName [2], uniformResourceIdentifier [6], each an implicit IA5String. */
static const struct kind {
	int tag;
	const char *prefix;
} KINDS[] = {
	{ MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_RFC822_NAME, "EMAIL:" },
	{ MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME, "DNS:" },
	{ MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER, "URI:" },
};

/* NULL: the entry is of another kind, or left out. */
static const struct kind *name_kind(const mbedtls_x509_buf *entry)
{
	if (!entry->p || entry->len == 0 || entry->len > TLS_IDENTITY_NAME_BYTES_MAX)
		return NULL;
	for (size_t i = 0; i < entry->len; i++)
		if (entry->p[i] < 0x20 || entry->p[i] > 0x7e)
			return NULL;
	for (unsigned i = 0; i < array_count(KINDS); i++)
		if (entry->tag == KINDS[i].tag)
			return &KINDS[i];
	return NULL;
}

/* How many names there are, and how many bytes their texts need. */
static unsigned names_measure(const mbedtls_x509_crt *certificate, size_t *bytes)
{
	unsigned count = 0;

	for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; at && count < TLS_IDENTITY_NAMES_MAX; at = at->next) {
		const struct kind *kind = name_kind(&at->buf);

		if (!kind)
			continue;
		*bytes += strlen(kind->prefix) + at->buf.len + 1;
		count++;
	}
	return count;
}

static char *names_fill(struct tls_identity *identity, unsigned count, const mbedtls_x509_crt *certificate, char *to)
{
	for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; at && identity->name_count < count; at = at->next) {
		const struct kind *kind = name_kind(&at->buf);

		if (!kind)
			continue;
		identity->names[identity->name_count++] = to;
		to = stpcpy(to, kind->prefix);
		memcpy(to, at->buf.p, at->buf.len);
		to += at->buf.len;
		*to++ = '\0';
	}
	return to;
}

/* ---- the whole ---- */

/* One block of memory: pointers, then the texts, then the certificate. */
struct tls_identity *tls_identity_of(const mbedtls_x509_crt *certificate)
{
	static const char digits[] = "0123456789ABCDEF";
	char subject[TLS_IDENTITY_SUBJECT_BYTES_MAX + 1];
	bool has_subject = subject_print(certificate, subject);
	size_t texts = certificate->serial.len * 2 + 1 + (has_subject ? strlen(subject) + 1 : 0);
	unsigned count = names_measure(certificate, &texts);
	struct tls_identity *identity = malloc(sizeof *identity + count * sizeof(char *) + texts + certificate->raw.len);

	check(identity);
	*identity = (struct tls_identity){ .names = (char **)(void *)(identity + 1) };

	char *to = names_fill(identity, count, certificate, (char *)(identity->names + count));

	identity->serial = to;
	for (size_t i = 0; i < certificate->serial.len; i++) {
		*to++ = digits[certificate->serial.p[i] >> 4];
		*to++ = digits[certificate->serial.p[i] & 15];
	}
	*to++ = '\0';
	if (has_subject) {
		identity->subject = to;
		to = stpcpy(to, subject) + 1;
	}
	identity->der = (uint8_t *)to;
	identity->der_bytes = certificate->raw.len;
	memcpy(identity->der, certificate->raw.p, certificate->raw.len);
	return identity;
}

void tls_identity_free(struct tls_identity *identity)
{
	free(identity);
}
