"""Draws the gradient norms of every layer over epochs, for several runs side by side, as one SVG.

    python3 docs/gradient_flow.py out.svg "title one" runs/one "title two" runs/two

Reads each run folder's gradients.jsonl and metrics.jsonl; needs Python's standard library only.
"""
import json
import math
import pathlib
import sys
from html import escape

CELL_W, CELL_H, LEFT, TOP, GAP = 30, 11, 150, 64, 46
STOPS = [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)]  # dark to light


def lines(run, name):
    return [json.loads(line) for line in (pathlib.Path(run) / name).read_text().splitlines()]


def color(t):
    t = min(max(t, 0.0), 1.0) * (len(STOPS) - 1)
    i = min(int(t), len(STOPS) - 2)
    return "#" + "".join(f"{round(a + (b - a) * (t - i)):02x}" for a, b in zip(STOPS[i], STOPS[i + 1]))


def load(run):
    norms = {(g["site"], g["epoch"]): g["norm_after"] for g in lines(run, "gradients.jsonl")}
    sites = list(dict.fromkeys(g["site"] for g in lines(run, "gradients.jsonl")))
    epochs = [m for m in lines(run, "metrics.jsonl") if m["kind"] == "epoch"]
    drawn = {}
    for draw in lines(run, "amplification.jsonl"):
        drawn.setdefault(draw["epoch"], set()).update(draw["sites"])
    return norms, sites, epochs, drawn


def main(out, *pairs):
    runs = [(title, *load(run)) for title, run in zip(pairs[::2], pairs[1::2])]
    sites = runs[0][2]
    logs = [math.log10(v) for _, norms, *_ in runs for v in norms.values() if v > 0]
    low, high = min(logs), max(logs)
    panel = max(len(epochs) for *_, epochs, _ in runs) * CELL_W
    width = LEFT + len(runs) * (panel + GAP) + 60
    height = TOP + len(sites) * CELL_H + 62
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" role="img" aria-labelledby="t d">',
        '<title id="t">Gradient norms by layer and epoch</title>',
        f'<desc id="d">{escape("; ".join(title for title, *_ in runs))}. Rows are layers from input (top) to output, columns are '
        "epochs; lighter is larger; circles mark amplified layers.</desc>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
    ]

    def text(x, y, s, size=11, anchor="start", fill="#333", weight="normal"):
        svg.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
                   f' font-weight="{weight}">{escape(s)}</text>')

    for r, site in enumerate(sites):
        text(LEFT - 8, TOP + r * CELL_H + CELL_H - 2.5, site, 9, "end", "#555")
    for p, (title, norms, _, epochs, drawn) in enumerate(runs):
        x0 = LEFT + p * (panel + GAP)
        last = epochs[-1]
        accuracy = last.get("test_accuracy")
        text(x0, 22, title, 14, weight="600")
        text(x0, 39, "test accuracy " + (f"{100 * accuracy:.1f} %" if accuracy is not None else "not measured"), 11, fill="#555")
        for c, epoch in enumerate(epochs):
            x = x0 + c * CELL_W
            if epoch["amplified"]:
                svg.append(f'<rect x="{x}" y="{TOP - 12}" width="{CELL_W}" height="6" fill="#d95f02"/>')
            for r, site in enumerate(sites):
                v = norms.get((site, epoch["epoch"]))
                if v is None or v <= 0:
                    continue
                y = TOP + r * CELL_H
                t = (math.log10(v) - low) / (high - low or 1)
                svg.append(f'<rect x="{x}" y="{y}" width="{CELL_W - 1}" height="{CELL_H - 1}" fill="{color(t)}"/>')
                if site in drawn.get(epoch["epoch"], ()):
                    svg.append(f'<circle cx="{x + CELL_W / 2 - .5}" cy="{y + CELL_H / 2 - .5}" r="2.6" fill="#fff"'
                               ' stroke="#d95f02" stroke-width="1.4"/>')
            text(x + CELL_W / 2, TOP + len(sites) * CELL_H + 14, str(epoch["epoch"] + 1), 10, "middle", "#555")
        text(x0 + len(epochs) * CELL_W / 2, TOP + len(sites) * CELL_H + 32, "epoch", 11, "middle", "#555")
    x = LEFT + len(runs) * (panel + GAP) - 18
    bar = 160
    for i in range(bar):
        svg.append(f'<rect x="{x}" y="{TOP + bar - i}" width="12" height="1.5" fill="{color(i / bar)}"/>')
    for exponent in range(math.ceil(low), math.floor(high) + 1):
        y = TOP + bar - (exponent - low) / (high - low or 1) * bar
        text(x + 17, y + 3.5, f"1e{exponent}", 9, fill="#555")
    text(x - 2, TOP - 6, "‖dy‖", 11, fill="#555")
    text(LEFT, height - 8, "orange: amplified epochs and layers", 10, fill="#d95f02")
    svg.append("</svg>")
    pathlib.Path(out).write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 4 or len(sys.argv) % 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
