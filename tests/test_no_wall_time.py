"""No test says how long something may take: a busy machine would fail it.

What is found, outside tests/benchmarks: an ``assert`` that compares a difference of clock readings,
also by way of names, attributes and functions of its module, or of an attribute that another module
sets; and a limit below a minute for what may hang. What is not found: times that the product
measures, programs in strings, a difference that a call or a container passes on, and sleeps that
race.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "time", "monotonic_ns", "perf_counter_ns", "time_ns"}
# What waits so many seconds, by its first argument or by a name.
WAITS = {"communicate", "exception", "join", "result", "wait"}
TIMED = {*WAITS, "HTTPConnection", "delete", "get", "post", "put", "run", "wait_for"}
# What gives a duration if it is given one.
ARITHMETIC = {"abs", "float", "int", "max", "mean", "median", "min", "round", "sorted", "sum"}
LEAST_S = 60
TIME_OUTS = {"timeout", "timeout_s"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_reading(node: ast.AST) -> bool:
    """Return True if this is a call of a clock."""
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    if isinstance(called, ast.Attribute):
        return called.attr in CLOCKS and isinstance(called.value, ast.Name)
    return isinstance(called, ast.Name) and called.id in CLOCKS


class Module:
    """A test module; ``readings`` and ``durations`` are names of what a clock gave."""

    def __init__(self, code: str) -> None:
        self.tree = ast.parse(code)
        self.readings: set[str] = set()
        self.durations: set[str] = set()
        before = -1
        while before != (before := len(self.readings) + len(self.durations)):
            if re.search(rf"({'|'.join(CLOCKS)})\(", code):
                self._follow()

    def _follow(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._note(target, node.value)
            elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
                self._note(node.target, node.value)
            elif isinstance(node, Function):
                for inner in (each for line in node.body for each in inside(line)):
                    if isinstance(inner, ast.Return) and inner.value:
                        self._note(ast.Name(node.name), inner.value)

    def _note(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            values = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
            for each, its in zip(target.elts, values, strict=False):
                self._note(each, its)
            return
        name = name_of(target)
        if name and self.is_duration(value):
            self.durations.add(name)
        elif name and any(map(self._is_reading, inside(value))):
            self.readings.add(name)

    def _is_reading(self, node: ast.AST) -> bool:
        return is_reading(node) or name_of(node) in self.readings

    def is_duration(self, value: ast.AST) -> bool:
        """Return True if a difference of clock readings is anywhere in it."""
        for node in inside(value):
            if name_of(node) in self.durations:
                return True
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
                sides = (node.left, node.right)
                if any(map(is_reading, sides)) or all(map(self._is_reading, sides)):
                    return True
        return False

    def attributes(self) -> set[str]:
        """The attributes that this module sets to durations, and others may compare."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute))
        return {node.attr for node in nodes if isinstance(node.ctx, ast.Store)} & self.durations

    def problems(self) -> Iterator[tuple[int, str]]:
        """The lines that bound wall time, and how."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assert):
                compared = (n for n in ast.walk(node.test) if isinstance(n, ast.Compare))
                if any(map(self.is_duration, compared)):
                    yield node.lineno, "compares a duration"
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                if is_reading(node.left) and is_short(node.right, least_s=1):
                    yield node.lineno, f"gives up before {LEAST_S} s"
            elif isinstance(node, ast.Call):
                name, given = name_of(node.func), node.args[:1]
                named = [word.value for word in node.keywords if word.arg in TIME_OUTS]
                limits = [*(named if name in TIMED else []), *(given if name in WAITS else [])]
                if any(map(is_short, limits)):
                    yield node.lineno, f"gives up before {LEAST_S} s"


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, but neither functions nor what calls are given."""
    if isinstance(node, Function | ast.Lambda):
        return
    yield node
    is_call = isinstance(node, ast.Call) and name_of(node.func) not in ARITHMETIC
    for inner in () if is_call else ast.iter_child_nodes(node):
        yield from inside(inner)
    if is_call:
        yield from inside(node.func)


def name_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def is_short(node: ast.AST, least_s: float = 0.0) -> bool:
    """Return True for a number of seconds which a busy machine may need; 0 does not wait."""
    value = node.value if isinstance(node, ast.Constant) else None
    return type(value) in (int, float) and least_s <= value < LEAST_S and value > 0


def test_no_test_bounds_wall_time():
    paths = [p for p in TESTS.rglob("*.py") if "benchmarks" not in p.relative_to(TESTS).parts]
    assert len(paths) > 100
    modules = {str(path.relative_to(TESTS)): Module(path.read_text()) for path in sorted(paths)}
    shared = {name for module in modules.values() for name in module.attributes()}
    found = []
    for name, module in modules.items():
        module.durations |= shared
        found += [f"{name}:{line} {how}" for line, how in sorted(set(module.problems()))]
    assert found == []


BOUNDS = {
    "a difference": "begun = time.monotonic()\nwork()\nassert time.monotonic() - begun < 1",
    "a name": "begun = time.time()\ntook = time.time() - begun\nassert 2 * took < other",
    "a tuple": "begun, x = perf_counter(), 1\ntook, y = perf_counter() - begun, 2\nassert took < 1",
    "a function": "def took():\n    begun = time.perf_counter()\n    work()\n"
    "    return time.perf_counter() - begun\ndef test():\n    assert min(took(), took()) < 1",
    "an attribute": "class Server:\n    def start(self):\n        begun = time.time()\n"
    "        self.ready_s = time.time() - begun\ndef test(server):\n    assert server.ready_s < 9",
    "a deadline": "limit = time.monotonic() + 30\nwhile time.monotonic() < limit:\n    pass",
    "a time-out": "process.communicate(timeout=20)",
    "a wait": "process.wait(20)",
}


@pytest.mark.parametrize("code", BOUNDS.values(), ids=BOUNDS)
def test_bound_is_found(code):
    assert len(list(Module(code).problems())) == 1


@pytest.mark.parametrize(
    "code",
    [
        "limit = time.monotonic() + 120\nassert time.monotonic() < limit",
        "begun = time.process_time()\nassert work(begun) == 1",
        "process.wait(60)\nfuture.result(0)\ndetails.get('x', 5)",
        "took = time.monotonic() - begun\nprint(took)",
    ],
)
def test_what_bounds_nothing_is_let_be(code):
    assert list(Module(code).problems()) == []
