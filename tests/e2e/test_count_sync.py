"""What lowers a count is decided when what it lowers is on the disk: in the weaker modes the other cores sync first."""
import json
import signal
import subprocess
import sys

from count_clients import JSON, ROUTES, json_bytes
from gateway import POSTERNCTL, SLOW
from wire import PATIENCE_S, request_bytes


def on_core(gateway, core):
    """A connection to this one of two cores."""
    for _ in range(200):
        before = gateway.stats()["cores"][1]["connections"]["accepted"]
        wire = gateway.connect()
        assert wire.ask("GET", "/count?siteId=s").status == 200
        if (gateway.stats()["cores"][1]["connections"]["accepted"] > before) == (core == 1):
            return wire
        wire.close()
    raise AssertionError(f"no connection comes to core {core}")


def enrol_bytes(by, site="s", key=None, reason="test"):
    fields = [] if key is None else [("Idempotency-Key", f'"{key}"')]
    return request_bytes("POST", f"/sites/{site}/enrolments", json_bytes(by=by, reason=reason), [*fields, JSON])


def told(wire):
    answer = wire.response()
    return answer.status, json.loads(answer.body).get("error")


def enrol(wire, by, **more):
    wire.send(enrol_bytes(by, **more))
    return told(wire)


def count(gateway, site="s"):
    return json.loads(gateway.ask("GET", f"/count?siteId={site}").body)["count"]


def syncs(gateway):
    return [core["journal"]["syncs"] for core in gateway.stats()["cores"]]


def test_what_another_core_raised_is_synced_before_it_is_lowered(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=2, count={"durability": "memory"})
    here, other = on_core(gateway, 0), on_core(gateway, 1)
    assert [enrol(other, 1) for _ in range(3)] == [(200, None)] * 3
    before = syncs(gateway)
    assert enrol(here, -3) == (200, None) and count(gateway) == 0
    assert syncs(gateway) == [before[0], before[1] + 1]
    assert gateway.total()["count"]["syncs"] == 1 and gateway.total()["count"]["recalls"] == 0
    # What was decided on core 0 itself stands in its own stream, before what lowers it.
    assert enrol(here, 2, key="k") == (200, None) and enrol(other, -2) == (200, None)
    assert syncs(gateway) == [before[0], before[1] + 1]
    gateway.at_rest()


def test_where_another_stream_has_failed_only_what_lowers_it_is_refused(start_gateway):
    """The files may grow no further, and only that of core 1 would."""
    gateway = start_gateway(routes=ROUTES, cores=2, count={"durability": "memory"}, start=False)
    gateway.before = ["prlimit", "--fsize=10001:10001", "--"]
    gateway.start()
    here, *behind = [on_core(gateway, 0) for _ in range(4)]
    other = on_core(gateway, 1)
    raised = 0
    while (answer := enrol(other, 1, reason="r" * 500)) == (200, None):
        raised += 1
    assert answer == (503, "journal_failed") and 5 < raised < 20
    # All of them are there when core 0 looks, so that some wait while core 1 is asked.
    gateway.signal(signal.SIGSTOP)
    here.send(enrol_bytes(-raised))
    for number, wire in enumerate(behind):
        wire.send(enrol_bytes(1, key=f"k{number}"))
    gateway.signal(signal.SIGCONT)
    assert told(here) == (503, "journal_failed")
    assert [told(wire) for wire in behind] == [(200, None)] * len(behind)
    assert gateway.total()["count"]["syncs"] == 1
    # What core 0 decided may be lowered, and no more than that.
    assert enrol(here, -len(behind)) == (200, None) and enrol(here, -1) == (503, "journal_failed")
    assert count(gateway) == raised
    gateway.at_rest()
    gateway.hang_up()
    gateway.signal(signal.SIGTERM)
    gateway.wait()
    assert not gateway.reports(), gateway.reports()
    gateway.before = []
    gateway.start()
    assert count(gateway) == raised
    gateway.stop()
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "verify", "--state", gateway.directory / "state"], capture_output=True,
                          text=True, timeout=PATIENCE_S * SLOW)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
