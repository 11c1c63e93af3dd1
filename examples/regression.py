"""Fit a noisy curve with sample weights, and compare with the best straight line.

python examples/regression.py
"""

from __future__ import annotations

import numpy as np

import chainrule as cr


def main() -> tuple[float, float]:
    """Return R² of the network and of the straight line, on points between those trained on."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (400, 1)).astype(np.float32)
    noise = np.where(x < 0, 0.3, 0.05)  # the left half was measured worse
    y = np.sin(2 * x) + 0.3 * x + rng.normal(size=x.shape) * noise
    weight = 1 / noise[:, 0] ** 2  # least squares with known variances

    cr.seed(0)
    model = cr.nn.Sequential(
        cr.nn.Dense(1, 64), cr.nn.Tanh(), cr.nn.Dense(64, 64), cr.nn.Tanh(), cr.nn.Dense(64, 1)
    )
    trainer = cr.Trainer(
        model,
        loss="mse",
        optimizer=cr.optim.Adam(lr=1e-2),
        schedule="cosine",
        clip_norm=1.0,
        seed=0,
    )
    trainer.fit((x, y, weight), epochs=120, verbose=False)

    points = np.linspace(-2.9, 2.9, 200, dtype=np.float32)[:, None]
    truth = np.sin(2 * points) + 0.3 * points
    line = np.polyval(np.polyfit(x[:, 0], y[:, 0], 1), points)
    network_r2 = float(cr.metrics.r2_score(truth, trainer.predict(points)))
    line_r2 = float(cr.metrics.r2_score(truth, line))
    print(f"R² of the network {network_r2:.3f}, of a straight line {line_r2:.3f}")
    return network_r2, line_r2


if __name__ == "__main__":
    main()
