/* gateway/main.c — read this first: how the program starts and ends.
 *
 *   postern run -c FILE          configuration ─▶ what the machine offers (start.c) ─▶ one thread a core ─▶ drain ─▶ 0
 *   postern check [--print] -c FILE
 *   postern version
 *
 * Exit codes: 0 all well; 1 the configuration is wrong or the start was refused, with a sentence that says why; 2 usage. */
#include "gateway/certificates.h"
#include "gateway/config.h"
#include "gateway/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_GOOD = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

static const char USAGE[] =
	"usage: postern run -c FILE               serve as FILE says, until SIGTERM\n"
	"       postern check [--print] -c FILE   is FILE valid? with --print: all it means, defaults included\n"
	"       postern version\n";

struct arguments {
	const char *command;
	const char *file;
	bool print;
};

/* False: not a command line of ours. */
static bool arguments_read(struct arguments *arguments, int count, char **words)
{
	*arguments = (struct arguments){ .command = count > 1 ? words[1] : NULL };
	for (int i = 2; i < count; i++) {
		if (strcmp(words[i], "-c") == 0 && i + 1 < count && !arguments->file)
			arguments->file = words[++i];
		else if (strcmp(words[i], "--print") == 0)
			arguments->print = true;
		else
			return false;
	}
	return arguments->command;
}

static struct config *load(const char *file)
{
	struct config_faults faults;
	struct config *config;

	config_faults_init(&faults);
	config = config_load(file, &faults);
	config_faults_print(&faults, stderr);
	config_faults_fini(&faults);
	return config;
}

/* Certificates and keys of all listeners: readable, matching. Oddities (expired) are warnings. */
static bool check_certificates(const struct config *config)
{
	struct tls_material **materials = calloc(config->listener_count + 1, sizeof *materials);
	bool good;

	check(materials);
	good = certificates_read_first(config, materials);
	certificates_put(config, materials);
	free(materials);
	return good;
}

static int check_file(const struct arguments *arguments)
{
	struct config *config = load(arguments->file);
	bool good = config && check_certificates(config);

	if (good && arguments->print)
		config_print(config, stdout);
	else if (good)
		printf("%s: valid\n", arguments->file);
	config_free(config);
	return good ? EXIT_GOOD : EXIT_REFUSED;
}

static int run_file(const struct arguments *arguments)
{
	struct config *config = load(arguments->file);
	bool good = config && run(config);

	config_free(config);
	return good ? EXIT_GOOD : EXIT_REFUSED;
}

int main(int count, char **words)
{
	struct arguments arguments;

	if (!arguments_read(&arguments, count, words)) {
		fputs(USAGE, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(arguments.command, "version") == 0 || strcmp(arguments.command, "--version") == 0) {
		printf("postern %s\n", POSTERN_VERSION);
		return EXIT_GOOD;
	}
	if (strcmp(arguments.command, "--help") == 0 || strcmp(arguments.command, "help") == 0) {
		fputs(USAGE, stdout);
		return EXIT_GOOD;
	}
	if (strcmp(arguments.command, "check") == 0 && arguments.file)
		return check_file(&arguments);
	if (strcmp(arguments.command, "run") == 0 && arguments.file && !arguments.print)
		return run_file(&arguments);
	fputs(USAGE, stderr);
	return EXIT_USAGE;
}
