"""What two implementations could read in two ways is refused with 400, and reaches no service.

Each case is followed by a second request on the same connection; whoever believes another length than the gateway would
see it as a request of its own. The connection must be closed behind the refusal, because nobody knows where it stands.
"""
import json

import pytest

from gateway import eventually
from wire import Closed, arrived

SMUGGLED = b"GET /raw/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*fields, body=b"0\r\n\r\n", line=b"POST /raw/a HTTP/1.1"):
    return line + b"\r\nHost: localhost\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def get(line, *fields):
    return line + b"\r\n" + b"".join(field + b"\r\n" for field in fields or (b"Host: localhost",)) + b"\r\n"


LENGTHS = {
    "length and chunks": post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunks and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 0"),
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": post(b"Content-Length: 5, 5"),
    "length with a plus": post(b"Content-Length: +5"),
    "length with a minus": post(b"Content-Length: -5"),
    "length in hexadecimal": post(b"Content-Length: 0x5"),
    "length with a space inside": post(b"Content-Length: 5 0"),
    "length with a fraction": post(b"Content-Length: 5.0"),
    "empty length": post(b"Content-Length:"),
    "length beyond 64 bits": post(b"Content-Length: 18446744073709551621"),
    "length of many digits": post(b"Content-Length: " + b"9" * 200),
    "space before the colon": post(b"Content-Length : 5"),
    "tab before the colon": post(b"Transfer-Encoding\t: chunked"),
    "coding in another word": post(b"Transfer-Encoding: xchunked"),
    "coding twice": post(b"Transfer-Encoding: chunked, chunked"),
    "coding in two fields": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity"),
    "coding with a parameter": post(b"Transfer-Encoding: chunked;q=1"),
    "coding with a vertical tab": post(b"Transfer-Encoding: \x0bchunked"),
    "coding in quotes": post(b'Transfer-Encoding: "chunked"'),
    "empty coding": post(b"Transfer-Encoding:"),
    "coding in HTTP/1.0": post(b"Transfer-Encoding: chunked", line=b"POST /raw/a HTTP/1.0"),
    "coding hidden in a fold": post(b"X-A: 1\r\n Transfer-Encoding: chunked", b"Content-Length: 5"),
    "coding folded": post(b"Transfer-Encoding:\r\n chunked"),
    "coding behind a bare CR": post(b"X-A: 1\rTransfer-Encoding: chunked"),
    "coding behind a bare LF": post(b"X-A: 1\nTransfer-Encoding: chunked"),
    "first field with a space before": post(b" Content-Length: 5"),
}

HEADS = {
    "bare LF behind the request line": b"GET /raw/a HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare LF everywhere": b"GET /raw/a HTTP/1.1\nHost: localhost\n\n",
    "bare LF behind a field": b"GET /raw/a HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n",
    "bare LF at the end": b"GET /raw/a HTTP/1.1\r\nHost: localhost\r\n\n",
    "bare CR in a value": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X-A: a\rb"),
    "zero byte in a value": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X-A: a\x00b"),
    "zero byte in a name": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X-A\x00: a"),
    "control byte in a value": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X-A: a\x07b"),
    "folded field": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X-A: a\r\n b"),
    "field without a colon": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"nonsense"),
    "field without a name": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b": value"),
    "space in a name": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X A: 1"),
    "parenthesis in a name": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"X(A): 1"),
    "no host": b"GET /raw/a HTTP/1.1\r\nX-A: 1\r\n\r\n",
    "two hosts": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"Host: first.example"),
    "the same host twice": get(b"GET /raw/a HTTP/1.1", b"Host: localhost", b"Host: localhost"),
    "a list of hosts": get(b"GET /raw/a HTTP/1.1", b"Host: localhost, first.example"),
    "host with a space": get(b"GET /raw/a HTTP/1.1", b"Host: local host"),
    "host with a path": get(b"GET /raw/a HTTP/1.1", b"Host: localhost/raw"),
    "host with a user": get(b"GET /raw/a HTTP/1.1", b"Host: user@localhost"),
    "host with a bad port": get(b"GET /raw/a HTTP/1.1", b"Host: localhost:port"),
    "two spaces behind the method": get(b"GET  /raw/a HTTP/1.1"),
    "two spaces behind the target": get(b"GET /raw/a  HTTP/1.1"),
    "space at the end of the line": get(b"GET /raw/a HTTP/1.1 "),
    "tab for a space": get(b"GET\t/raw/a HTTP/1.1"),
    "space in the target": get(b"GET /raw/a b HTTP/1.1"),
    "control byte in the target": get(b"GET /raw/a\x01b HTTP/1.1"),
    "zero byte in the target": get(b"GET /raw/a\x00b HTTP/1.1"),
    "bytes above 127 in the target": get(b"GET /raw/\xe6\x82\xa3 HTTP/1.1"),
    "fragment in the target": get(b"GET /raw/a#b HTTP/1.1"),
    "target without a slash": get(b"GET raw/a HTTP/1.1"),
    "no version": b"GET /raw/a\r\nHost: localhost\r\n\r\n",
    "version in small letters": get(b"GET /raw/a http/1.1"),
    "version with three digits": get(b"GET /raw/a HTTP/1.10"),
    "version with a comma": get(b"GET /raw/a HTTP/1,1"),
    "space before the method": get(b" GET /raw/a HTTP/1.1"),
    "method with a colon": get(b"GET: /raw/a HTTP/1.1"),
    "percent that escapes nothing": get(b"GET /raw/%zz HTTP/1.1"),
    "percent at the end": get(b"GET /raw/a% HTTP/1.1"),
    "escaped zero byte": get(b"GET /raw/%00 HTTP/1.1"),
}

