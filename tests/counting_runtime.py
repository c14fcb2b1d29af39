"""Networks that do nothing but count how often they are run."""

import numpy as np

from keras_crosscbam.runtime import Runtime
from keras_crosscbam.runtime.description import Description


class Counting(Runtime):
    """Counts its runs, and keeps what it was run on last."""

    def __init__(self, batch=None):
        super().__init__("counting", (8, 16), 2, batch=batch, description=Description("nchw"))
        self.runs = 0

    def run(self, prepared):
        self.runs, self.last = self.runs + 1, prepared
        return np.zeros((len(prepared), 2, 8, 16), np.float32)


class OnDevice(Counting):
    def time_device(self, runs, batch, warm_up):
        self.asked = runs, batch, warm_up
        return np.full(runs, 1000 / 256)
