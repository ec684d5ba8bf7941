"""The house stands as it was drawn: imports run one way, without circles, and none hides in a function."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import zoom_async_auth

PACKAGE = Path(zoom_async_auth.__file__).parent
NAME = "zoom_async_auth"

# From the ground up: a module may import from its own storey and those below.
STOREYS = (
    {"errors", "extras", "clock", "cancellation", "bugs", "events"},
    {"oauth"},
    {"endpoint", "bearer", "stores", "identity"},
    {"renewal"},
    {"session"},
    {"manager", "pool"},
    {"testing", "integrations"},
    {"cli", "__main__"},
)
LEVEL = {room: level for level, storey in enumerate(STOREYS) for room in storey}
SANDBOX_MAY_USE = {"sandbox", "oauth", "errors", "cancellation"}
MAY_IMPORT_LATE = {"cli", "testing"}  # a command's needs, a fixture's: --help and the plugin cost next to nothing


def _modules() -> dict[str, ast.Module]:
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join((NAME, *parts)).removesuffix(".__init__")
        modules[name] = ast.parse(path.read_text())
    return modules


MODULES = _modules()


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules of ours that an import names."""
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == NAME)
        case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] == NAME:
            submodules = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in submodules)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _edges() -> Iterator[tuple[str, str]]:
    for name, tree in MODULES.items():
        if name != NAME:  # the root names everything, for checkers only
            for node in ast.walk(tree):
                yield from ((name, target) for target in _imported(node))


def test_every_room_has_a_storey() -> None:
    rooms = {_room(name) for name in MODULES} - {""}
    assert rooms == {*LEVEL, "sandbox"}


def test_imports_run_one_way() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in _edges()
        if _room(name) != "sandbox" and _room(target) != "sandbox" and LEVEL[_room(target)] > LEVEL[_room(name)]
    ]
    assert not wrong


def test_the_sandbox_knows_nothing_of_the_client() -> None:
    """Or a fault of the client would be a fault of its examiner too."""
    wrong = [
        f"{name} imports {target}"
        for name, target in _edges()
        if _room(name) == "sandbox" and _room(target) not in SANDBOX_MAY_USE
    ]
    users = {_room(name) for name, target in _edges() if _room(target) == "sandbox"}
    assert not wrong
    assert users == {"sandbox", "testing", "cli"}


def test_there_are_no_circles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for name, target in _edges():
        if name != target:
            graph[name].add(target)
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_no_import_hides_in_a_function() -> None:
    hidden = [
        name
        for name, tree in MODULES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert {_room(name) for name in hidden} <= MAY_IMPORT_LATE


def test_the_ways_of_saying_and_deciding_do_no_input_or_output() -> None:
    """`oauth/` and the policy are pure: no clock, no randomness, no event loop, no network of their own."""
    impure = {"asyncio", "anyio", "aiohttp", "time", "random", "secrets", "os", "socket", "threading", "logging"}
    pure = [name for name in MODULES if _room(name) == "oauth"]
    pure += [f"{NAME}.renewal.policy", f"{NAME}.renewal.held", f"{NAME}.sandbox.model", f"{NAME}.sandbox.jwt"]
    for name in pure:
        for node in ast.walk(MODULES[name]):
            if isinstance(node, ast.Import):
                assert not impure & {alias.name.split(".")[0] for alias in node.names}, name
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] not in impure, name


def test_only_the_endpoint_the_bearer_and_the_session_speak_http() -> None:
    speakers = {
        name.removeprefix(f"{NAME}.")
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "aiohttp" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "aiohttp")
    }
    assert speakers == {
        "bearer",
        "cli.receiver",
        "endpoint",
        "integrations.aiohttp",
        "manager",
        "pool",
        "sandbox.delivery",
        "sandbox.pages",
        "sandbox.server",
        "session",
    }
