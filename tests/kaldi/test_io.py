import gzip
import importlib.util
import pickle

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.kaldi import values
from frenchpress.kaldi.io import (
    IntVectorReader,
    MatrixReader,
    read_int_vectors,
    read_matrix,
    read_mats,
    write_int_vectors,
    write_matrix,
    write_mats,
)


@pytest.fixture(autouse=True, params=["kaldiio", "kaldi_native_io"])
def reader(request, monkeypatch):
    """Everything here holds with either of the packages that read a value."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(values, "READERS", {request.param: values.READERS[request.param]})


def mats():
    rng = np.random.default_rng(0)
    return {f"u{n}": rng.normal(size=(5 + n, 4)).astype(np.float32) for n in range(3)}


@pytest.fixture
def ark(tmp_path):
    write_mats(tmp_path / "a.ark", tmp_path / "a.scp", mats().items())
    return tmp_path / "a.ark"


@pytest.mark.parametrize("name", ["mfcc", "cmvn_test", "lda_mllt"])
def test_archive_written_again_has_the_same_bytes(kaldi_mboshi, tmp_path, name):
    path = kaldi_mboshi / "golden" / f"{name}.ark"
    write_mats(tmp_path / "a.ark", None, read_mats(path))
    assert (tmp_path / "a.ark").read_bytes() == path.read_bytes()


def test_compressed_features_by_scp(kaldi_mboshi):
    reader = MatrixReader(kaldi_mboshi / "data-fmllr-tri3/test/feats.scp")
    assert len(reader) == 240
    golden = dict(read_mats(kaldi_mboshi / "golden/fmllr.ark"))
    for utt, matrix in golden.items():
        # About 8 bits per value; and the golden features are without dither, which tells on digital silence.
        # Measured: at most 0.018 on values that span about 50.
        assert np.median(np.abs(reader[utt] - matrix)) < 0.05


def test_round_trip_by_scp_and_by_archive(ark):
    for place in (ark, ark.with_suffix(".scp")):
        found = dict(read_mats(place))
        assert list(found) == ["u0", "u1", "u2"]
        for utt, matrix in mats().items():
            assert found[utt].dtype == np.float32
            assert np.array_equal(found[utt], matrix)


def test_relative_names_are_found_from_any_directory(tmp_path, monkeypatch):
    (tmp_path / "data/train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    write_mats("data/train/f.ark", "data/train/f.scp", mats().items())
    assert "data/train/f.ark:" in (tmp_path / "data/train/f.scp").read_text()
    monkeypatch.chdir("/")
    assert np.array_equal(MatrixReader(tmp_path / "data/train/f.scp")["u1"], mats()["u1"])


def test_cut_short_at_any_byte(ark):
    """No cut goes unnoticed: an error, or all matrices before the cut and none after."""
    whole = ark.read_bytes()
    ends = [whole.index(f"u{n} ".encode()) for n in (1, 2)]
    for size in range(1, len(whole)):
        ark.write_bytes(whole[:size])
        if size in ends:
            continue
        with pytest.raises(UserError, match="a.ark"):
            list(read_mats(ark))


@pytest.mark.parametrize("kind", ["vector", "double"])
def test_other_shapes_cut_short(tmp_path, kind):
    value = np.arange(7.0) if kind == "vector" else np.ones((3, 3))
    write_mats(tmp_path / "a.ark", None, [("u", value)])
    assert np.array_equal(dict(read_mats(tmp_path / "a.ark"))["u"], value)
    whole = (tmp_path / "a.ark").read_bytes()
    (tmp_path / "a.ark").write_bytes(whole[:-8])
    with pytest.raises(UserError, match="a.ark: u: archive is cut short"):
        list(read_mats(tmp_path / "a.ark"))


def test_compressed_archive_cut_short(kaldi_mboshi, tmp_path):
    whole = (kaldi_mboshi / "data-fmllr-tri3/dev/feats.ark").read_bytes()
    (tmp_path / "f.ark").write_bytes(whole[:9000])
    (tmp_path / "f.scp").write_text("u f.ark:14\n")
    with pytest.raises(UserError, match="f.scp: u .*cut short"):
        MatrixReader(tmp_path / "f.scp")["u"]


def test_nan_names_utterance_and_row(tmp_path):
    bad = np.zeros((4, 3), np.float32)
    bad[2, 1] = np.nan
    write_mats(tmp_path / "a.ark", tmp_path / "a.scp", [("good", np.ones((1, 3))), ("bad", bad)])
    reader = MatrixReader(tmp_path / "a.scp")
    assert reader["good"].shape == (1, 3)
    with pytest.raises(UserError, match="bad .*NaN or infinity in row 2"):
        reader["bad"]


def test_pipes_are_refused_unless_allowed(ark):
    scp = ark.with_suffix(".scp")
    scp.write_text(f"u0 dd if={ark} bs=1 skip=3 |\n")
    with pytest.raises(UserError, match="u0 is a shell command.*only files are read here"):
        MatrixReader(scp)
    with pytest.raises(UserError, match="u0 is a shell command.*--allow-pipes"):
        MatrixReader(scp, allow_pipes=False)
    assert np.array_equal(MatrixReader(scp, allow_pipes=True)["u0"], mats()["u0"])
    scp.write_text("u0 echo wrong >&2; false |\n")
    with pytest.raises(UserError, match="failed with code 1: wrong"):
        MatrixReader(scp, allow_pipes=True)["u0"]


def test_archives_are_never_unpickled(tmp_path):
    (tmp_path / "a.ark").write_bytes(b"u PKL" + pickle.dumps([1.0]))
    with pytest.raises(UserError, match="neither a binary nor a text matrix"):
        list(read_mats(tmp_path / "a.ark"))


@pytest.mark.parametrize("start", [b"dd of=HERE |", b"| dd of=HERE ", b"WAVE", b"RIFF", b"\0BXM \4", b"\0B\4\1\0\0\0"])
def test_what_is_no_matrix_is_never_obeyed(tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ark").write_bytes(b"u " + start + bytes(80))
    with pytest.raises(UserError, match="a.ark: u: archive is cut short or damaged"):
        list(read_mats(tmp_path / "a.ark"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ark"]


@pytest.mark.parametrize("rows,columns", [(2**30, 2**30), (-3, 4), (5, 4)])
def test_damaged_sizes_are_one_line(tmp_path, rows, columns):
    sizes = b"".join(b"\4" + n.to_bytes(4, "little", signed=True) for n in (rows, columns))
    (tmp_path / "a.ark").write_bytes(b"u \0BFM " + sizes + bytes(64))
    with pytest.raises(UserError, match="a.ark: u"):
        list(read_mats(tmp_path / "a.ark"))


def compressed(kind):
    """A compressed matrix [3, 2] of bytes as Kaldi writes it, and what it stands for (Kaldi's compressed-matrix.h)."""
    low, span = np.float32(-2), np.float32(8)
    codes = np.array([[0, 255], [100, 7], [192, 64]])
    start = b"\0B" + kind.encode() + b" " + np.array([low, span], "<f4").tobytes() + np.array([3, 2], "<i4").tobytes()
    if kind == "CM2":
        codes = 257 * codes
        return start + codes.astype("<u2").tobytes(), low + span * codes / 65535
    if kind == "CM3":
        return start + codes.astype("u1").tobytes(), low + span * codes / 255
    points = np.array([[0, 20000, 30000, 65535], [100, 200, 60000, 60001]])
    knots = low + span * points / 65535
    values = np.stack([np.interp(codes[:, c], [0, 64, 192, 255], knots[c]) for c in range(2)], 1)
    return start + points.astype("<u2").tobytes() + codes.T.astype("u1").tobytes(), values


@pytest.mark.parametrize("kind", ["CM", "CM2", "CM3"])
def test_compressed_matrices_as_kaldi_defines_them(tmp_path, kind):
    data, expected = compressed(kind)
    (tmp_path / "a.ark").write_bytes(b"u " + data)
    assert np.allclose(dict(read_mats(tmp_path / "a.ark"))["u"], expected, atol=1e-5)


def test_without_a_reader_it_says_what_to_install(ark, monkeypatch):
    monkeypatch.setattr(values, "READERS", {})
    with pytest.raises(UserError, match="neither kaldiio nor kaldi-native-io is installed"):
        list(read_mats(ark))


def test_duplicate_ids(ark):
    scp = ark.with_suffix(".scp")
    scp.write_text("u0 a.ark:3\nu1 a.ark:3\nu0 a.ark:3\n")
    with pytest.raises(UserError, match="a.scp:3: u0 is there twice"):
        MatrixReader(scp)
    ark.write_bytes(ark.read_bytes() * 2)
    with pytest.raises(UserError, match="a.ark: u0 is there twice"):
        list(read_mats(ark))


def test_missing_files(tmp_path):
    (tmp_path / "a.scp").write_text("u gone.ark:5\nv\n")
    with pytest.raises(UserError, match="v has no file behind it"):
        MatrixReader(tmp_path / "a.scp")
    (tmp_path / "a.scp").write_text("u gone.ark:5\n")
    with pytest.raises(UserError, match="a.scp: u: gone.ark: no such file"):
        MatrixReader(tmp_path / "a.scp")["u"]
    with pytest.raises(UserError, match="none.ark: no such file"):
        list(read_mats(tmp_path / "none.ark"))


def test_nothing_is_left_of_a_failed_write(tmp_path):
    def items():
        yield "u", np.ones((2, 2))
        raise UserError("stop")

    with pytest.raises(UserError):
        write_mats(tmp_path / "a.ark", tmp_path / "a.scp", items())
    assert list(tmp_path.iterdir()) == []


def test_text_archive(tmp_path):
    (tmp_path / "a.ark").write_text("u  [\n  1 2\n  3 4 ]\nv  [\n  5 6 ]\n")
    found = dict(read_mats(tmp_path / "a.ark"))
    assert found["u"].tolist() == [[1, 2], [3, 4]]
    assert found["v"].tolist() == [[5, 6]]


def test_single_matrix(tmp_path, kaldi_mboshi):
    path = kaldi_mboshi / "exp/tri3/final.mat"
    matrix = read_matrix(path)
    write_matrix(tmp_path / "final.mat", matrix)
    assert matrix.shape == (40, 91)
    assert (tmp_path / "final.mat").read_bytes() == path.read_bytes()


def vectors():
    return {"a": np.array([1, -2, 300000]), "b": np.array([], int), "c": np.array([7])}


@pytest.mark.parametrize("name", ["v.ark", "v.gz", "v.scp"])
def test_int_vectors_round_trip(tmp_path, name):
    scp = tmp_path / "v.scp" if name == "v.scp" else None
    write_int_vectors(tmp_path / ("v.ark" if scp else name), vectors(), scp)
    every = read_int_vectors(tmp_path / name)
    for found in [every] if scp else [every, IntVectorReader(tmp_path / name)]:
        assert {utt: v.tolist() for utt, v in found.items()} == {"a": [1, -2, 300000], "b": [], "c": [7]}
        assert all(v.dtype == np.int32 for v in found.values())


def test_int_vectors_in_text(tmp_path):
    (tmp_path / "v.ark").write_text("a 1 2 3\nb 4\n")
    for read in (read_int_vectors, IntVectorReader):
        assert {u: v.tolist() for u, v in read(tmp_path / "v.ark").items()} == {"a": [1, 2, 3], "b": [4]}


@pytest.mark.parametrize("name", ["v.ark", "v.gz"])
def test_int_vectors_cut_short(tmp_path, name):
    write_int_vectors(tmp_path / name, vectors())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) - 4])
    for read in (read_int_vectors, IntVectorReader):
        with pytest.raises(UserError, match=f"{name}.*cut short"):
            read(tmp_path / name)


