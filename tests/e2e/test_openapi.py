"""docs/openapi.yaml against the running program: each status that it names is given, and what is given is as it says.

Each case below is one request. Together they are exactly what the file documents: every path, method, status and name of a refusal.
"""
import contextlib
import json
import re
import uuid

import pytest
import yaml

from gateway import TREE, Gateway
from wire import Response, request_bytes, upgrade_bytes

API = yaml.safe_load((TREE / "docs" / "openapi.yaml").read_text())
ROUTES = [{"path": "/count", "serve": "count"}, {"prefix": "/sites", "serve": "count"}]
METHODS = ("get", "put", "post", "delete")

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


# ---- the file --------------------------------------------------------------------------------------


def resolved(node):
    while "$ref" in node:
        target = API
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def documented():
    """{(path, method, status): response}"""
    return {(path, method, int(status)): resolved(response)
            for path, item in API["paths"].items() for method in METHODS if method in item
            for status, response in item[method]["responses"].items()}


# Keywords that say nothing about what is right.
SILENT = {"description", "default"}
TYPES = {"object": dict, "array": list, "string": str, "null": type(None)}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def faults(schema, value, at="$"):
    """What of the value is not as the schema has it. A keyword that is not understood here is an error and not passed over."""
    schema = resolved(schema)
    unknown = schema.keys() - SILENT - {"type", "required", "properties", "additionalProperties", "items", "enum", "pattern", "minimum",
                                        "maximum", "minLength", "maxLength", "oneOf"}
    assert not unknown, f"{at}: this test does not know {unknown}"
    if "oneOf" in schema:
        right = [part for part in schema["oneOf"] if not list(faults(part, value, at))]
        if len(right) != 1:
            yield f"{at}: {value!r} is {len(right)} of {schema['oneOf']}"
        return
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(is_type(value, name) for name in names):
        yield f"{at}: {value!r} is no {names}"
        return
    if isinstance(value, dict):
        assert schema.get("additionalProperties") is False, f"{at}: the schema lets anything in"
        for name in schema.get("required", []):
            if name not in value:
                yield f"{at}: {name} is missing"
        for name, member in value.items():
            if name in schema["properties"]:
                yield from faults(schema["properties"][name], member, f"{at}.{name}")
            else:
                yield f"{at}: {name} is not documented"
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from faults(schema["items"], item, f"{at}[{index}]")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: {value!r} does not match {schema['pattern']}"
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{at}: {value!r} has a wrong length"
    if is_type(value, "integer") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"


# ---- gateways ----------------------------------------------------------------------------------------

GATEWAYS = {
    "usual": {},
    "set up": {"count": {"new_sites": False}},
    "study": {},                     # whose study's cap is reached, and stays so
    "lowered": {},
    "keys": {"limits": {"idempotency_keys_max": 1}},
    "reserved": {"limits": {"reservations_max": 1}},
    "full": {"limits": {"sites_max": 1}},
}
BEFORE = {
    "study": [("PUT", "/sites", {"cap": 2}), ("POST", "/sites/first/enrolments", {"by": 2})],
    "keys": [("POST", "/sites/first/enrolments", {}, [("Idempotency-Key", "the first")])],
    "reserved": [("POST", "/sites/first/reservations", {})],
    "full": [("POST", "/sites/first/enrolments", {})],
}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory, certificates):
    running = {}
    with contextlib.ExitStack() as stack:
        def one(name):
            if name not in running:
                gateway = Gateway(tmp_path_factory.mktemp("openapi"), certificates, routes=ROUTES, cores=1, **GATEWAYS[name])
                running[name] = stack.enter_context(gateway.serving())
                for request in BEFORE.get(name, []):
                    assert ask(gateway, *request).status in (200, 201), request
            return running[name]
        yield one


def ask(gateway, method, target, body=None, fields=()):
    fields = list(fields)
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        fields = [JSON] + fields
    wire = gateway.connect()
    if ("Upgrade", "websocket") in fields:
        wire.send(upgrade_bytes(target, [field for field in fields if field[0] != "Upgrade"]))
    else:
        wire.send(request_bytes(method, target, body, fields))
    answer = Response(wire.read_until(b"\r\n\r\n"))
    endless = answer.status == 101 or answer.get("Content-Type") == "text/event-stream"
    wire.read_body(answer, bodiless=endless or answer.status == 304)
    wire.reset() if endless else wire.close()
    return answer


