"""posternctl sites: the list, and reconciliation with the numbers of the EDC by a CSV file.

What stands on the admin socket here is a stand-in with the rules of cache/decide.h, which can break off, refuse and forget to
answer where a test wants it to; test_count.py and its neighbours meet the gateway itself.
"""
import csv
import http.server
import io
import json
import re
import socketserver
import subprocess
import sys
import threading
import urllib.parse

import pytest

from gateway import POSTERNCTL
from wire import PATIENCE_S

KINDS = ("screened", "enrolled", "randomised", "withdrawn")
RESOURCES = dict(zip(("screenings", "enrolments", "randomisations", "withdrawals"), KINDS))
HEAD = "site,status,cap,screened,enrolled,randomised,withdrawn"


class Sites(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Sites in a dictionary, behind the interface of the admin socket."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path):
        self.sites, self.keys, self.requests, self.study_cap = {}, {}, [], None
        self.page = 1000
        self.hook = lambda method, target: None       # "before": break off before it is done, "after": when it is done
        super().__init__(str(path), Handler)

    def set(self, name, status="recruiting", cap=None, **numbers):
        self.sites[name] = {"site": name, "status": status, "cap": cap, "reserved": 0, "revision": 1, "changed": None,
                            **dict.fromkeys(KINDS, 0), **numbers}
        return self

    def shown(self, site):
        return {**site, "count": site["enrolled"] - site["withdrawn"]}

    def study(self):
        total = {kind: sum(site[kind] for site in self.sites.values()) for kind in KINDS}
        return {**total, "count": total["enrolled"] - total["withdrawn"], "reserved": 0, "cap": self.study_cap}

    def answer(self, method, target, fields, body):
        url = urllib.parse.urlsplit(target)
        parts = [urllib.parse.unquote(part) for part in url.path.split("/")[2:]]
        if method == "GET" and not parts:
            query = urllib.parse.parse_qs(url.query)
            names = list(self.sites)
            at = names.index(query["after"][0]) + 1 if "after" in query else 0
            page = names[at:at + min(self.page, int(query["limit"][0]))]
            return 200, {"study": self.study(), "sites": [self.shown(self.sites[name]) for name in page],
                         "next": page[-1] if page and page[-1] != names[-1] else None}
        body = json.loads(body)
        assert body.pop("reason").startswith("import ")
        key = fields["Idempotency-Key"]
        assert re.fullmatch(r"[!-~]{1,255}", key)
        if key not in self.keys:
            answer = self.rule(parts[0], body) if method == "PUT" else self.change(self.sites.get(parts[0]), RESOURCES[parts[1]], body["by"])
            self.keys[key] = (target, body), answer
        elif self.keys[key][0] != (target, body):
            return 422, {"error": "idempotency_key_reused", "message": "the key is another request's"}
        return self.keys[key][1]

    def rule(self, name, body):
        new = name not in self.sites
        if new:
            self.set(name, revision=0)
        self.sites[name].update(body)
        self.sites[name]["revision"] += 1
        return 201 if new else 200, self.shown(self.sites[name])

    def change(self, site, kind, by):
        assert by and abs(by) <= 1_000_000
        if site is None:
            return 404, {"error": "site_unknown", "message": "no"}
        if site["status"] == "closed" or (site["status"] == "paused" and by > 0 and kind in ("screened", "enrolled")):
            return 409, {"error": "site_" + site["status"], "message": "no"}
        after = {**site, kind: site[kind] + by}
        count, before = self.shown(after)["count"], self.shown(site)["count"]
        if after[kind] < 0 or count < 0:
            return 409, {"error": "count_below_zero", "message": "no"}
        if count > before and site["cap"] is not None and count + site["reserved"] > site["cap"]:
            return 409, {"error": "site_cap_reached", "message": "no"}
        if count > before and self.study_cap is not None and self.study()["count"] + count - before > self.study_cap:
            return 409, {"error": "study_cap_reached", "message": "the study's cap is reached"}
        site[kind] += by
        site["revision"] += 1
        return 200, {"status": "ok"}


class Handler(http.server.BaseHTTPRequestHandler):
    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hook = self.server.hook(self.command, self.path)
        if hook == "before":
            self.close_connection = True
            return
        status, answer = self.server.answer(self.command, self.path, self.headers, body)
        self.server.requests.append((self.command, self.path, body.decode()))
        if hook == "after":
            self.close_connection = True
            return
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


@pytest.fixture
def sites(tmp_path):
    with Sites(tmp_path / "admin.sock") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(sites, tmp_path):
    def run(*arguments):
        done = subprocess.run([sys.executable, "-B", POSTERNCTL, "-s", tmp_path / "admin.sock", "sites", *map(str, arguments)],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        assert "Traceback" not in done.stderr, done.stderr
        return done
    return run


@pytest.fixture
def table(tmp_path):
    def table(*lines, head=HEAD):
        path = tmp_path / "edc.csv"
        path.write_text("\n".join([head, *lines]) + "\n")
        return path
    return table


def changes(sites):
    return [request for request in sites.requests if request[0] != "GET"]


# ---- list and export ----------------------------------------------------------------------------------------


def test_all_sites_are_listed_over_many_pages(sites, run):
    sites.page = 3
    for i in range(10):
        sites.set(f"site {i}", enrolled=i, withdrawn=i // 2, cap=20 if i else None)
    done = run()
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 12 and lines[0].split()[:4] == ["site", "status", "cap", "count"]
    assert re.fullmatch(r"site 9 +recruiting +20 +5 +0 +9 +0 +4 +0 +-", lines[10]) and lines[11].startswith("10 sites")
    assert [site["site"] for site in json.loads(run("--json").stdout)["sites"]] == [f"site {i}" for i in range(10)]


NAMES = ['07', 'Zürich', 'a,b', 'a "quoted" one', "a;b", "=1+1", " spaces ", "a/b?c#d%20"]


def test_what_is_exported_compares_equal_and_imports_as_nothing(sites, run, tmp_path):
    for i, name in enumerate(NAMES):
        sites.set(name, status=("recruiting", "paused", "closed")[i % 3], cap=None if i % 2 else 10, enrolled=i, screened=2 * i)
    path = tmp_path / "out.csv"
    assert run("export", path).returncode == 0
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    assert rows[0] == HEAD.split(",") and [row[0] for row in rows[1:]] == NAMES
    assert path.read_bytes() == run("export", "-").stdout.replace("\n", "\r\n").encode().replace(b"\r\r", b"\r")
    done = run("compare", path)
    assert done.returncode == 0 and "no difference in 8 lines" in done.stdout
    assert run("import", path).returncode == 0 and changes(sites) == []


def test_an_export_that_fails_leaves_the_old_file(sites, run, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    sites.hook = lambda method, target: "before"
    assert run("export", path).returncode == 1 and path.read_text() == "old"
    sites.hook = lambda method, target: None
    assert run("export", tmp_path / "no" / "file.csv").returncode == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["admin.sock", "out.csv"]


# ---- import -------------------------------------------------------------------------------------------------


def test_an_import_sets_rules_and_raises_and_lowers_with_its_reason(sites, run, table):
    sites.set("07", enrolled=5, screened=9, withdrawn=1).set("same", enrolled=2)
    path = table("07,paused,6,8,7,3,2", "same,recruiting,,0,2,0,0", "new,recruiting,4,1,1,0,0")
    done = run("import", path)
    assert done.returncode == 0, done
    assert "line 2: site 07: status recruiting → paused, cap none → 6, screened 9 → 8, enrolled 5 → 7" in done.stdout
    assert "3 lines, 2 of them changed a site" in done.stdout
    assert {k: sites.sites["07"][k] for k in ("status", "cap", *KINDS)} == dict(
        status="paused", cap=6, screened=8, enrolled=7, randomised=3, withdrawn=2)
    assert sites.sites["new"]["cap"] == 4 and all('"reason": "import edc.csv"' in body for _, _, body in changes(sites))
    assert run("compare", path).returncode == 0


def all_states():
    """Enough of what a site may be before and after."""
    for status in ("recruiting", "paused", "closed"):
        for cap in (None, 0, 2):
            for enrolled, withdrawn in ((0, 0), (2, 0), (2, 2), (5, 3)):
                for screened in (0, 3):
                    yield dict(status=status, cap=cap, screened=screened, enrolled=enrolled, randomised=enrolled, withdrawn=withdrawn)


def test_from_anything_to_anything_nothing_is_refused_on_the_way(sites, run, table):
    states = list(all_states())
    lines = []
    for i, before in enumerate(states):
        for k, after in enumerate(states[i % 3::3]):
            name = f"{i}-{k}"
            sites.set(name, **before)
            lines.append(",".join([name, *("" if value is None else str(value) for value in after.values())]))
    path = table(*lines)
    done = run("import", path)
    assert done.returncode == 0, done.stderr
    assert run("compare", path).returncode == 0


def test_columns_may_be_left_out_and_stand_in_any_order(sites, run, table):
    sites.set("07", status="paused", cap=9, screened=4, enrolled=4)
    assert run("import", table("3,07", head="screened,site")).returncode == 0
    assert sites.sites["07"] == {**sites.sites["07"], "status": "paused", "cap": 9, "screened": 3, "enrolled": 4}


def test_large_numbers_are_changed_in_steps(sites, run, table):
    sites.set("07")
    assert run("import", table("07,recruiting,,0,2500000,0,0")).returncode == 0
    assert sites.sites["07"]["enrolled"] == 2_500_000 and len(changes(sites)) == 3


def test_dry_run_says_it_and_does_nothing(sites, run, table):
    sites.set("07")
    done = run("import", "--dry-run", table("07,recruiting,,0,2,0,0"))
    assert done.returncode == 0 and "enrolled 0 → 2" in done.stdout and "would change" in done.stdout and changes(sites) == []


def test_spreadsheets_are_understood(sites, run, tmp_path):
    path = tmp_path / "edc.csv"
    path.write_bytes(b'\xef\xbb\xbfsite,status,cap,"screened",enrolled,randomised,withdrawn\r\n"Z\xc3\xbcrich, ""A""",paused,,1,0,0,0\r\n\r\n')
    assert run("import", path).returncode == 0
    assert sites.sites['Zürich, "A"']["screened"] == 1


@pytest.mark.parametrize("line, what", [
    ("07,open,,0,0,0,0", "status 'open'"), ("07,,,0,0,0,0", "status ''"), ("07,paused,-1,0,0,0,0", "cap '-1'"),
    ("07,paused,1.5,0,0,0,0", "cap '1.5'"), ("07,paused,,,0,0,0", "screened ''"), ("07,paused,,0,0,0,9007199254740992", "withdrawn"),
    ("07,paused,,0,٣,0,0", "enrolled"), ("07,paused,,0,0,0", "6 columns"), ("07,paused,,0,0,0,0,0", "8 columns"),
    (",paused,,0,0,0,0", "1 to 64 bytes"), ("x" * 65 + ",paused,,0,0,0,0", "1 to 64 bytes"), ("a\tb,paused,,0,0,0,0", "control"),
    ('"a\nb",paused,,0,0,0,0', "control"), ("good,paused,,0,0,0,0", "stands in line 2 already"), ("07,paused,,0,1,0,2", "below zero"),
    ('07,"paused"x,,0,0,0,0', "expected after"), ('07,"paused,,0,0,0,0', "unexpected end"),
])
def test_a_bad_line_is_refused_by_its_number_before_anything_is_changed(sites, run, table, line, what):
    done = run("import", table("good,recruiting,,0,1,0,0", '"also, good",recruiting,,0,1,0,0', line))
    assert done.returncode == 1 and "edc.csv, line 4: " in done.stderr and what in done.stderr, done.stderr
    assert sites.requests == []


def test_all_bad_lines_are_named_at_once(run, table):
    done = run("compare", table("07,open,,0,0,0,0", "08,paused,,0,0,0,0", "09,paused,x,0,0,0,0"))
    assert done.returncode == 1 and "line 2" in done.stderr and "line 4" in done.stderr and "line 3" not in done.stderr


@pytest.mark.parametrize("data, what", [
    (b"", "line 1"), (b"\n\n", "line 1"), (b"site;status\n", "line 1: the columns are"), (b"status,cap\n", "site must be there"),
    (b"site,site\n", "line 1"), (b"site,cap\n07,1\n\xff,2\n", "line 3: not UTF-8"), (b"site,cap\n07,1\n0\x008,2\n", "line 3"),
])
def test_a_bad_file_is_refused(sites, run, tmp_path, data, what):
    path = tmp_path / "edc.csv"
    path.write_bytes(data)
    for command in ("import", "compare"):
        done = run(command, path)
        assert done.returncode == 1 and what in done.stderr, done.stderr
    assert changes(sites) == []
    assert run("import", tmp_path / "none.csv").returncode == 1


def test_a_refusal_names_the_line_and_the_same_file_goes_on_from_there(sites, run, table):
    sites.set("1").set("2").set("3").study_cap = 3
    path = table("1,recruiting,,0,2,0,0", "2,recruiting,,0,2,0,0", "3,recruiting,,0,2,0,0")
    done = run("import", path)
    assert done.returncode == 1 and "line 3: postern refused POST /sites/2/enrolments: the study's cap is reached" in done.stderr
    assert [site["enrolled"] for site in sites.sites.values()] == [2, 0, 0]
    sites.study_cap = None
    assert run("import", path).returncode == 0
    assert [site["enrolled"] for site in sites.sites.values()] == [2, 2, 2]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_anywhere_counts_nothing_twice(sites, run, table, when):
    path = table("1,recruiting,5,2,3,1,1", "2,paused,,0,2,0,0")
    for at in range(40):
        sites.sites, sites.requests, seen = {}, [], []

        def hook(method, target):
            seen.append(method)
            return when if len(seen) == at + 1 and method != "GET" else None

        sites.hook = hook
        assert run("import", path).returncode == 0
        assert [(site["enrolled"], site["screened"]) for site in sites.sites.values()] == [(3, 2), (2, 0)]
        sites.keys = {}
        if at >= len(seen):
            return
    raise AssertionError("an import has no end")


def test_rules_that_are_sent_again_undo_nothing_that_others_said_meanwhile(sites, run, table):
    sites.set("07", cap=5)
    puts = []

    def hook(method, target):
        if method == "PUT":
            puts.append(target)
            if len(puts) == 2:
                sites.sites["07"].update(cap=3, revision=3)
        return "after" if len(puts) == 1 and method == "PUT" else None

    sites.hook = hook
    done = run("import", table("07,paused,9,0,0,0,0"))
    assert len(puts) == 2 and (sites.sites["07"]["status"], sites.sites["07"]["cap"]) == ("paused", 3)
    assert done.returncode == 1 and "changed by others meanwhile: line 2: site 07: cap is 3 here and 9 in the file" in done.stderr


def test_a_break_for_good_can_be_repeated(sites, run, table):
    path = table("1,recruiting,,2,3,1,1", "2,recruiting,,0,2,0,0")
    seen = []

    def hook(method, target):
        seen.append(method)
        return "before" if len(seen) > 4 else None

    sites.hook = hook
    done = run("import", path)
    assert done.returncode == 1 and "line 2" in done.stderr and "nothing is counted twice" in done.stderr
    sites.hook = lambda method, target: None
    assert run("import", path).returncode == 0 and run("compare", path).returncode == 0
    assert [site["enrolled"] for site in sites.sites.values()] == [3, 2]


def test_the_same_file_again_after_others_have_changed_the_site_counts_again(sites, run, table):
    path = table("1,recruiting,,0,3,0,0")
    for _ in range(3):
        sites.set("1", revision=sites.sites.get("1", {}).get("revision", 0) + 1)
        assert run("import", path).returncode == 0
        assert sites.sites["1"]["enrolled"] == 3


# ---- compare ------------------------------------------------------------------------------------------------


def test_drift_is_reported_line_by_line(sites, run, table):
    sites.set("07", cap=5, enrolled=7, screened=9).set("08", enrolled=1).set("extra", enrolled=4).set("empty")
    path = table("07,paused,,9,8,0,0", "08,recruiting,,0,1,0,0", "unknown,recruiting,,0,2,0,0", "nothing,recruiting,,0,0,0,0")
    done = run("compare", path)
    assert done.returncode == 1 and done.stdout.splitlines() == [
        "line 2: site 07: status is recruiting here and paused in the file", "line 2: site 07: cap is 5 here and none in the file",
        "line 2: site 07: enrolled is 7 here and 8 in the file", "line 4: site unknown: enrolled is 0 here and 2 in the file",
        "not in the file: site extra: status recruiting, cap none, screened 0, enrolled 4, randomised 0, withdrawn 0",
        "5 differences in 4 lines"]
    drifts = [json.loads(line) for line in run("compare", "--json", path).stdout.splitlines()]
    assert len(drifts) == 5 and drifts[2] == {"line": 2, "site": "07", "column": "enrolled", "here": 7, "file": 8}
    assert changes(sites) == []
