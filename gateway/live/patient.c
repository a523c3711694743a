/* See gateway/live/patient.h. */
#include "gateway/live/patient.h"
#include "cache/siphash.h"
#include "gateway/verdict.h"
#include "ws/utf8.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64u

/* ---- names --------------------------------------------------------------------------------------------------------------- */

/* A line feed in a name would make two lines of one wherever it is told; U+0080 to U+009F are controls, too. */
static bool has_control(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] < 0x20 || bytes[i] == 0x7f || (bytes[i] == 0xc2 && i + 1 < n && bytes[i + 1] < 0xa0))
			return true;
	return false;
}

const struct reason *patient_judge(struct http_text name)
{
	const uint8_t *bytes = (const uint8_t *)name.bytes;
	struct ws_utf8 utf8;

	if (name.size == 0)
		return &PATIENT_MISSING;
	if (name.size > PATIENT_BYTES_MAX)
		return &PATIENT_NAME_BAD;
	ws_utf8_init(&utf8);
	/* POST /push/P must be able to name him: what cannot be one segment of a path is no name. */
	if (memchr(bytes, '/', name.size) || memchr(bytes, '\\', name.size) || (bytes[0] == '.' && name.size == 1) ||
	    (name.size == 2 && bytes[0] == '.' && bytes[1] == '.'))
		return &PATIENT_NAME_BAD;
	if (ws_utf8_feed(&utf8, bytes, name.size) < name.size || !ws_utf8_whole(&utf8) || has_control(bytes, name.size))
		return &PATIENT_NAME_BAD;
	return NULL;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const struct reason *patient_of_segment(struct http_text segment, char *name, size_t *size)
{
	*size = 0;
	for (size_t i = 0; i < segment.size; i++) {
		char c = segment.bytes[i];

		if (*size == PATIENT_BYTES_MAX)
			return &PATIENT_NAME_BAD;
		if (c == '%') {
			int high = i + 2 < segment.size ? hex_value(segment.bytes[i + 1]) : -1;
			int low = i + 2 < segment.size ? hex_value(segment.bytes[i + 2]) : -1;

			if (high < 0 || low < 0)
				return &PATIENT_NAME_BAD;
			c = (char)(high << 4 | low);
			i += 2;
		}
		name[(*size)++] = c;
	}
	return patient_judge((struct http_text){ name, *size });
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

void patients_init(struct patients *patients, const uint64_t seed[2])
{
	*patients = (struct patients){ .seed = { seed[0], seed[1] } };
}

void patients_fini(struct patients *patients)
{
	check(patients->count == 0 && patients->socket_count == 0);
	free(patients->buckets);
	patients->buckets = NULL;
	patients->bucket_count = 0;
}

static uint64_t name_hash(const struct patients *patients, struct http_text name)
{
	return siphash(patients->seed, (const uint8_t *)name.bytes, name.size);
}

static struct patient **bucket_of(const struct patients *patients, uint64_t hash)
{
	return &patients->buckets[hash & (patients->bucket_count - 1)];
}

static struct patient *find(const struct patients *patients, struct http_text name, uint64_t hash)
{
	struct patient *patient = patients->bucket_count > 0 ? *bucket_of(patients, hash) : NULL;

	while (patient && (patient->hash != hash || patient->size != name.size || memcmp(patient->name, name.bytes, name.size) != 0))
		patient = patient->next;
	return patient;
}

static void grow(struct patients *patients)
{
	struct patients larger = *patients;

	larger.bucket_count = patients->bucket_count > 0 ? 2 * patients->bucket_count : BUCKETS_MIN;
	larger.buckets = calloc(larger.bucket_count, sizeof *larger.buckets);
	check(larger.buckets);
	for (size_t i = 0; i < patients->bucket_count; i++) {
		struct patient *patient = patients->buckets[i];

		while (patient) {
			struct patient *next = patient->next;
			struct patient **bucket = bucket_of(&larger, patient->hash);

			patient->next = *bucket;
			*bucket = patient;
			patient = next;
		}
	}
	free(patients->buckets);
	*patients = larger;
}

static struct patient *patient_add(struct patients *patients, struct http_text name, uint64_t hash)
{
	struct patient *patient = malloc(sizeof *patient + name.size);
	struct patient **bucket;

	check(patient);
	if (patients->count >= patients->bucket_count)
		grow(patients);
	bucket = bucket_of(patients, hash);
	*patient = (struct patient){ .next = *bucket, .hash = hash, .size = (uint32_t)name.size };
	memcpy(patient->name, name.bytes, name.size);
	link_init(&patient->sockets);
	*bucket = patient;
	patients->count++;
	return patient;
}

static void patient_remove(struct patients *patients, struct patient *patient)
{
	struct patient **at = bucket_of(patients, patient->hash);

	while (*at != patient)
		at = &(*at)->next;
	*at = patient->next;
	patients->count--;
	free(patient);
}

void patients_enter(struct patients *patients, struct patient_socket *socket, struct http_text name)
{
	const uint64_t hash = name_hash(patients, name);

	check(!socket->patient && !patient_judge(name));
	socket->patient = find(patients, name, hash);
	if (!socket->patient)
		socket->patient = patient_add(patients, name, hash);
	link_put_last(&socket->patient->sockets, &socket->in_patient);
	patients->socket_count++;
}

void patients_leave(struct patients *patients, struct patient_socket *socket)
{
	struct patient *patient = socket->patient;

	if (!patient)
		return;
	socket->patient = NULL;
	link_remove(&socket->in_patient);
	patients->socket_count--;
	if (link_alone(&patient->sockets))
		patient_remove(patients, patient);
}

struct patient *patients_find(const struct patients *patients, struct http_text name)
{
	return find(patients, name, name_hash(patients, name));
}
