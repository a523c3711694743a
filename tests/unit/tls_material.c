/* Files of a listener, good and odd ones, and the hosts' names. What is wrong with a pair of certificate and key is told in
 * tests/unit/tls_context.c. */
#include "tls/material.c"

#include "tls_rig.h"

#include <criterion/criterion.h>

#include <pthread.h>

static struct rig_files files;
static struct tls_fault fault;

static void setup(void)
{
	rig_files_make(&files, false);
}

static void teardown(void)
{
	rig_files_remove(&files);
	rig_thread_fini();
}

TestSuite(tls_material, .init = setup, .fini = teardown);

/* ---- hosts ---- */

#define NAMES(...) (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)

struct named {
	const char *const *names;
	unsigned count;
};

/* Each host has the same certificate, and its own names; none: those in the certificate. */
static struct tls_material *read_hosts_with(const struct named *named, unsigned count, struct tls_certificate_files certificate)
{
	struct tls_host_files hosts[8] = { 0 };
	const struct tls_listener_files listener = {
		.address = "127.0.0.1:8443",
		.hosts = hosts,
		.host_count = count,
		.version_min = TLS_1_2,
		.version_max = TLS_1_3,
	};

	for (unsigned i = 0; i < count; i++)
		hosts[i] = (struct tls_host_files){
			.names = named[i].names,
			.name_count = named[i].count,
			.certificates = &certificate,
			.certificate_count = 1,
		};
	return tls_material_read(rig_thread(), &listener, &fault);
}

static struct tls_material *read_hosts(const struct named *named, unsigned count)
{
	struct tls_material *material = read_hosts_with(named, count, (struct tls_certificate_files){ files.ec, files.ec_key });

	cr_assert(material, "%s", fault.sentence);
	return material;
}

/* The host's index; -1: none. Asked for in memory of exactly that size, so that ASan sees a look behind it. */
static int found(const struct tls_material *material, const char *name)
{
	size_t n = strlen(name);
	char *exact = malloc(n ? n : 1);
	const struct tls_material_host *host;

	memcpy(exact, name, n);
	host = tls_material_find(material, exact, n);
	free(exact);
	return host ? (int)(host - material->hosts) : -1;
}

Test(tls_material, an_exact_name_goes_before_a_wildcard_and_the_default_comes_last)
{
	static const struct {
		const char *name;
		int host;
	} CASES[] = {
		{ "a.example", 1 }, { "b.example", 2 }, { "www.b.example", 3 }, { "x.b.example", 2 }, { "default.example", 0 },
		{ "xx.default.example", 0 },
		/* A wildcard stands for one label, the leftmost, and not for none. */
		{ "x.y.b.example", -1 }, { ".b.example", -1 }, { "xb.example", -1 }, { "example", -1 }, { "", -1 }, { ".", -1 },
		{ "b.example.", -1 }, { "b.exampl", -1 }, { "b.examplee", -1 }, { "a.example.b.example", -1 }, { "c.example", -1 },
		{ "*.b.example", 2 },            /* no client asks for it, and it does no harm */
	};
	const struct named hosts[] = {
		{ NAMES("default.example", "*.default.example", "a.example", "*.b.example") },
		{ NAMES("a.example") },
		{ NAMES("b.example", "*.b.example") },
		{ NAMES("www.b.example", "*.b.example") },
	};
	struct tls_material *material = read_hosts(hosts, array_count(hosts));

	for (size_t i = 0; i < array_count(CASES); i++)
		cr_assert_eq(found(material, CASES[i].name), CASES[i].host, "%s: %d", CASES[i].name, found(material, CASES[i].name));
	tls_material_put(material);
}

Test(tls_material, names_are_found_whatever_their_case_and_their_number)
{
	enum { COUNT = 300 };
	static char texts[2 * COUNT][40];
	const char *list[COUNT], *other[COUNT];
	const struct named hosts[] = { { NAMES("Default.Example") }, { list, COUNT }, { other, COUNT } };
	struct tls_material *material;

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof texts[i], "H%u.%s.Example", i * 7919 % 1000, i % 2 ? "x" : "XY");
		list[i] = texts[i];
		snprintf(texts[COUNT + i], sizeof texts[i], "*.H%u.%s.EXAMPLE", i * 7919 % 1000, i % 2 ? "x" : "XY");
		other[i] = texts[COUNT + i];
	}
	material = read_hosts(hosts, array_count(hosts));
	cr_assert_eq(found(material, "default.example"), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		char name[40], below[48];

		snprintf(name, sizeof name, "h%u.%s.example", i * 7919 % 1000, i % 2 ? "x" : "xy");
		snprintf(below, sizeof below, "w.%s", name);
		cr_assert_eq(found(material, name), 1, "%s", name);
		cr_assert_eq(found(material, below), 2, "%s", below);
		snprintf(below, sizeof below, "v.w.%s", name);
		cr_assert_eq(found(material, below), -1, "%s", below);
	}
	tls_material_put(material);
}

