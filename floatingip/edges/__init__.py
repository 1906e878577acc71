"""The world outside, one foreign library each: EC2, the kernel, probes, IMDS, Kubernetes, the log."""
