"""What a weights file holds, and its way into a model: all of it or nothing."""

import logging
from dataclasses import dataclass, field, replace

import h5py
import numpy as np

from keras_crosscbam.classes import CLASS_TABLES, ClassTable
from keras_crosscbam.datasets.class_mapping import difference, relabeling
from keras_crosscbam.layers.scores import read_classes
from keras_crosscbam.layers.switches import DEFAULTS, read_switches
from keras_crosscbam.manifest import find_file
from keras_crosscbam.models.class_names import classes_of
from keras_crosscbam.models.surgery import is_backbone

SCORES = "classifier"
_AUX = "aux_"
HEADS = (SCORES, _AUX + SCORES, "predictions")
_FIRST = "stem_conv1/conv"
# Parts of a file that a smaller model has no place for: auxiliary head, heads, STDC's classifier.
_DISPENSABLE = (_AUX, "classifier", "top_", "predictions")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """The variables of a `.weights.h5` file, by the names of the layers they belong to.

    Attributes:
        source: the file, for messages.
        variables: layer path, such as `"se_aspp/reduce"`, to the arrays of that layer in the order
            Keras keeps them (kernel, bias; gamma, beta, moving mean, moving variance).
        entry: what the manifest says of the file; empty for files that do not stand in it.
        stored_classes: the `ClassTable` in the file, or None.
        switches: what the file says of `count_include_pad`, `square_top` and `gate_activation`, as
            far as it is not the default.
    """

    source: str
    variables: dict[str, list[np.ndarray]] = field(repr=False)
    entry: dict
    stored_classes: ClassTable | None = None
    switches: dict = field(default_factory=dict)

    @property
    def num_classes(self):
        """Classes of the file's segmentation head or classifier, or None if it has neither."""
        heads = (self.variables.get(name) for name in ("classifier", "predictions"))
        return next((arrays[0].shape[-1] for arrays in heads if arrays is not None), None)

    @property
    def channels(self):
        """Channels of the images that the first convolution takes, or None without one.

        Weights for gray images have 3, as those for RGB.
        """
        return self.variables[_FIRST][0].shape[2] if _FIRST in self.variables else None

    @property
    def classes(self):
        """The `ClassTable` of the segmentation head, or None where nobody has said."""
        table = self.stored_classes or CLASS_TABLES.get(self.entry.get("classes"))
        return table if table is not None and table.num_classes == self.num_classes else None

    def load_into(self, model, backbone_only=False):
        """Assigns the variables to the layers of the same names, all or none.

        A head for other classes stays as it is, that is for another number of them, or for other
        names where both sides know them; and so does an auxiliary head that the file has no weights
        for. One line of the log says so. A head for the same names in another order is loaded in
        the model's order. A model without names gets those of the head that is loaded. Weights of
        the file that a smaller model has no place for, its auxiliary head or classifier, are left
        out.

        Args:
            model: a model of `CrossCBAM` or `STDC`.
            backbone_only: whether to load the encoder alone.

        Raises:
            ValueError: if a layer is missing, unknown or of another shape; the model is unchanged.
        """
        fitting = self.for_channels_of(model)
        if fitting is not self:
            fitting.load_into(model, backbone_only)
            return
        wanted, skipped = self._split(model, backbone_only)
        self._check_channels(model.name, wanted)
        self._check_width(model.name, wanted)
        self._check_switches(model, backbone_only)
        problems = self.mismatches(model, backbone_only)
        if problems:
            more = f", and {len(problems) - 4} more" if len(problems) > 4 else ""
            raise ValueError(
                f"{self.source} does not fit the model {model.name!r}: "
                f"{'; '.join(problems[:4])}{more}. Nothing was loaded. Is it another backbone, "
                "width or ablation?"
            )
        ours = classes_of(model)
        for path, variables in wanted.items():
            for variable, array in zip(variables, self._arrays(path, ours), strict=True):
                variable.assign(array.astype("float32"))
        if SCORES in wanted:
            self._name_classes(model, ours)
        if skipped:
            logger.warning(
                "%s: loaded all but %s, which the file has no fitting weights for%s",
                self.source,
                ", ".join(sorted(skipped)),
                self._other_classes(ours),
            )

    def for_channels_of(self, model):
        """These weights, their first convolution made to fit the channels of a model's images.

        Of weights for RGB the kernel is repeated, R, G and B in turn, and multiplied by 3 /
        channels, which keeps the size of what comes out (as in timm and
        segmentation_models.pytorch). Other weights are returned as they are.
        """
        first = variables_of(model).get(_FIRST)
        channels = first and first[0].shape[2]
        if self.channels != 3 or channels in (None, 3):
            return self
        kernel, *others = self.variables[_FIRST]
        kernel = np.float32(kernel)[:, :, np.arange(channels) % 3] * (3 / channels)
        logger.warning(
            "%s: the first convolution, for 3 channels, is repeated and rescaled for the %d of %s",
            self.source,
            channels,
            model.name,
        )
        return replace(self, variables={**self.variables, _FIRST: [kernel, *others]})

    def _check_channels(self, name, wanted):
        """Refuses weights for images of another number of channels."""
        channels = wanted[_FIRST][0].shape[2] if _FIRST in wanted else None
        if None not in (self.channels, channels) and self.channels != channels:
            raise ValueError(
                f"{self.source} is for images of {self.channels} channels, the model {name!r} for "
                f"{channels}. Nothing was loaded. Build the model with "
                f"`input_shape=(height, width, {self.channels})`."
            )

    def _check_width(self, name, wanted):
        """Refuses weights of another `alpha`, in which every single layer differs."""
        shapes = [
            tuple(layers[_FIRST][0].shape)
            for layers in (self.variables, wanted)
            if _FIRST in layers
        ]
        if len(shapes) == 2 and shapes[0][-1] != shapes[1][-1]:
            file, model = (shape[-1] for shape in shapes)
            raise ValueError(
                f"{self.source} does not fit the model {name!r}: its encoder is {file / model:g} "
                f"times as wide (the first layer makes {file} channels, the model's {model}). "
                "Nothing was loaded. Build the model with the `alpha` of the weights, or let a "
                "training start from wider ones by `narrowed_from`."
            )

    def _check_switches(self, model, backbone_only):
        """Refuses weights of a network that computes something else from the same weights."""
        ours = switches_of(model)
        relevant = {"count_include_pad"}
        if not backbone_only:
            # Files of older versions do not tell `gate_activation`.
            relevant |= {"gate_activation"} & self.switches.keys()
        if not backbone_only and "predictions" in self.variables and _has_classifier(model):
            relevant |= {"square_top"}
        for name in sorted(relevant):
            theirs, own = (s.get(name, DEFAULTS[name]) for s in (self.switches, ours))
            if theirs != own:
                raise ValueError(
                    f"{self.source} does not fit the model {model.name!r}: its weights are of a "
                    f"network with {name}={theirs!r}, the model has {own!r}. Nothing was loaded. "
                    f"Build the model with {name}={theirs!r}."
                )

    def reach_beyond_encoder(self, model):
        """Whether file and model have more layers of one name than those of an encoder."""
        return any(path in self.variables and not is_backbone(path) for path in variables_of(model))

    def mismatches(self, model, backbone_only=False):
        """What keeps the file from fitting a model, one line a layer; empty if nothing does."""
        wanted, _ = self._split(model, backbone_only)
        problems = [f"{path} is missing" for path in wanted if path not in self.variables]
        for path in (path for path in wanted if path in self.variables):
            expected = [tuple(variable.shape) for variable in wanted[path]]
            received = [array.shape for array in self.variables[path]]
            if expected != received:
                problems.append(f"{path}: the model has {expected}, the file {received}")
        if not backbone_only:
            problems += [
                f"{path} does not exist in the model"
                for path in self.variables
                if path not in wanted and not path.startswith(_DISPENSABLE)
            ]
        return problems

    def _split(self, model, backbone_only):
        """The layers of a model to load, and those that may stay as they are."""
        layers = variables_of(model)
        if backbone_only:
            layers = {path: v for path, v in layers.items() if is_backbone(path)}
        renamed = bool(self._other_classes(classes_of(model)))
        skipped = [path for path, v in layers.items() if self._may_stay(path, v, renamed)]
        return {path: v for path, v in layers.items() if path not in skipped}, skipped

    def _may_stay(self, path, variables, renamed):
        if path not in self.variables:
            return path.startswith(_AUX)
        own = self.variables[path][0].shape[-1]
        return path in HEADS and (renamed or own != variables[0].shape[-1])

    def _other_classes(self, ours):
        """How the file's classes differ from a model's, as the end of a sentence, or ""."""
        if self.classes is None or ours is None or not ours.is_named:
            return ""
        text = difference(self.classes, ours, "the file", "the model")
        return text and f": its classes are others ({text})"

    def _arrays(self, path, ours):
        """The variables of a layer; of a segmentation head in the order of a model's classes."""
        arrays = self.variables[path]
        if path not in (SCORES, _AUX + SCORES) or ours is None or self.classes is None:
            return arrays
        # One channel has no order.
        if ours.one_logit:
            return arrays
        order = relabeling(ours, self.classes, "the model", self.source)[: len(ours)]
        return [array[..., order] for array in arrays]

    def _name_classes(self, model, ours):
        """Gives a model without names those of the head that it now has."""
        if self.classes is not None and (ours is None or not ours.is_named):
            model.classes = self.classes
        if self.classes is None and ours is not None and ours.is_named:
            logger.warning(
                "%s does not name its classes: its head is taken for one of %s",
                self.source,
                ", ".join(ours.names),
            )


