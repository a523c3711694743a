#include "tls/context.c"

#include "tls_rig.h"

#include <criterion/criterion.h>

#include <pthread.h>

static struct rig_files files;
static struct tls_fault fault;

static void setup(void)
{
	rig_files_make(&files, true);
}

static void teardown(void)
{
	rig_files_remove(&files);
	rig_thread_fini();
}

TestSuite(tls_context, .init = setup, .fini = teardown);

static struct tls_context *made(const char *certificate, const char *key)
{
	const struct tls_certificate_files one = { certificate, key };

	return rig_context_of(&one, 1, RIG_PROTOCOLS, &fault);
}

/* Refused, and the sentence is the file's name and these words. */
static void refused(const char *certificate, const char *key, const char *at_fault, const char *words)
{
	char want[TLS_SENTENCE_BYTES];

	cr_assert_null(made(certificate, key));
	snprintf(want, sizeof want, "%s: %s", at_fault, words);
	cr_assert_str_eq(fault.sentence, want);
}

/* The older form: "BEGIN RSA PRIVATE KEY" and so on. */
static void write_older(const char *path, EVP_PKEY *key, const char *password)
{
	BIO *file = BIO_new_file(path, "w");

	cr_assert_eq(PEM_write_bio_PrivateKey_traditional(file, key, password ? EVP_aes_128_cbc() : NULL,
		(const unsigned char *)password, password ? (int)strlen(password) : 0, NULL, NULL), 1);
	BIO_free(file);
	chmod(path, 0600);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
}

Test(tls_context, certificates_of_both_kinds_stand_side_by_side)
{
	const struct tls_certificate_files both[] = { { files.ec, files.ec_key }, { files.rsa, files.rsa_key } };
	struct tls_context *context = rig_context_of(both, 2, RIG_PROTOCOLS, &fault);

	cr_assert(context);
	cr_assert_str_empty(fault.sentence);
	cr_assert_eq(fault.warning_count, 0);
	cr_assert_eq(tls_context_take(context), context);
	tls_context_put(context);
	cr_assert_eq(context->references, 1);
	tls_context_put(context);
	tls_context_put(NULL);
}

Test(tls_context, without_a_certificate_there_is_none)
{
	cr_assert_null(rig_context_of(NULL, 0, NULL, &fault));
	cr_assert_str_eq(fault.sentence, "no certificate is given");
}

Test(tls_context, a_file_that_cannot_be_read_is_named_with_the_systems_words)
{
	char path[96];

	rig_path(&files, "nowhere.pem", path);
	refused(path, files.ec_key, path, "cannot be read: No such file or directory");
	refused(files.ec, path, path, "cannot be read: No such file or directory");
	refused(files.directory, files.ec_key, files.directory, "cannot be read: it is a directory");
}

Test(tls_context, a_file_that_is_something_else_is_told)
{
	char path[96], other[96];

	rig_path(&files, "text", path);
	write_text(path, "hello\n");
	refused(path, files.ec_key, path, "is not a PEM certificate");
	cr_assert_null(made(files.ec, path));
	cr_assert(strstr(fault.sentence, "text: is not a PEM private key: "), "%s", fault.sentence);
	write_text(path, "");
	refused(path, files.ec_key, path, "is not a PEM certificate");

	rig_path(&files, "broken", other);
	write_text(other, "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n");
	cr_assert_null(made(other, files.ec_key));
	cr_assert(strstr(fault.sentence, "broken: "), "%s", fault.sentence);
	cr_assert(strstr(fault.sentence, "cannot be read"), "%s", fault.sentence);

	refused(files.ec_key, files.ec, files.ec_key, "is a private key, not a certificate (are the two files swapped?)");
	refused(files.ec, files.ec, files.ec, "is a certificate, not a private key (are the two files swapped?)");
}

