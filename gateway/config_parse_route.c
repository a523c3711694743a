/* gateway/config_parse_route.c — the section `routes`: which requests go where.
 *
 * The first route that matches wins, so the order is part of the meaning, and a route behind one that takes all of it is
 * dead text: legal, and surely not what its author wants. That is a warning. It is judged by what the routes match, by host,
 * path and client, and never by what they do. */
#include "gateway/config_parse_word.h"
#include "ring/base.h"

#include <string.h>

static void host_read(
	struct parse *parse, unsigned place, const char *word, struct config_route *route)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
	static const char brackets[] = "[0123456789abcdef:.]";
	const char *host = parse_word_lower(parse, word);
	const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;

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

static void heartbeat_read(struct parse *parse, const struct written_route *written, unsigned entry,
	struct config_route *route)
{
	route->heartbeat_ms = 30000;
	parse_duration(parse, entry, "heartbeat", written->heartbeat, 1, CONFIG_DURATION_MS_MAX,
		&route->heartbeat_ms);
}

static void idle_reminder_read(struct parse *parse, const struct written_route *written, unsigned entry,
	struct config_route *route)
{
	if (written->idle_reminder && strcmp(written->idle_reminder, "off") != 0)
		parse_duration(parse, entry, "idle_reminder", written->idle_reminder, 1,
			CONFIG_DURATION_MS_MAX, &route->idle_reminder_ms);
}

/* `heartbeat: 30s` beside `proxy: edc` would look as if it did something. */
static void live_key_refuse(struct parse *parse, unsigned i, unsigned entry, const char *key,
	const char *word, const char *owners)
{
	if (word)
		key_error(parse, parse_key(parse, entry, key), &CONFIG_KEY_CONFLICT,
			"route %u has \"%s\", which belongs to %s; remove it",
			i + 1, key, owners);
}

/* ---- clients ---- */

/* What keeps `text` from being an e-mail address or a URI of a certificate; NULL: nothing. */
static const char *client_text_wrong(const char *text)
{
	if (strlen(text) > 255)
		return "is longer than 255 bytes, and longer names are not read from a certificate; shorten it";
	for (const char *at = text; *at; at++) {
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f)
			return "holds a blank or a character outside ASCII, which no such name of a certificate does; remove it";
		if (*at == '*')
			return "has a wildcard, and only DNS names may; write it in full";
	}
	return NULL;
}

static const char *uri_wrong(const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char *const prefixes[] = { "DNS:", "EMAIL:", "URI:" };
	const char *colon = strchr(word, ':');
	size_t scheme = (size_t)(colon - word);

	for (unsigned i = 0; i < array_count(prefixes); i++)
		if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0)
			return "has its kind in front; write the name alone";
	if (colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1))
		return "holds a port, which no certificate names; remove it";
	/* RFC 3986 §3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) */
	if (!word[0] || !strchr(letters, word[0]) || !colon[1] ||
		strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") !=
			scheme)
		return "is no URI; write one such as spiffe://example.org/site/7";
	return client_text_wrong(word);
}

/* RFC 4514 as tls/identity.c prints it. What it never prints would never be matched, and nobody would know why. */
static const char *subject_wrong(const char *subject)
{
	const char *equal = strchr(subject, '=');

	if (!equal || equal == subject)
		return "is no subject; write one such as subject:CN=Monitor 4,O=CRO";
	for (const char *at = subject; *at; at++) {
		if ((unsigned char)*at >= 0x7f)
			return "holds a character outside ASCII; write its bytes in UTF-8, as in subject:CN=M\\C3\\BCller";
		if (*at == '\\' && at[1])
			at++;
		else if (*at == ',' && at[1] == ' ')
			return "has a blank behind a comma; write it by RFC 4514, as in subject:CN=Monitor 4,O=CRO";
	}
	return NULL;
}

static const char *email_keep(struct parse *parse, unsigned place, const char *word)
{
	char *kept = (char *)parse_word(parse, word); /* ours until the tree is given away */
	char *domain = strrchr(kept, '@') + 1;
	const char *wrong = client_text_wrong(word);

	if (wrong || domain == kept + 1 || config_name_check(domain) != CONFIG_GOOD)
		value_error(parse, place, &CONFIG_VALUE_BAD, "the client %s %s", quote(word),
			wrong ? wrong : "is no e-mail address; write one such as cra@cro.example.org");
	for (; *domain; domain++) {
		if (*domain >= 'A' && *domain <= 'Z')
			*domain = (char)(*domain - 'A' + 'a');
	}
	return kept;
}

static void client_read(
	struct parse *parse, unsigned place, const char *word, struct config_client *client)
{
	static const char subject[] = "subject:";
	const char *wrong = NULL;

