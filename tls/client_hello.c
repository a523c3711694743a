/* See tls/client_hello.h. Bottom-up: a reader, the suites, one function for each extension, then the whole.
 *
 * The extensions are first gathered (which is there, and where) and read afterwards, in an order of ours: some mean
 * something in one version only, and the version stands in an extension that may be the last. */
#include "tls/client_hello.h"
#include "tls/hello.h"
#include "tls/reason.h"

#include <string.h>

#define CLIENT_HELLO 1u
#define MESSAGE_HEADER_BYTES 4u
#define RANDOM_BYTES 32u
#define SESSION_ID_BYTES_MAX 32u
#define NAME_BYTES_MAX 253u
#define LABEL_BYTES_MAX 63u
#define RECORD_LIMIT_MIN 64u
#define BINDER_BYTES_MIN 32u

#define X25519 0x001Du
#define P256 0x0017u
#define X25519_BYTES 32u
#define P256_BYTES 65u                   /* a byte that says "uncompressed", and two coordinates */
#define UNCOMPRESSED 4u

#define HOST_NAME 0u
#define POINTS_UNCOMPRESSED 0u
#define PSK_DHE_KE 1u

/* Extensions that are read. All others are counted, and passed over. */
enum known {
	SERVER_NAME, GROUPS, POINTS, SCHEMES, PROTOCOLS, MASTER_SECRET, RECORD_LIMIT, TICKET, PSK, EARLY_DATA, VERSIONS, PSK_MODES,
	SHARES, RENEGOTIATION, KNOWN_COUNT
};

static enum known known_find(uint32_t type)
{
	switch (type) {
	case 0: return SERVER_NAME;
	case 10: return GROUPS;
	case 11: return POINTS;
	case 13: return SCHEMES;
	case 16: return PROTOCOLS;
	case 23: return MASTER_SECRET;
	case 28: return RECORD_LIMIT;
	case 35: return TICKET;
	case 41: return PSK;
	case 42: return EARLY_DATA;
	case 43: return VERSIONS;
	case 45: return PSK_MODES;
	case 51: return SHARES;
	case 0xFF01: return RENEGOTIATION;
	default: return KNOWN_COUNT;
	}
}

/* ---- a reader that cannot read past its end ---- */

struct span {
	const uint8_t *at;
	size_t n;
};

static inline bool read_bytes(struct span *from, size_t n, struct span *to)
{
	if (from->n < n)
		return false;
	*to = (struct span){ from->at, n };
	from->at += n;
	from->n -= n;
	return true;
}

static inline bool read_8(struct span *from, uint32_t *number)
{
	struct span s;

	if (!read_bytes(from, 1, &s))
		return false;
	*number = s.at[0];
	return true;
}

static inline bool read_16(struct span *from, uint32_t *number)
{
	struct span s;

	if (!read_bytes(from, 2, &s))
		return false;
	*number = (uint32_t)s.at[0] << 8 | s.at[1];
	return true;
}

/* What TLS calls a vector: its length in bytes, then as many bytes. */
static inline bool read_vector_8(struct span *from, struct span *to)
{
	uint32_t n;

	return read_8(from, &n) && read_bytes(from, n, to);
}

static inline bool read_vector_16(struct span *from, struct span *to)
{
	uint32_t n;

	return read_16(from, &n) && read_bytes(from, n, to);
}

/* A vector that fills all of `all`, and is not empty: what most extensions are. */
static bool only_vector_8(struct span all, struct span *to)
{
	return read_vector_8(&all, to) && all.n == 0 && to->n > 0;
}

static bool only_vector_16(struct span all, struct span *to)
{
	return read_vector_16(&all, to) && all.n == 0 && to->n > 0;
}

/* A list of numbers of two bytes. */
static bool only_numbers(struct span all, struct span *to)
{
	return only_vector_16(all, to) && to->n % 2 == 0;
}

/* RFC 8701 §2: 0x0A0A, 0x1A1A … 0xFAFA stand for nothing. */
static bool is_grease(uint32_t number)
{
	return (number & 0x0F0F) == 0x0A0A && number >> 8 == (number & 0xFF);
}

/* ---- suites ---- */

/* One of ours. A client that names one twice may fill the list with it, and loses nothing but resumption. */
static void suite_keep(struct tls_client_hello *h, uint32_t suite)
{
	if (h->suite_count < TLS_SUITES_MAX)
		h->suites[h->suite_count++] = (uint16_t)suite;
}

