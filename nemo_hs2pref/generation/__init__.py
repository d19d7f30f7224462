"""Responses of a policy to the prompts of a file.

requests    prompts as tokens, tokens as responses
policy      a checkpoint of a language model
loop        what every rank does: batches, this copy's share, what is there already, gather
"""
