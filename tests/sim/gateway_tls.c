/* tests/sim/gateway_tls.c — clients that speak TLS, and what is done to it on the way; see gateway.h.
 *
 *   asks ═▶ libssl ═▶ records ── touched by dice ──▶ socket ═▶ gateway        tls_client_send, records_say, wire_send
 *   answers ◀═ libssl ◀════════ touched by dice ──── socket ◀═ gateway        tls_client_receive, wire_receive
 *
 * libssl stands between two buffers and never sees a socket. What a client asks and what it may be told is the business of
 * gateway_client.c, as without TLS; here are the handshake, the records, and the end: an answer is whole only behind a
 * close_notify or its own length, never behind a bare FIN.
 *
 * Words:  touch  what is wrong with one client's TLS: it is damaged on the way, breaks off, or asks for what nobody has
 *         wire   the bytes outside TLS
 *
 * What must hold.  An untouched client never sees TLS fail, and the gateway never ends it by a bare FIN once it has said anything.
 * Of a touched one nothing comes through behind the touch. A client that is silent in its handshake is gone when its time is over.
 * Who asks for what nobody has is told so by the right alert, and metrics count the reason. */
#include "tests/sim/gateway.h"

#include "gateway/verdict.h"
#include "tests/sim/gateway_pem.h"
#include "tls/engine.h"
#include "tls/handshake.h"
#include "tls/reason.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PIECE_MAX 16384u
#define WIRE_BYTES_MAX 40000u            /* more is not sealed before it is sent, nor received before it is read */
#define SESSIONS_MAX 8u
#define UPDATES_MAX 20u                  /* of a client that keeps the rules */
#define FLOOD_UPDATES 40u
#define HANDSHAKE_MS 60000u              /* enough for any client that goes on, however slowly */
#define ACCEPT_MS 5000u                  /* how long a client may lie in the listener's queue */

enum touch {
	TOUCH_NONE,
	/* before and in the handshake */
	TOUCH_MISFIT,                    /* wants what the gateway has not, or does not want what it has: enum misfit */
	TOUCH_HTTP,                      /* speaks plain HTTP */
	TOUCH_GARBAGE,                   /* speaks nothing */
	TOUCH_SILENT,                    /* stops somewhere in the handshake, and waits */
	/* on the way, anywhere */
	TOUCH_FLIP,                      /* a bit of what it sends */
	TOUCH_FLIP_IN,                   /* a bit of what it receives */
	TOUCH_DROP,                      /* a record is left out */
	TOUCH_TWICE,                     /* a record comes twice */
	TOUCH_INSERT,                    /* something that nobody sealed comes before a record */
	/* by the client itself, after the handshake */
	TOUCH_CLOSES,                    /* close_notify, and goes on */
	TOUCH_TRUNCATES,                 /* FIN without close_notify */
	TOUCH_AGAIN,                     /* too many key updates, or a renegotiation */
	TOUCH_COUNT
};

static const char *const touch_names[TOUCH_COUNT] = {
	"nothing", "misfit", "plain HTTP", "garbage", "silence", "a bit sent", "a bit received", "a record dropped", "a record twice",
	"a record put in", "close_notify and more", "FIN alone", "again and again",
};

/* What a misfit is told, or tells us, and what metrics call it. */
enum misfit { MISFIT_VERSION, MISFIT_GROUP, MISFIT_SUITE, MISFIT_PROTOCOL, MISFIT_TRUST, MISFIT_COUNT };

static const struct {
	const char *name;
	int alert;                       /* that the client is told; 0: it is the client that tells */
	const struct reason *reason;
} misfits[MISFIT_COUNT] = {
	[MISFIT_VERSION] = { "version", 70, &TLS_VERSION_UNSUPPORTED },
	[MISFIT_GROUP] = { "group", 40, &TLS_NOTHING_SHARED },
	[MISFIT_SUITE] = { "suite", 40, &TLS_NOTHING_SHARED },
	[MISFIT_PROTOCOL] = { "protocol", 120, &TLS_PROTOCOL_UNSUPPORTED },
	[MISFIT_TRUST] = { "trust", 0, &TLS_ALERT_RECEIVED },
};

struct session {
	SSL_SESSION *session;
	uint64_t wants;                  /* of the client that got it; a ticket is good for a hello that asks alike */
	uint64_t since_ns;
};

struct gw_tls {
	SSL_CTX *context;
	int files[4];                    /* certificate, key, certificate, key; -1: none */
	bool ecdsa, rsa;                 /* which the gateway has */
	unsigned handshake_ms;
	struct session sessions[SESSIONS_MAX];
	unsigned misfits_told[MISFIT_COUNT], http_told, silent_ended; /* what metrics must have counted */
	unsigned resumed, done;
};

