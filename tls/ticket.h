/* tls/ticket.h — session tickets: what a client brings back so that the next handshake needs no signature.
 *
 * The server keeps nothing of a session. It seals what it would have to remember and gives it to the client; whoever has the
 * key can open it: any core, and the next process too. mbedTLS calls us to seal and to open.
 *
 *   a ticket   name 16 │ nonce 12 │ sealed( made, ms of the wall clock 8 │ mbedTLS's session ) │ tag 16      AES-256-GCM
 *              165 bytes in TLS 1.2; 107 in 1.3, and 123 with SHA-384
 *   name       says which key; random, so that it tells nothing
 *   additional data: name, nonce, binding, alike
 *
 * Words:  set      the keys of one time, newest first: the newest seals, all open. Immutable, and shared by all cores
 *         binding  what must be equal where a ticket is used, and is so by configuration: listener, host, protocols.
 *                  The key is derived from it, so a ticket of one host is nothing at another
 *         alike    what must be equal and comes from the client: see ticket_alike_make
 *         box      what one host has on one thread: the callbacks' context
 *         holder   what one thread has: its present set, and the boxes that work with it
 *
 *   rotation:  set₀ [A] ──half a lifetime──▶ set₁ [B A] ──▶ set₂ [C B A] ──▶ set₃ [D C B]     A sealed its last one lifetime ago
 *
 * The stock ssl_ticket.c is not used: it makes keys of its own in each context and rotates them by itself, knows two of them by
 * names of 4 bytes, and takes the time since the machine's start for a ticket's age, which is another after a reboot.
 *
 * Owner: sets by reference, across threads; holders and boxes their embedder's.   Thread: a set any; the others one core's.
 * Units: as named; s and ms of the wall clock, which may jump.   Errors: reasons, of a file; a ticket that cannot be used is
 * counted, and the client makes a full handshake.   Limits: TICKET_KEYS_MAX keys, TICKET_LIFETIME_MAX_S.
 * A key seals at most 2^32 tickets of one binding (NIST SP 800-38D §8.3, random nonces): at a rotation every six hours that
 * would be 198 000 a second.
 * Source: RFC 8446 §4.6.1 and §4.2.11, RFC 5077, RFC 5869, mbedTLS 3.6. */
#ifndef TLS_TICKET_H
#define TLS_TICKET_H

#include "ring/base.h"
#include "ring/reason.h"

#include <stdatomic.h>

struct kernel;
struct mbedtls_ssl_session;

#define TICKET_KEYS_MAX 4u
#define TICKET_NAME_BYTES 16u
#define TICKET_SECRET_BYTES 32u
#define TICKET_BINDING_BYTES 32u
#define TICKET_NONCE_BYTES 12u
#define TICKET_TAG_BYTES 16u
#define TICKET_MADE_BYTES 8u
#define TICKET_OVERHEAD_BYTES (TICKET_NAME_BYTES + TICKET_NONCE_BYTES + TICKET_MADE_BYTES + TICKET_TAG_BYTES)

/* RFC 8446 §4.6.1: "Servers MUST NOT use any value greater than 604800 seconds (7 days)." */
#define TICKET_LIFETIME_MAX_S 604800u

/* A clock that was set back makes tickets of the future; so much of it is taken for two clocks that differ. */
#define TICKET_AHEAD_MAX_MS 60000u

/* ---- sets of keys ---- */

struct ticket_key {
	uint8_t name[TICKET_NAME_BYTES];
	uint8_t secret[TICKET_SECRET_BYTES];
	uint64_t made_s;                 /* since 1970 */
};

struct ticket_keys {
	uint32_t magic;
	_Atomic unsigned references;
	unsigned count;                  /* at least one */
	struct ticket_key keys[TICKET_KEYS_MAX];
};

/* A new key, and behind it those of `old` (NULL: none) that may have sealed a ticket that is still alive. The result is the
 * caller's reference; `old` stays. Random bytes come from the calling thread's PSA, which is started if it was not. */
struct ticket_keys *ticket_keys_next(const struct ticket_keys *old, uint64_t now_s, uint32_t lifetime_s);

struct ticket_keys *ticket_keys_take(struct ticket_keys *); /* one more reference */
void ticket_keys_put(struct ticket_keys *);                 /* NULL is fine; the last one zeroises */

/* For a file:  "PTICKET" version 1 │ bytes of what follows 4 │ count × ( name 16 │ secret 32 │ made 8 ) │ SHA-256 of it all 32 */
#define TICKET_FILE_BYTES_MAX (8u + 4u + TICKET_KEYS_MAX * (TICKET_NAME_BYTES + TICKET_SECRET_BYTES + 8u) + 32u)
size_t ticket_keys_encode(const struct ticket_keys *, uint8_t to[TICKET_FILE_BYTES_MAX]);
struct ticket_keys *ticket_keys_decode(const uint8_t *bytes, size_t n, const struct reason **why); /* NULL, and why */

