/* gateway/http/strict.c — line by line, rule by rule; see strict.h.
 *
 * What a scan answers never depends on how the bytes were cut: each rule is decided at the byte that breaks it. Lines that are whole
 * and flawless, as nearly all are, are passed over at once; whatever is cut off or wrong is judged byte by byte. */
#include "gateway/http/strict.h"

#include "gateway/http/character.h"

/* How many bytes from i on are of the class. */
static size_t run(const char *bytes, size_t i, size_t n, unsigned class)
{
	size_t begin = i;

	while (i < n && http_is(bytes[i], class))
		i++;
	return i - begin;
}

/* ---- the lines of a head ---- */

enum {
	AT_START,           /* the first byte of the message, or of a blank line before it */
	AT_BLANK_LF,
	AT_METHOD,
	AT_TARGET,
	AT_VERSION,         /* of either kind of message */
	AT_STATUS,
	AT_STATUS_END,
	AT_PHRASE,
	AT_START_LF,
	AT_LINE,            /* the first byte of a field line, or of the empty line */
	AT_NAME,
	AT_VALUE,
	AT_VALUE_LF,
	AT_END_LF,
};

void strict_head_begin(struct strict_head *head, bool answer)
{
	*head = (struct strict_head){.state = AT_START, .answer = answer};
}

void strict_trailer_begin(struct strict_head *head)
{
	*head = (struct strict_head){.state = AT_LINE, .trailer = true};
}

/* RFC 9112 §2.3: HTTP-version = HTTP-name "/" DIGIT "." DIGIT; "HTTP-version is case-sensitive." */
static bool version_byte_fits(unsigned at, char c)
{
	switch (at) {
	case 5:
	case 7: return http_is_digit(c);
	case 6: return c == '.';
	default: return c == "HTTP/"[at];
	}
}

static const struct reason *start_byte(struct strict_head *head, char c)
{
	if (c == '\r' && !head->answer) {
		if (head->blank_lines == STRICT_BLANK_LINES_MAX)
			return &HTTP_BLANK_LINES;
		head->blank_lines++;
		head->state = AT_BLANK_LF;
		return NULL;
	}
	head->begun = true;
	head->state = head->answer ? AT_VERSION : AT_METHOD;
	return NULL;
}

static const struct reason *version_byte(struct strict_head *head, char c)
{
	if (head->version_bytes < sizeof head->version) {
		if (!version_byte_fits(head->version_bytes, c))
			return strict_misplaced(c, &HTTP_VERSION_BAD);
		head->version[head->version_bytes++] = c;
		return NULL;
	}
	if (c != (head->answer ? ' ' : '\r'))
		return strict_misplaced(c, &HTTP_VERSION_BAD);
	/* HTTP/1.2 and above would be compatible by RFC 9110 §2.5, but nobody speaks them, and a sender that says so is none
	 * that we know how to read. */
	if (head->version[5] != '1' || head->version[7] > '1')
		return &HTTP_VERSION_UNSERVED;
	head->state = head->answer ? AT_STATUS : AT_START_LF;
	return NULL;
}

static const struct reason *status_byte(struct strict_head *head, char c)
{
	if (!http_is_digit(c) || (head->digits == 0 && (c < '1' || c > '5')))
		return strict_misplaced(c, &HTTP_STATUS_BAD);
	if (++head->digits == 3)
		head->state = AT_STATUS_END;
	return NULL;
}

static const struct reason *line_byte(struct strict_head *head, const struct http_limits *limits, char c)
{
	if (c == '\r') {
		head->state = AT_END_LF;
		return NULL;
	}
	/* RFC 9112 §5.2: "A server that receives an obs-fold in a request message … MUST either reject the message … or
	 * replace each received obs-fold with one or more SP". §2.2: "A recipient that receives whitespace between the
	 * start-line and the first header field MUST either reject the message as invalid or consume each
	 * whitespace-preceded line without further processing". */
	if (c == ' ' || c == '\t')
		return head->fields > 0 ? &HTTP_FIELD_FOLDED : &HTTP_FIELD_INDENTED;
	if (c == ':')
		return &HTTP_FIELD_NAME_EMPTY;
	if (!http_is(c, HTTP_IS_TOKEN))
		return strict_misplaced(c, &HTTP_FIELD_NAME_BAD);
	if (head->fields == limits->fields_max || head->fields == HTTP_FIELDS_MAX)
		return &HTTP_FIELDS_TOO_MANY;
	head->fields++;
	head->state = AT_NAME;
	return NULL;
}

