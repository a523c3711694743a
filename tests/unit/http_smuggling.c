/* What two programs could read differently is refused by name, and always by the same name, however it is cut. */
#include "gateway/http/http1.c"
#include "tests/unit/http_feed.h"

#include <criterion/criterion.h>

struct vector {
	const char *bytes;
	size_t size;
	const struct reason *reason;
};

#define V(text, wanted) {(text), sizeof(text) - 1, &(wanted)}
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static const struct vector requests[] = {
	/* the request line */
	V("GET / HTTP/1.1\nHost: a\r\n\r\n", HTTP_BARE_LF),
	V("GET / HTTP/1.1\rHost: a\r\n\r\n", HTTP_BARE_CR),
	V("GET / HTTP/1.1\r\rHost: a\r\n\r\n", HTTP_BARE_CR),
	V("GET /\r\n\r\n", HTTP_START_LINE_BAD),
	V("GET\r\n\r\n", HTTP_START_LINE_BAD),
	V("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_START_LINE_BAD),
	V("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_BAD),
	V("get / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_UNKNOWN),
	V("GETS / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_UNKNOWN),
	V("DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_UNKNOWN),
	V("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", HTTP_CONNECT_UNSERVED),
	V("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_CONNECT_UNSERVED),
	V("GET / HTTP/1.10\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / HTTP/01.1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / http/1.1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / HTTP/1,1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / HTTP/1.\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / XTTP/1.1\r\nHost: a\r\n\r\n", HTTP_VERSION_BAD),
	V("GET / HTTP/0.9\r\nHost: a\r\n\r\n", HTTP_VERSION_UNSERVED),
	V("GET / HTTP/1.2\r\nHost: a\r\n\r\n", HTTP_VERSION_UNSERVED),
	V("GET / HTTP/2.0\r\nHost: a\r\n\r\n", HTTP_VERSION_UNSERVED),
	V("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_VERSION_UNSERVED),
	V("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BLANK_LINES),
	V("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BARE_LF),
	V("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BARE_CR),
	/* the target */
	V("GET a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_FRAGMENT),
	V("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_BAD),
	V("GET * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_ASTERISK),
	V("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_TARGET_SCHEME),
	V("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HOST_BAD),
	V("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HOST_BAD),
	V("GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_SLASH_ENCODED),
	V("GET /a%5Cb HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_SLASH_ENCODED),
	V("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_BACKSLASH),
	V("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_CONTROL),
	V("GET /%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_CONTROL),
	V("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_ESCAPE_BAD),
	V("GET /.. HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_ABOVE_ROOT),
	V("GET /a/%2e%2e/%2e./b HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_ABOVE_ROOT),
	V("GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_DOT_PARAMETER),
	V("GET /a/.%2e%3bx=1/b HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_PATH_DOT_PARAMETER),
	/* Host */
	V("GET / HTTP/1.1\r\n\r\n", HTTP_HOST_MISSING),
	V("GET http://a/ HTTP/1.1\r\n\r\n", HTTP_HOST_MISSING),
	V("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_HOST_SEVERAL),
	V("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", HTTP_HOST_SEVERAL),
	V("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", HTTP_HOST_SEVERAL),
	V("GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", HTTP_HOST_BAD),
	V("GET / HTTP/1.1\r\nHost: a%00\r\n\r\n", HTTP_HOST_BAD),
	/* field lines */
	V("GET / HTTP/1.1\r\n Host: a\r\n\r\n", HTTP_FIELD_INDENTED),
	V("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", HTTP_FIELD_INDENTED),
	V(GET "A: b\r\n c\r\n\r\n", HTTP_FIELD_FOLDED),
	V(GET "A: b\r\n\tc\r\n\r\n", HTTP_FIELD_FOLDED),
	V(GET "A: b\r\n \r\n\r\n", HTTP_FIELD_FOLDED),
	V(GET ": b\r\n\r\n", HTTP_FIELD_NAME_EMPTY),
	V(GET "A : b\r\n\r\n", HTTP_FIELD_NAME_SPACE),
	V(GET "A\t: b\r\n\r\n", HTTP_FIELD_NAME_SPACE),
	V(GET "A B: b\r\n\r\n", HTTP_FIELD_NAME_SPACE),
	V(GET "A\r\n\r\n", HTTP_FIELD_COLON_MISSING),
	V(GET "A\n\r\n", HTTP_BARE_LF),
	V(GET "A(: b\r\n\r\n", HTTP_FIELD_NAME_BAD),
	V(GET "A\0: b\r\n\r\n", HTTP_FIELD_NAME_BAD),
	V(GET "A\x80: b\r\n\r\n", HTTP_FIELD_NAME_BAD),
	V(GET "\x0b" "A: b\r\n\r\n", HTTP_FIELD_NAME_BAD),
	V(GET "A: b\n\r\n", HTTP_BARE_LF),
	V(GET "A: b\rB: c\r\n\r\n", HTTP_BARE_CR),
	V(GET "A: b\r\r\n\r\n", HTTP_BARE_CR),
	V(GET "A: b\r\n\n", HTTP_BARE_LF),
	V(GET "A: b\r\n\rX", HTTP_BARE_CR),
	V(GET "A: b\0c\r\n\r\n", HTTP_FIELD_VALUE_BAD),
	V(GET "A: 12345678\x01" "12345678\r\n\r\n", HTTP_FIELD_VALUE_BAD),
	V(GET "A: 1234567890\x7f\r\n\r\n", HTTP_FIELD_VALUE_BAD),
	V(GET "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n", HTTP_CONNECTION_LONG),
	V(GET "Connection: a\r\nConnection: a\r\nConnection: a\r\nConnection: a\r\nConnection: a\r\nConnection: a\r\n"
	      "Connection: a\r\nConnection: a\r\nConnection: a\r\n\r\n", HTTP_CONNECTION_LONG),
	V(POST "Expect: something\r\n\r\n", HTTP_EXPECT_UNKNOWN),
	/* two lengths, or none that can be read */
	V(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	V(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	V(POST "Transfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	V(POST "Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	V(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", HTTP_LENGTH_SEVERAL),
	V(POST "Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc", HTTP_LENGTH_SEVERAL),
	V(POST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", HTTP_LENGTH_SEVERAL),
	V(POST "Content-Length: 1,1\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: +1\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: -1\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 1 2\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 0x1\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 1.0\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: \"1\"\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length:\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length:  \t\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 00000000000000000001\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 18446744073709551616\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 99999999999999999999\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 1\xb2\r\n\r\na", HTTP_LENGTH_BAD),
	V(POST "Content-Length: 1048577\r\n\r\na", HTTP_BODY_TOO_LARGE),
	V(POST "Transfer-Encoding: xchunked\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: chunked, gzip\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: chunked;q=1\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", HTTP_FIELD_VALUE_BAD),
	V(POST "Transfer-Encoding: chunk\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: identity\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding:\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: ,chunked\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: chunked,\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding: chunked\xa0\r\n\r\n", HTTP_TRANSFER_BAD),
	V(POST "Transfer-Encoding : chunked\r\n\r\n", HTTP_FIELD_NAME_SPACE),
	V(POST " Transfer-Encoding: chunked\r\n\r\n", HTTP_FIELD_FOLDED),
	V(POST "X: x\nTransfer-Encoding: chunked\r\n\r\n", HTTP_BARE_LF),
	V(POST "Transfer-Encoding:\r\n chunked\r\n\r\n", HTTP_FIELD_FOLDED),
	V(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", HTTP_TRANSFER_SEVERAL),
	V(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_TRANSFER_SEVERAL),
	V(POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_TRANSFER_SEVERAL),
	V("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_TRANSFER_IN_1_0),
	V("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	/* chunks */
	V(CHUNKED "\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "x\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "0x1\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "+1\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "-1\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED " 1\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "1 \r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "1\t\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "1,\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "1_0\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_BAD),
	V(CHUNKED "1\na\r\n0\r\n\r\n", HTTP_BARE_LF),
	V(CHUNKED "1\ra\r\n0\r\n\r\n", HTTP_BARE_CR),
	V(CHUNKED "10000000000000001\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_OVERFLOW),
	V(CHUNKED "ffffffffffffffff\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_OVERFLOW),
	V(CHUNKED "0000000000000001\r\na\r\n0\r\n\r\n", HTTP_CHUNK_SIZE_OVERFLOW),
	V(CHUNKED "100001\r\na", HTTP_BODY_TOO_LARGE),
	V(CHUNKED "fffffffffffffff\r\na", HTTP_BODY_TOO_LARGE),
	V(CHUNKED "1\r\nab\r\n0\r\n\r\n", HTTP_CHUNK_END_MISSING),
	V(CHUNKED "1\r\na\n0\r\n\r\n", HTTP_CHUNK_END_MISSING),
	V(CHUNKED "1\r\na0\r\n\r\n", HTTP_CHUNK_END_MISSING),
	V(CHUNKED "1\r\na\r0\r\n\r\n", HTTP_CHUNK_END_MISSING),
	V(CHUNKED "1;\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1;a=\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1; a\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1;a b\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1;a\nb\r\na\r\n0\r\n\r\n", HTTP_BARE_LF),
	V(CHUNKED "1;a\rb\r\na\r\n0\r\n\r\n", HTTP_BARE_CR),
	V(CHUNKED "1;a=\"\r\n\"\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1;a=\"\n\"\r\na\r\n0\r\n\r\n", HTTP_BARE_LF),
	V(CHUNKED "1;a=\"\\\n\"\r\na\r\n0\r\n\r\n", HTTP_BARE_LF),
	V(CHUNKED "1;a=\"b\"c\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "1;a=\0\r\na\r\n0\r\n\r\n", HTTP_CHUNK_EXTENSION_BAD),
	V(CHUNKED "0\r\nA\r\n\r\n", HTTP_FIELD_COLON_MISSING),
	V(CHUNKED "0\r\nA: b\n\r\n", HTTP_BARE_LF),
	V(CHUNKED "0\r\n A: b\r\n\r\n", HTTP_FIELD_INDENTED),
	V(CHUNKED "0\r\nA: b\r\n c\r\n\r\n", HTTP_FIELD_FOLDED),
	V(CHUNKED "0\r\nA: \0\r\n\r\n", HTTP_FIELD_VALUE_BAD),
	V(CHUNKED "0\r\n\rX", HTTP_BARE_CR),
	V(CHUNKED "0\r\n\n", HTTP_BARE_LF),
	/* cut short */
	V("G", HTTP_HEAD_CUT),
	V(GET, HTTP_HEAD_CUT),
	V(POST "Content-Length: 3\r\n\r\nab", HTTP_BODY_CUT),
	V(CHUNKED "1\r\na\r\n", HTTP_BODY_CUT),
	V(CHUNKED "1\r\na\r\n0\r\n", HTTP_BODY_CUT),
};

static const struct vector answers[] = {
	V("HTTP/1.1 200 OK\nA: b\r\n\r\n", HTTP_BARE_LF),
	V("\r\nHTTP/1.1 200 OK\r\n\r\n", HTTP_VERSION_BAD),
	V("HTTP/1.1  200 OK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 20 OK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 2000 OK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 099 OK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 600 OK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 200\tOK\r\n\r\n", HTTP_STATUS_BAD),
	V("HTTP/1.1 200 O\0K\r\n\r\n", HTTP_START_LINE_BAD),
	V("HTTP/1.1\r\n\r\n", HTTP_VERSION_BAD),
	V("HTTP/2.0 200 OK\r\n\r\n", HTTP_VERSION_UNSERVED),
	V("http/1.1 200 OK\r\n\r\n", HTTP_VERSION_BAD),
	V("ICY 200 OK\r\n\r\n", HTTP_VERSION_BAD),
	V(OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_FRAMING_AMBIGUOUS),
	V(OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", HTTP_LENGTH_SEVERAL),
	V(OK "Content-Length: 3, 3\r\n\r\nabc", HTTP_LENGTH_BAD),
	V(OK "Transfer-Encoding: gzip\r\n\r\n", HTTP_TRANSFER_BAD),
	V(OK "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_TRANSFER_BAD),
	V("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_TRANSFER_IN_1_0),
	V("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_TRANSFER_MISPLACED),
	V("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", HTTP_LENGTH_MISPLACED),
	V("HTTP/1.1 100 Go\r\nContent-Length: 5\r\n\r\nhello", HTTP_LENGTH_MISPLACED),
	V("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", HTTP_UPGRADE_UNASKED),
	V(OK "A: b\r\n c\r\n\r\n", HTTP_FIELD_FOLDED),
	V(OK "Content-Length: 5\r\n\r\nhell", HTTP_BODY_CUT),
	V(OK "Content-Length: 1048577\r\n\r\na", HTTP_BODY_TOO_LARGE),
	V(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello", HTTP_BODY_CUT),
};

static void refused(const struct vector *vector, struct feed feed)
{
	struct outcome outcome;

	outcome_feed(&outcome, vector->bytes, vector->size, &feed);
	cr_expect(outcome.reason == vector->reason, "cut at %zu, step %zu: %s, wanted %s, for %.*s", feed.first, feed.step,
	          outcome.reason ? outcome.reason->name : "accepted", vector->reason->name, (int)vector->size, vector->bytes);
	cr_expect(outcome.head_said == HTTP1_BROKEN || outcome.to_reason == vector->reason);
	outcome_free(&outcome);
}

static void refused_whatever_the_cut(const struct vector *vector, bool answer)
{
	for (size_t cut = 1; cut <= vector->size; cut++)
		refused(vector, (struct feed){.first = cut, .answer = answer});
	refused(vector, (struct feed){.step = 1, .answer = answer});
	refused(vector, (struct feed){.step = 3, .answer = answer});
}

Test(http_smuggling, a_request_that_breaks_a_rule_is_refused_by_the_name_of_the_rule)
{
	for (size_t i = 0; i < array_count(requests); i++)
		refused_whatever_the_cut(&requests[i], false);
}

Test(http_smuggling, an_answer_that_breaks_a_rule_is_refused_by_the_name_of_the_rule)
{
	for (size_t i = 0; i < array_count(answers); i++)
		refused_whatever_the_cut(&answers[i], true);
}

/* A request is refused at the byte that is wrong; a sender that never ends the line is not waited for. */
Test(http_smuggling, a_bad_byte_is_refused_before_the_head_is_whole)
{
	static const struct vector early[] = {
		V("GET / HTTP/1.1\n", HTTP_BARE_LF), V("\x16\x03\x01", HTTP_METHOD_BAD), V(GET "A ", HTTP_FIELD_NAME_SPACE),
		V(GET "A: b\r\n ", HTTP_FIELD_FOLDED), V("GET / HTTP/3", HTTP_VERSION_BAD), V(CHUNKED "g", HTTP_CHUNK_SIZE_BAD),
	};

	for (size_t i = 0; i < array_count(early); i++)
		if (early[i].reason != &HTTP_VERSION_BAD)
			refused(&early[i], (struct feed){.open = true});
}

/* Every single byte in every place of a name, a value and a request line: what is taken is exactly what the RFC allows. */
Test(http_smuggling, of_all_bytes_only_those_of_the_grammar_are_taken)
{
	for (unsigned c = 0; c < 256; c++) {
		char name[] = GET "AxB: c\r\n\r\n", value[] = GET "A: bxc\r\n\r\n", target[] = "GET /a?bxc HTTP/1.1\r\nHost: a\r\n\r\n";
		bool token = c && strchr("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", (int)c);
		struct outcome outcome;

		name[sizeof(GET) - 1 + 1] = (char)c;
		value[sizeof(GET) - 1 + 4] = (char)c;
		target[8] = (char)c;
		outcome_feed(&outcome, name, sizeof name - 1, &(struct feed){0});
		cr_assert_eq(outcome.head_said == HTTP1_HEAD, token || c == ':', "name, byte %u", c);
		outcome_free(&outcome);
		outcome_feed(&outcome, value, sizeof value - 1, &(struct feed){0});
		cr_assert_eq(outcome.head_said == HTTP1_HEAD, c == '\t' || (c >= 0x20 && c != 0x7f), "value, byte %u", c);
		outcome_free(&outcome);
		outcome_feed(&outcome, target, sizeof target - 1, &(struct feed){0});
		cr_assert_eq(outcome.head_said == HTTP1_HEAD, c > 0x20 && c < 0x7f && c != '#', "target, byte %u", c);
		outcome_free(&outcome);
	}
}
