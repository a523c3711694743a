"""The ClientHello by hand: cut, overlong, malformed, in disguise; and those who begin one and never end it.

Each is refused by the alert of its RFC and by a reason with a name, before anything was spent on it.
"""
import json
import re
import socket
import ssl

import pytest

from gateway import eventually
from tls_clients import (ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, EXTENSIONS, GROUPS_X25519_P256, HANDSHAKE, KEY_SHARE, POINTS,
                         SIGNATURES, SUITES, VERSIONS, Records, Tap, client_hello, extension, message, record, records_of, reset, sni, vector,
                         words)
from wire import connect

HELLO = client_hello()
SERVER_HELLO = 2


def first_message(gateway, data):
    """The type of the first record and of the handshake message in it."""
    with Records(gateway.tls_port) as client:
        client.send(data)
        kind, payload = client.next()
        return kind, payload[0]


def assert_taken(gateway, data):
    assert first_message(gateway, data) == (HANDSHAKE, SERVER_HELLO)


def assert_refused(gateway, data, alert, reason, end=False):
    before = gateway.refused(reason)
    with Records(gateway.tls_port) as client:
        try:
            client.send(data)
            if end:
                client.sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass                                   # it was refused before all of it was sent
        assert client.alert() == alert
    eventually(lambda: gateway.refused(reason) == before + 1, lambda: f"{reason} is told: {gateway.refused()}")


# ---- in pieces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [len(HELLO) - 1, (len(HELLO) + 1) // 2, 64, 16])
def test_a_hello_in_several_records_is_one_hello(gateway, size):
    """RFC 8446 §5.1: handshake messages "MAY be … fragmented across several records"."""
    assert_taken(gateway, records_of(HELLO, size))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("pieces", [2, 8])
