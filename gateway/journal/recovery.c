/* See gateway/journal/recovery.h. In two parts: everything is looked at first, and only when all of it adds up is anything changed.
 *
 *   lock ─▶ each stream: names ─▶ newest whole snapshot ─▶ segments behind it ─▶ seen
 *        ─▶ do streams know of more than there is? ─▶ torn ends kept aside and cut, drafts removed, all synced, missing streams made
 *
 * The last commit that is found is written once more, and synced, also where nothing is torn: a killed process may have written it a
 * moment ago, and from now on others build on it. Syncing alone would not do: if it was a sync that failed before that process ended,
 * the kernel may show us bytes that it has given up to save. */
#include "gateway/journal/disk.h"
#include "gateway/journal/recovery.h"
#include "gateway/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAMS_MAX SHARD_SUM_MAX
#define SNAPSHOTS_KEPT 2u
#define TORN_NAMES_MAX 100u
#define LOCK_NAME "lock"
#define HELP "restore it from a copy; \"posternctl audit verify\" says more"

/* ---- what is gathered before anything is changed ---- */

struct sequences {
	uint64_t *all;
	size_t count, room;
};

struct found {
	unsigned number;
	int directory;                   /* -1: there is none */
	struct sequences segments, snapshots, drafts; /* by name, ascending */
	struct journal_head head;
	uint64_t bad_snapshots;          /* newer than the one that is used */
	/* The last segment, as it is: */
	uint64_t segment_bytes;          /* the file's, more than head.segment_bytes where there is something to cut */
	bool unheaded;                   /* it has no header yet: not a segment at all */
	uint64_t unheaded_first;
	uint8_t *torn;                   /* what is to be kept aside */
	size_t torn_bytes;
	uint8_t *commit;                 /* the last one, or the header where there is none; up to head.segment_bytes */
	uint64_t commit_at;
	/* What others know of it. */
	uint64_t known_sequence;
	char known_by[64];
};

struct recovering {
	struct recovery *recovery;
	struct recovery_fault *fault;
	const char *state;
	int journal;                     /* <state>/journal */
	record_hash *hash;
	recovery_seen *seen;
	void *user;
	struct found *streams;           /* STREAMS_MAX */
	unsigned count;                  /* one more than the highest that exists */
};

static bool refuse(struct recovering *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct recovering *r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(r->fault->sentence, sizeof r->fault->sentence, format, arguments);
	va_end(arguments);
	return false;
}

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_say(CONFIG_LOG_WARN, CONFIG_LOG_WARN, "%s", text);
}

struct file_name {
	char text[72];                   /* in its stream's directory */
	char path[512];                  /* for people */
};

static void name_set(struct file_name *name, const struct recovering *r, const struct found *stream, uint64_t sequence, const char *kind)
{
	snprintf(name->text, sizeof name->text, "%020" PRIu64 ".%s", sequence, kind);
	snprintf(name->path, sizeof name->path, "%.400s/journal/%02u/%s", r->state, stream->number, name->text);
}

/* ---- names ---- */

static void sequences_add(struct sequences *sequences, uint64_t sequence)
{
	if (sequences->count == sequences->room) {
		sequences->room = sequences->room ? sequences->room * 2 : 16;
		sequences->all = realloc(sequences->all, sequences->room * sizeof *sequences->all);
		check(sequences->all);
	}
	sequences->all[sequences->count++] = sequence;
}

