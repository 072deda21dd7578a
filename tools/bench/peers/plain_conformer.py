"""A Conformer (arXiv 2005.08100) and BEST-RQ's quantizer in plain PyTorch, as one would write them for speed.

B: utterances, T: log-mel frames, N: encoded frames = T / 4, F: bins, D: width, H: heads.
"""

import torch
from torch import nn
from torch.nn import functional


class Quantizer(nn.Module):
  """Stacked frames [B, N, S * F] -> codes [B, N]: a projection, then argmax over the products with the codewords."""

  def __init__(self, width, dim, codes):
    super().__init__()
    self.register_buffer('projection', nn.init.xavier_uniform_(torch.empty(width, dim)))
    self.register_buffer('codebook', functional.normalize(torch.randn(codes, dim)))

  def forward(self, x):
    return (x @ self.projection @ self.codebook.T).argmax(-1)


class Encoder(nn.Module):
  """Features [B, T, F] -> [B, N, D]."""

  def __init__(self, layers, width, heads, kernel, channels, bins):
    super().__init__()
    self.convs = nn.Sequential(
      nn.Conv2d(1, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU()
    )
    self.proj = nn.Linear(channels * bins // 4, width)
    self.blocks = nn.Sequential(*[_Block(width, heads, kernel) for _ in range(layers)])

  def forward(self, features):
    x = self.convs(features[:, None])  # [B, C, N, F / 4]
    return self.blocks(self.proj(x.transpose(1, 2).flatten(2)))


class _Block(nn.Module):
  """Half a feed-forward, attention, convolution, half a feed-forward, norm."""

  def __init__(self, width, heads, kernel):
    super().__init__()
    self.first, self.second = (
      nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
      for _ in range(2)
    )
    self.attention = _RelativeAttention(width, heads)
    self.conv = _Convolution(width, kernel)
    self.norm = nn.LayerNorm(width)

  def forward(self, x):
    x = x + 0.5 * self.first(x)
    x = x + self.attention(x)
    x = x + self.conv(x)
    return self.norm(x + 0.5 * self.second(x))


class _RelativeAttention(nn.Module):
  """Attention with Transformer-XL's relative positions."""

  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.norm = nn.LayerNorm(width)
    self.qkv = nn.Linear(width, 3 * width)
    self.positions = nn.Linear(width, width, bias=False)
    self.u, self.v = (nn.Parameter(torch.zeros(heads, 1, width // heads)) for _ in range(2))
    self.out = nn.Linear(width, width)

  def forward(self, x):
    batch, time, width = x.shape
    q, k, v = self.qkv(self.norm(x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [B, H, N, D / H]
    angles = torch.arange(time - 1, -time, -1)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    sines = torch.cat([angles.sin(), angles.cos()], -1)  # [2 N - 1, D]
    p = self.positions(sines).view(-1, self.heads, width // self.heads).transpose(0, 1)
    by_position = (q + self.v) @ p.transpose(1, 2)  # [B, H, N, 2 N - 1]
    # Row i begins at distance N - 1 - i: a row of one more element shifts all rows.
    shifted = functional.pad(by_position, (1, 0)).view(batch, self.heads, 2 * time, time)[:, :, 1:]
    shifted = shifted.reshape(batch, self.heads, time, 2 * time - 1)[..., :time]
    scale = (width // self.heads) ** -0.5
    x = functional.scaled_dot_product_attention(q + self.u, k, v, attn_mask=(shifted * scale).to(q.dtype))
    return self.out(x.transpose(1, 2).reshape(batch, time, width))


class _Convolution(nn.Module):
  """Gated pointwise, depthwise, norm, Swish, pointwise."""

  def __init__(self, width, kernel):
    super().__init__()
    self.norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
    self.gated, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
    self.depthwise = nn.Conv1d(width, width, kernel, padding='same', groups=width)

  def forward(self, x):
    x = functional.glu(self.gated(self.norm(x)), -1)
    x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
    return self.out(functional.silu(self.inner_norm(x)))
