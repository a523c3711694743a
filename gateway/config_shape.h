/* gateway/config_shape.h — the shape of a configuration file, and where each thing stands in it.
 *
 * The *written* structs hold the file as it was written: every value a string, NULL where nothing was written. libcyaml
 * fills them by CONFIG_SCHEMA. The *places* are a tree of the same shape that says for each key and value its line and
 * column; config_shape_read makes it by the same schema, and finds what does not fit the shape on the way.
 *
 * Owner: the caller owns both (config_written_free, config_places_fini).   Thread: any.
 * Units: lines and columns from 1; columns in characters.   Errors: faults.   Limits: those of config.h. */
#ifndef GATEWAY_CONFIG_SHAPE_H
#define GATEWAY_CONFIG_SHAPE_H

#include "gateway/config.h"

#include <cyaml/cyaml.h>

struct written_log {
	char *access, *level, *paths;
};

struct written_count {
	char *durability, *new_sites, *segment;
};

struct written_limits {
#define LIMIT_MEMBER(name, kind, default_value, least, most) char *name;
	CONFIG_LIMITS(LIMIT_MEMBER)
#undef LIMIT_MEMBER
};

struct written_timeouts {
#define TIMEOUT_MEMBER(name, default_ms, least, most) char *name;
	CONFIG_TIMEOUTS(TIMEOUT_MEMBER)
#undef TIMEOUT_MEMBER
};

struct written_certificate {
	char *certificate, *key;
};

struct written_client_certificates {
	char *ca, *crl, *depth, *required;
};

struct written_host {
	char **names;
	unsigned names_count;
	struct written_certificate *certificates;
	unsigned certificates_count;
	char **alpn;
	unsigned alpn_count;
	struct written_client_certificates *client_certificates;
};

struct written_tls {
	struct written_certificate *certificates;
	unsigned certificates_count;
	struct written_host *hosts;
	unsigned hosts_count;
	char **alpn;
	unsigned alpn_count;
	char **versions;
	unsigned versions_count;
	char *strict_sni, *tickets;
	struct written_client_certificates *client_certificates;
};

struct written_listener {
	char *address;
	struct written_tls *tls;
};

struct written_health {
	char *path, *every;
};

struct written_upstream {
	char *name, *balance, *keep_alive;
	char **servers;
	unsigned servers_count;
	struct written_health *health;
};

struct written_route {
	char *host, *path, *prefix, *serve, *proxy, *heartbeat, *idle_reminder, *body_bytes_max;
	char **client;
	unsigned client_count;
	char *deflate, *deflate_takeover, *deflate_window_bits, *deflate_bytes_min;
	char **protocols, **origins;
	unsigned protocols_count, origins_count;
};

struct written {
	char *cores, *admin, *state;
	struct written_log *log;
	struct written_count *count;
	struct written_limits *limits;
	struct written_timeouts *timeouts;
	struct written_listener *listeners;
	unsigned listeners_count;
	struct written_upstream *upstreams;
	unsigned upstreams_count;
	struct written_route *routes;
	unsigned routes_count;
};

/* A value, or a whole mapping or list. Place 0 is the file. */
struct config_place {
	unsigned line, column;         /* of the value */
	unsigned key_line, key_column; /* of its key; of the value itself where there is no key */
	const char *key;               /* a constant of the schema; NULL for entries of a list */
	unsigned first, last, next;    /* children and the next one of the same parent; 0 = none */
	bool shaky; /* a mapping in which something was not understood: what it lacks is not complained of */
};

struct config_places {
	struct config_place *list;
	unsigned count, room;
};

/* Reads the text once with libyaml. Returns true when libcyaml may read it too, though there may be faults already:
 * unknown keys are reported here and passed over there. `places` is valid in any case, and is given to fini. */
bool config_shape_read(const char *text, size_t length, struct config_places *places,
	struct config_faults *faults);
void config_places_fini(struct config_places *places);

/* Fills the written structs with libcyaml; NULL with a fault, which is unexpected after config_shape_read. An empty
 * document is refused there already. */
struct written *config_written_load(const char *text, size_t length, struct config_faults *faults);
void config_written_free(struct written *written);

/* The place of a key of a mapping, or of the first entry of a list; 0 when it is not written. */
unsigned config_place_key(const struct config_places *places, unsigned mapping, const char *key);
unsigned config_place_first(const struct config_places *places, unsigned list);

#endif
