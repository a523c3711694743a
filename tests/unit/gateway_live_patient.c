/* The patients of a core and their sockets. */
#include "gateway/live/patient.c"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

static const uint64_t SEED[2] = { 1, 2 };
static struct patients patients;

static void open(void)
{
	patients_init(&patients, SEED);
}

static void shut(void)
{
	patients_fini(&patients);
}

TestSuite(gateway_live_patient, .init = open, .fini = shut);

static void takes(const char *name, size_t n, const struct reason *reason)
{
	cr_assert_eq(patient_judge((struct http_text){ name, n }), reason, "%.*s", (int)n, name);
}

Test(gateway_live_patient, a_name_is_short_utf8_without_controls)
{
	char x[PATIENT_BYTES_MAX + 1];

	memset(x, 'x', sizeof x);
	takes("", 0, &PATIENT_MISSING);
	takes("p", 1, NULL);
	takes(x, PATIENT_BYTES_MAX, NULL);
	takes(x, PATIENT_BYTES_MAX + 1, &PATIENT_NAME_BAD);
	takes("\xe6\x82\xa3", 3, NULL);
	takes("\xe6\x82", 2, &PATIENT_NAME_BAD);          /* cut */
	takes("\xc0\x80", 2, &PATIENT_NAME_BAD);          /* overlong */
	takes("\xed\xa0\x80", 3, &PATIENT_NAME_BAD);      /* a surrogate */
	takes("a\nb", 3, &PATIENT_NAME_BAD);
	takes("a\0b", 3, &PATIENT_NAME_BAD);
	takes("\x7f", 1, &PATIENT_NAME_BAD);
	takes("\xc2\x85", 2, &PATIENT_NAME_BAD);          /* U+0085, next line */
	takes("\xc2\xa0", 2, NULL);
	takes("a/b", 3, &PATIENT_NAME_BAD);
	takes("a\\b", 3, &PATIENT_NAME_BAD);
	takes(".", 1, &PATIENT_NAME_BAD);
	takes("..", 2, &PATIENT_NAME_BAD);
	takes("...", 3, NULL);
	takes(".a", 2, NULL);
}

Test(gateway_live_patient, a_segment_s_escapes_are_opened)
{
	char name[PATIENT_BYTES_MAX], x[3 * PATIENT_BYTES_MAX + 3];
	size_t n;

	cr_assert_null(patient_of_segment(HTTP_TEXT("a%20b+c%2B"), name, &n));
	cr_assert(n == 6 && memcmp(name, "a b+c+", 6) == 0);
	cr_assert_eq(patient_of_segment(HTTP_TEXT("%FF"), name, &n), &PATIENT_NAME_BAD);
	cr_assert_eq(patient_of_segment(HTTP_TEXT(""), name, &n), &PATIENT_MISSING);
	cr_assert_eq(patient_of_segment(HTTP_TEXT("a%"), name, &n), &PATIENT_NAME_BAD);
	cr_assert_eq(patient_of_segment(HTTP_TEXT("a%4"), name, &n), &PATIENT_NAME_BAD);
	cr_assert_eq(patient_of_segment(HTTP_TEXT("%4g"), name, &n), &PATIENT_NAME_BAD);
	for (unsigned i = 0; i <= PATIENT_BYTES_MAX; i++)
		memcpy(x + (size_t)3 * i, "%41", 3);
	cr_assert_null(patient_of_segment((struct http_text){ x, 3 * PATIENT_BYTES_MAX }, name, &n));
	cr_assert_eq(n, PATIENT_BYTES_MAX);
	cr_assert_eq(patient_of_segment((struct http_text){ x, sizeof x }, name, &n), &PATIENT_NAME_BAD);
}

static struct http_text name_of(char *text, unsigned i)
{
	return (struct http_text){ text, (size_t)sprintf(text, "patient %u", i) };
}

Test(gateway_live_patient, each_is_found_with_his_own_sockets_and_goes_with_the_last)
{
	enum { PATIENTS = 1000, EACH = 3 };
	static struct patient_socket sockets[PATIENTS][EACH];
	char text[32];

	for (unsigned k = 0; k < EACH; k++)
		for (unsigned i = 0; i < PATIENTS; i++)
			patients_enter(&patients, &sockets[i][k], name_of(text, i));
	cr_assert_eq(patients.count, PATIENTS);
	cr_assert_eq(patients.socket_count, PATIENTS * EACH);
	for (unsigned i = 0; i < PATIENTS; i++) {
		struct patient *patient = patients_find(&patients, name_of(text, i));
		unsigned k = 0;

		cr_assert_not_null(patient);
		for (struct link *link = patient->sockets.next; link != &patient->sockets; link = link->next)
			cr_assert_eq(link, &sockets[i][k++].in_patient, "in the order in which they came");
		cr_assert_eq(k, EACH);
	}
	cr_assert_null(patients_find(&patients, HTTP_TEXT("patient")));
	for (unsigned i = 0; i < PATIENTS; i++) {
		patients_leave(&patients, &sockets[i][1]);
		patients_leave(&patients, &sockets[i][1]);
		patients_leave(&patients, &sockets[i][0]);
		cr_assert_not_null(patients_find(&patients, name_of(text, i)));
		patients_leave(&patients, &sockets[i][2]);
		cr_assert_null(patients_find(&patients, name_of(text, i)));
		cr_assert_eq(patients.count, PATIENTS - 1 - i);
	}
	cr_assert_eq(patients.socket_count, 0);
}

Test(gateway_live_patient, nobody_is_found_in_an_empty_table)
{
	cr_assert_null(patients_find(&patients, HTTP_TEXT("p")));
}

Test(gateway_live_patient, a_socket_enters_once, .signal = SIGABRT)
{
	static struct patient_socket socket;

	patients_enter(&patients, &socket, HTTP_TEXT("p"));
	patients_enter(&patients, &socket, HTTP_TEXT("p"));
}
