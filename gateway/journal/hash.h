/* gateway/journal/hash.h — what chains the records: SHA-256, from where -Dcrypto says (tls/crypto/hash.h).
 *
 * Owner: the caller's memory.   Thread: any.   Units: bytes.   Errors: none.   Limits: none. */
#ifndef GATEWAY_JOURNAL_HASH_H
#define GATEWAY_JOURNAL_HASH_H

#include "cache/record.h"

record_hash journal_hash;

#endif
