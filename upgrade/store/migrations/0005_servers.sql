-- What servers on one database tell each other's devices and people.

-- The notice that the leader of a campaign gives the devices of each wave, for the other servers to give as well.
CREATE TABLE notices (
	campaign TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	wave     BIGINT NOT NULL,
	serial   BIGINT NOT NULL, -- rises with each
	notice   BLOB NOT NULL,
	PRIMARY KEY (campaign, wave)
);
-- How many devices of a scheduled campaign wait at each server.
CREATE TABLE waiting (
	campaign TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	owner    TEXT NOT NULL, -- as in leases
	devices  BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	PRIMARY KEY (campaign, owner)
);
-- People who are logged in to the page.
CREATE TABLE sessions (
	hash  TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the secret
	token TEXT NOT NULL, -- its id
	ends  BIGINT NOT NULL,
	used  BIGINT NOT NULL,
	said  TEXT NOT NULL -- what the next page says first
);
CREATE INDEX sessions_used ON sessions (used);
-- What multicast is like at a device.
ALTER TABLE reports ADD COLUMN heard BIGINT NOT NULL DEFAULT 0; -- datagrams
ALTER TABLE reports ADD COLUMN by_http BOOLEAN NOT NULL DEFAULT FALSE;
