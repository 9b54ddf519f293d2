"""sg3tf doctor: report on the installation."""
