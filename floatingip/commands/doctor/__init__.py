"""What is wrong with this node, its VPC and its cluster, before or while it matters; nothing is changed by asking."""
