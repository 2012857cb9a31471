-- SPDX-License-Identifier: Apache-2.0
-- Schema 1: one ordered map of keys to JSON values, and what the store says of itself.
-- Run inside one transaction when the store is created.
CREATE TABLE kv (
	key        TEXT PRIMARY KEY NOT NULL COLLATE BINARY,
	value      TEXT NOT NULL,
	create_rev INTEGER NOT NULL, -- store revision that created the key
	mod_rev    INTEGER NOT NULL  -- store revision of its last change
) WITHOUT ROWID;

CREATE TABLE meta (
	one        INTEGER PRIMARY KEY CHECK (one = 1),
	schema     INTEGER NOT NULL, -- number of the last schema file that was applied
	generation INTEGER NOT NULL, -- random, drawn when the store was created (64 bits, two's complement)
	revision   INTEGER NOT NULL  -- of the last committed transaction
);
