/* ring/file.h — an append-only file fed by a pipe (logs).
 *
 * One write in flight. A full pipe means the disk is behind: writers of lines drop theirs and count it, they never wait.
 *
 * Owner: the caller; file_fini in the scope's `ended`.   Thread: its core's.   Units: bytes.
 * Errors: a full disk (ENOSPC, EDQUOT, EIO) loses what was being written, and the next is tried; any other errno sticks in `error`,
 * and the pipe is refused.   Limits: the pipe's. */
#ifndef RING_FILE_H
#define RING_FILE_H

#include "ring/base.h"
#include "ring/core.h"
#include "ring/op.h"
#include "ring/pipe.h"
#include "ring/task.h"

struct file {
	int fd;                          /* O_APPEND; its owner opened it */
	struct core *core;
	struct pipe in;
	struct task task;
	struct op write;
	struct chunk *lent;
	int written;
	bool written_noted;
	int error;                       /* for good; 0: none */
	int last_error;                  /* of the last loss */
	uint64_t losses;                 /* pieces that could not be written */
};

void file_init(struct file *, struct scope *, int fd, uint64_t bytes_max);
void file_fini(struct file *);           /* closes the descriptor */

#endif
