"""MobileNetV2 on CIFAR-10: few bits, fewer weights, and few bytes between two halves of the net.

    python examples/cifar10_mobilenet.py cifar-10-batches-bin --epochs 30 --split 7 --ratio 0.25

The directory is that of "CIFAR-10 binary version" (data_batch_*.bin, test_batch.bin).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import frenchpress.compress as fp
from frenchpress.common import UserError
from frenchpress.compress.traffic import MultiStep


def read(directory: Path, pattern: str) -> tuple[Tensor, Tensor]:
    """Images float32 [N, 3, 32, 32] and labels [N]: records of a byte for the label and 3072 for the image."""
    paths = sorted(directory.glob(pattern))
    if not paths or any(path.stat().st_size % 3073 or not path.stat().st_size for path in paths):
        raise UserError(f"{directory}/{pattern}: no such file, or not the binary version of CIFAR-10")
    records = torch.from_numpy(np.concatenate([np.fromfile(path, np.uint8) for path in paths]).reshape(-1, 3073))
    return records[:, 1:].reshape(-1, 3, 32, 32).float() / 128 - 1, records[:, 0].long()


class Bottleneck(nn.Sequential):
    """1 x 1 wider, 3 x 3 in each channel by itself, 1 x 1 narrower; added to its input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, wider: int) -> None:
        inner = inputs * wider
        super().__init__(*conv(inputs, inner, 1), *conv(inner, inner, 3, stride, inner), *conv(inner, outputs, 1)[:2])
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        return x + super().forward(x) if self.adds else super().forward(x)


def conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution, its batch norm and what bounds it."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU6()]


def mobilenet_v2(width: float) -> nn.Sequential:
    """MobileNetV2 for images of 32 x 32 (Sandler et al. 2018, arXiv 1801.04381, table 2; the first strides are 1).

    `width`: what numbers of channels are multiplied by.
    """
    first_of_all = inputs = int(32 * width)
    blocks, last = [], int(1280 * max(width, 1))
    for wider, outputs, times, first in (
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for number in range(times):
            blocks.append(Bottleneck(inputs, int(outputs * width), first if number == 0 else 1, wider))
            inputs = int(outputs * width)
    body = nn.Sequential(*blocks)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, 10)]
    return nn.Sequential(nn.Sequential(*conv(3, first_of_all, 3)), body, nn.Sequential(*conv(inputs, last, 1)), *pool)


def main(argv: Sequence[str] | None = None) -> nn.Module:
    """Train, say how many test images are right, and give the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="with data_batch_*.bin and test_batch.bin")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training images (30)")
    parser.add_argument("--bits", type=int, default=4, help="of weights (4)")
    parser.add_argument("--keep", default="1/2", help="share of the weights of 1 x 1 convolutions that is kept (1/2)")
    parser.add_argument("--width", type=float, default=1.0, help="number of channels over that of the paper (1.0)")
    parser.add_argument("--split", type=int, default=7, help="traffic is compressed behind so many of 17 blocks (7)")
    parser.add_argument("--ratio", type=float, default=0.25, help="share of the numbers that is sent there (0.25)")
    args = parser.parse_args(argv)
    images, labels = read(args.directory, "data_batch_*.bin")
    tests, answers = read(args.directory, "test_batch.bin")
    torch.manual_seed(0)
    model, traffic = mobilenet_v2(args.width), MultiStep(args.ratio, partitions=8, bits=4)
    late = {"method": "magnitude", "keep": args.keep, "start_epoch": 0, "end_epoch": max(1, args.epochs // 2)}
    thin = fp.Press(weight_bits=args.bits, quantizer="lsq", mask=late)
    pointwise = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    fp.press(model, {**dict.fromkeys(pointwise[1:], thin), "default": fp.Press(weight_bits=8)})
    model[1].insert(args.split, traffic)
    schedule, steps = fp.schedule(model), images.shape[0] // 128 + 1
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, args.epochs * steps))
    for epoch in range(args.epochs):
        model.train()
        for step, rows in enumerate(torch.randperm(len(images)).tensor_split(steps)):
            flipped = images[rows].flip(3) if torch.rand(()) < 0.5 else images[rows]
            schedule.before_step(epoch, step, steps)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(flipped), labels[rows]).backward()
            schedule.after_backward()
            optimizer.step()
            rates.step()
        print(f"epoch {epoch + 1}: density {100 * schedule.density:.1f} %, sent {traffic.forward_bytes} bytes a batch")
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in zip(tests.split(100), answers.split(100)))
    print(f"{fp.describe(model)}\n{100 * right / len(tests):.2f} % of {len(tests)} test images are right")
    return model


if __name__ == "__main__":
    main()
