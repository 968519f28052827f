"""Where a score comes from: maps that are tested before they are shown. No TensorFlow, no gradients."""
