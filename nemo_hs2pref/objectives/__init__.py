"""What is minimised: named terms, each a sum over items and their number, and what is measured beside them."""
