"""What the processes of a cluster say to each other: ``.proto`` files of the package ``codewarz.v1``, and the code that ``make proto`` generates from them.

The ``.proto`` files are the contract, next to ``contracts.messages``, which they follow field by field; the rules are at the head of ``common.proto``. The
generated modules (``…_pb2``) are kept so that nobody needs the compiler to run CodeWarz; a test generates them again and compares. Nothing else belongs here.
"""