def find_weights(weights, architecture):
    """Reads weights by name, path or URL, and verifies their SHA-256 where one is known.

        >>> from keras_crosscbam.models.weights import find_weights
        >>> find_weights("camvid", "cross_cbam_stdc1").num_classes  # doctest: +SKIP
        11

    Args:
        weights, architecture: as in `keras_crosscbam.manifest.find_file`.

    Returns:
        `Weights`.

    Raises:
        ValueError: if there is no such name or file, the hash is wrong, or the file is damaged.
    """
    path, entry = find_file(weights, architecture)
    variables, classes, switches = read_weights(path)
    return Weights(str(path), variables, entry, classes, switches)


def read_weights(path):
    """What Keras' weights format holds: variables by layer names, a `ClassTable` or None, switches.

    Keras stores each layer as a group `.../vars` that carries the layer's name and datasets "0",
    "1", ...; the groups of optimizers, metrics and random seeds hold no network weights. The layer
    `Scores` keeps the names of the classes beside them, and layers with switches keep those.
    """
    try:
        with h5py.File(path, "r") as file:
            if "layers" not in file:
                raise ValueError(
                    "no Keras weights file (it has no group 'layers'). Expected what "
                    "`model.save_weights('NAME.weights.h5')` writes."
                )
            found, tables, switches = {}, [], {}
            _walk(file["layers"], (), found, tables, switches)
            return found, tables[0] if tables else None, switches
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path}: not a readable weights file, perhaps cut off ({error}). Nothing was loaded."
        ) from error