/* The byte behind a run of name characters. */
static const struct reason *name_end_byte(struct strict_head *head, char c)
{
	if (c == ':') {
		head->state = AT_VALUE;
		return NULL;
	}
	/* RFC 9112 §5.1: "A server MUST reject, with a response status code of 400 (Bad Request), any received request message
	 * that contains whitespace between a header field name and colon." */
	if (c == ' ' || c == '\t')
		return &HTTP_FIELD_NAME_SPACE;
	if (c == '\r')
		return &HTTP_FIELD_COLON_MISSING;
	return strict_misplaced(c, &HTTP_FIELD_NAME_BAD);
}

static const struct reason *line_feed(struct strict_head *head, char c, uint8_t next)
{
	/* RFC 9112 §2.2: "A recipient of such a bare CR MUST consider that element to be invalid or replace each bare CR with
	 * SP before processing the element or forwarding the message." */
	if (c != '\n')
		return &HTTP_BARE_CR;
	head->state = next;
	return NULL;
}

/* The byte at i, in a state that takes one at a time or at the end of a run. */
static const struct reason *head_byte(struct strict_head *head, const struct http_limits *limits, char c)
{
	switch (head->state) {
	case AT_BLANK_LF:
		return line_feed(head, c, AT_START);
	case AT_METHOD:
		if (c != ' ')
			return c == '\r' ? &HTTP_START_LINE_BAD : strict_misplaced(c, &HTTP_METHOD_BAD);
		if (head->part_bytes == 0)
			return &HTTP_METHOD_BAD;
		head->part_bytes = 0;
		head->state = AT_TARGET;
		return NULL;
	case AT_TARGET:
		if (c == '#')
			return &HTTP_TARGET_FRAGMENT;
		/* A request line without a version is HTTP/0.9's, which knows no fields. */
		if (c == '\r' || (c == ' ' && head->part_bytes == 0))
			return &HTTP_START_LINE_BAD;
		if (c != ' ')
			return strict_misplaced(c, &HTTP_TARGET_BAD);
		head->state = AT_VERSION;
		return NULL;
	case AT_VERSION:
		return version_byte(head, c);
	case AT_STATUS:
		return status_byte(head, c);
	case AT_STATUS_END:
		/* RFC 9112 §4 wants the blank even before an empty phrase. Many servers leave it out, and nothing else can be
		 * meant. */
		if (c != ' ' && c != '\r')
			return strict_misplaced(c, &HTTP_STATUS_BAD);
		head->state = c == ' ' ? AT_PHRASE : AT_START_LF;
		return NULL;
	case AT_PHRASE:
		if (c != '\r')
			return strict_misplaced(c, &HTTP_START_LINE_BAD);
		head->state = AT_START_LF;
		return NULL;
	case AT_START_LF:
	case AT_VALUE_LF:
		return line_feed(head, c, AT_LINE);
	case AT_LINE:
		return line_byte(head, limits, c);
	case AT_NAME:
		return name_end_byte(head, c);
	case AT_VALUE:
		/* RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous, due to the varying
		 * ways that implementations might parse and interpret those characters". */
		if (c != '\r')
			return strict_misplaced(c, &HTTP_FIELD_VALUE_BAD);
		head->state = AT_VALUE_LF;
		return NULL;
	default:
		check(false);
		return NULL;
	}
}

/* Passes over what may be passed over at once: a method, a target, a name, a value. Stops behind the byte that is one too
 * many for a limit, so that the limit is met at the same byte however the bytes come. */
