"""One self-contained page on a model: what ``gen_report`` does."""

from __future__ import annotations

import base64
import html
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError
from db_ingest.settings import Setting, takes_settings
from kerasgen import bundle
from kerasgen.objectives import heads
from kerasgen.settings import Title

_PROFILES, _LOGO_WIDTH = 4, 90
_TILES = {
    "counts": ("pearson", "log counts, Pearson r"),
    "profile": ("pearson", "profile, median Pearson r"),
    "binned": ("pearson", "counts per bin, Pearson r"),
    "labels": ("auroc", "labels, area under the ROC curve"),
}
"""Of each head, a measure and what its tile says."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1060px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}
.tiles{display:flex;flex-wrap:wrap;gap:.7rem;margin:1.2rem 0}.tile{background:#f4f6f9;border-radius:8px;padding:.6rem 1rem;min-width:8.5rem}
.tile b{display:block;font-size:1.35rem;color:#1f5fa8}.tile span{font-size:.82rem;color:#555}
table{border-collapse:collapse;font-size:.88rem;margin:.6rem 0}td,th{padding:.25rem .8rem;border-bottom:1px solid #e6e6e6;text-align:right}
td:first-child,th:first-child{text-align:left}tr.model td{font-weight:600}img{max-width:100%;display:block;margin:.6rem 0}
p.note{color:#555;font-size:.88rem;max-width:52rem}
"""


class Report(NamedTuple):
    """What a report found and wrote.

    Args:
        path: the page.
        auroc: head -> how well attributions find the known sites; empty without them.
    """

    path: Path
    auroc: dict[str, float]


@takes_settings
def report(
    model_prefix: Annotated[str, Setting("P of the model bundle", metavar="P")],
    outf: Annotated[str, Setting("HTML page to write", metavar="FILE.html")],
    *,
    scores: Annotated[str | None, Setting("P.json of gen_score_bpnet", metavar="FILE")] = None,
    predictions: Annotated[str | None, Setting("P.predictions of gen_predict_tdb", metavar="FILE")] = None,
    explained: Annotated[str | None, Setting("P.shap.h5 of gen_shap", metavar="FILE")] = None,
    truth: Annotated[
        str | None, Setting("BED file of sites known to matter: do attributions find them?", metavar="BED")
    ] = None,
    title: Title = "",
) -> Report:
    """Write a self-contained HTML page on a model: training, scores, profiles, attributions.

    Raises:
        InputError: a file that is not what it should be.
    """
    from kerasgen.interpretation import recovery
    from kerasgen.interpretation.files import read_explained

    if truth is not None and explained is None:
        raise InputError("--truth shows whether attributions find known sites; give --explained too")
    found = bundle.open_bundle(model_prefix)
    config = found.config
    best = config["best"]
    tiles = [
        (f"{config['parameters']:,}", "parameters"),
        (f"{best['epoch']} of {len(config['history'])}", "best epoch"),
        (f"{best['samples_per_second']:,.0f}", "samples/s in training"),
        (f"{best['data_wait']:.0%}", "waiting for data"),
    ]
    shares = [config["run"][f"upsample_ratio_list_{part}"] for part in ("train", "eval")]
    note = (
        "" if shares[0] == shares[1] else "Training holds another share of background than validation: compare trends."
    )
    parts = [_section("Training", [_figure(_training_curves(config["history"]), "loss by epoch")], note)]
    if scores is not None:
        document, images = _read_scores(scores)
        tiles += _score_tiles(document["tasks"])
        body = [_score_tables(document["tasks"])] + [_figure(image, "scores") for image in images]
        note = "Medians over loci for profiles. Each measure stands beside what knows nothing of the sequence, and beside replicates where there are any."
        parts.append(_section(f"Scores on {document['provenance'].get('chromosomes', '')}", body, note))
    auroc: dict[str, float] = {}
    sites: dict[str, list[Any]] = {}
    if predictions is not None:
        parts.append(
            _section(
                "Observed and predicted profiles",
                [_figure(_profiles(predictions), "profiles")],
                "Regions from many to few counts; the strands are drawn above and below the axis.",
            )
        )
    if explained is not None:
        shown = read_explained(explained)
        if truth is not None:
            genome = recovery.genome_of(shown, itertools.chain(*config["split"].values()))
            sites = recovery.read_sites(truth, list(dict.fromkeys(shown.chromosome)), genome)
        note = "Contribution of each base to the prediction (DeepSHAP)."
        if sites:
            auroc = recovery.auroc(shown, sites)
            tiles += [(f"{value:.3f}", f"AUROC, {head} attributions") for head, value in auroc.items()]
            note += " Known sites are shaded."
        parts.append(_section("Attributions", [_figure(_logos(shown, sites), "contribution logos")], note))
        if sites:
            text = ", ".join(f"{head} {value:.4f}" for head, value in auroc.items())
            note = f"Telling bases of known sites from all others by the size of their contribution, AUROC: {text}."
            parts.append(
                _section("Do attributions find the known sites?", [_figure(_roc(shown, sites, auroc), "ROC")], note)
            )
    page = _page(title or Path(model_prefix).name, config, tiles, parts)
    storage.replace_bytes(outf, page.encode())
    return Report(Path(outf), auroc)


