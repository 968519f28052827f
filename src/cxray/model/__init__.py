"""The training rooms, and the only ones where TensorFlow is imported. Needs the extra `train`."""
