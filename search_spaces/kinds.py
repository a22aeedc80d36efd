"""The kinds of parts and their contracts: what a class that registers as one says of itself, and what its forward pass maps.

Import them from `search_spaces.registry`, beside `register`.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

Axes = Mapping[str, tuple[int, ...]]


class PartModule(nn.Module):
    """What every part is. Subclass one of the eight kinds below.

    Class attributes:
        Options: frozen, keyword-only dataclass; every field has a default and its `__post_init__` raises InputError.
        examples: option values from the smallest to the largest, used by the tests of every law.
        variants: further examples, which the tests combine among themselves alone: combined with the others they would be too many.
        centred, trailing: parameter or buffer names (shell patterns) to the axes cut from the middle or from the end.
        brings_norm: whether a token mixer or FFN normalises its input itself; a block then leaves its own norm out of that branch.
        part_options: options whose values name an operator and have no size; training treats them as the choice of a part.
        unordered: options of which a larger number is no larger network; spaces list their values in any order.
        undecayed: parameter names (shell patterns) that weight decay leaves out although they have two axes or more. It always leaves
            out parameters of fewer axes, and those whose last name has "bias" in it.
        operators: multiply-adds of operators that search_spaces.costs and torch's FLOP counter do not know, by the name that the message
            about them says: a function of the result of a call and its arguments, such as {"cumsum": lambda result, *inputs: 0}.
    """

    kind: ClassVar[str]
    Options: ClassVar[type]
    examples: ClassVar[tuple[Any, ...]]
    variants: ClassVar[tuple[Any, ...]] = ()
    centred: ClassVar[Axes] = {}
    trailing: ClassVar[Axes] = {}
    brings_norm: ClassVar[bool] = False
    part_options: ClassVar[tuple[str, ...]] = ()
    unordered: ClassVar[tuple[str, ...]] = ()
    undecayed: ClassVar[tuple[str, ...]] = ()
    operators: ClassVar[Mapping[str, Callable[..., int]]] = {}

    @classmethod
    def unmoved(cls, options: Any) -> Mapping[str, str]:
        """Parameters that no training can move, for a law finds weights without a gradient: name pattern, and why that is meant.

        A bias in front of a batch norm is one: the norm takes the mean away.
        """
        return {}

    @classmethod
    def mixes_kernels(cls, options: Any) -> bool:
        """Whether kernels are mixed for each image, by a norm that sees one position and a convolution of as many groups as images.

        Such a part cannot train on one image, and a traced one runs on its number of images only.
        """
        return False

    @classmethod
    def canonical_options(cls, options: Any, dims: tuple[int, ...], height: int, width: int) -> Any:
        """The options that stand for all that make the same function of the same weights at the same cost.

        Options without effect beside the others get one fixed value, and values that mean the same get one of them, so that equal
        functions are equal architectures. What this gives for what it gave is the same again.

        Args:
            dims: as for `make`.
            height, width: of the part's input map in pixels.
        """
        return options

    @classmethod
    def resized_options(cls, options: Any, side: int, new_side: int) -> Any:
        """The options for the same stage at another resolution of the images.

        Args:
            side, new_side: of the stage's map in pixels, before and after.
        """
        return options

    @classmethod
    def resized_tensors(cls, tensors: Mapping[str, Tensor], options: Any, new_options: Any) -> Mapping[str, Tensor]:
        """The part's parameters and buffers, by their names, after `resized_options` gave other options.

        A part that names a tensor by the size of its map, or shapes it so, resizes it here as its forward pass does.
        """
        return tensors

    @classmethod
    def reparameterised_options(cls, options: Any) -> Any:
        """Options of the part that `reparameterised` gives; None when there is nothing to merge."""
        return None

    def reparameterised(self) -> "PartModule | None":
        """The same map in evaluation mode, merged, on copies of the weights; None when there is nothing to merge."""
        return None

    def for_inference(self) -> nn.Module:
        """A module with the same outputs in evaluation mode, in less time; the part itself when it knows of none."""
        return self


class TokenMixer(PartModule):
    """Mixes positions. `forward(x)` maps (b, c, h, w) to the same shape, for every h and w.

    With `needs_residual`, `forward(x, residual)` also gets the block's features before normalisation. With
    `takes_position_bias`, `forward(x, position_bias=...)` also gets what the stage's position bias gives, if it has one. With
    `is_absent`, a block has neither this mixer nor its norm and scale: only the channel mixer is left.
    """

    kind = "mixer"
    needs_residual: ClassVar[bool] = False
    takes_position_bias: ClassVar[bool] = False
    is_absent: ClassVar[bool] = False

    def __init__(self, dim: int, options: Any) -> None:
        super().__init__()


class ChannelMixer(PartModule):
    """Mixes channels (the FFN). `forward(x)` maps (b, c, h, w) to the same shape."""

    kind = "ffn"

    def __init__(self, dim: int, options: Any) -> None:
        super().__init__()


class Position(PartModule):
    """A position encoding on the residual stream. `forward(x)` maps (b, c, h, w) to the same shape."""

    kind = "position"

    def __init__(self, dim: int, options: Any) -> None:
        super().__init__()


class PositionBias(PartModule):
    """What the attention blocks of a stage add to their scores. `forward(x)` maps (b, c, h, w) to (heads, h, w, h', w'):
    query by key position, for a key grid of the part's own; blocks with another one resize it (`layers.match_keys`).
    """

    kind = "position_bias"

    def __init__(self, options: Any) -> None:
        super().__init__()


class Norm(PartModule):
    """A normalisation. `forward(x)` maps (b, c, h, w) to the same shape."""

    kind = "norm"

    def __init__(self, dim: int, options: Any) -> None:
        super().__init__()


class Scale(PartModule):
    """What a residual branch ends with, such as LayerScale. `forward(x)` maps (b, c, h, w) to the same shape."""

    kind = "scale"

    def __init__(self, dim: int, options: Any) -> None:
        super().__init__()


class Embedding(PartModule):
    """A stem or downsampling layer. `forward(x)` maps (b, in_dim, h, w) to (b, dim, h', w')."""

    kind = "embedding"

    def __init__(self, in_dim: int, dim: int, options: Any) -> None:
        super().__init__()


class Head(PartModule):
    """The classifier. `forward(x)` maps (b, dim, h, w) to (b, num_classes)."""

    kind = "head"

    def __init__(self, dim: int, num_classes: int, options: Any) -> None:
        super().__init__()


KINDS: dict[str, type[PartModule]] = {
    kind.kind: kind for kind in (Embedding, PositionBias, Position, Norm, TokenMixer, ChannelMixer, Scale, Head)
}
WORDS = {
    "mixer": "token mixer", "ffn": "channel mixer", "position": "position encoding", "norm": "normalisation",
    "position_bias": "position bias",
}  # fmt: skip
