# The article's "data parallel" listing, as printed: it makes one GPU visible and hides the others.
import tensorflow as tf

gpus = tf.config.experimental.list_physical_devices("GPU")
tf.config.experimental.set_visible_devices(gpus[0], "GPU")
tf.config.experimental.set_memory_growth(gpus[0], True)
visible = len(tf.config.get_visible_devices("GPU"))