Test(tls_material, of_the_same_name_the_earlier_host_has_it_and_the_default_only_if_nobody_else)
{
	const struct named hosts[] = {
		{ NAMES("twice.example", "*.wild.example", "only.example", "only.example") },
		{ NAMES("TWICE.example", "three.example") },
		{ NAMES("twice.example", "three.example", "*.wild.example") },
		{ NAMES("three.example", "*.wild.example") },
	};
	struct tls_material *material = read_hosts(hosts, array_count(hosts));

	cr_assert_eq(found(material, "twice.example"), 1);
	cr_assert_eq(found(material, "three.example"), 1);
	cr_assert_eq(found(material, "x.wild.example"), 2);
	cr_assert_eq(found(material, "only.example"), 0);
	tls_material_put(material);
}

/* By a caller who has not looked at it: a name from a request's Host field. */
Test(tls_material, a_name_with_a_zero_in_it_is_nobodys)
{
	const struct named hosts[] = { { NAMES("a.example") }, { NAMES("b.example", "*.b.example") } };
	struct tls_material *material = read_hosts(hosts, array_count(hosts));
	static const char NAME[] = "b.example\0.evil.example.and.much.more.so.that.it.is.long";
	static const char BELOW[] = "x.b.example\0.evil.example.and.much.more.so.that.it.is.long";

	for (size_t n = 10; n < sizeof NAME; n++) {
		cr_assert_null(tls_material_find(material, NAME, n), "%zu", n);
		cr_assert_null(tls_material_find(material, BELOW, n + 2), "%zu", n);
	}
	tls_material_put(material);
}

Test(tls_material, a_name_longer_than_names_can_be_is_nobodys)
{
	static char name[70000];
	const struct named hosts[] = { { NAMES("a.example") }, { NAMES("*.b.example") } };
	struct tls_material *material = read_hosts(hosts, array_count(hosts));

	memset(name, 'a', sizeof name);
	cr_assert_null(tls_material_find(material, name, sizeof name));
	memset(name, '.', sizeof name);
	cr_assert_null(tls_material_find(material, name, sizeof name));
	tls_material_put(material);
}

/* ---- names in certificates ---- */

static void write_pair_with(const char *names, char certificate[96], char key[96])
{
	struct rig_issued made = rig_issue("common.example", NULL, false, names, 3, -1, 30);

	rig_path(&files, "names.pem", certificate);
	rig_path(&files, "names.key", key);
	rig_write_certificate(&made, certificate, "w");
	rig_write_key(&made, key);
	rig_issued_free(&made);
}

Test(tls_material, without_names_of_its_own_a_host_has_the_dns_names_of_its_certificate)
{
	const struct named hosts[] = { { NAMES("default.example") }, { NULL, 0 } };
	char certificate[96], key[96];
	struct tls_material *material;

	write_pair_with("DNS:One.Example,DNS:*.Two.Example,email:mail.example,URI:https://uri.example/,IP:192.0.2.7,"
	                "otherName:1.2.3.4;UTF8:other.example,DNS:last.example",
		certificate, key);
	material = read_hosts_with(hosts, 2, (struct tls_certificate_files){ certificate, key });
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(found(material, "one.example"), 1);
	cr_assert_eq(found(material, "x.two.example"), 1);
	cr_assert_eq(found(material, "two.example"), -1);
	cr_assert_eq(found(material, "last.example"), 1);
	cr_assert_eq(found(material, "mail.example"), -1);
	cr_assert_eq(found(material, "https://uri.example/"), -1);
	cr_assert_eq(found(material, "192.0.2.7"), -1);
	cr_assert_eq(found(material, "other.example"), -1);
	cr_assert_eq(found(material, "common.example"), -1);     /* the common name counts no more */
	tls_material_put(material);
}

