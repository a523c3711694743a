/* tls/material.h — the files of a listener: read and checked once, then shared by all cores and never changed.
 *
 * What a certificate file says is the same for all cores, but what mbedTLS and libcrypto make of it is not to be shared (an RSA
 * key is blinded anew in each operation, PSA's keys are a thread's own). So the bytes are kept here, and each core makes its
 * own tls_context of them. New files are a new material; the old one goes with the last context that was made of it.
 *
 * Words:  host         what a client reaches by a name (SNI): certificates, protocols, whom it asks for a certificate
 *         default      host 0: for clients that ask for no name, or for one that no host has
 *         certificate  a PEM file: the server's own first, then the chain up to, without, the root
 *         key          a PEM file, not encrypted, that belongs to it
 * A host may have certificates of several kinds; each client gets the first that it can verify. List ECDSA first.
 *
 * Owner: reference counted, from any thread; each tls_material_read or _take has its _put.
 * Thread: read by one that has a struct tls_thread; then any.   Units: bytes, seconds.   Errors: a sentence in struct tls_fault.
 * Limits: keys EC P-256 and RSA 2048 to 4096; TLS_FILE_BYTES_MAX a file; TLS_PROTOCOLS_MAX protocols.
 * Source: RFC 8446 §4.4.2, RFC 6066 §3, RFC 6125 §6.4.3 (names), RFC 7301. */
#ifndef TLS_MATERIAL_H
#define TLS_MATERIAL_H

#include "tls/fault.h"
#include "tls/suite.h"
#include "tls/thread.h"

#include <stdatomic.h>

#define TLS_FILE_BYTES_MAX (1024u * 1024u)
#define TLS_PROTOCOLS_MAX 8u
#define TLS_NAME_BYTES_MAX 253u
#define TLS_BINDING_BYTES 32u

/* ---- what is asked for ---- */

struct tls_certificate_files {
	const char *certificate;
	const char *key;
};

struct tls_client_files {
	const char *ca;                  /* NULL: clients are not asked for a certificate */
	const char *crl;                 /* or NULL */
	unsigned depth;                  /* certificates between the client's and the ca's, at most */
	bool required;
};

struct tls_host_files {
	const char *const *names;        /* lower case; "*.example.org" stands for one label */
	unsigned name_count;             /* 0: the DNS names in the certificates */
	const struct tls_certificate_files *certificates;
	unsigned certificate_count;
	const char *const *alpn;         /* in our order of preference, ended by NULL; NULL: no ALPN, whatever the client offers */
	struct tls_client_files client;
};

struct tls_listener_files {
	const char *address;             /* as configured: tickets of one listener are of no use at another */
	const struct tls_host_files *hosts; /* the first is the default */
	unsigned host_count;
	bool strict;                     /* a client that asks for no name, or for one that nobody has, is refused */
	bool tickets;
	enum tls_version version_min, version_max;
	uint32_t ticket_lifetime_s;
};

/* ---- what came of it ---- */

/* A file, with a zero behind it that n counts, as mbedTLS wants of PEM. */
struct tls_bytes {
	uint8_t *bytes;
	size_t n;
	size_t size;                     /* of the memory, all of which may have held a key */
	bool open_to_all;                /* whoever is on this machine may read the file */
};

struct tls_material_certificate {
	struct tls_bytes certificate, key;
	bool ecdsa;                      /* or RSA */
};

struct tls_material_host {
	struct tls_material_certificate *certificates;
	unsigned certificate_count;
	char *protocol_bytes;            /* all names in one piece */
	const char *protocols[TLS_PROTOCOLS_MAX + 1];
	struct tls_bytes ca, crl;        /* n 0: none */
	unsigned client_depth;
	bool client_asked, client_required;
	uint8_t binding[TLS_BINDING_BYTES]; /* what a ticket is bound to: this host of this listener, with its protocols */
};

struct tls_material_name {
	char *name;                      /* with a wildcard: without its "*" */
	unsigned host;
	bool wildcard;
	bool written;                    /* in the configuration; otherwise in a certificate */
};

struct tls_material {
	uint32_t magic;
	_Atomic unsigned references;
	struct tls_material_host *hosts;
	unsigned host_count;
	struct tls_material_name *names; /* sorted */
	unsigned name_count;
	bool strict, tickets;
	enum tls_version version_min, version_max;
	uint32_t ticket_lifetime_s;
};

/* NULL: fault->sentence tells why. Reads files and the system's clock, so it is for starting and reloading. */
struct tls_material *tls_material_read(struct tls_thread *, const struct tls_listener_files *, struct tls_fault *);
struct tls_material *tls_material_take(struct tls_material *);
void tls_material_put(struct tls_material *);            /* zeroises with the last; NULL is fine */

/* The host that has this name (lower case); NULL: none has. An exact name goes before a wildcard. */
const struct tls_material_host *tls_material_find(const struct tls_material *, const char *name, size_t n);
/* The host with the nearest wildcard that the name (lower case) lies below, by one label or by more; NULL: there is none. */
const struct tls_material_host *tls_material_find_above(const struct tls_material *, const char *name, size_t n);

#endif
