"""The real Kubernetes, as released: control plane, kubelet, containerd, kube-proxy and the VPC CNI."""
