"""Loads weights files into models."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from keras_crosscbam.classes import CLASS_TABLES, ClassTable
from keras_crosscbam.datasets.class_mapping import difference, relabeling
from keras_crosscbam.layers.switches import DEFAULTS
from keras_crosscbam.manifest import find_file
from keras_crosscbam.models.class_names import classes_of
from keras_crosscbam.models.surgery import is_backbone
from keras_crosscbam.models.weights_file import read_weights

SCORES = "classifier"
_AUX = "aux_"
HEADS = (SCORES, _AUX + SCORES, "predictions")
_FIRST = "stem_conv1/conv"
# Parts of a file that a smaller model may lack: auxiliary head, heads, STDC's classifier.
_DISPENSABLE = (_AUX, "classifier", "top_", "predictions")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """The contents of a `.weights.h5` file.

    Attributes:
        source: path of the file, for messages.
        variables: dict from layer path, such as `"se_aspp/reduce"`, to the arrays of that layer in
            the order of Keras (kernel, bias; gamma, beta, moving mean, moving variance).
        entry: manifest entry of the file; empty for a file that is not in the manifest.
        stored_classes: the `ClassTable` in the file, or None.
        switches: dict of `count_include_pad`, `square_top` and `gate_activation` in the file,
            without those that have their default values.
    """

    source: str
    variables: dict[str, list[np.ndarray]] = field(repr=False)
    entry: dict
    stored_classes: ClassTable | None = None
    switches: dict = field(default_factory=dict)

    @property
    def num_classes(self):
        """Number of classes of the segmentation head or classifier, or None without either."""
        heads = (self.variables.get(name) for name in ("classifier", "predictions"))
        return next((arrays[0].shape[-1] for arrays in heads if arrays is not None), None)

    @property
    def channels(self):
        """Number of input channels of the first convolution, or None without one.

        It is 3 for weights of gray images, too.
        """
        return self.variables[_FIRST][0].shape[2] if _FIRST in self.variables else None

    @property
    def classes(self):
        """The `ClassTable` of the segmentation head, or None if the classes are not known."""
        table = self.stored_classes or CLASS_TABLES.get(self.entry.get("classes"))
        return table if table is not None and table.num_classes == self.num_classes else None

    def load_into(self, model, backbone_only=False):
        """Assigns the variables to the layers with the same names.

        If one of them does not fit, none is assigned. These heads of the model are not changed,
        and a message is logged: a head for another number of classes, a head for other class names
        (if model and file both have names), and an auxiliary head for which the file has no
        weights. If the class names are the same but their order differs, the head is loaded in the
        order of the model. A model without class names takes those of the loaded head. An
        auxiliary head or classifier in the file that the model does not have is ignored.

        Args:
            model: a model built by `CrossCBAM` or `STDC`.
            backbone_only: whether to load only the encoder.

        Raises:
            ValueError: if a layer is missing or unknown, or has another shape. The model is not
                changed.
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
                f"{'; '.join(problems[:4])}{more}. No weights were changed. Check whether "
                "backbone, width and ablation arguments are those of the file."
            )
        ours = classes_of(model)
        for path, variables in wanted.items():
            for variable, array in zip(variables, self._arrays(path, ours), strict=True):
                variable.assign(array.astype("float32"))
        if SCORES in wanted:
            self._name_classes(model, ours)
        if skipped:
            logger.warning(
                "%s: loaded all layers except %s, for which the file has no fitting weights%s",
                self.source,
                ", ".join(sorted(skipped)),
                self._other_classes(ours),
            )

    def for_channels_of(self, model):
        """Returns these weights with the first convolution adapted to a model's input channels.

        The channels of an RGB kernel are repeated in order and multiplied by 3 / channels, which
        keeps the magnitude of the outputs (as in timm and segmentation_models.pytorch). Other
        weights are returned unchanged.
        """
        first = variables_of(model).get(_FIRST)
        channels = first and first[0].shape[2]
        if self.channels != 3 or channels in (None, 3):
            return self
        kernel, *others = self.variables[_FIRST]
        kernel = np.float32(kernel)[:, :, np.arange(channels) % 3] * (3 / channels)
        logger.warning(
            "%s: the first convolution, for 3 channels, is repeated and rescaled for %d in %s",
            self.source,
            channels,
            model.name,
        )
        return replace(self, variables={**self.variables, _FIRST: [kernel, *others]})

    def _check_channels(self, name, wanted):
        """Raises a `ValueError` for weights for another number of image channels."""
        channels = wanted[_FIRST][0].shape[2] if _FIRST in wanted else None
        if None not in (self.channels, channels) and self.channels != channels:
            raise ValueError(
                f"{self.source} is for images with {self.channels} channels, but the model "
                f"{name!r} is for {channels}. No weights were changed. Build the model with "
                f"`input_shape=(height, width, {self.channels})`."
            )

    def _check_width(self, name, wanted):
        """Raises a `ValueError` for weights with another `alpha`, for which every layer differs."""
        shapes = [
            tuple(layers[_FIRST][0].shape)
            for layers in (self.variables, wanted)
            if _FIRST in layers
        ]
        if len(shapes) == 2 and shapes[0][-1] != shapes[1][-1]:
            file, model = (shape[-1] for shape in shapes)
            raise ValueError(
                f"{self.source} does not fit the model {name!r}: its encoder is {file / model:g} "
                f"times as wide (the first layer has {file} filters, that of the model {model}). "
                "No weights were changed. Build the model with the `alpha` of the weights, or "
                "start a training from wider weights with `narrowed_from`."
            )

    def _check_switches(self, model, backbone_only):
        """Raises a `ValueError` for weights of a network with other switches than the model."""
        ours = switches_of(model)
        relevant = {"count_include_pad"}
        if not backbone_only:
            # Files of older versions do not contain `gate_activation`.
            relevant |= {"gate_activation"} & self.switches.keys()
        if not backbone_only and "predictions" in self.variables and _has_classifier(model):
            relevant |= {"square_top"}
        for name in sorted(relevant):
            theirs, own = (s.get(name, DEFAULTS[name]) for s in (self.switches, ours))
            if theirs != own:
                raise ValueError(
                    f"{self.source} does not fit the model {model.name!r}: its weights are of a "
                    f"network with {name}={theirs!r}, but the model has {own!r}. No weights were "
                    f"changed. Build the model with {name}={theirs!r}."
                )

    def reach_beyond_encoder(self, model):
        """Returns whether file and model have layers in common outside of the encoder."""
        return any(path in self.variables and not is_backbone(path) for path in variables_of(model))

    def mismatches(self, model, backbone_only=False):
        """Returns a list of the differences between file and model, one text for each layer."""
        wanted, _ = self._split(model, backbone_only)
        problems = [f"{path} is missing" for path in wanted if path not in self.variables]
        for path in (path for path in wanted if path in self.variables):
            expected = [tuple(variable.shape) for variable in wanted[path]]
            received = [array.shape for array in self.variables[path]]
            if expected != received:
                problems.append(f"{path}: the model has {expected}, the file has {received}")
        if not backbone_only:
            problems += [
                f"{path} does not exist in the model"
                for path in self.variables
                if path not in wanted and not path.startswith(_DISPENSABLE)
            ]
        return problems

    def _split(self, model, backbone_only):
        """Returns the layers of a model to load, and the paths of those that are not changed."""
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
        """Returns how the classes of file and model differ, as the end of a sentence, or ""."""
        if self.classes is None or ours is None or not ours.is_named:
            return ""
        text = difference(self.classes, ours, "the file", "the model")
        return text and f": its classes are different ({text})"

    def _arrays(self, path, ours):
        """Returns the arrays of a layer. Those of a head are in the class order of the model."""
        arrays = self.variables[path]
        if path not in (SCORES, _AUX + SCORES) or ours is None or self.classes is None:
            return arrays
        # A single channel has no order.
        if ours.one_logit:
            return arrays
        order = relabeling(ours, self.classes, "the model", self.source)[: len(ours)]
        return [array[..., order] for array in arrays]

    def _name_classes(self, model, ours):
        """Copies the class names of the loaded head to a model without class names."""
        if self.classes is not None and (ours is None or not ours.is_named):
            model.classes = self.classes
        if self.classes is None and ours is not None and ours.is_named:
            logger.warning(
                "%s does not name its classes: its head is assumed to be for %s",
                self.source,
                ", ".join(ours.names),
            )


