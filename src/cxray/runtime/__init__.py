"""From a bundle to scores, without TensorFlow: the engine seam and streaming prediction."""
