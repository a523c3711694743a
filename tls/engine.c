/* See tls/engine.h. */
#include "tls/engine.h"
#include "ring/core.h"
#include "tls/client_hello.h"
#include "tls/handshake.h"
#include "tls/identity.h"
#include "tls/reason.h"
#include "tls/secret.h"
#include "tls/wire.h"

#include <stdlib.h>
#include <string.h>

#define TLS_MAGIC 0x7150e791u

#define STEP_RECORDS_MAX 32u             /* each way, before others get their turn */
#define USELESS_MAX 32u
#define UPDATES_MAX 32u
#define UPDATES_WITHIN_MS 10000u
#define PARTS_MAX 16u                    /* of a handshake, each of a whole record; three are usual, a chain of certificates is some more */
#define HELLO_ROOM_BYTES 2048u           /* for a hello in pieces, without asking for memory */

/* A record can be opened when its last byte has come. So a stream begins with records of one packet each, as long as TCP's
 * first flight is (RFC 6928: ten packets), and goes on with whole ones, which cost less. After a pause TCP begins again. */
#define SMALL_RECORD_BYTES 1370u
#define SMALL_RECORDS_BYTES (12u * SMALL_RECORD_BYTES)
#define PAUSE_MS 1000u

#define CLIENT_HELLO 1u
#define KEY_UPDATE 24u

enum move { WAIT, NEXT, END };

static enum move step_hello(struct tls *);
static enum move step_queue(struct tls *);
static enum move step_shake_hands(struct tls *);
static enum move step_open(struct tls *);
static enum move step_closing(struct tls *);
static enum move step_closed(struct tls *);

static const struct {
	const char *name;
	enum move (*run)(struct tls *);
} STEPS[] = {
	[TLS_HELLO] = { "hello", step_hello },
	[TLS_QUEUE] = { "queue", step_queue },
	[TLS_SHAKE_HANDS] = { "shake_hands", step_shake_hands },
	[TLS_OPEN] = { "open", step_open },
	[TLS_CLOSING] = { "closing", step_closing },
	[TLS_CLOSED] = { "closed", step_closed },
};

const char *tls_step_name(const struct tls *t)
{
	return STEPS[t->step].name;
}

/* ---- small things ---- */

/* A record of a few bytes goes out whatever wire_out's bound says; there are few of them. */
static void seal_small(struct tls *t, uint8_t type, const void *bytes, uint32_t n)
{
	size_t size;
	uint8_t *room = pipe_room(t->wire_out, tls_sealed_bytes(&t->out, n), &size);

	pipe_commit(t->wire_out, tls_seal(&t->out, type, bytes, n, room));
}

static void seal_alert(struct tls *t, uint8_t alert)
{
	/* RFC 5246 §7.2.2 on no_renegotiation: "This message is always a warning"; close_notify is one too. */
	bool warning = alert == TLS_ALERT_CLOSE_NOTIFY || alert == TLS_ALERT_NO_RENEGOTIATION;
	uint8_t bytes[2] = { warning ? TLS_ALERT_WARNING : TLS_ALERT_FATAL, alert };

	seal_small(t, TLS_ALERT, bytes, sizeof bytes);
}

static void handshake_forget(struct tls *t)
{
	tls_handshake_free(t->handshake);
	t->handshake = NULL;
	admission_leave(&tls_context_thread(t->context)->admission, &t->place);
}

static void keys_forget(struct tls *t)
{
	handshake_forget(t);
	tls_half_fini(&t->in);
	tls_half_fini(&t->out);
}

/* ---- a failure ---- */

static void tell_in_clear(struct tls *t, const struct reason *reason)
{
	static const char HTTP_ANSWER[] =
		"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 79\r\nConnection: close\r\n\r\n"
		"{\"error\":\"tls_plain_http\",\"message\":\"this port speaks TLS; use https:// here\"}\n";
	uint8_t record[] = { TLS_ALERT, 3, 3, 0, 2, TLS_ALERT_FATAL, 0 };

	/* A person who forgot the s gets an answer that he can read. */
	if (reason == &TLS_PLAIN_HTTP)
		pipe_write(t->wire_out, HTTP_ANSWER, sizeof HTTP_ANSWER - 1);
	else if (tls_alert_for(reason, &record[6]))
		pipe_write(t->wire_out, record, sizeof record);
}

/* `tell`: whether the peer is to hear of it; not when it told us. */
static enum move fail(struct tls *t, const struct reason *reason, bool tell)
{
	uint8_t alert;