static const struct reason *head_run(struct strict_head *head, const struct http_limits *limits, const char *bytes, size_t n,
                                     size_t *i)
{
	size_t length;

	switch (head->state) {
	case AT_METHOD:
		length = run(bytes, *i, n, HTTP_IS_TOKEN);
		break;
	case AT_TARGET:
		length = run(bytes, *i, n, HTTP_IS_TARGET);
		break;
	case AT_NAME:
		*i += run(bytes, *i, n, HTTP_IS_TOKEN);
		return NULL;
	case AT_VALUE:
	case AT_PHRASE:
		*i += http_value_run(bytes + *i, n - *i);
		return NULL;
	default:
		return NULL;
	}
	*i += length;
	head->part_bytes += (uint32_t)length;
	if (head->state == AT_METHOD && head->part_bytes > STRICT_METHOD_BYTES_MAX)
		return &HTTP_METHOD_BAD;
	if (head->state == AT_TARGET && head->part_bytes > limits->uri_bytes_max)
		return &HTTP_TARGET_TOO_LONG;
	return NULL;
}

/* ---- whole lines at once ---- */

static bool line_ends(const char *bytes, size_t i, size_t n)
{
	return n - i >= 2 && bytes[i] == '\r' && bytes[i + 1] == '\n';
}

/* The versions that are served; see version_byte. */
static bool version_stands(const char *bytes, size_t i, size_t n)
{
	return n - i >= 8 && memcmp(bytes + i, "HTTP/1.", 7) == 0 && (bytes[i + 7] == '0' || bytes[i + 7] == '1');
}

static void start_line_over(struct strict_head *head, const char *version)
{
	memcpy(head->version, version, sizeof head->version);
	head->version_bytes = sizeof head->version;
	head->state = AT_LINE;
}

/* The size of a request line that nothing is wrong with, its CRLF included; 0: see head_byte. */
static size_t request_line(struct strict_head *head, const struct http_limits *limits, const char *bytes, size_t n)
{
	size_t method = run(bytes, 0, n, HTTP_IS_TOKEN);
	size_t target, version;

	if (method == 0 || method > STRICT_METHOD_BYTES_MAX || method == n || bytes[method] != ' ')
		return 0;
	target = run(bytes, method + 1, n, HTTP_IS_TARGET);
	version = method + 1 + target + 1;
	if (target == 0 || target > limits->uri_bytes_max || version > n || bytes[version - 1] != ' ' ||
	    !version_stands(bytes, version, n) || !line_ends(bytes, version + 8, n))
		return 0;
	start_line_over(head, bytes + version);
	return version + 8 + 2;
}

/* The same of a status line. */
static size_t status_line(struct strict_head *head, const char *bytes, size_t n)
{
	size_t end = 13;                 /* behind "HTTP/1.1 200 " */

	if (n < end || !version_stands(bytes, 0, n) || bytes[8] != ' ' || bytes[9] < '1' || bytes[9] > '5' ||
	    !http_is_digit(bytes[10]) || !http_is_digit(bytes[11]) || bytes[12] != ' ')
		return 0;
	end += http_value_run(bytes + end, n - end);
	if (!line_ends(bytes, end, n))
		return 0;
	start_line_over(head, bytes);
	return end + 2;
}

/* The size of all field lines that are whole and flawless; the line behind them is for head_byte. */
static size_t field_lines(struct strict_head *head, const struct http_limits *limits, const char *bytes, size_t n)
{
	size_t i = 0;

	while (head->fields < limits->fields_max && head->fields < HTTP_FIELDS_MAX) {
		size_t name = run(bytes, i, n, HTTP_IS_TOKEN);
		size_t end = i + name + 1;

		if (name == 0 || end > n || bytes[end - 1] != ':')
			break;
		end += http_value_run(bytes + end, n - end);
		if (!line_ends(bytes, end, n))
			break;
		i = end + 2;
		head->fields++;
	}
	return i;
}

