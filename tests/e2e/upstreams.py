"""upstreams.py: what stands behind the gateway in these tests: a script, a real nginx, a real WebSocket server."""
import asyncio
import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import threading
import time

from wire import PATIENCE_S, Closed, Request, Wire


def free_port():
    """Below those that outgoing connections are given: one of these could take it before it is listened at. Other tests run beside."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RawUpstream:
    """Says exactly the bytes that the test says. The test itself is the server: it accepts, reads and writes in turn."""

    def __init__(self, backlog=512):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        self.wires = []

    def accept(self, receive_buffer=None):
        self.listener.settimeout(PATIENCE_S)
        if receive_buffer:
            # Inherited by what is accepted; set on the accepted socket it would come too late for the window.
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(sock)
        self.wires.append(wire)
        return wire

    def waiting(self):
        """Connections that came without being asked for."""
        found = []
        self.listener.setblocking(False)
        try:
            while True:
                sock, _ = self.listener.accept()
                found.append(Wire(sock))
        except BlockingIOError:
            pass
        self.wires += found
        return found

    def everything(self):
        """All bytes that arrived on connections nobody accepted yet; each must have an end, or none begun."""
        data = b""
        for wire in self.waiting():
            wire.sock.settimeout(0)
            try:
                while wire.fill():
                    pass
            except (BlockingIOError, ConnectionError):
                pass
            data += wire.buffer
        return data

    def hang_up(self):
        """Ends every connection, so that the next test starts with none."""
        self.waiting()
        for wire in self.wires:
            wire.close()
        self.wires = []

    def close(self):
        self.hang_up()
        self.listener.close()


class DigestUpstream:
    """Answers every request with the size and the SHA-256 of its body, and GET /…/N with N bytes of a known pattern.

    Threads, because it works while the test's own thread is the client."""

    PATTERN = bytes(range(251)) * 261

    def __init__(self):
        self.raw = RawUpstream()
        self.port = self.raw.port
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
                request = Request(wire.read_until(b"\r\n\r\n"))
                if "100-continue" in (request.get("Expect") or ""):
                    wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                if request.method == "GET":
                    self.answer_pattern(wire, int(request.target.rsplit("/", 1)[1]))
                else:
                    self.answer_digest(wire, request)
        except (Closed, OSError, ValueError, AssertionError):
            wire.close()

    def answer_pattern(self, wire, left):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
        while left > 0:
            piece = self.PATTERN[:left]
            wire.send(piece)
            left -= len(piece)

    def answer_digest(self, wire, request):
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces(wire, request):
            digest.update(piece)
            size += len(piece)
        text = b'{"size":%d,"sha256":"%s"}' % (size, digest.hexdigest().encode())
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    def pieces(self, wire, request):
        if request.get("Transfer-Encoding"):
            while size := int(wire.read_until(b"\r\n"), 16):
                yield from self.counted(wire, size)
                wire.read(2)
            while wire.read_until(b"\r\n"):
                pass
        else:
            yield from self.counted(wire, int(request.get("Content-Length") or 0))

    def counted(self, wire, left):
        while left > 0:
            if not wire.buffer and not wire.fill():
                raise Closed("the body ended early")
            piece, wire.buffer = wire.buffer[:left], wire.buffer[left:]
            left -= len(piece)
            yield piece

    @classmethod
    def pattern_digest(cls, n):
        whole, rest = divmod(n, len(cls.PATTERN))
        digest = hashlib.sha256()
        for _ in range(whole):
            digest.update(cls.PATTERN)
        digest.update(cls.PATTERN[:rest])
        return digest.hexdigest()

    def close(self):
        # Wakes the thread in accept, which close alone does not.
        self.raw.listener.shutdown(socket.SHUT_RDWR)
        self.raw.listener.close()


class Nginx:
    """A real nginx, by pid, in a directory of its own. Static files below /nginx/, uploads by PUT to /nginx/upload/."""

    CONFIGURATION = """
daemon off;
master_process off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
	access_log off;
	default_type application/octet-stream;
	sendfile on;
	server_tokens off;
	keepalive_timeout 60s;
	keepalive_requests 1000000;
	client_max_body_size 0;
	client_body_temp_path {directory}/body;
	proxy_temp_path {directory}/proxy;
	fastcgi_temp_path {directory}/fastcgi;
	uwsgi_temp_path {directory}/uwsgi;
	scgi_temp_path {directory}/scgi;
	server {{
		listen 127.0.0.1:{port} backlog=4096;
		root {directory}/root;
		location = /nginx/fields {{
			return 200 "$request_method $request_uri|host=$http_host|for=$http_x_forwarded_for|proto=$http_x_forwarded_proto|connection=$http_connection\\n";
		}}
		location /nginx/upload/ {{ dav_methods PUT; create_full_put_path on; }}
		location = /nginx/moved {{ return 302 /nginx/hello.txt; }}
		location = /nginx/empty {{ return 204; }}
	}}
}}
"""

    def __init__(self, directory):
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        assert os.access(binary, os.X_OK), "nginx is missing; tools/bootstrap fetches it into deps/bin"
        self.directory = pathlib.Path(directory)
        self.root = self.directory / "root"
        (self.root / "nginx" / "upload").mkdir(parents=True)
        (self.root / "nginx" / "hello.txt").write_bytes(b"hello from nginx\n")
        self.port = free_port()
        path = self.directory / "nginx.conf"
        path.write_text(self.CONFIGURATION.format(directory=self.directory, port=self.port,
                                                  user="user root;" if os.getuid() == 0 else ""))
        self.process = subprocess.Popen([binary, "-p", str(self.directory), "-c", str(path)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.directory / "stderr.log", "wb"))
        self.wait()

    def wait(self):
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.directory / "stderr.log").read_text()
                assert time.monotonic() < until, "nginx does not answer"
                time.sleep(0.01)

    def file(self, name, data):
        """Makes a file; returns its address."""
        (self.root / "nginx" / name).write_bytes(data)
        return f"/nginx/{name}"

    def uploaded(self, name):
        return (self.root / "nginx" / "upload" / name).read_bytes()

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


class WebSocketUpstream:
    """python3-websockets as a service behind the gateway: echoes; the text `close CODE` makes it close."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.closed_with = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.started.wait(PATIENCE_S), "the WebSocket server does not start"

    def run(self):
        import websockets

        async def echo(sock, *_path):
            try:
                async for message in sock:
                    if isinstance(message, str) and message.startswith("close "):
                        await sock.close(int(message[6:]), "as you wish")
                        break
                    await sock.send(message)
            except websockets.ConnectionClosed:
                pass
            finally:
                self.closed_with.append(sock.close_code)

        async def start():
            self.server = await websockets.serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None,
                                                 subprotocols=["diary.v1"])
            self.port = list(self.server.sockets)[0].getsockname()[1]
            self.started.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE_S)
