"""The LSTM layer as a plain loop, to hold the fast ones against."""

import torch
import torch.nn.functional as F


def reference(layer, x, lengths):
    """The layer's definition: dense masked matrices, one sequence and one frame after the other."""
    sequences = [x[b, : int(n)] for b, n in enumerate(lengths)]
    projections = F.linear(layer.act_in(torch.cat(sequences)), layer.input_matrix())
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
            h = layer.act_out(o.sigmoid() * c.tanh())
            outputs[b, t] = h
    return outputs
