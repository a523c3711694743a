/* See tls/handshake.h. */
#include "tls/handshake.h"
#include "tls/identity.h"
#include "tls/client_hello.h"
#include "tls/reason.h"
#include "tls/secret.h"
#include "tls/wire.h"

#include "mbedtls/ecp.h"
#include "mbedtls/rsa.h"
#include "mbedtls/ssl.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SPARES_MAX 8u
#define ALERT_BYTES_MAX (TLS_HEADER_BYTES + 8u + 2u + 1u + AEAD_TAG_BYTES)

struct tls_handshake {
	mbedtls_ssl_context ssl;
	struct link in_spares;
	struct tls_thread *thread;
	struct tls_host *host;           /* whose configuration `ssl` was set up with */

	/* From here on of one client: zeroised between two. */
	struct tls_choice *choice;
	struct pipe *wire_in;
	struct pipe *wire_out;
	uint32_t hello_left;             /* of the ClientHello's message, that mbedTLS has not read */
	uint32_t hello_record_left;      /* of the record that holds the next piece of it */
	uint8_t hello_header[TLS_HEADER_BYTES]; /* the one that mbedTLS gets */
	uint8_t hello_header_read;
	uint32_t record_rest;            /* of the record that mbedTLS has begun to read */
	uint64_t received_bytes;
	uint64_t sent_records;           /* encrypted ones, of TLS 1.3 */
	uint64_t sent_records_before;    /* of these, under the handshake's keys */
	uint8_t header[TLS_HEADER_BYTES]; /* of the record that is being received */
	uint8_t header_bytes;
	uint32_t record_left;
	uint16_t version;
	struct ticket_alike alike;       /* what this client's tickets are bound to */
	int clear_alert;                 /* that the client sent unencrypted; -1: none */
	bool done;
	bool resumed;
	bool too_long;
	bool had_secrets;                /* before the present step */
	uint8_t alert[ALERT_BYTES_MAX];  /* mbedTLS's own record, that is not sent yet */
	size_t alert_bytes;
	bool sent_encrypted;             /* or is about to: a ChangeCipherSpec went out */

	/* What the export callback gave us. */
	bool secrets, master;
	uint8_t client_secret[TLS_SECRET_BYTES_MAX];
	uint8_t server_secret[TLS_SECRET_BYTES_MAX];
	uint8_t master_secret[48];
	uint8_t client_random[32];
	uint8_t server_random[32];
};

/* OpenSSL's client of TLS 1.3 sends its alert unencrypted as long as it has not accepted our certificate, though the
 * server's keys are in use already; mbedTLS then finds a record that does not prove itself. So we look ourselves. Anyone
 * on the way could have written such a record, but could not do more with it than end a handshake, which he can anyway. */
static void watch_for_alert(struct tls_handshake *h, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		size_t piece = 1;

		if (h->record_left == 0) {
			h->header[h->header_bytes++] = *bytes;
			if (h->header_bytes == TLS_HEADER_BYTES) {
				h->header_bytes = 0;
				h->record_left = (uint32_t)h->header[3] << 8 | h->header[4];
			}
		} else {
			bool alert = h->header[0] == TLS_ALERT && h->header[3] == 0 && h->header[4] == 2;

			if (!alert)
				piece = n < h->record_left ? n : h->record_left;
			else if (h->record_left == 1)
				h->clear_alert = *bytes;
			h->record_left -= (uint32_t)piece;
		}
		bytes += piece;
		n -= piece;
	}
}

/* ---- mbedTLS's three callbacks ---- */

/* The hello as one record, however the client has cut it: tls/hello has seen that it is whole. mbedTLS refuses some that are
 * allowed, such as a first record of three bytes, or one of a version that nobody has yet. */
static size_t hello_read(struct tls_handshake *h, uint8_t *to, size_t n)
{
	size_t got = 0;

	while (got < n && h->hello_header_read < TLS_HEADER_BYTES)
		to[got++] = h->hello_header[h->hello_header_read++];
	while (got < n && h->hello_left > 0) {
		size_t piece = n - got;

		if (h->hello_record_left == 0) {
			uint8_t header[TLS_HEADER_BYTES];

			check(wire_read(h->wire_in, header, sizeof header) == sizeof header);
			h->hello_record_left = (uint32_t)header[3] << 8 | header[4];
		}
		if (piece > h->hello_record_left)
			piece = h->hello_record_left;
		if (piece > h->hello_left)
			piece = h->hello_left;
		check(piece > 0 && wire_read(h->wire_in, to + got, piece) == piece);
		h->hello_record_left -= (uint32_t)piece;
		h->hello_left -= (uint32_t)piece;
		got += piece;
	}
	return got;
}

