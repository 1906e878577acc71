"""find-available-ips.py as a module: its name is none that `import` takes."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).parents[1] / "find-available-ips.py"


@cache
def script() -> ModuleType:
    """The one of this process."""
    spec = importlib.util.spec_from_file_location("find_available_ips", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
