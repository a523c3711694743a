"""Resumption by tickets: from either core, after a restart, never for another host, never where clients show certificates."""
import os
import re
import ssl

import pytest

from certificates import openssl as tool
from certificates import pki  # noqa: F401 (a fixture)
from tls_clients import Tap, gnutls, openssl

COUNT = [{"path": "/count", "serve": "count"}]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def served(tmp_path_factory, certificates, pki):
    from gateway import Gateway
    gateway = Gateway(tmp_path_factory.mktemp("tickets"), certificates, routes=COUNT, cores=2)
    one = [pki.server("a.example.org", "b.example.org", "localhost").configured()]
    gateway.configuration["listeners"][0]["tls"].update(certificates=one, hosts=[
        {"names": ["a.example.org"], "certificates": one}, {"names": ["b.example.org"], "certificates": one},
        {"names": ["mtls.example.org"], "certificates": [pki.server("mtls.example.org").configured()],
         "client_certificates": {"ca": str(pki.clients.certificate), "required": False}}])
    with gateway.serving():
        yield gateway


@pytest.fixture
def tickets(served):
    yield served
    served.at_rest()


def context(pki, version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(pki.servers.certificate)
    made.minimum_version = made.maximum_version = version
    return made


def visit(gateway, made, name="a.example.org", session=None):
    """One connection and one request; (whether it was resumed, the session to resume the next time)."""
    with Tap(gateway.tls_port, made, name=name, session=session).handshake() as client:
        assert client.ask("GET", "/count?siteId=x").status == 200     # in 1.3 the ticket comes with the first bytes of the answer
        resumed, session = client.tls.session_reused, client.tls.session
    return resumed, session


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_who_was_here_is_resumed_on_whichever_core(tickets, pki, version):
    """The kernel spreads connections over the cores; the keys of the tickets are the same on all of them."""
    made = context(pki, version)
    resumed, session = visit(tickets, made)
    assert not resumed and session is not None and session.has_ticket
    before = [core["connections"]["accepted"] for core in tickets.stats()["cores"]]
    for _ in range(24):
        resumed, next_session = visit(tickets, made, session=session)
        assert resumed
        session = next_session or session                       # 1.3: a fresh ticket each time; 1.2: the old one goes on
    after = [core["connections"]["accepted"] for core in tickets.stats()["cores"]]
    assert all(now > then for then, now in zip(before, after)), f"only one core was met: {before} → {after}"


@pytest.mark.parametrize("version", VERSIONS)
def test_no_ticket_is_good_at_another_host(tickets, pki, version):
    """The same certificate, the same gateway, another name: RFC 8446 §4.6.1 and the attacks of 2014 (virtual host confusion)."""
    made = context(pki, version)
    _, session = visit(tickets, made, "a.example.org")
    for name in ("b.example.org", "localhost"):
        assert not visit(tickets, made, name, session)[0], name
    assert visit(tickets, made, "a.example.org", session)[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_ticket_is_given_where_clients_are_asked_for_certificates(tickets, pki, version):
    """Who was revoked since then must not come back by a ticket."""
    made = context(pki, version)
    made.load_cert_chain(pki.client("Good ec", kind="ec").chain, pki.client("Good ec", kind="ec").key)
    _, session = visit(tickets, made, "mtls.example.org")
    assert session is None or not session.has_ticket
    assert not visit(tickets, made, "mtls.example.org", session)[0]
    # … nor does a ticket of another host open it.
    _, session = visit(tickets, made, "a.example.org")
    assert not visit(tickets, made, "mtls.example.org", session)[0]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_openssl_resumes(tickets, pki, tmp_path, version, suite):
    path = tmp_path / "session"
    options = ["-cipher", f"ECDHE-ECDSA-{suite}"] if version == "-tls1_2" else ["-ciphersuites", {
        "AES128-GCM-SHA256": "TLS_AES_128_GCM_SHA256", "AES256-GCM-SHA384": "TLS_AES_256_GCM_SHA384"}.get(suite, "TLS_CHACHA20_POLY1305_SHA256")]
    first = openssl(tickets.tls_port, pki.servers.certificate, version, *options, "-sess_out", path, name="a.example.org")
    assert not first.resumed and first.answers == [200], first
    again = openssl(tickets.tls_port, pki.servers.certificate, version, *options, "-sess_in", path, name="a.example.org")
    assert again.resumed and again.answers == [200] and again.cipher == first.cipher, again


@pytest.mark.parametrize("groups", ["X25519", "P-256", "P-384:X25519"])
def test_openssl_resumes_with_a_fresh_key_exchange(tickets, pki, tmp_path, groups):
    """psk_dhe_ke alone: who steals the keys of the tickets later cannot read what was said. The last one with a HelloRetryRequest."""
    path = tmp_path / "session"
    openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-sess_out", path, name="a.example.org")
    again = openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-groups", groups, "-sess_in", path, name="a.example.org")
    assert again.resumed and again.answers == [200] and again.group == groups.split(":")[-1], again


def test_a_client_that_would_do_without_a_fresh_key_exchange_gets_one(tickets, pki, tmp_path):
    path = tmp_path / "session"
    openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-sess_out", path, name="a.example.org")
    again = openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-allow_no_dhe_kex", "-sess_in", path, name="a.example.org")
    assert again.answers == [200] and again.group, again


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_gnutls_resumes(tickets, pki, version):
    talk = gnutls(tickets.tls_port, pki.servers.certificate, "--resume", "--waitresumption", name="a.example.org",
                  priority=f"NORMAL:-VERS-ALL:+VERS-TLS{version}")
    assert talk.resumed and talk.answers == [200], talk


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_outlives_a_restart(start_gateway, certificates, version):
    gateway = start_gateway(routes=COUNT)
    made = certificates.context(version)
    _, session = visit(gateway, made, "localhost")
    path = gateway.directory / "state" / "ticket.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    gateway.stop()
    gateway.start()
    assert visit(gateway, made, "localhost", session)[0]
    gateway.stop()
    path.unlink()
    gateway.start()
    assert not visit(gateway, made, "localhost", session)[0], "other keys, and yet it was resumed"


def test_a_damaged_file_of_keys_costs_a_full_handshake_and_no_more(start_gateway, certificates):
    gateway = start_gateway(routes=COUNT)
    made = certificates.context(ssl.TLSVersion.TLSv1_3)
    _, session = visit(gateway, made, "localhost")
    gateway.stop()
    path = gateway.directory / "state" / "ticket.keys"
    whole = path.read_bytes()
    for damage in (whole[:-1], whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], b"", b"not ours\n" * 10):
        path.write_bytes(damage)
        gateway.start()
        assert "ticket" in gateway.said(), gateway.said()
        resumed, _ = visit(gateway, made, "localhost", session)
        assert not resumed
        gateway.stop()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_ticket_of_garbage_leads_to_a_full_handshake(tickets, pki, tmp_path, version):
    """RFC 5077 §3.1: "The server … SHOULD silently ignore the ticket and do a full handshake"."""
    path = tmp_path / "session"
    openssl(tickets.tls_port, pki.servers.certificate, version, "-sess_out", path, name="a.example.org")
    data = ssl.PEM_cert_to_DER_cert(path.read_text().replace("SSL SESSION PARAMETERS", "CERTIFICATE"))
    lines = re.findall(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){16})", ticket_text(path), re.MULTILINE)
    ticket = bytes.fromhex("".join(lines).replace("-", " "))
    assert len(ticket) >= 32 and ticket[:32] in data
    at = data.index(ticket[:32])
    for place in (0, 5, 20, 31):
        changed = data[:at + place] + bytes([data[at + place] ^ 0x40]) + data[at + place + 1:]
        path.write_text(ssl.DER_cert_to_PEM_cert(changed).replace("CERTIFICATE", "SSL SESSION PARAMETERS"))
        again = openssl(tickets.tls_port, pki.servers.certificate, version, "-sess_in", path, name="a.example.org")
        assert not again.resumed and again.answers == [200], again


