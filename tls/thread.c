/* See tls/thread.h. */
#include "tls/thread.h"
#include "tls/crypto/driver.h"

#include "mbedtls/cipher.h"
#include "mbedtls/ecp.h"
#include "mbedtls/psa_util.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

void tls_process_init(void)
{
	mbedtls_ssl_list_ciphersuites();
	mbedtls_cipher_list();
	mbedtls_ecp_grp_id_list();
}

bool tls_thread_init(struct tls_thread *thread, struct tls_fault *fault)
{
	const char *missing = NULL;

	*thread = (struct tls_thread){ 0 };
	link_init(&thread->spares);
	fault->sentence[0] = 0;
	if (psa_crypto_init() != PSA_SUCCESS)
		return tls_fault_say(fault, "the random generator could not be started");
	thread->driver = driver_new(&missing);
	if (missing || !aead_pool_init(&thread->aeads, &missing)) {
		tls_thread_fini(thread);
		return tls_fault_say(fault, "libcrypto has no %s (is it restricted by a configuration of its own?)", missing);
	}
	return true;
}

void tls_thread_fini(struct tls_thread *thread)
{
	ticket_holder_fini(&thread->tickets);
	aead_pool_fini(&thread->aeads);
	driver_free(thread->driver);
	thread->driver = NULL;
	mbedtls_psa_crypto_free();
}
