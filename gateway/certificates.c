/* See gateway/certificates.h. */
#include "gateway/certificates.h"
#include "gateway/verdict.h"
#include "tls/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct reason CERTIFICATES_BUSY = { "reload_busy", "the certificates are being read again already" };
const struct reason CERTIFICATES_BAD = { "reload_failed", "a certificate file could not be used; what was in force stays" };
const struct reason CERTIFICATES_INCOMPLETE = { "reload_incomplete",
	"a core could not take the certificates that were read again; what was in force stays, and its log line says why" };
const struct reason CERTIFICATES_LATE = { "reload_late",
	"not all cores have taken the certificates that were read again; they will when they can" };

struct swap {                            /* one core's share */
	struct message message;
	struct reload *reload;
	bool failed;
};

struct reload {
	struct worker *worker;           /* core 0's */
	struct task *wakes;
	struct tls_material **materials; /* a reference each, until it is over */
	struct swap **swaps;             /* by core */
	unsigned missing;                /* cores that have not answered */
	bool failed;                     /* written by core 0 between its two messages */
	bool again;                      /* somebody asked meanwhile, and need not be told */
	char actor[CERTIFICATES_ACTOR_BYTES_MAX], actor_again[CERTIFICATES_ACTOR_BYTES_MAX];
};

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

static struct tls_client_files client_files(const struct config_client_certificates *client)
{
	return (struct tls_client_files){
		.ca = client->ca,
		.crl = client->crl,
		.depth = client->depth,
		.required = client->required,
	};
}

/* What one host needs of memory, as long as its files are read. */
struct host_lists {
	struct tls_certificate_files certificates[CONFIG_CERTIFICATES_MAX];
	const char *alpn[TLS_PROTOCOLS_MAX + 1];
};

static struct tls_host_files host_files(struct host_lists *lists, const struct config_certificate *certificates,
                                        unsigned certificate_count, const char *const *alpn, unsigned alpn_count)
{
	unsigned protocols = alpn_count < TLS_PROTOCOLS_MAX ? alpn_count : TLS_PROTOCOLS_MAX;

	for (unsigned i = 0; i < certificate_count; i++)
		lists->certificates[i] = (struct tls_certificate_files){ certificates[i].certificate, certificates[i].key };
	for (unsigned i = 0; i < protocols; i++)
		lists->alpn[i] = alpn[i];
	lists->alpn[protocols] = NULL;
	return (struct tls_host_files){
		.certificates = lists->certificates,
		.certificate_count = certificate_count,
		.alpn = lists->alpn,
	};
}

static enum tls_version version_of(enum config_tls_version version)
{
	return version == CONFIG_TLS_1_3 ? TLS_1_3 : TLS_1_2;
}

static struct tls_material *listener_read(const struct config *config, const struct config_listener *listener,
                                          struct tls_thread *thread, struct tls_fault *fault)
{
	const struct config_tls *tls = &listener->tls;
	const unsigned count = tls->host_count + 1;
	struct tls_host_files *hosts = calloc(count, sizeof *hosts);
	struct host_lists *lists = calloc(count, sizeof *lists);
	const struct tls_listener_files files = {
		.address = listener->address.text,
		.hosts = hosts,
		.host_count = count,
		.strict = tls->strict_sni,
		.tickets = tls->tickets,
		.version_min = version_of(tls->version_min),
		.version_max = version_of(tls->version_max),
		.ticket_lifetime_s = config->timeouts.ticket_lifetime_ms / 1000,
	};
	struct tls_material *material;

	check(hosts && lists);
	hosts[0] = host_files(&lists[0], tls->certificates, tls->certificate_count, tls->alpn, tls->alpn_count);
	hosts[0].client = client_files(&tls->client_certificates);
	for (unsigned i = 1; i < count; i++) {
		const struct config_host *host = &tls->hosts[i - 1];

		hosts[i] = host_files(&lists[i], host->certificates, host->certificate_count, host->alpn, host->alpn_count);
		hosts[i].client = client_files(&host->client_certificates);
		hosts[i].names = host->names;
		hosts[i].name_count = host->name_count;
	}
	material = tls_material_read(thread, &files, fault);
	for (unsigned i = 0; i < fault->warning_count; i++)
		log_say(config->log.level, CONFIG_LOG_WARN, "listener %s: %s", listener->address.text, fault->warnings[i]);
	if (!material)
		log_say(config->log.level, CONFIG_LOG_ERROR, "listener %s: %s", listener->address.text, fault->sentence);
	free(hosts);
	free(lists);
	return material;
}

bool certificates_read(const struct config *config, struct tls_thread *thread, struct tls_material **materials,
                       struct tls_fault *fault)
{
	bool good = true;

