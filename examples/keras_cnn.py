"""A Keras model: `rtxbench run --model examples/keras_cnn.py:build`, on any engine behind Keras."""

import keras
import numpy as np


def build(batch_size=32):
    """A small CNN on 32 × 32 images."""
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    images = np.random.rand(batch_size, 32, 32, 3).astype("float32")
    labels = np.random.randint(0, 10, batch_size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, (images, labels), loss, keras.optimizers.Adam(1e-3)
