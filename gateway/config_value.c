/* gateway/config_value.c — the words of a configuration; see config_value.h. */
#include "gateway/config_value.h"

#include "ring/base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

struct unit {
	const char *word;
	uint64_t factor;
};

/* The largest first: printing takes the first that divides. */
static const struct unit duration_units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
	{ "ms", 1 } };
static const struct unit size_units[] = { { "G", 1u << 30 }, { "M", 1u << 20 }, { "k", 1u << 10 } };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Letters to the end: what may be a unit, known or not. "1.5h" and "1h30m" are no numbers, rather than of unit ".5h". */
static bool is_word(const char *text)
{
	while ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z'))
		text++;
	return *text == '\0';
}

/* The digits in front; *end is the first character that is none. strtoull is not used: it takes signs, blanks and
 * other bases. */
static enum config_verdict digits_parse(const char *text, const char **end, uint64_t *number)
{
	uint64_t value = 0;
	bool overflow = false;
	const char *at = text;

	for (; is_digit(*at); at++) {
		overflow |= __builtin_mul_overflow(value, 10, &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value);
	}
	*end = at;
	if (at == text)
		return CONFIG_NOT_NUMBER;
	*number = value;
	return overflow ? CONFIG_TOO_LARGE : CONFIG_GOOD;
}

enum config_verdict config_number_parse(const char *text, uint64_t *number)
{
	const char *end;
	uint64_t value = 0;
	enum config_verdict verdict = digits_parse(text, &end, &value);

	if (*end)
		return CONFIG_NOT_NUMBER;
	if (verdict == CONFIG_GOOD)
		*number = value;
	return verdict;
}

enum config_verdict config_duration_parse(const char *text, uint64_t *duration_ms)
{
	const char *end;
	uint64_t value = 0;
	enum config_verdict verdict = digits_parse(text, &end, &value);

	if (*end == '\0' && verdict != CONFIG_NOT_NUMBER)
		return CONFIG_UNIT_MISSING;
	if (verdict == CONFIG_NOT_NUMBER || !is_word(end))
		return CONFIG_NOT_NUMBER;
	for (unsigned i = 0; i < array_count(duration_units); i++) {
		if (strcmp(end, duration_units[i].word) != 0)
			continue;
		if (verdict != CONFIG_GOOD ||
			__builtin_mul_overflow(value, duration_units[i].factor, &value))
			return CONFIG_TOO_LARGE;
		*duration_ms = value;
		return CONFIG_GOOD;
	}
	return CONFIG_UNIT_UNKNOWN;
}

enum config_verdict config_size_parse(const char *text, uint64_t *size_bytes)
{
	const char *end;
	uint64_t value = 0;
	enum config_verdict verdict = digits_parse(text, &end, &value);

	if (verdict == CONFIG_NOT_NUMBER)
		return verdict;
	if (*end != '\0' && !is_word(end))
		return CONFIG_NOT_NUMBER;
	if (*end == '\0') {
		if (verdict == CONFIG_GOOD)
			*size_bytes = value;
		return verdict;
	}
	for (unsigned i = 0; i < array_count(size_units); i++) {
		if (strcasecmp(end, size_units[i].word) != 0)
			continue;
		if (verdict != CONFIG_GOOD ||
			__builtin_mul_overflow(value, size_units[i].factor, &value))
			return CONFIG_TOO_LARGE;
		*size_bytes = value;
		return CONFIG_GOOD;
	}
	return CONFIG_UNIT_UNKNOWN;
}

static struct config_word word_of(
	uint64_t value, const struct unit *units, size_t count, const char *plain)
{
	struct config_word word;

	for (size_t i = 0; value > 0 && i < count; i++) {
		if (value % units[i].factor != 0)
			continue;
		snprintf(word.text, sizeof word.text, "%llu%s",
			(unsigned long long)(value / units[i].factor), units[i].word);
		return word;
	}
	snprintf(word.text, sizeof word.text, "%llu%s", (unsigned long long)value, plain);
	return word;
}

struct config_word config_duration_word(uint64_t duration_ms)
{
	return word_of(duration_ms, duration_units, array_count(duration_units), "s");
}

struct config_word config_size_word(uint64_t size_bytes)
{
	return word_of(size_bytes, size_units, array_count(size_units), "");
}

enum config_verdict config_address_unix(const char *path, struct config_address *address)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	size_t length = strlen(path);

	/* The terminating NUL must fit: without it, unlink(2) and the kernel would speak of two different names. */
	if (length == 0 || length >= sizeof local.sun_path)
		return CONFIG_SOCKET_PATH_BAD;
	memcpy(local.sun_path, path, length + 1);

	memset(address, 0, sizeof *address);
	memcpy(&address->socket, &local, sizeof local);
	address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	snprintf(address->text, sizeof address->text, "unix:%s", path);
	return CONFIG_GOOD;
}

static enum config_verdict socket_path_parse(
	const char *path, const char *directory, struct config_address *address)
{
	char joined[sizeof(struct sockaddr_un)];

	if (*path == '\0')
		return CONFIG_SOCKET_PATH_BAD;
	if (*path == '/')
		return config_address_unix(path, address);

	int length = snprintf(joined, sizeof joined, "%s/%s", directory, path);

	if (length < 0 || (size_t)length >= sizeof joined)
		return CONFIG_SOCKET_PATH_BAD;
	return config_address_unix(joined, address);
}

