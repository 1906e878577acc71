"""Outages of failovers and the cost of peace, measured in the lab; keepalived is measured for comparison."""
