/* Notifications, shared, and the queue of those that wait. */
#include "gateway/live/note.c"

#include <criterion/criterion.h>
#include <string.h>

static const struct note_limits WIDE = { .bytes_max = 1 << 20, .count_max = 1000 };

static struct note *note_of(const char *body)
{
	char id[NOTE_ID_SIZE + 1];

	note_id_make(id);
	return note_new(id, body, strlen(body));
}

static uint32_t references(const struct note *note)
{
	return atomic_load(&((struct note *)note)->references);
}

Test(gateway_live_note, its_text_is_the_message)
{
	struct note *note = note_new("0123456789abcdef0123456789abcdef", "{\"a\":1}", 7);
	static const char text[] = "{\"type\":\"notification\",\"id\":\"0123456789abcdef0123456789abcdef\",\"body\":{\"a\":1}}";

	cr_assert_eq(note->size, sizeof text - 1);
	cr_assert_arr_eq(note->text, text, note->size);
	note_put(note);
	note_put(NULL);
}

Test(gateway_live_note, ids_are_hexadecimal_and_differ)
{
	enum { COUNT = 2000 };
	static char ids[COUNT][NOTE_ID_SIZE + 1];

	for (unsigned i = 0; i < COUNT; i++) {
		note_id_make(ids[i]);
		cr_assert_eq(strlen(ids[i]), NOTE_ID_SIZE);
		cr_assert_eq(strspn(ids[i], "0123456789abcdef"), NOTE_ID_SIZE);
		for (unsigned k = 0; k < i; k++)
			cr_assert_str_neq(ids[i], ids[k]);
	}
}

Test(gateway_live_note, a_queue_keeps_its_order_and_shares_its_notes)
{
	struct note *notes[40];
	struct note_queue queue;
	uint64_t bytes = 0;

	note_queue_init(&queue);
	cr_assert_null(note_queue_first(&queue));
	note_queue_drop_first(&queue);
	for (unsigned i = 0; i < array_count(notes); i++)
		notes[i] = note_of("1");
	/* In and out at different paces, so that the ring turns and grows where it stands. */
	for (unsigned in = 0, out = 0; out < array_count(notes);) {
		for (unsigned k = 0; k < 3 && in < array_count(notes); k++) {
			cr_assert(note_queue_put(&queue, notes[in], &WIDE));
			cr_assert_eq(references(notes[in]), 2);
			bytes += notes[in++]->size;
		}
		cr_assert_eq(note_queue_first(&queue), notes[out]);
		bytes -= notes[out]->size;
		note_queue_drop_first(&queue);
		cr_assert_eq(references(notes[out++]), 1);
		cr_assert_eq(queue.bytes, bytes);
		cr_assert_eq(queue.count, in - out);
	}
	cr_assert_null(queue.notes, "its memory is given back");
	for (unsigned i = 0; i < array_count(notes); i++)
		note_put(notes[i]);
	note_queue_fini(&queue);
}

Test(gateway_live_note, a_full_queue_takes_nothing)
{
	const struct note_limits three = { .bytes_max = 1 << 20, .count_max = 3 };
	struct note *note = note_of("1");
	const struct note_limits bytes = { .bytes_max = 2 * (uint64_t)note->size, .count_max = 1000 };
	struct note_queue queue;

	note_queue_init(&queue);
	for (unsigned i = 0; i < 3; i++)
		cr_assert(note_queue_put(&queue, note, &three));
	cr_assert_not(note_queue_put(&queue, note, &three));
	cr_assert_eq(references(note), 4);
	cr_assert_eq(queue.count, 3);
	note_queue_fini(&queue);
	cr_assert_eq(references(note), 1);
	cr_assert(note_queue_put(&queue, note, &bytes));
	cr_assert(note_queue_put(&queue, note, &bytes));
	cr_assert_not(note_queue_put(&queue, note, &bytes));
	note_queue_fini(&queue);
	note_queue_fini(&queue);
	note_put(note);
}

Test(gateway_live_note, an_empty_queue_takes_a_note_of_any_size)
{
	const struct note_limits none = { .bytes_max = 1, .count_max = 1 };
	struct note *note = note_of("\"a long one\"");
	struct note_queue queue;

	note_queue_init(&queue);
	cr_assert(note_queue_put(&queue, note, &none));
	cr_assert_not(note_queue_put(&queue, note, &none));
	note_queue_fini(&queue);
	note_put(note);
}