static int ascending(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sequences_sort(struct sequences *sequences)
{
	if (sequences->count > 0)
		qsort(sequences->all, sequences->count, sizeof *sequences->all, ascending);
}

/* Digits, of which there are at least so many, and what stands behind them. */
static const char *digits_read(const char *text, unsigned least, uint64_t *number)
{
	unsigned n = 0;

	*number = 0;
	for (; text[n] >= '0' && text[n] <= '9'; n++) {
		if (*number > (UINT64_MAX - 9) / 10)
			return NULL;
		*number = *number * 10 + (uint64_t)(text[n] - '0');
	}
	return n >= least ? text + n : NULL;
}

/* Other names are not ours, or were kept aside by us; neither is of any concern. */
static void file_named(void *user, const char *name)
{
	struct found *stream = user;
	uint64_t sequence;
	const char *behind = digits_read(name, 20, &sequence);

	if (!behind || behind != name + 20)
		return;
	if (strcmp(behind, ".journal") == 0)
		sequences_add(&stream->segments, sequence);
	else if (strcmp(behind, ".snapshot") == 0)
		sequences_add(&stream->snapshots, sequence);
	else if (strcmp(behind, ".snapshot.new") == 0)
		sequences_add(&stream->drafts, sequence);
}

static void stream_named(void *user, const char *name)
{
	struct recovering *r = user;
	uint64_t number;
	const char *behind = digits_read(name, 2, &number);

	if (behind && !*behind && number < STREAMS_MAX && (name[0] != '0' || !name[2])) {
		r->streams[number].known_by[0] = '?';    /* opened by streams_open */
		if (number >= r->count)
			r->count = (unsigned)number + 1;
	}
}

static bool streams_open(struct recovering *r)
{
	int named = disk_names(r->journal, stream_named, r);

	if (named < 0)
		return refuse(r, "%s/journal cannot be read: %s", r->state, strerror(-named));
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct found *stream = &r->streams[i];
		char name[16];

		if (stream->known_by[0] != '?')
			continue;
		stream->known_by[0] = 0;
		snprintf(name, sizeof name, "%02u", i);
		stream->directory = disk_directory(r->journal, name, false);
		named = stream->directory < 0 ? stream->directory : disk_names(stream->directory, file_named, stream);
		if (named < 0)
			return refuse(r, "%s/journal/%s cannot be read: %s", r->state, name, strerror(-named));
		sequences_sort(&stream->segments);
		sequences_sort(&stream->snapshots);
	}
	return true;
}

/* ---- what a start and a stop know of other streams ---- */

static void known(struct recovering *r, unsigned number, uint64_t sequence, const struct found *by, const struct record *record)
{
	struct found *stream = &r->streams[number];

	if (stream->known_by[0] && sequence <= stream->known_sequence)
		return;
	stream->known_sequence = sequence;
	snprintf(stream->known_by, sizeof stream->known_by, "record %" PRIu64 " of stream %02u", record->sequence, by->number);
}

