"""Health checks: who is not well gets no requests, who is well again gets them again, and the asking itself leaves nothing behind."""
import json
import re
import signal
import threading
import time

import pytest

from gateway import eventually
from upstreams import RawUpstream, free_port
from wire import Closed, Wire, request_bytes

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
ILL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
EVERY = "100ms"
CORES = 2


class Patient:
    """A service that says how it is, as the test wishes, and serves everything else all the same.

    Threads, because several questions may be open at once, and the test's own thread is the client."""

    def __init__(self):
        self.raw = RawUpstream()
        self.port = self.raw.port
        self.address = f"127.0.0.1:{self.port}"
        self.answer = WELL                     # bytes; None or without a last line feed: silence; or a function of
                                               # how many questions came before
        self.questions = []                    # their heads
        self.open = 0                          # questions whose connection is still there
        self.served = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.raw.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(Wire(sock),), daemon=True).start()

    def serve(self, wire):
        try:
            while True:
                request = wire.request()
                if request.target == "/healthz":
                    self.tell(wire, request)
                    return
                with self.lock:
                    self.served += 1
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.address), self.address.encode()))
        except (Closed, OSError, AssertionError):
            pass
        finally:
            wire.close()

    def tell(self, wire, request):
        with self.lock:
            answer = self.answer(len(self.questions)) if callable(self.answer) else self.answer
            self.questions.append(request)
            self.open += 1
        try:
            if answer:
                wire.send(answer)
            if answer is None or answer and not answer.endswith(b"\n"):
                wire.sock.settimeout(60)
                wire.gone()                    # nothing more is said; the gateway gives up
        finally:
            with self.lock:
                self.open -= 1

    def close(self):
        self.raw.close()


@pytest.fixture
def patients():
    """patients[0] and [1], well."""
    patients = [Patient(), Patient()]
    yield patients
    for patient in patients:
        patient.close()


@pytest.fixture
def start(start_gateway):
    def start(patients, cores=CORES, every=EVERY, **more):
        gateway = start_gateway(cores=cores, routes=[{"prefix": "/", "proxy": "service"}], upstreams={"service": {
            "servers": [p if isinstance(p, str) else p.address for p in patients],
            "health": {"path": "/healthz", "every": every}}}, **more)
        # A look may fall into a question; rest is what most of them see.
        looks = [gateway.standing() for _ in range(25)]
        gateway.baseline = max(looks, key=looks.count)
        return gateway
    return start


def down(gateway):
    return gateway.total()["upstream"]["down"]


def all_cores(gateway, servers, cores=CORES):
    eventually(lambda: down(gateway) == servers * cores, lambda: f"{servers} down on each core; down: {down(gateway)}")


def health_scopes(gateway):
    """How many servers are watched, and how many questions are open."""
    kinds = [scope["kind"] for scope in json.loads(gateway.admin_text("/scopes?full"))["scopes"]]
    return kinds.count("health check"), kinds.count("health question")


def ask_until_served(gateway, patient):
    before = patient.served

    def served():
        assert gateway.ask("GET", "/x").status == 200
        return patient.served > before
    eventually(served, "it gets requests")


def ask_many(gateway, patient):
    """Many requests, enough for every core and every turn; this one alone answers."""
    for _ in range(24):
        answer = gateway.ask("GET", "/x")
        assert (answer.status, answer.body) == (200, patient.address.encode())


def test_a_question_is_one_plain_request(start, patients):
    start(patients[:1])
    eventually(lambda: len(patients[0].questions) >= 2, "it is asked")
    for question in patients[0].questions:
        assert question.start == "GET /healthz HTTP/1.1"
        assert question.get("Host") == patients[0].address
        assert question.get("Connection") == "close"
        assert question.get("User-Agent") == "postern-health"
        assert len(question.fields) == 3 and question.body == b""


def test_an_ill_server_gets_no_requests_and_gets_them_again_when_it_is_well(start, patients):
    ill, other = patients
    gateway = start(patients)
    for patient in patients:
        ask_until_served(gateway, patient)
    ill.answer = ILL
    all_cores(gateway, 1)
    before = ill.served
    ask_many(gateway, other)
    assert ill.served == before
    assert gateway.total()["upstream"]["checks_failed"] >= 2 * CORES
    text = gateway.admin_text("/metrics")
    assert re.search(r'^postern_upstream_down\{core="1"\} 1$', text, re.MULTILINE), text
    assert re.search(r'^postern_upstream_checks_failed_total\{core="1"\} [1-9]', text, re.MULTILINE), text
    assert f"warn: core 1: server {ill.address} of upstream service is down: " in gateway.said()
    assert "(health_status, answered 500)" in gateway.said()
    ill.answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    all_cores(gateway, 0)
    assert f"info: core 1: server {ill.address} of upstream service is back" in gateway.said()
    ask_until_served(gateway, ill)


@pytest.mark.parametrize("balance", ["least", "random_two", "hash"])
def test_every_balance_leaves_out_who_is_down(start_gateway, patients, balance):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "service"}], upstreams={"service": {
        "servers": [p.address for p in patients], "balance": balance, "health": {"path": "/healthz", "every": EVERY}}})
    for ill, other in (patients, patients[::-1]):
        ill.answer = ILL
        all_cores(gateway, 1)
        ask_many(gateway, other)
        ill.answer = WELL
        all_cores(gateway, 0)


