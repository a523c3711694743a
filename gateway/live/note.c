/* See gateway/live/note.h. */
#include "gateway/live/note.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- a note ---------------------------------------------------------------------------------------------------------------- */

static char *add(char *to, const char *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

struct note *note_new(const char id[static NOTE_ID_SIZE + 1], const char *body, size_t size)
{
	static const char begin[] = "{\"type\":\"notification\",\"id\":\"", middle[] = "\",\"body\":";
	const size_t whole = sizeof begin - 1 + NOTE_ID_SIZE + sizeof middle - 1 + size + 1;
	struct note *note = malloc(sizeof *note + whole);
	char *at;

	check(note && whole <= UINT32_MAX);
	atomic_init(&note->references, 1);
	note->size = (uint32_t)whole;
	memcpy(note->id, id, NOTE_ID_SIZE + 1);
	at = add(note->text, begin, sizeof begin - 1);
	at = add(at, id, NOTE_ID_SIZE);
	at = add(at, middle, sizeof middle - 1);
	at = add(at, body, size);
	*at = '}';
	return note;
}

struct note *note_share(struct note *note)
{
	/* Whoever shares has a reference, so nothing can be freed meanwhile and no order is needed. */
	atomic_fetch_add_explicit(&note->references, 1, memory_order_relaxed);
	return note;
}

void note_put(struct note *note)
{
	/* Release: what this core read of it is read. Acquire: whoever frees it sees that all have. */
	if (note && atomic_fetch_sub_explicit(&note->references, 1, memory_order_acq_rel) == 1)
		free(note);
}

void note_id_make(char id[static NOTE_ID_SIZE + 1])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t bits[NOTE_ID_SIZE / 2];

	check(getrandom(bits, sizeof bits, 0) == sizeof bits);
	for (unsigned i = 0; i < sizeof bits; i++) {
		id[2 * i] = hex[bits[i] >> 4];
		id[2 * i + 1] = hex[bits[i] & 15];
	}
	id[NOTE_ID_SIZE] = '\0';
}

/* ---- a queue --------------------------------------------------------------------------------------------------------------- */

void note_queue_init(struct note_queue *queue)
{
	*queue = (struct note_queue){ .space = array_count(queue->own) };
}

static struct note **place(const struct note_queue *queue, uint32_t i)
{
	struct note *const *notes = queue->notes ? queue->notes : queue->own;

	return (struct note **)&notes[(queue->first + i) % queue->space];
}

void note_queue_fini(struct note_queue *queue)
{
	while (queue->count > 0)
		note_queue_drop_first(queue);
	free(queue->notes);
	note_queue_init(queue);
}

static void grow(struct note_queue *queue)
{
	struct note **larger = malloc(2 * queue->space * sizeof(struct note *));

	check(larger);
	for (uint32_t i = 0; i < queue->count; i++)
		larger[i] = *place(queue, i);
	free(queue->notes);
	queue->notes = larger;
	queue->space *= 2;
	queue->first = 0;
}

bool note_queue_put(struct note_queue *queue, struct note *note, const struct note_limits *limits)
{
	if (queue->count > 0 && (queue->count >= limits->count_max || note->size > limits->bytes_max ||
	                         queue->bytes > limits->bytes_max - note->size))
		return false;
	if (queue->count == queue->space)
		grow(queue);
	*place(queue, queue->count) = note_share(note);
	queue->count++;
	queue->bytes += note->size;
	return true;
}

struct note *note_queue_first(const struct note_queue *queue)
{
	return queue->count > 0 ? *place(queue, 0) : NULL;
}

void note_queue_drop_first(struct note_queue *queue)
{
	struct note *note = note_queue_first(queue);

	if (!note)
		return;
	queue->bytes -= note->size;
	queue->first = (queue->first + 1) % queue->space;
	queue->count--;
	note_put(note);
	/* A slow moment is over: its memory is not kept for the next one. */
	if (queue->count == 0 && queue->notes)
		note_queue_fini(queue);
}
