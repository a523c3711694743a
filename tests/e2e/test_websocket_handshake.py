"""The opening handshake of RFC 6455 §4.2, field by field: what is right is answered 101, and each other request with its status, its
reason and the fields that say what would be right."""
import json

import pytest

from websocket_wire import open_socket
from wire import request_bytes

RIGHT = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
         "Sec-WebSocket-Version": "13"}


def ask(gateway, method="GET", target="/echo", version="1.1", tls=False, more=(), **changes):
    """`changes`: names with underscores; None leaves the field out."""
    fields = dict(RIGHT)
    for name, value in changes.items():
        fields[name.replace("_", "-")] = value
    wire = gateway.connect(tls)
    wire.send(request_bytes(method, target, fields=[pair for pair in [*fields.items(), *more] if pair[1] is not None], host=None, version=version))
    return wire.response(head_only=method == "HEAD")


def refused(answer, status, reason):
    assert answer.status == status, answer
    assert json.loads(answer.body)["error"] == reason, answer
    if status == 405:
        assert answer.get("Allow") == "GET"
    if status == 426:
        # RFC 6455 §4.4, and RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response".
        assert answer.get("Sec-WebSocket-Version") == "13" and answer.get("Upgrade").lower() == "websocket"
        assert "upgrade" in answer.get("Connection").lower()
    assert answer.get("Sec-WebSocket-Accept") is None


