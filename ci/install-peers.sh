#!/bin/sh
# Installs what the tests talk to, as Debian packages: SIPp, Kamailio with its presence modules, the softphones baresip,
# linphonec and Twinkle, the programs that make a NAT in a network namespace, and the one that sets a clock.
# Where it may not or cannot, it says so in one line, and the tests concerned are skipped; with CI=true that is an error.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in sipp:sip-tester kamailio:kamailio baresip:baresip-core linphonec:linphone-cli twinkle:twinkle \
    ip:iproute2 nft:nftables conntrack:conntrack faketime:faketime; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# These are no command: one of them tells whether they are there.
set -- /usr/lib/*/kamailio/modules/presence.so
[ -e "$1" ] || missing="$missing kamailio-presence-modules"
[ -n "$missing" ] || exit 0

without() {
    echo "install-peers: $1; tests with real peers will be skipped (missing:$missing)" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || without "not root, so nothing is installed"
command -v apt-get >/dev/null 2>&1 || without "no apt-get here"

# The tests start these programs themselves, on loopback: a service that the package starts would take port 5060.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || without "apt-get update failed"
# shellcheck disable=SC2086 # a list of packages
apt-get install -qq -y --no-install-recommends $missing >/dev/null || without "apt-get install failed"
echo "install-peers: installed$missing"
