"""How well a small net reads the digits that come with chainrule: mean and spread over seeds.

    python benchmarks/digits.py

64-100-10 with ReLU, Adam at 1e-3, batches of 32, 50 epochs; each seed splits the 1797 rows anew,
by class, 60-20-20. The hyperparameters are the customary ones; to choose others, look at the
validation part with `--validate`. The test part is read once, after training.
"""

from __future__ import annotations

import numpy as np

import chainrule as cr
import harness
import learning

EPOCHS, BATCH, RATE = 50, 32, 1e-3


def run(seed: int, validate: bool) -> learning.Run:
    x, y = cr.data.load_digits()
    x = x.astype(np.float32) / 16
    train, valid, test = cr.data.split(y, (0.6, 0.2, 0.2), seed=seed)
    held_out = valid if validate else test
    cr.seed(seed)
    model = cr.nn.Sequential(cr.nn.Dense(64, 100), cr.nn.ReLU(), cr.nn.Dense(100, 10))
    optimizer = cr.optim.Adam(model.parameters(), lr=RATE)
    return learning.train(
        model, optimizer, None, (x[train], y[train]), (x[held_out], y[held_out]), EPOCHS, BATCH
    )


def main() -> None:
    parser = harness.options(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many; default 5")
    parser.add_argument("--validate", action="store_true", help="report the validation part")
    args = parser.parse_args()
    runs = {"chainrule": [run(seed, args.validate) for seed in range(args.seeds)]}
    learning.publish(args, runs, "validation part" if args.validate else "test part")


if __name__ == "__main__":
    main()
