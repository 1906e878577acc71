"""What is known and decided at one moment: no I/O, no clock, no chance."""
