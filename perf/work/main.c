/* perf/work/main.c — does each kind of work that it is asked for, in a process of its own, for perf/instructions to count.
 *
 *   perf-work [NAME…]          without names: all.   On standard output for each: its name, units, process
 *   perf-work --versions       what the figures depend on
 *
 * Callgrind counts while `counted` runs, and nothing else: how a process begins, what is prepared, and the first units, in
 * which libraries look up what they need and memory is asked of the system, are left out. A process for each, so that what one
 * kind of work leaves behind (in the allocator, in libraries) changes no other's figure.
 *
 * Owner: the process.   Thread: one.   Units: units.   Errors: exit code 1 where a kind of work has failed, 2 for a name that
 * there is not.   Limits: none.   Source: none. */
#include "perf/work/work.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <jansson.h>
#include <llhttp.h>
#include <mbedtls/build_info.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define WARM_COUNT 64u

static const struct work_list *const LISTS[] = { &WORK_RING, &WORK_HTTP, &WORK_PROXY, &WORK_TLS, &WORK_WS, &WORK_COUNT };

void counted(const struct work *work);

/* The name is known to perf/instructions. The loop costs five instructions a unit. */
__attribute__((noinline)) void counted(const struct work *work)
{
	for (unsigned i = 0; i < work->count; i++)
		work->unit();
}

static void work_do(const struct work *work)
{
	if (work->prepare)
		work->prepare();
	for (unsigned i = 0; i < WARM_COUNT; i++)
		work->unit();
	counted(work);
}

static bool work_apart(const struct work *work)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	check(child >= 0);
	if (child == 0) {
		work_do(work);
		exit(0);
	}
	check(waitpid(child, &status, 0) == child);
	printf("%s %u %d\n", work->name, work->count, (int)child);
	if (status != 0)
		fprintf(stderr, "perf-work: %s: has failed\n", work->name);
	return status == 0;
}

static bool wanted(const struct work *work, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (strcmp(*names, work->name) == 0)
			return true;
	return false;
}

static bool is_name(const char *name)
{
	for (unsigned i = 0; i < array_count(LISTS); i++)
		for (unsigned at = 0; at < LISTS[i]->count; at++)
			if (strcmp(LISTS[i]->works[at].name, name) == 0)
				return true;
	return false;
}

/* libcrypto and jemalloc are looked for, because not every build has them. */
static void versions_say(void)
{
	const char *(*libcrypto)(int) = (const char *(*)(int))dlsym(RTLD_DEFAULT, "OpenSSL_version");
	int (*jemalloc)(const char *, void *, size_t *, void *, size_t) =
		(int (*)(const char *, void *, size_t *, void *, size_t))dlsym(RTLD_DEFAULT, "mallctl");
	const char *allocator = "none";
	size_t size = sizeof allocator;

	if (jemalloc)
		check(jemalloc("version", &allocator, &size, NULL, 0) == 0);
#ifdef __clang__
	printf("compiler %s\n", __VERSION__);
#else
	printf("compiler gcc %s\n", __VERSION__);
#endif
	printf("libc %s\n", gnu_get_libc_version());
	printf("libcrypto %s\n", libcrypto ? libcrypto(0) : "none");
	printf("mbedtls %s\n", MBEDTLS_VERSION_STRING);
	printf("llhttp %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
	printf("jansson %s\n", jansson_version_str());
	printf("zlib %s\n", zlibVersion());
	printf("jemalloc %s\n", allocator);
}

int main(int argc, char **argv)
{
	bool good = true;

	if (argc == 2 && strcmp(argv[1], "--versions") == 0) {
		versions_say();
		return 0;
	}

	for (int i = 1; i < argc; i++) {
		if (!is_name(argv[i])) {
			fprintf(stderr, "perf-work: there is no work of the name %s\n", argv[i]);
			return 2;
		}
	}
	for (unsigned i = 0; i < array_count(LISTS); i++)
		for (unsigned at = 0; at < LISTS[i]->count; at++)
			if (wanted(&LISTS[i]->works[at], argv + 1))
				good &= work_apart(&LISTS[i]->works[at]);
	return good ? 0 : 1;
}
