/* tests/unit/journal_files.h — a state directory of the test's own, and what lies in it.
 *
 * Owner: the test.   Thread: one.   Units: bytes.   Errors: cr_assert.   Limits: none. */
#ifndef TESTS_UNIT_JOURNAL_FILES_H
#define TESTS_UNIT_JOURNAL_FILES_H

#include "cache/block.h"
#include "gateway/journal/hash.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], state[80];

static void files_setup(void)
{
	/* In memory where that goes: hundreds of recoveries sync thousands of times. */
	strcpy(root, access("/dev/shm", W_OK) == 0 ? "/dev/shm/journal_XXXXXX" : "/tmp/journal_XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	snprintf(state, sizeof state, "%s/state", root);
}

static void files_teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", root);
	cr_assert_eq(system(command), 0);
}

static void file_path(char path[256], unsigned stream, const char *name)
{
	snprintf(path, 256, "%s/journal/%02u/%s", state, stream, name);
}

/* How many of this stream have it in their names; the name of one of them. */
static unsigned files_with(unsigned stream, const char *part, char name[256])
{
	struct dirent *entry;
	unsigned n = 0;
	char path[256];
	DIR *all;

	file_path(path, stream, "");
	all = opendir(path);
	while (all && (entry = readdir(all))) {
		if (strstr(entry->d_name, part)) {
			snprintf(name, 256, "%s", entry->d_name);
			n++;
		}
	}
	if (all)
		closedir(all);
	return n;
}

#endif
