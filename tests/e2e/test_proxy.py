"""The reverse proxy: what reaches the service, what comes back, which service it is."""
import subprocess

import pytest

from wire import request_bytes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def exchange(gateway, raw, *arguments, answer=OK, tls=False, **more):
    """One request through the gateway; returns (what the service saw, what the client got)."""
    wire = gateway.connect(tls)
    wire.send(request_bytes(*arguments, **more))
    far = raw.accept()
    seen = far.request()
    far.send(answer)
    return seen, wire.response(head_only=arguments[0] == "HEAD")


# ---- to the service ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/raw", "/raw/a/b", "/raw/a/", "/raw/a?b=c&d=%20e&&f", "/raw/%E6%82%A3", "/raw/;x=1", "/raw/a?//../%2f",
                                    "/raw/a?", "/raw/a:b@c!$&'()*+,=~._-"])
def test_the_target_arrives_as_it_was_sent(gateway, raw, target):
    seen, answer = exchange(gateway, raw, "GET", target)
    assert (seen.method, seen.target, seen.version, answer.body) == ("GET", target, 1, b"ok")


@pytest.mark.parametrize("target, routed", [
    ("/raw/%7Ea", "/raw/~a"), ("/raw/a//b", "/raw/a/b"), ("/raw/%e6%82%a3", "/raw/%E6%82%A3"), ("/r%61w/a", "/raw/a"),
    ("/second/../raw/a", "/raw/a"), ("/second/%2e%2e/raw/a", "/raw/a"), ("/raw/./a", "/raw/a"), ("/raw/b/.%2E/a", "/raw/a"),
    ("/raw/a/b/..", "/raw/a/"), ("//raw/a", "/raw/a"), ("/raw/a/../../raw/b?x=/../y", "/raw/b?x=/../y")])
def test_the_path_that_was_routed_is_the_path_that_is_sent_on(gateway, raw, second, target, routed):
    """If the route were chosen by one reading of the path and the service followed another, it would serve what was not meant."""
    seen, _ = exchange(gateway, raw, "GET", target)
    assert seen.target == routed
    assert not second.waiting()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"])
def test_every_method_is_passed_on(gateway, raw, method):
    seen, answer = exchange(gateway, raw, method, "/raw/a")
    assert (seen.method, answer.status) == (method, 200)


@pytest.mark.parametrize("tls", [False, True])
def test_the_service_learns_who_asked_and_how(gateway, raw, tls):
    seen, _ = exchange(gateway, raw, "GET", "/raw/a", tls=tls, host="edc.example:8443")
    assert seen.get("X-Forwarded-For") == "127.0.0.1"
    assert seen.get("X-Forwarded-Proto") == ("https" if tls else "http")
    assert seen.get("X-Forwarded-Host") == "edc.example:8443"


def test_a_client_cannot_hide_behind_an_x_forwarded_for_of_its_own(gateway, raw):
    seen, _ = exchange(gateway, raw, "GET", "/raw/a", fields=[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"),
                                                               ("X-Forwarded-Host", "elsewhere.example")])
    whole = {name: ", ".join(seen.all(f"X-Forwarded-{name}")) for name in ("For", "Proto", "Host")}
    assert whole["For"] in ("192.0.2.7, 127.0.0.1", "127.0.0.1")
    assert whole["Proto"].split(", ")[-1] == "http"
    assert whole["Host"].split(", ")[-1] == "localhost"


def test_fields_for_one_hop_are_not_passed_on(gateway, raw):
    """RFC 9110 §7.6.1: intermediaries MUST parse a received Connection header field and remove what it names."""
    seen, _ = exchange(gateway, raw, "GET", "/raw/a", fields=[
        ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers, deflate"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"), ("Proxy-Authorization", "Basic x"),
        ("X-End", "stays")])
    for name in ("X-Hop", "Keep-Alive", "Proxy-Connection", "Upgrade", "TE"):
        assert not seen.all(name) or (name == "TE" and seen.get("TE") == "trailers"), seen
    assert "x-hop" not in (seen.get("Connection") or "").lower() and "upgrade" not in (seen.get("Connection") or "").lower()
    assert seen.get("X-End") == "stays"


def test_connection_cannot_take_away_what_the_gateway_itself_says(gateway, raw):
    """`Connection: X-Forwarded-For` is a known way to hide from the service who asked."""
    seen, _ = exchange(gateway, raw, "GET", "/raw/a", fields=[("Connection", "close, X-Forwarded-For, Host, Content-Length")])
    assert seen.get("X-Forwarded-For") == "127.0.0.1" and seen.get("Host")


def test_fields_arrive_in_order_and_repeated_ones_stay_apart(gateway, raw):
    seen, _ = exchange(gateway, raw, "GET", "/raw/a", fields=[("X-A", "1"), ("X-B", "2"), ("X-A", "3"), ("X-Empty", ""),
                                                               ("Cookie", "a=b"), ("X-Bytes", "caf\xe9")])
    assert [pair for pair in seen.fields if pair[0].lower() in ("x-a", "x-b")] == [("X-A", "1"), ("X-B", "2"), ("X-A", "3")]
    assert (seen.get("X-Empty"), seen.get("X-Bytes")) == ("", "caf\xe9")


