"""The LSTM layer as a plain loop, to hold the fast ones against."""

from itertools import accumulate

import torch
import torch.nn.functional as F


def reference(layer, x, lengths):
    """The layer's definition: dense masked matrices, one sequence and one frame after the other."""
    along, back = layer.delta or (None, None)
    sequences = [layer.act_in(x[b, : int(n)]) for b, n in enumerate(lengths)]
    if along is not None:
        first = x.new_zeros(layer.inputs)
        held = [accumulate(s, lambda before, new: seen(new, before, along), initial=first) for s in sequences]
        sequences = [torch.stack(list(frames)[1:]) for frames in held]
    projections = F.linear(torch.cat(sequences), layer.input_matrix())
    if layer.norm is None:
        projections = projections + layer.bias
    else:
        n = layer.norm
        mean, var = projections.mean(0), projections.var(0, unbiased=False)
        if not layer.training:
            mean, var = n.running_mean, n.running_var
        projections = (projections - mean) / torch.sqrt(var + n.eps) * n.weight + n.bias
    outputs = x.new_zeros(x.shape[0], x.shape[1], layer.cells)
    weight = layer.recurrent_matrix()
    for b, sequence in enumerate(projections.split([int(n) for n in lengths])):
        h = c = x.new_zeros(layer.cells)
        for t, frame in enumerate(sequence):
            i, f, g, o = (frame + weight @ h).chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            c = c if layer.act_cell is None else layer.act_cell(c)
            new = layer.act_out(o.sigmoid() * c.tanh())
            h = new if back is None else seen(new, h, back)
            outputs[b, t] = h
    return outputs


def seen(new, before, threshold):
    """`new` where it has moved by more than `threshold` from what was seen `before`; the gradient is that of `new`."""
    # A thousandth more keeps float32 from deciding about a move of exactly the threshold.
    now = torch.where((new - before).abs() > threshold * 1.001, new, before).detach()
    return new + (now - new.detach())
