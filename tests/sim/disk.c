/* See tests/sim/disk.h. */
#include "tests/sim/disk.h"
#include "gateway/journal/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u
#define CHANGES_MAX 1000000u

/* The calls of gateway/journal/disk.h have no word for a disk, as the system's have none. */
static struct disk *used;

/* One state of a file or directory after another, from the durable one on. */
struct change {
	/* a file: bytes from `offset` on; or, with bytes NULL, cut to `offset` */
	uint8_t *bytes;
	size_t n;
	uint64_t offset;
	bool lost;                       /* a failed sync has dropped it */
	/* a directory: this name is that node from now on; NULL: it is gone */
	char name[DISK_NAME_BYTES_MAX];
	struct node *node;
	bool with_next;                  /* a rename: both or neither */
};

struct name {
	char text[DISK_NAME_BYTES_MAX];
	struct node *node;
};

struct node {
	struct node *next;
	bool directory, locked, snapshot;
	unsigned serial;
	uint8_t *bytes, *durable;        /* in the cache; on the disk */
	uint64_t size, durable_size;
	struct name *names, *durable_names;
	unsigned name_count, durable_name_count;
	struct change *changes;          /* since the last sync */
	unsigned change_count, change_room;
	struct node *copy;               /* while copying */
};

static struct node *node_new(struct disk *disk, bool directory)
{
	struct node *node = calloc(1, sizeof *node);

	check(node);
	node->directory = directory;
	node->next = disk->nodes;
	disk->nodes = node;
	return node;
}

struct disk *disk_new(void)
{
	struct disk *disk = calloc(1, sizeof *disk);

	check(disk);
	disk->root = node_new(disk, true);
	disk->room = UINT64_MAX;
	return disk;
}

static void changes_forget(struct node *node)
{
	for (unsigned i = 0; i < node->change_count; i++)
		free(node->changes[i].bytes);
	node->change_count = 0;
}

void disk_free(struct disk *disk)
{
	while (disk->nodes) {
		struct node *node = disk->nodes;

		disk->nodes = node->next;
		changes_forget(node);
		free(node->changes);
		free(node->bytes);
		free(node->durable);
		free(node->names);
		free(node->durable_names);
		free(node);
	}
	if (used == disk)
		used = NULL;
	free(disk);
}

void disk_use(struct disk *disk, struct world *world)
{
	used = disk;
	disk->world = world;
	for (struct node *node = disk->nodes; node; node = node->next)
		node->locked = false;
}

/* ---- states ---- */

static void size_set(uint8_t **bytes, uint64_t *size, uint64_t to)
{
	if (to > *size) {
		*bytes = realloc(*bytes, to);
		check(*bytes);
		memset(*bytes + *size, 0, to - *size);
	}
	*size = to;
}

static void file_apply(uint8_t **bytes, uint64_t *size, const struct change *change)
{
	if (!change->bytes) {
		size_set(bytes, size, change->offset);
		return;
	}
	if (change->offset + change->n > *size)
		size_set(bytes, size, change->offset + change->n);
	memcpy(*bytes + change->offset, change->bytes, change->n);
}

static void names_apply(struct name **names, unsigned *count, const struct change *change)
{
	unsigned i = 0;

	while (i < *count && strcmp((*names)[i].text, change->name) != 0)
		i++;
	if (!change->node) {
		check(i < *count);
		(*names)[i] = (*names)[--*count];
		return;
	}
	if (i == *count) {
		*names = realloc(*names, (*count + 1) * sizeof **names);
		check(*names);
		++*count;
	}
	memcpy((*names)[i].text, change->name, sizeof change->name);
	(*names)[i].node = change->node;
}

static void node_change(struct node *node, struct change change)
{
	check(node->change_count < CHANGES_MAX);
	if (node->change_count == node->change_room) {
		node->change_room = node->change_room ? node->change_room * 2 : 16;
		node->changes = realloc(node->changes, node->change_room * sizeof *node->changes);
		check(node->changes);
	}
	node->changes[node->change_count++] = change;
	if (node->directory)
		names_apply(&node->names, &node->name_count, &change);
	else
		file_apply(&node->bytes, &node->size, &change);
}

static void name_change(struct node *directory, const char *name, struct node *node, bool with_next)
{
	struct change change = { .node = node, .with_next = with_next };

	check(strlen(name) < sizeof change.name);
	strcpy(change.name, name);
	node_change(directory, change);
}

