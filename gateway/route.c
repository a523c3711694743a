/* See gateway/route.h. */
#include "gateway/route.h"

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

bool route_matches(const struct config_route *route, struct http_text host_name, struct http_text path)
{
	if (!host_matches(route->host, host_name))
		return false;
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

const struct config_route *route_find(const struct config *config, struct http_text host_name, struct http_text path)
{
	for (unsigned i = 0; i < config->route_count; i++)
		if (route_matches(&config->routes[i], host_name, path))
			return &config->routes[i];
	return NULL;
}
