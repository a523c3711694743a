"""Every version, suite, group and certificate with OpenSSL, GnuTLS, curl and Python's ssl; and what they must not get."""
import re
import ssl
import subprocess

import pytest

from gateway import eventually
from tls_clients import ASK_TWICE, SUITES_12, SUITES_13, gnutls, openssl

TWICE = [200, 200]
SIGNATURES_13 = {"ECDSA": "ECDSA+SHA256", "RSA": "RSA-PSS+SHA256"}
GNUTLS_12, GNUTLS_13 = "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"
GNUTLS_GROUPS = {"X25519": "GROUP-X25519", "P-256": "GROUP-SECP256R1"}


@pytest.mark.parametrize("group", ["X25519", "P-256"])
@pytest.mark.parametrize("certificate", ["ECDSA", "RSA"])
@pytest.mark.parametrize("suite", SUITES_13)
def test_openssl_1_3(gateway, certificates, suite, certificate, group):
    talk = openssl(gateway.tls_port, certificates / "both.pem", "-tls1_3", "-ciphersuites", suite, "-groups", group,
                   "-sigalgs", SIGNATURES_13[certificate], ask=ASK_TWICE)
    assert (talk.code, talk.answers, talk.trusted) == (0, TWICE, True), talk
    assert (talk.version, talk.cipher, talk.group, talk.signature) == ("TLSv1.3", suite, group, certificate), talk


# A client of 1.2 that knows only X25519 cannot read our ECDSA certificate, whose key is on P-256: see below.
@pytest.mark.parametrize("group", ["X25519", "P-256"])
@pytest.mark.parametrize("suite", SUITES_12)
def test_openssl_1_2(gateway, certificates, suite, group):
    talk = openssl(gateway.tls_port, certificates / "both.pem", "-tls1_2", "-cipher", suite, ask=ASK_TWICE,
                   *["-groups", "X25519:P-256" if group == "X25519" else "P-256"])
    assert (talk.code, talk.answers, talk.trusted) == (0, TWICE, True), talk
    assert (talk.version, talk.cipher, talk.group) == ("TLSv1.2", suite, group), talk
    assert talk.signature == suite.split("-")[1], talk


@pytest.mark.parametrize("group", ["X25519", "P-256"])
@pytest.mark.parametrize("certificate", ["ECDSA", "RSA"])
@pytest.mark.parametrize("cipher", SUITES_13.values())
def test_gnutls_1_3(gateway, certificates, cipher, certificate, group):
    signature = {"ECDSA": "SIGN-ECDSA-SECP256R1-SHA256", "RSA": "SIGN-RSA-PSS-RSAE-SHA256"}[certificate]
    # Certificates of the tests are signed with RSA-SHA256; without it GnuTLS would not trust one.
    talk = gnutls(gateway.tls_port, certificates / "both.pem", ask=ASK_TWICE,
                  priority=f"{GNUTLS_13}:-CIPHER-ALL:+{cipher}:-GROUP-ALL:+{GNUTLS_GROUPS[group]}:-SIGN-ALL:+{signature}:+SIGN-RSA-SHA256")
    assert (talk.code, talk.answers, talk.trusted) == (0, TWICE, True), talk
    assert (talk.version, talk.cipher, talk.group, talk.signature) == ("TLSv1.3", cipher, group, certificate), talk


@pytest.mark.parametrize("group", ["X25519", "P-256"])
@pytest.mark.parametrize("certificate", ["ECDSA", "RSA"])
@pytest.mark.parametrize("cipher", SUITES_13.values())
def test_gnutls_1_2(gateway, certificates, cipher, certificate, group):
    groups = "+GROUP-X25519:+GROUP-SECP256R1" if group == "X25519" else "+GROUP-SECP256R1"
    talk = gnutls(gateway.tls_port, certificates / "both.pem", ask=ASK_TWICE,
                  priority=f"{GNUTLS_12}:-CIPHER-ALL:+{cipher}:-GROUP-ALL:{groups}:-KX-ALL:+ECDHE-{certificate}")
    assert (talk.code, talk.answers, talk.trusted) == (0, TWICE, True), talk
    assert (talk.version, talk.cipher, talk.group, talk.signature) == ("TLSv1.2", cipher, group, certificate), talk