	if (strcmp(word, "*") == 0) {
		client->kind = CONFIG_CLIENT_ANY;
		client->text = parse_word(parse, word);
	} else if (strncmp(word, subject, sizeof subject - 1) == 0) {
		client->kind = CONFIG_CLIENT_SUBJECT;
		client->text = parse_word(parse, word + sizeof subject - 1);
		wrong = subject_wrong(client->text);
	} else if (strchr(word, ':')) {
		client->kind = CONFIG_CLIENT_URI;
		client->text = parse_word(parse, word);
		wrong = uri_wrong(word);
	} else if (strchr(word, '@')) {
		client->kind = CONFIG_CLIENT_EMAIL;
		client->text = email_keep(parse, place, word);
	} else {
		client->kind = CONFIG_CLIENT_DNS;
		client->text = parse_word_lower(parse, word);
		parse_host_name(parse, place, word, "the client");
	}
	if (wrong)
		value_error(parse, place, &CONFIG_VALUE_BAD, "the client %s %s", quote(word), wrong);
}

static bool clients_asked(const struct written *written)
{
	for (unsigned i = 0; i < written->listeners_count; i++) {
		const struct written_tls *tls = written->listeners[i].tls;

		if (tls && tls->client_certificates)
			return true;
		for (unsigned j = 0; tls && j < tls->hosts_count; j++)
			if (tls->hosts[j].client_certificates)
				return true;
	}
	return false;
}

static void clients_read(struct parse *parse, unsigned i, unsigned mapping)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];
	unsigned list = config_place_key(&parse->places, mapping, "client");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	if (!list)
		return;
	/* Read as "no condition" it would open the route to all, and its author meant the opposite. */
	if (written->client_count == 0)
		key_error(parse, list, &CONFIG_VALUE_BAD,
			"client is empty; name the clients that route %u is for, or remove it", i + 1);
	route->clients = parse_piece(parse, written->client_count, sizeof *route->clients);
	route->client_count = written->client_count;
	for (unsigned j = 0; j < written->client_count; j++, entry = parse_next(parse, entry)) {
		client_read(parse, entry, written->client[j], &route->clients[j]);
		for (unsigned k = 0; k < j; k++) {
			if (route->clients[k].kind != route->clients[j].kind ||
				strcmp(route->clients[k].text, route->clients[j].text) != 0)
				continue;
			value_error(parse, entry, &CONFIG_DUPLICATE,
				"the client %s is listed twice; remove one",
				quote(written->client[j]));
			break;
		}
	}
	if (written->client_count > 0 && !clients_asked(parse->written))
		value_fault(parse, list, CONFIG_WARNING, &CONFIG_CLIENT_UNASKED,
			"route %u wants a client certificate, but no listener asks for one; give tls.client_certificates",
			i + 1);
}

static void route_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];

	route->line = parse_place(parse, entry)->line;
	matcher_read(parse, i, entry);
	clients_read(parse, i, entry);

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

	config_parse_websocket(parse, i, entry);
	if (route->target == CONFIG_LIVE || route->target == CONFIG_COUNT)
		heartbeat_read(parse, written, entry, route);
	/* Not where the word of `serve` was wrong: it may have been meant as live. */
	else if (written->proxy || route->target != CONFIG_PROXY)
		live_key_refuse(parse, i, entry, "heartbeat", written->heartbeat,
			"\"serve: live\" and \"serve: count\"");
	if (route->target == CONFIG_LIVE)
		idle_reminder_read(parse, written, entry, route);
	else if (written->proxy || route->target != CONFIG_PROXY)
		live_key_refuse(parse, i, entry, "idle_reminder", written->idle_reminder,
			"\"serve: live\" alone");
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

static bool client_covers(const struct config_client *wide, const struct config_client *narrow)
{
	const char *dot = strchr(narrow->text, '.');

	if (wide->kind == CONFIG_CLIENT_ANY)
		return true;
	if (wide->kind != narrow->kind)
		return false;
	if (strcmp(wide->text, narrow->text) == 0)
		return true;
	return wide->kind == CONFIG_CLIENT_DNS && wide->text[0] == '*' && dot &&
		strcmp(wide->text + 1, dot) == 0;
}

/* Whom does `wide` leave for `narrow` behind it? Nobody where either is open to all: an open one in front serves everyone, and
 * one for certain clients in front serves those and protects itself from an open one behind (gateway/route.h). */
static bool clients_cover(const struct config_route *wide, const struct config_route *narrow)
{
	if (wide->client_count == 0 || narrow->client_count == 0)
		return true;
	for (unsigned i = 0; i < narrow->client_count; i++) {
		bool covered = false;

		for (unsigned j = 0; !covered && j < wide->client_count; j++)
			covered = client_covers(&wide->clients[j], &narrow->clients[i]);
		if (!covered)
			return false;
	}
	return true;
}

static void route_unreached_warn(struct parse *parse, unsigned i, unsigned entry)
{
	const struct config_route *routes = parse->config->routes;

	for (unsigned j = 0; j < i; j++) {
		if (!host_covers(routes[j].host, routes[i].host) ||
			!path_covers(&routes[j], &routes[i]) ||
			!clients_cover(&routes[j], &routes[i]))
			continue;
		/* "Move it before" would be advice to open to all what the other protects. */
		value_fault(parse, entry, CONFIG_WARNING, &CONFIG_ROUTE_UNREACHED,
			routes[i].client_count == 0 && routes[j].client_count > 0 ?
				"route %u is never reached, because route %u in line %u keeps all of it for certain clients; name clients here too or remove it" :
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
		route_unreached_warn(parse, i, entry);
}
