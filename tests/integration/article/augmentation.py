# The article's augmentation listing, as printed: MNIST's 3-D images into a class that wants 4-D ones.
import tensorflow as tf
from tensorflow.keras.preprocessing.image import ImageDataGenerator

(x_train, y_train), _ = tf.keras.datasets.mnist.load_data()
datagen = ImageDataGenerator(
    rescale=1.0 / 255,
    rotation_range=20,
    width_shift_range=0.2,
    height_shift_range=0.2,
    shear_range=0.2,
    zoom_range=0.2,
    horizontal_flip=True,
    fill_mode="nearest",
)
batches = datagen.flow(x_train, y_train, batch_size=32)