struct tls_client {
	SSL *ssl;                        /* NULL: this client speaks something else */
	BIO *from_wire, *to_wire;        /* the SSL's */
	struct bytes wire;               /* to be sent */
	size_t wire_sent;
	uint64_t received;
	bool wire_ended;                 /* FIN, or what a reset leaves */
	int wire_error;
	bool open;                       /* the handshake is over, for this end */
	bool failed;                     /* libssl goes no further */
	bool waits;                      /* after a failure: for the gateway to end it */
	bool wrote;                      /* something was sealed for the gateway */
	bool writing;                    /* it is just now */
	unsigned updates, flights, records;
	int alert_told;                  /* by the gateway; -1: none */

	uint64_t wants;                  /* what its hello asks for, as a seed of its own, so that another can ask alike */
	bool wants_otherwise;            /* than the client whose session it brings */
	enum touch touch;
	enum misfit misfit;
	uint64_t touch_at;               /* which flight, record or byte */
	bool touched;
	bool silent, silent_in_handshake;
	size_t lost_from;                /* of c->out: what begins there cannot have come through; SIZE_MAX: all may */
	uint64_t dialled_ns, ended_ns;   /* ended: TLS has, or the wire */
};

static struct world *world_of(const struct client *c)
{
	return c->actor.world;
}

/* ---- what all clients share ---------------------------------------------------------------------------------------------------- */

static int file_of(const char *text)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void trust(SSL_CTX *context, const char *certificate)
{
	BIO *bio = BIO_new_mem_buf(certificate, -1);
	X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	check(x509 && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), x509) == 1);
	X509_free(x509);
	BIO_free(bio);
}

/* 1: the session is kept. */
static int session_came(SSL *ssl, SSL_SESSION *session)
{
	struct client *c = SSL_get_app_data(ssl);
	struct gw *gw = c->gw;
	struct session *place = &gw->tls->sessions[dice_below(gw_dice(gw), SESSIONS_MAX)];

	if (c->tls->touch != TOUCH_NONE)
		return 0;
	SSL_SESSION_free(place->session);
	*place = (struct session){ .session = session, .wants = c->tls->wants, .since_ns = gw->sim->world.now_ns };
	return 1;
}

static void info_came(const SSL *ssl, int where, int value)
{
	struct client *c = SSL_get_app_data(ssl);

	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		c->tls->alert_told = value & 255;
}

void gw_tls_open(struct gw *gw)
{
	struct dice *dice = gw_dice(gw);
	struct gw_tls *tls = calloc(1, sizeof *tls);
	unsigned kind = (unsigned)dice_below(dice, 4);

	check(tls);
	/* What a machine's openssl.cnf wishes is not what is tested here. */
	check(OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1);
	gw->tls = tls;
	/* With RSA alone a run is the same each time; the length of an ECDSA signature is chance. */
	tls->ecdsa = kind < 2;
	tls->rsa = kind > 0;
	tls->handshake_ms = gw->hasty ? (unsigned)dice_scaled(dice, 20, 3000) : HANDSHAKE_MS;
	tls->files[0] = tls->ecdsa ? file_of(ECDSA_CERTIFICATE) : -1;
	tls->files[1] = tls->ecdsa ? file_of(ECDSA_KEY) : -1;
	tls->files[2] = tls->rsa ? file_of(RSA_CERTIFICATE) : -1;
	tls->files[3] = tls->rsa ? file_of(RSA_KEY) : -1;
	tls->context = SSL_CTX_new(TLS_client_method());
	check(tls->context);
	trust(tls->context, ECDSA_CERTIFICATE);
	trust(tls->context, RSA_CERTIFICATE);
	SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(tls->context, session_came);
	SSL_CTX_set_info_callback(tls->context, info_came);
	SSL_CTX_set_mode(tls->context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
}

void gw_tls_config_say(struct gw *gw, struct bytes *text)
{
	const struct gw_tls *tls = gw->tls;
	bool more = false;

	bytes_say(text, "tls: { certificates: [");
	for (unsigned i = 0; i < 4; i += 2) {
		if (tls->files[i] >= 0)
			bytes_say(text, "%s { certificate: /proc/self/fd/%d, key: /proc/self/fd/%d }", more ? "," : "", tls->files[i],
			          tls->files[i + 1]);
		more |= tls->files[i] >= 0;
	}
	bytes_say(text, " ] }");
}

unsigned gw_tls_handshake_ms(const struct gw *gw)
{
	return gw->tls->handshake_ms;
}

void gw_tls_fini(struct gw *gw)
{
	struct gw_tls *tls = gw->tls;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		SSL_SESSION_free(tls->sessions[i].session);
	for (unsigned i = 0; i < 4; i++) {
		if (tls->files[i] >= 0)
			close(tls->files[i]);
	}
	SSL_CTX_free(tls->context);
	free(tls);
	gw->tls = NULL;
}

/* ---- what a client wants -------------------------------------------------------------------------------------------------------- */

/* A word of those, by dice. */
#define ONE_OF(dice, words) (words)[dice_below(dice, array_count(words))]

static void versions_roll(struct client *c, struct dice *dice, int *least, int *most)
{

	*least = dice_chance(dice, 40) ? TLS1_3_VERSION : TLS1_2_VERSION;
	*most = *least == TLS1_2_VERSION && dice_chance(dice, 60) ? TLS1_2_VERSION : TLS1_3_VERSION;
	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_VERSION)
		*least = *most = TLS1_1_VERSION;
	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_SUITE)
		*most = *least;
}

