"""Which digit was spoken, from the log-mel energies of an 8 kHz recording."""
