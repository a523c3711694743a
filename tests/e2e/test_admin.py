"""The admin socket: shapes that tools may rely on, and what is alive, named; and posternctl, which reads it to people."""
import json
import re
import socket
import subprocess

import pytest

from gateway import POSTERNCTL, eventually
from wire import PATIENCE_S, Wire, request_bytes, upgrade_bytes

CORE = {
    "connections": {"open", "accepted", "ended"}, "requests": {"total", "live", "by_status", "by_route"},
    "handshakes": {"done", "failed", "live", "full_1_2", "full_1_3", "resumed_1_2", "resumed_1_3", "at_work", "queued",
                   "waited", "refused", "displaced", "dropped"}, "websockets": {"open", "opened"}, "bytes": {"received", "sent"},
    "tickets": {"rotations", "saves_failed"},
    "ops": {"started", "ended", "live"}, "scopes": {"opened", "ended", "live"}, "chunks": {"total", "out", "lent"},
    "upstream": {"opened", "reused", "idle", "failed"}, "refusals": None,
    "ring": {"turns", "enters", "steps", "starved", "deadlines_fired"},
}


def posternctl(gateway, *arguments, socket_path=None):
    return subprocess.run([POSTERNCTL, "-s", socket_path or gateway.admin_socket, *arguments], capture_output=True, text=True,
                          timeout=PATIENCE_S)


def test_stats_have_their_shape(gateway):
    stats = gateway.stats()
    assert set(stats) >= {"version", "uptime_s", "state", "cores", "total"} and stats["state"] == "serving"
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+.*", stats["version"]) and stats["uptime_s"] >= 0
    assert [core["core"] for core in stats["cores"]] == list(range(len(stats["cores"]))) and len(stats["cores"]) == 2
    for part in (*stats["cores"], stats["total"]):
        for name, keys in CORE.items():
            assert name in part and (keys is None or keys <= set(part[name])), (name, part.get(name))


def test_the_total_is_the_sum_of_the_cores(gateway):
    for _ in range(20):
        gateway.ask("GET", "/count?siteId=x")
    stats = gateway.stats()
    for name, keys in CORE.items():
        for key in (keys or set()) - {"by_status", "by_route"}:
            assert stats["total"][name][key] == sum(core[name][key] for core in stats["cores"]), (name, key)


def test_both_cores_do_work(gateway):
    before = [core["connections"]["accepted"] for core in gateway.stats()["cores"]]
    for _ in range(200):
        gateway.ask("GET", "/count?siteId=x")
    after = [core["connections"]["accepted"] for core in gateway.stats()["cores"]]
    assert all(b > a for a, b in zip(before, after)), (before, after)


def test_scopes_show_a_request_that_waits_for_its_service(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    full = json.loads(gateway.admin_text("/scopes?full"))["scopes"]
    for scope in full:
        assert set(scope) >= {"core", "depth", "kind", "step", "site", "state", "reason", "age_ms", "deadline_ms", "bytes_held",
                              "timers", "ops"}
        assert scope["age_ms"] >= 0 and re.search(r"\.c:[0-9]+$", scope["site"])
        for op in scope["ops"]:
            assert set(op) >= {"name", "age_ms", "cancelled"}
    kinds = {scope["kind"] for scope in full}
    assert "connection" in kinds and len(kinds) >= 3, kinds
    grouped = json.loads(gateway.admin_text("/scopes"))["scopes"]
    for scope in grouped:
        assert set(scope) >= {"kind", "step", "site", "state", "count", "ops", "bytes_held", "oldest_ms"}
    assert {scope["kind"] for scope in grouped} == kinds


def connection_rows(gateway, step):
    """Those of clients: the one that asks is a connection as well, at the step serve."""
    return [row for row in json.loads(gateway.admin_text("/scopes?full"))["scopes"] if row["kind"] == "connection" and row["step"] == step]


def test_scopes_say_what_a_client_is_waited_for(start_gateway, raw):
    """While his service works only the client's end can come; behind our goodbye it must, and within timeouts.close."""
    gateway = start_gateway(cores=1, routes=[{"path": "/count", "serve": "count"}, {"prefix": "/raw", "proxy": "raw"}],
                            upstreams={"raw": raw.port}, timeouts={"close": "15s"})
    waiting, leaving = gateway.connect(), gateway.connect()
    waiting.send(request_bytes("GET", "/raw/a"))
    raw.accept().request()
    assert leaving.ask("GET", "/count?siteId=x", fields=[("Connection", "close")]).status == 200
    leaving.ended()
    row, = eventually(lambda: connection_rows(gateway, "say_goodbye"), "the gateway has said goodbye")
    assert row["waits"] == "the client's end" and 0 < row["wait_left_ms"] <= 15_100, row
    rows = [row for row in connection_rows(gateway, "serve") if row["waits"] == "the client's end"]
    assert rows and all(row["wait_left_ms"] is None for row in rows), connection_rows(gateway, "serve")
    assert not [op for row in connection_rows(gateway, "serve") + [row] for op in row["ops"] if op["name"] == "nothing"]


def test_scopes_and_stats_agree(gateway):
    wires = [gateway.connect() for _ in range(10)]
    for wire in wires:
        assert wire.ask("GET", "/count?siteId=x").status == 200
    full = json.loads(gateway.admin_text("/scopes?full"))["scopes"]
    # The question itself is alive as well while it is asked, in both answers; its receive may just be between two arms.
    assert len(full) == gateway.total()["scopes"]["live"]
    assert 0 <= sum(len(scope["ops"]) for scope in full) - gateway.total()["ops"]["live"] <= 1


def test_ten_thousand_lines_of_scopes_are_one_answer(gateway):
    wires = [gateway.connect() for _ in range(500)]
    for wire in wires:
        wire.send(upgrade_bytes())
        assert wire.response().status == 101
    full = json.loads(gateway.admin_text("/scopes?full"))["scopes"]
    assert len(full) >= 500
    assert json.loads(gateway.admin_text("/scopes"))["scopes"]


def test_metrics_are_prometheus_text(gateway):
    gateway.ask("GET", "/count?siteId=x")
    gateway.ask("GET", "/nothing/here")
    answer = gateway.admin("GET", "/metrics")
    assert answer.status == 200 and answer.get("Content-Type").startswith("text/plain")
    sample = re.compile(r'(postern_[a-z0-9_]+)(\{([a-z_]+="(\\.|[^"\\\n])*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)')
    names, seen = set(), set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram", "summary") and name not in names, line
            names.add(name)
        elif line and not line.startswith("#"):
            match = sample.fullmatch(line)
            assert match, line
            assert (match[1], match[2]) not in seen, f"twice: {line}"
            seen.add((match[1], match[2]))
            assert re.sub(r"_(bucket|sum|count)$", "", match[1]) in names or match[1] in names, line
    assert len(names) >= 10


def test_what_is_not_there_is_404_and_a_wrong_method_405(gateway):
    for method, target, status in (("GET", "/nothing", 404), ("POST", "/stats", 405), ("GET", "/drain", 405), ("DELETE", "/scopes", 405)):
        answer = gateway.admin(method, target)
        assert answer.status == status, (method, target, answer)
        assert sorted(json.loads(answer.body)) == ["error", "message"]


def test_the_admin_socket_serves_many_and_survives_rude_ones(gateway):
    for data in (b"", b"GET", b"nonsense\r\n\r\n", request_bytes("GET", "/stats"), request_bytes("GET", "/scopes?full") * 5):
        for _ in range(20):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(str(gateway.admin_socket))
            sock.sendall(data)
            sock.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(gateway.admin_socket))
        wire = Wire(sock)
        for _ in range(20):
            assert wire.ask("GET", "/stats", host="admin").status == 200