/* The first is what the client guesses; when the gateway has not that one, it asks for another hello. TLS 1.2 needs P-256 for a
 * certificate of that curve. */
static const char *groups_roll(struct client *c, struct dice *dice, bool only_13)
{
	static const char *const any[] = { "X25519:P-256", "P-256:X25519", "P-256", "P-384:P-256", "P-521:P-384:X25519:P-256" };
	static const char *const any_13[] = { "X25519", "P-384:X25519", "X25519:P-256", "P-521:P-256" };

	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_GROUP)
		return dice_chance(dice, 50) ? "P-384" : "P-521:P-384";
	return only_13 && dice_chance(dice, 50) ? ONE_OF(dice, any_13) : ONE_OF(dice, any);
}

static void suites_roll(struct client *c, struct dice *dice, SSL *ssl)
{
	static const char *const suites_13[] = {
		"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
		"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
	};
	static const char *const ciphers[] = { "AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305" };
	const struct gw_tls *tls = c->gw->tls;
	char text[200];

	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_SUITE) {
		check(SSL_set_ciphersuites(ssl, "TLS_AES_128_CCM_SHA256") == 1);
		check(SSL_set_cipher_list(ssl, dice_chance(dice, 50) ? "AES128-SHA" : "ECDHE-RSA-AES128-SHA:DHE-RSA-AES128-GCM-SHA256") == 1);
		return;
	}
	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_VERSION) {
		check(SSL_set_cipher_list(ssl, "ALL:@SECLEVEL=0") == 1);
		return;
	}
	check(SSL_set_ciphersuites(ssl, ONE_OF(dice, suites_13)) == 1);
	/* A session of TLS 1.2 is offered together with its suite. */
	if (dice_chance(dice, 40) || c->tls->wants_otherwise)
		return;
	snprintf(text, sizeof text, "ECDHE-%s-%s", !tls->rsa || (tls->ecdsa && dice_chance(dice, 50)) ? "ECDSA" : "RSA",
	         ONE_OF(dice, ciphers));
	check(SSL_set_cipher_list(ssl, text) == 1);
}

static void protocols_roll(struct client *c, struct dice *dice, SSL *ssl)
{
	static const unsigned char both[] = "\2h2\10http/1.1";

	if (c->tls->touch == TOUCH_MISFIT && c->tls->misfit == MISFIT_PROTOCOL)
		SSL_set_alpn_protos(ssl, both, 3);
	else if (dice_chance(dice, 40))
		SSL_set_alpn_protos(ssl, both, 12);
	else if (dice_chance(dice, 50))
		SSL_set_alpn_protos(ssl, both + 3, 9);
}

/* A ticket's age is told by the client; libssl would tell it by the machine's clock. */
static void session_roll(struct client *c, SSL *ssl)
{
	struct dice *dice = gw_dice(c->gw);
	size_t first = dice_below(dice, SESSIONS_MAX);
	struct session *s = NULL;

	for (size_t i = 0; i < SESSIONS_MAX && (!s || !s->session); i++)
		s = &c->gw->tls->sessions[(first + i) % SESSIONS_MAX];
	if (c->tls->touch == TOUCH_MISFIT || !s->session || !dice_chance(dice, 60))
		return;
	SSL_SESSION_set_time(s->session, (long)time(NULL) - (long)((world_of(c)->now_ns - s->since_ns) / (1000 * WORLD_MS)));
	SSL_set_session(ssl, s->session);
	if (dice_chance(dice, 80))
		c->tls->wants = s->wants;
	else
		c->tls->wants_otherwise = true;
	world_trace(world_of(c), "client %u offers a session, and asks %s", c->index, c->tls->wants_otherwise ? "otherwise" : "alike");
}

static void ssl_open(struct client *c)
{
	struct tls_client *t = c->tls;
	struct dice *dice = gw_dice(c->gw), wants;
	int least, most;
	SSL *ssl = SSL_new(c->gw->tls->context);

	check(ssl);
	t->ssl = ssl;
	t->from_wire = BIO_new(BIO_s_mem());
	t->to_wire = BIO_new(BIO_s_mem());
	check(t->from_wire && t->to_wire);
	BIO_set_mem_eof_return(t->from_wire, -1);
	SSL_set_bio(ssl, t->from_wire, t->to_wire);
	SSL_set_app_data(ssl, c);
	SSL_set_connect_state(ssl);
	if (t->touch == TOUCH_MISFIT)
		SSL_set_security_level(ssl, 0);
	t->wants = dice_next(dice);
	session_roll(c, ssl);
	wants.state = t->wants;
	versions_roll(c, &wants, &least, &most);
	check(SSL_set_min_proto_version(ssl, least) == 1 && SSL_set_max_proto_version(ssl, most) == 1);
	check(SSL_set1_groups_list(ssl, groups_roll(c, &wants, least == TLS1_3_VERSION)) == 1);
	suites_roll(c, &wants, ssl);
	protocols_roll(c, &wants, ssl);
	if (dice_chance(&wants, 80))
		SSL_set_tlsext_host_name(ssl, "sim.example");
	SSL_set1_host(ssl, "sim.example");
	if (t->touch == TOUCH_MISFIT && t->misfit == MISFIT_TRUST)
		SSL_set1_host(ssl, "another.example");
	if (dice_chance(dice, 30))
		SSL_set_max_send_fragment(ssl, (long)dice_scaled(dice, 512, 16384));
	/* Where many bytes travel in small pieces, padding would make too much of them. */
	if (dice_chance(dice, 15))
		SSL_set_block_padding(ssl, (size_t)dice_scaled(dice, 2, c->out.n > 20000 ? 100 : 4000));
}

