"""What keeps the house in order besides the import contract."""

import ast
import functools
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src" / "latent_atlas").rglob("*.py"))
NAMED = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): path
    for path in MODULES
}


def public_definitions(module: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes named in `__all__`, and the classes' public methods."""
    names: list[str] = []
    for statement in module.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names = ast.literal_eval(statement.value)
    found: list[ast.FunctionDef | ast.ClassDef] = []
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name in names:
            found.append(statement)
            members = statement.body if isinstance(statement, ast.ClassDef) else []
            found += [
                m for m in members if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")
            ]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_room_says_what_it_is_and_every_public_name_what_it_does(path: Path) -> None:
    module = ast.parse(path.read_text())
    assert ast.get_docstring(module), path
    silent = [
        definition.name
        for definition in public_definitions(module)
        if not ast.get_docstring(definition)
    ]
    assert not silent


def test_torchvision_is_nowhere() -> None:
    assert importlib.util.find_spec("torchvision") is None
    assert "torchvision" not in (ROOT / "constraints.txt").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 950


def test_one_module_knows_how_processes_meet() -> None:
    knowing = {name for name, path in NAMED.items() if "torch.distributed" in path.read_text()}
    assert knowing == {"latent_atlas.training.processes"}


@functools.cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports when it is loaded."""
    found: set[str] = set()
    for statement in ast.parse(NAMED[name].read_text()).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            within = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= {one for one in within if one in NAMED} or {statement.module}
    return frozenset(found & NAMED.keys() - {name})


@functools.cache
def depth(name: str) -> int:
    """How many modules the longest chain of imports from this one has."""
    return 1 + max(map(depth, imports(name)), default=0)


def test_no_chain_of_imports_is_long() -> None:
    assert max(map(depth, NAMED)) <= 16


def room(name: str) -> str:
    """The package or module on the first level that a module belongs to; the lowest five are one."""
    first = name.split(".")[1]
    return (
        "foundations"
        if first in {"shapes", "errors", "progress", "device", "display", "files"}
        else first
    )


def test_the_rooms_are_few_and_know_few_others() -> None:
    arrows: set[tuple[str, str]] = set()
    for name, path in NAMED.items():
        if name.endswith("__main__") or name == "latent_atlas":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("latent_atlas."):
                arrows.add((room(name), room(str(node.module))))
    arrows = {(one, other) for one, other in arrows if one != other}
    assert len({one for arrow in arrows for one in arrow}) <= 24
    assert len(arrows) <= 144


NOT_PLAIN = re.compile(
    r"\b(dear|whoever|come to rest|telling|holdings|plates|rivals?|opponents?|wish(es|ed)?|worth)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("folder", ["src", "docs", "web/src", "README.md"])
def test_the_words_are_plain(folder: str) -> None:
    top = ROOT / folder
    files = [top] if top.is_file() else top.rglob("*")
    texts = {path: path.read_text() for path in files if path.suffix in {".py", ".md", ".ts"}}
    assert texts
    assert {
        str(path): found[0] for path, text in texts.items() if (found := NOT_PLAIN.search(text))
    } == {}
