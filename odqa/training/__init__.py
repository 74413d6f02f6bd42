"""Training of readers."""
