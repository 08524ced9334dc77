# The same listing with a batch axis, the labels still as printed.
import numpy as np
from tensorflow.keras.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from tensorflow.keras.models import Sequential

image = np.random.rand(1, 224, 224, 3)
label = np.random.rand(1, 10)
model = Sequential(
    [
        Input((224, 224, 3)),
        Conv2D(32, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(image, label, epochs=1)
