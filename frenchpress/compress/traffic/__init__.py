"""Tensors that are sent from one device to another: what is sent in their place, and how many bytes that takes.

A compressor takes a tensor and gives `Sent`: the bytes, and what the other side makes of them.
"""

from frenchpress.compress.traffic.compressors import Sent, multi_step, qsgd, top_k
from frenchpress.compress.traffic.layers import MultiStep, TopGradient

__all__ = ["MultiStep", "Sent", "TopGradient", "multi_step", "qsgd", "top_k"]
