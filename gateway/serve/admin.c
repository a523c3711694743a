/* gateway/serve/admin.c — the admin socket: what is alive, what was counted, and the order to stop.
 *
 *   GET /stats  /metrics  /scopes  /scopes?full  /audit  /livez  /readyz      POST /drain  /reload
 *   /sites and what lies below it: as the count target serves it, for the one who administers
 *
 * HTTP over a UNIX socket of mode 0600: whoever can open it may ask. Long listings go out as the reader takes them. */
#include "gateway/certificates.h"
#include "gateway/serve/admin.h"
#include "gateway/serve/serve.h"
#include "gateway/verdict.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct admin {
	struct gather *gather;           /* a listing of scopes; NULL: none */
	struct heads *heads;             /* the ends of the journal's streams; NULL: not asked for */
	struct timer patience;           /* for its cores */
	bool reloads;                    /* certificates are being read again */
	char *text;                      /* any other page that goes out */
	size_t size;
	size_t at;
};

static void page_begin(struct exchange *x, unsigned status, const char *type)
{
	x->answer.status = status;
	http_add_known(&x->answer, HTTP_NAME_CONTENT_TYPE, http_text_of(type));
	http_add_known(&x->answer, HTTP_NAME_CACHE_CONTROL, HTTP_TEXT("no-store"));
}

static void text_write(struct exchange *x, struct admin *admin)
{
	while (admin->at < admin->size) {
		uint64_t room = pipe_free(x->out);
		size_t n = admin->size - admin->at < room ? admin->size - admin->at : (size_t)room;

		if (n == 0)
			return;
		pipe_write(x->out, admin->text + admin->at, n);
		admin->at += n;
	}
	pipe_end(x->out);
}

static void answer_long(struct exchange *x, unsigned status, const char *type, char *text)
{
	struct admin *admin = x->state;

	check(text);
	admin->text = text;
	admin->size = strlen(text);
	page_begin(x, status, type);
	x->answer.body = HTTP_BODY_LENGTH;
	x->answer.has_length = true;
	x->answer.content_length = admin->size;
	exchange_answer(x);
	text_write(x, admin);
}

/* ---- the pages -------------------------------------------------------------------------------------------------------------- */

static void answer_stats(struct exchange *x)
{
	answer_long(x, 200, "application/json", admin_stats(x->worker->gateway));
}

static void answer_metrics(struct exchange *x)
{
	answer_long(x, 200, "text/plain; version=0.0.4", admin_metrics(x->worker->gateway));
}

static void answer_scopes(struct exchange *x)
{
	struct admin *admin = x->state;

	admin->gather = gather_begin(x, http_text_is(x->request.query, "full"));
	if (admin->gather)
		timer_set(&admin->patience, ADMIN_PATIENCE_MS);
	else
		exchange_refuse(x, &ADMIN_BUSY);
}

/* Its length is known only when it is written, so it goes in chunks. */
static void scopes_step(struct exchange *x, struct admin *admin)
{
	if (!x->answered) {
		if (!gather_complete(admin->gather) && !admin->patience.fired)
			return;
		timer_clear(&admin->patience);
		page_begin(x, 200, "application/json");
		x->answer.body = HTTP_BODY_CHUNKED;
		exchange_answer(x);
	}
	if (gather_write(admin->gather, x->out))
		pipe_end(x->out);
}

static void answer_audit(struct exchange *x)
{
	struct admin *admin = x->state;

	if (!x->worker->counting) {
		exchange_refuse(x, &ROUTE_NONE);
		return;
	}
	admin->heads = heads_begin(x);
	timer_set(&admin->patience, ADMIN_PATIENCE_MS);
	task_wake(&x->task);
}

static void audit_step(struct exchange *x, struct admin *admin)
{
	if (!heads_complete(admin->heads) && !admin->patience.fired)
		return;
	timer_clear(&admin->patience);
	answer_long(x, 200, "application/json", heads_page(admin->heads));
}

static void answer_live(struct exchange *x)
{
	exchange_answer_text(x, 200, "text/plain", "alive\n", 6);
}

static void answer_ready(struct exchange *x)
{
	const struct reason *failure = counting_failing(x->worker->gateway);

	if (x->worker->draining)
		exchange_refuse(x, &GATEWAY_DRAINING);
	else if (failure)
		exchange_refuse(x, failure);
	else
		exchange_answer_text(x, 200, "text/plain", "ready\n", 6);
}

static void order_drain(struct exchange *x)
{
	static const char told[] = "{\"status\":\"draining\"}\n";

	gateway_drain(x->worker, false);
	exchange_answer_text(x, 200, "application/json", told, sizeof told - 1);
}