/* See cache/record.h for what the detail is. What has another form knows nothing; `posternctl audit verify` is stricter. */
static void detail_read(struct recovering *r, const struct found *by, const struct record *record)
{
	char detail[RECORD_DETAIL_BYTES_MAX + 1], *rest = NULL;
	const char *previous = "";
	bool heads = false;

	memcpy(detail, record->detail.bytes, record->detail.size);
	detail[record->detail.size] = 0;
	for (char *word = strtok_r(detail, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		const char *behind;
		uint64_t number, sequence;

		if (heads) {
			behind = digits_read(word, 1, &number);
			if (!behind || *behind != ':' || number >= STREAMS_MAX)
				break;
			behind = digits_read(behind + 1, 1, &sequence);
			if (!behind || *behind != ':')
				break;
			known(r, (unsigned)number, sequence, by, record);
		} else if (strcmp(previous, "cores") == 0) {
			behind = digits_read(word, 1, &number);
			if (!behind || *behind || number > STREAMS_MAX)
				break;
			for (unsigned i = 0; i < number; i++)
				known(r, i, 0, by, record);
		}
		heads |= strcmp(word, "heads") == 0;
		previous = word;
	}
}

static bool give(struct recovering *r, const struct found *stream, const struct record *record)
{
	if ((record->kind == RECORD_START || record->kind == RECORD_STOP) && record->detail.size > 0)
		detail_read(r, stream, record);
	return !r->seen || r->seen(r->user, stream->number, record, r->fault);
}

/* ---- a snapshot ---- */

struct snapshot_end {
	uint64_t sequence;               /* the journal is read on behind it */
	uint64_t stamp_ns;
	uint8_t chain[RECORD_CHAIN_BYTES];
};

/* NULL: it is whole, and *end is set; otherwise what is wrong with it. With `given` its records are given meanwhile: it is known to be
 * whole then, and only a refusal of what they say can end it. */
static const char *snapshot_read(struct recovering *r, const struct found *stream, const uint8_t *bytes, size_t n, uint64_t sequence,
	bool given, struct snapshot_end *end, bool *refused)
{
	struct segment segment;
	uint8_t chain[RECORD_CHAIN_BYTES];
	size_t at = SEGMENT_HEADER_BYTES;
	bool ended = false;

	*refused = false;
	if (!segment_read(bytes, n, &segment) || !segment.snapshot)
		return "it has no header";
	if (segment.stream != stream->number || segment.first_sequence != sequence)
		return "it is of another stream or sequence than its name says";
	memcpy(chain, segment.chain, sizeof chain);
	for (uint64_t number = 1; at < n; number++) {
		struct block block;
		size_t read_bytes = 0;

		if (block_read(bytes + at, n - at, &block) != BLOCK_FOUND || block.number != number || ended)
			return "it is damaged";
		for (uint32_t i = 0; i < block.records; i++) {
			struct record record;
			size_t used;

			if (ended || record_read(block.bytes + read_bytes, block.record_bytes - read_bytes, &used, &record, chain,
			                         given ? NULL : r->hash) != RECORD_OK)
				return "a record in it is damaged";
			read_bytes += used;
			if (record.kind == RECORD_END) {
				if (record.cap != (int64_t)sequence + 1 || record.detail.size != RECORD_CHAIN_BYTES)
					return "its end does not say where the journal goes on";
				end->sequence = sequence;
				end->stamp_ns = record.stamp_ns;
				memcpy(end->chain, record.detail.bytes, RECORD_CHAIN_BYTES);
				ended = true;
			}
			if (given) {
				r->recovery->report.snapshot_records++;
				if (!give(r, stream, &record)) {
					*refused = true;
					return NULL;
				}
			}
		}
		if (read_bytes != block.record_bytes)
			return "a block of it has more than its records";
		at += block.size;
	}
	return ended ? NULL : "it has no end";
}

/* The newest that is whole; *end stays as it is where there is none. A snapshot is a convenience, so a damaged one is told and passed
 * over: the journal knows it all. */
static bool snapshot_find(struct recovering *r, struct found *stream, struct snapshot_end *end)
{
	for (size_t i = stream->snapshots.count; i-- > 0;) {
		const uint64_t sequence = stream->snapshots.all[i];
		struct file_name name;
		const char *wrong;
		uint8_t *bytes;
		bool refused;
		size_t n;
		int result;

		name_set(&name, r, stream, sequence, "snapshot");
		result = disk_read(stream->directory, name.text, &bytes, &n);
		wrong = result < 0 ? strerror(-result) : snapshot_read(r, stream, bytes, n, sequence, false, end, &refused);
		if (wrong) {
			tell("%s is not used: %s; %s", name.path, wrong, i > 0 ? "an older snapshot is looked at" : "the whole journal is read");
			stream->bad_snapshots++;
			*end = (struct snapshot_end){ 0 };
			if (result >= 0)
				free(bytes);
			continue;
		}
		snapshot_read(r, stream, bytes, n, sequence, true, end, &refused);
		r->recovery->report.bytes += n;
		stream->head.snapshot_sequence = sequence;
		stream->head.snapshot_older = i > 0 ? stream->snapshots.all[i - 1] : 0;
		free(bytes);
		return !refused;
	}
	return true;
}

/* ---- a segment ---- */

struct reading {
	struct found *stream;
	struct file_name name;
	const uint8_t *bytes;
	size_t n, at;
	uint64_t block;                  /* the last one's number */
	size_t commit_at;                /* where the first block of this number is, if it is in this segment */
	uint64_t sequence;               /* of the last record that was passed */
	uint64_t previous_ns;            /* its stamp; 0: not known */
	uint64_t stamp_ns;               /* the latest that is known, of the snapshot too */
	uint8_t chain[RECORD_CHAIN_BYTES];
	bool chained;                    /* the chain is known; before that, blocks that the snapshot contains are passed unread */
	struct snapshot_end from;        /* everything up to there is known; sequence 0: nothing is */
	bool last;                       /* no segment follows */
};

/* The chain at the snapshot's end is what the snapshot says. */
static bool snapshot_follows(struct recovering *r, struct reading *reading)
{
	if (memcmp(reading->chain, reading->from.chain, RECORD_CHAIN_BYTES) != 0)
		return refuse(r, "%s: the snapshot %020" PRIu64 " was made from another journal: the chain of record %" PRIu64 " is not the same; " HELP,
			reading->name.path, reading->from.sequence, reading->from.sequence);
	reading->chained = true;
	return true;
}

static bool record_next(struct recovering *r, struct reading *reading, const struct block *block, size_t *read_bytes)
{
	const bool contained = !reading->chained;
	const uint64_t offset = (uint64_t)(block->bytes - reading->bytes) + *read_bytes;
	struct record record;
	size_t used;

	switch (record_read(block->bytes + *read_bytes, block->record_bytes - *read_bytes, &used, &record, reading->chain,
	                    contained ? NULL : r->hash)) {
	case RECORD_OK:
		break;
	case RECORD_CHAIN_BROKEN:
		return refuse(r, "%s, byte %" PRIu64 ": record %" PRIu64 " does not follow from the one before it: one of them was changed, or "
			"taken out; " HELP, reading->name.path, offset, record.sequence);
	default:
		return refuse(r, "%s, byte %" PRIu64 ": what should be record %" PRIu64 " is none, though the block around it is whole; " HELP,
			reading->name.path, offset, reading->sequence + 1);
	}
	if (record.sequence != reading->sequence + 1 || record.kind >= RECORD_LINE)
		return refuse(r, "%s, byte %" PRIu64 ": record %" PRIu64 " (%s) stands where record %" PRIu64 " of the journal should; " HELP,
			reading->name.path, offset, record.sequence, record_kind_name(record.kind), reading->sequence + 1);
	if (record.stamp_ns <= reading->previous_ns)
		return refuse(r, "%s, byte %" PRIu64 ": record %" PRIu64 " is older than the one before it; " HELP, reading->name.path, offset,
			record.sequence);
	*read_bytes += used;
	reading->sequence = record.sequence;
	reading->previous_ns = record.stamp_ns;
	if (record.stamp_ns > reading->stamp_ns)
		reading->stamp_ns = record.stamp_ns;
	if (contained)
		return record.sequence < reading->from.sequence || snapshot_follows(r, reading);
	r->recovery->report.records++;
	return give(r, reading->stream, &record);
}

static bool block_pass(struct recovering *r, struct reading *reading, const struct block *block)
{
	const uint64_t last = block->first_sequence + block->records - 1;
	size_t read_bytes = 0;

	if (!reading->chained && last < reading->from.sequence) {
		reading->sequence = last;
		return true;
	}
	for (uint32_t i = 0; i < block->records; i++)
		if (!record_next(r, reading, block, &read_bytes))
			return false;
	if (read_bytes != block->record_bytes)
		return refuse(r, "%s, byte %zu: the block has more than its records; " HELP, reading->name.path, reading->at);
	/* All that is behind what the snapshot contains. */
	reading->stream->head.snapshot_behind_bytes += block->size;
	return true;
}

/* Whole, and the one that belongs here: of the same commit as the one before, or of the next; the first of a segment is of the next. */
static bool block_next(const struct reading *reading, struct block *block)
{
	if (block_read(reading->bytes + reading->at, reading->n - reading->at, block) != BLOCK_FOUND)
		return false;
	if (block->number != reading->block + 1 && (block->number != reading->block || reading->at == SEGMENT_HEADER_BYTES))
		return false;
	return block->first_sequence == reading->sequence + 1;
}

static bool damaged(struct recovering *r, const struct reading *reading, const char *what)
{
	return refuse(r, "%s, byte %zu: %s, and newer records stand behind it, so it was on the disk once and was answered for; nothing is changed; "
		HELP, reading->name.path, reading->at, what);
}

/* The end of the last segment. What is wrong there was never answered for, unless a later commit stands behind it. */
static bool segment_ends(struct recovering *r, struct reading *reading)
{
	struct found *stream = reading->stream;
	const uint8_t *rest = reading->bytes + reading->at;
	size_t left = reading->n - reading->at, zeros = 0, later;
	struct block block;

	if (left > 0 && block_find_later(rest, left, reading->block + 1, &later))
		return damaged(r, reading, "a block is damaged");
	/* A page of zeros and more is what the next blocks would have been written over. */
	while (zeros < left && rest[left - 1 - zeros] == 0)
		zeros++;
	if (zeros >= DISK_PAGE_BYTES)
		left -= zeros;
	if (left > 0 && block_read(rest, left, &block) != BLOCK_NONE) {
		stream->torn = malloc(left);
		check(stream->torn);
		memcpy(stream->torn, rest, left);
		stream->torn_bytes = left;
	}
	return true;
}

/* A file that was made, and nothing of it is sure to be there: no block is written before the header is synced. */
static bool segment_unheaded(struct recovering *r, struct reading *reading)
{
	struct found *stream = reading->stream;
	struct block block;
	size_t later;

	if (!reading->last)
		return damaged(r, reading, "the header is damaged");
	if (reading->n > 0 && block_find_later(reading->bytes, reading->n, 0, &later))
		return damaged(r, reading, "the header is damaged");
	stream->unheaded = true;
	stream->unheaded_first = stream->segments.all[stream->segments.count - 1];
	if (reading->n > 0 && block_read(reading->bytes, reading->n, &block) != BLOCK_NONE)
		stream->torn_bytes = reading->n;
	return true;
}

static void commit_keep(const struct reading *reading)
{
	struct found *stream = reading->stream;
	const size_t n = reading->at - reading->commit_at;

	free(stream->commit);
	stream->commit = malloc(n);
	check(stream->commit);
	memcpy(stream->commit, reading->bytes + reading->commit_at, n);
	stream->commit_at = reading->commit_at;
}

static bool segment_pass(struct recovering *r, struct reading *reading, uint64_t first)
{
	struct segment segment;
	struct block block;

	reading->at = 0;
	if (!segment_read(reading->bytes, reading->n, &segment) || segment.snapshot)
		return segment_unheaded(r, reading);
	if (segment.stream != reading->stream->number || segment.first_sequence != first)
		return refuse(r, "%s: by its header it is of stream %02" PRIu64 " and begins with record %" PRIu64 "; " HELP, reading->name.path,
			segment.stream, segment.first_sequence);
	if (first != reading->sequence + 1)
		return refuse(r, "%s: the segment before it is missing: it would begin with record %" PRIu64 "; " HELP, reading->name.path,
			reading->sequence + 1);
	if (reading->chained && memcmp(reading->chain, segment.chain, RECORD_CHAIN_BYTES) != 0)
		return refuse(r, "%s: it does not follow from the segment before it: one of them was changed; " HELP, reading->name.path);
	if (segment.first_block == 0 || (reading->block > 0 && segment.first_block != reading->block + 1))
		return refuse(r, "%s: by its header its blocks begin with %" PRIu64 ", and those before end with %" PRIu64 "; " HELP,
			reading->name.path, segment.first_block, reading->block);
	reading->block = segment.first_block - 1;
	reading->commit_at = 0;
	for (reading->at = SEGMENT_HEADER_BYTES; block_next(reading, &block); reading->at += block.size) {
		if (!block_pass(r, reading, &block))
			return false;
		if (block.number != reading->block)
			reading->commit_at = reading->at;
		reading->block = block.number;
	}
	reading->stream->head.segment_first = first;
	reading->stream->head.segment_bytes = reading->at;
	reading->stream->segment_bytes = reading->n;
	commit_keep(reading);
	if (reading->last)
		return segment_ends(r, reading);
	/* Everything is synced before another segment is made. It may have been too small for one more block. */
	if (block_read(reading->bytes + reading->at, reading->n - reading->at, &block) != BLOCK_NONE)
		return damaged(r, reading, "a block is damaged");
	return true;
}

/* ---- a stream ---- */

/* The one with the record that the snapshot ends at, whose chain must be the snapshot's; without a snapshot the first of all. */
static bool segment_find(struct recovering *r, struct found *stream, const struct snapshot_end *from, size_t *first)
{
	const uint64_t wanted = from->sequence > 0 ? from->sequence : 1;
	struct file_name name;

	*first = 0;
	for (size_t i = 0; i < stream->segments.count; i++)
		if (stream->segments.all[i] <= wanted)
			*first = i;
	if (stream->segments.count > 0 && stream->segments.all[0] <= wanted)
		return true;
	name_set(&name, r, stream, 1, "journal");
	if (from->sequence > 0)
		return refuse(r, "%.420s/journal/%02u: the segment with record %" PRIu64 " is missing, which the snapshot %020" PRIu64 " contains; " HELP,
			r->state, stream->number, from->sequence, from->sequence);
	if (stream->segments.count > 0)
		return refuse(r, "%s is missing, and later segments are there; " HELP, name.path);
	return true;
}

static bool stream_read(struct recovering *r, struct found *stream)
{
	struct reading reading = { .stream = stream };
	size_t first;

	if (!snapshot_find(r, stream, &reading.from) || !segment_find(r, stream, &reading.from, &first))
		return false;
	reading.chained = reading.from.sequence == 0;
	reading.stamp_ns = reading.from.stamp_ns;
	if (stream->segments.count > 0)
		reading.sequence = reading.chained ? 0 : stream->segments.all[first] - 1;
	for (size_t i = first; i < stream->segments.count; i++) {
		uint8_t *bytes;
		bool passed;
		int result;

		name_set(&reading.name, r, stream, stream->segments.all[i], "journal");
		result = disk_read(stream->directory, reading.name.text, &bytes, &reading.n);
		if (result < 0)
			return refuse(r, "%s cannot be read: %s", reading.name.path, strerror(-result));
		r->recovery->report.bytes += reading.n;
		reading.bytes = bytes;
		reading.last = i + 1 == stream->segments.count;
		passed = segment_pass(r, &reading, stream->segments.all[i]);
		free(bytes);
		if (!passed)
			return false;
	}
	if (!reading.chained)
		return refuse(r, "%.420s/journal/%02u: it ends with record %" PRIu64 ", and the snapshot %020" PRIu64 " contains more; " HELP, r->state,
			stream->number, reading.sequence, reading.from.sequence);
	stream->head.sequence = reading.sequence;
	stream->head.block = reading.block;
	stream->head.stamp_ns = reading.stamp_ns;
	memcpy(stream->head.chain, reading.chain, RECORD_CHAIN_BYTES);
	return true;
}

/* ---- together ---- */

static bool streams_agree(struct recovering *r)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct found *stream = &r->streams[i];

		if (!stream->known_by[0])
			continue;
		if (stream->directory < 0 || (stream->head.sequence == 0 && stream->known_sequence > 0))
			return refuse(r, "%.420s/journal/%02u is missing: %s knows of it; " HELP, r->state, i, stream->known_by);
		if (stream->head.sequence < stream->known_sequence)
			return refuse(r, "%.420s/journal/%02u ends with record %" PRIu64 ", and %s knows of record %" PRIu64 " there; " HELP, r->state, i,
				stream->head.sequence, stream->known_by, stream->known_sequence);
	}
	return true;
}