CHUNKS = {
    "size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size with a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size of other letters": b"5g\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "trailer without a colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
}


def assert_refused(gateway, raw, data, statuses=(400,)):
    before = sum(gateway.refused().values())
    wire = gateway.connect()
    try:
        wire.send(data + SMUGGLED)
    except ConnectionError:
        pass
    answer = wire.response()
    assert answer.status in statuses, answer
    refusal = json.loads(answer.body)
    assert sorted(refusal) == ["error", "message"] and refusal["error"] and refusal["message"]
    wire.gone()
    assert wire.buffer == b"", f"an answer to what stood behind the refusal: {wire.buffer[:200]!r}"
    assert b"smuggled" not in raw.everything()
    assert sum(gateway.refused().values()) > before, "a refusal without a metric"


@pytest.mark.parametrize("data", LENGTHS.values(), ids=LENGTHS.keys())
def test_an_ambiguous_length_is_refused(gateway, raw, data):
    assert_refused(gateway, raw, data)
    assert not raw.wires, "the refused request reached the service"


@pytest.mark.parametrize("coding", [b"identity", b"gzip, chunked", b"gzip", b"deflate"])
def test_a_coding_nobody_knows_is_refused(gateway, raw, coding):
    """RFC 9112 §6.1: a server that receives a transfer coding it does not understand SHOULD respond with 501."""
    assert_refused(gateway, raw, post(b"Transfer-Encoding: " + coding), statuses=(400, 501))
    assert not raw.wires


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS.keys())
def test_an_ambiguous_head_is_refused(gateway, raw, data):
    assert_refused(gateway, raw, data)
    assert not raw.wires


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/1.2"])
def test_another_version_is_refused(gateway, raw, version):
    assert_refused(gateway, raw, get(b"GET /raw/a " + version), statuses=(400, 505))
    assert not raw.wires


@pytest.mark.parametrize("data", CHUNKS.values(), ids=CHUNKS.keys())
def test_a_broken_chunk_is_refused_and_its_request_is_not_completed(gateway, raw, data):
    """The head has gone on by then; the service must see a body that breaks off, never one that ends well."""
    assert_refused(gateway, raw, post(b"Transfer-Encoding: chunked", body=data))
    for wire in raw.wires:
        with pytest.raises((Closed, ConnectionError)):
            wire.request()


def test_the_host_of_an_absolute_target_wins_over_the_field(gateway, raw, second):
    """RFC 9112 §3.2.2: a proxy MUST ignore the received Host when the target is absolute, and replace it.

    Refusing where the two differ is stricter, and good as well."""
    wire = gateway.connect()
    wire.send(b"GET http://first.example/raw/a HTTP/1.1\r\nHost: a.wild.example\r\nConnection: close\r\n\r\n")
    far = eventually(lambda: raw.waiting() or arrived(wire), "the request at the service, or an answer")
    if far is True:
        assert wire.response().status == 400
    else:
        seen = far[0].request()
        assert (seen.target, seen.get("Host")) == ("/raw/a", "first.example")
        far[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert wire.response().status == 200
    assert not second.waiting()


@pytest.mark.parametrize("line", [b"CONNECT localhost:80 HTTP/1.1", b"CONNECT /raw/a HTTP/1.1", b"TRACE /raw/a HTTP/1.1"])
def test_methods_that_are_for_tunnels_and_mirrors_are_not_passed_on(gateway, raw, line):
    wire = gateway.connect()
    wire.send(get(line))
    assert wire.response().status in (400, 405, 501)
    assert not raw.waiting()


def test_bytes_that_are_no_http_are_refused(gateway, raw):
    for data in (b"\x00" * 100 + b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 200):
        wire = gateway.connect()
        wire.send(data)
        assert wire.response().status in (400, 505)
        wire.gone()


def test_a_good_request_follows_a_good_request(gateway, raw):
    """The same test with nothing wrong, so that the others are known to fail for their reason."""
    wire = gateway.connect()
    wire.send(post(b"Content-Length: 5") + SMUGGLED)
    far = raw.accept()
    assert far.request().body == b"0\r\n\r\n"
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert wire.response().status == 200
    try:
        request = far.request()
    except (Closed, ConnectionError):
        far = raw.accept()
        request = far.request()
    assert request.target == "/raw/smuggled"
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert wire.response().status == 200
