"""The catalogue with the form in which it travels: compressed JSON in parts that fit into a message."""

from __future__ import annotations

import base64
import uuid

from skybus.bus.api.internal import CatalogBytes
from skybus.bus.errors import NotFoundError
from skybus.bus.packing import pack
from skybus.worker.environment.catalog import Catalog
from skybus.worker.environment.documents import to_json

PART_BYTES = 512 * 1024


class PackedCatalog:
    """A catalogue under a new uid."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.uid = str(uuid.uuid4())
        lists = {"plans": catalog.plans, "devices": catalog.devices, "skipped": catalog.skipped}
        self._data = pack(to_json(lists))

    def part(self, number: int) -> CatalogBytes:
        """Return one part; the first has the number 0.

        Raises:
            NotFoundError: there are not so many.
        """
        parts = max(1, -(-len(self._data) // PART_BYTES))
        if not 0 <= number < parts:
            raise NotFoundError(f"The catalogue has {parts} parts, there is no part {number}")
        data = self._data[number * PART_BYTES : (number + 1) * PART_BYTES]
        return CatalogBytes(catalog_uid=self.uid, parts=parts, data=base64.b64encode(data).decode())
