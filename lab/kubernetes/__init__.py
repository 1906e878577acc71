"""Kubernetes on the lab's workers: a small one, and the real one."""
