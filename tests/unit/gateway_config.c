/* The configuration: what a file may say, what is said about a bad one, and that printing and loading are inverse. */
#include <criterion/criterion.h>

#include "gateway/config_fault.c"
#include "gateway/config_value.c"
#include "gateway/config.c"
#include "gateway/config_shape.c"
#include "gateway/config_parse_word.c"
#include "gateway/config_parse_route.c"
#include "gateway/config_parse_tls.c"
#include "gateway/config_parse.c"

#include <pthread.h>

/* ---- helpers ---- */

/* The faults of a text as the lines that a person sees; to be freed. "" for a text without any. */
static char *said_of_bytes(const char *text, size_t length)
{
	struct config_faults faults;
	char *said = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&said, &size);

	config_faults_init(&faults);
	struct config *config = config_parse_text(text, length, "/etc/postern/p.yaml", &faults);

	config_faults_print(&faults, out);
	fclose(out);
	cr_expect_eq(config == NULL, faults.error_count > 0,
		"a tree is given exactly when there is no error");
	config_free(config);
	config_faults_fini(&faults);
	return said;
}

static void expect_said(int line, const char *text, const char *expected)
{
	char *said = said_of_bytes(text, strlen(text));

	cr_expect_str_eq(
		said, expected, "line %d\n%s\nsaid:\n%swanted:\n%s", line, text, said, expected);
	free(said);
}
#define EXPECT_SAID(text, expected) expect_said(__LINE__, text, expected)
#define AT(place)                   "/etc/postern/p.yaml:" place ": "

/* A tree of a good text. */
static struct config *config_of(const char *text)
{
	struct config_faults faults;

	config_faults_init(&faults);
	struct config *config =
		config_parse_text(text, strlen(text), "/etc/postern/p.yaml", &faults);

	if (!config)
		config_faults_print(&faults, stderr);
	cr_assert(config);
	config_faults_fini(&faults);
	return config;
}

static char *printed(const struct config *config)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	config_print(config, out);
	fclose(out);
	return text;
}

static void expect_same_asked(
	const struct config_client_certificates *a, const struct config_client_certificates *b)
{
	cr_expect_eq(a->ca == NULL, b->ca == NULL);
	cr_expect_eq(a->crl == NULL, b->crl == NULL);
	cr_expect_eq(a->depth, b->depth);
	cr_expect_eq(a->required, b->required);
}

/* Field by field where there are no pointers, by print where there are: two trees are the same when both agree. */
static void expect_same(const struct config *a, const struct config *b)
{
	char *a_text = printed(a), *b_text = printed(b);

	cr_expect_str_eq(a_text, b_text);
	cr_expect_eq(a->core_count, b->core_count);
	cr_expect(memcmp(&a->limits, &b->limits, sizeof a->limits) == 0);
	cr_expect(memcmp(&a->timeouts, &b->timeouts, sizeof a->timeouts) == 0);
	cr_assert_eq(a->listener_count, b->listener_count);
	for (unsigned i = 0; i < a->listener_count; i++) {
		const struct config_tls *x = &a->listeners[i].tls, *y = &b->listeners[i].tls;

		cr_expect(memcmp(&a->listeners[i].address, &b->listeners[i].address,
				  sizeof a->listeners[i].address) == 0);
		cr_expect_eq(x->certificate_count, y->certificate_count);
		cr_expect_eq(x->alpn_count, y->alpn_count);
		cr_expect_eq(x->strict_sni, y->strict_sni);
		cr_expect_eq(x->tickets, y->tickets);
		cr_expect_eq(x->version_min, y->version_min);
		cr_expect_eq(x->version_max, y->version_max);
		expect_same_asked(&x->client_certificates, &y->client_certificates);
		cr_assert_eq(x->host_count, y->host_count);
		for (unsigned j = 0; j < x->host_count; j++) {
			cr_assert_eq(x->hosts[j].name_count, y->hosts[j].name_count);
			for (unsigned k = 0; k < x->hosts[j].name_count; k++)
				cr_expect_str_eq(x->hosts[j].names[k], y->hosts[j].names[k]);
			cr_expect_eq(x->hosts[j].certificate_count, y->hosts[j].certificate_count);
			cr_expect_eq(x->hosts[j].alpn_count, y->hosts[j].alpn_count);
			expect_same_asked(&x->hosts[j].client_certificates,
				&y->hosts[j].client_certificates);
		}
	}
	cr_assert_eq(a->upstream_count, b->upstream_count);
	for (unsigned i = 0; i < a->upstream_count; i++) {
		cr_expect_eq(a->upstreams[i].balance, b->upstreams[i].balance);
		cr_expect_eq(a->upstreams[i].keep_alive_max, b->upstreams[i].keep_alive_max);
		cr_expect_eq(a->upstreams[i].health.every_ms, b->upstreams[i].health.every_ms);
		cr_expect_eq(a->upstreams[i].server_count, b->upstreams[i].server_count);
	}
	cr_expect_eq(a->count.durability, b->count.durability);
	cr_expect_eq(a->count.new_sites, b->count.new_sites);
	cr_expect_eq(a->count.segment_bytes, b->count.segment_bytes);
	cr_assert_eq(a->route_count, b->route_count);
	for (unsigned i = 0; i < a->route_count; i++) {
		cr_expect_eq(a->routes[i].match, b->routes[i].match);
		cr_expect_eq(a->routes[i].target, b->routes[i].target);
		cr_expect_eq(a->routes[i].body_bytes_max, b->routes[i].body_bytes_max);
		cr_expect_eq(a->routes[i].heartbeat_ms, b->routes[i].heartbeat_ms);
		cr_expect_eq(a->routes[i].idle_reminder_ms, b->routes[i].idle_reminder_ms);
		cr_expect_eq(a->routes[i].websocket.deflate, b->routes[i].websocket.deflate);
		cr_expect_eq(a->routes[i].websocket.origins, b->routes[i].websocket.origins);
		cr_expect_eq(a->routes[i].websocket.protocol_count, b->routes[i].websocket.protocol_count);
		cr_assert_eq(a->routes[i].client_count, b->routes[i].client_count);
		for (unsigned j = 0; j < a->routes[i].client_count; j++) {
			cr_expect_eq(a->routes[i].clients[j].kind, b->routes[i].clients[j].kind);
			cr_expect_str_eq(
				a->routes[i].clients[j].text, b->routes[i].clients[j].text);
		}
	}
	free(a_text);
	free(b_text);
}

static void expect_round_trip(const char *text)
{
	struct config *first = config_of(text);
	char *once = printed(first);
	struct config *second = config_of(once);

	expect_same(first, second);
	free(once);
	config_free(first);
	config_free(second);
}

static char *repeated(const char *before, const char *unit, unsigned count, const char *after)
{
	char *text = malloc(strlen(before) + strlen(unit) * count + strlen(after) + 1);
	char *to = stpcpy(text, before);

	for (unsigned i = 0; i < count; i++)
		to = stpcpy(to, unit);
	strcpy(to, after);
	return text;
}

static void file_write(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "w");
	cr_assert(file);
	fputs(text, file);
	fclose(file);
}

static void directory_make(char *template)
{
	char tls[256];

	cr_assert(mkdtemp(template));
	snprintf(tls, sizeof tls, "%s/tls", template);
	cr_assert_eq(mkdir(tls, 0700), 0);
}

static void directory_remove(const char *directory)
{
	static const char *const names[] = {
		"tls/ecdsa.pem",
		"tls/ecdsa.key",
		"tls/rsa.pem",
		"tls/rsa.key",
		"tls",
		"postern.yaml",
		"printed.yaml",
		"",
	};
	char path[256];

	for (unsigned i = 0; i < array_count(names); i++) {
		snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		remove(path);
	}
}

static const char contract[] =
	"cores: auto                      # reactor threads; auto = every core this process may run on\n"
	"admin: run/admin.sock            # UNIX socket, mode 0600\n"
	"state: state/                    # counter journal, ticket keys; relative paths are relative to this file\n"
	"log: { access: log/access.jsonl, level: info }\n"
	"\n"
	"listeners:\n"
	"  - address: 127.0.0.1:8443\n"
	"    tls:\n"
	"      certificates:\n"
	"        - { certificate: tls/ecdsa.pem, key: tls/ecdsa.key }\n"
	"        - { certificate: tls/rsa.pem,   key: tls/rsa.key }\n"
	"  - address: 127.0.0.1:8080      # no tls: plain HTTP\n"
	"\n"
	"upstreams:\n"
	"  - name: edc\n"
	"    balance: least               # round_robin | least | random_two | hash\n"
	"    servers: [ \"127.0.0.1:9001\", \"127.0.0.1:9002\" ]\n"
	"    health: { path: /healthz, every: 2s }\n"
	"\n"
	"routes:                          # first match wins\n"
	"  - { path: /count,   serve: count }\n"
	"  - { prefix: /sites, serve: count }\n"
	"  - { path: /live,    serve: live, heartbeat: 30s, idle_reminder: 10m }\n"
	"  - { prefix: /push,  serve: push }\n"
	"  - { path: /echo,    serve: echo }        # WebSocket echo, for conformance and load tests\n"
	"  - { prefix: /,      proxy: edc }\n";

/* ---- a good file ---- */

static void expect_contract(const struct config *config, const char *directory)
{
	char path[256];

	cr_expect_eq(config->core_count, 0);
	snprintf(path, sizeof path, "%s/run/admin.sock", directory);
	cr_expect_str_eq(config->admin, path);
	cr_expect_eq(config->admin_address.socket.ss_family, AF_UNIX);
	snprintf(path, sizeof path, "%s/state", directory);
	cr_expect_str_eq(config->state, path);
	snprintf(path, sizeof path, "%s/log/access.jsonl", directory);
	cr_expect_str_eq(config->log.access, path);
	cr_expect_eq(config->log.level, CONFIG_LOG_INFO);

	cr_assert_eq(config->listener_count, 2);
	const struct sockaddr_in *in4 =
		(const struct sockaddr_in *)&config->listeners[0].address.socket;
	cr_expect_eq(in4->sin_family, AF_INET);
	cr_expect_eq(ntohs(in4->sin_port), 8443);
	cr_expect_eq(ntohl(in4->sin_addr.s_addr), INADDR_LOOPBACK);
	cr_expect_eq(config->listeners[0].address.length, sizeof *in4);
	cr_assert_eq(config->listeners[0].tls.certificate_count, 2);
	snprintf(path, sizeof path, "%s/tls/rsa.key", directory);
	cr_expect_str_eq(config->listeners[0].tls.certificates[1].key, path);
	cr_assert_eq(config->listeners[0].tls.alpn_count, 1);
	cr_expect_str_eq(config->listeners[0].tls.alpn[0], "http/1.1");
	cr_expect_eq(config->listeners[1].tls.certificate_count, 0);

	cr_assert_eq(config->upstream_count, 1);
	cr_expect_str_eq(config->upstreams[0].name, "edc");
	cr_expect_eq(config->upstreams[0].balance, CONFIG_LEAST);
	cr_assert_eq(config->upstreams[0].server_count, 2);
	cr_expect_str_eq(config->upstreams[0].servers[1].text, "127.0.0.1:9002");
	cr_expect_str_eq(config->upstreams[0].health.path, "/healthz");
	cr_expect_eq(config->upstreams[0].health.every_ms, 2000);
	cr_expect_eq(config->upstreams[0].keep_alive_max, 32);

	cr_assert_eq(config->route_count, 6);
	cr_expect_eq(config->routes[0].match, CONFIG_MATCH_PATH);
	cr_expect_eq(config->routes[0].target, CONFIG_COUNT);
	cr_expect_eq(config->routes[1].match, CONFIG_MATCH_PREFIX);
	cr_expect_str_eq(config->routes[1].path, "/sites");
	cr_expect_eq(config->routes[2].target, CONFIG_LIVE);
	cr_expect_eq(config->routes[2].heartbeat_ms, 30000);
	cr_expect_eq(config->routes[2].idle_reminder_ms, 600000);
	cr_expect_eq(config->routes[3].target, CONFIG_PUSH);
	cr_expect_eq(config->routes[4].target, CONFIG_ECHO);
	cr_expect_eq(config->routes[5].target, CONFIG_PROXY);
	cr_expect_eq(config->routes[5].upstream, &config->upstreams[0]);
	cr_expect_eq(config->routes[5].body_bytes_max, 64 << 20);
	cr_expect_null(config->routes[5].host);
}

