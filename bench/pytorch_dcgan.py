"""Times the DCGAN training step of the PyTorch examples repository, on synthetic pictures that are already in memory.

The step: D on real, forward and backward; D on detached fakes, forward and backward; D's Adam; D on the fakes, forward and
backward into G; G's Adam. Prints a line of JSON when the first step is done and one at the end.

With --device cuda the figures stay on the device and steps are timed by its events, so that the host may run ahead. bf16 is
automatic mixed precision: networks in bf16 where PyTorch deems it safe, losses and weights in fp32.
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


def set_precision(arguments):
    tf32 = arguments.precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def make_step(arguments):
    """One training step; its figures as tensors."""
    device = torch.device(arguments.device)
    layout = torch.channels_last if arguments.layout == "channels-last" else torch.contiguous_format
    size, features, channels = arguments.size, arguments.features, arguments.channels
    g = generator(size, arguments.latent, features, channels).apply(initialise).to(device, memory_format=layout)
    d = discriminator(size, features, channels).apply(initialise).to(device, memory_format=layout)
    criterion = nn.BCELoss()
    # fused: one pass over all parameters, the fastest that PyTorch has
    g_optimizer = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    d_optimizer = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    shape = (arguments.batch, channels, size, size)
    batches = [(torch.rand(shape, device=device) * 2 - 1).contiguous(memory_format=layout) for _ in range(4)]
    ones, zeros = torch.ones(arguments.batch, device=device), torch.zeros(arguments.batch, device=device)

    def run(network, inputs):
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            return network(inputs)

    def judge(pictures):
        return run(d, pictures).view(-1).float()

    def step(number):
        d.zero_grad()
        output = judge(batches[number % len(batches)])
        loss_real = criterion(output, ones)
        loss_real.backward()
        d_real = output.detach().mean()
        z = torch.randn(arguments.batch, arguments.latent, 1, 1, device=device)
        fake = run(g, z)
        output = judge(fake.detach())
        loss_fake = criterion(output, zeros)
        loss_fake.backward()
        d_fake = output.detach().mean()
        d_optimizer.step()

        if arguments.freeze:
            d.requires_grad_(False)
        g.zero_grad()
        loss_g = criterion(judge(fake), ones)
        loss_g.backward()
        g_optimizer.step()
        if arguments.freeze:
            d.requires_grad_(True)
        return (loss_real + loss_fake).detach(), loss_g.detach(), d_real, d_fake

    return step


def seconds_on_cpu(step, warmup, steps):
    """Of each step, and the last one's figures."""
    seconds = []
    for number in range(warmup, warmup + steps):
        start = time.perf_counter()
        figures = [figure.item() for figure in step(number)]
        seconds.append(time.perf_counter() - start)
    return seconds, figures


def seconds_on_cuda(step, warmup, steps):
    """From the end of a step to that of the next, as in training."""
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    ends[0].record()
    for number in range(steps):
        figures = step(warmup + number)
        ends[number + 1].record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) / 1e3 for begin, end in zip(ends, ends[1:])], [figure.item() for figure in figures]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
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
    set_precision(arguments)
    step = make_step(arguments)
    [figure.item() for figure in step(0)]
    print(json.dumps({"event": "first step", "torch": torch.__version__}), flush=True)
    for number in range(1, arguments.warmup):
        step(number)
    measure = seconds_on_cuda if arguments.device == "cuda" else seconds_on_cpu
    seconds, figures = measure(step, arguments.warmup, arguments.steps)
    rates = [arguments.batch / of_step for of_step in seconds]
    names = ("loss_d", "loss_g", "d_real", "d_fake")
    print(json.dumps({"images_per_s": rates, "threads": arguments.threads, **dict(zip(names, figures))}))


if __name__ == "__main__":
    main()
