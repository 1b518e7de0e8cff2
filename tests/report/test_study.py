"""Studies as they are read: grids, variants, shared runs, and one line for whatever is wrong."""

from pathlib import Path

import pytest
from made_cfg import write_cfg

from frenchpress.common import UserError
from frenchpress.nnet.check import build_model
from frenchpress.nnet.model import Sizes
from frenchpress.report.study import load_study
from frenchpress.report.study_plan import (
    check_fits,
    check_given,
    check_results,
    main,
    parents_first,
    planned,
    read_seeds,
    to_make,
)

ROOT = Path(__file__).resolve().parents[2]
STUDIES = [
    ("published_points", 36, 34),
    ("bits", 50, 50),
    ("how_to_get_16x", 36, 36),
    ("prune_pattern_retrain", 19, 19),
    ("when_to_prune", 11, 11),
    ("traffic", 44, 44),
]
STUDY = """
title: A study
seeds: [1, 2]
base: small.cfg
baseline: float
experiments:
  float: {group: Float}
  "w{w}-{q}":
    grid: {w: [8, 2], q: [lsq, ceil]}
    group: "{q}"
    overrides: {compress: {default: {weight_bits: "{w}", quantizer: "{q}"}}}
  eight:
    overrides: {compress: {default: {weight_bits: 8, quantizer: lsq}}}
    published: {per: 18.2, float_per: 16.4}
variants:
  hcgs:
    of: ["w8-*", eight]
    group: "{group} hcgs"
    overrides: {compress: {default: {hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}}}}
"""


@pytest.fixture
def recipe(tmp_path):
    """Writes a study.yaml and returns its directory."""
    write_cfg(tmp_path, "model: {lstm: {cells: 16}}\ncompress: {default: {weight_bits: 32}}\n", "small.cfg")

    def write(text):
        (tmp_path / "study.yaml").write_text(text)
        return tmp_path

    return write


def test_grids_and_variants_in_order(recipe):
    study = load_study(recipe(STUDY))
    names = ["float", "w8-lsq", "w8-ceil", "w2-lsq", "w2-ceil", "eight", "w8-lsq-hcgs", "w8-ceil-hcgs", "eight-hcgs"]
    assert list(study.experiments) == names
    assert [study.experiments[n].group for n in ("w2-ceil", "w8-lsq-hcgs", "eight")] == ["ceil", "lsq hcgs", ""]
    assert study.experiments["eight-hcgs"].twin == "eight"
    assert study.experiments["eight-hcgs"].published.per == 18.2


def test_a_variant_has_the_seeds_of_its_original_or_its_own(recipe):
    own = STUDY.replace("  hcgs:", "  hcgs:\n    seeds: [5]", 1)
    for text, seeds in ((STUDY, (1, 2)), (own, (5,))):
        assert load_study(recipe(text)).experiments["eight-hcgs"].seeds == seeds


def test_a_variant_can_name_what_its_original_is_called(recipe):
    text = STUDY.replace("compress: {default: {hcgs", 'train: {init: "{name}-seed{seed}"}, compress: {default: {hcgs')
    configs = load_study(recipe(text)).configs()
    assert [configs[f"{n}-hcgs"].train.init for n in ("w8-lsq", "eight")] == ["w8-lsq-seed{seed}", "eight-seed{seed}"]


def test_overrides_are_laid_over_the_base_and_do_not_leak(recipe):
    configs = load_study(recipe(STUDY)).configs(["train.epochs=1"])
    presses = {name: config.compress["default"] for name, config in configs.items()}
    assert (presses["w2-ceil"].weight_bits, presses["w2-ceil"].quantizer) == (2, "ceil")
    assert presses["w8-lsq-hcgs"].hcgs.blocks == (8, 2)
    assert presses["w8-lsq"].hcgs is None and presses["float"].weight_bits == 32
    assert all(config.train.epochs == 1 and config.model.lstm.cells == 16 for config in configs.values())


