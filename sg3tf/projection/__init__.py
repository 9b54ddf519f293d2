"""From a picture to the latents that make it (arXiv 1912.04958, appendix D) and to a generator that does (2106.05744).

python -m sg3tf.generate project does all of it.
"""
