"""Whether values fit schemas of an OpenAPI document, to the letter: a field that the document does not have is a fault, too.

Reads {"document": ..., "values": [{"what": ..., "schema": ..., "value": ...}]}, and prints a line for each fault.
"""

import json
import sys

from jsonschema import Draft202012Validator

given = json.load(sys.stdin)
components = given["document"]["components"]
schemas = components["schemas"]
# One that is a part of another does not know the fields of that one.
parts = {part.get("$ref") for schema in schemas.values() for part in schema.get("allOf", [])}
for name, schema in schemas.items():
    Draft202012Validator.check_schema(schema)
    if f"#/components/schemas/{name}" not in parts and ("properties" in schema or "allOf" in schema):
        schema["unevaluatedProperties"] = False
for value in given["values"]:
    validator = Draft202012Validator({**value["schema"], "components": components})
    for error in validator.iter_errors(value["value"]):
        print(f"{value['what']}: {error.json_path}: {error.message}")
