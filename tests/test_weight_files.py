"""Files of PyTorch, Paddle and safetensors are read as they are, and none of them runs code."""

import contextlib
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import foreign_weights
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from keras_crosscbam.weight_conversion.files import read_state_dict
from keras_crosscbam.weight_conversion.restricted_pickle import _PLAIN
from keras_crosscbam.weight_conversion.torch_files import _ALLOWED

LEGACY = {"_use_new_zipfile_serialization": False}
FORMATS = {
    "zip": lambda state, path: torch.save(state, path),
    "pickles": lambda state, path: torch.save(state, path, **LEGACY),
}


def tensors():
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    return OrderedDict(
        plain=torch.randn(3, 4, 5),
        turned=base.T,
        part=base[1:4, 2:7:2],
        same=base,
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        half=torch.randn(7).half(),
        brain=torch.randn(7).bfloat16(),
        double=torch.randn(7).double(),
        long=torch.arange(4),
        flags=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        **{"num_batches_tracked": torch.tensor(3)},
    )


@pytest.mark.parametrize("wrapper", [None, "state_dict", "net"])
@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_are_those_that_torch_reads(kind, wrapper, tmp_path):
    path, state = tmp_path / "weights.tar", tensors()
    FORMATS[kind](state if wrapper is None else {wrapper: state, "epoch": 3, "best": 0.5}, path)
    read = read_state_dict(path)
    assert read.wrapper == wrapper
    expected = torch.load(path, weights_only=True)
    expected = expected if wrapper is None else expected[wrapper]
    assert list(read.arrays) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach()
        wanted = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        assert read.arrays[name].dtype == wanted.dtype
        np.testing.assert_array_equal(read.arrays[name], wanted)


def test_what_checkpoints_hold_besides_is_read_or_passed_over(tmp_path):
    state = {"a": torch.ones(2)}
    content = {
        "state_dict": state,
        "meta": {"config": "norm_cfg = dict(type='BN')", "CLASSES": ("road", "sky")},
        "accuracy": np.float64(0.5),
        "curve": np.arange(3.0),
        "optimizer": {"param_groups": [{"lr": 0.1, "params": [0]}], "state": {}},
    }
    torch.save(content, tmp_path / "c.pth")
    read = read_state_dict(tmp_path / "c.pth")
    assert read.meta["CLASSES"] == ("road", "sky")
    assert list(read.arrays) == ["a"]


def test_super_gradients_averaged_weights_come_first(tmp_path):
    torch.save({"net": {"a": torch.ones(1)}, "ema_net": {"a": torch.zeros(1)}}, tmp_path / "c.pth")
    read = read_state_dict(tmp_path / "c.pth")
    assert (read.wrapper, read.arrays["a"][0]) == ("ema_net", 0)


def test_tar_archives_of_the_first_versions_are_read(tmp_path):
    state = {"a": torch.randn(3, 2), "b": torch.randn(4), "c": torch.tensor(1.5)}
    path = foreign_weights.write_tar(tmp_path / "old.tar", state)
    # PyTorch reads them with its unrestricted reader alone.
    expected = torch.load(path, weights_only=False)["state_dict"]
    read = read_state_dict(path)
    assert list(read.arrays) == list(expected) == list(state)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read.arrays[name], tensor.numpy())


@pytest.mark.parametrize("as_pairs", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_paddle_files_are_read(protocol, as_pairs, tmp_path):
    state = {
        "a": torch.randn(3, 4, 1, 1),
        "turned": torch.randn(5, 2).T,
        "long": torch.arange(3),
        "scalar": torch.tensor(2.0),
    }
    path = foreign_weights.write_paddle(tmp_path / "x.pdparams", state, protocol, as_pairs)
    read = read_state_dict(path).arrays
    assert list(read) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_arrays_of_the_other_byte_order_are_read(tmp_path):
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({"a": np.arange(3, dtype=">f4")}, protocol=2))
    np.testing.assert_array_equal(read_state_dict(path).arrays["a"], [0, 1, 2])


def test_safetensors_are_read(tmp_path):
    state = {
        "a": torch.randn(3, 2),
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "long": torch.arange(3),
    }
    save_file(state, tmp_path / "x.safetensors")
    read = read_state_dict(tmp_path / "x.safetensors").arrays
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name].astype("float64"), tensor.double().numpy())


# Files that run code


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target, call="os"):
        self.target, self.call = str(target), call

    def __reduce__(self):
        if self.call == "eval":
            return eval, (f"open({self.target!r}, 'w').close()",)
        if self.call == "exec":
            return exec, (f"import os; os.mkdir({self.target!r})",)
        return os.system, (f"touch {self.target}",)


def write_malicious(kind, payload, path):
    content = {"state_dict": {"features.0.conv.weight": torch.zeros(1)}, "meta": payload}
    if kind == "tar":
        foreign_weights.write_tar(path, {"a": torch.zeros(2)})
        hidden = pickle.dumps(payload, protocol=2)
        # The archive's third member, the pickle, is replaced.
        with tarfile.open(path) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}
        with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
            for name, data in (members | {"pickle": hidden}).items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    elif kind == "paddle":
        path.write_bytes(pickle.dumps({"a": np.zeros(1), "b": payload}, protocol=4))
    else:
        FORMATS[kind](content, path)


