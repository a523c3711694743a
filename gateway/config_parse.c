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

#include "gateway/config_shape.h"
#include "ring/base.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct parse {
	struct config_faults *faults;
	struct config_places places;
	struct written *written;
	struct config *config;
	char *next, *end;         /* what is left of the block */
	char directory[PATH_MAX]; /* absolute; where relative paths begin */
};

#define PIECE_ALIGNMENT _Alignof(max_align_t)

/* ---- the block ---- */

static size_t piece_size(size_t size)
{
	return (size + PIECE_ALIGNMENT - 1) / PIECE_ALIGNMENT * PIECE_ALIGNMENT;
}

/* Zeroed. Never fails: tree_size counted it. An empty array is NULL. */
static void *piece_take(struct parse *parse, size_t count, size_t size)
{
	char *piece = parse->next;

	if (count == 0)
		return NULL;
	check(piece_size(count * size) <= (size_t)(parse->end - piece));
	parse->next += piece_size(count * size);
	memset(piece, 0, count * size);
	return piece;
}

static const char *word_keep(struct parse *parse, const char *word)
{
	size_t length = strlen(word);
	char *kept = piece_take(parse, length + 1, 1);

	memcpy(kept, word, length + 1);
	return kept;
}

static size_t word_size(const char *word)
{
	return word ? piece_size(strlen(word) + 1) : 0;
}

/* An upper bound of everything that this file takes from the block. */
static size_t tree_size(const struct written *written, size_t directory_length)
{
	size_t path = piece_size(directory_length + CONFIG_WORD_BYTES_MAX + 2);
	size_t size = piece_size(sizeof(struct config)) + 3 * path;

	size += piece_size(written->listeners_count * sizeof(struct config_listener));
	for (unsigned i = 0; i < written->listeners_count; i++) {
		const struct written_tls *tls = written->listeners[i].tls;

		if (!tls)
			continue;
		size += piece_size(tls->certificates_count * sizeof(struct config_certificate));
		size += tls->certificates_count * 2 * path;
		size += piece_size((tls->alpn_count + 1) * sizeof(char *));
	}
	size += piece_size(written->upstreams_count * sizeof(struct config_upstream));
	for (unsigned i = 0; i < written->upstreams_count; i++) {
		const struct written_upstream *upstream = &written->upstreams[i];

		size += word_size(upstream->name) + (upstream->health ? word_size(upstream->health->path) : 0);
		size += piece_size(upstream->servers_count * sizeof(struct config_address));
	}
	size += piece_size(written->routes_count * sizeof(struct config_route));
	for (unsigned i = 0; i < written->routes_count; i++) {
		const struct written_route *route = &written->routes[i];

		size += word_size(route->host) + word_size(route->path) + word_size(route->prefix);
	}
	return size;
}

/* ---- faults with their places ---- */

/* Place 0 is the file as a whole, whose value begins at its first key. */
static const struct config_place *place_of(const struct parse *parse, unsigned place)
{
	check(place < parse->places.count);
	return &parse->places.list[place];
}

#define value_fault(parse, place, severity, reason, ...) \
	config_fault_add((parse)->faults, severity, reason, place_of(parse, place)->line, place_of(parse, place)->column, \
	                 __VA_ARGS__)
#define value_error(parse, place, reason, ...) value_fault(parse, place, CONFIG_ERROR, reason, __VA_ARGS__)
#define key_error(parse, place, reason, ...) \
	config_fault_add((parse)->faults, CONFIG_ERROR, reason, place_of(parse, place)->key_line, \
	                 place_of(parse, place)->key_column, __VA_ARGS__)
#define quote(word) config_quote(word, strlen(word)).text

/* The place of a key that was written. */
static unsigned key_of(const struct parse *parse, unsigned mapping, const char *key)
{
	unsigned place = config_place_key(&parse->places, mapping, key);

	check(place > 0);
	return place;
}

static unsigned next_of(const struct parse *parse, unsigned place)
{
	return place_of(parse, place)->next;
}

/* Where an unknown key was found, the missing one is most likely that one misspelt, and was reported as such. */
static bool is_shaky(const struct parse *parse, unsigned mapping)
{
	return place_of(parse, mapping)->shaky;
}

/* ---- words ---- */