def test_one_configuration_runs_once_and_seeds_are_the_outer_loop(recipe):
    study = load_study(recipe(STUDY))
    assert study.runs()["eight"] == "w8-lsq" and study.runs()["eight-hcgs"] == "w8-lsq-hcgs"
    plan = planned(study, [], [])
    assert plan[:3] == [("float", 1), ("w8-lsq", 1), ("w8-ceil", 1)]
    assert plan[7:9] == [("float", 2), ("w8-lsq", 2)] and len(plan) == 14
    assert planned(study, ["eight", "fl*"], [7]) == [("float", 7), ("w8-lsq", 7)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: A study", "titel: A study", r"study.yaml:2: titel: unknown key; did you mean title\?"),
        ("title: A study", "", "needs a title"),
        ("base: small.cfg\n", "", r"study.yaml:6: experiments.float: needs `base`, the .cfg"),
        ("base: small.cfg", "base: none.cfg", r"none.cfg: no such file \(experiment float\)"),
        ("baseline: float", "baseline: flaot", r"baseline: no experiment flaot; did you mean float\?"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds: \[1, 1\] has one twice"),
        ("seeds: [1, 2]", "seeds: [-1]", "-1 is out of range"),
        ("per: 18.2", "per: high", "expected a number, got 'high'"),
        ("{per: 18.2, float_per: 16.4}", "{float_per: 16.4}", "needs `per`"),
        ("quantizer: lsq}", "quantiser: lsq}", r"study.yaml:13: .*quantiser: unknown key; .* \(experiment eight\)"),
        ("weight_bits: 8,", "weight_bits: 40,", "40 is not a number of bits"),
        ("w{w}-{q}", "w{w}", "two experiments are named w8"),
        ("w{w}-{q}", "w{x}-{w}-{q}", "names a directory"),
        ("  eight:", "  eight-seed3:", "names a directory"),
        ("  eight:", "  ../eight:", "names a directory"),
        ("  eight:", "  float:", "duplicate key experiments.float"),
        ("w: [8, 2]", "w: 8", r"grid.w: expected a list of words or numbers"),
        ("w: [8, 2]", "w: []", r"grid.w: expected a list of words or numbers"),
        ('"w8-*"', '"w9-*"', r"variants.hcgs.of: no experiment w9-\*"),
        ('of: ["w8-*", eight]', "note: x", "needs `of`"),
        ("overrides: {compress: {default: {weight_bits: 8,", "overrides: {seed: 3, compress: {default: {", "`seeds`"),
        ('group: "{q}"', "published: {per: 3}", "of one point and not of a grid"),
        ("title: A study", "title: A study\nbase: x.cfg", "duplicate key base"),
    ],
)
def test_bad_studies_are_one_line(recipe, old, new, said):
    assert old in STUDY
    with pytest.raises(UserError, match=said) as error:
        load_study(recipe(STUDY.replace(old, new))).configs()
    assert "\n" not in str(error.value)


def test_what_the_command_line_names_must_be_there(recipe):
    study = load_study(recipe(STUDY))
    with pytest.raises(UserError, match=r"no experiment eigth; did you mean eight\?"):
        planned(study, ["eigth"], [])
    with pytest.raises(UserError, match="--set train.epoch=1: train.epoch: unknown key; did you mean epochs"):
        study.configs(["train.epoch=1"])
    with pytest.raises(UserError, match="--set train.epochs=many: train.epochs: expected a whole number"):
        study.configs(["train.epochs=many"])
    with pytest.raises(UserError, match="--set seed=3: seed: a study says `seeds`"):
        study.configs(["seed=3"])
    for text in ("1 x", "-1", "1 1", "9" * 30):
        with pytest.raises(UserError, match="--seeds is"):
            read_seeds(text)


GIVEN = """
title: Models that start from others
seeds: [1]
base: small.cfg
experiments:
  float: {}
  again: {}
  pruned: {overrides: {train: {init: "float-seed{seed}", epochs: 0}}}
  taught: {overrides: {train: {distill: {teacher: "float-seed{seed}"}}}}
"""


def test_an_experiment_that_does_not_train_is_given_no_epochs(recipe):
    configs = load_study(recipe(GIVEN)).configs(["train.epochs=3", "train.batch=2"])
    assert [configs[name].train.epochs for name in ("float", "pruned", "taught")] == [3, 0, 3]
    assert configs["pruned"].train.batch == 2


@pytest.mark.parametrize(
    ("old", "new", "only", "said"),
    [
        ("", "", "float pruned taught", None),
        ("", "", "pruned", r"pruned: train.init: \S+: \S+/float-seed1 is not trained, nor is it to be"),
        ('teacher: "float', 'teacher: "flaot', "", r"distill.teacher: .*: no experiment flaot; did you mean float"),
        ('teacher: "float', 'teacher: "again', "", "has the configuration of float, whose runs are its; name that one"),
        ('teacher: "float', 'teacher: "taught', "", "taught-seed1 is not trained"),
        ('"float-seed{seed}", epochs', '"float-seed{sed}", epochs', "", r"float-seed\{sed\} is not trained"),
        ('"float-seed{seed}", epochs', '"float-seed7", epochs', "", r"float-seed7 is not trained"),
        ('"float-seed{seed}", epochs', '"../elsewhere/x", epochs', "pruned", r"elsewhere/x is not trained"),
        ('"float-seed{seed}", epochs', '"../there/x-seed{seed}", epochs', "pruned", None),
    ],
)  # fmt: skip
def test_what_is_given_is_trained_before(recipe, tmp_path, old, new, only, said):
    study = load_study(recipe(GIVEN.replace(old, new)))
    plan, configs = planned(study, only.split(), []), study.configs()
    (tmp_path / "exp").mkdir()
    (tmp_path / "there/x-seed1").mkdir(parents=True)
    (tmp_path / "there/x-seed1/final.pt").touch()
    if said is None:
        check_given(study, plan, configs, tmp_path / "exp")
        return
    with pytest.raises(UserError, match=said) as error:
        check_given(study, plan, configs, tmp_path / "exp")
    assert "\n" not in str(error.value) and "study.yaml:" in str(error.value)