Test(tls_material, the_names_of_a_chains_authority_are_nobodys)
{
	const struct named hosts[] = { { NULL, 0 } };
	struct rig_issued authority = rig_issue("authority", NULL, true, "DNS:authority.example", 1, -1, 30);
	struct rig_issued made = rig_issue("leaf", &authority, false, "DNS:leaf.example", 2, -1, 30);
	char certificate[96], key[96];
	struct tls_material *material;

	rig_path(&files, "chain.pem", certificate);
	rig_path(&files, "chain.key", key);
	rig_write_certificate(&made, certificate, "w");
	rig_write_certificate(&authority, certificate, "a");
	rig_write_key(&made, key);
	material = read_hosts_with(hosts, 1, (struct tls_certificate_files){ certificate, key });
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(found(material, "leaf.example"), 0);
	cr_assert_eq(found(material, "authority.example"), -1);
	tls_material_put(material);
	rig_issued_free(&authority);
	rig_issued_free(&made);
}

Test(tls_material, a_name_with_a_zero_in_a_certificate_is_passed_over)
{
	static const char ZERO[] = "good.example\0.evil.example";
	const struct named hosts[] = { { NULL, 0 } };
	struct rig_issued made = rig_issue("zero", NULL, false, NULL, 3, -1, 30);
	STACK_OF(GENERAL_NAME) *names = sk_GENERAL_NAME_new_null();
	char certificate[96], key[96];
	struct tls_material *material;

	for (int i = 0; i < 2; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();

		ASN1_STRING_set(text, i ? "after.example" : ZERO, i ? 13 : (int)sizeof ZERO - 1);
		GENERAL_NAME_set0_value(name, GEN_DNS, text);
		sk_GENERAL_NAME_push(names, name);
	}
	cr_assert_eq(X509_add1_ext_i2d(made.certificate, NID_subject_alt_name, names, 0, 0), 1);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	X509_sign(made.certificate, made.key, EVP_sha256());
	rig_path(&files, "zero.pem", certificate);
	rig_path(&files, "zero.key", key);
	rig_write_certificate(&made, certificate, "w");
	rig_write_key(&made, key);
	material = read_hosts_with(hosts, 1, (struct tls_certificate_files){ certificate, key });
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(found(material, "good.example"), -1);
	cr_assert_eq(found(material, "after.example"), 0);
	cr_assert_eq(material->name_count, 1);
	tls_material_put(material);
	rig_issued_free(&made);
}

/* Two hosts without names of their own, whose certificates have one in common; the second asks its clients, or both do. */
static struct tls_material *read_twins(bool first_asks, bool second_asks, bool depth_differs, const char *written)
{
	char certificate[96], key[96];
	struct tls_certificate_files pair = { certificate, key };
	struct tls_host_files hosts[] = {
		{ .names = (const char *const[]){ "default.example" }, .name_count = 1, .certificates = &pair, .certificate_count = 1 },
		{ .certificates = &pair, .certificate_count = 1, .client = { .ca = first_asks ? files.ec : NULL, .depth = 1 } },
		{ .names = &written, .name_count = written ? 1 : 0, .certificates = &pair, .certificate_count = 1,
			.client = { .ca = second_asks ? files.ec : NULL, .depth = depth_differs ? 2 : 1 } },
	};
	const struct tls_listener_files listener = { .address = "x", .hosts = hosts, .host_count = 3,
		.version_min = TLS_1_2, .version_max = TLS_1_3 };

	write_pair_with("DNS:twin.example,DNS:*.twin.example", certificate, key);
	return tls_material_read(rig_thread(), &listener, &fault);
}

Test(tls_material, of_two_hosts_with_the_same_name_in_their_certificates_nobody_has_to_guess_which_one_asks)
{
	struct tls_material *material = read_twins(false, false, false, NULL);

	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 2);
	cr_assert(strstr(fault.warnings[0], "twin.example"), "%s", fault.warnings[0]);
	cr_assert_eq(found(material, "twin.example"), 1);
	cr_assert_eq(found(material, "x.twin.example"), 1);
	tls_material_put(material);

	cr_assert_null(read_twins(false, true, false, NULL));
	cr_assert(strstr(fault.sentence, "twin.example"), "%s", fault.sentence);
	cr_assert_null(read_twins(true, false, false, NULL));
	cr_assert_null(read_twins(true, true, true, NULL));
	material = read_twins(true, true, false, NULL);
	cr_assert(material, "%s", fault.sentence);
	tls_material_put(material);

	/* What is written is clear. */
	material = read_twins(false, true, false, "twin.example");
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(found(material, "twin.example"), 2);
	cr_assert_eq(found(material, "x.twin.example"), 1);
	tls_material_put(material);
}

