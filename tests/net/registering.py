"""A registrar with a store on a test bench, and the REGISTERs that a phone sends to it."""

from __future__ import annotations

from compiled import looks

from net.stores import MemoryStore
from sipfast import config
from sipfast._flow import Flow
from sipfast._parser import Message, parse
from sipfast.routing.learning import Learning
from sipfast.routing.location import Location
from sipfast.routing.registrar import Registrar
from sipfast.store.records import Binding

NOW = 1_700_000_000_000
AOR = b"sip:b@example.org"
FLOW = Flow("192.0.2.1", 5060)
VIA = "branch=z9hG4bK1;rport"
PHONE = "<sip:b@192.0.2.1:5060>"
PATH = "Path: <sip:p1.example.net;lr>\r\nPath: <sip:p2.example.net;lr>,\r\n <sip:p3.example.net;lr>;x=1\r\n"
PATHS = b"<sip:p1.example.net;lr>, <sip:p2.example.net;lr>, <sip:p3.example.net;lr>;x=1"
SETTINGS = config.Registrar(default_expires=1800, min_expires=60, max_expires=7200, max_contacts=3)


class Bench:
    """A registrar with a store, and a phone that registers at it."""

    def __init__(self, settings: config.Registrar = SETTINGS, store: MemoryStore | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        location = Location(self.store, (4, 6))
        self.registrar = Registrar(settings, location, 0x0123456789ABCDEF)
        self.learning = Learning(settings, location)
        self.now = NOW
        self.cseq = 0

    def register(
        self,
        *contacts: str,
        call_id: str = "call-1",
        cseq: int | None = None,
        headers: str = "",
        flow: Flow = FLOW,
        via: str = VIA,
    ) -> Message:
        """Send a REGISTER with these Contact lines; the answer, with the store committed."""
        request = self.request(*contacts, call_id=call_id, cseq=cseq, headers=headers, via=via)
        response = parse(self.registrar.answer(request, flow, AOR, self.now))
        self.store.commit()
        assert response.error == 0
        return response

    def request(
        self, *contacts: str, call_id: str = "call-1", cseq: int | None = None, headers: str = "", via: str = VIA
    ) -> Message:
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        message = parse(
            (
                "REGISTER sip:example.org SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 192.0.2.1;{via}\r\n"
                "From: <sip:b@example.org>;tag=f\r\n"
                "To: <sip:b@example.org>\r\n"
                f"Call-ID: {call_id}\r\n"
                f"CSeq: {cseq} REGISTER\r\n"
                + "".join(f"Contact: {each}\r\n" for each in contacts)
                + headers
                + "Content-Length: 0\r\n\r\n"
            ).encode()
        )
        assert message.error == 0, message.error_reason
        return message

    def learn(self, request: Message, *contacts: str, headers: str = "", status: str = "200 OK", flow: Flow = FLOW) -> None:
        """An upstream's answer to a REGISTER of ours."""
        lines = "".join(f"Contact: {each}\r\n" for each in contacts)
        number, _ = request.cseq
        response = parse(
            (
                f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:b@example.org>;tag=f\r\n"
                f"To: <sip:b@example.org>;tag=t\r\nCall-ID: {request.call_id.decode()}\r\nCSeq: {number} REGISTER\r\n"
                f"{lines}{headers}Content-Length: 0\r\n\r\n"
            ).encode()
        )
        assert response.error == 0
        looks().learn(self.learning, request, response, flow, AOR, self.now)
        self.store.commit()

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return tuple(self.store.bindings(AOR))

    @property
    def contacts(self) -> list[bytes]:
        return [binding.contact for binding in self.bindings]
