"""tls_clients.py: clients of TLS that we did not write, and what they say; and records by hand, for what no client would send.

`openssl` and `gnutls` hold one conversation each and return a Talk: what was agreed, in one vocabulary for both.
`Records` is the opposite: a socket on which every byte is the test's.
"""
import os
import re
import select
import socket
import ssl
import struct
import subprocess

from gateway import SLOW
from wire import PATIENCE_S, Response, connect, request_bytes

CLOSE = [("Connection", "close")]
ASK = request_bytes("GET", "/count?siteId=x", fields=CLOSE)
# The second request shows that the connection is kept, in both directions, after the first.
ASK_TWICE = request_bytes("GET", "/count?siteId=first") + request_bytes("GET", "/count?siteId=second", fields=CLOSE)

GROUPS = {"X25519": "X25519", "P-256": "P-256", "prime256v1": "P-256", "SECP256R1": "P-256"}

# Our suites as each program calls them: the name here is OpenSSL's.
SUITES_13 = {"TLS_AES_128_GCM_SHA256": "AES-128-GCM", "TLS_AES_256_GCM_SHA384": "AES-256-GCM",
             "TLS_CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305"}
SUITES_12 = {f"ECDHE-{kind}-{suite}": cipher for kind in ("ECDSA", "RSA") for suite, cipher in (
    ("AES128-GCM-SHA256", "AES-128-GCM"), ("AES256-GCM-SHA384", "AES-256-GCM"), ("CHACHA20-POLY1305", "CHACHA20-POLY1305"))}


class Talk:
    """One conversation of another program with the gateway; the fields are None where it did not come that far."""

    def __init__(self, code, text):
        self.code, self.text = code, text
        self.version = self.cipher = self.group = self.signature = self.alpn = None
        self.resumed = self.trusted = False

    @property
    def answers(self):
        """The status codes of the answers, in order."""
        return [int(status) for status in re.findall(r"HTTP/1\.1 ([0-9]{3}) ", self.text)]

    @property
    def alert(self):
        """The name of the alert that ended it, with underscores, as the RFCs write it."""
        # openssl: "ssl/tls alert handshake failure", "tlsv1 alert protocol version", "tlsv1 unrecognized name",
        # "tlsv13 alert certificate required"; gnutls: "A TLS fatal alert has been received.: Handshake failed [40]".
        found = re.search(r"SSL alert number ([0-9]+)", self.text) or re.search(r"Received alert \[([0-9]+)\]", self.text)
        return ALERTS[int(found[1])] if found else None

    def __repr__(self):
        return f"<exit code {self.code}>\n{self.text}"


ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
          42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
          46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
          51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
          86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
          110: "unsupported_extension", 112: "unrecognized_name", 115: "unknown_psk_identity", 116: "certificate_required",
          120: "no_application_protocol"}


def run(command, ask):
    """The other program, until it ends by itself. Its input stays open till then: at the end of it gnutls-cli would hang up,
    and a request whose client has gone need not be answered."""
    reading, writing = os.pipe()
    try:
        os.write(writing, ask)                     # what these tests ask fits into a pipe
        done = subprocess.run([str(word) for word in command], stdin=reading, capture_output=True, timeout=PATIENCE_S * SLOW)
    finally:
        os.close(reading)
        os.close(writing)
    return Talk(done.returncode, done.stdout.decode("latin-1") + done.stderr.decode("latin-1"))


def openssl(port, trusted, *options, name="localhost", ask=ASK):
    """openssl s_client; `name` None asks for no name. It waits for the gateway to end the connection."""
    talk = run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", trusted, "-verify_return_error", "-ign_eof",
                *(["-servername", name] if name else ["-noservername"]), *options], ask)
    text = talk.text
    if found := re.search(r"^(New|Reused), (TLSv1\.[0-9]), Cipher is (\S+)$", text, re.MULTILINE):
        # In TLS 1.2 this line names the version in which the suite appeared; the session's own line does not err.
        version = re.search(r"^ +Protocol +: (TLSv1\.[0-9])$", text, re.MULTILINE)
        talk.resumed, talk.version, talk.cipher = found[1] == "Reused", version[1] if version else found[2], found[3]
    # Debian 12's openssl says "Server Temp Key" and "ECDSA"; that of 13 "Peer Temp Key" and "ecdsa_secp256r1_sha256".
    if found := re.search(r"(?:Server|Peer) Temp Key: (?:ECDH, )?([A-Za-z0-9-]+),", text):
        talk.group = GROUPS.get(found[1], found[1])
    if found := re.search(r"Peer signature type: (\S+)", text):
        talk.signature = "ECDSA" if found[1].lower().startswith("ecdsa") else "RSA"
    if found := re.search(r"ALPN protocol: (\S+)", text):
        talk.alpn = found[1]
    talk.trusted = "Verify return code: 0 (ok)" in text
    return talk


