"""Keras 3 models and input pipelines, engine-neutral."""
