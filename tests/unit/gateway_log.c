/* Lines of the access log: whatever a request had in it, a line is one line of valid JSON that tells no secret. */
#include "gateway/log.c"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FUZZ_LINES 20000u

static struct worker *worker;
static struct exchange *x;

static const struct config full = { .log = { .paths = CONFIG_LOG_FULL } };

static void desk_open(void)
{
	worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);
	x = calloc(1, sizeof *x);
	cr_assert(worker && x);
	memset(worker, 0, sizeof *worker);
	worker->core.index = 3;
	worker->config = &full;
	chunk_pool_init(&worker->core.pool, 1000);
	worker->log = (struct log){ .core = &worker->core, .open = true, .level = CONFIG_LOG_INFO, .scope = { .state = SCOPE_LIVE } };
	pipe_init(&worker->log.file.in, &worker->core.pool, LOG_PIPE_BYTES_MAX);
	x->worker = worker;
	x->client = "192.0.2.7";
	x->began_ns = kernel_now_ns(NULL);
	x->answered = true;
	x->answer.status = 200;
	x->request.method_text = HTTP_TEXT("GET");
	x->request.host = HTTP_TEXT("h:8080");
	x->request.host_name = HTTP_TEXT("h");
	x->request.path = HTTP_TEXT("/count");
	x->request.query = HTTP_TEXT("siteId=Hidden&token=Hidden");
}

static void desk_close(void)
{
	pipe_fini(&worker->log.file.in);
	chunk_pool_fini(&worker->core.pool);
	free(x);
	free(worker);
}

TestSuite(gateway_log, .init = desk_open, .fini = desk_close);

/* The one line that an exchange gives, with a zero behind; its JSON. */
static json_t *line_of(const struct exchange *exchange, char text[LOG_LINE_BYTES_MAX + 1])
{
	struct pipe *pipe = &worker->log.file.in;
	size_t size = 0, n;
	json_error_t error;
	json_t *line;

	log_access(&worker->log, exchange);
	for (uint8_t *bytes; (bytes = pipe_peek(pipe, &n)); pipe_consume(pipe, n)) {
		cr_assert(size + n <= LOG_LINE_BYTES_MAX);
		memcpy(text + size, bytes, n);
		size += n;
	}
	text[size] = 0;
	cr_assert(size > 0 && text[size - 1] == '\n', "ends with a line feed: %s", text);
	cr_assert_eq(memchr(text, '\n', size), text + size - 1, "is one line: %s", text);
	cr_assert_eq(strlen(text), size, "has no zero byte");
	line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	cr_assert(line, "%s at %d: %s", error.text, error.position, text);
	cr_assert(json_is_object(line));
	return line;
}

static void has_text(const json_t *line, const char *key, const char *wanted)
{
	const char *is = json_string_value(json_object_get(line, key));

	cr_assert(is && strcmp(is, wanted) == 0, "%s: %s", key, is ? is : "(none)");
}

static void has_number(const json_t *line, const char *key, json_int_t wanted)
{
	cr_assert(json_is_integer(json_object_get(line, key)), "%s", key);
	cr_assert_eq(json_integer_value(json_object_get(line, key)), wanted, "%s", key);
}

/* The usual fields, all of them, and none else. */
static void is_whole(const json_t *line)
{
	static const char *keys[] = { "ts", "core", "client", "method", "host", "path", "route", "status", "bytes_in", "bytes_out",
		                      "ms", "tls", "upstream", "error", "wait" };

	for (unsigned i = 0; i < array_count(keys); i++)
		cr_assert(json_object_get(line, keys[i]), "%s is missing", keys[i]);
	cr_assert_eq(json_object_size(line), array_count(keys));
}

Test(gateway_log, a_line_tells_what_happened)
{
	char text[LOG_LINE_BYTES_MAX + 1];
	const struct config_route route = { .path = "/count", .target = CONFIG_COUNT };
	json_t *line;

	x->route = &route;
	x->body_bytes_in = 5;
	x->body_bytes_out = UINT64_C(1) << 40;
	x->secure = true;
	x->upstream = "127.0.0.1:9001";
	x->wait = "heartbeat";
	line = line_of(x, text);
	is_whole(line);
	has_number(line, "core", 3);
	has_text(line, "client", "192.0.2.7");
	has_text(line, "method", "GET");
	has_text(line, "host", "h");
	has_text(line, "path", "/count");
	has_text(line, "route", "/count");
	has_number(line, "status", 200);
	has_number(line, "bytes_in", 5);
	has_number(line, "bytes_out", (json_int_t)1 << 40);
	has_text(line, "upstream", "127.0.0.1:9001");
	has_text(line, "wait", "heartbeat");
	cr_assert(json_is_true(json_object_get(line, "tls")));
	cr_assert(json_is_null(json_object_get(line, "error")));
	cr_assert(json_real_value(json_object_get(line, "ms")) < 60000);
	json_decref(line);
}

