"""perf/stage/servers.py: who takes part: their configurations, how they are started on their core, and how they are ended.

Each listens twice, without TLS and with it, where it can do both; so one configuration serves all rows, and what a row measures is
said by what its load asks. Each is configured as its own documentation wants it for this work: one worker, no access log, kept
connections without a bound, and the same forwarding fields. ssl_buffer_size (16k) of nginx and tune.bufsize (16k) of HAProxy are
their defaults. What nginx reads of the service it reads into proxy_buffer_size where it does not buffer, which is a page by
default: it gets 16k, too, and as much for each buffer where it buffers; but not for WebSockets, each of which would hold one
for small messages.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from stage.load import Load
from stage.machine import (DEPS, LOAD_CORE, SERVER_CORE, TREE, alone, descriptors, end_cleans_up, fail, insist_free, kill_tree, listens,
                           pinned)

UPSTREAM = 29010
OURS = ("perf-load", "perf-upstream", "perf-bare")
NAMES = ("nginx", "haproxy", "postern", "postern, durable", "postern, 2 cores", "gorilla", "gin, rwmutex", "gin, atomic", "redis",
         "redis, durable", "bare", "forgets", "repaired", "postern, build 1", "postern, build 2", "postern, build 3", "postern, build 4")
BUILDS = NAMES[-4:]              # perf/builds: of whoever asks
PLAIN = {name: 29021 + i for i, name in enumerate(NAMES)}
TLS = {name: 29041 + i for i, name in enumerate(NAMES)}

# nginx ends what it can when fewer than a sixteenth of its worker_connections are free, so it has room for many more than there
# will be. Where root starts it, its worker is root too: the directory of this run may be where nobody else can read.
NGINX = """worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; worker_rlimit_nofile {files}; {user}
events {{ worker_connections 65536; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0; default_type application/json;
  client_body_temp_path {dir}/nginx-body; proxy_temp_path {dir}/nginx-proxy; fastcgi_temp_path {dir}/nginx-f;
  uwsgi_temp_path {dir}/nginx-u; scgi_temp_path {dir}/nginx-s;
  map $http_upgrade $upgrade {{ default upgrade; '' ''; }}
  upstream edc {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  proxy_buffer_size 16k; proxy_buffers 16 16k; proxy_busy_buffers_size 64k;
  proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection $upgrade; proxy_set_header Upgrade $http_upgrade;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host; proxy_read_timeout 600s; proxy_send_timeout 600s;
  server {{ listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;
    location = /count {{ return 200 '{{"count":0}}'; }}
    location /buffered/ {{ proxy_pass http://edc/; }}
    location = /through {{ proxy_pass http://edc; proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 4k; }}
    location / {{ proxy_pass http://edc; proxy_buffering off; proxy_request_buffering off; }} }} }}
"""
HAPROXY = """global
  nbthread 1
  maxconn {connections}
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256
  tune.ssl.cachesize 0
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend plain
  bind 127.0.0.1:{plain} backlog 4096
  http-request return status 200 content-type application/json string '{{"count":0}}' if {{ path /count }}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend edc
frontend tls
  bind 127.0.0.1:{tls} backlog 4096 ssl crt {both} alpn http/1.1
  http-request return status 200 content-type application/json string '{{"count":0}}' if {{ path /count }}
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend edc
backend edc
  server one 127.0.0.1:{upstream} pool-purge-delay 600s
"""
# An echo asks for a pong after half of its idle time.
POSTERN = """cores: {cores}
state: {dir}/state-{word}
log: {{ level: error }}
limits: {{ connections_max: {connections} }}
timeouts: {{ keep_alive: 10m, websocket_idle: {idle:g}s, upstream_keep_alive: 10m }}
count: {{ durability: {durability} }}
listeners:
  - {{ address: "127.0.0.1:{plain}" }}
  - {{ address: "127.0.0.1:{tls}", tls: {{ certificates: [ {{ certificate: {certificate}, key: {key} }} ] }} }}
upstreams: [ {{ name: edc, servers: [ "127.0.0.1:{upstream}" ], keep_alive: 128 }} ]
routes:
  - {{ path: /count, serve: count }}
  - {{ path: /echo, serve: echo }}
  - {{ path: /live, serve: live, heartbeat: {heartbeat:g}s }}
  - {{ prefix: /push, serve: push }}
  - {{ prefix: /, proxy: edc, body_bytes_max: unlimited }}
"""
POSTERNS = {"postern": dict(word="memory", cores=1, durability="memory"),
            "postern, durable": dict(word="durable", cores=1, durability="always"),
            "postern, 2 cores": dict(word="2-cores", cores=2, durability="memory"),
            **{name: dict(word=name.replace(" ", "-").replace(",", ""), cores=1, durability="memory") for name in BUILDS}}


def first_of(*paths):
    return next((pathlib.Path(path) for path in paths if pathlib.Path(path).exists()), None)


# What is not Postern: how it is found, and which word of perf/bootstrap brings it.
RIVALS = {
    "nginx": (lambda: first_of(DEPS / "bin/nginx", "/usr/sbin/nginx"), None),
    "haproxy": (lambda: first_of(DEPS / "haproxy/haproxy", "/usr/sbin/haproxy"), "haproxy"),
    "redis": (lambda: first_of(DEPS / "redis/redis-server", "/usr/bin/redis-server"), "redis"),
    "gorilla": (lambda: first_of(TREE / "build/perf/gorilla"), "gorilla"),
    "gin": (lambda: first_of(TREE / "build/perf/gin"), "gin"),
}


def kind(name):
    return name.split(",")[0]


def missing(names):
    """A sentence that says who is not here, and how to get him; None: all are."""
    absent = sorted({kind(name) for name in names if kind(name) in RIVALS and not RIVALS[kind(name)][0]()})
    if not absent:
        return None
    words = [RIVALS[name][1] for name in absent if RIVALS[name][1]]
    how = ["tools/bootstrap"] * ("nginx" in absent) + [f"perf/bootstrap {' '.join(words)}"] * bool(words)
    return f"not here: {', '.join(absent)}. To get them: {' && '.join(how)}. To do without: --only"


def prepare(words):
    """Before anything is measured: what is built for it, room for descriptors, an end that cleans up. Hold what this returns until the end."""
    if os.cpu_count() < 2:
        fail("there is one processor here, and two are wanted: the server has the first to itself, the load and the service the second")
    only_one = alone()
    words.files = descriptors()
    # A socket through a proxy has two descriptors there.
    words.connections_max = min(9900, (words.files - 200) // 2)
    if subprocess.run([TREE / "perf/bootstrap", *OURS]).returncode:
        sys.exit(1)
    end_cleans_up()
    words.disk.mkdir(parents=True, exist_ok=True)
    return only_one


class Stage:
    """The servers, the service behind them, and the directory of this run."""

    def __init__(self, directory, words):
        self.directory, self.words = directory, words
        self.processes, self.commands = {}, {}
        self.recorder = None             # perf/profile's: it samples while a measure watches
        self.raised = set()              # the processes whose sites have a count (counts.py)
        self.environment = {**os.environ, "LD_LIBRARY_PATH": f"{DEPS}/haproxy/lib:{DEPS}/redis/lib"}
        directory.chmod(0o755)           # nginx's worker is another user, when this one is root and its configuration says nothing
        subprocess.run([TREE / "tools/certificates", directory], check=True)
        self.certificate, self.key = directory / f"{words.key}.pem", directory / f"{words.key}.key"
        self.both = directory / "both.pem"
        self.both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())

    def write(self, name, text, **places):
        """The configuration of a server, with places for what is known only here."""
        file = self.directory / f"{name.replace(', ', '-').replace(' ', '-')}.conf"
        file.write_text(text.format(
            dir=self.directory, upstream=UPSTREAM, plain=PLAIN[name], tls=TLS[name], certificate=self.certificate, key=self.key,
            both=self.both, connections=self.words.connections_max, files=self.words.files,
            user="user root;" if os.geteuid() == 0 else "", **places))
        return file

    def add(self, name):
        """One of NAMES, with its usual configuration."""
        if name in self.commands:
            return
        program = RIVALS[kind(name)][0]() if kind(name) in RIVALS else None
        if name == "nginx":
            self.commands[name] = [program, "-p", self.directory, "-c", self.write(name, NGINX)]
        elif name == "haproxy":
            self.commands[name] = [program, "-db", "-f", self.write(name, HAPROXY)]
        elif name in POSTERNS:
            self.add_postern(name, POSTERN, heartbeat=self.words.heartbeat, idle=2 * self.words.heartbeat, **POSTERNS[name])
        elif name == "gorilla":
            self.add_gorilla(name, "-heartbeat", f"{self.words.heartbeat:g}s")
        elif kind(name) == "gin":
            self.commands[name] = [program, "-listen", f"127.0.0.1:{PLAIN[name]}", "-count", name.split(", ")[1]]
        elif kind(name) == "redis":
            files = self.directory / name.replace(", ", "-")
            files.mkdir()
            self.commands[name] = [program, "--bind", "127.0.0.1", "--port", PLAIN[name], "--dir", files, "--save", "", "--logfile",
                                   files / "log", *(["--appendonly", "yes", "--appendfsync", "always"] if "durable" in name
                                                    else ["--appendonly", "no"])]
        elif name == "bare":
            self.commands[name] = [TREE / "build/perf/perf-bare", PLAIN[name]]
        elif name == "upstream":
            self.commands[name] = [TREE / "build/perf/perf-upstream", UPSTREAM]
        else:
            fail(f"no such server: {name}")

    def add_postern(self, name, text, **places):
        self.commands[name] = [self.words.postern, "run", "-c", self.write(name, text, **places)]

    def add_gorilla(self, name, *flags):
        self.commands[name] = [TREE / "build/perf/gorilla", "-listen", f"127.0.0.1:{TLS[name]}", "-certificate", self.certificate,
                               "-key", self.key, *flags]

    @staticmethod
    def port(name):
        """One that tells that the server is up."""
        return UPSTREAM if name == "upstream" else TLS[name] if name in ("gorilla", "forgets", "repaired") else PLAIN[name]

    def start(self, name, cores=SERVER_CORE):
        port = self.port(name)
        insist_free(port)
        process = pinned(LOAD_CORE if name == "upstream" else cores, self.words, *self.commands[name],
                         env=self.environment if kind(name) in ("haproxy", "redis") else None, stdin=subprocess.DEVNULL)
        self.processes[name] = process
        until = time.monotonic() + 10
        while time.monotonic() < until and process.poll() is None:
            if listens(port):
                return
            time.sleep(0.02)
        fail(f"{name} does not listen on port {port}")

    def end(self, name):
        process = self.processes[name]
        try:
            for _ in range(2):                       # postern: the second one ends it at once
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=5)
                    break
                except subprocess.TimeoutExpired:
                    pass
        finally:
            if process.poll() is None:
                kill_tree(process)
            del self.processes[name]

    def end_all(self):
        """Each of them, whatever goes wrong with another; what went wrong first is told afterwards."""
        wrong = []
        for end, *of in ((Load.kill_all,), *((self.end, name) for name in reversed(list(self.processes)))):
            try:
                end(*of)
            except BaseException as error:
                wrong.append(error)
        if wrong:
            raise wrong[0]

    def pid(self, name):
        return self.processes[name].pid

    def versions(self, names):
        """Of those who take part, and of what they are made of."""
        def said(*command):
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=self.environment)
            return done.stdout + done.stderr

        def package(name):
            return said("dpkg-query", "-W", "-f", "${Version}", name).split("-")[0]

        kinds, told = {kind(name) for name in names}, {}
        if "nginx" in kinds:
            text = said(RIVALS["nginx"][0](), "-V")
            told["nginx"] = re.search(r"nginx/(\S+)", text)[1]
            told["OpenSSL of nginx"] = re.findall(r"(?:built|running) with OpenSSL (\S+)", text)[-1]
        if "haproxy" in kinds:
            told["HAProxy"] = re.search(r"version (\d[\d.]*)", said(RIVALS["haproxy"][0](), "-v"))[1]
        if "redis" in kinds:
            told["Redis"] = re.search(r"v=(\S+)", said(RIVALS["redis"][0](), "-v"))[1]
        if "gorilla" in kinds:
            told["gorilla/websocket"] = package("golang-github-gorilla-websocket-dev")
        if "gin" in kinds:
            told["Gin"] = package("golang-github-gin-gonic-gin-dev")
        if kinds & {"gorilla", "gin"}:
            told["Go"] = said("go", "version").split()[2].removeprefix("go")
        if "postern" in kinds:
            told["Postern"] = said(self.words.postern, "version").strip().splitlines()[0].removeprefix("postern ")
        return told