def _page(title: str, config: dict[str, Any], tiles: list[tuple[str, str]], parts: list[str]) -> str:
    split = "; ".join(f"{part}: {', '.join(names) or 'none'}" for part, names in config["split"].items())
    shown = "".join(f'<div class="tile"><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>' for v, k in tiles)
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    origin = f"database {config['database']['uri']}, commit {config['database']['commit']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><p class=note>{html.escape(split)}</p>"
        f'<div class="tiles">{shown}</div>{"".join(parts)}'
        f"<p class=note>{html.escape(origin)}; {html.escape(config['backend'])} backend; {html.escape(versions)}</p></html>"
    )


def _section(heading: str, body: Iterable[str], note: str = "") -> str:
    return f"<h2>{html.escape(heading)}</h2>{f'<p class=note>{html.escape(note)}</p>' if note else ''}{''.join(body)}"


def _figure(image: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'


def _png(drawn: Any) -> bytes:
    import io

    from matplotlib import pyplot as plt

    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=130)
    plt.close(drawn)
    return buffer.getvalue()


def _training_curves(history: list[dict[str, float]]) -> bytes:
    from kerasgen import plotting

    losses = [name for name in history[0] if name.endswith("loss") and not name.startswith("val_")]
    losses.sort(key=lambda name: name != "loss")
    epochs = [row["epoch"] for row in history]
    drawn, axes = plotting.figure(1, len(losses), width=3.6, height=2.7)
    for ax, name in zip(axes[0], losses, strict=True):
        ax.plot(epochs, [row[name] for row in history], color=plotting.BASELINES[2], label="training")
        ax.plot(epochs, [row[f"val_{name}"] for row in history], color=plotting.MODEL, label="validation")
        ax.set(xlabel="epoch", title=name.replace("_", " "))
        ax.legend()
    return _png(drawn)


def _read_scores(path: str) -> tuple[dict[str, Any], list[bytes]]:
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected the P.json of gen_score_bpnet")
    try:
        document = json.loads(Path(path).read_text())
        prefix = path.removesuffix(".json")
        images = [Path(f"{prefix}.task_{task['task']}.png") for task in document["tasks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the JSON of gen_score_bpnet") from error
    return document, [image.read_bytes() for image in images if image.is_file()]


def _score_tiles(tasks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    tiles = []
    for name in heads.in_order(dict.fromkeys(name for task in tasks for name in task)):
        measure, text = _TILES[heads.name_of_kind(name) or name]
        known = [task[name]["model"][measure] for task in tasks if name in task]
        values = [value for value in known if value is not None]
        if values:
            tiles.append((f"{np.mean(values):.3f}", text if name in heads.NAMES else f"{text} ({name})"))
    return tiles


def _score_tables(tasks: list[dict[str, Any]]) -> str:
    tables = []
    for task in tasks:
        for head in heads.in_order(task):
            measures = list(task[head]["model"])
            names = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in measures)
            rows = [f"<tr><th>{html.escape(task['name'])}: {head} ({task['n']:,} loci)</th>{names}</tr>"]
            for source, values in task[head].items():
                cells = "".join(f"<td>{'' if values[m] is None else f'{values[m]:.3f}'}</td>" for m in measures)
                rows.append(f'<tr class="{source}"><td>{source.replace("_", " ")}</td>{cells}</tr>')
            tables.append(f"<table>{''.join(rows)}</table>")
    return "".join(tables)


def _profiles(path: str) -> bytes:
    from scipy.special import softmax

    from kerasgen import plotting
    from kerasgen.prediction.files import read_predictions

    found = read_predictions(path)
    if found.profile is None:
        raise InputError(f"{path}: holds no profiles")
    labels, logits = np.nan_to_num(found.labels[found.profile]), found.outputs[found.profile]
    totals = labels.sum(axis=(1, 2))
    ranked = np.argsort(totals)[::-1]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) * 0.75, _PROFILES, endpoint=False).astype(int))]
    drawn, axes = plotting.figure(len(chosen), 2, width=4.6, height=1.9, sharex=True)
    x = np.arange(labels.shape[1]) - labels.shape[1] // 2
    for (left, right), i in zip(axes, chosen, strict=True):
        expected = softmax(logits[i], axis=0) * labels[i].sum(axis=0)
        for ax, values, color in ((left, labels[i], plotting.OBSERVED), (right, expected, plotting.MODEL)):
            for task in range(values.shape[1]):
                side = 1 if task % 2 == 0 else -1
                ax.fill_between(
                    x, 0, side * values[:, task], step="mid", color=color, alpha=0.8 - 0.25 * (task % 2), lw=0
                )
            ax.axhline(0, color="black", linewidth=0.5)
        chromosome, centre, strand = found.coords[i]
        left.set_title(f"{chromosome}:{int(centre):,} {strand}, {totals[i]:,.0f} counts: observed")
        right.set_title("predicted shape, observed total")
    for ax in axes[-1]:
        ax.set_xlabel("bp from the centre")
    return _png(drawn)


