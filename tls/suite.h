/* tls/suite.h — the cipher suites we speak, and what each one means for records.
 *
 * AEAD only, forward secret only. The order is ours: TLS 1.2 takes the first one that the client offers too; in TLS 1.3
 * mbedTLS takes the client's first that we have.
 *
 * Owner: static storage, const.   Thread: any.   Units: bytes, records.   Errors: NULL: not ours.   Limits: none.
 * Source: RFC 8446 §B.4, RFC 5289, RFC 7905; records_max from RFC 8446 §5.5. */
#ifndef TLS_SUITE_H
#define TLS_SUITE_H

#include "tls/crypto/aead.h"

/* As on the wire. */
enum tls_version { TLS_1_2 = 0x0303, TLS_1_3 = 0x0304 };

#define TLS_SUITES_MAX 16u

enum tls_hash { TLS_SHA256, TLS_SHA384 };

struct tls_suite {
	uint16_t id;
	uint16_t version;                /* enum tls_version */
	const char *name;                /* as IANA writes it: for logs */
	enum aead_kind aead;
	enum tls_hash hash;
	uint64_t records_max;            /* that one key may seal */
};

const struct tls_suite *tls_suite_find(uint16_t id);

/* A suite in one byte: 1 for the first, 0 for none. */
uint8_t tls_suite_number(const struct tls_suite *);
const struct tls_suite *tls_suite_numbered(uint8_t number);  /* never of 0 */

/* All of them in our order, ended by 0: what mbedTLS wants to know. */
const int *tls_suite_ids(void);

unsigned tls_hash_bytes(enum tls_hash);

#endif
