"""Check a study and say what is left to run: `python -m frenchpress.report.study_plan --task exp/task recipes/X exp/X`.

Writes the resolved configuration of every run to <exp-dir>/conf/<experiment>-seed<N>.cfg and prints a line for each run
that is to be made: `<experiment>-seed<N>` and the runs that it starts or learns from. Finished runs are not, nor are
those that recipes/X/runs has the record of, unless another one needs their model; what another study beside this one
has made is taken from there. Seeds are the outer loop: stopped early, a study has all its points once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path

from frenchpress.arguments import parse
from frenchpress.common import UserError, digest, nearest, run_main, write_if_changed
from frenchpress.config import Config, config_to_yaml, load_config
from frenchpress.nnet.check import build_model, check_fit
from frenchpress.nnet.checkpoint import CONFIG
from frenchpress.nnet.given import given_names, given_places, is_trained
from frenchpress.nnet.model import Sizes
from frenchpress.nnet.task import Task
from frenchpress.report.records import RUNS, is_record_of, record_path
from frenchpress.report.study import Study, load_study
from frenchpress.report.study_known import borrow_record, borrow_run, finished


def planned(study: Study, only: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Experiment and seed of every run, in order; experiments of one configuration run once. No `seeds`: its own.

    A run comes after those that it starts or learns from, which may have another seed.
    """
    shared = study.runs()
    wanted = [(shared[name], list(seeds) or list(study.experiments[name].seeds)) for name in study.chosen(only)]
    rounds = range(max(len(mine) for _, mine in wanted))
    plan = dict.fromkeys((name, mine[i]) for i in rounds for name, mine in wanted if i < len(mine))
    runs = {f"{name}-seed{seed}": (name, seed) for name, seed in plan}
    given = {name: given_names(config).values() for name, config in study.configs().items()}
    needs = {run: [other.replace("{seed}", str(seed)) for other in given[name]] for run, (name, seed) in runs.items()}
    return [runs[run] for run in parents_first(needs)]


