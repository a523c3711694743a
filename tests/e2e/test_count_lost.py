"""A power cut took what durability did not wait for: raises of one stream, while stream 0 kept what lowered them.

The journals are written by journal_files.py. What the weaker modes may lose is made good once, and the trail says so; afterwards any
durability starts. What they cannot lose is refused, and stays as it is.
"""
import json
import resource
import subprocess
import sys

import pytest

from gateway import BINARY, POSTERNCTL, Gateway, eventually
from journal_files import CHANGE, RULES, SCREENED, START, STOP, WITHDRAWN, Journal
from wire import PATIENCE_S

LOST = "raises before a power cut that durability did not wait for: what lowered them is here, and they are not"
ROUTES = [{"path": "/count", "serve": "count"}, {"prefix": "/sites", "serve": "count"}]


def a_journal(durability, lower=lambda j: j[0].change("07", -3, actor="CN=Monitor"), streams=2, end=False):
    """Two were raised in stream 1 durably; of what came behind, stream 0 has a lowering by three and stream 1 has nothing."""
    j = Journal(streams)
    word = f" durability {durability}" if durability else ""
    for stream in j.streams:
        stream.append(START, actor="postern", detail=f"version 1.0.0 cores {streams} configuration 00{word} new_sites true").commit()
    if streams > 1:
        j[1].change("07", 2, actor="anonymous").change("08", 1, actor="anonymous").commit()
    lower(j)
    j[0].commit()
    if end:
        j[0].append(STOP, actor="postern", detail=j.heads(j[0])).commit()
    return j


@pytest.fixture
def gateway(tmp_path, certificates):
    gateway = Gateway(tmp_path / "gateway", certificates, routes=ROUTES, cores=2)
    yield gateway
    gateway.kill()


def run_with(gateway, durability):
    """It refuses to start and changes nothing; what it says."""
    gateway.configuration["count"] = {"durability": durability}
    gateway.write()
    before = files_of(gateway)
    done = subprocess.Popen([BINARY, "run", "-c", gateway.path], cwd=gateway.directory, stderr=subprocess.PIPE, text=True)
    said = done.communicate(timeout=PATIENCE_S)[1]
    assert done.returncode != 0, said
    assert files_of(gateway) == before, "the journal was changed"
    return said


def files_of(gateway):
    return {str(path): path.read_bytes() for path in (gateway.directory / "state/journal").rglob("*") if path.is_file() and path.name != "lock"}


def count(gateway, site):
    return json.loads(gateway.ask("GET", f"/count?siteId={site}").body)["count"]


def verify(state, seconds=PATIENCE_S):
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "verify", "--json", "--state", state], capture_output=True, text=True,
                          timeout=seconds)
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["sound"] else 1) and done.stderr == "", done
    return said


def trail(gateway):
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "--json", "--state", gateway.directory / "state"], capture_output=True,
                          text=True, timeout=PATIENCE_S)
    return done.stdout


@pytest.mark.parametrize("before", ["everysec", "memory"])
def test_what_the_weaker_mode_lost_is_made_good_once_and_told(gateway, before):
    a_journal(before).write(gateway.directory / "state")
    gateway.configuration["count"] = {"durability": "always"}
    with gateway.serving():
        assert "recorded as raised by postern" in gateway.said()
        assert (count(gateway, "07"), count(gateway, "08")) == (0, 1)
    told = trail(gateway)
    assert told.count("raises before a power cut") == 1, told
    assert "lost_by_choice_sites 1" in told
    verified = verify(gateway.directory / "state")
    assert verified["sound"], verified
    assert any(f"1 enrolled were missing, which a power cut took because durability {before} had not waited for it; 1 enrolled made good by "
               "record 3 " in note for note in verified["notes"]), verified
    for durability in ("always", "everysec", "always"):
        gateway.configuration["count"] = {"durability": durability}
        with gateway.serving():
            assert "recorded as raised" not in gateway.said(), "it is made good once"
            assert (count(gateway, "07"), count(gateway, "08")) == (0, 1)
    assert trail(gateway).count("raises before a power cut") == 1
    assert verify(gateway.directory / "state")["sound"]