/* ---- changing what must be changed ---- */

static bool failed(struct recovering *r, const char *path, const char *what, int error)
{
	return refuse(r, "%s: %s: %s", path, what, strerror(error));
}

/* A name that is not there yet, with the time in it. */
static void torn_name(const struct file_name *segment, unsigned try, struct file_name *name)
{
	const time_t now = (time_t)(kernel_wall_ns(NULL) / 1000000000);
	char when[24], more[12] = "";
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
	if (try > 0)
		snprintf(more, sizeof more, "-%u", try);
	snprintf(name->text, sizeof name->text, "%.28s.torn-%s%s", segment->text, when, more);
	snprintf(name->path, sizeof name->path, "%.430s.torn-%s%s", segment->path, when, more);
}

/* Kept aside before it is cut off, and both durably: it may be all that tells what a client was not answered for. */
static bool torn_keep(struct recovering *r, struct found *stream, const struct file_name *segment, struct file_name *kept)
{
	int fd = -EEXIST, result;

	for (unsigned try = 0; fd == -EEXIST && try < TORN_NAMES_MAX; try++) {
		torn_name(segment, try, kept);
		fd = disk_make(stream->directory, kept->text);
	}
	if (fd < 0)
		return failed(r, kept->path, "what is torn off cannot be kept there", -fd);
	result = disk_write(fd, stream->torn, stream->torn_bytes, 0);
	if (result >= 0)
		result = disk_sync(fd);
	disk_close(fd);
	if (result >= 0)
		result = disk_directory_sync(stream->directory);
	return result >= 0 || failed(r, kept->path, "what is torn off cannot be kept there", -result);
}