def parents_first(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The runs of which `needs` says what they need, in their order, but each after those of them that it needs."""
    order: dict[str, None] = {}
    begun = set[str]()

    def add(run: str) -> None:
        if run in begun or run not in needs:
            return
        begun.add(run)
        for need in needs[run]:
            add(need)
        order[run] = None

    for run in needs:
        add(run)
    return list(order)


def look_up(
    study: Study, runs: Mapping[str, Config], exp: Path, results: Path, task: str, overrides: Sequence[str]
) -> tuple[set[str], set[str]]:
    """Those of `runs` that are finished in `exp`, and those that are not but have a record in `results`.

    `overrides` are those that the configurations of `runs` have over the study's. What another study has is taken over,
    with its model if what it needs is trained here too, else its record.
    """
    done, known, recipes = set[str](), set[str](), study.path.parent.resolve().parent
    for run, config in runs.items():
        place, record, lineage = exp / run, record_path(results, run), study.lineage(config, task, overrides)
        ready = all(is_trained(given) for given in given_places(config, place).values())
        if finished(place, config, task):
            done.add(run)
        elif ready and not place.exists() and (twin := borrow_run(place, config, task)):
            print(f"{place}: the same run as {twin}, taken from there", file=sys.stderr)
            done.add(run)
        elif is_record_of(record, lineage) or borrow_record(record, lineage, config.seed, recipes):
            known.add(run)
    return done, known


def to_make(runs: Sequence[str], done: set[str], known: set[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of `runs` that are to be made, in their order: neither done nor known by a record, or needed by such.

    `needs`: the runs that each one starts or learns from. A record is no model.
    """
    wanted = set(runs) - done - known
    while more := {need for run in wanted for need in needs[run]} & set(runs) - wanted - done:
        wanted |= more
    return [run for run in runs if run in wanted]


def write_config(path: Path, config: Config, study: Study, overrides: Sequence[str]) -> None:
    """Write `config` as a `.cfg`, if that is not what is there."""
    also = f", with {' '.join(overrides)}" if overrides else ""
    write_if_changed(path, f"# {path.stem} of {study.path}, resolved{also}\n{config_to_yaml(config)}")


def check_models(study: Study, configs: dict[str, Config], sizes: Sizes) -> None:
    """UserError for a configuration whose model cannot be built: a block too large, an option no method has."""
    for name, config in configs.items():
        build_model(f"{study.experiments[name].place}: experiment {name}", config, sizes)


def check_given(study: Study, plan: Sequence[tuple[str, int]], configs: dict[str, Config], exp: Path) -> None:
    """UserError for a run of `plan` that starts or learns from a model that is not trained, and not before it."""
    shared, before = study.runs(), set[Path]()
    for name, seed in plan:
        config, out = replace(configs[name], seed=seed), exp / f"{name}-seed{seed}"
        said = given_names(config)
        for key, place in given_places(config, out).items():
            where = f"{study.experiments[name].place}: experiment {name}: {key}: {said[key]}"
            other, _, number = place.name.rpartition("-seed")
            if place.parent == exp and number.isdecimal():
                if other not in shared:
                    raise UserError(f"{where}: no experiment {other}{nearest(other, shared)}")
                if shared[other] != other:
                    raise UserError(
                        f"{where}: has the configuration of {shared[other]}, whose runs are its; name that one"
                    )
            if place not in before and not is_trained(place):
                raise UserError(f"{where}: {place} is not trained, nor is it to be before this; {_advice(place, exp)}")
        before.add(out)


def _advice(place: Path, exp: Path) -> str:
    """Where a model comes from that is not there: of this study, which is run in `exp`, or of another beside it."""
    name, _, seed = place.name.rpartition("-seed")
    if place.parent == exp or not seed.isdecimal():
        return "an experiment of the study is <name>-seed{seed}, and must be in --only too and have this seed"
    other = Path(normpath(place.parent))
    return (
        f"train it first, such as by ./run.sh --recipe recipes/{other.name} --exp {other.parent} --only {name} "
        f"--seeds {seed}"
    )


def check_fits(
    study: Study, plan: Sequence[tuple[str, int]], configs: dict[str, Config], exp: Path, sizes: Sizes
) -> None:
    """UserError for an experiment of a checked `plan` whose layers or masks are not those of a model that it starts or
    learns from. Its first seed shows that.
    """
    shared = study.runs()
    for name, seed in {name: seed for name, seed in reversed(plan)}.items():
        config, out = replace(configs[name], seed=seed), exp / f"{name}-seed{seed}"
        parents = {}
        for key, place in given_places(config, out).items():
            own = shared.get(place.name.rpartition("-seed")[0]) if place.parent == exp else None
            parents[key] = load_config(place / CONFIG) if own is None else configs[own]
        check_fit(f"{study.experiments[name].place}: experiment {name}", config, out, parents, sizes)


def check_results(recipe: Path, task: str, exp: Path) -> None:
    """UserError where the study in `recipe` has records of runs on another task than the one of this digest."""
    for record in sorted((recipe / RUNS).glob("*.yaml")):
        if f"task: {task}\n" not in record.read_text("utf-8"):
            raise UserError(
                f"{record}: was made on another task, and RESULTS.md holds those of one; "
                f"add --results {exp} to have yours there, or --results {recipe} to put them in place of what it has"
            )


def read_seeds(text: str) -> list[int]:
    """Seeds as given on the command line."""
    words = text.split()
    if not all(word.isdecimal() and len(word) < 19 for word in words) or len(set(words)) < len(words):
        raise UserError(f"--seeds is '{text}', expected different whole numbers")
    return [int(word) for word in words]


def main() -> None:
    """Command line."""
    args = parse("study-plan")
    if (args.exp / CONFIG).is_file():
        raise UserError(f"{args.exp}: an experiment of that name is there; rename the recipe, or give another --exp")
    study, task, identity = load_study(args.recipe), Task.load(args.task), digest(args.task)
    if args.results is None:
        check_results(args.recipe, identity, args.exp)
    configs = study.configs(args.set)
    plan = planned(study, args.only.split(), read_seeds(args.seeds))
    runs = {f"{name}-seed{seed}": replace(configs[name], seed=seed) for name, seed in plan}
    places = {run: given_places(config, args.exp / run).values() for run, config in runs.items()}
    needs = {run: [p.name for p in given if p.parent == args.exp] for run, given in places.items()}
    done, known = look_up(study, runs, args.exp, args.results or args.recipe, identity, args.set)
    left = to_make(list(runs), done, known, needs)
    to_run = [(name, seed) for name, seed in plan if f"{name}-seed{seed}" in left]
    check_given(study, to_run, configs, args.exp)
    todo = {name: configs[name] for name, _ in to_run}
    sizes = Sizes(task.feat_dim, task.num_pdfs, task.num_phones)
    check_models(study, todo, sizes)
    check_fits(study, to_run, configs, args.exp, sizes)
    for run in left:
        write_config(args.exp / "conf" / f"{run}.cfg", runs[run], study, args.set)
        print(run, *needs[run])
    recorded = f", {len(known - set(left))} recorded before" if known - set(left) else ""
    print(f"{args.recipe}: {len(plan)} runs, {len(done)} finished before{recorded}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
