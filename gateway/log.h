/* gateway/log.h — the access log (JSON lines) and the program's own words on standard error.
 *
 * Access lines go through a pipe into a file that is written by the ring: a slow disk drops lines and counts them, it never
 * delays a request. No query string, no field of a request but those named here, no identifier of a patient.
 *
 * Owner: the worker.   Thread: its core's; log_say any.   Units: ms, bytes, UTC.
 * Errors: a file that cannot be written is said once on standard error and counted.   Limits: LOG_LINE_BYTES_MAX. */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H

#include "gateway/config.h"
#include "ring/file.h"
#include "ring/scope.h"

#define LOG_LINE_BYTES_MAX 4096u
#define LOG_REFUSALS_MAX 10u

struct exchange;

struct log {
	struct core *core;
	struct scope scope;              /* under the core's root */
	struct file file;
	bool open;                       /* access lines are wanted */
	enum config_log_level level;
	int fd;
	bool told_error;                 /* that the file cannot be written */
	uint64_t said_second;            /* in which `said` lines about refusals went to standard error */
	unsigned said;
	uint64_t second;                 /* the second whose text is kept, because formatting a date is dear */
	char second_text[24];
};

/* A descriptor for the access log: the file opened for appending (mode 0640), standard output, or -1 for none; -2 and errno when
 * it cannot be opened. */
int log_open_file(const struct config_log *);

void log_init(struct log *, struct core *, int fd, enum config_log_level level);

/* One line for an exchange that is over: ts, core, client, method, host, path, route, status, bytes_in, bytes_out, ms, tls, upstream,
 * error, wait (the one whose end ended it); of a WebSocket that was closed in order close_code and closed_by. Also when the core is ending and the ring writes no more: then it is written at once. */
void log_access(struct log *, const struct exchange *);

/* A refusal on standard error, if its verdict's level is wanted there; at most LOG_REFUSALS_MAX a second and core. */
void log_refusal(struct log *, const char *client, const struct reason *);

/* After the core has run: the descriptor. */
void log_fini(struct log *);

/* One line on standard error: "postern: level: text". */
void log_say(enum config_log_level at, enum config_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
