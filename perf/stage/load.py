"""perf/stage/load.py: perf-load, started and listened to; and the server's calls into the kernel, counted by somebody outside."""
import contextlib
import json
import pathlib
import re
import select
import shutil
import subprocess
import tempfile
import time

from stage.machine import LOAD_CORE, PATIENCE_S, TREE, fail, interrupted, pinned, tree_of


class Load:
    """perf-load: warm, then it waits for go(), tells what it saw, and keeps its connections until end()."""
    alive = set()

    def __init__(self, words, *arguments, core=LOAD_CORE):
        self.process = pinned(core, words, TREE / "build/perf/perf-load", *arguments, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
        Load.alive.add(self)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            fail(f"the load ended with {self.process.wait()}")
        return line

    def say(self, word):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            fail(f"the load ended with {self.process.wait()}")

    def go(self):
        self.say("go")

    def told(self, errors_allowed=False):
        told = json.loads(self.line())
        if told["errors"] and not errors_allowed:
            fail(f"{told['errors']} errors under load, the first: {told['first_error']}")
        return told

    def has_line(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def kill(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):    # of a word that it did not live to hear
            self.process.stdin.close()
        Load.alive.discard(self)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            fail("the load does not end")
        Load.alive.discard(self)

    @staticmethod
    def kill_all():
        for load in list(Load.alive):
            load.kill()


class Calls:
    """Counts the system calls of a process tree from now until end(). By the kernel's tracepoints where perf may use them, which costs
    the server next to nothing; by strace elsewhere, which stops it at every call: it is slower then, finds more to do at each
    turn, and calls less often for each unit than it would."""

    def __init__(self, pid):
        pids = tree_of(pid)
        self.by = Calls.way()
        self.process = self.file = None
        if self.by == "perf":
            self.process = subprocess.Popen(
                ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-e", "syscalls:sys_enter_io_uring_enter", "-p",
                 ",".join(map(str, pids))], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        elif self.by == "strace":
            self.file = tempfile.NamedTemporaryFile(prefix="postern-perf.", mode="r")
            self.process = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", self.file.name,
                                             *[word for each in pids for word in ("-p", str(each))]],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.4)                               # until it watches; nothing is in flight, so nothing is missed

    @staticmethod
    def way():
        if shutil.which("perf") and subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True).returncode == 0:
            return "perf"
        return "strace" if shutil.which("strace") else None

    def end(self):
        """All calls, and those of them that entered the ring; None: nobody counted."""
        if not self.process:
            return None
        said = interrupted(self.process, f"{self.by}, which counts calls,")
        if self.by == "perf":
            found = {line.split(",")[2].split(":")[1]: line.split(",")[0] for line in said.splitlines() if line.count(",") > 2}
            if not all(value.isdigit() for value in found.values()) or len(found) != 2:
                return None
            return {"all": int(found["sys_enter"]), "io_uring_enter": int(found["sys_enter_io_uring_enter"])}
        counts = {name: int(calls) for calls, name in re.findall(r"^\s*(\d+) (\w+)$", pathlib.Path(self.file.name).read_text(), re.M)}
        total = counts.pop("total", None) or sum(counts.values())
        return {"all": total, "io_uring_enter": counts.get("io_uring_enter", 0)}
