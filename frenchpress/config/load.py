"""Load an experiment's configuration: file, what it extends, overrides, checks; and write it out again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from frenchpress.common import UserError
from frenchpress.common.document import Document, parse_override, read_document
from frenchpress.common.typed import blame, fill
from frenchpress.compress.rules import entry_of, wrong_entry
from frenchpress.config.press import LayerPress, check_press, self_contained
from frenchpress.config.schema import Config

HEADS = ("head_cd", "head_mono")


def load_config(path: Path | str, overrides: Sequence[str | Document] = ()) -> Config:
    """The configuration in `path`, with `overrides` (`train.epochs=2`, or trees) laid over it; UserError if bad."""
    document = read_document(path)
    for override in overrides:
        document.overlay(parse_override(override) if isinstance(override, str) else override)
    return _from_document(document)


def config_from_dict(values: dict[str, Any], source: str) -> Config:
    """The inverse of `config_to_dict`; `source` is what an error names."""
    return _from_document(Document(values, {(): source}))


def _from_document(document: Document) -> Config:
    config: Config = fill(Config, document.values, document)
    _check_patterns(config, document)
    compress = dict(config.compress)
    # Those that no layer chooses too: a base may have them, and they are to be right all the same.
    for entry in dict.fromkeys([*compress, *(_chosen(name, config) for name in layer_names(config))]):
        press = config.compress.get(entry, LayerPress())
        try:
            check_press(press)
        except UserError as error:
            raise blame(document, ("compress", entry), str(error)) from None
        if entry in compress:
            compress[entry] = self_contained(press)
    config = dataclasses.replace(config, compress=compress)
    object.__setattr__(config, "document", document)
    return config


def config_to_dict(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain values that YAML and `torch.load(weights_only=True)` can read.

    Keys that are rarely needed are left out where they say nothing.
    """
    said = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.init}
    rare = {f.name: f.default for f in dataclasses.fields(config) if f.metadata.get("rare")}
    return {name: _plain(value) for name, value in said.items() if name not in rare or value != rare[name]}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return config_to_dict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Fraction) else value


def config_to_yaml(config: Config) -> str:
    """The resolved configuration as YAML text; it can be read back as a `.cfg`."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, default_flow_style=None, width=110)


def layer_names(config: Config) -> list[str]:
    """The layers that `compress` can speak of: lstm0, lstm1, ..., head_cd, head_mono."""
    return [f"lstm{i}" for i in range(config.model.lstm.layers)] + list(HEADS)


def layer_presses(config: Config) -> dict[str, LayerPress]:
    """What is done to each layer: the entry under its exact name, else a matching pattern, else `default`."""
    return {name: config.compress.get(_chosen(name, config), LayerPress()) for name in layer_names(config)}


def _chosen(layer: str, config: Config) -> str:
    return entry_of([layer], config.compress)


def blame_layer(config: Config, place: Path | str, message: str) -> UserError:
    """The error for a `message` about a layer of `config` (`compress: lstm0: hcgs.blocks: ...`), which fits no model.

    It names file, line and key, where they are known, and else begins with `place`.
    """
    subject, _, problem = message.removeprefix("compress: ").partition(": ")
    layer = next((name for name in layer_names(config) if name in subject.split(".")), None)
    if layer is None or config.document is None:
        return UserError(f"{place}: {message}")
    entry = _chosen(layer, config)
    also = "" if entry == layer else f" (layer {layer})"
    return blame(config.document, ("compress", entry), problem + also)


def _check_patterns(config: Config, document: Document) -> None:
    """Every entry of `compress` must speak of a layer, `default` too, and no two patterns of the same one. None may be
    said after those that take all of its layers.
    """
    names = layer_names(config)
    wrong = wrong_entry([[name] for name in names], list(config.compress), "layer", ("lstm*", "head_*"))
    if wrong is not None:
        entry, problem = wrong
        raise UserError(f"{document.origin(('compress', entry))}: compress.{entry}: {problem}")
    # One that a base has is what entries said after it take the place of.
    said = [path[1] for path in document.origins if len(path) == 2 and path[0] == "compress"]
    for number, entry in enumerate(said):
        takers = dict.fromkeys(_chosen(name, config) for name in names if entry_of([name], [entry]) == entry)
        if takers and takers.keys() <= set(said[:number]):
            where, others = document.origin(("compress", entry)), " and ".join(takers)
            raise UserError(f"{where}: compress.{entry}: {others} leave no layer to it; say it of them")


def config_differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Keys (dotted) whose values differ between two trees, with both values; absent is None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(k for k in other if k not in one)]:
            dotted = f"{path}.{key}" if path else str(key)
            yield from config_differences(one.get(key), other.get(key), dotted)
    elif one != other:
        yield path, one, other
