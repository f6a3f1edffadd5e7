-- The tables of schema version 2.

CREATE TABLE association (
    id VARCHAR(36) NOT NULL,
    site VARCHAR(64) NOT NULL,
    worker VARCHAR(64) NOT NULL,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    opened_at FLOAT NOT NULL,
    closed_at FLOAT,
    outcome VARCHAR(32),
    PRIMARY KEY (id)
);

CREATE INDEX association_open ON association (closed_at);

CREATE TABLE audit (
    id BIGSERIAL NOT NULL,
    at FLOAT NOT NULL,
    who VARCHAR(128) NOT NULL,
    action VARCHAR(64) NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE meta (
    name VARCHAR(64) NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE refusal (
    id BIGSERIAL NOT NULL,
    at FLOAT NOT NULL,
    site VARCHAR(64) NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    path TEXT,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE snapshot (
    name VARCHAR(64) NOT NULL,
    at FLOAT NOT NULL,
    body JSON NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE study (
    key VARCHAR(21) NOT NULL,
    site VARCHAR(64) NOT NULL,
    study_instance_uid VARCHAR(64) NOT NULL,
    first_received_at FLOAT NOT NULL,
    last_received_at FLOAT NOT NULL,
    instance_count INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    arrived_count INTEGER NOT NULL,
    arrived_at FLOAT,
    expected_instances INTEGER,
    registered_revision INTEGER NOT NULL,
    routed_revision INTEGER NOT NULL,
    held_reason TEXT,
    patient_id TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    study_date TEXT NOT NULL,
    study_time TEXT NOT NULL,
    study_description TEXT NOT NULL,
    institution_name TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    purged_at FLOAT,
    retired_at FLOAT,
    given_up_at FLOAT,
    PRIMARY KEY (key),
    UNIQUE (site, study_instance_uid)
);

CREATE INDEX study_accession ON study (accession_number);

CREATE INDEX study_last_received ON study (last_received_at);

CREATE INDEX study_uid ON study (study_instance_uid);

CREATE TABLE transition (
    id BIGSERIAL NOT NULL,
    at FLOAT NOT NULL,
    study_key VARCHAR(21),
    instance_id BIGINT,
    transfer_id BIGINT,
    stage VARCHAR(32) NOT NULL,
    outcome VARCHAR(32) NOT NULL,
    reason TEXT NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX transition_study ON transition (study_key);

CREATE TABLE association_study (
    association_id VARCHAR(36) NOT NULL,
    study_key VARCHAR(21) NOT NULL,
    PRIMARY KEY (association_id, study_key),
    FOREIGN KEY(association_id) REFERENCES association (id),
    FOREIGN KEY(study_key) REFERENCES study (key)
);

CREATE INDEX association_study_key ON association_study (study_key);

CREATE TABLE instance (
    id BIGSERIAL NOT NULL,
    study_key VARCHAR(21) NOT NULL,
    site VARCHAR(64) NOT NULL,
    series_instance_uid VARCHAR(64) NOT NULL,
    sop_instance_uid VARCHAR(64) NOT NULL,
    sop_class_uid VARCHAR(64) NOT NULL,
    transfer_syntax_uid VARCHAR(64) NOT NULL,
    modality TEXT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    path TEXT NOT NULL,
    received_at FLOAT NOT NULL,
    receptions INTEGER NOT NULL,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    aside BOOLEAN NOT NULL,
    purged BOOLEAN NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (site, sop_instance_uid, sha256),
    FOREIGN KEY(study_key) REFERENCES study (key)
);

CREATE INDEX instance_study ON instance (study_key);

CREATE TABLE revision (
    study_key VARCHAR(21) NOT NULL,
    revision INTEGER NOT NULL,
    instance_count INTEGER NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (study_key, revision),
    FOREIGN KEY(study_key) REFERENCES study (key)
);

CREATE TABLE series (
    study_key VARCHAR(21) NOT NULL,
    series_instance_uid VARCHAR(64) NOT NULL,
    revision INTEGER NOT NULL,
    modality TEXT NOT NULL,
    instance_count INTEGER NOT NULL,
    classify_types JSON NOT NULL,
    described JSON NOT NULL,
    PRIMARY KEY (study_key, series_instance_uid),
    FOREIGN KEY(study_key) REFERENCES study (key)
);

CREATE TABLE transfer (
    id BIGSERIAL NOT NULL,
    transfer_key VARCHAR(64) NOT NULL,
    study_key VARCHAR(21) NOT NULL,
    project VARCHAR(64) NOT NULL,
    participant TEXT NOT NULL,
    event TEXT NOT NULL,
    source VARCHAR(16) NOT NULL,
    requested_by VARCHAR(64) NOT NULL,
    requested_at FLOAT NOT NULL,
    generation INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason TEXT NOT NULL,
    revision INTEGER NOT NULL,
    packaged_revision INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    registry_state VARCHAR(64) NOT NULL,
    changed_at FLOAT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (study_key, project, participant, event),
    UNIQUE (transfer_key),
    FOREIGN KEY(study_key) REFERENCES study (key)
);

CREATE INDEX transfer_state ON transfer (state);

CREATE TABLE delivery (
    transfer_id BIGINT NOT NULL,
    destination VARCHAR(128) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(300) NOT NULL,
    revision INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    instance_count INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    place TEXT NOT NULL,
    confirmed_at FLOAT,
    detail TEXT NOT NULL,
    PRIMARY KEY (transfer_id, destination, kind, name),
    FOREIGN KEY(transfer_id) REFERENCES transfer (id)
);

CREATE TABLE release (
    transfer_id BIGINT NOT NULL,
    instance_id BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    disposition VARCHAR(16) NOT NULL,
    reason TEXT NOT NULL,
    sop_instance_uid VARCHAR(64) NOT NULL,
    series_instance_uid VARCHAR(64) NOT NULL,
    study_instance_uid VARCHAR(64) NOT NULL,
    sop_class_uid VARCHAR(64) NOT NULL,
    transfer_syntax_uid VARCHAR(64) NOT NULL,
    modality TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    purged BOOLEAN NOT NULL,
    PRIMARY KEY (transfer_id, instance_id),
    FOREIGN KEY(transfer_id) REFERENCES transfer (id),
    FOREIGN KEY(instance_id) REFERENCES instance (id)
);

CREATE INDEX release_copy ON release (sop_instance_uid);

CREATE TABLE sent_copy (
    destination VARCHAR(128) NOT NULL,
    sop_instance_uid VARCHAR(64) NOT NULL,
    identity VARCHAR(64) NOT NULL,
    transfer_id BIGINT NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (destination, sop_instance_uid),
    FOREIGN KEY(transfer_id) REFERENCES transfer (id)
);

CREATE TABLE verification (
    transfer_id BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    passed BOOLEAN NOT NULL,
    at FLOAT NOT NULL,
    manifest_sha256 VARCHAR(64) NOT NULL,
    checks JSON NOT NULL,
    PRIMARY KEY (transfer_id, revision),
    FOREIGN KEY(transfer_id) REFERENCES transfer (id)
);
