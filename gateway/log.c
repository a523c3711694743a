/* See gateway/log.h. Lines are formatted by hand into a buffer on the stack: one is written for each request. */
#include "gateway/log.h"
#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "gateway/http/character.h"
#include "gateway/verdict.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_PIPE_BYTES_MAX (1024u * 1024u)

/* Of one field as it is written, escapes and all; a longer one is cut. Together, and with the words between, they fit a line: what
 * is cut is a text, never the JSON. */
#define CLIENT_BYTES_MAX 64u
#define METHOD_BYTES_MAX 64u
#define HOST_BYTES_MAX 512u
#define PATH_BYTES_MAX 1536u
#define ROUTE_BYTES_MAX 1024u
#define UPSTREAM_BYTES_MAX 192u
#define ERROR_BYTES_MAX 64u
#define WORDS_BYTES_MAX 512u

static_assert(CLIENT_BYTES_MAX + METHOD_BYTES_MAX + HOST_BYTES_MAX + PATH_BYTES_MAX + ROUTE_BYTES_MAX + UPSTREAM_BYTES_MAX +
              3 * ERROR_BYTES_MAX + WORDS_BYTES_MAX <= LOG_LINE_BYTES_MAX, "a line holds its fields at their longest");

int log_open_file(const struct config_log *config)
{
	int fd;

	if (!config->access)
		return -1;
	fd = strcmp(config->access, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) :
	                                        open(config->access, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	return fd < 0 ? -2 : fd;
}

/* The ring writes no more. What still waits is written here, before anything else ends: a few lines, once. */
static void log_ended(struct scope *scope)
{
	struct log *log = owner_of(scope, struct log, scope);
	struct file *file = &log->file;

	for (struct chunk *chunk = file->lent ? file->lent : pipe_take(&file->in); chunk && !file->error; chunk = pipe_take(&file->in)) {
		(void)!write(log->fd, chunk->bytes + chunk->begin, chunk_size(chunk));
		if (chunk != file->lent)
			chunk_put(&file->core->pool, chunk);
	}
	file->fd = -1; /* kept for the lines of exchanges that end after us */
	file_fini(file);
}

static size_t log_bytes(const struct scope *scope)
{
	return owner_of(scope, const struct log, scope)->file.in.bytes;
}

static const struct scope_kind log_kind = { .name = "access log", .bytes_held = log_bytes, .ended = log_ended };

void log_init(struct log *log, struct core *core, int fd, enum config_log_level level)
{
	*log = (struct log){ .core = core, .level = level, .fd = fd, .open = fd >= 0 };
	if (!log->open)
		return;
	scope_open(&log->scope, &core->root, &log_kind);
	file_init(&log->file, &log->scope, fd, LOG_PIPE_BYTES_MAX);
}

/* ---- a line ---------------------------------------------------------------------------------------------------------------- */

struct log_line {
	char *at;
	char *end;
};

static void line_add(struct log_line *line, const char *bytes, size_t n)
{
	if (n > (size_t)(line->end - line->at))
		n = (size_t)(line->end - line->at);
	memcpy(line->at, bytes, n);
	line->at += n;
}

static void line_say(struct log_line *line, const char *text)
{
	line_add(line, text, strlen(text));
}

static void line_number(struct log_line *line, uint64_t number)
{
	char digits[20];

	line_add(line, digits, http_number_write(digits, number));
}

/* The quoted text of HTTP is what needs no escape in JSON either, but for the tab. */
static bool is_plain(char c)
{
	return c != '\t' && http_is(c, HTTP_IS_QUOTED);
}

/* A JSON string of at most `most` bytes between its quotes. Controls and quotes are escaped, and bytes above ASCII too: whatever a
 * client sends, the line stays one line of valid JSON. */
static void line_text(struct log_line *line, const char *bytes, size_t n, size_t most)
{
	static const char hex[] = "0123456789abcdef";
	size_t i = 0;

	line_say(line, "\"");
	for (;;) {
		const size_t begin = i, end = n - i < most ? n : i + most;
		char escaped[6] = { '\\' };
		size_t size = 2;
		unsigned char c;

		while (i < end && is_plain(bytes[i]))
			i++;
		if (i > begin)
			line_add(line, bytes + begin, i - begin);
		most -= i - begin;
		if (i == n || most == 0)
			break;
		c = (unsigned char)bytes[i++];
		if (c == '"' || c == '\\') {
			escaped[1] = (char)c;
		} else {
			memcpy(escaped, "\\u00", 4);
			escaped[4] = hex[c >> 4];
			escaped[5] = hex[c & 15];
			size = 6;
		}
		if (size > most)
			break;
		line_add(line, escaped, size);
		most -= size;
	}
	line_say(line, "\"");
}

static void line_time(struct log_line *line, struct log *log)
{
	const uint64_t now_ns = kernel_wall_ns(log->core->kernel);
	char ms[5];

	if (now_ns / 1000000000 != log->second) {
		const time_t second = (time_t)(now_ns / 1000000000);
		struct tm utc;

		log->second = (uint64_t)second;
		gmtime_r(&second, &utc);
		strftime(log->second_text, sizeof log->second_text, "%Y-%m-%dT%H:%M:%S", &utc);
	}
	ms[0] = '.';
	for (long i = 3, left = (long)(now_ns / 1000000 % 1000); i > 0; i--, left /= 10)
		ms[i] = (char)('0' + left % 10);
	ms[4] = 'Z';
	line_say(line, "{\"ts\":\"");
	line_say(line, log->second_text);
	line_add(line, ms, sizeof ms);
	line_say(line, "\"");
}

/* A path may name a patient or carry a token: of it only what the route says is told, unless the configuration asks for all. Behind
 * /push/ and /live stand identifiers of patients by definition: there not even then. */
static bool path_is_private(const struct exchange *x)
{
	if (x->route && (x->route->target == CONFIG_PUSH || x->route->target == CONFIG_LIVE))
		return true;
	return x->worker->config->log.paths == CONFIG_LOG_ROUTE;
}

static void line_where(struct log_line *line, const struct exchange *x)
{
	const char *route = !x->route ? "-" : x->route->path[0] ? x->route->path : "*";

	line_say(line, ",\"method\":");
	line_text(line, x->request.method_text.bytes, x->request.method_text.size, METHOD_BYTES_MAX);
	line_say(line, ",\"host\":");
	/* Only what is a host name: beside it, in a request that was refused, may stand anything. */
	line_text(line, x->request.host_name.bytes, x->request.host_name.size, HOST_BYTES_MAX);
	line_say(line, ",\"path\":");
	if (path_is_private(x))
		line_text(line, route, strlen(route), PATH_BYTES_MAX);
	else
		line_text(line, x->request.path.bytes, x->request.path.size, PATH_BYTES_MAX);
	line_say(line, ",\"route\":");
	line_text(line, route, strlen(route), ROUTE_BYTES_MAX);
}

static void line_duration(struct log_line *line, uint64_t ns)
{
	char fraction[4];
	uint64_t us = ns / 1000;

	line_say(line, ",\"ms\":");
	line_number(line, us / 1000);
	fraction[0] = '.';
	for (long i = 3, left = (long)(us % 1000); i > 0; i--, left /= 10)
		fraction[i] = (char)('0' + left % 10);
	line_add(line, fraction, sizeof fraction);
}

/* In one chunk, and so in one write: other cores append to the same file, and a line in two pieces would have theirs between. */
static void line_put(struct pipe *pipe, const char *bytes, size_t n)
{
	size_t size;

	memcpy(pipe_room(pipe, n, &size), bytes, n);
	pipe_commit(pipe, n);
}

void log_access(struct log *log, const struct exchange *x)
{
	char bytes[LOG_LINE_BYTES_MAX];
	struct log_line line = { bytes, bytes + sizeof bytes - 2 };

	if (!log->open)
		return;
	if (log->file.losses > 0 && !log->told_error) {
		log_say(log->level, CONFIG_LOG_ERROR, "the access log cannot be written: %s; lines are lost", strerror(log->file.last_error));
		log->told_error = true;
	}
	if (log->file.error || (scope_live(&log->scope) && pipe_free(&log->file.in) == 0)) {
		metric_add(&x->worker->metrics.log_lines_dropped, 1);
		return;
	}
	line_time(&line, log);
	line_say(&line, ",\"core\":");
	line_number(&line, x->worker->core.index);
	line_say(&line, ",\"client\":");
	line_text(&line, x->client, strlen(x->client), CLIENT_BYTES_MAX);
	line_where(&line, x);
	line_say(&line, ",\"status\":");
	line_number(&line, x->answered ? x->answer.status : 499);
	line_say(&line, ",\"bytes_in\":");
	line_number(&line, x->body_bytes_in);
	line_say(&line, ",\"bytes_out\":");
	line_number(&line, x->body_bytes_out);
	line_duration(&line, kernel_now_ns(x->worker->core.kernel) - x->began_ns);
	line_say(&line, x->secure ? ",\"tls\":true" : ",\"tls\":false");
	line_say(&line, ",\"upstream\":");
	if (x->upstream)
		line_text(&line, x->upstream, strlen(x->upstream), UPSTREAM_BYTES_MAX);
	else
		line_say(&line, "null");
	line_say(&line, ",\"error\":");
	if (x->refusal)
		line_text(&line, x->refusal->name, strlen(x->refusal->name), ERROR_BYTES_MAX);
	else
		line_say(&line, "null");
	line_say(&line, ",\"wait\":");
	if (x->wait)
		line_text(&line, x->wait, strlen(x->wait), ERROR_BYTES_MAX);
	else
		line_say(&line, "null");
	if (x->closed_by) {
		line_say(&line, ",\"close_code\":");
		line_number(&line, x->close_code);
		line_say(&line, ",\"closed_by\":");
		line_text(&line, x->closed_by, strlen(x->closed_by), ERROR_BYTES_MAX);
	}
	*line.at++ = '}';
	*line.at++ = '\n';
	if (scope_live(&log->scope))
		line_put(&log->file.in, bytes, (size_t)(line.at - bytes));
	else
		(void)!write(log->fd, bytes, (size_t)(line.at - bytes));
}

void log_fini(struct log *log)
{
	if (log->open)
		close(log->fd);
	log->open = false;
}

/* ---- refusals ------------------------------------------------------------------------------------------------------------------ */

void log_refusal(struct log *log, const char *client, const struct reason *reason)
{
	const struct core *core = log->core;
	enum config_log_level level = (enum config_log_level)verdict_of(reason)->level;

	if (level > log->level)
		return;
	if (core->now_ms / 1000 != log->said_second) {
		if (log->said > LOG_REFUSALS_MAX)
			log_say(log->level, level, "and %u more in that second", log->said - LOG_REFUSALS_MAX);
		log->said_second = core->now_ms / 1000;
		log->said = 0;
	}
	if (log->said++ < LOG_REFUSALS_MAX)
		log_say(log->level, level, "%s: %s (%s)", client, reason->sentence, reason->name);
}

/* ---- for people ------------------------------------------------------------------------------------------------------------- */

void log_say(enum config_log_level at, enum config_log_level level, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (level > at)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	/* One write, so that the lines of two cores do not mix. */
	dprintf(STDERR_FILENO, "postern: %s: %s\n", config_log_level_word(level), text);
}
