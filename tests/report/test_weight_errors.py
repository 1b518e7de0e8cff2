"""Errors of quantized weights beside PER: means over matrices, and rank correlations."""

import json
import sys

import pytest
import yaml

from frenchpress.common import UserError
from frenchpress.report import errors as module


def trained(place, per, sqnr, kl):
    """An experiment as training and decoding leave it; its matrices' SQNRs are `sqnr` - 1 and `sqnr` + 1."""
    stats = {"per": per, "interval": [per - 1, per + 1], "utterances": 10, "phones": 100}
    for split in ("dev", "test"):
        (place / f"decode_{split}").mkdir(parents=True)
        (place / f"decode_{split}/stats.yaml").write_text(yaml.safe_dump(stats))
    (place / "config.yaml").write_text("seed: 1\n")
    (place / "final.pt").write_bytes(b"x")
    of = {
        f"lstm.lstm{n}.input_matrix": {"sqnr": s, "cosine": 1.0, "l1": 1 / s, "kl": kl}
        for n, s in ((0, sqnr - 1), (1, sqnr + 1))
    }
    of["lstm.lstm0.act"] = {"sqnr": 99.0, "cosine": 0.0, "l1": 9.0, "kl": 9.0}
    lines = [{"epoch": 1, "errors": {}}, {"epoch": 2, "dev_frame_error_cd": per / 50, "errors": of}]
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def test_the_last_epoch_of_the_weights_counts(tmp_path):
    run = module.read_erring(trained(tmp_path / "w4", 30.0, 10.0, 0.5))
    assert (run.per, run.frame_error, run.means["sqnr"], run.means["kl"]) == (30.0, 60.0, 10.0, 0.5)


def test_correlation_is_one_where_closer_weights_mean_a_lower_rate(tmp_path, monkeypatch, capsys):
    places = [trained(tmp_path / f"w{n}", 30.0 + n, 20.0 - n, [1.0, 3.0, 2.0][n]) for n in range(3)]
    monkeypatch.setattr(sys, "argv", ["errors", *map(str, places)])
    module.main()
    table = {line.split("|")[1].strip(): line.split("|")[2:] for line in capsys.readouterr().out.splitlines() if line}
    assert [float(cell) for cell in table["SQNR, dB"][:4]] == [1, 1, 1, 1]
    assert [float(cell) for cell in table["KL, nats"][:2]] == [0.5, pytest.approx(1 / 3, abs=0.01)]
    assert table["cosine"][0].strip() == "-"


def test_what_has_no_errors_is_refused(tmp_path, monkeypatch):
    place = trained(tmp_path / "w8", 30.0, 10.0, 0.5)
    (place / "metrics.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(UserError, match="w8/metrics.jsonl: no errors of quantized weights; train with train.errors"):
        module.read_erring(place)
    with pytest.raises(UserError, match="nowhere: no experiment"):
        module.read_erring(tmp_path / "nowhere")
    (place / "final.pt").unlink()
    with pytest.raises(UserError, match="w8: training not finished"):
        module.read_erring(place)
    monkeypatch.setattr(sys, "argv", ["errors", str(place)])
    with pytest.raises(UserError, match="at least three experiments, to be put in an order; found 1"):
        module.main()
