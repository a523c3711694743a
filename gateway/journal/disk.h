/* gateway/journal/disk.h — the plain calls that the journal makes: directories, names, whole files, and writing when no core runs.
 *
 * While cores run, writing and syncing are the ring's (KERNEL_WRITE, KERNEL_SYNC). What stands here is for the time before and after,
 * and for making, renaming, cutting and removing one file, for which the ring's kernel has no word. It is a file of its own
 * because the simulation puts a disk of its own in this one's place (tests/sim/disk.c), which tears, forgets and fails.
 *
 * Owner: the caller's descriptors and bytes.   Thread: any, each descriptor its owner's.   Units: bytes.
 * Errors: negative errno.   Limits: DISK_NAME_BYTES_MAX, DISK_PAGE_BYTES.   Source: open(2), O_DIRECT; statx(2), STATX_DIOALIGN. */
#ifndef GATEWAY_JOURNAL_DISK_H
#define GATEWAY_JOURNAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_NAME_BYTES_MAX 96u
#define DISK_PAGE_BYTES 4096u            /* no sector and no page of memory is aligned to more */

/* ---- directories: a descriptor, or -errno ---- */

int disk_directory_root(const char *path, bool make);                  /* with all that leads there, where it is missing (0700) */
int disk_directory(int directory, const char *name, bool make);        /* in another one */
int disk_directory_again(int directory);                               /* a descriptor of its own for the same one */
int disk_directory_sync(int directory);                                /* 0 too where the file system cannot, and need not */

/* All names in it but "." and "..", in no order; -errno, or 0. */
int disk_names(int directory, void (*each)(void *user, const char *name), void *user);

/* Nobody else may have it: -EWOULDBLOCK when somebody has. Kept until disk_close. */
int disk_lock(int directory, const char *name);

/* ---- files ---- */

int disk_make(int directory, const char *name);                        /* one that is not there yet, for writing (0600) */
int disk_open(int directory, const char *name);                        /* one that is there, for writing */
void disk_close(int fd);

/* From now on what is written goes to the disk past the page cache, in the context of whoever submits it: a ring has it written without a
 * worker. Bytes, offset and size must then be multiples of DISK_PAGE_BYTES. -EINVAL where the file system cannot: all stays as it was. */
int disk_direct(int fd, bool direct);
int disk_rename(int directory, const char *from, const char *to);
int disk_remove(int directory, const char *name);

/* The whole file, in memory that the caller frees. A link, or what is no regular file, is -ELOOP or -EINVAL. */
int disk_read(int directory, const char *name, uint8_t **bytes, size_t *n);

/* So many bytes from there on; -EIO when it ends before. */
int disk_read_at(int directory, const char *name, uint64_t offset, void *bytes, size_t n);

int disk_write(int fd, const void *bytes, size_t n, uint64_t offset);  /* all of it */
int disk_cut(int fd, uint64_t bytes);                                  /* to so many bytes */
int disk_sync(int fd);                                                 /* what was written, and how much */

#endif
