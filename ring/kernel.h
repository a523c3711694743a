/* ring/kernel.h — everything we ask of the operating system, in our own words.
 *
 * ring/kernel.c answers with io_uring and is the only file that includes liburing. In simulation another file answers
 * (tests/sim/kernel.c): completions in any order, short, late, cancelled though successful, out of buffers, by seed.
 * Nothing else in the program makes a socket call or reads a clock.
 *
 * A request is described by plain data and becomes one submission entry, or two: with `within_ms` it is written together
 * with its LINK_TIMEOUT, in one place, both or neither, because a pair split over two submissions leaves the request
 * armed with no deadline. The timeout's own completion is never seen.
 *
 * user_data: op kind (8 bits), slot (24), arm generation (32); never a pointer. A link timeout cancels whatever carries
 * its user_data at the moment it fires, so every arm has a user_data of its own and a late timeout finds nothing.
 *
 * Owner: a kernel belongs to one core.   Thread: the core's alone, except kernel_now_ns.
 * Units: ns and ms as named.   Errors: negative errno, translated by the caller where it enters.
 * Limits: KERNEL_ENTRIES submission entries, four times as many completions.
 * Source: io_uring(7), io_uring_enter(2), io_uring_linked_requests(7). */
#ifndef RING_KERNEL_H
#define RING_KERNEL_H

#include "ring/base.h"

#include <sys/socket.h>

struct iovec;
struct kernel;

#define KERNEL_ENTRIES 4096u

enum kernel_code {
	KERNEL_RECEIVE,       /* multishot; each completion with bytes carries a buffer id */
	KERNEL_RECEIVE_ONCE,  /* the same with one completion: for a reader who has fallen behind */
	KERNEL_SEND,          /* vectored (message); waits until all is sent */
	KERNEL_SEND_NOW,      /* vectored (message); sends what the socket takes now: a short count, or -EAGAIN for none */
	KERNEL_ACCEPT,        /* multishot; each completion's result is a descriptor */
	KERNEL_CONNECT,       /* address */
	KERNEL_READ,          /* bytes at offset (or -1), into plain memory: signalfd, files */
	KERNEL_WRITE,         /* bytes at offset, or -1: the descriptor's own position (O_APPEND) */
	KERNEL_WRITE_DSYNC,   /* the same, and what the result counts is as safe as after fdatasync (RWF_DSYNC) */
	KERNEL_SYNC,          /* fdatasync */
};

struct kernel_request {
	uint8_t code;                     /* enum kernel_code */
	bool more_follows;                /* KERNEL_SEND, KERNEL_SEND_NOW: what fills no packet may wait a moment for the next send */
	int fd;
	uint32_t within_ms;               /* the linked timeout; 0: none */
	union {
		const struct msghdr *message; /* KERNEL_SEND, KERNEL_SEND_NOW: must stay until the completion */
		const struct sockaddr *address; /* KERNEL_CONNECT: likewise */
		void *bytes;                  /* KERNEL_READ, KERNEL_WRITE…: likewise */
	};
	uint32_t size;                    /* of address or bytes */
	int64_t offset;
};

struct kernel_completion {
	uint64_t user_data;
	int32_t result;                   /* ≥ 0, or -errno */
	bool more;                        /* this arm goes on: further completions follow */
	bool has_buffer;
	uint16_t buffer;                  /* the id given to kernel_buffer_lend */
};

/* Why a kernel could not be opened: a sentence for the person at the terminal, with the remedy. */
struct kernel_fault {
	char sentence[512];
};

/* NULL and a fault when the machine cannot do what we need. `buffers` is the number of receive buffers, a power of two. */
struct kernel *kernel_open(unsigned buffers, struct kernel_fault *fault);
void kernel_close(struct kernel *);

/* The descriptor of the ring, for kernel_announce from another core. */
int kernel_descriptor(const struct kernel *);

uint64_t kernel_now_ns(const struct kernel *);  /* monotonic */
uint64_t kernel_wall_ns(const struct kernel *); /* since 1970, UTC */

/* Submission entries that can be written before kernel_enter must be called. A request needs up to two. */
unsigned kernel_room(const struct kernel *);

/* Needs room of two. Neither runs anything: completions come only out of kernel_reap. */
void kernel_start(struct kernel *, const struct kernel_request *, uint64_t user_data);

/* Needs room of one. A cancelled request completes as always, with -ECANCELED or with what it had done by then. */
void kernel_cancel(struct kernel *, uint64_t user_data);

/* Needs room of one. The other ring gets a completion with this user_data and result 0. */
void kernel_announce(struct kernel *, int other_descriptor, uint64_t user_data);

/* Submits all that was written; waits for a completion, at most `wait_ns` (0: not at all; UINT64_MAX: without end). */
void kernel_enter(struct kernel *, uint64_t wait_ns);

/* Up to `count` completions; 0 when there are none. */
unsigned kernel_reap(struct kernel *, struct kernel_completion *completions, unsigned count);

/* Gives the kernel memory to receive into. The id comes back with the completion that filled it; until then, or until
 * kernel_close, the memory is the kernel's. */
void kernel_buffer_lend(struct kernel *, uint16_t id, void *bytes, uint32_t size);

/* Sockets. All non-blocking, close-on-exec. ≥ 0 or -errno. */
int kernel_listen(struct kernel *, const struct sockaddr *, socklen_t size, int backlog);
int kernel_accept_now(struct kernel *, int fd);    /* one that waits in the queue; -EAGAIN: none does */
int kernel_socket(struct kernel *, const struct sockaddr *peer);
void kernel_shutdown(struct kernel *, int fd, int how);
void kernel_abort(struct kernel *, int fd);       /* a later kernel_socket_close sends RST */
void kernel_no_delay(struct kernel *, int fd);    /* harmless on a UNIX socket */
void kernel_socket_close(struct kernel *, int fd);
socklen_t kernel_peer(struct kernel *, int fd, struct sockaddr_storage *); /* 0 when there is none any more */
/* Who is at the other end of an accepted AF_UNIX socket: as it was when he connected. False: it cannot be told. */
bool kernel_peer_user(struct kernel *, int fd, uint32_t *uid, int32_t *pid);

/* False and a fault when the kernel cannot do what connections live on: a multishot receive into lent buffers that its linked
 * timeout ends, sends that wait and that do not, a cancel by name, a message between rings. With the production flags, before the
 * first listener. */
bool kernel_probe(unsigned cores, unsigned buffers, struct kernel_fault *fault);

#endif
