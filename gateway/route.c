/* See gateway/route.h. */
#include "gateway/route.h"

#include "gateway/verdict.h"

#include <string.h>

/* "*.example.org" is every name below example.org, and not example.org itself. */
static bool host_matches(const char *host, struct http_text host_name)
{
	size_t size;

	if (!host)
		return true;
	if (host[0] != '*')
		return http_text_is_nocase(host_name, host);
	host++;
	size = strlen(host);
	return host_name.size > size &&
	       http_text_is_nocase((struct http_text){ host_name.bytes + host_name.size - size, size }, host);
}

static bool prefix_matches(const char *prefix, struct http_text path)
{
	size_t size = strlen(prefix);

	if (path.size < size || memcmp(path.bytes, prefix, size) != 0)
		return false;
	return path.size == size || prefix[size - 1] == '/' || path.bytes[size] == '/';
}

/* RFC 3986 §3.3: "the semicolon (";") and equals ("=") reserved characters are often used to delimit parameters and parameter
 * values applicable to that segment." To a service that takes them off, as those made of servlets do, /monitor;a and /;/monitor
 * are /monitor; some open the escape first. Here a path is read as such a service reads it, byte by byte. */
struct bare {
	struct http_text rest;
	char before;
};

/* Of the parameters that begin here, up to the end of their segment; 0: none do. */
static size_t parameters_size(struct http_text rest)
{
	const char *slash;

	if (rest.bytes[0] != ';' && !(rest.size >= 3 && memcmp(rest.bytes, "%3B", 3) == 0))
		return 0;
	slash = memchr(rest.bytes, '/', rest.size);
	return slash ? (size_t)(slash - rest.bytes) : rest.size;
}

/* The next byte; false: that was all. Parameters are passed over, and the empty segments that they leave. */
static bool bare_next(struct bare *bare, char *c)
{
	while (bare->rest.size > 0) {
		size_t parameters = parameters_size(bare->rest), used = parameters > 0 ? parameters : 1;

		*c = bare->rest.bytes[0];
		bare->rest.bytes += used;
		bare->rest.size -= used;
		if (parameters > 0 || (*c == '/' && bare->before == '/'))
			continue;
		bare->before = *c;
		return true;
	}
	return false;
}

static bool bare_matches(const struct config_route *route, struct http_text path)
{
	struct bare bare = { .rest = path };
	const char *wanted = route->path;
	char c;

	for (; *wanted; wanted++)
		if (!bare_next(&bare, &c) || c != *wanted)
			return false;
	if (!bare_next(&bare, &c))
		return true;
	return route->match == CONFIG_MATCH_PREFIX && (c == '/' || wanted[-1] == '/');
}

static bool path_matches(const struct config_route *route, struct http_text path)
{
	switch (route->match) {
	case CONFIG_MATCH_ANY:
		return true;
	case CONFIG_MATCH_PATH:
		return http_text_is(path, route->path);
	case CONFIG_MATCH_PREFIX:
		return prefix_matches(route->path, path);
	}
	return false;
}

bool route_matches(const struct config_route *route, struct http_text host_name, struct http_text path)
{
	if (!host_matches(route->host, host_name))
		return false;
	if (path_matches(route, path))
		return true;
	/* Who may come in is not left to how the service reads paths. A route that is open to all keeps to what was written: with a
	 * wider reading of it, in front of a protected one, more would be open. */
	return route->client_count > 0 && bare_matches(route, path);
}

/* ---- clients ---- */

/* RFC 4343: names of the DNS are compared without regard to the case of ASCII letters. A wildcard is one label, and neither
 * the name itself nor what lies deeper (RFC 9525 §6.3); a "*" that the certificate itself has is no label of a client. */
static bool dns_matches(const char *wanted, struct http_text name)
{
	const char *dot;

	if (wanted[0] != '*')
		return http_text_is_nocase(name, wanted);
	dot = memchr(name.bytes, '.', name.size);
	if (!dot || dot == name.bytes || memchr(name.bytes, '*', (size_t)(dot - name.bytes)))
		return false;
	return http_text_is_nocase((struct http_text){ dot, name.size - (size_t)(dot - name.bytes) }, wanted + 1);
}

/* RFC 5280 §7.5: the part in front of the "@" byte for byte, the host behind it in any case of letters. */
static bool email_matches(const char *wanted, struct http_text name)
{
	size_t local = (size_t)(strrchr(wanted, '@') - wanted) + 1;

	return name.size > local && memcmp(name.bytes, wanted, local) == 0 &&
	       http_text_is_nocase((struct http_text){ name.bytes + local, name.size - local }, wanted + local);
}

/* One name of a certificate, with its kind in front. */
static bool name_matches(const struct config_client *wanted, const char *name)
{
	static const char *const prefixes[] = {
		[CONFIG_CLIENT_DNS] = "DNS:",
		[CONFIG_CLIENT_EMAIL] = "EMAIL:",
		[CONFIG_CLIENT_URI] = "URI:",
	};
	size_t prefix = strlen(prefixes[wanted->kind]);
	struct http_text text;

	/* A kind is compared with its own alone: a URI may be written like a DNS name. */
	if (strncmp(name, prefixes[wanted->kind], prefix) != 0)
		return false;
	text = http_text_of(name + prefix);
	switch (wanted->kind) {
	case CONFIG_CLIENT_DNS:
		return dns_matches(wanted->text, text);
	case CONFIG_CLIENT_EMAIL:
		return email_matches(wanted->text, text);
	default:
		/* RFC 3986 §6.2.1: exactly. To normalise URIs of any scheme is to guess what its owner meant. */
		return http_text_is(text, wanted->text);
	}
}

static bool client_matches(const struct config_client *wanted, const struct tls_identity *client)
{
	if (wanted->kind == CONFIG_CLIENT_ANY)
		return true;
	if (wanted->kind == CONFIG_CLIENT_SUBJECT)
		return client->subject && strcmp(client->subject, wanted->text) == 0;
	for (unsigned i = 0; i < client->name_count; i++)
		if (name_matches(wanted, client->names[i]))
			return true;
	return false;
}

bool route_admits(const struct config_route *route, const struct tls_identity *client)
{
	if (route->client_count == 0)
		return true;
	for (unsigned i = 0; client && i < route->client_count; i++)
		if (client_matches(&route->clients[i], client))
			return true;
	return false;
}

/* ---- the whole ---- */

const struct config_route *route_find(const struct config *config, struct http_text host_name, struct http_text path,
	const struct tls_identity *client, const struct reason **refusal)
{
	bool protected = false;

	*refusal = &ROUTE_NONE;
	for (unsigned i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];

		if (!route_matches(route, host_name, path))
			continue;
		/* Open to all, and behind a route that is not: what that one protects is not given away here. */
		if (protected && route->client_count == 0)
			return NULL;
		if (route_admits(route, client))
			return route;
		protected = true;
		*refusal = client ? &CLIENT_CERTIFICATE_REFUSED : &CLIENT_CERTIFICATE_MISSING;
	}
	return NULL;
}
