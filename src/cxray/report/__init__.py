"""Pages and figures from records: this room formats and draws, and computes nothing."""
