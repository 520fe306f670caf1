"""What the site adds: a page of functions for each room, notebooks as pages, and equations as MathML."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]
ROOMS = {
    "ground": "comrl/ground",
    "envs": "envs",
    "datasets": "datasets",
    "algorithms": "algorithms",
    "benchmark": "benchmark",
}
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)
NOTEBOOK_LINK = re.compile(r"(\]\([\w./-]+)\.ipynb\)")


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each room, with all that its modules declare in public, and one for each notebook."""
    for room, folder in ROOMS.items():
        modules = sorted(path for path in (ROOT / folder).rglob("*.py"))
        names = [
            ".".join(["comrl", room, *_dotted(path.relative_to(ROOT / folder))]).rstrip(".")
            for path in modules
        ]
        text = f"# comrl.{room}\n\n" + "\n".join(f"## {name}\n\n::: {name}\n" for name in names)
        files.append(File.generated(config, f"api/{room}.md", content=text))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, found = MarkdownExporter().from_filename(path, {"unique_key": path.stem})
        own = f'\n<a href="{path.name}" download>This page as a notebook</a>\n'
        content = text.replace("![png](", "![](") + own
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=content))
        for name, picture in found["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def _dotted(path: Path) -> list[str]:
    parts = list(path.with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead to the page of a notebook where a link names its file."""
    return NOTEBOOK_LINK.sub(r"\1.md)", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Set every formula of a page."""
    content = INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return BLOCK.sub(lambda found: convert(html.unescape(found[1]), display="block"), content)