extern const struct reason TICKET_FILE_CUT;        /* shorter than it says */
extern const struct reason TICKET_FILE_FOREIGN;    /* something else */
extern const struct reason TICKET_FILE_VERSION;    /* of another version of ours */
extern const struct reason TICKET_FILE_LENGTH;     /* longer than it says, or not a number of keys */
extern const struct reason TICKET_FILE_DAMAGED;    /* the checksum differs */

/* ---- what a thread has ---- */

struct ticket_holder {
	struct ticket_keys *keys;        /* a reference */
	const struct kernel *kernel;     /* whose wall clock it is */
	struct link boxes;
};

/* The reference moves in. The holder's boxes go before it, all of them before the thread's PSA. */
void ticket_holder_init(struct ticket_holder *, const struct kernel *, struct ticket_keys *);
void ticket_holder_fini(struct ticket_holder *);

/* The reference moves in, that of the set before goes; keys derived from that are zeroised at once. */
void ticket_holder_swap(struct ticket_holder *, struct ticket_keys *);

/* ---- what a host has on a thread ---- */

enum ticket_refusal {
	TICKET_REFUSED_FORM,             /* too short or too long to be one of ours */
	TICKET_REFUSED_KEY,              /* its key is not known, or not any more */
	TICKET_REFUSED_FORGED,           /* damaged, or of another host, or brought by another ClientHello than it was made for */
	TICKET_REFUSED_EXPIRED,
	TICKET_REFUSED_FUTURE,           /* the clock was set back */
	TICKET_REFUSED_SESSION,          /* of another mbedTLS, or of a suite or version that is not for here */
};
#define TICKET_REFUSALS 6u

const char *ticket_refusal_word(enum ticket_refusal); /* "key": for metrics */

/* A host name has at most 255 bytes; suites that are not ours are left out. */
#define TICKET_ALIKE_BYTES_MAX (2u + 1u + 1u + 2u * 16u + 255u)

struct ticket_alike {
	uint16_t version;                /* enum tls_version; 0 before ticket_alike_make */
	uint16_t n;
	uint8_t bytes[TICKET_ALIKE_BYTES_MAX];
};

/* What of a ClientHello must be the same when a ticket is used as when it was issued, because mbedTLS does not look:
 *   version  the one that will be spoken. A ticket of TLS 1.3 has no master secret, and mbedTLS would resume 1.2 with zeros
 *   extended_master_secret  RFC 7627 §5.3: one handshake with it and one without it must not be of one session
 *   suites   as offered: those of ours, in the client's order, so that the same one is chosen again. RFC 5246 §7.4.1.3 wants the
 *            session's in 1.2; in 1.3 mbedTLS ends a handshake that brings a ticket without its suite
 *   name     RFC 6066 §3: "MUST NOT accept the request to resume the session if the server_name extension contains a different
 *            name." In any case; without one n is 0
 * Random values that clients put in (GREASE) change nothing. */
void ticket_alike_make(struct ticket_alike *, uint16_t version, bool extended_master_secret, const uint16_t *suites,
	unsigned suite_count, const char *name, size_t name_bytes);

struct ticket_box {
	uint32_t magic;
	uint32_t lifetime_s;
	struct ticket_holder *holder;
	struct link in_holder;
	const struct ticket_alike *alike; /* of the handshake that runs; NULL: the binding is enough */
	uint32_t derived[TICKET_KEYS_MAX]; /* PSA's number of the key derived from the set's, by its place; 0: not yet */
	uint8_t additional[TICKET_NAME_BYTES + TICKET_NONCE_BYTES + TICKET_BINDING_BYTES + TICKET_ALIKE_BYTES_MAX];
	/* For the owner's statistics. */
	uint64_t issued;
	uint64_t opened;                 /* in TLS 1.3 mbedTLS may still find the client's clock odd, and not resume */
	uint64_t refused[TICKET_REFUSALS]; /* by enum ticket_refusal */
};

/* A box is for hosts that ask for no client certificate: a ticket would carry its owner past that question.
 * `lifetime_s` is cut to TICKET_LIFETIME_MAX_S. */
void ticket_box_init(struct ticket_box *, struct ticket_holder *, const uint8_t binding[TICKET_BINDING_BYTES], uint32_t lifetime_s);
void ticket_box_fini(struct ticket_box *);           /* harmless twice, and on zeroed memory */

/* For mbedtls_ssl_conf_session_tickets_cb; the first argument is the box. box->alike belongs to the handshake that calls: it is set
 * before each mbedtls_ssl_handshake of it, the first and the later ones. */
int ticket_box_write(void *box, const struct mbedtls_ssl_session *, unsigned char *start, const unsigned char *end, size_t *written,
	uint32_t *lifetime_s);
int ticket_box_parse(void *box, struct mbedtls_ssl_session *, unsigned char *ticket, size_t n);

#endif
