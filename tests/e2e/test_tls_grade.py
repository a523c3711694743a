"""testssl.sh against the program: what a stranger would find. It takes minutes, so it runs with --long alone."""
import json
import shutil
import subprocess

import pytest

from certificates import pki  # noqa: F401 (a fixture)

# What is above LOW and stays, and why.
EXPLAINED = {
    "engine_problem": "the openssl of the machine that looks has no GOST; it is nothing of ours",
    "cert_revocation": "the tests' certificates name no list and no responder; who issues real ones decides that",
    "security_headers": "fields such as Content-Security-Policy are for the service behind the gateway to set",
    "sessionresumption_ticket": "its client of 1.3 leaves before the ticket came, and has then nothing to resume; see test_tls_resumption.py",
    "DNS_CAArecord": "about the DNS, which is not asked",
    "cert_chain_of_trust": "an authority of the tests' own; testssl.sh is told of it, but not every version listens",
    "overall_grade": "follows from the others",
    "grade_cap_reason_1": "follows from the others",
}
GRAVE = {"MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"}


def test_testssl_finds_nothing_grave(start_gateway, pki, tmp_path, long):
    if not long:
        pytest.skip("takes minutes; --long runs it")
    gateway = start_gateway(start=False, routes=[{"path": "/count", "serve": "count"}])
    gateway.configuration["listeners"][0]["tls"].update(
        certificates=[pki.server("localhost", kind=kind).configured() for kind in ("ec", "rsa")])
    gateway.start()
    found = tmp_path / "found.json"
    # Protocols, suites, forward secrecy, preferences, defaults, HTTP and every vulnerability; no name is looked up, nothing leaves the machine.
    done = subprocess.run([shutil.which("testssl") or "testssl.sh", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
                           "--ip", "127.0.0.1", "--add-ca", pki.servers.certificate, "--connect-timeout", "20", "--openssl-timeout", "20",
                           "--jsonfile", found, "-p", "-s", "-f", "-P", "-S", "-h", "-U", f"https://localhost:{gateway.tls_port}/count?siteId=x"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500)
    findings = json.loads(found.read_text())
    looked = {finding["id"] for finding in findings}
    # A run that broke off early finds little, and looks good.
    assert {"SSLv3", "TLS1_2", "TLS1_3", "heartbleed", "secure_client_renego", "ROBOT", "RC4", "LUCKY13"} <= looked, done.stdout[-3000:]
    said = {finding["id"]: finding["finding"] for finding in findings}
    assert said["TLS1"].startswith("not offered") and said["TLS1_1"].startswith("not offered") and said["TLS1_3"].startswith("offered"), said
    grave = [finding for finding in findings if finding["severity"] in GRAVE and finding["id"].split(" ")[0] not in EXPLAINED]
    assert not grave, json.dumps(grave, indent=1)
