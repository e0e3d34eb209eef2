"""What the autoencoders' cases share: patch discriminators for pictures and clips, and one step against them."""

import torch
from common import F32, F64, gradient_difference

ADVERSARIAL_WEIGHT = 0.5


class Discriminator(torch.nn.Module):
    """Convolutions, group normalisation instead of batch normalisation, LeakyReLU. `norms.0` belongs to `convs.1`."""

    def __init__(self, convs):
        super().__init__()
        self.convs = torch.nn.ModuleList(convs)
        widths = [conv.out_channels for conv in convs[1:-1]]
        self.norms = torch.nn.ModuleList(torch.nn.GroupNorm(min(32, width // 4), width, eps=1e-5) for width in widths)

    def forward(self, x):
        x = x if x.dim() == 5 else x.unsqueeze(2)  # pictures are clips of one frame
        x = torch.nn.functional.leaky_relu(self.convs[0](x), 0.2)
        for conv, norm in zip(self.convs[1:-1], self.norms):
            x = torch.nn.functional.leaky_relu(norm(conv(x)), 0.2)
        return self.convs[-1](x)


def of_pictures(n):
    """n, 2n, 4n, 8n channels, three times at half the size."""
    widths = [3, n, 2 * n, 4 * n, 8 * n, 1]
    strides = [2, 2, 2, 1, 1]
    pairs = zip(widths, widths[1:], strides)
    return Discriminator([torch.nn.Conv3d(a, b, (1, 4, 4), (1, stride, stride), (0, 1, 1)) for a, b, stride in pairs])


def of_clips(n):
    """n, 2n, 4n, 8n channels, four times at half the size, never over time."""
    widths = [3, n, 2 * n, 4 * n, 8 * n, 1]
    strides = [2, 2, 2, 2, 1]
    pairs = zip(widths, widths[1:], strides)
    return Discriminator([torch.nn.Conv3d(a, b, (3, 4, 4), (1, stride, stride), (1, 1, 1)) for a, b, stride in pairs])


def first_step(case, root, trained, discriminator, last, inputs, forward):
    """The losses of one step and their gradients, in f64 and f32.

    `forward(batch, dtype)` returns the pixels and the reconstruction, as the discriminator takes them, and the terms besides
    reconstruction and adversary: {name: (weight, value)}. `last` is the weight whose gradients balance the two.
    """
    case.inputs(inputs)
    start = {parameter: parameter.data.float().clone() for parameter in root.parameters()}
    generator, judges = list(trained.values()), list(discriminator.parameters())
    batch = {key: value[0] for key, value in inputs.items()}

    def run(dtype):
        root.to(dtype)
        for parameter, value in start.items():
            parameter.data = value.to(dtype, copy=True)
            parameter.requires_grad_(False)
        for parameter in generator:
            parameter.requires_grad_(True)
        pixels, made, terms = forward(batch, dtype)
        l1, adversarial = (pixels - made).abs().mean(), -discriminator(made).mean()
        of_l1 = torch.autograd.grad(l1, last, retain_graph=True)[0].norm()
        of_adversarial = torch.autograd.grad(adversarial, last, retain_graph=True)[0].norm()
        weight = (of_l1 / (of_adversarial + 1e-4)).clamp(0, 1e4).detach() * ADVERSARIAL_WEIGHT
        total = l1 + sum(factor * value for factor, value in terms.values()) + weight * adversarial
        gradients = dict(zip(generator, torch.autograd.grad(total, generator, allow_unused=True)))
        for parameter in judges:
            parameter.requires_grad_(True)
        real, fake = discriminator(pixels), discriminator(made.detach())
        hinge = 0.5 * (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean())
        of_judges = dict(zip(judges, torch.autograd.grad(hinge, judges)))
        losses = {"l1": l1} | {name: value for name, (_, value) in terms.items()}
        losses |= {"generator": adversarial, "discriminator": hinge, "total": total}
        more = {"adaptive_weight": weight, "l1_gradient_norm": of_l1, "generator_gradient_norm": of_adversarial}
        gradients = {key: value for key, value in gradients.items() if value is not None}
        norms = {"autoencoder": norm(gradients), "discriminator": norm(of_judges)}
        numbers = lambda values: {name: value.item() for name, value in values.items()}  # noqa: E731
        print(f"  {dtype}: share of hinge active {(real < 1).double().mean():.2f} {(fake > -1).double().mean():.2f}")
        return numbers(losses), numbers(more), numbers(norms), gradients | of_judges, weights_of(terms)

    losses32, _, _, gradients32, _ = run(F32)
    losses, more, norms, gradients, weights = run(F64)
    case.gradients(gradients)
    difference = gradient_difference(gradients, gradients32)
    settings = {
        "loss_weights": {"l1": 1.0} | weights, "adversarial_weight": ADVERSARIAL_WEIGHT, "adaptive_epsilon": 1e-4,
        "adaptive_maximum": 1e4,
    }
    for parameter, value in start.items():
        parameter.data = value
    case.report(
        {"losses": losses} | more | {
            "gradient_norms": norms, "f32_losses": losses32, "f32_gradient_difference": difference, "settings": settings | case.settings,
        }
    )
    worst = max(abs(losses[name] - losses32[name]) / abs(losses[name]) for name in losses)
    missing = [name for name, parameter in trained.items() if parameter not in gradients]
    print("  losses", losses, {name: f"{value:.4f}" for name, value in more.items()})
    print(f"  norms {norms}; f32 against f64: losses {worst:.1e}, gradients {difference:.1e}; without a gradient: {missing}")


def norm(gradients):
    return sum((value**2).sum() for value in gradients.values()).sqrt()


def weights_of(terms):
    return {name: factor for name, (factor, _) in terms.items()}
