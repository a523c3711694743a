/* What a ClientHello says: those of RFC 8448, those of OpenSSL, and one of our own making, in which each rule is broken. */
#include "tls/client_hello.c"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>

#define WIRE_BYTES_MAX 65536u

struct bytes {
	uint8_t at[WIRE_BYTES_MAX];
	size_t n;
};

static unsigned digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static void add_hex(struct bytes *to, const char *hex)
{
	for (; *hex; hex++) {
		if (*hex == ' ')
			continue;
		to->at[to->n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
		hex++;
	}
}

static void add_number(struct bytes *to, unsigned width, size_t number)
{
	while (width-- > 0)
		to->at[to->n++] = (uint8_t)(number >> 8 * width);
}

/* A copy in memory of exactly its size, so that AddressSanitizer sees every byte read too many. */
static const struct reason *parse_exact(const uint8_t *bytes, size_t n, struct tls_client_hello *h)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);
	const struct reason *reason;

	memcpy(copy, bytes, n);
	reason = tls_client_hello_parse(copy, n, h);
	if (!reason && h->name)
		h->name = bytes + (h->name - copy);
	if (!reason && h->protocols)
		h->protocols = bytes + (h->protocols - copy);
	free(copy);
	return reason;
}

static bool name_is(const struct tls_client_hello *h, const char *name)
{
	return h->name && h->name_bytes == strlen(name) && memcmp(h->name, name, h->name_bytes) == 0;
}

/* ---- RFC 8448 ---- */

#define Z16 "00000000000000000000000000000000"

#define HELLO_3 \
	"010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7000006130113031302010000" \
	"910000000b0009000006736572766572ff01000100000a00140012001d0017001800190100010101020103010400230000003300" \
	"260024001d002099381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c002b0003020304000d0020001e" \
	"040305030603020308040805080604010501060102010402050206020202002d00020101001c00024001"

#define HELLO_4 \
	"010001fc03031bc3ceb6bbe39cff938355b5a50adb6db21b7a6af649d7b4bc419d7876487d95000006130113031302010001" \
	"cd0000000b0009000006736572766572ff01000100000a00140012001d001700180019010001010102010301040033002600" \
	"24001d0020e4ffb68ac05f8d96c99da26698346c6be16482badddafe051a66b4f18d668f0b002a0000002b0003020304000d" \
	"0020001e040305030603020308040805080604010501060102010402050206020202002d00020101001c0002400100150057" \
	Z16 Z16 Z16 Z16 Z16 "00000000000000" \
	"002900dd00b800b22c035d829359ee5ff7af4ec900000000262a6494dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c" \
	"09a2be785abc55cd226097a3a982117283f82a03a143efd3ff5dd36d64e861be7fd61d2827db279cce145077d454a3664d4e" \
	"6da4d29ee03725a6a4dafcd0fc67d2aea70529513e3da2677fa5906c5b3f7d8f92f228bda40dda721470f9fbf297b5aea617" \
	"646fac5c03272e970727c621a79141ef5f7de6505e5bfbc388e93343694093934ae4d357fad6aacb0021203add4fb2d8fdf8" \
	"22a0ca3cf7678ef5e88dae990141c5924d57bb6fa31b9e5f9d"

#define HELLO_5_FIRST \
	"010000b00303b0b1c5a5aa37c5919f2ed1d5c6fff7fcb7849716945a2b8cee9258a346677b6f000006130113031302010000" \
	"810000000b0009000006736572766572ff01000100000a00080006001d00170018003300260024001d0020e8e8e3f3b93a25ed" \
	"97a14a7dcacb8a272c6288e585c6484d05262fcad062ad1f002b0003020304000d0020001e04030503060302030804080508" \
	"0604010501060102010402050206020202002d00020101001c00024001"

#define HELLO_5_SECOND \
	"010001fc0303b0b1c5a5aa37c5919f2ed1d5c6fff7fcb7849716945a2b8cee9258a346677b6f000006130113031302010001" \
	"cd0000000b0009000006736572766572ff01000100000a00080006001d001700180033004700450017004104a6da7392ec59" \
	"1e17abfd535964b99894d13befb221b3def2ebe3830eac8f0151812677c4d6d2237e85cf01d6910cfb83954e76ba73528305" \
	"34159897e8065780002b0003020304000d0020001e0403050306030203080408050806040105010601020104020502060202" \
	"02002c0074007271dcd04bb88bc3189119398a00000000eefafc76c146b823b096f8aacad365dd0030953f4edf625636e5f2" \
	"1bb2e23fcc654b1b5b40318d10d137abcbb87574e36e8a1f025f7dfa5d6e50781b5eda4aa15b0c8be778257d16aa3030e9e7" \
	"841dd9e4c0342267e8ca0caf571fb2b7cff0f934b0002d00020101001c00024001001500af" \
	Z16 Z16 Z16 Z16 Z16 Z16 Z16 Z16 Z16 Z16 "000000000000000000000000000000"

static const struct {
	const char *hex;
	size_t n;
	bool share_x25519, share_p256, ticket, early_data;
} PUBLISHED[] = {
	{ HELLO_3, 196, true, false, false, false },
	{ HELLO_4, 512, true, false, true, true },
	{ HELLO_5_FIRST, 180, true, false, false, false },
	{ HELLO_5_SECOND, 512, false, true, false, false },
};

Test(tls_client_hello, the_published_ones_say_what_their_rfc_says)
{
	for (size_t i = 0; i < array_count(PUBLISHED); i++) {
		static struct bytes hex;
		struct tls_client_hello h;
		const struct reason *reason;

		hex.n = 0;
		add_hex(&hex, PUBLISHED[i].hex);
		cr_assert_eq(hex.n, PUBLISHED[i].n, "%zu: %zu bytes", i, hex.n);
		reason = parse_exact(hex.at, hex.n, &h);
		cr_assert_null(reason, "%zu: %s", i, reason ? reason->name : "");
		cr_assert(name_is(&h, "server"));
		cr_assert(h.offers_1_3 && !h.offers_1_2 && !h.prefers_1_2);
		cr_assert(h.suite_1_3 && !h.suite_ecdhe_ecdsa && !h.suite_ecdhe_rsa);
		cr_assert(h.group_x25519 && h.group_p256 && h.group_other);
		cr_assert(h.scheme_ecdsa_p256_sha256 && h.scheme_rsa_pss_sha256 && h.scheme_rsa_pkcs1_sha256);
		cr_assert_eq(h.share_x25519, PUBLISHED[i].share_x25519);
		cr_assert_eq(h.share_p256, PUBLISHED[i].share_p256);
		cr_assert_eq(h.ticket_1_3, PUBLISHED[i].ticket);
		cr_assert_eq(h.early_data, PUBLISHED[i].early_data);
		cr_assert_eq(h.record_size_limit, 0x4001);
		cr_assert(h.renegotiation_info && !h.fallback && !h.ticket_1_2);
		cr_assert_null(h.protocols);
		cr_assert_null(tls_client_hello_choose(&h, true, true));
		cr_assert_eq(h.version, TLS_1_3);
		cr_assert(tls_client_hello_verifies_ecdsa(&h) && tls_client_hello_verifies_rsa(&h));
		cr_assert_eq(tls_client_hello_may_resume(&h), PUBLISHED[i].ticket);
	}
}

