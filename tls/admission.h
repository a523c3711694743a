/* tls/admission.h — whose handshake is computed next, and how many of them a turn.
 *
 * A full handshake costs more than a hundred small requests. A flood of them may delay handshakes, but never the connections
 * that are served already: in one turn of its core TURN_UNITS of work are granted, and the rest waits its turn, behind whatever
 * the turn's completions bring. Who costs more than is left is granted too, and the next turns grant less.
 *
 *   ask ──▶ granted at once, or queued ──▶ granted ──▶ (a step of mbedTLS) ──▶ ask again, as finishing ──▶ … ──▶ leave
 *
 *   finishing   its first part is done: what is left costs little, and ends what holds memory
 *   resuming    comes with a ticket: a client who was here before, for half the price
 *   full        all others
 * Finishing ones go first. The other two take turns, one by one, because bringing a ticket is easy, and nobody may keep new clients
 * out with it. Who comes when `queued_max` wait is refused. Of those at work, which means that memory
 * of mbedTLS exists, there are `at_work_max` at most; when others wait for a place, the oldest of them that have been at work for
 * DISPLACED_AFTER_MS, and for whose clients we wait, have to go: nobody needs as long who answers. When very many wait it is
 * DISPLACED_SOON_MS.
 *
 * Owner: struct tls_thread; each place in the queue is embedded in who asks.   Thread: its core's.
 * Units: one unit is about a resumed handshake.   Errors: ADMISSION_REFUSED; displaced.
 * Limits: at_work_max, queued_max.   Source: limits.tls_handshakes_max, limits.tls_handshakes_queued_max. */
#ifndef TLS_ADMISSION_H
#define TLS_ADMISSION_H

#include "ring/core.h"
#include "ring/task.h"
#include "ring/timer.h"

enum admission_class { ADMISSION_FINISHING, ADMISSION_RESUMING, ADMISSION_FULL };
#define ADMISSION_CLASSES 3u

enum admission_answer { ADMISSION_GRANTED, ADMISSION_QUEUED, ADMISSION_REFUSED };

/* Written by the core, with relaxed stores; read by any. */
struct admission_stats {
	_Atomic uint64_t queued;         /* now */
	_Atomic uint64_t at_work;        /* now */
	_Atomic uint64_t waited;         /* had to wait for a later turn, or for a place */
	_Atomic uint64_t refused;
	_Atomic uint64_t displaced;
	_Atomic uint64_t dropped;        /* left while they were waiting: gone clients, nothing was computed for them */
};

struct admission {
	struct task task;
	struct timer timer;              /* when the oldest at work has been so for too long */
	struct link queues[ADMISSION_CLASSES];
	struct link at_work;             /* the oldest first */
	unsigned at_work_max, queued_max;
	unsigned queued_count, at_work_count;
	unsigned finishing_count;        /* of those queued: they have their place */
	uint64_t turn;                   /* that `units_left` is of */
	int units_left;                  /* below 0: owed by the next turns */
	bool full_next;                  /* when both wait, a full one goes before a resuming one */
	struct admission_stats stats;
};

struct admission_place {
	struct link in_queue;
	struct link in_work;
	struct task *wakes;              /* when granted or displaced */
	uint64_t since_ms;               /* at work */
	uint8_t units;
	uint8_t class;                   /* enum admission_class */
	bool queued, granted, works, displaced;
};

/* The scope is the core's root. Zeroed memory is a closed one: admission_open comes before the first place. */
void admission_open(struct admission *, struct scope *root, unsigned at_work_max, unsigned queued_max);

void admission_place_init(struct admission_place *, struct task *wakes);

/* Not while it is queued. When it was queued its task is woken, and `granted` says so. */
enum admission_answer admission_ask(struct admission *, struct admission_place *, enum admission_class, unsigned units);

/* What was granted turned out to cost more: a ticket that was not good. */
void admission_charge(struct admission *, unsigned units);

/* Gives the place back, whatever state it is in; harmless twice. */
void admission_leave(struct admission *, struct admission_place *);

#endif
