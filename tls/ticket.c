/* See tls/ticket.h. */
#include "tls/ticket.h"
#include "ring/kernel.h"
#include "tls/secret.h"
#include "tls/suite.h"

#include "mbedtls/hkdf.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/sha256.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MAGIC 0x71c4e750u
#define BOX_MAGIC 0x71c4e751u

#define KEY_BYTES (TICKET_NAME_BYTES + TICKET_SECRET_BYTES + 8u)
#define FILE_HEAD_BYTES 12u
#define FILE_SUM_BYTES 32u
#define FILE_VERSION 1u

/* mbedTLS's session is 113 bytes in TLS 1.2, 55 to 71 in 1.3. With much room for a later mbedTLS; what is longer is not ours. */
#define SESSION_BYTES_MAX 512u

static_assert(TLS_SUITES_MAX <= 16, "alike holds each of them once");
static_assert(sizeof(psa_key_id_t) == sizeof(uint32_t), "a box keeps PSA's numbers");

const struct reason TICKET_FILE_CUT = { "ticket_file_cut", "the file of ticket keys ends too early" };
const struct reason TICKET_FILE_FOREIGN = { "ticket_file_foreign", "the file is no file of ticket keys" };
const struct reason TICKET_FILE_VERSION = { "ticket_file_version", "the file of ticket keys was written by another version" };
const struct reason TICKET_FILE_LENGTH = { "ticket_file_length", "the file of ticket keys has an impossible length" };
const struct reason TICKET_FILE_DAMAGED = { "ticket_file_damaged", "the checksum of the file of ticket keys is wrong" };

/* ---- numbers ---- */

static void put_number(uint8_t *to, uint64_t number, unsigned bytes)
{
	while (bytes > 0) {
		to[--bytes] = (uint8_t)number;
		number >>= 8;
	}
}

static uint64_t get_number(const uint8_t *from, unsigned bytes)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < bytes; i++)
		number = number << 8 | from[i];
	return number;
}

/* ---- sets of keys ---- */

static struct ticket_keys *keys_new(void)
{
	struct ticket_keys *keys = calloc(1, sizeof *keys);

	check(keys);
	keys->magic = KEYS_MAGIC;
	atomic_init(&keys->references, 1);
	return keys;
}

struct ticket_keys *ticket_keys_next(const struct ticket_keys *old, uint64_t now_s, uint32_t lifetime_s)
{
	struct ticket_keys *keys = keys_new();
	uint8_t random[TICKET_NAME_BYTES + TICKET_SECRET_BYTES];

	check(!old || old->magic == KEYS_MAGIC);
	check(psa_crypto_init() == PSA_SUCCESS);
	check(psa_generate_random(random, sizeof random) == PSA_SUCCESS);
	memcpy(keys->keys[0].name, random, TICKET_NAME_BYTES);
	memcpy(keys->keys[0].secret, random + TICKET_NAME_BYTES, TICKET_SECRET_BYTES);
	tls_zeroise(random, sizeof random);
	keys->keys[0].made_s = now_s;
	keys->count = 1;
	/* A key seals until the next one is made, and what it sealed lives one lifetime longer. Its own age says nothing: one that is
	 * a lifetime old may have sealed a ticket half a lifetime ago. */
	for (unsigned i = 0; old && i < old->count && keys->count < TICKET_KEYS_MAX; i++)
		if (i == 0 || old->keys[i - 1].made_s + lifetime_s > now_s)
			keys->keys[keys->count++] = old->keys[i];
	return keys;
}

struct ticket_keys *ticket_keys_take(struct ticket_keys *keys)
{
	check(keys->magic == KEYS_MAGIC);
	/* Who takes has a reference to take from, so the set cannot go meanwhile, and nothing need be ordered. */
	check(atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed) > 0);
	return keys;
}

