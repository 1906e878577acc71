"""A VPC in a box: the real product on the real kernel against an EC2 endpoint, on one machine."""