/* ---- hellos of our own making ---- */

#define EXTENSIONS_MAX 200u

struct making {
	unsigned legacy_version;
	const char *session_id, *suites, *methods;      /* hex */
	struct {
		unsigned type;
		const char *body;                        /* hex */
	} extensions[EXTENSIONS_MAX];
	unsigned count;
	bool without_block;                              /* not even an empty list of extensions */
};

#define K32 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SHARE_X25519 "001d 0020" K32
#define SHARE_P256 "0017 0041 04" K32 K32
#define BINDER "20" K32

static void extend(struct making *m, unsigned type, const char *body)
{
	m->extensions[m->count].type = type;
	m->extensions[m->count++].body = body;
}

/* In place of the one of this type, or behind all others. */
static void put(struct making *m, unsigned type, const char *body)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (m->extensions[i].type == type) {
			m->extensions[i].body = body;
			return;
		}
	}
	extend(m, type, body);
}

static void leave_out(struct making *m, unsigned type)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (m->extensions[i].type == type) {
			memmove(&m->extensions[i], &m->extensions[i + 1], (m->count - i - 1) * sizeof m->extensions[0]);
			m->count--;
			return;
		}
	}
	cr_assert_fail("nothing to leave out: %u", type);
}

static struct making of_1_3(void)
{
	struct making m = { .legacy_version = 0x0303, .session_id = K32, .suites = "1301", .methods = "00" };

	extend(&m, 43, "02 0304");
	extend(&m, 10, "0004 001d 0017");
	extend(&m, 51, "0024" SHARE_X25519);
	extend(&m, 13, "0004 0403 0804");
	return m;
}

static struct making of_1_2(void)
{
	struct making m = { .legacy_version = 0x0303, .session_id = "", .suites = "c02b c02f 00ff", .methods = "00" };

	extend(&m, 10, "0004 001d 0017");
	extend(&m, 11, "01 00");
	extend(&m, 13, "0004 0403 0401");
	extend(&m, 23, "");
	extend(&m, 35, "");
	return m;
}

static size_t hex_bytes(const char *hex)
{
	size_t digits = 0;

	for (; *hex; hex++)
		digits += *hex != ' ';
	return digits / 2;
}

static void make(const struct making *m, struct bytes *to)
{
	size_t list = 0;

	to->n = 0;
	add_hex(to, "01 000000");
	add_number(to, 2, m->legacy_version);
	add_hex(to, K32);
	add_number(to, 1, hex_bytes(m->session_id));
	add_hex(to, m->session_id);
	add_number(to, 2, hex_bytes(m->suites));
	add_hex(to, m->suites);
	add_number(to, 1, hex_bytes(m->methods));
	add_hex(to, m->methods);
	for (unsigned i = 0; i < m->count; i++)
		list += 4 + hex_bytes(m->extensions[i].body);
	if (!m->without_block)
		add_number(to, 2, list);
	for (unsigned i = 0; i < m->count && !m->without_block; i++) {
		add_number(to, 2, m->extensions[i].type);
		add_number(to, 2, hex_bytes(m->extensions[i].body));
		add_hex(to, m->extensions[i].body);
	}
	to->at[2] = (uint8_t)((to->n - 4) >> 8);
	to->at[3] = (uint8_t)(to->n - 4);
}

static struct bytes made;

static const struct reason *try(const struct making *m, struct tls_client_hello *h)
{
	make(m, &made);
	return parse_exact(made.at, made.n, h);
}

static void assert_taken(const struct making *m, struct tls_client_hello *h)
{
	const struct reason *reason = try(m, h);

	cr_assert_null(reason, "%s", reason ? reason->name : "");
}

static void assert_refused(const struct making *m, const struct reason *reason)
{
	struct tls_client_hello h;
	const struct reason *got = try(m, &h);

	cr_assert_eq(got, reason, "%s instead of %s", got ? got->name : "nothing", reason->name);
}

Test(tls_client_hello, ours_are_taken_before_anything_is_broken_in_them)
{
	struct making m = of_1_3();
	struct tls_client_hello h;

	assert_taken(&m, &h);
	cr_assert(h.offers_1_3 && h.share_x25519 && !h.share_p256 && !h.name && !h.group_other && !h.scheme_rsa_pkcs1_sha256);
	m = of_1_2();
	assert_taken(&m, &h);
	cr_assert(h.offers_1_2 && !h.offers_1_3 && h.suite_ecdhe_ecdsa && h.suite_ecdhe_rsa && !h.suite_1_3);
	cr_assert(h.extended_master_secret && h.renegotiation_info && !h.ticket_1_2 && !h.fallback);
}

/* ---- one extension changed, and what comes of it ---- */

