/* See tls/crypto/driver.h. mbedTLS computes by itself, so there is nothing to make. */
#include "tls/crypto/driver.h"

struct driver *driver_new(const char **missing)
{
	*missing = NULL;
	return NULL;
}

void driver_free(struct driver *driver)
{
	check(!driver);
}

/* Without a driver nobody has one to ask these of. */
struct driver_key *driver_key_new(struct driver *driver, const uint8_t *der, size_t n)
{
	(void)der;
	(void)n;
	check(driver);
	return NULL;
}

void driver_key_free(struct driver_key *key)
{
	check(!key);
}
