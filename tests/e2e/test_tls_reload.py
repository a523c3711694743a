"""New certificates while running: whoever comes gets the new ones, whoever is there notices nothing, and a bad file changes nothing."""
import json
import shutil
import signal
import ssl
import subprocess

import pytest

from certificates import pki  # noqa: F401 (a fixture)
from gateway import POSTERNCTL, eventually
from tls_clients import Tap, openssl
from wire import request_bytes

ROUTES = [{"path": "/count", "serve": "count"}, {"path": "/echo", "serve": "echo"}]


@pytest.fixture
def reloading(start_gateway, pki, tmp_path):
    """A gateway whose certificate files can be replaced: a host with the ones of `first`, later with those of `second`."""
    gateway = start_gateway(start=False, routes=ROUTES, log={"level": "debug"})
    gateway.files = {}
    for part in ("certificate", "key"):
        gateway.files[part] = tmp_path / f"live.{part}"
    gateway.first, gateway.second = pki.server("a.example.org"), pki.server("a.example.org", "new.example.org")
    put(gateway, gateway.first)
    gateway.configuration["listeners"][0]["tls"].update(certificates=[{part: str(path) for part, path in gateway.files.items()}])
    gateway.start()
    return gateway


def put(gateway, issued):
    """As tools that renew certificates do it: written beside, then renamed."""
    for part, path in gateway.files.items():
        draft = path.with_suffix(".draft")
        shutil.copy(getattr(issued, part), draft)
        draft.rename(path)


def context(pki, version=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(pki.servers.certificate)
    made.minimum_version = made.maximum_version = version
    return made


def shown(gateway, pki):
    """The certificate that a new connection gets, on each core."""
    found = set()
    for _ in range(16):
        with Tap(gateway.tls_port, context(pki), name="a.example.org").handshake() as client:
            assert client.ask("GET", "/count?siteId=x").status == 200
            found.add(ssl.DER_cert_to_PEM_cert(client.tls.getpeercert(True)))
    return found


def pem(issued):
    return {ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(issued.pem))}


def reload(gateway):
    answer = gateway.admin("POST", "/reload")
    return answer.status, json.loads(answer.body)


def test_new_connections_get_the_new_certificate_and_open_ones_go_on(reloading, pki):
    gateway = reloading
    there = [Tap(gateway.tls_port, context(pki, version), name="a.example.org").handshake()
             for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3) for _ in range(4)]
    for client in there:
        assert client.ask("GET", "/count?siteId=x").status == 200
    between = Tap(gateway.tls_port, context(pki), name="a.example.org")      # connected, and its hello comes after the reload
    assert shown(gateway, pki) == pem(gateway.first)
    put(gateway, gateway.second)
    assert shown(gateway, pki) == pem(gateway.first), "nobody has asked for a reload yet"
    assert reload(gateway) == (200, {"status": "reloaded"})
    assert shown(gateway, pki) == pem(gateway.second)
    assert between.handshake().ask("GET", "/count?siteId=x").status == 200
    for client in there:
        assert client.ask("GET", "/count?siteId=x").status == 200
        client.close()
    between.close()


