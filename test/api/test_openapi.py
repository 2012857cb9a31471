# SPDX-License-Identifier: Apache-2.0
"""Is /api/openapi.json true? Every operation is driven by a scenario, and its answer held against
the document: status, media type, headers, schema. An operation without a scenario fails."""
import json
import os
import re

import jsonschema

from consoletest import eq, options
from scenarios import SCENARIOS, World

SOURCE = os.path.join(os.path.dirname(__file__), "../../console-api")


# Of the OpenAPI 3.1 document, as far as it is used here; nothing else may be in it.

def structure_object(required, /, **properties):
    return {"type": "object", "required": required.split(), "properties": properties,
            "additionalProperties": False}


def structure_map(values):
    return {"type": "object", "additionalProperties": values}


def or_reference(kind, schema):
    reference = structure_object("$ref", **{"$ref": {
        "type": "string", "pattern": f"^#/components/{kind}/[A-Za-z0-9._-]+$"}})
    return {"if": {"type": "object", "required": ["$ref"]}, "then": reference, "else": schema}


TEXT = {"type": "string", "minLength": 1}
SCHEMA = {"type": ["object", "boolean"]}
MEDIA = structure_map(structure_object("schema", schema=SCHEMA))
HEADER = structure_object("schema", description=TEXT, required={"type": "boolean"}, schema=SCHEMA)
PARAMETER = {
    **structure_object("name in schema", name=TEXT, description=TEXT, schema=SCHEMA,
                       required={"type": "boolean"}, **{"in": {"enum": ["query", "header", "path"]}}),
    "if": {"properties": {"in": {"const": "path"}}},
    "then": {"properties": {"required": {"const": True}}, "required": ["required"]}}
BODY = structure_object("content", content=MEDIA, required={"type": "boolean"}, description=TEXT)
RESPONSE = structure_object("description", description=TEXT, content=MEDIA,
                            headers=structure_map(or_reference("headers", HEADER)))
SECURITY = {"type": "array", "items": structure_map({"type": "array", "maxItems": 0})}
OPERATION = {**structure_object(
    "operationId summary tags parameters responses", operationId=TEXT, summary=TEXT,
    tags={"type": "array", "items": TEXT}, security=SECURITY, requestBody=BODY,
    parameters={"type": "array", "uniqueItems": True,
                "items": or_reference("parameters", PARAMETER)},
    responses={"type": "object", "minProperties": 1, "additionalProperties": False,
               "patternProperties": {"^[1-5][0-9]{2}$": or_reference("responses", RESPONSE)}}),
    "patternProperties": {"^x-": {}}}
STRUCTURE = structure_object(
    "openapi info paths components",
    openapi={"type": "string", "pattern": r"^3\.1\.\d+$"},
    info=structure_object("title version", title=TEXT, version=TEXT, description=TEXT,
                          license=structure_object("name", name=TEXT, identifier=TEXT)),
    servers={"type": "array", "items": structure_object("url", url=TEXT)},
    security=SECURITY,
    tags={"type": "array", "items": structure_object("name", name=TEXT, description=TEXT)},
    paths={"type": "object", "additionalProperties": False, "patternProperties": {
        "^/": structure_object("", get=OPERATION, post=OPERATION, patch=OPERATION,
                               delete=OPERATION)}},
    components=structure_object(
        "schemas", schemas=structure_map(SCHEMA), headers=structure_map(HEADER),
        parameters=structure_map(PARAMETER), responses=structure_map(RESPONSE),
        securitySchemes=structure_map({"type": "object", "required": ["type"], "properties": {
            "type": {"enum": ["apiKey", "http"]}}})))


