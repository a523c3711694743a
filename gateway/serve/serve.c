/* See gateway/serve/serve.h. */
#include "gateway/serve/serve.h"

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
		return &SERVE_LIVE;
	case CONFIG_PUSH:
		return &SERVE_PUSH;
	}
	check(!"a target of the configuration");
	return NULL;
}