enum kind { KIND_COUNT, KIND_SIZE, KIND_BODY, KIND_DURATION };

static struct config_word kind_word(enum kind kind, uint64_t value)
{
	struct config_word word;

	if (kind == KIND_DURATION)
		return config_duration_word(value);
	if (kind != KIND_COUNT)
		return config_size_word(value);
	snprintf(word.text, sizeof word.text, "%llu", (unsigned long long)value);
	return word;
}

static void number_fault(struct parse *parse, unsigned place, const char *word, enum kind kind, enum config_verdict verdict)
{
	static const char units[] = "ms, s, m or h, such as 30s";

	if (kind == KIND_COUNT)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s is not a whole number; write digits alone", quote(word));
	else if (kind != KIND_DURATION && verdict == CONFIG_UNIT_UNKNOWN)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s has an unknown unit; write bytes, or k, M or G, such as 64k",
		            quote(word));
	else if (kind != KIND_DURATION)
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "%s is not a size; write a whole number of bytes, or one with k, M or G, such as 64k", quote(word));
	else if (verdict == CONFIG_UNIT_MISSING)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s has no unit; write %s", quote(word), units);
	else if (verdict == CONFIG_UNIT_UNKNOWN)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s has an unknown unit; write %s", quote(word), units);
	else
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s is not a duration; write a whole number and %s", quote(word), units);
}

/* Reads the value of `key` if it is written, else leaves what stands in *value. */
static void number_read(struct parse *parse, unsigned mapping, const char *key, const char *word, enum kind kind,
                        uint64_t least, uint64_t most, uint64_t *value)
{
	uint64_t number = 0;
	enum config_verdict verdict;

	if (!word)
		return;
	if (kind == KIND_BODY && strcmp(word, "unlimited") == 0) {
		*value = CONFIG_UNLIMITED;
		return;
	}
	if (kind == KIND_DURATION)
		verdict = config_duration_parse(word, &number);
	else if (kind == KIND_COUNT)
		verdict = config_number_parse(word, &number);
	else
		verdict = config_size_parse(word, &number);

	unsigned place = key_of(parse, mapping, key);

	if (verdict != CONFIG_GOOD && verdict != CONFIG_TOO_LARGE) {
		number_fault(parse, place, word, kind, verdict);
	} else if (verdict == CONFIG_TOO_LARGE || number < least || number > most) {
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s is outside the range of %s; write %s to %s%s", quote(word), key,
		            kind_word(kind, least).text, kind_word(kind, most).text, kind == KIND_BODY ? ", or unlimited" : "");
	} else {
		*value = number;
	}
}

static void duration_read(struct parse *parse, unsigned mapping, const char *key, const char *word, uint32_t *duration_ms)
{
	uint64_t value = *duration_ms;

	number_read(parse, mapping, key, word, KIND_DURATION, 1, CONFIG_DURATION_MS_MAX, &value);
	*duration_ms = (uint32_t)value;
}

/* One of the words of an enum; `from` passes over the first ones ("proxy" is no word of `serve`). */
static unsigned choice_read(struct parse *parse, unsigned mapping, const char *key, const char *word,
                            const char *(*word_of_number)(unsigned), unsigned from, unsigned otherwise)
{
	char known[128] = "";
	size_t used = 0;

	if (!word)
		return otherwise;
	for (unsigned i = from; word_of_number(i); i++) {
		if (strcmp(word, word_of_number(i)) == 0)
			return i;
		used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i == from ? "" : ", ", word_of_number(i));
		check(used < sizeof known);
	}
	value_error(parse, key_of(parse, mapping, key), &CONFIG_VALUE_BAD, "%s is no word of %s; known are: %s", quote(word), key,
	            known);
	return otherwise;
}

/* ---- paths of files ---- */

/* The directory of the file `name`, absolute, so that what is printed can be kept anywhere and still means the same. */
static bool directory_find(struct parse *parse, const char *name)
{
	const char *slash = strrchr(name, '/');
	size_t length = slash ? (size_t)(slash - name) : 0;
	size_t used = 0;

	if (name[0] == '/' && length == 0) {
		strcpy(parse->directory, ""); /* "/postern.yaml": joined paths begin with the slash alone */
		return true;
	}
	if (name[0] != '/') {
		if (!getcwd(parse->directory, sizeof parse->directory))
			return false;
		used = strlen(parse->directory);
		if (used == 1)
			used = 0; /* the root's slash comes with the join */
		if (length > 0 && used + 1 < sizeof parse->directory)
			parse->directory[used++] = '/';
	}
	if (used + length >= sizeof parse->directory)
		return false;
	memcpy(parse->directory + used, name, length);
	parse->directory[used + length] = '\0';
	return true;
}