/* Of tls/suite.c; a switch, because a client offers dozens. A test holds the two together. */
static void suite_note(struct tls_client_hello *h, uint32_t suite)
{
	switch (suite) {
	case 0x1301: case 0x1302: case 0x1303:
		h->suite_1_3 = true;
		suite_keep(h, suite);
		break;
	case 0xC02B: case 0xC02C: case 0xCCA9:
		h->suite_ecdhe_ecdsa = true;
		suite_keep(h, suite);
		break;
	case 0xC02F: case 0xC030: case 0xCCA8:
		h->suite_ecdhe_rsa = true;
		suite_keep(h, suite);
		break;
	case 0x00FF:
		/* RFC 5746 §3.3: TLS_EMPTY_RENEGOTIATION_INFO_SCSV means the same as an empty renegotiation_info. */
		h->renegotiation_info = true;
		break;
	case 0x5600:
		h->fallback = true;
		break;
	default:
		break;
	}
}

static const struct reason *suites_read(struct tls_client_hello *h, struct span suites)
{
	uint32_t suite;

	/* RFC 8446 §4.1.2: CipherSuite cipher_suites<2..2^16-2>, of two bytes each. */
	if (suites.n == 0 || suites.n % 2 != 0)
		return &TLS_HELLO_SUITES;
	while (read_16(&suites, &suite))
		suite_note(h, suite);
	return NULL;
}

static const struct reason *compression_check(const struct tls_client_hello *h, struct span methods)
{
	/* RFC 8446 §4.1.2: "For every TLS 1.3 ClientHello, this vector MUST contain exactly one byte, set to zero […]. If a
	 * TLS 1.3 ClientHello is received with any other value in this field, the server MUST abort the handshake with an
	 * "illegal_parameter" alert." */
	if (h->offers_1_3)
		return methods.n == 1 && methods.at[0] == 0 ? NULL : &TLS_HELLO_COMPRESSION;
	/* RFC 5246 §7.4.1.2: "This vector MUST contain, and all implementations MUST support, CompressionMethod.null." */
	return methods.n > 0 && memchr(methods.at, 0, methods.n) ? NULL : &TLS_HELLO_COMPRESSION;
}

/* ---- the extensions of both versions ---- */

static const struct reason *versions_read(struct tls_client_hello *h, struct span all, bool sent, uint32_t legacy_version)
{
	struct span list;
	uint32_t version;

	/* RFC 8446 §D.5: "any endpoint receiving a Hello message with ClientHello.legacy_version […] set to 0x0300 MUST abort the
	 * handshake with a "protocol_version" alert." */
	if (legacy_version <= 0x0300)
		return &TLS_VERSION_UNSUPPORTED;
	if (!sent) {
		/* §4.2.1: "If this extension is not present, servers […] MUST negotiate TLS 1.2 or prior as specified in RFC 5246,
		 * even if ClientHello.legacy_version is 0x0304 or later." */
		h->offers_1_2 = legacy_version >= TLS_1_2;
		return h->offers_1_2 ? NULL : &TLS_VERSION_UNSUPPORTED;
	}
	/* "If this extension is present in the ClientHello, servers MUST NOT use the ClientHello.legacy_version value for version
	 * negotiation and MUST use only the "supported_versions" extension to determine client preferences. Servers MUST only
	 * select a version of TLS present in that extension and MUST ignore any unknown versions". */
	if (!only_vector_8(all, &list) || list.n % 2 != 0)
		return &TLS_HELLO_EXTENSION_BAD;
	while (read_16(&list, &version)) {
		if (version == TLS_1_2) {
			h->prefers_1_2 = h->prefers_1_2 || !h->offers_1_3;
			h->offers_1_2 = true;
		}
		if (version == TLS_1_3)
			h->offers_1_3 = true;
	}
	h->prefers_1_2 = h->prefers_1_2 && h->offers_1_3;
	return h->offers_1_2 || h->offers_1_3 ? NULL : &TLS_VERSION_UNSUPPORTED;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Four numbers and dots, or anything else that ends in a number, as no domain does; or of hex digits and colons. */
static bool is_address(const uint8_t *name, size_t n)
{
	size_t label = n;

	if (memchr(name, ':', n)) {
		for (size_t i = 0; i < n; i++)
			if (!is_hex(name[i]) && name[i] != ':' && name[i] != '.')
				return false;
		return true;
	}
	while (label > 0 && is_digit(name[label - 1]))
		label--;
	return label < n && (label == 0 || name[label - 1] == '.');
}

/* Letters, digits, "-", "_" (which RFC 1123 does not have, and the world does), in labels of 1 to 63. */
static bool is_host(const uint8_t *name, size_t n)
{
	size_t label = 0;

	if (n == 0 || n > NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = name[i], lower = c | 0x20;

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!(lower >= 'a' && lower <= 'z') && !is_digit(c) && c != '-' && c != '_')
			return false;
		if (++label > LABEL_BYTES_MAX)
			return false;
	}
	return label > 0;
}

