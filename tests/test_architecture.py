"""What keeps the house in order besides the import contract."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src" / "latent_atlas").rglob("*.py"))


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
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_no_room_outgrows_its_walls() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}
