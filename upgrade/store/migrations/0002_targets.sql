-- What campaigns that are scheduled or run have for themselves: each device and each group belongs to one.
CREATE TABLE starts (
	campaign    TEXT NOT NULL PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
	destination TEXT NOT NULL UNIQUE, -- address and port
	at          BIGINT NOT NULL
);
CREATE TABLE targets (
	device     TEXT NOT NULL PRIMARY KEY,
	campaign   TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
	site       TEXT NOT NULL,
	public_key TEXT NOT NULL
);
CREATE INDEX targets_campaign ON targets (campaign, device);
