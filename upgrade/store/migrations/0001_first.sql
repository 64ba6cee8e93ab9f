-- Times are nanoseconds since 1970, 0: never. Digests, campaign ids and the hashes of secrets are in hexadecimal.
-- On PostgreSQL, TEXT is sorted by bytes as on SQLite, and BLOB is BYTEA (migrate.go).

-- Numbers that are given out once.
CREATE TABLE counters (
	name TEXT NOT NULL PRIMARY KEY,
	n    BIGINT NOT NULL
);
INSERT INTO counters (name, n) VALUES ('event', 0), ('node', 0);

CREATE TABLE settings (
	name     TEXT NOT NULL PRIMARY KEY,
	value    TEXT NOT NULL,
	revision BIGINT NOT NULL
);

CREATE TABLE events (
	id       BIGINT NOT NULL PRIMARY KEY, -- in the order of their transactions, without gaps
	at       BIGINT NOT NULL,
	actor    TEXT NOT NULL,
	action   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	campaign TEXT NOT NULL,
	detail   TEXT NOT NULL -- JSON
);
CREATE INDEX events_campaign ON events (campaign, id);
CREATE INDEX events_at ON events (at);

CREATE TABLE idempotency (
	actor    TEXT NOT NULL,
	idem_key TEXT NOT NULL,
	request  TEXT NOT NULL, -- digest of what was asked
	status   BIGINT NOT NULL, -- 0: it is being answered
	answer   BLOB NOT NULL,
	until    BIGINT NOT NULL, -- a claim or an answer is good for so long
	PRIMARY KEY (actor, idem_key)
);
CREATE INDEX idempotency_until ON idempotency (until);

CREATE TABLE releases (
	id          TEXT NOT NULL PRIMARY KEY, -- the manifest digest
	product     TEXT NOT NULL,
	version     TEXT NOT NULL,
	sequence    BIGINT NOT NULL, -- these two are unsigned in the manifest: their bits
	epoch       BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	signed      BLOB NOT NULL,
	uploaded_by TEXT NOT NULL,
	uploaded_at BIGINT NOT NULL
);
CREATE INDEX releases_product ON releases (product, id);

-- The bytes of images, in rows of 1 MiB. Those that no image names are of an upload that goes on or has failed.
CREATE TABLE contents (
	id      TEXT NOT NULL PRIMARY KEY,
	started BIGINT NOT NULL
);
CREATE TABLE chunks (
	content TEXT NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
	n       BIGINT NOT NULL,
	bytes   BLOB NOT NULL,
	PRIMARY KEY (content, n)
);
CREATE TABLE images (
	release_id TEXT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
	n          BIGINT NOT NULL, -- as in the manifest
	name       TEXT NOT NULL,
	size       BIGINT NOT NULL,
	sha256     TEXT NOT NULL,
	content    TEXT REFERENCES contents (id), -- NULL: not uploaded
	PRIMARY KEY (release_id, n)
);
CREATE INDEX images_content ON images (content);

CREATE TABLE devices (
	id         TEXT NOT NULL PRIMARY KEY,
	product    TEXT NOT NULL,
	hardware   TEXT NOT NULL,
	site       TEXT NOT NULL,
	version    TEXT NOT NULL,
	first_seen BIGINT NOT NULL,
	last_seen  BIGINT NOT NULL,
	public_key TEXT NOT NULL,
	key_state  TEXT NOT NULL,
	duplicate  BOOLEAN NOT NULL,
	node       BIGINT NOT NULL UNIQUE, -- NormNodeId
	revision   BIGINT NOT NULL
);
CREATE INDEX devices_product ON devices (product, id);
CREATE INDEX devices_site ON devices (site, id);
CREATE INDEX devices_key ON devices (public_key);
CREATE TABLE device_tags (
	device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
	tag    TEXT NOT NULL,
	PRIMARY KEY (tag, device)
);
CREATE INDEX device_tags_device ON device_tags (device);

CREATE TABLE tokens (
	id         TEXT NOT NULL PRIMARY KEY,
	name       TEXT NOT NULL,
	role       TEXT NOT NULL,
	hash       TEXT NOT NULL UNIQUE, -- SHA-256 of the secret
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	last_used  BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL
);
CREATE INDEX tokens_name ON tokens (name);

CREATE TABLE enrolments (
	id         TEXT NOT NULL PRIMARY KEY,
	hash       TEXT NOT NULL UNIQUE,
	device     TEXT NOT NULL, -- '': any
	site       TEXT NOT NULL,
	tags       TEXT NOT NULL, -- JSON
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires    BIGINT NOT NULL,
	used_at    BIGINT NOT NULL,
	used_by    TEXT NOT NULL
);
CREATE INDEX enrolments_expires ON enrolments (expires);

CREATE TABLE campaigns (
	id          TEXT NOT NULL PRIMARY KEY,
	name        TEXT NOT NULL,
	release_id  TEXT NOT NULL REFERENCES releases (id),
	settings    TEXT NOT NULL, -- JSON: targets, transport, policy, activation, schedule
	state       TEXT NOT NULL,
	created_by  TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	changed_by  TEXT NOT NULL,
	approved_by TEXT NOT NULL,
	approved_at BIGINT NOT NULL,
	closed_at   BIGINT NOT NULL,
	restored    TEXT NOT NULL,
	revision    BIGINT NOT NULL
);
CREATE INDEX campaigns_state ON campaigns (state, id);
CREATE INDEX campaigns_release ON campaigns (release_id, id);

-- Who leads a campaign, and where its log ends: small rows, as each append writes one.
CREATE TABLE leases (
	campaign TEXT NOT NULL PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
	owner    TEXT NOT NULL,
	epoch    BIGINT NOT NULL,
	until    BIGINT NOT NULL,
	log_end  BIGINT NOT NULL
);
-- What package upgrade keeps of a campaign.
CREATE TABLE campaign_states (
	campaign TEXT NOT NULL PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
	frozen   BLOB NOT NULL,
	issue    BLOB NOT NULL
);
CREATE TABLE campaign_log (
	campaign TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	n        BIGINT NOT NULL,
	record   BLOB NOT NULL,
	PRIMARY KEY (campaign, n)
);
CREATE TABLE decisions (
	campaign TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	wave     BIGINT NOT NULL,
	verdict  TEXT NOT NULL,
	n        BIGINT NOT NULL, -- its record in the log
	PRIMARY KEY (campaign, wave)
);

-- What devices said last. Nothing is decided by it.
CREATE TABLE reports (
	campaign TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	device   TEXT NOT NULL,
	state    TEXT NOT NULL,
	reason   TEXT NOT NULL,
	done     BIGINT NOT NULL, -- bytes
	total    BIGINT NOT NULL, -- bytes
	lost     BIGINT NOT NULL, -- segments
	overruns BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	PRIMARY KEY (campaign, device)
);
CREATE INDEX reports_state ON reports (campaign, state, device);
