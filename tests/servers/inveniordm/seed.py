"""What a new InvenioRDM needs before it takes a draft: vocabularies, a place for files, users with tokens.

Run inside the environment of the server, after ``invenio db init create``. Prints ``{user: token}`` as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from flask_security.utils import hash_password
from invenio_access.permissions import system_identity
from invenio_accounts.proxies import current_datastore
from invenio_app.factory import create_api
from invenio_db import db
from invenio_files_rest.models import Location
from invenio_oauth2server.models import Token
from invenio_vocabularies.proxies import current_service as vocabularies

TYPES = {
    "resourcetypes": "rsrct",
    "licenses": "lic",
    "languages": "lng",
    "titletypes": "ttyp",
    "descriptiontypes": "dty",
    "datetypes": "dat",
    "relationtypes": "rlt",
    "creatorsroles": "crr",
    "contributorsroles": "cor",
    "removalreasons": "rem",
}
DATASET = {
    "id": "dataset",
    "type": "resourcetypes",
    "title": {"en": "Dataset"},
    "icon": "table",
    "tags": ["depositable", "linkable"],
    "props": {
        "csl": "dataset",
        "datacite_general": "Dataset",
        "datacite_type": "",
        "openaire_resourceType": "21",
        "openaire_type": "dataset",
        "eurepo": "",
        "schema.org": "https://schema.org/Dataset",
        "subtype": "",
        "type": "dataset",
    },
}
LICENSE = {
    "id": "cc-by-4.0",
    "type": "licenses",
    "title": {"en": "Creative Commons Attribution 4.0 International"},
    "props": {"url": "https://creativecommons.org/licenses/by/4.0/", "scheme": "spdx", "osi_approved": ""},
}


REMOVAL = {"id": "retracted", "type": "removalreasons", "title": {"en": "Retracted"}}


def seed(files: str) -> dict[str, str]:
    for name, pid in TYPES.items():
        vocabularies.create_type(system_identity, name, pid)
    db.session.commit()
    vocabularies.create(system_identity, DATASET)
    vocabularies.create(system_identity, LICENSE)
    vocabularies.create(system_identity, REMOVAL)
    db.session.add(Location(name="tests", uri=f"file://{files}", default=True))
    tokens = {}
    for name in ("ann", "bob"):
        email = f"{name}@example.org"
        user = current_datastore.create_user(email=email, password=hash_password("no secret"), active=True)
        db.session.commit()
        current_datastore.activate_user(user)
        tokens[name] = Token.create_personal("tests", user.id, scopes=[], is_internal=False).access_token
        db.session.commit()
    return tokens


if __name__ == "__main__":
    with create_api().app_context():
        json.dump(seed(os.environ["DATAFERRY_RDM_FILES"]), sys.stdout)
