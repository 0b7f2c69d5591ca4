"""How containers reach the world, each other and the host: bridge, endpoints, published ports, names."""
