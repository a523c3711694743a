/* See gateway/http/client_cert.h. */
#include "gateway/http/client_cert.h"

#include "gateway/http/character.h"

static const struct http_text CERT = { "Client-Cert", sizeof "Client-Cert" - 1 };
static const struct http_text SUBJECT = { "X-Client-Cert-Subject", sizeof "X-Client-Cert-Subject" - 1 };
static const struct http_text NAMES = { "X-Client-Cert-SAN", sizeof "X-Client-Cert-SAN" - 1 };

/* RFC 9440 §4 asks a proxy to remove or overwrite what came under these names, and of Client-Cert-Chain, which we do not
 * send, only removing is left. */
bool http_client_cert_is(struct http_text name)
{
	static const char ours[] = "x-client-cert";
	const size_t size = sizeof ours - 1;

	if (name.size < CERT.size)
		return false;
	if (http_text_same_nocase(name, CERT) || http_text_is_nocase(name, "client-cert-chain"))
		return true;
	return name.size >= size && http_text_is_nocase((struct http_text){ name.bytes, size }, ours) &&
	       (name.size == size || name.bytes[size] == '-');
}

static size_t line_size(struct http_text name, size_t value_size)
{
	return name.size + 2 + value_size + 2; /* ": " and CRLF */
}

/* RFC 8941 §4.1.8: ":", the bytes in base64 with their padding, ":". */
static struct http_text byte_sequence(struct arena *arena, const uint8_t *bytes, size_t n)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t size = 2 + (n + 2) / 3 * 4;
	char *text = arena_take(arena, size), *to = text;

	*to++ = ':';
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned three = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0u);

		*to++ = letters[three >> 18];
		*to++ = letters[three >> 12 & 63];
		*to++ = left > 1 ? letters[three >> 6 & 63] : '=';
		*to++ = left > 2 ? letters[three & 63] : '=';
	}
	*to++ = ':';
	check((size_t)(to - text) == size);
	return (struct http_text){ text, size };
}

/* RFC 3986 §2.2, §2.3: the characters of a URI, without the comma, which separates our names. */
static bool stays(char c)
{
	return http_is(c, HTTP_IS_UNRESERVED) || (c && strchr(":/?#[]@!$&'()*+;=", c));
}

/* The size of a name when encoded; `to` NULL: only counted. */
static size_t name_encode(char *to, const char *name)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t size = 0;

	for (; *name; name++) {
		uint8_t byte = (uint8_t)*name;

		if (to && stays(*name)) {
			to[size] = *name;
		} else if (to) {
			to[size] = '%';
			to[size + 1] = digits[byte >> 4];
			to[size + 2] = digits[byte & 15];
		}
		size += stays(*name) ? 1 : 3;
	}
	return size;
}

static struct http_text names_list(struct arena *arena, const struct tls_identity *client)
{
	char *text = arena_take(arena, HTTP_CLIENT_NAMES_BYTES_MAX);
	size_t size = 0;

	for (unsigned i = 0; i < client->name_count; i++) {
		size_t separator = size ? 2 : 0, n = name_encode(NULL, client->names[i]);

		if (line_size(NAMES, size + separator + n) > HTTP_CLIENT_NAMES_BYTES_MAX)
			continue;
		memcpy(text + size, ", ", separator);
		size += separator;
		size += name_encode(text + size, client->names[i]);
	}
	return (struct http_text){ text, size };
}

/* It is printable already (tls/identity.h), and its blanks and commas are a part of it; this is the second lock. */
static bool subject_is_safe(const char *subject)
{
	for (; *subject; subject++)
		if (*subject < 0x20 || *subject > 0x7e)
			return false;
	return true;
}

void http_client_cert_add(struct http_head *head, const struct tls_identity *client)
{
	size_t certificate = 2 + (client->der_bytes + 2) / 3 * 4;
	struct http_text names;

	if (client->der_bytes > 0 && line_size(CERT, certificate) <= HTTP_CLIENT_CERT_BYTES_MAX)
		http_add(head, CERT, byte_sequence(head->arena, client->der, client->der_bytes));
	if (client->subject && subject_is_safe(client->subject) && strlen(client->subject) <= TLS_IDENTITY_SUBJECT_BYTES_MAX)
		http_add(head, SUBJECT, (struct http_text){ arena_copy(head->arena, client->subject, strlen(client->subject)),
		                                            strlen(client->subject) });
	if (client->name_count == 0)
		return;
	names = names_list(head->arena, client);
	if (names.size > 0)
		http_add(head, NAMES, names);
}
