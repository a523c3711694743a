/* perf/work/http.c — heads and bodies of HTTP/1.1, routes, forms, the JSON of sites, a line of the access log. */
#include "gateway/gateway.h"
#include "gateway/exchange.h"
#include "gateway/http/http1.h"
#include "gateway/log.h"
#include "gateway/route.h"
#include "gateway/serve/sites_json.h"
#include "perf/work/http.h"
#include "perf/work/work.h"

#include <stdio.h>
#include <stdlib.h>

const char WORK_REQUEST[] =
	"GET /sites/berlin-charite/enrolments?arm=A&from=2026-01-01 HTTP/1.1\r\n"
	"Host: edc.example.org\r\n"
	"Connection: keep-alive\r\n"
	"Cache-Control: max-age=0\r\n"
	"Upgrade-Insecure-Requests: 1\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36\r\n"
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
	"Sec-Fetch-Site: same-origin\r\n"
	"Sec-Fetch-Mode: navigate\r\n"
	"Referer: https://edc.example.org/sites/berlin-charite\r\n"
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"
	"Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n"
	"Cookie: session=6f1d0b8f5c0e4f3ab4d9b5a3d0c7e2f1; theme=light\r\n"
	"\r\n";
const size_t WORK_REQUEST_BYTES = sizeof WORK_REQUEST - 1;

static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\n"
	"Server: nginx/1.22.1\r\n"
	"Date: Thu, 26 Nov 2026 01:00:00 GMT\r\n"
	"Content-Type: application/json\r\n"
	"Content-Length: 1024\r\n"
	"Last-Modified: Wed, 25 Nov 2026 22:00:00 GMT\r\n"
	"Connection: keep-alive\r\n"
	"ETag: \"6925f1a0-400\"\r\n"
	"Cache-Control: no-cache\r\n"
	"\r\n";

static const char CHUNKED[] =
	"HTTP/1.1 200 OK\r\n"
	"Transfer-Encoding: chunked\r\n"
	"\r\n";

static const char FORM[] = "siteId=berlin-charite&by=1&reason=screening+visit%2C+second+call&actor=nurse%207";
static const char JSON[] = "{\"by\":1,\"reason\":\"screening visit, second call\"}";

static struct chunk_pool pool;
static struct pipe in, out, body;
static struct arena arena;
static _Alignas(16) uint8_t arena_own[8192];
static struct http_head request, head;
static struct http1_reader reader;
static struct config config;
static struct worker *worker;
static struct exchange *x;
static uint8_t content[4096];
static char chunks[4096 + 64];
static size_t chunks_bytes;

static void empty(struct pipe *pipe)
{
	pipe_consume(pipe, pipe->bytes);
}

static void read_request(struct http_head *to)
{
	http1_reader_begin_request(&reader, to, &arena, &HTTP_LIMITS_USUAL);
	pipe_write(&in, WORK_REQUEST, WORK_REQUEST_BYTES);
	check(http1_read_head(&reader, &in) == HTTP1_HEAD);
}

static void read_answer(const char *bytes, size_t n)
{
	http1_reader_begin_answer(&reader, &head, &arena, &HTTP_LIMITS_USUAL, &request);
	pipe_write(&in, bytes, n);
	check(http1_read_head(&reader, &in) == HTTP1_HEAD);
}

static void prepare(void)
{
	chunk_pool_init(&pool, 1000);
	pipe_init(&in, &pool, PIPE_BYTES_MAX);
	pipe_init(&out, &pool, PIPE_BYTES_MAX);
	arena_init(&arena, NULL, 0);
	read_request(&request);
	arena_init(&arena, arena_own, sizeof arena_own);
	read_answer(ANSWER, sizeof ANSWER - 1);
	empty(&in);
	for (unsigned i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)('a' + i % 26);
	/* Four chunks of 1 KiB and the last one. */
	for (unsigned i = 0; i < 4; i++) {
		chunks_bytes += (size_t)snprintf(chunks + chunks_bytes, sizeof chunks - chunks_bytes, "400\r\n");
		memcpy(chunks + chunks_bytes, content, 1024);
		memcpy(chunks + chunks_bytes + 1024, "\r\n", 2);
		chunks_bytes += 1026;
	}
	memcpy(chunks + chunks_bytes, "0\r\n\r\n", 5);
	chunks_bytes += 5;
}

static void request_unit(void)
{
	struct http_head read;

	read_request(&read);
	check(read.field_count == 12);
	arena_reset(&arena);
}

static void answer_unit(void)
{
	read_answer(ANSWER, sizeof ANSWER - 1);
	check(head.content_length == 1024);
	arena_reset(&arena);
}

/* What the proxy does with an answer's head, and the connection before it goes to the client. */
static void forward_answer_unit(void)
{
	read_answer(ANSWER, sizeof ANSWER - 1);
	http_remove_hop_by_hop(&head);
	head.keep_alive = true;
	http1_write_head(&out, &head);
	empty(&out);
	arena_reset(&arena);
}

/* The answer to GET /count. */
static void write_answer_unit(void)
{
	struct http_head answer;

	http_head_init(&answer, &arena);
	answer.status = 200;
	answer.body = HTTP_BODY_LENGTH;
	answer.content_length = 12;
	http_add_known(&answer, HTTP_NAME_CONTENT_TYPE, HTTP_TEXT("application/json"));
	http_add_known(&answer, HTTP_NAME_CACHE_CONTROL, HTTP_TEXT("no-store"));
	http_add_known(&answer, HTTP_NAME_DATE, HTTP_TEXT("Thu, 26 Nov 2026 01:00:00 GMT"));
	http1_write_head(&out, &answer);
	empty(&out);
	arena_reset(&arena);
}