def test_curl_reads_the_admin_socket(gateway):
    done = subprocess.run(["curl", "-sS", "--fail", "--unix-socket", gateway.admin_socket, "http://admin/stats"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)["state"] == "serving"


# ---- posternctl --------------------------------------------------------------------------------------


def test_posternctl_stats(gateway):
    gateway.ask("GET", "/count?siteId=x")
    done = posternctl(gateway, "stats")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    first, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"postern [0-9.]+\S*, serving for .+, 2 cores", first)
    assert any(re.match(r"\s+total\s+core 0\s+core 1", line) for line in lines)
    assert any(re.search(r"route /count\s+[0-9]+\s+[0-9]+\s+[0-9]+$", line) for line in lines), done.stdout
    assert json.loads(posternctl(gateway, "stats", "--json").stdout)["total"]["requests"]["total"] > 0


def test_posternctl_scopes(gateway):
    wire = gateway.connect()
    assert wire.ask("GET", "/count?siteId=x").status == 200
    done = posternctl(gateway, "scopes")
    assert done.returncode == 0 and re.match(r"count\s+kind\s+step", done.stdout) and " connection " in done.stdout
    assert re.search(r"^[0-9]+ scopes, [0-9]+ operations$", done.stdout, re.MULTILINE)
    done = posternctl(gateway, "scopes", "--full")
    assert done.returncode == 0 and re.search(r"^ +connection .*age .*\[.*\.c:[0-9]+\]$", done.stdout, re.MULTILINE), done.stdout
    assert json.loads(posternctl(gateway, "scopes", "--full", "--json").stdout)["scopes"]


def test_posternctl_metrics_and_top(gateway):
    assert "postern_" in posternctl(gateway, "metrics").stdout
    done = posternctl(gateway, "top", "-n", "2", "-i", "0.1")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3 and "req/s" in done.stdout, done


def test_posternctl_says_what_is_wrong(gateway, tmp_path):
    done = posternctl(gateway, "stats", socket_path=tmp_path / "none.sock")
    assert done.returncode == 1 and "does not exist" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "file").write_text("")
    done = posternctl(gateway, "stats", socket_path=tmp_path / "file")
    assert done.returncode == 1 and "is not a socket" in done.stderr
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    done = posternctl(gateway, "stats", socket_path=tmp_path / "left.sock")
    assert done.returncode == 1 and "left its socket behind" in done.stderr
    assert posternctl(gateway, "nonsense").returncode == 2


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_posternctl_drain(start_gateway, as_json):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}])
    done = posternctl(gateway, "drain", *as_json)
    assert done.returncode == 0 and done.stdout.strip()
    assert gateway.wait() == 0
    eventually(lambda: "is postern running" in posternctl(gateway, "stats").stderr, "the socket is gone")