/* The whole length of the record that comes next; 0 as long as its header is not there. */
static uint32_t record_bytes(const struct pipe *wire)
{
	uint8_t header[TLS_HEADER_BYTES];

	if (wire_look(wire, header, sizeof header) < sizeof header)
		return 0;
	return TLS_HEADER_BYTES + ((uint32_t)header[3] << 8 | header[4]);
}

bool tls_handshake_ready(const struct tls_handshake *h)
{
	uint32_t bytes = record_bytes(h->wire_in);

	/* A full pipe holds a record that is longer than any may be: mbedTLS will say so. */
	return h->hello_left > 0 || h->record_rest > 0 || h->wire_in->ended || pipe_free(h->wire_in) == 0 ||
	       (bytes > 0 && h->wire_in->bytes >= bytes);
}

static int handshake_receive(void *argument, unsigned char *to, size_t n)
{
	struct tls_handshake *h = argument;
	size_t got;

	if (h->hello_left > 0)
		return (int)hello_read(h, to, n);
	if (n > HANDSHAKE_BYTES_MAX - h->received_bytes) {
		h->too_long = true;
		return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
	}
	if (!tls_handshake_ready(h))
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (h->record_rest == 0)
		h->record_rest = record_bytes(h->wire_in);
	if (h->record_rest > 0 && n > h->record_rest)
		n = h->record_rest;
	got = wire_read(h->wire_in, to, n);
	watch_for_alert(h, to, got);
	h->record_rest -= h->record_rest < got ? h->record_rest : (uint32_t)got;
	h->received_bytes += got;
	if (got > 0)
		return (int)got;
	return pipe_at_end(h->wire_in) ? 0 : MBEDTLS_ERR_SSL_WANT_READ;
}

/* A record of its own, alone: in the clear, or encrypted in TLS 1.2. In TLS 1.3 its type is hidden, but behind our Finished mbedTLS sends
 * nothing else as short. */
static bool is_alert(const struct tls_handshake *h, const unsigned char *record, size_t n)
{
	if (n > ALERT_BYTES_MAX)
		return false;
	return record[0] == TLS_ALERT ||
	       (h->had_secrets && record[0] == TLS_APPLICATION_DATA && n == TLS_HEADER_BYTES + 2 + 1 + AEAD_TAG_BYTES);
}

static int handshake_send(void *argument, const unsigned char *from, size_t n)
{
	struct tls_handshake *h = argument;

	if (is_alert(h, from, n)) {
		memcpy(h->alert, from, n);
		h->alert_bytes = n;
		return (int)n;
	}
	/* mbedTLS gives whole records, one or several. */
	for (size_t at = 0; at + TLS_HEADER_BYTES <= n;) {
		if (from[at] == TLS_APPLICATION_DATA)
			h->sent_records++;
		if (from[at] == TLS_APPLICATION_DATA || from[at] == TLS_CHANGE_CIPHER_SPEC)
			h->sent_encrypted = true;
		at += TLS_HEADER_BYTES + ((size_t)from[at + 3] << 8 | from[at + 4]);
	}
	if (!h->wire_out->ended)
		pipe_write(h->wire_out, from, n);
	return (int)n;
}

static void handshake_export(void *argument, mbedtls_ssl_key_export_type type, const unsigned char *secret, size_t n,
	const unsigned char client_random[32], const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
	struct tls_handshake *h = argument;

	(void)prf; /* the suite tells */
	switch (type) {
	case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET:
		check(n <= sizeof h->client_secret);
		memcpy(h->client_secret, secret, n);
		break;
	case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET:
		check(n <= sizeof h->server_secret);
		memcpy(h->server_secret, secret, n);
		h->secrets = true;
		break;
	case MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET:
		check(n == sizeof h->master_secret);
		memcpy(h->master_secret, secret, n);
		memcpy(h->client_random, client_random, 32);
		memcpy(h->server_random, server_random, 32);
		h->master = true;
		break;
	default:
		break;
	}
}

/* ---- a life ---- */

