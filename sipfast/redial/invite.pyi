from .._parser import Message

def expires_of(request: Message) -> int:
    """The INVITE's Expires in seconds, at most 2**31; -1 where it is absent or malformed."""
