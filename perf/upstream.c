/* perf/upstream.c — the service behind the servers that are compared: as little work as can be, so that theirs is seen.
 *
 *     upstream PORT          GET /1m    1 MiB                POST …    the body is read and dropped, then answered
 *                            GET /1k    1 KiB
 *                            Upgrade    a WebSocket: what comes goes back, unmasked, frame by frame
 *                            else       13 bytes             HTTP/1.1, keep-alive, one request after the other
 *
 * It trusts its clients, which are proxies started by the script beside it: it is an instrument and no server.
 *
 * Owner: the process.   Thread: one.   Units: bytes.   Errors: exit 1 with a sentence; a broken connection is dropped.
 * Limits: a head of HEAD_BYTES_MAX; WebSocket frames below 126 bytes.   Source: RFC 9112, RFC 6455.                      */
#include "perf/fatal.h"

#include <openssl/evp.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES_MAX 8192u
#define LARGE_BYTES (1u << 20)
#define SMALL_BYTES (1u << 10)
#define EVENTS 256

enum { OUT_HEAD_BYTES = 256 };

struct line {
	int fd;
	bool websocket;
	char in[HEAD_BYTES_MAX];
	size_t in_bytes;
	uint64_t body_left;              /* of a POST, to be dropped */
	bool answer_owed;                /* when it is */
	char head[OUT_HEAD_BYTES];       /* what is on its way out: first this … */
	size_t head_bytes, head_sent;
	const char *body;                /* … then this */
	size_t body_bytes, body_sent;
};

struct upstream {
	int epoll, listener;
	char *large;
	char *dropped;                   /* where bodies go */
};

static bool line_busy(const struct line *l)
{
	return l->head_sent < l->head_bytes || l->body_sent < l->body_bytes;
}

/* False: the connection is gone. */
static bool line_send(struct line *l)
{
	while (line_busy(l)) {
		struct iovec parts[2] = { { l->head + l->head_sent, l->head_bytes - l->head_sent },
			{ (char *)(uintptr_t)l->body + l->body_sent, l->body_bytes - l->body_sent } };
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
		ssize_t n = sendmsg(l->fd, &message, MSG_NOSIGNAL);
		size_t head;

		if (n < 0)
			return errno == EAGAIN;
		head = (size_t)n < parts[0].iov_len ? (size_t)n : parts[0].iov_len;
		l->head_sent += head;
		l->body_sent += (size_t)n - head;
	}
	return true;
}

static void line_answer(struct line *l, const char *body, size_t n)
{
	l->head_bytes = (size_t)snprintf(l->head, sizeof l->head,
		"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", n);
	l->head_sent = l->body_sent = 0;
	l->body = body;
	l->body_bytes = n;
}