/* Which of our suites the client offers, in its order: what a ticket is bound to. */
static void handshake_bind_tickets(struct tls_handshake *h, const struct tls_client_hello *hello)
{
	ticket_alike_make(&h->alike, hello->version, hello->extended_master_secret, hello->suites, hello->suite_count,
		(const char *)hello->name, hello->name ? hello->name_bytes : 0);
}

/* Making mbedTLS's context and wiping it costs a tenth of a handshake, most of it for two buffers of 16 KiB. So a few that
 * have served are kept, emptied, for the next clients of the same host. */
static struct tls_handshake *spare_take(struct tls_thread *thread, const struct tls_host *host)
{
	for (struct link *link = thread->spares.next; link != &thread->spares; link = link->next) {
		struct tls_handshake *h = owner_of(link, struct tls_handshake, in_spares);

		if (h->host == host) {
			link_remove(&h->in_spares);
			thread->spare_count--;
			return h;
		}
	}
	return NULL;
}

static void handshake_end(struct tls_handshake *h)
{
	mbedtls_ssl_free(&h->ssl);
	tls_zeroise(h, sizeof *h);
	free(h);
}

static void spare_end(struct tls_handshake *h)
{
	link_remove(&h->in_spares);
	h->thread->spare_count--;
	handshake_end(h);
}

static void handshake_wipe(struct tls_handshake *h)
{
	tls_zeroise((uint8_t *)h + offsetof(struct tls_handshake, choice), sizeof *h - offsetof(struct tls_handshake, choice));
}

/* The one that has not been of use for longest goes for it. */
static void spare_put(struct tls_handshake *h)
{
	struct tls_thread *thread = h->thread;

	if (thread->spare_count == SPARES_MAX)
		spare_end(owner_of(thread->spares.previous, struct tls_handshake, in_spares));
	handshake_wipe(h);
	link_put_first(&thread->spares, &h->in_spares);
	thread->spare_count++;
}

static struct tls_handshake *handshake_make(struct tls_thread *thread, struct tls_host *host)
{
	struct tls_handshake *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->thread = thread;
	h->host = host;
	link_init(&h->in_spares);
	mbedtls_ssl_init(&h->ssl);
	if (mbedtls_ssl_setup(&h->ssl, tls_host_config(host)) != 0) {
		handshake_end(h);
		return NULL;
	}
	mbedtls_ssl_set_bio(&h->ssl, h, handshake_send, handshake_receive, NULL);
	mbedtls_ssl_set_export_keys_cb(&h->ssl, handshake_export, h);
	return h;
}

struct tls_handshake *tls_handshake_new(struct tls_thread *thread, struct tls_choice *choice,
	const struct tls_client_hello *hello, uint32_t hello_bytes, struct pipe *wire_in, struct pipe *wire_out)
{
	struct tls_handshake *h = spare_take(thread, choice->host);

	if (!h)
		h = handshake_make(thread, choice->host);
	if (!h)
		return NULL;
	h->choice = choice;
	h->wire_in = wire_in;
	h->wire_out = wire_out;
	h->clear_alert = -1;
	h->version = hello->version;
	h->hello_left = hello_bytes;
	memcpy(h->hello_header, (const uint8_t[]){ TLS_HANDSHAKE, 3, 3, (uint8_t)(hello_bytes >> 8), (uint8_t)hello_bytes },
		sizeof h->hello_header);
	handshake_bind_tickets(h, hello);
	mbedtls_ssl_set_user_data_p(&h->ssl, choice);
	return h;
}

void tls_handshake_free(struct tls_handshake *h)
{
	if (!h)
		return;
	/* One that failed may be in any state. */
	if (h->done && mbedtls_ssl_session_reset(&h->ssl) == 0)
		spare_put(h);
	else
		handshake_end(h);
}

void tls_handshake_forget(struct tls_thread *thread, const struct tls_host *host)
{
	for (struct tls_handshake *h; (h = spare_take(thread, host));)
		handshake_end(h);
}

/* ---- why it failed ---- */

