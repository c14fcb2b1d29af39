"""Training on several devices and processes gives what one device gives."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from trained import assert_same_arrays, log_of, start
from training_program import PROGRAM_ENV

from keras_crosscbam.training.log import EpochLog

# Without dropout, whose masks depend on how a batch is shared, and with SGD, which does not blow
# rounding up as the division in Adam does. Losses, BatchNormalization, augmentation are all in.
SAME = ("dropout_rate=0.0", "optimizer=sgd", "learning_rate=0.01", "batch_size=4")
TOLERANCE = 1e-4
"""Largest difference of any weight or optimizer state after six steps."""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
