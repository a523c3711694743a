/* Which route a request takes. */
#include "gateway/route.c"

#include <criterion/criterion.h>

static bool takes(enum config_match match, const char *route_path, const char *path)
{
	const struct config_route route = { .match = match, .path = route_path };

	return route_matches(&route, HTTP_TEXT("h"), http_text_of(path));
}

static bool hosts(const char *route_host, const char *name)
{
	const struct config_route route = { .match = CONFIG_MATCH_ANY, .path = "", .host = route_host };

	return route_matches(&route, http_text_of(name), HTTP_TEXT("/"));
}

Test(gateway_route, a_path_is_that_path_alone)
{
	cr_assert(takes(CONFIG_MATCH_PATH, "/count", "/count"));
	for (const char **path = (const char *[]){ "/", "/coun", "/counts", "/count/", "/count/7", "/Count", "/a/count", "*", "", NULL }; *path;
	     path++)
		cr_assert_not(takes(CONFIG_MATCH_PATH, "/count", *path), "%s", *path);
}

Test(gateway_route, a_prefix_matches_at_segments)
{
	for (const char **path = (const char *[]){ "/sites", "/sites/", "/sites/7", "/sites/7/enrolments", NULL }; *path; path++)
		cr_assert(takes(CONFIG_MATCH_PREFIX, "/sites", *path), "%s", *path);
	for (const char **path = (const char *[]){ "/", "/site", "/sitemap", "/sites7", "/sites.html", "/Sites/7", "/a/sites", "", NULL }; *path;
	     path++)
		cr_assert_not(takes(CONFIG_MATCH_PREFIX, "/sites", *path), "%s", *path);
}

Test(gateway_route, a_prefix_that_ends_with_a_slash_is_what_lies_below)
{
	cr_assert(takes(CONFIG_MATCH_PREFIX, "/sites/", "/sites/"));
	cr_assert(takes(CONFIG_MATCH_PREFIX, "/sites/", "/sites/7"));
	cr_assert_not(takes(CONFIG_MATCH_PREFIX, "/sites/", "/sites"));
}

Test(gateway_route, the_prefix_of_one_slash_is_every_path)
{
	for (const char **path = (const char *[]){ "/", "/a", "/a/b", "//", NULL }; *path; path++)
		cr_assert(takes(CONFIG_MATCH_PREFIX, "/", *path), "%s", *path);
	/* OPTIONS * asks the server, not a path of it. */
	cr_assert_not(takes(CONFIG_MATCH_PREFIX, "/", "*"));
	cr_assert(takes(CONFIG_MATCH_ANY, "", "*"));
}

Test(gateway_route, a_path_is_no_longer_than_its_size_says)
{
	const struct config_route route = { .match = CONFIG_MATCH_PREFIX, .path = "/sites" };

	for (size_t size = 0; size <= 8; size++)
		cr_assert_eq(route_matches(&route, HTTP_TEXT("h"), (struct http_text){ "/sites/7", size }), size >= 6, "%zu", size);
}

Test(gateway_route, no_host_is_every_host)
{
	cr_assert(hosts(NULL, "example.org"));
	cr_assert(hosts(NULL, "[::1]"));
	cr_assert(hosts(NULL, ""));
}

Test(gateway_route, a_host_is_matched_in_any_case_of_letters)
{
	cr_assert(hosts("example.org", "example.org"));
	cr_assert(hosts("example.org", "EXAMPLE.Org"));
	for (const char **name = (const char *[]){ "", "example.or", "example.orga", "www.example.org", "xexample.org", "example.org.", NULL }; *name;
	     name++)
		cr_assert_not(hosts("example.org", *name), "%s", *name);
}

Test(gateway_route, a_wildcard_is_every_name_below_and_not_the_name_itself)
{
	for (const char **name = (const char *[]){ "www.example.org", "a.b.example.org", "WWW.EXAMPLE.ORG", NULL }; *name; name++)
		cr_assert(hosts("*.example.org", *name), "%s", *name);
	for (const char **name = (const char *[]){ "example.org", ".example.org", "badexample.org", "example.org.evil.net", "", "org", NULL };
	     *name; name++)
		cr_assert_not(hosts("*.example.org", *name), "%s", *name);
}

