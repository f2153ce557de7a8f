"""Every file, Python name, option and identifier that docs, docstrings and comments name exists.

CHANGELOG is not read, as it names what existed once; nor blocks of code in Markdown, which test_docs.py runs.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer.main

import fastgan
import fastgan.models
from fastgan.cli import app

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", "benchmarks", "csrc", "docs", "examples", "experiments", "fastgan", "tests")
PACKAGES = ("benchmarks", "examples", "experiments", "fastgan", "tests")
if not (ROOT / "docs").exists():
    pytest.skip("needs the sources", allow_module_level=True)

# Names that are not ours or not in the code, by the reason why they are named all the same.
ALLOWED = {
    "a file of another library": """
        audiocraft/adversarial/losses.py audiocraft/losses/balancer.py basicsr/losses/gan_loss.py
        conv2d_resample.py ctgan/synthesizers/ctgan.py dac/nn/loss.py
        examples/pytorch/domain_templates/generative_adversarial_net.py loss.py models.py
        models/networks.py models/networks/loss.py monai/losses/adversarial_loss.py pix2pix_model.py
        src/utils/losses.py tensorflow_gan/python/losses/losses_impl.py
        torch_mimicry/modules/losses.py torch_utils/ops/bias_act.py torch_utils/ops/upfirdn2d.py
        torchgan/losses/functional.py train.py training/loss.py vocos/loss.py vqperceptual.py
    """,
    "a page of the site that docs/hooks.py makes": """
        changelog.md contributing.md index.md source/examples/index.md
    """,
    "an option of another program": """
        --benchmark-json --build-lib --force-reinstall --group-by --help --logdir --no-deps
        --nproc-per-node --strict
    """,
    "a program, a library, a paper": """
        AddressSanitizer AudioCraft BasicSR BigVGAN CycleGAN FastGAN HiFi LlamaGen NeMo NumPy OpenMP
        PacGAN ParallelWaveGAN PyPI R3GAN RaSGAN SciPy SpeechBrain StudioGAN StyleGAN StyleGAN2
        StyleGAN3 TensorBoard TensorFlow ThreadSanitizer TorchDynamo UndefinedBehaviorSanitizer
        UnivNet arXiv cuBLAS nohup prdc reStructuredText
    """,
    "a name of another library": """
        AveragedModel BinaryLogisticRegression ContingencySimilarity CorrelationSimilarity
        DCROverfittingProtection DistributedDataParallel KSComplement LogisticDetection
        QualityReport TVComplement GAN_Feat loss_d loss_g pix2pixHD FORCE_COLOR
        FakeTensor FlopCounterMode GradScaler UsageError WorkerInfo __cxa_throw compute_prdc
        cudaHostAlloc d_loss gen_logits is_exporting is_grads_batched reset_sampling sm_90 torch_utils
    """,
    "a distribution": "p_data",
    "a key of a stored result": "demonstration",
    "a result that a docstring gives a name": """
        grad_logits grad_other_logits grad_reconstruction grad_weight
    """,
}

_STRING = r'"(?:\\.|[^"\\\n])*"'
_LEXERS = {
    # a docstring begins a line, and is not an argument of a call
    (".py", ".pyi"): r'(?P<prose>(?<![,(\[]\n)^[ \t]*r?"""(?:.|\n)*?"""|\#[^\n]*)'
    r"|\"\"\"(?:.|\n)*?\"\"\"|'''(?:.|\n)*?'''|'(?:\\.|[^'\\\n])*'|" + _STRING,
    (".h", ".cuh", ".cu", ".cpp"): r"(?P<prose>//[^\n]*|/\*(?:.|\n)*?\*/)|'(?:\\.|[^'\\\n])'|" + _STRING,
    ("", ".toml", ".sh"): r"(?P<prose>(?:(?<=\s)|^)\#[^\n]*)",
    # blocks of code, and the settings of an API page's entry
    (".md",): r"(?P<code>^ *```(?:.|\n)*?^ *```|^    options:[^\n]*(?:\n      [^\n]*)*)",
}
LEXERS = {suffix: re.compile(lexer, re.MULTILINE) for group, lexer in _LEXERS.items() for suffix in group}


class Source(NamedTuple):
    """A file's prose and its code, each with spaces in place of the other: positions are the file's."""

    path: Path
    prose: str
    code: str

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def folder(self) -> str:
        return str(self).partition("/")[0]

    @property
    def module(self) -> str:
        return re.sub(r"(/__init__)?\.pyi?$", "", str(self)).replace("/", ".")

    @property
    def classes(self) -> list[str]:
        return re.findall(r"^class (\w+)", self.code, re.MULTILINE)

    def line(self, position: int) -> str:
        return f"{self}:{self.prose.count(chr(10), 0, position) + 1}"


def read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yml":
        return Source(path, text, text)
    matches = list(LEXERS[path.suffix].finditer(text))
    inside = [match.span() for match in matches if match.lastgroup]
    parts, others, position = [], [], 0
    for start, end in [*inside, (len(text), len(text))]:
        parts += [_blank(text[position:start]), text[start:end]]
        others += [text[position:start], _blank(text[start:end])]
        position = end
    prose, code = "".join(parts), "".join(others)
    return Source(path, code, prose) if path.suffix == ".md" else Source(path, prose, code)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def paths() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "mkdocs.yml"))
    yield from (ROOT / name for name in ("setup.py", "pyproject.toml", "Makefile", ".ci/run"))
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*.*")) if path.suffix in LEXERS)


SOURCES = [read(path) for path in paths()]
Named = Iterator[tuple[str, int]]  # what is named, and where in the prose


def missing(
    named: Callable[[Source], Named],
    exists: Callable[[str], object] = lambda _: False,
    sources: Iterable[Source] = SOURCES,
) -> list[str]:
    """The names that neither exist nor are allowed, with the line of each."""
    allowed = {name for names in ALLOWED.values() for name in names.split()}
    return [
        f"{source.line(position)}: {name}"
        for source in sources
        for name, position in named(source)
        if name not in allowed and not exists(name)
    ]


# --- files

_FILE = r"(?:[\w*.-]+/)*[\w*-]+\.(?:py|pyi|h|cuh|cu|cpp|md|yml|sh|ipynb|toml)\b(?!\.?\w)"
_BELOW = rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w*./-]*[\w*/]"
PATH = re.compile(rf"(?<![\w/.:<…-])(?:{_FILE}|{_BELOW})")
# A paragraph, a row of a table, an item of a list.
_PIECE = re.compile(r"(?:(?!\n[ #/*]*\n|\n\||\n\d\. ).|\n(?![ #/*]*\n|\||\d\. ))+")


def files_that_are_not_there(source: Source) -> Named:
    """A path begins at the root, at the file that names it, or where another path of its paragraph leads."""
    for piece in _PIECE.finditer(source.prose):
        bases = [ROOT, source.path.parent, *([ROOT / "docs"] if source.path.name == "mkdocs.yml" else [])]
        for match in PATH.finditer(piece[0]):
            pattern = match[0].replace("NAME", "*").strip("/")
            if not any(is_there(base, pattern) for base in bases):
                yield match[0], piece.start() + match.start()
            bases += [folder for folder in (ROOT / pattern).parents if folder.is_relative_to(ROOT)]
            bases += [ROOT / pattern] if (ROOT / pattern).is_dir() else []


@functools.cache
def is_there(base: Path, pattern: str) -> bool:
    # glob also takes paths without a star, at many times the cost
    return any(base.glob(pattern)) if "*" in pattern else (base / pattern).exists()


def test_nothing_is_allowed_in_vain() -> None:
    prose = "".join(source.prose + source.code for source in SOURCES if source.path != Path(__file__))
    assert not [name for names in ALLOWED.values() for name in names.split() if name not in prose]


def test_every_file_is_there() -> None:
    assert not missing(files_that_are_not_there)


# --- Python names

DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)}|torch)(?:\.\w+)+(?!\w*/)")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
FILE = re.compile(_FILE)


def dotted_names(source: Source) -> Named:
    for match in DOTTED.finditer(source.prose):
        if not FILE.fullmatch(match[0]) and "NAME" not in match[0]:
            yield match[0], match.start()


def roles(source: Source) -> Named:
    """Absolute, in the module, or in a class of it."""
    places = [source.module, *(f"{source.module}.{name}" for name in source.classes)]
    for match in ROLE.finditer(source.prose):
        names = [match[1]] if match[1].startswith(PACKAGES) else [f"{place}.{match[1]}" for place in places]
        name = next(filter(resolves, names), names[0])
        yield name, match.start()


@functools.cache
def resolves(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True  # without the import of what an experiment needs
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        parent, _, attribute = name.rpartition(".")
        owner = pkgutil.resolve_name(parent) if parent and resolves(parent) else None
        return inspect.isclass(owner) and _is_in_instances(owner, attribute)
    return True


def _is_in_instances(owner: type, attribute: str) -> bool:
    """A field without a default, or what a method sets."""
    ours = [base for base in owner.__mro__ if base.__module__.startswith(PACKAGES)]
    return any(
        re.search(rf"^    {attribute}: |self\.{attribute}\b", inspect.getsource(b), re.M) for b in ours
    )


MODULES = [source for source in SOURCES if source.folder == "fastgan" and source.path.suffix == ".py"]


def members(source: Source) -> Named:
    """Class.member, of any class of ours."""
    for match in re.finditer(r"(?<![\w.])([A-Z]\w+)\.([a-z_]\w*)(?![\w/])", source.prose):
        names = [f"{module.module}.{match[0]}" for module in MODULES if match[1] in module.classes]
        if names:
            yield next(filter(resolves, names), names[0]), match.start()


def test_every_python_name_is_there() -> None:
    pytest.importorskip("triton")
    assert not missing(dotted_names, resolves)
    assert not missing(roles, resolves)
    assert not missing(members, resolves)


# --- options


def options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for each in getattr(command, "commands", {}).values():
        yield from options(each)


def named_options(source: Source) -> Named:
    """In messages of fastgan too."""
    text = source.path.read_text(encoding="utf-8") if source.folder == "fastgan" else source.prose
    for match in re.finditer(r"(?<![\w-])--[a-z][\w-]*\w", text):
        yield match[0], match.start()


def test_every_option_is_there() -> None:
    code = "".join(source.code for source in SOURCES if source.folder != "fastgan")
    known = {*options(typer.main.get_command(app)), *re.findall(r'add_argument\(\s*"(--[\w-]+)"', code)}
    assert not missing(named_options, known.__contains__)


# --- identifiers

# a_b, aB or `name`; but neither an index, a_i, nor a part of a name, …_b or a_…
_IDENTIFIER = re.compile(
    r"(?<![\w/.…*-])(?!\w+_\wᵀ?\b)(?:_*[A-Za-z]\w*_\w+|\w*[a-z0-9][A-Z]\w+)(?![\w…*/])"
    r"|(?<=`)[A-Za-z_]\w*(?=`|\()"
)
_KNOWN_BY_OTHERS = re.compile(rf"{PATH.pattern}|{DOTTED.pattern}|\b[0-9a-f]{{16}}\b")


def identifiers(source: Source) -> Named:
    prose = _KNOWN_BY_OTHERS.sub(lambda match: _blank(match[0]), source.prose)
    for match in _IDENTIFIER.finditer(prose):
        yield match[0], match.start()


def test_every_identifier_is_in_the_code() -> None:
    # fastgan and csrc know nothing of their tests
    product = [source for source in SOURCES if source.folder in ("fastgan", "csrc")]
    others = [source for source in SOURCES if source not in product]
    assert not missing(identifiers, words_of(product).__contains__, product)
    everywhere = words_of(source for source in SOURCES if source.path != Path(__file__))
    assert not missing(identifiers, everywhere.__contains__, others)


def words_of(sources: Iterable[Source]) -> set[str]:
    return set(re.findall(r"\w+", " ".join(source.code for source in sources)))


# --- the pages of the API


ENTRIES = [
    entry
    for page in sorted((ROOT / "docs" / "api").glob("*.md"))
    for entry in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
NOT_ON_A_PAGE = {
    "fastgan.ops": "the page on operations has each of them",
    "fastgan.models.FAMILIES": "the table that recipes name networks from",
    "fastgan.models.Family": "a row of that table",
}


def public(module: ModuleType) -> dict[str, object]:
    defined = [
        name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__
    ]
    names = getattr(module, "__all__", [name for name in defined if name[0] != "_"])
    return {f"{module.__name__}.{name}": getattr(module, name) for name in names}


def test_the_api_has_every_name_once() -> None:
    entries = [pkgutil.resolve_name(entry) for entry in ENTRIES]
    shown = list(entries)
    for module in filter(inspect.ismodule, entries):
        shown += public(module).values()
    assert not [name for name, thing in zip(ENTRIES, entries, strict=True) if shown.count(thing) > 1]
    absent = [
        name
        for module in (fastgan, fastgan.ops, fastgan.models, fastgan.nn)
        for name, thing in public(module).items()
        if thing not in shown
    ]
    assert sorted(absent) == sorted(NOT_ON_A_PAGE)
