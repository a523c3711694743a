#!/usr/bin/python3
"""upstream.py [PORT…]: the demonstration service that stands behind the gateway, 127.0.0.1:9001 and :9002.

It plays an EDC with an ePRO diary, as small as can be: a page with the sites and their counts, a diary page with a
WebSocket, an upload that is answered with its size and SHA-256, a slow answer and a long one. Its purpose is to give
the gateway something real to proxy. Python's standard library only; threads, because this reads plainly, and nobody measures it.
"""
import hashlib
import http.server
import json
import pathlib
import re
import signal
import sys
import threading
import time
import urllib.parse

import websocket

PAGES = pathlib.Path(__file__).resolve().parent / "pages"
SITES = ("berlin-01", "lyon-02", "osaka-03", "boston-04")
UPLOAD_BYTES_MAX = 1 << 30
LINE_BYTES_MAX = 8192
PIECE = bytes(range(256)) * 64

VISITS = [
    {"visit": 1, "name": "Screening", "day": 0, "forms": ["consent", "demographics", "vital signs"]},
    {"visit": 2, "name": "Baseline", "day": 7, "forms": ["vital signs", "laboratory", "randomisation"]},
    {"visit": 3, "name": "Week 4", "day": 35, "forms": ["vital signs", "diary review"]},
    {"visit": 4, "name": "End of study", "day": 91, "forms": ["vital signs", "laboratory", "conclusion"]},
]


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    # ---- what there is ------------------------------------------------------------------------

    def page(self):
        self.answer_file("index.html")

    def diary(self):
        self.answer_file("diary.html")

    def healthz(self):
        self.answer(200, b"ok\n", "text/plain")

    def visits(self):
        self.answer_json(200, {"study": "DEMO-1", "sites": list(SITES), "visits": VISITS})

    def request_seen(self):
        """What arrived here: how a request looks after the gateway has passed it on."""
        fields = [[name, value] for name, value in self.headers.items()]
        self.answer_json(200, {"method": self.command, "target": self.path, "fields": fields,
                               "server": "%s:%d" % self.server.server_address[:2]})

    def upload(self):
        size, digest = 0, hashlib.sha256()
        for piece in self.body():
            size += len(piece)
            digest.update(piece)
        self.answer_json(200, {"size": size, "sha256": digest.hexdigest()})

    def slow(self):
        text = self.query().get("seconds", ["1"])[0]
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text):
            raise Refused(400, "seconds is a number such as 2 or 0.5")
        time.sleep(float(text))
        self.answer(200, f"slept {text} s\n".encode(), "text/plain")

    def long(self, n):
        """N bytes, in chunks, made while they are sent."""
        left = int(n)
        if left > UPLOAD_BYTES_MAX:
            raise Refused(400, f"at most {UPLOAD_BYTES_MAX} bytes")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        while left > 0:
            piece = PIECE[:left]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            left -= len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def diary_socket(self):
        key = self.headers.get("Sec-WebSocket-Key", "")
        if self.headers.get("Upgrade", "").lower() != "websocket" or not key:
            raise Refused(426, "this address speaks WebSocket")
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", websocket.accept_value(key))
        self.end_headers()
        self.close_connection = True

        def send(opcode, payload):
            self.wfile.write(websocket.frame(opcode, payload))
            self.wfile.flush()

        send(websocket.TEXT, b'{"type":"hello","from":"diary"}')
        entries = 0
        try:
            while True:
                opcode, payload = websocket.read_message(self.rfile, send)
                if opcode == websocket.CLOSE:
                    send(websocket.CLOSE, payload[:2])
                    return
                entries += 1
                if opcode == websocket.BINARY:
                    send(websocket.BINARY, payload)
                    continue
                text = payload.decode("utf-8")
                send(websocket.TEXT, json.dumps({"type": "saved", "entry": entries, "text": text}).encode())
        except websocket.Ended as ended:
            if ended.code != 1006:
                send(websocket.CLOSE, ended.code.to_bytes(2, "big"))
        except UnicodeDecodeError:
            send(websocket.CLOSE, (1007).to_bytes(2, "big"))

    ROUTES = (
        ("GET", r"/", page),
        ("GET", r"/diary", diary),
        ("GET", r"/diary/socket", diary_socket),
        ("GET", r"/healthz", healthz),
        ("GET", r"/api/visits", visits),
        ("GET", r"/api/request", request_seen),
        ("POST", r"/api/upload", upload),
        ("PUT", r"/api/upload", upload),
        ("GET", r"/slow", slow),
        ("GET", r"/bytes/([0-9]{1,10})", long),
    )

    # ---- how it is answered --------------------------------------------------------------------

    def dispatch(self):
        path, allowed = urllib.parse.urlsplit(self.path).path, []
        try:
            for method, pattern, target in self.ROUTES:
                match = re.fullmatch(pattern, path)
                if match and (method == self.command or (method == "GET" and self.command == "HEAD")):
                    return target(self, *match.groups())
                if match:
                    allowed.append(method)
            raise Refused(405 if allowed else 404, "not this method" if allowed else "there is nothing at this address")
        except Refused as refused:
            # The rest of a body that nobody read would be taken for the next request.
            self.close_connection = self.close_connection or self.has_body()
            self.answer_json(refused.status, {"error": "refused", "message": str(refused)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = dispatch

    def query(self):
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)

    def has_body(self):
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"

    def body(self):
        """The request's body, piece by piece, whichever way it is framed."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.body_chunked()
        return self.body_counted(int(self.headers.get("Content-Length", "0")))

    def body_counted(self, left):
        if left > UPLOAD_BYTES_MAX:
            raise Refused(413, f"at most {UPLOAD_BYTES_MAX} bytes")
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    def body_chunked(self):
        total = 0
        while True:
            length = int(self.rfile.readline(LINE_BYTES_MAX).split(b";")[0], 16)
            total += length
            if total > UPLOAD_BYTES_MAX:
                raise Refused(413, f"at most {UPLOAD_BYTES_MAX} bytes")
            if length == 0:
                while self.rfile.readline(LINE_BYTES_MAX).strip():
                    pass
                return
            yield from self.body_counted(length)
            self.rfile.readline(LINE_BYTES_MAX)

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode() + b"\n", "application/json")

    def answer_file(self, name):
        self.answer(200, (PAGES / name).read_bytes(), "text/html; charset=utf-8")

    def version_string(self):
        return "demonstration-edc"

    def log_message(self, format, *arguments):
        """Silent: the gateway has an access log, and a demonstration needs no second one."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """A client that leaves is no news; anything else is shown, with its place."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    ports = [int(text) for text in sys.argv[1:]] or [9001, 9002]
    servers = []
    for port in ports:
        try:
            servers.append(Server(("127.0.0.1", port), Handler))
        except OSError as error:
            sys.exit(f"upstream: 127.0.0.1:{port} cannot be listened on: {error.strerror}")
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    # Before any thread starts, so that all of them inherit it and sigwait alone sees the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