def test_a_handshake_whose_hello_comes_in_several_records_goes_through(gateway, certificates, version, pieces):
    """The whole of it, with a client that would notice if our transcript of its hello were another than its own."""
    with Tap(gateway.tls_port, certificates.context(version)) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()[5:]
        client.wire.send(records_of(hello, -(-len(hello) // pieces)))
        assert client.handshake().ask("GET", "/count?siteId=x").status == 200


def test_a_hello_in_records_of_one_byte_is_one_that_no_client_sends(gateway):
    """Each such record costs us five times its content; the bytes themselves may arrive one by one, see test_tls.py."""
    assert_refused(gateway, records_of(HELLO, 1), "illegal_parameter", "tls_hello_records")


def test_a_hello_of_sixteen_kilobytes_is_read(gateway):
    padding = extension(21, bytes(16000 - len(HELLO)))
    hello = client_hello(EXTENSIONS + (padding,))
    assert_taken(gateway, records_of(hello, 16384))
    assert_taken(gateway, records_of(hello, 5000))


def test_a_hello_longer_than_that_is_not(gateway):
    hello = client_hello(EXTENSIONS + (extension(21, bytes(20_000)),))
    assert_refused(gateway, records_of(hello, 16384), "illegal_parameter", "tls_hello_long")


def test_a_hello_that_says_it_is_longer_is_refused_at_its_first_bytes(gateway):
    assert_refused(gateway, record(HANDSHAKE, message(1, b"\x03\x03", length=0xFFFFFF)), "illegal_parameter", "tls_hello_long")


def test_other_records_in_the_middle_of_a_hello_are_refused(gateway):
    begin = record(HANDSHAKE, HELLO[:20], 0x0301)
    assert_refused(gateway, begin + record(APPLICATION_DATA, b"x" * 20), "unexpected_message", "tls_hello_interrupted")
    assert_refused(gateway, begin + record(CHANGE_CIPHER_SPEC, b"\x01"), "unexpected_message", "tls_hello_interrupted")
    assert_refused(gateway, begin + record(ALERT, b"\x02\x28"), None, "tls_hello_alert")


# ---- malformed --------------------------------------------------------------------------------------------------------------


def without(*left_out):
    return tuple(one for one in EXTENSIONS if one not in left_out)


def with_extension(kind, body):
    return client_hello(EXTENSIONS + (extension(kind, body),))


def with_share(*shares):
    body = b"".join(words(group) + vector(bytes(size), 2) for group, size in shares)
    return client_hello(without(KEY_SHARE) + (extension(51, vector(body, 2)),))


# One identity of ten bytes with its age, and one binder.
TICKET = vector(vector(b"ticket-ish", 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)

MALFORMED = {
    "session id of 33 bytes": (client_hello(session=bytes(33)), "decode_error", "tls_hello_session_id"),
    "no suites": (client_hello(suites=b""), "decode_error", "tls_hello_suites"),
    "half a suite": (client_hello(suites=SUITES + b"\x13"), "decode_error", "tls_hello_suites"),
    "no compression at all": (client_hello(compressions=b""), "illegal_parameter", "tls_hello_compression"),
    "compression only": (client_hello(compressions=b"\x01"), "illegal_parameter", "tls_hello_compression"),
    "compression in 1.3": (client_hello(compressions=b"\x01\x00"), "illegal_parameter", "tls_hello_compression"),
    "bytes behind the end": (client_hello(tail=b"\x00"), "decode_error", "tls_hello_trailing"),
    "cut in the random": (client_hello(body=words(0x0303) + b"R" * 20), "decode_error", "tls_hello_lengths"),
    "empty": (client_hello(body=b""), "decode_error", "tls_hello_lengths"),
    "an extension longer than all": (client_hello(EXTENSIONS + (words(0xAAAA, 500) + b"x",)), "decode_error", "tls_hello_lengths"),
    "an extension twice": (client_hello(EXTENSIONS + (POINTS,)), "illegal_parameter", "tls_hello_extension_twice"),
    "an unknown extension twice": (client_hello(EXTENSIONS + (extension(0xFE00, b""),) * 2), "illegal_parameter", "tls_hello_extension_twice"),
    "129 extensions": (client_hello(EXTENSIONS + tuple(extension(0x4000 + i, b"") for i in range(129))), "illegal_parameter",
                       "tls_hello_extensions_many"),
    "no key share": (client_hello(without(KEY_SHARE)), "missing_extension", "tls_hello_extension_missing"),
    "no groups": (client_hello(without(GROUPS_X25519_P256)), "missing_extension", "tls_hello_extension_missing"),
    "no signatures": (client_hello(without(SIGNATURES)), "missing_extension", "tls_hello_extension_missing"),
    "groups of odd length": (client_hello(without(GROUPS_X25519_P256) + (extension(10, vector(b"\x00\x1d\x00", 2)),)), "decode_error",
                             "tls_hello_extension_bad"),
    "a share of a group that is not listed": (client_hello(without(GROUPS_X25519_P256) + (extension(10, vector(words(0x0017), 2)),)),
                                               "illegal_parameter", "tls_hello_share_unlisted"),
    "two shares of a group": (with_share((0x001D, 32), (0x001D, 32)), "illegal_parameter", "tls_hello_share_twice"),
    "a share that is too short": (with_share((0x001D, 31)), "illegal_parameter", "tls_hello_share_bad"),
    "a P-256 share in no known form": (with_share((0x0017, 65)), "illegal_parameter", "tls_hello_share_bad"),
    "no protocol in ALPN": (with_extension(16, b"\x00\x00"), "decode_error", "tls_hello_protocols"),
    "an empty protocol in ALPN": (with_extension(16, vector(b"\x00", 2)), "decode_error", "tls_hello_protocols"),
    "a cut protocol in ALPN": (with_extension(16, vector(b"\x09http/1.1"[:8], 2)), "decode_error", "tls_hello_protocols"),
    "two names": (client_hello((extension(0, vector(b"\x00\x00\x01a\x00\x00\x01b", 2)),) + EXTENSIONS[1:]), "illegal_parameter",
                  "tls_hello_names"),
    "a name with a zero in it": (client_hello((sni(b"local\x00host"),) + EXTENSIONS[1:]), "unrecognized_name", "tls_hello_name_bad"),
    "an empty name": (client_hello((sni(b""),) + EXTENSIONS[1:]), None, None),
    "renegotiation_info of someone else": (with_extension(0xFF01, b"\x0c" + b"x" * 12), "handshake_failure", "tls_hello_renegotiates"),
    "records of 63 bytes": (with_extension(28, words(63)), "illegal_parameter", "tls_hello_record_limit"),
    "pre_shared_key that is not the last": (client_hello((extension(45, b"\x01\x01"), extension(41, TICKET)) + EXTENSIONS), "illegal_parameter", "tls_hello_psk_place"),
    "TLS 1.0": (client_hello(without(VERSIONS), version=0x0301), "protocol_version", "tls_version_unsupported"),
    "SSL 3": (client_hello(None, version=0x0300), "protocol_version", "tls_version_unsupported"),
    "only TLS 1.1 among the versions": (client_hello(without(VERSIONS) + (extension(43, vector(words(0x0302), 1)),)), "protocol_version",
                                        "tls_version_unsupported"),
    "only versions of nobody": (client_hello(without(VERSIONS) + (extension(43, vector(words(0x7F1C, 0x0305), 1)),)), "protocol_version",
                                "tls_version_unsupported"),
    "a fallback that was not needed": (client_hello(without(VERSIONS, KEY_SHARE), suites=words(0xC02B, 0xC02F, 0x5600)), "inappropriate_fallback",
                                       "tls_fallback_inappropriate"),
    "nothing but unknown suites": (client_hello(suites=words(0x0A0A, 0x1304, 0x002F)), "handshake_failure", "tls_nothing_shared"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_hello_is_refused_by_name(gateway, case):
    hello, alert, reason = MALFORMED[case]
    if alert is None:                              # decode_error or unrecognized_name: the RFCs leave it open
        with Records(gateway.tls_port) as client:
            client.send(record(HANDSHAKE, hello, 0x0301))
            assert client.alert() in ("decode_error", "unrecognized_name")
    else:
        assert_refused(gateway, record(HANDSHAKE, hello, 0x0301), alert, reason)


@pytest.mark.parametrize("data, alert, reason", [
    pytest.param(record(HANDSHAKE, message(2, b"x" * 40)), "unexpected_message", "tls_handshake_order", id="a ServerHello"),
    pytest.param(record(HANDSHAKE, message(0, b"")), "unexpected_message", "tls_handshake_order", id="a HelloRequest"),
    pytest.param(record(HANDSHAKE, message(20, b"x" * 32)), "unexpected_message", "tls_handshake_order", id="a Finished"),
    pytest.param(record(HANDSHAKE, b""), "decode_error", "tls_record_short", id="an empty record"),
    pytest.param(record(HANDSHAKE, b"\x01", length=16385), "record_overflow", "tls_record_long", id="a record too long"),
    pytest.param(record(ALERT, b"\x02\x28"), None, "tls_hello_alert", id="an alert"),
    pytest.param(record(APPLICATION_DATA, b"x" * 20), None, "tls_not_tls", id="application data"),
    pytest.param(b"\x80\x2e\x01\x00\x02" + b"x" * 43, "protocol_version", "tls_ssl2", id="SSL 2.0"),
    pytest.param(b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10" + b"x" * 37, "protocol_version", "tls_ssl2", id="TLS in a hello of SSL 2.0"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", None, "tls_not_tls", id="SSH"),
    pytest.param(b"\x00" * 64, None, "tls_not_tls", id="zeros"),
    pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", None, "tls_not_tls", id="the PROXY protocol"),
])
def test_what_is_no_hello_is_refused_by_name(gateway, data, alert, reason):
    assert_refused(gateway, data, alert, reason)


@pytest.mark.parametrize("n, reason", [(0, "tls_hello_missing"), (1, "tls_hello_cut"), (5, "tls_hello_cut"), (60, "tls_hello_cut")])
def test_a_hello_that_ends_early_is_told_by_name(gateway, n, reason):
    assert_refused(gateway, record(HANDSHAKE, HELLO, 0x0301)[:n], None, reason, end=True)


# ---- what is odd and allowed --------------------------------------------------------------------------------------------------


def test_grease_is_passed_over(gateway):
    """RFC 8701: values reserved so that servers keep the habit of ignoring what they do not know."""
    hello = client_hello((
        extension(0x0A0A, b""), sni("localhost"), POINTS,
        extension(10, vector(words(0x1A1A, 0x001D, 0x0017), 2)), extension(13, vector(words(0x2A2A, 0x0403, 0x0804), 2)),
        extension(43, vector(words(0x3A3A, 0x0304, 0x0303), 1)),
        extension(51, vector(words(0x1A1A) + vector(b"\x00", 2) + words(0x001D) + vector(bytes(range(9, 41)), 2), 2)),
        extension(16, vector(b"\x02\x5a\x5a\x08http/1.1", 2)), extension(0xFAFA, b"\x00"),
    ), suites=words(0x6A6A) + SUITES)
    assert_taken(gateway, record(HANDSHAKE, hello, 0x0301))


def test_grease_among_the_modes_of_resumption_is_passed_over(gateway):
    """RFC 8701 §3.1 reserves values of PskKeyExchangeMode too, and RFC 8446 §4.2.9 lets a client offer modes to come."""
    assert_taken(gateway, record(HANDSHAKE, client_hello(EXTENSIONS + (extension(45, b"\x02\x0b\x01"),)), 0x0301))


@pytest.mark.parametrize("change", [
    pytest.param({"session": b""}, id="no session id"),
    pytest.param({"suites": SUITES + words(*range(0x5000, 0x5400))}, id="a thousand suites"),
    pytest.param({"extensions": EXTENSIONS + tuple(extension(0x4000 + i, bytes(i)) for i in range(100))}, id="a hundred extensions"),
    pytest.param({"extensions": EXTENSIONS[1:]}, id="no name"),
    pytest.param({"extensions": (sni("localhost."),) + EXTENSIONS[1:]}, id="a name with a dot at its end"),
    pytest.param({"extensions": (sni("127.0.0.1"),) + EXTENSIONS[1:]}, id="an address in place of a name"),
    pytest.param({"extensions": (sni("LOCALHOST"),) + EXTENSIONS[1:]}, id="a name in capitals"),
    pytest.param({"extensions": tuple(reversed(EXTENSIONS))}, id="extensions in another order"),
])
def test_a_hello_that_is_odd_and_allowed_is_taken(gateway, change):
    assert_taken(gateway, record(HANDSHAKE, client_hello(**change), 0x0301))


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0303, 0x0304])
def test_the_version_of_the_first_record_says_nothing(gateway, version):
    """RFC 8446 §5.1: legacy_record_version "MUST be ignored for all purposes"."""
    assert_taken(gateway, record(HANDSHAKE, HELLO, version))


# ---- plain HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1", "POST /count HTTP/1.0", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0"])
def test_plain_http_is_answered_in_its_own_words(gateway, request_line):
    before = gateway.refused("tls_plain_http")
    wire = connect(gateway.tls_port)
    wire.send(request_line.encode() + b"\r\nHost: localhost\r\n\r\n")
    answer = wire.response()
    assert answer.status == 400 and answer.get("Content-Type") == "application/json" and answer.get("Connection") == "close"
    refusal = json.loads(answer.body)
    assert refusal["error"] == "tls_plain_http" and "https" in refusal["message"]
    wire.ended()
    wire.close()
    eventually(lambda: gateway.refused("tls_plain_http") == before + 1, lambda: f"it is told: {gateway.refused()}")


# ---- time, resets, crowds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", b"\x16", record(HANDSHAKE, HELLO)[:60], records_of(HELLO, 40)[:80], record(HANDSHAKE, HELLO)],
                         ids=["nothing", "a byte", "half a hello", "half a hello in records", "a hello and no more"])
def test_who_does_not_go_on_is_let_go_when_his_time_is_over(start_gateway, begin):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], timeouts={"tls_handshake": "200ms"}, log={"level": "debug"})
    with Records(gateway.tls_port) as client:
        client.send(begin)
        while client.next() is not None:
            pass
    eventually(lambda: gateway.refused("tls_handshake_late") == 1, lambda: f"it is told: {gateway.refused()}")
    eventually(lambda: re.search(r"^postern: debug: 127\.0\.0\.1: .* \(tls_handshake_late\)$", gateway.said(), re.MULTILINE), gateway.said)
    assert gateway.total()["handshakes"]["failed"] == 1


@pytest.mark.parametrize("n", [1, 60, len(HELLO) + 5])
def test_who_resets_in_a_handshake_is_forgotten(gateway, n):
    before = gateway.total()["handshakes"]["failed"]
    for _ in range(20):
        client = Records(gateway.tls_port)
        client.send(record(HANDSHAKE, HELLO, 0x0301)[:n])
        if n > len(HELLO):
            assert client.next()
        reset(client.sock)
    eventually(lambda: gateway.total()["handshakes"]["failed"] == before + 20, lambda: f"20 that failed: {gateway.total()['handshakes']}")


def test_three_hundred_half_hellos_disturb_nobody(gateway, certificates):
    there = gateway.connect(tls=True)
    data = record(HANDSHAKE, HELLO, 0x0301)
    crowd = []
    for at in range(300):
        client = Records(gateway.tls_port)
        client.send(data[:1 + at % (len(data) - 1)])
        crowd.append(client)
        if at % 10 == 0:
            assert there.ask("GET", "/count?siteId=x").status == 200
    eventually(lambda: gateway.total()["connections"]["open"] >= 301, "all of them are connected")
    for _ in range(10):
        assert gateway.ask("GET", "/count?siteId=x", tls=True).status == 200
        assert there.ask("GET", "/count?siteId=x").status == 200
    for at, client in enumerate(crowd):
        reset(client.sock) if at % 2 else client.close()
