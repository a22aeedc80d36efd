"""What can be built: architectures, parts, search spaces, networks, cost."""