static const struct {
	int error;
	const struct reason *reason;
} FAILURES[] = {
	{ MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, &TLS_NOTHING_SHARED },
	{ MBEDTLS_ERR_SSL_PRIVATE_KEY_REQUIRED, &TLS_NOTHING_SHARED },
	{ MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, &TLS_VERSION_UNSUPPORTED },
	{ MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, &TLS_PROTOCOL_UNSUPPORTED },
	{ MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, &TLS_CERTIFICATE_MISSING },
	{ MBEDTLS_ERR_SSL_DECODE_ERROR, &TLS_HANDSHAKE_MALFORMED },
	{ MBEDTLS_ERR_SSL_INVALID_RECORD, &TLS_HANDSHAKE_MALFORMED },
	{ MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, &TLS_HANDSHAKE_ORDER },
	{ MBEDTLS_ERR_SSL_UNEXPECTED_RECORD, &TLS_HANDSHAKE_ORDER },
	{ MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, &TLS_HANDSHAKE_PARAMETER },
	{ MBEDTLS_ERR_SSL_UNSUPPORTED_EXTENSION, &TLS_HANDSHAKE_PARAMETER },
	{ MBEDTLS_ERR_SSL_BAD_INPUT_DATA, &TLS_HANDSHAKE_PARAMETER },
	{ MBEDTLS_ERR_SSL_INVALID_MAC, &TLS_HANDSHAKE_FORGED },
	{ MBEDTLS_ERR_ECP_VERIFY_FAILED, &TLS_HANDSHAKE_FORGED },
	{ MBEDTLS_ERR_RSA_VERIFY_FAILED, &TLS_HANDSHAKE_FORGED },
	{ MBEDTLS_ERR_SSL_ALLOC_FAILED, &TLS_HANDSHAKE_MEMORY },
	{ MBEDTLS_ERR_SSL_CONN_EOF, &TLS_HANDSHAKE_CUT },
	{ MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, &TLS_HANDSHAKE_CUT },
};

/* What is wrong with the client's certificate; NULL: nothing. It may be several things; the plainest is told. */
static const struct reason *certificate_failure(const struct tls_handshake *h)
{
	static const struct {
		uint32_t flags;
		const struct reason *reason;
	} CAUSES[] = {
		{ MBEDTLS_X509_BADCERT_REVOKED, &TLS_CERTIFICATE_REVOKED },
		{ MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE, &TLS_CERTIFICATE_EXPIRED },
		{ MBEDTLS_X509_BADCERT_OTHER, &TLS_CERTIFICATE_DEEP },     /* client_verified in tls/context */
		{ MBEDTLS_X509_BADCRL_EXPIRED | MBEDTLS_X509_BADCRL_FUTURE, &TLS_CERTIFICATE_LIST_OLD },
		{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, &TLS_CERTIFICATE_UNTRUSTED },
		{ MBEDTLS_X509_BADCRL_NOT_TRUSTED, &TLS_CERTIFICATE_LIST_MISSING },
		{ MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, &TLS_CERTIFICATE_USAGE },
		{ UINT32_MAX, &TLS_CERTIFICATE_BAD },
	};
	uint32_t flags = mbedtls_ssl_get_verify_result(&h->ssl);

	if (!tls_host_asks(h->choice->host) || flags == UINT32_MAX || flags == MBEDTLS_X509_BADCERT_MISSING)
		return NULL;
	for (size_t i = 0; i < array_count(CAUSES); i++)
		if (flags & CAUSES[i].flags)
			return CAUSES[i].reason;
	return NULL;
}

static const struct reason *handshake_failure(const struct tls_handshake *h, int error)
{
	/* An end that the socket gives a reason for (a reset, a deadline) is told as that. */
	if (error == MBEDTLS_ERR_SSL_CONN_EOF && h->wire_in->reason)
		return h->wire_in->reason;
	if (h->too_long)
		return &TLS_HANDSHAKE_LONG;
	/* The only look into mbedTLS's own fields: which alert it was is told nowhere else, and "the client does not know who
	 * issued our certificate" is the one thing that the log of a gateway is read for. */
	if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
		return tls_alert_reason(h->ssl.MBEDTLS_PRIVATE(in_msg)[1]);
	if (error == MBEDTLS_ERR_SSL_INVALID_MAC && h->clear_alert >= 0)
		return tls_alert_reason((uint8_t)h->clear_alert);
	if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || error == MBEDTLS_ERR_SSL_BAD_CERTIFICATE)
		return certificate_failure(h) ? certificate_failure(h) : &TLS_CERTIFICATE_BAD;
	/* With keys in use there is nothing left to agree on: it is the client's signature that does not prove its certificate. */
	if (error == MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE && h->secrets)
		return &TLS_HANDSHAKE_FORGED;
	for (size_t i = 0; i < array_count(FAILURES); i++)
		if (FAILURES[i].error == error)
			return FAILURES[i].reason;
	return &TLS_HANDSHAKE_FAILED;
}

