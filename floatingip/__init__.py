"""One reserved address in front of a cluster's NodePorts, always on a live worker node."""

__version__ = "0.1.0"
