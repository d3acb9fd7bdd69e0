"""What is written in Korean names the commands, figures and pages that the English texts name."""

import re
from collections import Counter
from pathlib import Path

import pytest

from reader import ROOT

ENGLISH, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"
GUIDE = sorted((ROOT / "docs" / "ko").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"\d+(?:,\d{3})+|\d+\.\d+|\d{2,}|\d(?= ?%)")  # one digit may be a word
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
