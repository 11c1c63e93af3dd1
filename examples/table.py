"""A table of mixed columns: prepared, split by groups, learned, and predicted.

python examples/table.py
"""

from __future__ import annotations

import numpy as np

import chainrule as cr


def people(rows: int = 900) -> dict[str, list[object]]:
    """Visits of patients to clinics; who falls ill depends on age, habit and dose."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, rows).round()
    habit = rng.choice(["never", "seldom", "often"], rows, p=[0.5, 0.3, 0.2])
    dose = rng.exponential(2.0, rows).round(2)
    risk = (age - 50) / 10 + 2 * (habit == "often") - dose + rng.normal(0, 0.5, rows)
    return {
        "patient": [f"P{k // 3}" for k in range(rows)],  # three visits each
        "age": [None if k % 17 == 4 else a for k, a in enumerate(age.tolist())],
        "habit": habit.tolist(),
        "dose": dose.tolist(),
        "ill": np.where(risk > 0, "yes", "no").tolist(),
    }


def main() -> tuple[float, float]:
    """Return the accuracy of the network and of the larger class, on patients not trained on."""
    import polars as pl

    table = pl.DataFrame(people())
    target = cr.data.Target().fit(table.select("ill"))
    print(f"{target.task}, because {target.why}")
    y = target.encode(table.select("ill"))
    train, valid, test = cr.data.split(y, (0.7, 0.1, 0.2), seed=0, groups=table["patient"])

    prepare = cr.data.TablePreprocessor(
        drop=["patient", "ill"], ordinal={"habit": ["never", "seldom", "often"]}
    ).fit(table[train], table["ill"][train])
    for column in prepare.columns:
        print(f"{column.name}: {column.kind}, {column.missing} missing; {column.action}")
    x = prepare.transform(table)

    cr.seed(0)
    model = cr.nn.Sequential(
        cr.nn.Dense(prepare.width, 32, activation="silu"),
        cr.nn.Dropout(0.1),
        cr.nn.Dense(32, target.outputs),
    )
    trainer = cr.Trainer(
        model,
        loss=target.loss,
        optimizer=cr.optim.AdamW(lr=0.01),
        schedule="one_cycle",
        callbacks=[cr.callbacks.BestWeights()],
        seed=0,
    )
    data = (x[train], y[train]), (x[valid], y[valid])
    trainer.fit(data[0], epochs=30, validation_data=data[1], verbose=False)

    said = target.decode(trainer.predict(x[test]))["ill"]
    accuracy = float((said == table["ill"][test]).mean())
    larger = float(np.bincount(y[test]).max() / len(test))
    print(f"accuracy {accuracy:.3f}; always the larger class: {larger:.3f}")
    return accuracy, larger


if __name__ == "__main__":
    main()
