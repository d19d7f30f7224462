"""What megatron-core itself saves and loads, through a model that is built."""
