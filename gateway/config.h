/* gateway/config.h — the configuration: a validated tree that never changes.
 *
 *   postern.yaml ─▶ config_shape (libyaml: every key known? where does it stand?) ─▶ libcyaml (text into structs)
 *                ─▶ config_parse (words into numbers, names into pointers, every fault with its place) ─▶ struct config
 *
 * Words: a *listener* is an address on which connections arrive; an *upstream* is a named group of servers behind us;
 * a *route* says which requests go to which *target*. The first route that matches wins. A *host* is what a listener with TLS
 * is to clients that ask for certain *names*; the rest meet its *default host*.
 *
 * Owner: the caller of config_load owns the tree and gives it back with config_free; the tree is one block of memory, and
 * its pointers stay inside it or point at constants.
 * Thread: any after loading (it is never written again); several loads may run at once.
 * Units: durations in milliseconds (_ms), sizes in bytes (_bytes_max), counts plain.
 * Errors: faults (config_fault.h); a tree is returned only if there is no error, warnings may stand beside it.
 * Limits: CONFIG_*_MAX below; each is refused by name and place. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "gateway/config_fault.h"
#include "gateway/config_value.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_TEXT_BYTES_MAX   (1u << 20)
#define CONFIG_CORES_MAX        256
#define CONFIG_LISTENERS_MAX    256
#define CONFIG_CERTIFICATES_MAX 64 /* of one host */
#define CONFIG_HOSTS_MAX        1024 /* in one listener, beside the default one */
#define CONFIG_NAMES_MAX        64 /* of one host */
#define CONFIG_CLIENTS_MAX      64 /* conditions of one route */
#define CONFIG_PROTOCOLS_MAX    64 /* subprotocols of one route, and origins */
#define CONFIG_DEPTH_MAX        8  /* intermediate certificates of a client */
#define CONFIG_UPSTREAMS_MAX    1024
#define CONFIG_SERVERS_MAX      256 /* in one upstream */
#define CONFIG_ROUTES_MAX       4096
#define CONFIG_WORD_BYTES_MAX   1024 /* a name, a path, a host */
#define CONFIG_DURATION_MS_MAX  (24u * 3600 * 1000)
#define CONFIG_TICKET_MS_MAX    (7u * 24 * 3600 * 1000) /* RFC 8446 §4.6.1: no more than 604800 seconds */
#define CONFIG_WINDOW_MS_MAX    (30u * 24 * 3600 * 1000) /* a key is remembered, a place reserved */
#define CONFIG_SIZE_BYTES_MAX   (UINT64_C(1) << 40)
#define CONFIG_UNLIMITED        UINT64_MAX /* `unlimited`, where a limit may be lifted at all */

/* clang-format off */