	if (tell && !t->wire_out->ended) {
		if (t->step <= TLS_QUEUE)
			tell_in_clear(t, reason);
		else if (t->handshake)
			tls_handshake_tell(t->handshake, reason);
		else if (t->out.suite && tls_alert_for(reason, &alert))
			seal_alert(t, alert);
	}
	keys_forget(t);
	t->failure = reason;
	t->in_done = t->out_done = true;
	t->step = TLS_CLOSED;
	pipe_end(t->wire_out);
	pipe_refuse(t->wire_in, reason);
	pipe_break(t->plain_in, reason);
	pipe_refuse(t->plain_out, reason);
	task_wake(t->owner_task);
	return END;
}

/* ---- hello, shake_hands ---- */

struct hello_room {
	uint8_t bytes[HELLO_ROOM_BYTES];
	uint8_t *more;                   /* for a longer one */
};

/* What one costs beside the others, in units of tls/admission: signing with RSA is the most expensive thing that we do. */
static unsigned handshake_units(const struct tls *t, bool resumes)
{
	return resumes ? 1 : t->choice.ecdsa ? 2 : 8;
}

/* `room` holds a hello that lies in pieces; the parsed one points into it, or into wire_in. */
static const struct reason *hello_parse(struct tls *t, struct hello_room *room, struct tls_client_hello *hello)
{
	room->more = t->hello.length > sizeof room->bytes ? malloc(t->hello.length) : NULL;
	check(room->more || t->hello.length <= sizeof room->bytes);
	return tls_client_hello_parse(tls_hello_message(&t->hello, t->wire_in, room->more ? room->more : room->bytes),
		t->hello.length, hello);
}

