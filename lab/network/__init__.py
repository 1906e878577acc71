"""The network of the VPC: a fabric, and workers with interfaces on it, made of network namespaces."""
