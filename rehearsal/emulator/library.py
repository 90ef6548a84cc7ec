"""The account's documents of Systems Manager with their versions, and the way the service refuses things."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from rehearsal.emulator import documents
from rehearsal.emulator.context import Region


class Refused(Exception):
    """An error answer: AWS's code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Document:
    """A document with all its versions; `versions` maps the number to its content."""

    name: str
    kind: str = "Command"
    target_type: str | None = None
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    default: str = "1"
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def latest(self) -> str:
        """Number of the newest version."""
        return max(self.versions, key=int)

    def pick(self, version: str | None) -> dict[str, Any]:
        """The version meant by a number, ``$LATEST``, ``$DEFAULT`` or nothing."""
        number = {None: self.default, "": self.default, "$DEFAULT": self.default, "$LATEST": self.latest}.get(
            version, version
        )
        if number not in self.versions:
            raise Refused("InvalidDocumentVersion", f"Document {self.name} has no version {version}")
        return self.versions[str(number)]


class Library:
    """All documents of the account."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._documents: dict[str, Document] = {}
        self.create("AWS-RunShellScript", json.dumps(documents.RUN_SHELL_SCRIPT), "JSON")

    def find(self, name_or_arn: str) -> Document:
        """The document, or `Refused` InvalidDocument."""
        name = name_or_arn.rsplit("document/", 1)[-1]
        if name not in self._documents:
            raise Refused("InvalidDocument", f"Document with name {name} does not exist.")
        return self._documents[name]

    def all(self) -> list[Document]:
        """Every document."""
        return list(self._documents.values())

    def create(self, name: str, content: str, form: str, **options: Any) -> Document:
        """A new document; `Refused` when the name is taken or the content is none."""
        if name in self._documents:
            raise Refused("DocumentAlreadyExists", f"Document with same name {name} already exists")
        document = Document(name, options.get("kind") or "Command", options.get("target_type"))
        document.tags = dict(options.get("tags") or {})
        self._add(document, content, form)
        self._documents[name] = document
        return document

    def update(self, name: str, content: str, form: str) -> str:
        """Add a version and return its number; `Refused` when the content is the latest one's."""
        document = self.find(name)
        if document.versions[document.latest]["content"] == content:
            raise Refused(
                "DuplicateDocumentContent",
                "The content of the association document matches another document. "
                "Change the content of the document and try again.",
            )
        return self._add(document, content, form)

    def delete(self, name: str) -> None:
        """Forget the document with all versions."""
        self.find(name)
        del self._documents[name]

    def arn(self, name: str) -> str:
        """The document's ARN (AWS's own documents belong to no account)."""
        account = "" if name.startswith("AWS-") else self._region.account
        return f"arn:aws:ssm:{self._region.name}:{account}:document/{name}"

    def _add(self, document: Document, content: str, form: str) -> str:
        try:
            parsed = documents.read(content)
        except documents.InvalidDocumentContent as error:
            raise Refused("InvalidDocumentContent", str(error)) from error
        number = str(int(document.latest) + 1) if document.versions else "1"
        document.versions[number] = {
            "number": number,
            "content": content,
            "format": form,
            "parsed": parsed,
            "created": time.time(),
            "hash": hashlib.sha256(content.encode()).hexdigest(),
        }
        return number
