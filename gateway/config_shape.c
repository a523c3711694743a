/* gateway/config_shape.c — the shape of a configuration file; see config_shape.h.
 *
 * Why two readers. libcyaml turns YAML into C structs by a schema, and we want that: the schema is the one description of
 * what a file may say. But it stops at its first fault; its log gives positions only of the parents ("in mapping …"), and
 * the words without their places ("Unexpected key: adress"); and once the structs are filled no position is left for what
 * only we can judge: a reference to nothing, a bad address, a duration without unit. It also passes over things that an
 * operator must hear of: a second document, and everything behind a NUL.
 *
 * So libyaml, which libcyaml itself stands on, reads the text first. That pass walks *the same schema tables*, so the two
 * cannot come to differ: it reports every unknown key, repeated key and wrong shape with its place, and keeps the places
 * of everything else. Then libcyaml fills the structs, and config_parse asks the places where a value stood.
 *
 *   text ─▶ libyaml events ─┬─▶ faults of shape
 *                           └─▶ places ────────────┐
 *   text ─▶ libcyaml ─▶ struct written ─▶ config_parse ─▶ faults of meaning, struct config
 *
 * Anchors, aliases and tags are refused: a value would stand in two places, and a few hundred bytes could unfold into
 * gigabytes. What was refused in this pass is never shown to libcyaml, unknown keys excepted. */
#include "gateway/config_shape.h"

#include "ring/base.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16 /* the schema needs 8 */
#define FOUND_MAX 64 /* keys of one mapping; limits and timeouts have the most */

/* Every value is read as text; what it means is config_parse's to say, in words better than "invalid value". */
/* clang-format off */
#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(type, name) CYAML_FIELD_STRING_PTR(#name, OPTIONAL | CYAML_FLAG_POINTER, type, name, 0, CONFIG_WORD_BYTES_MAX)
#define SECTION(type, name, fields) CYAML_FIELD_MAPPING_PTR(#name, OPTIONAL, type, name, fields)
#define LIST(type, name, entry, most) CYAML_FIELD_SEQUENCE(#name, OPTIONAL | CYAML_FLAG_POINTER, type, name, entry, 0, most)
/* clang-format on */

static const cyaml_schema_value_t text_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CONFIG_WORD_BYTES_MAX),
};