def test_all_down_is_503_by_name_until_one_is_well(start, patients):
    gateway = start(patients)
    wire = gateway.connect()
    assert wire.ask("GET", "/x").status == 200
    for patient in patients:
        patient.answer = ILL
    all_cores(gateway, 2)
    eventually(lambda: gateway.total()["upstream"]["idle"] == 0, "kept connections to who is down are let go")
    before = [patient.served for patient in patients]
    for body in (None, b"some"):
        answer = wire.ask("POST" if body else "GET", "/x", body)
        assert (answer.status, json.loads(answer.body)["error"]) == (503, "upstream_down")
    assert gateway.refused("upstream_down") == 2
    assert [patient.served for patient in patients] == before
    patients[1].answer = WELL
    all_cores(gateway, 1)
    ask_many(gateway, patients[1])


FAILURES = {
    "silence": (None, "health_late"),
    "a head that never ends": (b"HTTP/1.1 200 OK\r\nContent-Le", "health_late"),
    "a body that never ends": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok", "health_late"),
    "interim answers alone": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, "upstream_answer_bad"),
    "an end instead of an answer": (b"", "upstream_closed"),
    "a cut body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok\n", "http_body_cut"),
    "no http": (b"220 mail.example ESMTP\r\n", None),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", None),
    "a status of 404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "health_status"),
}


@pytest.mark.parametrize("answer, name", FAILURES.values(), ids=FAILURES.keys())
def test_what_is_no_good_answer_is_a_failure(start, patients, answer, name):
    ill, other = patients
    gateway = start(patients)
    ill.answer = answer
    all_cores(gateway, 1)
    if name:
        assert f"({name}" in gateway.said()
    ask_many(gateway, other)
    ill.answer = WELL
    all_cores(gateway, 0)
    ask_until_served(gateway, ill)


GOOD = {
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "interim answers first": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + WELL,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n",
    "until the end": b"HTTP/1.0 200 OK\r\n\r\nok\n",
    "a body without end": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * (1 << 18),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD.keys())
def test_what_is_a_good_answer_brings_it_back(start, patients, answer):
    gateway = start(patients[:1])
    patients[0].answer = ILL
    all_cores(gateway, 1)
    patients[0].answer = answer
    all_cores(gateway, 0)
    failed, asked = gateway.total()["upstream"]["checks_failed"], len(patients[0].questions)
    eventually(lambda: len(patients[0].questions) >= asked + 4, "it is asked on")
    assert (down(gateway), gateway.total()["upstream"]["checks_failed"]) == (0, failed)


def test_a_server_that_is_not_there_is_down(start, patients):
    gateway = start([patients[0], f"127.0.0.1:{free_port()}"])
    all_cores(gateway, 1)
    assert "(connection_refused)" in gateway.said()
    ask_many(gateway, patients[0])
    assert gateway.total()["upstream"]["failed"] <= 24


def test_one_failure_is_forgiven(start, patients):
    patients[0].answer = lambda before: ILL if before % 2 else WELL
    gateway = start(patients[:1], cores=1)     # so that one asks, in one order

    def failed_often():
        assert down(gateway) == 0
        return gateway.total()["upstream"]["checks_failed"] >= 4
    eventually(failed_often, "half of the questions fail")
    assert "is down" not in gateway.said()


def test_a_server_of_an_upstream_without_health_is_not_asked(start_gateway, patients):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "plain"}, {"path": "/other", "proxy": "asked"}], upstreams={
        "plain": patients[0].port, "asked": {"servers": [patients[1].address], "health": {"path": "/healthz", "every": EVERY}}})
    eventually(lambda: len(patients[1].questions) >= 4, "the other is asked")
    assert gateway.ask("GET", "/x").status == 200
    assert patients[0].questions == []


def test_questions_stop_at_the_drain(start, patients):
    gateway = start(patients)
    wire = gateway.connect()
    # A client whose request is half there holds the drain up; the questions must not go on meanwhile.
    wire.send(request_bytes("POST", "/x", b"half", fields=[("Content-Length", "8")]))
    eventually(lambda: gateway.total()["requests"]["live"] == 1, "the request is under way")
    patients[0].answer = None
    eventually(lambda: patients[0].open == CORES, "questions hang")
    gateway.signal(signal.SIGTERM)
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    eventually(lambda: patients[0].open == patients[1].open == 0, "the open questions are given up")
    eventually(lambda: health_scopes(gateway) == (0, 0), lambda: gateway.admin_text("/scopes?full"))
    asked = [len(patient.questions) for patient in patients]
    time.sleep(0.5)                            # nothing announces what does not happen
    assert [len(patient.questions) for patient in patients] == asked
    wire.send(b"more")
    assert wire.response().status == 200
    assert gateway.wait() == 0


def test_a_hanging_question_holds_no_drain_up(start, patients):
    patients[0].answer = None                  # before the first question; the next would be long in coming
    gateway = start(patients[:1], every="1h")
    eventually(lambda: patients[0].open == CORES, "questions hang")
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert time.monotonic() - began < 10


def test_between_questions_there_is_one_scope_for_a_server_and_core(start, patients):
    gateway = start(patients, every="500ms")
    eventually(lambda: health_scopes(gateway) == (2 * CORES, 0), lambda: gateway.admin_text("/scopes?full"))
    patients[0].answer = None
    eventually(lambda: '"waiting for answer"' in gateway.admin_text("/scopes?full"), "a question hangs, and is seen")
    all_cores(gateway, 1)
    assert re.search(r"down: (asking|resting)", gateway.admin_text("/scopes?full"))
    patients[0].answer = WELL
    all_cores(gateway, 0)
    gateway.at_rest()
