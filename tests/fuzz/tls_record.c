/* tests/fuzz/tls_record.c — hostile records into an engine that has shaken hands.
 *
 * Random bytes alone never get past a tag. So the input is a small program: some of its steps seal records with the
 * client's true keys, of any type, length and padding, as a client that means ill would; some change a byte on the way,
 * some send bytes of their own, some cut what is sent into pieces. Watched is that
 * - nothing crashes, and every chunk comes back;
 * - what comes out of plain_in is exactly what honest records put in, up to the first fault;
 * - a changed byte, and bytes of our own making, never give anything but a named failure or a wait for more.
 *
 *   step: one byte of kind, then its arguments; see the switch. The first byte chooses suite and version.             */
#include "tls/context.c"
#include "tls/engine.c"

#include "ring/loop.h"
#include "tls/reason.h"
#include "tls/thread.h"

static const uint16_t SUITES_TRIED[] = { 0x1301, 0x1302, 0x1303, 0xC02B, 0xC030, 0xCCA8 };

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

struct fuzz {
	struct core core;
	struct scope scope;
	struct pipe wire_in, wire_out, plain_in, plain_out;
	struct tls tls;
	struct tls_half client;          /* what the client seals with */
	uint8_t wire[TLS_RECORD_BYTES_MAX + 64];
	uint8_t expected;                /* content is a count, so that order and loss show */
	uint8_t seen;
	bool hostile;                    /* something was sent that no client sends: from here on all may fail */
	size_t piece;
};

static const struct scope_kind KIND = { .name = "fuzz" };

static void run(struct fuzz *f)
{
	unsigned steps = 0;

	for (struct link *link; (link = link_take_first(&f->core.run)); steps++) {
		struct task *task = owner_of(link, struct task, in_run);

		check(steps < 10000);
		task->step(task);
	}
}

static void drop_all(struct pipe *p)
{
	size_t n;

	while (pipe_peek(p, &n))
		pipe_consume(p, n);
}

static void read_all(struct fuzz *f)
{
	size_t n;

	for (uint8_t *from; (from = pipe_peek(&f->plain_in, &n)); run(f)) {
		for (size_t i = 0; i < n; i++)
			check(from[i] == f->seen++);
		pipe_consume(&f->plain_in, n);
	}
	drop_all(&f->wire_out);
	run(f);
}

static void deliver(struct fuzz *f, const uint8_t *bytes, size_t n)
{
	/* Not more than some dozens, or most of the time goes into chunks. */
	size_t least = n / 64;

	while (n > 0 && !f->wire_in.ended) {
		size_t wanted = f->piece ? f->piece + least : n;
		size_t piece = wanted < n ? wanted : n;
		struct chunk *chunk = chunk_take(&f->core.pool);

		/* At the chunk's end, so that the next piece has to be a chunk of its own. */
		chunk->begin = (uint32_t)(CHUNK_BYTES - piece);
		chunk->end = CHUNK_BYTES;
		memcpy(chunk->bytes + chunk->begin, bytes, piece);
		pipe_put(&f->wire_in, chunk);
		bytes += piece;
		n -= piece;
		if (f->piece % 2)
			run(f);
	}
	run(f);
}

/* `inside`: n bytes of content, its type, and zeros behind it, which only TLS 1.3 has. */
static size_t seal(struct fuzz *f, uint8_t type, const uint8_t *content, uint32_t n, uint32_t padding)
{
	static uint8_t inside[TLS_CONTENT_BYTES_MAX + 1024];

	memcpy(inside, content, n);
	if (f->tls.version == TLS_1_2 || padding == 0 || n + padding > TLS_CONTENT_BYTES_MAX)
		return tls_seal(&f->client, type, inside, n, f->wire);
	/* The last byte of padding is the one that tls_seal takes for the type. */
	inside[n] = type;
	memset(inside + n + 1, 0, padding - 1);
	return tls_seal(&f->client, 0, inside, n + padding, f->wire);
}