static const cyaml_schema_field_t log_fields[] = {
	TEXT(struct written_log, access),
	TEXT(struct written_log, level),
	TEXT(struct written_log, paths),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t count_fields[] = {
	TEXT(struct written_count, durability),
	TEXT(struct written_count, new_sites),
	TEXT(struct written_count, segment),
	CYAML_FIELD_END,
};

/* clang-format off */
static const cyaml_schema_field_t limits_fields[] = {
#define LIMIT_FIELD(name, kind, default_value, least, most) TEXT(struct written_limits, name),
	CONFIG_LIMITS(LIMIT_FIELD)
#undef LIMIT_FIELD
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t timeouts_fields[] = {
#define TIMEOUT_FIELD(name, default_ms, least, most) TEXT(struct written_timeouts, name),
	CONFIG_TIMEOUTS(TIMEOUT_FIELD)
#undef TIMEOUT_FIELD
	CYAML_FIELD_END,
};
/* clang-format on */

static const cyaml_schema_field_t certificate_fields[] = {
	TEXT(struct written_certificate, certificate),
	TEXT(struct written_certificate, key),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t certificate_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct written_certificate, certificate_fields),
};

static const cyaml_schema_field_t client_certificates_fields[] = {
	TEXT(struct written_client_certificates, ca),
	TEXT(struct written_client_certificates, crl),
	TEXT(struct written_client_certificates, depth),
	TEXT(struct written_client_certificates, required),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t host_fields[] = {
	LIST(struct written_host, names, &text_value, CONFIG_NAMES_MAX),
	LIST(struct written_host, certificates, &certificate_value, CONFIG_CERTIFICATES_MAX),
	LIST(struct written_host, alpn, &text_value, 8),
	SECTION(struct written_host, client_certificates, client_certificates_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t host_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct written_host, host_fields),
};

static const cyaml_schema_field_t tls_fields[] = {
	LIST(struct written_tls, certificates, &certificate_value, CONFIG_CERTIFICATES_MAX),
	LIST(struct written_tls, hosts, &host_value, CONFIG_HOSTS_MAX),
	TEXT(struct written_tls, strict_sni),
	LIST(struct written_tls, alpn, &text_value, 8),
	LIST(struct written_tls, versions, &text_value, 8),
	TEXT(struct written_tls, tickets),
	SECTION(struct written_tls, client_certificates, client_certificates_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t listener_fields[] = {
	TEXT(struct written_listener, address),
	SECTION(struct written_listener, tls, tls_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t listener_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct written_listener, listener_fields),
};

static const cyaml_schema_field_t health_fields[] = {
	TEXT(struct written_health, path),
	TEXT(struct written_health, every),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t upstream_fields[] = {
	TEXT(struct written_upstream, name),
	TEXT(struct written_upstream, balance),
	LIST(struct written_upstream, servers, &text_value, CONFIG_SERVERS_MAX),
	SECTION(struct written_upstream, health, health_fields),
	TEXT(struct written_upstream, keep_alive),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t upstream_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct written_upstream, upstream_fields),
};

static const cyaml_schema_field_t route_fields[] = {
	TEXT(struct written_route, host),
	TEXT(struct written_route, path),
	TEXT(struct written_route, prefix),
	TEXT(struct written_route, serve),
	TEXT(struct written_route, proxy),
	TEXT(struct written_route, heartbeat),
	TEXT(struct written_route, idle_reminder),
	TEXT(struct written_route, body_bytes_max),
	LIST(struct written_route, client, &text_value, CONFIG_CLIENTS_MAX),
	LIST(struct written_route, protocols, &text_value, CONFIG_PROTOCOLS_MAX),
	LIST(struct written_route, origins, &text_value, CONFIG_PROTOCOLS_MAX),
	TEXT(struct written_route, deflate),
	TEXT(struct written_route, deflate_takeover),
	TEXT(struct written_route, deflate_window_bits),
	TEXT(struct written_route, deflate_bytes_min),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t route_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct written_route, route_fields),
};

static const cyaml_schema_field_t file_fields[] = {
	TEXT(struct written, cores),
	TEXT(struct written, admin),
	TEXT(struct written, state),
	SECTION(struct written, log, log_fields),
	SECTION(struct written, count, count_fields),
	SECTION(struct written, limits, limits_fields),
	SECTION(struct written, timeouts, timeouts_fields),
	LIST(struct written, listeners, &listener_value, CONFIG_LISTENERS_MAX),
	LIST(struct written, upstreams, &upstream_value, CONFIG_UPSTREAMS_MAX),
	LIST(struct written, routes, &route_value, CONFIG_ROUTES_MAX),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t file_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct written, file_fields),
};

/* How a mapping is called in a message, and what one looks like. */
/* clang-format off */
static const struct noun {
	const cyaml_schema_field_t *fields;
	const char *word;
	const char *example;
} nouns[] = {
	{file_fields, "the file", "listeners: [ { address: 127.0.0.1:8080 } ]"},
	{log_fields, "log", "{ access: log/access.jsonl, level: info }"},
	{count_fields, "count", "{ durability: always }"},
	{limits_fields, "limits", "{ body_bytes_max: 64M }"},
	{timeouts_fields, "timeouts", "{ keep_alive: 75s }"},
	{listener_fields, "a listener", "{ address: 127.0.0.1:8080 }"},
	{tls_fields, "tls", "{ certificates: [ { certificate: tls/site.pem, key: tls/site.key } ] }"},
	{host_fields, "a host", "{ names: [ edc.example.org ], certificates: [ { certificate: tls/edc.pem, key: tls/edc.key } ] }"},
	{client_certificates_fields, "client_certificates", "{ ca: tls/clients-ca.pem }"},
	{certificate_fields, "a certificate", "{ certificate: tls/site.pem, key: tls/site.key }"},
	{upstream_fields, "an upstream", "{ name: edc, servers: [ \"127.0.0.1:9001\" ] }"},
	{health_fields, "health", "{ path: /healthz, every: 2s }"},
	{route_fields, "a route", "{ prefix: /, proxy: edc }"},
};
/* clang-format on */

static const struct noun *noun_of(const cyaml_schema_value_t *mapping)
{
	for (unsigned i = 0; i < array_count(nouns); i++) {
		if (nouns[i].fields == mapping->mapping.fields)
			return &nouns[i];
	}
	check(!"a mapping of the schema without a noun");
	return NULL;
}

/* ---- the walk ---- */

struct walk {
	yaml_parser_t parser;
	yaml_event_t event; /* the one that was read last */
	bool event_held;
	const char *text;
	size_t length;
	struct config_places *places;
	struct config_faults *faults;
	bool loadable; /* nothing was met that libcyaml must not see */
	bool stopped;  /* the text cannot be read further */
};

#define walk_fault(walk, reason, mark, ...)                                               \
	config_fault_add((walk)->faults, CONFIG_ERROR, reason, (unsigned)(mark).line + 1, \
		(unsigned)(mark).column + 1, __VA_ARGS__)

/* libyaml names the byte at which it could not read; people count lines and characters. */
static yaml_mark_t mark_of_offset(const char *text, size_t length, size_t offset)
{
	yaml_mark_t mark = { .index = offset };

	for (size_t i = 0; i < offset && i < length; i++) {
		if (text[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

/* The way back: marks count characters. What is left of the text from there on. */
static const char *text_at_mark(const struct walk *walk, yaml_mark_t mark, size_t *left)
{
	size_t at = 0;

	for (size_t i = 0; i < mark.index && at < walk->length; i++) {
		at++;
		while (at < walk->length && ((unsigned char)walk->text[at] & 0xc0) == 0x80)
			at++;
	}
	*left = walk->length - at;
	return walk->text + at;
}

/* `access: -` means standard output to a person, and the beginning of a list to YAML. */
static bool is_lone_dash(const char *at, size_t left)
{
	return left > 0 && at[0] == '-' && (left == 1 || memchr(" \r\n,}", at[1], 5));
}

static void syntax_fault(struct walk *walk)
{
	static const char suspects[] = "the quotes, brackets and indentation there";
	const yaml_parser_t *parser = &walk->parser;
	yaml_mark_t mark = parser->problem_mark;
	size_t left;
	const char *at = text_at_mark(walk, mark, &left);

	walk->stopped = true;
	walk->loadable = false;
	if (parser->error == YAML_MEMORY_ERROR) {
		config_fault_add(walk->faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s",
			CONFIG_MEMORY.sentence);
	} else if (parser->error == YAML_READER_ERROR) {
		mark = mark_of_offset(walk->text, walk->length, parser->problem_offset);
		walk_fault(walk, &CONFIG_SYNTAX, mark,
			"the text cannot be read: %s (0x%02x); write UTF-8 without control characters",
			parser->problem, (unsigned)parser->problem_value);
	} else if (left > 0 && at[0] == '\t') {
		walk_fault(walk, &CONFIG_SYNTAX, mark,
			"a tab stands where YAML wants spaces; indent with spaces");
	} else if (is_lone_dash(at, left)) {
		walk_fault(walk, &CONFIG_SYNTAX, mark,
			"a lone \"-\" begins a list in YAML; to mean the word, write it in quotes");
	} else if (parser->context && parser->context_mark.line != mark.line) {
		walk_fault(walk, &CONFIG_SYNTAX, mark,
			"not YAML: %s %s that begins in line %u; check %s", parser->problem,
			parser->context, (unsigned)parser->context_mark.line + 1, suspects);
	} else {
		walk_fault(walk, &CONFIG_SYNTAX, mark, "not YAML: %s %s; check %s",
			parser->problem ? parser->problem : "unreadable",
			parser->context ? parser->context : "here", suspects);
	}
}

static void event_drop(struct walk *walk)
{
	if (walk->event_held)
		yaml_event_delete(&walk->event);
	walk->event_held = false;
}

/* The next event, and the things that are refused wherever they stand. False when the text cannot be read further. */
static bool event_next(struct walk *walk)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	event_drop(walk);
	if (walk->stopped)
		return false;
	if (!yaml_parser_parse(&walk->parser, &walk->event)) {
		syntax_fault(walk);
		return false;
	}
	walk->event_held = true;

	const yaml_event_t *event = &walk->event;

	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	}
	if (event->type == YAML_ALIAS_EVENT)
		walk_fault(walk, &CONFIG_SYNTAX, event->start_mark,
			"aliases (*name) are not read; write the value out");
	else if (anchor)
		walk_fault(walk, &CONFIG_SYNTAX, event->start_mark,
			"anchors (&name) are not read; remove it");
	else if (tag)
		walk_fault(walk, &CONFIG_SYNTAX, event->start_mark,
			"tags (!name) are not read; remove it");
	else
		return true;
	walk->loadable = false;
	return true;
}

/* Passes over the value whose first event is the present one. */
static bool value_skip(struct walk *walk)
{
	unsigned depth = 0;

	for (;;) {
		switch (walk->event.type) {
		case YAML_SEQUENCE_START_EVENT:
		case YAML_MAPPING_START_EVENT: depth++; break;
		case YAML_SEQUENCE_END_EVENT:
		case YAML_MAPPING_END_EVENT: depth--; break;
		default: break;
		}
		if (depth > DEPTH_MAX) {
			walk_fault(walk, &CONFIG_TOO_MUCH, walk->event.start_mark,
				"nested too deeply; no key needs more than 8 levels");
			walk->stopped = true;
			walk->loadable = false;
			return false;
		}
		if (depth == 0)
			return true;
		if (!event_next(walk))
			return false;
	}
}

static unsigned place_add(struct walk *walk, unsigned parent, const char *key, yaml_mark_t key_mark)
{
	struct config_places *places = walk->places;
	yaml_mark_t mark = walk->event.start_mark;

	if (places->count == places->room) {
		unsigned room = places->room ? places->room * 2 : 128;
		struct config_place *list = realloc(places->list, room * sizeof *list);

		if (!list) {
			config_fault_add(walk->faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s",
				CONFIG_MEMORY.sentence);
			walk->stopped = true;
			walk->loadable = false;
			return 0;
		}
		places->list = list;
		places->room = room;
	}

	unsigned place = places->count++;

	if (!key)
		key_mark = mark;
	places->list[place] = (struct config_place){
		.line = (unsigned)mark.line + 1,
		.column = (unsigned)mark.column + 1,
		.key_line = (unsigned)key_mark.line + 1,
		.key_column = (unsigned)key_mark.column + 1,
		.key = key,
	};
	if (place > 0) {
		struct config_place *above = &places->list[parent];

		if (above->last)
			places->list[above->last].next = place;
		else
			above->first = place;
		above->last = place;
	}
	return place;
}

/* Edit distance with exchanged neighbours counted once ("adress", "adderss"), for short words; 99 for long ones. */
static unsigned distance(const char *a, const char *b)
{
	enum { WORD_MAX = 32 };
	unsigned rows[3][WORD_MAX + 1];
	size_t a_length = strlen(a), b_length = strlen(b);
	unsigned *above_two = rows[0], *above = rows[1], *row = rows[2];

	if (a_length > WORD_MAX || b_length > WORD_MAX)
		return 99;
	for (size_t j = 0; j <= b_length; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned least = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < least)
				least = above[j] + 1;
			if (row[j - 1] + 1 < least)
				least = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				above_two[j - 2] + 1 < least)
				least = above_two[j - 2] + 1;
			row[j] = least;
		}
		unsigned *spare = above_two;

		above_two = above;
		above = row;
		row = spare;
	}
	return above[b_length];
}

/* "a, b, c" of the keys of a mapping, as far as there is room. */
static void keys_join(const cyaml_schema_field_t *fields, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (const cyaml_schema_field_t *field = fields; field->key && used < size; field++)
		used += (size_t)snprintf(
			out + used, size - used, "%s%s", field == fields ? "" : ", ", field->key);
}

static void key_unknown(
	struct walk *walk, const cyaml_schema_value_t *mapping, const yaml_event_t *event)
{
	const char *word = (const char *)event->data.scalar.value;
	const cyaml_schema_field_t *fields = mapping->mapping.fields;
	const char *nearest = NULL;
	unsigned least = 3; /* two slips of the finger */
	char known[512];

	for (const cyaml_schema_field_t *field = fields; field->key; field++) {
		unsigned slips = distance(word, field->key);

		/* Two slips leave nothing of a short word: "foo" did not mean "log". */
		if (slips < least && slips * 2 <= strlen(field->key)) {
			least = slips;
			nearest = field->key;
		}
	}
	struct config_quoted quoted = config_quote(word, event->data.scalar.length);

	if (nearest) {
		walk_fault(walk, &CONFIG_KEY_UNKNOWN, event->start_mark,
			"unknown key %s in %s; did you mean \"%s\"?", quoted.text,
			noun_of(mapping)->word, nearest);
		return;
	}
	keys_join(fields, known, sizeof known);
	walk_fault(walk, &CONFIG_KEY_UNKNOWN, event->start_mark,
		"unknown key %s in %s; known are: %s", quoted.text, noun_of(mapping)->word, known);
}

static void shape_wrong(struct walk *walk, const cyaml_schema_value_t *schema, const char *key)
{
	static const char *const found_words[] = { "a value", "a list", "a mapping", "nothing" };
	const yaml_event_t *event = &walk->event;
	bool empty = event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0;
	const char *found = found_words[empty                      ? 3
			: event->type == YAML_SCALAR_EVENT         ? 0
			: event->type == YAML_SEQUENCE_START_EVENT ? 1
								   : 2];
	const char *where = key ? key : "this entry";

	walk->loadable = false;
	if (event->type == YAML_ALIAS_EVENT)
		return; /* reported already */
	if (schema->type == CYAML_MAPPING && !key)
		walk_fault(walk, &CONFIG_SHAPE, event->start_mark,
			"%s stands where %s is wanted; write it as %s", found,
			noun_of(schema)->word, noun_of(schema)->example);
	else if (schema->type == CYAML_MAPPING)
		walk_fault(walk, &CONFIG_SHAPE, event->start_mark, "%s holds %s; write it as %s",
			where, found, noun_of(schema)->example);
	else if (schema->type == CYAML_SEQUENCE)
		walk_fault(walk, &CONFIG_SHAPE, event->start_mark,
			"%s holds %s; write a list, an entry a line after \"- \"", where, found);
	else
		walk_fault(walk, &CONFIG_SHAPE, event->start_mark,
			"%s holds %s; write a single value", where, found);
}

static void value_walk(struct walk *walk, const cyaml_schema_value_t *schema, unsigned parent,
	const char *key, yaml_mark_t key_mark);

static void list_walk(
	struct walk *walk, const cyaml_schema_value_t *schema, unsigned place, const char *key)
{
	yaml_mark_t none = { 0 };

	for (unsigned count = 0; event_next(walk) && walk->event.type != YAML_SEQUENCE_END_EVENT;
		count++) {
		if (count < schema->sequence.max) {
			value_walk(walk, schema->sequence.entry, place, NULL, none);
			continue;
		}
		if (count == schema->sequence.max)
			walk_fault(walk, &CONFIG_TOO_MUCH, walk->event.start_mark,
				"%s has too many entries; at most %u are read",
				key ? key : "this list", schema->sequence.max);
		walk->loadable = false;
		if (!value_skip(walk))
			return;
	}
}

/* One key and its value. `found` remembers the lines of the keys of this mapping, 0 for those not seen. */
static void entry_walk(
	struct walk *walk, const cyaml_schema_value_t *schema, unsigned place, unsigned *found)
{
	const cyaml_schema_field_t *fields = schema->mapping.fields;
	yaml_mark_t key_mark = walk->event.start_mark;
	unsigned i = 0;

	if (walk->event.type != YAML_SCALAR_EVENT) {
		if (walk->event.type != YAML_ALIAS_EVENT)
			walk_fault(walk, &CONFIG_SHAPE, key_mark,
				"a key of %s is not a plain word; write \"key: value\"",
				noun_of(schema)->word);
		walk->loadable = false;
		walk->places->list[place].shaky = true;
		if (value_skip(walk) && event_next(walk))
			value_skip(walk);
		return;
	}

	const char *word = (const char *)walk->event.data.scalar.value;
	size_t word_length = walk->event.data.scalar.length;

	/* A NUL in a key would hide its rest from every strcmp behind us. */
	while (fields[i].key && (strcmp(fields[i].key, word) != 0 || strlen(word) != word_length))
		i++;
	check(i < FOUND_MAX);
	if (!fields[i].key) {
		key_unknown(walk, schema, &walk->event);
		walk->places->list[place].shaky = true;
		if (strlen(word) != word_length)
			walk->loadable = false;
		if (event_next(walk))
			value_skip(walk);
		return;
	}
	if (found[i]) {
		walk_fault(walk, &CONFIG_KEY_REPEATED, key_mark,
			"the key \"%s\" was given in line %u already; keep one of them",
			fields[i].key, found[i]);
		walk->loadable = false;
		if (event_next(walk))
			value_skip(walk);
		return;
	}
	found[i] = (unsigned)key_mark.line + 1;
	if (event_next(walk))
		value_walk(walk, &fields[i].value, place, fields[i].key, key_mark);
}

/* A value is kept as a string of C and shown in messages, logs and headers: no control characters in it. */
static void text_walk(struct walk *walk, const char *key)
{
	const yaml_event_t *event = &walk->event;
	const char *value = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	const char *where = key ? key : "this entry";

	for (size_t i = 0; i < length; i++) {
		if (config_control(value + i, length - i) == 0)
			continue;
		walk_fault(walk, &CONFIG_VALUE_BAD, event->start_mark,
			"%s holds a line break or control character; write it on one line without",
			where);
		walk->loadable = false;
		return;
	}
	if (length == 0) {
		walk_fault(walk, &CONFIG_VALUE_BAD, event->start_mark,
			"%s is empty; give a value or remove it", where);
		walk->loadable = false;
	} else if (length > CONFIG_WORD_BYTES_MAX) {
		walk_fault(walk, &CONFIG_TOO_MUCH, event->start_mark,
			"%s is %zu bytes long; at most %u are read", where, length,
			(unsigned)CONFIG_WORD_BYTES_MAX);
		walk->loadable = false;
	}
}

/* The present event begins the value; its last event is the present one afterwards. The recursion is as deep as the
 * schema and no deeper: what does not fit is skipped in a loop. */
static void value_walk(struct walk *walk, const cyaml_schema_value_t *schema, unsigned parent,
	const char *key, yaml_mark_t key_mark)
{
	static const yaml_event_type_t wanted[] = {
		[CYAML_STRING] = YAML_SCALAR_EVENT,
		[CYAML_MAPPING] = YAML_MAPPING_START_EVENT,
		[CYAML_SEQUENCE] = YAML_SEQUENCE_START_EVENT,
	};
	unsigned found[FOUND_MAX] = { 0 };

	check(schema->type == CYAML_STRING || schema->type == CYAML_MAPPING ||
		schema->type == CYAML_SEQUENCE);
	if (walk->event.type != wanted[schema->type]) {
		shape_wrong(walk, schema, key);
		value_skip(walk);
		return;
	}

	unsigned place = place_add(walk, parent, key, key_mark);

	if (walk->stopped)
		return;
	if (schema->type == CYAML_STRING)
		text_walk(walk, key);
	else if (schema->type == CYAML_SEQUENCE)
		list_walk(walk, schema, place, key);
	else
		while (event_next(walk) && walk->event.type != YAML_MAPPING_END_EVENT)
			entry_walk(walk, schema, place, found);
}

static void document_walk(struct walk *walk)
{
	yaml_mark_t none = { 0 };

	if (!event_next(walk) || !event_next(walk)) /* the stream's start, and what follows it */
		return;
	if (walk->event.type == YAML_STREAM_END_EVENT) {
		walk_fault(walk, &CONFIG_NOTHING_TO_DO, none,
			"the file says nothing; give at least one of \"listeners\" and \"admin\"");
		walk->loadable = false;
		return;
	}
	if (!event_next(walk))
		return;
	value_walk(walk, &file_value, 0, NULL, none);
	if (!event_next(walk) || !event_next(walk)) /* the document's end, and what follows it */
		return;
	if (walk->event.type != YAML_STREAM_END_EVENT) {
		walk_fault(walk, &CONFIG_SYNTAX, walk->event.start_mark,
			"a second document begins here; a configuration is one document");
		walk->loadable = false;
	}
}

bool config_shape_read(
	const char *text, size_t length, struct config_places *places, struct config_faults *faults)
{
	struct walk walk = {
		.text = text, .length = length, .places = places, .faults = faults, .loadable = true
	};

	*places = (struct config_places){ 0 };
	if (!yaml_parser_initialize(&walk.parser)) {
		config_fault_add(
			faults, CONFIG_ERROR, &CONFIG_MEMORY, 0, 0, "%s", CONFIG_MEMORY.sentence);
		return false;
	}
	yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text, length);
	/* Said, not guessed: a file that begins like UTF-16 is refused as bad UTF-8. */
	yaml_parser_set_encoding(&walk.parser, YAML_UTF8_ENCODING);
	document_walk(&walk);
	event_drop(&walk);
	yaml_parser_delete(&walk.parser);
	return walk.loadable;
}

