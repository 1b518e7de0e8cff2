"""Reading audio: whatever the samples are stored as, they come out as 16-bit integers, by file and by pipe alike."""

import io
import struct

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.kaldi.audio import read_audio, read_audio_file
from frenchpress.kaldi.audio_stream import stream_samples

SAMPLES = (12000 * np.sin(np.arange(800) / 7)).astype(np.int16)
PCM_GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def wav(
    samples=SAMPLES, riff=None, size=None, code=1, bits=16, rate=16000, channels=1, before=b"", name=b"RIFF", sub=1
):
    """A WAV file with any sizes; `before`: chunks before the samples; code 0xFFFE: extensible, of format `sub`."""
    data = np.asarray(samples).tobytes()
    form = struct.pack("<HHIIHH", code, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    if code == 0xFFFE:
        form += struct.pack("<HHIH", 22, bits, 4, sub) + PCM_GUID
    body = before + b"fmt " + struct.pack("<I", len(form)) + form + b"data"
    body += struct.pack("<I", len(data) if size is None else size) + data
    return name + struct.pack("<I", len(body) + 4 if riff is None else riff) + b"WAVE" + body


def ds64(size):
    return b"ds64" + struct.pack("<IQQQI", 28, size + 72, size, size // 2, 0)


def by_file(data, tmp_path):
    (tmp_path / "a.wav").write_bytes(data)
    return read_audio("a.wav", near=tmp_path, where="wav.scp:1: a", rate=16000)


def by_pipe(data, tmp_path):
    return np.concatenate(list(stream_samples(io.BytesIO(data), 16000, "wav.scp:1: a")))


both = pytest.mark.parametrize("read", [by_file, by_pipe])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_sample_is_scaled_alike(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", SAMPLES / 32768, 16000, subtype=subtype)
    assert np.array_equal(read_audio_file(tmp_path / "a.wav", 16000), SAMPLES)
    assert np.array_equal(by_pipe((tmp_path / "a.wav").read_bytes(), tmp_path), SAMPLES)


@both
@pytest.mark.parametrize(
    ("sizes", "more"),
    [
        ({"riff": 0x7FFFF024, "size": 0x7FFFF000}, {}),  # SoX
        ({"riff": 0x80000024, "size": 0x80000000}, {}),  # arecord
        ({"riff": 0xFFFFFFFF, "size": 0xFFFFFFFF}, {"before": b"LIST\3\0\0\0abc\0"}),  # FFmpeg
        ({"riff": 0x7FFFFFFF, "size": 0x7FFFFFFF - 36}, {}),
        ({"riff": 0xFFFFFFFF - 8, "size": 0xFFFFFFFF - 44}, {}),
        ({"riff": 0, "size": 0}, {}),  # GStreamer
        ({"riff": 36, "size": 0}, {}),  # a header that was never completed
        ({"size": 0}, {}),
        ({"size": 0x7FFF0000}, {"code": 0xFFFE}),
        ({"riff": 0xFFFFFFFF, "size": 0xFFFFFFFF}, {"name": b"RF64", "before": ds64(1600)}),
        ({"riff": 0xFFFFFFFF, "size": 0xFFFFFFFF}, {"name": b"RF64", "before": ds64(0)}),
    ],
)
def test_a_size_that_the_writer_did_not_know_means_to_the_end(tmp_path, read, sizes, more):
    assert np.array_equal(read(wav(**sizes, **more), tmp_path), SAMPLES)


@both
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wav(size=1700), "truncated audio, 1600 bytes where its header promises 1700"),
        (wav(riff=0xFFFFFFFF, size=0xFFFFFFFF, name=b"RF64", before=ds64(1700)), "truncated audio, 1600 bytes"),
        (wav(SAMPLES[:0]), "no samples"),
        (wav(SAMPLES[:0], size=0xFFFFFFFF), "no samples"),
        (wav(SAMPLES[:0], riff=48) + b"LIST\4\0\0\0abcd", "no samples"),
        (wav() + wav(), "a second WAV file follows"),
        (wav(np.tile(SAMPLES, 5), size=1600), "more audio follows than its header promises"),
        (wav(rate=8000), "8000 Hz, expected 16000 Hz"),
        (wav(channels=2), "2 channels, expected mono"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(100), "not WAV|no WAV"),
        (b"ID3\3\0\0" + bytes(2000), "MP3 data|no WAV"),
        (bytes(range(32, 120)) * 50, "text data"),
        (np.random.default_rng(0).bytes(9000), "compressed or damaged data"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, read, data, message):
    with pytest.raises(UserError, match=f"^wav.scp:1: a: .*({message})"):
        read(data, tmp_path)


@both
@pytest.mark.parametrize(("code", "dtype"), [(3, "<f4"), (0xFFFE, "<f8")])
def test_floats_keep_their_peaks_and_must_be_numbers_of_full_scale_1(tmp_path, read, code, dtype):
    shape = {"code": code, "bits": 8 * np.dtype(dtype).itemsize, "sub": 3}
    over = np.array([1.5, -2.0, 0.5] * 100, dtype)
    assert read(wav(over, **shape), tmp_path)[:3].tolist() == [49152, -65536, 16384]
    with pytest.raises(UserError, match="samples up to 11999.*expected -1 to 1.*divide them by 32768"):
        read(wav(SAMPLES.astype(dtype), **shape), tmp_path)
    for bad, name in ((np.nan, "nan"), (np.inf, "inf")):
        over[7] = bad
        with pytest.raises(UserError, match=rf"a: .*sample 7 \(from 0\) is {name}"):
            read(wav(over, **shape), tmp_path)


@both
def test_chunks_and_padding_behind_the_samples_are_no_audio(tmp_path, read):
    for rest in (b"LIST\x88\x13\0\0" + bytes(range(250)) * 20, bytes(5000), b"TAG" + bytes(125)):
        assert np.array_equal(read(wav() + rest, tmp_path), SAMPLES)


def test_flac_that_was_written_to_a_pipe_does_not_say_how_long_it_is(tmp_path):
    soundfile.write(tmp_path / "a.flac", SAMPLES, 16000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36 bits of "samples in all", and the sum over them
    data[22:42] = bytes(20)
    (tmp_path / "a.flac").write_bytes(data)
    assert np.array_equal(read_audio_file(tmp_path / "a.flac", 16000), SAMPLES)


def test_audio_in_an_archive(tmp_path):
    """Kaldi's wav-copy writes these: an id, a space, and the WAV file itself."""
    first, second = wav(), wav(SAMPLES[::-1])
    (tmp_path / "wav.ark").write_bytes(b"a " + first + b"b " + second)
    for entry, samples in (("wav.ark:2", SAMPLES), (f"wav.ark:{len(first) + 4}", SAMPLES[::-1])):
        assert np.array_equal(read_audio(entry, near=tmp_path, where="x", rate=16000), samples)
    with pytest.raises(UserError, match="range of rows is of matrices.*`segments`"):
        read_audio("wav.ark:2[0:99]", near=tmp_path, where="x", rate=16000)


def test_compressed_sphere_names_the_tool_that_unpacks_it(tmp_path):
    fields = "channel_count -i 1\nsample_count -i 800\nsample_n_bytes -i 2\n"
    fields += "sample_coding -s27 pcm,embedded-shorten-v2.00\n"
    header = f"NIST_1A\n   1024\n{fields}end_head\n".encode().ljust(1024)
    (tmp_path / "a.sph").write_bytes(header + b"ajkg" + bytes(500))
    with pytest.raises(UserError, match="a.sph: SPHERE compressed as 'pcm,embedded-shorten-v2.00'.*sph2pipe"):
        read_audio("a.sph", near=tmp_path, where="wav.scp:1: a", rate=16000)
