/* mbedtls/postern_config.h — how Postern's private mbedTLS differs from the default 3.6.
 *
 * tools/bootstrap copies this file beside mbedtls_config.h and appends an #include of it there, so
 * that the library and everyone who includes its headers see the same structs without needing a
 * -D on the command line. A mismatch of the two would be silent memory corruption.
 *
 * What mbedTLS does for us: handshakes, certificates, tickets. What it does not do: records after
 * the handshake (tls/record), sessions kept in memory (tickets only), and anything of DTLS.       */
#ifndef POSTERN_MBEDTLS_CONFIG_H
#define POSTERN_MBEDTLS_CONFIG_H

/* One state for each thread: thread-local.patch makes the two PSA globals thread-local, so that the
 * cores share nothing and no mutex is taken some fifty times in every handshake. A thread calls
 * psa_crypto_init() once before its first handshake and mbedtls_psa_crypto_free() when it ends;
 * keys, configs, DRBGs and tickets stay in the thread that made them. */
#undef MBEDTLS_THREADING_C
#undef MBEDTLS_THREADING_PTHREAD

/* The same table for all threads, filled at compile time rather than at the first use: a lazily
 * filled one would be a data race between two cores' first handshakes. */
#define MBEDTLS_AES_ROM_TABLES

/* Keys can live in PSA drivers (an RSA key in libcrypto), which is also the only way 4.x has. */
#define MBEDTLS_USE_PSA_CRYPTO
/* Nobody else can write to our buffers while PSA reads them, so it need not copy them first. */
#define MBEDTLS_PSA_ASSUME_EXCLUSIVE_BUFFERS
/* Random nonces for ECDSA, as everyone else: the deterministic ones cost an HMAC-DRBG per
 * signature and would hide the signing hook. */
#undef MBEDTLS_ECDSA_DETERMINISTIC

/* TLS 1.2 and 1.3 over streams. RFC 9147 (DTLS) is for datagrams; RFC 9325 §3.5 on renegotiation:
 * there is no use of it for us, and to refuse it is the simplest defence. */
#undef MBEDTLS_SSL_PROTO_DTLS
#undef MBEDTLS_SSL_DTLS_ANTI_REPLAY
#undef MBEDTLS_SSL_DTLS_HELLO_VERIFY
#undef MBEDTLS_SSL_DTLS_CLIENT_PORT_REUSE
#undef MBEDTLS_SSL_DTLS_CONNECTION_ID
#undef MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT
#undef MBEDTLS_SSL_RENEGOTIATION
#undef MBEDTLS_SSL_CACHE_C
#undef MBEDTLS_SSL_COOKIE_C
#undef MBEDTLS_SSL_CONTEXT_SERIALIZATION
#undef MBEDTLS_SSL_ENCRYPT_THEN_MAC
#undef MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
/* One record of padding is visible to nobody but costs bytes on each message. */
#define MBEDTLS_SSL_CID_TLS1_3_PADDING_GRANULARITY 1
/* RFC 8446 §4.2.10 has the age that a client tells of its ticket checked for early data, which we do not take. mbedTLS checks it always,
 * and lets it differ by six seconds: a laptop that slept, whose clock stood still, would never resume. */
#define MBEDTLS_SSL_TLS1_3_TICKET_AGE_TOLERANCE 604800000

/* Forward secrecy or nothing: ECDHE with a certificate, and in TLS 1.3 a ticket never without a
 * fresh key exchange. */
#undef MBEDTLS_KEY_EXCHANGE_PSK_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_DHE_PSK_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_ECDHE_PSK_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_RSA_PSK_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_RSA_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_DHE_RSA_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_ECDH_ECDSA_ENABLED
#undef MBEDTLS_KEY_EXCHANGE_ECDH_RSA_ENABLED
#undef MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_ENABLED

/* Algorithms that no suite of ours uses. CBC stays, for encrypted key files alone. */
#undef MBEDTLS_CIPHER_MODE_CFB
#undef MBEDTLS_CIPHER_MODE_OFB
#undef MBEDTLS_CIPHER_MODE_XTS
#undef MBEDTLS_CAMELLIA_C
#undef MBEDTLS_ARIA_C
#undef MBEDTLS_DES_C
#undef MBEDTLS_CCM_C
#undef MBEDTLS_RIPEMD160_C
#undef MBEDTLS_MD5_C
#undef MBEDTLS_SHA3_C
#undef MBEDTLS_PADLOCK_C
#undef MBEDTLS_PKCS7_C
#undef MBEDTLS_PKCS12_C
#undef MBEDTLS_LMS_C
#undef MBEDTLS_ECJPAKE_C
#undef MBEDTLS_NIST_KW_C
#undef MBEDTLS_DHM_C
/* Key exchange is X25519 and P-256; P-384 stays for the certificates of chains. Who verifies with P-521 for strangers can be kept busy. */
#undef MBEDTLS_ECP_DP_SECP521R1_ENABLED
#undef MBEDTLS_ECP_DP_SECP192R1_ENABLED
#undef MBEDTLS_ECP_DP_SECP224R1_ENABLED
#undef MBEDTLS_ECP_DP_SECP192K1_ENABLED
#undef MBEDTLS_ECP_DP_SECP224K1_ENABLED
#undef MBEDTLS_ECP_DP_SECP256K1_ENABLED
#undef MBEDTLS_ECP_DP_BP256R1_ENABLED
#undef MBEDTLS_ECP_DP_BP384R1_ENABLED
#undef MBEDTLS_ECP_DP_BP512R1_ENABLED
#undef MBEDTLS_ECP_DP_CURVE448_ENABLED

/* Keys are never stored by PSA, and self-tests and debug texts are not for production. */
#undef MBEDTLS_PSA_CRYPTO_STORAGE_C
#undef MBEDTLS_PSA_ITS_FILE_C
#undef MBEDTLS_SELF_TEST
#undef MBEDTLS_DEBUG_C

#endif
