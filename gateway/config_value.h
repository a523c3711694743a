/* gateway/config_value.h — the words of a configuration, one at a time: numbers, durations, sizes, addresses, names.
 *
 * Duration: a whole number and one of ms, s, m, h. A bare number is refused, because nginx would read seconds there and
 * HAProxy milliseconds, and a guess that is wrong by a thousand is found only in production.
 * Size: a whole number of bytes, or one with k, M or G (powers of 1024, either case).
 * Address: "192.0.2.1:443", "[2001:db8::1]:443" or "unix:/path".
 * Name: of a host, as RFC 1123 §2.1 and RFC 5890 have it (letters, digits, hyphens), in any case of letters; "*." in front
 * stands for exactly one label. No port, no dot at the end, no IP address: none of these is asked for by SNI (RFC 6066 §3).
 *
 * Owner: nothing is kept or allocated.   Thread: any, pure functions.
 * Units: milliseconds, bytes.   Errors: enum config_verdict; the output is written only with CONFIG_GOOD.
 * Limits: 64-bit results; an overflow is CONFIG_TOO_LARGE. */
#ifndef GATEWAY_CONFIG_VALUE_H
#define GATEWAY_CONFIG_VALUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum config_verdict {
	CONFIG_GOOD,
	CONFIG_NOT_NUMBER,       /* no digits, a sign, a fraction, a stray character */
	CONFIG_UNIT_MISSING,     /* a bare number where a unit is wanted */
	CONFIG_UNIT_UNKNOWN,     /* a number, and a word that is no unit */
	CONFIG_TOO_LARGE,        /* does not fit 64 bits */
	CONFIG_PORT_MISSING,     /* an address without ":port" */
	CONFIG_PORT_BAD,         /* not 1 to 65535 */
	CONFIG_HOST_MISSING,     /* ":80" or "*:80" */
	CONFIG_HOST_IS_NAME,     /* a DNS name; an IP address is wanted */
	CONFIG_HOST_BAD,         /* neither an IP address nor a name */
	CONFIG_BRACKETS_MISSING, /* "::1:80": where does the address end? */
	CONFIG_SOCKET_PATH_BAD,  /* "unix:" and nothing, or longer than the kernel's sun_path */
	CONFIG_NAME_BAD,         /* no host name at all */
	CONFIG_NAME_FOREIGN,     /* letters outside ASCII; A-labels are wanted */
	CONFIG_NAME_ADDRESS,     /* an IP address; a name is wanted */
	CONFIG_NAME_PORT,        /* "name:443" */
	CONFIG_NAME_DOT,         /* "name." */
	CONFIG_NAME_WILDCARD,    /* "*", or a "*" that is not the whole leftmost label */
};

/* "unix:" + sun_path + NUL, and room to spare. */
#define CONFIG_ADDRESS_TEXT_MAX 120

struct config_address {
	struct sockaddr_storage
		socket; /* AF_INET, AF_INET6 or AF_UNIX, ready for bind and connect */
	socklen_t length;
	char text
		[CONFIG_ADDRESS_TEXT_MAX]; /* the same in canonical text; two addresses are equal when their texts are */
};

enum config_verdict config_number_parse(const char *text, uint64_t *number);
enum config_verdict config_duration_parse(const char *text, uint64_t *duration_ms);
enum config_verdict config_size_parse(const char *text, uint64_t *size_bytes);

/* A relative path after "unix:" is taken relative to `directory`. */
enum config_verdict config_address_parse(
	const char *text, const char *directory, struct config_address *address);

/* "unix:" addresses from a path that is already absolute (the admin socket). */
enum config_verdict config_address_unix(const char *path, struct config_address *address);

enum config_verdict config_name_check(const char *text);

/* The shortest exact form, as the parsers read it: 90000 → "90s", 65536 → "64k". Zero is "0s", "0". */
struct config_word {
	char text[24];
};
struct config_word config_duration_word(uint64_t duration_ms);
struct config_word config_size_word(uint64_t size_bytes);

#endif
