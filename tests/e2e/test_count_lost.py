"""A power cut took what durability did not wait for: raises of one stream, while stream 0 kept what lowered them.

The journals are written by journal_files.py. What the weaker modes may lose is made good once, and the trail says so; afterwards any
durability starts. What they cannot lose is refused, and stays as it is.
"""
import json
import subprocess
import sys

import pytest

from gateway import BINARY, POSTERNCTL, Gateway
from journal_files import CHANGE, START, STOP, WITHDRAWN, Journal
from wire import PATIENCE_S

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
        j[0].append(STOP, actor="postern", detail="heads").commit()
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
    for durability in ("always", "everysec", "always"):
        gateway.configuration["count"] = {"durability": durability}
        with gateway.serving():
            assert "recorded as raised" not in gateway.said(), "it is made good once"
            assert (count(gateway, "07"), count(gateway, "08")) == (0, 1)
    assert trail(gateway).count("raises before a power cut") == 1


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
    j[0].change("07", 1, actor="postern", reason="raises before a power cut").commit()
    j.write(gateway.directory / "state")
    gateway.configuration["count"] = {"durability": "always"}
    with gateway.serving():
        assert (count(gateway, "07"), count(gateway, "08")) == (0, 0)
