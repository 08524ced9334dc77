# The article's deployment listing, as printed: it loads a file that no listing has saved.
import tensorflow as tf
from tensorflow.keras.models import load_model

model = load_model("my_model.h5")
_, (x_test, y_test) = tf.keras.datasets.mnist.load_data()
loss, accuracy = model.evaluate(x_test, y_test)
