-- Times are milliseconds since 1970 in UTC. Ids are the 16 bytes of a UUID. Tokens are kept as SHA-256 only; the values of
-- settings and the secrets of second factors are sealed with the server's key. Text is ordered by its bytes.

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'this table is append-only'; END $$;

-- Which proofs of requests were taken, by all instances, for as long as they could be replayed.
CREATE UNLOGGED TABLE proof (
    hash  BYTEA PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
CREATE INDEX proof_age ON proof (at_ms);

CREATE TABLE setting (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE "user" (
    id         BYTEA PRIMARY KEY,
    email      TEXT COLLATE "C" NOT NULL UNIQUE,
    name       TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    password   TEXT COLLATE "C",
    totp       BYTEA,
    totp_step  BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL
);

CREATE TABLE user_territory (
    "user" BYTEA NOT NULL REFERENCES "user" (id),
    code TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY ("user", code)
);

CREATE TABLE session (
    token      BYTEA PRIMARY KEY,
    "user"       BYTEA NOT NULL REFERENCES "user" (id),
    csrf       TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    seen_ms    BIGINT NOT NULL
);

CREATE TABLE failure (
    account TEXT COLLATE "C" NOT NULL,
    at_ms   BIGINT NOT NULL
);
CREATE INDEX failure_of_account ON failure (account, at_ms);

CREATE TABLE admin_log (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms  BIGINT NOT NULL,
    actor  BYTEA NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    object TEXT COLLATE "C" NOT NULL
);
CREATE TRIGGER admin_log_stays BEFORE DELETE ON admin_log FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER admin_log_stands BEFORE UPDATE ON admin_log FOR EACH ROW EXECUTE FUNCTION append_only();

CREATE TABLE ticket (
    token      BYTEA PRIMARY KEY,
    digest     BYTEA,
    "user"     BYTEA NOT NULL REFERENCES "user" (id),
    expires_ms BIGINT NOT NULL,
    used_ms    BIGINT
);

CREATE TABLE device (
    id            BYTEA PRIMARY KEY,
    "user"          BYTEA NOT NULL REFERENCES "user" (id),
    key           BYTEA NOT NULL,
    thumbprint    BYTEA NOT NULL UNIQUE,
    install       BYTEA NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    platform      TEXT COLLATE "C" NOT NULL,
    hardware_keys BIGINT NOT NULL,
    core          TEXT COLLATE "C" NOT NULL,
    enrolled_ms   BIGINT NOT NULL,
    seen_ms       BIGINT,
    unsent        BIGINT NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    last_command  BIGINT NOT NULL,
    applied       BIGINT NOT NULL
);

CREATE TABLE access_token (
    hash       BYTEA PRIMARY KEY,
    device     BYTEA NOT NULL REFERENCES device (id),
    expires_ms BIGINT NOT NULL
);
CREATE INDEX access_token_expiry ON access_token (expires_ms);

CREATE TABLE refresh_token (
    hash              BYTEA PRIMARY KEY,
    device            BYTEA NOT NULL REFERENCES device (id),
    expires_ms        BIGINT NOT NULL,
    family_expires_ms BIGINT NOT NULL,
    spent_ms          BIGINT,
    request           BYTEA,
    successor         BYTEA
);
CREATE INDEX refresh_token_expiry ON refresh_token (family_expires_ms);

CREATE TABLE command (
    n            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           BYTEA NOT NULL UNIQUE,
    device       BYTEA NOT NULL REFERENCES device (id),
    kind         TEXT COLLATE "C" NOT NULL,
    reason       TEXT COLLATE "C" NOT NULL,
    issued_by    BYTEA NOT NULL,
    issued_ms    BIGINT NOT NULL,
    not_after_ms BIGINT NOT NULL,
    nonce        BYTEA,
    state        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX command_of_device ON command (device, n);

CREATE TABLE command_form (
    n            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command      BYTEA NOT NULL REFERENCES command (id),
    seq          BIGINT NOT NULL,
    prev         BYTEA NOT NULL,
    hash         BYTEA NOT NULL,
    envelope     BYTEA NOT NULL,
    delivered_ms BIGINT,
    UNIQUE (command, hash)
);

CREATE TABLE receipt (
    n           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      BYTEA NOT NULL REFERENCES device (id),
    command     BYTEA,
    progress    TEXT COLLATE "C" NOT NULL,
    at_ms       BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    verified    BIGINT NOT NULL,
    raw         BYTEA NOT NULL,
    UNIQUE (device, raw)
);
CREATE TRIGGER receipt_stays BEFORE DELETE ON receipt FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER receipt_stands BEFORE UPDATE ON receipt FOR EACH ROW EXECUTE FUNCTION append_only();

CREATE TABLE share (
    device    BYTEA PRIMARY KEY REFERENCES device (id),
    share     TEXT COLLATE "C" NOT NULL,
    stored_ms BIGINT NOT NULL
);

CREATE TABLE mutation (
    device  BYTEA NOT NULL REFERENCES device (id),
    seq     BIGINT NOT NULL,
    id      BYTEA NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (device, seq)
);

CREATE TABLE bucket (
    name     TEXT COLLATE "C" PRIMARY KEY,
    last_seq BIGINT NOT NULL
);

-- Only the newest entry of a record in a bucket stands; `removed_rev` is set once the record has left it.
CREATE TABLE log (
    bucket      TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    entity      TEXT COLLATE "C" NOT NULL,
    record      BYTEA NOT NULL,
    removed_rev BIGINT,
    PRIMARY KEY (bucket, seq),
    UNIQUE (bucket, entity, record)
);

CREATE TABLE record (
    n       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity  TEXT COLLATE "C" NOT NULL,
    id      BYTEA NOT NULL,
    rev     BIGINT NOT NULL,
    bucket  TEXT COLLATE "C" NOT NULL,
    removed BIGINT NOT NULL,
    fields  JSON NOT NULL,
    marks   TEXT COLLATE "C" NOT NULL,
    UNIQUE (entity, id)
);
CREATE UNIQUE INDEX customer_code ON record (((fields ->> 'code') COLLATE "C")) WHERE entity = 'customer' AND removed = 0;
CREATE INDEX customer_name ON record (((fields ->> 'name') COLLATE "C"), id) WHERE entity = 'customer' AND removed = 0;
CREATE INDEX visit_start ON record (((fields ->> 'started_at') COLLATE "C")) WHERE entity = 'visit' AND removed = 0;
CREATE INDEX visit_day ON record (((fields ->> 'day') COLLATE "C")) WHERE entity = 'visit' AND removed = 0;

-- The terms are folded by the model before they come here; nothing else splits or folds them.
CREATE TABLE record_search (
    n     BIGINT PRIMARY KEY REFERENCES record (n),
    terms TSVECTOR NOT NULL
);
CREATE INDEX record_search_terms ON record_search USING GIN (terms);

CREATE TABLE conflict (
    n        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity   TEXT COLLATE "C" NOT NULL,
    record   BYTEA NOT NULL,
    device   BYTEA NOT NULL,
    at_ms    BIGINT NOT NULL,
    conflict TEXT COLLATE "C" NOT NULL
);

CREATE TABLE root (
    version  BIGINT PRIMARY KEY,
    envelope BYTEA NOT NULL,
    published_ms BIGINT NOT NULL
);
CREATE TRIGGER root_stays BEFORE DELETE ON root FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER root_stands BEFORE UPDATE ON root FOR EACH ROW EXECUTE FUNCTION append_only();

-- Whose an approver's key is. Which keys count, the root says.
CREATE TABLE approver (
    id     BYTEA PRIMARY KEY,
    public BYTEA NOT NULL,
    label  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE wipe_proposal (
    n           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          BYTEA NOT NULL UNIQUE,
    device      BYTEA NOT NULL REFERENCES device (id),
    payload     BYTEA NOT NULL,
    proposed_by BYTEA NOT NULL,
    proposed_ms BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    command     BYTEA REFERENCES command (id),
    issued_ms   BIGINT,
    threshold   BIGINT
);
CREATE INDEX wipe_proposal_of_device ON wipe_proposal (device, n);
CREATE INDEX wipe_proposal_issued ON wipe_proposal (issued_ms) WHERE issued_ms IS NOT NULL;

CREATE TABLE wipe_approval (
    n         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proposal  BYTEA NOT NULL REFERENCES wipe_proposal (id),
    key       BYTEA NOT NULL,
    label     TEXT COLLATE "C" NOT NULL,
    signature BYTEA NOT NULL,
    at_ms     BIGINT NOT NULL,
    UNIQUE (proposal, key)
);
CREATE TRIGGER wipe_approval_stays BEFORE DELETE ON wipe_approval FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER wipe_approval_stands BEFORE UPDATE ON wipe_approval FOR EACH ROW EXECUTE FUNCTION append_only();

CREATE TABLE policy (
    version BIGINT PRIMARY KEY,
    policy  TEXT COLLATE "C" NOT NULL,
    set_by  BYTEA NOT NULL,
    set_ms  BIGINT NOT NULL
);

CREATE TABLE watch (
    device BYTEA PRIMARY KEY REFERENCES device (id),
    watch  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE alert (
    n       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      BYTEA NOT NULL UNIQUE,
    device  BYTEA REFERENCES device (id),
    kind    TEXT COLLATE "C" NOT NULL,
    at_ms   BIGINT NOT NULL,
    detail  TEXT COLLATE "C" NOT NULL,
    seen_by BYTEA,
    seen_ms BIGINT
);
CREATE INDEX alert_unseen ON alert (kind, device) WHERE seen_ms IS NULL;

-- Unsent work as devices handed it over, sealed to the rescue key. The bytes go away some time after they were
-- opened; hash and length stay, so that a repeat of the segment is known again.
CREATE TABLE segment (
    n           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      BYTEA NOT NULL REFERENCES device (id),
    segment     BYTEA NOT NULL,
    sha256      BYTEA NOT NULL,
    length      BIGINT NOT NULL,
    changes     BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    opened_ms   BIGINT,
    bytes       BYTEA NOT NULL,
    UNIQUE (device, segment)
);
CREATE INDEX segment_sealed ON segment (n) WHERE opened_ms IS NULL;

-- Changes out of opened segments. The mutation goes away some time after the change was settled.
CREATE TABLE rescued (
    change_id   BYTEA PRIMARY KEY,
    device      BYTEA NOT NULL REFERENCES device (id),
    "user"        BYTEA NOT NULL,
    commit_seq  BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    entity      TEXT COLLATE "C" NOT NULL,
    record      BYTEA NOT NULL,
    made_ms     BIGINT NOT NULL,
    void        BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    reason      TEXT COLLATE "C",
    mutation    TEXT COLLATE "C",
    outcome     TEXT COLLATE "C",
    filed_ms    BIGINT NOT NULL,
    settled_ms  BIGINT
);
CREATE INDEX rescued_of_device ON rescued (device, commit_seq, seq);

-- The devices' audit entries in the order in which they came in. `head` is the hash of the device's chain after the
-- entry, `chain` that of the server's own chain through the entries of all devices.
CREATE TABLE audit (
    n           BIGINT PRIMARY KEY,
    device      BYTEA NOT NULL REFERENCES device (id),
    seq         BIGINT NOT NULL,
    at_ms       BIGINT NOT NULL,
    actor       BYTEA NOT NULL,
    action      TEXT COLLATE "C" NOT NULL,
    entity      TEXT COLLATE "C",
    record      BYTEA,
    bytes       BYTEA NOT NULL,
    head        BYTEA NOT NULL,
    chain       BYTEA NOT NULL,
    received_ms BIGINT NOT NULL,
    UNIQUE (device, seq)
);
CREATE TRIGGER audit_stays BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER audit_stands BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION append_only();

-- The end of each device's chain, and the last end that the device has signed and the server has stored.
CREATE TABLE audit_head (
    device      BYTEA PRIMARY KEY REFERENCES device (id),
    seq         BIGINT NOT NULL,
    hash        BYTEA NOT NULL,
    stored_ms   BIGINT NOT NULL,
    signed_seq  BIGINT NOT NULL,
    signed_hash BYTEA NOT NULL,
    signature   BYTEA NOT NULL
);

CREATE TABLE audit_fault (
    device BYTEA NOT NULL REFERENCES device (id),
    kind   TEXT COLLATE "C" NOT NULL,
    seq    BIGINT NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (device, kind, seq)
);

-- Devices that wait for a person to compare digits, and what was decided.
CREATE TABLE enrolment (
    id            BYTEA PRIMARY KEY,
    "user"          BYTEA NOT NULL REFERENCES "user" (id),
    key           BYTEA NOT NULL,
    install       BYTEA NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    platform      TEXT COLLATE "C" NOT NULL,
    hardware_keys BIGINT NOT NULL,
    core          TEXT COLLATE "C" NOT NULL,
    ticket        BYTEA NOT NULL,
    commitment    BYTEA NOT NULL,
    nonce         BYTEA NOT NULL,
    begun_ms      BIGINT NOT NULL,
    digits        BIGINT,
    state         TEXT COLLATE "C" NOT NULL,
    device        BYTEA
);
CREATE INDEX enrolment_age ON enrolment (begun_ms);

