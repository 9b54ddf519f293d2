"""Embedded server: TensorFlow Serving's gRPC and REST protocols in one Python process, for laptops and tests.

    sg3tf serve --model_base_path=models/sg3 --model_name=sg3

It only reads the folder of its model, and does not import sg3tf's networks.
"""
