-- What people sort and filter long lists by.
CREATE INDEX campaigns_created ON campaigns (created_at, id);
CREATE INDEX releases_uploaded ON releases (uploaded_at, id);
CREATE INDEX enrolments_created ON enrolments (created_at, id);
CREATE INDEX devices_key_state ON devices (key_state, id);
CREATE INDEX devices_duplicate ON devices (id) WHERE duplicate;
CREATE INDEX devices_seen ON devices (last_seen, id);
CREATE INDEX events_actor ON events (actor, id);
CREATE INDEX events_action ON events (action, id);
CREATE INDEX events_subject ON events (subject, id);
