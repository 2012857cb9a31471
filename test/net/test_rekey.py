# SPDX-License-Identifier: Apache-2.0
"""New keys under load.

   a ──[ sw ]── b          keys are made anew every two seconds
"""

from vannet import Mesh, Probe, check

RATE_PPS = 20000
SECONDS = 20


def stream(a, b, port, pps):
    """Starts a numbered stream of datagrams from a to b; returns both ends."""
    count = pps * SECONDS
    receiver = Probe(b.ns, "stream-recv", b.ip4(), port, "--expect", count, "--timeout", SECONDS + 20,
                     ready=True)
    return receiver, Probe(a.ns, "stream-send", b.ip4(), port, "--pps", pps, "--count", count)


def test_rekeying_under_load_loses_nothing(net):
    m = Mesh(net, names=("a", "b"), v6=False, config={"rekey_after_s": 2})
    m.connect()
    for node in (m.a, m.b):
        # a second's worth: what a busy machine does not schedule in time is not what is tested here
        node.ns.ip("link", "set", "vcider0", "txqueuelen", str(RATE_PPS))
    before = {n.name: n.stats()["rekeys"] for n in (m.a, m.b)}
    streams = (("a to b", stream(m.a, m.b, 6001, RATE_PPS)), ("b to a", stream(m.b, m.a, 6002, RATE_PPS // 10)))
    for name, (receiver, sender) in streams:
        sent = sender.result(SECONDS + 60)
        got = receiver.result(SECONDS + 60, ok=False)
        print("%s: %d sent in %.1f s, %d missing, %d twice" % (
            name, sent["sent"], sent["seconds"], got["lost"], got["duplicated"]))
        check(sent["failed"] == 0, "the kernel took every datagram: %s" % sent)
        check(got["lost"] == got["duplicated"] == got["bad"] == 0, "%s: %s, of %s" % (name, got, sent))
    for node in (m.a, m.b):
        rekeys = node.stats()["rekeys"] - before[node.name]
        print("%s made new keys %d times" % (node.name, rekeys))
        check(rekeys >= SECONDS // 4, "%s made new keys %d times only" % (node.name, rekeys))
        check(not set(node.drops()) - {"no_peer", "stale_init", "crossed_init"}, "%s dropped nothing: %s" % (node.name, node.drops()))


test_rekeying_under_load_loses_nothing.limit_s = 180