Test(config, the_example_of_the_contract_works_as_written)
{
	char directory[] = "/tmp/postern-config-XXXXXX", path[256], copy[256];
	struct config_faults faults;

	directory_make(directory);
	file_write(directory, "tls/ecdsa.pem", "");
	file_write(directory, "tls/ecdsa.key", "");
	file_write(directory, "tls/rsa.pem", "");
	file_write(directory, "tls/rsa.key", "");
	file_write(directory, "postern.yaml", contract);
	snprintf(path, sizeof path, "%s/postern.yaml", directory);
	snprintf(copy, sizeof copy, "%s/printed.yaml", directory);
	config_faults_init(&faults);

	struct config *config = config_load(path, &faults);
	cr_assert(config);
	cr_expect_eq(faults.count, 0);
	expect_contract(config, directory);

	char *text = printed(config);
	file_write(directory, "printed.yaml", text);
	struct config *again = config_load(copy, &faults);
	cr_assert(again);
	cr_expect_eq(faults.count, 0);
	expect_contract(again, directory);
	expect_same(config, again);

	free(text);
	config_free(config);
	config_free(again);
	config_faults_fini(&faults);
	directory_remove(directory);
}

Test(config, a_relative_name_begins_in_the_working_directory)
{
	static const char text[] = "admin: ./run//a.sock\n";
	char here[PATH_MAX], wanted[PATH_MAX + 64];
	struct config_faults faults;

	cr_assert_eq(chdir("/tmp"), 0);
	cr_assert(getcwd(here, sizeof here));
	config_faults_init(&faults);
	struct config *config = config_parse_text(text, sizeof text - 1, "conf/p.yaml", &faults);
	cr_assert(config);
	snprintf(wanted, sizeof wanted, "%s/conf/run//a.sock", here);
	cr_expect_str_eq(config->admin, wanted);
	config_free(config);

	config = config_parse_text(text, sizeof text - 1, "/p.yaml", &faults);
	cr_assert(config);
	cr_expect_str_eq(config->admin, "/run//a.sock");
	config_free(config);
	config_faults_fini(&faults);
}

Test(config, a_file_that_says_little_gets_every_default)
{
	struct config *config = config_of("admin: /a.sock\n");
	char *text = printed(config);

	cr_expect_str_eq(text,
		"cores: auto\nadmin: /a.sock\nstate: /etc/postern/state\nlog:\n  access: off\n  level: info\n  paths: route\n"
		"count:\n  durability: always\n  new_sites: true\n  segment: 64M\n"
		"\nlimits:\n  connections_max: 10000\n  head_bytes_max: 16k\n  uri_bytes_max: 8k\n"
		"  fields_max: 100\n  body_bytes_max: 64M\n  memory_bytes_max: 1G\n"
		"  websocket_message_bytes_max: 1M\n  websocket_frame_bytes_max: 1G\n"
		"  websocket_small_fragments_max: 4096\n  deflate_bytes_max: 256M\n  push_bytes_max: 64k\n  live_message_bytes_max: 4k\n  live_queue_bytes_max: 256k\n  live_queue_count_max: 64\n"
		"  tls_handshakes_max: 1024\n  tls_handshakes_queued_max: 4096\n"
		"  changes_max: 16384\n  sites_max: 65536\n  idempotency_keys_max: 100000\n  reservations_max: 10000\n"
		"\ntimeouts:\n  tls_handshake: 10s\n  request_head: 10s\n  request_body: 30s\n  keep_alive: 75s\n"
		"  send: 30s\n  upstream_connect: 5s\n  upstream_response: 1m\n  upstream_body: 1m\n"
		"  upstream_keep_alive: 1m\n  websocket_idle: 1m\n  drain: 30s\n  close: 2s\n"
		"  ticket_lifetime: 12h\n  idempotency_window: 24h\n  reservation: 30m\n");
	free(text);
	config_free(config);
}

Test(config, what_is_printed_loads_as_the_same)
{
	expect_round_trip("admin: a\ncount: { durability: everysec, new_sites: false, segment: 64k }\nlimits: { sites_max: 1 }\n"
		"timeouts: { idempotency_window: 720h, reservation: 1ms }\n"
		"routes: [ { prefix: /sites, serve: count, heartbeat: 5s, origins: [ same ], deflate: true } ]\n");
	expect_round_trip(
		"admin: \"a \\\"quoted\\\" \\\\ name: #1\"\nlog: { access: '-', level: debug }\ncores: 256\n");
	expect_round_trip("admin: \"\u00fc\uFEFF\U0001F600\"\nstate: '- x'\n");
	expect_round_trip(
		"log: { access: ./off }\nadmin: '{a}'\nlimits: { body_bytes_max: unlimited, connections_max: 1024 }\n"
		"timeouts: { close: 1ms, drain: 24h, send: 90s, keep_alive: 1500ms }\n");
	expect_round_trip(
		"listeners: [ { address: '[::1]:1' }, { address: 'unix:run/x.sock' }, { address: '0.0.0.0:65535' } ]\n"
		"upstreams:\n  - { name: '9', servers: ['unix:/a b', '[2001:DB8::0:1]:80'], keep_alive: 0, balance: hash }\n"
		"  - { name: a.b, servers: ['10.0.0.1:1'], health: { path: /h }, balance: random_two }\n"
		"routes: [ { host: EDC.Example.org, proxy: '9' }, { host: '*.x.org', prefix: /a, proxy: a.b,\n"
		"  body_bytes_max: unlimited }, { path: /l, serve: live, heartbeat: 1m }, { host: '[::1]', path: /l,\n"
		"  serve: echo, body_bytes_max: 1000 } ]\n");
}

Test(config, a_host_is_kept_in_lower_case_and_an_address_in_its_canonical_form)
{
	struct config *config = config_of("listeners: [ { address: '[2001:DB8:0::1]:080' } ]\n"
					  "routes: [ { host: '*.Example.ORG', serve: echo } ]\n");

	cr_expect_str_eq(config->listeners[0].address.text, "[2001:db8::1]:80");
	cr_expect_str_eq(config->routes[0].host, "*.example.org");
	cr_expect_eq(config->routes[0].match, CONFIG_MATCH_ANY);
	cr_expect_str_eq(config->routes[0].path, "");
	cr_expect_eq(config->routes[0].line, 2);
	config_free(config);
}

Test(config, a_byte_order_mark_and_directives_are_no_fault)
{
	config_free(config_of("\xef\xbb\xbf"
			      "admin: a\nstate: b\nlog:\n  level: info\n"));
	config_free(config_of("%YAML 1.1\n---\nadmin: a\n...\n"));
	config_free(config_of("admin: a\r\nstate: b\r\n"));
	config_free(config_of("{\"admin\": \"a\"}"));
}

/* Every key of `tls` and `client`. Its files are any that can be read. */
static const char tls_whole[] =
	"listeners:\n"
	"  - address: 127.0.0.1:8443\n"
	"    tls:\n"
	"      certificates: [ { certificate: /etc/passwd, key: /etc/../etc/passwd } ]\n"
	"      hosts:\n"
	"        - names: [ EDC.Example.org, \"*.Trial.example.org\", a ]\n"
	"          certificates: [ { certificate: /etc/passwd, key: /etc/passwd }, { certificate: /etc/group, key: /etc/group } ]\n"
	"          alpn: [ http/1.1 ]\n"
	"          client_certificates: { ca: /etc/group, depth: 0 }\n"
	"        - certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ]\n"
	"      strict_sni: true\n"
	"      alpn: [ http/1.1 ]\n"
	"      versions: [ \"1.3\" ]\n"
	"      tickets: false\n"
	"      client_certificates: { ca: /etc/passwd, crl: /etc/hosts, depth: 8, required: false }\n"
	"timeouts: { ticket_lifetime: 168h }\n"
	"limits: { tls_handshakes_max: 1, tls_handshakes_queued_max: 0 }\n"
	"routes:\n"
	"  - { path: /a, serve: echo, client: [ Site-7.example.org, \"*.CRO.example.org\", \"subject:CN=Monitor 4,O=CRO\" ] }\n"
	"  - { path: /b, serve: echo, client: [ \"spiffe://Example.org/a\", Cra.x@CRO.example.org, \"urn:uuid:1\" ] }\n"
	"  - { path: /b, serve: echo, client: [ \"*\" ] }\n"
	"  - { path: /c, serve: count }\n";

Test(config, the_whole_of_tls_is_read)
{
	struct config *config = config_of(tls_whole);
	const struct config_tls *tls = &config->listeners[0].tls;
	const struct config_host *host = tls->hosts;
	const struct config_route *routes = config->routes;

	cr_assert_eq(tls->certificate_count, 1);
	cr_expect_str_eq(tls->certificates[0].key, "/etc/../etc/passwd");
	cr_expect(tls->strict_sni && !tls->tickets);
	cr_expect_eq(tls->version_min, CONFIG_TLS_1_3);
	cr_expect_eq(tls->version_max, CONFIG_TLS_1_3);
	cr_expect_str_eq(tls->client_certificates.ca, "/etc/passwd");
	cr_expect_str_eq(tls->client_certificates.crl, "/etc/hosts");
	cr_expect_eq(tls->client_certificates.depth, 8);
	cr_expect_not(tls->client_certificates.required);

	cr_assert_eq(tls->host_count, 2);
	cr_assert_eq(host->name_count, 3);
	cr_expect_str_eq(host->names[0], "edc.example.org");
	cr_expect_str_eq(host->names[1], "*.trial.example.org");
	cr_expect_str_eq(host->names[2], "a");
	cr_assert_eq(host->certificate_count, 2);
	cr_expect_str_eq(host->certificates[1].certificate, "/etc/group");
	cr_expect_eq(host->alpn_count, 1);
	cr_expect_str_eq(host->client_certificates.ca, "/etc/group");
	cr_expect_null(host->client_certificates.crl); /* its own section is its own, and takes nothing of the listener's */
	cr_expect_eq(host->client_certificates.depth, 0);
	cr_expect(host->client_certificates.required);
	cr_expect_eq(host->line, 6);

	host++;
	cr_expect_eq(host->name_count, 0);
	cr_assert_eq(host->alpn_count, 1);
	cr_expect_str_eq(host->alpn[0], "http/1.1");
	cr_expect_str_eq(host->client_certificates.crl, "/etc/hosts");
	cr_expect_eq(host->client_certificates.depth, 8);
	cr_expect_not(host->client_certificates.required);

	cr_expect_eq(config->timeouts.ticket_lifetime_ms, 604800000);
	cr_expect_eq(config->limits.tls_handshakes_max, 1);
	cr_expect_eq(config->limits.tls_handshakes_queued_max, 0);

	static const struct config_client wanted[] = {
		{ CONFIG_CLIENT_DNS, "site-7.example.org" },
		{ CONFIG_CLIENT_DNS, "*.cro.example.org" },
		{ CONFIG_CLIENT_SUBJECT, "CN=Monitor 4,O=CRO" },
		{ CONFIG_CLIENT_URI, "spiffe://Example.org/a" },
		{ CONFIG_CLIENT_EMAIL, "Cra.x@cro.example.org" },
		{ CONFIG_CLIENT_URI, "urn:uuid:1" },
		{ CONFIG_CLIENT_ANY, "*" },
	};

	for (unsigned i = 0; i < array_count(wanted); i++) {
		const struct config_client *client = &routes[i / 3].clients[i % 3];

		cr_expect_eq(client->kind, wanted[i].kind, "%u", i);
		cr_expect_str_eq(client->text, wanted[i].text);
	}
	cr_expect_eq(routes[2].client_count, 1);
	cr_expect_eq(routes[3].client_count, 0);
	config_free(config);
	expect_round_trip(tls_whole);
	EXPECT_SAID(tls_whole, "");
}

