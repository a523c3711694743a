/* ring/base.h — the few words every file uses.
 *
 * check()    our own mistake: always on, one fact each. The best answer to corrupt memory is to stop.
 * owner_of() from a member back to the struct that holds it.
 * struct link, an intrusive ring list: a link is in at most one list; an empty list is a link that points at itself.
 *
 * Owner: the struct that embeds the link.   Thread: any; nothing here is shared.
 * Units: none.   Errors: none; a failed check ends the process with file, line and the fact.   Limits: none. */
#ifndef RING_BASE_H
#define RING_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Noreturn void check_failed(const char *fact, const char *file, int line);

#define check(fact) ((fact) ? (void)0 : check_failed(#fact, __FILE__, __LINE__))

#define owner_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#define array_count(array) (sizeof(array) / sizeof((array)[0]))

struct link {
	struct link *next;
	struct link *previous;
};

static inline void link_init(struct link *link)
{
	link->next = link->previous = link;
}

/* True for an empty list, and for a link that is in no list. */
static inline bool link_alone(const struct link *link)
{
	return link->next == link;
}

static inline void link_put_last(struct link *list, struct link *link)
{
	link->previous = list->previous;
	link->next = list;
	list->previous->next = link;
	list->previous = link;
}

static inline void link_put_first(struct link *list, struct link *link)
{
	link_put_last(list->next, link);
}

/* Harmless on a link that is in no list. */
static inline void link_remove(struct link *link)
{
	link->previous->next = link->next;
	link->next->previous = link->previous;
	link_init(link);
}

/* The first link, taken out of the list; NULL when the list is empty. */
static inline struct link *link_take_first(struct link *list)
{
	struct link *first = list->next;

	if (first == list)
		return NULL;
	link_remove(first);
	return first;
}

/* Moves all of `from` behind what `to` holds; `from` is empty afterwards. */
static inline void link_move_all(struct link *to, struct link *from)
{
	if (link_alone(from))
		return;
	from->next->previous = to->previous;
	to->previous->next = from->next;
	from->previous->next = to;
	to->previous = from->previous;
	link_init(from);
}

#endif