static const struct {
	unsigned type;
	const char *body;
	const struct reason *in_1_3;     /* NULL: taken */
	const struct reason *in_1_2;
} BODIES[] = {
	/* server_name: "ab" is 6162 */
	{ 0, "0005 00 0002 6162", NULL, NULL },
	{ 0, "", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0000", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0003 00 0000", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0004 00 0002 61", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0006 00 0002 6162", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0005 00 0002 6162 00", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0006 00 0002 6162 00", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0, "0009 00 0002 6162 00 0001 61", &TLS_HELLO_NAMES, &TLS_HELLO_NAMES },
	{ 0, "0009 07 0001 ff 00 0002 6162", NULL, NULL },
	{ 0, "0004 00 0001 00", &TLS_HELLO_NAME_BAD, &TLS_HELLO_NAME_BAD },
	/* ALPN */
	{ 16, "0003 02 6832", NULL, NULL },
	{ 16, "000c 02 6832 08 687474702f312e31", NULL, NULL },
	{ 16, "", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	{ 16, "0000", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	{ 16, "0001 00", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	{ 16, "0004 02 6832 00", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	{ 16, "0002 02 68", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	{ 16, "0003 02 6832 00", &TLS_HELLO_PROTOCOLS, &TLS_HELLO_PROTOCOLS },
	/* supported_groups */
	{ 10, "000a 1a1a 11ec 001d 0017 0100", NULL, NULL },
	{ 10, "", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 10, "0000", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 10, "0003 001d 00", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 10, "0002 001d 0017", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 10, "0006 001d 0017", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 10, "0002 0017", &TLS_HELLO_SHARE_UNLISTED, NULL },
	/* signature_algorithms */
	{ 13, "0002 0807", NULL, NULL },
	{ 13, "", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 13, "0000", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 13, "0001 04", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 13, "0002 0403 00", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	/* record_size_limit */
	{ 28, "0040", NULL, NULL },
	{ 28, "ffff", NULL, NULL },
	{ 28, "003f", &TLS_HELLO_RECORD_LIMIT, &TLS_HELLO_RECORD_LIMIT },
	{ 28, "40", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 28, "004001", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	/* renegotiation_info */
	{ 0xff01, "00", NULL, NULL },
	{ 0xff01, "01 aa", &TLS_HELLO_RENEGOTIATES, &TLS_HELLO_RENEGOTIATES },
	{ 0xff01, "", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	{ 0xff01, "00 00", &TLS_HELLO_EXTENSION_BAD, &TLS_HELLO_EXTENSION_BAD },
	/* of TLS 1.2 only: ec_point_formats, extended_master_secret, session_ticket */
	{ 11, "03 00 01 02", NULL, NULL },
	{ 11, "02 01 02", NULL, &TLS_HELLO_POINTS },
	{ 11, "00", NULL, &TLS_HELLO_EXTENSION_BAD },
	{ 11, "01 00 00", NULL, &TLS_HELLO_EXTENSION_BAD },
	{ 23, "00", NULL, &TLS_HELLO_EXTENSION_BAD },
	{ 35, "0102030405", NULL, NULL },
	/* of TLS 1.3 only: key_share */
	{ 51, "0000", NULL, NULL },
	{ 51, "0069" SHARE_X25519 SHARE_P256, NULL, NULL },
	{ 51, "0029 0a0a 0001 00" SHARE_X25519, NULL, NULL },
	{ 51, "", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 51, "0001 00", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 51, "0004 0019 0000", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 51, "0024" SHARE_X25519 "00", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 51, "0023" "001d 0020" K32, &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 51, "0048" SHARE_X25519 SHARE_X25519, &TLS_HELLO_SHARE_TWICE, NULL },
	{ 51, "000a 0100 0001 aa 0100 0001 bb", &TLS_HELLO_SHARE_TWICE, NULL },
	{ 51, "0025 001d 0021 00" K32, &TLS_HELLO_SHARE_BAD, NULL },
	{ 51, "0005 001d 0001 00", &TLS_HELLO_SHARE_BAD, NULL },
	{ 51, "0025 0017 0021 02" K32, &TLS_HELLO_SHARE_BAD, NULL },
	{ 51, "0045 0017 0041 06" K32 K32, &TLS_HELLO_SHARE_BAD, NULL },
	/* of TLS 1.3 only: psk_key_exchange_modes, early_data */
	{ 45, "01 01", NULL, NULL },
	{ 45, "03 0b 00 01", NULL, NULL },
	{ 45, "00", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 45, "02 01", &TLS_HELLO_EXTENSION_BAD, NULL },
	{ 42, "", NULL, NULL },
	{ 42, "00", &TLS_HELLO_EXTENSION_BAD, NULL },
	/* pre_shared_key, without modes */
	{ 41, "0008 0002 aabb 00000000 0021" BINDER, &TLS_HELLO_EXTENSION_MISSING, NULL },
	/* what nobody here reads */
	{ 5, "01 0000 0000", NULL, NULL },
	{ 18, "", NULL, NULL },
	{ 21, "000000000000", NULL, NULL },
	{ 0x2a2a, "", NULL, NULL },
	{ 0xfe0d, "00 0001 0001 20 0020" K32 "0004 deadbeef", NULL, NULL },
	{ 0x4469, "0003 02 6832", NULL, NULL },
};

Test(tls_client_hello, each_extension_is_read_to_its_last_byte)
{
	for (size_t i = 0; i < array_count(BODIES); i++) {
		for (int old = 0; old < 2; old++) {
			struct making m = old ? of_1_2() : of_1_3();
			const struct reason *expected = old ? BODIES[i].in_1_2 : BODIES[i].in_1_3, *got;
			struct tls_client_hello h;

			put(&m, BODIES[i].type, BODIES[i].body);
			got = try(&m, &h);
			cr_assert_eq(got, expected, "%u \"%s\" in 1.%d: %s", BODIES[i].type, BODIES[i].body, old ? 2 : 3,
				got ? got->name : "taken");
		}
	}
}

Test(tls_client_hello, tickets_of_1_3_are_checked_whole_and_stand_last)
{
	static const struct {
		const char *body;
		const struct reason *reason;
	} TICKETS[] = {
		{ "0008 0002 aabb 00000000 0021" BINDER, NULL },
		{ "000f 0002 aabb 00000000 0001 cc 00000001 0042" BINDER BINDER, NULL },
		{ "000f 0002 aabb 00000000 0001 cc 00000001 0021" BINDER, &TLS_HELLO_PSK_BINDERS },
		{ "0008 0002 aabb 00000000 0042" BINDER BINDER, &TLS_HELLO_PSK_BINDERS },
		{ "", &TLS_HELLO_EXTENSION_BAD },
		{ "0000 0021" BINDER, &TLS_HELLO_EXTENSION_BAD },
		{ "0006 0000 00000000 0021" BINDER, &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0003 aabb 00000000 0021" BINDER, &TLS_HELLO_EXTENSION_BAD },
		{ "0007 0002 aabb 000000 0021" BINDER, &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0002 aabb 00000000", &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0002 aabb 00000000 0000", &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0002 aabb 00000000 0021 1f" K32, &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0002 aabb 00000000 0021 21" K32, &TLS_HELLO_EXTENSION_BAD },
		{ "0008 0002 aabb 00000000 0021" BINDER "00", &TLS_HELLO_EXTENSION_BAD },
	};
	struct making m;
	struct tls_client_hello h;

	for (size_t i = 0; i < array_count(TICKETS); i++) {
		m = of_1_3();
		extend(&m, 45, "02 00 01");
		extend(&m, 41, TICKETS[i].body);
		if (TICKETS[i].reason) {
			assert_refused(&m, TICKETS[i].reason);
			continue;
		}
		assert_taken(&m, &h);
		cr_assert(h.ticket_1_3);
		/* Without a fresh key exchange there is none with us. */
		put(&m, 45, "01 00");
		assert_taken(&m, &h);
		cr_assert_not(h.ticket_1_3);
		put(&m, 45, "01 01");
		extend(&m, 21, "00");
		assert_refused(&m, &TLS_HELLO_PSK_PLACE);
	}
}

Test(tls_client_hello, what_1_3_demands_is_missed_by_name)
{
	static const unsigned DEMANDED[] = { 10, 13, 51 };
	struct making m;
	struct tls_client_hello h;

	for (size_t i = 0; i < array_count(DEMANDED); i++) {
		m = of_1_3();
		leave_out(&m, DEMANDED[i]);
		assert_refused(&m, &TLS_HELLO_EXTENSION_MISSING);
		/* With a ticket neither signatures nor groups are needed; but groups and shares come together or not at all. */
		extend(&m, 45, "01 01");
		extend(&m, 41, "0008 0002 aabb 00000000 0021" BINDER);
		if (DEMANDED[i] == 13)
			assert_taken(&m, &h);
		else
			assert_refused(&m, &TLS_HELLO_EXTENSION_MISSING);
	}
	m = of_1_3();
	leave_out(&m, 10);
	leave_out(&m, 51);
	assert_refused(&m, &TLS_HELLO_EXTENSION_MISSING);
	/* It is the offer that binds, also of those who could do with 1.2. */
	m = of_1_3();
	put(&m, 43, "04 0303 0304");
	leave_out(&m, 51);
	assert_refused(&m, &TLS_HELLO_EXTENSION_MISSING);
}

Test(tls_client_hello, the_fixed_part_is_strict)
{
	struct making m;
	struct tls_client_hello h;

	m = of_1_2();
	m.session_id = K32 "00";
	assert_refused(&m, &TLS_HELLO_SESSION_ID);
	m.session_id = K32;
	assert_taken(&m, &h);
	m.suites = "";
	assert_refused(&m, &TLS_HELLO_SUITES);
	m.suites = "c02b c0";
	assert_refused(&m, &TLS_HELLO_SUITES);
	m = of_1_2();
	m.methods = "";
	assert_refused(&m, &TLS_HELLO_COMPRESSION);
	m.methods = "01";
	assert_refused(&m, &TLS_HELLO_COMPRESSION);
	m.methods = "0100";
	assert_taken(&m, &h);
	m = of_1_3();
	m.methods = "0100";
	assert_refused(&m, &TLS_HELLO_COMPRESSION);
	m.methods = "01";
	assert_refused(&m, &TLS_HELLO_COMPRESSION);
	m.methods = "";
	assert_refused(&m, &TLS_HELLO_COMPRESSION);

	/* Behind the extensions, and behind the message. */
	m = of_1_3();
	make(&m, &made);
	made.n++;
	cr_assert_eq(parse_exact(made.at, made.n, &h), &TLS_HELLO_LENGTHS);
	made.at[3]++;
	cr_assert_eq(parse_exact(made.at, made.n, &h), &TLS_HELLO_TRAILING);
	made.at[0] = 2;
	cr_assert_eq(parse_exact(made.at, made.n, &h), &TLS_HANDSHAKE_ORDER);
	made.at[0] = 1;
	cr_assert_eq(parse_exact(made.at, TLS_HELLO_BYTES_MAX + 1, &h), &TLS_HELLO_LONG);
}

Test(tls_client_hello, extensions_come_once_and_not_without_end)
{
	static const unsigned ALL[] = { 43, 10, 51, 13, 0x2a2a, 0xff01, 21, 63, 64 };
	struct making m;
	struct tls_client_hello h;

	for (size_t i = 0; i < array_count(ALL); i++) {
		m = of_1_3();
		put(&m, 0x2a2a, "");
		put(&m, 0xff01, "00");
		put(&m, 21, "");
		put(&m, 63, "");
		put(&m, 64, "");
		assert_taken(&m, &h);
		extend(&m, ALL[i], "");
		assert_refused(&m, &TLS_HELLO_EXTENSION_TWICE);
	}
	m = of_1_3();
	for (unsigned i = 0; m.count < TLS_HELLO_EXTENSIONS_MAX; i++)
		extend(&m, 1000 + i, "");
	assert_taken(&m, &h);
	extend(&m, 999, "");
	assert_refused(&m, &TLS_HELLO_EXTENSIONS_MANY);
}

Test(tls_client_hello, shares_have_a_bound)
{
	static char body[8 * TLS_HELLO_SHARES_MAX * 2];
	struct making m = of_1_3();
	struct tls_client_hello h;

	for (unsigned count = TLS_HELLO_SHARES_MAX; count <= TLS_HELLO_SHARES_MAX + 1; count++) {
		size_t n = (size_t)snprintf(body, sizeof body, "%04x", 5 * count);

		for (unsigned i = 0; i < count; i++)
			n += (size_t)snprintf(body + n, sizeof body - n, "%04x000100", 0x0100 + i);
		put(&m, 51, body);
		if (count == TLS_HELLO_SHARES_MAX)
			assert_taken(&m, &h);
		else
			assert_refused(&m, &TLS_HELLO_SHARES_MANY);
	}
}

Test(tls_client_hello, versions_are_what_the_extension_says_or_what_the_old_field_says)
{
	static const struct {
		unsigned legacy_version;
		const char *versions;            /* NULL: no such extension */
		const struct reason *reason;
		bool offers_1_2, offers_1_3, prefers_1_2;
	} VERSIONS_SENT[] = {
		{ 0x0300, NULL, &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0301, NULL, &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0302, NULL, &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0303, NULL, NULL, 1, 0, 0 },
		{ 0x0304, NULL, NULL, 1, 0, 0 },
		{ 0x0200, NULL, &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0300, "02 0304", &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0301, "02 0304", NULL, 0, 1, 0 },
		{ 0x0303, "02 0304", NULL, 0, 1, 0 },
		{ 0x0303, "04 0304 0303", NULL, 1, 1, 0 },
		{ 0x0303, "04 0303 0304", NULL, 1, 1, 1 },
		{ 0x0303, "06 0303 0304 0303", NULL, 1, 1, 1 },
		{ 0x0303, "0a 7a7a 0304 0303 0302 0301", NULL, 1, 1, 0 },
		{ 0x0303, "02 0303", NULL, 1, 0, 0 },
		{ 0x0303, "04 0302 0301", &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0303, "04 7f1c 0a0a", &TLS_VERSION_UNSUPPORTED, 0, 0, 0 },
		{ 0x0303, "00", &TLS_HELLO_EXTENSION_BAD, 0, 0, 0 },
		{ 0x0303, "03 0304 03", &TLS_HELLO_EXTENSION_BAD, 0, 0, 0 },
		{ 0x0303, "02 0304 00", &TLS_HELLO_EXTENSION_BAD, 0, 0, 0 },
		{ 0x0303, "", &TLS_HELLO_EXTENSION_BAD, 0, 0, 0 },
	};

	for (size_t i = 0; i < array_count(VERSIONS_SENT); i++) {
		struct making m = of_1_3();
		struct tls_client_hello h;

		m.legacy_version = VERSIONS_SENT[i].legacy_version;
		if (VERSIONS_SENT[i].versions)
			put(&m, 43, VERSIONS_SENT[i].versions);
		else
			leave_out(&m, 43);
		if (VERSIONS_SENT[i].reason) {
			assert_refused(&m, VERSIONS_SENT[i].reason);
			continue;
		}
		assert_taken(&m, &h);
		cr_assert_eq(h.offers_1_2, VERSIONS_SENT[i].offers_1_2, "%zu", i);
		cr_assert_eq(h.offers_1_3, VERSIONS_SENT[i].offers_1_3, "%zu", i);
		cr_assert_eq(h.prefers_1_2, VERSIONS_SENT[i].prefers_1_2, "%zu", i);
	}
}

Test(tls_client_hello, an_old_client_is_told_so_whatever_else_is_wrong)
{
	struct making m = of_1_2();

	m.legacy_version = 0x0301;
	m.suites = "";
	m.methods = "01";
	m.without_block = true;
	assert_refused(&m, &TLS_VERSION_UNSUPPORTED);
}

Test(tls_client_hello, the_version_is_chosen_as_the_two_can)
{
	struct making m = of_1_3();
	struct tls_client_hello h;

	m.suites = "1301 c02b";
	put(&m, 43, "04 0304 0303");
	assert_taken(&m, &h);
	cr_assert_null(tls_client_hello_choose(&h, true, true));
	cr_assert_eq(h.version, TLS_1_3);
	cr_assert_null(tls_client_hello_choose(&h, true, false));
	cr_assert_eq(h.version, TLS_1_2);
	cr_assert_null(tls_client_hello_choose(&h, false, true));
	cr_assert_eq(h.version, TLS_1_3);
	put(&m, 43, "04 0303 0304");
	assert_taken(&m, &h);
	cr_assert_null(tls_client_hello_choose(&h, true, true));
	cr_assert_eq(h.version, TLS_1_2);
	cr_assert_null(tls_client_hello_choose(&h, false, true));
	cr_assert_eq(h.version, TLS_1_3);
	put(&m, 43, "02 0304");
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, false), &TLS_VERSION_UNSUPPORTED);
	cr_assert_eq(h.version, 0);
	m = of_1_2();
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, false, true), &TLS_VERSION_UNSUPPORTED);
}

Test(tls_client_hello, falling_back_without_need_is_refused)
{
	struct making m = of_1_2();
	struct tls_client_hello h;

	m.suites = "c02b 5600";
	assert_taken(&m, &h);
	cr_assert(h.fallback);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_FALLBACK_INAPPROPRIATE);
	cr_assert_null(tls_client_hello_choose(&h, true, false));
	cr_assert_eq(tls_client_hello_choose(&h, false, true), &TLS_VERSION_UNSUPPORTED);
	m = of_1_3();
	m.suites = "1301 5600";
	assert_taken(&m, &h);
	cr_assert_null(tls_client_hello_choose(&h, true, true));
}

Test(tls_client_hello, nothing_in_common_is_seen_at_once)
{
	struct making m;
	struct tls_client_hello h;

	m = of_1_3();
	m.suites = "1304 c02b 0a0a";
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_NOTHING_SHARED);
	m = of_1_3();
	put(&m, 10, "0006 0a0a 0018 11ec");
	put(&m, 51, "0000");
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_NOTHING_SHARED);
	m = of_1_2();
	m.suites = "1301 c013 009c 00ff";
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_NOTHING_SHARED);
	m = of_1_2();
	leave_out(&m, 10);
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_NOTHING_SHARED);
	m = of_1_2();
	m.without_block = true;
	assert_taken(&m, &h);
	cr_assert_eq(tls_client_hello_choose(&h, true, true), &TLS_NOTHING_SHARED);
}

