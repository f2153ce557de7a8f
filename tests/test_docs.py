"""Every block of code in README and docs is run, or at least understood; every link leads somewhere.

A page is read from top to bottom, in one folder that has only photos of animals and two tables at first:
Python blocks in one namespace, with nothing but what they define themselves, and commands of fastgan in
between, as they come.
The reader has MNIST already. What cannot be run stands in NOT_RUN with the reason, and goes to the parser of
its program, as all other commands do. Blocks of text are what the Python above them prints, or what fastgan
says elsewhere. Anything else fails. Commands in the experiments' docstrings are a shell's too.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import typer.main

from fastgan.cli import app
from fastgan.metrics import classifier
from fastgan.tabular.frames import write_table
from tests.test_cli import run
from tests.test_data import write_idx
from tests.test_runs import write_photos
from tests.test_tabular_gan import table

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs the sources")

# What stands in a block, and what the test has in its place: the same with fewer steps.
SHORTER = {"steps=5_000": "steps=3", "steps=200": "steps=3", "range(100)": "range(3)"}
STEPS = 3  # of fastgan train, and as many more where a run is extended
# What is parsed and not run, by what it begins with, and why.
NOT_RUN = {
    "fastgan train photos": "takes the reader's own images; tests/test_streaming.py has some",
    "make": "installs, or measures for half an hour",
    "pip": "installs",
    "python": "trains for hours, or takes the reader's files",
    "torchrun": "wants four GPUs; tests/test_distributed.py has two processes",
}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str

    @property
    def last_line(self) -> int:
        return self.line + self.text.count("\n") + 2

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if line.lstrip().startswith("```"):
            indent = line[: line.index("```")]
            inside = [text.removeprefix(indent) for _, text in iter_until_fence(lines)]
            yield Block(page, number, line.strip().removeprefix("```"), "\n".join(inside))


def iter_until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line.strip() == "```":
            return
        yield number, line


def docstring_of(script: Path) -> Block:
    """Its commands, as a shell's block."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return Block(script, 1, "", "\n".join(re.findall(r"^python -m .*$", text, re.MULTILINE)))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
BLOCKS += map(docstring_of, sorted((ROOT / "experiments").glob("*.py")))
LANGUAGES = {"python", "text", ""}  # "" is a shell's


def test_there_is_a_rule_for_every_block() -> None:
    assert len(BLOCKS) > 20
    strangers = [f"{block}: {block.language}" for block in BLOCKS if block.language not in LANGUAGES]
    assert not strangers, f"blocks in a language that no test here reads: {strangers}"