/* Absolute, without a slash at the end and "./" in front. */
static const char *path_keep(struct parse *parse, const char *path)
{
	size_t directory_length = strlen(parse->directory);
	size_t length;
	char *kept;

	while (path[0] == '.' && path[1] == '/' && path[2] != '\0')
		path += path[2] == '/' ? 1 : 2;
	length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (path[0] == '/')
		directory_length = 0;

	kept = piece_take(parse, directory_length + 1 + length + 1, 1);
	memcpy(kept, parse->directory, directory_length);
	if (path[0] != '/')
		kept[directory_length++] = '/';
	memcpy(kept + directory_length, path, length);
	return kept;
}

/* Whether the bytes are a certificate is judged by tls; whether they can be had at all is a fault of this file. */
static const char *file_path_read(struct parse *parse, unsigned mapping, const char *key, const char *word)
{
	const char *path = path_keep(parse, word);
	unsigned place = key_of(parse, mapping, key);
	struct stat status;

	if (stat(path, &status) != 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
		value_error(parse, place, &CONFIG_FILE_UNREADABLE, "the %s %s cannot be read: %m; give a file that this user may read",
		            key, quote(path));
	else if (!S_ISREG(status.st_mode))
		value_error(parse, place, &CONFIG_FILE_UNREADABLE, "the %s %s is not a file; give a file in PEM form", key, quote(path));
	return path;
}

/* ---- addresses ---- */

static bool address_read(struct parse *parse, unsigned place, const char *word, const char *what, struct config_address *address)
{
	const char *quoted_port = "a port from 1 to 65535";

	switch (config_address_parse(word, parse->directory, address)) {
	case CONFIG_GOOD:
		return true;
	case CONFIG_PORT_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD, "the address %s of %s has no port; write IP:port, such as 127.0.0.1:8080",
		            quote(word), what);
		break;
	case CONFIG_PORT_BAD:
		value_error(parse, place, &CONFIG_VALUE_BAD, "the address %s of %s has a bad port; write %s", quote(word), what,
		            quoted_port);
		break;
	case CONFIG_HOST_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "the address %s of %s has no IP address; write 0.0.0.0 or [::] for every one of this machine", quote(word),
		            what);
		break;
	case CONFIG_HOST_IS_NAME:
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "the address %s of %s is a name; names are resolved in a later version; write the IP address", quote(word),
		            what);
		break;
	case CONFIG_BRACKETS_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "the address %s of %s does not show where its port begins; write IPv6 in brackets, such as [::1]:8080",
		            quote(word), what);
		break;
	case CONFIG_SOCKET_PATH_BAD:
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "the address %s of %s is no path of a socket; write unix: and a path of 1 to 107 bytes, its directory included",
		            quote(word), what);
		break;
	default:
		value_error(parse, place, &CONFIG_VALUE_BAD,
		            "the address %s of %s is no IP address; write it as 127.0.0.1:8080, [::1]:8080 or unix:/path", quote(word),
		            what);
	}
	return false;
}

/* ---- the sections ---- */

static void single_values_read(struct parse *parse)
{
	const struct written *written = parse->written;
	struct config *config = parse->config;
	uint64_t core_count = 0;

	if (written->cores && strcmp(written->cores, "auto") != 0) {
		unsigned place = key_of(parse, 0, "cores");

		if (config_number_parse(written->cores, &core_count) != CONFIG_GOOD || core_count == 0 ||
		    core_count > CONFIG_CORES_MAX)
			value_error(parse, place, &CONFIG_VALUE_BAD, "%s is no number of cores; write auto, or 1 to %d",
			            quote(written->cores), CONFIG_CORES_MAX);
		else
			config->core_count = (unsigned)core_count;
	}
	if (written->admin) {
		unsigned place = key_of(parse, 0, "admin");

		config->admin = path_keep(parse, written->admin);
		if (strncmp(written->admin, "unix:", 5) == 0)
			value_error(parse, place, &CONFIG_VALUE_BAD, "admin is always a UNIX socket; write the path without \"unix:\"");
		else if (config_address_unix(config->admin, &config->admin_address) != CONFIG_GOOD)
			value_error(parse, place, &CONFIG_VALUE_BAD,
			            "the path %s is %zu bytes long; the kernel takes 107 for a socket, its directory included",
			            quote(config->admin), strlen(config->admin));
	}
	config->state = path_keep(parse, written->state ? written->state : "state");
}