enum strict strict_head_scan(struct strict_head *head, const struct http_limits *limits, const char *bytes, size_t n,
                             size_t *used, const struct reason **reason)
{
	uint32_t bytes_max = limits->head_bytes_max;
	size_t in_limit, begin, i = 0;

	*used = 0;
	*reason = NULL;
	/* Blank lines before the message are bounded by themselves and not counted. */
	while (i < n && (head->state == AT_START || head->state == AT_BLANK_LF)) {
		*reason = head->state == AT_START ? start_byte(head, bytes[i]) : line_feed(head, bytes[i], AT_START);
		if (*reason)
			return STRICT_BROKEN;
		if (head->begun)
			break;
		i++;
		head->skip_bytes++;
	}
	begin = i;
	in_limit = n - begin < bytes_max - head->bytes ? n : begin + (bytes_max - head->bytes);
	if (head->bytes == 0 && head->begun)
		i += head->answer ? status_line(head, bytes + i, in_limit - i) : request_line(head, limits, bytes + i, in_limit - i);
	while (i < in_limit) {
		if (head->state == AT_LINE) {
			i += field_lines(head, limits, bytes + i, in_limit - i);
			if (i == in_limit)
				break;
		}
		*reason = head_run(head, limits, bytes, in_limit, &i);
		if (*reason)
			return STRICT_BROKEN;
		if (i == in_limit)
			break;
		if (head->state == AT_END_LF) {
			*reason = line_feed(head, bytes[i++], AT_END_LF);
			head->bytes += (uint32_t)(i - begin);
			*used = i;
			return *reason ? STRICT_BROKEN : STRICT_DONE;
		}
		*reason = head_byte(head, limits, bytes[i++]);
		if (*reason)
			return STRICT_BROKEN;
	}
	head->bytes += (uint32_t)(i - begin);
	*used = i;
	if (i < n) {
		*reason = &HTTP_HEAD_TOO_LARGE;
		return STRICT_BROKEN;
	}
	return STRICT_MORE;
}

/* ---- the meaning of a head ---- */

static void host_put(struct http_head *head, struct http_text host)
{
	if (head->first[HTTP_NAME_HOST])
		head->fields[head->first[HTTP_NAME_HOST] - 1].value = host;
	else
		http_append(head, HTTP_TEXT("Host"), host);
	head->host = host;
}

static bool take_prefix_nocase(struct http_text *text, const char *prefix)
{
	size_t size = strlen(prefix);

	if (text->size < size || !http_text_is_nocase((struct http_text){text->bytes, size}, prefix))
		return false;
	text->bytes += size;
	text->size -= size;
	return true;
}

static const struct reason *settle_path(struct http_head *head, struct http_text rest)
{
	const char *question = rest.size > 0 ? memchr(rest.bytes, '?', rest.size) : NULL;
	struct http_text path = rest;

	if (question) {
		path.size = (size_t)(question - rest.bytes);
		head->query = (struct http_text){question + 1, rest.size - path.size - 1};
	}
	/* RFC 9112 §3.2.1: "If the target URI's path component is empty, the client MUST send "/" as the path". §3.2.4: OPTIONS
	 * with an empty path and no query means "*". */
	if (path.size == 0) {
		head->path = head->method == HTTP_METHOD_OPTIONS && !question ? HTTP_TEXT("*") : HTTP_TEXT("/");
		return NULL;
	}
	return http_path_normalise(head->arena, path, &head->path);
}

static const struct reason *settle_target(struct http_head *head, struct http_text target)
{
	struct http_text rest = target, authority;
	const struct reason *reason;
	size_t end = 0;

	if (target.size > 0 && target.bytes[0] == '/')
		return settle_path(head, target);
	if (http_text_is(target, "*")) {
		head->path = target;
		return head->method == HTTP_METHOD_OPTIONS ? NULL : &HTTP_TARGET_ASTERISK;
	}
	if (!take_prefix_nocase(&rest, "http://") && !take_prefix_nocase(&rest, "https://")) {
		for (size_t i = 0; i + 2 < target.size; i++)
			if (memcmp(target.bytes + i, "://", 3) == 0)
				return &HTTP_TARGET_SCHEME;
		return &HTTP_TARGET_BAD;
	}
	while (end < rest.size && rest.bytes[end] != '/' && rest.bytes[end] != '?')
		end++;
	authority = (struct http_text){rest.bytes, end};
	/* RFC 9112 §3.2.2: "When a proxy receives a request with an absolute-form of request-target, the proxy MUST ignore the
	 * received Host header field (if any) and instead replace it with the host information of the request-target." */
	host_put(head, authority);
	reason = settle_path(head, (struct http_text){rest.bytes + end, rest.size - end});
	return reason ? reason : http_host_split(authority, &head->host_name);
}

/* RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host
 * header field and to any request message that contains more than one Host header field line or a Host header field with an
 * invalid field value." */
static const struct reason *settle_host_and_target(struct http_head *head, struct http_text target)
{
	const struct http_field *host = http_known_next(head, HTTP_NAME_HOST, NULL);
	const struct reason *reason;

	if (!host && head->version_minor > 0)
		return &HTTP_HOST_MISSING;
	if (host && http_known_next(head, HTTP_NAME_HOST, host))
		return &HTTP_HOST_SEVERAL;
	if (host) {
		head->host = host->value;
		reason = http_host_split(head->host, &head->host_name);
		if (reason)
			return reason;
	}
	return settle_target(head, target);
}

/* RFC 9112 §6.3, "Message Body Length", with every "might" and "ought" read as must. */
static const struct reason *settle_framing(struct http_head *head, const struct http_head *asked,
                                           const struct http_limits *limits)
{
	const struct http_field *length = http_known_next(head, HTTP_NAME_CONTENT_LENGTH, NULL);
	const struct http_field *transfer = http_known_next(head, HTTP_NAME_TRANSFER_ENCODING, NULL);
	bool answer = head->status > 0;

	/* "If a message is received with both a Transfer-Encoding and a Content-Length header field, … Such a message might
	 * indicate an attempt to perform request smuggling … or response splitting … and ought to be handled as an error." */
	if (length && transfer)
		return &HTTP_FRAMING_AMBIGUOUS;
	/* "If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then the message
	 * framing is invalid and the recipient MUST treat it as an unrecoverable error, unless the field value can be
	 * successfully parsed as a comma-separated list …, all values in the list are valid, and all values in the list are the
	 * same". We do not use that leave. */
	if (length && http_known_next(head, HTTP_NAME_CONTENT_LENGTH, length))
		return &HTTP_LENGTH_SEVERAL;
	if (length && !http_number_parse(length->value, &head->content_length))
		return &HTTP_LENGTH_BAD;
	if (transfer) {
		/* RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field
		 * MUST treat the message as if the framing is faulty, even if a Content-Length is present". */
		if (head->version_minor == 0)
			return &HTTP_TRANSFER_IN_1_0;
		if (http_known_next(head, HTTP_NAME_TRANSFER_ENCODING, transfer))
			return &HTTP_TRANSFER_SEVERAL;
		/* "A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501".
		 * 400 is the honest one here: most such values are disguises of chunked (" chunked", "x, chunked"). */
		if (!http_text_is_nocase(transfer->value, "chunked"))
			return &HTTP_TRANSFER_BAD;
	}
	head->has_length = length != NULL;

	/* "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified)
	 * status code is always terminated by the first empty line after the header fields, regardless of the header fields
	 * present". */
	if (answer && http_status_bodyless(head->status)) {
		head->body = HTTP_BODY_NONE;
		if (head->status == 304)
			return NULL;
		/* §6.1: "A server MUST NOT send a Transfer-Encoding header field in any response with a status code of 1xx
		 * (Informational) or 204 (No Content)"; RFC 9110 §8.6 says the same of Content-Length. A length of 0 is a common
		 * slip and harmless; another would make a lenient reader wait for a body. */
		if (transfer)
			return &HTTP_TRANSFER_MISPLACED;
		if (head->content_length > 0)
			return &HTTP_LENGTH_MISPLACED;
		head->has_length = false;
		return NULL;
	}
	if (answer && asked && asked->method == HTTP_METHOD_HEAD) {
		head->body = HTTP_BODY_NONE;
		return NULL;
	}
	if (transfer)
		head->body = HTTP_BODY_CHUNKED;
	else if (length)
		head->body = HTTP_BODY_LENGTH;
	else
		head->body = answer ? HTTP_BODY_UNTIL_END : HTTP_BODY_NONE;
	return head->content_length > limits->body_bytes_max ? &HTTP_BODY_TOO_LARGE : NULL;
}

