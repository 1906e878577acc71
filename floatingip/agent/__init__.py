"""What is known and decided over time, as pure as the core: time comes in as an argument."""
