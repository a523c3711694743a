"""The access log: a line of JSON for each request, and nothing in it that could tell who a patient is."""
import json
import uuid

import pytest

from gateway import eventually
from wire import CLOSE, TEXT, Closed, frame, read_frame, request_bytes, upgrade_bytes


def lines(gateway):
    return [json.loads(line) for line in gateway.access_log.read_text().splitlines()]


def line_after(gateway, act, wanted=1):
    before = len(lines(gateway))
    act()
    eventually(lambda: len(lines(gateway)) >= before + wanted, "a line for the request")
    return lines(gateway)[before:]


@pytest.mark.parametrize("tls", [False, True])
def test_a_request_is_one_line(gateway, tls):
    line, = line_after(gateway, lambda: gateway.ask("GET", "/count?siteId=x", tls=tls))
    assert line["status"] == 200 and line["method"] == "GET" and line["route"] == "/count", line


def test_a_proxied_request_names_its_route(gateway, nginx):
    line, = line_after(gateway, lambda: gateway.ask("GET", "/nginx/hello.txt"))
    assert line["status"] == 200 and line["route"] == "/nginx", line


def test_no_query_string_no_field_and_no_body_is_logged(gateway, nginx):
    secrets = [uuid.uuid4().hex for _ in range(5)]

    def act():
        gateway.ask("GET", f"/count?siteId={secrets[0]}")
        gateway.ask("GET", f"/nginx/hello.txt?patient={secrets[1]}", fields=[("Authorization", f"Bearer {secrets[2]}"), ("Cookie", secrets[3])])
        gateway.ask("POST", "/count", f"siteId={secrets[4]}".encode(), [("Content-Type", "application/x-www-form-urlencoded")])

    line_after(gateway, act, wanted=3)
    for text in (gateway.access_log.read_text(), gateway.said()):
        assert not [secret for secret in secrets if secret in text]


def test_a_refusal_names_its_reason(gateway):
    line, = line_after(gateway, lambda: gateway.ask("GET", "/refusing"))
    assert line["status"] == 502
    error = json.loads(gateway.ask("GET", "/refusing").body)["error"]
    assert error in line.values(), line


def test_what_is_no_request_at_all_is_logged_too(gateway):
    def act():
        wire = gateway.connect()
        wire.send(b"nonsense\r\n\r\n")
        assert wire.response().status == 400

    line, = line_after(gateway, act)
    assert line["status"] == 400


def test_hostile_bytes_cannot_write_a_line_of_their_own(gateway):
    def act():
        wire = gateway.connect()
        wire.send(b'GET /x"}%0a{"status":200,"forged":1} HTTP/1.1\r\nHost: a"b\r\nUser-Agent: "\\\x1b[2J\r\n\r\n')
        wire.response()

    line, = line_after(gateway, act)
    assert "forged" not in line and "\x1b" not in gateway.access_log.read_text()


def test_a_websocket_is_one_line_at_its_end(gateway):
    def act():
        wire = gateway.connect()
        wire.send(upgrade_bytes())
        assert wire.response().status == 101
        wire.close()

    line, = line_after(gateway, act)
    assert line["status"] == 101 and line["route"] == "/echo", line


CLOSES = {
    "client": (frame(CLOSE, b"\x0f\xa1gone"), 4001, "client", None),
    "client, no code": (frame(CLOSE), 1005, "client", None),
    "a broken rule": (frame(TEXT, b"x", mask=None), 1002, "gateway", "ws_mask_missing"),
    "a bad code": (frame(CLOSE, b"\x03\xed"), 1002, "gateway", "ws_close_code_invalid"),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("said, code, by, error", CLOSES.values(), ids=CLOSES.keys())
def test_a_websocket_tells_who_closed_it(gateway, tls, said, code, by, error):
    def act():
        wire = gateway.connect(tls)
        wire.send(upgrade_bytes() + said)
        assert wire.response().status == 101
        assert read_frame(wire)[0] == CLOSE
        wire.ended()
        wire.close()

    line, = line_after(gateway, act)
    assert (line["close_code"], line["closed_by"], line["error"]) == (code, by, error)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_websocket_that_just_broke_was_closed_by_nobody(gateway, end):
    def act():
        wire = gateway.connect()
        wire.send(upgrade_bytes())
        assert wire.response().status == 101
        getattr(wire, end)()

    line, = line_after(gateway, act)
    assert "close_code" not in line and "closed_by" not in line and line["error"], line


def test_a_request_is_no_websocket(gateway):
    line, = line_after(gateway, lambda: gateway.ask("GET", "/count?siteId=x"))
    assert "close_code" not in line and "closed_by" not in line


def test_a_client_that_left_is_in_the_log(gateway, raw):
    def act():
        wire = gateway.connect()
        wire.send(request_bytes("GET", "/raw/a"))
        far = raw.accept()
        far.request()
        wire.reset()
        far.gone()

    line, = line_after(gateway, act)
    assert line["route"] == "/raw" and line["status"] != 200, line


def test_an_answer_that_was_cut_is_not_logged_as_whole(gateway, raw):
    def act():
        wire = gateway.connect()
        wire.send(request_bytes("GET", "/raw/a"))
        far = raw.accept()
        far.request()
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        far.close()
        with pytest.raises((Closed, ConnectionError)):
            wire.response()

    cut, = line_after(gateway, act)
    whole, = line_after(gateway, lambda: gateway.ask("GET", "/count?siteId=x"))
    # It says why somewhere; a whole one has nothing to say.
    assert [value for value in cut.values() if isinstance(value, str) and "upstream" in value.lower()], (cut, whole)


def test_the_log_can_be_switched_off(start_gateway):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], log={"access": "off"})
    assert gateway.ask("GET", "/count?siteId=x").status == 200
    assert not gateway.access_log.exists()


def test_many_lines_are_all_written(gateway):
    def act():
        wire = gateway.connect()
        wire.send(request_bytes("GET", "/count?siteId=x") * 1000)
        for _ in range(1000):
            assert wire.response().status == 200

    assert len(line_after(gateway, act, wanted=1000)) == 1000
