"""Floor 2: trace a text, differentiate the trace, print it as NumPy or C, run it."""
