/* The life of the program: refuse early, open everything, run one thread a core, drain, close.
 *
 * The first thread is core 0. It hears the signals too, by a read on a signalfd like any other operation. */
#include "gateway/run.h"
#include "gateway/certificates.h"
#include "gateway/gateway.h"
#include "gateway/notify.h"
#include "gateway/start.h"
#include "gateway/upstream/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define BUFFERS 256u                     /* to receive into, a core, at most */
#define GOODBYE_ROUNDS 6u                /* of mail between cores that have ended: the longest talk is two questions and two answers */

/* ---- signals ------------------------------------------------------------------------------------------------------------------ */

struct signals {
	struct scope scope;
	struct op read;
	struct task task;
	struct signalfd_siginfo got;
	struct worker *worker;
	int fd;
	bool noted;
	bool told_once;
};

static void signals_note(struct op *op, const struct completion *completion)
{
	struct signals *signals = owner_of(op, struct signals, read);

	signals->noted = completion->result == sizeof signals->got;
	task_wake(&signals->task);
}

static void signals_step(struct task *task)
{
	struct signals *signals = owner_of(task, struct signals, task);
	struct worker *worker = signals->worker;

	if (!op_idle(&signals->read))
		return;
	if (signals->noted) {
		signals->noted = false;
		if (signals->got.ssi_signo == SIGHUP) {
			char actor[CERTIFICATES_ACTOR_BYTES_MAX];

			snprintf(actor, sizeof actor, "SIGHUP uid=%" PRIu32 " pid=%" PRIu32, signals->got.ssi_uid, signals->got.ssi_pid);
			certificates_reload_by_signal(worker, actor);
		} else if (!signals->told_once) {
			signals->told_once = true;
			log_say(worker->log.level, CONFIG_LOG_INFO, "stopping: no new connections; those that are open have %u s",
			        worker->config->timeouts.drain_ms / 1000);
			notify_say("STOPPING=1");
			gateway_drain(worker, false);
		} else {
			log_say(worker->log.level, CONFIG_LOG_INFO, "stopping at once");
			gateway_drain(worker, true);
		}
	}
	signals->read.request = (struct kernel_request){
		.code = KERNEL_READ,
		.fd = signals->fd,
		.bytes = &signals->got,
		.size = sizeof signals->got,
		.offset = -1,
	};
	op_start(&signals->read);
}

static const struct scope_kind signals_kind = { .name = "signals" };

static void signals_open(struct signals *signals, struct worker *worker, int fd)
{
	*signals = (struct signals){ .worker = worker, .fd = fd };
	scope_open(&signals->scope, &worker->core.root, &signals_kind);
	op_init(&signals->read, &signals->scope, "signal", signals_note);
	task_init(&signals->task, &signals->scope, "signals", signals_step);
	task_wake(&signals->task);
}

/* Before any thread exists, so that all of them inherit it: signals come through the descriptor alone. */
static int signals_block(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	/* A file that may not grow (RLIMIT_FSIZE) is an error of that write, which its writer knows how to meet. */
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool core_opened(const struct worker *worker)
{
	return worker->core.magic != 0;
}

/* ---- one core's thread --------------------------------------------------------------------------------------------------------- */

struct start {
	struct gateway *gateway;
	struct start_cpus cpus;
	int *fds;                        /* see start_bind */
	int admin_fd;
	int signal_fd;
	_Atomic bool failed;
	pthread_barrier_t barrier;
	struct signals signals;
};

struct thread {
	struct start *start;
	unsigned index;
	pthread_t id;
	struct kernel_fault fault;
};

static bool thread_open(struct thread *thread)
{
	struct start *start = thread->start;
	struct gateway *gateway = start->gateway;
	struct worker *worker = gateway->workers[thread->index];
	const struct core_options options = {
		.index = thread->index,
		.cores = &gateway->cores,
		.buffer_count = BUFFERS,
		.chunks_max = gateway->config->limits.memory_bytes_max / CHUNK_BYTES + 1,
	};

	start_pin(&start->cpus, thread->index);
	start_own_arena();
	if (!core_open(&worker->core, &options, &thread->fault)) {
		log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "core %u: %s", thread->index, thread->fault.sentence);
		return false;
	}
	worker->core.gateway = worker;
	if (gateway->count)
		count_take(gateway->count, thread->index);
	return true;
}

static bool thread_serve(struct thread *thread)
{
	struct start *start = thread->start;
	struct gateway *gateway = start->gateway;
	const struct worker_sockets sockets = {
		.listeners = start->fds + thread->index * gateway->config->listener_count,
		.admin = thread->index == 0 ? start->admin_fd : -1,
		.log = log_open_file(&gateway->config->log),
	};

	return worker_open(gateway->workers[thread->index], &sockets);
}

/* On the core's thread, when it has run: what it recorded is on the disk. */
static void counting_end(struct worker *worker)
{
	counting_close(worker);
	if (worker->gateway->count)
		count_put(worker->gateway->count, worker->core.index);
}

/* The barriers: nobody writes to a core that is not open, and nobody serves when one could not open. */
static void *thread_run(void *argument)
{
	struct thread *thread = argument;
	struct start *start = thread->start;
	struct worker *worker = start->gateway->workers[thread->index];
	bool open = thread_open(thread);

	if (!open)
		atomic_store(&start->failed, true);
	pthread_barrier_wait(&start->barrier);
	if (open && (atomic_load(&start->failed) || !thread_serve(thread))) {
		atomic_store(&start->failed, true);
		scope_close(&worker->core.root, &RING_DONE);
	}
	pthread_barrier_wait(&start->barrier);
	if (open && atomic_load(&start->failed)) {
		scope_close(&worker->core.root, &RING_DONE);
	} else if (open && thread->index == 0) {
		signals_open(&start->signals, worker, start->signal_fd);
		ticket_store_start(&start->gateway->tickets, &worker->core);
		log_say(worker->log.level, CONFIG_LOG_INFO, "version %s: %u cores, %u listeners, %u routes", POSTERN_VERSION,
		        start->gateway->cores.count, start->gateway->config->listener_count, start->gateway->config->route_count);
		notify_say("READY=1");
	}
	if (open) {
		core_run(&worker->core);
		if (thread->index != 0)
			counting_end(worker);
	}
	worker_close(worker);
	return NULL;
}

