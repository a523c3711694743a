"""gateway.py: the program under test: configured, started, watched, ended; and the question whether it is at rest."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from upstreams import free_port
from wire import PATIENCE_S, Wire, connect

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("POSTERN_BIN", TREE / "build" / "postern")).absolute()
POSTERNCTL = pathlib.Path(os.environ.get("POSTERN_CTL", TREE / "tools" / "posternctl")).absolute()
SANITIZER = os.environ.get("POSTERN_SANITIZER", os.environ.get("POSTERN_BUILD", ""))

# ThreadSanitizer takes memory that grows with what was ever touched, and time; bounds are wider there.
SLOW = 4 if SANITIZER == "tsan" else 2 if SANITIZER == "asan" else 1

# A kept upstream connection is no leak, but it is alive. They are let go soon, so that rest is one exact state.
UPSTREAM_KEEP_ALIVE = "250ms"


def eventually(condition, what, seconds=PATIENCE_S):
    """Waits for something that no descriptor announces; returns its first true value."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.01)


class Gateway:
    def __init__(self, directory, certificates, upstreams={}, routes=(), cores=2, **sections):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port()
        self.admin_socket = self.directory / "admin.sock"
        self.access_log = self.directory / "access.jsonl"
        self.stderr_path = self.directory / "stderr.log"
        self.certificates = certificates
        (self.directory / "state").mkdir(exist_ok=True)
        # A drain that only its deadline ends has lost something on the way; here it would take longer than a test waits.
        timeouts = {"upstream_keep_alive": UPSTREAM_KEEP_ALIVE, "drain": "5m", **sections.pop("timeouts", {})}
        # YAML contains JSON, so no library is needed to write it.
        self.configuration = {
            "cores": cores, "admin": "admin.sock", "state": "state",
            "log": {"access": "access.jsonl", "level": "info"},
            "timeouts": timeouts,
            "listeners": [
                {"address": f"127.0.0.1:{self.tls_port}", "tls": {"certificates": [
                    {"certificate": str(certificates / f"{kind}.pem"), "key": str(certificates / f"{kind}.key")}
                    for kind in ("ecdsa", "rsa")]}},
                {"address": f"127.0.0.1:{self.port}"},
            ],
            "upstreams": [
                {"name": name, "servers": [f"127.0.0.1:{port}" for port in (ports if isinstance(ports, list) else [ports])]}
                if not isinstance(ports, dict) else {"name": name, **ports}
                for name, ports in upstreams.items()],
            "routes": list(routes),
            **sections,
        }
        if not upstreams:
            del self.configuration["upstreams"]
        self.path = self.directory / "postern.yaml"
        self.process = None
        self.before = []                   # words of another program that becomes this one: nsenter, prlimit
        self.wires = []

    # ---- life ------------------------------------------------------------------------------------

    def environment(self):
        """Reports of a sanitizer go into this gateway's own directory; the last log_path is the one that counts."""
        environment = dict(os.environ)
        for name in ("ASAN", "UBSAN", "TSAN", "LSAN"):
            before = environment.get(f"{name}_OPTIONS")
            environment[f"{name}_OPTIONS"] = ":".join(filter(None, [before, f"log_path={self.directory}/report.{name.lower()}"]))
        return environment

    def write(self):
        self.path.write_text(json.dumps(self.configuration, indent=2) + "\n")

    def spawn(self):
        self.write()
        with open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen([*self.before, BINARY, "run", "-c", self.path], stdin=subprocess.DEVNULL, stdout=stderr,
                                            stderr=stderr, env=self.environment(), cwd=self.directory)
        return self

    def start(self):
        self.spawn()
        eventually(self.ready, lambda: f"the gateway is up; it said: {self.said()}")
        # The first questions may leave something that stays for good, so the baseline is taken at the second look.
        self.baseline = self.standing()
        eventually(lambda: self.settled(), "two equal looks at a gateway that has nothing to do")
        return self

    def settled(self):
        before, self.baseline = self.baseline, self.standing()
        return before == self.baseline

    def ready(self):
        assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}: {self.said()}"
        try:
            stats = self.stats()
            # Core 0 answers; the others serve when they have armed their accepts.
            return stats["state"] == "serving" and all(
                core["ops"]["live"] >= len(self.configuration["listeners"]) for core in stats["cores"])
        except OSError:
            return False

    def said(self):
        return self.stderr_path.read_text(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def reports(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("report.*")))

    def assert_healthy(self):
        assert not self.reports(), self.reports()
        assert self.alive(), f"the gateway ended with {self.process.returncode}: {self.said()}"

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE_S * SLOW):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            scopes = self.admin_text("/scopes?full") if self.admin_socket.exists() else "(no admin socket)"
            self.kill()
            raise AssertionError(f"the gateway does not end; alive in it: {scopes}") from None

    def stop(self):
        """An orderly end; the exit code is 0 and no sanitizer has anything to say."""
        self.hang_up()
        if self.alive():
            self.signal(signal.SIGTERM)
            code = self.wait()
            assert code == 0, f"exit code {code}: {self.reports() or self.said()}"
        assert not self.reports(), self.reports()

    def revive(self):
        """Starts anew after a death that was told already; its reports are kept under another name."""
        for path in self.directory.glob("report.*"):
            path.rename(path.with_name(f"told-{path.name}"))
        self.wires = []
        self.start()

    @contextlib.contextmanager
    def serving(self):
        """Started, and at the end stopped in order; killed, where that fails."""
        try:
            yield self.start()
            self.stop()
        finally:
            self.kill()

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    # ---- clients ---------------------------------------------------------------------------------

    def connect(self, tls=False, **more):
        context = None
        if tls:
            context = tls if not isinstance(tls, bool) else self.certificates.context()
        wire = connect(self.tls_port if tls else self.port, context, **more)
        self.wires.append(wire)
        return wire

    def ask(self, method, target, body=None, fields=(), tls=False, **more):
        """One request on a connection of its own."""
        wire = self.connect(tls)
        try:
            return wire.ask(method, target, body, fields, **more)
        finally:
            wire.close()

    def hang_up(self):
        for wire in self.wires:
            wire.close()
        self.wires = []

    # ---- the admin socket ------------------------------------------------------------------------

    def admin(self, method, target):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(self.admin_socket))
            return Wire(sock).ask(method, target, host="admin")

    def admin_text(self, target):
        answer = self.admin("GET", target)
        assert answer.status == 200, answer
        return answer.body.decode()

    def stats(self):
        return json.loads(self.admin_text("/stats"))

    def total(self):
        return self.stats()["total"]

    def refused(self, name=None):
        """How often each refusal was given, or this one."""
        refusals = self.total()["refusals"]
        return refusals if name is None else refusals.get(name, 0)

    # ---- at rest ---------------------------------------------------------------------------------

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+([0-9]+) kB$", text, re.MULTILINE)[1])

    def standing(self):
        """What must be the same before and after: nothing in it counts events, all of it counts what is alive."""
        total = self.total()
        assert total["ops"]["started"] == total["ops"]["ended"] + total["ops"]["live"], total["ops"]
        assert total["scopes"]["opened"] == total["scopes"]["ended"] + total["scopes"]["live"], total["scopes"]
        return {
            "operations": total["ops"]["live"], "scopes": total["scopes"]["live"],
            "chunks": total["chunks"]["out"] - total["chunks"]["lent"],
            "requests": total["requests"]["live"], "connections": total["connections"]["open"],
            "websockets": total["websockets"]["open"], "handshakes": total["handshakes"]["live"],
            "upstream connections": total["upstream"]["idle"], "descriptors": self.descriptors(),
        }

    def nothing_left(self):
        """Less than at the start is no leak: the journal's first record, or a health check's question, may have been alive then."""
        standing = self.standing()
        return all(standing[name] <= self.baseline[name] for name in standing)

    def at_rest(self):
        """Everything that was opened has ended, exactly: the promise is kept after every single test."""
        self.hang_up()
        self.assert_healthy()
        seen = {}

        def resting():
            self.assert_healthy()
            nonlocal seen
            seen = self.standing()
            # Less than at the start is no leak: a health check's question may have been alive then.
            return all(seen[name] <= self.baseline[name] for name in seen)

        def difference():
            changed = {name: f"{self.baseline[name]} → {seen[name]}" for name in seen if seen[name] != self.baseline[name]}
            return f"at rest; instead {changed}\n{self.admin_text('/scopes?full')}"

        try:
            eventually(resting, difference)
        except AssertionError:
            # One leak is one failure: the next test is measured against what it found.
            self.baseline = seen
            raise


def run_once(*arguments, cwd=None, environment=None):
    """postern with these arguments, to its end; for `check`, `version`, and starts that are refused."""
    return subprocess.run([BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          cwd=cwd, env=environment, timeout=PATIENCE_S * SLOW)
