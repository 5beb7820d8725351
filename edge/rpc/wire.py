"""The structs of ``contracts.messages`` as bytes on the wire: protobuf messages of ``contracts/proto``, by one table that is built at import.

Rule 1: a field is a field by its name and type on both sides. One that is missing on either side, or of another type, is a TypeError at import.
Rule 2: what was sent is what arrives: None is not empty, absent is not zero. A field that may be None, or whose default is not zero, is ``optional`` in the
        ``.proto``; absent it is None, or the default, which is what a process that does not know the field means.
Rule 3: bytes that cannot be read are Malformed, and values that cannot be written (an integer beyond 64 bits, half a character) are Invalid: neither crashes.
Rule 4: what is read is held to the bounds of its type (``msgspec.Meta``), as JSON is: a request beyond them is Invalid, with the field, before any handler sees
        it. A reply that cannot be read, or is beyond them, is EdgeLost: its request may well have been done, by somebody who cannot say so.

A plan for each type is laid out once, so that a small message takes a few microseconds either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from types import ModuleType, NoneType, UnionType
from typing import Any, get_args

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from contracts import messages
from contracts.errors import EdgeLost, FieldError, Invalid, Malformed
from contracts.messages import Request
from contracts.proto import core_pb2, judge_pb2, leaderboard_pb2

Convert = Callable[[Any], Any]

_SCALARS: dict[type[msgspec.inspect.Type], int] = {
    msgspec.inspect.IntType: FieldDescriptor.TYPE_INT64,
    msgspec.inspect.StrType: FieldDescriptor.TYPE_STRING,
    msgspec.inspect.BytesType: FieldDescriptor.TYPE_BYTES,
    msgspec.inspect.BoolType: FieldDescriptor.TYPE_BOOL,
    msgspec.inspect.FloatType: FieldDescriptor.TYPE_DOUBLE,
}
_ZEROS = (0, "", b"", False, ())


class Plan(msgspec.Struct, frozen=True):
    """How one type is written and read."""

    encode: Convert  # a struct to a message
    decode: Convert  # a message to what msgspec.convert makes the struct of, so that an error names the whole way to its field


class Method:
    """One request of one service on the wire: ``path`` as in HTTP/2's ``:path``."""

    def __init__(self, path: str, request: type[Request[Any]], descriptor: tuple[Descriptor, Descriptor]) -> None:
        self.path = path
        self.request = request
        self._request_type, self._reply_type = (GetMessageClass(each) for each in descriptor)
        self._request = _struct_plan(request, descriptor[0])
        reply = _reply_type(request)
        self._reply = _reply_plan(reply, descriptor[1])
        self._some_reply = _some(reply)

    def __repr__(self) -> str:
        return f"<Method {self.path}>"

    def encode_request(self, request: Request[Any]) -> bytes:
        """Write a request; Invalid when one of its values cannot be written."""
        return _encode(self._request, request, self.path)

    def decode_request(self, data: bytes) -> Request[Any]:
        """Read a request; Malformed when these bytes are none, Invalid when a value is out of its bounds."""
        built = _decode(self._request, self._request_type, data, self.path)
        try:
            request: Request[Any] = msgspec.convert(built, self.request)
        except msgspec.ValidationError as error:
            raise Invalid(f"{self.path}: {error}", errors=(_field_error(error),)) from error
        return request

    def encode_reply(self, reply: Any) -> bytes:
        """Write a reply; Invalid when one of its values cannot be written."""
        return _encode(self._reply, reply, self.path)

    def decode_reply(self, data: bytes) -> Any:
        """Read a reply; EdgeLost when these bytes are none, or a value is out of its bounds."""
        try:
            built = _decode(self._reply, self._reply_type, data, self.path)
            return None if built is None else msgspec.convert(built, self._some_reply)
        except (Malformed, msgspec.ValidationError) as error:
            raise EdgeLost(f"{self.path} was answered with what is no reply ({error})") from error


def _encode(plan: Plan, value: Any, path: str) -> bytes:
    try:
        data: bytes = plan.encode(value).SerializeToString()
    except (ValueError, TypeError) as error:
        raise Invalid(f"{path}: a value cannot be sent ({error})") from error
    return data


def _decode(plan: Plan, kind: type[Message], data: bytes, path: str) -> Any:
    try:
        return plan.decode(kind.FromString(data))
    except (DecodeError, ValueError) as error:
        raise Malformed(f"{path}: the message cannot be read ({error})") from error


