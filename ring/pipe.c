/* See ring/pipe.h. The only subtle things here are the hysteresis (pipe_opened) and when pipe_put copies. */
#include "ring/pipe.h"

#include <string.h>

void pipe_init(struct pipe *p, struct chunk_pool *pool, uint64_t bytes_max)
{
	check(bytes_max > 0);
	*p = (struct pipe){ .pool = pool, .bytes_max = bytes_max };
}

static void pipe_drop(struct pipe *p)
{
	while (p->first) {
		struct chunk *chunk = p->first;

		p->first = chunk->next;
		chunk_put(p->pool, chunk);
	}
	p->last = NULL;
	p->bytes = 0;
}

void pipe_fini(struct pipe *p)
{
	if (p->pool)
		pipe_drop(p);
	*p = (struct pipe){ 0 };
}

static void pipe_grew(struct pipe *p, uint64_t n)
{
	p->bytes += n;
	p->bytes_passed += n;
	if (p->bytes >= p->bytes_max)
		p->full = true;
	if (n > 0)
		task_wake(p->reader);
}

static void pipe_shrank(struct pipe *p, uint64_t n)
{
	p->bytes -= n;
	if (p->full && p->bytes <= p->bytes_max / 2) {
		p->full = false;
		task_wake(p->writer);
	}
}

static void pipe_link(struct pipe *p, struct chunk *chunk)
{
	chunk->next = NULL;
	if (p->last)
		p->last->next = chunk;
	else
		p->first = chunk;
	p->last = chunk;
}

uint8_t *pipe_room(struct pipe *p, size_t least, size_t *size)
{
	check(least >= 1 && least <= CHUNK_BYTES);
	check(!p->ended);
	if (!p->last || CHUNK_BYTES - p->last->end < least)
		pipe_link(p, chunk_take(p->pool));
	*size = CHUNK_BYTES - p->last->end;
	return p->last->bytes + p->last->end;
}

/* Room that was asked for and not used leaves an empty chunk at the end; it goes back, so that an empty pipe holds none. */
static void pipe_give_back_empty_last(struct pipe *p)
{
	struct chunk *before = NULL;

	if (!p->last || chunk_size(p->last) > 0)
		return;
	for (struct chunk *chunk = p->first; chunk != p->last; chunk = chunk->next)
		before = chunk;
	chunk_put(p->pool, p->last);
	p->last = before;
	if (before)
		before->next = NULL;
	else
		p->first = NULL;
}

void pipe_commit(struct pipe *p, size_t n)
{
	check(p->last && n <= CHUNK_BYTES - p->last->end);
	p->last->end += (uint32_t)n;
	if (p->refusal) {
		pipe_drop(p); /* behind a refusal the writer goes on as if all were well; its bytes vanish */
		return;
	}
	if (n == 0)
		pipe_give_back_empty_last(p);
	pipe_grew(p, n);
}

void pipe_write(struct pipe *p, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;

	check(!p->ended);
	if (p->refusal)
		return;
	while (n > 0) {
		size_t size;
		uint8_t *room = pipe_room(p, 1, &size);
		size_t part = n < size ? n : size;

		memcpy(room, from, part);
		p->last->end += (uint32_t)part;
		pipe_grew(p, part);
		from += part;
		n -= part;
	}
}

/* A small piece that fits behind the last bytes is copied there: without that a sender of single bytes would hold a whole chunk
 * with each. A larger one is not worth the copy; so a chunk holds at least about a quarter of what it could. */
void pipe_put(struct pipe *p, struct chunk *chunk)
{
	uint32_t n = chunk_size(chunk);

	check(!p->ended);
	if (p->refusal || n == 0) {
		chunk_put(p->pool, chunk);
		return;
	}
	if (p->last && n <= PIPE_COPY_BYTES_MAX && n <= CHUNK_BYTES - p->last->end) {
		memcpy(p->last->bytes + p->last->end, chunk->bytes + chunk->begin, n);
		p->last->end += n;
		chunk_put(p->pool, chunk);
	} else {
		pipe_give_back_empty_last(p); /* an empty chunk in the middle would look like an empty pipe */
		pipe_link(p, chunk);
	}
	pipe_grew(p, n);
}

uint64_t pipe_move(struct pipe *to, struct pipe *from, uint64_t n)
{
	uint64_t moved = 0;

	check(to != from);
	while (moved < n && from->bytes > 0) {
		uint32_t piece = chunk_size(from->first);

		if (piece <= n - moved) {
			pipe_put(to, pipe_take(from));
		} else {
			piece = (uint32_t)(n - moved);
			pipe_write(to, from->first->bytes + from->first->begin, piece);
			pipe_consume(from, piece);
		}
		moved += piece;
	}
	return moved;
}

void pipe_end(struct pipe *p)
{
	if (p->ended)
		return;
	p->ended = true;
	task_wake(p->reader);
}

void pipe_break(struct pipe *p, const struct reason *reason)
{
	if (p->ended)
		return;
	p->reason = reason;
	pipe_end(p);
}

void pipe_consume(struct pipe *p, uint64_t n)
{
	check(n <= p->bytes);
	for (uint64_t left = n; left > 0;) {
		struct chunk *chunk = p->first;
		uint32_t size = chunk_size(chunk);

		if (left < size) {
			chunk->begin += (uint32_t)left;
			break;
		}
		left -= size;
		p->first = chunk->next;
		if (!p->first)
			p->last = NULL;
		chunk_put(p->pool, chunk);
	}
	pipe_shrank(p, n);
}

struct chunk *pipe_take(struct pipe *p)
{
	struct chunk *chunk = p->first;

	if (p->bytes == 0)
		return NULL;
	p->first = chunk->next;
	if (!p->first)
		p->last = NULL;
	chunk->next = NULL;
	pipe_shrank(p, chunk_size(chunk));
	return chunk;
}

void pipe_refuse(struct pipe *p, const struct reason *reason)
{
	if (p->refusal)
		return;
	p->refusal = reason;
	pipe_drop(p);
	p->full = false;
	task_wake(p->writer);
}
