"""What the fixtures give that load settings; see conftest.py."""

from collections.abc import Callable

from floatingip.core.settings import Settings

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]
Overfull = Callable[[str, int], str]
