"""What a disk may do to the journal, and files that are not as they were left: each has one outcome (docs/journal.md), and no other.

A disk of its own is a mount that no other process sees; where that may not be made, the tests of full and failing disks are skipped.
What a disk forgets in a power cut, and every order in which it may, is the simulation's (tests/sim/journal.c).
"""
import contextlib
import ctypes
import itertools
import json
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

import journal_files
from count_clients import JSON, ROUTES, json_bytes
from gateway import POSTERNCTL, SLOW, eventually
from journal_files import END, LINE, START, Journal
from wire import PATIENCE_S, Closed, request_bytes

FORM = ("Content-Type", "application/x-www-form-urlencoded")
HEADER_BYTES = 96                          # of a segment


# ---- a disk of one's own ------------------------------------------------------------------------------------------


class Disk:
    """A mount namespace that lasts as long as this does, with the gateway's state directory mounted in it."""

    def __init__(self, gateway, script):
        self.state = gateway.directory / "state"
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script + "\necho mounted; exec sleep 100000", "sh", self.state],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "mounted\n":
            said = self.keeper.stderr.read()
            self.close()
            pytest.skip(f"NOT TESTED: no file system may be mounted here: {said.strip()}")
        gateway.before = ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", "--"]

    def path(self, inside):
        return pathlib.Path(f"/proc/{self.keeper.pid}/root{inside}")

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()
        self.keeper.stderr.close()


