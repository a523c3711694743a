/* gateway/config_fault.c — the list of faults; see config_fault.h. */
#include "gateway/config_fault.h"

#include "ring/base.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct reason CONFIG_FILE_UNREADABLE = { "file_unreadable", "a file cannot be read" };
const struct reason CONFIG_MEMORY = { "memory_spent",
	"there is no memory to read the configuration" };
const struct reason CONFIG_SYNTAX = { "syntax_bad", "the text is not the YAML that is read here" };
const struct reason CONFIG_SHAPE = { "shape_bad",
	"a list, a mapping or a value stands where another of these is wanted" };
const struct reason CONFIG_KEY_UNKNOWN = { "key_unknown", "there is no such key" };
const struct reason CONFIG_KEY_REPEATED = { "key_repeated", "the key was given before" };
const struct reason CONFIG_KEY_MISSING = { "key_missing", "a key is missing" };
const struct reason CONFIG_KEY_CONFLICT = { "key_conflict",
	"two keys or values exclude each other" };
const struct reason CONFIG_VALUE_BAD = { "value_bad", "the value cannot be used" };
const struct reason CONFIG_TOO_MUCH = { "too_much", "there is more than is read" };
const struct reason CONFIG_DUPLICATE = { "duplicate", "the same thing is defined twice" };
const struct reason CONFIG_UPSTREAM_UNKNOWN = { "upstream_unknown", "the upstream is not defined" };
const struct reason CONFIG_UPSTREAM_UNUSED = { "upstream_unused", "no route names this upstream" };
const struct reason CONFIG_ROUTE_UNREACHED = { "route_unreached",
	"an earlier route takes everything of this one" };
const struct reason CONFIG_CLIENT_UNASKED = { "client_unasked",
	"no listener asks clients for certificates" };
const struct reason CONFIG_NOTHING_TO_DO = { "nothing_to_do", "there is nothing to serve" };

size_t config_control(const char *text, size_t length)
{
	const unsigned char *at = (const unsigned char *)text;

	if (length >= 1 && (at[0] < 0x20 || at[0] == 0x7f))
		return 1;
	if (length >= 2 && at[0] == 0xc2 && at[1] <= 0x9f)
		return 2;
	if (length >= 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
		return 3;
	if (length >= 3 && at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe)
		return 3;
	return 0;
}

struct config_quoted config_quote(const char *value, size_t length)
{
	struct config_quoted quoted;
	size_t room = sizeof quoted.text - sizeof "\"...\"";
	bool cut = length > room;
	size_t kept = cut ? room : length;
	char *to = quoted.text;

	/* A character of UTF-8 is not cut in two: its second and later bytes are 10xxxxxx. */
	while (cut && kept > 0 && ((unsigned char)value[kept] & 0xc0) == 0x80)
		kept--;

	*to++ = '"';
	for (size_t i = 0; i < kept;) {
		size_t control = config_control(value + i, kept - i);

		*to++ = control ? '?' : value[i];
		i += control ? control : 1;
	}
	memcpy(to, cut ? "...\"" : "\"", cut ? 5 : 2);
	return quoted;
}

void config_faults_init(struct config_faults *faults)
{
	*faults = (struct config_faults){ 0 };
}

void config_faults_fini(struct config_faults *faults)
{
	for (unsigned i = 0; i < faults->count; i++)
		free(faults->list[i].text);
	free(faults->file);
	config_faults_init(faults);
}

void config_faults_name(struct config_faults *faults, const char *file)
{
	free(faults->file);
	faults->file = strdup(file);
}

void config_fault_add(struct config_faults *faults, enum config_severity severity,
	const struct reason *reason, unsigned line, unsigned column, const char *format, ...)
{
	if (severity == CONFIG_ERROR)
		faults->error_count++;
	if (faults->count == CONFIG_FAULTS_MAX) {
		faults->left_out++;
		return;
	}

	struct config_fault *fault = &faults->list[faults->count];
	va_list arguments;

	*fault = (struct config_fault){
		.severity = severity,
		.reason = reason,
		.line = line,
		.column = column,
		.order = faults->count++,
	};
	va_start(arguments, format);
	if (vasprintf(&fault->text, format, arguments) < 0)
		fault->text = NULL;
	va_end(arguments);
}

static int fault_order(const void *a, const void *b)
{
	const struct config_fault *left = a, *right = b;

	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	if (left->column != right->column)
		return left->column < right->column ? -1 : 1;
	return left->order < right->order ? -1 : left->order > right->order;
}

void config_faults_sort(struct config_faults *faults)
{
	qsort(faults->list, faults->count, sizeof faults->list[0], fault_order);
}

int config_fault_format(const struct config_faults *faults, const struct config_fault *fault,
	char *out, size_t size)
{
	const char *file = faults->file ? faults->file : "configuration";
	const char *warning = fault->severity == CONFIG_WARNING ? "warning: " : "";
	const char *text = fault->text ? fault->text : fault->reason->sentence;

	if (fault->line == 0)
		return snprintf(out, size, "%s: %s%s", file, warning, text);
	return snprintf(
		out, size, "%s:%u:%u: %s%s", file, fault->line, fault->column, warning, text);
}

void config_faults_print(const struct config_faults *faults, FILE *out)
{
	for (unsigned i = 0; i < faults->count; i++) {
		char line[4096];

		config_fault_format(faults, &faults->list[i], line, sizeof line);
		fprintf(out, "%s\n", line);
	}
	if (faults->left_out > 0)
		fprintf(out, "%s: and %u more\n", faults->file ? faults->file : "configuration",
			faults->left_out);
}
