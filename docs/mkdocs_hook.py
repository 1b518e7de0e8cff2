"""A hook of mkdocs: the site has the layout of the repository, so one relative link serves both."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# What pages are made of, and what they link to.
SHOWN = ("README.md", "LICENSE", "CITATION.cff", "run.sh", "setup.py", "docs/*.md", "docs/img/*", "conf/*.c*")
SHOWN += ("examples/*.py",)
SHOWN += ("recipes/README.md", "recipes/*/RESULTS.md", "recipes/*/*.svg", "recipes/*/s*.yaml", "frenchpress/**/*.h")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site: those of the repository that are to be shown, each at its place; `files` is unused."""
    paths = sorted({path for pattern in SHOWN for path in ROOT.glob(pattern)})
    return Files([File.generated(config, str(p.relative_to(ROOT)), abs_src_path=str(p)) for p in paths])
