/* psa/postern_driver.h — somebody else who computes for mbedTLS.
 *
 * mbedTLS knows drivers only as names that were compiled into it. We want the same library with libcrypto's primitives and
 * without, and no state that threads share; so driver.patch has mbedTLS ask one pointer of the calling thread, at the few
 * places where a handshake spends its time. Where the pointer is NULL, or the function, or where the function answers
 * PSA_ERROR_NOT_SUPPORTED, mbedTLS computes by itself, exactly as it came.
 *
 * Each function gets the driver itself first, so that what a driver has lies in the struct around it. The other arguments are
 * those of PSA's own driver interface (psa-driver-interface.md), in its order and with its meaning.
 *
 * Owner: whoever sets the driver; mbedTLS keeps the pointer until another is set.   Thread: the setting one, and no other.
 * Units: bytes.   Errors: psa_status_t, as of the function of PSA that asks.
 * Limits: what is not listed here is never asked for.   Source: mbedTLS 3.6, library/psa_crypto_driver_wrappers.h. */
#ifndef PSA_POSTERN_DRIVER_H
#define PSA_POSTERN_DRIVER_H

#include "psa/crypto.h"

#include <stddef.h>
#include <stdint.h>

/* Where keys are that mbedTLS never sees: `key` is then what the driver's import_key wrote, a pointer for instance. PSA tells
 * nobody when it forgets such a key, so whoever imported it frees what the pointer leads to, after psa_destroy_key(). */
#define POSTERN_KEY_LOCATION ((psa_key_location_t) 0x800001)
#define POSTERN_KEY_LIFETIME \
    PSA_KEY_LIFETIME_FROM_PERSISTENCE_AND_LOCATION(PSA_KEY_PERSISTENCE_VOLATILE, POSTERN_KEY_LOCATION)

struct postern_driver {
    /* Keys that may be agreed with and nothing else (PSA_KEY_USAGE_DERIVE), so that nobody exports or copies them and their
     * form is the driver's own: private and public half side by side, say. The bytes of that form; 0: PSA's form. */
    size_t (*generate_key_bytes)(struct postern_driver *, const psa_key_attributes_t *);
    psa_status_t (*generate_key)(struct postern_driver *, const psa_key_attributes_t *, uint8_t *key, size_t key_size,
                                 size_t *key_bytes);
    /* Local keys in PSA's form or in that of generate_key, and keys at our own location. */
    psa_status_t (*export_public_key)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key,
                                      size_t key_bytes, uint8_t *data, size_t data_size, size_t *data_bytes);
    psa_status_t (*key_agreement)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key, size_t key_bytes,
                                  psa_algorithm_t, const uint8_t *peer, size_t peer_bytes, uint8_t *secret,
                                  size_t secret_size, size_t *secret_bytes);

    /* Keys at our own location only. The buffer of a key has as many bytes as what is imported. */
    psa_status_t (*import_key)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *data, size_t data_bytes,
                               uint8_t *key, size_t key_size, size_t *key_bytes, size_t *bits);
    psa_status_t (*sign_hash)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key, size_t key_bytes,
                              psa_algorithm_t, const uint8_t *hash, size_t hash_bytes, uint8_t *signature,
                              size_t signature_size, size_t *signature_bytes);

    /* Local keys, from here on. */
    psa_status_t (*verify_hash)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key, size_t key_bytes,
                                psa_algorithm_t, const uint8_t *hash, size_t hash_bytes, const uint8_t *signature,
                                size_t signature_bytes);
    psa_status_t (*aead_encrypt)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key, size_t key_bytes,
                                 psa_algorithm_t, const uint8_t *nonce, size_t nonce_bytes, const uint8_t *additional,
                                 size_t additional_bytes, const uint8_t *from, size_t from_bytes, uint8_t *to,
                                 size_t to_size, size_t *to_bytes);
    psa_status_t (*aead_decrypt)(struct postern_driver *, const psa_key_attributes_t *, const uint8_t *key, size_t key_bytes,
                                 psa_algorithm_t, const uint8_t *nonce, size_t nonce_bytes, const uint8_t *additional,
                                 size_t additional_bytes, const uint8_t *from, size_t from_bytes, uint8_t *to,
                                 size_t to_size, size_t *to_bytes);

    /* The compression function over whole blocks, of 64 and of 128 bytes. It cannot decline, but it may be NULL. */
    void (*sha256_blocks)(struct postern_driver *, uint32_t state[8], const uint8_t *blocks, size_t count);
    void (*sha512_blocks)(struct postern_driver *, uint64_t state[8], const uint8_t *blocks, size_t count);
};

/* Of the calling thread; NULL: none, as at its start. Keys that one driver made are not to be used with another. */
void postern_driver_set(struct postern_driver *);
struct postern_driver *postern_driver_get(void);

/* ---- for the files of mbedTLS itself ---- */

extern _Thread_local struct postern_driver *postern_driver_of_thread;

#define POSTERN_HAS(function) (postern_driver_of_thread && postern_driver_of_thread->function)
#define POSTERN_ASK(function, ...) \
    (POSTERN_HAS(function) ? postern_driver_of_thread->function(postern_driver_of_thread, __VA_ARGS__) \
                           : PSA_ERROR_NOT_SUPPORTED)

#endif
