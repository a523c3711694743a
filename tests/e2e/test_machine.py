"""What the machine may refuse: each start ends with one sentence that names the cause and the remedy; and the service manager."""
import ctypes
import os
import resource
import socket
import struct
import subprocess

import pytest

from gateway import BINARY, SANITIZER

LIBC = ctypes.CDLL(None, use_errno=True)
IO_URING_SETUP = 425
CAP_IPC_LOCK = 14

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives up a capability for the test")
# The sanitizers reserve address space and descriptors of their own before the program is asked.
plain = pytest.mark.skipif(SANITIZER == "tsan", reason="ThreadSanitizer starts itself anew where its own needs are refused")


def filter_io_uring(answer):
    """A seccomp filter as container runtimes set it: io_uring_setup is answered with an errno, the rest is allowed."""
    def word(code, value, right=0, wrong=0):
        return struct.pack("HBBI", code, right, wrong, value)

    program = (word(0x20, 0) + word(0x15, IO_URING_SETUP, 0, 1) + word(0x06, 0x00050000 | answer) + word(0x06, 0x7FFF0000))
    code = ctypes.create_string_buffer(program, len(program))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)), 16)
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0          # PR_SET_NO_NEW_PRIVS
    assert LIBC.prctl(22, 2, filters, 0, 0) == 0    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def refused(gateway, prepare):
    done = subprocess.run([BINARY, "run", "-c", gateway.path], preexec_fn=prepare, capture_output=True, text=True, timeout=60,
                          env=gateway.environment())
    assert done.returncode == 1, done
    return done.stderr


@pytest.fixture
def waiting(start_gateway):
    """One that is configured and not started."""
    gateway = start_gateway(start=False, routes=[{"path": "/count", "serve": "count"}])
    gateway.write()
    return gateway


def test_a_seccomp_filter_is_named(waiting):
    said = refused(waiting, lambda: filter_io_uring(1))
    assert "seccomp" in said and "io_uring_setup" in said


def test_a_kernel_without_io_uring_is_named(waiting):
    said = refused(waiting, lambda: filter_io_uring(38))
    assert "no io_uring" in said and "6.1" in said


@plain
def test_too_few_descriptors_are_named(waiting):
    said = refused(waiting, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    assert "100 descriptors" in said and "ulimit -n" in said


@plain
@needs_root
def test_too_little_locked_memory_is_named(waiting):
    if tuple(int(word) for word in os.uname().release.split(".")[:2]) < (6, 14):
        pytest.skip("kernels before 6.14 charge nothing for a ring")

    def prepare():
        assert LIBC.prctl(24, CAP_IPC_LOCK, 0, 0, 0) == 0   # PR_CAPBSET_DROP: who has it is charged for nothing
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 << 10, 64 << 10))

    said = refused(waiting, prepare)
    assert "locked memory" in said and "64 KiB" in said and "LimitMEMLOCK" in said


def test_the_service_manager_is_told(waiting):
    path = waiting.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        process = subprocess.Popen([BINARY, "run", "-c", waiting.path], env={**waiting.environment(), "NOTIFY_SOCKET": str(path)},
                                   stderr=subprocess.DEVNULL)
        try:
            assert manager.recv(100) == b"READY=1"
            with socket.create_connection(("127.0.0.1", waiting.port), timeout=10):
                pass
            process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