Test(config, tls_that_says_little_gets_every_default)
{
	struct config *config = config_of(
		"listeners: [ { address: '1.1.1.1:1', tls: { certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ] } } ]\n"
		"routes: [ { path: /, serve: echo } ]\n");
	const struct config_tls *tls = &config->listeners[0].tls;
	char *text = printed(config);

	cr_expect_eq(tls->host_count, 0);
	cr_expect_null(tls->client_certificates.ca);
	cr_expect(tls->tickets && !tls->strict_sni);
	cr_expect_eq(tls->version_min, CONFIG_TLS_1_2);
	cr_expect_eq(tls->version_max, CONFIG_TLS_1_3);
	cr_expect(strstr(text,
			  "    tls:\n      certificates:\n        - certificate: /etc/passwd\n          key: /etc/passwd\n"
			  "      strict_sni: false\n      alpn:\n        - http/1.1\n      versions:\n        - \"1.2\"\n        - \"1.3\"\n"
			  "      tickets: true\n"),
		"%s", text);
	free(text);
	config_free(config);
}

Test(config, a_host_without_client_certificates_asks_only_where_the_listener_does)
{
	expect_round_trip(
		"listeners:\n  - address: 1.1.1.1:1\n    tls:\n      certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ]\n"
		"      hosts:\n        - { certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ], names: [],\n"
		"            client_certificates: { ca: /etc/passwd } }\n"
		"        - { names: [ x.org ], certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ] }\n"
		"      versions: [ '1.2' ]\nroutes: [ { path: /, serve: echo } ]\n");
}

Test(config_value, a_name_is_a_host_name_or_refused_by_name)
{
	static const struct {
		const char *text;
		enum config_verdict verdict;
	} rows[] = {
		{ "edc.example.org", CONFIG_GOOD },
		{ "EDC.Example.ORG", CONFIG_GOOD },
		{ "*.example.org", CONFIG_GOOD },
		{ "*.org", CONFIG_GOOD },
		{ "localhost", CONFIG_GOOD },
		{ "a-b.c--d.xn--mnchen-3ya.org", CONFIG_GOOD },
		{ "7.example.org", CONFIG_GOOD },
		{ "1.2.3.4a", CONFIG_GOOD },
		{ "m\u00fcnchen.example.org", CONFIG_NAME_FOREIGN },
		{ "1.2.3.4", CONFIG_NAME_ADDRESS },
		{ "a.7", CONFIG_NAME_ADDRESS },
		{ "::1", CONFIG_NAME_ADDRESS },
		{ "[::1]", CONFIG_NAME_ADDRESS },
		{ "fe80::1:2", CONFIG_NAME_ADDRESS },
		{ "a.org:443", CONFIG_NAME_PORT },
		{ "1.2.3.4:443", CONFIG_NAME_PORT },
		{ "a.org.", CONFIG_NAME_DOT },
		{ "*.a.org.", CONFIG_NAME_DOT },
		{ "*", CONFIG_NAME_WILDCARD },
		{ "*a.org", CONFIG_NAME_WILDCARD },
		{ "a*.org", CONFIG_NAME_WILDCARD },
		{ "a.*.org", CONFIG_NAME_WILDCARD },
		{ "*.*.org", CONFIG_NAME_WILDCARD },
		{ "**.org", CONFIG_NAME_WILDCARD },
		{ "*.", CONFIG_NAME_BAD },
		{ ".", CONFIG_NAME_BAD },
		{ "", CONFIG_NAME_BAD },
		{ ".a.org", CONFIG_NAME_BAD },
		{ "*..org", CONFIG_NAME_BAD },
		{ "a..org", CONFIG_NAME_BAD },
		{ "-a.org", CONFIG_NAME_BAD },
		{ "a-.org", CONFIG_NAME_BAD },
		{ "a_b.org", CONFIG_NAME_BAD },
		{ "a b", CONFIG_NAME_BAD },
		{ "a/b", CONFIG_NAME_BAD },
		{ "https://a.org", CONFIG_NAME_BAD },
		{ "a.org:", CONFIG_NAME_BAD },
		{ "a.org:x", CONFIG_NAME_BAD },
	};
	char text[300];

	for (unsigned i = 0; i < array_count(rows); i++)
		cr_expect_eq(config_name_check(rows[i].text), rows[i].verdict, "%s", rows[i].text);

	memset(text, 'a', sizeof text);
	text[63] = '\0';
	cr_expect_eq(config_name_check(text), CONFIG_GOOD);
	text[63] = 'a', text[64] = '\0';
	cr_expect_eq(config_name_check(text), CONFIG_NAME_BAD);
	for (unsigned i = 1; i < sizeof text; i += 2)
		text[i] = '.', text[i - 1] = 'a';
	text[253] = '\0';
	cr_expect_eq(config_name_check(text), CONFIG_GOOD);
	text[253] = 'a', text[254] = '\0';
	cr_expect_eq(config_name_check(text), CONFIG_NAME_BAD);
}

static void *load_many(void *result)
{
	for (unsigned i = 0; i < 50; i++) {
		struct config *config =
			config_of("admin: a\nroutes: [ { path: /, serve: echo } ]\n");

		*(unsigned *)result += config->route_count;
		config_free(config);
	}
	return NULL;
}

Test(config, several_loads_run_at_once)
{
	pthread_t threads[4];
	unsigned results[4] = { 0 };

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, load_many, &results[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		cr_expect_eq(results[i], 50);
	}
}

/* ---- words ---- */

Test(config_value, durations_have_a_whole_number_and_a_unit)
{
	static const struct {
		const char *text;
		enum config_verdict verdict;
		uint64_t value_ms;
	} rows[] = {
		{ "0s", CONFIG_GOOD, 0 },
		{ "1ms", CONFIG_GOOD, 1 },
		{ "30s", CONFIG_GOOD, 30000 },
		{ "10m", CONFIG_GOOD, 600000 },
		{ "24h", CONFIG_GOOD, 86400000 },
		{ "007s", CONFIG_GOOD, 7000 },
		{ "18446744073709551615ms", CONFIG_GOOD, UINT64_MAX },
		{ "18446744073709551616ms", CONFIG_TOO_LARGE, 0 },
		{ "18446744073709551s", CONFIG_GOOD, UINT64_C(18446744073709551000) },
		{ "18446744073709552s", CONFIG_TOO_LARGE, 0 },
		{ "99999999999999999999999999h", CONFIG_TOO_LARGE, 0 },
		{ "10", CONFIG_UNIT_MISSING, 0 },
		{ "0", CONFIG_UNIT_MISSING, 0 },
		{ "1d", CONFIG_UNIT_UNKNOWN, 0 },
		{ "1S", CONFIG_UNIT_UNKNOWN, 0 },
		{ "1sec", CONFIG_UNIT_UNKNOWN, 0 },
		{ "", CONFIG_NOT_NUMBER, 0 },
		{ "s", CONFIG_NOT_NUMBER, 0 },
		{ "-1s", CONFIG_NOT_NUMBER, 0 },
		{ "+1s", CONFIG_NOT_NUMBER, 0 },
		{ " 1s", CONFIG_NOT_NUMBER, 0 },
		{ "1 s", CONFIG_NOT_NUMBER, 0 },
		{ "1.5s", CONFIG_NOT_NUMBER, 0 },
		{ "1m30s", CONFIG_NOT_NUMBER, 0 },
		{ "0x1s", CONFIG_NOT_NUMBER, 0 },
	};

	for (unsigned i = 0; i < array_count(rows); i++) {
		uint64_t value_ms = 0;

		cr_expect_eq(config_duration_parse(rows[i].text, &value_ms), rows[i].verdict, "%s",
			rows[i].text);
		cr_expect_eq(value_ms, rows[i].value_ms, "%s", rows[i].text);
	}
}

Test(config_value, sizes_are_bytes_or_have_a_unit)
{
	static const struct {
		const char *text;
		enum config_verdict verdict;
		uint64_t value_bytes;
	} rows[] = {
		{ "0", CONFIG_GOOD, 0 },
		{ "10", CONFIG_GOOD, 10 },
		{ "1k", CONFIG_GOOD, 1024 },
		{ "1K", CONFIG_GOOD, 1024 },
		{ "16M", CONFIG_GOOD, 16 << 20 },
		{ "16m", CONFIG_GOOD, 16 << 20 },
		{ "1G", CONFIG_GOOD, 1 << 30 },
		{ "18446744073709551615", CONFIG_GOOD, UINT64_MAX },
		{ "18446744073709551616", CONFIG_TOO_LARGE, 0 },
		{ "17179869183G", CONFIG_GOOD, UINT64_C(17179869183) << 30 },
		{ "17179869184G", CONFIG_TOO_LARGE, 0 },
		{ "1T", CONFIG_UNIT_UNKNOWN, 0 },
		{ "1kb", CONFIG_UNIT_UNKNOWN, 0 },
		{ "99999999999999999999x", CONFIG_UNIT_UNKNOWN, 0 },
		{ "", CONFIG_NOT_NUMBER, 0 },
		{ "k", CONFIG_NOT_NUMBER, 0 },
		{ "-1", CONFIG_NOT_NUMBER, 0 },
		{ "1.5k", CONFIG_NOT_NUMBER, 0 },
		{ "1_000", CONFIG_NOT_NUMBER, 0 },
		{ "1 k", CONFIG_NOT_NUMBER, 0 },
	};

	for (unsigned i = 0; i < array_count(rows); i++) {
		uint64_t value_bytes = 0;

		cr_expect_eq(config_size_parse(rows[i].text, &value_bytes), rows[i].verdict, "%s",
			rows[i].text);
		cr_expect_eq(value_bytes, rows[i].value_bytes, "%s", rows[i].text);
	}
}

Test(config_value, a_word_reads_back_as_its_number)
{
	static const uint64_t numbers[] = { 0, 1, 999, 1000, 1024, 1500, 60000, 65536, 3600000,
		86400000, 1u << 30, UINT64_MAX };

	for (unsigned i = 0; i < array_count(numbers); i++) {
		uint64_t back = 7;

		cr_expect_eq(config_duration_parse(config_duration_word(numbers[i]).text, &back),
			CONFIG_GOOD);
		cr_expect_eq(back, numbers[i]);
		cr_expect_eq(
			config_size_parse(config_size_word(numbers[i]).text, &back), CONFIG_GOOD);
		cr_expect_eq(back, numbers[i]);
	}
	cr_expect_str_eq(config_duration_word(90000).text, "90s");
	cr_expect_str_eq(config_size_word(65536).text, "64k");
}