def fill(path):
    """Until not one more byte has room."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        size = 1 << 16
        while size:
            try:
                os.write(fd, bytes(size))
            except OSError:
                size //= 2
    finally:
        os.close(fd)


@pytest.fixture
def disk():
    """disk(gateway, script): made for a gateway that has not started, and gone when the gateway is."""
    made = []

    def make(gateway, script):
        if os.getuid() != 0:
            pytest.skip("NOT TESTED: only root may mount a file system")
        made.append(Disk(gateway, script))
        return made[-1]

    yield make
    for one in made:
        one.close()


# ---- counting by hand ------------------------------------------------------------------------------------------------


def enrol(gateway, site="s"):
    answer = gateway.ask("POST", "/count", f"siteId={site}".encode(), [FORM])
    return answer.status, json.loads(answer.body).get("error")


def count(gateway, site="s"):
    answer = gateway.ask("GET", f"/count?siteId={site}")
    assert answer.status == 200, answer
    return json.loads(answer.body)["count"]


def readiness(gateway):
    answer = gateway.admin("GET", "/readyz")
    return answer.status, None if answer.status == 200 else json.loads(answer.body)["error"]


def ended(gateway):
    """In order, though its journal may have had its troubles."""
    gateway.hang_up()
    gateway.signal(signal.SIGTERM)
    code = gateway.wait()
    assert not gateway.reports(), gateway.reports()
    return code


def verify_audit(state):
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "verify", "--json", "--state", state], capture_output=True, text=True,
                          timeout=PATIENCE_S * SLOW)
    assert done.returncode == 0 and json.loads(done.stdout)["sound"], f"{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def enrol_until_one_waits(gateway, site="s"):
    """(how many were acknowledged, the connection of the one that is not answered)."""
    for acknowledged in range(2000):
        wire = gateway.connect()
        wire.send(request_bytes("POST", "/count", f"siteId={site}".encode(), [FORM]))
        wire.sock.settimeout(1 * SLOW)
        try:
            answer = wire.response()
        except TimeoutError:
            wire.sock.settimeout(PATIENCE_S)
            return acknowledged, wire
        assert answer.status == 200, answer
        wire.close()
    raise AssertionError("the disk is never full")


TMPFS = 'mount -t tmpfs -o size=2m none "$1"'


# ---- full --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["always", "everysec", "memory"])
def test_a_full_disk_refuses_changes_until_there_is_room_and_forgets_nothing(start_gateway, disk, durability):
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": durability, "segment": "64k"}, start=False)
    own = disk(gateway, TMPFS)
    gateway.start()
    assert enrol(gateway) == (200, None) and readiness(gateway) == (200, None)
    fill(own.path(own.state / "filler"))
    more, waiting = enrol_until_one_waits(gateway)
    acknowledged = 1 + more
    # The one under way was taken and waits for room; whoever comes now is told at once.
    for _ in range(3):
        assert enrol(gateway) == (507, "journal_full")
    put = gateway.ask("PUT", "/sites/s", json_bytes(cap=5000), [JSON])
    assert (put.status, json.loads(put.body)["error"]) == (507, "journal_full")
    assert readiness(gateway) == (507, "journal_full")
    assert gateway.admin("GET", "/livez").status == 200, "it lives: to start it anew would not help"
    assert "changes of counts are refused until there is room" in gateway.said()
    assert gateway.refused("journal_full") >= 4
    assert count(gateway) == acknowledged, "reads go on, and show what is kept"
    own.path(own.state / "filler").unlink()
    assert waiting.response().status == 200
    acknowledged += 1
    eventually(lambda: readiness(gateway) == (200, None), "it is ready again")
    assert "there is room again" in gateway.said()
    assert enrol(gateway) == (200, None)
    acknowledged += 1
    assert count(gateway) == acknowledged
    gateway.at_rest()
    assert ended(gateway) == 0
    verify_audit(own.path(own.state))
    gateway.start()
    assert count(gateway) == acknowledged
    assert ended(gateway) == 0


def test_who_waits_for_room_too_long_is_told_that_it_may_be_counted_yet_and_it_is(start_gateway, disk):
    gateway = start_gateway(routes=ROUTES, cores=1, count={"segment": "64k"}, start=False)
    own = disk(gateway, TMPFS)
    gateway.start()
    fill(own.path(own.state / "filler"))
    acknowledged, waiting = enrol_until_one_waits(gateway)
    late = waiting.response()
    assert (late.status, json.loads(late.body)["error"]) == (504, "counting_late")
    own.path(own.state / "filler").unlink()
    eventually(lambda: count(gateway) == acknowledged + 1, "it is counted when there is room")
    gateway.at_rest()
    assert ended(gateway) == 0


def test_a_disk_that_stays_full_to_the_end_loses_only_what_nobody_was_answered_for(start_gateway, disk):
    gateway = start_gateway(routes=ROUTES, cores=1, count={"segment": "64k"}, timeouts={"drain": "4s"}, start=False)
    own = disk(gateway, TMPFS)
    gateway.start()
    fill(own.path(own.state / "filler"))
    acknowledged, waiting = enrol_until_one_waits(gateway)
    gateway.signal(signal.SIGTERM)
    # It ends within its drain; who waits hears that it is not known, or that it was not made.
    with contextlib.suppress(Closed):
        assert waiting.response().status in (503, 504, 507)
    gateway.hang_up()
    assert gateway.wait() == 0 and not gateway.reports()
    assert "are lost, none of which was answered" in gateway.said(), gateway.said()
    verify_audit(own.path(own.state))
    own.path(own.state / "filler").unlink()
    gateway.start()
    assert count(gateway) == acknowledged
    assert enrol(gateway) == (200, None)
    assert ended(gateway) == 0


# ---- a write or a sync that fails ---------------------------------------------------------------------------------------


def failed_for_good(gateway):
    for _ in range(3):
        assert enrol(gateway) == (503, "journal_failed")
    put = gateway.ask("PUT", "/sites/s", json_bytes(cap=5000), [JSON])
    assert (put.status, json.loads(put.body)["error"]) == (503, "journal_failed")
    assert readiness(gateway) == (503, "journal_failed")
    assert gateway.admin("GET", "/livez").status == 200
    assert "no change of a count is accepted until a restart has read what the disk holds" in gateway.said()
    assert gateway.refused("journal_failed") >= 4


def enrol_until_it_fails(gateway):
    """How many were acknowledged. The one that failed may be kept, and may be not: its answer says so."""
    until = time.monotonic() + PATIENCE_S
    for acknowledged in itertools.count():
        assert time.monotonic() < until, "it never fails"
        status, error = enrol(gateway)
        if status != 200:
            assert (status, error) == (503, "journal_failed")
            return acknowledged


@pytest.mark.parametrize("durability", ["always", "everysec", "memory"])
def test_a_failed_write_ends_all_changes_until_a_restart_and_loses_nothing(start_gateway, durability):
    """The file may grow no further: the part of a record that had room is a torn end; but where it grows by zeros first, these are."""
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": durability}, start=False)
    gateway.before = ["prlimit", "--fsize=10001:10001", "--"]
    gateway.start()
    acknowledged = enrol_until_it_fails(gateway)
    assert acknowledged > 5
    failed_for_good(gateway)
    assert count(gateway) == acknowledged
    gateway.at_rest()
    ended(gateway)
    gateway.before = []
    gateway.start()
    assert count(gateway) == acknowledged, "of a record that was not written whole nothing is left"
    assert durability == "always" or "are cut off and kept in" in gateway.said()
    assert enrol(gateway) == (200, None) and count(gateway) == acknowledged + 1
    assert ended(gateway) == 0
    verify_audit(gateway.directory / "state")


def test_a_last_word_that_has_no_place_is_no_death(start_gateway):
    """What is written at the very end is written by plain calls, and one that RLIMIT_FSIZE forbids would be a signal."""
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": "everysec"})
    eventually(lambda: gateway.total()["journal"]["syncs"] > 0, "its first record is written")
    segment = of(gateway.directory / "state", 0)
    begin = segment.stat().st_size - HEADER_BYTES
    for _ in range(100):
        assert enrol(gateway) == (200, None)
    gateway.kill()
    room = segment.stat().st_size + begin + 8
    gateway.before = ["prlimit", f"--fsize={room}:{room}", "--"]
    gateway.start()
    assert readiness(gateway) == (200, None) and count(gateway) == 100
    assert ended(gateway) == 0
    assert "records cannot be written: File too large" in gateway.said(), gateway.said()
    gateway.before = []
    gateway.start()
    assert count(gateway) == 100


# The file system believes that it has room, and the device below it has not: what was written is found impossible when it is synced.
THIN = '''
mkdir "$1.below"
mount -t tmpfs -o size=3m none "$1.below"
truncate -s 32M "$1.below/image"
mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0,nodiscard "$1.below/image"
mount -o loop,errors=continue "$1.below/image" "$1"
'''


@contextlib.contextmanager
def kept_in_memory(path):
    """What could not be written counts as clean, and a system that wants memory may give it up. Not while it is locked."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0)))
    assert at.value != ctypes.c_void_p(-1).value
    try:
        assert libc.mlock(at, ctypes.c_size_t(size)) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        libc.munmap(at, ctypes.c_size_t(size))


