/* cache/record.h — one entry of the journal, which is the audit trail: what happened, as bytes and back.
 *
 *   ┌ bytes of the record, u16 ┬ kind u8 ┬ form u8 = 1 ┬ number u32 of fields' bytes ┬ sequence u64 ┬ stamp u64 ┬ fields … ┬ chain 32 ┐
 *
 * All numbers little-endian. A field is a tag (u8) and its value: of tags below 0x80 a signed integer (zigzag, LEB128), of the others
 * a length (LEB128) and so many bytes. Fields with their default value (0, empty) are left out; those that are there stand in the order
 * of their tags, each at most once, so a record has exactly one form in bytes.
 * chain = SHA-256(chain of the record before ‖ this record without its chain); before the first record of a stream stand 32 zeros.
 *
 * Words: a *stream* is the journal of one core, numbered like it. A *sequence* numbers its records, 1, 2, 3 … A *stamp* is UTC in ns, and
 * rises strictly within a stream; a core that acts on what another did has a later stamp than that (so all streams merged
 * by stamp and stream are one history, in which no cap is exceeded and nothing is below zero at any point).
 * A *line* is what a stream has added to a site.
 *
 * Pure.   Owner: nothing; texts point into what was given.   Thread: any.   Units: as named.
 * Errors: enum record_answer.   Limits: RECORD_BYTES_MAX; texts as below. */
#ifndef CACHE_RECORD_H
#define CACHE_RECORD_H

#include "cache/shard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_CHAIN_BYTES 32
#define RECORD_TEXT_BYTES_MAX 512u       /* of each text: actor, reason, …; but */
#define RECORD_DETAIL_BYTES_MAX 4096u    /* of the detail: it names the heads of some 45 streams */
#define RECORD_BYTES_MAX 8192u
#define RECORD_DIGEST_BYTES 16

enum record_kind {
	RECORD_START = 1,         /* the gateway began: detail says its version, the number of cores, the digest of its configuration; and heads (below) */
	RECORD_STOP = 2,          /* … and ended in order: detail has the heads of all other streams */
	RECORD_CHANGE = 3,        /* by */
	RECORD_RULES = 4,         /* status and cap of a site, or cap of the study (site empty): as they are from now on */
	RECORD_RESERVE = 5,       /* reservation, amount, expires */
	RECORD_CONFIRM = 6,       /* reservation, and by, like a change */
	RECORD_RELEASE = 7,       /* reservation */
	RECORD_EXPIRE = 8,        /* reservation */
	RECORD_REFUSE = 9,        /* a request with a key that was refused: outcome says why; 0: there was nothing to change */
	RECORD_CONFIGURATION = 10,/* something of the configuration changed, since the start before or while running: detail. In a snapshot, without an
	                             actor: the words of the start */
	/* In snapshots only. `sequence` is that of the last record whose effect is contained. */
	RECORD_LINE = 64,         /* site, before: the line as it stands; changes, line_stamp */
	RECORD_KEY = 65,          /* key, digest, outcome, reservation, expires, at_ms: a request that was answered */
	RECORD_END = 66,          /* the snapshot is whole. cap: the sequence from which the journal is to be read on; detail: the chain there (32 bytes) */
};

struct record_text { const char *bytes; size_t size; };

struct record {
	enum record_kind kind;
	uint64_t sequence, stamp_ns;
	struct record_text site;         /* empty: the study, or none */
	struct record_text actor;        /* who: subject of the client's certificate, or "anonymous", "administrator uid=… pid=…", "SIGHUP …", or "postern" itself */
	struct record_text address;      /* from where */
	struct record_text reason;
	struct record_text request_id;
	struct record_text key;          /* Idempotency-Key */
	struct record_text detail;
	uint8_t digest[RECORD_DIGEST_BYTES]; /* of the request that had the key */
	int64_t by[COUNT_KINDS];
	int64_t before[COUNT_KINDS];     /* this stream's line before it */
	int64_t changes;                 /* RECORD_LINE: changes of this line so far */
	int64_t line_stamp_ns;           /* RECORD_LINE */
	int64_t status, status_before;   /* RECORD_RULES: enum count_status */
	int64_t cap, cap_before;         /* -1: none. Written of RECORD_RULES and RECORD_END alone; read as -1 of all others */
	int64_t rule_changes;            /* RECORD_RULES: how often the rules of this site have changed, this one included */
	int64_t amount;                  /* of a reservation */
	uint64_t reservation;
	uint64_t expires_ms;             /* UTC */
	uint64_t at_ms;                  /* RECORD_KEY: when it was answered, UTC */
	int64_t outcome;                 /* enum count_refusal; 0: done */
};

