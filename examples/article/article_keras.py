"""The network article in Keras: Sequential, compile, fit.

It trains by the recipe article. It needs Keras and NumPy. It reads MNIST's four IDX
files in the folder that is its argument, or in mnist, and downloads what is missing
there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import keras
import numpy as np
from keras import layers


def load(folder):
    """Training, validation and test images in [0, 1], each with their labels."""

    def read(name, header):
        file = Path(folder, name)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            urlretrieve(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", file)
        content = gzip.decompress(file.read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    def split(images, labels):
        x = read(images, 16).reshape(-1, 28, 28, 1)
        return x.astype(np.float32) / 255, read(labels, 8).astype(np.int64)

    x, y = split("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test = split("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    return (x[5000:], y[5000:]), (x[:5000], y[:5000]), test


class EpochLine(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        print(
            f"Epoch {epoch + 1} | Train Loss: {logs['loss']:.4f} | "
            f"Train Accuracy: {logs['accuracy']:.4f} | "
            f"Validation Loss: {logs['val_loss']:.4f} | "
            f"Validation Accuracy: {logs['val_accuracy']:.4f}",
            flush=True,
        )


def train(folder):
    keras.utils.set_random_seed(0)
    (x, y), validation, test = load(folder)
    model = build()
    model.fit(
        x,
        y,
        batch_size=50,
        epochs=10,
        validation_data=validation,
        callbacks=[EpochLine()],
        verbose=0,
    )
    _, accuracy = model.evaluate(*test, verbose=0)
    print(f"Final accuracy on test set: {accuracy:.4f}")


def build():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
