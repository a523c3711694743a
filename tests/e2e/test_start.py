"""Commands and starts: what cannot work says what is wrong, where, and ends with a code that is not 0."""
import json
import os
import re
import signal
import socket

import pytest

from gateway import eventually, run_once
from upstreams import free_port

ROUTES = [{"path": "/count", "serve": "count"}]


def refused(gateway):
    """Starts a gateway that must not come up; returns what it said."""
    gateway.spawn()
    code = gateway.wait()
    assert code > 0, f"exit code {code}: {gateway.said()}"
    assert not gateway.reports(), gateway.reports()
    said = gateway.said()
    assert said.strip() and "Sanitizer" not in said
    return said


def test_version_is_said():
    done = run_once("version")
    assert done.returncode == 0 and re.match(r"postern [0-9]+\.[0-9]+\.[0-9]+", done.stdout), done


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run"], ["check"], ["run", "-c"], ["check", "--nonsense", "-c", "x"]])
def test_wrong_usage_is_explained(arguments):
    done = run_once(*arguments)
    assert done.returncode > 0 and (done.stderr.strip() or done.stdout.strip()), done


def test_help_is_no_error():
    done = run_once("--help")
    assert done.returncode == 0 and "check" in done.stdout and "run" in done.stdout


def test_check_accepts_what_run_accepts(start_gateway):
    gateway = start_gateway(start=False, routes=ROUTES)
    gateway.write()
    done = run_once("check", "-c", gateway.path)
    assert done.returncode == 0, done.stderr


def test_check_print_can_be_read_again_and_says_the_same(start_gateway, tmp_path):
    gateway = start_gateway(start=False, routes=ROUTES, timeouts={"request_head": "7s"})
    gateway.write()
    first = run_once("check", "--print", "-c", gateway.path)
    assert first.returncode == 0, first.stderr
    assert "request_head: 7s" in first.stdout and "keep_alive: 75s" in first.stdout
    again = tmp_path / "again.yaml"
    again.write_text(first.stdout)
    second = run_once("check", "--print", "-c", again)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr


FAULTS = {
    "unknown key": ("cores: 1\ncoers: 2\n", 2, "coers"),
    "bad number": ("cores: many\n", 1, "cores|many"),
    "bad duration": ("timeouts:\n  drain: soon\n", 2, "drain|soon"),
    "bad size": ("limits:\n  head_bytes_max: 16q\n", 2, "16q"),
    "unknown upstream": ("listeners:\n  - address: 127.0.0.1:1\nroutes:\n  - { prefix: /, proxy: nobody }\n", 4, "nobody"),
    "no yaml": ("cores: [1\n", None, "."),
    "a tab": ("limits:\n\thead_bytes_max: 1k\n", 2, "."),
    "missing certificate": ("listeners:\n  - address: 127.0.0.1:1\n    tls: { certificates: [ { certificate: no.pem, key: no.key } ] }\n"
                            "routes:\n  - { path: /count, serve: count }\n", 3, "no.pem"),
    "unknown serve": ("listeners:\n  - address: 127.0.0.1:1\nroutes:\n  - { path: /x, serve: magic }\n", 4, "magic"),
}


