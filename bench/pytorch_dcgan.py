"""Times the DCGAN training step of the PyTorch examples repository, on synthetic pictures that are already in memory.

The step: D on real, forward and backward; D on detached fakes, forward and backward; D's Adam; D on the fakes, forward and
backward into G; G's Adam. Prints a line of JSON when the first step is done and one at the end.
"""

import argparse
import json
import time

import torch
from torch import nn


def generator(size, latent, features, channels):
    """1x1 -> 4x4 -> ... -> size, as the equivalent of gannet's `dcgan` at the same settings."""
    width = features * size // 8
    layers = [nn.ConvTranspose2d(latent, width, 4, 1, 0, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    while width > features:
        layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(True)]
        width //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(size, features, channels):
    layers = [nn.Conv2d(channels, features, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    width = features
    while width < features * size // 8:
        layers += [nn.Conv2d(width, width * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * 2), nn.LeakyReLU(0.2, inplace=True)]
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def initialise(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def make_step(arguments):
    layout = torch.channels_last if arguments.layout == "channels-last" else torch.contiguous_format
    size, features, channels = arguments.size, arguments.features, arguments.channels
    g = generator(size, arguments.latent, features, channels).apply(initialise).to(memory_format=layout)
    d = discriminator(size, features, channels).apply(initialise).to(memory_format=layout)
    criterion = nn.BCELoss()
    # fused: one pass over all parameters, the fastest that PyTorch has
    g_optimizer = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    d_optimizer = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    shape = (arguments.batch, channels, size, size)
    batches = [(torch.rand(shape) * 2 - 1).contiguous(memory_format=layout) for _ in range(4)]
    ones, zeros = torch.ones(arguments.batch), torch.zeros(arguments.batch)

    def step(number):
        d.zero_grad()
        output = d(batches[number % len(batches)]).view(-1)
        loss_real = criterion(output, ones)
        loss_real.backward()
        d_real = output.mean().item()
        z = torch.randn(arguments.batch, arguments.latent, 1, 1)
        fake = g(z)
        output = d(fake.detach()).view(-1)
        loss_fake = criterion(output, zeros)
        loss_fake.backward()
        d_fake = output.mean().item()
        d_optimizer.step()

        if arguments.freeze:
            d.requires_grad_(False)
        g.zero_grad()
        loss_g = criterion(d(fake).view(-1), ones)
        loss_g.backward()
        g_optimizer.step()
        if arguments.freeze:
            d.requires_grad_(True)
        return (loss_real + loss_fake).item(), loss_g.item(), d_real, d_fake

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", choices=["nchw", "channels-last"], default="nchw")
    parser.add_argument("--freeze", action="store_true", help="spare D's weight gradients in G's step")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--latent", type=int, default=100)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones")
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    step = make_step(arguments)
    step(0)
    print(json.dumps({"event": "first step", "torch": torch.__version__}), flush=True)
    for number in range(1, arguments.warmup):
        step(number)
    rates = []
    for number in range(arguments.steps):
        start = time.perf_counter()
        figures = step(number)
        rates.append(arguments.batch / (time.perf_counter() - start))
    names = ("loss_d", "loss_g", "d_real", "d_fake")
    print(json.dumps({"images_per_s": rates, "threads": arguments.threads, **dict(zip(names, figures))}))


if __name__ == "__main__":
    main()
