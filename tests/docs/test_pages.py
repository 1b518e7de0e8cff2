"""The pages: links lead somewhere, also on a git host; lines are not wider than an editor; the site builds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*.md"), *ROOT.glob("recipes/*/reading.md")]
PAGES = sorted({*WRITTEN, *ROOT.glob("recipes/*/RESULTS.md")} - set(ROOT.glob("recipes/*/reading.md")))
WIDEST = 120


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^(?: {4}.*|```.*?^```)$", "", text, flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Those that a git host makes of the headings of `path`."""
    heads = re.findall(r"^#+ +(.*?)\s*$", path.read_text(encoding="utf-8"), re.M)
    plain = [re.sub(r"[`*]|\[(.*?)\]\(.*?\)", r"\1", head).lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        if place.startswith(("http://", "https://")):
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{named(page)}: {link}: no such file"
        assert not anchor or anchor in anchors(target), f"{named(page)}: {link}: no such heading"


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_lines_are_not_wide(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [n for n, line in enumerate(lines, 1) if len(line) > WIDEST and not line.startswith("|")]
    assert not wide, f"{named(page)}: wider than {WIDEST}: lines {wide}"


def test_site_builds(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in PAGES:
        parts = page.relative_to(ROOT).with_suffix("").parts
        place = tmp_path / "site" / Path(*(parts[:-1] if parts[-1] == "README" else parts))
        assert (place / "index.html").is_file(), f"{named(page)} is not in the site"