PAGES_WITH_CODE = sorted({block.page for block in BLOCKS if block.page in PAGES and block.language != "text"})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(
    page: Path,
    mnist: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTGAN_DATA", str(mnist))
    for animal in ("cat", "dog"):
        write_photos(tmp_path / "animals" / animal)
    for name in ("people", "test"):
        write_table(table(), tmp_path / f"{name}.csv")
    monkeypatch.setattr(classifier, "_STEPS", 5)  # no page prints what is measured here
    namespace: dict[str, object] = {}
    for block, following in pairwise([*blocks_of(page), Block(page, 0, "", "")]):
        capsys.readouterr()
        if block.language == "python":
            text = block.text
            for long, short in SHORTER.items():
                text = text.replace(long, short)
            # its line numbers are those of the page
            exec(compile("\n" * block.line + text, str(page), "exec"), namespace)
        for words in commands_of(block):
            if not reasons(words):
                assert run(monkeypatch, *shortened(words[1:])) == 0, f"{block}: {shlex.join(words)}"
        is_printed = block.language == "python" and following.language == "text"
        if is_printed and following.line == block.last_line + 2:
            assert following.text in capsys.readouterr().out


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as that of who has downloaded MNIST, with fewer digits."""
    folder = tmp_path_factory.mktemp("mnist")
    pixels = np.random.default_rng(0).integers(0, 256, (200, 28, 28), np.uint8)
    write_idx(folder / "train-images-idx3-ubyte", pixels)
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(200, dtype=np.uint8) % 10)
    return folder


def shortened(arguments: list[str]) -> list[str]:
    """The arguments of fastgan with few steps and samples."""
    if arguments[0] != "train":
        return [*arguments, *(["--count", "500"] if arguments[0] == "evaluate" else [])]
    if "--steps" not in arguments:
        return [*arguments, "--steps", str(STEPS)]
    place = arguments.index("--steps") + 1
    return [*arguments[:place], str(2 * STEPS), *arguments[place + 1 :]]


def reasons(words: list[str]) -> list[str]:
    """Why a command is not run; none for one that is."""
    command = shlex.join(words)
    return [reason for beginning, reason in NOT_RUN.items() if command.startswith(beginning)]


def test_what_is_shortened_is_there() -> None:
    code = "".join(block.text for block in BLOCKS if block.language == "python")
    assert not [long for long in SHORTER if long not in code]


def commands_of(block: Block) -> Iterator[list[str]]:
    """The commands of a shell's block, without what they put into the environment."""
    if block.language == "":
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


COMMANDS = [(block, words) for block in BLOCKS for words in commands_of(block)]


@pytest.mark.parametrize(
    "page", dict.fromkeys(block.page for block, _ in COMMANDS), ids=lambda page: page.stem
)
def test_commands(page: Path) -> None:
    for block, words in COMMANDS:
        if block.page == page:
            program, *arguments = words
            assert program in PARSERS, f"{block}: no rule for {program}"
            PARSERS[program](arguments)
            assert program == "fastgan" or reasons(words), f"{block}: neither run nor with a reason why not"


def test_what_is_not_run_is_there() -> None:
    whole = [shlex.join(words) for _, words in COMMANDS]
    assert not [command for command in NOT_RUN if not any(line.startswith(command) for line in whole)]


def parse_fastgan(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)  # raises UsageError


def parse_module(arguments: list[str]) -> None:
    """python -m MODULE ..."""
    flag, module, *rest = arguments
    assert flag == "-m"
    if module == "fastgan":
        parse_fastgan(rest)
    elif module.startswith("experiments."):
        parse_argparse(importlib.import_module(module).main, rest)
    else:
        assert (ROOT / module.replace(".", "/")).is_dir()  # a package with a __main__
        for path in rest:
            assert "/" not in path or (ROOT / path).exists()


class ParsedError(Exception):
    """Ends a main() that has parsed its arguments."""


def parse_argparse(main: Callable[[], None], arguments: list[str]) -> None:
    def parse(parser: argparse.ArgumentParser, *_: object) -> None:
        original(parser, arguments)
        raise ParsedError

    original = argparse.ArgumentParser.parse_args
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
        with pytest.raises(ParsedError):
            main()


def parse_torchrun(arguments: list[str]) -> None:
    own = [word for word in arguments if word.startswith("--nproc-per-node=")]
    assert arguments[: len(own)] == own
    parse_module(arguments[len(own) :])


def parse_make(arguments: list[str]) -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert next(word for word in arguments if "=" not in word) in targets


def parse_pip(arguments: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert arguments[0] == "install"
    for word in arguments[1:]:
        assert word.startswith("-") or re.sub(r"\[[\w,]+\]$", "", word) == "."
        extras = [name for named in re.findall(r"\[([\w,]+)\]", word) for name in named.split(",")]
        assert all(f"\n{extra} = [" in project for extra in extras)


PARSERS = {
    "fastgan": parse_fastgan,
    "python": parse_module,
    "torchrun": parse_torchrun,
    "make": parse_make,
    "pip": parse_pip,
}


# --- what fastgan is said to print


def sayings() -> set[str]:
    """Every string of the sources, with an ellipsis for what is formatted into it."""
    found = set()
    for path in [ROOT / "setup.py", *(ROOT / "fastgan").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.add(" ".join("".join(parts).split()))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_messages_are_those_of_the_sources() -> None:
    messages = [
        " ".join(block.text.split())
        for block in blocks_of(ROOT / "docs" / "troubleshooting.md")
        if block.language == "text"
    ]
    assert len(messages) > 20
    patterns = {message: ".*".join(map(re.escape, message.split("…"))) for message in messages}
    known = sayings()
    unknown = [m for m in messages if not any(re.fullmatch(patterns[m], saying) for saying in known)]
    assert not unknown, f"fastgan says no such thing: {unknown}"


def test_nobody_is_sent_to_an_index_for_fastgan() -> None:
    """It is on none: what came under its name would be a stranger's."""
    suffixes = {".cfg", ".ipynb", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yml"}
    names = [*ROOT.glob("*"), *(ROOT / ".ci").rglob("*")]
    for folder in ("benchmarks", "docs", "examples", "experiments", "fastgan", "tests"):
        names += (ROOT / folder).rglob("*")
    texts = [path for path in names if path.suffix in suffixes or path.name in ("Makefile", "run")]
    assert len(texts) > 200
    sent = re.compile(r"pip install[^\n#]*[ '\"]fastgan(?!'s|[\w./-])")
    found = [path for path in texts if path.is_file() and sent.search(path.read_text(encoding="utf-8"))]
    assert not found


# --- links

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(page: Path) -> str:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "code", text)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings
    }


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in _LINK.findall(without_code(page))]
    assert len(links) > 100
    for page, link in links:
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        assert target.is_relative_to(ROOT), f"{page.name} links to {link}, outside the repository"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}, but there is no such heading"
