"""silero-vad, a third-party voice activity detector, compiled to C."""