Test(tls_client_hello, what_the_client_can_verify_depends_on_the_version)
{
	static const struct {
		bool old;
		const char *suites, *groups, *schemes;   /* NULL: not sent */
		bool ecdsa, rsa;
	} CLIENTS[] = {
		{ 0, "1301", "0002 001d", "0002 0403", 1, 0 },
		{ 0, "1301", "0002 001d", "0002 0804", 0, 1 },
		{ 0, "1301", "0002 001d", "0002 0401", 0, 0 },
		{ 0, "1301", "0002 001d", "0004 0503 0805", 0, 0 },
		{ 0, "1301", "0002 001d", "0004 0403 0804", 1, 1 },
		{ 1, "c02b c02f", "0004 001d 0017", "0004 0403 0401", 1, 1 },
		{ 1, "c02b", "0004 001d 0017", "0004 0403 0401", 1, 0 },
		{ 1, "cca8", "0004 001d 0017", "0004 0403 0401", 0, 1 },
		{ 1, "c02b c02f", "0002 001d", "0004 0403 0401", 0, 1 },
		{ 1, "c02b c02f", "0002 0017", "0002 0403", 1, 0 },
		{ 1, "c02b c02f", "0002 0017", "0002 0804", 0, 0 },
		{ 1, "c02b c02f", "0002 0017", NULL, 0, 0 },
	};

	for (size_t i = 0; i < array_count(CLIENTS); i++) {
		struct making m = CLIENTS[i].old ? of_1_2() : of_1_3();
		struct tls_client_hello h;

		m.suites = CLIENTS[i].suites;
		put(&m, 10, CLIENTS[i].groups);
		if (CLIENTS[i].schemes)
			put(&m, 13, CLIENTS[i].schemes);
		else
			leave_out(&m, 13);
		assert_taken(&m, &h);
		cr_assert_null(tls_client_hello_choose(&h, true, true));
		cr_assert_eq(tls_client_hello_verifies_ecdsa(&h), CLIENTS[i].ecdsa, "%zu", i);
		cr_assert_eq(tls_client_hello_verifies_rsa(&h), CLIENTS[i].rsa, "%zu", i);
	}
}

