# The same listing with a channel axis: the legacy class still works.
import tensorflow as tf
from tensorflow.keras.preprocessing.image import ImageDataGenerator

(x_train, y_train), _ = tf.keras.datasets.mnist.load_data()
datagen = ImageDataGenerator(rescale=1.0 / 255, rotation_range=20, horizontal_flip=True, fill_mode="nearest")
images, labels = next(datagen.flow(x_train[..., None], y_train, batch_size=32))
shape, largest = images.shape, float(images.max())
