"""Parses config.pbtxt with protobuf, by the schema of Triton's model_config.proto.

The schema below has the fields that this package writes, with their numbers. If the package
tritonclient is installed, its complete schema is used as well.
"""

import importlib.util
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

KINDS = {"string": 9, "int32": 5, "int64": 3, "uint64": 4, "bool": 8}
TYPES = [
    "INVALID",
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
]
MESSAGES = {
    "ModelInput": [("name", 1, "string"), ("data_type", 2, "DataType"), ("dims", 4, "int64*")],
    "ModelOutput": [
        ("name", 1, "string"),
        ("data_type", 2, "DataType"),
        ("dims", 3, "int64*"),
        ("label_filename", 4, "string"),
    ],
    "ModelDynamicBatching": [("max_queue_delay_microseconds", 2, "uint64")],
    "ModelConfig": [
        ("name", 1, "string"),
        ("backend", 17, "string"),
        ("max_batch_size", 4, "int32"),
        ("input", 5, "ModelInput*"),
        ("output", 6, "ModelOutput*"),
        ("dynamic_batching", 11, "ModelDynamicBatching"),
    ],
}


def small_schema():
    file = descriptor_pb2.FileDescriptorProto(
        name="small_model_config.proto", package="inference", syntax="proto3"
    )
    kinds = file.enum_type.add(name="DataType")
    for number, name in enumerate(TYPES):
        kinds.value.add(name=f"TYPE_{name}", number=number)
    for message, fields in MESSAGES.items():
        entry = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = entry.field.add(name=name, number=number, label=3 if kind[-1] == "*" else 1)
            kind = kind.rstrip("*")
            field.type = KINDS.get(kind, 14 if kind == "DataType" else 11)
            if kind not in KINDS:
                field.type_name = f".inference.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def complete_schema():
    """Triton's own schema; None if tritonclient is not installed."""
    package = importlib.util.find_spec("tritonclient")
    if package is None:
        return None
    # The package itself would import gRPC.
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelConfig


SCHEMAS = [schema for schema in (small_schema(), complete_schema()) if schema]


def parse(path):
    """The configuration as a message; both schemas must agree on it."""
    text = Path(path).read_text(encoding="utf-8")
    parsed = [text_format.Parse(text, schema()) for schema in SCHEMAS]
    assert len({message.SerializeToString(deterministic=True) for message in parsed}) == 1
    return parsed[-1]


def dtype(tensor):
    """Triton's name of the type of an input or output, such as "FP32"."""
    return TYPES[tensor.data_type]