Test(gateway_log, the_time_is_utc_with_milliseconds)
{
	char text[LOG_LINE_BYTES_MAX + 1];
	json_t *line = line_of(x, text);
	const char *ts = json_string_value(json_object_get(line, "ts"));
	struct tm utc = { 0 };
	time_t now = time(NULL), then;

	cr_assert_eq(strlen(ts), strlen("2020-01-01T00:00:00.000Z"), "%s", ts);
	cr_assert_str_eq(strptime(ts, "%Y-%m-%dT%H:%M:%S", &utc) + 4, "Z");
	then = timegm(&utc);
	cr_assert(then <= now && then + 60 > now, "%s", ts);
	json_decref(line);
}

Test(gateway_log, a_refusal_is_named_and_a_client_who_left_is_499)
{
	char text[LOG_LINE_BYTES_MAX + 1];
	static const struct reason GONE = { "client_gone", "the client left" };
	json_t *line;

	x->answered = false;
	x->refusal = &GONE;
	line = line_of(x, text);
	has_number(line, "status", 499);
	has_text(line, "error", "client_gone");
	has_text(line, "route", "-");
	cr_assert(json_is_null(json_object_get(line, "upstream")));
	cr_assert(json_is_false(json_object_get(line, "tls")));
	json_decref(line);
}

Test(gateway_log, no_query_string)
{
	char text[LOG_LINE_BYTES_MAX + 1];

	json_decref(line_of(x, text));
	cr_assert_null(strstr(text, "Hidden"), "%s", text);
	cr_assert_null(strstr(text, "siteId"), "%s", text);
}

Test(gateway_log, behind_push_and_live_the_path_is_the_route_s)
{
	static const enum config_target targets[] = { CONFIG_PUSH, CONFIG_LIVE };
	char text[LOG_LINE_BYTES_MAX + 1];

	for (unsigned i = 0; i < array_count(targets); i++) {
		const struct config_route route = { .path = "/p", .match = CONFIG_MATCH_PREFIX, .target = targets[i] };
		const struct config_route any = { .path = "", .match = CONFIG_MATCH_ANY, .target = targets[i] };
		json_t *line;

		x->request.path = HTTP_TEXT("/p/Patient-0815/7");
		x->route = &route;
		line = line_of(x, text);
		has_text(line, "path", "/p");
		has_text(line, "route", "/p");
		cr_assert_null(strstr(text, "0815"), "%s", text);
		json_decref(line);
		x->route = &any;
		line = line_of(x, text);
		has_text(line, "path", "*");
		cr_assert_null(strstr(text, "0815"), "%s", text);
		json_decref(line);
	}
}

Test(gateway_log, every_byte_stays_one_line)
{
	char text[LOG_LINE_BYTES_MAX + 1];
	char path[3] = "/x";

	for (unsigned byte = 0; byte < 256; byte++) {
		json_t *line;
		const char *is;

		path[1] = (char)byte;
		x->request.path = (struct http_text){ path, 2 };
		if (byte == 0) {
			/* jansson refuses to give back a string with a zero byte in it, unless it is asked for: look at the text. */
			log_access(&worker->log, x);
			size_t n;
			const char *bytes = (const char *)pipe_peek(&worker->log.file.in, &n);

			cr_assert_not_null(memmem(bytes, n, "\"/\\u0000\"", 9));
			pipe_consume(&worker->log.file.in, n);
			continue;
		}
		line = line_of(x, text);
		is = json_string_value(json_object_get(line, "path"));
		/* A byte above ASCII is told as the character of that number. */
		if (byte < 0x80)
			cr_assert(is[1] == (char)byte && is[2] == 0);
		else
			cr_assert((unsigned char)is[1] == (0xc0 | byte >> 6) && (unsigned char)is[2] == (0x80 | (byte & 63)));
		is_whole(line);
		json_decref(line);
	}
}