Test(tls_context, what_is_no_regular_file_is_refused_without_waiting_for_it)
{
	char path[96];

	refused("/dev/zero", files.ec_key, "/dev/zero", "cannot be read: it is no regular file");
	rig_path(&files, "pipe", path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(path, files.ec_key, path, "cannot be read: it is no regular file");
	refused(files.ec, path, path, "cannot be read: it is no regular file");
}

Test(tls_context, a_file_that_is_too_long_is_refused)
{
	char path[96], sentence[128];

	rig_path(&files, "long", path);
	write_text(path, "");
	cr_assert_eq(truncate(path, TLS_FILE_BYTES_MAX + 1), 0);
	snprintf(sentence, sizeof sentence, "is longer than the %u bytes that are read, or grew meanwhile", TLS_FILE_BYTES_MAX);
	refused(path, files.ec_key, path, sentence);
}

Test(tls_context, a_key_that_everybody_may_read_is_a_warning)
{
	struct tls_context *context;

	cr_assert_eq(chmod(files.ec_key, 0644), 0);
	context = made(files.ec, files.ec_key);
	cr_assert(context, "%s", fault.sentence);
	cr_assert_eq(fault.warning_count, 1);
	cr_assert(strstr(fault.warnings[0], files.ec_key), "%s", fault.warnings[0]);
	tls_context_put(context);
	cr_assert_eq(chmod(files.ec_key, 0640), 0);
	context = made(files.ec, files.ec_key);
	cr_assert_eq(fault.warning_count, 0);
	tls_context_put(context);
}

Test(tls_context, an_encrypted_key_is_refused)
{
	static const char WORDS[] = "the key is encrypted; the gateway can ask nobody for a passphrase, so it needs a plain one";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char certificate[96], path[96];

	rig_path(&files, "secret.pem", certificate);
	rig_path(&files, "secret.key", path);
	rig_write_pair(key, certificate, path, -1, 1, "open sesame");
	refused(certificate, path, path, WORDS);

	write_older(path, key, "open sesame");
	refused(certificate, path, path, WORDS);
	EVP_PKEY_free(key);
}

Test(tls_context, a_key_in_the_older_form_is_fine)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	char certificate[96], path[96];
	struct tls_context *context;

	rig_path(&files, "old.pem", certificate);
	rig_path(&files, "old.key", path);
	rig_write_pair(key, certificate, NULL, -1, 1, NULL);
	write_older(path, key, NULL);
	context = made(certificate, path);
	cr_assert(context, "%s", fault.sentence);
	tls_context_put(context);
	EVP_PKEY_free(key);
}

Test(tls_context, a_key_of_another_certificate_is_refused)
{
	char words[160];

	snprintf(words, sizeof words, "the key does not belong to the certificate in %s", files.ec);
	refused(files.ec, files.rsa_key, files.rsa_key, words);
	snprintf(words, sizeof words, "the key does not belong to the certificate in %s", files.rsa);
	refused(files.rsa, files.ec_key, files.ec_key, words);
}

Test(tls_context, a_wrong_time_is_a_warning)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char certificate[96], path[96];
	struct tls_context *context;

	rig_path(&files, "time.pem", certificate);
	rig_path(&files, "time.key", path);
	rig_write_pair(key, certificate, path, -30, -1, NULL);
	context = made(certificate, path);
	cr_assert(context);
	cr_assert_eq(fault.warning_count, 1);
	cr_assert(strstr(fault.warnings[0], "time.pem: certificate 1 in it has expired (20"), "%s", fault.warnings[0]);
	tls_context_put(context);

	rig_write_pair(key, certificate, path, 2, 30, NULL);
	context = made(certificate, path);
	cr_assert(context);
	cr_assert_eq(fault.warning_count, 1);
	cr_assert(strstr(fault.warnings[0], "time.pem: certificate 1 in it is not valid yet (from 20"), "%s", fault.warnings[0]);
	tls_context_put(context);
	EVP_PKEY_free(key);
}

