"""check.py: real requests through every target of the demonstration, with a table of what was seen; tools/run --check.

Each check sends, compares, and returns a word or two of what it saw; what is not as it should be is an AssertionError
with a sentence. They run in order: the last one looks at what the gateway says about all of them.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

import websocket

PATIENCE_S = 20
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class World:
    """Where the gateway is, and how one asks it something."""

    def __init__(self, run, pid):
        self.admin_socket = str(run / "admin.sock")
        self.access_log = run / "access.jsonl"
        self.pid = pid
        self.contexts = {}
        for name in ("ecdsa", "rsa"):
            self.contexts[name] = ssl.create_default_context(cafile=run / "tls" / f"{name}.pem")
        self.site = f"check-{uuid.uuid4().hex[:12]}"

    def connect(self, tls=True):
        sock = socket.create_connection(("127.0.0.1", 8443 if tls else 8080), timeout=PATIENCE_S)
        return self.contexts["ecdsa"].wrap_socket(sock, server_hostname="localhost") if tls else sock

    def http(self, tls=True):
        if tls:
            return http.client.HTTPSConnection("localhost", 8443, timeout=PATIENCE_S, context=self.contexts["ecdsa"])
        return http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE_S)

    def ask(self, method, target, body=None, fields={}, tls=True, **more):
        """(status, fields, body) over a connection of its own."""
        connection = self.http(tls)
        try:
            connection.request(method, target, body=body, headers=fields, **more)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def admin(self, target):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(self.admin_socket)
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            return answer.status, answer.headers, answer.read()

    def count(self, tls=True):
        status, _, body = self.ask("GET", f"/count?siteId={self.site}", tls=tls)
        assert status == 200, f"GET /count answered {status}"
        return json.loads(body)["count"]


def same(seen, wanted, what):
    assert seen == wanted, f"{what}: {seen!r}, wanted {wanted!r}"


def refusal(world, wanted, method, target, body=None, fields={}):
    status, _, text = world.ask(method, target, body, fields)
    same(status, wanted, f"{method} {target}")
    parsed = json.loads(text)
    assert parsed["error"] and parsed["message"], f"no error and message in {text!r}"
    return f"{status} {parsed['error']}"


# ---- count --------------------------------------------------------------------------------------


def count_new_site(world):
    same(world.ask("GET", f"/count?siteId={world.site}")[2].strip(), b'{"count":0}', "a site never seen")
    return "0"


def count_raised(world):
    form = urllib.parse.urlencode({"siteId": world.site})
    status, _, body = world.ask("POST", "/count", form, {"Content-Type": "application/x-www-form-urlencoded"})
    same((status, body.strip()), (200, b'{"status":"ok"}'), "POST /count")
    same(world.count(), 1, "the count over TLS")
    same(world.count(tls=False), 1, "the count over plain HTTP")
    return "1, over TLS and plain"


def count_together(world):
    form = urllib.parse.urlencode({"siteId": world.site})
    clients, each, troubles = 16, 25, []

    def enrol():
        try:
            connection = world.http()
            for _ in range(each):
                connection.request("POST", "/count", form, {"Content-Type": "application/x-www-form-urlencoded"})
                answer = connection.getresponse()
                answer.read()
                same(answer.status, 200, "POST /count")
            connection.close()
        except Exception as trouble:
            troubles.append(trouble)

    before = world.count()
    threads = [threading.Thread(target=enrol) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles, str(troubles[0])
    same(world.count() - before, clients * each, "the sum of all clients")
    return f"{clients} clients × {each}, none lost"


def count_without_site(world):
    return refusal(world, 400, "GET", "/count")


def count_wrong_method(world):
    return refusal(world, 405, "DELETE", f"/count?siteId={world.site}")


# ---- sites ---------------------------------------------------------------------------------------


def ask_json(world, method, target, wanted, body=None, fields={}):
    status, _, text = world.ask(method, target, json.dumps(body) if body else None, {"Content-Type": "application/json", **fields} if body else fields)
    same(status, wanted, f"{method} {target} ({text!r})")
    return json.loads(text)


def sites_cap(world):
    path = f"/sites/{world.site}-cap"
    ask_json(world, "PUT", path, 201, {"cap": 3, "reason": "protocol amendment 2"})
    ask_json(world, "POST", path + "/screenings", 200, {"by": 5})
    ask_json(world, "POST", path + "/enrolments", 200, {"by": 2})
    place = ask_json(world, "POST", path + "/reservations", 201, {"by": 1, "ttl": "1m"})["id"]
    same(ask_json(world, "POST", path + "/enrolments", 409, {"by": 1})["error"], "site_cap_reached", "one above the cap")
    ask_json(world, "POST", f"{path}/reservations/{place}/confirm", 200)
    seen = ask_json(world, "GET", path, 200)
    same((seen["count"], seen["screened"], seen["reserved"]), (3, 5, 0), "the site")
    ask_json(world, "PUT", path, 200, {"status": "closed"})
    same(ask_json(world, "POST", path + "/enrolments", 409, {"by": -1})["error"], "site_closed", "a closed site")
    return "3 of 3, a reservation, closed"


def sites_key(world):
    path, key = f"/sites/{world.site}-key", {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(3):
        ask_json(world, "POST", path + "/enrolments", 200, {"by": 4}, key)
    same(ask_json(world, "POST", path + "/enrolments", 422, {"by": 5}, key)["error"], "idempotency_key_reused", "the same key for another request")
    same(ask_json(world, "GET", path, 200)["count"], 4, "three times the same request")
    return "three times sent, once counted"


def sites_audit(world):
    for words in (["audit", "--site", world.site + "-cap"], ["audit", "verify"]):
        done = subprocess.run(["/usr/bin/python3", TREE + "/tools/posternctl", "-s", world.admin_socket, *words],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        same(done.returncode, 0, f"posternctl {' '.join(words)}: {done.stdout} {done.stderr}")
        if len(words) > 2:
            assert "protocol amendment 2" in done.stdout and "2 → 3" in done.stdout, done.stdout
    return next(line for line in done.stdout.splitlines() if line.startswith("sound"))[:40].split(".")[0]


# ---- proxy ---------------------------------------------------------------------------------------


def proxy_page(world):
    status, fields, body = world.ask("GET", "/")
    same(status, 200, "GET /")
    assert b"DEMO-1" in body and fields["Content-Type"].startswith("text/html"), "not the page of the service"
    return f"{len(body)} bytes of HTML"


def proxy_fields(world):
    seen = json.loads(world.ask("GET", "/api/request?visit=2", fields={"X-Forwarded-For": "192.0.2.7", "TE": "gzip",
                                                                       "Connection": "X-Hop", "X-Hop": "1"})[2])
    fields = {name.lower(): value for name, value in seen["fields"]}
    same(seen["target"], "/api/request?visit=2", "the target")
    same(fields.get("x-forwarded-proto"), "https", "X-Forwarded-Proto")
    assert fields.get("x-forwarded-for", "").endswith("127.0.0.1"), "X-Forwarded-For does not end with the client"
    assert "x-hop" not in fields, "a field named by Connection was passed on"
    return "X-Forwarded-* set, hop-by-hop removed"


def proxy_balanced(world):
    connection = world.http()
    servers = set()
    for _ in range(8):
        connection.request("GET", "/api/request")
        servers.add(json.loads(connection.getresponse().read())["server"])
    connection.close()
    return "answered by " + ", ".join(sorted(servers))


def proxy_upload(world):
    data = os.urandom(3 << 20)
    status, _, body = world.ask("PUT", "/api/upload", data)
    same(status, 200, "PUT /api/upload")
    same(json.loads(body), {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}, "what arrived")
    return f"{len(data) >> 20} MiB, checksum right"


def proxy_upload_chunked(world):
    pieces = [os.urandom(n) for n in (1, 10, 1000, 100_000, 1_000_000)]
    status, _, body = world.ask("POST", "/api/upload", iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    same(status, 200, "POST /api/upload")
    whole = b"".join(pieces)
    same(json.loads(body), {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}, "what arrived")
    return f"{len(pieces)} chunks, checksum right"


def proxy_stream(world):
    n = 16 << 20
    status, _, body = world.ask("GET", f"/bytes/{n}")
    same((status, len(body)), (200, n), "the stream")
    same(hashlib.sha256(body).digest(), hashlib.sha256(bytes(range(256)) * (n // 256)).digest(), "the stream's checksum")
    return f"{n >> 20} MiB, checksum right"


def proxy_slow(world):
    start = time.monotonic()
    same(world.ask("GET", "/slow?seconds=0.5")[0], 200, "GET /slow")
    return f"after {time.monotonic() - start:.1f} s"


def proxy_not_found(world):
    status, _, body = world.ask("GET", "/no/such/page")
    same(status, 404, "GET /no/such/page")
    assert b"nothing at this address" in body, "not the service's own answer"
    return "404 of the service"


# ---- WebSocket -----------------------------------------------------------------------------------


class Socket:
    def __init__(self, world, path, tls):
        self.sock = world.connect(tls)
        self.stream = self.sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        status = self.stream.readline()
        same(status.split()[1:2], [b"101"], f"the upgrade of {path}")
        fields = http.client.parse_headers(self.stream)
        same(fields["Sec-WebSocket-Accept"], websocket.accept_value(key), "Sec-WebSocket-Accept")

    def send(self, opcode, payload=b"", **more):
        self.sock.sendall(websocket.frame(opcode, payload, mask=True, **more))

    def receive(self):
        return websocket.read_message(self.stream, self.send)

    def close(self):
        """The closing handshake, to its end: the code comes back, then the connection ends."""
        self.send(websocket.CLOSE, (1000).to_bytes(2, "big"))
        opcode, payload = self.receive()
        same((opcode, payload[:2]), (websocket.CLOSE, (1000).to_bytes(2, "big")), "the answer to a close frame")
        same(self.stream.read(1), b"", "after the close")
        self.sock.close()


def websocket_echo(world):
    for tls in (True, False):
        sock = Socket(world, "/echo", tls)
        for size in (0, 1, 125, 126, 65535, 65536, 200_000):
            payload = os.urandom(size)
            sock.send(websocket.BINARY, payload)
            same(sock.receive(), (websocket.BINARY, payload), f"the echo of {size} bytes")
        sock.send(websocket.TEXT, "Grüße, ".encode(), fin=False)
        sock.send(websocket.PING, b"meanwhile")
        # The echo streams: the first fragment is on its way back before the second has come, and the pong stands between them.
        same(websocket.read_frame(sock.stream), (websocket.TEXT, False, "Grüße, ".encode()), "the echo of a fragment")
        same(websocket.read_frame(sock.stream), (websocket.PONG, True, b"meanwhile"), "the pong between two fragments")
        sock.send(0, "患者".encode())
        same(websocket.read_frame(sock.stream), (0, True, "患者".encode()), "the echo of the last fragment")
        sock.close()
    return "0 to 200 000 bytes, fragments, ping, close"


def websocket_bad_frame(world):
    sock = Socket(world, "/echo", True)
    # RFC 6455 section 5.1: a server closes the connection on a frame that is not masked.
    sock.sock.sendall(websocket.frame(websocket.TEXT, b"bare"))
    opcode, payload = sock.receive()
    same((opcode, int.from_bytes(payload[:2], "big")), (websocket.CLOSE, 1002), "the answer to an unmasked frame")
    sock.sock.close()
    return "closed with 1002"


def websocket_tunnel(world):
    sock = Socket(world, "/diary/socket", True)
    same(json.loads(sock.receive()[1])["type"], "hello", "the service's first word")
    for entry in (1, 2):
        sock.send(websocket.TEXT, b"slept well")
        same(json.loads(sock.receive()[1]), {"type": "saved", "entry": entry, "text": "slept well"}, "the diary")
    sock.close()
    return "hello, two entries, close"


def live_push(world):
    sockets = [Socket(world, f"/live?patient={world.site}", tls) for tls in (True, False)]
    until = time.monotonic() + PATIENCE_S
    told = {"delivered": 0}
    while told["delivered"] < 2 and time.monotonic() < until:   # a client sees its 101 a moment before a push finds it
        told = ask_json(world, "POST", f"/push/{world.site}", 202, {"body": {"text": "Your diary is open."}})
    for sock in sockets:
        while (message := json.loads(sock.receive()[1]))["id"] != told["id"]:
            pass
        same(message["body"], {"text": "Your diary is open."}, "what was pushed")
        sock.close()
    return f"{told['delivered']} sockets have it"


# ---- refusals and TLS ----------------------------------------------------------------------------


def refuse_two_lengths(world):
    with world.connect(tls=False) as sock:
        sock.sendall(b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"0\r\n\r\n")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        same(answer.status, 400, "two lengths")
        return f"400 {json.loads(answer.read())['error']}"


def tls_versions(world):
    seen = []
    for name in world.contexts:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            narrow = ssl.create_default_context()
            narrow.load_verify_locations(TREE + f"/run/tls/{name}.pem")
            narrow.minimum_version = narrow.maximum_version = version
            if version == ssl.TLSVersion.TLSv1_2:
                # A 1.2 suite names the kind of certificate; in 1.3 the server may choose, and takes ECDSA.
                narrow.set_ciphers(f"ECDHE-{name.upper()}-AES128-GCM-SHA256")
            elif name == "rsa":
                continue
            with socket.create_connection(("127.0.0.1", 8443), timeout=PATIENCE_S) as sock:
                with narrow.wrap_socket(sock, server_hostname="localhost") as secure:
                    seen.append(f"{secure.version()[-3:]} {name}")
    return ", ".join(seen)


# ---- what the gateway says about itself ----------------------------------------------------------


def admin_stats(world):
    status, _, body = world.admin("/stats")
    same(status, 200, "GET /stats")
    stats = json.loads(body)
    total = stats["total"]
    same(stats["state"], "serving", "the state")
    same(total["ops"]["started"], total["ops"]["ended"] + total["ops"]["live"], "operations started = ended + live")
    assert total["requests"]["total"] >= 400, "fewer requests than were made here"
    return f"{total['requests']['total']} requests, {total['connections']['accepted']} connections"


def admin_scopes(world):
    grouped = json.loads(world.admin("/scopes")[2])["scopes"]
    full = json.loads(world.admin("/scopes?full")[2])["scopes"]
    assert grouped and full, "nothing is alive, and yet it answers"
    return ", ".join(sorted({scope["kind"] for scope in full}))


def admin_metrics(world):
    text = world.admin("/metrics")[2].decode()
    names = set(re.findall(r"^(postern_[a-z0-9_]+)", text, re.MULTILINE))
    assert names, "no metric named postern_…"
    return f"{len(names)} metrics"


def posternctl_stats(world):
    done = subprocess.run(["/usr/bin/python3", TREE + "/tools/posternctl", "-s", world.admin_socket, "stats"],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    same(done.returncode, 0, "posternctl stats: " + done.stderr)
    return done.stdout.splitlines()[0]


def access_log(world):
    lines = [json.loads(line) for line in world.access_log.read_text().splitlines()]
    assert lines, "the access log is empty"
    assert not any("visit=2" in json.dumps(line) for line in lines), "a query string was logged"
    return f"{len(lines)} lines of JSON, no query string"


def nothing_left(world):
    """At rest: everything the checks opened has ended."""
    until = time.monotonic() + PATIENCE_S
    while True:
        total = json.loads(world.admin("/stats")[2])["total"]
        live = total["requests"]["live"], total["websockets"]["open"], total["handshakes"]["live"]
        # The one who asks is a connection too, and may or may not be counted as one.
        if live[1:] == (0, 0) and live[0] <= 1 and total["connections"]["open"] <= 1:
            return "no request, WebSocket or connection left"
        assert time.monotonic() < until, f"still alive: {live}, {total['connections']['open']} connections"
        time.sleep(0.05)


CHECKS = (
    ("count", "a new site has none", count_new_site),
    ("count", "POST raises by one", count_raised),
    ("count", "all at once", count_together),
    ("count", "no site named", count_without_site),
    ("count", "no such method", count_wrong_method),
    ("sites", "cap, reservation, closing", sites_cap),
    ("sites", "Idempotency-Key", sites_key),
    ("sites", "audit trail", sites_audit),
    ("proxy", "a page", proxy_page),
    ("proxy", "fields on the way", proxy_fields),
    ("proxy", "two servers", proxy_balanced),
    ("proxy", "upload by length", proxy_upload),
    ("proxy", "upload in chunks", proxy_upload_chunked),
    ("proxy", "a long stream", proxy_stream),
    ("proxy", "a slow answer", proxy_slow),
    ("proxy", "not found", proxy_not_found),
    ("echo", "WebSocket", websocket_echo),
    ("echo", "a broken frame", websocket_bad_frame),
    ("tunnel", "WebSocket to the service", websocket_tunnel),
    ("live", "a push to both sockets", live_push),
    ("refusal", "two lengths", refuse_two_lengths),
    ("tls", "versions, certificates", tls_versions),
    ("admin", "/stats", admin_stats),
    ("admin", "/scopes", admin_scopes),
    ("admin", "/metrics", admin_metrics),
    ("admin", "posternctl", posternctl_stats),
    ("log", "access log", access_log),
    ("rest", "nothing left", nothing_left),
)


def run(directory, pid):
    world = World(directory, pid)
    failed = 0
    for target, what, check in CHECKS:
        start = time.monotonic()
        try:
            mark, seen = "ok", check(world)
        except (AssertionError, OSError, http.client.HTTPException, ValueError, KeyError, TypeError,
                subprocess.SubprocessError, websocket.Ended) as trouble:
            mark, seen = "FAILED", str(trouble) or type(trouble).__name__
            failed += 1
        print(f"{mark:6}  {target:8} {what:26} {(time.monotonic() - start) * 1000:6.0f} ms  {seen}", flush=True)
    print(f"\n{len(CHECKS) - failed} of {len(CHECKS)} right", file=sys.stderr if failed else sys.stdout, flush=True)
    return 1 if failed else 0
