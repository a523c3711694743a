"""count_clients.py: many clients who change and read counts at once, each on its own connection, and the history of what they saw.

One thread asks for all of them, so that questions reach the gateway together and what is measured as their time is close to
what it was. A question is a command of linearizability.Sites, said in HTTP; the answer comes back as one of its answers. An
answer that HTTP allows and the interface does not is an error here, not a finding of the checker.
"""
import json
import select
import time

from gateway import SLOW, eventually
from linearizability import KEEP, OK, Operation
from wire import PATIENCE_S, Closed, Response, request_bytes

ROUTES = [{"path": "/count", "serve": "count"}, {"prefix": "/sites", "serve": "count"}]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
COLLECTIONS = {"screened": "screenings", "enrolled": "enrolments", "randomised": "randomisations", "withdrawn": "withdrawals"}
REFUSALS = {
    "site_cap_reached": 409, "study_cap_reached": 409, "site_paused": 409, "site_closed": 409, "count_below_zero": 409,
    "site_unknown": 404, "reservation_unknown": 404, "site_changed": 412,
}


def json_bytes(**values):
    return json.dumps(values).encode()


class Question:
    """`key`: the Idempotency-Key, or None; `by_form`: an enrolment of one as the article says it."""

    def __init__(self, command, key=None, by_form=False):
        self.command, self.key, self.by_form = command, key, by_form

    def __repr__(self):
        return f"{self.command} key={self.key} by_form={self.by_form}"

    def bytes(self, reservations):
        word, *words = self.command
        fields = [] if self.key is None else [("Idempotency-Key", f'"{self.key}"')]
        if word == "get":
            return request_bytes("GET", f"/count?siteId={words[0]}")
        if word == "look":
            return request_bytes("GET", f"/sites/{words[0]}")
        if word == "study":
            return request_bytes("GET", "/sites?limit=1")
        if word == "cap":
            return request_bytes("PUT", "/sites", json_bytes(cap=words[0], reason="test"), [JSON])
        if word == "put":
            site, status, cap, match = words
            values = {name: value for name, value in (("status", status), ("cap", cap)) if value != KEEP}
            if match is not None:
                fields.append(("If-None-Match", "*") if match == "new" else ("If-Match", "*" if match == "*" else f'"{match}"'))
            return request_bytes("PUT", f"/sites/{site}", json_bytes(reason="test", **values), [*fields, JSON])
        if word == "change":
            site, kind, by = words
            if self.by_form:
                assert (kind, by) == ("enrolled", 1)
                return request_bytes("POST", "/count", f"siteId={site}".encode(), [*fields, FORM])
            return request_bytes("POST", f"/sites/{site}/{COLLECTIONS[kind]}", json_bytes(by=by, reason="test"), [*fields, JSON])
        if word == "reserve":
            site, _, amount = words
            return request_bytes("POST", f"/sites/{site}/reservations", json_bytes(by=amount, ttl="30m"), [*fields, JSON])
        site, token = words
        target = f"/sites/{site}/reservations/{reservations[token]}"
        if word == "confirm":
            return request_bytes("POST", target + "/confirm", json_bytes(reason="test"), [*fields, JSON])
        assert word == "release", word
        return request_bytes("DELETE", target)

    def understood(self, answer, reservations):
        """The answer in the words of linearizability.Sites."""
        word, body = self.command[0], json.loads(answer.body)
        if "error" in body:
            assert REFUSALS.get(body["error"]) == answer.status and body["message"], f"{self!r}: {answer!r}"
            return "refused", body["error"]
        if word == "reserve":
            assert answer.status == 201 and body["site"] == self.command[1] and body["by"] == self.command[3], f"{self!r}: {answer!r}"
            assert answer.get("Location").endswith(f"/sites/{body['site']}/reservations/{body['id']}"), answer
            reservations[self.command[2]] = body["id"]
            return OK
        assert answer.status in ((200, 201) if word == "put" else (200,)), f"{self!r}: {answer!r}"
        if word == "get":
            return "count", body["count"]
        if word == "study":
            return "count", body["study"]["count"]
        if word == "look":
            return "site", seen(body)
        if word in ("put", "cap"):
            return OK
        assert body == {"status": "ok"}, f"{self!r}: {answer!r}"
        return OK


def seen(site):
    return tuple(site[name] for name in ("count", "screened", "enrolled", "randomised", "withdrawn", "reserved", "status", "cap", "revision"))


def whole_chunks(data):
    """The body, or None: its end has not come. Nobody sends trailers here."""
    body = b""
    while True:
        size, mark, data = data.partition(b"\r\n")
        n = int(size, 16) if mark else 0
        if not mark or len(data) < n + 2:
            return None
        assert data[n:n + 2] == b"\r\n" and (n or len(data) == 2), f"not the end of a chunk: {data[n:n + 20]!r}"
        if n == 0:
            return body
        body, data = body + data[:n], data[n + 2:]


