"""The JAX engine: Keras models on one device, data-parallel or split over several."""
