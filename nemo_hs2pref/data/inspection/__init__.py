"""What a data file holds, for somebody who looks before training: in memory that does not grow with the file.

kinds       which kind of file it is, and a row of any kind as one Example
tally       lengths, values and random rows of a stream of any size
facts       what is counted of a file, and what a path holds
rendering   an Example as the texts that a model reads, and their tokens
reading     a file to its facts
paths       a folder with its manifest, or one file
report      the facts for a terminal
samples     rows for a terminal
picture     the facts as panels
"""