def ticket_text(path):
    return tool("sess_id", "-in", path, "-noout", "-text").partition("TLS session ticket:")[2].partition("Start Time")[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_tickets_can_be_turned_off(start_gateway, certificates, version):
    gateway = start_gateway(start=False, routes=COUNT)
    gateway.configuration["listeners"][0]["tls"]["tickets"] = False
    gateway.start()
    made = certificates.context(version)
    _, session = visit(gateway, made, "localhost")
    assert session is None or not session.has_ticket
    assert not visit(gateway, made, "localhost", session)[0]
    assert not os.path.exists(gateway.directory / "state" / "ticket.keys")


def test_a_ticket_says_how_long_it_is_good_for(start_gateway, certificates, tmp_path):
    gateway = start_gateway(routes=COUNT, timeouts={"ticket_lifetime": "90s"})
    for version in ("-tls1_2", "-tls1_3"):
        path = tmp_path / version
        openssl(gateway.tls_port, certificates / "both.pem", version, "-sess_out", path)
        said = re.search(r"ticket lifetime hint: ([0-9]+)", tool("sess_id", "-in", path, "-noout", "-text"))
        assert said and 0 < int(said[1]) <= 90, said


def test_early_data_is_not_taken(tickets, pki, tmp_path):
    """0-RTT can be replayed by anyone on the way; no ticket of ours invites to it, and who sends it anyhow is answered once."""
    path, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(b"GET /count?siteId=early HTTP/1.1\r\nHost: a.example.org\r\n\r\n")
    openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-sess_out", path, name="a.example.org")
    again = openssl(tickets.tls_port, pki.servers.certificate, "-tls1_3", "-sess_in", path, "-early_data", early, name="a.example.org")
    assert "Early data was accepted" not in again.text and again.answers == [200], again


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_handshakes_are_counted(tickets, pki, version):
    made = context(pki, version)
    _, session = visit(tickets, made)
    before = tickets.total()["handshakes"]
    for _ in range(3):
        resumed, newer = visit(tickets, made, session=session)
        session = newer or session
        assert resumed
    after = tickets.total()["handshakes"]
    kind = {ssl.TLSVersion.TLSv1_2: "resumed_1_2", ssl.TLSVersion.TLSv1_3: "resumed_1_3"}[version]
    assert after["done"] == before["done"] + 3 and after[kind] == before[kind] + 3, after
