"""Errors of quantized weights beside PER: means over matrices, and rank correlations."""

import json
import shutil
import sys

import pytest
import yaml

from frenchpress.common import UserError
from frenchpress.report import errors as module
from frenchpress.report.collect import read_experiment
from frenchpress.report.epochs import read_epochs
from frenchpress.report.records import read_record, write_record


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
    assert (run.per, run.frame_error) == (30.0, 60.0)
    assert run.measures == {"weights_sqnr": 10.0, "weights_cosine": 1.0, "weights_l1": 0.101010, "weights_kl": 0.5}


@pytest.mark.parametrize(
    "wrong",
    [
        {"dev_frame_error_cd": "x"},
        {"errors": 3},
        {"errors": {"lstm0.input_matrix": 3}},
        {"errors": {"lstm0.input_matrix": {"sqnr": "high"}}},
        {"boundaries": {"a to b": {}}},
    ],
)
def test_figures_of_another_kind_are_one_line(tmp_path, wrong):
    place = trained(tmp_path / "w4", 30.0, 10.0, 0.5)
    (place / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "dev_frame_error_cd": 0.5} | wrong) + "\n")
    with pytest.raises(UserError, match="w4/metrics.jsonl: no figures of epochs; train again"):
        module.read_erring(place)


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
    with pytest.raises(UserError, match="w8: no errors of tensors in its last epoch; train with few bits and train"):
        module.read_erring(place)
    with pytest.raises(UserError, match="nowhere: no experiment"):
        module.read_erring(tmp_path / "nowhere")
    (place / "final.pt").unlink()
    with pytest.raises(UserError, match="w8: training not finished"):
        module.read_erring(place)
    monkeypatch.setattr(sys, "argv", ["errors", str(place)])
    with pytest.raises(UserError, match="at least three experiments, to be put in an order; found 1"):
        module.main()


def test_records_are_enough(tmp_path, monkeypatch, capsys):
    for n in range(3):
        place = trained(tmp_path / f"exp/w{n}", 30.0 + n, 20.0 - n, n)
        (place / "size.yaml").write_text("huffman_bytes: 5\n")
        write_record(tmp_path / f"w{n}.yaml", place, read_experiment(place), "lineage", "cpu")
    shutil.rmtree(tmp_path / "exp")
    assert read_record(tmp_path / "w0.yaml").system.sizes == {"huffman_bytes": 5}
    monkeypatch.setattr(sys, "argv", ["errors", *(str(tmp_path / f"w{n}.yaml") for n in range(3))])
    module.main()
    assert "| w0         |   30.00 |       60.00 |       20 |" in capsys.readouterr().out


def test_what_is_sent_has_errors_too(tmp_path):
    place = trained(tmp_path / "x", 30.0, 10.0, 0.5)
    of = {"bytes_per_step": 9, "sqnr": 6.0, "cosine": 0.9, "l1": 0.2}
    back = {**of, "sqnr": None, "cosine": 0.5}
    ways = {"lstm0 to lstm1": of, "lstm1 to lstm0": back, "lstm9 to lstm10": {**of, "l1": 0.4}}
    lines = [{"dev_frame_error_cd": 0.5}, {"dev_frame_error_cd": 0.4, "sent_error": 0.3, "boundaries": ways}]
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    epochs = read_epochs(place)
    assert epochs["frame_error"] == [50, 40] and epochs["sent_error"] == [None, 0.3]
    assert epochs["forward_l1"] == [None, 0.3] and epochs["backward_cosine"] == [None, 0.5]
    assert "backward_sqnr" not in epochs
    found = module.read_erring(place)
    assert found.measures["forward_sqnr"] == 6 and found.measures["sent_error"] == 0.3
    with pytest.raises(UserError, match="x, w4: no measure that all of them have"):
        module.shared_measures([found, module.read_erring(trained(tmp_path / "w4", 30.0, 10.0, 0.5))])
