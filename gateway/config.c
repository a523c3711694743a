/* gateway/config.c — the tree's defaults, how it is read from a file, and how it is written back; see config.h.
 *
 * Printing writes every value that is in force, also the ones that the file left out: what `postern check --print` shows
 * may be kept as a file, and means the same with a later version whose defaults differ. */
#include "gateway/config.h"

#include "gateway/config_parse.h"
#include "ring/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const log_level_words[] = { "error", "warn", "info", "debug" };
static const char *const balance_words[] = { "round_robin", "least", "random_two", "hash" };
static const char *const durability_words[] = { "always", "everysec", "memory" };
static const char *const target_words[] = { "proxy", "count", "live", "push", "echo" };

static const char *const log_paths_words[] = { "route", "full" };
static const char *const tls_version_words[] = { "1.2", "1.3" };
static const char *const bool_words[] = { "false", "true" };

const char *config_log_paths_word(unsigned paths)
{
	return paths < array_count(log_paths_words) ? log_paths_words[paths] : NULL;
}

const char *config_log_level_word(unsigned level)
{
	return level < array_count(log_level_words) ? log_level_words[level] : NULL;
}

const char *config_balance_word(unsigned balance)
{
	return balance < array_count(balance_words) ? balance_words[balance] : NULL;
}

const char *config_durability_word(unsigned durability)
{
	return durability < array_count(durability_words) ? durability_words[durability] : NULL;
}

const char *config_tls_version_word(unsigned version)
{
	return version < array_count(tls_version_words) ? tls_version_words[version] : NULL;
}

const char *config_bool_word(unsigned yes)
{
	return yes < array_count(bool_words) ? bool_words[yes] : NULL;
}

const char *config_target_word(unsigned target)
{
	return target < array_count(target_words) ? target_words[target] : NULL;
}

void config_default(struct config *config)
{
	*config = (struct config){
		.magic = CONFIG_MAGIC,
		.log = {.level = CONFIG_LOG_INFO},
		.count = {.durability = CONFIG_DURABILITY_ALWAYS, .new_sites = true, .segment_bytes = 64 << 20},
		.limits = {
#define LIMIT_DEFAULT(name, kind, default_value, least, most) .name = default_value,
			CONFIG_LIMITS(LIMIT_DEFAULT)
#undef LIMIT_DEFAULT
		},
		.timeouts = {
#define TIMEOUT_DEFAULT(name, default_ms, least, most) .name##_ms = default_ms,
			CONFIG_TIMEOUTS(TIMEOUT_DEFAULT)
#undef TIMEOUT_DEFAULT
		},
	};
}

/* The whole file, or NULL with a fault. One byte more than is allowed is read, to see that there is more. */
static char *file_read(int fd, size_t *length, struct config_faults *faults)
{
	char *text = malloc(CONFIG_TEXT_BYTES_MAX + 1);

	if (!text) {
		config_fault_add(
			faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s", CONFIG_MEMORY.sentence);
		return NULL;
	}
	for (*length = 0; *length <= CONFIG_TEXT_BYTES_MAX;) {
		ssize_t n = read(fd, text + *length, CONFIG_TEXT_BYTES_MAX + 1 - *length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			config_fault_add(faults, CONFIG_ERROR, &CONFIG_FILE_UNREADABLE, 0, 0,
				"the configuration cannot be read: %s", strerror(errno));
			free(text);
			return NULL;
		}
		if (n == 0)
			break;
		*length += (size_t)n;
	}
	return text;
}

struct config *config_load(const char *path, struct config_faults *faults)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	config_faults_name(faults, path);
	if (fd < 0) {
		config_fault_add(faults, CONFIG_ERROR, &CONFIG_FILE_UNREADABLE, 0, 0,
			"the configuration cannot be opened: %s; give an existing file with -c",
			strerror(errno));
		return NULL;
	}

	size_t length;
	char *text = file_read(fd, &length, faults);
	struct config *config = text ? config_parse_text(text, length, path, faults) : NULL;

	free(text);
	close(fd);
	return config;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	check(config->magic == CONFIG_MAGIC);
	config->magic = 0;
	free(config);
}

/* Plain where no reader of YAML could take it for something else, else between double quotes. Control characters cannot
 * be in a loaded value, so the quote and the backslash are all that needs escaping. */
static void word_print(const char *word, FILE *out)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
	bool quote = !(*word == '/' || (*word >= '0' && *word <= '9') ||
			     (*word >= 'a' && *word <= 'z')) ||
		word[strspn(word, plain)] != '\0';

	if (!quote) {
		fputs(word, out);
		return;
	}
	fputc('"', out);
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			fputc('\\', out);
		fputc(*word, out);
	}
	fputc('"', out);
}

