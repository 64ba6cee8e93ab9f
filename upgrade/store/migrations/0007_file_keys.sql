-- The file keys of a release's sealed images, secret; NULL: not given, or none is sealed.
ALTER TABLE releases ADD COLUMN file_keys BLOB;
