/* tests/sim/world.h — what lies outside the program: time, descriptors, a network, and those at its other ends.
 *
 *    core ── kernel.c ──▶ fd ▶ socket ══ in-memory stream, bounded, both ways ══ socket ◀── actor (a peer's script)
 *                                    arms, linked timeouts, completions: late, short, in any order, by dice
 *
 * Time stands still while a core turns and jumps to the next event when all sleep. An actor acts when its time has come;
 * asleep (ACTOR_ASLEEP) it is woken by whatever changes at its socket, so a world in which nothing can happen any more is
 * seen at once.
 *
 * The world also watches that the callers keep the contract of ring/kernel.h; a broken promise ends the run with
 * world_fail(): memory in flight that was freed or changed, two sends or two receives of one descriptor, a close under an
 * operation, a user_data used again, a buffer lent twice.
 *
 * Words:  habits   how rude this world is, rolled once a run        arm   one operation from its start to its last completion
 *
 * Owner: the run.   Thread: one.   Units: ns of virtual time.   Errors: world_fail.   Limits: WORLD_CORES_MAX cores. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "ring/base.h"
#include "ring/kernel.h"
#include "tests/sim/dice.h"

#define WORLD_CORES_MAX 4u
#define WORLD_FD_FIRST 1000000       /* no descriptor of the machine has such a number: a stray close(2) hits nothing */
#define WORLD_PATTERN_BYTES 4093u    /* prime: a lost or doubled power of two is seen */
#define WORLD_MS 1000000ull
#define ACTOR_ASLEEP UINT64_MAX

struct actor;
struct node;
struct world;

/* Percentages, but for what is named otherwise. */
struct habits {
	unsigned late;                   /* a ready operation completes a while later */
	uint64_t late_ns;                /* at most that late */
	unsigned ends_early;             /* a multishot arm ends with a success */
	unsigned short_send;             /* a send takes less than it could */
	unsigned again;                  /* SEND_NOW says EAGAIN although there is room */
	unsigned no_buffers;             /* ENOBUFS although there are some */
	unsigned accept_fails;           /* ECONNABORTED */
	unsigned descriptors_spent;      /* EMFILE although there are some */
	unsigned connect_fails;
	unsigned connect_never;
	unsigned shuffled;               /* a completion overtakes others */
	unsigned early_return;           /* a sleeping core is woken by nothing */
	unsigned reap_few;               /* fewer completions than there are */
	unsigned write_short;            /* files */
	uint64_t timeout_late_ns;        /* linked timeouts fire at most that late */
	uint64_t stream_bytes;           /* what fits into a socket's buffer */
	unsigned entries;                /* submission entries */
	unsigned split;                  /* a receive takes less than there is */
};

typedef void actor_act(struct actor *);

struct actor {
	struct link in_world;
	struct world *world;
	uint64_t at_ns;
	actor_act *act;
};

enum world_kind { WORLD_SOCKET = 1, WORLD_LISTENER, WORLD_SOURCE, WORLD_FILE };

struct stream {
	uint8_t *bytes;
	size_t size_max, first, size;
};

struct arm;

/* Whatever a descriptor may stand for. Lives until the world ends. */
struct thing {
	struct link in_world;
	struct world *world;
	enum world_kind kind;
	int fd;                          /* -1: an actor's end, or closed */
	struct arm *receive, *send, *accept, *read, *write; /* in flight; a connect is in `send` */
	unsigned queued;                 /* written into the submission ring, not yet seen by the kernel */

	/* sockets */
	struct thing *far;               /* the other end; NULL: not connected */
	struct stream in;                /* what has arrived and is not yet received */
	bool fin_in;                     /* nothing more arrives: the far end has finished */
	bool fin_out;                    /* this end has finished sending */
	bool closed;                     /* this end is gone */
	bool dead;                       /* a reset has arrived */
	bool aborts;                     /* closing sends a reset */
	bool dialled;                    /* a connect was started once; it can never be again */
	int error;                       /* what the next call will be told, once */
	uint64_t bytes_lost;             /* dropped by a reset */
	struct actor *actor;             /* the far program, of an actor's end */

	/* listeners */
	struct sockaddr_storage address;
	socklen_t address_size;
	struct link backlog;             /* sockets to be accepted, by in_backlog */
	struct link in_backlog;
	unsigned backlog_count;
	void (*dialled_in)(struct thing *listener, struct thing *far_end); /* an actor's listener */
	void *owner;

	/* sources: readable at times, for KERNEL_READ; files: for KERNEL_WRITE */
	uint64_t readable_ns;
	struct stream content;
	uint64_t synced;
	struct node *node;               /* of tests/sim/disk.c; NULL: the bytes above are all there is */
	bool direct;                     /* … written past the page cache: in whole pages only */
};

