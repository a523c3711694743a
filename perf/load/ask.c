/* perf/load/ask.c — see ask.h. */
#include "perf/load/ask.h"

#include "perf/fatal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 64u
#define COUNT_ASK_BYTES 256u
#define HEAD_BYTES_MAX (PATH_BYTES_MAX + 256u)  /* what stands beside the path has less */

void ask_insist_path(const char *path)
{
	if (strlen(path) > PATH_BYTES_MAX)
		FATAL("a path has %u bytes at most, and this one has %zu: %s", PATH_BYTES_MAX, strlen(path), path);
}

void ask_request(struct work *w, const char *path, size_t body_bytes)
{
	char *ask;
	int n;

	ask_insist_path(path);
	ask = memory_new(1, HEAD_BYTES_MAX + body_bytes);
	n = snprintf(ask, HEAD_BYTES_MAX, "%s %s HTTP/1.1\r\nHost: localhost\r\n", body_bytes ? "POST" : "GET", path);
	if (body_bytes)
		n += snprintf(ask + n, HEAD_BYTES_MAX - (size_t)n, "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n", body_bytes);
	n += snprintf(ask + n, HEAD_BYTES_MAX - (size_t)n, "\r\n");
	for (size_t i = 0; i < body_bytes; i++)
		ask[(size_t)n + i] = (char)(33 + i % 90);
	w->ask = (struct ask){ ask, (size_t)n + body_bytes };
}

/* Each site is asked for and raised by turns: ten rounds over all of them, and the raises move on by one from round to round. */
void ask_counts(struct work *w, unsigned sites, unsigned posts_of_ten)
{
	w->ask_count = 10 * sites;
	w->asks = memory_new(w->ask_count, sizeof *w->asks);
	for (unsigned i = 0; i < w->ask_count; i++) {
		char *ask = w->asks[i].bytes = memory_new(1, COUNT_ASK_BYTES), site[32];
		bool raises = (i + i / sites) % 10 < posts_of_ten;
		int name = snprintf(site, sizeof site, "site-%04u", i % sites);

		if (w->kind == WORK_REDIS)
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES, raises ? "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n"
											: "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", name, site);
		else if (raises)
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES,
				"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nsiteId=%s",
				name + 7, site);
		else
			w->asks[i].size = (size_t)snprintf(ask, COUNT_ASK_BYTES, "GET /count?siteId=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", site);
	}
}

void ask_message(struct work *w, const char *path)
{
	static const unsigned char MASK[4] = { 0x37, 0xfa, 0x21, 0x3d };
	unsigned char *frame = memory_new(1, 6 + MESSAGE_BYTES);

	ask_insist_path(path);
	w->upgrade.bytes = memory_new(1, HEAD_BYTES_MAX);
	w->upgrade.size = (size_t)snprintf(w->upgrade.bytes, HEAD_BYTES_MAX,
		"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path);
	frame[0] = 0x81;                                /* text, whole */
	frame[1] = 0x80 | MESSAGE_BYTES;                /* masked */
	memcpy(frame + 2, MASK, 4);
	for (unsigned i = 0; i < MESSAGE_BYTES; i++)
		frame[6 + i] = (unsigned char)('a' + i % 26) ^ MASK[i % 4];
	w->ask = (struct ask){ (char *)frame, 6 + MESSAGE_BYTES };
	w->echo_bytes = 2 + MESSAGE_BYTES;
}

/* A Close with 1000, and as much comes back, unmasked. */
void ask_close(struct work *w, const char *path)
{
	static const unsigned char CLOSE[] = { 0x88, 0x82, 0x37, 0xfa, 0x21, 0x3d, 0x03 ^ 0x37, 0xe8 ^ 0xfa };

	ask_message(w, path);
	memcpy(w->ask.bytes, CLOSE, sizeof CLOSE);
	w->ask.size = sizeof CLOSE;
	w->echo_bytes = 4;
}

void ask_free(struct work *w)
{
	for (unsigned i = 0; i < w->ask_count; i++)
		free(w->asks[i].bytes);
	free(w->asks);
	free(w->ask.bytes);
	free(w->upgrade.bytes);
}