Test(config_value, addresses_are_read_in_full_or_refused_by_name)
{
	static const struct {
		const char *text;
		enum config_verdict verdict;
		const char *canonical;
	} rows[] = {
		{ "127.0.0.1:8080", CONFIG_GOOD, "127.0.0.1:8080" },
		{ "0.0.0.0:1", CONFIG_GOOD, "0.0.0.0:1" },
		{ "[::1]:443", CONFIG_GOOD, "[::1]:443" },
		{ "[::]:65535", CONFIG_GOOD, "[::]:65535" },
		{ "[::ffff:1.2.3.4]:5", CONFIG_GOOD, "[::ffff:1.2.3.4]:5" },
		{ "unix:/run/x", CONFIG_GOOD, "unix:/run/x" },
		{ "unix:x", CONFIG_GOOD, "unix:/d/x" },
		{ "127.0.0.1", CONFIG_PORT_MISSING, "" },
		{ "[::1]", CONFIG_PORT_MISSING, "" },
		{ "localhost", CONFIG_PORT_MISSING, "" },
		{ "127.0.0.1:", CONFIG_PORT_BAD, "" },
		{ "127.0.0.1:0", CONFIG_PORT_BAD, "" },
		{ "127.0.0.1:65536", CONFIG_PORT_BAD, "" },
		{ "127.0.0.1:+1", CONFIG_PORT_BAD, "" },
		{ "[::1]:http", CONFIG_PORT_BAD, "" },
		{ "127.0.0.1:18446744073709551617", CONFIG_PORT_BAD, "" },
		{ ":80", CONFIG_HOST_MISSING, "" },
		{ "*:80", CONFIG_HOST_MISSING, "" },
		{ "localhost:80", CONFIG_HOST_IS_NAME, "" },
		{ "edc.example.org:80", CONFIG_HOST_IS_NAME, "" },
		{ "256.0.0.1:80", CONFIG_HOST_BAD, "" },
		{ "1.2.3:80", CONFIG_HOST_BAD, "" },
		{ "127.0.0.01:80", CONFIG_HOST_BAD, "" },
		{ "[::1%lo]:80", CONFIG_HOST_BAD, "" },
		{ "[]:80", CONFIG_HOST_BAD, "" },
		{ "[::1:80", CONFIG_HOST_BAD, "" },
		{ "1.2.3.4.5.6.7.8.9.10.11.12:1", CONFIG_HOST_BAD, "" },
		{ "http://a:80", CONFIG_BRACKETS_MISSING, "" },
		{ "::1:80", CONFIG_BRACKETS_MISSING, "" },
		{ "unix:", CONFIG_SOCKET_PATH_BAD, "" },
		{ "", CONFIG_PORT_MISSING, "" },
	};

	for (unsigned i = 0; i < array_count(rows); i++) {
		struct config_address address = { .text = "" };

		cr_expect_eq(config_address_parse(rows[i].text, "/d", &address), rows[i].verdict,
			"%s", rows[i].text);
		cr_expect_str_eq(address.text, rows[i].canonical, "%s", rows[i].text);
	}
}

Test(config_value, a_socket_path_is_taken_up_to_the_last_byte_that_fits)
{
	char text[128] = "unix:/";
	struct config_address address;

	memset(text + 6, 'x', 106);
	text[6 + 106] = '\0';
	cr_expect_eq(config_address_parse(text, "/d", &address), CONFIG_GOOD);
	cr_expect_str_eq(address.text, text);
	cr_expect_eq(address.length, offsetof(struct sockaddr_un, sun_path) + 108);
	strcat(text, "x");
	cr_expect_eq(config_address_parse(text, "/d", &address), CONFIG_SOCKET_PATH_BAD);
	cr_expect_eq(
		config_address_parse("unix:xxxxxxxx", text + 5, &address), CONFIG_SOCKET_PATH_BAD);
}

/* ---- faults of shape ---- */

Test(config, an_unknown_key_is_named_with_its_place_and_the_nearest_known_one)
{
	EXPECT_SAID(
		"admin: a\nlisteners:\n\n  - adress: 127.0.0.1:1\nroutes: [{path: /, serve: echo}]\n",
		AT("4:5") "unknown key \"adress\" in a listener; did you mean \"address\"?\n");
	EXPECT_SAID("admin: a\nzzz: { a: [1, { b: c }] }\n",
		AT("2:1") "unknown key \"zzz\" in the file; known are: cores, admin, state, log, count, limits, timeouts, listeners, "
			  "upstreams, routes\n");
	EXPECT_SAID("admin: a\nlog: { lvl: info, acess: x }\n",
		AT("2:8") "unknown key \"lvl\" in log; did you mean \"level\"?\n" AT(
			"2:19") "unknown key \"acess\" in log; did you mean \"access\"?\n");
	EXPECT_SAID("admin: a\ntimeouts: { keep_alvie: 1s }\n",
		AT("2:13") "unknown key \"keep_alvie\" in timeouts; did you mean \"keep_alive\"?\n");
	EXPECT_SAID(
		"admin: a\nupstreams: [{name: a, servers: ['1.1.1.1:1'], health: {path: /, evry: 1s}}]\n",
		AT("2:13") "warning: no route names the upstream \"a\"; remove it, or add a route with proxy\n" AT(
			"2:65") "unknown key \"evry\" in health; did you mean \"every\"?\n");
	EXPECT_SAID("admin: a\n? <<\n: b\n",
		AT("2:3") "unknown key \"<<\" in the file; known are: cores, admin, state, log, count, limits, "
			  "timeouts, listeners, upstreams, routes\n");
}

Test(config, a_repeated_key_is_named_with_the_line_of_the_first)
{
	EXPECT_SAID("admin: a\nstate: b\nadmin: c\n",
		AT("3:1") "the key \"admin\" was given in line 1 already; keep one of them\n");
}

Test(config, a_wrong_shape_shows_the_right_one)
{
	EXPECT_SAID("admin: [a]\n", AT("1:8") "admin holds a list; write a single value\n");
	EXPECT_SAID("admin: { a: b }\n", AT("1:8") "admin holds a mapping; write a single value\n");
	EXPECT_SAID("admin: a\nlog: info\n",
		AT("2:6") "log holds a value; write it as { access: log/access.jsonl, level: info }\n");
	EXPECT_SAID("listeners: 127.0.0.1:80\n",
		AT("1:12") "listeners holds a value; write a list, an entry a line after \"- \"\n");
	EXPECT_SAID("admin: a\nroutes:\n",
		AT("2:8") "routes holds nothing; write a list, an entry a line after \"- \"\n");
	EXPECT_SAID("listeners: [ '127.0.0.1:80', [] ]\n",
		AT("1:14") "a value stands where a listener is wanted; write it as { address: 127.0.0.1:8080 }\n" AT(
			"1:30") "a list stands where a listener is wanted; write it as { address: 127.0.0.1:8080 }\n");
	EXPECT_SAID("admin: a\nupstreams: [ { name: a, servers: [ { a: b } ] } ]\n",
		AT("2:36") "this entry holds a mapping; write a single value\n");
	EXPECT_SAID("- a\n",
		AT("1:1") "a list stands where the file is wanted; write it as listeners: [ { address: 127.0.0.1:8080 } ]\n");
	EXPECT_SAID("admin: a\n? [x]\n: y\n",
		AT("2:3") "a key of the file is not a plain word; write \"key: value\"\n");
	EXPECT_SAID("admin:\n", AT("1:7") "admin is empty; give a value or remove it\n");
	EXPECT_SAID("admin: ''\n", AT("1:8") "admin is empty; give a value or remove it\n");
}

Test(config, what_is_no_yaml_is_shown_where_it_breaks)
{
	EXPECT_SAID("admin: 'a\n",
		AT("2:1") "not YAML: found unexpected end of stream while scanning a quoted scalar that begins in "
			  "line 1; check the quotes, brackets and indentation there\n");
	EXPECT_SAID("admin: a\n\tstate: b\n",
		AT("2:1") "a tab stands where YAML wants spaces; indent with spaces\n");
	EXPECT_SAID("# \u00fc\u20ac\r\n\tadmin: a\n",
		AT("2:1") "a tab stands where YAML wants spaces; indent with spaces\n");
	EXPECT_SAID("log: { access: - }\n",
		AT("1:16") "a lone \"-\" begins a list in YAML; to mean the word, write it in quotes\n");
	EXPECT_SAID("log:\n  access: -\n",
		AT("2:11") "a lone \"-\" begins a list in YAML; to mean the word, write it in quotes\n");
	EXPECT_SAID("admin: \xff\n",
		AT("1:8") "the text cannot be read: invalid leading UTF-8 octet (0xff); write UTF-8 without "
			  "control characters\n");
	EXPECT_SAID("# \u00fc\nadmin: \u00fc\x01\n",
		AT("2:9") "the text cannot be read: control characters are not allowed (0x01); "
			  "write UTF-8 without control characters\n");
	EXPECT_SAID("\xff\xfe"
		    "a",
		AT("1:1") "the text cannot be read: invalid leading UTF-8 octet (0xff); write UTF-8 without "
			  "control characters\n");
}

Test(config, yaml_that_is_not_read_is_refused_and_never_unfolded)
{
	EXPECT_SAID("admin: &a b\nstate: *a\n",
		AT("1:8") "anchors (&name) are not read; remove it\n" AT(
			"2:8") "aliases (*name) are not read; write the value out\n");
	EXPECT_SAID("admin: !!str b\n", AT("1:8") "tags (!name) are not read; remove it\n");
	EXPECT_SAID("admin: a\n---\nadmin: b\n",
		AT("2:1") "a second document begins here; a configuration is one document\n");
	EXPECT_SAID("zz:\n a: &a [x,x]\n b: &b [*a,*a]\n c: [*b,*b]\n",
		AT("1:1") "unknown key \"zz\" in the file; known are: cores, admin, state, log, count, limits, timeouts, listeners, upstreams, "
			  "routes\n" AT("2:5") "anchors (&name) are not read; remove it\n" AT("3:5") "anchors (&name) are not read; remove it\n" AT("3:9") "aliases (*name) are not read; write the value out\n" AT(
				  "3:12") "aliases (*name) are not read; write the value out\n" AT("4:6") "aliases (*name) are not read; write the value out\n" AT("4:9") "aliases (*name) are not read; write the value out\n");
}

Test(config, a_value_holds_no_control_character)
{
	EXPECT_SAID("admin: \"a\\0b\"\n",
		AT("1:8") "admin holds a line break or control character; write it on one line without\n");
	EXPECT_SAID("admin: |\n  a\n  b\n",
		AT("1:8") "admin holds a line break or control character; write it on one line without\n");
	EXPECT_SAID("\"admin\\0x\": a\n",
		AT("1:1") "unknown key \"admin?x\" in the file; did you mean \"admin\"?\n");
}

/* Found by the fuzzer: by an escape they come in, and what is printed raw could not be loaded again. */
Test(config, a_control_character_by_escape_is_refused_and_shown_nowhere)
{
	static const char *const escapes[] = { "\\n", "\\x7f", "\\x80", "\\x9b", "\\N", "\\L",
		"\\P", "\\uFFFE", "\\uFFFF" };

	for (unsigned i = 0; i < array_count(escapes); i++) {
		char text[64];

		snprintf(text, sizeof text, "admin: \"a%sb\"\n", escapes[i]);
		EXPECT_SAID(text,
			AT("1:8") "admin holds a line break or control character; write it on one line without\n");
		snprintf(text, sizeof text, "admin: a\nlog: { \"xxx%syyy\": a }\n", escapes[i]);
		EXPECT_SAID(text,
			AT("2:8") "unknown key \"xxx?yyy\" in log; known are: access, level, paths\n");
	}
	expect_round_trip("admin: \"\\_\\u00a0\\u2027\\u202a\\uFFFD\\uE000\\U0010FFFF\"\n");
}

Test(config, a_file_that_says_nothing_is_refused)
{
	static const char nothing[] = AT(
		"1:1") "the file says nothing; give at least one of \"listeners\" and \"admin\"\n";

	EXPECT_SAID("", nothing);
	EXPECT_SAID("# a comment\n\n", nothing);
	EXPECT_SAID("{}",
		AT("1:1") "there is no listener and no admin socket; give at least one of \"listeners\" and \"admin\"\n");
	EXPECT_SAID("\ncores: 1\n",
		AT("2:1") "there is no listener and no admin socket; give at least one of \"listeners\" and \"admin\"\n");
	EXPECT_SAID("listeners: [ { address: '127.0.0.1:1' } ]\n",
		AT("1:12") "warning: there are no routes, so that every request will be answered 404; give \"routes\"\n");
}

/* ---- faults of meaning ---- */