@pytest.mark.parametrize("text, line, names", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_fault_is_named_with_its_place(tmp_path, command, text, line, names):
    path = tmp_path / "postern.yaml"
    path.write_text(text)
    done = run_once(command, "-c", path, cwd=tmp_path)
    assert done.returncode > 0
    places = re.findall(re.escape(str(path)) + r":([0-9]+):([0-9]+): (.+)", done.stderr + done.stdout)
    assert any((line is None or int(place[0]) == line) and re.search(names, place[2]) for place in places), done


def test_every_fault_of_a_file_is_shown(tmp_path):
    path = tmp_path / "postern.yaml"
    path.write_text("coers: 1\nlimits:\n  head_bytes_max: 16q\ntimeouts:\n  drain: soon\n")
    said = run_once("check", "-c", path)
    said = said.stderr + said.stdout
    assert all(word in said for word in ("coers", "16q", "soon")), said


def test_a_missing_file_is_named(tmp_path):
    for command in ("run", "check"):
        done = run_once(command, "-c", tmp_path / "none.yaml")
        assert done.returncode > 0 and "none.yaml" in done.stderr + done.stdout, done


def test_a_port_that_is_taken_is_named(start_gateway):
    gateway = start_gateway(start=False, routes=ROUTES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", gateway.port))
        taken.listen()
        said = refused(gateway)
    assert str(gateway.port) in said and re.search("(?i)in use|taken", said), said


def test_two_gateways_do_not_share_a_port_unnoticed(start_gateway):
    """SO_REUSEPORT is for the cores of one process; a second one by mistake would get half of the connections."""
    first = start_gateway(routes=ROUTES)
    second = start_gateway(start=False, routes=ROUTES)
    second.configuration["listeners"][1]["address"] = f"127.0.0.1:{first.port}"
    assert str(first.port) in refused(second)
    for _ in range(20):
        assert first.ask("GET", "/count?siteId=x").status == 200


def test_a_key_of_another_certificate_is_named(start_gateway, certificates):
    gateway = start_gateway(start=False, routes=ROUTES)
    gateway.configuration["listeners"][0]["tls"]["certificates"] = [
        {"certificate": str(certificates / "ecdsa.pem"), "key": str(certificates / "rsa.key")}]
    said = refused(gateway)
    assert "rsa.key" in said or "ecdsa.pem" in said, said


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_a_damaged_certificate_or_key_is_named(start_gateway, certificates, tmp_path, broken):
    gateway = start_gateway(start=False, routes=ROUTES)
    damaged = tmp_path / f"damaged-{broken}"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    pair = {"certificate": str(certificates / "ecdsa.pem"), "key": str(certificates / "ecdsa.key"), broken: str(damaged)}
    gateway.configuration["listeners"][0]["tls"]["certificates"] = [pair]
    assert damaged.name in refused(gateway)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_named(start_gateway, certificates, tmp_path):
    gateway = start_gateway(start=False, routes=ROUTES)
    closed = tmp_path / "closed.key"
    closed.write_text("")
    closed.chmod(0)
    gateway.configuration["listeners"][0]["tls"]["certificates"] = [{"certificate": str(certificates / "ecdsa.pem"), "key": str(closed)}]
    assert "closed.key" in refused(gateway)


def test_a_log_that_cannot_be_written_is_named(start_gateway):
    gateway = start_gateway(start=False, routes=ROUTES, log={"access": "no/such/place/access.jsonl"})
    assert "access.jsonl" in refused(gateway)


def test_the_admin_socket_is_for_its_owner_alone(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    assert os.stat(gateway.admin_socket).st_mode & 0o777 == 0o600


def test_an_admin_socket_left_by_a_crash_is_no_obstacle(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    gateway.kill()
    assert gateway.admin_socket.exists()
    gateway.start()
    assert gateway.ask("GET", "/count?siteId=x").status == 200


def test_an_admin_socket_of_a_living_gateway_is_not_taken_away(start_gateway):
    first = start_gateway(routes=ROUTES)
    second = start_gateway(start=False, routes=ROUTES)
    second.configuration["admin"] = str(first.admin_socket)
    assert "admin.sock" in refused(second)
    assert first.stats()["state"] == "serving"


def test_the_file_may_be_yaml_as_people_write_it(tmp_path):
    port = free_port()
    path = tmp_path / "postern.yaml"
    path.write_text(f"""# a comment
cores: auto
log: {{ access: access.jsonl, level: info }}
listeners:
  - address: 127.0.0.1:{port}
routes:                          # first match wins
  - {{ path: /count, serve: count }}
""")
    done = run_once("check", "-c", path)
    assert done.returncode == 0, done.stderr


def test_signals_that_mean_nothing_do_nothing(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    gateway.signal(signal.SIGPIPE)
    gateway.signal(signal.SIGCONT)
    eventually(gateway.ready, "it is still there")
    assert json.loads(gateway.ask("GET", "/count?siteId=x").body) == {"count": 0}
