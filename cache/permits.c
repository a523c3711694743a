/* See cache/permits.h. */
#include "cache/permits.h"

#include <stdlib.h>

#define PERMITS_MAGIC 0x7065726du /* "perm" */
#define PERMITS_BLOCK_SITES 64u

enum permit_way { PERMIT_OPEN /* the first, so that zeroed memory says it */, PERMIT_ALLOTTED, PERMIT_CLOSED };

/* `taken` may be below 0: what was given back after a recall had told it as spent. The decider has it booked, so it may be spent. */
struct permit {
	int64_t room;                    /* PERMIT_ALLOTTED: since the last recall */
	int64_t taken;                   /* … of it */
	enum permit_way way;
};

struct permits {
	uint32_t magic;
	unsigned sites_max;
	struct permit study;
	struct permit *blocks[];         /* NULL: all open, nothing taken */
};

static struct permit *permit_find(const struct permits *p, uint32_t site)
{
	struct permit *block;

	cache_check(p->magic == PERMITS_MAGIC);
	cache_check(site < p->sites_max);
	block = p->blocks[site / PERMITS_BLOCK_SITES];
	return block == NULL ? NULL : &block[site % PERMITS_BLOCK_SITES];
}

static struct permit *permit_of(struct permits *p, uint32_t site)
{
	if (site == COUNT_STUDY)
		return &p->study;
	if (permit_find(p, site) == NULL) {
		struct permit *block = calloc(PERMITS_BLOCK_SITES, sizeof(*block));

		cache_check(block != NULL);
		p->blocks[site / PERMITS_BLOCK_SITES] = block;
	}
	return permit_find(p, site);
}

static int64_t permit_left(const struct permit *permit)
{
	switch (permit->way) {
	case PERMIT_OPEN:
		return PERMIT_UNBOUNDED - permit->taken;
	case PERMIT_ALLOTTED:
		return permit->room - permit->taken;
	case PERMIT_CLOSED:
		break;
	}
	return 0;
}

struct permits *permits_new(const struct decider *d)
{
	const unsigned sites_max = decider_sites_max(d);
	struct permits *p;
	uint32_t site;

	p = calloc(1, sizeof(*p) + (sites_max / PERMITS_BLOCK_SITES + 1) * sizeof(p->blocks[0]));
	cache_check(p != NULL);
	p->magic = PERMITS_MAGIC;
	p->sites_max = sites_max;
	for (unsigned place = 0; decider_closed(d, place, &site); place++)
		permit_of(p, site)->way = PERMIT_CLOSED;
	return p;
}

void permits_free(struct permits *p)
{
	if (p == NULL)
		return;
	cache_check(p->magic == PERMITS_MAGIC);
	for (unsigned i = 0; i <= p->sites_max / PERMITS_BLOCK_SITES; i++)
		free(p->blocks[i]);
	p->magic = 0;
	free(p);
}

/* Of the count. */
static int64_t raise_of(const int64_t by[COUNT_KINDS])
{
	return by[COUNT_ENROLLED] - by[COUNT_WITHDRAWN];
}

bool permits_cover(const int64_t by[COUNT_KINDS])
{
	bool any = false;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		if (by[kind] < 0)
			return false;
		any |= by[kind] > 0;
	}
	return any && by[COUNT_WITHDRAWN] == 0;
}

bool permits_may_found(const struct permits *p, const int64_t by[COUNT_KINDS])
{
	return permits_cover(by) && (raise_of(by) <= 0 || permit_left(&p->study) >= raise_of(by));
}

bool permits_take(struct permits *p, uint32_t site, const int64_t by[COUNT_KINDS])
{
	struct permit *permit = permit_of(p, site);
	const int64_t more = raise_of(by);

	if (!permits_cover(by) || permit->way == PERMIT_CLOSED)
		return false;
	/* What does not move the count needs no room, and the study has nothing to say to it. */
	if (more > 0 && (permit_left(permit) < more || permit_left(&p->study) < more))
		return false;
	permit->taken += more;
	p->study.taken += more;
	return true;
}

void permits_give_back(struct permits *p, uint32_t site, const int64_t by[COUNT_KINDS])
{
	permit_of(p, site)->taken -= raise_of(by);
	p->study.taken -= raise_of(by);
}

void permits_ask(const struct permits *p, struct command *command)
{
	const struct permit *permit;

	if (command->kind != COMMAND_CHANGE || !permits_cover(command->by))
		return;
	permit = command->site == COUNT_SITE_NONE ? NULL : permit_find(p, command->site);
	command->asks = true;
	command->taken_site = permit == NULL ? 0 : permit->taken;
	command->taken_study = p->study.taken;
}

void permits_grant(struct permits *p, uint32_t site, int64_t room)
{
	struct permit *permit = permit_of(p, site);

	cache_check(room > 0);
	if (room == PERMIT_UNBOUNDED) {
		permit->way = PERMIT_OPEN;
		permit->room = 0;
		return;
	}
	cache_check(permit->way != PERMIT_OPEN);
	permit->way = PERMIT_ALLOTTED;
	permit->room += room;
}

int64_t permits_recall(struct permits *p, uint32_t site)
{
	struct permit *permit = permit_of(p, site);
	int64_t left = permit_left(permit);

	cache_check(permit->way != PERMIT_CLOSED);
	*permit = (struct permit){ .way = PERMIT_CLOSED };
	return left;
}
