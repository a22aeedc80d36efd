"""The keys of a recipe beyond `supernet.recipe.Recipe`: those of timm's training script, under its names. Standard library only.

At their defaults they change nothing: a network is then trained as the supernet is.
"""

from dataclasses import dataclass
from typing import Any

from nas.config.keys import at_least, fraction, key, one_of
from search_spaces.errors import InputError
from supernet.recipe import Recipe

SCHEDULES = ("default", "cosine", "tanh", "poly", "step", "constant")

OF_TIMM_AUGMENTATION = (
    "aa", "color_jitter", "scale", "ratio", "hflip", "vflip", "train_interpolation", "reprob", "remode", "recount",
)  # fmt: skip
"""Keys that mean something with augment=timm only."""

OF_TIMM_SCHEDULES = (
    "min_lr", "warmup_lr", "warmup_prefix", "cooldown_epochs", "decay_epochs", "decay_rate", "sched_on_updates",
)  # fmt: skip
"""Keys that mean something with one of timm's schedules only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmRecipe(Recipe):
    """What timm's training script can say of a recipe."""

    opt: str = key("adamw", "optimiser, by its name in timm (timm.optim.list_optimizers())")
    momentum: float = key(0.9, "momentum of optimisers that have one")
    layer_decay: float = key(
        1.0,
        "factor of the learning rate from each block to the one before it, for weights that are trained already; 1 for none",
    )
    sched: str = key(
        "default",
        "learning rate over time. default: linear warm-up, then half a cosine to zero, step by step, as nas train has it; or one of timm's "
        "schedules: cosine, tanh, poly, step, constant",
    )
    sched_on_updates: bool = key(False, "timm's schedules change the rate with every step, not with every epoch")
    min_lr: float = key(0.0, "rate at the end of timm's schedules")
    warmup_lr: float = key(1e-5, "rate at the start of the warm-up of timm's schedules")
    warmup_prefix: bool = key(False, "the warm-up of timm's schedules comes before the epochs, not out of them")
    cooldown_epochs: int = key(0, "epochs at min_lr after the epochs of timm's schedules")
    decay_epochs: float = key(90.0, "epochs between two decays with sched=step")
    decay_rate: float = key(0.1, "decay with sched=step, exponent with sched=poly")
    augment: str = key(
        "",
        "empty for data.augment. timm: timm's random resized crop, with aa, color_jitter and random erasing as below, for images of any source",
    )
    aa: str = key(
        "", "with augment=timm: RandAugment, AutoAugment or AugMix as timm writes it, such as rand-m9-mstd0.5-inc1"
    )
    color_jitter: float = key(0.4, "with augment=timm and without aa: change of brightness, contrast and saturation")
    scale: tuple[float, ...] = key((0.08, 1.0), "with augment=timm: smallest and largest area of a crop")
    ratio: tuple[float, ...] = key((0.75, 1.3333), "with augment=timm: smallest and largest aspect of a crop")
    hflip: float = key(0.5, "with augment=timm: probability of mirroring left to right")
    vflip: float = key(0.0, "with augment=timm: probability of mirroring top to bottom")
    train_interpolation: str = key("bicubic", "with augment=timm: random, bilinear or bicubic")
    reprob: float = key(0.0, "with augment=timm: probability that rectangles of an image are erased")
    remode: str = key("pixel", "what erased rectangles hold: const, rand (a colour) or pixel (noise)")
    recount: int = key(1, "most rectangles that are erased in an image")
    aug_repeats: int = key(
        0, "copies of each image in a batch, each augmented by itself; an epoch then has fewer images"
    )
    mixup: float = key(0.0, "alpha of mixup; 0 for none")
    cutmix: float = key(0.0, "alpha of CutMix; 0 for none")
    mixup_prob: float = key(1.0, "share of batches with mixup or CutMix")
    mixup_switch_prob: float = key(0.5, "share of those that get CutMix, if both are on")
    mixup_off_epoch: int = key(0, "epoch from which images are mixed no more; 0 for never")
    model_ema: bool = key(False, "timm's moving average of weights and running statistics, in place of ema")
    model_ema_decay: float = key(0.9998, "its decay")
    model_ema_warmup: bool = key(False, "its decay rises from 0")
    grad_accum_steps: int = key(
        1,
        "parts of each batch that run one after the other, to save memory; batch_size is that of the whole step. Batch norms see a part",
    )
    grad_checkpointing: bool = key(False, "blocks are computed again for their gradients, to save memory; same results")
    channels_last: bool = key(False, "weights in channels_last memory format, as images are")
    torchcompile: str = key("", "backend of torch.compile for training, such as inductor; empty for none")
    kd_model_name: str = key(
        "",
        "teacher whose outputs are learned beside the labels: supernet (the largest network of the run's supernet), the folder of a network or "
        "a file of weights in it, local-dir:FOLDER, or timm/NAME with its published weights; empty for none",
    )
    kd_temperature: float = key(1.0, "temperature of the outputs that are compared")
    distill_loss_weight: float = key(1.0, "weight of the loss on the teacher's outputs")
    task_loss_weight: float = key(1.0, "weight of the loss on labels beside a teacher")