# ---- which certificate a client gets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, signature", [
    (("-tls1_3",), "ECDSA"), (("-tls1_2",), "ECDSA"),
    (("-tls1_3", "-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"), "ECDSA"),
    (("-tls1_3", "-sigalgs", "ECDSA+SHA384:RSA-PSS+SHA256"), "RSA"),       # signs with P-384, which ours is not
    (("-tls1_2", "-sigalgs", "RSA+SHA256"), "RSA"),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"), "ECDSA"),
    (("-tls1_2", "-groups", "X25519"), "RSA"),                             # cannot read a key on P-256
    (("-tls1_2", "-groups", "P-384:X25519"), "RSA"),
    (("-tls1_3", "-groups", "X25519"), "ECDSA"),                           # in 1.3 groups say nothing about signatures
])
def test_the_ecdsa_certificate_is_for_whoever_can_read_it_and_the_rsa_one_for_the_others(gateway, certificates, options, signature):
    """RSA costs us ten times as much, so a client that could do with either is not asked which it likes better."""
    talk = openssl(gateway.tls_port, certificates / "both.pem", *options)
    assert (talk.code, talk.answers, talk.signature) == (0, [200], signature), talk


@pytest.mark.parametrize("priority", ["NORMAL", GNUTLS_12, GNUTLS_13])
def test_gnutls_as_it_is_gets_the_ecdsa_certificate(gateway, certificates, priority):
    talk = gnutls(gateway.tls_port, certificates / "both.pem", priority=priority)
    assert (talk.code, talk.answers, talk.signature) == (0, [200], "ECDSA"), talk


# ---- HelloRetryRequest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups, group", [("P-384:X25519", "X25519"), ("P-521:P-384:P-256", "P-256"), ("X448:P-256:X25519", None)])
@pytest.mark.parametrize("suite", SUITES_13)
def test_openssl_is_asked_again_when_its_first_guess_is_not_ours(gateway, certificates, suite, groups, group):
    """RFC 8446 §4.1.4: HelloRetryRequest. The second hello has the share of a group that we chose."""
    talk = openssl(gateway.tls_port, certificates / "both.pem", "-tls1_3", "-ciphersuites", suite, "-groups", groups, "-msg", ask=ASK_TWICE)
    assert (talk.code, talk.answers, talk.version, talk.cipher) == (0, TWICE, "TLSv1.3", suite), talk
    assert talk.text.count(", ClientHello") == 2 and talk.text.count(", ServerHello") == 2, talk
    assert talk.group == group or (group is None and talk.group in ("X25519", "P-256")), talk


@pytest.mark.parametrize("group", ["X25519", "P-256"])
def test_gnutls_is_asked_again_when_its_first_guess_is_not_ours(gateway, certificates, group):
    talk = gnutls(gateway.tls_port, certificates / "both.pem", "--single-key-share", "-d", "5", ask=ASK_TWICE,
                  priority=f"{GNUTLS_13}:-GROUP-ALL:+GROUP-SECP384R1:+{GNUTLS_GROUPS[group]}")
    assert (talk.code, talk.answers, talk.version, talk.group) == (0, TWICE, "TLSv1.3", group), talk
    assert re.search("HELLO RETRY REQUEST|hello retry request", talk.text), talk


def test_no_one_is_asked_twice_whose_first_guess_is_ours(gateway, certificates):
    for groups in ("X25519:P-256", "P-256:X25519", "X25519:P-384"):
        talk = openssl(gateway.tls_port, certificates / "both.pem", "-tls1_3", "-groups", groups, "-msg")
        assert talk.text.count(", ClientHello") == 1 and talk.answers == [200], talk


# ---- ALPN -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("offered, chosen", [("http/1.1", "http/1.1"), ("h2,http/1.1", "http/1.1"), ("http/1.0,http/1.1,h2", "http/1.1")])
def test_openssl_alpn(gateway, certificates, version, offered, chosen):
    talk = openssl(gateway.tls_port, certificates / "both.pem", version, "-alpn", offered, ask=ASK_TWICE)
    assert (talk.answers, talk.alpn) == (TWICE, chosen), talk


@pytest.mark.parametrize("priority", [GNUTLS_12, GNUTLS_13])
def test_gnutls_alpn(gateway, certificates, priority):
    talk = gnutls(gateway.tls_port, certificates / "both.pem", "--alpn=h2", "--alpn=http/1.1", priority=priority, ask=ASK_TWICE)
    assert (talk.answers, talk.alpn) == (TWICE, "http/1.1"), talk


@pytest.mark.parametrize("version", ["--tlsv1.2", "--tlsv1.3"])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_curl_keeps_its_connection(gateway, certificates, version, kind):
    address = f"https://localhost:{gateway.tls_port}/count?siteId="
    done = subprocess.run(["curl", "-sS", "--http1.1", version, "--tls-max", version[-3:], "--cacert", certificates / "both.pem",
                           "-w", " %{num_connects} %{ssl_verify_result}\n", address + "a", address + "b",
                           *(["--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"] if kind == "rsa" else [])],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ['{"count":0}', "1", "0", '{"count":0}', "0", "0"]), done


