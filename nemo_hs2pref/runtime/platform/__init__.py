"""What depends on the machine: Apex, Transformer Engine, CUDA, or none of them."""
