#!/usr/bin/python3
"""start.py [--check]: the demonstration service and the gateway in front of it, until Ctrl-C; tools/run calls it.

Every process that is started here is ended here, by its pid, whichever way this one ends.
"""
import ctypes
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = TREE / "tools" / "demonstration"
RUN = TREE / "run"
GATEWAY = pathlib.Path(os.environ.get("POSTERN_BIN", TREE / "build" / "postern"))
ADMIN = RUN / "admin.sock"

PORTS = {8443: "the gateway's HTTPS", 8080: "the gateway's HTTP", 9001: "the demonstration service",
         9002: "the demonstration service"}
START_S = 20
END_S = 20

WHAT_TO_TRY = """
Postern is running. In another terminal, in this directory:

  curl --cacert run/tls/ecdsa.pem https://localhost:8443/count?siteId=berlin-01
  curl --cacert run/tls/ecdsa.pem https://localhost:8443/count -d siteId=berlin-01
  curl -X PUT http://127.0.0.1:8080/sites/berlin-01 --json '{"cap":20}'
  curl http://127.0.0.1:8080/sites                       all sites;  /sites/events: what changes, as it does
  tools/posternctl audit                                 who changed what;  audit verify: is all of it there?
  curl http://127.0.0.1:8080/api/request                 what the service behind sees
  curl -T README.md http://127.0.0.1:8080/api/upload     through the proxy, with its checksum
  tools/posternctl top                                   or: stats, scopes --full, metrics
  curl --unix-socket run/admin.sock http://admin/stats

In a browser: http://127.0.0.1:8080/ (sites) and http://127.0.0.1:8080/diary (WebSockets); or
https://localhost:8443/, whose certificate was made for this desk alone, so the browser will ask.

The configuration is tools/demonstration/postern.yaml, the access log run/access.jsonl. Ctrl-C ends it all."""


class Trouble(Exception):
    """A sentence for the person at the terminal."""


class Stop(Exception):
    """Somebody asked us to end."""


def port_is_free(port):
    with socket.socket() as probe:
        # As a server would: a port in TIME_WAIT is free. SO_REUSEPORT is left out, so another postern is seen.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder_of(port):
    """Who listens there, as far as this user may see: `nginx, pid 4711`; or an empty string."""
    wanted = "%04X" % port
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[1].endswith(":" + wanted) and fields[3] == "0A":
                inodes.add(f"socket:[{fields[9]}]")
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:
            continue
    return ""


def check_ports():
    for port, purpose in PORTS.items():
        if not port_is_free(port):
            holder = holder_of(port)
            raise Trouble(f"port {port} of 127.0.0.1, wanted for {purpose}, is taken"
                          f"{' by ' + holder if holder else ''}; end that program, then start again")


def die_with_parent():
    """Even a kill -9 of this process leaves no orphan."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    def __init__(self, name, *command):
        self.name = name
        self.log = RUN / f"{name}.log"
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=die_with_parent)

    def ended(self):
        return self.process.poll() is not None

    def trouble(self):
        said = self.log.read_text(errors="replace").strip()
        return Trouble(f"the {self.name} ended with code {self.process.returncode}"
                       + (f" and said:\n{said}" if said else ", and said nothing"))

    def wait_until(self, ready):
        until = time.monotonic() + START_S
        while not ready():
            if self.ended():
                raise self.trouble()
            if time.monotonic() > until:
                raise Trouble(f"the {self.name} does not answer after {START_S} s; its log is {self.log}")
            time.sleep(0.02)

    def end(self):
        """Politely, then less so. Returns the exit code."""
        for send in (self.process.terminate, self.process.terminate, self.process.kill):
            if self.ended():
                break
            send()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                continue
        return self.process.wait()


def answers(port, target):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", target)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def admin_answers():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(5)
            probe.connect(str(ADMIN))
            probe.sendall(b"GET /stats HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            return probe.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def stop(_number, _frame):
    raise Stop


def main():
    checking = sys.argv[1:] == ["--check"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    children = []
    status = 0
    try:
        if not os.access(GATEWAY, os.X_OK):
            raise Trouble(f"{GATEWAY} is missing; tools/build makes it")
        check_ports()
        RUN.mkdir(exist_ok=True)
        (RUN / "state").mkdir(exist_ok=True)
        subprocess.run([TREE / "tools" / "certificates", RUN / "tls"], check=True)

        service = Child("service", "/usr/bin/python3", "-B", HERE / "upstream.py")
        children.append(service)
        for port in (9001, 9002):
            service.wait_until(lambda: answers(port, "/healthz"))
        gateway = Child("gateway", GATEWAY, "run", "-c", HERE / "postern.yaml")
        children.append(gateway)
        gateway.wait_until(lambda: answers(8080, "/healthz") and admin_answers())

        if checking:
            import check
            status = check.run(RUN, gateway.process.pid)
        else:
            print(WHAT_TO_TRY, flush=True)
            while not any(child.ended() for child in children):
                time.sleep(0.5)
            raise next(child for child in children if child.ended()).trouble()
    except Stop:
        print("\nending …", flush=True)
    except Trouble as trouble:
        print(f"tools/run: {trouble}", file=sys.stderr)
        status = 1
    except subprocess.CalledProcessError as error:
        print(f"tools/run: tools/certificates failed with code {error.returncode}", file=sys.stderr)
        status = 1
    finally:
        # A second Ctrl-C must not leave half of them behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for child in reversed(children):
            running = not child.ended()
            code = child.end()
            if running and code != 0 and child.name == "gateway":
                print(f"tools/run: {child.trouble()}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
