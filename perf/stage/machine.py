"""perf/stage/machine.py: the machine, its processors, and what processes have had of them.

Times are CPU seconds, memory is bytes. All comes from /proc, whose ticks are a hundredth of a second: a measurement of a second is
good to one per cent.
"""
import functools
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
DEPS = pathlib.Path(os.environ.get("POSTERN_DEPS", TREE / "deps")).absolute()
SERVER_CORE, LOAD_CORE = "0", "1"
PATIENCE_S = 60
ENDED = "ended before its time"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(SystemExit):
    """A sentence. Whoever runs several rows goes on with the next one; else the program ends with it."""


def fail(text):
    raise Failed(f"perf/{pathlib.Path(sys.argv[0]).name}: {text}")


def end_cleans_up():
    """An end asked for is an end like others: what was started is ended, what was made is removed. A terminal that is closed asks by
    SIGHUP; nohup has it ignored, and so it stays. While that goes on nobody can ask again and interrupt it."""
    asking = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]

    def asked(*_):
        for each in asking:
            signal.signal(each, signal.SIG_IGN)
        fail(ENDED)
    for each in asking:
        signal.signal(each, asked)


def alone():
    """Two at once would measure each other, and share ports: servers let the next process of the same user listen beside
    them. Whoever holds what this returns is the only one."""
    only_one = socket.socket(socket.AF_UNIX)
    try:
        only_one.bind("\0postern-perf")
    except OSError:
        fail("another one is measuring on this machine: one at a time")
    return only_one


def descriptors():
    """As many as are allowed without asking; HAProxy counts two for a connection, and does not start with fewer."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = hard if 0 < hard < 1 << 20 else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files


def described():
    """For whoever reads the figures: on what they were taken."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    virtual = subprocess.run(["systemd-detect-virt"], capture_output=True, text=True) if os.path.exists("/usr/bin/systemd-detect-virt") else None
    memory = int(re.search(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1])
    return {"processor": model[1] if model else os.uname().machine, "processors": os.cpu_count(),
            "virtual": ("hypervisor" in cpuinfo) if not virtual else virtual.stdout.strip() != "none",
            "memory_mib": memory // 1024, "kernel": f"{os.uname().sysname} {os.uname().release}"}


def commit():
    """Of the tree, with -dirty where it is not as committed, kept runs aside; None: there is no git here, or it knows nothing of this tree."""
    def git(*words):
        return subprocess.run(["git", "-C", TREE, *words], capture_output=True, text=True, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(TREE.parent)})

    try:
        found = git("rev-parse", "--short=12", "HEAD")
        changed = git("diff", "--quiet", "HEAD", "--", ".", ":!perf/results")
    except FileNotFoundError:
        return None
    return found.stdout.strip() + ("-dirty" if changed.returncode else "") if found.returncode == 0 else None


# ---- processes -----------------------------------------------------------------------------------

GONE = (FileNotFoundError, ProcessLookupError)


def of_the_living(look):
    """A look at a process that has crashed meanwhile is a sentence, and no traceback."""
    @functools.wraps(look)
    def looked(pid):
        try:
            return look(pid)
        except GONE:
            fail(f"process {pid}, or one of its own, is gone: nothing is known of it any more")
    return looked


@of_the_living
def tree_of(pid):
    """Parents before their children."""
    pids = [pid]
    for parent in pids:
        for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
            try:
                pids += [int(word) for word in (task / "children").read_text().split()]
            except GONE:
                pass                                  # a thread that has ended since it was listed: io-wq's come and go
    return pids


def kill_tree(process):
    """At once, and with its children: a master that is killed alone leaves its workers behind. It goes first, and makes no new ones."""
    try:
        pids = tree_of(process.pid)
    except Failed:
        pids = []
    process.kill()
    for pid in pids[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def interrupted(process, who):
    """What it says at its end, which SIGINT asks for."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=PATIENCE_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        fail(f"{who} does not end")


def user_system_seconds(path):
    """Of a file stat, of a process or of one of its threads."""
    fields = pathlib.Path(path).read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def stat_seconds(path):
    return sum(user_system_seconds(path))


@of_the_living
def cpu_seconds(pid):
    """The whole tree. Threads that the kernel makes for a process (io-wq, which syncs files) are threads of it, and are in."""
    return sum(stat_seconds(f"/proc/{child}/stat") for child in tree_of(pid))


@of_the_living
def thread_seconds(pid):
    return {task.name: stat_seconds(task / "stat") for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def core_busy_seconds(core):
    """What all processes have had of a core: the less is ours, the less a figure is worth."""
    line = re.search(rf"^cpu{core} (.*)$", pathlib.Path("/proc/stat").read_text(), re.M)[1]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in line.split()[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


@of_the_living
def memory_bytes(pid):
    """What belongs to the tree: pages of its own, and its share of pages that several have."""
    return 1024 * sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{child}/smaps_rollup").read_text(), re.M)[1])
                      for child in tree_of(pid))


def kernel_bytes():
    """Slab of the whole machine: sockets of both ends, epoll items, ring requests."""
    return 1024 * int(re.search(r"^Slab:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1])


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def insist_free(port):
    """A listener outlives a killed process for a moment where the kernel still ends what its ring had under way."""
    until = time.monotonic() + 3
    while listens(port):
        if time.monotonic() > until:
            fail(f"port {port} is taken, and a figure would be about whoever took it")
        time.sleep(0.02)


def pinned(cores, words, *command, **options):
    """Started on these cores; with --ahead as a session of its own, because it is sessions among which Linux divides a core first."""
    process = subprocess.Popen(["taskset", "-c", cores, *map(str, command)], start_new_session=words.ahead, **options)
    if words.ahead:
        try:
            pathlib.Path(f"/proc/{process.pid}/autogroup").write_text("-15")
        except FileNotFoundError:
            os.setpriority(os.PRIO_PROCESS, process.pid, -15)    # a kernel that does not
    return process


def syncs_per_second(directory, seconds=0.5):
    """What the disk can do: 4 KiB more and fdatasync, one after the other."""
    count, until = 0, time.monotonic() + seconds
    with open(directory / "syncs", "wb", buffering=0) as file:
        while time.monotonic() < until:
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            count += 1
    os.unlink(directory / "syncs")
    return count / seconds