/* ---- who may have issued the clients' certificates ---- */

static struct tls_material *read_clients(const char *ca, const char *crl)
{
	const struct tls_certificate_files certificate = { files.ec, files.ec_key };
	const struct tls_host_files host = {
		.certificates = &certificate,
		.certificate_count = 1,
		.client = { .ca = ca, .crl = crl, .depth = 1, .required = true },
	};
	const struct tls_listener_files listener = {
		.address = "127.0.0.1:8443",
		.hosts = &host,
		.host_count = 1,
		.version_min = TLS_1_2,
		.version_max = TLS_1_3,
	};

	return tls_material_read(rig_thread(), &listener, &fault);
}

static char ca[96], crl[96];
static struct rig_issued authority;

static void clients_begin(void)
{
	rig_path(&files, "ca.pem", ca);
	rig_path(&files, "clients.crl", crl);
	authority = rig_issue("Clients' authority", NULL, true, NULL, 1, -1, 30);
	rig_write_certificate(&authority, ca, "w");
	rig_write_list(&authority, 9, -1, 7, crl, "w");
}

static void clients_end(void)
{
	rig_issued_free(&authority);
}

/* Refused, and the sentence begins with the file's name. */
static void refused_naming(const char *path)
{
	struct tls_material *material = read_clients(ca, crl);

	cr_assert_null(material);
	cr_assert_eq(strncmp(fault.sentence, path, strlen(path)), 0, "%s", fault.sentence);
	cr_assert_eq(strncmp(fault.sentence + strlen(path), ": ", 2), 0, "%s", fault.sentence);
}

static size_t bytes_read(const char *path, char *to, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n = fread(to, 1, size, file);

	fclose(file);
	return n;
}

static size_t size_of(const char *path)
{
	struct stat status;

	cr_assert_eq(stat(path, &status), 0);
	return (size_t)status.st_size;
}

Test(tls_material, an_authority_and_its_list_are_read_without_a_word)
{
	struct tls_material *material;

	clients_begin();
	material = read_clients(ca, crl);
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 0, "%s", fault.warnings[0]);
	cr_assert(material->hosts[0].client_asked && material->hosts[0].client_required);
	cr_assert_eq(material->hosts[0].client_depth, 1);
	cr_assert(material->hosts[0].ca.n > 0 && material->hosts[0].crl.n > 0);
	tls_material_put(material);
	material = read_clients(ca, NULL);
	cr_assert(material && material->hosts[0].crl.n == 0);
	tls_material_put(material);
	/* A list without an authority says nothing: clients are not asked. */
	material = read_clients(NULL, crl);
	cr_assert(material && !material->hosts[0].client_asked && material->hosts[0].crl.n == 0);
	tls_material_put(material);
	clients_end();
}

Test(tls_material, an_authority_that_is_none_or_out_of_date_is_a_warning_that_names_the_file)
{
	struct tls_material *material;
	struct rig_issued other;

	clients_begin();
	material = read_clients(files.ec, NULL);                 /* without basicConstraints */
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 1);
	cr_assert(strstr(fault.warnings[0], files.ec) && strstr(fault.warnings[0], "not that of an authority"), "%s",
		fault.warnings[0]);
	tls_material_put(material);

	other = rig_issue("no authority", &authority, false, NULL, 2, -1, 30);
	rig_write_certificate(&other, ca, "a");
	rig_issued_free(&other);
	other = rig_issue("old authority", NULL, true, NULL, 3, -30, -2);
	rig_write_certificate(&other, ca, "a");
	material = read_clients(ca, NULL);
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 2);
	cr_assert(strstr(fault.warnings[0], "certificate 3 in it has expired"), "%s", fault.warnings[0]);
	cr_assert(strstr(fault.warnings[1], "not that of an authority"), "%s", fault.warnings[1]);
	tls_material_put(material);
	rig_issued_free(&other);
	clients_end();
}

