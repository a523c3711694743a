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

	for (unsigned i = 0; i < array_count(cases); i++)
		cr_assert_eq(route_find(&config, http_text_of(cases[i].host), http_text_of(cases[i].path)),
		             cases[i].index < 0 ? NULL : &routes[cases[i].index], "%s %s", cases[i].host, cases[i].path);
}

Test(gateway_route, without_routes_none_is_found)
{
	const struct config config = { 0 };

	cr_assert_null(route_find(&config, HTTP_TEXT("h"), HTTP_TEXT("/")));
}