/* The section `limits`: name, kind, default, least, most. Every one has a refusal that names it. */
#define CONFIG_LIMITS(limit) \
	limit(connections_max, COUNT, 10000, 1, 1000000)              /* per core; clients and upstreams together */ \
	limit(head_bytes_max, SIZE, 16 << 10, 1 << 10, 1 << 20)       /* request line and fields of a request */ \
	limit(uri_bytes_max, SIZE, 8 << 10, 64, 1 << 20)              /* the request target alone; at most the head */ \
	limit(fields_max, COUNT, 100, 8, 1000)                        /* fields of one head, trailers likewise */ \
	limit(body_bytes_max, BODY, 64 << 20, 1, CONFIG_SIZE_BYTES_MAX)   /* of a request; or `unlimited`; a route may differ */ \
	limit(memory_bytes_max, SIZE, 1 << 30, 1 << 20, CONFIG_SIZE_BYTES_MAX) /* per core, for bytes on their way */ \
	limit(websocket_message_bytes_max, SIZE, 1 << 20, 125, 1 << 30) \
	limit(websocket_frame_bytes_max, SIZE, 1 << 30, 125, 1 << 30)   /* what bounds a message bounds its frames */ \
	limit(websocket_small_fragments_max, COUNT, 4096, 1, 1 << 24) /* of one message, below 64 bytes each */ \
	limit(deflate_bytes_max, SIZE, 256 << 20, 0, CONFIG_SIZE_BYTES_MAX) /* per core, for what compresses; above, sockets go without */ \
	limit(push_bytes_max, SIZE, 64 << 10, 128, 16 << 20)          /* of one push, as JSON */ \
	limit(live_message_bytes_max, SIZE, 4 << 10, 125, 1 << 20)    /* of a message of a patient's client */ \
	limit(live_queue_bytes_max, SIZE, 256 << 10, 1 << 10, 1 << 30) /* notifications that wait for one socket's reader, */ \
	limit(live_queue_count_max, COUNT, 64, 1, 65536)              /* and how many; above either he is disconnected */ \
	limit(tls_handshakes_max, COUNT, 1024, 1, 100000)             /* per core; those whose memory exists at once */ \
	limit(tls_handshakes_queued_max, COUNT, 4096, 0, 1000000)     /* per core; those that wait for their turn */ \
	limit(changes_max, COUNT, 16384, 1, 1000000)                  /* per core; of counts, those under way */ \
	limit(sites_max, COUNT, 65536, 1, 1 << 24)                    /* that are counted */ \
	limit(idempotency_keys_max, COUNT, 100000, 1, 10000000)       /* remembered at once */ \
	limit(reservations_max, COUNT, 10000, 1, 1000000)             /* open at once */

/* The section `timeouts`: name, default, least, most. */
#define CONFIG_TIMEOUTS(timeout) \
	timeout(tls_handshake, 10000, 1, CONFIG_DURATION_MS_MAX)       /* from accept to the handshake's end */ \
	timeout(request_head, 10000, 1, CONFIG_DURATION_MS_MAX)        /* from its first byte to its last */ \
	timeout(request_body, 30000, 1, CONFIG_DURATION_MS_MAX)        /* between two arrivals of bytes */ \
	timeout(keep_alive, 75000, 1, CONFIG_DURATION_MS_MAX)          /* an idle client connection between requests */ \
	timeout(send, 30000, 1, CONFIG_DURATION_MS_MAX)                /* a write that makes no progress */ \
	timeout(upstream_connect, 5000, 1, CONFIG_DURATION_MS_MAX)     \
	timeout(upstream_response, 60000, 1, CONFIG_DURATION_MS_MAX)   /* from the request's end to the answer's first byte */ \
	timeout(upstream_body, 60000, 1, CONFIG_DURATION_MS_MAX)       /* between two arrivals of bytes of an answer */ \
	timeout(upstream_keep_alive, 60000, 1, CONFIG_DURATION_MS_MAX) /* an idle connection kept for later */ \
	timeout(websocket_idle, 60000, 1, CONFIG_DURATION_MS_MAX)      /* nothing received on an echo or a proxied WebSocket */ \
	timeout(drain, 30000, 1, CONFIG_DURATION_MS_MAX)               /* from the wish to stop to the end of patience */ \
	timeout(close, 2000, 1, CONFIG_DURATION_MS_MAX)                /* for goodbyes: close frames, close_notify, the last bytes */ \
	timeout(ticket_lifetime, 12u * 3600 * 1000, 60000, CONFIG_TICKET_MS_MAX) /* how long a TLS session may be resumed */ \
	timeout(idempotency_window, 24u * 3600 * 1000, 1000, CONFIG_WINDOW_MS_MAX) /* how long an Idempotency-Key is remembered */ \
	timeout(reservation, 30u * 60 * 1000, 1, CONFIG_WINDOW_MS_MAX) /* how long a place is kept, where the request does not say */

/* clang-format on */

struct config_limits {
#define LIMIT_MEMBER(name, kind, default_value, least, most) uint64_t name;
	CONFIG_LIMITS(LIMIT_MEMBER)
#undef LIMIT_MEMBER
};

