"""A kind as the CustomResourceDefinition that the API server takes."""

import importlib.metadata

import yaml
from pydantic import JsonValue

from tenantry_crds.kinds import Column, Kind
from tenantry_crds.names import CATEGORY, GROUP, VERSION
from tenantry_crds.schema import Schema, crd_schema
from tenantry_crds.structural import NotStructural, refusals

HEADER = "# Written by `make render` from crds/src/tenantry_crds. Edit the models, not this file.\n"
# Helm removes what is in a chart's templates on uninstall, and with a CRD go all its objects. This keeps them.
KEEP: dict[str, JsonValue] = {"helm.sh/resource-policy": "keep"}

LABEL_RELEASE = "app.kubernetes.io/version"
DISTRIBUTION = "tenantry-crds"


def release() -> str:
    """Return the version of this package, which is that of the charts as well."""
    return importlib.metadata.version(DISTRIBUTION)


def definition(kind: Kind, *, keep: bool = False) -> Schema:
    """Return the CRD; NotStructural says what in the model cannot be in one."""
    schema = crd_schema(kind.model)
    wrong = tuple(refusals(schema))
    if wrong:
        raise NotStructural(kind.name, wrong)
    labels: dict[str, JsonValue] = {"app.kubernetes.io/part-of": "tenantry", LABEL_RELEASE: release()}
    metadata: dict[str, JsonValue] = {"name": kind.crd_name, "labels": labels}
    if keep:
        metadata["annotations"] = KEEP
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": GROUP,
            "names": _names(kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind, schema)],
        },
    }


def text(kind: Kind, *, keep: bool = False) -> str:
    """Return the CRD as YAML; with keep, as a chart's template."""
    body = yaml.safe_dump(definition(kind, keep=keep), sort_keys=False, width=120, allow_unicode=True)
    if "{{" in body:
        raise ValueError(f"{kind.name}: helm would read the braces in the CRD as a template")
    return HEADER + body


def _names(kind: Kind) -> dict[str, JsonValue]:
    return {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": [kind.short_name],
        "categories": [CATEGORY],
    }


def _version(kind: Kind, schema: Schema) -> dict[str, JsonValue]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "subresources": _subresources(kind),
        "schema": {"openAPIV3Schema": schema},
    }


def _column(column: Column) -> dict[str, JsonValue]:
    priority: dict[str, JsonValue] = {"priority": 1} if column.wide else {}
    shown: dict[str, JsonValue] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**shown, "description": column.description, **priority}


def _subresources(kind: Kind) -> dict[str, JsonValue]:
    if kind.scale is None:
        return {"status": {}}
    scale: dict[str, JsonValue] = {
        "specReplicasPath": kind.scale.spec_replicas,
        "statusReplicasPath": kind.scale.status_replicas,
        "labelSelectorPath": kind.scale.selector,
    }
    return {"status": {}, "scale": scale}
