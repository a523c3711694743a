"""Admission: handshakes cost a hundred times a request, so a flood of them waits in line, and beyond the line it is refused."""
import ssl
import threading

import pytest

from gateway import eventually
from tls_clients import HANDSHAKE, Records, Tap, client_hello, record, reset

COUNT = [{"path": "/count", "serve": "count"}]
HELLO = record(HANDSHAKE, client_hello(), 0x0301)


def handshakes(gateway):
    return gateway.total()["handshakes"]


@pytest.fixture
def narrow(start_gateway):
    """One handshake at a time, and one that may wait for it."""
    return start_gateway(routes=COUNT, cores=1, limits={"tls_handshakes_max": 1, "tls_handshakes_queued_max": 1}, log={"level": "debug"})


def hello(gateway):
    """A client that has sent its hello; it hangs up with the test at the latest."""
    client = Records(gateway.tls_port)
    gateway.wires.append(client)
    client.send(HELLO)
    return client


def begun(gateway):
    """A client that has been answered and does not go on: its handshake holds memory."""
    client = hello(gateway)
    assert client.next()[0] == HANDSHAKE
    return client


def test_who_comes_when_the_line_is_full_is_refused_by_name(narrow):
    first = begun(narrow)
    waiting = hello(narrow)
    eventually(lambda: handshakes(narrow)["queued"] == 1, lambda: f"one that waits: {handshakes(narrow)}")
    for n in range(1, 4):
        with Records(narrow.tls_port) as surplus:
            surplus.send(HELLO)
            assert surplus.alert() in ("internal_error", None)
        eventually(lambda: narrow.refused("tls_handshakes_full") == n, lambda: f"it is told: {narrow.refused()}")
    eventually(lambda: "(tls_handshakes_full)" in narrow.said(), narrow.said)
    # The first one leaves, and who waited has his turn.
    first.close()
    assert waiting.next()[0] == HANDSHAKE
    waiting.close()
    eventually(lambda: handshakes(narrow)["queued"] == 0, "an empty line")


def test_who_waits_and_leaves_costs_nothing(narrow):
    first = begun(narrow)
    for leave in (Records.close, lambda client: reset(client.sock)):
        waiting = hello(narrow)
        eventually(lambda: handshakes(narrow)["queued"] == 1, lambda: f"one that waits: {handshakes(narrow)}")
        leave(waiting)
        eventually(lambda: handshakes(narrow)["queued"] == 0, lambda: f"an empty line: {handshakes(narrow)}")
    first.close()


def test_who_takes_his_time_while_others_wait_loses_his_place(narrow, certificates):
    """One silent client per place would otherwise keep everybody out for the whole of timeouts.tls_handshake."""
    first = begun(narrow)
    with Tap(narrow.tls_port, certificates.context()) as client:
        assert client.handshake().ask("GET", "/count?siteId=x").status == 200
    while first.next() is not None:
        pass
    first.close()
    assert narrow.refused("tls_handshake_displaced") == 1


def test_half_a_hello_takes_no_place(narrow, certificates):
    """Memory is for those whose hello is whole."""
    idle = [Records(narrow.tls_port) for _ in range(20)]
    for client in idle:
        client.send(HELLO[:50])
    for _ in range(3):
        with Tap(narrow.tls_port, certificates.context()) as client:
            assert client.handshake().ask("GET", "/count?siteId=x").status == 200
    for client in idle:
        client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_crowd_larger_than_the_places_is_served_in_the_end(start_gateway, certificates, version, long):
    gateway = start_gateway(routes=COUNT, cores=1, limits={"tls_handshakes_max": 4, "tls_handshakes_queued_max": 1000})
    made, crowd = certificates.context(version), []
    for _ in range(60 if not long else 600):
        client = Tap(gateway.tls_port, made)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.flush()
        crowd.append(client)
    # Each of them goes on only when it is its turn here: many have to wait, nobody may be lost.
    failed = 0
    for client in crowd:
        try:
            client.handshake()
            assert client.ask("GET", "/count?siteId=x").status == 200
        except ssl.SSLError:
            failed += 1                            # displaced: this loop is slower than a client on its own would be
        client.close()
    assert failed == gateway.refused("tls_handshake_displaced"), gateway.refused()
    assert failed < len(crowd) // 2, f"{failed} of {len(crowd)}"


def test_keep_alive_clients_are_served_during_a_flood(start_gateway, long):
    gateway = start_gateway(routes=COUNT, cores=1, limits={"tls_handshakes_max": 8, "tls_handshakes_queued_max": 64})
    there = [gateway.connect(tls=True) for _ in range(3)]

    def flood():
        for _ in range(10 if not long else 100):
            clients = [Records(gateway.tls_port) for _ in range(60)]
            for client in clients:
                client.send(HELLO)
            for client in clients:
                reset(client.sock)

    thread = threading.Thread(target=flood)
    thread.start()
    served = 0
    while thread.is_alive():
        for wire in there:
            assert wire.ask("GET", "/count?siteId=x").status == 200
            served += 1
    thread.join()
    # How many is a question of this machine's speed; that each of them is answered at all is not.
    assert served >= len(there), f"{served} answers while six hundred asked for a handshake"
    eventually(lambda: handshakes(gateway)["failed"] >= 600, lambda: f"all of them are told: {handshakes(gateway)}")


def test_the_line_is_seen_in_the_metrics(narrow):
    first = begun(narrow)
    waiting = hello(narrow)
    eventually(lambda: handshakes(narrow)["queued"] == 1, lambda: f"one that waits: {handshakes(narrow)}")
    text = narrow.admin_text("/metrics")
    assert 'postern_handshakes_queued{core="0"} 1' in text, text
    assert handshakes(narrow)["live"] == 2
    waiting.close()
    first.close()
