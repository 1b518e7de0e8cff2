"""A tiny LDC93S1 tree that the tests write themselves."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from timit.audio import write_sphere

PHN = "0 2000 h#\n2000 4000 sh\n4000 6000 ix\n6000 6500 q\n6500 7000 dcl\n7000 7400 d\n7400 8000 h#\n"
SPEAKERS = {"train": ["MXAA0", "FXBB1"], "dev": ["MXCC0"], "test": ["FXDD0"]}


class Tree:
    """Writes the tree; `case` is str.upper or str.lower, `riff` writes WAVE in place of SPHERE."""

    def __init__(self, root: Path, case=str.upper, riff=False):
        self.root, self.case, self.riff = root, case, riff

    def path(self, split: str, speaker: str, name: str) -> Path:
        half = "train" if split == "train" else "test"
        return self.root.joinpath(*map(self.case, (half, "dr1", speaker, name)))

    def audio(self, path: Path, samples=8000, rate=16000, channels=1):
        data = np.random.default_rng(0).integers(-999, 999, (samples, channels)).astype(np.int16)
        if self.riff or rate != 16000 or channels != 1:
            soundfile.write(path, data, rate, subtype="PCM_16", format="WAV")
        else:
            write_sphere(path, data[:, 0], "test")

    def write(self):
        for split, speakers in SPEAKERS.items():
            for speaker in speakers:
                for sentence in ("sa1", "sx1", "si2"):
                    wav = self.path(split, speaker, f"{sentence}.wav")
                    wav.parent.mkdir(parents=True, exist_ok=True)
                    self.audio(wav)
                    self.path(split, speaker, f"{sentence}.phn").write_text(PHN)
        self.mark(SPEAKERS)
        return self

    def mark(self, splits):
        content = {"sentences_per_speaker": 2, "splits": splits}
        (self.root / "SYNTH.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "corpus").write()


@pytest.fixture
def make_tree(tmp_path):
    """Trees in other cases and formats, not yet written."""
    return lambda **options: Tree(tmp_path / "corpus", **options)