/* Bytes that begin no TLS, or hardly. */
static void garbage_say(struct client *c, struct tls_client *t)
{
	static const uint8_t starts[][6] = {
		{ 0x80, 0x2e, 1, 3, 1, 0 }, { 0x16, 3, 1, 0, 5, 1 }, { 0x16, 3, 1, 0x40, 0, 1 }, { 0x16, 3, 1, 0xff, 0xff, 1 }, { 0x15, 3, 1, 0, 2, 2 },
		{ 0x14, 3, 3, 0, 1, 1 }, { 0x17, 3, 3, 0, 40, 9 }, { 0x16, 3, 1, 0, 200, 1 }, { 0 }, { 0x16, 3, 4, 1, 0, 1 },
	};
	struct dice *dice = gw_dice(c->gw);
	size_t n = dice_scaled(dice, 1, 20000);
	uint8_t *at;

	if (dice_chance(dice, 70))
		bytes_add(&t->wire, ONE_OF(dice, starts), sizeof starts[0]);
	at = bytes_room(&t->wire, n);
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)dice_next(dice);
}

static void touch_roll(struct client *c, struct tls_client *t)
{
	struct dice *dice = gw_dice(c->gw);

	t->touch = (enum touch)dice_between(dice, TOUCH_MISFIT, TOUCH_COUNT - 1);
	t->misfit = (enum misfit)dice_below(dice, MISFIT_COUNT);
	switch (t->touch) {
	case TOUCH_SILENT:
		t->touch_at = dice_below(dice, 3);
		break;
	case TOUCH_FLIP_IN:
		t->touch_at = dice_scaled(dice, 0, 10000);
		break;
	case TOUCH_CLOSES:
	case TOUCH_TRUNCATES:
	case TOUCH_AGAIN:
		t->touch_at = dice_below(dice, c->out.n + 1);
		break;
	default:
		t->touch_at = dice_chance(dice, 50) ? dice_below(dice, 6) : dice_scaled(dice, 0, 60);
	}
	t->waits = dice_chance(dice, 30);
}

/* After its asks are made. */
void tls_client_open(struct client *c)
{
	struct tls_client *t = calloc(1, sizeof *t);

	check(t);
	c->tls = t;
	t->lost_from = SIZE_MAX;
	t->alert_told = -1;
	if (c->manner == MANNER_TOUCHED)
		touch_roll(c, t);
	if (t->touch == TOUCH_HTTP)
		bytes_add(&t->wire, c->out.at, c->out.n);
	else if (t->touch == TOUCH_GARBAGE)
		garbage_say(c, t);
	/* A record has 22 bytes more than what is in it: many bytes in records of one byte take for ever. */
	c->writes_max = dice_scaled(gw_dice(c->gw), 1 + c->out.n / 50, PIECE_MAX + c->out.n);
	world_trace(world_of(c), "client %u: TLS, %s%s%s at %llu", c->index, touch_names[t->touch], t->touch == TOUCH_MISFIT ? " in " : "",
	            t->touch == TOUCH_MISFIT ? misfits[t->misfit].name : "", (unsigned long long)t->touch_at);
}

void tls_client_fini(struct client *c)
{
	if (!c->tls)
		return;
	SSL_free(c->tls->ssl);
	bytes_fini(&c->tls->wire);
	free(c->tls);
	c->tls = NULL;
}

/* ---- records, on their way out ---------------------------------------------------------------------------------------------------- */

static void touched(struct client *c, const char *what)
{
	struct tls_client *t = c->tls;

	t->touched = true;
	if (t->writing && t->lost_from == SIZE_MAX)
		t->lost_from = c->sent; /* what is being written is counted already */
	world_trace(world_of(c), "client %u: %s, behind byte %zu, record %u", c->index, what, c->sent, t->records);
}

