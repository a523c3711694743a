"""Hosts by name (SNI): who gets which certificate and which protocols, and who is not known here."""
import re
import ssl

import pytest

from certificates import pki  # noqa: F401 (a fixture)
from gateway import eventually, run_once
from tls_clients import EXTENSIONS, HANDSHAKE, Records, client_hello, gnutls, openssl, record, sni

COUNT = [{"path": "/count", "serve": "count"}]
VERSIONS = ["-tls1_2", "-tls1_3"]


def subject(talk):
    return re.search(r"^subject=(?:O = [^,]*, )?CN = (.*)$", talk.text, re.MULTILINE)[1]


def listener(gateway, **tls):
    """The configuration of the listener with TLS, changed."""
    gateway.configuration["listeners"][0]["tls"].update(tls)


@pytest.fixture(scope="module")
def module_gateways(tmp_path_factory, certificates, pki):
    """Two gateways for this file, because a start costs more than all its questions: a lenient one and a strict one."""
    from gateway import Gateway
    made = []
    for name, more in (("lenient", {}), ("strict", {"strict_sni": True})):
        gateway = Gateway(tmp_path_factory.mktemp(name), certificates, routes=COUNT, log={"level": "debug"})
        listener(gateway, certificates=[pki.server("default.example.org").configured()], hosts=[
            {"names": ["edc.example.org", "*.trial.example.org"], "certificates": [pki.server("edc.example.org", "*.trial.example.org").configured()]},
            # The exact name goes before the wildcard.
            {"names": ["special.trial.example.org"], "certificates": [pki.server("special.trial.example.org").configured()]},
            # Left out: the names in the certificates, of which there are an ECDSA and an RSA one.
            {"certificates": [pki.server("san.example.org", "*.san.example.org").configured(),
                              pki.server("san.example.org", "rsa-only.example.org", kind="rsa").configured()]},
            {"names": ["alpn.example.org"], "certificates": [pki.server("alpn.example.org").configured()], "alpn": ["http/1.1"]},
        ], **more)
        made.append(gateway.start())
    yield made
    for gateway in made:
        try:
            gateway.stop()
        finally:
            gateway.kill()


@pytest.fixture
def lenient(module_gateways):
    yield module_gateways[0]
    module_gateways[0].at_rest()


@pytest.fixture
def strict(module_gateways):
    yield module_gateways[1]
    module_gateways[1].at_rest()


SHOWN = [
    ("edc.example.org", "edc.example.org"),
    ("EDC.Example.ORG", "edc.example.org"),                      # RFC 4343: names know no case
    ("a.trial.example.org", "edc.example.org"),
    ("A.TRIAL.example.org", "edc.example.org"),
    ("special.trial.example.org", "special.trial.example.org"),
    ("san.example.org", "san.example.org"),
    ("x.san.example.org", "san.example.org"),
    ("rsa-only.example.org", "san.example.org"),                 # of the host's other certificate
    ("default.example.org", "default.example.org"),
]
NOWHERE = ["a.b.trial.example.org", "trial.example.org", "other.example.org", "example.org", "xedc.example.org", "edc.example.org.evil.example",
           "edc", "y.x.san.example.org", "x" * 63 + ".example.org"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name, shown", SHOWN + [(name, "default.example.org") for name in NOWHERE])
def test_a_name_has_its_certificate(lenient, pki, version, name, shown):
    talk = openssl(lenient.tls_port, pki.servers.certificate, version, name=name)
    assert (talk.answers, talk.trusted, subject(talk)) == ([200], True, shown), talk


@pytest.mark.parametrize("version", VERSIONS)
def test_who_asks_for_no_name_gets_the_default(lenient, pki, version):
    talk = openssl(lenient.tls_port, pki.servers.certificate, version, name=None)
    assert (talk.answers, subject(talk)) == ([200], "default.example.org"), talk


@pytest.mark.parametrize("name, shown", [("edc.example.org", "edc.example.org"), ("a.trial.example.org", "edc.example.org"),
                                         ("special.trial.example.org", "special.trial.example.org"), ("x.san.example.org", "san.example.org")])
def test_gnutls_verifies_the_name_it_asked_for(lenient, pki, name, shown):
    talk = gnutls(lenient.tls_port, pki.servers.certificate, name=name)
    assert (talk.code, talk.answers, talk.trusted) == (0, [200], True) and f"subject `CN={shown}'" in talk.text, talk


@pytest.mark.parametrize("signature, kind", [("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256", "RSA")])
def test_each_host_has_its_own_pair_of_certificates(lenient, pki, signature, kind):
    talk = openssl(lenient.tls_port, pki.servers.certificate, "-tls1_3", "-sigalgs", f"{signature}:ECDSA+SHA512", name="san.example.org")
    assert (talk.answers, talk.signature) == ([200], kind), talk


def test_a_client_who_cannot_read_the_certificate_of_its_host_is_not_given_that_of_another(lenient, pki):
    """The default host may have an RSA certificate; it is not for edc.example.org."""
    talk = openssl(lenient.tls_port, pki.servers.certificate, "-tls1_3", "-sigalgs", "RSA-PSS+SHA256", name="edc.example.org")
    assert talk.alert == "handshake_failure", talk


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["default.example.org", "edc.example.org", "alpn.example.org"])
def test_each_host_has_protocols(lenient, pki, version, name):
    talk = openssl(lenient.tls_port, pki.servers.certificate, version, "-alpn", "h2,http/1.1", name=name)
    assert (talk.alpn, talk.answers) == ("http/1.1", [200]), talk


