"""Client certificates: who is let in, who is turned away by which alert, and what routes and upstreams learn of who came."""
import json
import ssl

import pytest

from certificates import Authority, Issued, key, pki  # noqa: F401 (a fixture)
from certificates import openssl as tool
from gateway import eventually
from tls_clients import Tap, gnutls, openssl
from wire import request_bytes

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HOSTS = ["optional.example.org", "required.example.org", "flat.example.org", "deep.example.org", "stale.example.org", "gap.example.org",
         "*.trial.example.org"]
COUNT = "/count?siteId=x"


def context(pki, version=None, issued=None):
    """Python's ssl with the certificate of a client; what is above it is sent along."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(pki.servers.certificate)
    if version:
        made.minimum_version = made.maximum_version = version
    if issued:
        made.load_cert_chain(issued.chain, issued.key)
    return made


def attempt(gateway, made, name, target=COUNT, fields=()):
    """The answer, or the name of the alert. In TLS 1.3 a client hears of a refusal only after it thought that all was well."""
    with Tap(gateway.tls_port, made, name=name) as client:
        try:
            client.handshake()
            return client.ask("GET", target, fields=fields)
        except ssl.SSLError as error:
            return Tap.alert_of(error)


@pytest.fixture(scope="module")
def served(tmp_path_factory, certificates, pki, raw_session):
    """The default host asks nobody; each other host asks in its own way."""
    from gateway import Gateway
    gateway = Gateway(tmp_path_factory.mktemp("mtls"), certificates, upstreams={"raw": raw_session[0].port}, log={"level": "debug"}, routes=[
        {"prefix": "/raw/site-7", "proxy": "raw", "client": ["site-7.example.org"]},
        {"prefix": "/raw/cro", "proxy": "raw", "client": ["*.cro.example.org"]},
        {"prefix": "/raw/mail", "proxy": "raw", "client": ["cra@cro.example.org"]},
        {"prefix": "/raw/uri", "proxy": "raw", "client": ["spiffe://example.org/site/7"]},
        {"prefix": "/raw/subject", "proxy": "raw", "client": ["subject:CN=Monitor 4,O=CRO"]},
        {"prefix": "/raw/any", "proxy": "raw", "client": ["*"]},
        {"prefix": "/told", "proxy": "raw"},
        {"path": "/groups/open", "serve": "count"},
        {"prefix": "/groups", "proxy": "raw", "client": ["two-routes.example.org"]},
        {"path": "/groups", "serve": "count", "client": ["*.cro.example.org"]},
        {"path": "/count", "serve": "count"},
        {"prefix": "/", "proxy": "raw"},
    ])
    revoked = pki.client("Revoked")
    pki.clients.revoke(revoked)
    lists = pki.directory / "lists.crl"            # of every authority whose clients may come
    lists.write_text("".join(authority.crl().read_text() for authority in (pki.clients, pki.clients_below, pki.clients_deep)))
    asks = {"ca": str(pki.clients.certificate), "required": True}
    gateway.configuration["listeners"][0]["tls"].update(
        certificates=[pki.server("default.example.org").configured()],
        hosts=[{"names": [name], "certificates": [pki.server(*HOSTS).configured()], "client_certificates": {**asks, **more}} for name, more in zip(HOSTS, (
            {"required": False}, {"crl": str(lists)}, {"depth": 0}, {"depth": 2},
            {"crl": str(pki.clients.crl("stale", begins=-3, ends=-1))}, {"crl": str(pki.clients.crl())}, {}))])
    with gateway.serving():
        yield gateway


@pytest.fixture
def mtls(served):
    yield served
    served.at_rest()


# ---- let in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("host", ["optional.example.org", "required.example.org", "flat.example.org"])
def test_who_has_a_good_certificate_is_let_in(mtls, pki, version, kind, host):
    assert attempt(mtls, context(pki, version, pki.client(f"Good {kind}", kind=kind)), host).status == 200


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_openssl_is_let_in_and_told_which_authorities_count(mtls, pki, version, kind):
    client = pki.client(f"Good {kind}", kind=kind)
    talk = openssl(mtls.tls_port, pki.servers.certificate, version, "-cert", client.certificate, "-key", client.key, name="required.example.org",
                   ask=request_bytes("GET", COUNT, fields=[("Connection", "close")], host="required.example.org"))
    assert talk.answers == [200], talk
    # RFC 5246 §7.4.4. In 1.3 it is an extension, which mbedTLS does not send.
    if version == "-tls1_2":
        assert "Clients CA" in talk.text, talk


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_gnutls_is_let_in(mtls, pki, version, kind):
    client = pki.client(f"Good {kind}", kind=kind)
    talk = gnutls(mtls.tls_port, pki.servers.certificate, f"--x509certfile={client.certificate}", f"--x509keyfile={client.key}",
                  priority=f"NORMAL:-VERS-ALL:+VERS-TLS{version}", name="required.example.org",
                  ask=request_bytes("GET", COUNT, fields=[("Connection", "close")], host="required.example.org"))
    assert (talk.code, talk.answers) == (0, [200]), talk


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["optional.example.org", "default.example.org"])
def test_who_has_none_is_let_in_where_none_is_required(mtls, pki, version, host):
    assert attempt(mtls, context(pki, version), host).status == 200


def test_who_was_not_asked_sends_none(mtls, pki):
    """The default host asks nobody: what a client could show is not looked at, and decides nothing."""
    answer = attempt(mtls, context(pki, None, pki.client("Good ec", kind="ec")), "default.example.org", "/raw/any")
    assert answer.status == 403 and json.loads(answer.body)["error"] == "client_certificate_missing"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host, below", [("required.example.org", "clients_below"), ("deep.example.org", "clients_below"),
                                         ("deep.example.org", "clients_deep")])
def test_certificates_between_are_allowed_up_to_the_depth(mtls, pki, version, host, below):
    client = getattr(pki, below).issue("Between", "/O=CRO/CN=Between", usage="clientAuth")
    assert attempt(mtls, context(pki, version, client), host).status == 200


# ---- turned away ------------------------------------------------------------------------------------------------------------


def assert_turned_away(gateway, made, host, alert, reason):
    before = gateway.refused(reason), gateway.total()["handshakes"]["failed"]
    assert attempt(gateway, made, host) == alert
    eventually(lambda: (gateway.refused(reason), gateway.total()["handshakes"]["failed"]) == (before[0] + 1, before[1] + 1),
               lambda: f"{reason} is told: {gateway.refused()}")


def test_who_is_turned_away_is_a_line_for_whoever_asked_for_such_lines(mtls, pki):
    """Of a crowd only some lines a second are written, so it is tried until there is one."""
    def line():
        attempt(mtls, context(pki), "required.example.org")
        return "(tls_certificate_missing)" in mtls.said()

    eventually(line, mtls.said)


@pytest.mark.parametrize("version, alert", [(ssl.TLSVersion.TLSv1_2, "handshake_failure"), (ssl.TLSVersion.TLSv1_3, "certificate_required")])
@pytest.mark.parametrize("host", ["required.example.org", "flat.example.org"])
def test_who_has_none_is_turned_away_where_one_is_required(mtls, pki, version, alert, host):
    assert_turned_away(mtls, context(pki, version), host, alert, "tls_certificate_missing")


def test_a_wrong_certificate_is_turned_away_even_where_none_is_required(mtls, pki):
    """What cannot be verified is a mistake or an attack; as nginx and HAProxy do, it is not taken for "none"."""
    stranger = pki.strangers.issue("Optional stranger", "/O=CRO/CN=Stranger", usage="clientAuth")
    assert_turned_away(mtls, context(pki, None, stranger), "optional.example.org", "unknown_ca", "tls_certificate_untrusted")


def signed_by_itself(pki):
    base = pki.directory / "own"
    if not base.with_suffix(".pem").exists():
        key(base.with_suffix(".key"), "ec")
        tool("req", "-x509", "-key", base.with_suffix(".key"), "-out", base.with_suffix(".pem"), "-days", "30", "-subj", "/O=CRO/CN=Own",
             "-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE")
    return Issued(base.with_suffix(".pem"), base.with_suffix(".key"))


def issued_by_client(pki):
    """CVE-2002-0862 and many after it: someone who was given a certificate, and plays the authority with it."""
    good, base = pki.client("Good ec", kind="ec"), pki.directory / "forged"
    if not base.with_suffix(".pem").exists():
        key(base.with_suffix(".key"), "ec")
        tool("req", "-new", "-key", base.with_suffix(".key"), "-subj", "/O=CRO/CN=Forged", "-out", base.with_suffix(".csr"))
        tool("x509", "-req", "-in", base.with_suffix(".csr"), "-CA", good.certificate, "-CAkey", good.key, "-days", "30", "-set_serial", "7",
             "-out", base.with_suffix(".one"))
        base.with_suffix(".pem").write_text(base.with_suffix(".one").read_text() + good.pem)
    return Issued(base.with_suffix(".pem"), base.with_suffix(".key"))


BAD = {
    "of another authority": (lambda pki: pki.strangers.issue("Stranger", "/O=CRO/CN=Stranger", usage="clientAuth"),
                             "unknown_ca", "tls_certificate_untrusted"),
    "of another authority by the same name": (lambda pki: Authority(pki.directory / "twin", "Clients CA").issue("Twin", "/O=CRO/CN=Twin", usage="clientAuth"),
                                              "unknown_ca", "tls_certificate_untrusted"),
    "expired": (lambda pki: pki.client("Expired", begins=-10, ends=-1), "certificate_expired", "tls_certificate_expired"),
    "not yet valid": (lambda pki: pki.client("Early", begins=2, ends=10), "certificate_expired", "tls_certificate_expired"),
    "revoked": (lambda pki: pki.client("Revoked"), "certificate_revoked", "tls_certificate_revoked"),
    "for servers": (lambda pki: pki.clients.issue("Server", "/O=CRO/CN=Server", usage="serverAuth"), "unsupported_certificate", "tls_certificate_usage"),
    "for key agreement only": (lambda pki: pki.clients.issue("Agreement", "/O=CRO/CN=Agreement", usage="clientAuth",
                                                             key_usage="critical,keyAgreement"), "unsupported_certificate", "tls_certificate_usage"),
    "too deep": (lambda pki: pki.clients_deep.issue("Deep", "/O=CRO/CN=Deep", usage="clientAuth"), "bad_certificate", "tls_certificate_deep"),
    "its own": (signed_by_itself, "unknown_ca", "tls_certificate_untrusted"),
    "issued by a client": (issued_by_client, "unknown_ca", "tls_certificate_untrusted"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", BAD)
def test_a_bad_certificate_is_turned_away_by_name(mtls, pki, version, case):
    make, alert, reason = BAD[case]
    made_already = pki.__dict__.setdefault("bad", {})
    if case not in made_already:
        made_already[case] = make(pki)
    assert_turned_away(mtls, context(pki, version, made_already[case]), "required.example.org", alert, reason)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_below_another_is_turned_away_where_depth_is_0(mtls, pki, version):
    client = pki.clients_below.issue("Flat", "/O=CRO/CN=Flat", usage="clientAuth")
    assert_turned_away(mtls, context(pki, version, client), "flat.example.org", "bad_certificate", "tls_certificate_deep")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_without_what_is_between_is_turned_away(mtls, pki, version):
    client = pki.clients_below.issue("Alone", "/O=CRO/CN=Alone", usage="clientAuth")
    client.chain = client.certificate
    assert_turned_away(mtls, context(pki, version, client), "deep.example.org", "unknown_ca", "tls_certificate_untrusted")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_list_of_the_revoked_that_is_out_of_date_lets_nobody_in(mtls, pki, version):
    """Who was revoked since then is not on it."""
    assert_turned_away(mtls, context(pki, version, pki.client("Good ec", kind="ec")), "stale.example.org", "certificate_unknown",
                       "tls_certificate_list_old")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_authority_without_a_list_lets_nobody_in_where_lists_are_wanted(mtls, pki, version):
    """A list that is missing, or somebody else's, must not mean that nobody is revoked."""
    below = pki.clients_below.issue("Unlisted", "/O=CRO/CN=Unlisted", usage="clientAuth")
    assert_turned_away(mtls, context(pki, version, below), "gap.example.org", "certificate_unknown", "tls_certificate_list_missing")
    assert attempt(mtls, context(pki, version, pki.client("Good ec", kind="ec")), "gap.example.org").status == 200


