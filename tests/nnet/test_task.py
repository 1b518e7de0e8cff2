import shutil
import subprocess
import sys
from itertools import groupby

import numpy as np
import pytest
import yaml

from frenchpress.common import UserError, read_yaml
from frenchpress.decode.search import Decoder
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, read_model, write_model
from frenchpress.kaldi.io import read_mats, write_int_vectors, write_mats
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import Constant, ContextTree, Table
from frenchpress.nnet.task import Task
from frenchpress.nnet.task_build import build
from frenchpress.nnet.task_scoring import plain_names, read_scoring
from frenchpress.nnet.task_sources import SPLITS, kaldi_sources, own_sources


@pytest.fixture(scope="module")
def kaldi_task(kaldi_mboshi, tmp_path_factory):
    out = tmp_path_factory.mktemp("exp") / "task"
    assert build(kaldi_sources(kaldi_mboshi), out)
    return Task.load(out)


def test_task_of_a_kaldi_directory(kaldi_task):
    assert (kaldi_task.num_pdfs, kaldi_task.num_phones, kaldi_task.feat_dim) == (960, 36, 40)
    assert kaldi_task.phones[:3] == ["SIL", "E", "O"]
    assert [len(kaldi_task.split(name)) for name in SPLITS] == [2000, 220, 240]
    frames = sum(len(pdfs) for pdfs in kaldi_task.split("train").pdfs.values())
    assert kaldi_task.pdf_counts.sum() == frames == 630421
    text = kaldi_task.split("test").text["abiayi-te0001"]
    assert " ".join(text) == "w o t w E r E y a p o o y a b i s i"


def test_frame_targets_agree_with_the_transcript(kaldi_task):
    """Phones of the alignment, runs taken together and silence left out, are those of the reference."""
    split = kaldi_task.split("test")
    assert len(split.aligned) == 240
    for utt, feats, pdfs, phones in split:
        assert feats.shape == (len(pdfs), 40)
        spoken = [kaldi_task.phones[p] for p in phones if kaldi_task.phones[p] != "SIL"]
        assert [name for name, _ in groupby(spoken)] == [name for name, _ in groupby(split.text[utt])]


def test_graph_over_tied_states_decodes_as_kaldis(kaldi_task, kaldi_mboshi):
    decoder = Decoder(kaldi_task.graph / "HCLG.fst", None, kaldi_task.graph / "words.txt")
    golden = (kaldi_mboshi / "golden/best_path.txt").read_text().splitlines()
    best = {line.split()[0]: line.split()[1:] for line in golden}
    for utt, loglikes in list(read_mats(kaldi_mboshi / "golden/tri3_loglikes.ark"))[:3]:
        assert decoder.decode(loglikes, 0.1).words == best[utt]


def test_silence_is_not_scored_and_the_rest_is(kaldi_task):
    lines = kaldi_task.score_map.read_text().splitlines()
    assert "SIL" in lines
    assert "E E" in lines
    assert kaldi_task.optional_tokens.read_text() == ""


def test_second_build_has_nothing_to_do(kaldi_task, kaldi_mboshi):
    assert not build(kaldi_sources(kaldi_mboshi), kaldi_task.path)


def left_to_right(phones, states=3):
    rows = [HmmState(i, ((i, 0.75), (i + 1, 0.25)), i) for i in range(states)]
    return HmmTopology([[*rows, HmmState(-1, (), -1)]], {phone: 0 for phone in phones})


@pytest.fixture
def small(tmp_path):
    """Own directories of two utterances per split, one phone and silence, one pdf per state."""
    leaves = [Table(-1, tuple(Constant(3 * p + c) for c in range(3))) for p in range(2)]
    model = TransitionModel.from_tree(ContextTree(1, 0, Table(0, (None, *leaves))), left_to_right([1, 2]))
    gmm = DiagGmm(np.ones(1), np.zeros((1, 4)), np.ones((1, 4)))
    for split in SPLITS:
        place, ali = tmp_path / "feats" / split, tmp_path / f"ali_{split}"
        place.mkdir(parents=True)
        ali.mkdir()
        utts = [f"{split}1", f"{split}2"]
        rng = np.random.default_rng(0)
        mats = ((u, rng.normal(size=(9, 4)).astype(np.float32)) for u in utts)
        write_mats(place / "feats.ark", place / "feats.scp", mats)
        data = DataDir(place, {u: "s" for u in utts}, text={u: ["SIL", "a", "SIL"] for u in utts})
        data.write(place)
        tids = np.array([2, 4, 6, 8, 10, 12, 2, 4, 6])
        write_int_vectors(ali / "ali.1.gz", {u: tids for u in utts})
        write_model(ali / "final.mdl", model, AmGmm([gmm] * 6))
    (tmp_path / "lang/phones").mkdir(parents=True)
    (tmp_path / "lang/phones.txt").write_text("<eps> 0\nSIL 1\na 2\n#0 3\n")
    (tmp_path / "lang/phones/silence.txt").write_text("SIL\n")
    write_graph(tmp_path / "graph")
    return tmp_path


