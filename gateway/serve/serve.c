/* See gateway/serve/serve.h. */
#include "gateway/serve/serve.h"
#include "gateway/verdict.h"

static void later_begin(struct exchange *x)
{
	exchange_refuse(x, &TARGET_NOT_BUILT);
}

/* A route may name these already, so that one configuration serves this version and the next. */
static const struct serve SERVE_LATER = { .name = "later", .begin = later_begin };

const struct serve *serve_of(enum config_target target)
{
	switch (target) {
	case CONFIG_PROXY:
		return &SERVE_PROXY;
	case CONFIG_COUNT:
		return &SERVE_COUNT;
	case CONFIG_ECHO:
		return &SERVE_ECHO;
	case CONFIG_LIVE:
	case CONFIG_PUSH:
		return &SERVE_LATER;
	}
	return &SERVE_LATER;
}
