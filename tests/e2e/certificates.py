"""certificates.py: an authority of the tests' own: servers for any names, clients good and bad in every way, lists of the revoked.

    authority = Authority(directory, "Clinics CA")
    cra = authority.issue("cra", "/O=CRO/CN=Monitor 4", san="DNS:site-7.example.org")     # cra.certificate, cra.key: paths
    authority.revoke(cra); authority.crl()                                                # a path

openssl does all of it. Keys on P-256 take a millisecond, RSA keys a tenth of a second; dates are given in days from now.
"""
import datetime
import functools
import pathlib
import subprocess

import pytest

CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {directory}/database
new_certs_dir = {directory}
rand_serial = yes
crlnumber = {directory}/crlnumber
certificate = {directory}/ca.pem
private_key = {directory}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = anything
unique_subject = no
copy_extensions = none
email_in_dn = no
[anything]
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"
    return done.stdout


def key(path, kind):
    if kind == "ec":
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    else:
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    return path


def when(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


class Issued:
    """A certificate and its key, as paths. `chain` is the file that is shown: the certificate, then those above it."""

    def __init__(self, certificate, key):
        self.certificate, self.key, self.chain = certificate, key, certificate

    @property
    def pem(self):
        return self.certificate.read_text()

    def der_base64(self):
        """What stands between the lines of the PEM file."""
        return "".join(line for line in self.pem.splitlines() if not line.startswith("-----"))

    def serial(self):
        return openssl("x509", "-in", self.certificate, "-noout", "-serial").strip().partition("=")[2]

    def configured(self):
        """As the gateway's configuration wants it."""
        return {"certificate": str(self.chain), "key": str(self.key)}


class Authority:
    def __init__(self, directory, name, above=None, kind="ec"):
        """`above`: the authority that issued this one, or None for a root."""
        self.directory, self.above = pathlib.Path(directory) / name.replace(" ", "-"), above
        self.directory.mkdir(parents=True)
        self.configuration = self.directory / "ca.cnf"
        self.configuration.write_text(CONFIGURATION.format(directory=self.directory))
        (self.directory / "database").write_text("")
        (self.directory / "crlnumber").write_text("1001\n")
        self.certificate = self.directory / "ca.pem"
        key(self.directory / "ca.key", kind)
        if above is None:
            openssl("req", "-x509", "-key", self.directory / "ca.key", "-out", self.certificate, "-days", "400", "-subj", f"/O=Test/CN={name}",
                    "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        else:
            made = above.issue(name.replace(" ", "-"), f"/O=Test/CN={name}", use_key=self.directory / "ca.key", usage=None,
                               constraints="critical,CA:TRUE", key_usage="critical,keyCertSign,cRLSign")
            self.certificate.write_text(made.pem)

    def issue(self, name, subject, san=None, usage="serverAuth", kind="ec", begins=-1, ends=300, use_key=None,
              constraints="critical,CA:FALSE", key_usage="critical,digitalSignature"):
        base = self.directory / name
        issued = Issued(base.with_suffix(".pem"), use_key or key(base.with_suffix(".key"), kind))
        extensions = base.with_suffix(".ext")
        extensions.write_text("".join(f"{field}={value}\n" for field, value in (
            ("basicConstraints", constraints), ("keyUsage", key_usage), ("extendedKeyUsage", usage), ("subjectAltName", san),
            ("subjectKeyIdentifier", "hash"), ("authorityKeyIdentifier", "keyid")) if value))
        request = base.with_suffix(".csr")
        openssl("req", "-new", "-key", issued.key, "-subj", subject, "-out", request)
        openssl("ca", "-batch", "-notext", "-config", self.configuration, "-in", request, "-out", issued.certificate, "-extfile", extensions,
                "-startdate", when(begins), "-enddate", when(ends))
        if self.above is not None:
            issued.chain = base.with_suffix(".chain.pem")
            issued.chain.write_text(issued.pem + self.chain())
        return issued

    def chain(self):
        """This authority's certificate and those above it, without the root."""
        return "" if self.above is None else self.certificate.read_text() + self.above.chain()

    def revoke(self, issued):
        openssl("ca", "-batch", "-config", self.configuration, "-revoke", issued.certificate)

    def crl(self, name="list", begins=None, ends=None):
        path = self.directory / f"{name}.crl"
        openssl("ca", "-gencrl", "-config", self.configuration, "-out", path,
                *(["-crl_lastupdate", when(begins), "-crl_nextupdate", when(ends)] if ends is not None else []))
        return path


class Pki:
    """What the TLS tests need, each made when it is first asked for."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    @functools.cached_property
    def servers(self):
        return Authority(self.directory, "Servers CA")

    @functools.cached_property
    def clients(self):
        return Authority(self.directory, "Clients CA")

    @functools.cached_property
    def clients_below(self):
        return Authority(self.directory, "Clients CA 2", above=self.clients)

    @functools.cached_property
    def clients_deep(self):
        return Authority(self.directory, "Clients CA 3", above=self.clients_below)

    @functools.cached_property
    def strangers(self):
        return Authority(self.directory, "Strangers CA")

    def server(self, *names, kind="ec"):
        """The certificate of a server by these names; the same names give the same one."""
        return self.server_made(names, kind)

    @functools.lru_cache(maxsize=None)
    def server_made(self, names, kind):
        label = "-".join([kind, *names]).replace("*", "any")
        return self.servers.issue(label, f"/CN={names[0]}", san=",".join(f"DNS:{name}" for name in names), kind=kind)

    @functools.lru_cache(maxsize=None)
    def client(self, name, san=None, **more):
        return self.clients.issue(name, f"/O=CRO/CN={name}", san=san, usage="clientAuth", **more)


@functools.lru_cache(maxsize=None)
def pki_made(directory):
    return Pki(directory)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Test files import this fixture; all of them share one set."""
    return pki_made(tmp_path_factory.getbasetemp() / "pki")
