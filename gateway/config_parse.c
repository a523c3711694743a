/* gateway/config_parse.c — from what was written to what is meant; see config_parse.h, and config_shape.c for what comes
 * before: when this file begins its work the shape is right, and every value is a non-empty string of one line.
 *
 * Here words become numbers, names become pointers, relative paths become absolute, and what contradicts itself is
 * found. Every fault is noted and the work goes on with the default in that value's place, so that one run shows them all;
 * the tree is thrown away at the end if there was an error.
 *
 * The tree is one block, because it is released at once and never changes: its size is bounded beforehand from the counts
 * of what was written, and then handed out piece by piece. There is one allocation to fail and one thing to free. */
#include "gateway/config_parse.h"

#include "gateway/config_parse_word.h"
#include "ring/base.h"

#include <stdlib.h>
#include <string.h>

/* A file of the journal: not so small that most of it would be names of files, and not so large that copying one takes minutes. */
#define SEGMENT_BYTES_LEAST (64u << 10)
#define SEGMENT_BYTES_MOST  (1u << 30)

/* ---- the sections ---- */

static void single_values_read(struct parse *parse)
{
	const struct written *written = parse->written;
	struct config *config = parse->config;
	uint64_t core_count = 0;

	if (written->cores && strcmp(written->cores, "auto") != 0) {
		unsigned place = parse_key(parse, 0, "cores");

		if (config_number_parse(written->cores, &core_count) != CONFIG_GOOD ||
			core_count == 0 || core_count > CONFIG_CORES_MAX)
			value_error(parse, place, &CONFIG_VALUE_BAD,
				"%s is no number of cores; write auto, or 1 to %d",
				quote(written->cores), CONFIG_CORES_MAX);
		else
			config->core_count = (unsigned)core_count;
	}
	if (written->admin) {
		unsigned place = parse_key(parse, 0, "admin");

		config->admin = parse_file_path(parse, written->admin);
		if (strncmp(written->admin, "unix:", 5) == 0)
			value_error(parse, place, &CONFIG_VALUE_BAD,
				"admin is always a UNIX socket; write the path without \"unix:\"");
		else if (config_address_unix(config->admin, &config->admin_address) != CONFIG_GOOD)
			value_error(parse, place, &CONFIG_VALUE_BAD,
				"the path %s is %zu bytes long; the kernel takes 107 for a socket, its directory included",
				quote(config->admin), strlen(config->admin));
	}
	config->state = parse_file_path(parse, written->state ? written->state : "state");
}

static void log_read(struct parse *parse)
{
	const struct written_log *log = parse->written->log;

	if (!log)
		return;

	unsigned place = parse_key(parse, 0, "log");

	if (log->access && strcmp(log->access, "-") == 0)
		parse->config->log.access = parse_word(parse, "-");
	else if (log->access && strcmp(log->access, "off") != 0)
		parse->config->log.access = parse_file_path(parse, log->access);
	parse->config->log.level = parse_choice(
		parse, place, "level", log->level, config_log_level_word, 0, CONFIG_LOG_INFO);
	parse->config->log.paths = parse_choice(
		parse, place, "paths", log->paths, config_log_paths_word, 0, CONFIG_LOG_ROUTE);
}

static void count_read(struct parse *parse)
{
	const struct written_count *written = parse->written->count;
	struct config_count *count = &parse->config->count;

	if (!written)
		return;

	unsigned place = parse_key(parse, 0, "count");

	count->durability = parse_choice(parse, place, "durability", written->durability,
		config_durability_word, 0, CONFIG_DURABILITY_ALWAYS);
	parse_bool(parse, place, "new_sites", written->new_sites, &count->new_sites);
	parse_number(parse, place, "segment", written->segment, KIND_SIZE, SEGMENT_BYTES_LEAST,
		SEGMENT_BYTES_MOST, &count->segment_bytes);
}

