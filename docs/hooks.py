"""What the site makes of its sources: pages of notebooks, as they are stored; and no links out of the folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def page_of(notebook: dict[str, Any], name: str) -> str:
    """A notebook as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    parts.insert(1, f"This page is a notebook: `docs/notebooks/{name}`.")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: Any) -> Files:
    """Let a page stand for each notebook."""
    for file in [each for each in files if each.src_uri.endswith(".ipynb")]:
        path = Path(str(file.abs_src_path))
        files.remove(file)
        files.append(File.generated(config, f"{file.src_uri.removesuffix('.ipynb')}.md",
                                    content=page_of(json.loads(path.read_text()), path.name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the repository that are not on the site: their text alone."""
    return re.sub(r"\[([^]]+)\]\(\.\./(?:examples|bench|tests|CHANGELOG)[^)]*\)", r"\1", markdown)