struct config_timeouts {
#define TIMEOUT_MEMBER(name, default_ms, least, most) uint32_t name##_ms;
	CONFIG_TIMEOUTS(TIMEOUT_MEMBER)
#undef TIMEOUT_MEMBER
};

enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };

/* What the access log tells of a path. It may name a patient or carry a token, so by default it is the route's alone. */
enum config_log_paths { CONFIG_LOG_ROUTE, CONFIG_LOG_FULL };

struct config_log {
	const char *access; /* an absolute path, "-" for standard output, NULL for none */
	enum config_log_level level;
	enum config_log_paths paths;
};

/* When a change of a count is answered: when its record is on the disk; when it is written, with a sync each second; or when it is
 * written, without one. What the last two may lose is stated in docs/openapi.yaml. */
enum config_durability { CONFIG_DURABILITY_ALWAYS, CONFIG_DURABILITY_EVERYSEC, CONFIG_DURABILITY_MEMORY };

struct config_count {
	enum config_durability durability;
	bool new_sites;         /* a site begins with the first change of it; false: with its rules alone (PUT) */
	uint64_t segment_bytes; /* a file of the journal is followed by the next at about this size */
};

struct config_certificate {
	const char *certificate; /* absolute paths; both were readable when the file was loaded */
	const char *key;
};

/* Whether clients show a certificate of their own, and who may have issued it. */
struct config_client_certificates {
	const char *ca;  /* absolute paths, as above; NULL: clients are not asked, and the rest means nothing */
	const char *crl; /* NULL: none is looked at */
	unsigned depth;  /* intermediate certificates between the client's and the ca's, at most */
	bool required;   /* false: a client without one is let in, and routes decide */
};

/* What a client gets that asks for one of these names (SNI). What the file leaves out is the listener's here already. */
struct config_host {
	const char **names;  /* lower case; "*.example.org" is exactly one label in front of example.org */
	unsigned name_count; /* 0: the DNS names in the certificates */
	struct config_certificate *certificates; /* at least one */
	unsigned certificate_count;
	const char **alpn;
	unsigned alpn_count;
	struct config_client_certificates client_certificates;
	unsigned line; /* in the file */
};

enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

/* The default host, for clients that ask for no name or for one that no host has; the hosts; and what is common to all. */
struct config_tls {
	struct config_certificate *certificates;
	unsigned certificate_count; /* 0: no TLS on this listener, and the rest means nothing */
	const char **alpn;          /* in order of preference */
	unsigned alpn_count;
	struct config_client_certificates client_certificates;
	struct config_host *hosts;
	unsigned host_count;
	bool strict_sni; /* a name that nobody has, or none at all, is refused */
	enum config_tls_version version_min, version_max;
	bool tickets; /* sessions may be resumed; never where client certificates are asked for */
};

struct config_listener {
	struct config_address address;
	struct config_tls tls;
};

enum config_balance { CONFIG_ROUND_ROBIN, CONFIG_LEAST, CONFIG_RANDOM_TWO, CONFIG_HASH };

struct config_health {
	const char *path; /* NULL: the servers are not asked */
	uint32_t every_ms;
};

struct config_upstream {
	const char *name;
	enum config_balance balance;
	struct config_address *servers; /* at least one */
	unsigned server_count;
	struct config_health health;
	uint32_t keep_alive_max; /* idle connections kept, per core; 0 = none */
};

enum config_match {
	CONFIG_MATCH_ANY,  /* every path of the host */
	CONFIG_MATCH_PATH, /* this path alone */
	CONFIG_MATCH_PREFIX, /* this path and what lies below: /sites is /sites and /sites/7, and is not /sitemap or /sites7 */
};

enum config_target { CONFIG_PROXY, CONFIG_COUNT, CONFIG_LIVE, CONFIG_PUSH, CONFIG_ECHO };

