"""Which of nine speakers said a Japanese vowel."""
