"""Converts files of annotation tools and public data sets to the layout of `load_folder`.

`conversion` contains the function `convert` and `formats` the table of formats. `source` finds and
reads the files of a folder, `annotations` contains the classes that readers return, `drawing` draws
masks, `splits` splits the images, and `writing` writes the result. The modules of the readers have
the names of their formats.
"""

from keras_crosscbam.datasets.conversion.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
