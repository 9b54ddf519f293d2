"""The embedded development server: TensorFlow Serving's gRPC and REST forms in one process.

    python -m serving.server --model_base_path=models/sg3 --model_name=sg3

It reads nothing but the SavedModel folder it is given, and never imports sg3tf.
"""
