"""What is written in Korean names the commands, figures and pages that the English texts name."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from latent_atlas.anomaly.result import AnomalyTable
from reader import ROOT

ENGLISH, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"
GUIDE = sorted((ROOT / "docs" / "ko").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"\d+(?:,\d{3})+|\d+\.\d+|\d{2,}|\d(?= ?%)")  # one digit may be a word
SOURCES, WEB = ROOT / "src" / "latent_atlas", ROOT / "web" / "src"
VISITED = {
    "explorer/server/uploads.py": {"decode", "_check_head", "read"},
    "explorer/server/worker.py": {"check"},
    "atlas/overview.py": {"ranked", "duplicated", "compared"},
    "geometry/comparison.py": {"sentences"},
    "sampling/weights.py": {"resampled"},
}
"""Functions of which the explorer shows every sentence."""
LINK = re.compile(r"\]\(([^)#]+)")
NAME = re.compile(r"`([^`\n]+)`")


def code(text: str) -> list[tuple[str, list[str]]]:
    """The language of each block, and its lines without comments and empty ones."""
    found = []
    for language, block in BLOCK.findall(text):
        lines = (re.split(r"\s+# |^# ", line)[0].rstrip() for line in block.splitlines())
        found.append((language, [line for line in lines if line]))
    return found


def prose(text: str) -> str:
    """All that is no block of code."""
    return BLOCK.sub("", text)


def linked(page: Path) -> set[Path]:
    """The files that a page links to, those of the other language left out."""
    places = (target for target in LINK.findall(page.read_text()) if "://" not in target)
    found = {(page.parent / target).resolve() for target in places}
    return {place for place in found if place not in (ENGLISH, KOREAN, *GUIDE)}


def test_both_readmes_have_the_same_code_figures_names_and_links() -> None:
    english, korean = ENGLISH.read_text(), KOREAN.read_text()
    assert code(korean) == code(english)
    assert Counter(FIGURE.findall(prose(korean))) == Counter(FIGURE.findall(prose(english)))
    assert set(NAME.findall(prose(korean))) == set(NAME.findall(prose(english)))
    assert linked(KOREAN) == linked(ENGLISH)
    assert korean.count("\n|") == english.count("\n|")
    assert "(README.ko.md)" in english
    assert "(README.md)" in korean


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_korean_guide_says_nothing_that_the_english_one_does_not(page: Path) -> None:
    sources = [ENGLISH, *(ROOT / "docs").glob("*.md")]
    english = "\n".join(source.read_text() for source in sources)
    known = {line for _, lines in code(english) for line in lines}
    korean = page.read_text()
    assert [line for _, lines in code(korean) for line in lines if line not in known] == []
    figures = set(FIGURE.findall(prose(korean)))
    assert figures <= set(FIGURE.findall(english))
    assert set(NAME.findall(prose(korean))) <= set(NAME.findall(english)) | known_words(english)
    assert all(place.exists() for place in linked(page))


def known_words(text: str) -> set[str]:
    """Every word of the text, and those between dots, as in `atlas.random_walk`."""
    return set(re.findall(r"[\w.:=/-]+", text)) | set(re.findall(r"\w+", text))


def test_there_are_korean_pages() -> None:
    assert {page.stem for page in GUIDE} == {"index", "formalism"}


def sentences(tree: ast.AST) -> set[str]:
    """The texts in some code, with {} for their values, and what `counted` makes of nouns."""
    if isinstance(tree, ast.JoinedStr):
        values = [one for one in tree.values if isinstance(one, ast.FormattedValue)]
        parts = ("{}" if isinstance(one, ast.FormattedValue) else one for one in tree.values)
        words = "".join(str(getattr(part, "value", part)) for part in parts)
        return {words}.union(*map(sentences, values))
    if isinstance(tree, ast.Constant):
        return {str(tree.value)}
    found: set[str] = set()
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) == "counted":
        nouns = [one.value for one in tree.args[1:] if isinstance(one, ast.Constant)]
        found = {f"{{}} {noun}{end}" for noun in nouns for end in ("", "s")}
    return found.union(*map(sentences, ast.iter_child_nodes(tree)))


def translated() -> set[str]:
    """The answers that the explorer's page has in Korean."""
    table = (WEB / "data" / "answers.ts").read_text().partition("KOREAN")[2]
    answers = re.findall(r'^  "([^"]+)":\s', table.partition("\n};")[0], re.MULTILINE)
    assert len(answers) > 80
    return {re.sub(r"\{\w+\}", "{}", answer) for answer in answers}


def test_every_answer_in_korean_is_one_that_a_backend_gives() -> None:
    given = {name.replace("_", " ") for name in AnomalyTable.__dataclass_fields__}
    for path in SOURCES.rglob("*.py"):
        given |= sentences(ast.parse(path.read_text()))
    given |= {words.replace("path", "leg") for words in given if "path" in words}  # of waypoints
    for path in (WEB / "offline").glob("*.ts"):
        for text in re.findall(r'"([^"\n]+)"|`([^`]+)`', path.read_text()):
            given.add(re.sub(r"\$\{[^}]*\}", "{}", "".join(text)))
    assert translated() - given == set()


@pytest.mark.parametrize("module", VISITED)
def test_the_page_has_what_visitors_are_told_in_korean(module: str) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse((SOURCES / module).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name in VISITED[module]
    ]
    assert {function.name for function in functions} == VISITED[module]
    told = {
        sentence
        for function in functions
        for statement in function.body[ast.get_docstring(function) is not None :]
        for sentence in sentences(statement)
        if sentence.count(" ") > 2
    }
    assert told
    assert told - translated() == set()