def gnutls(port, trusted, *options, priority="NORMAL", name="localhost", ask=ASK):
    """gnutls-cli; `name` None asks for no name."""
    talk = run(["gnutls-cli", "--x509cafile", trusted, "-p", port, "--priority", priority,
                *([f"--sni-hostname={name}", f"--verify-hostname={name}"] if name else ["--disable-sni", "--verify-hostname=localhost"]),
                *options, "127.0.0.1"], ask)
    text = talk.text
    # The last one, where a session was resumed: (TLS1.3-X.509)-(ECDHE-X25519)-(ECDSA-SECP256R1-SHA256)-(AES-128-GCM)
    for found in re.finditer(r"^- Description: \(TLS(1\.[0-9])[^)]*\)(?:-\(([^)]*)\))?-\(([^)]*)\)-\(([^)]*)\)$", text, re.MULTILINE):
        talk.version, talk.cipher = f"TLSv{found[1]}", found[4]
        talk.group = GROUPS.get((found[2] or "").removeprefix("ECDHE-"))
        talk.signature = found[3].split("-")[0]
    if found := re.search(r"^- Application protocol: (\S+)", text, re.MULTILINE):
        talk.alpn = found[1]
    talk.resumed = "This is a resumed session" in text
    talk.trusted = "Status: The certificate is trusted." in text
    return talk


# ---- records by hand ------------------------------------------------------------------------------------------------------

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23


def record(content_type, payload, version=0x0303, length=None):
    return struct.pack("!BHH", content_type, version, len(payload) if length is None else length) + payload


def records_of(payload, size, version=0x0301):
    """A handshake message in records of `size` bytes."""
    return b"".join(record(HANDSHAKE, payload[at:at + size], version) for at in range(0, len(payload), size))


def message(kind, body, length=None):
    return struct.pack("!B", kind) + struct.pack("!I", len(body) if length is None else length)[1:] + body


def vector(data, width):
    """A length of `width` bytes, and the data."""
    return len(data).to_bytes(width, "big") + data


def words(*values):
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind, body):
    return words(kind) + vector(body, 2)


def sni(name, kind=0):
    return extension(0, vector(bytes([kind]) + vector(name.encode() if isinstance(name, str) else name, 2), 2))


GROUPS_X25519_P256 = extension(10, vector(words(0x001D, 0x0017), 2))
SIGNATURES = extension(13, vector(words(0x0403, 0x0804, 0x0401), 2))
VERSIONS = extension(43, vector(words(0x0304, 0x0303), 1))
KEY_SHARE = extension(51, vector(words(0x001D) + vector(bytes(range(9, 41)), 2), 2))
POINTS = extension(11, b"\x01\x00")
EXTENSIONS = (sni("localhost"), POINTS, GROUPS_X25519_P256, SIGNATURES, VERSIONS, KEY_SHARE)
SUITES = words(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F)


def client_hello(extensions=EXTENSIONS, suites=SUITES, version=0x0303, session=bytes(32), compressions=b"\x00", tail=b"", body=None):
    """The body of a ClientHello that a server would take, or what the test makes of it."""
    if body is None:
        body = words(version) + b"R" * 32 + vector(session, 1) + vector(suites, 2) + vector(compressions, 1)
        if extensions is not None:
            body += vector(b"".join(extensions), 2)
    return message(1, body + tail)