static const struct reason *host_read(struct tls_client_hello *h, struct span name)
{
	/* RFC 6066 §3: the name is "without a trailing dot". It names the same host, some libraries pass on what they were
	 * called with, and nginx takes it off too. */
	if (name.n > 1 && name.at[name.n - 1] == '.')
		name.n--;
	/* "Literal IPv4 and IPv6 addresses are not permitted in "HostName"." Clients that are told to ask an address send them
	 * nevertheless, monitoring probes among them. Nobody has such a host, so this is asking for none. */
	if (is_address(name.at, name.n)) {
		h->name_is_address = true;
		return NULL;
	}
	/* What is no host name can be nobody's, and shall not come into a log. */
	if (!is_host(name.at, name.n))
		return &TLS_HELLO_NAME_BAD;
	h->name = name.at;
	h->name_bytes = (uint16_t)name.n;
	return NULL;
}

static const struct reason *name_read(struct tls_client_hello *h, struct span all)
{
	struct span list, name;
	uint32_t type;
	bool seen = false;

	if (!only_vector_16(all, &list))
		return &TLS_HELLO_EXTENSION_BAD;
	while (list.n > 0) {
		const struct reason *reason;

		/* RFC 6066 §3: "For backward compatibility, all future data structures associated with new NameTypes MUST begin
		 * with a 16-bit length field." */
		if (!read_8(&list, &type) || !read_vector_16(&list, &name))
			return &TLS_HELLO_EXTENSION_BAD;
		if (type != HOST_NAME)
			continue;
		/* opaque HostName<1..2^16-1> */
		if (name.n == 0)
			return &TLS_HELLO_EXTENSION_BAD;
		/* "The ServerNameList MUST NOT contain more than one name of the same name_type." */
		if (seen)
			return &TLS_HELLO_NAMES;
		seen = true;
		reason = host_read(h, name);
		if (reason)
			return reason;
	}
	return NULL;
}

static const struct reason *protocols_read(struct tls_client_hello *h, struct span all)
{
	struct span list, name;

	/* RFC 7301 §3.1: ProtocolName protocol_name_list<2..2^16-1>. "Empty strings MUST NOT be included and byte strings MUST
	 * NOT be truncated." */
	if (!only_vector_16(all, &list))
		return &TLS_HELLO_PROTOCOLS;
	h->protocols = list.at;
	h->protocols_bytes = (uint16_t)list.n;
	while (list.n > 0)
		if (!read_vector_8(&list, &name) || name.n == 0)
			return &TLS_HELLO_PROTOCOLS;
	return NULL;
}

static const struct reason *groups_read(struct tls_client_hello *h, struct span all)
{
	struct span list;
	uint32_t group;

	/* RFC 8446 §4.2.7: NamedGroup named_group_list<2..2^16-1> */
	if (!only_numbers(all, &list))
		return &TLS_HELLO_EXTENSION_BAD;
	while (read_16(&list, &group)) {
		if (group == X25519)
			h->group_x25519 = true;
		else if (group == P256)
			h->group_p256 = true;
		else if (!is_grease(group))
			h->group_other = true;
	}
	return NULL;
}

static const struct reason *schemes_read(struct tls_client_hello *h, struct span all)
{
	struct span list;
	uint32_t scheme;

	/* RFC 8446 §4.2.3: SignatureScheme supported_signature_algorithms<2..2^16-2> */
	if (!only_numbers(all, &list))
		return &TLS_HELLO_EXTENSION_BAD;
	while (read_16(&list, &scheme)) {
		if (scheme == 0x0403)
			h->scheme_ecdsa_p256_sha256 = true;
		else if (scheme == 0x0804)
			h->scheme_rsa_pss_sha256 = true;
		else if (scheme == 0x0401)
			h->scheme_rsa_pkcs1_sha256 = true;
	}
	return NULL;
}