Test(config, every_fault_of_a_file_is_reported_in_one_run_and_in_its_order)
{
	EXPECT_SAID(
		"cores: 0\n"
		"admin: unix:/x\n"
		"log: { level: loud }\n"
		"limits: { body_bytes_max: 0, head_bytes_max: 1.5k, fields_max: 1k, uri_bytes_max: 20k, memory_bytes_max: 1T }\n"
		"timeouts: { send: 10, close: -5s, drain: 1d, keep_alive: 25h, request_head: 0s }\n"
		"unknown: x\n",
		AT("1:8") "\"0\" is no number of cores; write auto, or 1 to 256\n" AT("2:8") "admin is always a UNIX socket; write the path without \"unix:\"\n" AT("3:15") "\"loud\" is no word of level; known are: error, warn, info, debug\n" AT("4:27") "\"0\" is outside the range of body_bytes_max; write 1 to 1024G, or unlimited\n" AT("4:46") "\"1.5k\" is not a size; write a whole number of bytes, or one with k, M or G, such as 64k\n" AT("4:64") "\"1k\" is not a whole number; write digits alone\n" AT(
			"4:83") "uri_bytes_max (20k) is more than head_bytes_max (16k), of which it is a part; raise the latter or lower "
				"the former\n" AT("4:106") "\"1T\" has an unknown unit; write bytes, or k, M or G, such as 64k\n" AT("5:19") "\"10\" has no unit; write ms, s, m or h, such as 30s\n" AT("5:30") "\"-5s\" is not a duration; write a whole number and ms, s, m or h, such as 30s\n" AT("5:42") "\"1d\" has an unknown unit; write ms, s, m or h, such as 30s\n" AT("5:58") "\"25h\" is outside the range of keep_alive; write 1ms to 24h\n" AT(
					"5:77") "\"0s\" is outside the range of request_head; write 1ms to 24h\n" AT("6:1") "unknown key \"unknown\" in the file; known are: cores, admin, state, log, count, limits, timeouts, listeners, "
															    "upstreams, routes\n");
}

Test(config, a_listener_is_refused_by_what_is_wrong_with_its_address)
{
	EXPECT_SAID(
		"listeners:\n  - address: 127.0.0.1\n  - address: :80\n  - address: 1.1.1.1:0\n  - address: localhost:80\n"
		"  - address: ::1:80\n  - address: 'unix:'\n  - address: 1.2.3.4.5:6\n  - {}\n  - address: 10.0.0.1:1\n"
		"  - address: 10.0.0.1:01\nroutes: [ { prefix: /, serve: echo } ]\n",
		AT("2:14") "the address \"127.0.0.1\" of listener 1 has no port; write IP:port, such as 127.0.0.1:8080\n" AT("3:14") "the address \":80\" of listener 2 has no IP address; write 0.0.0.0 or [::] for every one of this machine\n" AT("4:14") "the address \"1.1.1.1:0\" of listener 3 has a bad port; write a port from 1 to 65535\n" AT(
			"5:14") "the address \"localhost:80\" of listener 4 is a name; names are resolved in a later version; write the IP "
				"address\n" AT(
					"6:14") "the address \"::1:80\" of listener 5 does not show where its port begins; write IPv6 in brackets, such as "
						"[::1]:8080\n" AT(
							"7:14") "the address \"unix:\" of listener 6 is no path of a socket; write unix: and a path of 1 to 107 bytes, its "
								"directory included\n" AT(
									"8:14") "the address \"1.2.3.4.5:6\" of listener 7 is no IP address; write it as 127.0.0.1:8080, [::1]:8080 or "
										"unix:/path\n" AT("9:5") "listener 8 has no address; write address: 127.0.0.1:8080\n" AT(
											"11:14") "listener 10 has the address of listener 9, \"10.0.0.1:1\"; give each its own\n");
	EXPECT_SAID(
		"admin: a\nlisteners: [ { address: 'unix:a' } ]\nroutes: [ { prefix: /, serve: echo } ]\n",
		AT("2:25") "listener 1 has the address of the admin socket; give it another\n");
}

Test(config, certificates_are_asked_for_and_must_be_readable)
{
	EXPECT_SAID(
		"listeners:\n  - address: 1.1.1.1:1\n    tls: {}\n  - address: 1.1.1.1:2\n    tls: { certificates: [] }\n"
		"  - address: 1.1.1.1:3\n    tls:\n      certificates:\n        - { certificate: /nowhere/a.pem }\n"
		"        - { certificate: /, key: /dev/null }\n      alpn: [ http/1.1, h2, spdy, http/1.1 ]\n"
		"routes: [ { prefix: /, serve: echo } ]\n",
		AT("3:5") "tls has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n" AT("5:12") "tls has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n" AT("9:11") "this entry has no \"key\"; give the file of the private key\n" AT(
			"9:26") "the certificate \"/nowhere/a.pem\" cannot be read: No such file or directory; give a file that this user may "
				"read\n" AT("10:26") "the certificate \"/\" is not a file; give a file in PEM form\n" AT("10:34") "the key \"/dev/null\" is not a file; give a file in PEM form\n" AT(
					"11:25") "h2 is not spoken by this version; write http/1.1\n" AT("11:29") "\"spdy\" is no protocol of ours; known are: http/1.1\n" AT("11:35") "the protocol \"http/1.1\" is listed twice; remove one\n");
}

Test(config, a_count_outside_its_range_and_half_a_pair_are_refused)
{
	EXPECT_SAID("admin: a\nlimits: { connections_max: 0, fields_max: 1001 }\nlisteners:\n"
		    "  - { address: '1.1.1.1:1', tls: { certificates: [ { key: /nowhere } ] } }\n"
		    "routes: [ { path: /, serve: echo } ]\n",
		AT("2:28") "\"0\" is outside the range of connections_max; write 1 to 1000000\n" AT("2:43") "\"1001\" is outside the range of fields_max; write 8 to 1000\n" AT(
			"4:52") "this entry has no \"certificate\"; give the file of the chain\n" AT("4:59") "the key \"/nowhere\" cannot be read: No such file or directory; give a file that this user may read\n");
}

Test(config, an_upstream_needs_a_name_of_its_own_and_servers)
{
	EXPECT_SAID(
		"admin: a\nupstreams:\n  - { servers: [ '1.1.1.1:1' ] }\n  - { name: a }\n  - { name: a, servers: [] }\n"
		"  - { name: a/b, servers: [ '1.1.1.1:1', edc, '1.1.1.1:1' ], balance: leest, keep_alive: -1, health: { every: 5 } }\n"
		"routes: [ { path: /1, proxy: a }, { path: /2, proxy: a/b } ]\n",
		AT("3:5") "upstream 1 has no name; write name: edc\n" AT("4:5") "upstream 2 has no servers; write servers: [ \"127.0.0.1:9001\" ]\n" AT("5:13") "upstream 3 has the name of upstream 2, \"a\"; give each its own\n" AT("5:25") "upstream 3 has no servers; write servers: [ \"127.0.0.1:9001\" ]\n" AT("6:13") "\"a/b\" is no name of an upstream; write 1 to 64 letters, digits, \"_\", \"-\" or \".\"\n" AT("6:42") "the address \"edc\" of server 2 has no port; write IP:port, such as 127.0.0.1:8080\n" AT("6:47") "warning: server 3 is server 1 again and gets twice its share; remove one if that is not meant\n" AT("6:71") "\"leest\" is no word of balance; known are: round_robin, least, random_two, hash\n" AT(
			"6:90") "\"-1\" is not a whole number; write digits alone\n" AT("6:94") "health has no path; write path: /healthz\n" AT("6:111") "\"5\" has no unit; write ms, s, m or h, such as 30s\n");
}

Test(config, a_route_to_nowhere_lists_what_is_defined)
{
	static const char none[] = "admin: a\nroutes: [ { prefix: /, proxy: edcx } ]\n";

	EXPECT_SAID(none,
		AT("2:31") "route 1 names the upstream \"edcx\", but none is defined; define it under \"upstreams\"\n");
	EXPECT_SAID(
		"admin: a\nupstreams: [ { name: edc, servers: [ '1.1.1.1:1' ] } ]\nroutes:\n  - { path: /a, proxy: edc }\n"
		"  - { path: /b, serve: echo }\n  - { prefix: /, proxy: edcx }\n",
		AT("6:25") "route 3 names the upstream \"edcx\", which is not defined; defined are: edc\n");
}

Test(config, a_long_list_of_upstreams_is_cut_in_the_message)
{
	static const char name[] = "a123456789b123456789c123456789d123456789e123456789f123456789";
	char text[2048] = "admin: a\nupstreams:\n";

	for (unsigned i = 0; i < 6; i++)
		sprintf(text + strlen(text), " - { name: %s%u, servers: [ '1.1.1.1:1' ] }\n", name,
			i);
	strcat(text, "routes: [ { path: /, proxy: x } ]\n");

	char *said = said_of_bytes(text, strlen(text));

	/* 255 bytes of names, the last three of them dots. */
	cr_expect(strstr(said, "defined are: a123"), "%s", said);
	cr_expect(strstr(said, "...\n"), "%s", said);
	cr_expect_null(strstr(said, "89\n"), "%s", said);
	free(said);
}

Test(config, a_route_says_what_it_matches_and_what_it_does_once)
{
	EXPECT_SAID(
		"admin: a\nupstreams: [ { name: e, servers: [ '1.1.1.1:1' ] } ]\nroutes:\n  - {}\n  - { path: /a, prefix: /b, serve: echo }\n"
		"  - { path: a, serve: count }\n  - { path: /a?b, serve: count }\n  - { path: /a/../b, serve: count }\n"
		"  - { path: '/a b', serve: count }\n  - { path: /c, serve: echo, proxy: e }\n  - { path: /d, serve: admin }\n"
		"  - { path: /e, serve: push, heartbeat: 1s }\n  - { path: /f, proxy: e, idle_reminder: off }\n"
		"  - { path: /g, serve: live, heartbeat: off, idle_reminder: 0s }\n  - { path: /h, serve: push, body_bytes_max: x }\n",
		AT("4:5") "route 1 matches nothing; give \"path\", \"prefix\" or \"host\", such as prefix: /\n" AT("4:5") "route 1 says not what to do; give \"serve\" or \"proxy\"\n" AT("5:17") "route 2 has both \"path\" and \"prefix\"; keep the one that is meant\n" AT(
			"6:13") "the path \"a\" does not begin with \"/\"; write it from the root\n" AT("7:13") "the path \"/a?b\" holds a query or fragment, which is not matched; remove it from \"?\" or \"#\" on\n" AT("8:13") "the path \"/a/../b\" holds \".\" or \"..\", and would never match; write the path that is meant\n" AT("9:13") "the path \"/a b\" holds a character that no path of a request holds; write it percent-encoded\n" AT("10:30") "route 7 has both \"serve\" and \"proxy\"; keep the one that is meant\n" AT("11:24") "\"admin\" is no word of serve; known are: count, live, push, echo\n" AT("12:30") "route 9 has \"heartbeat\", which belongs to \"serve: live\" and \"serve: count\"; remove it\n" AT("13:27") "route 10 has \"idle_reminder\", which belongs to \"serve: live\" alone; remove it\n" AT("14:41") "\"off\" is not a duration; write a whole number and ms, s, m or h, such as 30s\n" AT("14:61") "\"0s\" is outside the range of idle_reminder; write 1ms to 24h\n" AT("15:46") "\"x\" is not a size; write a whole number of bytes, or one with k, M or G, such as 64k\n");
}

Test(config, a_misspelt_live_is_one_fault_and_not_two)
{
	EXPECT_SAID("admin: a\nroutes: [ { path: /, serve: liev, heartbeat: 1s } ]\n",
		AT("2:29") "\"liev\" is no word of serve; known are: count, live, push, echo\n");
}

Test(config, a_host_is_a_name_with_at_most_a_wildcard_in_front)
{
	EXPECT_SAID(
		"admin: a\nroutes:\n  - { host: 'a.org:80', serve: echo }\n  - { host: 'a.*.org', serve: echo }\n"
		"  - { host: 'a..org', serve: echo }\n  - { host: '*.', serve: echo }\n  - { host: 'a/b', serve: echo }\n"
		"  - { host: '[::1]', serve: echo }\n",
		AT("3:13") "the host \"a.org:80\" holds a port, which is not matched; remove it\n" AT("4:13") "the host \"a.*.org\" has its wildcard elsewhere than in front; write *.example.org\n" AT("5:13") "\"a..org\" is no host; write a name such as edc.example.org or *.example.org\n" AT(
			"6:13") "\"*.\" is no host; write a name such as edc.example.org or *.example.org\n" AT("7:13") "\"a/b\" is no host; write a name such as edc.example.org or *.example.org\n");
}