def test_int_vectors_are_read_when_asked_for(tmp_path):
    write_int_vectors(tmp_path / "v.ark", vectors())
    reader = IntVectorReader(tmp_path / "v.ark")
    assert [reader.length(utt) for utt in reader] == [3, 0, 1]
    whole = (tmp_path / "v.ark").read_bytes()
    (tmp_path / "v.ark").write_bytes(whole[:10])
    with pytest.raises(UserError, match="v.ark: c: archive is cut short"):
        reader["c"]


def test_matrices_are_no_int_vectors(ark):
    with pytest.raises(UserError, match="a.ark: u0: .*no int32 vector"):
        read_int_vectors(ark)
    with pytest.raises(UserError, match="a.ark: u0: .*no int32 vector"):
        IntVectorReader(ark)


@pytest.mark.parametrize(
    ("span", "cut"),
    [
        ("[1:3]", np.s_[1:4]),
        ("[2:2,0:1]", np.s_[2:3, 0:2]),
        ("[:,1:3]", np.s_[:, 1:4]),
        ("[0:6]", np.s_[0:5]),  # up to three rows beyond the last, as Kaldi allows
        ("", np.s_[:]),
    ],
)
def test_ranges_of_rows_and_columns_and_gzip(ark, span, cut):
    scp, first = ark.with_suffix(".scp"), ark.with_suffix(".scp").read_text().splitlines()[0]
    packed = ark.with_suffix(".ark.gz")
    packed.write_bytes(gzip.compress(ark.read_bytes()))
    scp.write_text(f"{first}{span}\nv {packed}:3{span}\n")
    reader = MatrixReader(scp)
    assert np.array_equal(reader["u0"], mats()["u0"][cut]) and np.array_equal(reader["v"], reader["u0"])


@pytest.mark.parametrize(("span", "said"), [("[0:9]", "0 to 9 of 5"), ("[3:1]", "3 to 1"), ("[1]", "expected a range")])
def test_ranges_that_cannot_be(ark, span, said):
    scp = ark.with_suffix(".scp")
    scp.write_text(scp.read_text().splitlines()[0] + span)
    with pytest.raises(UserError, match=rf"u0 .*\{span[:-1]}\]: {said}"):
        MatrixReader(scp)["u0"]
