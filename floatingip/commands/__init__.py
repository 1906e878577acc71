"""The commands: what a person or a container starts."""