void ticket_keys_put(struct ticket_keys *keys)
{
	unsigned references;

	if (!keys)
		return;
	check(keys->magic == KEYS_MAGIC);
	/* Release: our reads come before it. Acquire: for the last one, all others' reads come before the zeroes. */
	references = atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel);
	check(references > 0);
	if (references > 1)
		return;
	tls_zeroise(keys, sizeof *keys);
	free(keys);
}

/* ---- the file's bytes ---- */

static const uint8_t FILE_MAGIC[7] = { 'P', 'T', 'I', 'C', 'K', 'E', 'T' };

static void sum_make(const uint8_t *bytes, size_t n, uint8_t sum[FILE_SUM_BYTES])
{
	check(mbedtls_sha256(bytes, n, sum, 0) == 0);
}

size_t ticket_keys_encode(const struct ticket_keys *keys, uint8_t to[TICKET_FILE_BYTES_MAX])
{
	uint8_t *at = to + FILE_HEAD_BYTES;

	check(keys->magic == KEYS_MAGIC && keys->count > 0 && keys->count <= TICKET_KEYS_MAX);
	memcpy(to, FILE_MAGIC, sizeof FILE_MAGIC);
	to[7] = FILE_VERSION;
	put_number(to + 8, keys->count * KEY_BYTES + FILE_SUM_BYTES, 4);
	for (unsigned i = 0; i < keys->count; i++, at += KEY_BYTES) {
		memcpy(at, keys->keys[i].name, TICKET_NAME_BYTES);
		memcpy(at + TICKET_NAME_BYTES, keys->keys[i].secret, TICKET_SECRET_BYTES);
		put_number(at + TICKET_NAME_BYTES + TICKET_SECRET_BYTES, keys->keys[i].made_s, 8);
	}
	sum_make(to, (size_t)(at - to), at);
	return (size_t)(at - to) + FILE_SUM_BYTES;
}

/* NULL: the bytes are whole and ours. */
static const struct reason *file_fault(const uint8_t *bytes, size_t n)
{
	uint8_t sum[FILE_SUM_BYTES];
	uint64_t said;

	if (memcmp(bytes, FILE_MAGIC, n < sizeof FILE_MAGIC ? n : sizeof FILE_MAGIC) != 0)
		return &TICKET_FILE_FOREIGN;
	if (n < FILE_HEAD_BYTES)
		return &TICKET_FILE_CUT;
	if (bytes[7] != FILE_VERSION)
		return &TICKET_FILE_VERSION;
	said = get_number(bytes + 8, 4);
	if (said < KEY_BYTES + FILE_SUM_BYTES || said > TICKET_KEYS_MAX * KEY_BYTES + FILE_SUM_BYTES ||
	    (said - FILE_SUM_BYTES) % KEY_BYTES != 0 || n > FILE_HEAD_BYTES + said)
		return &TICKET_FILE_LENGTH;
	if (n < FILE_HEAD_BYTES + said)
		return &TICKET_FILE_CUT;
	sum_make(bytes, n - FILE_SUM_BYTES, sum);
	return memcmp(sum, bytes + n - FILE_SUM_BYTES, FILE_SUM_BYTES) == 0 ? NULL : &TICKET_FILE_DAMAGED;
}

struct ticket_keys *ticket_keys_decode(const uint8_t *bytes, size_t n, const struct reason **why)
{
	const uint8_t *at = bytes + FILE_HEAD_BYTES;
	struct ticket_keys *keys;

	*why = file_fault(bytes, n);
	if (*why)
		return NULL;
	keys = keys_new();
	keys->count = (unsigned)((n - FILE_HEAD_BYTES - FILE_SUM_BYTES) / KEY_BYTES);
	for (unsigned i = 0; i < keys->count; i++, at += KEY_BYTES) {
		memcpy(keys->keys[i].name, at, TICKET_NAME_BYTES);
		memcpy(keys->keys[i].secret, at + TICKET_NAME_BYTES, TICKET_SECRET_BYTES);
		keys->keys[i].made_s = get_number(at + TICKET_NAME_BYTES + TICKET_SECRET_BYTES, 8);
	}
	return keys;
}

/* ---- what a thread has ---- */