def test_a_handshake_that_has_begun_is_finished_with_what_it_began_with(reloading, pki):
    gateway = reloading
    client = Tap(gateway.tls_port, context(pki), name="a.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.flush()
    client.incoming.write(client.wire.sock.recv(1 << 16))                    # our flight is there; the client's Finished is not sent yet
    put(gateway, gateway.second)
    assert reload(gateway)[0] == 200
    assert client.handshake().ask("GET", "/count?siteId=x").status == 200
    assert {ssl.DER_cert_to_PEM_cert(client.tls.getpeercert(True))} == pem(gateway.first)
    client.close()


def test_posternctl_reloads(reloading, pki):
    put(reloading, reloading.second)
    done = subprocess.run([POSTERNCTL, "-s", reloading.admin_socket, "reload"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert shown(reloading, pki) == pem(reloading.second)


def test_sighup_reloads(reloading, pki):
    put(reloading, reloading.second)
    reloading.signal(signal.SIGHUP)
    eventually(lambda: shown(reloading, pki) == pem(reloading.second), "the new certificate on every core")


BROKEN = {
    "missing": (lambda gateway: gateway.files["key"].unlink(), "key"),
    "empty": (lambda gateway: gateway.files["certificate"].write_text(""), "certificate"),
    "cut": (lambda gateway: gateway.files["certificate"].write_text(gateway.second.pem[:300]), "certificate"),
    "a key of another": (lambda gateway: shutil.copy(gateway.second.key, gateway.files["key"]), "key"),
    "swapped": (lambda gateway: shutil.copy(gateway.first.certificate, gateway.files["key"]), "key"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_file_is_told_in_a_sentence_and_changes_nothing(reloading, pki, case):
    """Two files are renamed one after the other, so that a reload between them meets a key that does not belong: that is no
    reason to stop serving."""
    gateway = reloading
    broken, part = BROKEN[case]
    there = Tap(gateway.tls_port, context(pki), name="a.example.org").handshake()
    broken(gateway)
    status, refusal = reload(gateway)
    assert status >= 400 and refusal["error"] == "reload_failed" and f"live.{part}" in refusal["message"], refusal
    assert shown(gateway, pki) == pem(gateway.first)
    assert there.ask("GET", "/count?siteId=x").status == 200
    there.close()
    done = subprocess.run([POSTERNCTL, "-s", gateway.admin_socket, "reload"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"live.{part}" in done.stderr, done
    before = len(gateway.said())                                             # it has been told of the same file above
    gateway.signal(signal.SIGHUP)
    eventually(lambda: "SIGHUP: " in gateway.said()[before:], gateway.said)
    assert f"live.{part}: " in gateway.said()[before:] and shown(gateway, pki) == pem(gateway.first)
    put(gateway, gateway.second)
    assert reload(gateway)[0] == 200 and shown(gateway, pki) == pem(gateway.second), "mended, and yet not taken"


def test_one_bad_host_keeps_all_as_they_were(start_gateway, pki, tmp_path):
    """All or nothing: half a reload would be a state that nobody has configured."""
    gateway = start_gateway(start=False, routes=ROUTES)
    names = ["a.example.org", "b.example.org"]
    files = {name: {"certificate": tmp_path / f"{name}.pem", "key": tmp_path / f"{name}.key"} for name in names}
    for name in names:
        for part, path in files[name].items():
            shutil.copy(getattr(pki.server(name), part), path)
    configured = [[{part: str(path) for part, path in files[name].items()}] for name in names]
    gateway.configuration["listeners"][0]["tls"].update(certificates=configured[0], hosts=[{"certificates": configured[1]}])
    gateway.start()
    for part, path in files["a.example.org"].items():
        shutil.copy(getattr(pki.server("a.example.org", "new.example.org"), part), path)
    files["b.example.org"]["key"].write_text("no key")
    assert reload(gateway)[0] >= 400
    assert shown(gateway, pki) == pem(pki.server("a.example.org"))


def test_revoked_clients_are_out_after_a_reload(start_gateway, pki, tmp_path):
    from certificates import Authority
    authority = Authority(tmp_path, "Reloaded CA")
    client = authority.issue("client", "/CN=Client", usage="clientAuth")
    gateway = start_gateway(start=False, routes=ROUTES)
    gateway.configuration["listeners"][0]["tls"].update(certificates=[pki.server("a.example.org").configured()], client_certificates={
        "ca": str(authority.certificate), "crl": str(authority.crl()), "required": True})
    gateway.start()
    made = context(pki, ssl.TLSVersion.TLSv1_2)
    made.load_cert_chain(client.certificate, client.key)
    with Tap(gateway.tls_port, made, name="a.example.org").handshake() as there:
        authority.revoke(client)
        authority.crl()
        assert reload(gateway)[0] == 200
        assert there.ask("GET", "/count?siteId=x").status == 200, "an open connection goes on untouched"
    with pytest.raises(ssl.SSLError, match="(?i)certificate.revoked"):
        Tap(gateway.tls_port, made, name="a.example.org").handshake()


def test_reloads_under_traffic_lose_nobody(reloading, pki):
    gateway = reloading
    there = Tap(gateway.tls_port, context(pki), name="a.example.org").handshake()
    for turn in range(10):
        put(gateway, gateway.second if turn % 2 == 0 else gateway.first)
        there.write(request_bytes("GET", f"/count?siteId={turn}"))
        assert reload(gateway)[0] == 200
        assert there.response().status == 200
        with Tap(gateway.tls_port, context(pki), name="a.example.org").handshake() as client:
            assert client.ask("GET", "/count?siteId=x").status == 200
    there.close()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_go_on_over_a_reload(reloading, pki, tmp_path, version):
    """New certificates are no reason for a storm of full handshakes."""
    path = tmp_path / "session"
    openssl(reloading.tls_port, pki.servers.certificate, version, "-sess_out", path, name="a.example.org")
    put(reloading, reloading.second)
    assert reload(reloading)[0] == 200
    again = openssl(reloading.tls_port, pki.servers.certificate, version, "-sess_in", path, name="a.example.org")
    assert again.resumed and again.answers == [200], again