static void log_read(struct parse *parse)
{
	const struct written_log *log = parse->written->log;

	if (!log)
		return;

	unsigned place = key_of(parse, 0, "log");

	if (log->access && strcmp(log->access, "-") == 0)
		parse->config->log.access = word_keep(parse, "-");
	else if (log->access && strcmp(log->access, "off") != 0)
		parse->config->log.access = path_keep(parse, log->access);
	parse->config->log.level = choice_read(parse, place, "level", log->level, config_log_level_word, 0, CONFIG_LOG_INFO);
}

static void limits_read(struct parse *parse)
{
	const struct written_limits *written = parse->written->limits;
	struct config_limits *limits = &parse->config->limits;

	if (!written)
		return;

	unsigned place = key_of(parse, 0, "limits");

#define LIMIT_READ(name, kind, default_value, least, most) \
	number_read(parse, place, #name, written->name, KIND_##kind, least, most, &limits->name);
	CONFIG_LIMITS(LIMIT_READ)
#undef LIMIT_READ

	if (limits->uri_bytes_max <= limits->head_bytes_max)
		return;
	/* The target is a part of the head. Complain of the one that was written. */
	value_error(parse, key_of(parse, place, written->uri_bytes_max ? "uri_bytes_max" : "head_bytes_max"), &CONFIG_KEY_CONFLICT,
	            "uri_bytes_max (%s) is more than head_bytes_max (%s), of which it is a part; raise the latter or lower the former",
	            config_size_word(limits->uri_bytes_max).text, config_size_word(limits->head_bytes_max).text);
}

static void timeouts_read(struct parse *parse)
{
	const struct written_timeouts *written = parse->written->timeouts;
	struct config_timeouts *timeouts = &parse->config->timeouts;

	if (!written)
		return;

	unsigned place = key_of(parse, 0, "timeouts");

#define TIMEOUT_READ(name, default_ms) duration_read(parse, place, #name, written->name, &timeouts->name##_ms);
	CONFIG_TIMEOUTS(TIMEOUT_READ)
#undef TIMEOUT_READ
}

static const char *const alpn_known[] = {"http/1.1"};

static void alpn_read(struct parse *parse, const struct written_tls *written, unsigned place, struct config_tls *tls)
{
	tls->alpn = piece_take(parse, written->alpn_count + 1, sizeof *tls->alpn);
	unsigned entry = place ? config_place_first(&parse->places, place) : 0;

	for (unsigned i = 0; i < written->alpn_count; i++, entry = next_of(parse, entry)) {
		const char *word = written->alpn[i];
		bool repeated = false;

		for (unsigned j = 0; j < i; j++)
			repeated |= strcmp(written->alpn[j], word) == 0;
		if (repeated)
			value_error(parse, entry, &CONFIG_DUPLICATE, "the protocol %s is listed twice; remove one", quote(word));
		else if (strcmp(word, "h2") == 0)
			value_error(parse, entry, &CONFIG_VALUE_BAD, "h2 is not spoken by this version; write http/1.1");
		else if (strcmp(word, alpn_known[0]) != 0)
			value_error(parse, entry, &CONFIG_VALUE_BAD, "%s is no protocol of ours; known are: http/1.1", quote(word));
		else
			tls->alpn[tls->alpn_count++] = alpn_known[0];
	}
	if (written->alpn_count == 0)
		tls->alpn[tls->alpn_count++] = alpn_known[0];
}

static void tls_read(struct parse *parse, const struct written_tls *written, unsigned place, struct config_tls *tls)
{
	unsigned list = config_place_key(&parse->places, place, "certificates");

	if (written->certificates_count == 0 && !is_shaky(parse, place))
		key_error(parse, list ? list : place, &CONFIG_KEY_MISSING,
		          "tls has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]");
	tls->certificates = piece_take(parse, written->certificates_count, sizeof *tls->certificates);
	tls->certificate_count = written->certificates_count;

	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	for (unsigned i = 0; i < written->certificates_count; i++, entry = next_of(parse, entry)) {
		const struct written_certificate *pair = &written->certificates[i];

		if (pair->certificate)
			tls->certificates[i].certificate = file_path_read(parse, entry, "certificate", pair->certificate);
		else if (!is_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING, "this entry has no \"certificate\"; give the file of the chain");
		if (pair->key)
			tls->certificates[i].key = file_path_read(parse, entry, "key", pair->key);
		else if (!is_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING, "this entry has no \"key\"; give the file of the private key");
	}
	alpn_read(parse, written, config_place_key(&parse->places, place, "alpn"), tls);
}

static void listener_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_listener *written = &parse->written->listeners[i];
	struct config *config = parse->config;
	struct config_listener *listener = &config->listeners[i];
	char what[32];

	snprintf(what, sizeof what, "listener %u", i + 1);
	if (written->tls)
		tls_read(parse, written->tls, key_of(parse, entry, "tls"), &listener->tls);
	if (!written->address) {
		if (!is_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING, "%s has no address; write address: 127.0.0.1:8080", what);
		return;
	}

	unsigned place = key_of(parse, entry, "address");

	if (!address_read(parse, place, written->address, what, &listener->address))
		return;
	if (strcmp(listener->address.text, config->admin_address.text) == 0)
		value_error(parse, place, &CONFIG_DUPLICATE, "%s has the address of the admin socket; give it another", what);
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(config->listeners[j].address.text, listener->address.text) != 0)
			continue;
		value_error(parse, place, &CONFIG_DUPLICATE, "%s has the address of listener %u, %s; give each its own", what, j + 1,
		            quote(listener->address.text));
		break;
	}
}

