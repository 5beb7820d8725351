-- The whole schema in the dialect that SQLite and PostgreSQL share. Times are Unix milliseconds, identifiers are text sorted by time, scores hundredths.

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  username TEXT NOT NULL,
  username_key TEXT NOT NULL UNIQUE,  -- lower case: "Ada" and "ada" are one name
  email TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('contestant', 'staff', 'admin')),
  created_at_ms BIGINT NOT NULL
);

-- A session is a family of refresh tokens. Only hashes are kept: whoever reads the table can sign in nowhere.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users(id),
  created_at_ms BIGINT NOT NULL,
  revoked_at_ms BIGINT
);
CREATE INDEX sessions_user ON sessions(user_id);

CREATE TABLE refresh_tokens (
  token_hash TEXT PRIMARY KEY,
  session_id TEXT NOT NULL REFERENCES sessions(id),
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  used_at_ms BIGINT
);
CREATE INDEX refresh_tokens_session ON refresh_tokens(session_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens(expires_at_ms);

CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users(id),
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT,
  revoked_at_ms BIGINT
);
CREATE INDEX api_tokens_user ON api_tokens(user_id);

CREATE TABLE contests (
  id TEXT PRIMARY KEY,
  title TEXT NOT NULL,
  description TEXT NOT NULL,
  rules TEXT NOT NULL CHECK (rules IN ('icpc', 'ioi')),
  starts_at_ms BIGINT NOT NULL,
  ends_at_ms BIGINT NOT NULL,
  freezes_at_ms BIGINT,
  is_public BOOLEAN NOT NULL,
  created_by TEXT NOT NULL REFERENCES users(id),
  created_at_ms BIGINT NOT NULL,
  version BIGINT NOT NULL,  -- raised by every change: boards built for an older one are stale
  CHECK (ends_at_ms > starts_at_ms)
);

CREATE TABLE problems (
  id TEXT PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  version INTEGER NOT NULL,  -- the newest one
  is_public BOOLEAN NOT NULL,
  created_at_ms BIGINT NOT NULL
);

CREATE TABLE problem_versions (
  problem_id TEXT NOT NULL REFERENCES problems(id),
  version INTEGER NOT NULL,
  digest TEXT NOT NULL,
  package BYTEA NOT NULL,
  summary BYTEA NOT NULL,
  is_flagged BOOLEAN NOT NULL,
  imported_by TEXT NOT NULL,
  imported_at_ms BIGINT NOT NULL,
  PRIMARY KEY (problem_id, version)
);

CREATE TABLE contest_problems (
  contest_id TEXT NOT NULL REFERENCES contests(id),
  problem_id TEXT NOT NULL REFERENCES problems(id),
  label TEXT NOT NULL,
  colour TEXT NOT NULL,
  points BIGINT NOT NULL,
  PRIMARY KEY (contest_id, problem_id),
  UNIQUE (contest_id, label)
);
CREATE INDEX contest_problems_problem ON contest_problems(problem_id);

CREATE TABLE registrations (
  contest_id TEXT NOT NULL REFERENCES contests(id),
  user_id TEXT NOT NULL REFERENCES users(id),
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (contest_id, user_id)
);
CREATE INDEX registrations_user ON registrations(user_id);

CREATE TABLE submissions (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('submission', 'run')),
  user_id TEXT NOT NULL REFERENCES users(id),
  contest_id TEXT REFERENCES contests(id),
  problem_id TEXT NOT NULL REFERENCES problems(id),
  problem_version INTEGER NOT NULL,
  language TEXT NOT NULL,
  source TEXT NOT NULL,
  stdin TEXT,
  priority INTEGER NOT NULL,
  attempt INTEGER NOT NULL,  -- the current one; a verdict for another changes nothing
  verdict TEXT,  -- of the current attempt; NULL while it is being judged
  score BIGINT NOT NULL,
  fencing BIGINT NOT NULL,  -- raised whenever a judge fetches the current attempt: only the newest may write its verdict
  submitted_at_ms BIGINT NOT NULL,
  queued_at_ms BIGINT NOT NULL,  -- when the current attempt was last put into the outbox
  judged_at_ms BIGINT,
  correlation_id TEXT NOT NULL
);
CREATE INDEX submissions_user ON submissions(user_id, kind, id);
CREATE INDEX submissions_contest ON submissions(contest_id, kind, id);
CREATE INDEX submissions_problem ON submissions(problem_id, kind, id);
CREATE INDEX submissions_waiting ON submissions(queued_at_ms) WHERE verdict IS NULL;

-- The verdict log: what boards are folded from. Rows are only ever added.
CREATE TABLE verdicts (
  submission_id TEXT NOT NULL REFERENCES submissions(id),
  attempt INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  score BIGINT NOT NULL,
  fencing BIGINT NOT NULL,
  judge TEXT NOT NULL,
  judged_at_ms BIGINT NOT NULL,
  tests BYTEA NOT NULL,  -- JSON array of results
  compile_output TEXT NOT NULL,
  output TEXT NOT NULL,
  judge_error TEXT NOT NULL,
  PRIMARY KEY (submission_id, attempt)
);

CREATE TABLE idempotency_keys (
  user_id TEXT NOT NULL REFERENCES users(id),
  route TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  result_id TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys(created_at_ms);

CREATE TABLE rejudgings (
  id TEXT PRIMARY KEY,
  requested_by TEXT NOT NULL,
  selector BYTEA NOT NULL,
  submissions INTEGER NOT NULL,
  created_at_ms BIGINT NOT NULL
);

-- Written in the same transaction as what it announces; deleted some time after it was sent.
CREATE TABLE outbox_messages (
  id TEXT PRIMARY KEY,
  topic TEXT NOT NULL,
  priority INTEGER NOT NULL,
  body BYTEA NOT NULL,
  correlation_id TEXT NOT NULL,
  traceparent TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  available_at_ms BIGINT NOT NULL,  -- not before; a claim moves it to the claim's end, so that a dead relay's rows come back
  attempts INTEGER NOT NULL,
  last_error TEXT NOT NULL,
  sent_at_ms BIGINT,
  parked_at_ms BIGINT
);
CREATE INDEX outbox_waiting ON outbox_messages(available_at_ms, id) WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL;
CREATE INDEX outbox_sent ON outbox_messages(sent_at_ms) WHERE sent_at_ms IS NOT NULL;

CREATE TABLE audit_log (
  id TEXT PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
);
