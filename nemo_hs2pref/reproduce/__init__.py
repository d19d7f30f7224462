"""The papers' tables, trained and measured again: which runs, in which order, and what they found."""