# ---- what routes decide -----------------------------------------------------------------------------------------------------

CERTIFICATES = {
    "site 7": ("Site 7", "DNS:site-7.example.org"), "SITE 7": ("SITE 7", "DNS:SITE-7.Example.ORG"), "monitor": ("Monitor 4", None),
    "cro": ("Cro", "DNS:a.cro.example.org"), "cro below": ("Cro below", "DNS:a.b.cro.example.org"), "cro itself": ("Cro itself", "DNS:cro.example.org"),
    "any of cro": ("Any of cro", "DNS:*.cro.example.org"), "mail": ("Mail", "email:cra@cro.example.org"),
    "MAIL": ("MAIL", "email:CRA@cro.example.org"), "uri": ("Uri", "URI:spiffe://example.org/site/7"),
    "uri below": ("Uri below", "URI:spiffe://example.org/site/7/x"), "name in a uri": ("Uri name", "URI:site-7.example.org"),
    "two routes": ("Two", "DNS:two-routes.example.org"),
    "site 7 as a subject": ("site-7.example.org", None), "several": ("Several", "DNS:x.example.org,email:x@example.org,DNS:site-7.example.org"),
}


@pytest.mark.parametrize("who, path", [
    ("site 7", "/raw/site-7"), ("SITE 7", "/raw/site-7"), ("several", "/raw/site-7"), ("cro", "/raw/cro"), ("mail", "/raw/mail"), ("uri", "/raw/uri"),
    ("monitor", "/raw/subject"), ("monitor", "/raw/any"), ("two routes", "/groups"),
    ("site 7", "/raw/site-7;x=1/a"), ("site 7", "/;/raw/site-7"), ("cro", "/raw;a/cro%3B/b"),
])
def test_a_route_for_certain_clients_serves_them(mtls, pki, raw, who, path):
    name, san = CERTIFICATES[who]
    with Tap(mtls.tls_port, context(pki, None, pki.client(name, san)), name="optional.example.org").handshake() as client:
        client.write(request_bytes("GET", path, host="optional.example.org"))
        far = raw.accept()
        assert far.request().target == path
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.response().status == 200