@pytest.mark.parametrize("version", VERSIONS)
def test_a_host_with_protocols_refuses_who_has_none_of_them(lenient, pki, version):
    talk = openssl(lenient.tls_port, pki.servers.certificate, version, "-alpn", "h2", name="alpn.example.org")
    assert talk.alert == "no_application_protocol", talk


# ---- strict ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, shown", SHOWN)
def test_strict_knows_every_name_of_its_hosts_and_of_its_default_certificate(strict, pki, name, shown):
    talk = openssl(strict.tls_port, pki.servers.certificate, name=name)
    assert (talk.answers, subject(talk)) == ([200], shown), talk


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NOWHERE[:6])
def test_strict_refuses_other_names(strict, pki, version, name):
    before = strict.refused("tls_name_unknown")
    talk = openssl(strict.tls_port, pki.servers.certificate, version, name=name)
    assert (talk.code, talk.alert, talk.answers) == (1, "unrecognized_name", []), talk
    eventually(lambda: strict.refused("tls_name_unknown") == before + 1, lambda: f"it is told: {strict.refused()}")


@pytest.mark.parametrize("version", VERSIONS)
def test_strict_refuses_who_asks_for_no_name(strict, pki, version):
    before = strict.refused("tls_name_missing")
    talk = openssl(strict.tls_port, pki.servers.certificate, version, name=None)
    assert (talk.code, talk.alert) == (1, "unrecognized_name"), talk
    eventually(lambda: strict.refused("tls_name_missing") == before + 1, lambda: f"it is told: {strict.refused()}")


def test_what_strict_refuses_is_a_line_for_whoever_asked_for_such_lines(strict, pki):
    """Of a crowd only some lines a second are written, so it is tried until there is one."""
    def line():
        openssl(strict.tls_port, pki.servers.certificate, name=None)
        return re.search(r"^postern: debug: 127\.0\.0\.1: .* \(tls_name_missing\)$", strict.said(), re.MULTILINE)

    eventually(line, strict.said)


def test_strict_refuses_before_any_certificate_is_shown(strict):
    """A scanner of addresses learns nothing of who is served here."""
    with Records(strict.tls_port) as client:
        client.send(record(HANDSHAKE, client_hello((sni("other.example.org"),) + EXTENSIONS[1:]), 0x0301))
        assert client.alert() == "unrecognized_name"


def test_gnutls_is_told_that_its_name_is_not_known(strict, pki):
    assert gnutls(strict.tls_port, pki.servers.certificate, name="other.example.org").alert == "unrecognized_name"


# ---- configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts, says", [
    ([{"names": ["a.example.org"]}], "certificates"),
    ([{"names": ["a.example.org"], "certificates": "A"}, {"names": ["A.example.org"], "certificates": "A"}], "a.example.org"),
    ([{"names": ["*.*.example.org"], "certificates": "A"}], r"\*"),
    ([{"names": ["a*.example.org"], "certificates": "A"}], r"\*"),
    ([{"names": ["*"], "certificates": "A"}], r"\*"),
    ([{"names": [""], "certificates": "A"}], "empty"),
    ([{"names": ["a b.example.org"], "certificates": "A"}], "name"),
    ([{"names": ["127.0.0.1"], "certificates": "A"}], "127"),
])
def test_hosts_that_cannot_be_are_refused_with_their_place(start_gateway, pki, hosts, says):
    gateway = start_gateway(start=False, routes=COUNT)
    for host in hosts:
        if host.get("certificates") == "A":
            host["certificates"] = [pki.server("a.example.org").configured()]
    listener(gateway, hosts=hosts)
    gateway.write()
    done = run_once("check", "-c", gateway.path)
    assert done.returncode != 0 and re.search(r"postern\.yaml:[0-9]+:[0-9]+: .*" + says, done.stdout + done.stderr), done


@pytest.mark.parametrize("versions, refused", [(["1.3"], ssl.TLSVersion.TLSv1_2), (["1.2"], ssl.TLSVersion.TLSv1_3)])
def test_a_listener_speaks_the_versions_it_is_given(start_gateway, certificates, versions, refused):
    gateway = start_gateway(start=False, routes=COUNT)
    listener(gateway, versions=versions)
    gateway.start()
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        gateway.connect(tls=certificates.context(refused))
    assert gateway.connect(tls=certificates.context()).sock.version() == f"TLSv{versions[0]}"
    eventually(lambda: gateway.refused("tls_version_unsupported") == 1, lambda: f"it is told: {gateway.refused()}")