def _logos(found: Any, sites: dict[str, list[Any]]) -> bytes:
    import logomaker
    import pandas as pd

    from kerasgen import plotting

    heads = list(found.observed)
    first = found.observed[heads[-1]]
    ranked = np.argsort(np.abs(first).sum(axis=1))[::-1]
    chosen = ranked[np.linspace(0, max(len(ranked) // 4, 3), 3, endpoint=False).astype(int)[: len(ranked)]]
    drawn, axes = plotting.figure(len(chosen) * len(heads), 1, width=10.5, height=1.45)
    rows = iter(axes[:, 0])
    length = first.shape[1]
    width = min(_LOGO_WIDTH, length)
    for i in chosen:
        smooth = np.convolve(np.abs(first[i]), np.ones(width), mode="valid")
        begin = int(smooth.argmax())
        window = slice(begin, begin + width)
        for head in heads:
            ax = next(rows)
            scores = found.sequence[i, window] * found.observed[head][i, window, None]
            logomaker.Logo(pd.DataFrame(scores, columns=list("ACGT")), ax=ax)
            place = f"{found.chromosome[i]}:{found.start[i] + begin:,}"
            ax.set_title(f"{place} {'(reverse complement) ' if found.reverse[i] else ''}{head}", loc="left")
            ax.set_xticks([])
            for site in sites.get(found.chromosome[i], []):
                low, high = site.start - found.start[i], site.end - found.start[i]
                if found.reverse[i]:
                    low, high = length - high, length - low
                low, high = low - begin, high - begin
                if high > 0 and low < width:
                    ax.axvspan(max(low, 0) - 0.5, min(high, width) - 0.5, color="#f3d36b", alpha=0.45, zorder=-1, lw=0)
                    middle = (max(low, 0) + min(high, width)) / 2 - 0.5
                    ax.text(middle, ax.get_ylim()[1], site.name, ha="center", va="bottom", fontsize=7)
    return _png(drawn)


def _roc(found: Any, sites: dict[str, list[Any]], auroc: dict[str, float]) -> bytes:
    from sklearn.metrics import roc_curve

    from kerasgen import plotting
    from kerasgen.interpretation.recovery import known_bases

    known = known_bases(found, sites).reshape(-1)
    drawn, axes = plotting.figure(1, 1, width=3.6, height=3.2)
    ax = axes[0, 0]
    for color, (head, scores) in zip((plotting.MODEL, *plotting.BASELINES), found.observed.items(), strict=False):
        wrong, right, _ = roc_curve(known, np.abs(scores).reshape(-1))
        ax.plot(wrong, right, color=color, label=f"{head} ({auroc[head]:.3f})")
    ax.plot([0, 1], [0, 1], color="grey", linewidth=0.7, linestyle="--")
    ax.set(xlabel="share of other bases", ylabel="share of bases in known sites")
    ax.legend()
    return _png(drawn)
