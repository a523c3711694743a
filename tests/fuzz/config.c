/* tests/fuzz/config.c — any text is a configuration or a list of faults, and never both nor neither.
 *
 * What loads must print, what was printed must load, and to the same print: the round trip finds what merely not crashing
 * would hide, such as a word that is quoted wrongly or a default that is not its own value.
 *
 *   build/fuzz/tests/fuzz/fuzz_config tests/fuzz/corpus/config                                                   */
#include "gateway/config_parse.h"
#include "ring/base.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In this directory the seeds find a readable file to call a certificate. */
static const char name[] = "/etc/postern.yaml";

static char *printed(const struct config *config, size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);

	check(out);
	config_print(config, out);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_faults faults;
	struct config *config;
	size_t once_length, twice_length;

	config_faults_init(&faults);
	config = config_parse_text((const char *)data, size, name, &faults);
	check((config == NULL) == (faults.error_count > 0));
	for (unsigned i = 0; i < faults.count; i++) {
		char line[4096];

		/* One fault is one line: nothing in the text can forge a second one. */
		config_fault_format(&faults, &faults.list[i], line, sizeof line);
		check(!strpbrk(line, "\n\r"));
	}
	config_faults_fini(&faults);
	if (!config)
		return 0;

	char *once = printed(config, &once_length);
	struct config *again = config_parse_text(once, once_length, name, &faults);

	check(again);
	char *twice = printed(again, &twice_length);

	check(once_length == twice_length && memcmp(once, twice, once_length) == 0);
	config_faults_fini(&faults);
	config_free(config);
	config_free(again);
	free(once);
	free(twice);
	return 0;
}
