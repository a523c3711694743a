/* ring/reason.h — why something ended.
 *
 * A reason is a constant with a name (for logs, metrics and tests) and one sentence (for people). Each is declared
 * once, beside the code that gives it, and travels on the path of the bytes: pipe_break(), scope_close(). The first one
 * sticks. gateway/verdict.c alone turns reasons into status, close code, metric and log line. Reasons are compared by
 * address.
 *
 * Owner: static storage, const.   Thread: any.   Units: none.   Errors: none.   Limits: none. */
#ifndef RING_REASON_H
#define RING_REASON_H

struct reason {
	const char *name;     /* lower case, words joined by underscores: "connection_reset" */
	const char *sentence; /* what happened, for a person, without a full stop: "the peer reset the connection" */
};

/* Given by the engine room itself. */
extern const struct reason RING_DONE;              /* the work is done; nothing went wrong */
extern const struct reason RING_PARENT_CLOSED;     /* the scope above was closed; its own reason tells why */
extern const struct reason RING_DRAINED;           /* the program is ending and the time for politeness is over */

/* Given by ring/tcp.c: what the kernel says about a connection. */
extern const struct reason TCP_RESET;              /* ECONNRESET or EPIPE: the other side has gone rudely */
extern const struct reason TCP_REFUSED;            /* connect: nobody listens there */
extern const struct reason TCP_UNREACHABLE;        /* connect: no route, host or network down */
extern const struct reason TCP_CONNECT_LATE;       /* connect: the deadline passed first */
extern const struct reason TCP_SEND_LATE;          /* a write made no end before its deadline: the reader is too slow */
extern const struct reason TCP_RECEIVE_LATE;       /* nothing arrived before the deadline */
extern const struct reason TCP_STARVED;            /* limits of memory left no buffer to receive into, for too long */
extern const struct reason TCP_FAILED;             /* any other error of the kernel */
extern const struct reason TCP_DESCRIPTORS_SPENT;  /* EMFILE or ENFILE where a socket was wanted */

#endif