static void listeners_read(struct parse *parse)
{
	unsigned count = parse->written->listeners_count;
	unsigned list = config_place_key(&parse->places, 0, "listeners");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	parse->config->listeners = piece_take(parse, count, sizeof *parse->config->listeners);
	parse->config->listener_count = count;
	for (unsigned i = 0; i < count; i++, entry = next_of(parse, entry))
		listener_read(parse, i, entry);
}

/* A name that stands in metrics, logs and messages without quotes. */
static bool is_upstream_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = strlen(name);

	return length <= 64 && strspn(name, allowed) == length;
}

/* A path as it stands in a request after normalisation: RFC 3986 §3.3 without query and fragment, and without the
 * segments "." and ".." that §5.2.4 removes: a route that contains one would never match. */
static const char *path_wrong(const char *path)
{
	if (path[0] != '/')
		return "does not begin with \"/\"; write it from the root";
	for (const char *at = path; *at; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == '?' || c == '#')
			return "holds a query or fragment, which is not matched; remove it from \"?\" or \"#\" on";
		if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
			return "holds a character that no path of a request holds; write it percent-encoded";
		if (c == '/' && at[1] == '.' &&
		    (at[2] == '/' || at[2] == '\0' || (at[2] == '.' && (at[3] == '/' || at[3] == '\0'))))
			return "holds \".\" or \"..\", and would never match; write the path that is meant";
	}
	return NULL;
}

static bool path_check(struct parse *parse, unsigned place, const char *key, const char *path)
{
	const char *wrong = path_wrong(path);

	if (wrong)
		value_error(parse, place, &CONFIG_VALUE_BAD, "the %s %s %s", key, quote(path), wrong);
	return !wrong;
}

static void health_read(struct parse *parse, const struct written_health *written, unsigned place, struct config_health *health)
{
	health->every_ms = 2000;
	duration_read(parse, place, "every", written->every, &health->every_ms);
	if (written->path && path_check(parse, key_of(parse, place, "path"), "path", written->path))
		health->path = word_keep(parse, written->path);
	else if (!written->path && !is_shaky(parse, place))
		key_error(parse, place, &CONFIG_KEY_MISSING, "health has no path; write path: /healthz");
}

