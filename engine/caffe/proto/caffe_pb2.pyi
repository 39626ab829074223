"""Messages and enums are made at import from schema.tsv: any name may be one."""

from typing import Any

def __getattr__(name: str) -> Any: ...
