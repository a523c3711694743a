/* tls/engine.h — TLS, the server's side, between four pipes.
 *
 *      socket ─▶ wire_in  ─▶ ┌─────┐ ─▶ plain_in  ─▶ protocol
 *      socket ◀─ wire_out ◀─ │ tls │ ◀─ plain_out ◀─ protocol
 *                            └─────┘
 *   hello ──▶ queue ──▶ shake_hands ──▶ open ──▶ closing ──▶ closed        any of them ──refused──▶ closed
 *
 *   hello        the ClientHello is not whole yet (tls/hello); nothing but this struct exists
 *   queue        it is whole, was read (tls/client_hello), and has a host and a certificate; others go before (tls/admission)
 *   shake_hands  mbedTLS is at work (tls/handshake), and its memory exists; each further part of it waits its turn, too
 *   open         records are opened in place and sealed straight into wire_out (tls/record)
 *   closing      one direction has ended, the other goes on
 *   closed       both have; keys are gone
 *
 * Ends.  plain_out ends         close_notify, then wire_out ends.
 *        plain_out is broken    wire_out is broken, without close_notify, so that the client knows what it has is not whole.
 *        close_notify comes     plain_in ends. What comes after it is dropped. Our direction goes on until plain_out ends.
 *        wire_in ends without   plain_in is broken with TLS_TRUNCATED; our direction goes on.
 *        wire_in is broken      plain_in is broken with the same reason; our direction goes on, as far as the socket lets it.
 *        wire_out is refused    plain_out is refused with the same reason.
 *        plain_in is refused    wire_in is refused with the same reason: nothing more is opened.
 *        we refuse something    an alert, then wire_out ends; plain_in is broken and plain_out and wire_in are refused with
 *                               `failure`, which names it.
 * So the socket must be kept for a moment after a failure, reading and dropping, or the alert is lost in a reset.
 *
 * Owner: the struct that embeds it; tls_fini in its scope's `ended`, or earlier to detach.   Thread: its core's, the context's.
 * Units: bytes, ms.   Errors: reasons of tls/reason.h on the pipes and in `failure`.
 * Limits: a record of 2^14 bytes; 32 records in a row without a byte of content; 32 key updates in 10 s. How long a
 * handshake may take is the business of whoever reads the socket, how many there are at once that of tls/admission.
 * Source: RFC 8446, RFC 5246. */
#ifndef TLS_ENGINE_H
#define TLS_ENGINE_H

#include "ring/pipe.h"
#include "ring/scope.h"
#include "ring/task.h"
#include "tls/admission.h"
#include "tls/context.h"
#include "tls/hello.h"
#include "tls/record.h"

enum tls_step { TLS_HELLO, TLS_QUEUE, TLS_SHAKE_HANDS, TLS_OPEN, TLS_CLOSING, TLS_CLOSED };

struct tls_handshake;
struct tls_identity;

struct tls {
	uint32_t magic;
	uint8_t step;                    /* enum tls_step */
	uint16_t version;                /* enum tls_version; 0 until the handshake is done */
	struct task task;
	struct task *owner_task;         /* set by the owner after tls_attach: woken when the handshake is done, when both
	                                    directions have ended, and at a failure */
	struct tls_context *context;
	struct tls_choice choice;        /* of the context's, from `queue` on */
	struct pipe *wire_in, *wire_out;
	struct pipe *plain_in, *plain_out;
	struct tls_handshake *handshake; /* NULL but in shake_hands */
	struct tls_half in, out;
	struct tls_hello hello;
	struct admission_place place;

	const struct tls_suite *suite;   /* NULL until the handshake is done */
	const char *alpn;                /* the protocol agreed on, or NULL; the context's */
	char *sni;                       /* the name that the client asked for, in lower case, or NULL */
	struct tls_identity *identity;   /* who the client is by its certificate, which was verified; NULL: nobody knows */
	const struct reason *failure;    /* what we, or the client's alert, ended it for; NULL: nothing did */

	uint64_t sent_at_ms;             /* the last record of content */
	uint32_t streamed_bytes;         /* of content without a pause, up to where records are whole */
	uint64_t updates_since_ms;       /* when the present count of key updates began */
	uint8_t updates;                 /* by the client, since then */
	uint8_t useless;                 /* records without content, in a row */
	uint8_t message[5];              /* a KeyUpdate that came in pieces */
	uint8_t message_bytes;
	bool update_owed;                /* the client asked for a KeyUpdate of ours */
	bool update_asked;               /* we asked for one of the client's */
	bool resumed;                    /* by a ticket */
	bool resumes;                    /* it brought one, and was let in for the price of that */
	uint8_t parts;                   /* of the handshake, so far */
	bool in_done, out_done;
};

/* Takes wire_in's reader, wire_out's writer, plain_in's writer, plain_out's reader; one reference of the context. wire_in
 * must be able to hold a record (TLS_RECORD_BYTES_MAX). The pipes' memory must stay until tls_fini. */
void tls_attach(struct tls *, struct scope *, struct tls_context *, struct pipe *wire_in, struct pipe *wire_out,
	struct pipe *plain_in, struct pipe *plain_out);
void tls_fini(struct tls *);             /* frees, zeroises; the pipes are left as they are; harmless twice */

const char *tls_step_name(const struct tls *);

/* Also after a failure: look at `failure` too. */
static inline bool tls_handshake_over(const struct tls *t)
{
	return t->step >= TLS_OPEN;
}

#endif