static void servers_read(struct parse *parse, const struct written_upstream *written, unsigned list,
                         struct config_upstream *upstream)
{
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	upstream->servers = piece_take(parse, written->servers_count, sizeof *upstream->servers);
	upstream->server_count = written->servers_count;
	for (unsigned i = 0; i < written->servers_count; i++, entry = next_of(parse, entry)) {
		struct config_address *server = &upstream->servers[i];
		char what[48];

		snprintf(what, sizeof what, "server %u", i + 1);
		if (!address_read(parse, entry, written->servers[i], what, server))
			continue;
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(upstream->servers[j].text, server->text) != 0)
				continue;
			value_fault(parse, entry, CONFIG_WARNING, &CONFIG_DUPLICATE,
			            "%s is server %u again and gets twice its share; remove one if that is not meant", what, j + 1);
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
		if (!is_shaky(parse, entry))
			value_error(parse, entry, &CONFIG_KEY_MISSING, "upstream %u has no name; write name: edc", i + 1);
	} else {
		unsigned place = key_of(parse, entry, "name");

		upstream->name = word_keep(parse, written->name);
		if (!is_upstream_name(written->name))
			value_error(parse, place, &CONFIG_VALUE_BAD,
			            "%s is no name of an upstream; write 1 to 64 letters, digits, \"_\", \"-\" or \".\"", quote(written->name));
		for (unsigned j = 0; j < i; j++) {
			const char *earlier = parse->config->upstreams[j].name;

			if (!earlier || strcmp(earlier, written->name) != 0)
				continue;
			value_error(parse, place, &CONFIG_DUPLICATE, "upstream %u has the name of upstream %u, %s; give each its own", i + 1,
			            j + 1, quote(written->name));
			break;
		}
	}
	upstream->balance = choice_read(parse, entry, "balance", written->balance, config_balance_word, 0, CONFIG_ROUND_ROBIN);
	if (written->servers_count == 0 && !is_shaky(parse, entry))
		value_error(parse, servers ? servers : entry, &CONFIG_KEY_MISSING,
		            "upstream %u has no servers; write servers: [ \"127.0.0.1:9001\" ]", i + 1);
	servers_read(parse, written, servers, upstream);
	if (written->health)
		health_read(parse, written->health, key_of(parse, entry, "health"), &upstream->health);
	number_read(parse, entry, "keep_alive", written->keep_alive, KIND_COUNT, 0, 10000, &keep_alive);
	upstream->keep_alive_max = (uint32_t)keep_alive;
}

static void upstreams_read(struct parse *parse)
{
	unsigned count = parse->written->upstreams_count;
	unsigned list = config_place_key(&parse->places, 0, "upstreams");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	parse->config->upstreams = piece_take(parse, count, sizeof *parse->config->upstreams);
	parse->config->upstream_count = count;
	for (unsigned i = 0; i < count; i++, entry = next_of(parse, entry))
		upstream_read(parse, i, entry);
}

/* ---- routes ---- */

static void host_read(struct parse *parse, unsigned place, const char *word, struct config_route *route)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
	static const char brackets[] = "[0123456789abcdef:.]";
	char *host = (char *)word_keep(parse, word); /* ours until the tree is given away */
	const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;

	for (char *at = host; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	}
	route->host = host;

	size_t length = strlen(name);
	bool ipv6 = name == host && name[0] == '[' && name[length - 1] == ']' && strspn(name, brackets) == length;
	bool dotted = name[0] == '.' || strstr(name, "..") || (length > 0 && name[length - 1] == '.');

	if (ipv6 || (length > 0 && length <= 253 && strspn(name, allowed) == length && !dotted))
		return;
	if (strchr(name, ':') && name[0] != '[')
		value_error(parse, place, &CONFIG_VALUE_BAD, "the host %s holds a port, which is not matched; remove it", quote(word));
	else if (strchr(name, '*'))
		value_error(parse, place, &CONFIG_VALUE_BAD, "the host %s has its wildcard elsewhere than in front; write *.example.org",
		            quote(word));
	else
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s is no host; write a name such as edc.example.org or *.example.org",
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
		host_read(parse, key_of(parse, entry, "host"), written->host, route);
	if (written->path && written->prefix)
		key_error(parse, key_of(parse, entry, "prefix"), &CONFIG_KEY_CONFLICT,
		          "route %u has both \"path\" and \"prefix\"; keep the one that is meant", i + 1);
	if (path && path_check(parse, key_of(parse, entry, key), key, path)) {
		route->match = written->path ? CONFIG_MATCH_PATH : CONFIG_MATCH_PREFIX;
		route->path = word_keep(parse, path);
	}
	if (!path && !written->host && !is_shaky(parse, entry))
		value_error(parse, entry, &CONFIG_KEY_MISSING,
		            "route %u matches nothing; give \"path\", \"prefix\" or \"host\", such as prefix: /", i + 1);
}

