"""What `frenchpress NAME` runs, by what people want. Only names: nothing is imported before it is asked for."""

from __future__ import annotations

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Recognise speech": {
        "recognise": ("frenchpress.export.recognise", "phones with times from audio files or a pipe"),
        "picture": ("frenchpress.picture", "a spectrogram with the recognised phones below it"),
        "pack": ("frenchpress.export.pack", "a trained model as integers in one file, model.press"),
        "decode-packed": ("frenchpress.export.decode_packed", "PER of a packed model on dev and test"),
    },
    "Understand a trained model": {
        "diagnose": ("frenchpress.report.diagnose.__main__", "what may be wrong with it, and what to try"),
        "sensitivity": ("frenchpress.report.sensitivity", "which of its matrices needs its weights most"),
        "bits-for-budget": ("frenchpress.report.bits_for_budget", "bits for each matrix, for so many bytes in all"),
        "ranks": ("frenchpress.report.ranks", "the rank that its matrices have in effect"),
        "errors": ("frenchpress.report.errors", "which error of weights, or of what is sent, foretells the PER"),
        "movement": ("frenchpress.report.movement", "how much of its feature maps moves in a frame"),
        "codes": ("frenchpress.report.codes", "what the index of its kept weights costs in every code"),
        "compare": ("frenchpress.report.compare", "whether one of several is really better, and where"),
        "table": ("frenchpress.report.table", "all results of a directory: RESULTS.md, report/index.html"),
        "score": ("frenchpress.score.per", "PER of a file of hypotheses against one of references"),
    },
    "Plan and train (./run.sh does this for you)": {
        "show": ("frenchpress.config.show", "a .cfg as it will be used, with all its defaults"),
        "check": ("frenchpress.nnet.check", "whether .cfg files are sound, and how large their models are"),
        "validate": ("frenchpress.kaldi.validate", "whether Kaldi data directories are sound, audio included"),
        "task": ("frenchpress.nnet.task", "features, targets and graph for training, in one directory"),
        "train": ("frenchpress.nnet.train.command", "train the model of a .cfg"),
        "decode": ("frenchpress.nnet.decode", "decode dev and test with a trained model, and score them"),
        "shrink": ("frenchpress.nnet.shrink", "a smaller dense model of one whose cells were removed"),
        "clean": ("frenchpress.nnet.clean", "what finished trainings left behind and can be removed"),
        "study-plan": ("frenchpress.report.study_plan", "what is left to train of a study in recipes/"),
        "study-results": ("frenchpress.report.study_results", "the tables, figures and page of a study"),
        "explore": ("frenchpress.explore.__main__", "search for designs that lose least for what they cost"),
    },
    "Use a model elsewhere, measure speed": {
        "to-onnx": ("frenchpress.export.to_onnx", "a trained model as an ONNX file"),
        "to-tvm": ("frenchpress.export.to_tvm", "a model compiled by TVM, each matrix in the format that fits"),
        "hardware": ("frenchpress.hardware.__main__", "cycles and energy of a packed model on a described chip"),
        "published-chips": ("frenchpress.hardware.published", "the formulas of `hardware` beside published figures"),
        "images": ("frenchpress.export.images", "memory images of a packed model, for hardware"),
        "bench": ("frenchpress.bench.__main__", "speed of training and inference, beside other programs"),
        "memory": ("frenchpress.bench.memory", "memory that a packed model takes at run time"),
        "corpus": ("frenchpress.bench.corpus", "memory and time of training against the size of the corpus"),
    },
}
"""Group -> name -> module with a `main()` that reads sys.argv, and what it gives, in one line."""

COMMANDS = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
"""Name -> module."""


def listing(called: str) -> str:
    """All names with a line each; `called` is what a user types before a name."""
    width = max(map(len, COMMANDS))
    lines = ["Train LSTM acoustic models for phone recognition and compress them.", "", f"usage: {called} NAME ..."]
    lines.append(f"{called} NAME --help says how NAME is used. ./run.sh --help: the whole recipe.")
    for title, group in GROUPS.items():
        lines += ["", title, *(f"  {name:{width}}  {what}" for name, (_, what) in group.items())]
    return "\n".join(lines)
