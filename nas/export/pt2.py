"""pt2, the file of torch.export: `torch.export.load(path).module()(images)`, without the code of this project."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas.export import Plan
from nas.export.programs import quiet


class Pt2:
    """The program itself. It refuses images outside of the sizes that it was made for."""

    name, suffix = "pt2", ".pt2"

    def check(self, plan: Plan) -> None:
        """Nothing is needed but torch."""

    def write(self, program: ExportedProgram, plan: Plan, path: Path) -> None:
        """See `Format.write`."""
        with quiet():
            torch.export.save(program, path)

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`."""
        with quiet():
            module = torch.export.load(path).module()
        return lambda images: cast(Tensor, module(images))

    def versions(self) -> dict[str, str]:
        """Of torch."""
        return {"torch": torch.__version__}
