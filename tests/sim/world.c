/* tests/sim/world.c — time, descriptors, streams and actors; see world.h. */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the run ---- */

/* How rude this run is. About one in six is polite, so that a plain mistake is not hidden behind rudeness. */
static void habits_roll(struct habits *h, struct dice *dice)
{
	*h = (struct habits){
		.late_ns = 100000, .timeout_late_ns = 10000, .stream_bytes = 65536, .entries = KERNEL_ENTRIES,
	};
	if (dice_chance(dice, 16))
		return;
	h->late = (unsigned)dice_between(dice, 0, 70);
	h->late_ns = dice_scaled(dice, 1000, 5 * WORLD_MS);
	h->ends_early = (unsigned)dice_scaled(dice, 0, 50);
	h->short_send = (unsigned)dice_scaled(dice, 0, 60);
	h->again = (unsigned)dice_scaled(dice, 0, 40);
	h->no_buffers = (unsigned)dice_scaled(dice, 0, 20);
	h->accept_fails = (unsigned)dice_scaled(dice, 0, 20);
	h->descriptors_spent = (unsigned)dice_scaled(dice, 0, 10);
	h->connect_fails = (unsigned)dice_scaled(dice, 0, 30);
	h->connect_never = (unsigned)dice_scaled(dice, 0, 10);
	h->shuffled = (unsigned)dice_between(dice, 0, 60);
	h->early_return = (unsigned)dice_between(dice, 0, 10);
	h->reap_few = (unsigned)dice_between(dice, 0, 30);
	h->write_short = (unsigned)dice_scaled(dice, 0, 40);
	h->timeout_late_ns = dice_scaled(dice, 1000, 8 * WORLD_MS);
	h->stream_bytes = dice_chance(dice, 50) ? dice_between(dice, 2000, 128 * 1024) : dice_scaled(dice, 200, 8000);
	h->entries = dice_chance(dice, 50) ? (unsigned)dice_between(dice, 2, 12) : KERNEL_ENTRIES;
	h->split = (unsigned)dice_between(dice, 0, 60);
}

void world_init(struct world *world, const char *scenario, uint64_t seed, bool trace)
{
	memset(world, 0, sizeof *world);
	world->seed = seed;
	world->scenario = scenario;
	world->trace = trace;
	world->dice.state = seed * 0x2545F4914F6CDD1Du + 1;
	link_init(&world->actors);
	link_init(&world->things);
	/* A clock that begins at nothing would hide mistakes with the zero; one far from it would hide none. */
	world->now_ns = dice_between(&world->dice, 1, 1000000) * WORLD_MS + dice_below(&world->dice, WORLD_MS);
	world->fd_max = 10000;
	habits_roll(&world->habits, &world->dice);
	for (size_t i = 0; i < WORLD_PATTERN_BYTES; i++) {
		world->pattern[i] = (uint8_t)dice_next(&world->dice);
		world->pattern[i + WORLD_PATTERN_BYTES] = world->pattern[i];
	}
	world_trace(world, "habits: late %u%% (%llu us), ends early %u%%, short %u%%, again %u%%, no buffers %u%%, "
	            "stream %llu, entries %u", world->habits.late, (unsigned long long)world->habits.late_ns / 1000,
	            world->habits.ends_early, world->habits.short_send, world->habits.again, world->habits.no_buffers,
	            (unsigned long long)world->habits.stream_bytes, world->habits.entries);
}

void world_fini(struct world *world)
{
	struct link *link;

	while ((link = link_take_first(&world->things))) {
		struct thing *thing = owner_of(link, struct thing, in_world);

		free(thing->in.bytes);
		free(thing->content.bytes);
		free(thing);
	}
	free(world->by_fd);
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	world_loud(world);
	fprintf(stderr, "sim: scenario %s seed %llu failed: ", world->scenario, (unsigned long long)world->seed);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "; replay with: sim --scenario %s --seed %llu --trace\n", world->scenario,
	        (unsigned long long)world->seed);
	fflush(stderr);
	/* Not exit: leaks of a run that was cut short would drown its one sentence. */
	_Exit(1);
}

