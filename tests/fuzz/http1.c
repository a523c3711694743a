/* Hostile bytes as a request or an answer. The first byte chooses: bit 0 the role, bit 1 whether HEAD was asked, bit 2 whether
 * an upgrade was; the second how it is cut, the third how small the body pipe is. What must hold:
 *   - the same answer, head and body, whatever the cuts and however little room;
 *   - what is accepted and written again parses to the same message;
 *   - chunks that are accepted are the same body to llhttp. */
#include "gateway/http/http1.c"
#include "tests/unit/http_feed.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", what ? what : "");
		abort();
	}
}

/* Written again as our own message, with the framing it came with. */
static char *write_again(const struct http_head *head, const struct outcome *outcome, size_t *size)
{
	struct chunk_pool pool;
	struct pipe from, to;
	struct http1_writer writer;
	enum http1 said;
	char *all;
	size_t n;

	chunk_pool_init(&pool, 1u << 20);
	pipe_init(&from, &pool, outcome->body_bytes + 1);
	pipe_init(&to, &pool, UINT64_MAX);
	pipe_write(&from, outcome->body ? outcome->body : "", outcome->body_bytes);
	pipe_end(&from);
	http1_write_head(&to, head);
	http1_writer_begin(&writer, head);
	said = http1_write_body(&writer, &from, &to);
	must(said == HTTP1_DONE, "a body that was read cannot be written");
	all = malloc(to.bytes);
	*size = 0;
	for (uint8_t *bytes; (bytes = pipe_peek(&to, &n)); pipe_consume(&to, n)) {
		memcpy(all + *size, bytes, n);
		*size += n;
	}
	pipe_fini(&from);
	pipe_fini(&to);
	chunk_pool_fini(&pool);
	return all;
}

/* The owned fields are made anew, so only what they mean is compared, and the others one by one. */
static void same_message(const struct http_head *a, const struct http_head *b)
{
	unsigned i = 0, k = 0;

	must(a->status == b->status && a->method == b->method, "method or status");
	must(texts_equal(a->method_text, b->method_text) && texts_equal(a->path, b->path) && texts_equal(a->query, b->query), "request line");
	must(texts_equal(a->host, b->host) && texts_equal(a->host_name, b->host_name), "host");
	must(a->body == b->body && a->content_length == b->content_length && a->has_length == b->has_length, "framing");
	must(texts_equal(a->upgrade, b->upgrade), "upgrade");
	/* An interim answer does not say; with a 1.0 peer we speak 1.1 from here on. */
	must(a->keep_alive == b->keep_alive || http_status_interim(a->status) || a->status == 101, "keep_alive");
	for (;; i++, k++) {
		while (i < a->field_count && http_name_owned(a->fields[i].known))
			i++;
		while (k < b->field_count && http_name_owned(b->fields[k].known))
			k++;
		if (i == a->field_count || k == b->field_count)
			break;
		must(texts_equal(a->fields[i].name, b->fields[k].name) && texts_equal(a->fields[i].value, b->fields[k].value), "field");
	}
	must(i == a->field_count && k == b->field_count, "field count");
}

struct second {
	const struct outcome *first;
	size_t body_bytes;
	bool complete;
};

static int second_body(llhttp_t *parser, const char *at, size_t n)
{
	struct second *second = parser->data;

	must(n <= second->first->body_bytes - second->body_bytes, "llhttp reads more of a body");
	must(memcmp(second->first->body + second->body_bytes, at, n) == 0, "llhttp reads another body");
	second->body_bytes += n;
	return 0;
}

static int second_complete(llhttp_t *parser)
{
	((struct second *)parser->data)->complete = true;
	return HPE_PAUSED;
}

static void llhttp_agrees(const struct outcome *outcome, const char *bytes, bool answer)
{
	static const llhttp_settings_t second_settings = {.on_body = second_body, .on_message_complete = second_complete};
	struct second second = {.first = outcome};
	llhttp_t parser;
	llhttp_errno_t error;

	llhttp_init(&parser, answer ? HTTP_RESPONSE : HTTP_REQUEST, &second_settings);
	parser.data = &second;
	error = llhttp_execute(&parser, bytes, outcome->used);
	/* In a trailer llhttp refuses framing fields as it does in a head; we drop the trailer, so they mean nothing. */
	must(second.complete || error == HPE_UNEXPECTED_CONTENT_LENGTH || error == HPE_INVALID_CONTENT_LENGTH ||
	     error == HPE_INVALID_TRANSFER_ENCODING, llhttp_get_error_reason(&parser));
	must(second.body_bytes == outcome->body_bytes, "llhttp reads less of a body");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head asked = {.method = HTTP_METHOD_GET};
	/* Small limits, so that they are met. */
	const struct http_limits limits = {.head_bytes_max = 2048, .uri_bytes_max = 512, .fields_max = 20, .body_bytes_max = 4096};
	const struct http_limits wide = {.head_bytes_max = 16384, .uri_bytes_max = 8192, .fields_max = 100, .body_bytes_max = 1u << 20};
	struct outcome whole, cut, again;
	struct feed feed = {.limits = &limits};

	if (size < 3)
		return 0;
	feed.answer = data[0] & 1;
	if (data[0] & 2)
		asked.method = HTTP_METHOD_HEAD;
	if (data[0] & 4)
		asked.upgrade = HTTP_TEXT("websocket, h2c");
	feed.asked = feed.answer ? &asked : NULL;
	outcome_feed(&whole, data + 3, size - 3, &feed);
	feed.first = 1 + data[1];
	feed.step = data[1] & 1 ? 1 + data[1] / 16 : 0;
	feed.to_max = 1 + data[2];
	outcome_feed(&cut, data + 3, size - 3, &feed);
	must(!outcomes_differ(&whole, &cut), outcomes_differ(&whole, &cut));
	if (whole.body_said == HTTP1_DONE) {
		struct http_head head = whole.head;
		size_t n;
		char *bytes;

		if (head.body == HTTP_BODY_CHUNKED)
			llhttp_agrees(&whole, (const char *)data + 3, feed.answer);
		/* Where 1.0 came without a host the proxy puts one; a request of our own says 1.1. */
		if (!feed.answer && !head.host.bytes) {
			head.host = head.host_name = HTTP_TEXT("h");
		}
		if (head.version_minor == 0) {
			head.upgrade = (struct http_text){0};
			head.version_minor = 1;
		}
		http_remove(&head, HTTP_NAME_EXPECT);
		http_remove(&whole.head, HTTP_NAME_EXPECT);
		bytes = write_again(&head, &whole, &n);
		feed = (struct feed){.limits = &wide, .answer = feed.answer, .asked = feed.asked};
		outcome_feed(&again, bytes, n, &feed);
		must(again.head_said == HTTP1_HEAD && again.body_said == HTTP1_DONE, again.reason ? again.reason->name : "not taken again");
		must(again.used == n, "bytes are left over");
		must(again.body_bytes == whole.body_bytes && (n == 0 || memcmp(again.body ? again.body : "", whole.body ? whole.body : "", whole.body_bytes) == 0), "body");
		same_message(&head, &again.head);
		outcome_free(&again);
		free(bytes);
	}
	outcome_free(&whole);
	outcome_free(&cut);
	return 0;
}
