"""The small Kubernetes: what our manifests use, without root and without a container runtime."""
