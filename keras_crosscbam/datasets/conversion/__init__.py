"""From the files of annotation tools and public data sets to the layout of one's own data.

`conversion` has the function, `formats` the table of formats, and each other file one step:
`source` looks into the folder, `annotations` is what a reader gives, `drawing` draws it, `splits`
divides the images and `writing` writes. The readers are named like their formats.
"""

from keras_crosscbam.datasets.conversion.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
