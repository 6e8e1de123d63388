"""Typed face of the compiled module `call_names`: see call_names.pyx. For compiled modules only."""

from typing import final

@final
class CallNames: ...
