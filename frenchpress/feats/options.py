"""`mfcc.conf`: options in Kaldi's syntax, one `--name=value` per line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from frenchpress.common import UserError, read_lines


@dataclass(frozen=True)
class MfccConfig:
    """Kaldi's options of the same names (with `-` for `_`) and Kaldi's defaults.

    Frame length and shift in milliseconds, frequencies in Hz (`high_freq` 0 or below: down from half the
    rate). `dither` is the standard deviation of the noise added to the samples (16-bit range), drawn from a
    generator seeded by the utterance's name, so that features are the same in every run.
    """

    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    dither: float = 1.0
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    window_type: str = "povey"
    round_to_power_of_two: bool = True
    blackman_coeff: float = 0.42
    snip_edges: bool = True
    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
    num_ceps: int = 13
    use_energy: bool = True
    energy_floor: float = 0.0
    raw_energy: bool = True
    cepstral_lifter: float = 22.0
    htk_compat: bool = False

    def num_frames(self, samples: int) -> int:
        """Frames that so many samples give."""
        length = int(self.sample_frequency * self.frame_length / 1000)
        shift = int(self.sample_frequency * self.frame_shift / 1000)
        if self.snip_edges:
            return 0 if samples < length else 1 + (samples - length) // shift
        return (samples + shift // 2) // shift


_WINDOWS = ("hamming", "hanning", "povey", "rectangular", "sine", "blackman")


def load_config(path: Path | str) -> MfccConfig:
    """Read an options file; an unknown option, a wrong value or an option given twice is a UserError."""
    return parse_config(read_lines(path), path)


def parse_config(lines: Iterable[str], path: Path | str) -> MfccConfig:
    """As `load_config`, from the lines of a file; `path` begins every error."""
    types = {field.name.replace("_", "-"): field.type for field in fields(MfccConfig)}
    given: dict[str, float | int | bool | str] = {}
    for number, line in enumerate(lines, 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        where = f"{path}:{number}"
        name, equals, value = line.removeprefix("--").partition("=")
        if not line.startswith("--"):
            raise UserError(f"{where}: {line!r}, expected --name=value")
        if name not in types:
            near = difflib.get_close_matches(name, types, 1, 0.0)[0]
            raise UserError(f"{where}: unknown option --{name}; the nearest is --{near}")
        key = name.replace("-", "_")
        if key in given:
            raise UserError(f"{where}: --{name} is given twice")
        given[key] = _value(value if equals else "true", str(types[name]), f"{where}: --{name}")
    return _sane(MfccConfig(**given), path)


def config_lines(config: MfccConfig) -> list[str]:
    """The options that are not the defaults, as `parse_config` reads them."""
    default = MfccConfig()
    changed = [f.name for f in fields(config) if getattr(config, f.name) != getattr(default, f.name)]
    return [f"--{name.replace('_', '-')}={str(getattr(config, name)).lower()}" for name in changed]


def _value(text: str, kind: str, where: str) -> float | int | bool | str:
    text = text.strip()
    try:
        if kind == "bool":
            return {"true": True, "t": True, "false": False, "f": False}[text.lower()]
        if kind == "int":
            return int(text)
        return float(text) if kind == "float" else text
    except (KeyError, ValueError):
        wanted = {"bool": "true or false", "int": "an integer", "float": "a number"}[kind]
        raise UserError(f"{where} is {text!r}, expected {wanted}") from None


def _sane(config: MfccConfig, path: Path | str) -> MfccConfig:
    positive = ("sample_frequency", "frame_length", "frame_shift", "num_mel_bins", "num_ceps")
    for name in positive:
        if not getattr(config, name) > 0:
            raise UserError(f"{path}: --{name.replace('_', '-')} must be above 0")
    if config.num_ceps > config.num_mel_bins:
        raise UserError(f"{path}: --num-ceps={config.num_ceps} is above --num-mel-bins={config.num_mel_bins}")
    if config.window_type not in _WINDOWS:
        raise UserError(f"{path}: --window-type={config.window_type}, expected one of {', '.join(_WINDOWS)}")
    if not config.dither >= 0:
        raise UserError(f"{path}: --dither={config.dither}, expected 0 or above")
    return config