Test(tls_material, a_file_of_authorities_that_cannot_be_read_is_named)
{
	clients_begin();
	remove(ca);
	refused_naming(ca);
	cr_assert(strstr(fault.sentence, "No such file"), "%s", fault.sentence);
	rig_write_key(&authority, ca);
	refused_naming(ca);
	cr_assert(strstr(fault.sentence, "private key"), "%s", fault.sentence);
	rig_write_list(&authority, 0, -1, 1, ca, "w");
	refused_naming(ca);
	clients_end();
}

Test(tls_material, a_list_that_cannot_be_read_is_named)
{
	FILE *file;

	clients_begin();
	remove(crl);
	refused_naming(crl);
	cr_assert(strstr(fault.sentence, "No such file"), "%s", fault.sentence);
	fclose(fopen(crl, "w"));
	refused_naming(crl);
	rig_write_certificate(&authority, crl, "w");
	refused_naming(crl);
	file = fopen(crl, "w");
	fputs("-----BEGIN X509 CRL-----\nMAAA\n-----END X509 CRL-----\n", file);
	fclose(file);
	refused_naming(crl);
	clients_end();
}

/* An update of the file that was interrupted, or a disk that was full: what is missing would let revoked clients in. */
Test(tls_material, a_list_cut_anywhere_is_refused)
{
	struct rig_issued other = rig_issue("another authority", NULL, true, NULL, 4, -1, 30);
	static char both[1 << 14];
	size_t first, whole;
	FILE *file;

	clients_begin();
	rig_write_certificate(&other, ca, "a");
	first = size_of(crl);
	rig_write_list(&other, 11, -1, 7, crl, "a");
	whole = bytes_read(crl, both, sizeof both);
	/* The end of line behind the last dashes is no loss. */
	for (size_t cut = whole - 2; cut > 0; cut -= cut > 7 ? 7 : cut) {
		struct tls_material *material;
		/* Exactly one list is one list, and as long as it cannot be seen that a second one begins. */
		bool one = cut >= first - 1 && cut < first + strlen("-----BEGIN X509 CRL-----");

		file = fopen(crl, "w");
		fwrite(both, 1, cut, file);
		fclose(file);
		material = read_clients(ca, crl);
		cr_assert(one || !material, "cut at %zu of %zu, the first ends at %zu", cut, whole, first);
		cr_assert(one || strstr(fault.sentence, crl), "%s", fault.sentence);
		tls_material_put(material);
	}
	rig_issued_free(&other);
	clients_end();
}

Test(tls_material, a_chain_cut_in_its_second_certificate_is_refused)
{
	struct rig_issued other = rig_issue("another authority", NULL, true, NULL, 4, -1, 30);
	static char both[1 << 14];
	size_t first, whole;
	FILE *file;

	clients_begin();
	first = size_of(ca);
	rig_write_certificate(&other, ca, "a");
	whole = bytes_read(ca, both, sizeof both);
	for (size_t cut = whole - 2; cut >= first + strlen("-----BEGIN CERTIFICATE-----"); cut -= 13) {
		file = fopen(ca, "w");
		fwrite(both, 1, cut, file);
		fclose(file);
		cr_assert_null(read_clients(ca, NULL), "cut at %zu of %zu, the first ends at %zu", cut, whole, first);
		cr_assert(strstr(fault.sentence, ca), "%s", fault.sentence);
	}
	rig_issued_free(&other);
	clients_end();
}

Test(tls_material, a_list_out_of_date_is_a_warning_that_says_what_happens)
{
	struct tls_material *material;

	clients_begin();
	rig_write_list(&authority, 9, -9, -2, crl, "w");
	material = read_clients(ca, crl);
	cr_assert(material, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 1);
	cr_assert(strstr(fault.warnings[0], crl) && strstr(fault.warnings[0], "was to be renewed by 20"), "%s", fault.warnings[0]);
	tls_material_put(material);
	clients_end();
}