@pytest.mark.parametrize("who, path", [
    ("monitor", "/raw/site-7"), ("site 7 as a subject", "/raw/site-7"), ("name in a uri", "/raw/site-7"), ("cro below", "/raw/cro"),
    ("cro itself", "/raw/cro"), ("any of cro", "/raw/cro"), ("MAIL", "/raw/mail"), ("uri below", "/raw/uri"), ("site 7", "/raw/subject"),
    ("monitor", "/groups"), ("monitor", "/raw/site-7;x=1/a"), ("cro", "/;/raw/site-7"),
])
def test_a_route_for_certain_clients_refuses_others(mtls, pki, raw, who, path):
    before = mtls.refused("client_certificate_refused")
    name, san = CERTIFICATES[who]
    answer = attempt(mtls, context(pki, None, pki.client(name, san)), "optional.example.org", path)
    assert answer.status == 403 and json.loads(answer.body)["error"] == "client_certificate_refused", answer
    assert mtls.refused("client_certificate_refused") == before + 1 and not raw.waiting()


@pytest.mark.parametrize("path", [
    "/raw/site-7", "/raw/any", "/groups",
    # The same to a service that takes parameters off segments, as Tomcat, Jetty and Spring do.
    "/raw/site-7;a", "/raw/any;", "/raw/any;x=1/a", "/;/raw/any", "/raw/;a=b/any/b", "/raw;a/any", "/%72aw/any%3bx", "/raw/x;a/../any;x",
])
def test_a_route_for_certain_clients_refuses_who_shows_nothing(mtls, pki, path):
    for ask in (lambda: attempt(mtls, context(pki), "optional.example.org", path), lambda: mtls.ask("GET", path)):  # TLS, and plain
        before = mtls.refused("client_certificate_missing")
        answer = ask()
        assert answer.status == 403 and json.loads(answer.body)["error"] == "client_certificate_missing", answer
        assert mtls.refused("client_certificate_missing") == before + 1