/* Between our Finished and the client's, in TLS 1.3: mbedTLS would seal its alert with the handshake's keys still, but who has our Finished
 * reads with the application's. RFC 8446 §7.1: these "are derived … [from] ClientHello...server Finished". */
static void handshake_tell_sealed(struct tls_handshake *h, uint8_t alert)
{
	/* The session has another place until the client's Finished: the second look into mbedTLS's fields. */
	const mbedtls_ssl_session *session = h->ssl.MBEDTLS_PRIVATE(session_negotiate) ? h->ssl.MBEDTLS_PRIVATE(session_negotiate)
	                                                                               : h->ssl.MBEDTLS_PRIVATE(session);
	const struct tls_suite *suite = session ? tls_suite_find((uint16_t)session->MBEDTLS_PRIVATE(ciphersuite)) : NULL;
	const uint8_t bytes[2] = { TLS_ALERT_FATAL, alert };
	struct tls_half half;
	uint8_t *room;
	size_t size;

	check(suite && suite->version == TLS_1_3);
	tls_half_init_secret(&half, &h->thread->aeads, suite, h->server_secret, true);
	half.sequence = h->sent_records - h->sent_records_before; /* tickets, if it was a later one that failed */
	room = pipe_room(h->wire_out, tls_sealed_bytes(&half, sizeof bytes), &size);
	pipe_commit(h->wire_out, tls_seal(&half, TLS_ALERT, bytes, sizeof bytes, room));
	tls_half_fini(&half);
}

static bool about_certificate(const struct reason *reason)
{
	static const struct reason *const ABOUT[] = {
		&TLS_CERTIFICATE_MISSING, &TLS_CERTIFICATE_EXPIRED, &TLS_CERTIFICATE_REVOKED, &TLS_CERTIFICATE_UNTRUSTED,
		&TLS_CERTIFICATE_DEEP, &TLS_CERTIFICATE_LIST_OLD, &TLS_CERTIFICATE_LIST_MISSING, &TLS_CERTIFICATE_USAGE, &TLS_CERTIFICATE_BAD,
	};

	for (size_t i = 0; i < array_count(ABOUT); i++)
		if (ABOUT[i] == reason)
			return true;
	return false;
}

/* The client is told by mbedTLS, if it has an alert and the right keys; else by us, as long as nothing of ours is encrypted that we have
 * no keys for. What mbedTLS tells nobody: no group in common in TLS 1.2, say. */
void tls_handshake_tell(struct tls_handshake *h, const struct reason *reason)
{
	uint8_t record[] = { TLS_ALERT, 3, 3, 0, 2, TLS_ALERT_FATAL, 0 };

	/* A reset or a deadline is nothing that we have against the client. */
	if (reason == h->wire_in->reason || h->wire_out->ended || !tls_alert_for(reason, &record[6]))
		return;
	if (h->secrets) {
		handshake_tell_sealed(h, record[6]);
	} else if (h->alert_bytes > 0 && !about_certificate(reason)) {
		pipe_write(h->wire_out, h->alert, h->alert_bytes);
	} else if (!h->sent_encrypted) {
		/* certificate_required is TLS 1.3's. RFC 5246 §7.4.6: "if the client does not send any certificates, the server MAY …
		 * respond with a fatal handshake_failure alert." */
		if (reason == &TLS_CERTIFICATE_MISSING)
			record[6] = TLS_ALERT_HANDSHAKE_FAILURE;
		pipe_write(h->wire_out, record, sizeof record);
	}
}

