"""Is a checkpoint whole: every byte of its files against what is known of them."""
