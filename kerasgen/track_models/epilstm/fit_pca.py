"""Fit principal components of a database's tracks: the baseline of an autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import Setting, absolute_path, require_new, takes_settings
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.settings import Overwrite, TdbArray
from kerasgen.track_models.epilstm import record
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.settings import ChromosomeParts, TrackModelPrefix, TrackSelection


@takes_settings
def fit_pca(
    tdb_array: TdbArray,
    model_prefix: TrackModelPrefix,
    components: Annotated[int, Setting("number of principal components", unit="components", group="model")],
    *,
    selection: TrackSelection,
    parts: ChromosomeParts,
    overwrite: Overwrite = False,
) -> float:
    """Fit principal components of a database's tracks and write them as a bundle: a linear Epi-LSTM without units.

    All bins but those held out for testing are used.

    Returns:
        Share of the variance of the test bins that they explain, of the others' where none is held out.

    Raises:
        InputError: more components than tracks, or as :func:`kerasgen.track_models.epilstm.train.train_epilstm`.
    """
    if components < 1:
        raise InputError(f"--pca {components}: expected 1 or more")
    tdb_array = absolute_path(str(tdb_array))
    run: dict[str, Any] = {
        "tdb_array": tdb_array, "model_prefix": model_prefix, **selection.flat(), **parts.flat(),
        "overwrite": overwrite, "model_params": None, "pca": components,
    }  # fmt: skip
    require_new(bundle.path_of(model_prefix, "keras"), overwrite=overwrite)
    database = Database(tdb_array)
    record.split_chromosomes(database, parts, validates=False)
    backend.load()
    selected = record.select_tracks(database, selection, parts, validates=False)
    tracks = selected.tracks
    if components > len(tracks.pairs):
        raise InputError(f"--pca {components}: {len(tracks.pairs)} tracks have no more components")
    from architectures import epilstm
    from kerasgen.track_models.epilstm import pca
    from kerasgen.track_models.epilstm.evaluation import r_squared

    storage.require_writable(Path(model_prefix).parent)
    fitted_on = (*selected.bins.train, *selected.bins.validation)
    normalisation = Normalisation.of(tracks, fitted_on)
    config = epilstm.Config(tracks=len(tracks.pairs), bottleneck=components, units=0, look_ahead=0)
    model = epilstm.build(config)
    directions = pca.components(normalisation.apply(tracks.values), fitted_on, components)
    model.get_layer("code").set_weights([directions, np.zeros(components, np.float32)])
    model.get_layer("reconstruction").set_weights([directions.T, np.zeros(len(tracks.pairs), np.float32)])
    explained = r_squared(model, normalisation, tracks, selected.bins.test or fitted_on)
    contents = record.document(database, run, config, model, normalisation, selected)
    bundle.write_model(model_prefix, model)
    measured = {"test" if selected.bins.test else "train": explained}
    bundle.write_config(model_prefix, {**contents, "r2": record.defined(measured)})
    return explained
