/* ring/tcp.h — a stream socket between two pipes.
 *
 *   socket ──receive──▶ in ─▶ (an engine)            one multishot receive under one linked timeout
 *   socket ◀──send───── out ◀─ (an engine)           one vectored send in flight, up to 64 KiB gathered
 *
 * Receiving: armed while `in` has room; cancelled when it fills, armed again when it opens: once at a time until the reader
 * has caught up, because a multishot receive may bring half a megabyte before we see that the pipe is full. The linked timeout covers the
 * whole arm, so it costs nothing per message. When it fires, we look at the clock: if the present wait still has time, the
 * arm is renewed with what is left (lazy re-arm); if not, `silences` is raised. A wait that tolerates no silence then breaks
 * `in` with its reason; one that tolerates some (a WebSocket's heartbeat: the first silence asks for a ping, the second is
 * a dead peer) wakes `in`'s reader, which looks at `silences`, and arms again. Bytes that arrive set it to 0.
 *
 * Sending: first without waiting (no timeout needed: it returns at once); only what the socket did not take goes into a
 * second send, that waits and has a linked timeout. So a reader who keeps up costs one entry per send, and one who does
 * not is bounded. A short count is never resent silently: what was sent is sent, and the rest follows. Where more bytes wait behind
 * those of a send, or `out`'s writer expects more at once, the kernel may keep what fills no packet for the next send, up to 200 ms
 * (MSG_MORE): a long body then goes in full packets, however small the pieces in which it came.
 *
 * Ends: the peer's FIN ends `in`; an error breaks it. When `out` has ended and all is sent, our FIN goes out
 * (shutdown). An error in sending refuses `out` with its reason.
 *
 * Owner: a struct whose scope was given; tcp_fini in that scope's `ended`.   Thread: its core's.
 * Units: ms.   Errors: reasons of ring/reason.h on the pipes.   Limits: TCP_SEND_CHUNKS_MAX chunks a send. */
#ifndef RING_TCP_H
#define RING_TCP_H

#include "ring/base.h"
#include "ring/chunk.h"
#include "ring/core.h"
#include "ring/op.h"
#include "ring/pipe.h"
#include "ring/task.h"

#include <sys/socket.h>
#include <sys/uio.h>

#define TCP_SEND_CHUNKS_MAX 8u

/* What the receive waits for, in words, and how long it may take. */
struct tcp_wait {
	const char *name;                /* "request head", "pong": for dumps and logs */
	uint32_t ms;                     /* 0: without end */
	unsigned silences_max;           /* tolerated before `late` breaks the pipe */
	const struct reason *late;
	bool from_start;                 /* counted from tcp_receive_within, not from the last byte */
};

struct tcp {
	uint32_t magic;
	int fd;                          /* -1: none yet, or closed */
	struct core *core;
	struct scope *scope;
	struct pipe *in;
	struct pipe *out;
	struct task task;
	struct task *watcher;            /* woken when connected, at a silence, when our FIN is out, at a failure; may be NULL */
	struct op receive;
	struct op send;                  /* also the connect */
	struct core_starve starve;

	struct tcp_wait wait;
	uint64_t wait_began_ms;
	uint64_t held_since_ms;
	uint64_t received_ms;            /* when the last byte came */
	uint64_t arm_due_ms;             /* when the present arm's linked timeout fires; UINT64_MAX: it has none */
	unsigned silences;
	const char *late;                /* the name of the wait whose end broke this socket; NULL: none did */

	struct chunk *lent[TCP_SEND_CHUNKS_MAX]; /* in the send now */
	struct iovec vector[TCP_SEND_CHUNKS_MAX];
	struct msghdr message;
	unsigned lent_count;
	uint32_t send_ms;                /* how long a send may wait */
	int sent;                        /* note of a send's completion that the step has to look at */

	struct sockaddr_storage peer;
	socklen_t peer_size;
	uint64_t bytes_received;
	uint64_t bytes_sent;
	const struct reason *failure;    /* the first error of this socket */

	bool connecting;
	bool send_blocked;               /* the present send is the one that waits */
	bool send_noted;                 /* `sent` is to be looked at by the step */
	bool receive_ended;              /* FIN or error */
	bool held;                       /* `in` is full, or there is no buffer: not receiving, so the peer's time stands still */
	bool fin_sent;
};

/* A connected descriptor (accepted) or -1 before tcp_connect. The pipes' tcp ends are taken: in's writer, out's reader. */
void tcp_init(struct tcp *, struct scope *, int fd, struct pipe *in, struct pipe *out);

/* Connects; bytes may be put into `out` at once. Failure breaks `in` and refuses `out` with a reason of its own. */
void tcp_connect(struct tcp *, const struct sockaddr *, socklen_t size, uint32_t within_ms);

/* From now on the receive waits for this. Cheap: nothing is told to the kernel unless the present arm would fire too late. */
void tcp_receive_within(struct tcp *, const struct tcp_wait *);
void tcp_send_within(struct tcp *, uint32_t ms);

/* Gives up politeness: the later close sends RST (a timed-out or misbehaving peer). */
void tcp_abort(struct tcp *);

/* Only in the scope's `ended`: chunks back, descriptor closed. */
void tcp_fini(struct tcp *);

/* ms until the present receive's wait is over; UINT64_MAX: without end. */
uint64_t tcp_left_ms(const struct tcp *);

/* The name of the present wait and what is left of it, for people; NULL: it waits for nothing. A wait that stands still, because we
 * do not listen, has no end. */
const char *tcp_waits(const struct tcp *, uint64_t *left_ms);

#endif