Test(gateway_route, host_and_path_must_both_match)
{
	const struct config_route route = { .match = CONFIG_MATCH_PREFIX, .path = "/a", .host = "h" };

	cr_assert(route_matches(&route, HTTP_TEXT("h"), HTTP_TEXT("/a")));
	cr_assert_not(route_matches(&route, HTTP_TEXT("g"), HTTP_TEXT("/a")));
	cr_assert_not(route_matches(&route, HTTP_TEXT("h"), HTTP_TEXT("/b")));
}

Test(gateway_route, the_first_that_matches_wins)
{
	struct config_route routes[] = {
		{ .match = CONFIG_MATCH_PATH, .path = "/count" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/a", .host = "h" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/a" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/a/b" },
		{ .match = CONFIG_MATCH_ANY, .path = "", .host = "*.org" },
	};
	const struct config config = { .routes = routes, .route_count = array_count(routes) };
	static const struct {
		const char *host, *path;
		int index;
	} cases[] = {
		{ "h", "/count", 0 }, { "g", "/count", 0 }, { "h", "/a", 1 },       { "H", "/a/b", 1 },
		{ "g", "/a/b", 2 },   { "g", "/b", -1 },    { "x.org", "/b", 4 },   { "x.org", "/a/b", 2 },
		{ "org", "/b", -1 },  { "g", "*", -1 },     { "x.org", "*", 4 },
	};

	for (unsigned i = 0; i < array_count(cases); i++) {
		const struct reason *refusal;

		cr_assert_eq(route_find(&config, http_text_of(cases[i].host), http_text_of(cases[i].path), NULL, &refusal),
		             cases[i].index < 0 ? NULL : &routes[cases[i].index], "%s %s", cases[i].host, cases[i].path);
		cr_assert(cases[i].index >= 0 || refusal == &ROUTE_NONE);
	}
}

Test(gateway_route, without_routes_none_is_found)
{
	const struct config config = { 0 };
	const struct reason *refusal;

	cr_assert_null(route_find(&config, HTTP_TEXT("h"), HTTP_TEXT("/"), NULL, &refusal));
	cr_assert_eq(refusal, &ROUTE_NONE);
}

/* ---- clients ---- */

/* Does a certificate with this one name meet this one condition? */
static bool meets(enum config_client_kind kind, const char *wanted, const char *name)
{
	struct config_client client = { .kind = kind, .text = wanted };
	const struct config_route route = { .clients = &client, .client_count = 1 };
	char *names[] = { (char *)name };
	const struct tls_identity identity = { .names = names, .name_count = 1, .subject = (char *)"CN=s" };

	return route_admits(&route, &identity);
}

Test(gateway_route, a_dns_name_is_met_in_any_case_of_letters)
{
	cr_assert(meets(CONFIG_CLIENT_DNS, "site-7.example.org", "DNS:site-7.example.org"));
	cr_assert(meets(CONFIG_CLIENT_DNS, "site-7.example.org", "DNS:SITE-7.Example.ORG"));
	for (const char **name = (const char *[]){ "DNS:site-7.example.or", "DNS:site-7.example.orgx", "DNS:xsite-7.example.org", "DNS:",
	                           "DNS:a.site-7.example.org", "DNS:site-7.example.org.", "URI:site-7.example.org", "EMAIL:site-7.example.org",
	                           "dns:site-7.example.org", "site-7.example.org", "DNS:*.example.org", "DNS:DNS:site-7.example.org", "", NULL };
	     *name; name++)
		cr_assert_not(meets(CONFIG_CLIENT_DNS, "site-7.example.org", *name), "%s", *name);
}

Test(gateway_route, a_wildcard_for_clients_is_exactly_one_label)
{
	cr_assert(meets(CONFIG_CLIENT_DNS, "*.cro.example.org", "DNS:a.cro.example.org"));
	cr_assert(meets(CONFIG_CLIENT_DNS, "*.cro.example.org", "DNS:A-1.CRO.example.org"));
	for (const char **name = (const char *[]){ "DNS:cro.example.org", "DNS:.cro.example.org", "DNS:a.b.cro.example.org", "DNS:acro.example.org",
	                           "DNS:a.cro.example.org.evil.net", "DNS:*.cro.example.org", "DNS:a*.cro.example.org", "DNS:a", "DNS:", NULL };
	     *name; name++)
		cr_assert_not(meets(CONFIG_CLIENT_DNS, "*.cro.example.org", *name), "%s", *name);
}

Test(gateway_route, an_address_is_met_exactly_in_front_of_its_at_and_in_any_case_behind)
{
	cr_assert(meets(CONFIG_CLIENT_EMAIL, "Cra@cro.example.org", "EMAIL:Cra@cro.example.org"));
	cr_assert(meets(CONFIG_CLIENT_EMAIL, "Cra@cro.example.org", "EMAIL:Cra@CRO.example.ORG"));
	cr_assert(meets(CONFIG_CLIENT_EMAIL, "a@b@c", "EMAIL:a@b@C"));
	for (const char **name = (const char *[]){ "EMAIL:cra@cro.example.org", "EMAIL:Cra@cro.example.orgx", "EMAIL:xCra@cro.example.org",
	                           "EMAIL:Cra@", "EMAIL:Cra", "EMAIL:", "URI:Cra@cro.example.org", "DNS:Cra@cro.example.org", NULL };
	     *name; name++)
		cr_assert_not(meets(CONFIG_CLIENT_EMAIL, "Cra@cro.example.org", *name), "%s", *name);
	cr_assert_not(meets(CONFIG_CLIENT_EMAIL, "a@b@c", "EMAIL:a@B@c"));
}

Test(gateway_route, a_uri_is_met_exactly)
{
	cr_assert(meets(CONFIG_CLIENT_URI, "spiffe://example.org/site/7", "URI:spiffe://example.org/site/7"));
	for (const char **name = (const char *[]){ "URI:spiffe://Example.org/site/7", "URI:spiffe://example.org/site/7/",
	                           "URI:spiffe://example.org/site", "URI:", "DNS:spiffe://example.org/site/7", NULL };
	     *name; name++)
		cr_assert_not(meets(CONFIG_CLIENT_URI, "spiffe://example.org/site/7", *name), "%s", *name);
}

Test(gateway_route, a_subject_is_met_as_a_whole_and_exactly)
{
	static const char *const others[] = { "CN=Monitor 4", "CN=Monitor 4,O=CRO,C=DE", "cn=Monitor 4,O=CRO", "CN=Monitor 4, O=CRO",
		"O=CRO,CN=Monitor 4", "", NULL };
	struct config_client client = { .kind = CONFIG_CLIENT_SUBJECT, .text = "CN=Monitor 4,O=CRO" };
	const struct config_route route = { .clients = &client, .client_count = 1 };
	struct tls_identity identity = { .subject = (char *)"CN=Monitor 4,O=CRO" };

	cr_assert(route_admits(&route, &identity));
	for (unsigned i = 0; i < array_count(others); i++) {
		identity.subject = (char *)others[i];
		cr_assert_not(route_admits(&route, &identity), "%s", others[i]);
	}
	cr_assert_not(meets(CONFIG_CLIENT_SUBJECT, "CN=Monitor 4,O=CRO", "DNS:CN=Monitor 4,O=CRO"));
}

Test(gateway_route, any_client_is_one_with_a_certificate)
{
	struct config_client client = { .kind = CONFIG_CLIENT_ANY, .text = "*" };
	const struct config_route route = { .clients = &client, .client_count = 1 }, open = { 0 };
	const struct tls_identity identity = { 0 };

	cr_assert(route_admits(&route, &identity));
	cr_assert_not(route_admits(&route, NULL));
	cr_assert(route_admits(&open, &identity));
	cr_assert(route_admits(&open, NULL));
}

Test(gateway_route, one_condition_and_one_name_of_several_are_enough)
{
	struct config_client clients[] = { { CONFIG_CLIENT_DNS, "a.org" }, { CONFIG_CLIENT_URI, "urn:b" } };
	const struct config_route route = { .clients = clients, .client_count = 2 };
	char *names[] = { (char *)"DNS:x.org", (char *)"EMAIL:x@y", (char *)"URI:urn:b" };
	struct tls_identity identity = { .names = names, .name_count = 3 };

	cr_assert(route_admits(&route, &identity));
	identity.name_count = 2;
	cr_assert_not(route_admits(&route, &identity));
}

/* What a request to `host` and `path` meets: the index of a route, or none and the refusal. */
struct met {
	const char *host, *path;
	const struct tls_identity *client;
	int index;
	const struct reason *refusal;
};

static void expect_met(const struct config *config, const struct met *cases, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct met *met = &cases[i];
		const struct reason *refusal = NULL;
		const struct config_route *found =
			route_find(config, http_text_of(met->host), http_text_of(met->path), met->client, &refusal);

		cr_expect_eq(found, met->index < 0 ? NULL : &config->routes[met->index], "%u: %s %s is given route %d, not %d", i, met->host,
		             met->path, found ? (int)(found - config->routes) : -1, met->index);
		cr_expect(met->index >= 0 || refusal == met->refusal, "%u: %s", i, refusal ? refusal->name : "none");
	}
}

