/* tests/fuzz/ws_frame.c — any bytes are a header, the beginning of one, or a named breach; and the same however they are cut.
 *
 * The first byte chooses the rules. What decodes must encode to the same bytes; a header cut at each byte is MORE, or
 * broken for the same reason; a mask and a UTF-8 judgement in two parts are those in one.
 *
 *   build/fuzz/tests/fuzz/fuzz_ws_frame tests/fuzz/corpus/ws_frame                                               */
#include "ring/base.h"
#include "ws/frame.h"
#include "ws/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header_try(const uint8_t *bytes, size_t n, const struct ws_frame_rules *rules)
{
	struct ws_frame frame, again;
	const struct reason *broken = NULL, *broken_cut = NULL;
	uint8_t header[WS_HEADER_MAX];
	size_t whole = 0, whole_cut = 0;
	enum ws_decode decode = ws_frame_decode(&frame, &whole, bytes, n, rules, &broken);

	check(decode != WS_DECODE_MORE || n < WS_HEADER_MAX);
	for (size_t cut = 0; cut < n && cut <= WS_HEADER_MAX; cut++) {
		enum ws_decode part = ws_frame_decode(&again, &whole_cut, bytes, cut, rules, &broken_cut);

		if (part == WS_DECODE_MORE) {
			check(decode != WS_DECODE_WHOLE || cut < whole);
			continue;
		}
		check(part == decode);
		if (part == WS_DECODE_BROKEN)
			check(broken_cut == broken);
		else
			check(whole_cut == whole && memcmp(&again, &frame, sizeof(frame)) == 0);
	}
	if (decode == WS_DECODE_BROKEN) {
		check(broken && broken->name);
		return;
	}
	if (decode == WS_DECODE_MORE)
		return;
	check(whole <= n && frame.masked == rules->from_client);
	check(ws_frame_encode(header, &frame) == whole);
	check(memcmp(header, bytes, whole) == 0);
}

static void payload_try(const uint8_t *bytes, size_t n, const uint8_t mask[static 4], size_t cut)
{
	uint8_t *whole = malloc(n + 1), *parts = malloc(n + 1);
	struct ws_utf8 one, two;

	check(whole && parts);
	memcpy(whole, bytes, n);
	memcpy(parts, bytes, n);
	ws_mask(whole, n, mask, 0);
	ws_mask(parts, cut, mask, 0);
	ws_mask(parts + cut, n - cut, mask, cut);
	check(memcmp(whole, parts, n) == 0);
	for (size_t i = 0; i < n; i++)
		check(whole[i] == (bytes[i] ^ mask[i % 4]));

	ws_utf8_init(&one);
	ws_utf8_init(&two);
	size_t good = ws_utf8_feed(&one, bytes, n);
	size_t good_parts = ws_utf8_feed(&two, bytes, cut);

	if (good_parts == cut)
		good_parts += ws_utf8_feed(&two, bytes + cut, n - cut);
	check(good == good_parts && ws_utf8_whole(&one) == ws_utf8_whole(&two));
	free(whole);
	free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 6)
		return 0;
	struct ws_frame_rules rules = {
		.from_client = data[0] & 1,
		.in_message = data[0] & 2,
		.reserved_allowed = data[0] & 4 ? 4 : 0,
		.frame_bytes_max = data[0] & 8 ? 1000 : UINT64_MAX,
		.message_bytes_left = data[0] & 16 ? 70000 : UINT64_MAX,
		.coded_bytes_left = data[0] & 32 ? 300 : UINT64_MAX,
	};

	header_try(data + 1, size - 1, &rules);
	payload_try(data + 5, size - 5, data + 1, data[0] % (size - 4));
	return 0;
}