Test(tls_client_hello, the_suites_here_are_those_of_the_table)
{
	unsigned count = 0;

	for (uint32_t id = 0; id <= UINT16_MAX; id++) {
		const struct tls_suite *suite = tls_suite_find((uint16_t)id);
		struct tls_client_hello h = { 0 };

		suite_note(&h, id);
		cr_assert_eq(h.suite_1_3, suite && suite->version == TLS_1_3, "%04x", id);
		cr_assert_eq(h.suite_ecdhe_ecdsa, suite && strstr(suite->name, "_ECDHE_ECDSA_"), "%04x", id);
		cr_assert_eq(h.suite_ecdhe_rsa, suite && strstr(suite->name, "_ECDHE_RSA_"), "%04x", id);
		count += h.suite_1_3 + h.suite_ecdhe_ecdsa + h.suite_ecdhe_rsa;
	}
	for (const int *id = tls_suite_ids(); *id; id++)
		count--;
	cr_assert_eq(count, 0);
}

Test(tls_client_hello, our_suites_are_kept_in_the_clients_order)
{
	struct making m = of_1_3();
	struct tls_client_hello h;

	m.suites = "0a0a 1303 c013 1301 c030 00ff";
	assert_taken(&m, &h);
	cr_assert_eq(h.suite_count, 3);
	cr_assert(h.suites[0] == 0x1303 && h.suites[1] == 0x1301 && h.suites[2] == 0xC030);
	/* One suite named again and again is no way past the end of the list. */
	m.suites = "1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1301 1303";
	assert_taken(&m, &h);
	cr_assert_eq(h.suite_count, TLS_SUITES_MAX);
}

/* As the current ones send it: GREASE at every place, a post-quantum share of 1216 bytes, ECH, and more than we read. */
Test(tls_client_hello, a_browser_is_understood)
{
	static char shares[4096], ech[1024];
	struct making m = { .legacy_version = 0x0303, .session_id = K32, .methods = "00",
		.suites = "4a4a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035" };
	struct tls_client_hello h;
	size_t n = (size_t)snprintf(shares, sizeof shares, "04ed 1a1a 0001 00 11ec 04c0");

	for (unsigned i = 0; i < 1216; i++)
		n += (size_t)snprintf(shares + n, sizeof shares - n, "%02x", i & 0xff);
	snprintf(shares + n, sizeof shares - n, SHARE_X25519);
	n = (size_t)snprintf(ech, sizeof ech, "00 0001 0001 a2 0020" K32 "0090");
	for (unsigned i = 0; i < 0x90; i++)
		n += (size_t)snprintf(ech + n, sizeof ech - n, "%02x", i);
	extend(&m, 0x0a0a, "");
	extend(&m, 0x44cd, "0003 02 6832");
	extend(&m, 5, "01 0000 0000");
	extend(&m, 23, "");
	extend(&m, 13, "0010 0403 0804 0401 0503 0805 0501 0806 0601");
	extend(&m, 27, "02 0002");
	extend(&m, 51, shares);
	extend(&m, 0, "0005 00 0002 6162");
	extend(&m, 16, "000c 02 6832 08 687474702f312e31");
	extend(&m, 0xff01, "00");
	extend(&m, 10, "000a 1a1a 11ec 001d 0017 0018");
	extend(&m, 18, "");
	extend(&m, 35, "");
	extend(&m, 45, "01 01");
	extend(&m, 0xfe0d, ech);
	extend(&m, 11, "01 00");
	extend(&m, 43, "06 2a2a 0304 0303");
	extend(&m, 0x3a3a, "00");
	assert_taken(&m, &h);
	cr_assert(name_is(&h, "ab") && tls_client_hello_offers_protocol(&h, "h2"));
	cr_assert(h.group_x25519 && h.group_p256 && h.group_other && h.share_x25519 && !h.share_p256);
	cr_assert_null(tls_client_hello_choose(&h, true, true));
	cr_assert_eq(h.version, TLS_1_3);
	cr_assert(tls_client_hello_verifies_ecdsa(&h) && tls_client_hello_verifies_rsa(&h) && !tls_client_hello_may_resume(&h));
	cr_assert_null(tls_client_hello_choose(&h, true, false));
	cr_assert(tls_client_hello_verifies_ecdsa(&h) && tls_client_hello_verifies_rsa(&h));
}

