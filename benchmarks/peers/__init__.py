"""Published real-time networks, for speed comparisons with Cross-CBAM.

>>> from peers import PEERS
>>> model = PEERS["stdc1-seg"]((512, 1024, 3))
>>> model.output_shape
(None, 512, 1024, 19)

All of them use the layers of `keras_crosscbam`, so that their exported graphs are comparable.
STDC-Seg and PP-LiteSeg also use its encoder, and the others have separate encoders. Heads that are
only used in training are not included.
"""

from functools import partial

from peers.ddrnet import ddrnet
from peers.pidnet import pidnet
from peers.pp_liteseg import pp_liteseg
from peers.sctnet import sctnet
from peers.stdc_seg import stdc_seg

# Builders `(input_shape, num_classes=19) -> keras.Model`.
PEERS = {
    "stdc1-seg": partial(stdc_seg, "stdc1"),
    "stdc2-seg": partial(stdc_seg, "stdc2"),
    "pp-liteseg-t": partial(pp_liteseg, "stdc1"),
    "pp-liteseg-b": partial(pp_liteseg, "stdc2"),
    "ddrnet-23-slim": ddrnet,
    "pidnet-s": pidnet,
    "sctnet-s": partial(sctnet, "s"),
    "sctnet-b": partial(sctnet, "b"),
}