def test_a_teacher_of_another_seed_is_trained_before(recipe, tmp_path):
    study = load_study(recipe(GIVEN.replace('teacher: "float-seed{seed}"', "teacher: [float-seed1, float-seed2]")))
    plan = planned(study, ["float", "taught"], [1, 2])
    assert plan == [("float", 1), ("float", 2), ("taught", 1), ("taught", 2)]
    check_given(study, plan, study.configs(), tmp_path / "exp")
    assert parents_first({"a": ["b", "elsewhere"], "b": ["a"]}) == ["b", "a"]  # a circle is said later


def test_what_is_given_fits(recipe, tmp_path):
    study = load_study(recipe(GIVEN))
    plan, sizes = planned(study, [], []), Sizes(4, 6, 3)
    check_fits(study, plan, study.configs(["model.lstm.cells=8"]), tmp_path / "exp", sizes)
    configs = study.configs(["model.lstm.cells=8"])
    configs["float"] = study.configs(["model.lstm.cells=16"])["float"]
    with pytest.raises(
        UserError, match=r"study.yaml:\d+: experiment pruned: train.init: \S+float-seed\d: .* must agree"
    ):
        check_fits(study, plan, configs, tmp_path / "exp", sizes)


def test_what_is_given_may_have_been_trained_earlier(recipe, tmp_path):
    study = load_study(recipe(GIVEN))
    (tmp_path / "exp/float-seed1").mkdir(parents=True)
    (tmp_path / "exp/float-seed1/final.pt").write_bytes(b"")
    check_given(study, planned(study, ["pruned"], []), study.configs(), tmp_path / "exp")


@pytest.mark.parametrize(
    ("done", "known", "left"),
    [
        ("", "", "float w8 kd"),
        ("w8", "", "float kd"),
        ("", "float w8 kd", ""),
        ("", "float w8", "float kd"),  # its teacher is needed, and a record is no model
        ("float", "w8", "kd"),
        ("w8", "kd float", ""),
    ],
)
def test_what_is_left_to_make(done, known, left):
    needs = {"float": [], "w8": [], "kd": ["float"]}
    assert to_make(["float", "w8", "kd"], set(done.split()), set(known.split()), needs) == left.split()


def test_results_on_another_task_are_not_replaced_unasked(recipe):
    place = recipe(STUDY)
    check_results(place, "abc", Path("exp/x"))
    (place / "runs").mkdir()
    (place / "runs/float-seed1.yaml").write_text("lineage: 1\ntask: abc\n")
    check_results(place, "abc", Path("exp/x"))
    with pytest.raises(UserError, match=r"float-seed1\.yaml: was made on another task.*--results exp/x .*--results \S"):
        check_results(place, "abd", Path("exp/x"))


def test_what_is_given_with_other_settings_is_another_lineage(recipe):
    study = load_study(recipe(GIVEN))
    pruned = study.configs()["pruned"]
    assert study.configs(["train.batch=2"])["pruned"] != pruned
    lineages = [study.lineage(pruned, "task", overrides) for overrides in ([], ["train.batch=2"])]
    assert lineages[0] != lineages[1]


def test_a_run_that_comes_round_to_itself_is_refused(recipe):
    text = GIVEN.replace('"float-seed{seed}", epochs', '"taught-seed{seed}", epochs').replace(
        'teacher: "float', 'teacher: "pruned'
    )
    study = load_study(recipe(text))
    with pytest.raises(UserError, match=r"study\.yaml:\d+: train.*: circular: (\w+)-seed0 -> \w+-seed0 -> \1-seed0"):
        study.lineage(study.configs()["pruned"], "task")


def test_no_study(tmp_path):
    with pytest.raises(UserError, match=r"study.yaml: no such file"):
        load_study(tmp_path)


def test_an_experiment_of_the_same_name_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").touch()
    monkeypatch.setattr("sys.argv", ["study-plan", "--task", str(tmp_path), "recipes/bits", str(tmp_path)])
    with pytest.raises(UserError, match="an experiment of that name is there"):
        main()


@pytest.mark.parametrize(("name", "experiments", "runs"), STUDIES)
def test_studies_that_come_with_the_project(name, experiments, runs):
    study = load_study(ROOT / "recipes" / name)
    assert len(study.experiments) == experiments
    assert len(set(study.runs().values())) == runs
    check_given(study, planned(study, [], []), study.configs(), Path("nowhere"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _, _ in STUDIES])
def test_their_models_can_be_built(name):
    study = load_study(ROOT / "recipes" / name)
    # Half of the cells keeps it quick; blocks and banks still fit.
    for experiment, config in study.configs(["model.lstm.cells=256"]).items():
        build_model(experiment, config, Sizes(40, 200, 48))
