"""Building of data sets from other people's files."""