# ---- cases -------------------------------------------------------------------------------------------

CASES = []


def case(path, method, status, error=None, target=None, body=None, fields=(), before=(), on="usual"):
    """`{site}` is a new site in each case, `{id}` what the request before gave as its id."""
    CASES.append((path, method, status, error, target or path, body, fields, before, on))


def form(path, status, error=None, body=b"siteId={site}", fields=(), **more):
    case(path, "post", status, error, body=body, fields=[FORM, *fields], **more)


SITE = "/sites/{site}"
KEY = ("Idempotency-Key", "{site}")
LONG = b"{" + b" " * 4095 + b"}"
WRONG = {"fields": [("Content-Type", "text/plain")], "body": b"{}"}
PUT = [("PUT", SITE, {"status": "recruiting"})]
CLOSED, PAUSED, FULL = ([("PUT", SITE, rules)] for rules in ({"status": "closed"}, {"status": "paused"}, {"cap": 0}))

case("/count", "get", 200, target="/count?siteId={site}")
for error, query in (("site_missing", ""), ("site_name_bad", "?siteId="), ("http_form_escape_bad", "?siteId=%zz"), ("http_form_nul", "?siteId=%00"),
                     ("http_form_name_several", "?siteId=a&siteId=b")):
    case("/count", "get", 400, error, target="/count" + query)
form("/count", 200)
for error, text in (("site_missing", b"a=b"), ("site_name_bad", b"siteId=%ff"), ("change_reason_bad", b"siteId={site}&reason=%01"),
                    ("http_form_escape_bad", b"siteId=%"), ("http_form_nul", b"siteId=%00"), ("http_form_name_several", b"siteId=a&siteId=a")):
    form("/count", 400, error, text)
form("/count", 400, "idempotency_key_bad", fields=[("Idempotency-Key", '"')])
form("/count", 404, "site_unknown", on="set up")
form("/count", 409, "site_cap_reached", before=FULL)
form("/count", 409, "study_cap_reached", on="study")
form("/count", 409, "site_paused", before=PAUSED)
form("/count", 409, "site_closed", before=CLOSED)
form("/count", 413, "form_too_large", b"siteId={site}&a=" + b"x" * 4096)
case("/count", "post", 415, "form_expected", body={"siteId": "a"})
form("/count", 422, "idempotency_key_reused", fields=[KEY], before=[("POST", "/count", b"siteId=other", [FORM, KEY])])
form("/count", 503, "idempotency_keys_full", fields=[KEY], on="keys")
form("/count", 507, "sites_full", on="full")

case("/sites", "get", 200, before=PUT)
for error, query in (("sites_limit_bad", "limit=0"), ("sites_cursor_bad", "after=1"), ("http_form_escape_bad", "after=%"), ("http_form_nul", "after=%00"),
                     ("http_form_name_several", "limit=1&limit=1")):
    case("/sites", "get", 400, error, target="/sites?" + query)
case("/sites", "put", 200, body={"cap": None, "reason": "none is wanted"})
case("/sites", "put", 400, "json_bad", body={"cap": "1"})
case("/sites", "put", 400, "condition_bad", body={"cap": 1}, fields=[("If-Match", '"1"')])
case("/sites", "put", 413, "json_too_large", body=LONG, fields=[JSON])
case("/sites", "put", 415, "json_expected", **WRONG)

SOCKET = ("Upgrade", "websocket")
STREAM = ("Accept", "text/event-stream")
case("/sites/events", "get", 101, fields=[SOCKET])
case("/sites/events", "get", 200, fields=[STREAM])
for error, query in (("site_name_bad", "site="), ("http_form_escape_bad", "site=%"), ("http_form_nul", "site=%00"), ("http_form_name_several", "site=a&site=a")):
    case("/sites/events", "get", 400, error, target="/sites/events?" + query, fields=[STREAM])
case("/sites/events", "get", 403, "ws_accept_origin", fields=[SOCKET, ("Origin", "https://elsewhere.example")])
case("/sites/events", "get", 426, "websocket_expected")
case("/sites/events", "get", 426, "ws_accept_version", fields=[SOCKET, ("Sec-WebSocket-Version", "12")])

