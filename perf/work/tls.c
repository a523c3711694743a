/* perf/work/tls.c — records of TLS 1.3 with AES-128-GCM, a key update, a ClientHello. */
#include "perf/work/work.h"
#include "tls/client_hello.h"
#include "tls/record.h"
#include "tls/thread.h"

#include <stdlib.h>
#include <string.h>

static struct tls_thread *thread;
static struct tls_half sealing, opening;
static uint8_t content[TLS_CONTENT_BYTES_MAX];
static uint8_t opened_content[TLS_RECORD_BYTES_MAX];
static uint8_t record[TLS_RECORD_BYTES_MAX];
static uint32_t record_bytes;

/* Of a browser: versions, groups, suites and extensions with GREASE among them (RFC 8701), a name, two protocols. */
static uint8_t hello[1024];
static size_t hello_bytes;

static void prepare(void)
{
	static const uint8_t SECRET[TLS_SECRET_BYTES_MAX] = { 3, 1, 4, 1, 5 };
	const struct tls_suite *suite = tls_suite_find(0x1301);
	struct tls_fault fault;

	thread = calloc(1, sizeof *thread);
	check(thread && suite);
	tls_process_init();
	check(tls_thread_init(thread, &fault));
	tls_half_init_secret(&sealing, &thread->aeads, suite, SECRET, true);
	tls_half_init_secret(&opening, &thread->aeads, suite, SECRET, false);
	for (unsigned i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)(i * 7);
}

static void prepare_open_1k(void)
{
	prepare();
	record_bytes = tls_seal(&sealing, TLS_APPLICATION_DATA, content, 1024, record);
}

static void prepare_open_16k(void)
{
	prepare();
	record_bytes = tls_seal(&sealing, TLS_APPLICATION_DATA, content, TLS_CONTENT_BYTES_MAX, record);
}

static void seal_1k_unit(void)
{
	check(tls_seal(&sealing, TLS_APPLICATION_DATA, content, 1024, record) > 1024);
}

static void seal_16k_unit(void)
{
	check(tls_seal(&sealing, TLS_APPLICATION_DATA, content, TLS_CONTENT_BYTES_MAX, record) > TLS_CONTENT_BYTES_MAX);
}

/* As the engine does where a record lies in pieces; the record stays as it is, and is opened again as the first one. */
static void open_unit(void)
{
	struct tls_opening piece;
	struct tls_opened opened;
	uint32_t bytes, head = tls_head_bytes(&opening);

	opening.sequence = 0;
	check(!tls_header_check(&opening, record, &bytes) && bytes == record_bytes);
	tls_open_begin(&piece, &opening, record, bytes, opened_content);
	tls_open_add(&piece, record + head, bytes - head - AEAD_TAG_BYTES);
	check(!tls_open_end(&piece, record + bytes - AEAD_TAG_BYTES, &opened) && opened.type == TLS_APPLICATION_DATA);
}

static void update_unit(void)
{
	tls_half_update(&sealing);
}

static void put(unsigned width, size_t number)
{
	while (width-- > 0)
		hello[hello_bytes++] = (uint8_t)(number >> 8 * width);
}

static void put_extension(unsigned type, const void *bytes, size_t n)
{
	put(2, type);
	put(2, n);
	memcpy(hello + hello_bytes, bytes, n);
	hello_bytes += n;
}
#define EXTENSION(type, literal) put_extension((type), (literal), sizeof(literal) - 1)

static void prepare_hello(void)
{
	static const uint16_t SUITES[] = { 0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
		0x009d, 0x002f, 0x0035 };
	size_t extensions_at;
	uint8_t shares[2 + 5 + 4 + 32] = { 0, 41, 0x3a, 0x3a, 0, 1, 0, 0, 0x1d, 0, 32, 9 };

	put(1, 1);
	put(3, 0);
	put(2, 0x0303);
	hello_bytes += 32;
	put(1, 32);
	hello_bytes += 32;
	put(2, sizeof SUITES);
	for (unsigned i = 0; i < array_count(SUITES); i++)
		put(2, SUITES[i]);
	put(2, 0x0100);
	extensions_at = hello_bytes;
	put(2, 0);
	EXTENSION(0x4a4a, "");
	EXTENSION(0, "\0\x12\0\0\x0f" "edc.example.org");
	EXTENSION(23, "");
	EXTENSION(0xff01, "\0");
	EXTENSION(10, "\0\x0a\x5a\x5a\x11\xec\0\x1d\0\x17\0\x18");
	EXTENSION(11, "\x01\0");
	EXTENSION(35, "");
	EXTENSION(16, "\0\x0c\x02h2\x08http/1.1");
	EXTENSION(5, "\x01\0\0\0\0");
	EXTENSION(13, "\0\x10\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01");
	EXTENSION(18, "");
	put_extension(51, shares, sizeof shares);
	EXTENSION(45, "\x01\x01");
	EXTENSION(43, "\x06\x6a\x6a\x03\x04\x03\x03");
	EXTENSION(27, "\x02\0\x02");
	EXTENSION(0x7a7a, "\0");
	hello[extensions_at] = (uint8_t)((hello_bytes - extensions_at - 2) >> 8);
	hello[extensions_at + 1] = (uint8_t)(hello_bytes - extensions_at - 2);
	hello[2] = (uint8_t)((hello_bytes - 4) >> 8);
	hello[3] = (uint8_t)(hello_bytes - 4);
}

static void hello_unit(void)
{
	struct tls_client_hello read;

	check(!tls_client_hello_parse(hello, hello_bytes, &read) && !tls_client_hello_choose(&read, true, true));
	check(read.version == TLS_1_3 && read.share_x25519 && read.name_bytes == 15);
}

static const struct work works[] = {
	{ "tls-seal-1k", 2000, prepare, seal_1k_unit },
	{ "tls-seal-16k", 300, prepare, seal_16k_unit },
	{ "tls-open-1k", 2000, prepare_open_1k, open_unit },
	{ "tls-open-16k", 300, prepare_open_16k, open_unit },
	{ "tls-key-update", 500, prepare, update_unit },
	{ "tls-client-hello", 2000, prepare_hello, hello_unit },
};

const struct work_list WORK_TLS = { works, array_count(works) };
