"""System calls through ctypes: namespaces, mounts, privileges, Landlock. Standard library only; all raise `OSError`."""

from __future__ import annotations

import ctypes
import os
import struct

from rlvr.sandbox.inside import seccomp

NEW_MOUNT, NEW_IPC, NEW_USER, NEW_PID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_NO_SUID, _NO_DEV = 2, 4
_PDEATHSIG, _DUMPABLE, _SECCOMP, _CAPBSET_DROP, _CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 4, 22, 24, 36, 38
_SECCOMP_FILTER = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CAPSET = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine)
_READ_AND_RUN = 0b1101  # execute, read a file, read a folder
_LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file access rights by version of Landlock; it stays from 5 on."""

_libc = ctypes.CDLL(None, use_errno=True)
# Looked up once, before the fork: each look-up makes an object.
_unshare, _setns, _mount, _prctl, _syscall = (
    getattr(_libc, name) for name in ("unshare", "setns", "mount", "prctl", "syscall")
)
_filter = seccomp.program()


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    _check(_unshare(flags), "new namespaces")


def own_pid_namespace_again(descriptor: int) -> None:
    """Let children start in our own PID namespace again: after `unshare(NEW_PID)` and a fork, the next `unshare` needs it."""
    _check(_setns(descriptor, NEW_PID), "own PID namespace")


def map_user(proc: int, *, inside: int, user: int, group: int) -> None:
    """Map one user and one group into the user namespace just entered. `proc`: a descriptor of a mounted /proc."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {user} 1"), ("gid_map", f"{inside} {group} 1")):
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def mount_private(path: bytes, options: bytes, *, read_only: bool = False) -> None:
    """Mount a fresh tmpfs over `path`."""
    _check(_mount(b"tmpfs", path, b"tmpfs", _NO_SUID | _NO_DEV | int(read_only), options), "mount tmpfs")


def die_with_parent() -> None:
    _check(_prctl(_PDEATHSIG, 9, 0, 0, 0), "die with parent")


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies (child subreaper)."""
    _check(_prctl(_CHILD_SUBREAPER, 1, 0, 0, 0), "adopt orphans")


def hide_memory(hidden: bool = True) -> None:
    """Forbid processes of the same user to trace this one or read its memory; its files in /proc then belong to root."""
    _check(_prctl(_DUMPABLE, int(not hidden), 0, 0, 0), "hide memory")


def drop_privileges() -> None:
    """Drop all capabilities for good: no program that is started gets any back."""
    _check(_prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if _CAPSET is not None:
        _check(_syscall(_CAPSET, struct.pack("II", 0x20080522, 0), bytes(24)), "drop capabilities")


def filter_system_calls() -> bool:
    """Install the seccomp filter, after `drop_privileges`. False: there is none for this machine."""
    if _filter is None:
        return False
    _check(_prctl(_SECCOMP, _SECCOMP_FILTER, ctypes.byref(_filter), 0, 0), "seccomp")
    return True


def landlock_version() -> int:
    """The ABI version; 0 where the kernel has no Landlock."""
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def restrict_files(readable: list[str], writable: str) -> None:
    """By Landlock: allow reading and running under `readable` and writing under `writable`; no TCP, no signals to others. After
    `drop_privileges`."""
    version = landlock_version()
    rights = (1 << _LANDLOCK_RIGHTS[min(version, 5)]) - 1
    attributes = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    attributes = attributes[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = _check(_syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock ruleset")
    for path, wanted in (*((path, _READ_AND_RUN) for path in readable), (writable, rights)):
        try:
            descriptor = os.open(path, os.O_PATH)
        except FileNotFoundError:
            continue
        for_file = 0b111 if path == "/dev/null" else wanted & 0b101
        rule = struct.pack("=Qi", rights & (wanted if os.path.isdir(path) else for_file), descriptor)
        _check(_syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock rule for {path}")
        os.close(descriptor)
    _check(_syscall(_RESTRICT_SELF, ruleset, 0), "landlock")
    os.close(ruleset)
