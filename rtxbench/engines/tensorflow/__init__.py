"""The TensorFlow engine, the reference: Keras models on one device or under MirroredStrategy."""
