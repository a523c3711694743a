"""perf/stage/measures.py: how one figure is taken: one contestant, one round.

A measure is called as measure(stage, row, words, contestant, context) and gives a dictionary; which of these there are depends on the row:

    cpu_us      server CPU time for a unit, µs            rate       units a second
    p50_us p99_us p999_us   of a unit                     bytes      of memory for each
    last_us     until the last one had it                 capacity   units a second that the cores' CPU time is good for
    both_cpu_us the load's CPU time with the server's, for a unit
    server others load service   shares of a core: the server's own of its core; processes' there that have nothing to do with it; the
                load's and the service's of theirs
    notes       what is told beside it                    faults     why this figure is not about the row's work
"""
import os
import statistics
import time

from stage.counts import raise_sites
from stage.load import Calls, Load
from stage.machine import (SERVER_CORE, core_busy_seconds, cpu_seconds, fail, kernel_bytes, memory_bytes, syncs_per_second,
                           thread_seconds)
from stage.servers import PLAIN, TLS

PUSHES = 7
STORM_LEAD_S = 0.3


def load_arguments(row, words, contestant, **changes):
    row = {**row, **{key: value for key, value in contestant.items() if key in ("path", "work")}, **changes}
    ports, plain = (PLAIN, ["--plain"]) if row.get("plain") else (TLS, [])
    version = row.get("version", words.version)
    # RFC 8422 section 5.1.1: in TLS 1.2 the groups a client names are also the curves of certificates that it takes.
    groups = "X25519:P-256" if version == "1.2" and words.group == "X25519" else words.group
    return [row["work"], "--port", ports[contestant["server"]], "--path", row.get("path", "/"), "--clients", changes.get("clients") or words.clients or row["clients"],
            *(plain or ["--version", version, "--groups", groups]),
            *(["--posts-of-ten", row["posts"], "--sites", words.sites] if "posts" in row else []), *row.get("flags", [])]


class Watch:
    """What the server, the service and the others have had, from now until end(). Of several in one measure the last one that is sampled
    is what perf/profile tells of: it has one file."""

    def __init__(self, stage, server, core=SERVER_CORE, sampled=True):
        self.stage, self.server, self.core = stage, server, core
        self.recorder = stage.recorder if sampled else None
        if self.recorder:
            self.recorder.start(stage.pid(server))
        self.before, self.then = self.look(), time.monotonic()

    def look(self):
        upstream = cpu_seconds(self.stage.pid("upstream")) if "upstream" in self.stage.processes else 0
        return cpu_seconds(self.stage.pid(self.server)), upstream, core_busy_seconds(self.core)

    def end(self, load_s, seconds=None):
        until = time.monotonic()
        self.server_s, service_s, core_s = (now - before for now, before in zip(self.look(), self.before))
        if self.recorder:
            self.recorder.end()
        seconds = seconds or until - self.then
        return {"server": self.server_s / seconds, "others": max(core_s - self.server_s, 0) / seconds, "load": load_s / seconds,
                "service": service_s / seconds}


def times(told):
    return {key: told[key] for key in ("p50_us", "p99_us", "p999_us")}


def begin(stage, row, words, contestant, *more, **changes):
    arguments = load_arguments(row, words, contestant, **changes)
    raise_sites(stage, row, words, contestant, arguments)
    load = Load(words, *arguments, "--seconds", words.seconds, "--warm", words.warm, *more)
    load.line()                                       # "ready": nothing is in flight
    time.sleep(0.05)                                  # what the server still does about the last goodbyes
    return load


def work(stage, row, words, contestant, context):
    """CPU time of a unit; the load asks as fast as it is answered."""
    load = begin(stage, row, words, contestant)
    watch = Watch(stage, contestant["server"])
    load.go()
    told = load.told()
    time.sleep(0.05)
    shares = watch.end(told["cpu_s"], told["seconds"])
    load.end()
    if told["units"] == 0 or watch.server_s == 0:
        fail(f"{contestant['server']} did nothing that could be measured: {told['units']} units in {watch.server_s} s")
    notes, faults = [], []
    shaken = told["full"] + told["resumed"]
    if told["key_exchange"] not in ("", words.group):
        faults.append(f"keys by {told['key_exchange']}")
    if row["work"] == "connections":
        notes.append(f"{told['tickets'] / max(shaken, 1):.1f} tickets each")
        share = told["resumed"] / max(shaken, 1)
        if share < 0.99 if "--resume" in row.get("flags", []) else share > 0:
            faults.append(f"{100 * share:.1f} % of its handshakes were resumed: not the work of this row")
    return {"cpu_us": watch.server_s * 1e6 / told["units"], "rate": told["units"] / told["seconds"], **times(told), **shares,
            "notes": notes + faults, "faults": faults}