static bool segment_mend(struct recovering *r, struct found *stream)
{
	struct file_name segment, kept;
	int fd, result = 0;

	name_set(&segment, r, stream, stream->head.segment_first, "journal");
	if (stream->torn && !torn_keep(r, stream, &segment, &kept))
		return false;
	fd = disk_open(stream->directory, segment.text);
	if (fd < 0)
		return failed(r, segment.path, "it cannot be written", -fd);
	if (stream->segment_bytes > stream->head.segment_bytes)
		result = disk_cut(fd, stream->head.segment_bytes);
	if (result >= 0)
		result = disk_write(fd, stream->commit, (size_t)(stream->head.segment_bytes - stream->commit_at), stream->commit_at);
	if (result >= 0)
		result = disk_sync(fd);
	disk_close(fd);
	if (result < 0)
		return failed(r, segment.path, "its end cannot be made sure of", -result);
	if (stream->torn) {
		r->recovery->report.torn_bytes += stream->torn_bytes;
		tell("%s ended in the middle of a write, of which nobody was told that it was done: %zu bytes from byte %" PRIu64
		     " on are cut off and kept in %s", segment.path, stream->torn_bytes, stream->head.segment_bytes, kept.path);
	}
	return true;
}

/* It goes as it is, or without a trace when there is nothing in it. */
static bool unheaded_mend(struct recovering *r, struct found *stream)
{
	struct file_name segment, kept;
	int result = -EEXIST;

	name_set(&segment, r, stream, stream->unheaded_first, "journal");
	if (stream->torn_bytes == 0) {
		result = disk_remove(stream->directory, segment.text);
		return result >= 0 || failed(r, segment.path, "it is empty and cannot be removed", -result);
	}
	for (unsigned try = 0; result == -EEXIST && try < TORN_NAMES_MAX; try++) {
		int fd;

		torn_name(&segment, try, &kept);
		/* rename() would replace a file of that name without a word. */
		fd = disk_make(stream->directory, kept.text);
		result = fd;
		if (fd >= 0) {
			disk_close(fd);
			result = disk_rename(stream->directory, segment.text, kept.text);
		}
	}
	if (result < 0)
		return failed(r, kept.path, "a segment that was never begun cannot be kept there", -result);
	r->recovery->report.torn_bytes += stream->torn_bytes;
	tell("%s was being made and holds no records yet: it is kept as %s", segment.path, kept.path);
	return true;
}