class Document:
    def __init__(self, console):
        self.o = console.get("/api/openapi.json", key=None).want(200).json
        self.operations = {}
        for path, item in self.o["paths"].items():
            for method, operation in item.items():
                self.operations[operation["operationId"]] = (method.upper(), path, operation)

    def by_key(self):
        """(operation id, operation, least role) of what an API key is for."""
        for operation_id, (_, _, operation) in self.operations.items():
            if "x-van-role" in operation and operation_id in SCENARIOS:
                yield operation_id, operation, operation["x-van-role"]

    def resolve(self, o):
        while "$ref" in o:
            part = self.o
            for name in o["$ref"].removeprefix("#/").split("/"):
                part = part[name]
            o = part
        return o

    def check_schema(self, schema, value, what):
        whole = {"$schema": "https://json-schema.org/draft/2020-12/schema",
                 "components": self.o["components"], **schema}
        validator = jsonschema.Draft202012Validator(
            whole, format_checker=jsonschema.FormatChecker())
        errors = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(value)]
        assert not errors, f"{what}: {errors[:5]} in {json.dumps(value)[:600]}"

    def check_headers(self, response, answer, what):
        for name, header in response.get("headers", {}).items():
            text, schema = answer.headers[name], self.resolve(header)["schema"]
            assert text, f"{what}: no {name}"
            value = int(text) if schema.get("type") == "integer" else text
            self.check_schema(schema, value, f"{what}: {name}")

    def check_answer(self, operation_id, answer):
        """The status is declared, and the answer is what the document says of it."""
        operation = self.operations[operation_id][2]
        what = f"{operation_id} {answer.status}"
        assert str(answer.status) in operation["responses"], f"{what}: not declared"
        response = self.resolve(operation["responses"][str(answer.status)])
        content = response.get("content")
        if not content:
            self.check_headers(response, answer, what)
            eq(answer.body, b"", what)
            return
        media = answer.headers["Content-Type"].split(";")[0]
        assert media in content, f"{what}: {media}, want one of {list(content)}"
        if media.endswith("json"):
            self.check_schema(content[media]["schema"], answer.json, what)
        self.check_headers(response, answer, what)
        if "ETag" in response.get("headers", {}):
            eq(answer.headers["ETag"], f'"{answer.json["revision"]}"', what)