static char *const names_seven[] = { (char *)"DNS:site-7.org" }, *const names_cro[] = { (char *)"DNS:a.cro.org" };
static const struct tls_identity seven = { .names = (char **)names_seven, .name_count = 1, .subject = (char *)"CN=seven" };
static const struct tls_identity cro = { .names = (char **)names_cro, .name_count = 1, .subject = (char *)"CN=cro" };
static const struct tls_identity monitor = { .subject = (char *)"CN=Monitor 4" };
static const struct tls_identity stranger = { .subject = (char *)"CN=stranger" };
static const struct config_client for_seven = { CONFIG_CLIENT_DNS, "site-7.org" }, for_cro = { CONFIG_CLIENT_DNS, "*.cro.org" };
static const struct config_client for_monitor = { CONFIG_CLIENT_SUBJECT, "CN=Monitor 4" }, for_any = { CONFIG_CLIENT_ANY, "*" };

#define FOR(wanted) .clients = (struct config_client *)&(wanted), .client_count = 1

Test(gateway_route, three_groups_of_clients_are_told_apart_on_one_path_and_all_others_refused)
{
	struct config_route routes[] = {
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_cro) },
		{ .match = CONFIG_MATCH_PATH, .path = "/other" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_monitor) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_any) },
	};
	const struct config config = { .routes = routes, .route_count = array_count(routes) };
	const struct met cases[] = {
		{ "h", "/monitor", &seven, 0, NULL },
		{ "h", "/monitor/4", &cro, 1, NULL },
		{ "h", "/monitor", &monitor, 3, NULL },
		/* The last route would take the stranger, and is behind one that ends the search. */
		{ "h", "/monitor", &stranger, -1, &CLIENT_CERTIFICATE_REFUSED },
		{ "h", "/monitor", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "h", "/monitor/4", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		/* What is not protected is open to all, whatever stands in front of it. */
		{ "h", "/monitors", NULL, 4, NULL },
		{ "h", "/other", NULL, 2, NULL },
		{ "h", "/", &stranger, 4, NULL },
		{ "h", "/", &seven, 4, NULL },
	};

	expect_met(&config, cases, array_count(cases));
}

