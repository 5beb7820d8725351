from contracts.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class User(_message.Message):
    __slots__ = ("id", "username", "email", "role", "created_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    username: str
    email: str
    role: _common_pb2.Role
    created_at_ms: int
    def __init__(self, id: _Optional[str] = ..., username: _Optional[str] = ..., email: _Optional[str] = ..., role: _Optional[_Union[_common_pb2.Role, str]] = ..., created_at_ms: _Optional[int] = ...) -> None: ...

class CreateUserRequest(_message.Message):
    __slots__ = ("user_id", "username", "email", "password_hash", "role")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_HASH_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    username: str
    email: str
    password_hash: str
    role: _common_pb2.Role
    def __init__(self, user_id: _Optional[str] = ..., username: _Optional[str] = ..., email: _Optional[str] = ..., password_hash: _Optional[str] = ..., role: _Optional[_Union[_common_pb2.Role, str]] = ...) -> None: ...

class SetPasswordRequest(_message.Message):
    __slots__ = ("user_id", "password_hash")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_HASH_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    password_hash: str
    def __init__(self, user_id: _Optional[str] = ..., password_hash: _Optional[str] = ...) -> None: ...

class SetPasswordReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RenewPasswordHashRequest(_message.Message):
    __slots__ = ("user_id", "old_hash", "new_hash")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    OLD_HASH_FIELD_NUMBER: _ClassVar[int]
    NEW_HASH_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    old_hash: str
    new_hash: str
    def __init__(self, user_id: _Optional[str] = ..., old_hash: _Optional[str] = ..., new_hash: _Optional[str] = ...) -> None: ...

class RenewPasswordHashReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("session_id", "user_id", "refresh_hash", "expires_at_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REFRESH_HASH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    user_id: str
    refresh_hash: str
    expires_at_ms: int
    def __init__(self, session_id: _Optional[str] = ..., user_id: _Optional[str] = ..., refresh_hash: _Optional[str] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class OpenSessionReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateSessionRequest(_message.Message):
    __slots__ = ("refresh_hash", "next_hash", "expires_at_ms")
    REFRESH_HASH_FIELD_NUMBER: _ClassVar[int]
    NEXT_HASH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    refresh_hash: str
    next_hash: str
    expires_at_ms: int
    def __init__(self, refresh_hash: _Optional[str] = ..., next_hash: _Optional[str] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class Rotated(_message.Message):
    __slots__ = ("session_id", "user", "replayed")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    user: User
    replayed: bool
    def __init__(self, session_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CloseSessionsRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class CloseSessionsReply(_message.Message):
    __slots__ = ("session_ids",)
    SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    session_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateApiTokenRequest(_message.Message):
    __slots__ = ("token_id", "user_id", "name", "token_hash", "expires_at_ms")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_HASH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    user_id: str
    name: str
    token_hash: str
    expires_at_ms: int
    def __init__(self, token_id: _Optional[str] = ..., user_id: _Optional[str] = ..., name: _Optional[str] = ..., token_hash: _Optional[str] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class CreateApiTokenReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RevokeApiTokenRequest(_message.Message):
    __slots__ = ("token_id", "user_id")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    user_id: str
    def __init__(self, token_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class RevokeApiTokenReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ContestSettings(_message.Message):
    __slots__ = ("title", "rules", "starts_at_ms", "ends_at_ms", "freezes_at_ms", "description", "is_public")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FREEZES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    title: str
    rules: _common_pb2.Rules
    starts_at_ms: int
    ends_at_ms: int
    freezes_at_ms: int
    description: str
    is_public: bool
    def __init__(self, title: _Optional[str] = ..., rules: _Optional[_Union[_common_pb2.Rules, str]] = ..., starts_at_ms: _Optional[int] = ..., ends_at_ms: _Optional[int] = ..., freezes_at_ms: _Optional[int] = ..., description: _Optional[str] = ..., is_public: _Optional[bool] = ...) -> None: ...

class CreateContestRequest(_message.Message):
    __slots__ = ("contest_id", "settings", "created_by")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    settings: ContestSettings
    created_by: str
    def __init__(self, contest_id: _Optional[str] = ..., settings: _Optional[_Union[ContestSettings, _Mapping]] = ..., created_by: _Optional[str] = ...) -> None: ...

class CreateContestReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChangeContestRequest(_message.Message):
    __slots__ = ("contest_id", "settings", "version")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    settings: ContestSettings
    version: int
    def __init__(self, contest_id: _Optional[str] = ..., settings: _Optional[_Union[ContestSettings, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ChangeContestReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttachProblemRequest(_message.Message):
    __slots__ = ("contest_id", "problem_id", "label", "colour", "points")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    problem_id: str
    label: str
    colour: str
    points: int
    def __init__(self, contest_id: _Optional[str] = ..., problem_id: _Optional[str] = ..., label: _Optional[str] = ..., colour: _Optional[str] = ..., points: _Optional[int] = ...) -> None: ...

class AttachProblemReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DetachProblemRequest(_message.Message):
    __slots__ = ("contest_id", "problem_id")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    problem_id: str
    def __init__(self, contest_id: _Optional[str] = ..., problem_id: _Optional[str] = ...) -> None: ...

class DetachProblemReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("contest_id", "user_id")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    user_id: str
    def __init__(self, contest_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class RegisterReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WithdrawRequest(_message.Message):
    __slots__ = ("contest_id", "user_id")
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    contest_id: str
    user_id: str
    def __init__(self, contest_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class WithdrawReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportProblemRequest(_message.Message):
    __slots__ = ("problem_id", "slug", "title", "digest", "package", "summary", "is_flagged", "is_public", "imported_by")
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    IS_FLAGGED_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_BY_FIELD_NUMBER: _ClassVar[int]
    problem_id: str
    slug: str
    title: str
    digest: str
    package: bytes
    summary: bytes
    is_flagged: bool
    is_public: bool
    imported_by: str
    def __init__(self, problem_id: _Optional[str] = ..., slug: _Optional[str] = ..., title: _Optional[str] = ..., digest: _Optional[str] = ..., package: _Optional[bytes] = ..., summary: _Optional[bytes] = ..., is_flagged: _Optional[bool] = ..., is_public: _Optional[bool] = ..., imported_by: _Optional[str] = ...) -> None: ...

class ImportProblemReply(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetProblemRequest(_message.Message):
    __slots__ = ("problem_id", "version")
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    problem_id: str
    version: int
    def __init__(self, problem_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ProblemBlob(_message.Message):
    __slots__ = ("problem_id", "version", "digest", "package")
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    problem_id: str
    version: int
    digest: str
    package: bytes
    def __init__(self, problem_id: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., package: _Optional[bytes] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("submission_id", "user_id", "problem_id", "language", "source", "contest_id", "kind", "stdin", "idempotency_key", "body_hash", "correlation_id")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    BODY_HASH_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    user_id: str
    problem_id: str
    language: str
    source: str
    contest_id: str
    kind: _common_pb2.Kind
    stdin: str
    idempotency_key: str
    body_hash: str
    correlation_id: str
    def __init__(self, submission_id: _Optional[str] = ..., user_id: _Optional[str] = ..., problem_id: _Optional[str] = ..., language: _Optional[str] = ..., source: _Optional[str] = ..., contest_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.Kind, str]] = ..., stdin: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., body_hash: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("submission_id", "replayed")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    replayed: bool
    def __init__(self, submission_id: _Optional[str] = ..., replayed: _Optional[bool] = ...) -> None: ...

class GetWorkRequest(_message.Message):
    __slots__ = ("submission_id", "attempt")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    attempt: int
    def __init__(self, submission_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class GetWorkReply(_message.Message):
    __slots__ = ("work",)
    WORK_FIELD_NUMBER: _ClassVar[int]
    work: Work
    def __init__(self, work: _Optional[_Union[Work, _Mapping]] = ...) -> None: ...

class Work(_message.Message):
    __slots__ = ("submission_id", "attempt", "fencing", "kind", "problem_id", "problem_version", "language", "source", "stdin", "correlation_id")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCING_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    attempt: int
    fencing: int
    kind: _common_pb2.Kind
    problem_id: str
    problem_version: int
    language: str
    source: str
    stdin: str
    correlation_id: str
    def __init__(self, submission_id: _Optional[str] = ..., attempt: _Optional[int] = ..., fencing: _Optional[int] = ..., kind: _Optional[_Union[_common_pb2.Kind, str]] = ..., problem_id: _Optional[str] = ..., problem_version: _Optional[int] = ..., language: _Optional[str] = ..., source: _Optional[str] = ..., stdin: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class PersistVerdictRequest(_message.Message):
    __slots__ = ("submission_id", "attempt", "fencing", "verdict", "score", "tests", "compile_output", "output", "judge", "judge_error")
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCING_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    COMPILE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    JUDGE_ERROR_FIELD_NUMBER: _ClassVar[int]
    submission_id: str
    attempt: int
    fencing: int
    verdict: _common_pb2.Verdict
    score: int
    tests: _containers.RepeatedCompositeFieldContainer[_common_pb2.TestResult]
    compile_output: str
    output: str
    judge: str
    judge_error: str
    def __init__(self, submission_id: _Optional[str] = ..., attempt: _Optional[int] = ..., fencing: _Optional[int] = ..., verdict: _Optional[_Union[_common_pb2.Verdict, str]] = ..., score: _Optional[int] = ..., tests: _Optional[_Iterable[_Union[_common_pb2.TestResult, _Mapping]]] = ..., compile_output: _Optional[str] = ..., output: _Optional[str] = ..., judge: _Optional[str] = ..., judge_error: _Optional[str] = ...) -> None: ...

class PersistVerdictReply(_message.Message):
    __slots__ = ("judged",)
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    judged: _common_pb2.Judged
    def __init__(self, judged: _Optional[_Union[_common_pb2.Judged, _Mapping]] = ...) -> None: ...

class RejudgeRequest(_message.Message):
    __slots__ = ("rejudging_id", "submission_id", "problem_id", "contest_id", "dry_run", "requested_by", "correlation_id")
    REJUDGING_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMISSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEST_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    rejudging_id: str
    submission_id: str
    problem_id: str
    contest_id: str
    dry_run: bool
    requested_by: str
    correlation_id: str
    def __init__(self, rejudging_id: _Optional[str] = ..., submission_id: _Optional[str] = ..., problem_id: _Optional[str] = ..., contest_id: _Optional[str] = ..., dry_run: _Optional[bool] = ..., requested_by: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class Rejudged(_message.Message):
    __slots__ = ("rejudging_id", "submissions")
    REJUDGING_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    rejudging_id: str
    submissions: int
    def __init__(self, rejudging_id: _Optional[str] = ..., submissions: _Optional[int] = ...) -> None: ...