static void upstream_find(struct parse *parse, unsigned i, unsigned place, const char *name, struct config_route *route)
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
		used += (size_t)snprintf(defined + used, sizeof defined - used, "%s%s", used ? ", " : "", known);
	}
	if (used >= sizeof defined)
		memcpy(defined + sizeof defined - 4, "...", 4);
	if (used == 0)
		value_error(parse, place, &CONFIG_UPSTREAM_UNKNOWN,
		            "route %u names the upstream %s, but none is defined; define it under \"upstreams\"", i + 1, quote(name));
	else
		value_error(parse, place, &CONFIG_UPSTREAM_UNKNOWN,
		            "route %u names the upstream %s, which is not defined; defined are: %s", i + 1, quote(name), defined);
}

static void live_read(struct parse *parse, const struct written_route *written, unsigned entry, struct config_route *route)
{
	route->heartbeat_ms = 30000;
	duration_read(parse, entry, "heartbeat", written->heartbeat, &route->heartbeat_ms);
	if (written->idle_reminder && strcmp(written->idle_reminder, "off") != 0)
		duration_read(parse, entry, "idle_reminder", written->idle_reminder, &route->idle_reminder_ms);
}

/* `heartbeat: 30s` beside `proxy: edc` would look as if it did something. */
static void live_key_refuse(struct parse *parse, unsigned i, unsigned entry, const char *key, const char *word)
{
	if (word)
		key_error(parse, key_of(parse, entry, key), &CONFIG_KEY_CONFLICT,
		          "route %u has \"%s\", which belongs to \"serve: live\" alone; remove it", i + 1, key);
}