def write_graph(place):
    import kaldifst

    place.mkdir()
    fst = kaldifst.StdVectorFst()
    first, last = fst.add_state(), fst.add_state()
    fst.start = first
    fst.set_final(last, 0.0)
    for tid, word in ((2, 1), (7, 2), (0, 0)):
        fst.add_arc(first, kaldifst.StdArc(tid, word, 0.5, last))
    fst.write(str(place / "HCLG.fst"))
    (place / "words.txt").write_text("<eps> 0\nSIL 1\na 2\n<UNK> 3\n#0 4\n<s> 5\n</s> 6\n")


def sources_of(root):
    return own_sources(root / "feats", f"{root}/ali", root / "graph", root / "lang")


def test_task_says_which_features_it_has(small):
    for name in ("feats/train", "ali_train"):
        shutil.copytree(small / name, small / f"{name}_sp")
    shutil.rmtree(small / "ali_train")
    sources = own_sources(small / "feats", f"{small}/ali", small / "graph", small / "lang", "lda", "train_sp")
    assert build(sources, small / "task")
    task, meta = Task.load(small / "task"), small / "task/meta.yaml"
    assert task.features == "lda" and task.split("train").utts == ["train1", "train2"]
    meta.write_text(meta.read_text().replace("features: lda\n", ""))
    assert Task.load(small / "task").features == "fmllr"  # a task from before