def _field_error(error: msgspec.ValidationError) -> FieldError:
    """Return what msgspec says ("Expected `int` >= 1 - at `$.tests[0].number`") of the field that it is about."""
    detail, _, place = str(error).rpartition(" - at `$")
    return FieldError(place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/"), detail)


# ---- plans -----------------------------------------------------------------------------------------------------------


def _struct_plan(kind: type[msgspec.Struct], descriptor: Descriptor) -> Plan:
    """Lay out a struct and its message; TypeError unless they have the same fields."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    ours, theirs = {each.name for each in info.fields}, set(descriptor.fields_by_name)
    if ours != theirs:
        raise TypeError(f"{kind.__name__} and {descriptor.full_name} differ in {sorted(ours ^ theirs)}")
    names = tuple(each.name for each in info.fields)
    encoders: list[tuple[int, Convert]] = []
    decoders: list[tuple[int, Convert]] = []
    optional: list[tuple[int, str, Any]] = []
    required: list[str] = []
    for index, field in enumerate(info.fields):
        there = descriptor.fields_by_name[field.name]
        inner, may_be_absent, absent = _presence(field, f"{kind.__name__}.{field.name}", there)
        encode, decode = _field_plan(inner, there)
        if encode is not None:
            encoders.append((index, _unless_none(encode) if may_be_absent else encode))
        if decode is not None:
            decoders.append((index, decode))
        if may_be_absent:
            optional.append((index, field.name, absent))
        elif there.has_presence:
            required.append(field.name)
    return Plan(_writer(GetMessageClass(descriptor), names, encoders), _reader(names, decoders, optional, required))


def _writer(message_type: type[Message], names: tuple[str, ...], encoders: list[tuple[int, Convert]]) -> Convert:
    get = _getter(names)

    def write(struct: Any) -> Message:
        values = list(get(struct))
        for index, convert in encoders:
            values[index] = convert(values[index])
        return message_type(**dict(zip(names, values, strict=True)))  # None is absent

    return write


def _reader(
    names: tuple[str, ...],
    decoders: list[tuple[int, Convert]],
    optional: list[tuple[int, str, Any]],
    required: list[str],
) -> Convert:
    get = _getter(names)

    def read(message: Any) -> Any:
        for name in required:
            if not message.HasField(name):
                raise ValueError(f"{name} is missing")
        values = list(get(message))
        missing = {index: absent for index, name, absent in optional if not message.HasField(name)}
        for index, convert in decoders:
            if index not in missing:
                values[index] = convert(values[index])
        for index, absent in missing.items():
            values[index] = absent
        return dict(zip(names, values, strict=True))

    return read


def _presence(
    field: msgspec.inspect.Field, name: str, theirs: FieldDescriptor
) -> tuple[msgspec.inspect.Type, bool, Any]:
    """Return the field's type without None, whether it may be absent, and what it is then."""
    inner, is_optional = _without_none(field.type)
    default = None if field.required else field.default
    if not field.required and field.default is msgspec.NODEFAULT:
        raise TypeError(f"{name} has a default that is made anew each time, which cannot be said by absence")
    if is_optional and default is not None:
        raise TypeError(f"{name} may be None and has another default: absence cannot mean both")
    may_be_absent = is_optional or not (field.required or default in _ZEROS)
    is_message = isinstance(inner, msgspec.inspect.StructType)
    if theirs.has_presence != (may_be_absent or is_message):
        raise TypeError(f"{name} and {theirs.full_name}: one of them is optional and the other is not")
    return inner, may_be_absent, default


def _without_none(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, bool]:
    if not isinstance(kind, msgspec.inspect.UnionType):
        return kind, False
    others = [each for each in kind.types if not isinstance(each, msgspec.inspect.NoneType)]
    if len(others) != 1 or len(kind.types) != 2:
        raise TypeError(f"{kind}: of unions only those with None have a form on the wire")
    return others[0], True


def _field_plan(kind: msgspec.inspect.Type, field: FieldDescriptor) -> tuple[Convert | None, Convert | None]:
    """Return how one value is converted; None where it is the same on both sides."""
    if isinstance(kind, msgspec.inspect.VarTupleType):
        if not field.is_repeated:
            raise TypeError(f"{field.full_name} must be repeated")
        encode, decode = _value_plan(kind.item_type, field)
        return (encode and _each(encode, list)), _each(decode, tuple) if decode else tuple
    if field.is_repeated:
        raise TypeError(f"{field.full_name} must not be repeated")
    return _value_plan(kind, field)


def _value_plan(kind: msgspec.inspect.Type, field: FieldDescriptor) -> tuple[Convert | None, Convert | None]:
    if isinstance(kind, msgspec.inspect.StructType) and field.type == FieldDescriptor.TYPE_MESSAGE:
        assert field.message_type is not None
        plan = _struct_plan(kind.cls, field.message_type)
        return plan.encode, plan.decode
    if isinstance(kind, msgspec.inspect.EnumType) and field.type == FieldDescriptor.TYPE_ENUM:
        return _enum_plan(kind.cls, field)
    if _SCALARS.get(type(kind)) != field.type:
        raise TypeError(f"{field.full_name} is not of the type {kind}")
    return None, None


def _enum_plan(kind: type[Enum], field: FieldDescriptor) -> tuple[Convert, Convert]:
    """Match members by name: ``Role.STAFF`` is ROLE_STAFF, and zero is nobody's."""
    assert field.enum_type is not None
    prefix = f"{kind.__name__.upper()}_"
    numbers = {each.name: each.number for each in field.enum_type.values if each.number}
    by_member = {each: numbers.get(prefix + each.name) for each in kind}
    if set(by_member.values()) != set(numbers.values()):
        raise TypeError(f"{kind.__name__} and {field.enum_type.full_name} have different members")
    by_number = {number: member for member, number in by_member.items()}

    def decode(number: int) -> Enum:
        if number not in by_number:
            raise ValueError(f"{number} is no {kind.__name__}")
        return by_number[number]

    return by_member.__getitem__, decode


def _reply_plan(kind: Any, descriptor: Descriptor) -> Plan:
    """Lay out a reply: a struct is a message of its own, anything else the only field of one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct_plan(kind, descriptor)
    message_type = GetMessageClass(descriptor)
    if kind is None or kind is type(None):
        if descriptor.fields:
            raise TypeError(f"{descriptor.full_name} must have no field")
        return Plan(lambda reply: _empty(message_type, reply), lambda message: None)  # noqa: ARG005 - nothing to read
    inner, is_optional = _without_none(msgspec.inspect.type_info(kind))
    (field,) = descriptor.fields
    name = field.name
    encode, decode = _field_plan(inner, field)
    if is_optional != field.has_presence:
        raise TypeError(f"{field.full_name}: the reply may be None and the field must be there, or the other way round")

    def encode_reply(reply: Any) -> Message:
        return message_type(**{name: reply if encode is None or (is_optional and reply is None) else encode(reply)})

    def decode_reply(message: Any) -> Any:
        if is_optional and not message.HasField(name):
            return None
        value = getattr(message, name)
        return value if decode is None else decode(value)

    return Plan(encode_reply, decode_reply)


def _empty(message_type: type[Message], reply: Any) -> Message:
    if reply is not None:
        raise TypeError(f"a {type(reply).__name__} where nothing is replied")
    return message_type()


def _getter(names: tuple[str, ...]) -> Convert:
    if len(names) == 1:
        get_one = attrgetter(names[0])
        return lambda value: (get_one(value),)
    return attrgetter(*names)


def _unless_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _each(convert: Convert, make: Convert) -> Convert:
    return lambda values: make(map(convert, values))


# ---- the table -------------------------------------------------------------------------------------------------------


def _reply_type(request: type[Request[Any]]) -> Any:
    (base,) = (each for each in vars(request)["__orig_bases__"] if getattr(each, "__origin__", None) is Request)
    return get_args(base)[0]


def _some(reply: Any) -> Any:
    """Return a reply's type without None: about a union msgspec would think anew each time."""
    return next(each for each in get_args(reply) if each is not NoneType) if isinstance(reply, UnionType) else reply


def _methods_of(service: ServiceDescriptor) -> list[Method]:
    return [
        Method(
            f"/{service.full_name}/{each.name}",
            getattr(messages, each.name),
            (each.input_type, each.output_type),
        )
        for each in service.methods
    ]


def _services(*modules: ModuleType) -> Mapping[str, ServiceDescriptor]:
    return {
        service.name.lower(): service for module in modules for service in module.DESCRIPTOR.services_by_name.values()
    }


SERVICES: Mapping[str, ServiceDescriptor] = _services(core_pb2, leaderboard_pb2, judge_pb2)
"""The port's names of the services ("core") and what the ``.proto`` files say of them."""

METHODS: Mapping[tuple[str, type[Request[Any]]], Method] = {
    (name, method.request): method for name, service in SERVICES.items() for method in _methods_of(service)
}
"""How each request to each service travels."""

HEALTH = "/grpc.health.v1.Health/Check"
"""What anybody may ask any server: see grpc.health.v1."""

PATHS: Mapping[str, tuple[str, Method]] = {method.path: (name, method) for (name, _), method in METHODS.items()}
"""The same by path: the service's name and the method."""