static void step(struct fuzz *f, struct input *in)
{
	static uint8_t content[TLS_CONTENT_BYTES_MAX];
	uint8_t kind = take(in);
	uint32_t n, padding;
	size_t bytes;

	switch (kind % 9) {
	case 0: /* honest content, of any length */
	case 1:
		n = take(in);
		n = kind % 9 == 0 ? n : (n << 8 | take(in)) % (TLS_CONTENT_BYTES_MAX + 1);
		padding = kind & 0x80 ? take(in) * 8u : 0;
		for (uint32_t i = 0; i < n; i++)
			content[i] = (uint8_t)(f->expected + i);
		bytes = seal(f, TLS_APPLICATION_DATA, content, n, padding);
		/* Also after something hostile, which may be a mere warning; where it was the end, nothing comes out any more. */
		if (!f->tls.in_done)
			f->expected = (uint8_t)(f->expected + n);
		deliver(f, f->wire, bytes);
		break;
	case 2: /* a key update, in one piece; the client then changes its key */
		if (f->tls.version != TLS_1_3)
			break;
		memcpy(content, (uint8_t[]){ 24, 0, 0, 1, kind >= 0x80 }, 5);
		deliver(f, f->wire, seal(f, TLS_HANDSHAKE, content, 5, take(in)));
		tls_half_update(&f->client);
		break;
	case 3: /* anything, under true keys */
		n = take(in) % 16;
		for (uint32_t i = 0; i < n; i++)
			content[i] = take(in);
		kind = take(in);
		/* A type of nought is padding, and the content's last byte is the type then. */
		if (kind == TLS_APPLICATION_DATA || kind == 0)
			break;
		f->hostile = true;
		deliver(f, f->wire, seal(f, kind, content, n, take(in)));
		break;
	case 4: /* a changed byte */
		memset(content, 0xee, 64);
		bytes = seal(f, TLS_APPLICATION_DATA, content, 1 + kind % 64, 0);
		n = take(in);
		f->wire[n % bytes] ^= (uint8_t)(take(in) | 1);
		f->hostile = true;
		deliver(f, f->wire, bytes);
		break;
	case 5: /* bytes as they are */
		n = take(in) % 32;
		f->hostile = f->hostile || n > 0;
		for (uint32_t i = 0; i < n; i++)
			f->wire[i] = take(in);
		deliver(f, f->wire, n);
		break;
	case 6:
		f->piece = take(in);
		f->core.now_ms += kind * 16u;
		break;
	case 7: /* our own side */
		if (!f->plain_out.ended)
			pipe_write(&f->plain_out, content, 1 + (size_t)take(in) * 64);
		f->tls.out.records_max = f->tls.version == TLS_1_3 ? 1u + kind : f->tls.out.records_max;
		f->tls.in.records_max = 1u + kind;
		run(f);
		break;
	default:
		if (kind & 0x40)
			read_all(f);
		else if (kind & 0x20)
			pipe_end(&f->plain_out);
		else if (kind & 0x10)
			pipe_end(&f->wire_in);
		run(f);
		break;
	}
	/* Nobody is ever left without a name. */
	if (f->tls.step == TLS_CLOSED && f->tls.failure)
		check(f->plain_in.reason && f->plain_out.refusal && f->wire_out.ended);
}

static void begin(struct fuzz *f, struct tls_context *context, uint8_t first)
{
	static const uint8_t SECRET[64] = { 2, 7, 1, 8, 2, 8 };
	const struct tls_suite *suite = tls_suite_find(SUITES_TRIED[first % array_count(SUITES_TRIED)]);
	struct aead_pool *aeads = &tls_context_thread(context)->aeads;

	*f = (struct fuzz){ .core.pool = f->core.pool };
	link_init(&f->core.run);
	link_init(&f->core.later);
	link_init(&f->core.ended);
	link_init(&f->core.queue);
	timer_wheel_init(&f->core.wheel, 0);
	scope_open_root(&f->scope, &f->core, &KIND, "tests/fuzz/tls_record.c");
	pipe_init(&f->wire_in, &f->core.pool, PIPE_BYTES_MAX);
	pipe_init(&f->wire_out, &f->core.pool, PIPE_BYTES_MAX);
	pipe_init(&f->plain_in, &f->core.pool, PIPE_BYTES_MAX);
	pipe_init(&f->plain_out, &f->core.pool, PIPE_BYTES_MAX);
	tls_attach(&f->tls, &f->scope, context, &f->wire_in, &f->wire_out, &f->plain_in, &f->plain_out);
	f->tls.suite = suite;
	f->tls.version = suite->version;
	f->tls.step = TLS_OPEN;
	if (suite->version == TLS_1_3) {
		tls_half_init_secret(&f->tls.in, aeads, suite, SECRET, false);
		tls_half_init_secret(&f->tls.out, aeads, suite, SECRET, true);
		tls_half_init_secret(&f->client, aeads, suite, SECRET, true);
	} else {
		tls_half_init_key(&f->tls.in, aeads, suite, SECRET, SECRET + 32, false);
		tls_half_init_key(&f->tls.out, aeads, suite, SECRET, SECRET + 32, true);
		tls_half_init_key(&f->client, aeads, suite, SECRET, SECRET + 32, true);
	}
	run(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	/* A context of one's own without a certificate: no handshake is made here. Kept, as are the chunks, for speed. */
	static struct tls_thread thread;
	static struct tls_context context;
	static struct fuzz f;
	struct input in = { bytes, n };
	struct tls_fault fault;

	if (!context.magic) {
		context = (struct tls_context){ .magic = CONTEXT_MAGIC, .references = 1, .thread = &thread };
		check(tls_thread_init(&thread, &fault));
		chunk_pool_init(&f.core.pool, UINT64_MAX);
	}
	begin(&f, &context, take(&in));
	for (unsigned steps = 0; in.left > 0 && steps < 200; steps++)
		step(&f, &in);
	read_all(&f);
	/* All that honest records held has come out, unless something hostile came first or there is a reason. */
	if (!f.hostile && !f.tls.failure && !f.plain_in.ended)
		check(f.seen == f.expected);
	tls_half_fini(&f.client);
	tls_fini(&f.tls);
	pipe_fini(&f.wire_in);
	pipe_fini(&f.wire_out);
	pipe_fini(&f.plain_in);
	pipe_fini(&f.plain_out);
	check(chunk_pool_out(&f.core.pool) == 0);
	return 0;
}
