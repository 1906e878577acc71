"""The Kubernetes API server: what this pod asks it, and what it tells it."""
