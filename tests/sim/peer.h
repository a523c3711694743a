/* tests/sim/peer.h — the program at the other end of a connection: it sends a pattern, reads one, and ends as it likes.
 *
 * PEER_POLITE   sends all, then FIN; reads to the end; closes.        PEER_RESETS  sends RST somewhere on the way
 * PEER_LEAVES   closes somewhere on the way, read or not              PEER_DEAF    sends, never reads, closes in the end
 * PEER_WAITS    reads to the end first and closes then: the other side must end on its own
 *
 * Owner: the scenario; `socket` belongs to the world.   Thread: one.   Units: bytes.
 * Errors: a byte that is not the next of the pattern ends the run.   Limits: none. */
#ifndef TESTS_SIM_PEER_H
#define TESTS_SIM_PEER_H

#include "tests/sim/world.h"

enum peer_manner { PEER_POLITE, PEER_RESETS, PEER_LEAVES, PEER_DEAF, PEER_WAITS };

struct peer {
	struct actor actor;
	struct thing *socket;            /* NULL: not connected yet */
	enum peer_manner manner;
	uint32_t send_id, receive_id;    /* which patterns */
	uint64_t send_bytes, sent, received;
	uint64_t until_bytes;            /* rude: after so many bytes sent and received */
	uint64_t pause_ns;               /* between two acts, at most */
	unsigned pieces_max;             /* bytes of one write or read, at most */
	bool fin_sent;
	bool end_seen;                   /* the other side's FIN */
	bool done;
	int error;                       /* what the socket said */
};

/* Rolls everything but the socket, the identities and the manner's consequences. */
void peer_init(struct peer *, struct world *, enum peer_manner, uint64_t send_bytes, actor_act *act);
void peer_fini(struct peer *);
/* One act of a connected peer; schedules the next. */
void peer_act(struct peer *);
enum peer_manner peer_manner_roll(struct dice *);

#endif
