"""Two cores: connections that lie unevenly are evened out as new ones come, and each works on the core that got it."""
import json

from gateway import eventually


def cores_of(gateway, wires):
    """On which core each connection lies: the access log tells, by a count that only this connection asked for."""
    for number, wire in enumerate(wires):
        assert wire.ask("GET", f"/count-{number}?siteId=x").status == 200
    lines = {}

    def all_told():
        for line in gateway.access_log.read_text().splitlines():
            line = json.loads(line)
            lines[line["route"]] = line["core"]
        return all(f"/count-{number}" in lines for number in range(len(wires)))

    eventually(all_told, "a line for each connection")
    return [lines[f"/count-{number}"] for number in range(len(wires))]


def test_a_core_with_too_many_connections_hands_new_ones_on(start_gateway):
    gateway = start_gateway(cores=2, routes=[{"path": f"/count-{number}", "serve": "count"} for number in range(120)])
    wires = [gateway.connect() for _ in range(120)]
    kept = [wire for wire, core in zip(wires, cores_of(gateway, wires)) if core == 0]
    assert len(kept) > 30
    for wire in wires:
        if wire not in kept:
            wire.close()
    eventually(lambda: gateway.stats()["cores"][1]["connections"]["open"] == 0, "core 1 is empty")
    handed = gateway.total()["connections"]["handed"]
    # Of the next ones half come to core 0 by chance, which has everything already: it hands them on.
    more = [gateway.connect(tls) for tls in [False, True] * 12]
    for wire in more:
        assert wire.ask("GET", "/count-0?siteId=x").status == 200
    assert gateway.total()["connections"]["handed"] > handed
    stats = gateway.stats()["cores"]
    # How far it goes depends on how many the kernel dealt to core 0 before; most go over in any case.
    assert stats[1]["connections"]["open"] >= len(more) * 3 // 4 and stats[0]["connections"]["open"] <= len(kept) + len(more) // 4