static void box_forget(struct ticket_box *box)
{
	for (unsigned i = 0; i < TICKET_KEYS_MAX; i++) {
		if (box->derived[i] != PSA_KEY_ID_NULL)
			check(psa_destroy_key(box->derived[i]) == PSA_SUCCESS);
		box->derived[i] = PSA_KEY_ID_NULL;
	}
}

void ticket_holder_init(struct ticket_holder *holder, const struct kernel *kernel, struct ticket_keys *keys)
{
	check(keys->magic == KEYS_MAGIC);
	*holder = (struct ticket_holder){ .keys = keys, .kernel = kernel };
	link_init(&holder->boxes);
}

void ticket_holder_fini(struct ticket_holder *holder)
{
	if (!holder->keys)
		return;
	check(link_alone(&holder->boxes));
	ticket_keys_put(holder->keys);
	holder->keys = NULL;
}

void ticket_holder_swap(struct ticket_holder *holder, struct ticket_keys *keys)
{
	check(keys->magic == KEYS_MAGIC);
	for (struct link *link = holder->boxes.next; link != &holder->boxes; link = link->next)
		box_forget(owner_of(link, struct ticket_box, in_holder));
	ticket_keys_put(holder->keys);
	holder->keys = keys;
}

/* ---- alike ---- */

void ticket_alike_make(struct ticket_alike *alike, uint16_t version, bool extended_master_secret, const uint16_t *suites,
	unsigned suite_count, const char *name, size_t name_bytes)
{
	uint8_t *at = alike->bytes + 4;
	unsigned kept = 0;

	alike->version = version;
	put_number(alike->bytes, version, 2);
	alike->bytes[2] = extended_master_secret;
	/* A client may name one many times; what is beyond our own number cannot change what is chosen. */
	for (unsigned i = 0; i < suite_count && kept < 16; i++) {
		if (tls_suite_find(suites[i])) {
			put_number(at, suites[i], 2);
			at += 2;
			kept++;
		}
	}
	alike->bytes[3] = (uint8_t)kept;
	/* RFC 4343: letters alone have cases. A name that is too long for one is none, and is cut like a name. */
	for (size_t i = 0; i < name_bytes && i < 255; i++)
		*at++ = (uint8_t)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
	alike->n = (uint16_t)(at - alike->bytes);
}

/* ---- what a host has on a thread ---- */

const char *ticket_refusal_word(enum ticket_refusal refusal)
{
	static const char *const WORDS[TICKET_REFUSALS] = {
		[TICKET_REFUSED_FORM] = "form",       [TICKET_REFUSED_KEY] = "key",       [TICKET_REFUSED_FORGED] = "forged",
		[TICKET_REFUSED_EXPIRED] = "expired", [TICKET_REFUSED_FUTURE] = "future", [TICKET_REFUSED_SESSION] = "session",
	};

	check(refusal < TICKET_REFUSALS);
	return WORDS[refusal];
}

void ticket_box_init(struct ticket_box *box, struct ticket_holder *holder, const uint8_t binding[TICKET_BINDING_BYTES],
	uint32_t lifetime_s)
{
	check(lifetime_s > 0);
	*box = (struct ticket_box){
		.magic = BOX_MAGIC,
		.holder = holder,
		.lifetime_s = lifetime_s < TICKET_LIFETIME_MAX_S ? lifetime_s : TICKET_LIFETIME_MAX_S,
	};
	memcpy(box->additional + TICKET_NAME_BYTES + TICKET_NONCE_BYTES, binding, TICKET_BINDING_BYTES);
	link_init(&box->in_holder);
	link_put_last(&holder->boxes, &box->in_holder);
}

void ticket_box_fini(struct ticket_box *box)
{
	if (!box->magic)
		return;
	check(box->magic == BOX_MAGIC);
	box_forget(box);
	link_remove(&box->in_holder);
	box->magic = 0;
}

