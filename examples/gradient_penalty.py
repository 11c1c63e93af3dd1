"""The critic of a Wasserstein GAN with gradient penalty, on points in the plane.

    python examples/gradient_penalty.py

The critic f is trained to tell points of a ring (real) from a Gaussian cloud (fake):

    loss = mean f(fake) - mean f(real) + 10 mean (‖∂f/∂x‖ - 1)²     at random points x between them

The penalty is a function of a gradient, so training it needs second derivatives (Gulrajani et al.
2017). With slope 1 everywhere, mean f(real) - mean f(fake) would be how far the points of one set
have to be carried, on average, to become the other: here d = 2 - 0.3 √(π/2) = 1.62. The weight of
the penalty is finite, so the slope settles a little above 1, at about 1 + d/20.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr

STEPS, BATCH, PENALTY = 500, 64, 10.0


def sample(rng: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    """Real points, fake points, and random points on the lines between them."""
    angle = rng.uniform(0, 2 * np.pi, n)
    real = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    fake = rng.normal(0, 0.3, (n, 2)).astype(np.float32)
    mix = rng.random((n, 1), dtype=np.float32)
    return real, fake, mix * real + (1 - mix) * fake


def measure(critic: cr.nn.Module, real: Any, fake: Any, between: Any) -> tuple[Any, Any]:
    """The gap mean f(real) - mean f(fake), and ‖∂f/∂x‖ at each point between; both on the tape."""
    points = cr.tensor(between, requires_grad=True)
    (slope,) = cr.autograd.grad(critic(points).sum(), [points], create_graph=True)
    return critic(real).mean() - critic(fake).mean(), cr.ops.norm(slope, axis=1)


def main() -> tuple[float, float]:
    """Return the distance of the two sets and the mean slope, on points not trained on."""
    rng = np.random.default_rng(0)
    cr.seed(0)
    critic = cr.nn.Sequential(
        cr.nn.Dense(2, 32), cr.nn.SiLU(), cr.nn.Dense(32, 32), cr.nn.SiLU(), cr.nn.Dense(32, 1)
    )
    optimizer = cr.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.0, 0.9))
    for step in range(1, STEPS + 1):
        gap, length = measure(critic, *sample(rng, BATCH))
        loss = PENALTY * ((length - 1) ** 2).mean() - gap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    gap, length = measure(critic, *sample(rng, 4096))
    total, slope = gap.item(), length.mean().item()
    print(f"gap {total:.3f}, slope {slope:.3f}, distance {total / slope:.3f} (exact: 1.624)")
    return total / slope, slope


if __name__ == "__main__":
    main()
