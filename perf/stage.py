"""perf/stage.py: what the measuring scripts of this folder share: servers, loads, and what the machine says about them.

Servers are pinned to one core, the load and the service behind to another. Whatever was started is ended with the stage.
"""
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parent.parent
DEPS = pathlib.Path(os.environ.get("POSTERN_DEPS", TREE / "deps")).absolute()
SERVER_CORE, LOAD_CORE = "0", "1"
UPSTREAM = 29010
PATIENCE_S = 60


def fail(text):
    sys.exit(f"perf/{pathlib.Path(sys.argv[0]).name}: {text}")


def alone():
    """Two at once would measure each other, and share ports: servers let the next process of the same user listen beside
    them. Whoever holds what this returns is the only one."""
    only_one = socket.socket(socket.AF_UNIX)
    try:
        only_one.bind("\0postern-perf")
    except OSError:
        fail("another one is measuring on this machine: one at a time")
    return only_one


def descriptors():
    """As many as are allowed without asking; HAProxy counts two for a connection, and does not start with fewer."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = hard if 0 < hard < 1 << 20 else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files


# ---- the process tree, from /proc ----------------------------------------------------------------

def tree_of(pid):
    pids = [pid]
    for parent in pids:
        for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
            pids += [int(word) for word in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid):
    total = 0
    for child in tree_of(pid):
        fields = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def core_busy_seconds(core):
    """What all processes have had of a core: the less is ours, the less a figure is worth."""
    line = re.search(rf"^cpu{core} (.*)$", pathlib.Path("/proc/stat").read_text(), re.M)[1]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in line.split()[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid):
    """What belongs to the tree: pages of its own, and its share of pages that several have."""
    return 1024 * sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{child}/smaps_rollup").read_text(), re.M)[1])
                      for child in tree_of(pid))


def kernel_bytes():
    """Slab of the whole machine: sockets of both ends, epoll items, ring requests."""
    return 1024 * int(re.search(r"^Slab:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1])


# ---- servers and loads ---------------------------------------------------------------------------

def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def pinned(core, words, *command, **options):
    """Started on that core; with --ahead as a session of its own, because it is sessions among which Linux divides a core first."""
    process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], start_new_session=words.ahead, **options)
    if words.ahead:
        try:
            pathlib.Path(f"/proc/{process.pid}/autogroup").write_text("-15")
        except FileNotFoundError:
            os.setpriority(os.PRIO_PROCESS, process.pid, -15)    # a kernel that does not
    return process


class Stage:
    """The servers, the service behind them, and the directory of this run."""

    def __init__(self, directory, words, ports, texts):
        """`texts`: the configuration of each server that has one, with places for what is known only here."""
        self.directory, self.words = directory, words
        self.ports = {**ports, "upstream": UPSTREAM}
        self.processes = {}
        self.own = {}                    # commands of servers that only one script has
        self.nginx = next((path for path in (DEPS / "bin/nginx", pathlib.Path("/usr/sbin/nginx")) if path.exists()), None)
        self.haproxy = next((path for path in (DEPS / "haproxy/haproxy", pathlib.Path("/usr/sbin/haproxy")) if path.exists()), None)
        self.redis = next((path for path in (DEPS / "redis/redis-server", pathlib.Path("/usr/bin/redis-server")) if path.exists()), None)
        self.postern = pathlib.Path(words.postern)
        self.environment = {**os.environ, "LD_LIBRARY_PATH": f"{DEPS}/haproxy/lib:{DEPS}/redis/lib"}
        self.unpacked = {"haproxy"}      # those with libraries beside them
        (directory / "state").mkdir()
        directory.chmod(0o755)           # nginx's worker is another user, when this one is root
        subprocess.run([TREE / "tools/certificates", directory], check=True)
        certificate, key = directory / f"{words.key}.pem", directory / f"{words.key}.key"
        both = directory / "both.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        self.certificate, self.key = certificate, key
        for name, text in texts.items():
            (directory / f"{name}.conf").write_text(text.format(
                dir=directory, upstream=UPSTREAM, port=ports[name], certificate=certificate, key=key, both=both,
                connections=words.connections_max, files=words.files))

    def add_gorilla(self, name, *flags):
        self.own[name] = [TREE / "build/perf/gorilla", "-listen", f"127.0.0.1:{self.ports[name]}",
                          "-certificate", self.certificate, "-key", self.key, *flags]

    def add_gin(self, name, kind):
        self.own[name] = [TREE / "build/perf/gin", "-listen", f"127.0.0.1:{self.ports[name]}", "-count", kind]

    def add_redis(self, name, *settings):
        (self.directory / name).mkdir()
        self.own[name] = [self.redis, "--bind", "127.0.0.1", "--port", self.ports[name], "--dir", self.directory / name,
                          "--save", "", "--logfile", self.directory / f"{name}.log", *settings]
        self.unpacked.add(name)

    def add_postern(self, name, text):
        """One more, with a configuration and a state of its own."""
        (self.directory / f"{name}.conf").write_text(text)
        self.own[name] = [self.postern, "run", "-c", self.directory / f"{name}.conf"]

    def command(self, name):
        file = self.directory / f"{name}.conf"
        return {"nginx": [self.nginx, "-p", self.directory, "-c", file],
                "haproxy": [self.haproxy, "-db", "-f", file],
                "postern": [self.postern, "run", "-c", file],
                **self.own,
                "upstream": [TREE / "build/perf/perf-upstream", UPSTREAM]}[name]

    def start(self, name):
        port = self.ports[name]
        if listens(port):
            fail(f"port {port} is taken, and a figure would be about whoever took it")
        process = pinned(LOAD_CORE if name == "upstream" else SERVER_CORE, self.words, *self.command(name),
                         env=self.environment if name in self.unpacked else None, stdin=subprocess.DEVNULL)
        self.processes[name] = process
        until = time.monotonic() + 10
        while time.monotonic() < until and process.poll() is None:
            if listens(port):
                return
            time.sleep(0.02)
        fail(f"{name} does not listen on port {port}")

    def end(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)      # postern: the second one ends it at once
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def end_all(self):
        for load in Load.alive:
            load.process.kill()
            load.process.wait()
        for name in list(reversed(self.processes)):
            self.end(name)

    def pid(self, name):
        return self.processes[name].pid

    def versions(self):
        def said(*command):
            return subprocess.run(command, capture_output=True, text=True, env=self.environment)
        go = [f"gorilla/websocket by {said('go', 'version').stdout.split()[2]}"] if self.own else []
        openssl = re.findall(r"(?:built|running) with (OpenSSL \S+)", said(self.nginx, "-V").stderr)[-1]
        return ", ".join([said(self.nginx, "-v").stderr.split(": ")[1].strip(),
                          said(self.haproxy, "-v").stdout.split(" - ")[0].splitlines()[0].replace(" version ", "/").split(" 20")[0],
                          said(self.postern, "version").stdout.strip().splitlines()[0],
                          *go, f"{openssl} for nginx, HAProxy and the load", f"Linux {os.uname().release}"])


class Load:
    """perf-load: warm, then it waits for go(), tells what it saw, and keeps its connections until end()."""
    alive = set()

    def __init__(self, words, *arguments):
        self.process = pinned(LOAD_CORE, words, TREE / "build/perf/perf-load", *arguments, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
        Load.alive.add(self)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            fail(f"the load ended with {self.process.wait()}")
        return line

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def go(self):
        self.say("go")

    def told(self, errors_allowed=False):
        told = json.loads(self.line())
        if told["errors"] and not errors_allowed:
            fail(f"{told['errors']} errors under load, the first: {told['first_error']}")
        return told

    def has_line(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def kill(self):
        self.process.kill()
        self.process.wait()
        Load.alive.discard(self)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            fail("the load does not end")
        Load.alive.discard(self)
