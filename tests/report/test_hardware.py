"""What experiments cost on a chip, in a table of results."""

import os
from pathlib import Path

from packed_models import random_model

from frenchpress.hardware.chip import load_chip
from frenchpress.packed.index import Level
from frenchpress.packed.write import write_model
from frenchpress.report.hardware import chip_data, chip_figures, chip_section, on_chip

CHIP = Path(__file__).parents[2] / "chips/hcgs65.yaml"


def experiment(place, **options):
    place.mkdir()
    write_model(place / "model.press", random_model(1, **options))
    (place / "final.pt").touch()
    os.utime(place / "final.pt", (1, 1))
    return place


def test_a_row_for_what_fits_and_a_reason_for_what_does_not(tmp_path):
    blocks = experiment(tmp_path / "blocks", levels=(Level(4, 1, 2),), cells=(8,))
    single = experiment(tmp_path / "single", levels=0.1)
    older = experiment(tmp_path / "older")
    (older / "final.pt").touch()
    (tmp_path / "floats").mkdir()
    chip = load_chip(CHIP)
    names = [blocks.name, single.name, older.name, "floats", "gone"]
    rows = [on_chip(chip, name, tmp_path / name, 17.25) for name in names]
    text = "\n\n".join("\n".join(part) for part in chip_section(chip, rows))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 3 and "17.25" in table[2] and "blocks" in table[2] and "uJ" in table[2]
    assert "- single: " in text and "lstm0 input: not blocks in blocks" in text
    assert f"- older: trained anew since it was packed; python -m frenchpress.export.pack {older}" in text
    assert f"- floats: not packed; python -m frenchpress.export.pack {tmp_path}/floats" in text
    assert "- gone: its model is not here" in text
    cost = chip_data(rows)["blocks"]
    assert chip_figures(rows[0]) == {
        "cycles": cost["cycles"],
        "microseconds": cost["microseconds"],
        "energy_uj": sum(cost["energy_pj"].values()) / 1e6,
    }
    assert chip_figures(rows[-1]) == {}
    assert cost["cycles"] > 0 and isinstance(chip_data(rows)["gone"], str)
