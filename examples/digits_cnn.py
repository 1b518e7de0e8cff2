"""A small CNN on the digits of scikit-learn: a quarter of the weights, 4 bits. Needs `pip install scikit-learn`."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import frenchpress.compress as fp

EPOCHS, BATCH = 6, 100
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 4 * 4, 10)
)

# Layers are called as torch does: "0" is the first convolution. It has few weights, so it keeps them all.
thin = {"method": "magnitude", "keep": "1/4", "start_epoch": 1, "end_epoch": 4}
fp.press(model, {"0": fp.Press(weight_bits=8), "default": fp.Press(weight_bits=4, act_bits=8, mask=thin)})
schedule = fp.schedule(model)
optimizer = torch.optim.Adam(model.parameters(), 5e-3)  # after press: some quantizers learn
for epoch in range(EPOCHS):
    batches = torch.randperm(1500).split(BATCH)
    for step, rows in enumerate(batches):
        schedule.before_step(epoch, step, len(batches))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        schedule.after_backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: density {100 * schedule.density:.1f} %")

plain = fp.bake(model.eval())
right = (plain(images[1500:]).argmax(1) == labels[1500:]).float().mean()
print(f"{fp.describe(model)}\n{100 * right:.1f} % of 297 test digits are right")