def test_a_failed_sync_ends_all_changes_until_a_restart_and_loses_nothing(start_gateway, disk):
    """In the mode always the write itself goes to the device, which says at once that it has no room: that is a full disk."""
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": "everysec"}, start=False)
    own = disk(gateway, THIN)
    gateway.start()
    assert enrol(gateway) == (200, None)
    below = own.path(f"{own.state}.below/filler")
    fill(below)
    acknowledged = 1 + enrol_until_it_fails(gateway)
    failed_for_good(gateway)
    assert "synced" in gateway.said()
    assert count(gateway) == acknowledged
    gateway.at_rest()
    with kept_in_memory(of(own.path(own.state), 0)):
        ended(gateway)
        below.unlink()
        gateway.start()
        # Whoever was told journal_failed was told that nobody knows.
        assert count(gateway) in (acknowledged, acknowledged + 1)
    now = count(gateway)
    assert enrol(gateway) == (200, None) and count(gateway) == now + 1
    assert ended(gateway) == 0
    verify_audit(own.path(own.state))


# A file system that can be frozen: what is written waits, and nothing fails.
SLOW_DISK = '''
mkdir "$1.below"
mount -t tmpfs -o size=40m none "$1.below"
truncate -s 32M "$1.below/image"
mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0,nodiscard "$1.below/image"
mount -o loop "$1.below/image" "$1"
'''


def test_a_disk_that_is_slower_than_changes_come_has_them_refused_at_once_and_forgets_none(start_gateway, disk, long):
    if not long:
        pytest.skip("some ten thousand requests, until 8 MB wait; how it is refused is a unit test's, too")
    gateway = start_gateway(routes=ROUTES, cores=1, start=False)
    own = disk(gateway, SLOW_DISK)
    gateway.start()
    site = "s" * 64
    request = request_bytes("POST", f"/sites/{site}/enrolments", json_bytes(by=1, reason="r" * 512), [JSON, ("X-Request-ID", "i" * 128)])
    sent = 0
    subprocess.run([*gateway.before, "fsfreeze", "-f", own.state], check=True)
    try:
        # Nobody waits for the answer: what was begun goes on without its client.
        while not gateway.refused("journal_behind"):
            assert sent < 16000, "as much waits as there is"
            wires = [gateway.connect() for _ in range(500)]
            for wire in wires:
                wire.send(request)
            assert count(gateway, site) == 0, "reads go on, and show what is kept"
            for wire in wires:
                wire.close()
            sent += len(wires)
        put = gateway.ask("PUT", "/sites/s", json_bytes(cap=5000), [JSON])
        assert (put.status, json.loads(put.body)["error"]) == (503, "journal_behind")
    finally:
        subprocess.run([*gateway.before, "fsfreeze", "-u", own.state], check=True)
    eventually(lambda: enrol(gateway) == (200, None), "the disk has caught up")
    # Behind all that was taken. Who left before his request was read has asked nothing.
    taken = count(gateway, site)
    assert 8 << 20 < taken * 1200 and taken <= sent, (taken, sent)
    gateway.at_rest()
    assert ended(gateway) == 0
    verify_audit(own.path(own.state))
    gateway.start()
    assert count(gateway, site) == taken
    assert ended(gateway) == 0