@pytest.mark.parametrize("tls", [False, True])
def test_a_body_arrives_by_its_length(gateway, raw, tls):
    seen, _ = exchange(gateway, raw, "POST", "/raw/a", b"x" * 100_000, tls=tls)
    assert (seen.get("Content-Length"), seen.body) == ("100000", b"x" * 100_000)


def test_a_body_in_chunks_arrives_whole(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Transfer-Encoding", "chunked")]))
    far = raw.accept()
    request = far.request(body=False)
    for piece in (b"1\r\na\r\n", b"3;name=value\r\nbcd\r\n", b"0005\r\nefghi\r\n", b"0\r\nX-Trailer: t\r\n\r\n"):
        wire.send(piece)
    far.read_body(request)
    assert request.body == b"abcdefghi"
    far.send(OK)
    assert wire.response().body == b"ok"


def test_a_body_streams_before_it_is_whole(gateway, raw):
    """The service sees the first half while the second is not even written."""
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Content-Length", "10")]) + b"first")
    far = raw.accept()
    far.request(body=False)
    assert far.read(5) == b"first"
    wire.send(b"later")
    assert far.read(5) == b"later"
    far.send(OK)
    assert wire.response().body == b"ok"


def test_a_post_without_a_body_says_so(gateway, raw):
    seen, _ = exchange(gateway, raw, "POST", "/raw/a", fields=[("Content-Length", "0")])
    assert seen.get("Content-Length") == "0"


# ---- back to the client ------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 1_000_000])
def test_an_answer_comes_back_by_its_length(gateway, raw, tls, size):
    wire = gateway.connect(tls)
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    body = bytes(i % 251 for i in range(size))
    far.send(b"HTTP/1.1 200 Fine\r\nContent-Length: %d\r\nX-From: far\r\n\r\n" % size)
    far.send(body)
    answer = wire.response()
    assert (answer.status, answer.get("X-From"), answer.body == body) == (200, "far", True)


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_in_chunks_streams_through(gateway, raw, tls):
    """Each piece reaches the client before the next one is written: nothing is kept back to make it neat."""
    wire = gateway.connect(tls)
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    head = wire.read_until(b"\r\n\r\n")
    assert b"chunked" in head.lower()
    for piece in (b"data: one\n\n", b"data: two\n\n"):
        far.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        size = int(wire.read_until(b"\r\n"), 16)
        assert wire.read(size + 2) == piece + b"\r\n"
    far.send(b"0\r\n\r\n")
    assert wire.read_until(b"\r\n\r\n") == b"0"


def test_an_answer_without_a_length_ends_with_its_connection(gateway, raw):
    """RFC 9112 §6.3: without a declared length the body ends where the server closes. The client gets a real end."""
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome text")
    far.close()
    answer = wire.response()
    assert (answer.get("Transfer-Encoding"), answer.body) == ("chunked", b"some text")


def test_an_http_1_0_answer_is_understood(gateway, raw):
    _, answer = exchange(gateway, raw, "GET", "/raw/a", answer=b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (answer.version, answer.body) == (1, b"ok")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_by_rule_has_none(gateway, raw, status):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 %d None\r\nETag: \"e\"\r\n\r\n" % status)
    answer = wire.response()
    assert (answer.status, answer.get("ETag")) == (status, '"e"')
    assert wire.ask("GET", "/count?siteId=x").status == 200


def test_the_answer_to_head_keeps_its_length_and_has_no_body(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("HEAD", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    assert wire.response(head_only=True).get("Content-Length") == "12345"
    assert wire.ask("GET", "/count?siteId=x").status == 200


def test_an_interim_answer_does_not_take_the_place_of_the_final_one(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert wire.response().body == b"ok"


def test_fields_for_one_hop_do_not_come_back(gateway, raw):
    _, answer = exchange(gateway, raw, "GET", "/raw/a", answer=b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
                         b"Keep-Alive: timeout=9\r\nProxy-Connection: close\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok")
    assert not answer.all("X-Hop") and not answer.all("Proxy-Connection")
    assert "timeout=9" not in (answer.get("Keep-Alive") or "")
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]


def test_an_early_answer_reaches_a_client_that_is_still_sending(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Content-Length", "1000000")]) + b"x" * 1000)
    far = raw.accept()
    far.request(body=False)
    far.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop")
    answer = wire.response()
    assert (answer.status, answer.body) == (403, b"stop")


# ---- which service -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host, target, where", [
    ("first.example", "/anything", "raw"), ("FIRST.example:8080", "/count", "raw"),
    ("a.wild.example", "/x", "second"), ("a.b.wild.example", "/x", "second"),
    # A name that is written absolutely: the same one, and forwarded as it was sent.
    ("first.example.", "/anything", "raw"), ("First.example.:8080", "/count", "raw"), ("a.b.wild.example.", "/x", "second"),
    ("localhost", "/second", "second"), ("localhost", "/second/a", "second"),
    ("localhost", "/raw/special", "second"), ("localhost", "/raw/never", "raw"), ("localhost", "/raw/special/not", "raw")])
def test_the_first_route_that_matches_wins(gateway, raw, second, host, target, where):
    chosen, left = (raw, second) if where == "raw" else (second, raw)
    seen, _ = exchange(gateway, chosen, "GET", target, host=host)
    assert (seen.target, seen.get("Host"), seen.get("X-Forwarded-Host")) == (target, host, host)
    assert not left.waiting()


@pytest.mark.parametrize("host, target", [("wild.example", "/nowhere"), ("first.example..", "/nowhere"), (".", "/nowhere"), ("xfirst.example", "/nowhere"), ("localhost", "/secondary"),
                                          ("localhost", "/SECOND"), ("localhost", "/nowhere")])
def test_what_no_route_matches_is_404(gateway, raw, second, host, target):
    assert gateway.ask("GET", target, host=host).status == 404
    assert not raw.waiting() and not second.waiting()


@pytest.mark.parametrize("target", ["/..", "/raw/../../a", "/raw/%2e%2e/%2e%2e/a", "/raw/a%2fb", "/raw/a%5cb", "/raw/a\\b", "/raw/..;/a", "/raw/%"])
def test_a_path_that_programs_read_differently_is_refused(gateway, raw, target):
    assert gateway.ask("GET", target).status == 400
    assert not raw.waiting()


def test_servers_of_a_group_share_the_work(start_gateway, raw, second):
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "pair"}],
                            upstreams={"pair": {"servers": [f"127.0.0.1:{raw.port}", f"127.0.0.1:{second.port}"],
                                                "balance": "round_robin"}})
    wires = [gateway.connect() for _ in range(6)]
    for wire in wires:
        wire.send(request_bytes("GET", "/x"))
    fars = [far for upstream in (raw, second) for far in [upstream.accept() for _ in range(3)]]
    for far in fars:
        far.request()
        far.send(OK)
    assert [wire.response().body for wire in wires] == [b"ok"] * 6