@pytest.mark.parametrize("changes", [
    {}, {"Upgrade": "WebSocket"}, {"Upgrade": "h2c, websocket"}, {"Connection": "keep-alive, Upgrade"}, {"Connection": "uPgRaDe"},
    {"Sec-WebSocket-Version": " 13 "}, {"Origin": "https://anywhere.example"}, {"Sec-WebSocket-Protocol": "chat"},
    {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, foo"}, {"Cookie": "a=b"}])
@pytest.mark.parametrize("tls", [False, True])
def test_a_right_one_is_accepted(gateway, tls, changes):
    answer = ask(gateway, tls=tls, **{name.replace("-", "_"): value for name, value in changes.items()})
    assert answer.status == 101 and answer.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.get("Upgrade").lower() == "websocket" and answer.get("Connection").lower() == "upgrade"
    # What was not agreed is not named, and a 101 has no body (RFC 9110 §15.2).
    assert answer.get("Sec-WebSocket-Protocol") is None and answer.get("Sec-WebSocket-Extensions") is None
    assert answer.get("Content-Length") is None and answer.get("Transfer-Encoding") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_only_get_asks_for_a_websocket(gateway, method):
    answer = ask(gateway, method=method)
    assert answer.status == 405 and answer.get("Allow") == "GET", answer


@pytest.mark.parametrize("value", [None, "8", "7", "14", "013", "13, 8", "thirteen", "", "0"])
def test_another_version_is_told_ours(gateway, value):
    refused(ask(gateway, Sec_WebSocket_Version=value), 426, "ws_accept_version")


def test_a_version_given_twice_is_another_version(gateway):
    refused(ask(gateway, more=[("Sec-WebSocket-Version", "13")]), 426, "ws_accept_version")


@pytest.mark.parametrize("value", [None, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===",
                                   "!!!!!!!!!!!!!!!!!!!!!!==", "dGhlIHNhbXBsZSBub25jZTEyMzQ1Njc4", "dGhl IHNhbXBsZSBub25jZ=="])
def test_a_key_that_is_none_is_refused(gateway, value):
    refused(ask(gateway, Sec_WebSocket_Key=value), 400, "ws_accept_key")


def test_a_key_given_twice_is_refused(gateway):
    refused(ask(gateway, more=[("Sec-WebSocket-Key", RIGHT["Sec-WebSocket-Key"])]), 400, "ws_accept_key")


@pytest.mark.parametrize("changes, status, reason", [
    ({"Upgrade": None, "Connection": None}, 426, "websocket_expected"),      # a browser that follows a link
    ({"Upgrade": None}, 426, "websocket_expected"),
    ({"Upgrade": "h2c"}, 400, "ws_accept_upgrade"),
    ({"Upgrade": "websocket2"}, 400, "ws_accept_upgrade")])
def test_what_is_no_upgrade_to_websocket_is_told_so(gateway, changes, status, reason):
    refused(ask(gateway, **changes), status, reason)


def test_http_1_0_is_too_old(gateway):
    refused(ask(gateway, version="1.0"), 400, "ws_accept_http_too_old")


def test_a_request_with_a_body_is_refused(gateway):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/echo", body=b"x", fields=[*RIGHT.items()], host=None))
    refused(wire.response(), 400, "websocket_body")


@pytest.mark.parametrize("value", ["a b", "a,b c", "a;b", "\"a\""])
def test_subprotocols_that_are_no_tokens_are_refused(gateway, value):
    refused(ask(gateway, Sec_WebSocket_Protocol=value), 400, "ws_accept_protocol_malformed")


# ---- what a route says -------------------------------------------------------------------------------


@pytest.fixture
def particular(start_gateway):
    return start_gateway(routes=[
        {"path": "/chat", "serve": "echo", "protocols": ["chat.v2", "chat.v1"]},
        {"path": "/same", "serve": "echo", "origins": ["same", "https://edc.example.org"]},
        {"path": "/listed", "serve": "echo", "origins": ["https://edc.example.org", "http://[::1]:81"]},
        {"path": "/any", "serve": "echo", "origins": ["*"]}])


def test_the_first_subprotocol_of_the_clients_list_is_chosen_and_echoed(particular):
    for offer, wanted in (("chat.v1, chat.v2", "chat.v1"), ("chat.v2, chat.v1", "chat.v2"), ("x, chat.v1", "chat.v1"), ("x", None),
                          ("CHAT.V1", None), (None, None)):
        answer = ask(particular, target="/chat", Sec_WebSocket_Protocol=offer)
        assert (answer.status, answer.get("Sec-WebSocket-Protocol")) == (101, wanted), offer
    answer = ask(particular, target="/chat", more=[("Sec-WebSocket-Protocol", "x"), ("Sec-WebSocket-Protocol", "chat.v1")])
    assert answer.get("Sec-WebSocket-Protocol") == "chat.v1"


def test_pages_are_welcome_by_their_origin(particular):
    for target, tls, host, origin, welcome in (
            ("/same", False, "localhost", "http://localhost", True), ("/same", True, "localhost", "https://localhost", True),
            ("/same", False, "localhost", "https://localhost", False), ("/same", True, "localhost", "http://localhost", False),
            ("/same", True, "localhost:8443", "https://localhost:8443", True), ("/same", True, "localhost:8443", "https://localhost", False),
            ("/same", True, "localhost:443", "https://localhost", True), ("/same", False, "localhost:80", "http://localhost", True),
            ("/same", False, "localhost", "https://edc.example.org", True), ("/same", False, "localhost", "https://EDC.example.org", True),
            ("/same", False, "localhost", "null", False), ("/same", False, "localhost", "https://edc.example.org.evil", False),
            ("/same", False, "localhost", None, True),
            ("/listed", False, "localhost", "http://localhost", False), ("/listed", False, "localhost", "https://edc.example.org", True),
            ("/listed", False, "localhost", "http://edc.example.org", False), ("/listed", False, "localhost", "http://[::1]:81", True),
            ("/listed", False, "localhost", None, True), ("/any", False, "localhost", "null", True)):
        answer = ask(particular, target=target, tls=tls, Host=host, Origin=origin)
        assert answer.status == (101 if welcome else 403), f"{origin} at {target} of {host}, TLS {tls}: {answer}"
        if not welcome:
            assert json.loads(answer.body)["error"] == "ws_accept_origin"
    assert particular.refused("ws_accept_origin") > 0


def test_a_socket_that_was_agreed_on_works(particular):
    sock, _ = open_socket(particular, True, "/chat", [("Sec-WebSocket-Protocol", "chat.v1")])
    sock.send(b"\x81\x82\0\0\0\0hi")
    assert sock.event() == ("text", b"hi")
