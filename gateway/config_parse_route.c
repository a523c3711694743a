/* gateway/config_parse_route.c — the section `routes`: which requests go where.
 *
 * The first route that matches wins, so the order is part of the meaning, and a route behind one that takes all of it is
 * dead text: legal, and surely not what its author wants. That is a warning. It is judged by what the routes match, by host
 * and by path, and never by what they do. */
#include "gateway/config_parse_word.h"
#include "ring/base.h"

#include <string.h>

static void host_read(
	struct parse *parse, unsigned place, const char *word, struct config_route *route)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
	static const char brackets[] = "[0123456789abcdef:.]";
	char *host = (char *)parse_word(parse, word); /* ours until the tree is given away */
	const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;

	for (char *at = host; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	}
	route->host = host;

	size_t length = strlen(name);
	bool ipv6 = name == host && name[0] == '[' && name[length - 1] == ']' &&
		strspn(name, brackets) == length;
	bool dotted =
		name[0] == '.' || strstr(name, "..") || (length > 0 && name[length - 1] == '.');

	if (ipv6 || (length > 0 && length <= 253 && strspn(name, allowed) == length && !dotted))
		return;
	if (strchr(name, ':') && name[0] != '[')
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the host %s holds a port, which is not matched; remove it", quote(word));
	else if (strchr(name, '*'))
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the host %s has its wildcard elsewhere than in front; write *.example.org",
			quote(word));
	else
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s is no host; write a name such as edc.example.org or *.example.org",
			quote(word));
}

static void matcher_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];
	const char *key = written->path ? "path" : "prefix";
	const char *path = written->path ? written->path : written->prefix;

	route->path = "";
	if (written->host)
		host_read(parse, parse_key(parse, entry, "host"), written->host, route);
	if (written->path && written->prefix)
		key_error(parse, parse_key(parse, entry, "prefix"), &CONFIG_KEY_CONFLICT,
			"route %u has both \"path\" and \"prefix\"; keep the one that is meant",
			i + 1);
	if (path && parse_url_path(parse, parse_key(parse, entry, key), key, path)) {
		route->match = written->path ? CONFIG_MATCH_PATH : CONFIG_MATCH_PREFIX;
		route->path = parse_word(parse, path);
	}
	if (!path && !written->host && !parse_shaky(parse, entry))
		value_error(parse, entry, &CONFIG_KEY_MISSING,
			"route %u matches nothing; give \"path\", \"prefix\" or \"host\", such as prefix: /",
			i + 1);
}

static void upstream_find(struct parse *parse, unsigned i, unsigned place, const char *name,
	struct config_route *route)
{
	const struct config *config = parse->config;
	char defined[256] = "";
	size_t used = 0;

	for (unsigned j = 0; j < config->upstream_count; j++) {
		const char *known = config->upstreams[j].name;

		if (!known)
			continue;
		if (strcmp(known, name) == 0) {
			route->upstream = &config->upstreams[j];
			return;
		}
		if (used >= sizeof defined)
			continue;
		used += (size_t)snprintf(
			defined + used, sizeof defined - used, "%s%s", used ? ", " : "", known);
	}
	if (used >= sizeof defined)
		memcpy(defined + sizeof defined - 4, "...", 4);
	if (used == 0)
		value_error(parse, place, &CONFIG_UPSTREAM_UNKNOWN,
			"route %u names the upstream %s, but none is defined; define it under \"upstreams\"",
			i + 1, quote(name));
	else
		value_error(parse, place, &CONFIG_UPSTREAM_UNKNOWN,
			"route %u names the upstream %s, which is not defined; defined are: %s",
			i + 1, quote(name), defined);
}

static void live_read(struct parse *parse, const struct written_route *written, unsigned entry,
	struct config_route *route)
{
	route->heartbeat_ms = 30000;
	parse_duration(parse, entry, "heartbeat", written->heartbeat, &route->heartbeat_ms);
	if (written->idle_reminder && strcmp(written->idle_reminder, "off") != 0)
		parse_duration(parse, entry, "idle_reminder", written->idle_reminder,
			&route->idle_reminder_ms);
}

/* `heartbeat: 30s` beside `proxy: edc` would look as if it did something. */
static void live_key_refuse(
	struct parse *parse, unsigned i, unsigned entry, const char *key, const char *word)
{
	if (word)
		key_error(parse, parse_key(parse, entry, key), &CONFIG_KEY_CONFLICT,
			"route %u has \"%s\", which belongs to \"serve: live\" alone; remove it",
			i + 1, key);
}

