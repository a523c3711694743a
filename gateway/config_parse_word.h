/* gateway/config_parse_word.h — what every section of a configuration is read with: places, faults, words, and the block
 * that the tree is built in. For config_parse*.c only; everyone else needs config.h.
 *
 * Words: a *mapping* and an *entry* are places (config_shape.h) of what is being read; a *key* is one of the mapping's. A
 * reader of a value does nothing when the word is NULL (not written), and keeps the default when the word is wrong.
 *
 * Owner: struct parse lives on the stack of config_parse_text; pieces belong to the tree.   Thread: one for each parse.
 * Units: as in config.h.   Errors: faults in parse->faults; no function here fails otherwise.
 * Limits: the block is as large as tree_size in config_parse.c has counted; taking more is our mistake. */
#ifndef GATEWAY_CONFIG_PARSE_WORD_H
#define GATEWAY_CONFIG_PARSE_WORD_H

#include "gateway/config_shape.h"

#include <limits.h>

struct parse {
	struct config_faults *faults;
	struct config_places places;
	struct written *written;
	struct config *config;
	char *next, *end;         /* what is left of the block */
	char directory[PATH_MAX]; /* absolute; where relative paths begin */
};

/* ---- the block ---- */

/* Zeroed memory of the tree; NULL for no elements. */
void *parse_piece(struct parse *parse, size_t count, size_t size);
const char *parse_word(struct parse *parse, const char *word);
const char *parse_word_lower(struct parse *parse, const char *word);

/* What these take from the block. */
size_t parse_piece_size(size_t size);
size_t parse_word_size(const char *word);

/* The same of parse_file_path and parse_readable_file; 0 for NULL. */
size_t parse_path_size(const char *path, size_t directory_length);

/* ---- places and faults ---- */

const struct config_place *parse_place(const struct parse *parse, unsigned place);

/* The place of a key that was written, and of the entry after this one. */
unsigned parse_key(const struct parse *parse, unsigned mapping, const char *key);
unsigned parse_next(const struct parse *parse, unsigned entry);

/* Where an unknown key was found, the missing one is most likely that one misspelt, and was reported as such. */
bool parse_shaky(const struct parse *parse, unsigned mapping);

#define value_fault(parse, place, severity, reason, ...)                                     \
	config_fault_add((parse)->faults, severity, reason, parse_place(parse, place)->line, \
		parse_place(parse, place)->column, __VA_ARGS__)
#define value_error(parse, place, reason, ...) \
	value_fault(parse, place, CONFIG_ERROR, reason, __VA_ARGS__)
#define key_error(parse, place, reason, ...)                                                \
	config_fault_add((parse)->faults, CONFIG_ERROR, reason,                             \
		parse_place(parse, place)->key_line, parse_place(parse, place)->key_column, \
		__VA_ARGS__)
#define quote(word) config_quote(word, strlen(word)).text

/* ---- values ---- */

enum kind {
	KIND_COUNT,
	KIND_SIZE,
	KIND_BODY, /* a size, or `unlimited` */
	KIND_DURATION,
};

void parse_number(struct parse *parse, unsigned mapping, const char *key, const char *word,
	enum kind kind, uint64_t least, uint64_t most, uint64_t *value);
void parse_duration(struct parse *parse, unsigned mapping, const char *key, const char *word,
	uint32_t least_ms, uint32_t most_ms, uint32_t *duration_ms);
void parse_bool(
	struct parse *parse, unsigned mapping, const char *key, const char *word, bool *value);

/* One of the words of an enum; `from` passes over the first ones ("proxy" is no word of `serve`). */
unsigned parse_choice(struct parse *parse, unsigned mapping, const char *key, const char *word,
	const char *(*word_of_number)(unsigned), unsigned from, unsigned otherwise);

/* True for the name of a host (config_value.h); `what` says in the fault what it is, as in "the name". */
bool parse_host_name(struct parse *parse, unsigned place, const char *word, const char *what);

/* True when the address can be used; `what` says in the fault whose it is. */
bool parse_address(struct parse *parse, unsigned place, const char *word, const char *what,
	struct config_address *address);

/* Finds the directory of the file `name`, for the paths below; false with errno. */
bool parse_directory(struct parse *parse, const char *name);

/* The path, absolute, without a slash at the end and "./" in front. */
const char *parse_file_path(struct parse *parse, const char *path);

/* The same of a regular file that this process may read. */
const char *parse_readable_file(
	struct parse *parse, unsigned mapping, const char *key, const char *word);

/* True for a path as it stands in a request. */
bool parse_url_path(struct parse *parse, unsigned place, const char *key, const char *path);

/* ---- sections with a file of their own ---- */

void config_parse_routes(struct parse *parse);

/* The keys of route i, whose mapping it is, that are about WebSockets; its target is read already. */
void config_parse_websocket(struct parse *parse, unsigned i, unsigned mapping);
size_t config_websocket_size(const struct written_route *written);

/* `place` is the mapping `tls`. */
void config_parse_tls(struct parse *parse, const struct written_tls *written, unsigned place,
	struct config_tls *tls);
size_t config_tls_size(const struct written_tls *written, size_t directory_length);

#endif
