"""Code that nobody has read stays inside: limits, files, network, processes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from libqwen.agent import Limits, Sandbox, SandboxError
from libqwen.agent import sandbox as module

LIMITS = Limits(seconds=10.0, memory_bytes=512 << 20, file_bytes=4 << 20, processes=8)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    box = Sandbox(LIMITS)
    reason = box.why_not()
    if reason is not None:
        pytest.skip(reason)
    return box


def test_programs_run_and_echo(sandbox: Sandbox) -> None:
    assert sandbox.run("import math\nprint(math.isqrt(50))").stdout == "7\n"
    assert sandbox.run("x = 6\nx * 7", echo=True).stdout == "42\n"
    failed = sandbox.run("def f():\n    return 1 / 0\nf()")
    assert not failed.ok
    assert failed.stderr.startswith("Traceback") and "line 2, in f" in failed.stderr
    assert "libqwen" not in failed.stderr
    assert sandbox.run("import sys; sys.exit(3)").returncode == 3


def test_nothing_stays_between_runs(sandbox: Sandbox) -> None:
    assert sandbox.run("open('note', 'w').write('x')").ok
    assert sandbox.run("import os; print(os.listdir('.'))").stdout == "[]\n"


def test_a_folder_of_the_host_may_be_given(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    box = Sandbox(LIMITS, folder=tmp_path)
    if box.why_not() is not None or os.stat(tmp_path.parent).st_uid != os.geteuid():
        pytest.skip(box.why_not() or "not our folder")
    for above in (tmp_path.parent, tmp_path.parent.parent):
        above.chmod(0o755)
    assert box.run("open('out.txt', 'w').write('kept')").text() == ""
    assert (tmp_path / "out.txt").read_text() == "kept"


def test_time_is_limited() -> None:
    box = Sandbox(Limits(seconds=1.0))
    if box.why_not() is not None:
        pytest.skip(box.why_not() or "")
    started = time.monotonic()
    for code in ("while True: pass", "import time; time.sleep(60)"):
        outcome = box.run(code)
        assert outcome.ended_by == "time" and not outcome.ok
        assert "limit of time" in outcome.text()
    assert time.monotonic() - started < 8


def test_memory_is_limited(sandbox: Sandbox) -> None:
    assert sandbox.run("x = bytearray(1 << 30)").ended_by == "memory"
    # Many processes together: each below the limit, all above.
    together = sandbox.run(
        "import os, time\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = b'x' * (200 << 20)\n"
        "        time.sleep(20)\n"
        "time.sleep(20)"
    )
    assert together.ended_by == "memory"


def test_output_and_files_are_limited(sandbox: Sandbox) -> None:
    loud = sandbox.run("while True: print('x' * 1000)")
    assert loud.ended_by == "output" and len(loud.stdout) <= LIMITS.output_bytes
    assert "File too large" in sandbox.run("open('x', 'wb').write(b'x' * (8 << 20))").stderr
    for folder in ("/work", "/dev/shm", "/tmp"):
        many = f"for i in range(40): open(f'{folder}/{{i}}', 'wb').write(b'x' * (1 << 20))"
        assert "No space left" in sandbox.run(many).stderr


def test_a_fork_bomb_is_bounded(sandbox: Sandbox) -> None:
    outcome = sandbox.run(
        "import os\ncount = 0\n"
        "while True:\n"
        "    try:\n"
        "        child = os.fork()\n"
        "    except OSError as error:\n"
        "        print(count, error); break\n"
        "    if child == 0:\n"
        "        import time; time.sleep(30)\n"
        "    count += 1"
    )
    assert "Resource temporarily unavailable" in outcome.stdout
    assert int(outcome.stdout.split()[0]) <= LIMITS.processes


def test_the_network_is_out_of_reach(sandbox: Sandbox) -> None:
    code = (
        "import socket\n"
        "for place in (('1.1.1.1', 53), ('127.0.0.1', 22)):\n"
        "    try:\n"
        "        socket.create_connection(place, 2); print('reached', place)\n"
        "    except OSError:\n"
        "        print('no')\n"
        "print(sorted(name for _, name in socket.if_nameindex()))"
    )
    assert sandbox.run(code).stdout == "no\nno\n['lo']\n"


def test_files_of_the_host_are_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    for path in (
        str(secret),
        "/etc/passwd",
        "/etc/shadow",
        os.path.expanduser("~/.bashrc"),
        __file__,
    ):
        outcome = sandbox.run(f"print(open({path!r}).read())")
        assert not outcome.ok and outcome.stdout == "", path
    for path in ("/usr/x", "/bin/x", "/x", "/etc/x", "/dev/x"):
        assert not sandbox.run(f"open({path!r}, 'w')").ok, path
    listing = sandbox.run("import os; print(os.listdir('/'))").stdout
    assert "home" not in listing and "var" not in listing


def test_the_environment_and_other_processes_are_out_of_reach(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    assert "SECRET" not in sandbox.run("import os; print(dict(os.environ))").stdout
    others = sandbox.run("import os; print([p for p in os.listdir('/proc') if p.isdigit()])")
    assert len(eval(others.stdout)) <= 3
    assert (
        sandbox.run("import os; print(os.getuid() == 0)").stdout == "False\n" or os.geteuid() != 0
    )
    assert not sandbox.run("import os; os.setuid(0); open('/etc/x', 'w')").ok
    assert not sandbox.run(f"import os; os.kill({os.getpid()}, 9)").ok


def test_rights_can_not_be_raised(sandbox: Sandbox) -> None:
    code = (
        "import resource\n"
        "for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):\n"
        "    try:\n"
        "        resource.setrlimit(kind, (-1, -1)); print('raised')\n"
        "    except ValueError:\n"
        "        print('no')"
    )
    assert sandbox.run(code).stdout == "no\n" * 3
    mounted = "import ctypes; print(ctypes.CDLL(None).mount(b'x', b'/work', b'tmpfs', 0, None))"
    assert sandbox.run(mounted).stdout == "-1\n"


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_probed", {})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        Sandbox().run("print('ran')")
    # Asked for in so many words, it runs with the limits of time, memory and output.
    unsafe = Sandbox(Limits(seconds=5.0), unsafe=True)
    assert unsafe.run("print('ran')").stdout == "ran\n"
    assert unsafe.run("x = bytearray(4 << 30)").ended_by == "memory"


def test_where_namespaces_are_forbidden_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(module, "_probed", {})
    monkeypatch.setattr(module, "_COMMAND", str(fake))
    with pytest.raises(SandboxError, match="No permissions to create new namespace"):
        Sandbox().run("print('ran')")
