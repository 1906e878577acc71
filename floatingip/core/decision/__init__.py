"""Who should hold a floating address, and what to do about it: the rules of docs/how-it-works.md."""