static void limits_read(struct parse *parse)
{
	const struct written_limits *written = parse->written->limits;
	struct config_limits *limits = &parse->config->limits;

	if (!written)
		return;

	unsigned place = parse_key(parse, 0, "limits");

#define LIMIT_READ(name, kind, default_value, least, most) \
	parse_number(parse, place, #name, written->name, KIND_##kind, least, most, &limits->name);
	CONFIG_LIMITS(LIMIT_READ)
#undef LIMIT_READ

	if (limits->uri_bytes_max <= limits->head_bytes_max)
		return;
	/* The target is a part of the head. Complain of the one that was written. */
	value_error(parse,
		parse_key(
			parse, place, written->uri_bytes_max ? "uri_bytes_max" : "head_bytes_max"),
		&CONFIG_KEY_CONFLICT,
		"uri_bytes_max (%s) is more than head_bytes_max (%s), of which it is a part; raise the latter or lower the former",
		config_size_word(limits->uri_bytes_max).text,
		config_size_word(limits->head_bytes_max).text);
}

static void timeouts_read(struct parse *parse)
{
	const struct written_timeouts *written = parse->written->timeouts;
	struct config_timeouts *timeouts = &parse->config->timeouts;

	if (!written)
		return;

	unsigned place = parse_key(parse, 0, "timeouts");

#define TIMEOUT_READ(name, default_ms, least, most) \
	parse_duration(parse, place, #name, written->name, least, most, &timeouts->name##_ms);
	CONFIG_TIMEOUTS(TIMEOUT_READ)
#undef TIMEOUT_READ
}

static void listener_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_listener *written = &parse->written->listeners[i];
	struct config *config = parse->config;
	struct config_listener *listener = &config->listeners[i];
	char what[32];

	snprintf(what, sizeof what, "listener %u", i + 1);
	if (written->tls)
		config_parse_tls(
			parse, written->tls, parse_key(parse, entry, "tls"), &listener->tls);
	if (!written->address) {
		if (!parse_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING,
				"%s has no address; write address: 127.0.0.1:8080", what);
		return;
	}

	unsigned place = parse_key(parse, entry, "address");

	if (!parse_address(parse, place, written->address, what, &listener->address))
		return;
	if (strcmp(listener->address.text, config->admin_address.text) == 0)
		value_error(parse, place, &CONFIG_DUPLICATE,
			"%s has the address of the admin socket; give it another", what);
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(config->listeners[j].address.text, listener->address.text) != 0)
			continue;
		value_error(parse, place, &CONFIG_DUPLICATE,
			"%s has the address of listener %u, %s; give each its own", what, j + 1,
			quote(listener->address.text));
		break;
	}
}

static void listeners_read(struct parse *parse)
{
	unsigned count = parse->written->listeners_count;
	unsigned list = config_place_key(&parse->places, 0, "listeners");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	parse->config->listeners = parse_piece(parse, count, sizeof *parse->config->listeners);
	parse->config->listener_count = count;
	for (unsigned i = 0; i < count; i++, entry = parse_next(parse, entry))
		listener_read(parse, i, entry);
}

/* A name that stands in metrics, logs and messages without quotes. */
static bool is_upstream_name(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = strlen(name);

	return length <= 64 && strspn(name, allowed) == length;
}

static void health_read(struct parse *parse, const struct written_health *written, unsigned place,
	struct config_health *health)
{
	health->every_ms = 2000;
	parse_duration(parse, place, "every", written->every, 1, CONFIG_DURATION_MS_MAX,
		&health->every_ms);
	if (written->path &&
		parse_url_path(parse, parse_key(parse, place, "path"), "path", written->path))
		health->path = parse_word(parse, written->path);
	else if (!written->path && !parse_shaky(parse, place))
		key_error(parse, place, &CONFIG_KEY_MISSING,
			"health has no path; write path: /healthz");
}

