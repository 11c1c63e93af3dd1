"""Train a classifier on handwritten digits, measure it, save it, load it, predict.

python examples/digits.py
"""

from __future__ import annotations

import numpy as np

import chainrule as cr


def main(path: str = "digits.safetensors") -> float:
    """Write the model to `path`; return its accuracy on digits it has never seen."""
    pixels, y = cr.data.load_digits()  # 1797 images of 8 x 8 pixels, values 0 to 16
    x = pixels.astype(np.float32) / 16
    train, valid, test = cr.data.split(y, (0.6, 0.2, 0.2), seed=0)

    cr.seed(0)  # the initial weights
    model = cr.nn.Sequential(
        cr.nn.Dense(64, 100), cr.nn.ReLU(), cr.nn.Dropout(0.2), cr.nn.Dense(100, 10)
    )
    print(model.summary((64,)))
    trainer = cr.Trainer(
        model,
        loss="cross_entropy",
        optimizer=cr.optim.AdamW(lr=2e-3),
        metrics=["accuracy"],
        callbacks=[cr.callbacks.EarlyStopping(patience=5)],  # restores the best weights, too
        seed=0,  # shuffling and dropout
    )
    history = trainer.fit(
        (x[train], y[train]), epochs=40, validation_data=(x[valid], y[valid]), verbose=False
    )
    print(f"stopped by {history.stopped} after {trainer.epoch} epochs, in {history.seconds:.1f} s")

    result = trainer.evaluate((x[test], y[test]))
    print(f"test loss {result['loss']:.3f}, accuracy {result['accuracy']:.3f}")

    cr.save(model, path, metadata={"classes": [str(c) for c in range(10)]})
    loaded = cr.load(path)
    with cr.no_grad():
        scores = loaded(x[test[:8]])
    print("predicted", scores.argmax(axis=1), "from the file")
    print("true     ", y[test[:8]])
    return result["accuracy"]


if __name__ == "__main__":
    main()