/* The order of tags is the order of fields. Integers 1 …, texts and bytes 0x80 … */
enum record_tag {
	RECORD_TAG_BY = 1,               /* 1-4, by kind of count */
	RECORD_TAG_BEFORE = 5,           /* 5-8 */
	RECORD_TAG_CHANGES = 9, RECORD_TAG_LINE_STAMP, RECORD_TAG_STATUS, RECORD_TAG_STATUS_BEFORE, RECORD_TAG_CAP /* + 1, so that none is 0 */,
	RECORD_TAG_CAP_BEFORE /* + 1 */, RECORD_TAG_RULE_CHANGES, RECORD_TAG_AMOUNT, RECORD_TAG_RESERVATION, RECORD_TAG_EXPIRES,
	RECORD_TAG_AT, RECORD_TAG_OUTCOME,
	RECORD_TAG_SITE = 0x80, RECORD_TAG_ACTOR, RECORD_TAG_ADDRESS, RECORD_TAG_REASON, RECORD_TAG_REQUEST_ID, RECORD_TAG_KEY,
	RECORD_TAG_DETAIL, RECORD_TAG_DIGEST,
};

/* The detail of RECORD_START and RECORD_STOP is words with one space between:
 *
 *   version VERSION cores N configuration HEX durability WORD … heads STREAM:SEQUENCE:HEX STREAM:SEQUENCE:HEX …
 *
 * Of these "cores N" says that the streams 0 to N - 1 are there, and what follows "heads", to the end, where streams are known to stand: the last
 * sequence (0: no record yet) and its chain, in hexadecimal, or the chain's beginning of 16 digits or more. Heads of so many streams that one
 * record has no room for them go on in further ones of the same kind, right behind it, whose details begin with "heads": together they are one
 * start, or one end. So streams vouch for each other: what was cut off the end of one, or is missing altogether, another one knows of.
 * `posternctl audit verify` holds them to it. */

enum record_answer {
	RECORD_OK,
	RECORD_SHORT,             /* there are fewer bytes than it has */
	RECORD_MALFORMED,         /* not one of ours: length, kind, form, tags, order, texts */
	RECORD_CHAIN_BROKEN,      /* well-formed, and not what followed the record before */
};

/* SHA-256 of a ‖ b; given, because nothing cryptographic is written here. */
typedef void record_hash(uint8_t out[RECORD_CHAIN_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes);

/* Writes the record with its chain, and moves `chain` on. Returns its bytes; 0: `room` is too small (RECORD_BYTES_MAX always is enough), and
 * `chain` stays. Texts above their limit and kinds that there are not are our own mistake. */
size_t record_write(uint8_t *bytes, size_t room, const struct record *, uint8_t chain[RECORD_CHAIN_BYTES], record_hash *);

/* Reads one. `chain` moves on where it holds. hash NULL: the chain is not looked at, and `chain` becomes the one that is written there.
 * After RECORD_CHAIN_BROKEN the record and `used` may be looked at, to say what it is that does not follow. */
enum record_answer record_read(const uint8_t *bytes, size_t n, size_t *used, struct record *, uint8_t chain[RECORD_CHAIN_BYTES], record_hash *);

const char *record_kind_name(enum record_kind); /* "change", "rules", … ; NULL: no such kind */

#endif