/* What a verified client certificate must hold for a route to match. */
enum config_client_kind {
	CONFIG_CLIENT_ANY,     /* "*": whatever it holds */
	CONFIG_CLIENT_DNS,     /* a DNS name, or "*." and one: exactly one label in its place */
	CONFIG_CLIENT_EMAIL,   /* an e-mail address */
	CONFIG_CLIENT_URI,     /* a URI */
	CONFIG_CLIENT_SUBJECT, /* the whole subject, as tls/identity.h prints it */
};

struct config_client {
	enum config_client_kind kind;
	const char *text; /* DNS names and the domains of e-mail addresses in lower case; "*" of CONFIG_CLIENT_ANY */
};

/* Who may open a WebSocket from a browser. */
enum config_origins {
	CONFIG_ORIGINS_UNSAID, /* the target's own rule */
	CONFIG_ORIGINS_LISTED, /* those of the list, and none else; `same` stands for pages of the host that was asked */
	CONFIG_ORIGINS_ANY,
};

/* What a WebSocket that ends here is offered; CONFIG_ECHO, CONFIG_LIVE and CONFIG_COUNT. */
struct config_websocket {
	const char **protocols;  /* subprotocols */
	unsigned protocol_count;
	const char **origin_list; /* as browsers write them, lower case */
	unsigned origin_count;
	enum config_origins origins;
	bool origin_same;        /* `same` is in the list */
	bool deflate;            /* permessage-deflate, and then: */
	bool deflate_takeover;   /* windows are kept between messages */
	uint64_t deflate_window_bits;
	uint64_t deflate_bytes_min; /* of a message that is packed */
};

struct config_route {
	unsigned
		line; /* in the file, so that logs and dumps can name the route as its author does */
	const char *
		host; /* lower case, no port; "*.example.org" is every name below example.org; NULL = every host */
	enum config_match match;
	const char *path; /* "" with CONFIG_MATCH_ANY */
	enum config_target target;
	const struct config_upstream *upstream; /* CONFIG_PROXY alone, else NULL */
	uint64_t body_bytes_max;   /* the route's own, or that of the limits; or CONFIG_UNLIMITED */
	uint32_t heartbeat_ms;     /* CONFIG_LIVE and CONFIG_COUNT */
	uint32_t idle_reminder_ms; /* CONFIG_LIVE alone; 0 = off */
	struct config_websocket websocket;
	struct config_client *clients; /* one of them must be met */
	unsigned client_count; /* 0: any client, with a certificate or without */
};

struct config {
	uint32_t magic;
	unsigned core_count; /* 0: auto, every core that this process may run on */
	const char *admin;   /* path of the admin socket, or NULL */
	struct config_address
		admin_address; /* the same, ready for bind; length 0 when there is none */
	const char *state;     /* directory */
	struct config_log log;
	struct config_count count;
	struct config_limits limits;
	struct config_timeouts timeouts;
	struct config_listener *listeners;
	unsigned listener_count;
	struct config_upstream *upstreams;
	unsigned upstream_count;
	struct config_route *routes;
	unsigned route_count;
};

#define CONFIG_MAGIC 0xc0f16u

/* Words of the enums, as they are written in the file; NULL beyond the last. */
const char *config_log_paths_word(unsigned paths);
const char *config_log_level_word(unsigned level);
const char *config_balance_word(unsigned balance);
const char *config_durability_word(unsigned durability);
const char *config_tls_version_word(unsigned version); /* "1.2" */
const char *config_bool_word(unsigned yes);
const char *config_target_word(
	unsigned target); /* "proxy" is CONFIG_PROXY's; the rest are words of `serve` */

/* Sets the limits, timeouts and single values of the file that says nothing; no listeners, upstreams or routes. */
void config_default(struct config *config);

/* Reads a file. `faults` was initialised and is in the order of the file afterwards. NULL when there is any error. */
struct config *config_load(const char *path, struct config_faults *faults);

/* NULL is harmless. */
void config_free(struct config *config);

/* The effective configuration as YAML, defaults included. Loading what was printed gives the same tree. */
void config_print(const struct config *config, FILE *out);

#endif