Test(tls_client_hello, grease_stands_for_nothing)
{
	struct making m = of_1_3();
	struct tls_client_hello h;

	m.suites = "9a9a 1301";
	put(&m, 43, "04 fafa 0304");
	put(&m, 10, "0006 2a2a 001d 0017");
	put(&m, 51, "0029 2a2a 0001 00" SHARE_X25519);
	put(&m, 13, "0006 3a3a 0403 0804");
	put(&m, 45, "02 0b 01");
	put(&m, 16, "0006 02 4a4a 02 6832");
	put(&m, 0x5a5a, "");
	put(&m, 0x6a6a, "00");
	assert_taken(&m, &h);
	cr_assert_not(h.group_other);
	cr_assert(tls_client_hello_offers_protocol(&h, "h2"));
	cr_assert_null(tls_client_hello_choose(&h, true, true));
	put(&m, 10, "0006 2a3a 001d 0017");
	assert_taken(&m, &h);
	cr_assert(h.group_other, "0x2a3a is none of them");
}

/* ---- names ---- */

Test(tls_client_hello, names_are_hosts_and_addresses_are_none)
{
	static const char L63[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890";
	static char n253[254], n254[255], l64[65];
	const struct {
		const char *sent;
		size_t n;                        /* 0: strlen */
		const char *name;                /* NULL: refused; "": taken as none */
	} NAMES[] = {
		{ "edc.example.org", 0, "edc.example.org" },
		{ "EDC.Example.ORG", 0, "EDC.Example.ORG" },
		{ "edc.example.org.", 0, "edc.example.org" },
		{ "localhost", 0, "localhost" },
		{ "a", 0, "a" },
		{ "_under.score_", 0, "_under.score_" },
		{ "xn--bcher-kva.example", 0, "xn--bcher-kva.example" },
		{ "1.example", 0, "1.example" },
		{ "3com", 0, "3com" },
		{ "127.0.0.1.example", 0, "127.0.0.1.example" },
		{ "1e100", 0, "1e100" },
		{ L63, 0, L63 },
		{ n253, 0, n253 },
		{ "127.0.0.1", 0, "" },
		{ "127.0.0.1.", 0, "" },
		{ "2130706433", 0, "" },
		{ "::1", 0, "" },
		{ "2001:db8::5", 0, "" },
		{ "::ffff:10.0.0.1", 0, "" },
		{ "[::1]", 0, NULL },
		{ "fe80::1%eth0", 0, NULL },
		{ "host:443", 0, NULL },
		{ ".", 0, NULL },
		{ "a..b", 0, NULL },
		{ ".a", 0, NULL },
		{ "a..", 0, NULL },
		{ "a b", 0, NULL },
		{ "a\nb", 0, NULL },
		{ "a/b", 0, NULL },
		{ "*.example", 0, NULL },
		{ "b\xc3\xbc" "cher.example", 0, NULL },
		{ "a\0b", 3, NULL },
		{ "a\0", 2, NULL },
		{ "\x7f", 0, NULL },
		{ "a@b", 0, NULL },
		{ "a[b", 0, NULL },
		{ "a`b", 0, NULL },
		{ "a{b", 0, NULL },
		{ l64, 0, NULL },
		{ n254, 0, NULL },
	};

	memset(l64, 'a', 64);
	for (size_t i = 0; i < 254; i++)
		n253[i] = n254[i] = i % 50 == 49 ? '.' : 'a';
	n253[253] = n254[254] = 0;
	for (size_t i = 0; i < array_count(NAMES); i++) {
		struct making m = of_1_3();
		size_t n = NAMES[i].n ? NAMES[i].n : strlen(NAMES[i].sent), length;
		static char body[1024];
		struct tls_client_hello h;

		length = (size_t)snprintf(body, sizeof body, "%04zx00%04zx", n + 3, n);
		for (size_t j = 0; j < n; j++)
			length += (size_t)snprintf(body + length, sizeof body - length, "%02x", (uint8_t)NAMES[i].sent[j]);
		put(&m, 0, body);
		if (!NAMES[i].name) {
			assert_refused(&m, &TLS_HELLO_NAME_BAD);
			continue;
		}
		assert_taken(&m, &h);
		cr_assert_eq(h.name_is_address, NAMES[i].name[0] == 0, "%s", NAMES[i].sent);
		cr_assert(NAMES[i].name[0] ? name_is(&h, NAMES[i].name) : !h.name && h.name_bytes == 0, "%s", NAMES[i].sent);
	}
}

Test(tls_client_hello, protocols_are_told_in_the_clients_order)
{
	struct making m = of_1_3();
	struct tls_client_hello h;
	size_t at = 0, n;
	const uint8_t *name;

	assert_taken(&m, &h);
	cr_assert_not(tls_client_hello_protocol(&h, &at, &name, &n));
	cr_assert_not(tls_client_hello_offers_protocol(&h, "h2"));
	put(&m, 16, "000c 02 6832 08 687474702f312e31");
	assert_taken(&m, &h);
	cr_assert(tls_client_hello_protocol(&h, &at, &name, &n));
	cr_assert(n == 2 && memcmp(name, "h2", 2) == 0);
	cr_assert(tls_client_hello_protocol(&h, &at, &name, &n));
	cr_assert(n == 8 && memcmp(name, "http/1.1", 8) == 0);
	cr_assert_not(tls_client_hello_protocol(&h, &at, &name, &n));
	cr_assert(tls_client_hello_offers_protocol(&h, "h2") && tls_client_hello_offers_protocol(&h, "http/1.1"));
	cr_assert_not(tls_client_hello_offers_protocol(&h, "h"));
	cr_assert_not(tls_client_hello_offers_protocol(&h, "h2c"));
	cr_assert_not(tls_client_hello_offers_protocol(&h, ""));
}

/* ---- alerts ---- */

Test(tls_client_hello, each_refusal_has_its_alert)
{
	static const struct {
		const struct reason *reason;
		uint8_t alert;
	} ALERTS[] = {
		{ &TLS_HELLO_INTERRUPTED, 10 }, { &TLS_HANDSHAKE_ORDER, 10 }, { &TLS_HELLO_RECORDS, 47 }, { &TLS_HELLO_LONG, 47 },
		{ &TLS_RECORD_LONG, 22 }, { &TLS_HELLO_LENGTHS, 50 }, { &TLS_HELLO_TRAILING, 50 }, { &TLS_HELLO_SESSION_ID, 50 },
		{ &TLS_HELLO_SUITES, 50 }, { &TLS_HELLO_COMPRESSION, 47 }, { &TLS_HELLO_EXTENSIONS_MANY, 47 },
		{ &TLS_HELLO_EXTENSION_TWICE, 47 }, { &TLS_HELLO_EXTENSION_BAD, 50 }, { &TLS_HELLO_EXTENSION_MISSING, 109 },
		{ &TLS_HELLO_NAMES, 47 }, { &TLS_HELLO_NAME_BAD, 112 }, { &TLS_HELLO_PROTOCOLS, 50 }, { &TLS_HELLO_POINTS, 47 },
		{ &TLS_HELLO_RENEGOTIATES, 40 }, { &TLS_HELLO_RECORD_LIMIT, 47 }, { &TLS_HELLO_SHARES_MANY, 47 },
		{ &TLS_HELLO_SHARE_TWICE, 47 }, { &TLS_HELLO_SHARE_UNLISTED, 47 }, { &TLS_HELLO_SHARE_BAD, 47 },
		{ &TLS_HELLO_PSK_PLACE, 47 }, { &TLS_HELLO_PSK_BINDERS, 47 }, { &TLS_FALLBACK_INAPPROPRIATE, 86 },
		{ &TLS_VERSION_UNSUPPORTED, 70 }, { &TLS_NOTHING_SHARED, 40 }, { &TLS_PROTOCOL_UNSUPPORTED, 120 }, { &TLS_SSL2, 70 },
	};
	uint8_t alert;

	for (size_t i = 0; i < array_count(ALERTS); i++) {
		cr_assert(tls_alert_for(ALERTS[i].reason, &alert), "%s", ALERTS[i].reason->name);
		cr_assert_eq(alert, ALERTS[i].alert, "%s: %u", ALERTS[i].reason->name, alert);
	}
	cr_assert_not(tls_alert_for(&TLS_HELLO_ALERT, &alert));
}

/* ---- OpenSSL's ---- */

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();

	X509_set_version(x, 2);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	cr_assert(SSL_CTX_use_certificate(context, x) == 1 && SSL_CTX_use_PrivateKey(context, key) == 1);
	X509_free(x);
	EVP_PKEY_free(key);
	return context;
}

