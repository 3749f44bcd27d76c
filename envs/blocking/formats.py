"""Files of blocking job shops: our JSON, or any file of a job shop, then without shutdowns."""

import reprlib
from pathlib import Path

from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.core.errors import InstanceError
from makespan.envs.core.files import parse_json, read_text
from makespan.envs.jobshop import formats
from makespan.envs.jobshop.instance import JobShopInstance


def read_instance(path: str | Path) -> BlockingInstance:
    """Read an instance file; its name is the file's unless the file (JSON) holds one.

    Raises:
        InstanceError: naming the file, the line or field, what was found and what was expected.
    """
    path = Path(path)
    text = read_text(path, InstanceError)
    format = formats.detect_format(text, path.suffix)
    try:
        data = parse_json(text, InstanceError) if format == "json" else None
        if isinstance(data, dict) and data.get("kind") == BlockingInstance.kind:
            return BlockingInstance.from_dict({"name": path.stem, **data})
        if isinstance(data, dict) and data.get("kind") != JobShopInstance.kind:
            raise InstanceError(
                f"field 'kind': found {reprlib.repr(data.get('kind'))}, expected "
                f"{BlockingInstance.kind!r} or {JobShopInstance.kind!r}"
            )
        return BlockingInstance.from_shop(formats.parse_instance(text, format, path.stem))
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None
