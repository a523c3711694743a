/* See tls/record.h. */
#include "tls/record.h"
#include "tls/reason.h"
#include "tls/secret.h"

#include <endian.h>
#include <string.h>

/* TLS 1.2's GCM sends half of its nonce with each record (RFC 5288 §3); ChaCha20 (RFC 7905 §2) and TLS 1.3 send nothing. */
static bool has_explicit_nonce(const struct tls_suite *suite)
{
	return suite->version == TLS_1_2 && suite->aead != AEAD_CHACHA20_POLY1305;
}

static const struct tls_suite *suite_of(const struct tls_half *half)
{
	return tls_suite_numbered(half->suite);
}

unsigned tls_iv_bytes(const struct tls_suite *suite)
{
	return has_explicit_nonce(suite) ? 4 : AEAD_NONCE_BYTES;
}

/* ---- keys ---- */

/* RFC 8446 §7.3: [sender]_write_key = HKDF-Expand-Label(Secret, "key", "", key_length), and "iv" likewise. */
static void half_derive(struct tls_half *half, const struct tls_suite *suite, uint8_t key[AEAD_KEY_BYTES_MAX])
{
	tls_expand_label(suite->hash, half->secret, "key", key, aead_key_bytes(suite->aead));
	tls_expand_label(suite->hash, half->secret, "iv", half->iv, AEAD_NONCE_BYTES);
}

void tls_half_init_secret(struct tls_half *half, struct aead_pool *aeads, const struct tls_suite *suite,
	const uint8_t *secret, bool seals)
{
	uint8_t key[AEAD_KEY_BYTES_MAX];

	check(suite->version == TLS_1_3);
	*half = (struct tls_half){ .suite = tls_suite_number(suite), .records_max = suite->records_max };
	memcpy(half->secret, secret, tls_hash_bytes(suite->hash));
	half_derive(half, suite, key);
	aead_init(&half->aead, aeads, suite->aead, key, seals);
	tls_zeroise(key, sizeof key);
}

void tls_half_init_key(struct tls_half *half, struct aead_pool *aeads, const struct tls_suite *suite,
	const uint8_t *key, const uint8_t *iv, bool seals)
{
	check(suite->version == TLS_1_2);
	*half = (struct tls_half){ .suite = tls_suite_number(suite), .records_max = suite->records_max };
	memcpy(half->iv, iv, tls_iv_bytes(suite));
	aead_init(&half->aead, aeads, suite->aead, key, seals);
}

/* RFC 8446 §7.2: application_traffic_secret_N+1 = HKDF-Expand-Label(application_traffic_secret_N, "traffic upd", "", …). */
void tls_half_update(struct tls_half *half)
{
	const struct tls_suite *suite = suite_of(half);
	uint8_t key[AEAD_KEY_BYTES_MAX];

	check(suite->version == TLS_1_3);
	tls_expand_label(suite->hash, half->secret, "traffic upd", half->secret, tls_hash_bytes(suite->hash));
	half_derive(half, suite, key);
	aead_set_key(&half->aead, key);
	tls_zeroise(key, sizeof key);
	half->sequence = 0;
}

void tls_half_fini(struct tls_half *half)
{
	aead_fini(&half->aead);
	tls_zeroise(half, sizeof *half);
}

/* ---- nonce and additional data, the same for both ways ---- */

static void put_u64(uint8_t to[8], uint64_t value)
{
	value = htobe64(value);
	memcpy(to, &value, sizeof value);
}

/* `header` is the record's, `content_bytes` what is encrypted without the tag, `explicit` the nonce that travels or NULL. */
static void half_begin(struct tls_half *half, const struct tls_suite *suite, const uint8_t *header,
	uint32_t content_bytes, const uint8_t *explicit)
{
	uint8_t nonce[AEAD_NONCE_BYTES];

	memcpy(nonce, half->iv, sizeof nonce);
	if (explicit) {
		memcpy(nonce + 4, explicit, 8);
	} else {
		uint64_t number;

		/* RFC 8446 §5.3: the sequence number "is padded to the left with zeros to iv_length … [and] XORed with" the iv.
		 * At once and not byte by byte: it is done for every record. */
		memcpy(&number, nonce + 4, sizeof number);
		number ^= htobe64(half->sequence);
		memcpy(nonce + 4, &number, sizeof number);
	}
	if (suite->version == TLS_1_3) {
		aead_begin(&half->aead, nonce, header, TLS_HEADER_BYTES);
	} else {
		/* RFC 5246 §6.2.3.3: additional_data = seq_num + type + version + length, the length before encryption. */
		uint8_t additional[13];

		put_u64(additional, half->sequence);
		memcpy(additional + 8, header, 3);
		additional[11] = (uint8_t)(content_bytes >> 8);
		additional[12] = (uint8_t)content_bytes;
		aead_begin(&half->aead, nonce, additional, sizeof additional);
	}
	half->sequence++;
}

