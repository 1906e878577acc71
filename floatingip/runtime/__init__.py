"""One deciding thread, and all others that bring it news and carry out what it wants."""
