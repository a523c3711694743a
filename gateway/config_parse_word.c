/* gateway/config_parse_word.c — what every section of a configuration is read with; see config_parse_word.h. */
#include "gateway/config_parse_word.h"

#include "ring/base.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_ALIGNMENT _Alignof(max_align_t)

/* ---- the block ---- */

size_t parse_piece_size(size_t size)
{
	return (size + PIECE_ALIGNMENT - 1) / PIECE_ALIGNMENT * PIECE_ALIGNMENT;
}

/* Zeroed. Never fails: tree_size counted it. An empty array is NULL. */
void *parse_piece(struct parse *parse, size_t count, size_t size)
{
	char *piece = parse->next;

	if (count == 0)
		return NULL;
	check(parse_piece_size(count * size) <= (size_t)(parse->end - piece));
	parse->next += parse_piece_size(count * size);
	memset(piece, 0, count * size);
	return piece;
}

const char *parse_word(struct parse *parse, const char *word)
{
	size_t length = strlen(word);
	char *kept = parse_piece(parse, length + 1, 1);

	memcpy(kept, word, length + 1);
	return kept;
}

const char *parse_word_lower(struct parse *parse, const char *word)
{
	char *kept = (char *)parse_word(parse, word); /* ours until the tree is given away */

	for (char *at = kept; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	}
	return kept;
}

size_t parse_path_size(const char *path, size_t directory_length)
{
	return path ? parse_piece_size(directory_length + strlen(path) + 2) : 0;
}

size_t parse_word_size(const char *word)
{
	return word ? parse_piece_size(strlen(word) + 1) : 0;
}

/* ---- faults with their places ---- */

/* Place 0 is the file as a whole, whose value begins at its first key. */
const struct config_place *parse_place(const struct parse *parse, unsigned place)
{
	check(place < parse->places.count);
	return &parse->places.list[place];
}

unsigned parse_key(const struct parse *parse, unsigned mapping, const char *key)
{
	unsigned place = config_place_key(&parse->places, mapping, key);

	check(place > 0);
	return place;
}

unsigned parse_next(const struct parse *parse, unsigned place)
{
	return parse_place(parse, place)->next;
}

bool parse_shaky(const struct parse *parse, unsigned mapping)
{
	return parse_place(parse, mapping)->shaky;
}

/* ---- words ---- */

static struct config_word kind_word(enum kind kind, uint64_t value)
{
	struct config_word word;

	if (kind == KIND_DURATION)
		return config_duration_word(value);
	if (kind != KIND_COUNT)
		return config_size_word(value);
	snprintf(word.text, sizeof word.text, "%llu", (unsigned long long)value);
	return word;
}

static void number_fault(struct parse *parse, unsigned place, const char *word, enum kind kind,
	enum config_verdict verdict)
{
	static const char units[] = "ms, s, m or h, such as 30s";

	if (kind == KIND_COUNT)
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s is not a whole number; write digits alone", quote(word));
	else if (kind != KIND_DURATION && verdict == CONFIG_UNIT_UNKNOWN)
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s has an unknown unit; write bytes, or k, M or G, such as 64k",
			quote(word));
	else if (kind != KIND_DURATION)
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s is not a size; write a whole number of bytes, or one with k, M or G, such as 64k",
			quote(word));
	else if (verdict == CONFIG_UNIT_MISSING)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s has no unit; write %s",
			quote(word), units);
	else if (verdict == CONFIG_UNIT_UNKNOWN)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s has an unknown unit; write %s",
			quote(word), units);
	else
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s is not a duration; write a whole number and %s", quote(word), units);
}

/* Reads the value of `key` if it is written, else leaves what stands in *value. */
void parse_number(struct parse *parse, unsigned mapping, const char *key, const char *word,
	enum kind kind, uint64_t least, uint64_t most, uint64_t *value)
{
	uint64_t number = 0;
	enum config_verdict verdict;