Test(config, a_route_that_is_never_reached_is_a_warning)
{
	EXPECT_SAID(
		"admin: a\nroutes:\n  - { prefix: /a, serve: echo }\n  - { path: /a/b, serve: count }\n  - { path: /ab, serve: count }\n"
		"  - { prefix: /, host: '*.x.org', serve: echo }\n  - { path: /y, host: a.x.org, serve: echo }\n"
		"  - { host: b.x.org, serve: echo }\n  - { path: /y, host: x.org, serve: echo }\n  - { prefix: /, serve: push }\n"
		"  - { prefix: /z, serve: push }\n  - { host: '*.b.x.org', path: /, serve: push }\n",
		AT("4:5") "warning: route 2 is never reached, because route 1 in line 3 takes all of it; move it before that one or remove it\n" AT("7:5") "warning: route 5 is never reached, because route 4 in line 6 takes all of it; move it before that one or remove it\n" AT(
			"8:5") "warning: route 6 is never reached, because route 4 in line 6 takes all of it; move it before that one or remove it\n" AT("11:5") "warning: route 9 is never reached, because route 8 in line 10 takes all of it; move it before that one or remove "
																				 "it\n" AT(
																					 "12:5") "warning: route 10 is never reached, because route 4 in line 6 takes all of it; move it before that one or remove "
																						 "it\n");
}

/* ---- faults of tls ---- */

#define PAIR  "certificates: [ { certificate: /etc/passwd, key: /etc/passwd } ]"
#define ROUTE "routes: [ { path: /, serve: echo } ]\n"

Test(config, a_host_is_refused_by_what_is_wrong_with_its_names)
{
	EXPECT_SAID(
		"listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      hosts:\n"
		"        - " PAIR "\n          names:\n            - m\u00fcnchen.org\n            - 1.2.3.4\n            - '::1'\n            - a.org:443\n"
		"            - a.org.\n            - '*'\n            - a.*.org\n            - a_b.org\n            - https://a.org\n" ROUTE,
		AT("8:15") "the name \"m\u00fcnchen.org\" holds letters outside ASCII; write A-labels, such as xn--mnchen-3ya.example.org\n"
		AT("9:15") "the name \"1.2.3.4\" is an IP address; write a host name, such as edc.example.org\n"
		AT("10:15") "the name \"::1\" is an IP address; write a host name, such as edc.example.org\n"
		AT("11:15") "the name \"a.org:443\" holds a port, which is no part of a name; remove it\n"
		AT("12:15") "the name \"a.org.\" ends with a dot, with which no name arrives here; remove it\n"
		AT("13:15") "the name \"*\" has a wildcard that is not the whole leftmost label; write *.example.org\n"
		AT("14:15") "the name \"a.*.org\" has a wildcard that is not the whole leftmost label; write *.example.org\n"
		AT("15:15") "the name \"a_b.org\" is no host name; write one such as edc.example.org or *.example.org\n"
		AT("16:15") "the name \"https://a.org\" is no host name; write one such as edc.example.org or *.example.org\n");
}

Test(config, a_name_that_two_hosts_have_is_refused_with_both_places)
{
	EXPECT_SAID(
		"listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      hosts:\n"
		"        - { " PAIR ", names: [ b.org, a.org ] }\n"
		"        - { " PAIR " }\n"
		"        - { " PAIR ", names: [ '*.a.org', A.org, a.ORG ] }\n"
		"        - { " PAIR ", names: [ c.a.org, '*.A.org' ] }\n"
		"  - address: 1.1.1.1:2\n    tls:\n      " PAIR "\n      hosts: [ { " PAIR ", names: [ a.org ] } ]\n" ROUTE,
		AT("8:99") "the name \"a.org\" of host 3 is a name of host 1 already, at 6:95; keep one of them\n"
		AT("8:106") "the name \"a.org\" of host 3 is a name of host 1 already, at 6:95; keep one of them\n"
		AT("9:97") "the name \"*.a.org\" of host 4 is a name of host 3 already, at 8:88; keep one of them\n");
}

Test(config, a_host_needs_certificates_and_no_names)
{
	EXPECT_SAID("listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      hosts:\n"
		    "        - { names: [ a.org ] }\n        - { certificates: [] }\n        - {}\n        - { certificates: [ {} ], alpn: [ h2 ] }\n"
		    "        - { certificats: [] }\n        - x\n" ROUTE,
		AT("10:13") "unknown key \"certificats\" in a host; did you mean \"certificates\"?\n"
		AT("11:11") "a value stands where a host is wanted; write it as { names: [ edc.example.org ], "
			    "certificates: [ { certificate: tls/edc.pem, key: tls/edc.key } ] }\n");
	EXPECT_SAID("listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      hosts:\n"
		    "        - { names: [ a.org ] }\n        - { certificates: [] }\n        - {}\n        - { certificates: [ {} ], alpn: [ h2 ] }\n"
		    "        - { certificats: [] }\n" ROUTE,
		AT("6:11") "host 1 has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n"
		AT("7:13") "host 2 has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n"
		AT("8:11") "host 3 has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n"
		AT("9:29") "this entry has no \"certificate\"; give the file of the chain\n"
		AT("9:29") "this entry has no \"key\"; give the file of the private key\n"
		AT("9:43") "h2 is not spoken by this version; write http/1.1\n"
		AT("10:13") "unknown key \"certificats\" in a host; did you mean \"certificates\"?\n");
}

Test(config, hosts_alone_are_no_tls)
{
	EXPECT_SAID("listeners: [ { address: '1.1.1.1:1', tls: { hosts: [ { " PAIR " } ] } } ]\n" ROUTE,
		AT("1:38") "tls has no certificates; write certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n");
}

Test(config, client_certificates_need_those_who_issued_them)
{
	EXPECT_SAID(
		"listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      client_certificates: { crl: /etc/passwd, depth: 9, required: yes }\n"
		"      hosts:\n        - { " PAIR ", client_certificates: {} }\n"
		"        - { " PAIR ", client_certificates: { ca: /nowhere, crl: /etc, depth: -1, require: true } }\n" ROUTE,
		AT("5:30") "there is a \"crl\" and no \"ca\" whose certificates it could revoke; give ca: tls/clients-ca.pem\n"
		AT("5:55") "\"9\" is outside the range of depth; write 0 to 8\n"
		AT("5:68") "\"yes\" is no word of required; known are: false, true\n"
		AT("7:79") "client_certificates has no \"ca\"; give the file of those who may have issued them, ca: tls/clients-ca.pem\n"
		AT("8:106") "the ca \"/nowhere\" cannot be read: No such file or directory; give a file that this user may read\n"
		AT("8:121") "the crl \"/etc\" is not a file; give a file in PEM form\n"
		AT("8:134") "\"-1\" is not a whole number; write digits alone\n"
		AT("8:138") "unknown key \"require\" in client_certificates; did you mean \"required\"?\n");
}

Test(config, versions_tickets_and_strict_sni_are_words_of_their_own)
{
	EXPECT_SAID("listeners:\n  - address: 1.1.1.1:1\n    tls:\n      " PAIR "\n      versions: [ 1.1, TLSv1.2, 1.3, \"1.3\" ]\n"
		    "      tickets: 1\n      strict_sni: on\n  - address: 1.1.1.1:2\n    tls: { " PAIR ", versions: [] }\n" ROUTE,
		AT("5:19") "\"1.1\" is no version of TLS that is spoken here; known are: 1.2, 1.3\n"
		AT("5:24") "\"TLSv1.2\" is no version of TLS that is spoken here; known are: 1.2, 1.3\n"
		AT("5:38") "the version \"1.3\" is listed twice; remove one\n"
		AT("6:16") "\"1\" is no word of tickets; known are: false, true\n"
		AT("7:19") "\"on\" is no word of strict_sni; known are: false, true\n"
		AT("9:78") "versions is empty; write [ \"1.2\", \"1.3\" ], or remove it for both\n");
}

Test(config, tickets_live_a_minute_to_a_week)
{
	EXPECT_SAID("admin: a\ntimeouts: { ticket_lifetime: 59999ms }\nlimits: { tls_handshakes_max: 0, tls_handshakes_queued_max: 1000001 }\n",
		AT("2:30") "\"59999ms\" is outside the range of ticket_lifetime; write 1m to 168h\n"
		AT("3:31") "\"0\" is outside the range of tls_handshakes_max; write 1 to 100000\n"
		AT("3:61") "\"1000001\" is outside the range of tls_handshakes_queued_max; write 0 to 1000000\n");
	EXPECT_SAID("admin: a\ntimeouts: { ticket_lifetime: 169h }\n",
		AT("2:30") "\"169h\" is outside the range of ticket_lifetime; write 1m to 168h\n");
	EXPECT_SAID("admin: a\ntimeouts: { ticket_lifetime: 1m }\n", "");
}

#define ASKED "listeners: [ { address: '1.1.1.1:1', tls: { " PAIR ", client_certificates: { ca: /etc/passwd } } } ]\n"

Test(config, a_client_is_refused_by_what_is_wrong_with_it)
{
	char *long_uri, *said;

	EXPECT_SAID(ASKED "routes:\n  - path: /\n    serve: echo\n    client:\n      - a_b.org\n      - 1.2.3.4\n      - '**.org'\n      - site.org:443\n"
		    "      - 'DNS:a.org'\n      - ':x'\n      - '7:x'\n      - 'a b:c'\n      - 'x:'\n      - 'urn:a b'\n      - 'urn:*'\n"
		    "      - '@a.org'\n      - 'a@'\n      - 'a@b_c'\n      - '*@a.org'\n      - 'm\u00fc@a.org'\n      - 'a b@c.org'\n"
		    "      - 'subject:'\n      - 'subject:Monitor'\n      - 'subject:=x'\n      - 'subject:CN=a, O=b'\n      - 'subject:CN=\u00fc'\n"
		    "      - 'subject:CN=a\\, b'\n      - Ok.org\n      - 'ok.ORG'\n",
		AT("6:9") "the client \"a_b.org\" is no host name; write one such as edc.example.org or *.example.org\n"
		AT("7:9") "the client \"1.2.3.4\" is an IP address; write a host name, such as edc.example.org\n"
		AT("8:9") "the client \"**.org\" has a wildcard that is not the whole leftmost label; write *.example.org\n"
		AT("9:9") "the client \"site.org:443\" holds a port, which no certificate names; remove it\n"
		AT("10:9") "the client \"DNS:a.org\" has its kind in front; write the name alone\n"
		AT("11:9") "the client \":x\" is no URI; write one such as spiffe://example.org/site/7\n"
		AT("12:9") "the client \"7:x\" is no URI; write one such as spiffe://example.org/site/7\n"
		AT("13:9") "the client \"a b:c\" is no URI; write one such as spiffe://example.org/site/7\n"
		AT("14:9") "the client \"x:\" is no URI; write one such as spiffe://example.org/site/7\n"
		AT("15:9") "the client \"urn:a b\" holds a blank or a character outside ASCII, which no such name of a certificate does; remove it\n"
		AT("16:9") "the client \"urn:*\" has a wildcard, and only DNS names may; write it in full\n"
		AT("17:9") "the client \"@a.org\" is no e-mail address; write one such as cra@cro.example.org\n"
		AT("18:9") "the client \"a@\" is no e-mail address; write one such as cra@cro.example.org\n"
		AT("19:9") "the client \"a@b_c\" is no e-mail address; write one such as cra@cro.example.org\n"
		AT("20:9") "the client \"*@a.org\" has a wildcard, and only DNS names may; write it in full\n"
		AT("21:9") "the client \"m\u00fc@a.org\" holds a blank or a character outside ASCII, which no such name of a certificate does; remove it\n"
		AT("22:9") "the client \"a b@c.org\" holds a blank or a character outside ASCII, which no such name of a certificate does; remove it\n"
		AT("23:9") "the client \"subject:\" is no subject; write one such as subject:CN=Monitor 4,O=CRO\n"
		AT("24:9") "the client \"subject:Monitor\" is no subject; write one such as subject:CN=Monitor 4,O=CRO\n"
		AT("25:9") "the client \"subject:=x\" is no subject; write one such as subject:CN=Monitor 4,O=CRO\n"
		AT("26:9") "the client \"subject:CN=a, O=b\" has a blank behind a comma; write it by RFC 4514, as in subject:CN=Monitor 4,O=CRO\n"
		AT("27:9") "the client \"subject:CN=\u00fc\" holds a character outside ASCII; write its bytes in UTF-8, as in subject:CN=M\\C3\\BCller\n"
		AT("30:9") "the client \"ok.ORG\" is listed twice; remove one\n");

	long_uri = repeated(ASKED "routes: [ { path: /, serve: echo, client: [ 'urn:", "x", 252, "' ] } ]\n");
	said = said_of_bytes(long_uri, strlen(long_uri));
	cr_expect(strstr(said, "is longer than 255 bytes, and longer names are not read from a certificate; shorten it\n"), "%s", said);
	free(said);
	free(long_uri);
}

