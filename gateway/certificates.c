/* See gateway/certificates.h. */
#include "gateway/certificates.h"
#include "tls/context.h"

#include <stdlib.h>

const struct reason CERTIFICATES_BUSY = { "reload_busy", "the certificates are being read again already" };
const struct reason CERTIFICATES_BAD = { "reload_failed", "a certificate file could not be used; what was in force stays" };

struct reload {
	struct worker *worker;           /* core 0's */
	struct task *wakes;
	unsigned missing;                /* cores that have not answered */
	unsigned failed;
};

struct swap {
	struct message message;
	struct reload *reload;
	bool failed;
	struct tls_material *materials[];
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

	for (unsigned i = 0; i < config->listener_count; i++)
		materials[i] = NULL;
	for (unsigned i = 0; i < config->listener_count; i++) {
		if (config->listeners[i].tls.certificate_count == 0)
			continue;
		materials[i] = listener_read(config, &config->listeners[i], thread, fault);
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
	ticket_store_detach(&worker->gateway->tickets, &worker->core);
	tls_thread_fini(&worker->thread);
}

/* ---- a reload ---------------------------------------------------------------------------------------------------------------- */

static void swap_free(struct swap *swap, const struct config *config)
{
	certificates_put(config, swap->materials);
	free(swap);
}

static void reload_answered(struct core *core, struct message *message)
{
	struct swap *swap = owner_of(message, struct swap, message);
	struct reload *reload = swap->reload;
	struct worker *worker = core->gateway;

	reload->failed += swap->failed;
	swap_free(swap, worker->config);
	if (--reload->missing > 0)
		return;
	log_say(worker->config->log.level, CONFIG_LOG_INFO, reload->failed ? "certificates: not every core could take the new ones" :
	                                                                       "certificates: read again, and in force");
	if (reload->wakes)
		task_wake(reload->wakes);
	worker->reload = NULL;
	free(reload);
}

static void swap_delivered(struct core *to, struct message *message)
{
	struct swap *swap = owner_of(message, struct swap, message);
	struct worker *worker = to->gateway;

	/* A core that has ended has no contexts any more, and needs none. */
	if (worker->tls) {
		struct tls_context **contexts = contexts_new(worker, swap->materials);

		swap->failed = !contexts;
		if (contexts) {
			contexts_put(worker, worker->tls);
			worker->tls = contexts;
		}
	}
	swap->message.deliver = reload_answered;
	core_post(to, 0, &swap->message);
}

const struct reason *certificates_reload(struct worker *worker, struct task *wakes, struct tls_fault *fault)
{
	struct gateway *gateway = worker->gateway;
	const unsigned listeners = worker->config->listener_count;
	struct tls_material **materials;

	check(worker->core.index == 0);
	if (worker->reload)
		return &CERTIFICATES_BUSY;
	materials = calloc(listeners + 1, sizeof *materials);
	check(materials);
	if (!certificates_read(worker->config, &worker->thread, materials, fault)) {
		free(materials);
		return &CERTIFICATES_BAD;
	}
	certificates_put(worker->config, gateway->materials);
	free(gateway->materials);
	gateway->materials = materials;
	worker->reload = calloc(1, sizeof *worker->reload);
	check(worker->reload);
	*worker->reload = (struct reload){ .worker = worker, .wakes = wakes, .missing = gateway->cores.count };
	for (unsigned i = 0; i < gateway->cores.count; i++) {
		struct swap *swap = calloc(1, sizeof *swap + (listeners + 1) * sizeof *swap->materials);

		check(swap);
		swap->message.deliver = swap_delivered;
		swap->reload = worker->reload;
		for (unsigned k = 0; k < listeners; k++)
			swap->materials[k] = materials[k] ? tls_material_take(materials[k]) : NULL;
		core_post(&worker->core, i, &swap->message);
	}
	return NULL;
}

bool certificates_reloaded(const struct worker *worker)
{
	return !worker->reload;
}

void certificates_forget(struct worker *worker, struct task *wakes)
{
	if (worker->reload && worker->reload->wakes == wakes)
		worker->reload->wakes = NULL;
}
