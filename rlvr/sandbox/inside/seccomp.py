"""A seccomp filter that refuses system calls which no program of a rollout needs: less of the kernel can be attacked.

Namespaces make most of these calls harmless, but not all: sockets (AF_VSOCK and AF_ALG ignore namespaces), anonymous files
(memory that no limit counts), new namespaces (which give privileges back), System V objects (they outlive processes).
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

# Numbers by architecture, from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
_X86 = {
    "socket": 41, "ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "add_key": 248, "request_key": 249, "keyctl": 250,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "memfd_create": 319, "memfd_secret": 447, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240, "swapon": 167,
    "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "acct": 163, "settimeofday": 164, "clock_settime": 227,
    "adjtimex": 159, "clock_adjtime": 305, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "init_module": 175,
    "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "quotactl": 179, "fanotify_init": 300,
    "pidfd_getfd": 438, "process_madvise": 440, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "mount_setattr": 442, "personality": 135, "vhangup": 153, "syslog": 103, "mbind": 237,
    "move_pages": 279, "migrate_pages": 256, "set_mempolicy": 238,
}  # fmt: skip
_ARM = {
    "socket": 198, "ptrace": 117, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
    "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "add_key": 217, "request_key": 218, "keyctl": 219,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "memfd_create": 279, "memfd_secret": 447, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180, "swapon": 224,
    "swapoff": 225, "reboot": 142, "sethostname": 161, "setdomainname": 162, "acct": 89, "settimeofday": 170,
    "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266, "init_module": 105, "finit_module": 273, "delete_module": 106,
    "kexec_load": 104, "kexec_file_load": 294, "quotactl": 60, "fanotify_init": 262, "pidfd_getfd": 438, "process_madvise": 440,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    "personality": 92, "vhangup": 58, "syslog": 116, "mbind": 235, "move_pages": 239, "migrate_pages": 238,
    "set_mempolicy": 237,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86, 56), "aarch64": (0xC00000B7, _ARM, 220)}
_ABSENT = (435, 425, 426, 427)
"""clone3 (its flags lie in memory, which a filter cannot read) and io_uring: answered as not implemented, so that programs
fall back."""
_NEW_NAMESPACES = 0x7E020080
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program() -> _Program | None:
    """The filter for `prctl` on this machine; None where its system call numbers are not known."""
    if platform.machine() not in _MACHINES:
        return None
    architecture, numbers, clone = _MACHINES[platform.machine()]
    refused = sorted(numbers.values())
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    # Jumps count the steps to skip; the results stand at the end.
    tests = [(_AT_LEAST, "refuse", _X32), *((_EQUAL, "absent", n) for n in _ABSENT), *((_EQUAL, "refuse", n) for n in refused)]
    results = {"allow": 4, "refuse": 5, "absent": 6}  # counted from the step behind the tests, which examines clone
    for at, (test, result, value) in enumerate(tests):
        steps.append((test, len(tests) - at - 1 + results[result], 0, value))
    steps += [
        (_EQUAL, 0, 2, clone),
        (_LOAD, 0, 0, 16),
        (_ANY_BIT, 2, 0, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    made = _Program(len(steps), code)
    made.keep = code  # pyright: ignore[reportAttributeAccessIssue]  the pointer does not own what it points to
    return made
