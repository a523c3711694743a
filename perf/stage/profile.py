"""perf/stage/profile.py: where a server's CPU time goes: samples taken by perf, and whose work each of them is.

A sample is its chain of (function, object), the innermost first. A layer of the user's side is said by the object and, inside the
program itself, by the source that the function is from; a layer of the kernel by the innermost function of the chain that KERNEL
knows, because a leaf such as a spin lock belongs to whoever took it.
"""
import collections
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess

from stage.machine import DEPS, LOAD_CORE, PATIENCE_S, TREE, fail, interrupted, pinned, tree_of

# The first that matches a function counts; functions are asked from the innermost outwards.
KERNEL = [(layer, re.compile(pattern)) for layer, pattern in (
    ("memory, copying", r"copy_(to|from)_iter|copy_(to|from)_user|copy_page|^rep_movs|^mem(cpy|set|move)|clear_page|page_fault|handle_mm|^_*k?free$|^k(v|z)?m?alloc|"
                        r"^__kmalloc|kmem_cache|slab|^_*alloc_(skb|pages)|alloc_pages|free_(unref|frozen|pages|large)|page_frag|^_*k?free_skb|skb_release|"
                        r"^skb_free|mem_cgroup|obj_cgroup|folio|put_page|skb_attempt_defer"),
    ("wake-ups, scheduling", r"wake_?up|^_*schedule|schedule_timeout|sock_def_(readable|write)|ep_poll_callback|io_poll_wake|sk_stream_write_space|"
                             r"^ttwu|enqueue_task|dequeue_|pick_next|context_switch|finish_task_switch|futex|_switch_to|task_work_add|resched|nanosleep"),
    ("accept, connect, close", r"accept|tcp_v4_connect|inet_.*connect|tcp_conn_request|tcp_check_req|syn_recv|tcp_rcv_state_process|^_*tcp_close|inet_release|"
                               r"inet_shutdown|tcp_shutdown|^_*fput|sock_close|sk_(clone|destruct|prot_alloc)|^_*sys_(socket|close)|^_*sock_create|io_socket|"
                               r"tcp_time_wait|tcp_fin"),
    ("loopback, the other end", r"tcp_v4_rcv|^ip_(local_deliver|rcv|protocol_deliver)|netif_receive|net_rx_action|process_backlog|tcp_v4_do_rcv|"
                                r"tcp_rcv_established|napi_poll"),
    ("send", r"tcp_sendmsg|tcp_write_xmit|tcp_push|tcp_transmit|sock_sendmsg|inet_sendmsg|io_send|sys_send|sock_write_iter|ip_output|ip_queue_xmit|"
             r"dev_queue_xmit|loopback_xmit|tcp_send|skb_splice|^do_writev|tcp_stream_alloc|sys_write|^vfs_writev"),
    ("receive", r"tcp_recvmsg|sock_recvmsg|inet_recvmsg|^io_recv|sys_recv|sock_read_iter|tcp_cleanup_rbuf|tcp_rcv_space|skb_copy_datagram|tcp_eat|tcp_splice_read|"
                r"sys_read|^do_readv"),
    ("disk", r"ext4|xfs|btrfs|overlay|ovl_|fsync|fdatasync|submit_bio|blk_|iomap|^vfs_write$|io_write|jbd2"),
    ("io_uring, epoll", r"^_*io_|io_uring|tctx_task_work|^ep_|epoll|fget|fdget"),
)]
LIBRARIES = [(layer, re.compile(pattern)) for layer, pattern in (
    ("libcrypto", r"libcrypto"), ("libssl", r"libssl"), ("zlib", r"libz\b"), ("jemalloc", r"libjemalloc"),
    ("libc", r"/(libc|ld-linux|libm|libpthread)\b|vdso"))]
ARCHIVES = {"libmbedtls.a": "mbedTLS", "libmbedx509.a": "mbedTLS", "libmbedcrypto.a": "mbedTLS", "libllhttp.a": "llhttp", "liburing.a": "liburing"}
FOLDERS = ("ring", "tls", "ws", "cache", "gateway")


