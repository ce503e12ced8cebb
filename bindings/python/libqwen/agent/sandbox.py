"""Runs Python code that nobody has read: in a process of its own, behind bubblewrap.

What the code gets: an interpreter, the system's libraries read-only, an empty folder in memory.
What it does
not get: the network, other processes, files of the host (home folders, /etc, /var, /tmp), the
environment, more time, memory, processes, file size or output than `Limits` says.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from .bootstrap import SOURCE

__all__ = ["Limits", "Outcome", "Sandbox", "SandboxError"]

#: The user that code runs as when this process is root: "nobody".
_NOBODY = 65534
_COMMAND = "bwrap"
#: How often the parent looks at the clock and at the memory of the children, in seconds.
_TICK = 0.05


class SandboxError(RuntimeError):
    """The code was not run: there is nothing here that can confine it."""


@dataclass(frozen=True)
class Limits:
    """What a run may use.

    Attributes:
        seconds: of wall clock; then everything is killed. Processor time is limited to the same.
        memory_bytes: address space of each process, and resident memory of all together.
        file_bytes: the largest file, and the size of the folder in memory.
        processes: processes and threads at once.
        output_bytes: of stdout and of stderr each; what is beyond is dropped and the run killed.
    """

    seconds: float = 10.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20
    processes: int = 16
    output_bytes: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        stdout: what it printed.
        stderr: tracebacks, and what it printed there.
        returncode: 0 when it ended well, negative for the signal that ended it.
        ended_by: None, or the limit that was passed: "time", "memory" or "output".
        seconds: it took.
    """

    stdout: str
    stderr: str
    returncode: int
    ended_by: Optional[str]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and without an error."""
        return self.returncode == 0 and self.ended_by is None

    def text(self) -> str:
        """Both outputs and how it ended, as a model should read them."""
        parts = [self.stdout.rstrip(), self.stderr.rstrip()]
        if self.ended_by:
            parts.append(f"[stopped: the limit of {self.ended_by} was passed]")
        elif self.returncode and not self.stderr.strip():
            parts.append(f"[ended with status {self.returncode}]")
        return "\n".join(part for part in parts if part)


class Sandbox:
    """A place to run Python code. Holds nothing between runs but the files of `folder`. Any thread."""

    def __init__(
        self,
        limits: Optional[Limits] = None,
        *,
        folder: Optional["os.PathLike[str] | str"] = None,
        python: Optional[str] = None,
        unsafe: bool = False,
    ) -> None:
        """Describes a sandbox; nothing runs yet.

        Args:
            limits: see `Limits`.
            folder: a folder of the host that the code sees as its working folder and may change;
            None is
                an empty one in memory, new for each run.
            python: the interpreter; this one by default.
            unsafe: run without bubblewrap, with the rights of this process: files, network, everything.
                The limits hold. Only for code you have read yourself.
        """
        self.limits = limits or Limits()
        self.folder = None if folder is None else Path(folder).resolve()
        self.python = os.path.realpath(python or sys.executable)
        self.unsafe = unsafe

    def why_not(self) -> Optional[str]:
        """Why code can't be run here, or None when it can. The first call starts a process."""
        return None if self.unsafe else _probe(self.python)

    def run(self, code: str, *, echo: bool = False, before: Sequence[str] = ()) -> Outcome:
        """Runs code to its end or to a limit.

        Args:
            code: a Python program.
            echo: print the value of a last expression, as a notebook does.
            before: programs that are run first, in the same names, without output.

        Raises:
            SandboxError: nothing here can confine it, and `unsafe` was not asked for.
        """
        reason = self.why_not()
        if reason is not None:
            raise SandboxError(reason)
        return self._run(code, echo, before)

    def _run(self, code: str, echo: bool, before: Sequence[str] = ()) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="libqwen-") as scratch:
            command = self._plain() if self.unsafe else self._confined()
            drop = _NOBODY if not self.unsafe and os.geteuid() == 0 else None
            limits: Dict[str, Any] = asdict(self.limits)
            task = {
                "code": code,
                "before": list(before),
                "echo": echo,
                "limits": limits,
                "user": drop,
            }
            inside = str(self.folder or scratch) if self.unsafe else None
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=inside or "/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": inside or "/work"},
                start_new_session=True,
                close_fds=True,
            )
            return _watched(process, json.dumps(task).encode("ascii"), self.limits)

    def _plain(self) -> List[str]:
        return [self.python, "-I", "-c", SOURCE]

    def _confined(self) -> List[str]:
        """The bubblewrap command: new namespaces of every kind, and only these folders."""
        command = [
            _COMMAND,
            "--die-with-parent",
            "--new-session",
            "--clearenv",
            "--cap-drop",
            "ALL",
        ]
        if os.geteuid() == 0:
            # Root can't be limited in processes, so the first thing inside is to become somebody else,
            # which a user namespace of our own would not allow.
            for kind in ("ipc", "pid", "net", "uts", "cgroup-try"):
                command.append(f"--unshare-{kind}")
            command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            command.append("--unshare-all")
        for name, value in (
            ("PATH", "/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("HOME", "/work"),
            ("OPENBLAS_NUM_THREADS", "1"),
            ("OMP_NUM_THREADS", "1"),
        ):
            command += ["--setenv", name, value]
        command += ["--ro-bind", "/usr", "/usr"]
        for name in ("/bin", "/lib", "/lib64"):
            if os.path.islink(name):
                command += ["--symlink", os.readlink(name), name]
            elif os.path.isdir(name):
                command += ["--ro-bind", name, name]
        extra = ["/etc/ld.so.cache"] if os.path.exists("/etc/ld.so.cache") else []
        prefix = os.path.dirname(os.path.dirname(self.python))
        if not prefix.startswith("/usr"):
            extra.append(prefix)
        for path in extra:
            for above in reversed(list(Path(path).parents)[:-1]):
                command += ["--perms", "0755", "--dir", str(above)]
            command += ["--ro-bind", path, path]
        in_memory = ["--perms", "1777", "--size", str(self.limits.file_bytes), "--tmpfs"]
        command += [
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            *in_memory,
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ]
        if self.folder is None:
            command += [*in_memory, "/work"]
        else:
            command += ["--bind", str(self.folder), "/work"]
        command += ["--symlink", "work", "/tmp", "--remount-ro", "/", "--chdir", "/work", "--"]
        return command + self._plain()


_probed: Dict[str, Optional[str]] = {}


def _probe(python: str) -> Optional[str]:
    """Runs an empty program once; says what is missing."""
    if python not in _probed:
        _probed[python] = _tried(python)
    return _probed[python]


def _tried(python: str) -> Optional[str]:
    if shutil.which(_COMMAND) is None:
        return (
            "code is run only behind bubblewrap, and there is no bwrap here: apt install bubblewrap; "
            "or, for code you trust, ask for unsafe=True"
        )
    sandbox = Sandbox(Limits(seconds=20.0), python=python)
    outcome = sandbox._run("print('in')", False)
    if outcome.ok and outcome.stdout == "in\n":
        return None
    return (
        "code is run only behind bubblewrap, which can't start here: "
        f"{outcome.text() or 'no reason given'}. Containers often forbid user namespaces; allow them, "
        "or, for code you trust, ask for unsafe=True"
    )


def _watched(process: "subprocess.Popen[bytes]", task: bytes, limits: Limits) -> Outcome:
    """Feeds the task, reads both outputs, and kills everything when a limit is passed."""
    started = time.monotonic()
    deadline = started + limits.seconds
    kept: Dict[int, bytearray] = {}
    ended_by: Optional[str] = None
    try:
        assert process.stdin and process.stdout and process.stderr
        try:
            process.stdin.write(task)
            process.stdin.close()
        except OSError:
            pass  # it ended before it read; what it says on stderr tells why
        with selectors.DefaultSelector() as selector:
            for stream in (process.stdout, process.stderr):
                selector.register(stream, selectors.EVENT_READ)
                kept[stream.fileno()] = bytearray()
            out, error = kept.values()
            while selector.get_map() and ended_by is None:
                for key, _ in selector.select(_TICK):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    kept[key.fd] += data
                    if len(kept[key.fd]) > limits.output_bytes:
                        ended_by = "output"
                if time.monotonic() > deadline:
                    ended_by = "time"
                elif _resident(process.pid) > limits.memory_bytes:
                    ended_by = "memory"
        if ended_by is None:
            try:
                process.wait(max(deadline - time.monotonic(), _TICK))
            except subprocess.TimeoutExpired:
                ended_by = "time"
    finally:
        _kill(process)
    if process.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        ended_by = "time"
    elif b"MemoryError" in error.splitlines()[-1:]:
        ended_by = ended_by or "memory"
    text = [bytes(part[: limits.output_bytes]).decode("utf-8", "replace") for part in (out, error)]
    seconds = time.monotonic() - started
    return Outcome(text[0], text[1], process.returncode, ended_by, seconds)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the group; the namespace of processes ends with its first one."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _resident(root: int) -> int:
    """Bytes of memory of a process and all below it; 0 where /proc does not tell."""
    page = os.sysconf("SC_PAGE_SIZE")
    parents: Dict[int, int] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return 0
    pages: Dict[int, int] = {}
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # gone in the meantime
        parents[int(name)], pages[int(name)] = int(fields[1]), int(fields[21])
    total = 0
    for pid in parents:
        above: Optional[int] = pid
        while above and above != root:
            above = parents.get(above)
        if above == root:
            total += pages[pid] * page
    return total