/* mbedTLS looks for a list of the certificate's issuer, and where there is none nobody is revoked. */
Test(tls_material, a_list_of_nobody_who_is_trusted_and_an_authority_without_a_list_are_warnings)
{
	struct rig_issued other = rig_issue("another authority", NULL, true, NULL, 4, -1, 30);
	struct tls_material *material;

	clients_begin();
	rig_write_list(&other, 9, -1, 7, crl, "w");
	material = read_clients(ca, crl);
	cr_assert(material, "%s", fault.sentence);
	cr_assert_geq(fault.warning_count, 1, "revocation silently does nothing");
	for (unsigned i = 0; i < fault.warning_count; i++)
		cr_assert(strstr(fault.warnings[i], crl), "%s", fault.warnings[i]);
	cr_assert(strstr(fault.warnings[0], "Clients' authority"), "%s", fault.warnings[0]);
	tls_material_put(material);
	rig_issued_free(&other);
	clients_end();
}

/* ---- more about files ---- */

Test(tls_material, what_is_wrong_with_a_second_host_is_told_and_nothing_leaks)
{
	struct tls_certificate_files good = { files.ec, files.ec_key }, bad = { files.ec, "/nowhere/at.key" };
	const struct tls_host_files hosts[] = {
		{ .certificates = &good, .certificate_count = 1, .alpn = RIG_PROTOCOLS },
		{ .names = (const char *const[]){ "b.example" }, .name_count = 1, .certificates = &bad, .certificate_count = 1 },
	};
	const struct tls_listener_files listener = { .address = "x", .hosts = hosts, .host_count = 2,
		.version_min = TLS_1_2, .version_max = TLS_1_3 };

	cr_assert_null(tls_material_read(rig_thread(), &listener, &fault));
	cr_assert_str_eq(fault.sentence, "/nowhere/at.key: cannot be read: No such file or directory");
}

Test(tls_material, a_key_behind_text_and_windows_line_ends_is_fine)
{
	char certificate[96], text[8192];
	struct tls_material *material;
	const struct named hosts[] = { { NAMES("a.example") } };
	FILE *file = fopen(files.ec, "r");
	size_t n = fread(text, 1, sizeof text - 1, file);

	fclose(file);
	text[n] = 0;
	rig_path(&files, "windows.pem", certificate);
	file = fopen(certificate, "w");
	fputs("subject=CN = edge.example\r\n", file);
	for (const char *c = text; *c; c++)
		fputs(*c == '\n' ? "\r\n" : (char[]){ *c, 0 }, file);
	fclose(file);
	material = read_hosts_with(hosts, 1, (struct tls_certificate_files){ certificate, files.ec_key });
	cr_assert(material, "%s", fault.sentence);
	tls_material_put(material);
}

Test(tls_material, hosts_have_bindings_of_their_own_that_a_renewed_certificate_keeps)
{
	const struct named hosts[] = { { NULL, 0 }, { NAMES("b.example") }, { NAMES("c.example") }, { NULL, 0 } };
	struct tls_material *one = read_hosts(hosts, 4), *other;
	EVP_PKEY *key = EVP_EC_gen("P-256");

	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < i; k++)
			cr_assert_neq(memcmp(one->hosts[i].binding, one->hosts[k].binding, TLS_BINDING_BYTES), 0);
	rig_write_pair(key, files.ec, files.ec_key, -1, 60, NULL);
	other = read_hosts(hosts, 4);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(memcmp(one->hosts[i].binding, other->hosts[i].binding, TLS_BINDING_BYTES), 0);
	EVP_PKEY_free(key);
	tls_material_put(one);
	tls_material_put(other);
}

/* ---- references ---- */

static void *take_and_put(void *argument)
{
	struct tls_material *material = argument;

	for (int i = 0; i < 20000; i++) {
		struct tls_material *mine = tls_material_take(material);

		if (!tls_material_find(mine, "a.example", 9))
			return NULL;
		tls_material_put(mine);
	}
	tls_material_put(material);
	return argument;
}

Test(tls_material, cores_take_and_put_it_at_once_and_the_last_one_frees_it)
{
	const struct named hosts[] = { { NAMES("a.example") } };
	struct tls_material *material = read_hosts(hosts, 1);
	pthread_t threads[3];
	void *result;

	for (size_t i = 0; i < array_count(threads); i++)
		pthread_create(&threads[i], NULL, take_and_put, tls_material_take(material));
	tls_material_put(material);
	for (size_t i = 0; i < array_count(threads); i++) {
		pthread_join(threads[i], &result);
		cr_assert_eq(result, material);
	}
	tls_material_put(NULL);
}
