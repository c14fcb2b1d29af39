"""What every model starts with: its input tensor and the normalization of pixels."""

import keras

# Mean and standard deviation of ImageNet's R, G, B on a scale of 0..1, the field's convention.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def image_input(input_shape, input_tensor=None):
    """The tensor to build on, and the inputs of the model that will contain it.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        input_tensor: a Keras tensor `(batch, height, width, channels)` to build on instead, for
            instance the output of other layers.

    Returns:
        A pair: the image tensor, and the `keras.Input`(s) that it comes from.

    Raises:
        ValueError: if the shape has no fixed number of channels, or is not of rank 3.
    """
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, for instance keras.Input(...). "
                f"Received: {type(input_tensor).__name__}"
            )
        sources = keras.utils.get_source_inputs(input_tensor)
        return input_tensor, sources[0] if len(sources) == 1 else sources
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise ValueError(
            "`input_shape` must be (height, width, channels) with a fixed number of channels. "
            f"Received: {input_shape!r}"
        )
    inputs = keras.Input(shape=input_shape, name="image")
    return inputs, inputs


def normalize(images):
    """Scales pixels of 0..255 to ImageNet's statistics, in float32 whatever the dtype policy.

    Images with other than three channels take the mean of the three channels' statistics.
    """
    mean, std = MEAN, STD
    if images.shape[-1] != len(MEAN):
        mean, std = [sum(MEAN) / len(MEAN)], [sum(STD) / len(STD)]
    return keras.layers.Rescaling(
        scale=[1 / (255 * s) for s in std],
        offset=[-m / s for m, s in zip(mean, std, strict=True)],
        dtype="float32",
        name="normalize",
    )(images)