	fault->sentence[0] = 0;
	for (unsigned i = 0; i < config->listener_count; i++)
		materials[i] = NULL;
	/* All of them, so that a person hears of all; the first one is the answer. */
	for (unsigned i = 0; i < config->listener_count; i++) {
		struct tls_fault own;

		if (config->listeners[i].tls.certificate_count == 0)
			continue;
		materials[i] = listener_read(config, &config->listeners[i], thread, &own);
		if (!materials[i] && good)
			*fault = own;
		good &= materials[i] != NULL;
	}
	if (!good)
		certificates_put(config, materials);
	return good;
}

void certificates_put(const struct config *config, struct tls_material **materials)
{
	for (unsigned i = 0; i < config->listener_count; i++) {
		tls_material_put(materials[i]);
		materials[i] = NULL;
	}
}

bool certificates_give_tickets(const struct config *config)
{
	for (unsigned i = 0; i < config->listener_count; i++)
		if (config->listeners[i].tls.certificate_count > 0 && config->listeners[i].tls.tickets)
			return true;
	return false;
}

bool certificates_read_first(const struct config *config, struct tls_material **materials)
{
	struct tls_thread *thread = calloc(1, sizeof *thread);
	struct tls_fault fault;
	bool good;

	check(thread);
	tls_process_init();
	good = tls_thread_init(thread, &fault);
	if (!good)
		log_say(config->log.level, CONFIG_LOG_ERROR, "TLS: %s", fault.sentence);
	good = good && certificates_read(config, thread, materials, &fault);
	tls_thread_fini(thread);
	free(thread);
	return good;
}

/* ---- a core's own ------------------------------------------------------------------------------------------------------------ */

/* All or none: NULL when one cannot be made, which was told. */
static struct tls_context **contexts_new(struct worker *worker, struct tls_material *const *materials)
{
	const struct config *config = worker->config;
	struct tls_context **contexts = calloc(config->listener_count + 1, sizeof *contexts);
	struct tls_fault fault = { 0 };

	check(contexts);
	for (unsigned i = 0; i < config->listener_count; i++) {
		if (!materials[i])
			continue;
		contexts[i] = tls_context_new(&worker->thread, materials[i], &fault);
		if (!contexts[i]) {
			log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "listener %s: %s", config->listeners[i].address.text, fault.sentence);
			for (unsigned k = 0; k < i; k++)
				tls_context_put(contexts[k]);
			free(contexts);
			return NULL;
		}
	}
	return contexts;
}

static void contexts_put(struct worker *worker, struct tls_context **contexts)
{
	for (unsigned i = 0; contexts && i < worker->config->listener_count; i++)
		tls_context_put(contexts[i]);
	free(contexts);
}

bool certificates_open(struct worker *worker)
{
	const struct config_limits *limits = &worker->config->limits;
	struct tls_fault fault;

	if (!tls_thread_init(&worker->thread, &fault)) {
		log_say(CONFIG_LOG_ERROR, CONFIG_LOG_ERROR, "TLS: %s", fault.sentence);
		return false;
	}
	admission_open(&worker->thread.admission, &worker->core.root, (unsigned)limits->tls_handshakes_max,
	               (unsigned)limits->tls_handshakes_queued_max);
	ticket_store_attach(&worker->gateway->tickets, &worker->core, &worker->thread.tickets);
	worker->tls = contexts_new(worker, worker->gateway->materials);
	return worker->tls != NULL;
}

void certificates_close(struct worker *worker)
{
	contexts_put(worker, worker->tls);
	worker->tls = NULL;
	contexts_put(worker, worker->tls_prepared);
	worker->tls_prepared = NULL;
	ticket_store_detach(&worker->gateway->tickets, &worker->core);
	tls_thread_fini(&worker->thread);
}

/* ---- a reload ---------------------------------------------------------------------------------------------------------------- */

/* First each core makes its contexts and keeps them aside; when all have, each puts them in force; where one could not, none does. */

static void swap_send(struct reload *reload, unsigned to, message_deliver *deliver)
{
	struct swap *swap = reload->swaps[to];

	swap->message.deliver = deliver;
	core_post(&reload->worker->core, to, &swap->message);
}

