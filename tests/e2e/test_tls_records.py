"""Records after the handshake: sizes both ways, key updates, the orderly end and every other one."""
import re
import socket
import ssl

import pytest

from gateway import eventually
from tls_clients import APPLICATION_DATA, ASK, Keyboard, Tap, gnutls, openssl, record
from upstreams import DigestUpstream
from wire import request_bytes

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CONTENT_MAX = 1 << 14
# What a record adds to its content: tag and type in 1.3; explicit nonce and tag in 1.2 with AES-GCM.
SEALED_MAX = CONTENT_MAX + 8 + 16 + 1
MEBIBYTE = 1 << 20


def tap(gateway, certificates, version, **more):
    return Tap(gateway.tls_port, certificates.context(version), **more)


# ---- sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_large_upload_in_the_largest_records_arrives_whole(gateway, certificates, version):
    body = (DigestUpstream.PATTERN * 17)[:MEBIBYTE]
    with tap(gateway, certificates, version).handshake() as client:
        answer = client.ask("PUT", "/digest/a", body)
        assert answer.status == 200 and DigestUpstream.pattern_digest(MEBIBYTE).encode() in answer.body
        assert any(kind == APPLICATION_DATA and size > CONTENT_MAX for kind, size in client.sent), "this client sends no full records"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_request_of_one_byte_records_is_read(gateway, certificates, version):
    body = b"0123456789"
    with tap(gateway, certificates, version).handshake() as client:
        for byte in request_bytes("PUT", "/digest/a", body):
            client.write(bytes([byte]))
        assert b'"size":10' in client.response().body


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 2, CONTENT_MAX - 1, CONTENT_MAX, CONTENT_MAX + 1, 3 * CONTENT_MAX + 7])
def test_an_answer_of_any_size_arrives_whole(gateway, certificates, version, size):
    with tap(gateway, certificates, version).handshake() as client:
        for _ in range(2):
            assert client.ask("GET", f"/digest/{size}").body == (DigestUpstream.PATTERN * 2)[:size]
        assert max(size for _, size in client.received) <= SEALED_MAX


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_begins_in_small_records_and_goes_on_in_large_ones(gateway, certificates, version):
    """A record can be opened only when all of it is there: a first one of 16 KiB takes a slow client two round trips; but
    where much is sent, large ones cost less."""
    with tap(gateway, certificates, version).handshake() as client:
        client.received.clear()
        answer = client.ask("GET", f"/digest/{4 * MEBIBYTE}")
        assert len(answer.body) == 4 * MEBIBYTE
        sizes = [size for kind, size in client.received if kind == APPLICATION_DATA]
        # The head may be a record of its own, so those of the first kilobytes are looked at together.
        first = [size for at, size in enumerate(sizes) if sum(sizes[:at]) < 8192]
        assert max(first) <= 4096 + 64, sizes[:40]
        assert max(sizes) > CONTENT_MAX, sizes[:40]
        whole = sum(size > CONTENT_MAX for size in sizes)
        assert whole > 0.8 * len(sizes), f"{whole} of {len(sizes)} are full: {sizes[:80]}"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("limit", [512, 1024, 4096])
def test_gnutls_that_wants_small_records_can_read_ours(gateway, certificates, version, limit):
    """RFC 8449: "An endpoint MUST NOT send a record larger than the limit" it was told, where it agreed to the extension."""
    ask = request_bytes("GET", "/digest/100000", fields=[("Connection", "close")])
    talk = gnutls(gateway.tls_port, certificates / "both.pem", f"--recordsize={limit}", ask=ask,
                  priority=f"NORMAL:-VERS-ALL:+VERS-TLS{version}")
    assert (talk.code, talk.answers, talk.version) == (0, [200], f"TLSv{version}"), talk
    assert len(talk.text) > 100_000, talk.text[-300:]


# ---- key updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["k", "K"])
def test_a_key_update_of_openssl_is_followed(gateway, certificates, letter):
    """RFC 8446 §4.6.3, alone and with a request that the server update as well; openssl sends it at a key press."""
    with Keyboard(gateway.tls_port, certificates / "both.pem", "-tls1_3") as client:
        for turn in range(3):
            client.type(letter + "\n")
            client.read_until(b"KEYUPDATE")
            client.type(request_bytes("GET", f"/count?siteId={turn}"))
            client.read_until(b'{"count":0}')
        client.type(ASK)
        assert b'{"count":0}' in client.read_until(b"closed")


