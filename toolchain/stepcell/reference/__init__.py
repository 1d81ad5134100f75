"""What a Model and a QModel compute, in numpy: the oracles that everything else is compared with."""
