/* See tests/sim/count_audit.h. */
#include "tests/sim/count_audit.h"

#include "cache/block.h"
#include "gateway/journal/disk.h"
#include "gateway/journal/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 4096u

struct names {
	char all[SEGMENTS_MAX][DISK_NAME_BYTES_MAX];
	unsigned count;
};

struct stream_read {
	struct audit *audit;
	struct world *world;
	unsigned number;
	uint64_t sequence, stamp_ns;
	uint8_t chain[RECORD_CHAIN_BYTES];
	int64_t line[COUNT_SITES][COUNT_KINDS];
};

unsigned audit_site(struct world *world, struct record_text id)
{
	if (id.size == 0)
		return COUNT_ALL;
	if (id.size != 1 || id.bytes[0] < 'a' || id.bytes[0] >= 'a' + (int)COUNT_SITES)
		world_fail(world, "a site that there never was: \"%.*s\"", (int)id.size, id.bytes);
	return (unsigned)(id.bytes[0] - 'a');
}

static int64_t number_behind(struct record_text text, const char *words)
{
	const size_t n = strlen(words);
	char digits[24] = "";

	if (text.size <= n || text.size - n >= sizeof digits || memcmp(text.bytes, words, n) != 0)
		return COUNT_NONE;
	memcpy(digits, text.bytes + n, text.size - n);
	return (int64_t)strtoll(digits, NULL, 10);
}

int audit_key(struct record_text key)
{
	return (int)number_behind(key, "key-");
}

/* ---- one stream ---- */

static void record_add(struct stream_read *stream, const struct record *record)
{
	struct audit *audit = stream->audit;

	if (audit->count == audit->room) {
		audit->room = audit->room ? audit->room * 2 : 256;
		audit->records = realloc(audit->records, audit->room * sizeof *audit->records);
		check(audit->records);
	}
	audit->records[audit->count++] = (struct audit_record){
		.stamp_ns = record->stamp_ns, .sequence = record->sequence, .stream = stream->number, .kind = record->kind,
		.site = audit_site(stream->world, record->site),
		.by = { record->by[0], record->by[1], record->by[2], record->by[3] },
		.status = record->status, .cap = record->cap, .rule_changes = record->rule_changes, .amount = record->amount,
		.outcome = record->outcome, .reservation = record->reservation, .call = number_behind(record->request_id, "call-"),
		.key = audit_key(record->key),
	};
}

static void record_judge(struct stream_read *stream, const struct record *record)
{
	struct world *world = stream->world;
	const unsigned site = audit_site(world, record->site);

	if (record->sequence != stream->sequence + 1)
		world_fail(world, "audit: stream %u has record %llu behind %llu", stream->number, (unsigned long long)record->sequence,
			(unsigned long long)stream->sequence);
	if (record->stamp_ns <= stream->stamp_ns)
		world_fail(world, "audit: stream %u, record %llu: its stamp is not later than the one before", stream->number,
			(unsigned long long)record->sequence);
	stream->sequence = record->sequence;
	stream->stamp_ns = record->stamp_ns;
	if (record->kind != RECORD_CHANGE && record->kind != RECORD_CONFIRM)
		return;
	if (site == COUNT_ALL || memcmp(record->before, stream->line[site], sizeof record->before) != 0)
		world_fail(world, "audit: stream %u, record %llu: it begins with %lld enrolled, and what stands before adds up to %lld", stream->number,
			(unsigned long long)record->sequence, (long long)record->before[COUNT_ENROLLED],
			(long long)(site == COUNT_ALL ? 0 : stream->line[site][COUNT_ENROLLED]));
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		stream->line[site][kind] += record->by[kind];
}

static void segment_audit(struct stream_read *stream, const char *name, const uint8_t *bytes, size_t n)
{
	struct segment segment;
	struct block block;

	if (!segment_read(bytes, n, &segment) || segment.first_sequence != stream->sequence + 1)
		world_fail(stream->world, "audit: stream %u: %s is not the segment behind record %llu", stream->number, name,
			(unsigned long long)stream->sequence);
	for (size_t at = SEGMENT_HEADER_BYTES; at < n && block_read(bytes + at, n - at, &block) == BLOCK_FOUND; at += block.size) {
		size_t read_bytes = 0;

		for (uint32_t i = 0; i < block.records; i++) {
			struct record record;
			size_t used;

			if (record_read(block.bytes + read_bytes, block.record_bytes - read_bytes, &used, &record, stream->chain, journal_hash) != RECORD_OK)
				world_fail(stream->world, "audit: stream %u: the record behind %llu cannot be read", stream->number,
					(unsigned long long)stream->sequence);
			read_bytes += used;
			record_judge(stream, &record);
			record_add(stream, &record);
		}
	}
}

