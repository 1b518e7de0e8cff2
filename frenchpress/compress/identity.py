"""How a mask is made, in the metadata of a state_dict: a model does not take over masks of another method."""

from __future__ import annotations

from typing import Any

from torch import nn

from frenchpress.common import UserError

_KEY = "mask"


class NamesItsMask(nn.Module):
    """Base of what has a mask. One of another method has the same name and shape, and would be loaded unnoticed.

    The name stands beside the tensors, as torch keeps versions there; a state_dict from before has none and is taken.
    """

    @property
    def mask_method(self) -> str:
        """How the mask is made, in a word or a few."""
        raise NotImplementedError

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]][_KEY] = self.mask_method

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *arguments: Any
    ) -> None:
        theirs = local_metadata.get(_KEY, self.mask_method)
        if theirs != self.mask_method:
            raise UserError(
                f"{prefix[:-1] or 'this matrix'}: these weights have a mask of method {theirs}, "
                f"this model one of {self.mask_method}; build it with the same mask, or start from it (train.init)"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *arguments)