def test_who_is_no_client_of_a_route_meets_the_next_that_names_clients(mtls, pki):
    """And never one that names none: the routes end with one for every path, which the refusals above would fall into."""
    cro = pki.client(*CERTIFICATES["cro"])
    assert attempt(mtls, context(pki, None, cro), "optional.example.org", "/groups?siteId=x").status == 200


def test_what_is_open_in_front_of_a_protected_path_stays_open(mtls, pki):
    assert attempt(mtls, context(pki), "optional.example.org", "/groups/open?siteId=x").status == 200
    assert attempt(mtls, context(pki, None, pki.client(*CERTIFICATES["mail"])), "optional.example.org", "/groups/open?siteId=x").status == 200


@pytest.mark.parametrize("host", [
    "required.example.org", "optional.example.org", "REQUIRED.example.org:8443", "required.example.org.", "Required.example.org.:8443",
    # To routes "*.trial.example.org" is any number of labels, or whatever they take for labels.
    "a.trial.example.org", "a.trial.example.org.", "a.b.trial.example.org", "a.B.c.Trial.example.org.", "a..trial.example.org",
    "a.trial.example.org..", "x" * 240 + ".trial.example.org",
])
def test_a_host_that_asks_for_certificates_is_not_reached_through_another_name(mtls, pki, host):
    """Whoever shook hands with the default host was not asked, and might name any other host in his request."""
    before = mtls.refused("host_misdirected")
    with Tap(mtls.tls_port, context(pki), name="default.example.org").handshake() as client:
        client.write(request_bytes("GET", COUNT, host=host))
        answer = client.response()
        assert answer.status == 421 and json.loads(answer.body)["error"] == "host_misdirected", answer
    assert mtls.refused("host_misdirected") == before + 1


