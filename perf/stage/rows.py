"""perf/stage/rows.py: what is measured, one row each.

    says         a sentence for --list                        unit         what is counted
    headline     which of a measure's figures is the row's    measure      how one is taken (measures.py); `work` where nothing is said
    contestants  label: which server, and where it is asked   before       once a round, before the first contestant
    work path clients flags plain version posts               what the load does (perf/load/main.c)
    ratios       which are told: (ours, the rivals of which the better counts, what is asked, if something is)

What is asked is at_most or at_least of a ratio, and the same for all who measure: it stands here once.
"""
from stage import measures

# Figures: what they are called, their unit, and what to divide by to get it. For a person.
FIGURES = {
    "cpu_us": ("CPU", "µs", 1), "p99_us": ("p99", "ms", 1000), "bytes": ("memory", "kB", 1000), "last_us": ("last after", "ms", 1000),
    "capacity": ("capacity", "thousands/s", 1000), "rate": ("rate", "/s", 1), "p50_us": ("p50", "ms", 1000), "p999_us": ("p99.9", "ms", 1000),
}
HIGHER_IS_BETTER = {"capacity", "rate"}


def asks(path, *servers, **more):
    return {server: {"server": server, "path": path, **more} for server in servers}


PROXIES = ("nginx", "haproxy")
GINS = ("gin, rwmutex", "gin, atomic")


def proxy(path, unit, says, at_most=None, **more):
    """With `buffering` nginx takes part twice: with that, too, which is its default, and may spill large bodies to a file."""
    contestants = asks(path, "nginx", "haproxy", "postern")
    rivals = PROXIES
    if more.pop("buffering", False):
        contestants = {"nginx": contestants["nginx"], "nginx, buffering": {"server": "nginx", "path": "/buffered" + path},
                       "haproxy": contestants["haproxy"], "postern": contestants["postern"]}
        rivals = ("nginx", "nginx, buffering", "haproxy")
    return dict(says=says, unit=unit, contestants=contestants, ratios=[("postern", rivals, dict(at_most=at_most) if at_most else {})], **more)


def shaken(says, **more):
    return proxy("/count?siteId=1", "connection", says, work="connections", clients=32, **more)


def counted(says, contestants, ratios, **more):
    return dict(says=says, unit="request", work="counts", clients=64, plain=True, ratios=ratios, contestants={
        name: {"server": name, **({"work": "redis"} if name.startswith("redis") else {})} for name in contestants}, **more)


LIVE = "/live?patient=all"
# Sockets that stay: held by a server itself, and through a proxy by the service behind, which is all that nginx and HAProxy can do.
KEPT_SOCKETS = {**{f"{server}, through": {"server": server, "path": "/through"} for server in PROXIES}, **asks(LIVE, "gorilla"),
                "postern, through": {"server": "postern", "path": "/through"}, **asks(LIVE, "postern")}
KEPT_RATIOS = [("postern", ("gorilla",), {}), ("postern, through", ("nginx, through", "haproxy, through"), {})]