static void route_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];

	route->line = parse_place(parse, entry)->line;
	matcher_read(parse, i, entry);

	if (written->serve && written->proxy)
		key_error(parse, parse_key(parse, entry, "proxy"), &CONFIG_KEY_CONFLICT,
			"route %u has both \"serve\" and \"proxy\"; keep the one that is meant",
			i + 1);
	else if (!written->serve && !written->proxy && !parse_shaky(parse, entry))
		value_error(parse, entry, &CONFIG_KEY_MISSING,
			"route %u says not what to do; give \"serve\" or \"proxy\"", i + 1);
	route->target = parse_choice(parse, entry, "serve", written->serve, config_target_word,
		CONFIG_PROXY + 1, CONFIG_PROXY);
	if (written->proxy)
		upstream_find(parse, i, parse_key(parse, entry, "proxy"), written->proxy, route);

	route->body_bytes_max = parse->config->limits.body_bytes_max;
	parse_number(parse, entry, "body_bytes_max", written->body_bytes_max, KIND_BODY, 1,
		CONFIG_SIZE_BYTES_MAX, &route->body_bytes_max);

	if (route->target == CONFIG_LIVE) {
		live_read(parse, written, entry, route);
	} else if (written->proxy || route->target != CONFIG_PROXY) {
		/* Not where the word of `serve` was wrong: it may have been meant as live. */
		live_key_refuse(parse, i, entry, "heartbeat", written->heartbeat);
		live_key_refuse(parse, i, entry, "idle_reminder", written->idle_reminder);
	}
}

static bool host_covers(const char *wide, const char *narrow)
{
	size_t wide_length, narrow_length;

	if (!wide || (narrow && strcmp(wide, narrow) == 0))
		return true;
	if (!narrow || wide[0] != '*')
		return false;
	wide++; /* ".example.org" */
	wide_length = strlen(wide);
	narrow_length = strlen(narrow);
	return narrow_length > wide_length &&
		strcmp(narrow + narrow_length - wide_length, wide) == 0;
}

static bool path_covers(const struct config_route *wide, const struct config_route *narrow)
{
	size_t length = strlen(wide->path);

	if (wide->match == CONFIG_MATCH_ANY)
		return true;
	/* Only OPTIONS * is left for a route of a whole host behind "prefix: /"; that is not what its author wants. */
	if (narrow->match == CONFIG_MATCH_ANY)
		return wide->match == CONFIG_MATCH_PREFIX && strcmp(wide->path, "/") == 0;
	if (wide->match == CONFIG_MATCH_PATH)
		return narrow->match == CONFIG_MATCH_PATH && strcmp(wide->path, narrow->path) == 0;
	if (strncmp(wide->path, narrow->path, length) != 0)
		return false;
	return narrow->path[length] == '\0' || narrow->path[length] == '/' ||
		wide->path[length - 1] == '/';
}

static void route_reached(struct parse *parse, unsigned i, unsigned entry)
{
	const struct config_route *routes = parse->config->routes;

	for (unsigned j = 0; j < i; j++) {
		if (!host_covers(routes[j].host, routes[i].host) ||
			!path_covers(&routes[j], &routes[i]))
			continue;
		value_fault(parse, entry, CONFIG_WARNING, &CONFIG_ROUTE_UNREACHED,
			"route %u is never reached, because route %u in line %u takes all of it; move it before that one or remove it",
			i + 1, j + 1, routes[j].line);
		return;
	}
}

void config_parse_routes(struct parse *parse)
{
	unsigned count = parse->written->routes_count;
	unsigned list = config_place_key(&parse->places, 0, "routes");
	unsigned first = list ? config_place_first(&parse->places, list) : 0;
	unsigned entry = first;
	unsigned errors_before = parse->faults->error_count;

	parse->config->routes = parse_piece(parse, count, sizeof *parse->config->routes);
	parse->config->route_count = count;
	for (unsigned i = 0; i < count; i++, entry = parse_next(parse, entry))
		route_read(parse, i, entry);

	/* A route that could not be read matches more or less than is meant; nothing is concluded from it. */
	if (parse->faults->error_count > errors_before)
		return;
	entry = first;
	for (unsigned i = 0; i < count; i++, entry = parse_next(parse, entry))
		route_reached(parse, i, entry);
}