	if (!word)
		return;
	if (kind == KIND_BODY && strcmp(word, "unlimited") == 0) {
		*value = CONFIG_UNLIMITED;
		return;
	}
	if (kind == KIND_DURATION)
		verdict = config_duration_parse(word, &number);
	else if (kind == KIND_COUNT)
		verdict = config_number_parse(word, &number);
	else
		verdict = config_size_parse(word, &number);

	unsigned place = parse_key(parse, mapping, key);

	if (verdict != CONFIG_GOOD && verdict != CONFIG_TOO_LARGE) {
		number_fault(parse, place, word, kind, verdict);
	} else if (verdict == CONFIG_TOO_LARGE || number < least || number > most) {
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"%s is outside the range of %s; write %s to %s%s", quote(word), key,
			kind_word(kind, least).text, kind_word(kind, most).text,
			kind == KIND_BODY ? ", or unlimited" : "");
	} else {
		*value = number;
	}
}

void parse_duration(struct parse *parse, unsigned mapping, const char *key, const char *word,
	uint32_t least_ms, uint32_t most_ms, uint32_t *duration_ms)
{
	uint64_t value = *duration_ms;

	parse_number(parse, mapping, key, word, KIND_DURATION, least_ms, most_ms, &value);
	*duration_ms = (uint32_t)value;
}

unsigned parse_choice(struct parse *parse, unsigned mapping, const char *key, const char *word,
	const char *(*word_of_number)(unsigned), unsigned from, unsigned otherwise)
{
	char known[128] = "";
	size_t used = 0;

	if (!word)
		return otherwise;
	for (unsigned i = from; word_of_number(i); i++) {
		if (strcmp(word, word_of_number(i)) == 0)
			return i;
		used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
			i == from ? "" : ", ", word_of_number(i));
		check(used < sizeof known);
	}
	value_error(parse, parse_key(parse, mapping, key), &CONFIG_VALUE_BAD,
		"%s is no word of %s; known are: %s", quote(word), key, known);
	return otherwise;
}

/* "yes", "on" and "1" are refused: what YAML makes of them differs from reader to reader. */
void parse_bool(
	struct parse *parse, unsigned mapping, const char *key, const char *word, bool *value)
{
	*value = parse_choice(parse, mapping, key, word, config_bool_word, 0, *value) == 1;
}

bool parse_host_name(struct parse *parse, unsigned place, const char *word, const char *what)
{
	static const char *const wrong[] = {
		[CONFIG_NAME_FOREIGN] =
			"holds letters outside ASCII; write A-labels, such as xn--mnchen-3ya.example.org",
		[CONFIG_NAME_ADDRESS] = "is an IP address; write a host name, such as edc.example.org",
		[CONFIG_NAME_PORT] = "holds a port, which is no part of a name; remove it",
		[CONFIG_NAME_DOT] = "ends with a dot, with which no name arrives here; remove it",
		[CONFIG_NAME_WILDCARD] =
			"has a wildcard that is not the whole leftmost label; write *.example.org",
		[CONFIG_NAME_BAD] =
			"is no host name; write one such as edc.example.org or *.example.org",
	};
	enum config_verdict verdict = config_name_check(word);

	if (verdict != CONFIG_GOOD)
		value_error(parse, place, &CONFIG_VALUE_BAD, "%s %s %s", what, quote(word),
			wrong[verdict]);
	return verdict == CONFIG_GOOD;
}

/* ---- paths of files ---- */

/* The directory of the file `name`, absolute, so that what is printed can be kept anywhere and still means the same. */
bool parse_directory(struct parse *parse, const char *name)
{
	const char *slash = strrchr(name, '/');
	size_t length = slash ? (size_t)(slash - name) : 0;
	size_t used = 0;

	if (name[0] == '/' && length == 0) {
		/* "/postern.yaml": joined paths begin with the slash alone. */
		parse->directory[0] = '\0';
		return true;
	}
	if (name[0] != '/') {
		if (!getcwd(parse->directory, sizeof parse->directory))
			return false;
		used = strlen(parse->directory);
		if (used == 1)
			used = 0; /* the root's slash comes with the join */
		if (length > 0 && used + 1 < sizeof parse->directory)
			parse->directory[used++] = '/';
	}
	if (used + length >= sizeof parse->directory)
		return false;
	memcpy(parse->directory + used, name, length);
	parse->directory[used + length] = '\0';
	return true;
}