Test(config, a_list_of_no_clients_is_no_open_door)
{
	EXPECT_SAID(ASKED "routes: [ { path: /, serve: echo, client: [] } ]\n",
		AT("2:35") "client is empty; name the clients that route 1 is for, or remove it\n");
	EXPECT_SAID(ASKED "routes: [ { path: /, serve: echo, client: x } ]\n",
		AT("2:43") "client holds a value; write a list, an entry a line after \"- \"\n");
}

Test(config, a_route_for_clients_that_nobody_asks_for_is_a_warning)
{
	EXPECT_SAID("listeners: [ { address: '1.1.1.1:1' }, { address: '1.1.1.1:2', tls: { " PAIR " } } ]\n"
		    "routes: [ { path: /, serve: echo, client: [ '*' ] } ]\n",
		AT("2:43") "warning: route 1 wants a client certificate, but no listener asks for one; give tls.client_certificates\n");
	EXPECT_SAID("listeners: [ { address: '1.1.1.1:2', tls: { " PAIR ", hosts: [ { " PAIR ", client_certificates: { ca: /etc/passwd } } ] } } ]\n"
		    "routes: [ { path: /, serve: echo, client: [ '*' ] } ]\n",
		"");
}

Test(config, a_route_behind_one_for_fewer_clients_is_reached)
{
	EXPECT_SAID(ASKED
		"routes:\n  - { path: /, serve: echo, client: [ a.x.org, b@c.org ] }\n  - { path: /, serve: echo, client: [ a.x.org ] }\n"
		"  - { path: /, serve: echo, client: [ a.x.org, c.x.org ] }\n  - { path: /, serve: echo, client: [ '*.x.org' ] }\n"
		"  - { path: /, serve: echo, client: [ d.x.org, b@c.org ] }\n  - { path: /, serve: echo, client: [ d.x.org ] }\n"
		"  - { path: /, serve: echo, client: [ d.e.x.org ] }\n  - { path: /, serve: echo, client: [ '*' ] }\n"
		"  - { path: /, serve: echo, client: [ 'subject:CN=a' ] }\n  - { path: /, serve: count }\n  - { path: /, serve: echo, client: [ 'urn:x' ] }\n",
		AT("4:5") "warning: route 2 is never reached, because route 1 in line 3 takes all of it; move it before that one or remove it\n"
		AT("8:5") "warning: route 6 is never reached, because route 4 in line 6 takes all of it; move it before that one or remove it\n"
		AT("11:5") "warning: route 9 is never reached, because route 8 in line 10 takes all of it; move it before that one or remove it\n"
		AT("12:5") "warning: route 10 is never reached, because route 1 in line 3 keeps all of it for certain clients; name clients here "
			   "too or remove it\n"
		AT("13:5") "warning: route 11 is never reached, because route 8 in line 10 takes all of it; move it before that one or remove it\n");
}

Test(config, an_open_route_behind_one_for_certain_clients_is_reached_where_it_is_wider)
{
	EXPECT_SAID(ASKED
		"routes:\n  - { prefix: /a/open, serve: echo }\n  - { prefix: /a, serve: echo, client: [ a.org ] }\n"
		"  - { path: /a/b, serve: echo }\n  - { prefix: /a, serve: count }\n"
		"  - { prefix: /c, serve: echo, client: [ a.org ], host: x.org }\n  - { prefix: /c, serve: echo, host: '*.org' }\n"
		"  - { prefix: /c, serve: count, host: x.org, client: [ b.org ] }\n  - { prefix: /c, serve: echo }\n"
		"  - { prefix: /, serve: echo }\n",
		AT("5:5") "warning: route 3 is never reached, because route 2 in line 4 keeps all of it for certain clients; name clients here "
			  "too or remove it\n"
		AT("6:5") "warning: route 4 is never reached, because route 2 in line 4 keeps all of it for certain clients; name clients here "
			  "too or remove it\n"
		AT("9:5") "warning: route 7 is never reached, because route 6 in line 8 takes all of it; move it before that one or remove it\n");
}

Test(config, faults_carry_their_kind)
{
	static const struct {
		const char *text;
		const struct reason *reason;
	} rows[] = {
		{ "admin: [", &CONFIG_SHAPE },
		{ "admin: 'x", &CONFIG_SYNTAX },
		{ "x: y", &CONFIG_KEY_UNKNOWN },
		{ "admin: a\nadmin: a", &CONFIG_KEY_REPEATED },
		{ "admin: a\nroutes: [{serve: echo}]", &CONFIG_KEY_MISSING },
		{ "admin: a\ncores: x", &CONFIG_VALUE_BAD },
		{ "cores: 1", &CONFIG_NOTHING_TO_DO },
		{ "admin: a\nroutes: [{path: /, proxy: x}]", &CONFIG_UPSTREAM_UNKNOWN },
		{ "admin: a\nroutes: [{path: /, serve: echo}, {path: /, serve: echo}]",
			&CONFIG_ROUTE_UNREACHED },
		{ "admin: a\nroutes: [{path: /, serve: echo, client: ['*']}]", &CONFIG_CLIENT_UNASKED },
		{ ASKED "routes: [{prefix: /, serve: echo, client: ['*']}, {path: /a, serve: echo}]",
			&CONFIG_ROUTE_UNREACHED },
	};

	for (unsigned i = 0; i < array_count(rows); i++) {
		struct config_faults faults;

		config_faults_init(&faults);
		config_free(config_parse_text(rows[i].text, strlen(rows[i].text), "x", &faults));
		cr_assert_geq(faults.count, 1, "%s", rows[i].text);
		cr_expect_eq(faults.list[0].reason, rows[i].reason, "%s: %s", rows[i].text,
			faults.list[0].reason->name);
		config_faults_fini(&faults);
	}
}

/* ---- bounds and hostile text ---- */

Test(config, a_file_that_cannot_be_opened_or_read_says_why)
{
	struct config_faults faults;
	char line[256];

	config_faults_init(&faults);
	cr_expect_null(config_load("/nowhere/p.yaml", &faults));
	cr_assert_eq(faults.count, 1);
	config_fault_format(&faults, &faults.list[0], line, sizeof line);
	cr_expect_str_eq(line,
		"/nowhere/p.yaml: the configuration cannot be opened: No such file or directory; give an existing file with -c");
	config_faults_fini(&faults);

	cr_expect_null(config_load("/tmp", &faults));
	cr_assert_eq(faults.count, 1);
	config_fault_format(&faults, &faults.list[0], line, sizeof line);
	cr_expect_str_eq(line, "/tmp: the configuration cannot be read: Is a directory");
	config_faults_fini(&faults);
}

Test(config, a_file_cut_at_every_byte_is_refused_or_read_but_never_crashes)
{
	unsigned refused = 0;

	for (size_t length = 0; length < sizeof contract; length++) {
		char *exact = malloc(length + 1),
		     *said; /* of this length, so that the sanitizer sees a byte too many */

		memcpy(exact, contract, length);
		said = said_of_bytes(exact, length);
		refused += strstr(said, "warning") != said && *said != '\0';
		free(said);
		free(exact);
	}
	cr_expect_gt(refused, 100);
	for (size_t length = 0; length < sizeof tls_whole; length++)
		free(said_of_bytes(tls_whole, length));
}

Test(config, every_single_byte_changed_to_a_hostile_one_never_crashes)
{
	static const char hostile[] = { '\0', '\t', '\n', '&', '*', '[', '{', '"', '\xff', '\x80' };
	char text[sizeof contract];

	for (size_t i = 0; i < sizeof contract - 1; i += 3) {
		for (unsigned j = 0; j < sizeof hostile; j++) {
			memcpy(text, contract, sizeof contract);
			text[i] = hostile[j];
			free(said_of_bytes(text, sizeof contract - 1));
		}
	}

	char tls_text[sizeof tls_whole];

	for (size_t i = 0; i < sizeof tls_whole - 1; i += 3) {
		for (unsigned j = 0; j < sizeof hostile; j++) {
			memcpy(tls_text, tls_whole, sizeof tls_whole);
			tls_text[i] = hostile[j];
			free(said_of_bytes(tls_text, sizeof tls_whole - 1));
		}
	}
}

static void expect_repeated(
	const char *before, const char *unit, unsigned count, const char *after, const char *part)
{
	char *text = repeated(before, unit, count, after);
	char *said = said_of_bytes(text, strlen(text));

	cr_expect(strstr(said, part), "%s... said:\n%.2000s", before, said);
	free(said);
	free(text);
}

Test(config, depth_length_and_number_are_bounded, .timeout = 60)
{
	expect_repeated("admin: a\nx: ", "[", 100000, "",
		AT("2:20") "nested too deeply; no key needs more than 8 levels\n");
	expect_repeated("admin: a\nx: ", "{a: ", 100000, "", "nested too deeply");
	expect_repeated("admin: a\nx:\n  ", "- ", 100000, "b\n", "nested too deeply");
	expect_repeated("", "[", 500000, "", "nested too deeply");
	expect_repeated("admin: ", "a", 1024, "\n",
		"the kernel takes 107 for a socket, its directory included\n");
	expect_repeated("admin: ", "a", 1025, "\n",
		AT("1:8") "admin is 1025 bytes long; at most 1024 are read\n");
	expect_repeated("admin: ", "a", 1000000, "\n", "admin is 1000000 bytes long");
	expect_repeated("admin: a\n#", "x", 1 << 20, "\n",
		"the configuration is longer than 1048576 bytes; generate less of it\n");
	expect_repeated("admin: a\nroutes:\n", " - {path: /, serve: echo}\n", 4097, "",
		AT("4099:4") "routes has too many entries; at most 4096 are read\n");
	expect_repeated("admin: a\n", "x: y\n", 1000, "", "p.yaml: and 900 more\n");
	expect_repeated("admin: a\nroutes: [", "{},", 4096, "]\n", "p.yaml: and 8092 more\n");
}

