/* gateway/ticket_store.h — the life of the ticket keys: made, kept across a restart, renewed, handed to every core.
 *
 *   start:     <state>/ticket.keys ─▶ a set of keys, or a new one ─▶ each core's holder
 *   core 0:    timer ─▶ newest key older than half a lifetime? ─▶ next set ─▶ a message to each core: holder swapped
 *                                                                     └─▶ file: draft, sync, rename, sync of the directory
 *
 * Resumption saves work and is nothing to rely on. So whatever is wrong with the file or its directory is a warning, the keys
 * are then in memory only, and the price is that after a restart each client makes one full handshake.
 * The file holds secrets that open tickets, and a ticket of TLS 1.2 opens what was recorded of its connections: so mode 0600, and a
 * key is in it for one and a half lifetimes only. (In 1.3 each resumption has a key exchange of its own.)
 *
 * While cores run, writing and syncing are the ring's, so that a slow disk delays nobody; making, renaming and removing a
 * name of one small file are plain calls, because the ring's kernel has no word for them. With no directory there is no call at all.
 *
 * Owner: struct gateway.   Thread: open, close: the first, while no core runs; attach, detach: the core's; the rest: core 0's.
 * Units: s of the wall clock, which may jump; ms where named.   Errors: a line on standard error; see above.
 * Limits: one file of TICKET_FILE_BYTES_MAX; a lifetime of 1 s to TICKET_LIFETIME_MAX_S. */
#ifndef GATEWAY_TICKET_STORE_H
#define GATEWAY_TICKET_STORE_H

#include "gateway/config.h"
#include "ring/core.h"
#include "tls/ticket.h"

struct ticket_store {
	uint32_t magic;                  /* 0: closed, or never opened */
	uint32_t lifetime_s;
	enum config_log_level level;
	const char *directory_name;
	int directory;                   /* -1: the keys are in memory only */
	struct ticket_keys *keys;        /* the present set: a reference */
	struct ticket_holder **holders;  /* by core, each entry that core's own; NULL: not attached */
	unsigned core_count;

	/* Core 0's, from ticket_store_start to the end of its root. */
	struct core *core;
	struct scope scope;
	struct task task;
	struct timer timer;
	struct op op;
	unsigned step;                   /* of writing the file; 0: resting */
	bool asked;                      /* this step's operation was started */
	int result;                      /* … and brought this */
	bool unsaved;                    /* the file does not hold the present set */
	int draft;                       /* -1: none is open */
	size_t written;
	size_t file_bytes;
	uint8_t file[TICKET_FILE_BYTES_MAX];

	/* For statistics; core 0's. */
	uint64_t rotations;
	uint64_t saves_failed;
};

/* Never fails. `directory` is made when it is missing (mode 0700), its name must stay; NULL: nothing is kept. A newest key that is
 * too old is followed by a new one at once. `lifetime_ms` is of the tickets; the keys rotate every half of it. */
void ticket_store_open(struct ticket_store *, const char *directory, uint32_t lifetime_ms, unsigned cores, uint64_t now_s,
	enum config_log_level);

/* On each core's thread, before any core turns: the holder gets its first keys, and every later set. */
void ticket_store_attach(struct ticket_store *, struct core *, struct ticket_holder *);

/* On the core's thread, when the holder's boxes have gone and before the thread's PSA does. Harmless twice, and unattached. */
void ticket_store_detach(struct ticket_store *, struct core *);

/* On core 0, when its root is live: rotation begins. It ends with the root. */
void ticket_store_start(struct ticket_store *, struct core *core0);

/* A configuration that was read anew. On core 0, after ticket_store_start. */
void ticket_store_set_lifetime(struct ticket_store *, uint32_t lifetime_ms);

/* When all cores have ended and their mail is delivered. What was not written yet is. Harmless on zeroed memory, and twice. */
void ticket_store_close(struct ticket_store *);

#endif
