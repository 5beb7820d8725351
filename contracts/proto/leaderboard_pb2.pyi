from contracts.proto import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpdateLeaderboardRequest(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _common_pb2.Judged
    def __init__(self, event: _Optional[_Union[_common_pb2.Judged, _Mapping]] = ...) -> None: ...

class UpdateLeaderboardReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BuildBoardRequest(_message.Message):
    __slots__ = ("contest_id", "afresh", "unreadable_epoch")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    AFRESH_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    afresh: bool
    unreadable_epoch: str
    def __init__(self, contest_id: _Optional[str] = ..., afresh: _Optional[bool] = ..., unreadable_epoch: _Optional[str] = ...) -> None: ...

class BuildBoardReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
