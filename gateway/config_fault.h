/* gateway/config_fault.h — what is wrong with a configuration file, and where.
 *
 * A fault is one line for a person: `file:line:column: what is wrong; what would be right`. A file is read to its end
 * where that is possible, so that one run of `postern check` shows every fault and not only the first. An error refuses
 * the file; a warning lets it pass. The kind of a fault is a reason, so that tests and scripts need not read sentences.
 *
 * Owner: the caller owns the list (init/fini); the texts in it belong to the list.   Thread: any, one list by one thread.
 * Units: lines and columns count from 1, columns in characters; 0 means "the file as a whole".
 * Errors: none; when memory for a text is missing, the fault still counts and shows its reason's sentence.
 * Limits: CONFIG_FAULTS_MAX are kept; errors beyond are counted in left_out. */
#ifndef GATEWAY_CONFIG_FAULT_H
#define GATEWAY_CONFIG_FAULT_H

#include "ring/reason.h"

#include <stddef.h>
#include <stdio.h>

#define CONFIG_FAULTS_MAX 100

/* clang-format off */
extern const struct reason CONFIG_FILE_UNREADABLE;  /* the file, or one that it names, cannot be read */
extern const struct reason CONFIG_MEMORY;           /* no memory to read the file */
extern const struct reason CONFIG_SYNTAX;           /* the text is not YAML, or YAML that we refuse */
extern const struct reason CONFIG_SHAPE;            /* a list, a mapping or a value stands where another of these is wanted */
extern const struct reason CONFIG_KEY_UNKNOWN;      /* no such key here */
extern const struct reason CONFIG_KEY_REPEATED;     /* the key was given before in the same mapping */
extern const struct reason CONFIG_KEY_MISSING;      /* a key without which the rest has no meaning */
extern const struct reason CONFIG_KEY_CONFLICT;     /* two keys or values that exclude each other */
extern const struct reason CONFIG_VALUE_BAD;        /* the value cannot be read, or lies outside its range */
extern const struct reason CONFIG_TOO_MUCH;         /* more entries, text or depth than is read */
extern const struct reason CONFIG_DUPLICATE;        /* the same thing is defined twice */
extern const struct reason CONFIG_UPSTREAM_UNKNOWN; /* a route names an upstream that is not defined */
extern const struct reason CONFIG_UPSTREAM_UNUSED;  /* warning: no route names this upstream */
extern const struct reason CONFIG_ROUTE_UNREACHED;  /* warning: an earlier route takes everything of this one */
extern const struct reason CONFIG_CLIENT_UNASKED;   /* warning: a route wants client certificates, which no listener asks for */
extern const struct reason CONFIG_NOTHING_TO_DO;    /* no listener and no admin socket, or nothing to serve there */
/* clang-format on */

enum config_severity { CONFIG_WARNING, CONFIG_ERROR };

struct config_fault {
	enum config_severity severity;
	const struct reason *reason;
	unsigned line, column;
	unsigned order; /* in which it was found; keeps the sorting stable */
	char *text;     /* NULL: memory was short, reason->sentence is shown instead */
};

struct config_faults {
	char *file; /* as the caller named it; NULL before the first load */
	struct config_fault list[CONFIG_FAULTS_MAX];
	unsigned count;
	unsigned error_count; /* errors, those left out included */
	unsigned left_out;    /* faults that found no room in the list */
};

/* The bytes of the character at `text` (0: none is left) if it breaks a line, commands a terminal or is no character at
 * all, else 0: the controls of ASCII and of ISO 6429 (U+0080 to U+009F), U+2028, U+2029, U+FFFE and U+FFFF. YAML lets
 * them in by escapes. The text is UTF-8. */
size_t config_control(const char *text, size_t length);

/* A piece of the user's text made fit for a message: quoted, cut when long, without control characters. It lives to the
 * end of the full expression: config_quote(value).text as an argument. */
struct config_quoted {
	char text[96];
};
struct config_quoted config_quote(const char *value, size_t length);

void config_faults_init(struct config_faults *faults);
void config_faults_fini(struct config_faults *faults);

/* `file` is copied. A list serves one file at a time. */
void config_faults_name(struct config_faults *faults, const char *file);

__attribute__((format(printf, 6, 7))) void config_fault_add(struct config_faults *faults,
	enum config_severity severity, const struct reason *reason, unsigned line, unsigned column,
	const char *format, ...);

/* In the order of the file. */
void config_faults_sort(struct config_faults *faults);

/* One line without its end; as snprintf, returns the length that a large enough buffer would have held. */
int config_fault_format(const struct config_faults *faults, const struct config_fault *fault,
	char *out, size_t size);

/* All of them, a line each, and a last line when some were left out. */
void config_faults_print(const struct config_faults *faults, FILE *out);

#endif