static const struct reason *record_limit_read(struct tls_client_hello *h, struct span all)
{
	uint32_t limit;

	if (!read_16(&all, &limit) || all.n > 0)
		return &TLS_HELLO_EXTENSION_BAD;
	/* RFC 8449 §4: "Endpoints MUST NOT send a "record_size_limit" extension with a value smaller than 64. An endpoint MUST
	 * treat receipt of a smaller value as a fatal error and generate an "illegal_parameter" alert." */
	if (limit < RECORD_LIMIT_MIN)
		return &TLS_HELLO_RECORD_LIMIT;
	h->record_size_limit = (uint16_t)limit;
	return NULL;
}

static const struct reason *renegotiation_read(struct tls_client_hello *h, struct span all)
{
	struct span connection;

	if (!read_vector_8(&all, &connection) || all.n > 0)
		return &TLS_HELLO_EXTENSION_BAD;
	/* RFC 5746 §3.6: "The server MUST then verify that the length of the "renegotiated_connection" field is zero, and if it
	 * is not, MUST abort the handshake (by sending a fatal handshake_failure alert)." */
	if (connection.n > 0)
		return &TLS_HELLO_RENEGOTIATES;
	h->renegotiation_info = true;
	return NULL;
}

/* ---- those of TLS 1.2 ---- */

static const struct reason *points_check(struct span all)
{
	struct span list;

	if (!only_vector_8(all, &list))
		return &TLS_HELLO_EXTENSION_BAD;
	/* RFC 8422 §5.1.2: a client that sends this extension without the uncompressed format, and lists curves, is refused with
	 * an illegal_parameter alert. */
	return memchr(list.at, POINTS_UNCOMPRESSED, list.n) ? NULL : &TLS_HELLO_POINTS;
}

/* ---- those of TLS 1.3 ---- */

static const struct reason *share_note(struct tls_client_hello *h, uint32_t group, struct span key)
{
	/* RFC 8446 §4.2.8: opaque key_exchange<1..2^16-1> */
	if (key.n == 0)
		return &TLS_HELLO_EXTENSION_BAD;
	if (group == X25519) {
		if (key.n != X25519_BYTES)
			return &TLS_HELLO_SHARE_BAD;
		h->share_x25519 = true;
	}
	if (group == P256) {
		/* §4.2.8.2: a byte legacy_form = 4 and two coordinates. Whether they are a point of the curve, mbedTLS asks. */
		if (key.n != P256_BYTES || key.at[0] != UNCOMPRESSED)
			return &TLS_HELLO_SHARE_BAD;
		h->share_p256 = true;
	}
	return NULL;
}

static const struct reason *shares_read(struct tls_client_hello *h, struct span all)
{
	uint16_t seen[TLS_HELLO_SHARES_MAX];
	unsigned count = 0;
	struct span list, key;
	uint32_t group;

	/* §9.2: "An empty KeyShare.client_shares vector is permitted." It asks for a HelloRetryRequest. */
	if (!read_vector_16(&all, &list) || all.n > 0)
		return &TLS_HELLO_EXTENSION_BAD;
	while (list.n > 0) {
		const struct reason *reason;

		if (!read_16(&list, &group) || !read_vector_16(&list, &key))
			return &TLS_HELLO_EXTENSION_BAD;
		reason = share_note(h, group, key);
		if (reason)
			return reason;
		/* RFC 8446 §4.2.8: "Clients MUST NOT offer multiple KeyShareEntry values for the same group. […] Servers MAY check
		 * for violations of these rules and abort the handshake with an "illegal_parameter" alert". */
		for (unsigned i = 0; i < count; i++)
			if (seen[i] == group)
				return &TLS_HELLO_SHARE_TWICE;
		if (count == TLS_HELLO_SHARES_MAX)
			return &TLS_HELLO_SHARES_MANY;
		seen[count++] = (uint16_t)group;
	}
	/* "Clients MUST NOT offer any KeyShareEntry values for groups not listed in the client's "supported_groups" extension."
	 * Asked of the groups that we would use; in the others it harms nobody. */
	if ((h->share_x25519 && !h->group_x25519) || (h->share_p256 && !h->group_p256))
		return &TLS_HELLO_SHARE_UNLISTED;
	return NULL;
}

