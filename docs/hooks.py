"""What the site shows that does not lie under docs/: the README and its kin, and sources that pages link to.

Nothing is written twice. Links in Markdown are those that work in the repository; here they are turned to the
pages of the site, and a file or folder of the repository that one leads to gets a page of its own.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in PAGES}
    texts |= {f"docs/{f.src_uri}": f.content_string for f in files.documentation_pages()}
    linked = {_target(path, link) for path, text in texts.items() for link in _LINK.findall(text)}
    for path in PAGES:
        files.append(File.generated(config, PAGES[path], content=_turned(path, texts[path])))
    for target in sorted(linked):
        if not target.startswith("docs/") and target not in PAGES and (ROOT / target).exists():
            for shown in _below(target):
                if _place(shown) not in files.src_uris:
                    files.append(File.generated(config, _place(shown), content=_page(shown)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    generated = page.file.generated_by is not None
    return markdown if generated else _turned(f"docs/{page.file.src_uri}", markdown)


def _target(page: str, link: str) -> str:
    """What a link of a page leads to, as a path from the repository's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _turned(page: str, markdown: str) -> str:
    here = PAGES.get(page, page.removeprefix("docs/"))

    def turn(link: re.Match[str]) -> str:
        place = _place(_target(page, link[1]))
        return posixpath.relpath(place, posixpath.dirname(here) or ".")

    return _LINK.sub(turn, markdown)


def _place(path: str) -> str:
    """Where on the site a path of the repository is found."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}.md" if path.endswith(".py") else f"source/{path}"


def _below(path: str) -> list[str]:
    """A folder with its files, or a file."""
    inside = sorted((ROOT / path).iterdir()) if (ROOT / path).is_dir() else []
    return [path, *(f"{path}/{file.name}" for file in inside if file.is_file())]


def _page(path: str) -> str:
    if (ROOT / path).is_dir():
        names = [file.removeprefix(f"{path}/") for file in _below(path)[1:]]
        lines = [f"- [{name}]({posixpath.basename(_place(f'{path}/{name}'))})" for name in names]
        return f"# {path}\n\n" + "\n".join(lines) + "\n"
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n```python\n{text}```\n" if path.endswith(".py") else text