/* With the head that says so, because a reader begins with one. */
static void chunked_unit(void)
{
	read_answer(CHUNKED, sizeof CHUNKED - 1);
	pipe_write(&in, chunks, chunks_bytes);
	pipe_init(&body, &pool, PIPE_BYTES_MAX);
	check(http1_read_body(&reader, &in, &body) == HTTP1_DONE && body.bytes == 4096);
	pipe_fini(&body);
	arena_reset(&arena);
}

static void length_unit(void)
{
	read_answer(ANSWER, sizeof ANSWER - 1);
	pipe_write(&in, content, 1024);
	pipe_init(&body, &pool, PIPE_BYTES_MAX);
	check(http1_read_body(&reader, &in, &body) == HTTP1_DONE && body.bytes == 1024);
	pipe_fini(&body);
	arena_reset(&arena);
}

/* Twenty routes, of which the last one but one fits: hosts, paths, prefixes. */
static void prepare_routes(void)
{
	static struct config_route routes[20];
	static char paths[20][32];

	prepare();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(paths[i], sizeof paths[i], i % 3 == 0 ? "/study-%u/count" : "/sites-%u", i);
		routes[i] = (struct config_route){ .match = i % 3 == 0 ? CONFIG_MATCH_PATH : CONFIG_MATCH_PREFIX, .path = paths[i],
			.host = i % 4 == 0 ? "edc.example.org" : i % 4 == 1 ? "*.trial.example.org" : NULL };
	}
	routes[18] = (struct config_route){ .match = CONFIG_MATCH_PREFIX, .path = "/sites", .host = "edc.example.org" };
	routes[19] = (struct config_route){ .match = CONFIG_MATCH_ANY, .path = "" };
	config.routes = routes;
	config.route_count = 20;
}

static void route_unit(void)
{
	const struct reason *refusal;

	check(route_find(&config, request.host_name, request.path, NULL, &refusal) == &config.routes[18]);
}

static void form_unit(void)
{
	struct http_text value;

	check(!http_form_find(&arena, (struct http_text){ FORM, sizeof FORM - 1 }, "siteId", &value) && value.size == 14);
	check(!http_form_find(&arena, (struct http_text){ FORM, sizeof FORM - 1 }, "by", &value) && value.size == 1);
	check(!http_form_find(&arena, (struct http_text){ FORM, sizeof FORM - 1 }, "reason", &value) && value.size == 28);
	arena_reset(&arena);
}

static void json_read_unit(void)
{
	struct sites_body read;
	struct sites_fault fault;

	check(sites_body_read(&read, (struct http_text){ JSON, sizeof JSON - 1 }, SITES_MAY_BY | SITES_MAY_REASON | SITES_MAY_LOWER, &fault));
	check(read.by == 1 && read.reason.size == 28);
	sites_body_fini(&read);
}

static void json_write_unit(void)
{
	static const struct count_site site = { .n = { 31, 17, 15, 2 }, .count = 15, .rules = { .cap = 40, .reserved = 3, .changes = 2 },
		.revision = 67, .stamp_ns = UINT64_C(1795651200123000000) };
	char text[SITE_JSON_BYTES_MAX];

	check(site_json_write(text, false, HTTP_TEXT("berlin-charite"), &site) > 100);
}

static const struct config full = { .log = { .paths = CONFIG_LOG_FULL } };

static void prepare_log(void)
{
	prepare();
	worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);
	x = calloc(1, sizeof *x);
	check(worker && x);
	memset(worker, 0, sizeof *worker);
	worker->config = &full;
	worker->log = (struct log){ .core = &worker->core, .open = true, .level = CONFIG_LOG_INFO, .scope = { .state = SCOPE_LIVE } };
	pipe_init(&worker->log.file.in, &pool, 1u << 20);
	x->worker = worker;
	x->client = "192.0.2.7";
	x->request = request;
	x->answered = true;
	x->answer.status = 200;
	x->body_bytes_out = 1024;
}

/* It asks the clock, so that figures differ in the digits of a duration. */
static void log_unit(void)
{
	x->began_ns = kernel_now_ns(NULL);
	log_access(&worker->log, x);
	empty(&worker->log.file.in);
}

static const struct work works[] = {
	{ "http-read-request", 2000, prepare, request_unit },
	{ "http-read-answer", 2000, prepare, answer_unit },
	{ "http-forward-answer", 2000, prepare, forward_answer_unit },
	{ "http-write-answer", 5000, prepare, write_answer_unit },
	{ "http-body-length-1k", 2000, prepare, length_unit },
	{ "http-body-chunked-4k", 2000, prepare, chunked_unit },
	{ "route-20", 5000, prepare_routes, route_unit },
	{ "form", 5000, prepare, form_unit },
	{ "site-json-read", 2000, prepare, json_read_unit },
	{ "site-json-write", 2000, prepare, json_write_unit },
	{ "access-line", 2000, prepare_log, log_unit },
};

const struct work_list WORK_HTTP = { works, array_count(works) };