Test(tls_context, a_key_of_an_unsupported_kind_is_refused)
{
	EVP_PKEY *key;
	char certificate[96], path[96];

	rig_path(&files, "odd.pem", certificate);
	rig_path(&files, "odd.key", path);
	key = EVP_EC_gen("P-384");
	rig_write_pair(key, certificate, path, -1, 1, NULL);
	EVP_PKEY_free(key);
	refused(certificate, path, certificate, "its key is on an elliptic curve of 384 bits; supported is P-256 (or RSA)");
	key = EVP_RSA_gen(1024);
	rig_write_pair(key, certificate, path, -1, 1, NULL);
	EVP_PKEY_free(key);
	refused(certificate, path, certificate, "its RSA key has 1024 bits; supported are 2048 to 4096");
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	rig_write_pair(key, certificate, path, -1, 1, NULL);
	EVP_PKEY_free(key);
	cr_assert_null(made(certificate, path));
	cr_assert(strstr(fault.sentence, "odd.pem: "), "%s", fault.sentence);
	refused(files.ec, path, path, "the key is of an unsupported kind; supported are EC P-256 and RSA");
}

Test(tls_context, a_chain_is_read_whole)
{
	char chain[96], text[4096];
	struct tls_context *context;
	size_t n = 0;
	FILE *file;

	rig_path(&files, "chain.pem", chain);
	file = fopen(files.ec, "r");
	n = fread(text, 1, sizeof text, file);
	fclose(file);
	file = fopen(files.rsa, "r");
	n += fread(text + n, 1, sizeof text - n - 1, file);
	fclose(file);
	text[n] = 0;
	write_text(chain, text);
	context = made(chain, files.ec_key);
	cr_assert(context, "%s", fault.sentence);
	cr_assert(context->hosts[0].certificates[0].chain.next);
	tls_context_put(context);

	memcpy(strstr(text + 100, "-----BEGIN") + 40, "!!!!", 4);
	write_text(chain, text);
	refused(chain, files.ec_key, chain, "1 of its certificates cannot be read");
}

Test(tls_context, protocols_have_their_limits)
{
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	const char *many[TLS_PROTOCOLS_MAX + 2] = { "a", "a", "a", "a", "a", "a", "a", "a", "a", NULL };
	const char *empty[] = { "h2", "", NULL };
	const char *none[] = { NULL };
	struct tls_context *context;

	cr_assert_null(rig_context_of(&one, 1, many, &fault));
	cr_assert_str_eq(fault.sentence, "more than 8 protocols for ALPN");
	cr_assert_null(rig_context_of(&one, 1, empty, &fault));
	cr_assert_str_eq(fault.sentence, "a protocol name for ALPN has 1 to 255 bytes, this one 0");
	context = rig_context_of(&one, 1, none, &fault);
	cr_assert(context);
	tls_context_put(context);
	context = rig_context_of(&one, 1, NULL, &fault);
	cr_assert(context);
	tls_context_put(context);
}

/* What a core does: its own PSA, context and handshakes, with nothing shared and no lock. */
static void *core_thread(void *argument)
{
	(void)argument;
	for (int i = 0; i < 10; i++) {
		struct tls_context *context = rig_context(&files, "er");
		struct rig r;

		rig_open(&r, context);
		rig_client(&r, i % 2 ? TLS1_3_VERSION : TLS1_2_VERSION, NULL);
		while (!r.client_done || r.tls.step != TLS_OPEN) {
			uint8_t bytes[8192];
			size_t n;

			r.client_done = SSL_do_handshake(r.client) == 1;
			n = rig_client_bytes(&r, bytes, sizeof bytes);
			rig_deliver(&r, bytes, n);
			check(rig_to_client(&r) > 0 || r.client_done);
		}
		rig_close(&r);
		tls_context_put(context);
	}
	rig_thread_fini();
	return NULL;
}

Test(tls_context, each_thread_has_its_own)
{
	pthread_t threads[4];

	tls_process_init();
	for (size_t i = 0; i < array_count(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, core_thread, NULL), 0);
	for (size_t i = 0; i < array_count(threads); i++)
		pthread_join(threads[i], NULL);
}

/* ---- the choice ---- */

/* A ClientHello of OpenSSL's, read by us. */
struct said {
	uint8_t bytes[4096];
	struct tls_client_hello hello;
};

struct wish {
	int version_min, version_max;            /* 0: both */
	const char *suites_12, *groups, *signatures, *alpn;
};