static void junk_say(struct client *c)
{
	static const uint8_t junk[][8] = {
		{ 7, 0x15, 3, 3, 0, 2, 2, 40 }, { 7, 0x15, 3, 3, 0, 2, 1, 0 }, { 7, 0x15, 3, 3, 0, 2, 1, 90 }, { 5, 0x16, 3, 3, 0, 0 },
		{ 5, 0x17, 3, 3, 0, 0 }, { 6, 0x14, 3, 3, 0, 1, 2 }, { 5, 0x17, 3, 3, 0xff, 0xff }, { 5, 0x18, 3, 3, 0, 0 }, { 3, 0x17, 3, 3 },
		{ 6, 0x17, 3, 3, 0, 1, 0 },
	};
	struct dice *dice = gw_dice(c->gw);
	const uint8_t *one = ONE_OF(dice, junk);

	if (dice_chance(dice, 70)) {
		bytes_add(&c->tls->wire, one + 1, one[0]);
	} else {
		size_t n = dice_scaled(dice, 17, 600);
		const uint8_t head[5] = { 0x17, 3, 3, (uint8_t)(n >> 8), (uint8_t)n };
		uint8_t *at;

		bytes_add(&c->tls->wire, head, sizeof head);
		at = bytes_room(&c->tls->wire, n);
		for (size_t i = 0; i < n; i++)
			at[i] = (uint8_t)dice_next(dice);
	}
}

static void record_say(struct client *c, const uint8_t *record, size_t n)
{
	struct tls_client *t = c->tls;
	struct dice *dice = gw_dice(c->gw);
	bool here = !t->touched && t->records++ == t->touch_at;
	size_t at = t->wire.n;

	/* Without its Finished nobody gets in, nor with one that was changed, and behind a second one nothing fits. */
	if (here && !t->wrote && record[0] == 0x17 && (t->touch == TOUCH_DROP || t->touch == TOUCH_FLIP || t->touch == TOUCH_TWICE))
		t->lost_from = 0;
	if (here && t->touch == TOUCH_DROP) {
		touched(c, touch_names[t->touch]);
		return;
	}
	if (here && t->touch == TOUCH_INSERT) {
		touched(c, touch_names[t->touch]);
		junk_say(c);
	}
	bytes_add(&t->wire, record, n);
	if (here && t->touch == TOUCH_TWICE) {
		touched(c, touch_names[t->touch]);
		bytes_add(&t->wire, record, n);
	}
	if (here && t->touch == TOUCH_FLIP) {
		touched(c, touch_names[t->touch]);
		t->wire.at[at + (dice_chance(dice, 30) ? dice_below(dice, 5) : dice_below(dice, n))] ^= (uint8_t)(1u << dice_below(dice, 8));
	}
}

/* What libssl has said since the last time, which is always whole records. */
static void records_say(struct client *c)
{
	struct tls_client *t = c->tls;
	char *memory;
	size_t n = (size_t)BIO_get_mem_data(t->to_wire, &memory);
	const uint8_t *from = (const uint8_t *)memory;

	if (n == 0)
		return;
	t->flights++;
	if (t->touch == TOUCH_SILENT && !t->silent && !t->wrote && t->flights - 1 == t->touch_at) {
		/* A part of a hello, or all of it; of what follows not all, so that the handshake cannot be over. */
		size_t part = t->flights == 1 ? dice_between(gw_dice(c->gw), 0, n) : dice_below(gw_dice(c->gw), n);

		bytes_add(&t->wire, from, part);
		t->silent = t->silent_in_handshake = true;
		touched(c, touch_names[t->touch]);
	}
	while (n > 0 && !t->silent) {
		size_t size = 5 + ((size_t)from[3] << 8 | from[4]);

		check(n >= size);
		record_say(c, from, size);
		from += size;
		n -= size;
	}
	BIO_reset(t->to_wire);
}

/* ---- the wire ------------------------------------------------------------------------------------------------------------------------ */

static size_t piece_roll(const struct client *c, size_t n)
{
	return n > c->pieces_max ? (size_t)dice_between(gw_dice(c->gw), 1, c->pieces_max) : n;
}

/* False: nothing goes now. */
static bool wire_send(struct client *c, size_t most)
{
	struct tls_client *t = c->tls;
	size_t n = t->wire.n - t->wire_sent;
	long result;

	if (n == 0 || t->wire_error)
		return false;
	result = world_send(c->socket, t->wire.at + t->wire_sent, n < most ? n : most);
	if (result == -EAGAIN)
		return false;
	if (result < 0) {
		t->wire_error = (int)-result;
		return true;
	}
	t->wire_sent += (size_t)result;
	if (t->wire_sent == t->wire.n && t->wire.n > WIRE_BYTES_MAX && t->ssl) {
		t->received += t->wire_sent; /* both are only counted together */
		t->wire.n = t->wire_sent = 0;
	}
	return true;
}