def test_a_key_update_of_gnutls_is_followed(gateway, certificates):
    line = b"GET /count?siteId=x HTTP/1.1\r\nHost: localhost\r\n\r\n"
    talk = gnutls(gateway.tls_port, certificates / "both.pem", "--inline-commands", priority="NORMAL:-VERS-ALL:+VERS-TLS1.3",
                  ask=b"^rekey^\n" + line + b"^rekey1^\n" + line + b"^rekey^\n" + ASK)
    assert (talk.code, talk.answers) == (0, [200, 200, 200]), talk


def test_keys_are_updated_in_the_middle_of_an_answer(gateway, certificates):
    """The client asks for other keys while megabytes are on their way to it; not a byte is lost on either side of the change."""
    with Keyboard(gateway.tls_port, certificates / "both.pem", "-tls1_3") as client:
        client.type(request_bytes("GET", f"/digest/{2 * MEBIBYTE}"))
        got = client.read_until(b"\r\n\r\n")
        client.type("K\n")
        got += client.read_until(b"KEYUPDATE")
        client.type("K\n")
        got += client.read_until(b"KEYUPDATE")
        client.type(ASK)
        assert got + client.read_until(b'{"count":0}')


def test_a_flood_of_key_updates_is_refused(gateway, certificates):
    before = gateway.refused("tls_key_update_flood")
    with Keyboard(gateway.tls_port, certificates / "both.pem", "-tls1_3") as client:
        for _ in range(33):
            client.type("K\n")
            client.read_until(b"KEYUPDATE")        # it takes one command at a time
        eventually(lambda: gateway.refused("tls_key_update_flood") == before + 1, lambda: f"a flood that is told: {gateway.refused()}")


# ---- renegotiation --------------------------------------------------------------------------------------------------------


def test_renegotiation_by_openssl_is_refused(gateway, certificates):
    before = gateway.refused("tls_renegotiation")
    with Keyboard(gateway.tls_port, certificates / "both.pem", "-tls1_2") as client:
        client.type("R\n")
        rest = client.read_until(None)             # it ends by itself: the server does not go along
        assert re.search(rb"no.renegotiation", rest, re.IGNORECASE), rest
    eventually(lambda: gateway.refused("tls_renegotiation") == before + 1, lambda: f"a refusal by name: {gateway.refused()}")


def test_renegotiation_by_gnutls_is_refused(gateway, certificates):
    before = gateway.refused("tls_renegotiation")
    talk = gnutls(gateway.tls_port, certificates / "both.pem", "--rehandshake", priority="NORMAL:-VERS-ALL:+VERS-TLS1.2")
    assert talk.code != 0 or "rehandshake" in talk.text.lower(), talk
    eventually(lambda: gateway.refused("tls_renegotiation") == before + 1, lambda: f"a refusal by name: {gateway.refused()}")


def test_secure_renegotiation_is_said_to_be_known(gateway, certificates):
    """RFC 5746 §3.6; OpenSSL 3 and browsers turn away from a server of 1.2 that does not say so."""
    assert "Secure Renegotiation IS supported" in openssl(gateway.tls_port, certificates / "both.pem", "-tls1_2").text


# ---- the end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_orderly_end_leaves_nothing_behind_at_once(start_gateway, certificates, version):
    """The client's close_notify and its FIN may come together or one after the other: in neither case is there anything to
    wait for, least of all for timeouts.close."""
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], timeouts={"close": "10m"})
    for apart in (False, True, True):
        wire = gateway.connect(tls=certificates.context(version))
        assert wire.ask("GET", "/count?siteId=x", fields=[("Connection", "close")]).status == 200
        wire.ended()
        wire.sock.unwrap()
        if apart:
            eventually(lambda: gateway.stats()["state"] == "serving", "a turn of the gateway between the two")
        wire.close()
        eventually(lambda: gateway.total()["connections"]["open"] == 0,
                   lambda: f"the connection is let go: {gateway.admin_text('/scopes?full')}")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_ends_first_is_answered_with_close_notify(gateway, certificates, version):
    with tap(gateway, certificates, version).handshake() as client:
        assert client.ask("GET", "/count?siteId=x").status == 200
        client.run(client.tls.unwrap)              # returns when theirs has come
        assert not client.wire.sock.recv(1), "bytes behind close_notify"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("orderly, reason", [(True, "http_body_cut"), (False, "tls_truncated")])
