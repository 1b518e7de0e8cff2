"""Tensors that are sent from one device to another: what is sent in their place, and how many bytes that takes.

A compressor takes a tensor and gives `Sent`: the bytes, and what the other side makes of them. `make_traffic` gives
what workers that train one model send of its gradients.
"""

from frenchpress.compress.traffic.compressors import Sent, multi_step, qsgd, top_k
from frenchpress.compress.traffic.gradients import Count, GradientTraffic, make_traffic, read_traffic
from frenchpress.compress.traffic.layers import Link, MultiStep, TopGradient
from frenchpress.compress.traffic.links import make_link

__all__ = [
    "Count",
    "GradientTraffic",
    "Link",
    "MultiStep",
    "Sent",
    "TopGradient",
    "make_link",
    "make_traffic",
    "multi_step",
    "qsgd",
    "read_traffic",
    "top_k",
]