/* A refusal with words of its own: which file, and what is wrong with it. */
static void refuse_saying(struct exchange *x, const struct reason *reason, const char *sentence)
{
	json_t *page = json_pack("{s:s,s:s}", "error", reason->name, "message", sentence);
	char *text = page ? json_dumps(page, JSON_COMPACT) : NULL;

	check(text);
	json_decref(page);
	exchange_note(x, reason);
	answer_long(x, verdict_of(reason)->status, "application/json", text);
}

/* The files are read now; the answer waits until every core has them, so that whoever gets it meets the new ones. */
static void order_reload(struct exchange *x)
{
	struct admin *admin = x->state;
	struct tls_fault fault;
	const struct reason *reason = certificates_reload(x->worker, x->administrator, &x->task, &fault);

	if (reason == &CERTIFICATES_BAD) {
		refuse_saying(x, reason, fault.sentence);
	} else if (reason) {
		exchange_refuse(x, reason);
	} else {
		admin->reloads = true;
		timer_set(&admin->patience, ADMIN_PATIENCE_MS);
	}
}

static void reload_step(struct exchange *x, struct admin *admin)
{
	static const char told[] = "{\"status\":\"reloaded\"}\n";
	bool over;
	const struct reason *failure = certificates_reload_outcome(x->worker, &over);

	if (!over && !admin->patience.fired)
		return;
	admin->reloads = false;
	timer_clear(&admin->patience);
	if (failure || !over)
		exchange_refuse(x, failure ? failure : &CERTIFICATES_LATE);
	else
		exchange_answer_text(x, 200, "application/json", told, sizeof told - 1);
}

static void answer_later(struct exchange *x)
{
	exchange_refuse(x, &TARGET_NOT_BUILT);
}

static const struct page {
	const char *path;
	enum http_method method;
	void (*answer)(struct exchange *);
} PAGES[] = {
	{ "/stats", HTTP_METHOD_GET, answer_stats },
	{ "/metrics", HTTP_METHOD_GET, answer_metrics },
	{ "/scopes", HTTP_METHOD_GET, answer_scopes },
	{ "/livez", HTTP_METHOD_GET, answer_live },
	{ "/readyz", HTTP_METHOD_GET, answer_ready },
	{ "/drain", HTTP_METHOD_POST, order_drain },
	{ "/reload", HTTP_METHOD_POST, order_reload },
	{ "/trace", HTTP_METHOD_GET, answer_later },
	{ "/audit", HTTP_METHOD_GET, answer_audit },
};

static void refuse_method(struct exchange *x, enum http_method right)
{
	x->allow = right == HTTP_METHOD_GET ? "GET, HEAD" : "POST";
	exchange_refuse(x, &METHOD_NOT_ALLOWED);
}

/* ---- the target --------------------------------------------------------------------------------------------------------------- */

static bool is_of_sites(struct http_text path)
{
	return path.size >= 6 && memcmp(path.bytes, "/sites", 6) == 0 && (path.size == 6 || path.bytes[6] == '/');
}

static void admin_begin(struct exchange *x)
{
	struct admin *admin;
	enum http_method method = x->request.method == HTTP_METHOD_HEAD ? HTTP_METHOD_GET : x->request.method;

	if (is_of_sites(x->request.path) && x->worker->counting) {
		x->serve = &SERVE_COUNT;
		x->serve->begin(x);
		return;
	}
	admin = arena_take(&x->arena, sizeof *admin);
	*admin = (struct admin){ 0 };
	timer_init(&admin->patience, &x->scope, &x->task);
	x->state = admin;
	for (unsigned i = 0; i < array_count(PAGES); i++) {
		if (!http_text_is(x->request.path, PAGES[i].path))
			continue;
		if (PAGES[i].method == method)
			PAGES[i].answer(x);
		else
			refuse_method(x, PAGES[i].method);
		return;
	}
	exchange_refuse(x, &ROUTE_NONE);
}

static void admin_step(struct exchange *x)
{
	struct admin *admin = x->state;

	pipe_consume(x->in, x->in->bytes); /* nothing here reads a body */
	if (admin->reloads)
		reload_step(x, admin);
	else if (admin->gather)
		scopes_step(x, admin);
	else if (admin->heads && !x->answered)
		audit_step(x, admin);
	else if (admin->text && !x->out->ended)
		text_write(x, admin);
}

static void admin_ended(struct exchange *x)
{
	struct admin *admin = x->state;

	certificates_forget(x->worker, &x->task);
	if (admin->gather)
		gather_end(admin->gather);
	if (admin->heads)
		heads_end(admin->heads);
	free(admin->text);
}

const struct serve SERVE_ADMIN = {
	.name = "admin",
	.begin = admin_begin,
	.step = admin_step,
	.ended = admin_ended,
};