# ---- files that are not as they were left ------------------------------------------------------------------------------------


def fingerprint(state):
    """All of it, but for the lock, which is nothing."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted((state / "journal").rglob("*")) if path.name != "lock"}


def a_journal():
    """Two streams; the first of two segments; "07" has 3 + 2 + 1 of the first and 4 of the second."""
    j = Journal().start()
    j[0].change("07", 3, actor="a").commit().change("07", 2, actor="a").commit()
    j[1].change("07", 4, actor="a").commit()
    j[0].rotate().change("07", 1, actor="a").commit().append(journal_files.CONFIGURATION, detail="reload").commit()
    return j.stop()


def of(state, stream, i=0):
    return sorted((state / "journal" / f"{stream:02}").glob("*.journal"))[i]


def edit(path, at, data):
    whole = bytearray(path.read_bytes())
    whole[at:at + len(data)] = data
    path.write_bytes(whole)


def damage_middle(state):
    edit(of(state, 0), HEADER_BYTES + 100, b"\xff\xfe\xfd")
    return "00000000000000000001.journal", "byte "


def damage_header(state):
    edit(of(state, 0), 8, b"\xff")
    return "00000000000000000001.journal", "header"


def miss_segment(state):
    of(state, 0).unlink()
    return "00000000000000000001.journal", "missing"


def miss_stream(state):
    shutil.rmtree(state / "journal" / "01")
    return "journal/01", "missing"


def cut_stream(state):
    path = of(state, 1)
    path.write_bytes(path.read_bytes()[:HEADER_BYTES])
    return "journal/01", "knows of"


def put_another_streams(state):
    shutil.copy(of(state, 1), of(state, 0))
    return "00000000000000000001.journal", "of stream 01"


def put_a_directory(state):
    path = of(state, 0)
    path.unlink()
    path.mkdir()
    return "00000000000000000001.journal", "cannot be read"


@pytest.mark.parametrize("damage", [damage_middle, damage_header, miss_segment, miss_stream, cut_stream, put_another_streams, put_a_directory])
def test_damage_is_refused_with_its_place_and_nothing_is_changed(start_gateway, damage):
    gateway = start_gateway(routes=ROUTES, cores=2, start=False)
    state = a_journal().write(gateway.directory / "state")
    words = damage(state)
    before = fingerprint(state)
    for _ in range(2):
        gateway.spawn()
        assert gateway.wait() == 1
        for word in words:
            assert word in gateway.said(), gateway.said()
        assert fingerprint(state) == before
    assert not gateway.reports()


def test_the_same_journal_without_damage_is_taken(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=2, start=False)
    a_journal().write(gateway.directory / "state")
    gateway.start()
    assert count(gateway, "07") == 10


def test_a_torn_end_is_cut_off_and_kept_aside(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=1, start=False)
    j = Journal(1).start()
    j[0].change("07", 3, actor="a").commit()
    whole = len(j[0].segments[-1][1])
    j[0].change("07", 2, actor="a").commit()
    state = j.write(gateway.directory / "state")
    path = of(state, 0)
    torn = path.read_bytes()[whole:-9]
    path.write_bytes(path.read_bytes()[:-9])
    gateway.start()
    assert count(gateway, "07") == 3
    kept = list(path.parent.glob(f"{path.name}.torn-*"))
    assert len(kept) == 1 and kept[0].read_bytes() == torn
    assert str(kept[0].name) in gateway.said() and f"byte {whole}" in gateway.said()
    gateway.stop()
    verify_audit(state)


def test_files_that_are_no_journals_are_left_alone(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=2, start=False)
    state = a_journal().write(gateway.directory / "state")
    for name in ("journal/README", "journal/00/notes.txt", "journal/00/1.journal", "journal/lost+found/x"):
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_text("not ours")
    gateway.start()
    assert count(gateway, "07") == 10
    gateway.stop()
    assert (state / "journal/00/1.journal").read_text() == "not ours" and (state / "journal/lost+found/x").exists()


def test_a_last_segment_without_a_header_holds_nothing_and_is_kept_aside(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=2, start=False)
    j = a_journal()
    state = j.write(gateway.directory / "state")
    strange = state / "journal" / "00" / f"{j[0].sequence + 1:020}.journal"
    strange.write_text("this is no journal\n" * 100)
    gateway.start()
    assert count(gateway, "07") == 10
    assert "was being made and holds no records yet" in gateway.said()
    assert [path.read_text() for path in strange.parent.glob(f"{strange.name}.torn-*")] == ["this is no journal\n" * 100]
    gateway.stop()
    verify_audit(state)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_snapshot_is_passed_over_and_the_journal_read(start_gateway, whole):
    gateway = start_gateway(routes=ROUTES, cores=1, start=False)
    j = Journal(1).start()
    j[0].change("07", 3, actor="a").commit()
    chain, at = j[0].chain, j[0].sequence
    j[0].change("07", 2, actor="a").commit()
    state = j.write(gateway.directory / "state")
    records, own = [], journal_files.ZERO_CHAIN
    for kind, values in ((LINE, dict(site="07", before=[0, 3, 0, 0], changes=1)), (END, dict(cap=at + 1, detail=chain))):
        data, own = journal_files.record(own, kind, at, 0, journal_files.fields(kind, **values))
        records.append(data)
    snapshot = state / "journal" / "00" / f"{at:020}.snapshot"
    snapshot.write_bytes(journal_files.segment_header(0, at, 1, journal_files.ZERO_CHAIN, magic=b"PJN1") + journal_files.block(1, at, records))
    if not whole:
        edit(snapshot, 300, b"\xff\xff")
    gateway.start()
    assert count(gateway, "07") == 5
    assert ("is not used" in gateway.said()) == (not whole)
    assert ("1 from snapshots" in gateway.said() or "2 from snapshots" in gateway.said()) == whole, gateway.said()
    assert snapshot.exists() == whole
    gateway.stop()
    verify_audit(state)


# ---- many streams ----------------------------------------------------------------------------------------------------


def heads_of(state, stream, kind):
    """The heads that the last start, or the end, of this stream names, over however many records."""
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "--json", "--state", state], capture_output=True, text=True,
                          timeout=PATIENCE_S * SLOW)
    assert done.returncode == 0, done.stderr
    heads = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if (entry["stream"], entry["kind"]) == (stream, kind):
            words = entry["detail"].split(" ")
            # What begins with "heads" goes on with the record before.
            heads = (heads if words[0] == "heads" and kind == "start" else []) + [words[words.index("heads") + 1:]]
            assert len(entry["detail"]) <= 4096
    return heads


STREAMS = 200


def test_the_ends_of_many_streams_are_all_vouched_for(start_gateway):
    """A machine that had 200 cores, and has one: one record has room for some 45 heads."""
    gateway = start_gateway(routes=ROUTES, cores=1, start=False)
    j = Journal(STREAMS)
    for stream in j.streams:
        stream.append(START, actor="postern", detail="version 1.0.0 cores 1 configuration 00 heads").commit()
        stream.change("07", 1, actor="a").commit()
    state = j.write(gateway.directory / "state")
    gateway.start()
    assert count(gateway, "07") == STREAMS
    gateway.stop()
    parts = heads_of(state, 0, "start")
    assert len(parts) > 3, "it takes several records"
    assert [int(head.split(":")[0]) for part in parts for head in part] == list(range(1, STREAMS))
    # The one that was written by hand, without an end; and not each part of the second.
    assert sum("stream 0: began" in note for note in verify_audit(state)["notes"]) == 1
    # Whatever the number of a stream: what was cut off its end, another one knows of.
    for number in (1, 44, 99, STREAMS - 1):
        path = of(state, number)
        whole = path.read_bytes()
        path.write_bytes(whole[:whole.rindex(b"PJB1")])
        gateway.spawn()
        assert gateway.wait() == 1
        assert f"journal/{number:02} ends with record 1, and record" in gateway.said(), gateway.said()
        done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "verify", "--state", state], capture_output=True, text=True)
        assert done.returncode != 0 and f"of stream {number}, and that stream ends with record 1: its end was cut off" in done.stdout
        path.write_bytes(whole)
    # What of the configuration is different is known of the first record of a start, which has it, and not of its last.
    gateway.configuration["count"] = {"new_sites": False}
    gateway.start()
    gateway.stop()
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "--json", "--state", state], capture_output=True, text=True)
    assert any(entry["kind"] == "configuration" and "new_sites true → false" in entry["detail"] for entry in map(json.loads, done.stdout.splitlines()))
