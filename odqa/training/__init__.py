"""Training of readers and of retrievers."""
