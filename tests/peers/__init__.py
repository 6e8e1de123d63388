"""Real SIP programs on loopback, for tests: SIPp, Kamailio, baresip, a fleet of phones, and sipfast itself.

A test takes the `lab` fixture (lab.py), starts what it needs through it, and everything has ended, by its own process
id, when the test is over. Nothing waits without a limit.
"""
