"""Settings of buckets in stacks that the emulator leaves out: encryption, ownership, life cycle, versioning
that is switched off. They are put through S3's own API, so that a bucket has what its template says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import Handler, wrap_type

RELIES_ON = (
    ("services.s3", "_buckets"),
    ("services.s3", "_bucket_versioning"),
    ("services.s3", "_put_bucket_encryption"),
    ("services.s3", "_delete_bucket_encryption"),
    ("services.s3", "_put_bucket_ownership_controls"),
    ("services.s3", "_delete_bucket_ownership_controls"),
    ("services.s3", "_put_bucket_lifecycle"),
    ("services.s3", "_delete_bucket_lifecycle"),
)

TYPE = "AWS::S3::Bucket"
APPLIED = "ApplyServerSideEncryptionByDefault"


def install(_region: Region) -> None:
    """Apply them whenever a stack makes or changes a bucket."""
    wrap_type(TYPE, "create", _created)
    wrap_type(TYPE, "update", _updated)


def _created(original: Handler) -> Handler:
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        name, attributes = original(logical_id, props, stack_name)
        _apply(name, {}, props)
        return name, attributes

    return create


def _updated(original: Handler) -> Handler:
    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str) -> Any:
        name, attributes = original(physical_id, old, new, stack_name)
        _apply(name, old if name == physical_id else {}, new)
        return name, attributes

    return update


def _apply(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    s3 = ministack("services.s3")
    for prop, (to_xml, setting) in _SETTINGS.items():
        if prop in new:
            answer = getattr(s3, f"_put_bucket_{setting}")(name, to_xml(new[prop]).encode())
            if answer[0] >= 400:
                raise ValueError(f"{prop}: {answer[2]!r}")
        elif prop in old:
            getattr(s3, f"_delete_bucket_{setting}")(name)
    wanted = (new.get("VersioningConfiguration") or {}).get("Status")
    if wanted == "Suspended" or (wanted is None and s3._bucket_versioning.get(name) == "Enabled"):
        s3._bucket_versioning[name] = "Suspended"


def encryption(prop: Mapping[str, Any]) -> str:
    """BucketEncryption as PutBucketEncryption takes it."""
    rules = ""
    for rule in prop["ServerSideEncryptionConfiguration"]:
        rules += f"<Rule>{_members({APPLIED: rule['ServerSideEncryptionByDefault']})}</Rule>"
    return f"<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"


def ownership(prop: Mapping[str, Any]) -> str:
    """OwnershipControls as PutBucketOwnershipControls takes them."""
    rules = "".join(f"<Rule>{_members(rule)}</Rule>" for rule in prop["Rules"])
    return f"<OwnershipControls>{rules}</OwnershipControls>"


def lifecycle(prop: Mapping[str, Any]) -> str:
    """LifecycleConfiguration as PutBucketLifecycleConfiguration takes it."""
    rules = ""
    for rule in prop["Rules"]:
        named = {"ID" if name == "Id" else name: value for name, value in rule.items() if name != "Prefix"}
        prefix = f"<Filter><Prefix>{escape(str(rule.get('Prefix', '')))}</Prefix></Filter>"
        rules += f"<Rule>{prefix}{_members(named)}</Rule>"
    return f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>"


def _members(values: Mapping[str, Any]) -> str:
    """Elements of the names of the members, which CloudFormation and S3 share."""
    return "".join(
        f"<{name}>{_members(value) if isinstance(value, Mapping) else escape(str(value))}</{name}>"
        for name, value in values.items()
    )


_SETTINGS: Mapping[str, tuple[Callable[[Mapping[str, Any]], str], str]] = {
    "BucketEncryption": (encryption, "encryption"),
    "OwnershipControls": (ownership, "ownership_controls"),
    "LifecycleConfiguration": (lifecycle, "lifecycle"),
}
"""Property → how it is put, and the name of the setting in the emulator's functions."""