static void line_print(const char *key, const char *word, FILE *out)
{
	fprintf(out, "%s: ", key);
	word_print(word, out);
	fputc('\n', out);
}

static void size_print(const char *key, uint64_t bytes, FILE *out)
{
	fprintf(out, "%s: %s\n", key,
		bytes == CONFIG_UNLIMITED ? "unlimited" : config_size_word(bytes).text);
}

/* A count is written in full: 10000, not 10000 with a unit that happens to divide it. */
static void count_print(const char *key, uint64_t count, FILE *out)
{
	fprintf(out, "%s: %llu\n", key, (unsigned long long)count);
}

static void limits_print(const struct config *config, FILE *out)
{
#define PRINT_COUNT count_print
#define PRINT_SIZE  size_print
#define PRINT_BODY  size_print
#define LIMIT_PRINT(name, kind, default_value, least, most) \
	PRINT_##kind("  " #name, config->limits.name, out);
	fprintf(out, "\nlimits:\n");
	CONFIG_LIMITS(LIMIT_PRINT)
#undef LIMIT_PRINT
#undef PRINT_COUNT
#undef PRINT_SIZE
#undef PRINT_BODY
#define TIMEOUT_PRINT(name, default_ms, least, most) \
	fprintf(out, "  " #name ": %s\n", config_duration_word(config->timeouts.name##_ms).text);
	fprintf(out, "\ntimeouts:\n");
	CONFIG_TIMEOUTS(TIMEOUT_PRINT)
#undef TIMEOUT_PRINT
}

/* The keys that a listener and its hosts have in common, `indent` deep. */
static void certificates_print(int indent, const struct config_certificate *certificates,
	unsigned count, FILE *out)
{
	fprintf(out, "certificates:\n");
	for (unsigned i = 0; i < count; i++) {
		fprintf(out, "%*s", indent, "");
		line_print("  - certificate", certificates[i].certificate, out);
		fprintf(out, "%*s", indent, "");
		line_print("    key", certificates[i].key, out);
	}
}

static void words_print(int indent, const char *key, const char *const *words, unsigned count,
	FILE *out)
{
	fprintf(out, "%*s%s:\n", indent, "", key);
	for (unsigned i = 0; i < count; i++) {
		fprintf(out, "%*s  - ", indent, "");
		word_print(words[i], out);
		fputc('\n', out);
	}
}

static void client_certificates_print(
	int indent, const struct config_client_certificates *asked, FILE *out)
{
	if (!asked->ca)
		return;
	fprintf(out, "%*sclient_certificates:\n%*s", indent, "", indent, "");
	line_print("  ca", asked->ca, out);
	if (asked->crl) {
		fprintf(out, "%*s", indent, "");
		line_print("  crl", asked->crl, out);
	}
	fprintf(out, "%*s  depth: %u\n", indent, "", asked->depth);
	fprintf(out, "%*s  required: %s\n", indent, "", config_bool_word(asked->required));
}

static void host_print(const struct config_host *host, FILE *out)
{
	fprintf(out, "        - ");
	certificates_print(10, host->certificates, host->certificate_count, out);
	if (host->name_count > 0)
		words_print(10, "names", host->names, host->name_count, out);
	words_print(10, "alpn", host->alpn, host->alpn_count, out);
	client_certificates_print(10, &host->client_certificates, out);
}

static void listener_print(const struct config_listener *listener, FILE *out)
{
	const struct config_tls *tls = &listener->tls;

	line_print("  - address", listener->address.text, out);
	if (tls->certificate_count == 0)
		return;
	fprintf(out, "    tls:\n      ");
	certificates_print(6, tls->certificates, tls->certificate_count, out);
	if (tls->host_count > 0)
		fprintf(out, "      hosts:\n");
	for (unsigned i = 0; i < tls->host_count; i++)
		host_print(&tls->hosts[i], out);
	fprintf(out, "      strict_sni: %s\n", config_bool_word(tls->strict_sni));
	words_print(6, "alpn", tls->alpn, tls->alpn_count, out);
	/* In quotes, because to other readers of YAML these are numbers. */
	fprintf(out, "      versions:\n");
	for (unsigned i = tls->version_min; i <= tls->version_max; i++)
		fprintf(out, "        - \"%s\"\n", config_tls_version_word(i));
	fprintf(out, "      tickets: %s\n", config_bool_word(tls->tickets));
	client_certificates_print(6, &tls->client_certificates, out);
}

static void upstream_print(const struct config_upstream *upstream, FILE *out)
{
	line_print("  - name", upstream->name, out);
	line_print("    balance", config_balance_word(upstream->balance), out);
	fprintf(out, "    servers:\n");
	for (unsigned i = 0; i < upstream->server_count; i++) {
		fprintf(out, "      - ");
		word_print(upstream->servers[i].text, out);
		fputc('\n', out);
	}
	if (upstream->health.path) {
		line_print("    health:\n      path", upstream->health.path, out);
		fprintf(out, "      every: %s\n",
			config_duration_word(upstream->health.every_ms).text);
	}
	count_print("    keep_alive", upstream->keep_alive_max, out);
}

static void clients_print(const struct config_route *route, FILE *out)
{
	if (route->client_count == 0)
		return;
	fprintf(out, "    client:\n");
	for (unsigned i = 0; i < route->client_count; i++) {
		const struct config_client *client = &route->clients[i];
		char word[CONFIG_WORD_BYTES_MAX + 16];

		snprintf(word, sizeof word, "%s%s",
			client->kind == CONFIG_CLIENT_SUBJECT ? "subject:" : "", client->text);
		fprintf(out, "      - ");
		word_print(word, out);
		fputc('\n', out);
	}
}

static void websocket_print(const struct config_websocket *websocket, FILE *out)
{
	if (websocket->protocol_count > 0)
		words_print(4, "protocols", websocket->protocols, websocket->protocol_count, out);
	if (websocket->origin_count > 0)
		words_print(4, "origins", websocket->origin_list, websocket->origin_count, out);
	line_print("    deflate", config_bool_word(websocket->deflate), out);
	if (!websocket->deflate)
		return;
	line_print("    deflate_takeover", config_bool_word(websocket->deflate_takeover), out);
	count_print("    deflate_window_bits", websocket->deflate_window_bits, out);
	size_print("    deflate_bytes_min", websocket->deflate_bytes_min, out);
}

static void route_print(const struct config_route *route, FILE *out)
{
	const char *dash = "  - ";
	char key[32];

	if (route->host) {
		line_print("  - host", route->host, out);
		dash = "    ";
	}
	if (route->match != CONFIG_MATCH_ANY) {
		snprintf(key, sizeof key, "%s%s", dash,
			route->match == CONFIG_MATCH_PATH ? "path" : "prefix");
		line_print(key, route->path, out);
	}
	if (route->target == CONFIG_PROXY)
		line_print("    proxy", route->upstream->name, out);
	else
		line_print("    serve", config_target_word(route->target), out);
	clients_print(route, out);
	size_print("    body_bytes_max", route->body_bytes_max, out);
	if (route->target == CONFIG_ECHO || route->target == CONFIG_LIVE || route->target == CONFIG_COUNT)
		websocket_print(&route->websocket, out);
	if (route->target == CONFIG_LIVE || route->target == CONFIG_COUNT)
		fprintf(out, "    heartbeat: %s\n", config_duration_word(route->heartbeat_ms).text);
	if (route->target == CONFIG_LIVE) {
		bool off = route->idle_reminder_ms == 0;

		fprintf(out, "    idle_reminder: %s\n",
			off ? "off" : config_duration_word(route->idle_reminder_ms).text);
	}
}

void config_print(const struct config *config, FILE *out)
{
	check(config->magic == CONFIG_MAGIC);

	if (config->core_count == 0)
		fprintf(out, "cores: auto\n");
	else
		fprintf(out, "cores: %u\n", config->core_count);
	if (config->admin)
		line_print("admin", config->admin, out);
	line_print("state", config->state, out);
	fprintf(out, "log:\n");
	line_print("  access", config->log.access ? config->log.access : "off", out);
	line_print("  level", config_log_level_word(config->log.level), out);
	line_print("  paths", config_log_paths_word(config->log.paths), out);
	fprintf(out, "count:\n");
	line_print("  durability", config_durability_word(config->count.durability), out);
	line_print("  new_sites", config_bool_word(config->count.new_sites), out);
	size_print("  segment", config->count.segment_bytes, out);
	limits_print(config, out);

	if (config->listener_count > 0)
		fprintf(out, "\nlisteners:\n");
	for (unsigned i = 0; i < config->listener_count; i++)
		listener_print(&config->listeners[i], out);
	if (config->upstream_count > 0)
		fprintf(out, "\nupstreams:\n");
	for (unsigned i = 0; i < config->upstream_count; i++)
		upstream_print(&config->upstreams[i], out);
	if (config->route_count > 0)
		fprintf(out, "\nroutes:\n");
	for (unsigned i = 0; i < config->route_count; i++)
		route_print(&config->routes[i], out);
}