/* ---- sealing ---- */

static uint32_t seal_overhead(const struct tls_suite *suite)
{
	return AEAD_TAG_BYTES + (suite->version == TLS_1_3 ? 1 : has_explicit_nonce(suite) ? 8 : 0);
}

uint32_t tls_sealed_bytes(const struct tls_half *half, uint32_t n)
{
	return TLS_HEADER_BYTES + n + seal_overhead(suite_of(half));
}

void tls_seal_begin(struct tls_sealing *sealing, struct tls_half *half, uint8_t type, uint32_t n, uint8_t *record)
{
	const struct tls_suite *suite = suite_of(half);
	uint32_t length = n + seal_overhead(suite);
	uint8_t *explicit = NULL;

	check(half->aead.seals && n <= TLS_CONTENT_BYTES_MAX);
	record[0] = suite->version == TLS_1_3 ? TLS_APPLICATION_DATA : type;
	record[1] = 3;
	record[2] = 3;
	record[3] = (uint8_t)(length >> 8);
	record[4] = (uint8_t)length;
	*sealing = (struct tls_sealing){
		.half = half,
		.at = record + TLS_HEADER_BYTES,
		.left = n,
		.type = type,
		.type_owed = suite->version == TLS_1_3,
	};
	if (has_explicit_nonce(suite)) {
		/* RFC 5288 §3: "The nonce_explicit MAY be the 64-bit sequence number." It never repeats under one key. */
		explicit = sealing->at;
		put_u64(explicit, half->sequence);
		sealing->at += 8;
	}
	half_begin(half, suite, record, n, explicit);
}

/* The type goes behind the content, and a pass of the cipher for that byte alone costs 30 ns, a tenth of a small record.
 * To copy so few bytes costs less. */
#define COPY_BYTES_MAX 512u

void tls_seal_add(struct tls_sealing *sealing, const void *bytes, uint32_t n)
{
	check(n <= sealing->left);
	if (n > 0 && n == sealing->left && n <= COPY_BYTES_MAX && sealing->type_owed) {
		memmove(sealing->at, bytes, n);
		sealing->at[n] = sealing->type;
		aead_add(&sealing->half->aead, sealing->at, n + 1, sealing->at);
		sealing->at += n + 1;
		sealing->left = 0;
		sealing->type_owed = false;
		return;
	}
	aead_add(&sealing->half->aead, bytes, n, sealing->at);
	sealing->at += n;
	sealing->left -= n;
}

void tls_seal_end(struct tls_sealing *sealing)
{
	check(sealing->left == 0);
	if (sealing->type_owed) {
		aead_add(&sealing->half->aead, &sealing->type, 1, sealing->at);
		sealing->at++;
	}
	aead_sealed(&sealing->half->aead, sealing->at);
}

uint32_t tls_seal(struct tls_half *half, uint8_t type, const void *bytes, uint32_t n, uint8_t *record)
{
	struct tls_sealing sealing;

	tls_seal_begin(&sealing, half, type, n, record);
	tls_seal_add(&sealing, bytes, n);
	tls_seal_end(&sealing);
	return tls_sealed_bytes(half, n);
}

/* ---- opening ---- */

