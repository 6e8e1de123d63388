"""Kamailio as a plain registrar and proxy, in memory: what sipfast stands in front of."""

from __future__ import annotations

from pathlib import Path

from .process import HERE, Place, Process, find

CONFIGURATION = """\
#!KAMAILIO
debug=1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:{host}:{port}
alias="{domain}"

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
{auth_module}

modparam("usrloc", "db_mode", 0)
modparam("registrar", "use_path", {use_path})
modparam("registrar", "path_mode", 1)
modparam("registrar", "path_use_received", 1)
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_expires", 3600)
modparam("registrar", "default_expires", 600)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not Here");
        }}
        exit;
    }}
    t_check_trans();
    remove_hf("Route");
    if (is_method("OPTIONS") && uri == myself && $rU == $null) {{
        sl_send_reply("200", "OK");
        exit;
    }}
    if (is_method("REGISTER")) {{
        {auth_register}
        save("location");
        exit;
    }}
    {auth_invite}
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    if (!(uri == myself)) {{
        sl_send_reply("403", "Not Served");
        exit;
    }}
    if (!lookup("location")) {{
        sl_send_reply("{absent}", "Not Here");
        exit;
    }}
    t_relay();
}}
"""

# RFC 3261 §22; everybody's password is the own user name.
AUTH = {
    "auth_module": 'loadmodule "auth.so"',
    "auth_register": 'if (!pv_www_authenticate("$fd", "$fU", "0")) { www_challenge("$fd", "1"); exit; }',
    "auth_invite": 'if (!pv_proxy_authenticate("$fd", "$fU", "0")) { proxy_challenge("$fd", "1"); exit; }'
    " consume_credentials();",
}
NO_AUTH = dict.fromkeys(AUTH, "")
# As docs/redial.md has it: a call of sipfast's own, at this port, is in the name that it says.
TRUST = (
    "$var(second) = $(hdr(Via)[1]); if (!(src_ip == 127.0.0.1 && $var(second) =~ "
    '"^SIP/2.0/UDP 127\\\\.0\\\\.0\\\\.1:%d;branch=[A-Za-z0-9]+;rport=%d;received=127\\\\.0\\\\.0\\\\.1$") && '
    '!pv_proxy_authenticate("$fd", "$fU", "0")) { proxy_challenge("$fd", "1"); exit; }'
)


class Kamailio(Process):
    """Registers and routes one domain; answers `absent` (480 or 404) for whoever is not registered.

    `auth`: asks for a digest of each REGISTER and each request out of a dialog, but for calls of the sipfast at port
    `trusts` itself. Not `path`: it knows no Path, and calls a
    phone at its Contact.
    """

    def __init__(
        self, folder: Path, number: int, *, port: int, domain: str, absent: int, auth: bool = False, path: bool = True,
        trusts: int | None = None, at: Place = HERE,
    ):  # fmt: skip
        self.port = port
        run = folder / f"{number:02}-kamailio"
        run.mkdir()
        configuration = run / "kamailio.cfg"
        script = {**(AUTH if auth else NO_AUTH), **({"auth_invite": TRUST % (trusts, trusts)} if trusts else {})}
        configuration.write_text(
            CONFIGURATION.format(host=at.host, port=port, domain=domain, absent=absent, use_path=int(path), **script)
        )
        argv = [find("kamailio") or "kamailio", "-f", str(configuration), "-DD", "-E", "-m", "32", "-M", "4"]
        argv += ["-Y", str(run), "-P", str(run / "kamailio.pid")]
        super().__init__(argv, folder / f"{number:02}-kamailio.log", cwd=run, at=at)

    def ready(self) -> Kamailio:
        """Wait until it answers."""
        self.until(lambda: self.at.answers_options(self.port), 15, f"Kamailio answers on {self.port}")
        return self