/* The same when mbedTLS is done and has the right keys: it sees to the rest. */
static void done_tell(struct tls_handshake *h, const struct reason *reason)
{
	uint8_t alert;

	if (h->wire_out->ended || !tls_alert_for(reason, &alert))
		return;
	mbedtls_ssl_send_alert_message(&h->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
	pipe_write(h->wire_out, h->alert, h->alert_bytes);
}

enum tls_handshake_state tls_handshake_step(struct tls_handshake *h, const struct reason **reason)
{
	struct ticket_box *tickets = tls_host_tickets(h->choice->host);
	uint64_t opened_before = tickets ? tickets->opened : 0;
	int error;

	h->had_secrets = h->secrets;
	if (tickets)
		tickets->alike = &h->alike;
	error = mbedtls_ssl_handshake(&h->ssl);
	if (tickets) {
		tickets->alike = NULL;
		/* mbedTLS tells nobody which way it went, but it had the ticket opened. */
		h->resumed |= tickets->opened != opened_before;
	}

	/* Our Finished goes out in the call that makes the application's secrets, and under the handshake's keys. That call
	 * cannot be the last one, since the client's Finished answers ours; so what is sent from the next call on are
	 * tickets, and count for the sequence number of our first record. */
	if (!h->had_secrets && h->secrets)
		h->sent_records_before = h->sent_records;
	if (error == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_HANDSHAKE_WAITS;
	if (error != 0) {
		*reason = handshake_failure(h, error);
		tls_handshake_tell(h, *reason);
		return TLS_HANDSHAKE_REFUSED;
	}
	/* RFC 8446 §5.1: "Handshake messages MUST NOT span key changes." Something behind the client's Finished in the same
	 * record would be lost with mbedTLS's context, and it is forbidden. mbedTLS refuses it too; we do not rely on that. */
	if (mbedtls_ssl_check_pending(&h->ssl) != 0) {
		*reason = &TLS_HANDSHAKE_ORDER;
		done_tell(h, *reason);
		return TLS_HANDSHAKE_REFUSED;
	}
	/* Where no certificate is required mbedTLS lets a bad one pass; but who shows one means it. */
	*reason = certificate_failure(h);
	if (*reason) {
		done_tell(h, *reason);
		return TLS_HANDSHAKE_REFUSED;
	}
	h->done = true;
	return TLS_HANDSHAKE_DONE;
}

/* ---- what comes out ---- */

static void handshake_keys_12(struct tls_handshake *h, const struct tls_suite *suite, struct tls_half *in,
	struct tls_half *out)
{
	struct aead_pool *aeads = &h->thread->aeads;
	unsigned key_bytes = aead_key_bytes(suite->aead), iv_bytes = tls_iv_bytes(suite);
	uint8_t block[2 * AEAD_KEY_BYTES_MAX + 2 * AEAD_NONCE_BYTES];

	/* RFC 5246 §6.3: client_write_key, server_write_key, client_write_IV, server_write_IV; AEADs have no MAC keys. */
	tls_expand_key_block(suite->hash, h->master_secret, h->client_random, h->server_random, block,
		2 * key_bytes + 2 * iv_bytes);
	tls_half_init_key(in, aeads, suite, block, block + 2 * key_bytes, false);
	tls_half_init_key(out, aeads, suite, block + key_bytes, block + 2 * key_bytes + iv_bytes, true);
	/* Each side's Finished was the first record under these keys. */
	in->sequence = 1;
	out->sequence = 1;
	tls_zeroise(block, sizeof block);
}

const struct tls_suite *tls_handshake_keys(struct tls_handshake *h, struct tls_half *in, struct tls_half *out)
{
	const struct tls_suite *suite = tls_suite_find((uint16_t)mbedtls_ssl_get_ciphersuite_id_from_ssl(&h->ssl));
	struct aead_pool *aeads = &h->thread->aeads;

	check(h->done && suite);
	if (suite->version == TLS_1_2) {
		check(h->master);
		handshake_keys_12(h, suite, in, out);
	} else {
		check(h->secrets);
		tls_half_init_secret(in, aeads, suite, h->client_secret, false);
		tls_half_init_secret(out, aeads, suite, h->server_secret, true);
		out->sequence = h->sent_records - h->sent_records_before;
	}
	return suite;
}

const char *tls_handshake_protocol(const struct tls_handshake *h)
{
	return mbedtls_ssl_get_alpn_protocol(&h->ssl);
}

bool tls_handshake_begun(const struct tls_handshake *h)
{
	/* In TLS 1.2 there is no second hello. */
	return h->secrets || h->version == TLS_1_2;
}

bool tls_handshake_resumed(const struct tls_handshake *h)
{
	return h->resumed;
}

struct tls_identity *tls_handshake_identity(const struct tls_handshake *h)
{
	const mbedtls_x509_crt *certificate = tls_host_asks(h->choice->host) ? mbedtls_ssl_get_peer_cert(&h->ssl) : NULL;

	/* Where none is required, a bad one has ended the handshake (tls/context); this is the second lock. */
	return certificate && mbedtls_ssl_get_verify_result(&h->ssl) == 0 ? tls_identity_of(certificate) : NULL;
}