class Client:
    def __init__(self, wire, number):
        self.wire, self.number = wire, number
        self.question, self.begun = None, 0

    def ask(self, question, reservations):
        data = question.bytes(reservations)
        self.question, self.begun = question, time.monotonic_ns()
        self.wire.sock.setblocking(True)
        self.wire.send(data)
        self.wire.sock.setblocking(False)

    def answer(self):
        """The whole answer, or None while it is not."""
        try:
            if not self.wire.fill():
                raise Closed("the gateway has closed")
        except BlockingIOError:
            pass
        head, mark, rest = self.wire.buffer.partition(b"\r\n\r\n")
        if not mark:
            return None
        answer = Response(head)
        if answer.get("Transfer-Encoding"):
            answer.body = whole_chunks(rest)
        else:
            length = int(answer.get("Content-Length"))
            assert len(rest) <= length, f"more than was asked for: {rest!r}"
            answer.body = rest if len(rest) == length else None
        if answer.body is None:
            return None
        self.wire.buffer = b""
        return answer


class Clients:
    """`choose(client)` gives the next question of a client, or None: he has no more. `answered(question, answer, Response)` hears all."""

    def __init__(self, gateway, count):
        self.gateway = gateway
        self.clients = []
        self.reservations = {}                 # what the gateway calls them, by our word
        self.history = []
        self.lost = []                         # questions whose answer never came
        cores = gateway.configuration["cores"]
        while len(self.clients) < count or not self.everywhere(cores):
            # Clients come to a core by the dice of their ports; some more, until there are some on each.
            assert len(self.clients) < count + 64, "all connections lie on one core"
            self.clients.append(Client(gateway.connect(), len(self.clients)))

    def everywhere(self, cores):
        ours = len(self.clients)
        stats = eventually(lambda: next((s for s in [self.gateway.stats()] if sum(
            core["connections"]["open"] for core in s["cores"]) >= ours), None), "all connections are accepted")
        return all(core["connections"]["open"] >= max(1, ours // (4 * cores)) for core in stats["cores"][:cores])

    def run(self, choose, answered=None, until=None):
        """To the end of what they choose; or until the monotonic time `until`, and then nobody waits for what is under way.
        True: nothing is."""
        poll, by_fd = select.poll(), {}
        for client in self.clients:
            self.next(client, choose, poll, by_fd)
        patience = time.monotonic() + PATIENCE_S * SLOW
        while by_fd:
            left = (until or patience) - time.monotonic()
            if until and left <= 0:
                return False
            ready = poll.poll(max(1, left * 1000))
            assert ready or until, f"no answer to {[client.question for client in by_fd.values()]}"
            patience = time.monotonic() + PATIENCE_S * SLOW
            for fd, _ in ready:
                client = by_fd[fd]
                answer = client.answer()
                if answer is None:
                    continue
                ended = time.monotonic_ns()
                question, client.question = client.question, None
                told = question.understood(answer, self.reservations)
                self.history.append(Operation(client.begun, ended, question.command, told, client.number))
                if answered:
                    answered(question, told, answer)
                del by_fd[fd]
                poll.unregister(fd)
                self.next(client, choose, poll, by_fd)
        return True

    def next(self, client, choose, poll, by_fd):
        question = choose(client)
        if question is not None:
            client.ask(question, self.reservations)
            poll.register(client.wire.sock, select.POLLIN)
            by_fd[client.wire.sock.fileno()] = client

    def killed(self, at_ns):
        """The gateway is no more: what was under way has happened before, or never. What had come already is heard still."""
        for client in self.clients:
            if client.question is not None:
                self.history.append(Operation(client.begun, max(at_ns, client.begun), client.question.command, None, client.number))
                self.lost.append(client.question)
                client.question = None
            client.wire.close()
        self.clients = []

    def close(self):
        for client in self.clients:
            client.wire.close()
        self.clients = []


def site_now(gateway, site):
    """What GET /sites/S shows, or None: it is not known."""
    answer = gateway.ask("GET", f"/sites/{site}")
    if answer.status == 404:
        assert json.loads(answer.body)["error"] == "site_unknown", answer
        return None
    assert answer.status == 200, answer
    shown = json.loads(answer.body)
    assert answer.get("ETag") == f'"{shown["revision"]}"', answer
    return shown


def put_site(gateway, site, fields=(), **values):
    answer = gateway.ask("PUT", f"/sites/{site}", json_bytes(**values), [*fields, JSON])
    assert answer.status in (200, 201), answer
    return json.loads(answer.body)
