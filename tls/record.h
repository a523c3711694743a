/* tls/record.h — sealing and opening records: pure functions between bytes and bytes.
 *
 *   TLS 1.3   ┌ 23 │ 0303 │ length ┐┌──────── content │ type │ zeros ────────┐┌ tag 16 ┐     content, type and padding
 *             └─── 5, additional ──┘└───────────── encrypted ──────────────┘└────────┘     are encrypted together
 *   TLS 1.2   ┌ type │ 0303 │ length ┐┌ nonce 8 ┐┌──── content ────┐┌ tag 16 ┐             GCM; ChaCha20 sends no nonce
 *
 * Words:  half      the protection of one direction: key, iv, number of the next record
 *         content   what a record carries; its type tells what that is
 *
 * Owner: the struct that embeds the half, which stays at its address from init to fini; tls_half_fini zeroises.   Thread: its core's.   Units: bytes.
 * Errors: a reason of tls/reason.h; after one the half must not be used again.
 * Limits: TLS_CONTENT_BYTES_MAX a record. How many records a key may seal is asked by the caller (tls_half_spent).
 * Source: RFC 8446 §5, §7.2, §7.3; RFC 5246 §6; RFC 5288; RFC 7905. */
#ifndef TLS_RECORD_H
#define TLS_RECORD_H

#include "ring/reason.h"
#include "tls/crypto/aead.h"
#include "tls/suite.h"

#define TLS_HEADER_BYTES 5u
#define TLS_CONTENT_BYTES_MAX 16384u
/* What is accepted: 256 more for TLS 1.3's type and padding; no suite of ours needs as much in TLS 1.2. */
#define TLS_RECORD_BYTES_MAX (TLS_HEADER_BYTES + TLS_CONTENT_BYTES_MAX + 256u)
/* What sealing adds at most: header, explicit nonce or type, tag. */
#define TLS_SEAL_BYTES_MAX (TLS_HEADER_BYTES + 8u + AEAD_TAG_BYTES)
#define TLS_HEAD_BYTES_MAX (TLS_HEADER_BYTES + 8u)
#define TLS_SECRET_BYTES_MAX 48u

enum tls_content { TLS_CHANGE_CIPHER_SPEC = 20, TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_APPLICATION_DATA = 23 };

/* All that is kept of an idle connection's protection: two of these, 128 bytes each. What a record needs comes first, so
 * that it touches one cache line, and the second only when the key has to be made ready again. */
struct tls_half {
	uint64_t sequence;               /* of the next record */
	uint64_t records_max;            /* from the suite; a test may set it lower */
	uint8_t iv[AEAD_NONCE_BYTES];    /* TLS 1.2 with GCM: the first four */
	uint8_t suite;                   /* its number, see tls/suite.h; 0: no keys */
	struct aead aead;
	uint8_t secret[TLS_SECRET_BYTES_MAX]; /* TLS 1.3: what the next key comes from */
};

/* TLS 1.3: `secret` is the traffic secret, as long as the suite's hash. */
void tls_half_init_secret(struct tls_half *, struct aead_pool *, const struct tls_suite *,
	const uint8_t *secret, bool seals);
/* TLS 1.2: key and iv from the key block; iv has tls_iv_bytes(suite). */
void tls_half_init_key(struct tls_half *, struct aead_pool *, const struct tls_suite *,
	const uint8_t *key, const uint8_t *iv, bool seals);
void tls_half_fini(struct tls_half *);                       /* harmless twice */

unsigned tls_iv_bytes(const struct tls_suite *);

/* TLS 1.3: the next key of this direction; its sequence begins again. */
void tls_half_update(struct tls_half *);

static inline bool tls_half_spent(const struct tls_half *half)
{
	return half->sequence >= half->records_max;
}

/* ---- sealing ---- */

/* How long the record with n bytes of content is. */
uint32_t tls_sealed_bytes(const struct tls_half *, uint32_t n);

/* A record whose content comes in pieces: begin, add until all n are there, end. `record` has tls_sealed_bytes. */
struct tls_sealing {
	struct tls_half *half;
	uint8_t *at;
	uint32_t left;
	uint8_t type;
	bool type_owed;                  /* TLS 1.3: it still has to follow the content */
};
void tls_seal_begin(struct tls_sealing *, struct tls_half *, uint8_t type, uint32_t n, uint8_t *record);
void tls_seal_add(struct tls_sealing *, const void *bytes, uint32_t n);
void tls_seal_end(struct tls_sealing *);

/* The same in one piece. Returns the record's length. */
uint32_t tls_seal(struct tls_half *, uint8_t type, const void *bytes, uint32_t n, uint8_t *record);

/* ---- opening ---- */

/* Whether a record may begin so, before its bytes are waited for. *bytes: its whole length with the header, never more
 * than TLS_RECORD_BYTES_MAX. NULL: it may. */
const struct reason *tls_header_check(const struct tls_half *, const uint8_t header[TLS_HEADER_BYTES], uint32_t *bytes);

struct tls_opened {
	uint8_t *bytes;
	uint32_t n;
	uint8_t type;
};

/* Opens in place one whole record whose header was checked; what it opened lies inside it. NULL: it is genuine. */
const struct reason *tls_open(struct tls_half *, uint8_t *record, uint32_t bytes, struct tls_opened *);

/* The same of a record that lies in pieces: begin with its head (tls_head_bytes of it), add until `left` is 0, end with
 * its tag. What is opened goes to `to` (bytes - head - tag, at most TLS_RECORD_BYTES_MAX), and is not to be used before
 * the end has said that it is genuine. */
struct tls_opening {
	struct tls_half *half;
	uint8_t *to;
	uint32_t n;                      /* in `to` so far */
	uint32_t left;                   /* still to be added */
	uint8_t type;
};
uint32_t tls_head_bytes(const struct tls_half *);            /* header and explicit nonce; at most TLS_HEAD_BYTES_MAX */
void tls_open_begin(struct tls_opening *, struct tls_half *, const uint8_t *head, uint32_t bytes, uint8_t *to);
void tls_open_add(struct tls_opening *, const uint8_t *from, uint32_t n);
const struct reason *tls_open_end(struct tls_opening *, const uint8_t tag[AEAD_TAG_BYTES], struct tls_opened *);

#endif
