/* gateway/certificates.h — the TLS of the listeners: files read once, contexts of each core, new ones when asked.
 *
 *   start    main reads ─▶ struct tls_material for each listener ─▶ each core makes its own tls_context of it
 *   reload   core 0 reads ─▶ all good? ─▶ each core makes contexts, aside ─▶ all could? ─▶ each core puts them in force ─▶ told
 *
 * A connection keeps the context that it began with: a reload touches none. Where one file is bad nothing is changed anywhere, and the sentence says which.
 * The files are read by core 0 while it serves: some milliseconds, when somebody asks for it.
 *
 * Owner: the gateway's materials belong to core 0 once the cores run.   Thread: as named.   Units: none.
 * Errors: a sentence in struct tls_fault.   Limits: one reload at a time; CERTIFICATES_BUSY. */
#ifndef GATEWAY_CERTIFICATES_H
#define GATEWAY_CERTIFICATES_H

#include "gateway/gateway.h"
#include "tls/material.h"

extern const struct reason CERTIFICATES_BUSY;        /* a reload is under way already */
extern const struct reason CERTIFICATES_BAD;         /* a file could not be used; the old ones stay in force */
extern const struct reason CERTIFICATES_INCOMPLETE;  /* a core could not take them; the old ones stay in force everywhere */
extern const struct reason CERTIFICATES_LATE;        /* who asked has waited long enough for the cores; they go on */

/* Reads all files of all listeners: `materials` has room for one a listener, NULL stays where there is no TLS. False: nothing is
 * held, and what is wrong was told (log_say), as are warnings either way. */
bool certificates_read(const struct config *, struct tls_thread *, struct tls_material **materials, struct tls_fault *);
void certificates_put(const struct config *, struct tls_material **materials);

/* For `check` and for the start, on the first thread: the same with a struct tls_thread of its own. */
bool certificates_read_first(const struct config *, struct tls_material **materials);

/* A listener may resume sessions, so keys for tickets are wanted. */
bool certificates_give_tickets(const struct config *);

/* On the core's own thread: worker->thread and the contexts, of the gateway's materials. False was told. */
bool certificates_open(struct worker *);
void certificates_close(struct worker *);

#define CERTIFICATES_ACTOR_BYTES_MAX 64

/* On core 0. `actor`: who wants it, for the audit trail. NULL: the files are read, and `wakes` is woken when all cores have them; otherwise CERTIFICATES_BAD with a sentence, or
 * CERTIFICATES_BUSY, and nothing has changed. */
const struct reason *certificates_reload(struct worker *core0, const char *actor, struct task *wakes, struct tls_fault *);

/* The same for whoever does not wait: what is wrong goes to standard error, and during a reload another one follows. */
void certificates_reload_by_signal(struct worker *core0, const char *actor);

/* When it is *over: NULL, or why it failed. */
const struct reason *certificates_reload_outcome(const struct worker *core0, bool *over);
void certificates_forget(struct worker *core0, struct task *wakes); /* it has ended, and is not to be woken */

#endif
