"""Load by SIPp, which others know and trust: register, call and redial. See docs/load-testing.md."""