static void servers_read(struct parse *parse, const struct written_upstream *written, unsigned list,
	struct config_upstream *upstream)
{
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	upstream->servers = parse_piece(parse, written->servers_count, sizeof *upstream->servers);
	upstream->server_count = written->servers_count;
	for (unsigned i = 0; i < written->servers_count; i++, entry = parse_next(parse, entry)) {
		struct config_address *server = &upstream->servers[i];
		char what[48];

		snprintf(what, sizeof what, "server %u", i + 1);
		if (!parse_address(parse, entry, written->servers[i], what, server))
			continue;
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(upstream->servers[j].text, server->text) != 0)
				continue;
			value_fault(parse, entry, CONFIG_WARNING, &CONFIG_DUPLICATE,
				"%s is server %u again and gets twice its share; remove one if that is not meant",
				what, j + 1);
			break;
		}
	}
}

static void upstream_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_upstream *written = &parse->written->upstreams[i];
	struct config_upstream *upstream = &parse->config->upstreams[i];
	unsigned servers = config_place_key(&parse->places, entry, "servers");
	uint64_t keep_alive = 32;

	if (!written->name) {
		if (!parse_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING,
				"upstream %u has no name; write name: edc", i + 1);
	} else {
		unsigned place = parse_key(parse, entry, "name");

		upstream->name = parse_word(parse, written->name);
		if (!is_upstream_name(written->name))
			value_error(parse, place, &CONFIG_VALUE_BAD,
				"%s is no name of an upstream; write 1 to 64 letters, digits, \"_\", \"-\" or \".\"",
				quote(written->name));
		for (unsigned j = 0; j < i; j++) {
			const char *earlier = parse->config->upstreams[j].name;

			if (!earlier || strcmp(earlier, written->name) != 0)
				continue;
			value_error(parse, place, &CONFIG_DUPLICATE,
				"upstream %u has the name of upstream %u, %s; give each its own",
				i + 1, j + 1, quote(written->name));
			break;
		}
	}
	upstream->balance = parse_choice(parse, entry, "balance", written->balance,
		config_balance_word, 0, CONFIG_ROUND_ROBIN);
	if (written->servers_count == 0 && !parse_shaky(parse, entry))
		value_error(parse, servers ? servers : entry, &CONFIG_KEY_MISSING,
			"upstream %u has no servers; write servers: [ \"127.0.0.1:9001\" ]", i + 1);
	servers_read(parse, written, servers, upstream);
	if (written->health)
		health_read(parse, written->health, parse_key(parse, entry, "health"),
			&upstream->health);
	parse_number(
		parse, entry, "keep_alive", written->keep_alive, KIND_COUNT, 0, 10000, &keep_alive);
	upstream->keep_alive_max = (uint32_t)keep_alive;
}

static void upstreams_read(struct parse *parse)
{
	unsigned count = parse->written->upstreams_count;
	unsigned list = config_place_key(&parse->places, 0, "upstreams");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	parse->config->upstreams = parse_piece(parse, count, sizeof *parse->config->upstreams);
	parse->config->upstream_count = count;
	for (unsigned i = 0; i < count; i++, entry = parse_next(parse, entry))
		upstream_read(parse, i, entry);
}

/* ---- the whole ---- */

static void whole_check(struct parse *parse)
{
	const struct written *written = parse->written;
	const struct config *config = parse->config;
	unsigned list = config_place_key(&parse->places, 0, "upstreams");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	if (config->listener_count == 0 && !config->admin && !parse_shaky(parse, 0))
		value_error(parse, 0, &CONFIG_NOTHING_TO_DO,
			"there is no listener and no admin socket; give at least one of \"listeners\" and \"admin\"");
	if (config->listener_count > 0 && config->route_count == 0 && !parse_shaky(parse, 0))
		value_fault(parse, config_place_key(&parse->places, 0, "listeners"), CONFIG_WARNING,
			&CONFIG_NOTHING_TO_DO,
			"there are no routes, so that every request will be answered 404; give \"routes\"");
	for (unsigned i = 0; i < config->upstream_count; i++, entry = parse_next(parse, entry)) {
		const char *name = config->upstreams[i].name;
		bool used = !name;

		for (unsigned j = 0; !used && j < written->routes_count; j++)
			used = written->routes[j].proxy &&
				strcmp(written->routes[j].proxy, name) == 0;
		if (!used)
			value_fault(parse, entry, CONFIG_WARNING, &CONFIG_UPSTREAM_UNUSED,
				"no route names the upstream %s; remove it, or add a route with proxy",
				quote(name));
	}
}