/* Absolute, without a slash at the end and "./" in front. */
const char *parse_file_path(struct parse *parse, const char *path)
{
	size_t directory_length = strlen(parse->directory);
	size_t length;
	char *kept;

	while (path[0] == '.' && path[1] == '/' && path[2] != '\0')
		path += path[2] == '/' ? 1 : 2;
	length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (path[0] == '/')
		directory_length = 0;

	kept = parse_piece(parse, directory_length + 1 + length + 1, 1);
	memcpy(kept, parse->directory, directory_length);
	if (path[0] != '/')
		kept[directory_length++] = '/';
	memcpy(kept + directory_length, path, length);
	return kept;
}

/* Whether the bytes are a certificate is judged by tls; whether they can be had at all is a fault of this file. */
const char *parse_readable_file(
	struct parse *parse, unsigned mapping, const char *key, const char *word)
{
	const char *path = parse_file_path(parse, word);
	unsigned place = parse_key(parse, mapping, key);
	struct stat status;

	if (stat(path, &status) != 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
		value_error(parse, place, &CONFIG_FILE_UNREADABLE,
			"the %s %s cannot be read: %m; give a file that this user may read", key,
			quote(path));
	else if (!S_ISREG(status.st_mode))
		value_error(parse, place, &CONFIG_FILE_UNREADABLE,
			"the %s %s is not a file; give a file in PEM form", key, quote(path));
	return path;
}

/* ---- addresses ---- */

bool parse_address(struct parse *parse, unsigned place, const char *word, const char *what,
	struct config_address *address)
{
	switch (config_address_parse(word, parse->directory, address)) {
	case CONFIG_GOOD: return true;
	case CONFIG_PORT_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s has no port; write IP:port, such as 127.0.0.1:8080",
			quote(word), what);
		break;
	case CONFIG_PORT_BAD:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s has a bad port; write a port from 1 to 65535",
			quote(word), what);
		break;
	case CONFIG_HOST_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s has no IP address; write 0.0.0.0 or [::] for every one of this machine",
			quote(word), what);
		break;
	case CONFIG_HOST_IS_NAME:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s is a name; names are resolved in a later version; write the IP address",
			quote(word), what);
		break;
	case CONFIG_BRACKETS_MISSING:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s does not show where its port begins; write IPv6 in brackets, such as [::1]:8080",
			quote(word), what);
		break;
	case CONFIG_SOCKET_PATH_BAD:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s is no path of a socket; write unix: and a path of 1 to 107 bytes, its directory included",
			quote(word), what);
		break;
	default:
		value_error(parse, place, &CONFIG_VALUE_BAD,
			"the address %s of %s is no IP address; write it as 127.0.0.1:8080, [::1]:8080 or unix:/path",
			quote(word), what);
	}
	return false;
}

/* ---- paths of requests ---- */

/* A path as it stands in a request after normalisation: RFC 3986 §3.3 without query and fragment, and without the
 * segments "." and ".." that §5.2.4 removes: a route that contains one would never match. */
static const char *path_wrong(const char *path)
{
	if (path[0] != '/')
		return "does not begin with \"/\"; write it from the root";
	for (const char *at = path; *at; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == '?' || c == '#')
			return "holds a query or fragment, which is not matched; remove it from \"?\" or \"#\" on";
		if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
			return "holds a character that no path of a request holds; write it percent-encoded";
		if (c == '/' && at[1] == '.' &&
			(at[2] == '/' || at[2] == '\0' ||
				(at[2] == '.' && (at[3] == '/' || at[3] == '\0'))))
			return "holds \".\" or \"..\", and would never match; write the path that is meant";
	}
	return NULL;
}

bool parse_url_path(struct parse *parse, unsigned place, const char *key, const char *path)
{
	const char *wrong = path_wrong(path);

	if (wrong)
		value_error(
			parse, place, &CONFIG_VALUE_BAD, "the %s %s %s", key, quote(path), wrong);
	return !wrong;
}