Test(gateway_route, an_open_route_in_front_serves_all)
{
	struct config_route routes[] = {
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor/public" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/" },
		{ .match = CONFIG_MATCH_PATH, .path = "/late", FOR(for_seven) },
	};
	const struct config config = { .routes = routes, .route_count = array_count(routes) };
	const struct met cases[] = {
		{ "h", "/monitor/public", NULL, 0, NULL },
		{ "h", "/monitor/public", &stranger, 0, NULL },
		{ "h", "/monitor/public/a", &seven, 0, NULL },
		{ "h", "/monitor/publicly", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "h", "/monitor/publicly", &stranger, -1, &CLIENT_CERTIFICATE_REFUSED },
		{ "h", "/monitor", &seven, 1, NULL },
		{ "h", "/late", NULL, 2, NULL },
		{ "h", "/late", &stranger, 2, NULL },
		{ "h", "/late", &seven, 2, NULL },
	};

	expect_met(&config, cases, array_count(cases));
}

Test(gateway_route, a_route_protects_its_own_host_and_path_alone)
{
	struct config_route routes[] = {
		{ .match = CONFIG_MATCH_PREFIX, .path = "/a", .host = "h", FOR(for_seven) },
		{ .match = CONFIG_MATCH_ANY, .path = "", .host = "h", FOR(for_any) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/b", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/a" },
	};
	const struct config config = { .routes = routes, .route_count = array_count(routes) };
	const struct met cases[] = {
		{ "h", "/a", &seven, 0, NULL },
		{ "h", "/a", &stranger, 1, NULL },
		{ "h", "/a", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "h", "/none", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "h", "*", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "g", "/a", NULL, 3, NULL },
		{ "g", "/a", &stranger, 3, NULL },
		/* At the end of the routes the certificate is told too. */
		{ "g", "/b", &seven, 2, NULL },
		{ "g", "/b", &stranger, -1, &CLIENT_CERTIFICATE_REFUSED },
		{ "g", "/b", NULL, -1, &CLIENT_CERTIFICATE_MISSING },
		{ "g", "/none", &seven, -1, &ROUTE_NONE },
		{ "g", "/none", NULL, -1, &ROUTE_NONE },
	};

	expect_met(&config, cases, array_count(cases));
}

