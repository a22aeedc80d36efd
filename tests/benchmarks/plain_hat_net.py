"""HAT-Net as a reader of the paper would write it, for plain.py."""

from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.plain_operators import attention, channels_first, depthwise, heads_first


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with one group, as everywhere in HAT-Net."""
    return nn.GroupNorm(1, channels, eps=1e-6)


class HMHSA(nn.Module):
    """Hierarchical multi-head self-attention: in windows, then from all positions to pooled ones; window 1 is plain attention."""

    def __init__(self, channels: int, head_dim: int, window: int, pool: int) -> None:
        super().__init__()
        self.heads, self.window, self.pool = channels // head_dim, window, pool
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.proj_norm = group_norm(channels)  # official checkpoints have it, but it is never applied
        if window > 1:
            self.grid_norm = group_norm(channels)
            self.ds_norm = group_norm(channels)
            self.q = nn.Conv2d(channels, channels, 1)
            self.kv = nn.Conv2d(channels, 2 * channels, 1)

    def in_windows(self, qkv: Tensor) -> Tensor:
        """Attention within windows, from (b, 3 * c, h, w) to (b, c, h, w)."""
        b, c3, h, w = qkv.shape
        c, g = c3 // 3, self.window
        tokens = qkv.reshape(b, 3, self.heads, c // self.heads, h // g, g, w // g, g)
        tokens = tokens.permute(1, 0, 4, 6, 2, 5, 7, 3)  # 3, b, window row, window column, head, row, column, d
        query, key, value = tokens.reshape(3, -1, self.heads, g * g, c // self.heads)
        out = attention(query, key, value).reshape(b, h // g, w // g, self.heads, g, g, c // self.heads)
        return out.permute(0, 3, 6, 1, 4, 2, 5).reshape(b, c, h, w)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x))
        if self.window == 1:
            query, key, value = heads_first(qkv, 3, self.heads)
            return self.proj(channels_first(attention(query, key, value), *x.shape[2:]))
        grid = self.grid_norm(x + self.in_windows(qkv))
        pooled = self.ds_norm(F.avg_pool2d(grid, self.pool))
        (query,) = heads_first(self.q(grid), 1, self.heads)
        key, value = heads_first(self.kv(pooled), 2, self.heads)
        return self.proj(channels_first(attention(query, key, value), *x.shape[2:]) + grid)


class HATMLP(nn.Module):
    """Inverted bottleneck with a 3 x 3 depthwise convolution, normalised before and after."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(group_norm(channels), nn.Conv2d(channels, hidden, 1, bias=False), nn.SiLU())
        self.conv2 = nn.Sequential(depthwise(hidden, 3, bias=False), nn.SiLU())
        self.conv3 = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), group_norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)))


class HATBlock(nn.Module):
    """H-MHSA and MLP, each with a residual."""

    def __init__(self, channels: int, head_dim: int, window: int, pool: int, ratio: int) -> None:
        super().__init__()
        self.attn = HMHSA(channels, head_dim, window, pool)
        self.conv = HATMLP(channels, ratio * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.conv(x)


class Downsampling(nn.Module):
    """The step between two stages."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, 2, 1)
        self.norm = group_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class HATNet(nn.Module):
    """Stem, then four stages of blocks with a step down before all but the first, and a classifier."""

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        depths: tuple[int, ...],
        head_dim: int,
        ratios: tuple[int, ...],
        windows: tuple[int, ...],
        pools: tuple[int, ...],
        classes: int,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), group_norm(16), nn.SiLU(), nn.Conv2d(16, channels[0], 3, 2, 1)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(HATBlock(width, head_dim, window, pool, ratio) for _ in range(depth)))
            for width, depth, ratio, window, pool in zip(channels, depths, ratios, windows, pools, strict=True)
        )
        self.ds2 = Downsampling(channels[0], channels[1])
        self.ds3 = Downsampling(channels[1], channels[2])
        self.ds4 = Downsampling(channels[2], channels[3])
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels[3], classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](self.patch_embed(x))
        x = self.blocks[1](self.ds2(x))
        x = self.blocks[2](self.ds3(x))
        x = self.blocks[3](self.ds4(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
