"""What can be done with a run, whoever asks: start, repeat, read, decide, cancel.  Knows nothing of HTTP."""
