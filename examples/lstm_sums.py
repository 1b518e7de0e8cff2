"""An LSTM that adds up a row of numbers: its recurrent matrix is pruned to half, bank by bank, and has 6 bits."""

import torch
from torch import Tensor, nn

import frenchpress.compress as fp

EPOCHS, STEPS = 5, 30


class Sums(nn.Module):
    """Numbers [B, T, 1] -> their sum [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, numbers: Tensor) -> Tensor:
        """From the last output."""
        return self.fc(self.lstm(numbers)[0][:, -1]).squeeze(1)


torch.manual_seed(0)
model = Sums()
banks = {"method": "bank", "bank": 8, "keep": "1/2", "start_epoch": 1, "end_epoch": 4}
fp.press(model, {"lstm.weight_hh*": fp.Press(weight_bits=6, mask=banks), "fc": fp.Press(weight_bits=4, act_bits=8)})
schedule, optimizer = fp.schedule(model), torch.optim.Adam(model.parameters(), 1e-2)
for epoch in range(EPOCHS):
    for step in range(STEPS):
        schedule.before_step(epoch, step, STEPS)
        numbers = torch.rand(64, 8, 1) - 0.5
        loss = (model(numbers) - numbers.sum((1, 2))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        schedule.after_backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: mean square error {loss.item():.4f}, density {100 * schedule.density:.1f} %")
plain = fp.bake(model.eval())
print(fp.describe(model))
