/* See gateway/journal/disk.h. */
#include "gateway/journal/disk.h"
#include "ring/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_BYTES (2u << 20)

static int result_of(int result)
{
	return result < 0 ? -errno : result;
}

/* ---- directories ---- */

/* Each on the way is synced into the one above it, or a power cut takes the whole tree with it. Why it cannot be made is told where the
 * open that follows can only say that it is not there. */
static int make_synced(const char *path)
{
	char *copy, *slash;
	int above;

	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? 0 : -errno;
	copy = strdup(path);
	check(copy);
	slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = 0;
	above = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (above >= 0) {
		fsync(above);
		close(above);
	}
	free(copy);
	return 0;
}

static int opened_or(int result, int made)
{
	return result == -ENOENT && made < 0 ? made : result;
}

int disk_directory_root(const char *path, bool make)
{
	int made = 0;

	if (make) {
		char *copy = strdup(path);

		check(copy);
		for (char *at = copy + 1; *copy && *at; at++) {
			if (*at == '/') {
				*at = 0;
				make_synced(copy);
				*at = '/';
			}
		}
		made = make_synced(copy);
		free(copy);
	}
	return opened_or(result_of(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)), made);
}

int disk_directory(int directory, const char *name, bool make)
{
	int made = make ? result_of(mkdirat(directory, name, 0700)) : 0;

	if (make && made == 0) {
		int synced = disk_directory_sync(directory);

		if (synced < 0)
			return synced;
	}
	return opened_or(result_of(openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)), made);
}

int disk_directory_again(int directory)
{
	return result_of(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int disk_directory_sync(int directory)
{
	if (fsync(directory) == 0 || errno == EINVAL || errno == EROFS)
		return 0;
	return -errno;
}

int disk_names(int directory, void (*each)(void *user, const char *name), void *user)
{
	int again = disk_directory_again(directory);
	struct dirent *entry;
	DIR *all;
	int error;

	if (again < 0)
		return again;
	all = fdopendir(again);
	if (!all) {
		error = errno;
		close(again);
		return -error;
	}
	while (errno = 0, (entry = readdir(all))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			each(user, entry->d_name);
	}
	error = errno;
	closedir(all);
	return -error;
}

int disk_lock(int directory, const char *name)
{
	int fd = openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return result_of(fd);
}

/* ---- files ---- */

int disk_make(int directory, const char *name)
{
	return result_of(openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

int disk_open(int directory, const char *name)
{
	return result_of(openat(directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
}

void disk_close(int fd)
{
	close(fd);
}

/* A file system that does not say how it wants direct writes to be aligned is not asked for any. */
static bool aligned_to_pages(int fd)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 || !(status.stx_mask & STATX_DIOALIGN))
		return false;
	return status.stx_dio_offset_align > 0 && DISK_PAGE_BYTES % status.stx_dio_offset_align == 0 &&
	       status.stx_dio_mem_align > 0 && DISK_PAGE_BYTES % status.stx_dio_mem_align == 0;
}

int disk_direct(int fd, bool direct)
{
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (direct && !aligned_to_pages(fd))
		return -EINVAL;
	return result_of(fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT));
}

int disk_rename(int directory, const char *from, const char *to)
{
	return result_of(renameat(directory, from, directory, to));
}

int disk_remove(int directory, const char *name)
{
	return result_of(unlinkat(directory, name, 0));
}

/* A segment is tens of megabytes, whose pages would be faulted in one by one: half the time of reading it. */
static uint8_t *room_for(size_t size)
{
	uint8_t *room;

	if (size < HUGE_BYTES)
		return malloc(size + 1);
	room = aligned_alloc(HUGE_BYTES, (size + HUGE_BYTES) / HUGE_BYTES * HUGE_BYTES);
	if (room)
		madvise(room, size, MADV_HUGEPAGE);
	return room;
}

static int bytes_read(int fd, uint8_t **bytes, size_t *n)
{
	struct stat status;
	size_t size;

	if (fstat(fd, &status) != 0)
		return -errno;
	/* A pipe or a device is nothing that anybody wrote a journal to. */
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	size = (size_t)status.st_size;
	*bytes = room_for(size);
	*n = 0;
	if (!*bytes)
		return -ENOMEM;
	while (*n < size) {
		ssize_t got = read(fd, *bytes + *n, size - *n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int error = errno;

			free(*bytes);
			return -error;
		}
		if (got == 0)
			break;
		*n += (size_t)got;
	}
	return 0;
}

int disk_read(int directory, const char *name, uint8_t **bytes, size_t *n)
{
	/* O_NONBLOCK: a pipe of that name would keep us waiting for ever. */
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = bytes_read(fd, bytes, n);
	close(fd);
	return result;
}

int disk_read_at(int directory, const char *name, uint64_t offset, void *bytes, size_t n)
{
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t had = 0;
	int error = 0;

	if (fd < 0)
		return -errno;
	while (had < n && error == 0) {
		ssize_t got = pread(fd, (char *)bytes + had, n - had, (off_t)(offset + had));

		if (got > 0)
			had += (size_t)got;
		else if (got == 0 || errno != EINTR)
			error = got == 0 ? EIO : errno;
	}
	close(fd);
	return -error;
}

int disk_write(int fd, const void *bytes, size_t n, uint64_t offset)
{
	for (size_t written = 0; written < n;) {
		ssize_t now = pwrite(fd, (const char *)bytes + written, n - written, (off_t)(offset + written));

		if (now < 0 && errno == EINTR)
			continue;
		if (now <= 0)
			return now < 0 ? -errno : -EIO;
		written += (size_t)now;
	}
	return 0;
}

int disk_cut(int fd, uint64_t bytes)
{
	return result_of(ftruncate(fd, (off_t)bytes));
}

int disk_sync(int fd)
{
	return result_of(fdatasync(fd));
}
