/* What of the configuration is told in the audit trail. */
#include "gateway/counting/configuration.c"

#include <criterion/criterion.h>

static void expect_changes(const char *before, const char *now, const char *wanted)
{
	char *changes = configuration_changes(before, now);

	if (wanted)
		cr_expect_str_eq(changes ? changes : "none", wanted);
	else
		cr_expect_null(changes, "%s", changes);
	free(changes);
}

Test(gateway_configuration, what_is_different_is_told_from_what_to_what)
{
	expect_changes("version 1 cores 2 configuration ab durability always new_sites true heads 1:2:ff",
		"version 1 cores 2 configuration ab durability always new_sites true", NULL);
	expect_changes("version 1 cores 2 configuration ab durability always new_sites true",
		"version 2 cores 2 configuration cd durability everysec new_sites false",
		"configuration ab → cd; durability always → everysec; new_sites true → false");
	expect_changes("configuration ab cores 2", "configuration ab cores 20", "cores 2 → 20");
}

Test(gateway_configuration, what_an_earlier_version_did_not_tell_is_no_change)
{
	expect_changes("", "configuration ab durability always", NULL);
	expect_changes("configuration ab", "configuration cd sites_max 7", "configuration ab → cd");
}

Test(gateway_configuration, a_start_and_a_snapshot_tell_it_and_no_other_record)
{
	struct record record = { .kind = RECORD_START, .detail = { "configuration ab and more", 16 }, .actor = { "postern", 7 } };
	char *words = configuration_told(&record);

	cr_expect_str_eq(words, "configuration ab");
	free(words);
	record.kind = RECORD_CONFIGURATION;
	cr_expect_null(configuration_told(&record), "somebody's note");
	record.actor.size = 0;
	words = configuration_told(&record);
	cr_expect_str_eq(words, "configuration ab");
	free(words);
	record.kind = RECORD_STOP;
	cr_expect_null(configuration_told(&record));
	record = (struct record){ .kind = RECORD_START };
	words = configuration_told(&record);
	cr_expect_str_eq(words, "");
	free(words);
}
