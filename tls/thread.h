/* tls/thread.h — what one thread has for TLS: primitives, the order of its handshakes, the present ticket keys.
 *
 * Owner: the worker, or whoever checks certificates.   Thread: the one that inits it, until the end.   Units: none.
 * Errors: false with a sentence from tls_thread_init.   Limits: none here.   Source: none. */
#ifndef TLS_THREAD_H
#define TLS_THREAD_H

#include "tls/admission.h"
#include "tls/crypto/aead.h"
#include "tls/fault.h"
#include "tls/ticket.h"

struct driver;

/* Written by the thread, with relaxed stores; read by any. */
struct tls_stats {
	_Atomic uint64_t full_12, full_13;
	_Atomic uint64_t resumed_12, resumed_13;
};

struct tls_thread {
	struct aead_pool aeads;
	struct driver *driver;           /* NULL: mbedTLS computes by itself */
	struct ticket_holder tickets;    /* keys NULL: nobody is resumed */
	struct admission admission;      /* opened by who has a core */
	struct link spares;              /* handshakes' memory, kept for the next ones: tls/handshake */
	unsigned spare_count;
	struct tls_stats stats;
};

/* Once, by the process's first thread before it starts others: mbedTLS keeps some lists that are filled at first use. */
void tls_process_init(void);

bool tls_thread_init(struct tls_thread *, struct tls_fault *);

/* After the last context that was made with it has gone; harmless twice, and on zeroed memory. */
void tls_thread_fini(struct tls_thread *);

#endif
