/* perf/load/rude.c — see rude.h. */
#include "perf/load/rude.h"

#include <string.h>
#include <sys/socket.h>

/* What rude clients do, one after the other. Frames are masked by four zeros. */
struct manner {
	enum leaves_at at;
	enum line_leaves by;
	const char *last;                /* what is said last, behind the upgrade; NULL: as much as the socket takes */
	size_t last_bytes;
};

#define LAST(text) text, sizeof text - 1
#define ZEROS "\0\0\0\0"
#define FLOOD_BYTES 4000u
#define FLOOD_FRAMES 200u

static_assert(8 + FLOOD_BYTES <= PIPE_COPY_BYTES_MAX, "a frame of a flood is never refused");

static const struct manner MANNERS[] = {
	{ LEAVES_HELLO, LINE_RESETS, LAST("") },                                          /* half a ClientHello, reset */
	{ LEAVES_UPGRADED, LINE_RESETS, LAST("\x81\x85" ZEROS "hello") },                 /* upgraded, a message, reset */
	{ LEAVES_UPGRADED, LINE_FINISHES, LAST("\x81\x85" ZEROS "hello") },               /* upgraded, a message, FIN */
	{ LEAVES_UPGRADED, LINE_VANISHES, LAST("\x81\x85" ZEROS "hello") },               /* upgraded, a message, and never heard of again */
	{ LEAVES_SHAKEN, LINE_RESETS, LAST("") },                                         /* a handshake, reset */
	{ LEAVES_UPGRADED, LINE_RESETS, LAST("\x81\x85" ZEROS "he") },                    /* half a frame, reset */
	{ LEAVES_UPGRADED, LINE_FINISHES, LAST("\x81\x85\0") },                           /* half a frame's header, FIN */
	{ LEAVES_UPGRADED, LINE_FINISHES, LAST("\x01\x83" ZEROS "hel") },                 /* half a message, FIN */
	{ LEAVES_UPGRADED, LINE_RESETS, LAST("\x01\x83" ZEROS "hel\x00\x81" ZEROS "l") }, /* half a message, reset */
	{ LEAVES_ASKING, LINE_FINISHES, LAST("") },                                       /* half an upgrade, FIN */
	{ LEAVES_ASKED, LINE_RESETS, LAST("") },                                          /* an upgrade whose answer nobody waits for, reset */
	{ LEAVES_UPGRADED, LINE_RESETS, LAST("\x88\x82" ZEROS "\x03\xe8") },              /* Close, reset */
	{ LEAVES_UPGRADED, LINE_VANISHES, LAST("\x88\x82" ZEROS "\x03\xe8") },            /* Close, and never heard of again */
	{ LEAVES_UPGRADED, LINE_VANISHES, LAST("\x81\x85" ZEROS "he") },                  /* half a frame, and never heard of again */
	{ LEAVES_UPGRADED, LINE_VANISHES, NULL, 0 },                                      /* messages whose echoes are never read */
};

void rude_starts(struct client *c)
{
	c->manner = &MANNERS[c->work->rude->begun++ % array_count(MANNERS)];
}

bool rude_is_plain(const struct client *c)
{
	return c->manner && c->manner->at == LEAVES_HELLO;
}

void rude_connects(struct client *c)
{
	if (c->manner && !c->manner->last)       /* a small window, so that echoes nobody reads are felt early */
		setsockopt(c->line->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int));
}

bool rude_leaves_at(const struct client *c, enum leaves_at at)
{
	if (!c->manner)
		return false;
	/* Half a ClientHello is all that is said on its line; and where there is no TLS, a connection is all the handshake there is. */
	if (at == LEAVES_CONNECTED)
		return c->manner->at == LEAVES_HELLO || (c->manner->at == LEAVES_SHAKEN && !c->line->tls);
	return c->manner->at == at;
}

/* As much as the socket takes. */
static void rude_floods(struct line *l)
{
	char frame[8 + FLOOD_BYTES] = "\x81\xfe\0\0" ZEROS;

	memset(frame + 8, 'x', FLOOD_BYTES);
	frame[2] = (char)(FLOOD_BYTES >> 8);
	frame[3] = (char)(FLOOD_BYTES & 255);
	for (unsigned i = 0; i < FLOOD_FRAMES; i++)
		line_say(l, frame, sizeof frame);
}

/* The oldest makes room for the next. */
static void rude_holds(struct rude *rude, struct line *line)
{
	struct line **place = &rude->held[rude->held_count++ % RUDE_HELD_MAX];

	if (*place)
		line_close(*place);
	*place = line;
}

void rude_leaves(struct client *c)
{
	const struct manner *manner = c->manner;
	struct rude *rude = c->work->rude;

	if (manner->at == LEAVES_HELLO)
		line_say(c->line, rude->hello.bytes, rude->hello.size / 2);
	else if (!manner->last)
		rude_floods(c->line);
	else
		line_say(c->line, manner->last, manner->last_bytes);
	/* Below TLS: no close_notify, as when a telephone loses its network. */
	line_leave(c->line, manner->by);
	if (manner->by == LINE_VANISHES)
		rude_holds(rude, c->line);
	c->line = NULL;
	client_left(c);
}
