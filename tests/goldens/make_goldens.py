#!/usr/bin/env python3
"""Trains tiny models in PyTorch and writes what Gannet must reproduce number by number.

    make_goldens.py [FOLDER]        needs torch, numpy and safetensors

For each family FOLDER gets NAME.init.safetensors (weights, for --init) and NAME.replay.safetensors (every step's inputs, for
--replay); for each case NAME.CASE.expected.safetensors with the scalars of every step and the weights at the end.
The configuration of a case is in its metadata under "config", ready for `gannet train`.
"""

import copy
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

STEPS = 20


def dcgan_generator(size, channels, latent, features):
    """The generator of the PyTorch examples' DCGAN for any size of 4 * 2^n."""
    width = features * size // 8
    modules = [nn.ConvTranspose2d(latent, width, 4, 1, 0, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    while width > features:
        modules += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU()]
        width //= 2
    modules += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*modules)


def dcgan_discriminator(size, channels, features, norm):
    """The discriminator of the examples, without its last Sigmoid: losses are on logits."""
    modules = [nn.Conv2d(channels, features, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    size //= 2
    while size > 4:
        modules.append(nn.Conv2d(features, 2 * features, 4, 2, 1, bias=False))
        features, size = 2 * features, size // 2
        modules += ([nn.BatchNorm2d(features)] if norm else []) + [nn.LeakyReLU(0.2)]
    modules.append(nn.Conv2d(features, 1, 4, 1, 0, bias=False))
    return nn.Sequential(*modules)


def perceptron(sizes, activation, *last):
    modules = []
    for inputs, outputs in zip(sizes[:-2], sizes[1:-1]):
        modules += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*modules, nn.Linear(sizes[-2], sizes[-1]), *last)


class Player(nn.Module):
    def __init__(self, main):
        super().__init__()
        self.main = main


class Families:
    """Fresh networks of a family, with the weights that all its cases start from."""

    def __init__(self):
        torch.manual_seed(20140610)
        start = {"dcgan": self.dcgan(), "wgan_gp": self.wgan_gp(), "vanilla": self.vanilla()}
        for generator, discriminator in start.values():
            for module in [*generator.modules(), *discriminator.modules()]:
                if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.normal_(module.weight, 0, 0.1)  # larger than DCGAN's own, so that the numbers move
                elif isinstance(module, nn.BatchNorm2d):
                    nn.init.normal_(module.weight, 1, 0.1)
                    nn.init.normal_(module.bias, 0, 0.1)
        self.start = start

    def dcgan(self):
        return Player(dcgan_generator(16, 2, 4, 8)), Player(dcgan_discriminator(16, 2, 8, True))

    def wgan_gp(self):
        return Player(dcgan_generator(16, 1, 4, 8)), Player(dcgan_discriminator(16, 1, 8, False))

    def vanilla(self):
        generator = perceptron([8, 12, 72], nn.ReLU, nn.Tanh())
        discriminator = perceptron([72, 12, 1], lambda: nn.LeakyReLU(0.2))
        return Player(generator), Player(discriminator)

    def fresh(self, name):
        return copy.deepcopy(self.start[name])


def model_section(name):
    return {
        "dcgan": {"image_size": 16, "channels": 2, "latent": 4, "generator_features": 8, "discriminator_features": 8},
        "wgan_gp": {"image_size": 16, "channels": 1, "latent": 4, "generator_features": 8, "discriminator_features": 8},
        "vanilla": {"image_size": 6, "channels": 2, "latent": 8, "generator_features": 12, "generator_layers": 1,
                    "discriminator_features": 12, "discriminator_layers": 1},
    }[name] | {"family": name}


BATCH = {"dcgan": 2, "wgan_gp": 2, "vanilla": 4}
CRITIC_STEPS = {"dcgan": 1, "wgan_gp": 2, "vanilla": 1}


def draws(name):
    """Every step's inputs. Real samples are smooth, so that they have something to learn."""
    section, batch, entries = model_section(name), BATCH[name], STEPS * CRITIC_STEPS[name]
    size, channels = section["image_size"], section["channels"]
    coarse = torch.randn(entries * batch, channels, 3, 3)
    real = torch.tanh(F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True))
    replay = {"real": real.reshape(entries, batch, channels, size, size), "z": torch.randn(entries, batch, section["latent"])}
    if name == "wgan_gp":
        replay["epsilon"] = torch.rand(entries, batch)
        replay["z_generator"] = torch.randn(STEPS, batch, section["latent"])
    return replay


def optimizer(parameters, section):
    kind, rate = section["kind"], section["learning_rate"]
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=section.get("momentum", 0))
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate, alpha=section["alpha"], momentum=section.get("momentum", 0))
    return torch.optim.Adam(parameters, lr=rate, betas=(section["beta1"], section["beta2"]))


def gradient_penalty(discriminator, real, fake, epsilon):
    epsilon = epsilon.reshape(-1, 1, 1, 1)
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    gradient, = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


