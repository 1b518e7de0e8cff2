"""The results table: every state an experiment can be in, seeds taken together, references, damaged files."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from frenchpress.common import UserError, digest, mark_done
from frenchpress.config import config_from_dict
from frenchpress.report import next_steps, table
from frenchpress.report.collect import collect, read_reference
from frenchpress.report.page import write

ROOT = Path(__file__).resolve().parents[2]
SIZE = {
    "parameters": 4_000_000,
    "kept": 250_000,
    "density": 0.0625,
    "stored_bytes": 300_000,
    "compression_ratio": 53.3,
    "weight_ratio": 16.0,
    "macs_dense": 3_900_000,
    "macs_kept": 243_750,
    "matrices": [{"name": "lstm0.input"}],
}


def decoded(place, per, model=None):
    for split, rate in (("dev", per), ("test", per + 1)):
        directory = place / f"decode_{split}"
        directory.mkdir(parents=True)
        stats = {"per": rate, "interval": [rate - 1.3, rate + 1.2], "utterances": 240, "phones": 5328}
        if split == "test":
            stats["oracle"] = {"per": rate - 0.5}
        (directory / "stats.yaml").write_text(yaml.safe_dump(stats))
        mark_done(directory, {"model": model} if model else {})


def gmm(exp, name, per):
    decoded(exp / name, per)
    (exp / name / "final.mdl").write_bytes(b"")


def experiment(exp, name, per=None, seed=2234, ratio=53.3, trained=True, **config):
    place = exp / name
    place.mkdir(parents=True)
    (place / "config.yaml").write_text("# task 12\n" + yaml.safe_dump({"seed": seed, **config}))
    if trained:
        (place / "final.pt").write_bytes(name.encode())
        (place / "size.yaml").write_text(yaml.safe_dump(SIZE | {"compression_ratio": ratio}))
        (place / "train.yaml").write_text(yaml.safe_dump({"seconds": 3725.4, "epochs": 8, "versions": {"a": "1"}}))
    if per is not None:
        decoded(place, per, digest(place / "final.pt"))


def run(exp, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["table", "--exp", str(exp), *map(str, arguments)])
    table.main()
    text, out = (exp / "RESULTS.md").read_text(), capsys.readouterr().out
    assert out.startswith(text) and out.splitlines()[-1].startswith(f"{exp}/report/index.html: ")
    return text


def row(text, name, table=0):
    """Cells of the line of `name` in the first table that has it, or in a later one."""
    line = [line for line in text.splitlines() if line.startswith(f"| {name} ")][table]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture(autouse=True)
def no_plotly(monkeypatch):
    """Its script is large to copy for every test."""
    monkeypatch.setattr(write, "copy_plotly", lambda out: False)


def test_everything_that_is_known_of_a_run(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "w8a16", 24.0)
    text = run(tmp_path, monkeypatch, capsys)
    assert row(text, "w8a16") == [
        "w8a16",
        "2234",
        "24.00 [22.7, 25.2]",
        "25.00 [23.7, 26.2]",
        "8",
        "6.25 %",
        "0.300 MB",
        "53.30x",
        "16.00x",
        "1:02:05",
    ]
    more = ["", "24.50", "-", "-", "4.00 M", "0.24 M of 3.90 M", "1:02:05"]
    assert row(text, "w8a16", 1) == ["w8a16", "2234", *more]
    assert "- test: 240 utterances, 5328 phones; intervals over utterances" in text
    assert "How to read a row" in text
    (found,) = json.loads((tmp_path / "results.json").read_text())["experiments"]
    assert found["test"]["per"] == 25.0
    assert found["sizes"]["macs_kept"] == 243_750


def test_unfinished_runs_say_what_is_missing(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "begun", trained=False)
    experiment(tmp_path, "trained")
    experiment(tmp_path, "retrained", 24.0)
    (tmp_path / "retrained/final.pt").write_bytes(b"other")
    text = run(tmp_path, monkeypatch, capsys)
    assert row(text, "begun")[2:6] == ["training not finished", "training not finished", "-", "-"]
    assert row(text, "trained")[2:6] == ["not decoded yet", "not decoded yet", "8", "6.25 %"]
    assert row(text, "trained", 1)[2:7] == ["", "-", "-", "-", "4.00 M"]
    assert row(text, "retrained")[3] == "trained anew since it was decoded"


def aligned(place, per_utt):
    """What decoding says of each utterance: a speaker per utterance, ops of ten phones each."""
    directory = place / "decode_test"
    (directory / "utt2spk").write_text("".join(f"u{n} s{n}\n" for n in range(len(per_utt))))
    lines = []
    for n, wrong in enumerate(per_utt):
        ops = "S" * wrong + "C" * (10 - wrong)
        sides = {"ref": "a" * 10, "hyp": ops.replace("S", "b").replace("C", "a"), "op": ops, "#csid": ""}
        lines += [" ".join([f"u{n}", name, *cells]) + "\n" for name, cells in sides.items()]
    (directory / "per_utt").write_text("".join(lines))


def test_differences_count_from_the_first_float_model_or_the_one_named(tmp_path, monkeypatch, capsys):
    for name, ratio, errors in (
        ("float", 1.0, [1, 2, 1, 2, 1, 2]),
        ("a", 4.0, [2, 3, 2, 3, 2, 3]),
        ("b", 9.0, [0] * 6),
    ):
        experiment(tmp_path, name, 20.0, ratio=ratio)
        aligned(tmp_path / name, errors)
        (tmp_path / name / "size.yaml").write_text(
            yaml.safe_dump(SIZE | {"compression_ratio": ratio, "density": 1 if name == "float" else 0.5})
        )
    experiment(tmp_path, "old", 20.0)
    text = run(tmp_path, monkeypatch, capsys)
    assert row(text, "experiment")[4] == "to float"
    assert [row(text, name)[4] for name in ("float", "a", "old")] == ["-", "+10.00 [+10.00, +10.00]", "-"]
    found = {e["name"]: e["to_baseline"] for e in json.loads((tmp_path / "results.json").read_text())["experiments"]}
    assert (found["a"]["baseline"], found["a"]["difference"], found["float"]) == ("float", 10.0, None)
    text = run(tmp_path, monkeypatch, capsys, "--baseline", "b")
    assert row(text, "experiment")[4] == "to b"
    assert row(text, "float")[4].startswith("+15.00 [+1") and row(text, "a")[4].startswith("+25.00 [+2")
    with pytest.raises(UserError, match="--baseline: no decoded experiment flaot .*; did you mean float"):
        run(tmp_path, monkeypatch, capsys, "--baseline", "flaot")


@pytest.mark.parametrize(
    "press", [{"weight_bits": 32, "input": {"act_bits": 8}}, {"admm": {"method": "magnitude", "keep": "1/4"}}]
)
def test_a_model_that_is_float_but_for_its_activations_or_pulled_is_no_baseline(tmp_path, press, monkeypatch, capsys):
    experiment(tmp_path, "a", 20.0, compress={"lstm*": press})
    (tmp_path / "a/size.yaml").write_text(yaml.safe_dump(SIZE | {"compression_ratio": 1.0, "density": 1}))
    assert row(run(tmp_path, monkeypatch, capsys), "experiment")[4] == "epochs"


def test_epochs_and_time_go_through_what_a_run_starts_and_learns_from(tmp_path, monkeypatch, capsys):
    def given(name, **digests):
        config = tmp_path / name / "config.yaml"
        header = "".join(f"# train.{key} {value}\n" for key, value in digests.items())
        config.write_text(header + config.read_text())

    experiment(tmp_path, "teacher_seed1", 20.0, 1)
    experiment(tmp_path, "float_seed1", 20.0, 1)
    experiment(tmp_path, "a_seed1", 20.0, 1, train={"init": "float_seed{seed}"})
    learning = {"init": "a_seed{seed}", "distill": {"teacher": "float_seed1"}}
    experiment(tmp_path, "b_seed1", 20.0, 1, train=learning)
    given("b_seed1", init=digest(tmp_path / "a_seed1/final.pt"))
    experiment(tmp_path, "c_seed1", 20.0, 1, train={"init": "gone"})
    experiment(tmp_path, "d_seed1", 20.0, 1, train={"init": "float_seed1"})
    given("d_seed1", init="that of another model")
    experiment(tmp_path, "e_seed1", 20.0, 1, train={"distill": {"teacher": "teacher_seed1"}})
    text = run(tmp_path, monkeypatch, capsys)
    runs = {name: (row(text, f"{name}_seed1"), row(text, f"{name}_seed1", 1)) for name in "abcde"}
    made = {name: [first[4], *second[4:6], second[-1]] for name, (first, second) in runs.items()}
    assert made["a"] == ["8 of 16", "float_seed1", "-", "2:04:11"]
    assert made["b"] == ["8 of 24", "a_seed1", "float_seed1", "3:06:16"]
    assert made["c"] == ["8 of ?", "gone", "-", "-"]
    assert made["d"] == ["8 of ?", "float_seed1", "-", "-"]
    assert made["e"] == ["8", "-", "teacher_seed1", "2:04:11"]


def test_parents_of_several_seeds():
    cells = [table.given_cell(names) for names in (["a_seed1", "a_seed2"], ["a", "a"], ["", ""], ["a_seed1", "b"])]
    assert cells == ["a of each seed", "a", "-", "several"]


def test_silence_left_out_and_speakers_where_they_were_noted(tmp_path, monkeypatch, capsys):
    for name, seed in (("a_seed1", 1), ("a_seed2", 2), ("old_seed3", 3)):
        experiment(tmp_path, name, 20.0 + seed, seed)
    for seed in (1, 2):
        path = tmp_path / f"a_seed{seed}/decode_test/stats.yaml"
        silent = {"line": "", "per": 25.0 + seed, "interval": [1, 2], "utterances": 240, "phones": 5000, "speakers": 24}
        said = {"speakers": 24, "interval_over": "speakers", "without_silence": silent}
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | said))
    text = run(tmp_path, monkeypatch, capsys)
    assert [row(text, name, 1)[2] for name in ("a_seed1", "a_seed2", "old_seed3")] == ["26.00", "27.00", ""]
    assert row(text, "**a, mean ± s.d.**", 1)[2] == "26.50 ± 0.71"
    assert "- test: 240 utterances, 5328 phones, 24 speakers, intervals over speakers" in text
    assert "- test: 240 utterances, 5328 phones; intervals over utterances" in text
    found = {e["name"]: e["test"] for e in json.loads((tmp_path / "results.json").read_text())["experiments"]}
    assert found["a_seed1"]["without_silence"]["per"] == 26.0 and found["old_seed3"]["without_silence"] is None


def test_bytes_that_workers_sent_have_a_column_where_there_were_any(tmp_path, monkeypatch, capsys):
    for name, seed in (("a_seed1", 1), ("a_seed2", 2), ("b", 1)):
        experiment(tmp_path, name, 20.0 + seed, seed, of=name[0])
    text = run(tmp_path, monkeypatch, capsys)
    assert "sent" not in row(text, "experiment") and "**sent**" not in text
    for seed in (1, 2):
        with (tmp_path / f"a_seed{seed}/train.yaml").open("a") as summary:
            summary.write("sent_bytes_per_step: 1234567\n")
    text = run(tmp_path, monkeypatch, capsys)
    names = ("experiment", "a_seed1", "**a, mean ± s.d.**", "b")
    assert [row(text, name)[-2] for name in names] == ["sent", "1.235 MB", "1.235 MB", ""]
    assert "- **sent**:" in text


def test_seeds_are_taken_together(tmp_path, monkeypatch, capsys):
    for name, seed, per in (("w8a16", 2234, 24.0), ("w8a16_seed1", 1, 24.4), ("w8a16_seed2", 2, 23.6)):
        experiment(tmp_path, name, per, seed)
    experiment(tmp_path, "w8a16_seed3", None, 3)
    text = run(tmp_path, monkeypatch, capsys)
    mean = row(text, "**w8a16, mean ± s.d.**")
    assert mean[1:4] == ["3 seeds", "24.00 ± 0.40", "25.00 ± 0.40"]
    assert mean[-1] == "1:02:05"


def test_a_seed_trained_under_two_names_counts_once(tmp_path, monkeypatch, capsys):
    for name, seed, per in (("w8a16", 2234, 24.0), ("w8a16_seed2234", 2234, 24.0), ("w8a16_seed1", 1, 25.0)):
        experiment(tmp_path, name, per, seed)
    assert row(run(tmp_path, monkeypatch, capsys), "**w8a16, mean ± s.d.**")[1:3] == ["2 seeds", "24.50 ± 0.71"]


def test_runs_of_other_configurations_are_not_mixed(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "w8a16", 24.0, 1, train={"epochs": 8})
    experiment(tmp_path, "w8a16_seed2", 30.0, 2, train={"epochs": 2})
    assert "mean ± s.d.** |" not in run(tmp_path, monkeypatch, capsys)


def test_rows_go_from_float_to_the_most_pressed(tmp_path):
    for name, ratio in (("a", 60.0), ("b", 1.0), ("c", 4.0), ("b_seed1", 1.0)):
        experiment(tmp_path, name, 20.0, seed=int(name == "b_seed1"), ratio=ratio)
    assert [s.name for s in collect(tmp_path)[1]] == ["b", "b_seed1", "c", "a"]


def test_gmms_in_order_with_reference(tmp_path, monkeypatch, capsys):
    for name, per in (("tri3", 33.6), ("mono", 43.3), ("tri1", 33.0)):
        gmm(tmp_path, name, per)
    for name in ("tri3_ali_dev", "tri2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "final.mdl").write_bytes(b"")
    (tmp_path / "task").mkdir()
    (tmp_path / "reference.yaml").write_text("mono: [43.3, 44.6]\ntri2: [null, 34.1]\n")
    text = run(tmp_path, monkeypatch, capsys, "--reference", tmp_path / "reference.yaml")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == ["mono", "tri1", "tri2", "tri3"]
    assert row(text, "mono")[1:] == ["43.30 [42.0, 44.5]", "44.30 [43.0, 45.5]", "", "43.30", "44.60"]
    assert row(text, "tri3")[4:] == ["-", "-"]
    assert row(text, "tri2")[1:] == ["not decoded yet", "not decoded yet", "", "-", "34.10"]


def test_columns_line_up(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "a", 20.0)
    experiment(tmp_path, "a_much_longer_name")
    text = run(tmp_path, monkeypatch, capsys).split("More of the same:")[0]
    lines = [t for t in text.splitlines() if t.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1


def test_what_to_try_next_names_what_was_not_run(tmp_path, monkeypatch, capsys):
    conf = tmp_path / "conf"
    conf.mkdir()
    for name in ("base", "lstm512", "w8a16", "tiny"):
        (conf / f"{name}.cfg").write_text("")
    experiment(tmp_path / "exp", "lstm512", 20.0)
    text = run(tmp_path / "exp", monkeypatch, capsys, "--conf", conf)
    after = text.split("What to try next:")[1]
    assert f'--conf "{conf}/w8a16.cfg"' in after
    assert f'--seeds "1 2 3" --conf "{conf}/lstm512.cfg"' in after
    assert "lstm512/decode_dev/per_phone" in after


def test_the_cfg_that_a_run_was_made_from_is_named(tmp_path, monkeypatch, capsys):
    conf, mine = tmp_path / "conf", tmp_path / "mine"
    for place in (conf, mine):
        place.mkdir()
        (place / "lstm512.cfg").write_text("")
    for name, cfg in (("lstm512", mine / "lstm512.cfg"), ("gone", mine / "gone.cfg")):
        experiment(tmp_path / "exp", name, 20.0)
        (tmp_path / f"exp/{name}/train.yaml").write_text(yaml.safe_dump({"config": str(cfg)}))
    text = run(tmp_path / "exp", monkeypatch, capsys, "--conf", conf)
    assert f'--seeds "1 2 3" --conf "{mine}/lstm512.cfg"' in text


def test_other_design_points_go_from_mild_to_hard(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "lstm512", 20.0)
    text = run(tmp_path, monkeypatch, capsys, "--conf", ROOT / "conf")
    order = [path.stem for path in next_steps.mild_to_hard(ROOT / "conf")]
    assert order[:3] == ["base", "lstm512", "w8a16"] and order[-1] == "w6a13_hcgs16x"
    assert order.index("w6a13") < order.index("w4a8_lsq") < order.index("w8a16_hcgs10x") < order.index("w8a16_hcgs16x")
    (line,) = (line for line in text.splitlines() if "mild to hard" in line)
    shown = [order.index(Path(word).stem) for word in line.split('"')[1].split()]
    assert shown[0] == 2 and 2 < shown[1] < shown[2] == len(order) - 1


def test_bits_left_count_what_is_kept():
    press = {"weight_bits": 8, "hcgs": {"blocks": [4], "keep": [0.5]}, "recurrent": {"weight_bits": 4}}
    heads = {"weight_bits": 2, "mask": {"method": "magnitude", "keep": 0.25, "after_epoch": 1}}
    config = config_from_dict({"compress": {"lstm*": press, "head_*": heads}}, "test")
    assert next_steps.bits_left(config) == pytest.approx((4 + 2 + 4 + 2 + 4 * 0.5) / 8)


def test_empty_directory_has_a_table_too(tmp_path, monkeypatch, capsys):
    assert "has been trained yet" in run(tmp_path, monkeypatch, capsys)


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such directory"):
        collect(tmp_path / "nowhere")
    experiment(tmp_path, "a", 20.0)
    (tmp_path / "a/decode_dev/stats.yaml").write_text("per: 3\n")
    with pytest.raises(UserError, match=r"a/decode_dev/stats.yaml: not statistics"):
        collect(tmp_path)
    (tmp_path / "a/size.yaml").write_text("a: [")
    (tmp_path / "a/decode_dev/stats.yaml").unlink()
    with pytest.raises(UserError, match=r"a/size.yaml: not YAML"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("decode_dev/stats.yaml", "{per: abc, interval: [1, 2], utterances: 1, phones: 2}", "not statistics"),
        ("decode_dev/stats.yaml", "{per: 20, interval: [a, 2], utterances: 1, phones: 2}", "not statistics"),
        ("decode_dev/stats.yaml", "{per: .nan, interval: [1, 2], utterances: 1, phones: 2}", "not statistics"),
        ("decode_dev/stats.yaml", "{per: 20, interval: 3, utterances: 1, phones: 2}", "not statistics"),
        ("decode_test/.done", "{", "damaged; remove it"),
        ("decode_test/.done", "[1]", "damaged; remove it"),
        ("size.yaml", "matrices: 5", "matrices: expected a list"),
        ("size.yaml", "matrices: [5]", "matrices: expected a list"),
        ("size.yaml", "matrices: [{value_bits: six}]", "not the sizes of a model"),
        ("size.yaml", "matrices: [{index_bits: 3, index_code: [a]}]", "not the sizes of a model"),
        (
            "decode_dev/stats.yaml",
            "{per: 20, interval: [1, 2], utterances: 1, phones: 2, without_silence: 3}",
            "not stat",
        ),
        ("config.yaml", "a: !!int ''", "not plain YAML"),
        ("config.yaml", "{3: 4}", "expected YAML lines 'key: value'"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_file(tmp_path, name, text, said):
    experiment(tmp_path, "a", 20.0)
    (tmp_path / "a" / name).write_text(text)
    with pytest.raises(UserError, match=f"a/{name}: {said}"):
        collect(tmp_path)


def test_a_time_that_is_no_number_is_not_known(tmp_path, monkeypatch, capsys):
    experiment(tmp_path, "a", 20.0)
    (tmp_path / "a/train.yaml").write_text("seconds: .nan\n")
    assert row(run(tmp_path, monkeypatch, capsys), "a")[-1] == "-"


@pytest.mark.parametrize("text", ["mono: 43\n", "mono: [43]\n", "mono: [43, x]\n", "mono: null\n", "- 3\n"])
def test_bad_reference(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match=r"r.yaml: .*expected"):
        read_reference(tmp_path / "r.yaml")
