"""What a phone tells by NOTIFY of the call that it was asked for (RFC 3515 §2.4.5)."""

from ..._parser cimport Message


cdef tuple progress_in(Message request):
    # The first line of its message/sipfrag body.
    line = request.text(request.body).split(b"\r\n", 1)[0].decode("utf-8", "replace")
    parts = line.split(None, 2)
    # RFC 3261 §25.1: Status-Code = 3DIGIT
    if len(parts) < 2 or parts[0].upper() != "SIP/2.0" or not (
            len(parts[1]) == 3 and parts[1].isascii() and parts[1].isdigit()):
        return None
    return int(parts[1]), f"NOTIFY {' '.join(parts[1:])}"[:MOST_RESULT]