static void route_read(struct parse *parse, unsigned i, unsigned entry)
{
	const struct written_route *written = &parse->written->routes[i];
	struct config_route *route = &parse->config->routes[i];

	route->line = place_of(parse, entry)->line;
	matcher_read(parse, i, entry);

	if (written->serve && written->proxy)
		key_error(parse, key_of(parse, entry, "proxy"), &CONFIG_KEY_CONFLICT,
		          "route %u has both \"serve\" and \"proxy\"; keep the one that is meant", i + 1);
	else if (!written->serve && !written->proxy && !is_shaky(parse, entry))
		value_error(parse, entry, &CONFIG_KEY_MISSING, "route %u says not what to do; give \"serve\" or \"proxy\"", i + 1);
	route->target = choice_read(parse, entry, "serve", written->serve, config_target_word, CONFIG_PROXY + 1, CONFIG_PROXY);
	if (written->proxy)
		upstream_find(parse, i, key_of(parse, entry, "proxy"), written->proxy, route);

	route->body_bytes_max = parse->config->limits.body_bytes_max;
	number_read(parse, entry, "body_bytes_max", written->body_bytes_max, KIND_BODY, 1, CONFIG_SIZE_BYTES_MAX,
	            &route->body_bytes_max);

	if (route->target == CONFIG_LIVE) {
		live_read(parse, written, entry, route);
	} else if (written->serve || written->proxy) {
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
	return narrow_length > wide_length && strcmp(narrow + narrow_length - wide_length, wide) == 0;
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
	return narrow->path[length] == '\0' || narrow->path[length] == '/' || wide->path[length - 1] == '/';
}

static void route_reached(struct parse *parse, unsigned i, unsigned entry)
{
	const struct config_route *routes = parse->config->routes;

	for (unsigned j = 0; j < i; j++) {
		if (!host_covers(routes[j].host, routes[i].host) || !path_covers(&routes[j], &routes[i]))
			continue;
		value_fault(parse, entry, CONFIG_WARNING, &CONFIG_ROUTE_UNREACHED,
		            "route %u is never reached, because route %u in line %u takes all of it; move it before that one or remove it",
		            i + 1, j + 1, routes[j].line);
		return;
	}
}

static void routes_read(struct parse *parse)
{
	unsigned count = parse->written->routes_count;
	unsigned list = config_place_key(&parse->places, 0, "routes");
	unsigned first = list ? config_place_first(&parse->places, list) : 0;
	unsigned entry = first;
	unsigned errors_before = parse->faults->error_count;

	parse->config->routes = piece_take(parse, count, sizeof *parse->config->routes);
	parse->config->route_count = count;
	for (unsigned i = 0; i < count; i++, entry = next_of(parse, entry))
		route_read(parse, i, entry);

	/* A route that could not be read matches more or less than is meant; nothing is concluded from it. */
	if (parse->faults->error_count > errors_before)
		return;
	entry = first;
	for (unsigned i = 0; i < count; i++, entry = next_of(parse, entry))
		route_reached(parse, i, entry);
}

/* ---- the whole ---- */

static void whole_check(struct parse *parse)
{
	const struct written *written = parse->written;
	const struct config *config = parse->config;
	unsigned list = config_place_key(&parse->places, 0, "upstreams");
	unsigned entry = list ? config_place_first(&parse->places, list) : 0;

	if (config->listener_count == 0 && !config->admin && !is_shaky(parse, 0))
		value_error(parse, 0, &CONFIG_NOTHING_TO_DO,
		            "there is no listener and no admin socket; give at least one of \"listeners\" and \"admin\"");
	if (config->listener_count > 0 && config->route_count == 0 && !is_shaky(parse, 0))
		value_fault(parse, config_place_key(&parse->places, 0, "listeners"), CONFIG_WARNING, &CONFIG_NOTHING_TO_DO,
		            "there are no routes, so that every request will be answered 404; give \"routes\"");
	for (unsigned i = 0; i < config->upstream_count; i++, entry = next_of(parse, entry)) {
		const char *name = config->upstreams[i].name;
		bool used = !name;

		for (unsigned j = 0; !used && j < written->routes_count; j++)
			used = written->routes[j].proxy && strcmp(written->routes[j].proxy, name) == 0;
		if (!used)
			value_fault(parse, entry, CONFIG_WARNING, &CONFIG_UPSTREAM_UNUSED,
			            "no route names the upstream %s; remove it, or add a route with proxy", quote(name));
	}
}

/* In this order: routes look for upstreams and take over limits, listeners look at the admin socket. */
static void written_read(struct parse *parse)
{
	single_values_read(parse);
	log_read(parse);
	limits_read(parse);
	timeouts_read(parse);
	listeners_read(parse);
	upstreams_read(parse);
	routes_read(parse);
	whole_check(parse);
}

static bool tree_begin(struct parse *parse)
{
	size_t size = tree_size(parse->written, strlen(parse->directory));

	parse->next = malloc(size);
	if (!parse->next)
		return false;
	parse->end = parse->next + size;
	parse->config = piece_take(parse, 1, sizeof *parse->config);
	config_default(parse->config);
	return true;
}

struct config *config_parse_text(const char *text, size_t length, const char *name, struct config_faults *faults)
{
	struct parse parse = {.faults = faults};
	unsigned errors_before = faults->error_count;

	config_faults_name(faults, name);
	if (length > CONFIG_TEXT_BYTES_MAX)
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_TOO_MUCH, 0, 0,
		                 "the configuration is longer than %u bytes; generate less of it", CONFIG_TEXT_BYTES_MAX);
	else if (!directory_find(&parse, name))
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_FILE_UNREADABLE, 0, 0,
		                 "the directory of the file cannot be found: %m; give an absolute path with -c");
	else if (config_shape_read(text, length, &parse.places, faults))
		parse.written = config_written_load(text, length, faults);

	if (parse.written && tree_begin(&parse))
		written_read(&parse);
	else if (parse.written)
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s", CONFIG_MEMORY.sentence);
	config_written_free(parse.written);
	config_places_fini(&parse.places);
	config_faults_sort(faults);

	if (faults->error_count == errors_before)
		return parse.config;
	config_free(parse.config);
	return NULL;
}