void config_places_fini(struct config_places *places)
{
	free(places->list);
	*places = (struct config_places){ 0 };
}

unsigned config_place_key(const struct config_places *places, unsigned mapping, const char *key)
{
	unsigned place = config_place_first(places, mapping);

	while (place && strcmp(places->list[place].key, key) != 0)
		place = places->list[place].next;
	return place;
}

unsigned config_place_first(const struct config_places *places, unsigned list)
{
	check(list < places->count);
	return places->list[list].first;
}

/* ---- libcyaml ---- */

static const cyaml_config_t loading = {
	.mem_fn = cyaml_mem,
	.log_fn = NULL, /* its faults are ours already, with their places */
	.log_level = CYAML_LOG_ERROR,
	.flags = CYAML_CFG_IGNORE_UNKNOWN_KEYS | CYAML_CFG_NO_ALIAS,
};

struct written *config_written_load(const char *text, size_t length, struct config_faults *faults)
{
	cyaml_data_t *data = NULL;
	cyaml_err_t result =
		cyaml_load_data((const uint8_t *)text, length, &loading, &file_value, &data, NULL);

	if (result == CYAML_OK && data)
		return data;
	config_fault_add(faults, CONFIG_ERROR,
		result == CYAML_ERR_OOM ? &CONFIG_MEMORY : &CONFIG_SHAPE, 0, 0,
		"libcyaml does not take the file: %s", cyaml_strerror(result));
	cyaml_free(&loading, &file_value, data, 0);
	return NULL;
}

void config_written_free(struct written *written)
{
	cyaml_free(&loading, &file_value, written, 0);
}
