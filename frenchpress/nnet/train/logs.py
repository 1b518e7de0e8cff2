"""What a run leaves for the eye: metrics.jsonl, train.log, events for TensorBoard, train.yaml."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import version
from typing import Any

import torch

from frenchpress.common.progress import left
from frenchpress.nnet import checkpoint
from frenchpress.nnet.kernel_line import kernel_line
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.train.run import Run


def write_logs(run: Run) -> None:
    """Write `metrics.jsonl` and `train.log` anew, so that an interruption leaves no line double or half; and events."""
    if not run.workers.first:
        return
    history = run.progress.history
    records = "".join(json.dumps(entry) + "\n" for entry in history)
    checkpoint.write_bytes(run.out / "metrics.jsonl", records.encode())
    lines = [kernel_line(run.model.lstm, run.model.input_mean.device), *map(epoch_line, history)]
    checkpoint.write_bytes(run.out / "train.log", "".join(line + "\n" for line in lines).encode())
    if run.events is not None:
        run.events.show(history)
    print(lines[-1] + left(sum(e["seconds"] for e in history), len(history), run.config.train.epochs), flush=True)


def epoch_line(entry: dict[str, float]) -> str:
    """One epoch of `metrics.jsonl` for the eye."""
    error_cd, error_mono = 100 * entry["dev_frame_error_cd"], 100 * entry["dev_frame_error_mono"]
    density = f", density {100 * entry['density']:.2f} %" if "density" in entry else ""
    sent = f", sent {entry['sent_bytes_per_step'] / 1e6:.3f} MB a step" if "sent_bytes_per_step" in entry else ""
    ways = "".join(_way(way, figures) for way, figures in entry.get("boundaries", {}).items())
    return (
        f"epoch {entry['epoch']:2}: loss cd {entry['loss_cd']:.4f} mono {entry['loss_mono']:.4f}, "
        f"dev loss {entry['dev_loss']:.4f} frame error cd {error_cd:.2f} % mono {error_mono:.2f} %, "
        f"lr {entry['lr_lstm']:.2e}, {entry['seconds']:.0f} s, {entry['frames_per_second']:.0f} frames/s"
        f"{density}{sent}{ways}"
    )


def _sent(entry: dict[str, Any]) -> int:
    """Bytes per step that a worker sends, or all stages of a pipeline together."""
    ways = entry.get("boundaries", {}).values()
    return entry.get("sent_bytes_per_step", 0) + sum(figures["bytes_per_step"] for figures in ways)


def _way(way: str, figures: dict[str, float | None]) -> str:
    decibel = "" if figures["sqnr"] is None else f" at {figures['sqnr']:.1f} dB"
    return f", {way} {figures['bytes_per_step'] / 1e6:.3f} MB a step{decibel}"


def write_summary(run: Run, arguments: argparse.Namespace, device: torch.device) -> None:
    """Write what was run with what, and how long it took."""
    history = run.progress.history
    seconds = sum(e["seconds"] for e in history)
    if history:
        best = min((e for e in history if run.masks.settled(e["epoch"] - 1)), key=lambda e: e["dev_frame_error_cd"])
    else:
        _, error_cd, error_mono = evaluate(run.result, run.dev)
        best = {"epoch": 0, "dev_frame_error_cd": error_cd, "dev_frame_error_mono": error_mono}
    sent = sum(_sent(e) * e["steps"] for e in history)
    summary: dict[str, Any] = {
        "command": " ".join(sys.argv),
        "config": str(arguments.config),
        "task": str(arguments.task),
        "seed": run.config.seed,
        "epochs": len(history),
        "chosen_epoch": best["epoch"],
        "dev_frame_error_cd": best["dev_frame_error_cd"],
        "dev_frame_error_mono": best["dev_frame_error_mono"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(e.get("processor_seconds", 0) for e in history), 1),
        "frames_per_second": round(len(history) * len(run.train) / max(seconds, 1e-9), 1),
        **({"sent_bytes_per_step": round(sent / sum(e["steps"] for e in history))} if sent else {}),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "versions": {
            "frenchpress": version("frenchpress"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    }
    checkpoint.write_yaml(run.out / checkpoint.SUMMARY, summary)
