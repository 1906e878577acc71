"""The Kubernetes API server, and what this pod may ask of it, and tell it."""