Test(config, the_largest_number_of_hosts_and_names_is_read, .timeout = 60)
{
	char *text = malloc(1 << 20), *to = text;
	unsigned name = 0;

	to += sprintf(to, "listeners:\n- address: 1.1.1.1:1\n  tls:\n    " PAIR "\n    hosts:\n");
	for (unsigned i = 0; i < 1024; i++) {
		to += sprintf(to, "    - " PAIR "\n      names: [");
		for (unsigned j = 0; j < 64; j++)
			to += sprintf(to, "n%u,", name++);
		to += sprintf(to, "]\n");
	}
	to += sprintf(to, ROUTE);
	struct config *config = config_of(text);

	cr_assert_eq(config->listeners[0].tls.host_count, 1024);
	cr_expect_str_eq(config->listeners[0].tls.hosts[1023].names[63], "n65535");
	config_free(config);

	/* One more of either. */
	strcpy(to - strlen(ROUTE), "    - {}\n" ROUTE);
	char *said = said_of_bytes(text, strlen(text));

	cr_expect(strstr(said, "hosts has too many entries; at most 1024 are read\n"), "%s", said);
	free(said);
	free(text);
	expect_repeated("listeners: [ { address: '1.1.1.1:1', tls: { " PAIR ", hosts: [ { " PAIR ", names: [", "a,", 65, "] } ] } } ]\n",
		"names has too many entries; at most 64 are read\n");
	expect_repeated("admin: a\nroutes: [ { path: /, serve: echo, client: [", "a,", 65, "] } ]\n",
		"client has too many entries; at most 64 are read\n");
}

Test(config, the_largest_of_everything_is_read, .timeout = 60)
{
	char *text =
		repeated("admin: a\nroutes:\n", " - {path: /some/path, serve: echo}\n", 4096, "");
	struct config *config = config_of(text);

	cr_expect_eq(config->route_count, 4096);
	config_free(config);
	free(text);
}

Test(config, a_long_or_foreign_word_is_quoted_whole_characters_at_a_time)
{
	char word[200];

	cr_expect_str_eq(config_quote("a\tb\x7f", 4).text, "\"a?b?\"");
	cr_expect_str_eq(config_quote("", 0).text, "\"\"");
	for (unsigned i = 0; i < 100; i++)
		memcpy(word + 2 * i, "\u00fc", 2);
	cr_expect_eq(strlen(config_quote(word, 200).text), 1 + 90 + 4);
	cr_expect_eq(strlen(config_quote(word + 1, 199).text), 1 + 89 + 4);
}

/* ---- WebSockets ---- */

Test(config, a_websocket_is_offered_what_its_route_says)
{
	struct config *config = config_of(
		"admin: a\nroutes:\n  - { path: /a, serve: echo }\n"
		"  - { path: /b, serve: echo, deflate: true, deflate_takeover: true, deflate_window_bits: 9, deflate_bytes_min: 1k,\n"
		"      protocols: [ chat.v2, chat ], origins: [ same, 'HTTPS://Edc.Example.org:8443', 'http://[::1]:81' ] }\n"
		"  - { path: /c, serve: live, deflate: true, origins: [ '*' ] }\n"
		"  - { path: /d, serve: live }\n");

	cr_assert_not_null(config);
	cr_expect(config->routes[3].websocket.origins == CONFIG_ORIGINS_LISTED && config->routes[3].websocket.origin_same);

	const struct config_websocket *silent = &config->routes[0].websocket, *all = &config->routes[1].websocket,
				      *live = &config->routes[2].websocket;

	cr_expect(!silent->deflate && silent->protocol_count == 0);
	cr_expect_eq(silent->origins, CONFIG_ORIGINS_ANY);
	cr_expect(all->deflate && all->deflate_takeover);
	cr_expect_eq(all->deflate_window_bits, 9);
	cr_expect_eq(all->deflate_bytes_min, 1024);
	cr_assert_eq(all->protocol_count, 2);
	cr_expect_str_eq(all->protocols[0], "chat.v2");
	cr_expect_eq(all->origins, CONFIG_ORIGINS_LISTED);
	cr_expect(all->origin_same);
	cr_assert_eq(all->origin_count, 3);
	cr_expect_str_eq(all->origin_list[1], "https://edc.example.org:8443");
	cr_expect(live->deflate && !live->deflate_takeover);
	cr_expect_eq(live->deflate_window_bits, 12);
	cr_expect_eq(live->origins, CONFIG_ORIGINS_ANY);
	config_free(config);
	expect_round_trip("admin: a\nroutes:\n  - { path: /b, serve: echo, deflate: true, deflate_takeover: true, deflate_window_bits: 9,\n"
		"      protocols: [ chat.v2, chat ], origins: [ same, 'https://edc.example.org:8443' ] }\n"
		"  - { path: /c, serve: live, deflate: true, origins: [ '*' ] }\n  - { path: /d, serve: live }\n  - { path: /e, serve: echo }\n");
}

Test(config, what_a_websocket_cannot_be_offered_is_told)
{
	EXPECT_SAID(
		"admin: a\n"
		"upstreams: [ { name: e, servers: [ '1.1.1.1:1' ] } ]\n"
		"routes:\n"
		"  - { path: /a, serve: echo, deflate: on }\n"
		"  - { path: /b, serve: echo, deflate_takeover: true, deflate_window_bits: 12 }\n"
		"  - { path: /c, serve: echo, deflate: true, deflate_window_bits: 16, deflate_bytes_min: many }\n"
		"  - { path: /d, serve: echo, protocols: [ a b, c, c ] }\n"
		"  - { path: /e, serve: echo, origins: [ edc.example.org, 'https://a.b/', 'https://a.b:443', same, same ] }\n"
		"  - { path: /f, serve: echo, origins: [ '*', same ] }\n"
		"  - { path: /g, serve: echo, origins: [] }\n"
		"  - { path: /h, proxy: e, deflate: true, origins: [ same ] }\n"
		"  - { path: /i, serve: push, protocols: [ x ] }\n"
		"  - { path: /j, serve: ecko, deflate: true }\n"
		"  - { path: /k, serve: echo, origins: [ 'https://a.b:', 'https://a.b:99999', 'https://:8443', 'https://a:b:c', 'https://...',\n"
		"      'https://*.a.b', 'https://[::1', 'capacitor://localhost', 'https://[::1]:8443' ], protocols: [] }\n",
		AT("4:39") "\"on\" is no word of deflate; known are: false, true\n"
		AT("5:30") "route 2 has \"deflate_takeover\" without \"deflate: true\", so it does nothing; give that too or remove it\n"
		AT("5:54") "route 2 has \"deflate_window_bits\" without \"deflate: true\", so it does nothing; give that too or remove it\n"
		AT("6:66") "\"16\" is outside the range of deflate_window_bits; write 9 to 15\n"
		AT("6:89") "\"many\" is not a size; write a whole number of bytes, or one with k, M or G, such as 64k\n"
		AT("7:43") "\"a b\" is no subprotocol; write a word without blanks such as diary.v1\n"
		AT("7:51") "the subprotocol \"c\" is listed twice; remove one\n"
		AT("8:41") "the origin \"edc.example.org\" is no origin; write one such as https://edc.example.org, or same\n"
		AT("8:58") "the origin \"https://a.b/\" has more, or less, than scheme, host and port; write it such as https://edc.example.org:8443\n"
		AT("8:74") "the origin \"https://a.b:443\" names its scheme's usual port, which browsers leave out; remove it\n"
		AT("8:99") "the origin \"same\" is listed twice; remove one\n"
		AT("9:30") "origins lists \"*\", which is every origin, and others; keep what is meant\n"
		AT("10:30") "origins is empty; name those whose pages may connect, or remove it\n"
		AT("11:27") "route 8 has \"deflate\", which belongs to \"serve: echo\", \"serve: live\" and \"serve: count\"; remove it\n"
		AT("11:42") "route 8 has \"origins\", which belongs to \"serve: echo\", \"serve: live\" and \"serve: count\"; remove it\n"
		AT("12:30") "route 9 has \"protocols\", which belongs to \"serve: echo\", \"serve: live\" and \"serve: count\"; remove it\n"
		AT("13:24") "\"ecko\" is no word of serve; known are: count, live, push, echo\n"
		AT("14:41") "the origin \"https://a.b:\" has no port behind its colon; write 1 to 65535, or remove the colon\n"
		AT("14:57") "the origin \"https://a.b:99999\" has no port behind its colon; write 1 to 65535, or remove the colon\n"
		AT("14:78") "the origin \"https://:8443\" has more, or less, than scheme, host and port; write it such as https://edc.example.org:8443\n"
		AT("14:95") "the origin \"https://a:b:c\" has no port behind its colon; write 1 to 65535, or remove the colon\n"
		AT("14:112") "the origin \"https://...\" has more, or less, than scheme, host and port; write it such as https://edc.example.org:8443\n"
		AT("15:7") "the origin \"https://*.a.b\" has a *, which stands alone for every origin; name each host\n"
		AT("15:24") "the origin \"https://[::1\" has more, or less, than scheme, host and port; write it such as https://edc.example.org:8443\n"
		AT("15:89") "protocols is empty; name those that are spoken here, or remove it\n");
}

/* ---- the count ---- */

Test(config, what_is_counted_is_durable_and_open_to_new_sites_unless_the_file_says_otherwise)
{
	struct config *config = config_of("admin: a\n");

	cr_expect_eq(config->count.durability, CONFIG_DURABILITY_ALWAYS);
	cr_expect(config->count.new_sites);
	cr_expect_eq(config->count.segment_bytes, 64 << 20);
	cr_expect_eq(config->limits.changes_max, 16384);
	cr_expect_eq(config->limits.sites_max, 65536);
	cr_expect_eq(config->limits.idempotency_keys_max, 100000);
	cr_expect_eq(config->limits.reservations_max, 10000);
	cr_expect_eq(config->timeouts.idempotency_window_ms, 24 * 3600 * 1000);
	cr_expect_eq(config->timeouts.reservation_ms, 30 * 60 * 1000);
	config_free(config);

	config = config_of("admin: a\ncount: { durability: memory, new_sites: false, segment: 1M }\n"
			   "limits: { changes_max: 1, sites_max: 16777216, idempotency_keys_max: 1, reservations_max: 2 }\n"
			   "timeouts: { idempotency_window: 720h, reservation: 90s }\n"
			   "routes: [ { prefix: /sites, serve: count, heartbeat: 5s, origins: [ 'https://a.b' ] }, { path: /count, serve: count } ]\n");
	cr_expect_eq(config->count.durability, CONFIG_DURABILITY_MEMORY);
	cr_expect(!config->count.new_sites);
	cr_expect_eq(config->count.segment_bytes, 1 << 20);
	cr_expect_eq(config->limits.changes_max, 1);
	cr_expect_eq(config->limits.sites_max, 1 << 24);
	cr_expect_eq(config->limits.reservations_max, 2);
	cr_expect_eq(config->timeouts.idempotency_window_ms, 720u * 3600 * 1000);
	cr_expect_eq(config->timeouts.reservation_ms, 90000);
	cr_expect_eq(config->routes[0].heartbeat_ms, 5000);
	cr_expect_eq(config->routes[0].websocket.origin_count, 1);
	cr_expect_eq(config->routes[1].heartbeat_ms, 30000);
	config_free(config);
}

Test(config, what_is_wrong_with_a_count_is_said_with_its_place)
{
	EXPECT_SAID("admin: a\ncount: { durability: never, new_sites: yes, segment: 1k, segments: 1 }\n"
		    "limits: { sites_max: 0, idempotency_keys_max: many, reservations_max: 1000001, changes_max: 0 }\n"
		    "timeouts: { idempotency_window: 721h, reservation: 0s }\n",
		AT("2:22") "\"never\" is no word of durability; known are: always, everysec, memory\n"
		AT("2:40") "\"yes\" is no word of new_sites; known are: false, true\n"
		AT("2:54") "\"1k\" is outside the range of segment; write 64k to 1G\n"
		AT("2:58") "unknown key \"segments\" in count; did you mean \"segment\"?\n"
		AT("3:22") "\"0\" is outside the range of sites_max; write 1 to 16777216\n"
		AT("3:47") "\"many\" is not a whole number; write digits alone\n"
		AT("3:71") "\"1000001\" is outside the range of reservations_max; write 1 to 1000000\n"
		AT("3:93") "\"0\" is outside the range of changes_max; write 1 to 1000000\n"
		AT("4:33") "\"721h\" is outside the range of idempotency_window; write 1s to 720h\n"
		AT("4:52") "\"0s\" is outside the range of reservation; write 1ms to 720h\n");
}