/* RFC 5869 §2.3: the secret is as good as random, so it is expanded without being extracted first. */
static psa_key_id_t box_key(struct ticket_box *box, unsigned i)
{
	static const char LABEL[] = "postern ticket aes-256-gcm";
	uint8_t info[sizeof LABEL - 1 + TICKET_BINDING_BYTES], key[32];
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

	if (box->derived[i] != PSA_KEY_ID_NULL)
		return box->derived[i];
	memcpy(info, LABEL, sizeof LABEL - 1);
	memcpy(info + sizeof LABEL - 1, box->additional + TICKET_NAME_BYTES + TICKET_NONCE_BYTES, TICKET_BINDING_BYTES);
	check(mbedtls_hkdf_expand(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), box->holder->keys->keys[i].secret, TICKET_SECRET_BYTES,
		info, sizeof info, key, sizeof key) == 0);
	psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
	psa_set_key_bits(&attributes, 8 * sizeof key);
	psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
	check(psa_import_key(&attributes, key, sizeof key, &box->derived[i]) == PSA_SUCCESS);
	tls_zeroise(key, sizeof key);
	return box->derived[i];
}

/* Name and nonce as they stand before the sealed bytes. */
static size_t box_additional(struct ticket_box *box, const uint8_t *head)
{
	const size_t fixed = TICKET_NAME_BYTES + TICKET_NONCE_BYTES + TICKET_BINDING_BYTES;

	memcpy(box->additional, head, TICKET_NAME_BYTES + TICKET_NONCE_BYTES);
	if (!box->alike)
		return fixed;
	check(box->alike->version != 0 && box->alike->n <= TICKET_ALIKE_BYTES_MAX);
	memcpy(box->additional + fixed, box->alike->bytes, box->alike->n);
	return fixed + box->alike->n;
}

static uint64_t box_now_ms(const struct ticket_box *box)
{
	return kernel_wall_ns(box->holder->kernel) / 1000000;
}

int ticket_box_write(void *context, const struct mbedtls_ssl_session *session, unsigned char *start, const unsigned char *end,
	size_t *written, uint32_t *lifetime_s)
{
	struct ticket_box *box = context;
	uint8_t *plain = start + TICKET_NAME_BYTES + TICKET_NONCE_BYTES;
	size_t session_bytes, sealed_bytes;
	int error;

	check(box->magic == BOX_MAGIC && box->holder->keys->count > 0);
	/* Who showed a certificate has to show it again: see ticket_box_init. */
	check(!session->MBEDTLS_PRIVATE(peer_cert));
	*written = 0;
	*lifetime_s = 0;
	if ((size_t)(end - start) < TICKET_OVERHEAD_BYTES)
		return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
	memcpy(start, box->holder->keys->keys[0].name, TICKET_NAME_BYTES);
	check(psa_generate_random(start + TICKET_NAME_BYTES, TICKET_NONCE_BYTES) == PSA_SUCCESS);
	put_number(plain, box_now_ms(box), TICKET_MADE_BYTES);
	error = mbedtls_ssl_session_save(session, plain + TICKET_MADE_BYTES, (size_t)(end - start) - TICKET_OVERHEAD_BYTES,
		&session_bytes);
	if (error != 0)
		return error;
	check(session_bytes <= SESSION_BYTES_MAX);
	check(psa_aead_encrypt(box_key(box, 0), PSA_ALG_GCM, start + TICKET_NAME_BYTES, TICKET_NONCE_BYTES, box->additional,
		box_additional(box, start), plain, TICKET_MADE_BYTES + session_bytes, plain, (size_t)(end - plain),
		&sealed_bytes) == PSA_SUCCESS);
	check(sealed_bytes == TICKET_MADE_BYTES + session_bytes + TICKET_TAG_BYTES);
	*written = TICKET_NAME_BYTES + TICKET_NONCE_BYTES + sealed_bytes;
	*lifetime_s = box->lifetime_s;
	box->issued++;
	return 0;
}