static struct node *name_find(const struct node *directory, const char *name)
{
	for (unsigned i = 0; i < directory->name_count; i++)
		if (strcmp(directory->names[i].text, name) == 0)
			return directory->names[i].node;
	return NULL;
}

/* What a failed sync has dropped is never saved, though the cache shows it. */
static void node_save(struct node *node)
{
	for (unsigned i = 0; i < node->change_count; i++) {
		if (node->changes[i].lost)
			continue;
		if (node->directory)
			names_apply(&node->durable_names, &node->durable_name_count, &node->changes[i]);
		else
			file_apply(&node->durable, &node->durable_size, &node->changes[i]);
	}
	changes_forget(node);
}

/* ---- the next disk ---- */

/* Each sector as it was at some moment since it was durable, and the size as well: nothing orders them. */
static void file_tear(struct node *to, const struct node *from, struct dice *dice)
{
	uint8_t **states = calloc(from->change_count + 1, sizeof *states);
	uint64_t *sizes = calloc(from->change_count + 1, sizeof *sizes);
	uint64_t size = 0, most = 0;
	const bool garbage = dice_chance(dice, 30);
	unsigned count = 0;

	check(states && sizes);
	for (unsigned i = 0; i <= from->change_count; i++) {
		if (i > 0 && from->changes[i - 1].lost && dice_chance(dice, 50))
			continue;
		if (count > 0)
			size = sizes[count - 1];
		else
			size = from->durable_size;
		sizes[count] = size;
		states[count] = malloc(size + 1);
		check(states[count]);
		if (size > 0)
			memcpy(states[count], count > 0 ? states[count - 1] : from->durable, size);
		if (i > 0)
			file_apply(&states[count], &sizes[count], &from->changes[i - 1]);
		if (sizes[count] > most)
			most = sizes[count];
		count++;
	}
	size = sizes[dice_chance(dice, 40) ? count - 1 : dice_below(dice, count)];
	size_set(&to->bytes, &to->size, size);
	for (uint64_t at = 0; at < size; at += SECTOR) {
		const unsigned state = (unsigned)(dice_chance(dice, 50) ? count - 1 : dice_below(dice, count));
		const uint64_t n = size - at < SECTOR ? size - at : SECTOR;
		uint64_t has = sizes[state] > at ? sizes[state] - at : 0;

		if (has > n)
			has = n;
		if (has > 0)
			memcpy(to->bytes + at, states[state] + at, has);
		for (uint64_t i = has; i < n && garbage; i++)
			to->bytes[at + i] = (uint8_t)dice_next(dice);
	}
	for (unsigned i = 0; i < count; i++)
		free(states[i]);
	free(states);
	free(sizes);
}

static void names_copy(struct name **to, unsigned *to_count, const struct name *from, unsigned count)
{
	*to_count = count;
	*to = count ? calloc(count, sizeof **to) : NULL;
	for (unsigned i = 0; i < count; i++) {
		(*to)[i] = from[i];
		(*to)[i].node = from[i].node->copy;
	}
}

/* A file system keeps the order of what it does to its directories. */
static void directory_tear(struct node *to, const struct node *from, struct dice *dice)
{
	unsigned kept = from->change_count;

	if (dice && kept > 0 && dice_chance(dice, 60))
		kept = (unsigned)dice_below(dice, kept + 1);
	while (kept > 0 && kept < from->change_count && from->changes[kept - 1].with_next)
		kept--;
	names_copy(&to->names, &to->name_count, from->durable_names, from->durable_name_count);
	for (unsigned i = 0; i < kept; i++) {
		struct change change = from->changes[i];

		if (change.node)
			change.node = change.node->copy;
		names_apply(&to->names, &to->name_count, &change);
	}
}

static struct disk *disk_copy(const struct disk *from)
{
	struct disk *to = calloc(1, sizeof *to);

	check(to);
	to->room = UINT64_MAX;
	for (struct node *node = from->nodes; node; node = node->next) {
		node->copy = node_new(to, node->directory);
		node->copy->snapshot = node->snapshot;
	}
	to->root = from->root->copy;
	return to;
}

struct disk *disk_after_power_cut(const struct disk *from, struct dice *dice)
{
	struct disk *to = disk_copy(from);

