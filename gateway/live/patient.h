/* gateway/live/patient.h — which patients have sockets on this core, and which these are.
 *
 *   buckets ─▶ patient ─▶ patient          a keyed hash leads to the patient, whose sockets are a list
 *                 │
 *                 └─ sockets ◀──▶ socket ◀──▶ socket
 *
 * A patient is here as long as one of his sockets is. Nobody else looks in: a push asks each core by a message, so
 * nothing is locked.
 *
 * Owner: the table owns its patients; sockets belong to whoever embeds them, and leave before that ends.   Thread: its core's.
 * Units: bytes of a name, counts.   Errors: reasons of gateway/verdict.h.
 * Limits: PATIENT_BYTES_MAX; as many patients and sockets as a core has connections. */
#ifndef GATEWAY_LIVE_PATIENT_H
#define GATEWAY_LIVE_PATIENT_H

#include "gateway/http/text.h"
#include "ring/base.h"
#include "ring/reason.h"

#define PATIENT_BYTES_MAX 128u           /* of a name, in UTF-8 */

struct patient {
	struct patient *next;            /* in its bucket */
	struct link sockets;             /* struct patient_socket.in_patient */
	uint64_t hash;
	uint32_t size;
	char name[];
};

struct patient_socket {
	struct link in_patient;
	struct patient *patient;         /* NULL: not entered, or left */
};

struct patients {
	struct patient **buckets;
	size_t bucket_count;             /* a power of two, or 0 */
	size_t count;                    /* of patients */
	size_t socket_count;
	uint64_t seed[2];
};

/* NULL: a name that a patient may have. PATIENT_MISSING for an empty one, PATIENT_NAME_BAD for one that is too long, is not UTF-8,
 * holds a control character, or could not be one segment of a path ("/", "\", "." and ".."). */
const struct reason *patient_judge(struct http_text name);

/* The name in one segment of a normalised path: escapes are opened into `name`, which has room for PATIENT_BYTES_MAX. NULL, or
 * as patient_judge. */
const struct reason *patient_of_segment(struct http_text segment, char *name, size_t *size);

void patients_init(struct patients *, const uint64_t seed[2]);
void patients_fini(struct patients *);   /* check: all have left; harmless twice */

/* check: the name is one that patient_judge takes; the socket has not entered. */
void patients_enter(struct patients *, struct patient_socket *, struct http_text name);
void patients_leave(struct patients *, struct patient_socket *);  /* harmless when it is not in */

/* NULL: no socket of his is here. */
struct patient *patients_find(const struct patients *, struct http_text name);

#endif