/* mbedTLS takes every error for "make a full handshake"; which one it is only tells its debug text. */
static int refuse(struct ticket_box *box, enum ticket_refusal refusal)
{
	box->refused[refusal]++;
	switch (refusal) {
	case TICKET_REFUSED_KEY:
	case TICKET_REFUSED_EXPIRED:
	case TICKET_REFUSED_FUTURE:
		return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
	default:
		return MBEDTLS_ERR_SSL_INVALID_MAC;
	}
}

/* The names are no secret, so how long a comparison takes tells nothing. */
static unsigned key_find(const struct ticket_keys *keys, const uint8_t *name)
{
	unsigned i = 0;

	while (i < keys->count && memcmp(keys->keys[i].name, name, TICKET_NAME_BYTES) != 0)
		i++;
	return i;
}

/* Of a version that is spoken now, and of a suite that we still speak in it. */
static bool session_fits(const struct ticket_box *box, const mbedtls_ssl_session *session)
{
	const unsigned version = (unsigned)session->MBEDTLS_PRIVATE(tls_version);
	const struct tls_suite *suite = tls_suite_find((uint16_t)session->MBEDTLS_PRIVATE(ciphersuite));

	return suite && suite->version == version && session->MBEDTLS_PRIVATE(endpoint) == MBEDTLS_SSL_IS_SERVER &&
	       (!box->alike || box->alike->version == version);
}

int ticket_box_parse(void *context, struct mbedtls_ssl_session *session, unsigned char *ticket, size_t n)
{
	struct ticket_box *box = context;
	uint8_t *sealed = ticket + TICKET_NAME_BYTES + TICKET_NONCE_BYTES;
	size_t plain_bytes;
	uint64_t now_ms, made_ms, age_ms;
	unsigned i;
	int error;

	check(box->magic == BOX_MAGIC);
	if (n <= TICKET_OVERHEAD_BYTES || n > TICKET_OVERHEAD_BYTES + SESSION_BYTES_MAX)
		return refuse(box, TICKET_REFUSED_FORM);
	i = key_find(box->holder->keys, ticket);
	if (i == box->holder->keys->count)
		return refuse(box, TICKET_REFUSED_KEY);
	if (psa_aead_decrypt(box_key(box, i), PSA_ALG_GCM, ticket + TICKET_NAME_BYTES, TICKET_NONCE_BYTES, box->additional,
		    box_additional(box, ticket), sealed, n - TICKET_NAME_BYTES - TICKET_NONCE_BYTES, sealed,
		    n - TICKET_NAME_BYTES - TICKET_NONCE_BYTES, &plain_bytes) != PSA_SUCCESS)
		return refuse(box, TICKET_REFUSED_FORGED);

	now_ms = box_now_ms(box);
	made_ms = get_number(sealed, TICKET_MADE_BYTES);
	age_ms = made_ms < now_ms ? now_ms - made_ms : 0;
	if (made_ms > now_ms + TICKET_AHEAD_MAX_MS || age_ms > (uint64_t)box->lifetime_s * 1000) {
		tls_zeroise(sealed, plain_bytes);
		return refuse(box, made_ms > now_ms ? TICKET_REFUSED_FUTURE : TICKET_REFUSED_EXPIRED);
	}
	error = mbedtls_ssl_session_load(session, sealed + TICKET_MADE_BYTES, plain_bytes - TICKET_MADE_BYTES);
	/* In 1.2 the buffer is the ClientHello itself, which stays in memory for as long as the handshake does. */
	tls_zeroise(sealed, plain_bytes);
	if (error == MBEDTLS_ERR_SSL_ALLOC_FAILED)
		return error;
	if (error != 0 || !session_fits(box, session))
		return refuse(box, TICKET_REFUSED_SESSION);
	/* mbedTLS counts a ticket's age in the time since the machine's start, which is another one after a reboot, and in TLS 1.3
	 * compares it with the client's. So it is told what the wall clock says, in the clock that it uses. */
	session->MBEDTLS_PRIVATE(ticket_creation_time) = mbedtls_ms_time() - (mbedtls_ms_time_t)age_ms;
	box->opened++;
	return 0;
}