struct world {
	uint64_t seed;
	const char *scenario;
	bool trace;
	struct dice dice;
	struct habits habits;
	uint64_t now_ns;
	int64_t wall_ns[WORLD_CORES_MAX]; /* how far a core's wall clock is from the others', as after one was set */
	uint64_t disk_late_ns[WORLD_CORES_MAX]; /* how long a core's writes and syncs take at most, besides */
	uint64_t events;

	struct link actors;
	struct link things;
	struct thing **by_fd;
	unsigned fd_count;               /* slots in by_fd */
	unsigned fd_open;
	unsigned fd_max;                 /* then EMFILE */
	uint64_t fds_opened, fds_closed;

	struct kernel *kernels[WORLD_CORES_MAX];
	void (*sleeps)(struct world *, unsigned core); /* a core is about to sleep: nothing may be left to do */
	void *owner;
	int errors;                      /* standard error, where a scenario has put it aside; 0: it has not */
	uint8_t pattern[2 * WORLD_PATTERN_BYTES];
};

/* core_open hands its fault to kernel_open, and so the kernel finds its world without any global. */
struct world_fault {
	uint64_t magic;
	struct world *world;
	struct kernel_fault fault;
};
#define WORLD_FAULT_MAGIC 0x706f7374776f726cu

void world_init(struct world *, const char *scenario, uint64_t seed, bool trace);
void world_fini(struct world *);

_Noreturn void world_fail(struct world *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Between these two, what the program says on standard error goes into `world_aside`, if there is one (many seeds in child processes), and is told only
 * if the process ends there: it is a check's or a sanitizer's last word then. */
extern int world_aside;
void world_aside_empty(void);
void world_quiet(struct world *);
void world_loud(struct world *);

/* Runs actors that are due and completes what is ready. */
void world_run(struct world *);
/* When something will next happen of itself; UINT64_MAX: never. */
uint64_t world_next_ns(struct world *);

/* ---- descriptors ---- */

int world_descriptor(struct world *, struct thing *); /* -EMFILE when there are none left */
struct thing *world_thing(struct world *, int fd);     /* NULL: not open */
void world_descriptor_close(struct world *, struct thing *);

/* ---- sockets, for actors ---- */

struct thing *world_thing_new(struct world *, enum world_kind);
/* A connected pair; each direction holds habits.stream_bytes at most. */
void world_pair(struct world *, struct thing **a, struct thing **b);
/* A connection from an actor to a listener of a core; its own end. NULL: nobody listens, or the backlog is full. */
struct thing *world_dial(struct world *, const struct sockaddr *, socklen_t size, struct actor *);
/* An actor's listener: `dialled_in` runs when a core has connected; it sets the far end's actor. */
struct thing *world_listen(struct world *, const struct sockaddr *, socklen_t size,
                           void (*dialled_in)(struct thing *listener, struct thing *far_end), void *owner);

/* Bytes taken, or -EAGAIN, or another -errno, as send(2) would say. */
long world_send(struct thing *, const void *bytes, size_t n);
/* Bytes received, 0 at the end, or -EAGAIN, or another -errno. */
long world_receive(struct thing *, void *bytes, size_t n);
void world_shutdown(struct thing *);   /* no more bytes from this end */
void world_close(struct thing *);      /* FIN, or RST when there is something unread or `aborts` was set */
void world_reset(struct thing *);      /* RST now */

struct thing *world_source(struct world *); /* a descriptor for KERNEL_READ: readable at times */
struct thing *world_file(struct world *);

/* ---- actors ---- */

void actor_init(struct actor *, struct world *, actor_act *act, uint64_t in_ns);
void actor_wake(struct actor *);       /* soon; NULL is harmless */
void actor_in(struct actor *, uint64_t ns);

/* ---- the pattern that travels: any byte of stream `id` is known by its place ---- */

void world_pattern(struct world *, uint32_t id, uint64_t at, void *bytes, size_t n);
bool world_pattern_is(struct world *, uint32_t id, uint64_t at, const void *bytes, size_t n);

/* ---- between world.c and kernel.c ---- */

/* What a connect comes to: 0 and the thing is connected, or -errno. */
int world_connect(struct thing *, const struct sockaddr *, socklen_t size);
/* The first of the backlog; NULL: none. */
struct thing *world_accept(struct thing *listener);
void kernel_progress(struct kernel *);
uint64_t kernel_next_ns(struct kernel *);
bool kernel_has_completions(const struct kernel *);
uint64_t kernel_sleeps_until(const struct kernel *);   /* 0: it did not ask to sleep */
void kernel_wakes(struct kernel *);                    /* its core is about to turn */
bool kernel_idle(const struct kernel *);               /* nothing in flight and nothing queued */
bool kernel_announced(const struct kernel *);          /* an announcement is on its way to it */
unsigned kernel_lent(const struct kernel *);
uint64_t kernel_started(const struct kernel *);

#endif
