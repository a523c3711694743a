/* tests/unit/leak.c — a test that leaks, fails. Linked into every unit test.
 *
 * Criterion runs each test in a process of its own and looks at the assertions only: what
 * LeakSanitizer finds when that process ends is printed, and the run stays green. So each process
 * asks for the leaks itself when it ends, and dies of them; Criterion does count a process that dies.
 *
 * Without a leak checker in the build (the symbol is weak) nothing happens.                       */
#include <stdlib.h>

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static void leak_check_at_exit(void)
{
	if (__lsan_do_recoverable_leak_check() != 0)
		abort();
}

__attribute__((constructor)) static void leak_check_arm(void)
{
	if (__lsan_do_recoverable_leak_check)
		atexit(leak_check_at_exit);
}