const struct reason *tls_header_check(const struct tls_half *half, const uint8_t header[TLS_HEADER_BYTES],
	uint32_t *bytes)
{
	uint8_t type = header[0];
	uint32_t length = (uint32_t)header[3] << 8 | header[4];
	const struct tls_suite *suite = suite_of(half);
	uint32_t overhead = seal_overhead(suite);

	if (type < TLS_CHANGE_CIPHER_SPEC || type > TLS_APPLICATION_DATA)
		return &TLS_RECORD_TYPE;
	/* RFC 8446 §5: a change_cipher_spec "received … after the peer's Finished message … MUST be treated as an
	 * unexpected record type". In TLS 1.2 it belongs to a handshake, and ours is over. */
	if (type == TLS_CHANGE_CIPHER_SPEC)
		return &TLS_RECORD_CCS;
	/* RFC 8446 §5.2: opaque_type "is always set to the value 23 (application_data)". */
	if (suite->version == TLS_1_3 && type != TLS_APPLICATION_DATA)
		return &TLS_RECORD_PLAIN;
	if (header[1] != 3 || header[2] != 3)
		return &TLS_RECORD_VERSION;
	/* RFC 8446 §5.2: "The length MUST NOT exceed 2^14 + 256 bytes. An endpoint that receives a record that exceeds this
	 * length MUST terminate the connection with a "record_overflow" alert." TLS 1.2 allows 2^14 + 2048, but there what
	 * is over the suite's own overhead is content over 2^14, which is the same fault and need not be waited for. */
	if (length > TLS_CONTENT_BYTES_MAX + (suite->version == TLS_1_3 ? 256 : overhead))
		return &TLS_RECORD_LONG;
	if (length < overhead)
		return &TLS_RECORD_SHORT;
	*bytes = TLS_HEADER_BYTES + length;
	return NULL;
}

uint32_t tls_head_bytes(const struct tls_half *half)
{
	return TLS_HEADER_BYTES + (has_explicit_nonce(suite_of(half)) ? 8 : 0);
}

void tls_open_begin(struct tls_opening *opening, struct tls_half *half, const uint8_t *head, uint32_t bytes, uint8_t *to)
{
	const struct tls_suite *suite = suite_of(half);
	uint32_t head_bytes = tls_head_bytes(half);

	check(!half->aead.seals);
	check(bytes >= TLS_HEADER_BYTES + seal_overhead(suite) && bytes <= TLS_RECORD_BYTES_MAX);
	*opening = (struct tls_opening){
		.half = half,
		.to = to,
		.left = bytes - head_bytes - AEAD_TAG_BYTES,
		.type = head[0],
	};
	half_begin(half, suite, head, opening->left, head_bytes > TLS_HEADER_BYTES ? head + TLS_HEADER_BYTES : NULL);
}

void tls_open_add(struct tls_opening *opening, const uint8_t *from, uint32_t n)
{
	check(n <= opening->left);
	aead_add(&opening->half->aead, from, n, opening->to + opening->n);
	opening->n += n;
	opening->left -= n;
}

const struct reason *tls_open_end(struct tls_opening *opening, const uint8_t tag[AEAD_TAG_BYTES], struct tls_opened *opened)
{
	uint32_t n = opening->n;

	check(opening->left == 0);
	if (!aead_opened(&opening->half->aead, tag))
		return &TLS_RECORD_FORGED;
	*opened = (struct tls_opened){ .bytes = opening->to, .n = n, .type = opening->type };
	if (suite_of(opening->half)->version == TLS_1_2)
		return NULL;
	/* RFC 8446 §5.4: "the full encoded TLSInnerPlaintext MUST NOT exceed 2^14 + 1 octets", padding included. */
	if (n > TLS_CONTENT_BYTES_MAX + 1)
		return &TLS_RECORD_LONG;
	/* "the receiving implementation scans the field from the end toward the beginning until it finds a non-zero octet.
	 * … If a receiving implementation does not find a non-zero octet in the cleartext, it MUST terminate". */
	while (n > 0 && opening->to[n - 1] == 0)
		n--;
	if (n == 0)
		return &TLS_RECORD_PADDING;
	opened->type = opening->to[n - 1];
	opened->n = n - 1;
	return NULL;
}

const struct reason *tls_open(struct tls_half *half, uint8_t *record, uint32_t bytes, struct tls_opened *opened)
{
	uint8_t *content = record + tls_head_bytes(half);
	struct tls_opening opening;

	tls_open_begin(&opening, half, record, bytes, content);
	tls_open_add(&opening, content, opening.left);
	return tls_open_end(&opening, content + opening.n, opened);
}