static void snapshots_mend(struct recovering *r, struct found *stream)
{
	const size_t used = stream->snapshots.count - stream->bad_snapshots;
	struct file_name name;

	for (size_t i = 0; i < stream->drafts.count; i++) {
		name_set(&name, r, stream, stream->drafts.all[i], "snapshot.new");
		disk_remove(stream->directory, name.text);
	}
	/* Two whole ones are enough, and a damaged one is in the way of the next of its name. */
	for (size_t i = 0; i < stream->snapshots.count; i++) {
		name_set(&name, r, stream, stream->snapshots.all[i], "snapshot");
		if (i >= used || i + SNAPSHOTS_KEPT < used)
			disk_remove(stream->directory, name.text);
	}
}

static bool stream_mend(struct recovering *r, struct found *stream)
{
	char name[16];
	int synced;

	snprintf(name, sizeof name, "%02u", stream->number);
	if (stream->directory < 0) {
		stream->directory = disk_directory(r->journal, name, true);
		return stream->directory >= 0 || refuse(r, "%.420s/journal/%s cannot be made: %s", r->state, name, strerror(-stream->directory));
	}
	if (stream->unheaded && !unheaded_mend(r, stream))
		return false;
	if (stream->head.segment_bytes > 0 && !segment_mend(r, stream))
		return false;
	snapshots_mend(r, stream);
	synced = disk_directory_sync(stream->directory);
	return synced >= 0 || refuse(r, "%.420s/journal/%s cannot be synced: %s", r->state, name, strerror(-synced));
}

