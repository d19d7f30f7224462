"""From a configuration to running objects, and what depends on the machine."""