static void name_keep(struct tls *t, const struct tls_client_hello *hello)
{
	if (!hello->name)
		return;
	t->sni = strndup((const char *)hello->name, hello->name_bytes);
	check(t->sni);
	for (char *c = t->sni; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
}

/* The hello is whole: it is read, and leads to a host and a certificate, or is refused. */
static enum move hello_choose(struct tls *t)
{
	struct hello_room room;
	struct tls_client_hello hello;
	const struct reason *reason = hello_parse(t, &room, &hello);

	if (!reason) {
		name_keep(t, &hello);
		reason = tls_context_choose(t->context, &hello, t->sni, &t->choice);
	}
	free(room.more);
	if (reason)
		return fail(t, reason, true);
	t->resumes = tls_client_hello_may_resume(&hello) && tls_host_tickets(t->choice.host);
	if (admission_ask(&tls_context_thread(t->context)->admission, &t->place, t->resumes ? ADMISSION_RESUMING : ADMISSION_FULL,
		    handshake_units(t, t->resumes)) == ADMISSION_REFUSED)
		return fail(t, &TLS_HANDSHAKES_FULL, true);
	return NEXT;
}

static enum move step_hello(struct tls *t)
{
	const struct reason *reason = tls_hello_read(&t->hello, t->wire_in);

	if (reason)
		return fail(t, reason, true);
	if (t->hello.whole)
		return hello_choose(t);
	if (!t->wire_in->ended)
		return WAIT;
	if (t->wire_in->reason)
		return fail(t, t->wire_in->reason, false);
	return fail(t, t->wire_in->bytes == 0 ? &TLS_HELLO_MISSING : &TLS_HELLO_CUT, false);
}

static enum move step_queue(struct tls *t)
{
	struct hello_room room;
	struct tls_client_hello hello;

	/* Whoever has gone, be it by halves, cannot finish: nothing is computed for him. */
	if (t->wire_in->ended)
		return fail(t, t->wire_in->reason ? t->wire_in->reason : &TLS_HANDSHAKE_CUT, false);
	if (t->wire_out->refusal)
		return fail(t, t->wire_out->refusal, false);
	if (!t->place.granted)
		return WAIT;
	/* Read once more rather than kept: it costs less than a microsecond, and whoever waits holds no more than his bytes. */
	check(!hello_parse(t, &room, &hello) && !tls_context_choose(t->context, &hello, t->sni, &t->choice));
	t->handshake = tls_handshake_new(tls_context_thread(t->context), &t->choice, &hello, t->hello.length,
		t->wire_in, t->wire_out);
	free(room.more);
	return t->handshake ? NEXT : fail(t, &TLS_HANDSHAKE_MEMORY, true);
}

static void handshake_done(struct tls *t)
{
	struct tls_stats *stats = &tls_context_thread(t->context)->stats;

	t->suite = tls_handshake_keys(t->handshake, &t->in, &t->out);
	t->version = t->suite->version;
	t->alpn = tls_handshake_protocol(t->handshake);
	t->resumed = tls_handshake_resumed(t->handshake);
	t->identity = tls_handshake_identity(t->handshake);
	handshake_forget(t);
	if (t->version == TLS_1_2)
		stat_add(t->resumed ? &stats->resumed_12 : &stats->full_12, 1);
	else
		stat_add(t->resumed ? &stats->resumed_13 : &stats->full_13, 1);
	task_wake(t->owner_task);
}

/* The next part has come, and asks for its turn. Behind a HelloRetryRequest the expensive one is still to come. */
static enum move part_ask(struct tls *t)
{
	bool begun = tls_handshake_begun(t->handshake);
	/* A client's certificate is verified in the last part, and so is what stands above it. */
	unsigned units = !begun ? handshake_units(t, false) : tls_host_asks(t->choice.host) ? 4 : 1;

	/* Nothing expensive for whoever has gone. */
	if (!begun && t->wire_in->ended)
		return fail(t, t->wire_in->reason ? t->wire_in->reason : &TLS_HANDSHAKE_CUT, false);
	if (t->place.queued || !tls_handshake_ready(t->handshake))
		return WAIT;
	if (++t->parts > PARTS_MAX)
		return fail(t, &TLS_HANDSHAKE_LONG, true);
	if (admission_ask(&tls_context_thread(t->context)->admission, &t->place, ADMISSION_FINISHING, units) == ADMISSION_QUEUED)
		return WAIT;
	return NEXT;
}

/* One part of the handshake for each time that we are granted; the first was granted in `queue`. */
static enum move step_shake_hands(struct tls *t)
{
	enum tls_handshake_state state;
	const struct reason *reason;

	if (t->wire_out->refusal)
		return fail(t, t->wire_out->refusal, false);
	if (t->place.displaced)
		return fail(t, &TLS_HANDSHAKE_DISPLACED, true);
	if (!t->place.granted) {
		enum move move = part_ask(t);

		if (move != NEXT)
			return move;
	}
	t->place.granted = false;
	state = tls_handshake_step(t->handshake, &reason);
	if (t->resumes && !tls_handshake_resumed(t->handshake))
		admission_charge(&tls_context_thread(t->context)->admission, handshake_units(t, false) - 1);
	t->resumes = false;
	switch (state) {
	case TLS_HANDSHAKE_WAITS:
		return WAIT;
	case TLS_HANDSHAKE_REFUSED:
		return fail(t, reason, false);
	case TLS_HANDSHAKE_DONE:
		break;
	}
	handshake_done(t);
	return NEXT;
}

/* ---- what comes in ---- */

/* RFC 8446 §4.6.3, both ways. */
static void update_send(struct tls *t, bool requested)
{
	const uint8_t message[5] = { KEY_UPDATE, 0, 0, 1, requested };

	seal_small(t, TLS_HANDSHAKE, message, sizeof message);
	tls_half_update(&t->out);
}

static const struct reason *update_received(struct tls *t, bool requested)
{
	uint64_t now_ms = t->task.scope->core->now_ms;

	if (now_ms - t->updates_since_ms >= UPDATES_WITHIN_MS) {
		t->updates_since_ms = now_ms;
		t->updates = 0;
	}
	if (++t->updates > UPDATES_MAX)
		return &TLS_KEY_UPDATE_FLOOD;
	tls_half_update(&t->in);
	t->update_asked = false;
	/* "If an implementation receives multiple KeyUpdates with request_update set to "update_requested" while silent, it
	 * MAY respond with a single update": so it is a flag, and no flood of them makes us write more than we can send. */
	if (requested)
		t->update_owed = true;
	return NULL;
}

/* Of all handshake messages a client may send only one after the handshake: KeyUpdate, of TLS 1.3. */
static const struct reason *message_received(struct tls *t, const uint8_t *bytes, uint32_t n)
{
	static const uint8_t HEAD[4] = { KEY_UPDATE, 0, 0, 1 };

	if (t->version == TLS_1_2)
		return n > 0 && bytes[0] == CLIENT_HELLO ? &TLS_RENEGOTIATION : &TLS_MESSAGE_UNEXPECTED;
	/* RFC 8446 §5.1: "Implementations MUST NOT send zero-length fragments of Handshake types". */
	if (n == 0)
		return &TLS_MESSAGE_UNEXPECTED;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t at = t->message_bytes++;

		t->message[at] = bytes[i];
		if (at == 0 && bytes[i] != HEAD[0])
			return &TLS_MESSAGE_UNEXPECTED;
		if (at < sizeof HEAD && bytes[i] != HEAD[at])
			return &TLS_MESSAGE_MALFORMED;
		if (at < sizeof HEAD)
			continue;
		/* §5.1: "Handshake messages MUST NOT span key changes": the record ends with the KeyUpdate. */
		if (i + 1 < n)
			return &TLS_MESSAGE_UNEXPECTED;
		t->message_bytes = 0;
		/* §4.6.3: "If an implementation receives any other value, it MUST terminate … with an "illegal_parameter"". */
		if (bytes[i] > 1)
			return &TLS_KEY_UPDATE_VALUE;
		return update_received(t, bytes[i] == 1);
	}
	return NULL;
}