static void say(struct said *said, struct wish wish)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	SSL *client;
	const struct reason *reason;
	int n;

	SSL_CTX_set_security_level(c, 0);
	SSL_CTX_set_min_proto_version(c, wish.version_min ? wish.version_min : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(c, wish.version_max ? wish.version_max : TLS1_3_VERSION);
	cr_assert(!wish.suites_12 || SSL_CTX_set_cipher_list(c, wish.suites_12) == 1);
	cr_assert(!wish.groups || SSL_CTX_set1_groups_list(c, wish.groups) == 1);
	cr_assert(!wish.signatures || SSL_CTX_set1_sigalgs_list(c, wish.signatures) == 1);
	client = SSL_new(c);
	if (wish.alpn)
		SSL_set_alpn_protos(client, (const unsigned char *)wish.alpn, (unsigned)strlen(wish.alpn));
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(client);
	SSL_do_handshake(client);
	n = BIO_read(SSL_get_wbio(client), said->bytes, sizeof said->bytes);
	cr_assert_gt(n, (int)TLS_HEADER_BYTES);
	reason = tls_client_hello_parse(said->bytes + TLS_HEADER_BYTES, (size_t)n - TLS_HEADER_BYTES, &said->hello);
	cr_assert_null(reason, "%s: %s", reason->name, wish.signatures);
	SSL_free(client);
	SSL_CTX_free(c);
	ERR_clear_error();
}

/* Hosts 0 (the default, default.example), 1 (asks.example), 2 (*.plain.example), 3 (too.example, asks). */
static struct tls_context *hosts_made(bool strict, enum tls_version version_min, enum tls_version version_max)
{
	static const char *const NAMES[] = { "default.example", "asks.example", "*.plain.example", "too.example" };
	const struct tls_certificate_files both[] = { { files.ec, files.ec_key }, { files.rsa, files.rsa_key } };
	struct tls_host_files hosts[4];
	const struct tls_listener_files listener = {
		.address = "x",
		.hosts = hosts,
		.host_count = array_count(hosts),
		.strict = strict,
		.version_min = version_min,
		.version_max = version_max,
	};
	struct tls_context *context;

	for (unsigned i = 0; i < array_count(hosts); i++)
		hosts[i] = (struct tls_host_files){
			.names = &NAMES[i],
			.name_count = 1,
			.certificates = both,
			.certificate_count = 2,
			.client = { .ca = i % 2 ? files.ec : NULL },
		};
	context = rig_context_listening(&listener, &fault);
	cr_assert(context, "%s", fault.sentence);
	return context;
}

static int host_chosen(const struct tls_context *context, const struct tls_choice *choice)
{
	return (int)(choice->host - context->hosts);
}

Test(tls_context, the_name_chooses_the_host_and_strictly_none_is_refused)
{
	struct said said;

	say(&said, (struct wish){ 0 });
	for (int strict = 0; strict < 2; strict++) {
		struct tls_context *context = hosts_made(strict, TLS_1_2, TLS_1_3);
		struct tls_choice choice;

		cr_assert_null(tls_context_choose(context, &said.hello, "asks.example", &choice));
		cr_assert_eq(host_chosen(context, &choice), 1);
		cr_assert_null(tls_context_choose(context, &said.hello, "a.plain.example", &choice));
		cr_assert_eq(host_chosen(context, &choice), 2);
		cr_assert_null(tls_context_choose(context, &said.hello, "default.example", &choice));
		cr_assert_eq(host_chosen(context, &choice), 0);
		choice.host = NULL;
		if (strict) {
			cr_assert_eq(tls_context_choose(context, &said.hello, NULL, &choice), &TLS_NAME_MISSING);
			cr_assert_eq(tls_context_choose(context, &said.hello, "plain.example", &choice), &TLS_NAME_UNKNOWN);
			cr_assert_eq(tls_context_choose(context, &said.hello, "a.b.plain.example", &choice), &TLS_NAME_UNKNOWN);
			cr_assert_eq(tls_context_choose(context, &said.hello, "", &choice), &TLS_NAME_UNKNOWN);
			cr_assert_null(choice.host);
		} else {
			static const char *const NOBODY[] = { NULL, "plain.example", "a.b.plain.example", "elsewhere.example" };

			for (unsigned i = 0; i < array_count(NOBODY); i++) {
				cr_assert_null(tls_context_choose(context, &said.hello, NOBODY[i], &choice));
				cr_assert_eq(host_chosen(context, &choice), 0);
			}
		}
		tls_context_put(context);
	}
}