def check_timm_recipe(section: Any) -> None:
    """Checks the values of `TimmRecipe` by themselves and against each other.

    Raises:
        InputError: a value is not allowed, or two contradict each other.
    """
    at_least(
        section, momentum=0, layer_decay=0, min_lr=0, warmup_lr=0, cooldown_epochs=0, decay_rate=0, color_jitter=0, recount=1,
        aug_repeats=0, mixup=0, cutmix=0, mixup_off_epoch=0, grad_accum_steps=1, distill_loss_weight=0, task_loss_weight=0,
    )  # fmt: skip
    fraction(section, "model_ema_decay")
    one_of(
        section, sched=SCHEDULES, augment=("", "none", "light", "standard", "timm"),
        train_interpolation=("random", "bilinear", "bicubic"), remode=("const", "rand", "pixel"),
    )  # fmt: skip
    for name in ("hflip", "vflip", "reprob", "mixup_prob", "mixup_switch_prob"):
        if not 0 <= getattr(section, name) <= 1:
            raise InputError(f"retrain.{name} is {getattr(section, name)}", "from 0 to 1", f"retrain.{name}=0.5")
    for name, highest in (("scale", 1.0), ("ratio", 100.0)):
        found = getattr(section, name)
        if len(found) != 2 or not 0 < found[0] <= found[1] <= highest:
            default = ",".join(map(str, TimmRecipe.__dataclass_fields__[name].default))
            allowed = f"two numbers above 0 up to {highest:g}, the smaller one first"
            raise InputError(f"retrain.{name} is {list(found)}", allowed, f"retrain.{name}={default}")
    for name, lowest in (("kd_temperature", 0), ("decay_epochs", 0), ("layer_decay", 0)):
        if getattr(section, name) <= lowest:
            default = TimmRecipe.__dataclass_fields__[name].default
            raise InputError(f"retrain.{name} is {getattr(section, name)}", "above 0", f"retrain.{name}={default:g}")
    _check_contradictions(section)


def _check_contradictions(section: Any) -> None:
    """
    Raises:
        InputError: a key is set that has no effect beside another, or two keys exclude each other.
    """
    _check_needed(section, OF_TIMM_AUGMENTATION, section.augment == "timm", "augment=timm")
    _check_needed(section, OF_TIMM_SCHEDULES, section.sched != "default", "sched=cosine")
    _check_needed(section, ("model_ema_decay", "model_ema_warmup"), section.model_ema, "model_ema=true")
    mixed = bool(section.mixup or section.cutmix)
    _check_needed(section, ("mixup_prob", "mixup_switch_prob", "mixup_off_epoch"), mixed, "mixup=0.8")
    taught = bool(section.kd_model_name)
    _check_needed(
        section, ("kd_temperature", "distill_loss_weight", "task_loss_weight"), taught, "kd_model_name=supernet"
    )
    if mixed and section.batch_size % 2:
        raise InputError(
            f"retrain.batch_size is {section.batch_size} with mixup or cutmix, which mix images in pairs", "an even number",
            f"retrain.batch_size={section.batch_size + 1}",
        )  # fmt: skip
    if section.grad_accum_steps * (2 if mixed else 1) > section.batch_size:
        raise InputError(
            f"retrain.grad_accum_steps is {section.grad_accum_steps} and retrain.batch_size is {section.batch_size}",
            f"1 to {section.batch_size // 2} parts: batch_size is that of the whole step", "retrain.grad_accum_steps=1",
        )  # fmt: skip
    if section.grad_checkpointing and section.torchcompile == "eager":
        raise InputError(
            "retrain.grad_checkpointing=true with torchcompile=eager, which computes running statistics twice", "one of them, or another backend",
            "retrain.torchcompile=inductor",
        )  # fmt: skip
    if section.aug_repeats > section.batch_size:
        raise InputError(
            f"retrain.aug_repeats is {section.aug_repeats} and retrain.batch_size is {section.batch_size}",
            "no more copies of an image than a batch has images", "retrain.aug_repeats=3",
        )  # fmt: skip
    if section.sched != "default" and section.min_lr > section.lr:
        raise InputError(
            f"retrain.min_lr is {section.min_lr} and retrain.lr is {section.lr}", "no more than lr", "retrain.min_lr=0"
        )
    if section.sched != "default" and section.warmup_epochs >= section.epochs and not section.warmup_prefix:
        raise InputError(
            f"retrain.warmup_epochs is {section.warmup_epochs:g} of {section.epochs} epochs, which leaves none for sched={section.sched}",
            "fewer epochs of warm-up than epochs", "retrain.warmup_epochs=0, or warmup_prefix=true",
        )  # fmt: skip


def _check_needed(section: Any, names: tuple[str, ...], there: bool, needed: str) -> None:
    """
    Args:
        names: keys that have no effect unless something is `there`.
        needed: what makes them mean something, as it is typed.

    Raises:
        InputError: it is not there, and one of the keys is set.
    """
    if there:
        return
    for name in names:
        value, default = getattr(section, name), TimmRecipe.__dataclass_fields__[name].default
        if value != default:
            raise InputError(
                f"retrain.{name} is {value!r}, which has no effect without {needed}", "keys that go together",
                f"retrain.{needed} beside it",
            )  # fmt: skip
