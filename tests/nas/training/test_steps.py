"""The step of a recipe: with nothing asked for it is the loop's own, mixed batches and teachers are timm's, and parts add up."""

import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.task import LogitDistillationTask
from torch import Tensor, nn

from nas.config import RetrainConfig
from nas.data.augment import global_seed
from nas.training.steps import RecipeStep, check_backend, forward_of
from nas.training.teachers import Teacher
from search_spaces.errors import InputError
from search_spaces.network import build
from search_spaces.testing import noise, randomise
from supernet.seeding import derive_seed
from supernet.steps import LabelStep, Moment
from supernet.testing import small_space

CLASSES = 4


def network(seed: int = 0, norm: bool = True) -> nn.Module:
    layers = (
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, CLASSES),
    )
    return randomise(nn.Sequential(*layers), seed).train()


def batch(count: int = 8) -> tuple[Tensor, Tensor]:
    return noise(count, 2, 6, 6, seed=1), torch.arange(count) % CLASSES


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def run(module: nn.Module, step: int = 3, teacher: Teacher | None = None, **keys: Any) -> dict[str, Tensor]:
    """What a step logs; the gradients are left in the module."""
    recipe = RetrainConfig(batch_size=8, **keys)
    made = RecipeStep(recipe, forward_of(module, recipe), classes=CLASSES, seed=5, teacher=teacher)
    torch.manual_seed(0)
    return made(module, *batch(), Moment(step, 20, 5))


def test_with_nothing_asked_for_it_is_the_loops_own_step() -> None:
    one, other = network(), network()
    logged = run(one, label_smoothing=0.2)
    torch.manual_seed(0)
    assert logged == LabelStep(RetrainConfig(label_smoothing=0.2))(other, *batch(), Moment(3, 20, 5))
    for name, gradient in gradients(one).items():
        assert torch.equal(gradient, gradients(other)[name]), name


@pytest.mark.parametrize("keys", [{}, {"mixup": 0.8, "cutmix": 1.0}], ids=["labels", "mixed"])
def test_parts_add_up_to_the_batch(keys: dict[str, float]) -> None:
    """Of three, two and three images: each part counts by its share."""
    one, other = network(norm=False), network(norm=False)
    whole, parts = run(one, **keys), run(other, grad_accum_steps=3, **keys)
    assert parts["loss"] == pytest.approx(whole["loss"].item(), rel=1e-5)
    for name, gradient in gradients(one).items():
        torch.testing.assert_close(gradients(other)[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("step", range(4))
def test_batches_are_mixed_as_timm_mixes_them(step: int) -> None:
    one, other = network(), network()
    logged = run(one, step, mixup=0.3, cutmix=1.0, mixup_switch_prob=0.4, mixup_prob=0.8, label_smoothing=0.1)
    mixing = Mixup(0.3, 1.0, prob=0.8, switch_prob=0.4, label_smoothing=0.1, num_classes=CLASSES)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with global_seed(derive_seed(5, "mix", step)):
        images, targets = mixing(*batch())
    loss = torch.sum(-targets * F.log_softmax(other(images), -1), -1).mean()
    loss.backward()
    torch.testing.assert_close(logged["loss"], loss.detach())
    for name, gradient in gradients(one).items():
        torch.testing.assert_close(gradient, gradients(other)[name], msg=name)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_mixing_differs_by_step_and_ends() -> None:
    losses = [run(network(), step, mixup=1.0, label_smoothing=0.0)["loss"].item() for step in (0, 1, 2)]
    assert len(set(losses)) == 3
    plain = run(network(), 12, label_smoothing=0.1)["loss"]
    torch.testing.assert_close(run(network(), 12, mixup=1.0, mixup_off_epoch=2, label_smoothing=0.1)["loss"], plain)
    assert run(network(), 9, mixup=1.0, mixup_off_epoch=2, label_smoothing=0.1)["loss"] != plain


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_teacher_is_learned_from_as_in_timm(temperature: float) -> None:
    """Both networks have the same normalisation, as in timm's task where both say the same."""
    config = {"mean": (0.5, 0.4), "std": (0.2, 0.3)}
    one, other, teacher = network(), network(), network(9)
    weights = {"distill_loss_weight": 0.7, "task_loss_weight": 0.2}
    logged = run(
        one,
        teacher=Teacher(copy.deepcopy(teacher), None, "none"),
        kd_model_name="supernet",
        kd_temperature=temperature,
        **weights,
    )
    for module in (other, teacher):
        module.pretrained_cfg, module.num_classes, module.in_chans = config, CLASSES, 2  # type: ignore[assignment]
    task = LogitDistillationTask(
        other, teacher, nn.CrossEntropyLoss(label_smoothing=0.1), temperature=temperature, verbose=False, **weights
    )
    task.train()
    images, labels = batch()
    theirs = task(images, labels)
    theirs["loss"].backward()
    torch.testing.assert_close(logged["loss"], theirs["loss"].detach())
    torch.testing.assert_close(logged["loss_labels"], theirs["task_loss"].detach())
    torch.testing.assert_close(logged["loss_teacher"], theirs["kd_loss"].detach())
    for name, gradient in gradients(one).items():
        torch.testing.assert_close(gradient, gradients(other)[name], msg=name)


def test_a_teacher_sees_images_as_it_was_trained_on_them() -> None:
    teacher = network(9).eval()
    mean, std = torch.tensor([0.5, 0.4]).view(1, 2, 1, 1), torch.tensor([0.2, 0.3]).view(1, 2, 1, 1)
    raw = torch.rand(3, 2, 6, 6)
    theirs = teacher((raw - 0.1) / 0.6)
    change = std / 0.6, (mean - 0.1) / 0.6
    torch.testing.assert_close(Teacher(teacher, change, "none").logits((raw - mean) / std), theirs.detach())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


@pytest.mark.parametrize("of_timm", [False, True])
def test_blocks_that_are_computed_again_give_the_same(of_timm: bool) -> None:
    """Weights' gradients and running statistics, for our networks and for models of timm."""

    def made() -> nn.Module:
        if of_timm:
            torch.manual_seed(0)
            return timm.create_model("mat_1", num_classes=CLASSES, in_chans=2).train()
        return randomise(build(small_space().largest(lambda arch: len(arch.stages[0].blocks))), 0).train()

    one, other = made(), made()
    plain, again = run(one), run(other, grad_checkpointing=True)
    assert plain == again
    for name, gradient in gradients(one).items():
        assert torch.equal(gradient, gradients(other)[name]), name
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name


def test_a_model_that_cannot_compute_its_blocks_again_is_refused() -> None:
    with pytest.raises(InputError, match="cannot compute its blocks again"):
        forward_of(network(), RetrainConfig(grad_checkpointing=True))


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_a_compiled_network_gives_the_same() -> None:
    """The weights are those of the network itself."""
    one, other = network(), network()
    plain, compiled = run(one), run(other, torchcompile="aot_eager")
    torch.testing.assert_close(compiled["loss"], plain["loss"])
    for name, gradient in gradients(one).items():
        torch.testing.assert_close(gradients(other)[name], gradient, msg=name)
    with pytest.raises(InputError, match="torchcompile is 'inducter'"):
        check_backend(RetrainConfig(torchcompile="inducter"))
