"""Getting images out of a trained generator: SavedModel export, an embedded server, a client.

Everything between `serving.export` and `serving.client` speaks TensorFlow Serving's formats, so the
embedded server (`python -m serving.server`) and the stock one are interchangeable.
"""