def _walk(group, path, found, tables, switches):
    for name, child in group.items():
        if name == "vars" or not isinstance(child, h5py.Group) or name == "seed_generator":
            continue
        inner = path
        own = child.get("vars")
        if own is not None and "name" in own.attrs:
            inner = (*path, own.attrs["name"])
            table, told = read_classes(own), read_switches(own)
            switches |= told
            if table is not None:
                tables.append(table)
            elif len(own) and not told:
                found["/".join(inner)] = [own[str(i)][()] for i in range(len(own))]
        _walk(child, inner, found, tables, switches)


def variables_of(model):
    """Layer path to the layer's variables, in the order that Keras stores them in."""
    grouped = {}
    for variable in model.weights:
        grouped.setdefault(variable.path.rsplit("/", 1)[0], []).append(variable)
    return grouped


def switches_of(model):
    """The switches of a model that differ from their defaults, such as `gate_activation`."""
    found = {}
    for layer in model.layers:
        found |= getattr(layer, "switches", {})
    return found


def switch(name, value, weights):
    """The value of a builder's argument that follows the weights where it is None.

    Args:
        name: of the argument, one of `layers.switches.DEFAULTS`.
        value: what was given, or None.
        weights: the `Weights` that the model is built for, or None.
    """
    if value is not None:
        return value
    return (weights.switches if weights else {}).get(name, DEFAULTS[name])


def _has_classifier(model):
    return any(layer.name == "predictions" for layer in model.layers)