static uint64_t dice(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Up to `size_max` bytes of one of several kinds: all, those that must be escaped, words. Never a zero (see above). */
static struct http_text random_text(uint64_t *state, char *bytes, size_t size_max)
{
	static const char nasty[] = "\"\\\n\r\t\x01\x1f\x7f\x80\xc3\xff{}[],:/u";
	const unsigned kind = (unsigned)(dice(state) % 4);
	size_t size = (size_t)(dice(state) % (size_max + 1));

	if (dice(state) % 4 > 0)
		size %= 40;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(kind == 0 ? 1 + dice(state) % 255 :
		                  kind == 1 ? (uint64_t)nasty[dice(state) % (sizeof nasty - 1)] :
		                  kind == 2 ? 0x80 + dice(state) % 128 : 'a' + dice(state) % 26);
	bytes[size] = 0;
	return (struct http_text){ bytes, size };
}

Test(gateway_log, any_bytes_give_one_valid_line)
{
	static char method[2049], host[2049], path[2049], route_path[1025];
	char text[LOG_LINE_BYTES_MAX + 1];
	uint64_t state = 0x9e3779b97f4a7c15u;

	for (unsigned i = 0; i < FUZZ_LINES; i++) {
		struct config_route route = { .target = (enum config_target)(dice(&state) % 5) };
		json_t *line;

		x->request.method_text = random_text(&state, method, sizeof method - 1);
		x->request.host_name = random_text(&state, host, sizeof host - 1);
		x->request.path = random_text(&state, path, sizeof path - 1);
		route.path = random_text(&state, route_path, sizeof route_path - 1).bytes;
		x->route = dice(&state) % 2 ? &route : NULL;
		line = line_of(x, text);
		is_whole(line);
		has_number(line, "status", 200);
		json_decref(line);
	}
}

/* Everything at once as long as it may be, in bytes that each take six: what comes last must still be there. */
Test(gateway_log, the_longest_of_all_fields_are_cut_and_the_line_is_whole)
{
	static const char kinds[] = { 'a', '"', '\x01', '\xff' };
	static char long_text[20000];
	static char route_path[CONFIG_WORD_BYTES_MAX + 1];
	char text[LOG_LINE_BYTES_MAX + 1];

	for (unsigned kind = 0; kind < sizeof kinds; kind++) {
		const struct config_route route = { .path = route_path, .target = CONFIG_PROXY };

		memset(long_text, kinds[kind], sizeof long_text);
		memset(route_path, kinds[kind], sizeof route_path - 1);
		x->route = &route;
		/* Cut at every size around the bound of a field and of the line. */
		for (size_t size = 0; size < 1400; size += 1) {
			json_t *line;

			x->request.method_text = (struct http_text){ long_text, size };
			x->request.host_name = (struct http_text){ long_text, sizeof long_text };
			x->request.path = (struct http_text){ long_text, sizeof long_text - size };
			line = line_of(x, text);
			is_whole(line);
			has_number(line, "status", 200);
			json_decref(line);
		}
	}
}

Test(gateway_log, a_disk_that_is_behind_costs_lines_and_they_are_counted)
{
	const uint64_t many = 2 * LOG_PIPE_BYTES_MAX / 100;
	uint64_t dropped;

	for (uint64_t i = 0; i < many; i++)
		log_access(&worker->log, x);
	dropped = metric_read(&worker->metrics.log_lines_dropped);
	cr_assert(dropped > 0 && dropped < many);
	cr_assert(worker->log.file.in.bytes <= LOG_PIPE_BYTES_MAX + LOG_LINE_BYTES_MAX);
}

Test(gateway_log, after_an_error_of_the_file_lines_are_dropped_and_counted)
{
	worker->log.file.error = 28;
	log_access(&worker->log, x);
	cr_assert_eq(worker->log.file.in.bytes, 0);
	cr_assert_eq(metric_read(&worker->metrics.log_lines_dropped), 1);
}

Test(gateway_log, without_a_log_nothing_is_written_and_nothing_dropped)
{
	worker->log.open = false;
	log_access(&worker->log, x);
	cr_assert_eq(worker->log.file.in.bytes, 0);
	cr_assert_eq(metric_read(&worker->metrics.log_lines_dropped), 0);
}

Test(gateway_log, the_file_is_appended_to_and_not_for_everyone)
{
	char place[] = "/tmp/gateway_log_XXXXXX", path[64];
	struct config_log config = { .access = path };
	struct stat status;
	int fd;

	cr_assert(mkdtemp(place));
	snprintf(path, sizeof path, "%s/access", place);
	umask(0);
	fd = log_open_file(&config);
	cr_assert(fd >= 0 && fstat(fd, &status) == 0);
	cr_assert_eq(status.st_mode & 0777, 0640);
	cr_assert(fcntl(fd, F_GETFL) & O_APPEND);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	unlink(path);
	rmdir(place);
	cr_assert_eq(log_open_file(&config), -2);
	config.access = NULL;
	cr_assert_eq(log_open_file(&config), -1);
	config.access = "-";
	fd = log_open_file(&config);
	cr_assert(fd > STDERR_FILENO);
	close(fd);
}

Test(gateway_log, unless_full_paths_are_asked_for_a_path_is_the_route_s)
{
	static const struct config usual = { .log = { .paths = CONFIG_LOG_ROUTE } };
	const struct config_route route = { .path = "/patients", .match = CONFIG_MATCH_PREFIX, .target = CONFIG_PROXY };
	char text[LOG_LINE_BYTES_MAX + 1];
	json_t *line;

	worker->config = &usual;
	x->route = &route;
	x->request.path = HTTP_TEXT("/patients/P-0012");
	line = line_of(x, text);
	has_text(line, "path", "/patients");
	cr_assert_not(strstr(text, "P-0012"));
	json_decref(line);
}

Test(gateway_log, a_line_is_in_one_chunk_and_so_in_one_write)
{
	struct pipe *pipe = &worker->log.file.in;
	unsigned chunks = 0;

	for (unsigned i = 0; i < 1000; i++)
		log_access(&worker->log, x);
	for (struct chunk *chunk; (chunk = pipe_take(pipe)); chunks++) {
		cr_assert_eq(chunk->bytes[chunk->begin], '{');
		cr_assert_eq(chunk->bytes[chunk->end - 1], '\n');
		chunk_put(&worker->core.pool, chunk);
	}
	cr_assert_gt(chunks, 5);
}