/* RFC 9110 §7.8: "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding request's
 * Upgrade header field." */
static bool upgrade_was_asked(struct http_text agreed, const struct http_head *asked)
{
	struct http_text one;

	if (!asked || !asked->upgrade.bytes || agreed.size == 0)
		return false;
	while (http_list_next(&agreed, &one)) {
		struct http_text wishes = asked->upgrade, wish;
		bool found = false;

		while (!found && http_list_next(&wishes, &wish))
			found = http_text_same_nocase(wish, one);
		if (!found)
			return false;
	}
	return true;
}

static const struct reason *settle_connection(struct http_head *head, const struct http_head *asked)
{
	bool close = false, keep_alive = false, upgrade = false;
	unsigned field_count = 0, option_count = 0;
	const struct http_field *wish = http_known_next(head, HTTP_NAME_UPGRADE, NULL);

	for (const struct http_field *field = NULL; (field = http_known_next(head, HTTP_NAME_CONNECTION, field));) {
		struct http_text rest = field->value;

		if (++field_count > HTTP_CONNECTION_FIELDS_MAX)
			return &HTTP_CONNECTION_LONG;
		for (struct http_text option; http_list_next(&rest, &option);) {
			/* Each option is compared with each field when the head is sent on. */
			if (++option_count > HTTP_CONNECTION_OPTIONS_MAX)
				return &HTTP_CONNECTION_LONG;
			close |= http_text_is_nocase(option, "close");
			keep_alive |= http_text_is_nocase(option, "keep-alive");
			upgrade |= http_text_is_nocase(option, "upgrade");
		}
	}
	/* RFC 9112 §9.3 in its order: close; 1.1; 1.0 with keep-alive. */
	head->keep_alive = !close && (head->version_minor > 0 || keep_alive) && head->body != HTTP_BODY_UNTIL_END;

	/* RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option …. A server MUST ignore an Upgrade
	 * header field that is received in an HTTP/1.0 request." Two Upgrade fields are no clear wish. */
	upgrade = upgrade && wish && wish->value.size > 0 && !http_known_next(head, HTTP_NAME_UPGRADE, wish) &&
	          head->version_minor > 0;
	/* RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response". In others it only advertises. */
	if (head->status == 0 || head->status == 101 || head->status == 426)
		head->upgrade = upgrade ? wish->value : (struct http_text){0};
	if (head->status == 101 && !upgrade_was_asked(head->upgrade, asked))
		return &HTTP_UPGRADE_UNASKED;
	return NULL;
}

/* RFC 9110 §10.1.1: "A server that receives an Expect field value containing a member other than 100-continue MAY respond with
 * a 417". "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation." */
static const struct reason *settle_expect(struct http_head *head)
{
	if (head->version_minor == 0)
		return NULL;
	for (const struct http_field *field = NULL; (field = http_known_next(head, HTTP_NAME_EXPECT, field));) {
		if (!http_text_is_nocase(field->value, "100-continue"))
			return &HTTP_EXPECT_UNKNOWN;
		head->expect_continue = head->body == HTTP_BODY_CHUNKED || head->content_length > 0;
	}
	return NULL;
}

const struct reason *strict_settle(struct http_head *head, struct http_text target, const struct http_head *asked,
                                   const struct http_limits *limits)
{
	const struct reason *reason;

	if (head->status == 0) {
		head->method = http_method_of(head->method_text);
		/* RFC 9112 §3.2.3: authority-form "is only used for CONNECT requests". A gateway in front of named services opens
		 * no tunnels to wherever the client likes. */
		if (head->method == HTTP_METHOD_CONNECT)
			return &HTTP_CONNECT_UNSERVED;
		reason = settle_host_and_target(head, target);
		if (reason)
			return reason;
	}
	reason = settle_framing(head, asked, limits);
	if (!reason)
		reason = settle_connection(head, asked);
	if (!reason && head->status == 0)
		reason = settle_expect(head);
	return reason;
}