@pytest.mark.parametrize("now", ["always", "memory"])
@pytest.mark.parametrize("what, journal", [
    ("a journal whose answers waited for syncs", a_journal("always")),
    ("a weaker one that ended in order, when all was synced", a_journal("memory", end=True)),
    ("one stream, that lowers what nobody raised", a_journal("memory", streams=1)),
    ("withdrawals, which no other stream has", a_journal("memory", lambda j: j[0].change("07", -1, of=WITHDRAWN, actor="CN=Monitor"))),
    ("a change that does not find what was before it", a_journal("memory", lambda j: j[0].append(
        CHANGE, site="07", by=[0, 1, 0, 0], before=[0, 5, 0, 0], actor="CN=Monitor"))),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_it_cannot_have_lost_is_refused_whatever_the_mode_is_now(gateway, what, journal, now):
    journal.write(gateway.directory / "state")
    if what.startswith("one stream"):
        gateway.configuration["cores"] = 1
    said = run_with(gateway, now)
    assert "site \"07\"" in said.lower(), said


def ends_after_a_failed_sync(j):
    """Stream 0 ends in order, and names nobody else: stream 1 had not synced what it had answered."""
    j[0].append(STOP, actor="postern", detail="heads").commit()


def test_an_end_behind_a_failed_sync_is_none_to_the_start_nor_to_who_verifies(gateway):
    lowered(ends_after_a_failed_sync).write(gateway.directory / "state")
    assert any("the next start makes it good" in fault["what"] for fault in verify(gateway.directory / "state")["faults"])
    gateway.configuration["count"] = {"durability": "always"}
    with gateway.serving():
        assert "recorded as raised by postern" in gateway.said() and count(gateway, "07") == 0
    assert verify(gateway.directory / "state")["sound"]


def test_where_nobody_knows_how_it_was_written_the_word_now_decides(gateway):
    a_journal(None).write(gateway.directory / "state")
    assert "start once with it" in run_with(gateway, "always")
    gateway.configuration["count"] = {"durability": "everysec"}
    with gateway.serving():
        assert count(gateway, "07") == 0
    gateway.configuration["count"] = {"durability": "always"}
    with gateway.serving():
        assert count(gateway, "07") == 0


def test_a_death_before_it_is_made_good_changes_nothing(gateway):
    """The raises stand before the start's own record; here the last run's are torn off, as a power cut may leave it."""
    j = a_journal("memory", lambda j: j[0].change("07", -3, actor="CN=Monitor").change("08", -2, actor="CN=Monitor"))
    j[0].change("07", 1, actor="postern", reason=LOST).commit()
    j.write(gateway.directory / "state")
    gateway.configuration["count"] = {"durability": "always"}
    with gateway.serving():
        assert (count(gateway, "07"), count(gateway, "08")) == (0, 0)
    verified = verify(gateway.directory / "state")
    assert verified["sound"] and sum("made good by record" in note for note in verified["notes"]) == 2, verified


def many_lost(sites):
    """Nobody knows what was raised at so many sites; all of them were lowered by one. To make one good takes some 245 bytes."""
    names = [f"{i:05}".ljust(64, "s") for i in range(sites)]
    j = a_journal("memory", lambda j: None)
    for i, name in enumerate(names):
        j[0].change(name, -1, actor="a")
        if i % 1000 == 999:
            j[0].commit()
    j[0].commit()
    return j, names


@pytest.mark.parametrize("durability", ["always", "memory"])
def test_more_than_may_wait_for_the_disk_is_made_good_by_one_start(gateway, durability):
    j, names = many_lost(40_000)
    j.write(gateway.directory / "state")
    gateway.configuration["count"] = {"durability": durability, "segment": "4M"}
    with gateway.serving():
        assert "missing at 40000 sites" in gateway.said()
        assert gateway.ask("POST", "/count", b"siteId=" + names[-1].encode(), [("Content-Type", "application/x-www-form-urlencoded")]).status == 200
        assert (count(gateway, names[0]), count(gateway, names[-1])) == (0, 1)
    with gateway.serving():
        assert "recorded as raised" not in gateway.said(), "it is made good once"
        assert (count(gateway, names[0]), count(gateway, names[-1])) == (0, 1)
    verified = verify(gateway.directory / "state", 10 * PATIENCE_S)
    assert verified["sound"] and sum("made good by record" in note for note in verified["notes"]) == len(names)


def test_who_asks_first_reads_nothing_below_zero(gateway):
    """The ports are open before any core runs, so these questions are there when the first turn begins."""
    j, names = many_lost(30_000)
    j.write(gateway.directory / "state")
    gateway.spawn()

    def dialled():
        try:
            return gateway.connect()
        except OSError:
            return None

    wires = [eventually(dialled, "the port is open")]
    wires += [gateway.connect() for _ in range(15)]
    for wire in wires:
        wire.send(f"GET /count?siteId={names[-1]} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert [json.loads(wire.response().body)["count"] for wire in wires] == [0] * len(wires)
    gateway.stop()


def test_where_it_cannot_be_made_good_nobody_is_served(gateway):
    """The file may not grow by a byte; when it may, the next start makes it good."""
    a_journal("memory", lambda j: j[0].change("07", -3, actor="CN=Monitor", reason="r" * 500)).write(gateway.directory / "state")
    gateway.configuration["count"] = {"durability": "everysec"}
    gateway.write()
    before = {name: data for name, data in files_of(gateway).items() if "/journal/00/" in name}
    room = max(len(data) for data in before.values())
    # Python's own disposition, to ignore SIGXFSZ, is inherited.
    running = subprocess.Popen([BINARY, "run", "-c", gateway.path], cwd=gateway.directory, stderr=subprocess.PIPE, text=True, restore_signals=False,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    try:
        said = running.communicate(timeout=PATIENCE_S)[1]
    finally:
        running.kill()
    assert running.returncode == 1 and "what was lost cannot be recorded" in said, (running.returncode, said)
    assert before.items() <= files_of(gateway).items(), "stream 0 was changed"
    with gateway.serving():
        assert count(gateway, "07") == 0
    assert verify(gateway.directory / "state")["sound"]


# ---- what posternctl says of such journals --------------------------------------------------------------------


def good(j, site="07", by=1, **values):
    return j[0].change(site, by, **{"actor": "postern", "reason": LOST, **values})


def begins(j, more=" lost_by_choice_sites 1", durability="always"):
    j[0].append(START, actor="postern", detail=f"version 1.0.0 cores {len(j.streams)} configuration 00 durability {durability}{more}").commit()


def lowered(*steps, durability="memory", **more):
    """The journal that a power cut left, and what came behind it."""
    j = a_journal(durability, **more)
    for step in steps:
        step(j)
    j[0].commit()
    return j


@pytest.mark.parametrize("what, journal, notes", [
    ("at once", lowered(good, begins), 1),
    ("of a version that did not tell how it wrote", lowered(good, begins, durability=None), 1),
    ("of two sites", lowered(good, lambda j: good(j, "08", 2), lambda j: begins(j, " lost_by_choice_sites 2"),
                             lower=lambda j: j[0].change("07", -3, actor="a").change("08", -3, actor="a")), 2),
    ("behind an end that does not name the stream whose sync had failed", lowered(ends_after_a_failed_sync, good, begins), 1),
    ("in parts", lowered(good, lambda j: good(j, by=2), begins, lower=lambda j: j[0].change("07", -5, actor="a")), 1),
    ("by a start that ended before its own record", lowered(good), 1),
    ("and told by the start after that one", lowered(good, lambda j: begins(j, "")), 1),
    ("in a start whose heads take several records", lowered(good, begins, lambda j: j[0].append(START, actor="postern", detail="heads")), 1),
    ("where another stream has raised again", lowered(lambda j: j[1].change("07", 1, actor="a"), good, begins,
                                                      lower=lambda j: j[0].change("07", -4, actor="a")), 1),
    ("of what withdrawals rested on", lowered(good, begins, lower=lambda j: j[0].change("07", 3, of=WITHDRAWN, actor="a")), 1),
    ("of screenings", lowered(lambda j: good(j, of=SCREENED), begins, lower=lambda j: j[0].change("07", -1, of=SCREENED, actor="a")), 1),
    ("at a site that was closed", lowered(lambda j: j[0].append(RULES, site="07", status=2, cap=0, rule_changes=1, actor="a"), good, begins), 1),
    ("twice", lowered(good, lambda j: begins(j, durability="everysec"), lambda j: j[0].change("07", -2, actor="a"),
                      lambda j: good(j, by=2), begins), 2),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_start_made_good_is_told_and_is_no_fault(tmp_path, what, journal, notes):
    verified = verify(journal.write(tmp_path))
    assert verified["sound"], verified
    assert sum("made good by record" in note for note in verified["notes"]) == notes, verified


@pytest.mark.parametrize("says, what, journal", [
    ("is -1 after it", "nothing made it good yet", lowered()),
    ("the next start makes it good", "and that is to come", lowered()),
    ("is -1 after it", "a start did not make it good", lowered(lambda j: begins(j, ""))),
    ("is -1 after it", "too little of it", lowered(good, begins, lower=lambda j: j[0].change("07", -4, actor="a"))),
    ("was not missing", "too much of it", lowered(lambda j: good(j, by=2), begins)),
    ("was not missing", "another kind", lowered(good, lambda j: good(j, of=SCREENED), begins)),
    ("was not missing", "a lowering", lowered(lambda j: good(j, by=-1), begins)),
    ("miss nothing", "where nothing was missing", lowered(good, lambda j: good(j, "08"), begins)),
    ("miss nothing", "whose run had waited for syncs", lowered(good, begins, durability="always")),
    ("miss nothing", "whose run had ended in order, when all was synced", lowered(good, begins, end=True)),
    ("miss nothing", "whose run had ended in order, as two records say together", lowered(
        lambda j: j[0].append(STOP, actor="postern", detail="heads " + j[1].head),
        lambda j: j[0].append(STOP, actor="postern", detail="heads " + j[2].head), good, begins, streams=3)),
    ("miss nothing", "in a journal of one stream", lowered(good, begins, streams=1)),
    ("no start follows", "while it ran", lowered(good, lambda j: j[0].change("07", 1, actor="a"), begins)),
    ("no start follows", "before an end", lowered(good, lambda j: j[0].append(STOP, actor="postern", detail="heads"))),
    ("what 2 sites had lost", "at fewer sites than its start says", lowered(good, lambda j: begins(j, " lost_by_choice_sites 2"))),
    ("what 1 sites had lost", "which its start alone says", lowered(lambda j: j[1].change("07", 1, actor="a"), begins)),
    ("is -1 after it", "somebody else raised it", lowered(lambda j: good(j, actor="CN=Monitor"), begins)),
    ("is -1 after it", "somebody else raised it in that name", lowered(lambda j: good(j, address="127.0.0.1:1"), begins)),
    ("is -1 after it", "for another reason", lowered(lambda j: good(j, reason="because"), begins)),
    ("withdrawn of this site is -1", "withdrawals, which no other stream has", lowered(
        lambda j: good(j, of=WITHDRAWN), begins, lower=lambda j: j[0].change("07", -1, of=WITHDRAWN, actor="a"))),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_made_good_just_so_stays_a_fault(tmp_path, says, what, journal):
    verified = verify(journal.write(tmp_path))
    assert not verified["sound"] and any(says in fault["what"] for fault in verified["faults"]), verified


def test_the_trail_shows_for_people_what_was_made_good(tmp_path):
    state = lowered(good, begins).write(tmp_path)
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "--state", state], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done
    assert "made good: enrolled +1 (-1 → 0)" in done.stdout and ", sites made good: 1" in done.stdout and LOST in done.stdout, done.stdout