static const struct reason *psk_check(struct span all)
{
	struct span identities, identity, age, binders, binder;
	unsigned identity_count = 0, binder_count = 0;

	/* RFC 8446 §4.2.11: PskIdentity identities<7..2^16-1>, PskBinderEntry binders<33..2^16-1>. */
	if (!read_vector_16(&all, &identities) || identities.n == 0 || !only_vector_16(all, &binders))
		return &TLS_HELLO_EXTENSION_BAD;
	for (; identities.n > 0; identity_count++)
		if (!read_vector_16(&identities, &identity) || identity.n == 0 || !read_bytes(&identities, 4, &age))
			return &TLS_HELLO_EXTENSION_BAD;
	for (; binders.n > 0; binder_count++)
		if (!read_vector_8(&binders, &binder) || binder.n < BINDER_BYTES_MIN)
			return &TLS_HELLO_EXTENSION_BAD;
	/* "binders: A series of HMAC values, one for each value in the "identities" list and in the same order" */
	return identity_count == binder_count ? NULL : &TLS_HELLO_PSK_BINDERS;
}

/* ---- all of them ---- */

struct extensions {
	struct span known[KNOWN_COUNT];  /* where they are */
	uint32_t sent;                   /* which of these, a bit each */
	uint32_t last;                   /* the type of the last one */
	unsigned count;
};

static bool is_sent(const struct extensions *e, enum known which)
{
	return e->sent >> which & 1;
}

static const struct reason *extensions_gather(struct extensions *e, struct span list)
{
	uint64_t low = 0;                /* those below 64, a bit each; they are most of them */
	uint16_t high[TLS_HELLO_EXTENSIONS_MAX];
	unsigned high_count = 0;

	while (list.n > 0) {
		enum known known;
		struct span body;
		uint32_t type;
		bool twice = false;

		if (!read_16(&list, &type) || !read_vector_16(&list, &body))
			return &TLS_HELLO_LENGTHS;
		if (e->count == TLS_HELLO_EXTENSIONS_MAX)
			return &TLS_HELLO_EXTENSIONS_MANY;
		e->count++;
		/* RFC 8446 §4.2: "There MUST NOT be more than one extension of the same type in a given extension block." */
		if (type < 64) {
			twice = low >> type & 1;
			low |= UINT64_C(1) << type;
		} else {
			for (unsigned i = 0; i < high_count; i++)
				twice = twice || high[i] == type;
			high[high_count++] = (uint16_t)type;
		}
		if (twice)
			return &TLS_HELLO_EXTENSION_TWICE;
		known = known_find(type);
		if (known != KNOWN_COUNT) {
			e->known[known] = body;
			e->sent |= 1u << known;
		}
		e->last = type;
	}
	return NULL;
}

static const struct reason *shared_read(struct tls_client_hello *h, const struct extensions *e)
{
	static const struct {
		enum known which;
		const struct reason *(*read)(struct tls_client_hello *, struct span);
	} READERS[] = {
		{ SERVER_NAME, name_read },
		{ PROTOCOLS, protocols_read },
		{ GROUPS, groups_read },
		{ SCHEMES, schemes_read },
		{ RECORD_LIMIT, record_limit_read },
		{ RENEGOTIATION, renegotiation_read },
	};

	for (size_t i = 0; i < array_count(READERS); i++) {
		const struct reason *reason = NULL;

		if (is_sent(e, READERS[i].which))
			reason = READERS[i].read(h, e->known[READERS[i].which]);
		if (reason)
			return reason;
	}
	return NULL;
}

static const struct reason *tls_1_2_read(struct tls_client_hello *h, const struct extensions *e)
{
	if (is_sent(e, MASTER_SECRET)) {
		/* RFC 7627 §5.1: "The "extension_data" field of this extension is empty." */
		if (e->known[MASTER_SECRET].n > 0)
			return &TLS_HELLO_EXTENSION_BAD;
		h->extended_master_secret = true;
	}
	/* RFC 5077 §3.2: an empty one says only that the client knows tickets. */
	h->ticket_1_2 = is_sent(e, TICKET) && e->known[TICKET].n > 0;
	if (is_sent(e, POINTS))
		return points_check(e->known[POINTS]);
	return NULL;
}