def test_own_directories(small):
    assert build(sources_of(small), small / "task")
    task = Task.load(small / "task")
    train = task.split("train")
    assert train.pdfs["train1"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert train.phones["train1"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert task.pdf_counts.tolist() == [4, 4, 4, 2, 2, 2]
    assert train.utt2spk == {"train1": "s", "train2": "s"}


def test_graph_labels_are_tied_states_from_one(small):
    from frenchpress.graph.fst import FstArcs, read_fst

    build(sources_of(small), small / "task")
    arcs = FstArcs.of(read_fst(small / "task/graph/HCLG.fst"))
    assert arcs.ilabel.tolist() == [1, 4, 0]
    assert arcs.olabel.tolist() == [1, 2, 0]
    np.testing.assert_allclose(arcs.weight, 0.5)


def test_task_may_be_moved(small):
    build(sources_of(small), small / "task")
    expected = Task.load(small / "task").split("dev").feats("dev1")
    shutil.copytree(small / "task", small / "elsewhere" / "task")
    shutil.rmtree(small / "task")
    assert np.array_equal(Task.load(small / "elsewhere/task").split("dev").feats("dev1"), expected)


def drop_second(root, split):
    write_int_vectors(root / f"ali_{split}/ali.1.gz", {f"{split}1": np.array([2, 4, 6, 8, 10, 12, 2, 4, 6])})


def test_without_alignment_one_is_not_trained_on_but_still_scored(small, capsys):
    drop_second(small, "train")
    drop_second(small, "test")
    build(sources_of(small), small / "task")
    assert "train: 1 of 2 utterances have no alignment: left out" in capsys.readouterr().out
    task = Task.load(small / "task")
    assert task.split("train").utts == ["train1"]
    assert task.split("test").utts == ["test1", "test2"]
    assert [utt for utt, *_ in task.split("test")] == ["test1"]


def test_test_set_may_do_without_alignments_but_dev_may_not(small):
    shutil.rmtree(small / "ali_test")
    build(sources_of(small), small / "task")
    assert Task.load(small / "task").split("test").aligned == []
    shutil.rmtree(small / "ali_dev")
    with pytest.raises(UserError, match="ali_dev: no alignment"):
        sources_of(small)


def test_lengths_must_agree(small):
    write_int_vectors(small / "ali_dev/ali.1.gz", {"dev1": np.array([2, 4])})
    with pytest.raises(UserError, match="dev1: 9 frames, but 2 in"):
        build(sources_of(small), small / "task")
    assert not (small / "task").exists()


def test_transition_ids_must_be_the_models(small):
    write_int_vectors(small / "ali_dev/ali.1.gz", {"dev1": np.full(9, 99)})
    with pytest.raises(UserError, match="dev1: transition-ids outside 1 to 12"):
        build(sources_of(small), small / "task")


def test_nan_features(small):
    bad = np.zeros((9, 4), np.float32)
    bad[4] = np.nan
    place = small / "feats/train"
    write_mats(place / "feats.ark", place / "feats.scp", [("train1", bad)])
    with pytest.raises(UserError, match="feats.scp: train1 .*NaN or infinity in row 4"):
        build(sources_of(small), small / "task")


def test_alignments_of_another_system(small, kaldi_mboshi):
    transitions, am = read_model(kaldi_mboshi / "exp/mono/final.mdl")
    write_model(small / "ali_dev/final.mdl", transitions, am)
    with pytest.raises(UserError, match="ali_dev/final.mdl: not the system of"):
        build(sources_of(small), small / "task")


def test_missing_transcript(small):
    (small / "feats/test/text").write_text("test1 SIL a SIL\n")
    with pytest.raises(UserError, match="text: no line for test2"):
        build(sources_of(small), small / "task")


def test_scored_silence_may_be_left_out(small):
    (small / "lang/score_map.txt").write_text("SIL sil\na a\n")
    table, optional = read_scoring(sources_of(small), ["SIL", "a"])
    assert table == {"SIL": "sil", "a": "a", "<UNK>": ""}
    assert optional == ["sil"]


def test_score_map_must_know_every_phone(small):
    (small / "lang/score_map.txt").write_text("SIL\n")
    with pytest.raises(UserError, match="no line for phone a"):
        read_scoring(sources_of(small), ["SIL", "a"])


def test_positions_in_the_word_are_not_scored(small):
    """The graph's words may be plain phones, or phones with their positions."""
    phones = ["SIL", "SIL_B", "a_B", "a_E", "b_S"]
    (small / "lang/phones/silence.txt").write_text("SIL\nSIL_B\n")
    (small / "graph/words.txt").write_text("<eps> 0\nSIL 1\na 2\nb_S 3\n<UNK> 4\n#0 5\n")
    table, optional = read_scoring(sources_of(small), phones)
    scored = {"a_B": "a", "a_E": "a", "b_S": "b", "a": "a", "b": "b"}
    assert table == {"SIL": "", "SIL_B": "", **scored, "<UNK>": ""} and optional == []
    (small / "lang/score_map.txt").write_text("SIL\na V\nb_S W\n")
    table, _ = read_scoring(sources_of(small), phones)
    assert (table["a_E"], table["b_S"], table["b"], table["a"]) == ("V", "W", "W", "V")
    assert plain_names(["SIL", "a_B", "c"], ["SIL"]) == {"SIL": "SIL", "a_B": "a_B", "c": "c"}


def test_graphs_and_references_of_words_are_refused_before_training(small):
    words = (small / "graph/words.txt").read_text()
    (small / "graph/words.txt").write_text(words + "hello 7\nworld 8\n")
    with pytest.raises(UserError, match="words.txt: 2 of 5 words are no phones .*: hello world, .*--score-map FILE"):
        build(sources_of(small), small / "task")
    (small / "graph/words.txt").write_text(words)
    (small / "feats/dev/text").write_text("dev1 SIL a\ndev2 hello\n")
    with pytest.raises(UserError, match="feats/dev/text: dev2: 'hello' is no phone; .*--score-map FILE"):
        build(sources_of(small), small / "task")


def test_pipes_in_features_name_an_option_that_is_there(small):
    scp = small / "feats/dev/feats.scp"
    scp.write_text("".join(f"{line.split()[0]} cat {line.split()[1].replace(':5', '')} |\n" for line in scp.open()))
    with pytest.raises(UserError, match="dev1 is a shell command .*--allow-pipes"):
        build(sources_of(small), small / "task")
    ark = small / "feats/dev/feats.ark"
    scp.write_text(f"dev1 tail -c +6 {ark} |\ndev2 tail -c +6 {ark} |\n")
    assert build(sources_of(small), small / "task", allow_pipes=True)


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no finished task"):
        Task.load(tmp_path)
    (tmp_path / ".done").write_text("{}")
    (tmp_path / "meta.yaml").write_text("num_pdfs: 3\n")
    with pytest.raises(UserError, match="meta.yaml: no num_phones"):
        Task.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("pdf_counts", ["x"], "expected a list of numbers of frames"),
        ("pdf_counts", [-5], "expected a list of numbers of frames"),
        ("pdf_counts", [1.5], "expected a list of numbers of frames"),
        ("phones", 36, "expected a list of names"),
        ("phones", ["a", 3], "expected a list of names"),
        ("feat_dim", "forty", "'forty', expected a number"),
        ("features", "mfcc", "'mfcc', expected fmllr or lda or fbank"),
        ("unit", ["a"], r"\['a'\], expected phone or word"),
        ("source", [1], "expected a directory"),
    ],
)
def test_what_is_of_another_kind_is_one_line(small, key, value, said):
    build(sources_of(small), small / "task")
    path = small / "task/meta.yaml"
    path.write_text(yaml.safe_dump(read_yaml(path) | {key: value}))
    with pytest.raises(UserError, match=f"meta.yaml: {key}: .*{said}") as error:
        Task.load(small / "task")
    assert "\n" not in str(error.value)


