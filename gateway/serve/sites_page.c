/* gateway/serve/sites_page.c — GET /sites: the study and its sites, page by page.
 *
 *   {"study":{…},"sites":[SITE,SITE,…],"next":"CURSOR"|null}
 *
 * Sites stand in the order in which this run of the gateway first heard of them. New ones come at the end, so what is on a page
 * stays there while sites are added. Each SITE is of one moment, the page is not: it goes out as its reader takes it, and holds no
 * more memory than a pipe, whoever asks. */
#include "gateway/gateway.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/sites.h"
#include "gateway/serve/sites_json.h"

#include <string.h>

#define LOOKS_AT_ONCE 1024u              /* in one turn; most numbers are known sites */

struct page {
	unsigned left;                   /* sites that may still be written */
	uint32_t next;                   /* the number to look at */
	bool first;                      /* none is written yet */
};

static void page_begin_write(struct exchange *x)
{
	char text[512] = "{\"study\":";
	struct count_site study;
	size_t n = strlen(text);

	count_look(x->worker->gateway->count, COUNT_STUDY, &study);
	n += study_json_write(text + n, false, &study);
	memcpy(text + n, ",\"sites\":[", 10);
	pipe_write(x->out, text, n + 10);
}

static void page_end_write(struct exchange *x, const struct page *page, bool more)
{
	char text[64 + SITES_CURSOR_BYTES_MAX] = "],\"next\":";
	size_t n = strlen(text);

	if (more) {
		text[n++] = '"';
		n += sites_cursor_write(text + n, x->worker->gateway->started_ms, page->next);
		memcpy(text + n, "\"}", 2);
		n += 2;
	} else {
		memcpy(text + n, "null}", 5);
		n += 5;
	}
	pipe_write(x->out, text, n);
	pipe_end(x->out);
}

static void page_site_write(struct exchange *x, struct page *page)
{
	const struct count *count = x->worker->gateway->count;
	struct http_text id;
	struct count_site found;
	char text[1 + SITE_JSON_BYTES_MAX];
	size_t n = 0;

	id.size = count_id(count, page->next, &id.bytes);
	count_look(count, page->next, &found);
	if (!page->first)
		text[n++] = ',';
	n += site_json_write(text + n, false, id, &found);
	pipe_write(x->out, text, n);
	page->first = false;
	page->left--;
}

/* A number that was entered and never changed is no site to anybody. */
static void page_step(struct exchange *x)
{
	const struct count *count = x->worker->gateway->count;
	struct page *page = x->state;
	struct count_stats stats;

	if (!page || x->out->ended)
		return;
	count_stats(count, &stats);
	for (unsigned i = 0; i < LOOKS_AT_ONCE; i++) {
		if (page->next >= stats.sites) {
			page_end_write(x, page, false);
			return;
		}
		if (count_known(count, page->next)) {
			if (page->left == 0) {
				page_end_write(x, page, true);
				return;
			}
			if (pipe_free(x->out) == 0)
				return; /* it wakes us when it opens */
			page_site_write(x, page);
		}
		page->next++;
	}
	task_wake(&x->task);
}

void sites_page_begin(struct exchange *x)
{
	struct page *page;
	unsigned limit;
	uint32_t first;
	const struct reason *reason = sites_page_read(&x->arena, x->request.query, x->worker->gateway->started_ms, &limit, &first);

	x->serve = &SERVE_SITES_PAGE;
	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	x->answer.status = 200;
	x->answer.body = HTTP_BODY_CHUNKED;
	http_add_known(&x->answer, HTTP_NAME_CONTENT_TYPE, HTTP_TEXT("application/json"));
	http_add_known(&x->answer, HTTP_NAME_CACHE_CONTROL, HTTP_TEXT("no-cache"));
	if (x->request.method == HTTP_METHOD_HEAD) {
		pipe_end(x->out);
	} else {
		page = arena_take(&x->arena, sizeof *page);
		*page = (struct page){ .left = limit, .next = first, .first = true };
		x->state = page;
		page_begin_write(x);
		task_wake(&x->task);
	}
	exchange_answer(x);
}

/* Begun by SERVE_COUNT. */
const struct serve SERVE_SITES_PAGE = {
	.name = "count",
	.step = page_step,
};