static bool threads_run(struct start *start)
{
	const unsigned count = start->gateway->cores.count;
	struct thread *threads = calloc(count, sizeof *threads);
	char name[32];

	check(threads);
	pthread_barrier_init(&start->barrier, NULL, count);
	for (unsigned i = 0; i < count; i++)
		threads[i] = (struct thread){ .start = start, .index = i };
	for (unsigned i = 1; i < count; i++) {
		check(pthread_create(&threads[i].id, NULL, thread_run, &threads[i]) == 0);
		snprintf(name, sizeof name, "postern/%u", i);
		pthread_setname_np(threads[i].id, name);
	}
	thread_run(&threads[0]);
	for (unsigned i = 1; i < count; i++)
		pthread_join(threads[i].id, NULL);
	/* Core 0's stream says last where all others end. */
	if (core_opened(start->gateway->workers[0]))
		counting_end(start->gateway->workers[0]);
	pthread_barrier_destroy(&start->barrier);
	free(threads);
	return !atomic_load(&start->failed);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

/* `materials` move in. */
static void gateway_open(struct gateway *gateway, const struct config *config, unsigned cores, struct tls_material **materials)
{
	*gateway = (struct gateway){ .config = config, .cores = { .count = cores }, .materials = materials };
	gateway->workers = calloc(cores, sizeof *gateway->workers);
	gateway->cores.all = calloc(cores, sizeof *gateway->cores.all);
	check(gateway->workers && gateway->cores.all);
	gateway->started_ms = kernel_now_ns(NULL) / 1000000;
	ticket_store_open(&gateway->tickets, certificates_give_tickets(config) ? config->state : NULL,
	                  config->timeouts.ticket_lifetime_ms, cores, kernel_wall_ns(NULL) / 1000000000, config->log.level);
	for (unsigned i = 0; i < cores; i++) {
		struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);

		check(worker);
		memset(worker, 0, sizeof *worker);
		worker->gateway = gateway;
		worker->config = config;
		gateway->workers[i] = worker;
		gateway->cores.all[i] = &worker->core;
	}
}

/* All threads are over. What is still in a mailbox is delivered here, where nothing runs beside it, so that whoever waits for an
 * answer, and whatever a message holds, ends as it would have. */
static void gateway_close(struct gateway *gateway)
{
	for (unsigned round = 0; round < GOODBYE_ROUNDS; round++)
		for (unsigned i = 0; i < gateway->cores.count; i++)
			if (core_opened(gateway->workers[i]))
				mailbox_deliver(&gateway->workers[i]->core);
	for (unsigned i = 0; i < gateway->cores.count; i++) {
		struct worker *worker = gateway->workers[i];

		if (core_opened(worker)) {
			worker_fini(worker);
			core_close(&worker->core);
		}
	}
	for (unsigned i = 0; i < gateway->cores.count; i++)
		free(gateway->workers[i]);
	ticket_store_close(&gateway->tickets);
	certificates_put(gateway->config, gateway->materials);
	free(gateway->materials);
	free(gateway->workers);
	free(gateway->cores.all);
	counting_forget(gateway);
}

static bool counts(const struct config *config)
{
	for (unsigned i = 0; i < config->route_count; i++)
		if (config->routes[i].target == CONFIG_COUNT)
			return true;
	return false;
}

static bool counts_read(struct gateway *gateway)
{
	struct recovery_fault fault;

	if (!counts(gateway->config) || counting_recover(gateway, &fault))
		return true;
	log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "%s", fault.sentence);
	return false;
}

static bool machine_is_fit(struct config *config, unsigned cores)
{
	struct kernel_fault fault;
	int log_fd;

	if (!start_descriptors(config, cores))
		return false;
	if (!kernel_probe(cores, BUFFERS, &fault)) {
		log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "%s", fault.sentence);
		return false;
	}
	log_fd = log_open_file(&config->log);
	if (log_fd == -2) {
		log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "access log %s: %s", config->log.access, strerror(errno));
		return false;
	}
	if (log_fd >= 0)
		close(log_fd);
	return true;
}

bool run(struct config *config)
{
	const unsigned cores = start_core_count(config);
	struct start *start = calloc(1, sizeof *start);
	struct tls_material **materials = calloc(config->listener_count + 1, sizeof *materials);
	struct gateway gateway;
	bool good = false;

	check(start && materials);
	start->admin_fd = -1;
	start->fds = calloc((size_t)cores * (config->listener_count + 1), sizeof *start->fds);
	check(start->fds);
	start->signal_fd = signals_block();
	start_cpus(&start->cpus);
	if (machine_is_fit(config, cores) && certificates_read_first(config, materials) && start_bind(config, cores, start->fds) &&
	    start_bind_admin(config, &start->admin_fd)) {
		gateway_open(&gateway, config, cores, materials);
		start->gateway = &gateway;
		good = counts_read(&gateway) && threads_run(start);
		gateway_close(&gateway);
		if (config->admin)
			unlink(config->admin);
		if (good)
			log_say(config->log.level, CONFIG_LOG_INFO, "stopped");
	} else {
		certificates_put(config, materials);
		free(materials);
	}
	close(start->signal_fd);
	free(start->fds);
	free(start);
	return good;
}
