"""PyTorch, operator by operator, on the form for inference."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.runtimes import Setting
from nas.runtimes.cuda import graphed
from nas.runtimes.forms import check_device, folded, placed, placed_inputs, set_threads


class Eager:
    """PyTorch as it is, on the form for inference. It has no optimiser of its own, so all that the form folds is gained."""

    name = "eager"

    def settled(self, setting: Setting) -> Setting:
        """The setting as given.

        Raises:
            InputError: there is no such device.
        """
        check_device(setting.device)
        return setting

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...], setting: Setting) -> Callable[[], object]:
        """See `Runtime.prepare`. On a GPU the operators are replayed from a CUDA graph where they can be captured."""
        set_threads(setting)
        fast, images = placed(folded(module), setting), placed_inputs(inputs, setting)

        @torch.inference_mode()
        def run() -> object:
            return fast(*images)

        return run if torch.device(setting.device).type == "cpu" else graphed(run, setting.device)

    def versions(self, setting: Setting) -> dict[str, str]:
        """Of torch."""
        return {"torch": torch.__version__}
