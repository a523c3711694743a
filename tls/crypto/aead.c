/* See tls/crypto/aead.h. */
#include "tls/crypto/aead.h"
#include "tls/crypto/cipher.h"
#include "tls/secret.h"

#include <string.h>

static const struct {
	const char *name;
	unsigned key_bytes;
} KINDS[AEAD_KINDS] = {
	[AEAD_AES_128_GCM] = { "AES-128-GCM", 16 },
	[AEAD_AES_256_GCM] = { "AES-256-GCM", 32 },
	[AEAD_CHACHA20_POLY1305] = { "ChaCha20-Poly1305", 32 },
};

unsigned aead_key_bytes(enum aead_kind kind)
{
	check(kind < AEAD_KINDS);
	return KINDS[kind].key_bytes;
}

/* ---- the pool ---- */

bool aead_pool_init(struct aead_pool *pool, const char **missing)
{
	*pool = (struct aead_pool){ 0 };
	for (enum aead_kind kind = 0; kind < AEAD_KINDS; kind++) {
		pool->algorithms[kind] = cipher_algorithm_find(kind);
		if (!pool->algorithms[kind]) {
			*missing = KINDS[kind].name;
			aead_pool_fini(pool);
			return false;
		}
	}
	return true;
}

void aead_pool_fini(struct aead_pool *pool)
{
	for (unsigned kind = 0; kind < AEAD_KINDS; kind++) {
		/* A key that is still there would later clear its slot in memory that is gone. */
		for (unsigned i = 0; i < AEAD_SLOTS; i++)
			check(!pool->slots[kind][i].owner);
		cipher_algorithm_put(pool->algorithms[kind]);
		pool->algorithms[kind] = NULL;
	}
}

static struct aead_slot *slot_of(const struct aead *aead)
{
	return &aead->pool->slots[aead->kind][aead->slot];
}

/* Where the next key goes: a free slot, or one whose key has not been used again since the hand came by. The first turn may
 * find all of them used; then the second finds none, because it was the hand that took the marks away. */
static unsigned slot_choose(struct aead_pool *pool, unsigned kind)
{
	for (unsigned steps = 0; steps < 2 * AEAD_SLOTS; steps++) {
		unsigned at = pool->hands[kind];
		struct aead_slot *slot = &pool->slots[kind][at];

		pool->hands[kind] = (at + 1) % AEAD_SLOTS;
		if (!slot->used && !slot->busy)
			return at;
		slot->used = false;
	}
	check_failed("more keys between begin and end than the pool has ciphers", __FILE__, __LINE__);
}

static struct aead_slot *slot_take(struct aead *aead)
{
	struct aead_pool *pool = aead->pool;
	struct aead_slot *slot;

	aead->slot = (uint16_t)slot_choose(pool, aead->kind);
	slot = slot_of(aead);
	if (slot->cipher)
		cipher_set_key(slot->cipher, aead->key, aead->seals);
	else
		slot->cipher = cipher_new(pool->algorithms[aead->kind], aead->key, aead->seals);
	slot->owner = aead;
	pool->readied++;
	return slot;
}

/* ---- a key ---- */

void aead_init(struct aead *aead, struct aead_pool *pool, enum aead_kind kind, const uint8_t *key, bool seals)
{
	check(kind < AEAD_KINDS && pool->algorithms[kind]);
	*aead = (struct aead){ .pool = pool, .kind = (uint8_t)kind, .seals = seals };
	/* Whoever was here before and left no trace of its end would lend us its key. */
	check(slot_of(aead)->owner != aead);
	memcpy(aead->key, key, KINDS[kind].key_bytes);
}

void aead_fini(struct aead *aead)
{
	if (aead->pool && slot_of(aead)->owner == aead) {
		/* Freed, not kept for the next: that is what overwrites all of it, the counters and the last block too. */
		cipher_free(slot_of(aead)->cipher);
		*slot_of(aead) = (struct aead_slot){ 0 };
	}
	tls_zeroise(aead, sizeof *aead);
}

void aead_set_key(struct aead *aead, const uint8_t *key)
{
	struct aead_slot *slot = slot_of(aead);

	memcpy(aead->key, key, KINDS[aead->kind].key_bytes);
	if (slot->owner != aead)
		return;
	check(!slot->busy);
	cipher_set_key(slot->cipher, key, aead->seals);
}

/* ---- a record ---- */

void aead_begin(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *additional, size_t n)
{
	struct aead_slot *slot = slot_of(aead);

	/* The first use does not count as one: a key that wakes for one record passes through, and drives out nobody who works. */
	if (slot->owner == aead)
		slot->used = true;
	else
		slot = slot_take(aead);
	slot->busy = true;
	cipher_begin(slot->cipher, nonce, additional, n);
}

void aead_add(struct aead *aead, const void *from, size_t n, uint8_t *to)
{
	struct aead_slot *slot = slot_of(aead);

	check(slot->owner == aead && slot->busy);
	if (n > 0)
		cipher_add(slot->cipher, from, n, to);
}

void aead_sealed(struct aead *aead, uint8_t tag[AEAD_TAG_BYTES])
{
	struct aead_slot *slot = slot_of(aead);

	check(slot->owner == aead && slot->busy && aead->seals);
	slot->busy = false;
	cipher_sealed(slot->cipher, tag);
}

bool aead_opened(struct aead *aead, const uint8_t tag[AEAD_TAG_BYTES])
{
	struct aead_slot *slot = slot_of(aead);

	check(slot->owner == aead && slot->busy && !aead->seals);
	slot->busy = false;
	return cipher_opened(slot->cipher, tag);
}