def test_kaldi_directory_without_what_is_needed(tmp_path):
    with pytest.raises(UserError, match="no such directory, expected a Kaldi s5"):
        kaldi_sources(tmp_path / "s5")
    with pytest.raises(UserError, match="data-fmllr-tri3/train: no such directory"):
        kaldi_sources(tmp_path)


@pytest.fixture
def timit_s5(small, tmp_path):
    """The same laid out as Kaldi's TIMIT recipe leaves it: training alignments without a set in their name."""
    s5 = tmp_path / "s5"
    for place in ("exp/tri3", "data", "conf"):
        (s5 / place).mkdir(parents=True)
    shutil.copytree(small / "feats", s5 / "data-fmllr-tri3")
    shutil.copytree(small / "graph", s5 / "exp/tri3/graph")
    shutil.copytree(small / "lang", s5 / "data/lang")
    for split, name in (("train", "tri3_ali"), ("dev", "tri3_ali_dev"), ("test", "tri3_ali_test")):
        shutil.copytree(small / f"ali_{split}", s5 / "exp" / name)
    (s5 / "conf/phones.60-48-39.map").write_text("pau SIL sil\nax a ah\nq\n")
    return s5


def test_directory_of_kaldis_timit_recipe(timit_s5, tmp_path):
    build(kaldi_sources(timit_s5), tmp_path / "task")
    task = Task.load(tmp_path / "task")
    assert task.score_map.read_text() == "<UNK>\nSIL sil\na ah\n"
    assert task.optional_tokens.read_text() == "sil\n"
    assert task.split("train").aligned == ["train1", "train2"]


def test_map_of_other_phones_does_not_count(timit_s5, tmp_path):
    (timit_s5 / "conf/phones.60-48-39.map").write_text("ax ah ah\n")
    build(kaldi_sources(timit_s5), tmp_path / "task")
    assert Task.load(tmp_path / "task").score_map.read_text() == "<UNK>\nSIL\na a\n"


def test_command_line(timit_s5, tmp_path):
    (tmp_path / "map").write_text("SIL\na b\n")
    command = [sys.executable, "-m", "frenchpress.nnet.task", "--kaldi-s5", timit_s5, "--out", tmp_path / "task"]
    command += ["--score-map", tmp_path / "map"]
    assert "written" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "up to date" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert Task.load(tmp_path / "task").score_map.read_text() == "<UNK>\nSIL\na b\n"
    bad = subprocess.run(command[:3] + command[5:], check=False, capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr == "error: give --kaldi-s5, or all of --feats --ali-prefix --graph --lang\n"