static void reload_end(struct reload *reload)
{
	struct worker *worker = reload->worker;
	const bool again = reload->again;
	char actor[CERTIFICATES_ACTOR_BYTES_MAX];

	memcpy(actor, reload->actor_again, sizeof actor);
	if (!reload->failed)
		counting_note(worker, reload->actor, "certificates, authorities and revocation lists were read again, and are in force");
	worker->reload_outcome = reload->failed ? &CERTIFICATES_INCOMPLETE : NULL;
	log_say(worker->config->log.level, reload->failed ? CONFIG_LOG_ERROR : CONFIG_LOG_INFO, "%s",
	        reload->failed ? CERTIFICATES_INCOMPLETE.sentence : "certificates: read again, and in force");
	if (!reload->failed) {
		certificates_put(worker->config, worker->gateway->materials);
		free(worker->gateway->materials);
		worker->gateway->materials = reload->materials;
	} else {
		certificates_put(worker->config, reload->materials);
		free(reload->materials);
	}
	if (reload->wakes)
		task_wake(reload->wakes);
	for (unsigned i = 0; i < worker->gateway->cores.count; i++)
		free(reload->swaps[i]);
	free(reload->swaps);
	free(reload);
	worker->reload = NULL;
	if (again)
		certificates_reload_by_signal(worker, actor);
}

static void swap_answered(struct core *core, struct message *message)
{
	struct reload *reload = owner_of(message, struct swap, message)->reload;

	(void)core;
	if (--reload->missing == 0)
		reload_end(reload);
}

static void swap_finished(struct core *to, struct message *message)
{
	struct swap *swap = owner_of(message, struct swap, message);
	struct worker *worker = to->gateway;

	/* A core that has ended meanwhile has no contexts any more, and needs none. */
	if (worker->tls && !swap->reload->failed) {
		contexts_put(worker, worker->tls);
		worker->tls = worker->tls_prepared;
	} else if (worker->tls) {
		contexts_put(worker, worker->tls_prepared);
	}
	if (worker->tls)
		worker->tls_prepared = NULL;
	swap->message.deliver = swap_answered;
	core_post(to, 0, &swap->message);
}

static void swap_prepared(struct core *core, struct message *message)
{
	struct swap *swap = owner_of(message, struct swap, message);
	struct reload *reload = swap->reload;
	const unsigned count = reload->worker->gateway->cores.count;

	(void)core;
	reload->failed |= swap->failed;
	if (--reload->missing > 0)
		return;
	reload->missing = count;
	for (unsigned i = 0; i < count; i++)
		swap_send(reload, i, swap_finished);
}

static void swap_prepare(struct core *to, struct message *message)
{
	struct swap *swap = owner_of(message, struct swap, message);
	struct worker *worker = to->gateway;

	if (worker->tls) {
		worker->tls_prepared = contexts_new(worker, swap->reload->materials);
		swap->failed = !worker->tls_prepared;
	}
	swap->message.deliver = swap_prepared;
	core_post(to, 0, &swap->message);
}

const struct reason *certificates_reload(struct worker *worker, const char *actor, struct task *wakes, struct tls_fault *fault)
{
	const unsigned listeners = worker->config->listener_count, cores = worker->gateway->cores.count;
	struct tls_material **materials;
	struct reload *reload;

	check(worker->core.index == 0);
	if (worker->reload)
		return &CERTIFICATES_BUSY;
	if (!worker->tls)
		return &GATEWAY_DRAINING; /* this core has ended; its mail is delivered still */
	materials = calloc(listeners + 1, sizeof *materials);
	check(materials);
	if (!certificates_read(worker->config, &worker->thread, materials, fault)) {
		free(materials);
		return &CERTIFICATES_BAD;
	}
	reload = worker->reload = calloc(1, sizeof *reload);
	check(reload);
	*reload = (struct reload){
		.worker = worker,
		.wakes = wakes,
		.materials = materials,
		.swaps = calloc(cores, sizeof *reload->swaps),
		.missing = cores,
	};
	check(reload->swaps);
	snprintf(reload->actor, sizeof reload->actor, "%s", actor);
	for (unsigned i = 0; i < cores; i++) {
		reload->swaps[i] = calloc(1, sizeof *reload->swaps[i]);
		check(reload->swaps[i]);
		reload->swaps[i]->reload = reload;
		swap_send(reload, i, swap_prepare);
	}
	return NULL;
}

void certificates_reload_by_signal(struct worker *worker, const char *actor)
{
	struct tls_fault fault;
	const struct reason *reason = certificates_reload(worker, actor, NULL, &fault);

	/* Files may have changed since they were read: once more, when this time is over. */
	if (reason == &CERTIFICATES_BUSY) {
		worker->reload->again = true;
		snprintf(worker->reload->actor_again, sizeof worker->reload->actor_again, "%s", actor);
	} else if (reason) {
		log_say(worker->config->log.level, CONFIG_LOG_ERROR, "SIGHUP: %s", reason->sentence);
	}
}

const struct reason *certificates_reload_outcome(const struct worker *worker, bool *over)
{
	*over = !worker->reload;
	return *over ? worker->reload_outcome : NULL;
}

void certificates_forget(struct worker *worker, struct task *wakes)
{
	if (worker->reload && worker->reload->wakes == wakes)
		worker->reload->wakes = NULL;
}