static void carry(SSL *from, SSL *to)
{
	uint8_t bytes[4096];
	int n;

	while ((n = BIO_read(SSL_get_wbio(from), bytes, sizeof bytes)) > 0)
		BIO_write(SSL_get_rbio(to), bytes, n);
}

/* A session with a ticket, from a handshake with OpenSSL's own server. */
static SSL_SESSION *session_make(SSL_CTX *client_context)
{
	SSL_CTX *context = server_context();
	SSL *server = SSL_new(context), *client = SSL_new(client_context);
	SSL_SESSION *session;
	uint8_t byte;

	SSL_set_bio(server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (unsigned i = 0; i < 10; i++) {
		SSL_do_handshake(client);
		carry(client, server);
		SSL_do_handshake(server);
		carry(server, client);
	}
	SSL_read(client, &byte, 1);              /* the tickets of TLS 1.3 come behind the handshake */
	cr_assert(SSL_is_init_finished(client));
	session = SSL_get1_session(client);
	cr_assert(SSL_SESSION_has_ticket(session));
	SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(context);
	return session;
}

static const struct setting {
	int version_min, version_max;    /* 0: as OpenSSL likes */
	const char *name, *groups, *suites, *schemes;
	bool protocols, resumes, fallback;
} SETTINGS[] = {
	{ 0 },
	{ .name = "edc.example.org", .protocols = true },
	{ TLS1_3_VERSION, 0, .name = "edc.example.org" },
	{ TLS1_3_VERSION, 0, .groups = "P-256" },
	{ TLS1_3_VERSION, 0, .groups = "X448:P-521:X25519" },
	{ TLS1_3_VERSION, 0, .resumes = true, .name = "edc.example.org", .protocols = true },
	{ 0, TLS1_2_VERSION, .name = "edc.example.org", .protocols = true },
	{ 0, TLS1_2_VERSION, .resumes = true },
	{ 0, TLS1_2_VERSION, .groups = "X25519", .suites = "ECDHE-RSA-AES128-GCM-SHA256" },
	{ 0, TLS1_2_VERSION, .suites = "ECDHE-ECDSA-CHACHA20-POLY1305", .schemes = "ecdsa_secp256r1_sha256" },
	{ 0, TLS1_2_VERSION, .fallback = true },
	{ 0, 0, .schemes = "rsa_pss_rsae_sha256" },
};

/* The bytes that OpenSSL's client begins with: one record. */
static void hello_of(const struct setting *s, struct bytes *wire)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	SSL_CTX_set_min_proto_version(context, s->version_min);
	SSL_CTX_set_max_proto_version(context, s->version_max);
	if (s->groups)
		cr_assert(SSL_CTX_set1_groups_list(context, s->groups) == 1);
	if (s->suites)
		cr_assert(SSL_CTX_set_cipher_list(context, s->suites) == 1);
	if (s->schemes)
		cr_assert(SSL_CTX_set1_sigalgs_list(context, s->schemes) == 1);
	if (s->fallback)
		SSL_CTX_set_mode(context, SSL_MODE_SEND_FALLBACK_SCSV);
	ssl = SSL_new(context);
	if (s->name)
		SSL_set_tlsext_host_name(ssl, s->name);
	if (s->protocols)
		SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
	if (s->resumes) {
		SSL_SESSION *session = session_make(context);

		SSL_set_session(ssl, session);
		SSL_SESSION_free(session);
	}
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_connect(ssl);
	wire->n = (size_t)BIO_read(SSL_get_wbio(ssl), wire->at, sizeof wire->at);
	cr_assert(wire->n > TLS_HELLO_LOOK_BYTES && wire->n < sizeof wire->at);
	SSL_free(ssl);
	SSL_CTX_free(context);
}

static void assert_says(const struct setting *s, const struct tls_client_hello *h)
{
	bool old = s->version_max == TLS1_2_VERSION, new = s->version_min == TLS1_3_VERSION;

	cr_assert_eq(h->offers_1_2, !new);
	cr_assert_eq(h->offers_1_3, !old);
	cr_assert(s->name ? name_is(h, s->name) : !h->name);
	cr_assert_eq(tls_client_hello_offers_protocol(h, "h2"), s->protocols);
	cr_assert_eq(tls_client_hello_offers_protocol(h, "http/1.1"), s->protocols);
	cr_assert_eq(h->group_x25519, !s->groups || strstr(s->groups, "X25519"));
	cr_assert_eq(h->group_p256, !s->groups || strstr(s->groups, "P-256"));
	cr_assert_eq(h->ticket_1_2, s->resumes && old);
	cr_assert_eq(h->ticket_1_3, s->resumes && !old);
	cr_assert_eq(h->fallback, s->fallback);
	cr_assert(h->extended_master_secret == !new);
	cr_assert_eq(h->suite_1_3, !old);
	/* OpenSSL leaves out the suites whose signatures it could not verify. */
	cr_assert_eq(h->suite_ecdhe_ecdsa, !new && (!s->suites || strstr(s->suites, "ECDSA")) &&
		(!s->schemes || strstr(s->schemes, "ecdsa")));
	cr_assert_eq(h->suite_ecdhe_rsa, !new && (!s->suites || strstr(s->suites, "RSA-AES")) &&
		(!s->schemes || strstr(s->schemes, "rsa_")));
	cr_assert_eq(h->scheme_ecdsa_p256_sha256, !s->schemes || strstr(s->schemes, "ecdsa"));
	cr_assert_eq(h->scheme_rsa_pss_sha256, !s->schemes || strstr(s->schemes, "rsa_"));
	cr_assert_not(h->early_data || h->prefers_1_2 || h->name_is_address);
}

