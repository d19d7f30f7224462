"""The data sets that can be read: each module has a RELEASE (its files) and `read` (their rows to Found).

Beside them stand what several of them need (usable, rated_pairs, annotations) and what the release of HelpSteer2 is
known to be (official).
"""
