"""What is wrong with this node, its VPC and its cluster, found before or while it matters; nothing is changed."""
