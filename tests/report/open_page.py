"""Open a page of experiments in headless Chromium and say how long it takes until all is drawn.

    python tests/report/open_page.py --made 500
    python tests/report/open_page.py exp/report/index.html --screenshot page.png

Needs chromium and chromedriver (apt install chromium chromium-driver) and pip install -e '.[plot,browser]'.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from made_page import chromium, made_experiment
from PIL import Image

from frenchpress.common import UserError, run_main
from frenchpress.report.collect import read_experiment
from frenchpress.report.page import experiment_entry, write_page

ROUNDS = 5


def made_page(exp: Path, number: int) -> Path:
    """The page of so many experiments that are made here; says how long reading and writing took."""
    generator = np.random.default_rng(1)
    for n in range(number):
        made_experiment(exp, f"w{n:03}", generator)
    begin = time.perf_counter()
    systems = [read_experiment(place) for place in sorted(exp.iterdir())]
    read = time.perf_counter()
    entries = [experiment_entry(exp / s.name, s, f"group {n % 5}") for n, s in enumerate(systems)]
    index = write_page(exp / "report", f"{number} experiments", entries)
    size = sum(path.stat().st_size for path in index.parent.iterdir()) / 1e6
    done = time.perf_counter()
    print(f"{number} experiments: read in {read - begin:.1f} s, page of {size:.1f} MB written in {done - read:.1f} s")
    return index


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made", type=int, help="make so many experiments, and a page of them")
    parser.add_argument("--screenshot", type=Path, help="PNG to write")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 1500), help="of the window, in pixels (1280 1500)")
    parser.add_argument("index", type=Path, nargs="?", help="report/index.html")
    args = parser.parse_args()
    if (args.index is None) == (args.made is None):
        raise UserError("expected a page, or --made NUMBER")
    driver = chromium(*args.size)
    if driver is None:
        raise UserError("no browser: apt install chromium chromium-driver; pip install -e '.[browser]'")
    with tempfile.TemporaryDirectory() as exp:
        index = args.index or made_page(Path(exp), args.made)
        seconds = []
        for _ in range(ROUNDS):
            driver.get(index.resolve().as_uri())
            seconds.append(driver.execute_script("return performance.getEntriesByName('drawn')[0].startTime / 1000"))
        said = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"opened and drawn in {statistics.median(seconds):.2f} s (median of {said})")
        if args.screenshot:
            driver.save_screenshot(str(args.screenshot))
            # A page has few colours; with a palette its picture is smaller.
            palette = Image.open(args.screenshot).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
            palette.save(args.screenshot, optimize=True)
    driver.quit()


if __name__ == "__main__":
    run_main(main)
