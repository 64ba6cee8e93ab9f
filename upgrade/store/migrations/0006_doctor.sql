-- What devices find out about their network.

-- Examinations that devices are asked for: each server tells those that wait at it.
CREATE TABLE examinations (
	id     TEXT NOT NULL PRIMARY KEY, -- in hexadecimal
	signed BLOB NOT NULL,
	until  BIGINT NOT NULL
);
-- What each device was asked for last, and has found last.
CREATE TABLE diagnoses (
	device      TEXT NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
	examination TEXT NOT NULL,
	asked       BIGINT NOT NULL,
	at          BIGINT NOT NULL, -- 0: it has not answered yet
	verdict     TEXT NOT NULL, -- the worst
	check_name  TEXT NOT NULL, -- the first check with that, if it is not ok
	remedy      TEXT NOT NULL, -- of that
	findings    BLOB NOT NULL -- JSON
);
CREATE INDEX diagnoses_examination ON diagnoses (examination, device);
CREATE INDEX diagnoses_at ON diagnoses (at);
