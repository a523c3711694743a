/* See ring/file.h. */
#include "ring/file.h"

#include <errno.h>
#include <unistd.h>

static void file_written(struct op *op, const struct completion *completion)
{
	struct file *file = owner_of(op, struct file, write);

	/* What is written is written, also when the scope is closing and no step will look. */
	if (completion->result > 0)
		file->lent->begin += (uint32_t)completion->result;
	file->written = completion->result;
	file->written_noted = true;
	task_wake(&file->task);
}

/* A full disk may have room again: this chunk is lost, the next is tried. Anything else is for good. */
static void file_failed(struct file *file, int error)
{
	chunk_put(&file->core->pool, file->lent);
	file->lent = NULL;
	file->losses++;
	file->last_error = error;
	if (error == ENOSPC || error == EDQUOT || error == EIO)
		return;
	file->error = error;
	pipe_refuse(&file->in, &TCP_FAILED);
}

static void file_step(struct task *task)
{
	struct file *file = owner_of(task, struct file, task);

	if (file->written_noted) {
		file->written_noted = false;
		if (file->written <= 0 && file->written != -EINTR && file->written != -EAGAIN)
			file_failed(file, file->written < 0 ? -file->written : EIO);
		if (file->lent && chunk_size(file->lent) == 0) {
			chunk_put(&file->core->pool, file->lent);
			file->lent = NULL;
		}
	}
	if (!op_idle(&file->write) || file->error)
		return;
	if (!file->lent)
		file->lent = pipe_take(&file->in);
	if (!file->lent)
		return;
	file->write.request = (struct kernel_request){
		.code = KERNEL_WRITE,
		.fd = file->fd,
		.bytes = file->lent->bytes + file->lent->begin,
		.size = chunk_size(file->lent),
		.offset = -1,
	};
	op_start(&file->write);
}

void file_init(struct file *file, struct scope *scope, int fd, uint64_t bytes_max)
{
	*file = (struct file){ .fd = fd, .core = scope->core };
	pipe_init(&file->in, &scope->core->pool, bytes_max);
	task_init(&file->task, scope, "file", file_step);
	op_init(&file->write, scope, "write", file_written);
	file->in.reader = &file->task;
}

void file_fini(struct file *file)
{
	check(op_idle(&file->write));
	if (file->lent)
		chunk_put(&file->core->pool, file->lent);
	file->lent = NULL;
	pipe_fini(&file->in);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