static bool lock(struct recovering *r)
{
	struct recovery *recovery = r->recovery;

	recovery->lock = disk_lock(r->journal, LOCK_NAME);
	if (recovery->lock == -EWOULDBLOCK)
		return refuse(r, "%s/journal is in use by another gateway that runs; each needs a state directory of its own", r->state);
	if (recovery->lock < 0)
		return refuse(r, "%s/journal/" LOCK_NAME " cannot be made or locked: %s", r->state, strerror(-recovery->lock));
	return true;
}

static bool directories_open(struct recovering *r)
{
	int state = disk_directory_root(r->state, true);

	if (state < 0)
		return refuse(r, "the state directory %s cannot be opened: %s", r->state, strerror(-state));
	r->journal = disk_directory(state, "journal", true);
	disk_close(state);
	if (r->journal < 0)
		return refuse(r, "%s/journal cannot be opened: %s", r->state, strerror(-r->journal));
	return true;
}

static bool run(struct recovering *r, unsigned cores)
{
	struct recovery *recovery = r->recovery;

	if (!directories_open(r) || !lock(r) || !streams_open(r))
		return false;
	for (unsigned i = 0; i < r->count; i++)
		if (r->streams[i].directory >= 0 && !stream_read(r, &r->streams[i]))
			return false;
	if (!streams_agree(r))
		return false;
	if (r->count < cores)
		r->count = cores;
	for (unsigned i = 0; i < r->count; i++)
		if (!stream_mend(r, &r->streams[i]))
			return false;
	if (disk_directory_sync(r->journal) < 0)
		return refuse(r, "%s/journal cannot be synced", r->state);
	recovery->stream_count = recovery->report.streams = r->count;
	recovery->heads = calloc(r->count, sizeof *recovery->heads);
	recovery->directories = calloc(r->count, sizeof *recovery->directories);
	check(recovery->heads && recovery->directories);
	for (unsigned i = 0; i < r->count; i++) {
		recovery->heads[i] = r->streams[i].head;
		recovery->directories[i] = r->streams[i].directory;
		r->streams[i].directory = -1;
	}
	return true;
}

