"""Generators and discriminators as Keras models."""
