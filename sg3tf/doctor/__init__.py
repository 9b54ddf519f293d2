"""sg3tf doctor: a report about the installation."""
