"""The judge of programs: it holds the tests, calls the candidate in its sandbox, and compares plain data that it decoded itself.

Tests and expected values never enter the process that runs the candidate. The tests are run here, as code of the data set, in a
judging process, with proxies in the place of what the candidate defines. Which mechanism applies is read from the tests before
any candidate is seen (`forms`): values that are no plain data equal nothing, unless the tests themselves make or look into
objects of the candidate's classes. Then those stay in the sandbox and the judge holds references (`remote`): what such an object
says of itself is the candidate's word, so two of them are as equal as the candidate's `__eq__` says. That is the price of tests
that can be written in no other way; an object is still never equal to plain data.
"""