BAD_SITE = "/sites/%FF"
case(SITE, "get", 200, before=PUT)
case(SITE, "get", 304, before=PUT, fields=[("If-None-Match", 'W/"1"')])
case(SITE, "get", 400, "site_name_bad", target=BAD_SITE)
case(SITE, "get", 400, "condition_bad", fields=[("If-None-Match", "1")])
case(SITE, "get", 404, "site_unknown")
case(SITE, "get", 412, "site_changed", before=PUT, fields=[("If-Match", '"999"')])
case(SITE, "put", 200, body={"cap": 7}, before=PUT)
case(SITE, "put", 201, body={"cap": None})
case(SITE, "put", 400, "json_bad", body={})
case(SITE, "put", 400, "site_name_bad", target=BAD_SITE, body={"cap": 1})
case(SITE, "put", 400, "condition_bad", body={"cap": 1}, fields=[("If-Match", "1")])
case(SITE, "put", 412, "site_changed", body={"cap": 1}, before=PUT, fields=[("If-Match", '"999"')])
case(SITE, "put", 413, "json_too_large", body=LONG, fields=[JSON])
case(SITE, "put", 415, "json_expected", **WRONG)
case(SITE, "put", 507, "sites_full", body={"cap": 1}, on="full")
for path in ("/sites", SITE):
    case(path, "put", 400, "idempotency_key_bad", body={"cap": 1}, fields=[("Idempotency-Key", "")])
    case(path, "put", 422, "idempotency_key_reused", body={"cap": 1}, fields=[KEY], before=[("POST", "/count", b"siteId=other", [FORM, KEY])])
    case(path, "put", 503, "idempotency_keys_full", body={"cap": 1}, fields=[KEY], on="keys")


def changes(below, method="post", target=None, before=(), needs_site=False, room=("site_cap_reached", "study_cap_reached")):
    """What all changes of one site have in common."""
    path = SITE + below
    target = target or path
    for error, more in (("json_bad", {"body": {"cap": 1}}), ("idempotency_key_bad", {"fields": [("Idempotency-Key", "")]}),
                        ("condition_bad", {"fields": [("If-Match", "*")]})):
        case(path, method, 400, error, target=target, before=before, **more)
    case(path, method, 400, "site_name_bad", target=target.replace(SITE, BAD_SITE).replace("{id}", "0" * 16))
    case(path, method, 413, "json_too_large", target=target, body=LONG, fields=[JSON], before=before)
    case(path, method, 415, "json_expected", target=target, before=before, **WRONG)
    case(path, method, 422, "idempotency_key_reused", target=target, fields=[KEY],
         before=[*before, ("POST", "/count", b"siteId=other", [FORM, KEY])])
    case(path, method, 503, "idempotency_keys_full", target=target, fields=[KEY], on="keys", before=before)
    if needs_site:
        return
    case(path, method, 404, "site_unknown", target=target, on="set up")
    # Nobody withdraws where nobody is enrolled, so no site is founded by that.
    if below != "/withdrawals":
        case(path, method, 507, "sites_full", target=target, on="full")


for below in ("/screenings", "/enrolments", "/randomisations", "/withdrawals"):
    enrolled = [("POST", SITE + "/enrolments", {"by": 3})]
    changes(below)
    case(SITE + below, "post", 200, before=enrolled, body={"by": 2, "reason": "seen"})
    case(SITE + below, "post", 409, "count_below_zero", body={"by": -1})
    case(SITE + below, "post", 409, "site_closed", before=CLOSED)
case(SITE + "/screenings", "post", 409, "site_paused", before=PAUSED)
case(SITE + "/enrolments", "post", 409, "site_paused", before=PAUSED)
case(SITE + "/enrolments", "post", 409, "site_cap_reached", before=FULL)
case(SITE + "/enrolments", "post", 409, "study_cap_reached", on="study")
WITHDRAWN = [("POST", SITE + "/enrolments", {}), ("POST", SITE + "/withdrawals", {})]
case(SITE + "/withdrawals", "post", 409, "site_cap_reached", body={"by": -1}, before=WITHDRAWN + FULL)
case(SITE + "/withdrawals", "post", 409, "study_cap_reached", body={"by": -1}, on="study", before=[
    ("POST", "/sites/first/withdrawals", {}), ("POST", SITE + "/enrolments", {}), ("POST", SITE + "/withdrawals", {}),
    ("POST", "/sites/first/withdrawals", {"by": -1})])

