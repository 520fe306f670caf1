"""What the site adds: a page of functions for each room, and equations as MathML, which browsers draw."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

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


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each room, with all that its modules declare in public."""
    for room, folder in ROOMS.items():
        modules = sorted(path for path in (ROOT / folder).rglob("*.py"))
        names = [
            ".".join(["comrl", room, *_dotted(path.relative_to(ROOT / folder))]).rstrip(".")
            for path in modules
        ]
        text = f"# comrl.{room}\n\n" + "\n".join(f"## {name}\n\n::: {name}\n" for name in names)
        files.append(File.generated(config, f"api/{room}.md", content=text))
    return files


def _dotted(path: Path) -> list[str]:
    parts = list(path.with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def on_page_content(content: str, **_: Any) -> str:
    """Set every formula of a page."""
    content = INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return BLOCK.sub(lambda found: convert(html.unescape(found[1]), display="block"), content)