static const struct reason *alert_received(struct tls *t, const uint8_t *bytes, uint32_t n, bool *by_peer)
{
	/* RFC 8446 §5.1: alerts "MUST NOT be fragmented across records"; nobody does it in TLS 1.2 either. */
	if (n != 2)
		return &TLS_ALERT_MALFORMED;
	if (bytes[1] == TLS_ALERT_CLOSE_NOTIFY) {
		t->in_done = true;
		return NULL;
	}
	/* RFC 8446 §6.1: user_canceled "SHOULD be followed by a "close_notify"". §6.2: all others end TLS 1.3, whatever
	 * their level says; in TLS 1.2 the level counts. */
	if (bytes[1] == TLS_ALERT_USER_CANCELED || (t->version == TLS_1_2 && bytes[0] == TLS_ALERT_WARNING))
		return NULL;
	*by_peer = true;
	return tls_alert_reason(bytes[1]);
}

/* The next record in wire_in. WAIT: it is not whole. NEXT: *bytes long. END: it was refused. */
static enum move record_await(struct tls *t, uint32_t *bytes)
{
	uint8_t header[TLS_HEADER_BYTES];
	const struct reason *reason;

	if (wire_look(t->wire_in, header, sizeof header) < sizeof header)
		return WAIT;
	reason = tls_header_check(&t->in, header, bytes);
	if (reason)
		return fail(t, reason, true);
	return t->wire_in->bytes >= *bytes ? NEXT : WAIT;
}

/* A record that straddles chunks is opened into a chunk of its own: the cipher's pass gathers it. */
static const struct reason *record_gather(struct tls *t, uint32_t bytes, struct chunk *to, struct tls_opened *opened)
{
	uint8_t head[TLS_HEAD_BYTES_MAX], tag[AEAD_TAG_BYTES];
	uint32_t head_bytes = tls_head_bytes(&t->in);
	struct tls_opening opening;

	wire_look(t->wire_in, head, head_bytes);
	pipe_consume(t->wire_in, head_bytes);
	tls_open_begin(&opening, &t->in, head, bytes, to->bytes);
	while (opening.left > 0) {
		size_t piece;
		const uint8_t *from = pipe_peek(t->wire_in, &piece);

		if (piece > opening.left)
			piece = opening.left;
		tls_open_add(&opening, from, (uint32_t)piece);
		pipe_consume(t->wire_in, piece);
	}
	wire_look(t->wire_in, tag, sizeof tag);
	pipe_consume(t->wire_in, sizeof tag);
	return tls_open_end(&opening, tag, opened);
}

static const struct reason *content_received(struct tls *t, const struct tls_opened *opened, bool *by_peer)
{
	/* Empty records and warnings are allowed, and cost us more than they cost the sender. Key updates have a count of
	 * their own. */
	if (opened->type == TLS_APPLICATION_DATA && opened->n > 0)
		t->useless = 0;
	else if (opened->type != TLS_HANDSHAKE && ++t->useless > USELESS_MAX)
		return &TLS_EMPTY_FLOOD;
	/* RFC 8446 §5.1: between the pieces of a handshake message "there MUST NOT be any other records". */
	if (t->message_bytes > 0 && opened->type != TLS_HANDSHAKE)
		return &TLS_MESSAGE_UNEXPECTED;
	switch (opened->type) {
	case TLS_APPLICATION_DATA:
		return NULL;
	case TLS_HANDSHAKE:
		return message_received(t, opened->bytes, opened->n);
	case TLS_ALERT:
		return alert_received(t, opened->bytes, opened->n, by_peer);
	case TLS_CHANGE_CIPHER_SPEC:
		return &TLS_RECORD_CCS;
	default:
		return &TLS_RECORD_TYPE;
	}
}