def test_the_document_is_openapi(c):
    d = Document(c)
    jsonschema.Draft202012Validator.check_schema(STRUCTURE)
    errors = [f"{list(e.absolute_path)}: {e.message[:300]}"
              for e in jsonschema.Draft202012Validator(STRUCTURE).iter_errors(d.o)]
    assert not errors, errors[:5]
    eq(len(d.operations), sum(len(item) for item in d.o["paths"].values()), "ids are unique")
    tags = {t["name"] for t in d.o["tags"]}
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(d.o)))
    for ref in used:
        kind, name = ref.split("/")
        assert name in d.o["components"][kind], f"{ref} is not there"
    for kind in ("schemas", "parameters", "responses", "headers"):
        for name in d.o["components"][kind]:
            # The data of events are described, but are no answer of their own.
            assert f"{kind}/{name}" in used or name == "WatchEvent", f"{kind}/{name} is not used"
    for name, schema in d.o["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        missing = set(schema.get("required", [])) - set(schema.get("properties", {}))
        assert not missing or name == "Netmap", f"{name}: {missing}"
    for operation_id, (method, path, operation) in d.operations.items():
        assert operation["summary"] and set(operation["tags"]) <= tags, operation_id
        parameters = [d.resolve(p) for p in operation["parameters"]]
        names = [(p["name"], p["in"]) for p in parameters]
        eq(len(names), len(set(names)), operation_id)
        eq({n for n, where in names if where == "path"}, set(re.findall(r"\{(\w+)\}", path)))
        assert method not in ("GET", "DELETE") or "requestBody" not in operation, operation_id


def test_everything_that_is_served_is_told(c):
    d = Document(c)
    with open(os.path.join(SOURCE, "routes.c"), encoding="utf-8") as f:
        served = set(re.findall(r'\{METHOD_(\w+), \w+, "([^"]+)"', f.read()))
    eq({(m, p) for m, p, _ in d.operations.values()}, served)
    assert len(served) > 30


def test_every_operation_does_what_it_says(c):
    d = Document(c)
    missing = set(d.operations) - set(SCENARIOS)
    assert not missing, f"operations without a scenario in scenarios.py: {sorted(missing)}"
    assert not set(SCENARIOS) - set(d.operations), "scenarios of no operation"
    seen = set()
    for operation_id, (method, path, operation) in d.operations.items():
        world = World(c)
        call = SCENARIOS[operation_id](world)
        answer = call.send(c)
        assert answer.status < 300, f"{operation_id}: {answer.status} {answer.body[:500]!r}"
        eq(call.method, method, operation_id)
        template = re.sub(r"\{\w+\}", r"[^/]+", path) + "$"
        assert re.match(template, call.path.split("?")[0]), f"{operation_id}: {call.path}"
        d.check_answer(operation_id, answer)
        if call.body is not None and not isinstance(call.body, bytes):
            body = d.resolve(operation["requestBody"])["content"]
            for media in body.values():
                d.check_schema(media["schema"], call.body, f"body of {operation_id}")
        seen.add(operation_id)
    eq(seen, set(d.operations))


def test_failures_are_as_declared(c):
    """What each operation can be brought to refuse: all are problems, of a declared status."""
    d = Document(c)
    seen = {}
    for operation_id, (method, path, operation) in d.operations.items():
        if operation_id not in SCENARIOS:
            continue  # told by the test above
        statuses = seen[operation_id] = set()
        world = World(c)
        call = SCENARIOS[operation_id](world)

        def refused(**changes):
            answer = call.but(**changes).send(c)
            assert answer.status >= 400, f"{operation_id} {changes}: {answer.status}"
            d.check_answer(operation_id, answer)
            eq(answer.json["status"], answer.status)
            eq(answer.json["request_id"], answer.headers["X-Request-Id"])
            statuses.add(answer.status)
            return answer.status
        eq(refused(path=call.path + ("&" if "?" in call.path else "?") + "colour=blue"), 400)
        if call.key is not None:
            # Wrong credentials are counted by address.
            eq(refused(key="wrong", source=f"127.0.4.{1 + len(seen) // 20}"), 401)
            eq(refused(headers={"VAN-Organization": "none"}), 404)
            if "{" in path:
                bad = re.sub(r"\{\w+\}", "none", path)
                assert refused(path=bad) in (404, 409), operation_id
            if method in ("PATCH", "DELETE"):
                eq(refused(headers={"If-Match": None}), 428)
                eq(refused(headers={"If-Match": '"999999999"'}), 412)
            elif method == "POST":
                eq(refused(body=b'{"unknown member": 1}'), 400)
                eq(refused(headers={"Idempotency-Key": ""}), 400)
            if "requestBody" in operation:
                eq(refused(headers={"Content-Type": "text/plain"}), 415)
                eq(refused(body=b"{"), 400)
                eq(refused(body=b" " * (operation.get("x-van-body-max", 262144) + 1)), 413)
                eq(refused(body=b'{"a":1,"a":2}'), 400)
            else:
                eq(refused(body=b'{"unknown member": 1}'), 400)
        answer = c.call("HEAD" if method == "GET" else method, "/nowhere")
        eq(answer.status, 404)


@options(config="rate_requests = 2;")
def test_429_is_as_declared(c):
    d = Document(c)
    answer = None
    for _ in range(40):
        answer = c.get("/api/v1/networks")
        if answer.status == 429:
            break
    d.check_answer("listNetworks", answer.want(429))


def test_lists_sort_and_filter_as_declared(c):
    d = Document(c)
    world = World(c)
    world.everything()
    for operation_id, (method, path, operation) in d.operations.items():
        parameters = {p["name"]: p for p in map(d.resolve, operation["parameters"])}
        if "cursor" not in parameters or operation_id not in SCENARIOS:
            continue
        base = SCENARIOS[operation_id](world)
        items = base.send(c).want(200).json["items"]
        assert items, f"{operation_id}: nothing to list"
        for name in parameters.get("sort", {"schema": {"enum": []}})["schema"]["enum"]:
            member = name.lstrip("-")
            seen, cursor = [], ""
            while cursor is not None:
                page = base.but(path=f"{base.path}?sort={name}&limit=2" +
                                (f"&cursor={cursor}" if cursor else "")).send(c).want(200).json
                seen += page["items"]
                cursor = page["next"]
                assert len(seen) <= 2 * len(items) + 10, f"{operation_id}: it does not end"
            eq(sorted(json.dumps(i.get("id"), sort_keys=True) for i in seen),
               sorted(json.dumps(i.get("id"), sort_keys=True) for i in items),
               f"{operation_id} sort={name}")
            values = [(i[member] is not None, i[member]) for i in seen]
            eq(values, sorted(values, reverse=name[0] == "-"), f"{operation_id} sort={name}")
        for name, parameter in parameters.items():
            if parameter["in"] != "query" or name in NO_FILTERS.get(operation_id, NO_FILTERS[""]):
                continue
            if name == "label":
                continue
            value = items[0][name]
            text = {True: "true", False: "false", None: "null"}.get(value, value) \
                if not isinstance(value, int) or isinstance(value, bool) else value
            got = base.but(path=f"{base.path}?{name}={text}").send(c).want(200).json["items"]
            eq([i for i in items if i[name] == value], got, f"{operation_id} ?{name}={text}")
            eq(base.but(path=f"{base.path}?{name}=no-such-thing").send(c).want(200)
               .json["items"], [], f"{operation_id} ?{name}=no-such-thing")


NO_FILTERS = {
    "": {"limit", "cursor", "sort", "organization", "since"},
    "listTokens": {"limit", "cursor", "sort", "organization", "network"},
}
