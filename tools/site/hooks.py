"""Adapt the pages of docs/ to the site, so that the same files also work on GitHub."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = get_plugin_logger(__name__)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GENERATED = ROOT / ".cache/docs/pages"
"""The pages that tools/make-reference-pages writes."""

ASSETS = {
    "assets/site.css": HERE / "site.css",
    "assets/mermaid.js": HERE / "node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js",
    "assets/iframe-worker.js": HERE / "node_modules/iframe-worker/shim/index.js",
}
"""The files of the site. The theme would load the scripts from other hosts."""

_TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_LINK_ABOVE = re.compile(r"(?<=\]\()\.\./[^)\s]+(?=\))")


def on_config(config: MkDocsConfig) -> None:
    """Replace the patterns in `nav` with the pages that match them."""
    assert config.nav is not None
    config.nav = _expanded(config.nav, Path(config.docs_dir))


def _expanded(items: list[Any], docs: Path) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            ((title, value),) = item.items()
            found.append({title: _expanded(value, docs) if isinstance(value, list) else value})
        else:
            found += sorted(str(page.relative_to(docs)) for page in docs.glob(item))
    return found


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages, and the assets."""
    for page in sorted(GENERATED.glob("*.md")):
        files.append(File.generated(config, page.name, abs_src_path=str(page)))
    for name, source in ASSETS.items():
        files.append(File.generated(config, name, abs_src_path=str(source)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Let links out of docs/ lead to the repository, and write pipes in tables as Python-Markdown does."""
    directory = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    repository = config.extra["repository"]

    def target(link: re.Match[str]) -> str:
        file, _, anchor = link[0].partition("#")
        path = posixpath.normpath(posixpath.join(directory, file))
        if path.startswith("docs/"):
            return link[0]
        if not (ROOT / path).exists():
            log.warning("%s: the link %s leads nowhere", page.file.src_uri, link[0])
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{repository}/{kind}/main/{path}" + (f"#{anchor}" if anchor else "")

    return _TABLE_ROW.sub(_with_plain_pipes, _LINK_ABOVE.sub(target, markdown))


def _with_plain_pipes(row: re.Match[str]) -> str:
    return re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0])


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Load the script for diagrams, which is large, only in pages with diagrams."""
    if 'class="mermaid"' not in output:
        return output
    script = posixpath.relpath("assets/mermaid.js", posixpath.dirname(page.file.dest_uri) or ".")
    return output.replace("</head>", f'<script src="{script}"></script></head>', 1)