static bool wire_receive(struct client *c)
{
	struct tls_client *t = c->tls;
	uint8_t bytes[PIECE_MAX];
	long result;

	if (t->wire_ended || (t->ssl && !t->failed && BIO_pending(t->from_wire) > (int)WIRE_BYTES_MAX))
		return false;
	result = world_receive(c->socket, bytes, dice_between(gw_dice(c->gw), 1, c->pieces_max));
	if (result == -EAGAIN)
		return false;
	if (result <= 0) {
		if (result < 0)
			t->wire_error = (int)-result;
		t->wire_ended = true;
		if (t->ended_ns == 0)
			t->ended_ns = world_of(c)->now_ns;
		return true;
	}
	if (t->touch == TOUCH_FLIP_IN && !t->touched && t->touch_at < t->received + (uint64_t)result) {
		bytes[t->touch_at >= t->received ? t->touch_at - t->received : 0] ^= (uint8_t)(1u << dice_below(gw_dice(c->gw), 8));
		touched(c, touch_names[t->touch]);
	}
	t->received += (uint64_t)result;
	if (!t->ssl)
		bytes_add(&c->in, bytes, (size_t)result);
	else if (!t->failed)
		check(BIO_write(t->from_wire, bytes, (int)result) == (int)result);
	return true;
}

/* ---- libssl -------------------------------------------------------------------------------------------------------------------------- */

static void ssl_failed(struct client *c)
{
	struct tls_client *t = c->tls;
	unsigned long error = ERR_peek_last_error();
	const char *why = ERR_reason_error_string(error);

	t->failed = true;
	if (t->ended_ns == 0)
		t->ended_ns = world_of(c)->now_ns;
	world_trace(world_of(c), "client %u: TLS fails: %s", c->index, why ? why : "?");
	/* A handshake that took too long is told so, with an alert of its own. */
	if (t->touch == TOUCH_NONE && !(c->gw->hasty && !t->open && t->alert_told >= 0))
		world_fail(world_of(c), "client %u: nobody has touched its TLS, and it fails: %s, alert %d", c->index, why ? why : "?", t->alert_told);
	ERR_clear_error();
	if (t->touch != TOUCH_MISFIT || t->open)
		return;
	if (misfits[t->misfit].alert && t->alert_told != misfits[t->misfit].alert)
		world_fail(world_of(c), "client %u is a misfit in %s and is told alert %d (%s)", c->index, misfits[t->misfit].name, t->alert_told,
		           why ? why : "?");
	if (misfits[t->misfit].alert)
		c->gw->tls->misfits_told[t->misfit]++;
}

/* True: it is over, or has gone on. */
static bool shake_hands(struct client *c)
{
	struct tls_client *t = c->tls;
	int result;

	if (!t->ssl || t->open || t->failed)
		return false;
	ERR_clear_error();
	result = SSL_do_handshake(t->ssl);
	if (result != 1) {
		if (SSL_get_error(t->ssl, result) == SSL_ERROR_WANT_READ)
			return false;
		ssl_failed(c);
		return true;
	}
	t->open = true;
	c->gw->tls->done++;
	c->gw->tls->resumed += SSL_session_reused(t->ssl) != 0;
	world_trace(world_of(c), "client %u: %s %s%s", c->index, SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl),
	            SSL_session_reused(t->ssl) ? ", resumed" : "");
	if (t->touch == TOUCH_MISFIT)
		world_fail(world_of(c), "client %u is a misfit in %s, and the handshake is done", c->index, misfits[t->misfit].name);
	return true;
}

bool tls_client_move(struct client *c, bool receives)
{
	struct tls_client *t = c->tls;
	bool moved;

	if (t->dialled_ns == 0) {
		t->dialled_ns = world_of(c)->now_ns;
		/* Not before: meanwhile others may have left it a session. */
		if (t->touch != TOUCH_HTTP && t->touch != TOUCH_GARBAGE)
			ssl_open(c);
	}
	moved = receives && wire_receive(c);
	moved |= shake_hands(c);
	if (t->ssl)
		records_say(c);
	return wire_send(c, piece_roll(c, t->wire.n - t->wire_sent)) || moved;
}