	for (struct node *node = from->nodes; node; node = node->next) {
		struct node *copy = node->copy;

		if (node->directory) {
			directory_tear(copy, node, dice);
			names_copy(&copy->durable_names, &copy->durable_name_count, NULL, 0);
			copy->durable_names = copy->name_count ? calloc(copy->name_count, sizeof *copy->names) : NULL;
			copy->durable_name_count = copy->name_count;
			if (copy->name_count)
				memcpy(copy->durable_names, copy->names, copy->name_count * sizeof *copy->names);
		} else {
			file_tear(copy, node, dice);
			size_set(&copy->durable, &copy->durable_size, copy->size);
			if (copy->size > 0)
				memcpy(copy->durable, copy->bytes, copy->size);
		}
	}
	return to;
}

/* The cache stays, and what is not durable stays so. */
struct disk *disk_after_kill(const struct disk *from)
{
	struct disk *to = disk_copy(from);

	for (struct node *node = from->nodes; node; node = node->next) {
		struct node *copy = node->copy;

		names_copy(&copy->names, &copy->name_count, node->durable_names, node->durable_name_count);
		names_copy(&copy->durable_names, &copy->durable_name_count, node->durable_names, node->durable_name_count);
		size_set(&copy->bytes, &copy->size, node->durable_size);
		size_set(&copy->durable, &copy->durable_size, node->durable_size);
		if (node->durable_size > 0) {
			memcpy(copy->bytes, node->durable, node->durable_size);
			memcpy(copy->durable, node->durable, node->durable_size);
		}
		for (unsigned i = 0; i < node->change_count; i++) {
			struct change change = node->changes[i];

			if (change.bytes) {
				change.bytes = malloc(change.n);
				check(change.bytes);
				memcpy(change.bytes, node->changes[i].bytes, change.n);
			}
			if (change.node)
				change.node = change.node->copy;
			node_change(copy, change);
		}
	}
	return to;
}

/* ---- faults ---- */

static bool fails(unsigned per_thousand)
{
	return !used->polite && dice_below(&used->world->dice, 1000) < per_thousand;
}

/* A directory's sync may be a snapshot's, whose failure is nobody else's. */
static void told(const struct node *node)
{
	if (!node->snapshot && !node->directory)
		used->failed = true;
	used->directory_failed |= node->directory;
	world_trace(used->world, "disk: EIO on %s", node->directory ? "a directory" : node->snapshot ? "a snapshot" : "a segment");
}

/* ---- writing and syncing ---- */

static int64_t node_write(struct node *node, const void *bytes, size_t n, uint64_t offset)
{
	struct change change = { .n = n, .offset = offset };

	if (fails(used->write_fails)) {
		told(node);
		return -EIO;
	}
	if (n > used->room)
		change.n = n = (size_t)used->room;
	if (n == 0)
		return -ENOSPC;
	if (used->room != UINT64_MAX)
		used->room -= n;
	change.bytes = malloc(n);
	check(change.bytes);
	memcpy(change.bytes, bytes, n);
	node_change(node, change);
	return (int64_t)n;
}

static int node_sync(struct node *node)
{
	if (fails(used->sync_fails)) {
		for (unsigned i = 0; i < node->change_count; i++)
			node->changes[i].lost |= !node->directory && dice_chance(&used->world->dice, 60);
		told(node);
		return -EIO;
	}
	node_save(node);
	return 0;
}

int64_t disk_node_write(struct thing *thing, const void *bytes, size_t n, uint64_t offset, bool synced)
{
	int64_t written;
	int result;

	if (thing->direct && ((uintptr_t)bytes % SECTOR || n % SECTOR || offset % SECTOR))
		world_fail(used->world, "a direct write of %zu bytes at %" PRIu64 " is not aligned", n, offset);
	if (!used->polite && n > 1 && dice_chance(&used->world->dice, used->world->habits.write_short))
		n = dice_between(&used->world->dice, thing->direct ? SECTOR : 1, n);
	/* It takes sectors, or none. */
	if (thing->direct && n > used->room)
		n = (size_t)used->room;
	if (thing->direct)
		n = n / SECTOR * SECTOR;
	if (n == 0)
		return -ENOSPC;
	written = node_write(thing->node, bytes, n, offset);
	if (written < 0 || !synced)
		return written;
	result = node_sync(thing->node);
	return result < 0 ? result : written;
}

int disk_node_sync(struct thing *thing)
{
	return node_sync(thing->node);
}

/* ---- gateway/journal/disk.h ---- */

static int opened(struct node *node)
{
	struct thing *thing = world_thing_new(used->world, WORLD_FILE);
	int fd;

	thing->node = node;
	fd = world_descriptor(used->world, thing);
	check(fd >= 0 || fd == -EMFILE);
	return fd;
}

