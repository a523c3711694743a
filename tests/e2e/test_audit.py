"""The audit trail by its own bytes: what posternctl shows of it, and that nothing can be changed, removed or put elsewhere unseen.

The journals are written by journal_files.py, so these tests need no gateway and may forge whatever they like.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

import journal_files as files
from gateway import POSTERNCTL, TREE, eventually
from journal_files import CHANGE, CONFIGURATION, CONFIRM, END, ENROLLED, EXPIRE, LINE, RANDOMISED, REFUSE, RELEASE, RESERVE, RULES, SCREENED, Journal
from wire import PATIENCE_S, request_bytes


def posternctl(*arguments):
    return subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)


def verify(state, *arguments):
    done = posternctl("verify", "--json", "--state", state, *arguments)
    assert done.stderr == "", done.stderr
    answer = json.loads(done.stdout)
    assert answer["sound"] == (done.returncode == 0) == (not answer["faults"])
    return answer


def load():
    """posternctl as a module: where a thousand journals are looked at, a process for each takes too long."""
    import importlib.machinery
    import importlib.util
    loader = importlib.machinery.SourceFileLoader("posternctl", str(POSTERNCTL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("posternctl", loader))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


ctl = load()


def faults_of(state, expected=()):
    journal = ctl.Journal(ctl.journal_directory(state))
    ctl.journal_verify(journal, [ctl.head_parse(head) for head in expected])
    return journal.faults or journal.doubts


def a_small_journal():
    """Two streams of two segments, each kind of record, ended in order."""
    j = Journal().start()
    j[0].append(RULES, site="07", cap=5, rule_changes=1, actor="CN=Monitor", reason="protocol 2").commit()
    j[1].change("07", 2, actor="anonymous", address="127.0.0.1:5000", request_id="r-1").change("08", 1, of=SCREENED).commit()
    j[0].append(RESERVE, site="07", reservation=0xABC, amount=1, expires=1_764_000_100_000, actor="a").commit()
    j[0].append(CONFIRM, site="07", reservation=0xABC, amount=1, by=[0, 1, 0, 0], actor="a").commit()
    j[1].rotate().change("07", 1, actor="anonymous").commit()
    j[0].rotate().change("07", -1, actor="CN=Monitor", reason="entered twice").commit()
    j[0].append(REFUSE, site="07", key="k", digest=bytes(range(16)), outcome=1, actor="a").commit()
    return j.stop()


@pytest.fixture
def state(tmp_path):
    return a_small_journal().write(tmp_path / "state")


def segments(state):
    return sorted((state / "journal").rglob("*.journal"))


# ---- sound journals -----------------------------------------------------------------------------------------


def test_a_journal_as_it_should_be_is_sound(state):
    answer = verify(state)
    assert answer["faults"] == [] and answer["notes"] == [] and answer["records"] == 12
    assert answer["heads"] == [stream.head for stream in a_small_journal().streams]
    assert verify(state, "--expect", *answer["heads"])["sound"]
    done = posternctl("verify", "--state", state / "journal")
    assert done.returncode == 0 and done.stdout.startswith("sound: 12 records of 2 streams") and answer["heads"][1] in done.stdout


def test_the_known_answers_of_the_unit_tests_are_these():
    assert (TREE / "tests" / "unit" / "cache_record_vectors.h").read_text() == files.vectors_header()


def test_one_that_still_runs_or_was_killed_is_told_and_is_no_fault(tmp_path):
    j = Journal(1).start()
    j[0].change("1", 1).commit()
    state = j.write(tmp_path)
    assert verify(state)["sound"] and "not with a stop" in verify(state)["notes"][0]
    j.start()
    j.stop().write(tmp_path)
    assert verify(state)["sound"] and "without having ended in order" in verify(state)["notes"][0]


def test_zeros_behind_the_last_block_and_torn_ends_kept_aside_are_no_fault(state):
    last = segments(state)[-1]
    last.write_bytes(last.read_bytes() + bytes(4096))
    last.with_name(last.name + ".torn-1764000000").write_bytes(b"PJB1")
    answer = verify(state)
    assert answer["sound"] and len(answer["notes"]) == 1 and "kept aside" in answer["notes"][0]


# ---- tampering ----------------------------------------------------------------------------------------------


def test_every_byte_that_is_changed_is_found_and_where(state):
    for path in segments(state):
        data = path.read_bytes()
        for at in range(len(data)):
            for bit in (1, 0x80):
                path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1:])
                faults = faults_of(state)
                assert faults, (path, at)
                first = faults[0]
                assert state / "journal" / first["file"] == path and first["offset"] <= at and first["sequence"] >= 1, (at, first)
        path.write_bytes(data)
    assert not faults_of(state)


def test_a_fault_says_file_offset_sequence_and_what(state):
    path = segments(state)[0]
    data = path.read_bytes()
    at = data.index(b"protocol 2")
    path.write_bytes(data.replace(b"protocol 2", b"protocol 3"))
    done = posternctl("verify", "--state", state)
    match = re.search(r"^00/0{19}1\.journal: offset (\d+), sequence 2: the check sum", done.stdout, re.MULTILINE)
    assert done.returncode == 1 and match and int(match[1]) < at < int(match[1]) + 200, done.stdout
    assert "NOT SOUND: 1 fault" in done.stdout


def rewritten(tmp_path, edit, whole_chain=False):
    """A stream of single records, blocks and check sums all in order, whose list of records was edited.

    whole_chain: whoever did it can compute SHA-256 as well."""
    j = Journal(1)
    for i in range(6):
        j[0].append(CHANGE, site="1", by=[0, 1, 0, 0], actor="a", reason=f"patient {i}")
    records = list(j[0].waiting)
    head = j[0].head
    edit(records)
    if whole_chain:
        chain = files.ZERO_CHAIN
        for i, record in enumerate(records):
            data, chain = files.record(chain, record[2], i + 1, files.BEGAN_NS + i, record[24:-32])
            records[i] = data
    data = files.segment_header(0, 1, 1, files.ZERO_CHAIN)
    for i, record in enumerate(records):
        data += files.block(i + 1, i + 1, [record])
    directory = tmp_path / "journal" / "00"
    directory.mkdir(parents=True)
    (directory / f"{1:020}.journal").write_bytes(data)
    return tmp_path, head


@pytest.mark.parametrize("at", range(6))
def test_each_record_that_is_removed_is_missed(tmp_path, at):
    state, head = rewritten(tmp_path, lambda records: records.pop(at))
    if at < 5:
        assert faults_of(state)[0]["sequence"] == at + 1
    else:
        # The end alone is missed by nothing that stands before it: a stop, another stream, or a head kept elsewhere tells.
        assert not faults_of(state) and "not with a stop" in verify(state)["notes"][0]
    assert faults_of(state, [head])


@pytest.mark.parametrize("a, b", [(a, b) for a in range(6) for b in range(a)])
def test_two_records_that_change_places_are_found(tmp_path, a, b):
    def swap(records):
        records[a], records[b] = records[b], records[a]

    state, _ = rewritten(tmp_path, swap)
    assert faults_of(state)[0]["sequence"] == b + 1


def test_a_record_twice_is_found(tmp_path):
    state, _ = rewritten(tmp_path, lambda records: records.insert(3, records[2]))
    assert faults_of(state)[0]["sequence"] == 4


def test_who_writes_the_whole_chain_anew_is_given_away_by_a_head_kept_elsewhere(tmp_path):
    def edit(records):
        records[5] = records[5].replace(b"patient 5", b"patient 9")

    state, head = rewritten(tmp_path, edit, whole_chain=True)
    assert not faults_of(state)
    assert "written anew" in verify(state, "--expect", head)["faults"][0]["what"]


def test_who_removes_a_record_and_writes_the_chain_anew_is_given_away_by_the_sums(tmp_path):
    state, _ = rewritten(tmp_path, lambda records: records.pop(2), whole_chain=True)
    faults = faults_of(state)
    assert "counted before" in faults[0]["what"] and faults[0]["sequence"] == 3


@pytest.mark.parametrize("number", [0, 1])
def test_a_tail_cut_at_every_byte_is_found_or_told(tmp_path, number):
    state = a_small_journal().write(tmp_path)
    path = segments(state)[2 * number + 1]
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        faults = faults_of(state)
        if number == 1:
            assert faults, cut                 # stream 0's stop knows where stream 1 ended
        elif not faults:
            assert data.startswith(b"PJB1", cut) and "not with a stop" in verify(state)["notes"][0], cut
        assert faults_of(state, [a_small_journal()[number].head]), cut


@pytest.mark.parametrize("i", range(4))
def test_a_segment_that_is_missing_is_found(state, i):
    segments(state)[i].unlink()
    assert faults_of(state)


def test_segments_that_change_names_or_streams_are_found(state):
    paths = segments(state)
    for a in range(4):
        for b in range(a):
            data = [paths[a].read_bytes(), paths[b].read_bytes()]
            paths[a].write_bytes(data[1])
            paths[b].write_bytes(data[0])
            assert faults_of(state), (a, b)
            paths[a].write_bytes(data[0])
            paths[b].write_bytes(data[1])
    assert not faults_of(state)


@pytest.mark.parametrize("number", [0, 1])
def test_a_stream_that_is_missing_is_found(state, number):
    directory = state / "journal" / f"{number:02}"
    for path in directory.iterdir():
        path.unlink()
    assert faults_of(state) or number == 0
    directory.rmdir()
    faults = faults_of(state)
    assert any(f"stream {number} is missing" in fault["what"] or "that stream is missing" in fault["what"] for fault in faults), faults


def test_damage_in_the_middle_does_not_hide_what_is_behind_it(state):
    path = segments(state)[0]
    data = bytearray(path.read_bytes())
    at = [m.start() for m in re.finditer(b"PJB1", data)]
    data[at[1] + 10] ^= 1                      # the header of the second block
    data[at[3] + 80] ^= 1                      # a record of the fourth
    path.write_bytes(data)
    faults = faults_of(state)
    assert [fault["offset"] for fault in faults] == [at[1], at[3] + 64]


def test_the_last_block_torn_says_what_a_start_would_do(tmp_path):
    j = Journal(1).start()
    j[0].change("1", 1).commit()
    path = segments(j.write(tmp_path))[0]
    path.write_bytes(path.read_bytes()[:-9])
    assert "it is torn" in faults_of(tmp_path)[0]["what"]


def test_hostile_files_are_faults_and_never_a_traceback(state):
    path = segments(state)[0]
    data = path.read_bytes()
    huge = files.segment_header(0, 1, 1, files.ZERO_CHAIN) + files.block((1 << 64) - 1, (1 << 64) - 1, [b"x" * 60])
    for content in (b"", b"PJS1", data[:95], b"\xff" * 1000, data[:96], data[:96] + b"PJB1" * 100, data + b"PJB1" + bytes(99), huge,
                    files.segment_header(0, 1 << 63, 1 << 63, files.ZERO_CHAIN) + data[96:]):
        path.write_bytes(content)
        done = posternctl("verify", "--state", state)
        assert done.returncode == 1 and done.stderr == "" and "NOT SOUND" in done.stdout, (content[:20], done)


# ---- what cannot have been, in files that are whole ----------------------------------------------------------


def doubts(tmp_path, fill, streams=2):
    j = Journal(streams).start()
    fill(j)
    return [fault["what"] for fault in faults_of(j.stop().write(tmp_path))]


def rules(j, site="1", **values):
    return j[0].append(RULES, site=site, actor="a", **values)


@pytest.mark.parametrize("what, fill", [
    ("nothing is below zero", lambda j: j[0].change("1", -1)),
    ("nothing is below zero", lambda j: (j[0].change("1", 1), j[0].change("1", 2, of=files.WITHDRAWN))),
    ("only stream 0 lowers", lambda j: (j[1].change("1", 2), j[1].change("1", -1))),
    ("above its cap of 1", lambda j: (rules(j, cap=1, rule_changes=1), j[1].change("1", 1), j[0].change("1", 1))),
    ("raises the study to 2", lambda j: (rules(j, "", cap=1, rule_changes=1), j[1].change("1", 1), j[0].change("2", 1))),
    ("cap of 1 has no room", lambda j: (rules(j, cap=1, rule_changes=1), j[1].change("1", 1),
                                        j[0].append(RESERVE, site="1", reservation=7, amount=1, actor="a"))),
    ("reservations included", lambda j: (rules(j, cap=1, rule_changes=1), j[0].append(RESERVE, site="1", reservation=7, amount=1, actor="a"),
                                         j[1].change("1", 1))),
    ("was closed", lambda j: (rules(j, status=2, rule_changes=1), j[1].change("1", 1))),
    ("was paused", lambda j: (rules(j, status=1, rule_changes=1), j[1].change("1", 1, of=SCREENED))),
    ("no reservation", lambda j: j[0].append(RELEASE, site="1", reservation=7, actor="a")),
    ("is there already", lambda j: [j[0].append(RESERVE, site="1", reservation=7, amount=1, actor="a") for _ in "ab"]),
    ("not those that the records before it set", lambda j: rules(j, cap=3, cap_before=2, rule_changes=1)),
    ("not those that the records before it set", lambda j: rules(j, cap=3, rule_changes=2)),
    ("counted before", lambda j: j[1].change("1", 1, before=[0, 1, 0, 0])),
    ("belongs into stream 0", lambda j: j[1].append(RULES, site="1", cap=3, rule_changes=1, actor="a")),
    ("belongs into a snapshot", lambda j: j[1].append(LINE, site="1", before=[0, 1, 0, 0], changes=1)),
    ("not after that of the record before", lambda j: j[1].change("1", 1, stamp=files.BEGAN_NS)),
    ("that stream ends with record", lambda j: j[0].append(files.START, detail="cores 2 heads 1:99:" + "00" * 32)),
    ("written anew", lambda j: j[0].append(files.START, detail="cores 2 heads 1:1:" + "00" * 16)),
    ("is not a head", lambda j: j[0].append(files.START, detail="cores 2 heads 1:1:zz")),
    ("stream 2 is missing", lambda j: j[0].append(files.START, detail="version 1 cores 3 configuration 00")),
])
def test_what_cannot_have_been_is_found_in_files_that_are_whole(tmp_path, what, fill):
    found = doubts(tmp_path, fill)
    assert any(what in one for one in found), found


@pytest.mark.parametrize("fill", [
    # A cap that is lowered below the count is no fault, nor is lowering above it.
    lambda j: (j[1].change("1", 5), rules(j, cap=2, rule_changes=1), j[0].change("1", -1), j[0].change("1", 1, of=SCREENED)),
    lambda j: (j[1].change("1", 5), rules(j, "", cap=2, rule_changes=1), j[0].change("1", 3, of=files.WITHDRAWN)),
    # What one stream raised another lowers.
    lambda j: (j[1].change("1", 5), j[0].change("1", -5)),
    # What is reserved is confirmed under the cap; released or expired, it is room again.
    lambda j: (rules(j, cap=1, rule_changes=1), j[0].append(RESERVE, site="1", reservation=7, amount=1, actor="a"),
               j[0].append(CONFIRM, site="1", reservation=7, amount=1, by=[0, 1, 0, 0], actor="a")),
    lambda j: (rules(j, cap=1, rule_changes=1), j[0].append(RESERVE, site="1", reservation=7, amount=1, actor="a"),
               j[0].append(EXPIRE, site="1", reservation=7, amount=1, actor="postern"), j[1].change("1", 1)),
    lambda j: (rules(j, status=1, rule_changes=1), j[0].change("1", 1, of=RANDOMISED)),
    lambda j: (rules(j, status=2, rule_changes=1), rules(j, status=0, status_before=2, rule_changes=2), j[1].change("1", 1)),
])
def test_what_looks_odd_and_may_be_is_no_fault(tmp_path, fill):
    assert doubts(tmp_path, fill) == []


# ---- snapshots ----------------------------------------------------------------------------------------------


def snapshot(state, j, number, records, cap, detail=None):
    chain, out = files.ZERO_CHAIN, []
    for kind, sequence, values in [*records, (END, cap - 1, dict(cap=cap, detail=detail or j[number].chain))]:
        data, chain = files.record(chain, kind, sequence, 0, files.fields(kind, **values))
        out.append(data)
    path = state / "journal" / f"{number:02}" / f"{cap - 1:020}.snapshot"
    path.write_bytes(files.segment_header(number, cap - 1, 1, files.ZERO_CHAIN, magic=b"PJN1") + files.block(1, cap - 1, out))
    return path


def snapshot_journal(tmp_path):
    j = Journal(1).start()
    rules(j, cap=5, rule_changes=1)
    j[0].change("1", 2).append(RESERVE, site="1", reservation=7, amount=1, actor="a").commit()
    records = [(LINE, 4, dict(site="1", before=[0, 2, 0, 0], changes=1)), (RULES, 4, dict(site="1", cap=5, rule_changes=2)),
               (RESERVE, 4, dict(site="1", reservation=7, amount=1))]
    state = j.write(tmp_path)
    return j, state, records


def test_a_snapshot_that_says_what_the_journal_says_is_sound_and_every_byte_of_it_counts(tmp_path):
    j, state, records = snapshot_journal(tmp_path)
    path = snapshot(state, j, 0, records + [(CONFIGURATION, 5, dict(detail="configuration 4a7f durability always"))], 5)
    assert not faults_of(state), faults_of(state)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        assert faults_of(state), at
        path.write_bytes(data[:at])
        assert faults_of(state), at


@pytest.mark.parametrize("what, edit", [
    ("line of site 1 is not", lambda r: r[0][2].update(before=[0, 3, 0, 0])),
    ("line of site 1 is not", lambda r: r[0][2].update(changes=2)),
    ("line of site 1 is missing", lambda r: r.pop(0)),
    ("line of site 2 is not", lambda r: r.append((LINE, 4, dict(site="2", before=[0, 1, 0, 0], changes=1)))),
    ("rules of site 1 are not", lambda r: r[1][2].update(cap=6)),
    ("rules of site 1 are missing", lambda r: r.pop(1)),
    ("0000000000000007 is not there", lambda r: r[2][2].update(amount=2)),
    ("0000000000000007 is missing", lambda r: r.pop(2)),
    ("does not belong into a snapshot", lambda r: r.append((CHANGE, 4, dict(site="1", by=[0, 1, 0, 0])))),
])
def test_a_forged_snapshot_contradicts_the_journal(tmp_path, what, edit):
    j, state, records = snapshot_journal(tmp_path)
    edit(records)
    snapshot(state, j, 0, records, 5)
    found = [fault["what"] for fault in faults_of(state)]
    assert any(what in one for one in found), found


def test_a_snapshot_of_another_journal_or_of_later_is_found(tmp_path):
    j, state, records = snapshot_journal(tmp_path)
    snapshot(state, j, 0, records, 5, detail=bytes(32))
    assert "written anew" in faults_of(state)[0]["what"]
    snapshot(state, j, 0, [(kind, 9, values) for kind, _, values in records], 5)
    assert "a snapshot knows of record 9" in faults_of(state)[0]["what"]


# ---- what is shown ------------------------------------------------------------------------------------------


def entries(state, *arguments):
    done = posternctl("--json", "--state", state, *arguments)
    assert done.returncode == 0 and done.stderr == "", done
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_who_changed_what_when_from_what_to_what_and_why(state):
    shown = entries(state)
    assert len(shown) == 12 and [entry["time"] for entry in shown] == sorted(entry["time"] for entry in shown)
    changes = [entry for entry in shown if entry["kind"] in ("change", "confirm")]
    assert [(e["site"], e["old"]["count"], e["new"]["count"]) for e in changes] == [
        ("07", 0, 2), ("08", 0, 0), ("07", 2, 3), ("07", 3, 4), ("07", 4, 3)]
    assert changes[-1]["reason"] == "entered twice" and changes[-1]["actor"] == "CN=Monitor" and changes[-1]["by"] == {"enrolled": -1}
    assert changes[0]["request_id"] == "r-1" and changes[0]["address"] == "127.0.0.1:5000"
    ruled = next(entry for entry in shown if entry["kind"] == "rules")
    assert ruled["old"] == {"status": "recruiting", "cap": None} and ruled["new"] == {"status": "recruiting", "cap": 5}
    assert [entry["outcome"] for entry in shown if entry["kind"] == "refuse"] == ["site_cap_reached"]


def test_what_a_key_asked_for_and_was_there_already_is_shown_as_nothing_to_change(tmp_path):
    j = Journal(1).start()
    j[0].append(RULES, site="07", cap=5, rule_changes=1, actor="a")
    j[0].append(REFUSE, site="07", key="k", digest=bytes(range(16)), outcome=0, actor="a", reason="protocol 2").commit()
    state = j.stop().write(tmp_path)
    assert verify(state)["sound"]
    shown = next(entry for entry in entries(state) if entry["kind"] == "refuse")
    assert (shown["outcome"], shown["key"], shown["site"], shown["reason"]) == ("", "k", "07", "protocol 2")
    lines = posternctl("--state", state).stdout.splitlines()
    assert sum("nothing to change" in line for line in lines) == 1 and not any("refused" in line for line in lines)


def test_what_is_reserved_is_shown_from_what_to_what(tmp_path):
    j = Journal(1).start()
    for number in (1, 2, 3):
        j[0].append(RESERVE, site="07", reservation=number, amount=number, expires=1_764_000_100_000, actor="a")
    j[0].append(RELEASE, site="07", reservation=1, amount=1, actor="a")
    j[0].append(CONFIRM, site="07", reservation=2, amount=2, by=[0, 2, 0, 0], actor="a")
    j[0].append(EXPIRE, site="07", reservation=3, amount=3, actor="postern").commit()
    state = j.stop().write(tmp_path)
    shown = [entry for entry in entries(state) if entry["site"]]
    assert [(e["kind"], e["old"]["reserved"], e["new"]["reserved"]) for e in shown] == [
        ("reserve", 0, 1), ("reserve", 1, 3), ("reserve", 3, 6), ("release", 6, 5), ("confirm", 5, 3), ("expire", 3, 0)]
    assert [(e["old"]["count"], e["new"]["count"]) for e in shown if e["kind"] == "confirm"] == [(0, 2)]
    table = posternctl("--state", state).stdout
    for words in ("reserved 3 → 6", "release 0000000000000001: reserved 6 → 5", "enrolled +2 (0 → 2), reserved 5 → 3", "expire 0000000000000003: reserved 3 → 0"):
        assert words in table, table


# ---- what a gateway writes -----------------------------------------------------------------------------------


COUNTING = [{"path": "/count", "serve": "count"}, {"prefix": "/sites", "serve": "count"}]


def test_an_administrator_is_named_by_the_numbers_that_the_kernel_vouches_for(start_gateway):
    gateway = start_gateway(routes=COUNTING)
    assert subprocess.run([sys.executable, "-B", POSTERNCTL, "-s", gateway.admin_socket, "reload"], timeout=PATIENCE_S).returncode == 0
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(gateway.admin_socket))
        wire.sendall(b"POST /sites/07/enrolments HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert b" 200 " in wire.makefile("rb").readline()
    gateway.signal(signal.SIGHUP)
    state = gateway.directory / "state"
    noted = lambda: [entry for entry in entries(state) if entry["kind"] == "configuration"]
    eventually(lambda: len(noted()) == 2, noted)
    change = next(entry for entry in entries(state) if entry["kind"] == "change")
    assert change["actor"] == f"administrator uid={os.getuid()} pid={os.getpid()}"
    assert re.fullmatch(rf"administrator uid={os.getuid()} pid=[0-9]+", noted()[0]["actor"])
    assert noted()[1]["actor"] == f"SIGHUP uid={os.getuid()} pid={os.getpid()}"


def test_what_of_the_configuration_is_different_since_the_start_before_is_told(start_gateway):
    gateway = start_gateway(routes=COUNTING)
    state = gateway.directory / "state"
    noted = lambda: [entry for entry in entries(state) if entry["kind"] == "configuration"]

    def again(**sections):
        gateway.stop()
        gateway.configuration.update(sections)
        gateway.start()
        return noted()

    assert again() == [], "nothing is different"
    told = again(count={"durability": "everysec"}, limits={"sites_max": 7})
    assert len(told) == 1 and told[0]["actor"] == "postern"
    old, new = told[0]["old"], told[0]["new"]
    assert (old.pop("configuration") != new.pop("configuration"), old, new) == (
        True, {"durability": "always", "sites_max": "65536"}, {"durability": "everysec", "sites_max": "7"})
    assert "durability always → everysec, sites_max 65536 → 7" in posternctl("--state", state).stdout
    told = again(log={"access": "access.jsonl", "level": "warn"})
    assert len(told) == 2 and list(told[1]["new"]) == ["configuration"] and told[1]["old"]["configuration"] != told[1]["new"]["configuration"]
    # Each tells the digest that the start before had, and a start tells its own.
    begun = [entry["detail"] for entry in entries(state) if entry["kind"] == "start" and entry["stream"] == 0]
    assert f"configuration {told[1]['new']['configuration']} " in begun[-1] and f"configuration {told[1]['old']['configuration']} " in begun[-2]
    gateway.stop()
    assert verify(state)["sound"]


def test_the_configuration_before_is_known_where_a_start_reads_from_a_snapshot(start_gateway, long):
    """The record of the start before then lies in what is not read any more."""
    if not long:
        pytest.skip("a snapshot comes after 32 MB of journal, which take their time")
    gateway = start_gateway(routes=COUNTING, count={"durability": "memory"}, cores=1)
    state = gateway.directory / "state"
    body = b"siteId=1&reason=" + b"r" * 500
    post = request_bytes("POST", "/count", body, [("Content-Type", "application/x-www-form-urlencoded")])
    wire = gateway.connect()
    until = time.monotonic() + 10 * PATIENCE_S
    while not list(state.rglob("*.snapshot")):
        assert time.monotonic() < until
        wire.send(post * 500)
        for _ in range(500):
            assert wire.response().status == 200
    gateway.stop()
    gateway.configuration["limits"] = {"sites_max": 7}
    gateway.start()
    assert "from snapshots" in gateway.said() and "(0 from snapshots)" not in gateway.said()
    told = [entry for entry in entries(state) if entry["kind"] == "configuration"]
    assert [(entry["actor"], entry["new"]["sites_max"]) for entry in told] == [("postern", "7")]
    gateway.stop()
    assert verify(state)["sound"]


def test_the_table_is_for_people(state):
    done = posternctl("--state", state)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].split() == ["time", "who", "from", "site", "what", "count", "reason", "request"]
    assert any(re.search(r"CN=Monitor +- +07 +enrolled -1 \(4 → 3\) +4 → 3 +entered twice", line) for line in lines), done.stdout
    assert any("cap none → 5" in line for line in lines) and any("reserve 0000000000000abc: 1 until 2025" in line for line in lines)
    assert len(lines) == 13


def test_one_site_or_since_a_time_alone_is_shown_with_the_sums_of_all_before(state):
    assert {entry["site"] for entry in entries(state, "--site", "07")} == {"07"}
    last = entries(state)[-6]
    later = entries(state, "--since", last["time"])
    assert len(later) == 6 and later[0] == last
    assert later[0]["new"]["count"] == 4 or later[1]["new"]["count"] in (3, 4)
    assert entries(state, "--since", "1s") == [] and entries(state, "--site", "nowhere") == []
    assert posternctl("--state", state, "--since", "yesterday").returncode == 2


def test_names_do_not_move_the_cursor(tmp_path):
    j = Journal(1).start()
    j[0].change("a\x1b[2J", 1, reason="x\ny", actor=b"\xff\xfe").commit()
    done = posternctl("--state", j.stop().write(tmp_path))
    assert "\x1b" not in done.stdout and len(done.stdout.splitlines()) == 4 and r"\xff" in done.stdout


def test_a_damaged_journal_is_shown_as_far_as_it_goes_and_says_so(state):
    path = segments(state)[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = posternctl("--state", state)
    assert done.returncode == 1 and "not all of it" in done.stderr and "07" in done.stdout


def test_what_is_no_journal_is_said(tmp_path):
    for place in (tmp_path, tmp_path / "none", pathlib.Path("/dev/null")):
        done = posternctl("verify", "--state", place)
        assert done.returncode == 1 and "has no journal" in done.stderr, done
    assert posternctl("verify", "--state", tmp_path, "--expect", "0:1").returncode == 2
