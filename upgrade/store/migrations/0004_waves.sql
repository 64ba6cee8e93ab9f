-- Which wave of its campaign a target is in, counted from 0.
ALTER TABLE targets ADD COLUMN wave BIGINT NOT NULL DEFAULT 0;