def calls(stage, row, words, contestant, context):
    """System calls of a unit, from a run of its own that is not timed, at the rate of which the row tells; None: nobody here can count them."""
    paced = ["--rate", f"{rate_of(context, middle(row['percents'])):.0f}"] if "percents" in row else []
    load = begin(stage, row, words, contestant, "--seconds", min(1, words.seconds), *paced)
    counter = Calls(stage.pid(contestant["server"]))
    load.go()
    told = load.told()
    counted = counter.end()
    load.end()
    if not counted or not told["units"]:
        return None
    return {"by": counter.by, **{key: count / told["units"] for key, count in counted.items()}}


# ---- at a rate that the clock says ---------------------------------------------------------------

def saturation(stage, row, words, contestants):
    """Before a round: what the slowest of them can do; then all are asked for the same."""
    each = {label: work(stage, row, words, contestant, None) for label, contestant in contestants.items()}
    slowest = min(each, key=lambda label: each[label]["rate"])
    return {"rate": each[slowest]["rate"], "says": f"{slowest} is the slowest, with {each[slowest]['rate']:.0f} {row['unit']}s/s: of this"}


def rate_of(context, percent):
    return context["rate"] * percent / 100


def middle(steps):
    """The one of which the row tells."""
    return steps[len(steps) // 2]


def at_rates(stage, row, words, contestant, context):
    """How long a unit takes from when it should have been asked for."""
    steps = []
    for percent in row["percents"]:
        rate = rate_of(context, percent)
        load = begin(stage, row, words, contestant, "--rate", f"{rate:.0f}")
        watch = Watch(stage, contestant["server"], sampled=percent == middle(row["percents"]))
        load.go()
        told = load.told()
        shares = watch.end(told["cpu_s"], told["seconds"])
        load.end()
        steps.append({"percent": percent, "rate": rate, **times(told), **shares, "owed": told["owed"],
                      "cpu_us": watch.server_s * 1e6 / max(told["units"], 1)})
    told_of = middle(steps)
    return {**{key: told_of[key] for key in ("p50_us", "p99_us", "p999_us", "cpu_us", "rate", "server", "others", "load", "service")},
            "steps": steps,
            "notes": [f"{step['percent']} %: p50 {step['p50_us'] / 1000:.2f}, p99 {step['p99_us'] / 1000:.2f}, p99.9 {step['p999_us'] / 1000:.2f} ms, "
                      f"CPU {step['cpu_us']:.2f} µs" + (f", {step['owed']} never begun" if step["owed"] else "") for step in steps]}


# ---- cores ---------------------------------------------------------------------------------------

def load_cores(count):
    """Where the load of `count` cores runs: beside them where the machine has four processors, else on the same ones."""
    return [str(count_ + 2) for count_ in range(2)] if os.cpu_count() >= 4 else [str(core) for core in range(count)]


def cores(stage, row, words, contestant, context):
    """Units a second that the cores' CPU time is good for. A server has cores of its own in each round, so it is started anew."""
    server, count = contestant["server"], contestant["cores"]
    if server in stage.processes:
        stage.end(server)
    stage.start(server, cores=",".join(str(core) for core in range(count)))
    arguments = load_arguments(row, words, contestant)
    raise_sites(stage, row, words, contestant, arguments)
    loads = [Load(words, *arguments, "--seconds", words.seconds, "--warm", words.warm, core=core)
             for core in load_cores(count)]
    for load in loads:
        load.line()
    time.sleep(0.05)
    pid = stage.pid(server)
    before, busy, threads = cpu_seconds(pid), sum(core_busy_seconds(core) for core in range(count)), thread_seconds(pid)
    for load in loads:
        load.go()
    told = [load.told() for load in loads]
    server_s = cpu_seconds(pid) - before
    busy_s = sum(core_busy_seconds(core) for core in range(count)) - busy
    each = sorted((now - threads.get(name, 0) for name, now in thread_seconds(pid).items()), reverse=True)[:count]
    for load in loads:
        load.end()
    stage.end(server)
    units, seconds = sum(one["units"] for one in told), max(one["seconds"] for one in told)
    load_s = sum(one["cpu_s"] for one in told)
    cpu_us = server_s * 1e6 / units
    shared = load_cores(count)[0] == SERVER_CORE
    others_s = busy_s - server_s - (load_s if shared else 0)
    both_cpu_us = (server_s + load_s) * 1e6 / units

    def share(of_s):
        """Of one core, as in the other rows."""
        return of_s / seconds / count
    return {"cpu_us": cpu_us, "both_cpu_us": both_cpu_us, "capacity": count * 1e6 / cpu_us, "rate": units / seconds,
            "p50_us": max(one["p50_us"] for one in told), "p99_us": max(one["p99_us"] for one in told),
            "server": share(server_s), "others": share(max(others_s, 0)), "load": share(load_s), "service": 0,
            "notes": [f"server and load {both_cpu_us:.2f} µs CPU/{row['unit']}", "its threads " + " and ".join(f"{100 * one / seconds:.0f} %" for one in each),
                      "load on the same processors" if shared else "load on others"]}


# ---- connections that stay -----------------------------------------------------------------------

def fresh(stage, contestant):
    """Memory once used stays with a process: each round has a new one."""
    stage.end(contestant["server"])
    stage.start(contestant["server"])


def open_sockets(stage, row, words, contestant):
    """The load, with all its sockets open, and what opening them cost."""
    fresh(stage, contestant)
    server, clients = contestant["server"], words.clients or row["clients"]
    before, kernel_before, watch = memory_bytes(stage.pid(server)), kernel_bytes(), Watch(stage, server)
    load = Load(words, *load_arguments(row, words, contestant, work="sockets"))
    told = load.told()
    shares = watch.end(told["cpu_s"], told["seconds"])
    if told["connected"] != clients:
        fail(f"{server}: {told['connected']} of {clients} sockets are open")
    time.sleep(row.get("settle", 0))
    if row["headline"] == "bytes" and memory_bytes(stage.pid(server)) <= before:
        fail(f"{server} has no more memory than before: {clients} sockets are too few to see any")
    return load, {"cpu_us": watch.server_s * 1e6 / clients, "rate": told["units"] / told["seconds"], **shares,
                  "bytes": (memory_bytes(stage.pid(server)) - before) / clients,
                  "notes": [f"kernel {(kernel_bytes() - kernel_before) / clients / 1000:.1f} kB for all ends"]}


def opening(stage, row, words, contestant, context):
    load, result = open_sockets(stage, row, words, contestant)
    load.end()
    return result


def heartbeat(stage, row, words, contestant, context):
    """CPU time of a ping and its pong, over whole heartbeats: two, behind one that is not counted."""
    load, _ = open_sockets(stage, row, words, contestant)
    load.say(f"rest {words.heartbeat:g}")             # the first heartbeats come as the sockets did; then they are spread
    load.told()
    watch, seconds = Watch(stage, contestant["server"]), 2 * words.heartbeat
    load.say(f"rest {seconds:g}")
    told = load.told()
    shares = watch.end(told["cpu_s"], seconds)
    load.end()
    clients = words.clients or row["clients"]
    if told["connected"] != clients or told["ended_by_server"]:
        fail(f"{contestant['server']}: {told['connected']} of {clients} sockets are left, although all answered")
    if told["pings"] < clients:
        fail(f"{contestant['server']}: {told['pings']} pings in {seconds:g} s to {clients} sockets: no heartbeat of {words.heartbeat:g} s")
    return {"cpu_us": watch.server_s * 1e6 / told["pings"], "rate": told["pings"] / seconds, **shares,
            "notes": [f"{100 * watch.server_s / seconds:.1f} % of a core for all"]}


def push(stage, row, words, contestant, context):
    """Until the last socket has it; the median of some pushes, after one that does not count."""
    load, _ = open_sockets(stage, row, words, contestant)
    server, clients, each = contestant["server"], words.clients or row["clients"], []
    for number in range(PUSHES + 1):
        if number == 1:
            watch = Watch(stage, server)              # over all of them: one alone takes a few ticks of the clock
        load.say("push /push/all")
        told = load.told()
        if told["heard"] != clients:
            fail(f"{server}: {told['heard']} of {clients} sockets heard the push")
        time.sleep(0.1)
        each.append(told)
    watch.end(0)
    load.end()

    def median(key):
        return statistics.median(one[key] for one in each[1:])
    seconds = median("last_us") / 1e6
    return {"cpu_us": watch.server_s * 1e6 / (PUSHES * clients), "last_us": median("last_us"), "rate": clients / seconds, "p50_us": median("p50_us"),
            "load": median("cpu_s") / seconds, "notes": [
                f"first {median('first_us') / 1000:.1f}, answered {median('answered_us') / 1000:.1f}, last from "
                f"{min(one['last_us'] for one in each[1:]) / 1000:.1f} to {max(one['last_us'] for one in each[1:]) / 1000:.1f} ms"]}


def idle(stage, row, words, contestant, context):
    """Bytes of a connection that has asked once and says nothing more."""
    fresh(stage, contestant)
    server, clients = contestant["server"], words.clients or row["clients"]
    warm = Load(words, *load_arguments(row, words, contestant, clients=64))
    warm.told()
    warm.end()
    time.sleep(1)
    before, kernel_before = memory_bytes(stage.pid(server)), kernel_bytes()
    load = Load(words, *load_arguments(row, words, contestant))
    told = load.told()
    time.sleep(2)
    after, kernel_after = memory_bytes(stage.pid(server)), kernel_bytes()
    load.end()
    if told["units"] != clients:
        fail(f"only {told['units']} of {clients} connections were made within a minute: the machine is too busy")
    if told["connected"] != clients:
        fail(f"{server} kept {told['connected']} of {clients} connections")
    if after <= before:
        fail(f"{server} has no more memory than before: {clients} connections are too few to see any")
    return {"bytes": (after - before) / clients, "rate": told["units"] / told["seconds"],
            "notes": [f"process {after / 2**20:.0f} MiB in all", f"kernel {(kernel_after - kernel_before) / clients / 1000:.1f} kB for both ends"]}


# ---- a storm -------------------------------------------------------------------------------------

def storm(stage, row, words, contestant, context):
    """The 99th percentile of those who have nothing to do with the storm."""
    arguments = load_arguments(row, words, contestant, work="requests", clients=50, flags=["--rate", 2000, "--realtime"])
    calm = Load(words, *arguments, "--warm", 0.3, "--seconds", max(0.5, words.seconds / 2))
    calm.line()
    calm.go()
    calm_told = calm.told()
    calm.end()
    many = Load(words, *load_arguments(row, words, contestant), "--seconds", words.seconds + 1, "--warm", 0.3)
    many.line()
    load = Load(words, *arguments, "--warm", 0.3, "--seconds", words.seconds)
    load.line()
    many.go()
    time.sleep(STORM_LEAD_S)
    watch, many_s = Watch(stage, contestant["server"]), cpu_seconds(many.process.pid)
    load.go()
    told = load.told()
    many_s = cpu_seconds(many.process.pid) - many_s      # while the others asked, and not of its whole time: shares are of one span
    shares = watch.end(told["cpu_s"] + many_s)
    many_told = many.told(errors_allowed=True)
    load.end()
    many.end()
    notes = [f"calm p50 {calm_told['p50_us'] / 1000:.2f}, p99 {calm_told['p99_us'] / 1000:.2f} ms", f"max {told['max_us'] / 1000:.1f} ms"]
    if many_told["errors"]:
        notes.append(f"{many_told['errors']} refused: {many_told['first_error']}")
    return {**times(told), "rate": many_told["units"] / many_told["seconds"], **shares, "notes": notes}


# ---- a disk --------------------------------------------------------------------------------------

def disk(stage, row, words, contestants):
    """Before a round: what the disk can do, because it changes from minute to minute on a rented machine."""
    syncs = syncs_per_second(stage.directory)
    return {"syncs": syncs, "says": f"the disk: {syncs:.0f} writes of 4 KiB a second, each synced"}