/* Something that the client does of itself between two writes. */
static void habit_act(struct client *c)
{
	struct tls_client *t = c->tls;
	struct dice *dice = gw_dice(c->gw);
	bool is_13 = SSL_version(t->ssl) == TLS1_3_VERSION;

	if (is_13 && t->updates < UPDATES_MAX && dice_chance(dice, 3)) {
		t->updates++;
		SSL_key_update(t->ssl, dice_chance(dice, 50) ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		return; /* it goes with the next write */
	}
	if (t->touched || c->sent < t->touch_at)
		return;
	switch (t->touch) {
	case TOUCH_CLOSES:
		touched(c, touch_names[t->touch]);
		SSL_shutdown(t->ssl);
		SSL_set_shutdown(t->ssl, SSL_get_shutdown(t->ssl) & ~SSL_SENT_SHUTDOWN);
		break;
	case TOUCH_AGAIN:
		/* Behind a renegotiation nothing comes. Updates are too many only if they come fast enough. */
		touched(c, touch_names[t->touch]);
		if (is_13)
			t->lost_from = SIZE_MAX;
		for (unsigned i = 0; is_13 && i < FLOOD_UPDATES; i++) {
			SSL_key_update(t->ssl, dice_chance(dice, 50) ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
			SSL_do_handshake(t->ssl);
		}
		if (!is_13) {
			SSL_renegotiate(t->ssl);
			SSL_do_handshake(t->ssl);
		}
		ERR_clear_error();
		break;
	case TOUCH_TRUNCATES:
		t->touched = true;
		t->lost_from = c->sent;
		break;
	default:
		break;
	}
}

/* As world_send would say; what cannot be said any more is heard by the next receive. */
long tls_client_send(struct client *c, const uint8_t *bytes, size_t n)
{
	struct tls_client *t = c->tls;
	int result;

	if (!t->ssl || !t->open || t->failed || t->wire_error || t->wire.n - t->wire_sent > WIRE_BYTES_MAX)
		return -EAGAIN;
	t->writing = true;
	habit_act(c);
	if (t->touch == TOUCH_TRUNCATES && t->touched) {
		while (wire_send(c, SIZE_MAX))
			;
		if (t->wire_sent == t->wire.n)
			world_shutdown(c->socket);
		t->writing = false;
		return -EAGAIN;
	}
	ERR_clear_error();
	result = SSL_write(t->ssl, bytes, (int)n);
	if (result > 0) {
		t->wrote = true;
		c->sent += (size_t)result; /* for records_say; the caller counts for himself */
		records_say(c);
		c->sent -= (size_t)result;
	} else if (SSL_get_error(t->ssl, result) == SSL_ERROR_SSL && t->touch != TOUCH_AGAIN) {
		ssl_failed(c);
	}
	t->writing = false;
	return result > 0 ? result : -EAGAIN;
}

/* The wire has ended, and all that came before it was read. */
static long wire_end(struct client *c)
{
	struct tls_client *t = c->tls;

	if (!t->wire_ended)
		return -EAGAIN;
	if (!t->ssl)
		return t->wire_error ? -t->wire_error : 0;
	/* A cut is a reset. A bare FIN looks like an end to whoever does not count. */
	if (!t->wire_error && c->manner == MANNER_POLITE && c->in.n > 0 && !c->gw->at_once)
		world_fail(world_of(c), "client %u sees a FIN without close_notify behind %zu bytes", c->index, c->in.n);
	return t->wire_error ? -t->wire_error : -ECONNABORTED;
}

long tls_client_receive(struct client *c, uint8_t *bytes, size_t n)
{
	struct tls_client *t = c->tls;
	int result;

	if (t->failed)
		return t->waits && !t->wire_ended ? -EAGAIN : t->wire_error ? -t->wire_error : -EPROTO;
	if (!t->ssl || !t->open)
		return wire_end(c);
	ERR_clear_error();
	result = SSL_read(t->ssl, bytes, (int)n);
	if (result > 0)
		return result;
	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return wire_end(c);
	default:
		ssl_failed(c);
		return t->waits && !t->wire_ended ? -EAGAIN : -EPROTO;
	}
}

void tls_client_shutdown(struct client *c)
{
	struct tls_client *t = c->tls;

	if (t->ssl && t->open && !t->failed)
		SSL_shutdown(t->ssl);
	ERR_clear_error();
}

/* It goes: the last words, as far as there is room for them. */
void tls_client_leave(struct client *c, bool says_so)
{
	struct tls_client *t = c->tls;

	if (says_so && dice_chance(gw_dice(c->gw), 70))
		tls_client_shutdown(c);
	if (t->ssl)
		records_say(c);
	while (wire_send(c, SIZE_MAX))
		;
}

uint64_t tls_client_passed(const struct client *c)
{
	return c->tls->wire_sent + c->tls->received;
}

bool tls_client_reads_answers(const struct client *c)
{
	return c->tls->ssl;
}

/* ---- what must hold ------------------------------------------------------------------------------------------------------------------- */

static void http_check(struct gw *gw, const struct client *c)
{
	static const char word[] = "tls_plain_http";

	if (!c->end_seen || c->error)
		return;
	if (c->in.n > 0 && (memcmp(c->in.at, "HTTP/1.1 400 ", 13) != 0 || !memmem(c->in.at, c->in.n, word, strlen(word))))
		world_fail(&gw->sim->world, "client %u speaks HTTP and is told something else", c->index);
	gw->tls->http_told += c->in.n > 0;
}

static void silence_check(struct gw *gw, const struct client *c)
{
	const struct tls_client *t = c->tls;
	/* A receive's deadline comes up to a thirty-second later than asked. */
	uint64_t most_ms = gw->tls->handshake_ms + gw->tls->handshake_ms / 32 + ACCEPT_MS;

	if (c->refused || !t->silent_in_handshake)
		return;
	if (t->ended_ns == 0)
		world_fail(&gw->sim->world, "client %u is silent in its handshake, and nobody ends it", c->index);
	if (t->ended_ns - t->dialled_ns > most_ms * WORLD_MS)
		world_fail(&gw->sim->world, "client %u is silent in its handshake, and is ended after %llu ms of %u", c->index,
		           (unsigned long long)((t->ended_ns - t->dialled_ns) / WORLD_MS), gw->tls->handshake_ms);
	gw->tls->silent_ended += !gw->drains && !gw->scarce && !gw->at_once;
}

void tls_client_check(struct gw *gw, const struct client *c)
{
	const struct tls_client *t = c->tls;

	if (t->touch == TOUCH_HTTP)
		http_check(gw, c);
	silence_check(gw, c);
	if (t->touch == TOUCH_MISFIT && t->misfit == MISFIT_TRUST && t->failed && t->waits && t->wire_ended && !t->wire_error)
		gw->tls->misfits_told[MISFIT_TRUST]++;
	for (unsigned i = 0; i < c->ask_count; i++) {
		const struct ask *ask = gw->asks[c->first_ask + i];

		if (ask->begin >= t->lost_from && (ask->arrivals > 0 || ask->answered))
			world_fail(&gw->sim->world, "request %u comes through behind: %s", ask->id, touch_names[t->touch]);
		if (!t->ssl && (ask->arrivals > 0 || ask->answered))
			world_fail(&gw->sim->world, "request %u comes through without TLS", ask->id);
	}
}

static uint64_t counted(const struct gw *gw, const struct reason *reason)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < gw->sim->cores.count; i++)
		n += metric_read(&gw->gateway.workers[i]->metrics.refusals[verdict_index(reason)]);
	return n;
}

