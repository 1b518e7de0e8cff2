"""A net of linear layers on a function of two numbers: 2-bit weights with a learned step, blocks of weights drawn."""

import torch
from torch import nn

import frenchpress.compress as fp

EPOCHS, BATCH = 5, 64
torch.manual_seed(0)
points = torch.rand(2048, 2) * 4 - 2
values = (points[:, :1] * points[:, 1:]).sin()
model = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))

blocks = {"method": "hcgs", "blocks": [32, 4], "keep": ["1/2", "1/2"]}
fp.press(model, {"2": fp.Press(weight_bits=2, quantizer="lsq", mask=blocks), "4": fp.Press(weight_bits=8, act_bits=8)})
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for epoch in range(EPOCHS):
    for rows in torch.randperm(len(points)).split(BATCH):
        optimizer.zero_grad()
        loss = (model(points[rows]) - values[rows]).square().mean()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: mean square error {loss.item():.4f}")

plain = fp.bake(model.eval())
print(fp.describe(model))
