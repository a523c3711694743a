/* gateway/http/target.c — paths and hosts, read one way only; see target.h. */
#include "gateway/http/target.h"

#include "gateway/http/character.h"

/* Nothing in it that normalising would change or refuse. */
static bool path_is_plain(struct http_text path)
{
	char before = 0;

	for (size_t i = 0; i < path.size; i++) {
		char c = path.bytes[i];

		if (c == '%' || c == '\\' || (before == '/' && (c == '/' || c == '.')))
			return false;
		before = c;
	}
	return true;
}

/* RFC 3986 §6.2.2.2: percent-encoded octets that are unreserved "should be normalized by decoding"; §6.2.2.1: "use uppercase
 * letters for the digits A-F". An encoded slash is data to one program and a separator to the next, and so is a backslash. */
static const struct reason *path_open_escapes(struct http_text path, char *to, size_t *size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < path.size; i++) {
		char c = path.bytes[i];
		unsigned value;

		if (c == '\\')
			return &HTTP_PATH_BACKSLASH;
		if (c != '%') {
			to[n++] = c;
			continue;
		}
		if (path.size - i < 3 || !http_is(path.bytes[i + 1], HTTP_IS_HEX) || !http_is(path.bytes[i + 2], HTTP_IS_HEX))
			return &HTTP_PATH_ESCAPE_BAD;
		value = http_hex_value(path.bytes[i + 1]) << 4 | http_hex_value(path.bytes[i + 2]);
		i += 2;
		if (value < 0x20 || value == 0x7f)
			return &HTTP_PATH_CONTROL;
		if (value == '/' || value == '\\')
			return &HTTP_PATH_SLASH_ENCODED;
		if (http_is((char)value, HTTP_IS_UNRESERVED)) {
			to[n++] = (char)value;
		} else {
			to[n++] = '%';
			to[n++] = digits[value >> 4];
			to[n++] = digits[value & 15];
		}
	}
	*size = n;
	return NULL;
}

/* "." or "..", and then ";" in either spelling. */
static bool segment_is_dot_parameter(const char *segment, size_t size)
{
	size_t dots = 0;

	while (dots < size && dots < 2 && segment[dots] == '.')
		dots++;
	if (dots == 0 || dots == size)
		return false;
	return segment[dots] == ';' || (size - dots >= 3 && memcmp(segment + dots, "%3B", 3) == 0);
}

/* RFC 3986 §5.2.4, in place; and empty segments vanish. */
static const struct reason *path_remove_dots(char *bytes, size_t *size)
{
	size_t n = 0;

	for (size_t i = 0; i < *size;) {
		size_t begin = i + 1;        /* behind the slash at i */
		size_t end = begin;
		bool last;

		while (end < *size && bytes[end] != '/')
			end++;
		last = end == *size;
		i = end;
		if (segment_is_dot_parameter(bytes + begin, end - begin))
			return &HTTP_PATH_DOT_PARAMETER;
		if (end - begin == 2 && bytes[begin] == '.' && bytes[begin + 1] == '.') {
			if (n == 0)
				return &HTTP_PATH_ABOVE_ROOT;
			while (bytes[--n] != '/')
				;
		} else if (end > begin && !(end - begin == 1 && bytes[begin] == '.')) {
			memmove(bytes + n, bytes + begin - 1, end - begin + 1);
			n += end - begin + 1;
			continue;
		}
		/* Nothing was added; the slash in front of a last empty segment or dot segment stays. */
		if (last)
			bytes[n++] = '/';
	}
	*size = n;
	return NULL;
}

const struct reason *http_path_normalise(struct arena *arena, struct http_text path, struct http_text *normal)
{
	const struct reason *reason;
	size_t size;
	char *bytes;

	check(path.size > 0 && path.bytes[0] == '/');
	*normal = path;
	if (path_is_plain(path))
		return NULL;
	bytes = arena_take(arena, path.size + 1);
	reason = path_open_escapes(path, bytes, &size);
	if (!reason)
		reason = path_remove_dots(bytes, &size);
	if (reason)
		return reason;
	*normal = (struct http_text){bytes, size};
	return NULL;
}

/* "edc.example.org." is edc.example.org written absolutely (RFC 1034 §3.1), and must not be another host to whoever compares names.
 * Behind two dots, or alone, it ends no name. */
static size_t name_without_root(struct http_text name)
{
	bool absolute = name.size >= 2 && name.bytes[name.size - 1] == '.' && name.bytes[name.size - 2] != '.';

	return name.size - absolute;
}

/* RFC 3986 allows far more in a reg-name; what names are made of in DNS, and the underscore, is what servers agree on. */
const struct reason *http_host_split(struct http_text host, struct http_text *name)
{
	size_t i = 0;
	size_t digits = 0;
	unsigned port = 0;

	if (host.size > 0 && host.bytes[0] == '[') {
		for (i = 1; i < host.size && (http_is(host.bytes[i], HTTP_IS_HEX) || host.bytes[i] == ':' || host.bytes[i] == '.');)
			i++;
		if (i < 3 || i == host.size || host.bytes[i] != ']')
			return &HTTP_HOST_BAD;
		i++;
	} else {
		while (i < host.size && http_is(host.bytes[i], HTTP_IS_HOST))
			i++;
	}
	if (i == 0)
		return &HTTP_HOST_BAD;
	*name = (struct http_text){host.bytes, name_without_root((struct http_text){host.bytes, i})};
	if (i == host.size)
		return NULL;
	if (host.bytes[i] != ':')
		return &HTTP_HOST_BAD;
	for (i++; i < host.size; i++, digits++) {
		if (host.bytes[i] < '0' || host.bytes[i] > '9' || digits == 5)
			return &HTTP_HOST_BAD;
		port = port * 10 + (unsigned)(host.bytes[i] - '0');
	}
	return digits > 0 && port > 0 && port <= 65535 ? NULL : &HTTP_HOST_BAD;
}