/* Opens one whole record, and hands on what it holds: with its chunk, where it lies alone in one or was gathered into one,
 * the chunk's edges drawn in to the content; as a copy, where other records share the chunk. */
static enum move record_receive(struct tls *t, uint32_t bytes)
{
	struct tls_opened opened = { 0 };
	struct chunk *chunk = NULL;
	bool by_peer = false;
	const struct reason *reason;
	size_t piece;
	uint8_t *record = pipe_peek(t->wire_in, &piece);

	if (piece < bytes) {
		chunk = chunk_take(t->wire_in->pool);
		reason = record_gather(t, bytes, chunk, &opened);
	} else {
		if (piece == bytes)
			chunk = pipe_take(t->wire_in);
		reason = tls_open(&t->in, record, bytes, &opened);
	}
	if (!reason)
		reason = content_received(t, &opened, &by_peer);
	if (reason || opened.type != TLS_APPLICATION_DATA)
		opened.n = 0;
	if (chunk) {
		chunk->begin = opened.n > 0 ? (uint32_t)(opened.bytes - chunk->bytes) : 0;
		chunk->end = chunk->begin + opened.n;
		pipe_put(t->plain_in, chunk);
	} else {
		pipe_write(t->plain_in, opened.bytes, opened.n);
		pipe_consume(t->wire_in, bytes);
	}
	return reason ? fail(t, reason, !by_peer) : NEXT;
}

/* What comes, or has come, behind the end is dropped. RFC 8446 §6.1: "Any data received after a closure alert has been
 * received MUST be ignored." */
static void in_end(struct tls *t, const struct reason *reason)
{
	t->in_done = true;
	pipe_refuse(t->wire_in, reason ? reason : &RING_DONE);
	if (reason)
		pipe_break(t->plain_in, reason);
	else
		pipe_end(t->plain_in);
}

static enum move carry_in(struct tls *t)
{
	if (t->in_done)
		return NEXT;
	if (t->plain_in->refusal) {
		in_end(t, t->plain_in->refusal);
		return NEXT;
	}
	for (unsigned records = 0; pipe_free(t->plain_in) > 0; records++) {
		uint32_t bytes;
		enum move move;

		if (records == STEP_RECORDS_MAX) {
			task_wake(&t->task);
			break;
		}
		move = record_await(t, &bytes);
		if (move == WAIT && t->wire_in->ended)
			in_end(t, t->wire_in->reason ? t->wire_in->reason : &TLS_TRUNCATED);
		if (move == NEXT)
			move = record_receive(t, bytes);
		if (move == END)
			return END;
		if (t->in_done && !t->plain_in->ended)
			in_end(t, NULL);
		if (move == WAIT || t->in_done)
			break;
	}
	/* The peer seals with this key longer than is good; it can be asked for another one. */
	if (!t->in_done && t->version == TLS_1_3 && tls_half_spent(&t->in) && !t->update_asked && !t->out_done) {
		t->update_asked = true;
		t->update_owed = false;
		update_send(t, true);
	}
	return NEXT;
}

/* ---- what goes out ---- */

/* One record of what is there, from however many chunks, straight into wire_out: the cipher's pass is the copy. */
static uint32_t record_content_bytes(struct tls *t)
{
	const uint64_t now_ms = t->task.scope->core->now_ms;
	uint32_t most, n;

	if (now_ms - t->sent_at_ms >= PAUSE_MS)
		t->streamed_bytes = 0;
	most = t->streamed_bytes < SMALL_RECORDS_BYTES ? SMALL_RECORD_BYTES : TLS_CONTENT_BYTES_MAX;
	n = t->plain_out->bytes < most ? (uint32_t)t->plain_out->bytes : most;
	t->sent_at_ms = now_ms;
	if (t->streamed_bytes < SMALL_RECORDS_BYTES)
		t->streamed_bytes += n;
	return n;
}

