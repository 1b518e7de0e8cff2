"""Experiments as they look after training and decoding, without either; and a Chromium to look at pages of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import yaml

from frenchpress.common import digest, mark_done
from frenchpress.config import config_to_dict, load_config

ROOT = Path(__file__).resolve().parents[2]
CFG = ROOT / "conf/w8a16_hcgs16x.cfg"
MATRICES = [f"lstm.lstm{n}.{side}_matrix" for n in (0, 1) for side in ("input", "recurrent")] + ["head_cd", "head_mono"]


def made_experiment(exp: Path, name: str, generator: np.random.Generator, phones: int = 39, utts: int = 60) -> Path:
    """An experiment directory whose figures are drawn at random."""
    place, epochs = exp / name, int(generator.integers(2, 12))
    place.mkdir(parents=True)
    config = config_to_dict(load_config(CFG))
    config["train"]["epochs"] = epochs
    (place / "config.yaml").write_text("# task 1\n" + yaml.safe_dump(config))
    (place / "final.pt").write_bytes(name.encode())
    (place / "size.yaml").write_text(yaml.safe_dump(_sizes(generator)))
    command = f"python -m frenchpress.nnet.train --config {CFG} --task exp/task {place}"
    summary = {"seconds": 10.0 * epochs, "epochs": epochs, "config": str(CFG), "command": command, "task": "exp/task"}
    (place / "train.yaml").write_text(yaml.safe_dump(summary))
    (place / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in _history(generator, epochs)))
    rate = generator.uniform(20, 45)
    for split in ("dev", "test"):
        _decoded(place / f"decode_{split}", rate, generator, phones, utts, digest(place / "final.pt"))
    return place


def _sizes(generator: np.random.Generator) -> dict:
    matrices = []
    for name in MATRICES:
        kept, bits = int(generator.integers(1_000, 400_000)), int(generator.integers(2, 9))
        density = kept / 400_000
        matrices.append(
            {"name": name, "density": density, "asked_density": density, "weight_bits": bits, "kept": kept}
            | {"value_bits": kept * bits, "index_bits": kept, "index_code": "hcgs", "scale_bits": 4096}
        )
    stored = sum(m[key] for m in matrices for key in ("value_bits", "index_bits", "scale_bits"))
    kept, total = sum(m["kept"] for m in matrices), 400_000 * len(matrices)
    sizes = {"parameters": total + 5_000, "density": kept / total, "stored_bytes": stored // 8 + 20_000}
    sizes |= {"compression_ratio": 32 * total / stored, "weight_ratio": total / kept}
    return sizes | {"macs_dense": total, "macs_kept": kept, "other_bytes": 20_000, "matrices": matrices}


def _history(generator: np.random.Generator, epochs: int) -> list[dict]:
    falling = np.sort(generator.uniform(0.3, 0.9, epochs))[::-1].tolist()
    return [
        {"epoch": n + 1, "loss_cd": 4 * x, "loss_mono": 2 * x, "dev_loss": 6 * x, "lr_lstm": 1e-3, "seconds": 10.0}
        | {"dev_frame_error_cd": x, "dev_frame_error_mono": 0.8 * x}
        for n, x in enumerate(falling)
    ]


def _decoded(place: Path, rate: float, generator: np.random.Generator, phones: int, utts: int, model: str) -> None:
    place.mkdir()
    names, lines = [f"p{n}" for n in range(phones)], []
    for utt in range(utts):
        ref = generator.choice(names, 20)
        ops = np.where(generator.random(20) < rate / 100, "S", "C")
        ops[:3] = list("IDO")
        hyp = np.where(ops == "S", generator.choice(names, 20), ref)
        ref, hyp = np.where(ops == "I", "***", ref), np.where(np.isin(ops, ["D", "O"]), "***", hyp)
        sides = {"ref": ref, "hyp": hyp, "op": ops, "#csid": [str(int((ops == op).sum())) for op in "CSID"]}
        lines += [" ".join([f"u{utt}", name, *cells]) + "\n" for name, cells in sides.items()]
    (place / "per_utt").write_text("".join(lines))
    (place / "utt2spk").write_text("".join(f"u{n} s{n % 7}\n" for n in range(utts)))
    stats = {"per": rate, "interval": [rate - 2, rate + 2], "utterances": utts, "phones": 19 * utts, "speakers": 7}
    (place / "stats.yaml").write_text(yaml.safe_dump(stats | {"interval_over": "speakers"}))
    mark_done(place, {"model": model})


def chromium(width: int = 1280, height: int = 1600):
    """A headless Chromium; None where it, its driver or selenium is not installed."""
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return None
    if binary is None or driver is None:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