static const struct reason *tls_1_3_read(struct tls_client_hello *h, const struct extensions *e)
{
	const struct reason *reason;
	struct span modes;
	bool with_key_exchange = false;

	/* RFC 8446 §9.2: "If not containing a "pre_shared_key" extension, it MUST contain both a "signature_algorithms" extension
	 * and a "supported_groups" extension. If containing a "supported_groups" extension, it MUST also contain a "key_share"
	 * extension, and vice versa. […] Servers receiving a ClientHello which does not conform to these requirements MUST abort
	 * the handshake with a "missing_extension" alert." */
	if (!is_sent(e, PSK) && (!is_sent(e, SCHEMES) || !is_sent(e, GROUPS)))
		return &TLS_HELLO_EXTENSION_MISSING;
	if (is_sent(e, GROUPS) != is_sent(e, SHARES))
		return &TLS_HELLO_EXTENSION_MISSING;
	/* §4.2.9: "If clients offer "pre_shared_key" without a "psk_key_exchange_modes" extension, servers MUST abort the
	 * handshake." */
	if (is_sent(e, PSK) && !is_sent(e, PSK_MODES))
		return &TLS_HELLO_EXTENSION_MISSING;
	if (is_sent(e, SHARES)) {
		reason = shares_read(h, e->known[SHARES]);
		if (reason)
			return reason;
	}
	if (is_sent(e, PSK_MODES)) {
		if (!only_vector_8(e->known[PSK_MODES], &modes))
			return &TLS_HELLO_EXTENSION_BAD;
		with_key_exchange = memchr(modes.at, PSK_DHE_KE, modes.n) != NULL;
	}
	if (is_sent(e, EARLY_DATA)) {
		/* §4.2.10: in a ClientHello its body is Empty. */
		if (e->known[EARLY_DATA].n > 0)
			return &TLS_HELLO_EXTENSION_BAD;
		h->early_data = true;
	}
	if (!is_sent(e, PSK))
		return NULL;
	/* §4.2.11: "The "pre_shared_key" extension MUST be the last extension in the ClientHello […]. Servers MUST check that it
	 * is the last extension and otherwise fail the handshake with an "illegal_parameter" alert." */
	if (known_find(e->last) != PSK)
		return &TLS_HELLO_PSK_PLACE;
	h->ticket_1_3 = with_key_exchange;
	return psk_check(e->known[PSK]);
}

const struct reason *tls_client_hello_parse(const uint8_t *message, size_t n, struct tls_client_hello *h)
{
	struct span all = { message, n }, random, session_id, suites, methods, list;
	struct extensions e = { 0 };
	const struct reason *reason;
	uint32_t type, length_high, length_low, legacy_version;

	*h = (struct tls_client_hello){ 0 };
	if (!read_8(&all, &type) || !read_8(&all, &length_high) || !read_16(&all, &length_low))
		return &TLS_HELLO_LENGTHS;
	if (type != CLIENT_HELLO)
		return &TLS_HANDSHAKE_ORDER;
	if (n > TLS_HELLO_BYTES_MAX)
		return &TLS_HELLO_LONG;
	if ((length_high << 16 | length_low) != all.n)
		return &TLS_HELLO_LENGTHS;
	if (!read_16(&all, &legacy_version) || !read_bytes(&all, RANDOM_BYTES, &random) || !read_vector_8(&all, &session_id))
		return &TLS_HELLO_LENGTHS;
	/* RFC 8446 §4.1.2: opaque legacy_session_id<0..32> */
	if (session_id.n > SESSION_ID_BYTES_MAX)
		return &TLS_HELLO_SESSION_ID;
	if (!read_vector_16(&all, &suites) || !read_vector_8(&all, &methods))
		return &TLS_HELLO_LENGTHS;
	/* "The presence of extensions can be detected by determining whether there are bytes following the compression_methods
	 * field at the end of the ClientHello." */
	if (all.n > 0) {
		if (!read_vector_16(&all, &list))
			return &TLS_HELLO_LENGTHS;
		if (all.n > 0)
			return &TLS_HELLO_TRAILING;
		reason = extensions_gather(&e, list);
		if (reason)
			return reason;
	}
	/* The version first: to a client that is too old, nothing else is worth saying. */
	reason = versions_read(h, e.known[VERSIONS], is_sent(&e, VERSIONS), legacy_version);
	if (!reason)
		reason = suites_read(h, suites);
	if (!reason)
		reason = compression_check(h, methods);
	if (!reason)
		reason = shared_read(h, &e);
	if (!reason && h->offers_1_2)
		reason = tls_1_2_read(h, &e);
	if (!reason && h->offers_1_3)
		reason = tls_1_3_read(h, &e);
	return reason;
}