Test(tls_client_hello, openssl_is_understood_in_every_setting)
{
	static struct bytes wire;

	for (size_t i = 0; i < array_count(SETTINGS); i++) {
		struct tls_client_hello h;
		const struct reason *reason;

		hello_of(&SETTINGS[i], &wire);
		reason = parse_exact(wire.at + 5, wire.n - 5, &h);
		cr_assert_null(reason, "%zu: %s", i, reason ? reason->name : "");
		assert_says(&SETTINGS[i], &h);
		cr_assert_eq(tls_client_hello_choose(&h, true, true), SETTINGS[i].fallback ? &TLS_FALLBACK_INAPPROPRIATE : NULL);
		if (!SETTINGS[i].fallback)
			cr_assert_eq(tls_client_hello_may_resume(&h), SETTINGS[i].resumes);
	}
}

/* ---- cut, changed, fragmented ---- */

static bool same(const struct tls_client_hello *a, const struct tls_client_hello *b)
{
	static const size_t FIRST = offsetof(struct tls_client_hello, name_bytes), END = offsetof(struct tls_client_hello, fallback) + 1;

	/* The pointers lead into two copies of one message. */
	if (!a->name != !b->name || !a->protocols != !b->protocols)
		return false;
	if (memcmp((const uint8_t *)a + FIRST, (const uint8_t *)b + FIRST, END - FIRST) != 0)
		return false;
	return (!a->name || memcmp(a->name, b->name, a->name_bytes) == 0) &&
	       (!a->protocols || memcmp(a->protocols, b->protocols, a->protocols_bytes) == 0);
}

/* All that is tried on, one after the other: published and OpenSSL's. Without the record's header. */
static bool sample(size_t i, struct bytes *message)
{
	static struct bytes wire;

	message->n = 0;
	if (i < array_count(PUBLISHED)) {
		add_hex(message, PUBLISHED[i].hex);
		return true;
	}
	i -= array_count(PUBLISHED);
	if (i >= array_count(SETTINGS))
		return false;
	hello_of(&SETTINGS[i], &wire);
	memcpy(message->at, wire.at + 5, wire.n - 5);
	message->n = wire.n - 5;
	return true;
}

Test(tls_client_hello, a_hello_that_is_cut_anywhere_is_refused)
{
	static struct bytes m, shorter;

	for (size_t i = 0; sample(i, &m); i++) {
		for (size_t n = 0; n < m.n; n++) {
			struct tls_client_hello h;
			const struct reason *reason;

			cr_assert_eq(parse_exact(m.at, n, &h), &TLS_HELLO_LENGTHS);
			/* The same with a header that says so: only where the extensions would begin may a hello end. */
			if (n < 4)
				continue;
			memcpy(shorter.at, m.at, n);
			shorter.at[2] = (uint8_t)((n - 4) >> 8);
			shorter.at[3] = (uint8_t)(n - 4);
			reason = parse_exact(shorter.at, n, &h);
			cr_assert(reason || n == 4 + 35 + m.at[38] + 2 + (size_t)(m.at[39 + m.at[38]] << 8 | m.at[40 + m.at[38]]) + 2);
		}
	}
}

Test(tls_client_hello, no_changed_byte_does_more_than_change_the_answer, .timeout = 100)
{
	static struct bytes m;
	size_t taken = 0, refused = 0;

	for (size_t i = 0; sample(i, &m); i++) {
		for (size_t at = 0; at < m.n; at++) {
			uint8_t before = m.at[at];

			/* Each bit, and the values that lengths go wrong with. */
			for (unsigned change = 0; change < 12; change++) {
				static const uint8_t VALUES[] = { 0, 1, 0x7f, 0xff };
				struct tls_client_hello h;
				const struct reason *reason;

				m.at[at] = change < 8 ? (uint8_t)(before ^ 1u << change) : VALUES[change - 8];
				reason = parse_exact(m.at, m.n, &h);
				if (reason)
					refused++;
				else
					taken++;
				if (!reason)
					(void)tls_client_hello_choose(&h, true, true);
				cr_assert(!reason || (reason->name[0] && reason->sentence[0]));
			}
			m.at[at] = before;
		}
	}
	/* Randoms, shares and tickets may be anything; lengths may not. */
	cr_assert(taken > 10000 && refused > 5000, "%zu %zu", taken, refused);
}

static void add_record(struct pipe *to, const uint8_t *content, size_t n)
{
	const uint8_t header[] = { 22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n };

	pipe_write(to, header, sizeof header);
	pipe_write(to, content, n);
}

static void assert_same_from(struct pipe *wire, const struct bytes *m)
{
	static uint8_t room[TLS_HELLO_BYTES_MAX];
	struct tls_hello hello = { 0 };
	struct tls_client_hello direct, h;

	cr_assert_null(tls_hello_read(&hello, wire));
	cr_assert(hello.whole && hello.length == m->n);
	cr_assert_null(tls_client_hello_parse(tls_hello_message(&hello, wire, room), hello.length, &h));
	cr_assert_null(tls_client_hello_parse(m->at, m->n, &direct));
	cr_assert(same(&h, &direct));
}

Test(tls_client_hello, fragments_change_nothing, .timeout = 100)
{
	static struct bytes m;
	struct chunk_pool pool;
	struct pipe wire;

	chunk_pool_init(&pool, UINT64_MAX);
	for (size_t i = 0; sample(i, &m); i++) {
		for (size_t at = 1; at < m.n; at++) {
			pipe_init(&wire, &pool, UINT64_MAX);
			add_record(&wire, m.at, at);
			add_record(&wire, m.at + at, m.n - at);
			assert_same_from(&wire, &m);
			pipe_fini(&wire);
		}
		/* As small as the bound on records allows; one byte each is then refused. */
		pipe_init(&wire, &pool, UINT64_MAX);
		for (size_t at = 0, least = m.n / TLS_HELLO_RECORDS_MAX + 1; at < m.n; at += least)
			add_record(&wire, m.at + at, m.n - at < least ? m.n - at : least);
		assert_same_from(&wire, &m);
		pipe_fini(&wire);
		pipe_init(&wire, &pool, UINT64_MAX);
		for (size_t at = 0; at < m.n; at++)
			add_record(&wire, m.at + at, 1);
		cr_assert_eq(tls_hello_read(&(struct tls_hello){ 0 }, &wire), &TLS_HELLO_RECORDS);
		pipe_fini(&wire);
	}
	chunk_pool_fini(&pool);
}

Test(tls_client_hello, the_smallest_hello_travels_in_records_of_one_byte)
{
	struct making m = { .legacy_version = 0x0303, .session_id = "", .suites = "c02b", .methods = "00" };
	struct chunk_pool pool;
	struct pipe wire;

	extend(&m, 10, "0002 0017");
	make(&m, &made);
	cr_assert(made.n <= TLS_HELLO_RECORDS_MAX);
	chunk_pool_init(&pool, UINT64_MAX);
	pipe_init(&wire, &pool, UINT64_MAX);
	for (size_t at = 0; at < made.n; at++)
		add_record(&wire, made.at + at, 1);
	assert_same_from(&wire, &made);
	pipe_fini(&wire);
	chunk_pool_fini(&pool);
}
