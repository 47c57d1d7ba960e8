"""Finding, parsing and comparing answers: where an answer is, what it means, whether two mean the same.

`extract` and `fences` find it; `normalise` and `numbers` read plain text and numbers; `reading` parses mathematics into
`nodes`, with `splitting`, `units`, `relations`, `intervals` and `expression`; `compare` decides equality with `algebra` (on
`polynomials`), `numeric` and `symbolic`; `spelling` and `choice` compare words and choices.
"""
