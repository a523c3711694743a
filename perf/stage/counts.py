"""perf/stage/counts.py: sites that have a count, before anybody measures how it is read or raised.

A server that has just been started knows no site. Whoever asked it then would be told so (a map without that key, Redis's $-1), and
finding nothing is other work than reading what is there.

Of several cores each should have a share in each site, so a site is raised by the load itself, over as many connections as it has raises:
where two cores share the connections evenly, that all RAISES of one fall on the same core is less likely than one in half a million.
"""
import http.client
import json
import socket

from stage.load import Load
from stage.machine import PATIENCE_S, fail
from stage.servers import PLAIN

RAISES = 20                     # of each site, where the cores are several; one else, which is soon done on a slow disk, too
CLIENTS = 64


def asked_http(port, site):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", f"/count?siteId={site}")
        return json.loads(connection.getresponse().read())["count"]
    finally:
        connection.close()


def asked_redis(port, site):
    """A bulk string, $2 and 20 on a line each; $-1 alone: there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"GET {site}\r\n".encode())
        answer = connection.makefile("rb")
        return 0 if answer.readline() == b"$-1\r\n" else int(answer.readline())


def raise_sites(stage, row, words, contestant, arguments):
    """All sites that `arguments` would ask for, once in the life of a server; a row that would read nothing fails. bare has one answer only."""
    server = contestant["server"]
    if "posts" not in row or server == "bare" or stage.processes[server] in stage.raised:
        return
    raises = RAISES if "cores" in contestant else 1
    count = raises * words.sites
    load = Load(words, *arguments, "--posts-of-ten", 10, "--clients", CLIENTS, "--count", count, "--warm", 0, "--seconds", PATIENCE_S)
    load.line()
    load.go()
    told = load.told()
    load.end()
    if told["units"] != count:
        fail(f"{server}: {told['units']} of {count} raises were done within {PATIENCE_S} s")
    for number in {0, words.sites - 1}:
        site = f"site-{number:04}"                    # as the load calls them (perf/load/ask.c)
        found = (asked_redis if contestant.get("work") == "redis" else asked_http)(PLAIN[server], site)
        if found < raises:                            # more, where it was started anew with the state that it left
            fail(f"{server} tells {found} of {site}, which was raised {raises} times")
    stage.raised.add(stage.processes[server])
