"""People in front of a real cluster: they submit what deserves known verdicts, try again until they are answered, and watch. Everything that they were told
is remembered, for the checks afterwards. They know of HTTP and of nothing behind it."""