/* RFC 6455 §4.2.2: the key with a fixed text behind it, hashed. */
static void line_upgrade(struct line *l, const char *key)
{
	unsigned char text[64], hash[EVP_MAX_MD_SIZE], accept[64];

	memcpy(text, key, 24);
	memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
	EVP_Digest(text, 60, hash, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock(accept, hash, 20);
	l->head_bytes = (size_t)snprintf(l->head, sizeof l->head,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
	l->head_sent = 0;
	l->body_bytes = l->body_sent = 0;
	l->websocket = true;
}

static const char *field(const char *head, const char *name)
{
	const char *found = strcasestr(head, name);

	if (!found)
		return NULL;
	found += strlen(name);
	return found + strspn(found, " ");
}

static void line_request(const struct upstream *u, struct line *l, const char *head)
{
	const char *length = field(head, "\r\nContent-Length:"), *key = field(head, "\r\nSec-WebSocket-Key:");

	if (field(head, "\r\nTransfer-Encoding:"))
		FATAL("a chunked request: not what this load sends");
	if (key) {
		line_upgrade(l, key);
		return;
	}
	l->body_left = length ? strtoull(length, NULL, 10) : 0;
	if (l->body_left > 0)
		l->answer_owed = true;
	else if (strncmp(head, "GET /1m", 7) == 0)
		line_answer(l, u->large, LARGE_BYTES);
	else if (strncmp(head, "GET /1k", 7) == 0)
		line_answer(l, u->large, SMALL_BYTES);
	else
		line_answer(l, "{\"answer\":42}", 13);
}

/* The frames that are whole go back, without their masks. */
static void line_echo(struct line *l)
{
	size_t used = 0;

	l->head_bytes = l->head_sent = 0;
	while (l->in_bytes - used >= 6) {
		const unsigned char *frame = (const unsigned char *)l->in + used;
		size_t n = frame[1] & 127u;

		if (n > 125 || l->in_bytes - used < 6 + n || l->head_bytes + 2 + n > sizeof l->head)
			break;
		l->head[l->head_bytes++] = (char)frame[0];
		l->head[l->head_bytes++] = (char)n;
		for (size_t i = 0; i < n; i++)
			l->head[l->head_bytes++] = (char)(frame[6 + i] ^ frame[2 + i % 4]);
		used += 6 + n;
	}
	l->in_bytes -= used;
	memmove(l->in, l->in + used, l->in_bytes);
}

/* What was received, as far as it makes a request; one at a time. */
static void line_read(const struct upstream *u, struct line *l)
{
	char *end;

	if (l->websocket) {
		line_echo(l);
		return;
	}
	if (l->body_left == 0 && !l->answer_owed && l->in_bytes > 0) {
		l->in[l->in_bytes] = 0;
		end = strstr(l->in, "\r\n\r\n");
		if (!end)
			return;
		end += 4;
		end[-2] = 0;
		line_request(u, l, l->in);
		l->in_bytes -= (size_t)(end - l->in);
		memmove(l->in, end, l->in_bytes);
	}
	if (l->body_left > 0) {
		size_t n = l->in_bytes < l->body_left ? l->in_bytes : (size_t)l->body_left;

		l->body_left -= n;
		l->in_bytes -= n;
		memmove(l->in, l->in + n, l->in_bytes);
	}
	if (l->answer_owed && l->body_left == 0) {
		l->answer_owed = false;
		line_answer(l, "{\"answer\":42}", 13);
	}
}

/* False: it has ended. Goes on until the socket has no more: it is registered edge-triggered. */
static bool line_step(const struct upstream *u, struct line *l)
{
	for (;;) {
		bool dropping = l->body_left > 0 && l->in_bytes == 0;
		size_t room = dropping ? LARGE_BYTES : sizeof l->in - 1 - l->in_bytes;
		ssize_t n;

		if (!line_send(l))
			return false;
		if (line_busy(l))
			return true;
		if (dropping && room > l->body_left)
			room = (size_t)l->body_left;
		n = recv(l->fd, dropping ? u->dropped : l->in + l->in_bytes, room, 0);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		if (dropping)
			l->body_left -= (uint64_t)n;
		else
			l->in_bytes += (size_t)n;
		line_read(u, l);
	}
}

static void upstream_accept(const struct upstream *u)
{
	int fd, on = 1;

	while ((fd = accept4(u->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct line *l = memory_new(1, sizeof *l);

		l->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		epoll_ctl(u->epoll, EPOLL_CTL_ADD, fd,
			&(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = l });
	}
}

int main(int argc, char **argv)
{
	struct upstream u = { .epoll = epoll_create1(EPOLL_CLOEXEC), .large = memory_new(1, LARGE_BYTES), .dropped = memory_new(1, LARGE_BYTES) };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(argc == 2 ? atoi(argv[1]) : 0)) };
	int on = 1;

	if (at.sin_port == 0)
		FATAL("usage: upstream PORT");
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < LARGE_BYTES; i++)
		u.large[i] = (char)(33 + i % 90);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	u.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(u.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(u.listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(u.listener, 4096) != 0)
		FATAL("port %s: %s", argv[1], strerror(errno));
	epoll_ctl(u.epoll, EPOLL_CTL_ADD, u.listener, &(struct epoll_event){ .events = EPOLLIN });
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(u.epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct line *l = events[i].data.ptr;

			if (!l) {
				upstream_accept(&u);
			} else if (!line_step(&u, l)) {
				close(l->fd);
				free(l);
			}
		}
	}
}
