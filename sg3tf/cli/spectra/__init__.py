"""sg3tf spectra: average power spectra of data sets and generators, and figures of them."""
