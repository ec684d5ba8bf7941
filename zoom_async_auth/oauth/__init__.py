"""What is said to Zoom and what Zoom answers: values and pure functions, no I/O, no clock, no randomness."""
