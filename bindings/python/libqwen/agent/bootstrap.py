"""The first program inside the sandbox: reads its task, gives up its rights, runs the code."""

from __future__ import annotations

__all__ = ["SOURCE"]

#: Run as ``python -I -c SOURCE``; the task comes on stdin as JSON.
SOURCE = """
import ast, json, os, resource, sys, traceback

task = json.loads(sys.stdin.buffer.read())
limits = task["limits"]
null = os.open("/dev/null", os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
sys.stdin = open(0)


def limit(kind, value, beyond=0):
    hard = resource.getrlimit(kind)[1]
    value = int(value) if hard < 0 else min(int(value), hard)
    most = value + beyond if hard < 0 else min(value + beyond, hard)
    resource.setrlimit(kind, (value, most))


limit(resource.RLIMIT_CORE, 0)
# Behind the watch on the clock; SIGXCPU comes first and tells why, SIGKILL a second later.
limit(resource.RLIMIT_CPU, limits["seconds"] + 2, beyond=1)
limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
limit(resource.RLIMIT_NOFILE, 64)
if task["user"] is not None:
    os.setgroups([])
    os.setgid(task["user"])
    os.setuid(task["user"])
limit(resource.RLIMIT_NPROC, limits["processes"])
limit(resource.RLIMIT_AS, limits["memory_bytes"])
sys.setrecursionlimit(2000)

names = {"__name__": "__main__", "__builtins__": __builtins__}
code, echo, before = task["code"], task["echo"], task["before"]
del task, limits, limit, null
status = 0
try:
    if before:
        real, sys.stdout = sys.stdout, open("/dev/null", "w")
        for earlier in before:
            exec(compile(earlier, "<earlier>", "exec"), names)
        sys.stdout = real
    tree = ast.parse(code, "<code>")
    last = None
    if echo and tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, "<code>", "exec"), names)
    if last is not None:
        value = eval(compile(last, "<code>", "eval"), names)
        if value is not None:
            print(repr(value))
except SystemExit as error:
    status = error.code if isinstance(error.code, int) else int(error.code is not None)
except MemoryError:
    os.write(2, b"MemoryError\\n")
    status = 1
except BaseException as error:
    kind, value, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename != "<code>":
        trace = trace.tb_next
    traceback.print_exception(kind, value, trace)
    status = 1
try:
    sys.stdout.flush()
    sys.stderr.flush()
except BaseException:
    status = status or 1
os._exit(status)
"""
