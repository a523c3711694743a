/* perf/work/proxy.c — a request as it is sent on. It is made by a function that only serve/proxy.c knows, hence the source. */
#include "gateway/serve/proxy.c"

#include "perf/work/http.h"
#include "perf/work/work.h"

#include <stdlib.h>

static struct chunk_pool pool;
static struct pipe in, out;
static struct exchange *x;

static void prepare(void)
{
	struct http1_reader reader;
	static struct arena arena;

	chunk_pool_init(&pool, 1000);
	pipe_init(&in, &pool, PIPE_BYTES_MAX);
	pipe_init(&out, &pool, PIPE_BYTES_MAX);
	x = calloc(1, sizeof *x);
	check(x);
	x->client = "192.0.2.7";
	x->secure = true;
	arena_init(&arena, NULL, 0);
	http1_reader_begin_request(&reader, &x->request, &arena, &HTTP_LIMITS_USUAL);
	pipe_write(&in, WORK_REQUEST, WORK_REQUEST_BYTES);
	check(http1_read_head(&reader, &in) == HTTP1_HEAD);
}

/* The head is copied first, because sending it on takes fields away from it; that costs a tenth. */
static void unit(void)
{
	const struct http_head kept = x->request;
	struct proxy p = { 0 };

	arena_init(&x->arena, x->arena_own, sizeof x->arena_own);
	http_head_copy(&x->request, &x->arena, &kept);
	request_make(x, &p);
	http1_write_head(&out, &p.request);
	pipe_consume(&out, out.bytes);
	arena_fini(&x->arena);
	x->request = kept;
}

static const struct work works[] = {
	{ "http-forward-request", 2000, prepare, unit },
};

const struct work_list WORK_PROXY = { works, array_count(works) };
