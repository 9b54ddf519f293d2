"""Embedded server: TensorFlow Serving's gRPC and REST protocols in one Python process, for laptops and tests.

    sg3tf serve --model_base_path=models/sg3 --model_name=sg3

It reads nothing but the folder of its model and imports none of sg3tf's networks.
"""
