/* See gateway/start.h. */
#include "gateway/start.h"
#include "gateway/log.h"
#include "ring/kernel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DESCRIPTORS_RESERVED 64u         /* standard streams, rings, listeners, logs */
#define DESCRIPTORS_CORE 16u
#define CONNECTIONS_MIN 64u              /* a core, below which it is no use to start */
#define BACKLOG 4096

static bool refuse(const char *format, const char *what, const char *why)
{
	log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, format, what, why);
	return false;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------------------ */

/* Each health question has a connection of its own. */
static uint64_t checked_servers(const struct config *config)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].health.path)
			count += config->upstreams[i].server_count;
	return count;
}

bool start_descriptors(struct config *config, unsigned cores)
{
	struct rlimit limit;
	uint64_t fit, reserved = DESCRIPTORS_RESERVED + (uint64_t)cores * (DESCRIPTORS_CORE + checked_servers(config));

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return refuse("%s: %s", "the limit of descriptors cannot be read", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	/* A proxied connection has two ends. */
	fit = limit.rlim_cur > reserved ? (limit.rlim_cur - reserved) / 2 / cores : 0;
	if (fit < CONNECTIONS_MIN) {
		log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "the limit of %llu descriptors leaves room for %llu connections on each of %u "
		        "cores, and fewer than %u are no use; raise it with ulimit -n or LimitNOFILE=",
		        (unsigned long long)limit.rlim_cur, (unsigned long long)fit, cores, CONNECTIONS_MIN);
		return false;
	}
	if (fit < config->limits.connections_max) {
		log_say(config->log.level, CONFIG_LOG_WARN, "limits.connections_max is %llu a core, but %llu descriptors carry %llu "
		        "proxied connections on each of %u cores; going on with that; ulimit -n or LimitNOFILE= raises it",
		        (unsigned long long)config->limits.connections_max, (unsigned long long)limit.rlim_cur,
		        (unsigned long long)fit, cores);
		config->limits.connections_max = fit;
	}
	return true;
}

/* ---- cores -------------------------------------------------------------------------------------------------------------------- */

void start_cpus(struct start_cpus *cpus)
{
	cpu_set_t set;

	cpus->count = 0;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		for (int cpu = 0; cpu < CPU_SETSIZE && cpus->count < array_count(cpus->ids); cpu++)
			if (CPU_ISSET(cpu, &set))
				cpus->ids[cpus->count++] = cpu;
}

unsigned start_core_count(const struct config *config)
{
	struct start_cpus cpus;

	start_cpus(&cpus);
	if (config->core_count > 0)
		return config->core_count;
	if (cpus.count == 0)
		return 1;
	return cpus.count < CONFIG_CORES_MAX ? cpus.count : CONFIG_CORES_MAX;
}

void start_pin(const struct start_cpus *cpus, unsigned index)
{
	cpu_set_t set;

	if (cpus->count == 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpus->ids[index % cpus->count], &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* Weak: there only when the program is linked with jemalloc. */
int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

/* What a thread keeps of each size without asking its arena. By itself jemalloc keeps 20 of an exchange's size, and as few of the buffers of a
 * TLS handshake; where more requests are under way at once, each began and ended with a walk into the arena, and a handshake's pages
 * went back to the system in between. jemalloc looks for this name; it halves what a thread has not used for a while. */
extern const char *const malloc_conf;
__attribute__((visibility("default"))) const char *const malloc_conf = "tcache_nslots_small_min:128,tcache_nslots_large:128";

void start_own_arena(void)
{
	unsigned arena;
	size_t size = sizeof arena;

	if (mallctl && mallctl("arenas.create", &arena, &size, NULL, 0) == 0)
		mallctl("thread.arena", NULL, NULL, &arena, sizeof arena);
}

/* ---- sockets ------------------------------------------------------------------------------------------------------------------ */

static const char *bind_sentence(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "the address is in use: another process listens there; stop it, or choose another port";
	case EACCES:
		return "permission denied; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
		return "this machine does not have that address";
	default:
		return strerror(error);
	}
}

/* Without SO_REUSEPORT, so that a port somebody else has is refused; closed again at once. */
static int probe_bind(const struct config_address *address)
{
	int fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;
	int error = 0;

	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&address->socket, address->length) < 0 || listen(fd, 1) < 0)
		error = errno;
	close(fd);
	return error;
}

bool start_bind(const struct config *config, unsigned cores, int *fds)
{
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct config_address *address = &config->listeners[i].address;
		bool local = address->socket.ss_family == AF_UNIX;
		int error = local ? 0 : probe_bind(address);

		if (error)
			return refuse("listener %s: %s", address->text, bind_sentence(error));
		for (unsigned core = 0; core < cores; core++) {
			/* A UNIX socket has no SO_REUSEPORT: the cores accept from the same one. */
			int fd = local && core > 0 ? dup(fds[i]) :
			                             kernel_listen(NULL, (const struct sockaddr *)&address->socket, address->length, BACKLOG);

			/* As nginx does: a server in front of us runs as another user. */
			if (fd >= 0 && local && core == 0)
				chmod(((const struct sockaddr_un *)&address->socket)->sun_path, 0666);
			if (fd < 0)
				return refuse("listener %s: %s", address->text, bind_sentence(local && core > 0 ? errno : -fd));
			fds[core * config->listener_count + i] = fd;
		}
	}
	return true;
}

/* Every directory on the way to the socket; those that are there already are fine. */
static void make_directories(const char *path)
{
	char *copy = strdup(path);

	for (char *at = copy ? copy + 1 : NULL; at && *at; at++) {
		if (*at == '/') {
			*at = 0;
			mkdir(copy, 0750);
			*at = '/';
		}
	}
	free(copy);
}

bool start_bind_admin(const struct config *config, int *fd)
{
	mode_t mask;

	*fd = -1;
	if (!config->admin)
		return true;
	make_directories(config->admin);
	/* Mode 0600, before anybody can connect. */
	mask = umask(0177);
	*fd = kernel_listen(NULL, (const struct sockaddr *)&config->admin_address.socket, config->admin_address.length, BACKLOG);
	umask(mask);
	if (*fd < 0)
		return refuse("admin socket %s: %s", config->admin, bind_sentence(-*fd));
	return true;
}
