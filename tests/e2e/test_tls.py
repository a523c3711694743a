"""TLS as most clients meet it; the rest of it stands in test_tls_…: matrix, hello, hosts, client_certificates, resumption, records,
reload, admission, grade."""
import socket
import ssl
import subprocess

import pytest

from gateway import SLOW
from tls_clients import Tap
from wire import PATIENCE_S

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def test_tls_1_3_is_preferred(gateway):
    wire = gateway.connect(tls=True)
    assert wire.sock.version() == "TLSv1.3"
    assert wire.ask("GET", "/count?siteId=x").status == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offered, chosen", [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (None, None)])
def test_alpn_chooses_http_1_1(gateway, certificates, version, offered, chosen):
    wire = gateway.connect(tls=certificates.context(version, alpn=offered))
    assert wire.sock.selected_alpn_protocol() == chosen
    assert wire.ask("GET", "/count?siteId=x").status == 200


def test_alpn_without_a_common_protocol_is_refused(gateway, certificates):
    """RFC 7301 §3.2: the server SHALL respond with a fatal "no_application_protocol" alert."""
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        gateway.connect(tls=certificates.context(alpn=["h2"]))


def test_curl_that_wants_http_2_falls_back(gateway, certificates):
    done = subprocess.run(["curl", "-sS", "--http2", "--cacert", certificates / "both.pem", "-w", " %{http_version}",
                           f"https://localhost:{gateway.tls_port}/count?siteId=x"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.replace("\n", "")) == (0, '{"count":0} 1.1'), done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 7, 8, 100])
def test_a_handshake_in_small_pieces_is_the_same_handshake(gateway, certificates, version, size):
    with Tap(gateway.tls_port, certificates.context(version), size=size).handshake() as client:
        assert client.ask("GET", "/count?siteId=x").status == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_is_said_with_close_notify(gateway, certificates, version):
    """Without it a cut answer and a whole one look alike; this client takes a ragged end for an error."""
    wire = gateway.connect(tls=certificates.context(version))
    assert wire.ask("GET", "/count?siteId=x", fields=[("Connection", "close")]).status == 200
    wire.ended()


def test_any_server_name_is_served_where_no_host_is_configured(gateway, certificates):
    context = certificates.context()
    context.check_hostname = False
    for name in ("localhost", "other.example", "x" * 63 + ".example"):
        assert gateway.connect(tls=context, name=name).ask("GET", "/count?siteId=x").status == 200


def test_many_handshakes_at_once(gateway, certificates, long):
    """A crowd that only shakes hands does not keep out one who was there before."""
    there = gateway.connect(tls=True)
    context = certificates.context()
    wires = []
    for _ in range(200 if not long else 2000):
        sock = socket.create_connection(("127.0.0.1", gateway.tls_port))
        sock.settimeout(PATIENCE_S)
        wires.append(context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False))
    for wire in wires:
        wire.setblocking(False)
        try:
            wire.do_handshake()
        except ssl.SSLWantReadError:
            pass
    for _ in range(50):
        assert there.ask("GET", "/count?siteId=x").status == 200
    for wire in wires:
        wire.setblocking(True)
        wire.settimeout(PATIENCE_S * SLOW)
        wire.do_handshake()
        wire.close()


def test_handshakes_are_counted(gateway):
    before = gateway.total()["handshakes"]
    for _ in range(3):
        gateway.ask("GET", "/count?siteId=x", tls=True)
    after = gateway.total()["handshakes"]
    assert after["done"] == before["done"] + 3 and after["failed"] == before["failed"]
