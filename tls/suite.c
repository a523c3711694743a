/* See tls/suite.h. */
#include "tls/suite.h"

/* RFC 8446 §5.5: "For AES-GCM, up to 2^24.5 full-size records (about 24 million) may be encrypted on a given connection
 * while keeping a safety margin of approximately 2^-57". Rekeying is cheap, so we do it well before. */
#define GCM_RECORDS_MAX (UINT64_C(1) << 24)
/* "For ChaCha20/Poly1305, the record sequence number would wrap before the safety limit is reached." A number that is
 * never reached, so that there is one rule for all and a sequence number never comes back. */
#define CHACHA_RECORDS_MAX (UINT64_C(1) << 60)

static const struct tls_suite SUITES[] = {
	{ 0x1301, TLS_1_3, "TLS_AES_128_GCM_SHA256", AEAD_AES_128_GCM, TLS_SHA256, GCM_RECORDS_MAX },
	{ 0x1303, TLS_1_3, "TLS_CHACHA20_POLY1305_SHA256", AEAD_CHACHA20_POLY1305, TLS_SHA256, CHACHA_RECORDS_MAX },
	{ 0x1302, TLS_1_3, "TLS_AES_256_GCM_SHA384", AEAD_AES_256_GCM, TLS_SHA384, GCM_RECORDS_MAX },
	{ 0xC02B, TLS_1_2, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", AEAD_AES_128_GCM, TLS_SHA256, GCM_RECORDS_MAX },
	{ 0xC02F, TLS_1_2, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", AEAD_AES_128_GCM, TLS_SHA256, GCM_RECORDS_MAX },
	{ 0xCCA9, TLS_1_2, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", AEAD_CHACHA20_POLY1305, TLS_SHA256,
		CHACHA_RECORDS_MAX },
	{ 0xCCA8, TLS_1_2, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", AEAD_CHACHA20_POLY1305, TLS_SHA256,
		CHACHA_RECORDS_MAX },
	{ 0xC02C, TLS_1_2, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", AEAD_AES_256_GCM, TLS_SHA384, GCM_RECORDS_MAX },
	{ 0xC030, TLS_1_2, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", AEAD_AES_256_GCM, TLS_SHA384, GCM_RECORDS_MAX },
};

/* Beside the table, because mbedTLS keeps the pointer and wants ints. */
static const int IDS[] = { 0x1301, 0x1303, 0x1302, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC02C, 0xC030, 0 };

static_assert(array_count(IDS) == array_count(SUITES) + 1, "each suite is in both tables");
static_assert(array_count(SUITES) <= TLS_SUITES_MAX, "a list of ours has room for each");

const struct tls_suite *tls_suite_find(uint16_t id)
{
	for (size_t i = 0; i < array_count(SUITES); i++)
		if (SUITES[i].id == id)
			return &SUITES[i];
	return NULL;
}

uint8_t tls_suite_number(const struct tls_suite *suite)
{
	return (uint8_t)(suite - SUITES + 1);
}

const struct tls_suite *tls_suite_numbered(uint8_t number)
{
	check(number > 0 && number <= array_count(SUITES));
	return &SUITES[number - 1];
}

const int *tls_suite_ids(void)
{
	return IDS;
}

unsigned tls_hash_bytes(enum tls_hash hash)
{
	return hash == TLS_SHA384 ? 48 : 32;
}
