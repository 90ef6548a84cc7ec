"""What a handler can reach, read from the source: the AWS calls and the environment variables.

A name that is mentioned counts as used: a function in a table, a callback, a method of a class that is named.
So the answer can be too much, never too little, as long as calls have the literal form
`client("service").operation(…)` (a test sees to that).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

from tests.contract.shipped import FUNCTIONS

Node = tuple[str, str]  # module, name at its top level

# Operations whose permission has another name.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html#API_HeadObject_RequestSyntax
RENAMED = {
    ("s3", "head_object"): "s3:GetObject",
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    ("s3", "list_object_versions"): "s3:ListBucketVersions",
    ("s3", "list_multipart_uploads"): "s3:ListBucketMultipartUploads",
    ("s3", "delete_objects"): "s3:DeleteObject",
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html
    ("s3", "get_public_access_block"): "s3:GetBucketPublicAccessBlock",
}
# Services whose actions do not begin as their requests are signed.
PREFIXES = {"monitoring": "cloudwatch"}

# What AWS asks for besides the operation's own permission, when a keyword is given.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonrds.html
ALONG = {
    ("rds", "create_db_snapshot", "Tags"): {"rds:AddTagsToResource"},
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html: s3:DeleteObject always, the
    # other for versions.
    ("s3", "delete_objects", "Delete"): {"s3:DeleteObjectVersion"},
    # As the resource type's own handler has them for it (its schema); the tags are the instance's.
    ("rds", "delete_db_instance", "FinalDBSnapshotIdentifier"): {
        "rds:AddTagsToResource",
        "rds:CreateDBSnapshot",
    },
}


@dataclass
class Module:
    """A source file: what it defines, and what its names stand for when they come from elsewhere."""

    tree: ast.Module
    defined: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, Node] = field(default_factory=dict)  # alias → (module, "") or (module, name)


@dataclass(frozen=True)
class Call:
    """One `client("service").operation(…)`, with the names of its keyword arguments."""

    service: str
    operation: str
    keywords: frozenset[str]

    def actions(self) -> set[str]:
        """The IAM actions that the call needs."""
        needed = {RENAMED.get((self.service, self.operation)) or action(self.service, self.operation)}
        if "RoleARN" in self.keywords:
            needed.add("iam:PassRole")
        for (service, operation, keyword), also in ALONG.items():
            if (service, operation) == (self.service, self.operation) and keyword in self.keywords:
                needed |= also
        return needed


@cache
def modules() -> dict[str, Module]:
    """Every module of functions/, by its dotted name."""
    found = {}
    for path in sorted(FUNCTIONS.rglob("*.py")):
        relative = path.relative_to(FUNCTIONS).with_suffix("")
        name = ".".join(relative.parts).removesuffix(".__init__")
        found[name] = _module(path)
    return found


def _module(path: Path) -> Module:
    module = Module(ast.parse(path.read_text()))
    for statement in module.tree.body:
        for name in _defines(statement):
            module.defined[name] = statement
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                module.imported[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module.imported[alias.asname or alias.name] = (alias.name, "")
    return module


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def reached(handler: str) -> list[ast.AST]:
    """The pieces of source that `functions/<handler>/app.py`'s handler can come to."""
    seen: set[Node] = set()
    ahead: list[Node] = [(f"{handler}.app", "handler")]
    pieces = []
    while ahead:
        node = ahead.pop()
        module = modules().get(node[0])
        if node in seen or module is None or node[1] not in module.defined:
            continue
        seen.add(node)
        pieces.append(module.defined[node[1]])
        ahead += _mentioned(node[0], module, module.defined[node[1]])
    return pieces


def _mentioned(name: str, module: Module, piece: ast.AST) -> Iterator[Node]:
    for node in ast.walk(piece):
        if isinstance(node, ast.Name):
            if node.id in module.imported:
                yield module.imported[node.id]
            else:
                yield (name, node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            origin, member = module.imported.get(node.value.id, ("", ""))
            yield (f"{origin}.{member}".rstrip("."), node.attr)


def calls(pieces: list[ast.AST]) -> set[Call]:
    """The AWS calls in pieces of source."""
    return {call for piece in pieces for node in ast.walk(piece) for call in _call(node)}


def _call(node: ast.AST) -> Iterator[Call]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return
    service = _service(node.func.value)
    if service is None:
        return
    operation = node.func.attr
    if operation in ("get_paginator", "get_waiter"):
        (argument,) = node.args
        assert isinstance(argument, ast.Constant)
        operation = str(argument.value)
    yield Call(service, operation, frozenset(keyword.arg for keyword in node.keywords if keyword.arg))


def _service(node: ast.AST) -> str | None:
    """`x` of `client("x")`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "client":
        (argument,) = node.args
        if isinstance(argument, ast.Constant):
            return str(argument.value)
    return None


def clients_not_used_at_once() -> list[str]:
    """Every `client(…)` that is not directly followed by its operation: what the above would miss."""
    found = []
    for name, module in modules().items():
        every = [n for n in ast.walk(module.tree) if isinstance(n, ast.Call) and _is_client(n)]
        at_once = [
            n.func.value
            for n in ast.walk(module.tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and _service(n.func.value)
        ]
        found += [f"{name}:{node.lineno}" for node in every if node not in at_once]
    return found


def _is_client(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "client"


def action(service: str, operation: str) -> str:
    """The IAM action of an operation of boto3, as botocore names both: `states:DescribeExecution`."""
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name): name for name in model.operation_names}
    return f"{PREFIXES.get(model.signing_name, model.signing_name)}:{names[operation]}"


def environment(pieces: list[ast.AST]) -> set[str]:
    """Names of the environment variables that pieces of source read."""
    found = set()
    for piece in pieces:
        for node in ast.walk(piece):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                found.add(ast.literal_eval(node.slice))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                found.add(ast.literal_eval(node.args[0]))
    return found
