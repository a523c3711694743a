/* perf/load/line.h — a connection of the load: a socket on ring/, and OpenSSL on it where it is secret.
 *
 *   socket ══multishot receive══▶ in ──(OpenSSL opens)──▶ line_take        the client looks when its line calls `ready`
 *   socket ◀══════ one send ═════ out ◀─(OpenSSL seals)── line_say         what is said in a turn goes out in one send
 *
 * OpenSSL is the client's TLS because it is not ours: what we and it agree on is TLS. But it has no socket. It works between the two
 * pipes (tls.c), so its records are gathered: a handshake's last flight and the request behind it, or LINE_SEND_BYTES of an upload,
 * cost one send; and what one receive brought is all opened before anybody asks the kernel for more.
 *
 *   line_open ─▶ connects ─▶ stands ─┬─ line_close                                 at once; what is not sent is not said
 *                                    └─ line_leave ─▶ sends what was said ─▶ goes, in one of four ways (enum line_leaves)
 *
 * A line is a scope of its own. Whoever lets go of it may open the next one at once: this one ends when the kernel has nothing of it
 * any more, and only then its descriptor is closed and its memory goes.
 *
 * Owner: itself, from line_open on; the client may use it until line_close or line_leave.   Thread: its core's.   Units: bytes.
 * Errors: `over` and `why`.   Limits: LINE_SEND_BYTES a send; a line at rest holds no chunk.   Source: none. */
#ifndef PERF_LOAD_LINE_H
#define PERF_LOAD_LINE_H

#include "ring/core.h"
#include "ring/pipe.h"

#include <openssl/ssl.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define LINE_PIECES_MAX 9u
#define LINE_SEND_BYTES (128u * 1024u)
#define LINE_READ_BYTES (16u * 1024u)  /* one record at a time is opened */

/* What all lines of a load share. */
struct lines {
	struct core *core;
	struct sockaddr_in to;
	SSL_CTX *tls;                    /* NULL: all are plain */
	BIO_METHOD *between;             /* tls.c: what OpenSSL takes for a socket */
	char *scratch;                   /* LINE_READ_BYTES, where records are opened */
	struct chunk *taken;             /* what line_take gave last, of a plain line */
};

enum line_leaves { LINE_STAYS, LINE_CLOSES, LINE_FINISHES, LINE_RESETS, LINE_VANISHES };

struct line {
	uint32_t magic;
	struct scope scope;
	struct lines *lines;
	struct task task;
	void (*ready)(void *owner);      /* something has come, is sent, or has ended; NULL: nobody's any more */
	void *owner;
	SSL *tls;                        /* NULL: plain */
	struct op receive;
	struct op send;                  /* also the connect */
	struct core_starve starve;
	struct pipe in, out;
	int fd;

	struct iovec pieces[LINE_PIECES_MAX];       /* in the send now, or what it left */
	struct chunk *lent[LINE_PIECES_MAX];        /* each piece's chunk; NULL: bytes of who said them */
	unsigned piece_at, piece_count;
	struct msghdr message;
	const char *large;               /* said behind what is in `out`, and sent from where it lies */
	size_t large_bytes;

	enum line_leaves leaves;
	const char *why;                 /* it is over; NULL: the other side ended it */
	int error;                       /* of the socket; 0: none */
	bool connected;
	bool deaf;                       /* what comes is dropped */
	bool unsaid;                     /* line_say took less than was said: `ready` when there is room */
	bool ended;                      /* nothing more comes from the socket */
	bool over;                       /* … and nothing more from `in`: the client has seen all */
};

void lines_init(struct lines *, struct core *, uint16_t port, SSL_CTX *); /* takes the context over */
void lines_fini(struct lines *);                  /* when the core's root has ended */

/* Connects from the end of this turn on: until then options of its socket may be set. `secret` needs a context. */
struct line *line_open(struct lines *, bool secret, void (*ready)(void *owner), void *owner);

bool line_shake_hands(struct line *);             /* true: done */

/* How many of these bytes are said; when less than all, `ready` tells that the rest may be. Bytes of more than
 * PIPE_COPY_BYTES_MAX are sent from where they lie, and must lie there as long as the line does. */
size_t line_say(struct line *, const void *bytes, size_t n);
void line_flush(struct line *);                   /* outside `ready`: what was said is sent with this turn */

/* Bytes that came, good until the next call for any line; 0: none now, or it is over. */
size_t line_take(struct line *, const char **bytes);
const char *line_failure(const struct line *);    /* of its socket, in words; NULL: none */
bool line_has_news(const struct line *);          /* line_take may have something to give, or to tell */

void line_deafen(struct line *);                  /* stays connected, without TLS, and forgets what comes */
void line_close(struct line *);
void line_leave(struct line *, enum line_leaves); /* not LINE_STAYS; one that has vanished is closed by line_close */

#endif