class Records:
    """A connection whose records are read one by one; nothing is decrypted, headers are visible to everyone."""

    def __init__(self, port, sock=None):
        self.wire = connect(port) if sock is None else None
        self.sock = sock or self.wire.sock
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def exactly(self, n):
        while len(self.buffer) < n:
            more = self.sock.recv(1 << 16)
            if not more:
                return None
            self.buffer += more
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def next(self):
        """(type, payload), or None at the end, however it came."""
        try:
            header = self.exactly(5)
            return header and (header[0], self.exactly(int.from_bytes(header[3:5], "big")))
        except ConnectionError:
            return None

    def alert(self):
        """The name of the alert that the gateway ended the connection with, or None where it ended without one."""
        said = None
        while (one := self.next()) is not None:
            assert said is None, f"a record behind the alert: {one}"
            if one[0] == ALERT:
                assert len(one[1]) == 2, one
                said = ALERTS[one[1][1]]
        return said

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tap:
    """Python's ssl as a client in memory: it does the cryptography, and its records pass before our eyes.

    `sent` and `received` hold (type, bytes of the payload) of every record. With `size` the bytes go out in pieces of so many."""

    def __init__(self, port, context, size=None, name="localhost", session=None):
        self.wire, self.size, self.name = connect(port), size, name
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.sent, self.received, self.partial, self.text = [], [], {}, b""

    def note(self, records, data):
        data = self.partial.get(id(records), b"") + data
        while len(data) >= 5 and len(data) >= (whole := 5 + int.from_bytes(data[3:5], "big")):
            records.append((data[0], whole - 5))
            data = data[whole:]
        self.partial[id(records)] = data

    def flush(self):
        data = self.outgoing.read()
        self.note(self.sent, data)
        for at in range(0, len(data), self.size or len(data) or 1):
            self.wire.send(data[at:at + (self.size or len(data))])

    def run(self, step, *arguments):
        """One step of ssl, with all the reading and writing that it needs."""
        while True:
            try:
                result = step(*arguments)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                more = self.wire.sock.recv(1 << 16)
                self.note(self.received, more)
                self.incoming.write(more) if more else self.incoming.write_eof()

    def handshake(self):
        self.run(self.tls.do_handshake)
        return self

    def write(self, data):
        self.run(self.tls.write, data)

    def fill(self):
        """Reads some more of the text. False after close_notify; an end without it is an ssl.SSLEOFError."""
        try:
            more = self.run(self.tls.read, 1 << 16)
        except ssl.SSLZeroReturnError:
            more = b""
        self.text += more
        return bool(more)

    def response(self):
        while b"\r\n\r\n" not in self.text:
            assert self.fill(), f"ended in the head of an answer: {self.text!r}"
        head, _, self.text = self.text.partition(b"\r\n\r\n")
        answer = Response(head)
        pieces, left = [self.text], int(answer.get("Content-Length")) - len(self.text)
        while left > 0:
            self.text = b""
            assert self.fill(), "ended in the body of an answer"
            pieces.append(self.text)
            left -= len(self.text)
        body = b"".join(pieces)
        size = int(answer.get("Content-Length"))
        answer.body, self.text = body[:size], body[size:]
        return answer

    def ask(self, method, target, body=None, fields=()):
        self.write(request_bytes(method, target, body, fields, host=self.name))
        return self.response()

    def failure(self):
        """Reads on until the gateway ends it; the name of its alert, or "close_notify", or None where it said nothing."""
        try:
            while self.fill():
                pass
            return "close_notify"
        except ssl.SSLEOFError:
            return None
        except ssl.SSLError as error:
            return self.alert_of(error)
        except ConnectionError:
            return None

    @staticmethod
    def alert_of(error):
        """What an ssl.SSLError says was received: "TLSV1_ALERT_RECORD_OVERFLOW", "TLSV13_ALERT_CERTIFICATE_REQUIRED" …"""
        return re.sub(r"^(SSLV3|TLSV13|TLSV1)_(ALERT_)?", "", error.reason or "").lower() or None

    def close(self):
        self.wire.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reset(sock):
    """Closes with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# ---- a client at a keyboard -------------------------------------------------------------------------------------------------


class Keyboard:
    """openssl s_client with a person in front of it: k, K and R on a line of their own are commands."""

    def __init__(self, port, trusted, *options):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
                                         str(trusted), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0)

    def type(self, text):
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())

    def read_until(self, mark):
        """What it says up to a mark, or to its end where the mark is None."""
        data = b""
        while mark is None or mark not in data:
            assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], f"no {mark or 'end'!r} in {data[-2000:]!r}"
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more and mark is None:
                break
            assert more, f"ended without {mark!r}: {data[-2000:]!r}"
            data += more
        return data

    def __enter__(self):
        self.greeting = self.read_until(b"Verify return code: 0 (ok)")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
