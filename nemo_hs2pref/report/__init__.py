"""One page about one reward model, or about several: can it be trusted?

runs, evaluations   what lies in the folders
findings            what it says about the model, in sentences with their figures
answer, evaluated, examples, trained, provenance, comparison   the sections of the page, as blocks
document            the blocks
html, markdown      the same blocks in the two formats
write               folders in, report.html and report.md out
"""