/* Looks like a name of RFC 1123 §2.1: letters, digits, hyphens, dots, and a letter somewhere. What is all digits and
 * dots was meant as an IP address. */
static bool is_name(const char *host, size_t length)
{
	bool letter = false;

	for (size_t i = 0; i < length; i++) {
		char c = host[i];
		bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alpha && !is_digit(c) && c != '-' && c != '.' && c != '_')
			return false;
		letter |= alpha;
	}
	return letter;
}

static enum config_verdict port_parse(const char *text, uint16_t *port)
{
	uint64_t number;

	if (config_number_parse(text, &number) != CONFIG_GOOD || number == 0 || number > 65535)
		return CONFIG_PORT_BAD;
	*port = (uint16_t)number;
	return CONFIG_GOOD;
}

/* "[address]:port" */
static enum config_verdict ipv6_parse(const char *text, struct config_address *address)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	char host[INET6_ADDRSTRLEN];
	const char *close = strchr(text, ']');
	uint16_t port;

	if (!close || (size_t)(close - text - 1) >= sizeof host)
		return CONFIG_HOST_BAD;
	memcpy(host, text + 1, (size_t)(close - text - 1));
	host[close - text - 1] = '\0';
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		return CONFIG_HOST_BAD;
	if (close[1] != ':')
		return CONFIG_PORT_MISSING;
	if (port_parse(close + 2, &port) != CONFIG_GOOD)
		return CONFIG_PORT_BAD;
	in6.sin6_port = htons(port);

	memset(address, 0, sizeof *address);
	memcpy(&address->socket, &in6, sizeof in6);
	address->length = sizeof in6;
	check(inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host));
	snprintf(address->text, sizeof address->text, "[%s]:%u", host, port);
	return CONFIG_GOOD;
}

enum config_verdict config_address_parse(
	const char *text, const char *directory, struct config_address *address)
{
	if (strncmp(text, "unix:", 5) == 0)
		return socket_path_parse(text + 5, directory, address);
	if (text[0] == '[')
		return ipv6_parse(text, address);

	const char *colon = strrchr(text, ':');
	size_t host_length = colon ? (size_t)(colon - text) : strlen(text);
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	char host[INET_ADDRSTRLEN];
	uint16_t port;

	if (colon && strchr(text, ':') != colon)
		return CONFIG_BRACKETS_MISSING;
	if (colon && (host_length == 0 || (host_length == 1 && text[0] == '*')))
		return CONFIG_HOST_MISSING;
	if (!colon)
		return CONFIG_PORT_MISSING;
	if (is_name(text, host_length))
		return CONFIG_HOST_IS_NAME;
	if (host_length >= sizeof host)
		return CONFIG_HOST_BAD;
	memcpy(host, text, host_length);
	host[host_length] = '\0';
	/* inet_pton takes four decimal numbers only; inet_aton would read "010.1" as octal and short. */
	if (inet_pton(AF_INET, host, &in4.sin_addr) != 1)
		return CONFIG_HOST_BAD;
	if (port_parse(colon + 1, &port) != CONFIG_GOOD)
		return CONFIG_PORT_BAD;
	in4.sin_port = htons(port);

	memset(address, 0, sizeof *address);
	memcpy(&address->socket, &in4, sizeof in4);
	address->length = sizeof in4;
	snprintf(address->text, sizeof address->text, "%s:%u", host, port);
	return CONFIG_GOOD;
}

/* RFC 5890 §2.3.1: letters, digits and hyphens, no hyphen at either end, 1 to 63 bytes. *end is the first byte behind it. */
static bool label_check(const char *label, const char **end, bool *digits)
{
	const char *at = label;

	for (*digits = true; *at && *at != '.'; at++) {
		bool alpha = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');

		if (!alpha && !is_digit(*at) && *at != '-')
			return false;
		*digits &= is_digit(*at);
	}
	*end = at;
	return at > label && at - label <= 63 && label[0] != '-' && at[-1] != '-';
}

enum config_verdict config_name_check(const char *text)
{
	const char *colon = strchr(text, ':'), *at = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
	size_t length = strlen(text);
	bool digits = false;

	for (const char *byte = text; *byte; byte++)
		if ((unsigned char)*byte >= 0x80)
			return CONFIG_NAME_FOREIGN;
	if (text[0] == '[' || (colon && strchr(colon + 1, ':')))
		return CONFIG_NAME_ADDRESS;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1))
		return CONFIG_NAME_PORT;
	if (strchr(at, '*'))
		return CONFIG_NAME_WILDCARD;
	if (length > 1 && at[0] && text[length - 1] == '.')
		return CONFIG_NAME_DOT;
	if (length > 253)
		return CONFIG_NAME_BAD;
	for (;; at++) {
		if (!label_check(at, &at, &digits))
			return CONFIG_NAME_BAD;
		if (!*at)
			break;
	}
	/* No name of the DNS ends in a label of digits; what does is an IPv4 address, or meant as one. */
	return digits ? CONFIG_NAME_ADDRESS : CONFIG_GOOD;
}
