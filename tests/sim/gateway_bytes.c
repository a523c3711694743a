/* tests/sim/gateway_bytes.c — bytes that grow, and bodies on their way in; see gateway.h. */
#include "tests/sim/gateway.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

uint8_t *bytes_room(struct bytes *b, size_t n)
{
	if (b->n + n > b->space) {
		b->space = (b->n + n) * 2;
		b->at = realloc(b->at, b->space);
		check(b->at);
	}
	b->n += n;
	return b->at + b->n - n;
}

void bytes_add(struct bytes *b, const void *bytes, size_t n)
{
	if (n > 0)
		memcpy(bytes_room(b, n), bytes, n);
}

void bytes_say(struct bytes *b, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	check(n >= 0 && (size_t)n < sizeof text);
	bytes_add(b, text, (size_t)n);
}

void bytes_fini(struct bytes *b)
{
	free(b->at);
	*b = (struct bytes){ 0 };
}

size_t bytes_head_end(const struct bytes *b, size_t from)
{
	const uint8_t *end = from < b->n ? memmem(b->at + from, b->n - from, "\r\n\r\n", 4) : NULL;

	return end ? (size_t)(end - b->at) + 4 : 0;
}

bool bytes_field(const struct bytes *b, size_t from, size_t end, const char *name, char *value, size_t size)
{
	const char *at = (const char *)b->at + from, *last = (const char *)b->at + end;
	size_t name_size = strlen(name);

	while (at < last) {
		const char *line_end = memmem(at, (size_t)(last - at), "\r\n", 2);

		check(line_end);
		if ((size_t)(line_end - at) > name_size && at[name_size] == ':' && strncasecmp(at, name, name_size) == 0) {
			at += name_size + 1;
			while (at < line_end && *at == ' ')
				at++;
			check((size_t)(line_end - at) < size);
			memcpy(value, at, (size_t)(line_end - at));
			value[line_end - at] = 0;
			return true;
		}
		at = line_end + 2;
	}
	return false;
}

void bytes_pattern(struct bytes *b, struct world *world, uint32_t id, uint64_t body_bytes)
{
	if (body_bytes > 0)
		world_pattern(world, id, 0, bytes_room(b, body_bytes), body_bytes);
}

void bytes_chunked(struct bytes *b, struct world *world, uint32_t id, uint64_t body_bytes)
{
	uint64_t at = 0, most = dice_scaled(&world->dice, body_bytes > 2000 ? 100 : 1, 20000);

	while (at < body_bytes) {
		uint64_t n = dice_between(&world->dice, 1, most);

		if (n > body_bytes - at)
			n = body_bytes - at;
		bytes_say(b, dice_chance(&world->dice, 10) ? "%llX;name=value\r\n" : "%llx\r\n", (unsigned long long)n);
		world_pattern(world, id, at, bytes_room(b, n), n);
		bytes_say(b, "\r\n");
		at += n;
	}
	bytes_say(b, dice_chance(&world->dice, 10) ? "0\r\nX-Trailer: yes\r\n\r\n" : "0\r\n\r\n");
}

/* ---- bodies that are received ------------------------------------------------------------------------------------------- */

static void body_bytes(struct body_reader *r, struct world *world, const char *who, const uint8_t *bytes, uint64_t n)
{
	if (r->id != UINT32_MAX) {
		if (!world_pattern_is(world, r->id, r->got, bytes, n))
			world_fail(world, "%s: wrong bytes at %llu of body %u (%llu of them)", who, (unsigned long long)r->got, r->id,
			           (unsigned long long)n);
	} else {
		if (r->got + n >= sizeof r->text)
			world_fail(world, "%s: a long answer that is nobody's", who);
		memcpy(r->text + r->got, bytes, n);
		r->text[r->got + n] = 0;
	}
	r->got += n;
}

static void length_read(struct body_reader *r, struct world *world, const char *who, const struct bytes *in, size_t *at)
{
	uint64_t n = in->n - *at < r->left ? in->n - *at : r->left;

	if (n > 0)
		body_bytes(r, world, who, in->at + *at, n);
	*at += n;
	r->left -= n;
}

/* step 0: a size line, 1: payload, 2: the line end behind it, 3: trailers */
static void chunked_read(struct body_reader *r, struct world *world, const char *who, const struct bytes *in, size_t *at)
{
	for (;;) {
		const uint8_t *end = *at < in->n ? memmem(in->at + *at, in->n - *at, "\r\n", 2) : NULL;
		char line[300];
		size_t n;

		if (r->step == 1) {
			length_read(r, world, who, in, at);
			if (r->left > 0)
				return;
			r->step = 2;
			continue;
		}
		if (!end)
			return;
		n = (size_t)(end - (in->at + *at));
		if (n >= sizeof line)
			world_fail(world, "%s: a line of chunk framing is %zu bytes long", who, n);
		memcpy(line, in->at + *at, n);
		line[n] = 0;
		*at += n + 2;
		if (r->step == 0) {
			char *rest;

			r->left = strtoull(line, &rest, 16);
			if (rest == line || (*rest && *rest != ';'))
				world_fail(world, "%s: \"%s\" is no chunk size", who, line);
			r->step = r->left > 0 ? 1 : 3;
		} else if (r->step == 2) {
			if (n > 0)
				world_fail(world, "%s: \"%s\" stands behind a chunk", who, line);
			r->step = 0;
		} else if (n == 0) {
			r->whole = true;
			return;
		}
	}
}

void body_read(struct body_reader *r, struct world *world, const char *who, const struct bytes *in, size_t *at)
{
	if (r->whole)
		return;
	switch (r->body) {
	case BODY_NONE:
		r->whole = true;
		return;
	case BODY_LENGTH:
		length_read(r, world, who, in, at);
		r->whole = r->left == 0;
		return;
	case BODY_CHUNKED:
		chunked_read(r, world, who, in, at);
		return;
	case BODY_UNTIL_END:
		r->left = UINT64_MAX;
		length_read(r, world, who, in, at);
		return;
	}
}
