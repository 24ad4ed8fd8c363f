"""How a codec runs on a device: `cpu` for the host."""
