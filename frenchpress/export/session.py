"""onnxruntime, with all that could differ from run to run said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frenchpress.export.packages import require

if TYPE_CHECKING:
    import onnxruntime


def open_session(exported: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """onnxruntime on the bytes of an ONNX file, on the CPU with `threads` threads, which rest between calls."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3  # below that it warns of each optional input
    return runtime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