static struct node *node_of(int fd)
{
	struct thing *thing = world_thing(used->world, fd);

	if (!thing || !thing->node)
		world_fail(used->world, "a plain call on descriptor %d, which is no file", fd);
	return thing->node;
}

static struct node *directory_of(int fd)
{
	struct node *node = node_of(fd);

	check(node->directory);
	return node;
}

int disk_directory_root(const char *path, bool make)
{
	(void)path, (void)make;
	return opened(used->root);
}

int disk_directory(int directory, const char *name, bool make)
{
	struct node *above = directory_of(directory), *node = name_find(above, name);

	if (!node && !make)
		return -ENOENT;
	if (!node) {
		node = node_new(used, true);
		name_change(above, name, node, false);
		node_save(above);
	}
	return node->directory ? opened(node) : -ENOTDIR;
}

int disk_directory_again(int directory)
{
	return opened(directory_of(directory));
}

int disk_directory_sync(int directory)
{
	return node_sync(directory_of(directory));
}

int disk_names(int directory, void (*each)(void *user, const char *name), void *user)
{
	const struct node *node = directory_of(directory);

	for (unsigned i = 0; i < node->name_count; i++)
		each(user, node->names[i].text);
	return 0;
}

int disk_make(int directory, const char *name)
{
	struct node *above = directory_of(directory), *node;

	if (name_find(above, name))
		return -EEXIST;
	if (used->room < SECTOR)
		return -ENOSPC;
	node = node_new(used, false);
	node->snapshot = strstr(name, "snapshot") != NULL;
	name_change(above, name, node, false);
	return opened(node);
}

int disk_open(int directory, const char *name)
{
	struct node *node = name_find(directory_of(directory), name);

	return node ? opened(node) : -ENOENT;
}

int disk_lock(int directory, const char *name)
{
	int fd = disk_open(directory, name);
	struct node *node;

	if (fd == -ENOENT)
		fd = disk_make(directory, name);
	if (fd < 0)
		return fd;
	node = node_of(fd);
	if (node->locked) {
		disk_close(fd);
		return -EWOULDBLOCK;
	}
	node->locked = true;
	return fd;
}

int disk_direct(int fd, bool direct)
{
	if (direct && used->indirect)
		return -EINVAL;
	check(!node_of(fd)->directory);
	world_thing(used->world, fd)->direct = direct;
	return 0;
}

void disk_close(int fd)
{
	struct thing *thing = world_thing(used->world, fd);

	check(thing && thing->node);
	if (thing->write || thing->queued)
		world_fail(used->world, "descriptor %d is closed with an operation in flight", fd);
	thing->closed = true;
	world_descriptor_close(used->world, thing);
}

int disk_rename(int directory, const char *from, const char *to)
{
	struct node *above = directory_of(directory), *node = name_find(above, from);

	if (!node)
		return -ENOENT;
	name_change(above, to, node, true);
	name_change(above, from, NULL, false);
	return 0;
}

int disk_remove(int directory, const char *name)
{
	struct node *above = directory_of(directory);

	if (!name_find(above, name))
		return -ENOENT;
	name_change(above, name, NULL, false);
	return 0;
}

int disk_read(int directory, const char *name, uint8_t **bytes, size_t *n)
{
	const struct node *node = name_find(directory_of(directory), name);

	if (!node)
		return -ENOENT;
	if (node->directory)
		return -EINVAL;
	*bytes = malloc(node->size + 1);
	check(*bytes);
	if (node->size > 0)
		memcpy(*bytes, node->bytes, node->size);
	*n = node->size;
	return 0;
}

int disk_read_at(int directory, const char *name, uint64_t offset, void *bytes, size_t n)
{
	const struct node *node = name_find(directory_of(directory), name);

	if (!node)
		return -ENOENT;
	if (node->size < offset + n)
		return -EIO;
	if (n > 0)
		memcpy(bytes, node->bytes + offset, n);
	return 0;
}

int disk_write(int fd, const void *bytes, size_t n, uint64_t offset)
{
	for (size_t written = 0; written < n;) {
		int64_t now = node_write(node_of(fd), (const char *)bytes + written, n - written, offset + written);

		if (now < 0)
			return (int)now;
		written += (size_t)now;
	}
	return 0;
}

int disk_cut(int fd, uint64_t bytes)
{
	node_change(node_of(fd), (struct change){ .offset = bytes });
	return 0;
}

int disk_sync(int fd)
{
	return node_sync(node_of(fd));
}
