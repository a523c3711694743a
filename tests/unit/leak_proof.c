/* tests/unit/leak_proof.c — shows that leak.c works: this test leaks, so its run must fail.
 * Registered as a test that should fail, in the builds that have a leak checker.                   */
#include <criterion/criterion.h>
#include <stdlib.h>

static void *volatile kept;

Test(leak_proof, a_block_nobody_remembers_fails_the_run)
{
	kept = malloc(100);
	cr_assert_not_null(kept);
	kept = NULL;
}