static void record_send(struct tls *t)
{
	uint32_t n = record_content_bytes(t);
	uint32_t bytes = tls_sealed_bytes(&t->out, n);
	size_t size;
	uint8_t *room = pipe_room(t->wire_out, bytes, &size);
	struct tls_sealing sealing;

	tls_seal_begin(&sealing, &t->out, TLS_APPLICATION_DATA, n, room);
	while (sealing.left > 0) {
		size_t piece;
		const uint8_t *from = pipe_peek(t->plain_out, &piece);

		if (piece > sealing.left)
			piece = sealing.left;
		tls_seal_add(&sealing, from, (uint32_t)piece);
		pipe_consume(t->plain_out, piece);
	}
	tls_seal_end(&sealing);
	pipe_commit(t->wire_out, bytes);
}

/* plain_out has ended and all of it is sealed. */
static void out_end(struct tls *t)
{
	t->out_done = true;
	if (t->plain_out->reason) {
		/* A close_notify would tell the client that what it has is whole. */
		pipe_break(t->wire_out, t->plain_out->reason);
	} else {
		seal_alert(t, TLS_ALERT_CLOSE_NOTIFY);
		pipe_end(t->wire_out);
	}
}

static enum move carry_out(struct tls *t)
{
	if (t->out_done)
		return NEXT;
	if (t->wire_out->refusal) {
		t->out_done = true;
		pipe_refuse(t->plain_out, t->wire_out->refusal);
		pipe_end(t->wire_out);
		return NEXT;
	}
	if (t->update_owed && pipe_free(t->wire_out) > 0) {
		/* RFC 8446 §4.6.3: "prior to sending its next Application Data record". */
		t->update_owed = false;
		update_send(t, false);
	}
	for (unsigned records = 0; t->plain_out->bytes > 0 && pipe_free(t->wire_out) > 0; records++) {
		if (records == STEP_RECORDS_MAX) {
			task_wake(&t->task);
			return NEXT;
		}
		if (tls_half_spent(&t->out)) {
			if (t->version == TLS_1_2)
				return fail(t, &TLS_KEY_SPENT, true);
			update_send(t, false);
		}
		record_send(t);
	}
	if (pipe_at_end(t->plain_out))
		out_end(t);
	return NEXT;
}

/* ---- open, closing, closed ---- */

static enum move step_open(struct tls *t)
{
	if (carry_in(t) == END || carry_out(t) == END)
		return END;
	return t->in_done || t->out_done ? NEXT : WAIT;
}

static enum move step_closing(struct tls *t)
{
	if (carry_in(t) == END || carry_out(t) == END)
		return END;
	if (!t->in_done || !t->out_done)
		return WAIT;
	/* No pipe tells the owner of this one: the last of the two ends may be that of wire_out, which is tcp's. */
	task_wake(t->owner_task);
	return NEXT;
}

static enum move step_closed(struct tls *t)
{
	keys_forget(t);
	return END;
}

static void tls_run(struct task *task)
{
	struct tls *t = owner_of(task, struct tls, task);

	check(t->magic == TLS_MAGIC);
	while (STEPS[t->step].run(t) == NEXT)
		t->step++;
}

void tls_attach(struct tls *t, struct scope *scope, struct tls_context *context, struct pipe *wire_in,
	struct pipe *wire_out, struct pipe *plain_in, struct pipe *plain_out)
{
	check(wire_in->bytes_max >= TLS_RECORD_BYTES_MAX);
	*t = (struct tls){
		.magic = TLS_MAGIC,
		.step = TLS_HELLO,
		.context = tls_context_take(context),
		.wire_in = wire_in,
		.wire_out = wire_out,
		.plain_in = plain_in,
		.plain_out = plain_out,
	};
	task_init(&t->task, scope, "tls", tls_run);
	admission_place_init(&t->place, &t->task);
	wire_in->reader = wire_out->writer = plain_in->writer = plain_out->reader = &t->task;
	task_wake(&t->task);
}

void tls_fini(struct tls *t)
{
	if (t->magic != TLS_MAGIC)
		return;
	task_fini(&t->task);
	if (t->wire_in->reader == &t->task)
		t->wire_in->reader = NULL;
	if (t->wire_out->writer == &t->task)
		t->wire_out->writer = NULL;
	if (t->plain_in->writer == &t->task)
		t->plain_in->writer = NULL;
	if (t->plain_out->reader == &t->task)
		t->plain_out->reader = NULL;
	keys_forget(t);
	free(t->sni);
	tls_identity_free(t->identity);
	tls_context_put(t->context);
	tls_zeroise(t, sizeof *t);
}