ROWS = {
    "proxy-plain": proxy("/1k", "request", "1 KiB from the service behind, 64 kept connections, without TLS", 0.75,
                         work="requests", clients=64, plain=True, buffering=True),
    "proxy-tls": proxy("/1k", "request", "1 KiB from the service behind, 64 kept connections, TLS 1.3", 0.7, work="requests", clients=64,
                       buffering=True),
    "answer-tls": proxy("/count?siteId=1", "request", "a small answer of the server itself, 64 kept connections, TLS 1.3",
                        work="requests", clients=64),
    "handshake-full": shaken("a connection, a full handshake of TLS 1.3, a small request, a goodbye", version="1.3"),
    "handshake-full-1.2": shaken("a connection, a full handshake of TLS 1.2, a small request, a goodbye", version="1.2"),
    "handshake-resumed": shaken("a connection with the ticket of the client's last one, TLS 1.3, a small request, a goodbye", version="1.3", flags=["--resume"]),
    "handshake-resumed-1.2": shaken("a connection with the ticket of the client's last one, TLS 1.2, which exchanges no keys then", version="1.2", flags=["--resume"]),
    "download-plain": proxy("/1m", "MiB", "1 MiB from the service behind, 16 kept connections, without TLS", work="requests", clients=16, plain=True,
                            buffering=True),
    "download-tls": proxy("/1m", "MiB", "1 MiB from the service behind, 16 kept connections, TLS 1.3", 0.8, work="requests", clients=16, buffering=True),
    "upload-plain": proxy("/drop", "MiB", "1 MiB to the service behind, 16 kept connections, without TLS", work="uploads", clients=16, plain=True,
                          buffering=True),
    "upload-tls": proxy("/drop", "MiB", "1 MiB to the service behind, 16 kept connections, TLS 1.3", 0.8, work="uploads", clients=16, buffering=True),
    "ws-echo": dict(says="256 WebSockets over TLS: a message of 64 bytes and its echo, from the server itself", unit="message",
                    work="messages", clients=256, contestants=asks("/echo", "gorilla", "postern"), ratios=[("postern", ("gorilla",), {})]),
    "ws-proxied": proxy("/through", "message", "256 WebSockets over TLS: a message of 64 bytes and its echo, through a proxy from the service behind", work="messages", clients=256),
    "ws-opening": dict(says="9 500 WebSockets over TLS opened and kept: CPU of each", unit="socket", measure=measures.opening, clients=9500,
                       contestants=KEPT_SOCKETS, ratios=KEPT_RATIOS),
    "ws-idle": dict(says="9 500 WebSockets over TLS that say nothing: memory of each, in the process", unit="socket", headline="bytes",
                    measure=measures.opening, settle=2, clients=9500, contestants=KEPT_SOCKETS, ratios=KEPT_RATIOS),
    "ws-churn": dict(says="a WebSocket opened over TLS and closed in order, 32 at once: CPU of each", unit="socket", work="churn", clients=32,
                     contestants=asks("/echo", "gorilla", "postern"), ratios=[("postern", ("gorilla",), {})]),
    "ws-fanout": dict(says="one push to 5 000 WebSockets over TLS: time until the last one has it", unit="socket", headline="last_us",
                      measure=measures.push, clients=5000, contestants=asks(LIVE, "gorilla", "postern"),
                      ratios=[("postern", ("gorilla",), {})]),
    "ws-heartbeat": dict(says="9 500 WebSockets that say nothing: CPU of each ping and its pong", unit="ping", measure=measures.heartbeat,
                         clients=9500, contestants=asks(LIVE, "gorilla", "postern"), ratios=[("postern", ("gorilla",), {})]),
    "tls-idle": dict(says="9 500 TLS connections that have asked once: memory of each, in the process", unit="connection", headline="bytes",
                     measure=measures.idle, work="idle", clients=9500, contestants=asks("/count?siteId=1", "nginx", "haproxy", "postern"),
                     ratios=[("postern", PROXIES, {})]),
    "count-get": counted("GET /count of 100 sites in turn, without TLS; of Redis a GET; bare knows one answer only",
                         (*GINS, "redis", "bare", "postern"),
                         [("postern", GINS, dict(at_most=0.35)), ("postern", ("bare",), dict(at_most=1.3)), ("postern", ("redis",), {})],
                         posts=0),
    "count-post": counted("POST /count that raises by one, kept in memory; of Redis an INCR without its file", (*GINS, "redis", "postern"),
                          [("postern", GINS, dict(at_most=0.4)), ("postern", ("redis",), {})], posts=10),
    "count-mixed": counted("nine GET /count and one POST that raises by one", (*GINS, "redis", "postern", "postern, durable"),
                           [("postern", GINS, {}), ("postern", ("redis",), {})], posts=1),
    "count-durable": counted("POST /count, on the disk before the answer; of Redis with appendfsync always",
                             ("redis, durable", "postern, durable"), [("postern, durable", ("redis, durable",), {})], posts=10,
                             headline="rate", before=measures.disk),
    "storm": dict(says="50 clients with 2 000 requests a second among them, while 64 others shake hands as fast as they can: p99",
                  unit="handshake", headline="p99_us", measure=measures.storm, work="connections", clients=64,
                  contestants=asks("/count?siteId=1", "nginx", "haproxy", "postern"), ratios=[("postern", PROXIES, {})]),
    "storm-hellos": dict(says="50 clients with 2 000 requests a second among them, while 64 others say hello and go: p99", unit="hello", headline="p99_us", measure=measures.storm, work="hellos",
                         clients=64, contestants=asks("/count?siteId=1", "nginx", "haproxy", "postern"), ratios=[("postern", PROXIES, {})]),
    "cores": dict(says="GET /count by one core and by two: what their CPU time is good for", unit="request", headline="capacity",
                  measure=measures.cores, work="counts", posts=0, clients=64, plain=True,
                  contestants={"postern, 1 core": {"server": "postern", "cores": 1},
                               "postern, 2 cores": {"server": "postern, 2 cores", "cores": 2}},
                  ratios=[("postern, 2 cores", ("postern, 1 core",), dict(at_least=1.85))]),
    "rate": proxy("/1k", "request", "as proxy-plain, at 30, 60 and 90 % of what the slowest can do: p99 at 60 %, from when a request was due",
                  work="requests", clients=64, plain=True, headline="p99_us", measure=measures.at_rates, before=measures.saturation,
                  percents=(30, 60, 90), buffering=True),
    "rate-count": counted("as count-get, at 30, 60 and 90 % of what the slowest can do: p99 at 60 %, from when a request was due", ("gin, atomic", "redis", "postern"),
                          [("postern", ("gin, atomic",), {}), ("postern", ("redis",), {})], posts=0, headline="p99_us",
                          measure=measures.at_rates, before=measures.saturation, percents=(30, 60, 90)),
}
for row in ROWS.values():
    row.setdefault("measure", measures.work)
    row.setdefault("headline", "cpu_us")


def many(unit):
    return unit if unit == "MiB" else unit + "s"


def headline_words(key, unit):
    """"µs CPU/request", "p99 ms", "requests/s"."""
    if key == "rate":
        return f"{many(unit)}/s"
    name, scale, _ = FIGURES[key]
    return f"{scale} {name}/{unit}" if key in ("cpu_us", "bytes") else f"{name} {scale}"