/* In this order: routes look for upstreams and take over limits, listeners look at the admin socket. */
static void written_read(struct parse *parse)
{
	single_values_read(parse);
	log_read(parse);
	count_read(parse);
	limits_read(parse);
	timeouts_read(parse);
	listeners_read(parse);
	upstreams_read(parse);
	config_parse_routes(parse);
	whole_check(parse);
}

/* An upper bound of everything that this file takes from the block. */
static size_t tree_size(const struct written *written, size_t directory_length)
{
	size_t path = parse_piece_size(directory_length + CONFIG_WORD_BYTES_MAX + 2);
	size_t size = parse_piece_size(sizeof(struct config)) + 3 * path;

	size += parse_piece_size(written->listeners_count * sizeof(struct config_listener));
	for (unsigned i = 0; i < written->listeners_count; i++) {
		if (written->listeners[i].tls)
			size += config_tls_size(written->listeners[i].tls, directory_length);
	}
	size += parse_piece_size(written->upstreams_count * sizeof(struct config_upstream));
	for (unsigned i = 0; i < written->upstreams_count; i++) {
		const struct written_upstream *upstream = &written->upstreams[i];

		size += parse_word_size(upstream->name) +
			(upstream->health ? parse_word_size(upstream->health->path) : 0);
		size += parse_piece_size(upstream->servers_count * sizeof(struct config_address));
	}
	size += parse_piece_size(written->routes_count * sizeof(struct config_route));
	for (unsigned i = 0; i < written->routes_count; i++) {
		const struct written_route *route = &written->routes[i];

		size += parse_word_size(route->host) + parse_word_size(route->path) +
			parse_word_size(route->prefix);
		size += parse_piece_size(route->client_count * sizeof(struct config_client));
		for (unsigned j = 0; j < route->client_count; j++)
			size += parse_word_size(route->client[j]);
		size += config_websocket_size(route);
	}
	return size;
}

static bool tree_begin(struct parse *parse)
{
	size_t size = tree_size(parse->written, strlen(parse->directory));

	parse->next = malloc(size);
	if (!parse->next)
		return false;
	parse->end = parse->next + size;
	parse->config = parse_piece(parse, 1, sizeof *parse->config);
	config_default(parse->config);
	return true;
}

struct config *config_parse_text(
	const char *text, size_t length, const char *name, struct config_faults *faults)
{
	struct parse parse = { .faults = faults };
	unsigned errors_before = faults->error_count;

	config_faults_name(faults, name);
	/* libyaml counts a byte order mark as a column, and then sees the second line indented less than the first. */
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		length -= 3;
	}
	if (length > CONFIG_TEXT_BYTES_MAX)
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_TOO_MUCH, 0, 0,
			"the configuration is longer than %u bytes; generate less of it",
			CONFIG_TEXT_BYTES_MAX);
	else if (!parse_directory(&parse, name))
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_FILE_UNREADABLE, 0, 0,
			"the directory of the file cannot be found: %m; give an absolute path with -c");
	else if (config_shape_read(text, length, &parse.places, faults))
		parse.written = config_written_load(text, length, faults);

	if (parse.written && tree_begin(&parse))
		written_read(&parse);
	else if (parse.written)
		config_fault_add(
			faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s", CONFIG_MEMORY.sentence);
	config_written_free(parse.written);
	config_places_fini(&parse.places);
	config_faults_sort(faults);

	if (faults->error_count == errors_before)
		return parse.config;
	config_free(parse.config);
	return NULL;
}