def test_nor_through_another_name_of_an_absolute_target(mtls, pki):
    with Tap(mtls.tls_port, context(pki), name="default.example.org").handshake() as client:
        client.write(request_bytes("GET", f"https://required.example.org.{COUNT}", host="default.example.org"))
        assert client.response().status == 421


def test_a_client_of_a_wildcard_reaches_what_lies_deeper_below_it(mtls, pki):
    """It was asked by the host that guards all of it, whereas by that name (SNI) the default host would answer, who asks nobody."""
    with Tap(mtls.tls_port, context(pki, None, pki.client("Good ec", kind="ec")), name="a.trial.example.org").handshake() as client:
        for host, status in (("a.trial.example.org.", 200), ("a.b.trial.example.org", 200), ("b.trial.example.org", 200),
                             ("default.example.org", 421)):
            client.write(request_bytes("GET", COUNT, host=host))
            assert client.response().status == status, host


# ---- what the service behind learns -------------------------------------------------------------------------------------------

SPOOFED = [("Client-Cert", ":AAAA:"), ("client-cert", ":BBBB:"), ("Client-Cert-Chain", ":CCCC:"), ("X-Client-Cert-Subject", "CN=Admin"),
           ("x-client-cert-san", "DNS:admin.example.org"), ("X-CLIENT-CERT-SERIAL", "00"), ("X-Client-Cert", "y")]


def told(gateway, raw, client, host, fields):
    client.write(request_bytes("GET", "/told", fields=fields, host=host))
    far = raw.accept()
    request = far.request()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    far.close()
    assert client.response().status == 200
    return [(name.lower(), value) for name, value in request.fields if "client-cert" in name.lower()]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_service_is_told_who_came_and_nothing_that_the_client_said_of_itself(mtls, pki, raw, version):
    issued = pki.client("Monitor 4 told", "DNS:site-7.example.org,email:cra@cro.example.org,URI:spiffe://example.org/site/7")
    with Tap(mtls.tls_port, context(pki, version, issued), name="optional.example.org").handshake() as client:
        fields = told(mtls, raw, client, "optional.example.org", SPOOFED)
    assert sorted(fields) == [
        ("client-cert", f":{issued.der_base64()}:"),             # RFC 9440 §2.2
        ("x-client-cert-san", "DNS:site-7.example.org, EMAIL:cra@cro.example.org, URI:spiffe://example.org/site/7"),
        ("x-client-cert-subject", "CN=Monitor 4 told,O=CRO"),
    ]


@pytest.mark.parametrize("host", ["optional.example.org", "default.example.org"])
def test_the_service_is_told_nothing_of_a_client_without_certificate(mtls, pki, raw, host):
    with Tap(mtls.tls_port, context(pki), name=host).handshake() as client:
        assert told(mtls, raw, client, host, SPOOFED) == []


def test_spoofed_fields_are_removed_from_plain_requests_too(mtls, raw):
    wire = mtls.connect()
    wire.send(request_bytes("GET", "/told", fields=SPOOFED))
    far = raw.accept()
    assert not [name for name, _ in far.request().fields if "client-cert" in name.lower()]
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert wire.response().status == 200


def test_a_name_that_would_write_a_field_of_its_own_is_told_escaped_or_not_at_all(mtls, pki, raw):
    """An authority signs what its customers write: a comma or a line end in a name must not become another name."""
    issued = pki.client("Sly", "URI:https://a.example/%0d%0aX-Admin:1,DNS:b.example.org")
    sly = pki.clients.issue("sly subject", "/O=CRO/CN=Sly, DNS:admin.example.org", usage="clientAuth")
    for one in (issued, sly):
        with Tap(mtls.tls_port, context(pki, None, one), name="optional.example.org").handshake() as client:
            fields = dict(told(mtls, raw, client, "optional.example.org", ()))
        assert "x-admin" not in fields and "\r" not in str(fields)
        assert "DNS:admin.example.org" not in fields.get("x-client-cert-san", "").split(", "), fields
        assert fields["x-client-cert-subject"] in ("CN=Sly,O=CRO", "CN=Sly\\, DNS:admin.example.org,O=CRO"), fields