RESERVE = SITE + "/reservations"
RESERVED = [("POST", RESERVE, {})]
changes("/reservations")
case(RESERVE, "post", 201, body={"by": 2, "ttl": "90s", "reason": "on the way"})
case(RESERVE, "post", 409, "site_cap_reached", before=FULL)
case(RESERVE, "post", 409, "study_cap_reached", on="study")
case(RESERVE, "post", 409, "site_paused", before=PAUSED)
case(RESERVE, "post", 409, "site_closed", before=CLOSED)
case(RESERVE, "post", 503, "reservations_full", on="reserved")

ONE = RESERVE + "/{id}"
for path, method in ((ONE, "delete"), (ONE + "/confirm", "post")):
    below = path.removeprefix(SITE)
    case(path, method, 200, before=RESERVED, body={"reason": "settled"})
    case(path, method, 404, "reservation_unknown", target=path.replace("{id}", "0123456789abcdef"), before=PUT)
    changes(below, method, before=RESERVED, needs_site=True)
CONFIRM = ONE + "/confirm"
case(CONFIRM, "post", 409, "site_cap_reached", before=RESERVED + FULL)
case(CONFIRM, "post", 409, "site_closed", before=RESERVED + CLOSED)
case(CONFIRM, "post", 409, "site_paused", before=RESERVED + PAUSED)
case(CONFIRM, "post", 409, "study_cap_reached", on="lowered", before=RESERVED + [("PUT", "/sites", {"cap": 0})])


# ---- the test ------------------------------------------------------------------------------------------


def test_openapi_cases_are_all_that_is_documented():
    asked = {(path, method, status) for path, method, status, *_ in CASES}
    assert asked == documented().keys()
    for key, response in documented().items():
        named = set(response.get("x-errors", []))
        given = {error for path, method, status, error, *_ in CASES if (path, method, status) == key and error}
        assert given == named, f"{key}: asked for {given}, documented are {named}"


def fill(value, words):
    if isinstance(value, bytes):
        return fill(value.decode("latin-1"), words).encode("latin-1")
    if isinstance(value, str):
        return re.sub(r"\{(site|id)\}", lambda match: words[match[1]], value)
    return value


def request_of(words, method, target, body=None, fields=()):
    return method, fill(target, words), fill(body, words), [(name, fill(value, words)) for name, value in fields]


@pytest.mark.parametrize("path, method, status, error, target, body, fields, before, on", CASES,
                         ids=[f"{method} {path} {status} {error or 'done'}" for path, method, status, error, *_ in CASES])
def test_openapi_what_is_documented_is_given(gateways, path, method, status, error, target, body, fields, before, on):
    gateway = gateways(on)
    words = {"site": f"s-{uuid.uuid4().hex[:12]}", "id": None}
    for request in before:
        answer = ask(gateway, *request_of(words, *request))
        assert answer.status in (200, 201), (request, answer)
        words["id"] = json.loads(answer.body).get("id", words["id"])
    answer = ask(gateway, *request_of(words, method.upper(), target, body, fields))
    assert answer.status == status, answer
    response = documented()[path, method, status]
    assert_as_documented(response, answer)
    if error:
        assert json.loads(answer.body)["error"] == error


def assert_as_documented(response, answer):
    for name, header in response.get("headers", {}).items():
        header, value = resolved(header), answer.get(name)
        assert value is not None or not header["required"], f"{name} is missing: {answer}"
        assert not list(faults(header["schema"], value)), (name, value)
    if "content" not in response:
        assert answer.body == b""
        return
    (kind, content), = response["content"].items()
    assert answer.get("Content-Type") == kind
    if kind == "application/json":
        assert not list(faults(content["schema"], json.loads(answer.body))), answer.body


def test_openapi_events_are_as_documented(gateways):
    gateway = gateways("usual")
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/sites/events", fields=[STREAM]))
    assert b" 200 " in wire.read_until(b"\r\n\r\n")
    assert ask(gateway, "PUT", "/sites", {"cap": 1000000}).status == 200
    assert ask(gateway, "PUT", "/sites/watched", {"cap": 7, "status": "paused"}).status in (200, 201)
    seen = set()
    while seen != {"site", "study"}:
        data = json.loads(wire.read_until(b"\n\n").partition(b"data: ")[2])
        assert not list(faults(API["components"]["schemas"]["Event"], data)), data
        seen.add(data["type"])
    wire.reset()
    assert ask(gateway, "PUT", "/sites", {"cap": None}).status == 200
