"""How English words are said: letters in, phonemes out, by an encoder and a decoder that share a state."""
