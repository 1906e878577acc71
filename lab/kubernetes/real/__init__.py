"""The real Kubernetes on the lab's workers: control plane, kubelet, containerd, kube-proxy and the VPC CNI as released."""