static void counted_check(struct gw *gw, const struct reason *reason, uint64_t least)
{
	if (counted(gw, reason) < least)
		world_fail(&gw->sim->world, "%s: counted %llu times, and %llu clients have seen it", reason->name,
		           (unsigned long long)counted(gw, reason), (unsigned long long)least);
}

/* After tls_client_check of all of them. */
void gw_tls_check(struct gw *gw)
{
	const struct gw_tls *tls = gw->tls;

	world_trace(&gw->sim->world, "TLS: %u handshakes, %u resumed", tls->done, tls->resumed);
	counted_check(gw, &TLS_PLAIN_HTTP, tls->http_told);
	counted_check(gw, &CLIENT_HANDSHAKE_LATE, tls->silent_ended);
	counted_check(gw, &TLS_NOTHING_SHARED, tls->misfits_told[MISFIT_GROUP] + tls->misfits_told[MISFIT_SUITE]);
	counted_check(gw, &TLS_VERSION_UNSUPPORTED, tls->misfits_told[MISFIT_VERSION]);
	counted_check(gw, &TLS_PROTOCOL_UNSUPPORTED, tls->misfits_told[MISFIT_PROTOCOL]);
	counted_check(gw, &TLS_ALERT_RECEIVED, tls->misfits_told[MISFIT_TRUST]);
	for (unsigned i = 0; i < gw->sim->cores.count; i++) {
		const struct metrics *m = &gw->gateway.workers[i]->metrics;
		uint64_t begun = metric_read(&m->handshakes_begun), done = metric_read(&m->handshakes_done);
		uint64_t failed = metric_read(&m->handshakes_failed), refusals = 0;

		for (unsigned k = 0; k < verdict_count(); k++)
			refusals += metric_read(&m->refusals[k]);
		if (begun != done + failed)
			world_fail(&gw->sim->world, "core %u: %llu handshakes begun, %llu done, %llu failed", i, (unsigned long long)begun,
			           (unsigned long long)done, (unsigned long long)failed);
		if (failed > refusals)
			world_fail(&gw->sim->world, "core %u: %llu handshakes failed, and only %llu reasons are counted", i, (unsigned long long)failed,
			           (unsigned long long)refusals);
		if (metric_read(&m->refusals[verdict_count() - 1]) > 0)
			world_fail(&gw->sim->world, "core %u: a reason without a name was counted", i);
	}
}

/* A core sleeps: may this engine rest? */
void tls_rests(struct sim *sim, const struct tls *t)
{
	const struct chunk *first = t->wire_in->first;

	if (t->step == TLS_SHAKE_HANDS && !t->place.queued && tls_handshake_ready(t->handshake))
		gw_not_rest(sim, "a handshake was not looked at");
	if (t->step != TLS_OPEN && t->step != TLS_CLOSING)
		return;
	if (!t->out_done && t->plain_out->bytes > 0 && pipe_free(t->wire_out) > 0)
		gw_not_rest(sim, "bytes could be sealed");
	if (!t->out_done && pipe_at_end(t->plain_out))
		gw_not_rest(sim, "the end was not sealed");
	if (!t->in_done && pipe_free(t->plain_in) > 0 && pipe_at_end(t->wire_in))
		gw_not_rest(sim, "the end of the wire was not seen");
	/* As far as its length lies in one piece. */
	if (!t->in_done && pipe_free(t->plain_in) > 0 && first && chunk_size(first) >= 5) {
		const uint8_t *head = first->bytes + first->begin;

		if (t->wire_in->bytes >= 5 + ((uint64_t)head[3] << 8 | head[4]))
			gw_not_rest(sim, "a record could be opened");
	}
}
