"""journal_files.py: a journal written by hand, to the letter of cache/record.h and cache/block.h, or against it.

It shares no line with the gateway, which writes journals, nor with posternctl, which reads them; so what one of the
three misunderstands, two others contradict.
"""
import hashlib
import pathlib
import struct
import zlib

START, STOP, CHANGE, RULES, RESERVE, CONFIRM, RELEASE, EXPIRE, REFUSE, CONFIGURATION = range(1, 11)
LINE, KEY, END = 64, 65, 66
SCREENED, ENROLLED, RANDOMISED, WITHDRAWN = range(4)
NUMBERS = {name: tag for tag, name in enumerate(
    "by0 by1 by2 by3 before0 before1 before2 before3 changes line_stamp status status_before cap cap_before rule_changes amount "
    "reservation expires at outcome".split(), 1)}
TEXTS = {name: tag for tag, name in enumerate("site actor address reason request_id key detail digest".split(), 0x80)}
ZERO_CHAIN = bytes(32)
BEGAN_NS = 1_764_000_000_000_000_000


def leb128(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def number(tag, value):
    """A signed number of 64 bits; an unsigned one has the same bits."""
    value = (value + (1 << 63)) % (1 << 64) - (1 << 63)
    return bytes([tag]) + leb128(value << 1 if value >= 0 else (-value << 1) - 1)


def text(tag, value):
    value = value.encode() if isinstance(value, str) else value
    return bytes([tag]) + leb128(len(value)) + value


def fields(kind, **values):
    out = b""
    for name in ("by", "before"):
        for i, n in enumerate(values.pop(name, ())):
            values[f"{name}{i}"] = n
    if kind in (RULES, END):
        for name in ("cap", "cap_before"):
            values[name] = values.get(name, -1) + 1
    for name, tag in NUMBERS.items():
        if values.get(name, 0):
            out += number(tag, values[name])
    for name, tag in TEXTS.items():
        if values.get(name, "") and values[name] != bytes(16):
            out += text(tag, values[name])
    unknown = set(values) - set(NUMBERS) - set(TEXTS)
    assert not unknown, unknown
    return out


def record(chain, kind, sequence, stamp, body):
    """A record with its chain, and the chain."""
    head = struct.pack("<HBBIQQ", 24 + len(body) + 32, kind, 1, len(body), sequence, stamp) + body
    chain = hashlib.sha256(chain + head).digest()
    return head + chain, chain


def segment_header(stream, first_sequence, first_block, chain, created=BEGAN_NS, magic=b"PJS1"):
    head = magic + struct.pack("<IQQQ", 1, stream, first_sequence, first_block) + chain + struct.pack("<Q", created) + bytes(20)
    return head + struct.pack("<I", zlib.crc32(head))


def block(number_, first_sequence, records):
    body = b"".join(records)
    head = b"PJB1" + struct.pack("<IQQII", len(body), number_, first_sequence, len(records), zlib.crc32(body)) + bytes(28)
    return head + struct.pack("<I", zlib.crc32(head)) + body + bytes(-len(body) % 8)


class Stream:
    """Records into blocks into segments; what is appended stands in a block of its own, unless `blocks()` is not called between."""

    def __init__(self, journal, number_):
        self.journal, self.number = journal, number_
        self.sequence = self.blocks = 0
        self.chain = ZERO_CHAIN
        self.segments = []               # [first sequence, bytes]
        self.waiting = []
        self.sums = {}

    def append(self, kind, stamp=None, sequence=None, **values):
        self.sequence = sequence or self.sequence + 1
        if kind in (CHANGE, CONFIRM):
            before = self.sums.setdefault(values["site"], [0] * 4)
            values.setdefault("before", list(before))
            self.sums[values["site"]] = [a + b for a, b in zip(before, values["by"])]
        data, self.chain = record(self.chain, kind, self.sequence, stamp or self.journal.tick(), fields(kind, **values))
        self.waiting.append(data)
        return self

    def change(self, site, by, **values):
        kind = values.pop("of", ENROLLED)
        return self.append(CHANGE, site=site, by=[by if i == kind else 0 for i in range(4)], **values)

    def commit(self):
        if self.waiting:
            first = self.sequence - len(self.waiting) + 1
            if not self.segments:
                self.open_segment(first)
            self.blocks += 1
            self.segments[-1][1] += block(self.blocks, first, self.waiting)
            self.waiting = []
        return self

    def open_segment(self, first, chain=ZERO_CHAIN):
        self.segments.append([first, bytearray(segment_header(self.number, first, self.blocks + 1, chain))])

    def rotate(self):
        self.commit().open_segment(self.sequence + 1, self.chain)
        return self

    @property
    def head(self):
        return f"{self.number}:{self.sequence}:{self.chain.hex()}"


class Journal:
    def __init__(self, streams=2):
        self.now = BEGAN_NS
        self.streams = [Stream(self, i) for i in range(streams)]

    def tick(self):
        self.now += 1_000_000
        return self.now

    def __getitem__(self, i):
        return self.streams[i]

    def heads(self, but=None):
        return " ".join(["heads", *(stream.head for stream in self.streams if stream is not but)])

    def start(self):
        for stream in self.streams:
            stream.append(START, actor="postern", detail=f"version 1.0.0 cores {len(self.streams)} configuration 00 " + self.heads(stream))
            stream.commit()
        return self

    def stop(self):
        """The first stream is the last one to end, so it knows all the others' ends."""
        for stream in reversed(self.streams):
            stream.commit().append(STOP, actor="postern", detail=self.heads(stream)).commit()
        return self

    def write(self, state):
        for stream in self.streams:
            stream.commit()
            directory = pathlib.Path(state) / "journal" / f"{stream.number:02}"
            directory.mkdir(parents=True, exist_ok=True)
            for first, data in stream.segments:
                (directory / f"{first:020}.journal").write_bytes(data)
        return pathlib.Path(state)


# ---- the vectors of tests/unit/cache_record.c --------------------------------------------------------------------


def vectors():
    """What the header calls known answers: a segment's header, and a block of three records of which one has every field."""
    everything = dict(
        site="Zürich-7", actor="CN=Monitor 4,O=CRO", address="127.0.0.1:4711", reason="signed; visit 1", request_id="01J9-000000000007",
        key="9b2e", detail="a detail", digest=bytes(range(1, 17)), by=[1, -1, 64, -65], before=[(1 << 53) - 1, 0, -(1 << 53) + 1, 7],
        changes=3, line_stamp=BEGAN_NS, status=2, status_before=1, cap=0, cap_before=(1 << 63) - 1, rule_changes=300, amount=1_000_000,
        reservation=(1 << 64) - 1, expires=1_764_000_000_000, at=1_764_000_000_001, outcome=9)
    chain, records = ZERO_CHAIN, []
    for kind, values in ((START, dict(detail="postern 1.0.0 cores 1")), (RULES, everything), (CHANGE, dict(site="07", by=[0, 1, 0, 0]))):
        data, chain = record(chain, kind, len(records) + 1, BEGAN_NS + len(records), fields(kind, **values))
        records.append(data)
    return segment_header(3, 1, 1, ZERO_CHAIN), block(1, 1, records), chain


def vectors_header():
    lines = ["/* tests/unit/cache_record_vectors.h — known answers, written by tests/e2e/journal_files.py and not by cache/record.c. */",
             "#ifndef UNIT_CACHE_RECORD_VECTORS_H", "#define UNIT_CACHE_RECORD_VECTORS_H", "", "#include <stdint.h>", ""]
    for name, data in zip(("VECTOR_SEGMENT", "VECTOR_BLOCK", "VECTOR_CHAIN"), vectors()):
        lines.append(f"static const uint8_t {name}[] = {{")
        lines += ["\t" + " ".join(f"0x{byte:02x}," for byte in data[at:at + 16]) for at in range(0, len(data), 16)]
        lines += ["};", ""]
    return "\n".join(lines + ["#endif", ""])


if __name__ == "__main__":
    print(vectors_header(), end="")