Test(tls_context, versions_are_those_of_the_listener)
{
	static const struct {
		enum tls_version serves_min, serves_max;
		int offers_min, offers_max;
		unsigned version;                /* 0: refused */
	} CASES[] = {
		{ TLS_1_2, TLS_1_2, TLS1_2_VERSION, TLS1_3_VERSION, TLS_1_2 },
		{ TLS_1_2, TLS_1_2, TLS1_2_VERSION, TLS1_2_VERSION, TLS_1_2 },
		{ TLS_1_2, TLS_1_2, TLS1_3_VERSION, TLS1_3_VERSION, 0 },
		{ TLS_1_3, TLS_1_3, TLS1_2_VERSION, TLS1_3_VERSION, TLS_1_3 },
		{ TLS_1_3, TLS_1_3, TLS1_2_VERSION, TLS1_2_VERSION, 0 },
		{ TLS_1_3, TLS_1_3, TLS1_3_VERSION, TLS1_3_VERSION, TLS_1_3 },
		{ TLS_1_2, TLS_1_3, TLS1_2_VERSION, TLS1_3_VERSION, TLS_1_3 },
		{ TLS_1_2, TLS_1_3, TLS1_2_VERSION, TLS1_2_VERSION, TLS_1_2 },
		{ TLS_1_2, TLS_1_3, TLS1_3_VERSION, TLS1_3_VERSION, TLS_1_3 },
	};

	for (unsigned i = 0; i < array_count(CASES); i++) {
		struct tls_context *context = hosts_made(false, CASES[i].serves_min, CASES[i].serves_max);
		struct tls_choice choice;
		const struct reason *reason;
		struct said said;
		struct rig r;

		say(&said, (struct wish){ .version_min = CASES[i].offers_min, .version_max = CASES[i].offers_max });
		reason = tls_context_choose(context, &said.hello, NULL, &choice);
		cr_assert_eq(reason, CASES[i].version ? NULL : &TLS_VERSION_UNSUPPORTED, "case %u", i);
		cr_assert_eq(said.hello.version, CASES[i].version, "case %u", i);
		/* And mbedTLS sees it the same way. */
		rig_open(&r, context);
		rig_client(&r, CASES[i].offers_min, NULL);
		SSL_set_max_proto_version(r.client, CASES[i].offers_max);
		cr_assert_eq(rig_shake(&r), CASES[i].version != 0, "case %u", i);
		cr_assert_eq(r.tls.version, CASES[i].version, "case %u", i);
		cr_assert_eq(r.tls.failure, reason);
		rig_close(&r);
		tls_context_put(context);
	}
}

Test(tls_context, a_client_of_other_protocols_is_refused_and_one_without_the_extension_is_not)
{
	struct tls_context *with = rig_context(&files, "e"), *without;
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	struct tls_choice choice;
	struct said said;

	without = rig_context_of(&one, 1, NULL, &fault);
	say(&said, (struct wish){ .alpn = "\x03irc\x08http/1.0" });
	cr_assert_eq(tls_context_choose(with, &said.hello, NULL, &choice), &TLS_PROTOCOL_UNSUPPORTED);
	cr_assert_null(tls_context_choose(without, &said.hello, NULL, &choice));
	say(&said, (struct wish){ .alpn = "\x03irc\x08http/1.1" });
	cr_assert_null(tls_context_choose(with, &said.hello, NULL, &choice));
	say(&said, (struct wish){ 0 });
	cr_assert_null(tls_context_choose(with, &said.hello, NULL, &choice));
	/* A name that only begins like ours, or that ours begins with. */
	say(&said, (struct wish){ .alpn = "\x07http/1.\x09http/1.1x\x01h" });
	cr_assert_eq(tls_context_choose(with, &said.hello, NULL, &choice), &TLS_PROTOCOL_UNSUPPORTED);
	tls_context_put(with);
	tls_context_put(without);
}