def test_an_upload_cut_by_anyone_on_the_way_is_told_apart_from_one_that_its_client_ended(gateway, certificates, raw, version, orderly, reason):
    """RFC 8446 §6.1: "Both parties need to know that the connection is ending, to avoid a truncation attack"."""
    before = gateway.refused(reason)
    client = tap(gateway, certificates, version).handshake()
    client.write(request_bytes("PUT", "/raw/a", fields=[("Content-Length", "10")]) + b"half")
    far = raw.accept()
    far.request(body=False)
    assert far.read(4) == b"half"
    if orderly:
        try:
            client.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        client.flush()
    client.wire.sock.shutdown(socket.SHUT_WR)
    far.gone()
    assert not far.buffer
    eventually(lambda: gateway.refused(reason) == before + 1, lambda: f"{reason} is told: {gateway.refused()}")
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_that_was_cut_behind_us_does_not_end_in_close_notify(gateway, certificates, raw, version):
    with tap(gateway, certificates, version).handshake() as client:
        client.write(request_bytes("GET", "/raw/a"))
        far = raw.accept()
        far.request()
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        while b"half" not in client.text:
            assert client.fill()
        far.close()
        assert client.failure() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_without_length_ends_in_close_notify(gateway, certificates, raw, version):
    """Where the end of the connection is the end of the body, close_notify alone tells the client that it has all."""
    with tap(gateway, certificates, version).handshake() as client:
        client.write(request_bytes("GET", "/raw/a", version="1.0"))
        far = raw.accept()
        far.request()
        far.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        far.close()
        assert client.failure() == "close_notify" and client.text.endswith(b"all of it")


# ---- records that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("data, alert, reason", [
    pytest.param(record(APPLICATION_DATA, b"\x5a" * 48), "bad_record_mac", "tls_record_forged", id="forged"),
    pytest.param(record(APPLICATION_DATA, b"", length=CONTENT_MAX + 2049), "record_overflow", "tls_record_long", id="long"),
    pytest.param(record(APPLICATION_DATA, b"\x5a" * 8), "decode_error", "tls_record_short", id="short"),
    pytest.param(record(99, b"\x5a" * 48), "unexpected_message", "tls_record_type", id="type"),
    pytest.param(record(APPLICATION_DATA, b"\x5a" * 48, version=0x0505), "protocol_version", "tls_record_version", id="version"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n" + b" " * 64, "unexpected_message", "tls_record_type", id="plain HTTP"),
])
def test_a_record_that_cannot_be_is_answered_with_its_alert(gateway, certificates, version, data, alert, reason):
    before = gateway.refused(reason)
    with tap(gateway, certificates, version).handshake() as client:
        assert client.ask("GET", "/count?siteId=x").status == 200
        client.wire.send(data)
        assert client.failure() == alert
    eventually(lambda: gateway.refused(reason) == before + 1, lambda: f"{reason} is told: {gateway.refused()}")


@pytest.mark.parametrize("data, reason", [
    pytest.param(record(21, b"\x01\x00"), "tls_record_plain", id="close_notify"),
    pytest.param(record(22, b"\x18\x00\x00\x01\x00"), "tls_record_plain", id="KeyUpdate"),
    pytest.param(record(20, b"\x01"), "tls_record_ccs", id="ChangeCipherSpec"),
])
def test_what_anyone_could_have_written_is_not_believed_after_the_handshake(gateway, certificates, data, reason):
    """RFC 8446 §5: after the first Finished a record of another type than application_data, and "an implementation which
    receives any other change_cipher_spec value or which receives a protected change_cipher_spec record MUST abort"."""
    before = gateway.refused(reason)
    with tap(gateway, certificates, ssl.TLSVersion.TLSv1_3).handshake() as client:
        assert client.ask("GET", "/count?siteId=x").status == 200
        client.wire.send(data)
        assert client.failure() == "unexpected_message"
    eventually(lambda: gateway.refused(reason) == before + 1, lambda: f"{reason} is told: {gateway.refused()}")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_that_is_sent_twice_is_refused(gateway, certificates, version):
    """Whoever is on the way can repeat bytes; the sequence number is why a POST is not counted twice by that."""
    with tap(gateway, certificates, version).handshake() as client:
        client.tls.write(request_bytes("POST", "/count", b"siteId=twice-" + version.name.encode(), fields=[("Content-Type", "application/x-www-form-urlencoded")]))
        data = client.outgoing.read()
        client.wire.send(data)
        assert client.response().status == 200
        client.wire.send(data)
        assert client.failure() == "bad_record_mac"
    assert b'{"count":1}' in gateway.ask("GET", f"/count?siteId=twice-{version.name}").body
