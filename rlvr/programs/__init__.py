"""The judge of programs: it runs the tests, calls the candidate in the sandbox, and compares the plain data that it decodes.

`forms` reads the tests of a ground truth, `uses` what they use of the candidate; `program` finds the program in a response;
`exam` runs asserts, checks and calls, with `proxies` for what the candidate defines; `cases` runs whole programs; `equality`
compares; `syntax` parses Python.

Tests and expected values never enter the process that runs the candidate: the tests run in a judging process. A value that is
not plain data equals nothing, unless the tests make or look into objects of the candidate's classes, which is read from the
tests before any candidate is seen. Such objects stay in the sandbox and the judge holds references. Their length, content,
order, class, and whether one equals another are what the candidate's methods answer, and arguments of those methods reach the
candidate: some tests cannot be written otherwise. An object is never equal to plain data, nor less or more.

A program may keep what one call was given for the next: `decode(encode(x)) == x` holds for functions that merely remember x.
"""