def test_an_upstream_connection_is_used_again(start_gateway, raw):
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_keep_alive": "2s"})
    wire, far = gateway.connect(), None
    for number in range(10):
        wire.send(request_bytes("GET", f"/{number}"))
        far = far or raw.accept()
        assert far.request().target == f"/{number}"
        far.send(OK)
        assert wire.response().body == b"ok"
    assert gateway.total()["upstream"]["opened"] == 1 and gateway.total()["upstream"]["reused"] == 9


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                                    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 Not asked for\r\nContent-Length: 0\r\n\r\n"])
def test_an_upstream_connection_that_cannot_be_trusted_is_not_used_again(start_gateway, raw, answer):
    """An answer nobody asked for would be given to the next client: the response queue poisoned."""
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_keep_alive": "2s"})
    for _ in range(2):
        _, got = exchange(gateway, raw, "GET", "/x", answer=answer)
        assert (got.status, got.body, got.reason) == (200, b"ok", "OK")
        raw.wires[-1].gone()


def test_a_kept_connection_that_the_service_closed_is_not_used(start_gateway, raw):
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_keep_alive": "5s"})
    for _ in range(5):
        seen, got = exchange(gateway, raw, "POST", "/x", b"once")
        assert (seen.body, got.body) == (b"once", b"ok")
        raw.wires[-1].close()


# ---- a real server, a client that we did not write ---------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_curl_gets_a_page_of_nginx(gateway, certificates, tls):
    address = f"https://localhost:{gateway.tls_port}" if tls else f"http://127.0.0.1:{gateway.port}"
    done = subprocess.run(["curl", "-sS", "--fail", "--cacert", certificates / "both.pem", address + "/nginx/hello.txt"],
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"hello from nginx\n"), done.stderr


def test_nginx_sees_the_forwarded_fields(gateway):
    answer = gateway.ask("GET", "/nginx/fields", tls=True, host="edc.example")
    assert b"GET /nginx/fields|" in answer.body and b"|for=127.0.0.1|proto=https|" in answer.body, answer.body


def test_nginx_answers_ranges_and_conditions_through_the_proxy(gateway, nginx):
    target = nginx.file("ranged.bin", bytes(range(256)) * 4)
    answer = gateway.ask("GET", target, fields=[("Range", "bytes=10-19")])
    assert (answer.status, answer.body) == (206, bytes(range(10, 20)))
    tag = gateway.ask("HEAD", target).get("ETag")
    assert gateway.ask("GET", target, fields=[("If-None-Match", tag)]).status == 304
    assert gateway.ask("GET", "/nginx/empty").status == 204
    assert gateway.ask("GET", "/nginx/missing").status == 404
    assert gateway.ask("GET", "/nginx/moved").status == 302
