"""What phones without a microphone say: a file with a tone."""

from __future__ import annotations

import array
import math
import wave
from pathlib import Path

RATE = 8000  # samples a second
PITCH = 400  # Hz, which divides the rate
SECONDS = 120


def tone(folder: Path) -> Path:
    """Write two minutes of a tone, longer than any test's call, and return where."""
    path = folder / "tone.wav"
    period = array.array("h", (round(8000 * math.sin(2 * math.pi * PITCH * i / RATE)) for i in range(RATE // PITCH)))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(period.tobytes() * (PITCH * SECONDS))
    return path