class Case:
    def __init__(self, name, case, families, replay, **sections):
        self.name, self.case, self.replay = name, case, replay
        self.config = {"model": model_section(name), **sections}
        self.config["train"] = {"batch": BATCH[name], "steps": STEPS, "n_critic": CRITIC_STEPS[name]} | sections.get("train", {})
        self.generator, self.discriminator = families.fresh(name)
        self.averaged = copy.deepcopy(self.generator)
        self.generator_optimizer = optimizer(self.generator.parameters(), sections["generator_optimizer"])
        self.discriminator_optimizer = optimizer(self.discriminator.parameters(), sections["discriminator_optimizer"])
        self.scalars = {key: [] for key in ("loss_d", "loss_g", "d_real", "d_fake")}

    def sample(self, z):
        if self.name == "vanilla":
            section = self.config["model"]
            return self.generator.main(z).view(-1, section["channels"], section["image_size"], section["image_size"])
        return self.generator.main(z[:, :, None, None])

    def judge(self, x):
        return self.discriminator.main(x.flatten(1) if self.name == "vanilla" else x).flatten()

    def record(self, **scalars):
        for key, value in scalars.items():
            self.scalars[key].append(value.item())

    def bce_step(self, step):
        loss = self.config["loss"]
        real, z = self.replay["real"][step], self.replay["z"][step]
        fake = self.sample(z)
        self.discriminator_optimizer.zero_grad()
        on_real, on_fake = self.judge(real), self.judge(fake.detach())
        target = torch.full_like(on_real, 1 - loss.get("label_smoothing", 0))
        loss_d = (F.binary_cross_entropy_with_logits(on_real, target)
                  + F.binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake)))
        loss_d.backward()
        self.discriminator_optimizer.step()
        self.generator_optimizer.zero_grad()
        again = self.judge(fake)
        if loss["generator"] == "minimax":
            loss_g = -F.binary_cross_entropy_with_logits(again, torch.zeros_like(again))
        else:
            loss_g = F.binary_cross_entropy_with_logits(again, torch.ones_like(again))
        loss_g.backward()
        self.generator_optimizer.step()
        self.record(loss_d=loss_d, loss_g=loss_g, d_real=on_real.sigmoid().mean(), d_fake=on_fake.sigmoid().mean())

    def wasserstein_step(self, step):
        for entry in range(step * CRITIC_STEPS[self.name], (step + 1) * CRITIC_STEPS[self.name]):
            real, z, epsilon = (self.replay[key][entry] for key in ("real", "z", "epsilon"))
            self.discriminator_optimizer.zero_grad()
            fake = self.sample(z).detach()
            on_real, on_fake = self.judge(real).mean(), self.judge(fake).mean()
            penalty = gradient_penalty(self.judge, real, fake, epsilon)
            loss_d = on_fake - on_real + self.config["loss"]["gradient_penalty"] * penalty
            loss_d.backward()
            self.discriminator_optimizer.step()
        self.generator_optimizer.zero_grad()
        loss_g = -self.judge(self.sample(self.replay["z_generator"][step])).mean()
        loss_g.backward()
        self.generator_optimizer.step()
        self.record(loss_d=loss_d, loss_g=loss_g, d_real=on_real, d_fake=on_fake)

    def average(self, decay):
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.generator.parameters()):
                mean.mul_(decay).add_(value, alpha=1 - decay)
            for copy_of, value in zip(self.averaged.buffers(), self.generator.buffers()):
                copy_of.copy_(value)

    def run(self):
        for step in range(STEPS):
            if self.config["loss"]["kind"] == "bce":
                self.bce_step(step)
            else:
                self.wasserstein_step(step)
            if "ema" in self.config["train"]:
                self.average(self.config["train"]["ema"])

    def expected(self):
        tensors = {key: torch.tensor(values) for key, values in self.scalars.items()} | weights(self.generator, self.discriminator)
        if "ema" in self.config["train"]:
            tensors |= {"ema." + name: value for name, value in weights(self.averaged, None).items()}
        return tensors


def weights(generator, discriminator):
    tensors = {}
    for player, module in (("generator", generator), ("discriminator", discriminator)):
        for name, value in module.state_dict().items() if module is not None else ():
            if not name.endswith("num_batches_tracked"):
                tensors[f"{player}.{name}"] = value.clone().contiguous()
    return tensors


def cases(families, replays):
    adam = {"kind": "adam", "learning_rate": 0.0002, "beta1": 0.5, "beta2": 0.999}
    both = {"generator_optimizer": adam, "discriminator_optimizer": adam}
    bce = {"kind": "bce", "generator": "non_saturating"}

    def case(name, label, loss, **sections):
        return Case(name, label, families, replays[name], loss=loss, **sections)

    yield case("dcgan", "non_saturating", bce, **both)
    yield case("dcgan", "minimax", bce | {"generator": "minimax"}, **both)
    yield case("dcgan", "label_smoothing", bce | {"label_smoothing": 0.1}, **both)
    sgd = {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.5}
    yield case("vanilla", "sgd", bce, generator_optimizer=sgd, discriminator_optimizer=sgd)
    yield case("vanilla", "adam", bce | {"generator": "minimax"}, train={"ema": 0.9}, **both)
    rmsprop = {"kind": "rmsprop", "learning_rate": 0.0005, "alpha": 0.9, "momentum": 0.25}
    yield case("vanilla", "rmsprop", bce, generator_optimizer=rmsprop, discriminator_optimizer=rmsprop)
    adam = {"kind": "adam", "learning_rate": 0.0001, "beta1": 0.0, "beta2": 0.9}
    yield case("wgan_gp", "adam", {"kind": "wasserstein", "gradient_penalty": 10.0}, generator_optimizer=adam,
               discriminator_optimizer=adam)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    families = Families()
    replays = {name: draws(name) for name in ("dcgan", "wgan_gp", "vanilla")}
    for name, replay in replays.items():
        save_file(weights(*families.fresh(name)), folder / f"{name}.init.safetensors")
        save_file(replay, folder / f"{name}.replay.safetensors")
    for case in cases(families, replays):
        case.run()
        save_file(case.expected(), folder / f"{case.name}.{case.case}.expected.safetensors", {"config": json.dumps(case.config)})
        last = {key: values[-1] for key, values in case.scalars.items()}
        print(f"{case.name} {case.case}: " + ", ".join(f"{key} {value:.4f}" for key, value in last.items()))


if __name__ == "__main__":
    main()