/* Tomcat, Jetty and Spring serve all of these as the protected path. */
Test(gateway_route, parameters_of_segments_do_not_lead_around_a_protected_route)
{
	struct config_route routes[] = {
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor/public" },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/monitor", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PATH, .path = "/one/file", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/below/", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/semi;colon", FOR(for_seven) },
		{ .match = CONFIG_MATCH_PREFIX, .path = "/" },
	};
	const struct config config = { .routes = routes, .route_count = array_count(routes) };
	static const struct {
		const char *path;
		int route;                       /* for those who meet its condition */
	} cases[] = {
		{ "/monitor;a", 1 }, { "/monitor;", 1 }, { "/monitor;x=1/a", 1 }, { "/;/monitor", 1 }, { "/;a=b;c/monitor", 1 },
		{ "/;/;x/monitor/;", 1 }, { "/monitor/a;b", 1 }, { "/monitor;a;b;c/d;e/f", 1 }, { "/monitor%3Ba", 1 }, { "/%3B/monitor", 1 },
		{ "/monitor/;/a", 1 }, { "/mon;itor", 5 }, { "/monitor;/public", 1 }, { "/monitor/public;a", 1 }, { "/monitor/public/;a", 0 },
		{ "/one/file;a", 2 }, { "/one;a/file", 2 }, { "/one/;/file", 2 }, { "/;/one/;/;/file;", 2 },
		{ "/one/file;a/b", 5 }, { "/one/file;a/", 5 }, { "/one;/fil", 5 }, { "/one;/file2", 5 }, { "/one;/file%2", 5 }, { "/one;/file%3", 5 },
		{ "/below;a/", 3 }, { "/below/;a", 3 }, { "/;/below/b", 3 }, { "/below;a", 5 },
		{ "/semi;colon", 4 }, { "/semi;colon/a", 4 }, { "/semi", 5 },
		/* What is not protected is open, with parameters or without. */
		{ "/monitors;a", 5 }, { "/;", 5 }, { "/;/", 5 }, { "/;/monitors", 5 }, { "/a;/monitor", 5 }, { "/a/;/monitor", 5 }, { "/Monitor;a", 5 },
		{ "/;monitor", 5 }, { "/a;b=/monitor", 5 },
	};

	for (unsigned i = 0; i < array_count(cases); i++) {
		int route = cases[i].route;
		bool open = routes[route].client_count == 0;
		const struct met met[] = {
			{ "h", cases[i].path, &seven, route, NULL },
			{ "h", cases[i].path, &stranger, open ? route : -1, &CLIENT_CERTIFICATE_REFUSED },
			{ "h", cases[i].path, NULL, open ? route : -1, &CLIENT_CERTIFICATE_MISSING },
		};

		expect_met(&config, met, array_count(met));
	}
}

Test(gateway_route, parameters_change_nothing_for_a_route_that_is_open_to_all)
{
	cr_assert_not(takes(CONFIG_MATCH_PATH, "/count", "/count;a"));
	cr_assert_not(takes(CONFIG_MATCH_PATH, "/count", "/;/count"));
	cr_assert_not(takes(CONFIG_MATCH_PREFIX, "/sites", "/sites;a"));
	cr_assert_not(takes(CONFIG_MATCH_PREFIX, "/sites", "/;/sites/7"));
	cr_assert(takes(CONFIG_MATCH_PREFIX, "/sites", "/sites/7;a"));
}

Test(gateway_route, a_protected_path_is_no_longer_than_its_size_says)
{
	const struct config_route route = { .match = CONFIG_MATCH_PREFIX, .path = "/a/b", FOR(for_seven) };
	static const char whole[] = "/a%3Bx/;/b%3By/c";

	for (size_t size = 0; size < sizeof whole; size++) {
		char *exact = malloc(size ? size : 1);
		bool wanted = size == 10 || size >= 13;  /* "/b" and what is a parameter behind it; not "/b%" and "/b%3" */

		memcpy(exact, whole, size);
		cr_assert_eq(route_matches(&route, HTTP_TEXT("h"), (struct http_text){ exact, size }), wanted, "%zu", size);
		free(exact);
	}
}