/* ---- what follows from it ---- */

const struct reason *tls_client_hello_choose(struct tls_client_hello *h, bool serves_1_2, bool serves_1_3)
{
	bool may_1_2 = h->offers_1_2 && serves_1_2, may_1_3 = h->offers_1_3 && serves_1_3;

	h->version = 0;
	if (!may_1_2 && !may_1_3)
		return &TLS_VERSION_UNSUPPORTED;
	/* RFC 7507 §3: "If TLS_FALLBACK_SCSV appears in ClientHello.cipher_suites and the highest protocol version supported by
	 * the server is higher than the version indicated in ClientHello.client_version, the server MUST respond with a fatal
	 * inappropriate_fallback alert". */
	if (h->fallback && serves_1_3 && !h->offers_1_3)
		return &TLS_FALLBACK_INAPPROPRIATE;
	/* RFC 8446 §4.2.1: the versions are "in preference order, with the most preferred version first". mbedTLS follows it,
	 * and what is chosen here has to be what it chooses. */
	h->version = may_1_3 && !(may_1_2 && h->prefers_1_2) ? TLS_1_3 : TLS_1_2;
	/* Both in TLS 1.3 and by our choice of suites in TLS 1.2 a key is always exchanged on a curve. A client of TLS 1.2 that
	 * lists none may have any curve taken for it by RFC 8422 §4; no such client is alive, and mbedTLS would take none. */
	if (!h->group_x25519 && !h->group_p256)
		return &TLS_NOTHING_SHARED;
	if (h->version == TLS_1_3 ? !h->suite_1_3 : !h->suite_ecdhe_ecdsa && !h->suite_ecdhe_rsa)
		return &TLS_NOTHING_SHARED;
	return NULL;
}

/* A client of TLS 1.2 without signature_algorithms is by RFC 5246 §7.4.1.4.1 taken for one that wants SHA-1, with which
 * nobody signs any more (RFC 9155 forbids it): the schemes are all false then, and so are both answers. */
bool tls_client_hello_verifies_ecdsa(const struct tls_client_hello *h)
{
	check(h->version);
	/* In TLS 1.3 the scheme names the curve. */
	if (h->version == TLS_1_3)
		return h->scheme_ecdsa_p256_sha256;
	/* RFC 8422 §5.1: the client's groups bind the curve of the key in the certificate as well as that of the key exchange,
	 * which may be another one. In TLS 1.2 the scheme names no curve. */
	return h->scheme_ecdsa_p256_sha256 && h->suite_ecdhe_ecdsa && h->group_p256;
}

bool tls_client_hello_verifies_rsa(const struct tls_client_hello *h)
{
	check(h->version);
	/* RFC 8446 §4.2.3: PKCS #1 v1.5 signatures "are not defined for use in signed TLS handshake messages" of TLS 1.3; mbedTLS
	 * knows nothing else in TLS 1.2. */
	if (h->version == TLS_1_3)
		return h->scheme_rsa_pss_sha256;
	return h->scheme_rsa_pkcs1_sha256 && h->suite_ecdhe_rsa;
}

bool tls_client_hello_may_resume(const struct tls_client_hello *h)
{
	check(h->version);
	return h->version == TLS_1_3 ? h->ticket_1_3 : h->ticket_1_2;
}

bool tls_client_hello_protocol(const struct tls_client_hello *h, size_t *at, const uint8_t **name, size_t *n)
{
	if (*at >= h->protocols_bytes)
		return false;
	*n = h->protocols[*at];
	*name = h->protocols + *at + 1;
	*at += 1 + *n;
	return true;
}

bool tls_client_hello_offers_protocol(const struct tls_client_hello *h, const char *name)
{
	size_t wanted = strlen(name), at = 0, n;
	const uint8_t *one;

	while (tls_client_hello_protocol(h, &at, &one, &n))
		if (n == wanted && memcmp(one, name, n) == 0)
			return true;
	return false;
}