@pytest.mark.parametrize("call", ["os", "eval", "exec"])
@pytest.mark.parametrize("kind", ["zip", "pickles", "tar", "paddle"])
def test_a_malicious_file_is_refused_and_does_nothing(kind, call, tmp_path):
    target, path = tmp_path / "created", tmp_path / "weights.tar"
    write_malicious(kind, Payload(target, call), path)
    # The payload is real: an unrestricted reader runs it.
    if kind == "paddle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert target.exists()
    target.rmdir() if target.is_dir() else target.unlink()
    with pytest.raises(ValueError, match=r"was not loaded: it contains \w+\.\w+.*could run code"):
        read_state_dict(path)
    assert not target.exists()


def raw_pickle(path, body):
    path.write_bytes(b"\x80\x02" + body + b".")
    return path


def test_a_pickle_cannot_change_the_functions_it_may_call(tmp_path):
    """Opcode BUILD sets attributes of whatever is on the stack."""
    state = {"a": torch.randn(2)}
    torch.save(state, tmp_path / "good.pth")
    for name in sorted(_PLAIN.keys()):
        module, attribute = name.rsplit(".", 1)
        found = f"c{module}\n{attribute}\n".encode()
        attributes = b"}X\x08\x00\x00\x00__call__Ns"
        in_slots = b"(N" + attributes + b"t"
        for body in (found + attributes + b"b", found + in_slots + b"b"):
            with pytest.raises(ValueError, match=r"bad\.pdparams"):
                read_state_dict(raw_pickle(tmp_path / "bad.pdparams", body))
    np.testing.assert_array_equal(read_state_dict(tmp_path / "good.pth").arrays["a"], state["a"])


def test_what_pickles_may_name_is_a_short_list_without_callables_of_the_interpreter():
    assert len(_PLAIN) < 30
    assert not any(name.startswith(("os", "posix", "subprocess", "sys")) for name in _PLAIN)
    forbidden = ("eval", "exec", "getattr", "open", "__import__", "compile")
    assert not any(name.endswith(f".{bad}") for name in _PLAIN | _ALLOWED for bad in forbidden)


def test_whole_models_are_refused_with_what_to_do(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"contains torch\.nn\.\S*Linear.*model\.state_dict\(\)"):
        read_state_dict(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of torch.save"),
        (b"hello world, this is text", "not a file of torch.save"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "needs no conversion"),
        (pickle.dumps([1, 2], protocol=2), "contains no weights.*Received: a list"),
        (pickle.dumps({"a": 1}, protocol=2), "contains no weights.*Received: a dict of 'a'"),
        (pickle.dumps({"a": np.zeros(2, object)}, protocol=2), "arrays of numbers"),
        (pickle.dumps({"UnpackBigParamInfor@@": {}}, protocol=2), "split arrays"),
    ],
)
def test_other_files_are_refused_with_a_sentence(content, message, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_state_dict(tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.pth: no such file"):
        read_state_dict(tmp_path / "nowhere.pth")


def test_zip_archives_of_others_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(ValueError, match=r"not one of torch\.save"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(ValueError, match="compressed zip archive"):
        read_state_dict(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(ValueError, match=r"cannot be read: .*(TorchScript|compressed)"):
        read_state_dict(tmp_path / "x.pt")


def test_tensors_beyond_their_numbers_are_refused(tmp_path):
    """Sizes and strides of a file must not make us read elsewhere in memory."""
    path = foreign_weights.write_tar(tmp_path / "x.tar", {"a": torch.ones(4)})
    content = path.read_bytes()
    sizes = struct.pack("<iiqqq", 1, 0, 4, 1, 0)
    assert content.count(sizes) == 1
    for rank, _, side, stride, offset in (
        (1, 0, 5, 1, 0),
        (1, 0, 4, 2, 0),
        (1, 0, 4, 1, 1),
        (1, 0, 4, -1, 3),
        (1, 0, 4, 1, -2),
        (1, 0, 2**40, 0, 0),
    ):
        path.write_bytes(
            content.replace(sizes, struct.pack("<iiqqq", rank, 0, side, stride, offset))
        )
        with pytest.raises(ValueError, match=r"x\.tar cannot be read: a tensor"):
            read_state_dict(path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    state = {"a": torch.randn(3, 2), "b": torch.arange(3)}
    for kind, write in FORMATS.items():
        write(state, folder / kind)
    foreign_weights.write_tar(folder / "tar", {"a": torch.randn(3, 2)})
    foreign_weights.write_paddle(folder / "paddle", state)
    save_file(state, folder / "safetensors")
    return folder


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_never_worse(valid, data):
    kind = data.draw(st.sampled_from([*FORMATS, "tar", "paddle", "safetensors"]))
    content = bytearray((valid / kind).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    path = valid / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        arrays = read_state_dict(path).arrays
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