class Recorder:
    """Samples a process tree from start() until end()."""

    def __init__(self, file, frequency, words):
        self.file, self.frequency, self.words, self.process = file, frequency, words, None

    def start(self, pid):
        if not shutil.which("perf"):
            fail("perf is not here, and nobody else can sample: apt-get install linux-perf")
        pids = ",".join(map(str, tree_of(pid)))
        # It says when it watches: on a busy machine it may take its time, and the work would be over.
        order, orders = os.pipe()
        answers, answer = os.pipe()
        self.pipes = orders, answers                  # open until the end: perf takes a closed one for a mistake
        try:
            self.process = pinned(
                LOAD_CORE, self.words, "perf", "record", "-q", "-e", "cpu-clock", "-F", self.frequency, "-g", "-o", self.file, "-p",
                pids, "-D", "-1", f"--control=fd:{order},{answer}", pass_fds=(order, answer),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        finally:
            os.close(order)
            os.close(answer)
        if not self.watches():
            self.process.kill()
            said = self.process.communicate()[1].strip()
            self.pipes_close()
            fail(f"perf does not watch (it wants root): {said}")

    def watches(self):
        orders, answers = self.pipes
        try:
            os.write(orders, b"enable\n")
        except BrokenPipeError:                       # it has ended
            return False
        return select.select([answers], [], [], PATIENCE_S)[0] and os.read(answers, 16)

    def pipes_close(self):
        for each in self.pipes:
            os.close(each)

    def end(self):
        try:
            said = interrupted(self.process, "perf, which samples,")
        finally:
            self.pipes_close()
        if self.process.returncode not in (0, -signal.SIGINT):    # having written all, it ends by the signal
            fail(f"perf ended with {self.process.returncode}: {said.strip()}")

    def chains(self):
        said = subprocess.run(["perf", "script", "-i", self.file, "-F", "comm,ip,sym,dso", "--no-inline"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=4 * PATIENCE_S)
        return chains(said.stdout)


def chains(text):
    """Of perf script's text: a list of frames for each sample."""
    found = []
    for block in text.split("\n\n"):
        frames = re.findall(r"^\s+[0-9a-f]+ (.*) \((.*?)\)$", block, re.M)
        if frames:
            found.append(frames)
    return found


def folders(symbols, archives, root=str(TREE)):
    """Function: where it is from; of nm -l's lines of the program, and nm's of each library that is linked into it."""
    found = {}
    for layer, text in archives:
        for name in re.findall(r"^[0-9a-f]+ [tTwW] (\S+)", text, re.M):
            found[name] = {layer}
    for name, path in re.findall(r"^[0-9a-f]+ [tTwW] (\S+)\t(\S+):\d+$", symbols, re.M):
        folder = next((part for part in path.replace(root, "", 1).split("/") if part in FOLDERS), None)
        if folder:
            found.setdefault(name, set()).add(folder)
    return {name: "/".join(sorted(where)) for name, where in found.items()}


def folders_of(program):
    def nm(*words):
        return subprocess.run(["nm", "--defined-only", *map(str, words)], capture_output=True, text=True, check=True).stdout
    return folders(nm("-l", program), [(layer, nm(DEPS / "lib" / name)) for name, layer in ARCHIVES.items() if (DEPS / "lib" / name).exists()])


def is_kernel(dso):
    return dso.startswith("[") and "vdso" not in dso


def layer_of(frames, program, where):
    """Whose work a sample is: ("kernel" | "library" | "ours", layer)."""
    name, dso = frames[0]
    if is_kernel(dso):
        for function, of in frames:
            if is_kernel(of):
                for layer, pattern in KERNEL:
                    if pattern.search(function):
                        return "kernel", layer
        return "kernel", "other"
    for layer, pattern in LIBRARIES:
        if pattern.search(dso):
            return "library", layer
    if pathlib.PurePath(dso).name == program:
        layer = where.get(name) or where.get(name.split(".")[0], program)
        return ("library" if layer in ARCHIVES.values() else "ours"), layer
    return "library", pathlib.PurePath(dso).name


class Profile:
    def __init__(self, chains_, program, where):
        self.samples = len(chains_)
        self.layers, self.functions, self.sides = collections.Counter(), collections.Counter(), collections.Counter()
        for frames in chains_:
            side, layer = layer_of(frames, program, where)
            self.sides[side] += 1
            self.layers[side, layer] += 1
            self.functions[side, layer if side != "kernel" else "kernel", frames[0][0]] += 1

    def told(self, cpu_us, unit, top):
        """For a person; cpu_us may be None."""
        def line(count, words):
            share = count / self.samples
            return f"  {100 * share:5.1f} %  " + (f"{share * cpu_us:9.2f} µs  " if cpu_us else "") + words
        lines = [f"{self.samples} samples" + (f", {cpu_us:.2f} µs of CPU a {unit}" if cpu_us else "")]
        for side in ("kernel", "library", "ours"):
            lines.append(line(self.sides[side], side))
            lines += [line(count, f"    {layer}") for (of, layer), count in self.layers.most_common() if of == side]
        for words, sides in (("of ours", ("ours",)), ("of all", ("kernel", "library", "ours"))):
            lines.append(f" the first {top} {words}")
            lines += [line(count, f"{function} ({layer})") for (_, layer, function), count in
                      [each for each in self.functions.most_common() if each[0][0] in sides][:top]]
        return "\n".join(lines)
