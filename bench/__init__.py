"""Failover and cost, measured in the lab, with keepalived beside."""
