from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_CONTESTANT: _ClassVar[Role]
    ROLE_STAFF: _ClassVar[Role]
    ROLE_ADMIN: _ClassVar[Role]

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_SUBMISSION: _ClassVar[Kind]
    KIND_RUN: _ClassVar[Kind]

class Rules(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULES_UNSPECIFIED: _ClassVar[Rules]
    RULES_ICPC: _ClassVar[Rules]
    RULES_IOI: _ClassVar[Rules]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_AC: _ClassVar[Verdict]
    VERDICT_WA: _ClassVar[Verdict]
    VERDICT_TLE: _ClassVar[Verdict]
    VERDICT_MLE: _ClassVar[Verdict]
    VERDICT_OLE: _ClassVar[Verdict]
    VERDICT_RTE: _ClassVar[Verdict]
    VERDICT_CE: _ClassVar[Verdict]
    VERDICT_JE: _ClassVar[Verdict]
ROLE_UNSPECIFIED: Role
ROLE_CONTESTANT: Role
ROLE_STAFF: Role
ROLE_ADMIN: Role
KIND_UNSPECIFIED: Kind
KIND_SUBMISSION: Kind
KIND_RUN: Kind
RULES_UNSPECIFIED: Rules
RULES_ICPC: Rules
RULES_IOI: Rules
VERDICT_UNSPECIFIED: Verdict
VERDICT_AC: Verdict
VERDICT_WA: Verdict
VERDICT_TLE: Verdict
VERDICT_MLE: Verdict
VERDICT_OLE: Verdict
VERDICT_RTE: Verdict
VERDICT_CE: Verdict
VERDICT_JE: Verdict

class TestResult(_message.Message):
    __slots__ = ("number", "verdict", "cpu_ms", "wall_ms", "memory_kb", "name", "message")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_KB_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    verdict: Verdict
    cpu_ms: int
    wall_ms: int
    memory_kb: int
    name: str
    message: str
    def __init__(self, number: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., cpu_ms: _Optional[int] = ..., wall_ms: _Optional[int] = ..., memory_kb: _Optional[int] = ..., name: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ScoreChanged(_message.Message):
    __slots__ = ("contest_id", "submission_id", "attempt", "user_id", "problem_id", "submitted_at_ms", "verdict", "score")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    submission_id: str
    attempt: int
    user_id: str
    problem_id: str
    submitted_at_ms: int
    verdict: Verdict
    score: int
    def __init__(self, contest_id: _Optional[str] = ..., submission_id: _Optional[str] = ..., attempt: _Optional[int] = ..., user_id: _Optional[str] = ..., problem_id: _Optional[str] = ..., submitted_at_ms: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., score: _Optional[int] = ...) -> None: ...

class Judged(_message.Message):
    __slots__ = ("submission_id", "attempt", "verdict", "score", "change")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    attempt: int
    verdict: Verdict
    score: int
    change: ScoreChanged
    def __init__(self, submission_id: _Optional[str] = ..., attempt: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., score: _Optional[int] = ..., change: _Optional[_Union[ScoreChanged, _Mapping]] = ...) -> None: ...
