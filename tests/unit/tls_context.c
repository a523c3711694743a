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

Test(tls_context, a_file_without_end_is_refused)
{
	char sentence[128];

	snprintf(sentence, sizeof sentence, "is longer than the %u bytes that are read, or grew meanwhile", TLS_FILE_BYTES_MAX);
	refused("/dev/zero", files.ec_key, "/dev/zero", sentence);
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
