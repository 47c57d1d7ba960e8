"""The judge of programs: it holds the tests, calls the candidate in its sandbox, and compares plain data it decoded itself.

Tests and expected values never enter the process that runs the candidate. The tests are run here, as code of the data set, in a
judging process, with proxies in the place of what the candidate defines. Which mechanism applies is read from the tests before
any candidate is seen (`forms`, `uses`): values that are no plain data equal nothing, unless the tests themselves make or look
into objects of the candidate's classes. Then those stay in the sandbox and the judge holds references (`remote`). What such an
object says of itself is the candidate's word: its length, what it contains, its order, its class, and whether it equals
another such object are what its methods answer, and what a test gives to those methods reaches the candidate. That is the price
of tests that can be written in no other way; an object is still never equal to plain data, nor less or more, and has no
difference from it.

A program may also keep what one call was given for the next, as any module may: `decode(encode(x)) == x` holds for two
functions that merely remember x.
"""