static void name_seen(void *user, const char *name)
{
	struct names *names = user;
	const char *dot = strchr(name, '.');

	if (!dot || strcmp(dot, ".journal") != 0)
		return;
	check(names->count < SEGMENTS_MAX);
	snprintf(names->all[names->count++], DISK_NAME_BYTES_MAX, "%s", name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void stream_audit(struct stream_read *stream, int directory)
{
	struct names *names = calloc(1, sizeof *names);

	check(names && disk_names(directory, name_seen, names) == 0);
	qsort(names->all, names->count, sizeof names->all[0], by_name);
	for (unsigned i = 0; i < names->count; i++) {
		uint8_t *bytes;
		size_t n;

		check(disk_read(directory, names->all[i], &bytes, &n) == 0);
		segment_audit(stream, names->all[i], bytes, n);
		free(bytes);
	}
	free(names);
	stream->audit->ends[stream->number] = stream->sequence;
}

/* ---- all of them, one after another ---- */

static int by_stamp(const void *a, const void *b)
{
	const struct audit_record *x = a, *y = b;

	if (x->stamp_ns != y->stamp_ns)
		return x->stamp_ns < y->stamp_ns ? -1 : 1;
	return x->stream < y->stream ? -1 : x->stream > y->stream;
}

static int token_of(const struct token *tokens, uint64_t number)
{
	for (unsigned i = 0; i < COUNT_TOKENS; i++)
		if (number != 0 && tokens[i].number == number)
			return (int)i;
	return COUNT_NONE;
}

static void point_judge(struct world *world, const struct audit *audit, const struct token *tokens, const struct audit_record *record)
{
	const struct model *model = &audit->model;
	const struct model_site *site = &model->sites[record->site];
	/* A confirmation takes the place that was kept for it. */
	const bool rises = record->by[COUNT_ENROLLED] > record->by[COUNT_WITHDRAWN] || record->kind == RECORD_RESERVE;
	const bool keeps = record->kind != RECORD_CONFIRM;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (site->n[kind] < 0)
			world_fail(world, "audit: below zero in the one order: stream %u, record %llu", record->stream, (unsigned long long)record->sequence);
	if (model_count(model, record->site) < 0)
		world_fail(world, "audit: a count below zero in the one order: stream %u, record %llu", record->stream, (unsigned long long)record->sequence);
	if (rises && site->cap != COUNT_NO_CAP &&
	    model_count(model, record->site) + (keeps ? model_reserved(model, tokens, record->site) : 0) > site->cap)
		world_fail(world, "audit: over the site's cap in the one order: stream %u, record %llu", record->stream, (unsigned long long)record->sequence);
	if (rises && model->study_cap != COUNT_NO_CAP &&
	    model_count(model, COUNT_ALL) + (keeps ? model_reserved(model, tokens, COUNT_ALL) : 0) > model->study_cap)
		world_fail(world, "audit: over the study's cap in the one order: stream %u, record %llu", record->stream, (unsigned long long)record->sequence);
	if (rises && record->by[COUNT_ENROLLED] > 0 && site->status != COUNT_RECRUITING)
		world_fail(world, "audit: enrolled where nobody is to be, in the one order: stream %u, record %llu", record->stream,
			(unsigned long long)record->sequence);
}

static void record_apply(struct world *world, struct audit *audit, const struct token *tokens, const struct audit_record *record)
{
	struct model *model = &audit->model;
	struct model_site *site = record->site == COUNT_ALL ? NULL : &model->sites[record->site];
	const int token = token_of(tokens, record->reservation);

	if (record->key != COUNT_NONE) {
		if (model->keys >> record->key & 1)
			world_fail(world, "audit: key %d was answered twice", record->key);
		model->keys |= 1ull << record->key;
	}
	switch (record->kind) {
	case RECORD_CHANGE:
	case RECORD_CONFIRM:
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			site->n[kind] += record->by[kind];
		site->revision++;
		break;
	case RECORD_RULES:
		audit->rule_changes[record->site]++;
		if (site) {
			site->status = (uint64_t)record->status;
			site->cap = record->cap;
			site->revision++;
			site->ruled = 1;
		} else {
			model->study_cap = record->cap;
			model->study_ruled = 1;
		}
		break;
	default:
		break;
	}
	switch (record->kind) {
	case RECORD_RESERVE:
	case RECORD_CONFIRM:
	case RECORD_RELEASE:
	case RECORD_EXPIRE:
		if (token == COUNT_NONE || tokens[token].site != record->site || (model->reservations >> token & 1) != (record->kind != RECORD_RESERVE))
			world_fail(world, "audit: stream %u, record %llu is of a reservation that is not so", record->stream,
				(unsigned long long)record->sequence);
		model->reservations ^= 1ull << token;
		site->ruled = 1;
		site->revision++;
		audit->rule_changes[record->site]++;
		break;
	default:
		break;
	}
}

void audit_read(struct audit *audit, struct world *world, const struct token *tokens)
{
	const int root = disk_directory_root("state", false), journal = disk_directory(root, "journal", false);

	memset(audit, 0, sizeof *audit);
	model_init(&audit->model);
	check(root >= 0 && journal >= 0);
	for (unsigned i = 0; i < AUDIT_STREAMS_MAX; i++) {
		struct stream_read *stream;
		char name[8];
		int directory;

		snprintf(name, sizeof name, "%02u", i);
		directory = disk_directory(journal, name, false);
		if (directory < 0)
			continue;
		stream = calloc(1, sizeof *stream);
		check(stream);
		*stream = (struct stream_read){ .audit = audit, .world = world, .number = i };
		stream_audit(stream, directory);
		free(stream);
		disk_close(directory);
	}
	disk_close(journal);
	disk_close(root);
	if (audit->count > 0)
		qsort(audit->records, audit->count, sizeof *audit->records, by_stamp);
	for (size_t i = 0; i < audit->count; i++) {
		const struct audit_record *record = &audit->records[i];

		record_apply(world, audit, tokens, record);
		if (record->site != COUNT_ALL)
			point_judge(world, audit, tokens, record);
	}
}

void audit_free(struct audit *audit)
{
	free(audit->records);
	audit->records = NULL;
}
