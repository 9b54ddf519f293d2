"""Average power spectra of data and of generators: python -m sg3tf.metrics.spectra."""