void world_trace(struct world *world, const char *format, ...)
{
	va_list arguments;

	if (!world->trace)
		return;
	printf("%12.6f ms  ", (double)world->now_ns / 1e6);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

int world_aside = -1;

void world_aside_empty(void)
{
	check(world_aside < 0 || (ftruncate(world_aside, 0) == 0 && lseek(world_aside, 0, SEEK_SET) == 0));
}

/* The torn ends of a few hundred lives are told on standard error, and nobody would read that. */
void world_quiet(struct world *world)
{
	if (world->trace || world_aside < 0)
		return;
	fflush(stderr);
	world->errors = dup(STDERR_FILENO);
	check(world->errors > 0 && dup2(world_aside, STDERR_FILENO) == STDERR_FILENO);
	world_aside_empty();
}

void world_loud(struct world *world)
{
	if (!world->errors)
		return;
	fflush(stderr);
	dup2(world->errors, STDERR_FILENO);
	close(world->errors);
	world->errors = 0;
	world_aside_empty();
}

void world_run(struct world *world)
{
	/* An actor may end another one, so the list is looked through again after each that has acted. */
	for (bool acted = true; acted;) {
		acted = false;
		for (struct link *l = world->actors.next; l != &world->actors; l = l->next) {
			struct actor *actor = owner_of(l, struct actor, in_world);

			if (actor->at_ns > world->now_ns)
				continue;
			actor->at_ns = ACTOR_ASLEEP;
			world->events++;
			actor->act(actor);
			acted = true;
			break;
		}
		if (acted)
			check(world->events < 100000000);
	}
	for (unsigned i = 0; i < WORLD_CORES_MAX; i++) {
		if (world->kernels[i])
			kernel_progress(world->kernels[i]);
	}
}

uint64_t world_next_ns(struct world *world)
{
	uint64_t next = UINT64_MAX;

	for (struct link *l = world->actors.next; l != &world->actors; l = l->next) {
		struct actor *actor = owner_of(l, struct actor, in_world);

		if (actor->at_ns < next)
			next = actor->at_ns;
	}
	for (unsigned i = 0; i < WORLD_CORES_MAX; i++) {
		uint64_t at = world->kernels[i] ? kernel_next_ns(world->kernels[i]) : UINT64_MAX;

		if (at < next)
			next = at;
	}
	return next;
}

/* ---- actors ---- */

void actor_init(struct actor *actor, struct world *world, actor_act *act, uint64_t in_ns)
{
	actor->world = world;
	actor->act = act;
	actor->at_ns = in_ns == ACTOR_ASLEEP ? ACTOR_ASLEEP : world->now_ns + in_ns;
	link_put_last(&world->actors, &actor->in_world);
}

void actor_in(struct actor *actor, uint64_t ns)
{
	actor->at_ns = actor->world->now_ns + ns;
}

void actor_wake(struct actor *actor)
{
	uint64_t soon;

	if (!actor)
		return;
	soon = actor->world->now_ns + dice_scaled(&actor->world->dice, 1000, 2 * WORLD_MS);
	if (soon < actor->at_ns)
		actor->at_ns = soon;
}

/* ---- descriptors ---- */

int world_descriptor(struct world *world, struct thing *thing)
{
	unsigned slot = 0;

	if (world->fd_open >= world->fd_max || dice_chance(&world->dice, world->habits.descriptors_spent))
		return -EMFILE;
	/* The lowest number that is free, as the system does: so a stale number soon names somebody else. */
	while (slot < world->fd_count && world->by_fd[slot])
		slot++;
	if (slot == world->fd_count) {
		world->fd_count++;
		world->by_fd = realloc(world->by_fd, world->fd_count * sizeof(struct thing *));
		check(world->by_fd);
	}
	world->by_fd[slot] = thing;
	world->fd_open++;
	world->fds_opened++;
	thing->fd = WORLD_FD_FIRST + (int)slot;
	return thing->fd;
}

struct thing *world_thing(struct world *world, int fd)
{
	unsigned slot = (unsigned)(fd - WORLD_FD_FIRST);

	return fd >= WORLD_FD_FIRST && slot < world->fd_count ? world->by_fd[slot] : NULL;
}

void world_descriptor_close(struct world *world, struct thing *thing)
{
	world->by_fd[thing->fd - WORLD_FD_FIRST] = NULL;
	world->fd_open--;
	world->fds_closed++;
	thing->fd = -1;
}

/* ---- streams ---- */

static void stream_init(struct stream *stream, size_t size_max)
{
	stream->bytes = malloc(size_max);
	check(stream->bytes);
	stream->size_max = size_max;
}

static size_t stream_write(struct stream *stream, const uint8_t *bytes, size_t n)
{
	size_t done = 0;

	if (n > stream->size_max - stream->size)
		n = stream->size_max - stream->size;
	while (done < n) {
		size_t at = (stream->first + stream->size) % stream->size_max;
		size_t piece = n - done < stream->size_max - at ? n - done : stream->size_max - at;

		memcpy(stream->bytes + at, bytes + done, piece);
		stream->size += piece;
		done += piece;
	}
	return n;
}

static size_t stream_read(struct stream *stream, uint8_t *bytes, size_t n)
{
	size_t done = 0;

	if (n > stream->size)
		n = stream->size;
	while (done < n) {
		size_t piece = n - done;

		if (piece > stream->size_max - stream->first)
			piece = stream->size_max - stream->first;
		memcpy(bytes + done, stream->bytes + stream->first, piece);
		stream->first = (stream->first + piece) % stream->size_max;
		stream->size -= piece;
		done += piece;
	}
	return n;
}

/* ---- sockets ---- */

struct thing *world_thing_new(struct world *world, enum world_kind kind)
{
	struct thing *thing = calloc(1, sizeof *thing);

	check(thing);
	thing->world = world;
	thing->kind = kind;
	thing->fd = -1;
	link_init(&thing->backlog);
	link_init(&thing->in_backlog);
	link_put_last(&world->things, &thing->in_world);
	return thing;
}

/* The kernels look for themselves (arm_ready); actors are told. */
static void changed(struct thing *thing)
{
	if (thing)
		actor_wake(thing->actor);
}

static void join(struct thing *a, struct thing *b)
{
	stream_init(&a->in, a->world->habits.stream_bytes);
	stream_init(&b->in, b->world->habits.stream_bytes);
	a->far = b;
	b->far = a;
}

void world_pair(struct world *world, struct thing **a, struct thing **b)
{
	*a = world_thing_new(world, WORLD_SOCKET);
	*b = world_thing_new(world, WORLD_SOCKET);
	join(*a, *b);
}

/* With SO_REUSEPORT several listen on one address; the system chooses among them. */
static struct thing *listener_find(struct world *world, const struct sockaddr *address, socklen_t size)
{
	struct thing *found = NULL;
	unsigned count = 0;

	for (struct link *l = world->things.next; l != &world->things; l = l->next) {
		struct thing *thing = owner_of(l, struct thing, in_world);

		if (thing->kind == WORLD_LISTENER && !thing->closed && thing->address_size == size &&
		    memcmp(&thing->address, address, size) == 0 && dice_below(&world->dice, ++count) == 0)
			found = thing;
	}
	return found;
}

static bool dial(struct thing *near, const struct sockaddr *address, socklen_t size)
{
	struct thing *listener = listener_find(near->world, address, size);
	struct thing *far;

	if (!listener || listener->backlog_count >= 64)
		return false;
	far = world_thing_new(near->world, WORLD_SOCKET);
	join(near, far);
	if (listener->dialled_in) {
		listener->dialled_in(listener, far);
	} else {
		link_put_last(&listener->backlog, &far->in_backlog);
		listener->backlog_count++;
	}
	return true;
}

struct thing *world_dial(struct world *world, const struct sockaddr *address, socklen_t size, struct actor *actor)
{
	struct thing *near = world_thing_new(world, WORLD_SOCKET);

	near->actor = actor;
	return dial(near, address, size) ? near : NULL;
}

int world_connect(struct thing *thing, const struct sockaddr *address, socklen_t size)
{
	static const int failures[] = { ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET };
	struct dice *dice = &thing->world->dice;

	if (dice_chance(dice, thing->world->habits.connect_fails))
		return -failures[dice_below(dice, array_count(failures))];
	return dial(thing, address, size) ? 0 : -ECONNREFUSED;
}

struct thing *world_accept(struct thing *listener)
{
	struct link *link = link_take_first(&listener->backlog);

	if (!link)
		return NULL;
	listener->backlog_count--;
	return owner_of(link, struct thing, in_backlog);
}

struct thing *world_listen(struct world *world, const struct sockaddr *address, socklen_t size,
                           void (*dialled_in)(struct thing *, struct thing *), void *owner)
{
	struct thing *listener = world_thing_new(world, WORLD_LISTENER);

	memcpy(&listener->address, address, size);
	listener->address_size = size;
	listener->dialled_in = dialled_in;
	listener->owner = owner;
	return listener;
}

/* Linux: the first call that looks is told sk_err, once; later sends say EPIPE, later receives say 0. */
static int error_take(struct thing *thing)
{
	int error = thing->error;

	thing->error = 0;
	return error;
}

long world_send(struct thing *thing, const void *bytes, size_t n)
{
	struct thing *far = thing->far;
	size_t done;

	if (thing->error)
		return -error_take(thing);
	if (!far)
		return -ENOTCONN;
	if (thing->fin_out || thing->dead)
		return -EPIPE;
	if (far->closed) {
		/* Nobody is there: the bytes are gone, and the answer is a reset. */
		thing->dead = true;
		thing->error = thing->fin_in ? EPIPE : ECONNRESET;
		thing->fin_in = true;
		changed(thing);
		return (long)n;
	}
	done = stream_write(&far->in, bytes, n);
	if (done == 0)
		return n == 0 ? 0 : -EAGAIN;
	changed(far);
	return (long)done;
}

long world_receive(struct thing *thing, void *bytes, size_t n)
{
	size_t done = stream_read(&thing->in, bytes, n);

	if (done > 0) {
		changed(thing->far);
		return (long)done;
	}
	if (thing->error)
		return -error_take(thing);
	if (thing->fin_in || thing->dead)
		return 0;
	return thing->far ? -EAGAIN : -ENOTCONN;
}

void world_shutdown(struct thing *thing)
{
	if (thing->fin_out || !thing->far)
		return;
	thing->fin_out = true;
	if (!thing->dead) {
		thing->far->fin_in = true;
		changed(thing->far);
	}
	changed(thing);
}

void world_reset(struct thing *thing)
{
	struct thing *far = thing->far;

	thing->closed = true;
	thing->in.size = 0;
	if (!far || far->closed || far->dead || thing->dead)
		return;
	far->error = far->fin_in ? EPIPE : ECONNRESET;
	far->dead = true;
	far->fin_in = true;
	/* What was under way may be lost with it. */
	if (dice_chance(&thing->world->dice, 50)) {
		size_t lost = dice_between(&thing->world->dice, 0, far->in.size);

		far->bytes_lost += lost;
		far->in.size -= lost;
	}
	changed(far);
}

void world_close(struct thing *thing)
{
	if (thing->kind == WORLD_LISTENER) {
		struct link *link;

		thing->closed = true;
		while ((link = link_take_first(&thing->backlog)))
			world_reset(owner_of(link, struct thing, in_backlog));
		thing->backlog_count = 0;
		return;
	}
	if (thing->closed)
		return;
	if (thing->kind == WORLD_SOCKET && (thing->aborts || thing->in.size > 0)) {
		world_reset(thing);
		return;
	}
	world_shutdown(thing);
	thing->closed = true;
	if (thing->far)
		changed(thing->far);
}

struct thing *world_source(struct world *world)
{
	struct thing *thing = world_thing_new(world, WORLD_SOURCE);

	thing->readable_ns = dice_chance(&world->dice, 30)
		? UINT64_MAX : world->now_ns + dice_below(&world->dice, 50 * WORLD_MS);
	return thing;
}

struct thing *world_file(struct world *world)
{
	struct thing *thing = world_thing_new(world, WORLD_FILE);

	stream_init(&thing->content, 1024 * 1024);
	return thing;
}

/* ---- the pattern ---- */

void world_pattern(struct world *world, uint32_t id, uint64_t at, void *bytes, size_t n)
{
	uint8_t *to = bytes;

	at += (uint64_t)id * 769;
	while (n > 0) {
		size_t piece = n < WORLD_PATTERN_BYTES ? n : WORLD_PATTERN_BYTES;

		memcpy(to, world->pattern + at % WORLD_PATTERN_BYTES, piece);
		at += piece;
		to += piece;
		n -= piece;
	}
}

bool world_pattern_is(struct world *world, uint32_t id, uint64_t at, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;

	at += (uint64_t)id * 769;
	while (n > 0) {
		size_t piece = n < WORLD_PATTERN_BYTES ? n : WORLD_PATTERN_BYTES;

		if (memcmp(from, world->pattern + at % WORLD_PATTERN_BYTES, piece) != 0)
			return false;
		at += piece;
		from += piece;
		n -= piece;
	}
	return true;
}
