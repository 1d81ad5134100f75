"""What the training examples share: a data set of sequences, a classifier, its training, its export."""