bool recovery_run(struct recovery *recovery, const char *state, unsigned cores, record_hash *hash, recovery_seen *seen, void *user,
	struct recovery_fault *fault)
{
	const uint64_t began_ns = kernel_now_ns(NULL);
	struct recovering r = {
		.recovery = recovery, .fault = fault, .state = state, .journal = -1, .hash = hash, .seen = seen, .user = user,
	};
	bool good;

	check(cores > 0 && cores <= STREAMS_MAX);
	*recovery = (struct recovery){ .lock = -1, .begun = true };
	*fault = (struct recovery_fault){ 0 };
	r.streams = calloc(STREAMS_MAX, sizeof *r.streams);
	check(r.streams);
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		r.streams[i] = (struct found){ .number = i, .directory = -1 };
	good = run(&r, cores);
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct found *stream = &r.streams[i];

		if (stream->directory >= 0)
			disk_close(stream->directory);
		free(stream->segments.all);
		free(stream->snapshots.all);
		free(stream->drafts.all);
		free(stream->torn);
		free(stream->commit);
	}
	free(r.streams);
	if (r.journal >= 0)
		disk_close(r.journal);
	if (!good)
		recovery_free(recovery);
	recovery->report.took_ns = kernel_now_ns(NULL) - began_ns;
	return good;
}

void recovery_free(struct recovery *recovery)
{
	/* Zeroed, it was never run, and its lock is nobody's. */
	if (!recovery->begun)
		return;
	for (unsigned i = 0; i < recovery->stream_count; i++)
		if (recovery->directories[i] >= 0)
			disk_close(recovery->directories[i]);
	if (recovery->lock >= 0)
		disk_close(recovery->lock);
	free(recovery->heads);
	free(recovery->directories);
	*recovery = (struct recovery){ .lock = -1, .report = recovery->report };
}
