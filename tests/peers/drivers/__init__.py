"""Phones that are Python libraries, each a program of its own: a crash of its native code, its threads and its one stack
for a process stay out of the tests.

A driver takes its settings as one JSON object in its first argument. Each line of its standard input is a command, each
line of its standard output an event, both JSON objects: `{"do": "dial", "uri": "sip:bob@example.test"}`, `{"event":
"established"}`. It ends with its input.
"""
