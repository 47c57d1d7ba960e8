"""A file a data set."""
