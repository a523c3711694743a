/* See ring/task.h; the loop that runs the queue is in ring/core.c. */
#include "ring/task.h"
#include "ring/core.h"
#include "ring/scope.h"

void task_init(struct task *task, struct scope *scope, const char *name, task_step *step)
{
	check(scope_live(scope));
	*task = (struct task){ .scope = scope, .step = step, .name = name };
	link_init(&task->in_run);
	link_put_last(&scope->tasks, &task->in_scope);
}

void task_wake(struct task *task)
{
	if (!task || !task->scope || !scope_live(task->scope) || !link_alone(&task->in_run))
		return;
	link_put_last(&task->scope->core->run, &task->in_run);
}

void task_wake_later(struct task *task)
{
	if (!task->scope || !scope_live(task->scope) || !link_alone(&task->in_run))
		return;
	link_put_last(&task->scope->core->later, &task->in_run);
}

void task_fini(struct task *task)
{
	if (!task->scope)
		return;
	link_remove(&task->in_run);
	link_remove(&task->in_scope);
	task->scope = NULL;
}