# ---- refused --------------------------------------------------------------------------------------------------------------

NOTHING = ("handshake_failure", "tls_nothing_shared")
REFUSED_BY_OPENSSL = [
    (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_version", "tls_version_unsupported"),
    (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_version", "tls_version_unsupported"),
    (("-tls1_2", "-groups", "P-384"), *NOTHING),
    (("-tls1_2", "-groups", "P-521:X448"), *NOTHING),
    (("-tls1_3", "-groups", "P-521"), *NOTHING),
    (("-tls1_3", "-groups", "P-384:ffdhe2048"), *NOTHING),
    (("-tls1_3", "-groups", "X448"), *NOTHING),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"), *NOTHING),            # CBC, SHA-1
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"), *NOTHING),       # CBC
    (("-tls1_2", "-cipher", "AES128-SHA"), *NOTHING),                      # RSA key exchange
    (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), *NOTHING),
    (("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"), *NOTHING),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"), *NOTHING),
    (("-tls1_2", "-cipher", "ECDHE-ARIA128-GCM-SHA256:ECDHE-ECDSA-CAMELLIA128-SHA256"), *NOTHING),
    (("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"), *NOTHING),
    (("-tls1_2", "-cipher", "AECDH-AES128-SHA:@SECLEVEL=0"), *NOTHING),    # nobody signs
    (("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"), *NOTHING),
    (("-tls1_3", "-sigalgs", "ed25519:ECDSA+SHA384"), *NOTHING),
    (("-tls1_2", "-sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0"), *NOTHING),
    (("-tls1_2", "-sigalgs", "RSA-PSS+SHA256"), *NOTHING),                 # our RSA signatures of 1.2 are of the old kind
    (("-tls1_3", "-alpn", "h2"), "no_application_protocol", "tls_protocol_unsupported"),
    (("-tls1_2", "-alpn", "h2,spdy/3"), "no_application_protocol", "tls_protocol_unsupported"),
]


@pytest.mark.parametrize("options, alert, reason", REFUSED_BY_OPENSSL)
def test_openssl_is_refused_by_name(gateway, certificates, options, alert, reason):
    before = gateway.refused(reason), gateway.total()["handshakes"]["failed"]
    talk = openssl(gateway.tls_port, certificates / "both.pem", *options)
    assert talk.code != 0 and talk.alert == alert, talk
    eventually(lambda: (gateway.refused(reason), gateway.total()["handshakes"]["failed"]) == (before[0] + 1, before[1] + 1),
               lambda: f"one refusal {reason}: {gateway.refused()}")


@pytest.mark.parametrize("priority, alert, reason", [
    ("NORMAL:-VERS-ALL:+VERS-TLS1.1", "protocol_version", "tls_version_unsupported"),
    ("NORMAL:-VERS-ALL:+VERS-TLS1.0", "protocol_version", "tls_version_unsupported"),
    (f"{GNUTLS_12}:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC", *NOTHING),
    (f"{GNUTLS_12}:-KX-ALL:+RSA", *NOTHING),
    (f"{GNUTLS_12}:-KX-ALL:+DHE-RSA", *NOTHING),
    (f"{GNUTLS_13}:-CIPHER-ALL:+AES-128-CCM", *NOTHING),
    (f"{GNUTLS_13}:-GROUP-ALL:+GROUP-SECP521R1", *NOTHING),
    (f"{GNUTLS_12}:-GROUP-ALL:+GROUP-SECP384R1", *NOTHING),
])
def test_gnutls_is_refused_by_name(gateway, certificates, priority, alert, reason):
    before = gateway.refused(reason)
    talk = gnutls(gateway.tls_port, certificates / "both.pem", priority=priority)
    assert talk.code != 0 and talk.alert == alert, talk
    eventually(lambda: gateway.refused(reason) == before + 1, lambda: f"one refusal {reason}: {gateway.refused()}")


def test_a_refusal_is_a_line_for_whoever_asked_for_such_lines(start_gateway, certificates):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], log={"level": "debug"})
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        gateway.connect(tls=certificates.context(alpn=["h2"]))
    eventually(lambda: re.search(r"^postern: debug: 127\.0\.0\.1: .*ALPN.* \(tls_protocol_unsupported\)$", gateway.said(), re.MULTILINE),
               gateway.said)
