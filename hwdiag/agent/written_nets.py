"""Nets that are written out here, since transformers does not have them."""

DLRM_TABLES, DLRM_ROWS, DLRM_WIDTH, DLRM_BAG = 26, 10**6, 128, 20


def sdxl_unet(torch, spec):
    """Return the U-Net of Stable Diffusion XL (Podell et al. 2023): 2.57 billion parameters, at 1024 x 1024 pixels.

    ``side`` is the side of the image; the net sees an eighth of it.
    """
    nn, f = torch.nn, torch.nn.functional
    time_width, context_width = 1280, 2048

    class Residual(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.first = nn.Sequential(nn.GroupNorm(32, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
            self.time = nn.Sequential(nn.SiLU(), nn.Linear(time_width, cout))
            self.second = nn.Sequential(nn.GroupNorm(32, cout), nn.SiLU(), nn.Conv2d(cout, cout, 3, padding=1))
            self.skip = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

        def forward(self, x, time, context):
            inner = self.first(x) + self.time(time)[:, :, None, None]
            return self.skip(x) + self.second(inner)

    class Attention(nn.Module):
        def __init__(self, width, context):
            super().__init__()
            self.heads = width // 64
            self.q = nn.Linear(width, width, bias=False)
            self.k, self.v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
            self.out = nn.Linear(width, width)

        def forward(self, x, context):
            q, k, v = [
                y.view(y.shape[0], y.shape[1], self.heads, 64).transpose(1, 2)
                for y in (self.q(x), self.k(context), self.v(context))
            ]
            mixed = f.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            return self.out(mixed)

    class DiffusionBlock(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
            self.own, self.cross = Attention(width, width), Attention(width, context_width)
            self.gate, self.out = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

        def forward(self, x, context):
            y = self.norms[0](x)
            x = x + self.own(y, y)
            x = x + self.cross(self.norms[1](x), context)
            value, gate = self.gate(self.norms[2](x)).chunk(2, -1)
            return x + self.out(value * f.gelu(gate))

    class Transformer(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.norm = nn.GroupNorm(32, width)
            self.into, self.out = nn.Linear(width, width), nn.Linear(width, width)
            self.blocks = nn.ModuleList([DiffusionBlock(width) for _ in range(depth)])

        def forward(self, x, time, context):
            n, c, h, w = x.shape
            y = self.into(self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c))
            for block in self.blocks:
                y = block(y, context)
            return x + self.out(y).reshape(n, h, w, c).permute(0, 3, 1, 2)

    class Resample(nn.Module):
        def __init__(self, width, up):
            super().__init__()
            self.up, self.conv = up, nn.Conv2d(width, width, 3, 1 if up else 2, 1)

        def forward(self, x, time, context):
            return self.conv(f.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)

    def stage(cin, cout, depth):
        return [Residual(cin, cout)] + ([Transformer(cout, depth)] if depth else [])

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(320, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
            self.more = nn.Sequential(nn.Linear(2816, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
            self.first = nn.Conv2d(4, 320, 3, padding=1)
            down, widths = [], [320]
            width = 320
            for level, (cout, depth) in enumerate(((320, 0), (640, 2), (1280, 10))):
                for _ in range(2):
                    down.append(nn.ModuleList(stage(width, cout, depth)))
                    width = cout
                    widths.append(width)
                if level < 2:
                    down.append(nn.ModuleList([Resample(width, up=False)]))
                    widths.append(width)
            self.down = nn.ModuleList(down)
            self.middle = nn.ModuleList([Residual(1280, 1280), Transformer(1280, 10), Residual(1280, 1280)])
            up = []
            for level, (cout, depth) in enumerate(((1280, 10), (640, 2), (320, 0))):
                for i in range(3):
                    parts = stage(width + widths.pop(), cout, depth)
                    width = cout
                    up.append(nn.ModuleList(parts + ([Resample(width, up=True)] if i == 2 and level < 2 else [])))
            self.up = nn.ModuleList(up)
            self.last = nn.Sequential(nn.GroupNorm(32, 320), nn.SiLU(), nn.Conv2d(320, 4, 3, padding=1))

        def forward(self, x, step, pooled, context):
            time = self.time(step) + self.more(pooled)
            x = self.first(x)
            kept = [x]
            for parts in self.down:
                for part in parts:
                    x = part(x, time, context)
                kept.append(x)
            for part in self.middle:
                x = part(x, time, context)
            for parts in self.up:
                x = torch.cat([x, kept.pop()], 1)
                for part in parts:
                    x = part(x, time, context)
            return self.last(x)

    batch, side = spec["batch"], (spec.get("side") or 1024) // 8
    given = {
        "x": torch.zeros(batch, 4, side, side),
        "step": torch.zeros(batch, 320),
        "pooled": torch.zeros(batch, 2816),
        "context": torch.zeros(batch, 77, context_width),
    }
    return UNet(), given


def dlrm(torch, spec):
    """Return a deep learning recommendation model (Naumov et al. 2019) with 26 tables of a million rows, 20 rows a
    bag."""
    nn = torch.nn

    def layers(*widths):
        pairs = zip(widths[:-1], widths[1:])
        return nn.Sequential(*[part for a, b in pairs for part in (nn.Linear(a, b), nn.ReLU())])

    class Dlrm(nn.Module):
        def __init__(self):
            super().__init__()
            tables = [nn.EmbeddingBag(DLRM_ROWS, DLRM_WIDTH, mode="sum") for _ in range(DLRM_TABLES)]
            self.tables = nn.ModuleList(tables)
            pairs = (DLRM_TABLES + 1) * DLRM_TABLES // 2
            self.bottom, self.top = (
                layers(13, 512, 256, DLRM_WIDTH),
                layers(DLRM_WIDTH + pairs, 1024, 1024, 512, 256, 1),
            )
            rows, columns = torch.tril_indices(DLRM_TABLES + 1, DLRM_TABLES + 1, -1)
            self.register_buffer("pairs", rows * (DLRM_TABLES + 1) + columns)

        def forward(self, dense, rows):
            x = self.bottom(dense)
            features = torch.stack([x] + [table(rows[:, i]) for i, table in enumerate(self.tables)], 1)
            crossed = torch.bmm(features, features.transpose(1, 2)).flatten(1)
            return torch.sigmoid(self.top(torch.cat([x, crossed.index_select(1, self.pairs)], 1)))

    batch = spec["batch"]
    rows = torch.zeros(batch, DLRM_TABLES, DLRM_BAG, dtype=torch.long)
    return Dlrm(), {"dense": torch.zeros(batch, 13), "rows": rows}


def deeplabv3_r50(torch, spec):
    """Return DeepLabV3 on ResNet-50 (Chen et al. 2017, "Rethinking Atrous Convolution"), output stride 8, 21
    classes."""
    nn = torch.nn

    def conv(cin, cout, kernel=1, stride=1, dilation=1, relu=True):
        pad = dilation * (kernel // 2)
        layers = [nn.Conv2d(cin, cout, kernel, stride, pad, dilation, bias=False), nn.BatchNorm2d(cout)]
        return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))

    class Bottleneck(nn.Module):
        def __init__(self, cin, width, stride, dilation):
            super().__init__()
            self.body = nn.Sequential(
                conv(cin, width), conv(width, width, 3, stride, dilation), conv(width, 4 * width, relu=False)
            )
            same = cin == 4 * width and stride == 1
            self.skip = nn.Identity() if same else conv(cin, 4 * width, 1, stride, relu=False)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.body(x) + self.skip(x))

    def stage(cin, width, blocks, stride, first_dilation, dilation):
        first = Bottleneck(cin, width, stride, first_dilation)
        return [first] + [Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)]

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([conv(2048, 256)] + [conv(2048, 256, 3, 1, rate) for rate in (12, 24, 36)])
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(2048, 256))
            self.project = conv(5 * 256, 256)

        def forward(self, x):
            mean = nn.functional.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
            return self.project(torch.cat([*[branch(x) for branch in self.branches], mean], 1))

    class DeepLab(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = stage(64, 64, 3, 1, 1, 1) + stage(256, 128, 4, 2, 1, 1)
            blocks += stage(512, 256, 6, 1, 1, 2) + stage(1024, 512, 3, 1, 2, 4)
            self.backbone = nn.Sequential(conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks)
            self.head = nn.Sequential(Pyramid(), conv(256, 256, 3), nn.Conv2d(256, 21, 1))

        def forward(self, x):
            found = self.head(self.backbone(x))
            return nn.functional.interpolate(found, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return DeepLab(), image(torch, spec, channels=3, side=512)


def unet_block(torch, spec, channels=320, heads=8):
    """Return a block of the U-Net of latent diffusion (Rombach et al. 2022): residual convolutions, then
    self-attention."""
    nn = torch.nn

    class UnetBlock(nn.Module):
        def __init__(self):
            super().__init__()
            parts = [[nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, 1, 1)] for _ in range(2)]
            self.body = nn.Sequential(*parts[0], *parts[1])
            self.norm = nn.GroupNorm(32, channels)
            self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

        def forward(self, x):
            x = x + self.body(x)
            n, c, h, w = x.shape
            pixels = self.norm(x).view(n, c, h * w).transpose(1, 2)
            q, k, v = self.qkv(pixels).view(n, h * w, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
            return x + self.project(mixed).transpose(1, 2).reshape(n, c, h, w)

    return UnetBlock(), image(torch, spec, channels=channels, side=32)


def image(torch, spec, channels, side):
    """Return the input of a net for pictures: so many of them, of the side that was asked for or the usual one."""
    side = spec.get("side") or side
    return {"x": torch.zeros(spec["batch"], channels, side, side)}


NETS = {"deeplabv3-r50": deeplabv3_r50, "unet-block": unet_block, "sdxl-unet": sdxl_unet, "dlrm": dlrm}
