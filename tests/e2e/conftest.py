"""The fixtures: certificates, upstreams, one gateway that most tests share, and gateways of a test's own.

After every test each living gateway must be at rest again, exactly; see Gateway.at_rest.
"""
import os
import pathlib
import ssl
import subprocess

import pytest

from gateway import BINARY, TREE, Gateway
from upstreams import DigestUpstream, Nginx, RawUpstream, WebSocketUpstream, free_port


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", default=os.environ.get("POSTERN_TEST_LONG") == "1",
                     help="more clients, more rounds: minutes instead of seconds")


def pytest_sessionstart(session):
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} is missing: build it (tools/build), or name another in POSTERN_BIN")


@pytest.fixture(scope="session")
def long(request):
    return request.config.getoption("--long")


class Certificates(type(pathlib.Path())):
    """The directory of the certificates; with the ssl contexts of clients that trust them."""

    def context(self, version=None, ciphers=None, alpn=None):
        # It trusts these two alone; reading the machine's own hundred authorities takes longer than a handshake.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for kind in ("ecdsa", "rsa"):
            context.load_verify_locations(self / f"{kind}.pem")
        if version:
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    directory = Certificates(tmp_path_factory.mktemp("tls"))
    subprocess.run([TREE / "tools" / "certificates", directory], check=True)
    # Both in one file, for clients that take one: whichever the gateway shows is trusted.
    (directory / "both.pem").write_text((directory / "ecdsa.pem").read_text() + (directory / "rsa.pem").read_text())
    return directory


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    nginx = Nginx(tmp_path_factory.mktemp("nginx"))
    yield nginx
    nginx.close()


@pytest.fixture(scope="session")
def digest():
    digest = DigestUpstream()
    yield digest
    digest.close()


@pytest.fixture(scope="session")
def websocket_upstream():
    upstream = WebSocketUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def raw_session():
    raw = [RawUpstream(), RawUpstream()]
    yield raw
    for upstream in raw:
        upstream.close()


@pytest.fixture
def raw(raw_session):
    """The scripted upstream behind /raw; without a connection at the start, and none left at the end."""
    yield raw_session[0]
    raw_session[0].hang_up()


@pytest.fixture
def second(raw_session):
    """Another one, behind /second."""
    yield raw_session[1]
    raw_session[1].hang_up()


ROUTES = (
    {"host": "first.example", "prefix": "/", "proxy": "raw"},
    {"host": "*.wild.example", "prefix": "/", "proxy": "second"},
    {"path": "/count", "serve": "count"},
    {"path": "/echo", "serve": "echo"},
    {"path": "/raw/small", "proxy": "raw", "body_bytes_max": "1k"},
    {"path": "/raw/special", "proxy": "second"},
    {"prefix": "/raw", "proxy": "raw", "body_bytes_max": "unlimited"},
    {"path": "/raw/never", "proxy": "second"},
    {"prefix": "/second", "proxy": "second"},
    {"prefix": "/nginx", "proxy": "nginx", "body_bytes_max": "unlimited"},
    {"prefix": "/digest", "proxy": "digest", "body_bytes_max": "unlimited"},
    {"prefix": "/websocket", "proxy": "websocket"},
    {"prefix": "/refusing", "proxy": "refusing"},
)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, certificates, nginx, digest, websocket_upstream, raw_session):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), certificates, routes=ROUTES, upstreams={
        "raw": raw_session[0].port, "second": raw_session[1].port, "nginx": nginx.port, "digest": digest.port,
        "websocket": websocket_upstream.port, "refusing": free_port()})
    try:
        gateway.start()
        yield gateway
        gateway.stop()                         # also the leak check of AddressSanitizer
    finally:
        gateway.kill()


@pytest.fixture
def gateway(shared):
    """The gateway that the tests share, at rest before and after. One that has died failed its own test; the next gets a new one."""
    if not shared.alive():
        shared.revive()
    yield shared
    shared.at_rest()


@pytest.fixture
def start_gateway(tmp_path, certificates):
    """start_gateway(routes=…, upstreams=…, timeouts=…, …): a gateway for this test alone.

    What still runs at the end of the test must come to rest, and end in an orderly way."""
    started = []

    def start(start=True, **arguments):
        gateway = Gateway(tmp_path / f"gateway-{len(started)}", certificates, **arguments)
        started.append(gateway)
        return gateway.start() if start else gateway

    try:
        yield start
        for gateway in started:
            if gateway.alive():
                gateway.at_rest()
                gateway.stop()
            assert not gateway.reports(), gateway.reports()
    finally:
        for gateway in started:
            gateway.kill()