def find_weights(weights, architecture):
    """Reads weights by name, path or URL, and verifies their SHA-256 if it is known.

        >>> from keras_crosscbam.models.weights import find_weights
        >>> find_weights("camvid", "cross_cbam_stdc1").num_classes  # doctest: +SKIP
        11

    Args:
        weights, architecture: as in `keras_crosscbam.manifest.find_file`.

    Returns:
        `Weights`.

    Raises:
        ValueError: if there is no such name or file, if the hash is wrong, or if the file is
            damaged.
    """
    path, entry = find_file(weights, architecture)
    variables, classes, switches = read_weights(path)
    return Weights(str(path), variables, entry, classes, switches)


def variables_of(model):
    """Returns a dict from layer path to the layer's variables, in the order Keras stores them."""
    grouped = {}
    for variable in model.weights:
        grouped.setdefault(variable.path.rsplit("/", 1)[0], []).append(variable)
    return grouped


def switches_of(model):
    """Returns the switches of a model that differ from their defaults, as a dict."""
    found = {}
    for layer in model.layers:
        found |= getattr(layer, "switches", {})
    return found


def switch(name, value, weights):
    """Returns the value of a builder's argument, or that of the weights if it is None.

    Args:
        name: name of the argument, a key of `layers.switches.DEFAULTS`.
        value: the argument as it was given, or None.
        weights: the `Weights` that are loaded into the model, or None.
    """
    if value is not None:
        return value
    return (weights.switches if weights else {}).get(name, DEFAULTS[name])


def _has_classifier(model):
    return any(layer.name == "predictions" for layer in model.layers)