static const struct {
	const char *what;
	struct wish wish;
	char chosen;                             /* of the list "er": 'e', 'r', 0: none */
} VERIFIES[] = {
	{ "1.3, all", { TLS1_3_VERSION, 0, NULL, NULL, NULL, NULL }, 'e' },
	{ "1.3, RSA first in its list", { TLS1_3_VERSION, 0, NULL, NULL, "RSA-PSS+SHA256:ECDSA+SHA256", NULL }, 'e' },
	{ "1.3, RSA alone", { TLS1_3_VERSION, 0, NULL, NULL, "RSA-PSS+SHA256", NULL }, 'r' },
	{ "1.3, X25519 alone: the scheme names the curve", { TLS1_3_VERSION, 0, NULL, "X25519", "ECDSA+SHA256:RSA-PSS+SHA256", NULL }, 'e' },
	{ "1.3, ECDSA of another curve", { TLS1_3_VERSION, 0, NULL, NULL, "ECDSA+SHA384:RSA-PSS+SHA256", NULL }, 'r' },
	{ "1.3, PKCS#1 is nothing for a handshake", { TLS1_3_VERSION, 0, NULL, NULL, "RSA+SHA256:ECDSA+SHA384", NULL }, 0 },
	{ "1.3, neither", { TLS1_3_VERSION, 0, NULL, NULL, "ECDSA+SHA384:RSA-PSS+SHA512", NULL }, 0 },
	{ "1.2, all", { 0, TLS1_2_VERSION, NULL, NULL, NULL, NULL }, 'e' },
	{ "1.2, RSA first in its lists", { 0, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", NULL, "RSA+SHA256:ECDSA+SHA256", NULL }, 'e' },
	{ "1.2, without P-256", { 0, TLS1_2_VERSION, NULL, "X25519", NULL, NULL }, 'r' },
	{ "1.2, without the scheme", { 0, TLS1_2_VERSION, NULL, NULL, "RSA+SHA256:ECDSA+SHA384", NULL }, 'r' },
	{ "1.2, suites of RSA alone", { 0, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, NULL, NULL }, 'r' },
	{ "1.2, suites of ECDSA alone", { 0, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, NULL, NULL }, 'e' },
	{ "1.2, suites of ECDSA alone, and no P-256", { 0, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "X25519", NULL, NULL }, 0 },
	{ "1.2, suites of RSA and a scheme of ECDSA", { 0, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, "ECDSA+SHA256:RSA+SHA384", NULL }, 0 },
	{ "1.2, PSS alone", { 0, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, "RSA-PSS+SHA256", NULL }, 0 },
};

/* As the file list says, whatever the client would like best: and the handshake uses that one. */
Test(tls_context, the_certificate_is_the_first_of_the_list_that_the_client_can_verify)
{
	static const char *const LISTS[] = { "er", "re" };

	for (unsigned l = 0; l < array_count(LISTS); l++) {
		struct tls_context *context = rig_context(&files, LISTS[l]);

		for (unsigned i = 0; i < array_count(VERIFIES); i++) {
			const struct wish *wish = &VERIFIES[i].wish;
			char chosen = VERIFIES[i].chosen;
			struct tls_choice choice;
			const struct reason *reason;
			struct said said;
			struct rig r;

			/* Who can verify both gets the other one of the other list. */
			if (l == 1 && chosen == 'e' && !(wish->suites_12 && !strstr(wish->suites_12, "RSA")))
				chosen = 'r';
			say(&said, *wish);
			reason = tls_context_choose(context, &said.hello, NULL, &choice);
			cr_assert_eq(reason, chosen ? NULL : &TLS_NOTHING_SHARED, "%s, %s", LISTS[l], VERIFIES[i].what);
			if (chosen) {
				cr_assert_eq(LISTS[l][choice.certificate], chosen, "%s, %s", LISTS[l], VERIFIES[i].what);
				cr_assert_eq(choice.ecdsa, chosen == 'e');
			}

			rig_open(&r, context);
			rig_client(&r, wish->version_min ? wish->version_min : TLS1_2_VERSION, wish->suites_12);
			SSL_set_max_proto_version(r.client, wish->version_max ? wish->version_max : TLS1_3_VERSION);
			if (wish->groups)
				SSL_set1_groups_list(r.client, wish->groups);
			if (wish->signatures)
				SSL_set1_sigalgs_list(r.client, wish->signatures);
			cr_assert_eq(rig_shake(&r), chosen != 0, "%s, %s: %s", LISTS[l], VERIFIES[i].what,
				r.tls.failure ? r.tls.failure->name : "stuck");
			if (chosen) {
				EVP_PKEY *key = X509_get0_pubkey(SSL_get0_peer_certificate(r.client));

				cr_assert_eq(EVP_PKEY_get_base_id(key) == EVP_PKEY_EC ? 'e' : 'r', chosen);
			} else {
				cr_assert_eq(r.tls.failure, &TLS_NOTHING_SHARED);
			}
			rig_close(&r);
		}
		tls_context_put(context);
	}
}

/* ---- misdirected requests ---- */

Test(tls_context, a_request_for_another_host_is_misdirected_where_one_of_the_two_asks)
{
	static const char *const REQUESTS[] = { "default.example", "asks.example", "a.plain.example", "too.example",
		"nobody.example", "ASKS.Example", "", "A.PLAIN.EXAMPLE" };
	/* Which host each of them is for: nobody's is the default's. */
	static const int WANTS[] = { 0, 1, 2, 3, 0, 1, 0, 2 };
	struct tls_context *context = hosts_made(false, TLS_1_2, TLS_1_3), *single = rig_context(&files, "e");
	struct tls_choice choice = { 0 };
	char longest[300];

	for (int at = 0; at < 4; at++) {
		choice.host = &context->hosts[at];
		for (unsigned i = 0; i < array_count(REQUESTS); i++) {
			bool want = WANTS[i] != at && (WANTS[i] % 2 || at % 2);
			size_t n = strlen(REQUESTS[i]);
			char *exact = malloc(n ? n : 1);

			memcpy(exact, REQUESTS[i], n);
			cr_assert_eq(tls_context_misdirects(context, &choice, exact, n), want, "at %d for %s", at, REQUESTS[i]);
			free(exact);
		}
	}
	/* Longer than a name can be: it is nobody's too. */
	memset(longest, 'a', sizeof longest);
	choice.host = &context->hosts[1];
	cr_assert(tls_context_misdirects(context, &choice, longest, TLS_NAME_BYTES_MAX));
	cr_assert(tls_context_misdirects(context, &choice, longest, sizeof longest));
	choice.host = &single->hosts[0];
	cr_assert(!tls_context_misdirects(single, &choice, "nobody.example", 14));
	tls_context_put(context);
	tls_context_put(single);
}

/* Routes take "*.plain.example" for any number of labels, a certificate's "*" is one. */
Test(tls_context, what_lies_deeper_below_the_wildcard_of_a_host_is_not_reached_past_that_host)
{
	enum { DEFAULT, WILD, DEEP, PLAIN, HOSTS };
	static const char *const NAMES[HOSTS] = { "default.example", "*.wild.example", "*.deep.wild.example", "plain.example" };
	static const struct {
		const char *name;
		unsigned asking;                 /* which hosts ask, as bits */
		const char *misdirected;         /* for each choice */
	} CASES[] = {
		{ "a.b.wild.example", 1 << WILD, "y-yy" },
		{ "A.B.c.d.Wild.Example", 1 << WILD, "y-yy" },
		{ "a.b.deep.wild.example", 1 << DEEP, "yy-y" },
		{ "a.b.deep.wild.example", 1 << WILD, "-y--" },          /* the nearest is meant */
		{ "a.deep.wild.example", 1 << WILD, "-y--" },
		{ "a.b.wild.example", 1 << PLAIN, "---y" },
		{ "b.plain.example", 1 << PLAIN, "---y" },
		{ "wild.example", 1 << WILD, "-y--" },
		{ "a.b.xwild.example", 1 << WILD, "-y--" },
		{ "a.b.wild.example.org", 1 << WILD, "-y--" },
		/* By SNI it is the default's, which asks. */
		{ "a.b.wild.example", 1 << DEFAULT, "-yyy" },
		{ "a.b.wild.example", 1 << DEFAULT | 1 << WILD, "yyyy" },
		{ "[::1]", 1 << WILD, "-y--" },
		{ "", 1 << WILD, "-y--" },
		/* No names, but routes may match them. */
		{ "a..wild.example", 1 << WILD, "yyyy" },
		{ "..wild.example", 1 << WILD, "yyyy" },
		{ ".wild.example", 1 << WILD, "yyyy" },
		{ "a.b.wild.example.", 1 << WILD, "yyyy" },
		{ "a.wild.example..", 1 << WILD, "yyyy" },
		{ ".", 1 << WILD, "yyyy" },
		{ "a b.wild.example", 1 << WILD, "yyyy" },
		{ "\xe4.b.wild.example", 1 << WILD, "yyyy" },
		{ "a..wild.example", 1 << DEFAULT, "-yyy" },
		{ "a..wild.example", 0, "----" },
	};
	const struct tls_certificate_files one = { files.ec, files.ec_key };

	for (unsigned i = 0; i < array_count(CASES); i++) {
		struct tls_host_files hosts[HOSTS];
		const struct tls_listener_files listener = { .address = "x", .hosts = hosts, .host_count = HOSTS, .version_min = TLS_1_2,
			.version_max = TLS_1_3 };
		size_t n = strlen(CASES[i].name);
		char *exact = malloc(n ? n : 1), longest[300];
		struct tls_context *context;
		struct tls_choice choice = { 0 };

		for (unsigned h = 0; h < HOSTS; h++)
			hosts[h] = (struct tls_host_files){ .names = &NAMES[h], .name_count = 1, .certificates = &one, .certificate_count = 1,
				.client = { .ca = CASES[i].asking & 1u << h ? files.ec : NULL } };
		context = rig_context_listening(&listener, &fault);
		cr_assert(context, "%s", fault.sentence);
		memcpy(exact, CASES[i].name, n);
		for (size_t l = 0; l < sizeof longest; l++)
			longest[l] = l % 2 ? '.' : 'a';
		memcpy(longest + sizeof longest - 14, "x.wild.example", 14);
		for (unsigned at = 0; at < HOSTS; at++) {
			choice.host = &context->hosts[at];
			cr_expect_eq(tls_context_misdirects(context, &choice, exact, n), CASES[i].misdirected[at] == 'y', "%u: %s at %s", i,
				CASES[i].name, NAMES[at]);
			if (CASES[i].asking == 1 << WILD)
				cr_expect(tls_context_misdirects(context, &choice, longest, sizeof longest), "at %s", NAMES[at]);
		}
		free(exact);
		tls_context_put(context);
	}
}

/* The only host asks: whoever is there was asked. */
Test(tls_context, a_lone_host_that_asks_misdirects_nobody)
{
	const struct tls_certificate_files one = { files.ec, files.ec_key };
	const struct tls_host_files host = { .certificates = &one, .certificate_count = 1, .client = { .ca = files.ec, .required = true } };
	const struct tls_listener_files listener = { .address = "x", .hosts = &host, .host_count = 1, .tickets = true,
		.version_min = TLS_1_2, .version_max = TLS_1_3 };
	struct tls_context *context = rig_context_listening(&listener, &fault);
	struct tls_choice choice = { .host = &context->hosts[0] };

	cr_assert(!tls_context_misdirects(context, &choice, "any.example", 11));
	cr_assert(tls_host_asks(&context->hosts[0]));
	cr_assert_null(tls_host_tickets(&context->hosts[0]));    /* a ticket would carry its owner past the question */
	tls_context_put(context);
}
