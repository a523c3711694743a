/* See tls/secret.h. */
#include "tls/secret.h"

#include "mbedtls/hkdf.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/ssl.h"

#include <string.h>

void tls_zeroise(void *bytes, size_t n)
{
	mbedtls_platform_zeroize(bytes, n);
}

/* RFC 8446 §7.1:  struct { uint16 length; opaque label<7..255> = "tls13 " + Label; opaque context<0..255>; } HkdfLabel; */
void tls_expand_label(enum tls_hash hash, const uint8_t *secret, const char *label, uint8_t *to, size_t n)
{
	uint8_t info[32], out[64];
	size_t label_bytes = strlen(label);
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(hash == TLS_SHA384 ? MBEDTLS_MD_SHA384 : MBEDTLS_MD_SHA256);

	check(n <= tls_hash_bytes(hash) && 4 + 6 + label_bytes <= sizeof info);
	info[0] = 0;
	info[1] = (uint8_t)n;
	info[2] = (uint8_t)(6 + label_bytes);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_bytes);
	info[9 + label_bytes] = 0;
	check(mbedtls_hkdf_expand(md, secret, tls_hash_bytes(hash), info, 10 + label_bytes, out, n) == 0);
	memcpy(to, out, n);
	tls_zeroise(out, sizeof out);
}

void tls_expand_key_block(enum tls_hash hash, const uint8_t master[48], const uint8_t client_random[32],
	const uint8_t server_random[32], uint8_t *to, size_t n)
{
	uint8_t random[64];

	memcpy(random, server_random, 32);
	memcpy(random + 32, client_random, 32);
	check(mbedtls_ssl_tls_prf(hash == TLS_SHA384 ? MBEDTLS_SSL_TLS_PRF_SHA384 : MBEDTLS_SSL_TLS_PRF_SHA256, master, 48,
		"key expansion", random, sizeof random, to, n) == 0);
}
