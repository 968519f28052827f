"""The HTTP service and its page: films in, scores out; it stores no film and knows no TensorFlow."""
